/* SPDX-License-Identifier: Apache-2.0 */
/* The log: entries, mostly transactions, in the order of merging, made durable in groups.
 *
 * WHY    The log is the database: what a store holds is what replaying it gives. A sync takes as
 *        long for one transaction as for a thousand, so those who wait for one together share it:
 *        one of them, the leader, writes what all have handed in and syncs; meanwhile the next
 *        group gathers. So sync durability needs no thread of its own, and one committer alone pays
 *        for no switch between threads. (Rejected: a delay to gather more, which costs the single
 *        committer and gains nothing, as the sync itself is the delay.) Where nobody waits, a
 *        thread is the leader (flush.c).
 *
 *        What was handed in waits for its leader in one of two places. With async durability, in
 *        the tail (tail.h), so that the death of the process loses nothing, and the commit makes no
 *        system call. Else, and where the tail has no room, in `pending`: memory that dies with the
 *        process, so that whoever is to be sure of it has to wait for the disk. A sync has no use
 *        for the tail: nothing is acknowledged before it is on the disk, so the copy would protect
 *        nothing.
 *
 * STATES of a segment
 *   absent -> made      the backend made it; its name is durable
 *   made -> open        the root names it, without an end
 *   open -> ended       the root records its end: it is full, or its store is closed, or a write
 *                       to it failed, or recovery found where it ends
 *
 * INVARIANTS
 *   I1   Nothing is appended to a segment that this open did not make, and nothing is written twice
 *        to one place of a segment.
 *   I2   A transaction is acknowledged when it is in the tail and all before it are there or
 *        durable; or when the sync that covers it has succeeded; or at once, with durability none.
 *   I3   A failed write or sync is not repeated in place: its group goes, once, to a new segment,
 *        behind a root that records where the old one ended. If that fails the log is read-only,
 *        and the tail stays as it is for the next opening.
 *   I4   Recovery gives an unbroken run of LSNs from 1, or from the checkpoint that the root names,
 *        which leads to all that was acknowledged, or fails, or counts a cut.
 *   I5   What is not durable is a run in the tail followed by a run in `pending`, either of which
 *        may be empty. While there is anything in `pending` nothing goes to the tail.
 *   I6   Before anything is appended the root names incarnation, durability and tail of this
 *        opening.
 *
 * CONCURRENCY  Any thread appends and waits; `lock` guards the fields marked so; backend, root and
 *        the flight are the leader's. Who claims that place has it before the next flight leaves,
 *        as one who commits in a loop would always be there first. `lock` may be taken with a lock
 *        of the caller's held, so none of these is taken under it, and `on_failed` is called
 *        without it.
 *
 * FAILURE  A crash leaves segments that the root does not name, which are empty and which the next
 *        opening deletes (strays.c); an open last segment with a torn end, which recovery cuts; a
 *        tail, whose run recovery puts behind the last frame. In a forked child neither tail nor
 *        thread exist, and nothing of it may be used. */
#ifndef BLAZEI_STORE_LOG_H
#define BLAZEI_STORE_LOG_H

#include <pthread.h>

#include <blaze/store.h>

#include "lib/op/buffer.h"
#include "lib/store/pack.h"
#include "lib/store/root.h"
#include "lib/store/tail.h"

struct blazei_store_options {
	uint32_t policy;              /* DEFAULT: whichever it has */
	uint32_t durability;          /* enum blaze_durability, not DEFAULT */
	uint64_t sync_interval_ns;    /* async: what a power loss may take; 0: the default */
	bool look;                    /* what is there is read, and nothing changed */
	uint64_t tail_bytes;          /* a power of two; 0: the default */
	const char *tail_dir;         /* on tmpfs; NULL: the directory of the rings */
	const struct blaze_id *boot;  /* NULL: what the system says */
	void (*on_failed)(void *arg); /* it has become read-only; any thread, without a lock */
	void *arg;
};

struct blazei_store {
	const struct blaze_store_ops *ops;
	void *backend;
	char *location;
	uint64_t home; /* blazei_home_number */
	struct blaze_store_geometry geometry;
	struct blazei_root *root; /* with room for all segments */
	uint64_t *firsts;         /* LSN from which on each of these has the log */
	uint64_t ended_bytes;     /* of those that have an end */
	uint64_t root_version;
	uint64_t segment_end; /* of the open one: what was appended and synced */
	bool segment_open;    /* made by this open, and not ended */
	bool scanned;         /* all segments were read: what recovery finds now is the tail's */
	bool recovered;
	uint64_t resume_under; /* at the close: an incarnation, or 0 */
	bool resumes; /* it is as it was closed: the node may go on under the root's incarnation */
	bool look;
	bool torn;        /* the last segment had something behind its last frame */
	bool lost;        /* the end of the log was lost before this opening, or may have been */
	bool cut;         /* and this opening counted it */
	uint64_t written; /* LSN up to which the leader has synced */
	struct blazei_buffer flight; /* what the leader writes */
	struct blazei_buffer chunk;  /* of the tail, likewise */
	struct blazei_buffer frames; /* and as frames */
	struct blazei_packer packer;

	/* of this opening; they stay as they are */
	uint32_t durability; /* what is kept: ASYNC only with a tail */
	uint64_t sync_interval_ns;
	uint64_t tail_bytes;
	char *tail_dir;
	struct blaze_id boot;
	struct blazei_tail_name tail_name;
	void (*on_failed)(void *arg);
	void *arg;
	bool flusher_there;
	pthread_t flusher;

	/* Bits of BLAZEI_GATE_; changed under the lock. */
	_Alignas(BLAZEI_CACHE_LINE) _Atomic uint32_t gate;
	_Atomic uint64_t kept; /* LSN up to which all is, as the durability asks for; likewise */

	_Alignas(BLAZEI_CACHE_LINE) pthread_mutex_t lock;
	pthread_cond_t changed; /* something became durable, or the log failed */
	pthread_cond_t work;    /* for the flusher */
	/* lock: */
	struct blazei_tail tail;
	struct blazei_buffer pending;
	uint64_t room;        /* of the medium, as of the last flight; 0: there was none */
	uint64_t bytes;       /* of the log */
	uint64_t state_bytes; /* of frames of records that were read from its start, or written */
	uint32_t segments;    /* that it is in */
	uint64_t last;        /* LSN of the last one appended */
	_Atomic uint64_t untailed; /* of the last one that went to pending */
	uint64_t durable;          /* acknowledged up to here */
	uint64_t since_ns; /* when the first one that no leader has taken yet came; 0: none did */
	uint64_t flight_since_ns; /* the same of the flight */
	uint64_t flight_end;      /* position in the tail up to which it, or the last one, took */
	uint64_t flight_pending;  /* bytes of it that had been pending */
	bool leading;
	unsigned claims; /* wait for the leader's place: no flight leaves before them */
	bool stopping;
	bool untold;            /* on_failed is due */
	uint32_t flusher_waits; /* 0; BLAZEI_FLUSHER_ */
	int failed;             /* why the log is read-only; 0 */
};

#define BLAZEI_GATE_TIGHT  1u /* there may not be room for one more */
#define BLAZEI_GATE_FAILED 2u

#define BLAZEI_FLUSHER_IDLE 1u /* until there is something */
#define BLAZEI_FLUSHER_TIME 2u /* until it is time, or there is much */

#define BLAZEI_SYNC_INTERVAL_NS (50 * BLAZEI_NS_PER_MS)

struct blazei_store_stats {
	uint64_t last;    /* LSN */
	uint64_t durable; /* LSN */
	uint64_t unsynced_ns;
	uint64_t unsynced_bytes;
	uint64_t cuts;
};

/* Opens, and makes the store where there is none. Nothing is read but the root: recover comes
 * next. -EINVAL: it has another policy; -EBUSY, -EBADMSG, -EPROTO, -ENOMEM and errors of the
 * system. */
int blazei_store_open(const struct blaze_store_ops *ops, const char *location,
                      const struct blazei_store_options *options, struct blazei_store **ret_store);
/* The node may go on under this incarnation, if the store is closed now; 0: under none. */
void blazei_store_resume_under(struct blazei_store *store, uint64_t incarnation);
/* Writes what is pending, ends the open segment, and frees. The first error. */
int blazei_store_close(struct blazei_store *store);

/* Gets a checked entry (lib/op/unit.h), 8-byte aligned; an error ends the recovery, which returns
 * it. */
typedef int (*blazei_store_visitor)(void *arg, const void *entry, size_t len);

/* Gives all entries that the store holds, once, before the first append. The node goes on
 * under this incarnation, which is durable on return. -EBADMSG: corrupt; -ENOSPC also: there is
 * no room for a tail; -ESTALE, to who only looks: what was read is not there any more, or was
 * written meanwhile, so that all is to be read anew, by another opening. */
int blazei_store_recover(struct blazei_store *store, uint64_t incarnation,
                         blazei_store_visitor visitor, void *arg);

/* Whether there is room for a write, which is waited for up to a second: call it before anything is
 * done that can't be undone, and without a lock that the flusher or on_failed needs. -EAGAIN: no
 * room; -EROFS. No system call where there is room. */
int blazei_store_await_room(struct blazei_store *store);
/* Takes an entry; its LSN. Does not wait, whatever the room. -EROFS read-only; -ENOMEM: now it
 * is. */
int blazei_store_append(struct blazei_store *store, const void *entry, size_t len,
                        uint64_t *ret_lsn);
/* Waits until it may be said that all up to lsn, which the caller appended, is kept, as the
 * durability asks for. -EROFS: it is not known to be, and the log is read-only. */
int blazei_store_acknowledge(struct blazei_store *store, uint64_t lsn);
/* Waits until all up to lsn is durable. -EROFS as acknowledge. */
int blazei_store_wait(struct blazei_store *store, uint64_t lsn);
/* The same, but leaves it to the flusher when that is, where there is one. */
int blazei_store_await(struct blazei_store *store, uint64_t lsn);
/* Waits as blazei_store_wait for all that was appended. */
int blazei_store_sync(struct blazei_store *store);
/* Bytes that its medium has room for, now, or, while there is a leader, as of its last flight;
 * UINT64_MAX where that is not known. */
uint64_t blazei_store_room(struct blazei_store *store);
/* What is written from here on goes to a new segment. -EROFS. */
int blazei_store_rotate(struct blazei_store *store);
/* drop.c: has the log begin with that checkpoint, whose end is durable: what was before it goes.
 * -EROFS as sync; -ENOMEM. An error of the backend: the log is read-only. */
int blazei_store_drop_before(struct blazei_store *store, uint64_t lsn);
bool blazei_store_failed(struct blazei_store *store);
/* What the log takes, as far as it is durable. Any thread. */
void blazei_store_size(struct blazei_store *store, uint64_t *ret_bytes, uint32_t *ret_segments);
/* What frames of records as they stand took, of those that were read from where the log begins on,
 * and of those that were written since. Any thread. */
uint64_t blazei_store_state_bytes(struct blazei_store *store);
/* Up to which LSN all is durable, and how many bytes are not yet. Does not wait. */
uint64_t blazei_store_durable(struct blazei_store *store, uint64_t *ret_unsynced_bytes);
/* The role that the root has; and a new one, durable on return. -EROFS and errors of the backend:
 * the log is read-only. */
uint32_t blazei_store_role(const struct blazei_store *store);
int blazei_store_role_set(struct blazei_store *store, uint32_t role);
/* Up to which LSN all is kept as the durability asks for: what others may see. Takes no lock. */
uint64_t blazei_store_kept(const struct blazei_store *store);
void blazei_store_stats(struct blazei_store *store, struct blazei_store_stats *ret_stats);
/* Calls on_failed if that is due: after an append has failed, without a lock. */
void blazei_store_tell(struct blazei_store *store);

/* recover.c: copies the tail, and then, who only looks, has the root as it is after that. So where
 * somebody writes meanwhile all that was kept before the call is in the segments of that root, as
 * long as these are read later, or in the copy. *ret_image stays empty where there is no such tail.
 * -ESTALE: the root changed all the time; -EBADMSG: it is older than the log, which salvage only
 * tells of; errors of the backend. */
int blazei_store_settle(struct blazei_store *store, bool salvage,
                        struct blazei_tail_image *ret_image);
/* open.c: with all read, has the root name this opening. */
int blazei_store_begin(struct blazei_store *store, uint64_t incarnation);
/* Of log.c and flush.c. Gate and call with the lock held, and lead, which lets go of it. */
void blazei_store_lead(struct blazei_store *store);
/* Whoever is to use backend or root beside the leader: waits until there is none, and is it then;
 * -EROFS. Then gives that back; with an error the log is read-only, which is to be told. */
int blazei_store_claim(struct blazei_store *store);
void blazei_store_release(struct blazei_store *store, int error);
int blazei_store_end(struct blazei_store *store);
void blazei_store_flusher_call(struct blazei_store *store);
uint64_t blazei_store_unsynced(const struct blazei_store *store);
void blazei_store_gate_set(struct blazei_store *store);
int blazei_store_flusher_start(struct blazei_store *store);
void blazei_store_flusher_stop(struct blazei_store *store);

/* Of the leader and of recovery: replaces the root by what stands in memory. */
int blazei_store_root_swap(struct blazei_store *store);

#endif
