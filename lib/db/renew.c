/* SPDX-License-Identifier: Apache-2.0 */
/* A database leaves its name, as another run of the same node, and is heard of under the new one.
 *
 * WHY    Others hold another history under the name, or it was below the frontier and has taken a
 *        snapshot instead of what it was (lib/repl/reissue.h). What it wrote goes on under the new
 *        name. The board names its owner in entry 0, for good, and lanes are told apart by their
 *        boards: so a new name takes a new place in the ring, as after a removed ring (attach.c).
 *        Until that is there nothing is published: all that is written then, and what is issued
 *        anew, shows on the board, the old one first, as somebody's whom others may ask for.
 *
 * STATES  named -> silent (leave: the new name holds in the replica) -> named (a new place)
 *         named -> nameless (there was no memory to leave it): what was written before is in the
 *         stage, and each write fails with the same error until it is left
 *
 * FAILURE  Each step is tried again with the next turns. Who is displaced again and again, by a
 *          peer that lies, leaves its name once in RENEW_NS. */
#include "lib/db/db.h"

#include "lib/repl/reissue.h"

#define RENEW_NS BLAZEI_NS_PER_S
#define RETRY_NS (20 * BLAZEI_NS_PER_MS)

/* Notes the name for those who wait for what was written under it. */
static void left_note(struct blazei_board_left *left, uint64_t incarnation)
{
	memmove(left->incarnations + 1, left->incarnations,
	        (BLAZEI_BOARD_LEFT_MAX - 1) * sizeof(incarnation));
	left->incarnations[0] = incarnation;
	left->seq = UINT64_MAX;
}

/* All of that is written again. */
static void left_settle(struct blaze_db *db)
{
	struct blazei_vector_entry self;

	if (db->text.left.seq != UINT64_MAX)
		return;
	blazei_replica_vector_entry(db->replica, 0, &self);
	db->text.left.seq = self.seq;
	db->text.left.hlc = blazei_replica_hlc(db->replica);
}

static int name_leave(struct blaze_db *db, uint64_t realtime_ns)
{
	struct blazei_origin self = db->self;
	int error = blazei_random(&self.incarnation, sizeof(self.incarnation));

	if (error == 0)
		error = blazei_replica_leave_name(db->replica, realtime_ns, &self);
	if (error != 0)
		return error;
	/* The node is read without a lock, and stays. */
	left_note(&db->text.left, db->self.incarnation);
	db->self.incarnation = self.incarnation;
	db->text.incarnation = self.incarnation;
	if (!db->silent && db->link != NULL)
		db->silent_index =
		        blazei_board_vector_count(blazei_db_board(db), BLAZEI_BOARD_BYTES);
	else
		db->silent_index++;
	db->silent = true;
	blazei_durable_rename(db);
	return 0;
}

void blazei_db_silent_show(struct blaze_db *db)
{
	struct blazei_vector_entry self = { .origin = db->self };

	if (!db->silent || db->link == NULL)
		return;
	self.seq = blazei_durable_own(db);
	blazei_board_vector_store(blazei_db_board(db), db->silent_index, &self, 0);
}

int blazei_db_leave_name(struct blaze_db *db)
{
	struct blazei_unseen_list *list = blazei_stage_unseen(db->stage);
	const uint64_t now_ns = blazei_realtime_ns();
	struct blazei_txn_view txn = { .len = 1 };
	int error = 0;

	if (blazei_replica_displaced(db->replica))
		error = name_leave(db, now_ns);
	while (error == 0 && txn.len > 0)
		error = blazei_replica_reissue(db->replica, now_ns, list, &txn);
	if (error == 0)
		error = blazei_durable_catch_up(db);
	if (error == 0)
		left_settle(db);
	blazei_db_silent_show(db);
	return error;
}

void blazei_db_renew(struct blaze_db *db, uint64_t now_ns)
{
	int error;

	if (now_ns < db->next_renew_ns)
		return;
	pthread_mutex_lock(&db->write_lock);
	pthread_mutex_lock(&db->lock);
	error = blazei_db_leave_name(db);
	if (error == 0) {
		/* Relaxed: a hint for the turns, which take the locks. */
		atomic_store_explicit(&db->displaced, false, memory_order_relaxed);
		db->nameless = 0;
	}
	pthread_mutex_unlock(&db->lock);
	pthread_mutex_unlock(&db->write_lock);
	db->next_renew_ns = now_ns + (error != 0 ? RETRY_NS : RENEW_NS);
	if (error != 0)
		blazei_log(BLAZE_LOG_ERROR, "database %s: must leave its name, and cannot: %s",
		           db->name, blaze_strerror(error));
}
