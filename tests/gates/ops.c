/* SPDX-License-Identifier: Apache-2.0 */
/* Does one operation many times, inside a function that callgrind can be told to count alone.
 *
 * WHY    Wall time on a shared machine says little; the number of instructions that an operation
 *        takes is the same in every run, so that a gate can hold it down. `ops NAME COUNT`
 * prepares, then calls measured_ops once, which does COUNT operations. `ops` alone lists the names.
 *
 * Everything happens in this one thread: databases are pumped by hand, rings are polled by hand. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <blaze/blaze.h>

#define RECORDS     1000u
#define VALUE_BYTES 64u
#define BATCH       16u
#define TXN_UPDATES 16u /* divides the count */
#define PUMP_NS     UINT64_C(1000000)

struct bench {
	char name[40];
	struct blaze_ring *writer, *reader;
	struct blaze_db *here, *there;
	struct blaze_topology *topology;
	struct blaze_record *patch;
	struct blaze_id ids[RECORDS];
	uint64_t value;
	struct blaze_watch *watch;
	unsigned events;
};

static void must(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "ops: %s: %s\n", what, blaze_strerror(result));
	exit(EXIT_FAILURE);
}

static int swallow(void *arg, const struct blaze_ring_record *records, unsigned count)
{
	unsigned *seen = arg;

	for (unsigned i = 0; i < count; i++)
		*seen += records[i].data != NULL && records[i].len == VALUE_BYTES;
	return 0;
}

static void poll_all(struct bench *bench, unsigned expected)
{
	unsigned seen = 0;

	must(blaze_ring_poll(bench->reader, swallow, &seen, 0), "poll");
	if (seen != expected) {
		fprintf(stderr, "ops: poll: %u of %u records\n", seen, expected);
		exit(EXIT_FAILURE);
	}
}

static void publish(struct bench *bench, unsigned count)
{
	uint8_t value[VALUE_BYTES] = { 0 };

	for (unsigned i = 0; i < count; i++)
		must(blaze_ring_publish(bench->writer, value, sizeof(value)), "publish");
}

static void put(struct bench *bench, unsigned count)
{
	uint8_t value[VALUE_BYTES] = { 0 };

	for (unsigned i = 0; i < count; i++) {
		value[0]++;
		must(blaze_db_put(bench->here, &bench->ids[i % RECORDS], value, sizeof(value)),
		     "put");
	}
}

static void update(struct bench *bench, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		must(blaze_record_set_int(bench->patch, "n", (int64_t)++bench->value), "set");
		must(blaze_db_update(bench->here, &bench->ids[i % RECORDS], bench->patch),
		     "update");
	}
}

/* Updates in transactions of 16: each costs what an update does and its share of the rest. */
static void txn(struct bench *bench, unsigned count)
{
	struct blaze_txn *open = NULL;

	for (unsigned i = 0; i < count; i++) {
		if (i % TXN_UPDATES == 0)
			must(blaze_txn_begin(bench->here, &open), "begin");
		must(blaze_record_set_int(bench->patch, "n", (int64_t)++bench->value), "set");
		must(blaze_txn_update(open, &bench->ids[i * 7 % RECORDS], bench->patch), "update");
		if (i % TXN_UPDATES == TXN_UPDATES - 1)
			must(blaze_txn_commit(open), "commit");
	}
}

static void apply(struct bench *bench, unsigned count)
{
	unsigned applied = 0;

	while (applied < count) {
		const int n = blaze_db_pump(bench->there, 0);

		must(n, "pump");
		if (n == 0) {
			fprintf(stderr, "ops: apply: %u of %u transactions\n", applied, count);
			exit(EXIT_FAILURE);
		}
		applied += (unsigned)n;
	}
}

static void apply_txn(struct bench *bench, unsigned count)
{
	apply(bench, count / TXN_UPDATES);
}

static void count_event(void *arg, const struct blaze_watch_event *event)
{
	*(unsigned *)arg += event->kind == BLAZE_WATCH_UPDATE;
}

/* As apply, and each change is told to a watch. */
static void watched(struct bench *bench, unsigned count)
{
	apply(bench, count);
	if (bench->events != count) {
		fprintf(stderr, "ops: watched: %u of %u events\n", bench->events, count);
		exit(EXIT_FAILURE);
	}
}

static void get(struct bench *bench, unsigned count)
{
	struct blaze_record *record;

	for (unsigned i = 0; i < count; i++) {
		must(blaze_db_get(bench->here, &bench->ids[i % RECORDS], &record), "get");
		blaze_record_free(record);
	}
}

static void rings_open(struct bench *bench, unsigned count)
{
	struct blaze_ring_options options = BLAZE_RING_OPTIONS_INIT;

	(void)count;
	options.stall_budget_ns = BLAZE_NO_STALL;
	must(blaze_ring_attach(bench->name, &options, &bench->writer), "attach");
	must(blaze_ring_attach(bench->name, &options, &bench->reader), "attach");
	poll_all(bench, 0);
	/* The first pass over a lane and the first records are not what is measured. */
	publish(bench, BATCH);
	poll_all(bench, BATCH);
}

static void rings_fill(struct bench *bench, unsigned count)
{
	rings_open(bench, count);
	publish(bench, count);
}

/* Two databases in step, with one int field in each of their records. */
static void databases_open(struct bench *bench, unsigned count)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_id here, there;

	(void)count;
	options.flags = BLAZE_DB_MANUAL;
	must(blaze_db_open(bench->name, NULL, &options, &bench->here), "open");
	must(blaze_db_open(bench->name, NULL, &options, &bench->there), "open");
	must(blaze_topology_new(&bench->topology), "topology");
	must(blaze_topology_register(bench->topology, bench->here, "here", BLAZE_ROLE_PEER, &here),
	     "register");
	must(blaze_topology_register(bench->topology, bench->there, "there", BLAZE_ROLE_PEER,
	                             &there),
	     "register");
	must(blaze_topology_connect_local(bench->topology, &here, &there, BLAZE_LINK_BIDIRECTIONAL),
	     "connect");
	must(blaze_record_new(&bench->patch), "record");
	must(blaze_record_set_int(bench->patch, "n", 0), "set");
	for (unsigned i = 0; i < RECORDS; i++)
		must(blaze_db_insert(bench->here, bench->patch, &bench->ids[i]), "insert");
	/* Greetings and catch-up first, until both are silent. */
	for (int pass = 0; pass < 100; pass++) {
		must(blaze_db_pump(bench->there, PUMP_NS), "pump");
		must(blaze_db_pump(bench->here, PUMP_NS), "pump");
	}
	if (blaze_db_count(bench->there) != RECORDS) {
		fprintf(stderr, "ops: the databases did not come into step\n");
		exit(EXIT_FAILURE);
	}
}

static void databases_fill(struct bench *bench, unsigned count)
{
	databases_open(bench, count);
	update(bench, count);
}

static void databases_watch(struct bench *bench, unsigned count)
{
	struct blaze_watch_options options = BLAZE_WATCH_OPTIONS_INIT;

	databases_fill(bench, count);
	options.queue_events = 2 * (uint64_t)count;
	must(blaze_db_watch(bench->there, &options, count_event, &bench->events, &bench->watch),
	     "watch");
}

static void databases_fill_txn(struct bench *bench, unsigned count)
{
	databases_open(bench, count);
	txn(bench, count);
}

struct operation {
	const char *name;
	void (*prepare)(struct bench *bench, unsigned count);
	void (*run)(struct bench *bench, unsigned count);
};

static const struct operation operations[] = {
	{ "publish", rings_open, publish },
	{ "poll", rings_fill, poll_all },
	{ "put", databases_open, put },
	{ "update", databases_open, update },
	{ "apply", databases_fill, apply },
	{ "get", databases_open, get },
	{ "watched", databases_watch, watched },
	{ "txn", databases_open, txn },
	{ "apply_txn", databases_fill_txn, apply_txn },
};

/* What callgrind counts: named on its command line, so it must stay a function of its own
 * (or become clones of one: the pattern there ends in a star). */
__attribute__((noinline)) void measured_ops(const struct operation *operation, struct bench *bench,
                                            unsigned count);

void measured_ops(const struct operation *operation, struct bench *bench, unsigned count)
{
	operation->run(bench, count);
	/* Keeps the call above from becoming a jump out of this function. */
	__asm__ volatile("" ::: "memory");
}

static void close_all(struct bench *bench)
{
	blaze_ring_detach(bench->reader);
	blaze_ring_detach(bench->writer);
	blaze_watch_stop(bench->watch);
	blaze_topology_free(bench->topology);
	blaze_record_free(bench->patch);
	if (bench->here != NULL)
		must(blaze_db_close(bench->here), "close");
	if (bench->there != NULL)
		must(blaze_db_close(bench->there), "close");
}

int main(int argc, char **argv)
{
	static struct bench bench;
	const size_t known = sizeof(operations) / sizeof(operations[0]);

	snprintf(bench.name, sizeof(bench.name), "ops-%ld", (long)getpid());
	for (size_t i = 0; i < known; i++) {
		if (argc == 1)
			puts(operations[i].name);
		if (argc != 3 || strcmp(argv[1], operations[i].name) != 0)
			continue;

		const unsigned count = (unsigned)strtoul(argv[2], NULL, 10);

		operations[i].prepare(&bench, count);
		measured_ops(&operations[i], &bench, count);
		close_all(&bench);
		return EXIT_SUCCESS;
	}
	return argc == 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}
