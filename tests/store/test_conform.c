/* SPDX-License-Identifier: Apache-2.0 */
/* Every backend there is: the library's own, the tests', and the one that the manual shows. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/store/file.h"
#include "lib/store/mem.h"
#include "tests/store/conform.h"
#include "tests/store/fault.h"

/* The manual's example, with its program renamed. */
#define main   example_main
#define append example_append
#define run    example_run
#include "man/examples/store.c"
#undef main
#undef append
#undef run

static void file_fresh(char ret_location[256])
{
	char path[] = "test_conform.XXXXXX";

	ck_assert_ptr_nonnull(mkdtemp(path));
	snprintf(ret_location, 256, "%s/store", path);
}

static void file_clear(const char *location)
{
	DIR *stream = opendir(location);
	struct dirent *entry;
	char name[512];

	while (stream != NULL && (entry = readdir(stream)) != NULL) {
		snprintf(name, sizeof(name), "%s/%s", location, entry->d_name);
		(void)unlink(name);
	}
	closedir(stream);
	ck_assert_int_eq(rmdir(location), 0);
	snprintf(name, sizeof(name), "%s", location);
	name[strlen(name) - strlen("/store")] = '\0';
	ck_assert_int_eq(rmdir(name), 0);
}

static void mem_fresh(char ret_location[256])
{
	static unsigned count;

	snprintf(ret_location, 256, "store%u", count++);
}

static void mem_clear(const char *location)
{
	(void)location;
}

static void fault_fresh(char ret_location[256])
{
	static struct fault_medium medium;

	fault_medium = &medium;
	strcpy(ret_location, "");
}

static void medium_clear(const char *location)
{
	(void)location;
	fault_clear(fault_medium);
}

static void shelf_fresh(char ret_location[256])
{
	strcpy(ret_location, "top");
}

static void shelf_clear(const char *location)
{
	(void)location;
	while (shelf.newest != NULL)
		ck_assert_int_eq(shelf_delete(&shelf, shelf.newest->number), 0);
	memset(&shelf, 0, sizeof(shelf));
}

static const struct conform_subject subjects[] = {
	{ "file", &blazei_file_ops, file_fresh, file_clear },
	{ "mem", &blazei_mem_ops, mem_fresh, mem_clear },
	{ "fault", &fault_ops, fault_fresh, medium_clear },
	{ "the manual's", &shelf_ops, shelf_fresh, shelf_clear },
};

START_TEST(example_works)
{
	ck_assert_int_eq(example_main(), 0);
	ck_assert_int_eq(blaze_store_register("shelf", &shelf_ops), -EEXIST);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("conform");
	TCase *tcase = tcase_create("example");
	SRunner *runner;
	int failed;

	tcase_add_test(tcase, example_works);
	suite_add_tcase(suite, tcase);
	conform_add(suite, subjects, sizeof(subjects) / sizeof(subjects[0]));
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
