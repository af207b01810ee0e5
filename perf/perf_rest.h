/* SPDX-License-Identifier: Apache-2.0 */
/* How a waker lets its sleeper fall asleep: the same for the raw futex, the ring and the database,
 * so that their latencies compare. */
#ifndef PERF_PERF_REST_H
#define PERF_PERF_REST_H

#include "perf/perf.h"

#define PERF_REST_NS UINT64_C(100000)

/* Waits until the other has announced turn number turn. False once the run is over. */
static inline bool perf_rested(struct perf_board *board, uint32_t turn)
{
	/* Acquire pairs with the other's release. */
	while (atomic_load_explicit(&board->ball.resting, memory_order_acquire) != turn) {
		if (perf_phase(board) == PERF_STOP)
			return false;
		perf_relax();
	}
	return true;
}

/* The same for one who sleeps in between: and PERF_REST_NS more, spinning: a waker that slept too
 * would measure its own CPU's wake-up. */
static inline bool perf_rest(struct perf_board *board, uint32_t turn)
{
	uint64_t until_ns;

	if (!perf_rested(board, turn))
		return false;
	until_ns = perf_now_ns() + PERF_REST_NS;
	while (perf_now_ns() < until_ns)
		perf_relax();
	return perf_phase(board) != PERF_STOP;
}

#endif
