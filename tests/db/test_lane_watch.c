/* SPDX-License-Identifier: Apache-2.0 */
/* Watches over the private lane: what happens in a database, told to another program. */
#include "tests/db/lane.h"

struct told {
	char lines[64][1000];
	unsigned count;
	unsigned until;
};

static int tell(void *arg, const char *text, uint32_t len)
{
	struct told *told = arg;

	ck_assert_uint_lt(told->count, 64);
	snprintf(told->lines[told->count++], sizeof(told->lines[0]), "%.*s", (int)len, text);
	return told->count == told->until ? 1 : 0;
}

/* A program that watches until it was told so many, and writes what it was told to a pipe. */
static pid_t watcher_start(unsigned until, int *ret_fd)
{
	int fds[2];
	pid_t pid;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	pid = child_fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct blazei_lane_caller *caller = lane_connect(0);
		static struct told told;
		int result;

		told.until = until;
		result = blazei_lane_watch(caller, tell, &told);
		blazei_lane_disconnect(caller);
		for (unsigned i = 0; i < told.count; i++)
			dprintf(fds[1], "%s\n", told.lines[i]);
		_exit(result == 1 ? 0 : -result);
	}
	close(fds[1]);
	*ret_fd = fds[0];
	return pid;
}

/* Waits until so many watch. */
static void watches_await(struct blaze_db *db, unsigned expected)
{
	uint64_t until = 0;
	unsigned count;

	do {
		count = 0;
		pthread_mutex_lock(&db->lock);
		for (const struct blaze_watch *at = db->watches; at != NULL; at = at->next)
			count++;
		pthread_mutex_unlock(&db->lock);
	} while (count != expected && time_is_left(&until));
	ck_assert_uint_eq(count, expected);
}

static void set(struct blaze_db *db, uint64_t n, const char *json)
{
	struct blaze_id id = lane_id(n);
	struct blaze_record *record;

	ck_assert_int_eq(blaze_record_from_json(json, strlen(json), &record), 0);
	ck_assert_int_eq(blaze_db_upsert(db, &id, record), 0);
	blaze_record_free(record);
}

static void expect_line(FILE *lines, const char *expected)
{
	char line[1000] = "";

	ck_assert_ptr_nonnull(fgets(line, sizeof(line), lines));
	/* Up to where node, time and number begin. */
	if (strstr(line, ",\"from\":{\"node\":") != NULL)
		*strstr(line, ",\"from\":{\"node\":") = '\0';
	line[strcspn(line, "\n")] = '\0';
	ck_assert_str_eq(line, expected);
}

#define ID "\"id\":\"01000000-0000-0000-0000-000000000001\""

START_TEST(events_are_told_in_order)
{
	struct blaze_db *db = stored_open("lane", 0, 0, 0);
	struct blaze_id id = lane_id(1);
	FILE *lines;
	int fd, status;
	pid_t pid = watcher_start(3, &fd);

	watches_await(db, 1);
	set(db, 1, "{\"a\":1,\"b\":\"gr\\u00fc\\n\\u007f\"}");
	set(db, 1, "{\"a\":2}");
	ck_assert_int_eq(blaze_db_delete(db, &id), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	lines = fdopen(fd, "r");
	expect_line(lines,
	            "{\"event\":\"insert\"," ID ",\"local\":true,\"state\":false,\"last\":true"
	            ",\"after\":{\"a\":1,\"b\":\"gr\xc3\xbc\\n\x7f\"}");
	expect_line(lines,
	            "{\"event\":\"update\"," ID ",\"local\":true,\"state\":false,\"last\":true"
	            ",\"before\":{\"a\":1,\"b\":\"gr\xc3\xbc\\n\x7f\"}"
	            ",\"after\":{\"a\":2,\"b\":\"gr\xc3\xbc\\n\x7f\"}");
	expect_line(lines,
	            "{\"event\":\"delete\"," ID ",\"local\":true,\"state\":false,\"last\":true"
	            ",\"before\":{\"a\":2,\"b\":\"gr\xc3\xbc\\n\x7f\"}");
	fclose(lines);
	/* It has gone, and its watch with it. */
	watches_await(db, 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(watch_ends_with_the_database)
{
	struct blaze_db *db = stored_open("lane", 0, 0, 0);
	int fds[3], status;
	pid_t pids[3];

	for (unsigned i = 0; i < 3; i++)
		pids[i] = watcher_start(10, &fds[i]);
	watches_await(db, 3);
	set(db, 1, "{}");
	/* Watches of others do not keep it open. */
	ck_assert_int_eq(blaze_db_close(db), 0);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
		ck_assert_int_eq(WEXITSTATUS(status), EPIPE);
		close(fds[i]);
	}
}
END_TEST

START_TEST(watcher_that_is_killed_leaves_no_watch)
{
	struct blaze_db *db = stored_open("lane", 0, 0, 0);
	int fd, status;
	pid_t pid = watcher_start(10, &fd);

	watches_await(db, 1);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	close(fd);
	watches_await(db, 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

static int stall(void *arg, const char *text, uint32_t len)
{
	unsigned *events = arg;

	++*events;
	if (len == strlen("{\"event\":\"rescan\"}") &&
	    memcmp(text, "{\"event\":\"rescan\"}", len) == 0)
		return 1;
	if (*events == 1)
		raise(SIGSTOP);
	return 0;
}

/* One that stops reading is not waited for: what does not fit is dropped, and it is told. */
START_TEST(slow_watcher_is_told_to_read_anew)
{
	struct blaze_db *db = stored_open("lane", 0, 0, 0);
	pid_t pid = child_fork();
	unsigned events = 0;
	char *json;
	int status;

	if (pid == 0) {
		struct blazei_lane_caller *caller = lane_connect(0);
		int result = blazei_lane_watch(caller, stall, &events);

		blazei_lane_disconnect(caller);
		(void)blaze_db_close(db);
		_exit(result == 1 && events < 500 ? 0 : 1);
	}
	json = malloc(50000);
	ck_assert_ptr_nonnull(json);
	watches_await(db, 1);
	set(db, 1, "{}");
	ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
	ck_assert(WIFSTOPPED(status));
	for (unsigned i = 0; i < 600; i++) {
		snprintf(json, 50000, "{\"n\":%u,\"t\":\"%040000u\"}", i, i);
		set(db, 2, json);
	}
	ck_assert_int_eq(kill(pid, SIGCONT), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	free(json);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

struct closing {
	struct blaze_watch *own;
	struct blaze_db *other;
	int error;
	atomic_bool done;
};

static void on_closing(void *arg, const struct blaze_watch_event *event)
{
	struct closing *closing = arg;

	(void)event;
	blaze_watch_stop(closing->own);
	closing->error = blaze_db_close(closing->other);
	/* Release: pairs with the acquire of who waits for the error. */
	atomic_store_explicit(&closing->done, true, memory_order_release);
}

/* A callback that stops its own watch, and closes another database: then the last watch of all is
 * stopped by the lane's thread, which must not wait for the callback that waits for it. */
START_TEST(callback_closes_a_database_that_is_watched)
{
	struct closing closing = { .other = stored_open("lane", 0, 0, 0) };
	struct blaze_db *db;
	uint64_t until = 0;
	int fd, status;
	pid_t pid = watcher_start(10, &fd);

	watches_await(closing.other, 1);
	ck_assert_int_eq(blaze_db_open(unique_name(), NULL, NULL, &db), 0);
	ck_assert_int_eq(blaze_db_watch(db, NULL, on_closing, &closing, &closing.own), 0);
	set(db, 1, "{}");
	while (!atomic_load_explicit(&closing.done, memory_order_acquire) && time_is_left(&until))
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	ck_assert(atomic_load_explicit(&closing.done, memory_order_acquire));
	ck_assert_int_eq(closing.error, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(WEXITSTATUS(status), EPIPE);
	close(fd);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lane_watch");
	TCase *tcase = tcase_create("lane_watch");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, stored_setup, stored_teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, events_are_told_in_order);
	tcase_add_test(tcase, watch_ends_with_the_database);
	tcase_add_test(tcase, watcher_that_is_killed_leaves_no_watch);
	tcase_add_test(tcase, callback_closes_a_database_that_is_watched);
	tcase_add_test(tcase, slow_watcher_is_told_to_read_anew);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
