/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder and the fold; see reference.h. */
#include "tests/sim/reference.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Decoding ----------------------------------------------------------------------------------- */

static uint64_t number(const uint8_t *at, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = bytes; i-- > 0;)
		value = value << 8 | at[i];
	return value;
}

/* The bytes not read yet. */
struct input {
	const uint8_t *at;
	const uint8_t *end;
	bool short_of;
};

/* The next ones, or zeros once they have run out. */
static const uint8_t *take(struct input *input, size_t bytes)
{
	static const uint8_t zeros[64];
	const uint8_t *at = input->at;

	if (input->short_of || bytes > (size_t)(input->end - at)) {
		input->short_of = true;
		return zeros;
	}
	input->at += bytes;
	return at;
}

/* Reads groups; with ops NULL it only counts. The number of ops. */
static unsigned groups_read(struct input input, uint32_t group_count, struct reference_op *ops)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < group_count && !input.short_of; i++) {
		const uint8_t *head = take(&input, 24);
		unsigned flags = (unsigned)number(head + 22, 2);
		struct reference_op op = { .id = head, .life = (uint32_t)number(head + 16, 4) };

		if (flags & 1) {
			op.existence = true;
			op.alive = flags & 2;
			op.priority = number(take(&input, 24), 8);
			if (ops)
				ops[count] = op;
			count++;
		}
		op.existence = op.alive = false;
		for (uint64_t left = number(head + 20, 2); left > 0 && !input.short_of; left--) {
			const uint8_t *reg = take(&input, 24);

			op.priority = number(reg, 8);
			op.name_len = reg[18];
			op.unset = reg[19] & 1;
			op.value_len = (uint32_t)number(reg + 20, 4);
			op.name = take(&input, ((size_t)op.name_len + op.value_len + 7) / 8 * 8);
			op.value = op.name + op.name_len;
			if (ops)
				ops[count] = op;
			count++;
		}
	}
	return input.short_of || input.at != input.end ? 0 : count;
}

bool reference_decode(const void *data, size_t len, struct reference_txn *ret_txn)
{
	struct input input = { .at = data, .end = (const uint8_t *)data + len };
	const uint8_t *head = take(&input, 48);
	uint64_t origin_count = number(head + 6, 2);
	unsigned dep_count = (unsigned)number(head + 44, 2);
	const uint8_t *origins = take(&input, origin_count * REFERENCE_ORIGIN_BYTES);
	const uint8_t *deps = take(&input, dep_count * 24u);
	unsigned count = groups_read(input, (uint32_t)number(head + 40, 4), NULL);
	struct reference_txn txn = {
		.origin = origins,
		.chain = number(head + 8, 8),
		.prev = number(head + 16, 8),
		.seq = number(head + 24, 8),
		.hlc = number(head + 32, 8),
		.op_count = count,
		.dep_count = dep_count,
	};

	if (input.short_of || origin_count == 0 || count == 0)
		return false;
	txn.ops = calloc(count, sizeof(*txn.ops));
	txn.deps = calloc(dep_count + 1, sizeof(*txn.deps));
	groups_read(input, (uint32_t)number(head + 40, 4), txn.ops);
	for (unsigned i = 0; i < dep_count; i++) {
		txn.deps[i].seq = number(deps + 24 * i, 8);
		txn.deps[i].origin =
		        origins + number(deps + 24 * i + 16, 2) * REFERENCE_ORIGIN_BYTES;
	}
	*ret_txn = txn;
	return true;
}

void reference_txn_free(struct reference_txn *txn)
{
	free(txn->ops);
	free(txn->deps);
	*txn = (struct reference_txn){ 0 };
}

/* Folding ------------------------------------------------------------------------------------ */

int reference_origin_compare(const uint8_t *a, const uint8_t *b)
{
	int order = memcmp(a, b, 16);

	if (order != 0)
		return order;
	return (number(a + 16, 8) > number(b + 16, 8)) - (number(a + 16, 8) < number(b + 16, 8));
}

void reference_init(struct reference *reference)
{
	*reference = (struct reference){ .max = 1024 };
	reference->places = calloc(reference->max, sizeof(*reference->places));
}

void reference_free(struct reference *reference)
{
	free(reference->places);
	*reference = (struct reference){ 0 };
}

static bool same_register(const struct reference_op *a, const struct reference_op *b)
{
	if (a->existence != b->existence || memcmp(a->id, b->id, 16) != 0)
		return false;
	return a->existence || (a->life == b->life && a->name_len == b->name_len &&
	                        memcmp(a->name, b->name, a->name_len) == 0);
}

/* The place of a register, or the free one where it belongs. */
static struct reference_register *place_of(const struct reference *reference,
                                           const struct reference_op *op)
{
	uint64_t hash = op->existence ? 7 : op->life * UINT64_C(31) + op->name_len;
	unsigned i;

	for (unsigned k = 0; k < 16; k++)
		hash = (hash ^ op->id[k]) * UINT64_C(0x100000001b3);
	for (unsigned k = 0; !op->existence && k < op->name_len; k++)
		hash = (hash ^ op->name[k]) * UINT64_C(0x100000001b3);
	i = (unsigned)(hash >> 20) & (reference->max - 1);
	while (reference->places[i].op && !same_register(reference->places[i].op, op))
		i = (i + 1) & (reference->max - 1);
	return &reference->places[i];
}

static void grow(struct reference *reference)
{
	struct reference old = *reference;

	reference->max *= 2;
	reference->places = calloc(reference->max, sizeof(*reference->places));
	for (unsigned i = 0; i < old.max; i++)
		if (old.places[i].op)
			*place_of(reference, old.places[i].op) = old.places[i];
	free(old.places);
}

/* Whether K of the first is greater. */
static bool beats(const struct reference_txn *txn, const struct reference_op *op,
                  const struct reference_register *old)
{
	int order;

	if (op->priority != old->op->priority)
		return op->priority > old->op->priority;
	if (txn->hlc != old->txn->hlc)
		return txn->hlc > old->txn->hlc;
	order = reference_origin_compare(txn->origin, old->txn->origin);
	return order != 0 ? order > 0 : txn->seq > old->txn->seq;
}

void reference_fold(struct reference *reference, const struct reference_txn *txn)
{
	for (unsigned i = 0; i < txn->op_count; i++) {
		struct reference_register *place;

		if (2 * reference->count >= reference->max)
			grow(reference);
		place = place_of(reference, &txn->ops[i]);
		if (place->op && !beats(txn, &txn->ops[i], place))
			continue;
		reference->count += !place->op;
		place->op = &txn->ops[i];
		place->txn = txn;
	}
}

const struct reference_register *reference_find(const struct reference *reference,
                                                const uint8_t *id, uint32_t life,
                                                const uint8_t *name, uint8_t name_len)
{
	const struct reference_op key = {
		.id = id, .life = life, .name = name, .name_len = name_len, .existence = !name
	};
	const struct reference_register *place = place_of(reference, &key);

	return place->op ? place : NULL;
}
