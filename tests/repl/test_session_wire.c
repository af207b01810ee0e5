/* SPDX-License-Identifier: Apache-2.0 */
/* Session messages one by one: of each kind one that is valid, the bounds that are still valid, and
 * for each rule of session_wire.h one that breaks it and nothing else. */
#include "lib/repl/session_wire.h"

#include <check.h>

#include "tests/repl/session_pair.h"

static union {
	uint64_t words[BLAZEI_SESSION_MESSAGE_MAX / 8 + 4];
	struct blazei_session_header header;
	struct blazei_session_hello hello;
	struct blazei_session_refuse refuse;
	struct blazei_session_part part;
	struct blazei_session_snapshot snapshot;
	struct blazei_session_live live;
} message;

/* Begins with a message of this kind and size, all zero behind the header. */
static void begin(enum blazei_session_kind kind, size_t bytes)
{
	memset(&message, 0, sizeof(message));
	message.header.bytes = (uint32_t)bytes;
	message.header.kind = (uint8_t)kind;
	message.header.format = BLAZEI_SESSION_FORMAT;
	message.header.session = 7;
	message.header.number = 3;
	message.header.magic = BLAZEI_SESSION_MAGIC;
}

/* Checks it as it is, but for the sum. */
static int check(void)
{
	message_seal(&message.header);
	return blazei_session_check(&message, message.header.bytes);
}

/* Checks it with one field changed to a value that is not allowed, and changes it back. */
#define EXPECT_REFUSED(field, value)                                                               \
	do {                                                                                       \
		const __typeof__(message.field) was = message.field;                               \
		message.field = (value);                                                           \
		ck_assert_int_eq(check(), -EBADMSG);                                               \
		message.field = was;                                                               \
		ck_assert_int_eq(check(), 0);                                                      \
	} while (0)

/* Eight bytes more, or less, than the counts in it say. */
static void expect_size_matters(void)
{
	EXPECT_REFUSED(header.bytes, message.header.bytes + 8);
	EXPECT_REFUSED(header.bytes, message.header.bytes - 8);
	EXPECT_REFUSED(header.bytes, (uint32_t)sizeof(message.header));
}

static void hello_begin(unsigned count)
{
	begin(BLAZEI_KIND_HELLO,
	      sizeof(message.hello) + count * sizeof(struct blazei_session_entry));
	message.header.number = 0;
	message.hello.entry_count = count;
}

START_TEST(hello_rules)
{
	hello_begin(2);
	ck_assert_int_eq(check(), 0);
	message.hello.side = BLAZEI_SESSION_ANSWERER;
	EXPECT_REFUSED(hello.side, BLAZEI_SESSION_ANSWERER + 1);
	EXPECT_REFUSED(header.number, 1);
	EXPECT_REFUSED(header.flags, BLAZEI_SNAPSHOT_AGAIN);
	EXPECT_REFUSED(hello.entry_count, 1);
	EXPECT_REFUSED(hello.entry_count, 3);
	EXPECT_REFUSED(hello.entry_count, UINT32_MAX);
	expect_size_matters();
	hello_begin(1);
	ck_assert_int_eq(check(), 0);
	hello_begin(0);
	ck_assert_int_eq(check(), -EBADMSG);
	hello_begin(BLAZEI_ORIGINS_MAX);
	ck_assert_int_eq(check(), 0);
	hello_begin(BLAZEI_ORIGINS_MAX + 1);
	ck_assert_int_eq(check(), -EBADMSG);
}
END_TEST

START_TEST(refuse_rules)
{
	begin(BLAZEI_KIND_REFUSE, sizeof(message.refuse));
	message.refuse.reason = 1000;
	ck_assert_int_eq(check(), 0);
	EXPECT_REFUSED(refuse.reason, 0);
	EXPECT_REFUSED(refuse.reserved, 1);
	EXPECT_REFUSED(header.flags, BLAZEI_SNAPSHOT_AGAIN);
	expect_size_matters();
}
END_TEST

/* Transactions (0), a chunk (1). */
START_TEST(part_rules)
{
	const uint64_t cursor = _i ? 99 : 0;

	begin(_i ? BLAZEI_KIND_CHUNK : BLAZEI_KIND_TXNS, sizeof(message.part) + 64);
	message.part.total = 64;
	message.part.cursor = cursor;
	ck_assert_int_eq(check(), 0);
	EXPECT_REFUSED(header.flags, BLAZEI_SNAPSHOT_AGAIN);
	EXPECT_REFUSED(part.total, 56);
	EXPECT_REFUSED(part.total, 68);
	EXPECT_REFUSED(part.offset, 8);
	message.part.total = 128;
	message.part.offset = 64;
	EXPECT_REFUSED(part.offset, 60);
	EXPECT_REFUSED(part.offset, 128);
	EXPECT_REFUSED(part.offset, UINT64_MAX - 7);
	message.part.total = BLAZEI_TXN_BYTES_MAX;
	EXPECT_REFUSED(part.total, BLAZEI_TXN_BYTES_MAX + 8);
	EXPECT_REFUSED(part.total, UINT64_MAX - 7);
	/* Nothing of it is no part. */
	message.part.total = 128;
	EXPECT_REFUSED(header.bytes, (uint32_t)sizeof(message.part));
	EXPECT_REFUSED(header.bytes, (uint32_t)sizeof(message.part) - 8);
	if (!_i)
		EXPECT_REFUSED(part.cursor, 1);
	/* The longest one. */
	message.part.total = BLAZEI_TXN_BYTES_MAX;
	message.header.bytes = BLAZEI_SESSION_MESSAGE_MAX;
	EXPECT_REFUSED(header.bytes, BLAZEI_SESSION_MESSAGE_MAX + 8);
}
END_TEST

static void snapshot_begin(unsigned count)
{
	begin(BLAZEI_KIND_SNAPSHOT,
	      sizeof(message.snapshot) + count * sizeof(struct blazei_session_entry));
	message.snapshot.entry_count = count;
}

START_TEST(snapshot_rules)
{
	snapshot_begin(2);
	message.header.flags = BLAZEI_SNAPSHOT_AGAIN | BLAZEI_SNAPSHOT_WHOLE;
	ck_assert_int_eq(check(), 0);
	EXPECT_REFUSED(header.flags, 8);
	EXPECT_REFUSED(header.flags, 0x8000);
	EXPECT_REFUSED(snapshot.reserved, 1);
	EXPECT_REFUSED(snapshot.entry_count, 1);
	EXPECT_REFUSED(snapshot.entry_count, UINT32_MAX);
	expect_size_matters();
	/* One that is resumed has none. */
	snapshot_begin(0);
	message.header.flags = BLAZEI_SNAPSHOT_RESUMED;
	ck_assert_int_eq(check(), 0);
	snapshot_begin(BLAZEI_ORIGINS_MAX);
	ck_assert_int_eq(check(), 0);
	snapshot_begin(BLAZEI_ORIGINS_MAX + 1);
	ck_assert_int_eq(check(), -EBADMSG);
}
END_TEST

static void live_begin(unsigned count)
{
	begin(BLAZEI_KIND_LIVE, sizeof(message.live) + count * sizeof(struct blazei_session_entry));
	message.live.entry_count = count;
}

START_TEST(live_rules)
{
	live_begin(2);
	ck_assert_int_eq(check(), 0);
	EXPECT_REFUSED(header.flags, BLAZEI_SNAPSHOT_AGAIN);
	EXPECT_REFUSED(live.reserved, 1);
	EXPECT_REFUSED(live.entry_count, 3);
	EXPECT_REFUSED(live.entry_count, UINT32_MAX);
	expect_size_matters();
	live_begin(0);
	ck_assert_int_eq(check(), 0);
	live_begin(BLAZEI_ORIGINS_MAX + 1);
	ck_assert_int_eq(check(), -EBADMSG);
}
END_TEST

START_TEST(header_rules)
{
	live_begin(1);
	ck_assert_int_eq(check(), 0);
	EXPECT_REFUSED(header.magic, BLAZEI_SESSION_MAGIC + 1);
	EXPECT_REFUSED(header.kind, BLAZEI_KIND_HELLO - 1);
	EXPECT_REFUSED(header.kind, BLAZEI_KIND_LIVE + 1);
	EXPECT_REFUSED(header.kind, BLAZEI_KIND_REFUSE);
	message_seal(&message.header);
	ck_assert_int_eq(blazei_session_check(&message, message.header.bytes + 8), -EBADMSG);
	ck_assert_int_eq(blazei_session_check(&message, message.header.bytes - 8), -EBADMSG);
	ck_assert_int_eq(blazei_session_check(&message, sizeof(message.header) - 8), -EBADMSG);
	message.header.hash++;
	ck_assert_int_eq(blazei_session_check(&message, message.header.bytes), -EBADMSG);
	/* Not even a multiple of 8. */
	message.header.bytes += 4;
	ck_assert_int_eq(check(), -EBADMSG);
	/* Not where it could be read in place. */
	live_begin(1);
	message_seal(&message.header);
	memmove((uint8_t *)&message + 4, &message, message.header.bytes);
	ck_assert_int_eq(
	        blazei_session_check((uint8_t *)&message + 4,
	                             sizeof(message.live) + sizeof(struct blazei_session_entry)),
	        -EBADMSG);
}
END_TEST

/* Of another format nothing but the header is known, and that may be all there is. */
START_TEST(another_format_is_told_from_damage)
{
	live_begin(1);
	message.header.format++;
	ck_assert_int_eq(check(), -EPROTO);
	message.header.bytes = sizeof(message.header);
	message.header.kind = 200;
	ck_assert_int_eq(check(), -EPROTO);
	message.header.hash++;
	ck_assert_int_eq(blazei_session_check(&message, message.header.bytes), -EBADMSG);
	message.header.bytes = BLAZEI_SESSION_MESSAGE_MAX;
	ck_assert_int_eq(check(), -EPROTO);
	message.header.bytes = BLAZEI_SESSION_MESSAGE_MAX + 8;
	ck_assert_int_eq(check(), -EBADMSG);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session_wire");
	TCase *tcase = tcase_create("session_wire");

	tcase_add_test(tcase, hello_rules);
	tcase_add_test(tcase, refuse_rules);
	tcase_add_loop_test(tcase, part_rules, 0, 2);
	tcase_add_test(tcase, snapshot_rules);
	tcase_add_test(tcase, live_rules);
	tcase_add_test(tcase, header_rules);
	tcase_add_test(tcase, another_format_is_told_from_damage);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
