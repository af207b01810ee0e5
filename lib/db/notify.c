/* SPDX-License-Identifier: Apache-2.0 */
/* Delivery: the notifier thread, and the same by hand in blaze_db_pump; see watch.h.
 *
 * STATES of the thread: none -> running with the first watch -> none, once the last one is stopped
 *        and no callback runs. Whoever stops the last one waits for that, unless a callback runs:
 *        it is of a watch that was stopped in it, and may wait for who stops here.
 *
 * CONCURRENCY  `lock` guards all here, and queues and states of all watches. It is a leaf, and not
 *        held in callbacks. The thread is detached; all signals are blocked in it.
 *
 * FAILURE  A forked child has no notifier: its copy of this state starts afresh. */
#include <signal.h>
#include <stdlib.h>

#include "lib/db/db.h"
#include "lib/db/service.h"

/* A callback that runs in this thread. */
struct frame {
	const struct blaze_watch *watch;
	const struct blaze_db *db;
	struct frame *outer;
};

static __thread struct frame *frames;

static struct {
	pthread_mutex_t lock;
	pthread_cond_t work; /* something is ready, or the last watch has gone */
	pthread_cond_t idle; /* a watch that is stopped runs no more, or the thread has ended */
	struct blazei_ready ready;
	unsigned watches; /* of databases that are not pumped by hand */
	bool running;     /* the thread is */
	bool calling;     /* it is in a callback */
} notify = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.work = PTHREAD_COND_INITIALIZER,
	.idle = PTHREAD_COND_INITIALIZER,
};

static void child_reset(void)
{
	memset(&notify, 0, sizeof(notify));
	pthread_mutex_init(&notify.lock, NULL);
	pthread_cond_init(&notify.work, NULL);
	pthread_cond_init(&notify.idle, NULL);
}

bool blazei_notifying(void)
{
	return frames != NULL;
}

bool blazei_notifying_of(const struct blaze_db *db)
{
	for (const struct frame *frame = frames; frame != NULL; frame = frame->outer)
		if (frame->db == db)
			return true;
	return false;
}

static bool running_here(const struct blaze_watch *watch)
{
	for (const struct frame *frame = frames; frame != NULL; frame = frame->outer)
		if (frame->watch == watch)
			return true;
	return false;
}

/* Ready watches; the lock is held ------------------------------------------------------------- */

static bool by_hand(const struct blaze_db *db)
{
	return (db->flags & BLAZE_DB_MANUAL) != 0;
}

static struct blazei_ready *ready_list(struct blaze_db *db)
{
	return by_hand(db) ? &db->ready_watches : &notify.ready;
}

static void ready_add(struct blaze_watch *watch)
{
	struct blazei_ready *ready = ready_list(watch->db);

	/* One that runs looks itself whether there is more. */
	if (watch->ready || watch->running)
		return;
	watch->ready = true;
	watch->next_ready = NULL;
	if (ready->last != NULL)
		ready->last->next_ready = watch;
	else
		ready->first = watch;
	ready->last = watch;
	if (by_hand(watch->db))
		blazei_db_kick(watch->db);
	else
		pthread_cond_signal(&notify.work);
}

static struct blaze_watch *ready_take(struct blazei_ready *ready)
{
	struct blaze_watch *watch = ready->first;

	if (watch == NULL)
		return NULL;
	ready->first = watch->next_ready;
	if (ready->first == NULL)
		ready->last = NULL;
	watch->ready = false;
	return watch;
}

static void ready_remove(struct blaze_watch *watch)
{
	struct blazei_ready *ready = ready_list(watch->db);
	struct blaze_watch **at = &ready->first, *before = NULL;

	if (!watch->ready)
		return;
	while (*at != watch) {
		before = *at;
		at = &before->next_ready;
	}
	*at = watch->next_ready;
	if (ready->last == watch)
		ready->last = before;
	watch->ready = false;
}

/* Queues ------------------------------------------------------------------------------------- */

static void list_join(struct blazei_watch_list *to, struct blazei_watch_list *from)
{
	if (from->first == NULL)
		return;
	if (to->last != NULL)
		to->last->next = from->first;
	else
		to->first = from->first;
	to->last = from->last;
	to->count += from->count;
	to->bytes += from->bytes;
	*from = (struct blazei_watch_list){ .first = NULL };
}

/* Takes at most one batch out of a queue. */
static struct blazei_watch_list batch_take(struct blazei_watch_list *queue)
{
	struct blazei_watch_list batch = { .first = queue->first };

	while (queue->first != NULL && batch.count < BLAZEI_WATCH_BATCH) {
		batch.last = queue->first;
		batch.bytes += batch.last->happening->bytes;
		batch.count++;
		queue->first = batch.last->next;
	}
	if (queue->first == NULL)
		queue->last = NULL;
	if (batch.last != NULL)
		batch.last->next = NULL;
	queue->count -= batch.count;
	queue->bytes -= batch.bytes;
	return batch;
}

void blazei_notify_commit(struct blaze_watch *watch, struct blazei_watch_list *list, bool withheld)
{
	struct blazei_watch_list dropped = { .first = NULL };

	pthread_mutex_lock(&notify.lock);
	/* Relaxed: changed to false under the database's lock only. */
	if (withheld || watch->queue.count + list->count > watch->events_max ||
	    watch->queue.bytes + list->bytes > watch->bytes_max)
		atomic_store_explicit(&watch->rescan, true, memory_order_relaxed);
	if (atomic_load_explicit(&watch->rescan, memory_order_relaxed)) {
		dropped = watch->queue;
		watch->queue = (struct blazei_watch_list){ .first = NULL };
		list_join(&dropped, list);
	} else {
		list->last->last = true;
		list_join(&watch->queue, list);
	}
	ready_add(watch);
	pthread_mutex_unlock(&notify.lock);
	blazei_watch_list_clear(&dropped);
}

/* Calling ------------------------------------------------------------------------------------ */

/* Without memory for an event: as if the queue had been full. What waits is dropped with what is
 * left of the batch, for nothing that a rescan stands for may follow it. */
static void rescan_begin(struct blaze_watch *watch)
{
	struct blazei_watch_list dropped;

	pthread_mutex_lock(&notify.lock);
	/* Relaxed: changed to false under the database's lock only. */
	atomic_store_explicit(&watch->rescan, true, memory_order_relaxed);
	dropped = watch->queue;
	watch->queue = (struct blazei_watch_list){ .first = NULL };
	pthread_mutex_unlock(&notify.lock);
	blazei_watch_list_clear(&dropped);
}

/* Calls for one event; whether there was memory for it. */
static bool item_call(struct blaze_watch *watch, const struct blazei_watch_item *item)
{
	const struct blazei_happening *happening = item->happening;
	struct blazei_conflict_view view;
	struct blaze_watch_event event = {
		.kind = happening->kind,
		.flags = happening->flags | (item->last ? BLAZE_WATCH_LAST : 0),
		.id = happening->id,
		.before = happening->before,
		.after = happening->after,
		.from = happening->from,
		.sync = happening->sync,
	};

	if (happening->conflict == NULL) {
		watch->callback(watch->arg, &event);
		return true;
	}
	if (blazei_conflict_decode(happening->conflict, &view) < 0)
		return false;
	event.conflict = &view.conflict;
	watch->callback(watch->arg, &event);
	blazei_conflict_release(&view);
	return true;
}

/* Calls for the batch, or for a rescan; the number of calls. */
static unsigned batch_call(struct blaze_watch *watch, bool rescan)
{
	const struct blaze_watch_event event = {
		.kind = BLAZE_WATCH_RESCAN,
		.flags = BLAZE_WATCH_LAST,
	};
	struct frame frame = { .watch = watch, .db = watch->db, .outer = frames };
	unsigned calls = 0;

	frames = &frame;
	if (rescan) {
		/* Between two transactions: watch.h, I3. Relaxed: the sink holds this lock. */
		pthread_mutex_lock(&watch->db->lock);
		atomic_store_explicit(&watch->rescan, false, memory_order_relaxed);
		pthread_mutex_unlock(&watch->db->lock);
		watch->callback(watch->arg, &event);
		calls++;
	}
	for (const struct blazei_watch_item *item = watch->batch.first; item != NULL;
	     item = item->next) {
		/* Acquire: pairs with the release in blazei_notify_end. */
		if (atomic_load_explicit(&watch->stopped, memory_order_acquire))
			break;
		if (!item_call(watch, item)) {
			rescan_begin(watch);
			break;
		}
		calls++;
	}
	frames = frame.outer;
	blazei_watch_list_clear(&watch->batch);
	return calls;
}

/* Delivers a batch of a watch that was ready; the lock is held, but not meanwhile. */
static unsigned watch_run(struct blaze_watch *watch)
{
	/* Relaxed: changed to false in batch_call only. */
	bool rescan = atomic_load_explicit(&watch->rescan, memory_order_relaxed);
	unsigned calls;

	if (!rescan)
		watch->batch = batch_take(&watch->queue);
	watch->running = true;
	pthread_mutex_unlock(&notify.lock);
	calls = batch_call(watch, rescan);
	pthread_mutex_lock(&notify.lock);
	watch->running = false;
	/* Relaxed: as above; stopped is set under the lock. */
	if (watch->orphan)
		blazei_watch_free(watch);
	else if (atomic_load_explicit(&watch->stopped, memory_order_relaxed))
		pthread_cond_broadcast(&notify.idle);
	else if (watch->queue.first != NULL ||
	         atomic_load_explicit(&watch->rescan, memory_order_relaxed))
		ready_add(watch);
	return calls;
}

unsigned blazei_notify_pump(struct blaze_db *db)
{
	uint64_t budget = 0;
	unsigned calls = 0;

	pthread_mutex_lock(&notify.lock);
	/* What waits now, and no more: a callback that writes may make work for ever. */
	for (const struct blaze_watch *at = db->ready_watches.first; at != NULL;
	     at = at->next_ready)
		budget += 1 + at->queue.count;
	while (budget > 0) {
		struct blaze_watch *watch = ready_take(&db->ready_watches);
		unsigned called;

		if (watch == NULL)
			break;
		called = watch_run(watch);
		calls += called;
		budget -= called < budget ? called + (called == 0) : budget;
	}
	pthread_mutex_unlock(&notify.lock);
	return calls;
}

bool blazei_notify_waiting(struct blaze_db *db)
{
	bool waiting;

	pthread_mutex_lock(&notify.lock);
	waiting = db->ready_watches.first != NULL;
	pthread_mutex_unlock(&notify.lock);
	return waiting;
}

/* The thread --------------------------------------------------------------------------------- */

static void *notify_main(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&notify.lock);
	for (;;) {
		struct blaze_watch *watch = ready_take(&notify.ready);

		if (watch != NULL) {
			notify.calling = true;
			watch_run(watch);
			notify.calling = false;
		} else if (notify.watches == 0) {
			break;
		} else {
			pthread_cond_wait(&notify.work, &notify.lock);
		}
	}
	notify.running = false;
	pthread_cond_broadcast(&notify.idle);
	pthread_mutex_unlock(&notify.lock);
	return NULL;
}

static int thread_start(void)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	pthread_t thread;
	int error = pthread_attr_init(&attributes);

	if (error != 0)
		return -error;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, &attributes, notify_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return -error;
}

int blazei_notify_prepare(void)
{
	return blazei_fork_on_child(child_reset);
}

int blazei_notify_start(void)
{
	int error = 0;

	pthread_mutex_lock(&notify.lock);
	if (!notify.running) {
		error = thread_start();
		notify.running = error == 0;
	}
	if (error == 0)
		notify.watches++;
	pthread_mutex_unlock(&notify.lock);
	return error;
}

void blazei_notify_end(struct blaze_watch *watch)
{
	struct blazei_watch_list dropped;
	bool own = running_here(watch);

	pthread_mutex_lock(&notify.lock);
	/* Release: pairs with the acquire in batch_call. */
	atomic_store_explicit(&watch->stopped, true, memory_order_release);
	dropped = watch->queue;
	watch->queue = (struct blazei_watch_list){ .first = NULL };
	ready_remove(watch);
	watch->orphan = own;
	while (!own && watch->running)
		pthread_cond_wait(&notify.idle, &notify.lock);
	if (!by_hand(watch->db) && --notify.watches == 0) {
		pthread_cond_signal(&notify.work);
		while (!notify.calling && notify.running && notify.watches == 0)
			pthread_cond_wait(&notify.idle, &notify.lock);
	}
	pthread_mutex_unlock(&notify.lock);
	blazei_watch_list_clear(&dropped);
	if (!own)
		blazei_watch_free(watch);
}
