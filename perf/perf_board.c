/* SPDX-License-Identifier: Apache-2.0 */
/* The board, and the processes that play their roles on it.
 *
 * WHY    Figures between threads of one process would flatter: one address space, one allocator,
 *        no attach by name. Each role is therefore this program, executed again, with nothing in
 *        common with the conductor but the board's descriptor.
 *
 * FAILURE  A role dies with its conductor (parent death signal). A role that does not come up, or
 *        does not end, is killed after PERF_PATIENCE_NS, by the pid that was started, and the run
 *        fails. Nothing is left behind: the board is a memfd. */
#include "perf/perf.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PERF_BOARD_MAGIC UINT64_C(0x3130667265706c62)
#define PERF_PATIENCE_NS UINT64_C(20000000000)

static const struct {
	const char *name;
	perf_role run;
} perf_roles[] = {
	{ "line-serve", perf_role_line_serve },   { "line-return", perf_role_line_return },
	{ "futex-wake", perf_role_futex_wake },   { "futex-sleep", perf_role_futex_sleep },
	{ "ring-writer", perf_role_ring_writer }, { "ring-reader", perf_role_ring_reader },
	{ "ring-both", perf_role_ring_both },     { "ring-idle", perf_role_ring_idle },
	{ "ring-doze", perf_role_ring_doze },     { "ring-ping", perf_role_ring_ping },
	{ "ring-pong", perf_role_ring_pong },     { "ring-wake", perf_role_ring_wake },
	{ "ring-sleep", perf_role_ring_sleep },   { "db-writer", perf_role_db_writer },
	{ "db-reader", perf_role_db_reader },     { "db-both", perf_role_db_both },
	{ "db-doze", perf_role_db_doze },         { "db-ping", perf_role_db_ping },
	{ "db-pong", perf_role_db_pong },         { "db-feed", perf_role_db_feed },
	{ "db-look", perf_role_db_look },
};

/* The index-th CPU that this program may use, counted round; -1 when there is but one. */
static int cpu_at(int index)
{
	cpu_set_t set;
	int count, seen = 0;

	if (index < 0 || sched_getaffinity(0, sizeof(set), &set) != 0)
		return -1;
	count = CPU_COUNT(&set);
	if (count < 2)
		return -1;
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set) && seen++ == index % count)
			return (int)cpu;
	return -1;
}

unsigned perf_cpu_count(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

int perf_crew_new(const struct perf_options *options, const char *name, struct perf_crew *crew)
{
	struct perf_board *board;
	int error;

	memset(crew, 0, sizeof(*crew));
	crew->fd = memfd_create("blaze-perf", MFD_CLOEXEC);
	if (crew->fd < 0)
		return -errno;
	if (ftruncate(crew->fd, sizeof(*board)) != 0) {
		error = -errno;
		close(crew->fd);
		return error;
	}
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, crew->fd, 0);
	if (board == MAP_FAILED) {
		error = -errno;
		close(crew->fd);
		return error;
	}
	board->magic = PERF_BOARD_MAGIC;
	board->options = *options;
	snprintf(board->name, sizeof(board->name), "%s", name);
	crew->board = board;
	return 0;
}

static void role_execute(int fd, unsigned seat)
{
	char fd_text[16], seat_text[16];

	/* The descriptor must survive exec, in the child only. */
	if (fcntl(fd, F_SETFD, 0) != 0)
		_exit(1);
	snprintf(fd_text, sizeof(fd_text), "%d", fd);
	snprintf(seat_text, sizeof(seat_text), "%u", seat);
	execl("/proc/self/exe", "blaze-perf", "--role", fd_text, seat_text, (char *)NULL);
	_exit(127);
}

int perf_crew_start(struct perf_crew *crew, const char *role, unsigned part, int cpu_index)
{
	unsigned number = crew->started;
	struct perf_seat *seat;
	pid_t parent = getpid();
	pid_t pid;

	if (number >= PERF_SEATS_MAX)
		return -E2BIG;
	seat = &crew->board->seats[number];
	snprintf(seat->role, sizeof(seat->role), "%s", role);
	seat->cpu = cpu_at(cpu_index);
	seat->part = part;
	for (unsigned i = 0; seat->cpu >= 0 && i < number; i++) {
		if (crew->board->seats[i].cpu != seat->cpu)
			continue;
		seat->crowded = 1;
		crew->board->seats[i].crowded = 1;
	}
	crew->board->seat_count = number + 1;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		role_execute(crew->fd, number);
	}
	crew->pids[number] = pid;
	crew->started = number + 1;
	return (int)number;
}

/* Reaps the roles that have ended; the first error among them, or 0. */
static int crew_reap(struct perf_crew *crew, unsigned *ret_running)
{
	unsigned running = 0;
	int error = 0;

	for (unsigned i = 0; i < crew->started; i++) {
		int status;

		if (crew->pids[i] == 0)
			continue;
		if (waitpid(crew->pids[i], &status, WNOHANG) != crew->pids[i]) {
			running++;
			continue;
		}
		crew->pids[i] = 0;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			continue;
		error = crew->board->seats[i].error != 0 ? crew->board->seats[i].error : -ECHILD;
		if (WIFSIGNALED(status))
			fprintf(stderr, "blaze-perf: role %s was killed by signal %d\n",
			        crew->board->seats[i].role, WTERMSIG(status));
		else
			fprintf(stderr, "blaze-perf: role %s ended: %s\n",
			        crew->board->seats[i].role, blaze_strerror(error));
	}
	*ret_running = running;
	return error;
}

/* Waits until all roles have counted themselves. */
static int crew_await(struct perf_crew *crew, _Atomic uint32_t *count)
{
	uint64_t give_up_ns = perf_now_ns() + PERF_PATIENCE_NS;
	unsigned running;
	int error;

	/* Acquire pairs with perf_role_ready: what a role wrote into its seat is seen. */
	while (atomic_load_explicit(count, memory_order_acquire) < crew->started) {
		error = crew_reap(crew, &running);
		if (error != 0)
			return error;
		if (perf_now_ns() > give_up_ns)
			return -ETIMEDOUT;
		perf_sleep_ns(UINT64_C(200000));
	}
	return 0;
}

int perf_crew_ready(struct perf_crew *crew)
{
	return crew_await(crew, &crew->board->ready);
}

static void crew_phase(struct perf_crew *crew, uint32_t phase)
{
	atomic_store_explicit(&crew->board->phase, phase, memory_order_release);
}

int perf_crew_run(struct perf_crew *crew, double seconds)
{
	uint64_t give_up_ns;
	unsigned running;
	int error;

	crew_phase(crew, PERF_WARM);
	error = crew_await(crew, &crew->board->begun);
	if (error != 0)
		return error;
	perf_sleep_ns((uint64_t)(seconds * 0.25e9));
	crew_phase(crew, PERF_MEASURE);
	perf_sleep_ns((uint64_t)(seconds * 1e9));
	crew_phase(crew, PERF_STOP);
	give_up_ns = perf_now_ns() + PERF_PATIENCE_NS;
	for (;;) {
		error = crew_reap(crew, &running);
		if (error != 0 || running == 0)
			return error;
		if (perf_now_ns() > give_up_ns)
			return -ETIMEDOUT;
		perf_sleep_ns(UINT64_C(200000));
	}
}

void perf_crew_free(struct perf_crew *crew)
{
	for (unsigned i = 0; i < crew->started; i++) {
		if (crew->pids[i] == 0)
			continue;
		kill(crew->pids[i], SIGKILL);
		waitpid(crew->pids[i], NULL, 0);
	}
	if (crew->board != NULL) {
		munmap(crew->board, sizeof(*crew->board));
		close(crew->fd);
	}
	memset(crew, 0, sizeof(*crew));
}

static int compare_samples(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void perf_crew_latency(struct perf_crew *crew, struct perf_latency_result *ret_latency)
{
	uint64_t *samples = crew->board->samples_ns_x16;
	uint64_t count = crew->board->sample_count;

	memset(ret_latency, 0, sizeof(*ret_latency));
	if (count == 0 || count > PERF_SAMPLES_MAX)
		return;
	qsort(samples, count, sizeof(*samples), compare_samples);
	ret_latency->count = count;
	ret_latency->p50 = (double)samples[count / 2] / 16;
	ret_latency->p90 = (double)samples[count * 90 / 100] / 16;
	ret_latency->p99 = (double)samples[count * 99 / 100] / 16;
	ret_latency->p999 = (double)samples[count * 999 / 1000] / 16;
	ret_latency->max = (double)samples[count - 1] / 16;
}

void perf_role_stand(struct perf_board *board)
{
	/* Release pairs with perf_crew_ready. */
	atomic_fetch_add_explicit(&board->ready, 1, memory_order_acq_rel);
}

void perf_role_begin(struct perf_board *board)
{
	/* Release: as above. */
	atomic_fetch_add_explicit(&board->begun, 1, memory_order_acq_rel);
}

void perf_role_ready(struct perf_board *board)
{
	perf_role_stand(board);
	while (perf_phase(board) == PERF_PREPARE)
		perf_sleep_ns(UINT64_C(100000));
	perf_role_begin(board);
}

static uint64_t cpu_used_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) *
	               UINT64_C(1000000000) +
	       ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000;
}

void perf_window_turn(struct perf_window *window, struct perf_seat *seat, uint32_t phase,
                      uint64_t records)
{
	if (phase == window->phase)
		return;
	if (phase >= PERF_MEASURE && window->phase < PERF_MEASURE) {
		window->from_ns = perf_now_ns();
		window->from_records = records;
		window->from_cpu_ns = cpu_used_ns();
	}
	if (phase == PERF_STOP) {
		seat->measured_ns = perf_now_ns() - window->from_ns;
		seat->cpu_ns = cpu_used_ns() - window->from_cpu_ns;
		if (seat->measured_ns != 0)
			seat->rate = (double)(records - window->from_records) * 1e9 /
			             (double)seat->measured_ns;
	}
	window->phase = phase;
}

void perf_pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

/* argv: program, "--role", the board's descriptor, the seat's number. */
int perf_role_main(int argc, char **argv)
{
	struct perf_board *board;
	struct perf_seat *seat;
	struct stat st;
	unsigned long number;
	int fd;

	if (argc != 4)
		return 2;
	fd = atoi(argv[2]);
	number = strtoul(argv[3], NULL, 10);
	if (fstat(fd, &st) != 0 || st.st_size != (off_t)sizeof(*board) || number >= PERF_SEATS_MAX)
		return 2;
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (board == MAP_FAILED || board->magic != PERF_BOARD_MAGIC)
		return 2;
	seat = &board->seats[number];
	perf_pin(seat->cpu);
	for (size_t i = 0; i < sizeof(perf_roles) / sizeof(perf_roles[0]); i++) {
		if (strcmp(perf_roles[i].name, seat->role) != 0)
			continue;
		seat->error = perf_roles[i].run(board, seat);
		return seat->error < 0;
	}
	return 2;
}
