/* SPDX-License-Identifier: Apache-2.0 */
/* Databases in step within one process: live traffic, late joiners, laps, long transactions,
 * removed rings, isolation without links. */
#include <stdlib.h>

#include "tests/db/node.h"

/* A lane of 64 KiB holds records up to a quarter of that. */
static const struct blaze_db_options tiny = {
	.struct_size = sizeof(struct blaze_db_options),
	.lane_bytes = 65536,
};

/* The library's clock; while it leaps, each look at it is a second later than the one before. */
static _Atomic bool leaps;
static _Atomic uint64_t leapt_ns;
uint64_t __real_blazei_monotonic_ns(void);
uint64_t __wrap_blazei_monotonic_ns(void);

uint64_t __wrap_blazei_monotonic_ns(void)
{
	if (leaps)
		leapt_ns += BLAZEI_NS_PER_S;
	return __real_blazei_monotonic_ns() + leapt_ns;
}

START_TEST(step_two_nodes_each_sees_the_others_writes)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a"), b = node_open(name, "b");
	struct blaze_id one, two;

	nodes_link(&a, &b);
	node_insert(&a, "n", 1, &one);
	node_insert(&b, "n", 2, &two);
	node_wait(&a);
	node_wait(&b);
	ck_assert_int_eq(node_value(&b, &one, "n"), 1);
	ck_assert_int_eq(node_value(&a, &two, "n"), 2);
	node_update(&b, &one, "n", 3);
	node_wait(&a);
	ck_assert_int_eq(node_value(&a, &one, "n"), 3);
	ck_assert_int_eq(blaze_db_delete(a.db, &two), 0);
	node_wait(&b);
	ck_assert_int_eq(node_value(&b, &two, "n"), -1);
	nodes_assert_equal(&a, &b);
	ck_assert_uint_eq(node_stats(&a).catch_ups, 0);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(step_late_joiner_gets_what_it_missed)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a"), b;
	struct blaze_id id;

	for (int i = 0; i < 5000; i++)
		node_insert(&a, "n", i, &id);
	b = node_open(name, "b");
	nodes_link(&b, &a);
	node_wait(&b);
	ck_assert_int_eq(blaze_db_count(b.db), 5000);
	/* The counter follows what it counts. */
	for (uint64_t until_ns = 0; node_stats(&b).catch_ups == 0 && time_is_left(&until_ns);)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	ck_assert_uint_ge(node_stats(&b).catch_ups, 1);
	nodes_assert_equal(&a, &b);
	/* From now on the lane suffices. */
	node_update(&a, &id, "n", 9);
	node_wait(&b);
	ck_assert_int_eq(node_value(&b, &id, "n"), 9);
	node_close(&a);
	node_close(&b);
}
END_TEST

/* Who missed no more than is retained gets the transactions themselves; else the state. */
START_TEST(step_late_joiner_gets_transactions_as_far_as_they_are_retained)
{
	const struct blaze_db_options options = { .struct_size = sizeof(options),
		                                  .retain_bytes = _i ? 65536 : 1u << 26 };
	const char *name = unique_name();
	struct node a = node_open_with(name, "a", BLAZE_ROLE_PEER, &options), b;
	struct blaze_id id;

	for (int i = 0; i < 5000; i++)
		node_insert(&a, "n", i, &id);
	b = node_open(name, "b");
	nodes_link(&b, &a);
	node_wait(&b);
	nodes_assert_equal(&a, &b);
	ck_assert_uint_eq(node_stats(&b).applied, _i ? 0 : 5000);
	ck_assert_uint_ge(node_stats(&a).memory_bytes, _i ? 65536 : 5000 * 100);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(step_content_before_registration_is_fetched)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a"), b;
	struct blaze_id id;

	ck_assert_int_eq(blaze_db_open(name, NULL, NULL, &b.db), 0);
	node_insert(&b, "n", 7, &id);
	ck_assert_int_eq(blaze_topology_new(&b.topology), 0);
	ck_assert_int_eq(blaze_topology_register(b.topology, b.db, "b", BLAZE_ROLE_PEER, &b.id), 0);
	nodes_link(&a, &b);
	node_wait(&a);
	ck_assert_int_eq(node_value(&a, &id, "n"), 7);
	node_close(&a);
	node_close(&b);
}
END_TEST

/* Pumped by a reader that spins as usual, and by one that sleeps at once: what begins in its sleep
 * must not look older than the turn that follows. */
START_TEST(step_lapped_reader_catches_up)
{
	const char *name = unique_name();
	struct blaze_db_options manual = { .struct_size = sizeof(manual),
		                           .flags = BLAZE_DB_MANUAL,
		                           .spin_ns = (uint64_t)_i };
	struct node a = node_open_with(name, "a", BLAZE_ROLE_PEER, &tiny);
	struct node b = node_open_with(name, "b", BLAZE_ROLE_PEER, &manual);
	struct blaze_id id;
	int applied = 0;

	nodes_link(&b, &a);
	node_insert(&a, "n", 0, &id);
	while (node_value(&b, &id, "n") != 0)
		ck_assert_int_ge(blaze_db_pump(b.db, WAIT_NS), 1);
	for (int i = 1; i <= 10000; i++)
		node_update(&a, &id, "n", i);
	while (node_value(&b, &id, "n") != 10000) {
		applied = blaze_db_pump(b.db, WAIT_NS);
		ck_assert_int_ge(applied, 1);
	}
	ck_assert_uint_ge(node_stats(&b).laps, 1);
	ck_assert_uint_ge(node_stats(&b).catch_ups, 1);
	nodes_assert_equal(&a, &b);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(step_record_too_long_for_the_lane_is_fetched)
{
	const char *name = unique_name();
	struct node a = node_open_with(name, "a", BLAZE_ROLE_PEER, &tiny), b = node_open(name, "b");
	size_t len = (1u << 20) - 4096;
	char *value = malloc(len), *back = malloc(len);
	struct blaze_id id, small;

	nodes_link(&a, &b);
	memset(value, 'x', len);
	ck_assert_int_eq(blaze_id_new(&id), 0);
	ck_assert_int_eq(blaze_db_put(a.db, &id, value, len), 0);
	node_insert(&a, "n", 5, &small);
	node_wait(&b);
	ck_assert_int_eq(blaze_db_fetch(b.db, &id, back, len), (int)len);
	ck_assert_mem_eq(value, back, len);
	ck_assert_int_eq(node_value(&b, &small, "n"), 5);
	nodes_assert_equal(&a, &b);
	free(value);
	free(back);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(step_removed_ring_is_attached_anew_and_nothing_is_lost)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a"), b = node_open(name, "b");
	struct blaze_id before, after;
	char ring[80];

	nodes_link(&a, &b);
	node_insert(&a, "n", 1, &before);
	snprintf(ring, sizeof(ring), "db.%s", name);
	ck_assert_int_eq(blaze_ring_unlink(ring), 0);
	node_insert(&a, "n", 2, &after);
	/* b notices by itself. */
	while (blaze_db_count(b.db) != 2)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	ck_assert_int_eq(node_value(&b, &before, "n"), 1);
	ck_assert_int_eq(node_value(&b, &after, "n"), 2);
	nodes_assert_equal(&a, &b);
	node_close(&a);
	node_close(&b);
	ck_assert_int_eq(blaze_ring_unlink(ring), -ENOENT);
}
END_TEST

START_TEST(step_without_a_link_nothing_is_applied)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a"), b = node_open(name, "b"), c = node_open(name, "c");

	nodes_link(&a, &b);
	node_insert(&a, "n", 1, NULL);
	node_insert(&c, "n", 2, NULL);
	node_wait(&b);
	/* b has taken in all that a had published; c's came before or comes with the next poll. */
	node_wait(&c);
	ck_assert_int_eq(blaze_db_count(b.db), 1);
	ck_assert_int_eq(blaze_db_count(c.db), 1);
	/* A link makes up for what was passed over, through b on to a. */
	nodes_link(&c, &b);
	node_wait(&a);
	node_wait(&b);
	node_wait(&c);
	ck_assert_int_eq(blaze_db_count(a.db), 2);
	nodes_assert_equal(&a, &b);
	nodes_assert_equal(&a, &c);
	node_close(&a);
	node_close(&b);
	node_close(&c);
}
END_TEST

START_TEST(step_nodes_of_another_policy_refuse_each_other)
{
	const char *name = unique_name();
	struct blaze_db_options lww = { .struct_size = sizeof(lww), .policy = BLAZE_POLICY_LWW };
	struct node a = node_open(name, "a"), b = node_open_with(name, "b", BLAZE_ROLE_PEER, &lww);
	struct node c = node_open(name, "c");

	ck_assert_int_eq(
	        blaze_topology_connect_local(a.topology, &a.id, &b.id, BLAZE_LINK_BIDIRECTIONAL),
	        -EPROTO);
	ck_assert_int_eq(
	        blaze_topology_connect_local(b.topology, &b.id, &a.id, BLAZE_LINK_BIDIRECTIONAL),
	        -EPROTO);
	nodes_link(&a, &c);
	node_insert(&b, "n", 1, NULL);
	node_insert(&a, "n", 2, NULL);
	node_wait(&c);
	ck_assert_int_eq(blaze_db_count(c.db), 1);
	node_close(&a);
	node_close(&b);
	node_close(&c);
}
END_TEST

START_TEST(step_server_beats_writes_that_had_not_seen_its_own)
{
	const char *name = unique_name();
	struct blaze_db_options manual = { .struct_size = sizeof(manual),
		                           .flags = BLAZE_DB_MANUAL };
	struct node server = node_open_with(name, "s", BLAZE_ROLE_SERVER, &manual);
	struct node client = node_open_with(name, "c", BLAZE_ROLE_CLIENT, &manual);
	struct blaze_id id;

	nodes_link(&client, &server);
	node_insert(&client, "n", 0, &id);
	while (node_value(&server, &id, "n") != 0)
		ck_assert_int_ge(blaze_db_pump(server.db, WAIT_NS), 1);
	node_update(&server, &id, "n", 1);
	/* Later by the clock, but it had not seen the server's. */
	node_update(&client, &id, "n", 2);
	while (node_value(&client, &id, "n") != 1)
		ck_assert_int_ge(blaze_db_pump(client.db, WAIT_NS), 1);
	ck_assert_int_ge(blaze_db_pump(server.db, WAIT_NS), 1);
	ck_assert_int_eq(node_value(&server, &id, "n"), 1);
	ck_assert_uint_ge(node_stats(&server).conflicts, 1);
	ck_assert_uint_ge(node_stats(&client).conflicts, 1);
	/* One that had seen it wins. */
	node_update(&client, &id, "n", 3);
	while (node_value(&server, &id, "n") != 3)
		ck_assert_int_ge(blaze_db_pump(server.db, WAIT_NS), 1);
	nodes_assert_equal(&server, &client);
	node_close(&server);
	node_close(&client);
}
END_TEST

/* A check that waited for a CPU took no longer than one that did not. */
START_TEST(step_check_that_was_interrupted_is_made_again_soon)
{
	const char *name = unique_name();
	struct blaze_db_options manual = { .struct_size = sizeof(manual),
		                           .flags = BLAZE_DB_MANUAL };
	struct node a = node_open_with(name, "a", BLAZE_ROLE_PEER, &manual);
	struct node b = node_open_with(name, "b", BLAZE_ROLE_PEER, &manual);
	uint64_t before;

	nodes_link(&a, &b);
	ck_assert_int_ge(blaze_db_pump(a.db, 0), 0);
	before = a.db->next_check_ns;
	leaps = true;
	ck_assert_int_ge(blaze_db_pump(a.db, 0), 0);
	leaps = false;
	ck_assert_uint_ge(a.db->next_check_ns, before + BLAZEI_NS_PER_S);
	ck_assert_uint_lt(a.db->next_check_ns, blazei_monotonic_ns() + 10 * BLAZEI_NS_PER_S);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(step_interrupted_catch_up_leaves_nothing_behind)
{
	const char *name = unique_name();
	struct blaze_db_options manual = { .struct_size = sizeof(manual),
		                           .flags = BLAZE_DB_MANUAL };
	static char value[50000];
	struct node a = node_open_with(name, "a", BLAZE_ROLE_PEER, &manual), b, c;
	struct blaze_id id;

	/* 10 MB: b takes them in several chunks. */
	for (int i = 0; i < 200; i++) {
		ck_assert_int_eq(blaze_id_new(&id), 0);
		ck_assert_int_eq(blaze_db_put(a.db, &id, value, sizeof(value)), 0);
	}
	b = node_open_with(name, "b", BLAZE_ROLE_PEER, &manual);
	c = node_open_with(name, "c", BLAZE_ROLE_PEER, &manual);
	nodes_link(&b, &a);
	nodes_link(&b, &c);
	for (uint64_t until_ns = 0;
	     blazei_stage_bytes(b.db->stage) < (UINT64_C(4) << 20) && time_is_left(&until_ns);) {
		(void)blaze_db_pump(a.db, 0);
		(void)blaze_db_pump(b.db, 0);
		blazei_sleep_ns(BLAZEI_NS_PER_MS / 10);
	}
	ck_assert_uint_ge(blazei_stage_bytes(b.db->stage), UINT64_C(4) << 20);
	node_close(&a);
	node_insert(&b, "n", 1, &id);
	for (uint64_t until_ns = 0; node_value(&c, &id, "n") != 1 && time_is_left(&until_ns);) {
		(void)blaze_db_pump(b.db, 0);
		(void)blaze_db_pump(c.db, 0);
		blazei_sleep_ns(BLAZEI_NS_PER_MS / 10);
	}
	/* What only a had died with it: had b kept a part, nobody could ever ask for it. */
	nodes_assert_equal(&b, &c);
	ck_assert_uint_eq(blaze_db_count(b.db), 1);
	node_close(&b);
	node_close(&c);
}
END_TEST

START_TEST(step_catch_up_amid_writes_brings_nothing_beyond_its_vector)
{
	const char *name = unique_name();
	struct blaze_db_options manual = { .struct_size = sizeof(manual),
		                           .flags = BLAZE_DB_MANUAL,
		                           .lane_bytes = 65536 };
	static char value[50000], back[50000];
	struct node a = node_open_with(name, "a", BLAZE_ROLE_PEER, &manual), b;
	struct blaze_id id;
	bool again = false;

	for (int i = 0; i < 200; i++) {
		ck_assert_int_eq(blaze_id_new(&id), 0);
		ck_assert_int_eq(blaze_db_put(a.db, &id, value, sizeof(value)), 0);
	}
	b = node_open_with(name, "b", BLAZE_ROLE_PEER, &manual);
	nodes_link(&b, &a);
	for (uint64_t until_ns = 0; (!again || b.db->pull.active) && time_is_left(&until_ns);) {
		(void)blaze_db_pump(a.db, 0);
		(void)blaze_db_pump(b.db, 0);
		if (!again && blazei_stage_bytes(b.db->stage) > 0) {
			/* Too long for the lane, and of a record that is still to be sent. */
			value[0] = 'y';
			ck_assert_int_eq(blaze_db_put(a.db, &id, value, sizeof(value)), 0);
			again = true;
		}
		blazei_sleep_ns(BLAZEI_NS_PER_MS / 10);
	}
	ck_assert_int_eq(blaze_db_fetch(b.db, &id, back, sizeof(back)), (int)sizeof(back));
	ck_assert_int_eq(back[0], 'y');
	ck_assert_uint_eq(blazei_replica_vector_seq(b.db->replica, &a.db->self), 201);
	node_close(&a);
	node_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("step");
	TCase *tcase = tcase_create("step");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, step_two_nodes_each_sees_the_others_writes);
	tcase_add_test(tcase, step_late_joiner_gets_what_it_missed);
	tcase_add_loop_test(tcase, step_late_joiner_gets_transactions_as_far_as_they_are_retained,
	                    0, 2);
	tcase_add_test(tcase, step_content_before_registration_is_fetched);
	tcase_add_loop_test(tcase, step_lapped_reader_catches_up, 0, 2);
	tcase_add_test(tcase, step_record_too_long_for_the_lane_is_fetched);
	tcase_add_test(tcase, step_removed_ring_is_attached_anew_and_nothing_is_lost);
	tcase_add_test(tcase, step_without_a_link_nothing_is_applied);
	tcase_add_test(tcase, step_nodes_of_another_policy_refuse_each_other);
	tcase_add_test(tcase, step_check_that_was_interrupted_is_made_again_soon);
	tcase_add_test(tcase, step_interrupted_catch_up_leaves_nothing_behind);
	tcase_add_test(tcase, step_catch_up_amid_writes_brings_nothing_beyond_its_vector);
	tcase_add_test(tcase, step_server_beats_writes_that_had_not_seen_its_own);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
