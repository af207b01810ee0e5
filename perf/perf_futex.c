/* SPDX-License-Identifier: Apache-2.0 */
/* The raw futex wake: from just before the store and FUTEX_WAKE in one process to the first
 * instruction of the sleeper in another, on another CPU.
 *
 * WHY    It is the floor under every latency to somebody who sleeps, and differs by a factor of
 *        three from machine to machine and hour to hour: the ring's and the database's wake-ups
 *        are quoted as multiples of it, taken in the same call.
 *
 * METHOD The sleeper says that it is about to sleep; the waker gives it PERF_REST_NS to do so, as
 *        the ring's waker does, then stamps, stores and wakes. */
#include "perf/perf.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "perf/perf_rest.h"

static void futex_wait(_Atomic uint32_t *word, uint32_t expected)
{
	const struct timespec limit = { .tv_nsec = 100000000 };

	syscall(SYS_futex, word, FUTEX_WAIT, expected, &limit, NULL, 0);
}

int perf_role_futex_sleep(struct perf_board *board, struct perf_seat *seat)
{
	struct perf_ball *ball = &board->ball;
	uint32_t seen = 0;

	perf_role_ready(board);
	while (perf_phase(board) != PERF_STOP) {
		/* Release: pairs with the waker's acquire in perf_rest. */
		atomic_store_explicit(&ball->resting, seen + 1, memory_order_release);
		/* Acquire pairs with the waker's release: the stamp is seen. */
		while (atomic_load_explicit(&ball->word, memory_order_acquire) == seen) {
			futex_wait(&ball->word, seen);
			if (perf_phase(board) == PERF_STOP)
				return 0;
		}
		if (perf_phase(board) == PERF_MEASURE)
			perf_sample(board, (double)(perf_now_ns() -
			                            atomic_load_explicit(&ball->stamp_ns,
			                                                 memory_order_relaxed)));
		seen++;
		seat->records++;
	}
	return 0;
}

int perf_role_futex_wake(struct perf_board *board, struct perf_seat *seat)
{
	struct perf_ball *ball = &board->ball;
	uint32_t turn = 1;

	(void)seat;
	perf_role_ready(board);
	while (perf_rest(board, turn)) {
		/* Relaxed: ordered by the release below. */
		atomic_store_explicit(&ball->stamp_ns, perf_now_ns(), memory_order_relaxed);
		/* Pairs with the sleeper's acquire of the word. */
		atomic_store_explicit(&ball->word, turn, memory_order_release);
		syscall(SYS_futex, &ball->word, FUTEX_WAKE, 1, NULL, NULL, 0);
		turn++;
	}
	return 0;
}

int perf_futex_measure(double seconds, struct perf_latency_result *ret_futex)
{
	const struct perf_options options = { .writers = 0 };
	struct perf_crew crew;
	int error;

	error = perf_crew_new(&options, "", &crew);
	if (error != 0)
		return error;
	error = perf_crew_start(&crew, "futex-sleep", 0, 1);
	if (error >= 0)
		error = perf_crew_start(&crew, "futex-wake", 0, 0);
	if (error >= 0)
		error = perf_crew_ready(&crew);
	if (error >= 0)
		error = perf_crew_run(&crew, seconds);
	if (error >= 0)
		perf_crew_latency(&crew, ret_futex);
	perf_crew_free(&crew);
	return error < 0 ? error : 0;
}
