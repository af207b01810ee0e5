/* SPDX-License-Identifier: Apache-2.0 */
/* Members and the frontier: up to where every store has everything for good, so that what is only
 * kept for those who might not know it yet can go.
 *
 * WHY    The list of members is itself replicated: each member has a row, whose id is its node id,
 *        with ordinary registers under the reserved life BLAZEI_LIFE_MAX, which no record reaches.
 *        So the list needs no message, no format and no session of its own: it is encoded, logged,
 *        merged, caught up with and kept in snapshots like any write, in causal order with all
 *        others, which is what the argument below rests on. No reader sees such a row, as its
 *        existence is never written. (Rejected: a list in the hello, which knows no order; a kind
 *        of transaction of its own, which every path would have to learn.)
 *
 * LAYOUT of a member's row, values in CBOR
 *          "v"  bytes  its durable vector, as struct blazei_vector_entry, written by the member
 *          "c"  bytes  life, priority: the floor of what was collected (collect.c)
 *          "m"  bytes  the earlier incarnations of this node that are over, as struct
 *                     blazei_mark_item (mark.h), written by it
 *          "s"  int    1 it joined or came back (written by it), 0 it was expelled (by anyone)
 *          "f"  bytes  likewise a vector: a frontier that this member has made known
 *
 * The frontier of a replica is the maximum over all "f" that it merged. A member makes one known
 * that is the minimum of the durable vectors of the members it counts, its own among them, and of
 * the vectors of the live replicas without a store that it hears ("holds"); and it makes it known
 * before it relies on it.
 *
 * INVARIANTS
 *   I1   What comes from a member after its report has seen all that the report covers: it merges
 *        here behind the report, being of the same origin or depending on it. So a write that is
 *        not merged where the frontier is known has seen all that is below the frontier.
 *   I2   Whoever relies on a frontier has written or merged the "f" before, so every write of his
 *        that follows depends on it: where that write is merged, the frontier is known to be at
 *        least as far.
 *   I3   The frontier never goes back, and nothing below it is missing here: who made it known had
 *        it all, and his transaction depends on it all.
 *   I4   A member is counted from when its durable vector has reached the frontier, and until it is
 *        expelled: so what it falls back to in a crash is never below the frontier. A replica that
 *        is below is heard only after a snapshot and the re-issue of its unseen writes.
 *   I5   Reports are not reported: a member writes only where the vectors cover transactions other
 *        than reports that its last report does not. So when writes end, each member reports at
 *        most twice more, and then there is silence. Without members there is never any.
 *   I6   Who keeps back the frontier for 30 days without a report is expelled. Time counts in steps
 *        of a day at most, between ticks: a clock that jumps expels nobody. Who is quiet because
 *        all is quiet keeps nothing back and stays.
 *   I7   Of a member's row only what the member wrote itself counts, but for "s"; of a vector only
 *        what is merged here; of a floor only a life that as many transactions can have made, and
 *        an E below the report's own H. So one that lies cannot use up the lives of all records,
 *        nor make clients' writes to new ones beat servers'.
 *
 * FAILURE  Without memory a tick fails and changes nothing; the next one does the work. */
#ifndef BLAZEI_MEMBERS_H
#define BLAZEI_MEMBERS_H

#include "lib/repl/replica.h"

#define BLAZEI_MEMBERS_MAX       1024u /* more are not counted, and the frontier stands still */
#define BLAZEI_MEMBER_REPORT_NS  (30 * BLAZEI_NS_PER_S)
#define BLAZEI_MEMBER_STEP_NS    (24 * 3600 * BLAZEI_NS_PER_S)
#define BLAZEI_MEMBER_SILENCE_NS (30 * BLAZEI_MEMBER_STEP_NS)

struct blazei_vector_view {
	const struct blazei_vector_entry *entries;
	unsigned count;
};

struct blazei_members_tick {
	uint64_t now_ns;
	/* What the own store holds for good, the own origin's entry among it. Without entries there
	 * is no store, and nothing is ever written. */
	struct blazei_vector_view durable;
	/* The vectors of live replicas that are heard and have no store, each with its own origin's
	 * entry first. While something that such a one wrote is not merged here, nobody knows what
	 * that had seen, and the frontier stands still. */
	const struct blazei_vector_view *holds;
	unsigned hold_count;
	/* What transactions in the making had seen when they began (opened.h); NULL: there is none.
	 * Nothing beyond is reported, so nothing that they may still write to is collected. */
	const struct blazei_vector_view *open;
	bool rejoin;  /* expelled before: a snapshot is in, the unseen writes are issued anew */
	bool at_once; /* what there is to report is, however short ago the last report was */
};

/* Does at most one thing that is due: joins, reports, expels. To be called every few seconds, and
 * again at once while it wrote something: a transaction like any local write in *ret_txn, whose len
 * is 0 where nothing was due. 0; -ESTALE this replica was expelled, or what is durable is below the
 * frontier: it needs a snapshot; -ENOMEM. */
int blazei_replica_members_tick(struct blazei_replica *replica,
                                const struct blazei_members_tick *tick,
                                struct blazei_txn_view *ret_txn);

enum blazei_membership {
	BLAZEI_MEMBER_NEVER,
	BLAZEI_MEMBER_JOINED,
	BLAZEI_MEMBER_EXPELLED,
};

enum blazei_membership blazei_replica_membership(struct blazei_replica *replica,
                                                 const struct blaze_id *node);
/* The seq up to which an origin's transactions are below the frontier; 0: none. */
uint64_t blazei_replica_frontier_seq(struct blazei_replica *replica,
                                     const struct blazei_origin *origin);
/* Whether there may be one at all: at no cost where no member was ever heard of. */
bool blazei_replica_has_frontier(struct blazei_replica *replica);
/* How many incarnations of the own node there are, where no other node has joined, as far as is
 * known here; else 0. */
unsigned blazei_replica_lone_incarnations(struct blazei_replica *replica);
/* Whether a replica with this vector may not be heard, or may not go on as it is, before it has
 * installed a snapshot and issued its unseen writes anew. */
bool blazei_replica_below_frontier(struct blazei_replica *replica,
                                   const struct blazei_vector_view *vector);

/* A total order of frontiers, so that of two replicas each of which is below the other's one gives
 * in (session_ask.c): the one made known last is greater, and of two that were made known at one
 * moment what they hold decides. It is the same for all that know the same, whoever they are. */
struct blazei_rank {
	uint64_t hlc;  /* of the last report that made a frontier known; 0: none did */
	uint64_t hash; /* of the frontier */
};

static inline bool blazei_rank_above(const struct blazei_rank *a, const struct blazei_rank *b)
{
	return a->hlc != b->hlc ? a->hlc > b->hlc : a->hash > b->hash;
}

/* The rank of this replica's frontier. 0 or -ENOMEM. */
int blazei_replica_rank(struct blazei_replica *replica, struct blazei_rank *ret_rank);

/* Drops what nobody needs any more from at most `rows` records, going round: hidden fields and
 * tombstones below the frontier (collect.c). Costs nothing where all is done. Not to be called
 * while a snapshot is given out, which would begin anew. The number of fields and tombstones
 * dropped, or -ENOMEM. */
int64_t blazei_replica_collect(struct blazei_replica *replica, unsigned rows);

#endif
