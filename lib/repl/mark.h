/* SPDX-License-Identifier: Apache-2.0 */
/* Marks: one for each node, in the place of its incarnations that are over.
 *
 * WHY    A store that is not closed cleanly goes on under a new incarnation, and each one takes an
 *        entry in every vector, an index, and room in every report, for ever. Below the frontier
 *        (members.h) an incarnation needs none of that: all its transactions are everywhere. What
 *        must still be known is that they have been, and their order among others. Both follow from
 *        H: the incarnations of a node follow one another, and so do their H, so node and H name a
 *        write as well as (incarnation, seq) does.
 *
 *        So a node says, in its member's row, which of its incarnations are over, and with which
 *        number (register "m"). The incarnation that says so is their heir. Once that transaction
 *        is below the frontier, and so is all that is merged here of an incarnation that it names,
 *        and that is as much as it says, a replica may retire it: one origin stands in the place of
 *        all that are retired, (node, BLAZEI_RETIRED); its seq is the mark, the greatest H that
 *        they wrote, and in its stamps seq is H. Indices are used again. (Rejected: a list of what
 *        was retired, which grows; to retire everywhere at one moment, which needs an agreement. As
 *        it is, one replica may have retired what another has not, and they understand each other.)
 *
 * RULES  what counts as covered by whom
 *   M1   A transaction or dependency of an incarnation of which nothing is known here, of a node
 *        with a mark here, is merged where its H is at or below the mark.
 *   M2   A vector that has a mark of a node and does not list one of its incarnations covers what
 *        that one wrote with an H at or below that mark: all that is known of it, or the part
 *        that its node had not lost.
 *   M3   A vector covers what a mark here stands for where it has a mark of that node as great, or
 *        covers the heir's transaction: that depends on it all.
 *   M4   Stamps of one node with the same H are of one write, if one of them is of a mark.
 *
 * WHY M1 IS RIGHT  Let t be a transaction that is unknown here, with an H at or below the mark of
 *        its node. If the heir had seen t, its saying depends on t and is merged here, so t was,
 *        and its incarnation was retired. If not, the node had lost t in a crash, and another may
 *        have it. A member that has it says so, or what depends on it, in the report by which it
 *        covers the heir's saying; the frontier covers that only once this report is merged here,
 *        and t with it: then there is more of the incarnation than its node said, and it stays.
 *        Who is no member and was heard by none (I7) may have t. Mostly t is beyond the mark, as
 *        the incarnation retired last is the one that lost it: then it comes in as something new.
 *        Only where another incarnation was retired since, does it count as merged; whoever has it
 *        must have missed all that by then, and be below the frontier.
 *
 * INVARIANTS
 *   I1   An incarnation is retired only where the saying, and all of it that is merged here, is
 *        below the frontier, as much as was said, and nothing of it waits; never the own one, the
 *        heir, a quarantined one, nor an own name that was left (reissue.h).
 *   I2   A node says nothing while another incarnation of it is written to beside its own one.
 *   I3   A mark never goes back, but where a whole snapshot becomes all that there is (stage.h) and
 *        does not cover it: then what stood under it goes with it.
 *   I4   A mark is below the frontier: whom M3 does not find to cover it takes a whole snapshot.
 *   I5   A whole snapshot brings its marks. They are taken with it: what stands under them has no
 *        other name there. Of any other snapshot they are passed over: its asker covers them.
 *   I6   Retiring allocates nothing once the list of members is read, and changes no value and no
 *        order: neither readers nor hashes see it.
 *   I7   No mark makes ready what waits here, nor a duplicate: what waits for something of that
 *        node which is not merged tells that somebody has it, and that mark has to wait for it.
 *
 * LAYOUT of an entry of a vector that is a mark: incarnation BLAZEI_RETIRED, seq the mark, chain
 *        the heir's incarnation, hlc the heir's seq.
 *
 * COST   The pass takes 15 to 26 ms with a million records, 0.7 ms with 65,000 (each of one field,
 *        a noisy machine), under the lock. So with more than 65,536 records databases wait until
 *        half of the places in the vector are taken.
 *
 * LIMIT  Two stores that are written to as one node: their incarnations do not follow one another,
 *        and a mark of the one covers what the other wrote before that H. Whoever then takes the
 *        one's state, or gives it, loses those writes. So a copy is another node, where it can be
 *        told from its original (lib/store/home.h).
 *        Replicas without a frontier have no marks. Nor has a node in memory, at members either: it
 *        takes a node id of its own at each open, which leaves one incarnation and its place for
 *        good. Three things are missing to give that back.
 *          - A mark is one node's, so it takes the place that it gives. One for many nodes would
 *            lose the order of stamps with the same H, which the node ids decide (M4).
 *          - Nobody says that it is over. Only its node could; it may be alive and cut off, and
 *            have all that the frontier has, so that it is not below: what it writes next would
 *            wait for ever for what came before.
 *          - So it would have to leave its name when it finds itself called over, before it writes.
 *        Or nodes in memory lease node ids, one after the other, from a few that the ring keeps:
 *        then the rules above hold, where each lease begins above the last one's H. */
#ifndef BLAZEI_MARK_H
#define BLAZEI_MARK_H

#include "lib/repl/opened.h"
#include "lib/repl/replica.h"

/* An incarnation that its node says is over. */
struct blazei_mark_item {
	uint64_t incarnation;
	uint64_t seq; /* its last one */
};

/* Retires what may be retired; one pass over all records for each node of which that is anything.
 * Nothing while one of these transactions is open, which remember indices (NULL: there are none).
 * Sessions under way end with -ECANCELED. The number of incarnations, or -ENOMEM. */
int blazei_replica_retire(struct blazei_replica *replica, struct blazei_opened *opened);
/* Whether that is worth its pass by now. */
bool blazei_replica_retire_due(const struct blazei_replica *replica);

#endif
