/* SPDX-License-Identifier: Apache-2.0 */
/* Options of another age, names, clocks, randomness, and what a fork does. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/base.h"

struct options {
	uint32_t struct_size;
	uint32_t first;
	uint64_t second;
};

/* What a program that was built with a later version passes. */
struct later_options {
	struct options known;
	uint64_t third;
	uint8_t fourth[8];
};

START_TEST(passed_of_a_later_moment_is_nothing)
{
	ck_assert_uint_eq(blazei_passed_ns(100, 40), 60);
	ck_assert_uint_eq(blazei_passed_ns(100, 100), 0);
	ck_assert_uint_eq(blazei_passed_ns(100, 101), 0);
}
END_TEST

START_TEST(options_null_all_zero)
{
	struct options read;

	memset(&read, 0xff, sizeof(read));
	ck_assert_int_eq(blazei_options_read(NULL, sizeof(read), &read), 0);
	ck_assert_uint_eq(read.struct_size, sizeof(read));
	ck_assert_uint_eq(read.first, 0);
	ck_assert_uint_eq(read.second, 0);
}
END_TEST

START_TEST(options_shorter_rest_zero)
{
	const struct options given = { .struct_size = 8, .first = 7, .second = 9 };
	struct options read;

	memset(&read, 0xff, sizeof(read));
	ck_assert_int_eq(blazei_options_read(&given, sizeof(read), &read), 0);
	ck_assert_uint_eq(read.struct_size, sizeof(read));
	ck_assert_uint_eq(read.first, 7);
	ck_assert_uint_eq(read.second, 0);
}
END_TEST

START_TEST(options_size_field_alone_accepted)
{
	const struct options given = { .struct_size = 4, .first = 7 };
	struct options read;

	ck_assert_int_eq(blazei_options_read(&given, sizeof(read), &read), 0);
	ck_assert_uint_eq(read.first, 0);
}
END_TEST

START_TEST(options_smaller_than_size_field_refused)
{
	struct options given = { .struct_size = 0, .first = 7 };
	struct options read;

	for (given.struct_size = 0; given.struct_size < 4; given.struct_size++)
		ck_assert_int_eq(blazei_options_read(&given, sizeof(read), &read), -EINVAL);
}
END_TEST

START_TEST(options_zero_tail_accepted)
{
	const struct later_options given = {
		.known = { .struct_size = sizeof(given), .first = 1, .second = 2 },
	};
	struct options read;

	ck_assert_int_eq(blazei_options_read(&given, sizeof(read), &read), 0);
	ck_assert_uint_eq(read.struct_size, sizeof(read));
	ck_assert_uint_eq(read.second, 2);
}
END_TEST

START_TEST(options_nonzero_tail_refused_untouched)
{
	struct later_options given = { .known = { .struct_size = sizeof(given) } };
	struct options read = { .first = 42 };

	/* Each byte of the tail counts, the first and the last too. */
	for (size_t i = sizeof(read); i < sizeof(given); i++) {
		((uint8_t *)&given)[i] = 1;
		ck_assert_int_eq(blazei_options_read(&given, sizeof(read), &read), -E2BIG);
		((uint8_t *)&given)[i] = 0;
	}
	ck_assert_uint_eq(read.first, 42);
}
END_TEST

START_TEST(options_stray_size_refused)
{
	const struct options given = { .struct_size = UINT32_MAX };
	struct options read;

	ck_assert_int_eq(blazei_options_read(&given, sizeof(read), &read), -E2BIG);
}
END_TEST

START_TEST(name_allowed_characters_valid)
{
	char name[66];

	memset(name, 'x', sizeof(name));
	name[64] = '\0';
	ck_assert(blazei_name_valid(name, 64));
	ck_assert(blazei_name_valid("a", 64));
	ck_assert(blazei_name_valid("Az09._-", 64));
	ck_assert(blazei_name_valid("-", 64));
	ck_assert(blazei_name_valid("a..", 64));
}
END_TEST

START_TEST(name_malformed_invalid)
{
	static const char *const bad[] = { "",    ".",        "..",    ".a",  "a/b", "a b",
		                           "a\n", "\xc3\xa4", "a\x7f", "a:b", "a*",  "a\\b" };
	char name[66];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!blazei_name_valid(bad[i], 64), "\"%s\"", bad[i]);
	ck_assert(!blazei_name_valid(NULL, 64));
	memset(name, 'x', sizeof(name));
	name[65] = '\0';
	ck_assert(!blazei_name_valid(name, 64));
}
END_TEST

START_TEST(clocks_read_advance)
{
	const uint64_t mono = blazei_monotonic_ns();
	const uint64_t real = blazei_realtime_ns();

	blazei_sleep_ns(2 * BLAZEI_NS_PER_MS);
	ck_assert_uint_ge(blazei_monotonic_ns(), mono + 2 * BLAZEI_NS_PER_MS);
	/* Later than the day this was written: seconds and nanoseconds are not mixed up. */
	ck_assert_uint_gt(real, UINT64_C(1700000000) * BLAZEI_NS_PER_S);
}
END_TEST

START_TEST(random_two_draws_differ)
{
	uint8_t a[300], b[300];

	memset(a, 0, sizeof(a));
	memset(b, 0, sizeof(b));
	ck_assert_int_eq(blazei_random(a, sizeof(a)), 0);
	ck_assert_int_eq(blazei_random(b, sizeof(b)), 0);
	/* Head and tail: getrandom may return fewer bytes than asked for. */
	ck_assert_int_ne(memcmp(a, b, 16), 0);
	ck_assert_int_ne(memcmp(a + 284, b + 284, 16), 0);
}
END_TEST

/* The exit status of what a forked child runs. */
static int child_status(int (*run)(void *), void *arg)
{
	int status;
	const pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(run(arg));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int child_sees_fork(void *arg)
{
	return blazei_forked_since(*(uint32_t *)arg) ? 0 : 1;
}

START_TEST(fork_child_generation_grows)
{
	ck_assert_int_eq(blazei_fork_init(), 0);
	ck_assert_int_eq(blazei_fork_init(), 0);

	uint32_t generation = atomic_load(&blazei_fork_generation);

	ck_assert_int_eq(child_status(child_sees_fork, &generation), 0);
	ck_assert(!blazei_forked_since(generation));
}
END_TEST

static _Atomic int handler_calls;
static _Atomic uint32_t handler_generation;

static void count_call(void)
{
	handler_generation = blazei_fork_generation;
	handler_calls++;
}

/* 0 where the handler ran once, after the generation had grown, and the lock is free. */
static int child_ran_handler(void *arg)
{
	if (handler_calls != 1)
		return 1;
	if (handler_generation == *(uint32_t *)arg)
		return 2;
	blazei_attach_lock();
	blazei_attach_unlock();
	return 0;
}

START_TEST(fork_handler_named_twice_runs_once)
{
	uint32_t generation = atomic_load(&blazei_fork_generation);

	ck_assert_int_eq(blazei_fork_on_child(count_call), 0);
	ck_assert_int_eq(blazei_fork_on_child(count_call), 0);
	ck_assert_int_eq(child_status(child_ran_handler, &generation), 0);
	ck_assert_int_eq(handler_calls, 0);
}
END_TEST

#define HANDLER(n)                                                                                 \
	static void handler_##n(void)                                                              \
	{                                                                                          \
		handler_calls += (n);                                                              \
	}
HANDLER(1)
HANDLER(2)
HANDLER(3)
HANDLER(4)
HANDLER(5)
HANDLER(6)
HANDLER(7)
HANDLER(8)
HANDLER(9)

static int child_ran_eight(void *arg)
{
	(void)arg;
	return handler_calls == 36 ? 0 : 1;
}

START_TEST(fork_handlers_ninth_refused)
{
	static void (*const handlers[])(void) = { handler_1, handler_2, handler_3, handler_4,
		                                  handler_5, handler_6, handler_7, handler_8 };

	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
		ck_assert_int_eq(blazei_fork_on_child(handlers[i]), 0);
	ck_assert_int_eq(blazei_fork_on_child(handler_9), -ENOMEM);
	ck_assert_int_eq(blazei_fork_on_child(handler_3), 0);
	ck_assert_int_eq(child_status(child_ran_eight, NULL), 0);
}
END_TEST

static _Atomic bool locked;
static _Atomic bool inside;

static void *hold_lock(void *arg)
{
	(void)arg;
	blazei_attach_lock();
	inside = true;
	locked = true;
	blazei_sleep_ns(50 * BLAZEI_NS_PER_MS);
	inside = false;
	blazei_attach_unlock();
	return NULL;
}

static int child_outside_lock(void *arg)
{
	(void)arg;
	if (inside)
		return 1;
	blazei_attach_lock();
	return 0;
}

START_TEST(fork_lock_held_by_thread_waits)
{
	pthread_t thread;

	ck_assert_int_eq(blazei_fork_init(), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, hold_lock, NULL), 0);
	while (!locked)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	ck_assert_int_eq(child_status(child_outside_lock, NULL), 0);
	pthread_join(thread, NULL);
}
END_TEST

START_TEST(round_up_power_of_two)
{
	ck_assert_uint_eq(blazei_round_up(0, 8), 0);
	ck_assert_uint_eq(blazei_round_up(1, 8), 8);
	ck_assert_uint_eq(blazei_round_up(8, 8), 8);
	ck_assert_uint_eq(blazei_round_up(4097, 4096), 8192);
}
END_TEST

static TCase *options_case(void)
{
	TCase *tcase = tcase_create("options");

	tcase_add_test(tcase, passed_of_a_later_moment_is_nothing);
	tcase_add_test(tcase, options_null_all_zero);
	tcase_add_test(tcase, options_shorter_rest_zero);
	tcase_add_test(tcase, options_size_field_alone_accepted);
	tcase_add_test(tcase, options_smaller_than_size_field_refused);
	tcase_add_test(tcase, options_zero_tail_accepted);
	tcase_add_test(tcase, options_nonzero_tail_refused_untouched);
	tcase_add_test(tcase, options_stray_size_refused);
	tcase_add_test(tcase, name_allowed_characters_valid);
	tcase_add_test(tcase, name_malformed_invalid);
	tcase_add_test(tcase, clocks_read_advance);
	tcase_add_test(tcase, random_two_draws_differ);
	tcase_add_test(tcase, round_up_power_of_two);
	return tcase;
}

static TCase *fork_case(void)
{
	TCase *tcase = tcase_create("fork");

	tcase_add_test(tcase, fork_child_generation_grows);
	tcase_add_test(tcase, fork_handler_named_twice_runs_once);
	tcase_add_test(tcase, fork_handlers_ninth_refused);
	tcase_add_test(tcase, fork_lock_held_by_thread_waits);
	return tcase;
}

int main(void)
{
	Suite *suite = suite_create("base");

	suite_add_tcase(suite, options_case());
	suite_add_tcase(suite, fork_case());

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	const int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
