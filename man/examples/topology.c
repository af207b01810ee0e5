/* SPDX-License-Identifier: Apache-2.0 */
/* The example of blaze_topology(3): two processes whose databases follow each other. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <blaze/blaze.h>

#define SECOND UINT64_C(1000000000)

/* Opens a database and makes it a node. */
static int node_open(const char *name, const char *node_name, enum blaze_role role,
                     struct blaze_db **ret_db, struct blaze_id *ret_node)
{
	int r = blaze_db_open(name, NULL, NULL, ret_db);

	if (r < 0)
		return r;
	r = blaze_topology_register(blaze_topology_shared(), *ret_db, node_name, role, ret_node);
	if (r < 0)
		blaze_db_close(*ret_db);
	return r;
}

static void node_close(struct blaze_db *db, const struct blaze_id *node)
{
	blaze_topology_unregister(blaze_topology_shared(), node);
	blaze_db_close(db);
}

/* Inserts a record, then waits until the server has it. */
static int client(const char *name)
{
	struct blaze_topology *shared = blaze_topology_shared();
	struct blaze_id node, server, bug;
	struct blaze_record *record;
	struct blaze_db *db;
	int r = node_open(name, "Mac", BLAZE_ROLE_CLIENT, &db, &node);

	if (r < 0)
		return r;
	r = blaze_topology_find(shared, name, "Server", 10 * SECOND, &server);
	if (r == 0)
		r = blaze_topology_connect_local(shared, &node, &server, BLAZE_LINK_BIDIRECTIONAL);
	if (r == 0)
		r = blaze_record_from_json("{\"title\":\"hello\"}", 17, &record);
	if (r == 0) {
		r = blaze_db_insert(db, record, &bug);
		blaze_record_free(record);
	}
	if (r == 0)
		r = blaze_topology_wait(shared, &server, 10 * SECOND);
	node_close(db, &node);
	return r;
}

int main(void)
{
	struct blaze_id node;
	struct blaze_db *db;
	char name[32];
	int r, status = 1;
	pid_t pid;

	/* Handles do not survive a fork: the child comes before them. */
	snprintf(name, sizeof(name), "example-%d", (int)getpid());
	pid = fork();
	if (pid == 0)
		_exit(client(name) == 0 ? 0 : 1);
	r = node_open(name, "Server", BLAZE_ROLE_SERVER, &db, &node);
	if (pid > 0)
		waitpid(pid, &status, 0);
	if (r < 0) {
		fprintf(stderr, "server: %s\n", blaze_strerror(r));
		return 1;
	}
	printf("%lld record came\n", (long long)blaze_db_count(db));
	r = blaze_db_count(db) == 1 && status == 0 ? 0 : 1;
	node_close(db, &node);
	return r;
}
