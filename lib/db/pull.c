/* SPDX-License-Identifier: Apache-2.0 */
/* The side that lacks something; see pull.h.
 *
 * FAILURE  The first thing wrong ends the attempt; the next one goes to another peer where there is
 *        one, and waits longer each time. It goes on with what is staged, if it is the same peer.
 *        Why attempts fail is told once, until one succeeds or fails for another reason: a full
 *        /dev/shm may last. */
#include "lib/db/db.h"

#include <unistd.h>

#define MESSAGES_PER_STEP 8u
#define RETRY_NS          (20 * BLAZEI_NS_PER_MS)
#define RETRY_DOUBLED_MAX 7u
#define STAGE_BYTES_MIN   (UINT64_C(64) << 20)
#define SWEEP_NS          (200 * BLAZEI_NS_PER_MS)
#define SWEEP_FOR_NS      (2 * BLAZEI_NS_PER_S)

uint64_t blazei_pull_stage_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);
	long page_bytes = sysconf(_SC_PAGESIZE);
	uint64_t bytes = 0;

	if (pages > 0 && page_bytes > 0)
		bytes = (uint64_t)pages * (uint64_t)page_bytes / 4;
	return bytes > STAGE_BYTES_MIN ? bytes : STAGE_BYTES_MIN;
}

/* Removes the ring of the own request, if there is one. */
static void ring_remove(const struct blaze_db *db)
{
	static const struct blaze_id none;
	char name[BLAZEI_CARRY_NAME_BYTES];

	if (blazei_id_equal(&db->text.request.ring, &none))
		return;
	blazei_carry_name(db->name, &db->text.request.ring, name);
	/* Mostly gone already: it is removed by whoever leaves it last. */
	(void)blazei_link_unlink_ring(name);
}

/* By their names: the board on which a dead one named its ring may be gone before it was read. Its
 * process may still be on its way out, so more than once. */
void blazei_pull_sweep(struct blaze_db *db, uint64_t now_ns)
{
	static const struct blaze_id none;
	char name[BLAZEI_CARRY_NAME_BYTES];

	if (db->census.left)
		db->sweep_until_ns = now_ns + SWEEP_FOR_NS;
	db->census.left = false;
	if (now_ns >= db->sweep_until_ns || now_ns < db->next_sweep_ns)
		return;
	db->next_sweep_ns = now_ns + SWEEP_NS;
	blazei_carry_name(db->name, &none, name);
	*(strrchr(name, '.') + 1) = '\0';
	blazei_link_sweep_rings(name);
}

/* Shows a request on the board; NULL withdraws it. */
static void request_show(struct blaze_db *db, const struct blaze_id *peer,
                         const struct blaze_id *ring)
{
	pthread_mutex_lock(&db->lock);
	memset(&db->text.request, 0, sizeof(db->text.request));
	if (ring != NULL)
		db->text.request.ring = *ring;
	if (peer != NULL)
		db->text.request.peer = *peer;
	blazei_db_show_text(db);
	pthread_mutex_unlock(&db->lock);
}

static void attempt_failed(struct blaze_db *db, uint64_t now_ns)
{
	struct blazei_member *member = blazei_census_by_peer(&db->census, &db->pull.peer);
	unsigned doubled;

	db->stage_until_ns = now_ns + BLAZEI_PULL_KEEP_NS;
	if (member == NULL)
		return;
	doubled =
	        member->lag.failures < RETRY_DOUBLED_MAX ? member->lag.failures : RETRY_DOUBLED_MAX;
	member->lag.failures++;
	member->lag.not_before = now_ns + (RETRY_NS << doubled);
}

bool blazei_pull_news(const char **told, const char *why)
{
	bool news = *told == NULL || strcmp(*told, why) != 0;

	*told = why;
	return news;
}

void blazei_pull_start(struct blaze_db *db, struct blazei_member *member, uint64_t now_ns)
{
	struct blazei_pull *pull = &db->pull;
	struct blaze_id ring;
	int error = blaze_id_new(&ring);

	pull->peer = member->peer;
	if (error == 0) {
		pull->active = true;
		pull->progress_ns = now_ns;
		pull->useful_ns = now_ns;
		request_show(db, NULL, &ring);
	}
	BLAZEI_TESTPOINT("pull_named");
	if (error == 0)
		error = blazei_carry_open(db, &pull->carry, &ring, BLAZEI_SESSION_ASKER);
	BLAZEI_TESTPOINT("pull_made");
	if (error != 0) {
		if (blazei_pull_news(&db->told.asking, blaze_strerror(error)))
			blazei_log(BLAZE_LOG_WARNING,
			           "database %s: cannot ask for what it lacks: %s", db->name,
			           blaze_strerror(error));
		attempt_failed(db, now_ns);
		blazei_pull_stop(db);
		return;
	}
	request_show(db, &pull->peer, &ring);
	db->link->ops->wake(db->link);
	blazei_db_tell_sync(db, BLAZE_SYNC_CATCHING_UP);
}

/* Whether a snapshot's vector claims more of a node that lives than its own board does. Its board
 * may be one transaction behind its lane (board.h, I3), never more: beyond that somebody lies, and
 * who believed it would take that node's next writes for duplicates. Of nodes that are gone nobody
 * can tell. The boards were read just now: later they may be mapped no more. */
static bool vector_exceeds(struct blaze_db *db)
{
	const struct blazei_session_entry *entries;
	unsigned count = blazei_session_vector(db->pull.carry.session, &entries);
	struct blazei_board_item own;

	for (unsigned i = 0; i < count; i++) {
		const struct blazei_member *member =
		        blazei_census_by_node(&db->census, &entries[i].origin.node);

		if (member == NULL || member->board == NULL ||
		    blazei_board_vector_count(member->board, member->board_bytes) == 0)
			continue;
		blazei_board_vector_load(member->board, 0, &own);
		if (blazei_origin_equal(&own.entry.origin, &entries[i].origin) &&
		    entries[i].seq > own.entry.seq && entries[i].seq - own.entry.seq > 1)
			return true;
	}
	return false;
}

/* How many transactions of others the own vector tells of. `lock` is held. */
static uint64_t others_count(const struct blaze_db *db)
{
	unsigned count = blazei_replica_vector_count(db->replica);
	struct blazei_vector_entry entry;
	uint64_t n = 0;

	for (unsigned i = 1; i < count; i++) {
		blazei_replica_vector_entry(db->replica, i, &entry);
		/* A mark's is a time. */
		if (!blazei_origin_retired(&entry.origin))
			n += entry.seq;
	}
	return n;
}

/* Something was fetched: counted once per attempt, with the first that comes. */
static void fetched_count(struct blaze_db *db)
{
	if (db->pull.counted)
		return;
	db->pull.counted = true;
	/* Relaxed: a counter of its own. */
	atomic_fetch_add_explicit(&db->catch_ups, 1, memory_order_relaxed);
}

static int install(struct blaze_db *db)
{
	struct blazei_pull *pull = &db->pull;
	uint64_t before, after;
	int error;

	/* Nobody writes between the installation and a new name. */
	pthread_mutex_lock(&db->write_lock);
	pthread_mutex_lock(&db->lock);
	before = others_count(db);
	error = blazei_session_install(pull->carry.session, blazei_realtime_ns());
	if (error == 0) {
		after = others_count(db);
		/* Of a snapshot that is all that there is now, the vector may have gone back. */
		pull->raised += after > before ? after - before : 1;
		db->advanced += after > before ? after - before : 1;
		db->nameless = blazei_db_leave_name(db);
		blazei_db_show_vector(db);
		fetched_count(db);
	}
	pthread_mutex_unlock(&db->lock);
	pthread_mutex_unlock(&db->write_lock);
	return error;
}

void blazei_pull_stop(struct blaze_db *db)
{
	struct blazei_pull *pull = &db->pull;

	if (!pull->active)
		return;
	blazei_carry_end(&pull->carry);
	ring_remove(db);
	request_show(db, NULL, NULL);
	memset(pull, 0, sizeof(*pull));
}

static void succeed(struct blaze_db *db, uint64_t now_ns)
{
	struct blazei_member *member = blazei_census_by_peer(&db->census, &db->pull.peer);

	if (member != NULL && db->pull.raised > 0) {
		member->lag.failures = 0;
		member->lag.watched = false;
	} else {
		/* Its board promised what it doesn't have: not again at once. */
		attempt_failed(db, now_ns);
	}
	db->told.asking = NULL;
	db->told.attempt = NULL;
	fetched_count(db);
	blazei_pull_stop(db);
	blazei_db_tell_sync(db, BLAZE_SYNC_LIVE);
	/* Who lacks the same finds it here now. */
	db->link->ops->wake(db->link);
	db->next_check_ns = 0;
}

static void fail(struct blaze_db *db, uint64_t now_ns, int error)
{
	const char *why = error < 0 ? blaze_strerror(error) : "no answer";

	if (db->pull.carry.session != NULL) {
		struct blazei_session_status status = blazei_carry_status(&db->pull.carry);

		/* The other side is told, if it still listens. */
		if (status.state == BLAZEI_SESSION_REFUSED && !status.by_peer)
			(void)blazei_carry_out(db, &db->pull.carry, 1);
		if (status.state == BLAZEI_SESSION_REFUSED)
			why = blazei_session_reason_text(status.reason);
	}
	if (blazei_pull_news(&db->told.attempt, why))
		blazei_log(BLAZE_LOG_INFO, "database %s: an attempt to catch up ended: %s",
		           db->name, why);
	attempt_failed(db, now_ns);
	blazei_pull_stop(db);
}

/* A snapshot that is whole is merged, whatever becomes of the peer. Where there is no memory for
 * it, that is tried again for a while; then it stays staged, for the next attempt to go on with. */
static unsigned staged_step(struct blaze_db *db, uint64_t now_ns)
{
	int error = blazei_db_census(db, false);

	if (error == 0 && vector_exceeds(db)) {
		/* Nothing that came with it is worth keeping. */
		blazei_stage_clear(db->stage);
		error = -EBADMSG;
	}
	if (error == 0)
		error = install(db);
	if (error == -ENOMEM &&
	    blazei_passed_ns(now_ns, db->pull.useful_ns) <= BLAZEI_PULL_USELESS_NS)
		return BLAZEI_TURN_NAP;
	if (error != 0)
		fail(db, now_ns, error);
	else
		succeed(db, now_ns);
	return BLAZEI_TURN_WORKED;
}

/* Counts and shows the transactions that were merged as they came. */
static void applied_note(struct blaze_db *db)
{
	struct blazei_pull *pull = &db->pull;
	uint64_t applied = blazei_carry_status(&pull->carry).txns;

	if (applied == pull->applied)
		return;
	fetched_count(db);
	pull->raised += applied - pull->applied;
	db->advanced += applied - pull->applied;
	pull->applied = applied;
	pthread_mutex_lock(&db->lock);
	blazei_db_show_vector(db);
	pthread_mutex_unlock(&db->lock);
}

/* Notes that something came or went, and whether it was of use: who only keeps on talking must not
 * keep this database from asking somebody else. */
static void progress_note(struct blazei_pull *pull, const struct blazei_session_status *status,
                          bool moved, uint64_t now_ns)
{
	uint64_t useful = status->txns + status->chunks;

	if (moved)
		pull->progress_ns = now_ns;
	if (useful != pull->useful) {
		pull->useful = useful;
		pull->useful_ns = now_ns;
	}
}

static bool peer_helps(struct blaze_db *db, uint64_t now_ns)
{
	const struct blazei_member *member = blazei_census_by_peer(&db->census, &db->pull.peer);

	return member != NULL && member->live && member->reachable &&
	       blazei_passed_ns(now_ns, db->pull.progress_ns) <= BLAZEI_PULL_PATIENCE_NS &&
	       blazei_passed_ns(now_ns, db->pull.useful_ns) <= BLAZEI_PULL_USELESS_NS;
}

unsigned blazei_pull_step(struct blaze_db *db, uint64_t now_ns)
{
	struct blazei_pull *pull = &db->pull;
	struct blazei_session_status status;
	int taken;
	int given = 0;

	if (!pull->active)
		return 0;
	status = blazei_carry_status(&pull->carry);
	if (status.state == BLAZEI_SESSION_STAGED)
		return staged_step(db, now_ns);
	taken = blazei_carry_in(db, &pull->carry, MESSAGES_PER_STEP);
	applied_note(db);
	status = blazei_carry_status(&pull->carry);
	if (status.state == BLAZEI_SESSION_STAGED)
		return BLAZEI_TURN_WORKED;
	if (status.state == BLAZEI_SESSION_LIVE) {
		succeed(db, now_ns);
		return BLAZEI_TURN_WORKED;
	}
	if (taken >= 0)
		given = blazei_carry_out(db, &pull->carry, 1);
	progress_note(pull, &status, taken > 0 || given > 0, now_ns);
	if (taken < 0 || (given < 0 && given != -EAGAIN && given != -ENOMEM) ||
	    !peer_helps(db, now_ns)) {
		fail(db, now_ns, taken < 0 ? taken : given);
		return 0;
	}
	return taken > 0 || given > 0 ? BLAZEI_TURN_WORKED : 0;
}
