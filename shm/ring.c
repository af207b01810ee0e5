/* SPDX-License-Identifier: Apache-2.0 */
/* Attaching, leaving, and what a handle can say of itself.
 *
 * STATES  of a participant: slot claimed -> segment linked -> announced (epoch) -> publishing,
 *        reading -> slot released -> segment reaped. Everything up to the announcement can be
 *        abandoned at any instruction: an unlocked slot is free, a lane without a live owner is
 *        reaped.
 *
 * CONCURRENCY  Claiming holds the attach lock (no fork meanwhile, slot.c I2). The list of handles
 *        is kept under it too; the child of a fork closes their descriptors. */
#include "shm/ring.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ATTACH_TRIES 200u

static struct blaze_ring *handles; /* under the attach lock */

/* In a child: the mappings did not come along (MADV_DONTFORK); the descriptors did. */
static void close_in_child(void)
{
	for (struct blaze_ring *ring = handles; ring; ring = ring->next) {
		blazei_probe_close(&ring->probe);
		blazei_dir_close(&ring->dir);
	}
	handles = NULL;
}

static int check_options(const struct blaze_ring_options *options)
{
	const uint32_t known = BLAZE_RING_NO_CREATE | BLAZE_RING_READ_ONLY | BLAZE_RING_NONBLOCK;

	if (options->flags & ~known)
		return -EINVAL;
	if (options->participants_max > BLAZEI_SLOTS_MAX)
		return -EINVAL;
	if (options->mode != 0 && options->mode != 0600 && options->mode != 0660)
		return -EINVAL;
	if (options->lane_bytes != 0 &&
	    (options->lane_bytes < BLAZEI_LANE_MIN || options->lane_bytes > BLAZEI_LANE_MAX ||
	     (options->lane_bytes & (options->lane_bytes - 1))))
		return -EINVAL;
	return 0;
}

static struct blaze_ring *ring_new(const char *name, const struct blaze_ring_options *options)
{
	struct blaze_ring *ring =
	        aligned_alloc(BLAZEI_CACHE_LINE, blazei_round_up(sizeof(*ring), BLAZEI_CACHE_LINE));

	if (!ring)
		return NULL;
	memset(ring, 0, sizeof(*ring));
	ring->reader.batch = calloc(BLAZEI_BATCH_MAX, sizeof(ring->reader.batch[0]));
	ring->reader.chunk = aligned_alloc(BLAZEI_PAGE, BLAZEI_CHUNK_BYTES);
	ring->reader.chunk_bytes = BLAZEI_CHUNK_BYTES;
	if (!ring->reader.batch || !ring->reader.chunk) {
		free(ring->reader.batch);
		free(ring->reader.chunk);
		free(ring);
		return NULL;
	}
	memcpy(ring->name, name, strlen(name) + 1);
	ring->fork_generation = atomic_load(&blazei_fork_generation);
	ring->flags = options->flags;
	ring->mode = options->mode ? options->mode : 0600;
	ring->stall_budget_ns =
	        options->stall_budget_ns ? options->stall_budget_ns : BLAZEI_NS_PER_MS;
	ring->spin_ns = options->spin_ns ? options->spin_ns : 20000;
	ring->reader.spin_now_ns = ring->spin_ns;
	ring->dir.fd = -1;
	ring->probe.fd = -1;
	return ring;
}

static void ring_free(struct blaze_ring *ring)
{
	blazei_roster_clear(&ring->writer.roster);
	blazei_roster_clear(&ring->reader.roster);
	blazei_probe_close(&ring->probe);
	blazei_dir_close(&ring->dir);
	free(ring->reader.batch);
	free(ring->reader.chunk);
	free(ring);
}

/* Claims a slot in an open directory. -EAGAIN: the ring goes away, start again. */
static int claim(struct blaze_ring *ring)
{
	struct blazei_control copy;
	int fd, rc;

	blazei_attach_lock();
	fd = blazei_control_open(&ring->dir, true, &copy);
	rc = fd < 0 ? fd : blazei_slot_claim(fd, copy.participants_max, &ring->slot);
	blazei_attach_unlock();
	if (rc < 0)
		return rc == -ENOENT ? -EAGAIN : rc;
	memcpy(ring->ring_id, copy.preamble.ring, sizeof(ring->ring_id));
	ring->participants_max = copy.participants_max;
	ring->control = ring->slot.control;
	return blazei_probe_open(&ring->dir, &ring->probe);
}

static int make_segment(struct blaze_ring *ring, const struct blazei_ring_plan *plan)
{
	const bool read_only = plan->options.flags & BLAZE_RING_READ_ONLY;
	struct blazei_segment_plan segment = {
		.slot = ring->slot.index,
		.lane_bytes =
		        plan->options.lane_bytes ? plan->options.lane_bytes : BLAZEI_LANE_DEFAULT,
		.board_bytes = plan->board_bytes,
	};
	struct blazei_writer *writer = &ring->writer;
	int rc = blazei_random(&segment.generation, sizeof(segment.generation));

	if (rc == 0)
		rc = blazei_random(&segment.publisher, sizeof(segment.publisher));
	if (rc < 0)
		return rc;
	segment.generation |= 1; /* never 0 */
	if (read_only) {
		segment.lane_bytes = 0;
		segment.flags |= BLAZEI_SEGMENT_READ_ONLY;
	}
	if (ring->stall_budget_ns == BLAZE_FOREVER)
		segment.flags |= BLAZEI_SEGMENT_LOSSLESS;
	memcpy(segment.ring, ring->ring_id, sizeof(segment.ring));
	/* Relaxed: only uniqueness and growth matter. */
	segment.birth =
	        atomic_fetch_add_explicit(&ring->control->births, 1, memory_order_relaxed) + 1;
	writer->generation = segment.generation;
	ring->publisher = segment.publisher;
	rc = blazei_segment_create(&ring->dir, &segment, &ring->own);
	if (rc < 0)
		return rc;
	writer->flow = &ring->own.head->flow;
	writer->lane = ring->own.lane;
	writer->lane_bytes = segment.lane_bytes;
	writer->mask = segment.lane_bytes - 1;
	/* Release: pairs with the acquire of epoch before a listing: the name is there. Relaxed for
	 * the generation: it is for people. */
	atomic_store_explicit(&ring->control->generation[ring->slot.index], segment.generation,
	                      memory_order_relaxed);
	atomic_fetch_add_explicit(&ring->control->epoch, 1, memory_order_release);
	BLAZEI_TESTPOINT("ring_attach_announced");
	return 0;
}

/* Gives back what claim and make_segment took. */
static void leave(struct blaze_ring *ring)
{
	/* The slot goes last: while it is held, our segment may be written. */
	blazei_mapping_close(&ring->own);
	blazei_slot_release(&ring->slot);
	ring->control = NULL;
}

/* Opens the ring's directory, making the ring if need be. -EAGAIN: it went away meanwhile. */
static int open_directory(struct blaze_ring *ring, int parent_fd, const char *parent_path,
                          const struct blaze_ring_options *options)
{
	const uint32_t participants_max =
	        options->participants_max ? options->participants_max : BLAZEI_SLOTS_MAX;
	int rc = blazei_dir_open(parent_fd, parent_path, ring->name, ring->mode, &ring->dir);

	if (rc != -ENOENT || (options->flags & BLAZE_RING_NO_CREATE))
		return rc;
	rc = blazei_dir_create(parent_fd, ring->name, ring->mode, participants_max);
	if (rc == -ENOENT)
		return -EAGAIN; /* our unfinished directory was taken for a leftover */
	if (rc < 0 && rc != -EEXIST)
		return rc;
	blazei_dir_sweep(parent_fd, parent_path, ring->mode);
	rc = blazei_dir_open(parent_fd, parent_path, ring->name, ring->mode, &ring->dir);
	return rc == -ENOENT ? -EAGAIN : rc;
}

static int attach_once(struct blaze_ring *ring, int parent_fd, const char *parent_path,
                       const struct blazei_ring_plan *plan)
{
	int rc = open_directory(ring, parent_fd, parent_path, &plan->options);
	bool claimed;

	if (rc < 0)
		return rc;
	rc = claim(ring);
	claimed = rc == 0;
	if (claimed)
		rc = make_segment(ring, plan);
	if (rc < 0) {
		leave(ring);
		blazei_probe_close(&ring->probe);
		blazei_dir_close(&ring->dir);
		/* We may have made the ring, and have no room to stay in it. */
		if (claimed)
			blazei_dir_remove_unused(parent_fd, parent_path, ring->name, ring->mode);
	}
	return rc;
}

static void handles_add(struct blaze_ring *ring)
{
	blazei_attach_lock();
	ring->next = handles;
	if (handles)
		handles->prev = ring;
	handles = ring;
	blazei_attach_unlock();
}

static void handles_remove(struct blaze_ring *ring)
{
	blazei_attach_lock();
	if (ring->prev)
		ring->prev->next = ring->next;
	else if (handles == ring)
		handles = ring->next;
	if (ring->next)
		ring->next->prev = ring->prev;
	blazei_attach_unlock();
}

static int attach_retry(struct blaze_ring *ring, const struct blazei_ring_plan *plan)
{
	const bool create = !(plan->options.flags & BLAZE_RING_NO_CREATE);
	char parent_path[64];
	int parent_fd, rc = -EAGAIN;

	for (unsigned i = 0; i < ATTACH_TRIES && rc == -EAGAIN; i++) {
		if (i > 2)
			blazei_sleep_ns(100000 * (i < 20 ? i : 20));
		/* Anew each time: an empty parent goes away with its last ring. */
		parent_fd =
		        blazei_parent_open(ring->mode, create, parent_path, sizeof(parent_path));
		if (parent_fd == -ENOENT && create)
			continue;
		if (parent_fd < 0)
			return parent_fd;
		rc = attach_once(ring, parent_fd, parent_path, plan);
		/* A husk, or somebody removes it right now; or did half an hour ago, and was
		 * stopped. */
		if (rc == -EAGAIN)
			blazei_dir_remove_husk(parent_fd, parent_path, ring->name, ring->mode,
			                       i >= ATTACH_TRIES / 2);
		close(parent_fd);
	}
	return rc;
}

int blazei_ring_attach(const char *name, const struct blazei_ring_plan *plan,
                       struct blaze_ring **ret_ring)
{
	static _Atomic bool child_handler_set;
	struct blaze_ring *ring;
	int rc = blazei_fork_init();

	if (rc == 0 && !atomic_exchange(&child_handler_set, true))
		rc = blazei_fork_on_child(close_in_child);
	if (rc < 0)
		return rc;
	ring = ring_new(name, &plan->options);
	if (!ring)
		return -ENOMEM;
	ring->reader.batch_max = plan->batch_max ? plan->batch_max : BLAZEI_BATCH_FAST;
	ring->fence_needed = !blazei_membarrier_register();
	rc = attach_retry(ring, plan);
	if (rc < 0) {
		ring_free(ring);
		return rc;
	}
	handles_add(ring);
	ring->reader.reap_ns = blazei_monotonic_ns();
	blazei_reap(ring, &ring->reader.reaper);
	*ret_ring = ring;
	return 0;
}

int blaze_ring_attach(const char *name, const struct blaze_ring_options *options,
                      struct blaze_ring **ret_ring)
{
	struct blazei_ring_plan plan = { 0 };
	int rc;

	if (!ret_ring || !blazei_name_valid(name, BLAZE_RING_NAME_MAX))
		return -EINVAL;
	rc = blazei_options_read(options, sizeof(plan.options), &plan.options);
	if (rc == 0)
		rc = check_options(&plan.options);
	if (rc < 0)
		return rc;
	return blazei_ring_attach(name, &plan, ret_ring);
}

/* The mappings stayed with the parent, and something else may lie at their addresses by now; only
 * the memory is ours to free. */
static void free_in_child(struct blaze_ring *ring)
{
	for (unsigned i = 0; i < ring->writer.roster.count; i++)
		free(ring->writer.roster.peers[i]);
	for (unsigned i = 0; i < ring->reader.roster.count; i++)
		free(ring->reader.roster.peers[i]);
	free(ring->writer.roster.peers);
	free(ring->reader.roster.peers);
	free(ring->reader.batch);
	free(ring->reader.chunk);
	free(ring);
}

void blaze_ring_detach(struct blaze_ring *ring)
{
	char parent_path[64];
	int parent_fd;

	if (!ring)
		return;
	if (blazei_forked_since(ring->fork_generation)) {
		free_in_child(ring);
		return;
	}
	blaze_ring_abort(ring);
	handles_remove(ring);
	/* From here on our lane is a dead one; whoever still has to come to it keeps it. Release:
	 * as in adopt.c, we read no more. */
	atomic_store_explicit(&ring->own.head->reader.reading, 0, memory_order_release);
	blazei_reap(ring, &ring->reader.reaper);
	blazei_reap_own(ring);
	BLAZEI_TESTPOINT("ring_detach_reaped");
	leave(ring);
	BLAZEI_TESTPOINT("ring_detach_left");
	parent_fd = blazei_parent_open(ring->mode, false, parent_path, sizeof(parent_path));
	if (parent_fd >= 0) {
		blazei_dir_remove_unused(parent_fd, parent_path, ring->name, ring->mode);
		blazei_parent_close(parent_fd, parent_path);
	}
	ring_free(ring);
}

int blaze_ring_unlink(const char *name)
{
	char parent_path[64];
	int parent_fd, rc;

	if (!blazei_name_valid(name, BLAZE_RING_NAME_MAX))
		return -EINVAL;
	parent_fd = blazei_parent_open(0600, false, parent_path, sizeof(parent_path));
	if (parent_fd < 0)
		return parent_fd;
	rc = blazei_dir_unlink(parent_fd, parent_path, name, 0600);
	blazei_parent_close(parent_fd, parent_path);
	return rc;
}
