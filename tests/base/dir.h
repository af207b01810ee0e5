/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that tests make. */
#ifndef TESTS_BASE_DIR_H
#define TESTS_BASE_DIR_H

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Removes a directory, where it is there, with its files and with empty directories in it. */
static inline void dir_remove(const char *path)
{
	DIR *stream = opendir(path);
	const struct dirent *entry;
	char name[512];

	while (stream != NULL && (entry = readdir(stream)) != NULL) {
		snprintf(name, sizeof(name), "%.200s/%.255s", path, entry->d_name);
		if (strspn(entry->d_name, ".") != strlen(entry->d_name) && unlink(name) != 0)
			(void)rmdir(name);
	}
	if (stream != NULL)
		closedir(stream);
	(void)rmdir(path);
}

/* As whoever copies a directory does; of a file likewise. */
static inline void dir_copy(const char *from, const char *to)
{
	char command[500];

	snprintf(command, sizeof(command), "cp -a %s %s", from, to);
	ck_assert_int_eq(system(command), 0);
}

#endif
