/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a node by name, on the boards of a database's ring.
 *
 * A place on the ring is taken for looking only, and given up between looks while the node is
 * waited for: 64 processes that wait for each other would otherwise take all places. */
#include "lib/topology/topology.h"

#include <stdio.h>
#include <stdlib.h>

#define PAUSE_MIN_NS (200 * 1000)
#define PAUSE_MAX_NS (10 * BLAZEI_NS_PER_MS)

int blazei_observe(const char *db_name, struct blazei_link **ret_link)
{
	const struct blazei_link_options options = { .no_create = true, .read_only = true };
	char ring[BLAZEI_DB_NAME_MAX + 4];

	snprintf(ring, sizeof(ring), "db.%s", db_name);
	return blazei_link_open_ring(ring, &options, ret_link);
}

/* Looks for live nodes of that name. 0 one, -ENOENT none, -EEXIST several. */
static int census_find(const struct blazei_census *census, const char *db_name,
                       const char *node_name, struct blaze_id *ret_node)
{
	size_t len = strlen(node_name);
	int result = -ENOENT;

	for (unsigned i = 0; i < census->count; i++) {
		const struct blazei_member *member = &census->members[i];

		if (!member->live || !member->valid || strcmp(member->text->db_name, db_name) != 0)
			continue;
		if (strnlen(member->text->node_name, BLAZEI_BOARD_NAME_MAX) != len ||
		    memcmp(member->text->node_name, node_name, len) != 0)
			continue;
		if (result == 0 && !blazei_id_equal(ret_node, &member->text->node))
			return -EEXIST;
		*ret_node = member->text->node;
		result = 0;
	}
	return result;
}

static int look(const char *db_name, const char *node_name, struct blaze_id *ret_node)
{
	struct blazei_census *census;
	struct blazei_link *link;
	int error = blazei_observe(db_name, &link);

	if (error != 0)
		return error;
	census = calloc(1, sizeof(*census));
	error = census != NULL ? blazei_census_update(census, link, true) : -ENOMEM;
	if (error == 0)
		error = census_find(census, db_name, node_name, ret_node);
	if (census != NULL)
		blazei_census_clear(census);
	free(census);
	link->ops->close(link);
	return error;
}

/* Whether an error of one look may be gone at the next. */
static bool passing(int error)
{
	return error == -ENOENT || error == -EAGAIN || error == -EIDRM || error == -EUSERS;
}

int blaze_topology_find(struct blaze_topology *topology, const char *db_name, const char *node_name,
                        uint64_t timeout_ns, struct blaze_id *ret_node)
{
	uint64_t start_ns = blazei_monotonic_ns(), pause_ns = PAUSE_MIN_NS, passed_ns;
	struct blaze_id node;
	int error = blazei_topology_usable(topology);

	if (error != 0)
		return error;
	if (db_name == NULL || node_name == NULL || ret_node == NULL ||
	    !blazei_name_valid(db_name, BLAZEI_DB_NAME_MAX) ||
	    !blazei_node_name_valid(node_name, strnlen(node_name, BLAZEI_BOARD_NAME_MAX + 1)))
		return -EINVAL;
	if (timeout_ns > 0 && blazei_notifying())
		return -EDEADLK;
	for (;;) {
		error = look(db_name, node_name, &node);
		if (error == 0) {
			blazei_found_store(topology, &node, db_name);
			*ret_node = node;
			return 0;
		}
		if (!passing(error))
			return error;
		passed_ns = blazei_monotonic_ns() - start_ns;
		if (passed_ns >= timeout_ns)
			return timeout_ns == 0 ? error : -ETIMEDOUT;
		if (pause_ns > timeout_ns - passed_ns)
			pause_ns = timeout_ns - passed_ns;
		blazei_sleep_ns(pause_ns);
		pause_ns = pause_ns * 2 < PAUSE_MAX_NS ? pause_ns * 2 : PAUSE_MAX_NS;
	}
}
