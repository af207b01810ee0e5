/* SPDX-License-Identifier: Apache-2.0 */
/* The example of blaze_db_watch(3): a program that reacts to a field of its records. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include <blaze/blaze.h>

struct office {
	struct blaze_db *db;
	atomic_int closed;
};

/* Runs on a thread of the library; writing is allowed. */
static void on_status(void *arg, const struct blaze_watch_event *event)
{
	struct office *office = arg;
	struct blaze_record *patch;
	const char *status = "";

	if (event->kind == BLAZE_WATCH_RESCAN) {
		/* Events were dropped: a program would scan the database here. */
		return;
	}
	if (event->after == NULL || blaze_record_get_string(event->after, "status", &status) < 0)
		return;
	printf("%s by transaction %" PRIu64 "\n", status, event->from.seq);
	if (status[0] != 'd')
		return;
	if (blaze_record_new(&patch) == 0) {
		if (blaze_record_set_string(patch, "status", "closed") == 0)
			(void)blaze_db_update(office->db, &event->id, patch);
		blaze_record_free(patch);
	}
	atomic_fetch_add(&office->closed, 1);
}

static int set_status(struct blaze_db *db, const struct blaze_id *id, const char *status)
{
	struct blaze_record *record;
	int r = blaze_record_new(&record);

	if (r == 0)
		r = blaze_record_set_string(record, "status", status);
	if (r == 0)
		r = blaze_db_upsert(db, id, record);
	blaze_record_free(record);
	return r;
}

int main(void)
{
	static const char *const fields[] = { "status" };
	struct blaze_watch_options options = BLAZE_WATCH_OPTIONS_INIT;
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct office office = { .closed = 0 };
	struct blaze_watch *watch;
	struct blaze_id id;
	int r = blaze_db_open("watch", NULL, NULL, &office.db);

	if (r < 0) {
		fprintf(stderr, "open: %s\n", blaze_strerror(r));
		return 1;
	}
	options.kinds = BLAZE_WATCH_INSERT | BLAZE_WATCH_UPDATE;
	options.fields = fields;
	options.field_count = 1;
	r = blaze_db_watch(office.db, &options, on_status, &office, &watch);
	if (r == 0) {
		r = blaze_id_new(&id);
		if (r == 0)
			r = set_status(office.db, &id, "open");
		if (r == 0)
			r = set_status(office.db, &id, "done");
		for (int i = 0; i < 10000 && r == 0 && atomic_load(&office.closed) == 0; i++)
			nanosleep(&pause, NULL);
		blaze_watch_stop(watch);
	}
	blaze_db_close(office.db);
	return r == 0 && atomic_load(&office.closed) == 1 ? 0 : 1;
}
