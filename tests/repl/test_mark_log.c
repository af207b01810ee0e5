/* SPDX-License-Identifier: Apache-2.0 */
/* A log has all incarnations that ever were; its replay retires them where there is no place
 * (lib/repl/mark.h). */
#include "lib/repl/checkpoint.h"
#include "lib/repl/logged.h"
#include "tests/repl/log_tape.h"
#include "tests/repl/over.h"

static void on_append(void *arg, const void *entry, size_t len)
{
	ck_assert_int_eq(blazei_logged_check(entry, len), 0);
	ck_assert_int_eq(blazei_replay_entry(arg, entry), 0);
}

/* A log of b with many more incarnations of a than b knew at any time, or than there is room for at
 * once: it leads to the same. */
START_TEST(log_of_many_incarnations_is_replayed_in_a_small_vector)
{
	struct blazei_replica_options options = {
		.self = { .node = { { 2 } }, .incarnation = 5000 },
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
		.origins_max = 6,
	};
	struct blazei_replay replay;
	const struct blazei_log_sink sink = { .arg = &replay, .append = on_append };
	struct node back = { .now_ns = NOW };

	ck_assert_int_eq(blazei_replay_init(&replay, &options), 0);
	blazei_replica_set_log(b.replica, &sink);
	for (unsigned i = 0; i < 12; i++) {
		begin();
		for (unsigned k = 0; k < 6; k++)
			round_make(100 * i + k);
		if (_i == 0)
			retire(&b, 1);
	}
	ck_assert(replay.retired);
	back.replica = replay.replica;
	nodes_expect_equal(&b, &back);
	node_expect_exact(&back);
	ck_assert_uint_le(blazei_replica_vector_count(back.replica), options.origins_max);
	/* What it lost of that may come again. */
	for (unsigned i = 0; i < past_count; i++)
		node_give_all(&past[i], &back);
	nodes_expect_equal(&b, &back);
	blazei_replica_free(back.replica);
	blazei_replay_fini(&replay);
}
END_TEST

/* A checkpoint has the marks; and retiring makes one that is open void. */
START_TEST(log_that_begins_with_a_checkpoint_knows_what_was_retired)
{
	struct blazei_replica_options options = {
		.self = { .node = { { 2 } }, .incarnation = 5000 },
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
	};
	static struct tape tape;
	const struct blazei_log_sink sink = { .arg = &tape, .append = tape_append };
	struct blazei_checkpoint checkpoint;
	struct blazei_replay replay;
	struct node back = { .now_ns = NOW };
	unsigned first;

	blazei_replica_set_log(b.replica, &sink);
	begin_retirable();
	ck_assert_int_eq(blazei_checkpoint_begin(&checkpoint, b.replica), 0);
	retire(&b, 1);
	ck_assert_int_eq(blazei_checkpoint_step(&checkpoint), -ESTALE);
	first = tape.count;
	ck_assert_int_eq(blazei_checkpoint_begin(&checkpoint, b.replica), 0);
	round_make(7);
	ck_assert_int_eq(blazei_checkpoint_step(&checkpoint), 0);
	round_make(8);
	ck_assert_int_eq(tape_replay(&tape, first, tape.count, &options, &replay), 0);
	back.replica = replay.replica;
	nodes_expect_equal(&b, &back);
	node_expect_exact(&back);
	ck_assert(!knows(&back, &past[0].origin));
	/* It is known to be there: it does not come again. */
	node_give_all(&past[0], &back);
	nodes_expect_equal(&b, &back);
	ck_assert_uint_eq(node_stats(&back).parked, 0);
	tape_free(&replay);
	tape_clear(&tape);
}
END_TEST

static void on_append_full(void *arg, const void *entry, size_t len)
{
	struct blazei_replay *replay = arg;

	(void)len;
	if (!replay->replica->origins_full && blazei_replay_entry(replay, entry) == -E2BIG)
		replay->replica->origins_full = true;
}

START_TEST(log_of_too_many_incarnations_is_told)
{
	struct blazei_replica_options options = {
		.self = { .node = { { 2 } }, .incarnation = 5000 },
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
		.origins_max = 4,
	};
	struct blazei_replay replay;
	const struct blazei_log_sink sink = { .arg = &replay, .append = on_append_full };

	ck_assert_int_eq(blazei_replay_init(&replay, &options), 0);
	blazei_replica_set_log(b.replica, &sink);
	for (unsigned i = 0; i < 4; i++) {
		ck_assert(!replay.replica->origins_full);
		write_told(&a, &b, i, "{\"x\":1}");
		restart(&a);
	}
	ck_assert(replay.replica->origins_full);
	ck_assert_uint_eq(node_stats(&b).refused, 0);
	blazei_replica_free(replay.replica);
	blazei_replay_fini(&replay);
}
END_TEST

/* b hears late of an incarnation of a that nobody told of, below the mark that the replay has made
 * for want of places: that counts as merged there, whether there is another place (0) or none. */
START_TEST(what_the_replay_has_retired_counts_as_merged)
{
	struct blazei_replica_options options = {
		.self = { .node = { { 2 } }, .incarnation = 5000 },
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
		.origins_max = 6,
	};
	struct blazei_replay replay;
	const struct blazei_log_sink sink = { .arg = &replay, .append = on_append };
	const struct blazei_vector *vector;
	struct node lost;
	uint64_t count;

	node_open(&lost, 1);
	lost.origin.incarnation = 5;
	ck_assert_int_eq(blazei_replica_renew(lost.replica, lost.now_ns, &lost.origin), 0);
	ck_assert_int_eq(node_insert(&lost, 40, "{\"x\":40}"), 0);
	ck_assert_int_eq(blazei_replay_init(&replay, &options), 0);
	blazei_replica_set_log(b.replica, &sink);
	for (unsigned i = 0; !replay.retired; i++) {
		begin();
		for (unsigned k = 0; k < 6; k++)
			round_make(100 * i + k);
	}
	vector = &replay.replica->vector;
	for (unsigned i = 0; _i == 1; i++) {
		struct node other;

		ck_assert_int_ge(blazei_replica_retire(replay.replica, NULL), 0);
		if (vector->free_count == 0)
			break;
		node_open(&other, 10 + i);
		ck_assert_int_eq(node_insert(&other, 50 + i, "{\"x\":50}"), 0);
		ck_assert_int_eq(node_give(&other, &b, 1), 1);
		node_close(&other);
	}
	ck_assert_uint_eq(vector->count, vector->limit);
	ck_assert_int_eq(vector->free_count > 0, _i == 0);
	count = blazei_replica_count(replay.replica);
	ck_assert_int_eq(node_give(&lost, &b, 1), 1);
	ck_assert_uint_eq(blazei_replica_count(replay.replica), count);
	ck_assert_uint_eq(blazei_vector_find(vector, &lost.origin), BLAZEI_ORIGIN_NONE);
	node_close(&lost);
	blazei_replica_free(replay.replica);
	blazei_replay_fini(&replay);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mark_log");
	TCase *tcase = tcase_create("mark_log");

	tcase_add_checked_fixture(tcase, set_up, tear_down_all);
	tcase_add_loop_test(tcase, log_of_many_incarnations_is_replayed_in_a_small_vector, 0, 2);
	tcase_add_loop_test(tcase, what_the_replay_has_retired_counts_as_merged, 0, 2);
	tcase_add_test(tcase, log_that_begins_with_a_checkpoint_knows_what_was_retired);
	tcase_add_test(tcase, log_of_too_many_incarnations_is_told);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
