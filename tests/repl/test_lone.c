/* SPDX-License-Identifier: Apache-2.0 */
/* A node of which no other is a member retires its own incarnations at once, with no time passing
 * and nothing else to report. */
#include "tests/repl/over.h"

/* With reports that wait for no time; 1 where one was made. */
static int tick_at_once(struct node *node)
{
	struct blazei_members_tick tick = { .now_ns = node->now_ns, .at_once = true };
	struct blazei_vector_entry *entries = node_vector(node, &tick.durable.count);
	struct blazei_txn_view txn;
	int rc;

	tick.durable.entries = entries;
	rc = blazei_replica_members_tick(node->replica, &tick, &txn);
	free(entries);
	return rc == 0 && node_keep(node, txn.data, txn.len) ? 1 : rc;
}

static void ticks_at_once(struct node *node)
{
	unsigned rounds = 0;

	while (tick_at_once(node) == 1)
		ck_assert_uint_lt(rounds++, 6);
}

START_TEST(lone_node_retires_what_it_was)
{
	ck_assert_int_eq(node_write(&a, BLAZEI_WRITE_UPSERT, 1, "{\"x\":1}", NULL), 0);
	restart(&a);
	ck_assert_int_eq(node_write(&a, BLAZEI_WRITE_UPSERT, 2, "{\"x\":2}", NULL), 0);
	restart(&a);
	ck_assert_uint_eq(blazei_replica_lone_incarnations(a.replica), 3);
	/* Joins; says which are over; says that all that is below the frontier. */
	ticks_at_once(&a);
	ck_assert_uint_eq(blazei_replica_lone_incarnations(a.replica), 3);
	retire(&a, 2);
	/* A mark is none. */
	ck_assert_uint_eq(blazei_replica_lone_incarnations(a.replica), 1);
	ck_assert(!knows(&a, &past[0].origin));
	ck_assert(!knows(&a, &past[1].origin));
	node_expect(&a, 1, "{\"x\":1}");
	node_expect(&a, 2, "{\"x\":2}");
	/* And is silent from then on. */
	ck_assert_int_eq(tick_at_once(&a), 0);
	ck_assert_int_eq(node_tick(&a), 0);
	/* Until it is another again, of which the last word is not its own. */
	ck_assert_int_eq(node_write(&a, BLAZEI_WRITE_UPSERT, 3, "{\"x\":3}", NULL), 0);
	restart(&a);
	ticks_at_once(&a);
	retire(&a, 1);
	ck_assert_uint_eq(blazei_replica_lone_incarnations(a.replica), 1);
	ck_assert(!knows(&a, &past[2].origin));
}
END_TEST

START_TEST(node_with_members_is_not_alone)
{
	ck_assert_uint_eq(blazei_replica_lone_incarnations(a.replica), 1);
	/* Who is no member keeps nobody company, and his incarnations are his own. */
	write_told(&b, &a, 1, "{\"x\":1}");
	ck_assert_uint_eq(blazei_replica_lone_incarnations(a.replica), 1);
	report(&b, &a);
	ck_assert_uint_eq(blazei_replica_lone_incarnations(a.replica), 0);
	ck_assert_uint_eq(blazei_replica_lone_incarnations(b.replica), 1);
	report(&a, &b);
	ck_assert_uint_eq(blazei_replica_lone_incarnations(b.replica), 0);
	/* Nor does who was expelled: b says nothing for a month, and keeps a back. */
	ck_assert_int_eq(node_write(&a, BLAZEI_WRITE_UPSERT, 2, "{\"x\":2}", NULL), 0);
	for (unsigned i = 0; i < 64; i++) {
		a.now_ns += 12 * 3600 * BLAZEI_NS_PER_S;
		ck_assert_int_ge(node_tick(&a), 0);
	}
	ck_assert_int_eq(blazei_replica_membership(a.replica, &b.origin.node),
	                 BLAZEI_MEMBER_EXPELLED);
	ck_assert_uint_eq(blazei_replica_lone_incarnations(a.replica), 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lone");
	TCase *tcase = tcase_create("lone");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, set_up, tear_down_all);
	tcase_add_test(tcase, lone_node_retires_what_it_was);
	tcase_add_test(tcase, node_with_members_is_not_alone);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
