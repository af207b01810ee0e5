/* SPDX-License-Identifier: Apache-2.0 */
/* Taking bodies out of frames; see pack.h. */
#include <stdlib.h>

#include <zstd.h>

#include "lib/store/pack.h"

int blazei_unpack(struct blazei_unpacker *unpacker, const struct blazei_frame_header *frame,
                  const uint8_t **ret_body)
{
	size_t bytes;

	*ret_body = (const uint8_t *)(frame + 1);
	if (frame->stored_bytes == frame->raw_bytes)
		return 0;
	if (unpacker->zstd == NULL)
		unpacker->zstd = ZSTD_createDCtx();
	if (unpacker->body == NULL)
		unpacker->body = aligned_alloc(BLAZEI_FRAME_UNIT, BLAZEI_FRAME_BYTES_MAX);
	if (unpacker->zstd == NULL || unpacker->body == NULL)
		return -ENOMEM;
	bytes = ZSTD_decompressDCtx(unpacker->zstd, unpacker->body, BLAZEI_FRAME_BODY_MAX,
	                            *ret_body, frame->stored_bytes);
	if (bytes != frame->raw_bytes)
		return -EBADMSG;
	*ret_body = unpacker->body;
	return 0;
}

void blazei_unpacker_fini(struct blazei_unpacker *unpacker)
{
	ZSTD_freeDCtx(unpacker->zstd);
	free(unpacker->body);
	*unpacker = (struct blazei_unpacker){ .zstd = NULL };
}
