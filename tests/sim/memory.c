/* SPDX-License-Identifier: Apache-2.0 */
/* Memory: an arena for the world, and the library's allocations, of which one may fail. malloc and
 * its kin are wrapped by the linker. */
#include <stdlib.h>

#include "tests/sim/sim.h"

#define CHUNK_BYTES  (1u << 20)
#define ATTEMPTS_MAX 60u

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

/* Allocations until one fails; 0: none does. */
static unsigned countdown;
static bool failed;

static bool allocation_fails(void)
{
	if (countdown == 0 || --countdown > 0)
		return false;
	failed = true;
	return true;
}

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

void sim_memory_fail(unsigned after)
{
	countdown = after;
	failed = false;
}

bool sim_memory_restore(void)
{
	countdown = 0;
	return failed;
}

void sim_memory_starve(const struct sim_world *world, unsigned attempt)
{
	sim_memory_fail(world->fail_after > 0 && attempt < ATTEMPTS_MAX ? attempt + 1 : 0);
}

bool sim_memory_starved(struct sim_world *world)
{
	world->counts[SIM_COUNT_allocations_failed] += failed;
	if (!failed)
		world->fail_after = 0;
	return sim_memory_restore();
}

/* The arena ---------------------------------------------------------------------------------- */

struct chunk {
	struct chunk *next;
	size_t used;
	size_t cap;
	uint64_t bytes[];
};

static struct chunk *chunks;

void *sim_alloc(size_t bytes)
{
	struct chunk *chunk = chunks;
	void *memory;

	bytes = (bytes + 7) & ~(size_t)7;
	if (!chunk || chunk->cap - chunk->used < bytes) {
		size_t cap = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;

		chunk = __real_malloc(sizeof(*chunk) + cap);
		if (!chunk)
			abort();
		*chunk = (struct chunk){ .next = chunks, .cap = cap };
		chunks = chunk;
	}
	memory = (uint8_t *)chunk->bytes + chunk->used;
	chunk->used += bytes;
	memset(memory, 0, bytes);
	return memory;
}

/* Keeps one chunk for the next run. */
void sim_arena_empty(void)
{
	while (chunks && (chunks->next || chunks->cap > CHUNK_BYTES)) {
		struct chunk *next = chunks->next;

		free(chunks);
		chunks = next;
	}
	if (chunks)
		chunks->used = 0;
}
