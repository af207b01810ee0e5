/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions of several writes: staged in the replica core (lib/repl/writeset.h), committed on
 * the way of every write (write.c).
 *
 * WHY    `lock` is held for a call at most, not from begin to commit: a program that thinks in
 *        between delays nobody. A record that is alive is read without it (lib/repl/peek.h), and
 *        from then on the transaction has a copy: two locks less for each update, a tenth of all
 *        it costs. What one transaction leaves of memory is kept for the next one, so that short
 *        ones allocate nothing.
 *
 * CONCURRENCY  A transaction belongs to one thread at a time, and takes `lock` where it touches the
 *        replica otherwise. The spare one changes hands by an atomic exchange.
 *
 * FAILURE  In a forked child a transaction can only be given up: the database may have been caught
 *        in the middle of a change, and its lock with it. */
#include <stdlib.h>

#include <blaze/txn.h>

#include "lib/db/db.h"
#include "lib/repl/writeset.h"

struct blaze_txn {
	struct blaze_db *db;
	struct blazei_writeset *writeset;
	unsigned opened; /* opened.h */
};

static void txn_free(struct blaze_txn *txn)
{
	if (txn == NULL)
		return;
	blazei_writeset_free(txn->writeset);
	free(txn);
}

void blazei_txn_spare_free(struct blaze_db *db)
{
	/* Relaxed: nobody else has the database any more. */
	txn_free(atomic_exchange_explicit(&db->spare_txn, NULL, memory_order_relaxed));
}

static int txn_usable(const struct blaze_txn *txn)
{
	return txn == NULL ? -EINVAL : blazei_db_usable(txn->db);
}

/* Begin and end ------------------------------------------------------------------------------ */

static int txn_new(struct blaze_db *db, struct blaze_txn **ret_txn)
{
	struct blaze_txn *txn = malloc(sizeof(*txn));
	int error;

	if (txn == NULL)
		return -ENOMEM;
	txn->db = db;
	error = blazei_writeset_new(&txn->writeset);
	if (error != 0)
		free(txn);
	else
		*ret_txn = txn;
	return error;
}

int blaze_txn_begin(struct blaze_db *db, struct blaze_txn **ret_txn)
{
	struct blaze_txn *txn;
	int error = blazei_db_writable(db);

	if (error != 0)
		return error;
	if (ret_txn == NULL)
		return -EINVAL;
	/* Acquire: pairs with the release in txn_end; what was done to it is done. */
	txn = atomic_exchange_explicit(&db->spare_txn, NULL, memory_order_acquire);
	if (txn == NULL)
		error = txn_new(db, &txn);
	if (error != 0)
		return error;
	txn->opened = blazei_opened_begin(&db->txns);
	*ret_txn = txn;
	return 0;
}

static void txn_end(struct blaze_txn *txn)
{
	struct blaze_db *db = txn->db;
	const unsigned opened = txn->opened;

	blazei_writeset_clear(txn->writeset);
	/* Release: pairs with the acquire in blaze_txn_begin. Acquire: with this one in another
	 * thread, whose transaction is freed here. */
	txn_free(atomic_exchange_explicit(&db->spare_txn, txn, memory_order_acq_rel));
	/* Only now may db be freed. */
	blazei_opened_end(&db->txns, opened);
}

int blaze_txn_commit(struct blaze_txn *txn)
{
	int error = txn_usable(txn);

	if (error == -EINVAL)
		return error;
	if (error != 0) {
		txn_free(txn);
		return error;
	}
	error = blazei_db_commit(txn->db, NULL, txn->writeset);
	txn_end(txn);
	return error;
}

void blaze_txn_abort(struct blaze_txn *txn)
{
	if (txn_usable(txn) == 0)
		txn_end(txn);
	else
		txn_free(txn);
}

/* Writes ------------------------------------------------------------------------------------- */

/* Whether the transaction has the record, so that reads and writes of it need no lock. */
static bool peek(struct blaze_txn *txn, const struct blaze_id *id)
{
	return id != NULL && blazei_writeset_peek(txn->db->replica, txn->writeset, id);
}

static int stage(struct blaze_txn *txn, const struct blazei_write *write)
{
	int error = txn_usable(txn);

	if (error != 0)
		return error;
	if (write->kind != BLAZEI_WRITE_INSERT && peek(txn, write->id))
		return blazei_writeset_write(txn->db->replica, txn->writeset, write);
	pthread_mutex_lock(&txn->db->lock);
	error = blazei_writeset_write(txn->db->replica, txn->writeset, write);
	pthread_mutex_unlock(&txn->db->lock);
	return error;
}

int blaze_txn_insert(struct blaze_txn *txn, const struct blaze_record *record,
                     struct blaze_id *ret_id)
{
	struct blaze_id id;
	int error;

	if (txn == NULL || record == NULL)
		return -EINVAL;
	error = blaze_id_new(&id);
	if (error == 0)
		error = blaze_txn_insert_with_id(txn, &id, record);
	if (error == 0 && ret_id != NULL)
		*ret_id = id;
	return error;
}

int blaze_txn_insert_with_id(struct blaze_txn *txn, const struct blaze_id *id,
                             const struct blaze_record *record)
{
	const struct blazei_write write = {
		.kind = BLAZEI_WRITE_INSERT,
		.id = id,
		.record = record,
	};

	return stage(txn, &write);
}

int blaze_txn_update(struct blaze_txn *txn, const struct blaze_id *id,
                     const struct blaze_record *patch)
{
	const struct blazei_write write = {
		.kind = BLAZEI_WRITE_UPDATE,
		.id = id,
		.record = patch,
	};

	return stage(txn, &write);
}

int blaze_txn_upsert(struct blaze_txn *txn, const struct blaze_id *id,
                     const struct blaze_record *record)
{
	const struct blazei_write write = {
		.kind = BLAZEI_WRITE_UPSERT,
		.id = id,
		.record = record,
	};

	return stage(txn, &write);
}

int blaze_txn_delete(struct blaze_txn *txn, const struct blaze_id *id)
{
	const struct blazei_write write = { .kind = BLAZEI_WRITE_DELETE, .id = id };

	return stage(txn, &write);
}

int blaze_txn_put(struct blaze_txn *txn, const struct blaze_id *id, const void *value, size_t len)
{
	const struct blazei_write write = {
		.kind = BLAZEI_WRITE_PUT,
		.id = id,
		.value = value,
		.len = len,
	};

	return stage(txn, &write);
}

/* Reads -------------------------------------------------------------------------------------- */

int blaze_txn_get(struct blaze_txn *txn, const struct blaze_id *id,
                  struct blaze_record **ret_record)
{
	int error = txn_usable(txn);

	if (error != 0)
		return error;
	if (id == NULL || ret_record == NULL)
		return -EINVAL;
	if (peek(txn, id))
		return blazei_writeset_get(txn->db->replica, txn->writeset, id, ret_record);
	pthread_mutex_lock(&txn->db->lock);
	error = blazei_writeset_get(txn->db->replica, txn->writeset, id, ret_record);
	pthread_mutex_unlock(&txn->db->lock);
	return error;
}

int blaze_txn_fetch(struct blaze_txn *txn, const struct blaze_id *id, void *ret_value, size_t cap)
{
	int result = txn_usable(txn);

	if (result != 0)
		return result;
	if (id == NULL || (ret_value == NULL && cap > 0))
		return -EINVAL;
	if (peek(txn, id))
		return blazei_writeset_fetch(txn->db->replica, txn->writeset, id, ret_value, cap);
	pthread_mutex_lock(&txn->db->lock);
	result = blazei_writeset_fetch(txn->db->replica, txn->writeset, id, ret_value, cap);
	pthread_mutex_unlock(&txn->db->lock);
	return result;
}
