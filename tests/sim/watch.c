/* SPDX-License-Identifier: Apache-2.0 */
/* A sink on every other node. What it is told of changes adds up to what a reader sees; and of two
 * writes that it is told were in conflict, neither had seen the other. */
#include "lib/repl/effects.h"
#include "tests/sim/sim.h"

uint64_t sim_record_digest(const struct blaze_record *record)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	if (!record)
		return 0;
	for (uint32_t i = 0; i < record->count; i++) {
		struct blazei_field_view field;

		blazei_record_view(record, i, &field);
		for (uint32_t k = 0; k < field.name_len; k++)
			hash = (hash ^ (uint8_t)field.name[k]) * UINT64_C(0x100000001b3);
		for (uint32_t k = 0; k < field.value_len; k++)
			hash = (hash ^ ((const uint8_t *)field.value)[k]) * UINT64_C(0x100000001b3);
	}
	return hash | 1;
}

static uint64_t read_digest(const struct sim_node *node, unsigned hot)
{
	const struct blaze_id id = sim_record_id(hot);
	struct blaze_record *record = NULL;
	uint64_t digest;

	(void)blazei_replica_get(node->replica, &id, &record);
	digest = sim_record_digest(record);
	blaze_record_free(record);
	return digest;
}

static bool wants(void *arg, const struct blaze_id *id)
{
	(void)arg;
	return id->bytes[0] == 0x01 && id->bytes[15] < SIM_HOT_RECORDS;
}

static void changed(void *arg, const struct blazei_effect_change *change)
{
	struct sim_node *node = arg;
	unsigned hot = change->id->bytes[15];

	node->world->counts[SIM_COUNT_changes_told]++;
	if (!node->changes_lost && sim_record_digest(change->before) != node->mirror[hot])
		sim_violate(node->world, "n%u is told of a change of r%u from what it was not",
		            (unsigned)(node - node->world->nodes), hot);
	node->mirror[hot] = sim_record_digest(change->after);
	blaze_record_free(change->before);
	blaze_record_free(change->after);
}

static void event(void *arg, const struct blazei_effect_event *event)
{
	struct sim_node *node = arg;

	node->world->counts[SIM_COUNT_events_told]++;
	if (event->kind == BLAZEI_EFFECT_CHANGES_LOST)
		node->changes_lost = true;
}

static const struct sim_txn *side_txn(const struct sim_world *world,
                                      const struct blazei_effect_side *side)
{
	for (unsigned i = 0; i < world->origin_count; i++)
		if (blazei_origin_equal(&world->origins[i].id, side->origin))
			return side->seq <= world->origins[i].count
			               ? world->origins[i].txns[side->seq - 1]
			               : NULL;
	return NULL;
}

/* Whether the one had seen the other, and where it comes, the other or what came after that is
 * there. What says something again names what stood where it was said, and knew more; and on what
 * was left with a name nothing depends. */
static bool had_seen(const struct sim_txn *one, const struct sim_txn *other)
{
	return !one->copy && !other->left && one->touched[other->origin] >= other->content.seq;
}

static void conflict(void *arg, const struct blazei_effect_conflict *told)
{
	struct sim_node *node = arg;
	const struct sim_txn *loser = side_txn(node->world, &told->loser);
	const struct sim_txn *winner = side_txn(node->world, &told->winner);

	node->world->counts[SIM_COUNT_conflicts_told]++;
	if (!loser || !winner) /* being written at this moment */
		return;
	if (had_seen(loser, winner) || had_seen(winner, loser))
		sim_violate(
		        node->world,
		        "n%u is told of a conflict over r%u between n%u.%u #%llu and n%u.%u #%llu, "
		        "and one had seen the other",
		        (unsigned)(node - node->world->nodes), told->id->bytes[15],
		        node->world->origins[loser->origin].node,
		        node->world->origins[loser->origin].run,
		        (unsigned long long)loser->content.seq,
		        node->world->origins[winner->origin].node,
		        node->world->origins[winner->origin].run,
		        (unsigned long long)winner->content.seq);
}

void sim_watch(struct sim_world *world, struct sim_node *node)
{
	const struct blazei_sink sink = {
		.arg = node,
		.event = event,
		.conflict = conflict,
		.wants = wants,
		.changed = changed,
	};

	node->world = world;
	node->watched = (node - world->nodes) % 2 == 0;
	if (!node->watched)
		return;
	blazei_replica_set_sink(node->replica, &sink);
	for (unsigned i = 0; i < SIM_HOT_RECORDS; i++)
		node->mirror[i] = read_digest(node, i);
}

void sim_watch_check(struct sim_world *world, struct sim_node *node)
{
	for (unsigned i = 0; i < SIM_HOT_RECORDS && node->watched; i++) {
		uint64_t digest = read_digest(node, i);

		if (digest != node->mirror[i] && !node->changes_lost)
			sim_violate(world, "n%u was not told of a change of r%u",
			            (unsigned)(node - world->nodes), i);
		node->mirror[i] = digest;
	}
	world->counts[SIM_COUNT_changes_lost] += node->changes_lost;
	node->changes_lost = false;
}
