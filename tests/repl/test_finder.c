/* SPDX-License-Identifier: Apache-2.0 */
/* Searches in one row: whatever its size and their order, they find what is there and nothing
 * else, and of many that find nothing only a few walk the row. */
#include "lib/repl/finder.h"
#include "tests/repl/harness.h"
#include "tests/repl/starve.h"

#define COUNT_MAX 40000u /* more than the longest filter has bits for */
#define SEED      4711u

static struct blazei_row *row;
static struct blazei_filter filter;
static struct blazei_finder finder;

static struct blazei_entry *entry_add(uint32_t name, uint32_t life)
{
	return blazei_row_append(row, name, life, 0);
}

/* A row of entries of life 1 whose names are 0, 2, 4, ..; with as much room again. */
static void set_up_row(uint32_t count)
{
	const size_t bytes = 2 * (size_t)count * sizeof(struct blazei_entry) + 4096;

	row = calloc(1, sizeof(*row) + bytes);
	row->cap = (uint32_t)bytes;
	for (uint32_t i = 0; i < count; i++)
		entry_add(2 * i, 1);
}

static void tear_down(void)
{
	free(row);
	free(filter.words);
	row = NULL;
	filter = (struct blazei_filter){ 0 };
}

static void expect_found(uint32_t name, uint32_t life)
{
	const struct blazei_entry *entry = blazei_finder_find(&finder, name, life);

	ck_assert_ptr_ne(entry, NULL);
	ck_assert_uint_eq(entry->name, name);
	ck_assert_uint_eq(entry->life, life);
}

static const uint32_t counts[] = { 1, 2, 3, 10, 63, 500, 5000, COUNT_MAX };

#define COUNTS ((int)(sizeof(counts) / sizeof(*counts)))

START_TEST(what_is_there_is_found_in_order)
{
	const uint32_t count = counts[_i];

	set_up_row(count);
	for (unsigned round = 0; round < 2; round++) {
		blazei_finder_begin(&finder, &filter, SEED, row, count);
		for (uint32_t i = 0; i < count; i++)
			expect_found(2 * i, 1);
		/* And again from the start, behind the last one. */
		expect_found(0, 1);
	}
}
END_TEST

START_TEST(what_is_there_is_found_in_any_order)
{
	const uint32_t count = counts[_i];
	const uint32_t some = count < 500 ? count : 50;

	set_up_row(count);
	blazei_finder_begin(&finder, &filter, SEED, row, count);
	for (uint32_t i = 0; i < some; i++) {
		expect_found(2 * (count - 1 - i), 1);
		expect_found(2 * (i * 7919 % count), 1);
		ck_assert_ptr_eq(blazei_finder_find(&finder, 2 * i + 1, 1), NULL);
		ck_assert_ptr_eq(blazei_finder_find(&finder, 2 * i, 2), NULL);
	}
}
END_TEST

START_TEST(what_is_added_is_found)
{
	const uint32_t count = counts[_i];

	set_up_row(count);
	blazei_finder_begin(&finder, &filter, SEED, row, count);
	for (uint32_t i = 0; i < count; i++) {
		entry_add(2 * i, 3);
		blazei_finder_added(&finder, 2 * i, 3);
		expect_found(2 * i, 3);
	}
	expect_found(0, 1);
}
END_TEST

/* That many are not there, and the filter knows of nearly all. */
START_TEST(many_that_are_not_there_take_few_walks)
{
	const uint32_t count = counts[_i];
	struct blazei_entry *entry;
	uint32_t walks = 0;

	set_up_row(count);
	blazei_finder_begin(&finder, &filter, SEED, row, count);
	if (count < 500) {
		/* So few that no filter is made for them. */
		ck_assert_uint_eq(filter.mask == 0, count < 63);
		return;
	}
	ck_assert_uint_ne(filter.mask, 0);
	/* Under names that the filter was not told of, only a walk would find them. */
	entry = blazei_row_first(row);
	for (uint32_t i = 0; i < count; i++, entry = blazei_entry_next(entry))
		entry->name++;
	for (uint32_t i = 0; i < count; i++)
		walks += blazei_finder_find(&finder, 2 * i + 1, 1) != NULL;
	ck_assert_uint_lt(walks, count / 100 + 1);
	/* A short row after that is searched without. */
	row->entry_count = 1;
	blazei_finder_begin(&finder, &filter, SEED, row, 1);
	ck_assert_uint_eq(filter.mask, 0);
	expect_found(1, 1);
}
END_TEST

/* Without memory for a filter each search walks; the next one has it. */
START_TEST(what_is_there_is_found_without_memory)
{
	set_up_row(500);
	starve(0);
	blazei_finder_begin(&finder, &filter, SEED, row, 500);
	ck_assert(starve_end());
	ck_assert_uint_eq(filter.mask, 0);
	for (uint32_t i = 0; i < 500; i++) {
		expect_found(2 * i, 1);
		ck_assert_ptr_eq(blazei_finder_find(&finder, 2 * i + 1, 1), NULL);
	}
	blazei_finder_begin(&finder, &filter, SEED, row, 500);
	ck_assert_uint_ne(filter.mask, 0);
	expect_found(0, 1);
}
END_TEST

/* A bit for each 32nd of a field, in powers of two; and when it is worth one. */
START_TEST(filter_is_as_long_as_it_has_to_be)
{
	set_up_row(64);
	blazei_finder_begin(&finder, &filter, SEED, row, BLAZEI_FINDER_FEW);
	ck_assert_uint_eq(filter.mask, 0);
	blazei_finder_begin(&finder, &filter, SEED, row, 64);
	ck_assert_uint_eq(filter.mask + 1, 4096);
	/* One field more than so many bits are for. */
	blazei_finder_begin(&finder, &filter, SEED, row, 65);
	ck_assert_uint_eq(filter.mask + 1, 8192);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("finder");
	TCase *tcase = tcase_create("finder");

	tcase_add_checked_fixture(tcase, NULL, tear_down);
	tcase_add_loop_test(tcase, what_is_there_is_found_in_order, 0, COUNTS);
	tcase_add_loop_test(tcase, what_is_there_is_found_in_any_order, 0, COUNTS);
	tcase_add_loop_test(tcase, what_is_added_is_found, 0, COUNTS - 2);
	tcase_add_loop_test(tcase, many_that_are_not_there_take_few_walks, 0, COUNTS);
	tcase_add_test(tcase, what_is_there_is_found_without_memory);
	tcase_add_test(tcase, filter_is_as_long_as_it_has_to_be);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
