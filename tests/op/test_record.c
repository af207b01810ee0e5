/* SPDX-License-Identifier: Apache-2.0 */
/* Records: every setter and getter, the limits, and what a failed call leaves. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/op/record.h"
#include "tests/op/help.h"

static const struct blaze_id some_id = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
	                                   16 } };

static struct blaze_record *record_new(void)
{
	struct blaze_record *record = NULL;

	ck_assert_int_eq(blaze_record_new(&record), 0);
	ck_assert_ptr_nonnull(record);
	return record;
}

static struct blaze_record *record_with_all_types(void)
{
	struct blaze_record *record = record_new();

	ck_assert_int_eq(blaze_record_set_null(record, "null"), 0);
	ck_assert_int_eq(blaze_record_set_bool(record, "bool", true), 0);
	ck_assert_int_eq(blaze_record_set_int(record, "int", -42), 0);
	ck_assert_int_eq(blaze_record_set_double(record, "double", 0.1), 0);
	ck_assert_int_eq(blaze_record_set_string(record, "string", "caf\xc3\xa9"), 0);
	ck_assert_int_eq(blaze_record_set_bytes(record, "bytes", "\0\1\2", 3), 0);
	ck_assert_int_eq(blaze_record_set_time(record, "time", 1500000000123456789), 0);
	ck_assert_int_eq(blaze_record_set_uuid(record, "uuid", &some_id), 0);
	ck_assert_int_eq(blaze_record_set_array(record, "array", "[1, 2.0]", 8), 0);
	ck_assert_int_eq(blaze_record_set_map(record, "map", "{\"b\":1,\"aa\":[]}", 15), 0);
	ck_assert_int_eq(blaze_record_unset(record, "unset"), 0);
	return record;
}

/* Holds the record to its invariants. */
static void expect_sound(const struct blaze_record *record)
{
	struct blazei_field_view before = { 0 };
	size_t names_values = 0;

	for (unsigned i = 0; i < record->count; i++) {
		struct blazei_field_view view;
		enum blaze_type type;

		blazei_record_view(record, i, &view);
		ck_assert_uint_eq(view.name[view.name_len], 0);
		ck_assert_uint_eq(((const uint8_t *)view.value)[view.value_len], 0);
		ck_assert_uint_le((const uint8_t *)view.value + view.value_len + 1 - record->bytes,
		                  record->used);
		if (view.unset)
			ck_assert_uint_eq(view.value_len, 0);
		else
			ck_assert_int_eq(check_exact(view.value, view.value_len, &type), 0);
		if (i > 0)
			ck_assert_int_lt(blazei_key_compare(before.name, before.name_len, view.name,
			                                    view.name_len),
			                 0);
		names_values += view.name_len + view.value_len;
		before = view;
	}
	ck_assert_uint_eq(record->names_values, names_values);
	ck_assert_uint_le(record->used, record->bytes_max);
}

static char *json_of(const struct blaze_record *record)
{
	char *json = NULL;

	ck_assert_int_eq(blaze_record_to_json(record, &json), 0);
	return json;
}

START_TEST(record_new_is_empty)
{
	struct blaze_record *record = record_new();
	char *json = json_of(record);

	ck_assert_uint_eq(blaze_record_field_count(record), 0);
	ck_assert_int_eq(blaze_record_get_null(record, ""), -ENOENT);
	ck_assert_str_eq(json, "{}");
	free(json);
	blaze_record_free(record);
	blaze_record_free(NULL);
	ck_assert_int_eq(blaze_record_new(NULL), -EINVAL);
	ck_assert_uint_eq(blaze_record_field_count(NULL), 0);
}
END_TEST

START_TEST(field_every_type_reads_back)
{
	struct blaze_record *record = record_with_all_types();
	const char *string;
	const void *data;
	struct blaze_id id;
	uint64_t time_ns;
	char *json;
	int64_t number;
	double real;
	size_t len;
	bool truth;

	expect_sound(record);
	ck_assert_int_eq(blaze_record_get_null(record, "null"), 0);
	ck_assert_int_eq(blaze_record_get_bool(record, "bool", &truth), 0);
	ck_assert(truth);
	ck_assert_int_eq(blaze_record_get_int(record, "int", &number), 0);
	ck_assert_int_eq(number, -42);
	ck_assert_int_eq(blaze_record_get_double(record, "double", &real), 0);
	ck_assert_double_eq(real, 0.1);
	ck_assert_int_eq(blaze_record_get_string(record, "string", &string), 0);
	ck_assert_str_eq(string, "caf\xc3\xa9");
	ck_assert_int_eq(blaze_record_get_bytes(record, "bytes", &data, &len), 0);
	ck_assert_uint_eq(len, 3);
	ck_assert_mem_eq(data, "\0\1\2", 3);
	ck_assert_int_eq(blaze_record_get_time(record, "time", &time_ns), 0);
	ck_assert_uint_eq(time_ns, 1500000000123456789);
	ck_assert_int_eq(blaze_record_get_uuid(record, "uuid", &id), 0);
	ck_assert_mem_eq(&id, &some_id, sizeof(id));
	ck_assert_int_eq(blaze_record_get_array(record, "array", &json), 0);
	ck_assert_str_eq(json, "[1,2.0]");
	free(json);
	ck_assert_int_eq(blaze_record_get_map(record, "map", &json), 0);
	ck_assert_str_eq(json, "{\"aa\":[],\"b\":1}");
	free(json);
	blaze_record_free(record);
}
END_TEST

static int get_any(const struct blaze_record *record, const char *field, enum blaze_type type)
{
	union {
		bool truth;
		int64_t number;
		double real;
		const char *string;
		struct blaze_id id;
		uint64_t time_ns;
	} out;
	const void *data;
	size_t len;
	char *json = NULL;
	int r = 0;

	switch (type) {
	case BLAZE_TYPE_NULL:
		return blaze_record_get_null(record, field);
	case BLAZE_TYPE_BOOL:
		return blaze_record_get_bool(record, field, &out.truth);
	case BLAZE_TYPE_INT:
		return blaze_record_get_int(record, field, &out.number);
	case BLAZE_TYPE_DOUBLE:
		return blaze_record_get_double(record, field, &out.real);
	case BLAZE_TYPE_STRING:
		return blaze_record_get_string(record, field, &out.string);
	case BLAZE_TYPE_BYTES:
		return blaze_record_get_bytes(record, field, &data, &len);
	case BLAZE_TYPE_TIME:
		return blaze_record_get_time(record, field, &out.time_ns);
	case BLAZE_TYPE_UUID:
		return blaze_record_get_uuid(record, field, &out.id);
	case BLAZE_TYPE_ARRAY:
		r = blaze_record_get_array(record, field, &json);
		break;
	case BLAZE_TYPE_MAP:
		r = blaze_record_get_map(record, field, &json);
		break;
	case BLAZE_TYPE_UNSET:
		break;
	}
	free(json);
	return r;
}

START_TEST(get_another_type_or_none_refused)
{
	static const char *const names[] = { "null", "bool", "int",   "double", "string", "bytes",
		                             "time", "uuid", "array", "map",    "unset" };
	struct blaze_record *record = record_with_all_types();

	for (int type = BLAZE_TYPE_NULL; type < BLAZE_TYPE_UNSET; type++) {
		for (int field = BLAZE_TYPE_NULL; field <= BLAZE_TYPE_UNSET; field++)
			ck_assert_int_eq(get_any(record, names[field], (enum blaze_type)type),
			                 type == field ? 0 : -EINVAL);
		ck_assert_int_eq(get_any(record, "absent", (enum blaze_type)type), -ENOENT);
		ck_assert_int_eq(get_any(record, "", (enum blaze_type)type), -ENOENT);
		ck_assert_int_eq(get_any(record, NULL, (enum blaze_type)type), -EINVAL);
		ck_assert_int_eq(get_any(NULL, "int", (enum blaze_type)type), -EINVAL);
	}
	blaze_record_free(record);
}
END_TEST

START_TEST(get_null_output_refused)
{
	struct blaze_record *record = record_with_all_types();
	const void *data;
	size_t len;

	ck_assert_int_eq(blaze_record_get_bool(record, "bool", NULL), -EINVAL);
	ck_assert_int_eq(blaze_record_get_int(record, "int", NULL), -EINVAL);
	ck_assert_int_eq(blaze_record_get_double(record, "double", NULL), -EINVAL);
	ck_assert_int_eq(blaze_record_get_string(record, "string", NULL), -EINVAL);
	ck_assert_int_eq(blaze_record_get_bytes(record, "bytes", NULL, &len), -EINVAL);
	ck_assert_int_eq(blaze_record_get_bytes(record, "bytes", &data, NULL), -EINVAL);
	ck_assert_int_eq(blaze_record_get_time(record, "time", NULL), -EINVAL);
	ck_assert_int_eq(blaze_record_get_uuid(record, "uuid", NULL), -EINVAL);
	ck_assert_int_eq(blaze_record_get_array(record, "array", NULL), -EINVAL);
	ck_assert_int_eq(blaze_record_get_map(record, "map", NULL), -EINVAL);
	ck_assert_int_eq(blaze_record_to_json(record, NULL), -EINVAL);
	ck_assert_int_eq(blaze_record_field_at(record, 0, NULL, &(enum blaze_type){ 0 }), -EINVAL);
	ck_assert_int_eq(blaze_record_field_at(record, 0, &(const char *){ NULL }, NULL), -EINVAL);
	blaze_record_free(record);
}
END_TEST

static int set_any(struct blaze_record *record, const char *field, enum blaze_type type)
{
	switch (type) {
	case BLAZE_TYPE_NULL:
		return blaze_record_set_null(record, field);
	case BLAZE_TYPE_BOOL:
		return blaze_record_set_bool(record, field, false);
	case BLAZE_TYPE_INT:
		return blaze_record_set_int(record, field, INT64_MIN);
	case BLAZE_TYPE_DOUBLE:
		return blaze_record_set_double(record, field, 1e300);
	case BLAZE_TYPE_STRING:
		return blaze_record_set_string(record, field, "a string of some length");
	case BLAZE_TYPE_BYTES:
		return blaze_record_set_bytes(record, field, NULL, 0);
	case BLAZE_TYPE_TIME:
		return blaze_record_set_time(record, field, UINT64_MAX);
	case BLAZE_TYPE_UUID:
		return blaze_record_set_uuid(record, field, &some_id);
	case BLAZE_TYPE_ARRAY:
		return blaze_record_set_array(record, field, "[]", 2);
	case BLAZE_TYPE_MAP:
		return blaze_record_set_map(record, field, "{\"k\":[1,2,3,4,5,6]}", 19);
	case BLAZE_TYPE_UNSET:
		return blaze_record_unset(record, field);
	}
	return -EINVAL;
}

START_TEST(set_malformed_argument_refused)
{
	struct blaze_record *record = record_new();
	char long_name[BLAZEI_NAME_BYTES_MAX + 2];

	memset(long_name, 'n', sizeof(long_name));
	long_name[sizeof(long_name) - 1] = 0;
	for (int type = BLAZE_TYPE_NULL; type <= BLAZE_TYPE_UNSET; type++) {
		ck_assert_int_eq(set_any(NULL, "f", (enum blaze_type)type), -EINVAL);
		ck_assert_int_eq(set_any(record, NULL, (enum blaze_type)type), -EINVAL);
		ck_assert_int_eq(set_any(record, "\xff", (enum blaze_type)type), -EINVAL);
		ck_assert_int_eq(set_any(record, long_name, (enum blaze_type)type), -E2BIG);
	}
	ck_assert_int_eq(blaze_record_set_string(record, "f", NULL), -EINVAL);
	ck_assert_int_eq(blaze_record_set_string(record, "f", "\xc3"), -EINVAL);
	ck_assert_int_eq(blaze_record_set_bytes(record, "f", NULL, 1), -EINVAL);
	ck_assert_int_eq(blaze_record_set_uuid(record, "f", NULL), -EINVAL);
	ck_assert_int_eq(blaze_record_set_array(record, "f", NULL, 2), -EINVAL);
	ck_assert_int_eq(blaze_record_set_array(record, "f", "[", 1), -EINVAL);
	ck_assert_int_eq(blaze_record_set_array(record, "f", "{}", 2), -EINVAL);
	ck_assert_int_eq(blaze_record_set_map(record, "f", "[]", 2), -EINVAL);
	ck_assert_int_eq(blaze_record_set_map(record, "f", "", 0), -EINVAL);
	ck_assert_int_eq(blaze_record_set_map(record, "f", "{\"$double\":\"NaN\"}", 17), -EINVAL);
	ck_assert_uint_eq(blaze_record_field_count(record), 0);
	blaze_record_free(record);
}
END_TEST

START_TEST(set_replaces_whatever_the_type_was)
{
	struct blaze_record *record = record_new();

	ck_assert_int_eq(blaze_record_set_int(record, "other", 5), 0);
	for (int from = BLAZE_TYPE_NULL; from <= BLAZE_TYPE_UNSET; from++) {
		for (int to = BLAZE_TYPE_NULL; to <= BLAZE_TYPE_UNSET; to++) {
			const char *name;
			enum blaze_type type;

			ck_assert_int_eq(set_any(record, "f", (enum blaze_type)from), 0);
			ck_assert_int_eq(set_any(record, "f", (enum blaze_type)to), 0);
			ck_assert_uint_eq(blaze_record_field_count(record), 2);
			ck_assert_int_eq(blaze_record_field_at(record, 0, &name, &type), 0);
			ck_assert_str_eq(name, "f");
			ck_assert_int_eq(type, to);
			expect_sound(record);
		}
	}
	blaze_record_free(record);
}
END_TEST

START_TEST(set_from_within_the_record)
{
	struct blaze_record *record = record_new();
	const char *text, *name;
	enum blaze_type type;

	ck_assert_int_eq(blaze_record_set_string(record, "a", "0123456789"), 0);
	ck_assert_int_eq(blaze_record_get_string(record, "a", &text), 0);
	ck_assert_int_eq(blaze_record_set_string(record, "a", text + 3), 0); /* in its place */
	ck_assert_int_eq(blaze_record_get_string(record, "a", &text), 0);
	ck_assert_str_eq(text, "3456789");
	for (unsigned i = 0; i < 12; i++) { /* while the bytes grow */
		char both[30000];

		ck_assert_int_eq(blaze_record_set_string(record, "b", text), 0);
		ck_assert_int_eq(blaze_record_get_string(record, "b", &text), 0);
		snprintf(both, sizeof(both), "%s%s", text, text);
		ck_assert_int_eq(blaze_record_set_string(record, "a", both), 0);
		ck_assert_int_eq(blaze_record_get_string(record, "a", &text), 0);
		ck_assert_str_eq(text, both);
	}
	ck_assert_int_eq(blaze_record_field_at(record, 0, &name, &type), 0);
	ck_assert_int_eq(blaze_record_set_string(record, name + 1, name), 0); /* "" and "a" */
	ck_assert_int_eq(blaze_record_get_string(record, "", &text), 0);
	ck_assert_str_eq(text, "a");
	expect_sound(record);
	blaze_record_free(record);
}
END_TEST

START_TEST(name_of_any_length_up_to_limit)
{
	struct blaze_record *record = record_new();
	char name[BLAZEI_NAME_BYTES_MAX + 1];

	for (size_t len = 0; len <= BLAZEI_NAME_BYTES_MAX; len++) {
		memset(name, 'n', len);
		name[len] = 0;
		ck_assert_int_eq(blaze_record_set_int(record, name, (int64_t)len), 0);
	}
	for (size_t len = 0; len <= BLAZEI_NAME_BYTES_MAX; len++) {
		int64_t value;

		name[len] = 0;
		ck_assert_int_eq(blaze_record_get_int(record, name, &value), 0);
		ck_assert_int_eq(value, len);
		name[len] = 'n';
	}
	expect_sound(record);
	blaze_record_free(record);
}
END_TEST

START_TEST(field_at_walks_all_once)
{
	struct blaze_record *record = record_with_all_types();
	unsigned seen = 0;

	for (unsigned i = 0; i < blaze_record_field_count(record); i++) {
		const char *name;
		enum blaze_type type;

		ck_assert_int_eq(blaze_record_field_at(record, i, &name, &type), 0);
		if (type != BLAZE_TYPE_UNSET)
			ck_assert_int_eq(get_any(record, name, type), 0);
		seen |= 1U << type;
	}
	ck_assert_uint_eq(seen, (2U << BLAZE_TYPE_UNSET) - 1);
	ck_assert_int_eq(blaze_record_field_at(record, blaze_record_field_count(record),
	                                       &(const char *){ NULL }, &(enum blaze_type){ 0 }),
	                 -ENOENT);
	ck_assert_int_eq(
	        blaze_record_field_at(NULL, 0, &(const char *){ NULL }, &(enum blaze_type){ 0 }),
	        -EINVAL);
	blaze_record_free(record);
}
END_TEST

START_TEST(fields_beyond_limit_refused)
{
	struct blaze_record *record = record_new();
	char name[16];

	for (unsigned i = 0; i < BLAZEI_RECORD_FIELDS_MAX; i++) {
		snprintf(name, sizeof(name), "f%u", i * 7919 % BLAZEI_RECORD_FIELDS_MAX);
		ck_assert_int_eq(blaze_record_set_int(record, name, i), 0);
	}
	expect_sound(record);
	ck_assert_int_eq(blaze_record_set_int(record, "more", 1), -E2BIG);
	ck_assert_int_eq(blaze_record_unset(record, "more"), -E2BIG);
	ck_assert_int_eq(blaze_record_set_int(record, name, 1), 0);
	ck_assert_uint_eq(blaze_record_field_count(record), BLAZEI_RECORD_FIELDS_MAX);
	expect_sound(record);
	/* What merging made is taken whole. */
	ck_assert_int_eq(blazei_record_append(record, "more", 4, "\x01", 1), 0);
	ck_assert_uint_eq(blaze_record_field_count(record), BLAZEI_RECORD_FIELDS_MAX + 1);
	ck_assert_int_eq(blaze_record_set_int(record, "most", 1), -E2BIG);
	ck_assert_int_eq(blaze_record_set_int(record, "more", 2), 0);
	blaze_record_free(record);
}
END_TEST

START_TEST(bytes_beyond_limit_refused_record_kept)
{
	struct blaze_record *record = record_new();
	/* The field "big" takes 3 bytes and a head of 5; "i" and its value 2. */
	const size_t room = BLAZEI_RECORD_BYTES_MAX - 3 - 5 - 2;
	char *data = calloc(1, BLAZEI_RECORD_BYTES_MAX + 2);
	const void *got;
	int64_t number;
	size_t len;

	ck_assert_ptr_nonnull(data);
	ck_assert_int_eq(blaze_record_set_int(record, "i", 1), 0);
	ck_assert_int_eq(blaze_record_set_bytes(record, "big", data, room), 0);
	ck_assert_uint_eq(record->names_values, BLAZEI_RECORD_BYTES_MAX);
	ck_assert_int_eq(blaze_record_set_int(record, "i", 100), -E2BIG);
	ck_assert_int_eq(blaze_record_set_null(record, ""), -E2BIG);
	ck_assert_int_eq(blaze_record_set_bytes(record, "big", data, room + 1), -E2BIG);
	ck_assert_int_eq(blaze_record_set_bytes(record, "big", data, SIZE_MAX), -E2BIG);
	ck_assert_int_eq(blaze_record_set_bytes(record, "i", data, ((size_t)1 << 32) + 1), -E2BIG);
	ck_assert_int_eq(blaze_record_get_int(record, "i", &number), 0);
	ck_assert_int_eq(number, 1);
	ck_assert_int_eq(blaze_record_get_bytes(record, "big", &got, &len), 0);
	ck_assert_uint_eq(len, room);
	expect_sound(record);
	ck_assert_int_eq(blaze_record_set_bytes(record, "big", data, room - 1), 0);
	ck_assert_int_eq(blaze_record_set_int(record, "i", 100), 0);
	memset(data, 'x', BLAZEI_RECORD_BYTES_MAX + 1);
	ck_assert_int_eq(blaze_record_set_string(record, "big", data), -E2BIG);
	expect_sound(record);
	free(data);
	blaze_record_free(record);
}
END_TEST

/* A value that is as long as all of a record may be, under the empty name. */
START_TEST(bytes_of_exactly_the_limit_accepted)
{
	const size_t max = BLAZEI_RECORD_BYTES_MAX;
	struct blaze_record *record = record_new();
	char *json = malloc(max + 1);

	ck_assert_ptr_nonnull(json);
	/* An array of one string: heads of one byte and of five. */
	snprintf(json, max + 1, "[\"%0*d\"]", (int)max - 6, 0);
	ck_assert_int_eq(blaze_record_set_array(record, "", json, strlen(json)), 0);
	expect_sound(record);
	snprintf(json, max + 1, "[\"%0*d\"]", (int)max - 5, 0);
	ck_assert_int_eq(blaze_record_set_array(record, "", json, strlen(json)), -E2BIG);
	expect_sound(record);
	blaze_record_free(record);
	free(json);
}
END_TEST

/* The same of a value that comes in one piece. */
START_TEST(store_of_exactly_the_limit_accepted)
{
	const uint32_t max = BLAZEI_RECORD_BYTES_MAX;
	struct blaze_record *record = record_new();
	uint8_t *value = calloc(1, max + 1);
	struct blazei_field_source source = { .name = "", .body = value, .body_len = max };

	ck_assert_ptr_nonnull(value);
	ck_assert_int_eq(blazei_record_store(record, &source), 0);
	source.body_len++;
	ck_assert_int_eq(blazei_record_store(record, &source), -E2BIG);
	blaze_record_free(record);
	free(value);
}
END_TEST

START_TEST(append_any_order_keeps_fields_sorted)
{
	struct random_source source = random_source_new("append_any_order");
	struct blaze_record *record;
	char name[24];

	ck_assert_int_eq(blazei_record_sized(0, 0, &record), 0);
	for (unsigned i = 0; i < 500; i++) {
		const int len = snprintf(name, sizeof(name), "%llx",
		                         (unsigned long long)random_bits(&source));

		ck_assert_int_eq(blazei_record_append(record, name, (size_t)len, "\x01", 1), 0);
	}
	ck_assert_uint_eq(record->count, 500);
	expect_sound(record);
	ck_assert_int_ge(blazei_record_find(record, name, strlen(name)), 0);
	ck_assert_int_eq(blazei_record_find(record, "none", 4), -ENOENT);
	blaze_record_free(record);
}
END_TEST

START_TEST(sized_record_takes_its_fields_in_place)
{
	struct blaze_record *record;

	ck_assert_int_eq(blazei_record_sized(2, 10, &record), 0);
	ck_assert_int_eq(blazei_record_append(record, "a", 1, "\x01", 1), 0);
	ck_assert_int_eq(blazei_record_append(record, "b", 1, "\x66ghijkl", 7), 0);
	ck_assert_ptr_eq(record->fields, record + 1);
	ck_assert(record->bytes_inline);
	ck_assert_uint_eq(record->used, record->bytes_max);
	expect_sound(record);
	ck_assert_int_eq(blazei_record_append(record, "c", 1, "\xf6", 1), 0); /* outgrows it */
	expect_sound(record);
	blaze_record_free(record);
	/* Hints that make no sense are none. */
	ck_assert_int_eq(blazei_record_sized(UINT32_MAX, SIZE_MAX, &record), 0);
	ck_assert_int_eq(blazei_record_append(record, "c", 1, "\xf6", 1), 0);
	ck_assert_int_eq(blazei_record_append(record, "d", 1, "\xf6", SIZE_MAX), -E2BIG);
	expect_sound(record);
	blaze_record_free(record);
}
END_TEST

#define MODEL_NAMES 40

/* Random setters against a plain array of what each field should hold. */
START_TEST(random_changes_equal_model)
{
	struct random_source source = random_source_new("random_changes");
	struct blazei_buffer model[MODEL_NAMES];
	bool present[MODEL_NAMES] = { false };
	struct blaze_record *record = record_new();

	for (unsigned i = 0; i < MODEL_NAMES; i++)
		model[i] = (struct blazei_buffer){ .max = 1 << 20 };
	for (unsigned step = 0; step < 20000; step++) {
		const unsigned which = (unsigned)random_below(&source, MODEL_NAMES);
		struct blazei_buffer *value = &model[which];
		char name[8];
		struct blazei_field_source field = { .name = name, .unset = false };
		struct blazei_field_view view;
		int index;

		field.name_len = (uint8_t)snprintf(name, sizeof(name), "%u", which * which);
		value->len = 0;
		random_value(&source, 2, value);
		field.head = value->data;
		field.head_len = (uint32_t)random_below(&source, value->len + 1);
		field.body = value->data + field.head_len;
		field.body_len = (uint32_t)value->len - field.head_len;
		ck_assert_int_eq(blazei_record_store(record, &field), 0);
		present[which] = true;
		index = blazei_record_find(record, name, field.name_len);
		ck_assert_int_ge(index, 0);
		blazei_record_view(record, (unsigned)index, &view);
		ck_assert_uint_eq(view.value_len, value->len);
		ck_assert_mem_eq(view.value, value->data, value->len);
		if (step % 500 != 0)
			continue;
		expect_sound(record);
		for (unsigned i = 0; i < MODEL_NAMES; i++) {
			const int len = snprintf(name, sizeof(name), "%u", i * i);

			index = blazei_record_find(record, name, (size_t)len);
			ck_assert_int_eq(index >= 0, present[i]);
			if (index < 0)
				continue;
			blazei_record_view(record, (unsigned)index, &view);
			ck_assert_uint_eq(view.value_len, model[i].len);
			ck_assert_mem_eq(view.value, model[i].data, model[i].len);
		}
	}
	for (unsigned i = 0; i < MODEL_NAMES; i++)
		blazei_buffer_free(&model[i]);
	blaze_record_free(record);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		record_new_is_empty,
		field_every_type_reads_back,
		get_another_type_or_none_refused,
		get_null_output_refused,
		set_malformed_argument_refused,
		set_replaces_whatever_the_type_was,
		set_from_within_the_record,
		name_of_any_length_up_to_limit,
		field_at_walks_all_once,
		fields_beyond_limit_refused,
		bytes_beyond_limit_refused_record_kept,
		bytes_of_exactly_the_limit_accepted,
		store_of_exactly_the_limit_accepted,
		append_any_order_keeps_fields_sorted,
		sized_record_takes_its_fields_in_place,
		random_changes_equal_model,
	};

	return run_tests("record", tests, sizeof(tests) / sizeof(*tests));
}
