/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of a private lane that are slow, silent, too many or another user's: each stalls itself
 * alone, and the database closes all the same. */
#include "tests/db/lane_raw.h"

/* Slow ones, silent ones, and many ------------------------------------------------------------ */

START_TEST(slow_request_is_given_up_and_delays_nobody)
{
	const struct blazei_lane_header header = { .kind = BLAZEI_LANE_PUT, .bytes = 100 };
	struct blazei_lane_caller *caller;
	struct blaze_db_stats stats;
	int slow, slower;

	patience_set(300 * BLAZEI_NS_PER_MS);
	slow = raw_hello();
	slower = raw_hello();
	raw_send(slow, &header, sizeof(header));
	raw_send(slower, &header, 3);
	caller = lane_connect(0);
	ck_assert_int_eq(blazei_lane_stat(caller, &stats), 0);
	ck_assert(raw_ended(slow));
	ck_assert(raw_ended(slower));
	/* One that says nothing between requests is not in anybody's way. */
	ck_assert_int_eq(blazei_lane_stat(caller, &stats), 0);
	blazei_lane_disconnect(caller);
	close(slow);
	close(slower);
}
END_TEST

/* Asks without ever reading an answer, until the holder has had enough of it. */
START_TEST(reader_that_stops_is_given_up)
{
	const struct blazei_lane_header header = { .kind = BLAZEI_LANE_STAT };
	struct blazei_lane_caller *caller;
	struct blaze_db_stats stats;
	uint64_t until = 0;
	ssize_t n = 1;
	int fd;

	patience_set(300 * BLAZEI_NS_PER_MS);
	fd = raw_hello();
	while (n > 0 && time_is_left(&until)) {
		n = send(fd, &header, sizeof(header), MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN) {
			caller = lane_connect(0);
			ck_assert_int_eq(blazei_lane_stat(caller, &stats), 0);
			blazei_lane_disconnect(caller);
			blazei_sleep_ns(20 * BLAZEI_NS_PER_MS);
			n = 1;
		}
	}
	ck_assert_int_lt(n, 0);
	ck_assert_int_eq(errno, EPIPE);
	close(fd);
}
END_TEST

START_TEST(one_client_too_many_is_told)
{
	struct blazei_lane_caller *callers[BLAZEI_LANE_CLIENTS_MAX], *extra = NULL;
	struct blaze_db_stats stats;
	uint64_t until = 0;
	int error;

	for (unsigned i = 0; i < BLAZEI_LANE_CLIENTS_MAX; i++)
		callers[i] = lane_connect(0);
	ck_assert_int_eq(blazei_lane_connect(stored_path(0), NULL, NULL, &extra), -EBUSY);
	for (unsigned i = 0; i < BLAZEI_LANE_CLIENTS_MAX; i++)
		ck_assert_int_eq(blazei_lane_stat(callers[i], &stats), 0);
	blazei_lane_disconnect(callers[5]);
	do
		error = blazei_lane_connect(stored_path(0), NULL, NULL, &callers[5]);
	while (error == -EBUSY && time_is_left(&until));
	ck_assert_int_eq(error, 0);
	for (unsigned i = 0; i < BLAZEI_LANE_CLIENTS_MAX; i++)
		blazei_lane_disconnect(callers[i]);
}
END_TEST

/* What a client has or says does not keep a database from closing; teardown closes it. */
START_TEST(silent_clients_end_with_the_database)
{
	const struct blazei_lane_header half = { .kind = BLAZEI_LANE_PUT, .bytes = 100 };
	const int silent = raw_connect(), idle = raw_hello(), slow = raw_hello();

	raw_send(slow, &half, sizeof(half));
	ck_assert_int_eq(blaze_db_close(db), 0);
	ck_assert(raw_ended(silent));
	ck_assert(raw_ended(idle));
	ck_assert(raw_ended(slow));
	close(silent);
	close(idle);
	close(slow);
	db = stored_open("lane", 0, 0, 0);
}
END_TEST

START_TEST(another_user_is_refused)
{
	struct blazei_lane_caller *caller;
	char path[100];
	pid_t pid;
	int status;

	if (geteuid() != 0)
		return;
	/* As far as file modes can let anybody in. */
	snprintf(path, sizeof(path), "%s/lane", stored_path(0));
	ck_assert_int_eq(chmod(stored_dir, 0755) | chmod(stored_path(0), 0755) | chmod(path, 0666),
	                 0);
	pid = child_fork();
	if (pid == 0) {
		/* From within: directories above it may be closed. */
		if (chdir(stored_path(0)) != 0 || setresgid(65534, 65534, 65534) != 0 ||
		    setresuid(65534, 65534, 65534) != 0)
			_exit(9);
		_exit(blazei_lane_connect(".", NULL, NULL, &caller) == -EACCES ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	/* And by its mode. */
	ck_assert_int_eq(chmod(path, 0600), 0);
	pid = child_fork();
	if (pid == 0) {
		if (chdir(stored_path(0)) != 0 || setresuid(65534, 65534, 65534) != 0)
			_exit(9);
		_exit(blazei_lane_connect(".", NULL, NULL, &caller) == -EACCES ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* While nobody asks, not a nanosecond. */
START_TEST(idle_lane_takes_no_cpu)
{
	uint64_t before;

	/* Until it sleeps. */
	blazei_sleep_ns(100 * BLAZEI_NS_PER_MS);
	before = thread_ns(db->lane->thread);
	blazei_sleep_ns(500 * BLAZEI_NS_PER_MS);
	ck_assert_uint_eq(thread_ns(db->lane->thread), before);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lane_slow");
	TCase *tcase = tcase_create("lane_slow");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, slow_request_is_given_up_and_delays_nobody);
	tcase_add_test(tcase, reader_that_stops_is_given_up);
	tcase_add_test(tcase, one_client_too_many_is_told);
	tcase_add_test(tcase, silent_clients_end_with_the_database);
	tcase_add_test(tcase, another_user_is_refused);
	tcase_add_test(tcase, idle_lane_takes_no_cpu);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
