/* SPDX-License-Identifier: Apache-2.0 */
/* An agent: a second process on a ring, told what to do by lines on standard input.
 *
 * Each line is answered with one line of numbers, the call's result first. Commands:
 *   attach NAME LANE BUDGET FLAGS [MODE]   detach   unlink NAME
 *   publish COUNT LEN               stamped records, numbered on from the last
 *   poll LIMIT                      through the oracle
 *   drain COUNT MS                  wait and poll until COUNT more records came, or time is up
 *   wait NS                         totals: records wrong laps lap_bytes unknown_laps
 *   stats                           participants slot unlinked sleeps wakes stalls overwrites
 *   closefrom FD                    closes every descriptor from FD on, as careless hosts do
 *   fork                            a child uses the handle; the results that it got, and the
 *                                   number of its descriptors that lead to /dev/shm
 *   orphan                          a child of fork that lives on until its input ends; its pid
 *   spawn                           the same, another program by posix_spawn
 *   exec                            this process becomes a new agent
 *   become UID GID                  another user, with umask 077
 *   newpid                          goes on as process 1 of a new PID namespace; its pid there
 *   alarm MS                        a signal handler runs in MS milliseconds */
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/shm/ring_test.h"

static struct blaze_ring *ring;
static struct rt_oracle oracle;
static uint64_t seq;
static bool inside; /* a PID namespace, in which a leak checker cannot work */

static void on_alarm(int signal)
{
	(void)signal;
}

static int do_attach(const char *arguments)
{
	struct blaze_ring_options options = BLAZE_RING_OPTIONS_INIT;
	unsigned long long lane = 0, budget = 0;
	char name[BLAZE_RING_NAME_MAX + 2];

	if (sscanf(arguments, "%65s %llu %llu %u %u", name, &lane, &budget, &options.flags,
	           &options.mode) < 4)
		return -ENOEXEC;
	options.lane_bytes = lane;
	options.stall_budget_ns = budget;
	options.spin_ns = 1;
	memset(&oracle, 0, sizeof(oracle));
	seq = 0;
	return blaze_ring_attach(name, &options, &ring);
}

static int do_unlink(const char *arguments)
{
	char name[BLAZE_RING_NAME_MAX + 2];

	return sscanf(arguments, "%65s", name) == 1 ? blaze_ring_unlink(name) : -ENOEXEC;
}

static int do_publish(const char *arguments)
{
	unsigned count = 0, len = 0;

	if (sscanf(arguments, "%u %u", &count, &len) != 2)
		return -ENOEXEC;
	return rt_publish(ring, count, len, &seq);
}

/* Returns the number of records, or the first error other than a lap. */
static int do_drain(const char *arguments)
{
	unsigned count = 0, ms = 0;
	uint64_t start = oracle.records;
	uint64_t end;

	if (sscanf(arguments, "%u %u", &count, &ms) != 2)
		return -ENOEXEC;
	end = rt_now_ns() + ms * RT_MS;
	while (oracle.records - start < count && rt_now_ns() < end) {
		int r = blaze_ring_poll(ring, rt_verify, &oracle, 0);

		if (r == 0)
			r = blaze_ring_wait(ring, 20 * RT_MS);
		if (r < 0 && r != -ESTALE && r != -ETIMEDOUT)
			return r;
	}
	return (int)(oracle.records - start);
}

static void do_stats(void)
{
	struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;
	int r = blaze_ring_stats(ring, &stats);

	printf("%d %u %u %u %llu %llu %llu %llu\n", r, stats.participants, stats.slot,
	       stats.unlinked, (unsigned long long)stats.sleeps, (unsigned long long)stats.wakes,
	       (unsigned long long)stats.stalls, (unsigned long long)stats.overwrites);
}

static int shm_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++) {
		char link[32], target[128];
		ssize_t len;

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		len = readlink(link, target, sizeof(target) - 1);
		if (len <= 0)
			continue;
		target[len] = '\0';
		count += strncmp(target, "/dev/shm/", 9) == 0;
	}
	return count;
}

/* What a forked child gets from each call, packed into its answer. */
static void do_fork(void)
{
	struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		void *data = NULL;
		int descriptors = shm_descriptors();
		int publish = blaze_ring_publish(ring, "x", 1);
		int poll = blaze_ring_poll(ring, rt_verify, &oracle, 0);
		int wait = blaze_ring_wait(ring, 0);
		int reserve = blaze_ring_reserve(ring, 8, &data);
		int commit = blaze_ring_commit(ring);
		int statistics = blaze_ring_stats(ring, &stats);

		blaze_ring_abort(ring);
		blaze_ring_detach(ring);
		printf("%d %d %d %d %d %d %d\n", publish, poll, wait, reserve, commit, statistics,
		       descriptors);
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, NULL, 0);
}

static int do_orphan(void)
{
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		char byte;

		/* Standard output is closed so that the test sees its end when the parent dies. */
		close(1);
		while (read(0, &byte, 1) > 0) {
		}
		_exit(0);
	}
	return (int)child;
}

/* cat ends when the standard input that it shares does. */
static int do_spawn(void)
{
	char *const arguments[] = { "cat", NULL };
	posix_spawn_file_actions_t actions;
	pid_t child = -1;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	r = posix_spawnp(&child, "cat", &actions, NULL, arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	return r ? -r : (int)child;
}

static int do_become(const char *arguments)
{
	unsigned uid = 0, gid = 0;

	if (sscanf(arguments, "%u %u", &uid, &gid) != 2)
		return -ENOEXEC;
	umask(077);
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		return -errno;
	return 0;
}

/* The outer process only waits for the inner one, which dies with it. */
static int do_newpid(void)
{
	int status = 1;
	pid_t child;

	if (unshare(CLONE_NEWPID))
		return -errno;
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		inside = true;
		return (int)getpid();
	}
	waitpid(child, &status, 0);
	_exit(status ? 1 : 0);
}

static int do_alarm(const char *arguments)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval timer = { 0 };
	unsigned ms = (unsigned)strtoul(arguments, NULL, 10);

	timer.it_value.tv_sec = ms / 1000;
	timer.it_value.tv_usec = (suseconds_t)(ms % 1000) * 1000;
	sigaction(SIGALRM, &action, NULL);
	return setitimer(ITIMER_REAL, &timer, NULL);
}

static void print_totals(void)
{
	printf("%llu %llu %llu %llu %llu\n", (unsigned long long)oracle.records,
	       (unsigned long long)oracle.wrong, (unsigned long long)oracle.laps,
	       (unsigned long long)oracle.lap_bytes, (unsigned long long)oracle.unknown_laps);
}

static int simple(const char *command, const char *arguments)
{
	if (strcmp(command, "attach") == 0)
		return do_attach(arguments);
	if (strcmp(command, "unlink") == 0)
		return do_unlink(arguments);
	if (strcmp(command, "publish") == 0)
		return do_publish(arguments);
	if (strcmp(command, "poll") == 0)
		return blaze_ring_poll(ring, rt_verify, &oracle,
		                       (unsigned)strtoul(arguments, NULL, 10));
	if (strcmp(command, "drain") == 0)
		return do_drain(arguments);
	if (strcmp(command, "wait") == 0)
		return blaze_ring_wait(ring, strtoull(arguments, NULL, 10));
	if (strcmp(command, "closefrom") == 0) {
		closefrom(atoi(arguments));
		return 0;
	}
	if (strcmp(command, "alarm") == 0)
		return do_alarm(arguments);
	if (strcmp(command, "orphan") == 0)
		return do_orphan();
	if (strcmp(command, "spawn") == 0)
		return do_spawn();
	if (strcmp(command, "exec") == 0)
		return execl("/proc/self/exe", "ring_helper", (char *)NULL);
	if (strcmp(command, "newpid") == 0)
		return do_newpid();
	if (strcmp(command, "become") == 0)
		return do_become(arguments);
	if (strcmp(command, "detach") == 0) {
		blaze_ring_detach(ring);
		ring = NULL;
		return 0;
	}
	return -ENOEXEC;
}

int main(void)
{
	char line[512], command[32];
	int used;

	/* One byte at a time: a forked orphan must not share a buffer. */
	setvbuf(stdin, NULL, _IONBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "%31s %n", command, &used) != 1)
			continue;
		if (strcmp(command, "totals") == 0)
			print_totals();
		else if (strcmp(command, "stats") == 0)
			do_stats();
		else if (strcmp(command, "fork") == 0)
			do_fork();
		else
			printf("%d\n", simple(command, line + used));
		fflush(stdout);
	}
	blaze_ring_detach(ring);
	if (inside)
		_exit(0);
	return 0;
}
