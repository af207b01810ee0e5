/* SPDX-License-Identifier: Apache-2.0 */
/* The ring benchmark's load: writers that publish, readers that verify, processes that do both, and
 * participants that only are there.
 *
 * The sequence number runs from 0 in each writer. Sabotage spoils one record, the number
 * SABOTAGE_AT, so that the readers' verification can be seen to work. */
#include "perf/perf_ring_roles.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SABOTAGE_AT       1000u
#define DRAIN_NS          UINT64_C(3000000000)
#define CROWDED_WAIT_NS   UINT64_C(20000000)
#define BLOCK_RECORDS     64u
#define READER_TURN_POLLS 64u

struct writer {
	struct perf_board *board;
	struct perf_seat *seat;
	struct blaze_ring *ring;
	unsigned number; /* of its seat: what its records say */
	uint64_t seq;    /* next */
	uint64_t publications;
	uint64_t from_ns; /* for pacing */
	uint32_t block;   /* records made at once: a batch, or BLOCK_RECORDS where batch is 1 */
	uint32_t used;    /* of the block */
	uint32_t round;   /* publications between looks at the clock and the phase of the run */
	unsigned char *buffer;
	struct iovec *records;
	size_t stride;
};

static int writer_init(struct writer *w, struct perf_board *board, struct perf_seat *seat,
                       struct blaze_ring *ring)
{
	const struct perf_options *o = &board->options;

	memset(w, 0, sizeof(*w));
	w->board = board;
	w->seat = seat;
	w->ring = ring;
	w->number = (unsigned)(seat - board->seats);
	w->stride = (o->size + 7) & ~(size_t)7;
	w->block = o->batch == 1 ? BLOCK_RECORDS : o->batch;
	w->used = w->block;
	w->round = 1;
	w->buffer = calloc(w->block, w->stride);
	w->records = calloc(o->batch, sizeof(*w->records));
	if (w->buffer == NULL || w->records == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < o->batch; i++) {
		w->records[i].iov_base = w->buffer + i * w->stride;
		w->records[i].iov_len = o->size;
	}
	return 0;
}

static void writer_free(struct writer *w)
{
	free(w->buffer);
	free(w->records);
}

/* Makes the next block of records. Those that are published one by one are made ahead too: what is
 * measured is publishing, not how a store that was made this instant reaches the copy. */
static void writer_fill(struct writer *w)
{
	const struct perf_options *o = &w->board->options;

	if (o->size == 64) {
		for (uint32_t i = 0; i < w->block; i++)
			pattern_fill_sized(w->buffer + i * 64, 64, w->number, w->seq + i);
		return;
	}
	for (uint32_t i = 0; i < w->block; i++)
		pattern_fill(w->buffer + i * w->stride, o->size, w->number, w->seq + i);
}

/* Spoils record SABOTAGE_AT of the first writer, in the batch that starts at first. Returns the
 * number of records to publish: what is dropped has its number all the same. */
static uint32_t writer_spoil(struct writer *w, unsigned char *first)
{
	const struct perf_options *o = &w->board->options;
	uint64_t at = SABOTAGE_AT - w->seq;
	unsigned char *record = first + at * w->stride;

	switch (o->sabotage) {
	case PERF_SABOTAGE_CORRUPT:
		pattern_fill(record, o->size, w->number, SABOTAGE_AT);
		record[o->size - 1] ^= 0x10;
		return o->batch;
	case PERF_SABOTAGE_DROP:
		memmove(record, record + w->stride, (o->batch - 1 - at) * w->stride);
		return o->batch - 1;
	case PERF_SABOTAGE_DUPLICATE:
		pattern_fill(record, o->size, w->number, SABOTAGE_AT - 1);
		return o->batch;
	default:
		return o->batch;
	}
}

static int writer_publish_reserved(struct writer *w, uint32_t count)
{
	const struct perf_options *o = &w->board->options;

	int error;

	for (uint32_t i = 0; i < count; i++) {
		void *data;

		error = blaze_ring_reserve(w->ring, o->size, &data);
		if (error != 0) {
			blaze_ring_abort(w->ring);
			return error;
		}
		if (o->size == 64)
			pattern_fill_sized(data, 64, w->number, w->seq + i);
		else
			pattern_fill(data, o->size, w->number, w->seq + i);
	}
	error = blaze_ring_commit(w->ring);
	if (error == 0)
		w->seq += count;
	return error;
}

/* Publishes count records of the block one by one; those that were not are next. */
static int writer_publish_singly(struct writer *w, uint32_t count)
{
	const unsigned char *record = w->buffer + w->used * w->stride;
	const size_t size = w->board->options.size;
	uint32_t done = 0;
	int error = 0;

	for (; done < count; done++, record += w->stride) {
		error = blaze_ring_publish(w->ring, record, size);
		if (error != 0)
			break;
	}
	w->used += done;
	w->seq += done;
	return error;
}

/* The next batch of those that are made ahead; one by one: a round of them. */
static int writer_publish_made(struct writer *w)
{
	const struct perf_options *o = &w->board->options;
	uint32_t count = o->batch;
	int error = 0;

	if (w->used == w->block) {
		writer_fill(w);
		w->used = 0;
	}
	if (o->sabotage != PERF_SABOTAGE_NONE && w->seat->part == 0 && w->seq <= SABOTAGE_AT &&
	    SABOTAGE_AT < w->seq + o->batch)
		count = writer_spoil(w, w->buffer + w->used * w->stride);
	else if (o->batch == 1)
		return writer_publish_singly(w, w->round < w->block - w->used ? w->round
		                                                              : w->block - w->used);
	if (count > 1)
		error = blaze_ring_publishv(w->ring, w->records, count);
	else if (count == 1)
		error = blaze_ring_publish(w->ring, w->buffer + w->used * w->stride, o->size);
	if (error != 0)
		return error;
	w->used += o->batch;
	w->seq += o->batch;
	return 0;
}

/* Publishes the next batch: 0, -EAGAIN where the lane is full and does not wait, or an error. */
static int writer_publish(struct writer *w)
{
	const struct perf_options *o = &w->board->options;
	int error;

	if (o->latency == PERF_LATENCY_LOAD && w->seat->part == 0)
		/* Relaxed: publishing orders it. */
		atomic_store_explicit(&w->board->stamps_ns[w->publications % PERF_STAMPS],
		                      perf_now_ns(), memory_order_relaxed);
	error = o->reserve ? writer_publish_reserved(w, o->batch) : writer_publish_made(w);
	if (error != 0)
		return error;
	w->publications++;
	return 0;
}

/* Waits until the rate allows the next batch; false once the run is over. */
static bool writer_pace(struct writer *w)
{
	double rate = w->board->options.rate;
	uint64_t due_ns;

	if (rate > 0) {
		if (w->from_ns == 0)
			w->from_ns = perf_now_ns();
		due_ns = w->from_ns + (uint64_t)((double)w->seq * 1e9 / rate);
		while (perf_now_ns() < due_ns) {
			if (perf_phase(w->board) == PERF_STOP)
				return false;
			perf_relax();
		}
	}
	return perf_phase(w->board) != PERF_STOP;
}

/* However short the run and busy the machine: something is published, and what is to be spoiled. */
static bool writer_owes(const struct writer *w)
{
	return w->seq == 0 || (w->board->options.sabotage != PERF_SABOTAGE_NONE &&
	                       w->seq <= SABOTAGE_AT + w->board->options.batch);
}

static void writer_finish(struct writer *w)
{
	struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;

	if (blaze_ring_stats(w->ring, &stats) == 0)
		w->seat->stalls = stats.stalls;
	/* Ordered by the release of done, which pairs with perf_checker_complete. */
	atomic_store_explicit(&w->seat->published, w->seq, memory_order_relaxed);
	atomic_store_explicit(&w->seat->done, 1, memory_order_release);
}

/* A writer leaves only when all readers have: what a lane still holds must stay to be read. */
static void linger(struct perf_board *board)
{
	uint64_t give_up_ns = perf_now_ns() + 2 * DRAIN_NS;

	for (unsigned i = 0; i < board->seat_count; i++) {
		struct perf_seat *seat = &board->seats[i];

		while (strcmp(seat->role, "ring-writer") != 0 &&
		       strcmp(seat->role, "ring-idle") != 0 && perf_now_ns() < give_up_ns) {
			/* Two counts: published and read. Acquire: nothing is read after it. */
			if (atomic_load_explicit(&seat->done, memory_order_acquire) == 2)
				break;
			perf_sleep_ns(UINT64_C(1000000));
		}
	}
}

int perf_role_ring_writer(struct perf_board *board, struct perf_seat *seat)
{
	struct blaze_ring *ring;
	struct writer w;
	int error = perf_ring_attach(board, seat, PERF_ATTACH_WRITER, &ring);

	if (error != 0)
		return error;
	error = writer_init(&w, board, seat, ring);
	if (error == 0) {
		/* Where each publication has a time of its own, the harness looks each time. */
		if (board->options.rate <= 0 && board->options.latency != PERF_LATENCY_LOAD &&
		    board->options.sabotage == PERF_SABOTAGE_NONE)
			w.round = BLOCK_RECORDS;
		perf_role_ready(board);
		while (error == 0 && (writer_pace(&w) || writer_owes(&w)))
			error = writer_publish(&w);
		writer_finish(&w);
		linger(board);
	}
	writer_free(&w);
	blaze_ring_detach(ring);
	return error;
}

/* Reads until everything has come, or nothing more does. */
static int reader_drain(struct perf_checker *checker, struct blaze_ring *ring)
{
	uint64_t give_up_ns = perf_now_ns() + DRAIN_NS;
	int count = 0;

	while (count >= 0 && !perf_checker_complete(checker) && perf_now_ns() < give_up_ns) {
		count = perf_checker_poll(checker, ring);
		if (count > 0)
			give_up_ns = perf_now_ns() + DRAIN_NS;
		else
			perf_sleep_ns(UINT64_C(50000));
	}
	return count < 0 ? count : 0;
}

static int reader_run(struct perf_checker *checker, struct blaze_ring *ring)
{
	struct perf_window window = { .phase = PERF_WARM };
	struct perf_board *board = checker->board;
	uint32_t phase;
	int count;

	while ((phase = perf_phase(board)) != PERF_STOP) {
		perf_window_turn(&window, checker->seat, phase, checker->records);
		checker->sampling = board->options.latency == PERF_LATENCY_LOAD &&
		                    checker->seat->part == 0 && phase == PERF_MEASURE;
		count = perf_checker_poll(checker, ring);
		if (count == 0) {
			if (checker->seat->crowded) {
				int error = blaze_ring_wait(ring, CROWDED_WAIT_NS);

				if (error != 0 && error != -ETIMEDOUT && error != -EINTR)
					return error;
			} else {
				perf_relax();
			}
		} else if (count < 0) {
			return count;
		}
	}
	perf_window_turn(&window, checker->seat, phase, checker->records);
	checker->sampling = false;
	return reader_drain(checker, ring);
}

int perf_role_ring_reader(struct perf_board *board, struct perf_seat *seat)
{
	static struct perf_checker checker;
	struct blaze_ring *ring;
	int error = perf_ring_attach(board, seat, PERF_ATTACH_READER, &ring);

	if (error != 0)
		return error;
	perf_checker_init(&checker, board, seat);
	perf_samples_touch(board);
	/* The first poll makes it a reader, before any writer is there. */
	error = perf_checker_poll(&checker, ring);
	if (error >= 0) {
		perf_role_ready(board);
		error = reader_run(&checker, ring);
		perf_checker_finish(&checker, ring);
	}
	/* Release pairs with linger: this role reads no lane any more. */
	atomic_store_explicit(&seat->done, 2, memory_order_release);
	blaze_ring_detach(ring);
	return error < 0 ? error : 0;
}

/* Both directions at once: publishes while the lane has room, and polls in turn. */
int perf_role_ring_both(struct perf_board *board, struct perf_seat *seat)
{
	static struct perf_checker checker;
	struct perf_window window = { .phase = PERF_WARM };
	struct blaze_ring *ring;
	struct writer w;
	uint32_t phase;
	int error = perf_ring_attach(board, seat, PERF_ATTACH_DUPLEX, &ring);

	if (error != 0)
		return error;
	perf_checker_init(&checker, board, seat);
	error = writer_init(&w, board, seat, ring);
	if (error == 0)
		error = perf_checker_poll(&checker, ring);
	/* Whoever took all that is there while the other publishes would hardly publish. */
	checker.limit = 2 * READER_TURN_POLLS * board->options.batch;
	if (error >= 0)
		perf_role_ready(board);
	while (error >= 0 && ((phase = perf_phase(board)) != PERF_STOP || writer_owes(&w))) {
		perf_window_turn(&window, seat, phase, checker.records);
		for (unsigned i = 0; i < READER_TURN_POLLS && error >= 0; i++)
			error = writer_publish(&w);
		if (error >= 0 || error == -EAGAIN)
			error = perf_checker_poll(&checker, ring);
	}
	perf_window_turn(&window, seat, PERF_STOP, checker.records);
	writer_finish(&w);
	checker.limit = 0;
	if (error >= 0)
		error = reader_drain(&checker, ring);
	perf_checker_finish(&checker, ring);
	/* Release: as in the reader. */
	atomic_store_explicit(&seat->done, 2, memory_order_release);
	linger(board);
	writer_free(&w);
	blaze_ring_detach(ring);
	return error < 0 ? error : 0;
}

/* A participant that is there and does nothing. */
int perf_role_ring_idle(struct perf_board *board, struct perf_seat *seat)
{
	struct blaze_ring *ring;
	int error = perf_ring_attach(board, seat, PERF_ATTACH_IDLE, &ring);

	if (error != 0)
		return error;
	perf_role_ready(board);
	while (perf_phase(board) != PERF_STOP)
		perf_sleep_ns(UINT64_C(20000000));
	blaze_ring_detach(ring);
	return 0;
}

/* A reader to whom nothing is ever published, asleep in wait: what does it cost? */
int perf_role_ring_doze(struct perf_board *board, struct perf_seat *seat)
{
	struct perf_window window = { .phase = PERF_WARM };
	struct blaze_ring *ring;
	uint32_t phase;
	int error = perf_ring_attach(board, seat, PERF_ATTACH_BOTH, &ring);

	if (error != 0)
		return error;
	perf_role_ready(board);
	do {
		phase = perf_phase(board);
		perf_window_turn(&window, seat, phase, 0);
		error = blaze_ring_wait(ring, UINT64_C(200000000));
	} while (phase != PERF_STOP && (error == -ETIMEDOUT || error == -EINTR));
	blaze_ring_detach(ring);
	return error == -ETIMEDOUT || error == -EINTR ? 0 : error;
}
