/* SPDX-License-Identifier: Apache-2.0 */
/* Reading lines: bounded, so that a file without an end of line takes no more than one record may,
 * and interruptible. */
#include "lib/tool/blaze-db.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_BYTES ((size_t)64 << 10)

/* Makes room for a chunk behind what is there. */
static int room_make(struct tool_lines *lines)
{
	char *data;

	if (lines->start > 0) {
		memmove(lines->data, lines->data + lines->start, lines->len - lines->start);
		lines->len -= lines->start;
		lines->start = 0;
	}
	if (lines->len > TOOL_JSON_MAX)
		return -E2BIG;
	/* And a byte, so that a last line can be ended. */
	if (lines->cap - lines->len > CHUNK_BYTES)
		return 0;
	data = realloc(lines->data, lines->cap * 2 + 2 * CHUNK_BYTES);
	if (data == NULL)
		return -ENOMEM;
	lines->data = data;
	lines->cap = lines->cap * 2 + 2 * CHUNK_BYTES;
	return 0;
}

static int chunk_read(struct tool_lines *lines)
{
	int error = room_make(lines);
	ssize_t n;

	if (error != 0)
		return error;
	do {
		if (tool_stopping())
			return -EINTR;
		n = read(lines->fd, lines->data + lines->len, CHUNK_BYTES);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	lines->len += (size_t)n;
	lines->bytes += (uint64_t)n;
	lines->ended = n == 0;
	return 0;
}

int tool_line(struct tool_lines *lines, char **ret_line, size_t *ret_len)
{
	size_t searched = 0;

	for (;;) {
		size_t left = lines->len - lines->start;
		char *line = lines->data + lines->start;
		char *end = left > searched ? memchr(line + searched, '\n', left - searched) : NULL;
		int error;

		if (end != NULL || (lines->ended && left > 0)) {
			*ret_line = line;
			*ret_len = end != NULL ? (size_t)(end - line) : left;
			lines->start += *ret_len + (end != NULL);
			lines->number++;
			return *ret_len <= TOOL_JSON_MAX ? 1 : -E2BIG;
		}
		if (lines->ended)
			return 0;
		searched = left;
		error = chunk_read(lines);
		if (error != 0) {
			lines->number += error == -E2BIG;
			return error;
		}
	}
}

void tool_lines_free(struct tool_lines *lines)
{
	free(lines->data);
	lines->data = NULL;
}

int tool_read_all(char **ret_data, size_t *ret_len)
{
	struct tool_lines lines = { .fd = STDIN_FILENO };
	int error = 0;

	while (error == 0 && !lines.ended)
		error = chunk_read(&lines);
	if (error != 0) {
		tool_lines_free(&lines);
		return error;
	}
	*ret_data = lines.data;
	*ret_len = lines.len;
	return 0;
}
