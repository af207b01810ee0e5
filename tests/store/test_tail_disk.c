/* SPDX-License-Identifier: Apache-2.0 */
/* A store with a tail whose disk stands still, fails once, or fails for good: who writes waits, or
 * is turned away, and what was said to be kept is kept. */
#include "tests/store/tailed.h"

/* Writers go on until the tail is full, then wait a second, and nothing is half done. */
START_TEST(standing_disk_fills_the_tail)
{
	unsigned count, done = 0;
	struct blazei_store *store = opened(&count);
	uint64_t since;
	int error = 0;

	pthread_mutex_lock(&disk);
	while (done < TXNS && error == 0) {
		since = blazei_monotonic_ns();
		error = put(store, done);
		done += error == 0;
	}
	ck_assert_int_eq(error, -EAGAIN);
	ck_assert_uint_ge(blazei_monotonic_ns() - since, BLAZEI_NS_PER_S);
	ck_assert_uint_gt(done, 50);
	ck_assert_uint_eq(store->last, done);
	pthread_mutex_unlock(&disk);
	ck_assert_int_eq(blazei_store_sync(store), 0);
	ck_assert_int_eq(put(store, done++), 0);
	ck_assert_int_eq(blazei_store_close(store), 0);
	check(done, done, 0);
}
END_TEST

/* Makes a transaction that no tail of this size takes. */
static void txn_make_long(unsigned index)
{
	static uint8_t value[2 * TAIL_BYTES];
	const struct blazei_replica_options replica_options = { .policy = BLAZE_POLICY_LWW };
	const struct blaze_id id = { { 2 } };
	const struct blazei_write write = {
		.kind = BLAZEI_WRITE_PUT,
		.id = &id,
		.value = value,
		.len = sizeof(value),
	};
	struct blazei_replica *replica;
	struct blazei_txn_view view;

	ck_assert_int_eq(blazei_replica_new(&replica_options, &replica), 0);
	ck_assert_int_eq(blazei_replica_write(replica, 1, &write, &view), 0);
	txns[index].len = 0;
	ck_assert_int_eq(blazei_buffer_append(&txns[index], view.data, view.len), 0);
	blazei_replica_free(replica);
}

struct acknowledged {
	struct blazei_store *store;
	uint64_t lsn;
	_Atomic bool done;
};

static void *acknowledge_main(void *arg)
{
	struct acknowledged *waiter = arg;

	ck_assert_int_eq(blazei_store_acknowledge(waiter->store, waiter->lsn), 0);
	atomic_store(&waiter->done, true);
	return NULL;
}

/* What is too long for the tail waits for the disk, and so does what comes behind it: the tail has
 * nothing that lacks what was before. A process that dies meanwhile loses both. */
START_TEST(what_is_too_long_for_the_tail_waits_for_the_disk)
{
	struct acknowledged waiter = { .store = filled(0, 3) };
	struct blazei_store *store = waiter.store;
	pthread_t thread;
	uint64_t lsn;

	txn_make_long(3);
	pthread_mutex_lock(&disk);
	standing = true;
	ck_assert_int_eq(blazei_store_append(store, txns[3].data, txns[3].len, &waiter.lsn), 0);
	ck_assert_int_eq(blazei_store_append(store, txns[4].data, txns[4].len, &lsn), 0);
	ck_assert_uint_eq(blazei_store_kept(store), 3);
	ck_assert_int_eq(pthread_create(&thread, NULL, acknowledge_main, &waiter), 0);
	blazei_sleep_ns(100 * BLAZEI_NS_PER_MS);
	ck_assert(!atomic_load(&waiter.done));
	if (_i == 0) {
		pthread_mutex_unlock(&disk);
		standing = false;
		pthread_join(thread, NULL);
		ck_assert_int_eq(blazei_store_acknowledge(store, lsn), 0);
		ck_assert_uint_eq(blazei_store_kept(store), 5);
		die(store);
		check(5, 5, 0);
		return;
	}
	/* All of this is forgotten, but for the disk and the tail. */
	die_beside(store, &thread);
	check(3, 3, 0);
}
END_TEST

/* The root says that it is closed before the tail goes. */
START_TEST(close_that_fails_keeps_the_tail)
{
	struct blazei_store *store = filled(20, 20);

	ck_assert_int_eq(blazei_store_sync(store), 0);
	medium.fail_in = (unsigned)_i + 1;
	medium.fail_count = UINT32_MAX;
	ck_assert_int_ne(blazei_store_close(store), 0);
	medium.fail_in = 0;
	check(20, 20, 0);
}
END_TEST

/* Of each operation in turn the first fails, and its repetition would succeed. */
START_TEST(one_failure_loses_nothing)
{
	struct blazei_store *store = filled(20, 50);

	medium.fail_in = (unsigned)_i + 1;
	medium.fail_count = 1;
	ck_assert_int_eq(blazei_store_sync(store), 0);
	ck_assert_uint_eq(failures_told, 0);
	medium.fail_in = 0;
	ck_assert_int_eq(put(store, 50), 0);
	die(store);
	check(51, 51, 0);
}
END_TEST

START_TEST(dead_disk_makes_it_read_only_and_keeps_the_tail)
{
	struct blazei_store *store = filled(20, 50);

	medium.fail_in = 1;
	medium.fail_count = UINT32_MAX;
	ck_assert_int_eq(blazei_store_sync(store), -EROFS);
	ck_assert_uint_eq(failures_told, 1);
	ck_assert_int_eq(put(store, 50), -EROFS);
	ck_assert_int_eq(blazei_store_close(store), -EROFS);
	medium.fail_in = 0;
	check(50, 50, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tail_disk");
	TCase *tcase = tcase_create("tail_disk");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 300);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, standing_disk_fills_the_tail);
	tcase_add_loop_test(tcase, what_is_too_long_for_the_tail_waits_for_the_disk, 0, 2);
	tcase_add_loop_test(tcase, close_that_fails_keeps_the_tail, 0, 2);
	tcase_add_loop_test(tcase, one_failure_loses_nothing, 0, 2);
	tcase_add_test(tcase, dead_disk_makes_it_read_only_and_keeps_the_tail);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
