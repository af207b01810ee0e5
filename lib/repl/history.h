/* SPDX-License-Identifier: Apache-2.0 */
/* The history: the transactions merged last, as they were encoded, for those who missed them.
 *
 * WHY    Who was away for a moment lacks a few transactions of many: they are sent as they are, in
 *        the order in which they were merged here, which is a causal one. The history is bounded
 *        and lies in parts. Each part notes the version vector as it stood when the part began; so
 *        the parts from there on hold exactly what came after that vector, whether they reach back
 *        far enough is a comparison of vectors, and an append is a copy and nothing else. The
 *        oldest part goes whole. An append fetches the lines that the sixth one after it will
 *        write: 6 ns per update instead of 13. (Rejected: one circular block, which must note per
 *        origin at each eviction what it lost, and has seams.)
 *
 * LAYOUT Parts of a sixteenth of the budget, allocated as they are needed. A longer transaction has
 *        a part of its own; one beyond the budget empties the history. A position is the number of
 *        bytes that were ever appended before it.
 *
 * INVARIANTS
 *   I1   From the first part's base on, everything that moved the vector stands here, once, in
 *        order: what raises the vector otherwise must clear the history.
 *   I2   The blocks of the parts take at most the budget.
 *   I3   A position below the oldest one kept is told as overrun, never read.
 *
 * FAILURE Without memory for a part the history starts afresh after the transaction: merging never
 *         fails by it. */
#ifndef BLAZEI_HISTORY_H
#define BLAZEI_HISTORY_H

#include "lib/op/txn.h"

#define BLAZEI_HISTORY_BYTES_DEFAULT (UINT64_C(4) << 20)
#define BLAZEI_HISTORY_BYTES_MAX     (UINT64_C(16) << 30) /* a part is to be had from malloc */
#define BLAZEI_HISTORY_PARTS_MAX     17u
#define BLAZEI_HISTORY_AHEAD         768u /* bytes ahead of an append that are fetched */
#define BLAZEI_HISTORY_LONG          384u /* of more than this, as many as the append has */
#define BLAZEI_HISTORY_LONG_AHEAD    4096u

struct blazei_vector;

struct blazei_history_part {
	uint64_t start; /* position of its first byte */
	uint64_t cap;
	uint8_t *data;
	uint64_t *base; /* seq by origin index when it began; 0 for origins beyond base_count */
	unsigned base_count;
};

struct blazei_history {
	uint8_t *at;   /* where the next one goes */
	uint64_t left; /* bytes there */
	uint64_t head; /* position of the next one */
	uint64_t budget;
	uint64_t bytes; /* of all blocks */
	unsigned first; /* of the parts, a ring */
	unsigned count;
	struct blazei_history_part parts[BLAZEI_HISTORY_PARTS_MAX];
};

/* budget 0: nothing is kept. Beyond BLAZEI_HISTORY_BYTES_MAX: that. */
void blazei_history_init(struct blazei_history *history, uint64_t budget);
void blazei_history_fini(struct blazei_history *history);
/* Bytes of memory held. */
uint64_t blazei_history_memory(const struct blazei_history *history);

/* Forgets everything: the vector has moved, or will, by other means than transactions. */
void blazei_history_clear(struct blazei_history *history);

/* The origin at that index is over: whoever reads has all of it, and another takes the index. */
void blazei_history_leave(struct blazei_history *history, unsigned index);

/* The rare half of append: takes a new part. */
void blazei_history_append_slow(struct blazei_history *history, const struct blazei_vector *vector,
                                const struct blazei_txn_header *header);

/* Keeps a transaction that is merged; the vector does not tell of it yet. */
static inline void blazei_history_append(struct blazei_history *history,
                                         const struct blazei_vector *vector,
                                         const struct blazei_txn_header *header)
{
	uint32_t bytes = header->bytes;

	if (blazei_unlikely(bytes > history->left)) {
		blazei_history_append_slow(history, vector, header);
		return;
	}
	for (unsigned i = 0; i < 3; i++)
		__builtin_prefetch((const void *)((uintptr_t)history->at + BLAZEI_HISTORY_AHEAD +
		                                  i * BLAZEI_CACHE_LINE),
		                   1);
	memcpy(history->at, header, bytes);
	history->at += bytes;
	/* A long one is likely followed by another: the lines that it will take. */
	if (bytes > BLAZEI_HISTORY_LONG)
		for (uint32_t i = 0; i < bytes && i < BLAZEI_HISTORY_LONG_AHEAD;
		     i += BLAZEI_CACHE_LINE)
			__builtin_prefetch((const void *)((uintptr_t)history->at + i), 1);
	history->left -= bytes;
	history->head += bytes;
}

/* Whether what is kept, or nothing, makes up for all that a vector lacks; it is given by origin
 * index, for all origins. Then *ret_position is where to read on. */
bool blazei_history_reach(const struct blazei_history *history, const struct blazei_vector *vector,
                          const uint64_t *known, uint64_t *ret_position);

/* The transaction at *position, which moves behind it: 0; -ENOENT at the head; -ESTALE it was
 * overrun. The position came from reach or head, or boundary accepted it. The transaction is valid
 * until the next append. */
int blazei_history_read(const struct blazei_history *history, uint64_t *position,
                        const struct blazei_txn_header **ret_header);

/* Whether a position from outside is that of a transaction or the head. */
bool blazei_history_boundary(const struct blazei_history *history, uint64_t position);

#endif
