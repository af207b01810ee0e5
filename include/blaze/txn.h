/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions: several writes that become visible together, here and on every node; see
 * blaze_txn(3).
 *
 * A transaction reads its own writes; nobody else sees them before the commit. Of each record it
 * works with what stood there when it first touched it, to read or to write. What others wrote
 * since, on other nodes or in other threads, it had not seen: commit does not fail for that, but
 * merges as two nodes' writes do, and counts conflicts.
 *
 * Threads: a transaction is used by one thread at a time. Any number of them may be under way, and
 * single calls beside them. Every call but abort: -EINVAL for NULL; -ECHILD after fork. Nothing
 * here makes a system call but commit, as writes do. */
#ifndef BLAZE_TXN_H
#define BLAZE_TXN_H

#include <stddef.h>
#include <stdint.h>

#include <blaze/base.h>
#include <blaze/db.h>
#include <blaze/record.h>

#ifdef __cplusplus
extern "C" {
#endif

struct blaze_txn;

/* Begins a transaction, which commit or abort frees; db cannot be closed before. -ENOMEM;
 * -EDEADLK inside a visitor of db. */
BLAZE_EXPORT int blaze_txn_begin(struct blaze_db *db, struct blaze_txn **ret_txn);

/* As the calls of a database, blaze_db_insert and so on, on what the transaction reads: with their
 * errors, but allowed in a visitor. A call that fails leaves the transaction as it was. All of
 * them also: -EMSGSIZE the transaction would be longer than 16 MiB, or take more than 256 MiB of
 * memory with what it has read; what was staged before can be committed. */
BLAZE_EXPORT int blaze_txn_insert(struct blaze_txn *txn, const struct blaze_record *record,
                                  struct blaze_id *ret_id);
BLAZE_EXPORT int blaze_txn_insert_with_id(struct blaze_txn *txn, const struct blaze_id *id,
                                          const struct blaze_record *record);
BLAZE_EXPORT int blaze_txn_update(struct blaze_txn *txn, const struct blaze_id *id,
                                  const struct blaze_record *patch);
BLAZE_EXPORT int blaze_txn_upsert(struct blaze_txn *txn, const struct blaze_id *id,
                                  const struct blaze_record *record);
BLAZE_EXPORT int blaze_txn_delete(struct blaze_txn *txn, const struct blaze_id *id);
BLAZE_EXPORT int blaze_txn_put(struct blaze_txn *txn, const struct blaze_id *id, const void *value,
                               size_t len);
BLAZE_EXPORT int blaze_txn_get(struct blaze_txn *txn, const struct blaze_id *id,
                               struct blaze_record **ret_record);
BLAZE_EXPORT int blaze_txn_fetch(struct blaze_txn *txn, const struct blaze_id *id, void *ret_value,
                                 size_t cap);

/* Commits: all of it is visible, or, where this fails, nothing; returns as writes do. Frees the
 * transaction whatever it returns. One that changes nothing is no transaction. -EMSGSIZE it is
 * longer than 16 MiB with what it depends on; -ENOMEM; -EDEADLK inside a visitor of the
 * database. */
BLAZE_EXPORT int blaze_txn_commit(struct blaze_txn *txn);

/* Forgets all of it, and frees it; NULL is allowed. */
BLAZE_EXPORT void blaze_txn_abort(struct blaze_txn *txn);

#ifdef __cplusplus
}
#endif

#endif
