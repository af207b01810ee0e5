/* SPDX-License-Identifier: Apache-2.0 */
/* Options, names, clocks and fork generations. */
#include <check.h>
#include <stdlib.h>

#include "lib/base/base.h"

START_TEST(name_leading_dot_invalid)
{
	ck_assert(!blazei_name_valid(".a", 64));
	ck_assert(blazei_name_valid("a.b-c_D9", 64));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base");
	TCase *tcase = tcase_create("base");

	tcase_add_test(tcase, name_leading_dot_invalid);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	const int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
