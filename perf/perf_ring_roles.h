/* SPDX-License-Identifier: Apache-2.0 */
/* What the ring's roles share: attaching as the options say, and checking what is read. */
#ifndef PERF_PERF_RING_ROLES_H
#define PERF_PERF_RING_ROLES_H

#include "perf/perf.h"

/* Checks every record that one reader gets. */
struct perf_checker {
	struct perf_board *board;
	struct perf_seat *seat;
	uint64_t next[PERF_SEATS_MAX];  /* expected sequence number, by publisher's seat */
	bool lap_open[PERF_SEATS_MAX];  /* a lap was reported: the next gap is no loss */
	bool sampling;                  /* look up when publications were stamped */
	struct blaze_id last_publisher; /* of the last batch, */
	int last_writer;                /* and its seat; -1 none yet */
	uint64_t records;
	unsigned limit; /* records taken by one poll; 0: all that are there */
};

enum perf_attach {
	PERF_ATTACH_WRITER,
	PERF_ATTACH_READER, /* read-only: no lane */
	PERF_ATTACH_BOTH,
	PERF_ATTACH_DUPLEX, /* and a full lane is -EAGAIN: two that wait for each other would stand
	                     */
	PERF_ATTACH_SLEEPER,
	PERF_ATTACH_IDLE, /* with the smallest lane */
};

/* Attaches to the board's ring and notes the publisher's id in the seat. */
int perf_ring_attach(struct perf_board *board, struct perf_seat *seat, enum perf_attach kind,
                     struct blaze_ring **ret_ring);

void perf_checker_init(struct perf_checker *checker, struct perf_board *board,
                       struct perf_seat *seat);
/* A blaze_ring_handler; arg is the checker. */
int perf_checker_take(void *arg, const struct blaze_ring_record *records, unsigned count);
/* Polls once. Returns the number of records, 0 when there was none or only a lap, or an error that
 * ends the role. */
int perf_checker_poll(struct perf_checker *checker, struct blaze_ring *ring);
/* Whether all that has been published by writers that have stopped is accounted for. */
bool perf_checker_complete(const struct perf_checker *checker);
/* Fills in the seat: counts what never came. */
void perf_checker_finish(struct perf_checker *checker, struct blaze_ring *ring);

static inline void perf_samples_touch(struct perf_board *board)
{
	for (size_t i = 0; i < PERF_SAMPLES_MAX; i += 512)
		board->samples_ns_x16[i] = 0;
}

#endif
