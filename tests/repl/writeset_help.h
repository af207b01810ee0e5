/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of transactions share: staging JSON records, reading them, and committing into the
 * node's log. */
#ifndef TESTS_REPL_WRITESET_HELP_H
#define TESTS_REPL_WRITESET_HELP_H

#include "lib/repl/writeset.h"
#include "tests/repl/harness.h"

/* A transaction of one node. */
struct txn {
	struct node *node;
	struct blazei_writeset *writeset;
};

static inline struct txn txn_begin(struct node *node)
{
	struct txn txn = { .node = node };

	ck_assert_int_eq(blazei_writeset_new(&txn.writeset), 0);
	return txn;
}

/* As node_write, staged. */
static inline int txn_write(struct txn *txn, enum blazei_write_kind kind, unsigned number,
                            const char *json, const char *unset)
{
	struct blaze_id id = id_of(number);
	struct blazei_write write = { .kind = kind, .id = &id };
	struct blaze_record *record = NULL;
	int rc;

	if (json)
		ck_assert_int_eq(blaze_record_from_json(json, strlen(json), &record), 0);
	if (unset)
		ck_assert_int_eq(blaze_record_unset(record, unset), 0);
	write.record = record;
	rc = blazei_writeset_write(txn->node->replica, txn->writeset, &write);
	blaze_record_free(record);
	return rc;
}

static inline int txn_insert(struct txn *txn, unsigned number, const char *json)
{
	return txn_write(txn, BLAZEI_WRITE_INSERT, number, json, NULL);
}

static inline int txn_update(struct txn *txn, unsigned number, const char *json)
{
	return txn_write(txn, BLAZEI_WRITE_UPDATE, number, json, NULL);
}

static inline int txn_upsert(struct txn *txn, unsigned number, const char *json)
{
	return txn_write(txn, BLAZEI_WRITE_UPSERT, number, json, NULL);
}

static inline int txn_delete(struct txn *txn, unsigned number)
{
	return txn_write(txn, BLAZEI_WRITE_DELETE, number, NULL, NULL);
}

static inline int txn_put(struct txn *txn, unsigned number, const void *value, size_t len)
{
	struct blaze_id id = id_of(number);
	const struct blazei_write write = {
		.kind = BLAZEI_WRITE_PUT,
		.id = &id,
		.value = value,
		.len = len,
	};

	return blazei_writeset_write(txn->node->replica, txn->writeset, &write);
}

/* The record as the transaction reads it, to be freed; NULL where it is not there. */
static inline char *txn_read(struct txn *txn, unsigned number)
{
	struct blaze_id id = id_of(number);
	struct blaze_record *record;
	char *text;
	int rc = blazei_writeset_get(txn->node->replica, txn->writeset, &id, &record);

	if (rc == -ENOENT)
		return NULL;
	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(blaze_record_to_json(record, &text), 0);
	blaze_record_free(record);
	return text;
}

static inline void txn_expect(struct txn *txn, unsigned number, const char *json)
{
	char *text = txn_read(txn, number);

	ck_assert_pstr_eq(text, json);
	free(text);
}

/* Commits and ends it. Returns the call's result, 1 where there was nothing to write. */
static inline int txn_commit(struct txn *txn)
{
	struct blazei_txn_view view;
	int rc;

	txn->node->now_ns += 1000000;
	rc = blazei_replica_commit(txn->node->replica, txn->node->now_ns, txn->writeset, &view);
	blazei_writeset_free(txn->writeset);
	if (rc == 0 && !node_keep(txn->node, view.data, view.len))
		return 1;
	return rc;
}

static inline void txn_abort(struct txn *txn)
{
	blazei_writeset_free(txn->writeset);
}

#endif
