/* SPDX-License-Identifier: Apache-2.0 */
/* The example of blaze_db_position(3): a write that is acknowledged once the server has it. */
#include <stdio.h>
#include <unistd.h>

#include <blaze/blaze.h>

#define SECOND UINT64_C(1000000000)

static int node_open(const char *name, const char *node_name, enum blaze_role role,
                     struct blaze_db **ret_db, struct blaze_id *ret_node)
{
	int r = blaze_db_open(name, NULL, NULL, ret_db);

	if (r == 0)
		r = blaze_topology_register(blaze_topology_shared(), *ret_db, node_name, role,
		                            ret_node);
	return r;
}

/* Inserts a record and returns when the server has applied it. */
static int insert_at_server(struct blaze_db *db, const struct blaze_id *server,
                            const struct blaze_record *record)
{
	struct blaze_position position;
	struct blaze_id id;
	int r = blaze_db_insert(db, record, &id);

	if (r == 0)
		r = blaze_db_position(db, &position);
	if (r == 0)
		r = blaze_topology_wait_position(blaze_topology_shared(), server, &position,
		                                 BLAZE_REACHED_APPLIED, 10 * SECOND);
	return r;
}

int main(void)
{
	struct blaze_topology *shared = blaze_topology_shared();
	struct blaze_db *mac, *server;
	struct blaze_id mac_node, server_node;
	struct blaze_record *record;
	char name[40];
	int r;

	/* In one process here; the server may as well be in another one. */
	snprintf(name, sizeof(name), "position.%d", (int)getpid());
	r = node_open(name, "Mac", BLAZE_ROLE_CLIENT, &mac, &mac_node);
	if (r == 0)
		r = node_open(name, "Server", BLAZE_ROLE_SERVER, &server, &server_node);
	if (r == 0)
		r = blaze_topology_connect_local(shared, &mac_node, &server_node,
		                                 BLAZE_LINK_BIDIRECTIONAL);
	if (r == 0)
		r = blaze_record_from_json("{\"title\":\"hello\"}", 17, &record);
	if (r == 0)
		r = insert_at_server(mac, &server_node, record);
	if (r < 0) {
		fprintf(stderr, "%s\n", blaze_strerror(r));
		return 1;
	}
	printf("the server has %lld record\n", (long long)blaze_db_count(server));
	r = blaze_db_count(server) == 1 ? 0 : 1;
	blaze_record_free(record);
	blaze_topology_unregister(shared, &mac_node);
	blaze_topology_unregister(shared, &server_node);
	blaze_db_close(mac);
	blaze_db_close(server);
	return r;
}
