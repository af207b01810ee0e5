/* SPDX-License-Identifier: Apache-2.0 */
/* A frame: what one write to the log puts on the medium, and how it is known to be whole.
 *
 * WHY    A medium may return anything: a block that was never written, one of an earlier use of the
 *        place, one that belongs elsewhere, half of what was written last. So a frame says where it
 *        belongs, and its checksum is seeded with that: a block that is right in itself, but of
 *        another store, segment or place, does not pass.
 *
 * LAYOUT 80 bytes of header, the body, zeros up to the next multiple of 4 KiB; blaze-format(5).
 *        The bodies of the frames of a segment in a row are transactions back to back. A longer one
 *        goes on in the next frame, which the flag MORE says.
 *
 * INVARIANTS
 *   I1   What blazei_frame_check accepts was made by blazei_frame_seal for this very place.
 *   I2   `durable_lsn` was durable before the frame was written. So an invalid frame with a valid
 *        one behind it, in its segment, whose durable_lsn covers it, was damaged after it had been
 *        good, and is never taken for the torn end of the log. */
#ifndef BLAZEI_FRAME_H
#define BLAZEI_FRAME_H

#include "lib/base/base.h"

#define BLAZEI_FRAME_MAGIC     0x465a4c42u /* "BLZF" */
#define BLAZEI_FRAME_VERSION   0
#define BLAZEI_FRAME_LOG       1u /* kind */
#define BLAZEI_FRAME_MORE      1u /* flag: its last transaction goes on in the next frame */
#define BLAZEI_FRAME_UNIT      4096u
#define BLAZEI_FRAME_BYTES_MAX (256u << 10)

struct blazei_frame_header {
	uint32_t magic;
	uint16_t version;
	uint16_t kind;
	uint64_t segment;
	uint64_t incarnation;
	uint64_t offset;       /* of the frame in its segment */
	uint64_t first_lsn;    /* of the first transaction that ends in it, or would */
	uint64_t durable_lsn;  /* all up to there was durable when this was written; 0: none */
	uint32_t count;        /* transactions that end in it */
	uint32_t raw_bytes;    /* of the body, before compression */
	uint32_t stored_bytes; /* and as it lies here; fewer: it is one frame of zstd (pack.h) */
	uint32_t flags;
	uint64_t hash[2]; /* XXH3-128 of the whole frame, with zeros here, low half first */
};

static_assert(offsetof(struct blazei_frame_header, version) == 4, "disk format");
static_assert(offsetof(struct blazei_frame_header, kind) == 6, "disk format");
static_assert(offsetof(struct blazei_frame_header, segment) == 8, "disk format");
static_assert(offsetof(struct blazei_frame_header, incarnation) == 16, "disk format");
static_assert(offsetof(struct blazei_frame_header, offset) == 24, "disk format");
static_assert(offsetof(struct blazei_frame_header, first_lsn) == 32, "disk format");
static_assert(offsetof(struct blazei_frame_header, durable_lsn) == 40, "disk format");
static_assert(offsetof(struct blazei_frame_header, count) == 48, "disk format");
static_assert(offsetof(struct blazei_frame_header, raw_bytes) == 52, "disk format");
static_assert(offsetof(struct blazei_frame_header, stored_bytes) == 56, "disk format");
static_assert(offsetof(struct blazei_frame_header, flags) == 60, "disk format");
static_assert(offsetof(struct blazei_frame_header, hash) == 64, "disk format");
static_assert(sizeof(struct blazei_frame_header) == 80, "disk format");

#define BLAZEI_FRAME_BODY_MAX (BLAZEI_FRAME_BYTES_MAX - sizeof(struct blazei_frame_header))

/* Where a frame belongs: what the checksum is seeded with. */
struct blazei_frame_place {
	struct blaze_id store;
	uint64_t segment;
	uint64_t incarnation;
	uint64_t offset;
};

static_assert(sizeof(struct blazei_frame_place) == 40, "hashed as it is");

/* The bytes that a frame with such a body takes. */
static inline uint32_t blazei_frame_bytes(uint32_t body_bytes)
{
	return (uint32_t)blazei_round_up(sizeof(struct blazei_frame_header) + body_bytes,
	                                 BLAZEI_FRAME_UNIT);
}

/* Completes a frame at an 8-byte aligned address, whose body is in place, at most
 * BLAZEI_FRAME_BODY_MAX bytes, and whose header has first_lsn, durable_lsn, count, raw_bytes,
 * stored_bytes and flags. Returns the frame's length. */
uint32_t blazei_frame_seal(struct blazei_frame_header *frame,
                           const struct blazei_frame_place *place);

/* Whether len bytes at an 8-byte aligned address begin with a valid frame of this place: its
 * length; -EBADMSG. */
int64_t blazei_frame_check(const void *data, size_t len, const struct blazei_frame_place *place);

#endif
