/* SPDX-License-Identifier: Apache-2.0 */
/* Compaction: a checkpoint into the log, and all before it goes.
 *
 * WHY    A log only grows: it takes ever more of the disk, and of the time to open. So when it has
 *        become long against what it holds, a checkpoint is written into it, while all goes on
 *        (lib/repl/checkpoint.h), and with one exchange of the root the segments before it go
 *        (lib/store/drop.c). It is written as fast as the disk takes it, in strides of 2 MiB and
 *        what the last record takes; 8 MiB, up to the end of a stride, may be on their way while
 *        the next one is made, so that commits wait for little of it, and the tail of 16 MiB is
 *        not full of it.
 *        (Rejected: each made durable before the next. A flight takes all that is in the tail, so
 *        beside one who writes without a pause the log grew 16 times as fast as its checkpoint.)
 *        Where those who write are faster nevertheless, and the log has become twice as long as it
 *        should, the checkpoint competes for all of the tail: then they wait.
 *
 * WHEN   The log is longer than the last checkpoint, as that lies there, by three fifths of it, and
 *        by 64 MiB; or it has 512 segments more, as each opening takes one. So a record is written
 *        again at most 1.7 times for each time that it was written, and the log takes at most 1.6
 *        times what it holds, or 64 MiB more, but while a checkpoint is written: then it is both,
 *        and what comes meanwhile. A disk that has no room for that is left alone. At opening,
 *        where the root has few places left, it is done before anything else.
 *
 * INVARIANTS
 *   I1   The segments before a checkpoint go only when its end, and so all of it, is durable.
 *   I2   One checkpoint is written at a time.
 *
 * CONCURRENCY  `one` is held by who compacts: a thread that is started when it is due and ends with
 *        it, or whoever calls; in a database without threads each pump goes one step. It is taken
 *        before all locks of the database, or tried.
 *
 * FAILURE  It is told in the log hook and tried again later. What was written of a checkpoint stays
 *        in the log, where it counts nothing. */
#ifndef BLAZEI_DB_COMPACT_H
#define BLAZEI_DB_COMPACT_H

#include <pthread.h>

#include "lib/repl/checkpoint.h"

struct blaze_db;

#define BLAZEI_STRIDES 4u

struct blazei_stride_end {
	uint64_t lsn;
	uint64_t bytes; /* of the checkpoint, up to there */
};

struct blazei_compaction {
	pthread_mutex_t one;
	/* one: */
	struct blazei_checkpoint checkpoint;
	uint64_t begin;                                /* LSN of its begin */
	uint64_t awaited;                              /* of its bytes, those of whole strides */
	struct blazei_stride_end ends[BLAZEI_STRIDES]; /* of the last of these, in turn */
	unsigned strides;
	uint64_t state_before; /* what the log had written of records by then */
	unsigned attempts;     /* that were void */
	/* lock: */
	uint64_t live;         /* bytes of the last one in the log; 0: there was none */
	uint32_t segments;     /* that there were after it */
	uint64_t count;        /* of those that came to their end */
	uint64_t bytes_min;    /* a log that is longer by less is not compacted */
	uint32_t segments_min; /* nor one that has fewer more */
	uint64_t not_before_ns;
	bool there; /* the thread was started, and not joined */
	pthread_t thread;
	atomic_bool running; /* and it has not come to its end */
	atomic_bool stop;
};

/* All of these are for a database with a store that it may write to; for others they do nothing. */

int blazei_compact_init(struct blaze_db *db);
/* When the log has been read: compacts where there is hardly a place left. Nobody has the database
 * yet. */
void blazei_compact_open(struct blaze_db *db);
/* Of the thread that makes durable: starts another where it is due. */
void blazei_compact_look(struct blaze_db *db);
/* Of a database without threads: goes one step, where it is due. Waits for the disk. */
void blazei_compact_pump(struct blaze_db *db);
/* No more of it, when that thread has ended. */
void blazei_compact_stop(struct blaze_db *db);
void blazei_compact_fini(struct blaze_db *db);

#endif
