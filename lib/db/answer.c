/* SPDX-License-Identifier: Apache-2.0 */
/* The side that has what another lacks (see answer.h for states). */
#include "lib/db/db.h"

#include <stdlib.h>

#define PIECES_PER_STEP 4u
/* A pass of up to 65,536 records that have changed little is one chunk, and so exact. */
#define PASSES_MAX  16u
#define CHUNK_BYTES (UINT64_C(2) << 20)

static_assert(CHUNK_BYTES <= BLAZEI_BODY_MAX, "the peer accepts it");

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
	if (answer->link != NULL)
		answer->link->ops->close(answer->link);
	free(answer->known);
	free(answer->noted);
	free(answer->body);
	memset(answer, 0, sizeof(*answer));
}

void blazei_answers_stop(struct blaze_db *db)
{
	for (unsigned i = 0; i < BLAZEI_ANSWERS_MAX; i++) {
		if (db->answers[i].state != BLAZEI_ANSWER_FREE)
			answer_end(&db->answers[i]);
	}
}

/* Notes the own vector; what was noted before is what the peer will have. `lock` is held. */
static int own_note(struct blaze_db *db, struct blazei_answer *answer)
{
	unsigned count = blazei_replica_vector_count(db->replica);
	struct blazei_vector_entry *noted;

	if (count > BLAZEI_BODY_MAX / sizeof(*noted))
		count = BLAZEI_BODY_MAX / sizeof(*noted);
	noted = calloc(count, sizeof(*noted));
	if (noted == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++)
		blazei_replica_vector_entry(db->replica, i, &noted[i]);
	if (answer->noted != NULL) {
		free(answer->known);
		answer->known = answer->noted;
		answer->known_count = answer->noted_count;
	}
	answer->noted = noted;
	answer->noted_count = count;
	return 0;
}

/* Whether nothing has come in or was written since. `lock` is held. */
static bool own_unchanged(const struct blaze_db *db, const struct blazei_answer *answer)
{
	struct blazei_vector_entry entry;

	if (blazei_replica_vector_count(db->replica) != answer->noted_count)
		return false;
	for (unsigned i = 0; i < answer->noted_count; i++) {
		blazei_replica_vector_entry(db->replica, i, &entry);
		if (entry.seq != answer->noted[i].seq)
			return false;
	}
	return true;
}

/* Copies the peer's vector and notes the own one. */
static int vectors_note(struct blaze_db *db, struct blazei_answer *answer,
                        const struct blazei_member *member)
{
	unsigned count = blazei_board_vector_count(member->board, member->board_bytes);
	int error;

	answer->known = calloc(count + 1, sizeof(*answer->known));
	if (answer->known == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++)
		blazei_board_vector_load(member->board, i, &answer->known[i]);
	answer->known_count = count;
	pthread_mutex_lock(&db->lock);
	error = own_note(db, answer);
	pthread_mutex_unlock(&db->lock);
	return error;
}

static int ring_open(const struct blaze_db *db, struct blazei_answer *answer)
{
	const struct blazei_link_options options = {
		.lane_bytes = BLAZEI_PULL_LANE_BYTES,
		.lossless = true,
		.nonblock = true,
		.no_create = true,
	};
	char name[BLAZEI_PULL_NAME_BYTES];

	blazei_pull_name(db->name, &answer->ring, name);
	return blazei_link_open_ring(name, &options, &answer->link);
}

bool blazei_answer_start(struct blaze_db *db, struct blazei_member *member, uint64_t now_ns)
{
	struct blazei_answer *answer = NULL;
	int error;

	for (unsigned i = 0; i < BLAZEI_ANSWERS_MAX && answer == NULL; i++) {
		if (db->answers[i].state == BLAZEI_ANSWER_FREE)
			answer = &db->answers[i];
	}
	if (answer == NULL)
		return false;
	member->lag.answered = member->text->request.ring;
	answer->state = BLAZEI_ANSWER_STATE;
	answer->peer = member->peer;
	answer->ring = member->text->request.ring;
	answer->progress_ns = now_ns;
	answer->body = malloc(CHUNK_BYTES);
	error = answer->body != NULL ? vectors_note(db, answer, member) : -ENOMEM;
	if (error == 0)
		error = ring_open(db, answer);
	if (error != 0) {
		/* The peer loses patience and asks again, or somebody else. */
		blazei_log(BLAZE_LOG_INFO,
		           "database %s: cannot answer a node that lacks something: %s", db->name,
		           blaze_strerror(error));
		answer_end(answer);
	}
	return error == 0;
}

/* Encodes the next chunk: its bytes, 0 at the end, -ENOMEM. A pass over the records during which
 * the vector moved is followed by another one, of what has changed since it began (I1). `lock` is
 * held. */
static int64_t chunk_fill(struct blaze_db *db, struct blazei_answer *answer)
{
	int64_t n;

	if (answer->cursor.end) {
		if (answer->exact || answer->passes == PASSES_MAX)
			return 0;
		if (own_note(db, answer) < 0)
			return -ENOMEM;
		answer->cursor = (struct blazei_state_cursor){ 0 };
		answer->passes++;
	}
	n = blazei_replica_state_chunk(db->replica, answer->known, answer->known_count,
	                               &answer->cursor, answer->body, CHUNK_BYTES);
	answer->exact = answer->cursor.end && own_unchanged(db, answer);
	return n;
}

/* Encodes the next body when the last one was sent. 0 or a negative error. */
static int body_fill(struct blaze_db *db, struct blazei_answer *answer)
{
	int64_t n;

	if (answer->sent < answer->total)
		return 0;
	answer->sent = 0;
	answer->total = 0;
	if (answer->state != BLAZEI_ANSWER_STATE) {
		answer->state = BLAZEI_ANSWER_DONE;
		return 0;
	}
	pthread_mutex_lock(&db->lock);
	n = chunk_fill(db, answer);
	pthread_mutex_unlock(&db->lock);
	if (n < 0)
		return (int)n;
	answer->total = (uint64_t)n;
	if (n == 0) {
		answer->state = BLAZEI_ANSWER_VECTOR;
		answer->total = answer->noted_count * sizeof(*answer->noted);
	}
	return 0;
}

/* Sends one piece of the body. 0; -EAGAIN no room; another error. */
static int piece_send(struct blazei_answer *answer)
{
	const struct blazei_link_ops *ops = answer->link->ops;
	bool state = answer->state == BLAZEI_ANSWER_STATE;
	const unsigned char *body = state ? answer->body : (const void *)answer->noted;
	uint64_t n = answer->total - answer->sent;
	struct blazei_piece piece = {
		.magic = BLAZEI_PIECE_MAGIC,
		.kind = state ? BLAZEI_PIECE_STATE : BLAZEI_PIECE_VECTOR,
		.total = answer->total,
		.offset = answer->sent,
	};
	void *place;
	int error;

	if (n > BLAZEI_PIECE_MAX)
		n = BLAZEI_PIECE_MAX;
	error = ops->reserve(answer->link, sizeof(piece) + n, &place);
	if (error != 0)
		return error;
	memcpy(place, &piece, sizeof(piece));
	memcpy((unsigned char *)place + sizeof(piece), body + answer->sent, n);
	error = ops->commit(answer->link);
	if (error != 0)
		return error;
	answer->sent += n;
	return 0;
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
	unsigned sent = 0;
	int error = 0;

	while (sent < PIECES_PER_STEP && error == 0 && answer->state != BLAZEI_ANSWER_DONE) {
		error = body_fill(db, answer);
		if (error == 0 && answer->state != BLAZEI_ANSWER_DONE)
			error = piece_send(answer);
		if (error == 0)
			sent++;
	}
	if (sent > 0)
		answer->progress_ns = now_ns;
	if ((error != 0 && error != -EAGAIN) || !answer_awaited(db, answer) ||
	    blazei_passed_ns(now_ns, answer->progress_ns) > BLAZEI_PULL_PATIENCE_NS)
		answer_end(answer);
	if (sent > 0)
		return BLAZEI_TURN_WORKED;
	/* Nobody wakes a writer that waits for room. */
	return error == -EAGAIN ? BLAZEI_TURN_NAP : 0;
}

unsigned blazei_answers_step(struct blaze_db *db, uint64_t now_ns)
{
	unsigned flags = 0;

	/* Half of what is being merged is in no vector yet (pull.h, I1). */
	if (db->pull.whole)
		return 0;
	for (unsigned i = 0; i < BLAZEI_ANSWERS_MAX; i++) {
		if (db->answers[i].state != BLAZEI_ANSWER_FREE)
			flags |= answer_step(db, &db->answers[i], now_ns);
	}
	return flags;
}
