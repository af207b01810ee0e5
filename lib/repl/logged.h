/* SPDX-License-Identifier: Apache-2.0 */
/* What a replica hands to a log, and how it comes back from one.
 *
 * WHY    A log of all that was merged, in the order in which it was merged, makes the same replica
 *        again. A transaction is logged as the bytes that it is. Two things move a replica by more:
 *        a snapshot, which is logged as what the stage had of it; and what follows a whole snapshot
 *        that becomes all there is, or a name that is left (reissue.h), where much is forgotten or
 *        written again. Of these the result is logged, all registers and the vector, as a unit
 *        that counts for all that there is (lib/op/unit.h). (Rejected: to log what such a step
 *        starts from and take it again; the steps between would have to be one in the log too, or a
 *        crash between them loses what was to be written again.)
 *
 * STATES
 *   silent    no log, or none yet
 *   logging   each step goes to the log
 *   behind    steps were taken that the log does not have: none goes there until
 *             blazei_replica_log_all has
 *
 * INVARIANTS
 *   I1   While logging, the log leads to this replica: same registers, stamps and vector, but for
 *        what was collected, which is collected again. So does the log without what stands before
 *        the begin of a checkpoint that has its end (checkpoint.h).
 *   I2   In each prefix of the log, what a transaction depends on stands before it.
 *   I3   A unit is installed with its end, or not at all.
 *
 * FAILURE  A replica stays behind where there is no memory to log all of it; to be tried again. */
#ifndef BLAZEI_LOGGED_H
#define BLAZEI_LOGGED_H

#include "lib/op/unit.h"
#include "lib/repl/replica.h"

/* Takes entries in order, within calls of the replica. A transaction is of its first origin. */
struct blazei_log_sink {
	void *arg;
	void (*append)(void *arg, const void *entry, size_t len);
};

/* From now on all goes to this log, which has led to what the replica is. */
void blazei_replica_set_log(struct blazei_replica *replica, const struct blazei_log_sink *log);
/* Logs that the open unit is dropped. */
void blazei_logged_drop(struct blazei_replica *replica);
bool blazei_replica_log_behind(const struct blazei_replica *replica);
/* Of a replica that is behind, logs all that there is. Takes time in proportion to the records. 0
 * or -ENOMEM. */
int blazei_replica_log_all(struct blazei_replica *replica);

/* Coming back ---------------------------------------------------------------------------------*/

struct blazei_stage;

struct blazei_replay {
	struct blazei_replica_options options;
	struct blazei_replica *replica;  /* the caller's, to take over at the end */
	struct blazei_stage *stage;      /* of the open unit */
	struct blazei_unit_bound *begin; /* and its begin; NULL: none is open */
	bool begun;                      /* there was an entry */
	bool passing;                    /* a checkpoint, which has nothing that was not there */
	bool retired;                    /* there was no place for another incarnation */
};

/* Makes a new replica. 0 or an error of blazei_replica_new; to be ended either way. */
int blazei_replay_init(struct blazei_replay *replay, const struct blazei_replica_options *options);
/* Takes a checked entry. 0; -EBADMSG it does not follow from those before; -ENOMEM; -E2BIG it is of
 * one incarnation too many, and of none of those before may any be retired (mark.h). */
int blazei_replay_entry(struct blazei_replay *replay, const void *entry);
/* Whether the log ends within a unit: what is logged next must be that it is dropped. */
static inline bool blazei_replay_unfinished(const struct blazei_replay *replay)
{
	return replay->begin || replay->passing;
}
/* Whether that unit is a checkpoint without which there is nothing: the log lacks its end. */
static inline bool blazei_replay_lacking(const struct blazei_replay *replay)
{
	return replay->begin && replay->begin->flags & BLAZEI_UNIT_CHECKPOINT;
}
/* Frees what there is of a unit; not the replica. */
void blazei_replay_fini(struct blazei_replay *replay);

#endif
