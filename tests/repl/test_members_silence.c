/* SPDX-License-Identifier: Apache-2.0 */
/* What members say and when: reports while there is something to report, silence once all is said,
 * and who is expelled for a silence that keeps the others back. */
#include "lib/repl/core.h"
#include "tests/repl/trio.h"

START_TEST(reports_are_bounded_while_all_write)
{
	unsigned reports;

	run(3, 1, 1);
	reports = 0;
	for (unsigned i = 0; i < 600; i++) {
		node_write(&nodes[i % 3], BLAZEI_WRITE_UPSERT, i % 50, "{\"x\":1}", NULL);
		reports += run(3, BLAZEI_NS_PER_S, BLAZEI_NS_PER_S);
	}
	/* 600 s: at most one per member each 30 s. */
	ck_assert_uint_le(reports, 60);
	ck_assert_uint_ge(reports, 54);
}
END_TEST

START_TEST(silence_once_all_is_said)
{
	run(3, 1, 1);
	for (unsigned i = 0; i < 9; i++)
		node_insert(&nodes[i % 3], i, "{\"x\":1}");
	settle();
	ck_assert_uint_gt(run(3, 300 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S), 0);
	ck_assert_uint_eq(run(3, 3600 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S), 0);
	ck_assert_uint_eq(run(3, 40 * DAY_NS, DAY_NS), 0);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned j = 0; j < 3; j++)
			ck_assert_uint_ge(frontier(i, j), 4);
	nodes_expect_equal(&nodes[0], &nodes[2]);
}
END_TEST

START_TEST(silent_member_that_keeps_back_is_expelled_after_30_days)
{
	struct events events;

	run(3, 1, 1);
	run(3, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	events_listen(&events, &nodes[1]);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	settle();
	/* 2 says nothing from here on. */
	run(2, 29 * DAY_NS, DAY_NS / 2);
	ck_assert_int_eq(blazei_replica_membership(nodes[1].replica, &nodes[2].origin.node),
	                 BLAZEI_MEMBER_JOINED);
	ck_assert_uint_eq(frontier(0, 0), 0);
	run(2, 3 * DAY_NS, DAY_NS / 2);
	ck_assert_int_eq(blazei_replica_membership(nodes[1].replica, &nodes[2].origin.node),
	                 BLAZEI_MEMBER_EXPELLED);
	ck_assert_uint_eq(events_count(&events, BLAZEI_EFFECT_MEMBER_EXPELLED), 1);
	ck_assert_uint_ge(frontier(0, 0), 2);
	ck_assert_uint_eq(frontier(0, 0), frontier(1, 0));
	/* It learns of it, may not go on, and comes back. */
	settle();
	ck_assert_int_eq(tick(2), -ESTALE);
	ck_assert_int_eq(tick(2), -ESTALE);
	ck_assert_int_eq(tick_as(2, true), 1);
	settle();
	ck_assert_int_eq(blazei_replica_membership(nodes[0].replica, &nodes[2].origin.node),
	                 BLAZEI_MEMBER_JOINED);
	ck_assert_int_eq(tick(2), 0);
	/* And is waited for again. */
	node_insert(&nodes[0], 2, "{\"x\":1}");
	settle();
	run(2, DAY_NS, DAY_NS / 8);
	ck_assert_uint_lt(frontier(0, 0), nodes[0].count - 1);
	run(3, DAY_NS, DAY_NS / 8);
	ck_assert_uint_eq(run(3, DAY_NS, DAY_NS / 8), 0);
}
END_TEST

START_TEST(member_that_is_quiet_as_all_is_quiet_stays)
{
	run(3, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	ck_assert_uint_eq(run(2, 60 * DAY_NS, DAY_NS), 0);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	settle();
	run(2, DAY_NS, DAY_NS / 8);
	ck_assert_int_eq(blazei_replica_membership(nodes[0].replica, &nodes[2].origin.node),
	                 BLAZEI_MEMBER_JOINED);
}
END_TEST

START_TEST(clock_that_jumps_by_months_expels_nobody)
{
	run(3, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	settle();
	tick(0);
	nodes[0].now_ns += 90 * DAY_NS;
	tick(0);
	tick(0);
	ck_assert_int_eq(blazei_replica_membership(nodes[0].replica, &nodes[2].origin.node),
	                 BLAZEI_MEMBER_JOINED);
	nodes[0].now_ns -= 90 * DAY_NS;
	tick(0);
	ck_assert_int_eq(blazei_replica_membership(nodes[0].replica, &nodes[2].origin.node),
	                 BLAZEI_MEMBER_JOINED);
}
END_TEST

/* Days pass of which each has one tick of 0; 2 is silent. */
static void days(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		pass(DAY_NS);
		tick(0);
	}
}

static enum blazei_membership membership(unsigned at, unsigned of)
{
	return blazei_replica_membership(nodes[at].replica, &nodes[of].origin.node);
}

START_TEST(silent_member_is_expelled_on_the_30th_day)
{
	run(3, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	node_give_all(&nodes[0], &nodes[1]);
	/* From here on it keeps back. */
	tick(0);
	days(29);
	ck_assert_int_eq(membership(0, 2), BLAZEI_MEMBER_JOINED);
	days(1);
	ck_assert_int_eq(membership(0, 2), BLAZEI_MEMBER_EXPELLED);
}
END_TEST

START_TEST(member_that_reports_late_and_never_all_stays)
{
	run(3, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	for (unsigned i = 0; i < 4; i++) {
		node_insert(&nodes[0], i, "{\"x\":1}");
		settle();
		/* It tells of that much, and then 0 writes on. */
		ck_assert_int_eq(tick(2), 1);
		node_insert(&nodes[0], 10 + i, "{\"x\":1}");
		node_give_all(&nodes[0], &nodes[1]);
		node_give_all(&nodes[2], &nodes[0]);
		tick(0);
		days(20);
	}
	ck_assert_int_eq(membership(0, 2), BLAZEI_MEMBER_JOINED);
	days(11);
	ck_assert_int_eq(membership(0, 2), BLAZEI_MEMBER_EXPELLED);
}
END_TEST

/* One that starts up counts the silence from the last report on, but for the last day. */
START_TEST(silence_before_a_start_counts)
{
	static const unsigned silent_days[] = { 1, 20, 90 };
	static const unsigned left_days[] = { 29, 10, 1 };
	struct node old;

	run(3, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	node_give_all(&nodes[0], &nodes[1]);
	old = nodes[0];
	node_open(&nodes[0], 1);
	nodes[0].now_ns = old.now_ns + silent_days[_i] * DAY_NS;
	for (unsigned i = 1; i <= old.count; i++) {
		const struct blazei_txn_view txn = { old.log[i - 1].data, old.log[i - 1].len };

		for (unsigned k = 1; k < 3; k++)
			node_give_all(&nodes[k], &nodes[0]);
		ck_assert_int_ge(blazei_replica_replay(nodes[0].replica, &txn, 1), 0);
	}
	for (unsigned k = 1; k < 3; k++)
		node_give_all(&nodes[k], &nodes[0]);
	tick(0);
	/* The last report came in the first 100 s. */
	days(left_days[_i] - 1);
	ck_assert_int_eq(membership(0, 2), BLAZEI_MEMBER_JOINED);
	days(1);
	ck_assert_int_eq(membership(0, 2), BLAZEI_MEMBER_EXPELLED);
	node_close(&old);
}
END_TEST

START_TEST(member_whose_durable_stays_behind_says_nothing_more)
{
	run(3, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	durable_freeze(0);
	node_insert(&nodes[1], 1, "{\"x\":1}");
	settle();
	pass(40 * BLAZEI_NS_PER_S);
	tick(0);
	for (unsigned i = 0; i < 5; i++) {
		pass(40 * BLAZEI_NS_PER_S);
		ck_assert_int_eq(tick(0), 0);
	}
}
END_TEST

START_TEST(report_comes_30_s_after_the_last_one)
{
	ck_assert_int_eq(tick(0), 1);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	ck_assert_int_eq(tick(0), 0);
	pass(30 * BLAZEI_NS_PER_S - 1 - 1000000);
	/* The write took a millisecond. */
	ck_assert_int_eq(tick(0), 0);
	pass(1);
	ck_assert_int_eq(tick(0), 1);
}
END_TEST

START_TEST(client_expels_one_that_joined_as_a_server)
{
	blazei_replica_set_server(nodes[2].replica, true);
	run(3, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	node_give_all(&nodes[0], &nodes[1]);
	tick(0);
	days(31);
	ck_assert_int_eq(membership(0, 2), BLAZEI_MEMBER_EXPELLED);
	node_give_all(&nodes[0], &nodes[1]);
	ck_assert_int_eq(membership(1, 2), BLAZEI_MEMBER_EXPELLED);
}
END_TEST

START_TEST(reports_count_after_a_server_has_become_a_client)
{
	uint64_t before;

	blazei_replica_set_server(nodes[0].replica, true);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	run(1, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	before = frontier(1, 0);
	ck_assert_uint_gt(before, 0);
	blazei_replica_set_server(nodes[0].replica, false);
	node_insert(&nodes[0], 2, "{\"x\":1}");
	run(1, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	ck_assert_uint_gt(frontier(0, 0), before);
	ck_assert_uint_gt(frontier(1, 0), before);
}
END_TEST

START_TEST(ticks_without_news_leave_all_as_it_was_read)
{
	uint64_t version;

	run(3, 300 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	version = nodes[0].replica->members.version;
	/* Collection begins anew with each version. */
	ck_assert_uint_eq(run(3, 300 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S), 0);
	ck_assert_uint_eq(nodes[0].replica->members.version, version);
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&reports_are_bounded_while_all_write,
		&silence_once_all_is_said,
		&silent_member_that_keeps_back_is_expelled_after_30_days,
		&member_that_is_quiet_as_all_is_quiet_stays,
		&clock_that_jumps_by_months_expels_nobody,
		&silent_member_is_expelled_on_the_30th_day,
		&member_that_reports_late_and_never_all_stays,
		&member_whose_durable_stays_behind_says_nothing_more,
		&report_comes_30_s_after_the_last_one,
		&client_expels_one_that_joined_as_a_server,
		&reports_count_after_a_server_has_become_a_client,
		&ticks_without_news_leave_all_as_it_was_read,
	};
	Suite *suite = suite_create("members_silence");
	TCase *tcase = tcase_create("members_silence");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	tcase_add_loop_test(tcase, silence_before_a_start_counts, 0, 3);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
