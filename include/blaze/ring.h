/* SPDX-License-Identifier: Apache-2.0 */
/* The ring: named lanes in POSIX shared memory, one per participant; see blaze_ring_attach(3).
 *
 * A ring has up to 64 participants. Each publishes into a lane of its own that only it can write,
 * and reads the lanes of all others. Records of one publisher arrive in order and at most once;
 * there is no order between publishers. A participant does not receive what it published itself.
 *
 * Threads: one thread may publish (publish, publishv, reserve, commit, abort) while one other
 * polls (poll, wait); two threads on the same side need the caller's lock. blaze_ring_stats may
 * be called beside both. A handle does not survive fork: in the child every call returns -ECHILD,
 * and only blaze_ring_detach does something (it frees the child's copy). */
#ifndef BLAZE_RING_H
#define BLAZE_RING_H

#include <stdint.h>
#include <sys/uio.h>

#include <blaze/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct blaze_ring;

/* flags */
#define BLAZE_RING_NO_CREATE (1u << 0) /* -ENOENT where the ring does not exist */
#define BLAZE_RING_READ_ONLY (1u << 1) /* never publishes: -EROFS; its lane takes no memory */
#define BLAZE_RING_NONBLOCK  (1u << 2) /* a full lane is -EAGAIN at once; nothing is overwritten */

/* As stall_budget_ns: never wait for a reader, overwrite at once. */
#define BLAZE_NO_STALL (UINT64_MAX - 1)

#define BLAZE_RING_PARTICIPANTS_MAX 64u
#define BLAZE_RING_NAME_MAX         64u

struct blaze_ring_options {
	uint32_t struct_size;
	uint32_t flags;
	uint32_t participants_max; /* 1 to 64, default 64; fixed by the creator */
	uint32_t mode;             /* permission bits, default 0600. 0660: a group ring, in the
	                            * directory of the caller's effective group. Others: -EINVAL */
	uint64_t lane_bytes;       /* of this participant's lane: a power of two from 64 KiB to
	                            * 1 GiB, default 4 MiB */
	uint64_t stall_budget_ns;  /* how long a publish into a full lane waits for the slowest live
	                            * reader before it overwrites; default 1 ms; BLAZE_NO_STALL:
	                            * never; BLAZE_FOREVER: lossless, waits as long as it lives */
	uint64_t spin_ns;          /* blaze_ring_wait spins at most this long before it sleeps;
	                            * default 20 us; 1: sleep at once */
};
#define BLAZE_RING_OPTIONS_INIT                                                                    \
	{                                                                                          \
		sizeof(struct blaze_ring_options), 0, 0, 0, 0, 0, 0                                \
	}

struct blaze_ring_record {         /* valid until the handler returns */
	const void *data;          /* 8-byte aligned; NULL: a lap, len bytes of this publisher
	                            * were lost (UINT64_MAX where the number is not known) */
	size_t len;                /* bytes; may be 0 */
	struct blaze_id publisher; /* drawn anew at every attach */
	uint64_t position;         /* of the record in its publisher's lane, bytes since attach */
};

/* Gets 1 to 64 records of one publisher, in order. Negative: the poll stops, returns that value,
 * and the whole batch stays unconsumed. May publish on this ring; may not poll it or detach. */
typedef int (*blaze_ring_handler)(void *arg, const struct blaze_ring_record *records,
                                  unsigned count);

struct blaze_ring_stats {
	uint32_t struct_size;
	uint32_t participants;     /* live ones, this one included */
	uint32_t slot;             /* of this participant, 0 to participants_max - 1 */
	uint32_t unlinked;         /* 1: the name is gone or leads to another ring */
	struct blaze_id ring;      /* the ring's own id */
	struct blaze_id publisher; /* this participant's id in its records */
	uint64_t lane_bytes;
	uint64_t published_records; /* all counters: since this handle's attach */
	uint64_t published_bytes;   /* payload */
	uint64_t received_records;
	uint64_t received_bytes;
	uint64_t laps;      /* times this reader was overtaken by a publisher */
	uint64_t lap_bytes; /* bytes known to be lost by that */
	uint64_t bad_lanes; /* times a lane held something invalid and was skipped */
	uint64_t stalls;    /* publishes that found the lane full and waited */
	uint64_t stall_ns;
	uint64_t overwrites; /* times a reader was given up on after the stall budget */
	uint64_t sleeps;     /* times wait slept in the kernel */
	uint64_t wakes;      /* futex wakes sent */
};
#define BLAZE_RING_STATS_INIT                                                                      \
	{                                                                                          \
		sizeof(struct blaze_ring_stats), 0, 0, 0, { { 0 } }, { { 0 } }, 0, 0, 0, 0, 0, 0,  \
		        0, 0, 0, 0, 0, 0, 0                                                        \
	}

/* Attaches to the ring NAME ([A-Za-z0-9._-]{1,64}, no leading dot), creating it if need be.
 * Blocks for file system calls only. The caller owns *ret_ring and detaches it. Errors: -EINVAL
 * name or options; -E2BIG options of a newer library; -ENOENT with NO_CREATE; -EACCES the segments
 * belong to another user or have other permissions; -EPROTO another ABI version or byte order;
 * -EBADMSG the control segment is damaged; -EUSERS every slot is taken; -ENOSPC /dev/shm is full;
 * -ENOMEM, -EMFILE, -ENFILE; -EAGAIN the ring was removed under us again and again. */
BLAZE_EXPORT int blaze_ring_attach(const char *name, const struct blaze_ring_options *options,
                                   struct blaze_ring **ret_ring);

/* Leaves the ring and frees the handle; NULL is ignored. What was published stays readable by
 * those attached. The last to leave removes the ring. Must not race with other calls. */
BLAZE_EXPORT void blaze_ring_detach(struct blaze_ring *ring);

/* Removes the caller's private ring NAME (mode 0600), in use or not; its participants keep what
 * they have mapped and get -EIDRM, those who attach afterwards make a new ring. -ENOENT: none;
 * -EACCES: what has the name belongs to another user or is no ring; -EINVAL: the name. */
BLAZE_EXPORT int blaze_ring_unlink(const char *name);

/* Publishes one record of len bytes, 0 to lane_bytes / 4 - 8. No system call where the lane has
 * room and no reader sleeps. Returns 0; -EMSGSIZE too long, nothing published; -EAGAIN full, with
 * BLAZE_RING_NONBLOCK; -EROFS a read-only participant; -EIDRM the ring was unlinked; -EBUSY
 * records are reserved; -ECHILD after fork. */
BLAZE_EXPORT int blaze_ring_publish(struct blaze_ring *ring, const void *data, size_t len);

/* Publishes count records (1 to 1024) as one publication: readers see all of them or none yet.
 * Together with 8 bytes each, rounded up to 8, they must fit lane_bytes / 4. Returns as publish;
 * -EINVAL for count. */
BLAZE_EXPORT int blaze_ring_publishv(struct blaze_ring *ring, const struct iovec *records,
                                     unsigned count);

/* Reserves len bytes in the lane, to be filled in place; may be repeated, and the records are
 * published together by commit. *ret_data is 8-byte aligned and valid until commit, abort or
 * detach. Limits and errors as publishv. */
BLAZE_EXPORT int blaze_ring_reserve(struct blaze_ring *ring, size_t len, void **ret_data);

/* Publishes all that is reserved. Returns 0; -EINVAL nothing is reserved; -ECHILD; -EIDRM (the
 * reservation is dropped). */
BLAZE_EXPORT int blaze_ring_commit(struct blaze_ring *ring);

/* Forgets all that is reserved. */
BLAZE_EXPORT void blaze_ring_abort(struct blaze_ring *ring);

/* Hands up to limit records (0: as many as are there now) to handler. The first poll or wait makes
 * the participant a reader: it starts at the end of the lanes that exist, and at the beginning of
 * lanes that come later. Never blocks; while records trickle in it looks more rarely, pausing for
 * at most some microseconds first. Returns the number of records, 0 for none; -ESTALE: at
 * least one publisher overtook this reader, which the handler was told by a record with data NULL
 * (everything else that was handed over is consumed); -EBADMSG: a lane held something invalid and
 * is skipped to its end, once for each time; the handler's own negative result; -EIDRM: the ring
 * was unlinked and nothing is left to read; -EINVAL; -ECHILD. */
BLAZE_EXPORT int blaze_ring_poll(struct blaze_ring *ring, blaze_ring_handler handler, void *arg,
                                 unsigned limit);

/* Waits until poll has something to do: spins up to spin_ns, then sleeps. Returns 0; -ETIMEDOUT
 * after timeout_ns; -EIDRM; -ECHILD; -EINTR when a signal handler ran. */
BLAZE_EXPORT int blaze_ring_wait(struct blaze_ring *ring, uint64_t timeout_ns);

/* Fills *ret_stats up to its struct_size. Returns 0, -EINVAL or -ECHILD. */
BLAZE_EXPORT int blaze_ring_stats(struct blaze_ring *ring, struct blaze_ring_stats *ret_stats);

#ifdef __cplusplus
}
#endif

#endif
