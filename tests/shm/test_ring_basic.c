/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing and polling in one process: sizes, order, at most once, start, limit, laps. */
#include "tests/shm/ring_test.h"

#include <stdlib.h>
#include <string.h>

static struct blaze_ring *writer, *reader;
static struct rt_collector seen;

/* Two participants, one of them a reader already. */
static void open_pair(const char *name, uint64_t budget)
{
	memset(&seen, 0, sizeof(seen));
	writer = rt_attach(name, RT_LANE_MIN, budget, 0);
	reader = rt_attach(name, RT_LANE_MIN, budget, 0);
	rt_begin(reader);
}

static void close_pair(void)
{
	ck_assert_uint_eq(seen.misaligned, 0);
	ck_assert_uint_eq(seen.bad_counts, 0);
	rt_collector_clear(&seen);
	blaze_ring_detach(writer);
	blaze_ring_detach(reader);
}

static int poll_all(unsigned limit)
{
	return blaze_ring_poll(reader, rt_collect, &seen, limit);
}

/* A handler that compares one record with what it should be. */
struct expected {
	const uint8_t *data;
	size_t len;
	unsigned calls;
};

static int expect(void *arg, const struct blaze_ring_record *records, unsigned count)
{
	struct expected *expected = arg;

	expected->calls++;
	ck_assert_uint_eq(count, 1);
	ck_assert_ptr_nonnull(records[0].data);
	ck_assert_uint_eq((uintptr_t)records[0].data % 8, 0);
	ck_assert_uint_eq(records[0].len, expected->len);
	ck_assert_mem_eq(records[0].data, expected->data, expected->len);
	return 0;
}

START_TEST(publish_every_size_arrives_whole)
{
	const size_t max = RT_RECORD_MAX(RT_LANE_MIN);
	uint8_t *data = malloc(max + 1);
	unsigned published = 0;

	open_pair(rt_name("sizes"), 0);
	ck_assert_ptr_nonnull(data);
	for (size_t len = 0; len <= max; len += len < 300 ? 1 : len < max - 20 ? 311 : 1) {
		struct expected expected = { data, len, 0 };

		for (size_t i = 0; i < len; i++)
			data[i] = (uint8_t)(i * 31 + len);
		ck_assert_int_eq(blaze_ring_publish(writer, data, len), 0);
		ck_assert_int_eq(blaze_ring_poll(reader, expect, &expected, 0), 1);
		ck_assert_uint_eq(expected.calls, 1);
		published++;
	}
	ck_assert_uint_gt(published, 300);
	ck_assert_int_eq(blaze_ring_publish(writer, data, max), 0);
	ck_assert_int_eq(blaze_ring_publish(writer, data, max + 1), -EMSGSIZE);
	ck_assert_int_eq(blaze_ring_publish(writer, data, SIZE_MAX), -EMSGSIZE);
	ck_assert_int_eq(poll_all(0), 1);
	ck_assert_int_eq(poll_all(0), 0);
	free(data);
	close_pair();
}
END_TEST

START_TEST(publish_many_in_order_at_most_once)
{
	uint64_t seq = 0, before = 0, next = 0;
	uint64_t position = UINT64_MAX;

	open_pair(rt_name("order"), 0);
	for (unsigned round = 0; round < 200; round++) {
		size_t len = RT_STAMP_BYTES + round % 41;

		ck_assert_int_eq(rt_publish(writer, 1 + round % 300, len, &seq), 0);
		seen.count = 0;
		for (int r = 1; r > 0;)
			r = poll_all(0);
		for (size_t i = 0; i < seen.count; i++) {
			uint64_t got, unused;

			ck_assert(rt_check(seen.seen[i].data, len, &got, &unused));
			ck_assert_uint_eq(got, next++);
			if (position == UINT64_MAX)
				position = seen.seen[i].position;
			ck_assert_uint_eq(seen.seen[i].position, position + before);
			before += rt_stride(len);
		}
		ck_assert_uint_eq(next, seq);
	}
	ck_assert_int_eq(poll_all(0), 0);
	close_pair();
}
END_TEST

START_TEST(publishv_one_publication_in_order)
{
	static uint8_t data[1024];
	struct iovec records[1024];

	open_pair(rt_name("vector"), 0);
	for (unsigned i = 0; i < 1024; i++) {
		data[i] = (uint8_t)(i * 3);
		records[i] = (struct iovec){ &data[i], i % 2 };
	}
	ck_assert_int_eq(blaze_ring_publishv(writer, records, 0), -EINVAL);
	ck_assert_int_eq(blaze_ring_publishv(writer, records, 1025), -EINVAL);
	ck_assert_int_eq(poll_all(0), 0);
	ck_assert_int_eq(blaze_ring_publishv(writer, records, 1024), 0);
	ck_assert_int_eq(poll_all(0), 1024);
	ck_assert_uint_ge(seen.calls, 4);
	for (unsigned i = 0; i < 1024; i++) {
		ck_assert_uint_eq(seen.seen[i].len, i % 2);
		if (i % 2)
			ck_assert_uint_eq(seen.seen[i].data[0], data[i]);
	}
	close_pair();
}
END_TEST

START_TEST(publishv_beyond_quarter_lane_emsgsize)
{
	static uint8_t data[RT_LANE_MIN];
	struct iovec records[4];
	const size_t quarter = RT_LANE_MIN / 4;

	open_pair(rt_name("vectorsize"), 0);
	for (unsigned i = 0; i < 4; i++)
		records[i] = (struct iovec){ data, quarter / 4 - 8 };
	ck_assert_int_eq(blaze_ring_publishv(writer, records, 4), 0);
	ck_assert_int_eq(poll_all(0), 4);
	records[3].iov_len++;
	ck_assert_int_eq(blaze_ring_publishv(writer, records, 4), -EMSGSIZE);
	records[3].iov_len = SIZE_MAX - 4;
	ck_assert_int_eq(blaze_ring_publishv(writer, records, 4), -EMSGSIZE);
	ck_assert_int_eq(poll_all(0), 0);
	close_pair();
}
END_TEST

START_TEST(reserve_commit_publishes_together)
{
	void *first = NULL, *second = NULL;

	open_pair(rt_name("reserve"), 0);
	ck_assert_int_eq(blaze_ring_commit(writer), -EINVAL);
	ck_assert_int_eq(blaze_ring_reserve(writer, 5, &first), 0);
	ck_assert_int_eq(blaze_ring_reserve(writer, 3, &second), 0);
	ck_assert_uint_eq((uintptr_t)first % 8 + (uintptr_t)second % 8, 0);
	memcpy(first, "first", 5);
	memcpy(second, "two", 3);
	ck_assert_int_eq(poll_all(0), 0);
	ck_assert_int_eq(blaze_ring_publish(writer, "x", 1), -EBUSY);
	ck_assert_int_eq(blaze_ring_publishv(writer, &(struct iovec){ "x", 1 }, 1), -EBUSY);
	ck_assert_int_eq(blaze_ring_commit(writer), 0);
	ck_assert_int_eq(blaze_ring_commit(writer), -EINVAL);
	ck_assert_int_eq(poll_all(0), 2);
	ck_assert_uint_eq(seen.seen[0].len, 5);
	ck_assert_mem_eq(seen.seen[0].data, "first", 5);
	ck_assert_uint_eq(seen.seen[1].len, 3);
	ck_assert_mem_eq(seen.seen[1].data, "two", 3);
	close_pair();
}
END_TEST

START_TEST(abort_forgets_reservations)
{
	void *data = NULL;

	open_pair(rt_name("abort"), 0);
	blaze_ring_abort(writer);
	for (unsigned i = 0; i < 1000; i++) {
		ck_assert_int_eq(blaze_ring_reserve(writer, 5000, &data), 0);
		memset(data, 0xff, 5000);
		ck_assert_int_eq(blaze_ring_reserve(writer, 100, &data), 0);
		blaze_ring_abort(writer);
		ck_assert_int_eq(blaze_ring_commit(writer), -EINVAL);
		if (i % 10)
			continue;
		ck_assert_int_eq(blaze_ring_publish(writer, &i, sizeof(i)), 0);
		seen.count = 0;
		ck_assert_int_eq(poll_all(0), 1);
		ck_assert_mem_eq(seen.seen[0].data, &i, sizeof(i));
	}
	close_pair();
}
END_TEST

START_TEST(reserve_beyond_quarter_lane_emsgsize)
{
	const size_t quarter = RT_LANE_MIN / 4;
	void *data = NULL;

	open_pair(rt_name("reservesize"), 0);
	ck_assert_int_eq(blaze_ring_reserve(writer, quarter - 7, &data), -EMSGSIZE);
	ck_assert_ptr_null(data);
	ck_assert_int_eq(blaze_ring_commit(writer), -EINVAL);
	ck_assert_int_eq(blaze_ring_reserve(writer, quarter / 2 - 8, &data), 0);
	ck_assert_int_eq(blaze_ring_reserve(writer, quarter / 2 - 7, &data), -EMSGSIZE);
	/* What was reserved before the refusal is still there. */
	ck_assert_int_eq(blaze_ring_reserve(writer, quarter / 2 - 8, &data), 0);
	ck_assert_int_eq(blaze_ring_commit(writer), 0);
	ck_assert_int_eq(poll_all(0), 2);
	close_pair();
}
END_TEST

START_TEST(read_only_publishes_nothing_and_reads)
{
	const char *name = rt_name("readonly");
	void *data = NULL;

	memset(&seen, 0, sizeof(seen));
	writer = rt_attach(name, RT_LANE_MIN, 0, 0);
	reader = rt_attach(name, 0, 0, BLAZE_RING_READ_ONLY);
	rt_begin(reader);
	ck_assert_int_eq(blaze_ring_publish(reader, "x", 1), -EROFS);
	ck_assert_int_eq(blaze_ring_publishv(reader, &(struct iovec){ "x", 1 }, 1), -EROFS);
	ck_assert_int_eq(blaze_ring_reserve(reader, 1, &data), -EROFS);
	ck_assert_int_eq(blaze_ring_publish(writer, "y", 1), 0);
	ck_assert_int_eq(poll_all(0), 1);
	close_pair();
}
END_TEST

START_TEST(poll_starts_at_tail_of_older_lanes_and_head_of_younger)
{
	const char *name = rt_name("start");
	struct blaze_ring *younger;
	uint64_t seq = 0;

	memset(&seen, 0, sizeof(seen));
	writer = rt_attach(name, RT_LANE_MIN, 0, 0);
	reader = rt_attach(name, RT_LANE_MIN, 0, 0);
	/* Not yet a reader: it has not polled. */
	ck_assert_int_eq(blaze_ring_publish(writer, "before", 6), 0);
	ck_assert_int_eq(poll_all(0), 0);
	ck_assert_int_eq(blaze_ring_publish(writer, "after", 5), 0);
	younger = rt_attach(name, RT_LANE_MIN, 0, 0);
	ck_assert_int_eq(rt_publish(younger, 3, RT_STAMP_BYTES, &seq), 0);
	while (poll_all(0) > 0) {
	}
	ck_assert_uint_eq(seen.count, 4);
	for (size_t i = 0, from_younger = 0; i < seen.count; i++) {
		uint64_t got, unused;

		if (seen.seen[i].len == 5) {
			ck_assert_mem_eq(seen.seen[i].data, "after", 5);
			continue;
		}
		ck_assert(rt_check(seen.seen[i].data, seen.seen[i].len, &got, &unused));
		ck_assert_uint_eq(got, from_younger++);
	}
	blaze_ring_detach(younger);
	close_pair();
}
END_TEST

START_TEST(wait_makes_a_reader_like_poll)
{
	const char *name = rt_name("waitstart");

	memset(&seen, 0, sizeof(seen));
	writer = rt_attach(name, RT_LANE_MIN, 0, 0);
	reader = rt_attach(name, RT_LANE_MIN, 0, 0);
	ck_assert_int_eq(blaze_ring_publish(writer, "before", 6), 0);
	ck_assert_int_eq(blaze_ring_wait(reader, 0), -ETIMEDOUT);
	ck_assert_int_eq(blaze_ring_publish(writer, "after", 5), 0);
	ck_assert_int_eq(blaze_ring_wait(reader, BLAZE_FOREVER), 0);
	ck_assert_int_eq(poll_all(0), 1);
	ck_assert_mem_eq(seen.seen[0].data, "after", 5);
	close_pair();
}
END_TEST

START_TEST(poll_skips_own_lane)
{
	open_pair(rt_name("own"), 0);
	ck_assert_int_eq(blaze_ring_publish(reader, "mine", 4), 0);
	ck_assert_int_eq(poll_all(0), 0);
	ck_assert_int_eq(blaze_ring_wait(reader, 0), -ETIMEDOUT);
	ck_assert_int_eq(blaze_ring_publish(writer, "yours", 5), 0);
	ck_assert_int_eq(poll_all(0), 1);
	ck_assert_uint_eq(seen.seen[0].len, 5);
	close_pair();
}
END_TEST

START_TEST(poll_handler_negative_batch_stays)
{
	uint64_t seq = 0;

	open_pair(rt_name("negative"), 0);
	ck_assert_int_eq(rt_publish(writer, 10, 32, &seq), 0);
	seen.verdict = -EXDEV;
	for (unsigned i = 0; i < 3; i++) {
		uint64_t got, unused;

		seen.count = 0;
		ck_assert_int_eq(poll_all(0), -EXDEV);
		ck_assert_uint_eq(seen.count, 10);
		ck_assert(rt_check(seen.seen[0].data, 32, &got, &unused));
		ck_assert_uint_eq(got, 0);
	}
	seen.verdict = 0;
	seen.count = 0;
	ck_assert_int_eq(poll_all(0), 10);
	ck_assert_uint_eq(seen.count, 10);
	ck_assert_int_eq(poll_all(0), 0);
	close_pair();
}
END_TEST

/* Takes the first batch, refuses the second. */
static int refuse_second(void *arg, const struct blaze_ring_record *records, unsigned count)
{
	struct rt_collector *collector = arg;

	rt_collect(collector, records, count);
	return collector->calls == 2 ? -EXDEV : 0;
}

START_TEST(poll_handler_negative_earlier_batches_consumed)
{
	uint64_t seq = 0, got, unused;
	size_t taken, first_batch;

	open_pair(rt_name("second"), 0);
	ck_assert_int_eq(rt_publish(writer, 600, 16, &seq), 0);
	ck_assert_int_eq(blaze_ring_poll(reader, refuse_second, &seen, 0), -EXDEV);
	taken = seen.count;
	ck_assert_uint_gt(taken, 1);
	seen.count = 0;
	ck_assert_int_gt(poll_all(0), 0);
	ck_assert(rt_check(seen.seen[0].data, 16, &got, &unused));
	first_batch = (size_t)got;
	ck_assert_uint_gt(first_batch, 0);
	ck_assert_uint_lt(first_batch, taken);
	while (poll_all(0) > 0) {
	}
	ck_assert_uint_eq(first_batch + seen.count, 600);
	close_pair();
}
END_TEST

START_TEST(poll_limit_respected)
{
	uint64_t seq = 0;

	open_pair(rt_name("limit"), 0);
	ck_assert_int_eq(rt_publish(writer, 300, 16, &seq), 0);
	ck_assert_int_eq(poll_all(1), 1);
	ck_assert_int_eq(poll_all(7), 7);
	ck_assert_uint_eq(seen.count, 8);
	ck_assert_int_eq(poll_all(290), 290);
	ck_assert_int_eq(poll_all(100), 2);
	ck_assert_int_eq(poll_all(1), 0);
	for (size_t i = 0; i < 300; i++) {
		uint64_t got, unused;

		ck_assert(rt_check(seen.seen[i].data, 16, &got, &unused));
		ck_assert_uint_eq(got, i);
	}
	close_pair();
}
END_TEST

START_TEST(poll_null_handler_einval)
{
	open_pair(rt_name("nullhandler"), 0);
	ck_assert_int_eq(blaze_ring_poll(reader, NULL, NULL, 0), -EINVAL);
	close_pair();
}
END_TEST

static int answer(void *arg, const struct blaze_ring_record *records, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		ck_assert_int_eq(blaze_ring_publish(arg, records[i].data, records[i].len), 0);
	return 0;
}

START_TEST(handler_may_publish)
{
	open_pair(rt_name("answer"), 0);
	ck_assert_int_eq(blaze_ring_poll(writer, rt_collect, &seen, 0), 0);
	ck_assert_int_eq(blaze_ring_publish(writer, "question", 8), 0);
	ck_assert_int_eq(blaze_ring_poll(reader, answer, reader, 0), 1);
	ck_assert_int_eq(blaze_ring_poll(writer, rt_collect, &seen, 0), 1);
	ck_assert_mem_eq(seen.seen[0].data, "question", 8);
	close_pair();
}
END_TEST

START_TEST(lap_reported_with_its_size_then_reading_goes_on)
{
	const size_t len = 1000;
	uint64_t seq = 0, got = 0, before = 0, unused;
	struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;
	size_t laps = 0;

	open_pair(rt_name("lap"), BLAZE_NO_STALL);
	ck_assert_int_eq(rt_publish(writer, 3, len, &seq), 0);
	ck_assert_int_eq(poll_all(0), 3);
	ck_assert_int_eq(rt_publish(writer, 200, len, &seq), 0);
	seen.count = 0;
	ck_assert_int_eq(poll_all(0), -ESTALE);
	ck_assert_int_eq(rt_publish(writer, 4, len, &seq), 0);
	while (poll_all(0) > 0) {
	}
	ck_assert_uint_ge(seen.count, 5);
	ck_assert(seen.seen[0].lap);
	ck_assert_uint_gt(seen.seen[0].len, 0);
	for (size_t i = 0; i < seen.count; i++)
		laps += seen.seen[i].lap;
	ck_assert_uint_eq(laps, 1);
	ck_assert(rt_check(seen.seen[1].data, RT_KEPT_BYTES, &got, &before));
	/* The gap in bytes is exactly what lies between the last read record and the next. */
	ck_assert_uint_eq(seen.seen[0].len, (got - 3) * rt_stride(len));
	ck_assert_uint_eq(seen.count - 1, 207 - got);
	ck_assert(rt_check(seen.seen[seen.count - 1].data, RT_KEPT_BYTES, &got, &unused));
	ck_assert_uint_eq(got, 206);
	ck_assert_int_eq(blaze_ring_stats(reader, &stats), 0);
	ck_assert_uint_eq(stats.laps, 1);
	ck_assert_uint_eq(stats.lap_bytes, seen.seen[0].len);
	ck_assert_int_eq(blaze_ring_stats(writer, &stats), 0);
	ck_assert_uint_eq(stats.stalls, 0);
	close_pair();
}
END_TEST

START_TEST(lap_within_a_reservation_reported)
{
	static uint8_t data[16000];
	uint64_t seq = 0;
	void *place = NULL;

	open_pair(rt_name("lapreserve"), BLAZE_NO_STALL);
	ck_assert_int_eq(blaze_ring_publish(writer, "old", 3), 0);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(blaze_ring_publish(writer, data, sizeof(data)), 0);
	/* The next one takes the place of the oldest, although it is not published yet. */
	ck_assert_int_eq(blaze_ring_reserve(writer, 16000, &place), 0);
	memset(place, 0xff, 16000);
	ck_assert_int_eq(poll_all(0), -ESTALE);
	ck_assert(seen.seen[0].lap);
	blaze_ring_abort(writer);
	ck_assert_int_eq(rt_publish(writer, 1, 16, &seq), 0);
	seen.count = 0;
	while (poll_all(0) > 0) {
	}
	ck_assert_uint_ge(seen.count, 1);
	ck_assert_uint_eq(seen.seen[seen.count - 1].len, 16);
	close_pair();
}
END_TEST

START_TEST(detached_publisher_records_stay_readable)
{
	uint64_t seq = 0;

	open_pair(rt_name("left"), 0);
	ck_assert_int_eq(rt_publish(writer, 40, 100, &seq), 0);
	blaze_ring_detach(writer);
	writer = NULL;
	ck_assert_int_eq(blaze_ring_wait(reader, BLAZE_FOREVER), 0);
	ck_assert_int_eq(poll_all(0), 40);
	close_pair();
}
END_TEST

START_TEST(lone_participant_publishes_without_pressure)
{
	struct blaze_ring *ring = rt_attach(rt_name("alone"), RT_LANE_MIN, BLAZE_FOREVER, 0);
	uint64_t seq = 0;

	/* Nobody reads: not even a lossless ring has anyone to wait for. */
	ck_assert_int_eq(rt_publish(ring, 1000, 1000, &seq), 0);
	blaze_ring_detach(ring);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring basic");
	TCase *tcase = tcase_create("basic");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, publish_every_size_arrives_whole);
	tcase_add_test(tcase, publish_many_in_order_at_most_once);
	tcase_add_test(tcase, publishv_one_publication_in_order);
	tcase_add_test(tcase, publishv_beyond_quarter_lane_emsgsize);
	tcase_add_test(tcase, reserve_commit_publishes_together);
	tcase_add_test(tcase, abort_forgets_reservations);
	tcase_add_test(tcase, reserve_beyond_quarter_lane_emsgsize);
	tcase_add_test(tcase, read_only_publishes_nothing_and_reads);
	tcase_add_test(tcase, poll_starts_at_tail_of_older_lanes_and_head_of_younger);
	tcase_add_test(tcase, wait_makes_a_reader_like_poll);
	tcase_add_test(tcase, poll_skips_own_lane);
	tcase_add_test(tcase, poll_handler_negative_batch_stays);
	tcase_add_test(tcase, poll_handler_negative_earlier_batches_consumed);
	tcase_add_test(tcase, poll_limit_respected);
	tcase_add_test(tcase, poll_null_handler_einval);
	tcase_add_test(tcase, handler_may_publish);
	tcase_add_test(tcase, lap_reported_with_its_size_then_reading_goes_on);
	tcase_add_test(tcase, lap_within_a_reservation_reported);
	tcase_add_test(tcase, detached_publisher_records_stay_readable);
	tcase_add_test(tcase, lone_participant_publishes_without_pressure);
	suite_add_tcase(suite, tcase);
	return rt_main(suite);
}
