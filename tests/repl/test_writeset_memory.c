/* SPDX-License-Identifier: Apache-2.0 */
/* A transaction of which each allocation fails in turn: what failed may be called again, reads too,
 * and the transaction holds what was staged. malloc and its kin are wrapped by the linker. */
#include "tests/repl/starve.h"
#include "tests/repl/writeset_help.h"

#define RECORDS 150u /* more than the index of a transaction holds at first */

static struct node a;
static struct txn txn;

static void set_up(void)
{
	char json[64];

	node_open(&a, 1);
	for (unsigned i = 0; i < RECORDS; i++) {
		snprintf(json, sizeof(json), "{\"x\":%u,\"y\":1}", i);
		node_insert(&a, i, json);
	}
	txn = txn_begin(&a);
}

static void tear_down(void)
{
	node_close(&a);
}

static struct blaze_record *update_of(unsigned i)
{
	struct blaze_record *record;
	char json[400];

	snprintf(json, sizeof(json), "{\"w\":\"%0*u\",\"y\":%u}", (int)(i % 40 * 8 + 1), i, i);
	ck_assert_int_eq(blaze_record_from_json(json, strlen(json), &record), 0);
	return record;
}

static void write_and_read(unsigned i, bool deletes)
{
	const struct blaze_id id = id_of(i);
	struct blaze_record *patch = update_of(i);
	struct blazei_write write = {
		.kind = deletes ? BLAZEI_WRITE_DELETE : BLAZEI_WRITE_UPDATE,
		.id = &id,
		.record = deletes ? NULL : patch,
	};
	struct blaze_record *record = NULL;
	int64_t z;
	int rc;

	armed = true;
	blazei_writeset_peek(a.replica, txn.writeset, &id);
	armed = false;
	ONCE_MORE(rc, blazei_writeset_write(a.replica, txn.writeset, &write));
	ck_assert_int_eq(rc, 0);
	ONCE_MORE(rc, blazei_writeset_get(a.replica, txn.writeset, &id, &record));
	ck_assert_int_eq(rc, deletes ? -ENOENT : 0);
	if (!deletes) {
		ck_assert_int_eq(blaze_record_get_int(record, "x", &z), 0);
		ck_assert_int_eq(z, i);
		ck_assert_int_eq(blaze_record_get_int(record, "y", &z), 0);
		ck_assert_int_eq(z, i);
	}
	blaze_record_free(record);
	blaze_record_free(patch);
}

/* Writes all of its many fields again. */
static void write_wide(unsigned i, unsigned value)
{
	const struct blaze_id id = id_of(i);
	struct blaze_record *record;
	struct blazei_write write = { .kind = BLAZEI_WRITE_UPSERT, .id = &id };
	char name[16];
	int rc;

	ck_assert_int_eq(blaze_record_new(&record), 0);
	for (unsigned k = 0; k < 300; k++) {
		snprintf(name, sizeof(name), "f%u", k);
		ck_assert_int_eq(blaze_record_set_int(record, name, k + value), 0);
	}
	write.record = record;
	ONCE_MORE(rc, blazei_writeset_write(a.replica, txn.writeset, &write));
	ck_assert_int_eq(rc, 0);
	blaze_record_free(record);
}

START_TEST(a_transaction_without_memory_goes_on)
{
	unsigned at = 0;

	do {
		struct blazei_txn_view view;
		int rc;

		set_up();
		starve(at++);
		armed = false;
		for (unsigned i = 0; i < RECORDS; i++)
			write_and_read(i, i % 3 == 2);
		for (unsigned i = 0; i < 3; i++)
			write_wide(i % 2, i);
		ONCE_MORE(rc, blazei_replica_commit(a.replica, a.now_ns, txn.writeset, &view));
		ck_assert_int_eq(rc, 0);
		ck_assert(node_keep(&a, view.data, view.len));
		/* Emptied, it holds as much again. */
		armed = true;
		blazei_writeset_clear(txn.writeset);
		armed = false;
		for (unsigned i = 0; i < RECORDS; i++)
			if (i % 3 != 2)
				write_and_read(i, true);
		ONCE_MORE(rc, blazei_replica_commit(a.replica, a.now_ns, txn.writeset, &view));
		ck_assert_int_eq(rc, 0);
		ck_assert_uint_eq(blazei_replica_count(a.replica), 0);
		txn_abort(&txn);
		tear_down();
	} while (starve_end());
	ck_assert_uint_ge(at, 20);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("writeset_memory");
	TCase *tcase = tcase_create("writeset_memory");

	tcase_set_timeout(tcase, 300);
	tcase_add_test(tcase, a_transaction_without_memory_goes_on);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
