/* SPDX-License-Identifier: Apache-2.0 */
/* Which of two writes that meet had seen the other: the edges. What is told of them otherwise is in
 * test_effects.c. */
#include "tests/repl/told.h"
#include "tests/repl/writeset_help.h"

/* A clock passes all that its node has seen, so the same H as a write's is of one that had not. */
START_TEST(delete_of_the_same_clock_had_not_seen_a_foreign_update)
{
	struct node c;

	both_open(false);
	node_open(&c, 3);
	node_give_all(&a, &c);
	c.now_ns = a.now_ns;
	ck_assert_int_eq(node_update(&c, 1, "{\"x\":2}"), 0);
	ck_assert_int_eq(node_delete(&a, 1), 0);
	ck_assert_uint_eq(a.now_ns, c.now_ns);
	node_give_all(&c, &b);
	node_give_all(&a, &b);
	expect(&told_b, "1.x 3#1:02 < 1#2:dead1 *\n");
	node_give_all(&c, &a);
	node_close(&c);
	both_close();
}
END_TEST

/* When a field's value shrinks, those behind it move up and leave their old bytes behind. */
START_TEST(delete_tells_each_field_that_it_hides_once)
{
	both_open(false);
	ck_assert_int_eq(node_insert(&b, 2, "{\"p\":\"\",\"q\":0}"), 0);
	node_give_all(&b, &a);
	ck_assert_int_eq(node_update(&b, 2,
	                             "{\"p\":\"012345678901234567890123456789012345678"
	                             "901234567890123456789012345678901234567\","
	                             "\"q\":\"012345678901234567890123456789\"}"),
	                 0);
	ck_assert_int_eq(node_update(&b, 2, "{\"p\":1}"), 0);
	ck_assert_int_eq(node_delete(&a, 2), 0);
	node_give_all(&a, &b);
	expect(&told_b, "2.p 2#3:01 < 1#2:dead1 *\n2.q 2#2:39 < 1#2:dead1 *\n");
	node_give_all(&b, &a);
	both_close();
}
END_TEST

/* A server's transaction and an own call that comes between: told only where one takes away what
 * the other gave. */
START_TEST(server_transaction_meets_own_existence)
{
	struct txn txn;

	both_open(false);
	blazei_replica_set_server(a.replica, true);
	txn = txn_begin(&a);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":1}"), 0);
	ck_assert_int_eq(node_update(&a, 1, "{\"y\":1}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	expect(&told_a, "");
	txn = txn_begin(&a);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":2}"), 0);
	ck_assert_int_eq(node_delete(&a, 1), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	expect(&told_a, "1. 1#4:dead1 < 1#5:alive1 *\n");
	txn = txn_begin(&a);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":3}"), 0);
	ck_assert_int_eq(node_delete(&a, 1), 0);
	ck_assert_int_eq(node_insert(&a, 1, "{}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	expect(&told_a, "1. 1#7:alive2 < 1#8:alive1 *\n");
	both_exchange();
	both_close();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("conflict");
	TCase *tcase = tcase_create("conflict");

	tcase_add_test(tcase, delete_of_the_same_clock_had_not_seen_a_foreign_update);
	tcase_add_test(tcase, delete_tells_each_field_that_it_hides_once);
	tcase_add_test(tcase, server_transaction_meets_own_existence);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
