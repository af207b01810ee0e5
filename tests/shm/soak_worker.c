/* SPDX-License-Identifier: Apache-2.0 */
/* One worker of the soak: publishes dense sequences, checks what the others publish.
 *
 * ORACLE  For each incarnation of a publisher the reader knows the next sequence number and the
 *         next byte. A record must be exactly the next, or follow a reported lap of exactly the
 *         bytes between; the first one must be number 0 where the publisher attached after our
 *         first poll, and no younger than what was published at that time otherwise. At the end,
 *         what each incarnation had published before it died or settled must have come, unless
 *         it was reported lost.
 * THREADS On a lossless ring a publish waits for the readers, so each worker reads in a second
 *         thread; on others one thread does both. */
#include "tests/shm/soak_ring.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/shm/ring_test.h"

/* What this reader knows of one incarnation. */
struct line {
	struct blaze_id id;
	bool known;  /* something of it has come */
	bool lapped; /* and then a lap of lap_bytes, or of an unknown size */
	bool unknown;
	uint64_t lap_bytes;
	uint64_t next_seq;
	uint64_t next_byte;
	uint64_t at_start; /* attempted when we began to read */
};

struct worker {
	struct soak_table *table;
	struct soak_row *row;
	uint32_t index;
	struct blaze_ring *ring;
	uint64_t random;
	uint64_t attach_ns; /* before our own attach */
	uint64_t begin_ns;  /* after our first poll */
	uint64_t seq;
	uint64_t before;
	struct line *lines;
	bool lost_unknown; /* a lap of unknown size whose publisher is not known */
};

static void bump(_Atomic uint64_t *counter, uint64_t by)
{
	/* Relaxed: counters for the parent, which reads them while we run or when we are gone. */
	atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

static void wrong(struct worker *worker, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
static void wrong(struct worker *worker, const char *format, ...)
{
	va_list args;

	if (atomic_fetch_add(&worker->row->wrong, 1) > 0)
		return;
	va_start(args, format);
	vsnprintf(worker->row->first_wrong, SOAK_TEXT, format, args);
	va_end(args);
}

static uint8_t pattern(const struct soak_stamp *stamp, size_t at)
{
	return (uint8_t)(stamp->seq * 37 + stamp->row * 11 + at);
}

/* Publishing ---------------------------------------------------------------------------------- */

static size_t make_record(struct worker *worker, uint8_t *data, size_t cap)
{
	struct soak_stamp stamp = {
		.row = worker->index,
		.seq = worker->seq,
		.before = worker->before,
		.attach_ns = worker->attach_ns,
	};
	size_t len = sizeof(stamp) + soak_draw(&worker->random) % (cap - sizeof(stamp));

	memcpy(data, &stamp, sizeof(stamp));
	for (size_t i = sizeof(stamp); i < len; i++)
		data[i] = pattern(&stamp, i);
	worker->seq++;
	worker->before += rt_stride(len);
	return len;
}

/* One record, several, or some made in place. Returns what the last call did. */
static int publish_some(struct worker *worker)
{
	static uint8_t data[SOAK_BATCH_MAX][400];
	struct iovec vector[SOAK_BATCH_MAX];
	unsigned count = 1 + (unsigned)(soak_draw(&worker->random) % SOAK_BATCH_MAX);
	unsigned how = (unsigned)(soak_draw(&worker->random) % 3);
	int r = 0;

	if (how == 0)
		count = 1;
	for (unsigned i = 0; i < count; i++) {
		vector[i].iov_base = data[i];
		vector[i].iov_len = make_record(worker, data[i], sizeof(data[i]));
	}
	atomic_store(&worker->row->attempted, worker->seq);
	if (how == 0)
		r = blaze_ring_publish(worker->ring, vector[0].iov_base, vector[0].iov_len);
	else if (how == 1)
		r = blaze_ring_publishv(worker->ring, vector, count);
	for (unsigned i = 0; how == 2 && r == 0 && i < count; i++) {
		void *place = NULL;

		r = blaze_ring_reserve(worker->ring, vector[i].iov_len, &place);
		if (r == 0)
			memcpy(place, data[i], vector[i].iov_len);
	}
	if (how == 2 && r == 0)
		r = blaze_ring_commit(worker->ring);
	if (r == 0)
		atomic_store(&worker->row->published, worker->seq);
	else
		wrong(worker, "publish gave %d", r);
	bump(&worker->row->progress, 1);
	return r;
}

/* Reading ------------------------------------------------------------------------------------- */

static struct line *line_of_id(struct worker *worker, const struct blaze_id *id)
{
	for (uint32_t i = 0; i < SOAK_ROWS_MAX; i++) {
		if (worker->lines[i].known && memcmp(&worker->lines[i].id, id, sizeof(*id)) == 0)
			return &worker->lines[i];
	}
	return NULL;
}

/* A lap names its publisher, of whom nothing may have come yet. */
static void note_lap(struct worker *worker, const struct blaze_ring_record *record)
{
	struct line *line = line_of_id(worker, &record->publisher);

	bump(&worker->row->laps, 1);
	if (worker->table->lossless)
		wrong(worker, "a lap of %zu bytes on a lossless ring", record->len);
	if (record->len == SIZE_MAX)
		bump(&worker->row->unknown_laps, 1);
	if (!line) {
		worker->lost_unknown = true;
		return;
	}
	line->lapped = true;
	line->unknown |= record->len == SIZE_MAX;
	line->lap_bytes += record->len;
}

static void check_first(struct worker *worker, struct line *line, const struct soak_stamp *stamp)
{
	if (worker->lost_unknown)
		return;
	if (stamp->attach_ns > worker->begin_ns && stamp->seq != 0)
		wrong(worker, "row %u: first record of a younger lane is %llu",
		      (unsigned)stamp->row, (unsigned long long)stamp->seq);
	if (stamp->attach_ns <= worker->begin_ns && stamp->seq > line->at_start)
		wrong(worker, "row %u: starts at %llu, had attempted %llu", (unsigned)stamp->row,
		      (unsigned long long)stamp->seq, (unsigned long long)line->at_start);
}

static void check_next(struct worker *worker, const struct line *line,
                       const struct soak_stamp *stamp)
{
	uint64_t lost = line->lapped ? line->lap_bytes : 0;

	if (stamp->seq < line->next_seq)
		wrong(worker, "row %u: record %llu came again", (unsigned)stamp->row,
		      (unsigned long long)stamp->seq);
	else if (!line->unknown && stamp->before != line->next_byte + lost)
		wrong(worker, "row %u: byte %llu after %llu and %llu lost, record %llu after %llu",
		      (unsigned)stamp->row, (unsigned long long)stamp->before,
		      (unsigned long long)line->next_byte, (unsigned long long)lost,
		      (unsigned long long)stamp->seq, (unsigned long long)line->next_seq);
}

static void check_record(struct worker *worker, const struct blaze_ring_record *record)
{
	const uint8_t *data = record->data;
	struct soak_stamp stamp;
	struct line *line;

	if (record->len < sizeof(stamp)) {
		wrong(worker, "a record of %zu bytes", record->len);
		return;
	}
	memcpy(&stamp, data, sizeof(stamp));
	for (size_t i = sizeof(stamp); i < record->len; i++) {
		if (data[i] != pattern(&stamp, i)) {
			wrong(worker, "byte %zu of a record is wrong", i);
			return;
		}
	}
	if (stamp.row >= SOAK_ROWS_MAX || record->position != stamp.before) {
		wrong(worker, "record of row %llu at %llu says %llu", (unsigned long long)stamp.row,
		      (unsigned long long)record->position, (unsigned long long)stamp.before);
		return;
	}
	line = &worker->lines[stamp.row];
	if (!line->known)
		check_first(worker, line, &stamp);
	else
		check_next(worker, line, &stamp);
	line->id = record->publisher;
	line->known = true;
	line->lapped = line->unknown = false;
	line->lap_bytes = 0;
	line->next_seq = stamp.seq + 1;
	line->next_byte = stamp.before + rt_stride(record->len);
}

static int take(void *arg, const struct blaze_ring_record *records, unsigned count)
{
	struct worker *worker = arg;

	for (unsigned i = 0; i < count; i++) {
		if (records[i].data)
			check_record(worker, &records[i]);
		else
			note_lap(worker, &records[i]);
	}
	bump(&worker->row->received, count);
	return 0;
}

/* Returns whether something came. */
static bool read_some(struct worker *worker)
{
	int r = blaze_ring_poll(worker->ring, take, worker, 0);

	/* With a thread for each, it is the publisher that may wait for too long. */
	if (!worker->table->lossless)
		bump(&worker->row->progress, 1);
	if (r == -ESTALE)
		return true;
	if (r < 0)
		wrong(worker, "poll gave %d", r);
	return r > 0;
}

static void rest(struct worker *worker)
{
	int r = blaze_ring_wait(worker->ring, 5 * RT_MS);

	if (r < 0 && r != -ETIMEDOUT && r != -EINTR)
		wrong(worker, "wait gave %d", r);
}

static uint32_t phase(const struct worker *worker)
{
	return atomic_load(&worker->table->phase);
}

/* Everything that was published before everybody settled must be here by now, or lost aloud. */
static void check_end(struct worker *worker)
{
	for (uint32_t i = 0; i < SOAK_ROWS_MAX; i++) {
		const struct line *line = &worker->lines[i];
		uint64_t published = atomic_load(&worker->table->rows[i].published);

		if (i == worker->index || line->lapped)
			continue;
		/* What was known stays mapped until it is read: only a lane never seen may be what
		 * was lost without a number. */
		if (line->known ? line->next_seq < published
		                : line->at_start < published && !worker->lost_unknown)
			wrong(worker, "row %u: published %llu, came %llu, at our start %llu", i,
			      (unsigned long long)published, (unsigned long long)line->next_seq,
			      (unsigned long long)line->at_start);
	}
}

static void begin(struct worker *worker)
{
	/* The first poll starts at the tails and may already see more: too early to judge. */
	worker->begin_ns = UINT64_MAX;
	for (uint32_t i = 0; i < SOAK_ROWS_MAX; i++)
		worker->lines[i].at_start = UINT64_MAX;
	read_some(worker);
	worker->begin_ns = rt_now_ns();
	/* Whoever had attached by then may have attempted this much and one publication more. */
	for (uint32_t i = 0; i < SOAK_ROWS_MAX; i++)
		worker->lines[i].at_start = atomic_load(&worker->table->rows[i].attempted);
}

static void *reader_main(void *arg)
{
	struct worker *worker = arg;

	while (phase(worker) < SOAK_CHECK) {
		if (!read_some(worker))
			rest(worker);
	}
	return NULL;
}

static void run(struct worker *worker)
{
	pthread_t reader;
	bool threaded = worker->table->lossless;

	if (threaded && pthread_create(&reader, NULL, reader_main, worker) != 0) {
		wrong(worker, "no thread");
		return;
	}
	while (phase(worker) < SOAK_SETTLE) {
		if (publish_some(worker) < 0)
			break;
		if (!threaded && soak_draw(&worker->random) % 4 == 0)
			read_some(worker);
		if (soak_draw(&worker->random) % 16 == 0 && !threaded)
			rest(worker);
		if (soak_draw(&worker->random) % 64 == 0)
			rt_sleep_ms((unsigned)(soak_draw(&worker->random) % 3));
	}
	atomic_store(&worker->row->settled, SOAK_SETTLE);
	while (phase(worker) < SOAK_CHECK) {
		if (!threaded && !read_some(worker))
			rest(worker);
		else if (threaded)
			rt_sleep_ms(1);
	}
	if (threaded)
		pthread_join(reader, NULL);
	while (read_some(worker)) {
	}
	check_end(worker);
	atomic_store(&worker->row->settled, SOAK_CHECK);
	while (phase(worker) < SOAK_LEAVE)
		rt_sleep_ms(1);
}

int soak_worker(struct soak_table *table, uint32_t row)
{
	struct blaze_ring_options options = BLAZE_RING_OPTIONS_INIT;
	struct worker worker = {
		.table = table,
		.row = &table->rows[row],
		.index = row,
		.random = (table->seed + row * 7919) | 1,
		.lines = calloc(SOAK_ROWS_MAX, sizeof(struct line)),
	};
	int r;

	if (!worker.lines)
		return 1;
	options.lane_bytes = RT_LANE_MIN;
	options.stall_budget_ns = table->lossless ? BLAZE_FOREVER : 0;
	worker.attach_ns = rt_now_ns();
	r = blaze_ring_attach(table->ring, &options, &worker.ring);
	if (r < 0) {
		wrong(&worker, "attach gave %d (%s)", r, blaze_strerror(r));
		free(worker.lines);
		return 1;
	}
	begin(&worker);
	run(&worker);
	blaze_ring_detach(worker.ring);
	free(worker.lines);
	return atomic_load(&worker.row->wrong) ? 1 : 0;
}
