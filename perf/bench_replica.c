/* SPDX-License-Identifier: Apache-2.0 */
/* Times the replica core alone, without a ring: ns per operation of local writes, of merging what
 * another replica wrote, and of reads, over a million records in random order.
 *
 * bench_replica [RECORDS [OPERATIONS [HISTORY_BYTES]]] prints one line per measurement. It checks
 * that both replicas end equal, and exits non-zero otherwise. Not a test: figures depend on the
 * machine. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/base/base.h"
#include "lib/repl/history.h"
#include "lib/repl/replica.h"

#define LANE_BYTES  (4u << 20) /* a lane's default */
#define LANE_TXNS   65536u
#define BATCH       64u /* handed over at once, as a ring does */
#define BATCH_BYTES (64u << 10)
#define NOW         UINT64_C(1800000000000000000)

struct bench {
	struct blazei_replica *writer;
	struct blazei_replica *reader;
	struct blaze_id *ids;   /* of all records */
	struct blaze_id *order; /* a random one of them for each operation */
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

static void report(const char *what, uint64_t ns, uint32_t count)
{
	double each = (double)ns / count;

	printf("%-28s %8.1f ns  %7.2f M/s\n", what, each, 1000 / each);
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
	printf("%-28s %8zu bytes\n", "update, encoded", txn.len);
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

static void read_all(struct bench *bench)
{
	uint8_t value[64];
	uint64_t start = clock_ns();

	for (uint32_t i = 0; i < bench->operations; i++)
		if (blazei_replica_fetch(bench->reader, &bench->order[i], value, sizeof(value)) !=
		    sizeof(value))
			fail("fetch", -ENOENT);
	report("fetch", clock_ns() - start, bench->operations);
	start = clock_ns();
	for (uint32_t i = 0; i < bench->operations; i++) {
		struct blaze_record *record;
		int rc = blazei_replica_get(bench->reader, &bench->order[i], &record);

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
	printf("%-28s %8.1f bytes\n", what, (double)stats.memory_bytes / bench->records);
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

int main(int argc, char **argv)
{
	uint64_t history_bytes = BLAZEI_HISTORY_BYTES_DEFAULT;
	static struct bench bench;

	bench.records = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
	bench.operations = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 2000000;
	if (argc > 3)
		history_bytes = strtoull(argv[3], NULL, 10);
	bench.writer = replica_new(1, history_bytes);
	bench.reader = replica_new(2, history_bytes);
	bench.ids = malloc(bench.records * sizeof(*bench.ids));
	bench.order = malloc(bench.operations * sizeof(*bench.order));
	if (!bench.ids || !bench.order || bench.records == 0)
		fail("set-up", -ENOMEM);
	for (uint32_t i = 0; i < bench.records; i++)
		for (unsigned j = 0; j < 2; j++) {
			uint64_t word = random_next();

			memcpy(bench.ids[i].bytes + 8 * j, &word, sizeof(word));
		}
	for (uint32_t i = 0; i < bench.operations; i++)
		bench.order[i] = bench.ids[random_next() % bench.records];
	insert_all(&bench);
	memory_report(&bench, "memory per record");
	update_all(&bench);
	memory_report(&bench, "memory per record");
	compare(&bench);
	put_all(&bench);
	read_all(&bench);
	compare(&bench);
	blazei_replica_free(bench.writer);
	blazei_replica_free(bench.reader);
	free(bench.ids);
	free(bench.order);
	return EXIT_SUCCESS;
}
