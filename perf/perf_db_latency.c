/* SPDX-License-Identifier: Apache-2.0 */
/* From a write in one process to its visibility in another, through the full stack.
 *
 * METHOD The writer puts (number, time) into one record. The reader applies what comes in
 *        (blaze_db_pump, polling or asleep in the kernel) and fetches the record until the number
 *        is the next one; a sample runs from just before the put to the end of the fetch, by
 *        CLOCK_MONOTONIC. The next put waits for that, and, where the reader sleeps, rests as long
 *        as the raw futex's waker does. A number that is not the next one is wrong. */
#include "perf/perf_db_roles.h"

#include <errno.h>
#include <string.h>

#include "perf/perf_rest.h"
#include "perf/perf_ring_roles.h"

struct stamped {
	uint64_t turn;
	uint64_t stamp_ns;
};

/* Seat 1. */
int perf_role_db_ping(struct perf_board *board, struct perf_seat *seat)
{
	bool asleep = board->options.latency == PERF_LATENCY_ASLEEP;
	struct stamped value = { .turn = 0 };
	struct blaze_id id;
	struct perf_db p;
	int error = perf_db_open(&p, board, seat, 0);

	if (error != 0)
		return error;
	perf_db_id(1, 0, &id);
	error = perf_db_connect(&p, 0);
	if (error == 0)
		error = blaze_db_put(p.db, &id, &value, sizeof(value));
	if (error == 0)
		perf_role_ready(board);
	while (error == 0) {
		value.turn++;
		if (!(asleep ? perf_rest(board, (uint32_t)value.turn)
		             : perf_rested(board, (uint32_t)value.turn)))
			break;
		value.stamp_ns = perf_now_ns();
		error = blaze_db_put(p.db, &id, &value, sizeof(value));
	}
	perf_db_close(&p);
	return error;
}

/* Pumps until the record holds another number: 1, 0 when the run is over, or an error. */
static int await_turn(struct perf_db *p, const struct blaze_id *id, uint64_t seen,
                      struct stamped *ret_value)
{
	uint64_t timeout_ns =
	        p->board->options.latency == PERF_LATENCY_ASLEEP ? UINT64_C(100000000) : 0;
	int count;

	do {
		count = perf_db_pump(p, timeout_ns);
		if (count > 0) {
			int len = blaze_db_fetch(p->db, id, ret_value, sizeof(*ret_value));

			if (len != (int)sizeof(*ret_value))
				return len < 0 ? len : -EBADMSG;
			if (ret_value->turn != seen)
				return 1;
		}
	} while (count >= 0 && perf_phase(p->board) != PERF_STOP);
	return count < 0 ? count : 0;
}

/* Seat 0. */
int perf_role_db_pong(struct perf_board *board, struct perf_seat *seat)
{
	struct stamped value = { .turn = 0 };
	struct blaze_id id;
	uint64_t turn = 0, now_ns;
	struct perf_db p;
	int error = perf_db_open(&p, board, seat, BLAZE_DB_MANUAL);

	if (error != 0)
		return error;
	perf_samples_touch(board);
	perf_db_id(1, 0, &id);
	error = perf_db_await_count(&p, 1);
	if (error == 0)
		perf_role_ready(board);
	while (error >= 0) {
		/* Release pairs with perf_rest and perf_rested. */
		atomic_store_explicit(&board->ball.resting, (uint32_t)++turn, memory_order_release);
		error = await_turn(&p, &id, turn - 1, &value);
		now_ns = perf_now_ns();
		if (error <= 0)
			break;
		seat->records++;
		seat->wrong += value.turn != turn;
		if (perf_phase(board) == PERF_MEASURE && now_ns > value.stamp_ns)
			perf_sample(board, (double)(now_ns - value.stamp_ns));
	}
	perf_db_close(&p);
	return error;
}
