/* SPDX-License-Identifier: Apache-2.0 */
/* The side that has what another lacks (see answer.h for states). */
#include "lib/db/db.h"

#define MESSAGES_PER_STEP 4u

static const struct blaze_id none;

bool blazei_answer_wanted(const struct blaze_db *db, const struct blazei_member *member)
{
	const struct blazei_board_request *request = &member->text->request;

	return member->live && member->reachable && member->board != NULL &&
	       blazei_id_equal(&request->peer, &db->link->id) &&
	       !blazei_id_equal(&request->ring, &none) &&
	       !blazei_id_equal(&request->ring, &member->lag.answered);
}

static void answer_end(struct blazei_answer *answer)
{
	blazei_carry_end(&answer->carry);
	memset(answer, 0, sizeof(*answer));
}

void blazei_answers_stop(struct blaze_db *db)
{
	for (unsigned i = 0; i < BLAZEI_ANSWERS_MAX; i++) {
		if (db->answers[i].active)
			answer_end(&db->answers[i]);
	}
}

bool blazei_answer_start(struct blaze_db *db, struct blazei_member *member, uint64_t now_ns)
{
	struct blazei_answer *answer = NULL;
	int error;

	for (unsigned i = 0; i < BLAZEI_ANSWERS_MAX && answer == NULL; i++) {
		if (!db->answers[i].active)
			answer = &db->answers[i];
	}
	if (answer == NULL)
		return false;
	member->lag.answered = member->text->request.ring;
	answer->active = true;
	answer->peer = member->peer;
	answer->ring = member->text->request.ring;
	answer->progress_ns = now_ns;
	error = blazei_carry_open(db, &answer->carry, &answer->ring, BLAZEI_SESSION_ANSWERER);
	if (error != 0) {
		/* The peer loses patience and asks again, or somebody else. */
		if (blazei_pull_news(&db->told.answering, blaze_strerror(error)))
			blazei_log(BLAZE_LOG_INFO,
			           "database %s: cannot answer a node that lacks something: %s",
			           db->name, blaze_strerror(error));
		answer_end(answer);
	} else {
		db->told.answering = NULL;
	}
	return error == 0;
}

/* Whether the peer still waits for this answer. */
static bool answer_awaited(struct blaze_db *db, const struct blazei_answer *answer)
{
	const struct blazei_member *member = blazei_census_by_peer(&db->census, &answer->peer);

	return member != NULL && member->live && member->valid &&
	       blazei_id_equal(&member->text->request.ring, &answer->ring);
}

static unsigned answer_step(struct blaze_db *db, struct blazei_answer *answer, uint64_t now_ns)
{
	int taken = blazei_carry_in(db, &answer->carry, MESSAGES_PER_STEP);
	int given = blazei_carry_out(db, &answer->carry, MESSAGES_PER_STEP);
	struct blazei_session_status status = blazei_carry_status(&answer->carry);
	bool failed = given < 0 && given != -EAGAIN && given != -ENOMEM;

	if (taken > 0 || given > 0)
		answer->progress_ns = now_ns;
	/* A refusal that was sent, or came, is left to the peer to end, as a success is. */
	failed = failed || (taken < 0 && status.state != BLAZEI_SESSION_REFUSED) ||
	         status.state == BLAZEI_SESSION_FAILED;
	if (failed || !answer_awaited(db, answer) ||
	    blazei_passed_ns(now_ns, answer->progress_ns) > BLAZEI_PULL_PATIENCE_NS) {
		answer_end(answer);
		return 0;
	}
	if (taken > 0 || given > 0)
		return BLAZEI_TURN_WORKED;
	/* Nobody wakes who waits for room, or for a hello. */
	return given < 0 || status.state == BLAZEI_SESSION_OPEN ? BLAZEI_TURN_NAP : 0;
}

unsigned blazei_answers_step(struct blaze_db *db, uint64_t now_ns)
{
	unsigned flags = 0;

	for (unsigned i = 0; i < BLAZEI_ANSWERS_MAX; i++) {
		if (db->answers[i].active)
			flags |= answer_step(db, &db->answers[i], now_ns);
	}
	return flags;
}
