/* SPDX-License-Identifier: Apache-2.0 */
/* The library as an engine of the store's benchmark: records of bytes, in a directory or in memory
 * alone. */
#include "perf/perf_store.h"

#include <errno.h>
#include <string.h>

static int self_open(const char *dir, enum perf_keep keep, void **ret_handle)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_db *db;
	int error;

	options.durability = keep == PERF_KEEP_SYNC    ? BLAZE_DURABILITY_SYNC
	                     : keep == PERF_KEEP_LATER ? BLAZE_DURABILITY_ASYNC
	                                               : BLAZE_DURABILITY_DEFAULT;
	error = blaze_db_open("perf-store", keep == PERF_KEEP_MEMORY ? NULL : dir, &options, &db);
	if (error == 0)
		*ret_handle = db;
	return error;
}

static int self_put(struct blaze_db *db, struct blaze_txn *txn, uint64_t number)
{
	uint64_t words[PERF_VALUE_WORDS];
	struct blaze_id id;

	perf_key_make(number, id.bytes);
	perf_value_make(number, words);
	return txn != NULL ? blaze_txn_put(txn, &id, words, sizeof(words))
	                   : blaze_db_put(db, &id, words, sizeof(words));
}

static int self_commit(void *handle, uint64_t first, uint32_t count)
{
	struct blaze_txn *txn = NULL;
	int error;

	if (count == 1)
		return self_put(handle, NULL, first);
	error = blaze_txn_begin(handle, &txn);
	for (uint32_t i = 0; i < count && error == 0; i++)
		error = self_put(handle, txn, first + i);
	if (txn != NULL && error == 0)
		return blaze_txn_commit(txn);
	blaze_txn_abort(txn);
	return error;
}

static int self_look(void *handle, uint64_t number, uint64_t ret_words[PERF_VALUE_WORDS])
{
	struct blaze_id id;
	int64_t n;

	perf_key_make(number, id.bytes);
	n = blaze_db_fetch(handle, &id, ret_words, PERF_VALUE_BYTES);
	return n == PERF_VALUE_BYTES ? 0 : -ENOENT;
}

static int self_close(void *handle)
{
	return blaze_db_close(handle);
}

const struct perf_engine perf_engine_self = {
	.name = "blazeshm",
	.keeps = { "sync", "async" },
	.open = self_open,
	.commit = self_commit,
	.look = self_look,
	.close = self_close,
};
