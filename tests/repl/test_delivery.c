/* SPDX-License-Identifier: Apache-2.0 */
/* How a replica hears: what waits for what, what is refused, catch-up by state, and reads. */
#include "tests/op/edge.h"
#include "tests/repl/events.h"
#include "tests/repl/session_pair.h"
#include "tests/repl/three.h"

/* Others take so many, and leave the rest for openings. */
#define ORIGINS_HEARD (BLAZEI_ORIGINS_MAX - BLAZEI_ORIGINS_MAX / 16)

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
	ck_assert_uint_eq(node_stats(&a).refused, 1);
	node_close(&twin);
}
END_TEST

START_TEST(write_after_catch_up_depends_on_what_came_by_it)
{
	node_insert(&a, 1, "{\"x\":1}");
	nodes_catch_up(&b, &a);
	node_update(&b, 1, "{\"y\":2}");
	ck_assert_int_eq(node_give(&b, &c, 1), 0);
	ck_assert_uint_eq(node_stats(&c).parked, 1);
	ck_assert_int_eq(node_give(&a, &c, 1), 2);
	nodes_expect_equal(&b, &c);
}
END_TEST

START_TEST(snapshot_applies_what_waited_for_it)
{
	struct node d;

	node_open(&d, 4);
	node_insert(&a, 1, "{\"x\":1}");
	node_insert(&a, 2, "{\"x\":1}");
	node_insert(&a, 3, "{\"x\":1}");
	node_give(&a, &b, 1);
	node_insert(&b, 4, "{\"x\":1}");
	ck_assert_int_eq(node_give(&a, &c, 3), 0);
	ck_assert_int_eq(node_give(&a, &c, 2), 0);
	ck_assert_int_eq(node_give(&b, &c, 1), 0);
	ck_assert_int_eq(node_give(&a, &d, 1), 1);
	nodes_catch_up(&c, &d);
	ck_assert_uint_eq(node_stats(&c).applied, 3);
	ck_assert_uint_eq(node_stats(&c).parked, 0);
	node_expect(&c, 4, "{\"x\":1}");
	node_close(&d);
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
	nodes_catch_up(&b, &a);
	ck_assert_uint_eq(node_stats(&b).parked, 0);
	nodes_expect_equal(&a, &b);
}
END_TEST

/* What is refused ---------------------------------------------------------------------------- */

/* What is fetched ahead is looked at before it is checked. */
START_TEST(receive_reads_nothing_behind_what_it_is_given)
{
	struct node from, to;

	node_open(&from, 1);
	node_open(&to, 2);
	for (unsigned i = 0; i < 40; i++)
		node_insert(&from, i, "{\"a\":1}");
	for (size_t len = 0; len < from.log[0].len; len += 8) {
		void *bytes = edge_alloc(len);

		memcpy(bytes, from.log[0].data, len);
		ck_assert_int_eq(node_take(&to, bytes, len), 0);
	}
	/* Nor is a transaction behind the batch, of which the first one is known already. */
	for (unsigned count = 1; count <= from.count; count++) {
		struct blazei_txn_view *views = edge_alloc(count * sizeof(*views));
		struct node other;

		node_open(&other, 3);
		ck_assert_int_eq(node_give(&from, &other, 1), 1);
		for (unsigned i = 0; i < count; i++)
			views[i] = (struct blazei_txn_view){ from.log[i].data, from.log[i].len };
		ck_assert_int_eq(
		        blazei_replica_receive(other.replica, NOW + BLAZEI_NS_PER_S, views, count),
		        (int)count - 1);
		node_close(&other);
	}
	node_close(&from);
	node_close(&to);
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
	struct events events;

	events_listen(&events, &b);
	node_insert(&a, 1, "{\"x\":1}");
	for (unsigned i = 0; i < 5000; i++) {
		struct blazei_txn_header *header = a.log[0].data;

		((struct blazei_origin *)(header + 1))->incarnation = i;
		header->chain = blazei_txn_hash(header);
		node_give(&a, &b, 1);
	}
	ck_assert_uint_eq(node_stats(&b).origins, ORIGINS_HEARD);
	ck_assert_uint_eq(node_stats(&b).refused, 5000 - (ORIGINS_HEARD - 1));
	/* Said once. */
	ck_assert_uint_eq(events_count(&events, BLAZEI_EFFECT_ORIGINS_FULL), 1);
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
	nodes_catch_up(&b, &a);
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
	struct blazei_txn_view txn;

	memset(big, 'x', size);
	for (unsigned life = 0; life < 4; life++) {
		ck_assert_int_eq(node_put(&a, &id, big, size, &txn), 0);
		node_delete(&a, 1);
	}
	node_insert(&a, 1, "{\"x\":1}");
	nodes_catch_up(&b, &a);
	nodes_expect_equal(&a, &b);
	free(big);
}
END_TEST

/* Fields shown by the last change of a record that was told, by its number; and how many were. */
struct shown {
	unsigned fields[3];
	unsigned changes;
};

static bool wants_all(void *arg, const struct blaze_id *id)
{
	(void)arg;
	(void)id;
	return true;
}

static void on_changed(void *arg, const struct blazei_effect_change *change)
{
	struct shown *shown = arg;

	shown->fields[change->id->bytes[15]] = (unsigned)blaze_record_field_count(change->after);
	shown->changes++;
	blaze_record_free(change->before);
	blaze_record_free(change->after);
}

/* A record that does not fit behind another one in a chunk starts the next one. */
START_TEST(state_tells_of_a_record_once_and_whole)
{
	struct shown shown = { .changes = 0 };
	const struct blazei_sink sink = {
		.arg = &shown,
		.wants = wants_all,
		.changed = on_changed,
	};
	const struct blaze_id id = id_of(2);
	const int len = 100000;
	const size_t size = 930000;
	char *value = malloc(size);
	char *json = malloc(2 * (size_t)len + 32);
	struct blazei_txn_view txn;
	struct pair pair;

	memset(value, 'x', size);
	sprintf(json, "{\"a\":\"%.*s\"}", len, value);
	ck_assert_int_eq(node_insert(&a, 1, json), 0);
	/* Room for one of the second record's visible fields is left, not for both. */
	sprintf(json, "{\"a\":\"%.*s\",\"b\":\"%.*s\"}", len, value, len, value);
	for (unsigned life = 0; life < 2; life++) {
		ck_assert_int_eq(node_put(&a, &id, value, size, &txn), 0);
		node_delete(&a, 2);
	}
	ck_assert_int_eq(node_insert(&a, 2, json), 0);
	blazei_replica_set_sink(b.replica, &sink);
	pair_open(&pair, &b, &a);
	pair_catch_up(&pair);
	ck_assert_uint_eq(pair.asked.chunks, 2);
	ck_assert_uint_eq(shown.changes, 2);
	ck_assert_uint_eq(shown.fields[1], 1);
	ck_assert_uint_eq(shown.fields[2], 2);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
	free(value);
	free(json);
}
END_TEST

static unsigned chunk_records;

static enum pair_fate chunk_look(struct pair *pair, unsigned at, bool from_answerer, void *data,
                                 size_t *len)
{
	const struct blazei_session_part *part = data;

	(void)pair;
	(void)at;
	(void)len;
	if (from_answerer && part->header.kind == BLAZEI_KIND_CHUNK)
		chunk_records += ((const struct blazei_txn_header *)part->bytes)->record_count;
	return PAIR_DELIVER;
}

START_TEST(state_leaves_out_what_is_known)
{
	struct pair pair;

	node_insert(&a, 1, "{\"x\":1}");
	node_insert(&a, 2, "{\"x\":1}");
	node_give_all(&a, &b);
	node_update(&a, 2, "{\"x\":2}");
	chunk_records = 0;
	pair_open(&pair, &b, &a);
	pair.hook = chunk_look;
	pair_catch_up(&pair);
	ck_assert_uint_eq(chunk_records, 1);
	pair_close(&pair);
	nodes_expect_equal(&a, &b);
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

START_TEST(next_id_keeps_order_when_ids_come_in_any)
{
	struct blaze_id last;
	struct blaze_id id;
	unsigned visited = 1;

	for (unsigned i = 0; i < 2500; i++) {
		node_insert(&a, (i * 7919) % 2503, "{}");
		if (i % 100 == 0)
			ck_assert_int_eq(blazei_replica_next_id(a.replica, NULL, &id), 0);
	}
	ck_assert_int_eq(blazei_replica_next_id(a.replica, NULL, &last), 0);
	for (;;) {
		struct blaze_id from = last;

		from.bytes[14] += ++from.bytes[15] == 0;
		if (blazei_replica_next_id(a.replica, &from, &id) < 0)
			break;
		ck_assert_int_lt(memcmp(&last, &id, sizeof(id)), 0);
		last = id;
		visited++;
	}
	ck_assert_uint_eq(visited, 2500);
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
	&dependency_missing_waits_for_it,
	&dependency_is_told_once_then_implied,
	&gap_parks_until_filled,
	&duplicates_are_dropped_and_own_transactions_are_duplicates,
	&own_identity_from_elsewhere_is_never_applied,
	&write_after_catch_up_depends_on_what_came_by_it,
	&snapshot_applies_what_waited_for_it,
	&parked_beyond_bound_are_dropped_and_come_by_state,
	&receive_reads_nothing_behind_what_it_is_given,
	&first_transaction_must_start_its_chain,
	&origins_beyond_bound_are_refused,
	&state_brings_hidden_registers_and_unsets,
	&state_of_a_record_larger_than_a_chunk_is_split,
	&state_tells_of_a_record_once_and_whole,
	&state_leaves_out_what_is_known,
	&next_id_visits_alive_records_in_order_while_they_come,
	&next_id_keeps_order_when_ids_come_in_any,
	&hash_is_of_the_cbor_and_ignores_the_order_of_writes,
};

int main(void)
{
	Suite *suite = suite_create("delivery");
	TCase *tcase = tcase_create("delivery");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
