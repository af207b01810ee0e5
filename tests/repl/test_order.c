/* SPDX-License-Identifier: Apache-2.0 */
/* Ids in order, wherever a search starts: against a sorted array. */
#include "lib/repl/core.h"
#include "tests/op/edge.h"
#include "tests/op/help.h"
#include "tests/repl/harness.h"

#define MANY 3000u
#define FEW  40u

static struct blaze_id ids[MANY + FEW];

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct blaze_id));
}

/* An id whose halves are drawn from few values each, so that many share their first one. */
static struct blaze_id random_id(struct random_source *source)
{
	struct blaze_id id = { { 0 } };

	id.bytes[0] = (uint8_t)random_below(source, 256);
	id.bytes[7] = (uint8_t)random_below(source, 4);
	id.bytes[8] = (uint8_t)random_below(source, 4);
	id.bytes[15] = (uint8_t)random_below(source, 256);
	return id;
}

/* Puts records under new random ids; the array holds all, sorted. */
static unsigned add(struct node *node, struct random_source *source, unsigned count, unsigned more)
{
	for (unsigned i = 0; i < more; i++) {
		const struct blaze_id id = random_id(source);
		struct blazei_txn_view txn;
		unsigned at;

		if (bsearch(&id, ids, count, sizeof(id), compare) != NULL)
			continue;
		ck_assert_int_eq(node_put(node, &id, "x", 1, &txn), 0);
		at = count++;
		for (; at > 0 && compare(&ids[at - 1], &id) > 0; at--)
			ids[at] = ids[at - 1];
		ids[at] = id;
	}
	return count;
}

static void expect_from(struct node *node, const struct blaze_id *from, const struct blaze_id *to)
{
	struct blaze_id id;
	const int rc = blazei_replica_next_id(node->replica, from, &id);

	ck_assert_int_eq(rc, to ? 0 : -ENOENT);
	if (to)
		ck_assert_mem_eq(&id, to, sizeof(id));
}

/* Searches from each id, from just behind it, and from places drawn at random. */
static void expect_order(struct node *node, struct random_source *source, unsigned count)
{
	expect_from(node, NULL, &ids[0]);
	for (unsigned i = 0; i < count; i++) {
		const unsigned other = (unsigned)random_below(source, count);
		struct blaze_id behind = ids[i];

		expect_from(node, &ids[i], &ids[i]);
		behind.bytes[15]++;
		if (behind.bytes[15] != 0 && (i + 1 == count || compare(&behind, &ids[i + 1]) <= 0))
			expect_from(node, &behind, i + 1 < count ? &ids[i + 1] : NULL);
		if (i > 0)
			expect_from(node, &ids[i - 1], &ids[i - 1]);
		expect_from(node, &ids[other], &ids[other]);
	}
}

START_TEST(next_id_is_the_next_from_anywhere)
{
	struct random_source source = random_source_new("order");
	struct node node;
	unsigned count;

	node_open(&node, 1);
	expect_from(&node, NULL, NULL);
	count = add(&node, &source, 0, MANY);
	expect_order(&node, &source, count);
	/* These go to the short run. */
	count = add(&node, &source, count, FEW / 2);
	expect_order(&node, &source, count);
	count = add(&node, &source, count, FEW / 2);
	expect_order(&node, &source, count);
	node_close(&node);
}
END_TEST

/* The short run joins the long one, and then again. */
START_TEST(next_id_while_the_runs_grow)
{
	struct random_source source = random_source_new("order");
	struct node node, other;
	unsigned count = 0;

	node_open(&node, 1);
	node_open(&other, 1);
	while (count < MANY - 200) {
		count = add(&node, &source, count, 150);
		expect_from(&node, NULL, &ids[0]);
		expect_from(&node, &ids[count - 1], &ids[count - 1]);
		expect_from(&node, &ids[count / 2], &ids[count / 2]);
	}
	expect_order(&node, &source, count);
	node_close(&node);
	node_close(&other);
}
END_TEST

START_TEST(deleted_ids_are_passed_over)
{
	struct node node;

	node_open(&node, 1);
	for (unsigned i = 0; i < 10; i++)
		node_insert(&node, i, "{}");
	for (unsigned i = 0; i < 10; i += 3)
		node_delete(&node, i);
	for (unsigned i = 0; i < 10; i++) {
		const struct blaze_id from = id_of(i), to = id_of(i % 3 ? i : i + 1);

		expect_from(&node, &from, i == 9 ? NULL : &to);
	}
	node_close(&node);
}
END_TEST

/* Rows come and go, as collection takes them, with a search now and then. */

#define RANGE    3000u
#define LOST_MAX 4097u /* places of removed rows that a run may keep */

static struct blazei_table table;
static struct blazei_order order;
static bool has[RANGE];

static void row_turn(unsigned number)
{
	const struct blaze_id id = id_of(number);
	const uint64_t hash = blazei_table_hash(&table, &id);
	struct blazei_row *row = blazei_table_find(&table, &id, hash);

	ck_assert_int_eq(row != NULL, has[number]);
	has[number] = !row;
	if (!row) {
		ck_assert_ptr_nonnull(blazei_table_add(&table, &id, hash, 0));
		return;
	}
	blazei_order_remove(&order, &table, row->number);
	blazei_table_remove(&table, row);
}

static void expect_seek(unsigned from)
{
	struct blaze_id id = id_of(from);
	const struct blazei_row *row = blazei_order_seek(&order, &table, &id, true);

	while (from < RANGE && !has[from])
		from++;
	if (from == RANGE) {
		ck_assert_ptr_null(row);
		return;
	}
	ck_assert_ptr_nonnull(row);
	id = id_of(from);
	ck_assert_mem_eq(&row->id, &id, sizeof(id));
}

static void expect_rows(void)
{
	ck_assert_int_eq(blazei_order_update(&order, &table), 0);
	ck_assert_uint_eq(order.known, table.row_count);
	ck_assert_uint_le(order.counts[0] + order.counts[1], order.known + LOST_MAX);
	for (unsigned i = 0; i < RANGE; i++)
		expect_seek(i);
	for (uint32_t i = 0; i < table.row_count; i++)
		ck_assert_uint_eq(table.rows[i]->number, i);
}

START_TEST(rows_that_go_are_passed_over)
{
	struct random_source source = random_source_new("rows_that_go");

	ck_assert_int_eq(blazei_table_init(&table, 1), 0);
	for (unsigned i = 0; i < 20000; i++) {
		row_turn((unsigned)random_below(&source, RANGE));
		if (i % 10 == 0) {
			ck_assert_int_eq(blazei_order_update(&order, &table), 0);
			expect_seek((unsigned)random_below(&source, RANGE));
		}
		if (i % 500 == 0)
			expect_rows();
	}
	/* All but one go, from both ends, and then that one. */
	for (unsigned i = 0; i < RANGE; i++)
		if (has[i] != (i == RANGE / 2))
			row_turn(i);
	expect_rows();
	row_turn(RANGE / 2);
	expect_rows();
	row_turn(RANGE / 2 + 1);
	expect_rows();
	blazei_order_fini(&order);
	blazei_table_fini(&table);
}
END_TEST

/* The last place of a run is the last that is looked at. */
START_TEST(row_that_goes_from_the_end_is_found_there)
{
	struct blazei_order full = { .counts = { 3 }, .maxes = { 3 }, .known = 3 };

	ck_assert_int_eq(blazei_table_init(&table, 1), 0);
	memset(has, 0, sizeof(has));
	full.runs[0] = edge_alloc(3 * sizeof(*full.runs[0]));
	for (unsigned i = 0; i < 3; i++) {
		row_turn(i);
		full.runs[0][i] = i;
	}
	order = full;
	row_turn(2);
	expect_seek(0);
	expect_seek(1);
	expect_seek(2);
	row_turn(1);
	expect_seek(1);
	row_turn(0);
	expect_seek(0);
	order = (struct blazei_order){ 0 };
	blazei_table_fini(&table);
}
END_TEST

START_TEST(memory_of_the_order_is_counted)
{
	const struct blaze_id middle = id_of(1000);
	struct blaze_id next;
	struct node node;
	uint64_t before;

	node_open(&node, 1);
	for (unsigned i = 0; i < 2000; i++)
		node_insert(&node, i, "{}");
	before = node_stats(&node).memory_bytes;
	ck_assert_int_eq(blazei_replica_next_id(node.replica, &middle, &next), 0);
	/* An eighth more than there are now. */
	ck_assert_uint_eq(node_stats(&node).memory_bytes, before + 2250 * sizeof(uint32_t));
	node_close(&node);
}
END_TEST

/* A few ids go to the short run; when it is long, all is one run again. */
START_TEST(new_rows_go_to_the_short_run_first)
{
	unsigned number = 0;

	ck_assert_int_eq(blazei_table_init(&table, 1), 0);
	memset(has, 0, sizeof(has));
	while (number < 1025)
		row_turn(number++);
	ck_assert_int_eq(blazei_order_update(&order, &table), 0);
	ck_assert_uint_eq(order.counts[0], 1025);
	while (number < 1025 + 1024 + 1025 / 8)
		row_turn(number++);
	ck_assert_int_eq(blazei_order_update(&order, &table), 0);
	ck_assert_uint_eq(order.counts[0], 1025);
	ck_assert_uint_eq(order.counts[1], 1024 + 1025 / 8);
	row_turn(number++);
	expect_rows();
	ck_assert_uint_eq(order.counts[0], number);
	ck_assert_uint_eq(order.counts[1], 0);
	blazei_order_fini(&order);
	blazei_table_fini(&table);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("order");
	TCase *tcase = tcase_create("order");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, next_id_is_the_next_from_anywhere);
	tcase_add_test(tcase, next_id_while_the_runs_grow);
	tcase_add_test(tcase, deleted_ids_are_passed_over);
	tcase_add_test(tcase, rows_that_go_are_passed_over);
	tcase_add_test(tcase, row_that_goes_from_the_end_is_found_there);
	tcase_add_test(tcase, memory_of_the_order_is_counted);
	tcase_add_test(tcase, new_rows_go_to_the_short_run_first);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
