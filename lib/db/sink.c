/* SPDX-License-Identifier: Apache-2.0 */
/* What the replica tells of, on its way to those who want to know: the conflict log, and watches.
 *
 * WHY    A database that nobody watches has a sink without the callbacks for changes, so that the
 *        replica does not prepare any. Changes of a transaction gather in each watch that wants
 *        them, and are queued when it is merged (watch.h, I1). Conflicts and news of the replica
 *        itself are queued one by one, and so come before the changes of the same transaction.
 *
 * CONCURRENCY  Every callback runs within a call of the replica, so the database's lock is held. */
#include <stdlib.h>

#include "lib/db/db.h"
#include "lib/op/record.h"
#include "lib/store/log.h"

static struct blazei_happening *happening_new(uint32_t kind)
{
	struct blazei_happening *happening = calloc(1, sizeof(*happening));

	if (happening == NULL)
		return NULL;
	atomic_init(&happening->refs, 1);
	happening->kind = kind;
	happening->bytes = sizeof(*happening);
	return happening;
}

/* Queues one event alone in every watch that wants it, and lets go of it; NULL: without memory. */
static void announce(struct blaze_db *db, uint32_t kind, const struct blaze_id *id,
                     struct blazei_happening *happening)
{
	for (struct blaze_watch *watch = db->watches; watch != NULL; watch = watch->next) {
		struct blazei_watch_list list = { .first = NULL };
		bool lost = happening == NULL;

		if (id != NULL ? !blazei_watch_covers(watch, kind, id) : !(watch->kinds & kind))
			continue;
		if (!lost && !blazei_watch_field_matches(watch, happening))
			continue;
		lost = lost || !blazei_watch_list_add(&list, happening);
		blazei_notify_commit(watch, &list, lost);
	}
	if (happening != NULL)
		blazei_happening_put(happening);
}

/* Conflicts ---------------------------------------------------------------------------------- */

static struct blazei_happening *conflict_happening(const struct blaze_db *db,
                                                   const struct blazei_effect_conflict *conflict)
{
	const struct blazei_effect_side *side =
	        conflict->incoming_won ? &conflict->winner : &conflict->loser;
	struct blazei_happening *happening = happening_new(BLAZE_WATCH_CONFLICT);
	uint32_t bytes = blazei_conflict_bytes(conflict);

	if (happening == NULL)
		return NULL;
	happening->conflict = malloc(bytes);
	if (happening->conflict == NULL) {
		blazei_happening_put(happening);
		return NULL;
	}
	blazei_conflict_encode(happening->conflict, conflict, &db->self, db->conflicts.last);
	happening->bytes += bytes;
	happening->id = *conflict->id;
	happening->from = (struct blaze_position){
		.node = side->origin->node,
		.incarnation = side->origin->incarnation,
		.seq = side->seq,
		.time_ns = side->hlc,
	};
	return happening;
}

static void on_conflict(void *arg, const struct blazei_effect_conflict *conflict)
{
	struct blaze_db *db = arg;

	blazei_conflict_log_add(&db->conflicts, conflict, &db->self);
	if (db->watches != NULL)
		announce(db, BLAZE_WATCH_CONFLICT, conflict->id, conflict_happening(db, conflict));
}

/* Changes ------------------------------------------------------------------------------------ */

static bool rescans(const struct blaze_watch *watch)
{
	/* Relaxed: cleared under the database's lock only (watch.h, I3). */
	return atomic_load_explicit(&watch->rescan, memory_order_relaxed);
}

static bool on_wants(void *arg, const struct blaze_id *id)
{
	const struct blaze_db *db = arg;

	for (const struct blaze_watch *watch = db->watches; watch != NULL; watch = watch->next)
		if (!rescans(watch) && blazei_watch_covers(watch, BLAZEI_WATCH_CHANGES, id))
			return true;
	return false;
}

static struct blazei_happening *change_happening(const struct blazei_effect_change *change)
{
	uint32_t kind = BLAZE_WATCH_UPDATE;
	struct blazei_happening *happening;

	if (change->before == NULL)
		kind = BLAZE_WATCH_INSERT;
	else if (change->after == NULL)
		kind = BLAZE_WATCH_DELETE;
	happening = happening_new(kind);
	if (happening == NULL)
		return NULL;
	happening->id = *change->id;
	happening->before = change->before;
	happening->after = change->after;
	happening->bytes += change->before != NULL ? change->before->names_values : 0;
	happening->bytes += change->after != NULL ? change->after->names_values : 0;
	if (change->local)
		happening->flags |= BLAZE_WATCH_LOCAL;
	if (change->origin == NULL) {
		happening->flags |= BLAZE_WATCH_STATE;
		return happening;
	}
	happening->from = (struct blaze_position){
		.node = change->origin->node,
		.incarnation = change->origin->incarnation,
		.seq = change->seq,
		.time_ns = change->hlc,
	};
	return happening;
}

/* One of the transaction's changes into what gathers in the watch. */
static void gather(struct blaze_watch *watch, struct blazei_happening *happening)
{
	if (watch->withheld)
		return;
	if (!rescans(watch) && watch->open.count < watch->events_max &&
	    watch->open.bytes + happening->bytes <= watch->bytes_max &&
	    blazei_watch_list_add(&watch->open, happening))
		return;
	watch->withheld = true;
	blazei_watch_list_clear(&watch->open);
}

static void withhold_all(struct blaze_db *db)
{
	for (struct blaze_watch *watch = db->watches; watch != NULL; watch = watch->next) {
		if ((watch->kinds & BLAZEI_WATCH_CHANGES) == 0)
			continue;
		watch->withheld = true;
		blazei_watch_list_clear(&watch->open);
	}
}

static void on_changed(void *arg, const struct blazei_effect_change *change)
{
	struct blaze_db *db = arg;
	struct blazei_happening *happening = change_happening(change);

	if (happening == NULL) {
		blaze_record_free(change->before);
		blaze_record_free(change->after);
		withhold_all(db);
		return;
	}
	for (struct blaze_watch *watch = db->watches; watch != NULL; watch = watch->next)
		if (blazei_watch_covers(watch, happening->kind, &happening->id) &&
		    blazei_watch_field_matches(watch, happening))
			gather(watch, happening);
	blazei_happening_put(happening);
}

static void on_committed(void *arg)
{
	struct blaze_db *db = arg;

	for (struct blaze_watch *watch = db->watches; watch != NULL; watch = watch->next) {
		if (watch->open.count > 0 || watch->withheld)
			blazei_notify_commit(watch, &watch->open, watch->withheld);
		watch->withheld = false;
	}
}

/* News of the replica ------------------------------------------------------------------------ */

static struct blazei_happening *sync_happening(enum blaze_sync sync,
                                               const struct blazei_origin *origin, uint64_t seq)
{
	struct blazei_happening *happening = happening_new(BLAZE_WATCH_SYNC);

	if (happening == NULL)
		return NULL;
	happening->sync = sync;
	happening->from.seq = seq;
	if (origin != NULL) {
		happening->from.node = origin->node;
		happening->from.incarnation = origin->incarnation;
	}
	return happening;
}

static void sync_announce(struct blaze_db *db, enum blaze_sync sync,
                          const struct blazei_origin *origin, uint64_t seq)
{
	announce(db, BLAZE_WATCH_SYNC, NULL, sync_happening(sync, origin, seq));
}

void blazei_db_tell_past(const struct blaze_db *db, struct blaze_watch *watch)
{
	struct blazei_watch_list list = { .first = NULL };
	struct blazei_happening *happening;
	bool lost;

	if (db->store == NULL || !db->store->cut || (watch->kinds & BLAZE_WATCH_SYNC) == 0)
		return;
	happening = sync_happening(BLAZE_SYNC_LOG_CUT, NULL, 0);
	lost = happening == NULL || !blazei_watch_list_add(&list, happening);
	blazei_notify_commit(watch, &list, lost);
	if (happening != NULL)
		blazei_happening_put(happening);
}

static void on_event(void *arg, const struct blazei_effect_event *event)
{
	static const enum blaze_sync syncs[BLAZEI_EFFECT_EVENT_KINDS] = {
		[BLAZEI_EFFECT_ORIGIN_QUARANTINED] = BLAZE_SYNC_ORIGIN_QUARANTINED,
		[BLAZEI_EFFECT_CLOCK_AHEAD] = BLAZE_SYNC_CLOCK_AHEAD,
		[BLAZEI_EFFECT_CLOCK_BEHIND] = BLAZE_SYNC_CLOCK_BEHIND,
		[BLAZEI_EFFECT_ORIGIN_STALLED] = BLAZE_SYNC_ORIGIN_STALLED,
		[BLAZEI_EFFECT_ORIGIN_RESUMED] = BLAZE_SYNC_ORIGIN_RESUMED,
		[BLAZEI_EFFECT_ORIGIN_DISPLACED] = BLAZE_SYNC_ORIGIN_DISPLACED,
		[BLAZEI_EFFECT_ORIGIN_RENEWED] = BLAZE_SYNC_ORIGIN_RENEWED,
		[BLAZEI_EFFECT_NODE_TWICE] = BLAZE_SYNC_NODE_TWICE,
		[BLAZEI_EFFECT_ORIGINS_FULL] = BLAZE_SYNC_ORIGINS_FULL,
		[BLAZEI_EFFECT_MEMBER_JOINED] = BLAZE_SYNC_MEMBER_JOINED,
		[BLAZEI_EFFECT_MEMBER_EXPELLED] = BLAZE_SYNC_MEMBER_EXPELLED,
	};
	struct blaze_db *db = arg;

	/* Relaxed: a hint for the next turn. */
	if (event->kind == BLAZEI_EFFECT_ORIGIN_DISPLACED)
		atomic_store_explicit(&db->displaced, true, memory_order_relaxed);
	if (event->kind == BLAZEI_EFFECT_CHANGES_LOST)
		withhold_all(db);
	else if (db->watches != NULL)
		sync_announce(db, syncs[event->kind], event->origin, event->seq);
}

void blazei_db_tell_peer(struct blaze_db *db, enum blaze_sync sync,
                         const struct blazei_origin *peer)
{
	if (db->watches != NULL)
		sync_announce(db, sync, peer, 0);
}

void blazei_db_tell_sync(struct blaze_db *db, enum blaze_sync sync)
{
	pthread_mutex_lock(&db->lock);
	if (db->watches != NULL)
		sync_announce(db, sync, NULL, 0);
	pthread_mutex_unlock(&db->lock);
}

void blazei_db_listen(struct blaze_db *db)
{
	struct blazei_sink sink = { .arg = db, .conflict = on_conflict, .event = on_event };

	if (db->watches != NULL) {
		sink.wants = on_wants;
		sink.changed = on_changed;
		sink.committed = on_committed;
	}
	blazei_replica_set_sink(db->replica, &sink);
}
