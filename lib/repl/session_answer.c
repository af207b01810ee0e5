/* SPDX-License-Identifier: Apache-2.0 */
/* The side that has what another lacks: transactions from its history, or a snapshot.
 *
 * WHY    A snapshot of a replica that goes on writing is made exact by its history: the chunks are
 *        encoded one by one, each as the rows stand at that moment, so together they hold all that
 *        was merged when the pass began and some of what came since; the transactions merged since
 *        then, up to the moment when the last chunk was encoded, complete that. Where the history
 *        was overrun meanwhile, another pass sends what has changed since the last one began; each
 *        takes less time than the one before it. The fourth is frozen: it is encoded in one call,
 *        so nothing comes between.
 *
 * INVARIANTS
 *   I1   `known` is what the asker said that it has, never what was sent to it since: a transaction
 *        may still wait there for something.
 *   I2   A pass in which ordinals of rows or entries moved is worth nothing: all begins anew.
 *   I3   An asker below the frontier gets a whole snapshot, even where the history reaches back: so
 *        it learns what was collected.
 *   I4   The vector of LIVE is the one at the position in the history up to which transactions were
 *        sent. */
#include <stdlib.h>

#include "lib/op/hash.h"
#include "lib/repl/mark_core.h"
#include "lib/repl/session_core.h"

#define TXNS_ENOUGH  (64u << 10)  /* bytes: a message of more keeps the replica's lock for long */
#define CHUNK_ENOUGH (192u << 10) /* bytes of rows, so that a chunk mostly fits a message */
#define PASSES_MAX   4u
#define ROUNDS_MAX   16u
#define MOVED_ON     0

/* Starting ------------------------------------------------------------------------------------*/

static bool array_fit(uint64_t **array, unsigned count, unsigned want)
{
	uint64_t *grown = realloc(*array, want * sizeof(*grown));

	if (!grown)
		return false;
	memset(grown + count, 0, (want - count) * sizeof(*grown));
	*array = grown;
	return true;
}

/* Gives all arrays an element for each origin: the asker knows nothing of those that came since. */
static int arrays_fit(struct blazei_session *session)
{
	struct blazei_answerer *answer = &session->answer;
	unsigned want = session->options.replica->vector.count;

	if (want == answer->known_count)
		return 0;
	if (!array_fit(&answer->known, answer->known_count, want) ||
	    !array_fit(&answer->chains, answer->known_count, want) ||
	    !array_fit(&answer->base, answer->known_count, want) ||
	    !array_fit(&answer->began, answer->known_count, want))
		return -ENOMEM;
	answer->known_count = want;
	return 0;
}

/* Notes the own vector and where the history stands. */
static int target_note(struct blazei_session *session)
{
	const struct blazei_replica *replica = session->options.replica;
	struct blazei_answerer *answer = &session->answer;
	struct blazei_session_entry *noted =
	        realloc(answer->noted, replica->vector.count * sizeof(*noted));

	if (!noted)
		return -ENOMEM;
	answer->noted = noted;
	answer->noted_count = replica->vector.count;
	blazei_session_vector_write(replica, noted);
	answer->target = replica->history.head;
	return 0;
}

/* Names this replica, as its rows are numbered now, and what of them is sent. */
static uint64_t run_number(const struct blazei_session *session)
{
	const struct blazei_replica *replica = session->options.replica;
	const struct {
		struct blazei_origin self;
		uint64_t shape;
		uint64_t whole;
	} run = {
		.self = replica->vector.origins[0],
		.shape = replica->table.shape,
		.whole = session->answer.whole,
	};

	return XXH3_64bits_withSeed(&run, sizeof(run), replica->table.seed) | 1;
}

static void resume(struct blazei_session *session, const struct blazei_session_resume *place)
{
	const struct blazei_replica *replica = session->options.replica;
	struct blazei_answerer *answer = &session->answer;

	if (place->run != run_number(session) ||
	    !blazei_history_boundary(&replica->history, place->position) ||
	    place->cursor >> 32 > replica->table.row_count)
		return;
	answer->place = *place;
	answer->resumed = true;
}

int blazei_answerer_start(struct blazei_session *session, const struct blazei_session_hello *hello)
{
	const struct blazei_replica *replica = session->options.replica;
	struct blazei_answerer *answer = &session->answer;
	int rc = arrays_fit(session);

	if (rc == 0)
		rc = target_note(session);
	if (rc < 0)
		return blazei_session_fail(session, rc);
	blazei_vector_spread(&replica->vector, hello->entries, sizeof(*hello->entries),
	                     hello->entry_count, answer->known);
	for (unsigned i = 0; i < answer->known_count; i++)
		if (answer->known[i] == UINT64_MAX)
			answer->known[i] = replica->vector.writers[i].seq;
	for (unsigned i = 0; i < hello->entry_count; i++) {
		uint16_t index = blazei_vector_find(&replica->vector, &hello->entries[i].origin);

		if (index == BLAZEI_ORIGIN_NONE)
			continue;
		/* Of that one it wants nothing. */
		if (hello->entries[i].seq == UINT64_MAX)
			answer->known[index] = UINT64_MAX;
		answer->chains[index] = hello->entries[i].chain;
	}
	/* One below the frontier has, or may bring back, what was collected here. */
	answer->below = blazei_known_below(session->options.replica, answer->known);
	answer->whole = session->options.whole || answer->below;
	session->status.whole = answer->whole;
	if (!answer->whole && blazei_history_reach(&replica->history, &replica->vector,
	                                           answer->known, &answer->position)) {
		answer->phase = BLAZEI_GIVE_HISTORY;
		return 0;
	}
	answer->phase = BLAZEI_GIVE_BEGIN;
	resume(session, &hello->resume);
	return 0;
}

void blazei_answerer_fini(struct blazei_session *session)
{
	struct blazei_answerer *answer = &session->answer;
	struct blazei_blob *blob;

	while ((blob = blazei_blobs_pop(&answer->frozen)))
		free(blob);
	blazei_buffer_free(&answer->out);
	free(answer->known);
	free(answer->chains);
	free(answer->base);
	free(answer->began);
	free(answer->noted);
}

/* Bodies --------------------------------------------------------------------------------------*/

/* The next part of the body that is on its way. */
static int64_t part_give(struct blazei_session *session, void *buf, size_t cap)
{
	struct blazei_answerer *answer = &session->answer;
	struct blazei_session_part *part = buf;
	size_t room = (cap - sizeof(*part)) & ~(size_t)7;
	uint64_t left = answer->out.len - answer->out_done;
	size_t n = left < room ? left : room;

	*part = (struct blazei_session_part){
		.total = answer->out.len,
		.offset = answer->out_done,
		.cursor = answer->out_kind == BLAZEI_KIND_CHUNK ? answer->rows.next : 0,
	};
	memcpy(part->bytes, answer->out.data + answer->out_done, n);
	answer->out_done += n;
	if (answer->out_done == answer->out.len)
		answer->out.len = 0;
	return blazei_session_seal(session, buf, answer->out_kind, sizeof(*part) + n);
}

/* Makes bytes the body. 0 or -ENOMEM. */
static int body_set(struct blazei_session *session, uint8_t kind, const void *bytes, size_t len)
{
	struct blazei_answerer *answer = &session->answer;

	answer->out.len = 0;
	if (blazei_buffer_append(&answer->out, bytes, len) < 0)
		return -ENOMEM;
	answer->out_done = 0;
	answer->out_kind = kind;
	return 0;
}

/* Transactions --------------------------------------------------------------------------------*/

/* Whether a transaction is to be sent: 1, 0, or negative: its origin forked, which is new here. */
static int txn_wanted(struct blazei_session *session, const struct blazei_txn_header *header)
{
	const struct blazei_vector *vector = &session->options.replica->vector;
	const struct blazei_origin *origin = blazei_txn_origins(header);
	struct blazei_answerer *answer = &session->answer;
	uint16_t index;

	if (answer->phase == BLAZEI_GIVE_TAIL)
		return 1;
	index = blazei_vector_find(vector, origin);
	/* Retired here: who may ask for transactions has all of it. */
	if (index == BLAZEI_ORIGIN_NONE || header->seq <= answer->known[index])
		return 0;
	if (header->seq == answer->known[index] + 1 && answer->chains[index] != 0 &&
	    header->prev != answer->chains[index]) {
		const struct blazei_session_entry forked = { .origin = *origin,
			                                     .seq = header->seq - 1 };

		if (!(vector->writers[index].halted & BLAZEI_HALTED_QUARANTINED))
			return blazei_session_refuse_fork(session, &forked);
		/* The asker keeps its history of this origin, this side its own. */
		answer->known[index] = UINT64_MAX;
		return 0;
	}
	return 1;
}

/* What to do where the history no longer has the next transaction. */
static void overrun(struct blazei_answerer *answer)
{
	if (answer->phase == BLAZEI_GIVE_TAIL && !answer->resumed)
		memcpy(answer->base, answer->began, answer->known_count * sizeof(*answer->base));
	else
		answer->passes = 0;
	answer->resumed = false;
	answer->phase = BLAZEI_GIVE_BEGIN;
}

/* Collects transactions into buf, up to the target. Their bytes, 0: there is none; -ESTALE;
 * -ENOMEM; an error that the session ended with. */
static int64_t txns_collect(struct blazei_session *session, uint8_t *buf, size_t room)
{
	const struct blazei_replica *replica = session->options.replica;
	struct blazei_answerer *answer = &session->answer;
	size_t used = 0;

	while (answer->position != answer->target && used < TXNS_ENOUGH) {
		const struct blazei_txn_header *header;
		uint64_t next = answer->position;
		int rc = blazei_history_read(&replica->history, &next, &header);

		if (rc < 0)
			return rc;
		rc = txn_wanted(session, header);
		if (rc < 0)
			return rc;
		if (rc > 0 && header->bytes > room - used) {
			if (used > 0)
				break;
			if (body_set(session, BLAZEI_KIND_TXNS, header, header->bytes) < 0)
				return -ENOMEM;
		} else if (rc > 0) {
			memcpy(buf + used, header, header->bytes);
			used += header->bytes;
		}
		answer->position = next;
		session->status.txns += (unsigned)rc;
		if (answer->out.len > 0)
			break;
	}
	return (int64_t)used;
}

static int64_t txns_give(struct blazei_session *session, void *buf, size_t cap)
{
	const struct blazei_replica *replica = session->options.replica;
	struct blazei_answerer *answer = &session->answer;
	struct blazei_session_part *part = buf;
	int64_t n = txns_collect(session, part->bytes, (cap - sizeof(*part)) & ~(size_t)7);

	if (session->status.error)
		return blazei_session_give(session, 0, buf, cap);
	if (answer->out.len > 0)
		return part_give(session, buf, cap);
	if (n == -ESTALE) {
		overrun(answer);
		return MOVED_ON;
	}
	if (n < 0)
		return n;
	if (n > 0) {
		*part = (struct blazei_session_part){ .total = (uint64_t)n };
		return blazei_session_seal(session, buf, BLAZEI_KIND_TXNS,
		                           sizeof(*part) + (size_t)n);
	}
	/* Outside of a snapshot, what has come meanwhile goes along. */
	if (answer->phase == BLAZEI_GIVE_HISTORY && answer->target != replica->history.head &&
	    answer->rounds < ROUNDS_MAX) {
		answer->rounds++;
		return target_note(session);
	}
	answer->phase = BLAZEI_GIVE_END;
	return MOVED_ON;
}

/* Passes --------------------------------------------------------------------------------------*/

/* Encodes the next chunk as the body: its bytes, 0 at the end, -ENOMEM. */
static int64_t chunk_encode(struct blazei_session *session)
{
	struct blazei_answerer *answer = &session->answer;
	int64_t n;

	answer->out.len = 0;
	if (blazei_buffer_reserve(&answer->out, BLAZEI_STATE_BYTES_MAX) < 0)
		return -ENOMEM;
	n = blazei_state_encode(session->options.replica, answer->base, &answer->rows,
	                        answer->out.data, CHUNK_ENOUGH);
	answer->out.len = (size_t)n;
	answer->out_done = 0;
	answer->out_kind = BLAZEI_KIND_CHUNK;
	session->status.chunks += n > 0;
	return n;
}

/* Encodes all chunks of the pass now. 0 or -ENOMEM: none of them. */
static int freeze(struct blazei_session *session)
{
	struct blazei_answerer *answer = &session->answer;
	struct blazei_blob *blob = NULL;
	int64_t n;

	while ((n = chunk_encode(session)) > 0) {
		blob = malloc(sizeof(*blob) + (size_t)n);
		if (!blob)
			break;
		blob->len = (uint64_t)n;
		memcpy(blob->words, answer->out.data, (size_t)n);
		blazei_blobs_push(&answer->frozen, blob);
	}
	answer->out.len = 0;
	if (n == 0)
		return 0;
	while ((blob = blazei_blobs_pop(&answer->frozen)))
		free(blob);
	return -ENOMEM;
}

/* What the asker has before the first pass. */
static void base_start(struct blazei_answerer *answer)
{
	for (unsigned i = 0; i < answer->known_count; i++) {
		bool nothing = answer->whole && answer->known[i] != UINT64_MAX;

		answer->base[i] = nothing ? 0 : answer->known[i];
	}
}

/* Begins a pass, or goes on with the one that an earlier session began. */
static int64_t begin_give(struct blazei_session *session, void *buf, size_t cap)
{
	const struct blazei_replica *replica = session->options.replica;
	struct blazei_answerer *answer = &session->answer;
	struct blazei_session_snapshot *snapshot = buf;
	size_t bytes;

	if (target_note(session) < 0)
		return -ENOMEM;
	bytes = answer->resumed ? 0 : answer->noted_count * sizeof(*answer->noted);
	if (sizeof(*snapshot) + bytes > cap)
		return -EMSGSIZE;
	if (answer->passes == 0) {
		base_start(answer);
		answer->shape = replica->table.shape;
	}
	if (!answer->resumed)
		answer->place = (struct blazei_session_resume){
			.run = run_number(session),
			.position = answer->target,
		};
	answer->rows = (struct blazei_state_cursor){ .next = answer->place.cursor };
	if (session->status.passes + 1 >= PASSES_MAX) {
		if (freeze(session) < 0)
			return -ENOMEM;
		/* It is one moment's: there is no going on with it at another. */
		answer->place.run = 0;
	}
	for (unsigned i = 0; i < answer->noted_count; i++)
		answer->began[i] = answer->noted[i].seq;
	*snapshot = (struct blazei_session_snapshot){
		.header.flags = (answer->passes > 0 ? BLAZEI_SNAPSHOT_AGAIN : 0) |
		                (answer->resumed ? BLAZEI_SNAPSHOT_RESUMED : 0) |
		                (answer->whole ? BLAZEI_SNAPSHOT_WHOLE : 0) |
		                (answer->below ? BLAZEI_SNAPSHOT_BELOW : 0),
		.resume = answer->place,
		.entry_count = answer->resumed ? 0 : answer->noted_count,
	};
	memcpy(snapshot->entries, answer->noted, bytes);
	answer->passes++;
	session->status.passes++;
	session->status.resumed = session->status.resumed || answer->resumed;
	answer->phase = BLAZEI_GIVE_ROWS;
	return blazei_session_seal(session, buf, BLAZEI_KIND_SNAPSHOT, sizeof(*snapshot) + bytes);
}

/* The rows have been sent: from here on, transactions. */
static int64_t rows_end(struct blazei_session *session)
{
	struct blazei_answerer *answer = &session->answer;
	bool frozen = session->status.passes >= PASSES_MAX;
	int rc = frozen ? 0 : target_note(session);

	if (rc < 0)
		return rc;
	answer->position = frozen ? answer->target : answer->place.position;
	answer->phase = BLAZEI_GIVE_TAIL;
	return MOVED_ON;
}

static int64_t rows_give(struct blazei_session *session, void *buf, size_t cap)
{
	struct blazei_answerer *answer = &session->answer;
	struct blazei_blob *blob;
	int64_t n = 0;

	if (session->status.passes >= PASSES_MAX) {
		blob = answer->frozen.first;
		if (blob && body_set(session, BLAZEI_KIND_CHUNK, blob->words, blob->len) < 0)
			return -ENOMEM;
		n = blob ? (int64_t)blob->len : 0;
		free(blazei_blobs_pop(&answer->frozen));
	} else if (answer->shape != session->options.replica->table.shape) {
		answer->passes = 0;
		answer->resumed = false;
		answer->phase = BLAZEI_GIVE_BEGIN;
		return MOVED_ON;
	} else {
		n = chunk_encode(session);
	}
	if (n < 0)
		return n;
	return n > 0 ? part_give(session, buf, cap) : rows_end(session);
}

static int64_t live_give(struct blazei_session *session, void *buf, size_t cap)
{
	struct blazei_answerer *answer = &session->answer;
	struct blazei_session_live *live = buf;
	size_t bytes = answer->noted_count * sizeof(*live->entries);

	if (sizeof(*live) + bytes > cap)
		return -EMSGSIZE;
	*live = (struct blazei_session_live){ .entry_count = answer->noted_count };
	memcpy(live->entries, answer->noted, bytes);
	answer->phase = BLAZEI_GIVE_NOTHING;
	session->status.state = BLAZEI_SESSION_LIVE;
	return blazei_session_seal(session, buf, BLAZEI_KIND_LIVE, sizeof(*live) + bytes);
}

static int64_t phase_give(struct blazei_session *session, void *buf, size_t cap)
{
	switch (session->answer.phase) {
	case BLAZEI_GIVE_HISTORY:
	case BLAZEI_GIVE_TAIL:
		return txns_give(session, buf, cap);
	case BLAZEI_GIVE_BEGIN:
		return begin_give(session, buf, cap);
	case BLAZEI_GIVE_ROWS:
		return rows_give(session, buf, cap);
	case BLAZEI_GIVE_END:
		return live_give(session, buf, cap);
	default:
		return 0;
	}
}

int64_t blazei_answerer_give(struct blazei_session *session, void *buf, size_t cap)
{
	int64_t n;

	if (session->answer.out.len > 0)
		return part_give(session, buf, cap);
	/* Each phase that moves on leads to one that gives a message or ends, so this is short. */
	do {
		int rc = arrays_fit(session);

		if (rc < 0)
			return rc;
		n = phase_give(session, buf, cap);
	} while (n == MOVED_ON);
	return n;
}
