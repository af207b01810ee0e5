/* SPDX-License-Identifier: Apache-2.0 */
/* A bar that shows how far a long command is, where somebody looks at it: on a terminal only. */
#include "lib/tool/blaze-db.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SHOW_NS  (UINT64_C(200) * 1000 * 1000)
#define BAR_WIDE 30u

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void tool_progress_begin(struct tool_progress *progress, const char *verb, uint64_t total)
{
	memset(progress, 0, sizeof(*progress));
	progress->verb = verb;
	progress->total = total;
	progress->began_ns = now_ns();
	progress->shown_ns = progress->began_ns;
	progress->shown = isatty(STDERR_FILENO) != 0;
}

static void bar_draw(const struct tool_progress *progress, uint64_t done, uint64_t records,
                     uint64_t time_ns)
{
	char bar[BAR_WIDE + 1] = "";
	double seconds = (double)(time_ns - progress->began_ns) / 1e9;
	double part = progress->total > 0 ? (double)done / (double)progress->total : 0;
	unsigned full = (unsigned)((part < 1 ? part : 1) * BAR_WIDE);

	memset(bar, ' ', BAR_WIDE);
	memset(bar, '#', full);
	fprintf(stderr, "\r%s ", progress->verb);
	if (progress->total > 0)
		fprintf(stderr, "[%s] %3.0f %%  ", bar, (part < 1 ? part : 1) * 100);
	fprintf(stderr, "%" PRIu64 " records, %.0f/s\033[K", records,
	        seconds > 0 ? (double)records / seconds : 0.0);
	fflush(stderr);
}

void tool_progress_show(struct tool_progress *progress, uint64_t done, uint64_t records)
{
	uint64_t time_ns;

	if (!progress->shown)
		return;
	time_ns = now_ns();
	if (time_ns - progress->shown_ns < SHOW_NS && done != progress->total)
		return;
	progress->shown_ns = time_ns;
	bar_draw(progress, done, records, time_ns);
}

void tool_progress_end(struct tool_progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
}
