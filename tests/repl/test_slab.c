/* SPDX-License-Identifier: Apache-2.0 */
/* The slab: blocks side by side, rests that are used, memory that is given back. malloc and its kin
 * are wrapped by the linker. */
#include <check.h>
#include <stdlib.h>

#include "lib/repl/slab.h"
#include "tests/op/held.h"
#include "tests/op/help.h"

#define CHUNK_MIN (16u << 10)
#define HUGE_PAGE (2u << 20)
#define BLOCK     4032u /* the longest that comes from chunks */
#define BLOCKS    4u    /* of these in the first chunk */
#define REST      192u  /* and what is left of it: less its own line */

void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *memory);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *memory);

static bool allocation_fails;

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return allocation_fails ? NULL : held(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void *memory)
{
	held_forget(memory);
	__real_free(memory);
}

START_TEST(blocks_lie_side_by_side_and_the_rest_is_used)
{
	struct blazei_slab slab = { .left = 0 };
	uint8_t *first = blazei_slab_alloc(&slab, BLOCK), *next, *rest;

	ck_assert_ptr_nonnull(first);
	for (unsigned i = 1; i < BLOCKS; i++)
		ck_assert_ptr_eq(blazei_slab_alloc(&slab, BLOCK), first + i * BLOCK);
	ck_assert_uint_eq(slab.left, REST);
	ck_assert_uint_eq(CHUNK_MIN, BLAZEI_CACHE_LINE + BLOCKS * BLOCK + REST);
	next = blazei_slab_alloc(&slab, BLOCK);
	ck_assert(next < first || next >= first + CHUNK_MIN);
	rest = blazei_slab_alloc(&slab, REST);
	ck_assert_ptr_eq(rest, first + BLOCKS * BLOCK);
	/* All of it counts, what lies in free lists too. */
	ck_assert_uint_eq(slab.bytes, 2 * BLAZEI_CACHE_LINE + (BLOCKS + 1) * BLOCK + REST);
	blazei_slab_fini(&slab);
}
END_TEST

START_TEST(block_as_long_as_what_is_left_takes_it)
{
	struct blazei_slab slab = { .left = 0 };
	const void *chunk;
	uint8_t *first = blazei_slab_alloc(&slab, BLOCK);

	for (unsigned i = 1; i < BLOCKS; i++)
		(void)blazei_slab_alloc(&slab, BLOCK);
	chunk = slab.chunks;
	ck_assert_ptr_eq(blazei_slab_alloc(&slab, slab.left), first + BLOCKS * BLOCK);
	ck_assert_uint_eq(slab.left, 0);
	ck_assert_ptr_eq(slab.chunks, chunk);
	blazei_slab_fini(&slab);
}
END_TEST

START_TEST(released_block_is_the_next_of_its_size)
{
	struct blazei_slab slab = { .left = 0 };
	static const size_t sizes[] = { 1, 64, 65, 640, BLOCK - 1, BLOCK };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		void *one = blazei_slab_alloc(&slab, sizes[i]);
		void *two = blazei_slab_alloc(&slab, sizes[i]);

		blazei_slab_release(&slab, one, sizes[i]);
		blazei_slab_release(&slab, two, sizes[i]);
		ck_assert_ptr_eq(blazei_slab_alloc(&slab, sizes[i]), two);
		ck_assert_ptr_eq(blazei_slab_alloc(&slab, sizes[i]), one);
	}
	blazei_slab_fini(&slab);
}
END_TEST

START_TEST(long_block_comes_from_malloc_and_goes_back)
{
	struct blazei_slab slab = { .left = 0 };
	const unsigned before = held_count;
	void *block = blazei_slab_alloc(&slab, BLOCK + 1);
	unsigned count = held_count;

	ck_assert_uint_eq(count, before + 1);
	ck_assert_uint_eq(slab.bytes, BLOCK + BLAZEI_CACHE_LINE);
	ck_assert_uint_eq((uintptr_t)block % BLAZEI_CACHE_LINE, 0);
	blazei_slab_release(&slab, block, BLOCK + 1);
	count = held_count;
	ck_assert_uint_eq(count, before);
	ck_assert_uint_eq(slab.bytes, 0);
	blazei_slab_fini(&slab);
}
END_TEST

START_TEST(chunks_double_up_to_a_huge_page_and_all_go_back)
{
	struct blazei_slab slab = { .left = 0 };
	const unsigned before = held_count;
	size_t chunk_bytes = CHUNK_MIN;
	unsigned count;

	for (unsigned chunks = 1; chunks <= 10; chunks++) {
		const void *chunk = slab.chunks;

		while (slab.chunks == chunk)
			ck_assert_ptr_nonnull(blazei_slab_alloc(&slab, BLOCK));
		ck_assert_uint_eq(slab.left, chunk_bytes - BLAZEI_CACHE_LINE - BLOCK);
		count = held_count;
		ck_assert_uint_eq(count, before + chunks);
		chunk_bytes = chunk_bytes < HUGE_PAGE ? 2 * chunk_bytes : HUGE_PAGE;
	}
	blazei_slab_fini(&slab);
	count = held_count;
	ck_assert_uint_eq(count, before);
}
END_TEST

START_TEST(huge_memory_is_zeroed_and_aligned)
{
	static const size_t sizes[] = { 64, HUGE_PAGE - 64, HUGE_PAGE, HUGE_PAGE + 64 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		const size_t line = sizes[i] < HUGE_PAGE ? BLAZEI_CACHE_LINE : HUGE_PAGE;
		uint8_t *memory = blazei_huge_alloc(sizes[i]);
		size_t sum = 0;

		ck_assert_ptr_nonnull(memory);
		ck_assert_uint_eq((uintptr_t)memory % line, 0);
		for (size_t n = 0; n < sizes[i]; n++)
			sum += memory[n];
		ck_assert_uint_eq(sum, 0);
		memset(memory, 0xff, sizes[i]);
		free(memory);
	}
}
END_TEST

START_TEST(without_memory_the_slab_stays_as_it_was)
{
	struct blazei_slab slab = { .left = 0 }, before;

	ck_assert_ptr_nonnull(blazei_slab_alloc(&slab, 100));
	before = slab;
	allocation_fails = true;
	ck_assert_ptr_null(blazei_slab_alloc(&slab, BLOCK + 1));
	ck_assert_mem_eq(&slab, &before, sizeof(slab));
	while (slab.left >= BLOCK)
		ck_assert_ptr_nonnull(blazei_slab_alloc(&slab, BLOCK));
	before = slab;
	ck_assert_ptr_null(blazei_slab_alloc(&slab, BLOCK));
	ck_assert_mem_eq(&slab, &before, sizeof(slab));
	allocation_fails = false;
	ck_assert_ptr_nonnull(blazei_slab_alloc(&slab, BLOCK));
	blazei_slab_fini(&slab);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { blocks_lie_side_by_side_and_the_rest_is_used,
		                       block_as_long_as_what_is_left_takes_it,
		                       released_block_is_the_next_of_its_size,
		                       long_block_comes_from_malloc_and_goes_back,
		                       chunks_double_up_to_a_huge_page_and_all_go_back,
		                       huge_memory_is_zeroed_and_aligned,
		                       without_memory_the_slab_stays_as_it_was };

	return run_tests("slab", tests, sizeof(tests) / sizeof(*tests));
}
