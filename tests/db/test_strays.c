/* SPDX-License-Identifier: Apache-2.0 */
/* Segments in a store's directory that its root does not name: what failed openings left goes, what
 * proves that the root is older than the log has every opening refused, and the rest stays. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <blaze/blaze.h>

#include "lib/base/base.h"
#include "tests/base/child.h"
#include "tests/base/dir.h"

#define FAILURES 200u
#define RECORDS  10u
#define SESSIONS 3u
#define UNIT     4096u

static char dir[] = "test_strays.XXXXXX";
static char path[64];
static unsigned told_older, told_others, told_replaced;

static void line_note(void *arg, enum blaze_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	told_older += strstr(line, "the root is older than the log") != NULL;
	told_replaced += strstr(line, "somebody else has replaced its root") != NULL;
	told_others += strstr(line, "are none of its log") != NULL;
}

static void setup(void)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/db", dir);
	told_older = told_others = told_replaced = 0;
	blaze_log_set(line_note, NULL);
}

static void teardown(void)
{
	blaze_log_set(NULL, NULL);
	dir_remove(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

static int open_as(enum blaze_durability durability, uint32_t flags, struct blaze_db **ret_db)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;

	options.flags = BLAZE_DB_MANUAL | flags;
	options.durability = durability;
	options.sync_interval_ns = UINT64_C(3600) * BLAZEI_NS_PER_S;
	return blaze_db_open("strays", path, &options, ret_db);
}

static int open_sync(struct blaze_db **ret_db)
{
	return open_as(BLAZE_DURABILITY_SYNC, 0, ret_db);
}

static int open_look(struct blaze_db **ret_db)
{
	return open_as(BLAZE_DURABILITY_DEFAULT, BLAZE_DB_READ_ONLY, ret_db);
}

static void put_some(struct blaze_db *db, uint8_t session)
{
	for (uint8_t n = 0; n < RECORDS; n++) {
		struct blaze_id id = { { (uint8_t)(session + 1), n } };

		ck_assert_int_eq(blaze_db_put(db, &id, &n, sizeof(n)), 0);
	}
}

static void expect_records(uint64_t count)
{
	struct blaze_db *db = NULL;

	ck_assert_int_eq(open_look(&db), 0);
	ck_assert_int_eq(blaze_db_count(db), (int64_t)count);
	ck_assert_int_eq(blaze_db_close(db), 0);
}

/* What is named like a segment. */
static unsigned segments_count(void)
{
	DIR *stream = opendir(path);
	struct dirent *entry;
	unsigned count = 0;

	ck_assert_ptr_nonnull(stream);
	while ((entry = readdir(stream)) != NULL)
		count += strstr(entry->d_name, ".seg") != NULL;
	closedir(stream);
	return count;
}

static int segment_fd(unsigned number, int flags)
{
	char name[128];
	int fd;

	snprintf(name, sizeof(name), "%s/%016x.seg", path, number);
	fd = open(name, flags | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static void segment_make(unsigned number, const void *data, size_t len)
{
	int fd = segment_fd(number, O_WRONLY | O_CREAT | O_EXCL);

	ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
	close(fd);
}

static size_t root_read(void *ret_data, size_t cap)
{
	char name[128];
	FILE *file;
	size_t len;

	snprintf(name, sizeof(name), "%s/root", path);
	file = fopen(name, "re");
	ck_assert_ptr_nonnull(file);
	len = fread(ret_data, 1, cap, file);
	fclose(file);
	return len;
}

static void root_write(const void *data, size_t len)
{
	char name[128];
	FILE *file;

	snprintf(name, sizeof(name), "%s/root", path);
	file = fopen(name, "we");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(data, 1, len, file), len);
	ck_assert_int_eq(fclose(file), 0);
}

/* A program that dies with all that it wrote in the tail. */
static void crash(void)
{
	struct blaze_db *db = NULL;
	int status;
	pid_t pid = child_fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (open_as(BLAZE_DURABILITY_ASYNC, 0, &db) != 0)
			_exit(1);
		put_some(db, 0);
		raise(SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
}

/* Files can be made, and nothing written to them, as on a full disk. The tail has to go to the log,
 * so each opening makes segments. */
START_TEST(failed_openings_use_nothing_up)
{
	struct blaze_db *db = NULL;
	struct rlimit limit, none;
	unsigned wrong = 0;

	crash();
	ck_assert_ptr_ne(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	for (unsigned i = 0; i < FAILURES; i++)
		wrong += open_as(BLAZE_DURABILITY_ASYNC, 0, &db) != -EFBIG;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_uint_eq(wrong, 0);
	ck_assert_uint_le(segments_count(), 3);
	ck_assert_int_eq(open_as(BLAZE_DURABILITY_ASYNC, 0, &db), 0);
	ck_assert_int_eq(blaze_db_count(db), RECORDS);
	put_some(db, 1);
	ck_assert_int_eq(blaze_db_close(db), 0);
	expect_records(2 * RECORDS);
	ck_assert_uint_eq(segments_count(), 1);
}
END_TEST

/* Zeros for the first frame of a segment: the one behind it proves as much. */
static void first_frame_clear(unsigned number)
{
	static const uint8_t zeros[UNIT];
	int fd = segment_fd(number, O_WRONLY);

	ck_assert_int_eq(pwrite(fd, zeros, UNIT, 0), UNIT);
	close(fd);
}

/* With the first frame of what the root does not name as it was, and gone. */
START_TEST(older_root_is_refused)
{
	uint8_t roots[2][UNIT];
	struct blaze_db *db = NULL;
	size_t lens[2] = { 0 };

	for (uint8_t i = 0; i < SESSIONS; i++) {
		ck_assert_int_eq(open_sync(&db), 0);
		put_some(db, i);
		ck_assert_int_eq(blaze_db_close(db), 0);
		lens[i > 0] = root_read(roots[i > 0], UNIT);
	}
	root_write(roots[0], lens[0]);
	for (unsigned number = 2; _i == 1 && number <= SESSIONS; number++)
		first_frame_clear(number);
	ck_assert_int_eq(open_look(&db), -EBADMSG);
	ck_assert_uint_eq(told_older, 1);
	ck_assert_int_eq(open_sync(&db), -EBADMSG);
	ck_assert_uint_eq(told_older, 2);
	ck_assert_uint_eq(segments_count(), SESSIONS);
	if (_i == 1)
		return;
	root_write(roots[1], lens[1]);
	expect_records(SESSIONS * RECORDS);
	ck_assert_int_eq(open_sync(&db), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

/* Nothing, and zeros: who looks leaves them, who writes deletes them. */
START_TEST(empty_ones_go)
{
	static const uint8_t zeros[3 * UNIT];
	struct blaze_db *db = NULL;

	ck_assert_int_eq(open_sync(&db), 0);
	put_some(db, 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
	for (unsigned i = 0; i < 2 * FAILURES; i++)
		segment_make(2 + i, zeros, i % 4 == 3 ? sizeof(zeros) : 0);
	expect_records(RECORDS);
	ck_assert_uint_eq(segments_count(), 1 + 2 * FAILURES);
	ck_assert_int_eq(open_sync(&db), 0);
	ck_assert_uint_eq(segments_count(), 1);
	put_some(db, 1);
	ck_assert_int_eq(blaze_db_close(db), 0);
	expect_records(2 * RECORDS);
	ck_assert_uint_eq(told_others + told_older, 0);
}
END_TEST

/* Text, a frame of this store under a number that is not its own, a directory, and a pipe, which
 * nobody writes to: in a row that is longer than a new segment tries. */
static void garbage_make(unsigned first, unsigned count)
{
	uint8_t frame[UNIT];
	char name[128];
	int fd = segment_fd(1, O_RDONLY);

	ck_assert_int_eq(pread(fd, frame, UNIT, 0), UNIT);
	close(fd);
	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s/%016x.seg", path, first + i);
		if (i % 4 == 0)
			segment_make(first + i, "hello", 5);
		else if (i % 4 == 1)
			segment_make(first + i, frame, UNIT);
		else if (i % 4 == 2)
			ck_assert_int_eq(mkdir(name, 0700), 0);
		else
			ck_assert_int_eq(mkfifo(name, 0600), 0);
	}
}

START_TEST(what_is_none_of_the_log_stays)
{
	struct blaze_db *db = NULL;

	ck_assert_int_eq(open_sync(&db), 0);
	put_some(db, 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
	garbage_make(2, FAILURES);
	expect_records(RECORDS);
	ck_assert_uint_eq(told_others, 1);
	ck_assert_int_eq(open_sync(&db), 0);
	ck_assert_uint_eq(told_others, 2);
	put_some(db, 1);
	ck_assert_int_eq(blaze_db_close(db), 0);
	ck_assert_uint_eq(segments_count(), 2 + FAILURES);
	expect_records(2 * RECORDS);
	ck_assert_uint_eq(told_older, 0);
}
END_TEST

/* Opens, puts some and closes in a process of its own; or only looks, and stops on the way. */
static pid_t other_process(bool looks)
{
	struct blaze_db *db = NULL;
	pid_t pid = child_fork();

	ck_assert_int_ge(pid, 0);
	if (pid != 0)
		return pid;
	if (looks && setenv("BLAZE_TESTPOINT", "store_judging=stop", 1) != 0)
		_exit(1);
	if ((looks ? open_look(&db) : open_sync(&db)) != 0)
		_exit(2);
	if (!looks)
		put_some(db, 0);
	_exit(blaze_db_close(db) == 0 && told_older == 0 ? 0 : 3);
}

/* A root that somebody replaces between the reading of it and of the segments is not the older
 * one. Without test points nobody stops, and it is not replaced then. */
START_TEST(live_store_is_not_taken_for_older)
{
	struct blaze_db *db = NULL;
	pid_t pid = other_process(false);
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	pid = other_process(true);
	ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
	if (WIFSTOPPED(status)) {
		ck_assert_int_eq(open_sync(&db), 0);
		put_some(db, 1);
		ck_assert_int_eq(blaze_db_close(db), 0);
		ck_assert_int_eq(kill(pid, SIGCONT), 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	}
	ck_assert_int_eq(status, 0);
}
END_TEST

/* A second writer, where the file system has no lock that holds: what it did to the root stays, and
 * is told. */
START_TEST(replaced_root_is_not_written_over)
{
	uint8_t roots[2][UNIT];
	struct blaze_db *db = NULL;
	size_t len;

	ck_assert_int_eq(open_sync(&db), 0);
	put_some(db, 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
	len = root_read(roots[0], UNIT);
	ck_assert_int_eq(open_sync(&db), 0);
	root_write(roots[0], len);
	(void)blaze_db_close(db);
	ck_assert_uint_eq(told_replaced, 1);
	ck_assert_uint_eq(root_read(roots[1], UNIT), len);
	ck_assert_mem_eq(roots[0], roots[1], len);
	/* In the midst: the write that needs a new segment is not acknowledged. */
	ck_assert_int_eq(open_sync(&db), 0);
	root_write(roots[1], len - 1);
	ck_assert_int_eq(blaze_db_put(db, &(struct blaze_id){ { 9 } }, "x", 1), -EROFS);
	(void)blaze_db_close(db);
	ck_assert_uint_eq(root_read(roots[1], UNIT), len - 1);
}
END_TEST

/* Nothing is made among others' files. What failed openings or new file systems leave is none. */
START_TEST(directory_of_something_else_is_refused)
{
	struct blaze_db *db = NULL;
	char name[100];
	int fd;

	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(name, sizeof(name), "%s/lost+found", path);
	ck_assert_int_eq(mkdir(name, 0700), 0);
	snprintf(name, sizeof(name), "%s/passwd", path);
	fd = open(name, O_CREAT | O_WRONLY, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(open_sync(&db), -ENOTEMPTY);
	ck_assert_ptr_null(db);
	ck_assert_int_eq(unlink(name), 0);
	snprintf(name, sizeof(name), "%s/lock", path);
	ck_assert_int_ne(access(name, F_OK), 0);
	ck_assert_int_eq(open_sync(&db), 0);
	put_some(db, 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
	/* Who puts something beside a database may. */
	snprintf(name, sizeof(name), "%s/notes", path);
	fd = open(name, O_CREAT | O_WRONLY, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(open_sync(&db), 0);
	ck_assert_int_eq(blaze_db_count(db), RECORDS);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("strays");
	TCase *tcase = tcase_create("strays");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, directory_of_something_else_is_refused);
	tcase_add_test(tcase, failed_openings_use_nothing_up);
	tcase_add_loop_test(tcase, older_root_is_refused, 0, 2);
	tcase_add_test(tcase, empty_ones_go);
	tcase_add_test(tcase, what_is_none_of_the_log_stays);
	tcase_add_test(tcase, live_store_is_not_taken_for_older);
	tcase_add_test(tcase, replaced_root_is_not_written_over);
	tcase_set_timeout(tcase, 120);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
