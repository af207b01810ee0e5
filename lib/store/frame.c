/* SPDX-License-Identifier: Apache-2.0 */
/* Making and checking frames; see frame.h. */
#include "lib/store/frame.h"

#include "lib/op/hash.h"

static XXH128_hash_t frame_hash(const void *frame, size_t len,
                                const struct blazei_frame_place *place)
{
	struct blazei_frame_header header;
	XXH3_state_t state;

	memcpy(&header, frame, sizeof(header));
	header.hash[0] = 0;
	header.hash[1] = 0;
	XXH3_INITSTATE(&state);
	XXH3_128bits_reset_withSeed(&state, XXH3_64bits(place, sizeof(*place)));
	XXH3_128bits_update(&state, &header, sizeof(header));
	XXH3_128bits_update(&state, (const uint8_t *)frame + sizeof(header), len - sizeof(header));
	return XXH3_128bits_digest(&state);
}

uint32_t blazei_frame_seal(struct blazei_frame_header *frame,
                           const struct blazei_frame_place *place)
{
	uint32_t used = (uint32_t)sizeof(*frame) + frame->stored_bytes;
	uint32_t bytes = blazei_frame_bytes(frame->stored_bytes);
	XXH128_hash_t hash;

	assert(frame->raw_bytes <= BLAZEI_FRAME_BODY_MAX);
	assert(frame->stored_bytes <= frame->raw_bytes);
	assert(place->offset % BLAZEI_FRAME_UNIT == 0);
	frame->magic = BLAZEI_FRAME_MAGIC;
	frame->version = BLAZEI_FRAME_VERSION;
	frame->kind = BLAZEI_FRAME_LOG;
	frame->segment = place->segment;
	frame->incarnation = place->incarnation;
	frame->offset = place->offset;
	memset((uint8_t *)frame + used, 0, bytes - used);
	hash = frame_hash(frame, bytes, place);
	frame->hash[0] = hash.low64;
	frame->hash[1] = hash.high64;
	return bytes;
}

int64_t blazei_frame_check(const void *data, size_t len, const struct blazei_frame_place *place)
{
	struct blazei_frame_header header;
	XXH128_hash_t hash;
	uint32_t bytes;

	if (len < sizeof(header))
		return -EBADMSG;
	memcpy(&header, data, sizeof(header));
	if (header.magic != BLAZEI_FRAME_MAGIC || header.version != BLAZEI_FRAME_VERSION ||
	    header.kind != BLAZEI_FRAME_LOG || (header.flags & ~BLAZEI_FRAME_MORE) != 0)
		return -EBADMSG;
	if (header.segment != place->segment || header.incarnation != place->incarnation ||
	    header.offset != place->offset)
		return -EBADMSG;
	if (header.raw_bytes > BLAZEI_FRAME_BODY_MAX || header.stored_bytes > header.raw_bytes ||
	    header.first_lsn == 0 || header.durable_lsn >= header.first_lsn ||
	    header.count > header.raw_bytes)
		return -EBADMSG;
	bytes = blazei_frame_bytes(header.stored_bytes);
	if (bytes > len)
		return -EBADMSG;
	hash = frame_hash(data, bytes, place);
	if (hash.low64 != header.hash[0] || hash.high64 != header.hash[1])
		return -EBADMSG;
	return bytes;
}
