/* SPDX-License-Identifier: Apache-2.0 */
/* Linking two nodes of this host, and ending that.
 *
 * A link is an entry on the board of the end that keeps it: `from` where that is local to the
 * caller, else `to`. Everyone else reads it there, so nothing is negotiated. */
#include "lib/topology/topology.h"

/* Whether the description holds a link to the node. */
static bool text_links(const struct blazei_board_description *text, const struct blaze_id *node)
{
	for (uint32_t i = 0; i < text->link_count; i++) {
		if (blazei_id_equal(&text->links[i].node, node))
			return true;
	}
	return false;
}

/* Whether the other node is there, alive and of the same kind, and not linked already. poll_lock of
 * the keeper is held. */
static int other_check(struct blaze_db *keeper, const struct blaze_id *other)
{
	const struct blazei_member *member;
	int error = blazei_db_census(keeper, true);

	if (error != 0)
		return error;
	member = blazei_census_by_node(&keeper->census, other);
	if (member == NULL) {
		/* A board of another version can't be read: it may be the one. */
		for (unsigned i = 0; i < keeper->census.count; i++) {
			if (keeper->census.members[i].live &&
			    keeper->census.members[i].error == -EPROTO)
				error = -EPROTO;
		}
		return error != 0 ? error : -ENOENT;
	}
	if (member->text->policy != (uint32_t)keeper->policy)
		return -EPROTO;
	return text_links(member->text, &keeper->self.node) ? -EEXIST : 0;
}

/* A node that isn't among the keeper's peers: why. */
static int stranger(struct blaze_topology *topology, const struct blaze_db *keeper,
                    const struct blaze_id *other)
{
	char db_name[BLAZEI_DB_NAME_MAX + 1];
	struct blazei_node *node = blazei_node_pin(topology, other);
	bool different;

	if (node != NULL) {
		different = strcmp(node->db->name, keeper->name) != 0;
		blazei_node_unpin(topology, node);
	} else if (blazei_found_load(topology, other, db_name) == 0) {
		different = strcmp(db_name, keeper->name) != 0;
	} else {
		return -ENOENT;
	}
	return different ? -EINVAL : -ENOENT;
}

static int link_keep(struct blaze_topology *topology, struct blaze_db *keeper,
                     const struct blaze_id *other, enum blaze_link_mode mode)
{
	int error;

	blazei_db_poll_lock(keeper);
	error = other_check(keeper, other);
	blazei_db_poll_unlock(keeper);
	if (error == -ENOENT)
		return stranger(topology, keeper, other);
	return error != 0 ? error : blazei_db_link(keeper, other, mode);
}

/* Removes the link that one node keeps to the other, where the one is local. 0 or -ENOENT. */
static int link_drop(struct blaze_topology *topology, const struct blaze_id *keeper,
                     const struct blaze_id *other)
{
	struct blazei_node *node = blazei_node_pin(topology, keeper);
	int error;

	if (node == NULL)
		return -ENOENT;
	error = blazei_db_unlink(node->db, other);
	blazei_node_unpin(topology, node);
	return error;
}

int blaze_topology_disconnect(struct blaze_topology *topology, const struct blaze_id *from,
                              const struct blaze_id *to)
{
	int error = blazei_topology_usable(topology);

	if (error != 0)
		return error;
	if (from == NULL || to == NULL || blazei_id_equal(from, to))
		return -EINVAL;
	error = link_drop(topology, from, to);
	return error == -ENOENT ? link_drop(topology, to, from) : error;
}

int blaze_topology_connect_local(struct blaze_topology *topology, const struct blaze_id *from,
                                 const struct blaze_id *to, enum blaze_link_mode mode)
{
	char db_name[BLAZEI_DB_NAME_MAX + 1];
	struct blazei_node *node;
	int error = blazei_topology_usable(topology);

	if (error != 0)
		return error;
	if (from == NULL || to == NULL || blazei_id_equal(from, to))
		return -EINVAL;
	if ((unsigned)mode > BLAZE_LINK_WRITE_ONLY)
		return -EINVAL;
	if (mode != BLAZE_LINK_BIDIRECTIONAL)
		return -EOPNOTSUPP;
	node = blazei_node_pin(topology, from);
	if (node != NULL) {
		error = link_keep(topology, node->db, to, mode);
		blazei_node_unpin(topology, node);
		return error;
	}
	node = blazei_node_pin(topology, to);
	if (node != NULL) {
		error = link_keep(topology, node->db, from, mode);
		blazei_node_unpin(topology, node);
		return error;
	}
	/* Both foreign; known to exist or not. */
	if (blazei_found_load(topology, from, db_name) == 0 &&
	    blazei_found_load(topology, to, db_name) == 0)
		return -EINVAL;
	return -ENOENT;
}
