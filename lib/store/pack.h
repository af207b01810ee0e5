/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of frames: a run of the log is packed into frames, and taken out of them again.
 *
 * WHY    What waits for a disk is written as it is: the disk is faster than any compression. What
 *        stands for long, records as they stand (kind 2), most of them of a checkpoint, is
 *        compressed by zstd, each frame by itself, so that one that is damaged costs no other. The
 *        level is 1: of 81 MB of package records and of 104 MB of records of one number it makes
 *        16.0 and 16.3 MB, at 450 and 650 MB/s, and reads them at 1.6 and 1.7 GB/s; level -1 makes
 *        19.0 and 17.2 MB at 570 and 790 MB/s, level 3 15.6 and 17.2 MB at 370 and 460 MB/s.
 *        (Rejected: pages of 16 KiB, of which it makes 20.4 and 17.0 MB. A dictionary was not
 *        tried: a frame has up to 256 KiB to learn from.)
 *
 * INVARIANTS
 *   I1   A body lies compressed where that takes fewer units of 4 KiB, and nowhere else.
 *
 * FAILURE  Without memory for zstd frames are not compressed; but one that is can't be read. */
#ifndef BLAZEI_STORE_PACK_H
#define BLAZEI_STORE_PACK_H

#include "lib/op/buffer.h"
#include "lib/op/txn.h"
#include "lib/store/frame.h"

/* A run of entries, back to back: what one append takes. */
struct blazei_chunk {
	const uint8_t *data;
	size_t len;
	uint64_t first_lsn;
	uint64_t count;
};

/* The length of the entry there, which is its first 4 bytes. */
static inline uint32_t blazei_entry_bytes(const uint8_t *data)
{
	uint32_t bytes;

	memcpy(&bytes, data, sizeof(bytes));
	return bytes;
}

/* Whether a body begins with records as they stand. */
static inline bool blazei_body_is_state(const uint8_t *body, size_t len)
{
	return len > offsetof(struct blazei_txn_header, kind) &&
	       body[offsetof(struct blazei_txn_header, kind)] == BLAZEI_KIND_STATE;
}

/* Zeroed to begin with. */
struct blazei_packer {
	struct ZSTD_CCtx_s *zstd; /* NULL: none was needed yet */
	uint64_t state_bytes;     /* of the frames that it made last, those of records */
};

/* Makes the frames of a chunk, of which the first one stands at `place`, in the place of what the
 * buffer held. 0, -ENOMEM or -E2BIG. */
int blazei_pack(struct blazei_packer *packer, const struct blazei_frame_place *place,
                uint64_t durable_lsn, const struct blazei_chunk *chunk,
                struct blazei_buffer *ret_frames);
void blazei_packer_fini(struct blazei_packer *packer);

/* Zeroed to begin with. */
struct blazei_unpacker {
	struct ZSTD_DCtx_s *zstd;
	uint8_t *body;
};

/* The body, raw_bytes long, of a frame that blazei_frame_check has accepted: in its place, or in
 * memory of the unpacker's, until the next call. 0; -ENOMEM; -EBADMSG: it can't be decompressed. */
int blazei_unpack(struct blazei_unpacker *unpacker, const struct blazei_frame_header *frame,
                  const uint8_t **ret_body);
void blazei_unpacker_fini(struct blazei_unpacker *unpacker);

#endif
