/* SPDX-License-Identifier: Apache-2.0 */
/* The log: entries, mostly transactions, in the order of merging, made durable in groups.
 *
 * WHY    The log is the database: what a store holds is what replaying it gives. A sync takes as
 *        long for one transaction as for a thousand, so those who wait for one together share it:
 *        one of them, the leader, writes what all have handed in and syncs; meanwhile the next
 *        group gathers. So no thread of its own is needed, and one committer alone pays for no
 *        switch between threads. (Rejected: a delay to gather more, which costs the single
 *        committer and gains nothing, as the sync itself is the delay.)
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
 *   I2   A transaction is acknowledged when the sync that covers it has succeeded.
 *   I3   A failed write or sync is not repeated in place: its group goes, once, to a new segment,
 *        behind a root that records where the old one ended. If that fails the log is read-only.
 *   I4   Recovery gives an unbroken run of LSNs from 1, which holds all that was acknowledged, or
 *        fails and changes nothing.
 *
 * CONCURRENCY  Any thread appends and waits; `lock` guards the fields marked so; backend, root and
 *        the flight are the leader's.
 *
 * FAILURE  A crash leaves segments that the root does not name, which are never read and whose
 *        numbers are passed over; an open last segment with a torn end, which recovery cuts. */
#ifndef BLAZEI_STORE_LOG_H
#define BLAZEI_STORE_LOG_H

#include <pthread.h>

#include <blaze/store.h>

#include "lib/op/buffer.h"
#include "lib/store/frame.h"
#include "lib/store/root.h"

struct blazei_store {
	const struct blaze_store_ops *ops;
	void *backend;
	char *location;
	struct blaze_store_geometry geometry;
	struct blazei_root *root; /* with room for all segments */
	uint64_t root_version;
	uint64_t segment_end; /* of the open one: what was appended and synced */
	bool segment_open;    /* made by this open, and not ended */
	bool recovered;
	uint64_t written;            /* LSN up to which the leader has synced */
	struct blazei_buffer flight; /* what the leader writes */
	struct blazei_buffer frames; /* and as frames */
	uint64_t cuts;               /* torn ends cut by recovery */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* lock: */
	struct blazei_buffer pending;
	uint64_t in_flight; /* bytes that a leader is writing */
	uint64_t last;      /* LSN of the last one appended */
	uint64_t durable;   /* acknowledged up to here */
	bool leading;
	int failed; /* why the log is read-only; 0 */
};

/* Opens, and makes the store where there is none, with this policy; BLAZE_POLICY_DEFAULT: whichever
 * it has. Nothing is read but the root: recover comes next. -EINVAL: it has another policy; -EBUSY,
 * -EBADMSG, -EPROTO, -ENOMEM and errors of the system. */
int blazei_store_open(const struct blaze_store_ops *ops, const char *location, uint32_t policy,
                      struct blazei_store **ret_store);
/* Writes what is pending, ends the open segment, and frees. The first error. */
int blazei_store_close(struct blazei_store *store);

/* Gets a checked entry (lib/op/unit.h), 8-byte aligned; an error ends the recovery, which returns
 * it. */
typedef int (*blazei_store_visitor)(void *arg, const void *entry, size_t len);

/* Gives all entries that the store holds, once, before the first append. The node goes on
 * under this incarnation, which is durable before the first transaction is. -EBADMSG: corrupt. */
int blazei_store_recover(struct blazei_store *store, uint64_t incarnation,
                         blazei_store_visitor visitor, void *arg);

/* Takes an entry; its LSN. Does not wait. -EROFS read-only; -ENOMEM: now it is. */
int blazei_store_append(struct blazei_store *store, const void *entry, size_t len,
                        uint64_t *ret_lsn);
/* Waits until all up to lsn is durable. -EROFS: it is not known to be, and the log is read-only. */
int blazei_store_wait(struct blazei_store *store, uint64_t lsn);
/* The same for all that was appended. */
int blazei_store_sync(struct blazei_store *store);
bool blazei_store_failed(struct blazei_store *store);
/* Up to which LSN all is durable, and how many bytes are not yet. Does not wait. */
uint64_t blazei_store_durable(struct blazei_store *store, uint64_t *ret_unsynced_bytes);
/* The role that the root has; and a new one, durable on return. -EROFS and errors of the backend:
 * the log is read-only. */
uint32_t blazei_store_role(const struct blazei_store *store);
int blazei_store_role_set(struct blazei_store *store, uint32_t role);

/* Of the leader and of recovery: replaces the root by what stands in memory. */
int blazei_store_root_swap(struct blazei_store *store);

#endif
