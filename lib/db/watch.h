/* SPDX-License-Identifier: Apache-2.0 */
/* Watches: from what the replica tells to the program's callbacks.
 *
 * WHY    A callback may take as long as it likes, and may write; so it must not run where
 *        transactions are applied. The sink (sink.c) only puts events into the queues of watches;
 *        one thread per process, the notifier (notify.c), takes them out and calls. Databases that
 *        are pumped by hand have no such thread: blaze_db_pump delivers.
 *        (Rejected: one thread per watch, since a program has many; callbacks on the service
 *        thread, since one that writes waits for a lane that this thread must drain.)
 *
 * STATES of a watch
 *   idle -> ready       something is in its queue: it stands in a list of ready ones
 *   ready -> running    a batch was taken out; more may be queued meanwhile
 *   running -> ready | idle
 *   any -> stopped      nothing is queued or called any more; freed once it does not run
 *   rescan              a flag beside these: events were dropped, and none are queued, until the
 *                       one RESCAN event is taken out. What is dropped until then is seen by who
 *                       reads the database in that callback, or later.
 *
 * INVARIANTS
 *   I1   Events of one transaction enter a queue together or not at all; the last one is marked.
 *   I2   A queue holds at most `events_max` events and `bytes_max` bytes of records, and one
 *        transaction that is being merged as much again.
 *   I3   `rescan` is cleared before its callback starts, with the database's lock held, so between
 *        two transactions: whatever was withheld because of it is merged, and seen by a read in the
 *        callback, which need not take the lock itself; and a transaction of which any event was
 *        withheld is withheld whole.
 *   I4   No lock is held while a callback runs.
 *
 * CONCURRENCY  The database's lock: its list of watches, and `open`, the events of the transaction
 *        that is being merged. blazei_notify's own lock, a leaf taken within it: queues, lists of
 *        ready watches, running and stopped. A stopper waits for the callback that runs, holding
 *        neither. Nobody else ever waits for a callback, so one may write, and wait for room in a
 *        lane, without a circle: lanes are drained by service threads.
 *
 * FAILURE  Without memory for an event: as if the queue were full. After fork the child's watches
 *        are dead and no callback of them runs there. */
#ifndef BLAZEI_DB_WATCH_H
#define BLAZEI_DB_WATCH_H

#include <blaze/watch.h>

#include "lib/db/conflicts.h"

#define BLAZEI_WATCH_CHANGES  (BLAZE_WATCH_INSERT | BLAZE_WATCH_UPDATE | BLAZE_WATCH_DELETE)
#define BLAZEI_WATCH_KINDS    ((BLAZE_WATCH_RESCAN << 1) - 1)
#define BLAZEI_WATCH_BATCH    64u
#define BLAZEI_WATCH_EVENTS   4096u
#define BLAZEI_WATCH_BYTES    (4u << 20)
#define BLAZEI_WATCH_ITEM_MAX (UINT64_C(1) << 32) /* greatest bounds that may be asked for */

/* What happened, shared by the queues of all watches that want it. */
struct blazei_happening {
	_Atomic uint32_t refs;
	uint32_t kind;
	uint32_t flags; /* but LAST */
	uint32_t sync;
	uint64_t bytes;
	struct blaze_id id;
	struct blaze_record *before;
	struct blaze_record *after;
	struct blazei_conflict_entry *conflict;
	struct blaze_position from;
};

struct blazei_watch_item {
	struct blazei_watch_item *next;
	struct blazei_happening *happening;
	bool last;
};

struct blazei_watch_list {
	struct blazei_watch_item *first;
	struct blazei_watch_item *last;
	uint64_t count;
	uint64_t bytes;
};

struct blaze_watch {
	struct blaze_db *db;
	uint32_t fork_generation;
	uint32_t kinds;
	blaze_watch_callback callback;
	void *arg;
	struct blaze_id from; /* inclusive */
	struct blaze_id to;   /* inclusive */
	char **fields;
	uint32_t field_count;
	uint64_t events_max;
	uint64_t bytes_max;

	struct blaze_watch *next;      /* of this database */
	struct blazei_watch_list open; /* the transaction at hand */
	bool withheld;                 /* not to be queued: too large, or during a rescan */

	struct blazei_watch_list queue;
	struct blazei_watch_list batch; /* being delivered: who runs the watch has it */
	struct blaze_watch *next_ready;
	bool ready; /* in a list of ready ones */
	bool running;
	bool orphan;         /* stopped in its own callback: whoever runs it frees it */
	atomic_bool stopped; /* read without a lock between the callbacks of a batch */
	atomic_bool rescan;  /* set under it, cleared under the database's (I3) */
};

struct blazei_ready {
	struct blaze_watch *first;
	struct blaze_watch *last;
};

/* watch.c: the filters and queues -------------------------------------------------------------- */

/* Whether changes of this record, or events of these kinds, are wanted. */
bool blazei_watch_covers(const struct blaze_watch *watch, uint32_t kinds,
                         const struct blaze_id *id);
bool blazei_watch_field_matches(const struct blaze_watch *watch,
                                const struct blazei_happening *happening);
/* Adds to a list; a reference to the happening is taken. False: no memory. */
bool blazei_watch_list_add(struct blazei_watch_list *list, struct blazei_happening *happening);
void blazei_watch_list_clear(struct blazei_watch_list *list);
void blazei_happening_put(struct blazei_happening *happening);
void blazei_watch_free(struct blaze_watch *watch);

/* notify.c: delivery --------------------------------------------------------------------------- */

/* Before anything else of this: a child forked while another thread delivers starts afresh. 0 or
 * -ENOMEM. */
int blazei_notify_prepare(void);
/* Counts a watch of the notifier thread, and starts that with the first; 0, -ENOMEM, -EAGAIN. */
int blazei_notify_start(void);
/* Queues the events of a transaction and marks the last one; where they don't fit, or something of
 * the transaction was withheld, all is dropped and a rescan due. The database's lock is held. */
void blazei_notify_commit(struct blaze_watch *watch, struct blazei_watch_list *list, bool withheld);
/* The end of a watch that its database's list no longer has: waits, and frees it. */
void blazei_notify_end(struct blaze_watch *watch);
/* Delivers what is ready in a database that is pumped by hand; the number of callbacks. */
unsigned blazei_notify_pump(struct blaze_db *db);
/* Whether anything is ready there. */
bool blazei_notify_waiting(struct blaze_db *db);
/* Whether this thread is in a callback; of this database. */
bool blazei_notifying(void);
bool blazei_notifying_of(const struct blaze_db *db);

#endif
