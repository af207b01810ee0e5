/* SPDX-License-Identifier: Apache-2.0 */
/* Open transactions keep back what is reported, by the generation in which they began
 * (lib/repl/opened.h). */
#include "lib/repl/opened.h"
#include "tests/repl/starve.h"
#include "tests/repl/three.h"

static struct blazei_opened opened;

static void open_set_up(void)
{
	set_up();
	opened = (struct blazei_opened){ .generation = 0 };
}

static void open_tear_down(void)
{
	blazei_opened_fini(&opened);
	tear_down();
}

/* One more write of a; then what is said of the open transactions: how many of a's they all had
 * seen, with `open` telling whether there are any. */
static void expect_bound(uint64_t seq, bool open)
{
	struct blazei_vector_view bound;

	ck_assert_int_ge(node_write(&a, BLAZEI_WRITE_UPSERT, a.count, "{\"x\":1}", NULL), 0);
	ck_assert_int_eq(blazei_opened_bound(&opened, a.replica, &bound), open);
	ck_assert_uint_eq(bound.count, 1);
	ck_assert(blazei_origin_equal(&bound.entries[0].origin, &a.origin));
	ck_assert_uint_eq(bound.entries[0].seq, seq);
}

START_TEST(bound_is_what_was_there_when_the_oldest_generation_began)
{
	unsigned first;
	unsigned second;
	unsigned third;

	expect_bound(1, false);
	expect_bound(2, false);
	/* It may have begun at once after the last look. */
	first = blazei_opened_begin(&opened);
	expect_bound(2, true);
	/* Its generation is filled no more; the next one does not start before it has none left. */
	second = blazei_opened_begin(&opened);
	ck_assert_uint_ne(first, second);
	expect_bound(2, true);
	ck_assert_uint_eq(blazei_opened_begin(&opened), second);
	expect_bound(2, true);
	blazei_opened_end(&opened, first);
	expect_bound(3, true);
	third = blazei_opened_begin(&opened);
	ck_assert_uint_eq(third, first);
	blazei_opened_end(&opened, second);
	expect_bound(3, true);
	blazei_opened_end(&opened, second);
	/* Not what was there when the third one began, but when its generation did. */
	expect_bound(6, true);
	blazei_opened_end(&opened, third);
	expect_bound(9, false);
}
END_TEST

START_TEST(one_of_either_generation_is_open)
{
	struct blazei_vector_view bound;
	unsigned which[2];

	for (unsigned i = 0; i < 2; i++) {
		ck_assert(blazei_opened_none(&opened));
		ck_assert(blazei_opened_none_shut(&opened));
		which[i] = blazei_opened_begin(&opened);
		ck_assert(!blazei_opened_none(&opened));
		ck_assert(!blazei_opened_none_shut(&opened));
		blazei_opened_end(&opened, which[i]);
		ck_assert_int_eq(blazei_opened_bound(&opened, a.replica, &bound), 0);
	}
	ck_assert_uint_ne(which[0], which[1]);
	ck_assert(blazei_opened_none(&opened));
}
END_TEST

/* It changes nothing: the next look says what this one would have said. */
START_TEST(look_without_memory_is_made_again)
{
	struct blazei_vector_view bound;
	bool failed = true;

	expect_bound(1, false);
	for (unsigned at = 0; failed; at++) {
		ck_assert_int_eq(node_insert(&a, 100 + at, "{\"x\":1}"), 0);
		starve(at);
		if (blazei_opened_bound(&opened, a.replica, &bound) == 0) {
			failed = starve_end();
			ck_assert(!failed);
			ck_assert_uint_eq(at, 2);
			ck_assert_uint_eq(bound.entries[0].seq, a.count);
			continue;
		}
		ck_assert(starve_end());
		ck_assert_int_eq(blazei_opened_bound(&opened, a.replica, &bound), 0);
		ck_assert_uint_eq(bound.entries[0].seq, a.count);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("opened");
	TCase *tcase = tcase_create("opened");

	tcase_add_checked_fixture(tcase, open_set_up, open_tear_down);
	tcase_add_test(tcase, bound_is_what_was_there_when_the_oldest_generation_began);
	tcase_add_test(tcase, one_of_either_generation_is_open);
	tcase_add_test(tcase, look_without_memory_is_made_again);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
