/* SPDX-License-Identifier: Apache-2.0 */
/* Errors' names and sentences, the log hook, and test points. */
#include <check.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/base.h"

START_TEST(strerror_either_sign_same)
{
	ck_assert_str_eq(blaze_strerror(-EAGAIN), blaze_strerror(EAGAIN));
	ck_assert_str_eq(blaze_error_name(-EAGAIN), "EAGAIN");
	ck_assert_str_eq(blaze_error_name(EIDRM), "EIDRM");
	ck_assert_str_eq(blaze_strerror(0), "Success");
	ck_assert_ptr_nonnull(strstr(blaze_strerror(-ENOSPC), "/dev/shm"));
}
END_TEST

START_TEST(strerror_unknown_says_so)
{
	static const int unknown[] = { 100000, -100000, INT_MAX, INT_MIN, -INT_MAX };

	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		ck_assert_str_eq(blaze_strerror(unknown[i]), "Unknown error");
		ck_assert_str_eq(blaze_error_name(unknown[i]), "?");
	}
}
END_TEST

START_TEST(errors_names_and_texts_differ)
{
	unsigned named = 0;

	for (int a = 1; a < 200; a++) {
		if (strcmp(blaze_error_name(a), "?") == 0)
			continue;
		named++;
		ck_assert_str_eq(blaze_error_name(a), strerrorname_np(a));
		for (int b = 1; b < a; b++)
			ck_assert_str_ne(blaze_strerror(a), blaze_strerror(b));
	}
	ck_assert_uint_ge(named, 25);
}
END_TEST

START_TEST(version_matches_build)
{
	ck_assert_str_eq(blaze_version(), PACKAGE_VERSION);
}
END_TEST

struct heard {
	enum blaze_log_level level;
	unsigned count;
	char line[300];
};

static void hear(void *arg, enum blaze_log_level level, const char *line)
{
	struct heard *heard = arg;

	heard->level = level;
	heard->count++;
	snprintf(heard->line, sizeof(heard->line), "%s", line);
}

START_TEST(log_hook_gets_line_and_level)
{
	struct heard heard = { .count = 0 };

	blazei_log(BLAZE_LOG_ERROR, "nobody listens");
	blaze_log_set(hear, &heard);
	blazei_log(BLAZE_LOG_WARNING, "%d of %s", 3, "four");
	ck_assert_uint_eq(heard.count, 1);
	ck_assert_int_eq(heard.level, BLAZE_LOG_WARNING);
	ck_assert_str_eq(heard.line, "3 of four");
	blaze_log_set(NULL, NULL);
	blazei_log(BLAZE_LOG_ERROR, "nobody listens");
	ck_assert_uint_eq(heard.count, 1);
}
END_TEST

START_TEST(log_long_line_cut)
{
	struct heard heard = { .count = 0 };
	char text[400];

	memset(text, 'x', sizeof(text));
	text[399] = '\0';
	blaze_log_set(hear, &heard);
	blazei_log(BLAZE_LOG_INFO, "%s", text);
	ck_assert_uint_eq(strlen(heard.line), 240);
}
END_TEST

START_TEST(log_control_characters_replaced)
{
	struct heard heard = { .count = 0 };

	blaze_log_set(hear, &heard);
	blazei_log(BLAZE_LOG_INFO, "%s", "a\nb\033[31m\x7f\tc");
	ck_assert_str_eq(heard.line, "a?b?[31m??c");
}
END_TEST

static _Atomic bool in_hook, hook_may_end, hook_ended;

static void linger(void *arg, enum blaze_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
	in_hook = true;
	while (!hook_may_end)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	blazei_sleep_ns(20 * BLAZEI_NS_PER_MS);
	hook_ended = true;
}

static void *log_once(void *arg)
{
	blazei_log(BLAZE_LOG_INFO, "from a thread");
	return arg;
}

START_TEST(log_set_waits_for_running_hook)
{
	pthread_t thread;

	blaze_log_set(linger, NULL);
	ck_assert_int_eq(pthread_create(&thread, NULL, log_once, NULL), 0);
	while (!in_hook)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	hook_may_end = true;
	blaze_log_set(NULL, NULL);
	ck_assert(hook_ended);
	pthread_join(thread, NULL);
}
END_TEST

START_TEST(log_forked_during_hook_child_free)
{
	pthread_t thread;
	int status;

	blaze_log_set(linger, NULL);
	ck_assert_int_eq(pthread_create(&thread, NULL, log_once, NULL), 0);
	while (!in_hook)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);

	const pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		/* Would wait for ever for a thread that this process does not have. */
		alarm(10);
		blaze_log_set(NULL, NULL);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	hook_may_end = true;
	pthread_join(thread, NULL);
}
END_TEST

#ifdef BLAZE_TESTPOINTS
/* The wait status of a child that passes point a once and point b three times. */
static int status_with(const char *setting)
{
	int status;
	const pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		setenv("BLAZE_TESTPOINT", setting, 1);
		BLAZEI_TESTPOINT("a");
		for (int i = 1; i <= 3; i++) {
			BLAZEI_TESTPOINT("b");
			if (i == 2 && strcmp(setting, "b=exit:2") == 0)
				_exit(1);
		}
		_exit(5);
	}
	ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
	if (WIFSTOPPED(status)) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return status;
}

START_TEST(testpoint_action_takes_effect)
{
	int status = status_with("a=kill");

	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	status = status_with("b=stop:3");
	ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	ck_assert_int_eq(WEXITSTATUS(status_with("b=exit:2")), 86);
	ck_assert_int_eq(WEXITSTATUS(status_with("b=exit:4")), 5);
	ck_assert_int_eq(WEXITSTATUS(status_with("c=kill")), 5);
	ck_assert_int_eq(WEXITSTATUS(status_with("")), 5);
}
END_TEST

START_TEST(testpoint_malformed_setting_exits)
{
	static const char *const bad[] = { "a",        "=kill",    "a=",      "a=die",
		                           "a=kill:0", "a=kill:x", "a=kill:", "a=kill:1x" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(WEXITSTATUS(status_with(bad[i])) == 87, "\"%s\"", bad[i]);
}
END_TEST
#endif

int main(void)
{
	Suite *suite = suite_create("log");
	TCase *tcase = tcase_create("log");

	tcase_add_test(tcase, strerror_either_sign_same);
	tcase_add_test(tcase, strerror_unknown_says_so);
	tcase_add_test(tcase, errors_names_and_texts_differ);
	tcase_add_test(tcase, version_matches_build);
	tcase_add_test(tcase, log_hook_gets_line_and_level);
	tcase_add_test(tcase, log_long_line_cut);
	tcase_add_test(tcase, log_control_characters_replaced);
	tcase_add_test(tcase, log_set_waits_for_running_hook);
	tcase_add_test(tcase, log_forked_during_hook_child_free);
#ifdef BLAZE_TESTPOINTS
	tcase_add_test(tcase, testpoint_action_takes_effect);
	tcase_add_test(tcase, testpoint_malformed_setting_exits);
#endif
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	const int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
