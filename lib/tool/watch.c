/* SPDX-License-Identifier: Apache-2.0 */
/* blaze-db watch: what happens in a database that a program has open, as JSON lines. */
#include "lib/tool/blaze-db.h"

#include <errno.h>

#include "lib/db/lane_client.h"

struct watching {
	uint64_t left; /* events; 0: no end */
};

static int print_event(void *arg, const char *text, uint32_t len)
{
	struct watching *watching = arg;

	fwrite(text, 1, len, stdout);
	putchar('\n');
	/* Each as it comes, whoever reads. */
	fflush(stdout);
	if (tool_stopping())
		return -EINTR;
	return watching->left > 0 && --watching->left == 0 ? 1 : 0;
}

int tool_watch(const struct tool *tool)
{
	struct watching watching = { .left = tool->count };
	struct blazei_lane_caller *lane;
	char who[96];
	int status, result;

	if (!tool_held(tool->dir, who, sizeof(who))) {
		/* Says what is wrong where there is none. */
		struct tool_db db = { .db = NULL };

		status = tool_open(tool, false, &db);
		if (status != TOOL_DONE)
			return status;
		tool_db_close(&db);
		return tool_complain("watch: no program has %s open, so nothing happens in it",
		                     tool->dir);
	}
	status = tool_connect(tool, who, &lane);
	if (status != TOOL_DONE)
		return status;
	result = blazei_lane_watch(lane, print_event, &watching);
	blazei_lane_disconnect(lane);
	if (result == 1 || result == -EINTR)
		return TOOL_DONE;
	if (result == -EPIPE)
		return tool_complain("watch: %s has closed %s, or ended", who, tool->dir);
	return tool_fail(tool, result);
}
