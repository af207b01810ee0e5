/* SPDX-License-Identifier: Apache-2.0 */
/* A database and its store: what is merged goes to the log, and what is durable there is shown and,
 * of the own writes, published.
 *
 * WHY    Others must not see a write that its origin may lose: what they build on it would hang in
 *        the air. So an own transaction waits here, encoded, until the log has it for good; then
 *        whoever finds that out publishes all that are due. What others wrote is durable where it
 *        was written: it is merged at once and made durable by a thread, a little later and many at
 *        a time. If that is lost it comes again.
 *
 * INVARIANTS
 *   I1   The log has what was merged in the order of merging, so each prefix of it holds all that
 *        its transactions depend on (lib/repl/logged.h).
 *   I2   Own transactions are published in the order of seq, when the log keeps them as the
 *        durability asks for: with sync when they are durable, else at once. No message of a
 *        session leaves before all own ones that it may tell of are published (carry.c).
 *   I3   `durable` of a vector entry is at most what a crash now would leave.
 *   I4   The service thread never waits for the disk. While more than BLAZEI_UNSYNCED_MAX bytes
 *        wait for it, nothing more is taken in; the lanes' writers go on, and what they overwrite
 *        is caught up with later.
 *
 * CONCURRENCY  Items: lock. Transactions that wait: write_lock. The thread takes these one after
 *        the other, and waits for the store without either.
 *
 * FAILURE  Once the log is read-only nothing more is durable, so nothing more of the own is
 *        published. What others write is merged in memory still. */
#ifndef BLAZEI_DB_DURABLE_H
#define BLAZEI_DB_DURABLE_H

#include <pthread.h>

#include "lib/op/buffer.h"
#include "lib/repl/replica.h"

#define BLAZEI_UNSYNCED_MAX (UINT64_C(64) << 20)

struct blaze_db;

/* What the log has from an LSN on; and one seq more with each of the `more` LSNs behind it, as a
 * node that writes alone fills the log with: what becomes durable is then settled as one, whatever
 * the rate. */
struct blazei_durable_item {
	uint64_t lsn;
	uint64_t more;
	struct blazei_vector_entry entry;
};

/* An own transaction that waits for the log. */
struct blazei_unsent {
	struct blazei_unsent *next;
	uint64_t lsn;
	uint64_t seq;
	struct blazei_buffer out; /* empty: it is found by the board alone */
};

struct blazei_durable {
	/* lock: */
	struct blazei_durable_item *items; /* a ring, ascending by LSN */
	size_t first;
	size_t count;
	size_t max; /* a power of two, or 0 */
	bool lost;  /* there was no memory for one: known again when all is durable */
	bool unit;  /* the log is within a unit */
	bool dirty; /* something was appended that the thread does not know of */
	bool stop;
	int error;         /* why the log took nothing more; 0 */
	uint64_t appended; /* LSN of the last entry */
	pthread_cond_t work;
	/* write_lock: */
	struct blazei_unsent *unsent;
	struct blazei_unsent *unsent_last;
	struct blazei_unsent *spare;
	/* One thread's, or read by all: */
	_Atomic uint64_t published; /* the own seq up to which others may know */
	bool threaded;
	pthread_t thread;
};

/* All of these are for a database with a store; for one without they do nothing and return 0. */

/* Brings the replica back from the store, which is open. 0 or an error. */
int blazei_durable_open(struct blaze_db *db, struct blazei_replica_options *options);
/* Starts the thread; 0 or -EAGAIN. Stops it, and a compaction. */
int blazei_durable_start(struct blaze_db *db);
void blazei_durable_stop(struct blaze_db *db);
/* After stop; closes the store too. 0, or -EIO: that did not take all that was acknowledged. */
int blazei_durable_close(struct blaze_db *db);

/* A place for a transaction that is about to be committed; NULL: no memory. write_lock is held. */
struct blazei_unsent *blazei_durable_place(struct blaze_db *db);
void blazei_durable_unplace(struct blaze_db *db, struct blazei_unsent *place);
/* Keeps what was just committed until it is durable; its LSN. Both locks are held. 0 or -EROFS,
 * -ENOMEM: the log did not take it, nor takes it anything more. */
int blazei_durable_keep(struct blaze_db *db, struct blazei_unsent *place, uint64_t *ret_lsn);
/* Shows and publishes what is durable by now. None of the locks is held. */
void blazei_durable_advance(struct blaze_db *db);
/* Publishes what is kept by now; write_lock is held. */
void blazei_durable_publish(struct blaze_db *db);
/* The name was left: what waits under it is not published. Both locks are held. */
void blazei_durable_rename(struct blaze_db *db);
/* Where the log lacks something, logs all. Both locks are held. 0 or -ENOMEM. */
int blazei_durable_catch_up(struct blaze_db *db);
/* On a new board: shows what is durable. lock is held. */
void blazei_durable_show(struct blaze_db *db);
/* The own seq that others may know of. Both locks are held, or the database's last user asks. */
uint64_t blazei_durable_own(const struct blaze_db *db);
/* Whether they may know of this one. Any thread. */
bool blazei_durable_published(const struct blaze_db *db, uint64_t seq);
/* Whether nothing more is to be taken in for now. */
bool blazei_durable_full(struct blaze_db *db);
/* For a database without threads: makes durable what was taken in. Waits for the disk. */
void blazei_durable_pump(struct blaze_db *db);
/* In a turn: a tick of the list of members. poll_lock is held. */
void blazei_durable_tick(struct blaze_db *db, uint64_t now_ns);

#endif
