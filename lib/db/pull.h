/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a peer for what this replica lacks, in a catch-up session over a private ring.
 *
 * WHY    One mechanism for everything that a lane did not deliver: late joiners, lapped readers,
 *        removed rings, transactions too long for a lane, writers that died.
 *
 * STATES
 *   idle -> asked    a ring x.DATABASE.ID is made, and the board names it and the peer
 *   asked -> staged  a snapshot has come whole; transactions are merged as they come
 *   any -> idle      all is merged; or nothing came for BLAZEI_PULL_PATIENCE_NS, nothing that was
 *                    lacking for BLAZEI_PULL_USELESS_NS, the peer is gone, the session failed or
 *                    was refused: another attempt follows later, with another peer if there is one
 *
 * INVARIANTS
 *   I1  What is merged of an attempt is in the vector at every moment: transactions, or a snapshot
 *       whole (lib/repl/session.h, I1).
 *   I2  What a peer can make this process hold is bounded by a quarter of the machine's memory, and
 *       is freed when no attempt has gone on with it for BLAZEI_PULL_KEEP_NS.
 *
 * FAILURE  The ring's name stands on the board before the ring is made, so whoever finds the
 *        board's owner dead can remove what it left. */
#ifndef BLAZEI_DB_PULL_H
#define BLAZEI_DB_PULL_H

#include "lib/db/carry.h"
#include "lib/db/census.h"

#define BLAZEI_PULL_PATIENCE_NS (500 * BLAZEI_NS_PER_MS)
#define BLAZEI_PULL_USELESS_NS  (10 * BLAZEI_NS_PER_S)
#define BLAZEI_PULL_KEEP_NS     (10 * BLAZEI_NS_PER_S)

struct blaze_db;

struct blazei_pull {
	bool active;
	bool counted; /* among the catch-ups */
	struct blaze_id peer;
	struct blazei_carry carry;
	uint64_t progress_ns; /* when something came last */
	uint64_t useful_ns;   /* and something that was lacking */
	uint64_t useful;      /* transactions and chunks of the session until then */
	uint64_t applied;     /* transactions of the session that are counted */
	uint64_t raised;      /* and what it brought in all */
};

/* What a database may hold of snapshots. */
uint64_t blazei_pull_stage_bytes(void);

/* poll_lock is held in all of these. */
/* After a member has gone, for a while: removes the private rings that nobody is in any more. */
void blazei_pull_sweep(struct blaze_db *db, uint64_t now_ns);
void blazei_pull_start(struct blaze_db *db, struct blazei_member *member, uint64_t now_ns);
/* Takes what came; returns turn flags. */
unsigned blazei_pull_step(struct blaze_db *db, uint64_t now_ns);
void blazei_pull_stop(struct blaze_db *db);

#endif
