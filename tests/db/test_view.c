/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a database in a directory without opening it for writing: what is read is what an
 * opening would give, nothing changes, and each single changed byte is told or makes no
 * difference. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <blaze/blaze.h>

#include "lib/base/base.h"
#include "lib/op/hash.h"
#include "tests/base/child.h"
#include "tests/base/dir.h"

#define SEGMENT "0000000000000001.seg"

static char dir[] = "test_view.XXXXXX";
static char path[64];

static void setup(void)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/db", dir);
}

static void teardown(void)
{
	dir_remove(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

static int open_as(uint32_t flags, struct blaze_db **ret_db)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;

	options.flags = BLAZE_DB_MANUAL | flags;
	if ((flags & BLAZE_DB_READ_ONLY) == 0)
		options.durability = BLAZE_DURABILITY_SYNC;
	return blaze_db_open("view", path, &options, ret_db);
}

static struct blaze_id id_of(uint8_t n)
{
	return (struct blaze_id){ { n } };
}

static void put(struct blaze_db *db, uint8_t n)
{
	struct blaze_id id = id_of(n);

	ck_assert_int_eq(blaze_db_put(db, &id, &n, sizeof(n)), 0);
}

/* A closed store of four records, or one whose program was killed: its segment has no end. */
static void store_make(bool killed)
{
	struct blaze_db *db = NULL;
	int status;
	pid_t pid = killed ? child_fork() : 0;

	if (pid == 0) {
		ck_assert_int_eq(open_as(0, &db), 0);
		for (uint8_t n = 1; n <= 4; n++)
			put(db, n);
		if (killed)
			raise(SIGKILL);
		ck_assert_int_eq(blaze_db_close(db), 0);
		return;
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
}

/* What lies in the directory: names, sizes, content and times of change. */
static uint64_t dir_state(void)
{
	DIR *stream = opendir(path);
	struct dirent *entry;
	uint64_t sum = 0;

	ck_assert_ptr_nonnull(stream);
	while ((entry = readdir(stream)) != NULL) {
		char name[512];
		struct stat status;

		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		ck_assert_int_eq(stat(name, &status), 0);
		if (strcmp(entry->d_name, "..") == 0)
			continue;
		sum += XXH3_64bits_withSeed(entry->d_name, strlen(entry->d_name),
		                            (uint64_t)status.st_size +
		                                    (uint64_t)status.st_ctim.tv_nsec);
	}
	closedir(stream);
	return sum;
}

START_TEST(read_only_gives_what_is_there_and_changes_nothing)
{
	struct blaze_db *db = NULL;
	uint8_t hash[2][16];
	uint64_t state;
	struct blaze_txn *txn;
	struct blaze_id id = id_of(9);

	store_make(_i == 1);
	state = dir_state();
	ck_assert_int_eq(open_as(BLAZE_DB_READ_ONLY, &db), 0);
	ck_assert_int_eq(blaze_db_count(db), 4);
	ck_assert_int_eq(blaze_db_hash(db, hash[0]), 0);
	ck_assert_int_eq(blaze_db_put(db, &id, "x", 1), -EROFS);
	id = id_of(1);
	ck_assert_int_eq(blaze_db_delete(db, &id), -EROFS);
	ck_assert_int_eq(blaze_txn_begin(db, &txn), 0);
	ck_assert_int_eq(blaze_txn_put(txn, &id, "x", 1), 0);
	ck_assert_int_eq(blaze_txn_commit(txn), -EROFS);
	ck_assert_int_eq(blaze_db_count(db), 4);
	ck_assert_int_eq(blaze_db_close(db), 0);
	ck_assert_uint_eq(dir_state(), state);

	ck_assert_int_eq(open_as(0, &db), 0);
	ck_assert_int_eq(blaze_db_hash(db, hash[1]), 0);
	ck_assert_mem_eq(hash[0], hash[1], sizeof(hash[0]));
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(read_only_sees_what_another_has_made_durable)
{
	struct blaze_db *db = NULL, *view = NULL;

	ck_assert_int_eq(open_as(0, &db), 0);
	for (uint8_t n = 1; n <= 50; n++) {
		put(db, n);
		ck_assert_int_eq(open_as(BLAZE_DB_READ_ONLY, &view), 0);
		ck_assert_int_eq(blaze_db_count(view), n);
		ck_assert_int_eq(blaze_db_close(view), 0);
	}
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(no_create_and_read_only_make_nothing)
{
	static const uint32_t flags[] = { BLAZE_DB_NO_CREATE, BLAZE_DB_READ_ONLY,
		                          BLAZE_DB_NO_CREATE | BLAZE_DB_READ_ONLY };
	struct blaze_db *db = NULL;
	char name[80];

	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(open_as(flags[i], &db), -ENOENT);
		ck_assert_int_eq(access(path, F_OK), -1);
	}
	ck_assert_int_eq(mkdir(path, 0700), 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(open_as(flags[i], &db), -ENOENT);
	ck_assert_int_eq(rmdir(path), 0); /* still empty */
	store_make(false);
	ck_assert_int_eq(open_as(BLAZE_DB_NO_CREATE, &db), 0);
	put(db, 5);
	ck_assert_int_eq(blaze_db_close(db), 0);
	/* What is no plain file is not read, and not waited for. */
	snprintf(name, sizeof(name), "%s/root", path);
	ck_assert_int_eq(unlink(name), 0);
	ck_assert_int_eq(mkfifo(name, 0600), 0);
	ck_assert_int_eq(open_as(BLAZE_DB_READ_ONLY, &db), -EBADMSG);
}
END_TEST

START_TEST(default_policy_takes_what_is_there)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_db *db = NULL;

	options.durability = BLAZE_DURABILITY_SYNC;
	options.policy = BLAZE_POLICY_LWW;
	ck_assert_int_eq(blaze_db_open("x", path, &options, &db), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
	ck_assert_int_eq(open_as(0, &db), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
	options.policy = BLAZE_POLICY_SERVER_PRIORITY;
	ck_assert_int_eq(blaze_db_open("x", path, &options, &db), -EINVAL);
}
END_TEST

static void flip(int fd, off_t offset, uint8_t mask)
{
	uint8_t byte;

	ck_assert_int_eq(pread(fd, &byte, 1, offset), 1);
	byte ^= mask;
	ck_assert_int_eq(pwrite(fd, &byte, 1, offset), 1);
}

static unsigned warnings;

static void count_warning(void *arg, enum blaze_log_level level, const char *line)
{
	(void)arg;
	(void)line;
	warnings += level == BLAZE_LOG_WARNING;
}

/* Opens with one byte changed, for each byte, or each so many (BLAZE_FLIPS_APART): refused, or told
 * to be cut, or nothing differs. */
static void flip_each(const char *file, off_t limit)
{
	const char *text = getenv("BLAZE_FLIPS_APART");
	const off_t apart = text != NULL ? atoi(text) : 1;
	struct blaze_db *db = NULL;
	uint8_t right[16], hash[16];
	char name[128];
	struct stat status;
	int fd;

	ck_assert_int_eq(open_as(BLAZE_DB_READ_ONLY, &db), 0);
	ck_assert_int_eq(blaze_db_hash(db, right), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
	snprintf(name, sizeof(name), "%s/%s", path, file);
	fd = open(name, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_gt(apart, 0);
	ck_assert_int_eq(fstat(fd, &status), 0);
	blaze_log_set(count_warning, NULL);
	for (off_t at = 0; at < status.st_size && at < limit; at += apart) {
		uint8_t mask = (uint8_t)(1u << (at / apart % 8));
		int error;

		warnings = 0;
		flip(fd, at, mask);
		error = open_as(BLAZE_DB_READ_ONLY, &db);
		ck_assert_msg(error == 0 || error == -EBADMSG || error == -EPROTO, "%s at %lld: %d",
		              file, (long long)at, error);
		if (error == 0) {
			ck_assert_int_eq(blaze_db_hash(db, hash), 0);
			ck_assert_msg(warnings > 0 || memcmp(hash, right, sizeof(hash)) == 0,
			              "%s at %lld differs untold", file, (long long)at);
			ck_assert_int_eq(blaze_db_close(db), 0);
		}
		flip(fd, at, mask);
	}
	blaze_log_set(NULL, NULL);
	close(fd);
}

START_TEST(each_changed_byte_is_told_or_no_difference)
{
	store_make(_i == 1);
	flip_each("root", 1 << 20);
	flip_each(SEGMENT, 24 << 10);
}
END_TEST

START_TEST(each_length_is_told_or_a_prefix)
{
	struct blaze_db *db = NULL;
	char name[128];

	store_make(_i == 1);
	snprintf(name, sizeof(name), "%s/" SEGMENT, path);
	for (off_t length = 16 << 10; length >= 0; length -= 256) {
		int error;

		ck_assert_int_eq(truncate(name, length), 0);
		error = open_as(BLAZE_DB_READ_ONLY, &db);
		if (_i == 0 && length < 16 << 10)
			ck_assert_int_eq(error, -EBADMSG);
		else
			ck_assert_int_eq(error, 0);
		if (error != 0)
			continue;
		ck_assert_int_eq(blaze_db_count(db), length / 4096);
		ck_assert_int_eq(blaze_db_close(db), 0);
	}
}
END_TEST

/* Backups ------------------------------------------------------------------------------------ */

struct writer {
	struct blaze_db *db;
	_Atomic uint64_t acknowledged;
	atomic_bool stop;
};

static void *write_on(void *arg)
{
	struct writer *writer = arg;

	for (uint64_t n = 1; !atomic_load(&writer->stop); n++) {
		struct blaze_id id = { { 0 } };
		struct blaze_txn *txn;

		/* Two records at once, so that a torn transaction shows. */
		memcpy(id.bytes + 8, &n, sizeof(n));
		ck_assert_int_eq(blaze_txn_begin(writer->db, &txn), 0);
		ck_assert_int_eq(blaze_txn_put(txn, &id, &n, sizeof(n)), 0);
		id.bytes[0] = 1;
		ck_assert_int_eq(blaze_txn_put(txn, &id, &n, sizeof(n)), 0);
		ck_assert_int_eq(blaze_txn_commit(txn), 0);
		atomic_store(&writer->acknowledged, n);
	}
	return NULL;
}

/* Opens the copy and removes it: how many pairs it has, which are the first ones. */
static uint64_t copy_count(void)
{
	char before[64];
	struct blaze_db *db = NULL;
	uint64_t pairs = 0;
	int64_t count;

	memcpy(before, path, sizeof(before));
	snprintf(path, sizeof(path), "%s/copy", dir);
	ck_assert_int_eq(open_as(BLAZE_DB_NO_CREATE, &db), 0);
	count = blaze_db_count(db);
	for (uint64_t n = 1; n <= (uint64_t)count / 2; n++) {
		struct blaze_id id = { { 0 } };
		uint64_t value = 0;

		memcpy(id.bytes + 8, &n, sizeof(n));
		for (unsigned i = 0; i < 2; i++) {
			id.bytes[0] = (uint8_t)i;
			ck_assert_int_eq(blaze_db_fetch(db, &id, &value, sizeof(value)),
			                 sizeof(value));
			ck_assert_uint_eq(value, n);
		}
		pairs++;
	}
	ck_assert_int_eq(count, (int64_t)pairs * 2);
	ck_assert_int_eq(blaze_db_close(db), 0);
	dir_remove(path);
	memcpy(path, before, sizeof(before));
	return pairs;
}

START_TEST(backup_beside_writer_has_what_was_acknowledged)
{
	struct writer writer = { .db = NULL };
	pthread_t thread;
	char copy[80];

	snprintf(copy, sizeof(copy), "%s/copy", dir);
	ck_assert_int_eq(open_as(0, &writer.db), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_on, &writer), 0);
	for (unsigned i = 0; i < 40; i++) {
		uint64_t before = atomic_load(&writer.acknowledged);

		ck_assert_int_eq(blaze_db_backup(writer.db, copy), 0);
		ck_assert_uint_ge(copy_count(), before);
	}
	atomic_store(&writer.stop, true);
	pthread_join(thread, NULL);
	ck_assert_int_eq(blaze_db_close(writer.db), 0);
}
END_TEST

static void *compact_on(void *arg)
{
	struct writer *writer = arg;

	while (!atomic_load(&writer->stop))
		if (blaze_db_compact(writer->db) != 0)
			return arg;
	return NULL;
}

/* It comes about at the first try, however often the log is compacted. */
START_TEST(backup_beside_compactions_comes_about)
{
	struct writer writer = { .db = NULL };
	static uint8_t value[60 << 10];
	char copy[80], before[sizeof(path)];
	pthread_t thread;
	void *result;

	snprintf(copy, sizeof(copy), "%s/copy", dir);
	ck_assert_int_eq(open_as(0, &writer.db), 0);
	for (uint8_t n = 0; n < 40; n++) {
		struct blaze_id id = id_of(n);

		ck_assert_int_eq(blaze_db_put(writer.db, &id, value, sizeof(value)), 0);
	}
	ck_assert_int_eq(pthread_create(&thread, NULL, compact_on, &writer), 0);
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_int_eq(blaze_db_backup(writer.db, copy), 0);
		memcpy(before, path, sizeof(before));
		memcpy(path, copy, sizeof(path));
		dir_remove(path);
		memcpy(path, before, sizeof(before));
	}
	atomic_store(&writer.stop, true);
	pthread_join(thread, &result);
	ck_assert_ptr_null(result);
	ck_assert_int_eq(blaze_db_close(writer.db), 0);
}
END_TEST

START_TEST(backup_takes_long_transactions_and_no_part_of_one)
{
	static uint8_t value[600 << 10];
	struct blaze_db *db = NULL, *view = NULL;
	struct blaze_txn *txn;
	struct stat status;
	char copy[80], name[128];

	memset(value, 'v', sizeof(value));
	ck_assert_int_eq(open_as(0, &db), 0);
	put(db, 1);
	for (uint8_t round = 0; round < 2; round++) {
		ck_assert_int_eq(blaze_txn_begin(db, &txn), 0);
		for (uint8_t n = 0; n < 5; n++) {
			struct blaze_id id = { { round, n, 1 } };

			ck_assert_int_eq(blaze_txn_put(txn, &id, value, sizeof(value)), 0);
		}
		ck_assert_int_eq(blaze_txn_commit(txn), 0);
	}
	snprintf(copy, sizeof(copy), "file:%s/copy", dir);
	ck_assert_int_eq(blaze_db_backup(db, copy), 0);
	ck_assert_int_eq(blaze_db_backup(db, copy), -EEXIST);
	ck_assert_int_eq(blaze_db_count(db), 11);
	/* As the writer's program leaves it where it is killed: the second one is not whole. */
	snprintf(name, sizeof(name), "%s/" SEGMENT, path);
	ck_assert_int_eq(stat(name, &status), 0);
	ck_assert_int_eq(truncate(name, 4 << 20), 0);
	ck_assert_int_gt(status.st_size, 5 << 20);
	ck_assert_int_eq(open_as(BLAZE_DB_READ_ONLY, &view), 0);
	ck_assert_int_eq(blaze_db_count(view), 6);
	/* What was acknowledged is not there any more, which is told; the looker knows of less. */
	snprintf(copy, sizeof(copy), "%s/copy", dir);
	snprintf(name, sizeof(name), "rm -r %s", copy);
	ck_assert_int_eq(system(name), 0);
	ck_assert_int_eq(blaze_db_backup(db, copy), -EBADMSG);
	ck_assert_int_eq(system(name), 0);
	ck_assert_int_eq(blaze_db_backup(view, copy), 0);
	ck_assert_int_eq(blaze_db_close(view), 0);
	snprintf(name, sizeof(name), "%s", path);
	strcpy(path, copy);
	ck_assert_int_eq(open_as(0, &view), 0);
	ck_assert_int_eq(blaze_db_count(view), 6);
	ck_assert_int_eq(blaze_db_close(view), 0);
	dir_remove(path);
	strcpy(path, name);
	(void)blaze_db_close(db);
}
END_TEST

/* Another database where this one had been: the copy is never of that one. */
START_TEST(backup_of_a_moved_database_is_none)
{
	struct blaze_db *db = NULL, *other = NULL;
	char moved[80], copy[80];

	snprintf(moved, sizeof(moved), "%s/moved", dir);
	snprintf(copy, sizeof(copy), "%s/copy", dir);
	ck_assert_int_eq(open_as(0, &db), 0);
	put(db, 1);
	ck_assert_int_eq(rename(path, moved), 0);
	ck_assert_int_eq(blaze_db_backup(db, copy), -ENOENT);
	ck_assert_int_eq(open_as(0, &other), 0);
	put(other, 2);
	put(other, 3);
	ck_assert_int_eq(blaze_db_backup(db, copy), -ENOENT);
	ck_assert_int_eq(access(copy, F_OK), -1);
	ck_assert_int_eq(blaze_db_close(other), 0);
	dir_remove(path);
	ck_assert_int_eq(rename(moved, path), 0);
	ck_assert_int_eq(blaze_db_backup(db, copy), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
	dir_remove(path);
	ck_assert_int_eq(rename(copy, path), 0);
	ck_assert_int_eq(open_as(BLAZE_DB_READ_ONLY, &db), 0);
	ck_assert_int_eq(blaze_db_count(db), 1);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(backup_that_cannot_be_is_told)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_db *db = NULL;
	char copy[80];

	ck_assert_int_eq(blaze_db_open("x", NULL, NULL, &db), 0);
	ck_assert_int_eq(blaze_db_backup(db, "anywhere"), -EOPNOTSUPP);
	ck_assert_int_eq(blaze_db_close(db), 0);
	options.durability = BLAZE_DURABILITY_SYNC;
	ck_assert_int_eq(blaze_db_open("x", "mem:view", &options, &db), 0);
	ck_assert_int_eq(blaze_db_backup(db, "anywhere"), -EOPNOTSUPP);
	ck_assert_int_eq(blaze_db_close(db), 0);
	ck_assert_int_eq(open_as(0, &db), 0);
	put(db, 1);
	ck_assert_int_eq(blaze_db_backup(NULL, "anywhere"), -EINVAL);
	ck_assert_int_eq(blaze_db_backup(db, NULL), -EINVAL);
	ck_assert_int_eq(blaze_db_backup(db, ""), -EINVAL);
	ck_assert_int_eq(blaze_db_backup(db, path), -EBUSY);
	snprintf(copy, sizeof(copy), "%s/no/copy", dir);
	ck_assert_int_eq(blaze_db_backup(db, copy), -ENOENT);
	put(db, 2);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("view");
	TCase *tcase = tcase_create("view");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 600);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, read_only_gives_what_is_there_and_changes_nothing, 0, 2);
	tcase_add_test(tcase, read_only_sees_what_another_has_made_durable);
	tcase_add_test(tcase, no_create_and_read_only_make_nothing);
	tcase_add_test(tcase, default_policy_takes_what_is_there);
	tcase_add_loop_test(tcase, each_changed_byte_is_told_or_no_difference, 0, 2);
	tcase_add_loop_test(tcase, each_length_is_told_or_a_prefix, 0, 2);
	tcase_add_test(tcase, backup_beside_writer_has_what_was_acknowledged);
	tcase_add_test(tcase, backup_beside_compactions_comes_about);
	tcase_add_test(tcase, backup_takes_long_transactions_and_no_part_of_one);
	tcase_add_test(tcase, backup_of_a_moved_database_is_none);
	tcase_add_test(tcase, backup_that_cannot_be_is_told);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
