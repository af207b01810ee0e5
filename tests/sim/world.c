/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a list of events: who is there, what time it is, who can hear whom. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/repl/session.h"
#include "lib/repl/writeset.h"
#include "tests/sim/sim.h"

#define EVENT_NS_MAX UINT64_C(50000000) /* that pass between two events */

void sim_tell(struct sim_world *world, const char *format, ...)
{
	va_list arguments;

	if (!world->trace)
		return;
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
}

void sim_violate(struct sim_world *world, const char *format, ...)
{
	va_list arguments;

	if (world->violated)
		return;
	world->violated = true;
	va_start(arguments, format);
	vsnprintf(world->violation, sizeof(world->violation), format, arguments);
	va_end(arguments);
}

uint64_t sim_clock(const struct sim_world *world, const struct sim_node *node)
{
	return world->now_ns + (uint64_t)node->offset_ns;
}

bool sim_linked(const struct sim_world *world, unsigned r, unsigned w)
{
	return r != w && world->reads[r][w] && !world->blocked[r][w];
}

/* Birth and death ---------------------------------------------------------------------------- */

static void links_make(struct sim_world *world, unsigned added)
{
	for (unsigned i = 0; i < added; i++) {
		bool near = world->setting.shape == SIM_MESH || i == 0;

		if (world->setting.shape == SIM_CHAIN && added < world->setting.nodes)
			near = i + 1 == added;
		world->reads[i][added] = near;
		world->reads[added][i] = near;
	}
}

static void one_way_make(struct sim_world *world)
{
	unsigned last = world->setting.nodes - 1;

	if (world->setting.one_way == 0)
		return;
	world->counts[SIM_COUNT_one_way_links]++;
	for (unsigned i = 0; i < last; i++) {
		if (world->setting.one_way == 1)
			world->reads[i][last] = false;
		else
			world->reads[last][i] = false;
	}
}

struct sim_node *sim_node_add(struct sim_world *world, const struct sim_node *copied,
                              const struct blaze_id *id)
{
	struct sim_node *node = &world->nodes[world->node_count];

	if (world->node_count == SIM_NODES_MAX)
		return NULL;
	links_make(world, world->node_count);
	node->used = true;
	if (id) {
		node->id = *id;
	} else {
		/* The order of identities is not the order of birth. */
		node->id.bytes[0] = (uint8_t)((world->node_count * 7 + 3) % 16);
		node->id.bytes[15] = (uint8_t)(world->node_count + 1);
	}
	if (copied) {
		sim_log_copy(&node->log, &copied->log, copied->log.count);
		node->high_ns = copied->high_ns;
	}
	node->synced = node->log.count;
	world->node_count++;
	sim_start(world, node);
	return node;
}

static void world_init(struct sim_world *world, const struct sim_setting *setting, bool trace)
{
	*world = (struct sim_world){ .setting = *setting, .trace = trace, .now_ns = SIM_NOW };
	for (unsigned i = 0; i < setting->nodes; i++)
		sim_node_add(world, NULL, NULL);
	for (unsigned i = 0; i < setting->nodes; i++)
		world->nodes[i].behind = false;
	one_way_make(world);
	/* All have joined, and know it of each other, before anything is collected. */
	if (setting->members > 1)
		sim_days_pass(world, setting->nodes + 2);
	world->nodes[0].server = setting->servers > 0;
	blazei_replica_set_server(world->nodes[0].replica, setting->servers > 0);
	world->counts[SIM_COUNT_one_server] += setting->servers == 1;
	world->counts[SIM_COUNT_last_writer_wins] += setting->policy == BLAZE_POLICY_LWW;
	world->counts[SIM_COUNT_chains_and_stars] += setting->shape != SIM_MESH;
	world->counts[SIM_COUNT_without_faults] += !setting->faults;
	world->counts[SIM_COUNT_durable_first] += setting->durable_first;
	sim_tell(world, "seed %llu: %u nodes, %s, %s, %s", (unsigned long long)setting->seed,
	         setting->nodes,
	         setting->shape == SIM_MESH    ? "all linked"
	         : setting->shape == SIM_CHAIN ? "a chain"
	                                       : "a star",
	         setting->policy == BLAZE_POLICY_LWW ? "last writer wins" : "server priority",
	         setting->servers == 0   ? "no server"
	         : setting->servers == 1 ? "n0 is the server"
	                                 : "servers change");
}

static void world_fini(struct sim_world *world)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		sim_session_close(&world->nodes[i]);
		blazei_stage_free(world->nodes[i].stage);
		blazei_writeset_free(world->nodes[i].writes);
		blazei_replica_free(world->nodes[i].replica);
	}
	for (unsigned i = 0; i < world->origin_count; i++)
		for (unsigned k = 0; k < world->origins[i].count; k++)
			reference_txn_free(&world->origins[i].txns[k]->content);
	sim_arena_empty();
}

/* Events ------------------------------------------------------------------------------------- */

static void event_drop(struct sim_world *world, struct sim_node *node, struct sim_node *other)
{
	unsigned number = (unsigned)(other - world->nodes);

	if (!world->reads[node - world->nodes][number] ||
	    node->cursors[number] == other->lane_count)
		return;
	node->cursors[number]++;
	node->behind = true;
	world->events[SIM_DROP]++;
	sim_tell(world, "n%u misses one of n%u", (unsigned)(node - world->nodes), number);
}

static void event_duplicate(struct sim_world *world, struct sim_node *node,
                            struct sim_random *random)
{
	const struct sim_origin *origin = &world->origins[sim_below(random, world->origin_count)];
	struct sim_txn *txns[4];
	unsigned count = 1 + sim_below(random, 4);
	unsigned first;

	if (origin->count == 0)
		return;
	/* Again, or too early, or never meant for it: but not where no path leads. */
	first = sim_below(random, origin->count);
	for (unsigned i = 0; i < count; i++)
		txns[i] = origin->txns[(first + i) % origin->count];
	for (unsigned i = 0; i < count; i++)
		if (node->vector[txns[i]->origin] < txns[i]->content.seq)
			return;
	world->events[SIM_DUPLICATE]++;
	sim_tell(world, "n%u gets %u of n%u.%u again", (unsigned)(node - world->nodes), count,
	         origin->node, origin->run);
	sim_receive(world, node, txns, count);
}

static void event_partition(struct sim_world *world, unsigned a, unsigned b, bool both)
{
	if (a == b || world->blocked[a][b])
		return;
	world->blocked[a][b] = true;
	if (both)
		world->blocked[b][a] = true;
	world->events[SIM_PARTITION]++;
	sim_tell(world, "n%u hears n%u no more%s", a, b, both ? ", nor the other way" : "");
}

static void event_mend(struct sim_world *world, unsigned a, unsigned b)
{
	if (!world->blocked[a][b] && !world->blocked[b][a])
		return;
	world->blocked[a][b] = false;
	world->blocked[b][a] = false;
	world->events[SIM_MEND]++;
	sim_tell(world, "n%u and n%u hear each other again", a, b);
}

static void event_silence(struct sim_world *world, unsigned number)
{
	for (unsigned i = 0; i < world->node_count; i++) {
		world->blocked[i][number] = i != number;
		world->blocked[number][i] = i != number;
	}
	sim_tell(world, "n%u is cut off, and 31 days pass", number);
	world->events[SIM_SILENCE]++;
	if (world->setting.members)
		sim_days_pass(world, 31);
	else
		world->now_ns += 31 * SIM_DAY_NS;
}

static void event_skew(struct sim_world *world, struct sim_node *node, bool back,
                       struct sim_random *random)
{
	int64_t days = 1 + (int64_t)sim_below(random, 5);
	int64_t by = sim_below(random, 2) ? days * (int64_t)SIM_DAY_NS
	                                  : (int64_t)sim_below(random, 300) * 1000000000;

	node->offset_ns += back ? -by : by;
	world->events[back ? SIM_JUMP_BACK : SIM_SKEW]++;
	sim_tell(world, "n%u's clock jumps %lld s %s", (unsigned)(node - world->nodes),
	         (long long)(by / 1000000000), back ? "back" : "ahead");
}

static void event_role(struct sim_world *world, struct sim_node *node)
{
	if (world->setting.servers != 2)
		return;
	node->server = !node->server;
	if (node->replica)
		blazei_replica_set_server(node->replica, node->server);
	world->events[SIM_ROLE]++;
	sim_tell(world, "n%u is %s", (unsigned)(node - world->nodes),
	         node->server ? "a server" : "a peer");
}

static void event_leave(struct sim_world *world, struct sim_node *node)
{
	unsigned left = 0;

	for (unsigned i = 0; i < world->node_count; i++)
		left += !world->nodes[i].gone;
	if (world->setting.shape != SIM_MESH || world->setting.one_way || left <= 2 || !node->up)
		return;
	sim_sync(world, node);
	sim_stop(world, node, false, NULL);
	node->gone = true;
	world->events[SIM_LEAVE]++;
	sim_tell(world, "n%u leaves", (unsigned)(node - world->nodes));
}

static void event_copy(struct sim_world *world, const struct sim_node *node,
                       struct sim_random *random)
{
	struct blaze_id id = node->id;
	struct sim_node *copy;

	if (world->setting.one_way || world->node_count == SIM_NODES_MAX ||
	    world->origin_count == SIM_ORIGINS_MAX)
		return;
	copy = sim_node_add(world, node, sim_below(random, 2) ? &id : NULL);
	world->events[SIM_COPY]++;
	sim_tell(world, "n%u starts from a copy of n%u's store", (unsigned)(copy - world->nodes),
	         (unsigned)(node - world->nodes));
}

static void event_join(struct sim_world *world)
{
	struct sim_node *node;

	if (world->setting.one_way || world->origin_count == SIM_ORIGINS_MAX)
		return;
	node = sim_node_add(world, NULL, NULL);
	if (!node)
		return;
	world->events[SIM_JOIN]++;
	sim_tell(world, "n%u joins", (unsigned)(node - world->nodes));
}

/* What happens to a node that is up. */
static void event_up(struct sim_world *world, struct sim_node *node, struct sim_node *other,
                     const struct sim_event *event, struct sim_random *random)
{
	switch (event->kind) {
	case SIM_WRITE:
		sim_write(world, node, random);
		break;
	case SIM_POLL:
		world->events[SIM_POLL] +=
		        sim_poll(world, node, other, 1 + sim_below(random, 12)) > 0;
		break;
	case SIM_TICK:
		world->events[SIM_TICK] += sim_tick(world, node) > 0;
		break;
	case SIM_POLL_ALL:
		for (unsigned i = 0; i < world->node_count; i++)
			world->events[SIM_POLL_ALL] +=
			        sim_poll(world, node, &world->nodes[i], SIM_LANE_MAX) > 0;
		break;
	case SIM_SYNC:
		sim_sync(world, node);
		break;
	case SIM_ASK:
		if (node->behind)
			sim_ask(world, node, (unsigned)(other - world->nodes));
		break;
	case SIM_STEP:
		for (unsigned i = 0; i < 4; i++)
			sim_session_step(world, node, sim_below(random, 4));
		break;
	case SIM_DUPLICATE:
		event_duplicate(world, node, random);
		break;
	case SIM_DROP:
		event_drop(world, node, other);
		break;
	case SIM_DAMAGE_MESSAGE:
		sim_session_damage(world, node, random);
		break;
	case SIM_HOSTILE:
		sim_hostile(world, node, random);
		break;
	case SIM_TWIN:
		sim_twin(world, node, random);
		break;
	case SIM_CORRUPT:
		sim_corrupt(world, node, random);
		break;
	case SIM_TRANSACTION:
		sim_transaction(world, node, random);
		break;
	case SIM_LEAVE:
		event_leave(world, node);
		break;
	default:
		break;
	}
}

/* What happens to a node whether it is up or not. */
static void event_any(struct sim_world *world, struct sim_node *node, struct sim_node *other,
                      const struct sim_event *event, struct sim_random *random)
{
	unsigned a = (unsigned)(node - world->nodes);
	unsigned b = (unsigned)(other - world->nodes);

	switch (event->kind) {
	case SIM_CUT_SESSION:
		world->events[SIM_CUT_SESSION] += node->session != NULL;
		sim_session_close(node);
		break;
	case SIM_PARTITION:
		event_partition(world, a, b, sim_below(random, 2));
		break;
	case SIM_MEND:
		event_mend(world, a, b);
		break;
	case SIM_SKEW:
	case SIM_JUMP_BACK:
		event_skew(world, node, event->kind == SIM_JUMP_BACK, random);
		break;
	case SIM_SILENCE:
		event_silence(world, a);
		break;
	case SIM_ROLE:
		event_role(world, node);
		break;
	case SIM_JOIN:
		event_join(world);
		break;
	case SIM_COPY:
		event_copy(world, node, random);
		break;
	case SIM_BACKUP:
		sim_log_copy(&node->backup, &node->log, node->synced);
		node->backup_origin = node->origin;
		world->events[SIM_BACKUP]++;
		break;
	case SIM_RESTORE:
		sim_restore(world, node, sim_below(random, 2));
		break;
	case SIM_POWER_LOSS:
	case SIM_KILL:
		if (!node->up)
			break;
		world->events[event->kind]++;
		sim_stop(world, node, event->kind == SIM_POWER_LOSS, random);
		break;
	case SIM_CLOSE:
		if (!node->up)
			break;
		world->events[SIM_CLOSE]++;
		sim_sync(world, node);
		sim_stop(world, node, false, random);
		node->closed = true;
		break;
	case SIM_RESTART:
		if (node->up)
			break;
		world->events[SIM_RESTART]++;
		sim_start(world, node);
		break;
	case SIM_NO_MEMORY:
		world->fail_after = 1 + sim_below(random, 6);
		world->events[SIM_NO_MEMORY]++;
		break;
	default:
		break;
	}
}

static void event_run(struct sim_world *world, const struct sim_event *event)
{
	struct sim_random random = { event->random };
	struct sim_node *node = &world->nodes[event->node % world->node_count];
	struct sim_node *other = &world->nodes[event->other % world->node_count];

	/* Members report every half minute. */
	world->now_ns += sim_random(&random) % EVENT_NS_MAX *
	                 (world->setting.retiring  ? 1000
	                  : world->setting.members ? 200
	                                           : 1);
	if (node->gone)
		return;
	if (node->up)
		event_up(world, node, other, event, &random);
	event_any(world, node, other, event, &random);
	/* The contents are looked at now and then: it takes longer than the rest. */
	if (!world->violated && node->up && sim_below(&random, 24) == 0)
		sim_compare(world, node, false);
}

bool sim_run(struct sim_world *world, const struct sim_setting *setting,
             const struct sim_event *events, unsigned count, bool trace)
{
	world_init(world, setting, trace);
	for (unsigned i = 0; i < count && !world->violated; i++)
		event_run(world, &events[i]);
	if (!world->violated)
		sim_heal(world);
	if (world->violated)
		sim_tell(world, "VIOLATION: %s", world->violation);
	world_fini(world);
	return !world->violated;
}
