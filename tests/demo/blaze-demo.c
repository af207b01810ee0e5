/* SPDX-License-Identifier: Apache-2.0 */
/* The demonstration: three programs keep a database of real records in step.
 *
 *   blaze-demo [--sample] [--database NAME]
 *
 * Starts an iPhone, a Mac and a Server, each a program of its own (demo-node.c), and tells them
 * what to do over pipes: the Server loads the machine's Debian package index; all three, out of
 * each other's reach, edit the same records and delete some; then, together, they write as fast as
 * they can while the rest is loaded. In the end all must hold the same, and the Server's edits must
 * have beaten those that had not seen them. The exit status is 0 only then.
 *
 * Where the machine has no package lists, or with --sample, the records are 200 that come with the
 * sources, taken ten times. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NODES         3
#define APART         1200
#define PINGS         2000
#define SAMPLE_COPIES 10
#define LIMIT_S       300

struct node {
	const char *name;
	const char *role;
	pid_t pid;
	FILE *to;
	FILE *from;
	char answer[160];
	double rate;
};

static struct node nodes[NODES] = {
	{ .name = "iPhone", .role = "client" },
	{ .name = "Mac", .role = "client" },
	{ .name = "Server", .role = "server" },
};
static const char *database = "bugs";
static char directory[256], records[512];
static const char *copies = "1";
static uint64_t total; /* records to load */

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("demo: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	/* The devices end when their standard input does. */
	exit(1);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The number with commas, in one of a few buffers that take turns. */
static const char *grouped(uint64_t n)
{
	static char buffers[8][32];
	static unsigned turn;
	char *at = buffers[turn++ % 8] + 31;
	unsigned digits = 0;

	*at = '\0';
	do {
		if (digits > 0 && digits % 3 == 0)
			*--at = ',';
		*--at = (char)('0' + n % 10);
		digits++;
	} while ((n /= 10) != 0);
	return at;
}

/* The devices -------------------------------------------------------------------------------- */

static void node_start(struct node *node)
{
	char program[300];
	int to[2], from[2];

	snprintf(program, sizeof(program), "%s/blaze-demo-node", directory);
	if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
		fail("pipe: %s", strerror(errno));
	node->pid = fork();
	if (node->pid < 0)
		fail("fork: %s", strerror(errno));
	if (node->pid == 0) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		execl(program, program, database, node->name, node->role, records, copies,
		      (char *)NULL);
		fprintf(stderr, "demo: %s: %s\n", program, strerror(errno));
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	node->to = fdopen(to[1], "w");
	node->from = fdopen(from[0], "r");
	if (node->to == NULL || node->from == NULL)
		fail("no memory");
}

__attribute__((format(printf, 2, 3))) static void tell(struct node *node, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(node->to, format, args);
	va_end(args);
	fputc('\n', node->to);
	fflush(node->to);
}

/* Waits for a device's answer; what follows "ok " is in node->answer. */
static void hear(struct node *node)
{
	char line[sizeof(node->answer)];

	while (fgets(line, sizeof(line), node->from) != NULL) {
		if (strncmp(line, "progress ", 9) == 0) {
			printf("\r  loading: %12s of %s", grouped(strtoull(line + 9, NULL, 10)),
			       grouped(total));
			fflush(stdout);
		} else if (strncmp(line, "ok", 2) == 0) {
			snprintf(node->answer, sizeof(node->answer), "%s",
			         line[2] == ' ' ? line + 3 : "");
			return;
		} else if (strcmp(line, "ready\n") == 0) {
			return;
		}
	}
	fail("the %s has ended", node->name);
}

/* Tells all devices the same and waits until all have done it: a barrier. */
static void all(const char *what)
{
	for (int i = 0; i < NODES; i++)
		tell(&nodes[i], "%s", what);
	for (int i = 0; i < NODES; i++)
		hear(&nodes[i]);
}

/* The acts ----------------------------------------------------------------------------------- */

static uint64_t lines_count(const char *path)
{
	FILE *file = fopen(path, "r");
	uint64_t lines = 0;
	int c;

	if (file == NULL)
		fail("%s: %s", path, strerror(errno));
	while ((c = getc(file)) != EOF)
		lines += c == '\n';
	fclose(file);
	return lines;
}

static void records_make(bool sample)
{
	const char *source = getenv("BLAZE_SRCDIR");
	char command[1200];

	if (source == NULL)
		source = ".";
	snprintf(records, sizeof(records), "%s/packages.jsonl", directory);
	snprintf(command, sizeof(command), "sh '%s/tests/data/packages.sh' >'%s'", source, records);
	if (!sample) {
		printf("reading the package index of this machine\n");
		fflush(stdout);
		sample = system(command) != 0;
		if (sample)
			unlink(records);
	}
	if (sample) {
		printf("taking the sample of 200 records, %d times\n", SAMPLE_COPIES);
		snprintf(records, sizeof(records), "%s/tests/data/packages.jsonl", source);
		copies = "10";
	}
	total = lines_count(records) * (uint64_t)atoi(copies);
	if (total < APART * 3 / 2)
		fail("%s: %s records are too few", records, grouped(total));
}

static void act_load(void)
{
	struct node *server = &nodes[2];
	double start = seconds();

	for (int i = 0; i < NODES; i++)
		node_start(&nodes[i]);
	all("link");
	printf("three programs run; the Server loads three quarters of %s records\n",
	       grouped(total));
	tell(server, "load %" PRIu64, total * 3 / 4);
	hear(server);
	all("wait");
	printf("\r  loaded by one and held by all three after %.1f s\n", seconds() - start);
}

static void act_apart(void)
{
	char what[32];

	all("apart");
	printf("out of reach of each other, all three edit the same %s records and delete some\n",
	       grouped(APART));
	snprintf(what, sizeof(what), "edit %d", APART);
	all(what);
	all("together");
	all("wait");
	snprintf(what, sizeof(what), "server %d", APART);
	all(what);
	for (int i = 0; i < NODES; i++) {
		if (atoi(nodes[i].answer) != 1)
			fail("on the %s the Server's edits have not won", nodes[i].name);
	}
	printf("  together again: the Server's edits have won everywhere\n");
}

static void act_busy(unsigned ms)
{
	printf("all three write and delete at full speed while the rest is loaded\n");
	for (int i = 0; i < NODES; i++)
		tell(&nodes[i], "busy %u %d %d", ms, APART, i + 1);
	for (int i = 0; i < NODES; i++) {
		hear(&nodes[i]);
		nodes[i].rate = atof(nodes[i].answer);
	}
	all("wait");
}

static void act_latency(unsigned long long *ret_p50, unsigned long long *ret_p99)
{
	unsigned long long n;
	struct node *mac = &nodes[1], *server = &nodes[2];

	printf("the Server writes, the Mac watches\n");
	tell(mac, "listen %d", PINGS);
	hear(mac);
	tell(server, "ping %d", PINGS);
	hear(server);
	hear(mac);
	if (sscanf(mac->answer, "%llu %llu %llu", &n, ret_p50, ret_p99) != 3)
		fail("the Mac has seen nothing");
	all("wait");
}

/* Prints the table. Returns whether everything is as it must be. */
static bool result(unsigned long long p50_ns, unsigned long long p99_ns)
{
	char hashes[NODES][64];
	unsigned long long counts[NODES], conflicts, writes, all_conflicts = 0;
	bool equal = true;

	all("report");
	printf("\n%-8s %-7s %9s %10s %10s %10s  %s\n", "node", "role", "records", "conflicts",
	       "writes", "writes/s", "hash of the contents");
	for (int i = 0; i < NODES; i++) {
		struct node *node = &nodes[i];

		if (sscanf(node->answer, "%llu %llu %llu %63s", &counts[i], &conflicts, &writes,
		           hashes[i]) != 4)
			fail("the %s gives no account", node->name);
		all_conflicts += conflicts;
		equal = equal && strcmp(hashes[i], hashes[0]) == 0 && counts[i] == counts[0];
		printf("%-8s %-7s %9s %10s %10s %10s  %s\n", node->name, node->role,
		       grouped(counts[i]), grouped(conflicts), grouped(writes),
		       grouped((uint64_t)node->rate), hashes[i]);
	}
	printf("from a write to its visibility in another process: p50 %.1f us, p99 %.1f us\n",
	       (double)p50_ns / 1e3, (double)p99_ns / 1e3);
	if (!equal)
		fprintf(stderr, "demo: the databases differ\n");
	if (all_conflicts == 0)
		fprintf(stderr, "demo: no conflict was met\n");
	return equal && all_conflicts > 0;
}

static bool nodes_end(void)
{
	bool well = true;

	for (int i = 0; i < NODES; i++)
		fclose(nodes[i].to);
	for (int i = 0; i < NODES; i++) {
		int status = -1;

		waitpid(nodes[i].pid, &status, 0);
		if (status != 0) {
			fprintf(stderr, "demo: the %s ended with status %d\n", nodes[i].name,
			        status);
			well = false;
		}
		fclose(nodes[i].from);
	}
	return well;
}

int main(int argc, char **argv)
{
	unsigned long long p50_ns, p99_ns;
	const char *build = getenv("BLAZE_BUILDDIR");
	bool sample = false, well;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--sample") == 0) {
			sample = true;
		} else if (strcmp(argv[i], "--database") == 0 && i + 1 < argc) {
			database = argv[++i];
		} else {
			fprintf(stderr, "usage: %s [--sample] [--database NAME]\n", argv[0]);
			return 2;
		}
	}
	snprintf(directory, sizeof(directory), "%s/tests/demo", build != NULL ? build : ".");
	/* A device that hangs must not hang the demonstration. */
	alarm(LIMIT_S);
	signal(SIGPIPE, SIG_IGN);
	records_make(sample);
	act_load();
	act_apart();
	act_busy(sample ? 200 : 3000);
	act_latency(&p50_ns, &p99_ns);
	well = result(p50_ns, p99_ns);
	well = nodes_end() && well;
	printf("%s\n", well ? "all three hold the same" : "FAILED");
	return well ? 0 : 1;
}
