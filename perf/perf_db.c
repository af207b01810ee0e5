/* SPDX-License-Identifier: Apache-2.0 */
/* blaze-perf db, the conductor's side: two databases in two processes. */
#include "perf/perf.h"

/* Part 0 receives, part 1 sends; or both do both. The first role gets the seat and the part given,
 * and the second CPU. */
static int run_pair(const struct perf_options *options, const char *name, const char *roles[2],
                    struct perf_result *result)
{
	const unsigned part = options->read != PERF_READ_NONE;
	struct perf_options filled = *options;
	struct perf_crew crew;
	int error;

	if (filled.records == 0)
		filled.records = filled.read != PERF_READ_NONE ? 1000000 : 10000;
	result->options.records = filled.records;
	error = perf_crew_new(&filled, name, &crew);
	if (error != 0)
		return error;
	error = perf_crew_start(&crew, roles[0], part, 1);
	if (error >= 0)
		error = perf_crew_start(&crew, roles[1], 1 - part, 0);
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
	const char *reads[2] = { "db-feed", "db-look" };

	if (options->read != PERF_READ_NONE)
		return run_pair(options, name, reads, result);
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
	bool latency = options->read == PERF_READ_NONE && (options->latency == PERF_LATENCY_SPIN ||
	                                                   options->latency == PERF_LATENCY_ASLEEP);
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
