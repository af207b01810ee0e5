/* SPDX-License-Identifier: Apache-2.0 */
/* Records: names that are nearly the one set last, which the setters try first. */
#include <check.h>
#include <stdlib.h>

#include "lib/op/record.h"
#include "tests/op/help.h"

static struct blaze_record *record;

static void expect(const char *name, int64_t wanted)
{
	int64_t value = -1;

	ck_assert_int_eq(blaze_record_get_int(record, name, &value), 0);
	ck_assert_int_eq(value, wanted);
}

START_TEST(name_set_last_is_not_taken_for_one_like_it)
{
	static const char *const names[] = { "ab", "a", "abc", "", "ac", "b", "ab" };

	ck_assert_int_eq(blaze_record_new(&record), 0);
	for (int64_t round = 0; round < 3; round++)
		for (int64_t i = 0; i < 7; i++) {
			ck_assert_int_eq(
			        blaze_record_set_int(record, names[i], round * 1000000 + i), 0);
			expect(names[i], round * 1000000 + i);
		}
	ck_assert_uint_eq(blaze_record_field_count(record), 6);
	for (int64_t i = 1; i < 7; i++)
		expect(names[i], 2000000 + i);
	/* With a field before it inserted, and another one behind. */
	ck_assert_int_eq(blaze_record_set_int(record, "aa", 1), 0);
	ck_assert_int_eq(blaze_record_set_int(record, "ab", 2), 0);
	ck_assert_int_eq(blaze_record_set_int(record, "zz", 3), 0);
	expect("aa", 1);
	expect("ab", 2);
	expect("zz", 3);
	blaze_record_free(record);
}
END_TEST

/* A name that others wrote may hold a NUL, where a program's ends. */
START_TEST(name_with_a_nul_is_not_the_one_before_it)
{
	static const uint8_t one = 1;
	const struct blazei_field_source source = {
		.name = "a\0b",
		.name_len = 3,
		.head = &one,
		.head_len = 1,
	};
	enum blaze_type type;
	const char *name;

	ck_assert_int_eq(blaze_record_new(&record), 0);
	ck_assert_int_eq(blazei_record_store(record, &source), 0);
	ck_assert_int_eq(blaze_record_field_at(record, 0, &name, &type), 0);
	/* From outside, and the very text that the record holds. */
	ck_assert_int_eq(blaze_record_set_int(record, "a", 5), 0);
	ck_assert_uint_eq(blaze_record_field_count(record), 2);
	expect("a", 5);
	ck_assert_int_eq(blazei_record_store(record, &source), 0);
	ck_assert_int_eq(blaze_record_field_at(record, 1, &name, &type), 0);
	ck_assert_int_eq(blaze_record_set_int(record, name, 6), 0);
	ck_assert_uint_eq(blaze_record_field_count(record), 2);
	expect("a", 6);
	blaze_record_free(record);
}
END_TEST

START_TEST(name_set_last_may_be_given_from_within_the_record_that_grows)
{
	char text[600] = "";
	enum blaze_type type;
	const char *name;
	const char *value;

	ck_assert_int_eq(blaze_record_new(&record), 0);
	ck_assert_int_eq(blaze_record_set_int(record, "name", 1), 0);
	ck_assert_int_eq(blaze_record_field_at(record, 0, &name, &type), 0);
	memset(text, 'x', sizeof(text) - 1);
	ck_assert_int_eq(blaze_record_set_string(record, name, text), 0);
	ck_assert_uint_eq(blaze_record_field_count(record), 1);
	ck_assert_int_eq(blaze_record_get_string(record, "name", &value), 0);
	ck_assert_str_eq(value, text);
	blaze_record_free(record);
}
END_TEST

/* What a record was made for is what it has room for: more than that needs other room. */
START_TEST(fields_longer_than_the_record_was_made_for_are_appended)
{
	static const char *const names[] = { "a", "b", "c" };
	uint8_t text[1003] = { 0x79, 0x03, 0xe8 }; /* CBOR: text of 1,000 bytes */
	char wanted[1001] = "";
	struct blaze_record *next; /* in memory, most likely */
	const char *value;

	ck_assert_int_eq(blazei_record_sized(3, 9, &record), 0);
	ck_assert_int_eq(blazei_record_sized(3, 9, &next), 0);
	ck_assert_int_eq(blazei_record_append(next, "n", 1, "\x07", 1), 0);
	for (unsigned i = 0; i < 3; i++) {
		memset(text + 3, 'x' + (int)i, 1000);
		ck_assert_int_eq(blazei_record_append(record, names[i], 1, text, sizeof(text)), 0);
	}
	for (unsigned i = 0; i < 3; i++) {
		memset(wanted, 'x' + (int)i, 1000);
		ck_assert_int_eq(blaze_record_get_string(record, names[i], &value), 0);
		ck_assert_str_eq(value, wanted);
	}
	blaze_record_free(record);
	record = next;
	expect("n", 7);
	blaze_record_free(record);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { name_set_last_is_not_taken_for_one_like_it,
		                       name_with_a_nul_is_not_the_one_before_it,
		                       name_set_last_may_be_given_from_within_the_record_that_grows,
		                       fields_longer_than_the_record_was_made_for_are_appended };

	return run_tests("record names", tests, sizeof(tests) / sizeof(*tests));
}
