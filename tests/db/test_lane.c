/* SPDX-License-Identifier: Apache-2.0 */
/* The private lane: each request by a second process, and what becomes of it when the holder or the
 * client is killed, forks or closes in the middle. */
#include "tests/db/lane.h"

/* Records ------------------------------------------------------------------------------------ */

static void expect_value(struct blazei_lane_caller *caller, uint64_t n, const char *field,
                         int64_t expected)
{
	struct blaze_id id = lane_id(n);
	struct blaze_record *record;
	int64_t value;

	ck_assert_int_eq(blazei_lane_get(caller, &id, &record), 0);
	ck_assert_int_eq(blaze_record_get_int(record, field, &value), 0);
	ck_assert_int_eq(value, expected);
	blaze_record_free(record);
}

START_TEST(put_is_read_by_lane_and_after_close)
{
	struct holder holder = holder_start(0);
	struct blazei_lane_caller *caller = lane_connect(0);
	struct blaze_id id = lane_id(7);
	struct blaze_record *record;
	struct blaze_db *db;

	lane_set(caller, 7, 70);
	expect_value(caller, 7, "n", 70);
	blazei_lane_disconnect(caller);
	holder_close(&holder);
	ck_assert(!lane_there(0));
	db = stored_open("lane", 0, 0, 0);
	ck_assert_int_eq(blaze_db_get(db, &id, &record), 0);
	blaze_record_free(record);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(put_that_was_answered_outlives_the_holder)
{
	static const uint32_t durabilities[] = { BLAZE_DURABILITY_SYNC, BLAZE_DURABILITY_ASYNC };

	for (unsigned i = 0; i < 2; i++) {
		struct holder holder = holder_start_with(i, durabilities[i], 0);
		struct blazei_lane_caller *caller = lane_connect(i);
		struct blaze_id id = lane_id(8);
		struct blaze_record *record;
		struct blaze_db *db;

		lane_set(caller, 8, 80);
		holder_kill(&holder);
		ck_assert_int_eq(blazei_lane_get(caller, &id, &record), -EPIPE);
		blazei_lane_disconnect(caller);
		/* What it left is no lane, and in nobody's way. */
		ck_assert(lane_there(i));
		ck_assert_int_eq(blazei_lane_connect(stored_path(i), NULL, NULL, &caller), -ENOENT);
		db = stored_open("lane", i, 0, 0);
		ck_assert_int_eq(blaze_db_get(db, &id, &record), 0);
		blaze_record_free(record);
		caller = lane_connect(i);
		expect_value(caller, 8, "n", 80);
		blazei_lane_disconnect(caller);
		ck_assert_int_eq(blaze_db_close(db), 0);
		ck_assert(!lane_there(i));
	}
}
END_TEST

START_TEST(errors_are_those_of_the_library)
{
	struct holder holder = holder_start(0);
	struct blazei_lane_caller *caller = lane_connect(0);
	struct blaze_id id = lane_id(9), made;
	struct blaze_record *record = record_of("n", 1), *got = NULL;

	ck_assert_int_eq(blazei_lane_get(caller, &id, &got), -ENOENT);
	ck_assert_int_eq(blazei_lane_delete(caller, &id), -ENOENT);
	ck_assert_int_eq(blazei_lane_insert(caller, record, &made), 0);
	ck_assert_int_eq(blazei_lane_delete(caller, &made), 0);
	ck_assert_int_eq(blazei_lane_get(caller, &made, &got), -ENOENT);
	ck_assert_int_eq(blaze_record_unset(record, "n"), 0);
	ck_assert_int_eq(blazei_lane_upsert(caller, &id, record), -EINVAL);
	/* And none of them ends the lane. */
	lane_set(caller, 9, 90);
	expect_value(caller, 9, "n", 90);
	blaze_record_free(record);
	blazei_lane_disconnect(caller);
	holder_close(&holder);
}
END_TEST

START_TEST(values_of_all_types_come_back)
{
	static const char text[] =
	        "{\"\":\"empty\",\"arr\":[1,[2.5,{\"$bytes\":\"AP8=\"}]],\"b\":{\"$bytes\":\"\"},"
	        "\"d\":-0.0,\"f\":false,\"i\":-9223372036854775808,\"m\":{\"a\":null},\"n\":null,"
	        "\"t\":{\"$time\":\"1970-01-01T00:00:00.000000001Z\"},"
	        "\"u\":{\"$uuid\":\"01a204f3-0000-7000-8000-000000000001\"}}";
	struct holder holder = holder_start(0);
	struct blazei_lane_caller *caller = lane_connect(0);
	struct blaze_record *record, *got;
	struct blaze_id id;
	char *json, *again;

	ck_assert_int_eq(blaze_record_from_json(text, strlen(text), &record), 0);
	ck_assert_int_eq(blazei_lane_insert(caller, record, &id), 0);
	ck_assert_int_eq(blazei_lane_get(caller, &id, &got), 0);
	ck_assert_int_eq(blaze_record_to_json(record, &json), 0);
	ck_assert_int_eq(blaze_record_to_json(got, &again), 0);
	ck_assert_str_eq(json, again);
	free(json);
	free(again);
	blaze_record_free(got);
	blaze_record_free(record);
	/* And of the greatest length. */
	ck_assert_int_eq(blaze_record_new(&record), 0);
	again = calloc(1, (1 << 20) - 4096);
	ck_assert_int_eq(blaze_record_set_bytes(record, "", again, (1 << 20) - 4096), 0);
	ck_assert_int_eq(blazei_lane_upsert(caller, &id, record), 0);
	ck_assert_int_eq(blazei_lane_get(caller, &id, &got), 0);
	blaze_record_free(got);
	blaze_record_free(record);
	free(again);
	blazei_lane_disconnect(caller);
	holder_close(&holder);
}
END_TEST

/* Scans and batches -------------------------------------------------------------------------- */

struct seen {
	uint64_t next; /* number that is expected */
	uint64_t step;
	uint64_t until; /* 0: all */
};

static int see(void *arg, const struct blaze_id *id, const struct blaze_record *record)
{
	struct seen *seen = arg;
	struct blaze_id expected = lane_id(seen->next);

	(void)record;
	ck_assert_mem_eq(id, &expected, sizeof(expected));
	seen->next += seen->step;
	return seen->next == seen->until ? -EDOM : 0;
}

/* Records first .. last, in batches, with values so long that scans take several answers. */
static int fill(struct blazei_lane_caller *caller, uint64_t first, uint64_t last)
{
	static const uint8_t bytes[900];
	uint32_t taken = 0, at = 0;
	int error = 0;

	for (uint64_t n = first; n <= last && error == 0; n++) {
		struct blaze_record *record = record_of("n", (int64_t)n);
		struct blaze_id id = lane_id(n);

		ck_assert_int_eq(blaze_record_set_bytes(record, "b", bytes, sizeof(bytes)), 0);
		ck_assert_int_eq(blazei_lane_batch_add(caller, &id, record), 0);
		blaze_record_free(record);
		if (n % 500 == 0 || n == last)
			error = blazei_lane_batch_commit(caller, &taken, &at);
	}
	return error;
}

START_TEST(scan_gives_all_in_order_limited_and_bounded)
{
	struct blaze_scan_options options = BLAZE_SCAN_OPTIONS_INIT;
	struct holder holder = holder_start(0);
	struct blazei_lane_caller *caller = lane_connect(0);
	struct blaze_id from = lane_id(100), to = lane_id(1900);
	struct seen seen = { .next = 1, .step = 1 };
	struct blaze_db_stats stats;

	ck_assert_int_eq(blazei_lane_scan(caller, NULL, see, &seen), 0);
	ck_assert_int_eq(fill(caller, 1, 2000), 0);
	ck_assert_int_eq(blazei_lane_scan(caller, NULL, see, &seen), 2000);
	options.from = &from;
	seen.next = 100;
	ck_assert_int_eq(blazei_lane_scan(caller, &options, see, &seen), 1901);
	options.to = &to;
	seen.next = 100;
	ck_assert_int_eq(blazei_lane_scan(caller, &options, see, &seen), 1800);
	ck_assert_uint_eq(seen.next, 1900);
	options.limit = 1000;
	seen.next = 100;
	ck_assert_int_eq(blazei_lane_scan(caller, &options, see, &seen), 1000);
	seen = (struct seen){ .next = 1, .step = 1, .until = 700 };
	ck_assert_int_eq(blazei_lane_scan(caller, NULL, see, &seen), -EDOM);
	ck_assert_int_eq(blazei_lane_stat(caller, &stats), 0);
	ck_assert_uint_eq(stats.records, 2000);
	ck_assert_uint_gt(stats.memory_bytes, 2000 * 900);
	ck_assert_uint_gt(stats.log_bytes, 0);
	blazei_lane_disconnect(caller);
	holder_close(&holder);
}
END_TEST

/* The last id of all ends a scan that would go behind it. */
START_TEST(scan_ends_at_the_last_id)
{
	struct holder holder = holder_start(0);
	struct blazei_lane_caller *caller = lane_connect(0);
	struct blaze_record *record = record_of("n", 1);
	struct seen seen = { .next = 1, .step = 1 };
	struct blaze_id last;

	memset(&last, 0xff, sizeof(last));
	ck_assert_int_eq(blazei_lane_upsert(caller, &last, record), 0);
	ck_assert_int_eq(blazei_lane_delete(caller, &last), 0);
	ck_assert_int_eq(blazei_lane_scan(caller, NULL, see, &seen), 0);
	blaze_record_free(record);
	blazei_lane_disconnect(caller);
	holder_close(&holder);
}
END_TEST

START_TEST(batch_is_whole_or_not_there)
{
	struct holder holder = holder_start(0);
	struct blazei_lane_caller *caller = lane_connect(0);
	struct seen seen = { .next = 1, .step = 1 };
	uint32_t taken, at;
	struct blaze_db *db;

	ck_assert_int_eq(fill(caller, 1, 1000), 0);
	ck_assert_int_eq(blazei_lane_batch_commit(caller, &taken, &at), 0);
	ck_assert_uint_eq(taken, 0);
	/* The holder dies: what it answered is there, and nothing of what it was not asked for. */
	for (uint64_t n = 1001; n <= 1010; n++) {
		struct blaze_record *record = record_of("n", (int64_t)n);
		struct blaze_id id = lane_id(n);

		ck_assert_int_eq(blazei_lane_batch_add(caller, &id, record), 0);
		blaze_record_free(record);
	}
	holder_kill(&holder);
	ck_assert_int_eq(blazei_lane_batch_commit(caller, &taken, &at), -EPIPE);
	ck_assert_uint_eq(taken, 0);
	ck_assert_uint_eq(at, 10);
	blazei_lane_disconnect(caller);
	db = stored_open("lane", 0, 0, 0);
	ck_assert_int_eq(blaze_db_scan(db, NULL, see, &seen), 1000);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

/* Wherever the client is killed, whole batches are there, and the holder goes on. */
START_TEST(client_killed_midway_leaves_whole_batches)
{
	struct holder holder = holder_start(0);
	struct blazei_lane_caller *caller = lane_connect(0);
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;
	uint64_t until = 0, before = 0;

	for (unsigned round = 0; round < 4; round++) {
		pid_t pid = child_fork();
		int status;

		if (pid == 0) {
			for (uint64_t n = 1 + round * 100000;; n += 500)
				(void)fill(lane_connect(0), n, n + 499);
		}
		do
			ck_assert_int_eq(blazei_lane_stat(caller, &stats), 0);
		while (stats.records < before + 2000 && time_is_left(&until));
		ck_assert_uint_ge(stats.records, before + 2000);
		kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		/* What it had sent whole is done still. */
		do {
			before = stats.records;
			blazei_sleep_ns(50 * BLAZEI_NS_PER_MS);
			ck_assert_int_eq(blazei_lane_stat(caller, &stats), 0);
		} while (stats.records != before);
		ck_assert_uint_eq(stats.records % 500, 0);
	}
	blazei_lane_disconnect(caller);
	holder_close(&holder);
}
END_TEST

/* The holder ---------------------------------------------------------------------------------- */

START_TEST(compact_makes_the_log_shorter)
{
	struct holder holder = holder_start(0);
	struct blazei_lane_caller *caller = lane_connect(0);
	uint64_t before, after;

	for (int i = 0; i < 50; i++)
		lane_set(caller, 1, i);
	ck_assert_int_eq(blazei_lane_compact(caller, &before, &after), 0);
	ck_assert_uint_lt(after, before);
	expect_value(caller, 1, "n", 49);
	blazei_lane_disconnect(caller);
	holder_close(&holder);
}
END_TEST

/* A child has none of its sockets: the lane goes on with the holder and ends with it. */
START_TEST(forked_child_of_the_holder_serves_nobody)
{
	struct holder holder = holder_start(0);
	struct blazei_lane_caller *caller = lane_connect(0), *other = NULL;
	struct blaze_db_stats stats;
	pid_t child;

	holder_tell(&holder, FORK);
	ck_assert_int_eq(read(holder.from, &child, sizeof(child)), sizeof(child));
	holder_answer(&holder);
	lane_set(caller, 1, 1);
	ck_assert_int_eq(kill(holder.pid, SIGKILL), 0);
	/* It would hang here, were the child at the other end. */
	ck_assert_int_eq(blazei_lane_stat(caller, &stats), -EPIPE);
	ck_assert_int_eq(blazei_lane_connect(stored_path(0), NULL, NULL, &other), -ENOENT);
	blazei_lane_disconnect(caller);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	holder_reap(&holder, SIGKILL);
}
END_TEST

/* The child closes its copy: the socket stays. */
START_TEST(close_in_a_forked_child_leaves_the_lane)
{
	struct blaze_db *db = stored_open("lane", 0, 0, 0);
	struct blazei_lane_caller *caller;
	pid_t pid = child_fork();
	int status;

	if (pid == 0)
		_exit(blaze_db_close(db) == 0 ? 0 : 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert(lane_there(0));
	caller = lane_connect(0);
	lane_set(caller, 1, 1);
	blazei_lane_disconnect(caller);
	ck_assert_int_eq(blaze_db_close(db), 0);
	ck_assert(!lane_there(0));
}
END_TEST

START_TEST(close_ends_clients_and_is_not_kept_by_them)
{
	struct blaze_db *db = stored_open("lane", 0, 0, 0);
	struct blazei_lane_caller *idle = lane_connect(0);
	struct blaze_db_stats stats;

	lane_set(idle, 1, 1);
	ck_assert_int_eq(blaze_db_close(db), 0);
	ck_assert_int_eq(blazei_lane_stat(idle, &stats), -EPIPE);
	blazei_lane_disconnect(idle);
}
END_TEST

START_TEST(close_that_fails_leaves_a_lane)
{
	struct holder holder = holder_start(0);
	struct blazei_lane_caller *caller;

	holder_tell(&holder, BUSY);
	holder_answer(&holder);
	caller = lane_connect(0);
	lane_set(caller, 1, 1);
	blazei_lane_disconnect(caller);
	holder_close(&holder);
}
END_TEST

START_TEST(no_lane_of_manual_read_only_and_memory)
{
	struct holder holder = holder_start_with(0, BLAZE_DURABILITY_SYNC, BLAZE_DB_MANUAL);
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blazei_lane_caller *caller;
	struct blaze_db *db;

	ck_assert(!lane_there(0));
	ck_assert_int_eq(blazei_lane_connect(stored_path(0), NULL, NULL, &caller), -ENOENT);
	holder_close(&holder);
	options.flags = BLAZE_DB_READ_ONLY;
	ck_assert_int_eq(blaze_db_open("lane", stored_path(0), &options, &db), 0);
	ck_assert(!lane_there(0));
	ck_assert_int_eq(blaze_db_close(db), 0);
	ck_assert_int_eq(blaze_db_open("lane", "mem:lane", NULL, &db), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

/* A path that no address of a socket has room for, and one that is left behind by chdir. */
START_TEST(long_path_has_a_lane)
{
	char path[320], deep[240];
	struct blazei_lane_caller *caller;
	struct blaze_db *db;
	struct stat status;

	memset(deep, 'd', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	ck_assert_int_eq(mkdir(stored_path(0), 0700), 0);
	snprintf(path, sizeof(path), "%s/%s", stored_path(0), deep);
	ck_assert_int_eq(blaze_db_open("lane", path, NULL, &db), 0);
	ck_assert_int_eq(blazei_lane_connect(path, NULL, NULL, &caller), 0);
	lane_set(caller, 1, 1);
	blazei_lane_disconnect(caller);
	ck_assert_int_eq(chdir(path), 0);
	ck_assert_int_eq(lstat("lane", &status), 0);
	ck_assert(S_ISSOCK(status.st_mode));
	ck_assert_uint_eq(status.st_mode & 0777, 0600);
	ck_assert_int_eq(blaze_db_close(db), 0);
	ck_assert_int_eq(lstat("lane", &status), -1);
	ck_assert_int_eq(system("rm -f ./*.seg root lock closed"), 0);
	ck_assert_int_eq(chdir("../../.."), 0);
	ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

/* What is no socket is not touched, and keeps nobody from opening. */
START_TEST(strange_file_in_its_place_stays)
{
	struct blazei_lane_caller *caller;
	struct blaze_db *db = stored_open("lane", 0, 0, 0);
	char path[100];
	FILE *file;

	ck_assert_int_eq(blaze_db_close(db), 0);
	snprintf(path, sizeof(path), "%s/lane", stored_path(0));
	file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	fputs("mine", file);
	fclose(file);
	db = stored_open("lane", 0, 0, 0);
	ck_assert_int_eq(blazei_lane_connect(stored_path(0), NULL, NULL, &caller), -ENOENT);
	ck_assert_int_eq(blaze_db_close(db), 0);
	ck_assert(lane_there(0));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lane");
	TCase *records = tcase_create("records"), *holder = tcase_create("holder");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(records, stored_setup, stored_teardown);
	tcase_set_timeout(records, 120);
	tcase_add_test(records, put_is_read_by_lane_and_after_close);
	tcase_add_test(records, put_that_was_answered_outlives_the_holder);
	tcase_add_test(records, errors_are_those_of_the_library);
	tcase_add_test(records, values_of_all_types_come_back);
	tcase_add_test(records, scan_gives_all_in_order_limited_and_bounded);
	tcase_add_test(records, scan_ends_at_the_last_id);
	tcase_add_test(records, batch_is_whole_or_not_there);
	tcase_add_test(records, client_killed_midway_leaves_whole_batches);
	suite_add_tcase(suite, records);
	tcase_add_checked_fixture(holder, stored_setup, stored_teardown);
	tcase_set_timeout(holder, 120);
	tcase_add_test(holder, compact_makes_the_log_shorter);
	tcase_add_test(holder, forked_child_of_the_holder_serves_nobody);
	tcase_add_test(holder, close_in_a_forked_child_leaves_the_lane);
	tcase_add_test(holder, close_ends_clients_and_is_not_kept_by_them);
	tcase_add_test(holder, close_that_fails_leaves_a_lane);
	tcase_add_test(holder, no_lane_of_manual_read_only_and_memory);
	tcase_add_test(holder, long_path_has_a_lane);
	tcase_add_test(holder, strange_file_in_its_place_stays);
	suite_add_tcase(suite, holder);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
