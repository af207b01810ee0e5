/* SPDX-License-Identifier: Apache-2.0 */
/* The event descriptor: databases pumped by nothing but poll(2). */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/db/node.h"

#define ROUNDS 300

static struct node a, b;
static int fd_a, fd_b;

static void pair_open(void)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	const char *name = unique_name();

	options.flags = BLAZE_DB_MANUAL;
	a = node_open_with(name, "a", BLAZE_ROLE_PEER, &options);
	b = node_open_with(name, "b", BLAZE_ROLE_PEER, &options);
	fd_a = blaze_db_event_fd(a.db);
	fd_b = blaze_db_event_fd(b.db);
	ck_assert_int_ge(fd_a, 0);
	ck_assert_int_ge(fd_b, 0);
	ck_assert_int_ne(fd_a, fd_b);
}

static void pair_close(void)
{
	node_close(&a);
	node_close(&b);
	ck_assert_int_eq(fcntl(fd_a, F_GETFD), -1);
	ck_assert_int_eq(fcntl(fd_b, F_GETFD), -1);
}

static bool readable(int fd, int timeout_ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, timeout_ms) == 1;
}

/* Pumps when the descriptor says so, until the field has the value; the longest wait in ms. */
static unsigned follow(const struct node *node, int fd, const struct blaze_id *id, int64_t value)
{
	unsigned longest = 0;

	while (node_value(node, id, "n") != value) {
		uint64_t start_ns = blazei_monotonic_ns();
		uint64_t ms;

		ck_assert(readable(fd, 20000));
		ms = (blazei_monotonic_ns() - start_ns) / BLAZEI_NS_PER_MS;
		longest = ms > longest ? (unsigned)ms : longest;
		ck_assert_int_ge(blaze_db_pump(node->db, 0), 0);
	}
	return longest;
}

START_TEST(event_fd_is_refused_where_a_thread_receives)
{
	struct node node = node_open(unique_name(), "a");

	ck_assert_int_eq(blaze_db_event_fd(node.db), -EINVAL);
	ck_assert_int_eq(blaze_db_event_fd(NULL), -EINVAL);
	node_close(&node);
}
END_TEST

START_TEST(event_fd_is_one_and_quiet_without_work)
{
	bool quiet = false;

	pair_open();
	ck_assert_int_eq(blaze_db_event_fd(a.db), fd_a);
	for (int i = 0; i < 200 && !quiet; i++) {
		ck_assert_int_ge(blaze_db_pump(a.db, 0), 0);
		quiet = !readable(fd_a, 50);
	}
	ck_assert(quiet);
	pair_close();
}
END_TEST

START_TEST(event_fd_wakes_for_what_others_wrote)
{
	unsigned late = 0;
	struct blaze_id id;

	pair_open();
	node_insert(&a, "n", 0, &id);
	nodes_link(&b, &a);
	/* The first comes as state: catching up is driven by both descriptors. */
	for (uint64_t until_ns = 0; node_value(&b, &id, "n") != 0 && time_is_left(&until_ns);) {
		if (readable(fd_a, 1))
			ck_assert_int_ge(blaze_db_pump(a.db, 0), 0);
		if (readable(fd_b, 1))
			ck_assert_int_ge(blaze_db_pump(b.db, 0), 0);
	}
	ck_assert_int_eq(node_value(&b, &id, "n"), 0);
	for (int i = 1; i <= ROUNDS; i++) {
		node_update(&a, &id, "n", 2 * i);
		late += follow(&b, fd_b, &id, 2 * i) >= 90;
		node_update(&b, &id, "n", 2 * i + 1);
		late += follow(&a, fd_a, &id, 2 * i + 1) >= 90;
	}
	/* One that is missed is found after 100 ms: a few may be this slow by themselves. */
	ck_assert_uint_lt(late, ROUNDS / 10);
	pair_close();
}
END_TEST

static void *write_later(void *arg)
{
	blazei_sleep_ns(20 * BLAZEI_NS_PER_MS);
	node_update(&a, arg, "n", 9);
	return NULL;
}

static void count(void *arg, const struct blaze_watch_event *event)
{
	(void)event;
	++*(unsigned *)arg;
}

/* A transaction longer than the lane, from a node with a thread to one that only polls. */
START_TEST(event_fd_wakes_until_a_long_transaction_is_there)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	const char *name = unique_name();
	char *value = calloc(1, 1000000);
	struct blaze_id id, mark;
	unsigned late = 0;

	ck_assert_ptr_nonnull(value);
	options.flags = BLAZE_DB_MANUAL;
	a = node_open(name, "a");
	b = node_open_with(name, "b", BLAZE_ROLE_PEER, &options);
	fd_b = blaze_db_event_fd(b.db);
	nodes_link(&b, &a);
	node_insert(&a, "n", 0, &mark);
	(void)follow(&b, fd_b, &mark, 0);
	for (int i = 1; i <= 5; i++) {
		struct blaze_record *patch;
		struct blaze_txn *txn;

		ck_assert_int_eq(blaze_txn_begin(a.db, &txn), 0);
		for (int j = 0; j < 10; j++) {
			ck_assert_int_eq(blaze_id_new(&id), 0);
			ck_assert_int_eq(blaze_txn_put(txn, &id, value, 1000000), 0);
		}
		ck_assert_int_eq(blaze_record_new(&patch), 0);
		ck_assert_int_eq(blaze_record_set_int(patch, "n", i), 0);
		ck_assert_int_eq(blaze_txn_update(txn, &mark, patch), 0);
		blaze_record_free(patch);
		ck_assert_int_eq(blaze_txn_commit(txn), 0);
		late += follow(&b, fd_b, &mark, i) >= 400;
	}
	/* A wake that is missed comes 500 ms late, every time. */
	ck_assert_uint_lt(late, 3);
	node_close(&a);
	node_close(&b);
	free(value);
}
END_TEST

START_TEST(event_fd_wakes_for_watches)
{
	struct blaze_watch *watch;
	unsigned calls = 0, prompt = 0;
	struct blaze_id id;
	pthread_t thread;

	pair_open();
	node_insert(&a, "n", 0, &id);
	ck_assert_int_eq(blaze_db_watch(a.db, NULL, count, &calls, &watch), 0);
	for (int i = 0; i < 200 && readable(fd_a, 10); i++)
		ck_assert_int_ge(blaze_db_pump(a.db, 0), 0);
	/* At once, not when the helper looks by itself. */
	for (int i = 0; i < 12; i++) {
		uint64_t start_ns = blazei_monotonic_ns();

		node_update(&a, &id, "n", 100 + i);
		while (calls <= (unsigned)i) {
			ck_assert(readable(fd_a, 20000));
			ck_assert_int_ge(blaze_db_pump(a.db, 0), 0);
		}
		prompt += blazei_monotonic_ns() - start_ns < 40 * BLAZEI_NS_PER_MS;
		/* It sleeps again. */
		blazei_sleep_ns(5 * BLAZEI_NS_PER_MS);
	}
	ck_assert_uint_ge(prompt, 7);
	ck_assert_uint_eq(calls, 12);
	/* And a pump that waits is woken too, by a write of another thread. */
	ck_assert_int_eq(pthread_create(&thread, NULL, write_later, &id), 0);
	for (int i = 0; i < 10 && calls == 12; i++)
		ck_assert_int_ge(blaze_db_pump(a.db, WAIT_NS), 0);
	ck_assert_uint_eq(calls, 13);
	pthread_join(thread, NULL);
	blaze_watch_stop(watch);
	pair_close();
}
END_TEST

/* The flag, which the thread behind the descriptor writes, too. */
static bool seen(struct node *node, const bool *flag)
{
	bool value;

	blazei_db_poll_lock(node->db);
	value = *flag;
	blazei_db_poll_unlock(node->db);
	return value;
}

/* Who asks shows that on its board and then does nothing more. The one that answers has to give it
 * up in time, and comes to that only if it is pumped though nothing comes. */
START_TEST(event_fd_wakes_where_a_peer_is_waited_for)
{
	unsigned naps = 0;
	struct blaze_id id;

	pair_open();
	node_insert(&a, "n", 0, &id);
	/* It reads over that: they are not linked. */
	ck_assert_int_ge(blaze_db_pump(b.db, 0), 0);
	nodes_link(&b, &a);
	/* b asks, which takes it a few rounds. */
	for (uint64_t until_ns = 0; !seen(&b, &b.db->pull.active) && time_is_left(&until_ns);) {
		if (readable(fd_b, 1))
			ck_assert_int_ge(blaze_db_pump(b.db, 0), 0);
	}
	ck_assert(seen(&b, &b.db->pull.active));
	for (uint64_t until_ns = 0;
	     !seen(&a, &a.db->answers[0].active) && time_is_left(&until_ns);) {
		if (readable(fd_a, 1))
			ck_assert_int_ge(blaze_db_pump(a.db, 0), 0);
	}
	ck_assert(seen(&a, &a.db->answers[0].active));
	while (seen(&a, &a.db->answers[0].active)) {
		ck_assert_msg(readable(fd_a, 800), "after %u naps", naps);
		ck_assert_int_ge(blaze_db_pump(a.db, 0), 0);
		naps++;
	}
	ck_assert_uint_ge(naps, 1);
	/* Both go on, and b has it all in the end. */
	for (uint64_t until_ns = 0; node_value(&b, &id, "n") != 0 && time_is_left(&until_ns);) {
		if (readable(fd_a, 1))
			ck_assert_int_ge(blaze_db_pump(a.db, 0), 0);
		if (readable(fd_b, 1))
			ck_assert_int_ge(blaze_db_pump(b.db, 0), 0);
	}
	ck_assert_int_eq(node_value(&b, &id, "n"), 0);
	pair_close();
}
END_TEST

/* The pump itself may wait while the helper does. */
START_TEST(event_fd_and_a_waiting_pump_agree)
{
	struct blaze_id id;
	pthread_t thread;

	pair_open();
	nodes_link(&a, &b);
	node_insert(&a, "n", 0, &id);
	follow(&b, fd_b, &id, 0);
	for (int i = 0; i < 20; i++) {
		node_update(&a, &id, "n", 1);
		follow(&b, fd_b, &id, 1);
		ck_assert_int_eq(pthread_create(&thread, NULL, write_later, &id), 0);
		while (node_value(&b, &id, "n") != 9)
			ck_assert_int_ge(blaze_db_pump(b.db, WAIT_NS), 0);
		pthread_join(thread, NULL);
	}
	pair_close();
}
END_TEST

START_TEST(event_fd_after_fork_is_the_parents)
{
	struct blaze_id id;
	int status;
	pid_t child;

	pair_open();
	nodes_link(&a, &b);
	child = fork();
	if (child == 0) {
		int result = blaze_db_event_fd(a.db);

		_exit(result == -ECHILD && blaze_db_close(a.db) == 0 && fcntl(fd_a, F_GETFD) == -1
		              ? 0
		              : 1);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	node_insert(&b, "n", 4, &id);
	follow(&a, fd_a, &id, 4);
	pair_close();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("event");
	TCase *tcase = tcase_create("event");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, event_fd_is_refused_where_a_thread_receives);
	tcase_add_test(tcase, event_fd_is_one_and_quiet_without_work);
	tcase_add_test(tcase, event_fd_wakes_for_what_others_wrote);
	tcase_add_test(tcase, event_fd_wakes_until_a_long_transaction_is_there);
	tcase_add_test(tcase, event_fd_wakes_for_watches);
	tcase_add_test(tcase, event_fd_wakes_where_a_peer_is_waited_for);
	tcase_add_test(tcase, event_fd_and_a_waiting_pump_agree);
	tcase_add_test(tcase, event_fd_after_fork_is_the_parents);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
