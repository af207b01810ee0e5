/* SPDX-License-Identifier: Apache-2.0 */
/* The replica core: records with stamps, local writes, merging of what others wrote. Pure code:
 * no I/O, no clock of its own, no threads, no locks; the caller holds one lock around each call
 * and passes the time in.
 *
 * CONTRACT (design section 4): every register (field) carries K = (E, H, origin, seq) and merge is
 * max; existence is a register of its own with a life counter; fields belong to a life and are
 * hidden, never dropped, by a delete or a new life. Transactions are encoded once, by
 * blazei_replica_write, and the same bytes are merged by blazei_replica_receive everywhere. */
#ifndef BLAZEI_REPLICA_H
#define BLAZEI_REPLICA_H

#include <blaze/db.h>
#include <blaze/record.h>

#include "lib/base/base.h"
#include "lib/op/buffer.h"
#include "lib/op/stamp.h" /* struct blazei_origin */

struct blazei_replica;

/* One entry of a version vector: all transactions 1..seq of origin. */
struct blazei_vector_entry {
	struct blazei_origin origin;
	uint64_t seq;
};

/* The same with what a store keeps of it. */
struct blazei_vector_detail {
	struct blazei_vector_entry entry;
	uint64_t chain; /* of number seq; 0: not known */
	uint64_t hlc;   /* likewise */
};

struct blazei_replica_options {
	struct blazei_origin self;
	enum blaze_policy policy; /* not DEFAULT */
	uint64_t hash_seed;       /* secret and random, so that no peer can aim ids at one place of
	                           * the index; any value will do in tests */
	uint64_t hlc_floor;   /* the high water that a store kept: nothing is written at or below
	                           * it; for a new incarnation the present, where that is more */
	unsigned origins_max; /* that it knows at one time; 0: as many as there may be */
	bool looks; /* it writes nothing and hears of nobody, and so knows one more than that */
	uint64_t history_bytes; /* of transactions kept for those who missed them; 0: none */
};

int blazei_replica_new(const struct blazei_replica_options *options,
                       struct blazei_replica **ret_replica);
void blazei_replica_free(struct blazei_replica *replica);

/* From now on local writes have the server's priority, or not. */
void blazei_replica_set_server(struct blazei_replica *replica, bool server);

/* Local writes ------------------------------------------------------------------------------ */

enum blazei_write_kind {
	BLAZEI_WRITE_INSERT, /* -EEXIST where it is alive */
	BLAZEI_WRITE_UPDATE, /* -ENOENT where it is not */
	BLAZEI_WRITE_UPSERT,
	BLAZEI_WRITE_DELETE, /* -ENOENT where it is not */
	BLAZEI_WRITE_PUT,    /* upserts the one field with the empty name, as bytes */
};

struct blazei_write {
	enum blazei_write_kind kind;
	const struct blaze_id *id;
	const struct blaze_record *record; /* NULL for delete and put */
	const void *value;                 /* of a put */
	size_t len;
};

/* A transaction's bytes. */
struct blazei_txn_view {
	const void *data; /* 8-byte aligned, private memory (copied out of the medium) */
	size_t len;
};

/* Commits one write as a transaction of its own at realtime now_ns and encodes it. *ret_txn points
 * into the replica, valid until its next call; its len is 0 where nothing changed (an update to
 * values that the record has). Errors leave the replica as it was: -EEXIST, -ENOENT, -EINVAL (an
 * unset mark outside an update), -E2BIG (the record would pass a limit), -ENOMEM. */
int blazei_replica_write(struct blazei_replica *replica, uint64_t now_ns,
                         const struct blazei_write *write, struct blazei_txn_view *ret_txn);
/* Takes the bytes that the last commit made, which stay where they are, in exchange for a buffer
 * that later ones may use. */
void blazei_replica_txn_take(struct blazei_replica *replica, struct blazei_buffer *buffer);

/* What others wrote ------------------------------------------------------------------------- */

/* Merges transactions in the order given: each is validated, then applied, dropped as a duplicate,
 * or parked (copied) until what it depends on has come; parked ones that become ready are applied
 * too. Invalid ones are counted and skipped, and so is what comes of an origin under whose name two
 * histories were seen: it is quarantined (halt.c). Transactions more than two minutes ahead of
 * now_ns wait until the time has come. Returns the number of transactions applied; -ENOMEM (the
 * rest of the batch was not looked at). A queue of parked transactions that passes its bound is
 * dropped: what is missing then shows in the vectors and comes by catch-up. */
int blazei_replica_receive(struct blazei_replica *replica, uint64_t now_ns,
                           const struct blazei_txn_view *txns, unsigned count);

/* Back from a store (restart.c) ----------------------------------------------------------------
 *
 * A new replica first gets a vector by restore, then the registers as of then (state.c), then the
 * log of what was merged after that by replay; each may be left out. */

/* Takes a vector, the own origin's entry among it. 0, -ENOMEM, -E2BIG too many origins. */
int blazei_replica_restore(struct blazei_replica *replica,
                           const struct blazei_vector_detail *details, unsigned count);
/* As receive, for what was merged or written here before: own transactions too, whatever the clock.
 * They are not counted as applied. */
int blazei_replica_replay(struct blazei_replica *replica, const struct blazei_txn_view *txns,
                          unsigned count);
/* What a store keeps: an entry of the vector, and the highest H written or seen. */
void blazei_replica_vector_detail(const struct blazei_replica *replica, unsigned index,
                                  struct blazei_vector_detail *ret_detail);
uint64_t blazei_replica_hlc(const struct blazei_replica *replica);

/* Up to which seq of an entry the store of this replica holds it for good: what its owner says. */
uint64_t blazei_replica_durable(const struct blazei_replica *replica, unsigned index);
/* Of an origin, likewise; 0 for one never heard of; UINT64_MAX for one that is retired here
 * (mark.h, M1), where hlc, the H of what is asked for, is under the mark. hlc 0: not known, so it
 * is not. */
uint64_t blazei_replica_durable_seq(const struct blazei_replica *replica,
                                    const struct blazei_origin *origin, uint64_t hlc);
/* The origin's entry is durable up to seq. Its index; -ENOENT: it is not known, or was before. */
int blazei_replica_durable_raise(struct blazei_replica *replica,
                                 const struct blazei_vector_entry *entry);

/* Whether something came under the own origin that was not written here (event ORIGIN_DISPLACED).
 * What is written on is refused by whoever holds the other: renew before the next write. */
bool blazei_replica_displaced(const struct blazei_replica *replica);
/* Goes on under another origin, never used before; what was written stays under the old one, whose
 * index changes from 0 to another. Takes time in proportion to the records. 0; -EEXIST the origin
 * is known; -ENOMEM, -E2BIG. */
int blazei_replica_renew(struct blazei_replica *replica, uint64_t now_ns,
                         const struct blazei_origin *self);

/* Version vectors --------------------------------------------------------------------------- */

/* The vector's entries are numbered 0 (self) to count - 1 and never move, but by renew and
 * where some are retired (mark.h): a place that is nobody's then has a zero origin and seq 0. */
unsigned blazei_replica_vector_count(const struct blazei_replica *replica);
void blazei_replica_vector_entry(const struct blazei_replica *replica, unsigned index,
                                 struct blazei_vector_entry *ret_entry);
/* The seq up to which this replica holds an origin's transactions; 0 for one never heard of. */
uint64_t blazei_replica_vector_seq(const struct blazei_replica *replica,
                                   const struct blazei_origin *origin);
/* The same, but UINT64_MAX for a quarantined origin: nothing more of it is wanted; and, by H as for
 * durable_seq, for one that is retired. */
uint64_t blazei_replica_vector_covered(const struct blazei_replica *replica,
                                       const struct blazei_origin *origin, uint64_t hlc);

/* Reads without the lock: any thread, beside whatever the one that holds it is doing, but free.
 * As get, fetch and count; -EAGAIN: take the lock and use these (peek.h). */
int blazei_replica_peek_get(const struct blazei_replica *replica, const struct blaze_id *id,
                            struct blaze_record **ret_record);
int blazei_replica_peek_fetch(const struct blazei_replica *replica, const struct blaze_id *id,
                              void *ret_value, size_t cap);
int blazei_replica_peek_count(const struct blazei_replica *replica, uint64_t *ret_count);

/* Reads ------------------------------------------------------------------------------------- */

int blazei_replica_get(const struct blazei_replica *replica, const struct blaze_id *id,
                       struct blaze_record **ret_record);
/* As blaze_db_fetch. */
int blazei_replica_fetch(const struct blazei_replica *replica, const struct blaze_id *id,
                         void *ret_value, size_t cap);
uint64_t blazei_replica_count(const struct blazei_replica *replica);
/* The first visible id at or after *from (NULL: of all) in id order, in *ret_id. 0 or -ENOENT;
 * -ENOMEM. Amortised: sorts the ids when their set has changed. */
int blazei_replica_next_id(struct blazei_replica *replica, const struct blaze_id *from,
                           struct blaze_id *ret_id);
int blazei_replica_hash(struct blazei_replica *replica, uint8_t ret_digest[16]);
/* The same over every register with its life and stamp, hidden ones too (for tests). */
int blazei_replica_hash_stamps(struct blazei_replica *replica, uint8_t ret_digest[16]);

/* Adds this replica's part to the public counters: origins, records, writes, applied,
 * applied_updates, conflicts, duplicates, parked, refused, quarantined, stalled, memory_bytes. */
void blazei_replica_stats(const struct blazei_replica *replica, struct blaze_db_stats *stats);

#endif
