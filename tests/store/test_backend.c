/* SPDX-License-Identifier: Apache-2.0 */
/* Backends of programs: registration; URIs; the limit of "mem:"; and a backend that lies in each
 * way that the interface does not allow, at any moment. Then a database says so and stops; what it
 * had acknowledged is there when the backend is honest again. */
#include <check.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <blaze/blaze.h>

#include "lib/base/base.h"
#include "lib/store/mem.h"

enum lie {
	HONEST,
	OPEN_POSITIVE,
	OPEN_NO_ERRNO,
	GEOMETRY_BLOCK_ODD,
	GEOMETRY_BLOCK_LARGE,
	GEOMETRY_BLOCK_SMALL,
	GEOMETRY_SEGMENT_NONE,
	GEOMETRY_SEGMENT_SMALL,
	GEOMETRY_SEGMENT_ODD,
	GEOMETRY_SEGMENT_HUGE,
	GEOMETRY_ROOT_SMALL,
	CREATE_POSITIVE,
	SEAL_POSITIVE,
	READ_LONG,
	READ_HUGE,
	READ_NO_ERRNO,
	LIST_NO_ERRNO,
	ROOT_GET_LONG,
	ROOT_GET_NO_ERRNO,
	ROOT_SWAP_POSITIVE,
	SUBMIT_MORE,
	SUBMIT_NONE,
	POLL_MORE,
	POLL_NONE,
	POLL_UNKNOWN,
	POLL_ZERO_TAG,
	POLL_TWICE,
	POLL_OLD,
	POLL_RESULT_POSITIVE,
	POLL_RESULT_MIN,
	LIES,
};

static enum lie lie;
static unsigned lie_in; /* that call lies, and all after it */
static bool lied;
static bool stingy; /* takes one request at a time, and refuses the second once */
static bool refused;
static uint64_t old_tag;
static unsigned under_way;

static bool lies(enum lie as)
{
	if (lie != as)
		return false;
	if (lie_in > 0) {
		lie_in--;
		return false;
	}
	lied = true;
	return true;
}

static int liar_open(const char *location, void **ret_store)
{
	if (lies(OPEN_POSITIVE))
		return 1;
	if (lies(OPEN_NO_ERRNO))
		return INT_MIN;
	return blazei_mem_ops.open(location, ret_store);
}

static int liar_geometry(void *store, struct blaze_store_geometry *ret_geometry)
{
	int error = blazei_mem_ops.geometry(store, ret_geometry);

	if (lies(GEOMETRY_BLOCK_ODD))
		ret_geometry->block_bytes = 600;
	if (lies(GEOMETRY_BLOCK_LARGE))
		ret_geometry->block_bytes = 8192;
	if (lies(GEOMETRY_BLOCK_SMALL))
		ret_geometry->block_bytes = 1;
	if (lies(GEOMETRY_SEGMENT_NONE))
		ret_geometry->segment_bytes = 0;
	if (lies(GEOMETRY_SEGMENT_SMALL))
		ret_geometry->segment_bytes = 4 << 20;
	if (lies(GEOMETRY_SEGMENT_ODD))
		ret_geometry->segment_bytes = (64 << 20) + 1;
	if (lies(GEOMETRY_SEGMENT_HUGE))
		ret_geometry->segment_bytes = UINT64_MAX & ~(uint64_t)4095;
	if (lies(GEOMETRY_ROOT_SMALL))
		ret_geometry->root_bytes = 1000;
	return error;
}

static int liar_create(void *store, uint64_t segment)
{
	int error = blazei_mem_ops.segment_create(store, segment);

	return lies(CREATE_POSITIVE) ? 3 : error;
}

static int liar_seal(void *store, uint64_t segment, uint64_t end)
{
	int error = blazei_mem_ops.segment_seal(store, segment, end);

	return lies(SEAL_POSITIVE) ? 3 : error;
}

static int64_t liar_read(void *store, uint64_t segment, uint64_t offset, void *ret_data, size_t len)
{
	int64_t n = blazei_mem_ops.segment_read(store, segment, offset, ret_data, len);

	if (lies(READ_LONG))
		return (int64_t)len + 1;
	if (lies(READ_HUGE))
		return INT64_MAX;
	return lies(READ_NO_ERRNO) ? INT64_MIN : n;
}

static int64_t liar_list(void *store, uint64_t *ret_segments, size_t max)
{
	int64_t n = blazei_mem_ops.segment_list(store, ret_segments, max);

	return lies(LIST_NO_ERRNO) ? -5000 : n;
}

static int64_t liar_root_get(void *store, void *ret_data, size_t cap, uint64_t *ret_version)
{
	int64_t n = blazei_mem_ops.root_get(store, ret_data, cap, ret_version);

	if (lies(ROOT_GET_LONG))
		return (int64_t)cap + 1;
	return lies(ROOT_GET_NO_ERRNO) ? INT64_MIN : n;
}

static int liar_root_swap(void *store, uint64_t version, const void *data, size_t len)
{
	int error = blazei_mem_ops.root_swap(store, version, data, len);

	return lies(ROOT_SWAP_POSITIVE) ? 1 : error;
}

static int liar_submit(void *store, const struct blaze_store_request *requests, unsigned count)
{
	int n;

	if (lies(SUBMIT_NONE))
		return 0;
	if (stingy && requests[0].operation == BLAZE_STORE_SYNC && !refused) {
		refused = true;
		return -EAGAIN;
	}
	n = blazei_mem_ops.submit(store, requests, stingy ? 1 : count);
	under_way += n > 0 ? (unsigned)n : 0;
	return lies(SUBMIT_MORE) ? (int)count + 1 : n;
}

static int liar_poll(void *store, struct blaze_store_completion *ret_completions, unsigned max)
{
	int n = blazei_mem_ops.poll(store, ret_completions, max);

	if (n <= 0)
		return n;
	under_way -= (unsigned)n;
	if (lies(POLL_MORE))
		return (int)max + 1;
	if (lies(POLL_NONE))
		return 0;
	if (lies(POLL_UNKNOWN))
		ret_completions[0].tag ^= UINT64_C(1) << 40;
	if (lies(POLL_ZERO_TAG))
		ret_completions[0].tag = 0;
	if (n > 1 && lies(POLL_TWICE))
		ret_completions[1] = ret_completions[0];
	if (old_tag != 0 && lies(POLL_OLD))
		ret_completions[0].tag = old_tag;
	if (lies(POLL_RESULT_POSITIVE))
		ret_completions[0].result = 1;
	if (lies(POLL_RESULT_MIN))
		ret_completions[0].result = INT_MIN;
	old_tag = ret_completions[0].tag;
	return n;
}

static struct blaze_store_ops liar_ops(void)
{
	struct blaze_store_ops ops = blazei_mem_ops;

	ops.open = liar_open;
	ops.geometry = liar_geometry;
	ops.segment_create = liar_create;
	ops.segment_seal = liar_seal;
	ops.segment_read = liar_read;
	ops.segment_list = liar_list;
	ops.root_get = liar_root_get;
	ops.root_swap = liar_root_swap;
	ops.submit = liar_submit;
	ops.poll = liar_poll;
	return ops;
}

static int db_open(const char *store, struct blaze_db **ret_db)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;

	options.durability = BLAZE_DURABILITY_SYNC;
	options.flags = BLAZE_DB_MANUAL;
	options.store = store;
	return blaze_db_open("backend", NULL, &options, ret_db);
}

static int put(struct blaze_db *db, unsigned n, size_t len)
{
	static const uint8_t value[1 << 20];
	struct blaze_id id = { { (uint8_t)n, (uint8_t)(n >> 8) } };

	return blaze_db_put(db, &id, value, len);
}

/* Writes until it fails, at most 20 records; how many were acknowledged. */
static unsigned write_on(struct blaze_db *db, unsigned from, int *ret_error)
{
	unsigned n = 0;

	*ret_error = 0;
	while (n < 20 && *ret_error == 0) {
		*ret_error = put(db, from + n, 100);
		n += *ret_error == 0;
	}
	return n;
}

START_TEST(lie_is_told_and_loses_nothing)
{
	char uri[64];
	struct blaze_db *db;
	int error;
	unsigned acknowledged;

	for (unsigned after = 0; after < 4; after++) {
		snprintf(uri, sizeof(uri), "liar:store%d-%u", _i, after);
		lie = HONEST;
		ck_assert_int_eq(db_open(uri, &db), 0);
		acknowledged = write_on(db, 0, &error);
		ck_assert_int_eq(error, 0);
		ck_assert_int_eq(blaze_db_close(db), 0);
		lie = (enum lie)_i;
		lie_in = after;
		lied = false;
		error = db_open(uri, &db);
		if (error == 0) {
			acknowledged += write_on(db, acknowledged, &error);
			(void)blaze_db_close(db);
		} else {
			ck_assert_int_eq(error, -EBADMSG);
		}
		/* At its close a store finds nobody to tell but the log hook. */
		if (lied && lie != SEAL_POSITIVE && lie != ROOT_SWAP_POSITIVE)
			ck_assert_int_ne(error, 0);
		ck_assert(error == 0 || error == -EBADMSG || error == -EROFS);
		lie = HONEST;
		ck_assert_int_eq(db_open(uri, &db), 0);
		ck_assert_int_ge(blaze_db_count(db), acknowledged);
		ck_assert_int_le(blaze_db_count(db), acknowledged + 1);
		ck_assert_int_eq(blaze_db_close(db), 0);
	}
}
END_TEST

/* Whatever is tried above has to be met: each lie is told at least once. */
START_TEST(each_lie_is_reached)
{
	char uri[64];
	struct blaze_db *db;
	int error;

	snprintf(uri, sizeof(uri), "liar:reach%d", _i);
	lied = false;
	lie_in = 0;
	/* Only a new store is asked for its list; only an old one is read. */
	for (unsigned round = 0; round < 2; round++) {
		lie = round == 1 || _i == LIST_NO_ERRNO ? (enum lie)_i : HONEST;
		error = db_open(uri, &db);
		if (error == 0) {
			(void)write_on(db, 0, &error);
			(void)blaze_db_close(db);
		}
	}
	ck_assert(lied);
}
END_TEST

/* The completion of an append that was taken must not pass for that of a later sync. */
START_TEST(half_taken_group_is_waited_for)
{
	struct blaze_db *db;

	ck_assert_int_eq(db_open("liar:stingy", &db), 0);
	stingy = true;
	for (unsigned n = 0; n < 20; n++) {
		ck_assert_int_eq(put(db, n, 100), 0);
		ck_assert_uint_eq(under_way, 0);
	}
	ck_assert(refused);
	stingy = false;
	ck_assert_int_eq(blaze_db_close(db), 0);
	ck_assert_int_eq(db_open("liar:stingy", &db), 0);
	ck_assert_int_eq(blaze_db_count(db), 20);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(bad_registration_is_refused)
{
	static const char *const names[] = {
		"", "x", "Liar", "9p", "a b", "li:ar", "with/slash", "seventeen-letters", "-x",
	};
	struct blaze_store_ops ops = liar_ops();
	struct {
		struct blaze_store_ops ops;
		uint64_t later;
	} longer = { .ops = liar_ops() };

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ck_assert_int_eq(blaze_store_register(names[i], &ops), -EINVAL);
	ck_assert_int_eq(blaze_store_register(NULL, &ops), -EINVAL);
	ck_assert_int_eq(blaze_store_register("other", NULL), -EINVAL);
	ck_assert_int_eq(blaze_store_register("file", &ops), -EEXIST);
	ck_assert_int_eq(blaze_store_register("mem", &ops), -EEXIST);
	ck_assert_int_eq(blaze_store_register("liar", &ops), -EEXIST);
	ops.struct_size = 3;
	ck_assert_int_eq(blaze_store_register("other", &ops), -EINVAL);
	/* Of an older library, so to say: the last operation is missing. */
	ops.struct_size = offsetof(struct blaze_store_ops, poll);
	ck_assert_int_eq(blaze_store_register("other", &ops), -EINVAL);
	ops = liar_ops();
	ops.interface = BLAZE_STORE_INTERFACE + 1;
	ck_assert_int_eq(blaze_store_register("other", &ops), -EPROTO);
	for (size_t at = offsetof(struct blaze_store_ops, open); at < sizeof(ops);
	     at += sizeof(void *)) {
		ops = liar_ops();
		memset((uint8_t *)&ops + at, 0, sizeof(void *));
		ck_assert_int_eq(blaze_store_register("other", &ops), -EINVAL);
	}
	longer.ops.struct_size = sizeof(longer);
	longer.later = 1;
	ck_assert_int_eq(blaze_store_register("other", &longer.ops), -E2BIG);
	longer.later = 0;
	ck_assert_int_eq(blaze_store_register("other", &longer.ops), 0);
}
END_TEST

static void *register_many(void *arg)
{
	struct blaze_store_ops ops = liar_ops();
	char name[16];
	uintptr_t made = 0;

	(void)arg;
	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "many%u", i);
		made += blaze_store_register(name, &ops) == 0;
	}
	return (void *)made;
}

/* Each name goes to one of the threads; and there is an end. */
START_TEST(registration_by_many_threads)
{
	struct blaze_store_ops ops = liar_ops();
	pthread_t threads[4];
	uintptr_t sum = 0;
	void *made;

	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, register_many, NULL), 0);
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_int_eq(pthread_join(threads[i], &made), 0);
		sum += (uintptr_t)made;
	}
	ck_assert_uint_eq(sum, 31); /* and the liar */
	ck_assert_int_eq(blaze_store_register("one-more", &ops), -ENOSPC);
	ck_assert_int_eq(blaze_store_register("many0", &ops), -EEXIST);
}
END_TEST

START_TEST(bad_uri_is_refused)
{
	static const char *const bad[] = {
		"mem:.x",
		"mem:a/b",
		"mem:x?",
		"mem:x?limit=",
		"mem:x?limit=0",
		"mem:x?limit=-1",
		"mem:x?limit=12T",
		"mem:x?limit=99999999999999999999",
		"mem:?limit=1M",
		"file:",
		"",
	};
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_db *db = NULL;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(db_open(bad[i], &db), -EINVAL);
	ck_assert_int_eq(db_open("nobody:x", &db), -EOPNOTSUPP);
	ck_assert_int_eq(db_open("mem:x", &db), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
	options.durability = BLAZE_DURABILITY_SYNC;
	options.store = "mem:x";
	ck_assert_int_eq(blaze_db_open("x", "mem:x", &options, &db), -EINVAL);
	options.store = NULL;
	ck_assert_int_eq(blaze_db_open("x", "mem:x", &options, &db), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(mem_at_its_limit_is_read_only_and_loses_nothing)
{
	struct blaze_db *db, *second;
	int64_t count = 0;
	int error = 0;

	ck_assert_int_eq(db_open("mem:limited?limit=4M", &db), 0);
	ck_assert_int_eq(db_open("mem:limited", &second), -EBUSY);
	while (error == 0) {
		error = put(db, (unsigned)count, 100000);
		count += error == 0;
		ck_assert_int_lt(count, 60);
	}
	ck_assert_int_eq(error, -EROFS);
	ck_assert_int_gt(count, 20);
	(void)blaze_db_close(db);
	/* With more room it goes on. */
	ck_assert_int_eq(db_open("mem:limited?limit=8M", &db), 0);
	ck_assert_int_ge(blaze_db_count(db), count);
	ck_assert_int_le(blaze_db_count(db), count + 1);
	ck_assert_int_eq(put(db, 1000, 100000), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(mem_gives_back_what_is_deleted)
{
	const struct blaze_store_ops *ops = &blazei_mem_ops;
	static const uint8_t data[1 << 20];
	struct blaze_store_request request = { .operation = BLAZE_STORE_APPEND,
		                               .data = data,
		                               .len = sizeof(data) };
	struct blaze_store_completion completion;
	void *store;

	ck_assert_int_eq(ops->open("given?limit=3M", &store), 0);
	for (uint64_t i = 1; i <= 50; i++) {
		request.segment = i;
		ck_assert_int_eq(ops->segment_create(store, i), 0);
		ck_assert_int_eq(ops->submit(store, &request, 1), 1);
		ck_assert_int_eq(ops->poll(store, &completion, 1), 1);
		ck_assert_int_eq(completion.result, i % 4 == 0 ? -ENOSPC : 0);
		if (i % 4 != 0)
			continue;
		for (uint64_t k = i - 3; k <= i; k++)
			ck_assert_int_eq(ops->segment_delete(store, k), 0);
	}
	ops->close(store);
}
END_TEST

/* A child that went on under the same identity would fork the history. */
START_TEST(mem_is_empty_in_a_forked_child)
{
	struct blaze_db *db;
	int status;
	pid_t pid;

	ck_assert_int_eq(db_open("mem:forked", &db), 0);
	ck_assert_int_eq(put(db, 1, 10), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct blaze_db *other;
		bool fine = db_open("mem:forked", &other) == 0 && blaze_db_count(other) == 0 &&
		            put(other, 2, 10) == 0 && blaze_db_close(db) == 0 &&
		            blaze_db_close(other) == 0;

		_exit(fine ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(put(db, 3, 10), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
	ck_assert_int_eq(db_open("mem:forked", &db), 0);
	ck_assert_int_eq(blaze_db_count(db), 2);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

static void setup(void)
{
	struct blaze_store_ops ops = liar_ops();
	int error = blaze_store_register("liar", &ops);

	ck_assert(error == 0 || error == -EEXIST);
	lie = HONEST;
}

int main(void)
{
	Suite *suite = suite_create("backend");
	TCase *tcase = tcase_create("backend");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 300);
	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_loop_test(tcase, lie_is_told_and_loses_nothing, 1, LIES);
	tcase_add_loop_test(tcase, each_lie_is_reached, 1, LIES);
	tcase_add_test(tcase, half_taken_group_is_waited_for);
	tcase_add_test(tcase, bad_uri_is_refused);
	tcase_add_test(tcase, mem_at_its_limit_is_read_only_and_loses_nothing);
	tcase_add_test(tcase, mem_gives_back_what_is_deleted);
	tcase_add_test(tcase, mem_is_empty_in_a_forked_child);
	tcase_add_test(tcase, bad_registration_is_refused);
	tcase_add_test(tcase, registration_by_many_threads);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
