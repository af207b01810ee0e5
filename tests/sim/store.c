/* SPDX-License-Identifier: Apache-2.0 */
/* A node's store, as the simulator has it: the list of what it merged, in that order, of which a
 * prefix is synced. A crash cuts it, a start replays it. */
#include "lib/repl/identity.h"
#include "lib/repl/session.h"
#include "lib/repl/writeset.h"
#include "tests/sim/sim.h"

void sim_log_copy(struct sim_log *to, const struct sim_log *from, unsigned count)
{
	*to = (struct sim_log){ 0 };
	for (unsigned i = 0; i < count; i++)
		sim_log_append(to, from->entries[i]);
}

void sim_stop(struct sim_world *world, struct sim_node *node, bool power, struct sim_random *random)
{
	unsigned number = (unsigned)(node - world->nodes);

	for (unsigned i = 0; i < world->node_count; i++) {
		struct sim_node *other = &world->nodes[i];

		if (other == node || (other->session && other->session->answerer == number))
			sim_session_close(other);
	}
	blazei_stage_free(node->stage);
	node->stage = NULL;
	memset(node->forgot, 0, sizeof(node->forgot));
	blazei_replica_free(node->replica);
	blazei_writeset_free(node->writes);
	node->writes = NULL;
	node->replica = NULL;
	node->up = false;
	if (!power) {
		/* What is in shared memory outlives the process. */
		sim_tell(world, "n%u ends", number);
		return;
	}
	if (node->log.count > node->synced) {
		unsigned keep = sim_below(random, node->log.count - node->synced + 1);

		world->counts[SIM_COUNT_tail_lost] += node->log.count - node->synced - keep > 0;
		node->log.count = node->synced + keep;
	}
	node->synced = node->log.count;
	if (node->published > node->log.count)
		node->published = node->log.count;
	if (node->lane_first < node->lane_count)
		world->counts[SIM_COUNT_lane_lost]++;
	node->lane_first = node->lane_count;
	sim_tell(world, "n%u loses power; %u entries are left in its store", number,
	         node->log.count);
}

/* Puts the log into a fresh replica, whatever the clock says: it was all taken once. */
void sim_log_replay(struct sim_world *world, struct sim_node *node)
{
	uint32_t expected[SIM_ORIGINS_MAX] = { 0 };
	unsigned first = node->log.count;

	/* From the last copy of everything on. */
	while (first > 0 && !node->log.entries[first - 1].snapshot)
		first--;
	if (first > 0) {
		const struct sim_snapshot *snapshot = node->log.entries[first - 1].snapshot;

		sim_snapshot_load(world, node, snapshot);
		memcpy(expected, snapshot->vector, sizeof(expected));
	}
	for (unsigned i = first; i < node->log.count; i++) {
		const struct sim_txn *txn = node->log.entries[i].txn;
		const struct blazei_txn_view view = { txn->data, txn->len };

		if (blazei_replica_replay(node->replica, &view, 1) < 0)
			sim_violate(world, "a replay fails");
		expected[txn->origin] = (uint32_t)txn->content.seq;
	}
	for (unsigned i = 0; i < world->origin_count; i++) {
		const struct sim_origin *origin = &world->origins[i];

		node->vector[i] = sim_seq(world, node, i);
		if (node->vector[i] != expected[i])
			sim_violate(world,
			            "n%u's store holds n%u.%u up to %u, and it starts with %u",
			            (unsigned)(node - world->nodes), origin->node, origin->run,
			            expected[i], node->vector[i]);
	}
}

/* Under which name it goes on (identity.h); true: the old one. */
static bool identity_continues(const struct sim_world *world, const struct sim_node *node)
{
	const struct blaze_id token = { { 1 } };
	struct blazei_identity_stored stored = { .token = token };
	struct blazei_identity_seen seen = { 0 };
	struct blazei_vector_entry own;

	if (node->runs == 0)
		return false;
	own.origin = world->origins[node->origin].id;
	own.seq = 0;
	for (unsigned i = 0; i < node->log.count; i++)
		if (node->log.entries[i].txn && node->log.entries[i].txn->origin == node->origin)
			own.seq++;
	stored.self = own.origin;
	stored.vector = &own;
	stored.count = 1;
	seen.token = node->closed ? &token : NULL;
	return blazei_identity_decide(&stored, &seen) == BLAZEI_IDENTITY_CONTINUE;
}

void sim_origin_new(struct sim_world *world, struct sim_node *node)
{
	struct sim_origin *origin = &world->origins[world->origin_count];
	unsigned number = (unsigned)(node - world->nodes);

	node->runs++;
	node->mute = false;
	node->origin = world->origin_count++;
	origin->node = number;
	origin->run = node->runs;
	origin->id.node = node->id;
	/* Random in life: neither ascending nor descending. */
	origin->id.incarnation = (node->origin * UINT64_C(0x9e3779b97f4a7c15)) ^ number;
}

/* Another run, whose first write depends on all that the store has. One that goes on depends on no
 * more than what it wrote before. */
static void origin_begin(struct sim_world *world, struct sim_node *node)
{
	sim_origin_new(world, node);
	memset(node->bound, 0, sizeof(node->bound));
}

void sim_start(struct sim_world *world, struct sim_node *node)
{
	unsigned number = (unsigned)(node - world->nodes);
	struct blazei_replica_options options = { .policy = world->setting.policy };

	if (identity_continues(world, node))
		world->counts[SIM_COUNT_continued]++;
	else if (world->origin_count == SIM_ORIGINS_MAX)
		return;
	else
		origin_begin(world, node);
	options.self = world->origins[node->origin].id;
	options.hash_seed = number + 1;
	options.hlc_floor = node->high_ns;
	options.history_bytes = world->setting.history_bytes;
	if (blazei_replica_new(&options, &node->replica) < 0) {
		sim_violate(world, "no memory");
		return;
	}
	node->up = true;
	node->behind = true;
	node->closed = false;
	node->published = node->log.count;
	memset(node->vector, 0, sizeof(node->vector));
	memset(node->frontier, 0, sizeof(node->frontier));
	node->forked = false;
	for (unsigned i = 0; i < SIM_NODES_MAX; i++)
		node->cursors[i] = world->nodes[i].lane_count;
	blazei_replica_set_server(node->replica, node->server);
	sim_log_replay(world, node);
	sim_watch(world, node);
	world->counts[SIM_COUNT_restarts] += node->runs > 1;
	if (node->log.count > 0)
		sim_tell(world, "n%u starts as n%u.%u", number, number, node->runs);
	sim_observe(world, node, 0);
}

void sim_restore(struct sim_world *world, struct sim_node *node, bool tokens)
{
	if (world->origin_count == SIM_ORIGINS_MAX)
		return;
	if (node->up)
		sim_stop(world, node, false, NULL);
	/* Under another name by now, there is nothing to go on under. */
	node->closed = tokens && node->backup_origin == node->origin;
	node->mute = node->closed;
	sim_log_copy(&node->log, &node->backup, node->backup.count);
	node->synced = node->log.count;
	world->events[SIM_RESTORE]++;
	sim_tell(world, "n%u goes back to its backup of %u entries%s",
	         (unsigned)(node - world->nodes), node->log.count,
	         node->closed ? ", tokens and all" : "");
	sim_start(world, node);
}
