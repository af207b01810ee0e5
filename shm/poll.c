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
 * I3  cursors[slot] in our segment names the newest lane that we have adopted in that slot, and
 *     its position never runs ahead of what was copied out.
 *
 * CONCURRENCY  One thread. Wait-free in the number of records: a poll reads each lane up to the
 *        tail that it saw first.
 *
 * FAILURE  Our death leaves a cursor that stands still: one stall budget for each publisher. */
#include "shm/ring.h"

#include <stdlib.h>

#define REAP_POLLS 65536u /* empty polls between looks at the clock, to bury the dead */

struct poll_state {
	blaze_ring_handler handler;
	void *arg;
	unsigned limit; /* 0: none */
	unsigned taken;
	bool lapped;
	bool bad;
};

/* Lanes: joining, adopting, leaving ------------------------------------------------------- */

static void cursor_name(struct blazei_cursor *cursor, const struct blazei_peer_entry *peer)
{
	/* Release, in this order: pairs with the acquire of generation in publish.c: whoever sees
	 * the lane named sees a position of that lane. */
	atomic_store_explicit(&cursor->generation, 0, memory_order_release);
	atomic_store_explicit(&cursor->position, peer->position, memory_order_release);
	atomic_store_explicit(&cursor->birth, peer->header.birth, memory_order_release);
	atomic_store_explicit(&cursor->generation, peer->header.generation, memory_order_release);
}

/* The chunk must hold the largest record of any lane. Only address space: untouched pages cost
 * nothing. */
static int reserve_chunk(struct blazei_reader *reader, uint64_t lane_bytes)
{
	const uint64_t need = blazei_publication_max(lane_bytes);
	uint8_t *grown;

	if (need <= reader->chunk_bytes)
		return 0;
	grown = aligned_alloc(BLAZEI_PAGE, need);
	if (!grown)
		return -ENOMEM;
	free(reader->chunk);
	reader->chunk = grown;
	reader->chunk_bytes = need;
	return 0;
}

static int adopt(struct blaze_ring *ring, struct blazei_peer_entry *peer, bool at_tail)
{
	struct blazei_reader *reader = &ring->reader;
	struct blazei_cursor *cursor = &ring->own.head->cursors[peer->header.slot];
	int rc = reserve_chunk(reader, peer->header.lane_bytes);

	if (rc < 0)
		return rc;
	/* Acquire: pairs with writer_publish, as in poll_lane. */
	peer->position =
	        at_tail ? atomic_load_explicit(&peer->map.head->flow.tail, memory_order_acquire)
	                : 0;
	peer->adopted = true;
	/* Relaxed: only we write our cursors. */
	if (peer->header.birth >= atomic_load_explicit(&cursor->birth, memory_order_relaxed)) {
		for (unsigned i = 0; i < reader->roster.count; i++)
			if (reader->roster.peers[i]->cursor == cursor)
				reader->roster.peers[i]->cursor = NULL;
		peer->cursor = cursor;
		cursor_name(cursor, peer);
	}
	return 0;
}

/* Whether a lane was taken away before we came to it. */
static void notice_removed(struct blaze_ring *ring)
{
	struct blazei_reader *reader = &ring->reader;
	/* Acquire: pairs with the release in reap.c: removed_birth is set before. */
	const uint32_t removed =
	        atomic_load_explicit(&ring->control->removed, memory_order_acquire);

	if (removed == reader->removed)
		return;
	reader->removed = removed;
	for (unsigned slot = 0; slot < BLAZEI_SLOTS_MAX; slot++) {
		/* Relaxed: the acquire above orders them; cursors are our own. */
		const uint64_t theirs = atomic_load_explicit(&ring->control->removed_birth[slot],
		                                             memory_order_relaxed);
		const uint64_t ours = atomic_load_explicit(&ring->own.head->cursors[slot].birth,
		                                           memory_order_relaxed);

		if (theirs > ours && theirs > ring->own.head->header.birth)
			reader->unknown_lap = true;
	}
}

static int reader_scan(struct blaze_ring *ring, bool at_tail)
{
	struct blazei_reader *reader = &ring->reader;
	unsigned bad = 0, missed = 0;
	int rc;

	if (!at_tail)
		notice_removed(ring);
	rc = blazei_roster_scan(ring, &reader->roster, &bad, &missed);
	if (rc < 0)
		return rc;
	if (missed > 0 && !at_tail)
		reader->unknown_lap = true;
	if (bad > reader->bad_seen)
		reader->bad_news = true;
	reader->bad_seen = bad;
	for (unsigned i = 0; i < reader->roster.count; i++) {
		struct blazei_peer_entry *peer = reader->roster.peers[i];

		if (!peer->adopted && (rc = adopt(ring, peer, at_tail)) < 0)
			return rc;
	}
	return 0;
}

int blazei_reader_start(struct blaze_ring *ring)
{
	struct blazei_reader *reader = &ring->reader;
	int rc;

	if (blazei_likely(reader->started))
		return 0;
	reader->roster.with_lanes = true;
	/* Relaxed: only a later change matters. */
	reader->removed = atomic_load_explicit(&ring->control->removed, memory_order_relaxed);
	/* Sequentially consistent: a lossless publisher that does not see this flag has published
	 * before the tails that we read below. Pairs with the acquire in publish.c. */
	atomic_store_explicit(&ring->own.head->reader.reading, 1, memory_order_seq_cst);
	BLAZEI_TESTPOINT("ring_reader_flagged");
	rc = reader_scan(ring, true);
	if (rc < 0) {
		/* Release: as above; we are no reader after all. */
		atomic_store_explicit(&ring->own.head->reader.reading, 0, memory_order_release);
		blazei_roster_clear(&reader->roster);
		return rc;
	}
	reader->started = true;
	return 0;
}

/* Unmaps lanes whose owners and names are gone and that are read to the end. */
static void drop_drained(struct blazei_reader *reader)
{
	for (unsigned i = reader->roster.count; i-- > 0;) {
		struct blazei_peer_entry *peer = reader->roster.peers[i];

		/* Relaxed: a dead owner's tail does not move. */
		if (peer->gone && atomic_load_explicit(&peer->map.head->flow.tail,
		                                       memory_order_relaxed) == peer->position)
			blazei_roster_remove(&reader->roster, i);
	}
}

int blazei_reader_refresh(struct blaze_ring *ring)
{
	int rc;

	/* Acquire: pairs with the release additions after linkat and unlinkat. */
	if (blazei_likely(atomic_load_explicit(&ring->control->epoch, memory_order_acquire) ==
	                  ring->reader.roster.epoch))
		return 0;
	rc = reader_scan(ring, false);
	/* A reader that sleeps on must not keep the memory of those who left. */
	if (rc == 0)
		drop_drained(&ring->reader);
	return rc;
}

bool blazei_reader_ready(const struct blaze_ring *ring)
{
	const struct blazei_reader *reader = &ring->reader;

	/* Relaxed: poll and refresh look again with acquire. */
	if (atomic_load_explicit(&ring->control->epoch, memory_order_relaxed) !=
	            reader->roster.epoch ||
	    reader->unknown_lap || reader->bad_news)
		return true;
	for (unsigned i = 0; i < reader->roster.count; i++) {
		const struct blazei_peer_entry *peer = reader->roster.peers[i];

		if (atomic_load_explicit(&peer->map.head->flow.tail, memory_order_relaxed) !=
		    peer->position)
			return true;
	}
	return false;
}

/* Reading one lane -------------------------------------------------------------------------- */

static void advance(struct blazei_peer_entry *peer, uint64_t position)
{
	peer->position = position;
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

/* Splits the chunk into records. Returns their number and the bytes that they take in *ret_taken;
 * 0 with *ret_taken 0: the first record is longer than len, its span in *ret_need, or UINT64_MAX:
 * the lane is invalid. */
static inline unsigned parse(struct blazei_reader *reader, const struct blazei_peer_entry *peer,
                             uint64_t len, unsigned max, uint64_t *ret_taken)
{
	const uint64_t span_max = blazei_publication_max(peer->header.lane_bytes);
	struct blaze_ring_record *batch = reader->batch;
	uint64_t offset = 0, bytes = 0;
	unsigned count = 0;

	*ret_taken = 0;
	if (reader->batch_generation != peer->header.generation) {
		reader->batch_generation = peer->header.generation;
		reader->batch_filled = 0;
	}
	while (count < max && offset + BLAZEI_RECORD_HEADER <= len) {
		struct blazei_record_header header;
		uint64_t span;

		memcpy(&header, reader->chunk + offset, sizeof(header));
		span = blazei_record_span(header.len);
		if (blazei_unlikely(header.tag != blazei_record_tag(peer->position + offset,
		                                                    peer->header.generation) ||
		                    span > span_max)) {
			*ret_taken = UINT64_MAX;
			break;
		}
		if (offset + span > len) {
			*ret_taken = span;
			break;
		}
		batch[count].data = reader->chunk + offset + BLAZEI_RECORD_HEADER;
		batch[count].len = header.len;
		batch[count].position = peer->position + offset;
		if (blazei_unlikely(count >= reader->batch_filled)) {
			memcpy(batch[count].publisher.bytes, peer->header.publisher,
			       sizeof(batch[count].publisher.bytes));
			reader->batch_filled = count + 1;
		}
		bytes += header.len;
		count++;
		offset += span;
	}
	if (count > 0)
		*ret_taken = offset;
	reader->batch_bytes = bytes;
	return count;
}

/* Reads one batch below tail. Returns records handed over, 0: none left or given up, negative:
 * the handler's. */
static inline int poll_batch(struct blaze_ring *ring, struct blazei_peer_entry *peer, uint64_t tail,
                             struct poll_state *state)
{
	struct blazei_reader *reader = &ring->reader;
	const uint64_t available = tail - peer->position;
	uint64_t len = available < BLAZEI_CHUNK_BYTES ? available : BLAZEI_CHUNK_BYTES;
	unsigned max = BLAZEI_BATCH_MAX, count;
	uint64_t taken;
	int rc;

	if (state->limit > 0 && state->limit - state->taken < max)
		max = state->limit - state->taken;
	if (blazei_unlikely(!chunk_read(reader, peer, len)))
		return report_lap(ring, peer, tail, state);
	BLAZEI_TESTPOINT("ring_poll_copied");
	count = parse(reader, peer, len, max, &taken);
	if (blazei_unlikely(count == 0)) {
		/* A record longer than the chunk: once more with all of it, or the lane is bad. */
		if (taken <= len || taken > available) {
			skip_bad(ring, peer, tail, state);
			return 0;
		}
		len = taken;
		if (!chunk_read(reader, peer, len))
			return report_lap(ring, peer, tail, state);
		count = parse(reader, peer, len, 1, &taken);
		if (count == 0) {
			skip_bad(ring, peer, tail, state);
			return 0;
		}
	}
	rc = state->handler(state->arg, reader->batch, count);
	if (blazei_unlikely(rc < 0))
		return rc;
	BLAZEI_TESTPOINT("ring_poll_handed_over");
	advance(peer, peer->position + taken);
	state->taken += count;
	blazei_count(&reader->records, count);
	blazei_count(&reader->bytes, reader->batch_bytes);
	return (int)count;
}

static int poll_lane(struct blaze_ring *ring, struct blazei_peer_entry *peer,
                     struct poll_state *state)
{
	/* Acquire: pairs with the release store in writer_publish: records below tail are whole. */
	const uint64_t tail =
	        atomic_load_explicit(&peer->map.head->flow.tail, memory_order_acquire);
	int rc;

	if (blazei_likely(tail == peer->position))
		return 0;
	if (blazei_unlikely(!peer->map.lane || tail < peer->position || (tail & 7))) {
		skip_bad(ring, peer, tail & ~UINT64_C(7), state);
		return 0;
	}
	if (blazei_unlikely(tail - peer->position > peer->header.lane_bytes))
		return report_lap(ring, peer, tail, state);
	do {
		rc = poll_batch(ring, peer, tail, state);
		if (rc <= 0)
			return rc;
	} while (peer->position < tail && (state->limit == 0 || state->taken < state->limit));
	return 0;
}

/* The whole ----------------------------------------------------------------------------------- */

/* With nothing to read. */
static void idle_work(struct blaze_ring *ring)
{
	if (blazei_unlikely(ring->reader.roster.gone > 0))
		drop_drained(&ring->reader);
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

static int poll_result(struct blaze_ring *ring, const struct poll_state *state)
{
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
