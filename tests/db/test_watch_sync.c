/* SPDX-License-Identifier: Apache-2.0 */
/* What the replica tells of itself reaches a watch under its own name, with whom it is about: the
 * sink is called as the replica would. To have it, the call that sets it is wrapped by the
 * linker. */
#include <stdlib.h>

#include "tests/db/node.h"

static struct blaze_db *db;
static struct blaze_watch_event told; /* the last one */
static unsigned calls;
static struct blazei_sink sink;

void __real_blazei_replica_set_sink(struct blazei_replica *replica, const struct blazei_sink *to);
void __wrap_blazei_replica_set_sink(struct blazei_replica *replica, const struct blazei_sink *to);

void __wrap_blazei_replica_set_sink(struct blazei_replica *replica, const struct blazei_sink *to)
{
	sink = *to;
	__real_blazei_replica_set_sink(replica, to);
}

static void on_event(void *arg, const struct blaze_watch_event *event)
{
	(void)arg;
	told = *event;
	calls++;
}

static void db_open(void)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;

	options.flags = BLAZE_DB_MANUAL;
	ck_assert_int_eq(blaze_db_open(unique_name(), NULL, &options, &db), 0);
	calls = 0;
}

static struct blaze_watch *watch(uint32_t kinds)
{
	struct blaze_watch_options options = BLAZE_WATCH_OPTIONS_INIT;
	struct blaze_watch *result;

	options.kinds = kinds;
	ck_assert_int_eq(blaze_db_watch(db, &options, on_event, NULL, &result), 0);
	return result;
}

/* Has the replica tell, then delivers; the number of calls. */
static unsigned tell(enum blazei_effect_event_kind kind, const struct blazei_origin *origin,
                     uint64_t seq)
{
	const struct blazei_effect_event event = { .kind = kind, .origin = origin, .seq = seq };
	unsigned before = calls;

	pthread_mutex_lock(&db->lock);
	sink.event(sink.arg, &event);
	/* As the change ends that it belongs to. */
	if (kind == BLAZEI_EFFECT_CHANGES_LOST)
		sink.committed(sink.arg);
	pthread_mutex_unlock(&db->lock);
	ck_assert_int_ge(blaze_db_pump(db, 0), 0);
	return calls - before;
}

START_TEST(sync_events_have_their_names_and_origins)
{
	static const struct {
		enum blazei_effect_event_kind kind;
		enum blaze_sync sync;
	} pairs[] = {
		{ BLAZEI_EFFECT_ORIGIN_QUARANTINED, BLAZE_SYNC_ORIGIN_QUARANTINED },
		{ BLAZEI_EFFECT_CLOCK_AHEAD, BLAZE_SYNC_CLOCK_AHEAD },
		{ BLAZEI_EFFECT_CLOCK_BEHIND, BLAZE_SYNC_CLOCK_BEHIND },
		{ BLAZEI_EFFECT_ORIGIN_STALLED, BLAZE_SYNC_ORIGIN_STALLED },
		{ BLAZEI_EFFECT_ORIGIN_RESUMED, BLAZE_SYNC_ORIGIN_RESUMED },
		{ BLAZEI_EFFECT_ORIGIN_DISPLACED, BLAZE_SYNC_ORIGIN_DISPLACED },
		{ BLAZEI_EFFECT_ORIGIN_RENEWED, BLAZE_SYNC_ORIGIN_RENEWED },
		{ BLAZEI_EFFECT_NODE_TWICE, BLAZE_SYNC_NODE_TWICE },
		{ BLAZEI_EFFECT_ORIGINS_FULL, BLAZE_SYNC_ORIGINS_FULL },
		{ BLAZEI_EFFECT_MEMBER_JOINED, BLAZE_SYNC_MEMBER_JOINED },
		{ BLAZEI_EFFECT_MEMBER_EXPELLED, BLAZE_SYNC_MEMBER_EXPELLED },
	};
	const unsigned count = sizeof(pairs) / sizeof(*pairs);
	struct blaze_watch *changes;
	struct blaze_watch *syncs;

	/* All but CHANGES_LOST, which is none. */
	ck_assert_uint_eq(count, BLAZEI_EFFECT_EVENT_KINDS - 1);
	db_open();
	changes = watch(BLAZE_WATCH_INSERT | BLAZE_WATCH_UPDATE | BLAZE_WATCH_DELETE);
	syncs = watch(BLAZE_WATCH_SYNC);
	for (unsigned i = 0; i < count; i++) {
		const struct blazei_origin origin = { .node = { { 1, (uint8_t)i } },
			                              .incarnation = 100 + i };

		ck_assert_uint_eq(tell(pairs[i].kind, i % 2 ? &origin : NULL, 7 + i), 1);
		ck_assert_uint_eq(told.kind, BLAZE_WATCH_SYNC);
		ck_assert_uint_eq(told.flags, BLAZE_WATCH_LAST);
		ck_assert_uint_eq(told.sync, pairs[i].sync);
		ck_assert_uint_eq(told.from.seq, 7 + i);
		ck_assert_uint_eq(told.from.incarnation, i % 2 ? 100 + i : 0);
		ck_assert_uint_eq(told.from.node.bytes[1], i % 2 ? i : 0);
	}
	blaze_watch_stop(changes);
	blaze_watch_stop(syncs);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

START_TEST(lost_changes_are_a_rescan_for_those_who_want_changes)
{
	struct blaze_watch *changes;
	struct blaze_watch *syncs;

	db_open();
	syncs = watch(BLAZE_WATCH_SYNC);
	changes = watch(BLAZE_WATCH_UPDATE);
	ck_assert_uint_eq(tell(BLAZEI_EFFECT_CHANGES_LOST, NULL, 0), 1);
	ck_assert_uint_eq(told.kind, BLAZE_WATCH_RESCAN);
	/* Once. */
	ck_assert_int_ge(blaze_db_pump(db, 0), 0);
	ck_assert_uint_eq(calls, 1);
	blaze_watch_stop(changes);
	ck_assert_uint_eq(tell(BLAZEI_EFFECT_CHANGES_LOST, NULL, 0), 0);
	blaze_watch_stop(syncs);
	ck_assert_int_eq(blaze_db_close(db), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("watch_sync");
	TCase *tcase = tcase_create("watch_sync");
	SRunner *runner;
	int failed;

	tcase_add_test(tcase, sync_events_have_their_names_and_origins);
	tcase_add_test(tcase, lost_changes_are_a_rescan_for_those_who_want_changes);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
