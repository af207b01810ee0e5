/* SPDX-License-Identifier: Apache-2.0 */
/* Watches where an allocation fails, each one in turn, while transactions come in and their events
 * are delivered: either everything is told, or the last that is told is a rescan. */
#include <stdlib.h>

#include "tests/db/node.h"
#include "tests/repl/starve.h"

#define RECORDS 80u /* more than a batch of events */

static struct node a, b;

/* What the watch was told in a round. */
static struct {
	unsigned changes;
	unsigned conflicts;
	unsigned rescans;
	unsigned after; /* a rescan */
} told;

static void on_event(void *arg, const struct blaze_watch_event *event)
{
	(void)arg;
	told.after += told.rescans > 0;
	told.changes += event->kind == BLAZE_WATCH_UPDATE;
	told.conflicts += event->kind == BLAZE_WATCH_CONFLICT;
	told.rescans += event->kind == BLAZE_WATCH_RESCAN;
}

static void write_all(const struct node *node, int64_t value)
{
	for (unsigned i = 0; i < RECORDS; i++) {
		const struct blaze_id id = { { [15] = (uint8_t)i } };
		struct blaze_record *record = record_of("x", value);

		ck_assert_int_eq(blaze_db_upsert(node->db, &id, record), 0);
		blaze_record_free(record);
	}
}

/* Pumps until nothing comes. */
static void pump(const struct node *node)
{
	for (unsigned i = 0; i < 6; i++) {
		int rc = blaze_db_pump(node->db, 0);

		if (rc < 0 && rc != -ENOMEM)
			ck_abort_msg("%d", rc);
	}
}

/* One round in which the allocation number `at` fails; whether it was reached. */
static bool round_run(unsigned at)
{
	bool failed;

	write_all(&a, 2 * (int64_t)at);
	write_all(&b, 2 * (int64_t)at + 1);
	memset(&told, 0, sizeof(told));
	starve(at);
	pump(&b);
	failed = starve_end();
	ck_assert_uint_le(told.rescans, 1);
	ck_assert_msg(told.after == 0, "allocation %u: %u events after the rescan", at, told.after);
	/* Its own writes, and those of a that win. */
	if (told.rescans == 0) {
		ck_assert_uint_eq(told.conflicts, RECORDS);
		ck_assert_uint_ge(told.changes, RECORDS);
	}
	ck_assert(failed || told.rescans == 0);
	pump(&a);
	pump(&b);
	nodes_assert_equal(&a, &b);
	return failed;
}

START_TEST(watch_without_memory_tells_all_or_a_rescan_last)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_watch *watch;
	const char *name = unique_name();
	unsigned at = 0;

	options.flags = BLAZE_DB_MANUAL;
	a = node_open_with(name, "a", BLAZE_ROLE_PEER, &options);
	b = node_open_with(name, "b", BLAZE_ROLE_PEER, &options);
	nodes_link(&a, &b);
	write_all(&a, -1);
	pump(&b);
	ck_assert_int_eq(blaze_db_count(b.db), RECORDS);
	ck_assert_int_eq(blaze_db_watch(b.db, NULL, on_event, NULL, &watch), 0);
	while (round_run(at))
		at++;
	ck_assert_uint_ge(at, 2 * RECORDS);
	blaze_watch_stop(watch);
	node_close(&a);
	node_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("watch_memory");
	TCase *tcase = tcase_create("watch_memory");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, watch_without_memory_tells_all_or_a_rescan_last);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
