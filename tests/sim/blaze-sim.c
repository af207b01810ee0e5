/* SPDX-License-Identifier: Apache-2.0 */
/* blaze-sim: replicas under all that may go wrong, from a seed.
 *
 *        blaze-sim [--seeds 1-10000] [--nodes N] [-j N] [--json] [--whole] [--first]
 *                  [--history SEED]
 *
 * WHAT   Each seed makes a setting (2 to 8 nodes; who hears whom; policy; who is a server; which
 *        faults) and a few hundred events: writes to few hot records and many cold ones, reading of
 *        lanes, catching up, and faults. The replicas are the library's own objects, as in
 *        production; clocks, lanes and stores are simulated. After each step what must hold is
 *        checked (check.c); in the end everything is mended, and checked again (heal.c).
 *
 * OUTPUT How often each thing happened. With a thousand seeds or more nothing may be zero: what
 *        never happens is not tested. A seed that fails is shrunk and told as a history; --whole
 *        leaves it as long as it was, --first ends at the first one; --history tells any seed's.
 *        The exit status is 1 if any seed fails or something never happened. The same seed does the
 *        same on every machine.
 *
 * Workers (-j, by default one per processor) share nothing but a table in which each notes the seed
 * at hand: when one dies of it, that seed has failed, and another worker goes on behind it. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/sim.h"

#define WORKERS_MAX  64u
#define FAILURES_MAX 16u
#define TOLD_MAX     3u
#define SEEDS_ENOUGH 1000u

struct failure {
	uint64_t seed;
	char text[SIM_TEXT_MAX];
};

struct worker {
	uint64_t seed; /* at hand */
	uint64_t seeds;
	uint64_t events[SIM_EVENT_KINDS];
	uint64_t counts[SIM_COUNT_KINDS];
	uint64_t failed;
	struct failure failures[FAILURES_MAX];
	bool done;
};

struct command {
	uint64_t first;
	uint64_t last;
	unsigned nodes;
	unsigned workers;
	bool json;
	bool whole;
	bool first_only;
};

static const char *const count_names[SIM_COUNT_KINDS] = {
#define X(name) #name,
	SIM_COUNTS(X)
#undef X
};

static void failure_note(struct worker *worker, uint64_t seed, const char *text)
{
	struct failure *failure = &worker->failures[worker->failed];

	if (worker->failed++ >= FAILURES_MAX)
		return;
	failure->seed = seed;
	snprintf(failure->text, sizeof(failure->text), "%s", text);
}

static void seed_run(const struct command *command, struct worker *worker)
{
	static struct sim_world world;
	struct sim_setting setting;
	const struct sim_event *events = sim_schedule(worker->seed, command->nodes, &setting);

	if (!sim_run(&world, &setting, events, setting.event_count, false))
		failure_note(worker, worker->seed, world.violation);
	worker->seeds++;
	for (unsigned i = 0; i < SIM_EVENT_KINDS; i++)
		worker->events[i] += world.events[i];
	for (unsigned i = 0; i < SIM_COUNT_KINDS; i++)
		worker->counts[i] += world.counts[i];
}

/* Every so-many-th seed from the one noted. */
static pid_t worker_start(const struct command *command, struct worker *worker)
{
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child != 0)
		return child;
	for (; worker->seed <= command->last; worker->seed += command->workers) {
		if (command->first_only && worker->failed > 0)
			break;
		seed_run(command, worker);
	}
	worker->done = true;
	/* Not _exit: a build for gcov writes its counts now. */
	exit(0);
}

static int workers_run(const struct command *command, struct worker *workers)
{
	pid_t children[WORKERS_MAX];

	for (unsigned i = 0; i < command->workers; i++) {
		workers[i].seed = command->first + i;
		children[i] = worker_start(command, &workers[i]);
		if (children[i] < 0)
			return -1;
	}
	for (unsigned i = 0; i < command->workers; i++) {
		while (waitpid(children[i], NULL, 0) >= 0 && !workers[i].done) {
			failure_note(&workers[i], workers[i].seed, "the process died");
			workers[i].seed += command->workers;
			children[i] = worker_start(command, &workers[i]);
		}
	}
	return 0;
}

/* Report ------------------------------------------------------------------------------------- */

static void total_add(struct worker *total, const struct worker *worker)
{
	total->seeds += worker->seeds;
	for (unsigned i = 0; i < SIM_EVENT_KINDS; i++)
		total->events[i] += worker->events[i];
	for (unsigned i = 0; i < SIM_COUNT_KINDS; i++)
		total->counts[i] += worker->counts[i];
	for (unsigned i = 0; i < worker->failed && i < FAILURES_MAX; i++)
		failure_note(total, worker->failures[i].seed, worker->failures[i].text);
	if (worker->failed > FAILURES_MAX)
		total->failed += worker->failed - FAILURES_MAX;
}

static void counts_print(const struct worker *total, bool json)
{
	printf(json ? ",\"events\":{" : "events:\n");
	for (unsigned i = 0; i < SIM_EVENT_KINDS; i++)
		printf(json ? "%s\"%s\":%llu" : "%s  %-20s %12llu\n", json && i ? "," : "",
		       sim_event_name(i), (unsigned long long)total->events[i]);
	printf(json ? "},\"counts\":{" : "beside them:\n");
	for (unsigned i = 0; i < SIM_COUNT_KINDS; i++)
		printf(json ? "%s\"%s\":%llu" : "%s  %-20s %12llu\n", json && i ? "," : "",
		       count_names[i], (unsigned long long)total->counts[i]);
	printf(json ? "}" : "");
}

/* How many things never happened. */
static unsigned zeros_complain(const struct worker *total, bool json)
{
	unsigned zeros = 0;

	for (unsigned i = 0; i < SIM_EVENT_KINDS; i++)
		if (total->events[i] == 0 && ++zeros && !json)
			printf("%s never happened\n", sim_event_name(i));
	for (unsigned i = 0; i < SIM_COUNT_KINDS; i++)
		if (total->counts[i] == 0 && ++zeros && !json)
			printf("%s never happened\n", count_names[i]);
	return zeros;
}

static int report(const struct command *command, const struct worker *total, double seconds)
{
	bool enough = total->seeds >= SEEDS_ENOUGH && command->nodes == 0 && !command->first_only;
	unsigned zeros;

	if (command->json)
		printf("{\"bench\":\"sim\",\"seeds\":%llu,\"failed\":%llu,\"seconds\":%.1f",
		       (unsigned long long)total->seeds, (unsigned long long)total->failed,
		       seconds);
	counts_print(total, command->json);
	zeros = enough ? zeros_complain(total, command->json) : 0;
	if (command->json)
		printf(",\"never\":%u,\"failures\":[", zeros);
	for (unsigned i = 0; i < total->failed && i < FAILURES_MAX; i++) {
		const struct failure *failure = &total->failures[i];

		if (command->json)
			printf("%s{\"seed\":%llu}", i ? "," : "",
			       (unsigned long long)failure->seed);
		else
			printf("seed %llu: %s\n", (unsigned long long)failure->seed, failure->text);
	}
	if (command->json) {
		printf("]}\n");
	} else {
		for (unsigned i = 0; i < total->failed && i < TOLD_MAX && !command->first_only; i++)
			sim_shrink(total->failures[i].seed, command->nodes, !command->whole);
		printf("%llu seeds from %llu, %llu failed, %.1f s\n",
		       (unsigned long long)total->seeds, (unsigned long long)command->first,
		       (unsigned long long)total->failed, seconds);
	}
	return total->failed > 0 || zeros > 0;
}

static int usage(const char *name, FILE *to)
{
	fprintf(to,
	        "usage: %s [--seeds A-B] [--nodes 2..8] [-j workers] [--json] [--whole] "
	        "[--first] [--history SEED] [--help]\n",
	        name);
	return to == stdout ? 0 : 2;
}

static int seeds_run(const struct command *command)
{
	struct worker *workers = mmap(NULL, WORKERS_MAX * sizeof(*workers), PROT_READ | PROT_WRITE,
	                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	static struct worker total;
	struct timespec begin;
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	if (workers == MAP_FAILED || workers_run(command, workers) < 0) {
		perror("blaze-sim");
		return 2;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	for (unsigned i = 0; i < command->workers; i++)
		total_add(&total, &workers[i]);
	return report(command, &total,
	              (double)(end.tv_sec - begin.tv_sec) +
	                      (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seeds", required_argument, NULL, 's' },
		{ "nodes", required_argument, NULL, 'n' },
		{ "json", no_argument, NULL, 'J' },
		{ "whole", no_argument, NULL, 'w' },
		{ "first", no_argument, NULL, 'f' },
		{ "history", required_argument, NULL, 'h' },
		{ "help", no_argument, NULL, 'H' },
		{ 0 },
	};
	struct command command = { .first = 1, .last = 300 };
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t history = 0;
	int option;
	char *end;

	command.workers = processors > 0 && processors < 64 ? (unsigned)processors : 1;
	while ((option = getopt_long(argc, argv, "j:", options, NULL)) >= 0)
		switch (option) {
		case 's':
			command.first = command.last = strtoull(optarg, &end, 10);
			if (*end == '-')
				command.last = strtoull(end + 1, NULL, 10);
			break;
		case 'n':
			command.nodes = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'j':
			command.workers = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'J':
			command.json = true;
			break;
		case 'w':
			command.whole = true;
			break;
		case 'f':
			command.first_only = true;
			break;
		case 'h':
			history = strtoull(optarg, NULL, 10);
			break;
		case 'H':
			return usage(argv[0], stdout);
		default:
			return usage(argv[0], stderr);
		}
	if (command.last < command.first || command.workers < 1 || command.workers > WORKERS_MAX ||
	    (command.nodes != 0 && (command.nodes < 2 || command.nodes > 8)))
		return usage(argv[0], stderr);
	if (history > 0) {
		sim_shrink(history, command.nodes, false);
		return 0;
	}
	return seeds_run(&command);
}
