/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes a and b are members; a goes on under a next incarnation, and the first one is over. */
#ifndef TESTS_REPL_OVER_H
#define TESTS_REPL_OVER_H

#include "tests/repl/frontier.h"
#include "tests/repl/session_pair.h"
#include "tests/repl/three.h"

#define PAST_MAX 16u

static struct node past[PAST_MAX]; /* what nodes wrote under incarnations that are over */
static unsigned past_count;

/* The node goes on under a next incarnation, as after a crash of which nothing was lost. */
static inline void restart(struct node *node)
{
	ck_assert_uint_lt(past_count, PAST_MAX);
	past[past_count] = *node;
	past[past_count++].replica = NULL;
	node->log = NULL;
	node->count = node->max = 0;
	node->origin.incarnation += 7;
	ck_assert_int_eq(blazei_replica_renew(node->replica, node->now_ns, &node->origin), 0);
}

static inline void tear_down_all(void)
{
	for (unsigned i = 0; i < past_count; i++)
		node_close(&past[i]);
	past_count = 0;
	tear_down();
}

/* One clock for all. */
static inline void clocks_set(void)
{
	const uint64_t now_ns = a.now_ns > b.now_ns ? a.now_ns : b.now_ns;

	a.now_ns = b.now_ns = c.now_ns = now_ns > c.now_ns ? now_ns : c.now_ns;
}

/* The next report is due, and made; the other hears all of it. */
static inline void report(struct node *node, struct node *other)
{
	const unsigned before = node->count;

	node->now_ns += 31 * BLAZEI_NS_PER_S;
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_ge(node_tick(node), 0);
	clocks_set();
	for (unsigned i = before + 1; i <= node->count; i++)
		node_give(node, other, i);
}

static inline void write_told(struct node *node, struct node *other, unsigned number,
                              const char *json)
{
	ck_assert_int_eq(node_write(node, BLAZEI_WRITE_UPSERT, number, json, NULL), 0);
	clocks_set();
	ck_assert_int_eq(node_give(node, other, node->count), 1);
}

/* A write, and the reports that follow. */
static inline void round_make(unsigned number)
{
	char json[32];

	snprintf(json, sizeof(json), "{\"y\":%u}", number);
	write_told(&a, &b, 2, json);
	report(&a, &b);
	report(&b, &a);
}

/* Both are members; a wrote record 1 under a first incarnation, which is over. */
static inline void begin(void)
{
	report(&a, &b);
	report(&b, &a);
	write_told(&a, &b, 1, "{\"x\":1}");
	restart(&a);
}

/* And its saying so is below the frontier. */
static inline void begin_retirable(void)
{
	begin();
	for (unsigned i = 0; i < 6; i++)
		round_make(i);
}

static inline bool knows(const struct node *node, const struct blazei_origin *origin)
{
	return blazei_vector_find(&node->replica->vector, origin) != BLAZEI_ORIGIN_NONE;
}

/* c hears all that was ever written, in order. */
static inline void c_hears(void)
{
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < past_count; i++)
			node_give_all(&past[i], &c);
		node_give_all(&a, &c);
		node_give_all(&b, &c);
	}
	ck_assert_uint_eq(node_stats(&c).parked, 0);
}

static inline void retire(struct node *node, int count)
{
	ck_assert_int_eq(blazei_replica_retire(node->replica, NULL), count);
	node_expect_exact(node);
}

#endif
