/* SPDX-License-Identifier: Apache-2.0 */
/* A database that is opened again and again, and each time not known to have been closed, goes on
 * under many incarnations; those that are over make room at the others, who know still what was
 * written under them. */
#include <stdlib.h>

#include "lib/repl/members.h"
#include "tests/db/origins.h"
#include "tests/db/stored.h"

#define TIMES       30u
#define LIMIT       12u /* of incarnations that the one knows which stays open */
#define REPORT_NS   (31 * BLAZEI_NS_PER_S)
#define PATIENCE_MS 30000u

/* The library's clock, which lets reports be due. */
static _Atomic uint64_t passed_ns;
uint64_t __real_blazei_realtime_ns(void);
uint64_t __wrap_blazei_realtime_ns(void);

uint64_t __wrap_blazei_realtime_ns(void)
{
	return __real_blazei_realtime_ns() + passed_ns;
}

/* How many incarnations it knows of, marks among them. */
static unsigned known(const struct node *node, unsigned *ret_marks)
{
	unsigned count;

	pthread_mutex_lock(&node->db->lock);
	count = origins_known(node->db->replica);
	*ret_marks = origins_marks(node->db->replica);
	pthread_mutex_unlock(&node->db->lock);
	return count;
}

static void hash_stamps(const struct node *node, uint8_t ret_hash[16])
{
	pthread_mutex_lock(&node->db->lock);
	ck_assert_int_eq(blazei_replica_hash_stamps(node->db->replica, ret_hash), 0);
	pthread_mutex_unlock(&node->db->lock);
}

static void reports(const struct node *a, const struct node *b)
{
	for (unsigned i = 0; i < 2; i++) {
		passed_ns += REPORT_NS;
		stored_tick(a);
		stored_tick(b);
		node_wait(a);
		node_wait(b);
	}
}

/* Reports until that one knows of few incarnations. */
static void retired_await(const struct node *at, const struct node *a, const struct node *b,
                          unsigned few)
{
	unsigned marks;

	for (unsigned i = 0; i < 300 && known(at, &marks) > few; i++) {
		node_insert(a, "n", 0, NULL);
		reports(a, b);
		blazei_sleep_ns(20 * BLAZEI_NS_PER_MS);
	}
	ck_assert_uint_le(known(at, &marks), few);
}

static void stamps_assert_equal(const struct node *a, const struct node *b)
{
	uint8_t hash_a[16], hash_b[16];

	for (unsigned i = 0; i < PATIENCE_MS; i++) {
		node_wait(a);
		node_wait(b);
		hash_stamps(a, hash_a);
		hash_stamps(b, hash_b);
		if (memcmp(hash_a, hash_b, sizeof(hash_a)) == 0)
			break;
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	}
	ck_assert_mem_eq(hash_a, hash_b, sizeof(hash_a));
	nodes_assert_equal(a, b);
}

START_TEST(thirty_openings_fit_in_a_small_vector)
{
	const char *name = unique_name();
	struct node a = stored_node(name, 0, 0);
	struct blaze_position first = { .seq = 0 }, last, unknown;
	struct blaze_id ids[TIMES];
	struct node b;
	unsigned marks;

	/* It stays open, and would refuse the incarnations beyond. */
	pthread_mutex_lock(&a.db->lock);
	origins_limit(a.db->replica, LIMIT);
	pthread_mutex_unlock(&a.db->lock);
	for (unsigned i = 0; i < TIMES; i++) {
		stored_forget(1);
		b = stored_node(name, 1, 0);
		stored_link(&a, &b);
		node_insert(&b, "n", i, &ids[i]);
		if (i > 0)
			node_update(&b, &ids[i - 1], "m", i);
		ck_assert_int_eq(blaze_db_position(b.db, i == 0 ? &first : &last), 0);
		node_wait(&a);
		ck_assert_int_eq(node_value(&a, &ids[i], "n"), i);
		reports(&a, &b);
		if (i % 3 == 2)
			retired_await(&a, &a, &b, 4);
		if (i < TIMES - 1)
			node_close(&b);
	}
	retired_await(&a, &a, &b, 4);
	retired_await(&b, &a, &b, 5);
	ck_assert_uint_le(known(&a, &marks), LIMIT);
	ck_assert_uint_ge(marks, 1);
	(void)known(&b, &marks);
	ck_assert_uint_ge(marks, 1);
	stamps_assert_equal(&a, &b);
	for (unsigned i = 0; i < TIMES; i++)
		ck_assert_int_eq(node_value(&a, &ids[i], "n"), i);
	/* What was written under an incarnation that is retired is there. */
	ck_assert_uint_ne(first.time_ns, 0);
	for (unsigned level = 0; level <= BLAZE_REACHED_DURABLE; level++) {
		ck_assert_int_eq(
		        blaze_topology_wait_position(a.topology, &a.id, &first, level, WAIT_NS), 0);
		/* By the board. */
		ck_assert_int_eq(
		        blaze_topology_wait_position(b.topology, &a.id, &first, level, WAIT_NS), 0);
		ck_assert_int_eq(
		        blaze_topology_wait_position(a.topology, &a.id, &last, level, WAIT_NS), 0);
	}
	/* Without the time it can't be told. */
	unknown = first;
	unknown.time_ns = 0;
	ck_assert_int_eq(blaze_topology_wait_position(a.topology, &a.id, &unknown,
	                                              BLAZE_REACHED_APPLIED, WAIT_NS),
	                 -EHOSTUNREACH);
	/* Nobody thinks that he lacks something. */
	ck_assert_uint_eq(node_stats(&a).refused, 0);
	node_close(&b);
	node_close(&a);
}
END_TEST

/* Another database writes once, of which this one hears; whether it takes it. */
static bool stranger_heard(struct blaze_db *db, unsigned number)
{
	struct blazei_replica_options options = {
		.self = { .node = { { 77 } }, .incarnation = 1 + number },
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
	};
	struct blaze_id id = { { 9 } };
	const struct blazei_write put = { .kind = BLAZEI_WRITE_PUT, .id = &id };
	struct blazei_replica *stranger;
	struct blazei_txn_view txn;
	int taken;

	memcpy(id.bytes + 8, &number, sizeof(number));
	ck_assert_int_eq(blazei_replica_new(&options, &stranger), 0);
	ck_assert_int_eq(blazei_replica_write(stranger, blazei_realtime_ns(), &put, &txn), 0);
	taken = blazei_replica_receive(db->replica, blazei_realtime_ns(), &txn, 1);
	ck_assert_int_ge(taken, 0);
	blazei_replica_free(stranger);
	return taken == 1;
}

/* As many as it takes: with `all` those too that are kept for openings. The number. */
static unsigned strangers_write(struct blaze_db *db, bool all)
{
	unsigned count = 0;

	pthread_mutex_lock(&db->lock);
	if (all)
		origins_limit(db->replica, BLAZEI_ORIGINS_MAX);
	while (stranger_heard(db, count))
		count++;
	pthread_mutex_unlock(&db->lock);
	return count;
}

/* Whatever others write, it can be opened again; and read, if all places are taken (1). */
START_TEST(store_of_too_many_incarnations_is_opened)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	const char *name = unique_name();
	struct blaze_id id = { { 8 } };
	struct blaze_db *db = stored_open(name, 0, 0, 0);
	const unsigned count = strangers_write(db, _i == 1);

	ck_assert_uint_eq(count, _i == 1 ? 4095 : 3839);
	ck_assert_int_eq(blaze_db_put(db, &id, "x", 1), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
	for (unsigned i = 0; i < 3 && _i == 0; i++) {
		id.bytes[1] = (uint8_t)i;
		stored_forget(0);
		db = stored_open(name, 0, 0, 0);
		ck_assert_int_eq(blaze_db_put(db, &id, "x", 1), 0);
		ck_assert_int_eq(blaze_db_close(db), 0);
	}
	stored_forget(0);
	if (_i == 1)
		ck_assert_int_eq(blaze_db_open(name, stored_path(0), &options, &db), -E2BIG);
	db = stored_open(name, 0, 0, BLAZE_DB_READ_ONLY);
	ck_assert_int_eq(blaze_db_count(db), count + (_i == 0 ? 3 : 1));
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

/* One that is never registered, and open for a moment each time, as for a command. */
START_TEST(lone_database_is_opened_any_number_of_times)
{
	const char *name = unique_name();
	struct blaze_db *db;
	unsigned most = 0;

	for (unsigned i = 0; i < 200; i++) {
		struct blaze_id id = { { 1, (uint8_t)(i / 2) } };
		unsigned count;

		stored_forget(0);
		db = stored_open(name, 0, 0, BLAZE_DB_MANUAL);
		ck_assert_int_eq(blaze_db_count(db), (i + 1) / 2);
		ck_assert_int_eq(blaze_db_put(db, &id, &i, sizeof(i)), 0);
		count = origins_known(db->replica);
		most = count > most ? count : most;
		ck_assert_int_eq(blaze_db_close(db), 0);
	}
	/* Its own are retired when there are more than 64. */
	ck_assert_uint_gt(most, 50);
	ck_assert_uint_le(most, 70);
	db = stored_open(name, 0, 0, BLAZE_DB_READ_ONLY | BLAZE_DB_MANUAL);
	for (unsigned i = 0; i < 100; i++) {
		const struct blaze_id id = { { 1, (uint8_t)i } };
		unsigned value = 0;

		ck_assert_int_eq(blaze_db_fetch(db, &id, &value, sizeof(value)), sizeof(value));
		ck_assert_uint_eq(value, 2 * i + 1);
	}
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stored_retire");
	TCase *tcase = tcase_create("stored_retire");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, stored_setup, stored_teardown);
	tcase_set_timeout(tcase, 600);
	tcase_add_test(tcase, lone_database_is_opened_any_number_of_times);
	tcase_add_test(tcase, thirty_openings_fit_in_a_small_vector);
	tcase_add_loop_test(tcase, store_of_too_many_incarnations_is_opened, 0, 2);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
