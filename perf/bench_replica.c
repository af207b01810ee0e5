/* SPDX-License-Identifier: Apache-2.0 */
/* Times the replica core alone, without a ring: ns per operation of local writes, of merging what
 * another replica wrote, and of reads, over a million records in random order.
 *
 * bench_replica [RECORDS [OPERATIONS]] prints one line per measurement. It checks that both
 * replicas end equal, and exits non-zero otherwise. Not a test: figures depend on the machine. */
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/base.h"
#include "lib/repl/replica.h"

#define BATCH 256u

struct bench {
	struct blazei_replica *writer;
	struct blazei_replica *reader;
	struct blaze_id *ids;
	uint32_t *order; /* a random record for each operation */
	uint32_t records;
	uint32_t operations;
	uint8_t *log;
	size_t log_bytes;
	size_t log_max;
	struct blazei_txn_view *txns;
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

static void report(const char *what, uint64_t start_ns, uint32_t count)
{
	double ns = (double)(blazei_monotonic_ns() - start_ns) / count;

	printf("%-28s %8.1f ns  %7.2f M/s\n", what, ns, 1000 / ns);
}

static struct blazei_replica *replica_new(uint64_t rank)
{
	struct blazei_replica_options options = {
		.self.incarnation = rank,
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
		.hash_seed = rank * 12345,
	};
	struct blazei_replica *replica;
	int rc = blazei_replica_new(&options, &replica);

	if (rc < 0)
		fail("new", rc);
	return replica;
}

static void keep(struct bench *bench, uint32_t i, const void *txn, size_t len)
{
	if (bench->log_bytes + len > bench->log_max)
		fail("log", -ENOMEM);
	memcpy(bench->log + bench->log_bytes, txn, len);
	bench->txns[i] = (struct blazei_txn_view){ bench->log + bench->log_bytes, len };
	bench->log_bytes += len;
}

static void deliver(struct bench *bench, const char *what, uint32_t count)
{
	uint64_t start = blazei_monotonic_ns();

	for (uint32_t at = 0; at < count; at += BATCH) {
		uint32_t n = count - at < BATCH ? count - at : BATCH;
		int rc = blazei_replica_receive(bench->reader, start, bench->txns + at, n);

		if (rc != (int)n)
			fail("receive", rc);
	}
	report(what, start, count);
}

static void insert_all(struct bench *bench)
{
	struct blaze_record *record;
	const void *txn;
	size_t len;
	uint64_t start = blazei_monotonic_ns();

	blaze_record_new(&record);
	for (uint32_t i = 0; i < bench->records; i++) {
		blaze_record_set_int(record, "count", i);
		int rc = blazei_replica_write(bench->writer, start, BLAZEI_WRITE_INSERT,
		                              &bench->ids[i], record, &txn, &len);
		if (rc < 0)
			fail("insert", rc);
		keep(bench, i, txn, len);
	}
	report("insert, local", start, bench->records);
	deliver(bench, "insert, merged", bench->records);
	bench->log_bytes = 0;
	blaze_record_free(record);
}

static void update_all(struct bench *bench)
{
	struct blaze_record *record;
	const void *txn;
	size_t len = 0;
	uint64_t start = blazei_monotonic_ns();

	blaze_record_new(&record);
	for (uint32_t i = 0; i < bench->operations; i++) {
		blaze_record_set_int(record, "count", (int64_t)i + 10000000);
		int rc = blazei_replica_write(bench->writer, start, BLAZEI_WRITE_UPDATE,
		                              &bench->ids[bench->order[i]], record, &txn, &len);
		if (rc < 0)
			fail("update", rc);
		keep(bench, i, txn, len);
	}
	report("update, local", start, bench->operations);
	printf("%-28s %8zu bytes\n", "update, encoded", len);
	deliver(bench, "update, merged", bench->operations);
	bench->log_bytes = 0;
	blaze_record_free(record);
}

static void put_all(struct bench *bench)
{
	uint8_t value[64] = { 0 };
	const void *txn;
	size_t len;
	uint64_t start;

	for (unsigned round = 0; round < 2; round++) {
		start = blazei_monotonic_ns();
		for (uint32_t i = 0; i < bench->operations; i++) {
			memcpy(value, &i, sizeof(i));
			int rc = blazei_replica_put(bench->writer, start,
			                            &bench->ids[bench->order[i]], value,
			                            sizeof(value), &txn, &len);
			if (rc < 0)
				fail("put", rc);
			keep(bench, i, txn, len);
		}
		report(round ? "put again, local" : "put 64, local", start, bench->operations);
		deliver(bench, round ? "put again, merged" : "put 64, merged", bench->operations);
		bench->log_bytes = 0;
	}
}

static void read_all(struct bench *bench)
{
	uint8_t value[64];
	uint64_t start = blazei_monotonic_ns();

	for (uint32_t i = 0; i < bench->operations; i++)
		if (blazei_replica_fetch(bench->reader, &bench->ids[bench->order[i]], value,
		                         sizeof(value)) != sizeof(value))
			fail("fetch", -ENOENT);
	report("fetch", start, bench->operations);
	start = blazei_monotonic_ns();
	for (uint32_t i = 0; i < bench->operations; i++) {
		struct blaze_record *record;
		int rc = blazei_replica_get(bench->reader, &bench->ids[bench->order[i]], &record);

		if (rc < 0)
			fail("get", rc);
		blaze_record_free(record);
	}
	report("get", start, bench->operations);
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
	uint64_t start = blazei_monotonic_ns();

	if (blazei_replica_hash(bench->writer, digests[0]) < 0)
		fail("hash", -ENOMEM);
	report("hash, sorting", start, bench->records);
	blazei_replica_hash_stamps(bench->writer, digests[0]);
	blazei_replica_hash_stamps(bench->reader, digests[1]);
	if (memcmp(digests[0], digests[1], sizeof(digests[0])) != 0)
		fail("the replicas differ", -EBADMSG);
}

int main(int argc, char **argv)
{
	struct bench bench = {
		.records = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000,
		.operations = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 2000000,
	};
	uint32_t most = bench.records > bench.operations ? bench.records : bench.operations;

	bench.writer = replica_new(1);
	bench.reader = replica_new(2);
	bench.log_max = (size_t)most * 256;
	bench.log = malloc(bench.log_max);
	bench.txns = calloc(most, sizeof(*bench.txns));
	bench.ids = malloc(bench.records * sizeof(*bench.ids));
	bench.order = malloc(bench.operations * sizeof(*bench.order));
	if (!bench.log || !bench.txns || !bench.ids || !bench.order)
		fail("set-up", -ENOMEM);
	memset(bench.log, 1, bench.log_max);
	for (uint32_t i = 0; i < bench.records; i++)
		for (unsigned j = 0; j < 2; j++) {
			uint64_t word = random_next();

			memcpy(bench.ids[i].bytes + 8 * j, &word, sizeof(word));
		}
	for (uint32_t i = 0; i < bench.operations; i++)
		bench.order[i] = (uint32_t)(random_next() % bench.records);
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
	free(bench.log);
	free(bench.txns);
	free(bench.ids);
	free(bench.order);
	return EXIT_SUCCESS;
}
