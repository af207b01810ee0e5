/* SPDX-License-Identifier: Apache-2.0 */
/* Lets one allocation of the code under test fail: malloc and its kin are wrapped by the linker. */
#ifndef TESTS_REPL_STARVE_H
#define TESTS_REPL_STARVE_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define NEVER UINT_MAX

static unsigned allocations_left = NEVER;
static bool allocation_failed;
static bool armed; /* a call under test runs, no assertion: those allocate too */

static bool allocation_fails(void)
{
	if (!armed || allocations_left == NEVER)
		return false;
	if (allocations_left == 0) {
		allocation_failed = true;
		/* One only: what follows may go on. */
		allocations_left = NEVER;
		return true;
	}
	allocations_left--;
	return false;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

void *__wrap_malloc(size_t size)
{
	return allocation_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return allocation_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return allocation_fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return allocation_fails() ? NULL : __real_aligned_alloc(alignment, size);
}

/* The allocation number `at` fails from here on, until the end of starving. */
static inline void starve(unsigned at)
{
	allocations_left = at;
	allocation_failed = false;
	armed = true;
}

/* Whether it did. */
static inline bool starve_end(void)
{
	armed = false;
	allocations_left = NEVER;
	return allocation_failed;
}

/* Calls again, once, what had no memory. For programs of Check. */
#define ONCE_MORE(rc, call)                                                                        \
	do {                                                                                       \
		armed = true;                                                                      \
		(rc) = (call);                                                                     \
		armed = false;                                                                     \
		if ((rc) == -ENOMEM) {                                                             \
			ck_assert(allocation_failed);                                              \
			(rc) = (call);                                                             \
		}                                                                                  \
	} while (0)

#endif
