/* SPDX-License-Identifier: Apache-2.0 */
/* The yardstick's command line: a program of its own, and "blaze-perf yard".
 *
 * It is compiled twice: alone, with a main, into blaze-yard, which links nothing of the library;
 * and with PERF_EMBEDDED into blaze-perf, which measures it in the same call as the ring. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "perf/yard.h"

static const struct option yard_long_options[] = {
	{ "size", required_argument, NULL, 's' },    { "batch", required_argument, NULL, 'b' },
	{ "seconds", required_argument, NULL, 't' }, { "lane", required_argument, NULL, 'l' },
	{ "json", no_argument, NULL, 'j' },          { "role", required_argument, NULL, 'r' },
	{ "help", no_argument, NULL, 'h' },          { NULL, 0, NULL, 0 },
};

static const char yard_usage[] =
        "usage: blaze-yard [--size BYTES] [--batch N] [--seconds S] [--lane BYTES] [--json]\n";

static int yard_parse(int argc, char **argv, struct yard_options *options, const char **role)
{
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "", yard_long_options, NULL)) != -1) {
		switch (c) {
		case 's':
			options->size = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'b':
			options->batch = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 't':
			options->seconds = strtod(optarg, NULL);
			break;
		case 'l':
			options->lane_bytes = strtoull(optarg, NULL, 10);
			break;
		case 'j':
			json = true;
			break;
		case 'r':
			*role = optarg;
			break;
		case 'h':
			fputs(yard_usage, stdout);
			exit(0);
		default:
			return -EINVAL;
		}
	}
	return json;
}

static void yard_print(const struct yard_options *options, const struct yard_result *result,
                       bool json)
{
	if (json)
		printf("{\"bench\":\"yard\",\"size\":%u,\"batch\":%u,\"lane\":%llu,"
		       "\"ops_per_second\":%.0f,\"records\":%llu,\"lost\":%llu,\"wrong\":%llu}\n",
		       options->size, options->batch, (unsigned long long)options->lane_bytes,
		       result->ops_per_second, (unsigned long long)result->records,
		       (unsigned long long)result->lost, (unsigned long long)result->wrong);
	else
		printf("yard: %u B, batch %u, lane %llu: %.1f M/s, %llu lost, %llu wrong\n",
		       options->size, options->batch, (unsigned long long)options->lane_bytes,
		       result->ops_per_second / 1e6, (unsigned long long)result->lost,
		       (unsigned long long)result->wrong);
}

int yard_main(int argc, char **argv)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct yard_options options = {
		.lane_bytes = UINT64_C(4) << 20,
		.size = 64,
		.batch = 16,
		.seconds = 1,
		.writer_cpu = cpus > 1 ? 0 : -1,
		.reader_cpu = cpus > 1 ? 1 : -1,
	};
	struct yard_result result;
	const char *role = NULL;
	int json, error;

	if (argc > 1 && strcmp(argv[1], "yard") == 0) {
		argc--;
		argv++;
	}
	json = yard_parse(argc, argv, &options, &role);
	if (json < 0 || (role != NULL && optind + 1 != argc) || (role == NULL && optind != argc)) {
		fputs(yard_usage, stderr);
		return 2;
	}
	error = role != NULL ? yard_role(role, argv[optind]) : yard_measure(&options, &result);
	if (error != 0) {
		fprintf(stderr, "blaze-yard: %s\n", strerror(-error));
		return 1;
	}
	if (role != NULL)
		return 0;
	yard_print(&options, &result, json);
	return result.lost != 0 || result.wrong != 0;
}

#ifndef PERF_EMBEDDED
int main(int argc, char **argv)
{
	return yard_main(argc, argv);
}
#endif
