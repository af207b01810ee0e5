/* SPDX-License-Identifier: Apache-2.0 */
/* What every reader of the ring benchmark does with every record, while it is being measured.
 *
 * INVARIANTS
 *  I1  A record counts as verified only when its publisher is the one whose lane it came from, its
 *      number is the next of that publisher, and each word of it is what the pattern says.
 *  I2  A number that is skipped is lost, unless the ring said that this reader was overtaken
 *      there: then it is lapped. A number that comes again, or late, is wrong.
 *  I3  What is missing at the end is lost in the same way: writers note how many they published
 *      on the board, readers compare. */
#include "perf/perf_ring_roles.h"

#include <errno.h>
#include <string.h>

int perf_ring_attach(struct perf_board *board, struct perf_seat *seat, enum perf_attach kind,
                     struct blaze_ring **ret_ring)
{
	struct blaze_ring_options options = BLAZE_RING_OPTIONS_INIT;
	struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;
	int error;

	options.lane_bytes = board->options.lane_bytes;
	options.stall_budget_ns = board->options.stall_ns;
	if (kind == PERF_ATTACH_READER)
		options.flags |= BLAZE_RING_READ_ONLY;
	if (kind == PERF_ATTACH_DUPLEX)
		options.flags |= BLAZE_RING_NONBLOCK;
	if (kind == PERF_ATTACH_SLEEPER)
		options.spin_ns = 1;
	if (kind == PERF_ATTACH_IDLE)
		options.lane_bytes = 65536;
	error = blaze_ring_attach(board->name, &options, ret_ring);
	if (error != 0)
		return error;
	error = blaze_ring_stats(*ret_ring, &stats);
	if (error != 0) {
		blaze_ring_detach(*ret_ring);
		return error;
	}
	seat->publisher = stats.publisher;
	return 0;
}

void perf_checker_init(struct perf_checker *checker, struct perf_board *board,
                       struct perf_seat *seat)
{
	memset(checker, 0, sizeof(*checker));
	checker->board = board;
	checker->seat = seat;
	checker->last_writer = -1;
}

/* The seat whose ring participant has this id, or -1. */
static int writer_of(struct perf_checker *checker, const struct blaze_id *publisher)
{
	if (checker->last_writer >= 0 &&
	    memcmp(publisher, &checker->last_publisher, sizeof(*publisher)) == 0)
		return checker->last_writer;
	for (unsigned i = 0; i < checker->board->seat_count; i++) {
		if (memcmp(publisher, &checker->board->seats[i].publisher, sizeof(*publisher)) != 0)
			continue;
		checker->last_publisher = *publisher;
		checker->last_writer = (int)i;
		return (int)i;
	}
	return -1;
}

/* The way aside, for a record that is not the expected one. Returns whether it counts. */
static bool check_odd(struct perf_checker *checker, const struct blaze_ring_record *record,
                      unsigned writer)
{
	struct perf_seat *seat = checker->seat;
	uint64_t *next = &checker->next[writer];
	uint64_t seq;

	if (record->data == NULL) {
		checker->lap_open[writer] = true;
		seat->laps++;
		return false;
	}
	if (record->len != checker->board->options.size || pattern_writer(record->data) != writer) {
		seat->wrong++;
		return false;
	}
	seq = pattern_seq(record->data);
	if (seq < *next || !pattern_holds(record->data, record->len, writer, seq)) {
		seat->wrong++;
		if (seq == *next)
			(*next)++;
		return false;
	}
	if (checker->lap_open[writer])
		seat->lapped += seq - *next;
	else
		seat->lost += seq - *next;
	checker->lap_open[writer] = false;
	*next = seq + 1;
	return true;
}

/* Verifies a batch of one publisher; size is a constant where this is inlined for it. */
static inline __attribute__((always_inline)) void check_batch(
        struct perf_checker *checker, const struct blaze_ring_record *records, unsigned count,
        unsigned writer, size_t size)
{
	uint64_t next = checker->next[writer];
	uint64_t verified = 0;

	for (unsigned i = 0; i < count; i++) {
		const struct blaze_ring_record *record = &records[i];

		if (record->data != NULL && record->len == size &&
		    pattern_writer(record->data) == writer && pattern_seq(record->data) == next &&
		    pattern_rest_holds(record->data, size, writer, next)) {
			next++;
			verified++;
			continue;
		}
		checker->next[writer] = next;
		verified += check_odd(checker, record, writer);
		next = checker->next[writer];
	}
	checker->next[writer] = next;
	checker->records += verified;
}

/* One way under load: from the stamp that the writer took before it published the last record of
 * this batch to now. Stamps are kept for the last PERF_STAMPS publications. */
static void sample_batch(struct perf_checker *checker, unsigned writer)
{
	struct perf_board *board = checker->board;
	uint64_t publication = checker->next[writer] / board->options.batch;
	uint64_t stamp_ns, now_ns = perf_now_ns();

	if (publication == 0 || board->seats[writer].part != 0)
		return;
	/* Relaxed: the ring's own release and acquire came in between. */
	stamp_ns = atomic_load_explicit(&board->stamps_ns[(publication - 1) % PERF_STAMPS],
	                                memory_order_relaxed);
	if (stamp_ns != 0 && stamp_ns < now_ns)
		perf_sample(board, (double)(now_ns - stamp_ns));
}

int perf_checker_take(void *arg, const struct blaze_ring_record *records, unsigned count)
{
	struct perf_checker *checker = arg;
	int writer = writer_of(checker, &records[0].publisher);

	if (writer < 0) {
		checker->seat->wrong += count;
		return 0;
	}
	if (checker->board->options.size == 64)
		check_batch(checker, records, count, (unsigned)writer, 64);
	else
		check_batch(checker, records, count, (unsigned)writer,
		            checker->board->options.size);
	if (checker->sampling)
		sample_batch(checker, (unsigned)writer);
	return 0;
}

int perf_checker_poll(struct perf_checker *checker, struct blaze_ring *ring)
{
	int count = blaze_ring_poll(ring, perf_checker_take, checker, checker->limit);

	if (count == -EBADMSG) {
		checker->seat->wrong++;
		return 0;
	}
	return count == -ESTALE ? 0 : count;
}

bool perf_checker_complete(const struct perf_checker *checker)
{
	for (unsigned i = 0; i < checker->board->seat_count; i++) {
		struct perf_seat *seat = &checker->board->seats[i];

		if (seat == checker->seat || strcmp(seat->role, "ring-reader") == 0 ||
		    strcmp(seat->role, "ring-idle") == 0)
			continue;
		/* Acquire pairs with the writer's release: published is final. */
		if (!atomic_load_explicit(&seat->done, memory_order_acquire))
			return false;
		if (checker->next[i] < atomic_load_explicit(&seat->published, memory_order_relaxed))
			return false;
	}
	return true;
}

void perf_checker_finish(struct perf_checker *checker, struct blaze_ring *ring)
{
	struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;
	struct perf_seat *seat = checker->seat;

	for (unsigned i = 0; i < checker->board->seat_count; i++) {
		uint64_t published = atomic_load_explicit(&checker->board->seats[i].published,
		                                          memory_order_relaxed);

		if (&checker->board->seats[i] == seat || published <= checker->next[i])
			continue;
		if (checker->lap_open[i])
			seat->lapped += published - checker->next[i];
		else
			seat->lost += published - checker->next[i];
	}
	seat->records = checker->records;
	if (blaze_ring_stats(ring, &stats) == 0) {
		seat->sleeps = stats.sleeps;
		seat->stalls = stats.stalls;
	}
}
