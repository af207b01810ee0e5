/* SPDX-License-Identifier: Apache-2.0 */
/* Topologies: registering, finding, linking and waiting, each with its errors. */
#include <stdlib.h>

#include "tests/db/node.h"

START_TEST(topology_register_invalid_or_twice_is_refused)
{
	struct node node = node_open(unique_name(), "a");
	struct blaze_topology *other;
	struct blaze_db *db;
	struct blaze_id id;
	char name[66];

	ck_assert_int_eq(blaze_topology_new(&other), 0);
	ck_assert_int_eq(blaze_topology_register(other, node.db, "b", BLAZE_ROLE_PEER, &id),
	                 -EBUSY);
	ck_assert_int_eq(blaze_topology_register(node.topology, node.db, "b", BLAZE_ROLE_PEER, &id),
	                 -EBUSY);
	ck_assert_int_eq(blaze_db_open(unique_name(), NULL, NULL, &db), 0);
	memset(name, 'x', 65);
	name[65] = '\0';
	ck_assert_int_eq(blaze_topology_register(other, db, name, BLAZE_ROLE_PEER, &id), -EINVAL);
	ck_assert_int_eq(blaze_topology_register(other, db, "", BLAZE_ROLE_PEER, &id), -EINVAL);
	ck_assert_int_eq(blaze_topology_register(other, db, "\xff", BLAZE_ROLE_PEER, &id), -EINVAL);
	ck_assert_int_eq(blaze_topology_register(other, db, NULL, BLAZE_ROLE_PEER, &id), -EINVAL);
	ck_assert_int_eq(blaze_topology_register(other, db, "b", 3, &id), -EINVAL);
	ck_assert_int_eq(blaze_topology_register(other, NULL, "b", BLAZE_ROLE_PEER, &id), -EINVAL);
	ck_assert_int_eq(blaze_topology_register(NULL, db, "b", BLAZE_ROLE_PEER, &id), -EINVAL);
	name[64] = '\0';
	ck_assert_int_eq(blaze_topology_register(other, db, name, BLAZE_ROLE_PEER, NULL), 0);
	ck_assert_int_eq(blaze_topology_unregister(other, &node.id), -ENOENT);
	blaze_topology_free(other);
	ck_assert_int_eq(blaze_db_close(db), 0);
	node_close(&node);
	blaze_topology_free(NULL);
}
END_TEST

START_TEST(topology_shared_is_one_and_survives_free)
{
	struct blaze_topology *shared = blaze_topology_shared();
	struct blaze_db *db;
	struct blaze_id id;

	ck_assert_ptr_nonnull(shared);
	blaze_topology_free(shared);
	ck_assert_ptr_eq(blaze_topology_shared(), shared);
	ck_assert_int_eq(blaze_db_open(unique_name(), NULL, NULL, &db), 0);
	ck_assert_int_eq(blaze_topology_register(shared, db, "a", BLAZE_ROLE_PEER, &id), 0);
	ck_assert_int_eq(blaze_topology_unregister(shared, &id), 0);
	/* A node may come back. */
	ck_assert_int_eq(blaze_topology_register(shared, db, "a", BLAZE_ROLE_CLIENT, &id), 0);
	ck_assert_int_eq(blaze_topology_unregister(shared, &id), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(topology_find_by_name_in_any_topology)
{
	const char *name = unique_name();
	struct blaze_topology *other;
	struct blaze_id found;
	struct node node;

	ck_assert_int_eq(blaze_topology_new(&other), 0);
	ck_assert_int_eq(blaze_topology_find(other, name, "a", 0, &found), -ENOENT);
	ck_assert_int_eq(blaze_topology_find(other, name, "a", BLAZEI_NS_PER_MS, &found),
	                 -ETIMEDOUT);
	node = node_open(name, "a");
	ck_assert_int_eq(blaze_topology_find(other, name, "a", WAIT_NS, &found), 0);
	ck_assert_mem_eq(&found, &node.id, sizeof(found));
	ck_assert_int_eq(blaze_topology_find(other, name, "b", 0, &found), -ENOENT);
	ck_assert_int_eq(blaze_topology_find(other, "a/b", "b", 0, &found), -EINVAL);
	ck_assert_int_eq(blaze_topology_find(other, name, "", 0, &found), -EINVAL);
	ck_assert_int_eq(blaze_topology_find(other, name, "a", 0, NULL), -EINVAL);
	blaze_topology_free(other);
	node_close(&node);
}
END_TEST

START_TEST(topology_find_of_an_ambiguous_name_says_so)
{
	const char *name = unique_name();
	struct node a = node_open(name, "twin"), b = node_open(name, "twin");
	struct blaze_id found;

	ck_assert_int_eq(blaze_topology_find(a.topology, name, "twin", 0, &found), -EEXIST);
	node_close(&b);
	ck_assert_int_eq(blaze_topology_find(a.topology, name, "twin", 0, &found), 0);
	ck_assert_mem_eq(&found, &a.id, sizeof(found));
	node_close(&a);
}
END_TEST

struct later {
	const char *name;
	struct node node;
};

static void *open_later(void *arg)
{
	struct later *later = arg;

	blazei_sleep_ns(20 * BLAZEI_NS_PER_MS);
	later->node = node_open(later->name, "late");
	return NULL;
}

START_TEST(topology_find_waits_for_a_node_to_appear)
{
	struct blaze_topology *topology;
	struct later later = { .name = unique_name() };
	struct blaze_id found;
	pthread_t thread;

	ck_assert_int_eq(blaze_topology_new(&topology), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, open_later, &later), 0);
	ck_assert_int_eq(blaze_topology_find(topology, later.name, "late", WAIT_NS, &found), 0);
	pthread_join(thread, NULL);
	ck_assert_mem_eq(&found, &later.node.id, sizeof(found));
	blaze_topology_free(topology);
	node_close(&later.node);
}
END_TEST

static int connect_nodes(const struct node *by, const struct node *from, const struct node *to)
{
	return blaze_topology_connect_local(by->topology, &from->id, &to->id,
	                                    BLAZE_LINK_BIDIRECTIONAL);
}

START_TEST(topology_connect_errors_are_told_apart)
{
	const char *name = unique_name(), *other_name;
	struct node a = node_open(name, "a"), b = node_open(name, "b"), c = node_open(name, "c");
	struct node foreign, nobody = a;
	struct blaze_id found;

	other_name = strdup(name);
	foreign = node_open(unique_name(), "f");
	nobody.id.bytes[15] ^= 1;
	ck_assert_int_eq(connect_nodes(&a, &a, &a), -EINVAL);
	ck_assert_int_eq(connect_nodes(&a, &a, &nobody), -ENOENT);
	ck_assert_int_eq(connect_nodes(&a, &nobody, &a), -ENOENT);
	ck_assert_int_eq(
	        blaze_topology_connect_local(a.topology, &a.id, &b.id, BLAZE_LINK_READ_ONLY),
	        -EOPNOTSUPP);
	ck_assert_int_eq(blaze_topology_connect_local(a.topology, &a.id, &b.id, 3), -EINVAL);
	ck_assert_int_eq(blaze_topology_connect_local(a.topology, NULL, &b.id, 0), -EINVAL);
	/* Neither is of a's topology. */
	ck_assert_int_eq(connect_nodes(&a, &b, &c), -ENOENT);
	ck_assert_int_eq(blaze_topology_find(a.topology, other_name, "b", 0, &found), 0);
	ck_assert_int_eq(blaze_topology_find(a.topology, other_name, "c", 0, &found), 0);
	ck_assert_int_eq(connect_nodes(&a, &b, &c), -EINVAL);
	/* A node of another database. */
	ck_assert_int_eq(connect_nodes(&a, &a, &foreign), -ENOENT);
	ck_assert_int_eq(blaze_topology_find(a.topology, foreign.db->name, "f", 0, &found), 0);
	ck_assert_int_eq(connect_nodes(&a, &a, &foreign), -EINVAL);
	ck_assert_int_eq(connect_nodes(&a, &a, &b), 0);
	ck_assert_int_eq(connect_nodes(&a, &a, &b), -EEXIST);
	ck_assert_int_eq(connect_nodes(&a, &b, &a), -EEXIST);
	ck_assert_int_eq(connect_nodes(&b, &b, &a), -EEXIST);
	/* Kept by `to`, where only that is local. */
	ck_assert_int_eq(connect_nodes(&c, &b, &c), 0);
	ck_assert_uint_eq(c.db->text.link_count, 1);
	node_close(&a);
	node_close(&b);
	node_close(&c);
	node_close(&foreign);
	free((char *)other_name);
}
END_TEST

/* Adds links that nobody else knows of, until so many are kept. */
static void links_fill(const struct node *node, uint32_t count)
{
	for (uint32_t i = node->db->text.link_count; i < count; i++) {
		const struct blaze_id id = { .bytes = { 1, (uint8_t)i } };

		ck_assert_int_eq(blazei_db_link(node->db, &id, BLAZE_LINK_BIDIRECTIONAL), 0);
	}
}

static bool links_to(const struct node *node, const struct blaze_id *other)
{
	for (uint32_t i = 0; i < node->db->text.link_count; i++)
		if (blazei_id_equal(&node->db->text.links[i].node, other))
			return true;
	return false;
}

/* Until what is gone makes way. */
static void gone_await(void)
{
	blazei_sleep_ns(3 * BLAZEI_NS_PER_S + 300 * BLAZEI_NS_PER_MS);
}

START_TEST(topology_more_than_256_links_are_refused)
{
	struct node a = node_open(unique_name(), "a"), b = node_open(a.db->name, "b");

	links_fill(&a, BLAZEI_BOARD_LINKS_MAX);
	ck_assert_int_eq(connect_nodes(&a, &a, &b), -ENOSPC);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(topology_nodes_that_come_and_go_leave_room_for_links)
{
	struct blaze_db_options small = BLAZE_DB_OPTIONS_INIT;
	struct node hub = node_open(unique_name(), "hub");
	const unsigned rounds = 2 * BLAZEI_BOARD_LINKS_MAX;

	small.lane_bytes = 64u << 10;
	for (unsigned i = 0; i < rounds; i++) {
		struct node guest = node_open_with(hub.db->name, "guest", BLAZE_ROLE_PEER, &small);

		if (i == BLAZEI_BOARD_LINKS_MAX) {
			ck_assert_uint_eq(hub.db->text.link_count, BLAZEI_BOARD_LINKS_MAX);
			gone_await();
		}
		ck_assert_int_eq(connect_nodes(&hub, &hub, &guest), 0);
		node_insert(&guest, "n", i, NULL);
		node_wait(&hub);
		node_close(&guest);
	}
	ck_assert_int_eq(blaze_db_count(hub.db), rounds);
	node_close(&hub);
}
END_TEST

START_TEST(topology_gone_node_that_joins_others_keeps_its_links)
{
	struct node a = node_open(unique_name(), "a"), b = node_open(a.db->name, "b");
	struct node between = node_open(a.db->name, "between"), c = node_open(a.db->name, "c");
	const struct blaze_id gone = between.id;

	nodes_link(&a, &between);
	nodes_link(&b, &between);
	links_fill(&a, BLAZEI_BOARD_LINKS_MAX);
	node_close(&between);
	gone_await();
	ck_assert_int_eq(connect_nodes(&a, &a, &c), 0);
	/* That, and the one that joins it to b. */
	ck_assert_uint_eq(a.db->text.link_count, 2);
	ck_assert(links_to(&a, &gone));
	node_insert(&b, "n", 1, NULL);
	node_wait(&a);
	ck_assert_int_eq(blaze_db_count(a.db), 1);
	/* Now b's end of it goes: a's leads nowhere. */
	node_close(&b);
	links_fill(&a, BLAZEI_BOARD_LINKS_MAX);
	gone_await();
	b = node_open(a.db->name, "b");
	ck_assert_int_eq(connect_nodes(&a, &a, &b), 0);
	ck_assert(!links_to(&a, &gone));
	ck_assert(links_to(&a, &c.id));
	ck_assert_uint_eq(a.db->text.link_count, 2);
	node_close(&a);
	node_close(&b);
	node_close(&c);
}
END_TEST

START_TEST(topology_disconnected_nodes_ignore_each_other)
{
	struct node a = node_open(unique_name(), "a"), b = node_open(a.db->name, "b");

	ck_assert_int_eq(blaze_topology_disconnect(a.topology, &a.id, &b.id), -ENOENT);
	ck_assert_int_eq(blaze_topology_disconnect(a.topology, &a.id, &a.id), -EINVAL);
	ck_assert_int_eq(blaze_topology_disconnect(a.topology, NULL, &a.id), -EINVAL);
	ck_assert_int_eq(blaze_topology_disconnect(a.topology, &a.id, NULL), -EINVAL);
	ck_assert_int_eq(blaze_topology_disconnect(NULL, &a.id, &b.id), -EINVAL);
	nodes_link(&a, &b);
	node_insert(&a, "n", 1, NULL);
	node_wait(&b);
	ck_assert_int_eq(blaze_db_count(b.db), 1);
	/* It is a's: b's topology does not have it. */
	ck_assert_int_eq(blaze_topology_disconnect(b.topology, &a.id, &b.id), -ENOENT);
	/* Whichever end is named first. */
	ck_assert_int_eq(blaze_topology_disconnect(a.topology, &b.id, &a.id), 0);
	ck_assert_int_eq(blaze_topology_disconnect(a.topology, &b.id, &a.id), -ENOENT);
	node_insert(&b, "n", 2, NULL);
	node_insert(&b, "n", 3, NULL);
	node_wait(&a);
	blazei_sleep_ns(50 * BLAZEI_NS_PER_MS);
	ck_assert_int_eq(blaze_db_count(a.db), 1);
	nodes_link(&b, &a);
	node_wait(&a);
	ck_assert_int_eq(blaze_db_count(a.db), 3);
	nodes_assert_equal(&a, &b);
	/* One that has died. */
	node_close(&a);
	ck_assert_int_eq(blaze_topology_disconnect(b.topology, &b.id, &a.id), 0);
	ck_assert_uint_eq(b.db->text.link_count, 0);
	node_close(&b);
}
END_TEST

/* Nothing that is written once the call is back. */
START_TEST(topology_disconnected_node_is_not_heard_at_once)
{
	struct node a = node_open(unique_name(), "a"), b = node_open(a.db->name, "b");

	for (unsigned i = 0; i < 30; i++) {
		nodes_link(&a, &b);
		node_insert(&a, "n", i, NULL);
		node_wait(&b);
		ck_assert_int_eq(blaze_db_count(b.db), 2 * i + 1);
		ck_assert_int_eq(blaze_topology_disconnect(a.topology, &a.id, &b.id), 0);
		node_insert(&a, "n", i, NULL);
		blazei_sleep_ns(5 * BLAZEI_NS_PER_MS);
		ck_assert_int_eq(blaze_db_count(b.db), 2 * i + 1);
	}
	node_close(&a);
	node_close(&b);
}
END_TEST

static atomic_bool restless_stop;

/* Shows something else all the time, and writes. */
static void *restless_main(void *arg)
{
	const struct node *node = arg;
	struct blazei_board *board = node->db->link->board;

	for (unsigned i = 0; !atomic_load(&restless_stop); i++) {
		atomic_fetch_add(&board->version, 2);
		if (i % 4096 == 0)
			node_insert(node, "n", i, NULL);
	}
	return NULL;
}

/* Whose board never is what it was when it was read is heard later; the others as ever. */
START_TEST(topology_restless_board_keeps_nobody_else_back)
{
	struct node a = node_open(unique_name(), "a"), b = node_open(a.db->name, "b");
	struct node c = node_open(a.db->name, "c");
	struct blaze_id id;
	pthread_t thread;
	int error = -ENOENT;

	nodes_link(&a, &b);
	nodes_link(&a, &c);
	node_insert(&c, "n", 0, &id);
	node_wait(&a);
	atomic_store(&restless_stop, false);
	ck_assert_int_eq(pthread_create(&thread, NULL, restless_main, &b), 0);
	for (unsigned i = 0; i < 50; i++) {
		struct blaze_record *record = NULL;
		uint64_t until_ns = 0;

		node_insert(&c, "n", i, &id);
		while ((error = blaze_db_get(a.db, &id, &record)) == -ENOENT &&
		       time_is_left(&until_ns))
			blazei_sleep_ns(BLAZEI_NS_PER_MS / 10);
		ck_assert_int_eq(error, 0);
		blaze_record_free(record);
	}
	atomic_store(&restless_stop, true);
	pthread_join(thread, NULL);
	/* Nor is anything of its own lost. */
	node_wait(&a);
	nodes_assert_equal(&a, &b);
	node_close(&a);
	node_close(&b);
	node_close(&c);
}
END_TEST

START_TEST(topology_wait_covers_local_and_foreign_nodes)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a"), b = node_open(name, "b");
	struct blaze_db_options manual = BLAZE_DB_OPTIONS_INIT;
	struct node still, nobody = a;

	manual.flags = BLAZE_DB_MANUAL;
	still = node_open_with(name, "still", BLAZE_ROLE_PEER, &manual);
	nobody.id.bytes[15] ^= 1;
	nodes_link(&a, &b);
	nodes_link(&a, &still);
	for (int i = 0; i < 1000; i++)
		node_insert(&a, "n", i, NULL);
	ck_assert_int_eq(blaze_topology_wait(a.topology, &b.id, WAIT_NS), 0);
	ck_assert_int_eq(blaze_db_count(b.db), 1000);
	/* Nobody pumps it. */
	ck_assert_int_eq(blaze_topology_wait(a.topology, &still.id, BLAZEI_NS_PER_MS), -ETIMEDOUT);
	ck_assert_int_eq(blaze_topology_wait(still.topology, &still.id, 0), -ETIMEDOUT);
	ck_assert_int_eq(blaze_db_pump(still.db, WAIT_NS), 1000);
	ck_assert_int_eq(blaze_topology_wait(still.topology, &still.id, 0), 0);
	ck_assert_int_eq(blaze_topology_wait(a.topology, &nobody.id, 0), -ENOENT);
	ck_assert_int_eq(blaze_topology_wait(a.topology, NULL, 0), -EINVAL);
	node_close(&a);
	node_close(&b);
	node_close(&still);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("topology");
	TCase *tcase = tcase_create("topology");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, topology_register_invalid_or_twice_is_refused);
	tcase_add_test(tcase, topology_shared_is_one_and_survives_free);
	tcase_add_test(tcase, topology_find_by_name_in_any_topology);
	tcase_add_test(tcase, topology_find_of_an_ambiguous_name_says_so);
	tcase_add_test(tcase, topology_find_waits_for_a_node_to_appear);
	tcase_add_test(tcase, topology_connect_errors_are_told_apart);
	tcase_add_test(tcase, topology_more_than_256_links_are_refused);
	tcase_add_test(tcase, topology_nodes_that_come_and_go_leave_room_for_links);
	tcase_add_test(tcase, topology_gone_node_that_joins_others_keeps_its_links);
	tcase_add_test(tcase, topology_disconnected_nodes_ignore_each_other);
	tcase_add_test(tcase, topology_disconnected_node_is_not_heard_at_once);
	tcase_add_test(tcase, topology_restless_board_keeps_nobody_else_back);
	tcase_add_test(tcase, topology_wait_covers_local_and_foreign_nodes);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
