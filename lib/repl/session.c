/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: birth and death, hellos, refusals; what both sides do. See session.h.
 *
 * A hello names, for an origin that is quarantined here, the greatest number there is: it wants
 * nothing of it. */
#include <stdlib.h>

#include "lib/op/hash.h"
#include "lib/repl/mark_core.h"
#include "lib/repl/session_core.h"

#define UNWANTED UINT64_MAX /* the seq of an origin of which the sender wants nothing */

const char *blazei_session_reason_text(enum blazei_session_reason reason)
{
	switch (reason) {
#define REASON_TEXT(number, name, error, text)                                                     \
	case BLAZEI_SESSION_##name:                                                                \
		return text;
		BLAZEI_SESSION_REASONS(REASON_TEXT)
#undef REASON_TEXT
	default:
		return "";
	}
}

static int reason_error(uint32_t reason)
{
	switch (reason) {
#define REASON_ERROR(number, name, error, text)                                                    \
	case BLAZEI_SESSION_##name:                                                                \
		return -(error);
		BLAZEI_SESSION_REASONS(REASON_ERROR)
#undef REASON_ERROR
	default:
		return -EPROTO;
	}
}

/* Life --------------------------------------------------------------------------------------- */

int blazei_session_new(const struct blazei_session_options *options,
                       struct blazei_session **ret_session)
{
	struct blazei_session *session;

	if (!options->replica || (options->side == BLAZEI_SESSION_ASKER && !options->stage))
		return -EINVAL;
	session = calloc(1, sizeof(*session));
	if (!session)
		return -ENOMEM;
	session->options = *options;
	session->self = options->replica->vector.origins[0];
	session->moves = options->replica->vector.moves;
	session->answer.out.max = BLAZEI_TXN_BYTES_MAX;
	if (options->refuse)
		blazei_session_refuse(session, options->refuse);
	*ret_session = session;
	return 0;
}

void blazei_session_free(struct blazei_session *session)
{
	if (!session)
		return;
	blazei_answerer_fini(session);
	blazei_asker_fini(session);
	free(session);
}

void blazei_session_status(const struct blazei_session *session,
                           struct blazei_session_status *ret_status)
{
	*ret_status = session->status;
}

unsigned blazei_session_vector(const struct blazei_session *session,
                               const struct blazei_session_entry **ret_entries)
{
	*ret_entries = session->ask.vector;
	return session->ask.vector_count;
}

/* Ends --------------------------------------------------------------------------------------- */

int blazei_session_fail(struct blazei_session *session, int error)
{
	session->status.state = BLAZEI_SESSION_FAILED;
	session->status.error = error;
	return error;
}

int blazei_session_refuse(struct blazei_session *session, enum blazei_session_reason reason)
{
	session->status.state = BLAZEI_SESSION_REFUSED;
	session->status.reason = reason;
	session->status.error = reason_error(reason);
	session->refusal_due = true;
	return session->status.error;
}

int blazei_session_refuse_fork(struct blazei_session *session,
                               const struct blazei_session_entry *forked)
{
	struct blazei_replica *replica = session->options.replica;
	uint16_t index = blazei_vector_find(&replica->vector, &forked->origin);

	session->status.forked = forked->origin;
	session->status.forked_seq = forked->seq;
	if (index == 0)
		blazei_displace(replica, forked->seq);
	else
		blazei_quarantine(replica, index, forked->seq);
	return blazei_session_refuse(session, BLAZEI_SESSION_FORK);
}

/* Giving ------------------------------------------------------------------------------------- */

int64_t blazei_session_seal(struct blazei_session *session, void *buf, uint8_t kind, size_t len)
{
	struct blazei_session_header *header = buf;
	uint16_t flags = header->flags;

	*header = (struct blazei_session_header){
		.bytes = (uint32_t)len,
		.kind = kind,
		.format = BLAZEI_SESSION_FORMAT,
		.flags = flags,
		.session = session->options.id,
		.number = session->sent++,
		.magic = BLAZEI_SESSION_MAGIC,
	};
	header->hash = blazei_session_hash(header);
	return (int64_t)len;
}

void blazei_session_vector_write(const struct blazei_replica *replica,
                                 struct blazei_session_entry *entries)
{
	for (unsigned i = 0; i < replica->vector.count; i++) {
		const struct blazei_writer *writer = &replica->vector.writers[i];

		entries[i] = (struct blazei_session_entry){
			.origin = replica->vector.origins[i],
			.seq = writer->seq,
			.chain = writer->chain_known ? writer->chain : 0,
			.hlc = writer->hlc,
		};
	}
}

static int64_t refuse_give(struct blazei_session *session, void *buf)
{
	struct blazei_session_refuse *refuse = buf;

	*refuse = (struct blazei_session_refuse){
		.reason = session->status.reason,
		.origin = session->status.forked,
		.seq = session->status.forked_seq,
	};
	session->refusal_due = false;
	return blazei_session_seal(session, buf, BLAZEI_KIND_REFUSE, sizeof(*refuse));
}

static int64_t hello_give(struct blazei_session *session, void *buf, size_t cap)
{
	struct blazei_replica *replica = session->options.replica;
	const struct blazei_stage *stage = session->options.stage;
	const struct blazei_vector *vector = &replica->vector;
	struct blazei_session_hello *hello = buf;
	size_t len = sizeof(*hello) + vector->count * sizeof(*hello->entries);
	struct blazei_rank rank;

	if (len > cap)
		return -EMSGSIZE;
	if (blazei_replica_rank(replica, &rank) < 0)
		return -ENOMEM;
	*hello = (struct blazei_session_hello){
		.database = session->options.database,
		.self = vector->origins[0],
		.txn_format = BLAZEI_FORMAT,
		.policy = replica->policy,
		.entry_count = vector->count,
		.side = session->options.side,
		.rank = rank,
	};
	if (stage)
		hello->resume = stage->resume;
	blazei_session_vector_write(replica, hello->entries);
	for (unsigned i = 0; i < vector->count && replica->quarantined > 0; i++)
		if (vector->writers[i].halted & BLAZEI_HALTED_QUARANTINED)
			hello->entries[i].seq = UNWANTED;
	session->hello_sent = true;
	return blazei_session_seal(session, buf, BLAZEI_KIND_HELLO, len);
}

int64_t blazei_session_give(struct blazei_session *session, uint64_t now_ns, void *buf, size_t cap)
{
	(void)now_ns;
	if (cap < BLAZEI_SESSION_MESSAGE_MIN || (uintptr_t)buf % 8 != 0)
		return -EINVAL;
	if (cap > BLAZEI_SESSION_MESSAGE_MAX)
		cap = BLAZEI_SESSION_MESSAGE_MAX;
	if (session->refusal_due)
		return refuse_give(session, buf);
	if (session->status.state >= BLAZEI_SESSION_STAGED)
		return 0;
	if (session->moves != session->options.replica->vector.moves ||
	    !blazei_origin_equal(&session->self, &session->options.replica->vector.origins[0]))
		return blazei_session_fail(session, -ECANCELED);
	if (!session->hello_sent)
		return hello_give(session, buf, cap);
	if (session->hello_taken && session->options.side == BLAZEI_SESSION_ANSWERER)
		return blazei_answerer_give(session, buf, cap);
	return 0;
}

/* Taking ------------------------------------------------------------------------------------- */

/* Whether the other side knows more of this one's writes than there are: then it goes on under
 * another name (restart.c), and afterwards asks again. */
static bool hello_displaces(struct blazei_replica *replica,
                            const struct blazei_session_hello *hello)
{
	for (unsigned i = 0; i < hello->entry_count; i++) {
		const struct blazei_session_entry *entry = &hello->entries[i];

		if (entry->seq == UNWANTED || entry->seq <= replica->vector.writers[0].seq ||
		    !blazei_origin_equal(&entry->origin, &replica->vector.origins[0]))
			continue;
		blazei_displace(replica, entry->seq);
		return true;
	}
	return false;
}

/* Why a hello is refused, or no reason. */
static enum blazei_session_reason hello_judge(const struct blazei_session *session,
                                              const struct blazei_session_hello *hello)
{
	static const struct blaze_id unknown;
	struct blazei_replica *replica = session->options.replica;
	uint16_t index = blazei_vector_find(&replica->vector, &hello->self);

	if (hello->txn_format != BLAZEI_FORMAT)
		return BLAZEI_SESSION_FORMAT_DIFFERS;
	if (hello->policy != replica->policy)
		return BLAZEI_SESSION_POLICY;
	if (!blazei_id_equal(&hello->database, &unknown) &&
	    !blazei_id_equal(&session->options.database, &unknown) &&
	    !blazei_id_equal(&hello->database, &session->options.database))
		return BLAZEI_SESSION_DATABASE;
	if (index == 0 || hello_displaces(replica, hello))
		return BLAZEI_SESSION_IDENTITY;
	if (index != BLAZEI_ORIGIN_NONE &&
	    replica->vector.writers[index].halted & BLAZEI_HALTED_QUARANTINED &&
	    session->options.side == BLAZEI_SESSION_ANSWERER)
		return BLAZEI_SESSION_QUARANTINED;
	return BLAZEI_SESSION_NO_REASON;
}

/* The first entry that contradicts what is here, or NULL. */
static const struct blazei_session_entry *hello_forked(const struct blazei_replica *replica,
                                                       const struct blazei_session_hello *hello)
{
	for (unsigned i = 0; i < hello->entry_count; i++) {
		const struct blazei_session_entry *entry = &hello->entries[i];
		uint16_t index = blazei_vector_find(&replica->vector, &entry->origin);
		const struct blazei_writer *writer;

		/* A mark may have several heirs, one after the other. */
		if (index == BLAZEI_ORIGIN_NONE || blazei_origin_retired(&entry->origin))
			continue;
		writer = &replica->vector.writers[index];
		if (entry->seq == writer->seq && entry->chain != 0 && writer->chain_known &&
		    entry->chain != writer->chain && !(writer->halted & BLAZEI_HALTED_QUARANTINED))
			return entry;
	}
	return NULL;
}

/* Notes whether the answerer is below the frontier, and whether its own has the greater rank. 0 or
 * -ENOMEM. */
static int hello_rank(struct blazei_session *session, const struct blazei_session_hello *hello)
{
	struct blazei_replica *replica = session->options.replica;
	struct blazei_rank rank;
	uint64_t *known;

	if (blazei_replica_rank(replica, &rank) < 0)
		return -ENOMEM;
	if (!blazei_replica_has_frontier(replica))
		return 0;
	known = calloc(replica->vector.count, sizeof(*known));
	if (!known)
		return -ENOMEM;
	blazei_vector_spread(&replica->vector, hello->entries, sizeof(*hello->entries),
	                     hello->entry_count, known);
	session->ask.peer_below = blazei_known_below(replica, known);
	session->ask.peer_above = blazei_rank_above(&hello->rank, &rank);
	free(known);
	return 0;
}

static int hello_take(struct blazei_session *session, const struct blazei_session_hello *hello)
{
	const struct blazei_session_entry *forked;
	enum blazei_session_reason reason;
	int rc = 0;

	/* It is the first message (session_wire.c), so it comes once. */
	if (hello->side == session->options.side)
		return blazei_session_fail(session, -EBADMSG);
	session->status.peer = hello->self;
	reason = hello_judge(session, hello);
	if (reason)
		return blazei_session_refuse(session, reason);
	forked = hello_forked(session->options.replica, hello);
	if (forked)
		return blazei_session_refuse_fork(session, forked);
	if (session->options.side == BLAZEI_SESSION_ASKER)
		rc = hello_rank(session, hello);
	if (rc < 0)
		return blazei_session_fail(session, rc);
	session->hello_taken = true;
	session->status.state = BLAZEI_SESSION_RUNNING;
	if (session->options.side == BLAZEI_SESSION_ASKER)
		return 0;
	return blazei_answerer_start(session, hello);
}

static int refuse_take(struct blazei_session *session, const struct blazei_session_refuse *refuse)
{
	session->status.state = BLAZEI_SESSION_REFUSED;
	session->status.reason = refuse->reason;
	session->status.by_peer = true;
	session->status.forked = refuse->origin;
	session->status.forked_seq = refuse->seq;
	session->status.error = reason_error(refuse->reason);
	return session->status.error;
}

int blazei_session_take(struct blazei_session *session, uint64_t now_ns, const void *data,
                        size_t len)
{
	const struct blazei_session_header *header = data;
	int rc;

	/* Once live, nothing that comes can change that. */
	if (session->status.error || session->status.state == BLAZEI_SESSION_LIVE)
		return session->status.error;
	rc = blazei_session_check(data, len);
	if (rc == -EPROTO)
		return blazei_session_refuse(session, BLAZEI_SESSION_FORMAT_DIFFERS);
	if (rc < 0 || header->number != session->taken ||
	    (session->taken > 0 && header->session != session->peer_id))
		return blazei_session_fail(session, -EBADMSG);
	session->peer_id = header->session;
	session->taken++;
	if (header->kind == BLAZEI_KIND_REFUSE)
		return refuse_take(session, (const struct blazei_session_refuse *)header);
	if (header->kind == BLAZEI_KIND_HELLO)
		return hello_take(session, (const struct blazei_session_hello *)header);
	if (session->options.side == BLAZEI_SESSION_ASKER && session->hello_taken)
		return blazei_asker_take(session, now_ns, header);
	return blazei_session_fail(session, -EBADMSG);
}
