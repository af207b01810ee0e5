/* SPDX-License-Identifier: Apache-2.0 */
/* Packing a run of the log into frames; see pack.h. */
#include "lib/store/pack.h"

struct pack {
	struct blazei_frame_place place; /* of the next frame */
	uint64_t durable_lsn;
	struct blazei_buffer *frames;
};

/* Adds one frame, with one part of the log, to those that are made. */
static int frame_add(struct pack *pack, const struct blazei_chunk *part, uint32_t flags)
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
	memcpy(frame + 1, part->data, part->len);
	bytes = blazei_frame_seal(frame, &pack->place);
	pack->frames->len += bytes;
	pack->place.offset += bytes;
	return 0;
}

/* An entry that no frame takes has frames of its own. */
static int frames_add_long(struct pack *pack, struct blazei_chunk entry)
{
	const size_t most = BLAZEI_FRAME_BODY_MAX & ~(size_t)7;
	int error = 0;

	while (error == 0 && entry.len > most) {
		struct blazei_chunk part = {
			.data = entry.data,
			.len = most,
			.first_lsn = entry.first_lsn,
		};

		error = frame_add(pack, &part, BLAZEI_FRAME_MORE);
		entry.data += most;
		entry.len -= most;
	}
	return error == 0 ? frame_add(pack, &entry, 0) : error;
}

int blazei_pack(const struct blazei_frame_place *place, uint64_t durable_lsn,
                const struct blazei_chunk *chunk, struct blazei_buffer *ret_frames)
{
	struct pack pack = { *place, durable_lsn, ret_frames };
	struct blazei_chunk part = { .data = chunk->data, .first_lsn = chunk->first_lsn };
	const uint8_t *at = chunk->data, *end = chunk->data + chunk->len;
	int error = 0;

	ret_frames->len = 0;
	while (error == 0 && at < end) {
		uint32_t bytes = blazei_entry_bytes(at);

		if (part.len + bytes > BLAZEI_FRAME_BODY_MAX && part.count > 0) {
			error = frame_add(&pack, &part, 0);
			part = (struct blazei_chunk){ .data = at,
				                      .first_lsn = part.first_lsn + part.count };
		}
		part.len += bytes;
		part.count++;
		at += bytes;
		if (error == 0 && part.len > BLAZEI_FRAME_BODY_MAX) {
			error = frames_add_long(&pack, part);
			part = (struct blazei_chunk){ .data = at, .first_lsn = part.first_lsn + 1 };
		}
	}
	if (error == 0 && part.count > 0)
		error = frame_add(&pack, &part, 0);
	return error;
}
