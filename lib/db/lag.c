/* SPDX-License-Identifier: Apache-2.0 */
/* Finds out that something is lacking, without a message and without guessing.
 *
 * WHY    Every board shows how far its node has come. A board ahead of the own vector means either
 *        that the transactions are still in a lane, or that they were lost: to a lap, to a late
 *        arrival, to a length that no lane takes, to a link that did not exist yet. The two are
 *        told apart exactly where possible: a board names a transaction only after its
 *        publication, so when it is still lacking after all lanes were found empty once, it will
 *        not come by a lane. Under traffic that never pauses, an entry that has not moved for
 *        STUCK_NS is taken as lost; fetching what would have come is harmless.
 *
 * INVARIANTS
 *   I1  Of each member one lacking entry is watched at a time, the next one in turn when it is
 *       settled, so a check remembers a constant amount per member and every entry has its turn.
 *   I2  A check takes a twentieth of a CPU at most: the next one waits in proportion. What it
 *       waited for a CPU does not count: on a busy machine that would put the next one, and who
 *       asks this node meanwhile, off by seconds.
 *
 * CONCURRENCY  Runs on the polling side; takes `lock` for each member's vector. */
#include "lib/db/db.h"

#include <stdlib.h>

#include "lib/repl/members.h"

#define STUCK_NS      (2 * BLAZEI_NS_PER_MS)
#define PROBE_NS      (50 * BLAZEI_NS_PER_MS)
#define CHECK_PER_RUN 20u

/* Whether what is watched has been lost, by the present state of that entry. */
static bool watched_lost(const struct blaze_db *db, struct blazei_lag *lag, uint64_t mine,
                         uint64_t now_ns)
{
	if (mine >= lag->target) {
		lag->watched = false;
		return false;
	}
	if (db->drains > lag->drains)
		return true;
	if (mine != lag->mine) {
		lag->mine = mine;
		lag->since_ns = now_ns;
		return false;
	}
	return blazei_passed_ns(now_ns, lag->since_ns) >= STUCK_NS;
}

static void watch(const struct blaze_db *db, struct blazei_lag *lag, uint64_t mine, uint64_t now_ns)
{
	lag->watched = true;
	lag->mine = mine;
	lag->since_ns = now_ns;
	lag->drains = db->drains;
}

/* Counts what the member has and this replica lacks. Returns whether it is known to be lost. `lock`
 * is held and the member's board is readable. */
static bool member_measure(struct blaze_db *db, struct blazei_member *member, uint64_t now_ns)
{
	unsigned count = blazei_board_vector_count(member->board, member->board_bytes);
	struct blazei_lag *lag = &member->lag;
	unsigned first = count, next = count;
	struct blazei_board_item item;
	bool lost = false;

	lag->missing = 0;
	for (unsigned i = 0; i < count; i++) {
		uint64_t mine;

		blazei_board_vector_load(member->board, i, &item);
		mine = blazei_replica_vector_covered(db->replica, &item.entry.origin, item.hlc);
		/* Another's now: what was watched was retired there, so it is everywhere. */
		if (lag->watched && i == lag->index &&
		    !blazei_origin_equal(&item.entry.origin, &lag->origin))
			lag->watched = false;
		if (lag->watched && i == lag->index)
			lost = watched_lost(db, lag, mine, now_ns);
		/* Of the own writes nobody can have more, but for those of a name that was left. */
		if (item.entry.seq <= mine || blazei_origin_equal(&item.entry.origin, &db->self))
			continue;
		lag->missing +=
		        item.entry.seq - mine > UINT32_MAX ? UINT32_MAX : item.entry.seq - mine;
		if (first == count)
			first = i;
		if (next == count && i > lag->index)
			next = i;
	}
	if (!lag->watched && first < count) {
		lag->index = next < count ? next : first;
		blazei_board_vector_load(member->board, lag->index, &item);
		lag->origin = item.entry.origin;
		lag->target = item.entry.seq;
		watch(db, lag,
		      blazei_replica_vector_covered(db->replica, &item.entry.origin, item.hlc),
		      now_ns);
	}
	return lost;
}

bool blazei_lag_below(struct blaze_db *db, const struct blazei_member *member)
{
	struct blazei_vector_view view;
	bool below;
	int error;

	if (!blazei_replica_has_frontier(db->replica))
		return false;
	if (member->board == NULL)
		return true;
	error = blazei_board_vector_copy(member->board, member->board_bytes, &view);
	/* It is being laid out anew: that changes nothing. */
	if (error == -EAGAIN)
		return member->lag.below;
	if (error != 0)
		return true;
	below = blazei_replica_below_frontier(db->replica, &view);
	free((void *)(uintptr_t)view.entries);
	return below;
}

/* Notes whether a member is below the frontier, and tells when that begins. */
static void below_note(struct blaze_db *db, struct blazei_member *member)
{
	const struct blazei_origin origin = { member->text->node, member->text->incarnation };
	bool below;

	pthread_mutex_lock(&db->lock);
	below = blazei_lag_below(db, member);
	if (below && !member->lag.below)
		blazei_db_tell_peer(db, BLAZE_SYNC_PEER_BELOW, &origin);
	pthread_mutex_unlock(&db->lock);
	if (below && !member->lag.below)
		blazei_log(BLAZE_LOG_WARNING,
		           "database %s: a node lacks what all were to have, and is not heard "
		           "before it has taken a snapshot",
		           db->name);
	member->lag.below = below;
}

/* Measures all members; the one to fetch from, or NULL. Sets the flags that the caller returns. */
static struct blazei_member *members_measure(struct blaze_db *db, uint64_t now_ns, unsigned *flags)
{
	struct blazei_member *best = NULL;

	for (unsigned i = 0; i < db->census.count; i++) {
		struct blazei_member *member = &db->census.members[i];
		bool lost;

		if (!member->live || !member->reachable || member->board == NULL) {
			member->lag.watched = false;
			continue;
		}
		below_note(db, member);
		pthread_mutex_lock(&db->lock);
		lost = member_measure(db, member, now_ns);
		pthread_mutex_unlock(&db->lock);
		if (!lost) {
			/* One more look at the lanes decides. */
			if (member->lag.watched)
				*flags |= BLAZEI_TURN_WORKED;
			continue;
		}
		if (now_ns < member->lag.not_before || member->lag.below)
			continue;
		if (best == NULL || member->lag.missing > best->lag.missing)
			best = member;
	}
	return best;
}

/* Answers who asks this database; notes dead ones who asked. Returns whether anybody's
 * liveness matters at present. */
static bool requests_take(struct blaze_db *db, uint64_t now_ns, unsigned *flags)
{
	static const struct blaze_id none;
	bool matters = false;

	for (unsigned i = 0; i < db->census.count; i++) {
		struct blazei_member *member = &db->census.members[i];
		struct blazei_lag *lag = &member->lag;

		if (!member->valid || blazei_id_equal(&member->text->request.ring, &none))
			continue;
		matters = true;
		if (!member->live &&
		    !blazei_id_equal(&lag->answered, &member->text->request.ring)) {
			lag->answered = member->text->request.ring;
			db->census.left = true;
		} else if (blazei_answer_wanted(db, member)) {
			if (blazei_answer_start(db, member, now_ns))
				*flags |= BLAZEI_TURN_WORKED;
		}
	}
	return matters;
}

unsigned blazei_lag_check(struct blaze_db *db, uint64_t now_ns)
{
	bool probe = db->next_probe_ns != 0 && now_ns >= db->next_probe_ns;
	uint64_t start_ns = blazei_monotonic_ns(), start_cpu_ns = blazei_thread_cpu_ns(), took_ns;
	struct blazei_member *best;
	unsigned flags = 0;

	if (blazei_db_census(db, probe) != 0)
		return 0;
	best = members_measure(db, now_ns, &flags);
	if (!db->pull.active && now_ns > db->stage_until_ns)
		blazei_stage_clear(db->stage);
	blazei_pull_sweep(db, now_ns);
	if (best != NULL && !db->pull.active) {
		blazei_pull_start(db, best, now_ns);
		flags |= BLAZEI_TURN_WORKED;
	}
	if (requests_take(db, now_ns, &flags) || flags != 0 || db->pull.active) {
		if (probe || db->next_probe_ns == 0)
			db->next_probe_ns = now_ns + PROBE_NS;
	} else {
		db->next_probe_ns = 0;
	}
	took_ns = blazei_thread_cpu_ns() - start_cpu_ns;
	db->next_check_ns = start_ns + BLAZEI_LAG_CHECK_NS + took_ns * CHECK_PER_RUN;
	return flags;
}
