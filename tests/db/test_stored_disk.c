/* SPDX-License-Identifier: Apache-2.0 */
/* Databases whose disk stands still: what is not durable is not told of as such, nor published; and
 * nobody else waits for that disk. The backend is "file:", but completions wait at a gate. */
#include <pthread.h>
#include <stdlib.h>

#include "lib/op/unit.h"
#include "lib/store/file.h"
#include "lib/store/log.h"
#include "tests/db/origins.h"
#include "tests/db/stored.h"

static _Atomic bool closed;
static _Atomic bool standing;    /* somebody is, at the gate */
static _Atomic bool closing;     /* with the next append */
static _Atomic bool claimed;     /* somebody had the leader's place */
static _Atomic bool claimed_yet; /* when something was last appended */

static int gate_submit(void *store, const struct blaze_store_request *requests, unsigned count)
{
	if (requests[0].operation == BLAZE_STORE_APPEND) {
		atomic_store(&claimed_yet, atomic_load(&claimed));
		if (atomic_exchange(&closing, false))
			atomic_store(&closed, true);
	}
	return blazei_file_ops.submit(store, requests, count);
}

static int gate_poll(void *store, struct blaze_store_completion *ret_completions, unsigned max)
{
	while (atomic_load(&closed)) {
		atomic_store(&standing, true);
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	}
	atomic_store(&standing, false);
	return blazei_file_ops.poll(store, ret_completions, max);
}

/* A node whose disk is behind the gate. */
static struct node gate_node_as(const char *db_name, unsigned number, unsigned flags,
                                uint32_t durability)
{
	static struct blaze_store_ops ops;
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct node node;
	char uri[80];
	int error;

	ops = blazei_file_ops;
	ops.poll = gate_poll;
	ops.submit = gate_submit;
	error = blaze_store_register("gate", &ops);
	ck_assert(error == 0 || error == -EEXIST);
	options.durability = durability;
	options.flags = flags;
	snprintf(uri, sizeof(uri), "gate:%s", stored_path(number));
	ck_assert_int_eq(blaze_db_open(db_name, uri, &options, &node.db), 0);
	ck_assert_int_eq(blaze_topology_new(&node.topology), 0);
	ck_assert_int_eq(
	        blaze_topology_register(node.topology, node.db, "gate", BLAZE_ROLE_PEER, &node.id),
	        0);
	return node;
}

static struct node gate_node(const char *db_name, unsigned number, unsigned flags)
{
	return gate_node_as(db_name, number, flags, BLAZE_DURABILITY_SYNC);
}

/* Asks the node where it is, and from afar. */
static int durable_wait(const struct node *asker, const struct node *node,
                        const struct blaze_position *position, uint64_t timeout_ns)
{
	return blaze_topology_wait_position(asker->topology, &node->id, position,
	                                    BLAZE_REACHED_DURABLE, timeout_ns);
}

START_TEST(position_is_durable_after_the_sync)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a");
	struct node b = gate_node(name, 0, 0);
	struct blaze_position position;
	struct blaze_id id;

	nodes_link(&a, &b);
	node_insert(&a, "n", 1, &id);
	ck_assert_int_eq(blaze_db_position(a.db, &position), 0);
	ck_assert_int_eq(durable_wait(&a, &b, &position, WAIT_NS), 0);
	ck_assert_int_eq(durable_wait(&b, &b, &position, WAIT_NS), 0);
	ck_assert_int_eq(durable_wait(&b, &a, &position, WAIT_NS), -EOPNOTSUPP);
	ck_assert_int_eq(durable_wait(&a, &a, &position, WAIT_NS), -EOPNOTSUPP);
	atomic_store(&closed, true);
	node_update(&a, &id, "n", 2);
	ck_assert_int_eq(blaze_db_position(a.db, &position), 0);
	ck_assert_int_eq(blaze_topology_wait_position(a.topology, &b.id, &position,
	                                              BLAZE_REACHED_APPLIED, WAIT_NS),
	                 0);
	ck_assert_int_eq(durable_wait(&a, &b, &position, 200 * BLAZEI_NS_PER_MS), -ETIMEDOUT);
	ck_assert_int_eq(durable_wait(&b, &b, &position, 200 * BLAZEI_NS_PER_MS), -ETIMEDOUT);
	/* Who wrote it may go: it is there. */
	node_close(&a);
	ck_assert_int_eq(durable_wait(&b, &b, &position, 50 * BLAZEI_NS_PER_MS), -ETIMEDOUT);
	atomic_store(&closed, false);
	ck_assert_int_eq(durable_wait(&b, &b, &position, WAIT_NS), 0);
	node_close(&b);
}
END_TEST

struct writer {
	const struct node *node;
	struct blaze_id id;
	_Atomic bool done;
};

static void *write_one(void *arg)
{
	struct writer *writer = arg;

	node_insert(writer->node, "n", 7, &writer->id);
	atomic_store(&writer->done, true);
	return NULL;
}

START_TEST(own_write_is_published_when_durable)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a");
	struct node b = gate_node(name, 0, 0);
	struct writer writer = { .node = &b };
	struct node c;
	pthread_t thread;

	nodes_link(&a, &b);
	node_insert(&b, "n", 1, NULL);
	node_wait(&a);
	atomic_store(&closed, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_one, &writer), 0);
	while (blaze_db_count(b.db) != 2)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	/* Neither by the lane, nor to one that asks for all there is. */
	c = node_open(name, "c");
	nodes_link(&b, &c);
	for (unsigned i = 0; i < 300; i++) {
		ck_assert_int_eq(blaze_db_count(a.db), 1);
		ck_assert_int_le(blaze_db_count(c.db), 1);
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	}
	ck_assert(!atomic_load(&writer.done));
	atomic_store(&closed, false);
	pthread_join(thread, NULL);
	node_wait(&a);
	node_wait(&c);
	ck_assert_int_eq(node_value(&a, &writer.id, "n"), 7);
	ck_assert_int_eq(node_value(&c, &writer.id, "n"), 7);
	node_close(&a);
	node_close(&c);
	node_close(&b);
}
END_TEST

/* Lets pass what stands at the gate, until something is appended again, as has to come. */
static void gate_step(void)
{
	atomic_store(&closing, true);
	atomic_store(&closed, false);
	while (!atomic_load(&closed))
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
}

/* Waits until all that there is has left in a flight, which stands at the gate; its last LSN. */
static uint64_t gate_arrive(struct blazei_store *store)
{
	for (;;) {
		bool leading, more;
		uint64_t last;

		pthread_mutex_lock(&store->lock);
		leading = store->leading;
		more = store->pending.len > 0;
		last = store->last;
		pthread_mutex_unlock(&store->lock);
		if (leading && !more && atomic_load(&standing))
			return last;
		if (leading && more)
			gate_step();
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	}
}

/* Of two that wait for two syncs the first is published with the first sync, and not the other. */
START_TEST(own_writes_are_published_as_far_as_they_are_durable)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a");
	struct node b = gate_node(name, 0, 0);
	struct writer writers[2] = { { .node = &b }, { .node = &b } };
	pthread_t threads[2];
	uint64_t first = 0, unsynced;

	nodes_link(&a, &b);
	atomic_store(&closed, true);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(pthread_create(&threads[i], NULL, write_one, &writers[i]), 0);
		while (blaze_db_count(b.db) != (int64_t)i + 1)
			blazei_sleep_ns(BLAZEI_NS_PER_MS);
		/* What is counted is handed to the log before the lock is given back. */
		pthread_mutex_lock(&b.db->lock);
		pthread_mutex_unlock(&b.db->lock);
		if (i == 0)
			first = gate_arrive(b.db->store);
	}
	while (blazei_store_durable(b.db->store, &unsynced) < first)
		gate_step();
	pthread_join(threads[0], NULL);
	while (blaze_db_count(a.db) == 0)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	for (unsigned i = 0; i < 300; i++) {
		ck_assert_int_eq(blaze_db_count(a.db), 1);
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	}
	ck_assert(!atomic_load(&writers[1].done));
	atomic_store(&closed, false);
	pthread_join(threads[1], NULL);
	node_wait(&a);
	ck_assert_int_eq(blaze_db_count(a.db), 2);
	node_close(&a);
	node_close(&b);
}
END_TEST

/* One after the other, until somebody says that it is done. */
static void *write_on(void *arg)
{
	struct writer *writer = arg;

	while (!atomic_load(&writer->done))
		node_insert(writer->node, "n", 7, NULL);
	return NULL;
}

static void *claim_once(void *arg)
{
	ck_assert_int_eq(blazei_store_claim(arg), 0);
	atomic_store(&claimed, true);
	blazei_store_release(arg, 0);
	return NULL;
}

/* Between two syncs of one who commits in a loop there is room for who has to use the log, as a
 * compaction does, however long that takes to wake; in some rounds it wakes first anyway. */
START_TEST(committer_lets_others_have_the_log)
{
	struct node b = gate_node(unique_name(), 0, 0);
	struct writer writer = { .node = &b };
	pthread_t committer, other;

	atomic_store(&closed, true);
	ck_assert_int_eq(pthread_create(&committer, NULL, write_on, &writer), 0);
	for (unsigned i = 0; i < 30; i++) {
		unsigned claims = 0;

		atomic_store(&claimed, false);
		(void)gate_arrive(b.db->store);
		ck_assert_int_eq(pthread_create(&other, NULL, claim_once, b.db->store), 0);
		while (claims == 0) {
			pthread_mutex_lock(&b.db->store->lock);
			claims = b.db->store->claims;
			pthread_mutex_unlock(&b.db->store->lock);
		}
		gate_step();
		ck_assert(atomic_load(&claimed_yet));
		pthread_join(other, NULL);
	}
	atomic_store(&writer.done, true);
	atomic_store(&closed, false);
	pthread_join(committer, NULL);
	node_close(&b);
}
END_TEST

static int try_long(struct blaze_db *db, unsigned number)
{
	static uint8_t value[1000 << 10];
	struct blaze_id id = { { 1, (uint8_t)number } };

	memset(value, (int)number, sizeof(value));
	return blaze_db_put(db, &id, value, sizeof(value));
}

static void put_long(const struct node *node, unsigned number)
{
	ck_assert_int_eq(try_long(node->db, number), 0);
}

/* While the disk stands still what is in the tail is acknowledged; who comes when that is full has
 * changed nothing. */
START_TEST(full_tail_turns_writers_away)
{
	const char *name = unique_name();
	struct node b = gate_node_as(name, 0, 0, BLAZE_DURABILITY_ASYNC);
	struct blaze_db *db;
	unsigned done = 0;
	int error = 0;

	atomic_store(&closed, true);
	while (error == 0 && done < 200) {
		error = try_long(b.db, done);
		done += error == 0;
	}
	ck_assert_int_eq(error, -EAGAIN);
	ck_assert_uint_gt(done, 2);
	ck_assert_int_eq(blaze_db_count(b.db), done);
	atomic_store(&closed, false);
	while ((error = try_long(b.db, done)) == -EAGAIN)
		;
	ck_assert_int_eq(error, 0);
	node_close(&b);
	db = stored_open(name, 0, 0, 0);
	ck_assert_int_eq(blaze_db_count(db), done + 1);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

/* Has nothing of its own to write, which would wait for the disk, and who catches up for it. */
static void keep_silent(const struct node *node)
{
	blazei_db_poll_lock(node->db);
	node->db->next_tick_ns = UINT64_MAX;
	blazei_db_poll_unlock(node->db);
	ck_assert_int_eq(blaze_db_sync(node->db), 0);
}

/* Whether it takes nothing in, as too much waits for the disk. */
static bool is_full(const struct node *node)
{
	bool full;

	blazei_db_poll_lock(node->db);
	full = node->db->full;
	blazei_db_poll_unlock(node->db);
	return full;
}

START_TEST(stalled_disk_stalls_nobody_else)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a");
	struct node b = gate_node(name, 0, 0);
	struct node d = stored_node(name, 1, 0);
	struct blaze_id id;
	uint64_t until = 0;
	unsigned sent = 0;
	int64_t held;

	nodes_link(&a, &b);
	nodes_link(&a, &d);
	node_insert(&a, "n", 1, &id);
	node_wait(&b);
	keep_silent(&b);
	atomic_store(&closed, true);
	for (unsigned i = 0; i < 100; i++)
		node_update(&a, &id, "n", 2 + i);
	/* It goes on merging, */
	node_wait(&b);
	node_wait(&d);
	ck_assert_int_eq(node_value(&b, &id, "n"), 101);
	/* until too much waits for the disk; */
	while (!is_full(&b) && sent < 200) {
		put_long(&a, sent++);
		while (blaze_db_count(b.db) < 1 + (int64_t)sent && !is_full(&b) &&
		       time_is_left(&until))
			blazei_sleep_ns(BLAZEI_NS_PER_MS / 10);
	}
	ck_assert(is_full(&b));
	held = blaze_db_count(b.db);
	/* then it takes in no more. The others go on. */
	for (unsigned i = 0; i < 20; i++)
		put_long(&a, sent + i);
	node_wait(&d);
	nodes_assert_equal(&a, &d);
	node_insert(&d, "n", 5, &id);
	node_wait(&a);
	ck_assert_int_eq(node_value(&a, &id, "n"), 5);
	for (unsigned i = 0; i < 300; i++) {
		ck_assert(is_full(&b));
		ck_assert_int_eq(blaze_db_count(b.db), held);
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	}
	atomic_store(&closed, false);
	node_wait(&b);
	nodes_assert_equal(&a, &b);
	node_close(&a);
	node_close(&b);
	node_close(&d);
}
END_TEST

static void *compact_main(void *arg)
{
	ck_assert_int_eq(blaze_db_compact(arg), 0);
	return NULL;
}

/* On a disk that stands still from its first flight on: a checkpoint of 24 MiB leaves a quarter of
 * the tail to others (0), unless the log is twice as long as it should be (1). */
START_TEST(compaction_leaves_room_in_the_tail)
{
	const uint64_t least = _i == 0 ? 8u << 20 : 13u << 20,
	               most = _i == 0 ? 12u << 20 : 16u << 20;
	struct node b = gate_node_as(unique_name(), 0, 0, BLAZE_DURABILITY_ASYNC);
	uint64_t until = 0, unsynced = 0;
	pthread_t thread;

	pthread_mutex_lock(&b.db->lock);
	b.db->compaction.bytes_min = UINT64_C(1) << 40;
	pthread_mutex_unlock(&b.db->lock);
	for (unsigned i = 0; i < 24; i++)
		put_long(&b, i);
	keep_silent(&b);
	atomic_store(&closing, true);
	pthread_mutex_lock(&b.db->lock);
	b.db->compaction.bytes_min = _i == 0 ? UINT64_C(1) << 40 : 1 << 20;
	pthread_mutex_unlock(&b.db->lock);
	ck_assert_int_eq(pthread_create(&thread, NULL, compact_main, b.db), 0);
	while (unsynced < least && time_is_left(&until)) {
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
		(void)blazei_store_durable(b.db->store, &unsynced);
	}
	for (unsigned i = 0; i < 300; i++) {
		ck_assert_uint_ge(unsynced, least);
		ck_assert_uint_lt(unsynced, most);
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
		(void)blazei_store_durable(b.db->store, &unsynced);
	}
	atomic_store(&closed, false);
	pthread_join(thread, NULL);
	node_close(&b);
}
END_TEST

/* What it takes in stays in memory until it is asked for, however much that is. */
START_TEST(database_that_keeps_nothing_yet_takes_all_in)
{
	const char *name = unique_name();
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct node a = node_open(name, "a");
	struct node b;

	options.durability = BLAZE_DURABILITY_NONE;
	ck_assert_int_eq(blaze_db_open(name, stored_path(0), &options, &b.db), 0);
	ck_assert_int_eq(blaze_topology_new(&b.topology), 0);
	ck_assert_int_eq(blaze_topology_register(b.topology, b.db, "b", BLAZE_ROLE_PEER, &b.id), 0);
	nodes_link(&a, &b);
	for (unsigned i = 0; i < 80; i++)
		put_long(&a, i);
	node_wait(&b);
	nodes_assert_equal(&a, &b);
	node_insert(&a, "n", 1, NULL);
	node_wait(&b);
	nodes_assert_equal(&a, &b);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(pumped_database_syncs_in_the_pump)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a");
	struct node b = gate_node(name, 0, BLAZE_DB_MANUAL);
	struct blaze_position position;
	unsigned tries = 0;

	nodes_link(&a, &b);
	node_insert(&a, "n", 1, NULL);
	ck_assert_int_eq(blaze_db_position(a.db, &position), 0);
	while (blaze_db_count(b.db) == 0 && tries++ < 3000)
		ck_assert_int_ge(blaze_db_pump(b.db, 10 * BLAZEI_NS_PER_MS), 0);
	ck_assert_int_eq(durable_wait(&a, &b, &position, 0), 0);
	node_close(&a);
	node_close(&b);
}
END_TEST

/* Transactions that came one behind the other become durable as far as the log is, not all or
 * none. The flusher leaves them alone meanwhile. */
START_TEST(run_is_durable_in_parts)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_record *record;
	struct blaze_db *db;
	uint64_t before;

	options.durability = BLAZE_DURABILITY_ASYNC;
	options.sync_interval_ns = 600 * BLAZEI_NS_PER_S;
	options.flags = BLAZE_DB_MANUAL;
	ck_assert_int_eq(blaze_db_open("parts", stored_path(0), &options, &db), 0);
	ck_assert_int_eq(blaze_record_new(&record), 0);
	ck_assert_int_eq(blaze_record_set_int(record, "n", 1), 0);
	before = blazei_replica_durable(db->replica, 0);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(blaze_db_insert(db, record, NULL), 0);
	ck_assert_int_eq(blazei_store_sync(db->store), 0);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(blaze_db_insert(db, record, NULL), 0);
	blazei_durable_advance(db);
	ck_assert_uint_eq(blazei_replica_durable(db->replica, 0), before + 5);
	ck_assert_uint_eq(db->durable.count, 1);
	ck_assert_int_eq(blaze_db_insert(db, record, NULL), 0);
	blazei_durable_advance(db);
	ck_assert_uint_eq(blazei_replica_durable(db->replica, 0), before + 5);
	ck_assert_int_eq(blaze_db_sync(db), 0);
	ck_assert_uint_eq(blazei_replica_durable(db->replica, 0), before + 10);
	ck_assert_uint_eq(db->durable.count, 0);
	blaze_record_free(record);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

/* Another's transaction, which this database has; and the next one, which it has not. */
static void stranger_write(struct blaze_db *db, struct blazei_replica *stranger,
                           struct blazei_txn_view *ret_next)
{
	const struct blaze_id id = { { 9 } };
	const struct blazei_write put = { .kind = BLAZEI_WRITE_PUT, .id = &id };
	uint64_t now_ns = blazei_realtime_ns();
	struct blazei_txn_view txn;

	ck_assert_int_eq(blazei_replica_write(stranger, now_ns, &put, &txn), 0);
	pthread_mutex_lock(&db->lock);
	ck_assert_int_eq(blazei_replica_receive(db->replica, now_ns, &txn, 1), 1);
	pthread_mutex_unlock(&db->lock);
	ck_assert_int_eq(blazei_replica_write(stranger, now_ns, &put, ret_next), 0);
}

/* A power cut within a unit leaves nothing of it: so nothing in it is durable ahead of its end. */
START_TEST(unit_is_durable_with_its_end)
{
	const struct blazei_replica_options alien = {
		.self = { .node = { { 77 } }, .incarnation = 1 },
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
	};
	union {
		struct blazei_unit_bound bound;
		uint8_t bytes[sizeof(struct blazei_unit_bound) + sizeof(struct blazei_unit_item)];
	} begin = { .bound = { .bytes = sizeof(begin.bound), .kind = BLAZEI_KIND_BEGIN } },
	  end = { .bound = { .bytes = sizeof(end), .kind = BLAZEI_KIND_END, .item_count = 1 } };
	struct blaze_db *db = stored_open("unit", 0, 0, BLAZE_DB_MANUAL);
	const struct blazei_log_sink log = origins_log(db->replica);
	struct blazei_replica *stranger;
	struct blazei_txn_view next;

	ck_assert_int_eq(blazei_replica_new(&alien, &stranger), 0);
	stranger_write(db, stranger, &next);
	end.bound.items[0].origin = alien.self;
	end.bound.items[0].seq = 2;
	log.append(db, &begin, begin.bound.bytes);
	log.append(db, next.data, next.len);
	ck_assert_int_eq(blazei_store_sync(db->store), 0);
	blazei_durable_advance(db);
	ck_assert_uint_eq(blazei_replica_durable(db->replica, 1), 1);
	log.append(db, &end, end.bound.bytes);
	blazei_durable_advance(db);
	ck_assert_uint_eq(blazei_replica_durable(db->replica, 1), 1);
	ck_assert_int_eq(blazei_store_sync(db->store), 0);
	blazei_durable_advance(db);
	ck_assert_uint_eq(blazei_replica_durable(db->replica, 1), 2);
	blazei_replica_free(stranger);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stored_disk");
	TCase *tcase = tcase_create("stored_disk");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, stored_setup, stored_teardown);
	tcase_add_test(tcase, position_is_durable_after_the_sync);
	tcase_add_test(tcase, own_write_is_published_when_durable);
	tcase_add_test(tcase, own_writes_are_published_as_far_as_they_are_durable);
	tcase_add_test(tcase, committer_lets_others_have_the_log);
	tcase_add_test(tcase, full_tail_turns_writers_away);
	tcase_add_test(tcase, stalled_disk_stalls_nobody_else);
	tcase_add_loop_test(tcase, compaction_leaves_room_in_the_tail, 0, 2);
	tcase_add_test(tcase, database_that_keeps_nothing_yet_takes_all_in);
	tcase_add_test(tcase, pumped_database_syncs_in_the_pump);
	tcase_add_test(tcase, run_is_durable_in_parts);
	tcase_add_test(tcase, unit_is_durable_with_its_end);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
