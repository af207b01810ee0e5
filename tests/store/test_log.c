/* SPDX-License-Identifier: Apache-2.0 */
/* The log on a medium that crashes at every step and fails at any: what was acknowledged is there
 * again, in order and whole, and nothing that was never handed in; recovery may crash too, and
 * comes to the same. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include <blaze/db.h>

#include "lib/repl/replica.h"
#include "lib/store/log.h"
#include "tests/store/fault.h"
#include "tests/store/txns.h"

#define TXNS     120u
#define NESTED   2u
#define LONG_TXN (530u << 10)

static const struct blazei_store_options options = {
	.policy = BLAZE_POLICY_LWW,
	.durability = BLAZE_DURABILITY_SYNC,
};
static struct blazei_buffer txns[TXNS];
static unsigned acknowledged, handed_in;
static unsigned seed, crashes_each;
static unsigned long states;

/* Of many lengths; three take several frames, two or three each. All that is there is written and
 * read at each crash, so more of these would be slow. */
static size_t length_make(unsigned number)
{
	if (number == 87)
		return LONG_TXN;
	return number % 40 == 7 ? LONG_TXN / 2 + 5000 : (size_t)rand_r(&seed) % 9000;
}

static int txn_compare(void *arg, const void *txn, size_t len)
{
	unsigned *count = arg;

	ck_assert_uint_lt(*count, handed_in);
	ck_assert_uint_eq(len, txns[*count].len);
	ck_assert_mem_eq(txn, txns[*count].data, len);
	(*count)++;
	return 0;
}

static struct blazei_store *store_open(unsigned *ret_count)
{
	struct blazei_store *store = NULL;

	*ret_count = 0;
	ck_assert_int_eq(blazei_store_open(&fault_ops, "fault", &options, &store), 0);
	ck_assert_int_eq(blazei_store_recover(store, 1, txn_compare, ret_count), 0);
	return store;
}

/* Crashes, by the power or, the first time, by a kill, recovers, recovers again after a crash amid
 * the first recovery, and goes on. */
static void crash_check(unsigned depth);

static void moment_in_recovery(void *arg)
{
	unsigned depth = *(unsigned *)arg;

	if (depth < NESTED)
		crash_check(depth + 1);
}

/* The power goes, and so many are there. */
static void power_check(unsigned least)
{
	struct fault_medium *outer = fault_medium, copy;
	unsigned count;

	fault_crash(outer, &seed, &copy);
	fault_medium = &copy;
	states++;
	ck_assert_int_eq(blazei_store_close(store_open(&count)), 0);
	ck_assert_uint_ge(count, least);
	fault_clear(&copy);
	fault_medium = outer;
}

static void crash_check(unsigned depth)
{
	struct fault_medium *outer = fault_medium, copy;
	const bool killed = depth == 0 && rand_r(&seed) % 2 == 0;
	unsigned count, again;
	struct blazei_store *store;

	if (killed)
		fault_kill(outer, &copy);
	else
		fault_crash(outer, &seed, &copy);
	fault_medium = &copy;
	copy.moment = moment_in_recovery;
	copy.arg = &depth;
	states++;
	store = store_open(&count);
	ck_assert_uint_ge(count, acknowledged);
	copy.moment = NULL;
	if (count < handed_in) {
		uint64_t lsn;

		ck_assert_int_eq(
		        blazei_store_append(store, txns[count].data, txns[count].len, &lsn), 0);
		ck_assert_uint_eq(lsn, count + 1);
		ck_assert_int_eq(blazei_store_wait(store, lsn), 0);
		count++;
		if (killed)
			power_check(count);
	}
	ck_assert_int_eq(blazei_store_close(store), 0);
	ck_assert_int_eq(blazei_store_close(store_open(&again)), 0);
	ck_assert_uint_eq(again, count);
	fault_clear(&copy);
	fault_medium = outer;
}

static void moment_in_writing(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < crashes_each; i++)
		crash_check(0);
}

/* Writes groups of one to five, until all is in or the log is read-only. */
static void write_all(struct blazei_store *store)
{
	int error = 0;

	while (handed_in < TXNS && error == 0) {
		unsigned group = 1 + (unsigned)rand_r(&seed) % 5;
		uint64_t lsn = 0;

		while (group-- > 0 && handed_in < TXNS && error == 0) {
			const struct blazei_buffer *txn = &txns[handed_in];

			error = blazei_store_append(store, txn->data, txn->len, &lsn);
			handed_in += error == 0;
		}
		if (error == 0)
			error = blazei_store_wait(store, lsn);
		if (error == 0)
			acknowledged = (unsigned)lsn;
	}
	ck_assert(error == 0 || error == -EROFS);
}

static void run(int kind, unsigned fail_in, unsigned fail_count)
{
	/* What the medium writes as a whole. */
	struct fault_medium medium = { .block_bytes = kind == 0 ? FAULT_BLOCK : 512 };
	unsigned count;
	struct blazei_store *store;

	acknowledged = handed_in = 0;
	fault_medium = &medium;
	store = store_open(&count);
	medium.moment = moment_in_writing;
	medium.fail_in = fail_in;
	medium.fail_count = fail_count;
	write_all(store);
	medium.fail_in = 0;
	if (fail_count <= 1)
		ck_assert_uint_eq(acknowledged, TXNS);
	else if (fail_in != 0)
		ck_assert(blazei_store_failed(store));
	(void)blazei_store_close(store);
	medium.moment = NULL;
	ck_assert_int_eq(blazei_store_close(store_open(&count)), 0);
	ck_assert_uint_ge(count, acknowledged);
	fault_clear(&medium);
}

static void setup(void)
{
	const char *text = getenv("BLAZE_CRASHES");

	seed = (unsigned)blazei_monotonic_ns();
	printf("seed %u\n", seed);
	crashes_each = text != NULL ? (unsigned)atoi(text) : 5;
	states = 0;
	txns_make(txns, TXNS, LONG_TXN, length_make);
}

static void teardown(void)
{
	printf("%lu crash states\n", states);
	for (unsigned i = 0; i < TXNS; i++)
		blazei_buffer_free(&txns[i]);
}

START_TEST(crash_at_any_step_loses_nothing_acknowledged)
{
	run(_i, 0, 0);
}
END_TEST

/* One failure, of whatever operation: the group goes to a new segment. */
START_TEST(one_failure_is_survived)
{
	crashes_each = 1;
	for (unsigned i = 0; i < 3; i++)
		run(_i, 1 + (unsigned)rand_r(&seed) % 60, 1);
}
END_TEST

START_TEST(failures_without_end_make_it_read_only)
{
	crashes_each = 1;
	for (unsigned i = 0; i < 3; i++)
		run(_i, 1 + (unsigned)rand_r(&seed) % 30, UINT32_MAX);
}
END_TEST

/* Any change below what was durable is damage, and no torn end. */
START_TEST(damage_below_the_durable_end_is_refused)
{
	struct fault_medium medium = { .fail_in = 0 };
	unsigned count;
	struct blazei_store *store;

	acknowledged = handed_in = 0;
	fault_medium = &medium;
	store = store_open(&count);
	write_all(store);
	/* As a crash leaves it: the last segment has no end yet. */
	for (unsigned i = 0; i < 200; i++) {
		struct fault_medium copy;
		struct fault_segment *segment;
		struct blazei_store *other = NULL;
		unsigned at;
		int error;

		fault_crash(&medium, &seed, &copy);
		fault_medium = &copy;
		segment = &copy.segments[1];
		/* Half of the time the last one, which has no recorded end. */
		while (i % 2 == 0 && segment[1].there)
			segment++;
		at = (unsigned)rand_r(&seed) % (unsigned)(segment->len / 2);
		segment->data[at] ^= 0x10;
		count = 0;
		error = blazei_store_open(&fault_ops, "fault", &options, &other);
		ck_assert_int_eq(error, 0);
		ck_assert_int_eq(blazei_store_recover(other, 1, txn_compare, &count), -EBADMSG);
		(void)blazei_store_close(other);
		fault_clear(&copy);
	}
	fault_medium = &medium;
	ck_assert_int_eq(blazei_store_close(store), 0);
	fault_clear(&medium);
}
END_TEST

/* A segment that has no end yet is read once, and not again for each of its frames. */
START_TEST(recovery_reads_each_segment_once)
{
	struct fault_medium medium = { .fail_in = 0 }, copy;
	unsigned count, segments = 0;
	struct blazei_store *store;

	acknowledged = handed_in = 0;
	fault_medium = &medium;
	store = store_open(&count);
	write_all(store);
	fault_crash(&medium, &seed, &copy);
	fault_medium = &copy;
	while (copy.segments[1 + segments].there)
		segments++;
	ck_assert_int_eq(blazei_store_close(store_open(&count)), 0);
	ck_assert_uint_eq(count, TXNS);
	/* Each is at most as long as what is read at once. */
	ck_assert_uint_ge(copy.reads, segments);
	ck_assert_uint_le(copy.reads, segments + 1);
	fault_clear(&copy);
	fault_medium = &medium;
	ck_assert_int_eq(blazei_store_close(store), 0);
	fault_clear(&medium);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log");
	TCase *tcase = tcase_create("log");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 600);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, crash_at_any_step_loses_nothing_acknowledged, 0, 2);
	tcase_add_loop_test(tcase, one_failure_is_survived, 0, 2);
	tcase_add_loop_test(tcase, failures_without_end_make_it_read_only, 0, 2);
	tcase_add_test(tcase, damage_below_the_durable_end_is_refused);
	tcase_add_test(tcase, recovery_reads_each_segment_once);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
