/* SPDX-License-Identifier: Apache-2.0 */
/* The soak: eight processes on one ring, killed, stopped and restarted at random.
 *
 * Once on a ring with the default budget and once on a lossless one, half of BLAZE_SOAK_SECONDS
 * (default 5) each. The oracle is in soak_worker.c. Here: the chaos, and the watch that no
 * survivor waits: a worker that is not stopped must make progress within PATIENCE_NS. On a
 * lossless ring a stopped process stops its publishers on purpose, so there the watch looks at
 * times when nobody is. At the end nothing may lie in /dev/shm.
 *
 * The seed is printed; BLAZE_SOAK_SEED repeats the choices (not the timing). */
#include "tests/shm/soak_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/shm/ring_test.h"

#define PATIENCE_NS (UINT64_C(20) * 1000000000)
/* Longer than a dead lane is kept for a reader: it must report what it lost then. On a lossless
 * ring everybody waits meanwhile. */
#define STOP_MAX_MS          4000
#define STOP_MAX_LOSSLESS_MS 40

struct process {
	pid_t pid;
	uint32_t row;
	uint64_t progress;
	uint64_t progress_ns;
	uint64_t stopped_until_ns; /* 0: it runs */
};

struct soak {
	struct soak_table *table;
	char path[64];
	struct process processes[SOAK_WORKERS];
	uint32_t rows;
	uint64_t random;
	unsigned kills, stops;
	bool failed;
};

static void complain(struct soak *soak, const char *what, uint32_t row)
{
	fprintf(stderr, "soak: %s (row %u)\n", what, row);
	soak->failed = true;
}

static int open_table(struct soak *soak)
{
	int fd;

	snprintf(soak->path, sizeof(soak->path), "/tmp/blaze-soak.XXXXXX");
	fd = mkstemp(soak->path);
	if (fd < 0 || ftruncate(fd, sizeof(struct soak_table)) < 0)
		return -errno;
	soak->table =
	        mmap(NULL, sizeof(struct soak_table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return soak->table == MAP_FAILED ? -ENOMEM : 0;
}

/* The worker's side: another exec of this program. */
static int worker_main(const char *path, const char *row)
{
	struct soak_table *table;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return 1;
	table = mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (table == MAP_FAILED)
		return 1;
	return soak_worker(table, (uint32_t)strtoul(row, NULL, 10));
}

static void start(struct soak *soak, unsigned i)
{
	struct process *process = &soak->processes[i];
	char row[16];

	if (soak->rows == SOAK_ROWS_MAX) {
		process->pid = 0;
		return;
	}
	process->row = soak->rows++;
	process->progress = 0;
	process->progress_ns = rt_now_ns();
	process->stopped_until_ns = 0;
	snprintf(row, sizeof(row), "%u", process->row);
	process->pid = fork();
	if (process->pid == 0) {
		execl("/proc/self/exe", "soak_ring", "worker", soak->path, row, (char *)NULL);
		_exit(127);
	}
	if (process->pid < 0)
		complain(soak, "fork", process->row);
}

static void reap(struct soak *soak, struct process *process, int expected_signal)
{
	int status = 0;

	if (process->pid <= 0)
		return;
	waitpid(process->pid, &status, 0);
	process->pid = 0;
	if (expected_signal ? !WIFSIGNALED(status) || WTERMSIG(status) != expected_signal
	                    : !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		complain(soak, "a worker ended in another way than it should", process->row);
}

/* Stopped ones make no progress, nor does anybody on a lossless ring while one is stopped. */
static bool may_wait(const struct soak *soak, const struct process *process)
{
	if (!soak->table->lossless)
		return process->stopped_until_ns != 0;
	for (unsigned i = 0; i < SOAK_WORKERS; i++) {
		if (soak->processes[i].pid > 0 && soak->processes[i].stopped_until_ns)
			return true;
	}
	return false;
}

static void watch(struct soak *soak)
{
	uint64_t now = rt_now_ns();

	for (unsigned i = 0; i < SOAK_WORKERS; i++) {
		struct process *process = &soak->processes[i];
		struct soak_row *row = &soak->table->rows[process->row];
		uint64_t progress;

		if (process->pid <= 0)
			continue;
		progress = atomic_load(&row->progress);
		if (progress != process->progress || may_wait(soak, process)) {
			process->progress = progress;
			process->progress_ns = now;
		} else if (now - process->progress_ns > PATIENCE_NS) {
			complain(soak, "a survivor waits", process->row);
		}
		if (waitpid(process->pid, NULL, WNOHANG) == process->pid) {
			process->pid = 0;
			complain(soak, "a worker died by itself", process->row);
		}
	}
}

static void stop(struct soak *soak, struct process *process)
{
	uint64_t max = soak->table->lossless ? STOP_MAX_LOSSLESS_MS : STOP_MAX_MS;
	uint64_t ms = soak_draw(&soak->random) % max;

	/* Most stops are short, some are long. */
	if (soak_draw(&soak->random) % 4)
		ms %= STOP_MAX_LOSSLESS_MS;
	kill(process->pid, SIGSTOP);
	process->stopped_until_ns = rt_now_ns() + ms * RT_MS;
	soak->stops++;
}

/* Those who have been stopped for long enough, or all. */
static void resume(struct soak *soak, bool all)
{
	for (unsigned i = 0; i < SOAK_WORKERS; i++) {
		struct process *process = &soak->processes[i];

		if (process->pid <= 0 || process->stopped_until_ns == 0)
			continue;
		if (all || rt_now_ns() >= process->stopped_until_ns) {
			process->stopped_until_ns = 0;
			kill(process->pid, SIGCONT);
		}
	}
}

/* One blow at one worker. Some of those killed are stopped: they die in their sleep. */
static void chaos(struct soak *soak)
{
	unsigned i = (unsigned)(soak_draw(&soak->random) % SOAK_WORKERS);
	struct process *process = &soak->processes[i];

	if (process->pid <= 0) {
		start(soak, i);
		return;
	}
	switch (soak_draw(&soak->random) % 4) {
	case 0:
		/* Else no stop would ever be long. */
		if (process->stopped_until_ns && soak_draw(&soak->random) % 16)
			break;
		kill(process->pid, SIGKILL);
		reap(soak, process, SIGKILL);
		soak->kills++;
		if (soak_draw(&soak->random) % 2)
			start(soak, i);
		break;
	case 1:
	case 2:
		if (process->stopped_until_ns == 0)
			stop(soak, process);
		break;
	default:
		break;
	}
}

/* Waits until every worker has come to the end of a phase. */
static void settle(struct soak *soak, uint32_t phase)
{
	uint64_t start_ns = rt_now_ns();
	bool all = false;

	atomic_store(&soak->table->phase, phase);
	while (!all && !soak->failed) {
		all = true;
		for (unsigned i = 0; i < SOAK_WORKERS; i++) {
			const struct process *process = &soak->processes[i];

			if (process->pid > 0 &&
			    atomic_load(&soak->table->rows[process->row].settled) < phase)
				all = false;
		}
		if (rt_now_ns() - start_ns > 2 * PATIENCE_NS)
			complain(soak, "workers do not settle", phase);
		rt_sleep_ms(1);
	}
}

static void finish(struct soak *soak)
{
	resume(soak, true);
	for (unsigned i = 0; i < SOAK_WORKERS; i++) {
		if (soak->processes[i].pid <= 0)
			start(soak, i);
	}
	settle(soak, SOAK_SETTLE);
	settle(soak, SOAK_CHECK);
	atomic_store(&soak->table->phase, SOAK_LEAVE);
	for (unsigned i = 0; i < SOAK_WORKERS; i++) {
		if (soak->failed && soak->processes[i].pid > 0)
			kill(soak->processes[i].pid, SIGKILL);
		reap(soak, &soak->processes[i], soak->failed ? SIGKILL : 0);
	}
}

static void report(struct soak *soak)
{
	uint64_t published = 0, received = 0, laps = 0, unknown = 0;

	for (uint32_t i = 0; i < soak->rows; i++) {
		struct soak_row *row = &soak->table->rows[i];

		published += atomic_load(&row->published);
		received += atomic_load(&row->received);
		laps += atomic_load(&row->laps);
		unknown += atomic_load(&row->unknown_laps);
		if (atomic_load(&row->wrong)) {
			fprintf(stderr, "soak: row %u: %u wrong, first: %.*s\n", i,
			        atomic_load(&row->wrong), SOAK_TEXT, row->first_wrong);
			soak->failed = true;
		}
	}
	printf("%s: %u incarnations, %u killed, %u stopped, %llu published, %llu received, "
	       "%llu laps (%llu of unknown size)\n",
	       soak->table->lossless ? "lossless" : "default", soak->rows, soak->kills, soak->stops,
	       (unsigned long long)published, (unsigned long long)received,
	       (unsigned long long)laps, (unsigned long long)unknown);
	if (published == 0 || received == 0)
		complain(soak, "nothing happened", 0);
}

static bool soak_once(uint64_t seed, uint64_t duration_ns, bool lossless)
{
	struct soak soak = { .random = seed | 1 };
	uint64_t end = rt_now_ns() + duration_ns;

	if (open_table(&soak) < 0) {
		perror("soak");
		return false;
	}
	soak.table->lossless = lossless;
	soak.table->seed = seed;
	snprintf(soak.table->ring, sizeof(soak.table->ring), "%s",
	         rt_name(lossless ? "soak.lossless" : "soak"));
	for (unsigned i = 0; i < SOAK_WORKERS; i++)
		start(&soak, i);
	while (rt_now_ns() < end && !soak.failed) {
		rt_sleep_ms(1 + (unsigned)(soak_draw(&soak.random) % 20));
		chaos(&soak);
		resume(&soak, false);
		watch(&soak);
	}
	finish(&soak);
	report(&soak);
	if (rt_left_behind(soak.table->ring) > 0) {
		complain(&soak, "the ring stayed behind in /dev/shm", 0);
		blaze_ring_unlink(soak.table->ring);
	}
	munmap(soak.table, sizeof(*soak.table));
	unlink(soak.path);
	return !soak.failed;
}

int main(int argc, char **argv)
{
	const char *seconds = getenv("BLAZE_SOAK_SECONDS");
	const char *fixed = getenv("BLAZE_SOAK_SEED");
	uint64_t seed = fixed ? strtoull(fixed, NULL, 0) : rt_now_ns();
	uint64_t half_ns = UINT64_C(500000000) * (seconds ? strtoull(seconds, NULL, 10) : 5);
	bool fine;

	if (argc == 4 && strcmp(argv[1], "worker") == 0)
		return worker_main(argv[2], argv[3]);
	printf("seed: BLAZE_SOAK_SEED=%llu\n", (unsigned long long)seed);
	fine = soak_once(seed, half_ns, false);
	fine = soak_once(seed + 1, half_ns, true) && fine;
	return fine ? 0 : 1;
}
