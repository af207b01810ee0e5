/* SPDX-License-Identifier: Apache-2.0 */
/* Records of very many fields: they come to the same as small ones do, and the time that they take
 * under the lock grows with their size, not with its square. */
#include <time.h>

#include "lib/op/record.h"
#include "tests/repl/session_pair.h"
#include "tests/repl/writeset_help.h"

#define FIELDS 1000u /* per write */
#define RUNS   3u
#define TOO_STEEP                                                                                  \
	20u /* eight times the fields take less than so many times as long: 64 are square */

static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Fields number first to first + count - 1, set or to be removed. Their names have another order
 * than their numbers. */
static struct blaze_record *wide_record(unsigned first, unsigned count, bool unset)
{
	struct blaze_record *record;
	char name[16];

	ck_assert_int_eq(blaze_record_new(&record), 0);
	for (unsigned i = first; i < first + count; i++) {
		snprintf(name, sizeof(name), "%05u", i * 7919 % 65521);
		if (unset)
			ck_assert_int_eq(blaze_record_unset(record, name), 0);
		else
			ck_assert_int_eq(blaze_record_set_int(record, name, i), 0);
	}
	return record;
}

/* Writes them to record 1. */
static int wide_write(struct node *node, enum blazei_write_kind kind, unsigned first, bool unset)
{
	const struct blaze_id id = id_of(1);
	struct blaze_record *record = wide_record(first, FIELDS, unset);
	struct blazei_txn_view txn;
	int rc;

	rc = blazei_replica_write(
	        node->replica, ++node->now_ns,
	        &(struct blazei_write){ .kind = kind, .id = &id, .record = record }, &txn);
	if (rc == 0)
		ck_assert(node_keep(node, txn.data, txn.len));
	blaze_record_free(record);
	return rc;
}

/* A record that had `times` times FIELDS fields, of which the last are left: the others' removal is
 * kept. */
static void wide_make(struct node *node, unsigned times)
{
	ck_assert_int_eq(wide_write(node, BLAZEI_WRITE_UPSERT, 0, false), 0);
	for (unsigned i = 1; i < times; i++) {
		ck_assert_int_eq(wide_write(node, BLAZEI_WRITE_UPDATE, (i - 1) * FIELDS, true), 0);
		ck_assert_int_eq(wide_write(node, BLAZEI_WRITE_UPDATE, i * FIELDS, false), 0);
	}
}

/* Takes the state of one node over into a new one: the least time of some runs. */
static uint64_t state_ns(struct node *from, unsigned rank)
{
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < RUNS; i++) {
		struct node to;
		uint64_t began;
		uint64_t took;

		node_open(&to, rank);
		began = cpu_ns();
		nodes_catch_up(&to, from);
		took = cpu_ns() - began;
		least = took < least ? took : least;
		nodes_expect_equal(from, &to);
		node_close(&to);
	}
	return least;
}

START_TEST(state_of_a_wide_record_takes_time_in_proportion)
{
	struct node narrow;
	struct node wide;
	uint64_t narrow_ns;
	uint64_t wide_ns;

	node_open(&narrow, 1);
	node_open(&wide, 2);
	wide_make(&narrow, 4);
	wide_make(&wide, 32);
	narrow_ns = state_ns(&narrow, 3);
	wide_ns = state_ns(&wide, 3);
	ck_assert_msg(wide_ns < TOO_STEEP * narrow_ns, "%llu ns, %llu ns",
	              (unsigned long long)narrow_ns, (unsigned long long)wide_ns);
	node_close(&narrow);
	node_close(&wide);
}
END_TEST

START_TEST(transactions_of_a_wide_record_come_to_the_same)
{
	struct node nodes[3];

	for (unsigned i = 0; i < 3; i++)
		node_open(&nodes[i], i + 1);
	wide_make(&nodes[0], 8);
	wide_make(&nodes[1], 6);
	nodes_settle(nodes, 3);
	/* Beyond 1,024 fields it may change, but not grow. */
	ck_assert_int_eq(wide_write(&nodes[2], BLAZEI_WRITE_UPDATE, 500, false), -E2BIG);
	ck_assert_int_eq(wide_write(&nodes[2], BLAZEI_WRITE_UPDATE, 7 * FIELDS, true), 0);
	nodes_settle(nodes, 3);
	nodes_expect_equal(&nodes[0], &nodes[1]);
	nodes_expect_equal(&nodes[0], &nodes[2]);
	for (unsigned i = 0; i < 3; i++)
		node_close(&nodes[i]);
}
END_TEST

/* The same in a transaction, without an end to it. */
static int wide_stage(struct txn *txn, enum blazei_write_kind kind, unsigned first, unsigned count,
                      bool unset)
{
	const struct blaze_id id = id_of(1);
	struct blaze_record *record = wide_record(first, count, unset);
	int rc = blazei_writeset_write(
	        txn->node->replica, txn->writeset,
	        &(struct blazei_write){ .kind = kind, .id = &id, .record = record });

	blaze_record_free(record);
	return rc;
}

/* Applies one transaction that writes four times so many fields of a new record. */
static uint64_t txn_ns(unsigned count)
{
	uint64_t least = UINT64_MAX;

	for (unsigned run = 0; run < RUNS; run++) {
		struct node from;
		struct node to;
		struct txn txn;
		uint64_t took;

		node_open(&from, 1);
		node_open(&to, 2);
		txn = txn_begin(&from);
		for (unsigned i = 0; i < 4; i++) {
			ck_assert_int_eq(
			        wide_stage(&txn, BLAZEI_WRITE_UPSERT, i * count, count, false), 0);
			if (i < 3)
				ck_assert_int_eq(wide_stage(&txn, BLAZEI_WRITE_UPDATE, i * count,
				                            count, true),
				                 0);
		}
		ck_assert_int_eq(txn_commit(&txn), 0);
		took = cpu_ns();
		ck_assert_int_eq(node_give(&from, &to, 1), 1);
		took = cpu_ns() - took;
		least = took < least ? took : least;
		nodes_expect_equal(&from, &to);
		node_close(&from);
		node_close(&to);
	}
	return least;
}

START_TEST(transaction_of_a_wide_record_takes_time_in_proportion)
{
	uint64_t narrow_ns = txn_ns(125);
	uint64_t wide_ns = txn_ns(1000);

	ck_assert_msg(wide_ns < TOO_STEEP * narrow_ns, "%llu ns, %llu ns",
	              (unsigned long long)narrow_ns, (unsigned long long)wide_ns);
}
END_TEST

/* Both lives of a record count, and so does what was taken back. */
START_TEST(fields_of_one_record_in_a_transaction_are_bounded)
{
	struct node node;
	struct txn txn;

	node_open(&node, 1);
	ck_assert_int_eq(wide_write(&node, BLAZEI_WRITE_INSERT, 0, false), 0);
	txn = txn_begin(&node);
	ck_assert_int_eq(wide_stage(&txn, BLAZEI_WRITE_UPDATE, 0, FIELDS, true), 0);
	ck_assert_int_eq(wide_stage(&txn, BLAZEI_WRITE_UPSERT, FIELDS, FIELDS, false), 0);
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	ck_assert_int_eq(wide_stage(&txn, BLAZEI_WRITE_INSERT, 0, 1024, false), 0);
	ck_assert_int_eq(wide_stage(&txn, BLAZEI_WRITE_UPDATE, 0, 1024, true), 0);
	ck_assert_int_eq(wide_stage(&txn, BLAZEI_WRITE_UPSERT, 2000, 1000, false), 0);
	ck_assert_int_eq(wide_stage(&txn, BLAZEI_WRITE_UPDATE, 2000, 1000, true), 0);
	/* 2,000 in the first life, 2,024 in the second, which all were forced; 72 are left. */
	ck_assert_int_eq(wide_stage(&txn, BLAZEI_WRITE_UPSERT, 3000, 73, false), -E2BIG);
	ck_assert_int_eq(wide_stage(&txn, BLAZEI_WRITE_UPSERT, 3000, 72, false), 0);
	ck_assert_int_eq(wide_stage(&txn, BLAZEI_WRITE_UPSERT, 4000, 1, false), -E2BIG);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":1}"), -E2BIG);
	ck_assert_int_eq(txn_insert(&txn, 2, "{\"x\":1}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	node_expect(&node, 2, "{\"x\":1}");
	node_close(&node);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("wide");
	TCase *tcase = tcase_create("wide");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, state_of_a_wide_record_takes_time_in_proportion);
	tcase_add_test(tcase, transactions_of_a_wide_record_come_to_the_same);
	tcase_add_test(tcase, transaction_of_a_wide_record_takes_time_in_proportion);
	tcase_add_test(tcase, fields_of_one_record_in_a_transaction_are_bounded);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
