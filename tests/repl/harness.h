/* SPDX-License-Identifier: Apache-2.0 */
/* What the replica tests share: nodes that keep every transaction they wrote, so that a test
 * decides who receives what, when and how often. */
#ifndef TESTS_REPL_HARNESS_H
#define TESTS_REPL_HARNESS_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/op/txn.h"
#include "lib/repl/core.h"

#define NOW UINT64_C(1800000000000000000)

struct message {
	void *data;
	size_t len;
};

struct node {
	struct blazei_replica *replica;
	struct blazei_origin origin;
	struct message *log; /* number i holds seq i + 1 */
	unsigned count;
	unsigned max;
	uint64_t now_ns;
};

static inline struct blaze_id id_of(unsigned number)
{
	struct blaze_id id = { { 0x01, 0x90 } };

	id.bytes[14] = (uint8_t)(number >> 8);
	id.bytes[15] = (uint8_t)number;
	return id;
}

/* A node whose identity sorts by `rank`. */
static inline void node_open_with(struct node *node, unsigned rank,
                                  struct blazei_replica_options options)
{
	*node = (struct node){ .now_ns = NOW };
	node->origin.node.bytes[0] = (uint8_t)rank;
	node->origin.incarnation = 1000 - rank;
	options.self = node->origin;
	options.hash_seed = rank * 77 + 1;
	ck_assert_int_eq(blazei_replica_new(&options, &node->replica), 0);
}

static inline void node_open_policy(struct node *node, unsigned rank, enum blaze_policy policy)
{
	node_open_with(node, rank, (struct blazei_replica_options){ .policy = policy });
}

static inline void node_open_history(struct node *node, unsigned rank, uint64_t history_bytes)
{
	node_open_with(node, rank,
	               (struct blazei_replica_options){
	                       .policy = BLAZE_POLICY_SERVER_PRIORITY,
	                       .history_bytes = history_bytes,
	               });
}

static inline void node_open(struct node *node, unsigned rank)
{
	node_open_policy(node, rank, BLAZE_POLICY_SERVER_PRIORITY);
}

static inline void node_close(struct node *node)
{
	for (unsigned i = 0; i < node->count; i++)
		free(node->log[i].data);
	free(node->log);
	/* Whoever shut it has opened it: else all reading would take the lock from then on. */
	ck_assert(!node->replica || node->replica->table.shut == 0);
	blazei_replica_free(node->replica);
}

/* Keeps what a write returned; whether there was anything. */
static inline bool node_keep(struct node *node, const void *txn, size_t len)
{
	struct message message = { .len = len };

	if (len == 0)
		return false;
	ck_assert_uint_eq(len % 8, 0);
	ck_assert_int_eq(blazei_txn_check(txn, len), 0);
	message.data = malloc(len);
	memcpy(message.data, txn, len);
	if (node->count == node->max) {
		node->max = node->max * 2 + 16;
		node->log = realloc(node->log, node->max * sizeof(*node->log));
	}
	node->log[node->count++] = message;
	return true;
}

/* Writes a record given as JSON; "field": {"$unset": true} is no JSON form, so `unset` names a
 * field to remove, or is NULL. Returns the call's result, 1 where it changed nothing. */
static inline int node_write(struct node *node, enum blazei_write_kind kind, unsigned number,
                             const char *json, const char *unset)
{
	struct blaze_id id = id_of(number);
	struct blaze_record *record = NULL;
	struct blazei_txn_view txn;
	int rc;

	if (json)
		ck_assert_int_eq(blaze_record_from_json(json, strlen(json), &record), 0);
	if (unset)
		ck_assert_int_eq(blaze_record_unset(record, unset), 0);
	node->now_ns += 1000000;
	rc = blazei_replica_write(
	        node->replica, node->now_ns,
	        &(struct blazei_write){ .kind = kind, .id = &id, .record = record }, &txn);
	blaze_record_free(record);
	if (rc == 0 && !node_keep(node, txn.data, txn.len))
		return 1;
	return rc;
}

/* Puts bytes under an id, without a tick of the clock. */
static inline int node_put(struct node *node, const struct blaze_id *id, const void *value,
                           size_t len, struct blazei_txn_view *ret_txn)
{
	const struct blazei_write write = {
		.kind = BLAZEI_WRITE_PUT,
		.id = id,
		.value = value,
		.len = len,
	};

	return blazei_replica_write(node->replica, node->now_ns, &write, ret_txn);
}

static inline int node_insert(struct node *node, unsigned number, const char *json)
{
	return node_write(node, BLAZEI_WRITE_INSERT, number, json, NULL);
}

static inline int node_update(struct node *node, unsigned number, const char *json)
{
	return node_write(node, BLAZEI_WRITE_UPDATE, number, json, NULL);
}

static inline int node_delete(struct node *node, unsigned number)
{
	return node_write(node, BLAZEI_WRITE_DELETE, number, NULL, NULL);
}

/* Hands one message over; the number applied. */
static inline int node_take(struct node *node, const void *data, size_t len)
{
	const struct blazei_txn_view view = { data, len };

	return blazei_replica_receive(node->replica, node->now_ns, &view, 1);
}

/* Hands seq of `from` to `to`. */
static inline int node_give(const struct node *from, struct node *to, unsigned seq)
{
	ck_assert_uint_ge(from->count, seq);
	return node_take(to, from->log[seq - 1].data, from->log[seq - 1].len);
}

/* Hands over everything, in order. */
static inline void node_give_all(const struct node *from, struct node *to)
{
	for (unsigned i = 1; i <= from->count; i++)
		ck_assert_int_ge(node_give(from, to, i), 0);
}

/* Everyone gets everything, until nothing waits. */
static inline void nodes_settle(struct node *nodes, unsigned count)
{
	for (unsigned round = 0; round < count; round++)
		for (unsigned i = 0; i < count; i++)
			for (unsigned j = 0; j < count; j++)
				if (i != j)
					node_give_all(&nodes[i], &nodes[j]);
}

static inline struct blaze_db_stats node_stats(const struct node *node)
{
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;

	blazei_replica_stats(node->replica, &stats);
	return stats;
}

/* Whether the record reads as this JSON (NULL: is not there). */
static inline void node_expect(const struct node *node, unsigned number, const char *json)
{
	struct blaze_id id = id_of(number);
	struct blaze_record *record;
	char *text;
	int rc = blazei_replica_get(node->replica, &id, &record);

	if (!json) {
		ck_assert_int_eq(rc, -ENOENT);
		return;
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(blaze_record_to_json(record, &text), 0);
	ck_assert_str_eq(text, json);
	free(text);
	blaze_record_free(record);
}

/* Whether two nodes hold the same, seen and unseen. */
static inline void nodes_expect_equal(const struct node *a, const struct node *b)
{
	uint8_t digests[4][16];

	ck_assert_int_eq(blazei_replica_hash(a->replica, digests[0]), 0);
	ck_assert_int_eq(blazei_replica_hash(b->replica, digests[1]), 0);
	ck_assert_int_eq(blazei_replica_hash_stamps(a->replica, digests[2]), 0);
	ck_assert_int_eq(blazei_replica_hash_stamps(b->replica, digests[3]), 0);
	ck_assert_mem_eq(digests[0], digests[1], 16);
	ck_assert_mem_eq(digests[2], digests[3], 16);
	ck_assert_uint_eq(blazei_replica_count(a->replica), blazei_replica_count(b->replica));
}

/* The vector of a node, freed by the caller. */
static inline struct blazei_vector_entry *node_vector(const struct node *node, unsigned *ret_count)
{
	unsigned count = blazei_replica_vector_count(node->replica);
	struct blazei_vector_entry *entries = calloc(count, sizeof(*entries));

	for (unsigned i = 0; i < count; i++)
		blazei_replica_vector_entry(node->replica, i, &entries[i]);
	*ret_count = count;
	return entries;
}

static inline int suite_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
