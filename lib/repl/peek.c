/* SPDX-License-Identifier: Apache-2.0 */
/* Reads without the lock; see peek.h.
 *
 * WHY    Nearly all of the time goes to two cache misses, the index's and the row's. The CPU takes
 *        up the reads that follow meanwhile, as long as it guesses branches right. So no branch
 *        depends on what came late: the slot is chosen among four without one, and the copy is as
 *        long as the block, of which the slot tells, not as the row says. Either doubled the rate.
 *
 * Loads of what may be changing are volatile, a word or two at a time, in functions that the thread
 * sanitizer leaves out: it would report the races that the versions are there to detect. */
#include "lib/repl/peek.h"

#define PEEK_TRIES 16u
#define GUESSES    4u
#define RACING     __attribute__((no_sanitize("thread")))
#define ROW_BIG    (-ENOBUFS) /* of no further use than to tell it from -EAGAIN */
#define STALE      (-EAGAIN)

typedef uint64_t word __attribute__((may_alias));
typedef uint64_t vector __attribute__((vector_size(16), aligned(8), may_alias));

#define VECTORS_PER_LINE (BLAZEI_CACHE_LINE / sizeof(vector))

static_assert(VECTORS_PER_LINE == 4, "block_copy");
static_assert(offsetof(struct blazei_row, id) == 0, "compared as two words");

/* The versions as first seen. */
struct look {
	uint64_t table;
	uint64_t stripe;
};

RACING static inline uint64_t word_load(const void *from)
{
	return *(const volatile word *)from;
}

/* Whether nothing has changed since; all that was read before this is what it was then. */
static inline bool look_holds(const struct blazei_table *table, const struct look *look,
                              const _Atomic uint64_t *stripe)
{
	/* Pairs with the fences in blazei_table_shut and blazei_table_write: whoever read something
	 * that was written behind one of these sees its version odd, or a later one. */
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&table->version, memory_order_relaxed) == look->table &&
	       atomic_load_explicit(stripe, memory_order_relaxed) == look->stripe;
}

/* Copies the row's whole block, which is a line or so more than what the row uses. */
RACING static inline void block_copy(const void *row, size_t lines, struct blazei_row *ret_row)
{
	const volatile vector *from = row;
	vector *to = (vector *)ret_row;

	for (size_t i = 0; i < lines; i++) {
		to[0] = from[0];
		to[1] = from[1];
		to[2] = from[2];
		to[3] = from[3];
		from += VECTORS_PER_LINE;
		to += VECTORS_PER_LINE;
	}
}

RACING static inline bool row_has(const void *row, const uint64_t wanted[2])
{
	const word *id = row;

	return ((word_load(&id[0]) ^ wanted[0]) | (word_load(&id[1]) ^ wanted[1])) == 0;
}

/* The first of the slots where the id is most likely that has the hash's fingerprint, or 0. Without
 * a branch that depends on what is in them. */
RACING static inline uint64_t slot_guess(const uint64_t *slots, uint64_t mask, uint64_t hash)
{
	uint64_t slot = 0;

	for (unsigned i = GUESSES; i-- > 0;) {
		uint64_t other = word_load(&slots[(hash + i) & mask]);

		slot = (other ^ hash) >> 48 == 0 ? other : slot;
	}
	return slot;
}

/* The slot of the id, or 0; found by walking its run. */
RACING static uint64_t slot_seek(const uint64_t *slots, uint64_t mask, uint64_t hash,
                                 const uint64_t wanted[2])
{
	for (uint64_t i = 0; i <= mask; i++) {
		uint64_t slot = word_load(&slots[(hash + i) & mask]);

		if (slot == 0)
			break;
		if ((slot ^ hash) >> 48 != 0)
			continue;
		/* Pairs with the fence in slot_put: the row has its head. */
		atomic_thread_fence(memory_order_acquire);
		if (blazei_slot_lines(slot) == 0 || row_has(blazei_slot_row(slot), wanted))
			return slot;
	}
	return 0;
}

/* Looks the id up and copies its row: 0, -ENOENT or ROW_BIG, each of them only true if the look
 * holds afterwards. The index and its mask belong together. */
RACING static int row_seek(const uint64_t *slots, uint64_t mask, uint64_t hash,
                           const struct blaze_id *id, struct blazei_row *ret_row)
{
	uint64_t slot = slot_guess(slots, mask, hash);
	uint64_t wanted[2];

	memcpy(wanted, id->bytes, sizeof(wanted));
	/* As in slot_seek. */
	atomic_thread_fence(memory_order_acquire);
	if (blazei_unlikely(blazei_slot_lines(slot) == 0 ||
	                    !row_has(blazei_slot_row(slot), wanted)))
		slot = slot_seek(slots, mask, hash, wanted);
	if (slot == 0)
		return -ENOENT;
	if (blazei_slot_lines(slot) == 0)
		return ROW_BIG;
	block_copy(blazei_slot_row(slot), blazei_slot_lines(slot), ret_row);
	return 0;
}

RACING static int row_try(const struct blazei_table *table, const struct blaze_id *id,
                          uint64_t hash, struct blazei_row *ret_row)
{
	const _Atomic uint64_t *stripe = &table->stripes[blazei_table_stripe(hash)];
	struct look look;
	const uint64_t *slots;
	uint64_t mask;
	int rc;

	/* Acquire: pair with blazei_table_open and blazei_table_written. */
	look.table = atomic_load_explicit(&table->version, memory_order_acquire);
	look.stripe = atomic_load_explicit(stripe, memory_order_acquire);
	if ((look.table | look.stripe) & 1)
		return STALE;
	slots = (const uint64_t *)(uintptr_t)word_load(&table->slots);
	mask = word_load(&table->mask);
	/* A mask may not be followed into an index that it does not belong to. */
	if (!look_holds(table, &look, stripe))
		return STALE;
	rc = row_seek(slots, mask, hash, id, ret_row);
	return look_holds(table, &look, stripe) ? rc : STALE;
}

int blazei_peek_row(const struct blazei_table *table, const struct blaze_id *id, uint64_t hash,
                    struct blazei_row *ret_row)
{
	for (unsigned i = 0; i < PEEK_TRIES; i++) {
		int rc = row_try(table, id, hash, ret_row);

		if (rc == ROW_BIG)
			return -EAGAIN;
		if (rc != STALE)
			return rc;
		blazei_cpu_relax();
	}
	return -EAGAIN;
}

RACING int blazei_peek_number(const struct blazei_table *table, const uint64_t *number,
                              uint64_t *ret_number)
{
	for (unsigned i = 0; i < PEEK_TRIES; i++) {
		/* As in row_try. */
		uint64_t version = atomic_load_explicit(&table->version, memory_order_acquire);
		uint64_t value = word_load(number);

		atomic_thread_fence(memory_order_acquire);
		if (!(version & 1) &&
		    atomic_load_explicit(&table->version, memory_order_relaxed) == version) {
			*ret_number = value;
			return 0;
		}
		blazei_cpu_relax();
	}
	return -EAGAIN;
}
