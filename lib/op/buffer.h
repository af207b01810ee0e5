/* SPDX-License-Identifier: Apache-2.0 */
/* A run of bytes that grows up to a limit: where JSON text and the values read from it are made.
 *
 * A call that fails leaves the content as it was. Zero but for max is an empty buffer. */
#ifndef BLAZEI_BUFFER_H
#define BLAZEI_BUFFER_H

#include "lib/base/base.h"

struct blazei_buffer {
	uint8_t *data;
	size_t len;
	size_t cap;
	size_t max; /* len never exceeds it */
};

/* Makes room for extra bytes behind len. 0, -E2BIG beyond max, -ENOMEM. */
int blazei_buffer_reserve(struct blazei_buffer *buffer, size_t extra);

int blazei_buffer_append(struct blazei_buffer *buffer, const void *data, size_t len);

void blazei_buffer_free(struct blazei_buffer *buffer);

#endif
