/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for records: blocks in multiples of a cache line, from large chunks.
 *
 * WHY    A record with one number takes two cache lines and no more, because blocks start on a
 *        line and carry no header; malloc's would straddle three. Chunks lie on huge pages where
 *        the kernel gives them, so that a random record rarely costs a page walk as well.
 *
 * INVARIANTS
 *   I1   A block's size follows from the bytes asked for (blazei_slab_size), so the caller, who
 *        knows those, frees it without the slab having to note it.
 *   I2   Blocks above 4,032 bytes, 63 lines, come from malloc; the others return to a free list of
 *        their size, and to the system with the slab.
 *   I3   Where a block of a chunk begins, one of the same size begins for ever (peek.h, I5). */
#ifndef BLAZEI_SLAB_H
#define BLAZEI_SLAB_H

#include "lib/base/base.h"

#define BLAZEI_SLAB_CLASSES   63u
#define BLAZEI_SLAB_BYTES_MAX (BLAZEI_SLAB_CLASSES * BLAZEI_CACHE_LINE) /* of a block in a chunk */

struct blazei_slab {
	void *free[BLAZEI_SLAB_CLASSES]; /* blocks of (i + 1) lines, linked by their first word */
	void *chunks;                    /* linked by their first word */
	uint8_t *at;                     /* the newest chunk's unused part */
	size_t left;
	size_t next_bytes; /* of the next chunk */
	uint64_t bytes;    /* handed out, free lists included */
};

/* The size of the block for so many bytes: what may be used of it. */
static inline size_t blazei_slab_size(size_t bytes)
{
	return (bytes + BLAZEI_CACHE_LINE - 1) & ~(size_t)(BLAZEI_CACHE_LINE - 1);
}

/* NULL: no memory. */
void *blazei_slab_alloc(struct blazei_slab *slab, size_t bytes);
void blazei_slab_release(struct blazei_slab *slab, void *block, size_t bytes);
/* Frees all chunks, but not blocks above 4,032 bytes. */
void blazei_slab_fini(struct blazei_slab *slab);

/* Memory of which any part may be read at random: zeroed, on huge pages where there are such. To be
 * freed by free(). */
void *blazei_huge_alloc(size_t bytes);
/* Gives back what it occupies, where that is much; it may still be read, as zeros or as before. */
void blazei_huge_empty(void *memory, size_t bytes);

#endif
