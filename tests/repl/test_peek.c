/* SPDX-License-Identifier: Apache-2.0 */
/* Reads without the lock, one thread: what they find is what the others find, and while something
 * changes, seen from within a sink's callback, they leave to the lock just what they have to. */
#include "lib/repl/core.h"
#include "tests/repl/frontier.h"
#include "tests/repl/session_pair.h"
#include "tests/repl/writeset_help.h"

/* What a peek says to a record while the sink is being told. */
struct spy {
	const struct blazei_replica *replica;
	unsigned own;   /* the record that changes, or one of them */
	unsigned other; /* one that does not change, of another stripe */
	int own_said;
	int other_said;
	int count_said;
	unsigned told;
};

static int peek(const struct blazei_replica *replica, unsigned number)
{
	struct blaze_id id = id_of(number);
	struct blaze_record *record;
	int rc = blazei_replica_peek_get(replica, &id, &record);

	if (rc == 0)
		blaze_record_free(record);
	return rc;
}

static void look(struct spy *spy)
{
	uint64_t count;

	spy->own_said = peek(spy->replica, spy->own);
	spy->other_said = peek(spy->replica, spy->other);
	spy->count_said = blazei_replica_peek_count(spy->replica, &count);
	spy->told++;
}

static void on_conflict(void *arg, const struct blazei_effect_conflict *conflict)
{
	(void)conflict;
	look(arg);
}

static bool on_wants(void *arg, const struct blaze_id *id)
{
	(void)id;
	look(arg);
	return false;
}

static void spy_set(struct spy *spy, const struct node *node, bool changes)
{
	struct blazei_sink sink = { .arg = spy };

	if (changes)
		sink.wants = on_wants;
	else
		sink.conflict = on_conflict;
	spy->replica = node->replica;
	blazei_replica_set_sink(node->replica, &sink);
}

static void nodes_expect_alike(const struct node *node, unsigned number)
{
	struct blaze_id id = id_of(number);
	struct blaze_record *a = NULL, *b = NULL;
	uint8_t bytes[2][64] = { { 1 }, { 1 } };
	char *text[2];
	int rc = blazei_replica_get(node->replica, &id, &a);

	ck_assert_int_eq(blazei_replica_peek_get(node->replica, &id, &b), rc);
	if (rc == 0) {
		ck_assert_int_eq(blaze_record_to_json(a, &text[0]), 0);
		ck_assert_int_eq(blaze_record_to_json(b, &text[1]), 0);
		ck_assert_str_eq(text[0], text[1]);
		free(text[0]);
		free(text[1]);
	}
	blaze_record_free(a);
	blaze_record_free(b);
	ck_assert_int_eq(blazei_replica_fetch(node->replica, &id, bytes[0], 64),
	                 blazei_replica_peek_fetch(node->replica, &id, bytes[1], 64));
	ck_assert_mem_eq(bytes[0], bytes[1], 64);
}

START_TEST(peek_reads_what_get_and_fetch_read)
{
	struct blazei_txn_view txn;
	struct node node;
	uint64_t count;
	char json[64] = { 0 };

	node_open(&node, 1);
	for (unsigned i = 0; i < 3000; i++) {
		struct blaze_id id = id_of(i);

		snprintf(json, sizeof(json), "{\"f%u\":%u,\"g\":\"%u\"}", i % 40, i, i);
		ck_assert_int_eq(node_insert(&node, i, json), 0);
		if (i % 3 == 0)
			ck_assert_int_eq(node_put(&node, &id, json, 40, &txn), 0);
		if (i % 5 == 0)
			ck_assert_int_eq(node_delete(&node, i), 0);
		if (i % 10 == 0)
			ck_assert_int_eq(node_insert(&node, i, "{\"g\":7}"), 0);
		if (i % 7 == 0)
			ck_assert_int_ge(
			        node_write(&node, BLAZEI_WRITE_UPSERT, i, "{\"h\":1}", NULL), 0);
	}
	for (unsigned i = 0; i < 3100; i++)
		nodes_expect_alike(&node, i);
	ck_assert_int_eq(blazei_replica_peek_count(node.replica, &count), 0);
	ck_assert_uint_eq(count, blazei_replica_count(node.replica));
	node_close(&node);
}
END_TEST

START_TEST(row_beyond_the_chunks_is_left_to_the_lock)
{
	struct blaze_id id = id_of(1);
	struct blazei_txn_view txn;
	uint8_t value[5000] = { 1 };
	struct node node;

	node_open(&node, 1);
	/* Row, entry and the value's head take 107 of 4,032 bytes. */
	ck_assert_int_eq(node_put(&node, &id, value, 3925, &txn), 0);
	ck_assert_int_eq(blazei_replica_peek_fetch(node.replica, &id, value, 5000), 3925);
	ck_assert_int_eq(node_put(&node, &id, value, 3926, &txn), 0);
	ck_assert_int_eq(blazei_replica_peek_fetch(node.replica, &id, value, 5000), -EAGAIN);
	ck_assert_int_eq(blazei_replica_fetch(node.replica, &id, value, 5000), 3926);
	node_close(&node);
}
END_TEST

START_TEST(row_that_changes_is_left_to_the_lock_and_no_other)
{
	struct spy spy = { .own = 1, .other = 2 };
	struct node a, b;

	node_open(&a, 1);
	node_open(&b, 2);
	node_insert(&a, 1, "{\"x\":0}");
	node_insert(&a, 2, "{\"x\":0}");
	node_give_all(&a, &b);
	ck_assert_int_eq(node_update(&a, 1, "{\"x\":1}"), 0);
	ck_assert_int_eq(node_update(&b, 1, "{\"x\":2}"), 0);
	spy_set(&spy, &b, false);
	ck_assert_int_eq(node_give(&a, &b, 3), 1);
	ck_assert_uint_eq(spy.told, 1);
	ck_assert_int_eq(spy.own_said, -EAGAIN);
	ck_assert_int_eq(spy.other_said, 0);
	ck_assert_int_eq(peek(b.replica, 1), 0);
	/* The same where a record has more than one field that changes, and where it is watched. */
	ck_assert_int_eq(node_update(&a, 1, "{\"x\":3,\"y\":3}"), 0);
	ck_assert_int_eq(node_update(&b, 1, "{\"x\":4}"), 0);
	ck_assert_int_eq(node_give(&a, &b, 4), 1);
	ck_assert_uint_eq(spy.told, 2);
	ck_assert_int_eq(spy.own_said, -EAGAIN);
	ck_assert_int_eq(spy.other_said, 0);
	spy_set(&spy, &b, true);
	ck_assert_int_eq(node_update(&b, 1, "{\"x\":5}"), 0);
	ck_assert_uint_eq(spy.told, 3);
	ck_assert_int_eq(spy.own_said, -EAGAIN);
	ck_assert_int_eq(spy.other_said, 0);
	ck_assert_int_eq(peek(b.replica, 1), 0);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(state_that_is_merged_leaves_all_to_the_lock)
{
	struct spy spy = { .own = 1, .other = 9 };
	struct node a, b;

	node_open(&a, 1);
	node_open(&b, 2);
	node_insert(&a, 1, "{\"x\":0}");
	node_insert(&a, 2, "{\"x\":0}");
	node_insert(&b, 9, "{\"x\":0}");
	spy_set(&spy, &b, true);
	nodes_catch_up(&b, &a);
	ck_assert_uint_eq(spy.told, 2);
	ck_assert_int_eq(spy.own_said, -EAGAIN);
	ck_assert_int_eq(spy.other_said, -EAGAIN);
	ck_assert_int_eq(spy.count_said, -EAGAIN);
	ck_assert_int_eq(peek(b.replica, 1), 0);
	ck_assert_int_eq(peek(b.replica, 9), 0);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(transaction_of_several_records_leaves_all_to_the_lock)
{
	struct spy spy = { .own = 2, .other = 9 };
	struct node node;
	struct txn txn;

	node_open(&node, 1);
	for (unsigned i = 1; i < 10; i++)
		node_insert(&node, i, "{\"x\":0}");
	spy_set(&spy, &node, true);
	txn = txn_begin(&node);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":1}"), 0);
	ck_assert_int_eq(txn_update(&txn, 2, "{\"x\":1}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	ck_assert_uint_eq(spy.told, 2);
	ck_assert_int_eq(spy.own_said, -EAGAIN);
	ck_assert_int_eq(spy.other_said, -EAGAIN);
	ck_assert_int_eq(spy.count_said, -EAGAIN);
	for (unsigned i = 1; i < 10; i++)
		ck_assert_int_eq(peek(node.replica, i), 0);
	node_close(&node);
}
END_TEST

static bool txn_peek(struct txn *txn, unsigned number)
{
	struct blaze_id id = id_of(number);

	return blazei_writeset_peek(txn->node->replica, txn->writeset, &id);
}

START_TEST(transaction_peeks_at_what_is_alive_and_short)
{
	static uint8_t value[5000] = { 1 };
	struct blaze_id id = id_of(4);
	struct blazei_txn_view view;
	struct node node;
	struct txn txn;

	node_open(&node, 1);
	node_insert(&node, 1, "{\"x\":1}");
	node_insert(&node, 2, "{\"x\":1}");
	ck_assert_int_eq(node_delete(&node, 2), 0);
	ck_assert_int_eq(node_put(&node, &id, value, sizeof(value), &view), 0);
	txn = txn_begin(&node);
	ck_assert(txn_peek(&txn, 1));
	for (unsigned i = 2; i <= 4; i++)
		ck_assert(!txn_peek(&txn, i));
	txn_expect(&txn, 2, NULL);
	ck_assert(txn_peek(&txn, 2));
	txn_abort(&txn);
	/* Not while it changes. */
	blazei_table_shut(&node.replica->table);
	txn = txn_begin(&node);
	ck_assert(!txn_peek(&txn, 1));
	blazei_table_open(&node.replica->table);
	ck_assert(txn_peek(&txn, 1));
	txn_abort(&txn);
	node_close(&node);
}
END_TEST

/* Fields of an earlier life are none of what a transaction sees, nor is what comes after. */
START_TEST(transaction_sees_what_a_reader_saw_when_it_peeked)
{
	struct node a, b;
	struct txn txn;

	node_open(&a, 1);
	node_open(&b, 2);
	node_insert(&a, 1, "{\"u\":1,\"x\":2,\"y\":3}");
	ck_assert_int_eq(node_delete(&a, 1), 0);
	node_insert(&a, 1, "{\"x\":4,\"z\":5}");
	txn = txn_begin(&a);
	ck_assert(txn_peek(&txn, 1));
	ck_assert_int_eq(node_update(&a, 1, "{\"x\":9}"), 0);
	txn_expect(&txn, 1, "{\"x\":4,\"z\":5}");
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":4,\"y\":6,\"z\":7}"), 0);
	txn_expect(&txn, 1, "{\"x\":4,\"y\":6,\"z\":7}");
	ck_assert_int_eq(txn_commit(&txn), 0);
	node_expect(&a, 1, "{\"x\":9,\"y\":6,\"z\":7}");
	/* The life after this one is above both. */
	txn = txn_begin(&a);
	ck_assert(txn_peek(&txn, 1));
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	ck_assert_int_eq(txn_upsert(&txn, 1, "{\"w\":8}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	node_expect(&a, 1, "{\"w\":8}");
	node_give_all(&a, &b);
	node_expect(&b, 1, "{\"w\":8}");
	node_close(&a);
	node_close(&b);
}
END_TEST

/* How often the table's version and that of record 1 have changed. */
struct versions {
	uint64_t table;
	uint64_t stripe;
};

static struct versions versions_of(const struct node *node)
{
	const struct blazei_table *table = &node->replica->table;
	struct blaze_id id = id_of(1);
	unsigned stripe = blazei_table_stripe(blazei_table_hash(table, &id));

	return (struct versions){ atomic_load(&table->version),
		                  atomic_load(&table->stripes[stripe]) };
}

/* The versions passed through odd since, or not, and are even. */
static void expect_changed(const struct node *node, struct versions *since, bool table, bool stripe)
{
	struct versions now = versions_of(node);

	ck_assert_uint_eq(now.table % 2, 0);
	ck_assert_uint_eq(now.stripe % 2, 0);
	ck_assert_int_eq(now.table > since->table, table);
	ck_assert_int_eq(now.stripe > since->stripe, stripe);
	*since = now;
}

START_TEST(version_changes_with_what_it_stands_for)
{
	struct blaze_id id = id_of(1);
	struct blazei_txn_view txn;
	uint8_t value[500] = { 1 };
	struct versions versions;
	struct node node;

	node_open(&node, 1);
	versions = versions_of(&node);
	ck_assert_int_eq(node_put(&node, &id, value, 100, &txn), 0);
	expect_changed(&node, &versions, false, true);
	ck_assert_int_eq(node_put(&node, &id, value, 100, &txn), 0);
	expect_changed(&node, &versions, false, true);
	/* It moves. */
	ck_assert_int_eq(node_put(&node, &id, value, 500, &txn), 0);
	expect_changed(&node, &versions, true, true);
	ck_assert_int_eq(node_write(&node, BLAZEI_WRITE_UPSERT, 1, "{\"a\":1,\"b\":1}", NULL), 0);
	expect_changed(&node, &versions, false, true);
	ck_assert_int_eq(node_write(&node, BLAZEI_WRITE_UPSERT, 1, "{\"a\":2,\"b\":2}", NULL), 0);
	expect_changed(&node, &versions, false, true);
	/* All stamps of the own name go over to another index. */
	node.origin.incarnation++;
	ck_assert_int_eq(blazei_replica_renew(node.replica, node.now_ns, &node.origin), 0);
	expect_changed(&node, &versions, true, false);
	/* Others are added, until the index is outgrown. */
	node_insert(&node, 2, "{\"x\":0}");
	expect_changed(&node, &versions, false, false);
	for (unsigned i = 3; i < 769; i++)
		node_insert(&node, i, "{\"x\":0}");
	versions = versions_of(&node);
	node_insert(&node, 769, "{\"x\":0}");
	ck_assert_uint_gt(versions_of(&node).table, versions.table);
	node_close(&node);
}
END_TEST

/* The fields of a life that is over go, and with them what the row took. */
START_TEST(collection_is_a_change_of_that_record)
{
	struct versions versions;
	struct node node;

	node_open(&node, 1);
	node_insert(&node, 1, "{\"x\":1,\"y\":1}");
	node_insert(&node, 2, "{\"x\":1}");
	ck_assert_int_eq(node_delete(&node, 1), 0);
	ck_assert_int_eq(node_insert(&node, 1, "{\"x\":2}"), 0);
	frontier_make(&node);
	versions = versions_of(&node);
	ck_assert_int_eq(blazei_replica_collect(node.replica, 100), 2);
	/* It moves, too. */
	expect_changed(&node, &versions, true, true);
	ck_assert_int_eq(peek(node.replica, 1), 0);
	/* There is no more of it. */
	ck_assert_int_eq(blazei_replica_collect(node.replica, 100), 0);
	expect_changed(&node, &versions, false, false);
	node_close(&node);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("peek");
	TCase *peeks = tcase_create("peeks");

	tcase_add_test(peeks, peek_reads_what_get_and_fetch_read);
	tcase_add_test(peeks, row_beyond_the_chunks_is_left_to_the_lock);
	tcase_add_test(peeks, row_that_changes_is_left_to_the_lock_and_no_other);
	tcase_add_test(peeks, transaction_of_several_records_leaves_all_to_the_lock);
	tcase_add_test(peeks, transaction_peeks_at_what_is_alive_and_short);
	tcase_add_test(peeks, transaction_sees_what_a_reader_saw_when_it_peeked);
	tcase_add_test(peeks, state_that_is_merged_leaves_all_to_the_lock);
	tcase_add_test(peeks, collection_is_a_change_of_that_record);
	tcase_add_test(peeks, version_changes_with_what_it_stands_for);
	suite_add_tcase(suite, peeks);
	return suite_run(suite);
}
