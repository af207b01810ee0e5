/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the program blaze-ring share: its command line and its ways to fail. */
#ifndef BLAZE_RING_TOOL_H
#define BLAZE_RING_TOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include <blaze/blaze.h>

enum tool_exit {
	TOOL_DONE = 0,
	TOOL_FAILED = 1,
	TOOL_USAGE = 2,
	TOOL_NO_RING = 3,
	TOOL_LOST = 4, /* tail: records were lost */
};

struct tool {
	const char *command;
	const char *name;
	const char *file; /* of publish */
	const char *data; /* of publish */
	uint64_t count;   /* of tail; 0: no limit */
	uint32_t mode;    /* 0600, or 0660 with --group */
	bool json;
	bool hex;
};

/* Says on standard error what failed and why; the exit status. */
int tool_fail(const struct tool *tool, const char *what, int error);
/* Prints and frees one JSON value on a line; NULL: there was no memory for it. */
int tool_print_json(json_t *value);
/* The exit status: failed where standard output could not be written. */
int tool_finish(int status);

int tool_ls(const struct tool *tool);
int tool_stat(const struct tool *tool);
int tool_clean(const struct tool *tool);
int tool_rm(const struct tool *tool);
int tool_tail(const struct tool *tool);
int tool_publish(const struct tool *tool);

#endif
