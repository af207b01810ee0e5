/* SPDX-License-Identifier: Apache-2.0 */
/* Topologies, and the nodes registered in them.
 *
 * FAILURE  In a forked child a topology is as dead as its databases: every call is -ECHILD, and the
 *        shared one is made anew. Freeing one there frees its own memory only. */
#include "lib/topology/topology.h"

#include <stdlib.h>

#include "lib/db/service.h"

static _Atomic(struct blaze_topology *) shared_topology;

int blazei_topology_usable(const struct blaze_topology *topology)
{
	if (topology == NULL)
		return -EINVAL;
	return blazei_forked_since(topology->fork_generation) ? -ECHILD : 0;
}

int blaze_topology_new(struct blaze_topology **ret_topology)
{
	struct blaze_topology *topology;
	int error = blazei_fork_init();

	if (ret_topology == NULL)
		return -EINVAL;
	if (error != 0)
		return error;
	topology = calloc(1, sizeof(*topology));
	if (topology == NULL)
		return -ENOMEM;
	/* Relaxed: read in the thread that makes it; a fork after this is what it tells. */
	topology->fork_generation =
	        atomic_load_explicit(&blazei_fork_generation, memory_order_relaxed);
	if (pthread_mutex_init(&topology->lock, NULL) != 0 ||
	    pthread_cond_init(&topology->unpinned, NULL) != 0) {
		free(topology);
		return -ENOMEM;
	}
	*ret_topology = topology;
	return 0;
}

struct blaze_topology *blaze_topology_shared(void)
{
	/* Acquire: pairs with the release of the exchange below. */
	struct blaze_topology *present =
	        atomic_load_explicit(&shared_topology, memory_order_acquire);
	struct blaze_topology *mine;

	if (present != NULL && blazei_topology_usable(present) == 0)
		return present;
	if (blaze_topology_new(&mine) != 0)
		return NULL;
	mine->shared = true;
	/* Release: the topology is whole before it is seen. Acquire: another thread's is. The one
	 * of a forebear is left alone: its lock may be held by a thread that no longer exists. */
	if (atomic_compare_exchange_strong_explicit(&shared_topology, &present, mine,
	                                            memory_order_acq_rel, memory_order_acquire))
		return mine;
	pthread_cond_destroy(&mine->unpinned);
	pthread_mutex_destroy(&mine->lock);
	free(mine);
	return present;
}

struct blazei_node *blazei_node_pin(struct blaze_topology *topology, const struct blaze_id *node)
{
	struct blazei_node *at;

	pthread_mutex_lock(&topology->lock);
	for (at = topology->nodes; at != NULL; at = at->next) {
		if (!at->leaving && blazei_id_equal(&at->db->self.node, node)) {
			at->pins++;
			break;
		}
	}
	pthread_mutex_unlock(&topology->lock);
	return at;
}

void blazei_node_unpin(struct blaze_topology *topology, struct blazei_node *node)
{
	if (node == NULL)
		return;
	pthread_mutex_lock(&topology->lock);
	if (--node->pins == 0)
		pthread_cond_broadcast(&topology->unpinned);
	pthread_mutex_unlock(&topology->lock);
}

void blazei_found_store(struct blaze_topology *topology, const struct blaze_id *node,
                        const char *db_name)
{
	struct blazei_found *found;

	pthread_mutex_lock(&topology->lock);
	for (unsigned i = 0; i < BLAZEI_FOUND_MAX && i < topology->found_count; i++) {
		if (blazei_id_equal(&topology->found[i].node, node)) {
			pthread_mutex_unlock(&topology->lock);
			return;
		}
	}
	found = &topology->found[topology->found_count++ % BLAZEI_FOUND_MAX];
	found->node = *node;
	memset(found->db_name, 0, sizeof(found->db_name));
	memcpy(found->db_name, db_name, strnlen(db_name, BLAZEI_DB_NAME_MAX));
	pthread_mutex_unlock(&topology->lock);
}

int blazei_found_load(struct blaze_topology *topology, const struct blaze_id *node,
                      char ret_db_name[BLAZEI_DB_NAME_MAX + 1])
{
	int result = -ENOENT;

	pthread_mutex_lock(&topology->lock);
	for (unsigned i = 0; i < BLAZEI_FOUND_MAX && i < topology->found_count; i++) {
		if (blazei_id_equal(&topology->found[i].node, node)) {
			memcpy(ret_db_name, topology->found[i].db_name, BLAZEI_DB_NAME_MAX + 1);
			result = 0;
			break;
		}
	}
	pthread_mutex_unlock(&topology->lock);
	return result;
}

int blaze_topology_register(struct blaze_topology *topology, struct blaze_db *db, const char *name,
                            enum blaze_role role, struct blaze_id *ret_node)
{
	int error = blazei_topology_usable(topology);
	struct blazei_node *node;

	if (error == 0)
		error = blazei_db_usable(db);
	if (error != 0)
		return error;
	if (name == NULL || !blazei_node_name_valid(name, strnlen(name, BLAZEI_BOARD_NAME_MAX + 1)))
		return -EINVAL;
	if ((unsigned)role > BLAZE_ROLE_CLIENT)
		return -EINVAL;
	node = calloc(1, sizeof(*node));
	if (node == NULL)
		return -ENOMEM;
	node->db = db;
	error = blazei_db_join(db, name, role);
	if (error != 0) {
		free(node);
		return error;
	}
	pthread_mutex_lock(&topology->lock);
	node->next = topology->nodes;
	topology->nodes = node;
	pthread_mutex_unlock(&topology->lock);
	blazei_service_kick();
	if (ret_node != NULL)
		*ret_node = db->self.node;
	return 0;
}

/* Takes a node from the list when nobody works with it any more; lock is held. */
static struct blazei_node *node_take(struct blaze_topology *topology, const struct blaze_id *id)
{
	struct blazei_node **at = &topology->nodes;
	struct blazei_node *node;

	while (*at != NULL &&
	       ((*at)->leaving || (id != NULL && !blazei_id_equal(&(*at)->db->self.node, id))))
		at = &(*at)->next;
	node = *at;
	if (node == NULL)
		return NULL;
	node->leaving = true;
	while (node->pins > 0)
		pthread_cond_wait(&topology->unpinned, &topology->lock);
	/* Others may have come and gone while the lock was not held. */
	for (at = &topology->nodes; *at != node; at = &(*at)->next)
		;
	*at = node->next;
	return node;
}

/* Ends the registration of one node; NULL: of any. */
static int node_remove(struct blaze_topology *topology, const struct blaze_id *id)
{
	struct blazei_node *node;

	pthread_mutex_lock(&topology->lock);
	node = node_take(topology, id);
	pthread_mutex_unlock(&topology->lock);
	if (node == NULL)
		return -ENOENT;
	blazei_db_leave(node->db);
	free(node);
	return 0;
}

int blaze_topology_unregister(struct blaze_topology *topology, const struct blaze_id *node)
{
	int error = blazei_topology_usable(topology);

	if (error != 0)
		return error;
	return node == NULL ? -EINVAL : node_remove(topology, node);
}

void blaze_topology_free(struct blaze_topology *topology)
{
	if (topology == NULL || topology->shared)
		return;
	if (blazei_topology_usable(topology) == 0) {
		while (node_remove(topology, NULL) == 0)
			;
		pthread_cond_destroy(&topology->unpinned);
		pthread_mutex_destroy(&topology->lock);
	} else {
		while (topology->nodes != NULL) {
			struct blazei_node *node = topology->nodes;

			topology->nodes = node->next;
			free(node);
		}
	}
	free(topology);
}
