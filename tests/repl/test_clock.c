/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks that differ: who waits, for how long, and that nobody can drive a clock to its end. */
#include "lib/op/hlc.h"
#include "tests/repl/events.h"
#include "tests/repl/session_pair.h"
#include "tests/repl/three.h"

#define DAY_NS (24 * 3600 * BLAZEI_NS_PER_S)

static const struct blazei_txn_header *logged(const struct node *node, unsigned seq)
{
	return node->log[seq - 1].data;
}

START_TEST(two_minutes_ahead_are_taken_and_more_stall)
{
	node_insert(&a, 1, "{\"x\":1}");
	b.now_ns = logged(&a, 1)->hlc - BLAZEI_HLC_AHEAD_NS - 1;
	ck_assert_int_eq(node_give(&a, &b, 1), 0);
	ck_assert_uint_eq(node_stats(&b).stalled, 1);
	b.now_ns++;
	ck_assert_int_eq(blazei_replica_receive(b.replica, b.now_ns, NULL, 0), 1);
	ck_assert_uint_eq(node_stats(&b).stalled, 0);
}
END_TEST

/* One that waits for another reason may turn out to be ahead when that is gone. */
START_TEST(ahead_behind_a_gap_is_told_once_that_is_filled)
{
	struct events events;

	events_listen(&events, &b);
	node_insert(&a, 1, "{\"x\":1}");
	a.now_ns += 3600 * BLAZEI_NS_PER_S;
	node_insert(&a, 2, "{\"x\":1}");
	b.now_ns = NOW + BLAZEI_NS_PER_S;
	ck_assert_int_eq(node_give(&a, &b, 2), 0);
	ck_assert_uint_eq(node_stats(&b).stalled, 0);
	ck_assert_int_eq(node_give(&a, &b, 1), 1);
	ck_assert_uint_eq(node_stats(&b).stalled, 1);
	ck_assert_uint_eq(events.count, 1);
	events_expect(&events, 0, BLAZEI_EFFECT_CLOCK_AHEAD, &a.origin, 2);
}
END_TEST

START_TEST(stalled_by_clock_resumes_when_the_time_has_come)
{
	struct events events;

	events_listen(&events, &b);
	a.now_ns += 125 * BLAZEI_NS_PER_S;
	node_insert(&a, 1, "{\"x\":1}");
	node_insert(&a, 2, "{\"x\":1}");
	ck_assert_int_eq(node_give(&a, &b, 1), 0);
	ck_assert_int_eq(node_give(&a, &b, 2), 0);
	ck_assert_uint_eq(node_stats(&b).parked, 2);
	ck_assert_uint_eq(node_stats(&b).stalled, 1);
	/* Meanwhile others are heard. */
	node_insert(&c, 3, "{\"x\":1}");
	ck_assert_int_eq(node_give(&c, &b, 1), 1);
	b.now_ns += 10 * BLAZEI_NS_PER_S;
	ck_assert_int_eq(blazei_replica_receive(b.replica, b.now_ns, NULL, 0), 2);
	ck_assert_uint_eq(node_stats(&b).stalled, 0);
	node_expect(&b, 2, "{\"x\":1}");
	ck_assert_uint_eq(events.count, 2);
	events_expect(&events, 0, BLAZEI_EFFECT_CLOCK_AHEAD, &a.origin, 1);
	events_expect(&events, 1, BLAZEI_EFFECT_ORIGIN_RESUMED, &a.origin, 1);
}
END_TEST

/* Gives b two transactions each of `count` nodes, whose ranks start with `first`; the last ones of
 * them, `ahead` in number, are a day ahead. */
static void vote(unsigned first, unsigned count, unsigned ahead)
{
	for (unsigned i = 0; i < count; i++) {
		struct node node;

		node_open(&node, first + i);
		if (i >= count - ahead)
			node.now_ns += DAY_NS;
		node_insert(&node, i, "{\"x\":1}");
		node_insert(&node, 100 + i, "{\"x\":1}");
		node_give_all(&node, &b);
		node_close(&node);
	}
}

START_TEST(half_of_the_live_ahead_is_their_clock)
{
	struct events events;

	events_listen(&events, &b);
	vote(10, 3, 2);
	ck_assert_uint_eq(events.count, 2);
	ck_assert_uint_eq(events_count(&events, BLAZEI_EFFECT_CLOCK_AHEAD), 2);
}
END_TEST

START_TEST(most_of_the_live_ahead_is_the_own_clock_told_once)
{
	struct events events;

	events_listen(&events, &b);
	vote(10, 5, 4);
	ck_assert_uint_eq(events_count(&events, BLAZEI_EFFECT_CLOCK_AHEAD), 2);
	ck_assert_uint_eq(events_count(&events, BLAZEI_EFFECT_CLOCK_BEHIND), 1);
	/* After that the others need no mention. */
	vote(50, 20, 20);
	ck_assert_uint_eq(events.count, 3);
	/* Once all is well again, it may be told anew. */
	b.now_ns += DAY_NS;
	blazei_replica_receive(b.replica, b.now_ns, NULL, 0);
	ck_assert_uint_eq(node_stats(&b).stalled, 0);
	b.now_ns -= DAY_NS;
	events.count = 0;
	node_insert(&a, 9, "{\"x\":1}");
	((struct blazei_txn_header *)a.log[0].data)->hlc += DAY_NS;
	((struct blazei_txn_header *)a.log[0].data)->chain = blazei_txn_hash(a.log[0].data);
	node_give(&a, &b, 1);
	ck_assert_uint_eq(events_count(&events, BLAZEI_EFFECT_CLOCK_BEHIND), 1);
}
END_TEST

START_TEST(own_clock_is_told_anew_only_once_none_looks_ahead)
{
	struct events events;

	events_listen(&events, &b);
	/* Three look ahead, by a day; a by less. */
	a.now_ns += 600 * BLAZEI_NS_PER_S;
	node_insert(&a, 1, "{\"x\":1}");
	vote(10, 3, 3);
	node_give(&a, &b, 1);
	ck_assert_uint_eq(events_count(&events, BLAZEI_EFFECT_CLOCK_BEHIND), 1);
	b.now_ns += 700 * BLAZEI_NS_PER_S;
	ck_assert_int_eq(blazei_replica_receive(b.replica, b.now_ns, NULL, 0), 1);
	ck_assert_uint_eq(node_stats(&b).stalled, 3);
	vote(50, 3, 3);
	ck_assert_uint_eq(events_count(&events, BLAZEI_EFFECT_CLOCK_BEHIND), 1);
}
END_TEST

START_TEST(those_who_wrote_long_ago_have_no_vote)
{
	struct events events;

	vote(10, 5, 0);
	events_listen(&events, &b);
	b.now_ns += 400 * BLAZEI_NS_PER_S;
	a.now_ns += DAY_NS;
	c.now_ns += DAY_NS;
	node_insert(&a, 1, "{\"x\":1}");
	node_insert(&c, 1, "{\"x\":1}");
	node_give(&a, &b, 1);
	node_give(&c, &b, 1);
	ck_assert_uint_eq(events.count, 2);
	ck_assert_int_eq(events.list[0].kind, BLAZEI_EFFECT_CLOCK_AHEAD);
	ck_assert_int_eq(events.list[1].kind, BLAZEI_EFFECT_CLOCK_BEHIND);
}
END_TEST

/* Of any number, with room behind them or without: so many ahead that it is half. */
START_TEST(votes_of_any_number_are_counted)
{
	for (unsigned count = 2; count <= 20; count++) {
		const unsigned half = (count + 1) / 2;
		struct events events;

		tear_down();
		set_up();
		events_listen(&events, &b);
		vote(10, count, half);
		ck_assert_uint_eq(events_count(&events, BLAZEI_EFFECT_CLOCK_AHEAD), half);
		vote(50, 2, 2);
		ck_assert_uint_eq(events_count(&events, BLAZEI_EFFECT_CLOCK_BEHIND), 1);
	}
}
END_TEST

START_TEST(those_who_wrote_five_minutes_ago_have_a_vote)
{
	struct blazei_vector_detail detail;
	struct events events;

	vote(10, 3, 0);
	events_listen(&events, &b);
	blazei_replica_vector_detail(b.replica, 1, &detail);
	b.now_ns = detail.hlc + 300 * BLAZEI_NS_PER_S + (uint64_t)_i;
	a.now_ns += DAY_NS;
	c.now_ns += DAY_NS;
	node_insert(&a, 1, "{\"x\":1}");
	node_insert(&c, 1, "{\"x\":1}");
	node_give(&a, &b, 1);
	node_give(&c, &b, 1);
	/* Two of six, or of three. */
	ck_assert_uint_eq(events_count(&events, BLAZEI_EFFECT_CLOCK_BEHIND), (unsigned)_i);
}
END_TEST

START_TEST(stalled_by_clock_keeps_the_first_and_goes_on_by_catch_up)
{
	a.now_ns += DAY_NS;
	for (unsigned i = 0; i < 300; i++)
		node_insert(&a, i, "{\"x\":1}");
	node_give_all(&a, &b);
	ck_assert_uint_eq(node_stats(&b).parked, 64);
	b.now_ns += DAY_NS;
	ck_assert_int_eq(blazei_replica_receive(b.replica, b.now_ns, NULL, 0), 64);
	ck_assert_uint_eq(node_stats(&b).parked, 0);
	node_give_all(&a, &b);
	nodes_expect_equal(&a, &b);
}
END_TEST

/* A session that has to wait for the clock: each time, with one event in all. */
static void expect_waiting(struct pair *pair, const struct events *events)
{
	const struct node *node = pair->asker;

	for (unsigned i = 0; i < 2; i++) {
		pair_run(pair);
		ck_assert_int_eq(pair->asked.state, BLAZEI_SESSION_FAILED);
		ck_assert_int_eq(pair->asked.error, -EAGAIN);
		ck_assert_uint_eq(node_stats(node).refused, 0);
		ck_assert_uint_eq(node_stats(node).stalled, 1);
		ck_assert_uint_eq(node_stats(node).records, 0);
		ck_assert_uint_eq(events->count, 1);
	}
}

START_TEST(snapshot_that_is_ahead_waits_and_is_no_error_of_the_peer)
{
	struct events events;
	struct pair pair;

	events_listen(&events, &b);
	a.now_ns += 125 * BLAZEI_NS_PER_S;
	node_insert(&a, 1, "{\"x\":1}");
	pair_open(&pair, &b, &a);
	expect_waiting(&pair, &events);
	b.now_ns += 10 * BLAZEI_NS_PER_S;
	pair_catch_up(&pair);
	ck_assert_uint_eq(node_stats(&b).stalled, 0);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
}
END_TEST

/* The clock of who answers jumps when the snapshot has begun, and he goes on. */
static enum pair_fate jump(struct pair *pair, unsigned at, bool from_answerer, void *data,
                           size_t *len)
{
	const struct blazei_session_header *header = data;

	(void)at;
	(void)len;
	if (from_answerer && header->kind == BLAZEI_KIND_CHUNK &&
	    pair->answerer->now_ns < NOW + DAY_NS) {
		pair->answerer->now_ns += DAY_NS;
		node_insert(pair->answerer, pair->answerer->count, "{}");
	}
	return PAIR_DELIVER;
}

START_TEST(snapshot_whose_transactions_are_ahead_waits_likewise)
{
	struct events events;
	struct pair pair;
	struct node from;

	node_open_history(&from, 4, 4096);
	node_writes(&from, 0, 100);
	events_listen(&events, &b);
	pair_open(&pair, &b, &from);
	pair.hook = jump;
	expect_waiting(&pair, &events);
	b.now_ns += DAY_NS;
	pair_catch_up(&pair);
	ck_assert_uint_eq(node_stats(&b).stalled, 0);
	pair_close(&pair);
	node_close(&from);
}
END_TEST

/* What is here already is ahead, too, of a clock that went back. */
START_TEST(whole_snapshot_comes_after_the_own_clock_went_back)
{
	struct pair pair;

	node_insert(&a, 1, "{\"x\":1}");
	node_insert(&b, 2, "{\"x\":1}");
	node_give_all(&a, &b);
	node_give_all(&b, &a);
	b.now_ns -= DAY_NS;
	pair_open(&pair, &b, &a);
	pair.whole = true;
	pair_catch_up(&pair);
	ck_assert_uint_eq(pair.asked.chunks, 1);
	ck_assert_uint_eq(node_stats(&b).stalled, 0);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
}
END_TEST

START_TEST(own_clock_that_jumps_back_days_does_not_go_back_in_hlc)
{
	uint64_t before;

	node_insert(&a, 1, "{\"x\":1}");
	before = logged(&a, 1)->hlc;
	a.now_ns -= 3 * DAY_NS;
	node_update(&a, 1, "{\"x\":2}");
	ck_assert_uint_eq(logged(&a, 2)->hlc, before + 1);
	/* And what is written then is taken everywhere. */
	node_give_all(&a, &b);
	nodes_expect_equal(&a, &b);
	node_expect(&b, 1, "{\"x\":2}");
}
END_TEST

START_TEST(peer_cannot_drive_the_clock_to_its_end)
{
	struct blazei_txn_header *header;

	node_insert(&a, 1, "{\"x\":1}");
	header = a.log[0].data;
	header->hlc = UINT64_MAX;
	header->chain = blazei_txn_hash(header);
	ck_assert_int_eq(node_give(&a, &b, 1), 0);
	ck_assert_uint_eq(node_stats(&b).stalled, 1);
	node_insert(&b, 2, "{\"x\":1}");
	ck_assert_uint_le(logged(&b, 1)->hlc, b.now_ns);
	/* At the bound itself, the own clock is two minutes ahead and no more. */
	header->hlc = c.now_ns + BLAZEI_HLC_AHEAD_NS;
	header->chain = blazei_txn_hash(header);
	ck_assert_int_eq(node_give(&a, &c, 1), 1);
	node_insert(&c, 3, "{\"x\":1}");
	ck_assert_uint_eq(logged(&c, 1)->hlc, header->hlc + 1);
}
END_TEST

START_TEST(origins_beyond_the_bound_that_are_ahead_leave_room_for_others)
{
	struct blaze_id id = id_of(9);
	struct blazei_txn_view txn;
	char *big = calloc(1, 60000);
	struct message copy;

	/* Each fills what one stalled origin may have; together they stop at half of it all. */
	a.now_ns += DAY_NS;
	ck_assert_int_eq(node_put(&a, &id, big, 60000, &txn), 0);
	copy.len = txn.len;
	copy.data = malloc(copy.len);
	memcpy(copy.data, txn.data, copy.len);
	for (unsigned i = 0; i < 1000; i++) {
		struct blazei_txn_header *header = copy.data;

		((struct blazei_origin *)(header + 1))->incarnation = i;
		header->chain = blazei_txn_hash(header);
		node_take(&b, copy.data, copy.len);
	}
	ck_assert_uint_eq(node_stats(&b).stalled, 1000);
	ck_assert_uint_le(node_stats(&b).parked * copy.len, 32u << 20);
	ck_assert_uint_ge(node_stats(&b).parked, 500);
	/* One that merely comes early finds room. */
	ck_assert_int_eq(node_put(&c, &id, big, 60000, &txn), 0);
	ck_assert_int_eq(node_put(&c, &id, big, 60000, &txn), 0);
	ck_assert_int_eq(node_take(&b, txn.data, txn.len), 0);
	ck_assert_uint_ge(node_stats(&b).parked, 501);
	free(copy.data);
	free(big);
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&two_minutes_ahead_are_taken_and_more_stall,
		&ahead_behind_a_gap_is_told_once_that_is_filled,
		&stalled_by_clock_resumes_when_the_time_has_come,
		&half_of_the_live_ahead_is_their_clock,
		&most_of_the_live_ahead_is_the_own_clock_told_once,
		&own_clock_is_told_anew_only_once_none_looks_ahead,
		&those_who_wrote_long_ago_have_no_vote,
		&votes_of_any_number_are_counted,
		&stalled_by_clock_keeps_the_first_and_goes_on_by_catch_up,
		&snapshot_that_is_ahead_waits_and_is_no_error_of_the_peer,
		&snapshot_whose_transactions_are_ahead_waits_likewise,
		&whole_snapshot_comes_after_the_own_clock_went_back,
		&own_clock_that_jumps_back_days_does_not_go_back_in_hlc,
		&peer_cannot_drive_the_clock_to_its_end,
		&origins_beyond_the_bound_that_are_ahead_leave_room_for_others,
	};
	Suite *suite = suite_create("clock");
	TCase *tcase = tcase_create("clock");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	tcase_add_loop_test(tcase, those_who_wrote_five_minutes_ago_have_a_vote, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
