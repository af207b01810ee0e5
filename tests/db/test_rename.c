/* SPDX-License-Identifier: Apache-2.0 */
/* Databases that leave their name: another history stands under it, or they were below the
 * frontier. Nothing of what was written is lost, and both sides are told. And for whom the frontier
 * waits. */
#include <stdlib.h>

#include "lib/repl/members.h"
#include "tests/db/node.h"

struct told {
	atomic_uint kinds[BLAZE_SYNC_PEER_BELOW + 1];
};

static void on_sync(void *arg, const struct blaze_watch_event *event)
{
	struct told *told = arg;

	if (event->kind == BLAZE_WATCH_SYNC)
		atomic_fetch_add(&told->kinds[event->sync], 1);
}

static struct blaze_watch *listen_to(const struct node *node, struct told *told)
{
	const struct blaze_watch_options options = {
		.struct_size = sizeof(options),
		.kinds = BLAZE_WATCH_SYNC,
	};
	struct blaze_watch *watch;

	memset(told, 0, sizeof(*told));
	ck_assert_int_eq(blaze_db_watch(node->db, &options, on_sync, told, &watch), 0);
	return watch;
}

/* Waits until an event of this kind has come. */
static void wait_told(struct told *told, enum blaze_sync sync)
{
	for (unsigned i = 0; i < 30000 && atomic_load(&told->kinds[sync]) == 0; i++)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	ck_assert_uint_gt(atomic_load(&told->kinds[sync]), 0);
}

static uint64_t seq_at(const struct node *node, const struct blazei_origin *origin)
{
	uint64_t seq;

	pthread_mutex_lock(&node->db->lock);
	seq = blazei_replica_vector_seq(node->db->replica, origin);
	pthread_mutex_unlock(&node->db->lock);
	return seq;
}

/* Hands the database a transaction that somebody else wrote under its name, `ahead` beyond its
 * own last one. */
static void forge(const struct node *node, unsigned ahead)
{
	struct blazei_replica_options options = {
		.self = origin_of(node),
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
	};
	const struct blaze_id id = { { 9 } };
	const struct blazei_write put = { .kind = BLAZEI_WRITE_PUT, .id = &id };
	uint64_t count = seq_at(node, &options.self) + ahead;
	struct blazei_replica *twin;
	struct blazei_txn_view txn;

	ck_assert_int_eq(blazei_replica_new(&options, &twin), 0);
	for (uint64_t i = 0; i < count; i++)
		ck_assert_int_eq(blazei_replica_write(twin, blazei_realtime_ns(), &put, &txn), 0);
	pthread_mutex_lock(&node->db->lock);
	ck_assert_int_eq(blazei_replica_receive(node->db->replica, blazei_realtime_ns(), &txn, 1),
	                 0);
	pthread_mutex_unlock(&node->db->lock);
	blazei_db_kick(node->db);
	blazei_replica_free(twin);
}

START_TEST(displaced_database_goes_on_under_a_new_name)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a");
	struct node b = node_open(name, "b");
	struct blazei_origin before = origin_of(&a);
	struct blazei_origin after;
	struct blaze_id ids[40];
	struct blaze_watch *watch;
	struct told told;

	nodes_link(&a, &b);
	watch = listen_to(&a, &told);
	for (unsigned i = 0; i < 20; i++)
		node_insert(&a, "n", i, &ids[i]);
	node_update(&a, &ids[3], "n", 33);
	ck_assert_int_eq(blaze_db_delete(a.db, &ids[4]), 0);
	node_wait(&b);
	forge(&a, 1);
	wait_told(&told, BLAZE_SYNC_ORIGIN_DISPLACED);
	wait_told(&told, BLAZE_SYNC_ORIGIN_RENEWED);
	for (unsigned i = 20; i < 40; i++)
		node_insert(&a, "n", i, &ids[i]);
	node_update(&b, &ids[5], "n", 55);
	node_wait(&b);
	node_wait(&a);
	after = origin_of(&a);
	ck_assert(blazei_id_equal(&before.node, &after.node));
	ck_assert_uint_ne(before.incarnation, after.incarnation);
	for (unsigned i = 0; i < 40; i++)
		ck_assert_int_eq(node_value(&b, &ids[i], "n"), i == 3   ? 33
		                                               : i == 4 ? -1
		                                               : i == 5 ? 55
		                                                        : (int64_t)i);
	nodes_assert_equal(&a, &b);
	blaze_watch_stop(watch);
	node_close(&a);
	node_close(&b);
}
END_TEST

/* What it wrote after the histories parted reached nobody: it is written anew. */
START_TEST(displaced_database_loses_nothing_that_others_refused)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a");
	struct node b = node_open(name, "b");
	struct blazei_origin before = origin_of(&a);
	struct blaze_id ids[10];
	struct blaze_watch *watch;
	struct told told;

	watch = listen_to(&a, &told);
	/* The other history comes to b first. */
	pthread_mutex_lock(&b.db->lock);
	{
		struct blazei_replica_options options = {
			.self = before,
			.policy = BLAZE_POLICY_SERVER_PRIORITY,
		};
		const struct blaze_id id = { { 9 } };
		const struct blazei_write put = { .kind = BLAZEI_WRITE_PUT, .id = &id };
		struct blazei_replica *twin;
		struct blazei_txn_view txn;

		ck_assert_int_eq(blazei_replica_new(&options, &twin), 0);
		for (unsigned i = 0; i < 3; i++) {
			ck_assert_int_eq(
			        blazei_replica_write(twin, blazei_realtime_ns(), &put, &txn), 0);
			ck_assert_int_eq(blazei_replica_receive(b.db->replica, blazei_realtime_ns(),
			                                        &txn, 1),
			                 1);
		}
		blazei_replica_free(twin);
	}
	pthread_mutex_unlock(&b.db->lock);
	for (unsigned i = 0; i < 10; i++)
		node_insert(&a, "n", i, &ids[i]);
	forge(&a, 1);
	wait_told(&told, BLAZE_SYNC_ORIGIN_RENEWED);
	nodes_link(&a, &b);
	node_wait(&b);
	for (unsigned i = 0; i < 10; i++)
		ck_assert_int_eq(node_value(&b, &ids[i], "n"), (int64_t)i);
	blaze_watch_stop(watch);
	node_close(&a);
	node_close(&b);
}
END_TEST

/* As a store would: all that is there is there for good, and a minute passes. */
static void frontier_make(const struct node *node)
{
	static uint64_t now_ns;

	now_ns = now_ns != 0 ? now_ns + 93 * BLAZEI_NS_PER_S : blazei_realtime_ns();
	for (unsigned i = 0; i < 3; i++) {
		struct blazei_vector_entry entries[16];
		struct blazei_vector_view durable = { entries, 0 };

		blazei_db_poll_lock(node->db);
		pthread_mutex_lock(&node->db->lock);
		durable.count = blazei_replica_vector_count(node->db->replica);
		ck_assert_uint_le(durable.count, 16);
		for (unsigned k = 0; k < durable.count; k++)
			blazei_replica_vector_entry(node->db->replica, k, &entries[k]);
		pthread_mutex_unlock(&node->db->lock);
		ck_assert_int_ge(blazei_db_members_tick(node->db, now_ns + i * 31 * BLAZEI_NS_PER_S,
		                                        &durable, false),
		                 0);
		blazei_db_poll_unlock(node->db);
	}
}

static uint64_t frontier_of(const struct node *node, const struct blazei_origin *origin)
{
	uint64_t seq;

	pthread_mutex_lock(&node->db->lock);
	seq = blazei_replica_frontier_seq(node->db->replica, origin);
	pthread_mutex_unlock(&node->db->lock);
	return seq;
}

static void position_await(const struct node *by, const struct node *at,
                           const struct blaze_position *position)
{
	ck_assert_int_eq(blaze_topology_wait_position(by->topology, &at->id, position,
	                                              BLAZE_REACHED_APPLIED, WAIT_NS),
	                 0);
}

START_TEST(database_below_the_frontier_is_heard_under_a_new_name)
{
	const char *name = unique_name();
	struct node b = node_open(name, "b");
	struct node c;
	struct blazei_origin before, own = origin_of(&b);
	struct blaze_watch *watches[2];
	struct told told[2];
	struct blaze_position position;
	struct blaze_id ids[6];

	for (unsigned i = 0; i < 3; i++)
		node_insert(&b, "n", i, &ids[i]);
	frontier_make(&b);
	ck_assert_uint_ge(frontier_of(&b, &own), 3);
	/* It wrote before it heard of anybody. */
	c = node_open(name, "c");
	before = origin_of(&c);
	for (unsigned i = 3; i < 6; i++)
		node_insert(&c, "n", i, &ids[i]);
	ck_assert_int_eq(blaze_db_position(c.db, &position), 0);
	watches[0] = listen_to(&b, &told[0]);
	watches[1] = listen_to(&c, &told[1]);
	nodes_link(&b, &c);
	/* As soon as links lead there, what it wrote is waited for under whatever name it comes. */
	position_await(&b, &b, &position);
	for (unsigned i = 3; i < 6; i++)
		ck_assert_int_eq(node_value(&b, &ids[i], "n"), (int64_t)i);
	wait_told(&told[1], BLAZE_SYNC_ORIGIN_RENEWED);
	/* By the board, and where it was written. */
	position_await(&c, &b, &position);
	position_await(&c, &c, &position);
	position.incarnation++;
	ck_assert_int_eq(blaze_topology_wait_position(b.topology, &b.id, &position,
	                                              BLAZE_REACHED_APPLIED, WAIT_NS),
	                 -EHOSTUNREACH);
	/* It is told of after another registration too. */
	position.incarnation--;
	ck_assert_int_eq(blaze_topology_unregister(c.topology, &c.id), 0);
	ck_assert_int_eq(blaze_topology_register(c.topology, c.db, "again", BLAZE_ROLE_PEER, &c.id),
	                 0);
	position_await(&b, &b, &position);
	node_wait(&b);
	node_wait(&c);
	for (unsigned i = 0; i < 6; i++) {
		ck_assert_int_eq(node_value(&b, &ids[i], "n"), (int64_t)i);
		ck_assert_int_eq(node_value(&c, &ids[i], "n"), (int64_t)i);
	}
	nodes_assert_equal(&b, &c);
	/* Nothing of what it wrote below the frontier was taken. */
	ck_assert_uint_eq(seq_at(&b, &before), 0);
	ck_assert_uint_eq(seq_at(&c, &before), 0);
	/* From now on it is heard like anybody. */
	node_update(&c, &ids[0], "n", 77);
	node_wait(&b);
	ck_assert_int_eq(node_value(&b, &ids[0], "n"), 77);
	for (unsigned i = 0; i < 2; i++)
		blaze_watch_stop(watches[i]);
	node_close(&b);
	node_close(&c);
}
END_TEST

/* It is not written again: others had overwritten it, and their write is there. */
START_TEST(position_of_what_had_lost_is_reached)
{
	const char *name = unique_name();
	struct node b = node_open(name, "b");
	const struct blaze_id id = { { 7 } };
	struct blazei_origin before, after, own = origin_of(&b);
	struct blaze_position position;
	struct blaze_watch *watch;
	struct blaze_id other;
	struct node c;
	struct told told;

	node_insert(&b, "n", 0, &other);
	frontier_make(&b);
	ck_assert_uint_ge(frontier_of(&b, &own), 1);
	c = node_open(name, "c");
	before = origin_of(&c);
	ck_assert_int_eq(blaze_db_put(c.db, &id, "c", 1), 0);
	ck_assert_int_eq(blaze_db_position(c.db, &position), 0);
	ck_assert_int_eq(blaze_db_put(b.db, &id, "b", 1), 0);
	watch = listen_to(&c, &told);
	nodes_link(&b, &c);
	wait_told(&told, BLAZE_SYNC_ORIGIN_RENEWED);
	position_await(&b, &b, &position);
	position_await(&c, &b, &position);
	position_await(&c, &c, &position);
	after = origin_of(&c);
	ck_assert_uint_eq(seq_at(&b, &before), 0);
	ck_assert_uint_eq(seq_at(&c, &after), 0);
	nodes_assert_equal(&b, &c);
	blaze_watch_stop(watch);
	node_close(&b);
	node_close(&c);
}
END_TEST

/* A record that was deleted, collected and made anew while somebody thinks about it. */
START_TEST(frontier_waits_for_open_transactions)
{
	struct node a = node_open(unique_name(), "a");
	struct blazei_origin own = origin_of(&a);
	struct blaze_txn *txn, *later;
	struct blaze_record *record;
	struct blaze_id id;
	uint64_t began;

	node_insert(&a, "n", 1, &id);
	ck_assert_int_eq(blaze_db_delete(a.db, &id), 0);
	began = seq_at(&a, &own);
	ck_assert_int_eq(blaze_txn_begin(a.db, &txn), 0);
	ck_assert_int_eq(blaze_txn_get(txn, &id, &record), -ENOENT);
	for (unsigned i = 0; i < 3; i++) {
		record = record_of("n", i);
		ck_assert_int_eq(blaze_db_insert_with_id(a.db, &id, record), 0);
		blaze_record_free(record);
		ck_assert_int_eq(blaze_db_delete(a.db, &id), 0);
		frontier_make(&a);
		ck_assert_uint_le(frontier_of(&a, &own), began);
	}
	/* Another one that began before it ended goes on keeping it back, no longer than that. */
	ck_assert_int_eq(blaze_txn_begin(a.db, &later), 0);
	blaze_txn_abort(txn);
	node_insert(&a, "n", 2, NULL);
	began = seq_at(&a, &own);
	for (unsigned i = 0; i < 3; i++)
		frontier_make(&a);
	ck_assert_uint_lt(frontier_of(&a, &own), began);
	blaze_txn_abort(later);
	for (unsigned i = 0; i < 3; i++)
		frontier_make(&a);
	ck_assert_uint_ge(frontier_of(&a, &own), began);
	node_close(&a);
}
END_TEST

START_TEST(frontier_waits_for_databases_without_a_store)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a");
	struct node b = node_open(name, "b");
	struct blazei_origin own = origin_of(&b);
	struct blaze_id id;

	nodes_link(&a, &b);
	node_insert(&b, "n", 1, &id);
	node_wait(&a);
	/* a takes nothing in from now on. */
	blazei_db_poll_lock(a.db);
	node_insert(&b, "n", 2, &id);
	frontier_make(&b);
	ck_assert_uint_le(frontier_of(&b, &own), 1);
	blazei_db_poll_unlock(a.db);
	node_wait(&a);
	frontier_make(&b);
	ck_assert_uint_ge(frontier_of(&b, &own), 2);
	node_close(&a);
	node_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("rename");
	TCase *tcase = tcase_create("rename");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, displaced_database_goes_on_under_a_new_name);
	tcase_add_test(tcase, displaced_database_loses_nothing_that_others_refused);
	tcase_add_test(tcase, database_below_the_frontier_is_heard_under_a_new_name);
	tcase_add_test(tcase, position_of_what_had_lost_is_reached);
	tcase_add_test(tcase, frontier_waits_for_open_transactions);
	tcase_add_test(tcase, frontier_waits_for_databases_without_a_store);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
