/* SPDX-License-Identifier: Apache-2.0 */
/* What a failed allocation leaves: each call is run again and again, and every allocation in it
 * fails once. The linker turns the library's calls of malloc and its like into those here. */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>

#include "lib/op/record.h"
#include "tests/op/held.h"
#include "tests/op/help.h"

static long allocations_left = -1; /* negative: all succeed */

static bool allocation_fails(void)
{
	if (allocations_left < 0)
		return false;
	return allocations_left-- == 0;
}

void *__real_malloc(size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
void __wrap_free(void *memory);

void *__wrap_malloc(size_t size)
{
	return allocation_fails() ? NULL : held(__real_malloc(size));
}

void *__wrap_realloc(void *old, size_t size)
{
	return allocation_fails() ? NULL : held_instead(old, __real_realloc(old, size));
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
	return allocation_fails() ? NULL : held_instead(old, __real_reallocarray(old, count, size));
}

void __wrap_free(void *memory)
{
	held_forget(memory);
	__real_free(memory);
}

#define BYTES_64 "AAECAwQFBgcAAQIDBAUGBwABAgMEBQYHAAECAwQFBgcAAQIDBAUGBwABAgMEBQYH"

/* Its text and that of its map are written in more than one piece of memory. */
static const char text[] =
        "{\"a\":{\"b\":[1,2,3],\"c\":{\"$bytes\":\"" BYTES_64 BYTES_64 BYTES_64 BYTES_64
        "AAECAwQFBgc=\"}},\"d\":\"0123456789\"}";

typedef int (*action)(struct blaze_record *record);

static int set_long_string(struct blaze_record *record)
{
	static char long_text[2000];

	memset(long_text, 'x', sizeof(long_text) - 1);
	return blaze_record_set_string(record, "new", long_text);
}

static int replace_with_long_string(struct blaze_record *record)
{
	static char long_text[2000];

	memset(long_text, 'x', sizeof(long_text) - 1);
	return blaze_record_set_string(record, "d", long_text);
}

/* One field more than the table has. */
static int set_one_more(struct blaze_record *record)
{
	return blaze_record_set_int(record, "~", 9);
}

static int set_map(struct blaze_record *record)
{
	return blaze_record_set_map(record, "map", text, sizeof(text) - 1);
}

static int set_array(struct blaze_record *record)
{
	return blaze_record_set_array(record, "array", "[[1,{\"x\":\"y\"}],2.5]", 19);
}

static int get_map(struct blaze_record *record)
{
	char *json = NULL;
	const int r = blaze_record_get_map(record, "a", &json);

	allocations_left = -1; /* Check allocates too */
	ck_assert_int_eq(json != NULL, r == 0);
	free(json);
	return r;
}

static int to_json(struct blaze_record *record)
{
	char *json = NULL;
	const int r = blaze_record_to_json(record, &json);

	allocations_left = -1;
	ck_assert_int_eq(json != NULL, r == 0);
	free(json);
	return r;
}

static int from_json(struct blaze_record *record)
{
	struct blaze_record *other = NULL;
	const int r = blaze_record_from_json(text, sizeof(text) - 1, &other);

	(void)record;
	allocations_left = -1;
	ck_assert_int_eq(other != NULL, r == 0);
	blaze_record_free(other);
	return r;
}

static int new_record(struct blaze_record *record)
{
	struct blaze_record *other = NULL;
	const int r = blaze_record_new(&other);

	(void)record;
	allocations_left = -1;
	ck_assert_int_eq(other != NULL, r == 0);
	blaze_record_free(other);
	return r;
}

/* A record whose table is full, and its JSON. */
static struct blaze_record *record_full(char **ret_json)
{
	struct blaze_record *record;

	ck_assert_int_eq(blaze_record_from_json(text, sizeof(text) - 1, &record), 0);
	for (char name[2] = "1"; record->count < record->count_max; name[0]++)
		ck_assert_int_eq(blaze_record_set_int(record, name, 1), 0);
	ck_assert_int_eq(blaze_record_to_json(record, ret_json), 0);
	return record;
}

/* Fails allocation 0, 1, 2, .. of the action until it succeeds. */
static void expect_memory_errors(size_t which, action run, bool also_jansson)
{
	int r = -ENOMEM;

	for (long fail = 0; r != 0; fail++) {
		const unsigned held_before = held_count;
		char *before, *after;
		struct blaze_record *record = record_full(&before);

		ck_assert_int_lt(fail, 1000);
		allocations_left = fail;
		r = run(record);
		allocations_left = -1;
		ck_assert_msg(r == 0 || r == -ENOMEM || (also_jansson && r == -EINVAL),
		              "action %zu, allocation %ld: %d", which, fail, r);
		ck_assert_msg(fail > 0 || r != 0, "nothing was allocated");
		if (r != 0) {
			ck_assert_int_eq(blaze_record_to_json(record, &after), 0);
			ck_assert_str_eq(after, before);
			free(after);
		}
		free(before);
		blaze_record_free(record);
		ck_assert_msg(held_count == held_before, "action %zu, allocation %ld leaks", which,
		              fail);
	}
}

static const action actions[] = {
	set_long_string, replace_with_long_string,
	set_one_more,    set_map,
	set_array,       get_map,
	to_json,         from_json,
	new_record,
};

START_TEST(allocation_fails_enomem_and_record_kept)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++)
		expect_memory_errors(i, actions[i], false);
}
END_TEST

/* jansson's own allocations. It reports some of their failures as a malformed token. */
START_TEST(allocation_in_parser_fails_error_and_record_kept)
{
	json_set_alloc_funcs(__wrap_malloc, free);
	for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++)
		expect_memory_errors(i, actions[i], true);
	json_set_alloc_funcs(malloc, free);
}
END_TEST

START_TEST(sized_record_allocates_once)
{
	struct blaze_record *record = NULL;
	long left;
	int r;

	allocations_left = 1; /* the second one would fail */
	r = blazei_record_sized(2, 8, &record);
	if (r == 0)
		r = blazei_record_append(record, "ab", 2, "\x01", 1);
	if (r == 0)
		r = blazei_record_append(record, "cd", 2, "\x62xy", 3);
	left = allocations_left;
	allocations_left = -1;
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(left, 0);
	blaze_record_free(record);
}
END_TEST

START_TEST(freed_record_leaves_nothing)
{
	const unsigned before = held_count;
	struct blaze_record *record;
	char name[2] = "A";
	char *json = NULL;
	unsigned after;
	int r;

	r = blaze_record_from_json(text, sizeof(text) - 1, &record);
	for (; r == 0 && name[0] <= 'Z'; name[0]++)
		r = set_long_string(record) | blaze_record_set_string(record, name, text);
	if (r == 0)
		r = blaze_record_set_map(record, "map", text, sizeof(text) - 1);
	if (r == 0)
		r = blaze_record_to_json(record, &json);
	free(json);
	blaze_record_free(record);
	after = held_count;
	ck_assert_int_eq(r, 0);
	ck_assert_uint_eq(after, before);
}
END_TEST

/* Bytes that outgrow their place again and again leave none of the old places behind. */
START_TEST(record_that_grows_holds_what_it_is)
{
	const unsigned before = held_count;
	struct blaze_record *record;
	char *text_of = malloc(100001);
	unsigned after;

	memset(text_of, 'x', 100000);
	text_of[100000] = 0;
	ck_assert_int_eq(blaze_record_new(&record), 0);
	for (size_t len = 100; len <= 100000; len *= 10)
		ck_assert_int_eq(blaze_record_set_string(record, "a", text_of + 100000 - len), 0);
	free(text_of);
	after = held_count;
	ck_assert_uint_eq(after, before + 2); /* the record, and its bytes */
	blaze_record_free(record);
	after = held_count;
	ck_assert_uint_eq(after, before);
}
END_TEST

START_TEST(buffer_that_has_room_does_not_allocate)
{
	struct blazei_buffer buffer = { .max = 1 << 20 };
	static const uint8_t bytes[4096];
	size_t room;
	int r;

	ck_assert_int_eq(blazei_buffer_append(&buffer, bytes, 300), 0);
	room = buffer.cap - buffer.len;
	ck_assert_uint_le(room, sizeof(bytes));
	allocations_left = 0;
	r = blazei_buffer_append(&buffer, bytes, room); /* to the last byte */
	allocations_left = -1;
	ck_assert_int_eq(r, 0);
	allocations_left = 0;
	r = blazei_buffer_append(&buffer, bytes, 1);
	allocations_left = -1;
	ck_assert_int_eq(r, -ENOMEM);
	blazei_buffer_free(&buffer);
}
END_TEST

START_TEST(value_of_the_same_length_replaced_in_place)
{
	struct blaze_record *record = NULL;
	int r;

	ck_assert_int_eq(blazei_record_sized(1, 1 + 5, &record), 0);
	ck_assert_int_eq(blaze_record_set_string(record, "a", "1234"), 0);
	allocations_left = 0;
	r = blaze_record_set_string(record, "a", "5678");
	if (r == 0)
		r = blaze_record_set_string(record, "a", "9");
	if (r == 0)
		r = blaze_record_set_string(record, "a", "4321"); /* its place is still as long */
	allocations_left = -1;
	ck_assert_int_eq(r, 0);
	blaze_record_free(record);
}
END_TEST

/* The table of a record is rewritten when its bytes move: up to its last field, and no further. */
START_TEST(bytes_that_move_leave_what_is_behind_the_table)
{
	const struct blazei_record_field behind = { .at = 0x5a5a5a5a, .slot_bytes = 0x5a5a5a5a };
	struct blaze_record *record = NULL;
	struct blazei_record_field *fields = malloc(3 * sizeof(*fields));

	ck_assert_ptr_nonnull(fields);
	fields[2] = behind;
	ck_assert_int_eq(blazei_record_sized(0, 0, &record), 0);
	record->fields = fields;
	record->count_max = 2;
	ck_assert_int_eq(blaze_record_set_string(record, "a", "1"), 0);
	ck_assert_int_eq(blaze_record_set_string(record, "d", "2"), 0);
	ck_assert_int_eq(replace_with_long_string(record), 0);
	ck_assert_ptr_eq(record->fields, fields);
	ck_assert_uint_eq(fields[2].at, behind.at);
	ck_assert_uint_eq(fields[2].slot_bytes, behind.slot_bytes);
	blaze_record_free(record);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { allocation_fails_enomem_and_record_kept,
		                       allocation_in_parser_fails_error_and_record_kept,
		                       sized_record_allocates_once,
		                       freed_record_leaves_nothing,
		                       record_that_grows_holds_what_it_is,
		                       buffer_that_has_room_does_not_allocate,
		                       bytes_that_move_leave_what_is_behind_the_table,
		                       value_of_the_same_length_replaced_in_place };

	return run_tests("record_memory", tests, sizeof(tests) / sizeof(*tests));
}
