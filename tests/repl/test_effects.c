/* SPDX-License-Identifier: Apache-2.0 */
/* What a replica tells its sink: which conflicts, with whom on which side, and which changes. */
#include "tests/repl/session_pair.h"
#include "tests/repl/told.h"

START_TEST(writes_that_saw_each_other_tell_no_conflict)
{
	both_open(false);
	for (unsigned i = 1; i < 4; i++) {
		char json[64];

		snprintf(json, sizeof(json), "{\"x\":%u}", i * 2);
		ck_assert_int_eq(node_update(&a, 1, json), 0);
		node_give(&a, &b, a.count);
		snprintf(json, sizeof(json), "{\"x\":%u}", i * 2 + 1);
		ck_assert_int_eq(node_update(&b, 1, json), 0);
		node_give(&b, &a, b.count);
	}
	ck_assert_int_eq(node_delete(&b, 1), 0);
	node_give(&b, &a, b.count);
	expect(&told_a, "");
	expect(&told_b, "");
	both_close();
}
END_TEST

START_TEST(field_conflict_told_in_both_directions)
{
	both_open(false);
	ck_assert_int_eq(node_update(&a, 1, "{\"x\":1}"), 0);
	b.now_ns = a.now_ns;
	ck_assert_int_eq(node_update(&b, 1, "{\"x\":2}"), 0);
	both_exchange();
	expect(&told_a, "1.x 1#2:01 < 2#1:02 *\n");
	expect(&told_b, "1.x 1#2:01 < 2#1:02\n");
	ck_assert_uint_eq(node_stats(&a).conflicts, 1);
	ck_assert_uint_eq(node_stats(&b).conflicts, 1);
	both_close();
}
END_TEST

START_TEST(field_unset_against_set_is_told_as_unset)
{
	both_open(false);
	ck_assert_int_eq(node_write(&a, BLAZEI_WRITE_UPDATE, 1, "{}", "x"), 0);
	b.now_ns = a.now_ns;
	ck_assert_int_eq(node_update(&b, 1, "{\"x\":2}"), 0);
	both_exchange();
	expect(&told_a, "1.x 1#2:unset < 2#1:02 *\n");
	expect(&told_b, "1.x 1#2:unset < 2#1:02\n");
	both_close();
}
END_TEST

START_TEST(other_fields_of_a_record_do_not_conflict)
{
	both_open(false);
	ck_assert_int_eq(node_update(&a, 1, "{\"x\":1}"), 0);
	ck_assert_int_eq(node_update(&b, 1, "{\"y\":2}"), 0);
	both_exchange();
	expect(&told_a, "");
	expect(&told_b, "");
	both_close();
}
END_TEST

/* A row of writes of one side against one of the other: each of the row's that arrives meets it. */
START_TEST(own_later_writes_do_not_conflict_with_own_earlier_ones)
{
	both_open(false);
	ck_assert_int_eq(node_update(&a, 1, "{\"x\":1}"), 0);
	ck_assert_int_eq(node_update(&a, 1, "{\"x\":3}"), 0);
	b.now_ns = a.now_ns;
	ck_assert_int_eq(node_update(&b, 1, "{\"x\":2}"), 0);
	both_exchange();
	expect(&told_a, "1.x 1#3:03 < 2#1:02 *\n");
	expect(&told_b, "1.x 1#2:01 < 2#1:02\n1.x 1#3:03 < 2#1:02\n");
	both_close();
}
END_TEST

START_TEST(update_that_arrives_after_a_delete_is_told_against_it)
{
	both_open(false);
	ck_assert_int_eq(node_delete(&a, 1), 0);
	ck_assert_int_eq(node_update(&b, 1, "{\"x\":2}"), 0);
	node_give_all(&b, &a);
	expect(&told_a, "1.x 2#1:02 < 1#2:dead1\n");
	node_give_all(&a, &b);
	both_close();
}
END_TEST

/* The deleting side lists what it saw of this replica's transactions. */
START_TEST(delete_that_arrives_tells_own_updates_that_it_had_not_seen)
{
	both_open(false);
	ck_assert_int_eq(node_update(&b, 1, "{\"y\":1}"), 0);
	node_give_all(&b, &a);
	ck_assert_int_eq(node_update(&b, 1, "{\"x\":2}"), 0);
	a.now_ns = b.now_ns + 1000000000;
	ck_assert_int_eq(node_delete(&a, 1), 0);
	node_give_all(&a, &b);
	expect(&told_b, "1.x 2#2:02 < 1#2:dead1 *\n");
	node_give_all(&b, &a);
	expect(&told_a, "1.x 2#2:02 < 1#2:dead1\n");
	both_close();
}
END_TEST

START_TEST(delete_that_arrives_tells_foreign_updates_of_a_later_clock)
{
	struct node c;

	both_open(false);
	node_open(&c, 3);
	node_give_all(&a, &c);
	c.now_ns = a.now_ns + 5000000000;
	ck_assert_int_eq(node_update(&c, 1, "{\"x\":2}"), 0);
	ck_assert_int_eq(node_delete(&a, 1), 0);
	node_give_all(&c, &b);
	node_give_all(&a, &b);
	expect(&told_b, "1.x 3#1:02 < 1#2:dead1 *\n");
	node_give_all(&c, &a);
	node_close(&c);
	both_close();
}
END_TEST

START_TEST(what_came_as_state_is_not_told_against_its_successors)
{
	both_open(false);
	ck_assert_int_eq(node_update(&b, 1, "{\"x\":2}"), 0);
	node_give_all(&b, &a);
	ck_assert_int_eq(node_update(&a, 1, "{\"y\":3}"), 0);
	nodes_catch_up(&b, &a);
	ck_assert_int_eq(node_delete(&a, 1), 0);
	ck_assert_int_eq(node_give(&a, &b, a.count), 1);
	expect(&told_a, "");
	expect(&told_b, "");
	both_close();
}
END_TEST

/* What happens once, when the snapshot has begun and none of it is encoded yet. */
static void (*meanwhile)(void);

static enum pair_fate on_message(struct pair *pair, unsigned at, bool from_answerer, void *data,
                                 size_t *len)
{
	const struct blazei_txn_header *header = data;
	void (*act)(void) = meanwhile;

	(void)pair;
	(void)at;
	if (from_answerer && *len >= 8 && header->kind == BLAZEI_KIND_SNAPSHOT && act) {
		meanwhile = NULL;
		act();
	}
	return PAIR_DELIVER;
}

/* Both sides write apart from each other, then a takes b's state as a snapshot. */
static void apart(void (*at_a)(void), void (*at_b)(void))
{
	struct pair pair;

	node_open(&a, 1);
	/* A history too short for what a lacks, but not for what comes meanwhile. */
	node_open_history(&b, 2, meanwhile ? 4096 : 0);
	for (unsigned i = 0; meanwhile && i < 100; i++)
		ck_assert_int_eq(node_insert(&b, 100 + i, "{}"), 0);
	ck_assert_int_eq(node_insert(&a, 1, "{\"x\":0,\"y\":0}"), 0);
	node_give_all(&a, &b);
	a.now_ns = b.now_ns = a.now_ns > b.now_ns ? a.now_ns : b.now_ns;
	at_a();
	b.now_ns = a.now_ns;
	at_b();
	listen(&a, &told_a, false);
	pair_open(&pair, &a, &b);
	pair.hook = on_message;
	pair_catch_up(&pair);
	ck_assert_ptr_null(meanwhile);
	ck_assert_uint_ge(pair.kinds[BLAZEI_KIND_SNAPSHOT], 1);
	pair_close(&pair);
	node_give_all(&a, &b);
}

static void a_updates_x(void)
{
	ck_assert_int_eq(node_update(&a, 1, "{\"x\":1}"), 0);
}

static void a_deletes(void)
{
	ck_assert_int_eq(node_delete(&a, 1), 0);
}

static void a_inserts(void)
{
	ck_assert_int_eq(node_insert(&a, 2, "{}"), 0);
}

static void b_updates_x(void)
{
	ck_assert_int_eq(node_update(&b, 1, "{\"x\":2}"), 0);
}

static void b_updates_y(void)
{
	ck_assert_int_eq(node_update(&b, 1, "{\"y\":2}"), 0);
}

static void b_deletes(void)
{
	ck_assert_int_eq(node_delete(&b, 1), 0);
}

static void b_renews(void)
{
	b_deletes();
	ck_assert_int_eq(node_insert(&b, 1, "{\"x\":3}"), 0);
}

static void b_affirms(void)
{
	blazei_replica_set_server(b.replica, true);
	b_updates_y();
}

static void b_inserts(void)
{
	ck_assert_int_eq(node_insert(&b, 2, "{}"), 0);
}

/* What b wrote after it had seen all of a's. */
static void b_follows(void)
{
	node_give_all(&a, &b);
	b_updates_x();
	b_deletes();
}

START_TEST(snapshot_conflicts_are_told)
{
	static const struct {
		void (*at_a)(void);
		void (*at_b)(void);
		const char *told;
	} cases[] = {
		{ a_updates_x, b_updates_x, "1.x 1#2:01 < 2#1:02 *\n" },
		{ a_updates_x, b_updates_y, "" },
		{ a_updates_x, b_deletes, "1.x 1#2:01 < 2#1:dead1 *\n" },
		{ a_deletes, b_updates_x, "1.x 2#1:02 < 1#2:dead1\n" },
		{ a_deletes, b_deletes, "1. 1#2:dead1 < 2#1:dead1 *\n" },
		{ a_inserts, b_inserts, "2. 1#2:alive1 < 2#1:alive1 *\n" },
		{ a_updates_x, b_renews, "1.x 1#2:01 < 2#2:alive2 *\n" },
		{ a_updates_x, b_affirms, "" },
		{ a_updates_x, b_follows, "" },
		{ a_deletes, b_inserts, "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		apart(cases[i].at_a, cases[i].at_b);
		expect(&told_a, cases[i].told);
		both_close();
	}
}
END_TEST

/* b hears of a's write and overwrites it: the snapshot has the younger one, which saw a's. */
static void b_sees_and_updates(void)
{
	node_give_all(&a, &b);
	b_updates_x();
}

/* b hears of a's write and deletes the record: the snapshot's vector covers neither. */
static void b_sees_and_deletes(void)
{
	node_give_all(&a, &b);
	b_deletes();
}

/* b overwrites what it hears of a, and a third node that: it is here before what it saw. */
static void others_see_and_update(void)
{
	struct node c;

	b_sees_and_updates();
	node_open(&c, 3);
	node_give_all(&a, &c);
	node_give_all(&b, &c);
	c.now_ns = b.now_ns;
	ck_assert_int_eq(node_update(&c, 1, "{\"x\":4}"), 0);
	node_give_all(&c, &b);
	node_close(&c);
}

/* a hears of b's write by another way, and overwrites it. */
static void a_sees_and_updates(void)
{
	node_give_all(&b, &a);
	a.now_ns = b.now_ns;
	a_updates_x();
	expect(&told_a, "");
}

START_TEST(snapshot_amid_writes_tells_no_false_conflict)
{
	static const struct {
		void (*at_a)(void);
		void (*at_b)(void);
		void (*meanwhile)(void);
	} cases[] = {
		{ a_updates_x, b_updates_y, b_sees_and_updates },
		{ a_updates_x, b_updates_y, others_see_and_update },
		{ a_inserts, b_updates_x, a_sees_and_updates },
		{ a_updates_x, b_updates_y, b_sees_and_deletes },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		meanwhile = cases[i].meanwhile;
		apart(cases[i].at_a, cases[i].at_b);
		expect(&told_a, "");
		node_close(&a);
		node_close(&b);
	}
}
END_TEST

START_TEST(existence_conflicts_are_told)
{
	both_open(false);
	ck_assert_int_eq(node_insert(&a, 2, "{\"p\":1}"), 0);
	b.now_ns = a.now_ns;
	ck_assert_int_eq(node_insert(&b, 2, "{\"q\":2}"), 0);
	both_exchange();
	expect(&told_a, "2. 1#2:alive1 < 2#1:alive1 *\n");
	expect(&told_b, "2. 1#2:alive1 < 2#1:alive1\n");
	/* A server's update writes existence too, and beats a delete of a later clock. */
	blazei_replica_set_server(a.replica, true);
	ck_assert_int_eq(node_update(&a, 2, "{\"p\":3}"), 0);
	b.now_ns = a.now_ns + 1000000;
	ck_assert_int_eq(node_delete(&b, 2), 0);
	both_exchange();
	expect(&told_a, "2. 2#2:dead1 < 1#3:alive1\n");
	expect(&told_b, "2. 2#2:dead1 < 1#3:alive1 *\n");
	both_close();
}
END_TEST

START_TEST(changes_tell_before_and_after)
{
	both_open(true);
	ck_assert_int_eq(node_insert(&a, 2, "{\"p\":1}"), 0);
	ck_assert_int_eq(node_update(&a, 2, "{\"q\":2}"), 0);
	ck_assert_int_eq(node_write(&a, BLAZEI_WRITE_UPDATE, 2, "{}", "p"), 0);
	ck_assert_int_eq(node_delete(&a, 2), 0);
	expect(&told_a, "2 - -> {\"p\":1} by 1#2 local\nend\n"
	                "2 {\"p\":1} -> {\"p\":1,\"q\":2} by 1#3 local\nend\n"
	                "2 {\"p\":1,\"q\":2} -> {\"q\":2} by 1#4 local\nend\n"
	                "2 {\"q\":2} -> - by 1#5 local\nend\n");
	both_exchange();
	expect(&told_b, "2 - -> {\"p\":1} by 1#2\nend\n"
	                "2 {\"p\":1} -> {\"p\":1,\"q\":2} by 1#3\nend\n"
	                "2 {\"p\":1,\"q\":2} -> {\"q\":2} by 1#4\nend\n"
	                "2 {\"q\":2} -> - by 1#5\nend\n");
	both_close();
}
END_TEST

START_TEST(what_no_reader_sees_is_no_change)
{
	both_open(true);
	ck_assert_int_eq(node_write(&a, BLAZEI_WRITE_UPSERT, 1, "{\"x\":0}", NULL), 0);
	expect(&told_a, "");
	/* What loses changes nothing; that it lost is told. */
	ck_assert_int_eq(node_update(&a, 1, "{\"x\":1}"), 0);
	b.now_ns = a.now_ns;
	ck_assert_int_eq(node_update(&b, 1, "{\"x\":2}"), 0);
	told_b.count = 0;
	node_give_all(&a, &b);
	expect(&told_b, "1.x 1#2:00 < 2#1:02\n1.x 1#3:01 < 2#1:02\n");
	node_give_all(&b, &a);
	both_close();
}
END_TEST

START_TEST(unwanted_records_are_not_told)
{
	both_open(true);
	ck_assert_int_eq(node_insert(&a, 99, "{\"p\":1}"), 0);
	expect(&told_a, "");
	blazei_replica_set_sink(a.replica, NULL);
	ck_assert_int_eq(node_insert(&a, 3, "{\"p\":1}"), 0);
	expect(&told_a, "");
	both_exchange();
	expect(&told_b, "3 - -> {\"p\":1} by 1#3\nend\n");
	both_close();
}
END_TEST

START_TEST(changes_that_come_as_state_are_told_without_origin)
{
	both_open(true);
	ck_assert_int_eq(node_insert(&a, 2, "{\"p\":1}"), 0);
	ck_assert_int_eq(node_delete(&a, 1), 0);
	nodes_catch_up(&b, &a);
	expect(&told_b, "1 {\"x\":0,\"y\":0} -> - by -1#0\nend\n"
	                "2 - -> {\"p\":1} by -1#0\nend\n");
	both_close();
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("effects");
	TCase *conflicts = tcase_create("conflicts");
	TCase *changes = tcase_create("changes");

	tcase_add_test(conflicts, writes_that_saw_each_other_tell_no_conflict);
	tcase_add_test(conflicts, field_conflict_told_in_both_directions);
	tcase_add_test(conflicts, field_unset_against_set_is_told_as_unset);
	tcase_add_test(conflicts, other_fields_of_a_record_do_not_conflict);
	tcase_add_test(conflicts, own_later_writes_do_not_conflict_with_own_earlier_ones);
	tcase_add_test(conflicts, update_that_arrives_after_a_delete_is_told_against_it);
	tcase_add_test(conflicts, delete_that_arrives_tells_own_updates_that_it_had_not_seen);
	tcase_add_test(conflicts, delete_that_arrives_tells_foreign_updates_of_a_later_clock);
	tcase_add_test(conflicts, what_came_as_state_is_not_told_against_its_successors);
	tcase_add_test(conflicts, existence_conflicts_are_told);
	tcase_add_test(conflicts, snapshot_conflicts_are_told);
	tcase_add_test(conflicts, snapshot_amid_writes_tells_no_false_conflict);
	tcase_add_test(changes, changes_tell_before_and_after);
	tcase_add_test(changes, what_no_reader_sees_is_no_change);
	tcase_add_test(changes, unwanted_records_are_not_told);
	tcase_add_test(changes, changes_that_come_as_state_are_told_without_origin);
	suite_add_tcase(suite, conflicts);
	suite_add_tcase(suite, changes);
	return suite;
}

int main(void)
{
	return suite_run(suite());
}
