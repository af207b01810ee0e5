/* SPDX-License-Identifier: Apache-2.0 */
/* The encoders of values, what they encode read back, and the text that they take. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "lib/op/value.h"
#include "tests/op/help.h"

static void expect_encoded(const uint8_t *got, size_t len, const char *hex)
{
	uint8_t bytes[64];
	enum blaze_type type;

	ck_assert_uint_eq(len, from_hex(hex, bytes, sizeof(bytes)));
	ck_assert_mem_eq(got, bytes, len);
	ck_assert_int_eq(check_exact(got, len, &type), 0);
}

START_TEST(encode_int_shortest)
{
	static const struct {
		int64_t value;
		const char *hex;
	} cases[] = {
		{ 0, "00" },
		{ 23, "17" },
		{ 24, "1818" },
		{ 255, "18ff" },
		{ 256, "190100" },
		{ 65535, "19ffff" },
		{ 65536, "1a00010000" },
		{ 4294967295, "1affffffff" },
		{ 4294967296, "1b0000000100000000" },
		{ INT64_MAX, "1b7fffffffffffffff" },
		{ -1, "20" },
		{ -24, "37" },
		{ -25, "3818" },
		{ -256, "38ff" },
		{ -257, "390100" },
		{ INT64_MIN, "3b7fffffffffffffff" },
	};
	uint8_t buf[BLAZEI_VALUE_SMALL_MAX];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const size_t len = blazei_encode_int(buf, sizeof(buf), cases[i].value);

		expect_encoded(buf, len, cases[i].hex);
		ck_assert_int_eq(blazei_decode_int(buf, len), cases[i].value);
	}
}
END_TEST

START_TEST(encode_double_shortest)
{
	static const struct {
		double value;
		const char *hex;
	} cases[] = {
		{ 0.0, "f90000" },
		{ -0.0, "f98000" },
		{ 1.0, "f93c00" },
		{ 1.1, "fb3ff199999999999a" },
		{ 1.5, "f93e00" },
		{ 65504.0, "f97bff" },
		{ 65505.0, "fa477fe100" },
		{ 65536.0, "fa47800000" },
		{ 100000.0, "fa47c35000" },
		{ 3.4028234663852886e+38, "fa7f7fffff" },
		{ -3.4028234663852886e+38, "faff7fffff" },
		{ -3.4028234663852889e+38, "fbc7efffffe0000001" },
		{ 3.4028234663852889e+38, "fb47efffffe0000001" },
		{ 1e300, "fb7e37e43c8800759c" },
		{ 5.960464477539063e-8, "f90001" },
		{ 2.9802322387695312e-8, "fa33000000" }, /* half of it */
		{ 6.097555160522461e-05, "f903ff" },     /* the largest 16-bit subnormal */
		{ 0.00006103515625, "f90400" },
		{ -4.0, "f9c400" },
		{ -4.1, "fbc010666666666666" },
		{ 5e-324, "fb0000000000000001" },
		{ (double)INFINITY, "f97c00" },
		{ -(double)INFINITY, "f9fc00" },
		{ (double)NAN, "f97e00" },
		{ -(double)NAN, "f97e00" },
	};
	uint8_t buf[BLAZEI_VALUE_SMALL_MAX];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		expect_encoded(buf, blazei_encode_double(buf, sizeof(buf), cases[i].value),
		               cases[i].hex);
}
END_TEST

START_TEST(encode_double_every_half_kept)
{
	for (unsigned bits = 0; bits <= UINT16_MAX; bits++) {
		const uint8_t half[3] = { 0xf9, (uint8_t)(bits >> 8), (uint8_t)bits };
		const bool nan = (bits & 0x7c00) == 0x7c00 && (bits & 0x3ff) != 0;
		uint8_t buf[BLAZEI_VALUE_SMALL_MAX];
		enum blaze_type type;
		bool kept;

		if (nan && bits != 0x7e00) {
			kept = blazei_value_check(half, sizeof(half), &type) == -EBADMSG;
		} else {
			const double value = blazei_decode_double(half, sizeof(half));

			kept = blazei_value_check(half, sizeof(half), &type) == 0 &&
			       blazei_encode_double(buf, sizeof(buf), value) == sizeof(half) &&
			       memcmp(buf, half, sizeof(half)) == 0;
		}
		if (!kept) /* an assertion costs more than all of the above */
			ck_abort_msg("f9%04x", bits);
	}
}
END_TEST

/* What a double's encoding must take: floats of 32 bits are tried by conversion, those of 16 are
 * known from the test above, so here only their bound from below is looked at. */
START_TEST(encode_double_random_kept)
{
	struct random_source source = random_source_new("encode_double_random");

	for (unsigned i = 0; i < 30000; i++) {
		uint64_t bits = random_bits(&source);
		uint8_t buf[BLAZEI_VALUE_SMALL_MAX];
		double value, back;
		float single;
		size_t len;

		memcpy(&single, &bits, sizeof(single));
		memcpy(&value, &bits, sizeof(value));
		if (i % 2)
			value = (double)single;
		len = blazei_encode_double(buf, sizeof(buf), value);
		back = blazei_decode_double(buf, len);
		if (isnan(value)) {
			ck_assert_uint_eq(len, 3);
			continue;
		}
		ck_assert_mem_eq(&back, &value, sizeof(value));
		if (i % 2)
			ck_assert_uint_le(len, 5);
		if (len == 9)
			ck_assert(fabs(value) > 3.5e38 || (double)(float)value != value);
	}
}
END_TEST

START_TEST(encode_others_as_stated)
{
	const struct blaze_id id = { { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 } };
	uint8_t buf[64];
	struct blaze_id back;
	size_t len;

	expect_encoded(buf, blazei_encode_null(buf, sizeof(buf)), "f6");
	expect_encoded(buf, blazei_encode_bool(buf, sizeof(buf), false), "f4");
	expect_encoded(buf, blazei_encode_bool(buf, sizeof(buf), true), "f5");
	expect_encoded(buf, blazei_encode_text(buf, sizeof(buf), "IETF", 4), "6449455446");
	expect_encoded(buf, blazei_encode_text(buf, sizeof(buf), NULL, 0), "60");
	expect_encoded(buf, blazei_encode_bytes(buf, sizeof(buf), "\1\2\3\4", 4), "4401020304");
	expect_encoded(buf, blazei_encode_bytes(buf, sizeof(buf), NULL, 0), "40");
	ck_assert_ptr_eq(blazei_decode_content(buf, 1, &len), buf + 1);
	ck_assert_uint_eq(len, 0);
	len = blazei_encode_uuid(buf, sizeof(buf), &id);
	expect_encoded(buf, len, "d82550000102030405060708090a0b0c0d0e0f");
	blazei_decode_uuid(buf, &back);
	ck_assert_mem_eq(&back, &id, sizeof(id));
	len = blazei_encode_array_head(buf, sizeof(buf), 25);
	ck_assert_uint_eq(len, 2);
	ck_assert_mem_eq(buf, "\x98\x19", 2);
	len = blazei_encode_map_head(buf, sizeof(buf), 3);
	ck_assert_uint_eq(len, 1);
	ck_assert_uint_eq(buf[0], 0xa3);
}
END_TEST

START_TEST(encode_time_kept)
{
	static const uint64_t times[] = { 0,         1, 999999999, 1000000000, 1700000000123456789,
		                          UINT64_MAX };
	uint8_t buf[BLAZEI_VALUE_SMALL_MAX];

	for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
		const size_t len = blazei_encode_time(buf, sizeof(buf), times[i]);
		enum blaze_type type;

		ck_assert_int_eq(check_exact(buf, len, &type), 0);
		ck_assert_int_eq(type, BLAZE_TYPE_TIME);
		ck_assert_uint_eq(blazei_decode_time(buf, len), times[i]);
	}
	expect_encoded(buf, blazei_encode_time(buf, sizeof(buf), 5000000007), "d903e9a201052807");
	ck_assert_uint_eq(blazei_encode_time(buf, sizeof(buf), UINT64_MAX), BLAZEI_VALUE_SMALL_MAX);
}
END_TEST

/* Encodes case number i of a few into buf, of which cap bytes may be used. */
static size_t encode_case(unsigned i, uint8_t *buf, size_t cap)
{
	static const struct blaze_id id;

	switch (i) {
	case 0:
		return blazei_encode_null(buf, cap);
	case 1:
		return blazei_encode_bool(buf, cap, true);
	case 2:
		return blazei_encode_int(buf, cap, INT64_MIN);
	case 3:
		return blazei_encode_double(buf, cap, 1.0);
	case 4:
		return blazei_encode_double(buf, cap, 100000.0);
	case 5:
		return blazei_encode_double(buf, cap, 1.1);
	case 6:
		return blazei_encode_text(buf, cap, "IETF", 4);
	case 7:
		return blazei_encode_bytes(buf, cap, "1234567890123456789012345", 25);
	case 8:
		return blazei_encode_time(buf, cap, UINT64_MAX);
	case 9:
		return blazei_encode_uuid(buf, cap, &id);
	case 10:
		return blazei_encode_array_head(buf, cap, 300);
	default:
		return blazei_encode_map_head(buf, cap, 70000);
	}
}

START_TEST(encode_without_room_returns_zero)
{
	for (unsigned i = 0; i < 12; i++) {
		uint8_t buf[64];
		const size_t len = encode_case(i, buf, sizeof(buf));

		ck_assert_uint_gt(len, 0);
		for (size_t cap = 0; cap < len; cap++) {
			memset(buf, 0xee, sizeof(buf));
			ck_assert_uint_eq(encode_case(i, buf, cap), 0);
			for (size_t at = cap; at < sizeof(buf); at++)
				ck_assert_uint_eq(buf[at], 0xee);
		}
		ck_assert_uint_eq(encode_case(i, buf, len), len);
	}
}
END_TEST

START_TEST(utf8_edges_told_apart)
{
	static const struct {
		const char *text;
		bool valid;
	} cases[] = {
		{ "", true },
		{ "a", true },
		{ "\x7f", true },
		{ "\xc2\x80", true },
		{ "\xdf\xbf", true },
		{ "\xe0\xa0\x80", true },
		{ "\xed\x9f\xbf", true },
		{ "\xee\x80\x80", true },
		{ "\xef\xbf\xbf", true },
		{ "\xf0\x90\x80\x80", true },
		{ "\xf4\x8f\xbf\xbf", true },
		{ "\x80", false },
		{ "\xbf", false },
		{ "\xc0\x80", false },
		{ "\xc1\xbf", false },
		{ "\xc2", false },
		{ "\xc2\x41", false },
		{ "\xc2\xc0", false },
		{ "\xe0\x9f\xbf", false },
		{ "\xe0\xa0", false },
		{ "\xe1\x80\x41", false },
		{ "\xed\xa0\x80", false },
		{ "\xed\xbf\xbf", false },
		{ "\xf0\x8f\xbf\xbf", false },
		{ "\xf0\x90\x80", false },
		{ "\xf1\x80\x80\xc0", false },
		{ "\xf4\x90\x80\x80", false },
		{ "\xf5\x80\x80\x80", false },
		{ "\xff", false },
		{ "\xfe\xbf\xbf\xbf", false },
	};

	/* Alone, and at each place within and behind a run that is taken eight bytes at a time. */
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		for (size_t before = 0; before < 20; before++) {
			char text[64];
			const size_t len = strlen(cases[i].text);

			memset(text, 'x', sizeof(text));
			memcpy(text + before, cases[i].text, len);
			ck_assert_int_eq(blazei_utf8_valid(text, before + len), cases[i].valid);
			ck_assert_int_eq(blazei_utf8_valid(text, before + len + 17),
			                 cases[i].valid);
		}
	}
}
END_TEST

START_TEST(utf8_cut_short_refused)
{
	static const char *const texts[] = { "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\x9e" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		ck_assert(blazei_utf8_valid(texts[i], strlen(texts[i])));
		for (size_t len = 1; len < strlen(texts[i]); len++)
			ck_assert(!blazei_utf8_valid(texts[i], len));
	}
}
END_TEST

START_TEST(utf8_nul_refused_everywhere)
{
	char text[40];

	for (size_t at = 0; at < sizeof(text); at++) {
		memset(text, 'x', sizeof(text));
		text[at] = 0;
		ck_assert(!blazei_utf8_valid(text, sizeof(text)));
		ck_assert(blazei_utf8_valid(text, at));
		memset(text, 1, sizeof(text));
		text[at] = 0;
		ck_assert(!blazei_utf8_valid(text, sizeof(text)));
	}
}
END_TEST

START_TEST(key_order_is_that_of_encodings)
{
	struct random_source source = random_source_new("key_order");

	for (unsigned i = 0; i < 5000; i++) {
		struct blazei_buffer texts[2] = { { .max = 1024 }, { .max = 1024 } };
		uint8_t encoded[2][1024 + BLAZEI_VALUE_HEAD_MAX];
		size_t len[2];
		int wanted, got;

		for (unsigned k = 0; k < 2; k++) {
			(void)random_text(&source, i % 3 ? 3 : 300, &texts[k]);
			len[k] = blazei_encode_text(encoded[k], sizeof(encoded[k]), texts[k].data,
			                            texts[k].len);
		}
		/* Neither encoding is the start of the other, unless they are equal. */
		wanted = memcmp(encoded[0], encoded[1], len[0] < len[1] ? len[0] : len[1]);
		got = blazei_key_compare(texts[0].len ? texts[0].data : encoded[0], texts[0].len,
		                         texts[1].len ? texts[1].data : encoded[1], texts[1].len);
		ck_assert_int_eq((wanted > 0) - (wanted < 0), (got > 0) - (got < 0));
		blazei_buffer_free(&texts[0]);
		blazei_buffer_free(&texts[1]);
	}
}
END_TEST

START_TEST(item_malformed_output_untouched)
{
	static const char *const bad[] = { "", "18", "1817", "7f", "ff", "f7", "6261", "1c" };
	uint8_t bytes[16];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct blazei_item item = { .size = 77 };
		const size_t len = from_hex(bad[i], bytes, sizeof(bytes));

		ck_assert_int_eq(blazei_item_read(bytes, len, &item), -EBADMSG);
		ck_assert_uint_eq(item.size, 77);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		encode_int_shortest,
		encode_double_shortest,
		encode_double_every_half_kept,
		encode_double_random_kept,
		encode_others_as_stated,
		encode_time_kept,
		encode_without_room_returns_zero,
		utf8_edges_told_apart,
		utf8_cut_short_refused,
		utf8_nul_refused_everywhere,
		key_order_is_that_of_encodings,
		item_malformed_output_untouched,
	};

	return run_tests("value_encode", tests, sizeof(tests) / sizeof(*tests));
}
