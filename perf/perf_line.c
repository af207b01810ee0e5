/* SPDX-License-Identifier: Apache-2.0 */
/* The line transfer: how long one cache line takes from the one CPU to the other.
 *
 * WHY    Virtual cores are sometimes near each other and sometimes far, and change while one
 *        looks. Every figure about shared memory depends on that, so it is measured before and
 *        after each run, and latency is quoted as a multiple of it.
 *
 * METHOD Two processes, one on each CPU, pass a counter in one line to and fro. A sample is half
 *        a round trip, read from the CPU's tick counter; reading it is inside the sample, as it is
 *        in the ring's. */
#include "perf/perf.h"

#include <string.h>

#define LINE_SECONDS 0.04

int perf_role_line_return(struct perf_board *board, struct perf_seat *seat)
{
	_Atomic uint32_t *word = &board->ball.word;
	uint32_t turn = 1;

	(void)seat;
	perf_role_ready(board);
	for (;;) {
		uint32_t spins = 0;

		/* Acquire and release: the two sides' halves of a round trip pair up. */
		while (atomic_load_explicit(word, memory_order_acquire) != turn)
			if ((++spins & 1023) == 0 && perf_phase(board) == PERF_STOP)
				return 0;
		atomic_store_explicit(word, turn + 1, memory_order_release);
		turn += 2;
	}
}

int perf_role_line_serve(struct perf_board *board, struct perf_seat *seat)
{
	_Atomic uint32_t *word = &board->ball.word;
	double half_tick_ns = perf_tick_ns() / 2;
	uint64_t from, to;
	uint32_t turn = 1;

	(void)seat;
	memset(board->samples_ns_x16, 0, sizeof(board->samples_ns_x16));
	perf_role_ready(board);
	from = perf_ticks();
	while (perf_phase(board) != PERF_STOP) {
		uint32_t spins = 0;

		/* Paired as above. */
		atomic_store_explicit(word, turn, memory_order_release);
		while (atomic_load_explicit(word, memory_order_acquire) != turn + 1)
			if ((++spins & 1023) == 0 && perf_phase(board) == PERF_STOP)
				return 0;
		turn += 2;
		to = perf_ticks();
		if (perf_phase(board) == PERF_MEASURE)
			perf_sample(board, (double)(to - from) * half_tick_ns);
		from = perf_ticks();
	}
	return 0;
}

int perf_line_measure(struct perf_line_result *ret_line)
{
	const struct perf_options options = { .writers = 0 };
	struct perf_latency_result latency;
	struct perf_crew crew;
	int error;

	error = perf_crew_new(&options, "", &crew);
	if (error != 0)
		return error;
	error = perf_crew_start(&crew, "line-return", 0, 1);
	if (error >= 0)
		error = perf_crew_start(&crew, "line-serve", 0, 0);
	if (error >= 0)
		error = perf_crew_ready(&crew);
	if (error >= 0)
		error = perf_crew_run(&crew, LINE_SECONDS);
	if (error >= 0) {
		perf_crew_latency(&crew, &latency);
		ret_line->p50_ns = latency.p50;
		ret_line->p99_ns = latency.p99;
	}
	perf_crew_free(&crew);
	return error < 0 ? error : 0;
}
