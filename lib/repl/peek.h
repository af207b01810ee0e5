/* SPDX-License-Identifier: Apache-2.0 */
/* Peeking: records read without the replica's lock, beside whoever writes under it.
 *
 * WHY    A reader that takes the lock waits for the writer, and its locked instruction keeps the
 *        CPU from overlapping the cache misses of one read with those of the next: it cost three
 *        quarters of the reads. So a peek only loads: versions, the row, the versions again. Where
 *        these are even and the same, nothing that it read had changed in between; where not, the
 *        copy is thrown away and it tries anew, at most PEEK_TRIES times: then the caller takes the
 *        lock as everyone else does. Writers never wait for readers nor know of them.
 *        (Rejected: announcements by readers and deferred freeing, as it costs each read a store
 *        and a barrier on either side, and needs no less validation; one version for all, as it
 *        changes with every write, and most reads would meet one.)
 *
 * VERSIONS  Two kinds, odd while things change. A stripe's: while registers of a row change, the
 *        row's id hashing to that stripe. The table's: while a row moves or goes, the index is
 *        replaced, or more than one row is to change at once.
 *
 * INVARIANTS (table.h, whoever changes rows, keeps I1 to I4)
 *   I1   Registers of a row change only while its stripe or the table is odd.
 *   I2   An address in the index is replaced or removed, and the index itself replaced, only while
 *        the table is odd. So, between two looks at an even, unchanged table, no block that the
 *        index names is given back, let alone used again. A row may be added without it: it appears
 *        with one store, after its head.
 *   I3   The rows of a transaction, state or snapshot change with the table odd, unless it is one
 *        row. So who has read one of them as new finds the table's version even and newer, and
 *        reads every other one as new (P4).
 *   I4   Whatever a reader may still look at stays mapped as long as the table: blocks up to 4,032
 *        bytes lie in the slab's chunks; an index or list of names that was outgrown is kept, an
 *        index without its memory. Longer rows go back to malloc when they move: the index marks
 *        them, and a peek never follows such an address but leaves the row to the lock.
 *   I5   What is read before the versions are seen the same is untrusted: an address comes in one
 *        load with the size of its block, which never changes (slab.h), nothing is followed from
 *        within a row, and the copy is bounded by that size.
 *
 * CONCURRENCY  Writers: one, under the lock. Readers: any number, wait-free but for what they do
 *        after -EAGAIN. Pairs: a writer's release of an even version with a reader's acquire; a
 *        writer's release fence behind the odd version with a reader's acquire fence before its
 *        second look. Names: read after validation, so any that the copy has was published before.
 *
 * FAILURE  A write that fails makes its version even again: nothing changed that can be seen. */
#ifndef BLAZEI_PEEK_H
#define BLAZEI_PEEK_H

#include "lib/repl/table.h"

/* A copy of a row, which the reader has to itself. */
union blazei_peeked {
	struct blazei_row row;
	_Alignas(BLAZEI_CACHE_LINE) uint8_t bytes[BLAZEI_SLAB_BYTES_MAX];
};

/* Copies the row of an id with that hash to memory that has room for BLAZEI_SLAB_BYTES_MAX bytes,
 * of which any may be written. 0; -ENOENT: there was none; -EAGAIN: read it under the lock. */
int blazei_peek_row(const struct blazei_table *table, const struct blaze_id *id, uint64_t hash,
                    struct blazei_row *ret_row);

/* Copies a number that changes only with rows. 0 or -EAGAIN. */
int blazei_peek_number(const struct blazei_table *table, const uint64_t *number,
                       uint64_t *ret_number);

#endif
