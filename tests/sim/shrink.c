/* SPDX-License-Identifier: Apache-2.0 */
/* A failing seed made small: events are left out, in halves, quarters and so on down to single
 * ones, for as long as it still fails; then nodes. What is left is run once more, aloud. Each trial
 * runs in a child, so that a crash is a failure like any other. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/sim.h"

#define TRIALS_MAX 3000u

struct trial {
	struct sim_setting setting;
	struct sim_event *events;
	unsigned count;
	unsigned left; /* trials */
};

/* Whether these events fail; aloud or not. */
static bool fails(struct trial *trial, const struct sim_event *events, unsigned count, bool aloud)
{
	pid_t child;
	int status = 0;

	if (trial->left == 0 && !aloud)
		return false;
	trial->left -= !aloud;
	fflush(stdout);
	child = fork();
	if (child == 0) {
		static struct sim_world world;
		bool holds;

		if (!aloud && !freopen("/dev/null", "w", stderr))
			_exit(2);
		holds = sim_run(&world, &trial->setting, events, count, aloud);
		fflush(stdout);
		_exit(holds ? 0 : 1);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return false;
	if (aloud && WIFSIGNALED(status))
		printf("VIOLATION: ended by signal %d\n", WTERMSIG(status));
	return status != 0;
}

/* Leaves out runs of `size` events where it fails without them. */
static bool leave_out(struct trial *trial, struct sim_event *scratch, unsigned size)
{
	bool smaller = false;

	for (unsigned at = 0; at < trial->count;) {
		unsigned cut = trial->count - at < size ? trial->count - at : size;

		memcpy(scratch, trial->events, at * sizeof(*scratch));
		memcpy(scratch + at, trial->events + at + cut,
		       (trial->count - at - cut) * sizeof(*scratch));
		if (fails(trial, scratch, trial->count - cut, false)) {
			trial->count -= cut;
			memcpy(trial->events, scratch, trial->count * sizeof(*scratch));
			smaller = true;
		} else {
			at += cut;
		}
	}
	return smaller;
}

static void events_shrink(struct trial *trial)
{
	struct sim_event *scratch = calloc(trial->count + 1, sizeof(*scratch));
	unsigned size = trial->count / 2;

	while (scratch && size > 0) {
		bool smaller = leave_out(trial, scratch, size);

		if (size > 1 || !smaller)
			size /= 2;
	}
	free(scratch);
}

/* Fewer nodes, and simpler links. */
static void setting_shrink(struct trial *trial)
{
	const struct sim_setting whole = trial->setting;

	trial->setting.shape = SIM_MESH;
	trial->setting.one_way = 0;
	if (!fails(trial, trial->events, trial->count, false))
		trial->setting = whole;
	for (unsigned nodes = 2; nodes < whole.nodes; nodes++) {
		const unsigned before = trial->setting.nodes;

		trial->setting.nodes = nodes;
		if (fails(trial, trial->events, trial->count, false))
			return;
		trial->setting.nodes = before;
	}
}

void sim_shrink(uint64_t seed, unsigned nodes, bool shrink)
{
	struct trial trial = { .left = TRIALS_MAX };
	const struct sim_event *events = sim_schedule(seed, nodes, &trial.setting);
	unsigned count = trial.setting.event_count;

	/* The arena is each run's own. */
	trial.events = calloc(count, sizeof(*events));
	if (!trial.events)
		return;
	memcpy(trial.events, events, count * sizeof(*events));
	trial.count = count;
	if (shrink && fails(&trial, trial.events, count, false)) {
		for (unsigned before = count + 1; trial.count < before;) {
			before = trial.count;
			events_shrink(&trial);
			setting_shrink(&trial);
		}
	}
	printf("history of seed %llu, %u events of %u:\n", (unsigned long long)seed, trial.count,
	       count);
	fails(&trial, trial.events, trial.count, true);
	free(trial.events);
}
