/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is given back as a whole; see arena.h. */
#include "lib/repl/arena.h"

#include <stdlib.h>

#define CHUNK_BYTES     (32u << 10)
#define CHUNK_BYTES_MAX (1u << 20)

struct blazei_arena_chunk {
	struct blazei_arena_chunk *next;
	uint64_t bytes; /* of memory */
	uint64_t memory[];
};

static void chunk_use(struct blazei_arena *arena)
{
	arena->at = (uint8_t *)arena->chunks->memory;
	arena->left = arena->chunks->bytes;
}

/* 0; -EMSGSIZE: it is not to be; -ENOMEM. */
static int chunk_add(struct blazei_arena *arena, size_t bytes)
{
	struct blazei_arena_chunk *chunk;
	size_t want = CHUNK_BYTES;

	if (bytes > arena->max - arena->taken)
		return -EMSGSIZE;
	/* As large as all before it, so that a large transaction has few. */
	while (want < arena->taken && want < CHUNK_BYTES_MAX)
		want *= 2;
	if (want < bytes)
		want = bytes;
	chunk = malloc(sizeof(*chunk) + want);
	if (!chunk)
		return -ENOMEM;
	chunk->bytes = want;
	chunk->next = arena->chunks;
	arena->chunks = chunk;
	chunk_use(arena);
	return 0;
}

int blazei_arena_take_slow(struct blazei_arena *arena, size_t bytes, void **ret_memory)
{
	const int rc = chunk_add(arena, bytes);

	return rc < 0 ? rc : blazei_arena_take(arena, bytes, ret_memory);
}

void *blazei_arena_room_slow(struct blazei_arena *arena, size_t bytes)
{
	return chunk_add(arena, bytes) < 0 ? NULL : arena->at;
}

void blazei_arena_clear(struct blazei_arena *arena)
{
	struct blazei_arena_chunk *kept = NULL;
	struct blazei_arena_chunk *chunk = arena->chunks;

	while (chunk) {
		struct blazei_arena_chunk *next = chunk->next;

		if (!kept && chunk->bytes == CHUNK_BYTES)
			kept = chunk;
		else
			free(chunk);
		chunk = next;
	}
	*arena = (struct blazei_arena){ .chunks = kept, .max = arena->max };
	if (kept) {
		kept->next = NULL;
		chunk_use(arena);
	}
}

void blazei_arena_free(struct blazei_arena *arena)
{
	struct blazei_arena_chunk *chunk = arena->chunks;

	while (chunk) {
		struct blazei_arena_chunk *next = chunk->next;

		free(chunk);
		chunk = next;
	}
	*arena = (struct blazei_arena){ .max = arena->max };
}
