/* SPDX-License-Identifier: Apache-2.0 */
/* What is issued anew: it stands where it stood, towards all that its writer had not seen. */
#include "lib/op/record.h"
#include "tests/repl/returner.h"

static struct node d;

static void set_up_four(void)
{
	set_up();
	node_open(&d, 4);
}

static void tear_down_four(void)
{
	tear_down();
	node_close(&d);
}

/* a has been away for so long that b has a frontier, and takes its snapshot; the number of
 * transactions that it issues, under a new name as one of its own writes is among them. */
static unsigned come_back(void)
{
	struct pair pair;

	node_insert(&a, 40, "{}");
	node_writes(&b, 50, 3);
	frontier_collect(&b);
	ck_assert_int_eq(catch_up_anew(&a, &b, &pair).state, BLAZEI_SESSION_LIVE);
	return issue(&a, &pair, 90);
}

/* All that there is, at a and b, wherever it was. */
static void settle(void)
{
	nodes_catch_up(&b, &a);
	nodes_catch_up(&a, &b);
	nodes_expect_equal(&a, &b);
}

static void give_both(const struct node *from, unsigned seq)
{
	ck_assert_int_eq(node_give(from, &b, seq), 1);
	node_give(from, &a, seq);
	nodes_expect_equal(&a, &b);
}

static void later(struct node *node)
{
	node->now_ns = a.now_ns + BLAZEI_NS_PER_S;
}

/* Priority ------------------------------------------------------------------------------------ */

/* Who overwrites a copy has seen what it says, and stands when the original comes. */
START_TEST(copy_of_a_servers_write_has_its_priority)
{
	blazei_replica_set_server(c.replica, true);
	node_insert(&c, 1, "{\"x\":1}");
	node_give_all(&c, &a);
	ck_assert_uint_eq(come_back(), 1);
	settle();
	later(&b);
	node_update(&b, 1, "{\"x\":2}");
	node_give(&b, &a, b.count);
	give_both(&c, 1);
	node_expect(&b, 1, "{\"x\":2}");
}
END_TEST

START_TEST(copy_of_a_servers_write_beats_no_later_one_of_another)
{
	blazei_replica_set_server(a.replica, true);
	blazei_replica_set_server(c.replica, true);
	node_insert(&a, 1, "{\"x\":1}");
	later(&c);
	node_insert(&c, 1, "{\"x\":2}");
	ck_assert_uint_eq(come_back(), 1);
	settle();
	node_expect(&b, 1, "{\"x\":1}");
	give_both(&c, 1);
	node_expect(&b, 1, "{\"x\":2}");
}
END_TEST

START_TEST(clients_write_that_a_server_issues_stays_a_clients)
{
	node_insert(&c, 1, "{\"x\":1}");
	node_give_all(&c, &a);
	blazei_replica_set_server(a.replica, true);
	blazei_replica_set_server(d.replica, true);
	node_insert(&d, 1, "{\"x\":2}");
	ck_assert_uint_eq(come_back(), 1);
	settle();
	node_expect(&b, 1, "{\"x\":1}");
	give_both(&d, 1);
	node_expect(&b, 1, "{\"x\":2}");
}
END_TEST

/* A server's update says that the record lives, against deletes that it had not seen. */
START_TEST(copy_of_a_servers_update_keeps_the_record_alive)
{
	blazei_replica_set_server(c.replica, true);
	node_insert(&c, 1, "{\"x\":1}");
	node_give_all(&c, &a);
	node_give_all(&c, &b);
	node_give_all(&c, &d);
	later(&c);
	node_update(&c, 1, "{\"x\":2}");
	node_give(&c, &a, 2);
	ck_assert_uint_eq(come_back(), 1);
	settle();
	d.now_ns = a.now_ns + BLAZEI_NS_PER_S;
	node_delete(&d, 1);
	give_both(&d, 1);
	node_expect(&b, 1, "{\"x\":2}");
}
END_TEST

/* The same of a server's delete, where the record had been deleted by somebody else. */
START_TEST(copy_of_a_servers_delete_keeps_the_record_dead)
{
	node_insert(&c, 1, "{\"x\":1}");
	node_give_all(&c, &a);
	node_give_all(&c, &b);
	node_give_all(&c, &d);
	node_writes(&b, 50, 3);
	frontier_collect(&b);
	d.now_ns = a.now_ns;
	node_delete(&d, 1);
	ck_assert_int_eq(node_give(&d, &b, 1), 1);
	blazei_replica_set_server(a.replica, true);
	later(&a);
	node_delete(&a, 1);
	ck_assert_uint_eq(come_back(), 1);
	settle();
	d.now_ns = a.now_ns + BLAZEI_NS_PER_S;
	node_insert(&d, 1, "{\"x\":2}");
	give_both(&d, 2);
	node_expect(&b, 1, NULL);
}
END_TEST

/* Under another name a server says what it said, with the rank of then. */
START_TEST(name_that_is_left_takes_no_priority_along)
{
	struct blazei_unseen_list list = { 0 };
	struct blazei_origin self = a.origin;
	struct blazei_txn_view txn;
	struct node twin;

	node_open_history(&twin, 1, WIDE);
	for (unsigned i = 0; i < 2; i++)
		node_insert(&twin, 20 + i, "{\"x\":\"twin\"}");
	blazei_replica_set_server(a.replica, true);
	blazei_replica_set_server(c.replica, true);
	node_insert(&a, 1, "{\"x\":1}");
	later(&c);
	node_insert(&c, 1, "{\"x\":2}");
	ck_assert_int_eq(node_give(&twin, &a, 2), 0);
	node_close(&twin);
	self.incarnation = 91;
	a.now_ns = c.now_ns + BLAZEI_NS_PER_S;
	ck_assert_int_eq(blazei_replica_leave_name(a.replica, a.now_ns, &self), 0);
	ck_assert_int_eq(blazei_replica_reissue(a.replica, a.now_ns, &list, &txn), 0);
	ck_assert(node_keep(&a, txn.data, txn.len));
	ck_assert_int_eq(node_give(&a, &b, 2), 1);
	ck_assert_int_eq(node_give(&c, &b, 1), 1);
	node_expect(&b, 1, "{\"x\":2}");
}
END_TEST

/* Lives --------------------------------------------------------------------------------------- */

START_TEST(record_made_again_shows_nothing_of_its_former_life)
{
	node_insert(&c, 1, "{\"old\":1}");
	node_give_all(&c, &a);
	node_give_all(&c, &b);
	node_delete(&a, 1);
	node_insert(&a, 1, "{\"new\":1}");
	ck_assert_uint_eq(come_back(), 1);
	settle();
	node_expect(&b, 1, "{\"new\":1}");
}
END_TEST

/* Others have what the answerer has not, and may bring it. */
START_TEST(delete_of_what_the_answerer_never_had_is_issued)
{
	node_insert(&a, 1, "{\"x\":1}");
	node_delete(&a, 1);
	node_insert(&a, 1, "{\"x\":2}");
	node_delete(&a, 1);
	ck_assert_uint_eq(come_back(), 1);
	settle();
	for (unsigned i = 1; i <= 3; i++) {
		ck_assert_int_eq(node_give(&a, &b, i), 1);
		node_expect(&b, 1, NULL);
	}
	/* Nor does a later record show any of it. */
	later(&b);
	node_insert(&b, 1, "{\"y\":1}");
	node_expect(&b, 1, "{\"y\":1}");
}
END_TEST

/* What a server's update lets live, it lets live with all fields. */
START_TEST(record_that_lives_again_keeps_what_it_had)
{
	node_insert(&c, 1, "{\"x\":1,\"y\":1}");
	node_give_all(&c, &a);
	node_give_all(&c, &b);
	node_writes(&b, 60, 3);
	frontier_collect(&b);
	blazei_replica_set_server(a.replica, true);
	node_update(&a, 1, "{\"x\":2}");
	later(&b);
	node_delete(&b, 1);
	{
		struct pair pair;

		ck_assert_int_eq(catch_up_anew(&a, &b, &pair).state, BLAZEI_SESSION_LIVE);
		node_expect(&a, 1, NULL);
		a.now_ns = b.now_ns + 1;
		ck_assert_uint_eq(issue(&a, &pair, 90), 1);
	}
	settle();
	node_expect(&b, 1, "{\"x\":2,\"y\":1}");
}
END_TEST

/* A member brings its record itself, and what became of it. */
START_TEST(field_waits_for_the_record_of_a_member)
{
	ck_assert_int_eq(node_tick(&c), 1);
	node_insert(&c, 1, "{\"x\":1}");
	node_insert(&c, 2, "{\"x\":1}");
	node_give_all(&c, &a);
	node_update(&a, 1, "{\"y\":1}");
	node_update(&a, 2, "{\"y\":1}");
	later(&c);
	node_delete(&c, 2);
	ck_assert_uint_eq(come_back(), 1);
	settle();
	node_expect(&b, 1, NULL);
	for (unsigned i = 1; i <= 4; i++)
		give_both(&c, i);
	node_expect(&b, 1, "{\"x\":1,\"y\":1}");
	node_expect(&b, 2, NULL);
}
END_TEST

/* It goes on waiting when its node goes away again, and ends when all know that nothing comes. */
START_TEST(field_that_waits_is_issued_again_and_collected_in_the_end)
{
	const struct blaze_id id = id_of(1);
	const struct blazei_table *table = &b.replica->table;
	struct pair pair;

	ck_assert_int_eq(node_tick(&c), 1);
	node_insert(&c, 1, "{\"x\":1}");
	node_give_all(&c, &a);
	node_update(&a, 1, "{\"y\":1}");
	ck_assert_uint_eq(come_back(), 1);
	node_writes(&b, 70, 3);
	frontier_collect(&b);
	ck_assert_int_eq(catch_up_anew(&a, &b, &pair).state, BLAZEI_SESSION_LIVE);
	ck_assert_uint_eq(issue(&a, &pair, 92), 1);
	settle();
	ck_assert_ptr_nonnull(blazei_table_find(table, &id, blazei_table_hash(table, &id)));
	frontier_collect(&b);
	ck_assert_ptr_null(blazei_table_find(table, &id, blazei_table_hash(table, &id)));
}
END_TEST

/* A delete that it had not seen hides it, and an insert that had not either lets it show again. */
START_TEST(hidden_field_shows_again_with_its_life)
{
	struct pair pair;

	node_writes(&b, 60, 3);
	frontier_collect(&b);
	node_insert(&a, 1, "{\"y\":1}");
	later(&b);
	node_insert(&b, 1, "{}");
	node_delete(&b, 1);
	d.now_ns = b.now_ns + BLAZEI_NS_PER_S;
	node_insert(&d, 1, "{\"z\":1}");
	a.now_ns = d.now_ns;
	ck_assert_int_eq(catch_up_anew(&a, &b, &pair).state, BLAZEI_SESSION_LIVE);
	ck_assert_uint_eq(issue(&a, &pair, 90), 1);
	settle();
	node_expect(&b, 1, NULL);
	give_both(&d, 1);
	node_expect(&b, 1, "{\"y\":1,\"z\":1}");
}
END_TEST

/* So does one of an earlier life than the record has by now. */
START_TEST(field_of_an_earlier_life_shows_again_with_it)
{
	struct pair pair;

	node_writes(&b, 60, 3);
	frontier_collect(&b);
	node_insert(&a, 1, "{\"y\":1}");
	later(&b);
	node_insert(&b, 1, "{}");
	node_delete(&b, 1);
	node_insert(&b, 1, "{\"w\":1}");
	d.now_ns = b.now_ns + BLAZEI_NS_PER_S;
	node_insert(&d, 1, "{\"z\":1}");
	a.now_ns = d.now_ns;
	ck_assert_int_eq(catch_up_anew(&a, &b, &pair).state, BLAZEI_SESSION_LIVE);
	ck_assert_uint_eq(issue(&a, &pair, 90), 1);
	settle();
	node_expect(&b, 1, "{\"w\":1}");
	give_both(&d, 1);
	node_expect(&b, 1, "{\"y\":1,\"z\":1}");
}
END_TEST

/* A delete comes between the snapshot and the issue; not all know it, so its life may go on. */
START_TEST(field_is_issued_after_a_delete_that_not_all_know)
{
	struct pair pair;

	node_insert(&b, 1, "{}");
	node_give_all(&b, &a);
	node_give_all(&b, &c);
	node_update(&a, 1, "{\"y\":1}");
	node_writes(&b, 60, 3);
	frontier_collect(&b);
	later(&c);
	node_delete(&c, 1);
	d.now_ns = c.now_ns + BLAZEI_NS_PER_S;
	node_insert(&d, 1, "{\"z\":1}");
	ck_assert_int_eq(catch_up_anew(&a, &b, &pair).state, BLAZEI_SESSION_LIVE);
	node_give_all(&c, &a);
	node_expect(&a, 1, NULL);
	a.now_ns = d.now_ns;
	ck_assert_uint_eq(issue(&a, &pair, 90), 1);
	settle();
	node_expect(&b, 1, NULL);
	give_both(&d, 1);
	node_expect(&b, 1, "{\"y\":1,\"z\":1}");
}
END_TEST

/* All know it before the issue. */
START_TEST(field_is_not_issued_after_a_delete_that_all_know)
{
	struct pair pair;

	node_insert(&b, 1, "{}");
	node_give_all(&b, &a);
	node_give_all(&b, &c);
	node_update(&a, 1, "{\"y\":1}");
	node_writes(&b, 60, 3);
	frontier_collect(&b);
	ck_assert_int_eq(catch_up_anew(&a, &b, &pair).state, BLAZEI_SESSION_LIVE);
	later(&c);
	node_delete(&c, 1);
	node_give_all(&c, &b);
	frontier_collect(&b);
	node_give_all(&c, &a);
	node_give_all(&b, &a);
	ck_assert_uint_eq(blazei_stage_unseen(pair.stage)->count, 1);
	ck_assert_uint_eq(issue(&a, &pair, 90), 0);
}
END_TEST

/* Of an earlier life of a record whose present one all know nothing is issued: it is over. */
START_TEST(field_of_a_life_that_is_over_is_not_issued)
{
	struct pair pair;

	node_insert(&a, 1, "{\"y\":1}");
	node_insert(&a, 2, "{\"y\":1}");
	later(&b);
	node_insert(&b, 1, "{}");
	node_delete(&b, 1);
	node_insert(&b, 1, "{\"w\":1}");
	node_writes(&b, 60, 3);
	frontier_collect(&b);
	ck_assert_int_eq(catch_up_anew(&a, &b, &pair).state, BLAZEI_SESSION_LIVE);
	ck_assert_uint_eq(blazei_stage_unseen(pair.stage)->count, 1);
	ck_assert_uint_eq(issue(&a, &pair, 90), 1);
	settle();
	node_expect(&b, 1, "{\"w\":1}");
	node_expect(&b, 2, "{\"y\":1}");
}
END_TEST

/* What others are told of it would let them collect what it may not have any more. */
START_TEST(what_is_forgotten_is_durable_no_longer)
{
	const struct blazei_vector_entry held = { c.origin, 1 };

	node_insert(&c, 1, "{\"x\":1}");
	node_give_all(&c, &a);
	ck_assert_int_gt(blazei_replica_durable_raise(a.replica, &held), 0);
	ck_assert_uint_eq(come_back(), 1);
	settle();
	ck_assert_uint_eq(blazei_replica_durable_seq(a.replica, &c.origin, 0), 0);
	give_both(&c, 1);
	ck_assert_uint_eq(blazei_replica_durable_seq(a.replica, &c.origin, 0), 0);
	ck_assert_int_gt(blazei_replica_durable_raise(a.replica, &held), 0);
	ck_assert_uint_eq(blazei_replica_durable_seq(a.replica, &c.origin, 0), 1);
}
END_TEST

/* Sizes --------------------------------------------------------------------------------------- */

/* a has written more fields to record 1 than a record may have, those removed among them, and more
 * than a transaction may: it comes back, and the record is as it was. */
static void wide_comes_back(void)
{
	const struct blaze_id id = id_of(1);
	struct blaze_record *record;

	for (unsigned i = 0; i < 5; i++) {
		fields_write(&a, 1, 1000 * i, 1000, false);
		if (i < 4)
			fields_write(&a, 1, 1000 * i, 1000, true);
	}
	ck_assert_uint_eq(come_back(), 2);
	settle();
	ck_assert_int_eq(blazei_replica_get(b.replica, &id, &record), 0);
	ck_assert_uint_eq(record->count, 1000);
	blaze_record_free(record);
	ck_assert_uint_eq(node_stats(&a).refused, 0);
}

START_TEST(wide_record_is_issued_in_parts)
{
	node_insert(&c, 1, "{}");
	node_give_all(&c, &a);
	node_give_all(&c, &b);
	wide_comes_back();
}
END_TEST

/* The same of a record that takes another life: all parts go there. */
START_TEST(wide_record_takes_its_new_life_in_parts)
{
	node_insert(&c, 1, "{}");
	node_give_all(&c, &a);
	node_give_all(&c, &b);
	node_delete(&a, 1);
	node_insert(&a, 1, "{}");
	wide_comes_back();
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&copy_of_a_servers_write_has_its_priority,
		&copy_of_a_servers_write_beats_no_later_one_of_another,
		&clients_write_that_a_server_issues_stays_a_clients,
		&copy_of_a_servers_update_keeps_the_record_alive,
		&copy_of_a_servers_delete_keeps_the_record_dead,
		&name_that_is_left_takes_no_priority_along,
		&record_made_again_shows_nothing_of_its_former_life,
		&delete_of_what_the_answerer_never_had_is_issued,
		&record_that_lives_again_keeps_what_it_had,
		&field_waits_for_the_record_of_a_member,
		&field_that_waits_is_issued_again_and_collected_in_the_end,
		&hidden_field_shows_again_with_its_life,
		&field_of_an_earlier_life_shows_again_with_it,
		&field_is_issued_after_a_delete_that_not_all_know,
		&field_is_not_issued_after_a_delete_that_all_know,
		&field_of_a_life_that_is_over_is_not_issued,
		&what_is_forgotten_is_durable_no_longer,
		&wide_record_is_issued_in_parts,
		&wide_record_takes_its_new_life_in_parts,
	};
	Suite *suite = suite_create("reissue");
	TCase *tcase = tcase_create("reissue");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up_four, tear_down_four);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
