/* SPDX-License-Identifier: Apache-2.0 */
/* The example of blaze_record(3): a record built by setters, walked, and taken through JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <blaze/blaze.h>

/* A record of five fields; the first error, if any, ends it. */
static int make_bug(struct blaze_record **ret_record)
{
	const char tags[] = "[\"ring\", \"crash\", 3, 3.0]";
	struct blaze_record *record;
	int r;

	r = blaze_record_new(&record);
	if (r < 0)
		return r;
	r = blaze_record_set_string(record, "title", "reader sleeps on");
	if (r == 0)
		r = blaze_record_set_int(record, "votes", 12);
	if (r == 0)
		r = blaze_record_set_double(record, "hours", 0.5);
	if (r == 0)
		r = blaze_record_set_time(record, "seen", 1700000000250000000);
	if (r == 0)
		r = blaze_record_set_array(record, "tags", tags, strlen(tags));
	if (r < 0) {
		blaze_record_free(record);
		return r;
	}
	*ret_record = record;
	return 0;
}

int main(void)
{
	struct blaze_record *bug, *copy;
	const char *title;
	char *json;
	int r;

	r = make_bug(&bug);
	if (r < 0) {
		fprintf(stderr, "record: %s\n", blaze_strerror(r));
		return 1;
	}
	for (unsigned i = 0; i < blaze_record_field_count(bug); i++) {
		enum blaze_type type;
		const char *field;

		if (blaze_record_field_at(bug, i, &field, &type) == 0)
			printf("field %s has type %d\n", field, (int)type);
	}
	r = blaze_record_to_json(bug, &json);
	blaze_record_free(bug);
	if (r < 0)
		return 1;
	/* {"hours":0.5,"seen":{"$time":"2023-11-14T22:13:20.25Z"},"tags":[..],"title":..} */
	printf("%s\n", json);
	r = blaze_record_from_json(json, strlen(json), &copy);
	free(json);
	if (r < 0)
		return 1;
	r = blaze_record_get_string(copy, "title", &title);
	if (r == 0)
		printf("%s\n", title);
	blaze_record_free(copy);
	return r == 0 ? 0 : 1;
}
