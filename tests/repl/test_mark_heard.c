/* SPDX-License-Identifier: Apache-2.0 */
/* Those who have retired an incarnation and those who have not understand each other
 * (lib/repl/mark.h). */
#include "lib/repl/mark_core.h"
#include "lib/repl/reissue.h"
#include "tests/repl/over.h"
#include "tests/repl/stored.h"

START_TEST(transactions_of_it_are_duplicates)
{
	uint64_t duplicates;

	begin_retirable();
	retire(&b, 1);
	duplicates = node_stats(&b).duplicates;
	node_give_all(&past[0], &b);
	ck_assert_uint_eq(node_stats(&b).duplicates, duplicates + past[0].count);
	ck_assert(!knows(&b, &past[0].origin));
	/* Of the next one they are not. */
	restart(&a);
	write_told(&a, &b, 7, "{\"x\":7}");
}
END_TEST

START_TEST(dependency_on_it_holds)
{
	begin_retirable();
	retire(&b, 1);
	c_hears();
	/* c depends on all that it heard. */
	ck_assert(c.replica->vector.writers[blazei_vector_find(&c.replica->vector, &past[0].origin)]
	                  .advanced);
	write_told(&c, &b, 9, "{\"x\":9}");
	/* On what comes later than the mark it does not. */
	restart(&a);
	ck_assert_int_eq(node_insert(&a, 10, "{\"x\":10}"), 0);
	node_give(&a, &c, 1);
	ck_assert_int_eq(node_insert(&c, 11, "{\"x\":11}"), 0);
	ck_assert_int_eq(node_give(&c, &b, c.count), 0);
	ck_assert_int_eq(node_give(&a, &b, 1), 2);
}
END_TEST

START_TEST(overwriting_what_it_wrote_is_no_conflict)
{
	begin_retirable();
	retire(&b, 1);
	c_hears();
	ck_assert_int_eq(node_update(&c, 1, "{\"x\":2}"), 0);
	ck_assert_int_eq(node_give(&c, &b, c.count), 1);
	ck_assert_uint_eq(node_stats(&b).conflicts, 0);
	ck_assert_int_eq(node_give(&c, &a, c.count), 1);
	/* And the other way: b names as seen what it holds under the mark. */
	ck_assert_int_eq(node_delete(&b, 1), 0);
	ck_assert_int_eq(node_give(&b, &c, b.count), 1);
	ck_assert_uint_eq(node_stats(&c).conflicts, 0);
}
END_TEST

START_TEST(who_has_retired_and_who_has_not_lack_nothing_of_each_other)
{
	struct pair pair;

	begin_retirable();
	retire(&b, 1);
	c_hears();
	for (unsigned i = 0; i < 2; i++) {
		pair_open(&pair, i ? &b : &c, i ? &c : &b);
		pair_catch_up(&pair);
		ck_assert_uint_eq(pair.asked.txns + pair.asked.chunks, 0);
		ck_assert(!pair.asked.whole);
		pair_close(&pair);
	}
	ck_assert(!knows(&b, &past[0].origin));
}
END_TEST

START_TEST(whole_snapshot_has_what_is_under_the_mark)
{
	struct pair pair;

	begin_retirable();
	retire(&b, 1);
	c_hears();
	pair_open(&pair, &c, &b);
	pair.whole = true;
	pair_catch_up(&pair);
	ck_assert(pair.asked.whole);
	pair_close(&pair);
	ck_assert(!knows(&c, &past[0].origin));
	node_expect(&c, 1, "{\"x\":1}");
	nodes_expect_equal(&b, &c);
	ck_assert_uint_eq(node_stats(&c).conflicts, 0);
}
END_TEST

START_TEST(history_goes_on_after_it)
{
	struct pair pair;

	node_close(&b);
	node_open_history(&b, 2, 1u << 20);
	begin_retirable();
	/* It may begin when the incarnation was known already, whose place is free then (1). */
	if (_i == 1) {
		retire(&b, 1);
		begin_retirable();
	}
	c_hears();
	if (_i == 1)
		blazei_history_clear(&b.replica->history);
	write_told(&a, &b, 5, "{\"z\":0}");
	retire(&b, 1);
	write_told(&a, &b, 3, "{\"z\":1}");
	/* It takes the index that is free, if one is. */
	restart(&a);
	write_told(&a, &b, 4, "{\"z\":2}");
	pair_open(&pair, &c, &b);
	pair_catch_up(&pair);
	ck_assert_uint_eq(pair.asked.txns, 3);
	ck_assert_uint_eq(pair.asked.chunks, 0);
	pair_close(&pair);
	nodes_expect_equal(&b, &c);
}
END_TEST

START_TEST(snapshot_of_who_has_not_retired_adds_nothing)
{
	struct pair pair;

	begin_retirable();
	c_hears();
	retire(&b, 1);
	ck_assert_int_eq(node_insert(&c, 70, "{\"x\":70}"), 0);
	pair_open(&pair, &b, &c);
	pair.whole = true;
	pair_catch_up(&pair);
	ck_assert_uint_gt(pair.asked.chunks, 0);
	pair_close(&pair);
	ck_assert(!knows(&b, &past[0].origin));
	node_expect_exact(&b);
	nodes_expect_equal(&b, &c);
	ck_assert_uint_eq(node_stats(&b).conflicts, 0);
}
END_TEST

START_TEST(earlier_mark_of_a_snapshot_takes_nothing_back)
{
	const struct blazei_writer *mark;
	struct blazei_writer before;
	struct pair pair;

	begin_retirable();
	retire(&b, 1);
	nodes_catch_up(&c, &b);
	begin_retirable();
	retire(&b, 1);
	c_hears();
	mark = &b.replica->vector.writers[blazei_mark_find(&b.replica->vector, &a.origin.node)];
	before = *mark;
	ck_assert_uint_gt(
	        before.seq,
	        c.replica->vector.writers[blazei_mark_find(&c.replica->vector, &a.origin.node)]
	                .seq);
	pair_open(&pair, &b, &c);
	pair.whole = true;
	pair_catch_up(&pair);
	ck_assert(pair.asked.whole);
	pair_close(&pair);
	ck_assert_uint_eq(mark->seq, before.seq);
	ck_assert_uint_eq(mark->chain, before.chain);
	ck_assert_uint_eq(mark->hlc, before.hlc);
	nodes_expect_equal(&b, &c);
}
END_TEST

START_TEST(member_who_has_retired_counts_as_before)
{
	begin_retirable();
	retire(&b, 1);
	for (unsigned i = 0; i < 4; i++)
		round_make(200 + i);
	/* b's report does not list what a still has; and a goes on to make frontiers with it. */
	ck_assert_uint_ge(blazei_replica_frontier_seq(a.replica, &a.origin), a.count - 4);
	for (unsigned i = 0; i < a.replica->members.count; i++)
		ck_assert(a.replica->members.list[i].counted);
	retire(&a, 1);
	for (unsigned i = 0; i < 4; i++)
		round_make(300 + i);
	ck_assert_uint_ge(blazei_replica_frontier_seq(a.replica, &a.origin), a.count - 4);
	for (unsigned i = 0; i < b.replica->members.count; i++)
		ck_assert(b.replica->members.list[i].counted);
}
END_TEST

START_TEST(newcomer_takes_the_mark_with_a_whole_snapshot)
{
	uint64_t duplicates;

	begin_retirable();
	retire(&b, 1);
	nodes_catch_up(&c, &b);
	nodes_expect_equal(&b, &c);
	ck_assert(!knows(&c, &past[0].origin));
	duplicates = node_stats(&c).duplicates;
	node_give_all(&past[0], &c);
	ck_assert_uint_eq(node_stats(&c).duplicates, duplicates + past[0].count);
	nodes_expect_equal(&b, &c);
}
END_TEST

START_TEST(who_was_away_takes_the_mark_and_loses_the_incarnation)
{
	report(&a, &b);
	report(&b, &a);
	write_told(&a, &b, 1, "{\"x\":1}");
	write_told(&a, &b, 2, "{\"x\":2}");
	node_give_all(&a, &c);
	node_give_all(&b, &c);
	ck_assert_int_eq(node_delete(&a, 1), 0);
	node_give(&a, &b, a.count);
	restart(&a);
	for (unsigned i = 0; i < 6; i++)
		round_make(i);
	retire(&b, 1);
	ck_assert_int_ge(blazei_replica_collect(b.replica, UINT32_MAX), 0);
	for (unsigned i = 6; i < 10; i++)
		round_make(i);
	ck_assert_int_gt(blazei_replica_collect(b.replica, UINT32_MAX), 0);
	nodes_catch_up(&c, &b);
	ck_assert(!knows(&c, &past[0].origin));
	node_expect(&c, 1, NULL);
	/* What c had not heard of it does not bring anything back. */
	node_give_all(&past[0], &c);
	node_expect(&c, 1, NULL);
	nodes_expect_equal(&b, &c);
}
END_TEST

/* The first incarnation of a wrote one more, of which c alone heard, before the crash came. */
static void lost_open(struct node *lost)
{
	c_hears();
	node_open(lost, 1);
	lost->now_ns = past[0].now_ns;
	for (unsigned i = 1; i <= past[0].count; i++) {
		const struct blazei_txn_view view = { past[0].log[i - 1].data,
			                              past[0].log[i - 1].len };

		/* What it depends on: b's first report. */
		node_give(&b, lost, 1);
		ck_assert_int_ge(blazei_replica_replay(lost->replica, &view, 1), 0);
	}
	ck_assert_int_eq(node_insert(lost, 40, "{\"x\":40}"), 0);
	ck_assert_int_eq(node_give(lost, &c, 1), 1);
}

START_TEST(what_its_node_had_lost_comes_back_by_who_has_it)
{
	struct node lost;

	begin_retirable();
	lost_open(&lost);
	node_close(&lost);
	retire(&b, 1);
	nodes_catch_up(&b, &c);
	node_expect(&b, 40, "{\"x\":40}");
	nodes_expect_equal(&b, &c);
}
END_TEST

/* The next incarnation has seen all of the first one but what was lost. */
START_TEST(what_is_under_the_mark_conflicts_with_nothing_where_there_is_more)
{
	struct node lost;
	struct pair pair;

	begin();
	lost_open(&lost);
	node_close(&lost);
	write_told(&a, &b, 1, "{\"x\":2}");
	for (unsigned i = 0; i < 6; i++)
		round_make(i);
	retire(&b, 1);
	pair_open(&pair, &c, &b);
	pair.whole = true;
	pair_catch_up(&pair);
	ck_assert(pair.asked.whole);
	pair_close(&pair);
	ck_assert_uint_eq(node_stats(&c).conflicts, 0);
	node_expect(&c, 1, "{\"x\":2}");
	node_expect(&c, 40, "{\"x\":40}");
}
END_TEST

/* What the first incarnation did last. */
enum last {
	INSERTED,
	UPDATED,
	DELETED,
	LASTS
};

/* Of three records two are deleted and collected where the first incarnation is retired. */
static void collected_make(struct node *lost, enum last last)
{
	report(&a, &b);
	report(&b, &a);
	write_told(&a, &b, 1, "{\"x\":1}");
	write_told(&a, &b, 4, "{\"x\":4}");
	write_told(&a, &b, 3, "{\"x\":3}");
	if (last == UPDATED)
		write_told(&a, &b, 1, "{\"x\":5}");
	if (last == DELETED)
		ck_assert_int_eq(node_delete(&a, 4), 0);
	node_give(&a, &b, a.count);
	restart(&a);
	lost_open(lost);
	ck_assert_int_eq(node_delete(&a, 1), 0);
	if (last != DELETED)
		ck_assert_int_eq(node_delete(&a, 4), 0);
	node_give_all(&a, &b);
	for (unsigned i = 0; i < 6; i++)
		round_make(i);
	ck_assert_int_ge(blazei_replica_collect(b.replica, UINT32_MAX), 0);
	for (unsigned i = 6; i < 10; i++)
		round_make(i);
	ck_assert_int_gt(blazei_replica_collect(b.replica, UINT32_MAX), 0);
	retire(&b, 1);
}

START_TEST(what_was_collected_is_pruned_where_there_is_more)
{
	struct node lost;
	struct pair pair;

	collected_make(&lost, (enum last)_i);
	node_close(&lost);
	pair_open(&pair, &c, &b);
	pair.whole = true;
	pair_catch_up(&pair);
	ck_assert(pair.asked.whole);
	pair_close(&pair);
	node_expect(&c, 1, NULL);
	node_expect(&c, 4, NULL);
	node_expect(&c, 40, "{\"x\":40}");
}
END_TEST

START_TEST(what_is_under_the_mark_is_not_issued_anew_where_there_is_more)
{
	struct node lost;
	struct pair pair;

	collected_make(&lost, (enum last)_i);
	lost.now_ns = b.now_ns;
	pair_open(&pair, &lost, &b);
	pair.anew = true;
	pair_run(&pair);
	ck_assert_int_eq(pair.asked.state, BLAZEI_SESSION_LIVE);
	node_expect(&lost, 1, NULL);
	node_expect(&lost, 3, "{\"x\":3}");
	node_expect(&lost, 40, NULL);
	ck_assert_uint_eq(blazei_stage_unseen(pair.stage)->count, 1);
	ck_assert_uint_eq(blazei_stage_unseen(pair.stage)->items[0]->row.id.bytes[15],
	                  id_of(40).bytes[15]);
	pair_close(&pair);
	node_close(&lost);
}
END_TEST

START_TEST(what_a_vector_lists_is_covered_no_further_than_it_says)
{
	struct blazei_vector_entry entries[2] = { { .seq = UINT64_MAX / 2 }, { .seq = 1 } };
	uint64_t seqs[16] = { 0 };

	begin();
	c_hears();
	entries[0].origin = a.origin;
	entries[0].origin.incarnation = BLAZEI_RETIRED;
	entries[1].origin = past[0].origin;
	blazei_stamps_spread(c.replica, entries, sizeof(*entries), 2, seqs);
	ck_assert_uint_eq(seqs[blazei_vector_find(&c.replica->vector, &past[0].origin)], 1);
}
END_TEST

START_TEST(mark_is_kept_by_a_store)
{
	static const uint64_t nothing[PAST_MAX];
	static uint64_t buffer[BLAZEI_STATE_BYTES_MAX / 8];
	struct blazei_state_cursor cursor = { 0 };
	struct blazei_vector_detail details[PAST_MAX];
	uint64_t cut[PAST_MAX] = { 0 };
	unsigned count;

	begin_retirable();
	retire(&b, 1);
	restart(&a);
	write_told(&a, &b, 3, "{\"x\":3}");
	count = blazei_replica_vector_count(b.replica);
	for (unsigned i = 0; i < count; i++)
		blazei_replica_vector_detail(b.replica, i, &details[i]);
	node_close(&c);
	node_open(&c, 2);
	ck_assert_int_eq(blazei_replica_restore(c.replica, details, count), 0);
	for (unsigned i = 0; i < blazei_replica_vector_count(c.replica); i++)
		cut[i] = c.replica->vector.writers[i].seq;
	while (blazei_state_encode(b.replica, nothing, &cursor, buffer, sizeof(buffer)) > 0)
		ck_assert_int_eq(stored_merge(c.replica, (const void *)buffer, cut), 0);
	nodes_expect_equal(&b, &c);
	node_expect_exact(&c);
	node_give_all(&past[0], &c);
	ck_assert(!knows(&c, &past[0].origin));
	/* Its next write depends on everything but what is over. */
	ck_assert_int_eq(node_insert(&c, 50, "{\"x\":50}"), 0);
	ck_assert_int_eq(node_give(&c, &a, c.count), 1);
}
END_TEST

static void on_append(void *arg, const void *entry, size_t len)
{
	ck_assert_int_eq(blazei_logged_check(entry, len), 0);
	ck_assert_int_eq(blazei_replay_entry(arg, entry), 0);
}

START_TEST(mark_is_kept_by_a_log)
{
	const struct blazei_replica_options options = {
		.self = { .node = { { 99 } }, .incarnation = 99 },
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
	};
	struct blazei_replay replay;
	const struct blazei_log_sink sink = { .arg = &replay, .append = on_append };
	struct node back = { .now_ns = NOW };

	begin_retirable();
	retire(&b, 1);
	ck_assert_int_eq(blazei_replay_init(&replay, &options), 0);
	blazei_replica_set_log(b.replica, &sink);
	blazei_logged_lag(b.replica);
	ck_assert_int_eq(blazei_replica_log_all(b.replica), 0);
	ck_assert(!blazei_replay_unfinished(&replay));
	back.replica = replay.replica;
	nodes_expect_equal(&b, &back);
	node_give_all(&past[0], &back);
	ck_assert(!knows(&back, &past[0].origin));
	nodes_expect_equal(&b, &back);
	blazei_replica_free(back.replica);
	blazei_replay_fini(&replay);
}
END_TEST

START_TEST(place_that_was_nobodys_is_not_kept_by_a_store)
{
	static const struct blazei_origin nobody;
	struct blazei_vector_detail details[PAST_MAX];
	unsigned count;

	for (unsigned i = 0; i < 2; i++) {
		begin_retirable();
		retire(&b, 1);
	}
	count = blazei_replica_vector_count(b.replica);
	ck_assert_uint_eq(b.replica->vector.free_count, 1);
	for (unsigned i = 0; i < count; i++)
		blazei_replica_vector_detail(b.replica, i, &details[i]);
	node_close(&c);
	node_open(&c, 2);
	ck_assert_int_eq(blazei_replica_restore(c.replica, details, count), 0);
	ck_assert(!knows(&c, &nobody));
	ck_assert_uint_eq(blazei_replica_vector_count(c.replica), count - 1);
}
END_TEST

START_TEST(session_ends_where_indices_change)
{
	static uint64_t buffer[BLAZEI_SESSION_MESSAGE_MAX / 8];
	struct blazei_session_options options = {
		.side = BLAZEI_SESSION_ANSWERER,
		.id = 1,
	};
	struct blazei_session *session;

	begin_retirable();
	options.replica = b.replica;
	ck_assert_int_eq(blazei_session_new(&options, &session), 0);
	retire(&b, 1);
	ck_assert_int_eq(blazei_session_give(session, NOW, buffer, sizeof(buffer)), -ECANCELED);
	blazei_session_free(session);
}
END_TEST

/* Changes the first mark in what the answerer says. */
static enum pair_fate mark_change(struct pair *pair, unsigned at, bool from_answerer, void *data,
                                  size_t *len)
{
	struct blazei_session_header *header = data;
	struct blazei_session_entry *entries = NULL;
	unsigned count = 0;

	(void)at;
	(void)len;
	if (from_answerer && header->kind == BLAZEI_KIND_SNAPSHOT) {
		entries = ((struct blazei_session_snapshot *)data)->entries;
		count = ((struct blazei_session_snapshot *)data)->entry_count;
	} else if (from_answerer && header->kind == BLAZEI_KIND_LIVE) {
		entries = ((struct blazei_session_live *)data)->entries;
		count = ((struct blazei_session_live *)data)->entry_count;
	}
	for (unsigned i = 0; i < count; i++)
		if (blazei_origin_retired(&entries[i].origin))
			*(uint64_t *)((uint8_t *)&entries[i] + *(size_t *)pair->arg) += 1u << 20;
	message_seal(header);
	return PAIR_DELIVER;
}

START_TEST(mark_without_its_heir_is_refused)
{
	size_t offsets[] = {
		offsetof(struct blazei_session_entry, seq),
		offsetof(struct blazei_session_entry, chain),
		offsetof(struct blazei_session_entry, hlc),
	};
	struct pair pair;

	begin_retirable();
	/* The mark is as late as it may be. */
	restart(&a);
	retire(&b, 1);
	b.replica->vector.writers[blazei_mark_find(&b.replica->vector, &a.origin.node)].seq =
	        b.replica->vector.writers[blazei_vector_find(&b.replica->vector, &past[1].origin)]
	                .hlc;
	pair_open(&pair, &c, &b);
	pair.hook = mark_change;
	pair.arg = &offsets[_i];
	pair_run(&pair);
	ck_assert_int_eq(pair.asked.state, BLAZEI_SESSION_FAILED);
	ck_assert_int_eq(pair.asked.error, -EBADMSG);
	ck_assert_uint_eq(blazei_replica_count(c.replica), 0);
	pair_close(&pair);
}
END_TEST

/* Its index stays, as that of any origin that is known and wrote nothing. */
START_TEST(mark_that_went_says_nothing)
{
	const struct blazei_origin mark = { a.origin.node, BLAZEI_RETIRED };
	struct pair pair;

	begin_retirable();
	ck_assert_int_ge(blazei_vector_intern(&b.replica->vector, &mark), 0);
	pair_open(&pair, &c, &b);
	pair_run(&pair);
	ck_assert_int_eq(pair.asked.error, 0);
	nodes_expect_equal(&b, &c);
	ck_assert_uint_gt(blazei_replica_count(c.replica), 0);
	pair_close(&pair);
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&transactions_of_it_are_duplicates,
		&dependency_on_it_holds,
		&overwriting_what_it_wrote_is_no_conflict,
		&who_has_retired_and_who_has_not_lack_nothing_of_each_other,
		&whole_snapshot_has_what_is_under_the_mark,
		&snapshot_of_who_has_not_retired_adds_nothing,
		&earlier_mark_of_a_snapshot_takes_nothing_back,
		&member_who_has_retired_counts_as_before,
		&newcomer_takes_the_mark_with_a_whole_snapshot,
		&who_was_away_takes_the_mark_and_loses_the_incarnation,
		&what_its_node_had_lost_comes_back_by_who_has_it,
		&what_is_under_the_mark_conflicts_with_nothing_where_there_is_more,
		&what_a_vector_lists_is_covered_no_further_than_it_says,
		&mark_is_kept_by_a_store,
		&mark_is_kept_by_a_log,
		&place_that_was_nobodys_is_not_kept_by_a_store,
		&mark_that_went_says_nothing,
		&session_ends_where_indices_change,
	};
	Suite *suite = suite_create("mark_heard");
	TCase *tcase = tcase_create("mark_heard");

	tcase_add_checked_fixture(tcase, set_up, tear_down_all);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	tcase_add_loop_test(tcase, what_was_collected_is_pruned_where_there_is_more, 0, LASTS);
	tcase_add_loop_test(tcase, what_is_under_the_mark_is_not_issued_anew_where_there_is_more, 0,
	                    LASTS);
	tcase_add_loop_test(tcase, history_goes_on_after_it, 0, 2);
	tcase_add_loop_test(tcase, mark_without_its_heir_is_refused, 0, 3);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
