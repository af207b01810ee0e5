/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of a private lane that send what is no request, too little of one or too much: they are
 * told, nothing is done, and the database serves the next. And a holder without a descriptor for
 * one more. */
#include <malloc.h>
#include <sys/resource.h>

#include "tests/db/lane_raw.h"
#include "tests/op/help.h"

/* Requests that are none ---------------------------------------------------------------------- */

START_TEST(garbage_ends_its_own_lane)
{
	struct random_source source = random_source_new("test_lane_hostile");
	uint8_t bytes[600];

	patience_set(20 * BLAZEI_NS_PER_MS);
	for (unsigned round = 0; round < 200; round++) {
		const size_t len = 1 + random_below(&source, sizeof(bytes));
		int fd = round % 2 == 0 ? raw_connect() : raw_hello();

		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)random_bits(&source);
		/* Some that begin as a request does. */
		if (round % 4 == 3)
			memcpy(bytes, (uint8_t[16]){ (uint8_t)len, 0, 0, 0, round % 13 }, 16);
		(void)!send(fd, bytes, len, MSG_NOSIGNAL);
		shutdown(fd, SHUT_WR);
		while (!raw_ended(fd))
			;
		close(fd);
	}
}
END_TEST

/* A valid put, cut off behind each of its bytes. */
START_TEST(truncated_request_does_nothing)
{
	struct blazei_buffer message = { .max = 4096 };
	struct blaze_record *record = record_of("n", 1);
	struct blaze_id id = lane_id(1);
	struct blazei_lane_header header = { .kind = BLAZEI_LANE_PUT };

	ck_assert_int_eq(blazei_lane_put_entry(&message, &id, record), 0);
	header.bytes = (uint32_t)message.len;
	for (size_t len = 0; len < sizeof(header) + message.len; len++) {
		int fd = raw_hello();

		raw_send(fd, &header, len < sizeof(header) ? len : sizeof(header));
		if (len > sizeof(header))
			raw_send(fd, message.data, len - sizeof(header));
		shutdown(fd, SHUT_WR);
		ck_assert(raw_ended(fd));
		close(fd);
	}
	blazei_buffer_free(&message);
	blaze_record_free(record);
}
END_TEST

START_TEST(hello_that_is_none_is_refused)
{
	struct blazei_lane_hello hello = blazei_lane_hello_make();
	const struct blazei_lane_header get = { .kind = BLAZEI_LANE_GET, .bytes = 16 };
	struct blazei_lane_header answer;
	struct blaze_id id = lane_id(1);
	int fd = raw_connect();

	hello.major++;
	ck_assert_int_eq(raw_ask(fd, BLAZEI_LANE_HELLO, &hello, sizeof(hello)), -EPROTO);
	ck_assert(raw_ended(fd));
	close(fd);
	/* A later minor version is none of its business. */
	hello = blazei_lane_hello_make();
	hello.minor++;
	fd = raw_connect();
	ck_assert_int_eq(raw_ask(fd, BLAZEI_LANE_HELLO, &hello, sizeof(hello)), 0);
	/* A second one. */
	ck_assert_int_eq(raw_ask(fd, BLAZEI_LANE_HELLO, &hello, sizeof(hello)), -EBADMSG);
	ck_assert(raw_ended(fd));
	close(fd);
	hello.magic[3]++;
	fd = raw_connect();
	ck_assert_int_eq(raw_ask(fd, BLAZEI_LANE_HELLO, &hello, sizeof(hello)), -EBADMSG);
	ck_assert(raw_ended(fd));
	close(fd);
	fd = raw_connect();
	ck_assert_int_eq(raw_ask(fd, BLAZEI_LANE_HELLO, &hello, 8), -EBADMSG);
	ck_assert(raw_ended(fd));
	close(fd);
	/* None at all. */
	fd = raw_connect();
	raw_send(fd, &get, sizeof(get));
	raw_send(fd, &id, sizeof(id));
	ck_assert_int_eq(raw_answer(fd, &answer), -EBADMSG);
	ck_assert_uint_eq(answer.kind, BLAZEI_LANE_HELLO | BLAZEI_LANE_ANSWER);
	ck_assert(raw_ended(fd));
	close(fd);
}
END_TEST

START_TEST(header_with_what_has_no_meaning_is_refused)
{
	static const struct blazei_lane_header wrong[] = {
		{ .kind = BLAZEI_LANE_STAT, .flags = 1 },
		{ .kind = BLAZEI_LANE_STAT, .error = -1 },
		{ .kind = BLAZEI_LANE_STAT, .reserved = 1 },
		{ .kind = 0 },
		{ .kind = BLAZEI_LANE_STAT | BLAZEI_LANE_ANSWER },
		{ .kind = BLAZEI_LANE_STAT, .bytes = 1 },
	};
	struct blazei_lane_header answer;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		int fd = raw_hello();

		raw_send(fd, &wrong[i], sizeof(wrong[i]));
		raw_send(fd, "x", wrong[i].bytes);
		ck_assert_int_eq(raw_answer(fd, &answer), -EBADMSG);
		ck_assert(raw_ended(fd));
		close(fd);
	}
}
END_TEST

START_TEST(unknown_kind_is_answered_and_it_goes_on)
{
	int fd = raw_hello();

	ck_assert_int_eq(raw_ask(fd, 12, "abc", 3), -EOPNOTSUPP);
	ck_assert_int_eq(raw_ask(fd, 0x7fff, NULL, 0), -EOPNOTSUPP);
	ck_assert_int_eq(raw_ask(fd, BLAZEI_LANE_STAT, NULL, 0), 0);
	close(fd);
}
END_TEST

START_TEST(oversized_request_is_refused_unread)
{
	const struct blazei_lane_header header = {
		.kind = BLAZEI_LANE_BATCH,
		.bytes = BLAZEI_LANE_REQUEST_MAX + 1,
	};
	struct blazei_lane_header answer;
	int fd = raw_hello();

	raw_send(fd, &header, sizeof(header));
	ck_assert_int_eq(raw_answer(fd, &answer), -E2BIG);
	ck_assert(raw_ended(fd));
	close(fd);
}
END_TEST

/* Memory is taken for what came, not for what was announced. */
START_TEST(announced_bytes_take_no_memory)
{
	const struct blazei_lane_header header = {
		.kind = BLAZEI_LANE_BATCH,
		.bytes = BLAZEI_LANE_REQUEST_MAX,
	};
	struct mallinfo2 before, after;
	int fds[8];

	for (unsigned i = 0; i < 8; i++)
		fds[i] = raw_hello();
	before = mallinfo2();
	for (unsigned i = 0; i < 8; i++) {
		raw_send(fds[i], &header, sizeof(header));
		raw_send(fds[i], "x", 1);
	}
	/* Until each has taken what came. */
	blazei_sleep_ns(200 * BLAZEI_NS_PER_MS);
	after = mallinfo2();
	ck_assert_uint_lt(after.uordblks + after.hblkhd,
	                  before.uordblks + before.hblkhd + (8 << 20));
	for (unsigned i = 0; i < 8; i++)
		close(fds[i]);
}
END_TEST

/* Records that are none ----------------------------------------------------------------------- */

static void body_begin(struct blazei_buffer *body, uint32_t count)
{
	struct blaze_id id = lane_id(1);

	body->len = 0;
	ck_assert_int_eq(blazei_buffer_append(body, &id, sizeof(id)), 0);
	ck_assert_int_eq(blazei_buffer_append(body, &count, sizeof(count)), 0);
}

static void body_field(struct blazei_buffer *body, const char *name, size_t name_len,
                       const void *value, size_t len)
{
	const struct blazei_lane_field field = { (uint32_t)len, (uint8_t)name_len, { 0 } };

	ck_assert_int_eq(blazei_buffer_append(body, &field, sizeof(field)), 0);
	ck_assert_int_eq(blazei_buffer_append(body, name, name_len), 0);
	ck_assert_int_eq(blazei_buffer_append(body, value, len), 0);
}

/* The body is refused, by each request that has an entry, and ends the lane. */
static void expect_refused(struct blazei_buffer *body)
{
	struct blazei_buffer batch = { .max = body->max };
	const struct blazei_lane_entries head = { .count = 1 };
	const uint16_t kinds[] = { BLAZEI_LANE_PUT, BLAZEI_LANE_INSERT, BLAZEI_LANE_BATCH };

	ck_assert_int_eq(blazei_buffer_append(&batch, &head, sizeof(head)), 0);
	ck_assert_int_eq(blazei_buffer_append(&batch, body->data, body->len), 0);
	for (unsigned i = 0; i < 3; i++) {
		const struct blazei_buffer *sent = i == 2 ? &batch : body;
		int fd = raw_hello();

		ck_assert_int_eq(raw_ask(fd, kinds[i], sent->data, sent->len), -EBADMSG);
		ck_assert(raw_ended(fd));
		close(fd);
	}
	blazei_buffer_free(&batch);
}

START_TEST(records_that_are_none_are_refused)
{
	static const struct {
		const char *name[2];
		size_t name_len[2];
		const char *value[2];
		size_t len[2];
	} wrong[] = {
		{ { "b", "a" }, { 1, 1 }, { "\1", "\1" }, { 1, 1 } },       /* descending */
		{ { "a", "a" }, { 1, 1 }, { "\1", "\1" }, { 1, 1 } },       /* twice */
		{ { "aa", "b" }, { 2, 1 }, { "\1", "\1" }, { 1, 1 } },      /* the longer first */
		{ { "a\0b", "abcd" }, { 3, 4 }, { "\1", "\1" }, { 1, 1 } }, /* NUL */
		{ { "\xff", "abcd" }, { 1, 4 }, { "\1", "\1" }, { 1, 1 } }, /* no UTF-8 */
		{ { "a", "b" }, { 1, 1 }, { "\1", "\x18\1" }, { 1, 2 } },   /* not minimal */
		{ { "a", "b" }, { 1, 1 }, { "\1", "\1\1" }, { 1, 2 } },     /* two values */
		{ { "a", "b" }, { 1, 1 }, { "\1", "" }, { 1, 0 } },         /* none */
		{ { "a", "b" }, { 1, 1 }, { "\1", "\x9f\xff" }, { 1, 2 } }, /* indefinite */
	};
	struct blazei_buffer body = { .max = 1 << 20 };

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		body_begin(&body, 2);
		for (unsigned k = 0; k < 2; k++)
			body_field(&body, wrong[i].name[k], wrong[i].name_len[k], wrong[i].value[k],
			           wrong[i].len[k]);
		expect_refused(&body);
	}
	body_begin(&body, 1); /* something behind it */
	body_field(&body, "a", 1, "\1", 1);
	ck_assert_int_eq(blazei_buffer_append(&body, "x", 1), 0);
	expect_refused(&body);
	body_begin(&body, 1); /* bytes without a meaning */
	body_field(&body, "a", 1, "\1", 1);
	body.data[sizeof(struct blaze_id) + 4 + 5] = 1;
	expect_refused(&body);
	body_begin(&body, UINT32_MAX); /* more fields than bytes */
	body_field(&body, "a", 1, "\1", 1);
	expect_refused(&body);
	body_begin(&body, 1); /* a value longer than the rest */
	body_field(&body, "a", 1, "\1", 1);
	body.data[sizeof(struct blaze_id) + 4] = 200;
	expect_refused(&body);
	blazei_buffer_free(&body);
}
END_TEST

/* Beyond what programs may make: said, and no reason to end. */
START_TEST(record_beyond_the_limits_is_too_big)
{
	struct blazei_buffer body = { .max = 4 << 20 };
	uint8_t *value = calloc(1, 1 << 20);
	char name[8];
	int fd = raw_hello();

	body_begin(&body, 1025);
	for (unsigned i = 0; i < 1025; i++) {
		snprintf(name, sizeof(name), "%04u", i);
		body_field(&body, name, 4, "\1", 1);
	}
	ck_assert_int_eq(raw_ask(fd, BLAZEI_LANE_PUT, body.data, body.len), -E2BIG);
	body_begin(&body, 1);
	memcpy(value, "\x5a\x00\x0f\xff\xfb",
	       5); /* of 2^20 - 5 bytes, with a name of one: too long */
	body_field(&body, "a", 1, value, 1 << 20);
	ck_assert_int_eq(raw_ask(fd, BLAZEI_LANE_PUT, body.data, body.len), -E2BIG);
	ck_assert_int_eq(raw_ask(fd, BLAZEI_LANE_STAT, NULL, 0), 0);
	close(fd);
	free(value);
	blazei_buffer_free(&body);
}
END_TEST

/* Entries behind the first that are none, or are not there: nothing of the batch is done. */
START_TEST(batch_that_breaks_off_does_nothing)
{
	static const struct blazei_lane_entries heads[] = {
		{ 2, 0 }, { 3, 0 }, { 1, 0 }, { 2, 1 }, { 5000, 0 }
	};
	struct blazei_lane_scan scan = { .flags = 2 };
	struct blaze_record *record = record_of("n", 1);
	struct blaze_id id = lane_id(1);

	for (unsigned i = 0; i < 5; i++) {
		struct blazei_buffer body = { .max = 4096 };
		int fd = raw_hello();

		ck_assert_int_eq(blazei_buffer_append(&body, &heads[i], sizeof(heads[i])), 0);
		ck_assert_int_eq(blazei_lane_put_entry(&body, &id, record), 0);
		ck_assert_int_eq(blazei_lane_put_entry(&body, &id, record), 0);
		if (i == 0)
			body.data[body.len - 1] = 0xff;
		ck_assert_int_eq(raw_ask(fd, BLAZEI_LANE_BATCH, body.data, body.len), -EBADMSG);
		ck_assert(raw_ended(fd));
		close(fd);
		blazei_buffer_free(&body);
	}
	for (unsigned i = 0; i < 2; i++) {
		int fd = raw_hello();

		ck_assert_int_eq(raw_ask(fd, BLAZEI_LANE_SCAN, &scan, sizeof(scan)), -EBADMSG);
		close(fd);
		scan = (struct blazei_lane_scan){ .reserved = 1 };
	}
	blaze_record_free(record);
}
END_TEST

START_TEST(watch_out_of_turn_is_refused)
{
	const struct blazei_lane_header next = { .kind = BLAZEI_LANE_NEXT };
	struct blazei_lane_header answer;
	int fd = raw_hello();

	ck_assert_int_eq(raw_ask(fd, BLAZEI_LANE_NEXT, NULL, 0), -EINVAL);
	ck_assert_int_eq(raw_ask(fd, BLAZEI_LANE_WATCH, NULL, 0), 0);
	ck_assert_int_eq(raw_ask(fd, BLAZEI_LANE_WATCH, NULL, 0), -EEXIST);
	/* Speaks while it is to wait. */
	raw_send(fd, &next, sizeof(next));
	raw_send(fd, &next, sizeof(next));
	ck_assert_int_eq(raw_answer(fd, &answer), -EBADMSG);
	ck_assert(raw_ended(fd));
	close(fd);
}
END_TEST

/* Until there is one again it takes little, and then it serves who waited. */
START_TEST(holder_without_descriptors_rests)
{
	const struct blazei_lane_hello hello = blazei_lane_hello_make();
	const struct sockaddr_un address = lane_address();
	struct rlimit limit, low;
	uint64_t before;
	int fd = raw_connect();

	close(fd);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	/* Its thread for that one has ended. */
	blazei_sleep_ns(200 * BLAZEI_NS_PER_MS);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	low = (struct rlimit){ (rlim_t)fd + 1, limit.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	before = thread_ns(db->lane->thread);
	blazei_sleep_ns(1000 * BLAZEI_NS_PER_MS);
	ck_assert_uint_lt(thread_ns(db->lane->thread) - before, 100 * BLAZEI_NS_PER_MS);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(raw_ask(fd, BLAZEI_LANE_HELLO, &hello, sizeof(hello)), 0);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lane_hostile");
	TCase *tcase = tcase_create("lane_hostile");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, garbage_ends_its_own_lane);
	tcase_add_test(tcase, truncated_request_does_nothing);
	tcase_add_test(tcase, hello_that_is_none_is_refused);
	tcase_add_test(tcase, header_with_what_has_no_meaning_is_refused);
	tcase_add_test(tcase, unknown_kind_is_answered_and_it_goes_on);
	tcase_add_test(tcase, oversized_request_is_refused_unread);
	tcase_add_test(tcase, announced_bytes_take_no_memory);
	tcase_add_test(tcase, records_that_are_none_are_refused);
	tcase_add_test(tcase, record_beyond_the_limits_is_too_big);
	tcase_add_test(tcase, batch_that_breaks_off_does_nothing);
	tcase_add_test(tcase, watch_out_of_turn_is_refused);
	tcase_add_test(tcase, holder_without_descriptors_rests);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
