/* SPDX-License-Identifier: Apache-2.0 */
/* A program that has a database open until its standard input ends: hold DIR
 * [sync|async|none|manual]. */
#include <stdio.h>
#include <string.h>

#include <blaze/blaze.h>

int main(int argc, char **argv)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	const char *how = argc > 2 ? argv[2] : "sync";
	struct blaze_db *db;
	int error;

	if (strcmp(how, "async") == 0)
		options.durability = BLAZE_DURABILITY_ASYNC;
	else if (strcmp(how, "none") == 0)
		options.durability = BLAZE_DURABILITY_NONE;
	else
		options.durability = BLAZE_DURABILITY_SYNC;
	if (strcmp(how, "manual") == 0)
		options.flags = BLAZE_DB_MANUAL;
	error = argc > 1 ? blaze_db_open("hold", argv[1], &options, &db) : -1;
	if (error != 0) {
		puts(blaze_strerror(error));
		return 1;
	}
	puts("open");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return blaze_db_close(db) == 0 ? 0 : 1;
}
