/* SPDX-License-Identifier: Apache-2.0 */
/* The check of values: against the examples of RFC 8949, and against everything that is not
 * deterministic CBOR of a known type. */
#include <check.h>
#include <stdlib.h>

#include "lib/op/value.h"
#include "tests/op/help.h"

#define REFUSED (-1)

struct vector {
	const char *hex;
	int type; /* or REFUSED */
};

static void expect(const char *hex, int type)
{
	uint8_t bytes[256];
	const size_t len = from_hex(hex, bytes, sizeof(bytes));
	enum blaze_type got = BLAZE_TYPE_UNSET;
	const int r = check_exact(bytes, len, &got);

	if (type == REFUSED) {
		ck_assert_msg(r == -EBADMSG, "%s was accepted, or refused as %d", hex, r);
		ck_assert_msg(got == BLAZE_TYPE_UNSET, "%s: output touched", hex);
	} else {
		ck_assert_msg(r == 0 && (int)got == type, "%s: %d, type %d", hex, r, got);
		ck_assert_uint_eq(blazei_value_size(bytes, len), len);
		ck_assert_int_eq(blazei_value_type(bytes), type);
	}
}

static void expect_all(const struct vector *vectors, size_t count)
{
	for (size_t i = 0; i < count; i++)
		expect(vectors[i].hex, vectors[i].type);
}

#define EXPECT_ALL(vectors) expect_all(vectors, sizeof(vectors) / sizeof(*(vectors)))

/* RFC 8949, Appendix A, in its order. */
static const struct vector rfc_vectors[] = {
	{ "00", BLAZE_TYPE_INT },
	{ "01", BLAZE_TYPE_INT },
	{ "0a", BLAZE_TYPE_INT },
	{ "17", BLAZE_TYPE_INT },
	{ "1818", BLAZE_TYPE_INT },
	{ "1819", BLAZE_TYPE_INT },
	{ "1864", BLAZE_TYPE_INT },
	{ "1903e8", BLAZE_TYPE_INT },
	{ "1a000f4240", BLAZE_TYPE_INT },
	{ "1b000000e8d4a51000", BLAZE_TYPE_INT },
	{ "1bffffffffffffffff", REFUSED }, /* beyond int64 */
	{ "c249010000000000000000", REFUSED },
	{ "3bffffffffffffffff", REFUSED },
	{ "c349010000000000000000", REFUSED },
	{ "20", BLAZE_TYPE_INT },
	{ "29", BLAZE_TYPE_INT },
	{ "3863", BLAZE_TYPE_INT },
	{ "3903e7", BLAZE_TYPE_INT },
	{ "f90000", BLAZE_TYPE_DOUBLE },
	{ "f98000", BLAZE_TYPE_DOUBLE },
	{ "f93c00", BLAZE_TYPE_DOUBLE },
	{ "fb3ff199999999999a", BLAZE_TYPE_DOUBLE },
	{ "f93e00", BLAZE_TYPE_DOUBLE },
	{ "f97bff", BLAZE_TYPE_DOUBLE },
	{ "fa47c35000", BLAZE_TYPE_DOUBLE },
	{ "fa7f7fffff", BLAZE_TYPE_DOUBLE },
	{ "fb7e37e43c8800759c", BLAZE_TYPE_DOUBLE },
	{ "f90001", BLAZE_TYPE_DOUBLE },
	{ "f90400", BLAZE_TYPE_DOUBLE },
	{ "f9c400", BLAZE_TYPE_DOUBLE },
	{ "fbc010666666666666", BLAZE_TYPE_DOUBLE },
	{ "f97c00", BLAZE_TYPE_DOUBLE },
	{ "f97e00", BLAZE_TYPE_DOUBLE },
	{ "f9fc00", BLAZE_TYPE_DOUBLE },
	{ "fa7f800000", REFUSED }, /* infinities and NaN, longer than need be */
	{ "fa7fc00000", REFUSED },
	{ "faff800000", REFUSED },
	{ "fb7ff0000000000000", REFUSED },
	{ "fb7ff8000000000000", REFUSED },
	{ "fbfff0000000000000", REFUSED },
	{ "f4", BLAZE_TYPE_BOOL },
	{ "f5", BLAZE_TYPE_BOOL },
	{ "f6", BLAZE_TYPE_NULL },
	{ "f7", REFUSED }, /* undefined, and other simple values */
	{ "f0", REFUSED },
	{ "f8ff", REFUSED },
	{ "c074323031332d30332d32315432303a30343a30305a", REFUSED }, /* unknown tags */
	{ "c11a514b67b0", REFUSED },
	{ "c1fb41d452d9ec200000", REFUSED },
	{ "d74401020304", REFUSED },
	{ "d818456449455446", REFUSED },
	{ "d82076687474703a2f2f7777772e6578616d706c652e636f6d", REFUSED },
	{ "40", BLAZE_TYPE_BYTES },
	{ "4401020304", BLAZE_TYPE_BYTES },
	{ "60", BLAZE_TYPE_STRING },
	{ "6161", BLAZE_TYPE_STRING },
	{ "6449455446", BLAZE_TYPE_STRING },
	{ "62225c", BLAZE_TYPE_STRING },
	{ "62c3bc", BLAZE_TYPE_STRING },
	{ "63e6b0b4", BLAZE_TYPE_STRING },
	{ "64f0908591", BLAZE_TYPE_STRING },
	{ "80", BLAZE_TYPE_ARRAY },
	{ "83010203", BLAZE_TYPE_ARRAY },
	{ "8301820203820405", BLAZE_TYPE_ARRAY },
	{ "98190102030405060708090a0b0c0d0e0f101112131415161718181819", BLAZE_TYPE_ARRAY },
	{ "a0", BLAZE_TYPE_MAP },
	{ "a201020304", REFUSED }, /* keys that are no text */
	{ "a26161016162820203", BLAZE_TYPE_MAP },
	{ "826161a161626163", BLAZE_TYPE_ARRAY },
	{ "a56161614161626142616361436164614461656145", BLAZE_TYPE_MAP },
	{ "5f42010243030405ff", REFUSED }, /* indefinite lengths */
	{ "7f657374726561646d696e67ff", REFUSED },
	{ "9fff", REFUSED },
	{ "9f018202039f0405ffff", REFUSED },
	{ "9f01820203820405ff", REFUSED },
	{ "83018202039f0405ff", REFUSED },
	{ "83019f0203ff820405", REFUSED },
	{ "9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff", REFUSED },
	{ "bf61610161629f0203ffff", REFUSED },
	{ "826161bf61626163ff", REFUSED },
	{ "bf6346756ef563416d7421ff", REFUSED },
};

START_TEST(check_rfc_examples_as_types_allow)
{
	EXPECT_ALL(rfc_vectors);
}
END_TEST

START_TEST(check_longer_heads_refused)
{
	static const struct vector vectors[] = {
		{ "1800", REFUSED },
		{ "1817", REFUSED },
		{ "190017", REFUSED },
		{ "1900ff", REFUSED },
		{ "1a0000ffff", REFUSED },
		{ "1b00000000ffffffff", REFUSED },
		{ "3817", REFUSED },
		{ "3900ff", REFUSED },
		{ "3a0000ffff", REFUSED },
		{ "3b00000000ffffffff", REFUSED },
		{ "5800", REFUSED },
		{ "590001aa", REFUSED },
		{ "5a00000001aa", REFUSED },
		{ "5b0000000000000001aa", REFUSED },
		{ "7800", REFUSED },
		{ "79000161", REFUSED },
		{ "7a0000000161", REFUSED },
		{ "7b000000000000000161", REFUSED },
		{ "9800", REFUSED },
		{ "980100", REFUSED },
		{ "99000100", REFUSED },
		{ "9a0000000100", REFUSED },
		{ "9b000000000000000100", REFUSED },
		{ "b800", REFUSED },
		{ "b8016100", REFUSED },
		{ "b90001616100", REFUSED },
		{ "811817", REFUSED }, /* nested: the way through the stream decoder */
		{ "813817", REFUSED },
		{ "815801aa", REFUSED },
		{ "81780161", REFUSED },
		{ "819800", REFUSED },
		{ "a178016100", REFUSED },                               /* a key */
		{ "d900255000112233445566778899aabbccddeeff", REFUSED }, /* a tag */
		{ "da000003e9a201002800", REFUSED },
		{ "1c", REFUSED }, /* reserved */
		{ "1d", REFUSED },
		{ "1e", REFUSED },
		{ "1f", REFUSED },
		{ "3f", REFUSED },
		{ "5c", REFUSED },
		{ "7e", REFUSED },
		{ "9c", REFUSED },
		{ "bd", REFUSED },
		{ "dc", REFUSED },
		{ "df", REFUSED },
		{ "fc", REFUSED },
		{ "ff", REFUSED },
		{ "81ff", REFUSED },
		{ "f814", REFUSED }, /* false in two bytes */
		{ "f817", REFUSED },
		{ "e0", REFUSED },
	};

	EXPECT_ALL(vectors);
}
END_TEST

START_TEST(check_longer_floats_refused)
{
	static const struct vector vectors[] = {
		{ "fa3f800000", REFUSED },         /* 1.0 */
		{ "fb3ff0000000000000", REFUSED }, /* 1.0 */
		{ "fb40f86a0000000000", REFUSED }, /* 100000.0 fits 32 bits */
		{ "fa00000000", REFUSED },
		{ "fa80000000", REFUSED },
		{ "fb0000000000000000", REFUSED },
		{ "fa33800000", REFUSED },           /* the smallest 16-bit subnormal */
		{ "fa38402000", BLAZE_TYPE_DOUBLE }, /* a subnormal with a bit too many */
		{ "fa38404000", REFUSED },           /* 11 bits of it: 16 bits keep them */
		{ "fa477fe000", REFUSED },           /* 65504, the largest */
		{ "fa47800000", BLAZE_TYPE_DOUBLE }, /* 65536 */
		{ "f97e01", REFUSED },               /* NaN in other words */
		{ "f9fe00", REFUSED },
		{ "f97c01", REFUSED },
		{ "fa7fc00001", REFUSED },
		{ "fb7ff8000000000001", REFUSED },
		{ "f97e", REFUSED },
		{ "fa7fc000", REFUSED },
		{ "fb7ff80000000000", REFUSED },
	};

	EXPECT_ALL(vectors);
}
END_TEST

START_TEST(check_integer_bounds_of_int64)
{
	expect("1b7fffffffffffffff", BLAZE_TYPE_INT);
	expect("1b8000000000000000", REFUSED);
	expect("3b7fffffffffffffff", BLAZE_TYPE_INT);
	expect("3b8000000000000000", REFUSED);
	expect("811b7fffffffffffffff", BLAZE_TYPE_ARRAY);
	expect("811b8000000000000000", REFUSED);
	expect("813b8000000000000000", REFUSED);
}
END_TEST

START_TEST(check_text_malformed_refused)
{
	static const struct vector vectors[] = {
		{ "6100", REFUSED },       /* NUL */
		{ "6180", REFUSED },       /* a continuation alone */
		{ "61c3", REFUSED },       /* cut short */
		{ "62c0af", REFUSED },     /* overlong */
		{ "63eda080", REFUSED },   /* a surrogate */
		{ "64f4908080", REFUSED }, /* beyond U+10FFFF */
		{ "628061", REFUSED },
		{ "816100", REFUSED },
		{ "a1610000", REFUSED }, /* a key */
		{ "a161ff00", REFUSED },
		{ "61", REFUSED }, /* length against what is there */
		{ "616161", REFUSED },
		{ "7b7fffffffffffffff61", REFUSED },
		{ "7bffffffffffffffff61", REFUSED },
		{ "5bffffffffffffffff61", REFUSED },
		{ "815bffffffffffffffff61", REFUSED },
		{ "42aa", REFUSED },
		{ "42aaaaaa", REFUSED },
	};

	EXPECT_ALL(vectors);
}
END_TEST

START_TEST(check_map_keys_text_sorted_unique)
{
	static const struct vector vectors[] = {
		{ "a2616101616202", BLAZE_TYPE_MAP },
		{ "a2616201616102", REFUSED },
		{ "a2616101616102", REFUSED },
		{ "a261620162616102", BLAZE_TYPE_MAP }, /* the shorter first */
		{ "a262616101616202", REFUSED },
		{ "a26001616102", BLAZE_TYPE_MAP },
		{ "a260016002", REFUSED },
		{ "a1416101", REFUSED },
		{ "a10101", REFUSED },
		{ "a1f601", REFUSED },
		{ "a18001", REFUSED },
		{ "a16161", REFUSED },
		{ "a1", REFUSED },
		{ "a16161a1616101", BLAZE_TYPE_MAP }, /* each map has its own keys */
		{ "82a1616201a1616101", BLAZE_TYPE_ARRAY },
		{ "a26161a1617a01616202", BLAZE_TYPE_MAP },
		{ "a26162a1616101616102", REFUSED },
	};

	EXPECT_ALL(vectors);
}
END_TEST

START_TEST(check_time_one_form_only)
{
	static const struct vector vectors[] = {
		{ "d903e9a201002800", BLAZE_TYPE_TIME },
		{ "d903e9a2011b000000044b82fa09281a2a4ae5ff", BLAZE_TYPE_TIME },
		{ "d903e9a2011b000000044b82fa09281a2a4ae600", REFUSED }, /* 2^64 ns */
		{ "d903e9a2011b000000044b82fa0a2800", REFUSED },
		{ "d903e9a2011bffffffffffffffff2800", REFUSED },
		{ "d903e9a20100281a3b9ac9ff", BLAZE_TYPE_TIME },
		{ "d903e9a20100281a3b9aca00", REFUSED }, /* a whole second */
		{ "d903e9a228000100", REFUSED },
		{ "d903e9a10100", REFUSED },
		{ "d903e9a201002500", REFUSED }, /* -6: microseconds */
		{ "d903e9a201202800", REFUSED }, /* before 1970 */
		{ "d903e9a201f93c002800", REFUSED },
		{ "d903e9a202002800", REFUSED },
		{ "d903e9a301002800616100", REFUSED },
		{ "d903e9a20118002800", REFUSED },
		{ "d903e900", REFUSED },
		{ "d903e9", REFUSED },
		{ "d903e9a2010028", REFUSED },
		{ "d903e9a20100280000", REFUSED },
		{ "d903e8a201002800", REFUSED },
		{ "81d903e9a201002800", BLAZE_TYPE_ARRAY },
	};

	EXPECT_ALL(vectors);
}
END_TEST

START_TEST(check_uuid_sixteen_bytes_only)
{
	static const struct vector vectors[] = {
		{ "d8255000112233445566778899aabbccddeeff", BLAZE_TYPE_UUID },
		{ "d8254f00112233445566778899aabbccddee", REFUSED },
		{ "d8255100112233445566778899aabbccddeeff00", REFUSED },
		{ "d8257030313233343536373839303132333435", REFUSED },
		{ "d8255000112233445566778899aabbccddeeff00", REFUSED },
		{ "d825d8255000112233445566778899aabbccddeeff", REFUSED },
		{ "d825", REFUSED },
		{ "d8265000112233445566778899aabbccddeeff", REFUSED },
		{ "82d8255000112233445566778899aabbccddeeff01", BLAZE_TYPE_ARRAY },
	};

	EXPECT_ALL(vectors);
}
END_TEST

/* levels arrays, or maps of the one key "", around an innermost empty one. */
static size_t nest(uint8_t *bytes, unsigned levels, bool maps)
{
	size_t len = 0;

	for (unsigned i = 1; i < levels; i++) {
		bytes[len++] = maps ? 0xa1 : 0x81;
		if (maps)
			bytes[len++] = 0x60;
	}
	bytes[len++] = maps ? 0xa0 : 0x80;
	return len;
}

START_TEST(check_depth_bounded)
{
	uint8_t bytes[4096];
	enum blaze_type type;

	for (unsigned maps = 0; maps < 2; maps++) {
		for (unsigned levels = 1; levels < 1000; levels++) {
			const size_t len = nest(bytes, levels, maps);

			ck_assert_int_eq(check_exact(bytes, len, &type),
			                 levels <= BLAZEI_VALUE_DEPTH_MAX ? 0 : -EBADMSG);
		}
	}
	/* A time's map is no level, and what is closed does not count. */
	bytes[nest(bytes, BLAZEI_VALUE_DEPTH_MAX, false) - 1] = 0x81;
	memcpy(bytes + BLAZEI_VALUE_DEPTH_MAX, "\xd9\x03\xe9\xa2\x01\x00\x28\x00", 8);
	ck_assert_int_eq(check_exact(bytes, BLAZEI_VALUE_DEPTH_MAX + 8, &type), 0);
	memset(bytes, 0x80, sizeof(bytes));
	bytes[0] = 0x98;
	bytes[1] = 200;
	ck_assert_int_eq(check_exact(bytes, 202, &type), 0);
}
END_TEST

START_TEST(check_counts_beyond_bytes_refused)
{
	static const struct vector vectors[] = {
		{ "81", REFUSED },
		{ "9b7fffffffffffffff", REFUSED },
		{ "9bffffffffffffffff00", REFUSED },
		{ "bb7fffffffffffffff", REFUSED },
		{ "bb8000000000000000", REFUSED }, /* twice this wraps to 0 */
		{ "bb80000000000000016000", REFUSED },
		{ "bbffffffffffffffff6000", REFUSED },
		{ "9affffffff00", REFUSED },
		{ "830102", REFUSED },
		{ "82010203", REFUSED },
		{ "8000", REFUSED },
		{ "", REFUSED },
	};

	EXPECT_ALL(vectors);
}
END_TEST

START_TEST(check_every_prefix_and_extension_refused)
{
	struct random_source source = random_source_new("check_every_prefix");
	struct blazei_buffer value = { .max = 1 << 20 };
	enum blaze_type type;

	for (unsigned i = 0; i < 300; i++) {
		const uint8_t extra = (uint8_t)random_bits(&source);

		value.len = 0;
		random_value(&source, 3, &value);
		for (size_t len = 0; len < value.len && len < 500; len++)
			ck_assert_int_eq(check_exact(value.data, len, &type), -EBADMSG);
		ck_assert_int_eq(blazei_buffer_append(&value, &extra, 1), 0);
		ck_assert_int_eq(check_exact(value.data, value.len, &type), -EBADMSG);
	}
	blazei_buffer_free(&value);
}
END_TEST

START_TEST(check_random_values_accepted)
{
	struct random_source source = random_source_new("check_random_values");
	struct blazei_buffer value = { .max = 1 << 20 };

	for (unsigned i = 0; i < 20000; i++) {
		enum blaze_type type;

		value.len = 0;
		random_value(&source, 6, &value);
		ck_assert_int_eq(check_exact(value.data, value.len, &type), 0);
		ck_assert_int_eq(type, blazei_value_type(value.data));
		ck_assert_uint_eq(blazei_value_size(value.data, value.len), value.len);
	}
	blazei_buffer_free(&value);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		check_rfc_examples_as_types_allow,
		check_longer_heads_refused,
		check_longer_floats_refused,
		check_integer_bounds_of_int64,
		check_text_malformed_refused,
		check_map_keys_text_sorted_unique,
		check_time_one_form_only,
		check_uuid_sixteen_bytes_only,
		check_depth_bounded,
		check_counts_beyond_bytes_refused,
		check_every_prefix_and_extension_refused,
		check_random_values_accepted,
	};

	return run_tests("value_check", tests, sizeof(tests) / sizeof(*tests));
}
