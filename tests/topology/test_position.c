/* SPDX-License-Identifier: Apache-2.0 */
/* Positions: waiting for one transaction at a node of this process, and of another one. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/base/child.h"
#include "tests/db/node.h"

static struct blaze_position position_of(const struct node *node)
{
	struct blaze_position position;

	ck_assert_int_eq(blaze_db_position(node->db, &position), 0);
	return position;
}

static int wait_at(const struct node *node, const struct blaze_id *where,
                   const struct blaze_position *position, uint64_t timeout_ns)
{
	return blaze_topology_wait_position(node->topology, where, position, BLAZE_REACHED_APPLIED,
	                                    timeout_ns);
}

/* Boards seem to be in the middle of a change. */
static _Atomic bool changing;
static atomic_uint changing_looks;

int __real_blazei_board_read(const struct blazei_board *board, uint64_t bytes,
                             uint64_t *ret_version, struct blazei_board_description *ret_text);
int __wrap_blazei_board_read(const struct blazei_board *board, uint64_t bytes,
                             uint64_t *ret_version, struct blazei_board_description *ret_text);

int __wrap_blazei_board_read(const struct blazei_board *board, uint64_t bytes,
                             uint64_t *ret_version, struct blazei_board_description *ret_text)
{
	if (!atomic_load(&changing))
		return __real_blazei_board_read(board, bytes, ret_version, ret_text);
	atomic_fetch_add(&changing_looks, 1);
	return -EAGAIN;
}

static void *change_end(void *arg)
{
	blazei_sleep_ns(100 * BLAZEI_NS_PER_MS);
	atomic_store(&changing, false);
	return arg;
}

/* A link that has just been made is on a board that does not hold still: the wait is for what comes
 * by it all the same. */
START_TEST(wait_is_for_what_comes_by_a_link_just_made)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a"), b = node_open(name, "b");
	pthread_t thread;

	for (unsigned i = 0; i < 100; i++)
		node_insert(&a, "n", i, NULL);
	node_wait(&b);
	ck_assert_int_eq(blaze_db_count(b.db), 0);
	nodes_link(&a, &b);
	/* Nobody reads them anew meanwhile. */
	blazei_db_poll_lock(b.db);
	for (unsigned i = 0; i < b.db->census.count; i++) {
		b.db->census.members[i].text->link_count = 0;
		b.db->census.members[i].version = 0;
		b.db->census.changed = true;
	}
	atomic_store(&changing, true);
	blazei_db_poll_unlock(b.db);
	ck_assert_int_eq(pthread_create(&thread, NULL, change_end, NULL), 0);
	node_wait(&b);
	pthread_join(thread, NULL);
	ck_assert_uint_gt(atomic_load(&changing_looks), 0);
	ck_assert_int_eq(blaze_db_count(b.db), 100);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(position_follows_the_commits)
{
	struct node a = node_open(unique_name(), "a");
	struct blaze_position position = position_of(&a);
	struct blaze_id id;

	ck_assert_mem_eq(&position.node, &a.id, sizeof(a.id));
	ck_assert_uint_eq(position.incarnation, a.db->self.incarnation);
	ck_assert_uint_eq(position.seq, 0);
	ck_assert_int_eq(wait_at(&a, &a.id, &position, 0), 0);
	node_insert(&a, "n", 1, &id);
	node_update(&a, &id, "n", 2);
	node_update(&a, &id, "n", 2); /* no write */
	position = position_of(&a);
	ck_assert_uint_eq(position.seq, 2);
	ck_assert_int_eq(wait_at(&a, &a.id, &position, 0), 0);
	position.seq++;
	/* A node can't wait for what it has not written. */
	ck_assert_int_eq(wait_at(&a, &a.id, &position, WAIT_NS), -EHOSTUNREACH);
	node_close(&a);
}
END_TEST

START_TEST(position_is_waited_for_at_a_local_node)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a");
	struct node b = node_open(name, "b");
	struct blaze_position position;
	struct blaze_id id;

	nodes_link(&a, &b);
	node_insert(&a, "n", 0, &id);
	for (int i = 1; i <= 100; i++) {
		node_update(&a, &id, "n", i);
		position = position_of(&a);
		ck_assert_int_eq(wait_at(&b, &b.id, &position, WAIT_NS), 0);
		ck_assert_int_ge(node_value(&b, &id, "n"), i);
	}
	/* The way of a program that only wrote: to the other's node, through its own topology. */
	ck_assert_int_eq(wait_at(&a, &b.id, &position, WAIT_NS), 0);
	position.seq++;
	ck_assert_int_eq(wait_at(&b, &b.id, &position, 0), -ETIMEDOUT);
	ck_assert_int_eq(wait_at(&b, &b.id, &position, 20 * BLAZEI_NS_PER_MS), -ETIMEDOUT);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(position_out_of_reach_is_an_error)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a");
	struct node b = node_open(name, "b");
	struct node c = node_open(name, "c");
	struct blaze_position position;
	struct blaze_id id;

	node_insert(&a, "n", 0, &id);
	position = position_of(&a);
	ck_assert_int_eq(wait_at(&b, &b.id, &position, BLAZE_FOREVER), -EHOSTUNREACH);
	ck_assert_int_eq(wait_at(&a, &b.id, &position, BLAZE_FOREVER), -EHOSTUNREACH);
	/* Through a third node it is reached. */
	nodes_link(&a, &c);
	nodes_link(&c, &b);
	ck_assert_int_eq(wait_at(&b, &b.id, &position, WAIT_NS), 0);
	/* Another run of the same node wrote nothing that anybody has. */
	position.incarnation++;
	ck_assert_int_eq(wait_at(&b, &b.id, &position, BLAZE_FOREVER), -EHOSTUNREACH);
	node_close(&a);
	node_close(&b);
	node_close(&c);
}
END_TEST

/* Whose writer has gone can still come from those who have it. */
START_TEST(position_of_a_node_that_left_comes_from_others)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a");
	struct node b = node_open(name, "b");
	struct node c;
	struct blaze_position position;
	struct blaze_id id;

	nodes_link(&a, &b);
	node_insert(&a, "n", 7, &id);
	position = position_of(&a);
	ck_assert_int_eq(wait_at(&b, &b.id, &position, WAIT_NS), 0);
	node_close(&a);
	c = node_open(name, "c");
	nodes_link(&b, &c);
	ck_assert_int_eq(wait_at(&c, &c.id, &position, WAIT_NS), 0);
	ck_assert_int_eq(node_value(&c, &id, "n"), 7);
	node_close(&b);
	node_close(&c);
}
END_TEST

START_TEST(position_invalid_arguments_are_refused)
{
	struct node a = node_open(unique_name(), "a");
	struct blaze_position position = position_of(&a);
	struct blaze_id nobody = { { 9 } };

	ck_assert_int_eq(blaze_db_position(NULL, &position), -EINVAL);
	ck_assert_int_eq(blaze_db_position(a.db, NULL), -EINVAL);
	ck_assert_int_eq(wait_at(&a, &nobody, &position, 0), -ENOENT);
	ck_assert_int_eq(wait_at(&a, NULL, &position, 0), -EINVAL);
	ck_assert_int_eq(wait_at(&a, &a.id, NULL, 0), -EINVAL);
	ck_assert_int_eq(blaze_topology_wait_position(NULL, &a.id, &position, 0, 0), -EINVAL);
	ck_assert_int_eq(blaze_topology_wait_position(a.topology, &a.id, &position,
	                                              BLAZE_REACHED_DURABLE, 0),
	                 -EOPNOTSUPP);
	ck_assert_int_eq(blaze_topology_wait_position(a.topology, &a.id, &position, 2, 0), -EINVAL);
	node_close(&a);
}
END_TEST

/* Another process: a node that follows until it is told to end. */
static pid_t follower_start(const char *name)
{
	pid_t child = child_fork();

	if (child == 0) {
		struct node node = node_open(name, "follower");
		struct blaze_id peer;

		if (blaze_topology_find(node.topology, name, "writer", WAIT_NS, &peer) != 0 ||
		    blaze_topology_connect_local(node.topology, &node.id, &peer,
		                                 BLAZE_LINK_BIDIRECTIONAL) != 0)
			_exit(1);
		for (;;)
			pause();
	}
	return child;
}

START_TEST(position_is_waited_for_at_a_node_of_another_process)
{
	char name[62];
	struct blaze_position position;
	struct blaze_id id, follower;
	struct node a;
	pid_t child;
	int status;

	snprintf(name, sizeof(name), "%s", unique_name());
	child = follower_start(name);
	a = node_open(name, "writer");
	ck_assert_int_eq(blaze_topology_find(a.topology, name, "follower", WAIT_NS, &follower), 0);
	node_insert(&a, "n", 0, &id);
	/* The other process links the two at some time. */
	do {
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
		position = position_of(&a);
		status = wait_at(&a, &follower, &position, WAIT_NS);
	} while (status == -EHOSTUNREACH);
	ck_assert_int_eq(status, 0);
	for (int i = 1; i <= 50; i++) {
		node_update(&a, &id, "n", i);
		position = position_of(&a);
		ck_assert_int_eq(wait_at(&a, &follower, &position, WAIT_NS), 0);
	}
	/* Stopped, it does not apply; woken it does; killed it is gone. */
	ck_assert_int_eq(kill(child, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(child, &status, WUNTRACED), child);
	node_update(&a, &id, "n", 51);
	position = position_of(&a);
	ck_assert_int_eq(wait_at(&a, &follower, &position, 20 * BLAZEI_NS_PER_MS), -ETIMEDOUT);
	ck_assert_int_eq(kill(child, SIGCONT), 0);
	ck_assert_int_eq(wait_at(&a, &follower, &position, WAIT_NS), 0);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	node_update(&a, &id, "n", 52);
	position = position_of(&a);
	ck_assert_int_eq(wait_at(&a, &follower, &position, WAIT_NS), -ENOENT);
	node_close(&a);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("position");
	TCase *tcase = tcase_create("position");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, wait_is_for_what_comes_by_a_link_just_made);
	tcase_add_test(tcase, position_follows_the_commits);
	tcase_add_test(tcase, position_is_waited_for_at_a_local_node);
	tcase_add_test(tcase, position_out_of_reach_is_an_error);
	tcase_add_test(tcase, position_of_a_node_that_left_comes_from_others);
	tcase_add_test(tcase, position_invalid_arguments_are_refused);
#if !defined(__SANITIZE_THREAD__)
	tcase_add_test(tcase, position_is_waited_for_at_a_node_of_another_process);
#endif
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
