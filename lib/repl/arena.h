/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is taken bit by bit and given back as a whole.
 *
 * WHY    A transaction makes many small things that live until it ends. Taking one is a few
 *        instructions here, and ending needs no walk over them.
 *
 * INVARIANTS
 *   I1   At most `max` bytes are taken between two clears.
 *   I2   What was taken does not move. */
#ifndef BLAZEI_ARENA_H
#define BLAZEI_ARENA_H

#include "lib/base/base.h"

struct blazei_arena_chunk;

/* Zero but for max is an empty arena. */
struct blazei_arena {
	struct blazei_arena_chunk *chunks; /* the newest first */
	uint8_t *at;                       /* its unused part */
	size_t left;
	uint64_t taken;
	uint64_t max;
};

/* As below, where the newest chunk has no room. */
int blazei_arena_take_slow(struct blazei_arena *arena, size_t bytes, void **ret_memory);

/* Memory aligned to 8 bytes, with any content, in *ret_memory. 0; -EMSGSIZE beyond max; -ENOMEM. */
static inline int blazei_arena_take(struct blazei_arena *arena, size_t bytes, void **ret_memory)
{
	bytes = (bytes + 7) & ~(size_t)7;
	if (bytes > arena->left || bytes > arena->max - arena->taken)
		return blazei_arena_take_slow(arena, bytes, ret_memory);
	*ret_memory = arena->at;
	arena->at += bytes;
	arena->left -= bytes;
	arena->taken += bytes;
	return 0;
}

/* As below, where the newest chunk has no room. */
void *blazei_arena_room_slow(struct blazei_arena *arena, size_t bytes);

/* Memory that may be written now, of which the next call takes as much as is needed in the end.
 * NULL: no memory, or beyond max. */
static inline void *blazei_arena_room(struct blazei_arena *arena, size_t bytes)
{
	if (bytes > arena->left || bytes > arena->max - arena->taken)
		return blazei_arena_room_slow(arena, bytes);
	return arena->at;
}

/* Gives back everything but one chunk of the usual size. */
void blazei_arena_clear(struct blazei_arena *arena);
void blazei_arena_free(struct blazei_arena *arena);

#endif
