/* SPDX-License-Identifier: Apache-2.0 */
/* Reaping: what becomes of the lanes of those who left or died.
 *
 * WHY    Records outlive their publisher: a reader that has not mapped the lane yet must still find
 *        it by name. So a dead lane keeps its name until every live reader has adopted it, or a
 *        later lane of its slot. A reader that does not come within a second is not waited for
 *        (it is told of a lap), except by a lane of a lossless publisher.
 *
 * INVARIANTS
 * I1  A lane is dead iff nobody holds its slot, or its slot has a lane born later (the next owner
 *     of a slot links its own lane before anything else, and only one lives in a slot).
 * I2  Every step may be repeated by anyone: unlinking twice is -ENOENT. A wrong guess from hostile
 *     hints can take away a name, never memory that somebody uses.
 *
 * FAILURE  Killed between telling (`removed`) and unlinking: readers that had not come to the lane
 *        are told of a lap that may not have happened. */
#include "shm/ring.h"

#include <fcntl.h>
#include <unistd.h>

#define GRACE_NS BLAZEI_NS_PER_S

/* When this lane was first found dead, noting it if it is new. */
static uint64_t found_dead_ns(struct blazei_reaper *reaper, uint64_t generation, uint64_t now)
{
	unsigned oldest = 0;

	for (unsigned i = 0; i < reaper->count; i++) {
		if (reaper->graves[i].generation == generation)
			return reaper->graves[i].found_ns;
		if (reaper->graves[i].found_ns < reaper->graves[oldest].found_ns)
			oldest = i;
	}
	/* Full: forget the oldest; it is found dead anew and waits a little longer. */
	if (reaper->count < BLAZEI_GRAVES_MAX)
		oldest = reaper->count++;
	reaper->graves[oldest].generation = generation;
	reaper->graves[oldest].found_ns = now;
	return now;
}

static void forget_grave(struct blazei_reaper *reaper, uint64_t generation)
{
	for (unsigned i = 0; i < reaper->count; i++)
		if (reaper->graves[i].generation == generation) {
			reaper->graves[i] = reaper->graves[--reaper->count];
			return;
		}
}

/* Whether this reader's cursor names the lane or a later one of its slot. Relaxed and acquire as
 * in publish.c: these are another's hints. */
static bool has_come_to(struct blazei_segment *reader, const struct blazei_segment_header *lane)
{
	struct blazei_cursor *cursor = &reader->cursors[lane->slot];

	if (!atomic_load_explicit(&reader->reader.reading, memory_order_acquire))
		return true; /* no reader */
	return atomic_load_explicit(&cursor->generation, memory_order_acquire) != 0 &&
	       atomic_load_explicit(&cursor->birth, memory_order_relaxed) >= lane->birth;
}

/* Whether a live reader has still to come to this lane. One that began to read after the lane was
 * linked has named it then, at its end. */
static bool somebody_needs(struct blaze_ring *ring, const struct blazei_roster *roster,
                           const struct blazei_segment_header *lane)
{
	if (!has_come_to(ring->own.head, lane))
		return true;
	for (unsigned i = 0; i < roster->count; i++) {
		const struct blazei_peer_entry *peer = roster->peers[i];

		if (peer->ignored || peer->header.generation == lane->generation)
			continue;
		if (!has_come_to(peer->map.head, lane) &&
		    blazei_probe_live(&ring->probe, peer->header.slot))
			return true;
	}
	return false;
}

static void remove_lane(struct blaze_ring *ring, const struct blazei_segment_header *lane,
                        bool forced)
{
	char name[BLAZEI_LANE_NAME_BYTES];
	const int dir_fd = blazei_dir_fd(&ring->dir);

	if (dir_fd < 0)
		return;
	if (forced) {
		/* Relaxed, then release: pairs with the acquire in notice_removed. */
		atomic_store_explicit(&ring->control->removed_birth[lane->slot], lane->birth,
		                      memory_order_relaxed);
		atomic_fetch_add_explicit(&ring->control->removed, 1, memory_order_release);
	}
	BLAZEI_TESTPOINT("ring_reap_before_unlink");
	blazei_lane_name(lane->slot, lane->generation, name);
	unlinkat(dir_fd, name, 0);
	BLAZEI_TESTPOINT("ring_reap_after_unlink");
	/* Release: pairs with the acquire of epoch before a listing. */
	atomic_fetch_add_explicit(&ring->control->epoch, 1, memory_order_release);
}

int blazei_reap(struct blaze_ring *ring, struct blazei_reaper *reaper)
{
	const uint64_t now = blazei_monotonic_ns();
	struct blazei_roster roster = { 0 };
	unsigned bad, missed;
	int rc, left = 0;

	rc = blazei_roster_scan(ring, &roster, &bad, &missed);
	if (rc < 0) {
		blazei_roster_clear(&roster);
		return rc;
	}
	for (unsigned i = 0; i < roster.count; i++) {
		struct blazei_peer_entry *peer = roster.peers[i];
		const struct blazei_segment_header *lane = &peer->header;
		bool needed, expired;

		if (!peer->ignored && blazei_probe_live(&ring->probe, lane->slot))
			continue;
		peer->ignored = true;
		/* Relaxed: the owner is dead. Who published nothing leaves nothing to read. */
		needed = atomic_load_explicit(&peer->map.head->flow.tail, memory_order_relaxed) !=
		                 0 &&
		         somebody_needs(ring, &roster, lane);
		expired = !(lane->flags & BLAZEI_SEGMENT_LOSSLESS) &&
		          now - found_dead_ns(reaper, lane->generation, now) >= GRACE_NS;
		if (needed && !expired) {
			left++;
			continue;
		}
		remove_lane(ring, lane, needed);
		forget_grave(reaper, lane->generation);
	}
	blazei_roster_clear(&roster);
	return left;
}

void blazei_reap_own(struct blaze_ring *ring)
{
	/* Not our header in shared memory: whoever may write there may have. A wrong birth only
	 * keeps or takes away a name (I2). */
	const struct blazei_segment_header own = {
		.slot = ring->slot.index,
		.generation = ring->writer.generation,
		.birth = ring->own.head->header.birth,
	};
	struct blazei_roster roster = { 0 };
	unsigned bad, missed;

	if (blazei_roster_scan(ring, &roster, &bad, &missed) >= 0 &&
	    (ring->writer.tail == 0 || !somebody_needs(ring, &roster, &own)))
		remove_lane(ring, &own, false);
	blazei_roster_clear(&roster);
}
