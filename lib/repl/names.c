/* SPDX-License-Identifier: Apache-2.0 */
/* Interned field names: a record's fields name them by number.
 *
 * WHY    A database has a few hundred distinct names and millions of fields; a number makes a
 *        field 4 bytes lighter at least, and comparing names one instruction. Programs write the
 *        same field again and again, so the last name found is tried first.
 *
 * CONCURRENCY Names and former lists stay until the end, for readers without the lock (peek.h). */
#include <stdlib.h>

#include "lib/repl/table.h"

#define SLOTS_MIN 64u

static void slot_put(struct blazei_names *names, uint32_t number)
{
	const struct blazei_name *name = names->names[number];
	uint32_t i = (uint32_t)XXH3_64bits_withSeed(name->text, name->len, names->seed);

	for (i &= names->mask; names->slots[i] != 0; i = (i + 1) & names->mask)
		;
	names->slots[i] = number + 1;
}

/* Makes room for one more name, keeping the slots at most half full. */
static int grow(struct blazei_names *names)
{
	uint32_t max = names->max ? names->max * 2 : SLOTS_MIN / 2;
	struct blazei_name **list;
	uint32_t *slots;

	if (names->count < names->max)
		return 0;
	if (max > UINT32_MAX / 4 || names->outgrown_count == BLAZEI_OUTGROWN_MAX)
		return -ENOMEM;
	slots = calloc((size_t)max * 2, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	list = malloc(max * sizeof(struct blazei_name *));
	if (!list) {
		free(slots);
		return -ENOMEM;
	}
	if (names->count > 0) {
		memcpy(list, names->names, names->count * sizeof(struct blazei_name *));
		names->outgrown[names->outgrown_count++] = names->names;
	}
	free(names->slots);
	names->names = list;
	names->slots = slots;
	names->bytes += max * sizeof(*list) + (uint64_t)(max - names->max) * 2 * sizeof(*slots);
	names->max = max;
	names->mask = max * 2 - 1;
	for (uint32_t i = 0; i < names->count; i++)
		slot_put(names, i);
	return 0;
}

int blazei_names_init(struct blazei_names *names, uint64_t seed)
{
	*names = (struct blazei_names){ .seed = seed };
	return blazei_names_intern(names, "", 0) == 0 ? 0 : -ENOMEM;
}

void blazei_names_fini(struct blazei_names *names)
{
	for (uint32_t i = 0; i < names->count; i++)
		free(names->names[i]);
	for (unsigned i = 0; i < names->outgrown_count; i++)
		free(names->outgrown[i]);
	free(names->names);
	free(names->slots);
	memset(names, 0, sizeof(*names));
}

static bool name_is(const struct blazei_name *name, const void *text, size_t len)
{
	return name->len == len && blazei_short_equal(name->text, text, len);
}

uint32_t blazei_names_find(struct blazei_names *names, const void *text, size_t len)
{
	uint32_t i;

	if (names->count == 0)
		return BLAZEI_NAME_NONE;
	if (name_is(names->names[names->recent], text, len))
		return names->recent;
	i = (uint32_t)XXH3_64bits_withSeed(text, len, names->seed);
	for (i &= names->mask; names->slots[i] != 0; i = (i + 1) & names->mask) {
		uint32_t number = names->slots[i] - 1;

		if (name_is(names->names[number], text, len)) {
			names->recent = number;
			return number;
		}
	}
	return BLAZEI_NAME_NONE;
}

uint32_t blazei_names_intern(struct blazei_names *names, const void *text, size_t len)
{
	uint32_t number = blazei_names_find(names, text, len);
	struct blazei_name *name;

	if (number != BLAZEI_NAME_NONE)
		return number;
	if (grow(names) < 0)
		return BLAZEI_NAME_NONE;
	name = malloc(sizeof(*name) + len);
	if (!name)
		return BLAZEI_NAME_NONE;
	name->len = (uint8_t)len;
	memcpy(name->text, text, len);
	names->bytes += sizeof(*name) + len + 16;
	number = names->count++;
	names->names[number] = name;
	slot_put(names, number);
	return number;
}
