/* SPDX-License-Identifier: Apache-2.0 */
/* Three nodes that are members, or become some: what they write goes to all, what is durable may
 * stay behind, time passes for all of them. */
#ifndef TESTS_REPL_TRIO_H
#define TESTS_REPL_TRIO_H

#include "lib/repl/members.h"
#include "tests/repl/events.h"

#define DAY_NS (24 * 3600 * BLAZEI_NS_PER_S)

/* Three nodes; what they write goes to all by settle. */
static struct node nodes[3];
static struct blazei_vector_entry *durable[3]; /* NULL: everything is */
static unsigned durable_count[3];
static struct blazei_vector_view seen[3];  /* by open transactions; without entries: none is */
static struct blazei_vector_view holds[2]; /* of live ones without a store */
static unsigned hold_count;
static unsigned given[3][3]; /* of whose log how much to whom */

static inline void set_up(void)
{
	for (unsigned i = 0; i < 3; i++) {
		node_open(&nodes[i], i + 1);
		durable[i] = NULL;
		seen[i].entries = NULL;
	}
	hold_count = 0;
	memset(given, 0, sizeof(given));
}

static inline void tear_down(void)
{
	for (unsigned i = 0; i < 3; i++) {
		free(durable[i]);
		node_close(&nodes[i]);
	}
}

/* Among the first `count`. */
static inline void settle_among(unsigned count)
{
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < count; i++)
			for (unsigned j = 0; j < count; j++)
				while (i != j && given[i][j] < nodes[i].count)
					node_give(&nodes[i], &nodes[j], ++given[i][j]);
}

static inline void settle(void)
{
	settle_among(3);
}

/* What is durable at a node stays as it is now. */
static inline void durable_freeze(unsigned which)
{
	durable[which] = node_vector(&nodes[which], &durable_count[which]);
}

/* One tick: the result, 1 where something was written. */
static inline int tick_as(unsigned which, bool rejoin)
{
	struct node *node = &nodes[which];
	struct blazei_members_tick tick = { .now_ns = node->now_ns, .rejoin = rejoin };
	struct blazei_vector_entry *entries = node_vector(node, &tick.durable.count);
	struct blazei_txn_view txn;
	int rc;

	tick.durable.entries = entries;
	if (durable[which]) {
		tick.durable.entries = durable[which];
		tick.durable.count = durable_count[which];
	}
	tick.open = seen[which].entries ? &seen[which] : NULL;
	tick.holds = holds;
	tick.hold_count = hold_count;
	rc = blazei_replica_members_tick(node->replica, &tick, &txn);
	free(entries);
	if (rc == 0 && node_keep(node, txn.data, txn.len))
		return 1;
	return rc;
}

static inline int tick(unsigned which)
{
	return tick_as(which, false);
}

static inline void pass(uint64_t ns)
{
	for (unsigned i = 0; i < 3; i++)
		nodes[i].now_ns += ns;
}

/* The first `count` join, tick for that long, in steps, and exchange what they write. The number of
 * transactions that came of it. */
static inline unsigned run(unsigned count, uint64_t ns, uint64_t step_ns)
{
	unsigned written = 0;

	for (uint64_t t = 0; t < ns; t += step_ns) {
		for (unsigned i = 0; i < count; i++)
			for (int rc = 1; rc == 1; written += rc == 1)
				rc = tick(i);
		settle();
		pass(step_ns);
	}
	return written;
}

static inline uint64_t frontier(unsigned at, unsigned of)
{
	return blazei_replica_frontier_seq(nodes[at].replica, &nodes[of].origin);
}

#endif
