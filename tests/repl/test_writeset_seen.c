/* SPDX-License-Identifier: Apache-2.0 */
/* What a transaction had seen when others wrote to its records between its first touch and its
 * commit: who wins, what merges, and what counts as a conflict. */
#include "lib/repl/core.h"
#include "tests/repl/writeset_help.h"

static struct node a;
static struct node b;
static struct txn txn;

static void set_up(void)
{
	node_open(&a, 1);
	node_open(&b, 2);
	txn = txn_begin(&a);
}

static void tear_down(void)
{
	node_close(&a);
	node_close(&b);
}

static void exchange(void)
{
	node_give_all(&a, &b);
	node_give_all(&b, &a);
	node_give_all(&a, &b);
	nodes_expect_equal(&a, &b);
}

START_TEST(a_server_write_between_touch_and_commit_wins)
{
	node_insert(&a, 1, "{\"x\":1,\"y\":1}");
	node_give_all(&a, &b);
	txn_expect(&txn, 1, "{\"x\":1,\"y\":1}");
	blazei_replica_set_server(b.replica, true);
	node_update(&b, 1, "{\"x\":2}");
	node_give_all(&b, &a);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":3,\"y\":3}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	node_expect(&a, 1, "{\"x\":2,\"y\":3}");
	ck_assert_uint_eq(node_stats(&a).conflicts, 1);
	exchange();
	ck_assert_uint_eq(node_stats(&b).conflicts, 1);
}
END_TEST

START_TEST(a_server_write_before_the_touch_is_beaten)
{
	node_insert(&a, 1, "{\"x\":1}");
	node_give_all(&a, &b);
	blazei_replica_set_server(b.replica, true);
	node_update(&b, 1, "{\"x\":2}");
	node_give_all(&b, &a);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":3}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	exchange();
	node_expect(&b, 1, "{\"x\":3}");
	ck_assert_uint_eq(node_stats(&a).conflicts + node_stats(&b).conflicts, 0);
}
END_TEST

START_TEST(another_record_is_seen_at_its_own_touch)
{
	node_insert(&a, 1, "{\"x\":1}");
	node_insert(&a, 2, "{\"x\":1}");
	node_give_all(&a, &b);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":3}"), 0);
	blazei_replica_set_server(b.replica, true);
	node_update(&b, 1, "{\"x\":2}");
	node_update(&b, 2, "{\"x\":2}");
	node_give_all(&b, &a);
	ck_assert_int_eq(txn_update(&txn, 2, "{\"x\":3}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	exchange();
	node_expect(&b, 1, "{\"x\":2}");
	node_expect(&b, 2, "{\"x\":3}");
}
END_TEST

START_TEST(equal_to_the_first_touch_is_no_write_whatever_came_since)
{
	node_insert(&a, 1, "{\"x\":1}");
	node_give_all(&a, &b);
	txn_expect(&txn, 1, "{\"x\":1}");
	node_update(&b, 1, "{\"x\":2}");
	node_give_all(&b, &a);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":1}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 1);
	node_expect(&a, 1, "{\"x\":2}");
}
END_TEST

/* What a field that shrank left behind the others is no field. */
START_TEST(a_touch_ends_where_the_record_does)
{
	node_insert(&a, 1,
	            "{\"p\":\"012345678901234567890123456789012345678901234567890123456789"
	            "012345678901234567\",\"q\":\"012345678901234567890123456789\"}");
	node_update(&a, 1, "{\"p\":1}");
	txn_expect(&txn, 1, "{\"p\":1,\"q\":\"012345678901234567890123456789\"}");
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	ck_assert_uint_eq(node_stats(&a).conflicts, 0);
}
END_TEST

/* The bytes of a put are not taken for those of a value with its head, though they look alike. */
START_TEST(a_put_that_looks_like_the_head_of_the_one_before)
{
	const struct blaze_id id = id_of(1);
	char value[2] = { 0 };

	ck_assert_int_eq(txn_put(&txn, 1, "x", 1), 0);
	ck_assert_int_eq(txn_put(&txn, 1, "\x41", 1), 0);
	ck_assert_int_eq(txn_put(&txn, 2, "another of some length", 22), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	ck_assert_int_eq(blazei_replica_fetch(a.replica, &id, value, 2), 1);
	ck_assert_str_eq(value, "A");
	exchange();
}
END_TEST

START_TEST(an_insert_that_another_made_meanwhile_merges)
{
	ck_assert_int_eq(txn_insert(&txn, 1, "{\"both\":\"a\",\"mine\":1}"), 0);
	node_insert(&b, 1, "{\"both\":\"b\",\"theirs\":1}");
	node_give_all(&b, &a);
	ck_assert_int_eq(txn_commit(&txn), 0);
	node_expect(&a, 1, "{\"both\":\"a\",\"mine\":1,\"theirs\":1}");
	exchange();
}
END_TEST

START_TEST(an_update_of_what_was_deleted_meanwhile_stays_hidden)
{
	node_insert(&a, 1, "{\"x\":1}");
	node_give_all(&a, &b);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":2}"), 0);
	ck_assert_int_eq(txn_insert(&txn, 2, "{\"x\":2}"), 0);
	node_delete(&b, 1);
	node_give_all(&b, &a);
	ck_assert_int_eq(txn_commit(&txn), 0);
	node_expect(&a, 1, NULL);
	node_expect(&a, 2, "{\"x\":2}");
	exchange();
}
END_TEST

START_TEST(a_server_update_keeps_what_was_deleted_meanwhile)
{
	node_insert(&a, 1, "{\"x\":1}");
	node_give_all(&a, &b);
	blazei_replica_set_server(a.replica, true);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":2}"), 0);
	node_delete(&b, 1);
	node_give_all(&b, &a);
	ck_assert_int_eq(txn_commit(&txn), 0);
	exchange();
	node_expect(&b, 1, "{\"x\":2}");
}
END_TEST

START_TEST(own_writes_meanwhile_are_overwritten_and_counted)
{
	node_insert(&a, 1, "{\"x\":1}");
	txn_expect(&txn, 1, "{\"x\":1}");
	node_update(&a, 1, "{\"x\":2}");
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":3}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	node_expect(&a, 1, "{\"x\":3}");
	exchange();
	ck_assert_uint_eq(node_stats(&a).conflicts, 1);
	ck_assert_uint_eq(node_stats(&b).conflicts, 1);
}
END_TEST

START_TEST(a_delete_that_hides_what_it_had_not_seen_is_a_conflict)
{
	node_insert(&a, 1, "{\"x\":1,\"y\":1}");
	node_insert(&a, 2, "{\"x\":1}");
	node_give_all(&a, &b);
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	ck_assert_int_eq(txn_delete(&txn, 2), 0);
	node_update(&b, 1, "{\"x\":2}");
	node_give_all(&b, &a);
	ck_assert_int_eq(txn_commit(&txn), 0);
	node_expect(&a, 1, NULL);
	ck_assert_uint_eq(node_stats(&a).conflicts, 1);
	/* A delete that had seen all is none. */
	txn = txn_begin(&a);
	ck_assert_int_eq(txn_insert(&txn, 1, "{\"x\":1}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	txn = txn_begin(&a);
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	ck_assert_int_eq(txn_insert(&txn, 1, "{\"x\":2}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	ck_assert_uint_eq(node_stats(&a).conflicts, 1);
	exchange();
}
END_TEST

START_TEST(an_update_of_what_an_own_call_deleted_meanwhile_is_a_conflict)
{
	node_insert(&a, 1, "{\"x\":1}");
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":2}"), 0);
	node_delete(&a, 1);
	ck_assert_int_eq(txn_commit(&txn), 0);
	node_expect(&a, 1, NULL);
	ck_assert_uint_eq(node_stats(&a).conflicts, 1);
	exchange();
	ck_assert_uint_eq(node_stats(&b).conflicts, 1);
}
END_TEST

/* Two wrote at the same instant: which of them it had seen is told by who wrote. */
START_TEST(a_delete_had_not_seen_what_another_wrote_at_the_same_time)
{
	struct node c;

	node_open(&c, 3);
	node_insert(&a, 1, "{\"x\":0}");
	node_give_all(&a, &b);
	node_give_all(&a, &c);
	node_update(&b, 1, "{\"x\":1}");
	node_update(&c, 1, "{\"x\":2}");
	ck_assert_uint_eq(b.replica->clock.last, c.replica->clock.last);
	node_give_all(&b, &a);
	txn_expect(&txn, 1, "{\"x\":1}");
	node_give_all(&c, &a);
	node_expect(&a, 1, "{\"x\":2}");
	ck_assert_uint_eq(node_stats(&a).conflicts, 1);
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	ck_assert_uint_eq(node_stats(&a).conflicts, 2);
	node_close(&c);
}
END_TEST

/* The node goes on under another name, its node id too. */
static void rename_a(unsigned rank)
{
	a.origin.node.bytes[0] = (uint8_t)rank;
	a.origin.incarnation += 7;
	ck_assert_int_eq(blazei_replica_renew(a.replica, a.now_ns, &a.origin), 0);
}

/* Of records 1 to 4 each is touched under another name than the one before: as by who holds the
 * lock, or does not; and each was written under the name of its touch. */
static void touch_under_names(bool peeks)
{
	for (unsigned i = 1; i <= 4; i++) {
		const struct blaze_id id = id_of(i);

		node_insert(&a, i, "{\"x\":1}");
		ck_assert_int_eq(node_give(&a, &b, a.count), 1);
		if (peeks)
			ck_assert(blazei_writeset_peek(a.replica, txn.writeset, &id));
		else
			txn_expect(&txn, i, "{\"x\":1}");
		rename_a(10 + i);
	}
}

START_TEST(what_was_seen_was_written_under_the_name_of_then)
{
	touch_under_names(_i);
	for (unsigned i = 1; i <= 2; i++)
		ck_assert_int_eq(txn_update(&txn, i, "{\"x\":2}"), 0);
	for (unsigned i = 3; i <= 4; i++)
		ck_assert_int_eq(txn_delete(&txn, i), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	ck_assert_int_eq(node_give(&a, &b, a.count), 1);
	ck_assert_uint_eq(node_stats(&a).conflicts, 0);
	ck_assert_uint_eq(node_stats(&b).conflicts, 0);
	nodes_expect_equal(&a, &b);
	node_expect(&b, 1, "{\"x\":2}");
	node_expect(&b, 3, NULL);
}
END_TEST

/* Of a row without a record, as room for one that did not come leaves it, nothing was seen. */
START_TEST(row_without_a_record_has_no_name)
{
	const struct blaze_id id = id_of(7);
	struct blazei_table *table = &a.replica->table;

	ck_assert_ptr_nonnull(blazei_table_add(table, &id, blazei_table_hash(table, &id), 64));
	ck_assert_int_eq(txn_insert(&txn, 7, "{\"x\":1}"), 0);
	node_insert(&a, 1, "{\"x\":1}");
	rename_a(11);
	ck_assert_int_eq(txn_commit(&txn), 0);
	node_expect(&a, 7, "{\"x\":1}");
	ck_assert_int_eq(node_give(&a, &b, 1), 1);
	ck_assert_int_eq(node_give(&a, &b, 2), 1);
	ck_assert_uint_eq(node_stats(&a).conflicts + node_stats(&b).conflicts, 0);
	nodes_expect_equal(&a, &b);
}
END_TEST

/* The record that it saw may have been removed since, with its row: by a snapshot without it. */
START_TEST(row_that_went_is_seen_by_its_h)
{
	const struct blaze_id id = id_of(1);
	struct blazei_table *table = &a.replica->table;

	node_insert(&a, 1, "{\"x\":1}");
	ck_assert_int_eq(node_give(&a, &b, 1), 1);
	txn_expect(&txn, 1, "{\"x\":1}");
	rename_a(11);
	blazei_table_remove(table, blazei_table_find(table, &id, blazei_table_hash(table, &id)));
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":2}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	ck_assert_int_eq(node_give(&a, &b, 2), 1);
	/* Which has it still: nobody knows any more under which name it was written. */
	ck_assert_uint_eq(node_stats(&b).conflicts, 1);
	node_expect(&b, 1, "{\"x\":2}");
}
END_TEST

/* What came since under the new name was not seen. */
START_TEST(what_came_under_the_new_name_was_not_seen)
{
	touch_under_names(_i);
	for (unsigned i = 1; i <= 4; i++) {
		node_update(&a, i, "{\"x\":3}");
		ck_assert_int_eq(node_give(&a, &b, a.count), 1);
	}
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":2}"), 0);
	ck_assert_int_eq(txn_delete(&txn, 3), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	ck_assert_int_eq(node_give(&a, &b, a.count), 1);
	/* b cannot tell what of record 3 the end had seen. */
	ck_assert_uint_eq(node_stats(&a).conflicts, 2);
	ck_assert_uint_eq(node_stats(&b).conflicts, 1);
	nodes_expect_equal(&a, &b);
}
END_TEST

static const TTest *const *const tests[] = {
	&a_server_write_between_touch_and_commit_wins,
	&a_server_write_before_the_touch_is_beaten,
	&another_record_is_seen_at_its_own_touch,
	&equal_to_the_first_touch_is_no_write_whatever_came_since,
	&a_touch_ends_where_the_record_does,
	&a_put_that_looks_like_the_head_of_the_one_before,
	&an_insert_that_another_made_meanwhile_merges,
	&an_update_of_what_was_deleted_meanwhile_stays_hidden,
	&a_server_update_keeps_what_was_deleted_meanwhile,
	&own_writes_meanwhile_are_overwritten_and_counted,
	&a_delete_that_hides_what_it_had_not_seen_is_a_conflict,
	&an_update_of_what_an_own_call_deleted_meanwhile_is_a_conflict,
	&a_delete_had_not_seen_what_another_wrote_at_the_same_time,
	&row_without_a_record_has_no_name,
	&row_that_went_is_seen_by_its_h,
};

int main(void)
{
	Suite *suite = suite_create("writeset seen");
	TCase *tcase = tcase_create("writeset seen");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	tcase_add_loop_test(tcase, what_was_seen_was_written_under_the_name_of_then, 0, 2);
	tcase_add_loop_test(tcase, what_came_under_the_new_name_was_not_seen, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
