/* SPDX-License-Identifier: Apache-2.0 */
/* The database: a replica, its place on a link, and what keeps the two in step.
 *
 * CONCURRENCY
 *   Three locks, always taken in this order:
 *     poll_lock   the polling side of the link: poll, each_peer, prepare_sleep; the census;
 *                 catch-up
 *     write_lock  local writes from the replica to the lane, so that the lane's order is the order
 *                 of seq; entry 0 of the board
 *     lock        the replica, the own description, the board's other entries; single records are
 *                 read without it (lib/repl/peek.h)
 *   A writer that finds its lane full waits with write_lock held only, so what comes in is merged
 *   meanwhile and two databases that write to each other cannot stall each other. `link` is changed
 *   with all three held and may be read with any one. The service thread (service.c), or
 *   blaze_db_pump, takes turns: turn.c receives, lag.c finds out what is lacking, pull.c fetches
 *   it, answer.c serves others. None of them waits.
 *
 * INVARIANTS
 *   I1  Own transactions enter the lane in the order of seq, with a store once they are durable
 *       (durable.h), and the board names one only afterwards.
 *   I2  Whatever a lane loses or was never given is fetched: every miss shows as a board
 *       vector ahead of the own one, however it came about.
 *   I3  Only what reachable members sent is merged, and nothing of one that is below the frontier,
 *       by whichever path.
 *
 * FAILURE  After a fork the child's handle is dead: the other threads that may have been inside it
 *        are gone and its locks with them. Closing it there frees what is safe to free. */
#ifndef BLAZEI_DB_DB_H
#define BLAZEI_DB_DB_H

#include <pthread.h>

#include <blaze/topology.h>

#include "lib/db/answer.h"
#include "lib/db/census.h"
#include "lib/db/compact.h"
#include "lib/db/conflicts.h"
#include "lib/db/durable.h"
#include "lib/db/event.h"
#include "lib/db/pull.h"
#include "lib/db/watch.h"
#include "lib/op/buffer.h"
#include "lib/repl/opened.h"

#define BLAZEI_DB_NAME_MAX 61u

struct blaze_txn;
struct blazei_store;
struct blazei_lane;

struct blaze_db {
	/* Read by all, without a lock; stays as it is. */
	uint32_t fork_generation;
	uint32_t flags;
	struct blazei_store *store;     /* NULL: the database lives in memory */
	bool in_directory;              /* the store is of "file:" */
	struct blazei_replica *replica; /* what it points to: lock, or lib/repl/peek.h */
	uint64_t spin_ns;
	uint64_t lane_bytes;
	enum blaze_policy policy;
	char name[BLAZEI_DB_NAME_MAX + 1];
	struct blazei_origin
	        self; /* the node; the incarnation changes with all locks but poll_lock */
	atomic_bool registered;
	_Atomic uint32_t kick;          /* grows when a pump that sleeps is to look (service.c) */
	_Atomic uint32_t kick_sleepers; /* how many sleep on it */
	atomic_bool removed;            /* the ring was unlinked: attach anew */
	atomic_bool displaced;          /* another history stands under the own name (renew.c) */
	_Atomic uint64_t laps;
	_Atomic uint64_t catch_ups;
	struct blaze_db *next_remains; /* in a forked child, see db.c */
	struct blazei_opened txns;     /* that are under way */
	_Atomic(struct blaze_txn *) spare_txn;

	_Alignas(BLAZEI_CACHE_LINE) pthread_mutex_t write_lock;
	struct blazei_buffer out; /* the transaction that is being published */
	bool silent;              /* nothing is published: the board has the name that was left */
	unsigned silent_index;    /* the entry that has the new one meanwhile */
	int nameless;             /* why nothing may be written: the name could not be left */

	_Alignas(BLAZEI_CACHE_LINE) pthread_mutex_t lock;
	struct blazei_conflict_log conflicts;
	struct blaze_watch *watches;
	struct blazei_ready ready_watches; /* pumped by hand; of notify.c */
	struct blazei_board_description text;

	struct blazei_durable durable; /* with a store only */
	struct blazei_compaction compaction;
	struct blazei_lane *lane; /* NULL: there is none; who opens and closes has it */

	_Alignas(BLAZEI_CACHE_LINE) pthread_mutex_t poll_lock;
	atomic_uint poll_waiters; /* threads that want poll_lock: the service steps aside */
	struct blazei_link *link; /* NULL while not registered */
	struct blazei_census census;
	uint64_t
	        link_gone_ns[BLAZEI_BOARD_LINKS_MAX]; /* since when each link leads nowhere; or 0 */
	struct blazei_pull pull;
	struct blazei_stage *stage; /* what pulls hold of a snapshot */
	uint64_t stage_until_ns;    /* and how long, while none goes on */
	struct blazei_answer answers[BLAZEI_ANSWERS_MAX];
	struct {
		const char *asking; /* static texts */
		const char *attempt;
		const char *answering;
	} told; /* why catching up fails, as the log hook heard it last; NULL: it does not */
	struct blazei_event event;
	uint64_t drains;        /* polls that found nothing left */
	uint64_t advanced;      /* transactions that came in, by lane or by catch-up */
	uint64_t next_check_ns; /* of lag.c */
	uint64_t next_probe_ns;
	uint64_t next_reopen_ns;
	uint64_t next_renew_ns; /* of renew.c */
	uint64_t next_tick_ns;  /* of the list of members */
	uint64_t next_collect_ns;
	uint64_t next_retire_ns;
	bool full;               /* nothing is taken in: the store has too much to do (durable.h) */
	uint64_t sweep_until_ns; /* of private rings, see pull.c */
	uint64_t next_sweep_ns;
};

/* -ECHILD after fork, -EINVAL for NULL. */
int blazei_db_usable(const struct blaze_db *db);
/* The same, and -EDEADLK inside a visitor of this database. */
int blazei_db_writable(const struct blaze_db *db);
bool blazei_db_visiting(const struct blaze_db *db);

/* read.c: around each call of a visitor. The struct lives on the stack of the caller. */
struct blazei_visit {
	const struct blaze_db *db;
	struct blazei_visit *outer;
};
void blazei_visit_begin(struct blazei_visit *visit, const struct blaze_db *db);
void blazei_visit_end(const struct blazei_visit *visit);

/* sink.c: has the replica tell those who want to know of what happens in it. lock is held, or
 * nobody has the database yet. */
void blazei_db_listen(struct blaze_db *db);
/* Tells watches how the database keeps in step; lock is not held. */
void blazei_db_tell_sync(struct blaze_db *db, enum blaze_sync sync);
/* The same of a peer; lock is held. */
void blazei_db_tell_peer(struct blaze_db *db, enum blaze_sync sync,
                         const struct blazei_origin *peer);
/* Tells a watch that has just begun what had happened before, in opening; lock is held. */
void blazei_db_tell_past(const struct blaze_db *db, struct blaze_watch *watch);

/* service.c: wakes a pump that sleeps. */
void blazei_db_kick(struct blaze_db *db);

/* write.c: commits one write, or, where that is NULL, a transaction, and publishes it. */
struct blazei_write;
struct blazei_writeset;
int blazei_db_commit(struct blaze_db *db, const struct blazei_write *write,
                     struct blazei_writeset *writeset);
/* The same for what is due of the list of members, no further than open transactions have seen. 1:
 * something was written, 0; -ENOMEM, -ESTALE as blazei_replica_members_tick. */
struct blazei_members_tick;
int blazei_db_members_write(struct blaze_db *db, struct blazei_members_tick *tick);
/* Publishes a transaction, seq of the own; one without bytes is found by the board. write_lock is
 * held. */
void blazei_db_publish(struct blaze_db *db, const struct blazei_buffer *out, uint64_t seq);
/* members.c: a tick of the list of members, for a database whose store holds that for good; at
 * real time now_ns; at_once: what there is to report is. poll_lock is held. As
 * blazei_db_members_write. */
struct blazei_vector_view;
int blazei_db_members_tick(struct blaze_db *db, uint64_t now_ns,
                           const struct blazei_vector_view *durable, bool at_once);
/* txn.c: frees what the last transaction left. */
void blazei_txn_spare_free(struct blaze_db *db);

/* pull.c: whether a reason is news: what the log hook is told once, until it is another. poll_lock
 * is held. */
bool blazei_pull_news(const char **told, const char *why);

/* The polling side's lock, ahead of the service thread. */
void blazei_db_poll_lock(struct blaze_db *db);
void blazei_db_poll_unlock(struct blaze_db *db);

/* The own board, NULL while not registered. Any of the three locks. */
static inline struct blazei_board *blazei_db_board(const struct blaze_db *db)
{
	return db->link != NULL ? db->link->board : NULL;
}

/* Shows the vector on the board; entry 0 is the writers' own. lock is held. */
void blazei_db_show_vector(struct blaze_db *db);
/* Shows the description. lock is held. */
void blazei_db_show_text(struct blaze_db *db);

/* attach.c: becomes a node on ring db.NAME; -EBUSY it is one. */
int blazei_db_join(struct blaze_db *db, const char *node_name, enum blaze_role role);
void blazei_db_leave(struct blaze_db *db);
/* Attaches to the ring anew after somebody removed it. poll_lock is held. */
void blazei_db_reopen(struct blaze_db *db, uint64_t now_ns);
/* links.c: adds a link that this node keeps: 0, -EEXIST, -ENOSPC; -ENOENT while not registered. */
int blazei_db_link(struct blaze_db *db, const struct blaze_id *node, enum blaze_link_mode mode);
/* Removes one: 0; -ENOENT there is none. */
int blazei_db_unlink(struct blaze_db *db, const struct blaze_id *node);
/* Brings the census up to date, with probe liveness too. poll_lock is held. */
int blazei_db_census(struct blaze_db *db, bool probe);

/* Takes a new place in the ring. poll_lock is held. 0 or an error. */
int blazei_db_reattach(struct blaze_db *db);

/* renew.c: leaves the name where others hold something else under it, and issues anew what is to
 * be. write_lock and lock are held. */
int blazei_db_leave_name(struct blaze_db *db);
/* Shows how far it has written under the new name on the board of the old one. write_lock is held,
 * and without a store lock too. */
void blazei_db_silent_show(struct blaze_db *db);
/* The same as leave_name, in a turn, no more often than is good. poll_lock is held. */
void blazei_db_renew(struct blaze_db *db, uint64_t now_ns);

/* turn.c: one round of everything, without waiting. Also gives how many transactions have come in
 * ever. */
#define BLAZEI_TURN_WORKED (1u << 0) /* something came in or moved: come again at once */
#define BLAZEI_TURN_NAP    (1u << 1) /* waits for a peer: sleep shortly only */
unsigned blazei_db_turn(struct blaze_db *db, uint64_t now_ns, uint64_t *ret_advanced);

/* lag.c: compares the own vector with everybody's, starts a fetch, takes requests. Returns turn
 * flags. poll_lock is held. */
unsigned blazei_lag_check(struct blaze_db *db, uint64_t now_ns);
/* Whether a member is below the frontier, by its board: nothing of it is merged. lock is held. */
bool blazei_lag_below(struct blaze_db *db, const struct blazei_member *member);
#define BLAZEI_LAG_CHECK_NS BLAZEI_NS_PER_MS

#endif
