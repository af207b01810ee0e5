/* SPDX-License-Identifier: Apache-2.0 */
/* A transaction in the making: what it has seen, and what it will write.
 *
 * WHY    A transaction takes time, and meanwhile others write. So the first time that it touches a
 *        record, to read or to write, it copies what a reader sees of it, with the stamps. From
 *        then on it decides and reads against this copy and its own writes alone: E and the value
 *        named as seen are those of the first touch, reads repeat, and what came in between is a
 *        concurrent write, which merging settles like any other. Therefore a commit cannot fail
 *        because of others. (Rejected: to validate at commit and fail. On a replica a write of
 *        another node may arrive a moment before the commit or after it; only the first would
 *        fail.)
 *
 * STATES of a record: as at first touch (alive in its life, or dead), then
 *            alive in the first life -> dead -> alive in the next life -> dead -> ...
 *        The next life is the same one however often this happens, and what was written to it is
 *        forgotten with a delete: nobody else ever sees it. Writes to the first life stay: should a
 *        server keep the record alive in it, they hold.
 *
 * INVARIANTS
 *   I1   Each register has at most one op: its final value. One that a plain update brought back to
 *        what it was at first touch has none.
 *   I2   The existence of a record is written at most once, as it is in the end: not at all where
 *        a record that was not there is not there again.
 *   I3   A write that fails leaves the transaction as it was, but for the first touch.
 *   I4   What is staged takes at most BLAZEI_WRITESET_BYTES_MAX of memory, and is never longer than
 *        a transaction may be, as far as can be told before its commit.
 *   I5   A stamp in a copy means the origin that its index had at the touch, whatever name the
 *        replica has at the commit.
 *
 * CONCURRENCY A write set belongs to one thread. Who calls holds the replica's lock, or had the
 *        record peeked (peek.h): what is asked of the replica beside are names, which stay,
 *        whether it is a server, and how often stamps were given other indices. */
#ifndef BLAZEI_WRITESET_H
#define BLAZEI_WRITESET_H

#include "lib/repl/replica.h"

#define BLAZEI_WRITESET_BYTES_MAX (UINT64_C(256) << 20)

struct blazei_writeset;

int blazei_writeset_new(struct blazei_writeset **ret_writeset);
void blazei_writeset_free(struct blazei_writeset *writeset);
/* Forgets everything, and keeps a little memory for the next transaction. */
void blazei_writeset_clear(struct blazei_writeset *writeset);

/* Touches a record without the lock, where it is alive and not too much happens just then. False:
 * take the lock for what follows; true: reads and writes of this record do without. */
bool blazei_writeset_peek(struct blazei_replica *replica, struct blazei_writeset *writeset,
                          const struct blaze_id *id);

/* Stages one write: the errors of blazei_replica_write, and -EMSGSIZE the transaction would be
 * longer than 16 MiB, or take too much memory. */
int blazei_writeset_write(struct blazei_replica *replica, struct blazei_writeset *writeset,
                          const struct blazei_write *write);

/* As blazei_replica_get and _fetch, with the staged writes; also -EMSGSIZE. */
int blazei_writeset_get(struct blazei_replica *replica, struct blazei_writeset *writeset,
                        const struct blaze_id *id, struct blaze_record **ret_record);
int blazei_writeset_fetch(struct blazei_replica *replica, struct blazei_writeset *writeset,
                          const struct blaze_id *id, void *ret_value, size_t cap);

/* Commits what is staged as one transaction at realtime now_ns; the caller clears or frees the
 * write set. *ret_txn as in blazei_replica_write. -EMSGSIZE; -ENOMEM; both leave the replica as it
 * was. */
int blazei_replica_commit(struct blazei_replica *replica, uint64_t now_ns,
                          struct blazei_writeset *writeset, struct blazei_txn_view *ret_txn);

#endif
