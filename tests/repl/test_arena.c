/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is given back as a whole: its limit, how its chunks grow, and what of it stays. */
#include "lib/repl/arena.h"
#include "tests/repl/harness.h"

#define USUAL (32u << 10)
#define MOST  (1u << 20)

static struct blazei_arena arena;

static void setup(void)
{
	arena = (struct blazei_arena){ .max = 16u << 20 };
}

static void teardown(void)
{
	blazei_arena_free(&arena);
}

static uint8_t *take(size_t bytes)
{
	void *memory = NULL;

	ck_assert_int_eq(blazei_arena_take(&arena, bytes, &memory), 0);
	ck_assert_uint_eq((uintptr_t)memory % 8, 0);
	memset(memory, 0x5a, bytes);
	return memory;
}

/* Takes all that the newest chunk has, and one piece more: how much the next chunk has. */
static size_t next_chunk(void)
{
	if (arena.left > 0)
		take(arena.left);
	take(8);
	return arena.left + 8;
}

START_TEST(chunks_grow_with_what_was_taken_up_to_a_bound)
{
	ck_assert_uint_eq(next_chunk(), USUAL);
	/* 32 KiB and 8 bytes were taken before: the next has room for twice as much. */
	ck_assert_uint_eq(next_chunk(), USUAL);
	ck_assert_uint_eq(next_chunk(), 2 * USUAL);
	for (unsigned i = 0; i < 8; i++) {
		const uint64_t taken = arena.taken + arena.left;
		const size_t bytes = next_chunk();

		ck_assert_uint_ge(bytes, taken < MOST ? taken : MOST);
		ck_assert_uint_le(bytes, MOST);
	}
	ck_assert_uint_eq(next_chunk(), MOST);
	/* What is longer has a chunk of its own length. */
	take(arena.left);
	take(3 * MOST);
	ck_assert_uint_eq(arena.left, 0);
}
END_TEST

/* To the byte, within a chunk (0) and with a new one (1). */
START_TEST(limit_holds_to_the_byte)
{
	const size_t first = _i == 0 ? 1000 : USUAL;
	void *memory;

	arena.max = first + 800;
	take(first);
	ck_assert_ptr_nonnull(blazei_arena_room(&arena, 800));
	ck_assert_ptr_null(blazei_arena_room(&arena, 801));
	ck_assert_int_eq(blazei_arena_take(&arena, 801, &memory), -EMSGSIZE);
	ck_assert_uint_eq(arena.taken, first);
	take(800);
	ck_assert_int_eq(blazei_arena_take(&arena, 1, &memory), -EMSGSIZE);
	ck_assert_ptr_null(blazei_arena_room(&arena, 1));
}
END_TEST

/* What is asked for and not yet taken is where the next one is. */
START_TEST(room_is_what_is_taken_next)
{
	uint8_t *room = blazei_arena_room(&arena, 100);

	ck_assert_ptr_nonnull(room);
	ck_assert_ptr_eq(take(60), room);
	/* As much as is left of the chunk, and one more. */
	room = blazei_arena_room(&arena, arena.left);
	ck_assert_ptr_eq(room, arena.at);
	room = blazei_arena_room(&arena, arena.left + 1);
	ck_assert_ptr_nonnull(room);
	ck_assert_uint_eq(arena.left, USUAL);
	ck_assert_ptr_eq(take(8), room);
}
END_TEST

/* One chunk of the usual length stays, ready for use, and no other. */
START_TEST(one_usual_chunk_stays)
{
	take(8);
	take(arena.left);
	take(8);
	take(5 * USUAL);
	blazei_arena_clear(&arena);
	ck_assert_uint_eq(arena.taken, 0);
	ck_assert_uint_eq(arena.left, USUAL);
	ck_assert(take(8) != NULL);
	ck_assert_uint_eq(arena.left, USUAL - 8);
	/* None of another length. */
	teardown();
	setup();
	take(5 * USUAL);
	blazei_arena_clear(&arena);
	ck_assert_ptr_null(arena.chunks);
	ck_assert_uint_eq(arena.left, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("arena");
	TCase *tcase = tcase_create("arena");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, chunks_grow_with_what_was_taken_up_to_a_bound);
	tcase_add_loop_test(tcase, limit_holds_to_the_byte, 0, 2);
	tcase_add_test(tcase, room_is_what_is_taken_next);
	tcase_add_test(tcase, one_usual_chunk_stays);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
