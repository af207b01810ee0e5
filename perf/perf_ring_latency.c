/* SPDX-License-Identifier: Apache-2.0 */
/* One-way latency of the ring: between two that poll, and to one that sleeps.
 *
 * METHOD Spinning: a record goes there and one comes back; a sample is half a round trip, by the
 *        tick counter of one CPU, verification of both records included. Asleep: the sleeper is in
 *        blaze_ring_wait with no spinning; a sample runs from just before the publish to the
 *        record's arrival in the handler, by CLOCK_MONOTONIC, with the same rest between wakes as
 *        the raw futex gets. Every record is verified. */
#include "perf/perf_ring_roles.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "perf/perf_rest.h"

struct player {
	struct perf_board *board;
	struct perf_seat *seat;
	struct blaze_ring *ring;
	struct perf_checker *checker;
	unsigned char *record;
	uint64_t seq;
};

static int player_init(struct player *p, struct perf_board *board, struct perf_seat *seat,
                       enum perf_attach kind)
{
	static struct perf_checker checker;
	int error;

	memset(p, 0, sizeof(*p));
	p->board = board;
	p->seat = seat;
	p->checker = &checker;
	p->record = calloc(1, board->options.size);
	if (p->record == NULL)
		return -ENOMEM;
	error = perf_ring_attach(board, seat, kind, &p->ring);
	if (error == 0) {
		perf_checker_init(p->checker, board, seat);
		/* The first poll makes it a reader before anything is published. */
		error = perf_checker_poll(p->checker, p->ring);
		if (error < 0)
			blaze_ring_detach(p->ring);
	}
	if (error < 0)
		free(p->record);
	return error < 0 ? error : 0;
}

static int player_publish(struct player *p)
{
	pattern_fill(p->record, p->board->options.size, (uint64_t)(p->seat - p->board->seats),
	             p->seq);
	p->seq++;
	return blaze_ring_publish(p->ring, p->record, p->board->options.size);
}

/* Polls until one record has come: 1, 0 when the run is over, or an error. */
static int player_receive(struct player *p)
{
	uint32_t turns = 0;

	for (;;) {
		int count = perf_checker_poll(p->checker, p->ring);

		if (count != 0)
			return count;
		if ((++turns & 255) == 0 && perf_phase(p->board) == PERF_STOP)
			return 0;
	}
}

static int player_finish(struct player *p, int error)
{
	atomic_store_explicit(&p->seat->published, p->seq, memory_order_relaxed);
	p->seat->records = p->checker->records;
	blaze_ring_detach(p->ring);
	free(p->record);
	return error < 0 ? error : 0;
}

int perf_role_ring_ping(struct perf_board *board, struct perf_seat *seat)
{
	double half_tick_ns = perf_tick_ns() / 2;
	struct player p;
	uint64_t from, to;
	int error = player_init(&p, board, seat, PERF_ATTACH_BOTH);

	if (error != 0)
		return error;
	perf_samples_touch(board);
	perf_role_ready(board);
	while (perf_phase(board) != PERF_STOP) {
		from = perf_ticks();
		error = player_publish(&p);
		if (error == 0)
			error = player_receive(&p);
		to = perf_ticks();
		if (error <= 0)
			break;
		if (perf_phase(board) == PERF_MEASURE)
			perf_sample(board, (double)(to - from) * half_tick_ns);
	}
	return player_finish(&p, error);
}

int perf_role_ring_pong(struct perf_board *board, struct perf_seat *seat)
{
	struct player p;
	int error = player_init(&p, board, seat, PERF_ATTACH_BOTH);

	if (error != 0)
		return error;
	perf_role_ready(board);
	while ((error = player_receive(&p)) > 0) {
		error = player_publish(&p);
		if (error != 0)
			break;
	}
	return player_finish(&p, error);
}

int perf_role_ring_wake(struct perf_board *board, struct perf_seat *seat)
{
	struct player p;
	uint32_t turn = 1;
	int error = player_init(&p, board, seat, PERF_ATTACH_BOTH);

	if (error != 0)
		return error;
	perf_role_ready(board);
	while (error == 0 && perf_rest(board, turn)) {
		turn++;
		/* Relaxed: publishing orders it. */
		atomic_store_explicit(&board->ball.stamp_ns, perf_now_ns(), memory_order_relaxed);
		error = player_publish(&p);
	}
	return player_finish(&p, error);
}

/* Sleeps until one record has come: 1, 0 when the run is over, or an error. */
static int player_sleep(struct player *p)
{
	for (;;) {
		int error = blaze_ring_wait(p->ring, UINT64_C(100000000));

		if (error == 0)
			error = perf_checker_poll(p->checker, p->ring);
		if (error != 0 && error != -ETIMEDOUT && error != -EINTR)
			return error;
		if (perf_phase(p->board) == PERF_STOP)
			return 0;
	}
}

int perf_role_ring_sleep(struct perf_board *board, struct perf_seat *seat)
{
	struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;
	struct player p;
	uint32_t turn = 0;
	uint64_t now_ns;
	int error = player_init(&p, board, seat, PERF_ATTACH_SLEEPER);

	if (error != 0)
		return error;
	perf_samples_touch(board);
	perf_role_ready(board);
	do {
		/* Release pairs with perf_rest. */
		atomic_store_explicit(&board->ball.resting, ++turn, memory_order_release);
		error = player_sleep(&p);
		now_ns = perf_now_ns();
		/* Relaxed: the ring ordered it before the record that came. */
		if (error > 0 && perf_phase(board) == PERF_MEASURE)
			perf_sample(board,
			            (double)(now_ns - atomic_load_explicit(&board->ball.stamp_ns,
			                                                   memory_order_relaxed)));
	} while (error > 0);
	if (blaze_ring_stats(p.ring, &stats) == 0)
		seat->sleeps = stats.sleeps;
	return player_finish(&p, error);
}
