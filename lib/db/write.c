/* SPDX-License-Identifier: Apache-2.0 */
/* Local writes: from the caller's record or transaction to the replica, the lane and the board.
 *
 * WHY    Two locks: write_lock from the commit to the publication, which keeps the lane in the
 *        order of seq, and within it `lock` for the commit alone. A full lane makes a writer wait
 *        up to the ring's stall budget, and what others wrote must go on being merged meanwhile: so
 *        the encoded transaction is taken out of the replica, which gets the memory of the one
 *        before for the next, and published without `lock`.
 *
 * FAILURE  A write that is committed in the replica succeeds, whatever becomes of its publication:
 *        too long for the lane, ring removed, a name that was just left, no ring at all. The board
 *        then shows a seq that the lane never had, and the others fetch it (lag.c). */
#include "lib/db/db.h"

#include "lib/repl/members.h"
#include "lib/repl/writeset.h"
#include "lib/store/backup.h"
#include "lib/store/log.h"

/* Publishes a transaction of a database that is on a link and not silent; write_lock is held. */
static inline void publish(struct blaze_db *db, const struct blazei_buffer *out, uint64_t seq)
{
	struct blazei_link *link = db->link;
	int error = out->len > 0 ? link->ops->publish(link, out->data, out->len) : -EMSGSIZE;

	BLAZEI_TESTPOINT("db_write_published");
	blazei_board_seq_store(blazei_db_board(db), 0, seq);
	if (error == 0)
		return;
	if (error == -EIDRM) {
		/* Relaxed: a hint for the service, which takes the locks before it acts. */
		atomic_store_explicit(&db->removed, true, memory_order_relaxed);
	}
	/* Nobody is told by the lane: whoever sleeps must look at the board. */
	link->ops->wake(link);
}

void blazei_db_publish(struct blaze_db *db, const struct blazei_buffer *out, uint64_t seq)
{
	if (db->link != NULL && !db->silent)
		publish(db, out, seq);
}

/* Takes out what was committed, where there is a way for it; write_lock and lock are held. Its
 * number, or 0. */
static uint64_t take_out(struct blaze_db *db)
{
	struct blazei_vector_entry self;

	if (blazei_unlikely(db->silent)) {
		blazei_db_silent_show(db);
		return 0;
	}
	blazei_replica_txn_take(db->replica, &db->out);
	blazei_replica_vector_entry(db->replica, 0, &self);
	return self.seq;
}

/* Has the replica commit; both locks are held. */
static inline int commit(struct blaze_db *db, const struct blazei_write *write,
                         struct blazei_writeset *writeset, struct blazei_txn_view *ret_txn)
{
	if (blazei_unlikely(db->nameless != 0))
		return db->nameless;
	if (write != NULL)
		return blazei_replica_write(db->replica, blazei_realtime_ns(), write, ret_txn);
	return blazei_replica_commit(db->replica, blazei_realtime_ns(), writeset, ret_txn);
}

/* The same with a store: what is committed is published when it is kept. */
static int commit_durably(struct blaze_db *db, const struct blazei_write *write,
                          struct blazei_writeset *writeset)
{
	struct blazei_txn_view txn = { .len = 0 };
	struct blazei_unsent *place;
	uint64_t lsn = 0;
	bool kept;
	int error;

	error = (db->flags & BLAZE_DB_READ_ONLY) != 0 ? -EROFS : blazei_store_await_room(db->store);
	if (error != 0)
		return error;
	pthread_mutex_lock(&db->write_lock);
	pthread_mutex_lock(&db->lock);
	place = blazei_durable_place(db);
	error = place != NULL ? commit(db, write, writeset, &txn) : -ENOMEM;
	if (error == 0 && txn.len > 0)
		error = blazei_durable_keep(db, place, &lsn);
	else
		blazei_durable_unplace(db, place);
	pthread_mutex_unlock(&db->lock);
	BLAZEI_TESTPOINT("db_write_committed");
	kept = lsn != 0 && blazei_store_kept(db->store) >= lsn;
	if (kept)
		blazei_durable_publish(db);
	pthread_mutex_unlock(&db->write_lock);
	if (blazei_unlikely(error == -ENOMEM))
		blazei_store_tell(db->store);
	if (lsn == 0 || kept)
		return error;
	/* Without the locks, so that others commit meanwhile and share the next sync. */
	error = blazei_store_acknowledge(db->store, lsn);
	BLAZEI_TESTPOINT("db_write_durable");
	blazei_durable_advance(db);
	return error;
}

int blazei_db_commit(struct blaze_db *db, const struct blazei_write *write,
                     struct blazei_writeset *writeset)
{
	struct blazei_txn_view txn = { .len = 0 };
	uint64_t seq = 0;
	int error = blazei_db_writable(db);

	if (error != 0)
		return error;
	if (db->store != NULL)
		return commit_durably(db, write, writeset);
	pthread_mutex_lock(&db->write_lock);
	pthread_mutex_lock(&db->lock);
	error = commit(db, write, writeset, &txn);
	if (error == 0 && txn.len > 0 && db->link != NULL)
		seq = take_out(db);
	pthread_mutex_unlock(&db->lock);
	BLAZEI_TESTPOINT("db_write_committed");
	if (seq != 0)
		publish(db, &db->out, seq);
	pthread_mutex_unlock(&db->write_lock);
	return error;
}

int blaze_db_sync(struct blaze_db *db)
{
	int error = blazei_db_writable(db);

	if (error != 0)
		return error;
	if (db->store == NULL)
		return -EOPNOTSUPP;
	error = blazei_store_sync(db->store);
	blazei_durable_advance(db);
	return error;
}

/* Writes what is due of the list of members; both locks are held. */
static int members_commit(struct blaze_db *db, struct blazei_members_tick *tick,
                          struct blazei_txn_view *ret_txn)
{
	struct blazei_vector_view open;
	int error = db->nameless;

	if (error == 0)
		error = blazei_opened_bound(&db->txns, db->replica, &open);
	tick->open = error > 0 ? &open : NULL;
	return error < 0 ? error : blazei_replica_members_tick(db->replica, tick, ret_txn);
}

int blaze_db_backup(struct blaze_db *db, const char *path)
{
	uint64_t lsn;
	int error = path != NULL ? blaze_db_sync(db) : -EINVAL;

	/* What is durable can be copied where a write to the disk has failed too. */
	if (error != 0 && error != -EROFS)
		return error;
	if (!db->in_directory)
		return -EOPNOTSUPP;
	pthread_mutex_lock(&db->store->lock);
	lsn = db->store->durable;
	pthread_mutex_unlock(&db->store->lock);
	if (strncmp(path, "file:", 5) == 0)
		path += 5;
	/* No compaction takes away what is being copied. */
	pthread_mutex_lock(&db->compaction.one);
	error = blazei_store_backup_open(db->store, path, lsn);
	pthread_mutex_unlock(&db->compaction.one);
	return error;
}

int blazei_db_members_write(struct blaze_db *db, struct blazei_members_tick *tick)
{
	struct blazei_txn_view txn = { .len = 0 };
	struct blazei_unsent *place = NULL;
	uint64_t seq = 0, lsn;
	int error = 0;

	if (db->store != NULL && blazei_store_failed(db->store))
		return -EROFS;
	pthread_mutex_lock(&db->write_lock);
	pthread_mutex_lock(&db->lock);
	if (db->store != NULL) {
		place = blazei_durable_place(db);
		error = place != NULL ? 0 : -ENOMEM;
	}
	if (error == 0)
		error = members_commit(db, tick, &txn);
	if (error == 0 && txn.len > 0 && place != NULL)
		error = blazei_durable_keep(db, place, &lsn);
	else
		blazei_durable_unplace(db, place);
	if (error == 0 && txn.len > 0 && db->store == NULL && db->link != NULL)
		seq = take_out(db);
	pthread_mutex_unlock(&db->lock);
	if (seq != 0)
		blazei_db_publish(db, &db->out, seq);
	pthread_mutex_unlock(&db->write_lock);
	return error == 0 ? txn.len > 0 : error;
}

int blaze_db_insert(struct blaze_db *db, const struct blaze_record *record, struct blaze_id *ret_id)
{
	struct blaze_id id;
	const struct blazei_write write = {
		.kind = BLAZEI_WRITE_INSERT,
		.id = &id,
		.record = record,
	};
	int error;

	if (record == NULL)
		return -EINVAL;
	error = blazei_db_writable(db);
	if (error == 0)
		error = blaze_id_new(&id);
	if (error != 0)
		return error;
	error = blazei_db_commit(db, &write, NULL);
	if (error == 0 && ret_id != NULL)
		*ret_id = id;
	return error;
}

int blaze_db_insert_with_id(struct blaze_db *db, const struct blaze_id *id,
                            const struct blaze_record *record)
{
	const struct blazei_write write = { .kind = BLAZEI_WRITE_INSERT,
		                            .id = id,
		                            .record = record };

	return id == NULL || record == NULL ? -EINVAL : blazei_db_commit(db, &write, NULL);
}

int blaze_db_update(struct blaze_db *db, const struct blaze_id *id,
                    const struct blaze_record *patch)
{
	const struct blazei_write write = { .kind = BLAZEI_WRITE_UPDATE,
		                            .id = id,
		                            .record = patch };

	return id == NULL || patch == NULL ? -EINVAL : blazei_db_commit(db, &write, NULL);
}

int blaze_db_upsert(struct blaze_db *db, const struct blaze_id *id,
                    const struct blaze_record *record)
{
	const struct blazei_write write = { .kind = BLAZEI_WRITE_UPSERT,
		                            .id = id,
		                            .record = record };

	return id == NULL || record == NULL ? -EINVAL : blazei_db_commit(db, &write, NULL);
}

int blaze_db_delete(struct blaze_db *db, const struct blaze_id *id)
{
	const struct blazei_write write = { .kind = BLAZEI_WRITE_DELETE, .id = id };

	return id == NULL ? -EINVAL : blazei_db_commit(db, &write, NULL);
}

int blaze_db_put(struct blaze_db *db, const struct blaze_id *id, const void *value, size_t len)
{
	const struct blazei_write write = {
		.kind = BLAZEI_WRITE_PUT,
		.id = id,
		.value = value,
		.len = len,
	};

	return id == NULL ? -EINVAL : blazei_db_commit(db, &write, NULL);
}
