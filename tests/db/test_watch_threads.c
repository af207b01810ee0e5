/* SPDX-License-Identifier: Apache-2.0 */
/* Watches whose callbacks run on the notifier thread: order, slowness, stopping from anywhere. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <blaze/txn.h>

#include "tests/db/node.h"

#define WRITES 2000

static struct node a, b;

static void pair_open(void)
{
	const char *name = unique_name();

	a = node_open(name, "a");
	b = node_open(name, "b");
	nodes_link(&a, &b);
}

static void pair_close(void)
{
	node_close(&a);
	node_close(&b);
}

static bool reached(const atomic_uint *counter, unsigned value)
{
	for (int i = 0; i < 30000 && atomic_load(counter) < value; i++)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	return atomic_load(counter) >= value;
}

/* Replays what is told: each change must start where the last one of its record ended. */
struct replay {
	pthread_t thread; /* of the first call */
	atomic_uint calls;
	atomic_uint wrong;
	int64_t value;
	uint64_t slow_ns;
	atomic_uint rescans;
	const struct node *of;
	struct blaze_id id;
};

static void on_replay(void *arg, const struct blaze_watch_event *event)
{
	struct replay *replay = arg;
	int64_t before = -1, after = -1;
	sigset_t blocked;

	if (atomic_load(&replay->calls) == 0)
		replay->thread = pthread_self();
	if (!pthread_equal(replay->thread, pthread_self()))
		atomic_fetch_add(&replay->wrong, 1);
	pthread_sigmask(SIG_BLOCK, NULL, &blocked);
	if (!sigismember(&blocked, SIGTERM) || !sigismember(&blocked, SIGPROF))
		atomic_fetch_add(&replay->wrong, 1);
	if (event->kind == BLAZE_WATCH_RESCAN) {
		replay->value = node_value(replay->of, &replay->id, "n");
		atomic_fetch_add(&replay->rescans, 1);
	} else if (event->kind == BLAZE_WATCH_UPDATE) {
		blaze_record_get_int(event->before, "n", &before);
		blaze_record_get_int(event->after, "n", &after);
		/* After a rescan, what was read may be later than what still comes. */
		if (before != replay->value && atomic_load(&replay->rescans) == 0)
			atomic_fetch_add(&replay->wrong, 1);
		replay->value = after;
	}
	atomic_fetch_add(&replay->calls, 1);
	if (replay->slow_ns > 0)
		blazei_sleep_ns(replay->slow_ns);
}

START_TEST(watch_replays_both_sides_writes_in_order)
{
	struct blaze_watch_options options = BLAZE_WATCH_OPTIONS_INIT;
	struct replay at_a = { .of = &a }, at_b = { .of = &b };
	struct blaze_watch *wa, *wb;

	pair_open();
	node_insert(&a, "n", 0, &at_a.id);
	node_wait(&b);
	at_b.id = at_a.id;
	options.queue_events = 4 * WRITES;
	options.kinds = BLAZE_WATCH_UPDATE;
	ck_assert_int_eq(blaze_db_watch(a.db, &options, on_replay, &at_a, &wa), 0);
	ck_assert_int_eq(blaze_db_watch(b.db, &options, on_replay, &at_b, &wb), 0);
	for (int i = 1; i <= WRITES; i++) {
		node_update(&a, &at_a.id, "n", 2 * i);
		node_update(&b, &at_a.id, "n", 2 * i + 1);
	}
	node_wait(&a);
	node_wait(&b);
	for (int i = 0; i < 30000 && (at_a.value != node_value(&a, &at_a.id, "n") ||
	                              at_b.value != node_value(&b, &at_a.id, "n"));
	     i++)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	blaze_watch_stop(wa);
	blaze_watch_stop(wb);
	ck_assert_int_eq(at_a.value, node_value(&a, &at_a.id, "n"));
	ck_assert_int_eq(at_b.value, at_a.value);
	ck_assert_uint_eq(at_a.wrong, 0);
	ck_assert_uint_eq(at_b.wrong, 0);
	ck_assert_uint_gt(at_b.calls, 1);
	pair_close();
}
END_TEST

START_TEST(watch_that_is_slow_stalls_nobody)
{
	struct blaze_watch_options options = BLAZE_WATCH_OPTIONS_INIT;
	struct replay slow = { .of = &b, .slow_ns = 100 * BLAZEI_NS_PER_MS };
	struct blaze_watch *w;
	uint64_t start_ns;

	pair_open();
	node_insert(&a, "n", 0, &slow.id);
	node_wait(&b);
	options.queue_events = 16;
	ck_assert_int_eq(blaze_db_watch(b.db, &options, on_replay, &slow, &w), 0);
	start_ns = blazei_monotonic_ns();
	for (int i = 1; i <= WRITES; i++)
		node_update(&a, &slow.id, "n", i);
	node_wait(&b);
	/* 2,000 callbacks of 100 ms would take minutes. */
	ck_assert_uint_lt(blazei_monotonic_ns() - start_ns, 20 * BLAZEI_NS_PER_S);
	ck_assert_int_eq(node_value(&b, &slow.id, "n"), WRITES);
	ck_assert(reached(&slow.rescans, 1));
	/* After the rescan events flow again. */
	node_update(&a, &slow.id, "n", WRITES + 1);
	for (int i = 0; i < 30000 && slow.value != WRITES + 1; i++)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	blaze_watch_stop(w);
	ck_assert_int_eq(slow.value, WRITES + 1);
	ck_assert_uint_le(slow.calls, 16 + 64 + 2 * slow.rescans + 2);
	pair_close();
}
END_TEST

static void on_nothing(void *arg, const struct blaze_watch_event *event)
{
	atomic_fetch_add((atomic_uint *)arg, event->kind != 0);
}

struct gate {
	atomic_uint in;
	atomic_bool open;
	atomic_uint out;
};

static void on_gate(void *arg, const struct blaze_watch_event *event)
{
	struct gate *gate = arg;

	(void)event;
	atomic_fetch_add(&gate->in, 1);
	while (!atomic_load(&gate->open))
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	atomic_fetch_add(&gate->out, 1);
}

static void *gate_open_later(void *arg)
{
	blazei_sleep_ns(50 * BLAZEI_NS_PER_MS);
	atomic_store(&((struct gate *)arg)->open, true);
	return NULL;
}

START_TEST(watch_stop_waits_for_the_callback_that_runs)
{
	struct gate gate = { .in = 0 };
	struct blaze_id id;
	struct blaze_watch *w, *other;
	atomic_uint calls = 0;
	pthread_t opener;

	pair_open();
	/* With another watch there the end of the thread is not what is waited for. */
	ck_assert_int_eq(blaze_db_watch(b.db, NULL, on_nothing, &calls, &other), 0);
	ck_assert_int_eq(blaze_db_watch(a.db, NULL, on_gate, &gate, &w), 0);
	node_insert(&a, "n", 0, &id);
	node_update(&a, &id, "n", 1);
	ck_assert(reached(&gate.in, 1));
	ck_assert_int_eq(pthread_create(&opener, NULL, gate_open_later, &gate), 0);
	blaze_watch_stop(w);
	ck_assert_uint_eq(atomic_load(&gate.out), 1);
	pthread_join(opener, NULL);
	blazei_sleep_ns(20 * BLAZEI_NS_PER_MS);
	ck_assert_uint_eq(atomic_load(&gate.in), 1);
	blaze_watch_stop(other);
	pair_close();
}
END_TEST

/* Stops itself at its first event; the last watch of the process does so too. */
struct own {
	struct blaze_watch *watch;
	atomic_uint calls;
};

static void on_own(void *arg, const struct blaze_watch_event *event)
{
	struct own *own = arg;

	(void)event;
	blaze_watch_stop(own->watch);
	atomic_fetch_add(&own->calls, 1);
}

START_TEST(watch_stopped_in_its_callback_can_be_followed_by_another)
{
	struct blaze_id id;

	pair_open();
	node_insert(&a, "n", 0, &id);
	for (int i = 0; i < 50; i++) {
		struct own own = { .calls = 0 };

		ck_assert_int_eq(blaze_db_watch(a.db, NULL, on_own, &own, &own.watch), 0);
		node_update(&a, &id, "n", i + 1);
		node_update(&a, &id, "n", -i - 1);
		ck_assert(reached(&own.calls, 1));
		blazei_sleep_ns(BLAZEI_NS_PER_MS / 10);
		ck_assert_uint_eq(atomic_load(&own.calls), 1);
	}
	pair_close();
}
END_TEST

/* Each answers the other's database, so that events and writes run in a circle. */
struct echo {
	const struct node *node;
	struct blaze_id id;
	atomic_uint calls;
};

static void on_echo(void *arg, const struct blaze_watch_event *event)
{
	struct echo *echo = arg;
	int64_t value = 0;

	if (event->kind != BLAZE_WATCH_UPDATE || (event->flags & BLAZE_WATCH_LOCAL) != 0)
		return;
	blaze_record_get_int(event->after, "n", &value);
	node_update(echo->node, &echo->id, "n", value + 1);
	atomic_fetch_add(&echo->calls, 1);
}

START_TEST(watch_callbacks_that_write_answer_each_other)
{
	struct echo at_a = { .node = &a }, at_b = { .node = &b };
	struct blaze_watch *wa, *wb;

	pair_open();
	node_insert(&a, "n", 0, &at_a.id);
	node_wait(&b);
	at_b.id = at_a.id;
	ck_assert_int_eq(blaze_db_watch(a.db, NULL, on_echo, &at_a, &wa), 0);
	ck_assert_int_eq(blaze_db_watch(b.db, NULL, on_echo, &at_b, &wb), 0);
	node_update(&a, &at_a.id, "n", 1);
	ck_assert(reached(&at_a.calls, 500));
	blaze_watch_stop(wa);
	blaze_watch_stop(wb);
	node_wait(&a);
	node_wait(&b);
	ck_assert_int_ge(node_value(&a, &at_a.id, "n"), 1000);
	nodes_assert_equal(&a, &b);
	pair_close();
}
END_TEST

/* Small lanes and callbacks that write much: writers wait for room, and receivers make it. */
static void on_flood(void *arg, const struct blaze_watch_event *event)
{
	struct echo *echo = arg;

	(void)event;
	if (atomic_load(&echo->calls) >= 200)
		return;
	for (int i = 0; i < 200; i++)
		node_update(echo->node, &echo->id, "n",
		            (int64_t)atomic_load(&echo->calls) * 1000 + i);
	atomic_fetch_add(&echo->calls, 1);
}

START_TEST(watch_callbacks_that_flood_small_lanes_come_through)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct echo at_a = { .node = &a }, at_b = { .node = &b };
	const char *name = unique_name();
	struct blaze_watch *wa, *wb;

	options.lane_bytes = 65536;
	a = node_open_with(name, "a", BLAZE_ROLE_PEER, &options);
	b = node_open_with(name, "b", BLAZE_ROLE_PEER, &options);
	nodes_link(&a, &b);
	node_insert(&a, "n", 0, &at_a.id);
	node_wait(&b);
	at_b.id = at_a.id;
	ck_assert_int_eq(blaze_db_watch(a.db, NULL, on_flood, &at_a, &wa), 0);
	ck_assert_int_eq(blaze_db_watch(b.db, NULL, on_flood, &at_b, &wb), 0);
	node_update(&a, &at_a.id, "n", 1);
	ck_assert(reached(&at_a.calls, 200));
	ck_assert(reached(&at_b.calls, 200));
	blaze_watch_stop(wa);
	blaze_watch_stop(wb);
	node_wait(&a);
	node_wait(&b);
	nodes_assert_equal(&a, &b);
	pair_close();
}
END_TEST

/* Threads that start and stop watches while others write. */
static atomic_bool churn_over;
static struct blaze_id churn_id;

static void *churn_watch(void *arg)
{
	atomic_uint *calls = arg;

	for (int i = 0; i < 300; i++) {
		struct blaze_watch *w;
		unsigned before;

		ck_assert_int_eq(blaze_db_watch(i % 2 ? a.db : b.db, NULL, on_nothing, calls, &w),
		                 0);
		if (i % 3 != 0)
			blazei_sleep_ns(50000);
		blaze_watch_stop(w);
		before = atomic_load(calls);
		if (i % 16 == 0)
			blazei_sleep_ns(200000);
		ck_assert_uint_eq(atomic_load(calls), before);
	}
	return NULL;
}

static void *churn_write(void *arg)
{
	const struct node *node = arg;

	for (int i = 0; !atomic_load(&churn_over); i++)
		node_update(node, &churn_id, "n", i);
	return NULL;
}

START_TEST(watches_come_and_go_while_others_write)
{
	atomic_uint calls[3] = { 0 };
	pthread_t watchers[3], writers[2];

	pair_open();
	node_insert(&a, "n", 0, &churn_id);
	node_wait(&b);
	atomic_store(&churn_over, false);
	ck_assert_int_eq(pthread_create(&writers[0], NULL, churn_write, &a), 0);
	ck_assert_int_eq(pthread_create(&writers[1], NULL, churn_write, &b), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&watchers[i], NULL, churn_watch, &calls[i]), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(watchers[i], NULL);
	atomic_store(&churn_over, true);
	pthread_join(writers[0], NULL);
	pthread_join(writers[1], NULL);
	ck_assert_uint_gt(atomic_load(&calls[0]) + atomic_load(&calls[1]), 0);
	node_wait(&a);
	node_wait(&b);
	nodes_assert_equal(&a, &b);
	pair_close();
}
END_TEST

#define PART 200u

/* Counts the events of each transaction up to its last one. */
struct parts {
	uint64_t seq;
	unsigned count;
	atomic_uint whole;
	atomic_uint torn;
};

static void on_part(void *arg, const struct blaze_watch_event *event)
{
	struct parts *parts = arg;

	if (event->kind == BLAZE_WATCH_RESCAN)
		return;
	if (event->from.seq != parts->seq)
		parts->count = 0;
	parts->seq = event->from.seq;
	parts->count++;
	if (event->flags & BLAZE_WATCH_LAST)
		atomic_fetch_add(parts->count == PART ? &parts->whole : &parts->torn, 1);
}

/* Whoever takes a rescan out in the middle of a transaction must not get the rest of it. */
START_TEST(watch_tells_no_part_of_a_transaction_after_a_rescan)
{
	struct blaze_watch_options options = BLAZE_WATCH_OPTIONS_INIT;
	uint64_t until = blazei_monotonic_ns() + 3 * BLAZEI_NS_PER_S;
	struct parts parts = { .seq = 0 };
	struct blaze_watch *watch;

	a = node_open(unique_name(), "a");
	options.kinds = BLAZE_WATCH_INSERT | BLAZE_WATCH_UPDATE;
	options.queue_events = PART + 10;
	ck_assert_int_eq(blaze_db_watch(a.db, &options, on_part, &parts, &watch), 0);
	for (uint64_t n = 1; blazei_monotonic_ns() < until; n++) {
		struct blaze_txn *txn;

		ck_assert_int_eq(blaze_txn_begin(a.db, &txn), 0);
		for (unsigned i = 0; i < PART; i++) {
			const struct blaze_id id = { { 1, (uint8_t)i } };

			ck_assert_int_eq(blaze_txn_put(txn, &id, &n, sizeof(n)), 0);
		}
		ck_assert_int_eq(blaze_txn_commit(txn), 0);
	}
	ck_assert(reached(&parts.whole, 1));
	blaze_watch_stop(watch);
	ck_assert_uint_eq(atomic_load(&parts.torn), 0);
	node_close(&a);
}
END_TEST

#if !defined(__SANITIZE_THREAD__)
/* A forked child starts a notifier of its own, even when the fork came from a callback. */
static int child_watches(void)
{
	struct own own = { .calls = 0 };
	struct blaze_id id;
	struct node node = node_open(unique_name(), "c");

	if (blaze_db_watch(node.db, NULL, on_own, &own, &own.watch) != 0)
		return 1;
	node_insert(&node, "n", 0, &id);
	if (!reached(&own.calls, 1))
		return 2;
	blaze_topology_free(node.topology);
	return blaze_db_close(node.db) == 0 ? 0 : 3;
}

START_TEST(watch_in_a_forked_child_is_the_childs)
{
	struct gate gate = { .in = 0 };
	struct blaze_watch *w;
	struct blaze_id id;
	int status;
	pid_t child;

	pair_open();
	ck_assert_int_eq(blaze_db_watch(a.db, NULL, on_gate, &gate, &w), 0);
	node_insert(&a, "n", 0, &id);
	ck_assert(reached(&gate.in, 1));
	child = fork();
	if (child == 0)
		_exit(child_watches());
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	atomic_store(&gate.open, true);
	blaze_watch_stop(w);
	pair_close();
}
END_TEST

static atomic_bool pumping;

static void *pump_main(void *arg)
{
	while (atomic_load(&pumping))
		blaze_db_pump(arg, 0);
	return NULL;
}

static int child_pumps(void)
{
	const struct blaze_db_options options = {
		.struct_size = sizeof(options),
		.flags = BLAZE_DB_MANUAL,
	};
	struct blaze_db *db;

	/* Ends what would wait for ever. */
	alarm(5);
	if (blaze_db_open(unique_name(), NULL, &options, &db) != 0)
		return 1;
	if (blaze_db_pump(db, 0) < 0)
		return 2;
	return blaze_db_close(db) == 0 ? 0 : 3;
}

/* The thread that pumps holds the notifier's lock in some of these forks. */
START_TEST(child_of_a_process_that_pumps_can_pump_its_own)
{
	const struct blaze_db_options options = {
		.struct_size = sizeof(options),
		.flags = BLAZE_DB_MANUAL,
	};
	struct blaze_db *db;
	pthread_t thread;

	ck_assert_int_eq(blaze_db_open(unique_name(), NULL, &options, &db), 0);
	atomic_store(&pumping, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, pump_main, db), 0);
	for (int i = 0; i < 1000; i++) {
		pid_t child = fork();
		int status;

		if (child == 0)
			_exit(child_pumps());
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_int_eq(status, 0);
	}
	atomic_store(&pumping, false);
	pthread_join(thread, NULL);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST
#endif

int main(void)
{
	Suite *suite = suite_create("watch_threads");
	TCase *tcase = tcase_create("watch_threads");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, watch_replays_both_sides_writes_in_order);
	tcase_add_test(tcase, watch_that_is_slow_stalls_nobody);
	tcase_add_test(tcase, watch_stop_waits_for_the_callback_that_runs);
	tcase_add_test(tcase, watch_stopped_in_its_callback_can_be_followed_by_another);
	tcase_add_test(tcase, watch_callbacks_that_write_answer_each_other);
	tcase_add_test(tcase, watch_callbacks_that_flood_small_lanes_come_through);
	tcase_add_test(tcase, watches_come_and_go_while_others_write);
	tcase_add_test(tcase, watch_tells_no_part_of_a_transaction_after_a_rescan);
#if !defined(__SANITIZE_THREAD__)
	tcase_add_test(tcase, child_of_a_process_that_pumps_can_pump_its_own);
	tcase_add_test(tcase, watch_in_a_forked_child_is_the_childs);
#endif
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
