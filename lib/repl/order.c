/* SPDX-License-Identifier: Apache-2.0 */
/* The ids in order, for scans and hashes.
 *
 * WHY    Writes need no order, so none is kept while they come. The first scan sorts; later ones
 *        add what came since. It holds dead rows too, and a scan passes over them. New ids first go
 *        to a short run of their own: an insert between two steps of a scan must not cost a pass
 *        over a million numbers. The short run joins the long one when it passes an eighth of it,
 *        so an id is moved O(log n) times in all. A row that is removed must not cost a pass
 *        either: its places in the run take the number of a neighbour, which a scan then meets
 *        twice at one id, and passes over. A pass takes such places out, without looking at a row,
 *        once there are some thousands.
 *
 * INVARIANTS
 *   I1   The runs hold the numbers 0 .. known - 1, each in one run, in one or more places that
 *        follow one another.
 *   I2   Each run ascends by id.
 *   I3   blazei_order_update fails before it changes anything. */
#include <stdlib.h>

#include "lib/repl/core.h"

#define SHORT_RUN_MIN 1024u
#define DOUBLES_MAX   4096u

struct sort_key {
	uint64_t prefix; /* the id's first 8 bytes, as a number */
	uint32_t number;
};

static inline int id_compare(const struct blaze_id *a, const struct blaze_id *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

static int key_compare(const void *a, const void *b, void *arg)
{
	const struct sort_key *left = a;
	const struct sort_key *right = b;
	const struct blazei_table *table = arg;

	if (left->prefix != right->prefix)
		return left->prefix < right->prefix ? -1 : 1;
	return id_compare(&table->rows[left->number]->id, &table->rows[right->number]->id);
}

/* The rows first .. first + count - 1 in order, in memory that the caller frees. */
static uint32_t *numbers_sorted(const struct blazei_table *table, uint32_t first, uint32_t count)
{
	struct sort_key *keys = malloc(count * sizeof(*keys));
	uint32_t *numbers = malloc(count * sizeof(*numbers));

	if (!keys || !numbers) {
		free(keys);
		free(numbers);
		return NULL;
	}
	for (uint32_t i = 0; i < count; i++) {
		memcpy(&keys[i].prefix, table->rows[first + i]->id.bytes, sizeof(keys[i].prefix));
		keys[i].prefix = __builtin_bswap64(keys[i].prefix);
		keys[i].number = first + i;
	}
	qsort_r(keys, count, sizeof(*keys), key_compare, (void *)(uintptr_t)table);
	for (uint32_t i = 0; i < count; i++)
		numbers[i] = keys[i].number;
	free(keys);
	return numbers;
}

/* The first place in a run whose id is not below `id`. */
static uint32_t lower_bound(const struct blazei_table *table, const uint32_t *run, uint32_t count,
                            const struct blaze_id *id)
{
	uint32_t low = 0;

	while (count > 0) {
		uint32_t half = count / 2;

		if (id_compare(&table->rows[run[low + half]]->id, id) < 0) {
			low += half + 1;
			count -= half + 1;
		} else {
			count = half;
		}
	}
	return low;
}

static int run_reserve(struct blazei_order *order, unsigned which, uint64_t count)
{
	uint64_t max = count + count / 8;
	uint32_t *run;

	if (count <= order->maxes[which])
		return 0;
	run = realloc(order->runs[which], max * sizeof(*run));
	if (!run)
		return -ENOMEM;
	order->runs[which] = run;
	order->maxes[which] = (uint32_t)max;
	return 0;
}

/* Merges sorted numbers into a run that has room, from the end: each part moves once. */
static void run_merge(struct blazei_order *order, const struct blazei_table *table, unsigned which,
                      const uint32_t *numbers, uint32_t count)
{
	uint32_t *run = order->runs[which];
	uint32_t left = order->counts[which];

	order->counts[which] += count;
	while (count-- > 0) {
		uint32_t at = lower_bound(table, run, left, &table->rows[numbers[count]]->id);

		memmove(run + at + count + 1, run + at, (left - at) * sizeof(*run));
		run[at + count] = numbers[count];
		left = at;
	}
}

int blazei_order_update(struct blazei_order *order, const struct blazei_table *table)
{
	uint32_t known = order->known;
	uint32_t count = table->row_count - known;
	bool join = order->counts[1] + (uint64_t)count > order->counts[0] / 8 + SHORT_RUN_MIN;
	uint32_t *numbers;

	if (count == 0)
		return 0;
	if (run_reserve(order, !join,
	                join ? (uint64_t)order->counts[0] + order->counts[1] + count
	                     : (uint64_t)order->counts[1] + count) < 0)
		return -ENOMEM;
	numbers = numbers_sorted(table, known, count);
	if (!numbers)
		return -ENOMEM;
	if (join) {
		run_merge(order, table, 0, order->runs[1], order->counts[1]);
		order->counts[1] = 0;
	}
	run_merge(order, table, !join, numbers, count);
	order->known = table->row_count;
	free(numbers);
	return 0;
}

/* The places of a number: its run, the first place and the one behind the last. */
struct places {
	unsigned which;
	uint32_t first;
	uint32_t end;
};

static struct places places_find(const struct blazei_order *order, const struct blazei_table *table,
                                 uint32_t number)
{
	const struct blaze_id *id = &table->rows[number]->id;
	struct places places = { .which = 0 };

	places.first = lower_bound(table, order->runs[0], order->counts[0], id);
	if (places.first == order->counts[0] || order->runs[0][places.first] != number) {
		places.which = 1;
		places.first = lower_bound(table, order->runs[1], order->counts[1], id);
	}
	places.end = places.first;
	while (places.end < order->counts[places.which] &&
	       order->runs[places.which][places.end] == number)
		places.end++;
	return places;
}

static void places_fill(struct blazei_order *order, const struct places *places, uint32_t number)
{
	for (uint32_t i = places->first; i < places->end; i++)
		order->runs[places->which][i] = number;
}

/* Takes out the places beyond the first of each number. */
static void doubles_drop(struct blazei_order *order)
{
	for (unsigned which = 0; which < 2; which++) {
		uint32_t *run = order->runs[which];
		uint32_t count = 0;

		for (uint32_t i = 0; i < order->counts[which]; i++)
			if (count == 0 || run[count - 1] != run[i])
				run[count++] = run[i];
		order->counts[which] = count;
		order->hints[which] = 0;
	}
	order->doubles = 0;
}

void blazei_order_remove(struct blazei_order *order, struct blazei_table *table, uint32_t number)
{
	uint32_t last = table->row_count - 1;
	struct places places;

	if (number < order->known) {
		const uint32_t *run;

		places = places_find(order, table, number);
		run = order->runs[places.which];
		if (places.end < order->counts[places.which])
			places_fill(order, &places, run[places.end]);
		else if (places.first > 0)
			places_fill(order, &places, run[places.first - 1]);
		else
			order->counts[places.which] = 0;
		order->doubles += places.end - places.first;
		/* The last one that is known takes the number. */
		order->known--;
		if (number != order->known) {
			places = places_find(order, table, order->known);
			places_fill(order, &places, number);
			blazei_table_renumber(table, order->known, number);
		}
		number = order->known;
		if (order->doubles > DOUBLES_MAX)
			doubles_drop(order);
	}
	if (number != last)
		blazei_table_renumber(table, last, number);
}

void blazei_order_fini(struct blazei_order *order)
{
	free(order->runs[0]);
	free(order->runs[1]);
	*order = (struct blazei_order){ 0 };
}

/* As lower_bound; a scan asks for the place next to where it was. */
static uint32_t run_search(struct blazei_order *order, const struct blazei_table *table,
                           unsigned which, const struct blaze_id *from)
{
	const uint32_t *run = order->runs[which];
	uint32_t count = order->counts[which];
	uint32_t hint = order->hints[which];

	if (!from)
		return 0;
	for (unsigned i = 0; i < 2; i++, hint++)
		if (hint <= count &&
		    (hint == 0 || id_compare(&table->rows[run[hint - 1]]->id, from) < 0) &&
		    (hint == count || id_compare(&table->rows[run[hint]]->id, from) >= 0))
			return hint;
	return lower_bound(table, run, count, from);
}

const struct blazei_row *blazei_order_seek(struct blazei_order *order,
                                           const struct blazei_table *table,
                                           const struct blaze_id *from, bool any)
{
	const struct blazei_row *best = NULL;

	for (unsigned which = 0; which < 2; which++) {
		uint32_t at = run_search(order, table, which, from);

		while (at < order->counts[which]) {
			const struct blazei_row *row = table->rows[order->runs[which][at]];

			if (any || blazei_row_alive(row)) {
				if (!best || id_compare(&row->id, &best->id) < 0)
					best = row;
				break;
			}
			at++;
		}
		order->hints[which] = at;
	}
	return best;
}
