/* SPDX-License-Identifier: Apache-2.0 */
/* Watches on databases that are pumped by hand: which events, in which order, with what in them. */
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/db/node.h"

#define TOLD_MAX 32u

/* All that a watch was told, as lines of text. */
struct told {
	char lines[TOLD_MAX][200];
	unsigned count;
	unsigned calls; /* those beyond TOLD_MAX too */
	struct blaze_watch_event last;
};

static struct node a, b;
static struct told told;

static struct blaze_id id_of(uint8_t number)
{
	return (struct blaze_id){ { [15] = number } };
}

static const char *name_of(const struct blaze_position *from)
{
	if (memcmp(&from->node, &a.id, sizeof(a.id)) == 0)
		return "a";
	return memcmp(&from->node, &b.id, sizeof(b.id)) == 0 ? "b" : "-";
}

static void on_event(void *arg, const struct blaze_watch_event *event)
{
	static const char *const kinds[] = { "insert",   "update", "delete",
		                             "conflict", "sync",   "rescan" };
	char *before = NULL, *after = NULL;
	struct told *to = arg;

	to->last = *event;
	if (to->calls++ >= TOLD_MAX)
		return;
	if (event->before != NULL)
		ck_assert_int_eq(blaze_record_to_json(event->before, &before), 0);
	if (event->after != NULL)
		ck_assert_int_eq(blaze_record_to_json(event->after, &after), 0);
	snprintf(to->lines[to->count++], sizeof(to->lines[0]), "%s %u%s%s%s%s by %s%u%s%s%s",
	         kinds[__builtin_ctz(event->kind)], event->id.bytes[15], before != NULL ? " " : "",
	         before != NULL ? before : "", after != NULL ? " -> " : "",
	         after != NULL ? after : "", name_of(&event->from), (unsigned)event->from.seq,
	         event->flags & BLAZE_WATCH_LOCAL ? " local" : "",
	         event->flags & BLAZE_WATCH_STATE ? " state" : "",
	         event->flags & BLAZE_WATCH_LAST ? "" : " ...");
	free(before);
	free(after);
}

/* Whether exactly these lines were told; forgets them. */
static void expect(struct told *of, const char *lines)
{
	char all[TOLD_MAX * 201] = "";

	for (unsigned i = 0; i < of->count; i++) {
		strcat(all, of->lines[i]);
		strcat(all, "\n");
	}
	ck_assert_str_eq(all, lines);
	of->count = 0;
	of->calls = 0;
}

static void settle(void)
{
	for (int i = 0; i < 4; i++) {
		ck_assert_int_ge(blaze_db_pump(a.db, 0), 0);
		ck_assert_int_ge(blaze_db_pump(b.db, 0), 0);
	}
}

static void pair_open(void)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	const char *name = unique_name();

	options.flags = BLAZE_DB_MANUAL;
	a = node_open_with(name, "a", BLAZE_ROLE_PEER, &options);
	b = node_open_with(name, "b", BLAZE_ROLE_PEER, &options);
	nodes_link(&a, &b);
	settle();
	memset(&told, 0, sizeof(told));
}

static void pair_close(void)
{
	settle();
	nodes_assert_equal(&a, &b);
	node_close(&a);
	node_close(&b);
}

static struct blaze_watch *watch(const struct node *node, const struct blaze_watch_options *options)
{
	struct blaze_watch *result;

	ck_assert_int_eq(blaze_db_watch(node->db, options, on_event, &told, &result), 0);
	return result;
}

static void put(const struct node *node, uint8_t number, const char *json)
{
	struct blaze_id id = id_of(number);
	struct blaze_record *record;

	ck_assert_int_eq(blaze_record_from_json(json, strlen(json), &record), 0);
	ck_assert_int_eq(blaze_db_upsert(node->db, &id, record), 0);
	blaze_record_free(record);
}

static void drop(const struct node *node, uint8_t number)
{
	struct blaze_id id = id_of(number);

	ck_assert_int_eq(blaze_db_delete(node->db, &id), 0);
}

START_TEST(watch_tells_local_changes)
{
	struct blaze_watch *w;

	pair_open();
	put(&a, 1, "{\"x\":1}");
	w = watch(&a, NULL);
	put(&a, 1, "{\"x\":2}");
	put(&a, 2, "{\"x\":1}");
	put(&a, 2, "{\"x\":1}");
	drop(&a, 1);
	ck_assert_uint_eq(told.count, 0);
	ck_assert_int_eq(blaze_db_pump(a.db, 0), 0);
	expect(&told, "update 1 {\"x\":1} -> {\"x\":2} by a2 local\n"
	              "insert 2 -> {\"x\":1} by a3 local\n"
	              "delete 1 {\"x\":2} by a5 local\n");
	ck_assert_uint_eq(told.last.from.incarnation, a.db->self.incarnation);
	ck_assert_uint_gt(told.last.from.time_ns, 0);
	blaze_watch_stop(w);
	put(&a, 2, "{\"x\":4}");
	ck_assert_int_eq(blaze_db_pump(a.db, 0), 0);
	expect(&told, "");
	pair_close();
}
END_TEST

START_TEST(watch_tells_what_others_wrote)
{
	struct blaze_watch *w;

	pair_open();
	w = watch(&b, NULL);
	put(&a, 1, "{\"x\":1}");
	put(&a, 1, "{\"x\":2,\"y\":\"s\"}");
	settle();
	drop(&a, 1);
	settle();
	expect(&told, "insert 1 -> {\"x\":1} by a1\n"
	              "update 1 {\"x\":1} -> {\"x\":2,\"y\":\"s\"} by a2\n"
	              "delete 1 {\"x\":2,\"y\":\"s\"} by a3\n");
	blaze_watch_stop(w);
	pair_close();
}
END_TEST

START_TEST(watch_tells_conflicts_before_the_change)
{
	struct blaze_watch *w;

	pair_open();
	put(&a, 1, "{\"x\":1}");
	settle();
	w = watch(&a, NULL);
	put(&a, 1, "{\"x\":2}");
	blazei_sleep_ns(70000);
	put(&b, 1, "{\"x\":3}");
	settle();
	expect(&told, "update 1 {\"x\":1} -> {\"x\":2} by a2 local\n"
	              "conflict 1 by b1\n"
	              "update 1 {\"x\":2} -> {\"x\":3} by b1\n");
	blaze_watch_stop(w);
	pair_close();
}
END_TEST

static int64_t conflict_loser;

static void on_conflict(void *arg, const struct blaze_watch_event *event)
{
	ck_assert_ptr_nonnull(event->conflict);
	ck_assert_str_eq(event->conflict->field, "x");
	ck_assert_uint_eq(event->conflict->number, 1);
	ck_assert_int_eq(blaze_record_get_int(event->conflict->loser.value, "x", arg), 0);
}

START_TEST(watch_of_conflicts_alone_shows_them)
{
	struct blaze_watch_options options = BLAZE_WATCH_OPTIONS_INIT;
	struct blaze_watch *w;

	pair_open();
	put(&a, 1, "{\"x\":1}");
	settle();
	options.kinds = BLAZE_WATCH_CONFLICT;
	ck_assert_int_eq(blaze_db_watch(b.db, &options, on_conflict, &conflict_loser, &w), 0);
	put(&a, 1, "{\"x\":2}");
	blazei_sleep_ns(70000);
	put(&b, 1, "{\"x\":3}");
	settle();
	ck_assert_int_eq(conflict_loser, 2);
	blaze_watch_stop(w);
	pair_close();
}
END_TEST

/* An upsert within a transaction. */
static void txn_put(struct blaze_txn *txn, uint8_t number, const char *json)
{
	struct blaze_id id = id_of(number);
	struct blaze_record *record;

	ck_assert_int_eq(blaze_record_from_json(json, strlen(json), &record), 0);
	ck_assert_int_eq(blaze_txn_upsert(txn, &id, record), 0);
	blaze_record_free(record);
}

START_TEST(watch_tells_transactions_whole_and_marks_the_last)
{
	struct blaze_watch_options options = BLAZE_WATCH_OPTIONS_INIT;
	const struct blaze_id one = id_of(1);
	struct blaze_watch *all, *first, *small;
	struct told told_first = { .count = 0 }, told_small = { .count = 0 };
	struct blaze_txn *txn;

	pair_open();
	put(&a, 1, "{\"x\":0}");
	put(&a, 2, "{\"x\":0}");
	settle();
	all = watch(&b, NULL);
	options.id = &one;
	ck_assert_int_eq(blaze_db_watch(b.db, &options, on_event, &told_first, &first), 0);
	options.id = NULL;
	options.queue_events = 2;
	ck_assert_int_eq(blaze_db_watch(a.db, &options, on_event, &told_small, &small), 0);
	ck_assert_int_eq(blaze_txn_begin(a.db, &txn), 0);
	txn_put(txn, 1, "{\"x\":1}");
	ck_assert_int_eq(blaze_txn_delete(txn, &(struct blaze_id){ { [15] = 2 } }), 0);
	txn_put(txn, 3, "{}");
	txn_put(txn, 1, "{\"x\":2}");
	ck_assert_int_eq(blaze_txn_commit(txn), 0);
	put(&a, 4, "{}");
	settle();
	expect(&told, "update 1 {\"x\":0} -> {\"x\":2} by a3 ...\n"
	              "delete 2 {\"x\":0} by a3 ...\n"
	              "insert 3 -> {} by a3\n"
	              "insert 4 -> {} by a4\n");
	expect(&told_first, "update 1 {\"x\":0} -> {\"x\":2} by a3\n");
	/* Three events do not fit where two do: none of them comes. */
	expect(&told_small, "rescan 0 by -0\n");
	blaze_watch_stop(all);
	blaze_watch_stop(first);
	blaze_watch_stop(small);
	pair_close();
}
END_TEST

START_TEST(watch_filters_by_id)
{
	struct blaze_watch_options options = BLAZE_WATCH_OPTIONS_INIT;
	const struct blaze_id two = id_of(2), four = id_of(4), zero = id_of(0);
	struct blaze_watch *one, *range, *none;
	struct told told_one = { .count = 0 }, told_none = { .count = 0 };

	pair_open();
	options.id = &two;
	ck_assert_int_eq(blaze_db_watch(a.db, &options, on_event, &told_one, &one), 0);
	options.id = NULL;
	options.from = &two;
	options.to = &four;
	range = watch(&a, &options);
	options.from = NULL;
	options.to = &zero;
	ck_assert_int_eq(blaze_db_watch(a.db, &options, on_event, &told_none, &none), 0);
	for (uint8_t i = 0; i < 6; i++)
		put(&a, i, "{}");
	settle();
	expect(&told_one, "insert 2 -> {} by a3 local\n");
	expect(&told, "insert 2 -> {} by a3 local\ninsert 3 -> {} by a4 local\n");
	expect(&told_none, "");
	blaze_watch_stop(one);
	blaze_watch_stop(range);
	blaze_watch_stop(none);
	pair_close();
}
END_TEST

START_TEST(watch_filters_by_field_and_kind)
{
	struct blaze_watch_options options = BLAZE_WATCH_OPTIONS_INIT;
	const char *const fields[] = { "x", "z" };
	struct blaze_watch *w, *deletes;
	struct told told_deletes = { .count = 0 };

	pair_open();
	options.fields = fields;
	options.field_count = 2;
	w = watch(&a, &options);
	options.kinds = BLAZE_WATCH_DELETE;
	ck_assert_int_eq(blaze_db_watch(a.db, &options, on_event, &told_deletes, &deletes), 0);
	put(&a, 1, "{\"y\":1}");
	put(&a, 1, "{\"z\":1}");
	put(&a, 1, "{\"y\":2}");
	put(&a, 1, "{\"y\":3,\"x\":null}");
	drop(&a, 1);
	put(&a, 2, "{\"y\":1}");
	drop(&a, 2);
	settle();
	expect(&told, "update 1 {\"y\":1} -> {\"y\":1,\"z\":1} by a2 local\n"
	              "update 1 {\"y\":2,\"z\":1} -> {\"x\":null,\"y\":3,\"z\":1} by a4 local\n"
	              "delete 1 {\"x\":null,\"y\":3,\"z\":1} by a5 local\n");
	expect(&told_deletes, "delete 1 {\"x\":null,\"y\":3,\"z\":1} by a5 local\n");
	blaze_watch_stop(w);
	blaze_watch_stop(deletes);
	pair_close();
}
END_TEST

START_TEST(watch_overflow_drops_all_and_tells_one_rescan)
{
	struct blaze_watch_options options = BLAZE_WATCH_OPTIONS_INIT;
	struct blaze_watch *w;

	pair_open();
	options.queue_events = 3;
	w = watch(&a, &options);
	for (uint8_t i = 1; i <= 3; i++)
		put(&a, i, "{}");
	settle();
	ck_assert_uint_eq(told.calls, 3);
	expect(&told, "insert 1 -> {} by a1 local\ninsert 2 -> {} by a2 local\n"
	              "insert 3 -> {} by a3 local\n");
	for (uint8_t i = 4; i <= 20; i++)
		put(&a, i, "{}");
	settle();
	expect(&told, "rescan 0 by -0\n");
	put(&a, 21, "{}");
	settle();
	expect(&told, "insert 21 -> {} by a21 local\n");
	blaze_watch_stop(w);
	pair_close();
}
END_TEST

START_TEST(watch_overflow_counts_bytes)
{
	struct blaze_watch_options options = BLAZE_WATCH_OPTIONS_INIT;
	struct blaze_watch *w;
	char json[2000];

	pair_open();
	options.queue_bytes = 1900;
	options.kinds = BLAZE_WATCH_INSERT;
	w = watch(&a, &options);
	snprintf(json, sizeof(json), "{\"x\":\"%0*d\"}", 1500, 0);
	put(&a, 1, json);
	settle();
	ck_assert_uint_eq(told.last.kind, BLAZE_WATCH_INSERT);
	put(&a, 2, json);
	put(&a, 3, json);
	settle();
	ck_assert_uint_eq(told.last.kind, BLAZE_WATCH_RESCAN);
	ck_assert_uint_eq(told.calls, 2);
	/* One that does not fit alone. */
	snprintf(json, sizeof(json), "{\"x\":\"%0*d\"}", 1900, 0);
	put(&a, 4, json);
	settle();
	ck_assert_uint_eq(told.last.kind, BLAZE_WATCH_RESCAN);
	ck_assert_uint_eq(told.calls, 3);
	blaze_watch_stop(w);
	pair_close();
}
END_TEST

/* A callback that writes, reads, watches and tries what would wait. */
static void on_event_act(void *arg, const struct blaze_watch_event *event)
{
	struct blaze_record *record;
	struct blaze_watch *other;
	unsigned *calls = arg;

	++*calls;
	if (event->kind != BLAZE_WATCH_INSERT)
		return;
	record = record_of("seen", *calls);
	ck_assert_int_eq(blaze_db_update(a.db, &event->id, record), 0);
	blaze_record_free(record);
	ck_assert_int_eq(node_value(&a, &event->id, "seen"), *calls);
	ck_assert_int_eq(blaze_db_pump(a.db, 0), -EDEADLK);
	ck_assert_int_eq(blaze_db_pump(b.db, 0), -EDEADLK);
	ck_assert_int_eq(blaze_db_close(a.db), -EDEADLK);
	ck_assert_int_eq(blaze_topology_wait(a.topology, &a.id, WAIT_NS), -EDEADLK);
	ck_assert_int_eq(blaze_topology_wait(a.topology, &a.id, 0), 0);
	ck_assert_int_eq(blaze_topology_find(a.topology, a.db->name, "x", WAIT_NS,
	                                     &(struct blaze_id){ { 0 } }),
	                 -EDEADLK);
	other = watch(&a, NULL);
	blaze_watch_stop(other);
}

START_TEST(watch_callback_may_write_but_not_wait)
{
	struct blaze_watch *w;
	unsigned calls = 0;

	pair_open();
	ck_assert_int_eq(blaze_db_watch(a.db, NULL, on_event_act, &calls, &w), 0);
	put(&a, 1, "{}");
	settle();
	ck_assert_uint_eq(calls, 2);
	blaze_watch_stop(w);
	pair_close();
}
END_TEST

struct stopping {
	struct blaze_watch *self, *other;
	unsigned calls;
};

static void on_event_stop(void *arg, const struct blaze_watch_event *event)
{
	struct stopping *stopping = arg;

	(void)event;
	stopping->calls++;
	blaze_watch_stop(stopping->self);
	blaze_watch_stop(stopping->other);
	stopping->other = NULL;
	ck_assert_int_eq(blaze_db_close(a.db), -EDEADLK);
}

START_TEST(watch_stopped_in_its_callback_is_called_no_more)
{
	struct stopping stopping = { .calls = 0 };

	pair_open();
	ck_assert_int_eq(blaze_db_watch(a.db, NULL, on_event_stop, &stopping, &stopping.self), 0);
	stopping.other = watch(&a, NULL);
	for (uint8_t i = 0; i < 5; i++)
		put(&a, i, "{}");
	settle();
	ck_assert_uint_eq(stopping.calls, 1);
	expect(&told, "");
	pair_close();
}
END_TEST

START_TEST(watch_keeps_its_database_open)
{
	struct blaze_watch *w;

	pair_open();
	w = watch(&a, NULL);
	blaze_topology_free(a.topology);
	ck_assert_int_eq(blaze_db_close(a.db), -EBUSY);
	blaze_watch_stop(w);
	ck_assert_int_eq(blaze_db_close(a.db), 0);
	node_close(&b);
}
END_TEST

START_TEST(watch_tells_state_and_catching_up)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_watch *w;
	const char *name = unique_name();

	memset(&told, 0, sizeof(told));
	options.flags = BLAZE_DB_MANUAL;
	a = node_open_with(name, "a", BLAZE_ROLE_PEER, &options);
	put(&a, 1, "{\"x\":1}");
	put(&a, 2, "{\"x\":1}");
	b = node_open_with(name, "b", BLAZE_ROLE_PEER, &options);
	w = watch(&b, NULL);
	nodes_link(&a, &b);
	for (uint64_t until_ns = 0; blaze_db_count(b.db) < 2 && time_is_left(&until_ns);)
		settle();
	settle();
	ck_assert_uint_eq(told.calls, 4);
	ck_assert_ptr_nonnull(strstr(told.lines[0], "sync"));
	ck_assert_ptr_nonnull(strstr(told.lines[1], "insert 1 -> {\"x\":1} by"));
	ck_assert_ptr_nonnull(strstr(told.lines[2], "insert 2 -> {\"x\":1} by"));
	ck_assert_ptr_nonnull(strstr(told.lines[3], "sync"));
	ck_assert_uint_eq(told.last.sync, BLAZE_SYNC_LIVE);
	blaze_watch_stop(w);
	pair_close();
}
END_TEST

START_TEST(watch_invalid_arguments_are_refused)
{
	struct blaze_watch_options options = BLAZE_WATCH_OPTIONS_INIT;
	const struct blaze_id id = id_of(1);
	const char *const fields[] = { "x\xff", "x", NULL };
	struct blaze_watch *w = NULL;

	pair_open();
	ck_assert_int_eq(blaze_db_watch(NULL, NULL, on_event, NULL, &w), -EINVAL);
	ck_assert_int_eq(blaze_db_watch(a.db, NULL, NULL, NULL, &w), -EINVAL);
	ck_assert_int_eq(blaze_db_watch(a.db, NULL, on_event, NULL, NULL), -EINVAL);
	options.flags = 1;
	ck_assert_int_eq(blaze_db_watch(a.db, &options, on_event, NULL, &w), -EINVAL);
	options.flags = 0;
	options.kinds = 1u << 6;
	ck_assert_int_eq(blaze_db_watch(a.db, &options, on_event, NULL, &w), -EINVAL);
	options.kinds = 0;
	options.id = &id;
	options.to = &id;
	ck_assert_int_eq(blaze_db_watch(a.db, &options, on_event, NULL, &w), -EINVAL);
	options.id = NULL;
	options.field_count = 1;
	ck_assert_int_eq(blaze_db_watch(a.db, &options, on_event, NULL, &w), -EINVAL);
	options.field_count = 2;
	for (options.fields = fields; options.fields < fields + 2; options.fields++)
		ck_assert_int_eq(blaze_db_watch(a.db, &options, on_event, NULL, &w), -EINVAL);
	options.field_count = 1025;
	ck_assert_int_eq(blaze_db_watch(a.db, &options, on_event, NULL, &w), -E2BIG);
	options.field_count = 0;
	options.queue_events = UINT64_MAX;
	ck_assert_int_eq(blaze_db_watch(a.db, &options, on_event, NULL, &w), -E2BIG);
	ck_assert_ptr_null(w);
	blaze_watch_stop(NULL);
	pair_close();
}
END_TEST

START_TEST(watch_after_fork_is_dead)
{
	struct blaze_watch *w;
	int status;
	pid_t child;

	pair_open();
	w = watch(&a, NULL);
	put(&a, 1, "{}");
	child = fork();
	if (child == 0) {
		struct blaze_watch *mine;

		blaze_watch_stop(w);
		_exit(blaze_db_watch(a.db, NULL, on_event, NULL, &mine) == -ECHILD &&
		                      blaze_db_pump(a.db, 0) == -ECHILD && a.db->watches == w &&
		                      told.calls == 0
		              ? 0
		              : 1);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	settle();
	ck_assert_uint_eq(told.calls, 1);
	blaze_watch_stop(w);
	pair_close();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("watch");
	TCase *tcase = tcase_create("watch");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, watch_tells_local_changes);
	tcase_add_test(tcase, watch_tells_what_others_wrote);
	tcase_add_test(tcase, watch_tells_conflicts_before_the_change);
	tcase_add_test(tcase, watch_of_conflicts_alone_shows_them);
	tcase_add_test(tcase, watch_tells_transactions_whole_and_marks_the_last);
	tcase_add_test(tcase, watch_filters_by_id);
	tcase_add_test(tcase, watch_filters_by_field_and_kind);
	tcase_add_test(tcase, watch_overflow_drops_all_and_tells_one_rescan);
	tcase_add_test(tcase, watch_overflow_counts_bytes);
	tcase_add_test(tcase, watch_callback_may_write_but_not_wait);
	tcase_add_test(tcase, watch_stopped_in_its_callback_is_called_no_more);
	tcase_add_test(tcase, watch_keeps_its_database_open);
	tcase_add_test(tcase, watch_tells_state_and_catching_up);
	tcase_add_test(tcase, watch_invalid_arguments_are_refused);
	tcase_add_test(tcase, watch_after_fork_is_dead);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
