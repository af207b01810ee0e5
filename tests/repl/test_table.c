/* SPDX-License-Identifier: Apache-2.0 */
/* The table of rows by itself: what is put in is found, whatever was moved or removed beside it;
 * room is what was asked for; and a peek in between reads a row whole or not at all. */
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/repl/peek.h"
#include "tests/op/edge.h"
#include "tests/op/help.h"
#include "tests/repl/harness.h"

#define SLOTS 1024u /* of a new index */
#define FULL  768u  /* rows that it takes */

static struct blazei_table table;

static void set_up(void)
{
	ck_assert_int_eq(blazei_table_init(&table, 77), 0);
}

static void tear_down(void)
{
	blazei_table_fini(&table);
}

static struct blazei_row *find(unsigned number)
{
	struct blaze_id id = id_of(number);

	return blazei_table_find(&table, &id, blazei_table_hash(&table, &id));
}

static struct blazei_row *add(unsigned number, size_t room)
{
	struct blaze_id id = id_of(number);

	return blazei_table_add(&table, &id, blazei_table_hash(&table, &id), room);
}

static struct blazei_row *room(struct blazei_row *row, size_t bytes)
{
	return blazei_table_room(&table, row, blazei_table_hash(&table, &row->id), bytes);
}

/* As collection does: the last row takes the number. */
static void drop(struct blazei_row *row)
{
	const uint32_t last = table.row_count - 1;

	if (row->number != last)
		blazei_table_renumber(&table, last, row->number);
	blazei_table_remove(&table, row);
}

/* An entry whose bytes are all its name's number. */
static struct blazei_entry *put(struct blazei_row *row, uint32_t name, uint32_t value_len)
{
	struct blazei_entry *entry = blazei_row_append(row, name, 1, value_len);

	memset(entry->value, (int)name, value_len);
	return entry;
}

static void expect_entry(const struct blazei_row *row, uint32_t name, uint32_t value_len)
{
	const struct blazei_entry *entry = blazei_row_find(row, name, 1);

	ck_assert_ptr_nonnull(entry);
	ck_assert_uint_eq(entry->value_len, value_len);
	for (uint32_t i = 0; i < value_len; i++)
		ck_assert_uint_eq(entry->value[i], (uint8_t)name);
}

/* Holds a row to what table.h says of it. */
static void expect_sound(const struct blazei_row *row)
{
	const struct blazei_entry *entry = blazei_row_first(row);

	ck_assert_ptr_eq(table.rows[row->number], row);
	ck_assert_uint_le(row->used, row->cap);
	ck_assert_uint_eq((sizeof(*row) + row->cap) % BLAZEI_CACHE_LINE, 0);
	for (uint32_t i = 0; i < row->entry_count; i++)
		entry = blazei_entry_next(entry);
	ck_assert_ptr_eq(entry, row->entries + row->used);
}

START_TEST(rows_come_and_go_and_the_others_are_found)
{
	struct random_source source = random_source_new("table");
	static bool has[2 * FULL];
	uint32_t count = 0;

	memset(has, 0, sizeof(has));
	/* Below and beyond what the first index takes. */
	for (unsigned i = 0; i < 25000; i++) {
		const unsigned range = i < 15000 ? FULL + 4 : 2 * FULL;
		const unsigned number = (unsigned)random_below(&source, range);
		struct blazei_row *row = find(number);

		ck_assert_int_eq(row != NULL, has[number]);
		if (row) {
			expect_sound(row);
			expect_entry(row, number % 200, 9);
		}
		if (row && random_below(&source, 12) == 0) {
			drop(row);
			count--;
			has[number] = false;
		} else if (!row) {
			row = add(number, sizeof(struct blazei_entry) + 16);
			(void)put(row, number % 200, 9);
			count++;
			has[number] = true;
		} else if (random_below(&source, 8) == 0) {
			row = room(row, random_below(&source, 400));
			expect_sound(row);
			expect_sound(blazei_table_trim(&table, row));
		}
		ck_assert_uint_eq(table.row_count, count);
	}
	for (unsigned number = 0; number < 2 * FULL; number++)
		ck_assert_int_eq(find(number) != NULL, has[number]);
}
END_TEST

START_TEST(index_grows_when_three_quarters_are_taken)
{
	for (unsigned i = 0; i < FULL; i++)
		ck_assert_ptr_nonnull(add(i, 0));
	ck_assert_uint_eq(table.mask, SLOTS - 1);
	ck_assert_ptr_nonnull(add(FULL, 0));
	ck_assert_uint_eq(table.mask, 2 * SLOTS - 1);
	for (unsigned i = 0; i <= FULL; i++)
		ck_assert_ptr_nonnull(find(i));
}
END_TEST

static void expect_memory(uint64_t index_bytes)
{
	ck_assert_uint_eq(blazei_table_memory(&table),
	                  table.slab.bytes + index_bytes +
	                          table.row_max * sizeof(struct blazei_row *));
}

/* The former indices are counted up to 2 MiB: longer ones have no memory. */
START_TEST(memory_counts_former_indices_that_keep_theirs)
{
	const uint64_t mib = 1 << 20;

	expect_memory(SLOTS * 8);
	for (uint32_t i = 0; i < 200000; i++) {
		struct blaze_id id = { { 0 } };

		memcpy(id.bytes, &i, sizeof(i));
		ck_assert_ptr_nonnull(
		        blazei_table_add(&table, &id, blazei_table_hash(&table, &id), 0));
		if (i == FULL)
			expect_memory(2 * SLOTS * 8 * 2);
		if (i == 90000)
			expect_memory(2 * mib);
		if (i == 100000)
			expect_memory(4 * mib);
	}
	expect_memory(6 * mib);
}
END_TEST

START_TEST(row_without_end_is_refused)
{
	struct blazei_row *row = add(1, 0);

	ck_assert_ptr_null(room(row, (size_t)UINT32_MAX / 2 + 1));
	ck_assert_ptr_eq(find(1), row);
	ck_assert_ptr_null(add(2, UINT32_MAX));
	ck_assert_ptr_null(find(2));
	ck_assert_uint_eq(table.row_count, 1);
}
END_TEST

START_TEST(row_stays_where_it_has_the_room)
{
	struct blazei_row *row = add(1, 0), *moved;
	const uint32_t entry = sizeof(struct blazei_entry);

	ck_assert_uint_eq(row->cap, 0);
	row = room(row, entry);
	ck_assert_uint_eq(row->cap, BLAZEI_CACHE_LINE);
	(void)put(row, 7, 8);
	ck_assert_ptr_eq(room(row, row->cap - row->used), row);
	moved = room(row, row->cap - row->used + 1);
	ck_assert_ptr_ne(moved, row);
	ck_assert_uint_eq(moved->cap, 2 * BLAZEI_CACHE_LINE);
	ck_assert_ptr_eq(find(1), moved);
	expect_sound(moved);
	expect_entry(moved, 7, 8);
}
END_TEST

/* One that is large takes a quarter more than it needs, so that it does not move each time. */
START_TEST(large_row_moves_seldom_as_it_grows)
{
	struct blazei_row *row = add(1, 0);
	unsigned moves = 0;

	for (uint32_t i = 0; i < 1000; i++) {
		struct blazei_row *now = room(row, sizeof(struct blazei_entry) + 8);

		moves += now != row;
		row = now;
		(void)put(row, i, 8);
	}
	expect_sound(row);
	for (uint32_t i = 0; i < 1000; i++)
		expect_entry(row, i, 8);
	ck_assert_uint_lt(moves, 40);
	/* Up to half a kilobyte it takes what it needs. */
	row = room(add(2, 0), 512);
	ck_assert_uint_eq(row->cap, 512);
	row = room(add(3, 0), 513);
	ck_assert_uint_eq(row->cap, blazei_slab_size(64 + 513 + 513 / 4) - 64);
}
END_TEST

START_TEST(trim_gives_back_whole_lines_only)
{
	struct blazei_row *row = add(1, 3 * BLAZEI_CACHE_LINE);
	struct blazei_row *trimmed;
	uint64_t bytes;

	(void)put(row, 3, 2 * BLAZEI_CACHE_LINE - sizeof(struct blazei_entry) + 8);
	ck_assert_ptr_eq(blazei_table_trim(&table, row), row);
	row = add(2, 3 * BLAZEI_CACHE_LINE);
	(void)put(row, 4, 2 * BLAZEI_CACHE_LINE - sizeof(struct blazei_entry));
	trimmed = blazei_table_trim(&table, row);
	ck_assert_ptr_ne(trimmed, row);
	ck_assert_uint_eq(trimmed->cap, 2 * BLAZEI_CACHE_LINE);
	ck_assert_ptr_eq(find(2), trimmed);
	expect_sound(trimmed);
	expect_entry(trimmed, 4, 2 * BLAZEI_CACHE_LINE - sizeof(struct blazei_entry));
	/* What it left is used again. */
	bytes = blazei_table_memory(&table);
	ck_assert_ptr_eq(add(5, 3 * BLAZEI_CACHE_LINE), row);
	ck_assert_uint_eq(blazei_table_memory(&table), bytes);
}
END_TEST

/* A value that shrinks a little keeps its place, and has it again; one that shrinks much does not,
 * and gives it back to those behind it. */
START_TEST(resized_value_keeps_little_slack)
{
	struct blazei_row *row = add(1, 1000);
	struct blazei_entry *first = put(row, 1, 144);
	uint32_t used;

	(void)put(row, 2, 50);
	used = row->used;
	blazei_row_resize(row, first, 73); /* 80 of 144: eight words less */
	ck_assert_uint_eq(row->used, used);
	expect_entry(row, 2, 50);
	blazei_row_resize(row, first, 144);
	ck_assert_uint_eq(row->used, used);
	expect_entry(row, 1, 144);
	blazei_row_resize(row, first, 72); /* nine words less, and no more than is left */
	ck_assert_uint_eq(row->used, used);
	expect_entry(row, 2, 50);
	blazei_row_resize(row, first, 64); /* ten, and more than that */
	ck_assert_uint_eq(row->used, used - 80);
	expect_entry(row, 2, 50);
	expect_sound(row);
	blazei_row_resize(row, first, 0); /* eight */
	ck_assert_uint_eq(row->used, used - 80);
	blazei_row_resize(row, first, 65);
	ck_assert_uint_eq(row->used, used - 72);
	memset(first->value, 1, 65);
	expect_entry(row, 1, 65);
	expect_entry(row, 2, 50);
	expect_sound(row);
}
END_TEST

/* Slack is counted in 14 bits: what they do not hold is given back. */
START_TEST(slack_beyond_its_bits_is_given_back)
{
	const uint32_t most = BLAZEI_ENTRY_SLACK * 8;
	struct blazei_row *row = add(1, 6 * most);
	struct blazei_entry *first = put(row, 1, 2 * most + 8);
	uint32_t used;

	(void)put(row, 2, 50);
	used = row->used;
	first->flags |= BLAZEI_ENTRY_UNSET;
	blazei_row_resize(row, first, most + 8);
	ck_assert_uint_eq(row->used, used);
	expect_entry(row, 2, 50);
	blazei_row_resize(row, first, 2 * most + 8);
	ck_assert_uint_eq(row->used, used);
	blazei_row_resize(row, first, most);
	ck_assert_uint_eq(row->used, used - most - 8);
	ck_assert_uint_eq(first->flags, BLAZEI_ENTRY_UNSET);
	expect_entry(row, 2, 50);
	expect_sound(row);
}
END_TEST

/* The table's version passes through odd when a row goes from where a reader may be looking. */
START_TEST(version_changes_when_a_row_goes)
{
	static const size_t sizes[] = { 0, 300, 3000 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		uint64_t version = atomic_load(&table.version);
		struct blazei_row *row = add(1, sizes[i] + 200);

		ck_assert_uint_eq(atomic_load(&table.version), version);
		row = blazei_table_trim(&table, row);
		ck_assert_uint_eq(atomic_load(&table.version), version + 2);
		row = room(row, 100);
		ck_assert_uint_eq(atomic_load(&table.version), version + 4);
		blazei_table_remove(&table, row);
		ck_assert_uint_eq(atomic_load(&table.version), version + 6);
	}
}
END_TEST

/* A shut table stays shut until it was opened as often. */
START_TEST(version_is_odd_until_all_have_opened)
{
	const uint64_t version = atomic_load(&table.version);

	blazei_table_shut(&table);
	ck_assert_uint_eq(atomic_load(&table.version), version + 1);
	blazei_table_shut(&table);
	ck_assert_uint_eq(atomic_load(&table.version), version + 1);
	blazei_table_open(&table);
	ck_assert_uint_eq(atomic_load(&table.version), version + 1);
	blazei_table_open(&table);
	ck_assert_uint_eq(atomic_load(&table.version), version + 2);
}
END_TEST

/* Beside a peek: what it reads is protected, and what a writer does happens when it is touched. */

#define ROOM    (BLAZEI_SLAB_BYTES_MAX - sizeof(struct blazei_row))
#define LEN     300u /* of the value that is read */
#define LEN_MAX (ROOM - sizeof(struct blazei_entry))
#define OURS    1u
#define OTHER   2u /* takes the block that ours leaves */
#define FILLERS 1000u

static struct {
	struct blazei_row *row;
	uint8_t *page;
	size_t page_bytes;
	void (*change)(void);
} trap;

static void on_fault(int number)
{
	void (*change)(void) = trap.change;

	if (!change) {
		signal(number, SIG_DFL);
		return;
	}
	trap.change = NULL;
	(void)mprotect(trap.page, trap.page_bytes, PROT_READ | PROT_WRITE);
	change();
}

/* The first place of a page at or behind `at`. */
static uint8_t *page_from(const void *at)
{
	const uintptr_t bytes = (uintptr_t)sysconf(_SC_PAGESIZE);

	return (uint8_t *)(((uintptr_t)at + bytes - 1) & ~(bytes - 1));
}

/* Whether a page begins amid the value of a row that is put there. */
static bool straddles(const uint8_t *at)
{
	const uint8_t *page = page_from(at);

	return page > at + sizeof(struct blazei_row) + sizeof(struct blazei_entry) &&
	       page < at + sizeof(struct blazei_row) + LEN;
}

static void row_open(void)
{
	set_up();
	for (unsigned i = 0; !straddles(table.slab.at) || table.slab.left < BLAZEI_SLAB_BYTES_MAX;
	     i++)
		ck_assert_ptr_nonnull(add(FILLERS + i, 0));
	trap.row = add(OURS, ROOM);
	(void)put(trap.row, OURS, LEN);
	trap.page = page_from(trap.row);
}

/* Peeks at the row; the change happens when the page is touched. */
static int peek_amid(void (*change)(void), union blazei_peeked *ret_peeked)
{
	struct blaze_id id = id_of(OURS);
	int rc;

	trap.page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	trap.change = change;
	ck_assert(signal(SIGSEGV, on_fault) != SIG_ERR);
	ck_assert_int_eq(mprotect(trap.page, trap.page_bytes, PROT_NONE), 0);
	rc = blazei_peek_row(&table, &id, blazei_table_hash(&table, &id), &ret_peeked->row);
	ck_assert(signal(SIGSEGV, SIG_DFL) != SIG_ERR);
	ck_assert_ptr_null(trap.change);
	return rc;
}

/* Another row in the block that ours had. */
static void other_take(void)
{
	(void)put(add(OTHER, ROOM), OTHER, LEN_MAX);
}

static void change_remove(void)
{
	drop(trap.row);
	other_take();
}

static void change_trim(void)
{
	(void)blazei_table_trim(&table, trap.row);
	other_take();
}

static void change_move(void)
{
	(void)room(trap.row, 2 * ROOM);
	other_take();
}

static void change_value(void)
{
	const uint64_t hash = blazei_table_hash(&table, &trap.row->id);

	blazei_table_write(&table, hash);
	blazei_row_resize(trap.row, blazei_row_first(trap.row), LEN_MAX);
	memset(blazei_row_first(trap.row)->value, OURS + 2, LEN_MAX);
	blazei_row_first(trap.row)->name = OURS + 2;
	blazei_table_written(&table, hash);
}

/* The row goes and comes again where the index that is being read does not say. */
static void change_index(void)
{
	const uint64_t mask = table.mask;

	for (unsigned i = 2 * FILLERS; table.mask == mask; i++)
		(void)add(i, 0);
	change_remove();
	(void)put(add(OURS, ROOM), OURS, LEN);
}

START_TEST(row_that_changes_under_a_peek_is_read_anew)
{
	static const struct {
		void (*change)(void);
		int rc;
		uint32_t name, len;
	} cases[] = {
		{ change_remove, -ENOENT, 0, 0 },
		{ change_trim, 0, OURS, LEN },
		{ change_move, -EAGAIN, 0, 0 },
		{ change_value, 0, OURS + 2, LEN_MAX },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		static union blazei_peeked peeked;

		row_open();
		ck_assert_int_eq(peek_amid(cases[i].change, &peeked), cases[i].rc);
		if (cases[i].rc == 0)
			expect_entry(&peeked.row, cases[i].name, cases[i].len);
		if (cases[i].change != change_value)
			ck_assert_ptr_eq(find(OTHER), trap.row);
		tear_down();
	}
}
END_TEST

START_TEST(peek_copies_a_block_and_no_more)
{
	union blazei_peeked *peeked = edge_alloc(sizeof(*peeked));
	struct blaze_id id = id_of(OURS);

	set_up();
	(void)put(add(OURS, ROOM), OURS, LEN_MAX);
	ck_assert_int_eq(blazei_peek_row(&table, &id, blazei_table_hash(&table, &id), &peeked->row),
	                 0);
	expect_entry(&peeked->row, OURS, LEN_MAX);
	tear_down();
}
END_TEST

START_TEST(index_that_is_outgrown_under_a_peek_is_read_anew)
{
	const uintptr_t bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
	static union blazei_peeked peeked;
	struct blaze_id id = id_of(OURS);

	row_open();
	trap.page = (uint8_t *)&table.slots[blazei_table_hash(&table, &id) & table.mask];
	trap.page = page_from(trap.page) - ((uintptr_t)trap.page % bytes ? bytes : 0);
	ck_assert_int_eq(peek_amid(change_index, &peeked), 0);
	expect_entry(&peeked.row, OURS, LEN);
	tear_down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("table");
	TCase *tcase = tcase_create("table");
	TCase *peeks = tcase_create("peeks");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, rows_come_and_go_and_the_others_are_found);
	tcase_add_test(tcase, index_grows_when_three_quarters_are_taken);
	tcase_add_test(tcase, memory_counts_former_indices_that_keep_theirs);
	tcase_add_test(tcase, row_without_end_is_refused);
	tcase_add_test(tcase, row_stays_where_it_has_the_room);
	tcase_add_test(tcase, large_row_moves_seldom_as_it_grows);
	tcase_add_test(tcase, trim_gives_back_whole_lines_only);
	tcase_add_test(tcase, resized_value_keeps_little_slack);
	tcase_add_test(tcase, slack_beyond_its_bits_is_given_back);
	tcase_add_test(tcase, version_changes_when_a_row_goes);
	tcase_add_test(tcase, version_is_odd_until_all_have_opened);
	tcase_add_test(peeks, row_that_changes_under_a_peek_is_read_anew);
	tcase_add_test(peeks, peek_copies_a_block_and_no_more);
	tcase_add_test(peeks, index_that_is_outgrown_under_a_peek_is_read_anew);
	suite_add_tcase(suite, tcase);
	suite_add_tcase(suite, peeks);
	return suite_run(suite);
}
