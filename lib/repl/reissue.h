/* SPDX-License-Identifier: Apache-2.0 */
/* Writes of a node that nobody else has seen, taken out of the replica and issued anew.
 *
 * WHY    Two things make what a node wrote worthless under the name that it was written by: the
 *        node was below the frontier, so that nobody may merge it (members.h), or another history
 *        stands under that name, so that nobody will (halt.c). What the application wrote must not
 *        be lost with the name (design section 1, P1). So the writes are listed as they stand, and
 *        written again under a new incarnation, decided against the records as they are then. They
 *        see all that is there: P3 holds for them as for any local write.
 *
 *        Of a whole snapshot (stage.c) the replica takes the state, exactly: all that it holds
 *        beyond the cut goes, its own and what it heard of others, and the vector goes back to
 *        it. Registers keep only the greatest stamp, so what lies under one of those is gone: it
 *        comes with the snapshot, or again from whoever wrote it. (Rejected: to leave them and
 *        write on top. The old transactions stay in the vector, so others ask for them, and a
 *        server's update that had not seen a delete lets the record rise again where it was
 *        collected, and differently where it was not.)
 *
 * INVARIANTS
 *   I1   What is listed is in the replica, or in the list, until the transaction that holds it is
 *        merged.
 *   I2   What has lost against others' writes is not listed: a return does not make it win.
 *   I3   Between the listing and the last transaction the replica writes nothing else.
 *
 * FAILURE  Without memory nothing is changed: call again. A write that cannot be made any more (its
 *          record is at a limit by now) is counted as refused. */
#ifndef BLAZEI_REISSUE_H
#define BLAZEI_REISSUE_H

#include "lib/repl/members.h"

struct blazei_unseen_list {
	struct blazei_unseen *items;
	uint32_t count;
	uint32_t max;
	uint32_t next; /* to be issued */
};

/* Adds what `seen` does not cover of this node's writes, and of those of nodes that are no members:
 * a member keeps what it wrote, and brings it itself; of any other it may be here only. 0; -ENOMEM,
 * -E2BIG: nothing was added. */
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
