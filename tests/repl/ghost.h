/* SPDX-License-Identifier: Apache-2.0 */
/* A field that is none: bytes behind the last field of a record that look like one. A long value
 * leaves them there when a short one takes its place, so anybody's values may. */
#ifndef TESTS_REPL_GHOST_H
#define TESTS_REPL_GHOST_H

#include "lib/repl/core.h"
#include "tests/repl/harness.h"

#define GHOST_AT 5u /* in the long value: behind its head, and what the short one takes */

static inline struct blazei_row *node_row(const struct node *node, const struct blaze_id *id)
{
	const struct blazei_table *table = &node->replica->table;

	return blazei_table_find(table, id, blazei_table_hash(table, id));
}

/* Puts a record with a ghost behind its only field. */
static inline void node_put_ghost(struct node *node, unsigned number,
                                  const struct blazei_entry *ghost)
{
	const struct blaze_id id = id_of(number);
	struct blazei_txn_view txn;
	uint8_t value[400] = { 0 };
	const struct blazei_row *row;

	memcpy(value + GHOST_AT, ghost, sizeof(*ghost));
	node->now_ns++;
	ck_assert_int_eq(node_put(node, &id, value, sizeof(value), &txn), 0);
	node_keep(node, txn.data, txn.len);
	node->now_ns++;
	ck_assert_int_eq(node_put(node, &id, "x", 1, &txn), 0);
	node_keep(node, txn.data, txn.len);
	row = node_row(node, &id);
	ck_assert_uint_eq(row->entry_count, 1);
	ck_assert_uint_ge(row->cap - row->used, sizeof(*ghost));
	ck_assert_mem_eq(row->entries + row->used, ghost, sizeof(*ghost));
}

#endif
