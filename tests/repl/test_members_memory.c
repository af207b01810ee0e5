/* SPDX-License-Identifier: Apache-2.0 */
/* Members, the frontier and collection where an allocation fails, each one in turn: nothing is
 * written or dropped, the answer is the careful one, and the next call does the work. */
#include "lib/op/record.h"
#include "tests/repl/frontier.h"
#include "tests/repl/starve.h"

static struct node a;
static struct node b;

static void set_up(void)
{
	node_open(&a, 1);
	node_open(&b, 2);
}

static void tear_down(void)
{
	node_close(&a);
	node_close(&b);
}

/* As node_tick, with allocation `at` of it failing. */
static int tick_starve(struct node *node, unsigned at)
{
	struct blazei_members_tick tick = { .now_ns = node->now_ns };
	struct blazei_vector_entry *entries = node_vector(node, &tick.durable.count);
	struct blazei_txn_view txn;
	int rc;

	tick.durable.entries = entries;
	starve(at);
	rc = blazei_replica_members_tick(node->replica, &tick, &txn);
	if (starve_end()) {
		ck_assert_int_eq(rc, -ENOMEM);
		ck_assert_uint_eq(txn.len, 0);
	}
	free(entries);
	return rc;
}

START_TEST(tick_without_memory_writes_nothing_and_the_next_one_does)
{
	unsigned at = 0;
	int rc;

	do {
		tear_down();
		set_up();
		node_insert(&b, 1, "{\"x\":1}");
		node_give_all(&b, &a);
		ck_assert_int_eq(node_tick(&b), 1);
		node_give_all(&b, &a);
		rc = tick_starve(&a, at++);
		ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &a.origin), rc == 0);
		if (rc == 0)
			break;
		ck_assert_int_eq(blazei_replica_membership(a.replica, &a.origin.node),
		                 BLAZEI_MEMBER_NEVER);
		ck_assert_int_eq(blazei_replica_membership(a.replica, &b.origin.node),
		                 BLAZEI_MEMBER_JOINED);
		ck_assert_int_eq(node_tick(&a), 1);
		frontier_make(&b);
		node_give_all(&b, &a);
		ck_assert_uint_eq(blazei_replica_frontier_seq(a.replica, &b.origin),
		                  blazei_replica_frontier_seq(b.replica, &b.origin));
	} while (at < 100);
	/* The list, its vectors, the frontier and the scratch memory at least. */
	ck_assert_uint_ge(at, 5);
	ck_assert_int_eq(rc, 0);
}
END_TEST

/* b has made a frontier, of which a has merged the report but not read it. */
static void frontier_unread(void)
{
	node_insert(&b, 1, "{\"x\":1}");
	node_insert(&b, 2, "{\"x\":1}");
	node_delete(&b, 2);
	frontier_make(&b);
	node_give_all(&b, &a);
	ck_assert(a.replica->members.stale);
}

enum question {
	MEMBERSHIP,
	FRONTIER_SEQ,
	BELOW,
	KNOWN_BELOW,
	HAS_FRONTIER,
	COLLECTED,
	COLLECT,
	QUESTIONS,
};

static int64_t ask(enum question question)
{
	static const uint64_t known[2] = { 1000, 1000 };
	const struct blazei_vector_entry entry = { b.origin, 1000 };
	const struct blazei_vector_view view = { &entry, 1 };
	const struct blaze_id id = id_of(2);
	const struct blazei_table *table = &a.replica->table;

	switch (question) {
	case MEMBERSHIP:
		return blazei_replica_membership(a.replica, &b.origin.node);
	case FRONTIER_SEQ:
		return (int64_t)blazei_replica_frontier_seq(a.replica, &b.origin);
	case BELOW:
		return blazei_replica_below_frontier(a.replica, &view);
	case KNOWN_BELOW:
		return blazei_known_below(a.replica, known);
	case HAS_FRONTIER:
		return blazei_replica_has_frontier(a.replica);
	case COLLECTED:
		return blazei_was_collected(
		        a.replica, blazei_table_find(table, &id, blazei_table_hash(table, &id)),
		        false);
	default:
		return blazei_replica_collect(a.replica, 100);
	}
}

START_TEST(answers_without_memory_are_the_careful_ones)
{
	static const struct {
		int64_t without;
		int64_t with;
	} answers[QUESTIONS] = {
		[MEMBERSHIP] = { BLAZEI_MEMBER_NEVER, BLAZEI_MEMBER_JOINED },
		[FRONTIER_SEQ] = { 0, 4 },
		[BELOW] = { true, false },
		[KNOWN_BELOW] = { true, false },
		/* Of which a, that has not read it, has none yet. */
		[HAS_FRONTIER] = { true, true },
		[COLLECTED] = { false, true },
		/* The one field of what was deleted. */
		[COLLECT] = { -ENOMEM, 1 },
	};
	int64_t answer;

	frontier_unread();
	starve(0);
	answer = ask((enum question)_i);
	ck_assert(starve_end());
	ck_assert_int_eq(answer, answers[_i].without);
	ck_assert_int_eq(ask((enum question)_i), answers[_i].with);
}
END_TEST

/* Who cannot read who the members are retires nothing. */
START_TEST(who_is_alone_is_not_known_without_memory)
{
	node_insert(&b, 1, "{\"x\":1}");
	ck_assert_int_eq(node_tick(&b), 1);
	ck_assert(b.replica->members.stale);
	starve(0);
	ck_assert_uint_eq(blazei_replica_lone_incarnations(b.replica), 0);
	ck_assert(starve_end());
	ck_assert_uint_eq(blazei_replica_lone_incarnations(b.replica), 1);
}
END_TEST

/* A row that holds nothing, as room that was made for what then failed, goes with the next
 * collection. */
START_TEST(row_that_holds_nothing_is_collected)
{
	struct blazei_table *table = &a.replica->table;
	const struct blaze_id id = id_of(7);
	uint32_t rows;

	node_insert(&a, 1, "{\"x\":1}");
	frontier_make(&a);
	rows = table->row_count;
	ck_assert_ptr_nonnull(blazei_table_add(table, &id, blazei_table_hash(table, &id), 64));
	node_update(&a, 1, "{\"x\":2}");
	frontier_make(&a);
	ck_assert_int_eq(blazei_replica_collect(a.replica, UINT32_MAX), 1);
	ck_assert_uint_eq(table->row_count, rows);
	ck_assert_int_eq(node_insert(&a, 7, "{\"x\":1}"), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("members_memory");
	TCase *tcase = tcase_create("members_memory");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, tick_without_memory_writes_nothing_and_the_next_one_does);
	tcase_add_loop_test(tcase, answers_without_memory_are_the_careful_ones, 0, QUESTIONS);
	tcase_add_test(tcase, who_is_alone_is_not_known_without_memory);
	tcase_add_test(tcase, row_that_holds_nothing_is_collected);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
