/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of databases share: unique names, nodes that are linked, records of one field. */
#ifndef TESTS_DB_NODE_H
#define TESTS_DB_NODE_H

#include <check.h>
#include <stdio.h>
#include <unistd.h>

#include <blaze/blaze.h>

#include "lib/base/base.h"
#include "lib/db/db.h"

#define WAIT_NS (30 * BLAZEI_NS_PER_S)

struct node {
	struct blaze_db *db;
	struct blaze_topology *topology;
	struct blaze_id id;
};

/* A database name that no other test and no other run has. */
static inline const char *unique_name(void)
{
	static char name[62];
	static unsigned number;

	snprintf(name, sizeof(name), "t%d.%u", (int)getpid(), number++);
	return name;
}

static inline struct node node_open_with(const char *db_name, const char *name,
                                         enum blaze_role role,
                                         const struct blaze_db_options *options)
{
	struct node node;

	ck_assert_int_eq(blaze_db_open(db_name, NULL, options, &node.db), 0);
	ck_assert_int_eq(blaze_topology_new(&node.topology), 0);
	ck_assert_int_eq(blaze_topology_register(node.topology, node.db, name, role, &node.id), 0);
	return node;
}

static inline struct node node_open(const char *db_name, const char *name)
{
	return node_open_with(db_name, name, BLAZE_ROLE_PEER, NULL);
}

static inline void node_close(struct node *node)
{
	blaze_topology_free(node->topology);
	ck_assert_int_eq(blaze_db_close(node->db), 0);
}

static inline void nodes_link(const struct node *a, const struct node *b)
{
	ck_assert_int_eq(
	        blaze_topology_connect_local(a->topology, &a->id, &b->id, BLAZE_LINK_BIDIRECTIONAL),
	        0);
}

/* For loops that wait for something, however slow the machine is: true until WAIT_NS have passed
 * since the first call with this, which was 0. */
static inline bool time_is_left(uint64_t *until_ns)
{
	if (*until_ns == 0)
		*until_ns = blazei_monotonic_ns() + WAIT_NS;
	return blazei_monotonic_ns() < *until_ns;
}

/* What b has it has from everyone that it can hear. */
static inline void node_wait(const struct node *node)
{
	ck_assert_int_eq(blaze_topology_wait(node->topology, &node->id, WAIT_NS), 0);
}

/* The name that it writes under, which the service thread may change. */
static inline struct blazei_origin origin_of(const struct node *node)
{
	struct blazei_origin origin;

	pthread_mutex_lock(&node->db->lock);
	origin = node->db->self;
	pthread_mutex_unlock(&node->db->lock);
	return origin;
}

static inline struct blaze_record *record_of(const char *field, int64_t value)
{
	struct blaze_record *record;

	ck_assert_int_eq(blaze_record_new(&record), 0);
	ck_assert_int_eq(blaze_record_set_int(record, field, value), 0);
	return record;
}

static inline void node_insert(const struct node *node, const char *field, int64_t value,
                               struct blaze_id *ret_id)
{
	struct blaze_record *record = record_of(field, value);

	ck_assert_int_eq(blaze_db_insert(node->db, record, ret_id), 0);
	blaze_record_free(record);
}

static inline void node_update(const struct node *node, const struct blaze_id *id,
                               const char *field, int64_t value)
{
	struct blaze_record *record = record_of(field, value);

	ck_assert_int_eq(blaze_db_update(node->db, id, record), 0);
	blaze_record_free(record);
}

/* The field's value; -1 where the record or the field is not there. */
static inline int64_t node_value(const struct node *node, const struct blaze_id *id,
                                 const char *field)
{
	struct blaze_record *record;
	int64_t value = -1;

	if (blaze_db_get(node->db, id, &record) != 0)
		return -1;
	if (blaze_record_get_int(record, field, &value) != 0)
		value = -1;
	blaze_record_free(record);
	return value;
}

static inline void nodes_assert_equal(const struct node *a, const struct node *b)
{
	uint8_t hash_a[16], hash_b[16];

	ck_assert_int_eq(blaze_db_count(a->db), blaze_db_count(b->db));
	ck_assert_int_eq(blaze_db_hash(a->db, hash_a), 0);
	ck_assert_int_eq(blaze_db_hash(b->db, hash_b), 0);
	ck_assert_mem_eq(hash_a, hash_b, sizeof(hash_a));
}

static inline struct blaze_db_stats node_stats(const struct node *node)
{
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;

	ck_assert_int_eq(blaze_db_stats(node->db, &stats), 0);
	return stats;
}

#endif
