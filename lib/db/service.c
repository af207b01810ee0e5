/* SPDX-License-Identifier: Apache-2.0 */
/* The service thread: takes turns with every database, spins for a while, then sleeps.
 *
 * WHY    A receiver that sleeps costs its writer a system call for each wake, one that spins costs
 *        a core. So the thread spins for the longest spin_ns of its databases after the last thing
 *        that came in, then sleeps on the rings of all of them at once.
 *
 * STATES stopped -> running with the first database; running -> stopped, joined, with the last.
 *
 * CONCURRENCY  `life` serialises those who add, remove, start and stop. A list is never changed but
 *        replaced: the new one is announced by `ordered`, taken over between two turns and
 *        acknowledged by `obeyed`, for which the one who gave the order waits. All signals are
 *        blocked in the thread. It never waits for a lane, for a disk or for a callback; it waits
 *        for locks that are held for bounded times only.
 *
 * FAILURE  A forked child has no service thread: its copy of this state starts afresh. */
#include "lib/db/service.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/db/db.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

#define SLEEP_MAX_NS   (100 * BLAZEI_NS_PER_MS)
#define NAP_NS         (100 * 1000)
#define BLIND_NAP_NS   (500 * 1000)
#define WAITS_MAX      128u
#define STEP_ASIDE_MAX 1000

/* As the kernel has it since 5.16. */
struct wait {
	uint64_t value;
	uint64_t address;
	uint32_t flags;
	uint32_t reserved;
};
#define WAIT_SIZE_U32 2u

static struct {
	pthread_mutex_t life;
	bool prepared; /* child_reset is installed */
	bool running;
	pthread_t thread;
	struct blaze_db **dbs;   /* the list that the thread uses or is ordered to use */
	unsigned count;          /* 0: the thread ends */
	struct blaze_db **spare; /* as long as the list, so that removing needs no memory */
	_Atomic uint32_t ordered;
	_Atomic uint32_t obeyed;
	_Atomic uint32_t kick; /* the thread sleeps on this word too */
} service = { .life = PTHREAD_MUTEX_INITIALIZER };

/* Sleeping ---------------------------------------------------------------------------------- */

static void wait_add(struct wait *waits, unsigned *count, const void *word, uint32_t expected)
{
	waits[*count] = (struct wait){
		.value = expected,
		.address = (uint64_t)(uintptr_t)word,
		.flags = WAIT_SIZE_U32,
	};
	++*count;
}

/* Prepares one link for sleep. False: there is something to do. */
static bool link_prepare(struct blazei_link *link, struct wait *waits, unsigned *count,
                         uint64_t *timeout_ns)
{
	uint32_t *word;
	uint32_t expected;
	uint64_t limit_ns;

	if (link->ops->prepare_sleep(link, &word, &expected, &limit_ns) != 0)
		return false;
	if (limit_ns < *timeout_ns)
		*timeout_ns = limit_ns;
	wait_add(waits, count, word, expected);
	return true;
}

static bool db_prepare(struct blaze_db *db, struct wait *waits, unsigned *count,
                       uint64_t *timeout_ns)
{
	bool ready = true;

	blazei_db_poll_lock(db);
	/* Of a database that takes nothing in, nothing that comes ends the sleep. */
	if (db->link != NULL && !db->full) {
		ready = link_prepare(db->link, waits, count, timeout_ns);
		/* Boards are compared after the link is ready to be woken, so that a change with a
		 * wake is either seen now or ends the sleep. */
		if (ready)
			ready = (blazei_lag_check(db, blazei_monotonic_ns()) &
			         BLAZEI_TURN_WORKED) == 0;
	}
	if (ready && db->pull.active && !db->full)
		ready = link_prepare(db->pull.carry.link, waits, count, timeout_ns);
	blazei_db_poll_unlock(db);
	return ready;
}

static void wait_any(const struct wait *waits, unsigned count, uint64_t timeout_ns)
{
	uint64_t until_ns = blazei_monotonic_ns() + timeout_ns;
	struct timespec until = {
		.tv_sec = (time_t)(until_ns / BLAZEI_NS_PER_S),
		.tv_nsec = (long)(until_ns % BLAZEI_NS_PER_S),
	};

	if (count > 0 && (syscall(SYS_futex_waitv, waits, count, 0, &until, CLOCK_MONOTONIC) >= 0 ||
	                  (errno != ENOSYS && errno != EPERM)))
		return;
	blazei_sleep_ns(timeout_ns < BLIND_NAP_NS ? timeout_ns : BLIND_NAP_NS);
}

/* Sleeps until something comes in for one of these databases, or the kick word is not what it was
 * before the turns. True: there is something already. */
static bool sleep_on(struct blaze_db *const *dbs, unsigned count, const struct wait *kick,
                     uint64_t timeout_ns)
{
	struct wait waits[WAITS_MAX];
	unsigned n = 0;

	waits[n++] = *kick;
	for (unsigned i = 0; i < count; i++) {
		if (n + 2 > WAITS_MAX) {
			/* More rings than one call takes: look at the rest in short order. */
			timeout_ns = timeout_ns < BLIND_NAP_NS ? timeout_ns : BLIND_NAP_NS;
			break;
		}
		if (!db_prepare(dbs[i], waits, &n, &timeout_ns))
			return true;
	}
	wait_any(waits, n, timeout_ns);
	return false;
}

static uint64_t sleep_limit(unsigned flags)
{
	return (flags & BLAZEI_TURN_NAP) != 0 ? NAP_NS : SLEEP_MAX_NS;
}

bool blazei_service_sleep(struct blaze_db *db, uint32_t kick, unsigned flags, uint64_t timeout_ns)
{
	uint64_t limit_ns = sleep_limit(flags);
	struct wait wait;
	unsigned n = 0;
	bool ready;

	wait_add(&wait, &n, &db->kick, kick);
	/* Pairs with the one in blazei_db_kick: either the sleeper is seen there, or here that the
	 * value is outdated, by the kernel. */
	atomic_fetch_add_explicit(&db->kick_sleepers, 1, memory_order_seq_cst);
	ready = sleep_on(&db, 1, &wait, timeout_ns < limit_ns ? timeout_ns : limit_ns);
	/* Relaxed: one too many costs a system call. */
	atomic_fetch_sub_explicit(&db->kick_sleepers, 1, memory_order_relaxed);
	return ready;
}

void blazei_db_kick(struct blaze_db *db)
{
	/* Release, at least: pairs with the acquire in pump. */
	atomic_fetch_add_explicit(&db->kick, 1, memory_order_seq_cst);
	if (atomic_load_explicit(&db->kick_sleepers, memory_order_seq_cst) > 0)
		syscall(SYS_futex, &db->kick, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* The thread -------------------------------------------------------------------------------- */

/* What the thread works with: the list that it took over last. */
struct work {
	struct blaze_db **dbs;
	unsigned count;
};

/* Takes over a new list, if there is one. False: it is empty, the thread ends. */
static bool obey(struct work *work)
{
	/* Acquire: pairs with the release in give_order; the list stands before it. */
	uint32_t ordered = atomic_load_explicit(&service.ordered, memory_order_acquire);

	/* Relaxed: written by this thread. */
	if (ordered == atomic_load_explicit(&service.obeyed, memory_order_relaxed))
		return true;
	work->dbs = service.dbs;
	work->count = service.count;
	/* Release: pairs with the acquire in give_order; the old list is not touched any more. */
	atomic_store_explicit(&service.obeyed, ordered, memory_order_release);
	syscall(SYS_futex, &service.obeyed, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	return work->count > 0;
}

/* Lets a thread that wants a database's polling side go first. */
static void step_aside(const struct blaze_db *db)
{
	/* Relaxed: a hint; the mutex decides. */
	for (int i = 0; i < STEP_ASIDE_MAX &&
	                atomic_load_explicit(&db->poll_waiters, memory_order_relaxed) != 0;
	     i++)
		sched_yield();
}

/* One turn with every database; the union of what they returned. */
static unsigned turns(const struct work *work, uint64_t now_ns, uint64_t *ret_spin_ns)
{
	unsigned flags = 0;
	uint64_t spin_ns = 1, advanced;

	for (unsigned i = 0; i < work->count; i++) {
		step_aside(work->dbs[i]);
		flags |= blazei_db_turn(work->dbs[i], now_ns, &advanced);
		if (work->dbs[i]->spin_ns > spin_ns)
			spin_ns = work->dbs[i]->spin_ns;
	}
	*ret_spin_ns = spin_ns;
	return flags;
}

static void *service_main(void *arg)
{
	uint64_t worked_ns = blazei_monotonic_ns();
	struct work work = { .count = 0 };

	(void)arg;
	for (;;) {
		struct wait kick;
		unsigned n = 0;
		uint64_t spin_ns, now_ns = blazei_monotonic_ns();
		unsigned flags;

		/* Acquire: pairs with the release in blazei_service_kick. What was done before the
		 * kick is seen by what follows; what is done later finds this value outdated. */
		wait_add(&kick, &n, &service.kick,
		         atomic_load_explicit(&service.kick, memory_order_acquire));
		if (!obey(&work))
			return NULL;
		flags = turns(&work, now_ns, &spin_ns);
		if ((flags & BLAZEI_TURN_WORKED) != 0)
			worked_ns = now_ns;
		else if (now_ns - worked_ns < spin_ns)
			blazei_cpu_relax();
		else
			sleep_on(work.dbs, work.count, &kick, sleep_limit(flags));
	}
}

/* Its masters ------------------------------------------------------------------------------- */

void blazei_service_kick(void)
{
	/* Release: pairs with the acquire in service_main. */
	atomic_fetch_add_explicit(&service.kick, 1, memory_order_release);
	/* Not PRIVATE: futex_waitv compares keys of the kind that the rings' words have. */
	syscall(SYS_futex, &service.kick, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Gives the thread a new list and returns the old one when it is out of use. life is held. */
static struct blaze_db **give_order(struct blaze_db **dbs, unsigned count)
{
	uint32_t obeyed;
	/* Relaxed: only changed under life. */
	uint32_t number = atomic_load_explicit(&service.ordered, memory_order_relaxed) + 1;
	struct blaze_db **before = service.dbs;

	service.dbs = dbs;
	service.count = count;
	/* Release: pairs with the acquire in obey. */
	atomic_store_explicit(&service.ordered, number, memory_order_release);
	blazei_service_kick();
	/* Acquire: pairs with the release in obey. */
	while ((obeyed = atomic_load_explicit(&service.obeyed, memory_order_acquire)) != number)
		syscall(SYS_futex, &service.obeyed, FUTEX_WAIT_PRIVATE, obeyed, NULL, NULL, 0);
	return before;
}

static int thread_start(void)
{
	int error = blazei_thread_start(&service.thread, service_main, NULL);

	if (error == 0)
		service.running = true;
	return error;
}

/* In the child of a fork the thread is gone, and its list with it. */
static void child_reset(void)
{
	free(service.dbs);
	free(service.spare);
	memset(&service, 0, sizeof(service));
	service.prepared = true;
	pthread_mutex_init(&service.life, NULL);
}

static int prepare(void)
{
	int error = 0;

	if (!service.prepared)
		error = pthread_atfork(NULL, NULL, child_reset);
	if (error == 0)
		service.prepared = true;
	return -error;
}

int blazei_service_add(struct blaze_db *db)
{
	struct blaze_db **dbs = NULL, **spare = NULL;
	int error;

	pthread_mutex_lock(&service.life);
	error = prepare();
	if (error == 0) {
		dbs = malloc((service.count + 1) * sizeof(struct blaze_db *));
		spare = malloc((service.count + 1) * sizeof(struct blaze_db *));
		error = dbs != NULL && spare != NULL ? 0 : -ENOMEM;
	}
	if (error == 0 && !service.running)
		error = thread_start();
	if (error == 0) {
		for (unsigned i = 0; i < service.count; i++)
			dbs[i] = service.dbs[i];
		dbs[service.count] = db;
		dbs = give_order(dbs, service.count + 1);
		free(service.spare);
		service.spare = spare;
		spare = NULL;
	}
	/* The list that is out of use; after an error those that were not needed. */
	free(dbs);
	free(spare);
	pthread_mutex_unlock(&service.life);
	return error;
}

void blazei_service_remove(struct blaze_db *db)
{
	unsigned count = 0;

	pthread_mutex_lock(&service.life);
	for (unsigned i = 0; i < service.count; i++) {
		if (service.dbs[i] != db)
			service.spare[count++] = service.dbs[i];
	}
	service.spare = give_order(service.spare, count);
	if (count == 0) {
		pthread_join(service.thread, NULL);
		service.running = false;
		free(service.dbs);
		free(service.spare);
		service.dbs = NULL;
		service.spare = NULL;
	}
	pthread_mutex_unlock(&service.life);
}
