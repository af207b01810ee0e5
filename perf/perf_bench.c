/* SPDX-License-Identifier: Apache-2.0 */
/* blaze-perf bench: the bars, one row each, medians of several runs.
 *
 * Idle is not nothing: who sleeps looks up every 100 ms, which takes 0.01 to 0.1 % of a CPU.
 *
 * METHOD All rows are run once, then all again: what drifts on the machine meets every row. A
 *        ratio is taken within one call (against the yardstick, line or futex measured in it) or
 *        within one round (against another row), and the median is that of the ratios. The exit
 *        status tells of content only; a missed bar is printed. */
#include "perf/perf.h"

#include <stdio.h>
#include <string.h>

#define BENCH_RUNS_MAX 99u

enum against {
	AGAINST_NOTHING,
	AGAINST_YARD,
	AGAINST_LINE,
	AGAINST_FUTEX,
	AGAINST_ROW, /* the one that row names */
};

enum figure {
	FIGURE_RATE,      /* M records per second, at the slowest reader */
	FIGURE_DELIVERED, /* the same, summed over readers and directions */
	FIGURE_P50,       /* ns */
	FIGURE_P99,
	FIGURE_CPU, /* per cent of one CPU */
};

struct bench_row {
	const char *name;
	int (*measure)(const struct perf_options *options, struct perf_result *ret_result);
	uint32_t writers, readers, batch, idle, latency, txn, read;
	bool duplex;
	enum figure figure;
	enum against against;
	unsigned row;
	double bar; /* at least, for rates; at most, for the others; 0: none */
};

#define RING_LOAD(name_, w, r, b, i)                                                               \
	.name = name_, .measure = perf_ring_measure, .writers = w, .readers = r, .batch = b,       \
	.idle = i, .latency = PERF_LATENCY_NONE

static const struct bench_row rows[] = {
	{ RING_LOAD("ring 64 B, 1 to 1, batch 16", 1, 1, 16, 0), .against = AGAINST_YARD,
	  .bar = 0.8 },
	{ RING_LOAD("ring 64 B, 1 to 1, one by one", 1, 1, 1, 0), .against = AGAINST_YARD,
	  .bar = 0.8 },
	{ RING_LOAD("1 writer, 3 readers, all", 1, 3, 16, 0), .figure = FIGURE_DELIVERED,
	  .against = AGAINST_ROW, .row = 0, .bar = 0.33 },
	{ RING_LOAD("3 writers, 1 reader", 3, 1, 16, 0), .against = AGAINST_ROW, .row = 0,
	  .bar = 0.33 },
	{ RING_LOAD("both directions, sum", 1, 1, 16, 0), .duplex = true,
	  .figure = FIGURE_DELIVERED, .against = AGAINST_ROW, .row = 0, .bar = 0.33 },
	{ RING_LOAD("1 idle participant", 1, 1, 16, 1) },
	{ RING_LOAD("4 idle participants", 1, 1, 16, 4), .against = AGAINST_ROW, .row = 5,
	  .bar = 0.8 },
	{ RING_LOAD("16 idle participants", 1, 1, 16, 16), .against = AGAINST_ROW, .row = 5,
	  .bar = 0.8 },
	{ RING_LOAD("62 idle participants", 1, 1, 16, 62), .against = AGAINST_ROW, .row = 5,
	  .bar = 0.8 },
	{ .name = "ring one way, spinning, p50",
	  .measure = perf_ring_measure_latency,
	  .latency = PERF_LATENCY_SPIN,
	  .figure = FIGURE_P50,
	  .against = AGAINST_LINE,
	  .bar = 2.2 },
	{ .name = "ring one way, asleep, p99",
	  .measure = perf_ring_measure_latency,
	  .latency = PERF_LATENCY_ASLEEP,
	  .figure = FIGURE_P99,
	  .against = AGAINST_FUTEX,
	  .bar = 1.3 },
	{ .name = "db to db, single updates",
	  .measure = perf_db_measure,
	  .latency = PERF_LATENCY_NONE,
	  .bar = 4 },
	{ .name = "db to db, transactions of 16",
	  .measure = perf_db_measure,
	  .latency = PERF_LATENCY_NONE,
	  .txn = 16,
	  .bar = 8 },
	{ .name = "db to db, both directions, each",
	  .measure = perf_db_measure,
	  .latency = PERF_LATENCY_NONE,
	  .duplex = true,
	  .bar = 3 },
	{ .name = "get, 1 M records, beside a writer",
	  .measure = perf_db_measure,
	  .latency = PERF_LATENCY_NONE,
	  .read = PERF_READ_GET,
	  .bar = 2.5 },
	{ .name = "fetch, the same",
	  .measure = perf_db_measure,
	  .latency = PERF_LATENCY_NONE,
	  .read = PERF_READ_FETCH,
	  .bar = 6 },
	{ .name = "db write to visible, spinning, p50",
	  .measure = perf_db_measure_latency,
	  .latency = PERF_LATENCY_SPIN,
	  .figure = FIGURE_P50,
	  .bar = 1000 },
	{ .name = "db write to visible, asleep, p99",
	  .measure = perf_db_measure_latency,
	  .latency = PERF_LATENCY_ASLEEP,
	  .figure = FIGURE_P99,
	  .against = AGAINST_FUTEX,
	  .bar = 1.5 },
	{ .name = "idle database, CPU",
	  .measure = perf_db_measure_idle,
	  .figure = FIGURE_CPU,
	  .bar = 0.2 },
	{ .name = "idle ring, CPU",
	  .measure = perf_ring_measure_idle,
	  .figure = FIGURE_CPU,
	  .bar = 0.2 },
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

struct bench_column {
	double figures[BENCH_RUNS_MAX];
	double ratios[BENCH_RUNS_MAX];
	unsigned near, far, mixed;
};

static struct bench_column columns[ROW_COUNT];

static bool is_rate(enum figure figure)
{
	return figure == FIGURE_RATE || figure == FIGURE_DELIVERED;
}

static double figure_of(const struct bench_row *row, const struct perf_result *r)
{
	switch (row->figure) {
	case FIGURE_RATE:
		return r->ops_per_second / 1e6;
	case FIGURE_DELIVERED:
		return r->ops_per_second / 1e6 * (row->duplex ? 2 : row->readers);
	case FIGURE_P50:
		return r->latency.p50;
	case FIGURE_P99:
		return r->latency.p99;
	case FIGURE_CPU:
		return r->cpu_share * 100;
	}
	return 0;
}

static double reference_of(const struct bench_row *row, const struct perf_result *r, unsigned run)
{
	switch (row->against) {
	case AGAINST_YARD:
		return (r->yard_before + r->yard_after) / 2e6;
	case AGAINST_LINE:
		return (r->line_before.p50_ns + r->line_after.p50_ns) / 2;
	case AGAINST_FUTEX:
		return r->futex.p99;
	case AGAINST_ROW:
		return columns[row->row].figures[run];
	case AGAINST_NOTHING:
		break;
	}
	return 0;
}

/* Measures one row once. 0; 1 where content was lost or wrong; a negative errno value. */
static int bench_cell(unsigned index, unsigned run, const struct perf_options *given)
{
	const struct bench_row *row = &rows[index];
	struct bench_column *column = &columns[index];
	static struct perf_result result;
	struct perf_options options = *given;
	const char *placement;
	double reference;
	int error;

	options.writers = row->writers;
	options.readers = row->readers;
	options.batch = row->batch != 0 ? row->batch : 1;
	options.idle = row->idle;
	options.txn = row->txn != 0 ? row->txn : 1;
	options.read = row->read;
	options.latency = row->latency;
	options.duplex = row->duplex;
	error = row->measure(&options, &result);
	if (error != 0) {
		fprintf(stderr, "blaze-perf: %s: %s\n", row->name, blaze_strerror(error));
		return error;
	}
	column->figures[run] = figure_of(row, &result);
	reference = reference_of(row, &result, run);
	column->ratios[run] = reference > 0 ? column->figures[run] / reference : 0;
	placement = perf_placement(result.line_before.p50_ns, result.line_after.p50_ns);
	column->near += placement[0] == 'n';
	column->far += placement[0] == 'f';
	column->mixed += placement[0] == 'm';
	if (result.lost == 0 && result.wrong == 0)
		return 0;
	fprintf(stderr, "blaze-perf: %s: %llu records lost, %llu wrong\n", row->name,
	        (unsigned long long)result.lost, (unsigned long long)result.wrong);
	return 1;
}

static void print_row(unsigned index, unsigned runs)
{
	static const char *const names[] = { "", "yard", "line", "futex wake p99", "" };
	static const char *const units[] = { "M/s", "M/s", "ns", "ns", "%" };
	const struct bench_row *row = &rows[index];
	struct bench_column *column = &columns[index];
	double middle = perf_median(column->figures, runs);
	double ratio = perf_median(column->ratios, runs);
	double judged = row->against == AGAINST_NOTHING ? middle : ratio;

	printf("| %s | %.*f [%.*f..%.*f] %s | ", row->name, is_rate(row->figure) ? 1 : 2, middle,
	       is_rate(row->figure) ? 1 : 2, column->figures[0], is_rate(row->figure) ? 1 : 2,
	       column->figures[runs - 1], units[row->figure]);
	if (row->against != AGAINST_NOTHING)
		printf("%.2f x %s [%.2f..%.2f]", ratio,
		       row->against == AGAINST_ROW ? rows[row->row].name : names[row->against],
		       column->ratios[0], column->ratios[runs - 1]);
	printf(" | ");
	if (row->bar > 0)
		printf("%s %.2f: %s", is_rate(row->figure) ? "at least" : "at most", row->bar,
		       (is_rate(row->figure) ? judged >= row->bar : judged <= row->bar) ? "met"
		                                                                        : "MISSED");
	printf(" | %u/%u/%u |\n", column->near, column->far, column->mixed);
}

int perf_bench(const struct perf_options *options)
{
	unsigned runs = options->runs;
	int status = 0;

	for (unsigned run = 0; run < runs; run++) {
		fprintf(stderr, "run %u of %u\n", run + 1, runs);
		for (unsigned index = 0; index < ROW_COUNT; index++) {
			int error = bench_cell(index, run, options);

			if (error < 0)
				return 1;
			status |= error;
		}
	}
	printf("%s; %s; %u runs of %.2f s, median [min..max]\n\n", perf_machine(), perf_source(),
	       runs, options->seconds);
	printf("| what | figure | ratio | bar | near/far/mixed |\n|---|---|---|---|---|\n");
	for (unsigned index = 0; index < ROW_COUNT; index++)
		print_row(index, runs);
	return status;
}
