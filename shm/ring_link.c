/* SPDX-License-Identifier: Apache-2.0 */
/* The ring as a link: what a database replicates through on one host.
 *
 * WHY    lib/repl/link.h is all that the layers above know of a transport; this file says it in
 *        terms of a ring handle and adds nothing but the board, a part of the segment.
 *
 * CONCURRENCY  As the handle: publish, reserve, commit and abort on one side; poll, each_peer and
 *        prepare_sleep on the other; wake from anywhere. */
#include "lib/repl/link.h"

#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/ring.h"

/* The public record and the link's differ by the position only; both are handed over in batches
 * of at most BLAZEI_BATCH_MAX. */
struct ring_link {
	struct blazei_link link;
	struct blaze_ring *ring;
	blazei_link_handler handler; /* of the poll that runs */
	void *arg;
	struct blazei_link_record batch[BLAZEI_BATCH_MAX];
};

static struct ring_link *ring_link(struct blazei_link *link)
{
	return (struct ring_link *)link; /* link is its first member */
}

static int link_publish(struct blazei_link *link, const void *data, size_t len)
{
	return blaze_ring_publish(ring_link(link)->ring, data, len);
}

static int link_reserve(struct blazei_link *link, size_t len, void **ret_data)
{
	return blaze_ring_reserve(ring_link(link)->ring, len, ret_data);
}

static int link_commit(struct blazei_link *link)
{
	return blaze_ring_commit(ring_link(link)->ring);
}

static void link_abort(struct blazei_link *link)
{
	blaze_ring_abort(ring_link(link)->ring);
}

static int hand_over(void *arg, const struct blaze_ring_record *records, unsigned count)
{
	struct ring_link *self = arg;

	for (unsigned i = 0; i < count; i++) {
		self->batch[i].data = records[i].data;
		self->batch[i].len = records[i].len;
		self->batch[i].peer = records[i].publisher;
	}
	return self->handler(self->arg, self->batch, count);
}

static int link_poll(struct blazei_link *link, blazei_link_handler handler, void *arg,
                     unsigned limit)
{
	struct ring_link *self = ring_link(link);

	self->handler = handler;
	self->arg = arg;
	return blaze_ring_poll(self->ring, hand_over, self, limit);
}

static int link_each_peer(struct blazei_link *link, bool probe, blazei_peer_visitor visitor,
                          void *arg)
{
	struct blaze_ring *ring = ring_link(link)->ring;
	int rc = blazei_ring_check(ring);

	if (rc == 0)
		rc = blazei_reader_start(ring);
	if (rc == 0)
		rc = blazei_reader_refresh(ring);
	for (unsigned i = 0; rc == 0 && i < ring->reader.roster.count; i++) {
		const struct blazei_peer_entry *entry = ring->reader.roster.peers[i];
		struct blazei_peer peer = {
			.board_bytes = entry->header.board_bytes,
			.live = !entry->ignored && !entry->gone &&
			        (!probe || blazei_probe_live(&ring->probe, entry->header.slot)),
		};

		memcpy(peer.id.bytes, entry->header.publisher, sizeof(peer.id.bytes));
		if (peer.board_bytes > 0)
			peer.board = (const uint8_t *)entry->map.head + BLAZEI_BOARD_OFFSET;
		rc = visitor(arg, &peer);
	}
	return rc;
}

static int link_prepare_sleep(struct blazei_link *link, uint32_t **ret_word, uint32_t *ret_expected,
                              uint64_t *ret_timeout_ns)
{
	struct blaze_ring *ring = ring_link(link)->ring;
	int rc = blazei_ring_check(ring);

	if (rc == 0)
		rc = blazei_reader_start(ring);
	if (rc < 0)
		return rc;
	/* Acquire: pairs with mark_unlinked: poll reports it. */
	if (atomic_load_explicit(&ring->control->unlinked, memory_order_acquire))
		return 1;
	blazei_reap_sometimes(ring);
	return blazei_sleep_prepare(ring, ret_word, ret_expected, ret_timeout_ns);
}

static void link_wake(struct blazei_link *link)
{
	struct blaze_ring *ring = ring_link(link)->ring;

	if (blazei_ring_check(ring) < 0)
		return;
	/* Release: pairs with the acquire in blazei_sleep_prepare. */
	atomic_fetch_add_explicit(&ring->control->wake_seq, 1, memory_order_release);
	syscall(SYS_futex, &ring->control->wake_seq, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static void link_close(struct blazei_link *link)
{
	blaze_ring_detach(ring_link(link)->ring);
	free(link);
}

static const struct blazei_link_ops ring_ops = {
	.publish = link_publish,
	.reserve = link_reserve,
	.commit = link_commit,
	.abort = link_abort,
	.poll = link_poll,
	.each_peer = link_each_peer,
	.prepare_sleep = link_prepare_sleep,
	.wake = link_wake,
	.close = link_close,
};

static bool lane_bytes_valid(uint64_t bytes)
{
	return bytes == 0 ||
	       (bytes >= BLAZEI_LANE_MIN && bytes <= BLAZEI_LANE_MAX && (bytes & (bytes - 1)) == 0);
}

int blazei_link_open_ring(const char *name, const struct blazei_link_options *options,
                          struct blazei_link **ret_link)
{
	struct blazei_ring_plan plan = { .options = BLAZE_RING_OPTIONS_INIT };
	struct ring_link *self;
	int rc;

	if (!blazei_name_valid(name, BLAZE_RING_NAME_MAX) ||
	    options->board_bytes > BLAZEI_BOARD_MAX || !lane_bytes_valid(options->lane_bytes))
		return -EINVAL;
	self = calloc(1, sizeof(*self));
	if (!self)
		return -ENOMEM;
	plan.board_bytes = options->board_bytes;
	/* A database takes long over each record, and finds more to do at once in many. */
	plan.batch_max = BLAZEI_BATCH_MAX;
	plan.options.lane_bytes = options->lane_bytes;
	if (options->lossless)
		plan.options.stall_budget_ns = BLAZE_FOREVER;
	if (options->nonblock)
		plan.options.flags |= BLAZE_RING_NONBLOCK;
	if (options->no_create)
		plan.options.flags |= BLAZE_RING_NO_CREATE;
	if (options->read_only)
		plan.options.flags |= BLAZE_RING_READ_ONLY;
	rc = blazei_ring_attach(name, &plan, &self->ring);
	if (rc < 0) {
		free(self);
		return rc;
	}
	self->link.ops = &ring_ops;
	self->link.id = self->ring->publisher;
	self->link.board_bytes = options->board_bytes;
	if (options->board_bytes > 0)
		self->link.board = (uint8_t *)self->ring->own.head + BLAZEI_BOARD_OFFSET;
	if (self->ring->writer.lane_bytes > 0)
		self->link.max_bytes = blazei_publication_max(self->ring->writer.lane_bytes) -
		                       BLAZEI_RECORD_HEADER;
	*ret_link = &self->link;
	return 0;
}

int blazei_link_unlink_ring(const char *name)
{
	return blaze_ring_unlink(name);
}

void blazei_link_sweep_rings(const char *prefix)
{
	char parent_path[64];
	int parent_fd = blazei_parent_open(0600, false, parent_path, sizeof(parent_path));

	if (parent_fd < 0)
		return;
	blazei_dir_remove_all_unused(parent_fd, parent_path, prefix, 0600);
	blazei_parent_close(parent_fd, parent_path);
}
