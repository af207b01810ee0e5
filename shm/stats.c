/* SPDX-License-Identifier: Apache-2.0 */
/* What a handle can say of itself and its ring. */
#include "shm/ring.h"

static uint32_t live_participants(struct blaze_ring *ring)
{
	uint32_t live = 0;

	for (uint32_t slot = 0; slot < ring->participants_max; slot++)
		live += blazei_probe_live(&ring->probe, slot);
	return live;
}

/* Relaxed throughout: counters of two threads, each exact, none ordered with another. */
static uint64_t get(_Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

int blaze_ring_stats(struct blaze_ring *ring, struct blaze_ring_stats *ret_stats)
{
	struct blaze_ring_stats stats;
	uint32_t size;
	int rc = blazei_ring_check(ring);

	if (rc < 0)
		return rc;
	if (!ret_stats || ret_stats->struct_size < sizeof(stats.struct_size))
		return -EINVAL;
	size = ret_stats->struct_size;
	stats = (struct blaze_ring_stats){
		.struct_size = size,
		.participants = live_participants(ring),
		.slot = ring->slot.index,
		/* Acquire: pairs with mark_unlinked. */
		.unlinked =
		        atomic_load_explicit(&ring->control->unlinked, memory_order_acquire) != 0,
		.publisher = ring->publisher,
		.lane_bytes = ring->writer.lane_bytes,
		.published_records = get(&ring->writer.records),
		.published_bytes = get(&ring->writer.bytes),
		.received_records = get(&ring->reader.records),
		.received_bytes = get(&ring->reader.bytes),
		.laps = get(&ring->reader.laps),
		.lap_bytes = get(&ring->reader.lap_bytes),
		.bad_lanes = get(&ring->reader.bad_lanes),
		.stalls = get(&ring->writer.stalls),
		.stall_ns = get(&ring->writer.stall_ns),
		.overwrites = get(&ring->writer.overwrites),
		.sleeps = get(&ring->reader.sleeps),
		.wakes = get(&ring->writer.wakes),
	};
	memcpy(stats.ring.bytes, ring->ring_id, sizeof(stats.ring.bytes));
	memcpy(ret_stats, &stats, size < sizeof(stats) ? size : sizeof(stats));
	return 0;
}
