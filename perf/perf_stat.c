/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks, medians and names for what was measured where. */
#include "perf/perf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

uint64_t perf_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

void perf_sleep_ns(uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / UINT64_C(1000000000)),
		               .tv_nsec = (long)(ns % UINT64_C(1000000000)) };

	nanosleep(&ts, NULL);
}

/* Compares the tick counter with the clock over 20 ms, once per process. */
double perf_tick_ns(void)
{
	static double tick_ns;
	uint64_t from_ns, from_ticks, to_ns;

	if (tick_ns != 0)
		return tick_ns;
	from_ns = perf_now_ns();
	from_ticks = perf_ticks();
	do {
		to_ns = perf_now_ns();
	} while (to_ns - from_ns < UINT64_C(20000000));
	tick_ns = (double)(to_ns - from_ns) / (double)(perf_ticks() - from_ticks);
	return tick_ns;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

double perf_median(double *values, unsigned count)
{
	if (count == 0)
		return 0;
	qsort(values, count, sizeof(*values), compare_doubles);
	return count % 2 != 0 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

const char *perf_placement(double before_ns, double after_ns)
{
	if (before_ns < PERF_NEAR_NS && after_ns < PERF_NEAR_NS)
		return "near";
	if (before_ns > PERF_FAR_NS && after_ns > PERF_FAR_NS)
		return "far";
	return "mixed";
}

/* Processor, number of CPUs and kernel, without characters that JSON would have to escape. */
const char *perf_machine(void)
{
	static char text[200];
	char line[256] = "", *model = NULL;
	struct utsname system;
	FILE *info;

	if (text[0] != '\0')
		return text;
	info = fopen("/proc/cpuinfo", "re");
	while (info != NULL && fgets(line, sizeof(line), info) != NULL) {
		if (strncmp(line, "model name", 10) != 0 || (model = strchr(line, ':')) == NULL)
			continue;
		model += strspn(model, ": \t");
		model[strcspn(model, "\n\"\\")] = '\0';
		break;
	}
	if (info != NULL)
		fclose(info);
	if (uname(&system) != 0)
		strcpy(system.release, "?");
	snprintf(text, sizeof(text), "%.80s, %ld CPUs, Linux %.60s",
	         model != NULL ? model : "unknown processor", sysconf(_SC_NPROCESSORS_ONLN),
	         system.release);
	return text;
}

/* The commit that `make bench` says it built, or NULL: a program by itself can't know. */
static const char *commit(void)
{
	const char *text = getenv("BLAZE_PERF_COMMIT");

	if (text == NULL || text[0] == '\0' ||
	    strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz.-+") != strlen(text))
		return NULL;
	return text;
}

const char *perf_source(void)
{
	static char text[128];

	if (commit() != NULL)
		snprintf(text, sizeof(text), "commit %.100s", commit());
	else
		snprintf(text, sizeof(text), "version %.100s", blaze_version());
	return text;
}

const char *perf_source_json(void)
{
	static char text[256];

	if (commit() != NULL)
		snprintf(text, sizeof(text), "\"version\":\"%.100s\",\"commit\":\"%.100s\"",
		         blaze_version(), commit());
	else
		snprintf(text, sizeof(text), "\"version\":\"%.100s\",\"commit\":null",
		         blaze_version());
	return text;
}
