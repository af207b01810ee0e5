/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks for records; see slab.h. Chunks start small, so that a database of ten records holds
 * little, and double up to a huge page.
 *
 * FAILURE An allocation that fails leaves the slab as it was. madvise is advice: without huge pages
 *         all is the same, only slower. */
#include "lib/repl/slab.h"

#include <stdlib.h>
#include <sys/mman.h>

#define CHUNK_MIN  (16u << 10)
#define HUGE_PAGE  (2u << 20)
#define CLASS_MAX  BLAZEI_SLAB_BYTES_MAX
#define CHUNK_HEAD BLAZEI_CACHE_LINE

void *blazei_huge_alloc(size_t bytes)
{
	void *memory;

	if (bytes < HUGE_PAGE)
		memory = aligned_alloc(BLAZEI_CACHE_LINE, blazei_slab_size(bytes));
	else
		memory = aligned_alloc(HUGE_PAGE, blazei_round_up(bytes, HUGE_PAGE));
	if (!memory)
		return NULL;
	if (bytes >= HUGE_PAGE)
		(void)madvise(memory, blazei_round_up(bytes, HUGE_PAGE), MADV_HUGEPAGE);
	memset(memory, 0, bytes);
	return memory;
}

void blazei_huge_empty(void *memory, size_t bytes)
{
	if (bytes >= HUGE_PAGE)
		(void)madvise(memory, blazei_round_up(bytes, HUGE_PAGE), MADV_DONTNEED);
}

static void push(struct blazei_slab *slab, void *block, size_t size)
{
	void **list = &slab->free[size / BLAZEI_CACHE_LINE - 1];

	memcpy(block, list, sizeof(*list));
	*list = block;
}

static bool chunk_add(struct blazei_slab *slab)
{
	size_t bytes = slab->next_bytes ? slab->next_bytes : CHUNK_MIN;
	uint8_t *chunk = blazei_huge_alloc(bytes);

	if (!chunk)
		return false;
	/* What is left of the old chunk is less than the block asked for: it fits a free list. */
	if (slab->left > 0) {
		push(slab, slab->at, slab->left);
		slab->bytes += slab->left;
	}
	memcpy(chunk, &slab->chunks, sizeof(slab->chunks));
	slab->chunks = chunk;
	slab->at = chunk + CHUNK_HEAD;
	slab->left = bytes - CHUNK_HEAD;
	slab->bytes += CHUNK_HEAD;
	slab->next_bytes = bytes < HUGE_PAGE ? bytes * 2 : HUGE_PAGE;
	return true;
}

void *blazei_slab_alloc(struct blazei_slab *slab, size_t bytes)
{
	size_t size = blazei_slab_size(bytes);
	void *block;

	if (size > CLASS_MAX) {
		block = aligned_alloc(BLAZEI_CACHE_LINE, size);
		slab->bytes += block ? size : 0;
		return block;
	}
	block = slab->free[size / BLAZEI_CACHE_LINE - 1];
	if (block) {
		memcpy(&slab->free[size / BLAZEI_CACHE_LINE - 1], block, sizeof(block));
		return block;
	}
	if (size > slab->left && !chunk_add(slab))
		return NULL;
	block = slab->at;
	slab->at += size;
	slab->left -= size;
	slab->bytes += size;
	return block;
}

void blazei_slab_release(struct blazei_slab *slab, void *block, size_t bytes)
{
	size_t size = blazei_slab_size(bytes);

	if (size <= CLASS_MAX) {
		push(slab, block, size);
		return;
	}
	slab->bytes -= size;
	free(block);
}

void blazei_slab_fini(struct blazei_slab *slab)
{
	while (slab->chunks) {
		void *chunk = slab->chunks;

		memcpy(&slab->chunks, chunk, sizeof(slab->chunks));
		free(chunk);
	}
	*slab = (struct blazei_slab){ 0 };
}
