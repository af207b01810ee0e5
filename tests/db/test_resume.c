/* SPDX-License-Identifier: Apache-2.0 */
/* A database that was closed goes on under its incarnation, and no other does. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/base/child.h"
#include "tests/db/origins.h"
#include "tests/db/stored.h"

#define TIMES 100u

static struct blaze_db
        *volatile left_open; /* by who is killed: known to whoever looks for losses */

/* How often the system was started. */
static uint8_t boot;
void __wrap_blazei_boot_id(struct blaze_id *ret_boot);

void __wrap_blazei_boot_id(struct blaze_id *ret_boot)
{
	*ret_boot = (struct blaze_id){ { 1, boot } };
}

static const struct blaze_id some_id = { { 3 } };

static uint64_t put(struct blaze_db *db, unsigned value)
{
	struct blaze_position position = { .seq = 0 };

	ck_assert_int_eq(blaze_db_put(db, &some_id, &value, sizeof(value)), 0);
	ck_assert_int_eq(blaze_db_position(db, &position), 0);
	ck_assert_uint_eq(position.incarnation, db->self.incarnation);
	return position.seq;
}

static struct blaze_db *opened(const char *name)
{
	return stored_open(name, 0, 0, BLAZE_DB_MANUAL);
}

/* Opens, writes, closes: the incarnation, and the number of what it wrote. */
static uint64_t run(const char *name, uint64_t *ret_seq)
{
	struct blaze_db *db = opened(name);
	const uint64_t incarnation = db->self.incarnation;

	*ret_seq = put(db, 1);
	ck_assert_int_eq(blaze_db_close(db), 0);
	return incarnation;
}

static bool noted(void)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/closed", stored_path(0));
	return access(path, F_OK) == 0;
}

/* Has the shell do that with the database's directory. */
static void shell(const char *format)
{
	const char *path = stored_path(0);
	char command[500];

	snprintf(command, sizeof(command), format, path, path, path, path);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(closed_database_goes_on)
{
	const char *name = unique_name();
	uint64_t seq, first = run(name, &seq);
	uint8_t hash[16], again[16];
	struct blaze_db *db;

	ck_assert_uint_eq(seq, 1);
	for (unsigned i = 2; i <= TIMES; i++) {
		ck_assert(noted());
		ck_assert_uint_eq(run(name, &seq), first);
		ck_assert_uint_eq(seq, i);
		if (i % 10 == 5) {
			db = opened(name);
			ck_assert(!noted());
			ck_assert_int_eq(blaze_db_compact(db), 0);
			stored_hash_stamps(db, hash);
			ck_assert_int_eq(blaze_db_close(db), 0);
			db = opened(name);
			stored_hash_stamps(db, again);
			ck_assert_mem_eq(hash, again, sizeof(hash));
			ck_assert_int_eq(blaze_db_close(db), 0);
		}
	}
	db = opened(name);
	ck_assert_uint_eq(origins_known(db->replica), 1);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

/* In each case something else than the last one that closed it may have written. */
START_TEST(any_other_database_begins_anew)
{
	static const char *const doings[] = {
		/* As after a loss of power, or by one that was killed before it left its note. */
		"rm %s/closed",
		/* An older root in the place of the one that there is: of the same bytes, even. */
		"cp -a %s/root %s/root.old && mv %s/root.old %s/root",
		"cp %s/root %s/root.old && cat %s/root.old > %s/root",
		"truncate -s 40 %s/closed",
		"printf x | dd of=%s/closed bs=1 seek=20 conv=notrunc status=none",
		"rm %s/closed && mkfifo %s/closed",
	};
	const char *name = unique_name();
	uint64_t seq, first = run(name, &seq);
	struct blaze_db *db;

	ck_assert_uint_eq(run(name, &seq), first);
	shell(doings[_i]);
	ck_assert_uint_ne(run(name, &seq), first);
	ck_assert_uint_eq(seq, 1);
	db = opened(name);
	ck_assert_uint_eq(origins_known(db->replica), 2);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(killed_database_begins_anew)
{
	const char *name = unique_name();
	uint64_t seq, first = run(name, &seq);
	const pid_t pid = child_fork();
	int status;

	if (pid == 0) {
		left_open = opened(name);
		(void)put(left_open, 2);
		(void)kill(getpid(), SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	ck_assert(!noted());
	ck_assert_uint_ne(run(name, &seq), first);
	ck_assert_uint_eq(seq, 1);
}
END_TEST

/* An older state of all files comes back into the directory. */
START_TEST(restored_database_begins_anew)
{
	const char *name = unique_name();
	uint64_t seq, first = run(name, &seq);

	dir_copy(stored_path(0), stored_path(1));
	ck_assert_uint_eq(run(name, &seq), first);
	ck_assert_uint_eq(seq, 2);
	shell("rm %s/* && cp -a %s/../1/. %s");
	ck_assert_uint_ne(run(name, &seq), first);
	ck_assert_uint_eq(seq, 1);
}
END_TEST

/* What the log does not have others may have. */
START_TEST(database_whose_log_is_behind_begins_anew)
{
	const char *name = unique_name();
	uint64_t seq, first = run(name, &seq);
	struct blaze_db *db = opened(name);

	pthread_mutex_lock(&db->lock);
	origins_lag(db->replica);
	pthread_mutex_unlock(&db->lock);
	ck_assert_uint_eq(put(db, 5), 2);
	ck_assert_int_eq(blaze_db_close(db), 0);
	ck_assert_uint_ne(run(name, &seq), first);
}
END_TEST

START_TEST(database_of_another_boot_begins_anew)
{
	const char *name = unique_name();
	uint64_t seq, first = run(name, &seq);

	ck_assert_uint_eq(run(name, &seq), first);
	boot++;
	ck_assert_uint_ne(run(name, &seq), first);
}
END_TEST

/* It left its name for another one (1), or was to, and did not come to it (0). */
START_TEST(name_that_is_to_be_left_is_none_to_go_on_under)
{
	const char *name = unique_name();
	uint64_t seq, first = run(name, &seq), second;
	struct blaze_db *db = opened(name);

	ck_assert_uint_eq(put(db, 5), 2);
	pthread_mutex_lock(&db->write_lock);
	pthread_mutex_lock(&db->lock);
	origins_displace(db->replica);
	if (_i == 1)
		ck_assert_int_eq(blazei_db_leave_name(db), 0);
	pthread_mutex_unlock(&db->lock);
	pthread_mutex_unlock(&db->write_lock);
	second = db->self.incarnation;
	ck_assert((second == first) == (_i == 0));
	ck_assert_int_eq(blaze_db_close(db), 0);
	db = opened(name);
	ck_assert((second == db->self.incarnation) == (_i == 1));
	ck_assert_uint_eq(put(db, 6), _i == 1 ? 2 : 1);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

/* Others hear of what is written under it, by the lane and by what they fetch. */
START_TEST(others_go_on_hearing_it)
{
	const char *name = unique_name();
	struct node a = stored_node(name, 0, 0), b = stored_node(name, 1, 0);
	const struct blazei_origin first = origin_of(&a);
	struct blaze_id ids[20];

	for (unsigned i = 0; i < 20; i++) {
		stored_link(&a, &b);
		node_insert(&a, "n", i, &ids[i]);
		if (i % 4 == 1)
			node_wait(&b);
		if (i % 4 == 2)
			node_close(&b);
		node_close(&a);
		a = stored_node(name, 0, 0);
		if (i % 4 == 2)
			b = stored_node(name, 1, 0);
		ck_assert_uint_eq(origin_of(&a).incarnation, first.incarnation);
	}
	stored_link(&a, &b);
	node_update(&a, &ids[0], "n", 100);
	node_wait(&b);
	for (unsigned i = 1; i < 20; i++)
		ck_assert_int_eq(node_value(&b, &ids[i], "n"), i);
	ck_assert_int_eq(node_value(&b, &ids[0], "n"), 100);
	nodes_assert_equal(&a, &b);
	ck_assert_uint_eq(node_stats(&a).quarantined, 0);
	ck_assert_uint_eq(node_stats(&b).conflicts, 0);
	node_close(&b);
	node_close(&a);
}
END_TEST

static _Atomic bool enough;

static void *write_on(void *arg)
{
	for (unsigned i = 0; !atomic_load(&enough); i++) {
		node_insert(arg, "b", i, NULL);
		blazei_sleep_ns(BLAZEI_NS_PER_MS / 10);
	}
	return NULL;
}

/* It comes and goes while another one writes, and each writes to what the other has written. */
START_TEST(nothing_is_missing_where_it_comes_and_goes)
{
	const char *name = unique_name();
	struct node a, b = stored_node(name, 1, 0);
	const struct blaze_id shared = { { 4 } };
	uint64_t incarnation = 0;
	pthread_t thread;

	atomic_store(&enough, false);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_on, &b), 0);
	for (unsigned i = 0; i < 60; i++) {
		a = stored_node(name, 0, 0);
		ck_assert(i == 0 || origin_of(&a).incarnation == incarnation);
		incarnation = origin_of(&a).incarnation;
		stored_link(&a, &b);
		ck_assert_int_eq(blaze_db_put(a.db, &shared, &i, sizeof(i)), 0);
		node_insert(&a, "a", i, NULL);
		if (i % 3 == 0)
			node_wait(&b);
		if (i % 5 == 0)
			node_wait(&a);
		ck_assert_int_eq(blaze_db_put(b.db, &shared, &i, sizeof(i)), 0);
		if (i < 59)
			node_close(&a);
	}
	atomic_store(&enough, true);
	pthread_join(thread, NULL);
	node_wait(&a);
	node_wait(&b);
	nodes_assert_equal(&a, &b);
	ck_assert_uint_eq(node_stats(&a).quarantined + node_stats(&b).quarantined, 0);
	ck_assert_uint_eq(node_stats(&a).refused + node_stats(&b).refused, 0);
	node_close(&a);
	node_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("resume");
	TCase *tcase = tcase_create("resume");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, stored_setup, stored_teardown);
	tcase_set_timeout(tcase, 300);
	tcase_add_test(tcase, closed_database_goes_on);
	tcase_add_loop_test(tcase, any_other_database_begins_anew, 0, 6);
	tcase_add_test(tcase, killed_database_begins_anew);
	tcase_add_test(tcase, restored_database_begins_anew);
	tcase_add_test(tcase, database_whose_log_is_behind_begins_anew);
	tcase_add_test(tcase, database_of_another_boot_begins_anew);
	tcase_add_loop_test(tcase, name_that_is_to_be_left_is_none_to_go_on_under, 0, 2);
	tcase_add_test(tcase, nothing_is_missing_where_it_comes_and_goes);
	tcase_add_test(tcase, others_go_on_hearing_it);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
