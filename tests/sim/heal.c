/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a run: everybody is up, all links work, the clocks agree. Within a bound of rounds all
 * that any of them still had must be wherever a path leads:
 *
 *        E1   Each node has all that those had when healing began, to whom a path leads; what was
 *             synced survived at its node (store.c checks that at each start), so it is among that.
 *        E2   Nodes that have seen the same hold the same, stamps too; each what the reference
 *             folds; and P3 holds by the causal check.
 *        E3   Nothing waits that is not lost for good.
 *        E4   Then silence: nothing to read, nothing to send.
 *        E5   Without faults, nobody was sent anything twice and nobody had to catch up. */
#include "tests/sim/sim.h"

#define ROUNDS_MAX (3 * SIM_NODES_MAX)

/* Who hears whom, directly or through others. */
static void reach_make(const struct sim_world *world, bool reach[SIM_NODES_MAX][SIM_NODES_MAX])
{
	unsigned count = world->node_count;

	for (unsigned i = 0; i < count; i++)
		for (unsigned j = 0; j < count; j++)
			reach[i][j] = i == j || (world->reads[i][j] && !world->nodes[i].gone &&
			                         !world->nodes[j].gone);
	for (unsigned k = 0; k < count; k++)
		for (unsigned i = 0; i < count; i++)
			for (unsigned j = 0; j < count; j++)
				reach[i][j] = reach[i][j] || (reach[i][k] && reach[k][j]);
}

/* Mends everything, and lets so much time pass that no clock is ahead. */
static void world_mend(struct sim_world *world)
{
	uint64_t high = world->now_ns;

	world->healing = true;
	world->fail_after = 0;
	memset(world->blocked, 0, sizeof(world->blocked));
	for (unsigned i = 0; i < world->node_count; i++) {
		struct sim_node *node = &world->nodes[i];

		node->offset_ns = 0;
		sim_session_close(node);
		if (node->high_ns > high)
			high = node->high_ns;
	}
	for (unsigned i = 0; i < world->origin_count; i++)
		for (unsigned k = 0; k < world->origins[i].count; k++)
			if (world->origins[i].txns[k]->content.hlc > high)
				high = world->origins[i].txns[k]->content.hlc;
	world->now_ns = high + SIM_DAY_NS;
	for (unsigned i = 0; i < world->node_count && !world->violated; i++) {
		struct sim_node *node = &world->nodes[i];

		if (!node->up && !node->gone)
			sim_start(world, node);
		if (node->up)
			sim_sync(world, node);
	}
}

/* Everyone reads all lanes, once; the number of transactions read. */
static unsigned lanes_read(struct sim_world *world)
{
	unsigned read = 0;

	for (unsigned i = 0; i < world->node_count && !world->violated; i++)
		for (unsigned j = 0; j < world->node_count && world->nodes[i].up; j++) {
			read += sim_poll(world, &world->nodes[i], &world->nodes[j], UINT32_MAX);
			sim_sync(world, &world->nodes[i]);
		}
	return read;
}

/* Everyone reads all lanes to their ends: a while, where nodes pass on what they read. */
static unsigned lanes_drain(struct sim_world *world)
{
	unsigned total = 0;
	unsigned read;

	for (unsigned rounds = 0; rounds < ROUNDS_MAX; rounds++) {
		read = lanes_read(world);
		total += read;
		if (read == 0)
			break;
	}
	return total;
}

/* Whoever sees in another's vector what it lacks asks for it; the number of those. */
static unsigned gaps_fill(struct sim_world *world)
{
	unsigned asked = 0;

	for (unsigned i = 0; i < world->node_count; i++)
		for (unsigned j = 0; j < world->node_count && !world->violated; j++) {
			struct sim_node *node = &world->nodes[i];
			const struct sim_node *other = &world->nodes[j];
			bool lacks = false;

			if (!node->up || !other->up || !sim_linked(world, i, j))
				continue;
			for (unsigned k = 0; k < world->origin_count; k++)
				lacks = lacks || other->vector[k] > node->vector[k];
			if (!lacks)
				continue;
			asked++;
			sim_catch_up(world, node, j);
			sim_sync(world, node);
		}
	return asked;
}

/* Looks once more at what waits: the clock has gone on. */
static void nodes_wake(struct sim_world *world)
{
	for (unsigned i = 0; i < world->node_count && !world->violated; i++) {
		struct sim_node *node = &world->nodes[i];
		int drained;

		if (!node->up)
			continue;
		drained = blazei_replica_receive(node->replica, sim_clock(world, node), NULL, 0);
		world->counts[SIM_COUNT_waited_for_clock] += drained > 0;
		sim_observe(world, node, drained);
		sim_sync(world, node);
	}
}

/* E1 */
static void reached_check(struct sim_world *world, const bool reach[SIM_NODES_MAX][SIM_NODES_MAX])
{
	for (unsigned i = 0; i < world->node_count; i++)
		for (unsigned j = 0; j < world->node_count; j++)
			for (unsigned k = 0; k < world->origin_count; k++) {
				if (!world->nodes[i].up || !world->nodes[j].up || !reach[i][j] ||
				    world->nodes[i].vector[k] >= world->nodes[j].had[k])
					continue;
				sim_violate(world, "n%u had n%u.%u up to %u, and n%u has it to %u",
				            j, world->origins[k].node, world->origins[k].run,
				            world->nodes[j].had[k], i, world->nodes[i].vector[k]);
			}
}

/* E2 */
static void equal_check(struct sim_world *world)
{
	uint8_t digests[SIM_NODES_MAX][2][16];

	for (unsigned i = 0; i < world->node_count && !world->violated; i++) {
		struct sim_node *node = &world->nodes[i];
		unsigned j = 0;

		if (!node->up)
			continue;
		blazei_replica_hash(node->replica, digests[i][0]);
		blazei_replica_hash_stamps(node->replica, digests[i][1]);
		while (j < i && (!world->nodes[j].up || memcmp(world->nodes[j].vector, node->vector,
		                                               sizeof(node->vector)) != 0))
			j++;
		if (j == i) {
			sim_compare(world, node, true);
			continue;
		}
		if (memcmp(digests[i][0], digests[j][0], 16) != 0)
			sim_violate(world, "n%u and n%u show different contents in the end", j, i);
		if (memcmp(digests[i][1], digests[j][1], 16) != 0)
			sim_violate(world, "n%u and n%u differ in stamps in the end", j, i);
	}
}

/* E3, E5 */
static void counters_check(struct sim_world *world)
{
	/* Nobody fell behind a lane, or joined the members when they had gone on. */
	const bool smooth =
	        !world->setting.faults && world->counts[SIM_COUNT_lapped] == 0 && !world->returned;

	for (unsigned i = 0; i < world->node_count; i++) {
		const struct sim_node *node = &world->nodes[i];
		struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;
		uint64_t lost = 0;

		if (!node->up)
			continue;
		blazei_replica_stats(node->replica, &stats);
		world->counts[SIM_COUNT_conflicts] += stats.conflicts > 0;
		world->counts[SIM_COUNT_duplicates] += stats.duplicates > 0;
		for (unsigned k = 0; k < world->origin_count; k++)
			lost += world->origins[k].count - node->vector[k];
		world->counts[SIM_COUNT_lost_for_good] += lost > 0;
		if (lost == 0 && stats.parked > 0)
			sim_violate(world, "something waits at n%u, and nothing is missing", i);
		if (!world->setting.faults && stats.refused > 0)
			sim_violate(world, "n%u refused something without a fault", i);
		if (smooth && world->setting.shape == SIM_MESH && stats.duplicates > 0)
			sim_violate(world, "n%u was sent something twice without a fault", i);
	}
	if (smooth && world->counts[SIM_COUNT_catch_ups] > 0)
		sim_violate(world, "somebody had to catch up without a fault");
}

/* E4 */
static void silence_check(struct sim_world *world)
{
	if (lanes_drain(world) > 0)
		sim_violate(world, "there is still something to read in the end");
	for (unsigned i = 0; i < world->node_count; i++)
		for (unsigned j = 0; j < world->node_count && !world->violated; j++) {
			if (!world->nodes[i].up || !world->nodes[j].up || !sim_linked(world, i, j))
				continue;
			if (sim_catch_up(world, &world->nodes[i], j) > 0)
				sim_violate(world, "n%u still has something to send to n%u", j, i);
		}
}

void sim_heal(struct sim_world *world)
{
	bool reach[SIM_NODES_MAX][SIM_NODES_MAX];
	unsigned rounds = 0;
	unsigned work = 1;

	world_mend(world);
	sim_tell(world, "all is mended");
	for (unsigned i = 0; i < world->node_count; i++)
		memcpy(world->nodes[i].had, world->nodes[i].vector, sizeof(world->nodes[i].had));
	for (; work > 0 && rounds < ROUNDS_MAX && !world->violated; rounds++) {
		nodes_wake(world);
		work = lanes_drain(world);
		if (!world->violated)
			work += gaps_fill(world);
		for (unsigned i = 0; i < world->node_count && !world->violated; i++)
			work += sim_tick(world, &world->nodes[i]);
	}
	if (work > 0)
		sim_violate(world, "no end of it after %u rounds", rounds);
	if (world->violated)
		return;
	reach_make(world, reach);
	reached_check(world, reach);
	equal_check(world);
	counters_check(world);
	silence_check(world);
	if (world->setting.faults && !world->violated)
		sim_forge(world);
}
