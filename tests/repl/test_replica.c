/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of writes and merges, one by one: what counts as a write, who beats whom, lives. */
#include "tests/repl/harness.h"

/* a, b and c, whose identities ascend. */
static struct node a;
static struct node b;
static struct node c;

static void set_up(void)
{
	node_open(&a, 1);
	node_open(&b, 2);
	node_open(&c, 3);
}

static void tear_down(void)
{
	node_close(&a);
	node_close(&b);
	node_close(&c);
}

static void expect_all(unsigned number, const char *json)
{
	node_expect(&a, number, json);
	node_expect(&b, number, json);
	node_expect(&c, number, json);
	nodes_expect_equal(&a, &b);
	nodes_expect_equal(&a, &c);
}

static void settle(void)
{
	node_give_all(&a, &b);
	node_give_all(&a, &c);
	node_give_all(&b, &a);
	node_give_all(&b, &c);
	node_give_all(&c, &a);
	node_give_all(&c, &b);
	/* Once more for what depended on what came later. */
	node_give_all(&a, &b);
	node_give_all(&a, &c);
	node_give_all(&b, &c);
}

/* Writes ------------------------------------------------------------------------------------- */

START_TEST(insert_where_alive_is_eexist)
{
	ck_assert_int_eq(node_insert(&a, 1, "{\"x\":1}"), 0);
	ck_assert_int_eq(node_insert(&a, 1, "{\"x\":2}"), -EEXIST);
	node_expect(&a, 1, "{\"x\":1}");
	ck_assert_uint_eq(a.count, 1);
}
END_TEST

START_TEST(bytes_of_a_commit_may_be_taken_and_stay)
{
	const struct blaze_id id = id_of(1);
	struct blazei_buffer buffer = { 0 };
	struct blazei_txn_view txn;
	uint8_t *first;
	void *copy;

	ck_assert_int_eq(node_put(&a, &id, "first", 5, &txn), 0);
	copy = malloc(txn.len);
	memcpy(copy, txn.data, txn.len);
	blazei_replica_txn_take(a.replica, &buffer);
	first = buffer.data;
	ck_assert_ptr_eq(first, txn.data);
	ck_assert_uint_eq(buffer.len, txn.len);
	/* It has no memory of its own now, and is given some. */
	buffer = (struct blazei_buffer){ 0 };
	ck_assert_int_eq(node_put(&a, &id, "second", 6, &txn), 0);
	ck_assert_ptr_ne(txn.data, first);
	ck_assert_mem_eq(first, copy, ((struct blazei_txn_header *)copy)->bytes);
	ck_assert_int_eq(node_take(&b, first, ((struct blazei_txn_header *)first)->bytes), 1);
	ck_assert_int_eq(node_take(&b, txn.data, txn.len), 1);
	/* What is given back is used for the next one, up to the longest. */
	buffer.data = first;
	buffer.cap = ((struct blazei_txn_header *)copy)->bytes;
	blazei_replica_txn_take(a.replica, &buffer);
	ck_assert_ptr_eq(buffer.data, txn.data);
	ck_assert_int_eq(node_put(&a, &id, "third", 5, &txn), 0);
	ck_assert_ptr_eq(txn.data, first);
	ck_assert_int_eq(node_take(&b, txn.data, txn.len), 1);
	nodes_expect_equal(&a, &b);
	blazei_buffer_free(&buffer);
	free(copy);
}
END_TEST

START_TEST(update_where_absent_or_dead_is_enoent)
{
	ck_assert_int_eq(node_update(&a, 1, "{\"x\":1}"), -ENOENT);
	ck_assert_int_eq(node_delete(&a, 1), -ENOENT);
	ck_assert_int_eq(node_insert(&a, 1, "{\"x\":1}"), 0);
	ck_assert_int_eq(node_delete(&a, 1), 0);
	ck_assert_int_eq(node_update(&a, 1, "{\"x\":1}"), -ENOENT);
	ck_assert_int_eq(node_delete(&a, 1), -ENOENT);
	node_expect(&a, 1, NULL);
	ck_assert_uint_eq(blazei_replica_count(a.replica), 0);
}
END_TEST

START_TEST(update_with_equal_values_is_no_write)
{
	node_insert(&a, 1, "{\"x\":1,\"y\":2}");
	ck_assert_int_eq(node_update(&a, 1, "{\"x\":1,\"y\":2}"), 1);
	ck_assert_int_eq(node_update(&a, 1, "{}"), 1);
	ck_assert_int_eq(node_write(&a, BLAZEI_WRITE_UPDATE, 1, "{}", "z"), 1);
	ck_assert_uint_eq(a.count, 1);
	ck_assert_int_eq(node_update(&a, 1, "{\"x\":1,\"y\":3}"), 0);
	/* One register: what was equal is not in it. */
	ck_assert_uint_lt(a.log[1].len, a.log[0].len);
	node_give_all(&a, &b);
	ck_assert_uint_eq(node_stats(&b).applied_updates, 3 + 1);
}
END_TEST

START_TEST(update_by_server_with_equal_values_rewrites_existence)
{
	node_insert(&a, 1, "{\"x\":1}");
	node_give_all(&a, &b);
	blazei_replica_set_server(b.replica, true);
	ck_assert_int_eq(node_update(&b, 1, "{\"x\":1}"), 0);
	ck_assert_int_eq(node_delete(&a, 1), 0);
	settle();
	expect_all(1, "{\"x\":1}");
}
END_TEST

START_TEST(upsert_with_equal_values_writes)
{
	ck_assert_int_eq(node_write(&a, BLAZEI_WRITE_UPSERT, 1, "{\"x\":1}", NULL), 0);
	ck_assert_int_eq(node_write(&a, BLAZEI_WRITE_UPSERT, 1, "{\"x\":1}", NULL), 0);
	ck_assert_uint_eq(a.count, 2);
}
END_TEST

START_TEST(unset_outside_update_is_einval)
{
	ck_assert_int_eq(node_write(&a, BLAZEI_WRITE_INSERT, 1, "{}", "x"), -EINVAL);
	ck_assert_int_eq(node_write(&a, BLAZEI_WRITE_UPSERT, 1, "{}", "x"), -EINVAL);
	ck_assert_uint_eq(a.count, 0);
	node_expect(&a, 1, NULL);
}
END_TEST

START_TEST(unset_removes_field_everywhere_and_merges_by_stamp)
{
	node_insert(&a, 1, "{\"x\":1,\"y\":2}");
	settle();
	ck_assert_int_eq(node_write(&a, BLAZEI_WRITE_UPDATE, 1, "{}", "x"), 0);
	b.now_ns += BLAZEI_NS_PER_S;
	ck_assert_int_eq(node_write(&b, BLAZEI_WRITE_UPDATE, 1, "{}", "y"), 0);
	settle();
	expect_all(1, "{}");
	ck_assert_int_eq(node_update(&c, 1, "{\"x\":3}"), 0);
	settle();
	expect_all(1, "{\"x\":3}");
}
END_TEST

START_TEST(write_beyond_limits_is_e2big_and_changes_nothing)
{
	struct blaze_id id = id_of(1);
	struct blazei_write write = { .kind = BLAZEI_WRITE_INSERT, .id = &id };
	struct blazei_txn_view txn;
	struct blaze_record *record;
	char name[16];

	ck_assert_int_eq(blaze_record_new(&record), 0);
	for (unsigned i = 0; i < 1024; i++) {
		sprintf(name, "f%u", i);
		ck_assert_int_eq(blaze_record_set_int(record, name, i), 0);
	}
	write.record = record;
	ck_assert_int_eq(blazei_replica_write(a.replica, NOW, &write, &txn), 0);
	blaze_record_free(record);
	ck_assert_int_eq(node_update(&a, 1, "{\"more\":1}"), -E2BIG);
	ck_assert_int_eq(node_update(&a, 1, "{\"f7\":true}"), 0);
	ck_assert_int_eq(node_write(&a, BLAZEI_WRITE_UPDATE, 1, "{\"more\":1}", "f7"), 0);
}
END_TEST

START_TEST(put_and_fetch_round_trip_and_grow)
{
	struct blaze_id id = id_of(1);
	static uint8_t value[1 << 20];
	static uint8_t back[1 << 20];
	const size_t sizes[] = { 8, 0, 100, 8, 70000, 9, 200, (1 << 20) - 4096 };
	struct blazei_txn_view txn;

	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)(i * 7);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		value[0] = (uint8_t)i;
		ck_assert_int_eq(node_put(&a, &id, value, sizes[i], &txn), 0);
		ck_assert(node_keep(&a, txn.data, txn.len));
		node_give(&a, &b, a.count);
		ck_assert_int_eq(blazei_replica_fetch(b.replica, &id, back, sizeof(back)),
		                 (int)sizes[i]);
		ck_assert_mem_eq(value, back, sizes[i]);
	}
	ck_assert_int_eq(node_put(&a, &id, value, (1 << 20) - 4095, &txn), -E2BIG);
	ck_assert_int_eq(node_put(&a, &id, NULL, 1, &txn), -EINVAL);
	nodes_expect_equal(&a, &b);
	ck_assert_int_eq(node_update(&a, 1, "{\"\":1}"), 0);
	ck_assert_int_eq(blazei_replica_fetch(a.replica, &id, back, 1), -EINVAL);
	ck_assert_int_eq(node_write(&a, BLAZEI_WRITE_UPDATE, 1, "{}", ""), 0);
	ck_assert_int_eq(blazei_replica_fetch(a.replica, &id, back, 1), -ENOENT);
}
END_TEST

/* Who beats whom ----------------------------------------------------------------------------- */

START_TEST(overwrite_beats_seen_whatever_the_clocks)
{
	node_insert(&a, 1, "{\"x\":1}");
	settle();
	a.now_ns += 60 * BLAZEI_NS_PER_S;
	node_update(&a, 1, "{\"x\":2}");
	node_give_all(&a, &b);
	node_update(&b, 1, "{\"x\":3}"); /* a minute behind, but it saw */
	settle();
	expect_all(1, "{\"x\":3}");
	ck_assert_uint_eq(node_stats(&c).conflicts, 0);
}
END_TEST

START_TEST(concurrent_clients_later_clock_wins_and_conflict_counts)
{
	node_insert(&a, 1, "{\"x\":1}");
	settle();
	b.now_ns += BLAZEI_NS_PER_S;
	node_update(&b, 1, "{\"x\":2}");
	node_update(&a, 1, "{\"x\":3}");
	node_give_all(&b, &c); /* the winner first: what comes later must not win by that */
	settle();
	expect_all(1, "{\"x\":2}");
	ck_assert_uint_eq(node_stats(&a).conflicts, 1);
	ck_assert_uint_eq(node_stats(&b).conflicts, 1);
	ck_assert_uint_eq(node_stats(&c).conflicts, 1);
}
END_TEST

START_TEST(server_beats_concurrent_client_whatever_the_clocks)
{
	node_insert(&a, 1, "{\"x\":1}");
	settle();
	blazei_replica_set_server(b.replica, true);
	node_update(&b, 1, "{\"x\":2}");
	a.now_ns += 60 * BLAZEI_NS_PER_S;
	node_update(&a, 1, "{\"x\":3}");
	settle();
	expect_all(1, "{\"x\":2}");
}
END_TEST

START_TEST(client_that_saw_server_beats_it_and_client_that_had_not)
{
	node_insert(&a, 1, "{\"x\":1}");
	settle();
	blazei_replica_set_server(b.replica, true);
	node_update(&b, 1, "{\"x\":2}");
	node_give_all(&b, &a);
	node_update(&a, 1, "{\"x\":3}"); /* inherits the server's E */
	c.now_ns += 60 * BLAZEI_NS_PER_S;
	node_update(&c, 1, "{\"x\":4}"); /* has not seen it, for all its clock */
	settle();
	expect_all(1, "{\"x\":3}");
}
END_TEST

START_TEST(lww_server_has_no_priority)
{
	struct node d;
	struct node e;

	node_open_policy(&d, 4, BLAZE_POLICY_LWW);
	node_open_policy(&e, 5, BLAZE_POLICY_LWW);
	blazei_replica_set_server(d.replica, true);
	node_insert(&d, 1, "{\"x\":1}");
	node_give_all(&d, &e);
	node_update(&d, 1, "{\"x\":2}");
	e.now_ns += 60 * BLAZEI_NS_PER_S;
	node_update(&e, 1, "{\"x\":3}");
	nodes_settle((struct node[]){ d, e }, 2);
	node_expect(&d, 1, "{\"x\":3}");
	nodes_expect_equal(&d, &e);
	node_close(&d);
	node_close(&e);
}
END_TEST

START_TEST(equal_clocks_identity_decides_not_the_order_of_hearing)
{
	const uint64_t same = NOW + 100 * BLAZEI_NS_PER_S;

	node_insert(&c, 1, "{\"x\":0}");
	settle();
	/* Equal E and H: node 2 beats node 1. c hears of b first and a hears of c first. */
	a.now_ns = same;
	b.now_ns = same;
	node_update(&a, 1, "{\"x\":1}");
	node_update(&b, 1, "{\"x\":2}");
	c.now_ns = same;
	node_give(&b, &c, 1);
	settle();
	expect_all(1, "{\"x\":2}");
}
END_TEST

/* Existence and lives ------------------------------------------------------------------------ */

START_TEST(concurrent_inserts_of_one_life_merge)
{
	node_insert(&a, 1, "{\"x\":1,\"only_a\":1}");
	b.now_ns += BLAZEI_NS_PER_S;
	node_insert(&b, 1, "{\"x\":2,\"only_b\":1}");
	settle();
	expect_all(1, "{\"only_a\":1,\"only_b\":1,\"x\":2}");
}
END_TEST

START_TEST(delete_beats_concurrent_client_update)
{
	node_insert(&a, 1, "{\"x\":1}");
	settle();
	node_delete(&a, 1);
	b.now_ns += BLAZEI_NS_PER_S;
	node_update(&b, 1, "{\"x\":2}");
	settle();
	expect_all(1, NULL);
	ck_assert_uint_eq(blazei_replica_count(c.replica), 0);
}
END_TEST

START_TEST(server_update_keeps_record_against_concurrent_delete)
{
	node_insert(&a, 1, "{\"x\":1,\"y\":1}");
	settle();
	blazei_replica_set_server(b.replica, true);
	node_update(&b, 1, "{\"x\":2}");
	a.now_ns += 60 * BLAZEI_NS_PER_S;
	node_delete(&a, 1);
	node_give_all(&a, &c);
	node_expect(&c, 1, NULL);
	settle();
	expect_all(1, "{\"x\":2,\"y\":1}"); /* y, too: hidden, never dropped */
}
END_TEST

START_TEST(insert_after_delete_hides_old_fields)
{
	node_insert(&a, 1, "{\"x\":1,\"y\":1}");
	node_delete(&a, 1);
	ck_assert_int_eq(node_insert(&a, 1, "{\"x\":2}"), 0);
	b.now_ns += BLAZEI_NS_PER_S;
	settle();
	expect_all(1, "{\"x\":2}");
}
END_TEST

START_TEST(late_update_of_old_life_stays_hidden)
{
	node_insert(&a, 1, "{\"x\":1}");
	settle();
	b.now_ns += 60 * BLAZEI_NS_PER_S;
	node_update(&b, 1, "{\"z\":9}"); /* to the first life */
	node_delete(&a, 1);
	node_insert(&a, 1, "{\"x\":2}");
	settle();
	expect_all(1, "{\"x\":2}");
}
END_TEST

START_TEST(values_of_several_lives_survive_side_by_side)
{
	node_insert(&a, 1, "{\"x\":1}");
	settle();
	blazei_replica_set_server(b.replica, true);
	node_update(&b, 1, "{}"); /* (alive, 1) with the server's E */
	node_delete(&a, 1);
	node_insert(&a, 1, "{\"x\":2}"); /* life 2, which loses */
	node_expect(&a, 1, "{\"x\":2}");
	settle();
	expect_all(1, "{\"x\":1}");
}
END_TEST

START_TEST(insert_never_revives_fields_of_a_lost_life)
{
	node_insert(&a, 1, "{\"x\":1}");
	settle();
	blazei_replica_set_server(b.replica, true);
	node_update(&b, 1, "{}");
	node_delete(&a, 1);
	node_insert(&a, 1, "{\"ghost\":2}"); /* life 2 loses against the server's (alive, 1) */
	settle();
	expect_all(1, "{\"x\":1}");
	node_delete(&c, 1);
	node_insert(&c, 1, "{\"x\":3}");
	settle();
	expect_all(1, "{\"x\":3}");
}
END_TEST

static const TTest *const *const tests[] = {
	&insert_where_alive_is_eexist,
	&update_where_absent_or_dead_is_enoent,
	&update_with_equal_values_is_no_write,
	&update_by_server_with_equal_values_rewrites_existence,
	&upsert_with_equal_values_writes,
	&unset_outside_update_is_einval,
	&bytes_of_a_commit_may_be_taken_and_stay,
	&unset_removes_field_everywhere_and_merges_by_stamp,
	&write_beyond_limits_is_e2big_and_changes_nothing,
	&put_and_fetch_round_trip_and_grow,
	&overwrite_beats_seen_whatever_the_clocks,
	&concurrent_clients_later_clock_wins_and_conflict_counts,
	&server_beats_concurrent_client_whatever_the_clocks,
	&client_that_saw_server_beats_it_and_client_that_had_not,
	&lww_server_has_no_priority,
	&equal_clocks_identity_decides_not_the_order_of_hearing,
	&concurrent_inserts_of_one_life_merge,
	&delete_beats_concurrent_client_update,
	&server_update_keeps_record_against_concurrent_delete,
	&insert_after_delete_hides_old_fields,
	&late_update_of_old_life_stays_hidden,
	&values_of_several_lives_survive_side_by_side,
	&insert_never_revives_fields_of_a_lost_life,
};

int main(void)
{
	Suite *suite = suite_create("replica");
	TCase *tcase = tcase_create("replica");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
