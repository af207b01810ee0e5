/* SPDX-License-Identifier: Apache-2.0 */
/* The root of a store: the one thing that is ever replaced, from which all else is found.
 *
 * WHY    Which segments there are, and where those end that are no longer written, must not be
 *        guessed from what lies on the medium. The root is small and is exchanged whole, by the
 *        backend's compare-and-swap; so each of its versions is either there or not.
 *
 * LAYOUT 128 bytes, then 24 for each segment, oldest first; blaze-format(5).
 *
 * INVARIANTS
 *   I1   Segment numbers ascend; only the last one may have no end yet.
 *   I2   What blazei_root_check accepted needs no further checks. */
#ifndef BLAZEI_ROOT_H
#define BLAZEI_ROOT_H

#include "lib/base/base.h"

#define BLAZEI_ROOT_MAGIC        0x525a4c42u /* "BLZR" */
#define BLAZEI_ROOT_VERSION      0
#define BLAZEI_ROOT_SEGMENTS_MAX 2048u
#define BLAZEI_SEGMENT_MAX       (UINT64_MAX / 2) /* a number that no store lives to reach */
#define BLAZEI_SEGMENT_OPEN      UINT64_MAX       /* end of a segment that may still grow */

struct blazei_root_segment {
	uint64_t number;
	uint64_t incarnation;
	uint64_t end; /* bytes that count, a multiple of 4 KiB */
};

struct blazei_root {
	uint32_t magic;
	uint16_t version;
	uint16_t policy; /* enum blaze_policy */
	struct blaze_id store;
	struct blaze_id node;
	uint64_t incarnation; /* under which the node writes, or wrote last */
	uint64_t next_segment;
	uint32_t segment_count;
	uint32_t role;        /* enum blaze_role: what the node was last */
	struct blaze_id boot; /* in which it was opened last */
	uint64_t tail_nonce;  /* of the tail that this opening made; 0: none */
	uint64_t home;        /* blazei_home_number of where it was opened last; 0: it never was */
	uint64_t start; /* LSN of the checkpoint that the log begins with; 0: it begins at 1 */
	uint8_t opened; /* enum blaze_durability that is kept while it is open; 0: closed */
	uint8_t tail_turn;
	uint16_t reserved_too;
	uint32_t cuts;    /* times that the end of the log was lost, or may have been */
	uint64_t hash[2]; /* XXH3-128 of it all, with zeros here, low half first */
	struct blazei_root_segment segments[];
};

static_assert(offsetof(struct blazei_root, policy) == 6, "disk format");
static_assert(offsetof(struct blazei_root, store) == 8, "disk format");
static_assert(offsetof(struct blazei_root, node) == 24, "disk format");
static_assert(offsetof(struct blazei_root, incarnation) == 40, "disk format");
static_assert(offsetof(struct blazei_root, next_segment) == 48, "disk format");
static_assert(offsetof(struct blazei_root, segment_count) == 56, "disk format");
static_assert(offsetof(struct blazei_root, role) == 60, "disk format");
static_assert(offsetof(struct blazei_root, cuts) == 108, "disk format");
static_assert(offsetof(struct blazei_root, boot) == 64, "disk format");
static_assert(offsetof(struct blazei_root, tail_nonce) == 80, "disk format");
static_assert(offsetof(struct blazei_root, home) == 88, "disk format");
static_assert(offsetof(struct blazei_root, start) == 96, "disk format");
static_assert(offsetof(struct blazei_root, opened) == 104, "disk format");
static_assert(offsetof(struct blazei_root, tail_turn) == 105, "disk format");
static_assert(offsetof(struct blazei_root, hash) == 112, "disk format");
static_assert(offsetof(struct blazei_root, segments) == 128, "disk format");
static_assert(sizeof(struct blazei_root_segment) == 24, "disk format");

#define BLAZEI_ROOT_BYTES_MAX                                                                      \
	(sizeof(struct blazei_root) + BLAZEI_ROOT_SEGMENTS_MAX * sizeof(struct blazei_root_segment))

static inline size_t blazei_root_bytes(const struct blazei_root *root)
{
	return sizeof(*root) + root->segment_count * sizeof(root->segments[0]);
}

/* Sets magic, version and hash. */
void blazei_root_seal(struct blazei_root *root);
/* 0; -EBADMSG damaged, or no root at all; -EPROTO of a later version. data is 8-byte
 * aligned. */
int blazei_root_check(const void *data, size_t len);

#endif
