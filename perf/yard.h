/* SPDX-License-Identifier: Apache-2.0 */
/* The yardstick as blaze-perf calls it; see yard.c. */
#ifndef PERF_YARD_H
#define PERF_YARD_H

#include <stdbool.h>
#include <stdint.h>

struct yard_options {
	uint64_t lane_bytes; /* a power of two, 64 KiB to 1 GiB */
	uint32_t size;       /* bytes per record, from 16 */
	uint32_t batch;      /* records per publication */
	double seconds;      /* measured; a quarter more is warm-up */
	int writer_cpu;      /* -1: not pinned */
	int reader_cpu;
};

struct yard_result {
	double ops_per_second;
	uint64_t records; /* verified, warm-up included */
	uint64_t lost;
	uint64_t wrong;
};

/* Runs the yardstick once, in two processes made by executing this program again with the
 * arguments "yard --role ...". 0 or a negative errno value. */
int yard_measure(const struct yard_options *options, struct yard_result *ret_result);

/* What such a process does: role is "writer" or "reader", name that of the segment. 0 or a negative
 * errno value. */
int yard_role(const char *role, const char *name);

/* The program: argv[0] is skipped, and so is a leading "yard". Returns an exit status. */
int yard_main(int argc, char **argv);

#endif
