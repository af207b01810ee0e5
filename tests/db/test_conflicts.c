/* SPDX-License-Identifier: Apache-2.0 */
/* The conflict log: what stands in it, on which side, and what becomes of old entries. */
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/db/node.h"

/* Two linked databases that are pumped by hand, so that each test decides who knows what. */
static struct node a, b;
static struct blaze_id id;

/* So that the next write is later by the hybrid clock, whose steps are 65 us. */
static void tick(void)
{
	blazei_sleep_ns(70000);
}

static void settle(void)
{
	for (int i = 0; i < 4; i++) {
		ck_assert_int_ge(blaze_db_pump(a.db, 0), 0);
		ck_assert_int_ge(blaze_db_pump(b.db, 0), 0);
	}
}

static void pair_open(enum blaze_role role_a)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	const char *name = unique_name();

	options.flags = BLAZE_DB_MANUAL;
	a = node_open_with(name, "a", role_a, &options);
	b = node_open_with(name, "b", BLAZE_ROLE_PEER, &options);
	nodes_link(&a, &b);
	node_insert(&a, "n", 0, &id);
	settle();
	ck_assert_int_eq(node_value(&b, &id, "n"), 0);
}

static void pair_close(void)
{
	settle();
	nodes_assert_equal(&a, &b);
	node_close(&a);
	node_close(&b);
}

/* The last conflict seen, its strings and values taken out. */
struct seen {
	unsigned count;
	struct blaze_conflict last;
	char field[256];
	int64_t loser, winner; /* -1: no value */
	uint64_t first_number;
	int result;
};

static int64_t value_of(const struct blaze_conflict_side *side, const char *field)
{
	int64_t value = -1;

	if (side->value != NULL)
		ck_assert_int_eq(blaze_record_get_int(side->value, field, &value), 0);
	return value;
}

static int see(void *arg, const struct blaze_conflict *conflict)
{
	struct seen *seen = arg;

	if (seen->count++ == 0)
		seen->first_number = conflict->number;
	seen->last = *conflict;
	seen->field[0] = '\0';
	if (conflict->field != NULL) {
		snprintf(seen->field, sizeof(seen->field), "%s", conflict->field);
		seen->loser = value_of(&conflict->loser, conflict->field);
		seen->winner = value_of(&conflict->winner, conflict->field);
	}
	return seen->result;
}

static struct seen look(const struct node *node, unsigned expected)
{
	struct seen seen = { .count = 0 };

	ck_assert_int_eq(blaze_db_conflicts(node->db, NULL, see, &seen), (int)expected);
	ck_assert_uint_eq(seen.count, expected);
	return seen;
}

START_TEST(conflicts_of_a_field_are_logged_on_both_sides)
{
	struct seen seen;

	pair_open(BLAZE_ROLE_PEER);
	look(&a, 0);
	node_update(&a, &id, "n", 1);
	tick();
	node_update(&b, &id, "n", 2);
	settle();
	ck_assert_int_eq(node_value(&a, &id, "n"), 2);
	seen = look(&a, 1);
	ck_assert_str_eq(seen.field, "n");
	ck_assert_mem_eq(&seen.last.id, &id, sizeof(id));
	ck_assert_uint_eq(seen.last.number, 1);
	ck_assert_uint_eq(seen.last.incoming_won, 1);
	ck_assert_int_eq(seen.loser, 1);
	ck_assert_int_eq(seen.winner, 2);
	ck_assert_mem_eq(&seen.last.loser.node, &a.id, sizeof(id));
	ck_assert_mem_eq(&seen.last.winner.node, &b.id, sizeof(id));
	ck_assert_uint_eq(seen.last.loser.flags, BLAZE_CONFLICT_LOCAL);
	ck_assert_uint_eq(seen.last.winner.flags, 0);
	ck_assert_uint_eq(seen.last.loser.seq, 2);
	ck_assert_uint_eq(seen.last.winner.seq, 1);
	ck_assert_uint_gt(seen.last.winner.time_ns, seen.last.loser.time_ns);
	ck_assert_uint_lt(blazei_realtime_ns() - seen.last.winner.time_ns, 60 * BLAZEI_NS_PER_S);
	ck_assert_uint_eq(seen.last.winner.priority_ns, 0);
	seen = look(&b, 1);
	ck_assert_uint_eq(seen.last.incoming_won, 0);
	ck_assert_int_eq(seen.loser, 1);
	ck_assert_int_eq(seen.winner, 2);
	ck_assert_uint_eq(seen.last.winner.flags, BLAZE_CONFLICT_LOCAL);
	pair_close();
}
END_TEST

START_TEST(conflicts_of_a_server_show_its_priority)
{
	struct seen seen;

	pair_open(BLAZE_ROLE_SERVER);
	node_update(&a, &id, "n", 1);
	tick();
	node_update(&b, &id, "n", 2);
	settle();
	ck_assert_int_eq(node_value(&b, &id, "n"), 1);
	seen = look(&b, 1);
	ck_assert_int_eq(seen.loser, 2);
	ck_assert_uint_eq(seen.last.winner.flags, BLAZE_CONFLICT_SERVER);
	ck_assert_uint_eq(seen.last.winner.priority_ns, seen.last.winner.time_ns);
	/* The loser had seen the server's insert, and is none itself. */
	ck_assert_uint_eq(seen.last.loser.flags, BLAZE_CONFLICT_LOCAL);
	ck_assert_uint_gt(seen.last.loser.priority_ns, 0);
	ck_assert_uint_lt(seen.last.loser.priority_ns, seen.last.loser.time_ns);
	pair_close();
}
END_TEST

START_TEST(conflicts_of_a_delete_with_an_update_are_logged_on_both_sides)
{
	struct seen seen;

	pair_open(BLAZE_ROLE_PEER);
	node_update(&a, &id, "n", 1);
	tick();
	ck_assert_int_eq(blaze_db_delete(b.db, &id), 0);
	settle();
	seen = look(&a, 1);
	ck_assert_str_eq(seen.field, "n");
	ck_assert_int_eq(seen.loser, 1);
	ck_assert_uint_eq(seen.last.loser.kind, BLAZE_CONFLICT_SET);
	ck_assert_uint_eq(seen.last.winner.kind, BLAZE_CONFLICT_DEAD);
	ck_assert_ptr_null(seen.last.winner.value);
	ck_assert_uint_eq(seen.last.incoming_won, 1);
	seen = look(&b, 1);
	ck_assert_uint_eq(seen.last.winner.kind, BLAZE_CONFLICT_DEAD);
	ck_assert_uint_eq(seen.last.incoming_won, 0);
	pair_close();
}
END_TEST

START_TEST(conflicts_of_two_inserts_name_no_field)
{
	struct blaze_record *record = record_of("m", 5);
	struct blaze_id other;
	struct seen seen;

	pair_open(BLAZE_ROLE_PEER);
	ck_assert_int_eq(blaze_id_new(&other), 0);
	ck_assert_int_eq(blaze_db_insert_with_id(a.db, &other, record), 0);
	ck_assert_int_eq(blaze_db_insert_with_id(b.db, &other, record), 0);
	settle();
	seen = look(&a, 2);
	ck_assert_str_eq(seen.field, "m");
	ck_assert_uint_eq(seen.first_number, 1);
	seen = (struct seen){ .result = 1 };
	ck_assert_int_eq(blaze_db_conflicts(a.db, NULL, see, &seen), 1);
	ck_assert_ptr_null(seen.last.field);
	ck_assert_uint_eq(seen.last.loser.kind, BLAZE_CONFLICT_ALIVE);
	blaze_record_free(record);
	pair_close();
}
END_TEST

/* Both sides change the record's field `times` times without knowledge of each other. */
static void collide(unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		node_update(&a, &id, "n", 2 * (int64_t)i + 10);
		tick();
		node_update(&b, &id, "n", 2 * (int64_t)i + 11);
		settle();
	}
}

START_TEST(conflicts_options_select)
{
	struct blaze_conflicts_options options = BLAZE_CONFLICTS_OPTIONS_INIT;
	struct blaze_id other = { { 7 } };
	struct seen seen = { .count = 0 };

	pair_open(BLAZE_ROLE_PEER);
	collide(5);
	look(&a, 5);
	options.after = 2;
	ck_assert_int_eq(blaze_db_conflicts(a.db, &options, see, &seen), 3);
	ck_assert_uint_eq(seen.first_number, 3);
	options.limit = 2;
	ck_assert_int_eq(blaze_db_conflicts(a.db, &options, see, &seen), 2);
	ck_assert_uint_eq(seen.last.number, 4);
	options.id = &id;
	ck_assert_int_eq(blaze_db_conflicts(a.db, &options, see, &seen), 2);
	options.id = &other;
	ck_assert_int_eq(blaze_db_conflicts(a.db, &options, see, &seen), 0);
	options.after = UINT64_MAX;
	ck_assert_int_eq(blaze_db_conflicts(a.db, &options, see, &seen), 0);
	seen.result = -EPIPE;
	ck_assert_int_eq(blaze_db_conflicts(a.db, NULL, see, &seen), -EPIPE);
	options.flags = 1;
	ck_assert_int_eq(blaze_db_conflicts(a.db, &options, see, &seen), -EINVAL);
	ck_assert_int_eq(blaze_db_conflicts(a.db, NULL, NULL, NULL), -EINVAL);
	ck_assert_int_eq(blaze_db_conflicts(NULL, NULL, see, &seen), -EINVAL);
	pair_close();
}
END_TEST

static int visit_and_try(void *arg, const struct blaze_conflict *conflict)
{
	const struct node *node = arg;
	struct blaze_record *record = record_of("n", 3);

	ck_assert_int_eq(node_value(node, &conflict->id, "n"), 11);
	ck_assert_int_eq(blaze_db_update(node->db, &conflict->id, record), -EDEADLK);
	ck_assert_int_eq(blaze_db_close(node->db), -EDEADLK);
	blaze_record_free(record);
	return 0;
}

START_TEST(conflicts_visitor_reads_but_may_not_write)
{
	pair_open(BLAZE_ROLE_PEER);
	collide(1);
	ck_assert_int_eq(blaze_db_conflicts(a.db, NULL, visit_and_try, &a), 1);
	pair_close();
}
END_TEST

START_TEST(conflicts_beyond_the_bound_drop_the_oldest)
{
	struct seen seen;

	pair_open(BLAZE_ROLE_PEER);
	collide(BLAZEI_CONFLICTS_MAX + 10);
	seen = look(&a, BLAZEI_CONFLICTS_MAX);
	ck_assert_uint_eq(seen.first_number, 11);
	ck_assert_uint_eq(seen.last.number, BLAZEI_CONFLICTS_MAX + 10);
	ck_assert_int_eq(seen.winner, 2 * (BLAZEI_CONFLICTS_MAX + 9) + 11);
	ck_assert_uint_eq(node_stats(&a).conflicts_dropped, 10);
	ck_assert_uint_eq(node_stats(&a).conflicts, BLAZEI_CONFLICTS_MAX + 10);
	pair_close();
}
END_TEST

static int see_number(void *arg, const struct blaze_conflict *conflict)
{
	uint64_t *number = arg;
	const char *text;

	ck_assert_uint_eq(conflict->number, ++*number);
	ck_assert_ptr_nonnull(conflict->winner.value);
	ck_assert_int_eq(blaze_record_get_string(conflict->winner.value, "t", &text), 0);
	ck_assert_int_eq(text[0], 'b');
	ck_assert_int_eq(text[strlen(text) - 1], 'b');
	ck_assert_int_eq(blaze_record_get_string(conflict->loser.value, "t", &text), 0);
	ck_assert_int_eq(text[0], 'a');
	return 0;
}

/* Entries of many lengths go round the circle several times. */
START_TEST(conflicts_of_many_lengths_go_round_the_circle)
{
	static char text[60001];
	struct blaze_record *record;
	uint64_t bytes = 0;

	pair_open(BLAZE_ROLE_PEER);
	ck_assert_int_eq(blaze_record_new(&record), 0);
	for (unsigned i = 0; i < 400; i++) {
		const size_t len = 1 + i * 7919u % 60000u;
		uint64_t number;
		int kept;

		memset(text, 'a', len);
		text[len] = '\0';
		ck_assert_int_eq(blaze_record_set_string(record, "t", text), 0);
		ck_assert_int_eq(blaze_db_upsert(a.db, &id, record), 0);
		tick();
		memset(text, 'b', len);
		ck_assert_int_eq(blaze_record_set_string(record, "t", text), 0);
		ck_assert_int_eq(blaze_db_upsert(b.db, &id, record), 0);
		settle();
		bytes += 2 * len;
		number = node_stats(&a).conflicts_dropped;
		kept = blaze_db_conflicts(a.db, NULL, see_number, &number);
		ck_assert_uint_eq(number, i + 1);
		ck_assert_int_eq(kept, (int)(i + 1 - node_stats(&a).conflicts_dropped));
		/* As many as fit, but for what the end of the circle and one entry waste. */
		ck_assert_int_ge(kept, i < 8 ? 1 : 7);
	}
	ck_assert_uint_gt(bytes, 8 * BLAZEI_CONFLICTS_BYTES);
	blaze_record_free(record);
	pair_close();
}
END_TEST

START_TEST(conflicts_of_long_values_say_so)
{
	static char text[(64 << 10) + 1];
	struct blaze_record *record;
	struct seen seen = { .count = 0 };

	pair_open(BLAZE_ROLE_PEER);
	memset(text, 'x', sizeof(text) - 1);
	ck_assert_int_eq(blaze_record_new(&record), 0);
	ck_assert_int_eq(blaze_record_set_string(record, "n", text), 0);
	node_update(&a, &id, "n", 4);
	tick();
	ck_assert_int_eq(blaze_db_update(b.db, &id, record), 0);
	settle();
	ck_assert_int_eq(blaze_db_conflicts(a.db, NULL, see, &seen), 1);
	ck_assert_int_eq(seen.loser, 4);
	ck_assert_int_eq(seen.winner, -1);
	ck_assert_uint_eq(seen.last.winner.flags, BLAZE_CONFLICT_TOO_LONG);
	ck_assert_uint_eq(seen.last.winner.kind, BLAZE_CONFLICT_SET);
	blaze_record_free(record);
	pair_close();
}
END_TEST

START_TEST(conflicts_after_fork_are_the_parents)
{
	int status;
	pid_t child;

	pair_open(BLAZE_ROLE_PEER);
	collide(1);
	child = fork();
	if (child == 0) {
		struct seen seen = { .count = 0 };

		_exit(blaze_db_conflicts(a.db, NULL, see, &seen) == -ECHILD ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	pair_close();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("conflicts");
	TCase *tcase = tcase_create("conflicts");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, conflicts_of_a_field_are_logged_on_both_sides);
	tcase_add_test(tcase, conflicts_of_a_server_show_its_priority);
	tcase_add_test(tcase, conflicts_of_a_delete_with_an_update_are_logged_on_both_sides);
	tcase_add_test(tcase, conflicts_of_two_inserts_name_no_field);
	tcase_add_test(tcase, conflicts_options_select);
	tcase_add_test(tcase, conflicts_visitor_reads_but_may_not_write);
	tcase_add_test(tcase, conflicts_beyond_the_bound_drop_the_oldest);
	tcase_add_test(tcase, conflicts_of_many_lengths_go_round_the_circle);
	tcase_add_test(tcase, conflicts_of_long_values_say_so);
	tcase_add_test(tcase, conflicts_after_fork_are_the_parents);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
