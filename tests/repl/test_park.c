/* SPDX-License-Identifier: Apache-2.0 */
/* Parked transactions at the bounds: what just fits waits, what passes a bound empties its queue,
 * and one queue that is not ready holds up no other. */
#include "tests/repl/session_pair.h"

#define PART    (512u << 10) /* eight of them are what may wait of an origin */
#define PARTS   8u
#define WRITERS 16u /* and as many of those are what may wait in all */

static size_t put(struct node *node, size_t len)
{
	static const uint8_t value[PART];
	const struct blaze_id id = id_of(1);
	struct blazei_txn_view txn;

	node->now_ns += 1000000;
	ck_assert_int_eq(node_put(node, &id, value, len, &txn), 0);
	node_keep(node, txn.data, txn.len);
	return txn.len;
}

/* Writes PARTS transactions of PART bytes each, the last one shorter; returns the number of the
 * first. */
static unsigned write_parts(struct node *node, size_t shorter)
{
	size_t len = PART - 512, made;

	/* The first one inserts, so it is longer; then what is beside the value stays the same. */
	(void)put(node, len);
	made = put(node, len);
	len += PART - made;
	for (unsigned i = 1; i < PARTS; i++)
		ck_assert_uint_eq(put(node, len), PART);
	ck_assert_uint_eq(put(node, len - shorter), PART - shorter);
	return node->count - PARTS + 1;
}

START_TEST(bytes_of_one_origin_up_to_the_bound)
{
	struct node from, to;
	unsigned first;

	node_open(&from, 1);
	node_open(&to, 2);
	first = write_parts(&from, 0);
	node_insert(&from, 2, "{}");
	ck_assert_uint_gt(first, 1); /* so that nothing is ready */
	for (unsigned i = 0; i < PARTS; i++)
		ck_assert_int_eq(node_give(&from, &to, first + i), 0);
	ck_assert_uint_eq(node_stats(&to).parked, PARTS);
	ck_assert_int_eq(node_give(&from, &to, from.count), 0);
	ck_assert_uint_eq(node_stats(&to).parked, 0);
	node_give_all(&from, &to);
	nodes_expect_equal(&from, &to);
	node_close(&from);
	node_close(&to);
}
END_TEST

START_TEST(bytes_of_all_origins_up_to_the_bound)
{
	struct node from[WRITERS + 1], to;
	unsigned first;

	node_open(&to, 99);
	for (unsigned n = 0; n < WRITERS; n++) {
		node_open(&from[n], 1 + n);
		first = write_parts(&from[n], 0);
		for (unsigned i = 0; i < PARTS; i++)
			ck_assert_int_eq(node_give(&from[n], &to, first + i), 0);
		node_close(&from[n]);
	}
	ck_assert_uint_eq(node_stats(&to).parked, WRITERS * PARTS);
	/* One more of another origin finds no room, and takes none from the others. */
	node_open(&from[WRITERS], 50);
	node_insert(&from[WRITERS], 2, "{}");
	node_insert(&from[WRITERS], 3, "{}");
	ck_assert_int_eq(node_give(&from[WRITERS], &to, 2), 0);
	ck_assert_uint_eq(node_stats(&to).parked, WRITERS * PARTS);
	node_close(&from[WRITERS]);
	node_close(&to);
}
END_TEST

/* An origin whose clock is ahead may fill but half of that, for others go on meanwhile. */
START_TEST(bytes_of_all_origins_up_to_half_where_one_is_ahead)
{
	struct node from, ahead, to;

	node_open(&to, 99);
	node_open(&ahead, 98);
	ahead.now_ns += 3600 * BLAZEI_NS_PER_S;
	node_insert(&ahead, 1, "{}");
	node_insert(&ahead, 2, "{}");
	for (unsigned n = 0; n < WRITERS / 2; n++) {
		size_t shorter = n + 1 == WRITERS / 2 ? ahead.log[0].len : 0;
		unsigned first;

		node_open(&from, 1 + n);
		first = write_parts(&from, shorter);
		for (unsigned i = 0; i < PARTS; i++)
			ck_assert_int_eq(node_give(&from, &to, first + i), 0);
		node_close(&from);
	}
	ck_assert_int_eq(node_give(&ahead, &to, 1), 0);
	ck_assert_uint_eq(node_stats(&to).parked, WRITERS / 2 * PARTS + 1);
	ck_assert_int_eq(node_give(&ahead, &to, 2), 0);
	ck_assert_uint_eq(node_stats(&to).parked, WRITERS / 2 * PARTS + 1);
	node_close(&ahead);
	node_close(&to);
}
END_TEST

/* Both ways round, so that the one that is ready is behind the other in either order of looking. */
START_TEST(queue_that_waits_holds_up_no_other)
{
	for (unsigned turn = 0; turn < 2; turn++) {
		struct node a, b, to;

		node_open(&a, 1);
		node_open(&b, 2);
		node_open(&to, 3);
		for (unsigned i = 1; i <= 3; i++) {
			node_insert(&a, i, "{}");
			node_insert(&b, 10 + i, "{}");
		}
		node_give(turn ? &a : &b, &to, 3);
		node_give(turn ? &b : &a, &to, 3);
		ck_assert_uint_eq(node_stats(&to).parked, 2);
		ck_assert_int_eq(node_give(&b, &to, 1), 1);
		ck_assert_int_eq(node_give(&b, &to, 2), 2);
		ck_assert_uint_eq(node_stats(&to).parked, 1);
		ck_assert_uint_eq(blazei_replica_count(to.replica), 3);
		node_close(&a);
		node_close(&b);
		node_close(&to);
	}
}
END_TEST

START_TEST(raised_vector_drops_what_it_covers)
{
	struct node from, other, to;

	node_open(&from, 1);
	node_open(&to, 2);
	node_open(&other, 3);
	for (unsigned i = 1; i <= 6; i++)
		node_insert(&from, i, "{}");
	for (unsigned i = 1; i <= 4; i++)
		node_give(&from, &other, i);
	node_give(&from, &to, 3);
	node_give(&from, &to, 4);
	node_give(&from, &to, 6);
	ck_assert_uint_eq(node_stats(&to).parked, 3);
	nodes_catch_up(&to, &other);
	ck_assert_uint_eq(node_stats(&to).parked, 1);
	ck_assert_uint_eq(node_stats(&to).duplicates, 0);
	ck_assert_uint_eq(node_stats(&to).refused, 0);
	ck_assert_int_eq(node_give(&from, &to, 5), 2);
	nodes_expect_equal(&from, &to);
	node_close(&from);
	node_close(&other);
	node_close(&to);
}
END_TEST

/* Again and again: nothing of what waited is left, not even its origin among those that wait. */
START_TEST(queue_that_was_emptied_takes_more)
{
	struct node from, to;

	node_open(&from, 1);
	node_open(&to, 2);
	for (unsigned i = 0; i < 100; i++) {
		const unsigned first = from.count + 1;

		for (unsigned k = 0; k < 4; k++)
			node_insert(&from, 4 * i + k, "{}");
		/* The queue is longer, shorter by its first one, and empty. */
		ck_assert_int_eq(node_give(&from, &to, first + 3), 0);
		ck_assert_int_eq(node_give(&from, &to, first + 1), 0);
		ck_assert_uint_eq(to.replica->vector.waiting_count, 1);
		ck_assert_int_eq(node_give(&from, &to, first), 2);
		ck_assert_uint_eq(to.replica->vector.waiting_count, 1);
		ck_assert_int_eq(node_give(&from, &to, first + 2), 2);
		ck_assert_uint_eq(to.replica->vector.waiting_count, 0);
		ck_assert_uint_eq(node_stats(&to).parked, 0);
	}
	nodes_expect_equal(&from, &to);
	node_close(&from);
	node_close(&to);
}
END_TEST

/* The least that waits may come last, or in between, or be there already. */
START_TEST(parked_in_any_order_are_merged_in_theirs)
{
	static const unsigned orders[][4] = {
		{ 2, 3, 4, 5 }, { 5, 4, 3, 2 }, { 3, 5, 2, 4 }, { 4, 2, 5, 3 }, { 2, 5, 4, 3 },
	};

	for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
		struct node from, to;

		node_open(&from, 1);
		node_open(&to, 2);
		for (unsigned k = 1; k <= 6; k++)
			node_insert(&from, k, "{}");
		for (unsigned k = 0; k < 4; k++) {
			ck_assert_int_eq(node_give(&from, &to, orders[i][k]), 0);
			ck_assert_int_eq(node_give(&from, &to, orders[i][k]), 0);
			ck_assert_uint_eq(node_stats(&to).parked, k + 1);
			ck_assert_uint_eq(node_stats(&to).duplicates, k + 1);
		}
		ck_assert_int_eq(node_give(&from, &to, 1), 5);
		ck_assert_int_eq(node_give(&from, &to, 6), 1);
		nodes_expect_equal(&from, &to);
		node_close(&from);
		node_close(&to);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("park");
	TCase *tcase = tcase_create("park");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, bytes_of_one_origin_up_to_the_bound);
	tcase_add_test(tcase, bytes_of_all_origins_up_to_the_bound);
	tcase_add_test(tcase, bytes_of_all_origins_up_to_half_where_one_is_ahead);
	tcase_add_test(tcase, queue_that_waits_holds_up_no_other);
	tcase_add_test(tcase, raised_vector_drops_what_it_covers);
	tcase_add_test(tcase, queue_that_was_emptied_takes_more);
	tcase_add_test(tcase, parked_in_any_order_are_merged_in_theirs);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
