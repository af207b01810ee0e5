/* SPDX-License-Identifier: Apache-2.0 */
/* A run of bytes that grows by doubling, up to its limit. */
#include "lib/op/buffer.h"

#include <stdlib.h>

#define CAP_MIN 256

int blazei_buffer_reserve(struct blazei_buffer *buffer, size_t extra)
{
	uint8_t *data;
	size_t cap;

	if (extra > buffer->max - buffer->len)
		return -E2BIG;
	if (extra <= buffer->cap - buffer->len)
		return 0;
	cap = 2 * (buffer->len + extra);
	if (cap < CAP_MIN)
		cap = CAP_MIN;
	data = realloc(buffer->data, cap);
	if (data == NULL)
		return -ENOMEM;
	buffer->data = data;
	buffer->cap = cap;
	return 0;
}

int blazei_buffer_append(struct blazei_buffer *buffer, const void *data, size_t len)
{
	int r;

	if (len == 0)
		return 0;
	r = blazei_buffer_reserve(buffer, len);
	if (r < 0)
		return r;
	memcpy(buffer->data + buffer->len, data, len);
	buffer->len += len;
	return 0;
}

void blazei_buffer_free(struct blazei_buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct blazei_buffer){ .max = buffer->max };
}
