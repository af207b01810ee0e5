/* SPDX-License-Identifier: Apache-2.0 */
/* What a failed allocation leaves: each call is run again and again, and every allocation in it
 * fails once. The linker turns the library's calls of malloc and its like into those here. */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>

#include "lib/op/record.h"
#include "tests/op/help.h"

static long allocations_left = -1; /* negative: all succeed */
static long allocations_held;      /* given out and not freed */

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

static void *held(void *before, void *memory)
{
	allocations_held += before == NULL && memory != NULL;
	return memory;
}

void *__wrap_malloc(size_t size)
{
	return allocation_fails() ? NULL : held(NULL, __real_malloc(size));
}

void *__wrap_realloc(void *old, size_t size)
{
	return allocation_fails() ? NULL : held(old, __real_realloc(old, size));
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
	return allocation_fails() ? NULL : held(old, __real_reallocarray(old, count, size));
}

void __wrap_free(void *memory)
{
	allocations_held -= memory != NULL;
	__real_free(memory);
}

static const char text[] =
        "{\"a\":{\"b\":[1,2,3],\"c\":{\"$bytes\":\"AAECAwQFBgc=\"}},\"d\":\"0123456789\"}";

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
	const long before = allocations_held;
	struct blaze_record *record;
	char name[2] = "A";
	char *json = NULL;
	long after;
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
	after = allocations_held; /* Check allocates too, and frees otherwise */
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(after, before);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { allocation_fails_enomem_and_record_kept,
		                       allocation_in_parser_fails_error_and_record_kept,
		                       sized_record_allocates_once, freed_record_leaves_nothing };

	return run_tests("record_memory", tests, sizeof(tests) / sizeof(*tests));
}
