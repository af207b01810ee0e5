/* SPDX-License-Identifier: Apache-2.0 */
/* The database benchmark's load: updates of one int field in one process, merged into the
 * database of another and checked there.
 *
 * Part p of the processes owns the records p * count to (p + 1) * count - 1 and writes its sequence
 * number into field "n" of one after the other, round and round, so many updates to a transaction
 * as --txn says. So the last value of each record is known from the number of updates alone, and
 * the receiver checks all of them at the end, beside the number of transactions that it merged.
 *
 * A writer keeps at most a window of updates ahead of its receiver, by a count on the board: a
 * database may overtake its readers (they catch up by state), but then nothing would be measured
 * but that. */
#include "perf/perf_db_roles.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ATTACH_NS    UINT64_C(20000000000)
#define DRAIN_NS     UINT64_C(5000000000)
#define WINDOW_BYTES 256u /* of lane for each update that may be under way */
#define QUIET_PUMPS  10u
#define TURN_UPDATES 64u
#define NAME_OF_PART "perf-%u"
#define FIELD        "n"

/* Written as it is read, in two words: a load that covers several stores waits until these have
 * left the CPU, and with them all that came before: reads of a database then don't overlap. */
void perf_db_id(unsigned part, uint32_t index, struct blaze_id *ret_id)
{
	/* Spread over the hash table as random ids would be, and in no order. */
	const uint64_t words[2] = { ((uint64_t)part << 32 | index) * PATTERN_SEQ_FACTOR,
		                    (uint64_t)part << 56 | index };

	memcpy(ret_id->bytes, &words[0], sizeof(words[0]));
	memcpy(ret_id->bytes + sizeof(words[0]), &words[1], sizeof(words[1]));
}

int perf_db_open(struct perf_db *p, struct perf_board *board, struct perf_seat *seat,
                 uint32_t flags)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	char name[16];
	int error;

	memset(p, 0, sizeof(*p));
	p->board = board;
	p->seat = seat;
	options.flags = flags;
	options.lane_bytes = board->options.lane_bytes;
	options.spin_ns = board->options.latency == PERF_LATENCY_ASLEEP ? 1 : 0;
	error = blaze_db_open(board->name, NULL, &options, &p->db);
	if (error != 0)
		return error;
	snprintf(name, sizeof(name), NAME_OF_PART, seat->part);
	error = blaze_topology_new(&p->topology);
	if (error == 0)
		error = blaze_topology_register(p->topology, p->db, name, BLAZE_ROLE_PEER,
		                                &p->node);
	if (error != 0)
		perf_db_close(p);
	return error;
}

void perf_db_close(struct perf_db *p)
{
	blaze_topology_free(p->topology);
	if (p->db != NULL)
		(void)blaze_db_close(p->db);
	memset(p, 0, sizeof(*p));
}

int perf_db_connect(struct perf_db *p, unsigned part)
{
	struct blaze_id other;
	char name[16];
	int error;

	snprintf(name, sizeof(name), NAME_OF_PART, part);
	error = blaze_topology_find(p->topology, p->board->name, name, ATTACH_NS, &other);
	if (error == 0)
		error = blaze_topology_connect_local(p->topology, &p->node, &other,
		                                     BLAZE_LINK_BIDIRECTIONAL);
	return error;
}

int perf_db_pump(struct perf_db *p, uint64_t timeout_ns)
{
	int count = blaze_db_pump(p->db, timeout_ns);

	if (count > 0) {
		/* In updates: nearly all transactions have so many. */
		p->applied += (uint64_t)count * p->board->options.txn;
		/* Release: pairs with the writer's acquire in writer_may. */
		atomic_store_explicit(&p->seat->applied, p->applied - p->applied_before,
		                      memory_order_release);
	}
	return count;
}

int perf_db_await_count(struct perf_db *p, int64_t count)
{
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;
	uint64_t give_up_ns = perf_now_ns() + ATTACH_NS;
	int error = 0;

	while (error >= 0 && blaze_db_count(p->db) < count) {
		if (perf_now_ns() > give_up_ns)
			return -ETIMEDOUT;
		error = perf_db_pump(p, UINT64_C(1000000));
	}
	/* State comes before the transactions that it covers, which may follow still. */
	for (unsigned empty = 0; error >= 0 && empty<QUIET_PUMPS; empty = error> 0 ? 0 : empty + 1)
		error = perf_db_pump(p, UINT64_C(2000000));
	if (error >= 0)
		error = blaze_db_stats(p->db, &stats);
	/* How the first records came, as transactions or as state, is not counted. */
	p->applied_before = p->applied;
	p->catch_ups_before = stats.catch_ups;
	/* Relaxed: before the start. */
	atomic_store_explicit(&p->seat->applied, 0, memory_order_relaxed);
	return error < 0 ? error : 0;
}

/* As perf_role_ready, for a database without a service thread: another may still be asking it for
 * what it lacks. */
static int pump_until_start(struct perf_db *p)
{
	int error = 0;

	perf_role_stand(p->board);
	while (error >= 0 && perf_phase(p->board) == PERF_PREPARE)
		error = perf_db_pump(p, UINT64_C(1000000));
	perf_role_begin(p->board);
	return error < 0 ? error : 0;
}

struct db_writer {
	struct perf_db *p;
	struct blaze_record *patch;
	const struct perf_seat *receiver;
	uint64_t seq;
	uint64_t window;
};

static int writer_init(struct db_writer *w, struct perf_db *p, unsigned receiver)
{
	const struct perf_options *o = &p->board->options;
	int error;

	memset(w, 0, sizeof(*w));
	w->p = p;
	w->receiver = &p->board->seats[receiver];
	w->window = o->lane_bytes / WINDOW_BYTES;
	error = blaze_record_new(&w->patch);
	if (error == 0)
		error = blaze_record_set_int(w->patch, FIELD, -1);
	for (uint32_t i = 0; i < o->records && error == 0; i++) {
		struct blaze_id id;

		perf_db_id(p->seat->part, i, &id);
		error = blaze_db_insert_with_id(p->db, &id, w->patch);
	}
	return error;
}

/* Within a transaction, unless that is NULL. */
static int writer_update(struct db_writer *w, struct blaze_txn *txn, uint64_t seq, int64_t value)
{
	struct blaze_id id;
	int error;

	perf_db_id(w->p->seat->part, (uint32_t)(seq % w->p->board->options.records), &id);
	error = blaze_record_set_int(w->patch, FIELD, value);
	if (error != 0)
		return error;
	return txn != NULL ? blaze_txn_update(txn, &id, w->patch)
	                   : blaze_db_update(w->p->db, &id, w->patch);
}

/* The next transaction, of --txn updates, the last of which gets the value given. */
static int writer_commit(struct db_writer *w, int64_t value)
{
	uint32_t count = w->p->board->options.txn;
	struct blaze_txn *txn;
	int error;

	if (count == 1)
		return writer_update(w, NULL, w->seq, value);
	error = blaze_txn_begin(w->p->db, &txn);
	if (error != 0)
		return error;
	for (uint32_t i = 0; i < count && error == 0; i++)
		error = writer_update(w, txn, w->seq + i,
		                      i + 1 < count ? (int64_t)(w->seq + i) : value);
	if (error == 0)
		return blaze_txn_commit(txn);
	blaze_txn_abort(txn);
	return error;
}

/* Whether the receiver keeps up. */
static bool writer_may(const struct db_writer *w)
{
	/* Acquire pairs with perf_db_pump. */
	uint64_t applied = atomic_load_explicit(&w->receiver->applied, memory_order_acquire);

	return w->seq < applied + w->window;
}

static int writer_turn(struct db_writer *w)
{
	int error = 0;

	uint32_t count = w->p->board->options.txn;

	for (unsigned i = 0; i < TURN_UPDATES && error == 0; i += count) {
		error = writer_commit(w, (int64_t)(w->seq + count - 1));
		w->seq += error == 0 ? count : 0;
	}
	return error;
}

/* The last transaction, its last update spoiled where that was asked for, and the count that
 * receivers expect. */
static int writer_finish(struct db_writer *w)
{
	uint32_t sabotage = w->p->seat->part == 1 ? w->p->board->options.sabotage : 0;
	uint32_t count = w->p->board->options.txn;
	uint64_t last = w->seq + count - 1;
	int error = 0;

	if (sabotage == PERF_SABOTAGE_CORRUPT)
		error = writer_commit(w, (int64_t)(last ^ UINT64_C(1) << 40));
	else if (sabotage != PERF_SABOTAGE_DROP)
		error = writer_commit(w, (int64_t)last);
	if (error == 0 && sabotage == PERF_SABOTAGE_DUPLICATE)
		error = blaze_db_put(w->p->db, &w->p->node, "", 0);
	w->seq += count;
	/* Ordered by the release of done, which pairs with settle. */
	atomic_store_explicit(&w->p->seat->published, w->seq, memory_order_relaxed);
	atomic_store_explicit(&w->p->seat->done, 1, memory_order_release);
	blaze_record_free(w->patch);
	return error;
}

/* Pumps until the other part has stopped and all of its transactions have come. */
static int settle(struct perf_db *p, const struct perf_seat *writer)
{
	uint64_t give_up_ns = perf_now_ns() + DRAIN_NS;
	int count = 0;

	while (count >= 0 && perf_now_ns() < give_up_ns) {
		/* Acquire pairs with writer_finish; published is final then. */
		if (atomic_load_explicit(&writer->done, memory_order_acquire) &&
		    p->applied - p->applied_before >=
		            atomic_load_explicit(&writer->published, memory_order_relaxed))
			break;
		count = perf_db_pump(p, UINT64_C(1000000));
		if (count > 0)
			give_up_ns = perf_now_ns() + DRAIN_NS;
	}
	/* What should not come, comes now. */
	for (unsigned i = 0; i < 20 && count >= 0; i++)
		count = perf_db_pump(p, UINT64_C(1000000));
	return count < 0 ? count : 0;
}

/* Compares every record of the writer with what its number of updates leaves there. */
static void verify_content(struct perf_db *p, const struct perf_seat *writer, uint64_t published)
{
	uint32_t count = p->board->options.records;
	struct perf_seat *seat = p->seat;

	for (uint32_t i = 0; i < count; i++) {
		struct blaze_record *record;
		struct blaze_id id;
		int64_t value = 0, last = -1;

		if (published > i)
			last = (int64_t)(published - 1 - (published - 1 - i) % count);
		perf_db_id(writer->part, i, &id);
		if (blaze_db_get(p->db, &id, &record) != 0) {
			seat->lost++;
			continue;
		}
		if (blaze_record_get_int(record, FIELD, &value) != 0 || value > last ||
		    (value >= 0 && value % count != i))
			seat->wrong++;
		else if (value < last)
			seat->lost++;
		blaze_record_free(record);
	}
}

/* Settles, then checks count and content. A receiver that was overtaken and caught up by state has
 * merged fewer transactions, but its content must be right all the same. */
static int receiver_finish(struct perf_db *p, const struct perf_seat *writer)
{
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;
	struct perf_seat *seat = p->seat;
	uint64_t published, applied;
	int error = settle(p, writer);

	if (error == 0)
		error = blaze_db_stats(p->db, &stats);
	if (error != 0)
		return error;
	/* Relaxed: settle has acquired done, or the transactions are lost. */
	published = atomic_load_explicit(&writer->published, memory_order_relaxed);
	applied = p->applied - p->applied_before;
	seat->laps = stats.laps;
	seat->catch_ups = stats.catch_ups - p->catch_ups_before;
	seat->records = applied;
	if (applied < published && seat->catch_ups > 0)
		seat->lapped += published - applied;
	else if (applied < published)
		seat->lost += published - applied;
	else
		seat->wrong += applied - published;
	verify_content(p, writer, published);
	/* Release pairs with linger. */
	atomic_store_explicit(&seat->done, 2, memory_order_release);
	return 0;
}

/* A database leaves when the other has read it to the end, and serves it until then. */
static void linger(struct perf_db *p, const struct perf_seat *receiver)
{
	uint64_t give_up_ns = perf_now_ns() + 4 * DRAIN_NS;

	/* Acquire: nothing is read after it. */
	while (atomic_load_explicit(&receiver->done, memory_order_acquire) != 2 &&
	       perf_now_ns() < give_up_ns)
		/* Refused where the service thread does it. */
		if (perf_db_pump(p, UINT64_C(1000000)) < 0)
			perf_sleep_ns(UINT64_C(1000000));
}

/* Seat 1. */
int perf_role_db_writer(struct perf_board *board, struct perf_seat *seat)
{
	struct db_writer w = { .seq = 0 };
	struct perf_db p;
	int error = perf_db_open(&p, board, seat, 0);

	if (error != 0)
		return error;
	error = perf_db_connect(&p, 0);
	if (error == 0)
		error = writer_init(&w, &p, 0);
	if (error == 0) {
		perf_role_ready(board);
		while (error == 0 && perf_phase(board) != PERF_STOP) {
			if (writer_may(&w))
				error = writer_turn(&w);
			else
				perf_relax();
		}
		if (error == 0)
			error = writer_finish(&w);
		linger(&p, &board->seats[0]);
	}
	perf_db_close(&p);
	return error;
}

/* Seat 0. */
int perf_role_db_reader(struct perf_board *board, struct perf_seat *seat)
{
	struct perf_window window = { .phase = PERF_WARM };
	struct perf_db p;
	uint32_t phase;
	int error = perf_db_open(&p, board, seat, BLAZE_DB_MANUAL);

	if (error != 0)
		return error;
	error = perf_db_await_count(&p, board->options.records);
	if (error == 0)
		error = pump_until_start(&p);
	while (error >= 0 && (phase = perf_phase(board)) != PERF_STOP) {
		perf_window_turn(&window, seat, phase, p.applied);
		error = perf_db_pump(&p, 0);
	}
	perf_window_turn(&window, seat, PERF_STOP, p.applied);
	if (error >= 0)
		error = receiver_finish(&p, &board->seats[1]);
	perf_db_close(&p);
	return error < 0 ? error : 0;
}

/* Seats 0 and 1: both write, both merge. */
int perf_role_db_both(struct perf_board *board, struct perf_seat *seat)
{
	struct perf_window window = { .phase = PERF_WARM };
	struct perf_seat *other = &board->seats[1 - seat->part];
	struct db_writer w = { .seq = 0 };
	struct perf_db p;
	uint32_t phase;
	int error = perf_db_open(&p, board, seat, BLAZE_DB_MANUAL);

	if (error != 0)
		return error;
	if (seat->part == 1)
		error = perf_db_connect(&p, 0);
	if (error == 0)
		error = writer_init(&w, &p, 1 - seat->part);
	if (error == 0)
		error = perf_db_await_count(&p, 2 * (int64_t)board->options.records);
	if (error == 0)
		error = pump_until_start(&p);
	while (error >= 0 && (phase = perf_phase(board)) != PERF_STOP) {
		perf_window_turn(&window, seat, phase, p.applied);
		if (writer_may(&w))
			error = writer_turn(&w);
		if (error >= 0)
			error = perf_db_pump(&p, 0);
	}
	perf_window_turn(&window, seat, PERF_STOP, p.applied);
	if (error >= 0)
		error = writer_finish(&w);
	if (error >= 0)
		error = receiver_finish(&p, other);
	if (error >= 0)
		linger(&p, other);
	perf_db_close(&p);
	return error < 0 ? error : 0;
}

/* A database in a topology, with its service thread, to which nothing comes. */
int perf_role_db_doze(struct perf_board *board, struct perf_seat *seat)
{
	struct perf_window window = { .phase = PERF_WARM };
	struct perf_db p;
	uint32_t phase;
	int error = perf_db_open(&p, board, seat, 0);

	if (error != 0)
		return error;
	perf_role_ready(board);
	do {
		phase = perf_phase(board);
		perf_window_turn(&window, seat, phase, 0);
		perf_sleep_ns(UINT64_C(200000000));
	} while (phase != PERF_STOP);
	perf_db_close(&p);
	return 0;
}
