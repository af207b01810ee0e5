/* SPDX-License-Identifier: Apache-2.0 */
/* What is below the frontier, and who is. */
#include "tests/repl/frontier.h"
#include "tests/repl/three.h"

static uint64_t frontier(const struct node *at, const struct node *of)
{
	return blazei_replica_frontier_seq(at->replica, &of->origin);
}

START_TEST(frontier_of_who_was_not_heard_of_is_0)
{
	struct blazei_rank before, after;

	ck_assert(!blazei_replica_has_frontier(a.replica));
	node_insert(&a, 1, "{\"x\":1}");
	frontier_make(&a);
	ck_assert(blazei_replica_has_frontier(a.replica));
	ck_assert_uint_eq(frontier(&a, &b), 0);
	ck_assert_int_eq(blazei_replica_rank(a.replica, &before), 0);
	/* Nor of one who came after it was made known, and it is the same frontier. */
	node_insert(&b, 2, "{\"x\":1}");
	ck_assert_int_eq(node_give(&b, &a, 1), 1);
	ck_assert_uint_eq(frontier(&a, &b), 0);
	ck_assert_int_eq(blazei_replica_rank(a.replica, &after), 0);
	ck_assert_uint_eq(after.hash, before.hash);
	ck_assert_uint_eq(after.hlc, before.hlc);
	frontier_make(&a);
	ck_assert_uint_eq(frontier(&a, &b), 1);
}
END_TEST

START_TEST(stranger_is_no_member_among_as_many_as_there_is_room_for)
{
	struct node node;

	for (unsigned i = 0; i < 8; i++) {
		node_open(&node, 100 + i);
		ck_assert_int_eq(node_tick(&node), 1);
		ck_assert_int_eq(node_give(&node, &a, 1), 1);
		ck_assert_int_eq(blazei_replica_membership(a.replica, &node.origin.node),
		                 BLAZEI_MEMBER_JOINED);
		node_close(&node);
	}
	ck_assert_int_eq(blazei_replica_membership(a.replica, &c.origin.node), BLAZEI_MEMBER_NEVER);
}
END_TEST

/* A copy of the frontier of a and b, as a vector, in memory of that size. */
static struct blazei_vector_entry *frontier_copy(void)
{
	struct blazei_vector_entry *entries = malloc(2 * sizeof(*entries));

	entries[0] = (struct blazei_vector_entry){ b.origin, frontier(&a, &b) };
	entries[1] = (struct blazei_vector_entry){ a.origin, frontier(&a, &a) };
	return entries;
}

START_TEST(below_the_frontier_is_who_lacks_any_of_it)
{
	struct blazei_vector_view view = { .count = 2 };
	const struct blazei_vector_view none = { 0 };
	struct blazei_vector_entry *entries;

	ck_assert(!blazei_replica_below_frontier(a.replica, &none));
	node_insert(&b, 1, "{\"x\":1}");
	node_insert(&b, 2, "{\"x\":1}");
	node_give_all(&b, &a);
	node_insert(&a, 3, "{\"x\":1}");
	frontier_make(&a);
	entries = frontier_copy();
	view.entries = entries;
	ck_assert_uint_eq(entries[0].seq, 2);
	ck_assert(!blazei_replica_below_frontier(a.replica, &view));
	entries[0].seq++;
	ck_assert(!blazei_replica_below_frontier(a.replica, &view));
	entries[0].seq -= 2;
	ck_assert(blazei_replica_below_frontier(a.replica, &view));
	entries[0].seq++;
	entries[1].seq--;
	ck_assert(blazei_replica_below_frontier(a.replica, &view));
	/* Who was never heard by it has nothing of it. */
	entries[1] = (struct blazei_vector_entry){ c.origin, 1000 };
	ck_assert(blazei_replica_below_frontier(a.replica, &view));
	ck_assert(blazei_replica_below_frontier(a.replica, &none));
	free(entries);
}
END_TEST

START_TEST(known_below_is_the_same_by_index)
{
	uint64_t *known;
	unsigned count;

	node_insert(&b, 1, "{\"x\":1}");
	node_give_all(&b, &a);
	frontier_make(&a);
	count = blazei_replica_vector_count(a.replica);
	known = malloc(count * sizeof(*known));
	for (unsigned i = 0; i < count; i++)
		known[i] = a.replica->members.frontier[i];
	ck_assert(!blazei_known_below(a.replica, known));
	known[count - 1]--;
	ck_assert(blazei_known_below(a.replica, known));
	free(known);
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&frontier_of_who_was_not_heard_of_is_0,
		&stranger_is_no_member_among_as_many_as_there_is_room_for,
		&below_the_frontier_is_who_lacks_any_of_it,
		&known_below_is_the_same_by_index,
	};
	Suite *suite = suite_create("frontier");
	TCase *tcase = tcase_create("frontier");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
