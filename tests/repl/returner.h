/* SPDX-License-Identifier: Apache-2.0 */
/* A node that comes back from below the frontier of another, and what it needs for that. */
#ifndef TESTS_REPL_RETURNER_H
#define TESTS_REPL_RETURNER_H

#include "lib/repl/members.h"
#include "lib/repl/reissue.h"
#include "tests/repl/frontier.h"
#include "tests/repl/session_pair.h"

#define WIDE (UINT64_C(1) << 20)

static struct node a; /* comes back */
static struct node b; /* a member, which collects */
static struct node c; /* writes to both */

static inline void set_up(void)
{
	node_open_history(&a, 1, WIDE);
	node_open_history(&b, 2, WIDE);
	node_open_history(&c, 3, WIDE);
}

static inline void tear_down(void)
{
	node_close(&a);
	node_close(&b);
	node_close(&c);
}

/* The one member's list and reports make a frontier, and it collects. */
static inline void frontier_collect(struct node *node)
{
	for (unsigned i = 0; i < 40; i++) {
		node->now_ns += 10 * BLAZEI_NS_PER_S;
		ck_assert_int_ge(node_tick(node), 0);
		ck_assert_int_ge(blazei_replica_collect(node->replica, UINT32_MAX), 0);
	}
	ck_assert_uint_gt(blazei_replica_frontier_seq(node->replica, &node->origin), 0);
	a.now_ns = c.now_ns = node->now_ns;
}

#endif
