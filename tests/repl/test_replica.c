/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of writes and merges, one by one: who beats whom, lives, what counts as a write, what
 * waits for what, and what is refused. */
#include "lib/op/hlc.h"
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
	struct blaze_record *record;
	const void *txn;
	size_t len;
	char name[16];

	ck_assert_int_eq(blaze_record_new(&record), 0);
	for (unsigned i = 0; i < 1024; i++) {
		sprintf(name, "f%u", i);
		ck_assert_int_eq(blaze_record_set_int(record, name, i), 0);
	}
	ck_assert_int_eq(
	        blazei_replica_write(a.replica, NOW, BLAZEI_WRITE_INSERT, &id, record, &txn, &len),
	        0);
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
	const void *txn;
	size_t len;

	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)(i * 7);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		value[0] = (uint8_t)i;
		ck_assert_int_eq(
		        blazei_replica_put(a.replica, NOW, &id, value, sizes[i], &txn, &len), 0);
		ck_assert(node_keep(&a, txn, len));
		node_give(&a, &b, a.count);
		ck_assert_int_eq(blazei_replica_fetch(b.replica, &id, back, sizeof(back)),
		                 (int)sizes[i]);
		ck_assert_mem_eq(value, back, sizes[i]);
	}
	ck_assert_int_eq(
	        blazei_replica_put(a.replica, NOW, &id, value, (1 << 20) - 4095, &txn, &len),
	        -E2BIG);
	ck_assert_int_eq(blazei_replica_put(a.replica, NOW, &id, NULL, 1, &txn, &len), -EINVAL);
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

/* What waits for what ------------------------------------------------------------------------ */

START_TEST(dependency_missing_waits_for_it)
{
	node_insert(&a, 1, "{\"x\":1}");
	node_give_all(&a, &b);
	node_update(&b, 1, "{\"y\":2}");
	ck_assert_int_eq(node_give(&b, &c, 1), 0);
	ck_assert_uint_eq(node_stats(&c).parked, 1);
	ck_assert_uint_eq(blazei_replica_vector_seq(c.replica, &b.origin), 0);
	ck_assert_int_eq(node_give(&a, &c, 1), 2);
	ck_assert_uint_eq(node_stats(&c).parked, 0);
	node_expect(&c, 1, "{\"x\":1,\"y\":2}");
}
END_TEST

START_TEST(dependency_is_told_once_then_implied)
{
	node_insert(&a, 1, "{\"x\":1}");
	node_give_all(&a, &b);
	node_insert(&b, 2, "{\"x\":1}");
	node_insert(&b, 3, "{\"x\":1}");
	ck_assert_uint_eq(((const struct blazei_txn_header *)b.log[0].data)->dep_count, 1);
	ck_assert_uint_eq(((const struct blazei_txn_header *)b.log[1].data)->dep_count, 0);
	ck_assert_int_eq(node_give(&b, &c, 2), 0);
	ck_assert_int_eq(node_give(&b, &c, 1), 0);
	ck_assert_int_eq(node_give(&a, &c, 1), 3);
}
END_TEST

START_TEST(gap_parks_until_filled)
{
	for (unsigned i = 0; i < 5; i++)
		node_insert(&a, i, "{\"x\":1}");
	ck_assert_int_eq(node_give(&a, &b, 5), 0);
	ck_assert_int_eq(node_give(&a, &b, 3), 0);
	ck_assert_int_eq(node_give(&a, &b, 3), 0);
	ck_assert_int_eq(node_give(&a, &b, 4), 0);
	ck_assert_uint_eq(node_stats(&b).parked, 3);
	ck_assert_uint_eq(node_stats(&b).duplicates, 1);
	ck_assert_int_eq(node_give(&a, &b, 1), 1);
	ck_assert_int_eq(node_give(&a, &b, 2), 4);
	ck_assert_uint_eq(blazei_replica_count(b.replica), 5);
	nodes_expect_equal(&a, &b);
}
END_TEST

START_TEST(duplicates_are_dropped_and_own_transactions_are_duplicates)
{
	node_insert(&a, 1, "{\"x\":1}");
	ck_assert_int_eq(node_give(&a, &b, 1), 1);
	ck_assert_int_eq(node_give(&a, &b, 1), 0);
	ck_assert_int_eq(node_give(&a, &a, 1), 0);
	ck_assert_uint_eq(node_stats(&b).duplicates, 1);
	ck_assert_uint_eq(node_stats(&a).duplicates, 1);
	ck_assert_uint_eq(node_stats(&b).applied, 1);
}
END_TEST

START_TEST(own_identity_from_elsewhere_is_never_applied)
{
	struct node twin;

	node_open(&twin, 1); /* the same identity as a */
	node_insert(&twin, 7, "{\"x\":1}");
	ck_assert_int_eq(node_give(&twin, &a, 1), 0);
	node_expect(&a, 7, NULL);
	ck_assert_uint_eq(node_stats(&a).duplicates, 1);
	node_close(&twin);
}
END_TEST

START_TEST(write_after_catch_up_depends_on_what_came_by_it)
{
	node_insert(&a, 1, "{\"x\":1}");
	node_catch_up(&a, &b);
	node_update(&b, 1, "{\"y\":2}");
	ck_assert_int_eq(node_give(&b, &c, 1), 0);
	ck_assert_uint_eq(node_stats(&c).parked, 1);
	ck_assert_int_eq(node_give(&a, &c, 1), 2);
	nodes_expect_equal(&b, &c);
}
END_TEST

START_TEST(vector_raise_applies_what_waited_for_it)
{
	struct blazei_vector_entry entry = { .origin = a.origin, .seq = 1 };

	node_insert(&a, 1, "{\"x\":1}");
	node_insert(&a, 2, "{\"x\":1}");
	node_insert(&a, 3, "{\"x\":1}");
	node_give(&a, &b, 1);
	node_insert(&b, 4, "{\"x\":1}");
	ck_assert_int_eq(node_give(&a, &c, 3), 0);
	ck_assert_int_eq(node_give(&a, &c, 2), 0);
	ck_assert_int_eq(node_give(&b, &c, 1), 0);
	ck_assert_int_eq(blazei_replica_vector_raise(c.replica, c.now_ns, &entry, 1), 3);
	ck_assert_uint_eq(node_stats(&c).parked, 0);
	node_expect(&c, 4, "{\"x\":1}");
}
END_TEST

START_TEST(parked_beyond_bound_are_dropped_and_come_by_state)
{
	for (unsigned i = 0; i < 4099; i++)
		node_write(&a, BLAZEI_WRITE_UPSERT, i % 7, "{\"x\":1}", NULL);
	for (unsigned i = 2; i <= 4097; i++)
		node_give(&a, &b, i);
	ck_assert_uint_eq(node_stats(&b).parked, 4096);
	node_give(&a, &b, 4098);
	ck_assert_uint_eq(node_stats(&b).parked, 0);
	node_give(&a, &b, 4099);
	ck_assert_uint_eq(node_stats(&b).parked, 1);
	node_catch_up(&a, &b);
	ck_assert_uint_eq(node_stats(&b).parked, 0);
	nodes_expect_equal(&a, &b);
}
END_TEST

START_TEST(clock_far_ahead_stalls_until_time_has_come)
{
	a.now_ns += 125 * BLAZEI_NS_PER_S;
	node_insert(&a, 1, "{\"x\":1}");
	node_insert(&a, 2, "{\"x\":1}");
	ck_assert_int_eq(node_give(&a, &b, 1), 0);
	ck_assert_int_eq(node_give(&a, &b, 2), 0);
	ck_assert_uint_eq(node_stats(&b).parked, 2);
	b.now_ns += 10 * BLAZEI_NS_PER_S;
	ck_assert_int_eq(blazei_replica_receive(b.replica, b.now_ns, NULL, 0), 2);
	node_expect(&b, 2, "{\"x\":1}");
}
END_TEST

/* What is refused ---------------------------------------------------------------------------- */

START_TEST(fork_of_an_origin_is_refused)
{
	struct node twin;

	node_open(&twin, 1); /* the same identity as a */
	node_insert(&a, 1, "{\"x\":1}");
	node_insert(&a, 2, "{\"x\":1}");
	node_insert(&twin, 1, "{\"x\":2}");
	node_insert(&twin, 2, "{\"x\":2}");
	ck_assert_int_eq(node_give(&a, &b, 1), 1);
	ck_assert_int_eq(node_give(&twin, &b, 1), 0);
	ck_assert_int_eq(node_give(&twin, &b, 2), 0);
	ck_assert_uint_eq(node_stats(&b).refused, 2);
	ck_assert_int_eq(node_give(&a, &b, 2), 1);
	nodes_expect_equal(&a, &b);
	node_close(&twin);
}
END_TEST

START_TEST(first_transaction_must_start_its_chain)
{
	node_insert(&a, 1, "{\"x\":1}");
	((struct blazei_txn_header *)a.log[0].data)->prev = 7;
	((struct blazei_txn_header *)a.log[0].data)->chain = blazei_txn_hash(a.log[0].data);
	ck_assert_int_eq(node_give(&a, &b, 1), 0);
	ck_assert_uint_eq(node_stats(&b).refused, 1);
	ck_assert_uint_eq(node_stats(&b).origins, 1);
}
END_TEST

START_TEST(origins_beyond_bound_are_refused)
{
	node_insert(&a, 1, "{\"x\":1}");
	for (unsigned i = 0; i < 5000; i++) {
		struct blazei_txn_header *header = a.log[0].data;

		((struct blazei_origin *)(header + 1))->incarnation = i;
		header->chain = blazei_txn_hash(header);
		node_give(&a, &b, 1);
	}
	ck_assert_uint_eq(node_stats(&b).origins, BLAZEI_ORIGINS_MAX);
	ck_assert_uint_eq(node_stats(&b).refused, 5000 - (BLAZEI_ORIGINS_MAX - 1));
}
END_TEST

/* Catch-up ----------------------------------------------------------------------------------- */

START_TEST(state_brings_hidden_registers_and_unsets)
{
	node_insert(&a, 1, "{\"x\":1,\"y\":1}");
	node_write(&a, BLAZEI_WRITE_UPDATE, 1, "{}", "y");
	node_delete(&a, 1);
	node_insert(&a, 1, "{\"x\":2}");
	node_insert(&a, 2, "{\"x\":1}");
	node_delete(&a, 2);
	node_catch_up(&a, &b);
	nodes_expect_equal(&a, &b);
	ck_assert_uint_eq(blazei_replica_vector_seq(b.replica, &a.origin), a.count);
	/* And writes go on from there. */
	node_update(&a, 1, "{\"x\":3}");
	ck_assert_int_eq(node_give(&a, &b, a.count), 1);
	nodes_expect_equal(&a, &b);
}
END_TEST

START_TEST(state_of_a_record_larger_than_a_chunk_is_split)
{
	struct blaze_id id = id_of(1);
	size_t size = 900000;
	char *big = malloc(size);
	const void *txn;
	size_t len;

	memset(big, 'x', size);
	for (unsigned life = 0; life < 4; life++) {
		ck_assert_int_eq(blazei_replica_put(a.replica, NOW, &id, big, size, &txn, &len), 0);
		node_delete(&a, 1);
	}
	node_insert(&a, 1, "{\"x\":1}");
	node_catch_up(&a, &b);
	nodes_expect_equal(&a, &b);
	free(big);
}
END_TEST

START_TEST(state_leaves_out_what_is_known)
{
	struct blazei_state_cursor cursor = { 0 };
	const size_t cap = 2u << 20;
	void *buf = malloc(cap);
	struct blazei_vector_entry *known;
	unsigned count;

	node_insert(&a, 1, "{\"x\":1}");
	node_insert(&a, 2, "{\"x\":1}");
	node_give_all(&a, &b);
	node_update(&a, 2, "{\"x\":2}");
	known = node_vector(&b, &count);
	ck_assert_int_gt(blazei_replica_state_chunk(a.replica, known, count, &cursor, buf, cap), 0);
	ck_assert_uint_eq(((struct blazei_txn_header *)buf)->record_count, 1);
	ck_assert_int_eq(blazei_replica_state_chunk(a.replica, known, count, &cursor, buf, cap), 0);
	free(known);
	free(buf);
}
END_TEST

/* Reads -------------------------------------------------------------------------------------- */

START_TEST(next_id_visits_alive_records_in_order_while_they_come)
{
	struct blaze_id id;
	struct blaze_id from = id_of(0);
	unsigned visited = 0;

	for (unsigned i = 0; i < 3000; i++)
		node_insert(&a, (i * 7919) % 3000 * 2, "{\"x\":1}");
	for (unsigned i = 0; i < 3000; i += 3)
		node_delete(&a, i * 2);
	while (blazei_replica_next_id(a.replica, &from, &id) == 0) {
		unsigned number = id.bytes[14] * 256u + id.bytes[15];

		ck_assert_int_ge(memcmp(&id, &from, sizeof(id)), 0);
		ck_assert(number % 2 == 1 || number / 2 % 3 != 0);
		visited += number % 2 == 0;
		if (number % 2 == 0 && number % 5 == 0)
			node_insert(&a, number + 1, "{\"x\":1}");
		from = id_of(number + 1);
	}
	ck_assert_uint_eq(visited, 2000);
	ck_assert_int_eq(blazei_replica_next_id(a.replica, NULL, &id), 0);
	ck_assert_mem_eq(&id, id_of(2).bytes, 16);
}
END_TEST

START_TEST(hash_is_of_the_cbor_and_ignores_the_order_of_writes)
{
	uint8_t digest[16];
	uint8_t again[16];

	node_insert(&a, 1, "{\"x\":1,\"y\":2}");
	node_insert(&a, 2, "{\"z\":1}");
	node_insert(&b, 2, "{}");
	node_insert(&b, 1, "{\"y\":2}");
	node_update(&b, 2, "{\"z\":1}");
	ck_assert_int_eq(blazei_replica_hash(a.replica, digest), 0);
	ck_assert_int_eq(blazei_replica_hash(b.replica, again), 0);
	ck_assert_mem_ne(digest, again, 16);
	node_update(&b, 1, "{\"x\":1}");
	ck_assert_int_eq(blazei_replica_hash(b.replica, again), 0);
	ck_assert_mem_eq(digest, again, 16);
	ck_assert_int_eq(blazei_replica_hash_stamps(a.replica, digest), 0);
	ck_assert_int_eq(blazei_replica_hash_stamps(b.replica, again), 0);
	ck_assert_mem_ne(digest, again, 16);
}
END_TEST

static const TTest *const *const tests[] = {
	&insert_where_alive_is_eexist,
	&update_where_absent_or_dead_is_enoent,
	&update_with_equal_values_is_no_write,
	&update_by_server_with_equal_values_rewrites_existence,
	&upsert_with_equal_values_writes,
	&unset_outside_update_is_einval,
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
	&dependency_missing_waits_for_it,
	&dependency_is_told_once_then_implied,
	&gap_parks_until_filled,
	&duplicates_are_dropped_and_own_transactions_are_duplicates,
	&own_identity_from_elsewhere_is_never_applied,
	&write_after_catch_up_depends_on_what_came_by_it,
	&vector_raise_applies_what_waited_for_it,
	&parked_beyond_bound_are_dropped_and_come_by_state,
	&clock_far_ahead_stalls_until_time_has_come,
	&fork_of_an_origin_is_refused,
	&first_transaction_must_start_its_chain,
	&origins_beyond_bound_are_refused,
	&state_brings_hidden_registers_and_unsets,
	&state_of_a_record_larger_than_a_chunk_is_split,
	&state_leaves_out_what_is_known,
	&next_id_visits_alive_records_in_order_while_they_come,
	&hash_is_of_the_cbor_and_ignores_the_order_of_writes,
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
