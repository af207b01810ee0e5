/* SPDX-License-Identifier: Apache-2.0 */
/* Reads: single records, counts, scans and the hash.
 *
 * WHY    A scan holds the lock for a batch at a time and calls its visitor without it, so a slow
 *        visitor delays nobody and may read the database. In between ids may come and go; the
 *        replica sorts them anew when they did, which a batch pays once instead of per record.
 *        A record, a value and the count are read without the lock, unless too much happens just
 *        then (lib/repl/peek.h).
 *
 * CONCURRENCY  Which databases the calling thread is visiting stands in a thread-local list of its
 *        scans, so that a write in a visitor is refused in that thread only. */
#include "lib/db/db.h"

#include <limits.h>

#define BATCH_MAX 128u

static __thread struct blazei_visit *visits;

struct scan {
	struct blaze_db *db;
	struct blaze_scan_options options;
	struct blaze_id next; /* where to go on */
	struct blaze_id end;
	bool started;
	unsigned count; /* in the batch */
	struct blaze_id ids[BATCH_MAX];
	struct blaze_record *records[BATCH_MAX];
};

bool blazei_db_visiting(const struct blaze_db *db)
{
	for (const struct blazei_visit *visit = visits; visit != NULL; visit = visit->outer) {
		if (visit->db == db)
			return true;
	}
	return false;
}

void blazei_visit_begin(struct blazei_visit *visit, const struct blaze_db *db)
{
	*visit = (struct blazei_visit){ .db = db, .outer = visits };
	visits = visit;
}

void blazei_visit_end(const struct blazei_visit *visit)
{
	visits = visit->outer;
}

int blaze_db_get(struct blaze_db *db, const struct blaze_id *id, struct blaze_record **ret_record)
{
	int error = blazei_db_usable(db);

	if (error != 0)
		return error;
	if (id == NULL || ret_record == NULL)
		return -EINVAL;
	error = blazei_replica_peek_get(db->replica, id, ret_record);
	if (blazei_likely(error != -EAGAIN))
		return error;
	pthread_mutex_lock(&db->lock);
	error = blazei_replica_get(db->replica, id, ret_record);
	pthread_mutex_unlock(&db->lock);
	return error;
}

int blaze_db_fetch(struct blaze_db *db, const struct blaze_id *id, void *ret_value, size_t cap)
{
	int result = blazei_db_usable(db);

	if (result != 0)
		return result;
	if (id == NULL || (ret_value == NULL && cap > 0))
		return -EINVAL;
	result = blazei_replica_peek_fetch(db->replica, id, ret_value, cap);
	if (blazei_likely(result != -EAGAIN))
		return result;
	pthread_mutex_lock(&db->lock);
	result = blazei_replica_fetch(db->replica, id, ret_value, cap);
	pthread_mutex_unlock(&db->lock);
	return result;
}

int64_t blaze_db_count(struct blaze_db *db)
{
	int64_t error = blazei_db_usable(db);
	uint64_t count;

	if (error != 0)
		return error;
	if (blazei_replica_peek_count(db->replica, &count) == 0)
		return (int64_t)count;
	pthread_mutex_lock(&db->lock);
	count = blazei_replica_count(db->replica);
	pthread_mutex_unlock(&db->lock);
	return (int64_t)count;
}

int blaze_db_position(struct blaze_db *db, struct blaze_position *ret_position)
{
	struct blazei_vector_detail self;
	int error = blazei_db_usable(db);

	if (error != 0)
		return error;
	if (ret_position == NULL)
		return -EINVAL;
	pthread_mutex_lock(&db->lock);
	blazei_replica_vector_detail(db->replica, 0, &self);
	pthread_mutex_unlock(&db->lock);
	*ret_position = (struct blaze_position){
		.node = self.entry.origin.node,
		.incarnation = self.entry.origin.incarnation,
		.seq = self.entry.seq,
		.time_ns = self.hlc,
	};
	return 0;
}

int blaze_db_hash(struct blaze_db *db, uint8_t ret_digest[16])
{
	int error = blazei_db_usable(db);

	if (error != 0)
		return error;
	if (ret_digest == NULL)
		return -EINVAL;
	pthread_mutex_lock(&db->lock);
	error = blazei_replica_hash(db->replica, ret_digest);
	pthread_mutex_unlock(&db->lock);
	return error;
}

/* The id that follows in byte order; false where there is none. */
static bool id_successor(struct blaze_id *id)
{
	for (int i = sizeof(id->bytes) - 1; i >= 0; i--) {
		if (++id->bytes[i] != 0)
			return true;
	}
	return false;
}

/* Fills the batch. Returns 1: there may be more; 0: this is the last one; -ENOMEM. */
static int scan_fill(struct scan *scan, uint64_t limit)
{
	struct blazei_replica *replica = scan->db->replica;
	int result = 1;

	pthread_mutex_lock(&scan->db->lock);
	while (result == 1 && scan->count < BATCH_MAX && scan->count < limit) {
		const struct blaze_id *from = scan->started ? &scan->next : scan->options.from;
		struct blaze_id *id = &scan->ids[scan->count];

		result = blazei_replica_next_id(replica, from, id);
		if (result == -ENOENT ||
		    (result == 0 && scan->options.to != NULL &&
		     memcmp(id->bytes, scan->end.bytes, sizeof(id->bytes)) >= 0)) {
			result = 0;
			break;
		}
		if (result == 0)
			result = blazei_replica_get(replica, id, &scan->records[scan->count]);
		if (result != 0)
			break;
		scan->count++;
		scan->next = *id;
		scan->started = true;
		result = id_successor(&scan->next) ? 1 : 0;
	}
	pthread_mutex_unlock(&scan->db->lock);
	return result;
}

/* Visits and frees the batch. Returns what the last visitor returned. */
static int scan_visit(struct scan *scan, blaze_scan_visitor visitor, void *arg, int *visited)
{
	struct blazei_visit visit;
	int result = 0;

	blazei_visit_begin(&visit, scan->db);
	for (unsigned i = 0; i < scan->count; i++) {
		if (result == 0) {
			result = visitor(arg, &scan->ids[i], scan->records[i]);
			if (*visited < INT_MAX)
				++*visited;
		}
		blaze_record_free(scan->records[i]);
	}
	blazei_visit_end(&visit);
	scan->count = 0;
	return result;
}

static int scan_run(struct scan *scan, blaze_scan_visitor visitor, void *arg)
{
	uint64_t limit = scan->options.limit != 0 ? scan->options.limit : UINT64_MAX;
	int visited = 0, more = 1;

	/* Bounded by the number of ids: each batch starts behind the one before. */
	while (more == 1 && limit > 0) {
		int stop;

		more = scan_fill(scan, limit);
		limit -= scan->count;
		stop = scan_visit(scan, visitor, arg, &visited);
		if (stop != 0)
			return stop < 0 ? stop : visited;
	}
	return more < 0 ? more : visited;
}

int blaze_db_scan(struct blaze_db *db, const struct blaze_scan_options *options,
                  blaze_scan_visitor visitor, void *arg)
{
	struct scan scan;
	int error = blazei_db_usable(db);

	if (error != 0)
		return error;
	if (visitor == NULL)
		return -EINVAL;
	memset(&scan, 0, sizeof(scan));
	error = blazei_options_read(options, sizeof(scan.options), &scan.options);
	if (error != 0)
		return error;
	if (scan.options.flags != 0)
		return -EINVAL;
	if (scan.options.to != NULL)
		scan.end = *scan.options.to;
	scan.db = db;
	return scan_run(&scan, visitor, arg);
}
