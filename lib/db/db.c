/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing a database, and its counters.
 *
 * FAILURE  In a forked child the replica may have been caught in the middle of a change by another
 *        thread of the parent: it is not walked. Its memory is left to the end of the process, in a
 *        list, so that tools that look for leaks see it for what it is. */
#include "lib/db/db.h"

#include <stdlib.h>

#include "lib/db/lane.h"
#include "lib/db/service.h"
#include "lib/repl/history.h"
#include "lib/store/file.h"
#include "lib/store/log.h"
#include "lib/store/mem.h"
#include "lib/store/scheme.h"
#include "lib/store/view.h"

#define SPIN_DEFAULT_NS (20 * 1000)
#define LANE_BYTES_MIN  (UINT64_C(64) << 10)
#define LANE_BYTES_MAX  (UINT64_C(1) << 30)

/* What forked children closed of their forebears'. */
static _Atomic(struct blaze_db *) remains;

int blazei_db_usable(const struct blaze_db *db)
{
	if (db == NULL)
		return -EINVAL;
	return blazei_forked_since(db->fork_generation) ? -ECHILD : 0;
}

int blazei_db_writable(const struct blaze_db *db)
{
	int error = blazei_db_usable(db);

	if (error != 0)
		return error;
	return blazei_db_visiting(db) ? -EDEADLK : 0;
}

void blazei_db_poll_lock(struct blaze_db *db)
{
	/* Relaxed: a hint that makes the service thread step aside; the mutex does the rest. */
	atomic_fetch_add_explicit(&db->poll_waiters, 1, memory_order_relaxed);
	pthread_mutex_lock(&db->poll_lock);
	atomic_fetch_sub_explicit(&db->poll_waiters, 1, memory_order_relaxed);
}

void blazei_db_poll_unlock(struct blaze_db *db)
{
	pthread_mutex_unlock(&db->poll_lock);
}

/* Where a database is kept: a path or a URI; NULL: it lives in memory. */
static const char *store_uri(const char *path, const struct blaze_db_options *options)
{
	const char *uri = options->store != NULL ? options->store : path;

	return uri == NULL || strcmp(uri, "mem:") == 0 ? NULL : uri;
}

static int path_check(const char *path, const struct blaze_db_options *options)
{
	const char *uri = store_uri(path, options), *location;
	const struct blaze_store_ops *ops;
	int error;

	if (options->durability > BLAZE_DURABILITY_SYNC)
		return -EINVAL;
	if (path != NULL && options->store != NULL)
		return -EINVAL;
	if (uri == NULL)
		return options->durability > BLAZE_DURABILITY_NONE || options->sync_interval_ns != 0
		               ? -EOPNOTSUPP
		               : 0;
	error = blazei_store_find(uri, &ops, &location);
	if (error != 0)
		return error;
	/* Only of a directory it is known how to look at it, or for it. */
	if ((options->flags & (BLAZE_DB_READ_ONLY | BLAZE_DB_NO_CREATE)) != 0 &&
	    ops != &blazei_file_ops)
		return -EOPNOTSUPP;
	return ops != &blazei_file_ops || location[0] != '\0' ? 0 : -EINVAL;
}

#define LOOKS_MAX 8u

/* Known, but without a meaning as yet. */
#define FLAGS_LATER BLAZE_DB_AUTO_SYNC
#define FLAGS_STORE (BLAZE_DB_NO_CREATE | BLAZE_DB_READ_ONLY) /* with a path only */
#define FLAGS_KNOWN (FLAGS_LATER | FLAGS_STORE | BLAZE_DB_MANUAL)

static int options_check(const char *name, const char *path, const struct blaze_db_options *options)
{
	uint64_t lane = options->lane_bytes;
	int error;

	if (!blazei_name_valid(name, BLAZEI_DB_NAME_MAX))
		return -EINVAL;
	if (options->policy > BLAZE_POLICY_LWW)
		return -EINVAL;
	error = path_check(path, options);
	if (error != 0)
		return error;
	if ((options->flags & ~FLAGS_KNOWN) != 0 ||
	    ((options->flags & FLAGS_STORE) != 0 && store_uri(path, options) == NULL))
		return -EINVAL;
	if ((options->flags & FLAGS_LATER) != 0 || options->cache_bytes != 0)
		return -EOPNOTSUPP;
	if (lane != 0 &&
	    ((lane & (lane - 1)) != 0 || lane < LANE_BYTES_MIN || lane > LANE_BYTES_MAX))
		return -EINVAL;
	return 0;
}

static int lock_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attributes;
	int error = pthread_mutexattr_init(&attributes);

	if (error != 0)
		return -error;
	pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
	error = pthread_mutex_init(lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
	return -error;
}

static void on_store_failed(void *arg)
{
	blazei_db_tell_sync(arg, BLAZE_SYNC_READ_ONLY);
}

/* What is asked for, or the default; where the disk is memory there is nothing to wait for. */
static uint32_t durability_of(const struct blaze_db_options *options,
                              const struct blaze_store_ops *ops)
{
	if (options->durability != BLAZE_DURABILITY_DEFAULT &&
	    options->durability != BLAZE_DURABILITY_ASYNC)
		return options->durability;
	return ops == &blazei_mem_ops ? BLAZE_DURABILITY_SYNC : BLAZE_DURABILITY_ASYNC;
}

/* Opens the store, which names the node and the policy. */
static int store_open(struct blaze_db *db, const char *uri, const struct blaze_db_options *options)
{
	struct blazei_store_options known = {
		.policy = db->policy,
		.sync_interval_ns = options->sync_interval_ns,
		.look = (db->flags & BLAZE_DB_READ_ONLY) != 0,
		.on_failed = on_store_failed,
		.arg = db,
	};
	const struct blaze_store_ops *ops;
	const char *location;
	int error = blazei_store_find(uri, &ops, &location);

	if (error == 0 && (db->flags & BLAZE_DB_NO_CREATE) != 0)
		error = blazei_view_there(location);
	if (error == 0) {
		known.durability = durability_of(options, ops);
		error = blazei_store_open(known.look ? &blazei_view_ops : ops, location, &known,
		                          &db->store);
	}
	if (error != 0)
		return error;
	/* A transaction of any length has to find room in one segment. */
	if (db->store->geometry.segment_bytes < BLAZE_STORE_SEGMENT_BYTES_MIN) {
		blazei_log(BLAZE_LOG_ERROR, "store %s: its segments are too small", uri);
		return -EBADMSG;
	}
	db->in_directory = ops == &blazei_file_ops;
	db->self.node = db->store->root->node;
	if (db->store->resumes)
		db->self.incarnation = db->store->root->incarnation;
	db->policy = db->store->root->policy;
	return 0;
}

static int replica_open(struct blaze_db *db, const char *uri,
                        const struct blaze_db_options *db_options)
{
	struct blazei_replica_options options = {
		.history_bytes = db_options->retain_bytes != 0 ? db_options->retain_bytes
		                                               : BLAZEI_HISTORY_BYTES_DEFAULT,
	};
	int error = blazei_random(&db->self.incarnation, sizeof(db->self.incarnation));

	if (error == 0)
		error = uri != NULL ? store_open(db, uri, db_options)
		                    : blaze_id_new(&db->self.node);
	if (error == 0)
		error = blazei_random(&options.hash_seed, sizeof(options.hash_seed));
	if (error != 0)
		return error;
	if (db->policy == BLAZE_POLICY_DEFAULT)
		db->policy = BLAZE_POLICY_SERVER_PRIORITY;
	options.policy = db->policy;
	options.self = db->self;
	if (db->store != NULL)
		error = blazei_durable_open(db, &options);
	else
		error = blazei_replica_new(&options, &db->replica);
	if (error == 0)
		blazei_db_listen(db);
	return error;
}

/* 0, or -EIO: the store did not take all that was acknowledged. */
static int db_free(struct blaze_db *db)
{
	int error;

	blazei_durable_stop(db);
	error = blazei_durable_close(db);
	blazei_event_fini(db);
	blazei_compact_fini(db);
	pthread_mutex_destroy(&db->write_lock);
	pthread_mutex_destroy(&db->lock);
	pthread_mutex_destroy(&db->poll_lock);
	blazei_txn_spare_free(db);
	if (db->replica != NULL)
		blazei_replica_free(db->replica);
	blazei_stage_free(db->stage);
	blazei_conflict_log_fini(&db->conflicts);
	blazei_opened_fini(&db->txns);
	blazei_buffer_free(&db->out);
	free(db);
	return error;
}

static int db_new(const char *name, const char *path, const struct blaze_db_options *options,
                  struct blaze_db **ret_db)
{
	struct blaze_db *db = aligned_alloc(BLAZEI_CACHE_LINE, sizeof(*db));
	int error;

	if (db == NULL)
		return -ENOMEM;
	memset(db, 0, sizeof(*db));
	db->flags = options->flags;
	db->spin_ns = options->spin_ns != 0 ? options->spin_ns : SPIN_DEFAULT_NS;
	db->lane_bytes = options->lane_bytes;
	db->policy = options->policy;
	memcpy(db->name, name, strlen(name));
	/* Relaxed: read in the thread that opens; a fork after this is what it tells. */
	db->fork_generation = atomic_load_explicit(&blazei_fork_generation, memory_order_relaxed);
	error = lock_init(&db->write_lock);
	if (error == 0)
		error = lock_init(&db->lock);
	if (error == 0)
		error = lock_init(&db->poll_lock);
	if (error == 0)
		error = blazei_compact_init(db);
	if (error == 0)
		error = blazei_event_init(&db->event);
	if (error == 0)
		error = replica_open(db, store_uri(path, options), options);
	if (error == 0)
		error = blazei_stage_new(blazei_pull_stage_bytes(), &db->stage);
	if (error == 0)
		error = blazei_durable_start(db);
	if (error != 0) {
		db_free(db);
		return error;
	}
	*ret_db = db;
	return 0;
}

int blaze_db_open(const char *name, const char *path, const struct blaze_db_options *options,
                  struct blaze_db **ret_db)
{
	struct blaze_db_options known;
	struct blaze_db *db = NULL;
	int error;

	if (name == NULL || ret_db == NULL)
		return -EINVAL;
	error = blazei_options_read(options, sizeof(known), &known);
	if (error == 0)
		error = options_check(name, path, &known);
	if (error == 0)
		error = blazei_notify_prepare();
	if (error != 0)
		return error;
	/* Who only looks starts anew where the log was compacted meanwhile. */
	for (unsigned i = 0; i < LOOKS_MAX && (i == 0 || error == -ESTALE); i++)
		error = db_new(name, path, &known, &db);
	if (error == -ESTALE)
		error = -EAGAIN;
	if (error != 0)
		return error;
	if ((db->flags & BLAZE_DB_MANUAL) == 0) {
		error = blazei_service_add(db);
		if (error != 0) {
			db_free(db);
			return error;
		}
	}
	blazei_lane_start(db);
	*ret_db = db;
	return 0;
}

/* Closes the copy of a database that belongs to an ancestor of this process. */
static int close_in_child(struct blaze_db *db)
{
	if (db->link != NULL)
		db->link->ops->close(db->link);
	db->link = NULL;
	blazei_event_forget(db);
	if (db->store != NULL)
		db->store->ops->close(db->store->backend);
	/* Relaxed: nobody follows the list. */
	db->next_remains = atomic_exchange_explicit(&remains, db, memory_order_relaxed);
	return 0;
}

/* Whether it has a watch or a transaction under way. */
static bool in_use(struct blaze_db *db)
{
	bool watched;

	pthread_mutex_lock(&db->lock);
	watched = db->watches != NULL;
	pthread_mutex_unlock(&db->lock);
	return watched || !blazei_opened_none(&db->txns);
}

int blaze_db_close(struct blaze_db *db)
{
	int error = blazei_db_writable(db);

	if (error == -ECHILD)
		return close_in_child(db);
	if (error == 0 && blazei_notifying_of(db))
		error = -EDEADLK;
	if (error != 0)
		return error;
	/* Acquire: pairs with the release in blazei_db_leave, so that all it did is done. */
	if (atomic_load_explicit(&db->registered, memory_order_acquire))
		return -EBUSY;
	/* With the watches and transactions of its clients: what is left is the program's. */
	blazei_lane_stop(db);
	if (in_use(db)) {
		blazei_lane_start(db);
		return -EBUSY;
	}
	if ((db->flags & BLAZE_DB_MANUAL) == 0)
		blazei_service_remove(db);
	return db_free(db);
}

static void store_stats(struct blaze_db *db, struct blaze_db_stats *stats)
{
	struct blazei_store_stats known;
	uint32_t segments;

	blazei_store_stats(db->store, &known);
	blazei_store_size(db->store, &stats->log_bytes, &segments);
	stats->logged = known.last;
	stats->durable = known.durable;
	stats->unsynced_ns = known.unsynced_ns;
	stats->unsynced_bytes = known.unsynced_bytes;
	stats->cuts = known.cuts;
}

int blaze_db_stats(struct blaze_db *db, struct blaze_db_stats *ret_stats)
{
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;
	uint32_t size;
	int error = blazei_db_usable(db);

	if (error != 0)
		return error;
	if (ret_stats == NULL || ret_stats->struct_size < sizeof(stats.struct_size))
		return -EINVAL;
	pthread_mutex_lock(&db->lock);
	blazei_replica_stats(db->replica, &stats);
	stats.conflicts_dropped = db->conflicts.last - db->conflicts.count;
	stats.compactions = db->compaction.count;
	pthread_mutex_unlock(&db->lock);
	if (db->store != NULL)
		store_stats(db, &stats);
	/* Relaxed: counters of their own. */
	stats.catch_ups = atomic_load_explicit(&db->catch_ups, memory_order_relaxed);
	stats.laps = atomic_load_explicit(&db->laps, memory_order_relaxed);
	size = ret_stats->struct_size;
	memcpy(ret_stats, &stats, size < sizeof(stats) ? size : sizeof(stats));
	ret_stats->struct_size = size;
	return 0;
}
