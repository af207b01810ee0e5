/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions through the public calls: results and errors, threads, forks, closing, and that
 * another process sees each of them whole, whatever its length. */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/db/node.h"

#define THREADS  4u
#define ROUNDS   400u
#define ACCOUNTS 16u

static struct blaze_db *db_open(void)
{
	struct blaze_db *db;

	ck_assert_int_eq(blaze_db_open(unique_name(), NULL, NULL, &db), 0);
	return db;
}

static struct blaze_txn *txn_begin(struct blaze_db *db)
{
	struct blaze_txn *txn;

	ck_assert_int_eq(blaze_txn_begin(db, &txn), 0);
	return txn;
}

static int64_t txn_value(struct blaze_txn *txn, const struct blaze_id *id, const char *field)
{
	struct blaze_record *record;
	int64_t value = -1;

	if (blaze_txn_get(txn, id, &record) != 0)
		return -1;
	(void)blaze_record_get_int(record, field, &value);
	blaze_record_free(record);
	return value;
}

static void txn_set(struct blaze_txn *txn, const struct blaze_id *id, int64_t value)
{
	struct blaze_record *record = record_of("n", value);

	ck_assert_int_eq(blaze_txn_upsert(txn, id, record), 0);
	blaze_record_free(record);
}

START_TEST(txn_calls_give_what_the_header_says)
{
	struct node node = { .db = db_open() };
	struct blaze_record *record = record_of("n", 1);
	struct blaze_txn *txn = txn_begin(node.db);
	struct blaze_id id, other;
	char back[4];

	ck_assert_int_eq(blaze_txn_insert(txn, record, &id), 0);
	ck_assert_int_eq(blaze_txn_insert(txn, record, NULL), 0);
	ck_assert_int_eq(blaze_txn_insert_with_id(txn, &id, record), -EEXIST);
	ck_assert_int_eq(blaze_id_new(&other), 0);
	ck_assert_int_eq(blaze_txn_update(txn, &other, record), -ENOENT);
	ck_assert_int_eq(blaze_txn_delete(txn, &other), -ENOENT);
	ck_assert_int_eq(blaze_txn_get(txn, &other, &record), -ENOENT);
	ck_assert_int_eq(blaze_txn_fetch(txn, &other, back, 4), -ENOENT);
	ck_assert_int_eq(blaze_txn_put(txn, &other, "four", 4), 0);
	ck_assert_int_eq(blaze_txn_fetch(txn, &other, back, 4), 4);
	ck_assert_mem_eq(back, "four", 4);
	ck_assert_int_eq(blaze_txn_upsert(txn, &other, record), 0);
	ck_assert_int_eq(txn_value(txn, &other, "n"), 1);
	ck_assert_int_eq(blaze_db_count(node.db), 0);
	ck_assert_int_eq(blaze_txn_commit(txn), 0);
	ck_assert_int_eq(blaze_db_count(node.db), 3);
	ck_assert_int_eq(node_value(&node, &id, "n"), 1);
	ck_assert_uint_eq(node_stats(&node).writes, 1);
	txn = txn_begin(node.db);
	ck_assert_int_eq(blaze_txn_delete(txn, &id), 0);
	blaze_txn_abort(txn);
	ck_assert_int_eq(blaze_db_count(node.db), 3);
	ck_assert_int_eq(blaze_txn_commit(txn_begin(node.db)), 0);
	ck_assert_uint_eq(node_stats(&node).writes, 1);
	ck_assert_int_eq(blaze_db_close(node.db), 0);
	blaze_record_free(record);
}
END_TEST

START_TEST(txn_invalid_arguments_are_refused)
{
	struct blaze_db *db = db_open();
	struct blaze_record *record = record_of("n", 1);
	struct blaze_txn *txn;
	struct blaze_id id;

	ck_assert_int_eq(blaze_id_new(&id), 0);
	ck_assert_int_eq(blaze_txn_begin(NULL, &txn), -EINVAL);
	ck_assert_int_eq(blaze_txn_begin(db, NULL), -EINVAL);
	ck_assert_int_eq(blaze_txn_commit(NULL), -EINVAL);
	blaze_txn_abort(NULL);
	txn = txn_begin(db);
	ck_assert_int_eq(blaze_txn_insert(NULL, record, &id), -EINVAL);
	ck_assert_int_eq(blaze_txn_insert(txn, NULL, &id), -EINVAL);
	ck_assert_int_eq(blaze_txn_insert_with_id(txn, NULL, record), -EINVAL);
	ck_assert_int_eq(blaze_txn_insert_with_id(txn, &id, NULL), -EINVAL);
	ck_assert_int_eq(blaze_txn_update(txn, &id, NULL), -EINVAL);
	ck_assert_int_eq(blaze_txn_update(NULL, &id, record), -EINVAL);
	ck_assert_int_eq(blaze_txn_upsert(txn, NULL, record), -EINVAL);
	ck_assert_int_eq(blaze_txn_delete(txn, NULL), -EINVAL);
	ck_assert_int_eq(blaze_txn_put(txn, &id, NULL, 1), -EINVAL);
	ck_assert_int_eq(blaze_txn_put(txn, &id, "", (1 << 20) - 4095), -E2BIG);
	ck_assert_int_eq(blaze_txn_get(txn, NULL, &record), -EINVAL);
	ck_assert_int_eq(blaze_txn_get(txn, &id, NULL), -EINVAL);
	ck_assert_int_eq(blaze_txn_get(NULL, &id, &record), -EINVAL);
	ck_assert_int_eq(blaze_txn_fetch(txn, &id, NULL, 1), -EINVAL);
	ck_assert_int_eq(blaze_txn_fetch(NULL, &id, NULL, 0), -EINVAL);
	ck_assert_int_eq(blaze_record_unset(record, "gone"), 0);
	ck_assert_int_eq(blaze_txn_insert(txn, record, &id), -EINVAL);
	blaze_txn_abort(txn);
	ck_assert_int_eq(blaze_db_close(db), 0);
	blaze_record_free(record);
}
END_TEST

START_TEST(txn_close_with_one_under_way_is_busy)
{
	struct blaze_db *db = db_open();
	struct blaze_txn *first = txn_begin(db), *second = txn_begin(db);

	ck_assert_int_eq(blaze_db_close(db), -EBUSY);
	blaze_txn_abort(first);
	ck_assert_int_eq(blaze_db_close(db), -EBUSY);
	ck_assert_int_eq(blaze_txn_commit(second), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

struct visit {
	struct blaze_db *db;
	struct blaze_txn *txn, *to_commit;
	int begun, committed;
};

/* Stages in a visitor; begins and commits there in vain. */
static int visit_stage(void *arg, const struct blaze_id *id, const struct blaze_record *record)
{
	struct visit *visit = arg;
	struct blaze_txn *txn;

	(void)record;
	ck_assert_int_eq(txn_value(visit->txn, id, "n"), 1);
	txn_set(visit->txn, id, 2);
	visit->begun = blaze_txn_begin(visit->db, &txn);
	visit->committed = blaze_txn_commit(visit->to_commit);
	return 0;
}

START_TEST(txn_in_a_visitor_is_staged_but_not_committed)
{
	struct node node = { .db = db_open() };
	struct visit visit = { .db = node.db };
	struct blaze_id id;

	node_insert(&node, "n", 1, &id);
	visit.txn = txn_begin(node.db);
	visit.to_commit = txn_begin(node.db);
	txn_set(visit.to_commit, &id, 3);
	ck_assert_int_eq(blaze_db_scan(node.db, NULL, visit_stage, &visit), 1);
	ck_assert_int_eq(visit.begun, -EDEADLK);
	ck_assert_int_eq(visit.committed, -EDEADLK);
	ck_assert_int_eq(node_value(&node, &id, "n"), 1);
	ck_assert_int_eq(blaze_txn_commit(visit.txn), 0);
	ck_assert_int_eq(node_value(&node, &id, "n"), 2);
	/* The one that failed was freed. */
	ck_assert_int_eq(blaze_db_close(node.db), 0);
}
END_TEST

START_TEST(txn_in_a_forked_child_is_echild_and_freed)
{
	struct node node = { .db = db_open() };
	struct blaze_txn *txn = txn_begin(node.db), *other = txn_begin(node.db);
	struct blaze_record *record = record_of("n", 2);
	struct blaze_id id;
	int status;
	pid_t pid;

	txn_set(txn, &(struct blaze_id){ { 1 } }, 1);
	pid = fork();
	if (pid == 0) {
		bool ok = blaze_txn_insert(txn, record, &id) == -ECHILD &&
		          blaze_txn_get(txn, &id, &record) == -ECHILD &&
		          blaze_txn_fetch(txn, &id, NULL, 0) == -ECHILD &&
		          blaze_txn_commit(txn) == -ECHILD &&
		          blaze_txn_begin(node.db, &txn) == -ECHILD;

		blaze_txn_abort(other);
		_exit(ok && blaze_db_close(node.db) == 0 ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(blaze_txn_commit(txn), 0);
	ck_assert_int_eq(blaze_db_count(node.db), 1);
	blaze_txn_abort(other);
	ck_assert_int_eq(blaze_db_close(node.db), 0);
	blaze_record_free(record);
}
END_TEST

START_TEST(txn_beyond_sixteen_mib_is_emsgsize_and_keeps_what_was_staged)
{
	static char value[1 << 20];
	struct node node = { .db = db_open() };
	struct blaze_txn *txn = txn_begin(node.db);
	struct blaze_id id;
	unsigned count = 0;
	int error = 0;

	while (error == 0) {
		ck_assert_int_eq(blaze_id_new(&id), 0);
		error = blaze_txn_put(txn, &id, value, sizeof(value) - 4096);
		count += error == 0;
	}
	ck_assert_int_eq(error, -EMSGSIZE);
	ck_assert_uint_eq(count, 16);
	ck_assert_int_eq(blaze_txn_commit(txn), 0);
	ck_assert_int_eq(blaze_db_count(node.db), 16);
	ck_assert_int_eq(blaze_db_close(node.db), 0);
}
END_TEST

/* Threads ------------------------------------------------------------------------------------ */

struct hammer {
	struct node *node;
	const struct blaze_id *ids;
	uint64_t seed;
};

static unsigned next(struct hammer *hammer)
{
	hammer->seed = hammer->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned)(hammer->seed >> 33);
}

static void *hammer_run(void *arg)
{
	struct hammer *hammer = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct blaze_txn *txn = txn_begin(hammer->node->db);

		for (unsigned j = 0; j < ACCOUNTS; j++)
			txn_set(txn, &hammer->ids[j], (int64_t)(hammer->seed & INT32_MAX));
		(void)blaze_db_delete(hammer->node->db, &hammer->ids[ACCOUNTS + next(hammer) % 4]);
		txn_set(txn, &hammer->ids[ACCOUNTS + next(hammer) % 4], i);
		if (next(hammer) % 8 == 0)
			blaze_txn_abort(txn);
		else
			ck_assert_int_eq(blaze_txn_commit(txn), 0);
	}
	return NULL;
}

START_TEST(txn_threads_on_two_nodes_end_equal_and_whole)
{
	const char *name = unique_name();
	struct node nodes[2] = { node_open(name, "a"), node_open(name, "b") };
	struct blaze_id ids[ACCOUNTS + 4];
	struct hammer hammers[THREADS];
	pthread_t threads[THREADS];
	int64_t value;

	nodes_link(&nodes[0], &nodes[1]);
	for (unsigned i = 0; i < ACCOUNTS + 4; i++)
		ck_assert_int_eq(blaze_id_new(&ids[i]), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		hammers[i] = (struct hammer){ .node = &nodes[i % 2], .ids = ids, .seed = i + 1 };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer_run, &hammers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	node_wait(&nodes[0]);
	node_wait(&nodes[1]);
	nodes_assert_equal(&nodes[0], &nodes[1]);
	/* All that wrote the accounts wrote them all, alike, so one of them holds everywhere. */
	value = node_value(&nodes[0], &ids[0], "n");
	for (unsigned i = 1; i < ACCOUNTS; i++)
		ck_assert_int_eq(node_value(&nodes[0], &ids[i], "n"), value);
	ck_assert_uint_eq(node_stats(&nodes[0]).refused + node_stats(&nodes[1]).refused, 0);
	node_close(&nodes[0]);
	node_close(&nodes[1]);
}
END_TEST

/* Whole in another process -------------------------------------------------------------------- */

/* What the two processes share. */
struct stage {
	atomic_int ready; /* the reader holds round 0 */
	atomic_int torn;
	atomic_llong seen; /* the last round that it saw whole */
};

/* Transactions of `count` records of len bytes each, the round's number in front. */
struct load {
	const char *name;
	uint64_t lane_bytes;
	unsigned count;
	size_t len;
	int64_t rounds;
};

static struct blaze_id load_id(unsigned i)
{
	/* Spread, so that neither list order nor id order keeps neighbours together. */
	return (struct blaze_id){ { (uint8_t)(i * 37), (uint8_t)(i >> 3), 1, (uint8_t)i } };
}

static int64_t fetched(struct blaze_db *db, unsigned i)
{
	struct blaze_id id = load_id(i);
	int64_t value = -1;

	return blaze_db_fetch(db, &id, &value, sizeof(value)) < 0 ? -1 : value;
}

/* Reads one record, then another: the second is never older, as all change at once. */
static int64_t read_pair(struct blaze_db *db, const struct load *load, unsigned turn,
                         struct stage *stage)
{
	unsigned one = turn % load->count, other = (turn * 7 + 3) % load->count;
	int64_t first = fetched(db, one), second = fetched(db, other);

	if (second < first)
		atomic_store(&stage->torn, 1);
	return first < second ? first : second;
}

static int reader_main(const struct load *load, struct stage *stage)
{
	struct node node = node_open(load->name, "reader");
	struct blaze_id other;
	uint64_t give_up_ns = blazei_monotonic_ns() + 500 * BLAZEI_NS_PER_S;
	int64_t seen = -1;

	if (blaze_topology_find(node.topology, load->name, "writer", WAIT_NS, &other) != 0 ||
	    blaze_topology_connect_local(node.topology, &node.id, &other,
	                                 BLAZE_LINK_BIDIRECTIONAL) != 0)
		return 2;
	for (unsigned turn = 0; seen < load->rounds && !atomic_load(&stage->torn); turn++) {
		seen = read_pair(node.db, load, turn, stage);
		atomic_store(&stage->seen, seen);
		if (blazei_monotonic_ns() > give_up_ns)
			return 3;
	}
	node_close(&node);
	return 0;
}

static void round_commit(struct blaze_db *db, const struct load *load, int64_t round)
{
	struct blaze_txn *txn = txn_begin(db);
	char *value = calloc(1, load->len);

	memcpy(value, &round, sizeof(round));
	for (unsigned i = 0; i < load->count; i++) {
		struct blaze_id id = load_id(i);

		ck_assert_int_eq(blaze_txn_put(txn, &id, value, load->len), 0);
	}
	ck_assert_int_eq(blaze_txn_commit(txn), 0);
	free(value);
}

/* Commits rounds while another process reads; every other one only when the last was seen, so that
 * some come alone and some in a crowd. */
static void writer_run(const struct load *load, struct stage *stage)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct node node;

	options.lane_bytes = load->lane_bytes;
	node = node_open_with(load->name, "writer", BLAZE_ROLE_PEER, &options);
	for (int64_t round = 0; round <= load->rounds; round++) {
		round_commit(node.db, load, round);
		while (round % 2 == 0 && atomic_load(&stage->seen) < round &&
		       !atomic_load(&stage->torn) && atomic_load(&stage->ready) == 0)
			blazei_sleep_ns(20000);
	}
	/* The reader is served until it has the last one. */
	while (atomic_load(&stage->ready) == 0)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	node_close(&node);
}

static void visible_whole(uint64_t lane_bytes, unsigned count, size_t len, int64_t rounds)
{
	const struct load load = { unique_name(), lane_bytes, count, len, rounds };
	struct stage *stage = mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE,
	                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t waiter, writer;
	int status;

	ck_assert_ptr_ne(stage, MAP_FAILED);
	atomic_store(&stage->seen, -1);
	/* Both in children: neither has a thread of this process. */
	writer = fork();
	if (writer == 0) {
		writer_run(&load, stage);
		_exit(0);
	}
	waiter = fork();
	if (waiter == 0)
		_exit(reader_main(&load, stage));
	ck_assert_int_eq(waitpid(waiter, &status, 0), waiter);
	atomic_store(&stage->ready, 1);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(waitpid(writer, &status, 0), writer);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(atomic_load(&stage->torn), 0);
	munmap(stage, sizeof(*stage));
}

START_TEST(txn_by_the_lane_is_seen_whole_by_another_process)
{
	visible_whole(0, 16, 16, 4000);
}
END_TEST

START_TEST(txn_of_ten_mib_is_seen_whole_by_another_process)
{
	visible_whole(0, 12, 900000, 5);
}
END_TEST

START_TEST(txn_of_ten_mib_and_a_short_lane_is_seen_whole_by_another_process)
{
	visible_whole(65536, 200, 52000, 5);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("txn");
	TCase *tcase = tcase_create("txn");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, txn_calls_give_what_the_header_says);
	tcase_add_test(tcase, txn_invalid_arguments_are_refused);
	tcase_add_test(tcase, txn_close_with_one_under_way_is_busy);
	tcase_add_test(tcase, txn_in_a_visitor_is_staged_but_not_committed);
	tcase_add_test(tcase, txn_in_a_forked_child_is_echild_and_freed);
	tcase_add_test(tcase, txn_beyond_sixteen_mib_is_emsgsize_and_keeps_what_was_staged);
	tcase_add_test(tcase, txn_threads_on_two_nodes_end_equal_and_whole);
	tcase_add_test(tcase, txn_by_the_lane_is_seen_whole_by_another_process);
	tcase_add_test(tcase, txn_of_ten_mib_is_seen_whole_by_another_process);
	tcase_add_test(tcase, txn_of_ten_mib_and_a_short_lane_is_seen_whole_by_another_process);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
