/* SPDX-License-Identifier: Apache-2.0 */
/* Memory: an arena for the world, and the library's allocations, of which one may fail. */
#include <stdlib.h>

#include "tests/repl/starve.h"
#include "tests/sim/sim.h"

#define CHUNK_BYTES  (1u << 20)
#define ATTEMPTS_MAX 60u

void sim_memory_fail(unsigned after)
{
	starve(after > 0 ? after - 1 : NEVER);
}

bool sim_memory_restore(void)
{
	return starve_end();
}

void sim_memory_starve(const struct sim_world *world, unsigned attempt)
{
	sim_memory_fail(world->fail_after > 0 && attempt < ATTEMPTS_MAX ? attempt + 1 : 0);
}

bool sim_memory_starved(struct sim_world *world)
{
	const bool failed = sim_memory_restore();

	world->counts[SIM_COUNT_allocations_failed] += failed;
	if (!failed)
		world->fail_after = 0;
	return failed;
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
