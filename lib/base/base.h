/* SPDX-License-Identifier: Apache-2.0 */
/* The floor that every layer stands on: time, randomness, fork detection, logging, small helpers.
 *
 * Nothing here knows of rings or records. Functions are safe from any thread. */
#ifndef BLAZEI_BASE_H
#define BLAZEI_BASE_H

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <blaze/base.h>

#define BLAZEI_CACHE_LINE 64

#define BLAZEI_NS_PER_MS UINT64_C(1000000)
#define BLAZEI_NS_PER_S  UINT64_C(1000000000)

#define blazei_likely(x)   __builtin_expect(!!(x), 1)
#define blazei_unlikely(x) __builtin_expect(!!(x), 0)

/* CLOCK_MONOTONIC and CLOCK_REALTIME. */
uint64_t blazei_monotonic_ns(void);
uint64_t blazei_realtime_ns(void);
/* What the calling thread has taken of CPUs; a system call. */
uint64_t blazei_thread_cpu_ns(void);

/* What has passed since an earlier moment; nothing where that moment was read from the clock later,
 * as by another function of the same turn. */
static inline uint64_t blazei_passed_ns(uint64_t now_ns, uint64_t since_ns)
{
	return now_ns > since_ns ? now_ns - since_ns : 0;
}

/* Starts a thread of the library's own, which takes none of the host's signals. 0 or -EAGAIN. */
int blazei_thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg);

/* Sleeps for ns, or less when a signal handler ran. */
void blazei_sleep_ns(uint64_t ns);

/* Tells the CPU that this is a spin loop. */
static inline void blazei_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

/* A clock for a few microseconds on one CPU, that costs less than clock_gettime: in ticks of 0.3 to
 * 1 ns on today's machines. */
static inline uint64_t blazei_cpu_ticks(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return __builtin_ia32_rdtsc();
#else
	return blazei_monotonic_ns();
#endif
}

/* Fills buf from getrandom(2). 0 or -EIO. */
int blazei_random(void *buf, size_t len);

/* Whether this process may write files of that length: 0 or -EFBIG, where a write beyond would be
 * answered by a signal that ends it (RLIMIT_FSIZE). */
int blazei_file_allowed(uint64_t bytes);

/* Grows by one in the child of every fork. A handle remembers the value at its birth; another
 * value now means that the handle belongs to an ancestor. */
extern _Atomic uint32_t blazei_fork_generation;

static inline bool blazei_forked_since(uint32_t generation)
{
	/* Relaxed: the value only changes in a child before any of its other code runs. */
	return atomic_load_explicit(&blazei_fork_generation, memory_order_relaxed) != generation;
}

/* The attach lock: held across every moment in which a descriptor exists that a forked child must
 * not keep. pthread_atfork takes it around fork. blazei_fork_init installs that, once; 0 or
 * -ENOMEM. */
int blazei_fork_init(void);
/* Names a handler that every forked child runs once, after the generation grew and before the
 * attach lock is made anew; it must only do what is async-signal-safe. At most 8 differ; naming one
 * again does nothing. Installs the fork handlers too. 0 or -ENOMEM. */
int blazei_fork_on_child(void (*handler)(void));
void blazei_attach_lock(void);
void blazei_attach_unlock(void);

/* Reads an option struct of another age: copies the caller's struct_size bytes into a struct of
 * known_size, the rest zero. -EINVAL: smaller than its first field; -E2BIG: a non-zero byte beyond
 * known_size, or a struct_size above 4096. A NULL source gives all zero. ret's struct_size becomes
 * known_size. */
int blazei_options_read(const void *options, size_t known_size, void *ret);

/* Whether a name matches [A-Za-z0-9._-]{1,max} without a leading dot. */
bool blazei_name_valid(const char *name, size_t max);

/* Passes a line to the process's log hook, formatted to at most 240 bytes. */
void blazei_log(enum blaze_log_level level, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

static inline bool blazei_id_equal(const struct blaze_id *a, const struct blaze_id *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* memcmp and memcpy for names and values, most of which are short: up to 16 bytes go without a
 * call, as two words, or three bytes, that overlap. */
static inline bool blazei_short_equal(const void *a, const void *b, size_t len)
{
	const uint8_t *x = a, *y = b;

	if (len > 16)
		return memcmp(a, b, len) == 0;
	if (len >= 8)
		return memcmp(x, y, 8) == 0 && memcmp(x + len - 8, y + len - 8, 8) == 0;
	if (len >= 4)
		return memcmp(x, y, 4) == 0 && memcmp(x + len - 4, y + len - 4, 4) == 0;
	return len == 0 || (x[0] == y[0] && x[len / 2] == y[len / 2] && x[len - 1] == y[len - 1]);
}

static inline void blazei_short_copy(void *to, const void *from, size_t len)
{
	const uint8_t *source = from;
	uint8_t *target = to;
	uint64_t words[2];
	uint32_t halves[2];

	if (len > 16) {
		memcpy(to, from, len);
	} else if (len >= 8) {
		memcpy(&words[0], source, 8);
		memcpy(&words[1], source + len - 8, 8);
		memcpy(target, &words[0], 8);
		memcpy(target + len - 8, &words[1], 8);
	} else if (len >= 4) {
		memcpy(&halves[0], source, 4);
		memcpy(&halves[1], source + len - 4, 4);
		memcpy(target, &halves[0], 4);
		memcpy(target + len - 4, &halves[1], 4);
	} else {
		for (size_t i = 0; i < len; i++)
			target[i] = source[i];
	}
}

static inline uint64_t blazei_round_up(uint64_t n, uint64_t power_of_two)
{
	return (n + power_of_two - 1) & ~(power_of_two - 1);
}

/* Named moments at which the crash tests stop or kill this process: nothing at all unless the
 * library was configured with --enable-testpoints. The environment variable BLAZE_TESTPOINT,
 * "name=kill", "name=stop" or "name=exit", optionally ":N" for the N-th pass, then takes effect. */
#ifdef BLAZE_TESTPOINTS
void blazei_testpoint(const char *name);
#define BLAZEI_TESTPOINT(name) blazei_testpoint(name)
#else
#define BLAZEI_TESTPOINT(name) ((void)0)
#endif

#endif
