/* SPDX-License-Identifier: Apache-2.0 */
/* Ids: their form, their order across threads and clocks, and a fork. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/id.h"

#define THREADS   4
#define PER_CHILD 20000

static int compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct blaze_id));
}

static int compare_tails(const void *a, const void *b)
{
	return memcmp((const uint8_t *)a + 8, (const uint8_t *)b + 8, 8);
}

static bool ascending(const struct blaze_id *ids, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		if (compare_ids(&ids[i - 1], &ids[i]) >= 0)
			return false;
	}
	return true;
}

START_TEST(id_new_version_variant_time)
{
	struct blaze_id id;
	const uint64_t before = blazei_realtime_ns() / BLAZEI_NS_PER_MS;
	uint64_t ms = 0;

	ck_assert_int_eq(blaze_id_new(&id), 0);
	for (unsigned i = 0; i < 6; i++)
		ms = ms << 8 | id.bytes[i];
	ck_assert_uint_ge(ms, before);
	ck_assert_uint_le(ms, blazei_realtime_ns() / BLAZEI_NS_PER_MS);
	ck_assert_uint_eq(id.bytes[6] >> 4, 7);
	ck_assert_uint_eq(id.bytes[8] >> 6, 2);
	ck_assert_int_eq(blaze_id_new(NULL), -EINVAL);
}
END_TEST

static void *make_ids(void *arg)
{
	struct blaze_id *ids = arg;

	for (size_t i = 0; i < PER_CHILD; i++) {
		if (blaze_id_new(&ids[i]) != 0)
			return NULL;
	}
	return ids;
}

START_TEST(id_threads_ascend_and_differ)
{
	static struct blaze_id ids[THREADS * PER_CHILD];
	pthread_t threads[THREADS];

	for (size_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, make_ids, &ids[i * PER_CHILD]),
		                 0);
	for (size_t i = 0; i < THREADS; i++) {
		void *made;

		pthread_join(threads[i], &made);
		ck_assert_ptr_nonnull(made);
		ck_assert(ascending(&ids[i * PER_CHILD], PER_CHILD));
	}
	/* The stamps alone, without the random half, are each given once. */
	for (size_t i = 0; i < THREADS * PER_CHILD; i++)
		memset(ids[i].bytes + 8, 0, 8);
	qsort(ids, THREADS * PER_CHILD, sizeof(ids[0]), compare_ids);
	ck_assert(ascending(ids, THREADS * PER_CHILD));
}
END_TEST

START_TEST(id_made_after_join_is_above)
{
	static struct blaze_id ids[PER_CHILD + 1];
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, make_ids, ids), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(blaze_id_new(&ids[PER_CHILD]), 0);
	ck_assert_int_gt(compare_ids(&ids[PER_CHILD], &ids[PER_CHILD - 1]), 0);
}
END_TEST

START_TEST(stamp_clock_back_still_ascends)
{
	const uint64_t first = blazei_id_stamp_next(0, 1000, 5);

	ck_assert_uint_eq(first, UINT64_C(1000) << 12 | 5);
	ck_assert_uint_eq(blazei_id_stamp_next(first, 999, 0), first + 1);
	ck_assert_uint_eq(blazei_id_stamp_next(first, 1000, 0), first + 1);
	ck_assert_uint_eq(blazei_id_stamp_next(first, 0, 0), first + 1);
	ck_assert_uint_eq(blazei_id_stamp_next(first, 1001, 0), UINT64_C(1001) << 12);
}
END_TEST

START_TEST(stamp_counter_full_borrows_next_ms)
{
	const uint64_t full = UINT64_C(1000) << 12 | 0xfff;

	ck_assert_uint_eq(blazei_id_stamp_next(full, 1000, 0), UINT64_C(1001) << 12);
	/* The clock then reaches the borrowed millisecond: no stamp is given twice. */
	ck_assert_uint_eq(blazei_id_stamp_next(UINT64_C(1001) << 12, 1001, 0),
	                  (UINT64_C(1001) << 12) + 1);
	/* A seed leaves room above itself. */
	ck_assert_uint_eq(blazei_id_stamp_next(0, 1, UINT32_MAX), UINT64_C(1) << 12 | 0x7ff);
}
END_TEST

START_TEST(id_forked_child_repeats_nothing)
{
	static struct blaze_id ids[40];
	int pipe_ends[2], status;

	/* The parent's pool is part used, as it is in a real program that forks. */
	ck_assert_int_eq(blaze_id_new(&ids[0]), 0);
	ck_assert_int_eq(pipe(pipe_ends), 0);

	const pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	for (size_t i = 0; i < 20; i++) {
		if (blaze_id_new(&ids[i]) != 0)
			_exit(1);
	}
	if (pid == 0)
		_exit(write(pipe_ends[1], ids, 20 * sizeof(ids[0])) > 0 ? 0 : 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(read(pipe_ends[0], &ids[20], 20 * sizeof(ids[0])), 20 * sizeof(ids[0]));
	/* Stamps may coincide between processes; the random halves are what keeps ids apart. */
	qsort(ids, 40, sizeof(ids[0]), compare_tails);
	for (size_t i = 1; i < 40; i++)
		ck_assert_int_ne(compare_tails(&ids[i - 1], &ids[i]), 0);
}
END_TEST

START_TEST(id_text_round_trip)
{
	struct blaze_id id, back;
	char text[37];

	for (unsigned i = 0; i < 16; i++)
		id.bytes[i] = (uint8_t)(i * 17);
	blaze_id_format(&id, text);
	ck_assert_str_eq(text, "00112233-4455-6677-8899-aabbccddeeff");
	ck_assert_int_eq(blaze_id_parse(text, &back), 0);
	ck_assert_int_eq(compare_ids(&id, &back), 0);
	ck_assert_int_eq(blaze_id_parse("00112233-4455-6677-8899-AABBccDDEEFF", &back), 0);
	ck_assert_int_eq(compare_ids(&id, &back), 0);
}
END_TEST

START_TEST(id_parse_malformed_refused_untouched)
{
	static const char good[] = "00112233-4455-6677-8899-aabbccddeeff";
	static const char wrong[] = "g -/:@G`\x80\n\x01";
	struct blaze_id id, before;
	char text[40];

	memset(&id, 0x5a, sizeof(id));
	before = id;
	ck_assert_int_eq(blaze_id_parse(NULL, &id), -EINVAL);
	ck_assert_int_eq(blaze_id_parse(good, NULL), -EINVAL);
	/* Cut at every length. */
	for (size_t len = 0; len < 36; len++) {
		memcpy(text, good, sizeof(good));
		text[len] = '\0';
		ck_assert_int_eq(blaze_id_parse(text, &id), -EINVAL);
	}
	/* A wrong character at every place; a hyphen at a digit's, a digit at a hyphen's. */
	for (size_t at = 0; at < 36; at++) {
		for (size_t i = 0; i + 1 < sizeof(wrong); i++) {
			memcpy(text, good, sizeof(good));
			text[at] = good[at] == '-' && wrong[i] == '-' ? '0' : wrong[i];
			ck_assert_msg(blaze_id_parse(text, &id) == -EINVAL, "\"%s\"", text);
		}
	}
	ck_assert_int_eq(blaze_id_parse("00112233-4455-6677-8899-aabbccddeeff0", &id), -EINVAL);
	ck_assert_int_eq(blaze_id_parse("00112233-4455-6677-8899-aabbccddeeff ", &id), -EINVAL);
	ck_assert_int_eq(blaze_id_parse(" 00112233-4455-6677-8899-aabbccddeeff", &id), -EINVAL);
	ck_assert_int_eq(blaze_id_parse("{00112233-4455-6677-8899-aabbccddeeff}", &id), -EINVAL);
	ck_assert_int_eq(blaze_id_parse("00112233445566778899aabbccddeeff", &id), -EINVAL);
	ck_assert_int_eq(compare_ids(&id, &before), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("id");
	TCase *tcase = tcase_create("id");

	tcase_add_test(tcase, id_new_version_variant_time);
	tcase_add_test(tcase, id_threads_ascend_and_differ);
	tcase_add_test(tcase, id_made_after_join_is_above);
	tcase_add_test(tcase, stamp_clock_back_still_ascends);
	tcase_add_test(tcase, stamp_counter_full_borrows_next_ms);
	tcase_add_test(tcase, id_forked_child_repeats_nothing);
	tcase_add_test(tcase, id_text_round_trip);
	tcase_add_test(tcase, id_parse_malformed_refused_untouched);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	const int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
