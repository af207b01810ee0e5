/* SPDX-License-Identifier: Apache-2.0 */
/* The roster: the other participants, as one side of a handle has mapped them.
 *
 * WHY    The directory is the truth about who is there; control's epoch only says when to look
 *        again. Each side of a handle keeps a roster of its own, so that publishing and polling
 *        share nothing that changes.
 *
 * FAILURE  A segment that cannot be mapped because it is invalid is skipped and counted; it is
 *        looked at again when the epoch moves. One whose name is gone stays mapped until its owner
 *        (poll.c) has read it to the end. */
#include "shm/ring.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* More than any ring has: 64 slots, each with the lanes of owners that died within a second. */
#define ROSTER_MAX  4096u
#define LISTING_MAX 16384u

static struct blazei_peer_entry *roster_find(const struct blazei_roster *roster, uint32_t slot,
                                             uint64_t generation)
{
	for (unsigned i = 0; i < roster->count; i++)
		if (roster->peers[i]->header.generation == generation &&
		    roster->peers[i]->header.slot == slot)
			return roster->peers[i];
	return NULL;
}

static int roster_add(struct blaze_ring *ring, struct blazei_roster *roster, const char *file)
{
	struct blazei_peer_entry *entry;
	int rc;

	if (roster->count >= ROSTER_MAX)
		return -ENOMEM;
	if (roster->count == roster->capacity) {
		const unsigned capacity = roster->capacity ? 2 * roster->capacity : 16;
		void *grown = realloc(roster->peers, capacity * sizeof(roster->peers[0]));

		if (!grown)
			return -ENOMEM;
		roster->peers = grown;
		roster->capacity = capacity;
	}
	entry = aligned_alloc(BLAZEI_CACHE_LINE,
	                      blazei_round_up(sizeof(*entry), BLAZEI_CACHE_LINE));
	if (!entry)
		return -ENOMEM;
	*entry = (struct blazei_peer_entry){ .listed = true };
	rc = blazei_segment_map(&ring->dir, file, ring->ring_id, roster->with_lanes, &entry->header,
	                        &entry->map);
	if (rc < 0) {
		free(entry);
		return rc;
	}
	roster->peers[roster->count++] = entry;
	return 1;
}

/* Where a slot has several lanes, only the newest has an owner who may live; that may be us. */
static void mark_superseded(const struct blaze_ring *ring, struct blazei_roster *roster)
{
	for (unsigned i = 0; i < roster->count; i++) {
		struct blazei_segment_header *older = &roster->peers[i]->header;

		if (ring->own.head && older->slot == ring->slot.index &&
		    older->birth < ring->own.head->header.birth)
			roster->peers[i]->ignored = true;
		for (unsigned j = 0; j < roster->count; j++)
			if (roster->peers[j]->header.slot == older->slot &&
			    roster->peers[j]->header.birth > older->birth)
				roster->peers[i]->ignored = true;
	}
}

static int scan_entry(struct blaze_ring *ring, struct blazei_roster *roster, const char *file,
                      unsigned *bad, unsigned *missed)
{
	struct blazei_peer_entry *known;
	uint64_t generation;
	uint32_t slot;
	int rc;

	if (!blazei_lane_name_parse(file, &slot, &generation) ||
	    generation == ring->writer.generation)
		return 0;
	known = roster_find(roster, slot, generation);
	if (known) {
		known->listed = true;
		return 0;
	}
	BLAZEI_TESTPOINT("ring_lane_listed");
	rc = roster_add(ring, roster, file);
	if (rc == -ENOENT) {
		(*missed)++;
		return 0;
	}
	if (rc == -EBADMSG || rc == -EPROTO || rc == -EACCES) {
		(*bad)++;
		return 0;
	}
	return rc;
}

int blazei_roster_scan(struct blaze_ring *ring, struct blazei_roster *roster, unsigned *ret_bad,
                       unsigned *ret_missed)
{
	unsigned bad = 0, missed = 0, seen = 0;
	struct dirent *entry;
	int dir_fd, fd, rc = 0, added = 0;
	DIR *listing;
	/* Acquire: pairs with the release additions that follow linkat and unlinkat, so a change
	 * that the listing misses moves the epoch again. */
	const uint32_t epoch = atomic_load_explicit(&ring->control->epoch, memory_order_acquire);

	dir_fd = blazei_dir_fd(&ring->dir);
	if (dir_fd == -ENOENT) {
		/* Unlinked: nobody comes any more. */
		*ret_bad = *ret_missed = 0;
		roster->epoch = epoch;
		return 0;
	}
	if (dir_fd < 0)
		return dir_fd;
	fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	listing = fdopendir(fd);
	if (!listing) {
		close(fd);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < roster->count; i++)
		roster->peers[i]->listed = false;
	while (rc >= 0 && seen++ < LISTING_MAX && (entry = readdir(listing))) {
		rc = scan_entry(ring, roster, entry->d_name, &bad, &missed);
		added += rc > 0;
	}
	closedir(listing);
	mark_superseded(ring, roster);
	*ret_bad = bad;
	*ret_missed = missed;
	if (rc < 0)
		return rc; /* half a listing says nothing of who is gone */
	roster->gone = 0;
	for (unsigned i = 0; i < roster->count; i++) {
		roster->peers[i]->gone = !roster->peers[i]->listed;
		roster->gone += roster->peers[i]->gone;
	}
	roster->epoch = epoch;
	roster->scanned = true;
	return added;
}

void blazei_roster_remove(struct blazei_roster *roster, unsigned index)
{
	roster->gone -= roster->peers[index]->gone;
	blazei_mapping_close(&roster->peers[index]->map);
	free(roster->peers[index]);
	roster->peers[index] = roster->peers[--roster->count];
}

void blazei_roster_clear(struct blazei_roster *roster)
{
	while (roster->count > 0)
		blazei_roster_remove(roster, roster->count - 1);
	free(roster->peers);
	*roster = (struct blazei_roster){ 0 };
}
