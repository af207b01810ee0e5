/* SPDX-License-Identifier: Apache-2.0 */
/* Who is below the frontier: is not heard, takes a snapshot of everything and holds that alone, and
 * issues what nobody had seen of its writes under a new name. */
#include "tests/repl/events.h"
#include "tests/repl/returner.h"

START_TEST(hearing_refuses_who_is_below_the_frontier)
{
	struct pair pair;

	node_writes(&b, 0, 5);
	frontier_collect(&b);
	node_writes(&a, 7, 1);
	/* b wants what a wrote; a has nothing of what all were to have. */
	pair_open(&pair, &b, &a);
	pair_run(&pair);
	ck_assert_int_eq(pair.asked.state, BLAZEI_SESSION_REFUSED);
	ck_assert_int_eq(pair.asked.reason, BLAZEI_SESSION_BELOW_FRONTIER);
	ck_assert_int_eq(pair.asked.error, -ESTALE);
	ck_assert(pair.answered.by_peer);
	ck_assert_int_eq(pair.answered.reason, BLAZEI_SESSION_BELOW_FRONTIER);
	ck_assert_str_ne(blazei_session_reason_text(pair.asked.reason), "");
	ck_assert_uint_eq(blazei_replica_vector_seq(b.replica, &a.origin), 0);
	pair_close(&pair);
	/* Both kept their data, and a is heard once it has what all have. */
	node_expect(&a, 7, "{\"by\":1,\"n\":0}");
	nodes_catch_up(&a, &b);
	nodes_catch_up(&b, &a);
	nodes_expect_equal(&a, &b);
}
END_TEST

/* That it has nothing is heard of anybody. */
START_TEST(hearing_takes_that_there_is_nothing)
{
	struct pair pair;

	node_writes(&b, 0, 5);
	frontier_collect(&b);
	pair_open(&pair, &b, &a);
	pair_catch_up(&pair);
	ck_assert_uint_eq(pair.messages, 3);
	pair_close(&pair);
}
END_TEST

START_TEST(return_holds_the_snapshot_and_issues_the_rest_anew)
{
	const struct blazei_origin before = a.origin;
	struct events events;
	struct pair pair;

	node_insert(&c, 1, "{\"x\":1,\"y\":1}");
	node_insert(&c, 2, "{\"x\":1}");
	node_insert(&a, 3, "{\"x\":1}");
	node_give_all(&c, &a);
	node_give_all(&c, &b);
	node_give_all(&a, &b);
	/* Alone, a writes on: what stands, what is overwritten, what is deleted. */
	node_update(&a, 1, "{\"x\":2}");
	node_update(&a, 2, "{\"x\":2}");
	node_delete(&a, 3);
	node_insert(&a, 4, "{\"x\":4}");
	/* The others go on, and what they delete is collected. */
	a.now_ns = b.now_ns = b.now_ns + BLAZEI_NS_PER_S;
	node_update(&b, 2, "{\"x\":3}");
	node_insert(&b, 5, "{\"x\":5}");
	node_delete(&b, 1);
	frontier_collect(&b);
	events_listen(&events, &a);
	ck_assert_int_eq(catch_up_anew(&a, &b, &pair).state, BLAZEI_SESSION_LIVE);
	ck_assert(pair.asked.whole);
	/* Exactly the snapshot, for now. */
	nodes_expect_equal(&a, &b);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &before), 1);
	ck_assert_uint_eq(issue(&a, &pair, 77), 1);
	ck_assert_uint_eq(events_count(&events, BLAZEI_EFFECT_ORIGIN_RENEWED), 1);
	node_expect(&a, 1, NULL);
	node_expect(&a, 2, "{\"x\":3}");
	node_expect(&a, 3, NULL);
	node_expect(&a, 4, "{\"x\":4}");
	node_expect(&a, 5, "{\"x\":5}");
	/* Nobody lacks anything of the old name; the new one is heard. */
	ck_assert_uint_eq(blazei_replica_vector_seq(b.replica, &before),
	                  blazei_replica_vector_seq(a.replica, &before));
	nodes_catch_up(&b, &a);
	nodes_expect_equal(&a, &b);
	ck_assert_uint_eq(blazei_replica_vector_seq(b.replica, &a.origin), 1);
}
END_TEST

/* A server's update of what was deleted and collected meanwhile lets the record live, in the same
 * way everywhere: with what the server wrote, and not with what was deleted. */
START_TEST(server_that_returns_lets_its_record_live_alike_everywhere)
{
	struct pair pair;

	node_insert(&c, 1, "{\"x\":1,\"old\":1}");
	node_give_all(&c, &a);
	node_give_all(&c, &b);
	blazei_replica_set_server(a.replica, true);
	node_update(&a, 1, "{\"x\":2}");
	blazei_replica_set_server(a.replica, false);
	b.now_ns = a.now_ns;
	node_delete(&b, 1);
	frontier_collect(&b);
	ck_assert_int_eq(catch_up_anew(&a, &b, &pair).state, BLAZEI_SESSION_LIVE);
	blazei_replica_set_server(a.replica, true);
	ck_assert_uint_eq(issue(&a, &pair, 78), 1);
	nodes_catch_up(&b, &a);
	nodes_expect_equal(&a, &b);
	node_expect(&b, 1, "{\"x\":2}");
}
END_TEST

/* What it heard of others beyond the cut is not in its vector any more, and comes again. */
START_TEST(return_takes_others_writes_again)
{
	struct pair pair;

	node_insert(&c, 1, "{\"x\":1}");
	node_give_all(&c, &a);
	node_give_all(&c, &b);
	node_update(&c, 1, "{\"x\":2}");
	node_give(&c, &a, 2);
	/* It lies over what c wrote. */
	node_update(&a, 1, "{\"x\":3}");
	node_writes(&b, 10, 3);
	frontier_collect(&b);
	ck_assert_int_eq(catch_up_anew(&a, &b, &pair).state, BLAZEI_SESSION_LIVE);
	nodes_expect_equal(&a, &b);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &c.origin), 1);
	ck_assert_uint_eq(issue(&a, &pair, 79), 1);
	ck_assert_int_eq(node_give(&c, &a, 2), 1);
	node_give(&c, &b, 2);
	nodes_catch_up(&b, &a);
	nodes_expect_equal(&a, &b);
	node_expect(&b, 1, "{\"x\":3}");
}
END_TEST

/* Whose writes are all beyond the cut is no longer one whom the next write depends on. */
START_TEST(return_depends_on_nobody_whom_it_forgot)
{
	struct pair pair;

	node_insert(&a, 2, "{\"x\":1}");
	node_insert(&c, 1, "{\"x\":1}");
	node_give_all(&c, &a);
	node_writes(&b, 10, 3);
	frontier_collect(&b);
	ck_assert_int_eq(catch_up_anew(&a, &b, &pair).state, BLAZEI_SESSION_LIVE);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &c.origin), 0);
	ck_assert_uint_eq(issue(&a, &pair, 80), 1);
	nodes_catch_up(&b, &a);
	nodes_expect_equal(&a, &b);
	node_expect(&b, 1, "{\"x\":1}");
	node_expect(&b, 2, "{\"x\":1}");
}
END_TEST

START_TEST(return_with_nothing_of_its_own_keeps_its_name)
{
	struct pair pair;

	node_insert(&a, 1, "{\"x\":1}");
	node_give_all(&a, &b);
	node_writes(&b, 10, 3);
	frontier_collect(&b);
	ck_assert_int_eq(catch_up_anew(&a, &b, &pair).state, BLAZEI_SESSION_LIVE);
	ck_assert(!blazei_replica_displaced(a.replica));
	ck_assert(blazei_unseen_list_empty(blazei_stage_unseen(pair.stage)));
	pair_close(&pair);
	node_update(&a, 1, "{\"x\":2}");
	ck_assert_int_eq(node_give(&a, &b, 2), 1);
	nodes_expect_equal(&a, &b);
}
END_TEST

/* While the snapshot was on its way, its answerer heard of what the asker had written. */
static enum pair_fate tell_meanwhile(struct pair *pair, unsigned at, bool from_answerer, void *data,
                                     size_t *len)
{
	(void)at;
	(void)data;
	(void)len;
	if (from_answerer && pair->kinds[BLAZEI_KIND_CHUNK] == 1)
		node_give(pair->asker, pair->answerer, 1);
	return PAIR_DELIVER;
}

START_TEST(return_keeps_what_the_answerer_heard_meanwhile)
{
	struct pair pair;

	node_insert(&a, 1, "{\"x\":1}");
	node_insert(&a, 2, "{\"x\":1}");
	node_writes(&b, 10, 3);
	frontier_collect(&b);
	pair_open(&pair, &a, &b);
	pair.anew = true;
	pair.hook = tell_meanwhile;
	pair_run(&pair);
	ck_assert_int_eq(pair.asked.state, BLAZEI_SESSION_LIVE);
	ck_assert_uint_eq(blazei_replica_vector_seq(b.replica, &a.origin), 1);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &a.origin), 1);
	nodes_expect_equal(&a, &b);
	ck_assert_uint_eq(issue(&a, &pair, 80), 1);
	node_expect(&a, 1, "{\"x\":1}");
	node_expect(&a, 2, "{\"x\":1}");
	nodes_catch_up(&b, &a);
	nodes_expect_equal(&a, &b);
}
END_TEST

START_TEST(issuing_takes_as_many_transactions_as_it_needs)
{
	struct pair pair;

	for (unsigned i = 0; i < 20; i++)
		node_write_long(&a, 100 + i, 1000000);
	node_writes(&b, 10, 3);
	frontier_collect(&b);
	ck_assert_int_eq(catch_up_anew(&a, &b, &pair).state, BLAZEI_SESSION_LIVE);
	ck_assert_uint_eq(blazei_replica_count(a.replica), 3);
	ck_assert_uint_eq(issue(&a, &pair, 81), 2);
	ck_assert_uint_eq(blazei_replica_count(a.replica), 23);
	nodes_catch_up(&b, &a);
	nodes_expect_equal(&a, &b);
}
END_TEST

/* Another history stands under its name: what it wrote in this run goes on under a new one. */
START_TEST(displaced_replica_leaves_its_name_and_loses_nothing)
{
	struct blazei_unseen_list list = { 0 };
	struct blazei_origin self = a.origin;
	struct blazei_txn_view txn;
	struct events events;
	struct node twin;

	node_insert(&c, 2, "{\"x\":1,\"y\":1,\"z\":1}");
	node_insert(&c, 3, "{\"x\":1}");
	node_open_history(&twin, 1, WIDE);
	for (unsigned i = 0; i < 7; i++)
		node_insert(&twin, 20 + i, "{\"x\":\"twin\"}");
	node_give_all(&twin, &b);
	node_give_all(&c, &b);
	node_give_all(&c, &a);
	node_insert(&a, 1, "{\"x\":1}");
	node_write(&a, BLAZEI_WRITE_UPDATE, 2, "{\"x\":2}", "y");
	node_delete(&a, 3);
	node_insert(&a, 4, "{\"x\":1}");
	node_delete(&a, 4);
	node_insert(&a, 4, "{\"w\":1}");
	ck_assert_int_eq(node_give(&twin, &a, 7), 0);
	ck_assert(blazei_replica_displaced(a.replica));
	for (unsigned i = 1; i <= 6; i++)
		ck_assert_int_eq(node_give(&a, &b, i), 0);
	events_listen(&events, &a);
	self.incarnation = 90;
	ck_assert_int_eq(blazei_replica_leave_name(a.replica, a.now_ns, &self), 0);
	events_expect(&events, 0, BLAZEI_EFFECT_ORIGIN_RENEWED, &self, 6);
	ck_assert_int_eq(blazei_replica_reissue(a.replica, a.now_ns, &list, &txn), 0);
	ck_assert(node_keep(&a, txn.data, txn.len));
	ck_assert_int_eq(blazei_replica_reissue(a.replica, a.now_ns, &list, &txn), 0);
	ck_assert_uint_eq(txn.len, 0);
	/* It shows the same as before, and waits for nothing that the old name wrote. */
	ck_assert_int_eq(node_give(&a, &b, 7), 1);
	for (unsigned i = 0; i < 2; i++) {
		node_expect(i ? &b : &a, 1, "{\"x\":1}");
		node_expect(i ? &b : &a, 2, "{\"x\":2,\"z\":1}");
		node_expect(i ? &b : &a, 3, NULL);
		node_expect(i ? &b : &a, 4, "{\"w\":1}");
	}
	ck_assert_uint_eq(node_stats(&a).conflicts, 0);
	node_close(&twin);
}
END_TEST

/* Lets a twin of `a` write more than that, and a hear of it; what was issued anew, by number. */
static unsigned leave_for_a_twin(unsigned past)
{
	struct blazei_unseen_list list = { 0 };
	struct blazei_origin self = a.origin;
	struct blazei_txn_view txn;
	struct node twin;

	node_open_history(&twin, 1, WIDE);
	for (unsigned i = 0; i <= past; i++)
		node_insert(&twin, 20 + i, "{\"x\":\"twin\"}");
	ck_assert_int_eq(node_give(&twin, &a, past + 1), 0);
	node_close(&twin);
	self.incarnation = 90;
	ck_assert_int_eq(blazei_replica_leave_name(a.replica, a.now_ns, &self), 0);
	ck_assert_int_eq(blazei_replica_reissue(a.replica, a.now_ns, &list, &txn), 0);
	ck_assert(node_keep(&a, txn.data, txn.len));
	return past + 1;
}

/* In the order of a transaction, shorter ones first, or nobody takes it. */
START_TEST(new_name_writes_fields_in_their_order)
{
	node_insert(&a, 1, "{\"aa\":1,\"b\":2,\"ccc\":3,\"d\":4}");
	ck_assert_int_eq(node_give(&a, &b, leave_for_a_twin(1)), 1);
	node_expect(&b, 1, "{\"aa\":1,\"b\":2,\"ccc\":3,\"d\":4}");
}
END_TEST

/* Only the writes under the old name told what they had seen, and nothing depends on those. */
START_TEST(new_name_depends_on_what_the_old_one_saw)
{
	unsigned number;

	node_insert(&c, 1, "{\"x\":1}");
	node_give_all(&c, &a);
	node_update(&a, 1, "{\"x\":2}");
	number = leave_for_a_twin(1);
	ck_assert_int_eq(node_give(&a, &b, number), 0);
	ck_assert_uint_eq(node_stats(&b).parked, 1);
	ck_assert_int_eq(node_give(&c, &b, 1), 2);
	node_expect(&b, 1, "{\"x\":2}");
}
END_TEST

/* A record of which more was written, bit by bit, than one transaction may say of a record. */
START_TEST(displaced_replica_writes_a_wide_record_anew)
{
	struct blazei_unseen_list list = { 0 };
	struct blazei_origin self = a.origin;
	struct blazei_txn_view txn = { .len = 1 };
	struct node twin;
	uint64_t refused;

	node_open_history(&twin, 1, WIDE);
	for (unsigned i = 0; i < 20; i++)
		node_insert(&twin, 20 + i, "{\"x\":\"twin\"}");
	node_insert(&a, 1, "{\"x\":1}");
	for (unsigned first = 0; first < 5000; first += 1000) {
		fields_write(&a, 1, first, 1000, false);
		fields_write(&a, 1, first, first < 4000 ? 1000 : 998, true);
	}
	node_insert(&a, 2, "{\"x\":2}");
	ck_assert_int_eq(node_give(&twin, &a, 20), 0);
	ck_assert(blazei_replica_displaced(a.replica));
	self.incarnation = 90;
	refused = node_stats(&a).refused;
	ck_assert_int_eq(blazei_replica_leave_name(a.replica, a.now_ns, &self), 0);
	while (txn.len > 0) {
		ck_assert_int_eq(blazei_replica_reissue(a.replica, a.now_ns, &list, &txn), 0);
		if (node_keep(&a, txn.data, txn.len))
			ck_assert_int_eq(node_give(&a, &b, a.count), 1);
	}
	ck_assert_uint_eq(node_stats(&a).refused, refused);
	node_expect(&b, 1, "{\"f4998\":4998,\"f4999\":4999,\"x\":1}");
	node_expect(&b, 2, "{\"x\":2}");
	nodes_expect_equal(&a, &b);
	node_close(&twin);
}
END_TEST

/* Others write under the name that `a` bears, more than it did, and a hears of it. */
static void twin_appear(uint64_t incarnation, unsigned count)
{
	struct node twin;
	struct blazei_replica_options options = {
		.self = a.origin,
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
	};

	options.self.incarnation = incarnation;
	twin = (struct node){ .now_ns = NOW };
	ck_assert_int_eq(blazei_replica_new(&options, &twin.replica), 0);
	for (unsigned i = 0; i < count; i++)
		node_insert(&twin, 20 + i, "{\"x\":\"twin\"}");
	ck_assert_int_eq(node_give(&twin, &a, count), 0);
	ck_assert(blazei_replica_displaced(a.replica));
	node_close(&twin);
}

/* Leaves the name, and issues what was written under it unless there is no memory for that yet. */
static void leave_for(uint64_t incarnation, bool issues)
{
	struct blazei_unseen_list list = { 0 };
	struct blazei_origin self = a.origin;
	struct blazei_txn_view txn = { .len = issues };

	self.incarnation = incarnation;
	ck_assert_int_eq(blazei_replica_leave_name(a.replica, a.now_ns, &self), 0);
	while (txn.len > 0) {
		ck_assert_int_eq(blazei_replica_reissue(a.replica, a.now_ns, &list, &txn), 0);
		if (node_keep(&a, txn.data, txn.len))
			ck_assert_int_eq(node_give(&a, &b, a.count), 1);
	}
}

/* The next name goes the same way, before or after all was issued under it: nothing is lost, and
 * nothing waits for what was written under either. */
START_TEST(names_that_are_left_in_a_row_leave_nothing_behind)
{
	const bool issues = _i == 1;

	node_insert(&a, 1, "{\"x\":1}");
	twin_appear(a.origin.incarnation, 5);
	leave_for(90, issues);
	node_insert(&a, 2, "{\"x\":2}");
	twin_appear(90, 5);
	leave_for(91, true);
	node_insert(&a, 3, "{\"x\":3}");
	ck_assert_int_eq(node_give(&a, &b, a.count), 1);
	for (unsigned i = 1; i <= 3; i++) {
		char text[16];

		snprintf(text, sizeof(text), "{\"x\":%u}", i);
		node_expect(&b, i, text);
	}
}
END_TEST

/* Asks the other one, in vain as that is below the frontier. */
static void ask_in_vain(struct node *asker, struct node *answerer, bool whole)
{
	struct pair pair;

	pair_open(&pair, asker, answerer);
	pair.anew = true;
	pair.whole = whole;
	pair_run(&pair);
	ck_assert_int_eq(pair.asked.state, BLAZEI_SESSION_REFUSED);
	ck_assert_int_eq(pair.asked.reason, BLAZEI_SESSION_BELOW_FRONTIER);
	pair_close(&pair);
}

/* Takes the other one's state, and issues what that had not seen, if there is something. */
static void give_in(struct node *asker, struct node *answerer)
{
	struct pair pair;

	ck_assert_int_eq(catch_up_anew(asker, answerer, &pair).state, BLAZEI_SESSION_LIVE);
	if (blazei_replica_displaced(asker->replica))
		issue(asker, &pair, asker->origin.incarnation + 100);
	else
		pair_close(&pair);
}

/* Between two that have left each other behind, whoever has taken the higher one's state does not
 * take the lower one's again, be its identity greater than both or lower. */
START_TEST(who_stands_between_two_sides_ends_at_the_higher_one)
{
	struct node middle;

	node_open_history(&middle, _i ? 9 : 0, WIDE);
	node_writes(&b, 0, 3);
	frontier_collect(&b);
	node_writes(&c, 5, 3);
	frontier_collect(&c);
	middle.now_ns = b.now_ns = c.now_ns;
	for (unsigned i = 0; i < 2; i++) {
		give_in(&middle, i ? &c : &b);
		nodes_expect_equal(&middle, i ? &c : &b);
	}
	for (unsigned i = 0; i < 3; i++)
		ask_in_vain(&middle, &b, i);
	ask_in_vain(&c, &b, false);
	give_in(&b, &middle);
	nodes_catch_up(&middle, &b);
	nodes_catch_up(&c, &middle);
	nodes_expect_equal(&b, &c);
	nodes_expect_equal(&b, &middle);
	node_expect(&c, 0, "{\"by\":2,\"n\":0}");
	node_expect(&c, 5, "{\"by\":3,\"n\":0}");
	node_close(&middle);
}
END_TEST

/* Of two frontiers made known at one moment one is the greater, whichever asks. */
START_TEST(two_sides_of_one_moment_know_which_gives_in)
{
	struct blazei_rank ranks[2];

	node_writes(&b, 0, 3);
	node_writes(&c, 5, 3);
	frontier_collect(&b);
	c.now_ns -= 40 * 10 * BLAZEI_NS_PER_S;
	frontier_collect(&c);
	ck_assert_int_eq(blazei_replica_rank(b.replica, &ranks[0]), 0);
	ck_assert_int_eq(blazei_replica_rank(c.replica, &ranks[1]), 0);
	ck_assert_uint_eq(ranks[0].hlc, ranks[1].hlc);
	ck_assert(blazei_rank_above(&ranks[0], &ranks[1]) !=
	          blazei_rank_above(&ranks[1], &ranks[0]));
	if (blazei_rank_above(&ranks[0], &ranks[1])) {
		ask_in_vain(&b, &c, false);
		give_in(&c, &b);
		nodes_catch_up(&b, &c);
	} else {
		ask_in_vain(&c, &b, false);
		give_in(&b, &c);
		nodes_catch_up(&c, &b);
	}
	nodes_expect_equal(&b, &c);
}
END_TEST

/* Who is not below the other's frontier has nothing to give in for, whatever the rank. */
START_TEST(nobody_gives_in_who_is_not_below)
{
	struct blazei_rank ranks[2];

	node_writes(&b, 0, 3);
	node_give_all(&b, &c);
	node_writes(&c, 5, 3);
	frontier_collect(&c);
	frontier_collect(&b);
	/* All but what made the last frontier known. */
	for (unsigned i = 4; i < b.count; i++)
		node_give(&b, &c, i);
	c.now_ns = b.now_ns;
	ck_assert_int_eq(blazei_replica_rank(b.replica, &ranks[0]), 0);
	ck_assert_int_eq(blazei_replica_rank(c.replica, &ranks[1]), 0);
	ck_assert(blazei_rank_above(&ranks[0], &ranks[1]));
	ask_in_vain(&c, &b, true);
	give_in(&b, &c);
	nodes_catch_up(&c, &b);
	nodes_expect_equal(&b, &c);
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&hearing_refuses_who_is_below_the_frontier,
		&hearing_takes_that_there_is_nothing,
		&return_holds_the_snapshot_and_issues_the_rest_anew,
		&server_that_returns_lets_its_record_live_alike_everywhere,
		&return_takes_others_writes_again,
		&return_depends_on_nobody_whom_it_forgot,
		&return_with_nothing_of_its_own_keeps_its_name,
		&return_keeps_what_the_answerer_heard_meanwhile,
		&issuing_takes_as_many_transactions_as_it_needs,
		&displaced_replica_leaves_its_name_and_loses_nothing,
		&new_name_writes_fields_in_their_order,
		&new_name_depends_on_what_the_old_one_saw,
		&displaced_replica_writes_a_wide_record_anew,
	};
	Suite *suite = suite_create("hearing");
	TCase *tcase = tcase_create("hearing");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	tcase_add_test(tcase, two_sides_of_one_moment_know_which_gives_in);
	tcase_add_test(tcase, nobody_gives_in_who_is_not_below);
	tcase_add_loop_test(tcase, who_stands_between_two_sides_ends_at_the_higher_one, 0, 2);
	tcase_add_loop_test(tcase, names_that_are_left_in_a_row_leave_nothing_behind, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
