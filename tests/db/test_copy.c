/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of a directory is a node of its own: what is written to it and to its original is merged
 * where they meet, whatever either of them has forgotten of the time before. */
#include <stdlib.h>
#include <sys/wait.h>

#include "lib/store/log.h"
#include "tests/base/child.h"
#include "tests/db/origins.h"
#include "tests/db/stored.h"

#define EARLY 10u /* openings before the copy is made */
#define FEW   5u  /* after it, of one that keeps its incarnations apart */
#define MANY  70u /* and of one that retires them */

static struct blaze_id id_of(unsigned number, unsigned i)
{
	return (struct blaze_id){ { 1, (uint8_t)number, (uint8_t)i } };
}

static unsigned value_of(unsigned number, unsigned i)
{
	return number * 1000 + i;
}

/* One that all write to. */
static const struct blaze_id shared_id = { { 2 } };

static void put(struct blaze_db *db, const struct blaze_id *id, unsigned value)
{
	ck_assert_int_eq(blaze_db_put(db, id, &value, sizeof(value)), 0);
}

/* Programs that open it, write, and end without closing it. */
static void programs_run(const char *name, unsigned directory, unsigned number, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const pid_t pid = child_fork();
		int status;

		if (pid == 0) {
			struct blaze_db *db = stored_open(name, directory, 0, BLAZE_DB_MANUAL);
			const struct blaze_id id = id_of(number, i);

			put(db, &id, value_of(number, i));
			put(db, &shared_id, value_of(number, i));
			_exit(0);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
	}
}

static void assert_has(struct blaze_db *db, unsigned number, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct blaze_id id = id_of(number, i);
		unsigned value = 0;

		ck_assert_int_eq(blaze_db_fetch(db, &id, &value, sizeof(value)), sizeof(value));
		ck_assert_uint_eq(value, value_of(number, i));
	}
}

static struct blaze_id node_in(const char *name, unsigned directory)
{
	struct blaze_db *db = stored_open(name, directory, 0, BLAZE_DB_MANUAL);
	const struct blaze_id node = db->self.node;

	assert_has(db, 0, 1);
	ck_assert_int_eq(blaze_db_close(db), 0);
	return node;
}

static bool same(const struct blaze_id *a, const struct blaze_id *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* Waits until they are. */
static void equal_await(const struct node *a, const struct node *b)
{
	uint8_t hash_a[16], hash_b[16];
	uint64_t until_ns = 0;

	do {
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
		ck_assert_int_eq(blaze_db_hash(a->db, hash_a), 0);
		ck_assert_int_eq(blaze_db_hash(b->db, hash_b), 0);
	} while (memcmp(hash_a, hash_b, sizeof(hash_a)) != 0 && time_is_left(&until_ns));
	nodes_assert_equal(a, b);
}

START_TEST(copy_is_another_node)
{
	const char *name = unique_name();
	struct blaze_id node, other;

	programs_run(name, 0, 0, 1);
	node = node_in(name, 0);
	dir_copy(stored_path(0), stored_path(1));
	other = node_in(name, 1);
	ck_assert(!same(&node, &other));
	/* Once. */
	node = node_in(name, 1);
	ck_assert(same(&node, &other));
	ck_assert_int_eq(rename(stored_path(1), stored_path(2)), 0);
	node = node_in(name, 2);
	ck_assert(same(&node, &other));
	/* The original may come back to where it was, as the copy of a copy. */
	node = node_in(name, 0);
	dir_copy(stored_path(0), stored_path(3));
	stored_clear(0);
	dir_copy(stored_path(3), stored_path(0));
	other = node_in(name, 0);
	ck_assert(!same(&node, &other));
}
END_TEST

START_TEST(backup_is_another_node_and_no_server)
{
	const char *name = unique_name();
	struct node server = { .db = stored_open(name, 0, 0, 0) }, restored;
	struct blaze_id id = id_of(0, 0), other;

	ck_assert_int_eq(blaze_topology_new(&server.topology), 0);
	ck_assert_int_eq(blaze_topology_register(server.topology, server.db, "a", BLAZE_ROLE_SERVER,
	                                         &server.id),
	                 0);
	put(server.db, &id, value_of(0, 0));
	ck_assert_int_eq(blaze_db_backup(server.db, stored_path(1)), 0);
	ck_assert_uint_eq(blazei_store_role(server.db->store), BLAZE_ROLE_SERVER);
	restored.db = stored_open(name, 1, 0, BLAZE_DB_MANUAL);
	ck_assert_uint_eq(blazei_store_role(restored.db->store), BLAZE_ROLE_PEER);
	ck_assert_int_eq(blaze_db_close(restored.db), 0);
	other = node_in(name, 1);
	ck_assert(!same(&server.db->self.node, &other));
	restored = stored_node(name, 1, 0);
	/* It knows the other one's word, and that it is another's. */
	put(restored.db, &id, 1);
	put(server.db, &id, 2);
	stored_link(&server, &restored);
	equal_await(&server, &restored);
	id = id_of(1, 0);
	put(restored.db, &id, value_of(1, 0));
	node_wait(&server);
	assert_has(server.db, 1, 1);
	node_close(&restored);
	node_close(&server);
}
END_TEST

START_TEST(copy_that_is_looked_at_stays_as_it_is)
{
	const char *name = unique_name();
	struct blaze_id node;
	struct blaze_db *db;

	programs_run(name, 0, 0, 1);
	node = node_in(name, 0);
	dir_copy(stored_path(0), stored_path(1));
	db = stored_open(name, 1, 0, BLAZE_DB_READ_ONLY | BLAZE_DB_MANUAL);
	ck_assert(same(&node, &db->self.node));
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

/* The original and its copy meet by turns with a third one. _i: who of them comes first; who has
 * been opened so often that it retired its incarnations; who was written to later. */
START_TEST(both_are_written_to)
{
	const char *name = unique_name();
	const unsigned first = (unsigned)_i % 2;
	const unsigned by_original = _i & 2 ? FEW : MANY, by_copy = _i & 2 ? MANY : FEW;
	struct node third;

	programs_run(name, 0, 0, EARLY);
	dir_copy(stored_path(0), stored_path(1));
	if (_i & 4)
		programs_run(name, 1, 2, by_copy);
	programs_run(name, 0, 1, by_original);
	if (!(_i & 4))
		programs_run(name, 1, 2, by_copy);
	third = stored_node(name, 2, 0);
	for (unsigned round = 0; round < 4; round++) {
		struct node node = stored_node(name, (first + round) % 2, 0);

		stored_link(&third, &node);
		equal_await(&third, &node);
		if (round > 1) {
			assert_has(node.db, 0, EARLY);
			assert_has(node.db, 1, by_original);
			assert_has(node.db, 2, by_copy);
		}
		node_close(&node);
	}
	node_close(&third);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("copy");
	TCase *tcase = tcase_create("copy");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, stored_setup, stored_teardown);
	tcase_set_timeout(tcase, 600);
	tcase_add_test(tcase, copy_is_another_node);
	tcase_add_test(tcase, backup_is_another_node_and_no_server);
	tcase_add_test(tcase, copy_that_is_looked_at_stays_as_it_is);
	tcase_add_loop_test(tcase, both_are_written_to, 0, 8);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
