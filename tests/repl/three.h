/* SPDX-License-Identifier: Apache-2.0 */
/* Three nodes around each test: a, b and c, whose identities ascend. */
#ifndef TESTS_REPL_THREE_H
#define TESTS_REPL_THREE_H

#include "tests/repl/harness.h"

static struct node a;
static struct node b;
static struct node c;

static inline void set_up(void)
{
	node_open(&a, 1);
	node_open(&b, 2);
	node_open(&c, 3);
}

static inline void tear_down(void)
{
	node_close(&a);
	node_close(&b);
	node_close(&c);
}

#endif
