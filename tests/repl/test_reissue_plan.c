/* SPDX-License-Identifier: Apache-2.0 */
/* What is issued anew where something came between the listing and the issue, where what was here
 * has been collected, and where lives run out. */
#include "tests/repl/returner.h"

static struct blazei_row *row_of(const struct node *node, unsigned number)
{
	const struct blazei_table *table = &node->replica->table;
	const struct blaze_id id = id_of(number);

	return blazei_table_find(table, &id, blazei_table_hash(table, &id));
}

/* b has a frontier, beside which a is below. */
static void leave_behind(void)
{
	node_insert(&a, 40, "{}");
	node_writes(&b, 50, 3);
	frontier_collect(&b);
}

static void listed(struct pair *pair)
{
	ck_assert_int_eq(catch_up_anew(&a, &b, pair).state, BLAZEI_SESSION_LIVE);
}

static void settle(void)
{
	nodes_catch_up(&b, &a);
	nodes_catch_up(&a, &b);
	nodes_expect_equal(&a, &b);
}

static void later(struct node *node)
{
	node->now_ns = a.now_ns + BLAZEI_NS_PER_S;
}

/* Meanwhile ----------------------------------------------------------------------------------- */

START_TEST(field_that_was_overwritten_since_is_not_issued)
{
	struct pair pair;

	node_insert(&b, 1, "{\"x\":1,\"y\":1}");
	node_give_all(&b, &a);
	node_give_all(&b, &c);
	node_update(&a, 1, "{\"x\":2,\"y\":2}");
	leave_behind();
	listed(&pair);
	later(&c);
	node_update(&c, 1, "{\"x\":3}");
	ck_assert_int_eq(node_give(&c, &a, 1), 1);
	ck_assert_int_eq(node_give(&c, &b, 1), 1);
	a.now_ns = c.now_ns + BLAZEI_NS_PER_S;
	ck_assert_uint_eq(issue(&a, &pair, 90), 1);
	settle();
	node_expect(&b, 1, "{\"x\":3,\"y\":2}");
}
END_TEST

/* With the record, where a later one was made and deleted. */
START_TEST(record_that_was_ended_since_is_not_issued)
{
	struct pair pair;

	node_insert(&a, 1, "{\"x\":1}");
	leave_behind();
	listed(&pair);
	later(&c);
	node_insert(&c, 1, "{\"z\":1}");
	node_delete(&c, 1);
	for (unsigned i = 1; i <= 2; i++) {
		ck_assert_int_eq(node_give(&c, &a, i), 1);
		ck_assert_int_eq(node_give(&c, &b, i), 1);
	}
	a.now_ns = c.now_ns + BLAZEI_NS_PER_S;
	ck_assert_uint_eq(issue(&a, &pair, 90), 1);
	settle();
	node_expect(&b, 1, NULL);
	node_expect(&b, 40, "{}");
}
END_TEST

/* The member whose record it is brings it. */
START_TEST(field_finds_the_record_that_it_was_to_wait_for)
{
	struct pair pair;

	ck_assert_int_eq(node_tick(&c), 1);
	node_insert(&c, 1, "{\"x\":1}");
	node_give_all(&c, &a);
	node_update(&a, 1, "{\"y\":1}");
	leave_behind();
	listed(&pair);
	/* It waits here, and is listed once more. */
	ck_assert_uint_eq(issue(&a, &pair, 90), 1);
	node_writes(&b, 50, 3);
	frontier_collect(&b);
	listed(&pair);
	ck_assert(!(blazei_stage_unseen(pair.stage)->items[0]->row.flags & BLAZEI_ROW_EXISTS));
	for (unsigned i = 1; i <= 2; i++) {
		ck_assert_int_eq(node_give(&c, &a, i), 1);
		ck_assert_int_eq(node_give(&c, &b, i), 1);
	}
	ck_assert_uint_eq(issue(&a, &pair, 92), 1);
	settle();
	node_expect(&b, 1, "{\"x\":1,\"y\":1}");
}
END_TEST

/* The rows that were emptied go, and what is listed finds none. */
START_TEST(rows_may_be_collected_before_the_issue)
{
	struct pair pair;

	node_insert(&a, 1, "{\"x\":1}");
	leave_behind();
	listed(&pair);
	ck_assert_ptr_nonnull(row_of(&a, 1));
	ck_assert_int_ge(blazei_replica_collect(a.replica, UINT32_MAX), 0);
	ck_assert_ptr_null(row_of(&a, 1));
	ck_assert_uint_eq(issue(&a, &pair, 90), 1);
	settle();
	node_expect(&b, 1, "{\"x\":1}");
}
END_TEST

/* What it heard meanwhile is listed by the next snapshot, behind what waits already, and goes into
 * another transaction where the ids do not ascend. */
START_TEST(second_listing_follows_the_first)
{
	struct pair pair;

	leave_behind();
	listed(&pair);
	ck_assert_uint_eq(blazei_stage_unseen(pair.stage)->count, 1);
	node_insert(&c, 5, "{\"x\":5}");
	node_insert(&c, 60, "{\"x\":60}");
	node_give_all(&c, &a);
	node_writes(&b, 50, 3);
	frontier_collect(&b);
	pair_run(&pair);
	ck_assert_int_eq(pair.asked.state, BLAZEI_SESSION_LIVE);
	ck_assert_uint_eq(blazei_stage_unseen(pair.stage)->count, 3);
	ck_assert_uint_eq(issue(&a, &pair, 90), 2);
	settle();
	node_expect(&b, 5, "{\"x\":5}");
	node_expect(&b, 40, "{}");
	node_expect(&b, 60, "{\"x\":60}");
}
END_TEST

/* Lives --------------------------------------------------------------------------------------- */

/* It was made last, and others had made and deleted it more often before. */
START_TEST(record_takes_a_life_beyond_all_that_were)
{
	struct pair pair;

	for (unsigned i = 0; i < 3; i++) {
		node_insert(&b, 1, "{\"old\":1}");
		node_delete(&b, 1);
	}
	leave_behind();
	later(&b);
	a.now_ns = b.now_ns;
	node_insert(&a, 1, "{\"x\":1}");
	listed(&pair);
	ck_assert_uint_eq(issue(&a, &pair, 90), 1);
	ck_assert_uint_gt(row_of(&a, 1)->life, 3);
	settle();
	node_expect(&b, 1, "{\"x\":1}");
}
END_TEST

/* Else a record that is made later would take a life that was used. */
START_TEST(delete_of_a_later_life_is_issued_though_it_is_dead_already)
{
	struct pair pair;

	node_insert(&b, 1, "{\"x\":1}");
	node_give_all(&b, &a);
	leave_behind();
	node_delete(&b, 1);
	later(&b);
	a.now_ns = b.now_ns;
	node_delete(&a, 1);
	node_insert(&a, 1, "{\"x\":2}");
	node_delete(&a, 1);
	listed(&pair);
	ck_assert_uint_eq(row_of(&a, 1)->life, 1);
	ck_assert_uint_eq(issue(&a, &pair, 90), 1);
	settle();
	ck_assert_uint_eq(row_of(&b, 1)->life, 2);
	node_expect(&b, 1, NULL);
}
END_TEST

/* Lives up to three were collected, of whatever record. */
START_TEST(delete_of_what_may_have_been_collected_takes_the_floors_life)
{
	struct pair pair;

	for (unsigned i = 0; i < 3; i++) {
		node_insert(&b, 2, "{\"old\":1}");
		node_delete(&b, 2);
	}
	leave_behind();
	ck_assert_ptr_null(row_of(&b, 2));
	node_insert(&a, 1, "{\"x\":1}");
	node_delete(&a, 1);
	listed(&pair);
	ck_assert_uint_eq(a.replica->members.floor.life, 3);
	ck_assert_uint_eq(issue(&a, &pair, 90), 1);
	settle();
	ck_assert_uint_eq(row_of(&b, 1)->life, 3);
}
END_TEST

/* The priority of a server, up to which things were collected. */
START_TEST(record_that_may_have_been_collected_takes_the_floors_priority)
{
	struct pair pair;
	uint64_t floor;

	blazei_replica_set_server(b.replica, true);
	node_insert(&b, 2, "{\"old\":1}");
	node_delete(&b, 2);
	leave_behind();
	ck_assert_ptr_null(row_of(&b, 2));
	node_insert(&a, 1, "{\"x\":1}");
	ck_assert_uint_eq(row_of(&a, 1)->priority, 0);
	listed(&pair);
	floor = a.replica->members.floor.priority;
	ck_assert_uint_gt(floor, 0);
	ck_assert_uint_eq(issue(&a, &pair, 90), 1);
	ck_assert_uint_eq(row_of(&a, 1)->priority, floor);
	settle();
	node_expect(&b, 1, "{\"x\":1}");
}
END_TEST

/* What a member says in its row, which bears its id, is no life of a record of that id. */
START_TEST(reports_of_a_member_take_no_life)
{
	const struct blazei_unseen *item = NULL;
	struct blazei_unseen_list *list;
	struct blazei_txn_view txn;
	struct pair pair;

	ck_assert_int_eq(node_put(&a, &a.origin.node, "v", 1, &txn), 0);
	ck_assert(node_keep(&a, txn.data, txn.len));
	ck_assert_int_eq(node_tick(&a), 1);
	leave_behind();
	listed(&pair);
	list = blazei_stage_unseen(pair.stage);
	for (uint32_t i = 0; i < list->count; i++)
		if (blazei_id_equal(&list->items[i]->row.id, &a.origin.node))
			item = list->items[i];
	ck_assert_ptr_nonnull(item);
	ck_assert_uint_eq(item->top_life, 1);
	ck_assert_uint_eq(item->row.entry_count, 1);
	ck_assert_uint_eq(issue(&a, &pair, 90), 1);
	settle();
	ck_assert_uint_eq(node_stats(&a).refused, 0);
	ck_assert_uint_eq(blazei_replica_count(b.replica), blazei_replica_count(a.replica));
}
END_TEST

/* There is none beyond what is here (0), or beyond what was known where it comes from (1). */
START_TEST(record_without_another_life_is_refused)
{
	struct pair pair;

	node_insert(&b, 1, "{\"old\":1}");
	if (_i == 0)
		row_of(&b, 1)->life = BLAZEI_LIFE_MAX - 1;
	node_delete(&b, 1);
	leave_behind();
	later(&b);
	a.now_ns = b.now_ns;
	node_insert(&a, 1, "{\"x\":1}");
	listed(&pair);
	if (_i == 1)
		blazei_stage_unseen(pair.stage)->items[0]->top_life = BLAZEI_LIFE_MAX - 1;
	ck_assert_uint_eq(issue(&a, &pair, 90), 1);
	ck_assert_uint_eq(node_stats(&a).refused, 1);
	settle();
	node_expect(&b, 1, NULL);
	node_expect(&b, 40, "{}");
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&field_that_was_overwritten_since_is_not_issued,
		&record_that_was_ended_since_is_not_issued,
		&field_finds_the_record_that_it_was_to_wait_for,
		&rows_may_be_collected_before_the_issue,
		&second_listing_follows_the_first,
		&record_takes_a_life_beyond_all_that_were,
		&delete_of_a_later_life_is_issued_though_it_is_dead_already,
		&delete_of_what_may_have_been_collected_takes_the_floors_life,
		&record_that_may_have_been_collected_takes_the_floors_priority,
		&reports_of_a_member_take_no_life,
	};
	Suite *suite = suite_create("reissue_plan");
	TCase *tcase = tcase_create("reissue_plan");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	tcase_add_loop_test(tcase, record_without_another_life_is_refused, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
