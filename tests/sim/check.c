/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold after each step of a node.
 *
 *        S1   Its vector never goes back while it runs.
 *        S2   A call that says that n transactions were applied moved it by n: each once.
 *        S3   All that a transaction's writer had seen is there before it (dependencies first).
 *        S4   No more wait than are missing: none that is covered, none twice.
 *        S5   Records that are only ever written together show the same (transactions whole).
 *        S6   What it was told of changes adds up to what a reader sees (watch.c).
 *        S7   It shows what the reference folds from what its vector covers; seen now and then. */
#include "lib/repl/mark_core.h"
#include "tests/sim/sim.h"

uint32_t sim_seq(const struct sim_world *world, const struct sim_node *node, unsigned origin)
{
	const struct sim_origin *from = &world->origins[origin];
	const struct blazei_vector *vector = &node->replica->vector;
	uint32_t seq = (uint32_t)blazei_replica_vector_seq(node->replica, &from->id);

	if (seq > 0)
		return seq;
	/* What was lost before it was retired was nowhere. */
	while (seq < from->end && blazei_marked(vector, &from->id, from->txns[seq]->content.hlc))
		seq++;
	return seq;
}

/* Whether all that this writer had seen is covered. */
static bool seen_covered(const struct sim_world *world, const struct sim_txn *txn,
                         const uint32_t *vector)
{
	for (unsigned i = 0; i < world->origin_count; i++)
		if (txn->seen[i] > vector[i])
			return false;
	return true;
}

static void take(struct sim_world *world, struct sim_node *node, struct sim_txn *txn)
{
	node->vector[txn->origin]++;
	sim_log_append(&node->log, (struct sim_entry){ .txn = txn });
	if (world->setting.shape == SIM_MESH || world->setting.durable_first)
		return;
	world->counts[SIM_COUNT_relayed]++;
	sim_lane_append(world, node, txn);
}

/* Logs what is new up to `target`, each after what its writer had seen; false where there is no
 * such order. */
static bool log_new(struct sim_world *world, struct sim_node *node, const uint32_t *target)
{
	bool more = true;
	bool moved = true;

	while (more && moved) {
		more = moved = false;
		for (unsigned i = 0; i < world->origin_count; i++) {
			struct sim_txn *txn;

			if (node->vector[i] >= target[i])
				continue;
			more = true;
			txn = world->origins[i].txns[node->vector[i]];
			if (!seen_covered(world, txn, node->vector))
				continue;
			moved = true;
			take(world, node, txn);
		}
	}
	return !more;
}

/* S4 */
static void parked_check(struct sim_world *world, struct sim_node *node)
{
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;
	uint64_t missing = 0;

	for (unsigned i = 0; i < world->origin_count; i++)
		missing += world->origins[i].count - node->vector[i];
	blazei_replica_stats(node->replica, &stats);
	world->counts[SIM_COUNT_came_early] += stats.parked > 0;
	node->behind = node->behind || (stats.parked > 0 && world->setting.faults);
	if (stats.parked > missing)
		sim_violate(world, "%llu transactions wait at n%u, and only %llu are missing",
		            (unsigned long long)stats.parked, (unsigned)(node - world->nodes),
		            (unsigned long long)missing);
}

void sim_observe(struct sim_world *world, struct sim_node *node, int applied)
{
	unsigned number = (unsigned)(node - world->nodes);
	uint32_t target[SIM_ORIGINS_MAX];
	uint64_t high_ns = blazei_replica_hlc(node->replica);
	int moved = 0;

	if (high_ns > node->high_ns)
		node->high_ns = high_ns;
	for (unsigned i = 0; i < world->origin_count; i++) {
		const struct sim_origin *origin = &world->origins[i];

		target[i] = sim_seq(world, node, i);
		if (target[i] < node->vector[i] || target[i] > origin->count) {
			sim_violate(world, "n%u's vector has n%u.%u at %u, after %u of %u", number,
			            origin->node, origin->run, target[i], node->vector[i],
			            origin->count);
			return;
		}
		moved += (int)(target[i] - node->vector[i]);
	}
	if (applied != SIM_UNKNOWN && moved != applied)
		sim_violate(world, "n%u applied %d transactions, and its vector moved by %d",
		            number, applied, moved);
	if (moved > 0 && !log_new(world, node, target))
		sim_violate(world, "n%u applied a transaction before what that depends on", number);
	for (unsigned i = 0; i < world->origin_count && !world->violated; i++)
		if (node->vector[i] > 0 &&
		    !seen_covered(world, world->origins[i].txns[node->vector[i] - 1], node->vector))
			sim_violate(world, "n%u has n%u.%u #%u without what that depends on",
			            number, world->origins[i].node, world->origins[i].run,
			            node->vector[i]);
	if (!world->violated)
		parked_check(world, node);
	if (!world->violated)
		sim_pairs_check(world, node);
	if (!world->violated)
		sim_watch_check(world, node);
	sim_renew(world, node);
}

/* Contents ----------------------------------------------------------------------------------- */

static struct causal_write *writes_of(struct sim_world *world, const struct sim_node *node,
                                      unsigned *ret_count)
{
	struct causal_write *writes;
	unsigned count = 0;

	for (unsigned i = 0; i < world->origin_count; i++)
		count += node->vector[i];
	writes = sim_alloc((count + 1) * sizeof(*writes));
	*ret_count = count;
	count = 0;
	for (unsigned i = 0; i < world->origin_count; i++)
		for (unsigned k = 0; k < node->vector[i]; k++) {
			const struct sim_txn *txn = world->origins[i].txns[k];

			writes[count++] = (struct causal_write){
				.txn = &txn->content,
				.seen = txn->touched,
				.origin = i,
				.server = txn->server,
				.copy = txn->copy,
				.places = txn->places,
			};
		}
	return writes;
}

void sim_compare(struct sim_world *world, struct sim_node *node, bool causal)
{
	struct causal_history history = { 0 };
	struct reference reference;
	char text[SIM_TEXT_MAX / 2];

	history.writes = writes_of(world, node, &history.count);
	history.one_server = world->setting.servers == 1 &&
	                     world->setting.policy == BLAZE_POLICY_SERVER_PRIORITY;
	world->counts[SIM_COUNT_compared]++;
	sim_reads_check(world, node);
	reference_init(&reference);
	for (unsigned i = 0; i < history.count; i++)
		reference_fold(&reference, history.writes[i].txn);
	if (!reference_equals(&reference, node->replica, text, sizeof(text)))
		sim_violate(world, "n%u: %s", (unsigned)(node - world->nodes), text);
	reference_free(&reference);
	/* Among writers of one rank only what had seen the other is sure to win. */
	if (causal && !causal_holds(&history, node->replica, text, sizeof(text)))
		sim_violate(world, "n%u: %s", (unsigned)(node - world->nodes), text);
}
