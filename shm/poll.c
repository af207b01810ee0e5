/* SPDX-License-Identifier: Apache-2.0 */
/* Polling: copy out, then validate, then hand over.
 *
 * WHY    The publisher never waits for our eyes, only (within its budget) for our cursor, so what
 * we look at may be overwritten while we look. So we copy a chunk, and only then ask whether it was
 * whole; the caller sees nothing but the copy. That also makes a hostile publisher harmless:
 * headers are parsed in memory that nobody else can change.
 *
 * INVARIANTS
 * I1  A chunk copied from position p is whole iff, after the copy, intent - p <= lane_bytes
 *     (publish.c I2).
 * I2  position only moves over records that were handed over and taken, or over a reported loss.
 * I3  The position in our cursor never runs ahead of what was copied out; it may lag within a
 *     poll.
 *
 * CONCURRENCY  One thread. Wait-free in the number of records: a poll reads each lane up to the
 *        tail that it saw first.
 *
 * FAILURE  Our death leaves a cursor that stands still: one stall budget for each publisher. */
#include "shm/ring.h"

#include <stdlib.h>

#define REAP_POLLS  65536u /* empty polls between looks at the clock, to bury the dead */
#define AHEAD_BYTES 832u   /* fetched before a batch is split, the rest after */
#define FEW_BYTES   512u   /* copied for each record where the caller limits their number */

#define LULL_BATCH   64u    /* records at a look that are a batch, not a trickle */
#define LULL_RECORD  1000u  /* ticks: records that come more slowly don't wait */
#define LULL_BYTES   128u   /* a longer record counts as several */
#define LULL_MIN     250u   /* ticks between looks */
#define LULL_MAX     24000u /* some ten microseconds */
#define TRICKLE_STEP 4u
#define TRICKLE_MAX  64u

/* A publisher whose lane is full takes the line of our cursor with each of its looks, and our next
 * store waits for it to come back: so within a poll we show this many places a lap. */
#define CURSOR_SHOWS 64u

struct poll_state {
	blaze_ring_handler handler;
	void *arg;
	unsigned limit; /* 0: none */
	unsigned taken;
	uint64_t bytes;
	bool lapped;
	bool bad;
};

/* Reading one lane -------------------------------------------------------------------------- */

static void advance(struct blazei_peer_entry *peer, uint64_t position)
{
	peer->position = position;
	peer->shown = position;
	/* Release: pairs with the acquire in peer_pressure: our copies come before its stores. */
	if (peer->cursor)
		atomic_store_explicit(&peer->cursor->position, position, memory_order_release);
}

/* Copies len bytes that their owner may change at any time. To the compiler the other process's
 * stores do not exist, so a plain memcpy reads each byte at least once, in some order, and no one
 * looks at the copy before the fence: a byte that was torn or stale is found out by intent. (Word
 * by word through relaxed atomics costs 0.7 ns more for each 64-byte record.) */
static inline void lane_copy(void *to, const void *from, uint64_t len)
{
	memcpy(to, from, len);
	/* Acquire fence: pairs with the release fence in writer_claim. */
	atomic_thread_fence(memory_order_acquire);
}

/* Copies [position, position + len); false: it was overwritten meanwhile (I1). */
static inline bool chunk_read(struct blazei_reader *reader, const struct blazei_peer_entry *peer,
                              uint64_t len)
{
	const uint64_t mask = peer->header.lane_bytes - 1;

	lane_copy(reader->chunk, peer->map.lane + (peer->position & mask), len);
	/* Relaxed: ordered by the fence in lane_copy. */
	return atomic_load_explicit(&peer->map.head->flow.intent, memory_order_relaxed) -
	               peer->position <=
	       peer->header.lane_bytes;
}

/* Tells the handler of a loss of len bytes and moves to position. */
static int report_lap(struct blaze_ring *ring, struct blazei_peer_entry *peer, uint64_t position,
                      struct poll_state *state)
{
	struct blazei_reader *reader = &ring->reader;
	struct blaze_ring_record lap = { .data = NULL, .len = UINT64_MAX, .position = position };
	int rc;

	if (peer) {
		memcpy(lap.publisher.bytes, peer->header.publisher, sizeof(lap.publisher.bytes));
		lap.len = position - peer->position;
	}
	rc = state->handler(state->arg, &lap, 1);
	if (rc < 0)
		return rc;
	state->lapped = true;
	blazei_count(&reader->laps, 1);
	if (peer) {
		blazei_count(&reader->lap_bytes, lap.len);
		advance(peer, position);
	} else {
		reader->unknown_lap = false;
	}
	return 0;
}

/* Gives up what the lane holds: its owner is broken or hostile. */
static void skip_bad(struct blaze_ring *ring, struct blazei_peer_entry *peer, uint64_t tail,
                     struct poll_state *state)
{
	blazei_count(&ring->reader.bad_lanes, 1);
	state->bad = true;
	advance(peer, tail);
}

/* What is left of a chunk: private bytes, and the published bytes that follow it in the lane. */
struct chunk {
	const uint8_t *data;
	uint64_t len;
	const uint8_t *ahead;
	uint64_t ahead_len;
};

static inline void chunk_consume(struct chunk *chunk, uint64_t len)
{
	chunk->data += len;
	chunk->len -= len;
	chunk->ahead += len;
	chunk->ahead_len -= chunk->ahead_len < len ? chunk->ahead_len : len;
}

/* Copies the next len of the available bytes; false: they were overwritten meanwhile. */
static inline bool chunk_take(struct blazei_reader *reader, const struct blazei_peer_entry *peer,
                              uint64_t len, uint64_t available, struct chunk *ret_chunk)
{
	if (blazei_unlikely(!chunk_read(reader, peer, len)))
		return false;
	ret_chunk->data = reader->chunk;
	ret_chunk->len = len;
	ret_chunk->ahead =
	        peer->map.lane + ((peer->position + len) & (peer->header.lane_bytes - 1));
	ret_chunk->ahead_len = available - len;
	BLAZEI_TESTPOINT("ring_poll_copied");
	return true;
}

/* Asks for the lines of the next chunk that lie where [from, to) does in this one, as far as they
 * are published: lines come from the publisher's cache one by one, and a copy that has to wait for
 * each of them takes 1.6 times as long. A CPU has some 16 such requests under way and stops at the
 * next one, so half of a batch's are made before it is split and half before it is handed over, and
 * the batch is short: what comes then comes while somebody works. (All in one go, in batches of 64:
 * a tenth slower.) Nothing is read: whatever was there, copying and validating follow. */
static inline void chunk_prefetch(const struct chunk *chunk, uint64_t from, uint64_t to)
{
	if (to > chunk->ahead_len)
		to = chunk->ahead_len;
	for (uint64_t i = from; i < to; i += BLAZEI_CACHE_LINE)
		__builtin_prefetch(chunk->ahead + i);
}

/* Names the publisher in the first count entries, where that was not done for a batch before. */
static inline void publishers_fill(struct blazei_reader *reader,
                                   const struct blazei_peer_entry *peer, unsigned count)
{
	if (reader->batch_generation != peer->header.generation) {
		reader->batch_generation = peer->header.generation;
		reader->batch_filled = 0;
	}
	for (; reader->batch_filled < count; reader->batch_filled++)
		memcpy(reader->batch[reader->batch_filled].publisher.bytes, peer->header.publisher,
		       sizeof(peer->header.publisher));
}

/* Splits the chunk into at most max records. Returns their number and the bytes that they take in
 * *ret_taken; 0 with *ret_taken 0: less than a header is left; with a span: the first record is
 * longer than what is left; UINT64_MAX: the lane is invalid. */
static inline unsigned parse(struct blazei_reader *reader, const struct blazei_peer_entry *peer,
                             const struct chunk *chunk, unsigned max, uint64_t *ret_taken)
{
	const uint64_t span_max = blazei_publication_max(peer->header.lane_bytes);
	const uint64_t position = peer->position, generation = peer->header.generation;
	const uint8_t *const data = chunk->data;
	const uint64_t len = chunk->len;
	struct blaze_ring_record *batch = reader->batch;
	uint64_t offset = 0, bytes = 0, span = 0, span_len = UINT64_MAX;
	unsigned count = 0;

	*ret_taken = 0;
	chunk_prefetch(chunk, 0, AHEAD_BYTES);
	while (count < max && offset + BLAZEI_RECORD_HEADER <= len) {
		struct blazei_record_header header;

		memcpy(&header, data + offset, sizeof(header));
		/* Records in a row are mostly of one length: a branch, which is predicted, takes
		 * the place of a chain of loads, each of which would wait for the one before. The
		 * empty statement keeps the compiler from making it a chain again. */
		if (blazei_unlikely(header.len != span_len)) {
			span_len = header.len;
			span = blazei_record_span(header.len);
			__asm__ __volatile__("" : "+r"(span));
			if (blazei_unlikely(span > span_max)) {
				*ret_taken = UINT64_MAX;
				break;
			}
		}
		if (blazei_unlikely(header.tag !=
		                    blazei_record_tag(position + offset, generation))) {
			*ret_taken = UINT64_MAX;
			break;
		}
		if (blazei_unlikely(offset + span > len)) {
			*ret_taken = span;
			break;
		}
		batch[count].data = data + offset + BLAZEI_RECORD_HEADER;
		batch[count].len = span_len;
		batch[count].position = position + offset;
		bytes += span_len;
		count++;
		offset += span;
	}
	if (count > 0)
		*ret_taken = offset;
	chunk_prefetch(chunk, AHEAD_BYTES, offset);
	publishers_fill(reader, peer, count);
	reader->batch_bytes = bytes;
	return count;
}

/* How much to copy: a chunk; less where the caller wants few records. */
static inline uint64_t chunk_len(const struct poll_state *state, uint64_t available)
{
	uint64_t len = available < BLAZEI_CHUNK_BYTES ? available : BLAZEI_CHUNK_BYTES;

	if (blazei_unlikely(state->limit > 0) &&
	    len > (uint64_t)(state->limit - state->taken) * FEW_BYTES)
		len = (uint64_t)(state->limit - state->taken) * FEW_BYTES;
	return len;
}

/* Hands over what a chunk holds, batch by batch, until nothing whole is left or the caller has
 * enough. 0, with what parse said last in *ret_need; or the handler's negative result. */
static inline int chunk_hand_over(struct blaze_ring *ring, struct blazei_peer_entry *peer,
                                  struct chunk *chunk, struct poll_state *state, uint64_t *ret_need)
{
	struct blazei_reader *reader = &ring->reader;
	uint64_t taken;

	for (;;) {
		unsigned max = reader->batch_max, count;
		int rc;

		if (state->limit > 0 && state->limit - state->taken < max)
			max = state->limit - state->taken;
		count = parse(reader, peer, chunk, max, &taken);
		*ret_need = taken;
		if (count == 0)
			return 0;
		rc = state->handler(state->arg, reader->batch, count);
		if (blazei_unlikely(rc < 0))
			return rc;
		BLAZEI_TESTPOINT("ring_poll_handed_over");
		peer->position += taken;
		if (peer->position - peer->shown >= peer->header.lane_bytes / CURSOR_SHOWS)
			advance(peer, peer->position);
		state->taken += count;
		state->bytes += reader->batch_bytes;
		blazei_count(&reader->records, count);
		blazei_count(&reader->bytes, reader->batch_bytes);
		chunk_consume(chunk, taken);
	}
}

/* Reads one chunk below tail. 1: there may be more; 0: none left or given up; negative: the
 * handler's. */
static inline int poll_chunk(struct blaze_ring *ring, struct blazei_peer_entry *peer, uint64_t tail,
                             struct poll_state *state)
{
	const uint64_t start = peer->position, available = tail - start;
	uint64_t len = chunk_len(state, available), need;
	struct chunk chunk;
	int rc;

	if (blazei_unlikely(!chunk_take(&ring->reader, peer, len, available, &chunk)))
		return report_lap(ring, peer, tail, state);
	rc = chunk_hand_over(ring, peer, &chunk, state, &need);
	if (blazei_unlikely(rc < 0))
		return rc;
	if (blazei_unlikely(peer->position == start && need > len && need <= available)) {
		/* The first record is longer than the chunk: once more with all of it. */
		len = need;
		if (!chunk_take(&ring->reader, peer, len, len, &chunk))
			return report_lap(ring, peer, tail, state);
		rc = chunk_hand_over(ring, peer, &chunk, state, &need);
		if (rc < 0)
			return rc;
	}
	if (blazei_unlikely(peer->position == start || need == UINT64_MAX)) {
		skip_bad(ring, peer, tail, state);
		return 0;
	}
	return 1;
}

/* Asks for the record that comes next together with tail, which says whether it is there: their two
 * lines then come at once and not one after the other. */
static inline void next_prefetch(const struct blazei_peer_entry *peer)
{
	const uint8_t *next;

	if (blazei_unlikely(!peer->map.lane))
		return;
	next = peer->map.lane + (peer->position & (peer->header.lane_bytes - 1));
	__builtin_prefetch(next);
	__builtin_prefetch(next + BLAZEI_CACHE_LINE);
}

static int poll_lane(struct blaze_ring *ring, struct blazei_peer_entry *peer,
                     struct poll_state *state)
{
	uint64_t tail;
	int rc;

	next_prefetch(peer);
	/* Acquire: pairs with the release store in writer_publish: records below tail are whole. */
	tail = atomic_load_explicit(&peer->map.head->flow.tail, memory_order_acquire);
	if (blazei_likely(tail == peer->position))
		return 0;
	if (blazei_unlikely(!peer->map.lane || tail < peer->position || (tail & 7))) {
		skip_bad(ring, peer, tail & ~UINT64_C(7), state);
		return 0;
	}
	if (blazei_unlikely(tail - peer->position > peer->header.lane_bytes))
		return report_lap(ring, peer, tail, state);
	do {
		rc = poll_chunk(ring, peer, tail, state);
	} while (rc > 0 && peer->position < tail &&
	         (state->limit == 0 || state->taken < state->limit));
	if (peer->shown != peer->position)
		advance(peer, peer->position);
	return rc < 0 ? rc : 0;
}

/* The whole ----------------------------------------------------------------------------------- */

/* With nothing to read. */
static void idle_work(struct blaze_ring *ring)
{
	if (blazei_unlikely(ring->reader.roster.gone > 0))
		blazei_reader_drop_drained(&ring->reader);
	if (blazei_unlikely(++ring->reader.empty_polls % REAP_POLLS == 0))
		blazei_reap_sometimes(ring);
}

static int poll_lanes(struct blaze_ring *ring, struct poll_state *state)
{
	struct blazei_reader *reader = &ring->reader;
	const unsigned count = reader->roster.count;
	unsigned index = reader->next < count ? reader->next : 0;
	int rc = 0;

	for (unsigned i = 0; i < count; i++) {
		rc = poll_lane(ring, reader->roster.peers[index], state);
		index = index + 1 == count ? 0 : index + 1;
		if (rc < 0 || (state->limit > 0 && state->taken >= state->limit))
			break;
	}
	/* The next poll starts after the lane that used up this one. */
	reader->next = index;
	return rc;
}

/* A reader that keeps up takes the line of tail away from the publisher with every look, and each
 * publication then waits for that line to come back: up to 350 ns a look. So while records trickle
 * in, faster than one in LULL_RECORD and yet no batch of them at a look, looks become rarer, until
 * they find batches or are LULL_MAX apart. (A publisher that pauses 10 ns, and a reader that only
 * counts: 15 M records/s without this, 67 with it; single updates of a database: 3.4 and 5.) What
 * comes more slowly than that is looked for all the time, and what comes after a few empty looks
 * is not delayed. A long record takes its publisher as long as several short ones. */
static inline void lull_learn(struct blazei_reader *reader, const struct poll_state *state)
{
	const uint64_t by_bytes = state->bytes / LULL_BYTES;
	const uint64_t worth = by_bytes > state->taken ? by_bytes : state->taken;

	if (state->limit > 0 && state->taken >= state->limit) {
		reader->lull = 0; /* the caller's limit made it few */
	} else if (state->taken == 0) {
		if (reader->trickle > 0)
			reader->trickle--;
		else
			reader->lull = 0;
	} else if (worth < LULL_BATCH) {
		if (reader->trickle < TRICKLE_MAX)
			reader->trickle += TRICKLE_STEP;
		else if (worth * LULL_RECORD < reader->lull)
			reader->lull /= 2;
		else if (reader->lull < LULL_MAX)
			reader->lull += LULL_MIN + reader->lull;
	}
}

/* Waits until the next look is due. Who did something else since the last one hardly waits. */
static inline void lull_keep(struct blazei_reader *reader)
{
	if (blazei_likely(reader->lull == 0))
		return;
	while (blazei_cpu_ticks() - reader->look < reader->lull)
		blazei_cpu_relax();
	reader->look = blazei_cpu_ticks();
}

static int poll_result(struct blaze_ring *ring, const struct poll_state *state)
{
	lull_learn(&ring->reader, state);
	if (blazei_unlikely(state->bad))
		return -EBADMSG;
	if (blazei_unlikely(state->lapped))
		return -ESTALE;
	if (state->taken > 0)
		return state->taken > INT32_MAX ? INT32_MAX : (int)state->taken;
	idle_work(ring);
	/* Acquire: pairs with mark_unlinked; a last look makes sure that nothing is left. */
	if (blazei_unlikely(atomic_load_explicit(&ring->control->unlinked, memory_order_acquire)) &&
	    !blazei_reader_ready(ring))
		return -EIDRM;
	return 0;
}

int blaze_ring_poll(struct blaze_ring *ring, blaze_ring_handler handler, void *arg, unsigned limit)
{
	struct poll_state state = { .handler = handler, .arg = arg, .limit = limit };
	int rc = blazei_ring_check(ring);

	if (blazei_unlikely(rc < 0))
		return rc;
	if (blazei_unlikely(!handler))
		return -EINVAL;
	if (blazei_unlikely(!ring->reader.started) && (rc = blazei_reader_start(ring)) < 0)
		return rc;
	lull_keep(&ring->reader);
	rc = blazei_reader_refresh(ring);
	if (blazei_unlikely(rc < 0))
		return rc;
	if (blazei_unlikely(ring->reader.bad_news)) {
		ring->reader.bad_news = false;
		blazei_count(&ring->reader.bad_lanes, 1);
		state.bad = true;
	}
	if (blazei_unlikely(ring->reader.unknown_lap) &&
	    (rc = report_lap(ring, NULL, 0, &state)) < 0)
		return rc;
	rc = poll_lanes(ring, &state);
	if (blazei_unlikely(rc < 0))
		return rc;
	return poll_result(ring, &state);
}
