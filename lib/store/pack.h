/* SPDX-License-Identifier: Apache-2.0 */
/* Packing a run of the log into frames: of the leader, and of a copy that takes what a tail has. */
#ifndef BLAZEI_STORE_PACK_H
#define BLAZEI_STORE_PACK_H

#include "lib/op/buffer.h"
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

/* Makes the frames of a chunk, of which the first one stands at `place`, in the place of what the
 * buffer held. 0, -ENOMEM or -E2BIG. */
int blazei_pack(const struct blazei_frame_place *place, uint64_t durable_lsn,
                const struct blazei_chunk *chunk, struct blazei_buffer *ret_frames);

#endif
