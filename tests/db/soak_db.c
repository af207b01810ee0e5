/* SPDX-License-Identifier: Apache-2.0 */
/* The soak of databases: eight programs edit the same records on one ring while they are killed,
 * stopped and restarted at random. At the end all survivors must hold the same, and nothing of
 * theirs may lie in /dev/shm.
 *
 * Lanes are short (so readers are lapped), some values are longer than a lane takes, and whoever is
 * restarted starts empty: everything that catch-up is for happens all the time. Beside the few
 * records that all edit there are cold ones, in all more than a catch-up sends in one chunk. Each
 * worker shows in a shared page whether it is still without them; so kills are aimed at catch-ups
 * of several chunks, from either side, and counted. The last two that have all are spared.
 *
 * BLAZE_SOAK_SECONDS (default 5) is how long. The seed is printed; BLAZE_SOAK_SEED repeats the
 * choices (not the timing). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <blaze/blaze.h>

#include "lib/base/base.h"

#define WORKERS     8
#define RECORDS     200
#define COLD        160   /* records, written once, by each worker its share */
#define COLD_BYTES  36000 /* of each */
#define WHOLE_MIN   2u
#define AIM_EVERY   4u
#define FIRST       "first" /* the worker writes its share; restarted ones don't */
#define LONG_BYTES  100000  /* more than a quarter of the lane */
#define LANE_BYTES  (256 * 1024)
#define ROUNDS_MAX  100
#define RELINK_NS   (100 * BLAZEI_NS_PER_MS)
#define PATIENCE_S  120u
#define STOP_MAX_MS 300u

static_assert(COLD * COLD_BYTES > 5 << 20, "no single chunk of 4 MiB holds the cold records");
static_assert(COLD % WORKERS == 0, "equal shares");

/* How far a worker has come; it tells, its tormentor looks. */
enum phase {
	PHASE_NEW,     /* not linked yet */
	PHASE_LACKING, /* linked, so it fetches the cold records */
	PHASE_WHOLE,
};

struct shared {
	_Atomic int phases[WORKERS];
};
static struct shared *shared;

/* A worker ----------------------------------------------------------------------------------- */

static struct {
	struct blaze_db *db;
	struct blaze_id id;
	const char *db_name;
	unsigned number;
	unsigned seed;
} self;

static void die(const char *what, int error)
{
	fprintf(stderr, "soak worker %u: %s: %s\n", self.number, what, blaze_strerror(error));
	_exit(1);
}

static struct blaze_id record_id(unsigned n)
{
	struct blaze_id id = { .bytes = { 1, 2, 3, 4, 5, 6, 0x40, 0, 0x80 } };

	id.bytes[15] = (uint8_t)n;
	return id;
}

/* Number n belongs to worker n % WORKERS. */
static struct blaze_id cold_id(unsigned n)
{
	struct blaze_id id = record_id(n);

	id.bytes[14] = 1;
	return id;
}

static void write_cold(void)
{
	static char value[COLD_BYTES];

	for (unsigned n = self.number; n < COLD; n += WORKERS) {
		const struct blaze_id id = cold_id(n);
		int error;

		memset(value, 'A' + (int)(n % 26), sizeof(value));
		error = blaze_db_put(self.db, &id, value, sizeof(value));
		if (error != 0)
			die("write cold", error);
	}
}

/* Whether the last record of each share is here; a share comes in order or by state all at once. */
static bool is_whole(void)
{
	static char value[COLD_BYTES];

	for (unsigned n = COLD - WORKERS; n < COLD; n++) {
		const struct blaze_id id = cold_id(n);

		if (blaze_db_fetch(self.db, &id, value, sizeof(value)) < 0)
			return false;
	}
	return true;
}

static void phase_show(void)
{
	_Atomic int *phase = &shared->phases[self.number];

	/* Relaxed: numbers to aim and to count by, they order nothing. */
	if (atomic_load_explicit(phase, memory_order_relaxed) == PHASE_WHOLE)
		return;
	atomic_store_explicit(phase, is_whole() ? PHASE_WHOLE : PHASE_LACKING,
	                      memory_order_relaxed);
}

/* Links this node with all that are there and that it isn't linked to yet. */
static void link_all(void)
{
	struct blaze_topology *topology = blaze_topology_shared();

	for (unsigned i = 0; i < WORKERS; i++) {
		struct blaze_id other;
		char name[16];

		snprintf(name, sizeof(name), "w%u", i);
		if (i == self.number ||
		    blaze_topology_find(topology, self.db_name, name, 0, &other) != 0)
			continue;
		(void)blaze_topology_connect_local(topology, &self.id, &other,
		                                   BLAZE_LINK_BIDIRECTIONAL);
	}
}

static int write_fields(const struct blaze_id *id)
{
	static const char *const fields[] = { "a", "b", "c", "d" };
	struct blaze_record *record;
	int error = blaze_record_new(&record);

	if (error != 0)
		return error;
	error = blaze_record_set_int(record, fields[rand_r(&self.seed) % 4],
	                             rand_r(&self.seed) % 1000);
	if (error == 0)
		error = blaze_db_upsert(self.db, id, record);
	blaze_record_free(record);
	return error;
}

static void write_one(void)
{
	static char value[LONG_BYTES];
	struct blaze_id id = record_id((unsigned)rand_r(&self.seed) % RECORDS);
	unsigned choice = (unsigned)rand_r(&self.seed) % 1000;
	int error;

	if (choice >= 980)
		id = cold_id((unsigned)rand_r(&self.seed) % COLD);

	if (choice == 0) {
		memset(value, 'a' + rand_r(&self.seed) % 26, sizeof(value));
		error = blaze_db_put(self.db, &id, value, sizeof(value));
	} else if (choice < 50) {
		error = blaze_db_delete(self.db, &id);
	} else if (choice < 200) {
		error = blaze_db_put(self.db, &id, &choice, sizeof(choice));
	} else {
		error = write_fields(&id);
	}
	if (error != 0 && error != -ENOENT)
		die("write", error);
}

static void answer(char order)
{
	uint8_t digest[16];
	int error;

	if (order == 'r') {
		link_all();
		error = blaze_topology_wait(blaze_topology_shared(), &self.id,
		                            10 * BLAZEI_NS_PER_S);
		if (error == 0)
			error = blaze_db_hash(self.db, digest);
		if (error != 0)
			memset(digest, (int)self.number, sizeof(digest));
		for (size_t i = 0; i < sizeof(digest); i++)
			printf("%02x", digest[i]);
	}
	printf(" %c\n", order);
	fflush(stdout);
}

static void worker_open(const char *db_name, const char *number, const char *seed)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	char name[16];
	int error;

	self.db_name = db_name;
	self.number = (unsigned)atoi(number);
	self.seed = (unsigned)strtoul(seed, NULL, 10);
	options.lane_bytes = LANE_BYTES;
	snprintf(name, sizeof(name), "w%u", self.number);
	error = blaze_db_open(db_name, NULL, &options, &self.db);
	if (error != 0)
		die("open", error);
	error = blaze_topology_register(blaze_topology_shared(), self.db, name,
	                                self.number == 0 ? BLAZE_ROLE_SERVER : BLAZE_ROLE_PEER,
	                                &self.id);
	if (error != 0)
		die("register", error);
}

static int worker(char **argv)
{
	struct pollfd orders = { .fd = 0, .events = POLLIN };
	uint64_t linked_ns = 0;
	bool quiet = false;
	char order;
	int error;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, atoi(argv[5]), 0);
	if (shared == MAP_FAILED)
		die("mmap", -errno);
	worker_open(argv[1], argv[2], argv[3]);
	if (strcmp(argv[4], FIRST) == 0)
		write_cold();
	for (;;) {
		if (!quiet && blazei_monotonic_ns() - linked_ns > RELINK_NS) {
			link_all();
			linked_ns = blazei_monotonic_ns();
		}
		phase_show();
		for (int i = 0; i < 20 && !quiet; i++)
			write_one();
		if (poll(&orders, 1, quiet ? -1 : 1) <= 0)
			continue;
		if (read(0, &order, 1) != 1 || order == 'x')
			break;
		quiet = true;
		answer(order);
	}
	error = blaze_topology_unregister(blaze_topology_shared(), &self.id);
	if (error == 0)
		error = blaze_db_close(self.db);
	return error == 0 ? 0 : 1;
}

/* The one who torments them ------------------------------------------------------------------ */

struct process {
	pid_t pid;
	int to;
	FILE *from;
	bool stopped;
	uint64_t until_ns; /* of the stop */
};

static struct {
	struct process processes[WORKERS];
	char db_name[32];
	unsigned seed;
	int shared_fd;
	unsigned kills, stops;
	unsigned lacking; /* of the kills, those that hit one within its catch-up */
	unsigned serving; /* those that hit another while one was within its catch-up */
	unsigned fallen;  /* not by our hand */
} soak;

static int phase_of(unsigned number)
{
	/* Relaxed: see phase_show. */
	return atomic_load_explicit(&shared->phases[number], memory_order_relaxed);
}

/* How many workers are in a phase. */
static unsigned count_in(int phase)
{
	unsigned count = 0;

	for (unsigned i = 0; i < WORKERS; i++)
		count += phase_of(i) == phase;
	return count;
}

static void process_start(unsigned number, const char *life)
{
	struct process *process = &soak.processes[number];
	char text[16], seed[16], fd[16];
	int to[2], from[2];

	if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
		exit(1);
	snprintf(text, sizeof(text), "%u", number);
	snprintf(seed, sizeof(seed), "%d", rand_r(&soak.seed));
	snprintf(fd, sizeof(fd), "%d", soak.shared_fd);
	atomic_store_explicit(&shared->phases[number], PHASE_NEW, memory_order_relaxed);
	process->pid = fork();
	if (process->pid == 0) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		execl("/proc/self/exe", "soak_db", soak.db_name, text, seed, life, fd,
		      (char *)NULL);
		_exit(127);
	}
	if (process->pid < 0)
		exit(1);
	close(to[0]);
	close(from[1]);
	process->to = to[1];
	process->from = fdopen(from[0], "r");
	process->stopped = false;
}

static void process_forget(unsigned number)
{
	close(soak.processes[number].to);
	fclose(soak.processes[number].from);
}

static void process_kill(unsigned number)
{
	struct process *process = &soak.processes[number];
	int status = 0;

	if (phase_of(number) == PHASE_LACKING)
		soak.lacking++;
	else if (count_in(PHASE_LACKING) > 0)
		soak.serving++;
	kill(process->pid, SIGKILL);
	waitpid(process->pid, &status, 0);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
		fprintf(stderr, "soak: worker %u fell by itself, status %x\n", number, status);
		soak.fallen++;
	}
	process_forget(number);
	process_start(number, "again");
	soak.kills++;
}

/* Whom to torment next: now and then one that is in the midst of its catch-up, if there is any. */
static unsigned choose(void)
{
	const unsigned number = (unsigned)rand_r(&soak.seed) % WORKERS;

	if ((unsigned)rand_r(&soak.seed) % AIM_EVERY != 0)
		return number;
	for (unsigned i = 0; i < WORKERS; i++) {
		const unsigned other = (number + i) % WORKERS;

		if (phase_of(other) == PHASE_LACKING)
			return other;
	}
	return number;
}

static void torment(unsigned number)
{
	struct process *process = &soak.processes[number];

	if (process->stopped)
		return;
	if (rand_r(&soak.seed) % 3 == 0) {
		if (phase_of(number) != PHASE_WHOLE || count_in(PHASE_WHOLE) > WHOLE_MIN)
			process_kill(number);
	} else {
		kill(process->pid, SIGSTOP);
		process->stopped = true;
		process->until_ns = blazei_monotonic_ns() +
		                    (uint64_t)rand_r(&soak.seed) % STOP_MAX_MS * BLAZEI_NS_PER_MS;
		soak.stops++;
	}
}

static void wake_up(bool all)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		struct process *process = &soak.processes[i];

		if (process->stopped && (all || blazei_monotonic_ns() >= process->until_ns)) {
			kill(process->pid, SIGCONT);
			process->stopped = false;
		}
	}
}

static void order_all(char order, char (*ret_lines)[64])
{
	for (unsigned i = 0; i < WORKERS; i++) {
		if (write(soak.processes[i].to, &order, 1) != 1) {
			fprintf(stderr, "soak: worker %u takes no order\n", i);
			exit(1);
		}
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		if (fgets(ret_lines[i], sizeof(ret_lines[i]), soak.processes[i].from) == NULL) {
			fprintf(stderr, "soak: worker %u has ended\n", i);
			exit(1);
		}
	}
}

/* Whether all hold the same, after as many rounds as it takes. */
static bool converge(void)
{
	char lines[WORKERS][64];

	order_all('q', lines);
	for (unsigned round = 0; round < ROUNDS_MAX; round++) {
		bool equal = true;

		order_all('r', lines);
		for (unsigned i = 1; i < WORKERS; i++)
			equal = equal && strcmp(lines[i], lines[0]) == 0;
		if (equal) {
			printf("soak: equal after %u rounds: %s", round + 1, lines[0]);
			return true;
		}
		blazei_sleep_ns(50 * BLAZEI_NS_PER_MS);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		fprintf(stderr, "soak: worker %u: %s", i, lines[i]);
	return false;
}

/* The number of names in /dev/shm with that in them. */
static unsigned names_with(const char *part, bool tell)
{
	char path[64];
	struct dirent *entry;
	unsigned count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/dev/shm/blaze-%u", (unsigned)geteuid());
	dir = opendir(path);
	if (dir == NULL)
		return 0;
	while ((entry = readdir(dir)) != NULL) {
		if (strstr(entry->d_name, part) != NULL) {
			if (tell)
				fprintf(stderr, "soak: left behind: %s\n", entry->d_name);
			count++;
		}
	}
	closedir(dir);
	return count;
}

/* Rings that belong to this soak's database, and what who was killed while making or removing one
 * left: that goes, once it is 10 s old, with the next ring that anybody makes. */
static unsigned leftovers(void)
{
	struct blaze_ring *ring;

	for (unsigned i = 0; i < 30; i++) {
		if (names_with(".new.", false) + names_with(".gone.", false) == 0)
			break;
		blazei_sleep_ns(500 * BLAZEI_NS_PER_MS);
		if (blaze_ring_attach("soak-sweep", NULL, &ring) == 0)
			blaze_ring_detach(ring);
	}
	return names_with(soak.db_name, true) + names_with(".new.", true) +
	       names_with(".gone.", true);
}

static bool shared_make(void)
{
	soak.shared_fd = memfd_create("soak", 0);
	if (soak.shared_fd < 0 || ftruncate(soak.shared_fd, sizeof(*shared)) != 0)
		return false;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, soak.shared_fd, 0);
	return shared != MAP_FAILED;
}

/* Ends all workers; whether each came to a good end. */
static bool end_all(void)
{
	bool well = true;

	for (unsigned i = 0; i < WORKERS; i++) {
		int status = -1;

		well = write(soak.processes[i].to, "x", 1) == 1 && well;
		waitpid(soak.processes[i].pid, &status, 0);
		well = status == 0 && well;
		process_forget(i);
	}
	return well;
}

int main(int argc, char **argv)
{
	const char *seconds = getenv("BLAZE_SOAK_SECONDS"), *seed = getenv("BLAZE_SOAK_SEED");
	uint64_t start_ns = blazei_monotonic_ns(), limit_s = 5;
	bool well;

	if (argc == 6)
		return worker(argv);
	signal(SIGPIPE, SIG_IGN);
	if (seconds != NULL)
		limit_s = strtoull(seconds, NULL, 10);
	soak.seed = seed != NULL ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)start_ns;
	if (!shared_make())
		return 1;
	alarm((unsigned)limit_s + PATIENCE_S);
	printf("soak: %d databases, %u s, seed %u\n", WORKERS, (unsigned)limit_s, soak.seed);
	fflush(stdout);
	snprintf(soak.db_name, sizeof(soak.db_name), "soak-%d", (int)getpid());
	for (unsigned i = 0; i < WORKERS; i++)
		process_start(i, FIRST);
	/* Whoever dies before the others have its share takes it along. */
	while (count_in(PHASE_WHOLE) < WORKERS)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	start_ns = blazei_monotonic_ns();
	while (blazei_monotonic_ns() - start_ns < limit_s * BLAZEI_NS_PER_S) {
		blazei_sleep_ns((uint64_t)rand_r(&soak.seed) % 60 * BLAZEI_NS_PER_MS);
		wake_up(false);
		torment(choose());
	}
	wake_up(true);
	well = converge();
	well = end_all() && well;
	/* A run that never hit what it is there for has shown nothing. */
	well = leftovers() == 0 && well && soak.fallen == 0 && soak.lacking > 0;
	printf("soak: %u killed (%u as they caught up, %u beside one that did), %u stopped: %s\n",
	       soak.kills, soak.lacking, soak.serving, soak.stops, well ? "ok" : "FAILED");
	return well ? 0 : 1;
}
