/* SPDX-License-Identifier: Apache-2.0 */
/* A log has all incarnations that ever were; its replay retires them where there is no place
 * (lib/repl/mark.h). */
#include "lib/repl/logged.h"
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

int main(void)
{
	Suite *suite = suite_create("mark_log");
	TCase *tcase = tcase_create("mark_log");

	tcase_add_checked_fixture(tcase, set_up, tear_down_all);
	tcase_add_loop_test(tcase, log_of_many_incarnations_is_replayed_in_a_small_vector, 0, 2);
	tcase_add_test(tcase, log_of_too_many_incarnations_is_told);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
