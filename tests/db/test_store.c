/* SPDX-License-Identifier: Apache-2.0 */
/* Databases in a directory: what was acknowledged is there again, after a close, after a kill at
 * any moment, many times over; and whatever else is wrong with the directory is told.
 *
 * The oracle of the kills: each thread of the program that is killed puts records 1, 2, .. of its
 * own, deletes record n - 8 after n, and tells of each by a pipe when it was acknowledged. So what
 * is found must be, for each thread, its first m records for an m at or behind the last one told,
 * without those deleted. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <blaze/blaze.h>

#include "lib/base/base.h"
#include "tests/base/child.h"
#include "tests/base/dir.h"

#define THREADS 4u
#define BEHIND  8u
/* Of one store. Each opening reads all that was ever written to it, so that the time which kills
 * take grows with their square. */
#define KILLS_EACH 20u

static enum blaze_durability durability;
static char dir[] = "test_store.XXXXXX";
static char path[64];

static void setup(void)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/db", dir);
	durability = BLAZE_DURABILITY_SYNC;
}

static void teardown(void)
{
	dir_remove(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

static int db_open(struct blaze_db **ret_db)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;

	options.durability = durability;
	options.flags = BLAZE_DB_MANUAL;
	return blaze_db_open("store", path, &options, ret_db);
}

static struct blaze_db *db_opened(void)
{
	struct blaze_db *db = NULL;

	ck_assert_int_eq(db_open(&db), 0);
	return db;
}

static struct blaze_id id_of(unsigned thread, uint64_t n)
{
	struct blaze_id id = { { (uint8_t)(thread + 1) } };

	memcpy(id.bytes + 8, &n, sizeof(n));
	return id;
}

static bool is_there(struct blaze_db *db, unsigned thread, uint64_t n)
{
	struct blaze_id id = id_of(thread, n);
	uint64_t value = 0;
	int len = blaze_db_fetch(db, &id, &value, sizeof(value));

	if (len == -ENOENT)
		return false;
	ck_assert_int_eq(len, sizeof(value));
	ck_assert_uint_eq(value, n);
	return true;
}

static void put(struct blaze_db *db, unsigned thread, uint64_t n)
{
	struct blaze_id id = id_of(thread, n);

	ck_assert_int_eq(blaze_db_put(db, &id, &n, sizeof(n)), 0);
}

/* With each durability in turn. */
START_TEST(reopened_store_has_same_content)
{
	struct blaze_position before, after;
	uint8_t hash[2][16];
	struct blaze_id gone = id_of(0, 7);

	for (unsigned round = 0; round < 5; round++) {
		struct blaze_db *db;

		durability = (enum blaze_durability)(round % 4);
		db = db_opened();
		if (round > 0) {
			ck_assert_int_eq(blaze_db_hash(db, hash[1]), 0);
			ck_assert_mem_eq(hash[0], hash[1], 16);
			ck_assert_int_eq(blaze_db_position(db, &after), 0);
			ck_assert(blazei_id_equal(&before.node, &after.node));
			ck_assert_uint_eq(before.incarnation, after.incarnation);
			ck_assert_uint_eq(before.seq, after.seq);
		}
		for (uint64_t n = 1; n <= 20; n++)
			put(db, 0, round * 20 + n);
		if (round == 0)
			ck_assert_int_eq(blaze_db_delete(db, &gone), 0);
		ck_assert(!is_there(db, 0, 7));
		ck_assert_int_eq(blaze_db_sync(db), 0);
		ck_assert_int_eq(blaze_db_count(db), round * 20 + 19);
		ck_assert_int_eq(blaze_db_hash(db, hash[0]), 0);
		ck_assert_int_eq(blaze_db_position(db, &before), 0);
		ck_assert_int_eq(blaze_db_close(db), 0);
	}
}
END_TEST

/* A put of 900 kB takes several frames. */
START_TEST(reopened_store_has_long_records_and_passes_segments)
{
	static uint8_t value[900 << 10], again[900 << 10];
	struct blaze_db *db = db_opened();

	for (unsigned n = 1; n <= 100; n++) {
		struct blaze_id id = id_of(0, n);

		memset(value, (int)n, sizeof(value));
		ck_assert_int_eq(blaze_db_put(db, &id, value, sizeof(value) - n), 0);
	}
	ck_assert_int_eq(blaze_db_close(db), 0);
	db = db_opened();
	for (unsigned n = 1; n <= 100; n++) {
		struct blaze_id id = id_of(0, n);

		memset(value, (int)n, sizeof(value));
		ck_assert_int_eq(blaze_db_fetch(db, &id, again, sizeof(again)), sizeof(value) - n);
		ck_assert_mem_eq(value, again, sizeof(value) - n);
	}
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(opened_twice_is_busy)
{
	struct blaze_db *db = db_opened(), *second = NULL;
	char name[128];

	ck_assert_int_eq(db_open(&second), -EBUSY);
	ck_assert_ptr_null(second);
	/* The lock is not in a file that may be removed. */
	snprintf(name, sizeof(name), "%s/lock", path);
	ck_assert_int_eq(unlink(name), 0);
	ck_assert_int_eq(db_open(&second), -EBUSY);
	ck_assert_int_eq(blaze_db_close(db), 0);
	ck_assert_int_eq(blaze_db_close(db_opened()), 0);
}
END_TEST

START_TEST(what_is_not_there_yet_is_told)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_db *db = NULL;

	options.sync_interval_ns = 1;
	ck_assert_int_eq(blaze_db_open("x", NULL, &options, &db), -EOPNOTSUPP);
	options.sync_interval_ns = 0;
	ck_assert_int_eq(blaze_db_open("x", "other:x", &options, &db), -EOPNOTSUPP);
	ck_assert_int_eq(blaze_db_open("x", "file:", &options, &db), -EINVAL);
	options.store = "mem:";
	ck_assert_int_eq(blaze_db_open("x", path, &options, &db), -EINVAL);
	ck_assert_int_ne(access(path, F_OK), 0);
	ck_assert_int_eq(blaze_db_open("x", NULL, NULL, &db), 0);
	ck_assert_int_eq(blaze_db_sync(db), -EOPNOTSUPP);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(another_policy_or_no_directory_is_told)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_db *db = db_opened();
	char below[80];

	ck_assert_int_eq(blaze_db_close(db), 0);
	options.durability = BLAZE_DURABILITY_SYNC;
	options.policy = BLAZE_POLICY_LWW;
	ck_assert_int_eq(blaze_db_open("x", path, &options, &db), -EINVAL);
	snprintf(below, sizeof(below), "file:%s/no/db", path);
	ck_assert_int_eq(blaze_db_open("x", below, &options, &db), -ENOENT);
	snprintf(below, sizeof(below), "file:%s/root", path);
	ck_assert_int_eq(blaze_db_open("x", below, &options, &db), -ENOTDIR);
}
END_TEST

/* Changes a file of the store at an offset. */
static void damage(const char *file, off_t offset)
{
	char name[128];
	uint8_t byte;
	int fd;

	snprintf(name, sizeof(name), "%s/%s", path, file);
	fd = open(name, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, &byte, 1, offset), 1);
	byte ^= 0x40;
	ck_assert_int_eq(pwrite(fd, &byte, 1, offset), 1);
	close(fd);
}

START_TEST(damage_is_told_and_changes_nothing)
{
	static const struct {
		const char *file;
		off_t offset;
	} places[] = { { "root", 0 },
		       { "root", 100 },
		       { "0000000000000001.seg", 0 },
		       { "0000000000000001.seg", 4096 * 3 + 200 } };
	struct blaze_db *db = db_opened();
	char name[128];

	for (uint64_t n = 1; n <= 4; n++)
		put(db, 0, n);
	ck_assert_int_eq(blaze_db_close(db), 0);
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		damage(places[i].file, places[i].offset);
		ck_assert_int_eq(db_open(&db), -EBADMSG);
		damage(places[i].file, places[i].offset);
	}
	db = db_opened();
	ck_assert_int_eq(blaze_db_count(db), 4);
	ck_assert_int_eq(blaze_db_close(db), 0);
	snprintf(name, sizeof(name), "%s/root", path);
	ck_assert_int_eq(unlink(name), 0);
	ck_assert_int_eq(db_open(&db), -EBADMSG);
}
END_TEST

struct writer {
	struct blaze_db *db;
	unsigned thread;
	uint64_t first;
	int pipe;
};

static void *write_on(void *arg)
{
	const struct writer *writer = arg;

	/* The run before may have been killed ahead of this one. */
	if (writer->first > BEHIND + 1) {
		struct blaze_id id = id_of(writer->thread, writer->first - 1 - BEHIND);
		int error = blaze_db_delete(writer->db, &id);

		ck_assert(error == 0 || error == -ENOENT);
	}
	for (uint64_t n = writer->first;; n++) {
		uint64_t told = n * THREADS + writer->thread;

		put(writer->db, writer->thread, n);
		if (write(writer->pipe, &told, sizeof(told)) != sizeof(told))
			_exit(2);
		if (n > BEHIND) {
			struct blaze_id id = id_of(writer->thread, n - BEHIND);

			ck_assert_int_eq(blaze_db_delete(writer->db, &id), 0);
		}
	}
	return NULL;
}

static void child_run(int fd, const uint64_t last[THREADS])
{
	struct blaze_db *db = db_opened();
	struct writer writers[THREADS];
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		writers[i] = (struct writer){ db, i, last[i] + 1, fd };
		if (pthread_create(&threads[i], NULL, write_on, &writers[i]) != 0)
			_exit(3);
	}
	pthread_join(threads[0], NULL);
	_exit(4);
}

/* Kills a program, once it has told of that many writes at least, and notes what it told. */
static void run_and_kill(uint64_t last[THREADS], unsigned writes, unsigned us)
{
	uint64_t told;
	int fds[2], status;
	pid_t pid;

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(fcntl(fds[1], F_SETPIPE_SZ, 1 << 20) > 0, 1);
	pid = child_fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		close(fds[0]);
		child_run(fds[1], last);
	}
	close(fds[1]);
	for (; writes > 0 && read(fds[0], &told, sizeof(told)) == sizeof(told); writes--)
		last[told % THREADS] = told / THREADS;
	usleep(us);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status), "the program ended by itself: %#x", (unsigned)status);
	while (read(fds[0], &told, sizeof(told)) == sizeof(told))
		last[told % THREADS] = told / THREADS;
	close(fds[0]);
}

/* Compares, and returns how many records were acknowledged; last becomes what is there. */
static void compare(uint64_t last[THREADS])
{
	struct blaze_db *db = db_opened();
	uint64_t count = 0;

	for (unsigned i = 0; i < THREADS; i++) {
		uint64_t n = last[i], m;

		while (is_there(db, i, n + 1))
			n++;
		ck_assert_uint_le(n, last[i] + 1);
		last[i] = n;
		/* The last one put, and those that its deletes have not reached. */
		for (m = n; m > 0 && is_there(db, i, m); m--)
			count++;
		ck_assert_uint_le(n - m, BEHIND + 1);
		ck_assert(n <= BEHIND || n - m >= BEHIND);
	}
	/* No other record has come back. */
	ck_assert_int_eq(blaze_db_count(db), (int64_t)count);
	ck_assert_int_eq(blaze_db_close(db), 0);
}

static uint64_t sum(const uint64_t last[THREADS])
{
	uint64_t all = 0;

	for (unsigned i = 0; i < THREADS; i++)
		all += last[i];
	return all;
}

/* With sync, and with async. */
START_TEST(killed_program_loses_nothing_acknowledged)
{
	const char *text = getenv("BLAZE_KILLS");
	unsigned kills = text != NULL ? (unsigned)atoi(text) : 60;
	unsigned seed = (unsigned)blazei_monotonic_ns();
	uint64_t last[THREADS] = { 0 }, all = 0;

	durability = _i == 0 ? BLAZE_DURABILITY_SYNC : BLAZE_DURABILITY_ASYNC;
	printf("seed %u\n", seed);
	for (unsigned i = 0; i < kills; i++) {
		if (i % KILLS_EACH == 0) {
			dir_remove(path);
			memset(last, 0, sizeof(last));
		}
		/* Mostly while it writes, however slow the machine is; else perhaps while it
		 * opens. */
		run_and_kill(last, i % 4 != 3 ? 2 : 0, (unsigned)rand_r(&seed) % 60000);
		compare(last);
		if (i % KILLS_EACH == KILLS_EACH - 1 || i + 1 == kills)
			all += sum(last);
	}
	printf("%u kills, %llu records put\n", kills, (unsigned long long)all);
	ck_assert_uint_gt(all, kills);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store");
	TCase *tcase = tcase_create("store");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 600);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, reopened_store_has_same_content);
	tcase_add_test(tcase, reopened_store_has_long_records_and_passes_segments);
	tcase_add_test(tcase, opened_twice_is_busy);
	tcase_add_test(tcase, what_is_not_there_yet_is_told);
	tcase_add_test(tcase, another_policy_or_no_directory_is_told);
	tcase_add_test(tcase, damage_is_told_and_changes_nothing);
	tcase_add_loop_test(tcase, killed_program_loses_nothing_acknowledged, 0, 2);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
