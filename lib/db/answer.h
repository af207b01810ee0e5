/* SPDX-License-Identifier: Apache-2.0 */
/* Serving state to a peer that asked for it (the other side of pull.h).
 *
 * STATES of an answer
 *   free -> state    the ring that the peer's board named is open, its vector is copied and the
 *                    own one noted; chunks of state are encoded and sent in pieces as there is room
 *   state -> vector  all state was sent: the noted vector follows
 *   vector -> done   all was sent: wait until the peer withdraws its request
 *   any -> free      it did, or it is gone, or took nothing for BLAZEI_PULL_PATIENCE_NS
 *
 * INVARIANTS
 *   I1  The own vector is noted before the first chunk is encoded, so nothing that it covers is
 *       missed. What was sent that is younger is covered by a later pass with a vector of its own,
 *       so that the peer does not hold what its vector doesn't tell; where the vector moves during
 *       each of 16 passes, it may.
 *   I2  At most BLAZEI_ANSWERS_MAX at once; further requests stay on their boards until there is
 *       room.
 *   I3  A step never waits: a full lane ends it. */
#ifndef BLAZEI_DB_ANSWER_H
#define BLAZEI_DB_ANSWER_H

#include "lib/db/census.h"

#define BLAZEI_ANSWERS_MAX 4u

struct blaze_db;

enum blazei_answer_state {
	BLAZEI_ANSWER_FREE,
	BLAZEI_ANSWER_STATE,
	BLAZEI_ANSWER_VECTOR,
	BLAZEI_ANSWER_DONE,
};

struct blazei_answer {
	enum blazei_answer_state state;
	struct blaze_id peer;
	struct blaze_id ring;
	struct blazei_link *link;
	uint64_t progress_ns;
	struct blazei_state_cursor cursor;
	unsigned passes;
	bool exact;                        /* what was sent and what is noted are one cut */
	struct blazei_vector_entry *known; /* what the peer has */
	unsigned known_count;
	struct blazei_vector_entry *noted; /* what it will have */
	unsigned noted_count;
	unsigned char *body; /* a chunk */
	uint64_t total;
	uint64_t sent;
};

/* poll_lock is held in all of these. */

/* Whether the member asks this database for something that was not dealt with yet. */
bool blazei_answer_wanted(const struct blaze_db *db, const struct blazei_member *member);
/* Begins to answer; false where there is no room or it fails. The member's board is readable now.
 */
bool blazei_answer_start(struct blaze_db *db, struct blazei_member *member, uint64_t now_ns);
/* Sends what fits; returns turn flags. */
unsigned blazei_answers_step(struct blaze_db *db, uint64_t now_ns);
void blazei_answers_stop(struct blaze_db *db);

#endif
