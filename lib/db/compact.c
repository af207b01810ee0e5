/* SPDX-License-Identifier: Apache-2.0 */
/* Compaction of a database's log; see compact.h. */
#include "lib/db/compact.h"

#include <blaze/db.h>

#include "lib/db/db.h"
#include "lib/store/log.h"

#define BYTES_MIN    (UINT64_C(64) << 20)
#define SEGMENTS_MIN 512u
/* A root with more than these segments is compacted at opening. */
#define SEGMENTS_FULL (BLAZEI_ROOT_SEGMENTS_MAX * 3 / 4)
/* The checkpoint goes in strides of that, or a little more. */
#define STRIDE_BYTES (UINT64_C(2) << 20)
/* So much of it may wait for the disk when the next one begins. */
#define AHEAD_BYTES (STRIDE_BYTES * BLAZEI_STRIDES)
/* That much of the disk is left to those who write meanwhile. */
#define SPARE_BYTES  (UINT64_C(24) << 20)
#define ATTEMPTS_MAX 5u
#define RETRY_NS     (60 * BLAZEI_NS_PER_S)

static bool writable(const struct blaze_db *db)
{
	return db->store != NULL && (db->flags & BLAZE_DB_READ_ONLY) == 0;
}

/* How long the log may become against what it holds; db->lock is held. */
static uint64_t bytes_due(const struct blazei_compaction *compaction)
{
	const uint64_t spare = compaction->live / 5 * 3;

	return compaction->live + (spare > compaction->bytes_min ? spare : compaction->bytes_min);
}

/* Whether it has become longer. */
static bool due(struct blaze_db *db)
{
	struct blazei_compaction *compaction = &db->compaction;
	uint64_t bytes;
	uint32_t segments;
	bool is;

	blazei_store_size(db->store, &bytes, &segments);
	pthread_mutex_lock(&db->lock);
	is = bytes > bytes_due(compaction) ||
	     segments > compaction->segments + compaction->segments_min;
	if (is && compaction->not_before_ns != 0)
		is = blazei_monotonic_ns() >= compaction->not_before_ns;
	pthread_mutex_unlock(&db->lock);
	return is;
}

/* The next step of the checkpoint: 1; 0: all of it is in the log; or an error, after which none is
 * open. *ret_lsn: up to which the log has it. */
static int checkpoint_step(struct blaze_db *db, uint64_t *ret_lsn)
{
	struct blazei_compaction *compaction = &db->compaction;
	int rc = 0;

	/* Segments go as a whole: of what is before it little is to stand beside it. */
	if (compaction->checkpoint.replica == NULL)
		rc = blazei_store_sync(db->store);
	if (compaction->checkpoint.replica == NULL && rc == 0)
		rc = blazei_store_rotate(db->store);
	if (rc != 0)
		return rc;
	pthread_mutex_lock(&db->lock);
	if (compaction->checkpoint.replica == NULL) {
		compaction->awaited = 0;
		memset(compaction->ends, 0, sizeof(compaction->ends));
		compaction->state_before = blazei_store_state_bytes(db->store);
		rc = blazei_checkpoint_begin(&compaction->checkpoint, db->replica);
		compaction->begin = db->durable.appended;
		rc = rc == 0 ? 1 : rc;
	} else {
		rc = blazei_checkpoint_step(&compaction->checkpoint);
	}
	if (db->durable.error != 0) {
		blazei_checkpoint_drop(&compaction->checkpoint);
		rc = -EROFS;
	}
	*ret_lsn = db->durable.appended;
	pthread_mutex_unlock(&db->lock);
	return rc;
}

/* The log begins with the checkpoint from here on. */
static int checkpoint_end(struct blaze_db *db, uint64_t lsn)
{
	struct blazei_compaction *compaction = &db->compaction;
	uint64_t bytes;
	uint32_t segments;
	int error = blazei_store_wait(db->store, lsn);

	BLAZEI_TESTPOINT("compact_ended");
	if (error == 0)
		error = blazei_store_drop_before(db->store, compaction->begin);
	if (error != 0)
		return error;
	blazei_store_size(db->store, &bytes, &segments);
	pthread_mutex_lock(&db->lock);
	compaction->live = blazei_store_state_bytes(db->store) - compaction->state_before;
	compaction->segments = segments;
	compaction->count++;
	pthread_mutex_unlock(&db->lock);
	return 0;
}

/* Whether the disk has room for a checkpoint, or for more of one: a log whose disk is full is
 * read-only. What there is takes neither more than memory nor more than the log has by now. */
static int room_check(struct blaze_db *db)
{
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;
	uint64_t bytes, need = SPARE_BYTES;
	uint32_t segments;

	if (db->compaction.checkpoint.replica == NULL) {
		blazei_store_size(db->store, &bytes, &segments);
		pthread_mutex_lock(&db->lock);
		blazei_replica_stats(db->replica, &stats);
		pthread_mutex_unlock(&db->lock);
		need += stats.memory_bytes < bytes ? stats.memory_bytes : bytes;
	}
	return blazei_store_room(db->store) >= need ? 0 : -ENOSPC;
}

/* Whether it has become twice as long, as those who write are faster than the checkpoint. Then it
 * takes as much of the tail as it gets. */
static bool behind(struct blaze_db *db)
{
	uint64_t bytes;
	uint32_t segments;
	bool is;

	if (db->store->durability == BLAZE_DURABILITY_SYNC)
		return false;
	blazei_store_size(db->store, &bytes, &segments);
	pthread_mutex_lock(&db->lock);
	is = bytes > 2 * bytes_due(&db->compaction);
	pthread_mutex_unlock(&db->lock);
	return is;
}

/* Up to which LSN the disk is to have it before the next stride. */
static uint64_t stride_due(const struct blazei_compaction *compaction)
{
	uint64_t lsn = 0;

	for (unsigned i = 0; i < BLAZEI_STRIDES; i++)
		if (compaction->checkpoint.bytes - compaction->ends[i].bytes >= AHEAD_BYTES &&
		    compaction->ends[i].lsn > lsn)
			lsn = compaction->ends[i].lsn;
	return lsn;
}

/* A stride of the checkpoint, up to that LSN, is in the log. Waits until there is little enough
 * that the disk does not have: nothing, where others wait for the disk too. 0 or an error. */
static int stride_end(struct blaze_db *db, uint64_t lsn)
{
	struct blazei_compaction *compaction = &db->compaction;
	const uint64_t due =
	        db->store->durability == BLAZE_DURABILITY_SYNC ? lsn : stride_due(compaction);

	compaction->awaited = compaction->checkpoint.bytes;
	compaction->ends[compaction->strides++ % BLAZEI_STRIDES] =
	        (struct blazei_stride_end){ lsn, compaction->checkpoint.bytes };
	BLAZEI_TESTPOINT("compact_stride");
	if (!behind(db) && blazei_store_wait(db->store, due) != 0)
		return -EROFS;
	return room_check(db);
}

/* One step of all of it: 1 where there are more, 0 or an error. `one` is held. */
static int step(struct blaze_db *db)
{
	struct blazei_compaction *compaction = &db->compaction;
	uint64_t lsn = 0;
	int rc;

	/* At first room on the disk, then in the tail: what finds none there sends all who write
	 * to the disk. */
	rc = compaction->checkpoint.replica == NULL ? room_check(db)
	                                            : blazei_store_await_room(db->store);
	if (rc == -EAGAIN)
		return 1;
	if (rc == 0)
		rc = checkpoint_step(db, &lsn);
	if (rc == -ESTALE && ++compaction->attempts < ATTEMPTS_MAX)
		return 1;
	if (rc == -ESTALE)
		rc = -EAGAIN;
	if (rc == 0)
		rc = checkpoint_end(db, lsn);
	if (rc == 1 && compaction->checkpoint.bytes - compaction->awaited >= STRIDE_BYTES) {
		rc = stride_end(db, lsn);
		rc = rc == 0 ? 1 : rc;
	}
	if (rc != 1)
		compaction->attempts = 0;
	return rc;
}

/* Gives up what is open; `one` is held. */
static void drop(struct blaze_db *db)
{
	pthread_mutex_lock(&db->lock);
	blazei_checkpoint_drop(&db->compaction.checkpoint);
	pthread_mutex_unlock(&db->lock);
}

/* An error is told, and it is tried again later; `one` is held. */
static void failed(struct blaze_db *db, int error)
{
	drop(db);
	pthread_mutex_lock(&db->lock);
	db->compaction.not_before_ns = blazei_monotonic_ns() + RETRY_NS;
	pthread_mutex_unlock(&db->lock);
	blazei_log(BLAZE_LOG_WARNING, "database %s: its log could not be compacted: %s", db->name,
	           blaze_strerror(error));
}

/* All of it; `one` is held. 0, -ECANCELED or an error. */
static int run(struct blaze_db *db)
{
	int rc = 1;

	while (rc == 1) {
		/* Relaxed: a flag and no more. */
		if (atomic_load_explicit(&db->compaction.stop, memory_order_relaxed)) {
			drop(db);
			return -ECANCELED;
		}
		rc = step(db);
	}
	if (rc < 0)
		failed(db, rc);
	return rc;
}

static void *compact_main(void *arg)
{
	struct blaze_db *db = arg;

	pthread_mutex_lock(&db->compaction.one);
	/* Somebody may have done it meanwhile. */
	if (due(db))
		(void)run(db);
	pthread_mutex_unlock(&db->compaction.one);
	/* Release: pairs with the acquire in blazei_compact_look, which joins it. */
	atomic_store_explicit(&db->compaction.running, false, memory_order_release);
	return NULL;
}

void blazei_compact_look(struct blaze_db *db)
{
	struct blazei_compaction *compaction = &db->compaction;

	if (atomic_load_explicit(&compaction->running, memory_order_acquire) || !due(db))
		return;
	if (compaction->there)
		pthread_join(compaction->thread, NULL);
	atomic_store_explicit(&compaction->running, true, memory_order_relaxed);
	compaction->there = blazei_thread_start(&compaction->thread, compact_main, db) == 0;
	if (!compaction->there)
		atomic_store_explicit(&compaction->running, false, memory_order_relaxed);
}

void blazei_compact_pump(struct blaze_db *db)
{
	struct blazei_compaction *compaction = &db->compaction;
	int rc;

	/* Somebody is at it where it is taken. */
	if (!writable(db) || pthread_mutex_trylock(&compaction->one) != 0)
		return;
	if (compaction->checkpoint.replica != NULL || due(db)) {
		rc = step(db);
		if (rc < 0)
			failed(db, rc);
	}
	pthread_mutex_unlock(&compaction->one);
}

int blaze_db_compact(struct blaze_db *db)
{
	struct blazei_store_stats stats;
	int error = blazei_db_writable(db);

	if (error == 0 && db->store == NULL)
		error = -EOPNOTSUPP;
	if (error == 0 && (db->flags & BLAZE_DB_READ_ONLY) != 0)
		error = -EROFS;
	if (error != 0)
		return error;
	pthread_mutex_lock(&db->compaction.one);
	blazei_store_stats(db->store, &stats);
	/* One that a pump has begun is in the way of nothing. */
	if (stats.last > 0)
		error = run(db);
	pthread_mutex_unlock(&db->compaction.one);
	blazei_durable_advance(db);
	return error;
}

int blazei_compact_init(struct blaze_db *db)
{
	db->compaction.bytes_min = BYTES_MIN;
	db->compaction.segments_min = SEGMENTS_MIN;
	return -pthread_mutex_init(&db->compaction.one, NULL);
}

void blazei_compact_open(struct blaze_db *db)
{
	struct blazei_compaction *compaction = &db->compaction;
	uint64_t bytes;
	uint32_t segments;

	if (!writable(db))
		return;
	compaction->live = blazei_store_state_bytes(db->store);
	compaction->segments = (uint32_t)(compaction->live / db->store->geometry.segment_bytes);
	blazei_store_size(db->store, &bytes, &segments);
	if (segments <= SEGMENTS_FULL || !due(db))
		return;
	pthread_mutex_lock(&compaction->one);
	(void)run(db);
	pthread_mutex_unlock(&compaction->one);
}

void blazei_compact_stop(struct blaze_db *db)
{
	struct blazei_compaction *compaction = &db->compaction;

	atomic_store_explicit(&compaction->stop, true, memory_order_relaxed);
	if (compaction->there)
		pthread_join(compaction->thread, NULL);
	compaction->there = false;
	if (compaction->checkpoint.replica != NULL)
		drop(db);
}

void blazei_compact_fini(struct blaze_db *db)
{
	pthread_mutex_destroy(&db->compaction.one);
}
