/* SPDX-License-Identifier: Apache-2.0 */
/* The flusher: the thread that is the leader where nobody waits; and those who wait for room.
 *
 * WHY    With async durability a commit returns once it is in the tail. Somebody has to bring it to
 *        the disk soon: what a power loss takes is what came since the last flight left, and that
 *        flight itself. So a flight leaves half an interval after the first transaction for it
 *        came, which leaves the other half to the sync; or when the tail is a quarter full, as then
 *        there is enough to write. With durability none only the latter counts.
 *
 * INVARIANTS
 *   I1   An appender wakes the flusher where it waits for something to do at all, and where it
 *        waits for the time and there is much: once each, as a flusher that was called is not
 *        called again before it waits again.
 *   I2   A writer is turned away before it has changed anything.
 *
 * CONCURRENCY  All under the log's lock, but the gate, which writers read without it. */
#include <signal.h>
#include <time.h>

#include <blaze/db.h>

#include "lib/store/log.h"

/* Of `pending` with durability none: from here on writers wait. */
#define MEMORY_BYTES (UINT64_C(64) << 20)
#define ROOM_WAIT_NS BLAZEI_NS_PER_S

static uint64_t capacity(const struct blazei_store *store)
{
	return store->durability == BLAZE_DURABILITY_ASYNC ? store->tail.bytes : MEMORY_BYTES;
}

/* What is not durable. */
uint64_t blazei_store_unsynced(const struct blazei_store *store)
{
	return store->tail.end - store->tail.head + store->pending.len + store->flight_pending;
}

/* Whether a flight is to leave, whatever the time. */
static bool crowded(const struct blazei_store *store)
{
	return store->tail.end - store->flight_end + store->pending.len > capacity(store) / 4;
}

void blazei_store_gate_set(struct blazei_store *store)
{
	uint32_t gate = store->failed != 0 ? BLAZEI_GATE_FAILED : 0;

	if (store->durability != BLAZE_DURABILITY_SYNC &&
	    blazei_store_unsynced(store) > capacity(store) - capacity(store) / 8)
		gate |= BLAZEI_GATE_TIGHT;
	/* Relaxed: a hint; whoever sees it looks again under the lock. */
	if (gate != atomic_load_explicit(&store->gate, memory_order_relaxed))
		atomic_store_explicit(&store->gate, gate, memory_order_relaxed);
}

void blazei_store_flusher_call(struct blazei_store *store)
{
	if (store->flusher_waits == 0 ||
	    (store->flusher_waits == BLAZEI_FLUSHER_TIME && !crowded(store)))
		return;
	if (store->durability == BLAZE_DURABILITY_NONE && !crowded(store))
		return;
	store->flusher_waits = 0;
	pthread_cond_signal(&store->work);
}

static void wait_until(pthread_cond_t *cond, struct blazei_store *store, uint64_t at_ns)
{
	const struct timespec at = { .tv_sec = (time_t)(at_ns / BLAZEI_NS_PER_S),
		                     .tv_nsec = (long)(at_ns % BLAZEI_NS_PER_S) };

	(void)pthread_cond_timedwait(cond, &store->lock, &at);
}

/* Waits where there is reason to; whether there was. */
static bool rest(struct blazei_store *store)
{
	uint64_t due = store->since_ns + store->sync_interval_ns / 2;

	if (store->leading || store->claims > 0) {
		pthread_cond_wait(&store->changed, &store->lock);
		return true;
	}
	if (store->failed == 0 && store->since_ns != 0 && crowded(store))
		return false;
	if (store->failed != 0 || store->since_ns == 0 ||
	    store->durability == BLAZE_DURABILITY_NONE) {
		store->flusher_waits = BLAZEI_FLUSHER_IDLE;
		pthread_cond_wait(&store->work, &store->lock);
	} else if (blazei_monotonic_ns() < due) {
		store->flusher_waits = BLAZEI_FLUSHER_TIME;
		wait_until(&store->work, store, due);
	} else {
		return false;
	}
	store->flusher_waits = 0;
	return true;
}

static void *flusher_main(void *arg)
{
	struct blazei_store *store = arg;

	pthread_mutex_lock(&store->lock);
	while (!store->stopping)
		if (!rest(store))
			blazei_store_lead(store);
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

int blazei_store_flusher_start(struct blazei_store *store)
{
	int error = blazei_thread_start(&store->flusher, flusher_main, store);

	store->flusher_there = error == 0;
	return error;
}

void blazei_store_flusher_stop(struct blazei_store *store)
{
	if (!store->flusher_there)
		return;
	pthread_mutex_lock(&store->lock);
	store->stopping = true;
	pthread_cond_signal(&store->work);
	pthread_cond_broadcast(&store->changed);
	pthread_mutex_unlock(&store->lock);
	pthread_join(store->flusher, NULL);
	store->flusher_there = false;
}

int blazei_store_await_room(struct blazei_store *store)
{
	uint64_t until;
	int error = 0;

	/* Relaxed: what it guards is looked at under the lock. */
	if (blazei_likely(atomic_load_explicit(&store->gate, memory_order_relaxed) == 0))
		return 0;
	until = blazei_monotonic_ns() + ROOM_WAIT_NS;
	pthread_mutex_lock(&store->lock);
	for (;;) {
		uint32_t gate = atomic_load_explicit(&store->gate, memory_order_relaxed);

		if ((gate & BLAZEI_GATE_FAILED) != 0)
			error = -EROFS;
		else if (gate != 0 && blazei_monotonic_ns() >= until)
			error = -EAGAIN;
		if (gate == 0 || error != 0)
			break;
		wait_until(&store->changed, store, until);
	}
	pthread_mutex_unlock(&store->lock);
	return error;
}

void blazei_store_stats(struct blazei_store *store, struct blazei_store_stats *ret_stats)
{
	uint64_t since;

	pthread_mutex_lock(&store->lock);
	since = store->leading ? store->flight_since_ns : store->since_ns;
	*ret_stats = (struct blazei_store_stats){
		.last = store->last,
		.durable = store->durable,
		.unsynced_bytes = blazei_store_unsynced(store),
		.cuts = store->root->cuts,
	};
	if (since != 0)
		ret_stats->unsynced_ns = blazei_passed_ns(blazei_monotonic_ns(), since);
	pthread_mutex_unlock(&store->lock);
}
