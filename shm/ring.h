/* SPDX-License-Identifier: Apache-2.0 */
/* The handle of a ring and its parts, shared by the files of shm/.
 *
 * A write passes publish.c (room, copy, tail) and wake.c (whoever sleeps); a read passes poll.c
 * (tail, copy, validate, hand over). Everything else is the slow side: dir.c (names, creation,
 * removal), segment.c (a participant's file), slot.c (who lives), roster.c (who is there), adopt.c
 * (whose lanes we read), reap.c (what the dead leave), ring.c (attach and detach).
 *
 * CONCURRENCY  The publishing side (struct blazei_writer) and the reading side (struct
 * blazei_reader) of a handle share nothing that changes but the control segment, so one thread
 * may use each. The counters are relaxed atomics that stats may read at any time. */
#ifndef BLAZEI_SHM_RING_H
#define BLAZEI_SHM_RING_H

#include <stdint.h>
#include <sys/types.h>

#include <blaze/ring.h>

#include "lib/base/base.h"
#include "lib/base/shm.h"
#include "shm/layout.h"

#define BLAZEI_CHUNK_BYTES 16384u
#define BLAZEI_BATCH_MAX   64u /* records that a handler gets at once, at most */
#define BLAZEI_BATCH_FAST  24u /* and where records are cheap: poll.c tells why */

/* dir.c ------------------------------------------------------------------------------------- */

/* A ring's directory. The inode tells whether a descriptor or a name still means it. */
struct blazei_dir {
	char path[128]; /* of the ring's directory */
	int fd;
	dev_t device;
	ino_t inode;
	uint32_t mode; /* 0600 or 0660 */
	uid_t owner;   /* 0600: the one who must own every file */
	gid_t group;   /* 0660: the group that must */
};

/* Opens ring NAME's directory below parent_fd. 0; -ENOENT; -EACCES. */
int blazei_dir_open(int parent_fd, const char *parent_path, const char *name, uint32_t mode,
                    struct blazei_dir *ret_dir);
void blazei_dir_close(struct blazei_dir *dir);

/* A descriptor that means this directory, even where the host program has closed ours; -ENOENT
 * where the directory is gone. The descriptor stays the dir's. */
int blazei_dir_fd(struct blazei_dir *dir);

/* Makes a ring: a directory with its control segment, under a name that comes into being whole.
 * 0; -EEXIST: somebody else was first; -ENOSPC, -EACCES. */
int blazei_dir_create(int parent_fd, const char *name, uint32_t mode, uint32_t participants_max);

/* Removes whatever the directory holds, and then itself, unless it holds something again. */
void blazei_dir_empty(int parent_fd, int dir_fd, const char *name);

/* Removes the ring if nobody is attached (or nothing but a husk is left). Returns 1 removed,
 * 0 in use, -ENOENT and other errors. */
int blazei_dir_remove_unused(int parent_fd, const char *parent_path, const char *name,
                             uint32_t mode);

/* The same for all whose names begin so. */
void blazei_dir_remove_all_unused(int parent_fd, const char *parent_path, const char *prefix,
                                  uint32_t mode);

/* Empties the directory if it is a husk; or, with `removing`, if somebody has been removing the
 * ring for so long that he must have been stopped: he would only do the same (I3). */
void blazei_dir_remove_husk(int parent_fd, const char *parent_path, const char *name, uint32_t mode,
                            bool removing);

/* Takes the name away from a ring, in use or not, and tells its participants. */
int blazei_dir_unlink(int parent_fd, const char *parent_path, const char *name, uint32_t mode);

/* Whether a directory of that name is being made or removed, or was by somebody who died. */
bool blazei_dir_unfinished(const char *name);
/* Removes such a one where it is old enough: 1; 0 it is not; -EACCES it can't be removed. Whoever
 * was merely stopped makes its ring anew. */
int blazei_dir_remove_unfinished(int parent_fd, const char *parent_path, const char *name,
                                 uint32_t mode);
/* Removes all of them that are old enough. */
void blazei_dir_sweep(int parent_fd, const char *parent_path, uint32_t mode);

/* Whether a file is a plain file of the right owner, permissions and link count, opened from dir.
 * 0, -EACCES, or -EBADMSG where its size is not `bytes` (0: any). */
int blazei_file_check(const struct blazei_dir *dir, int fd, uint64_t bytes, uint64_t *ret_bytes);

/* segment.c --------------------------------------------------------------------------------- */

/* Opens and validates control; returns a descriptor or -ENOENT, -EACCES, -EPROTO, -EBADMSG. */
int blazei_control_open(struct blazei_dir *dir, bool writable, struct blazei_control *ret_copy);

struct blazei_segment_plan {
	uint32_t slot;
	uint32_t flags;
	uint64_t generation;
	uint64_t birth;
	uint64_t lane_bytes;
	uint64_t board_bytes;
	struct blaze_id publisher;
	uint8_t ring[16];
};

/* A mapped segment. head covers everything before the lane; lane is mapped twice back to back. */
struct blazei_mapping {
	struct blazei_segment *head;
	uint64_t head_bytes;
	uint8_t *lane; /* NULL: not mapped, or a participant without one */
	uint64_t lane_bytes;
};

/* Makes, maps (writable) and links this participant's segment. 0; -ENOSPC, -ENOMEM, ... */
int blazei_segment_create(struct blazei_dir *dir, const struct blazei_segment_plan *plan,
                          struct blazei_mapping *ret_mapping);

/* Maps another's segment read-only; with_lane: its lane too. The header is copied to *ret_header
 * and validated against the file's name and the ring. 0; -ENOENT; -EACCES; -EPROTO; -EBADMSG. */
int blazei_segment_map(struct blazei_dir *dir, const char *file, const uint8_t ring[16],
                       bool with_lane, struct blazei_segment_header *ret_header,
                       struct blazei_mapping *ret_mapping);
void blazei_mapping_close(struct blazei_mapping *mapping);

#define BLAZEI_LANE_NAME_BYTES 32
void blazei_lane_name(uint32_t slot, uint64_t generation, char ret_name[BLAZEI_LANE_NAME_BYTES]);
bool blazei_lane_name_parse(const char *name, uint32_t *ret_slot, uint64_t *ret_generation);

/* slot.c ------------------------------------------------------------------------------------ */

/* What keeps a slot: the mapped control segment, which alone holds the lock. */
struct blazei_slot {
	struct blazei_control *control; /* NULL: none */
	uint32_t index;
};

/* Takes a free slot of participants_max. The attach lock must be held. 0; -EUSERS: all are taken;
 * -EAGAIN: the ring is being removed; -ENOMEM. Consumes control_fd in every case. */
int blazei_slot_claim(int control_fd, uint32_t participants_max, struct blazei_slot *ret_slot);
void blazei_slot_release(struct blazei_slot *slot);

/* A descriptor for asking, never locked through. */
struct blazei_probe {
	int fd;
	dev_t device;
	ino_t inode;
};
int blazei_probe_open(struct blazei_dir *dir, struct blazei_probe *ret_probe);
void blazei_probe_close(struct blazei_probe *probe);
/* Whether somebody holds the slot; in doubt true. */
bool blazei_probe_live(const struct blazei_probe *probe, uint32_t slot);

/* roster.c ---------------------------------------------------------------------------------- */

/* Another participant's segment as one side of this handle knows it. */
struct blazei_peer_entry {
	struct blazei_mapping map;
	struct blazei_segment_header header; /* our validated copy */
	uint64_t position;                   /* reader: next byte to read */
	uint64_t shown;                      /* reader: the same as cursor has it */
	struct blazei_cursor *cursor;        /* reader: where we publish it; NULL: a later lane of
	                                      * the slot has it */
	bool gone;                           /* its name is gone from the directory */
	bool listed;                         /* seen by the scan that runs */
	bool adopted;                        /* reader: position and cursor are set */
	bool ignored;                        /* known to be dead, or a later lane has its slot */
};

struct blazei_roster {
	struct blazei_peer_entry **peers;
	unsigned count;
	unsigned capacity;
	unsigned gone;  /* peers of that kind */
	uint32_t epoch; /* of control, when last scanned */
	bool with_lanes;
	bool scanned;
};

/* Reads the directory: maps segments that are new, marks those whose names are gone. Returns the
 * number of new peers, or -ENOMEM, -EMFILE...; segments that are invalid are skipped and counted in
 * *ret_bad, those that went away between listing and opening in *ret_missed. */
int blazei_roster_scan(struct blaze_ring *ring, struct blazei_roster *roster, unsigned *ret_bad,
                       unsigned *ret_missed);
void blazei_roster_remove(struct blazei_roster *roster, unsigned index);
void blazei_roster_clear(struct blazei_roster *roster);

/* reap.c ------------------------------------------------------------------------------------ */

#define BLAZEI_GRAVES_MAX 64

/* Lanes that were found dead, and when. */
struct blazei_reaper {
	struct {
		uint64_t generation;
		uint64_t found_ns;
	} graves[BLAZEI_GRAVES_MAX];
	unsigned count;
};

/* Unlinks the lanes of dead owners that no live reader needs any more; those that a reader has not
 * come to only once they were found dead 1 s ago. Returns the number that remain for later. */
int blazei_reap(struct blaze_ring *ring, struct blazei_reaper *reaper);
/* Unlinks our own lane where nobody needs it: we are about to leave. */
void blazei_reap_own(struct blaze_ring *ring);

/* the two sides ----------------------------------------------------------------------------- */

struct blazei_writer {
	struct blazei_segment_flow *flow; /* ours */
	uint8_t *lane;                    /* NULL: read-only */
	uint64_t mask;
	uint64_t lane_bytes;
	uint64_t generation;
	uint64_t tail;      /* what flow->tail holds */
	uint64_t end;       /* of what is reserved, where anything is */
	uint64_t intent;    /* what flow->intent holds */
	uint64_t limit;     /* write up to here without looking at cursors */
	uint64_t probed_ns; /* nonblocking: when the reader that holds us back was probed */
	unsigned reserved;  /* records */
	uint64_t reserved_bytes;
	struct blazei_roster roster;
	_Atomic uint64_t records, bytes, stalls, stall_ns, overwrites, wakes;
};

struct blazei_reader {
	bool started;
	struct blazei_roster roster;
	unsigned next;     /* lane to start at, for fairness */
	uint32_t removed;  /* of control, when last scanned */
	bool unknown_lap;  /* to be reported by the next poll */
	unsigned bad_seen; /* invalid segments in the last scan */
	bool bad_news;     /* there are more of them: to be reported by the next poll */
	unsigned empty_polls;
	unsigned trickle; /* how much records come one by one of late */
	uint64_t lull;    /* ticks from one look to the next, at least */
	uint64_t look;    /* when the last one was, where lull is not 0 */
	uint64_t reap_ns; /* when last */
	uint64_t spin_now_ns;
	uint8_t *chunk; /* BLAZEI_CHUNK_BYTES, grown in address space to the largest record */
	uint64_t chunk_bytes;
	struct blaze_ring_record *batch; /* BLAZEI_BATCH_MAX */
	unsigned batch_max;              /* that are used of it */
	uint64_t batch_bytes;            /* payload in it */
	uint64_t batch_generation;       /* whose id the first batch_filled entries hold */
	unsigned batch_filled;
	struct blazei_reaper reaper;
	_Atomic uint64_t records, bytes, laps, lap_bytes, bad_lanes, sleeps;
};

struct blaze_ring {
	uint32_t fork_generation;
	bool fence_needed; /* publish needs a full fence: membarrier is not to be had */
	uint32_t flags;
	uint32_t mode;
	uint64_t stall_budget_ns;
	uint64_t spin_ns;
	struct blazei_control *control; /* slot.control */
	struct blazei_writer writer;
	struct blazei_reader reader;
	struct blazei_dir dir;
	struct blazei_slot slot;
	struct blazei_probe probe;
	struct blazei_mapping own;
	struct blaze_id publisher;
	uint8_t ring_id[16];
	uint32_t participants_max;
	char name[BLAZE_RING_NAME_MAX + 1];
	struct blaze_ring *next, *prev; /* all handles of this process, under the attach lock */
};

/* The options of attach, with what only links ask for. */
struct blazei_ring_plan {
	struct blaze_ring_options options;
	uint64_t board_bytes;
	unsigned batch_max; /* 1 to BLAZEI_BATCH_MAX; 0: BLAZEI_BATCH_FAST */
};
int blazei_ring_attach(const char *name, const struct blazei_ring_plan *plan,
                       struct blaze_ring **ret_ring);

/* 0, or -ECHILD, or -EINVAL for NULL. */
static inline int blazei_ring_check(const struct blaze_ring *ring)
{
	if (blazei_unlikely(!ring))
		return -EINVAL;
	if (blazei_unlikely(blazei_forked_since(ring->fork_generation)))
		return -ECHILD;
	return 0;
}

/* adopt.c: become a reader, look for new lanes if the epoch moved; whether there is anything to
 * hand over (reader side). */
int blazei_reader_start(struct blaze_ring *ring);
int blazei_reader_refresh(struct blaze_ring *ring);
/* Unmaps lanes whose owners and names are gone and that are read to the end. */
void blazei_reader_drop_drained(struct blazei_reader *reader);
bool blazei_reader_ready(const struct blaze_ring *ring);

/* wake.c: wake whoever sleeps; called after every change of tail. */
void blazei_wake_all(struct blaze_ring *ring);
/* Registers this process for expedited barriers; false: publish needs full fences. */
bool blazei_membarrier_register(void);
/* Reaps if the last time is long ago. */
void blazei_reap_sometimes(struct blaze_ring *ring);
/* Announces sleep. 1: something is there; 0: sleep on *ret_word. */
int blazei_sleep_prepare(struct blaze_ring *ring, uint32_t **ret_word, uint32_t *ret_expected,
                         uint64_t *ret_timeout_ns);

static inline void blazei_publish_wake(struct blaze_ring *ring)
{
	/* Pairs with blazei_sleep_prepare: our tail must be visible before we look for sleepers.
	 * The sleeper's membarrier makes a compiler barrier enough here where this process is
	 * registered for it. */
	if (blazei_unlikely(ring->fence_needed))
		atomic_thread_fence(memory_order_seq_cst);
	else
		atomic_signal_fence(memory_order_seq_cst);
	/* Relaxed: a sleeper that set its bit later looks at our tail itself. Our own reading side,
	 * which may sleep in another thread, has nothing to read in our lane. */
	if (blazei_unlikely(atomic_load_explicit(&ring->control->sleepers, memory_order_relaxed) &
	                    ~(UINT64_C(1) << ring->slot.index)))
		blazei_wake_all(ring);
}

/* Adds to a counter that only this thread writes. */
static inline void blazei_count(_Atomic uint64_t *counter, uint64_t n)
{
	/* Relaxed: one writer, and readers want no order with anything else. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
	                      memory_order_relaxed);
}

#endif
