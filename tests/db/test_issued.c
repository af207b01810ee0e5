/* SPDX-License-Identifier: Apache-2.0 */
/* The power goes after any call that "file:" made, and the disk has what it must and any part of
 * the rest: what was acknowledged with durability sync is there, in its order and without a gap,
 * and the database goes on. By io_uring and without; with compaction, long records, several
 * openings, and several segments.
 *
 * The oracle: one thread puts records 1, 2, .. one after the other. So what is found are records 1
 * to p, where p is at least the number acknowledged, and at most the one under way. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <blaze/blaze.h>

#include "lib/base/base.h"
#include "tests/base/dir.h"
#include "tests/db/issued.h"

static char dir[] = "test_issued.XXXXXX";
static uint64_t last; /* the last record that was put */
static bool whole;    /* all of these are there, or no database */

static const char *path_of(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void setup(void)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	last = 0;
	whole = false;
}

static void teardown(void)
{
	issued_clear();
	dir_remove(path_of("db"));
	dir_remove(path_of("copy"));
	dir_remove(path_of("image"));
	ck_assert_int_eq(rmdir(dir), 0);
	unsetenv("BLAZE_STORE_ENGINE");
}

static struct blaze_db *db_open(const char *name, uint32_t flags)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_db *db = NULL;

	options.durability = BLAZE_DURABILITY_SYNC;
	options.flags = BLAZE_DB_MANUAL | flags;
	ck_assert_int_eq(blaze_db_open("issued", path_of(name), &options, &db), 0);
	return db;
}

static struct blaze_id id_of(uint64_t n)
{
	struct blaze_id id = { { 1 } };

	memcpy(id.bytes + 8, &n, sizeof(n));
	return id;
}

static void put(struct blaze_db *db, size_t bytes)
{
	static uint8_t value[900 << 10];
	uint64_t n = last + 1;
	struct blaze_id id = id_of(n);

	memset(value, (int)n, bytes);
	memcpy(value, &n, sizeof(n));
	last = n;
	ck_assert_int_eq(blaze_db_put(db, &id, value, bytes), 0);
	issued_ack(n);
}

/* What is recorded. */
static unsigned work(void)
{
	struct blaze_db *db;

	issued_begin(path_of("db"));
	for (unsigned round = 0; round < 3; round++) {
		db = db_open("db", 0);
		put(db, 100);
		put(db, round == 1 ? 600 << 10 : 5000);
		if (round > 0)
			ck_assert_int_eq(blaze_db_compact(db), 0);
		put(db, 100);
		ck_assert_int_eq(blaze_db_close(db), 0);
	}
	return issued_end();
}

/* How many records a database has, which are the first ones. */
static uint64_t count_records(struct blaze_db *db)
{
	uint64_t found = 0, value;

	for (uint64_t n = 1; n <= last; n++) {
		struct blaze_id id = id_of(n);
		int len = blaze_db_fetch(db, &id, &value, sizeof(value));

		if (len < 0)
			break;
		ck_assert_uint_eq(value, n);
		found = n;
	}
	ck_assert_int_eq(blaze_db_count(db), (int64_t)found);
	return found;
}

/* Opens what a power cut left, to look at it or to go on with it. */
static void image_check(unsigned events, enum issued_chance chance, unsigned seed, uint32_t flags)
{
	bool there;
	uint64_t acknowledged = issued_disk(path_of("image"), events, chance, seed, &there), found;
	struct blaze_db *db = NULL;
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	int error = -ENOENT;

	options.durability = BLAZE_DURABILITY_SYNC;
	options.flags = BLAZE_DB_MANUAL | BLAZE_DB_NO_CREATE | flags;
	if (there)
		error = blaze_db_open("image", path_of("image"), &options, &db);
	/* The power went before there was a root. */
	if (error == -ENOENT) {
		ck_assert_msg(acknowledged == 0, "nothing is there after %u events (%s)", events,
		              issued_name(events));
		dir_remove(path_of("image"));
		return;
	}
	ck_assert_msg(error == 0, "after %u events (%s), chance %d, seed %u: %d", events,
	              issued_name(events), (int)chance, seed, error);
	found = count_records(db);
	ck_assert_msg(found >= acknowledged,
	              "after %u events (%s), chance %d, seed %u: %llu of %llu", events,
	              issued_name(events), (int)chance, seed, (unsigned long long)found,
	              (unsigned long long)acknowledged);
	ck_assert_msg(!whole || found == last, "after %u events (%s), chance %d, seed %u: %llu",
	              events, issued_name(events), (int)chance, seed, (unsigned long long)found);
	if ((flags & BLAZE_DB_READ_ONLY) == 0) {
		struct blaze_id id = { { 2 } };

		ck_assert_int_eq(blaze_db_put(db, &id, "x", 1), 0);
		ck_assert_int_eq(blaze_db_close(db), 0);
		db = db_open("image", 0);
		ck_assert_int_eq(blaze_db_delete(db, &id), 0);
		ck_assert_uint_eq(count_records(db), found);
	}
	ck_assert_int_eq(blaze_db_close(db), 0);
	dir_remove(path_of("image"));
}

START_TEST(power_cut_after_any_call_loses_nothing_acknowledged)
{
	static const char *const engines[] = { "", "plain", "no-direct", "no-ahead" };
	const char *text = getenv("BLAZE_CRASHES");
	unsigned seeds = text != NULL ? (unsigned)atoi(text) : 3, states = 0, events;

	setenv("BLAZE_STORE_ENGINE", engines[_i], 1);
	events = work();
	/* Of the first two engines all, of the others what is random. */
	for (unsigned i = 0; i <= events; i++) {
		for (unsigned chance = ISSUED_NONE; chance < ISSUED_RANDOM && _i < 2;
		     chance++, states++)
			image_check(i, (enum issued_chance)chance, 0,
			            states % 8 == 0 ? 0 : BLAZE_DB_READ_ONLY);
		for (unsigned seed = 0; seed < seeds; seed++, states++)
			image_check(i, ISSUED_RANDOM, i * 1000 + seed,
			            states % 8 == 0 ? 0 : BLAZE_DB_READ_ONLY);
	}
	printf("%s: %u events, %u states\n", engines[_i], events, states);
}
END_TEST

/* A backup is a database once it is whole, and is on the disk when the call returns. */
START_TEST(power_cut_leaves_a_whole_backup_or_none)
{
	static const char *const engines[] = { "", "plain" };
	unsigned states = 0, events;
	struct blaze_db *db;

	setenv("BLAZE_STORE_ENGINE", engines[_i], 1);
	db = db_open("db", 0);
	put(db, 100);
	put(db, 600 << 10);
	issued_begin(path_of("copy"));
	ck_assert_int_eq(blaze_db_backup(db, path_of("copy")), 0);
	issued_ack(last);
	events = issued_end();
	ck_assert_int_eq(blaze_db_close(db), 0);
	whole = true;
	for (unsigned i = 0; i <= events; i++) {
		for (unsigned chance = ISSUED_NONE; chance < ISSUED_RANDOM; chance++, states++)
			image_check(i, (enum issued_chance)chance, 0, BLAZE_DB_READ_ONLY);
		for (unsigned seed = 0; seed < 5; seed++, states++)
			image_check(i, ISSUED_RANDOM, i * 1000 + seed,
			            seed == 0 ? 0 : BLAZE_DB_READ_ONLY);
	}
	printf("backup, %s: %u events, %u states\n", engines[_i], events, states);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("issued");
	TCase *tcase = tcase_create("issued");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 600);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, power_cut_after_any_call_loses_nothing_acknowledged, 0, 4);
	tcase_add_loop_test(tcase, power_cut_leaves_a_whole_backup_or_none, 0, 2);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
