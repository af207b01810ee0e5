/* SPDX-License-Identifier: Apache-2.0 */
/* JSON: every form both ways, what is refused, and random records there and back. */
#include <check.h>
#include <jansson.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/op/json.h"
#include "lib/op/record.h"
#include "tests/op/help.h"

#define DEPTH_MAX BLAZEI_VALUE_DEPTH_MAX

static int read_text(const char *text, struct blaze_record **ret_record)
{
	/* A copy without the NUL, so that a sanitizer sees a read beyond. */
	const size_t len = strlen(text);
	char *copy = malloc(len ? len : 1);
	int r;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, text, len);
	r = blaze_record_from_json(copy, len, ret_record);
	free(copy);
	return r;
}

static void expect_refused(const char *text, int error)
{
	struct blaze_record *record = NULL;
	const int r = read_text(text, &record);

	ck_assert_msg(r == error, "%s: %d", text, r);
	ck_assert_ptr_null(record);
}

/* Reads the text, writes it, and compares. */
static void expect_written(const char *text, const char *wanted)
{
	struct blaze_record *record = NULL;
	char *json = NULL;
	const int r = read_text(text, &record);

	ck_assert_msg(r == 0, "%s: %d", text, r);
	ck_assert_int_eq(blaze_record_to_json(record, &json), 0);
	ck_assert_str_eq(json, wanted);
	free(json);
	blaze_record_free(record);
}

static void expect_same(const char *text)
{
	expect_written(text, text);
}

START_TEST(json_every_type_round_trips)
{
	expect_same("{}");
	expect_same("{\"\":null}");
	expect_same("{\"a\":true,\"b\":false,\"c\":null}");
	expect_same("{\"i\":9223372036854775807,\"j\":-9223372036854775808,\"k\":0}");
	expect_same("{\"s\":\"\",\"t\":\"caf\xc3\xa9 \xf0\x9f\x90\x9e\"}");
	expect_same("{\"y\":{\"$bytes\":\"\"}}");
	expect_same("{\"t\":{\"$time\":\"1970-01-01T00:00:00Z\"}}");
	expect_same("{\"u\":{\"$uuid\":\"00112233-4455-6677-8899-aabbccddeeff\"}}");
	expect_same("{\"a\":[],\"m\":{}}");
	expect_same("{\"a\":[1,\"x\",[null,{\"k\":{\"$bytes\":\"AA==\"}}],{\"$time\":"
	            "\"2026-11-22T09:30:00.25Z\"}]}");
}
END_TEST

START_TEST(json_white_space_and_escapes_read)
{
	expect_written(" {\n\t\"a\" :\r[ 1 , 2 ] } \n", "{\"a\":[1,2]}");
	expect_written("{\"a\":\"\\u00e9\\ud83d\\udc1e\\/\\b\\f\"}",
	               "{\"a\":\"\xc3\xa9\xf0\x9f\x90\x9e/\\u0008\\u000c\"}");
	expect_same("{\"q\\\"\\\\\":\"\\n\\t\\r\\u0001\\u001f\x7f\"}");
	expect_written("{\"u\":{\"$uuid\":\"00112233-4455-6677-8899-AABBCCDDEEFF\"}}",
	               "{\"u\":{\"$uuid\":\"00112233-4455-6677-8899-aabbccddeeff\"}}");
}
END_TEST

START_TEST(json_int_and_double_kept_apart)
{
	expect_same("{\"d\":1.0,\"i\":1}");
	expect_same("{\"a\":-0.0,\"b\":0.0,\"c\":0.1,\"d\":1e+300,\"e\":4.94065645841247e-324}");
	expect_written("{\"a\":-0}", "{\"a\":0}");
	expect_written("{\"a\":1e2,\"b\":1E+2,\"c\":100.0}",
	               "{\"a\":100.0,\"b\":100.0,\"c\":100.0}");
	expect_written("{\"a\":9007199254740993.0}", "{\"a\":9007199254740992.0}");
	expect_same("{\"a\":1.7976931348623157e+308,\"b\":2.2250738585072014e-308}");
	expect_same("{\"a\":123456789012345.0,\"b\":1.2345678901234568e+17}");
	expect_same("{\"a\":{\"$double\":\"NaN\"},\"b\":[{\"$double\":\"Infinity\"},"
	            "{\"$double\":\"-Infinity\"}]}");
}
END_TEST

START_TEST(json_double_text_whatever_the_locale)
{
	char text[BLAZEI_DOUBLE_TEXT_MAX];
	/* Either writes a comma, where it is installed. */
	(void)(setlocale(LC_NUMERIC, "de_DE.UTF-8") || setlocale(LC_NUMERIC, "fr_FR.UTF-8"));

	blazei_double_format(-1234.5, text);
	ck_assert_str_eq(text, "-1234.5");
	blazei_double_format(1.5e-9, text);
	ck_assert_str_eq(text, "1.5e-09");
	blazei_double_format(3.0, text);
	ck_assert_str_eq(text, "3.0");
	expect_same("{\"a\":0.5}");
	setlocale(LC_NUMERIC, "C");
}
END_TEST

START_TEST(double_text_sign_of_locale_becomes_point)
{
	static const struct {
		const char *text, *wanted;
		bool is_real;
	} cases[] = {
		{ "1,5", "1.5", true },
		{ "-1.5", "-1.5", true },
		{ "12", "12", false },
		{ "-0", "-0", false },
		{ "1\xd9\xab"
		  "5",
		  "1.5", true },
		{ "1,5e+300", "1.5e+300", true },
		{ "1e-09", "1e-09", true },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[BLAZEI_DOUBLE_TEXT_MAX];

		strcpy(text, cases[i].text);
		ck_assert_int_eq(blazei_point_restore(text), cases[i].is_real);
		ck_assert_str_eq(text, cases[i].wanted);
	}
}
END_TEST

START_TEST(json_keys_written_bytewise)
{
	expect_written("{\"b\":1,\"aa\":2,\"\":3,\"B\":4,\"\xc3\xa9\":5,\"a\":6}",
	               "{\"\":3,\"B\":4,\"a\":6,\"aa\":2,\"b\":1,\"\xc3\xa9\":5}");
	expect_written("{\"m\":{\"b\":{\"z\":1,\"yy\":2},\"aa\":2,\"\":3}}",
	               "{\"m\":{\"\":3,\"aa\":2,\"b\":{\"yy\":2,\"z\":1}}}");
}
END_TEST

START_TEST(json_map_that_looks_like_a_form_escaped)
{
	expect_same("{\"a\":{\"$map\":{\"$time\":\"x\"}}}");
	expect_same("{\"a\":{\"$map\":{\"$map\":{\"$map\":{\"$map\":1}}}}}");
	expect_same("{\"a\":[{\"$map\":{\"$bytes\":{\"$bytes\":\"AAEC\"}}}]}");
	expect_same("{\"a\":{\"$map\":{\"$uuid\":null}},\"b\":{\"$map\":{\"$double\":[]}}}");
	/* With more members, or another key, there is nothing to escape. */
	expect_same("{\"a\":{\"$map\":1,\"$time\":2}}");
	expect_same("{\"a\":{\"$other\":1}}");
	expect_same("{\"a\":{\"$times\":1,\"b\":2}}");
	expect_written("{\"a\":{\"$map\":{\"b\":1}}}", "{\"a\":{\"b\":1}}");
	expect_written("{\"a\":{\"$map\":{}}}", "{\"a\":{}}");
	/* A record's own keys are names. */
	expect_same("{\"$time\":1}");
	expect_same("{\"$map\":{\"x\":1}}");
}
END_TEST

START_TEST(json_special_form_malformed_refused)
{
	static const char *const contents[] = {
		"{\"$bytes\":1}",
		"{\"$bytes\":null}",
		"{\"$bytes\":\"A\"}",
		"{\"$bytes\":\"AAE\"}",
		"{\"$bytes\":\"AAE!\"}",
		"{\"$bytes\":\"AAF=\"}",
		"{\"$bytes\":\"AB==\"}",
		"{\"$bytes\":\"A===\"}",
		"{\"$bytes\":\"====\"}",
		"{\"$bytes\":\"AA==AAAA\"}",
		"{\"$bytes\":\"AA=A\"}",
		"{\"$bytes\":\"AAAA\\n\"}",
		"{\"$bytes\":\"AA-_\"}",
		"{\"$time\":5}",
		"{\"$time\":\"\"}",
		"{\"$time\":{}}",
		"{\"$uuid\":\"\"}",
		"{\"$uuid\":7}",
		"{\"$uuid\":\"00112233-4455-6677-8899-aabbccddeef\"}",
		"{\"$uuid\":\"00112233-4455-6677-8899-aabbccddeeff0\"}",
		"{\"$double\":\"nan\"}",
		"{\"$double\":1.5}",
		"{\"$double\":\"1.5\"}",
		"{\"$double\":\"+Infinity\"}",
		"{\"$map\":1}",
		"{\"$map\":[]}",
		"{\"$map\":\"x\"}",
		"{\"$map\":null}",
	};
	char text[200];

	for (size_t i = 0; i < sizeof(contents) / sizeof(*contents); i++) {
		snprintf(text, sizeof(text), "{\"a\":%s}", contents[i]);
		expect_refused(text, -EINVAL);
		snprintf(text, sizeof(text), "{\"a\":[{\"b\":%s}]}", contents[i]);
		expect_refused(text, -EINVAL);
	}
}
END_TEST

START_TEST(json_malformed_refused)
{
	static const char *const texts[] = {
		"",
		" ",
		"{",
		"}",
		"[]",
		"1",
		"null",
		"\"x\"",
		"{}x",
		"{} {}",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"{a:1}",
		"{'a':1}",
		"{\"a\":01}",
		"{\"a\":+1}",
		"{\"a\":.5}",
		"{\"a\":1.}",
		"{\"a\":NaN}",
		"{\"a\":Infinity}",
		"{\"a\":nul}",
		"{\"a\":[1,]}",
		"{\"a\":1,\"a\":2}",
		"{\"m\":{\"a\":1,\"a\":1}}",
		"{\"a\":1,\"\\u0061\":2}",
		"{\"a\":\"\\u0000\"}",
		"{\"\\u0000\":1}",
		"{\"m\":{\"x\\u0000\":1}}",
		"{\"a\":\"\xff\"}",
		"{\"\xc3\":1}",
		"{\"a\":\"\xed\xa0\x80\"}",
		"{\"a\":\"\\ud800\"}",
		"{\"a\":\"\n\"}",
		"{\"a\":9223372036854775808}",
		"{\"a\":-9223372036854775809}",
		"{\"a\":1e999}",
		"{\"a\":-1e999}",
		"/* */{}",
		"\xef\xbb\xbf{}",
	};
	struct blaze_record *record = NULL;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		expect_refused(texts[i], -EINVAL);
	ck_assert_int_eq(blaze_record_from_json("{\"a\":\"\0\"}", 9, &record), -EINVAL);
	ck_assert_int_eq(blaze_record_from_json("{}\0", 3, &record), -EINVAL);
	ck_assert_int_eq(blaze_record_from_json(NULL, 2, &record), -EINVAL);
	ck_assert_int_eq(blaze_record_from_json("{}", 2, NULL), -EINVAL);
	ck_assert_ptr_null(record);
}
END_TEST

/* {"a": and levels of the opening, the same of the closing, }. */
static char *nested_text(const char *opening, const char *closing, unsigned levels)
{
	char *text = calloc(1, 16 + levels * (strlen(opening) + strlen(closing)));
	char *end = text;

	ck_assert_ptr_nonnull(text);
	end = stpcpy(end, "{\"a\":");
	for (unsigned i = 0; i < levels; i++)
		end = stpcpy(end, opening);
	if (opening[0] == '{')
		end = stpcpy(end, "1");
	for (unsigned i = 0; i < levels; i++)
		end = stpcpy(end, closing);
	(void)stpcpy(end, "}");
	return text;
}

START_TEST(json_depth_bounded)
{
	static const struct {
		const char *opening, *closing;
	} cases[] = { { "[", "]" }, { "{\"k\":", "}" }, { "{\"$map\":{\"$map\":", "}}" } };
	static const unsigned too_deep[] = { DEPTH_MAX + 1, DEPTH_MAX + 2, 1000, 3000, 1000000 };

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *text = nested_text(cases[i].opening, cases[i].closing, DEPTH_MAX);

		expect_same(text);
		free(text);
		for (size_t k = 0; k < sizeof(too_deep) / sizeof(*too_deep); k++) {
			text = nested_text(cases[i].opening, cases[i].closing, too_deep[k]);
			expect_refused(text, -E2BIG);
			free(text);
		}
	}
	/* Elements side by side don't add up. */
	expect_same("{\"a\":[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],"
	            "[],[],[],[],[],[],[],[],[],[],[],[],[]]}");
}
END_TEST

START_TEST(json_beyond_limits_refused)
{
	const size_t len = BLAZEI_JSON_BYTES_MAX + 1;
	char *text = malloc(len + 1), *end = text;
	struct blaze_record *record = NULL;
	size_t len_of_all;

	ck_assert_ptr_nonnull(text);
	end += sprintf(end, "{");
	for (unsigned i = 0; i <= BLAZEI_RECORD_FIELDS_MAX; i++)
		end += sprintf(end, "%s\"f%u\":1", i ? "," : "", i);
	strcpy(end, "}");
	expect_refused(text, -E2BIG);
	*strrchr(text, ',') = '}';
	len_of_all = (size_t)(strchr(text, '}') + 1 - text);
	ck_assert_int_eq(blaze_record_from_json(text, len_of_all, &record), 0);
	ck_assert_uint_eq(blaze_record_field_count(record), BLAZEI_RECORD_FIELDS_MAX);
	blaze_record_free(record);
	snprintf(text, len, "{\"%0*d\":1}", BLAZEI_NAME_BYTES_MAX + 1, 0);
	expect_refused(text, -E2BIG);
	snprintf(text, len, "{\"%0*d\":1}", BLAZEI_NAME_BYTES_MAX, 0);
	expect_same(text);
	/* A name of one byte and a head of five leave this much for text. */
	snprintf(text, len, "{\"a\":\"%0*d\"}", (int)BLAZEI_RECORD_BYTES_MAX - 6, 0);
	expect_same(text);
	snprintf(text, len, "{\"a\":\"%0*d\"}", (int)BLAZEI_RECORD_BYTES_MAX - 5, 0);
	expect_refused(text, -E2BIG);
	memset(text, ' ', len);
	text[0] = '{';
	text[len - 2] = '}';
	ck_assert_int_eq(blaze_record_from_json(text, len, &record), -E2BIG);
	ck_assert_int_eq(blaze_record_from_json(text, len - 1, &record), 0);
	blaze_record_free(record);
	free(text);
}
END_TEST

START_TEST(json_text_of_a_full_record_fits)
{
	struct blaze_record *record;
	char *bytes = malloc(BLAZEI_RECORD_BYTES_MAX);
	char *json;

	/* Characters that take six bytes each. */
	ck_assert_ptr_nonnull(bytes);
	memset(bytes, 1, BLAZEI_RECORD_BYTES_MAX);
	bytes[BLAZEI_RECORD_BYTES_MAX - 6] = 0;
	ck_assert_int_eq(blaze_record_new(&record), 0);
	ck_assert_int_eq(blaze_record_set_string(record, "a", bytes), 0);
	ck_assert_int_eq(blaze_record_to_json(record, &json), 0);
	blaze_record_free(record);
	ck_assert_int_eq(blaze_record_from_json(json, strlen(json), &record), 0);
	blaze_record_free(record);
	free(json);
	free(bytes);
}
END_TEST

START_TEST(json_unset_mark_has_no_form)
{
	struct blaze_record *record;
	char *json = NULL;

	ck_assert_int_eq(blaze_record_new(&record), 0);
	ck_assert_int_eq(blaze_record_set_int(record, "a", 1), 0);
	ck_assert_int_eq(blaze_record_unset(record, "b"), 0);
	ck_assert_int_eq(blaze_record_to_json(record, &json), -EINVAL);
	ck_assert_int_eq(blaze_record_to_json(NULL, &json), -EINVAL);
	ck_assert_ptr_null(json);
	blaze_record_free(record);
}
END_TEST

START_TEST(time_text_round_trips)
{
	static const struct {
		uint64_t time_ns;
		const char *text;
	} cases[] = {
		{ 0, "1970-01-01T00:00:00Z" },
		{ 1, "1970-01-01T00:00:00.000000001Z" },
		{ 250000000, "1970-01-01T00:00:00.25Z" },
		{ 951782400000000000, "2000-02-29T00:00:00Z" },
		{ 1700000000123456789, "2023-11-14T22:13:20.123456789Z" },
		{ 4107542399999999999, "2100-02-28T23:59:59.999999999Z" },
		{ UINT64_MAX, "2554-07-21T23:34:33.709551615Z" },
	};
	char text[BLAZEI_TIME_TEXT_MAX];
	uint64_t time_ns;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		blazei_time_format(cases[i].time_ns, text);
		ck_assert_str_eq(text, cases[i].text);
		ck_assert_int_eq(blazei_time_parse(text, strlen(text), &time_ns), 0);
		ck_assert_uint_eq(time_ns, cases[i].time_ns);
	}
	ck_assert_int_eq(blazei_time_parse("1970-01-01T00:00:01.500Z", 24, &time_ns), 0);
	ck_assert_uint_eq(time_ns, 1500000000);
	ck_assert_int_eq(blazei_time_parse("1970-01-01T00:00:01.5Z", 22, &time_ns), 0);
	ck_assert_uint_eq(time_ns, 1500000000);
	ck_assert_int_eq(blazei_time_parse("1970-01-01T00:00:01.Z", 21, &time_ns), -EINVAL);
}
END_TEST

START_TEST(time_text_malformed_refused)
{
	static const char *const texts[] = {
		"",
		"Z",
		"2026-11-22",
		"2026-11-22T09:30:00",
		"2026-11-22T09:30:00z",
		"2026-11-22t09:30:00Z",
		"2026-11-22 09:30:00Z",
		"2026-11-22T09:30:00+00:00",
		"2026-11-22T09:30:00.Z",
		"2026-11-22T09:30:00.1234567890Z",
		"2026-11-22T09:30:00.12a4Z",
		"2026-11-22T09:30:00,5Z",
		"2026-11-22T09:30Z",
		"2026-11-22T09:30:60Z",
		"2026-11-22T09:60:00Z",
		"2026-11-22T24:00:00Z",
		"2026-11-31T00:00:00Z",
		"2026-02-29T00:00:00Z",
		"2100-02-29T00:00:00Z",
		"2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z",
		"2026-01-00T00:00:00Z",
		"1969-12-31T23:59:59Z",
		"0000-01-01T00:00:00Z",
		"2554-07-21T23:34:33.709551616Z",
		"2554-07-21T23:34:34Z",
		"9999-12-31T23:59:59Z",
		"2026-11-22T09:30:00ZZ",
		" 2026-11-22T09:30:00Z",
		"+026-11-22T09:30:00Z",
		"20261122T093000Z",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		uint64_t time_ns = 77;

		ck_assert_msg(blazei_time_parse(texts[i], strlen(texts[i]), &time_ns) == -EINVAL,
		              "%s", texts[i]);
		ck_assert_uint_eq(time_ns, 77);
	}
}
END_TEST

START_TEST(base64_every_length_round_trips)
{
	struct random_source source = random_source_new("base64");
	uint8_t bytes[100];

	for (size_t len = 0; len <= sizeof(bytes); len++) {
		struct blazei_buffer text = { .max = 1000 }, back = { .max = 1000 };

		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)random_bits(&source);
		ck_assert_int_eq(blazei_base64_encode(bytes, len, &text), 0);
		ck_assert_uint_eq(text.len, (len + 2) / 3 * 4);
		ck_assert_int_eq(blazei_base64_decode((const char *)text.data, text.len, &back), 0);
		ck_assert_uint_eq(back.len, len);
		if (len)
			ck_assert_mem_eq(back.data, bytes, len);
		blazei_buffer_free(&text);
		blazei_buffer_free(&back);
	}
	/* RFC 4648, section 10. */
	expect_same("{\"a\":{\"$bytes\":\"Zm9vYmE=\"},\"b\":{\"$bytes\":\"Zm9vYmFy\"}}");
}
END_TEST

static void random_record(struct random_source *source, struct blaze_record **ret_record)
{
	const unsigned count = (unsigned)random_below(source, 12);
	struct blazei_buffer name = { .max = BLAZEI_NAME_BYTES_MAX }, value = { .max = 1 << 20 };

	ck_assert_int_eq(blaze_record_new(ret_record), 0);
	for (unsigned i = 0; i < count; i++) {
		struct blazei_field_source field = { .name = "" };

		name.len = value.len = 0;
		(void)random_text(source, random_below(source, 4) ? 12 : 255, &name);
		random_value(source, 5, &value);
		if (name.len)
			field.name = name.data;
		field.name_len = (uint8_t)name.len;
		field.body = value.data;
		field.body_len = (uint32_t)value.len;
		ck_assert_int_eq(blazei_record_store(*ret_record, &field), 0);
	}
	blazei_buffer_free(&name);
	blazei_buffer_free(&value);
}

static void expect_equal(const struct blaze_record *a, const struct blaze_record *b)
{
	ck_assert_uint_eq(a->count, b->count);
	for (unsigned i = 0; i < a->count; i++) {
		struct blazei_field_view left, right;

		blazei_record_view(a, i, &left);
		blazei_record_view(b, i, &right);
		ck_assert_str_eq(left.name, right.name);
		ck_assert_uint_eq(left.value_len, right.value_len);
		ck_assert_mem_eq(left.value, right.value, left.value_len);
	}
}

START_TEST(json_random_records_round_trip)
{
	struct random_source source = random_source_new("json_random_records");

	for (unsigned i = 0; i < 1500; i++) {
		struct blaze_record *record, *back;
		char *json, *again, *sorted;
		json_t *tree;

		random_record(&source, &record);
		ck_assert_int_eq(blaze_record_to_json(record, &json), 0);
		ck_assert_ptr_null(strchr(json, '\n'));
		ck_assert_int_eq(blaze_record_from_json(json, strlen(json), &back), 0);
		expect_equal(record, back);
		ck_assert_int_eq(blaze_record_to_json(back, &again), 0);
		ck_assert_str_eq(json, again);
		/* Another reader of JSON finds the keys in its own sorted order. */
		tree = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
		ck_assert_ptr_nonnull(tree);
		sorted = json_dumps(tree, JSON_COMPACT | JSON_SORT_KEYS);
		json_decref(tree);
		tree = json_loads(json, 0, NULL);
		again = (free(again), json_dumps(tree, JSON_COMPACT));
		ck_assert_str_eq(again, sorted);
		json_decref(tree);
		free(json);
		free(again);
		free(sorted);
		blaze_record_free(record);
		blaze_record_free(back);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		json_every_type_round_trips,
		json_white_space_and_escapes_read,
		json_int_and_double_kept_apart,
		json_double_text_whatever_the_locale,
		double_text_sign_of_locale_becomes_point,
		json_keys_written_bytewise,
		json_map_that_looks_like_a_form_escaped,
		json_special_form_malformed_refused,
		json_malformed_refused,
		json_depth_bounded,
		json_beyond_limits_refused,
		json_text_of_a_full_record_fits,
		json_unset_mark_has_no_form,
		time_text_round_trips,
		time_text_malformed_refused,
		base64_every_length_round_trips,
		json_random_records_round_trip,
	};

	return run_tests("json", tests, sizeof(tests) / sizeof(*tests));
}
