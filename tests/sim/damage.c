/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that nobody wrote: damaged on the way, or made up in somebody's name. A replica refuses
 * them and stays as it is. */
#include "lib/op/txn.h"
#include "tests/sim/sim.h"

static uint64_t refused(const struct sim_node *node)
{
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;

	blazei_replica_stats(node->replica, &stats);
	return stats.refused;
}

/* A copy, to be changed. */
static struct blazei_txn_header *txn_copy(const struct sim_txn *txn)
{
	struct blazei_txn_header *copy = sim_alloc(txn->len);

	memcpy(copy, txn->data, txn->len);
	return copy;
}

static void receive_refused(struct sim_world *world, struct sim_node *node,
                            const struct blazei_txn_header *copy, size_t len)
{
	const struct blazei_txn_view view = { copy, len };
	uint64_t before = refused(node);
	/* What waited for the clock may be ready now. */
	int drained = blazei_replica_receive(node->replica, sim_clock(world, node), &view, 1);

	if (refused(node) != before + 1)
		sim_violate(world, "n%u takes what nobody wrote", (unsigned)(node - world->nodes));
	world->counts[SIM_COUNT_refused]++;
	sim_observe(world, node, drained);
}

static const struct sim_txn *txn_pick(const struct sim_world *world, struct sim_random *random)
{
	const struct sim_origin *origin = &world->origins[sim_below(random, world->origin_count)];

	return origin->count == 0 ? NULL : origin->txns[sim_below(random, origin->count)];
}

void sim_corrupt(struct sim_world *world, struct sim_node *node, struct sim_random *random)
{
	const struct sim_txn *txn = txn_pick(world, random);
	struct blazei_txn_header *copy;
	size_t len;

	if (!txn)
		return;
	copy = txn_copy(txn);
	len = txn->len;
	if (sim_below(random, 4) == 0)
		len = sim_below(random, (unsigned)len / 8) * 8;
	else
		((uint8_t *)copy)[sim_below(random, (unsigned)len)] ^=
		        (uint8_t)(1u << sim_below(random, 8));
	world->events[SIM_CORRUPT]++;
	sim_tell(world, "n%u gets damaged bytes", (unsigned)(node - world->nodes));
	receive_refused(world, node, copy, len);
}

static uint64_t quarantined(const struct sim_node *node)
{
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;

	blazei_replica_stats(node->replica, &stats);
	return stats.quarantined;
}

/* Forges the last one that the node has of an origin. */
static void forge(struct sim_world *world, struct sim_node *node, unsigned number)
{
	const struct sim_origin *origin = &world->origins[number];
	struct blazei_txn_header *copy = txn_copy(origin->txns[node->vector[number] - 1]);
	struct blazei_txn_view view = { copy, copy->bytes };
	uint64_t before = quarantined(node);
	uint8_t digests[2][16];

	copy->prev ^= 1;
	copy->chain = blazei_txn_hash(copy);
	world->counts[SIM_COUNT_forged]++;
	sim_tell(world, "n%u gets a forged transaction of n%u.%u", (unsigned)(node - world->nodes),
	         origin->node, origin->run);
	blazei_replica_hash_stamps(node->replica, digests[0]);
	/* After a catch-up by state the chain may be unknown: then it is a repetition. */
	if (blazei_replica_receive(node->replica, sim_clock(world, node), &view, 1) != 0)
		sim_violate(world, "n%u takes what was forged", (unsigned)(node - world->nodes));
	world->counts[SIM_COUNT_quarantined] += quarantined(node) > before;
	blazei_replica_hash_stamps(node->replica, digests[1]);
	if (memcmp(digests[0], digests[1], 16) != 0)
		sim_violate(world, "n%u holds what was forged", (unsigned)(node - world->nodes));
	sim_observe(world, node, 0);
}

void sim_forge(struct sim_world *world)
{
	for (unsigned i = 0; i < world->node_count && !world->violated; i++) {
		struct sim_node *node = &world->nodes[i];

		for (unsigned k = 0; k < world->origin_count && node->up; k++)
			if (k != node->origin && node->vector[k] > 0) {
				forge(world, node, k);
				break;
			}
	}
}
