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

/* A session whose asker holds the snapshot and nothing else afterwards. */
static inline struct blazei_session_status catch_up_anew(struct node *asker, struct node *answerer,
                                                         struct pair *pair)
{
	pair_open(pair, asker, answerer);
	pair->anew = true;
	pair_run(pair);
	return pair->asked;
}

/* What the stage holds, under a new name; the number of transactions, which the node keeps. */
static inline unsigned issue(struct node *node, struct pair *pair, uint64_t incarnation)
{
	struct blazei_unseen_list *list = blazei_stage_unseen(pair->stage);
	struct blazei_origin self = node->origin;
	struct blazei_txn_view txn = { .len = 1 };
	unsigned count = 0;

	self.incarnation = incarnation;
	ck_assert(blazei_replica_displaced(node->replica));
	ck_assert_int_eq(blazei_replica_leave_name(node->replica, node->now_ns, &self), 0);
	node->origin = self;
	while (txn.len > 0) {
		ck_assert_int_eq(blazei_replica_reissue(node->replica, node->now_ns, list, &txn),
		                 0);
		count += node_keep(node, txn.data, txn.len);
	}
	ck_assert(blazei_unseen_list_empty(list));
	pair_close(pair);
	return count;
}

/* Writes fields named from `first` on, or removes them, all in one go. */
static inline void fields_write(struct node *node, unsigned number, unsigned first, unsigned count,
                                bool unset)
{
	struct blaze_id id = id_of(number);
	struct blaze_record *patch;
	struct blazei_txn_view txn;
	char name[16];

	ck_assert_int_eq(blaze_record_new(&patch), 0);
	for (unsigned i = first; i < first + count; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		ck_assert_int_eq(unset ? blaze_record_unset(patch, name)
		                       : blaze_record_set_int(patch, name, i),
		                 0);
	}
	node->now_ns += 1000000;
	ck_assert_int_eq(blazei_replica_write(node->replica, node->now_ns,
	                                      &(struct blazei_write){ .kind = BLAZEI_WRITE_UPDATE,
	                                                              .id = &id,
	                                                              .record = patch },
	                                      &txn),
	                 0);
	ck_assert(node_keep(node, txn.data, txn.len));
	blaze_record_free(patch);
}

#endif
