/* SPDX-License-Identifier: Apache-2.0 */
/* Other engines at the same work, each where its library was there at configure time.
 *
 * SQLite and LMDB have one writer at a time: SQLite's connection is used under a lock, LMDB waits
 * for its own. RocksDB groups commits, as the library does. */
#include "perf/perf_store.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_SQLITE
#include <sqlite3.h>

struct sqlite {
	pthread_mutex_t lock;
	sqlite3 *db;
	sqlite3_stmt *begin, *commit, *put, *get;
};

static int sqlite_close(void *handle)
{
	struct sqlite *s = handle;
	int error;

	sqlite3_finalize(s->begin);
	sqlite3_finalize(s->commit);
	sqlite3_finalize(s->put);
	sqlite3_finalize(s->get);
	error = sqlite3_close(s->db) == SQLITE_OK ? 0 : -EIO;
	pthread_mutex_destroy(&s->lock);
	free(s);
	return error;
}

static int sqlite_open(const char *dir, enum perf_keep keep, void **ret_handle)
{
	const char *keeping =
	        keep == PERF_KEEP_SYNC ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL";
	struct sqlite *s = calloc(1, sizeof(*s));
	char path[4096];

	if (s == NULL)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	snprintf(path, sizeof(path), "%s/data", dir);
	if (sqlite3_open(path, &s->db) == SQLITE_OK &&
	    sqlite3_exec(s->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL) == SQLITE_OK &&
	    sqlite3_exec(s->db, keeping, NULL, NULL, NULL) == SQLITE_OK &&
	    sqlite3_exec(s->db,
	                 "CREATE TABLE IF NOT EXISTS t(k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID",
	                 NULL, NULL, NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(s->db, "BEGIN IMMEDIATE", -1, &s->begin, NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(s->db, "COMMIT", -1, &s->commit, NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(s->db, "INSERT OR REPLACE INTO t VALUES(?,?)", -1, &s->put, NULL) ==
	            SQLITE_OK &&
	    sqlite3_prepare_v2(s->db, "SELECT v FROM t WHERE k=?", -1, &s->get, NULL) ==
	            SQLITE_OK) {
		*ret_handle = s;
		return 0;
	}
	(void)sqlite_close(s);
	return -EIO;
}

static bool sqlite_step(sqlite3_stmt *statement, int wanted)
{
	bool fine = sqlite3_step(statement) == wanted;

	sqlite3_reset(statement);
	return fine;
}

static int sqlite_commit(void *handle, uint64_t first, uint32_t count)
{
	struct sqlite *s = handle;
	bool fine;

	pthread_mutex_lock(&s->lock);
	fine = sqlite_step(s->begin, SQLITE_DONE);
	for (uint32_t i = 0; i < count && fine; i++) {
		uint64_t words[PERF_VALUE_WORDS];
		uint8_t key[16];

		perf_key_make(first + i, key);
		perf_value_make(first + i, words);
		fine = sqlite3_bind_blob(s->put, 1, key, sizeof(key), SQLITE_STATIC) == SQLITE_OK &&
		       sqlite3_bind_blob(s->put, 2, words, sizeof(words), SQLITE_STATIC) ==
		               SQLITE_OK &&
		       sqlite_step(s->put, SQLITE_DONE);
	}
	fine = fine && sqlite_step(s->commit, SQLITE_DONE);
	pthread_mutex_unlock(&s->lock);
	return fine ? 0 : -EIO;
}

static int sqlite_look(void *handle, uint64_t number, uint64_t ret_words[PERF_VALUE_WORDS])
{
	struct sqlite *s = handle;
	uint8_t key[16];
	bool there;

	perf_key_make(number, key);
	sqlite3_bind_blob(s->get, 1, key, sizeof(key), SQLITE_STATIC);
	there = sqlite3_step(s->get) == SQLITE_ROW &&
	        sqlite3_column_bytes(s->get, 0) == (int)PERF_VALUE_BYTES;
	if (there)
		memcpy(ret_words, sqlite3_column_blob(s->get, 0), PERF_VALUE_BYTES);
	sqlite3_reset(s->get);
	return there ? 0 : -ENOENT;
}

static const struct perf_engine sqlite = {
	"SQLite",     { "WAL, FULL", "WAL, NORMAL" }, sqlite_open, sqlite_commit, sqlite_look,
	sqlite_close,
};
#endif

#ifdef HAVE_LMDB
#include <lmdb.h>

#define LMDB_MAP_BYTES ((size_t)16 << 30)

struct lmdb {
	MDB_env *env;
	MDB_dbi dbi;
};

static int lmdb_close(void *handle)
{
	struct lmdb *l = handle;

	mdb_env_close(l->env);
	free(l);
	return 0;
}

static int lmdb_open(const char *dir, enum perf_keep keep, void **ret_handle)
{
	struct lmdb *l = calloc(1, sizeof(*l));
	MDB_txn *txn = NULL;
	int rc = l != NULL ? mdb_env_create(&l->env) : ENOMEM;

	if (rc == 0)
		rc = mdb_env_set_mapsize(l->env, LMDB_MAP_BYTES);
	if (rc == 0)
		rc = mdb_env_open(l->env, dir, keep == PERF_KEEP_SYNC ? 0 : MDB_NOSYNC, 0600);
	if (rc == 0)
		rc = mdb_txn_begin(l->env, NULL, 0, &txn);
	if (rc == 0)
		rc = mdb_dbi_open(txn, NULL, MDB_CREATE, &l->dbi);
	if (rc == 0)
		rc = mdb_txn_commit(txn);
	if (rc == 0)
		*ret_handle = l;
	else if (l != NULL && l->env != NULL)
		(void)lmdb_close(l);
	else
		free(l);
	return rc == 0 ? 0 : -EIO;
}

static int lmdb_commit(void *handle, uint64_t first, uint32_t count)
{
	struct lmdb *l = handle;
	MDB_txn *txn;
	int rc = mdb_txn_begin(l->env, NULL, 0, &txn);

	if (rc != 0)
		return -EIO;
	for (uint32_t i = 0; i < count && rc == 0; i++) {
		uint64_t words[PERF_VALUE_WORDS];
		uint8_t bytes[16];
		MDB_val key = { sizeof(bytes), bytes }, value = { sizeof(words), words };

		perf_key_make(first + i, bytes);
		perf_value_make(first + i, words);
		rc = mdb_put(txn, l->dbi, &key, &value, 0);
	}
	if (rc == 0)
		rc = mdb_txn_commit(txn);
	else
		mdb_txn_abort(txn);
	return rc == 0 ? 0 : -EIO;
}

static int lmdb_look(void *handle, uint64_t number, uint64_t ret_words[PERF_VALUE_WORDS])
{
	struct lmdb *l = handle;
	uint8_t bytes[16];
	MDB_val key = { sizeof(bytes), bytes }, value;
	MDB_txn *txn;
	int rc;

	if (mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn) != 0)
		return -EIO;
	perf_key_make(number, bytes);
	rc = mdb_get(txn, l->dbi, &key, &value);
	if (rc == 0 && value.mv_size == PERF_VALUE_BYTES)
		memcpy(ret_words, value.mv_data, PERF_VALUE_BYTES);
	else
		rc = -1;
	mdb_txn_abort(txn);
	return rc == 0 ? 0 : -ENOENT;
}

static const struct perf_engine lmdb = {
	"LMDB", { "sync", "NOSYNC" }, lmdb_open, lmdb_commit, lmdb_look, lmdb_close,
};
#endif

#ifdef HAVE_ROCKSDB
#include <rocksdb/c.h>

struct rocks {
	rocksdb_t *db;
	rocksdb_options_t *options;
	rocksdb_writeoptions_t *write;
	rocksdb_readoptions_t *read;
};

static int rocks_close(void *handle)
{
	struct rocks *r = handle;

	if (r->db != NULL)
		rocksdb_close(r->db);
	rocksdb_options_destroy(r->options);
	rocksdb_writeoptions_destroy(r->write);
	rocksdb_readoptions_destroy(r->read);
	free(r);
	return 0;
}

/* Whether a call went well; frees what it said. */
static bool rocks_fine(char *said)
{
	rocksdb_free(said);
	return said == NULL;
}

static int rocks_open(const char *dir, enum perf_keep keep, void **ret_handle)
{
	struct rocks *r = calloc(1, sizeof(*r));
	char *said = NULL;

	if (r == NULL)
		return -ENOMEM;
	r->options = rocksdb_options_create();
	r->write = rocksdb_writeoptions_create();
	r->read = rocksdb_readoptions_create();
	rocksdb_options_set_create_if_missing(r->options, 1);
	rocksdb_options_set_compression(r->options, rocksdb_no_compression);
	rocksdb_writeoptions_set_sync(r->write, keep == PERF_KEEP_SYNC);
	r->db = rocksdb_open(r->options, dir, &said);
	if (rocks_fine(said)) {
		*ret_handle = r;
		return 0;
	}
	(void)rocks_close(r);
	return -EIO;
}

static int rocks_commit(void *handle, uint64_t first, uint32_t count)
{
	struct rocks *r = handle;
	rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
	char *said = NULL;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t words[PERF_VALUE_WORDS];
		uint8_t key[16];

		perf_key_make(first + i, key);
		perf_value_make(first + i, words);
		rocksdb_writebatch_put(batch, (const char *)key, sizeof(key), (const char *)words,
		                       sizeof(words));
	}
	rocksdb_write(r->db, r->write, batch, &said);
	rocksdb_writebatch_destroy(batch);
	return rocks_fine(said) ? 0 : -EIO;
}

static int rocks_look(void *handle, uint64_t number, uint64_t ret_words[PERF_VALUE_WORDS])
{
	struct rocks *r = handle;
	char *said = NULL, *value;
	uint8_t key[16];
	size_t len = 0;
	bool there;

	perf_key_make(number, key);
	value = rocksdb_get(r->db, r->read, (const char *)key, sizeof(key), &len, &said);
	there = rocks_fine(said) && value != NULL && len == PERF_VALUE_BYTES;
	if (there)
		memcpy(ret_words, value, PERF_VALUE_BYTES);
	rocksdb_free(value);
	return there ? 0 : -ENOENT;
}

static const struct perf_engine rocks = {
	"RocksDB", { "sync", "no sync" }, rocks_open, rocks_commit, rocks_look, rocks_close,
};
#endif

const struct perf_engine *const perf_engine_peers[] = {
#ifdef HAVE_SQLITE
	&sqlite,
#endif
#ifdef HAVE_LMDB
	&lmdb,
#endif
#ifdef HAVE_ROCKSDB
	&rocks,
#endif
	NULL,
};
