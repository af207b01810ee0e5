/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing: records into one's own lane, and waiting for those who have not read it yet.
 *
 * WHY    One writer per lane: no claim to take, none that a dead process leaves open. The lane is
 *        a window over an endless sequence of bytes; positions never wrap, so "how far behind" is
 *        a subtraction.
 *
 * INVARIANTS
 * I1  tail <= intent; both only grow; bytes in [tail - lane_bytes, tail) are whole records unless
 *     intent says that they are being written over.
 * I2  Before a byte at position p is written, intent > p is visible to whoever could see that
 *     byte (release fence between the two; the reader's acquire fence is its partner).
 * I3  Up to `limit` no reader that exerts pressure has unread bytes that would be overwritten.
 *     A reader that comes later starts at tail or beyond, so limit never goes stale downwards.
 *
 * CONCURRENCY  One thread at a time; wait-free while there is room below limit. Otherwise at most
 *        stall_budget_ns, or in a lossless ring as long as the slowest reader lives. A nonblocking
 *        publisher never waits; where its lane is full it probes that reader, every 10 ms at most.
 *
 * FAILURE  Dying before the store of tail publishes nothing; intent may then claim up to one
 *        publication that was never made, which costs slow readers at worst a lap. */
#include "shm/ring.h"

#include <sched.h>

#define PROBE_INTERVAL_NS (10 * BLAZEI_NS_PER_MS)
#define STALL_SPINS       64u
#define CLAIM_AHEAD       8192u /* bytes; 1024 gains half as much */
#define SHORT_MAX         128u

/* The position below which this peer still reads, or UINT64_MAX where it exerts no pressure. */
static uint64_t peer_pressure(const struct blazei_writer *writer,
                              const struct blazei_peer_entry *peer, uint32_t slot, bool keeps)
{
	struct blazei_cursor *cursor = &peer->map.head->cursors[slot];
	uint64_t position;

	/* Acquire: pairs with blazei_reader_start's release: who reads has its cursors in place or
	 * counts as at the start. */
	if (!atomic_load_explicit(&peer->map.head->reader.reading, memory_order_acquire))
		return UINT64_MAX;
	/* Acquire: pairs with the release store that names a lane after its position is set. */
	if (atomic_load_explicit(&cursor->generation, memory_order_acquire) != writer->generation)
		return keeps ? 0 : UINT64_MAX;
	/* Acquire: what the reader copied out before this position is copied before we write. */
	position = atomic_load_explicit(&cursor->position, memory_order_acquire);
	/* More than a lap behind, or nonsense: it has lost those bytes already. Where nothing
	 * is overwritten a position ahead of tail is nonsense and nothing else can be. */
	if (position > writer->tail || writer->intent - position > writer->lane_bytes)
		return UINT64_MAX;
	return position;
}

/* Sets limit from the cursors; *ret_slowest is the peer that holds it back, or NULL. */
static void writer_look(struct blaze_ring *ring, struct blazei_peer_entry **ret_slowest)
{
	struct blazei_writer *writer = &ring->writer;
	/* Lossless or nonblocking: what a live reader has still to read is never overwritten. */
	const bool keeps =
	        ring->stall_budget_ns == BLAZE_FOREVER || (ring->flags & BLAZE_RING_NONBLOCK) != 0;
	uint64_t slowest = writer->tail;
	unsigned bad, missed;

	*ret_slowest = NULL;
	/* Acquire: pairs with the release additions after linkat and unlinkat. */
	if (!writer->roster.scanned ||
	    atomic_load_explicit(&ring->control->epoch, memory_order_acquire) !=
	            writer->roster.epoch) {
		/* A failed scan (no descriptors, say) leaves the roster as it was. Only who
		 * promised to lose nothing must not go on without knowing everybody. */
		if (blazei_roster_scan(ring, &writer->roster, &bad, &missed) < 0 && keeps)
			return;
		for (unsigned i = writer->roster.count; i-- > 0;)
			if (writer->roster.peers[i]->gone)
				blazei_roster_remove(&writer->roster, i);
	}
	for (unsigned i = 0; i < writer->roster.count; i++) {
		struct blazei_peer_entry *peer = writer->roster.peers[i];
		uint64_t position;

		if (peer->ignored)
			continue;
		position = peer_pressure(writer, peer, ring->slot.index, keeps);
		if (position < slowest) {
			slowest = position;
			*ret_slowest = peer;
		}
	}
	writer->limit = slowest + writer->lane_bytes;
}

/* One step of waiting for a reader: soon busy, later asleep. */
static void stall_step(uint64_t waited_ns, unsigned round)
{
	if (waited_ns < 20000 || round < STALL_SPINS)
		blazei_cpu_relax();
	else if (waited_ns < BLAZEI_NS_PER_MS)
		sched_yield();
	else
		blazei_sleep_ns(50000);
}

static int writer_stall(struct blaze_ring *ring, uint64_t end)
{
	struct blazei_writer *writer = &ring->writer;
	const uint64_t budget = ring->stall_budget_ns;
	const uint64_t start = blazei_monotonic_ns();
	struct blazei_peer_entry *slowest;
	uint64_t now = start, probed = start;
	int rc = 0;

	blazei_count(&writer->stalls, 1);
	for (unsigned round = 0;; round++) {
		writer_look(ring, &slowest);
		if (end <= writer->limit)
			break;
		/* Acquire: pairs with mark_unlinked. Nobody new can come, so don't wait for ever.
		 */
		if (atomic_load_explicit(&ring->control->unlinked, memory_order_acquire)) {
			rc = -EIDRM;
			break;
		}
		now = blazei_monotonic_ns();
		if (budget != BLAZE_FOREVER && now - start >= budget) {
			/* The reader is overtaken; from now on it is more than a lap behind. */
			blazei_count(&writer->overwrites, 1);
			writer->limit = end;
			break;
		}
		if (budget == BLAZE_FOREVER && slowest && now - probed >= PROBE_INTERVAL_NS) {
			probed = now;
			slowest->ignored = !blazei_probe_live(&ring->probe, slowest->header.slot);
		}
		stall_step(now - start, round);
	}
	blazei_count(&writer->stall_ns, now - start);
	return rc;
}

/* Nonblocking, and the lane is full: passes over readers that have died, which nobody else would
 * ever make go on. */
static int writer_pass_dead(struct blaze_ring *ring, struct blazei_peer_entry *slowest,
                            uint64_t end)
{
	struct blazei_writer *writer = &ring->writer;
	const uint64_t now = blazei_monotonic_ns();

	if (now - writer->probed_ns < PROBE_INTERVAL_NS)
		return -EAGAIN;
	writer->probed_ns = now;
	for (unsigned i = 0; i < BLAZE_RING_PARTICIPANTS_MAX && slowest; i++) {
		slowest->ignored = !blazei_probe_live(&ring->probe, slowest->header.slot);
		if (!slowest->ignored)
			return -EAGAIN;
		writer_look(ring, &slowest);
		if (end <= writer->limit)
			return 0;
	}
	return -EAGAIN;
}

/* Makes room up to end. */
static __attribute__((noinline)) int writer_make_room(struct blaze_ring *ring, uint64_t end)
{
	struct blazei_writer *writer = &ring->writer;
	struct blazei_peer_entry *slowest;

	writer_look(ring, &slowest);
	if (end <= writer->limit)
		return 0;
	if (ring->flags & BLAZE_RING_NONBLOCK)
		return writer_pass_dead(ring, slowest, end);
	if (ring->stall_budget_ns == BLAZE_NO_STALL) {
		blazei_count(&writer->overwrites, 1);
		writer->limit = end;
		return 0;
	}
	return writer_stall(ring, end);
}

/* What every publication checks first. */
static inline int writer_check(struct blaze_ring *ring)
{
	const int rc = blazei_ring_check(ring);

	if (blazei_unlikely(rc < 0))
		return rc;
	if (blazei_unlikely(!ring->writer.lane))
		return -EROFS;
	/* Relaxed: a flag that is only ever set; seeing it one publication late is no harm. */
	if (blazei_unlikely(atomic_load_explicit(&ring->control->unlinked, memory_order_relaxed)))
		return -EIDRM;
	return 0;
}

/* Says that bytes up to end may be written from now on. */
static inline void writer_intend(struct blazei_writer *writer, uint64_t end)
{
	writer->intent = end;
	/* Relaxed: ordered before the bytes by the fence below. */
	atomic_store_explicit(&writer->flow->intent, end, memory_order_relaxed);
	/* Release fence: pairs with the acquire fence in lane_copy: who copied a byte that we write
	 * from here on reads this intent. */
	atomic_thread_fence(memory_order_release);
}

/* Claims the lane up to end: after this its bytes may be written. */
static inline int writer_claim(struct blaze_ring *ring, uint64_t end)
{
	struct blazei_writer *writer = &ring->writer;

	if (blazei_unlikely(end > writer->limit)) {
		const int rc = writer_make_room(ring, end);

		if (rc < 0)
			return rc;
	}
	if (end > writer->intent)
		writer_intend(writer, end);
	return 0;
}

static inline uint8_t *lane_at(const struct blazei_writer *writer, uint64_t position)
{
	return writer->lane + (position & writer->mask);
}

/* Asks for the lines that the next publications will write, for writing. Stores wait for their
 * lines in the order of the program, and the store buffer holds only those of the next few records:
 * without this a publisher whose reader keeps up spends half of its time waiting. Lines that nobody
 * has read yet are still in this cache, so a full lane loses nothing by it. */
static inline void claim_ahead(const struct blazei_writer *writer, uint64_t position)
{
	const uint8_t *at = lane_at(writer, position + CLAIM_AHEAD);

#if defined(__x86_64__)
	/* What __builtin_prefetch(at, 1) means, but not what it makes for the oldest CPUs of this
	 * kind, those without the instruction: they ignore it. */
	__asm__ __volatile__("prefetchw (%0)\n\tprefetchw 64(%0)" : : "r"(at));
#else
	__builtin_prefetch(at, 1);
	__builtin_prefetch(at + BLAZEI_CACHE_LINE, 1);
#endif
}

/* The same for a record of any length: as many lines as it takes, up to CLAIM_AHEAD. */
static inline void claim_ahead_long(const struct blazei_writer *writer, uint64_t position,
                                    size_t len)
{
	const size_t bytes = len < CLAIM_AHEAD ? len : CLAIM_AHEAD;

	for (size_t done = 0; done < bytes; done += (size_t)2 * BLAZEI_CACHE_LINE)
		claim_ahead(writer, position + done);
}

/* Copies a record into the lane. Short ones without a call and in steps of 16 bytes: what the
 * caller has stored a moment ago is then forwarded to the loads more often than not. The steps may
 * overlap in the middle, never past the ends. */
static inline void lane_write(uint8_t *to, const uint8_t *from, size_t len)
{
	if (blazei_unlikely(len < 16 || len > SHORT_MAX)) {
		if (len > 0)
			memcpy(to, from, len);
		return;
	}
	if (len > 32) {
		if (len > 64) {
			memcpy(to + 32, from + 32, 32);
			memcpy(to + len - 64, from + len - 64, 32);
		}
		memcpy(to + 16, from + 16, 16);
		memcpy(to + len - 32, from + len - 32, 16);
	}
	memcpy(to, from, 16);
	memcpy(to + len - 16, from + len - 16, 16);
}

static inline void write_header(const struct blazei_writer *writer, uint64_t position, size_t len)
{
	const struct blazei_record_header header = {
		.len = (uint32_t)len,
		.tag = blazei_record_tag(position, writer->generation),
	};

	memcpy(lane_at(writer, position), &header, sizeof(header));
}

static inline void writer_advance(struct blazei_writer *writer, uint64_t end, unsigned records,
                                  uint64_t bytes)
{
	writer->tail = end;
	BLAZEI_TESTPOINT("ring_publish_before_tail");
	/* Release: pairs with the acquire load of tail in poll.c: the records are whole. */
	atomic_store_explicit(&writer->flow->tail, end, memory_order_release);
	BLAZEI_TESTPOINT("ring_publish_after_tail");
	blazei_count(&writer->records, records);
	blazei_count(&writer->bytes, bytes);
}

static inline void writer_publish(struct blaze_ring *ring, uint64_t end, unsigned records,
                                  uint64_t bytes)
{
	writer_advance(&ring->writer, end, records, bytes);
	blazei_publish_wake(ring);
}

/* blaze_ring_publish in full. */
static __attribute__((noinline)) int publish_any(struct blaze_ring *ring, const void *data,
                                                 size_t len)
{
	struct blazei_writer *writer;
	uint64_t end;
	int rc = writer_check(ring);

	if (blazei_unlikely(rc < 0))
		return rc;
	writer = &ring->writer;
	if (blazei_unlikely(writer->reserved))
		return -EBUSY;
	if (blazei_unlikely(!data && len > 0))
		return -EINVAL;
	if (blazei_unlikely(len >
	                    blazei_publication_max(writer->lane_bytes) - BLAZEI_RECORD_HEADER))
		return -EMSGSIZE;
	end = writer->tail + blazei_record_span(len);
	rc = writer_claim(ring, end);
	if (blazei_unlikely(rc < 0))
		return rc;
	claim_ahead_long(writer, writer->tail, len);
	write_header(writer, writer->tail, len);
	lane_write(lane_at(writer, writer->tail) + BLAZEI_RECORD_HEADER, data, len);
	writer_publish(ring, end, 1, len);
	return 0;
}

/* Wakes, out of the way of those who need not. */
static __attribute__((noinline, cold)) int publish_wake(struct blaze_ring *ring)
{
	blazei_publish_wake(ring);
	return 0;
}

/* The way of nearly all records, without a call on it, so that no register is saved: short, there
 * is room, nobody sleeps. Whatever else is the case is for publish_any to tell apart. */
int blaze_ring_publish(struct blaze_ring *ring, const void *data, size_t len)
{
	struct blazei_writer *writer;
	uint64_t position, end;

	if (blazei_unlikely(blazei_ring_check(ring) < 0 || !data || len < 16 || len > SHORT_MAX))
		return publish_any(ring, data, len);
	writer = &ring->writer;
	position = writer->tail;
	end = position + blazei_record_span(len);
	/* limit is 0 where there is no lane. Relaxed: as in writer_check. */
	if (blazei_unlikely(end > writer->limit || end <= writer->intent || writer->reserved ||
	                    ring->fence_needed ||
	                    atomic_load_explicit(&ring->control->unlinked, memory_order_relaxed)))
		return publish_any(ring, data, len);
	writer_intend(writer, end);
	claim_ahead(writer, position);
	write_header(writer, position, len);
	lane_write(lane_at(writer, position) + BLAZEI_RECORD_HEADER, data, len);
	writer_advance(writer, end, 1, len);
	/* The order of these two, and relaxed: as in blazei_publish_wake. */
	atomic_signal_fence(memory_order_seq_cst);
	if (blazei_unlikely(atomic_load_explicit(&ring->control->sleepers, memory_order_relaxed)))
		return publish_wake(ring);
	return 0;
}

/* The span of all records together; 0 where it passes max. */
static uint64_t publication_span(const struct iovec *records, unsigned count, uint64_t max)
{
	uint64_t span = 0;

	for (unsigned i = 0; i < count; i++) {
		if (records[i].iov_len > max)
			return 0;
		span += blazei_record_span(records[i].iov_len);
		if (span > max)
			return 0;
	}
	return span;
}

int blaze_ring_publishv(struct blaze_ring *ring, const struct iovec *records, unsigned count)
{
	struct blazei_writer *writer;
	uint64_t position, span, bytes = 0;
	int rc = writer_check(ring);

	if (rc < 0)
		return rc;
	writer = &ring->writer;
	if (writer->reserved)
		return -EBUSY;
	if (!records || count < 1 || count > 1024)
		return -EINVAL;
	span = publication_span(records, count, blazei_publication_max(writer->lane_bytes));
	if (span == 0)
		return -EMSGSIZE;
	rc = writer_claim(ring, writer->tail + span);
	if (rc < 0)
		return rc;
	position = writer->tail;
	for (unsigned i = 0; i < count; i++) {
		const size_t len = records[i].iov_len;

		claim_ahead(writer, position);
		write_header(writer, position, len);
		lane_write(lane_at(writer, position) + BLAZEI_RECORD_HEADER, records[i].iov_base,
		           len);
		position += blazei_record_span(len);
		bytes += len;
	}
	writer_publish(ring, position, count, bytes);
	return 0;
}

int blaze_ring_reserve(struct blaze_ring *ring, size_t len, void **ret_data)
{
	struct blazei_writer *writer;
	uint64_t start, end;
	int rc = writer_check(ring);

	if (rc < 0)
		return rc;
	if (!ret_data)
		return -EINVAL;
	writer = &ring->writer;
	if (len > blazei_publication_max(writer->lane_bytes))
		return -EMSGSIZE;
	start = writer->reserved > 0 ? writer->end : writer->tail;
	end = start + blazei_record_span(len);
	if (end - writer->tail > blazei_publication_max(writer->lane_bytes))
		return -EMSGSIZE;
	rc = writer_claim(ring, end);
	if (rc < 0)
		return rc;
	claim_ahead(writer, start);
	write_header(writer, start, len);
	*ret_data = lane_at(writer, start) + BLAZEI_RECORD_HEADER;
	writer->end = end;
	writer->reserved++;
	writer->reserved_bytes += len;
	return 0;
}

int blaze_ring_commit(struct blaze_ring *ring)
{
	struct blazei_writer *writer;
	int rc = blazei_ring_check(ring);

	if (rc < 0)
		return rc;
	writer = &ring->writer;
	if (writer->reserved == 0)
		return -EINVAL;
	rc = writer_check(ring);
	if (rc < 0) {
		blaze_ring_abort(ring);
		return rc;
	}
	writer_publish(ring, writer->end, writer->reserved, writer->reserved_bytes);
	writer->reserved = 0;
	writer->reserved_bytes = 0;
	return 0;
}

void blaze_ring_abort(struct blaze_ring *ring)
{
	if (blazei_ring_check(ring) < 0)
		return;
	/* intent stays: readers may already have seen it. */
	ring->writer.reserved = 0;
	ring->writer.reserved_bytes = 0;
}
