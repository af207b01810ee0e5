/* SPDX-License-Identifier: Apache-2.0 */
/* A database's place on its ring: joining, leaving, and coming back when it was removed.
 *
 * CONCURRENCY  The link is opened before any lock is taken but poll_lock, and closed after the
 *        others are dropped: writers never wait for the file system. Only the swap of the pointer
 *        holds all three.
 *
 * FAILURE  When somebody removes the ring (-EIDRM), what was written meanwhile and what the others
 *        had not read yet is in no lane any more. The new board shows the own seq, so the others
 *        fetch it, and the same the other way. */
#include "lib/db/db.h"

#include <stdio.h>

#include "lib/store/log.h"

#define REOPEN_NS (100 * BLAZEI_NS_PER_MS)

void blazei_db_show_text(struct blaze_db *db)
{
	if (db->link != NULL)
		blazei_board_publish(blazei_db_board(db), &db->text);
}

void blazei_db_show_vector(struct blaze_db *db)
{
	struct blazei_board *board = blazei_db_board(db);
	unsigned count = blazei_replica_vector_count(db->replica);
	bool anew = false;

	/* The old board's entries have the places that they had under the old name. */
	if (board == NULL || db->silent)
		return;
	if (count > BLAZEI_BOARD_VECTOR_MAX)
		count = BLAZEI_BOARD_VECTOR_MAX;
	for (unsigned i = 1; i < count; i++) {
		struct blazei_vector_detail detail;

		blazei_replica_vector_detail(db->replica, i, &detail);
		/* Incarnations were retired, or an index that was nobody's is used again. */
		if (!anew && i < blazei_board_vector_count(board, BLAZEI_BOARD_BYTES) &&
		    blazei_board_vector_differs(board, i, &detail.entry.origin)) {
			anew = true;
			blazei_board_layout_begin(board);
		}
		blazei_board_vector_store(board, i, &detail.entry, detail.hlc);
	}
	if (anew) {
		blazei_durable_show(db);
		blazei_board_layout_end(board);
	}
}

static int link_open(const struct blaze_db *db, struct blazei_link **ret_link)
{
	const struct blazei_link_options options = {
		.lane_bytes = db->lane_bytes,
		.board_bytes = BLAZEI_BOARD_BYTES,
	};
	char ring[BLAZEI_DB_NAME_MAX + 4];

	snprintf(ring, sizeof(ring), "db.%s", db->name);
	return blazei_link_open_ring(ring, &options, ret_link);
}

/* Puts a link in the place of the present one, which is returned. poll_lock is held. */
static struct blazei_link *link_swap(struct blaze_db *db, struct blazei_link *link)
{
	struct blazei_link *before;
	struct blazei_vector_entry self;

	pthread_mutex_lock(&db->write_lock);
	pthread_mutex_lock(&db->lock);
	before = db->link;
	db->link = link;
	db->silent = false;
	/* Relaxed: all who read it in earnest hold one of these locks. */
	atomic_store_explicit(&db->removed, false, memory_order_relaxed);
	if (link != NULL) {
		blazei_replica_vector_entry(db->replica, 0, &self);
		self.seq = blazei_durable_own(db);
		blazei_board_vector_store(blazei_db_board(db), 0, &self, 0);
		blazei_db_show_vector(db);
		blazei_durable_show(db);
		blazei_db_show_text(db);
	}
	pthread_mutex_unlock(&db->lock);
	pthread_mutex_unlock(&db->write_lock);
	/* The place may be that of one who died before anybody read its board. */
	db->census.left = true;
	return before;
}

/* Ends what is under way on the present link. poll_lock is held. */
static void transfers_stop(struct blaze_db *db)
{
	blazei_pull_stop(db);
	blazei_answers_stop(db);
	blazei_census_clear(&db->census);
	db->next_check_ns = 0;
}

static void text_fill(struct blaze_db *db, const char *node_name, enum blaze_role role)
{
	struct blazei_board_left left;

	pthread_mutex_lock(&db->lock);
	left = db->text.left;
	memset(&db->text, 0, sizeof(db->text));
	db->text.left = left;
	db->text.node = db->self.node;
	db->text.incarnation = db->self.incarnation;
	db->text.role = role;
	db->text.policy = db->policy;
	db->text.flags = db->store != NULL ? BLAZEI_BOARD_STORED : 0;
	memcpy(db->text.db_name, db->name, strlen(db->name));
	memcpy(db->text.node_name, node_name, strnlen(node_name, sizeof(db->text.node_name)));
	blazei_replica_set_server(db->replica, role == BLAZE_ROLE_SERVER);
	pthread_mutex_unlock(&db->lock);
}

int blazei_db_join(struct blaze_db *db, const char *node_name, enum blaze_role role)
{
	struct blazei_link *link;
	int error = 0;

	/* Acquire: as in blaze_db_close. */
	if (atomic_load_explicit(&db->registered, memory_order_acquire))
		return -EBUSY;
	/* What is received has to be logged. */
	if ((db->flags & BLAZE_DB_READ_ONLY) != 0)
		return -EROFS;
	/* Before anything is written in it. The polling side does not wait for the disk. */
	if (db->store != NULL)
		error = blazei_store_role_set(db->store, role);
	if (error != 0)
		return error;
	blazei_db_poll_lock(db);
	if (db->link != NULL)
		error = -EBUSY;
	if (error == 0)
		error = link_open(db, &link);
	if (error == 0) {
		text_fill(db, node_name, role);
		link_swap(db, link);
		/* From here on nothing passes by: this makes the node a reader of the lanes. */
		(void)blazei_db_census(db, true);
		/* Release: pairs with the acquire in blaze_db_close. */
		atomic_store_explicit(&db->registered, true, memory_order_release);
		/* The others look at the new board now rather than at their next time-out. */
		link->ops->wake(link);
	}
	blazei_db_poll_unlock(db);
	return error;
}

void blazei_db_leave(struct blaze_db *db)
{
	struct blazei_link *link;

	blazei_db_poll_lock(db);
	transfers_stop(db);
	link = link_swap(db, NULL);
	pthread_mutex_lock(&db->lock);
	/* In a store the role persists. */
	if (db->store == NULL)
		blazei_replica_set_server(db->replica, false);
	pthread_mutex_unlock(&db->lock);
	if (link != NULL)
		link->ops->close(link);
	blazei_db_poll_unlock(db);
	/* Release: pairs with the acquire in blaze_db_close; only now may db be freed. */
	atomic_store_explicit(&db->registered, false, memory_order_release);
}

int blazei_db_reattach(struct blaze_db *db)
{
	struct blazei_link *link;
	int error = link_open(db, &link);

	if (error != 0)
		return error;
	transfers_stop(db);
	link = link_swap(db, link);
	link->ops->close(link);
	(void)blazei_db_census(db, true);
	/* Those who came before look at this board now rather than at their next time-out. */
	db->link->ops->wake(db->link);
	return 0;
}

void blazei_db_reopen(struct blaze_db *db, uint64_t now_ns)
{
	int error;

	if (now_ns < db->next_reopen_ns)
		return;
	error = blazei_db_reattach(db);
	if (error != 0) {
		db->next_reopen_ns = now_ns + REOPEN_NS;
		blazei_log(BLAZE_LOG_ERROR, "database %s: cannot attach to its ring anew: %s",
		           db->name, blaze_strerror(error));
		return;
	}
	blazei_log(BLAZE_LOG_WARNING, "database %s: its ring was removed, attached anew", db->name);
}
