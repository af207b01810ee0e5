/* SPDX-License-Identifier: Apache-2.0 */
/* Records that merging took beyond the limits of a write: they are read like any other, everywhere,
 * written out, and may shrink but not grow. */
#include "lib/op/record.h"
#include "tests/repl/writeset_help.h"

#define LARGE_BYTES 800000u

/* Inserts record 1 with one field of `len` bytes of text. */
static int large_insert(struct node *node, const char *field, size_t len)
{
	const struct blaze_id id = id_of(1);
	struct blaze_record *record;
	struct blazei_txn_view txn;
	char *text = malloc(len + 1);
	int rc;

	memset(text, 'x', len);
	text[len] = '\0';
	ck_assert_int_eq(blaze_record_new(&record), 0);
	ck_assert_int_eq(blaze_record_set_string(record, field, text), 0);
	rc = blazei_replica_write(
	        node->replica, node->now_ns,
	        &(struct blazei_write){ .kind = BLAZEI_WRITE_INSERT, .id = &id, .record = record },
	        &txn);
	if (rc == 0)
		ck_assert(node_keep(node, txn.data, txn.len));
	blaze_record_free(record);
	free(text);
	return rc;
}

/* Inserts record 1 with 1,000 small fields. */
static void wide_insert(struct node *node, unsigned first)
{
	const struct blaze_id id = id_of(1);
	struct blaze_record *record;
	struct blazei_txn_view txn;
	char name[16];

	ck_assert_int_eq(blaze_record_new(&record), 0);
	for (unsigned i = first; i < first + 1000; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		ck_assert_int_eq(blaze_record_set_int(record, name, i), 0);
	}
	ck_assert_int_eq(blazei_replica_write(node->replica, node->now_ns,
	                                      &(struct blazei_write){ .kind = BLAZEI_WRITE_INSERT,
	                                                              .id = &id,
	                                                              .record = record },
	                                      &txn),
	                 0);
	ck_assert(node_keep(node, txn.data, txn.len));
	blaze_record_free(record);
}

/* Reads record 1 whole: its fields, and its JSON. */
static struct blaze_record *record_read(const struct node *node, unsigned fields, size_t bytes)
{
	const struct blaze_id id = id_of(1);
	struct blaze_record *record;
	char *json;

	ck_assert_int_eq(blazei_replica_get(node->replica, &id, &record), 0);
	ck_assert_uint_eq(blaze_record_field_count(record), fields);
	ck_assert_int_eq(blaze_record_to_json(record, &json), 0);
	ck_assert_uint_gt(strlen(json), bytes);
	free(json);
	return record;
}

static int update(struct node *node, const char *json, const char *unset)
{
	int rc = node_write(node, BLAZEI_WRITE_UPDATE, 1, json, unset);

	ck_assert_int_ne(rc, 1);
	return rc;
}

/* A field more and as many bytes less in another, of a record that is too long. */
static struct blaze_record *exchange_new(size_t len)
{
	struct blaze_record *record;
	char *text = malloc(len + 1);

	memset(text, 'y', len);
	text[len] = '\0';
	ck_assert_int_eq(blaze_record_new(&record), 0);
	ck_assert_int_eq(blaze_record_set_string(record, "a", text), 0);
	ck_assert_int_eq(blaze_record_set_int(record, "c", 1), 0);
	free(text);
	return record;
}

START_TEST(record_merged_beyond_the_bytes_may_stay_as_long)
{
	const struct blaze_id id = id_of(1);

	for (unsigned longer = 0; longer < 2; longer++) {
		/* Name and value of c take two bytes. */
		struct blaze_record *record = exchange_new(LARGE_BYTES - 2 + longer);
		const struct blazei_write write = {
			.kind = BLAZEI_WRITE_UPDATE,
			.id = &id,
			.record = record,
		};
		struct blazei_txn_view view;
		struct node nodes[2];
		struct txn txn;

		for (unsigned i = 0; i < 2; i++)
			node_open(&nodes[i], i + 1);
		ck_assert_int_eq(large_insert(&nodes[0], "a", LARGE_BYTES), 0);
		ck_assert_int_eq(large_insert(&nodes[1], "b", LARGE_BYTES), 0);
		nodes_settle(nodes, 2);
		txn = txn_begin(&nodes[0]);
		ck_assert_int_eq(blazei_writeset_write(nodes[0].replica, txn.writeset, &write),
		                 longer ? -E2BIG : 0);
		txn_abort(&txn);
		ck_assert_int_eq(
		        blazei_replica_write(nodes[0].replica, nodes[0].now_ns, &write, &view),
		        longer ? -E2BIG : 0);
		blaze_record_free(record);
		for (unsigned i = 0; i < 2; i++)
			node_close(&nodes[i]);
	}
}
END_TEST

START_TEST(record_merged_beyond_the_bytes_is_read_and_may_shrink)
{
	struct node nodes[2];
	struct blaze_record *record;

	for (unsigned i = 0; i < 2; i++)
		node_open(&nodes[i], i + 1);
	ck_assert_int_eq(large_insert(&nodes[0], "a", LARGE_BYTES), 0);
	ck_assert_int_eq(large_insert(&nodes[1], "b", LARGE_BYTES), 0);
	nodes_settle(nodes, 2);
	nodes_expect_equal(&nodes[0], &nodes[1]);
	for (unsigned i = 0; i < 2; i++) {
		record = record_read(&nodes[i], 2, 2 * LARGE_BYTES);
		/* Programs don't make it larger still, but smaller. */
		ck_assert_int_eq(blaze_record_set_int(record, "c", 1), -E2BIG);
		ck_assert_int_eq(blaze_record_set_int(record, "a", 1), 0);
		ck_assert_int_eq(blaze_record_set_int(record, "c", 1), 0);
		blaze_record_free(record);
	}
	ck_assert_int_eq(update(&nodes[0], "{\"c\":1}", NULL), -E2BIG);
	ck_assert_int_eq(update(&nodes[0], "{\"a\":1}", NULL), 0);
	ck_assert_int_eq(update(&nodes[0], "{\"c\":1}", NULL), 0);
	nodes_settle(nodes, 2);
	nodes_expect_equal(&nodes[0], &nodes[1]);
	for (unsigned i = 0; i < 2; i++) {
		record = record_read(&nodes[i], 3, LARGE_BYTES);
		blaze_record_free(record);
		node_close(&nodes[i]);
	}
}
END_TEST

START_TEST(record_merged_beyond_the_fields_is_read_and_may_shrink)
{
	struct node nodes[3];
	struct txn txn;

	for (unsigned i = 0; i < 3; i++)
		node_open(&nodes[i], i + 1);
	wide_insert(&nodes[0], 0);
	wide_insert(&nodes[1], 500);
	wide_insert(&nodes[2], 2000);
	nodes_settle(nodes, 3);
	for (unsigned i = 0; i < 3; i++)
		blaze_record_free(record_read(&nodes[i], 2500, 2500));
	ck_assert_int_eq(update(&nodes[2], "{\"new\":1}", NULL), -E2BIG);
	/* A value may grow where there are no more fields, also in a transaction. */
	ck_assert_int_eq(update(&nodes[2], "{\"f7\":70000}", NULL), 0);
	txn = txn_begin(&nodes[2]);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"new\":1}"), -E2BIG);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"f7\":\"longer still\"}"), 0);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"f7\":1,\"new\":1}"), -E2BIG);
	ck_assert_int_eq(txn_commit(&txn), 0);
	ck_assert_int_eq(update(&nodes[2], "{\"f7\":1,\"new\":1}", NULL), -E2BIG);
	ck_assert_int_eq(update(&nodes[2], "{\"f7\":-7}", "f8"), 0);
	nodes_settle(nodes, 3);
	for (unsigned i = 0; i < 3; i++) {
		nodes_expect_equal(&nodes[0], &nodes[i]);
		blaze_record_free(record_read(&nodes[i], 2499, 2499));
	}
	for (unsigned i = 0; i < 3; i++)
		node_close(&nodes[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("oversize");
	TCase *tcase = tcase_create("oversize");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, record_merged_beyond_the_bytes_is_read_and_may_shrink);
	tcase_add_test(tcase, record_merged_beyond_the_bytes_may_stay_as_long);
	tcase_add_test(tcase, record_merged_beyond_the_fields_is_read_and_may_shrink);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
