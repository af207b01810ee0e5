/* SPDX-License-Identifier: Apache-2.0 */
/* Members: nodes with a store report what they hold for good, make frontiers known, expel who is
 * silent for 30 days, and come back after that with a snapshot and their unseen writes.
 *
 *        M1   A replica's frontier never goes back, and covers nothing that it does not have.
 *        M2   When nobody writes, the reports end.
 *        M3   Who comes back issues what others have not seen (name.c). */
#include "lib/repl/core.h"
#include "tests/sim/sim.h"

#define TICKS_MAX 4u

/* What the store of the node holds for good. */
static unsigned durable_of(const struct sim_world *world, const struct sim_node *node,
                           struct blazei_vector_entry *ret_entries)
{
	uint32_t durable[SIM_ORIGINS_MAX] = { 0 };
	unsigned count = 0;

	for (unsigned i = 0; i < node->synced; i++) {
		const struct sim_entry *entry = &node->log.entries[i];

		if (entry->snapshot)
			memcpy(durable, entry->snapshot->vector, sizeof(durable));
		else
			durable[entry->txn->origin] = (uint32_t)entry->txn->content.seq;
	}
	for (unsigned i = 0; i < world->origin_count; i++)
		if (durable[i] > 0 || i == node->origin)
			ret_entries[count++] = (struct blazei_vector_entry){
				.origin = world->origins[i].id,
				.seq = durable[i],
			};
	return count;
}

/* M1 */
static void frontier_check(struct sim_world *world, struct sim_node *node)
{
	for (unsigned i = 0; i < world->origin_count; i++) {
		uint64_t seq = blazei_replica_frontier_seq(node->replica, &world->origins[i].id);

		/* Retired, and below it. */
		if (blazei_vector_find(&node->replica->vector, &world->origins[i].id) ==
		    BLAZEI_ORIGIN_NONE)
			continue;
		if (seq < node->frontier[i] || seq > node->vector[i])
			sim_violate(world,
			            "n%u's frontier has n%u.%u at %llu, after %u, and %u here",
			            (unsigned)(node - world->nodes), world->origins[i].node,
			            world->origins[i].run, (unsigned long long)seq,
			            node->frontier[i], node->vector[i]);
		world->counts[SIM_COUNT_frontier_moved] += seq > node->frontier[i];
		node->frontier[i] = (uint32_t)seq;
	}
}

/* The vectors of those who are heard and that this node does not count as members, as their boards
 * show them. */
static unsigned holds_read(struct sim_world *world, const struct sim_node *node,
                           struct blazei_vector_view *ret_holds)
{
	const unsigned number = (unsigned)(node - world->nodes);
	unsigned count = 0;

	for (unsigned i = 0; i < world->node_count; i++) {
		const struct sim_node *other = &world->nodes[i];
		struct blazei_vector_entry *entries;
		unsigned entry_count;

		if (!other->up || !sim_linked(world, number, i) ||
		    blazei_replica_membership(node->replica, &other->id) == BLAZEI_MEMBER_JOINED)
			continue;
		entry_count = blazei_replica_vector_count(other->replica);
		entries = sim_alloc(entry_count * sizeof(*entries));
		for (unsigned k = 0; k < entry_count; k++)
			blazei_replica_vector_entry(other->replica, k, &entries[k]);
		ret_holds[count++] = (struct blazei_vector_view){ entries, entry_count };
	}
	return count;
}

/* One tick; 1 where it wrote something. */
static int tick_once(struct sim_world *world, struct sim_node *node, bool rejoin)
{
	struct blazei_vector_entry entries[SIM_ORIGINS_MAX];
	struct blazei_vector_entry touched[SIM_ORIGINS_MAX];
	struct blazei_vector_view holds[SIM_NODES_MAX];
	const struct blazei_vector_view open = { touched, world->origin_count };
	struct blazei_members_tick tick = { .now_ns = sim_clock(world, node), .rejoin = rejoin };
	struct blazei_txn_view view = { 0 };
	int rc;

	tick.durable.entries = entries;
	tick.durable.count = durable_of(world, node, entries);
	/* A transaction in the making has seen no more than what was there when it began: until it
	 * is committed, nothing beyond may be collected anywhere. */
	for (unsigned i = 0; i < world->origin_count; i++)
		touched[i] = (struct blazei_vector_entry){ world->origins[i].id, node->touched[i] };
	if (node->writes)
		tick.open = &open;
	tick.holds = holds;
	tick.hold_count = holds_read(world, node, holds);
	sim_memory_fail(world->fail_after);
	rc = blazei_replica_members_tick(node->replica, &tick, &view);
	if (sim_memory_restore() && rc == -ENOMEM) {
		world->fail_after = 0;
		world->counts[SIM_COUNT_allocations_failed]++;
		return 0;
	}
	if (rc < 0 && rc != -ESTALE)
		sim_violate(world, "a tick of n%u fails with %d", (unsigned)(node - world->nodes),
		            rc);
	if (rc == 0 && view.len > 0) {
		world->counts[SIM_COUNT_reports]++;
		sim_written(world, node, &view, node->vector);
	}
	if (!world->violated)
		frontier_check(world, node);
	return rc < 0 ? rc : view.len > 0;
}

/* Back among the members, with the help of whoever it hears; whether it is. */
static bool come_back(struct sim_world *world, struct sim_node *node)
{
	unsigned number = (unsigned)(node - world->nodes);

	for (unsigned i = 0; i < world->node_count && !world->violated; i++) {
		if (!world->nodes[i].up || !sim_linked(world, number, i) ||
		    world->blocked[i][number])
			continue;
		world->whole = true;
		world->returned = true;
		node->behind = true;
		sim_catch_up(world, node, i);
		world->whole = false;
		if (world->violated || node->mute)
			return false;
		/* That one is below the frontier itself, or was not reached. */
		if (node->behind)
			continue;
		sim_tell(world, "n%u comes back with n%u's help", number, i);
		world->counts[SIM_COUNT_came_back]++;
		sim_sync(world, node);
		if (!world->violated)
			(void)tick_once(world, node, true);
		return true;
	}
	return false;
}

/* Notes how much there is of what was just retired. */
static void retired_note(struct sim_world *world, const struct sim_node *node)
{
	for (unsigned i = 0; i < world->origin_count; i++) {
		struct sim_origin *origin = &world->origins[i];

		if (node->vector[i] > origin->end &&
		    blazei_vector_find(&node->replica->vector, &origin->id) == BLAZEI_ORIGIN_NONE)
			origin->end = node->vector[i];
	}
}

/* Retires what may be, but not while a transaction is being made. */
static void retire(struct sim_world *world, struct sim_node *node)
{
	int count;

	if (node->writes)
		return;
	sim_memory_fail(world->fail_after);
	count = blazei_replica_retire(node->replica, NULL);
	if (sim_memory_restore() && count == -ENOMEM) {
		world->fail_after = 0;
		world->counts[SIM_COUNT_allocations_failed]++;
		return;
	}
	if (count <= 0)
		return;
	world->counts[SIM_COUNT_retired] += (unsigned)count;
	sim_tell(world, "n%u retires %d incarnations", (unsigned)(node - world->nodes), count);
	retired_note(world, node);
	sim_observe(world, node, 0);
	/* A store that starts from an older state does so with all of them. */
	if (!world->violated && world->unique % 2) {
		world->counts[SIM_COUNT_retired_and_kept]++;
		sim_checkpoint(world, node);
	}
}

unsigned sim_tick(struct sim_world *world, struct sim_node *node)
{
	unsigned wrote = 0;
	int rc = 1;

	if (!world->setting.members || !node->up || node->mute)
		return 0;
	for (unsigned i = 0; i < TICKS_MAX && rc == 1 && !world->violated; i++) {
		rc = tick_once(world, node, false);
		wrote += rc == 1;
	}
	if (world->setting.members > 1 && rc == 0 && !world->violated) {
		int64_t dropped = blazei_replica_collect(node->replica, UINT32_MAX);

		world->counts[SIM_COUNT_collected] += dropped > 0;
		if (dropped > 0)
			sim_checkpoint(world, node);
	}
	if (rc == 0 && !world->violated)
		retire(world, node);
	if (rc == -ESTALE && !world->violated)
		wrote += come_back(world, node);
	return wrote;
}

void sim_days_pass(struct sim_world *world, unsigned days)
{
	for (unsigned day = 0; day < days && !world->violated; day++) {
		world->now_ns += SIM_DAY_NS;
		for (unsigned i = 0; i < world->node_count && !world->violated; i++) {
			struct sim_node *node = &world->nodes[i];

			if (!node->up)
				continue;
			for (unsigned k = 0; k < world->node_count && !world->violated; k++)
				sim_poll(world, node, &world->nodes[k], SIM_LANE_MAX);
			sim_sync(world, node);
			if (!world->violated)
				sim_tick(world, node);
		}
	}
}
