/* SPDX-License-Identifier: Apache-2.0 */
/* blaze-perf: measures the ring and the database, and verifies what it measures; see
 * blaze-perf(1).
 *
 * This file reads the command line. Exit status: 0 all content was right; 1 a record was lost or
 * wrong, or the run failed; 2 usage. Speed never decides it. */
#include "perf/perf.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/perf_store.h"
#include "perf/yard.h"

static const char usage_text[] =
        "usage: blaze-perf ring [--writers N] [--readers N] [--size BYTES] [--batch N]\n"
        "                       [--rate R] [--seconds S] [--lane BYTES] [--idle N] [--duplex]\n"
        "                       [--latency spin|asleep|load|none] [--stall NS|forever]\n"
        "                       [--reserve] [--sabotage corrupt|drop|duplicate] [--json]\n"
        "       blaze-perf db [--records N] [--seconds S] [--lane BYTES] [--txn N]\n"
        "                     [--duplex] [--read get|fetch] [--latency spin|asleep|none]\n"
        "                     [--sabotage ..] [--json]\n"
        "       blaze-perf yard [--size BYTES] [--batch N] [--seconds S] [--lane BYTES] [--json]\n"
        "       blaze-perf line | futex | idle [--seconds S] [--json]\n"
        "       blaze-perf store [--records N] [--runs N] [--seconds S] [--sabotage drop]\n"
        "       blaze-perf bench [--runs N] [--seconds S]\n";

enum option_code {
	OPT_WRITERS = 256,
	OPT_READERS,
	OPT_SIZE,
	OPT_BATCH,
	OPT_RATE,
	OPT_SECONDS,
	OPT_LANE,
	OPT_IDLE,
	OPT_DUPLEX,
	OPT_LATENCY,
	OPT_STALL,
	OPT_RESERVE,
	OPT_SABOTAGE,
	OPT_JSON,
	OPT_RUNS,
	OPT_RECORDS,
	OPT_TXN,
	OPT_READ,
	OPT_HELP,
};

static const struct option long_options[] = {
	{ "writers", required_argument, NULL, OPT_WRITERS },
	{ "readers", required_argument, NULL, OPT_READERS },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "batch", required_argument, NULL, OPT_BATCH },
	{ "rate", required_argument, NULL, OPT_RATE },
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "lane", required_argument, NULL, OPT_LANE },
	{ "idle", required_argument, NULL, OPT_IDLE },
	{ "duplex", no_argument, NULL, OPT_DUPLEX },
	{ "latency", required_argument, NULL, OPT_LATENCY },
	{ "stall", required_argument, NULL, OPT_STALL },
	{ "reserve", no_argument, NULL, OPT_RESERVE },
	{ "sabotage", required_argument, NULL, OPT_SABOTAGE },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "runs", required_argument, NULL, OPT_RUNS },
	{ "records", required_argument, NULL, OPT_RECORDS },
	{ "txn", required_argument, NULL, OPT_TXN },
	{ "read", required_argument, NULL, OPT_READ },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static int usage_error(const char *what)
{
	fprintf(stderr, "blaze-perf: %s\n%s", what, usage_text);
	return -EINVAL;
}

static const char *option_name; /* of the one at hand */

static int argument_error(const char *text, const char *what)
{
	fprintf(stderr, "blaze-perf: --%s %s: %s\n", option_name, text, what);
	return -EINVAL;
}

/* Reads a whole number from min to max. */
static int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < min ||
	    value > max) {
		char what[80];

		snprintf(what, sizeof(what), "not a whole number from %llu to %llu",
		         (unsigned long long)min, (unsigned long long)max);
		return argument_error(text, what);
	}
	*ret_value = value;
	return 0;
}

static int parse_count(const char *text, uint32_t min, uint32_t max, uint32_t *ret_value)
{
	uint64_t value;
	int error = parse_number(text, min, max, &value);

	if (error == 0)
		*ret_value = (uint32_t)value;
	return error;
}

static int parse_real(const char *text, double min, double max, double *ret_value)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end != '\0' || !(value >= min && value <= max)) {
		char what[80];

		snprintf(what, sizeof(what), "not a number from %g to %g", min, max);
		return argument_error(text, what);
	}
	*ret_value = value;
	return 0;
}

/* Finds text among count names; its place goes to *ret_value. */
static int parse_name(const char *text, const char *const *names, uint32_t count,
                      uint32_t *ret_value)
{
	for (uint32_t i = 0; i < count; i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret_value = i;
			return 0;
		}
	}
	fprintf(stderr, "blaze-perf: --%s %s: not one of", option_name, text);
	for (uint32_t i = 0; i < count; i++)
		fprintf(stderr, " %s", names[i]);
	fprintf(stderr, "\n");
	return -EINVAL;
}

static int parse_option(int code, struct perf_options *o)
{
	static const char *const latencies[] = { "spin", "asleep", "load", "none" };
	static const char *const reads[] = { "none", "get", "fetch" };
	static const char *const sabotages[] = { "none", "corrupt", "drop", "duplicate" };

	switch (code) {
	case OPT_WRITERS:
		return parse_count(optarg, 1, PERF_WRITERS_MAX, &o->writers);
	case OPT_READERS:
		return parse_count(optarg, 1, PERF_WRITERS_MAX, &o->readers);
	case OPT_SIZE:
		return parse_count(optarg, PATTERN_SIZE_MIN, 1u << 20, &o->size);
	case OPT_BATCH:
		return parse_count(optarg, 1, 1024, &o->batch);
	case OPT_RATE:
		return parse_real(optarg, 0, 1e12, &o->rate);
	case OPT_SECONDS:
		return parse_real(optarg, 0.01, 3600, &o->seconds);
	case OPT_LANE:
		return parse_number(optarg, 65536, UINT64_C(1) << 30, &o->lane_bytes);
	case OPT_IDLE:
		return parse_count(optarg, 0, BLAZE_RING_PARTICIPANTS_MAX - 2, &o->idle);
	case OPT_LATENCY:
		return parse_name(optarg, latencies, 4, &o->latency);
	case OPT_SABOTAGE:
		return parse_name(optarg, sabotages, 4, &o->sabotage);
	case OPT_RUNS:
		return parse_count(optarg, 1, 99, &o->runs);
	case OPT_RECORDS:
		return parse_count(optarg, 1, 10000000, &o->records);
	case OPT_TXN:
		return parse_count(optarg, 1, 1024, &o->txn);
	case OPT_READ:
		return parse_name(optarg, reads, 3, &o->read);
	case OPT_STALL:
		if (strcmp(optarg, "forever") == 0)
			o->stall_ns = BLAZE_FOREVER;
		else
			return parse_number(optarg, 1, BLAZE_FOREVER - 2, &o->stall_ns);
		return 0;
	case OPT_DUPLEX:
		o->duplex = 1;
		return 0;
	case OPT_RESERVE:
		o->reserve = 1;
		return 0;
	case OPT_JSON:
		o->json = 1;
		return 0;
	case OPT_HELP:
		fputs(usage_text, stdout);
		exit(0);
	default:
		return -EINVAL;
	}
}

/* What single options cannot see. */
static int check_options(const struct perf_options *o)
{
	uint64_t record_bytes = 8 + (((uint64_t)o->size + 7) & ~UINT64_C(7));

	if ((o->lane_bytes & (o->lane_bytes - 1)) != 0)
		return usage_error("--lane is not a power of two");
	if (o->batch * record_bytes > o->lane_bytes / 4)
		return usage_error("a batch must fit a quarter of the lane");
	if (o->writers + o->readers + o->idle > BLAZE_RING_PARTICIPANTS_MAX)
		return usage_error("a ring has at most 64 participants");
	if (o->sabotage != PERF_SABOTAGE_NONE && o->reserve)
		return usage_error("--sabotage and --reserve exclude each other");
	if (o->read != PERF_READ_NONE && (o->duplex || o->sabotage == PERF_SABOTAGE_DUPLICATE))
		return usage_error("--read excludes --duplex and --sabotage duplicate");
	return 0;
}

static int run_ring(const struct perf_options *options)
{
	static struct perf_result result;
	int error = perf_ring_measure(options, &result);

	if (error != 0) {
		fprintf(stderr, "blaze-perf: %s\n", blaze_strerror(error));
		return 1;
	}
	perf_report_ring(&result);
	return result.lost != 0 || result.wrong != 0;
}

static int run_db(const struct perf_options *options)
{
	static struct perf_result result;
	int error;

	/* Nothing stamps updates: zeros would be reported. */
	if (options->latency == PERF_LATENCY_LOAD)
		return usage_error("db has no --latency load"), 2;
	error = perf_db_measure(options, &result);
	if (error != 0) {
		fprintf(stderr, "blaze-perf: %s\n", blaze_strerror(error));
		return 1;
	}
	perf_report_db(&result);
	return result.lost != 0 || result.wrong != 0;
}

static int run_line(const struct perf_options *options)
{
	struct perf_line_result line;
	int error = perf_line_measure(&line);

	if (error != 0) {
		fprintf(stderr, "blaze-perf: %s\n", blaze_strerror(error));
		return 1;
	}
	printf(options->json ? "{\"bench\":\"line\",\"placement\":\"%s\",\"p50_ns\":%.1f,"
	                       "\"p99_ns\":%.1f}\n"
	                     : "line: %s, one way p50 %.1f ns, p99 %.1f ns\n",
	       perf_placement(line.p50_ns, line.p50_ns), line.p50_ns, line.p99_ns);
	return 0;
}

static int run_futex(const struct perf_options *options)
{
	struct perf_latency_result futex;
	int error = perf_futex_measure(options->seconds, &futex);

	if (error != 0) {
		fprintf(stderr, "blaze-perf: %s\n", blaze_strerror(error));
		return 1;
	}
	printf(options->json ? "{\"bench\":\"futex\",\"p50_ns\":%.0f,\"p99_ns\":%.0f,"
	                       "\"samples\":%llu}\n"
	                     : "futex: wake to run p50 %.0f ns, p99 %.0f ns (%llu samples)\n",
	       futex.p50, futex.p99, (unsigned long long)futex.count);
	return 0;
}

static int run_idle(const struct perf_options *options)
{
	static struct perf_result ring, db;
	int error = perf_ring_measure_idle(options, &ring);

	if (error == 0)
		error = perf_db_measure_idle(options, &db);
	if (error != 0) {
		fprintf(stderr, "blaze-perf: %s\n", blaze_strerror(error));
		return 1;
	}
	printf(options->json
	               ? "{\"bench\":\"idle\",\"ring_cpu_percent\":%.4f,\"db_cpu_percent\":%.4f}\n"
	               : "idle: a reader asleep takes %.4f %%, a database %.4f %% of one CPU\n",
	       ring.cpu_share * 100, db.cpu_share * 100);
	return 0;
}

static int run_store(const struct perf_options *options)
{
	if (options->sabotage != PERF_SABOTAGE_NONE && options->sabotage != PERF_SABOTAGE_DROP)
		return usage_error("store has no such --sabotage"), 2;
	return perf_store(options);
}

#define OPTION(code)   (UINT32_C(1) << ((code)-OPT_WRITERS))
#define OPTIONS_COMMON (OPTION(OPT_SECONDS) | OPTION(OPT_HELP))
#define OPTIONS_LOAD                                                                               \
	(OPTIONS_COMMON | OPTION(OPT_JSON) | OPTION(OPT_LANE) | OPTION(OPT_DUPLEX) |               \
	 OPTION(OPT_LATENCY) | OPTION(OPT_SABOTAGE))

/* What each benchmark has no use for it refuses: who gives it expects something of it. */
static const struct command {
	const char *name;
	int (*run)(const struct perf_options *options);
	uint32_t options;
} commands[] = {
	{ "ring", run_ring,
	  OPTIONS_LOAD | OPTION(OPT_WRITERS) | OPTION(OPT_READERS) | OPTION(OPT_SIZE) |
	          OPTION(OPT_BATCH) | OPTION(OPT_RATE) | OPTION(OPT_IDLE) | OPTION(OPT_STALL) |
	          OPTION(OPT_RESERVE) },
	{ "db", run_db, OPTIONS_LOAD | OPTION(OPT_RECORDS) | OPTION(OPT_TXN) | OPTION(OPT_READ) },
	{ "idle", run_idle, OPTIONS_COMMON | OPTION(OPT_JSON) },
	{ "bench", perf_bench, OPTIONS_COMMON | OPTION(OPT_RUNS) },
	{ "store", run_store,
	  OPTIONS_COMMON | OPTION(OPT_RUNS) | OPTION(OPT_RECORDS) | OPTION(OPT_SABOTAGE) },
	{ "line", run_line, OPTIONS_COMMON | OPTION(OPT_JSON) },
	{ "futex", run_futex, OPTIONS_COMMON | OPTION(OPT_JSON) },
};

/* Reads the options behind the benchmark's name. 0 or -EINVAL, having said why. */
static int read_options(int argc, char **argv, const struct command *command,
                        struct perf_options *options)
{
	bool latency = false;
	int code, index;

	/* The messages of getopt begin with this. */
	argv[0] = (char *)(uintptr_t) "blaze-perf";
	while ((code = getopt_long(argc, argv, "", long_options, &index)) != -1) {
		if (code == '?')
			return -EINVAL;
		option_name = long_options[index].name;
		if (!(command->options & OPTION(code))) {
			fprintf(stderr, "blaze-perf: %s has no --%s\n", command->name, option_name);
			return -EINVAL;
		}
		if (parse_option(code, options) != 0)
			return -EINVAL;
		/* Whether it was asked for: it is the default. */
		latency = latency || (code == OPT_LATENCY && options->latency != PERF_LATENCY_NONE);
	}
	if (options->read != PERF_READ_NONE && latency)
		return usage_error("--read excludes --latency");
	if (optind == argc)
		return check_options(options);
	fprintf(stderr, "blaze-perf: too many arguments: %s\n", argv[optind]);
	return -EINVAL;
}

int main(int argc, char **argv)
{
	struct perf_options options = {
		.writers = 1,
		.readers = 1,
		.size = 64,
		.batch = 16,
		.txn = 1,
		.runs = 5,
		.seconds = 1,
		.lane_bytes = UINT64_C(4) << 20,
		.stall_ns = BLAZE_FOREVER,
	};
	const char *name = argc > 1 ? argv[1] : "";

	if (strcmp(name, "--role") == 0)
		return perf_role_main(argc, argv);
	if (strcmp(name, "yard") == 0)
		return yard_main(argc, argv);
	if (strcmp(name, "--help") == 0) {
		fputs(usage_text, stdout);
		return 0;
	}
	if (name[0] == '-' || name[0] == '\0')
		return usage_error("which benchmark?"), 2;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return read_options(argc - 1, argv + 1, &commands[i], &options) == 0
			               ? commands[i].run(&options)
			               : 2;
	}
	return usage_error("no such benchmark"), 2;
}
