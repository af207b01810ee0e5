/* SPDX-License-Identifier: Apache-2.0 */
/* Members of which everything that is merged is durable. */
#ifndef TESTS_REPL_FRONTIER_H
#define TESTS_REPL_FRONTIER_H

#include "lib/repl/core.h"
#include "tests/repl/harness.h"

/* One tick: 1 where something was written, 0, or an error. */
static inline int node_tick(struct node *node)
{
	struct blazei_members_tick tick = { .now_ns = node->now_ns };
	struct blazei_vector_entry *entries = node_vector(node, &tick.durable.count);
	struct blazei_txn_view txn;
	int rc;

	tick.durable.entries = entries;
	rc = blazei_replica_members_tick(node->replica, &tick, &txn);
	free(entries);
	if (rc == 0 && node_keep(node, txn.data, txn.len))
		return 1;
	return rc;
}

/* A member, the only one that is known: its reports alone make a frontier of all that it has. */
static inline void frontier_make(struct node *node)
{
	for (unsigned i = 0; i < 40; i++) {
		node->now_ns += 10 * BLAZEI_NS_PER_S;
		ck_assert_int_ge(node_tick(node), 0);
	}
	ck_assert_uint_gt(blazei_replica_frontier_seq(node->replica, &node->origin), 0);
}

#endif
