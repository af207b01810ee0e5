/* SPDX-License-Identifier: Apache-2.0 */
/* Writes of a node that nobody else has seen, taken out of the replica and issued anew.
 *
 * WHY    Two things make what a node wrote worthless under the name that it was written by: the
 *        node was below the frontier, so that nobody may merge it (members.h), or another history
 *        stands under that name, so that nobody will (halt.c). What the application wrote must not
 *        be lost with the name (design section 1, P1). So the writes are listed as they stand, and
 *        written again under a new incarnation.
 *
 *        Of a whole snapshot (stage.c) the replica takes the state, exactly: all that it holds
 *        beyond the cut goes, its own and what it heard of others, and the vector goes back to
 *        it. Registers keep only the greatest stamp, so what lies under one of those is gone: it
 *        comes with the snapshot, or again from whoever wrote it. (Rejected: to leave them and
 *        write on top. The old transactions stay in the vector, so others ask for them, and a
 *        server's update that had not seen a delete lets the record rise again where it was
 *        collected, and differently where it was not.)
 *
 * PRIORITY  Let w be a write that stands when all that was here, T, and the cut C are merged, and r
 *        what is issued for it. r has seen what w had seen, w, and C: its K has to be above all of
 *        that, and it knows of nothing else, so its standing towards that has to be w's. So E of r
 *        is E of w, whoever issues it; its H is new.
 *          - Above T and C: w stands, so its E is at least that of all in T and C that was written
 *            to the register, those included that are forgotten and come again; and H is above all.
 *          - With one server: let s be its last write to the register. If w had seen s, or is s, E
 *            of r is H of s, and what had not seen s has a lower one: r beats it. If not, s is
 *            not in T nor C, where it would stand instead of w; so it is later than all that w
 *            could inherit from, its E is greater, and r does not beat it.
 *          - Whoever has seen r and overwrites it inherits E, so that s, where it comes again
 *            beside its copy, does not beat that.
 *        (Rejected: E as for any write of this moment. A client's copy of what a server wrote lost
 *        the server's rank, and what overwrote it lost to the original. A server's own copy beat
 *        what another server had written since, and made a client's write, issued by a server, a
 *        server's.)
 *        Towards a write that had seen w, and not r, H decides, as between any two that are
 *        concurrent; it is told as a conflict.
 *
 * LIVES  r has seen the existence that C has of the record, so it must not write to a life that is
 *        over by that: there the fields may have been collected, here or elsewhere.
 *          alive, and C has it alive in the same life: the fields go there; existence is said again
 *                 only where its E is greater, for the server's word against a delete.
 *          alive, and C has it in another life, dead, or not at all: existence is written, in the
 *                 life that it had if that is later than all in C and than the floor, else in one
 *                 that is later than those and all that were known here. Then all that was to be
 *                 seen of the record goes along, or it would be left behind in the old life.
 *          dead   C may not have the record: others may have what was deleted, and bring it. The
 *                 life is the later one of both, so that no later record uses those before.
 *        Where the existence that stands is a member's, it is not issued, as the member brings it
 *        itself, and may have deleted the record since. The fields are issued in its life, and wait
 *        there to be seen. (Rejected: another life, which hides the member's own fields; to say its
 *        existence again, which undoes its delete.) So do those of a life, of this or an earlier
 *        one, that is over by what not all know: an existence that had not seen its end may beat
 *        that and let it go on. It may come right behind the snapshot, where it had to wait for
 *        the clock.
 *
 * INVARIANTS
 *   I1   What is listed is in the replica, or in the list, until the transaction that holds it is
 *        merged.
 *   I2   What has lost against others' writes is not issued: a return does not make it win.
 *   I3   Between the listing and the last transaction the replica writes nothing else.
 *   I4   E of what is issued is E of what it says again, but of an existence that was collected,
 *        where the floor may be greater.
 *
 * FAILURE  Without memory nothing is changed: call again. What cannot be issued any more (there is
 *          no life left) is counted as refused. */
#ifndef BLAZEI_REISSUE_H
#define BLAZEI_REISSUE_H

#include "lib/repl/members.h"
#include "lib/repl/table.h"

/* What of a record others have not seen. */
struct blazei_unseen {
	uint32_t top_life; /* the greatest that was known of the record */
	uint32_t new_life; /* in which it is issued, once a part of it is; 0: none is yet */
	uint32_t issued;   /* of its entries */
	bool existence;    /* the existence is unseen */
	/* As it stood, of its entries those that are unseen, which are marked; with the existence
	 * also the others that were to be seen, which go along where it takes another life. */
	struct blazei_row row;
};

struct blazei_unseen_list {
	struct blazei_unseen **items; /* each fill's ascend by id */
	uint32_t count;
	uint32_t max;
	uint32_t next; /* to be issued */
};

/* Adds what `seen` does not cover of this node's writes, and of those of nodes that are no members:
 * a member keeps what it wrote, and brings it itself; of any other it may be here only. 0; -ENOMEM:
 * nothing was added. */
int blazei_unseen_list_fill(struct blazei_unseen_list *list, struct blazei_replica *replica,
                            const struct blazei_vector_view *seen);
void blazei_unseen_list_clear(struct blazei_unseen_list *list);
static inline bool blazei_unseen_list_empty(const struct blazei_unseen_list *list)
{
	return list->next == list->count;
}

/* Commits what is to be issued, or as much of it as a transaction holds: what was written in the
 * last run under a name that was left, then the list; to be called until *ret_txn has len 0. The
 * replica is not displaced. 0, -ENOMEM. */
int blazei_replica_reissue(struct blazei_replica *replica, uint64_t now_ns,
                           struct blazei_unseen_list *list, struct blazei_txn_view *ret_txn);

/* A displaced replica goes on under another origin, never used before, and tells so (event
 * ORIGIN_RENEWED). All that it wrote in this run is then to be issued again: a history under its
 * name that is not its own parts from it somewhere, and what others have of it nobody can say. The
 * errors of blazei_replica_renew: nothing was changed. */
int blazei_replica_leave_name(struct blazei_replica *replica, uint64_t now_ns,
                              const struct blazei_origin *self);

#endif
