/* SPDX-License-Identifier: Apache-2.0 */
/* Time, randomness, option structs, names, and what a fork does to handles.
 *
 * WHY    A forked child inherits mappings and descriptors of handles that belong to its parent. It
 *        must never act through them, and must not keep alive what the parent's death should
 *        release. So every handle remembers a generation that a fork makes stale, and the modules
 *        that hold descriptors name a handler that runs in the child.
 *
 * INVARIANTS
 *    I1  In a child, the generation has grown before any other code of this library runs there.
 *    I2  fork never happens while the attach lock is held by another thread: the prepare handler
 *        waits for it.
 *    I3  In a child the attach lock is free: it is made anew, after the child handlers ran.
 *
 * CONCURRENCY  The list of child handlers only grows, under the attach lock; a fork holds that
 * lock, so the child sees the list whole. */
#include "lib/base/base.h"

#include <signal.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

#define FORK_HANDLERS_MAX 8

/* A struct_size beyond this is a stray value, not a later version's struct. */
#define OPTIONS_BYTES_MAX 4096

_Atomic uint32_t blazei_fork_generation;

static pthread_mutex_t attach_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_result;
static void (*fork_handlers[FORK_HANDLERS_MAX])(void);
static unsigned fork_handler_count;

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) != 0)
		return 0;
	return (uint64_t)ts.tv_sec * BLAZEI_NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t blazei_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t blazei_realtime_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

uint64_t blazei_thread_cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

int blazei_thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(ret_thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

void blazei_sleep_ns(uint64_t ns)
{
	const struct timespec ts = { .tv_sec = (time_t)(ns / BLAZEI_NS_PER_S),
		                     .tv_nsec = (long)(ns % BLAZEI_NS_PER_S) };

	/* An interrupted sleep is short, as promised: callers look at the clock themselves. */
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

int blazei_random(void *buf, size_t len)
{
	uint8_t *at = buf;

	while (len > 0) {
		const ssize_t got = getrandom(at, len, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return -EIO;
		at += got;
		len -= (size_t)got;
	}
	return 0;
}

int blazei_file_allowed(uint64_t bytes)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) != 0 || bytes <= limit.rlim_cur ? 0 : -EFBIG;
}

static void fork_prepare(void)
{
	pthread_mutex_lock(&attach_lock);
}

static void fork_parent(void)
{
	pthread_mutex_unlock(&attach_lock);
}

static void fork_child(void)
{
	/* Relaxed: the child has one thread, this one. */
	atomic_fetch_add_explicit(&blazei_fork_generation, 1, memory_order_relaxed);
	for (unsigned i = 0; i < fork_handler_count; i++)
		fork_handlers[i]();
	pthread_mutex_init(&attach_lock, NULL);
}

static void fork_install(void)
{
	/* pthread_atfork knows one failure, want of memory. */
	fork_result = pthread_atfork(fork_prepare, fork_parent, fork_child) == 0 ? 0 : -ENOMEM;
}

int blazei_fork_init(void)
{
	pthread_once(&fork_once, fork_install);
	return fork_result;
}

int blazei_fork_on_child(void (*handler)(void))
{
	const int rc = blazei_fork_init();

	if (rc < 0)
		return rc;

	int result = -ENOMEM;

	blazei_attach_lock();
	for (unsigned i = 0; i < fork_handler_count; i++) {
		if (fork_handlers[i] == handler)
			result = 0;
	}
	if (result < 0 && fork_handler_count < FORK_HANDLERS_MAX) {
		fork_handlers[fork_handler_count++] = handler;
		result = 0;
	}
	blazei_attach_unlock();
	return result;
}

void blazei_attach_lock(void)
{
	pthread_mutex_lock(&attach_lock);
}

void blazei_attach_unlock(void)
{
	pthread_mutex_unlock(&attach_lock);
}

int blazei_options_read(const void *options, size_t known_size, void *ret)
{
	uint32_t given = 0;

	if (options != NULL) {
		const uint8_t *bytes = options;

		memcpy(&given, options, sizeof(given));
		if (given < sizeof(given))
			return -EINVAL;
		if (given > OPTIONS_BYTES_MAX)
			return -E2BIG;
		for (size_t i = known_size; i < given; i++) {
			if (bytes[i] != 0)
				return -E2BIG;
		}
	}

	const uint32_t known = (uint32_t)known_size;

	memset(ret, 0, known_size);
	if (given > 0)
		memcpy(ret, options, given < known ? given : known);
	memcpy(ret, &known, sizeof(known));
	return 0;
}

bool blazei_name_valid(const char *name, size_t max)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	                              "0123456789._-";

	if (name == NULL)
		return false;

	const size_t len = strnlen(name, max + 1);

	return len >= 1 && len <= max && name[0] != '.' && strspn(name, allowed) == len;
}
