/* SPDX-License-Identifier: Apache-2.0 */
/* Records in memory: a hash index over their ids, and one block of memory per record.
 *
 * WHY    Applying a write is a lookup by a random 128-bit id, so it costs cache misses and little
 *        else. The index holds pointers with a 16-bit fingerprint of the hash in their upper bits:
 *        one miss finds the record, one or two more read it, and a batch prefetches both. The
 *        fields lie in the record's block itself, each with its stamp, in the order in which they
 *        first came. (Rejected: a table of fields of its own, one more miss per update; a pointer
 *        per field, 16 bytes and a miss more.)
 *
 * LAYOUT A row is one cache line and its entries, each 40 bytes, the value, and padding to 8,
 * rounded up to lines. With one number that is two lines; index and list add 18 to 32 bytes.
 *
 * INVARIANTS
 *   I1   A row keeps its number, and stays, until `shape` changes; its address changes only in
 *        blazei_table_room and blazei_table_trim. Numbers are 0 to row_count - 1, without a gap.
 *   I2   Entries keep their order, and are removed only with a change of `shape`: until then an
 *        entry's ordinal names it for good.
 *   I3   At most one entry has a given (name, life).
 *   I4   The index is at most three quarters full, so a probe ends. Its hash is keyed with a secret
 *        seed: chosen ids cannot be made to share a probe run.
 *   I5   A call that fails with -ENOMEM or NULL changes nothing that can be seen.
 *   I6   A slot holds, in one word, the row's address, a fingerprint, and how many cache lines the
 *        row's block has; 0 lines: it is not of the slab's chunks and may be freed (peek.h, I5).
 *
 * CONCURRENCY The caller holds the replica's lock. Others may read without it, beside: peek.h says
 *        how, and what whoever changes a row has to keep to. */
#ifndef BLAZEI_TABLE_H
#define BLAZEI_TABLE_H

#include "lib/base/base.h"
#include "lib/op/hash.h"
#include "lib/op/stamp.h"
#include "lib/repl/slab.h"

#define BLAZEI_ENTRY_UNSET    0x8000u /* the field was removed */
#define BLAZEI_ENTRY_MARKED   0x4000u /* while a snapshot is installed: it has this */
#define BLAZEI_ENTRY_SLACK    0x3fffu /* unused room behind the value's padding, in 8 bytes */
#define BLAZEI_ENTRY_SLACK_OK 8u      /* more than this, and more than the value, is given back */

/* One field of one life. */
struct blazei_entry {
	uint64_t priority;
	uint64_t hlc;
	uint64_t seq;
	uint16_t origin;
	uint16_t flags;
	uint32_t name;
	uint32_t life;
	uint32_t value_len;
	uint8_t value[];
};

#define BLAZEI_ROW_EXISTS 1u /* the existence register holds something */
#define BLAZEI_ROW_ALIVE  2u /* and that is alive */
#define BLAZEI_ROW_MARKED 4u /* while a snapshot is installed: it has the existence */

struct blazei_row {
	struct blaze_id id;
	/* The existence register. */
	uint64_t priority;
	uint64_t hlc;
	uint64_t seq;
	uint16_t origin;
	uint16_t flags;
	uint32_t life;
	uint32_t number; /* its place in the table's list */
	uint32_t used;   /* bytes of entries */
	uint32_t cap;    /* the block has this much beside the row itself */
	uint32_t entry_count;
	uint8_t entries[];
};

static_assert(sizeof(struct blazei_entry) == 40, "memory per field");
static_assert(sizeof(struct blazei_row) == 64, "one cache line");

#define BLAZEI_STRIPES      1024u
#define BLAZEI_OUTGROWN_MAX 48u

struct blazei_table {
	/* What readers without the lock need, and what rarely changes. */
	_Alignas(BLAZEI_CACHE_LINE) uint64_t *slots; /* see I6; 0 is free */
	uint64_t mask;
	uint64_t seed;
	_Atomic uint64_t version; /* odd while rows move or several change */
	unsigned shut;            /* how many times over it is odd */

	_Alignas(BLAZEI_CACHE_LINE) struct blazei_row **rows; /* by number */
	uint32_t row_count;
	uint32_t row_max;
	uint64_t shape; /* grows when entries or rows go: ordinals noted before mean nothing */
	struct blazei_slab slab;                 /* holds the rows */
	uint64_t *outgrown[BLAZEI_OUTGROWN_MAX]; /* former indices, see peek.h, I4 */
	unsigned outgrown_count;
	_Atomic uint64_t stripes[BLAZEI_STRIPES]; /* odd while a row of these changes */
};

/* 0 or -ENOMEM; to be ended either way. */
int blazei_table_init(struct blazei_table *table, uint64_t seed);
void blazei_table_fini(struct blazei_table *table);

/* Bytes of memory held. */
uint64_t blazei_table_memory(const struct blazei_table *table);

/* Adds a row for an id that has none, with room for `room` bytes of entries. NULL: no memory. */
struct blazei_row *blazei_table_add(struct blazei_table *table, const struct blaze_id *id,
                                    uint64_t hash, size_t room);

/* Makes room for `room` more bytes of entries; returns the row, which may have moved. */
struct blazei_row *blazei_table_room(struct blazei_table *table, struct blazei_row *row,
                                     uint64_t hash, size_t room);

/* Gives back what the row's block has beyond its entries, where that is worth it; returns the row,
 * which may have moved. */
struct blazei_row *blazei_table_trim(struct blazei_table *table, struct blazei_row *row);

/* Gives the row `from` the number `to`, whose row is being removed or has gone. */
void blazei_table_renumber(struct blazei_table *table, uint32_t from, uint32_t to);

/* Takes a row out of the index and frees it. Its number was given away, or is the last one. */
void blazei_table_remove(struct blazei_table *table, struct blazei_row *row);

/* Appends an entry with room for value_len bytes, which the caller fills in with the stamp; the
 * row has the room. */
struct blazei_entry *blazei_row_append(struct blazei_row *row, uint32_t name, uint32_t life,
                                       uint32_t value_len);

/* Gives an entry a value of another padded size; the row has the room that this takes. */
void blazei_row_resize(struct blazei_row *row, struct blazei_entry *entry, uint32_t value_len);

static inline uint64_t blazei_table_hash(const struct blazei_table *table,
                                         const struct blaze_id *id)
{
	return XXH3_64bits_withSeed(id->bytes, sizeof(id->bytes), table->seed);
}

#define BLAZEI_SLOT_FINGERPRINT (~((UINT64_C(1) << 48) - 1))
#define BLAZEI_SLOT_LINES       (BLAZEI_CACHE_LINE - 1)
#define BLAZEI_SLOT_ADDRESS     (~(BLAZEI_SLOT_FINGERPRINT | BLAZEI_SLOT_LINES))

static inline size_t blazei_slot_lines(uint64_t slot)
{
	return slot & BLAZEI_SLOT_LINES;
}

static inline struct blazei_row *blazei_slot_row(uint64_t slot)
{
	return (struct blazei_row *)(uintptr_t)(slot & BLAZEI_SLOT_ADDRESS);
}

static inline struct blazei_row *blazei_table_find(const struct blazei_table *table,
                                                   const struct blaze_id *id, uint64_t hash)
{
	for (uint64_t i = hash & table->mask;; i = (i + 1) & table->mask) {
		uint64_t slot = table->slots[i];

		if (slot == 0)
			return NULL;
		if ((slot ^ hash) >> 48 == 0) {
			/* Its entries are wanted next. */
			__builtin_prefetch(blazei_slot_row(slot)->entries);
			if (blazei_id_equal(&blazei_slot_row(slot)->id, id))
				return blazei_slot_row(slot);
		}
	}
}

/* Versions: around whatever changes rows, see peek.h. Under the lock. ----------------------- */

static inline unsigned blazei_table_stripe(uint64_t hash)
{
	return (unsigned)(hash >> 32) % BLAZEI_STRIPES;
}

/* The row with this hash is about to change, and has changed. */
static inline void blazei_table_write(struct blazei_table *table, uint64_t hash)
{
	_Atomic uint64_t *stripe = &table->stripes[blazei_table_stripe(hash)];
	/* Relaxed: it changes under the lock only. */
	uint64_t version = atomic_load_explicit(stripe, memory_order_relaxed);

	atomic_store_explicit(stripe, version + 1, memory_order_relaxed);
	/* Odd before anything that follows; pairs with look_holds. */
	atomic_thread_fence(memory_order_release);
}

static inline void blazei_table_written(struct blazei_table *table, uint64_t hash)
{
	_Atomic uint64_t *stripe = &table->stripes[blazei_table_stripe(hash)];
	uint64_t version = atomic_load_explicit(stripe, memory_order_relaxed);

	/* Release: even after all that was changed; pairs with row_try. */
	atomic_store_explicit(stripe, version + 1, memory_order_release);
}

/* Rows move, or several change as one, until as many calls of open. */
static inline void blazei_table_shut(struct blazei_table *table)
{
	/* Relaxed: it changes under the lock only. */
	uint64_t version = atomic_load_explicit(&table->version, memory_order_relaxed);

	if (table->shut++ > 0)
		return;
	atomic_store_explicit(&table->version, version + 1, memory_order_relaxed);
	/* Odd before anything that follows; pairs with look_holds. */
	atomic_thread_fence(memory_order_release);
}

static inline void blazei_table_open(struct blazei_table *table)
{
	uint64_t version = atomic_load_explicit(&table->version, memory_order_relaxed);

	/* Release: even after all that was changed; pairs with row_try. */
	if (--table->shut == 0)
		atomic_store_explicit(&table->version, version + 1, memory_order_release);
}

/* First step of a batch: fetches the place in the index. */
static inline void blazei_table_prefetch(const struct blazei_table *table, uint64_t hash)
{
	__builtin_prefetch(&table->slots[hash & table->mask]);
}

/* Second step: fetches what is most likely the row. Always inlined: to GCC 12 a function that does
 * nothing but prefetch has no effect, and it drops the calls. */
static inline __attribute__((always_inline)) void blazei_table_prefetch_row(
        const struct blazei_table *table, uint64_t hash)
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t slot = table->slots[(hash + i) & table->mask];

		if (slot == 0)
			return;
		if ((slot ^ hash) >> 48 == 0) {
			const char *row = (const char *)blazei_slot_row(slot);

			__builtin_prefetch(row);
			__builtin_prefetch(row + 64);
			return;
		}
	}
}

/* Entries ------------------------------------------------------------------------------------ */

static inline uint32_t blazei_padded(uint32_t value_len)
{
	return (value_len + 7u) & ~7u;
}

/* Bytes that the entry has for its value. */
static inline uint32_t blazei_entry_room(const struct blazei_entry *entry)
{
	return blazei_padded(entry->value_len) + (entry->flags & BLAZEI_ENTRY_SLACK) * 8u;
}

static inline struct blazei_entry *blazei_row_first(const struct blazei_row *row)
{
	return (struct blazei_entry *)(uintptr_t)row->entries;
}

/* Only for the ordinals below entry_count. */
static inline struct blazei_entry *blazei_entry_next(const struct blazei_entry *entry)
{
	return (struct blazei_entry *)((uintptr_t)entry->value + blazei_entry_room(entry));
}

/* The field's entry, or NULL. */
static inline struct blazei_entry *blazei_row_find(const struct blazei_row *row, uint32_t name,
                                                   uint32_t life)
{
	struct blazei_entry *entry = blazei_row_first(row);

	for (uint32_t i = 0; i < row->entry_count; i++) {
		if (entry->name == name && entry->life == life)
			return entry;
		entry = blazei_entry_next(entry);
	}
	return NULL;
}

static inline bool blazei_row_alive(const struct blazei_row *row)
{
	return row->flags & BLAZEI_ROW_ALIVE;
}

/* Whether a reader sees this entry, given that the row is alive. */
static inline bool blazei_entry_visible(const struct blazei_row *row,
                                        const struct blazei_entry *entry)
{
	return entry->life == row->life && !(entry->flags & BLAZEI_ENTRY_UNSET);
}

/* Field names, interned: one number per name, for as long as the database lives. ------------- */

struct blazei_name {
	uint8_t len;
	char text[];
};

struct blazei_names {
	struct blazei_name **_Atomic names; /* by number; 0 is the empty name */
	uint32_t *slots;                    /* number + 1; 0 is free */
	uint32_t mask;
	uint32_t count;
	uint32_t max;
	uint32_t recent; /* the last one found */
	uint64_t seed;
	uint64_t bytes;
	struct blazei_name **outgrown[BLAZEI_OUTGROWN_MAX]; /* former lists, see peek.h, I4 */
	unsigned outgrown_count;
};

#define BLAZEI_NAME_NONE UINT32_MAX

/* 0 or -ENOMEM; to be ended either way. */
int blazei_names_init(struct blazei_names *names, uint64_t seed);
void blazei_names_fini(struct blazei_names *names);

/* The number of a name, or BLAZEI_NAME_NONE. */
uint32_t blazei_names_find(struct blazei_names *names, const void *text, size_t len);

/* The same, but a new name gets a number; BLAZEI_NAME_NONE: no memory. */
uint32_t blazei_names_intern(struct blazei_names *names, const void *text, size_t len);

#endif
