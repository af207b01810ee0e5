/* SPDX-License-Identifier: Apache-2.0 */
/* The database benchmark's reads: one thread reads records at random from its database, into which
 * the service thread merges what another process writes at full speed.
 *
 * The reader has a CPU to itself; the service thread shares the other one with the writer, which
 * gives way when it is a window ahead. The writer puts the number of the update into one record
 * after the other: as an int field, or as a value of eight words. So whatever is read of a record
 * must be a number that falls to it, in all words alike, and at the end each record must hold the
 * last one. */
#include "perf/perf_db_roles.h"

#include <errno.h>
#include <sched.h>

#define WAIT_NS      UINT64_C(20000000000)
#define DRAIN_NS     UINT64_C(5000000000)
#define NAP_NS       UINT64_C(1000000)
#define WINDOW_BYTES 256u /* of lane for each update that may be under way */
#define TURN_READS   64u
#define SHOW_TURNS   16u /* the writer is told of what was merged so often */
#define WORDS        8u
#define FIELD        "n"

/* Writing ------------------------------------------------------------------------------------ */

struct feed {
	struct perf_db *p;
	struct blaze_record *patch;
	uint64_t seq;
};

static void words_make(uint64_t words[WORDS], int64_t value)
{
	for (unsigned i = 0; i < WORDS; i++)
		words[i] = (uint64_t)value + i * PATTERN_STEP;
}

/* Within a transaction, unless that is NULL. */
static int feed_write(struct feed *f, struct blaze_txn *txn, uint64_t seq, int64_t value)
{
	const struct perf_options *o = &f->p->board->options;
	uint64_t words[WORDS];
	struct blaze_id id;
	int error;

	perf_db_id(1, (uint32_t)(seq % o->records), &id);
	if (o->read == PERF_READ_FETCH) {
		words_make(words, value);
		return txn != NULL ? blaze_txn_put(txn, &id, words, sizeof(words))
		                   : blaze_db_put(f->p->db, &id, words, sizeof(words));
	}
	error = blaze_record_set_int(f->patch, FIELD, value);
	if (error != 0)
		return error;
	return txn != NULL ? blaze_txn_upsert(txn, &id, f->patch)
	                   : blaze_db_upsert(f->p->db, &id, f->patch);
}

/* The next --txn updates, the last of which gets the value given. */
static int feed_commit(struct feed *f, int64_t value)
{
	const uint32_t count = f->p->board->options.txn;
	struct blaze_txn *txn = NULL;
	int error = count > 1 ? blaze_txn_begin(f->p->db, &txn) : 0;

	for (uint32_t i = 0; i < count && error == 0; i++)
		error = feed_write(f, txn, f->seq + i,
		                   i + 1 < count ? (int64_t)(f->seq + i) : value);
	if (txn != NULL && error == 0)
		error = blaze_txn_commit(txn);
	else if (txn != NULL)
		blaze_txn_abort(txn);
	f->seq += error == 0 ? count : 0;
	return error;
}

static int feed_next(struct feed *f)
{
	return feed_commit(f, (int64_t)(f->seq + f->p->board->options.txn - 1));
}

/* All records get a first value, then the run begins; the last one may be spoiled or left out. */
static int feed_run(struct feed *f, const struct perf_seat *reader)
{
	struct perf_board *board = f->p->board;
	const struct perf_options *o = &board->options;
	const uint64_t window = o->lane_bytes / WINDOW_BYTES;
	uint64_t last;
	int error = 0;

	while (f->seq < o->records && error == 0)
		error = feed_next(f);
	if (error != 0)
		return error;
	perf_role_ready(board);
	while (error == 0 && perf_phase(board) != PERF_STOP) {
		/* Acquire pairs with look_show. */
		if (f->seq < atomic_load_explicit(&reader->applied, memory_order_acquire) + window)
			error = feed_next(f);
		else
			sched_yield();
	}
	last = f->seq + o->txn - 1;
	if (error == 0 && o->sabotage == PERF_SABOTAGE_CORRUPT)
		error = feed_commit(f, (int64_t)(last ^ UINT64_C(1) << 40));
	else if (error == 0 && o->sabotage == PERF_SABOTAGE_DROP)
		f->seq += o->txn;
	else if (error == 0)
		error = feed_next(f);
	return error;
}

/* Seat 0. */
int perf_role_db_feed(struct perf_board *board, struct perf_seat *seat)
{
	const struct perf_seat *reader = &board->seats[1];
	uint64_t give_up_ns;
	struct perf_db p;
	struct feed f = { .p = &p };
	int error = perf_db_open(&p, board, seat, 0);

	if (error != 0)
		return error;
	error = blaze_record_new(&f.patch);
	if (error == 0)
		error = perf_db_connect(&p, 0);
	if (error == 0)
		error = feed_run(&f, reader);
	/* Release: pairs with look_finish. */
	atomic_store_explicit(&seat->published, f.seq, memory_order_relaxed);
	atomic_store_explicit(&seat->done, 1, memory_order_release);
	give_up_ns = perf_now_ns() + 4 * DRAIN_NS;
	/* It serves the other until that has read all. Acquire: nothing is read after it. */
	while (error == 0 && atomic_load_explicit(&reader->done, memory_order_acquire) == 0 &&
	       perf_now_ns() < give_up_ns)
		perf_sleep_ns(NAP_NS);
	blaze_record_free(f.patch);
	perf_db_close(&p);
	return error;
}

/* Reading ------------------------------------------------------------------------------------ */

struct look {
	struct perf_db *p;
	uint64_t random;
	uint64_t reads;
	uint64_t newest; /* number that was read */
};

/* The number in a record, or -1 where it is not there or not whole. */
static int64_t look_read(const struct look *l, uint32_t index)
{
	uint64_t words[WORDS], differing = 0;
	struct blaze_record *record;
	struct blaze_id id;
	int64_t value = -1;

	perf_db_id(1, index, &id);
	if (l->p->board->options.read == PERF_READ_FETCH) {
		if (blaze_db_fetch(l->p->db, &id, words, sizeof(words)) != sizeof(words))
			return -1;
		/* Word by word: see perf_db_id. */
		for (unsigned i = 1; i < WORDS; i++)
			differing |= words[i] ^ (words[0] + i * PATTERN_STEP);
		return differing == 0 ? (int64_t)words[0] : -1;
	}
	if (blaze_db_get(l->p->db, &id, &record) != 0)
		return -1;
	if (blaze_record_get_int(record, FIELD, &value) != 0)
		value = -1;
	blaze_record_free(record);
	return value;
}

static void look_turn(struct look *l)
{
	const uint32_t records = l->p->board->options.records;

	for (unsigned i = 0; i < TURN_READS; i++) {
		uint32_t index;
		int64_t value;

		l->random = l->random * UINT64_C(6364136223846793005) + 1442695040888963407;
		index = (uint32_t)((l->random >> 32) * records >> 32);
		value = look_read(l, index);
		l->p->seat->wrong += value < 0 || (uint64_t)value % records != index;
		if (value >= 0 && (uint64_t)value > l->newest)
			l->newest = (uint64_t)value;
	}
	l->reads += TURN_READS;
}

/* Tells the writer how far it was seen to have come. (Statistics would wait for the lock, which the
 * service thread may hold while it has no CPU.) */
static void look_show(const struct look *l)
{
	/* Release: pairs with feed_run. */
	atomic_store_explicit(&l->p->seat->applied, l->newest, memory_order_release);
}

/* Waits for the first values. */
static int look_await(struct look *l)
{
	const uint32_t records = l->p->board->options.records;
	const uint64_t give_up_ns = perf_now_ns() + WAIT_NS;

	while (blaze_db_count(l->p->db) < records || look_read(l, records - 1) < 0) {
		if (perf_now_ns() > give_up_ns)
			return -ETIMEDOUT;
		perf_sleep_ns(NAP_NS);
	}
	l->newest = (uint64_t)look_read(l, records - 1);
	look_show(l);
	return 0;
}

/* Waits until the last update has come, then compares every record. */
static void look_finish(struct look *l, const struct perf_seat *writer)
{
	const uint32_t records = l->p->board->options.records;
	const uint64_t give_up_ns = perf_now_ns() + DRAIN_NS;
	struct perf_seat *seat = l->p->seat;
	uint64_t last;

	/* Acquire: pairs with perf_role_db_feed. */
	while (atomic_load_explicit(&writer->done, memory_order_acquire) == 0 &&
	       perf_now_ns() < give_up_ns)
		perf_sleep_ns(NAP_NS);
	last = atomic_load_explicit(&writer->published, memory_order_relaxed) - 1;
	while (look_read(l, (uint32_t)(last % records)) < (int64_t)last &&
	       perf_now_ns() < give_up_ns)
		perf_sleep_ns(NAP_NS);
	for (uint32_t i = 0; i < records; i++) {
		const int64_t wanted = (int64_t)(last - (last - i) % records);
		const int64_t value = look_read(l, i);

		seat->lost += value < wanted;
		seat->wrong += value > wanted;
	}
	seat->records = l->reads + records;
	/* Release: pairs with perf_role_db_feed. */
	atomic_store_explicit(&seat->done, 1, memory_order_release);
}

/* Seat 1. Its service thread stays where it was started, on the writer's CPU. */
int perf_role_db_look(struct perf_board *board, struct perf_seat *seat)
{
	struct perf_window window = { .phase = PERF_WARM };
	struct look l = { .random = 42 };
	struct perf_db p;
	uint32_t phase;
	int error;

	perf_pin(board->seats[0].cpu);
	error = perf_db_open(&p, board, seat, 0);
	perf_pin(seat->cpu);
	if (error != 0)
		return error;
	l.p = &p;
	error = look_await(&l);
	if (error == 0)
		perf_role_ready(board);
	for (unsigned turn = 0; error == 0 && (phase = perf_phase(board)) != PERF_STOP; turn++) {
		perf_window_turn(&window, seat, phase, l.reads);
		look_turn(&l);
		if (turn % SHOW_TURNS == 0)
			look_show(&l);
	}
	perf_window_turn(&window, seat, PERF_STOP, l.reads);
	if (error == 0)
		look_finish(&l, &board->seats[0]);
	perf_db_close(&p);
	return error;
}
