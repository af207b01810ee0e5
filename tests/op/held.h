/* SPDX-License-Identifier: Apache-2.0 */
/* What a test's own malloc and its kin have given out and not got back.
 *
 * WHY    A plain count does not do: memory that the C library or Check allocated by itself comes
 *        back through the wrapped free as well. So the pieces are remembered. */
#ifndef TESTS_OP_HELD_H
#define TESTS_OP_HELD_H

#include <stddef.h>
#include <stdint.h>

#define HELD_MASK 0xffffu

static const void *held_set[HELD_MASK + 1]; /* by address, in the next free place */
static unsigned held_count;

static inline unsigned held_place(const void *memory)
{
	unsigned i = (unsigned)((uintptr_t)memory * UINT64_C(0x9e3779b97f4a7c15) >> 48);

	while (held_set[i] != NULL && held_set[i] != memory)
		i = (i + 1) & HELD_MASK;
	return i;
}

/* Remembers what was given out, NULL being nothing, and returns it. */
static inline void *held(void *memory)
{
	if (memory != NULL && held_count < HELD_MASK) {
		held_set[held_place(memory)] = memory;
		held_count++;
	}
	return memory;
}

static inline void held_forget(const void *memory)
{
	unsigned i = held_place(memory);

	if (memory == NULL || held_set[i] == NULL)
		return;
	held_set[i] = NULL;
	held_count--;
	/* Those behind it may have been put there because it was taken. */
	for (i = (i + 1) & HELD_MASK; held_set[i] != NULL; i = (i + 1) & HELD_MASK) {
		const void *moved = held_set[i];

		held_set[i] = NULL;
		held_set[held_place(moved)] = moved;
	}
}

/* The same for what takes the place of `old`; NULL: old stays. */
static inline void *held_instead(const void *old, void *memory)
{
	if (memory != NULL)
		held_forget(old);
	return held(memory);
}

#endif
