/* SPDX-License-Identifier: Apache-2.0 */
/* A seed into a setting and a list of events.
 *
 * WHY    The list is made beforehand, without looking at what comes of it, so that it can be cut
 *        down afterwards. Each setting has about half of the faults, one in eight has none: faults
 *        that are always there hide what only happens without them. */
#include "tests/sim/sim.h"

#define EVENTS_MIN 80u
#define EVENTS_MAX 380u

static const struct {
	const char *name;
	unsigned weight;
	bool fault;
} kinds[SIM_EVENT_KINDS] = {
#define X(name, weight, fault) { #name, weight, fault },
	SIM_EVENTS(X)
#undef X
};

const char *sim_event_name(unsigned kind)
{
	return kinds[kind].name;
}

bool sim_event_is_fault(unsigned kind)
{
	return kinds[kind].fault;
}

static void setting_make(struct sim_random *random, struct sim_setting *setting)
{
	static const enum sim_shape shapes[] = { SIM_MESH, SIM_MESH, SIM_MESH, SIM_CHAIN,
		                                 SIM_STAR };
	static const uint64_t histories[] = { 0, 2048, 16384, 1 << 20 };
	static const unsigned members[] = { 0, 0, 0, 0, 1, 2 };
	static const unsigned servers[] = { 0, 1, 1, 1, 2, 2 };

	setting->nodes = 2 + sim_below(random, 7);
	setting->shape = shapes[sim_below(random, 5)];
	setting->servers = servers[sim_below(random, 6)];
	setting->policy = sim_below(random, 8) ? BLAZE_POLICY_SERVER_PRIORITY : BLAZE_POLICY_LWW;
	setting->faults = sim_below(random, 8) != 0;
	setting->one_way = sim_below(random, 5) == 0 ? 1 + sim_below(random, 2) : 0;
	setting->durable_first = sim_below(random, 4) == 0;
	setting->history_bytes = histories[sim_below(random, 4)];
	setting->members = members[sim_below(random, 6)];
	/* Who never hears of others stays below their frontier, and is not heard. */
	if (setting->members > 0)
		setting->one_way = 0;
	setting->retiring = setting->members > 0 && setting->faults && setting->seed % 2;
	/* One that is down keeps all waiting. */
	if (setting->retiring)
		setting->nodes = 2 + setting->nodes % 2;
	setting->big = sim_below(random, 60) == 0;
	setting->event_count = EVENTS_MIN + sim_below(random, EVENTS_MAX - EVENTS_MIN);
}

/* Members' stores don't go back. Where something is collected, nobody is below the frontier: whom
 * to hear then is for those who read lanes to decide. */
static bool left_out(const struct sim_setting *setting, unsigned kind)
{
	switch (kind) {
	case SIM_RESTORE:
	case SIM_COPY:
	case SIM_TWIN:
		return setting->members > 0;
	case SIM_SILENCE:
		return setting->members > 1 || setting->retiring;
	case SIM_JOIN:
	case SIM_LEAVE:
	case SIM_POWER_LOSS:
		return setting->members > 1;
	default:
		return false;
	}
}

struct sim_event *sim_schedule(uint64_t seed, unsigned nodes, struct sim_setting *ret_setting)
{
	struct sim_random random = { seed * UINT64_C(0xd1342543de82ef95) + 1 };
	struct sim_setting setting = { .seed = seed };
	unsigned weights[SIM_EVENT_KINDS];
	struct sim_event *events;
	unsigned total = 0;

	setting_make(&random, &setting);
	if (nodes > 0)
		setting.nodes = nodes;
	for (unsigned i = 0; i < SIM_EVENT_KINDS; i++) {
		bool chosen = sim_below(&random, 2) && setting.faults;

		weights[i] = kinds[i].fault && !chosen ? 0 : kinds[i].weight;
		if (left_out(&setting, i))
			weights[i] = 0;
		/* To have something to retire takes incarnations, and many ticks. */
		if (setting.retiring && (i == SIM_TICK || i == SIM_KILL || i == SIM_RESTART))
			weights[i] = 4 * kinds[i].weight;
		total += weights[i];
	}
	events = sim_alloc(setting.event_count * sizeof(*events));
	for (unsigned i = 0; i < setting.event_count; i++) {
		unsigned pick = sim_below(&random, total);
		uint8_t kind = 0;

		while (pick >= weights[kind])
			pick -= weights[kind++];
		events[i].kind = kind;
		events[i].node = (uint8_t)sim_below(&random, 255);
		events[i].other = (uint8_t)sim_below(&random, 255);
		events[i].random = (uint32_t)sim_random(&random);
	}
	*ret_setting = setting;
	return events;
}
