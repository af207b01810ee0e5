/* SPDX-License-Identifier: Apache-2.0 */
/* Dropping what stands before an entry, on a medium that crashes at every step and fails at any:
 * the log begins with that entry or with the one before it, never between; from there on it has all
 * that was acknowledged, once and in order; and who opens it next leaves nothing of what was
 * dropped. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include <blaze/db.h>

#include "lib/repl/replica.h"
#include "lib/store/log.h"
#include "tests/store/fault.h"
#include "tests/store/txns.h"

#define TXNS      60u
#define NESTED    2u
#define TXN_BYTES 9000u
#define LONG_TXN  (300u << 10) /* in two frames */

static const struct blazei_store_options sync_options = {
	.policy = BLAZE_POLICY_LWW,
	.durability = BLAZE_DURABILITY_SYNC,
};
static struct blazei_buffer txns[TXNS];
static unsigned acknowledged, handed_in;
static uint64_t start, asked; /* what the log begins with; what it may begin with too */
static unsigned seed, told, crashes_each;
static unsigned long states, drops;

static size_t length_make(unsigned number)
{
	return number % 20 == 7 ? LONG_TXN : (size_t)rand_r(&seed) % TXN_BYTES;
}

/* Gets the LSN that is due. */
static int txn_compare(void *arg, const void *txn, size_t len)
{
	uint64_t *lsn = arg;

	ck_assert_uint_le(*lsn, handed_in);
	ck_assert_uint_eq(len, txns[*lsn - 1].len);
	ck_assert_mem_eq(txn, txns[*lsn - 1].data, len);
	(*lsn)++;
	return 0;
}

static void on_failed(void *arg)
{
	(void)arg;
	told++;
}

/* *ret_lsn: of the last one that it has. */
static struct blazei_store *store_open(uint64_t *ret_lsn)
{
	struct blazei_store_options options = sync_options;
	struct blazei_store *store = NULL;

	options.on_failed = on_failed;
	ck_assert_int_eq(blazei_store_open(&fault_ops, "fault", &options, &store), 0);
	ck_assert(store->root->start == start || store->root->start == asked);
	*ret_lsn = store->root->start > 0 ? store->root->start : 1;
	ck_assert_int_eq(blazei_store_recover(store, 1, txn_compare, ret_lsn), 0);
	--*ret_lsn;
	return store;
}

/* Where anything was dropped no segment below those that the root names is there; and the size is
 * theirs. */
static void tidy_check(struct blazei_store *store)
{
	const struct blazei_root *root = store->root;
	uint64_t bytes, sum = 0;
	uint32_t segments;

	for (uint64_t i = 0; root->start > 0 && i < root->segments[0].number; i++)
		ck_assert_msg(!fault_medium->segments[i].there, "segment %llu is left",
		              (unsigned long long)i);
	for (uint32_t i = 0; i < root->segment_count; i++)
		sum += root->segments[i].end != BLAZEI_SEGMENT_OPEN ? root->segments[i].end
		                                                    : store->segment_end;
	blazei_store_size(store, &bytes, &segments);
	ck_assert_uint_eq(segments, root->segment_count);
	ck_assert_uint_eq(bytes, sum);
}

static int drop(struct blazei_store *store, uint64_t lsn)
{
	int error;

	asked = lsn;
	error = blazei_store_drop_before(store, lsn);
	if (error == 0)
		start = lsn;
	if (error == 0 && fault_medium->fail_in == 0)
		tidy_check(store);
	drops++;
	return error;
}

/* Crashes, recovers, with a crash amid that, drops more at times, with a crash amid that too, and
 * goes on. */
static void crash_check(unsigned depth);

static void moment_in_recovery(void *arg)
{
	unsigned depth = *(unsigned *)arg;

	/* Not each time: what is tried grows by a power with the depth. */
	if (depth < NESTED && rand_r(&seed) % 2 == 0)
		crash_check(depth + 1);
}

static void crash_check(unsigned depth)
{
	struct fault_medium *outer = fault_medium, copy;
	const uint64_t outer_start = start, outer_asked = asked;
	uint64_t lsn, again;
	struct blazei_store *store;

	/* The process dies first, and the power goes amid what comes then. */
	if (depth == 0 && rand_r(&seed) % 2 == 0)
		fault_kill(outer, &copy);
	else
		fault_crash(outer, &seed, &copy);
	fault_medium = &copy;
	copy.moment = moment_in_recovery;
	copy.arg = &depth;
	states++;
	store = store_open(&lsn);
	ck_assert_uint_ge(lsn, acknowledged);
	tidy_check(store);
	start = asked = store->root->start;
	if (lsn > start && lsn > 0 && rand_r(&seed) % 4 == 0)
		ck_assert_int_eq(drop(store, start + 1 + (uint64_t)rand_r(&seed) % (lsn - start)),
		                 0);
	copy.moment = NULL;
	if (lsn < handed_in) {
		ck_assert_int_eq(blazei_store_append(store, txns[lsn].data, txns[lsn].len, &again),
		                 0);
		ck_assert_uint_eq(again, ++lsn);
		ck_assert_int_eq(blazei_store_wait(store, lsn), 0);
	}
	ck_assert_int_eq(blazei_store_close(store), 0);
	store = store_open(&again);
	ck_assert_uint_eq(again, lsn);
	tidy_check(store);
	ck_assert_int_eq(blazei_store_close(store), 0);
	fault_clear(&copy);
	fault_medium = outer;
	start = outer_start;
	asked = outer_asked;
}

static void moment_in_writing(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < crashes_each; i++)
		crash_check(0);
}

/* One to four more, made durable. */
static int group_write(struct blazei_store *store)
{
	unsigned group = 1 + (unsigned)rand_r(&seed) % 4;
	uint64_t lsn = 0;
	int error = 0;

	while (group-- > 0 && handed_in < TXNS && error == 0) {
		const struct blazei_buffer *txn = &txns[handed_in];

		/* A moment of the sync that follows may find it. */
		error = blazei_store_append(store, txn->data, txn->len, &lsn);
		handed_in += error == 0;
	}
	if (error == 0)
		error = blazei_store_wait(store, lsn);
	if (error == 0)
		acknowledged = (unsigned)lsn;
	return error;
}

/* Writes all, in several openings, and drops now and then. */
static void write_and_drop(struct fault_medium *medium, unsigned fail_in)
{
	uint64_t lsn;
	struct blazei_store *store = store_open(&lsn);
	int error = 0;

	medium->fail_in = fail_in;
	while (handed_in < TXNS && error == 0) {
		error = group_write(store);
		if (error == 0 && rand_r(&seed) % 3 == 0)
			error = blazei_store_rotate(store);
		if (error == 0 && acknowledged > start && rand_r(&seed) % 4 == 0)
			error = drop(store,
			             start + 1 + (uint64_t)rand_r(&seed) % (acknowledged - start));
		if (error == 0 && rand_r(&seed) % 4 == 0) {
			fail_in = medium->fail_in;
			/* An opening that fails says so, and is none of this. */
			medium->fail_in = 0;
			ck_assert_int_eq(blazei_store_close(store), 0);
			store = store_open(&lsn);
			medium->fail_in = fail_in;
		}
	}
	medium->fail_in = 0;
	if (error != 0) {
		ck_assert(blazei_store_failed(store));
		ck_assert_uint_gt(told, 0);
	}
	(void)blazei_store_close(store);
}

static void run(unsigned fail_in, unsigned fail_count, bool late)
{
	struct fault_medium medium = { .fails_late = late };
	struct blazei_store *store;
	uint64_t lsn;

	acknowledged = handed_in = told = 0;
	start = asked = 0;
	fault_medium = &medium;
	medium.moment = moment_in_writing;
	medium.fail_count = fail_count;
	write_and_drop(&medium, fail_in);
	if (fail_in == 0) {
		ck_assert_uint_eq(acknowledged, TXNS);
		ck_assert_uint_gt(medium.deletes, 0);
	}
	medium.moment = NULL;
	medium.fail_in = 0;
	store = store_open(&lsn);
	ck_assert_uint_ge(lsn, acknowledged);
	tidy_check(store);
	ck_assert_int_eq(blazei_store_close(store), 0);
	fault_clear(&medium);
}

static void setup(void)
{
	const char *text = getenv("BLAZE_CRASHES");

	seed = (unsigned)blazei_monotonic_ns();
	printf("seed %u\n", seed);
	crashes_each = text != NULL ? (unsigned)atoi(text) : 9;
	states = drops = 0;
	txns_make(txns, TXNS, LONG_TXN, length_make);
}

static void teardown(void)
{
	printf("%lu crash states, %lu drops\n", states, drops);
	for (unsigned i = 0; i < TXNS; i++)
		blazei_buffer_free(&txns[i]);
}

START_TEST(crash_at_any_step_leaves_the_old_start_or_the_new)
{
	run(0, 0, false);
}
END_TEST

START_TEST(a_failure_anywhere_loses_nothing_acknowledged)
{
	for (unsigned i = 0; i < 2; i++)
		run(1 + (unsigned)rand_r(&seed) % 80, _i == 0 ? 1 : UINT32_MAX, i % 2 == 1);
}
END_TEST

/* Small ones -----------------------------------------------------------------------------------*/

/* Appends so many, each in a segment of its own. */
static void segments_fill(struct blazei_store *store, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t lsn;

		ck_assert_int_eq(
		        blazei_store_append(store, txns[handed_in].data, txns[handed_in].len, &lsn),
		        0);
		handed_in++;
		ck_assert_int_eq(blazei_store_wait(store, lsn), 0);
		ck_assert_int_eq(blazei_store_rotate(store), 0);
	}
	acknowledged = handed_in;
}

static struct blazei_store *small_begin(struct fault_medium *medium, unsigned count)
{
	struct blazei_store *store;
	uint64_t lsn;

	acknowledged = handed_in = told = 0;
	start = asked = 0;
	memset(medium, 0, sizeof(*medium));
	fault_medium = medium;
	store = store_open(&lsn);
	segments_fill(store, count);
	return store;
}

static unsigned segments_there(const struct fault_medium *medium)
{
	unsigned count = 0;

	for (unsigned i = 0; i < FAULT_SEGMENTS; i++)
		count += medium->segments[i].there;
	return count;
}

START_TEST(exchange_that_fails_ends_the_writing_and_deletes_nothing)
{
	struct fault_medium medium;
	struct blazei_store *store = small_begin(&medium, 6);
	uint64_t lsn;

	medium.fails_late = _i == 1;
	medium.fail_in = medium.fail_count = 1;
	ck_assert_int_eq(drop(store, 4), -EIO);
	ck_assert_uint_eq(told, 1);
	ck_assert_uint_eq(segments_there(&medium), 6);
	ck_assert_uint_eq(medium.deletes, 0);
	ck_assert(blazei_store_failed(store));
	ck_assert_int_eq(blazei_store_append(store, txns[6].data, txns[6].len, &lsn), -EROFS);
	ck_assert_int_eq(blazei_store_drop_before(store, 5), -EROFS);
	(void)blazei_store_close(store);
	store = store_open(&lsn);
	ck_assert_uint_eq(lsn, 6);
	ck_assert_uint_eq(store->root->start, _i == 1 ? 4 : 0);
	ck_assert_uint_eq(segments_there(&medium), _i == 1 ? 3 : 6);
	ck_assert_int_eq(blazei_store_close(store), 0);
	fault_clear(&medium);
}
END_TEST

/* It stays until the next opening, and all goes on. */
START_TEST(deletion_that_fails_is_made_up_for_by_the_next_opening)
{
	struct fault_medium medium;
	struct blazei_store *store = small_begin(&medium, 6);
	uint64_t lsn;

	medium.fail_in = 3; /* behind the exchange and one deletion */
	medium.fail_count = 1;
	ck_assert_int_eq(drop(store, 5), 0);
	ck_assert_uint_eq(medium.deletes, 4);
	ck_assert_uint_eq(segments_there(&medium), 3);
	ck_assert_uint_eq(told, 0);
	segments_fill(store, 1);
	ck_assert_int_eq(blazei_store_close(store), 0);
	store = store_open(&lsn);
	ck_assert_uint_eq(lsn, 7);
	tidy_check(store);
	ck_assert_uint_eq(segments_there(&medium), 3);
	ck_assert_int_eq(blazei_store_close(store), 0);
	fault_clear(&medium);
}
END_TEST

/* Segments that the root never named, as a crash in the making of one leaves, have nothing in them
 * and go too. */
START_TEST(empty_segments_above_those_named_go)
{
	struct fault_medium medium;
	struct blazei_store *store = small_begin(&medium, 4);
	uint64_t lsn;

	ck_assert_int_eq(drop(store, 3), 0);
	ck_assert_int_eq(blazei_store_close(store), 0);
	medium.segments[5].there = true;
	medium.segments[1].there = true;
	store = store_open(&lsn);
	ck_assert_uint_eq(lsn, 4);
	ck_assert(!medium.segments[1].there);
	ck_assert(!medium.segments[5].there);
	segments_fill(store, 1);
	ck_assert(medium.segments[5].there);
	ck_assert_int_eq(blazei_store_close(store), 0);
	fault_clear(&medium);
}
END_TEST

/* In its first segment too, where nothing goes. */
START_TEST(start_moves_within_a_segment)
{
	struct fault_medium medium;
	struct blazei_store *store = small_begin(&medium, 0);
	uint64_t lsn;

	while (handed_in < 12)
		ck_assert_int_eq(group_write(store), 0);
	for (uint64_t at = 1; at < acknowledged; at += 5) {
		ck_assert_int_eq(drop(store, at), 0);
		ck_assert_uint_eq(segments_there(&medium), 1);
		tidy_check(store);
	}
	ck_assert_int_eq(blazei_store_close(store), 0);
	store = store_open(&lsn);
	ck_assert_uint_eq(lsn, acknowledged);
	ck_assert_int_eq(blazei_store_close(store), 0);
	fault_clear(&medium);
}
END_TEST

/* A root whose start is in none of its segments. */
START_TEST(log_that_lacks_its_start_is_refused)
{
	struct fault_medium medium;
	struct blazei_store *store = small_begin(&medium, 4);
	struct blazei_root *root;
	uint64_t lsn = 1;

	ck_assert_int_eq(drop(store, 3), 0);
	ck_assert_int_eq(blazei_store_close(store), 0);
	root = (struct blazei_root *)medium.root;
	/* Before what the first segment has, and behind what the last one has. */
	root->start = _i == 0 ? 2 : _i == 1 ? 5 : 0;
	blazei_root_seal(root);
	store = NULL;
	ck_assert_int_eq(blazei_store_open(&fault_ops, "fault", &sync_options, &store), 0);
	ck_assert_int_eq(blazei_store_recover(store, 1, txn_compare, &lsn), -EBADMSG);
	ck_assert_uint_eq(lsn, 1);
	(void)blazei_store_close(store);
	fault_clear(&medium);
}
END_TEST

START_TEST(root_with_a_start_and_no_segment_is_refused)
{
	struct blazei_root root = {
		.policy = BLAZE_POLICY_LWW,
		.next_segment = 4,
	};

	blazei_root_seal(&root);
	ck_assert_int_eq(blazei_root_check(&root, sizeof(root)), 0);
	root.start = 1;
	blazei_root_seal(&root);
	ck_assert_int_eq(blazei_root_check(&root, sizeof(root)), -EBADMSG);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("drop");
	TCase *tcase = tcase_create("drop");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 600);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, crash_at_any_step_leaves_the_old_start_or_the_new);
	tcase_add_loop_test(tcase, a_failure_anywhere_loses_nothing_acknowledged, 0, 2);
	tcase_add_loop_test(tcase, exchange_that_fails_ends_the_writing_and_deletes_nothing, 0, 2);
	tcase_add_test(tcase, deletion_that_fails_is_made_up_for_by_the_next_opening);
	tcase_add_test(tcase, empty_segments_above_those_named_go);
	tcase_add_test(tcase, start_moves_within_a_segment);
	tcase_add_loop_test(tcase, log_that_lacks_its_start_is_refused, 0, 3);
	tcase_add_test(tcase, root_with_a_start_and_no_segment_is_refused);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
