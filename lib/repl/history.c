/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the transactions merged last; see history.h. */
#include "lib/repl/history.h"

#include <stdlib.h>

#include "lib/repl/core.h"

#define PART_BYTES_MIN UINT64_C(512)

void blazei_history_init(struct blazei_history *history, uint64_t budget)
{
	*history = (struct blazei_history){
		.budget = budget < BLAZEI_HISTORY_BYTES_MAX ? budget : BLAZEI_HISTORY_BYTES_MAX,
	};
}

static const struct blazei_history_part *part_at(const struct blazei_history *history, unsigned i)
{
	return &history->parts[(history->first + i) % BLAZEI_HISTORY_PARTS_MAX];
}

/* Forgets the oldest part; its block, which the caller frees or uses anew. */
static uint8_t *part_pop(struct blazei_history *history)
{
	struct blazei_history_part *part = &history->parts[history->first];
	uint8_t *data = part->data;

	free(part->base);
	history->bytes -= part->cap;
	history->first = (history->first + 1) % BLAZEI_HISTORY_PARTS_MAX;
	history->count--;
	return data;
}

static void parts_drop(struct blazei_history *history)
{
	while (history->count > 0)
		free(part_pop(history));
	history->at = NULL;
	history->left = 0;
}

void blazei_history_fini(struct blazei_history *history)
{
	parts_drop(history);
}

void blazei_history_clear(struct blazei_history *history)
{
	parts_drop(history);
	/* Positions that were given are overrun, the head's too. */
	history->head += 8;
}

void blazei_history_leave(struct blazei_history *history, unsigned index)
{
	for (unsigned i = 0; i < history->count; i++) {
		struct blazei_history_part *part =
		        &history->parts[(history->first + i) % BLAZEI_HISTORY_PARTS_MAX];

		if (index < part->base_count)
			part->base[index] = 0;
	}
}

uint64_t blazei_history_memory(const struct blazei_history *history)
{
	uint64_t bytes = history->bytes;

	for (unsigned i = 0; i < history->count; i++)
		bytes += part_at(history, i)->base_count * sizeof(uint64_t);
	return bytes;
}

static uint64_t part_bytes(const struct blazei_history *history, uint64_t need)
{
	uint64_t bytes = history->budget / (BLAZEI_HISTORY_PARTS_MAX - 1);

	if (bytes < PART_BYTES_MIN)
		bytes = PART_BYTES_MIN < history->budget ? PART_BYTES_MIN : history->budget;
	return bytes > need ? bytes : need;
}

/* A block of `cap` bytes within the budget: the oldest part's, where that has to go and fits. As
 * each takes one of BLAZEI_HISTORY_PARTS_MAX - 1 shares of it or more, there are never as many. */
static uint8_t *block_take(struct blazei_history *history, uint64_t cap)
{
	uint8_t *block = NULL;

	while (history->count > 0 && history->bytes + cap > history->budget) {
		uint64_t popped = part_at(history, 0)->cap;

		free(block);
		block = part_pop(history);
		if (popped != cap) {
			free(block);
			block = NULL;
		}
	}
	return block ? block : malloc(cap);
}

/* Begins a part at the head. False: no memory, nothing is kept any more. */
static bool part_push(struct blazei_history *history, const struct blazei_vector *vector,
                      uint64_t cap)
{
	uint8_t *data = block_take(history, cap);
	uint64_t *base = malloc(vector->count * sizeof(*base));
	struct blazei_history_part *part;

	if (!data || !base) {
		free(data);
		free(base);
		return false;
	}
	for (unsigned i = 0; i < vector->count; i++)
		base[i] = vector->writers[i].seq;
	part = &history->parts[(history->first + history->count++) % BLAZEI_HISTORY_PARTS_MAX];
	*part = (struct blazei_history_part){
		.start = history->head,
		.cap = cap,
		.data = data,
		.base = base,
		.base_count = vector->count,
	};
	history->bytes += cap;
	history->at = data;
	history->left = cap;
	return true;
}

void blazei_history_append_slow(struct blazei_history *history, const struct blazei_vector *vector,
                                const struct blazei_txn_header *header)
{
	if (header->bytes > history->budget ||
	    !part_push(history, vector, part_bytes(history, header->bytes))) {
		parts_drop(history);
		history->head += header->bytes;
		return;
	}
	blazei_history_append(history, vector, header);
}

/* Reading ------------------------------------------------------------------------------------ */

static bool base_covered(const struct blazei_history_part *part, const uint64_t *known)
{
	for (unsigned i = 0; i < part->base_count; i++)
		if (part->base[i] > known[i])
			return false;
	return true;
}

bool blazei_history_reach(const struct blazei_history *history, const struct blazei_vector *vector,
                          const uint64_t *known, uint64_t *ret_position)
{
	bool lacks = false;

	for (unsigned i = 0; i < vector->count; i++)
		lacks = lacks || vector->writers[i].seq > known[i];
	if (!lacks) {
		*ret_position = history->head;
		return true;
	}
	/* The latest part that will do: the less there is to pass over. */
	for (unsigned i = history->count; i-- > 0;) {
		if (base_covered(part_at(history, i), known)) {
			*ret_position = part_at(history, i)->start;
			return true;
		}
	}
	return false;
}

/* The part that holds a position below the head; NULL: overrun. */
static const struct blazei_history_part *part_find(const struct blazei_history *history,
                                                   uint64_t position)
{
	for (unsigned i = history->count; i-- > 0;)
		if (part_at(history, i)->start <= position)
			return part_at(history, i);
	return NULL;
}

static const struct blazei_txn_header *header_at(const struct blazei_history_part *part,
                                                 uint64_t position)
{
	return (const struct blazei_txn_header *)(part->data + (position - part->start));
}

int blazei_history_read(const struct blazei_history *history, uint64_t *position,
                        const struct blazei_txn_header **ret_header)
{
	const struct blazei_history_part *part;

	if (*position == history->head)
		return -ENOENT;
	part = part_find(history, *position);
	if (!part)
		return -ESTALE;
	*ret_header = header_at(part, *position);
	*position += (*ret_header)->bytes;
	return 0;
}

bool blazei_history_boundary(const struct blazei_history *history, uint64_t position)
{
	const struct blazei_history_part *part;
	uint64_t at;

	if (position >= history->head)
		return position == history->head;
	part = part_find(history, position);
	if (!part)
		return false;
	for (at = part->start; at < position;)
		at += header_at(part, at)->bytes;
	return at == position;
}
