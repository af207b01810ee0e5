/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of databases with a store share: directories, and nodes in them. */
#ifndef TESTS_DB_STORED_H
#define TESTS_DB_STORED_H

#include <stdlib.h>

#include "tests/base/dir.h"
#include "tests/db/node.h"

#define STORED_MAX 8u

static char stored_dir[] = "test_stored.XXXXXX";

static inline const char *stored_path(unsigned number)
{
	static char path[STORED_MAX][64];

	snprintf(path[number], sizeof(path[number]), "%s/%u", stored_dir, number);
	return path[number];
}

static inline void stored_setup(void)
{
	strcpy(stored_dir + strlen(stored_dir) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(stored_dir));
}

static inline void stored_clear(unsigned number)
{
	dir_remove(stored_path(number));
}

static inline void stored_teardown(void)
{
	for (unsigned i = 0; i < STORED_MAX; i++)
		stored_clear(i);
	ck_assert_int_eq(rmdir(stored_dir), 0);
}

/* As after a loss of power: the next opening begins a new incarnation. */
static inline void stored_forget(unsigned number)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/closed", stored_path(number));
	(void)unlink(path);
}

/* Opens the database in directory `number`; retain_bytes 0: the default. */
static inline struct blaze_db *stored_open(const char *db_name, unsigned number,
                                           uint64_t retain_bytes, unsigned flags)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_db *db = NULL;

	options.durability = BLAZE_DURABILITY_SYNC;
	options.retain_bytes = retain_bytes;
	options.flags = flags;
	ck_assert_int_eq(blaze_db_open(db_name, stored_path(number), &options, &db), 0);
	return db;
}

static inline struct node stored_node(const char *db_name, unsigned number, uint64_t retain_bytes)
{
	struct node node = { .db = stored_open(db_name, number, retain_bytes, 0) };
	char name[8];

	snprintf(name, sizeof(name), "s%u", number);
	ck_assert_int_eq(blaze_topology_new(&node.topology), 0);
	ck_assert_int_eq(
	        blaze_topology_register(node.topology, node.db, name, BLAZE_ROLE_PEER, &node.id),
	        0);
	return node;
}

static inline void stored_hash_stamps(struct blaze_db *db, uint8_t ret_hash[16])
{
	pthread_mutex_lock(&db->lock);
	ck_assert_int_eq(blazei_replica_hash_stamps(db->replica, ret_hash), 0);
	pthread_mutex_unlock(&db->lock);
}

/* What the library's thread does once a second, when all up to now is durable. */
static inline void stored_tick(const struct node *node)
{
	struct blazei_vector_entry entries[256];
	struct blazei_vector_view durable = { .entries = entries };

	ck_assert_int_eq(blaze_db_sync(node->db), 0);
	blazei_db_poll_lock(node->db);
	pthread_mutex_lock(&node->db->lock);
	durable.count = blazei_replica_vector_count(node->db->replica);
	ck_assert_uint_le(durable.count, 256);
	for (unsigned k = 0; k < durable.count; k++) {
		blazei_replica_vector_entry(node->db->replica, k, &entries[k]);
		entries[k].seq = blazei_replica_durable(node->db->replica, k);
	}
	pthread_mutex_unlock(&node->db->lock);
	(void)blazei_db_members_tick(node->db, blazei_realtime_ns(), &durable, false);
	blazei_db_poll_unlock(node->db);
}

/* The link may be kept still, from before the other was closed. */
static inline void stored_link(const struct node *a, const struct node *b)
{
	int error =
	        blaze_topology_connect_local(a->topology, &a->id, &b->id, BLAZE_LINK_BIDIRECTIONAL);

	ck_assert(error == 0 || error == -EEXIST);
}

#endif
