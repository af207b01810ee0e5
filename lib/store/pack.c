/* SPDX-License-Identifier: Apache-2.0 */
/* Packing a run of the log into frames; see pack.h. */
#include "lib/store/pack.h"

#include <zstd.h>

#define LEVEL 1

struct pack {
	struct blazei_packer *packer;
	struct blazei_frame_place place; /* of the next frame */
	uint64_t durable_lsn;
	struct blazei_buffer *frames;
};

/* Compresses a body where that saves a unit at least; its bytes, or 0. */
static uint32_t squeeze(struct blazei_packer *packer, const struct blazei_chunk *part,
                        uint8_t *ret_body)
{
	const size_t raw = blazei_frame_bytes((uint32_t)part->len);
	size_t bytes;

	if (raw == BLAZEI_FRAME_UNIT)
		return 0;
	if (packer->zstd == NULL)
		packer->zstd = ZSTD_createCCtx();
	if (packer->zstd == NULL)
		return 0;
	bytes = ZSTD_compressCCtx(packer->zstd, ret_body,
	                          raw - BLAZEI_FRAME_UNIT - sizeof(struct blazei_frame_header),
	                          part->data, part->len, LEVEL);
	return ZSTD_isError(bytes) ? 0 : (uint32_t)bytes;
}

/* Adds one frame, with one part of the log, to those that are made. */
static int frame_add(struct pack *pack, const struct blazei_chunk *part, uint32_t flags, bool state)
{
	struct blazei_frame_header *frame;
	uint32_t bytes = blazei_frame_bytes((uint32_t)part->len);
	int error = blazei_buffer_reserve(pack->frames, bytes);

	if (error != 0)
		return error;
	frame = (struct blazei_frame_header *)(pack->frames->data + pack->frames->len);
	memset(frame, 0, sizeof(*frame));
	frame->first_lsn = part->first_lsn;
	frame->durable_lsn = pack->durable_lsn;
	frame->count = (uint32_t)part->count;
	frame->raw_bytes = (uint32_t)part->len;
	frame->flags = flags;
	if (state)
		frame->stored_bytes = squeeze(pack->packer, part, (uint8_t *)(frame + 1));
	if (frame->stored_bytes == 0) {
		frame->stored_bytes = frame->raw_bytes;
		memcpy(frame + 1, part->data, part->len);
	}
	bytes = blazei_frame_seal(frame, &pack->place);
	pack->frames->len += bytes;
	pack->place.offset += bytes;
	pack->packer->state_bytes += state ? bytes : 0;
	return 0;
}

/* A run of entries that one frame takes; an entry that no frame takes has frames of its own. */
static int part_add(struct pack *pack, struct blazei_chunk part)
{
	const bool state = blazei_body_is_state(part.data, part.len);
	const size_t most = BLAZEI_FRAME_BODY_MAX & ~(size_t)7;
	int error = 0;

	while (error == 0 && part.len > BLAZEI_FRAME_BODY_MAX) {
		struct blazei_chunk first = {
			.data = part.data,
			.len = most,
			.first_lsn = part.first_lsn,
		};

		error = frame_add(pack, &first, BLAZEI_FRAME_MORE, state);
		part.data += most;
		part.len -= most;
	}
	return error == 0 ? frame_add(pack, &part, 0, state) : error;
}

int blazei_pack(struct blazei_packer *packer, const struct blazei_frame_place *place,
                uint64_t durable_lsn, const struct blazei_chunk *chunk,
                struct blazei_buffer *ret_frames)
{
	struct pack pack = { packer, *place, durable_lsn, ret_frames };
	struct blazei_chunk part = { .data = chunk->data, .first_lsn = chunk->first_lsn };
	const uint8_t *at = chunk->data, *end = chunk->data + chunk->len;
	int error = 0;

	ret_frames->len = 0;
	packer->state_bytes = 0;
	while (error == 0 && at < end) {
		const uint32_t bytes = blazei_entry_bytes(at);
		const bool alike =
		        blazei_body_is_state(at, bytes) == blazei_body_is_state(part.data, bytes);

		if (part.count > 0 && (!alike || part.len + bytes > BLAZEI_FRAME_BODY_MAX)) {
			error = part_add(&pack, part);
			part = (struct blazei_chunk){ .data = at,
				                      .first_lsn = part.first_lsn + part.count };
		}
		part.len += bytes;
		part.count++;
		at += bytes;
	}
	return error == 0 && part.count > 0 ? part_add(&pack, part) : error;
}

void blazei_packer_fini(struct blazei_packer *packer)
{
	ZSTD_freeCCtx(packer->zstd);
	packer->zstd = NULL;
}
