/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions of several writes. Some are committed at once; others stay open while the node hears
 * from others. Each writes one value to both records of a pair, and something else. The records of
 * a pair are never deleted, and written by nobody else: so their fields are of the same transaction
 * on every replica at any time, or transactions are not whole. */
#include <stdio.h>

#include "lib/repl/writeset.h"
#include "tests/sim/sim.h"

#define PAIRS      3u
#define WRITES_MAX 4u

static struct blaze_id pair_id(unsigned pair, unsigned half)
{
	struct blaze_id id = { { 0x02 } };

	/* Other records lie between the two. */
	id.bytes[0] = half ? 0xf0 : 0x00;
	id.bytes[15] = (uint8_t)(200 + 2 * pair + half);
	return id;
}

static int64_t pair_value(const struct sim_node *node, unsigned pair, unsigned half)
{
	const struct blaze_id id = pair_id(pair, half);
	struct blaze_record *record;
	int64_t value = -1;

	if (blazei_replica_get(node->replica, &id, &record) < 0)
		return 0;
	(void)blaze_record_get_int(record, "pair", &value);
	blaze_record_free(record);
	return value;
}

void sim_pairs_check(struct sim_world *world, const struct sim_node *node)
{
	for (unsigned i = 0; i < PAIRS; i++) {
		int64_t one = pair_value(node, i, 0);
		int64_t two = pair_value(node, i, 1);

		if (one != two)
			sim_violate(world, "n%u shows half of a transaction: %lld and %lld",
			            (unsigned)(node - world->nodes), (long long)one,
			            (long long)two);
	}
}

/* Stages one write, again where there was no memory. */
static int stage_write(struct sim_world *world, struct sim_node *node,
                       const struct blazei_write *write)
{
	int rc;

	sim_memory_fail(world->fail_after);
	/* Every other one as by who does not hold the lock. */
	if (world->unique % 2)
		(void)blazei_writeset_peek(node->replica, node->writes, write->id);
	rc = blazei_writeset_write(node->replica, node->writes, write);
	if (!sim_memory_restore() || rc != -ENOMEM)
		return rc;
	world->fail_after = 0;
	world->counts[SIM_COUNT_allocations_failed]++;
	return blazei_writeset_write(node->replica, node->writes, write);
}

static void stage_pair(struct sim_world *world, struct sim_node *node, struct sim_random *random)
{
	struct blaze_record *record;

	node->pair = sim_below(random, PAIRS);
	node->pair_value = ++world->unique;
	if (blaze_record_new(&record) < 0)
		return;
	blaze_record_set_int(record, "pair", (int64_t)node->pair_value);
	for (unsigned half = 0; half < 2; half++) {
		const struct blaze_id id = pair_id(node->pair, half);
		const struct blazei_write write = {
			.kind = BLAZEI_WRITE_UPSERT,
			.id = &id,
			.record = record,
		};
		int rc = stage_write(world, node, &write);

		if (rc < 0)
			sim_violate(world, "a write in a transaction fails with %d", rc);
	}
	blaze_record_free(record);
}

static void stage_random(struct sim_world *world, struct sim_node *node, struct sim_random *random)
{
	const struct blaze_id id = sim_random_id(random);
	struct blazei_write write = { .kind = sim_random_kind(random), .id = &id };
	struct blaze_record *record = NULL;
	char value[24];
	int rc;

	if (write.kind == BLAZEI_WRITE_PUT) {
		write.len = (size_t)snprintf(value, sizeof(value), "t%llu",
		                             (unsigned long long)++world->unique);
		write.value = value;
	} else if (write.kind != BLAZEI_WRITE_DELETE) {
		record = sim_random_record(world, write.kind == BLAZEI_WRITE_UPDATE, random);
	}
	write.record = record;
	rc = stage_write(world, node, &write);
	if (rc < 0 && rc != -EEXIST && rc != -ENOENT && rc != -E2BIG)
		sim_violate(world, "a write in a transaction fails with %d", rc);
	if (rc == 0)
		sim_own_read_check(world, node, &write);
	blaze_record_free(record);
}

static void commit(struct sim_world *world, struct sim_node *node)
{
	struct blazei_txn_view view = { 0 };
	bool alone = memcmp(node->touched, node->vector, sizeof(node->vector)) == 0;
	int rc;

	sim_memory_fail(world->fail_after);
	rc = blazei_replica_commit(node->replica, sim_clock(world, node), node->writes, &view);
	if (sim_memory_restore() && rc == -ENOMEM) {
		world->fail_after = 0;
		world->counts[SIM_COUNT_allocations_failed]++;
		sim_observe(world, node, 0);
		rc = blazei_replica_commit(node->replica, sim_clock(world, node), node->writes,
		                           &view);
	}
	if (rc < 0)
		sim_violate(world, "a commit fails with %d", rc);
	else if (view.len > 0)
		sim_written(world, node, &view, node->touched);
	world->events[SIM_TRANSACTION]++;
	world->counts[SIM_COUNT_staged] += !alone;
	if (!world->violated && alone &&
	    pair_value(node, node->pair, 0) != (int64_t)node->pair_value)
		sim_violate(world, "n%u does not see what its transaction wrote",
		            (unsigned)(node - world->nodes));
	blazei_writeset_free(node->writes);
	node->writes = NULL;
}

void sim_transaction(struct sim_world *world, struct sim_node *node, struct sim_random *random)
{
	unsigned writes;

	if (node->mute)
		return;
	if (node->writes) {
		commit(world, node);
		return;
	}
	if (blazei_writeset_new(&node->writes) < 0)
		return;
	memcpy(node->touched, node->vector, sizeof(node->touched));
	stage_pair(world, node, random);
	writes = sim_below(random, WRITES_MAX);
	for (unsigned i = 0; i < writes && !world->violated; i++)
		stage_random(world, node, random);
	if (sim_below(random, 2) == 0 && !world->violated)
		commit(world, node);
}
