/* SPDX-License-Identifier: Apache-2.0 */
/* Fetching what this replica lacks from a peer, over a private ring.
 *
 * WHY    One mechanism for everything that a lane did not deliver: late joiners, lapped readers,
 *        removed rings, transactions too long for a lane, writers that died. State is fetched, not
 *        transactions: nobody need keep a log, and the merge makes order and repetition harmless.
 *
 * STATES
 *   idle -> asked    a ring x.DATABASE.ID is made, and the board names it and the peer
 *   asked -> whole   the vector that the peer had noted before it began has come, and with it all
 *                    state up to it
 *   asked -> idle    nothing came for BLAZEI_PULL_PATIENCE_NS, the peer is gone, or what it sent is
 *                    invalid; another attempt follows later
 *   whole -> idle    all of it is merged and the own vector raised
 *
 * INVARIANTS
 *   I1  Nothing is merged before all has come. A part that stayed of an attempt that failed would
 *       be in no vector, so nobody would know that others lack it; and once its writers are dead,
 *       replicas would differ for good. Then it is merged in one step: no reader sees a part.
 *
 * LAYOUT of a message in the ring: struct blazei_piece, then at most BLAZEI_PIECE_MAX bytes.
 *        Pieces of one body come in order; a body is a state chunk or, last, the noted vector, its
 *        entries as node (16 bytes), incarnation (8), seq (8).
 *
 * FAILURE  The ring's name stands on the board before the ring is made, so whoever finds the
 *        board's owner dead can remove what it left. */
#ifndef BLAZEI_DB_PULL_H
#define BLAZEI_DB_PULL_H

#include "lib/db/census.h"

#define BLAZEI_PULL_PATIENCE_NS (500 * BLAZEI_NS_PER_MS)
#define BLAZEI_PULL_LANE_BYTES  (UINT64_C(2) << 20)
#define BLAZEI_PULL_NAME_BYTES  65u

#define BLAZEI_PIECE_MAGIC  0x7063657au
#define BLAZEI_PIECE_MAX    (256u * 1024u)
#define BLAZEI_BODY_MAX     (UINT64_C(4) << 20)
#define BLAZEI_PIECE_STATE  1u
#define BLAZEI_PIECE_VECTOR 2u

struct blazei_piece {
	uint32_t magic;
	uint32_t kind;
	uint64_t total;  /* bytes of the body, a multiple of 8 */
	uint64_t offset; /* of this piece in it */
};

static_assert(sizeof(struct blazei_piece) == 24, "layout");
static_assert(sizeof(struct blazei_vector_entry) == 32, "travels as it is");

struct blaze_db;

/* A body; those of state wait in a list. */
struct blazei_pull_body {
	struct blazei_pull_body *next;
	uint64_t len;
	uint64_t words[];
};

struct blazei_pull {
	bool active;
	bool whole; /* all has come; link is of no more use */
	bool done;
	struct blaze_id peer;
	struct blazei_link *link;
	uint64_t progress_ns;
	struct blazei_pull_body *body;  /* in parts; once whole, the vector */
	struct blazei_pull_body *first; /* state that waits for the vector */
	struct blazei_pull_body *last;
	uint64_t bytes; /* of state that has come */
	uint32_t kind;
	uint64_t have;
	uint64_t raised; /* transactions that it brought, when done */
};

/* The name of the private ring of a request: it begins with the database's name, cut to 29. */
void blazei_pull_name(const char *db_name, const struct blaze_id *ring,
                      char ret_name[BLAZEI_PULL_NAME_BYTES]);
/* Removes the ring that the request of a dead peer names, if any. */
void blazei_pull_reap(const struct blazei_board_description *text);

/* poll_lock is held in all of these. */
void blazei_pull_start(struct blaze_db *db, struct blazei_member *member, uint64_t now_ns);
/* Receives what came; returns turn flags. */
unsigned blazei_pull_step(struct blaze_db *db, uint64_t now_ns);
void blazei_pull_stop(struct blaze_db *db);

#endif
