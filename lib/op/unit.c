/* SPDX-License-Identifier: Apache-2.0 */
/* Checks what comes out of a log; see unit.h. */
#include "lib/op/unit.h"

#include <stdlib.h>

static bool item_check(const struct blazei_unit_item *item, uint8_t kind)
{
	if (item->reserved != 0 ||
	    (item->flags & ~(BLAZEI_UNIT_VECTOR | BLAZEI_UNIT_LEFT | BLAZEI_UNIT_QUARANTINED)) != 0)
		return false;
	/* Own writes that would depend on what is not there are merged nowhere. */
	if (item->dep_max > ((item->flags & BLAZEI_UNIT_LEFT) != 0 ? item->seq : 0))
		return false;
	return kind == BLAZEI_KIND_BEGIN || item->flags == BLAZEI_UNIT_VECTOR;
}

static bool bound_check(const struct blazei_unit_bound *bound, size_t len)
{
	const unsigned known = BLAZEI_UNIT_WHOLE | BLAZEI_UNIT_ALL | BLAZEI_UNIT_CHECKPOINT;

	if ((bound->flags & ~(bound->kind == BLAZEI_KIND_BEGIN ? known : 0)) != 0 ||
	    (bound->flags & (BLAZEI_UNIT_ALL | BLAZEI_UNIT_CHECKPOINT)) == BLAZEI_UNIT_CHECKPOINT)
		return false;
	if (bound->format != BLAZEI_FORMAT || bound->reserved != 0 ||
	    bound->item_count > BLAZEI_ORIGINS_MAX || len != blazei_unit_bytes(bound->item_count))
		return false;
	if (bound->kind == BLAZEI_KIND_DROP)
		return bound->item_count == 0;
	for (uint32_t i = 0; i < bound->item_count; i++)
		if (!item_check(&bound->items[i], bound->kind))
			return false;
	return true;
}

int blazei_logged_check(const void *data, size_t len)
{
	const struct blazei_unit_bound *bound = data;

	if (len < sizeof(*bound) || bound->bytes != len)
		return -EBADMSG;
	switch (bound->kind) {
	case BLAZEI_KIND_STATE:
		return blazei_state_check(data, len);
	case BLAZEI_KIND_BEGIN:
	case BLAZEI_KIND_END:
	case BLAZEI_KIND_DROP:
		return bound_check(bound, len) ? 0 : -EBADMSG;
	default:
		return blazei_txn_check(data, len);
	}
}

struct blazei_unit_bound *blazei_unit_new(uint8_t kind, unsigned items_max)
{
	struct blazei_unit_bound *bound = calloc(1, blazei_unit_bytes(items_max));

	if (!bound)
		return NULL;
	bound->kind = kind;
	bound->format = BLAZEI_FORMAT;
	bound->bytes = blazei_unit_bytes(0);
	return bound;
}

struct blazei_unit_item *blazei_unit_add(struct blazei_unit_bound *bound,
                                         const struct blazei_origin *origin)
{
	struct blazei_unit_item *item = &bound->items[bound->item_count++];

	bound->bytes = blazei_unit_bytes(bound->item_count);
	item->origin = *origin;
	return item;
}
