/* SPDX-License-Identifier: Apache-2.0 */
/* The side that lacks something (see pull.h for states and messages).
 *
 * FAILURE  Everything that comes is bounded and checked before it is used: kind, total and offset
 *        of a piece here, the content of a chunk by the replica. The first thing wrong ends it;
 *        the next one goes to another peer where there is one, and waits longer each time. */
#include "lib/db/db.h"

#include <stdio.h>
#include <stdlib.h>

#define PIECES_PER_STEP   8u
#define RETRY_NS          (20 * BLAZEI_NS_PER_MS)
#define RETRY_DOUBLED_MAX 7u

void blazei_pull_name(const char *db_name, const struct blaze_id *ring,
                      char ret_name[BLAZEI_PULL_NAME_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	int n = snprintf(ret_name, BLAZEI_PULL_NAME_BYTES, "x.%.29s.", db_name);
	char *at = ret_name + n;

	for (size_t i = 0; i < sizeof(ring->bytes); i++) {
		*at++ = digits[ring->bytes[i] >> 4];
		*at++ = digits[ring->bytes[i] & 15];
	}
	*at = '\0';
}

void blazei_pull_reap(const struct blazei_board_description *text)
{
	static const struct blaze_id none;
	char name[BLAZEI_PULL_NAME_BYTES];

	if (blazei_id_equal(&text->request.ring, &none))
		return;
	blazei_pull_name(text->db_name, &text->request.ring, name);
	/* Mostly gone already: it is removed by whoever leaves it last. */
	(void)blazei_link_unlink_ring(name);
}

/* Shows a request on the board; NULL withdraws it. */
static void request_show(struct blaze_db *db, const struct blaze_id *peer,
                         const struct blaze_id *ring)
{
	pthread_mutex_lock(&db->lock);
	memset(&db->text.request, 0, sizeof(db->text.request));
	if (ring != NULL)
		db->text.request.ring = *ring;
	if (peer != NULL)
		db->text.request.peer = *peer;
	blazei_db_show_text(db);
	pthread_mutex_unlock(&db->lock);
}

static void attempt_failed(struct blaze_db *db, uint64_t now_ns)
{
	struct blazei_member *member = blazei_census_by_peer(&db->census, &db->pull.peer);
	unsigned doubled;

	if (member == NULL)
		return;
	doubled =
	        member->lag.failures < RETRY_DOUBLED_MAX ? member->lag.failures : RETRY_DOUBLED_MAX;
	member->lag.failures++;
	member->lag.not_before = now_ns + (RETRY_NS << doubled);
}

static int nothing_handle(void *arg, const struct blazei_link_record *records, unsigned count)
{
	(void)arg;
	(void)records;
	(void)count;
	return 0;
}

/* Makes the private ring, and becomes a reader of it, before the peer is told. */
static int ring_make(struct blaze_db *db, const struct blaze_id *ring)
{
	struct blazei_pull *pull = &db->pull;
	const struct blazei_link_options options = { .read_only = true };
	char name[BLAZEI_PULL_NAME_BYTES];
	int error;

	blazei_pull_name(db->name, ring, name);
	error = blazei_link_open_ring(name, &options, &pull->link);
	if (error != 0)
		return error;
	error = pull->link->ops->poll(pull->link, nothing_handle, NULL, 1);
	return error < 0 ? error : 0;
}

void blazei_pull_start(struct blaze_db *db, struct blazei_member *member, uint64_t now_ns)
{
	struct blazei_pull *pull = &db->pull;
	struct blaze_id ring;
	int error = blaze_id_new(&ring);

	pull->peer = member->peer;
	if (error == 0) {
		pull->active = true;
		pull->progress_ns = now_ns;
		request_show(db, NULL, &ring);
	}
	BLAZEI_TESTPOINT("pull_named");
	if (error == 0)
		error = ring_make(db, &ring);
	BLAZEI_TESTPOINT("pull_made");
	if (error != 0) {
		blazei_log(BLAZE_LOG_WARNING, "database %s: cannot ask for what it lacks: %s",
		           db->name, blaze_strerror(error));
		attempt_failed(db, now_ns);
		blazei_pull_stop(db);
		return;
	}
	request_show(db, &pull->peer, &ring);
	db->link->ops->wake(db->link);
	blazei_db_tell_sync(db, BLAZE_SYNC_CATCHING_UP);
}

/* How many transactions the raise to these entries stands for. Nobody may raise the own entry: it
 * numbers the own writes. `lock` is held. */
static uint64_t raise_count(const struct blaze_db *db, struct blazei_vector_entry *entries,
                            unsigned count)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < count; i++) {
		uint64_t mine = blazei_replica_vector_seq(db->replica, &entries[i].origin);

		if (blazei_id_equal(&entries[i].origin.node, &db->self.node))
			entries[i].seq = 0;
		if (entries[i].seq > mine)
			n += entries[i].seq - mine;
	}
	return n;
}

static void state_pop(struct blazei_pull *pull)
{
	struct blazei_pull_body *body = pull->first;

	pull->first = body->next;
	free(body);
}

/* Whether these entries claim more of a node that lives than its own board does. Its board may be
 * one transaction behind its lane (board.h, I3), never more: beyond that somebody lies, and who
 * believed it would take that node's next writes for duplicates. Of nodes that are gone nobody can
 * tell. The boards were read just now: later they may be mapped no more. */
static bool vector_exceeds(struct blaze_db *db, const struct blazei_vector_entry *entries,
                           unsigned count)
{
	struct blazei_vector_entry own;

	for (unsigned i = 0; i < count; i++) {
		const struct blazei_member *member =
		        blazei_census_by_node(&db->census, &entries[i].origin.node);

		if (member == NULL || member->board == NULL ||
		    blazei_board_vector_count(member->board, member->board_bytes) == 0)
			continue;
		blazei_board_vector_load(member->board, 0, &own);
		if (own.origin.incarnation == entries[i].origin.incarnation &&
		    blazei_id_equal(&own.origin.node, &entries[i].origin.node) &&
		    entries[i].seq > own.seq && entries[i].seq - own.seq > 1)
			return true;
	}
	return false;
}

/* A whole body has come. State is checked now and merged later (I1). */
static int body_take(struct blaze_db *db)
{
	struct blazei_pull *pull = &db->pull;
	struct blazei_pull_body *body = pull->body;
	int error;

	if (pull->kind == BLAZEI_PIECE_VECTOR) {
		if (body->len % sizeof(struct blazei_vector_entry) != 0)
			return -EBADMSG;
		/* Now, as nothing is merged yet: a vector that is refused takes its state along. */
		error = blazei_db_census(db, false);
		if (error != 0)
			return error;
		if (vector_exceeds(db, (void *)body->words,
		                   (unsigned)(body->len / sizeof(struct blazei_vector_entry))))
			return -EBADMSG;
		pull->whole = true;
		return 0;
	}
	error = blazei_replica_state_check(blazei_realtime_ns(), body->words, body->len);
	if (error != 0)
		return error;
	if (pull->first == NULL)
		pull->first = body;
	else
		pull->last->next = body;
	pull->last = body;
	pull->bytes += body->len;
	pull->body = NULL;
	pull->have = 0;
	return 0;
}

static int body_start(struct blazei_pull *pull, const struct blazei_piece *piece)
{
	pull->body = malloc(sizeof(*pull->body) + piece->total);
	if (pull->body == NULL)
		return -ENOMEM;
	pull->body->next = NULL;
	pull->body->len = piece->total;
	pull->kind = piece->kind;
	return 0;
}

static int piece_take(struct blaze_db *db, const void *data, size_t len)
{
	struct blazei_pull *pull = &db->pull;
	struct blazei_piece piece;
	size_t n;
	int error;

	if (len < sizeof(piece) || pull->whole)
		return -EBADMSG;
	memcpy(&piece, data, sizeof(piece));
	n = len - sizeof(piece);
	if (piece.magic != BLAZEI_PIECE_MAGIC || piece.total > BLAZEI_BODY_MAX ||
	    piece.total % 8 != 0 || piece.offset != pull->have || n == 0 ||
	    n > piece.total - pull->have)
		return -EBADMSG;
	if (piece.kind != BLAZEI_PIECE_STATE && piece.kind != BLAZEI_PIECE_VECTOR)
		return -EBADMSG;
	if (pull->body == NULL) {
		error = body_start(pull, &piece);
		if (error != 0)
			return error;
	} else if (pull->kind != piece.kind || pull->body->len != piece.total) {
		return -EBADMSG;
	}
	memcpy((unsigned char *)pull->body->words + pull->have,
	       (const unsigned char *)data + sizeof(piece), n);
	pull->have += n;
	return pull->have == pull->body->len ? body_take(db) : 0;
}

/* Merges what has come whole, the vector last, in one step: a transaction may lie in several
 * bodies, and no reader may see half of it. 0 or the replica's error. */
static int bodies_merge(struct blaze_db *db)
{
	struct blazei_pull *pull = &db->pull;
	struct blazei_vector_entry *entries = (void *)pull->body->words;
	unsigned count = (unsigned)(pull->body->len / sizeof(*entries));
	uint64_t now_ns = blazei_realtime_ns();
	uint64_t raised = 0;
	int result = 0;

	pthread_mutex_lock(&db->lock);
	while (pull->first != NULL && result == 0) {
		result = blazei_replica_state_merge(db->replica, now_ns, pull->first->words,
		                                    pull->first->len);
		if (result == 0)
			state_pop(pull);
	}
	if (result == 0) {
		raised = raise_count(db, entries, count);
		result = blazei_replica_vector_raise(db->replica, now_ns, entries, count);
		blazei_db_show_vector(db);
	}
	pthread_mutex_unlock(&db->lock);
	if (result < 0)
		return result;
	pull->done = true;
	pull->raised = raised + (uint64_t)result;
	db->advanced += pull->raised;
	return 0;
}

void blazei_pull_stop(struct blaze_db *db)
{
	struct blazei_pull *pull = &db->pull;

	if (!pull->active)
		return;
	/* What is merged in part already must not stay so (I1). */
	if (pull->whole && !pull->done)
		(void)bodies_merge(db);
	if (pull->link != NULL)
		pull->link->ops->close(pull->link);
	blazei_pull_reap(&db->text);
	request_show(db, NULL, NULL);
	free(pull->body);
	while (pull->first != NULL)
		state_pop(pull);
	memset(pull, 0, sizeof(*pull));
}

static int pieces_handle(void *arg, const struct blazei_link_record *records, unsigned count)
{
	struct blaze_db *db = arg;

	for (unsigned i = 0; i < count; i++) {
		/* Nothing may be lost on a lossless ring, and only one peer answers. */
		int error = records[i].data == NULL
		                    ? -EBADMSG
		                    : piece_take(db, records[i].data, records[i].len);

		if (error != 0)
			return error;
	}
	return 0;
}

static void succeed(struct blaze_db *db, uint64_t now_ns)
{
	struct blazei_member *member = blazei_census_by_peer(&db->census, &db->pull.peer);

	if (member != NULL && db->pull.raised > 0) {
		member->lag.failures = 0;
		member->lag.watched = false;
	} else {
		/* Its board promised what it doesn't have: not again at once. */
		attempt_failed(db, now_ns);
	}
	/* Relaxed: a counter of its own. */
	atomic_fetch_add_explicit(&db->catch_ups, 1, memory_order_relaxed);
	blazei_pull_stop(db);
	blazei_db_tell_sync(db, BLAZE_SYNC_LIVE);
	/* Who lacks the same finds it here now. */
	db->link->ops->wake(db->link);
	db->next_check_ns = 0;
}

static void fail(struct blaze_db *db, uint64_t now_ns, int error)
{
	blazei_log(BLAZE_LOG_INFO, "database %s: an attempt to catch up ended: %s", db->name,
	           error < 0 ? blaze_strerror(error) : "no answer");
	attempt_failed(db, now_ns);
	blazei_pull_stop(db);
}

/* What has come whole is merged, whatever becomes of the peer. Without memory it stays and is tried
 * again: given up half-way it would break I1. */
static unsigned whole_step(struct blaze_db *db, uint64_t now_ns)
{
	int error = bodies_merge(db);

	if (error == -ENOMEM)
		return BLAZEI_TURN_NAP;
	if (error != 0)
		fail(db, now_ns, error);
	else if (db->pull.done)
		succeed(db, now_ns);
	return BLAZEI_TURN_WORKED;
}

unsigned blazei_pull_step(struct blaze_db *db, uint64_t now_ns)
{
	struct blazei_pull *pull = &db->pull;
	const struct blazei_member *member;
	int result;

	if (!pull->active)
		return 0;
	if (pull->whole)
		return whole_step(db, now_ns);
	result = pull->link->ops->poll(pull->link, pieces_handle, db, PIECES_PER_STEP);
	if (pull->whole)
		return BLAZEI_TURN_WORKED;
	if (result > 0) {
		pull->progress_ns = now_ns;
		return BLAZEI_TURN_WORKED;
	}
	member = blazei_census_by_peer(&db->census, &pull->peer);
	if (result < 0 || member == NULL || !member->live ||
	    blazei_passed_ns(now_ns, pull->progress_ns) > BLAZEI_PULL_PATIENCE_NS)
		fail(db, now_ns, result);
	return 0;
}
