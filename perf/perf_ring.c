/* SPDX-License-Identifier: Apache-2.0 */
/* blaze-perf ring, the conductor's side: yardsticks, load, latency, yardsticks again.
 *
 * The order within one call is line, futex, yard, the ring, yard, line: a figure of the ring
 * stands between two of the machine, and `mixed` or a spread of the two yards says when the machine
 * changed in between. Lanes are lossless unless --stall says otherwise, so that every record that
 * is missing is a defect; with a stall budget, laps are counted apart. */
#include "perf/perf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "perf/yard.h"

#define YARD_SECONDS_MAX  0.5
#define FUTEX_SECONDS_MAX 0.5

static double at_most(double a, double b)
{
	return a < b ? a : b;
}

static int yard_rate(const struct perf_options *options, double *ret_rate)
{
	struct yard_result result;
	bool pinned = perf_cpu_count() > 1;
	const struct yard_options yard = {
		.lane_bytes = options->lane_bytes,
		.size = options->size,
		.batch = options->batch,
		.seconds = at_most(options->seconds, YARD_SECONDS_MAX),
		.writer_cpu = pinned ? 0 : -1,
		.reader_cpu = pinned ? 1 : -1,
	};
	int error = yard_measure(&yard, &result);

	if (error == 0 && (result.lost != 0 || result.wrong != 0))
		error = -EBADMSG;
	if (error == 0)
		*ret_rate = result.ops_per_second;
	return error;
}

/* The slowest reader's rate counts: all read everything. */
void perf_collect(const struct perf_crew *crew, struct perf_result *result)
{
	double rate = 0;

	for (unsigned i = 0; i < crew->started; i++) {
		const struct perf_seat *seat = &crew->board->seats[i];

		result->lost += seat->lost;
		result->wrong += seat->wrong;
		result->lapped += seat->lapped;
		result->laps += seat->laps;
		result->catch_ups += seat->catch_ups;
		result->records += seat->records;
		if (seat->rate != 0 && (rate == 0 || seat->rate < rate))
			rate = seat->rate;
	}
	if (rate != 0)
		result->ops_per_second = rate;
}

/* Where the index-th of count writers or readers runs: on its own CPU while there are enough, else
 * the writers share the first half and the readers the second. */
static int cpu_of(const struct perf_options *o, bool reader, unsigned index)
{
	unsigned cpus = perf_cpu_count();
	unsigned first = cpus / 2 > 0 ? cpus / 2 : 1;

	if (o->writers + o->readers <= cpus)
		return (int)(reader ? o->writers + index : index);
	if (!reader)
		return (int)(index % first);
	return (int)(first + index % (cpus > first ? cpus - first : 1));
}

static int start_load(struct perf_crew *crew, const struct perf_options *o)
{
	int error = 0;

	for (unsigned i = 0; i < o->idle && error >= 0; i++)
		error = perf_crew_start(crew, "ring-idle", i, -1);
	if (error >= 0)
		error = perf_crew_ready(crew);
	if (o->duplex) {
		for (unsigned i = 0; i < 2 && error >= 0; i++)
			error = perf_crew_start(crew, "ring-both", i, (int)i);
		return error < 0 ? error : perf_crew_ready(crew);
	}
	for (unsigned i = 0; i < o->readers && error >= 0; i++)
		error = perf_crew_start(crew, "ring-reader", i, cpu_of(o, true, i));
	/* Readers stand before the first writer's lane is made: they read it from its start. */
	if (error >= 0)
		error = perf_crew_ready(crew);
	for (unsigned i = 0; i < o->writers && error >= 0; i++)
		error = perf_crew_start(crew, "ring-writer", i, cpu_of(o, false, i));
	return error < 0 ? error : perf_crew_ready(crew);
}

static int measure_load(const struct perf_options *options, const char *name,
                        struct perf_result *result)
{
	struct perf_crew crew;
	int error = perf_crew_new(options, name, &crew);

	if (error != 0)
		return error;
	error = start_load(&crew, options);
	if (error == 0)
		error = perf_crew_run(&crew, options->seconds);
	if (error == 0) {
		perf_collect(&crew, result);
		if (options->latency == PERF_LATENCY_LOAD)
			perf_crew_latency(&crew, &result->latency);
	}
	perf_crew_free(&crew);
	return error;
}

/* Two roles that pass single records; idle participants stand by here too. */
static int measure_latency(const struct perf_options *options, const char *name,
                           struct perf_result *result)
{
	bool asleep = options->latency == PERF_LATENCY_ASLEEP;
	struct perf_crew crew;
	int error = perf_crew_new(options, name, &crew);

	if (error != 0)
		return error;
	for (unsigned i = 0; i < options->idle && error >= 0; i++)
		error = perf_crew_start(&crew, "ring-idle", i, -1);
	if (error >= 0)
		error = perf_crew_start(&crew, asleep ? "ring-sleep" : "ring-pong", 0, 1);
	if (error >= 0)
		error = perf_crew_ready(&crew);
	if (error >= 0)
		error = perf_crew_start(&crew, asleep ? "ring-wake" : "ring-ping", 0, 0);
	if (error >= 0)
		error = perf_crew_ready(&crew);
	if (error == 0)
		error = perf_crew_run(&crew, options->seconds);
	if (error == 0) {
		perf_collect(&crew, result);
		perf_crew_latency(&crew, &result->latency);
	}
	perf_crew_free(&crew);
	return error;
}

int perf_measure_doze(const struct perf_options *options, const char *role, const char *name,
                      struct perf_result *result)
{
	struct perf_crew crew;
	int error = perf_crew_new(options, name, &crew);

	if (error != 0)
		return error;
	error = perf_crew_start(&crew, role, 0, 0);
	if (error >= 0)
		error = perf_crew_ready(&crew);
	if (error >= 0)
		error = perf_crew_run(&crew, options->seconds < 2 ? 2 : options->seconds);
	if (error >= 0 && crew.board->seats[0].measured_ns != 0)
		result->cpu_share = (double)crew.board->seats[0].cpu_ns /
		                    (double)crew.board->seats[0].measured_ns;
	perf_crew_free(&crew);
	return error < 0 ? error : 0;
}

/* One participant that sleeps in blaze_ring_wait while nothing is published. */
static int measure_idle(const struct perf_options *options, const char *name,
                        struct perf_result *result)
{
	return perf_measure_doze(options, "ring-doze", name, result);
}

int perf_measure_between(const struct perf_options *options, const perf_part parts[2], bool yard,
                         struct perf_result *r)
{
	char name[48], ring[56];
	int error;

	memset(r, 0, sizeof(*r));
	r->options = *options;
	r->cpu_share = -1;
	snprintf(name, sizeof(name), "perf.%ld", (long)getpid());
	error = perf_line_measure(&r->line_before);
	if (error == 0)
		error = perf_futex_measure(at_most(options->seconds, FUTEX_SECONDS_MAX), &r->futex);
	if (error == 0 && yard)
		error = yard_rate(options, &r->yard_before);
	for (unsigned i = 0; i < 2 && error == 0; i++)
		if (parts[i] != NULL)
			error = parts[i](options, name, r);
	/* Gone already when all roles left in order. */
	snprintf(ring, sizeof(ring), "db.%s", name);
	(void)blaze_ring_unlink(name);
	(void)blaze_ring_unlink(ring);
	if (error == 0 && yard)
		error = yard_rate(options, &r->yard_after);
	if (error == 0)
		error = perf_line_measure(&r->line_after);
	return error;
}

int perf_ring_measure(const struct perf_options *options, struct perf_result *ret_result)
{
	bool latency =
	        options->latency == PERF_LATENCY_SPIN || options->latency == PERF_LATENCY_ASLEEP;
	const perf_part parts[2] = { measure_load, latency ? measure_latency : NULL };

	return perf_measure_between(options, parts, true, ret_result);
}

int perf_ring_measure_latency(const struct perf_options *options, struct perf_result *ret_result)
{
	const perf_part parts[2] = { measure_latency, NULL };

	return perf_measure_between(options, parts, false, ret_result);
}

int perf_ring_measure_idle(const struct perf_options *options, struct perf_result *ret_result)
{
	const perf_part parts[2] = { measure_idle, NULL };

	return perf_measure_between(options, parts, false, ret_result);
}
