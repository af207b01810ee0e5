/* SPDX-License-Identifier: Apache-2.0 */
/* Compaction: what a database holds it holds, while it is compacted, after it, and wherever it was
 * killed in it; and its log does not grow for ever.
 *
 * The oracle of the kills: a program puts records 1, 2, .. of its own, notes each in shared memory
 * when it was acknowledged, and changes a few records again and again. So its records are its first
 * m in the end, for an m at or behind the last one noted, and each of the few has a value that is
 * not older than the last one noted. */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include "lib/store/backup.h"
#include "lib/store/log.h"
#include "tests/base/child.h"
#include "tests/db/stored.h"

#define FEW 8u

static struct notes {
	_Atomic uint64_t put;
	_Atomic uint64_t few[FEW];
	_Atomic uint64_t compactions;
} * notes;

static struct blaze_id id_of(unsigned kind, uint64_t n)
{
	struct blaze_id id = { { (uint8_t)kind } };

	memcpy(id.bytes + 8, &n, sizeof(n));
	return id;
}

static struct blaze_db *open_as(const char *name, uint32_t durability, uint32_t flags)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_db *db = NULL;

	options.durability = durability;
	options.flags = flags;
	ck_assert_int_eq(blaze_db_open(name, stored_path(0), &options, &db), 0);
	return db;
}

static void size(struct blaze_db *db, uint64_t *ret_bytes, uint32_t *ret_segments)
{
	blazei_store_size(db->store, ret_bytes, ret_segments);
}

static void setup(void)
{
	stored_setup();
	notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
	             0);
	ck_assert(notes != MAP_FAILED);
}

static void teardown(void)
{
	munmap(notes, sizeof(*notes));
	stored_teardown();
}

static void put(struct blaze_db *db, const struct blaze_id *id, uint64_t value, size_t bytes)
{
	static uint8_t data[64 << 10];
	int error;

	memcpy(data, &value, sizeof(value));
	/* The disk has much to do. */
	do
		error = blaze_db_put(db, id, data, bytes);
	while (error == -EAGAIN);
	ck_assert_int_eq(error, 0);
}

START_TEST(compacted_log_is_short_and_leads_to_the_same)
{
	const char *name = unique_name();
	struct blaze_db *db = open_as(name, (uint32_t)_i, BLAZE_DB_MANUAL);
	uint8_t before[16], after[16];
	struct blaze_id id;
	uint64_t bytes, less;
	uint32_t segments;

	/* There is nothing in it yet. */
	ck_assert_int_eq(blaze_db_compact(db), 0);
	for (unsigned round = 0; round < 40; round++)
		for (unsigned i = 0; i < 20; i++) {
			id = id_of(1, i);
			put(db, &id, round, 4000);
		}
	id = id_of(1, 3);
	ck_assert_int_eq(blaze_db_delete(db, &id), 0);
	stored_hash_stamps(db, before);
	ck_assert_int_eq(blaze_db_sync(db), 0);
	size(db, &bytes, &segments);
	ck_assert_int_eq(blaze_db_close(db), 0);
	db = open_as(name, (uint32_t)_i, BLAZE_DB_MANUAL);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(blaze_db_compact(db), 0);
		stored_hash_stamps(db, after);
		ck_assert_mem_eq(before, after, 16);
		size(db, &less, &segments);
		ck_assert_uint_le(less, bytes / 4);
		ck_assert_uint_eq(segments, 1);
	}
	id = id_of(1, 99);
	put(db, &id, 7, 8);
	stored_hash_stamps(db, before);
	ck_assert_int_eq(blaze_db_close(db), 0);
	db = open_as(name, BLAZE_DURABILITY_SYNC, BLAZE_DB_READ_ONLY | BLAZE_DB_MANUAL);
	stored_hash_stamps(db, after);
	ck_assert_mem_eq(before, after, 16);
	ck_assert_int_eq(blaze_db_compact(db), -EROFS);
	ck_assert_int_eq(blaze_db_close(db), 0);
	ck_assert_int_eq(blaze_db_open(name, NULL, NULL, &db), 0);
	ck_assert_int_eq(blaze_db_compact(db), -EOPNOTSUPP);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

/* By itself, in a database without threads as it is pumped, and over many openings. */
START_TEST(openings_do_not_use_up_the_root)
{
	const char *name = unique_name();
	struct blaze_id id = id_of(1, 1);
	uint8_t before[16], after[16];
	uint32_t segments, most = 0;
	uint64_t bytes, value = 0;

	for (unsigned i = 0; i < 60; i++) {
		struct blaze_db *db = open_as(name, BLAZE_DURABILITY_NONE, BLAZE_DB_MANUAL);

		stored_hash_stamps(db, after);
		if (i > 0)
			ck_assert_mem_eq(before, after, 16);
		db->compaction.segments_min = 8;
		put(db, &id, i, 8);
		for (unsigned k = 0; k < 4; k++)
			blaze_db_pump(db, 0);
		size(db, &bytes, &segments);
		most = segments > most ? segments : most;
		stored_hash_stamps(db, before);
		ck_assert_int_eq(blaze_db_fetch(db, &id, &value, sizeof(value)), 8);
		ck_assert_uint_eq(value, i);
		ck_assert_int_eq(blaze_db_close(db), 0);
	}
	ck_assert_uint_le(most, 12);
	ck_assert_uint_ge(most, 8);
}
END_TEST

struct writer {
	struct blaze_db *db;
	unsigned kind;
	unsigned count;
	pthread_t thread;
};

static void *write_main(void *arg)
{
	struct writer *writer = arg;

	for (unsigned i = 0; i < writer->count; i++) {
		struct blaze_id id = id_of(writer->kind, i % 50);
		uint64_t value = i;
		int error = i % 31 == 30 ? blaze_db_delete(writer->db, &id)
		                         : blaze_db_put(writer->db, &id, &value, sizeof(value));

		if (error != 0 && error != -ENOENT)
			return arg;
	}
	return NULL;
}

/* Two nodes that write at once, one of which is compacted all the time: they come to the same, and
 * so does the log of the one. */
START_TEST(compacted_while_it_and_another_write)
{
	const char *name = unique_name();
	struct node a = stored_node(name, 0, 0), b = stored_node(name, 1, 0);
	struct writer writers[3];
	uint8_t hashes[2][16];
	unsigned compactions = 0;
	void *result;

	stored_link(&a, &b);
	for (unsigned i = 0; i < 3; i++) {
		writers[i] = (struct writer){ i < 2 ? a.db : b.db, i + 1, 300, 0 };
		ck_assert_int_eq(pthread_create(&writers[i].thread, NULL, write_main, &writers[i]),
		                 0);
	}
	for (unsigned i = 0; i < 10; i++) {
		int error = blaze_db_compact(a.db);

		/* A snapshot of the other's makes it void. */
		ck_assert(error == 0 || error == -EAGAIN);
		compactions += error == 0;
	}
	ck_assert_uint_gt(compactions, 0);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(writers[i].thread, &result);
		ck_assert_ptr_null(result);
	}
	ck_assert_int_eq(blaze_db_compact(a.db), 0);
	node_wait(&a);
	node_wait(&b);
	stored_hash_stamps(a.db, hashes[0]);
	node_close(&a);
	node_close(&b);
	a.db = open_as(name, BLAZE_DURABILITY_SYNC, BLAZE_DB_READ_ONLY | BLAZE_DB_MANUAL);
	stored_hash_stamps(a.db, hashes[1]);
	ck_assert_mem_eq(hashes[0], hashes[1], 16);
	ck_assert_int_eq(blaze_db_close(a.db), 0);
}
END_TEST

/* Opens it to look; where its log was compacted again and again meanwhile, once more. */
static int look(const char *name, struct blaze_db **ret_db)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	uint64_t until_ns = 0;
	int error;

	options.flags = BLAZE_DB_READ_ONLY | BLAZE_DB_MANUAL;
	do
		error = blaze_db_open(name, stored_path(0), &options, ret_db);
	while (error == -EAGAIN && time_is_left(&until_ns));
	return error;
}

static int copy_made(void)
{
	uint64_t until_ns = 0;
	int error;

	do
		error = blazei_store_backup(stored_path(0), stored_path(1), 0);
	while (error == -EAGAIN && time_is_left(&until_ns));
	return error;
}

/* Who only looks, and who copies, while the log is compacted all the time. */
START_TEST(readers_beside_it_see_what_is_there)
{
	const char *name = unique_name();
	struct blaze_db *db = open_as(name, BLAZE_DURABILITY_SYNC, 0), *copy;
	struct blaze_id id = id_of(1, 1);
	uint64_t until_ns = 0, value = 0, least = 0;
	pid_t pid;
	int status;

	put(db, &id, 1, 60 << 10);
	for (unsigned i = 2; i < 40; i++) {
		id = id_of(1, i);
		put(db, &id, 1, 60 << 10);
	}
	id = id_of(1, 1);
	pid = child_fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		for (unsigned i = 0; i < 20; i++) {
			struct blaze_db *seen;

			if (look(name, &seen) != 0)
				_exit(3);
			if (blaze_db_count(seen) != 39 ||
			    blaze_db_fetch(seen, &id, &value, sizeof(value)) <= 0 || value < least)
				_exit(4);
			least = value;
			if (blaze_db_close(seen) != 0)
				_exit(5);
			if (copy_made() != 0)
				_exit(6);
			copy = stored_open(name, 1, 0, BLAZE_DB_READ_ONLY | BLAZE_DB_MANUAL);
			if (blaze_db_count(copy) != 39)
				_exit(2);
			ck_assert_int_eq(blaze_db_close(copy), 0);
			stored_clear(1);
		}
		_exit(0);
	}
	for (unsigned n = 2; time_is_left(&until_ns) && waitpid(pid, &status, WNOHANG) == 0; n++) {
		put(db, &id, n, 100);
		ck_assert_int_eq(blaze_db_compact(db), 0);
	}
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a reader ended with %#x",
	              (unsigned)status);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

/* Stands in the way of libc's: what the disk has left, and how often that was asked. */
static _Atomic uint64_t room = UINT64_MAX;
static atomic_uint room_asked, room_lasts; /* so often; 0: always */

int fstatvfs(int fd, struct statvfs *ret_status)
{
	const uint64_t now = atomic_load(&room);
	const unsigned lasts = atomic_load(&room_lasts), asked = atomic_fetch_add(&room_asked, 1);

	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
	memset(ret_status, 0, sizeof(*ret_status));
	ret_status->f_frsize = 4096;
	ret_status->f_bavail = (lasts != 0 && asked >= lasts ? 0 : now) / 4096;
	return 0;
}

/* It fills no disk: where it might, it isn't begun; where others fill it meanwhile it is given up.
 * Either way the database goes on. */
START_TEST(disk_without_room_is_left_alone)
{
	const char *name = unique_name();
	struct blaze_db *db = open_as(name, BLAZE_DURABILITY_SYNC, BLAZE_DB_MANUAL);
	struct blaze_id id;
	uint64_t before, after;
	uint32_t segments;

	for (unsigned i = 0; i < 100; i++) {
		id = id_of(1, i);
		put(db, &id, i, 60 << 10);
	}
	size(db, &before, &segments);
	atomic_store(&room, 9 << 20);
	ck_assert_int_eq(blaze_db_compact(db), -ENOSPC);
	size(db, &after, &segments);
	ck_assert_uint_eq(after, before);
	ck_assert_uint_eq(segments, 1);
	atomic_store(&room, UINT64_C(64) << 20);
	atomic_store(&room_lasts, atomic_load(&room_asked) + 3);
	ck_assert_int_eq(blaze_db_compact(db), -ENOSPC);
	size(db, &after, &segments);
	ck_assert_uint_gt(after, before);
	ck_assert_uint_lt(after, before + (before / 3 * 2));
	put(db, &id, 7, 60 << 10);
	atomic_store(&room_lasts, 0);
	ck_assert_int_eq(blaze_db_compact(db), 0);
	ck_assert_int_eq(blaze_db_count(db), 100);
	ck_assert_int_eq(blaze_db_close(db), 0);
	atomic_store(&room, UINT64_MAX);
}
END_TEST

/* By itself, in the background. */
START_TEST(long_log_is_compacted_by_itself)
{
	const char *name = unique_name();
	struct blaze_db *db = open_as(name, (uint32_t)_i, 0);
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;
	uint64_t until_ns = 0;
	unsigned writes = 0;

	pthread_mutex_lock(&db->lock);
	db->compaction.bytes_min = 1 << 20;
	pthread_mutex_unlock(&db->lock);
	while (stats.compactions < 3 && time_is_left(&until_ns)) {
		struct blaze_id id = id_of(1, writes % 16);

		put(db, &id, writes, 32 << 10);
		if (writes++ % 16 == 0)
			blazei_sleep_ns(BLAZEI_NS_PER_MS);
		ck_assert_int_eq(blaze_db_stats(db, &stats), 0);
	}
	ck_assert_uint_ge(stats.compactions, 3);
	ck_assert_int_eq(blaze_db_compact(db), 0);
	ck_assert_int_eq(blaze_db_sync(db), 0);
	ck_assert_int_eq(blaze_db_stats(db, &stats), 0);
	ck_assert_uint_ge(stats.compactions, 4);
	/* 16 records of 32 KiB, and what was written while the last one went on, which is none. */
	ck_assert_uint_lt(stats.log_bytes, 1 << 20);
	ck_assert_int_eq(blaze_db_close(db), 0);
	db = open_as(name, BLAZE_DURABILITY_SYNC, BLAZE_DB_READ_ONLY | BLAZE_DB_MANUAL);
	for (unsigned n = writes - 16; n < writes; n++) {
		struct blaze_id id = id_of(1, n % 16);
		uint64_t value = 0;

		ck_assert_int_gt(blaze_db_fetch(db, &id, &value, sizeof(value)), 0);
		ck_assert_uint_eq(value, n);
	}
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

/* Kills ----------------------------------------------------------------------------------------*/

static void *compact_main(void *arg)
{
	for (;;) {
		if (blaze_db_compact(arg) != 0)
			_exit(20);
		atomic_fetch_add(&notes->compactions, 1);
		blazei_sleep_ns(2 * BLAZEI_NS_PER_MS);
	}
	return NULL;
}

static void program(const char *name, uint32_t durability)
{
	struct blaze_db *db = open_as(name, durability, 0);
	uint64_t n = atomic_load(&notes->put);
	pthread_t thread;

	if (pthread_create(&thread, NULL, compact_main, db) != 0)
		_exit(21);
	for (;;) {
		struct blaze_id own = id_of(1, n + 1), id = id_of(2, n % FEW);

		put(db, &own, n + 1, 200);
		atomic_store(&notes->put, ++n);
		put(db, &id, n, 20000);
		atomic_store(&notes->few[(n - 1) % FEW], n);
		/* A state that takes long to write is compacted seldom. */
		if (n % 2 == 0)
			blazei_sleep_ns(BLAZEI_NS_PER_MS);
	}
}

static void expect_all(const char *name)
{
	struct blaze_db *db =
	        open_as(name, BLAZE_DURABILITY_SYNC, BLAZE_DB_READ_ONLY | BLAZE_DB_MANUAL);
	uint64_t n = atomic_load(&notes->put), value;

	for (uint64_t i = 1; i <= n; i++) {
		struct blaze_id id = id_of(1, i);

		ck_assert_msg(blaze_db_fetch(db, &id, &value, sizeof(value)) > 0 && value == i,
		              "%llu of %llu, which was acknowledged, is not there",
		              (unsigned long long)i, (unsigned long long)n);
	}
	for (unsigned i = 0; i < FEW; i++) {
		uint64_t noted = atomic_load(&notes->few[i]);
		struct blaze_id id = id_of(2, i);

		if (noted == 0)
			continue;
		ck_assert_int_gt(blaze_db_fetch(db, &id, &value, sizeof(value)), 0);
		ck_assert_uint_ge(value, noted);
	}
	ck_assert_int_eq(blaze_db_close(db), 0);
}

/* Runs the program until it dies where it is told to, or for so long. Whether it was there. */
static bool dies(const char *name, uint32_t durability, const char *testpoint, uint64_t ns)
{
	uint64_t until_ns = blazei_monotonic_ns() + ns;
	pid_t pid = child_fork();
	int status = 0;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (testpoint != NULL)
			setenv("BLAZE_TESTPOINT", testpoint, 1);
		program(name, durability);
		_exit(22);
	}
	while (blazei_monotonic_ns() < until_ns) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
			              "the program ended with %#x", (unsigned)status);
			return true;
		}
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	}
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status), "the program ended with %#x", (unsigned)status);
	return false;
}

/* Who opens it to write leaves no segment that is in no log. */
static void tidy(const char *name)
{
	struct blaze_db *db = open_as(name, BLAZE_DURABILITY_SYNC, BLAZE_DB_MANUAL);
	DIR *stream = opendir(stored_path(0));
	const struct dirent *entry;
	unsigned files = 0;
	uint64_t number;

	ck_assert_ptr_nonnull(stream);
	while ((entry = readdir(stream)) != NULL)
		if (sscanf(entry->d_name, "%16" SCNx64 ".seg", &number) == 1)
			files += number < db->store->root->segments[0].number;
	ck_assert_uint_eq(files, 0);
	closedir(stream);
	ck_assert_int_eq(blaze_db_close(db), 0);
}

/* In a process of its own: one that has passed a test point gives its children none. */
static void expect_tidy(const char *name)
{
	pid_t pid = child_fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		tidy(name);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(status == 0, "what a compaction left stays: %#x", (unsigned)status);
}

START_TEST(killed_in_it_nothing_acknowledged_is_lost)
{
	static const char *const points[] = {
		"compact_stride", "compact_ended", "store_dropping",
		"store_dropped",  "store_written",
	};
	const char *name = unique_name(), *text = getenv("BLAZE_KILLS");
	unsigned kills = text != NULL ? (unsigned)atoi(text) : 20;
	unsigned seed = (unsigned)blazei_monotonic_ns(), there = 0;

	printf("seed %u\n", seed);
	for (unsigned i = 0; i < kills; i++) {
		char testpoint[64];

		snprintf(testpoint, sizeof(testpoint), "%s=kill:%u", points[i % 5],
		         1 + (unsigned)rand_r(&seed) % 4);
		there += dies(name, (uint32_t)_i, i % 10 < 5 ? testpoint : NULL,
		              i % 10 < 5 ? 5 * BLAZEI_NS_PER_S
		                         : (uint64_t)rand_r(&seed) % 100 * BLAZEI_NS_PER_MS);
		expect_all(name);
		if (i % 4 == 3)
			expect_tidy(name);
	}
	printf("%llu records, %llu compactions, %u kills at their point\n",
	       (unsigned long long)atomic_load(&notes->put),
	       (unsigned long long)atomic_load(&notes->compactions), there);
	ck_assert_uint_gt(atomic_load(&notes->compactions), 0);
#ifdef BLAZE_TESTPOINTS
	ck_assert_uint_gt(there, 0);
#endif
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("compact");
	TCase *tcase = tcase_create("compact"), *kills = tcase_create("kills");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 600);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, compacted_log_is_short_and_leads_to_the_same,
	                    BLAZE_DURABILITY_NONE, BLAZE_DURABILITY_SYNC + 1);
	tcase_add_test(tcase, openings_do_not_use_up_the_root);
	tcase_add_test(tcase, compacted_while_it_and_another_write);
	tcase_add_test(tcase, readers_beside_it_see_what_is_there);
	tcase_add_test(tcase, disk_without_room_is_left_alone);
	tcase_add_loop_test(tcase, long_log_is_compacted_by_itself, BLAZE_DURABILITY_NONE,
	                    BLAZE_DURABILITY_SYNC + 1);
	tcase_set_timeout(kills, 600);
	tcase_add_checked_fixture(kills, setup, teardown);
	tcase_add_loop_test(kills, killed_in_it_nothing_acknowledged_is_lost,
	                    BLAZE_DURABILITY_ASYNC, BLAZE_DURABILITY_SYNC + 1);
	suite_add_tcase(suite, tcase);
	suite_add_tcase(suite, kills);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
