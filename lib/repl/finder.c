/* SPDX-License-Identifier: Apache-2.0 */
/* Many searches in one row; see finder.h. */
#include "lib/repl/finder.h"

#include <stdlib.h>

#define STEPS_FEW      1024u /* walks that cost no more than a filter does */
#define BITS_MIN       1024u
#define BITS_MAX       (1u << 20) /* 21 bits of a hash choose one */
#define BITS_PER_FIELD 32u        /* one in thousands is taken for known that is not */

/* Chooses how many bits, all of which are clear. */
static void filter_size(struct blazei_filter *filter, uint64_t fields)
{
	uint32_t bits = BITS_MIN;

	if (!filter->words)
		filter->words = malloc(BITS_MAX / 8);
	if (!filter->words)
		return;
	while (bits < BITS_MAX && bits < fields * BITS_PER_FIELD)
		bits *= 2;
	memset(filter->words, 0, bits / 8);
	filter->mask = bits - 1;
}

void blazei_finder_begin(struct blazei_finder *finder, struct blazei_filter *filter, uint64_t seed,
                         const struct blazei_row *row, uint32_t count)
{
	const struct blazei_entry *entry = blazei_row_first(row);

	*finder = (struct blazei_finder){ .row = row, .filter = filter, .seed = seed };
	filter->mask = 0;
	if (count < BLAZEI_FINDER_FEW ||
	    (uint64_t)count * (row->entry_count + count / 2) < STEPS_FEW)
		return;
	filter_size(filter, (uint64_t)row->entry_count + count);
	for (uint32_t i = 0; i < row->entry_count && filter->mask != 0; i++) {
		blazei_finder_added(finder, entry->name, entry->life);
		entry = blazei_entry_next(entry);
	}
}

struct blazei_entry *blazei_finder_walk(struct blazei_finder *finder, uint32_t name, uint32_t life)
{
	const uint32_t count = finder->row->entry_count;
	struct blazei_entry *entry = NULL;
	uint32_t at = 0;

	if (finder->last) {
		entry = blazei_entry_next(finder->last);
		at = finder->ordinal + 1;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (at == count)
			at = 0;
		if (at == 0)
			entry = blazei_row_first(finder->row);
		if (entry->name == name && entry->life == life) {
			finder->last = entry;
			finder->ordinal = at;
			return entry;
		}
		entry = blazei_entry_next(entry);
		at++;
	}
	return NULL;
}
