/* SPDX-License-Identifier: Apache-2.0 */
/* Answering a peer that asked for what it lacks (the other side of pull.h).
 *
 * STATES of an answer
 *   free -> active   the ring that the peer's board named is open, a session is carried in it
 *   active -> free   the peer withdrew its request, is gone, or took nothing for
 *                    BLAZEI_PULL_PATIENCE_NS; the session failed
 *
 * INVARIANTS
 *   I1  What is sent is exactly what its vector tells (lib/repl/session.h, I1).
 *   I2  At most BLAZEI_ANSWERS_MAX at once; further requests stay on their boards until there is
 *       room.
 *   I3  A step never waits: a full lane ends it. */
#ifndef BLAZEI_DB_ANSWER_H
#define BLAZEI_DB_ANSWER_H

#include "lib/db/carry.h"
#include "lib/db/census.h"

#define BLAZEI_ANSWERS_MAX 4u

struct blaze_db;

struct blazei_answer {
	bool active;
	struct blaze_id peer;
	struct blaze_id ring;
	struct blazei_carry carry;
	uint64_t progress_ns;
};

/* poll_lock is held in all of these. */

/* Whether the member asks this database for something that was not dealt with yet. */
bool blazei_answer_wanted(const struct blaze_db *db, const struct blazei_member *member);
/* Begins to answer; false where there is no room or it fails. */
bool blazei_answer_start(struct blaze_db *db, struct blazei_member *member, uint64_t now_ns);
/* Sends what fits; returns turn flags. */
unsigned blazei_answers_step(struct blaze_db *db, uint64_t now_ns);
void blazei_answers_stop(struct blaze_db *db);

#endif
