/* SPDX-License-Identifier: Apache-2.0 */
/* What was written under a name that was left is written again, all of it and nothing else: however
 * much it is, wherever its ids are, and beside what others wrote. */
#include "tests/repl/returner.h"

/* Another history under a's name, longer than a's own, is heard of. */
static void displace(void)
{
	struct blazei_vector_detail before = { .entry = { a.origin, 1000000 }, .chain = 1 };
	struct node twin;

	node_open(&twin, 1);
	twin.now_ns = a.now_ns;
	ck_assert_int_eq(blazei_replica_restore(twin.replica, &before, 1), 0);
	node_insert(&twin, 9, "{\"x\":\"twin\"}");
	ck_assert_int_eq(node_give(&twin, &a, 1), 0);
	ck_assert(blazei_replica_displaced(a.replica));
	node_close(&twin);
}

/* Leaves the name and writes all anew, which b takes; how many transactions that took. */
static unsigned leave(void)
{
	struct blazei_unseen_list list = { 0 };
	struct blazei_origin self = a.origin;
	struct blazei_txn_view txn = { .len = 1 };
	unsigned count = 0;

	self.incarnation = 90;
	ck_assert_int_eq(blazei_replica_leave_name(a.replica, a.now_ns, &self), 0);
	a.origin = self;
	while (txn.len > 0) {
		ck_assert_int_eq(blazei_replica_reissue(a.replica, a.now_ns, &list, &txn), 0);
		if (node_keep(&a, txn.data, txn.len)) {
			ck_assert_int_eq(node_give(&a, &b, a.count), 1);
			count++;
		}
	}
	return count;
}

/* A record of one short value under any id. */
static void put(struct node *node, const struct blaze_id *id)
{
	struct blazei_txn_view txn;

	ck_assert_int_eq(node_put(node, id, "x", 1, &txn), 0);
	node_keep(node, txn.data, txn.len);
}

START_TEST(more_records_than_are_gathered_at_once_are_all_written)
{
	for (unsigned i = 0; i < 4100; i++) {
		const struct blaze_id id = id_of(i);

		put(&a, &id);
	}
	displace();
	ck_assert_uint_eq(leave(), 2);
	ck_assert_uint_eq(blazei_replica_count(b.replica), 4100);
	nodes_expect_equal(&a, &b);
}
END_TEST

/* As many of others lie before its own. */
START_TEST(records_of_others_are_passed_over)
{
	const struct blaze_id last = id_of(9000);

	for (unsigned i = 0; i < 4100; i++) {
		const struct blaze_id id = id_of(i);

		put(&c, &id);
	}
	node_give_all(&c, &a);
	node_give_all(&c, &b);
	put(&a, &last);
	displace();
	ck_assert_uint_eq(leave(), 1);
	ck_assert_uint_eq(blazei_replica_count(b.replica), 4101);
	nodes_expect_equal(&a, &b);
}
END_TEST

START_TEST(more_bytes_than_are_gathered_at_once_are_all_written)
{
	for (unsigned i = 0; i < 12; i++)
		node_write_long(&a, i, 1000000);
	displace();
	ck_assert_uint_eq(leave(), 2);
	ck_assert_uint_eq(blazei_replica_count(b.replica), 12);
	nodes_expect_equal(&a, &b);
}
END_TEST

/* Where the next id takes more than one byte, and where there is no next one. */
START_TEST(ids_end_with_the_greatest)
{
	struct blaze_id id = { { 0 } };

	put(&a, &id);
	id.bytes[15] = 0xff;
	put(&a, &id);
	id.bytes[14] = 0xff;
	put(&a, &id);
	memset(id.bytes, 0xff, sizeof(id.bytes));
	put(&a, &id);
	displace();
	ck_assert_uint_eq(leave(), 1);
	ck_assert_uint_eq(blazei_replica_count(b.replica), 4);
	nodes_expect_equal(&a, &b);
}
END_TEST

/* What it said as a member is said by the next report, and what others left half is theirs. */
START_TEST(what_is_no_record_is_not_written_anew)
{
	const struct blaze_id id = id_of(5);
	struct blazei_write_op op = { .name = "x", .name_len = 1, .body = "\x01", .body_len = 1 };
	struct blazei_write_group group = { .id = &id, .ops = &op, .op_count = 1, .life = 1 };
	struct blazei_write_group *groups = &group;
	const struct blazei_txn_header *header;
	struct blazei_txn_view txn;

	/* A field of a record that never was. */
	ck_assert_int_eq(blazei_commit(c.replica, c.now_ns, &groups, 1, &txn), 0);
	node_keep(&c, txn.data, txn.len);
	node_give_all(&c, &a);
	node_give_all(&c, &b);
	ck_assert_int_eq(node_tick(&a), 1);
	node_insert(&a, 1, "{\"x\":1}");
	displace();
	ck_assert_uint_eq(leave(), 1);
	header = a.log[a.count - 1].data;
	ck_assert_uint_eq(header->record_count, 1);
	node_expect(&b, 1, "{\"x\":1}");
	ck_assert_int_eq(blazei_replica_membership(a.replica, &a.origin.node),
	                 BLAZEI_MEMBER_JOINED);
}
END_TEST

/* A field of a life that is over for now is to be seen again where that goes on. */
START_TEST(hidden_field_is_written_anew_while_its_life_may_go_on)
{
	node_insert(&a, 1, "{\"v\":1,\"y\":1}");
	node_insert(&a, 2, "{\"y\":1}");
	b.now_ns = a.now_ns + BLAZEI_NS_PER_S;
	node_insert(&b, 1, "{}");
	node_delete(&b, 1);
	node_insert(&b, 1, "{\"w\":1}");
	node_give_all(&b, &a);
	node_expect(&a, 1, "{\"w\":1}");
	displace();
	ck_assert_uint_eq(leave(), 1);
	/* b ended it without having seen the fields; that record 2 exists says nothing of it. */
	ck_assert_uint_eq(node_stats(&b).conflicts, 2);
	blazei_replica_set_server(c.replica, true);
	node_insert(&c, 1, "{\"z\":1}");
	node_give_all(&c, &a);
	node_give_all(&c, &b);
	nodes_expect_equal(&a, &b);
	node_expect(&b, 1, "{\"v\":1,\"y\":1,\"z\":1}");
}
END_TEST

/* In whichever order they came, a transaction has them by life, and by name. */
START_TEST(fields_are_written_anew_in_order)
{
	node_insert(&a, 1, "{\"m\":1}");
	node_update(&a, 1, "{\"z\":1}");
	node_update(&a, 1, "{\"a\":1}");
	b.now_ns = a.now_ns + BLAZEI_NS_PER_S;
	node_insert(&b, 1, "{}");
	node_delete(&b, 1);
	node_insert(&b, 1, "{\"w\":1}");
	node_give_all(&b, &a);
	node_update(&a, 1, "{\"y\":2}");
	node_update(&a, 1, "{\"b\":2}");
	node_insert(&a, 2, "{\"c\":1}");
	node_update(&a, 2, "{\"b\":1}");
	node_update(&a, 2, "{\"a\":1}");
	displace();
	ck_assert_uint_eq(leave(), 1);
	ck_assert_int_eq(blazei_txn_check(a.log[a.count - 1].data, a.log[a.count - 1].len), 0);
	node_expect(&b, 1, "{\"b\":2,\"w\":1,\"y\":2}");
	node_expect(&b, 2, "{\"a\":1,\"b\":1,\"c\":1}");
	nodes_expect_equal(&a, &b);
}
END_TEST

/* Who ended a life and writes a field of it anew says both in one transaction. */
START_TEST(hidden_field_is_no_conflict_with_an_end_that_its_writer_wrote)
{
	node_insert(&a, 1, "{\"y\":1}");
	node_delete(&a, 1);
	node_insert(&a, 1, "{\"w\":1}");
	node_insert(&a, 2, "{\"y\":1}");
	node_delete(&a, 2);
	node_insert(&a, 3, "{\"y\":1}");
	node_give_all(&a, &b);
	displace();
	ck_assert_uint_eq(leave(), 1);
	ck_assert_uint_eq(node_stats(&a).conflicts, 0);
	ck_assert_uint_eq(node_stats(&b).conflicts, 0);
}
END_TEST

/* Not where all know that it is over. */
START_TEST(field_of_a_life_that_is_over_is_not_written_anew)
{
	node_insert(&a, 1, "{\"y\":1}");
	b.now_ns = a.now_ns + BLAZEI_NS_PER_S;
	node_insert(&b, 1, "{}");
	node_delete(&b, 1);
	node_insert(&b, 1, "{\"w\":1}");
	node_writes(&b, 50, 3);
	frontier_collect(&b);
	node_give_all(&b, &a);
	displace();
	ck_assert_uint_eq(leave(), 0);
}
END_TEST

/* Others wrote over all of it: nothing of the old name stands any more. */
START_TEST(what_was_overwritten_is_not_written_anew)
{
	node_insert(&a, 1, "{\"x\":1}");
	node_give_all(&a, &c);
	blazei_replica_set_server(c.replica, true);
	c.now_ns = a.now_ns;
	node_update(&c, 1, "{\"x\":2}");
	ck_assert_int_eq(node_give(&c, &a, 1), 1);
	displace();
	ck_assert_uint_eq(leave(), 0);
	node_expect(&a, 1, "{\"x\":2}");
}
END_TEST

/* By merging, a record's lives that are not over may be longer than any transaction: it goes with
 * several. */
START_TEST(record_longer_than_a_transaction_takes_several)
{
	static uint8_t value[1000000];
	const struct blaze_id id = id_of(1);
	struct blaze_record *record;
	struct blazei_txn_view txn;
	uint64_t refused;

	node_insert(&c, 1, "{\"x\":1}");
	node_give_all(&c, &a);
	node_give_all(&c, &b);
	/* Each of them in a life of its own, which here follow each other. */
	for (unsigned i = 0; i < 18; i++) {
		struct blazei_write write = {
			.kind = BLAZEI_WRITE_UPSERT,
			.id = &id,
		};

		ck_assert_int_eq(blaze_record_new(&record), 0);
		ck_assert_int_eq(blaze_record_set_bytes(record, "y", value, sizeof(value)), 0);
		write.record = record;
		a.now_ns += 1000000;
		ck_assert_int_eq(blazei_replica_write(a.replica, a.now_ns, &write, &txn), 0);
		blaze_record_free(record);
		ck_assert_int_eq(node_delete(&a, 1), 0);
	}
	/* A server that saw none of that keeps the record in its first life. */
	blazei_replica_set_server(c.replica, true);
	c.now_ns = a.now_ns;
	node_update(&c, 1, "{\"x\":2}");
	ck_assert_int_eq(node_give(&c, &a, 2), 1);
	node_give(&c, &b, 2);
	node_insert(&a, 2, "{\"x\":1}");
	displace();
	refused = node_stats(&a).refused;
	leave();
	ck_assert_uint_eq(node_stats(&a).refused, refused);
	node_expect(&a, 2, "{\"x\":1}");
}
END_TEST

/* There is no room for another name. */
START_TEST(name_that_there_is_no_room_for_is_e2big_and_changes_nothing)
{
	const struct blazei_origin before = a.origin;
	struct blazei_origin other = { .incarnation = 1 };
	struct blazei_vector_detail detail = { .chain = 1 };

	node_insert(&a, 1, "{\"x\":1}");
	displace();
	for (unsigned i = 0; a.replica->vector.count < BLAZEI_ORIGINS_MAX; i++) {
		memcpy(other.node.bytes, &i, sizeof(i));
		other.node.bytes[15] = 9;
		ck_assert_int_gt(blazei_vector_intern(&a.replica->vector, &other), 0);
	}
	other = before;
	other.incarnation = 90;
	ck_assert_int_eq(blazei_replica_leave_name(a.replica, a.now_ns, &other), -E2BIG);
	ck_assert(blazei_replica_displaced(a.replica));
	ck_assert(blazei_origin_equal(&a.replica->vector.origins[0], &before));
	/* One that is there already is no new one. */
	ck_assert_int_eq(blazei_replica_leave_name(a.replica, a.now_ns, &before), -EEXIST);
	detail.entry = (struct blazei_vector_entry){ other, 1 };
	ck_assert_int_eq(blazei_replica_restore(a.replica, &detail, 1), -E2BIG);
	node_expect(&a, 1, "{\"x\":1}");
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&more_records_than_are_gathered_at_once_are_all_written,
		&records_of_others_are_passed_over,
		&more_bytes_than_are_gathered_at_once_are_all_written,
		&ids_end_with_the_greatest,
		&what_is_no_record_is_not_written_anew,
		&hidden_field_is_written_anew_while_its_life_may_go_on,
		&fields_are_written_anew_in_order,
		&field_of_a_life_that_is_over_is_not_written_anew,
		&hidden_field_is_no_conflict_with_an_end_that_its_writer_wrote,
		&what_was_overwritten_is_not_written_anew,
		&record_longer_than_a_transaction_takes_several,
		&name_that_there_is_no_room_for_is_e2big_and_changes_nothing,
	};
	Suite *suite = suite_create("restamp");
	TCase *tcase = tcase_create("restamp");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
