/* SPDX-License-Identifier: Apache-2.0 */
/* Two histories under one name: which one stays where, what goes on, and what waits. */
#include "tests/repl/events.h"
#include "tests/repl/session_pair.h"

/* twin has the identity of a. */
static struct node a;
static struct node twin;
static struct node b;
static struct node c;

static void set_up(void)
{
	node_open(&a, 1);
	node_open(&twin, 1);
	node_open(&b, 2);
	node_open(&c, 3);
}

static void tear_down(void)
{
	node_close(&a);
	node_close(&twin);
	node_close(&b);
	node_close(&c);
}

/* Numbers 1 to 3 of a and of twin, which part after the first. */
static void part(void)
{
	for (unsigned i = 1; i <= 3; i++) {
		node_insert(&a, i, i == 1 ? "{\"x\":1}" : "{\"x\":\"a\"}");
		node_insert(&twin, i, i == 1 ? "{\"x\":1}" : "{\"x\":\"twin\"}");
	}
}

START_TEST(fork_at_the_last_merged_quarantines)
{
	struct events events;

	events_listen(&events, &b);
	part();
	node_give(&a, &b, 1);
	ck_assert_int_eq(node_give(&a, &b, 2), 1);
	ck_assert_int_eq(node_give(&twin, &b, 2), 0);
	ck_assert_uint_eq(node_stats(&b).quarantined, 1);
	ck_assert_uint_eq(node_stats(&b).refused, 1);
	/* Nothing more of it, of either history. */
	ck_assert_int_eq(node_give(&a, &b, 3), 0);
	ck_assert_int_eq(node_give(&twin, &b, 3), 0);
	ck_assert_uint_eq(blazei_replica_vector_seq(b.replica, &a.origin), 2);
	ck_assert_uint_eq(node_stats(&b).refused, 3);
	ck_assert_uint_eq(node_stats(&b).parked, 0);
	ck_assert_uint_eq(node_stats(&b).quarantined, 1);
	/* And what is merged stays. */
	node_expect(&b, 2, "{\"x\":\"a\"}");
	ck_assert_uint_eq(blazei_replica_count(b.replica), 2);
	/* Told once: of whom, and where the histories part. */
	ck_assert_uint_eq(events.count, 1);
	events_expect(&events, 0, BLAZEI_EFFECT_ORIGIN_QUARANTINED, &a.origin, 2);
}
END_TEST

START_TEST(fork_behind_the_last_merged_quarantines)
{
	part();
	node_give(&a, &b, 1);
	ck_assert_int_eq(node_give(&a, &b, 2), 1);
	ck_assert_int_eq(node_give(&twin, &b, 3), 0);
	ck_assert_uint_eq(node_stats(&b).quarantined, 1);
	ck_assert_int_eq(node_give(&a, &b, 3), 0);
}
END_TEST

START_TEST(fork_among_the_parked_quarantines)
{
	part();
	ck_assert_int_eq(node_give(&a, &b, 3), 0);
	ck_assert_int_eq(node_give(&a, &b, 3), 0);
	ck_assert_uint_eq(node_stats(&b).quarantined, 0);
	ck_assert_int_eq(node_give(&twin, &b, 3), 0);
	ck_assert_uint_eq(node_stats(&b).quarantined, 1);
	ck_assert_uint_eq(node_stats(&b).parked, 0);
	ck_assert_int_eq(node_give(&a, &b, 1), 0);
}
END_TEST

START_TEST(fork_between_parked_and_merged_quarantines)
{
	part();
	node_give(&a, &b, 1);
	ck_assert_int_eq(node_give(&twin, &b, 3), 0);
	ck_assert_int_eq(node_give(&a, &b, 2), 1);
	ck_assert_uint_eq(node_stats(&b).quarantined, 1);
	ck_assert_uint_eq(node_stats(&b).parked, 0);
}
END_TEST

START_TEST(each_replica_keeps_the_history_it_merged_first)
{
	part();
	node_give_all(&a, &b);
	node_give_all(&twin, &c);
	node_give_all(&twin, &b);
	node_give_all(&a, &c);
	node_expect(&b, 3, "{\"x\":\"a\"}");
	node_expect(&c, 3, "{\"x\":\"twin\"}");
	ck_assert_uint_eq(node_stats(&b).quarantined, 1);
	ck_assert_uint_eq(node_stats(&c).quarantined, 1);
	/* Everything else goes on, over the records concerned too. */
	node_update(&b, 3, "{\"y\":1}");
	ck_assert_int_eq(node_give(&b, &a, 1), 1);
	node_expect(&a, 3, "{\"x\":\"a\",\"y\":1}");
	nodes_expect_equal(&a, &b);
}
END_TEST

START_TEST(first_that_does_not_start_its_chain_is_no_fork)
{
	node_insert(&a, 1, "{\"x\":1}");
	node_insert(&a, 2, "{\"x\":1}");
	node_give(&a, &b, 2);
	((struct blazei_txn_header *)a.log[0].data)->prev = 7;
	((struct blazei_txn_header *)a.log[0].data)->chain = blazei_txn_hash(a.log[0].data);
	ck_assert_int_eq(node_give(&a, &b, 1), 0);
	ck_assert_uint_eq(node_stats(&b).refused, 1);
	ck_assert_uint_eq(node_stats(&b).quarantined, 0);
}
END_TEST

START_TEST(state_brings_nothing_more_of_a_quarantined_origin)
{
	part();
	node_give(&a, &b, 1);
	node_give(&a, &b, 2);
	node_give(&twin, &b, 2);
	node_give_all(&twin, &c);
	node_delete(&twin, 1);
	node_update(&twin, 2, "{\"z\":1}");
	node_give_all(&twin, &c);
	node_insert(&c, 9, "{\"x\":1}");
	nodes_catch_up(&b, &c);
	node_expect(&b, 9, "{\"x\":1}");
	node_expect(&b, 1, "{\"x\":1}");
	node_expect(&b, 2, "{\"x\":\"a\"}");
	node_expect(&b, 3, NULL);
	ck_assert_uint_eq(blazei_replica_vector_seq(b.replica, &a.origin), 2);
	ck_assert_uint_eq(blazei_replica_vector_seq(b.replica, &c.origin), 1);
}
END_TEST

START_TEST(what_depends_on_a_quarantined_origin_stalls_within_bounds)
{
	struct events events;
	struct node d;

	node_open(&d, 4);
	events_listen(&events, &b);
	part();
	node_give(&a, &b, 1);
	node_give(&a, &b, 2);
	node_give(&twin, &b, 2);
	/* c has seen a's third, which b will not; d has seen c. */
	node_give_all(&a, &c);
	node_insert(&c, 9, "{\"x\":1}");
	node_give_all(&a, &d);
	node_give_all(&c, &d);
	node_insert(&d, 10, "{\"x\":1}");
	ck_assert_int_eq(node_give(&c, &b, 1), 0);
	ck_assert_int_eq(node_give(&d, &b, 1), 0);
	ck_assert_uint_eq(node_stats(&b).stalled, 2);
	ck_assert_uint_eq(node_stats(&b).parked, 2);
	for (unsigned i = 0; i < 200; i++) {
		node_insert(&c, 100 + i, "{\"x\":1}");
		node_give(&c, &b, c.count);
	}
	ck_assert_uint_eq(node_stats(&b).parked, 65);
	ck_assert_uint_eq(node_stats(&b).stalled, 2);
	ck_assert_uint_eq(events.count, 3);
	events_expect(&events, 1, BLAZEI_EFFECT_ORIGIN_STALLED, &c.origin, 1);
	events_expect(&events, 2, BLAZEI_EFFECT_ORIGIN_STALLED, &d.origin, 1);
	/* The others are not touched by it. */
	node_insert(&b, 11, "{\"x\":1}");
	ck_assert_int_eq(node_give(&b, &a, 1), 1);
	node_close(&d);
}
END_TEST

/* It waits for one who writes on, and all that it needs of the one in quarantine is here: nothing
 * stalls. Its record and its life are what a dependence on more of that one would be. */
START_TEST(what_waits_for_others_is_not_stalled)
{
	const struct blazei_txn_dep lie = { .seq = 3, .origin = 1 };
	struct blazei_txn_view txn;
	struct blaze_id id;
	struct node d;

	node_open(&d, 4);
	part();
	node_give(&a, &b, 1);
	node_give(&a, &b, 2);
	node_give(&twin, &b, 2);
	node_give(&a, &c, 1);
	node_give(&a, &c, 2);
	node_insert(&d, 20, "{\"x\":1}");
	node_give_all(&d, &c);
	memcpy(id.bytes, &lie, sizeof(id));
	ck_assert_int_eq(node_put(&c, &id, "x", 1, &txn), 0);
	ck_assert_uint_eq(((const struct blazei_txn_header *)txn.data)->dep_count, 2);
	ck_assert_int_eq(node_take(&b, txn.data, txn.len), 0);
	ck_assert_uint_eq(node_stats(&b).parked, 1);
	ck_assert_uint_eq(node_stats(&b).stalled, 0);
	ck_assert_int_eq(node_give(&d, &b, 1), 2);
	node_close(&d);
}
END_TEST

/* One whose clock is ahead comes into quarantine as well: it stays one halted origin. */
START_TEST(origin_that_is_ahead_may_be_quarantined)
{
	part();
	ck_assert_int_eq(node_give(&a, &b, 1), 1);
	a.now_ns += 3600 * BLAZEI_NS_PER_S;
	node_insert(&a, 7, "{\"x\":1}");
	node_give(&a, &b, 2);
	node_give(&a, &b, 3);
	ck_assert_int_eq(node_give(&a, &b, 4), 0);
	ck_assert_uint_eq(b.replica->halted, 1);
	ck_assert_uint_eq(node_stats(&b).quarantined, 0);
	ck_assert_int_eq(node_give(&twin, &b, 3), 0);
	ck_assert_uint_eq(node_stats(&b).quarantined, 1);
	ck_assert_uint_eq(b.replica->halted, 1);
	ck_assert_uint_eq(node_stats(&b).parked, 0);
}
END_TEST

/* Nothing more is asked for of one in quarantine. */
START_TEST(vector_covers_all_of_a_quarantined_origin)
{
	part();
	node_give(&a, &b, 1);
	ck_assert_uint_eq(blazei_replica_vector_covered(b.replica, &a.origin, 0), 1);
	ck_assert_uint_eq(blazei_replica_vector_covered(b.replica, &c.origin, 0), 0);
	node_give(&a, &b, 2);
	node_give(&twin, &b, 2);
	ck_assert_uint_eq(blazei_replica_vector_covered(b.replica, &a.origin, 0), UINT64_MAX);
	ck_assert_uint_eq(blazei_replica_vector_seq(b.replica, &a.origin), 2);
}
END_TEST

START_TEST(long_transactions_of_a_stalled_origin_do_not_fill_memory)
{
	struct blaze_id id = id_of(9);
	char *big = calloc(1, 20000);
	struct blazei_txn_view txn;

	part();
	node_give(&a, &b, 1);
	node_give(&a, &b, 2);
	node_give(&twin, &b, 2);
	node_give_all(&a, &c);
	for (unsigned i = 0; i < 10; i++) {
		ck_assert_int_eq(node_put(&c, &id, big, 20000, &txn), 0);
		node_take(&b, txn.data, txn.len);
	}
	ck_assert_uint_eq(node_stats(&b).stalled, 1);
	ck_assert_uint_eq(node_stats(&b).parked, 3);
	free(big);
}
END_TEST

START_TEST(batch_of_a_stalled_origin_stays_within_bounds)
{
	struct blazei_txn_view views[100];

	part();
	node_give(&a, &b, 1);
	node_give(&a, &b, 2);
	node_give(&twin, &b, 2);
	node_give_all(&a, &c);
	for (unsigned i = 0; i < 100; i++) {
		node_insert(&c, 10 + i, "{}");
		views[i] = (struct blazei_txn_view){ c.log[i].data, c.log[i].len };
	}
	ck_assert_int_eq(blazei_replica_receive(b.replica, b.now_ns, views, 100), 0);
	ck_assert_uint_eq(node_stats(&b).parked, 64);
}
END_TEST

START_TEST(bytes_of_a_stalled_origin_up_to_the_bound)
{
	static const uint8_t value[1 << 16];
	struct blaze_id id = id_of(9);
	struct blazei_txn_view txn;
	size_t left = 64u << 10;
	size_t beside; /* the value */

	part();
	node_give(&a, &b, 1);
	node_give(&a, &b, 2);
	node_give(&twin, &b, 2);
	node_give_all(&a, &c);
	/* Of these the first waits for a's third, the second tells what each of them takes. */
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(node_put(&c, &id, value, 1000, &txn), 0);
		node_take(&b, txn.data, txn.len);
		left -= txn.len;
	}
	beside = txn.len - 1000;
	ck_assert_int_eq(node_put(&c, &id, value, left - beside, &txn), 0);
	ck_assert_uint_eq(txn.len, left);
	node_take(&b, txn.data, txn.len);
	ck_assert_uint_eq(node_stats(&b).parked, 3);
	ck_assert_int_eq(node_put(&c, &id, value, 1, &txn), 0);
	node_take(&b, txn.data, txn.len);
	ck_assert_uint_eq(node_stats(&b).parked, 3);
	ck_assert_uint_eq(node_stats(&b).stalled, 1);
}
END_TEST

/* What comes too early is no stall before it is its origin's next. */
START_TEST(stall_behind_a_gap_is_told_once_that_is_filled)
{
	struct events events;

	events_listen(&events, &b);
	part();
	node_give(&a, &b, 1);
	node_give(&a, &b, 2);
	node_give(&twin, &b, 2);
	node_insert(&c, 9, "{\"x\":1}");
	node_give_all(&a, &c);
	node_insert(&c, 10, "{\"x\":1}");
	ck_assert_int_eq(node_give(&c, &b, 2), 0);
	ck_assert_uint_eq(node_stats(&b).stalled, 0);
	ck_assert_uint_eq(events.count, 1);
	ck_assert_int_eq(node_give(&c, &b, 1), 1);
	ck_assert_uint_eq(node_stats(&b).stalled, 1);
	ck_assert_uint_eq(events.count, 2);
	events_expect(&events, 1, BLAZEI_EFFECT_ORIGIN_STALLED, &c.origin, 2);
}
END_TEST

START_TEST(stall_ends_when_the_origin_goes_on_by_state)
{
	struct events events;

	events_listen(&events, &b);
	part();
	node_give(&a, &b, 1);
	node_give(&a, &b, 2);
	node_give(&twin, &b, 2);
	node_give_all(&a, &c);
	node_insert(&c, 9, "{\"x\":1}");
	node_insert(&c, 10, "{\"x\":1}");
	node_give_all(&c, &b);
	ck_assert_uint_eq(node_stats(&b).stalled, 1);
	nodes_catch_up(&b, &c);
	ck_assert_uint_eq(node_stats(&b).stalled, 0);
	ck_assert_uint_eq(node_stats(&b).parked, 0);
	ck_assert_uint_eq(events.count, 3);
	events_expect(&events, 2, BLAZEI_EFFECT_ORIGIN_RESUMED, &c.origin, 2);
	node_expect(&b, 10, "{\"x\":1}");
	/* It is heard like before. */
	node_insert(&c, 11, "{\"x\":1}");
	ck_assert_int_eq(node_give(&c, &b, 3), 1);
}
END_TEST

/* The other side may be in quarantine here, and yet bring what others wrote. */
START_TEST(origin_in_quarantine_is_asked_and_not_answered)
{
	struct pair pair;

	part();
	node_give(&a, &b, 1);
	node_give(&a, &b, 2);
	node_give(&twin, &b, 2);
	ck_assert_uint_eq(node_stats(&b).quarantined, 1);
	node_insert(&c, 30, "{\"x\":1}");
	ck_assert_int_eq(node_give(&c, &a, 1), 1);
	pair_open(&pair, &b, &a);
	pair_catch_up(&pair);
	node_expect(&b, 30, "{\"x\":1}");
	node_expect(&b, 3, NULL);
	pair_close(&pair);
	pair_open(&pair, &a, &b);
	pair_run(&pair);
	ck_assert_int_eq(pair.asked.state, BLAZEI_SESSION_REFUSED);
	ck_assert_int_eq(pair.asked.reason, BLAZEI_SESSION_QUARANTINED);
	pair_close(&pair);
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&fork_at_the_last_merged_quarantines,
		&fork_behind_the_last_merged_quarantines,
		&fork_among_the_parked_quarantines,
		&fork_between_parked_and_merged_quarantines,
		&each_replica_keeps_the_history_it_merged_first,
		&first_that_does_not_start_its_chain_is_no_fork,
		&state_brings_nothing_more_of_a_quarantined_origin,
		&what_depends_on_a_quarantined_origin_stalls_within_bounds,
		&what_waits_for_others_is_not_stalled,
		&origin_that_is_ahead_may_be_quarantined,
		&origin_in_quarantine_is_asked_and_not_answered,
		&vector_covers_all_of_a_quarantined_origin,
		&long_transactions_of_a_stalled_origin_do_not_fill_memory,
		&batch_of_a_stalled_origin_stays_within_bounds,
		&bytes_of_a_stalled_origin_up_to_the_bound,
		&stall_behind_a_gap_is_told_once_that_is_filled,
		&stall_ends_when_the_origin_goes_on_by_state,
	};
	Suite *suite = suite_create("quarantine");
	TCase *tcase = tcase_create("quarantine");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
