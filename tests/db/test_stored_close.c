/* SPDX-License-Identifier: Apache-2.0 */
/* Closing a database with a store: what it says of writes that the disk did not take, how long it
 * waits, and what happens where the process stands elsewhere by then. */
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/db/stored.h"

static struct blaze_db *open_with(unsigned number, uint32_t durability, uint64_t interval_ns)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_db *db = NULL;

	options.durability = durability;
	options.sync_interval_ns = interval_ns;
	ck_assert_int_eq(blaze_db_open("close", stored_path(number), &options, &db), 0);
	return db;
}

static void put(struct blaze_db *db, unsigned count)
{
	static const char value[10000];
	struct blaze_id id;

	for (unsigned i = 0; i < count; i++) {
		ck_assert_int_eq(blaze_id_new(&id), 0);
		ck_assert_int_eq(blaze_db_put(db, &id, value, sizeof(value)), 0);
	}
}

/* Nothing can be written for as long as that. */
static void files_end_at(rlim_t bytes)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

START_TEST(close_tells_that_the_disk_did_not_take_all)
{
	struct blaze_db *db = open_with(0, BLAZE_DURABILITY_NONE, 0);

	put(db, 100);
	files_end_at(4096);
	ck_assert_int_eq(blaze_db_close(db), -EIO);
	files_end_at(RLIM_INFINITY);
	db = open_with(0, BLAZE_DURABILITY_NONE, 0);
	ck_assert_int_eq((int)blaze_db_count(db), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(close_with_async_tells_it_and_the_next_opening_has_all)
{
	struct blaze_db *db = open_with(0, BLAZE_DURABILITY_ASYNC, 3600 * UINT64_C(1000000000));

	put(db, 100);
	files_end_at(4096);
	ck_assert_int_eq(blaze_db_close(db), -EIO);
	files_end_at(RLIM_INFINITY);
	db = open_with(0, BLAZE_DURABILITY_ASYNC, 0);
	ck_assert_int_eq((int)blaze_db_count(db), 100);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

/* The test's own time-out is what notices. */
START_TEST(close_does_not_wait_for_what_is_due_later)
{
	struct blaze_db *db = open_with(0, BLAZE_DURABILITY_ASYNC, BLAZE_FOREVER);

	put(db, 1);
	/* Until the database's thread waits for it. */
	usleep(100000);
	ck_assert_int_eq(blaze_db_close(db), 0);
	db = open_with(0, BLAZE_DURABILITY_ASYNC, 0);
	ck_assert_int_eq((int)blaze_db_count(db), 1);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(backup_is_of_this_database_wherever_the_process_stands)
{
	struct blaze_db *db = open_with(0, BLAZE_DURABILITY_SYNC, 0);
	struct blaze_db *other;
	char here[4096];

	put(db, 3);
	ck_assert_ptr_nonnull(getcwd(here, sizeof(here)));
	ck_assert_int_eq(chdir(stored_dir), 0);
	ck_assert_int_eq(blaze_db_backup(db, "1"), 0);
	ck_assert_int_eq(chdir(here), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
	other = open_with(1, BLAZE_DURABILITY_SYNC, 0);
	ck_assert_int_eq((int)blaze_db_count(other), 3);
	ck_assert_int_eq(blaze_db_close(other), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stored_close");
	TCase *tcase = tcase_create("stored_close");
	int failed;

	tcase_add_checked_fixture(tcase, stored_setup, stored_teardown);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, close_tells_that_the_disk_did_not_take_all);
	tcase_add_test(tcase, close_with_async_tells_it_and_the_next_opening_has_all);
	tcase_add_test(tcase, close_does_not_wait_for_what_is_due_later);
	tcase_add_test(tcase, backup_is_of_this_database_wherever_the_process_stands);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
