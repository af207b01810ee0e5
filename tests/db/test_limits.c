/* SPDX-License-Identifier: Apache-2.0 */
/* A process that may not have files as long as it would need is told so, and lives: the system's
 * own answer to a write beyond that is a signal that ends it. */
#include <stdlib.h>
#include <sys/resource.h>

#include "tests/db/stored.h"

static void limit_set(rlim_t bytes)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static int open_with(uint32_t durability, struct blaze_db **ret_db)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;

	options.durability = durability;
	return blaze_db_open(unique_name(), stored_path(0), &options, ret_db);
}

START_TEST(store_whose_segments_are_too_long_is_not_opened)
{
	struct blaze_db *db = NULL;

	limit_set((64 << 20) - 1);
	ck_assert_int_eq(open_with((uint32_t)_i, &db), -EFBIG);
	ck_assert_ptr_null(db);
	limit_set(64 << 20);
	ck_assert_int_eq(open_with((uint32_t)_i, &db), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
	limit_set(RLIM_INFINITY);
}
END_TEST

/* What it has stays, and can be read. */
START_TEST(store_that_may_begin_no_segment_is_read_only)
{
	struct blaze_id id = { { 1 } };
	struct blaze_db *db = NULL;
	uint8_t value[8];

	ck_assert_int_eq(open_with(BLAZE_DURABILITY_SYNC, &db), 0);
	ck_assert_int_eq(blaze_db_put(db, &id, "first", 5), 0);
	limit_set(1 << 20);
	/* It begins with a segment of its own. */
	ck_assert_int_lt(blaze_db_compact(db), 0);
	ck_assert_int_eq(blaze_db_put(db, &id, "second", 6), -EROFS);
	ck_assert_int_eq(blaze_db_count(db), 1);
	(void)blaze_db_close(db);
	limit_set(RLIM_INFINITY);
	ck_assert_int_eq(open_with(BLAZE_DURABILITY_SYNC, &db), 0);
	ck_assert_int_eq(blaze_db_fetch(db, &id, value, sizeof(value)), 5);
	ck_assert_mem_eq(value, "first", 5);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(ring_whose_lane_is_too_long_is_not_attached)
{
	struct blaze_ring_options options = BLAZE_RING_OPTIONS_INIT;
	const char *name = unique_name();
	struct blaze_ring *ring = NULL;

	options.lane_bytes = 1 << 20;
	limit_set(1 << 20);
	ck_assert_int_eq(blaze_ring_attach(name, &options, &ring), -EFBIG);
	limit_set(2 << 20);
	ck_assert_int_eq(blaze_ring_attach(name, &options, &ring), 0);
	blaze_ring_detach(ring);
	limit_set(RLIM_INFINITY);
	(void)blaze_ring_unlink(name);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("limits");
	TCase *tcase = tcase_create("limits");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, stored_setup, stored_teardown);
	tcase_add_loop_test(tcase, store_whose_segments_are_too_long_is_not_opened,
	                    BLAZE_DURABILITY_NONE, BLAZE_DURABILITY_SYNC + 1);
	tcase_add_test(tcase, store_that_may_begin_no_segment_is_read_only);
	tcase_add_test(tcase, ring_whose_lane_is_too_long_is_not_attached);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
