/* SPDX-License-Identifier: Apache-2.0 */
/* blaze-perf db, the conductor's side: two databases in two processes. */
#include "perf/perf.h"

/* Seat 0 receives, seat 1 sends; or both do both. */
static int run_pair(const struct perf_options *options, const char *name, const char *roles[2],
                    struct perf_result *result)
{
	struct perf_crew crew;
	int error = perf_crew_new(options, name, &crew);

	if (error != 0)
		return error;
	error = perf_crew_start(&crew, roles[0], 0, 1);
	if (error >= 0)
		error = perf_crew_start(&crew, roles[1], 1, 0);
	if (error >= 0)
		error = perf_crew_ready(&crew);
	if (error >= 0)
		error = perf_crew_run(&crew, options->seconds);
	if (error >= 0) {
		perf_collect(&crew, result);
		if (crew.board->sample_count > 0)
			perf_crew_latency(&crew, &result->latency);
	}
	perf_crew_free(&crew);
	return error < 0 ? error : 0;
}

static int measure_load(const struct perf_options *options, const char *name,
                        struct perf_result *result)
{
	const char *one_way[2] = { "db-reader", "db-writer" };
	const char *both_ways[2] = { "db-both", "db-both" };

	return run_pair(options, name, options->duplex ? both_ways : one_way, result);
}

static int measure_latency(const struct perf_options *options, const char *name,
                           struct perf_result *result)
{
	const char *roles[2] = { "db-pong", "db-ping" };

	return run_pair(options, name, roles, result);
}

static int measure_idle(const struct perf_options *options, const char *name,
                        struct perf_result *result)
{
	return perf_measure_doze(options, "db-doze", name, result);
}

int perf_db_measure(const struct perf_options *options, struct perf_result *ret_result)
{
	bool latency =
	        options->latency == PERF_LATENCY_SPIN || options->latency == PERF_LATENCY_ASLEEP;
	const perf_part parts[2] = { measure_load, latency ? measure_latency : NULL };

	return perf_measure_between(options, parts, false, ret_result);
}

int perf_db_measure_latency(const struct perf_options *options, struct perf_result *ret_result)
{
	const perf_part parts[2] = { measure_latency, NULL };

	return perf_measure_between(options, parts, false, ret_result);
}

int perf_db_measure_idle(const struct perf_options *options, struct perf_result *ret_result)
{
	const perf_part parts[2] = { measure_idle, NULL };

	return perf_measure_between(options, parts, false, ret_result);
}
