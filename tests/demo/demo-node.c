/* SPDX-License-Identifier: Apache-2.0 */
/* One device of the demonstration: a program of its own with a database that it keeps in step.
 *
 *   blaze-demo-node DATABASE NAME ROLE FILE COPIES
 *
 * It does what it is told on standard input, a line each, and answers each with a line that starts
 * with "ok" (or "progress", in between). It uses the public interface only. The database is pumped
 * by a thread of this program, so that the device can be taken out of reach of the others for a
 * while and back. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <blaze/blaze.h>

#define MS              UINT64_C(1000000)
#define WAIT_NS         (120000 * MS)
#define DELETED         100u
#define PINGS_MAX       100000u
#define PING_PAUSE_NS   100000u
#define PROGRESS_LINES  4096u
#define LOADS_PER_EDITS 4u

static const char *const names[] = { "iPhone", "Mac", "Server" };

static struct {
	struct blaze_db *db;
	struct blaze_id id;
	const char *db_name;
	const char *name;
	FILE *file; /* the records */
	unsigned copies;
	uint64_t loaded;
	uint64_t writes;
	struct blaze_id *ids; /* in the order in which they were loaded */
	size_t id_count, id_cap;
	pthread_t pump;
	atomic_bool apart, is_apart, quit;
} node;

static void fail(const char *what, int error)
{
	fprintf(stderr, "%s: %s: %s\n", node.name != NULL ? node.name : "demo-node", what,
	        blaze_strerror(error));
	exit(1);
}

static void check(const char *what, int error)
{
	if (error < 0)
		fail(what, error);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* In reach and out of it --------------------------------------------------------------------- */

static void *pump_run(void *arg)
{
	(void)arg;
	while (!atomic_load(&node.quit)) {
		if (atomic_load(&node.apart)) {
			atomic_store(&node.is_apart, true);
			nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
			continue;
		}
		atomic_store(&node.is_apart, false);
		check("pump", blaze_db_pump(node.db, 20 * MS));
	}
	return NULL;
}

static void apart_set(bool apart)
{
	atomic_store(&node.apart, apart);
	while (atomic_load(&node.is_apart) != apart)
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
}

static void link_to_server(void)
{
	struct blaze_topology *shared = blaze_topology_shared();
	struct blaze_id server;

	if (strcmp(node.name, "Server") == 0)
		return;
	check("find", blaze_topology_find(shared, node.db_name, "Server", WAIT_NS, &server));
	check("connect",
	      blaze_topology_connect_local(shared, &node.id, &server, BLAZE_LINK_BIDIRECTIONAL));
}

/* Writing ------------------------------------------------------------------------------------ */

static bool load_one(void)
{
	static char *line;
	static size_t cap;
	struct blaze_record *record;
	ssize_t len = getline(&line, &cap, node.file);

	if (len < 0) {
		if (--node.copies == 0)
			return false;
		rewind(node.file);
		len = getline(&line, &cap, node.file);
		if (len < 0)
			return false;
	}
	check("reading a record", blaze_record_from_json(line, (size_t)len, &record));
	check("insert", blaze_db_insert(node.db, record, NULL));
	blaze_record_free(record);
	node.loaded++;
	node.writes++;
	return true;
}

static void load(uint64_t count)
{
	while (node.loaded < count && load_one()) {
		if (node.loaded % PROGRESS_LINES == 0)
			printf("progress %" PRIu64 "\n", node.loaded);
	}
	printf("ok %" PRIu64 "\n", node.loaded);
}

static int id_take(void *arg, const struct blaze_id *id, const struct blaze_record *record)
{
	(void)arg;
	(void)record;
	if (node.id_count == node.id_cap) {
		node.id_cap = node.id_cap != 0 ? node.id_cap * 2 : 1024;
		node.ids = realloc(node.ids, node.id_cap * sizeof(*node.ids));
		if (node.ids == NULL)
			fail("ids", -ENOMEM);
	}
	node.ids[node.id_count++] = *id;
	return 0;
}

static int set_int(const struct blaze_id *id, const char *field, int64_t value)
{
	struct blaze_record *patch;
	int error = blaze_record_new(&patch);

	check("record", error);
	check("record", blaze_record_set_int(patch, field, value));
	error = blaze_db_update(node.db, id, patch);
	blaze_record_free(patch);
	return error;
}

/* Out of reach of the others, every device edits the same records, and deletes some of them. */
static void edit_apart(size_t count)
{
	size_t first = 0;
	struct blaze_record *patch;

	while (first < 2 && strcmp(names[first], node.name) != 0)
		first++;
	check("record", blaze_record_new(&patch));
	check("record", blaze_record_set_string(patch, "state", node.name));
	for (size_t i = 0; i < count; i++)
		check("update", blaze_db_update(node.db, &node.ids[i], patch));
	for (size_t i = 0; i < DELETED; i++)
		check("delete", blaze_db_delete(node.db, &node.ids[first * DELETED + i]));
	blaze_record_free(patch);
	node.writes += count + DELETED;
	printf("ok %zu\n", count);
}

/* How many of these records bear the server's mark: all but those that the server deleted. */
static void count_server(size_t count)
{
	size_t marked = 0;

	for (size_t i = 0; i < count; i++) {
		struct blaze_record *record;
		const char *state;

		if (blaze_db_get(node.db, &node.ids[i], &record) != 0)
			continue;
		if (blaze_record_get_string(record, "state", &state) == 0 &&
		    strcmp(state, "Server") == 0)
			marked++;
		blaze_record_free(record);
	}
	printf("ok %zu\n", marked == count - DELETED ? (size_t)1 : (size_t)0);
}

/* Everybody writes at once for a while; whoever has records left to load loads them meanwhile. */
static void write_busily(uint64_t ms, size_t first, unsigned seed)
{
	uint64_t start_ns = now_ns(), before = node.writes;
	bool loading = node.file != NULL;

	for (unsigned i = 0; loading || now_ns() - start_ns < ms * MS; i++) {
		size_t at = first + (size_t)rand_r(&seed) % (node.id_count - first);
		int error;

		if (loading && i % LOADS_PER_EDITS == 0)
			loading = load_one();
		if (rand_r(&seed) % 20 == 0)
			error = blaze_db_delete(node.db, &node.ids[at]);
		else
			error = set_int(&node.ids[at], "votes", rand_r(&seed) % 1000);
		if (error == 0)
			node.writes++;
		else if (error != -ENOENT)
			fail("write", error);
	}
	printf("ok %.0f\n", (double)(node.writes - before) * 1e9 / (double)(now_ns() - start_ns));
}

/* Time from a write to its visibility -------------------------------------------------------- */

struct ping {
	uint64_t number;
	uint64_t sent_ns;
};

static struct blaze_id ping_id(void)
{
	struct blaze_id id;

	check("id", blaze_id_parse("00000000-0000-4000-8000-000000000001", &id));
	return id;
}

static void pause_until(uint64_t until_ns)
{
	while (now_ns() < until_ns)
		;
}

static void ping(uint64_t count)
{
	struct blaze_id id = ping_id();

	for (uint64_t i = 1; i <= count; i++) {
		struct ping value = { .number = i, .sent_ns = now_ns() };

		check("put", blaze_db_put(node.db, &id, &value, sizeof(value)));
		pause_until(value.sent_ns + PING_PAUSE_NS);
	}
	printf("ok\n");
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void listen_for(uint64_t count)
{
	static uint64_t took_ns[PINGS_MAX];
	struct blaze_id id = ping_id();
	struct ping value = { .number = 0 };
	uint64_t last = 0, start_ns = now_ns();
	size_t n = 0;

	apart_set(true); /* the one that pumps now is this thread */
	printf("ready\n");
	while (last < count && now_ns() - start_ns < 60000 * MS) {
		check("pump", blaze_db_pump(node.db, 0));
		if (blaze_db_fetch(node.db, &id, &value, sizeof(value)) != sizeof(value) ||
		    value.number == last)
			continue;
		last = value.number;
		if (n < PINGS_MAX)
			took_ns[n++] = now_ns() - value.sent_ns;
	}
	apart_set(false);
	qsort(took_ns, n, sizeof(took_ns[0]), compare);
	if (n == 0)
		fail("listen", -ETIMEDOUT);
	printf("ok %zu %" PRIu64 " %" PRIu64 "\n", n, took_ns[n / 2], took_ns[n * 99 / 100]);
}

/* What it is told ---------------------------------------------------------------------------- */

static void report(void)
{
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;
	uint8_t digest[16];

	check("stats", blaze_db_stats(node.db, &stats));
	check("hash", blaze_db_hash(node.db, digest));
	printf("ok %" PRIi64 " %" PRIu64 " %" PRIu64 " ", blaze_db_count(node.db), stats.conflicts,
	       node.writes);
	for (size_t i = 0; i < sizeof(digest); i++)
		printf("%02x", digest[i]);
	printf("\n");
}

static bool obey(const char *line)
{
	char word[16] = "";
	unsigned long long a = 0, b = 0, c = 0;

	sscanf(line, "%15s %llu %llu %llu", word, &a, &b, &c);
	if (strcmp(word, "load") == 0) {
		load(a);
	} else if (strcmp(word, "wait") == 0) {
		check("wait", blaze_topology_wait(blaze_topology_shared(), &node.id, WAIT_NS));
		printf("ok\n");
	} else if (strcmp(word, "link") == 0) {
		link_to_server();
		printf("ok\n");
	} else if (strcmp(word, "apart") == 0) {
		check("scan", blaze_db_scan(node.db, NULL, id_take, NULL));
		apart_set(true);
		printf("ok %zu\n", node.id_count);
	} else if (strcmp(word, "edit") == 0) {
		edit_apart(a);
	} else if (strcmp(word, "together") == 0) {
		apart_set(false);
		printf("ok\n");
	} else if (strcmp(word, "server") == 0) {
		count_server(a);
	} else if (strcmp(word, "busy") == 0) {
		write_busily(a, b, (unsigned)c);
	} else if (strcmp(word, "ping") == 0) {
		ping(a);
	} else if (strcmp(word, "listen") == 0) {
		listen_for(a);
	} else if (strcmp(word, "report") == 0) {
		report();
	} else {
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	char line[128];

	if (argc != 6)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	node.db_name = argv[1];
	node.name = argv[2];
	node.copies = (unsigned)atoi(argv[5]);
	if (strcmp(argv[3], "server") == 0) {
		node.file = fopen(argv[4], "r");
		if (node.file == NULL)
			fail(argv[4], errno);
	}
	options.flags = BLAZE_DB_MANUAL;
	check("open", blaze_db_open(node.db_name, NULL, &options, &node.db));
	check("register",
	      blaze_topology_register(blaze_topology_shared(), node.db, node.name,
	                              node.file != NULL ? BLAZE_ROLE_SERVER : BLAZE_ROLE_CLIENT,
	                              &node.id));
	if (pthread_create(&node.pump, NULL, pump_run, NULL) != 0)
		fail("thread", -EAGAIN);
	while (fgets(line, sizeof(line), stdin) != NULL && obey(line))
		;
	atomic_store(&node.quit, true);
	pthread_join(node.pump, NULL);
	check("unregister", blaze_topology_unregister(blaze_topology_shared(), &node.id));
	check("close", blaze_db_close(node.db));
	free(node.ids);
	if (node.file != NULL)
		fclose(node.file);
	return 0;
}
