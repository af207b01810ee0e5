/* SPDX-License-Identifier: Apache-2.0 */
/* The side that lacks something: what comes is checked, then merged at once if it is a transaction,
 * staged if it belongs to a snapshot.
 *
 *        An answerer that is below the frontier is not heard. Where a partition was so long that
 *        each side expelled the other, each is below the other's, and one of them has to give in:
 *        the one whose frontier was made known before the other's, who takes the other's state like
 *        anyone who was away. (Rejected: the one with the greater identity. Who stands between two
 *        sides, and has a greater identity than both, takes the state of each in turn, for ever.)
 *
 * INVARIANTS
 *   I1   The rank by which one gives in (members.h) goes with the state, not with the node: who
 *        gives in has the other's rank from then on, and gives in to nobody of a lower one. So
 *        among those who are below each other's frontiers each gives in to higher and higher ranks
 *        only, and in the end, when no frontier is made known any more, all have the highest.
 *
 * FAILURE  The first thing wrong ends the session. What was merged are whole transactions, which
 *          the vector tells of; what is staged stays for the next session, unless the stage is full
 *          or contradicts itself: then it is emptied. */
#include <stdlib.h>

#include "lib/repl/session_core.h"

#define VIEWS_MAX 256u

static void body_drop(struct blazei_session *session)
{
	struct blazei_blob *body = session->ask.body;

	if (!body)
		return;
	session->options.stage->bytes -= sizeof(*body) + body->len;
	session->ask.body = NULL;
	free(body);
}

void blazei_asker_fini(struct blazei_session *session)
{
	body_drop(session);
	free(session->ask.vector);
}

/* Ends a session whose stage is of no use to another one. */
static int fail_emptied(struct blazei_session *session, int error)
{
	body_drop(session);
	blazei_stage_clear(session->options.stage);
	return blazei_session_fail(session, error);
}

/* Transactions --------------------------------------------------------------------------------*/

/* The transaction at *at, by its lengths alone; moves *at behind it. NULL: there is none. */
static const struct blazei_txn_header *txn_next(const uint8_t **at, const uint8_t *end)
{
	const struct blazei_txn_header *header = (const void *)*at;
	size_t left = (size_t)(end - *at);

	if (left < sizeof(*header) || header->bytes < sizeof(*header) || header->bytes > left ||
	    header->bytes % 8 != 0)
		return NULL;
	*at += header->bytes;
	return header;
}

/* Whether the bytes are transactions and nothing else. */
static bool txns_check(const uint8_t *at, uint64_t len)
{
	const uint8_t *end = at + len;

	while (at < end) {
		const struct blazei_txn_header *header = txn_next(&at, end);

		if (!header || blazei_txn_check(header, header->bytes) < 0)
			return false;
	}
	return true;
}

/* The origin of a checked transaction that is too far ahead of the clock; NULL: none is. */
static const struct blazei_origin *txns_ahead(const struct blazei_replica *replica,
                                              const uint8_t *at, uint64_t len, uint64_t now_ns)
{
	const uint8_t *end = at + len;

	while (at < end) {
		const struct blazei_txn_header *header = txn_next(&at, end);

		if (blazei_ahead(replica, header->hlc, now_ns))
			return blazei_txn_origins(header);
	}
	return NULL;
}

/* Merges transactions as they come by a lane. One that is invalid ends the session; one that is
 * refused for what its origin did before does not. */
static int txns_apply(struct blazei_session *session, uint64_t now_ns, const uint8_t *at,
                      uint64_t len)
{
	struct blazei_replica *replica = session->options.replica;
	const uint8_t *start = at;
	const uint8_t *end = at + len;
	const uint64_t refused = replica->refused;
	struct blazei_txn_view views[VIEWS_MAX];

	while (at < end) {
		unsigned count = 0;
		int rc;

		while (at < end && count < VIEWS_MAX) {
			const struct blazei_txn_header *header = txn_next(&at, end);

			if (!header)
				return blazei_session_fail(session, -EBADMSG);
			views[count++] = (struct blazei_txn_view){ header, header->bytes };
		}
		rc = blazei_replica_receive(replica, now_ns, views, count);
		if (rc < 0)
			return blazei_session_fail(session, rc);
		session->status.txns += (unsigned)rc;
	}
	if (replica->refused != refused && !txns_check(start, len))
		return blazei_session_fail(session, -EBADMSG);
	return 0;
}

/* Bodies --------------------------------------------------------------------------------------*/

static int body_new(struct blazei_session *session, const struct blazei_session_part *part)
{
	struct blazei_stage *stage = session->options.stage;
	uint64_t bytes = sizeof(struct blazei_blob) + part->total;

	if (bytes > stage->bytes_max - stage->bytes)
		return fail_emptied(session, -ENOBUFS);
	session->ask.body = malloc(bytes);
	if (!session->ask.body)
		return blazei_session_fail(session, -ENOMEM);
	stage->bytes += bytes;
	session->ask.body->len = part->total;
	session->ask.have = 0;
	session->ask.kind = part->header.kind;
	return 0;
}

/* Ends a session that brings what is ahead of the clock: it has to come again later, as all that
 * is behind it would have to wait, too. */
static int fail_ahead(struct blazei_session *session, uint64_t now_ns,
                      const struct blazei_origin *origin)
{
	struct blazei_replica *replica = session->options.replica;
	int index = blazei_vector_admit(&replica->vector, origin, replica->vector.reserve);

	if (index > 0)
		blazei_halt_clock(replica, now_ns, (unsigned)index,
		                  replica->vector.writers[index].seq + 1);
	return blazei_session_fail(session, -EAGAIN);
}

/* Stages the body, which is whole. */
static int body_stage(struct blazei_session *session, uint64_t now_ns)
{
	struct blazei_stage *stage = session->options.stage;
	struct blazei_blob *body = session->ask.body;
	const struct blazei_replica *replica = session->options.replica;
	const uint8_t *bytes = (const uint8_t *)body->words;
	const bool txns = session->ask.kind == BLAZEI_KIND_TXNS;
	const struct blazei_origin *ahead;

	if (txns ? !txns_check(bytes, body->len) : blazei_state_check(bytes, body->len) < 0)
		return blazei_session_fail(session, -EBADMSG);
	ahead = txns ? txns_ahead(replica, bytes, body->len, now_ns)
	             : blazei_state_ahead(replica, (const void *)bytes, now_ns);
	if (ahead)
		return fail_ahead(session, now_ns, ahead);
	session->ask.body = NULL;
	if (txns) {
		blazei_blobs_push(&stage->txns, body);
		return 0;
	}
	blazei_blobs_push(&stage->chunks, body);
	stage->resume.cursor = session->ask.cursor;
	session->status.chunks++;
	return 0;
}

static int part_take(struct blazei_session *session, uint64_t now_ns,
                     const struct blazei_session_part *part)
{
	struct blazei_asker *ask = &session->ask;
	uint64_t n = part->header.bytes - sizeof(*part);
	int rc = 0;

	if (part->header.kind == BLAZEI_KIND_CHUNK && !ask->staging)
		return blazei_session_fail(session, -EBADMSG);
	if (!ask->body) {
		if (part->offset != 0)
			return blazei_session_fail(session, -EBADMSG);
		if (!ask->staging && n == part->total)
			return txns_apply(session, now_ns, part->bytes, n);
		rc = body_new(session, part);
		if (rc < 0)
			return rc;
		ask->cursor = part->cursor;
	}
	if (part->header.kind != ask->kind || part->total != ask->body->len ||
	    part->offset != ask->have || part->cursor != ask->cursor)
		return blazei_session_fail(session, -EBADMSG);
	memcpy((uint8_t *)ask->body->words + ask->have, part->bytes, n);
	ask->have += n;
	if (ask->have < ask->body->len)
		return 0;
	if (ask->staging)
		return body_stage(session, now_ns);
	rc = txns_apply(session, now_ns, (const uint8_t *)ask->body->words, ask->body->len);
	body_drop(session);
	return rc;
}

/* Snapshots -----------------------------------------------------------------------------------*/

static int snapshot_take(struct blazei_session *session,
                         const struct blazei_session_snapshot *snapshot)
{
	int rc = -EBADMSG;

	if (!session->ask.body &&
	    (session->ask.staging || !(snapshot->header.flags & BLAZEI_SNAPSHOT_AGAIN)))
		rc = blazei_stage_begin(session->options.stage, &session->status.peer, snapshot);
	if (rc < 0)
		return fail_emptied(session, rc);
	session->ask.staging = true;
	session->status.passes++;
	session->status.whole = session->options.stage->whole;
	session->ask.below = snapshot->header.flags & BLAZEI_SNAPSHOT_BELOW;
	if (snapshot->header.flags & BLAZEI_SNAPSHOT_RESUMED)
		session->status.resumed = true;
	return 0;
}

static int live_take(struct blazei_session *session, const struct blazei_session_live *live)
{
	size_t bytes = live->entry_count * sizeof(*live->entries);

	if (session->ask.body)
		return blazei_session_fail(session, -EBADMSG);
	session->ask.vector = malloc(bytes ? bytes : 1);
	if (!session->ask.vector)
		return blazei_session_fail(session, -ENOMEM);
	memcpy(session->ask.vector, live->entries, bytes);
	session->ask.vector_count = live->entry_count;
	if (!session->ask.staging)
		blazei_stage_clear(session->options.stage);
	session->status.state = session->ask.staging ? BLAZEI_SESSION_STAGED : BLAZEI_SESSION_LIVE;
	return 0;
}

/* Whether a message of an answerer that is below the frontier is taken all the same: that it has
 * nothing, or everything for one who is below its own and gives in. */
static bool below_heard(const struct blazei_session *session,
                        const struct blazei_session_header *header)
{
	if (header->kind == BLAZEI_KIND_LIVE)
		return true;
	return header->kind == BLAZEI_KIND_SNAPSHOT && header->flags & BLAZEI_SNAPSHOT_BELOW &&
	       session->ask.peer_above;
}

int blazei_asker_take(struct blazei_session *session, uint64_t now_ns,
                      const struct blazei_session_header *header)
{
	if (session->status.state != BLAZEI_SESSION_RUNNING)
		return blazei_session_fail(session, -EBADMSG);
	if (session->ask.peer_below && !below_heard(session, header))
		return blazei_session_refuse(session, BLAZEI_SESSION_BELOW_FRONTIER);
	session->ask.peer_below = false;
	if (header->kind == BLAZEI_KIND_SNAPSHOT)
		return snapshot_take(session, (const struct blazei_session_snapshot *)header);
	if (header->kind == BLAZEI_KIND_LIVE)
		return live_take(session, (const struct blazei_session_live *)header);
	return part_take(session, now_ns, (const struct blazei_session_part *)header);
}

/* The origin of an entry that is too far ahead of the clock; NULL: none is. */
static const struct blazei_origin *entries_ahead(const struct blazei_replica *replica,
                                                 const struct blazei_session_entry *entries,
                                                 unsigned count, uint64_t now_ns)
{
	for (unsigned i = 0; i < count; i++) {
		const struct blazei_session_entry *entry = &entries[i];

		if (blazei_ahead(replica,
		                 blazei_origin_retired(&entry->origin) ? entry->seq : entry->hlc,
		                 now_ns))
			return &entry->origin;
	}
	return NULL;
}

int blazei_session_install(struct blazei_session *session, uint64_t now_ns)
{
	struct blazei_replica *replica = session->options.replica;
	struct blazei_stage *stage = session->options.stage;
	const struct blazei_stage_cut cut = {
		.vs = session->ask.vector,
		.count = session->ask.vector_count,
		/* Who is not below has nothing that nobody would take. */
		.anew = session->options.anew && session->ask.below,
	};
	const struct blazei_origin *ahead;
	struct blazei_session_entry forked;
	int rc;

	if (session->status.state != BLAZEI_SESSION_STAGED)
		return -EINVAL;
	stage->anew = cut.anew;
	ahead = entries_ahead(replica, stage->v0, stage->v0_count, now_ns);
	if (ahead)
		return fail_ahead(session, now_ns, ahead);
	rc = blazei_stage_check(stage, replica, session->ask.vector, session->ask.vector_count,
	                        &forked);
	if (rc == 0)
		rc = blazei_stage_install(stage, replica, now_ns, &cut);
	if (rc == -ENOMEM)
		return rc;
	blazei_stage_clear(stage);
	if (rc == -EEXIST)
		return blazei_session_refuse_fork(session, &forked);
	if (rc < 0)
		return blazei_session_fail(session, rc);
	session->status.txns += (unsigned)rc;
	session->status.state = BLAZEI_SESSION_LIVE;
	return 0;
}
