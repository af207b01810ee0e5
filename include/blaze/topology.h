/* SPDX-License-Identifier: Apache-2.0 */
/* Topologies: which database hears which; see blaze_topology(3).
 *
 * A database registered under a name and a role is a node. Links join nodes; a write reaches every
 * node that links lead to, and nothing is relayed on a ring that is already there. Every call is
 * safe from any thread. In this version nodes are on one host and links are bidirectional. */
#ifndef BLAZE_TOPOLOGY_H
#define BLAZE_TOPOLOGY_H

#include <stdint.h>

#include <blaze/base.h>
#include <blaze/db.h>

#ifdef __cplusplus
extern "C" {
#endif

struct blaze_topology;

enum blaze_role {
	BLAZE_ROLE_PEER,
	BLAZE_ROLE_SERVER, /* its writes beat every write that had not seen them */
	BLAZE_ROLE_CLIENT,
};

enum blaze_link_mode {
	BLAZE_LINK_BIDIRECTIONAL,
	BLAZE_LINK_READ_ONLY,
	BLAZE_LINK_WRITE_ONLY,
};

/* The process's own topology, made at the first call and never freed; NULL only without memory. */
BLAZE_EXPORT struct blaze_topology *blaze_topology_shared(void);

BLAZE_EXPORT int blaze_topology_new(struct blaze_topology **ret_topology);

/* Unregisters every node of it. The shared topology and NULL are ignored. */
BLAZE_EXPORT void blaze_topology_free(struct blaze_topology *topology);

/* Makes db a node. NAME is 1 to 64 bytes of UTF-8, need not be unique. -EBUSY: db is a node
 * already; -EROFS: it is open to be read only, or its disk has failed; -EINVAL. The role of a
 * database with a store is durable on return; errors of the store. */
BLAZE_EXPORT int blaze_topology_register(struct blaze_topology *topology, struct blaze_db *db,
                                         const char *name, enum blaze_role role,
                                         struct blaze_id *ret_node);

/* Ends that: the database stops replicating and may be closed. -ENOENT: no node of this topology.
 */
BLAZE_EXPORT int blaze_topology_unregister(struct blaze_topology *topology,
                                           const struct blaze_id *node);

/* Finds a live node by its name and its database's, in any process of this host, waiting up to
 * timeout_ns for it to appear. -ETIMEDOUT (-ENOENT where the timeout is 0); -EEXIST: several have
 * that name. Needs no database of one's own. */
BLAZE_EXPORT int blaze_topology_find(struct blaze_topology *topology, const char *db_name,
                                     const char *node_name, uint64_t timeout_ns,
                                     struct blaze_id *ret_node);

/* Links two live nodes of one database on this host, at least one of them in this topology.
 * -ENOENT: no such node; -EINVAL: different databases, the same node twice, or both foreign;
 * -EEXIST: linked already; -ENOSPC: a node keeps at most 256 links, not counting those to nodes
 * that have been gone for some seconds and join nobody; -EPROTO: the other node has another policy
 * or version; -EOPNOTSUPP: a mode other than bidirectional. */
BLAZE_EXPORT int blaze_topology_connect_local(struct blaze_topology *topology,
                                              const struct blaze_id *from,
                                              const struct blaze_id *to, enum blaze_link_mode mode);

/* Removes the link between two nodes, whichever end declared it, if a node of this topology keeps
 * it; the other one may have died. -ENOENT: none such; -EINVAL: the same node twice. */
BLAZE_EXPORT int blaze_topology_disconnect(struct blaze_topology *topology,
                                           const struct blaze_id *from, const struct blaze_id *to);

/* Waits until the node has applied everything that every live node whose data can reach it had
 * committed before the call. 0; -ETIMEDOUT; -ENOENT; -EDEADLK in a watch's callback. */
BLAZE_EXPORT int blaze_topology_wait(struct blaze_topology *topology, const struct blaze_id *node,
                                     uint64_t timeout_ns);

enum blaze_reached {
	BLAZE_REACHED_APPLIED, /* readers there see it */
	BLAZE_REACHED_DURABLE, /* and the node's store has it for good */
};

/* Waits until the node, of this process or another, has applied the transaction of that position
 * (blaze_db_position) and so all before it. 0; -ETIMEDOUT; -ENOENT no such node, or it has gone;
 * -EHOSTUNREACH: no links lead there from its writer nor from any other node that has it;
 * -EOPNOTSUPP: DURABLE of a node without a store; -EDEADLK in a watch's callback. */
BLAZE_EXPORT int blaze_topology_wait_position(struct blaze_topology *topology,
                                              const struct blaze_id *node,
                                              const struct blaze_position *position,
                                              enum blaze_reached level, uint64_t timeout_ns);

#ifdef __cplusplus
}
#endif

#endif
