/* SPDX-License-Identifier: Apache-2.0 */
/* The helper thread and its eventfd; see event.h. */
#include "lib/db/event.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/db/db.h"
#include "lib/db/service.h"

#define LIMIT_NS (100 * BLAZEI_NS_PER_MS)
/* What the pump does by the clock (giving up on a peer, looking for a ring again) gets its turn
 * after so long. */
#define IDLE_MAX_NS BLAZEI_NS_PER_S

int blazei_event_init(struct blazei_event *event)
{
	int error = pthread_mutex_init(&event->lock, NULL);

	if (error != 0)
		return -error;
	error = pthread_cond_init(&event->changed, NULL);
	if (error != 0)
		pthread_mutex_destroy(&event->lock);
	return -error;
}

/* Whether the pump has work; sleeps for a while where it has none. */
static bool work_await(struct blaze_db *db, unsigned flags, uint64_t armed_ns)
{
	/* Acquire: pairs with the release in blazei_db_kick; read before what it tells. */
	uint32_t kick = atomic_load_explicit(&db->kick, memory_order_acquire);
	/* A pump that ended in the midst of its work, its time being up, has to be called again. */
	bool ready = (flags & BLAZEI_TURN_WORKED) != 0 || blazei_notify_waiting(db);

	if (!ready)
		ready = blazei_service_sleep(db, kick, flags, LIMIT_NS);
	/* What waits for a peer has to look after it now and then. */
	if (ready || (flags & BLAZEI_TURN_NAP) != 0)
		return true;
	/* Relaxed: late by one round at most. */
	return atomic_load_explicit(&db->registered, memory_order_relaxed) &&
	       blazei_passed_ns(blazei_monotonic_ns(), armed_ns) > IDLE_MAX_NS;
}

static void tell(struct blazei_event *event)
{
	const uint64_t one = 1;

	/* Fails only where the counter is full, and then the descriptor is readable anyway. */
	while (write(event->fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void *event_main(void *arg)
{
	struct blaze_db *db = arg;
	struct blazei_event *event = &db->event;

	pthread_mutex_lock(&event->lock);
	while (!event->over) {
		const unsigned flags = event->flags;
		const uint64_t armed_ns = event->armed_ns;
		bool ready;

		if (!event->armed) {
			pthread_cond_wait(&event->changed, &event->lock);
			continue;
		}
		pthread_mutex_unlock(&event->lock);
		ready = work_await(db, flags, armed_ns);
		pthread_mutex_lock(&event->lock);
		if (ready && event->armed) {
			event->armed = false;
			tell(event);
		}
	}
	pthread_mutex_unlock(&event->lock);
	return NULL;
}

/* Makes descriptor and helper; the lock is held. */
static int event_start(struct blaze_db *db)
{
	struct blazei_event *event = &db->event;
	int error;

	event->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (event->fd < 0)
		return -errno;
	event->armed = true;
	event->armed_ns = blazei_monotonic_ns();
	error = blazei_thread_start(&event->thread, event_main, db);
	if (error != 0)
		close(event->fd);
	event->there = error == 0;
	return error;
}

int blaze_db_event_fd(struct blaze_db *db)
{
	int result = blazei_db_usable(db);

	if (result != 0)
		return result;
	if ((db->flags & BLAZE_DB_MANUAL) == 0)
		return -EINVAL;
	pthread_mutex_lock(&db->event.lock);
	if (!db->event.there)
		result = event_start(db);
	if (result == 0)
		result = db->event.fd;
	pthread_mutex_unlock(&db->event.lock);
	return result;
}

void blazei_event_pump_begin(struct blaze_db *db)
{
	uint64_t drained;

	pthread_mutex_lock(&db->event.lock);
	if (db->event.there) {
		db->event.armed = false;
		while (read(db->event.fd, &drained, sizeof(drained)) < 0 && errno == EINTR)
			;
	}
	pthread_mutex_unlock(&db->event.lock);
}

void blazei_event_pump_end(struct blaze_db *db, unsigned flags)
{
	bool there;

	pthread_mutex_lock(&db->event.lock);
	there = db->event.there;
	db->event.armed = true;
	db->event.flags = flags;
	if (there)
		db->event.armed_ns = blazei_monotonic_ns();
	if (there)
		pthread_cond_signal(&db->event.changed);
	pthread_mutex_unlock(&db->event.lock);
	/* One that still sleeps from before has to prepare its sleep anew. */
	if (there)
		blazei_db_kick(db);
}

void blazei_event_fini(struct blaze_db *db)
{
	struct blazei_event *event = &db->event;

	if (event->there) {
		pthread_mutex_lock(&event->lock);
		event->over = true;
		pthread_cond_signal(&event->changed);
		pthread_mutex_unlock(&event->lock);
		blazei_db_kick(db);
		pthread_join(event->thread, NULL);
		close(event->fd);
	}
	pthread_cond_destroy(&event->changed);
	pthread_mutex_destroy(&event->lock);
}

void blazei_event_forget(struct blaze_db *db)
{
	if (db->event.there)
		close(db->event.fd);
	db->event.there = false;
}
