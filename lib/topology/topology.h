/* SPDX-License-Identifier: Apache-2.0 */
/* A topology: the nodes that this process registered, and those of others that it has found.
 *
 * WHY    The graph itself lives on the boards, where every process reads it; a topology only knows
 *        which databases of this process are nodes, and on which ring a foreign node was found.
 *
 * INVARIANTS
 *   I1  A node is in the list iff its database is registered; the database outlives its entry,
 *       because closing it is -EBUSY until then.
 *   I2  At most BLAZEI_FOUND_MAX foreign nodes are remembered; a new one takes the oldest's place.
 *
 * CONCURRENCY  `lock` guards both lists, and comes before the locks of a database. It is not held
 *        while a call sleeps; a node that such a call works on is pinned (`pins`), and
 *        unregistering waits for the pins to go. */
#ifndef BLAZEI_TOPOLOGY_TOPOLOGY_H
#define BLAZEI_TOPOLOGY_TOPOLOGY_H

#include <pthread.h>

#include <blaze/topology.h>

#include "lib/db/db.h"

#define BLAZEI_FOUND_MAX 1024u

struct blazei_node {
	struct blaze_db *db;
	unsigned pins;
	bool leaving; /* no new pins */
	struct blazei_node *next;
};

struct blazei_found {
	struct blaze_id node;
	char db_name[BLAZEI_DB_NAME_MAX + 1];
};

struct blaze_topology {
	uint32_t fork_generation;
	bool shared;
	pthread_mutex_t lock;
	pthread_cond_t unpinned;
	struct blazei_node *nodes;
	struct blazei_found found[BLAZEI_FOUND_MAX];
	unsigned found_count; /* ever; the place of the next is its remainder */
};

/* -EINVAL, -ECHILD or 0. */
int blazei_topology_usable(const struct blaze_topology *topology);

/* The local node with this id, pinned, or NULL. */
struct blazei_node *blazei_node_pin(struct blaze_topology *topology, const struct blaze_id *node);
void blazei_node_unpin(struct blaze_topology *topology, struct blazei_node *node);

/* Remembers on which database's ring a foreign node is; looks it up: 0 or -ENOENT. */
void blazei_found_store(struct blaze_topology *topology, const struct blaze_id *node,
                        const char *db_name);
int blazei_found_load(struct blaze_topology *topology, const struct blaze_id *node,
                      char ret_db_name[BLAZEI_DB_NAME_MAX + 1]);

/* Opens the ring of a database for looking only. Errors as blaze_ring_attach. */
int blazei_observe(const char *db_name, struct blazei_link **ret_link);

#endif
