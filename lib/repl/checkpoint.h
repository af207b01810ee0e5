/* SPDX-License-Identifier: Apache-2.0 */
/* All that there is, into the log, while it goes on.
 *
 * WHY    What stands before it in the log counts no more, and may be dropped: so a log need not
 *        grow for ever. The state of a large replica takes long to write, and it must not stand
 *        still for that. So the chunks are written one at a time, each as the rows stand at that
 *        moment, and what is merged meanwhile goes to the log as ever, in between. Together they
 *        are as exact as a snapshot for another replica, and by the same reasoning
 *        (session_answer.c): the chunks hold all that was merged when it began, and some of what
 *        came since; the transactions in between are the rest. (Rejected: to write it beside the
 *        log, and to put it in the log's place at the end; who does so needs a second way to write,
 *        to fail and to be brought back, and the transactions twice.)
 *
 * LAYOUT of a checkpoint in the log: a begin with the flag, chunks and transactions in the order in
 *        which they came, an end. A log that begins with one is read from there on; where anything
 *        stands before its begin, only the transactions count, as they would without it. A drop, or
 *        the begin of another unit, says that it is not ended.
 *
 * INVARIANTS
 *   I1   From its begin on the log leads to the same as with all that stands before.
 *   I2   Between begin and end the log has transactions and its chunks, no other unit; and no row
 *        and no entry goes: nothing is collected (collect.c), and what moves ordinals all the same,
 *        as another unit does, makes it void.
 *   I3   Whether there is a checkpoint changes nothing of what a log leads to that has more before.
 *
 * CONCURRENCY  As the replica's: calls within its lock, which may be let go of between them.
 *
 * FAILURE  It may be given up at any time. It takes all memory when it begins. */
#ifndef BLAZEI_CHECKPOINT_H
#define BLAZEI_CHECKPOINT_H

#include "lib/op/unit.h"
#include "lib/repl/replica.h"

struct blazei_checkpoint {
	struct blazei_replica *replica; /* NULL: none is open */
	uint64_t row;                   /* the cursor's place (core.h) */
	uint64_t shape;                 /* of the table, when it began */
	uint64_t units;                 /* that were logged then */
	uint64_t bytes;                 /* of its own entries by now */
	struct blazei_unit_bound *end;  /* to be filled */
	uint64_t *known;                /* of nobody anything */
	void *chunk;
};

/* Logs the begin. 0; -ENOMEM; -EAGAIN: the replica doesn't log, or its log is behind. */
int blazei_checkpoint_begin(struct blazei_checkpoint *checkpoint, struct blazei_replica *replica);
/* Logs the next chunk, of some 256 KiB; 1: there are more. 0: that was the last one, and the end is
 * logged. -ESTALE: it is void, and may be begun anew. After 0 and -ESTALE none is open. */
int blazei_checkpoint_step(struct blazei_checkpoint *checkpoint);
/* Gives it up, where one is open. */
void blazei_checkpoint_drop(struct blazei_checkpoint *checkpoint);

#endif
