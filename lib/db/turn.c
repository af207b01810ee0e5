/* SPDX-License-Identifier: Apache-2.0 */
/* One turn: takes in what the lanes hold, then moves catch-up on. The service thread and
 * blaze_db_pump do nothing else.
 *
 * CONCURRENCY  poll_lock for the whole turn; `lock` once for each batch of a peer, so a writer
 *        never waits for more than 64 transactions.
 *
 * FAILURE  Without memory the rest of a batch is not consumed and comes again with the next
 * turn. */
#include "lib/db/db.h"

#include "lib/db/service.h"
#include "lib/repl/mark.h"
#include "lib/repl/members.h"

#define BATCH_MAX 64u /* what a link hands over at once, at most: link.h */
#define POLL_MAX  4096u

#define REATTACH_NS (100 * BLAZEI_NS_PER_MS)

/* How often, and of how many records, what nobody needs any more is dropped. */
#define COLLECT_NS   (10 * BLAZEI_NS_PER_MS)
#define COLLECT_ROWS 512u

/* How often incarnations that are over are looked for. */
#define RETIRE_NS (100 * BLAZEI_NS_PER_MS)

/* The handler's own result, which no link returns: the census may be out of date. */
#define STOP_STALE (-EUCLEAN)

/* So often at a time it is brought up to date. */
#define STALE_MAX 3u

struct receipt {
	struct blaze_db *db;
	bool fresh;                         /* the census was brought up to date just before */
	const struct blazei_member *member; /* of the last batch */
	uint64_t applied;
};

/* Whether a member has shown something else since its board was read. What it writes after it has
 * taken a link back is not to pass by that link: where the record is seen, so is the version of its
 * board. One that is just changing, or whose owner died in that, stays in force as it was. */
static bool shows_anew(const struct blazei_member *member)
{
	uint64_t version = 0;

	if (member->board != NULL)
		version = blazei_board_version(member->board, member->board_bytes);
	return version % 2 == 0 && version != 0 && version != member->version;
}

static int records_handle(void *arg, const struct blazei_link_record *records, unsigned count)
{
	struct receipt *receipt = arg;
	struct blaze_db *db = receipt->db;
	struct blazei_txn_view views[BATCH_MAX];
	unsigned n = 0;
	int applied = 0;

	if (receipt->member == NULL || !blazei_id_equal(&receipt->member->peer, &records[0].peer)) {
		receipt->member = blazei_census_by_peer(&db->census, &records[0].peer);
	}
	/* Before anything is passed over, the boards are read: a link that its writer had seen when
	 * it wrote is then seen here. */
	if (!receipt->fresh && (receipt->member == NULL || !receipt->member->reachable))
		return STOP_STALE;
	if (receipt->member != NULL && shows_anew(receipt->member))
		return STOP_STALE;
	for (unsigned i = 0; i < count && n < BATCH_MAX; i++) {
		if (records[i].data == NULL) {
			/* Relaxed: a counter of its own. */
			atomic_fetch_add_explicit(&db->laps, 1, memory_order_relaxed);
			continue;
		}
		views[n].data = records[i].data;
		views[n].len = records[i].len;
		n++;
	}
	if (n == 0 || receipt->member == NULL || !receipt->member->reachable)
		return 0;
	pthread_mutex_lock(&db->lock);
	/* What is passed over comes by catch-up, once it may. */
	if (!blazei_lag_below(db, receipt->member))
		applied = blazei_replica_receive(db->replica, blazei_realtime_ns(), views, n);
	pthread_mutex_unlock(&db->lock);
	if (applied < 0)
		return applied;
	receipt->applied += (uint64_t)applied;
	return 0;
}

/* Takes in at most POLL_MAX records. Returns whether there were any. */
static bool receive(struct blaze_db *db, uint64_t now_ns)
{
	struct receipt receipt = { .db = db };
	int result = db->link->ops->poll(db->link, records_handle, &receipt, POLL_MAX);

	for (unsigned i = 0; result == STOP_STALE && i < STALE_MAX; i++) {
		if (blazei_db_census(db, false) != 0)
			break;
		receipt.fresh = true;
		receipt.member = NULL;
		result = db->link->ops->poll(db->link, records_handle, &receipt, POLL_MAX);
	}
	if (result == 0)
		db->drains++;
	else if (result == -EIDRM)
		blazei_db_reopen(db, now_ns);
	if (receipt.applied > 0) {
		db->advanced += receipt.applied;
		pthread_mutex_lock(&db->lock);
		blazei_db_show_vector(db);
		pthread_mutex_unlock(&db->lock);
	}
	return result > 0 || receipt.applied > 0 || result == -ESTALE || result == -EBADMSG ||
	       result == STOP_STALE;
}

/* Leaves a name of no use, and shows itself under a new one. */
static void name_see_to(struct blaze_db *db, uint64_t now_ns)
{
	/* Relaxed: a hint; what it is about is looked at under the locks. `nameless` and `silent`
	 * are set by this side of the link. */
	if (atomic_load_explicit(&db->displaced, memory_order_relaxed) || db->nameless != 0)
		blazei_db_renew(db, now_ns);
	if (db->silent && db->link != NULL && now_ns >= db->next_reopen_ns &&
	    blazei_db_reattach(db) != 0)
		db->next_reopen_ns = now_ns + REATTACH_NS;
}

/* Drops a few of the records that nobody needs any more, but not from under a snapshot that is on
 * its way out. */
static void collect(struct blaze_db *db, uint64_t now_ns)
{
	if (now_ns < db->next_collect_ns)
		return;
	db->next_collect_ns = now_ns + COLLECT_NS;
	for (unsigned i = 0; i < BLAZEI_ANSWERS_MAX; i++)
		if (db->answers[i].active)
			return;
	pthread_mutex_lock(&db->lock);
	if (blazei_replica_has_frontier(db->replica))
		(void)blazei_replica_collect(db->replica, COLLECT_ROWS);
	pthread_mutex_unlock(&db->lock);
}

/* Retires incarnations that are over, and shows that in the same go: indices mean the same on the
 * board as in the replica, whenever the lock is free. Not beside a session, which it would end. */
static void retire(struct blaze_db *db, uint64_t now_ns)
{
	if (now_ns < db->next_retire_ns || db->pull.active)
		return;
	db->next_retire_ns = now_ns + RETIRE_NS;
	for (unsigned i = 0; i < BLAZEI_ANSWERS_MAX; i++)
		if (db->answers[i].active)
			return;
	pthread_mutex_lock(&db->lock);
	if (blazei_replica_has_frontier(db->replica) && blazei_replica_retire_due(db->replica) &&
	    blazei_replica_retire(db->replica, &db->txns) > 0)
		blazei_db_show_vector(db);
	pthread_mutex_unlock(&db->lock);
}

unsigned blazei_db_turn(struct blaze_db *db, uint64_t now_ns, uint64_t *ret_advanced)
{
	unsigned flags = 0;

	pthread_mutex_lock(&db->poll_lock);
	name_see_to(db, now_ns);
	db->full = blazei_durable_full(db);
	if (db->full) {
		flags |= BLAZEI_TURN_NAP;
	} else if (db->link != NULL) {
		if (receive(db, now_ns))
			flags |= BLAZEI_TURN_WORKED;
		/* Relaxed: a hint; the ring says the same at the next poll. */
		else if (atomic_load_explicit(&db->removed, memory_order_relaxed))
			blazei_db_reopen(db, now_ns);
		if (now_ns >= db->next_check_ns)
			flags |= blazei_lag_check(db, now_ns);
		flags |= blazei_pull_step(db, now_ns);
		flags |= blazei_answers_step(db, now_ns);
		blazei_durable_tick(db, now_ns);
		collect(db, now_ns);
		retire(db, now_ns);
	}
	*ret_advanced = db->advanced;
	pthread_mutex_unlock(&db->poll_lock);
	return flags;
}

/* As the service thread: turns, spins, sleeps; until something came in or watches were told, and
 * nothing more is there, or the time is up. */
static uint64_t pump(struct blaze_db *db, uint64_t timeout_ns, unsigned *ret_flags)
{
	uint64_t start_ns = blazei_monotonic_ns(), worked_ns = start_ns, now_ns = start_ns;
	uint64_t before, advanced, called = 0;

	blazei_db_poll_lock(db);
	before = db->advanced;
	blazei_db_poll_unlock(db);
	for (;;) {
		/* Acquire: pairs with the release in blazei_db_kick; read before what it tells. */
		uint32_t kick = atomic_load_explicit(&db->kick, memory_order_acquire);
		unsigned flags = blazei_db_turn(db, now_ns, &advanced);

		blazei_durable_pump(db);
		called += blazei_notify_pump(db);
		*ret_flags = flags;
		if (advanced + called > before && (flags & BLAZEI_TURN_WORKED) == 0)
			return advanced - before;
		now_ns = timeout_ns > 0 ? blazei_monotonic_ns() : start_ns;
		if (now_ns - start_ns >= timeout_ns)
			return advanced - before;
		if ((flags & BLAZEI_TURN_WORKED) != 0) {
			worked_ns = now_ns;
		} else if (now_ns - worked_ns < db->spin_ns) {
			blazei_cpu_relax();
		} else {
			blazei_service_sleep(db, kick, flags, timeout_ns - (now_ns - start_ns));
			/* What the sleep began must not look older than this turn. */
			now_ns = blazei_monotonic_ns();
		}
	}
}

int blaze_db_pump(struct blaze_db *db, uint64_t timeout_ns)
{
	int error = blazei_db_writable(db);
	uint64_t advanced;
	unsigned flags = 0;

	if (error == 0 && blazei_notifying())
		error = -EDEADLK;
	if (error != 0)
		return error;
	if ((db->flags & BLAZE_DB_MANUAL) == 0)
		return -EINVAL;
	blazei_event_pump_begin(db);
	advanced = pump(db, timeout_ns, &flags);
	blazei_event_pump_end(db, flags);
	return advanced > INT32_MAX ? INT32_MAX : (int)advanced;
}
