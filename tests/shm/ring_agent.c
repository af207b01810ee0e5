/* SPDX-License-Identifier: Apache-2.0 */
/* The test's end of an agent: starts ring_helper, speaks lines with it; see ring_test.h. */
#include "tests/shm/ring_test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The helper lies beside the test program, or one level up when that is in .libs. */
static void helper_path(char *ret_path, size_t cap)
{
	char self[512];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	ck_assert_int_gt(len, 0);
	self[len] = '\0';
	slash = strrchr(self, '/');
	ck_assert_ptr_nonnull(slash);
	*slash = '\0';
	snprintf(ret_path, cap, "%s/ring_helper", self);
	if (access(ret_path, X_OK) != 0)
		snprintf(ret_path, cap, "%s/../ring_helper", self);
}

void rt_agent_start(struct rt_agent *agent)
{
	char path[600];
	int to[2], from[2];

	helper_path(path, sizeof(path));
	memset(agent, 0, sizeof(*agent));
	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
	agent->pid = fork();
	ck_assert_int_ge(agent->pid, 0);
	if (agent->pid == 0) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		execl(path, path, (char *)NULL);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	agent->to = to[1];
	agent->from = from[0];
}

static void send_line(struct rt_agent *agent, const char *format, va_list args)
{
	char line[512];
	int len = vsnprintf(line, sizeof(line) - 1, format, args);

	ck_assert_int_gt(len, 0);
	line[len] = '\n';
	ck_assert_int_eq(write(agent->to, line, (size_t)len + 1), len + 1);
}

void rt_agent_send(struct rt_agent *agent, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	send_line(agent, format, args);
	va_end(args);
}

/* Reads up to the next newline, which it overwrites with a NUL; returns the line's length. */
static size_t read_line(struct rt_agent *agent)
{
	for (;;) {
		struct pollfd fd = { .fd = agent->from, .events = POLLIN };
		char *end = memchr(agent->line, '\n', agent->have);
		ssize_t got;

		if (end) {
			*end = '\0';
			return (size_t)(end - agent->line) + 1;
		}
		ck_assert_msg(poll(&fd, 1, RT_PATIENCE_MS) == 1, "agent %d hangs", (int)agent->pid);
		got = read(agent->from, agent->line + agent->have,
		           sizeof(agent->line) - 1 - agent->have);
		ck_assert_msg(got > 0, "agent %d is gone", (int)agent->pid);
		agent->have += (size_t)got;
	}
}

long long rt_agent_answer(struct rt_agent *agent, long long *values)
{
	long long all[RT_VALUES] = { 0 };
	size_t used = read_line(agent);
	char *at = agent->line;

	for (unsigned i = 0; i < RT_VALUES; i++) {
		char *end;

		all[i] = strtoll(at, &end, 10);
		if (end == at)
			break;
		at = end;
	}
	agent->have -= used;
	memmove(agent->line, agent->line + used, agent->have);
	if (values)
		memcpy(values, all, sizeof(all));
	return all[0];
}

long long rt_agent_ask(struct rt_agent *agent, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	send_line(agent, format, args);
	va_end(args);
	return rt_agent_answer(agent, NULL);
}

long long rt_agent_attach(struct rt_agent *agent, const char *name, uint64_t lane_bytes,
                          uint64_t stall_budget_ns, uint32_t flags)
{
	return rt_agent_ask(agent, "attach %s %llu %llu %u", name, (unsigned long long)lane_bytes,
	                    (unsigned long long)stall_budget_ns, flags);
}

long long rt_agent_attach_mode(struct rt_agent *agent, const char *name, unsigned mode)
{
	return rt_agent_ask(agent, "attach %s %llu 0 0 %u", name, (unsigned long long)RT_LANE_MIN,
	                    mode);
}

/* The number of the system call that the process is in: 202 futex, 455 futex_wait, 449 waitv. */
static bool in_futex(pid_t pid)
{
	char path[64], text[64] = "";
	FILE *file;
	long number = -1;

	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (fgets(text, sizeof(text), file) && text[0] >= '0' && text[0] <= '9')
		number = strtol(text, NULL, 10);
	fclose(file);
	return number == 202 || number == 455 || number == 449;
}

bool rt_agent_asleep(const struct rt_agent *agent)
{
	for (unsigned i = 0; i < 2000; i++) {
		if (in_futex(agent->pid))
			return true;
		rt_sleep_ms(1);
	}
	return false;
}

int rt_agent_end(struct rt_agent *agent, int signal)
{
	int status = -1;

	if (signal)
		kill(agent->pid, signal);
	close(agent->to);
	ck_assert_int_eq(waitpid(agent->pid, &status, 0), agent->pid);
	close(agent->from);
	return status;
}
