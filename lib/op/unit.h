/* SPDX-License-Identifier: Apache-2.0 */
/* What a log has beside transactions: the bounds of units, which count whole or not at all.
 *
 * WHY    What a replica gets in one step, a snapshot, is too long for one entry of a log. So it is
 *        a unit: a begin, its state chunks, its transactions, an end. Whoever reads the log takes
 *        it with its end. A crash may leave a unit without one; whoever goes on with that log says
 *        first that it is dropped.
 *
 * LAYOUT of a begin (kind 3), an end (kind 4) and a drop (kind 5); blaze-format(5):
 *          header  16 bytes
 *          items   item_count x 64: origins, each once
 *        The items of a begin are the vector as of which the chunks were begun; of an end the one
 *        that it comes to. A drop has none. */
#ifndef BLAZEI_UNIT_H
#define BLAZEI_UNIT_H

#include "lib/op/txn.h"

#define BLAZEI_KIND_BEGIN 3
#define BLAZEI_KIND_END   4
#define BLAZEI_KIND_DROP  5

#define BLAZEI_UNIT_WHOLE 1u /* what the chunks do not have, and the vector covers, is removed */
#define BLAZEI_UNIT_ALL   2u /* it is all that there is: what was before counts no more */
/* With ALL: nothing else was left out while it was written (lib/repl/checkpoint.h). */
#define BLAZEI_UNIT_CHECKPOINT 4u

#define BLAZEI_UNIT_VECTOR      1u /* the item is an entry of the vector */
#define BLAZEI_UNIT_LEFT        2u /* an own name that was left: dep_max holds */
#define BLAZEI_UNIT_QUARANTINED 4u /* nothing more was taken of it */

struct blazei_unit_item {
	struct blazei_origin origin;
	uint64_t seq;
	uint64_t chain;   /* of number seq; 0: not known */
	uint64_t hlc;     /* likewise */
	uint64_t dep_max; /* own writes depend on no more of it; at most seq, 0 unless LEFT */
	uint32_t flags;
	uint32_t reserved;
};

struct blazei_unit_bound {
	uint32_t bytes; /* in all */
	uint8_t kind;
	uint8_t format;
	uint16_t flags; /* of a begin */
	uint32_t item_count;
	uint32_t reserved;
	struct blazei_unit_item items[];
};

static_assert(offsetof(struct blazei_unit_item, seq) == 24, "disk format");
static_assert(offsetof(struct blazei_unit_item, chain) == 32, "disk format");
static_assert(offsetof(struct blazei_unit_item, hlc) == 40, "disk format");
static_assert(offsetof(struct blazei_unit_item, dep_max) == 48, "disk format");
static_assert(offsetof(struct blazei_unit_item, flags) == 56, "disk format");
static_assert(sizeof(struct blazei_unit_item) == 64, "disk format");
static_assert(offsetof(struct blazei_unit_bound, kind) == 4, "disk format");
static_assert(offsetof(struct blazei_unit_bound, format) == 5, "disk format");
static_assert(offsetof(struct blazei_unit_bound, flags) == 6, "disk format");
static_assert(offsetof(struct blazei_unit_bound, item_count) == 8, "disk format");
static_assert(sizeof(struct blazei_unit_bound) == 16, "disk format");

static inline uint32_t blazei_unit_bytes(uint32_t item_count)
{
	return (uint32_t)sizeof(struct blazei_unit_bound) +
	       item_count * (uint32_t)sizeof(struct blazei_unit_item);
}

/* A bound with room for so many items, and none yet; NULL: no memory. The caller frees it. */
struct blazei_unit_bound *blazei_unit_new(uint8_t kind, unsigned items_max);
/* Adds one, zeroed but for the origin. */
struct blazei_unit_item *blazei_unit_add(struct blazei_unit_bound *bound,
                                         const struct blazei_origin *origin);

/* Whether len bytes at an 8-byte aligned address are one valid entry of a log: a transaction, a
 * state chunk, or a bound. 0 or -EBADMSG. */
int blazei_logged_check(const void *data, size_t len);

#endif
