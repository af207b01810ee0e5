/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the entries of many registers of one row.
 *
 * WHY    A search walks the row, so as many searches as it has entries would take quadratic time:
 *        seconds under the lock, where somebody writes fields by the ten thousand. Two things make
 *        most of them short. Registers mostly come in the order in which the row has them, so a
 *        search begins behind the last find. And that a field is new, which only a whole walk
 *        could tell, mostly shows in a filter: a few bits per (name, life), by a keyed hash, so
 *        that nobody can choose fields that share them. (Rejected: an index by name in each row,
 *        which every record would pay for.)
 *
 * FAILURE Without memory for the filter searches are whole walks again. */
#ifndef BLAZEI_FINDER_H
#define BLAZEI_FINDER_H

#include "lib/repl/table.h"

#define BLAZEI_FINDER_FEW 8u /* searches that are not worth a filter */

/* A replica's memory for filters. Zero is none yet. */
struct blazei_filter {
	uint64_t *words;
	uint32_t mask; /* of the bits in use; 0: everything may be there */
};

struct blazei_finder {
	const struct blazei_row *row;
	struct blazei_entry *last; /* found; NULL: none yet */
	uint32_t ordinal;          /* of that */
	const struct blazei_filter *filter;
	uint64_t seed;
};

/* Begins with a row in which `count` registers are to be found. It stays where it is meanwhile, and
 * entries are only added at its end. */
void blazei_finder_begin(struct blazei_finder *finder, struct blazei_filter *filter, uint64_t seed,
                         const struct blazei_row *row, uint32_t count);
/* Behind the last find, then from the start. */
struct blazei_entry *blazei_finder_walk(struct blazei_finder *finder, uint32_t name, uint32_t life);

#define BLAZEI_FILTER_PROBES 3u /* bits per field; their numbers are 21 bits each of the hash */

static inline uint64_t blazei_filter_hash(uint64_t seed, uint32_t name, uint32_t life)
{
	const uint64_t key = (uint64_t)life << 32 | name;

	return XXH3_64bits_withSeed(&key, sizeof(key), seed);
}

/* The field's entry, or NULL. */
static inline struct blazei_entry *blazei_finder_find(struct blazei_finder *finder, uint32_t name,
                                                      uint32_t life)
{
	const struct blazei_filter *filter = finder->filter;

	if (filter->mask != 0) {
		uint64_t hash = blazei_filter_hash(finder->seed, name, life);

		for (unsigned i = 0; i < BLAZEI_FILTER_PROBES; i++, hash >>= 21) {
			uint32_t bit = (uint32_t)hash & filter->mask;

			if (!(filter->words[bit / 64] >> bit % 64 & 1))
				return NULL;
		}
	}
	return blazei_finder_walk(finder, name, life);
}

/* The row has got an entry for this field. */
static inline void blazei_finder_added(const struct blazei_finder *finder, uint32_t name,
                                       uint32_t life)
{
	const struct blazei_filter *filter = finder->filter;
	uint64_t hash;

	if (filter->mask == 0)
		return;
	hash = blazei_filter_hash(finder->seed, name, life);
	for (unsigned i = 0; i < BLAZEI_FILTER_PROBES; i++, hash >>= 21) {
		uint32_t bit = (uint32_t)hash & filter->mask;

		filter->words[bit / 64] |= UINT64_C(1) << bit % 64;
	}
}

#endif
