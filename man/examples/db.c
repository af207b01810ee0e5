/* SPDX-License-Identifier: Apache-2.0 */
/* The example of blaze_db_open(3): records written, changed, read, visited and deleted. */
#include <errno.h>
#include <stdio.h>

#include <blaze/blaze.h>

static int show(void *arg, const struct blaze_id *id, const struct blaze_record *record)
{
	unsigned *count = arg;
	const char *title = "?";
	char text[37];

	blaze_id_format(id, text);
	(void)blaze_record_get_string(record, "title", &title);
	printf("%s %s\n", text, title);
	++*count;
	return 0;
}

/* Inserts a record, changes one of its fields and removes another. */
static int write_one(struct blaze_db *db, struct blaze_id *ret_id)
{
	struct blaze_record *record, *patch = NULL;
	int r = blaze_record_new(&record);

	if (r < 0)
		return r;
	r = blaze_record_set_string(record, "title", "reader sleeps on");
	if (r == 0)
		r = blaze_record_set_int(record, "votes", 1);
	if (r == 0)
		r = blaze_db_insert(db, record, ret_id);
	if (r == 0)
		r = blaze_record_new(&patch);
	if (r == 0)
		r = blaze_record_set_string(patch, "title", "reader sleeps");
	if (r == 0)
		r = blaze_record_unset(patch, "votes");
	if (r == 0)
		r = blaze_db_update(db, ret_id, patch);
	blaze_record_free(patch);
	blaze_record_free(record);
	return r;
}

int main(void)
{
	struct blaze_db *db;
	struct blaze_id id;
	unsigned seen = 0;
	char value[8];
	int r = blaze_db_open("example", NULL, NULL, &db);

	if (r < 0) {
		fprintf(stderr, "open: %s\n", blaze_strerror(r));
		return 1;
	}
	r = write_one(db, &id);
	if (r == 0)
		r = blaze_db_scan(db, NULL, show, &seen);
	if (r == 1)
		r = blaze_db_delete(db, &id);
	if (r == 0 && blaze_db_delete(db, &id) != -ENOENT)
		r = -EIO;
	/* Programs with an encoding of their own keep bytes. */
	if (r == 0)
		r = blaze_db_put(db, &id, "bytes", 5);
	if (r == 0)
		r = blaze_db_fetch(db, &id, value, sizeof(value));
	if (r > 0)
		printf("%.*s, %lld record\n", r, value, (long long)blaze_db_count(db));
	else
		fprintf(stderr, "%s\n", blaze_strerror(r));
	blaze_db_close(db);
	return r == 5 && seen == 1 ? 0 : 1;
}
