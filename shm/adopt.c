/* SPDX-License-Identifier: Apache-2.0 */
/* Adopting: how a reader comes to the lanes of others, and leaves those that are over.
 *
 * WHY    Which lanes there are changes when someone comes or goes, and is looked at only then (the
 *        epoch); reading them is another matter (poll.c).
 *
 * INVARIANTS
 * I1  cursors[slot] in our segment names the newest lane that we have adopted in that slot.
 * I2  A lane that was there before we became a reader is read from its tail, a later one from its
 *     start: so what is published after our first poll reaches us, or a lap is reported.
 *
 * CONCURRENCY  The reading side's thread alone.
 *
 * FAILURE  A scan that fails adopts nothing more; the next poll looks again. */
#include "shm/ring.h"

#include <stdlib.h>

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

void blazei_reader_drop_drained(struct blazei_reader *reader)
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
		blazei_reader_drop_drained(&ring->reader);
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
