/* SPDX-License-Identifier: Apache-2.0 */
/* The list of members and the frontier: who joins, who is waited for, and what is in the list. */
#include "tests/repl/frontier.h"
#include "tests/repl/ghost.h"
#include "tests/repl/session_pair.h"
#include "tests/repl/trio.h"

START_TEST(member_joins_once_and_all_are_told)
{
	struct events events;

	events_listen(&events, &nodes[1]);
	ck_assert_int_eq(tick(0), 1);
	ck_assert_int_eq(tick(0), 0);
	settle();
	ck_assert_int_eq(blazei_replica_membership(nodes[1].replica, &nodes[0].origin.node),
	                 BLAZEI_MEMBER_JOINED);
	ck_assert_int_eq(blazei_replica_membership(nodes[1].replica, &nodes[1].origin.node),
	                 BLAZEI_MEMBER_NEVER);
	ck_assert_uint_eq(events.count, 1);
	events_expect(&events, 0, BLAZEI_EFFECT_MEMBER_JOINED, &nodes[0].origin, 1);
}
END_TEST

START_TEST(list_is_hidden_from_readers)
{
	struct blaze_record *record;
	struct blaze_id id;
	uint8_t before[16];
	uint8_t after[16];

	node_insert(&nodes[0], 1, "{\"x\":1}");
	settle();
	blazei_replica_hash(nodes[1].replica, before);
	run(3, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	blazei_replica_hash(nodes[1].replica, after);
	ck_assert_mem_eq(before, after, 16);
	ck_assert_uint_eq(blazei_replica_count(nodes[1].replica), 1);
	ck_assert_int_eq(blazei_replica_get(nodes[1].replica, &nodes[0].origin.node, &record),
	                 -ENOENT);
	id = id_of(2);
	ck_assert_int_eq(blazei_replica_next_id(nodes[1].replica, &id, &id), -ENOENT);
	ck_assert_uint_eq(node_stats(&nodes[0]).conflicts, 0);
	ck_assert_uint_eq(node_stats(&nodes[1]).conflicts, 0);
	nodes_expect_equal(&nodes[0], &nodes[1]);
	nodes_expect_equal(&nodes[0], &nodes[2]);
}
END_TEST

START_TEST(without_a_store_nothing_is_written)
{
	const struct blazei_members_tick none = { .now_ns = NOW };
	struct blazei_txn_view txn;

	ck_assert_int_eq(blazei_replica_members_tick(nodes[0].replica, &none, &txn), 0);
	ck_assert_uint_eq(txn.len, 0);
	ck_assert_uint_eq(frontier(0, 0), 0);
}
END_TEST

START_TEST(frontier_follows_the_slowest_member)
{
	run(3, 1, 1);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	node_insert(&nodes[1], 2, "{\"x\":1}");
	settle();
	durable_freeze(2);
	node_insert(&nodes[0], 3, "{\"x\":1}");
	node_insert(&nodes[0], 4, "{\"x\":1}");
	settle();
	run(3, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	for (unsigned i = 0; i < 3; i++) {
		/* The join and one write of 0 and of 1 are durable at 2. */
		ck_assert_uint_eq(frontier(i, 0), 2);
		ck_assert_uint_eq(frontier(i, 1), 2);
	}
	free(durable[2]);
	durable[2] = NULL;
	run(3, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_ge(frontier(i, 0), 4);
}
END_TEST

/* It comes as far as what they had seen when they began, and no further. */
START_TEST(frontier_waits_for_open_transactions)
{
	struct blazei_vector_entry *entries;

	run(3, 1, 1);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	settle();
	entries = node_vector(&nodes[2], &seen[2].count);
	seen[2].entries = entries;
	node_insert(&nodes[0], 3, "{\"x\":1}");
	settle();
	run(3, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(frontier(i, 0), 2);
	seen[2].entries = NULL;
	free(entries);
	run(3, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_ge(frontier(i, 0), 3);
}
END_TEST

START_TEST(frontier_waits_for_live_replicas_without_a_store)
{
	unsigned count;
	struct blazei_vector_entry *entries;

	node_insert(&nodes[0], 1, "{\"x\":1}");
	settle();
	entries = node_vector(&nodes[2], &count);
	holds[0] = (struct blazei_vector_view){ entries, count };
	hold_count = 1;
	node_insert(&nodes[0], 2, "{\"x\":1}");
	settle();
	run(2, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	ck_assert_uint_eq(frontier(0, 0), 1);
	ck_assert_uint_eq(frontier(2, 0), 1);
	hold_count = 0;
	run(2, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	ck_assert_uint_ge(frontier(2, 0), 2);
	free(entries);
}
END_TEST

START_TEST(frontier_waits_for_what_a_replica_without_a_store_wrote)
{
	unsigned count;
	struct blazei_vector_entry *entries;

	node_insert(&nodes[0], 1, "{\"x\":1}");
	node_insert(&nodes[2], 2, "{\"x\":1}");
	/* It has seen everything now, but what it wrote before that is on its way. */
	node_give_all(&nodes[0], &nodes[2]);
	entries = node_vector(&nodes[2], &count);
	holds[0] = (struct blazei_vector_view){ entries, count };
	hold_count = 1;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 20; i++) {
			tick(0);
			pass(10 * BLAZEI_NS_PER_S);
		}
		ck_assert_uint_eq(frontier(0, 0), round);
		node_give_all(&nodes[2], &nodes[0]);
	}
	hold_count = 0;
	free(entries);
}
END_TEST

START_TEST(who_is_below_the_frontier_may_not_join)
{
	struct blazei_vector_view view;
	struct blazei_vector_entry *entries;

	node_insert(&nodes[0], 1, "{\"x\":1}");
	settle();
	durable_freeze(2);
	node_insert(&nodes[0], 2, "{\"x\":1}");
	settle();
	run(2, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	ck_assert_uint_ge(frontier(2, 0), 2);
	ck_assert_int_eq(tick(2), -ESTALE);
	view = (struct blazei_vector_view){ durable[2], durable_count[2] };
	ck_assert(blazei_replica_below_frontier(nodes[0].replica, &view));
	entries = node_vector(&nodes[2], &view.count);
	view.entries = entries;
	ck_assert(!blazei_replica_below_frontier(nodes[0].replica, &view));
	free(entries);
	free(durable[2]);
	durable[2] = NULL;
	ck_assert_int_eq(tick(2), 1);
}
END_TEST

START_TEST(late_joiner_below_the_frontier_is_not_counted_and_moves_nothing_back)
{
	uint64_t before;

	/* 2 joins before it knows of the frontier, with little that is durable. */
	node_insert(&nodes[2], 9, "{\"x\":1}");
	ck_assert_int_eq(tick(2), 1);
	for (unsigned i = 0; i < 2; i++)
		tick(i);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	for (unsigned round = 0; round < 20; round++) {
		settle_among(2);
		pass(10 * BLAZEI_NS_PER_S);
		tick(0);
		tick(1);
	}
	before = frontier(0, 0);
	ck_assert_uint_ge(before, 2);
	settle();
	ck_assert_uint_ge(frontier(0, 0), before);
	ck_assert_int_eq(blazei_replica_membership(nodes[0].replica, &nodes[2].origin.node),
	                 BLAZEI_MEMBER_JOINED);
	/* The others go on without it, until it reports more. */
	node_insert(&nodes[0], 2, "{\"x\":1}");
	settle();
	for (unsigned round = 0; round < 20; round++) {
		pass(10 * BLAZEI_NS_PER_S);
		tick(0);
		tick(1);
		settle();
	}
	ck_assert_uint_gt(frontier(1, 0), before);
	run(3, 300 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	before = frontier(0, 0);
	node_insert(&nodes[0], 3, "{\"x\":1}");
	settle();
	for (unsigned round = 0; round < 20; round++) {
		pass(10 * BLAZEI_NS_PER_S);
		tick(0);
		tick(1);
		settle();
	}
	ck_assert_uint_le(frontier(0, 0), before + 20);
	ck_assert_uint_lt(frontier(0, 0), nodes[0].count - 20);
}
END_TEST

START_TEST(list_comes_by_state_and_by_replay)
{
	struct node again;

	node_insert(&nodes[0], 1, "{\"x\":1}");
	run(2, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	node_open(&again, 9);
	again.now_ns = nodes[1].now_ns;
	nodes_catch_up(&again, &nodes[1]);
	ck_assert_uint_eq(blazei_replica_frontier_seq(again.replica, &nodes[0].origin),
	                  frontier(0, 0));
	ck_assert_int_eq(blazei_replica_membership(again.replica, &nodes[1].origin.node),
	                 BLAZEI_MEMBER_JOINED);
	node_close(&again);
}
END_TEST

START_TEST(renewal_keeps_the_membership)
{
	struct blazei_origin self = nodes[0].origin;
	uint64_t before;

	node_insert(&nodes[0], 1, "{\"x\":1}");
	settle();
	run(2, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	before = frontier(0, 0);
	self.incarnation = 5;
	ck_assert_int_eq(blazei_replica_renew(nodes[0].replica, nodes[0].now_ns, &self), 0);
	ck_assert_uint_eq(frontier(0, 0), before);
	ck_assert_int_eq(tick(0), 0);
	ck_assert_int_eq(blazei_replica_membership(nodes[0].replica, &self.node),
	                 BLAZEI_MEMBER_JOINED);
}
END_TEST

START_TEST(members_that_come_many_at_once_are_all_found)
{
	static const struct blaze_id nobody;
	struct node others[20];

	ck_assert_int_eq(tick(0), 1);
	ck_assert_int_eq(blazei_replica_membership(nodes[0].replica, &nobody), BLAZEI_MEMBER_NEVER);
	for (unsigned i = 0; i < 20; i++) {
		node_open(&others[i], 100 + i);
		ck_assert_int_eq(node_tick(&others[i]), 1);
		node_give(&others[i], &nodes[0], 1);
	}
	for (unsigned i = 0; i < 20; i++) {
		ck_assert_int_eq(
		        blazei_replica_membership(nodes[0].replica, &others[i].origin.node),
		        BLAZEI_MEMBER_JOINED);
		node_close(&others[i]);
	}
	ck_assert_int_eq(blazei_replica_membership(nodes[0].replica, &nobody), BLAZEI_MEMBER_NEVER);
}
END_TEST

/* As many as there may be (0), one more (1), each of which has all. */
START_TEST(members_beyond_the_bound_make_the_frontier_stand_still)
{
	ck_assert_int_eq(tick(0), 1);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	for (unsigned i = 0; i < BLAZEI_MEMBERS_MAX - 1 + (unsigned)_i; i++) {
		struct node other;

		node_open(&other, 100);
		other.origin.node = id_of(i);
		ck_assert_int_eq(blazei_replica_renew(other.replica, NOW, &other.origin), 0);
		node_give_all(&nodes[0], &other);
		ck_assert_int_eq(node_tick(&other), 1);
		ck_assert_int_eq(node_give(&other, &nodes[0], 1), 1);
		node_close(&other);
	}
	run(1, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	ck_assert_uint_eq(frontier(0, 0), _i == 0 ? 2 : 0);
}
END_TEST

START_TEST(record_that_only_looks_like_a_member_is_none)
{
	struct blazei_origin self = nodes[0].origin;
	const struct blazei_entry ghost = { .life = BLAZEI_LIFE_MAX, .name = 1 };
	const struct blaze_id id = id_of(1);

	ck_assert_int_eq(tick(0), 1);
	node_put_ghost(&nodes[0], 1, &ghost);
	/* The list is read from the whole table after that. */
	self.incarnation = 5;
	ck_assert_int_eq(blazei_replica_renew(nodes[0].replica, nodes[0].now_ns, &self), 0);
	ck_assert_int_eq(blazei_replica_membership(nodes[0].replica, &id), BLAZEI_MEMBER_NEVER);
	ck_assert_int_eq(blazei_replica_membership(nodes[0].replica, &self.node),
	                 BLAZEI_MEMBER_JOINED);
}
END_TEST

START_TEST(frontier_waits_for_each_live_replica_without_a_store)
{
	struct blazei_vector_entry *entries[2];
	unsigned counts[2];

	node_insert(&nodes[0], 1, "{\"x\":1}");
	node_insert(&nodes[0], 2, "{\"x\":1}");
	/* 1 has seen both, 2 has seen nothing. */
	node_give_all(&nodes[0], &nodes[1]);
	for (unsigned i = 0; i < 2; i++) {
		entries[i] = node_vector(&nodes[i + 1], &counts[i]);
		holds[i] = (struct blazei_vector_view){ entries[i], counts[i] };
	}
	hold_count = 2;
	run(1, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	ck_assert_uint_eq(frontier(0, 0), 0);
	hold_count = 1;
	run(1, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	ck_assert_uint_eq(frontier(0, 0), 2);
	/* Of whom nothing is known, not even its name, nothing is assumed. */
	node_insert(&nodes[0], 3, "{\"x\":1}");
	node_give_all(&nodes[0], &nodes[1]);
	free(entries[0]);
	entries[0] = node_vector(&nodes[1], &counts[0]);
	holds[0] = (struct blazei_vector_view){ entries[0], counts[0] };
	holds[1].count = 0;
	hold_count = 2;
	run(1, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	ck_assert_uint_eq(frontier(0, 0), 2);
	hold_count = 1;
	run(1, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	ck_assert_uint_gt(frontier(0, 0), 2);
	free(entries[0]);
	free(entries[1]);
}
END_TEST

START_TEST(frontier_that_is_known_is_told_again_with_what_is_new)
{
	struct blazei_vector_entry *entries;
	struct node again;
	unsigned count;
	uint64_t before;

	node_insert(&nodes[0], 1, "{\"x\":1}");
	run(1, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	before = frontier(0, 0);
	ck_assert_uint_gt(before, 0);
	/* One that has no store and nothing of 0 writes. */
	node_open(&again, 9);
	node_insert(&again, 2, "{\"x\":1}");
	node_give_all(&again, &nodes[0]);
	entries = node_vector(&again, &count);
	holds[0] = (struct blazei_vector_view){ entries, count };
	hold_count = 1;
	run(1, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	ck_assert_uint_eq(blazei_replica_frontier_seq(nodes[0].replica, &again.origin), 1);
	/* Who reads the list for the first time reads that it never went back. */
	again.now_ns = nodes[0].now_ns;
	nodes_catch_up(&again, &nodes[0]);
	ck_assert_uint_eq(blazei_replica_frontier_seq(again.replica, &nodes[0].origin), before);
	node_close(&again);
	free(entries);
}
END_TEST

START_TEST(report_names_those_only_of_whom_something_came)
{
	node_insert(&nodes[1], 1, "{\"x\":1}");
	node_insert(&nodes[1], 2, "{\"x\":1}");
	/* It waits for the first one. */
	ck_assert_int_eq(node_give(&nodes[1], &nodes[0], 2), 0);
	ck_assert_uint_eq(blazei_replica_vector_count(nodes[0].replica), 2);
	ck_assert_int_eq(tick(0), 1);
	ck_assert_int_eq(tick(2), 1);
	ck_assert_uint_eq(nodes[0].log[0].len, nodes[2].log[0].len);
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&member_joins_once_and_all_are_told,
		&list_is_hidden_from_readers,
		&without_a_store_nothing_is_written,
		&frontier_follows_the_slowest_member,
		&frontier_waits_for_open_transactions,
		&frontier_waits_for_live_replicas_without_a_store,
		&frontier_waits_for_what_a_replica_without_a_store_wrote,
		&who_is_below_the_frontier_may_not_join,
		&late_joiner_below_the_frontier_is_not_counted_and_moves_nothing_back,
		&list_comes_by_state_and_by_replay,
		&renewal_keeps_the_membership,
		&members_that_come_many_at_once_are_all_found,
		&record_that_only_looks_like_a_member_is_none,
		&frontier_waits_for_each_live_replica_without_a_store,
		&frontier_that_is_known_is_told_again_with_what_is_new,
		&report_names_those_only_of_whom_something_came,
	};
	Suite *suite = suite_create("members");
	TCase *tcase = tcase_create("members");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	tcase_add_loop_test(tcase, members_beyond_the_bound_make_the_frontier_stand_still, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
