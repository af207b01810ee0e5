/* SPDX-License-Identifier: Apache-2.0 */
/* What a store holds for good, and what follows from it; see durable.h. */
#include "lib/db/durable.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "lib/db/db.h"
#include "lib/repl/logged.h"
#include "lib/repl/mark.h"
#include "lib/repl/members.h"
#include "lib/store/log.h"

#define ITEMS_MIN    256u
#define TICK_NS      BLAZEI_NS_PER_S
#define LONE_ORIGINS 64u /* more incarnations are too many for one that is alone */
#define LONE_ROUNDS  8u  /* of the list of members, more than it takes to retire them */
/* What comes in is made durable so long after the first of it, so that many share a sync. */
#define GATHER_NS (10 * BLAZEI_NS_PER_MS)

/* Items -------------------------------------------------------------------------------------- */

static bool items_grow(struct blazei_durable *durable)
{
	size_t max = durable->max != 0 ? durable->max * 2 : ITEMS_MIN;
	struct blazei_durable_item *items;

	if (durable->count < durable->max)
		return true;
	items = malloc(max * sizeof(*items));
	if (items == NULL)
		return false;
	for (size_t i = 0; i < durable->count; i++)
		items[i] = durable->items[(durable->first + i) & (durable->max - 1)];
	free(durable->items);
	durable->items = items;
	durable->first = 0;
	durable->max = max;
	return true;
}

/* Whether this is the next of a run: then it needs no item of its own. */
static bool item_extend(struct blazei_durable *durable, const struct blazei_origin *origin,
                        uint64_t seq)
{
	struct blazei_durable_item *last;
	uint64_t n;

	if (durable->count == 0)
		return false;
	last = &durable->items[(durable->first + durable->count - 1) & (durable->max - 1)];
	n = durable->appended - last->lsn;
	if (n != last->more + 1 || seq != last->entry.seq + n ||
	    !blazei_origin_equal(&last->entry.origin, origin))
		return false;
	last->more = n;
	return true;
}

static void item_add(struct blazei_durable *durable, const struct blazei_origin *origin,
                     uint64_t seq)
{
	if (!durable->lost && item_extend(durable, origin, seq))
		return;
	if (durable->lost || !items_grow(durable)) {
		durable->lost = true;
		durable->count = 0;
		return;
	}
	durable->items[(durable->first + durable->count++) & (durable->max - 1)] =
	        (struct blazei_durable_item){
		        .lsn = durable->appended,
		        .entry = { .origin = *origin, .seq = seq },
	        };
}

/* What an entry adds to the vector once it is durable: within a unit nothing, before its end. */
static void entry_note(struct blazei_durable *durable, const void *entry)
{
	const struct blazei_unit_bound *bound = entry;
	const struct blazei_txn_header *header = entry;

	/* What a checkpoint has was there before. */
	if (bound->kind == BLAZEI_KIND_BEGIN && (bound->flags & BLAZEI_UNIT_CHECKPOINT) == 0)
		durable->unit = true;
	if (bound->kind == BLAZEI_KIND_TXN && !durable->unit)
		item_add(durable, blazei_txn_origins(header), header->seq);
	if (bound->kind != BLAZEI_KIND_END || !durable->unit)
		return;
	for (uint32_t i = 0; i < bound->item_count; i++)
		item_add(durable, &bound->items[i].origin, bound->items[i].seq);
	durable->unit = false;
}

/* Gets what the replica merges; lock is held. */
static void on_append(void *arg, const void *entry, size_t len)
{
	struct blaze_db *db = arg;
	struct blazei_durable *durable = &db->durable;

	if (durable->error == 0)
		durable->error = blazei_store_append(db->store, entry, len, &durable->appended);
	if (durable->error != 0)
		return;
	entry_note(durable, entry);
	if (!durable->dirty && durable->threaded)
		pthread_cond_signal(&durable->work);
	durable->dirty = true;
}

static void entry_settle(struct blaze_db *db, const struct blazei_vector_entry *entry)
{
	int index = blazei_replica_durable_raise(db->replica, entry);

	if (index >= 0 && db->link != NULL && !db->silent)
		blazei_board_durable_store(blazei_db_board(db), (unsigned)index, entry->seq);
}

/* Settles what of a run is durable, up to lsn; whether some of it is not yet. */
static bool item_settle(struct blaze_db *db, struct blazei_durable_item *item, uint64_t lsn)
{
	const uint64_t n = lsn - item->lsn;
	struct blazei_vector_entry entry = item->entry;

	entry.seq += n < item->more ? n : item->more;
	entry_settle(db, &entry);
	if (n >= item->more)
		return false;
	item->lsn += n + 1;
	item->entry.seq += n + 1;
	item->more -= n + 1;
	return true;
}

/* Moves the vector's durable side on. lock is held. */
static void settle(struct blaze_db *db)
{
	struct blazei_durable *durable = &db->durable;
	uint64_t unsynced, lsn = blazei_store_durable(db->store, &unsynced);
	struct blazei_vector_entry entry;

	/* What is under way in the log counts no more. */
	if (blazei_replica_log_behind(db->replica))
		durable->count = 0;
	while (durable->count > 0 && durable->items[durable->first].lsn <= lsn) {
		struct blazei_durable_item *item = &durable->items[durable->first];

		if (item_settle(db, item, lsn))
			break;
		durable->first = (durable->first + 1) & (durable->max - 1);
		durable->count--;
	}
	if (!durable->lost || durable->error != 0 || durable->unit || lsn < durable->appended ||
	    blazei_replica_log_behind(db->replica))
		return;
	for (unsigned i = 0; i < blazei_replica_vector_count(db->replica); i++) {
		blazei_replica_vector_entry(db->replica, i, &entry);
		entry_settle(db, &entry);
	}
	durable->lost = false;
}

void blazei_durable_show(struct blaze_db *db)
{
	if (db->store == NULL || db->link == NULL || db->silent)
		return;
	for (unsigned i = 0; i < blazei_replica_vector_count(db->replica); i++)
		blazei_board_durable_store(blazei_db_board(db), i,
		                           blazei_replica_durable(db->replica, i));
}

/* Own transactions --------------------------------------------------------------------------- */

struct blazei_unsent *blazei_durable_place(struct blaze_db *db)
{
	struct blazei_unsent *place = db->durable.spare;

	if (place != NULL)
		db->durable.spare = place->next;
	else
		place = calloc(1, sizeof(*place));
	return place;
}

void blazei_durable_unplace(struct blaze_db *db, struct blazei_unsent *place)
{
	if (place == NULL)
		return;
	place->out.len = 0;
	place->next = db->durable.spare;
	db->durable.spare = place;
}

/* Puts it behind all that wait. */
static void unsent_push(struct blaze_db *db, struct blazei_unsent *place)
{
	struct blazei_durable *durable = &db->durable;
	struct blazei_vector_entry self;

	blazei_replica_vector_entry(db->replica, 0, &self);
	place->seq = self.seq;
	place->lsn = durable->appended;
	place->next = NULL;
	if (durable->unsent != NULL)
		durable->unsent_last->next = place;
	else
		durable->unsent = place;
	durable->unsent_last = place;
}

int blazei_durable_keep(struct blaze_db *db, struct blazei_unsent *place, uint64_t *ret_lsn)
{
	if (db->durable.error != 0) {
		blazei_durable_unplace(db, place);
		return db->durable.error;
	}
	blazei_replica_txn_take(db->replica, &place->out);
	unsent_push(db, place);
	*ret_lsn = place->lsn;
	return 0;
}

uint64_t blazei_durable_own(const struct blaze_db *db)
{
	struct blazei_vector_entry self;

	/* Relaxed: written under write_lock. */
	if (db->store != NULL)
		return atomic_load_explicit(&db->durable.published, memory_order_relaxed);
	blazei_replica_vector_entry(db->replica, 0, &self);
	return self.seq;
}

bool blazei_durable_published(const struct blaze_db *db, uint64_t seq)
{
	/* Acquire: pairs with the release in publish; what is published is on the board. */
	return db->store == NULL ||
	       atomic_load_explicit(&db->durable.published, memory_order_acquire) >= seq;
}

void blazei_durable_publish(struct blaze_db *db)
{
	struct blazei_durable *durable = &db->durable;
	uint64_t lsn = blazei_store_kept(db->store);
	struct blazei_unsent *place;

	while ((place = durable->unsent) != NULL && place->lsn <= lsn) {
		durable->unsent = place->next;
		blazei_db_publish(db, &place->out, place->seq);
		/* Release: pairs with the acquire in blazei_durable_published. */
		atomic_store_explicit(&durable->published, place->seq, memory_order_release);
		blazei_db_silent_show(db);
		blazei_durable_unplace(db, place);
	}
}

void blazei_durable_advance(struct blaze_db *db)
{
	pthread_mutex_lock(&db->write_lock);
	pthread_mutex_lock(&db->lock);
	settle(db);
	pthread_mutex_unlock(&db->lock);
	blazei_durable_publish(db);
	pthread_mutex_unlock(&db->write_lock);
}

void blazei_durable_rename(struct blaze_db *db)
{
	struct blazei_unsent *place;

	if (db->store == NULL)
		return;
	while ((place = db->durable.unsent) != NULL) {
		db->durable.unsent = place->next;
		blazei_durable_unplace(db, place);
	}
	/* Relaxed: nothing is published under the new name yet. */
	atomic_store_explicit(&db->durable.published, 0, memory_order_relaxed);
}

int blazei_durable_catch_up(struct blaze_db *db)
{
	struct blazei_unsent *place;
	int error;

	if (db->store == NULL || !blazei_replica_log_behind(db->replica))
		return 0;
	place = blazei_durable_place(db);
	error = place != NULL ? 0 : -ENOMEM;
	db->durable.count = 0;
	if (error == 0)
		error = blazei_replica_log_all(db->replica);
	if (error != 0) {
		blazei_durable_unplace(db, place);
		return error;
	}
	/* What was written again meanwhile is in no lane: the board tells of it. */
	unsent_push(db, place);
	return 0;
}

/* The thread --------------------------------------------------------------------------------- */

bool blazei_durable_full(struct blaze_db *db)
{
	uint64_t unsynced = 0;

	/* With durability none nothing is under way to the disk. */
	if (db->store != NULL && db->store->durability != BLAZE_DURABILITY_NONE)
		(void)blazei_store_durable(db->store, &unsynced);
	return unsynced > BLAZEI_UNSYNCED_MAX && !blazei_store_failed(db->store);
}

/* Waits for something to do, and a while for more of it; lock is held. False: it is to end. */
static bool work_await(struct blaze_db *db)
{
	struct blazei_durable *durable = &db->durable;
	struct timespec until;
	uint64_t until_ns;

	while (!durable->dirty && !durable->stop)
		pthread_cond_wait(&durable->work, &db->lock);
	until_ns = blazei_monotonic_ns() + GATHER_NS;
	until.tv_sec = (time_t)(until_ns / BLAZEI_NS_PER_S);
	until.tv_nsec = (long)(until_ns % BLAZEI_NS_PER_S);
	while (!durable->stop &&
	       pthread_cond_timedwait(&durable->work, &db->lock, &until) != ETIMEDOUT)
		;
	return !durable->stop;
}

static void *durable_main(void *arg)
{
	struct blaze_db *db = arg;
	struct blazei_durable *durable = &db->durable;
	int error = 0;

	pthread_mutex_lock(&db->lock);
	while (error == 0 && work_await(db)) {
		uint64_t lsn = durable->appended;

		durable->dirty = false;
		pthread_mutex_unlock(&db->lock);
		BLAZEI_TESTPOINT("durable_due");
		/* With durability none nothing is on its way, but what was written is published. */
		if (db->store->durability != BLAZE_DURABILITY_NONE)
			error = blazei_store_await(db->store, lsn);
		blazei_durable_advance(db);
		if (error == 0)
			blazei_compact_look(db);
		pthread_mutex_lock(&db->lock);
	}
	pthread_mutex_unlock(&db->lock);
	return NULL;
}

void blazei_durable_pump(struct blaze_db *db)
{
	bool dirty;
	uint64_t lsn, unsynced;

	if (db->store == NULL)
		return;
	pthread_mutex_lock(&db->lock);
	dirty = db->durable.dirty;
	lsn = db->durable.appended;
	/* Where the flusher makes it durable, this only has a look. */
	db->durable.dirty =
	        db->store->flusher_there && blazei_store_durable(db->store, &unsynced) < lsn;
	pthread_mutex_unlock(&db->lock);
	if (!dirty)
		return;
	if (!db->store->flusher_there)
		(void)blazei_store_wait(db->store, lsn);
	blazei_compact_pump(db);
	blazei_durable_advance(db);
}

int blazei_durable_start(struct blaze_db *db)
{
	int error;

	if (db->store == NULL || (db->flags & (BLAZE_DB_MANUAL | BLAZE_DB_READ_ONLY)) != 0)
		return 0;
	error = blazei_thread_start(&db->durable.thread, durable_main, db);
	db->durable.threaded = error == 0;
	return error;
}

static void thread_stop(struct blaze_db *db)
{
	pthread_mutex_lock(&db->lock);
	db->durable.stop = true;
	pthread_cond_signal(&db->durable.work);
	pthread_mutex_unlock(&db->lock);
	/* It may wait for what the flusher leaves for as long as an interval. */
	(void)blazei_store_sync(db->store);
	pthread_join(db->durable.thread, NULL);
}

void blazei_durable_stop(struct blaze_db *db)
{
	if (db->durable.threaded)
		thread_stop(db);
	/* It is started by that thread, and signals it while it runs. */
	blazei_compact_stop(db);
	db->durable.threaded = false;
}

/* Writes what is due of the list of members, by what is durable; 1 where there was anything. */
static int members_tick(struct blaze_db *db, bool at_once)
{
	struct blazei_vector_view view = { .entries = NULL };
	struct blazei_vector_entry *entries;
	int rc;

	pthread_mutex_lock(&db->lock);
	view.count = blazei_replica_vector_count(db->replica);
	entries = calloc(view.count, sizeof(*entries));
	for (unsigned i = 0; entries != NULL && i < view.count; i++) {
		blazei_replica_vector_entry(db->replica, i, &entries[i]);
		entries[i].seq = blazei_replica_durable(db->replica, i);
	}
	pthread_mutex_unlock(&db->lock);
	if (entries == NULL)
		return -ENOMEM;
	view.entries = entries;
	rc = blazei_db_members_tick(db, blazei_realtime_ns(), &view, at_once);
	free(entries);
	return rc;
}

void blazei_durable_tick(struct blaze_db *db, uint64_t now_ns)
{
	if (db->store == NULL || now_ns < db->next_tick_ns)
		return;
	/* At once again while it writes something. */
	db->next_tick_ns = members_tick(db, false) > 0 ? now_ns : now_ns + TICK_NS;
}

/* Where no other node is a member, nobody needs to know the incarnations apart under which this one
 * was opened before: so they go before they fill the log's places, also of a database that is never
 * registered, or for moments only. One opening says which are over, and a later one, whose report
 * has that below the frontier, retires them. */
static void lone_retire(struct blaze_db *db)
{
	int retired = 0, rc = 1;

	/* Others' can't be made fewer in this way: they are not counted. */
	if ((db->flags & BLAZE_DB_READ_ONLY) != 0 ||
	    blazei_replica_vector_count(db->replica) <= LONE_ORIGINS ||
	    !blazei_replica_retire_due(db->replica) ||
	    blazei_replica_lone_incarnations(db->replica) <= LONE_ORIGINS)
		return;
	for (unsigned i = 0; i < LONE_ROUNDS && rc == 1 && retired == 0; i++) {
		rc = members_tick(db, true);
		if (rc == 1 && blazei_store_sync(db->store) != 0)
			rc = -EROFS;
		blazei_durable_advance(db);
		pthread_mutex_lock(&db->lock);
		if (rc == 1)
			retired = blazei_replica_retire(db->replica, &db->txns);
		pthread_mutex_unlock(&db->lock);
	}
}

/* Life ---------------------------------------------------------------------------------------- */

static int on_recover(void *arg, const void *entry, size_t len)
{
	(void)len;
	return blazei_replay_entry(arg, entry);
}

/* All that came back is durable, and known to who had it, or to nobody. */
static void durable_begin(struct blaze_db *db)
{
	struct blazei_vector_entry entry;

	blazei_replica_vector_entry(db->replica, 0, &entry);
	/* Relaxed: nobody else has the database yet. */
	atomic_store_explicit(&db->durable.published, entry.seq, memory_order_relaxed);
	for (unsigned i = 0; i < blazei_replica_vector_count(db->replica); i++) {
		blazei_replica_vector_entry(db->replica, i, &entry);
		(void)blazei_replica_durable_raise(db->replica, &entry);
	}
}

/* From here on the replica's steps go to the log, and first that a unit has no end. */
static void log_begin(struct blaze_db *db, bool unfinished)
{
	const struct blazei_log_sink log = { .arg = db, .append = on_append };

	db->durable.unit = false;
	blazei_replica_set_log(db->replica, &log);
	if (unfinished)
		blazei_logged_drop(db->replica);
}

int blazei_durable_open(struct blaze_db *db, struct blazei_replica_options *options)
{
	pthread_condattr_t attributes;
	struct blazei_replay replay;
	int error;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&db->durable.work, &attributes);
	pthread_condattr_destroy(&attributes);
	options->hlc_floor = blazei_realtime_ns();
	options->looks = (db->flags & BLAZE_DB_READ_ONLY) != 0;
	error = blazei_replay_init(&replay, options);
	if (error == 0)
		error = blazei_store_recover(db->store, db->self.incarnation, on_recover, &replay);
	if (error == -E2BIG)
		blazei_log(BLAZE_LOG_ERROR,
		           "database %s: there is no place for one more opening in its log, which "
		           "can only be read",
		           db->name);
	if (error == 0 && blazei_replay_lacking(&replay)) {
		blazei_log(BLAZE_LOG_ERROR,
		           "database %s: its log begins with a checkpoint that has no end",
		           db->name);
		error = -EBADMSG;
	}
	db->replica = replay.replica;
	if (error == 0) {
		blazei_replica_set_server(db->replica,
		                          blazei_store_role(db->store) == BLAZE_ROLE_SERVER);
		durable_begin(db);
		if ((db->flags & BLAZE_DB_READ_ONLY) == 0)
			log_begin(db, blazei_replay_unfinished(&replay));
		error = db->durable.error;
	}
	if (error == 0)
		lone_retire(db);
	if (error == 0)
		blazei_compact_open(db);
	blazei_replay_fini(&replay);
	return error;
}

/* Whether the next opening may go on under this name: it is not to be left, and the log has all
 * that was written under it. */
static bool resumable(const struct blaze_db *db)
{
	return db->replica != NULL && db->durable.error == 0 && db->nameless == 0 &&
	       !blazei_replica_displaced(db->replica) && !blazei_replica_log_behind(db->replica);
}

int blazei_durable_close(struct blaze_db *db)
{
	struct blazei_unsent *place;
	bool acknowledged; /* before it was durable */
	int error = 0;

	if (db->store == NULL)
		return 0;
	acknowledged = db->store->durability != BLAZE_DURABILITY_SYNC;
	if (resumable(db))
		blazei_store_resume_under(db->store, db->self.incarnation);
	/* With sync, what was acknowledged is durable whatever becomes of this. */
	if (blazei_store_close(db->store) != 0) {
		blazei_log(BLAZE_LOG_WARNING, "database %s: its store was not closed cleanly",
		           db->name);
		error = acknowledged ? -EIO : 0;
	}
	blazei_durable_rename(db);
	while ((place = db->durable.spare) != NULL) {
		db->durable.spare = place->next;
		blazei_buffer_free(&place->out);
		free(place);
	}
	free(db->durable.items);
	pthread_cond_destroy(&db->durable.work);
	db->store = NULL;
	return error;
}
