/* SPDX-License-Identifier: Apache-2.0 */
/* Fetching what was missed: a node asks another for all that it has more. The answer is made at
 * once and takes its time to arrive; meanwhile both go on. */
#include "lib/op/txn.h"
#include "tests/sim/sim.h"

#define CHUNK_CAP (2u << 20)

/* The vector of a replica as entries. */
static struct blazei_vector_entry *entries_of(const struct blazei_replica *replica,
                                              unsigned *ret_count)
{
	unsigned count = blazei_replica_vector_count(replica);
	struct blazei_vector_entry *entries = sim_alloc(count * sizeof(*entries));

	for (unsigned i = 0; i < count; i++)
		blazei_replica_vector_entry(replica, i, &entries[i]);
	*ret_count = count;
	return entries;
}

struct sim_snapshot *sim_snapshot_make(struct sim_world *world, const struct sim_node *node,
                                       const struct sim_node *from)
{
	static uint64_t buffer[CHUNK_CAP / 8];
	struct sim_snapshot *snapshot = sim_alloc(sizeof(*snapshot));
	struct sim_chunk **last = &snapshot->chunks;
	struct blazei_state_cursor cursor = { 0 };
	unsigned known_count;
	const struct blazei_vector_entry *known = entries_of(node->replica, &known_count);
	int64_t len;

	snapshot->from = (unsigned)(from - world->nodes);
	snapshot->noted = entries_of(from->replica, &snapshot->noted_count);
	memcpy(snapshot->vector, from->vector, sizeof(snapshot->vector));
	while ((len = blazei_replica_state_chunk(from->replica, known, known_count, &cursor, buffer,
	                                         CHUNK_CAP)) > 0) {
		struct sim_chunk *chunk = sim_alloc(sizeof(*chunk));

		chunk->data = sim_alloc((size_t)len);
		chunk->len = (size_t)len;
		memcpy(chunk->data, buffer, (size_t)len);
		snapshot->records += ((const struct blazei_txn_header *)buffer)->record_count;
		*last = chunk;
		last = &chunk->next;
	}
	if (len < 0)
		sim_violate(world, "no state from n%u: %d", snapshot->from, (int)len);
	return snapshot;
}

static int chunks_merge(struct blazei_replica *replica, const struct sim_snapshot *snapshot,
                        uint64_t now_ns)
{
	int rc = 0;

	for (const struct sim_chunk *at = snapshot->chunks; at && rc == 0; at = at->next)
		rc = blazei_replica_state_merge(replica, now_ns, at->data, at->len);
	if (rc < 0)
		return rc;
	return blazei_replica_vector_raise(replica, now_ns, snapshot->noted, snapshot->noted_count);
}

int sim_snapshot_merge(struct sim_world *world, struct sim_node *node,
                       const struct sim_snapshot *snapshot, uint64_t now_ns)
{
	int rc;

	for (const struct sim_chunk *at = snapshot->chunks; at; at = at->next)
		if (blazei_replica_state_check(now_ns, at->data, at->len) < 0)
			return -EBADMSG;
	sim_memory_fail(world->fail_after);
	rc = chunks_merge(node->replica, snapshot, now_ns);
	if (sim_memory_restore() && rc == -ENOMEM) {
		world->fail_after = 0;
		world->counts[SIM_COUNT_allocations_failed]++;
		rc = chunks_merge(node->replica, snapshot, now_ns);
		rc = rc < 0 ? rc : SIM_UNKNOWN;
	}
	if (rc < 0)
		sim_violate(world, "n%u cannot install what n%u sent: %d",
		            (unsigned)(node - world->nodes), snapshot->from, rc);
	return rc;
}

void sim_ask(struct sim_world *world, struct sim_node *node, unsigned from)
{
	unsigned number = (unsigned)(node - world->nodes);
	struct sim_snapshot *snapshot;

	/* The question and the answer both need a way. */
	if (!sim_linked(world, number, from) || world->blocked[from][number] ||
	    !world->nodes[from].up || node->answer_count == SIM_ANSWERS_MAX)
		return;
	snapshot = sim_snapshot_make(world, node, &world->nodes[from]);
	node->answers[node->answer_count++] = snapshot;
	world->events[SIM_ASK]++;
	sim_tell(world, "n%u asks n%u, which sends state of %u records", number, from,
	         snapshot->records);
}

void sim_install(struct sim_world *world, struct sim_node *node)
{
	unsigned number = (unsigned)(node - world->nodes);
	struct sim_snapshot *snapshot = node->answers[0];
	int drained;

	if (node->answer_count == 0)
		return;
	node->answer_count--;
	memmove(node->answers, node->answers + 1, node->answer_count * sizeof(snapshot));
	drained = sim_snapshot_merge(world, node, snapshot, sim_clock(world, node));
	if (drained < 0) {
		world->counts[SIM_COUNT_catch_ups_refused]++;
		sim_tell(world, "n%u refuses what n%u sent", number, snapshot->from);
		return;
	}
	world->events[SIM_INSTALL]++;
	world->counts[SIM_COUNT_catch_ups]++;
	sim_tell(world, "n%u installs what n%u sent", number, snapshot->from);
	for (unsigned i = 0; i < world->origin_count; i++) {
		const struct sim_origin *origin = &world->origins[i];

		if (snapshot->vector[i] <= node->vector[i])
			continue;
		node->vector[i] = snapshot->vector[i];
		/* Its clock has seen these; a later start must not refuse them. */
		for (unsigned k = 0; k < node->vector[i]; k++)
			if (origin->txns[k]->content.hlc > node->high_ns)
				node->high_ns = origin->txns[k]->content.hlc;
	}
	node->behind = false;
	sim_log_append(&node->log, (struct sim_entry){ .snapshot = snapshot });
	sim_observe(world, node, drained);
}
