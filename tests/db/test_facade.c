/* SPDX-License-Identifier: Apache-2.0 */
/* The public calls of one database: results, errors, visitors, forks, closing, threads, pumping. */
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/db/node.h"

#define THREADS        3
#define WRITES         3000
#define THREAD_RECORDS 64

/* The thread sanitizer does not let the child of a process with threads start one: there the child
 * pumps. */
#if defined(__SANITIZE_THREAD__)
#define CHILD_FLAGS BLAZE_DB_MANUAL
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CHILD_FLAGS BLAZE_DB_MANUAL
#endif
#endif
#ifndef CHILD_FLAGS
#define CHILD_FLAGS 0
#endif

static struct blaze_db *db_open(uint32_t flags)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_db *db;

	options.flags = flags;
	ck_assert_int_eq(blaze_db_open(unique_name(), NULL, &options, &db), 0);
	return db;
}

START_TEST(facade_open_invalid_arguments_are_refused)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_db *db = NULL;
	char name[63];

	memset(name, 'n', 62);
	name[62] = '\0';
	ck_assert_int_eq(blaze_db_open(NULL, NULL, NULL, &db), -EINVAL);
	ck_assert_int_eq(blaze_db_open("", NULL, NULL, &db), -EINVAL);
	ck_assert_int_eq(blaze_db_open(".x", NULL, NULL, &db), -EINVAL);
	ck_assert_int_eq(blaze_db_open("a/b", NULL, NULL, &db), -EINVAL);
	ck_assert_int_eq(blaze_db_open(name, NULL, NULL, &db), -EINVAL);
	ck_assert_int_eq(blaze_db_open("x", NULL, NULL, NULL), -EINVAL);
	options.store = "file:";
	ck_assert_int_eq(blaze_db_open("x", NULL, &options, &db), -EINVAL);
	options.store = "mem:";
	options.durability = BLAZE_DURABILITY_SYNC;
	ck_assert_int_eq(blaze_db_open("x", NULL, &options, &db), -EOPNOTSUPP);
	options.durability = BLAZE_DURABILITY_NONE;
	options.policy = 3;
	ck_assert_int_eq(blaze_db_open("x", NULL, &options, &db), -EINVAL);
	options.policy = BLAZE_POLICY_LWW;
	options.lane_bytes = 65537;
	ck_assert_int_eq(blaze_db_open("x", NULL, &options, &db), -EINVAL);
	options.lane_bytes = 0;
	options.flags = 1u << 9;
	ck_assert_int_eq(blaze_db_open("x", NULL, &options, &db), -EINVAL);
	options.flags = BLAZE_DB_NO_CREATE;
	ck_assert_int_eq(blaze_db_open("x", NULL, &options, &db), -EINVAL);
	options.flags = BLAZE_DB_READ_ONLY;
	ck_assert_int_eq(blaze_db_open("x", "mem:", &options, &db), -EINVAL);
	options.flags = BLAZE_DB_AUTO_SYNC;
	ck_assert_int_eq(blaze_db_open("x", NULL, &options, &db), -EOPNOTSUPP);
	options.flags = BLAZE_DB_MANUAL;
	options.cache_bytes = 1;
	ck_assert_int_eq(blaze_db_open("x", NULL, &options, &db), -EOPNOTSUPP);
	options.cache_bytes = 0;
	options.sync_interval_ns = 1;
	ck_assert_int_eq(blaze_db_open("x", NULL, &options, &db), -EOPNOTSUPP);
	options.sync_interval_ns = 0;
	options.struct_size = 2;
	ck_assert_int_eq(blaze_db_open("x", NULL, &options, &db), -EINVAL);
	ck_assert_ptr_null(db);
	options.struct_size = sizeof(options);
	ck_assert_int_eq(blaze_db_open("x", "mem:", &options, &db), -EINVAL); /* and a store */
	options.store = NULL;
	ck_assert_int_eq(blaze_db_open("x", "mem:", &options, &db), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(facade_writes_and_reads_give_what_the_header_says)
{
	struct blaze_db *db = db_open(BLAZE_DB_MANUAL);
	struct blaze_record *record = record_of("n", 1), *back;
	struct blaze_id id, other;
	int64_t value;

	ck_assert_int_eq(blaze_db_insert(db, record, &id), 0);
	ck_assert_int_eq(blaze_db_insert_with_id(db, &id, record), -EEXIST);
	ck_assert_int_eq(blaze_db_count(db), 1);
	ck_assert_int_eq(blaze_id_new(&other), 0);
	ck_assert_int_eq(blaze_db_update(db, &other, record), -ENOENT);
	ck_assert_int_eq(blaze_db_delete(db, &other), -ENOENT);
	ck_assert_int_eq(blaze_db_get(db, &other, &back), -ENOENT);
	ck_assert_int_eq(blaze_db_upsert(db, &other, record), 0);
	ck_assert_int_eq(blaze_db_count(db), 2);
	ck_assert_int_eq(blaze_record_unset(record, "n"), 0);
	ck_assert_int_eq(blaze_db_insert(db, record, NULL), -EINVAL);
	ck_assert_int_eq(blaze_db_update(db, &other, record), 0);
	ck_assert_int_eq(blaze_db_get(db, &other, &back), 0);
	ck_assert_int_eq(blaze_record_get_int(back, "n", &value), -ENOENT);
	blaze_record_free(back);
	ck_assert_int_eq(blaze_db_delete(db, &other), 0);
	ck_assert_int_eq(blaze_db_put(db, &other, "abc", 3), 0);
	ck_assert_int_eq(blaze_db_fetch(db, &other, &value, 2), 3);
	ck_assert_mem_eq(&value, "ab", 2);
	ck_assert_int_eq(blaze_db_put(db, &other, NULL, 0), 0);
	ck_assert_int_eq(blaze_db_fetch(db, &other, NULL, 0), 0);
	ck_assert_int_eq(blaze_db_fetch(db, &id, NULL, 0), -ENOENT);
	ck_assert_int_eq(blaze_db_insert(db, NULL, NULL), -EINVAL);
	ck_assert_int_eq(blaze_db_update(db, NULL, record), -EINVAL);
	ck_assert_int_eq(blaze_db_put(db, &id, NULL, 3), -EINVAL);
	ck_assert_int_eq(blaze_db_get(db, NULL, &back), -EINVAL);
	ck_assert_int_eq(blaze_db_hash(db, NULL), -EINVAL);
	ck_assert_int_eq(blaze_db_count(NULL), -EINVAL);
	blaze_record_free(record);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

struct visitor {
	struct blaze_db *db;
	unsigned visited;
	unsigned stop_at;
	int stop_with;
	struct blaze_id last;
};

static int visit(void *arg, const struct blaze_id *id, const struct blaze_record *record)
{
	struct visitor *visitor = arg;
	struct blaze_record *again;

	if (visitor->visited > 0)
		ck_assert_int_lt(memcmp(&visitor->last, id, sizeof(*id)), 0);
	visitor->last = *id;
	ck_assert_int_eq(blaze_db_update(visitor->db, id, record), -EDEADLK);
	ck_assert_int_eq(blaze_db_insert(visitor->db, record, NULL), -EDEADLK);
	ck_assert_int_eq(blaze_db_delete(visitor->db, id), -EDEADLK);
	ck_assert_int_eq(blaze_db_put(visitor->db, id, "", 0), -EDEADLK);
	ck_assert_int_eq(blaze_db_close(visitor->db), -EDEADLK);
	ck_assert_int_eq(blaze_db_pump(visitor->db, 0), -EDEADLK);
	ck_assert_int_eq(blaze_db_get(visitor->db, id, &again), 0);
	blaze_record_free(again);
	return ++visitor->visited == visitor->stop_at ? visitor->stop_with : 0;
}

START_TEST(facade_scan_visits_in_order_within_bounds)
{
	struct visitor visitor = { .db = db_open(BLAZE_DB_MANUAL) };
	struct blaze_scan_options options = BLAZE_SCAN_OPTIONS_INIT;
	struct node node = { .db = visitor.db };
	struct blaze_id ids[1000];

	for (int i = 0; i < 1000; i++)
		node_insert(&node, "n", i, &ids[i]);
	ck_assert_int_eq(blaze_db_scan(visitor.db, NULL, visit, &visitor), 1000);
	ck_assert_uint_eq(visitor.visited, 1000);
	options.from = &ids[100];
	options.to = &ids[900];
	visitor.visited = 0;
	ck_assert_int_eq(blaze_db_scan(visitor.db, &options, visit, &visitor), 800);
	ck_assert_mem_eq(&visitor.last, &ids[899], sizeof(ids[0]));
	options.limit = 300;
	visitor.visited = 0;
	ck_assert_int_eq(blaze_db_scan(visitor.db, &options, visit, &visitor), 300);
	ck_assert_mem_eq(&visitor.last, &ids[399], sizeof(ids[0]));
	visitor.visited = 0;
	visitor.stop_at = 5;
	visitor.stop_with = -EPIPE;
	ck_assert_int_eq(blaze_db_scan(visitor.db, NULL, visit, &visitor), -EPIPE);
	visitor.visited = 0;
	visitor.stop_with = 1;
	ck_assert_int_eq(blaze_db_scan(visitor.db, NULL, visit, &visitor), 5);
	options.flags = 1;
	ck_assert_int_eq(blaze_db_scan(visitor.db, &options, visit, &visitor), -EINVAL);
	ck_assert_int_eq(blaze_db_scan(visitor.db, NULL, NULL, NULL), -EINVAL);
	/* The mark is gone with the scan. */
	ck_assert_int_eq(blaze_db_delete(visitor.db, &ids[0]), 0);
	ck_assert_int_eq(blaze_db_close(visitor.db), 0);
}
END_TEST

START_TEST(facade_close_while_registered_is_busy)
{
	struct node node = node_open(unique_name(), "a");

	ck_assert_int_eq(blaze_db_close(node.db), -EBUSY);
	ck_assert_int_eq(blaze_topology_unregister(node.topology, &node.id), 0);
	ck_assert_int_eq(blaze_db_close(node.db), 0);
	blaze_topology_free(node.topology);
	ck_assert_int_eq(blaze_db_close(NULL), -EINVAL);
}
END_TEST

START_TEST(facade_forked_child_handles_are_dead)
{
	const char *name = unique_name();
	struct node node = node_open(name, "a");
	struct blaze_record *record = record_of("n", 1);
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;
	struct blaze_id id, found;
	uint8_t digest[16];
	pid_t pid;
	int status;

	node_insert(&node, "n", 4, NULL);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct node own;
		bool right = blaze_db_insert(node.db, record, &id) == -ECHILD &&
		             blaze_db_count(node.db) == -ECHILD &&
		             blaze_db_hash(node.db, digest) == -ECHILD &&
		             blaze_db_stats(node.db, &stats) == -ECHILD &&
		             blaze_db_pump(node.db, 0) == -ECHILD &&
		             blaze_topology_wait(node.topology, &node.id, 0) == -ECHILD &&
		             blaze_topology_find(node.topology, name, "a", 0, &found) == -ECHILD &&
		             blaze_topology_unregister(node.topology, &node.id) == -ECHILD &&
		             blaze_topology_shared() != NULL;

		blaze_topology_free(node.topology);
		right = right && blaze_db_close(node.db) == 0;
		/* What the child opens itself lives. */
		own = node_open_with(
		        name, "child", BLAZE_ROLE_PEER,
		        &(struct blaze_db_options){ .struct_size = sizeof(struct blaze_db_options),
		                                    .flags = CHILD_FLAGS });
		right = right && blaze_topology_find(own.topology, name, "a", 0, &found) == 0;
		nodes_link(&own, &(struct node){ .id = found });
		node_insert(&own, "n", 5, NULL);
		right = right && blaze_topology_wait(own.topology, &found, WAIT_NS) == 0;
		while (CHILD_FLAGS != 0 && blaze_topology_wait(own.topology, &own.id, 0) != 0)
			(void)blaze_db_pump(own.db, BLAZEI_NS_PER_MS);
		node_wait(&own);
		right = right && blaze_db_count(own.db) == 2;
		node_close(&own);
		_exit(right ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	ck_assert_int_eq(blaze_db_count(node.db), 2);
	blaze_record_free(record);
	node_close(&node);
}
END_TEST

START_TEST(facade_pump_with_the_service_thread_is_refused)
{
	struct blaze_db *db = db_open(0);

	ck_assert_int_eq(blaze_db_pump(db, 0), -EINVAL);
	ck_assert_int_eq(blaze_db_close(db), 0);
	db = db_open(BLAZE_DB_MANUAL);
	ck_assert_int_eq(blaze_db_pump(db, BLAZEI_NS_PER_MS), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(facade_stats_count_what_happened)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a"), b = node_open(name, "b");
	struct blaze_db_stats stats;
	struct blaze_id id;
	uint32_t small[2] = { sizeof(small), 77 };

	nodes_link(&a, &b);
	node_insert(&a, "n", 1, &id);
	node_update(&a, &id, "n", 1);
	node_update(&a, &id, "n", 2);
	node_wait(&b);
	stats = node_stats(&a);
	ck_assert_uint_eq(stats.struct_size, sizeof(stats));
	ck_assert_uint_eq(stats.records, 1);
	ck_assert_uint_eq(stats.writes, 2);
	ck_assert_uint_eq(stats.applied, 0);
	stats = node_stats(&b);
	ck_assert_uint_eq(stats.writes, 0);
	ck_assert_uint_eq(stats.applied, 2);
	ck_assert_uint_ge(stats.applied_updates, 2);
	ck_assert_uint_eq(stats.conflicts, 0);
	ck_assert_uint_eq(stats.refused, 0);
	ck_assert_uint_eq(stats.origins, 2);
	ck_assert_uint_gt(stats.memory_bytes, 0);
	/* An older program's smaller struct is filled up to its size. */
	ck_assert_int_eq(blaze_db_stats(b.db, (struct blaze_db_stats *)small), 0);
	ck_assert_uint_eq(small[1], 2);
	ck_assert_int_eq(blaze_db_stats(b.db, NULL), -EINVAL);
	node_close(&a);
	node_close(&b);
}
END_TEST

struct hammer {
	struct node *node;
	const struct blaze_id *ids;
	unsigned seed;
};

static void *hammer_run(void *arg)
{
	struct hammer *hammer = arg;
	struct blaze_db *db = hammer->node->db;
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;
	struct blaze_record *record;
	uint8_t digest[16];

	for (unsigned i = 0; i < WRITES; i++) {
		const struct blaze_id *id = &hammer->ids[rand_r(&hammer->seed) % THREAD_RECORDS];

		switch (rand_r(&hammer->seed) % 8) {
		case 0:
			(void)blaze_db_delete(db, id);
			break;
		case 1:
			if (blaze_db_get(db, id, &record) == 0)
				blaze_record_free(record);
			break;
		case 2:
			(void)blaze_db_put(db, id, &i, sizeof(i));
			break;
		case 3:
			(void)blaze_db_stats(db, &stats);
			(void)blaze_db_fetch(db, id, digest, sizeof(digest));
			break;
		default:
			record = record_of("n", i);
			(void)blaze_db_upsert(db, id, record);
			blaze_record_free(record);
		}
	}
	(void)blaze_db_hash(db, digest);
	return NULL;
}

START_TEST(facade_threads_on_two_nodes_end_equal)
{
	const char *name = unique_name();
	struct node nodes[2] = { node_open(name, "a"), node_open(name, "b") };
	struct hammer hammers[2 * THREADS];
	struct blaze_id ids[THREAD_RECORDS];
	pthread_t threads[2 * THREADS];

	nodes_link(&nodes[0], &nodes[1]);
	for (unsigned i = 0; i < THREAD_RECORDS; i++)
		ck_assert_int_eq(blaze_id_new(&ids[i]), 0);
	for (unsigned i = 0; i < 2 * THREADS; i++) {
		hammers[i] = (struct hammer){ .node = &nodes[i % 2], .ids = ids, .seed = i + 1 };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer_run, &hammers[i]), 0);
	}
	for (unsigned i = 0; i < 2 * THREADS; i++)
		pthread_join(threads[i], NULL);
	node_wait(&nodes[0]);
	node_wait(&nodes[1]);
	nodes_assert_equal(&nodes[0], &nodes[1]);
	ck_assert_uint_eq(node_stats(&nodes[0]).refused, 0);
	node_close(&nodes[0]);
	node_close(&nodes[1]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("facade");
	TCase *tcase = tcase_create("facade");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, facade_open_invalid_arguments_are_refused);
	tcase_add_test(tcase, facade_writes_and_reads_give_what_the_header_says);
	tcase_add_test(tcase, facade_scan_visits_in_order_within_bounds);
	tcase_add_test(tcase, facade_close_while_registered_is_busy);
	tcase_add_test(tcase, facade_forked_child_handles_are_dead);
	tcase_add_test(tcase, facade_pump_with_the_service_thread_is_refused);
	tcase_add_test(tcase, facade_stats_count_what_happened);
	tcase_add_test(tcase, facade_threads_on_two_nodes_end_equal);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
