/* SPDX-License-Identifier: Apache-2.0 */
/* Times the replica core alone, without a ring: local writes, the merging of what another replica
 * wrote, and reads, of a million records in random order; and the memory that they take.
 *
 * bench_replica [RUNS [RECORDS [OPERATIONS [HISTORY_BYTES]]]] prints one row per measurement, the
 * median of the runs, beside its bar where it has one. It checks that both replicas end equal, and
 * exits non-zero otherwise; a missed bar is printed. Not a test: figures depend on the machine. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/base/base.h"
#include "lib/repl/history.h"
#include "lib/repl/replica.h"
#include "perf/perf.h"

#define LANE_BYTES  (4u << 20) /* a lane's default */
#define LANE_TXNS   65536u
#define BATCH       64u /* handed over at once, as a ring does */
#define BATCH_BYTES (64u << 10)
#define NOW         UINT64_C(1800000000000000000)

struct bench {
	struct blazei_replica *writer;
	struct blazei_replica *reader;
	struct blaze_id *ids;   /* of all records */
	struct blaze_id *order; /* a random one of them for each write */
	struct blaze_id *looks; /* and for each read */
	uint32_t records;
	uint32_t operations;
	_Alignas(64) uint8_t lane[LANE_BYTES];   /* what was written and not yet delivered */
	_Alignas(64) uint8_t batch[BATCH_BYTES]; /* what of it was copied out */
	uint32_t lens[LANE_TXNS];
	size_t lane_used;
	unsigned lane_count;
	uint64_t start_ns; /* of the writing of what is in the lane */
	uint64_t write_ns;
	uint64_t merge_ns;
};

static uint64_t random_state = 42;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void fail(const char *what, int rc)
{
	fprintf(stderr, "bench_replica: %s: %s\n", what, blaze_strerror(rc));
	exit(EXIT_FAILURE);
}

/* The processor time of this thread: what else runs on the machine counts less. */
static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * BLAZEI_NS_PER_S + (uint64_t)now.tv_nsec;
}

#define RUNS_MAX   99u
#define SERIES_MAX 16u

/* What was measured under one name, run by run. */
struct series {
	char name[32];
	const char *unit;
	double figures[RUNS_MAX];
	unsigned count;
};

static struct series series[SERIES_MAX];

/* The bars: at least, for rates; at most, for bytes. */
static const struct {
	const char *name;
	double bar;
} bars[] = {
	{ "update, merged", 10 },
	{ "fetch", 6 },
	{ "get", 2.5 },
	{ "memory per record", 160 },
};

static void note(const char *name, const char *unit, double figure)
{
	unsigned i = 0;

	while (series[i].name[0] != '\0' && strcmp(series[i].name, name) != 0)
		if (++i == SERIES_MAX)
			fail(name, -E2BIG);
	snprintf(series[i].name, sizeof(series[i].name), "%s", name);
	series[i].unit = unit;
	if (series[i].count < RUNS_MAX)
		series[i].figures[series[i].count++] = figure;
}

static void report(const char *what, uint64_t ns, uint32_t count)
{
	note(what, "M/s", 1000.0 * count / (double)ns);
}

static void print_all(unsigned runs)
{
	printf("%s; %s; replica core, one thread, %u runs, median [min..max]\n\n", perf_machine(),
	       perf_source(), runs);
	printf("| what | figure | bar |\n|---|---|---|\n");
	for (struct series *s = series; s < series + SERIES_MAX && s->count > 0; s++) {
		const double middle = perf_median(s->figures, s->count);
		const bool rate = strcmp(s->unit, "M/s") == 0;

		printf("| %s | %.2f [%.2f..%.2f] %s |", s->name, middle, s->figures[0],
		       s->figures[s->count - 1], s->unit);
		for (unsigned i = 0; i < sizeof(bars) / sizeof(bars[0]); i++)
			if (strcmp(bars[i].name, s->name) == 0)
				printf(" %s %g: %s", rate ? "at least" : "at most", bars[i].bar,
				       (rate ? middle >= bars[i].bar : middle <= bars[i].bar)
				               ? "met"
				               : "MISSED");
		printf(" |\n");
	}
}

static struct blazei_replica *replica_new(uint64_t rank, uint64_t history_bytes)
{
	struct blazei_replica_options options = {
		.self.incarnation = rank,
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
		.hash_seed = rank * 12345,
		.history_bytes = history_bytes,
	};
	struct blazei_replica *replica;
	int rc = blazei_replica_new(&options, &replica);

	if (rc < 0)
		fail("new", rc);
	return replica;
}

/* Copies the next transactions out of the lane, from *at and number *first on, and merges them. */
static void batch_deliver(struct bench *bench, size_t *at, unsigned *first)
{
	struct blazei_txn_view txns[BATCH];
	unsigned count = 0;
	size_t bytes = 0;
	int rc;

	while (count < BATCH && *first < bench->lane_count &&
	       bytes + bench->lens[*first] <= BATCH_BYTES) {
		txns[count++] =
		        (struct blazei_txn_view){ bench->batch + bytes, bench->lens[*first] };
		bytes += bench->lens[(*first)++];
	}
	memcpy(bench->batch, bench->lane + *at, bytes);
	*at += bytes;
	rc = blazei_replica_receive(bench->reader, NOW, txns, count);
	if (rc != (int)count)
		fail("receive", rc);
}

/* Reads the lane from its start, as one that is full. */
static void deliver(struct bench *bench)
{
	uint64_t written_ns = clock_ns();
	unsigned first = 0;
	size_t at = 0;

	bench->write_ns += written_ns - bench->start_ns;
	while (first < bench->lane_count)
		batch_deliver(bench, &at, &first);
	bench->lane_used = 0;
	bench->lane_count = 0;
	bench->start_ns = clock_ns();
	bench->merge_ns += bench->start_ns - written_ns;
}

static void keep(struct bench *bench, const void *txn, size_t len)
{
	if (len > BATCH_BYTES)
		fail("a transaction", -EMSGSIZE);
	if (len > sizeof(bench->lane) - bench->lane_used || bench->lane_count == LANE_TXNS)
		deliver(bench);
	memcpy(bench->lane + bench->lane_used, txn, len);
	bench->lens[bench->lane_count++] = (uint32_t)len;
	bench->lane_used += len;
}

static void phase_start(struct bench *bench)
{
	bench->write_ns = 0;
	bench->merge_ns = 0;
	bench->start_ns = clock_ns();
}

static void phase_end(struct bench *bench, const char *what, uint32_t count)
{
	char label[64];

	deliver(bench);
	snprintf(label, sizeof(label), "%s, local", what);
	report(label, bench->write_ns, count);
	snprintf(label, sizeof(label), "%s, merged", what);
	report(label, bench->merge_ns, count);
}

static void insert_all(struct bench *bench)
{
	struct blazei_write write = { .kind = BLAZEI_WRITE_INSERT };
	struct blazei_txn_view txn;
	struct blaze_record *record;

	blaze_record_new(&record);
	write.record = record;
	phase_start(bench);
	for (uint32_t i = 0; i < bench->records; i++) {
		blaze_record_set_int(record, "count", i);
		write.id = &bench->ids[i];
		int rc = blazei_replica_write(bench->writer, NOW, &write, &txn);
		if (rc < 0)
			fail("insert", rc);
		keep(bench, txn.data, txn.len);
	}
	phase_end(bench, "insert", bench->records);
	blaze_record_free(record);
}

static void update_all(struct bench *bench)
{
	struct blazei_write write = { .kind = BLAZEI_WRITE_UPDATE };
	struct blazei_txn_view txn = { 0 };
	struct blaze_record *record;

	blaze_record_new(&record);
	write.record = record;
	phase_start(bench);
	for (uint32_t i = 0; i < bench->operations; i++) {
		blaze_record_set_int(record, "count", (int64_t)i + 10000000);
		write.id = &bench->order[i];
		int rc = blazei_replica_write(bench->writer, NOW, &write, &txn);
		if (rc < 0)
			fail("update", rc);
		keep(bench, txn.data, txn.len);
	}
	phase_end(bench, "update", bench->operations);
	note("update, encoded", "bytes", (double)txn.len);
	blaze_record_free(record);
}

static void put_all(struct bench *bench)
{
	uint8_t value[64] = { 0 };
	struct blazei_write write = {
		.kind = BLAZEI_WRITE_PUT,
		.value = value,
		.len = sizeof(value),
	};
	struct blazei_txn_view txn;

	for (unsigned round = 0; round < 2; round++) {
		phase_start(bench);
		for (uint32_t i = 0; i < bench->operations; i++) {
			memcpy(value, &i, sizeof(i));
			write.id = &bench->order[i];
			int rc = blazei_replica_write(bench->writer, NOW, &write, &txn);
			if (rc < 0)
				fail("put", rc);
			keep(bench, txn.data, txn.len);
		}
		phase_end(bench, round ? "put again" : "put 64", bench->operations);
	}
}

/* As a database reads, and in an order of its own: the puts have laid the records down in theirs,
 * so that a reader who follows them reads memory from its start to its end. */
static void read_all(struct bench *bench)
{
	uint8_t value[64];
	uint64_t start = clock_ns();
	uint32_t found = 0;

	for (uint32_t i = 0; i < bench->operations; i++)
		found += blazei_replica_peek_fetch(bench->reader, &bench->looks[i], value,
		                                   sizeof(value)) == sizeof(value);
	report("fetch", clock_ns() - start, bench->operations);
	if (found != bench->operations)
		fail("fetch", -ENOENT);
	start = clock_ns();
	for (uint32_t i = 0; i < bench->operations; i++) {
		struct blaze_record *record;
		int rc = blazei_replica_peek_get(bench->reader, &bench->looks[i], &record);

		if (rc < 0)
			fail("get", rc);
		blaze_record_free(record);
	}
	report("get", clock_ns() - start, bench->operations);
}

static void memory_report(const struct bench *bench, const char *what)
{
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;

	blazei_replica_stats(bench->reader, &stats);
	note(what, "bytes", (double)stats.memory_bytes / bench->records);
}

static void compare(struct bench *bench)
{
	uint8_t digests[2][16];
	uint64_t start = clock_ns();

	if (blazei_replica_hash(bench->writer, digests[0]) < 0)
		fail("hash", -ENOMEM);
	report("hash, sorting", clock_ns() - start, bench->records);
	blazei_replica_hash_stamps(bench->writer, digests[0]);
	blazei_replica_hash_stamps(bench->reader, digests[1]);
	if (memcmp(digests[0], digests[1], sizeof(digests[0])) != 0)
		fail("the replicas differ", -EBADMSG);
}

/* The ids of all records, and the order in which operations take them. */
static void ids_make(struct bench *bench)
{
	bench->ids = malloc(bench->records * sizeof(*bench->ids));
	bench->order = malloc(bench->operations * sizeof(*bench->order));
	bench->looks = malloc(bench->operations * sizeof(*bench->looks));
	if (!bench->ids || !bench->order || !bench->looks || bench->records == 0)
		fail("set-up", -ENOMEM);
	for (uint32_t i = 0; i < bench->records; i++)
		for (unsigned j = 0; j < 2; j++) {
			uint64_t word = random_next();

			memcpy(bench->ids[i].bytes + 8 * j, &word, sizeof(word));
		}
	for (uint32_t i = 0; i < bench->operations; i++)
		bench->order[i] = bench->ids[random_next() % bench->records];
	/* Only what was put has bytes to be fetched. */
	for (uint32_t i = 0; i < bench->operations; i++)
		bench->looks[i] = bench->order[random_next() % bench->operations];
}

static void run_once(struct bench *bench, uint64_t history_bytes)
{
	bench->writer = replica_new(1, history_bytes);
	bench->reader = replica_new(2, history_bytes);
	insert_all(bench);
	update_all(bench);
	memory_report(bench, "memory per record");
	compare(bench);
	put_all(bench);
	read_all(bench);
	compare(bench);
	blazei_replica_free(bench->writer);
	blazei_replica_free(bench->reader);
}

int main(int argc, char **argv)
{
	const unsigned runs = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
	static struct bench bench;

	bench.records = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1000000;
	bench.operations = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 2000000;
	ids_make(&bench);
	for (unsigned run = 0; run < runs && run < RUNS_MAX; run++)
		run_once(&bench,
		         argc > 4 ? strtoull(argv[4], NULL, 10) : BLAZEI_HISTORY_BYTES_DEFAULT);
	print_all(runs);
	free(bench.ids);
	free(bench.order);
	free(bench.looks);
	return EXIT_SUCCESS;
}
