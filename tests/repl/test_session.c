/* SPDX-License-Identifier: Apache-2.0 */
/* Catch-up sessions that go well: by history, by snapshot, amid writes, resumed, over small
 * messages, with long records; and what they count and leave. */
#include "lib/repl/stage.h"
#include "tests/repl/session_pair.h"

#define WIDE UINT64_C(1) << 20
#define TINY UINT64_C(4096)

START_TEST(session_with_nothing_missing_is_live_at_once)
{
	struct pair pair;
	struct node a;
	struct node b;

	node_open_history(&a, 1, 0);
	node_open_history(&b, 2, WIDE);
	node_writes(&a, 0, 3);
	pair_open(&pair, &a, &b);
	pair_catch_up(&pair);
	ck_assert_uint_eq(pair.messages, 3);
	ck_assert_uint_eq(pair.asked.txns, 0);
	ck_assert_mem_eq(&pair.asked.peer, &b.origin, sizeof(b.origin));
	ck_assert_mem_eq(&pair.answered.peer, &a.origin, sizeof(a.origin));
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(session_by_history_brings_the_missing_transactions_only)
{
	struct pair pair;
	struct node a;
	struct node b;

	node_open_history(&a, 1, WIDE);
	node_open_history(&b, 2, WIDE);
	node_writes(&b, 0, 20);
	node_give_all(&b, &a);
	node_writes(&b, 10, 20);
	node_writes(&a, 0, 5);
	pair_open(&pair, &a, &b);
	pair_catch_up(&pair);
	ck_assert_uint_eq(pair.asked.txns, 20);
	ck_assert_uint_eq(pair.answered.txns, 20);
	ck_assert_uint_eq(pair.kinds[BLAZEI_KIND_SNAPSHOT], 0);
	ck_assert_uint_eq(node_stats(&a).duplicates, 0);
	node_give_all(&a, &b);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

/* By transactions as in a lane; by a snapshot as what it does not cover meets what is new. */
START_TEST(session_counts_the_conflicts)
{
	struct node a;
	struct node b;

	for (unsigned round = 0; round < 2; round++) {
		node_open_history(&a, 1, WIDE);
		node_open_history(&b, 2, round == 0 ? WIDE : 0);
		node_writes(&a, 0, 1);
		node_give(&a, &b, 1);
		node_writes(&a, 0, 1);
		node_writes(&b, 0, 1);
		nodes_catch_up(&a, &b);
		ck_assert_uint_eq(node_stats(&a).conflicts, 2);
		node_close(&a);
		node_close(&b);
	}
}
END_TEST

START_TEST(session_by_snapshot_where_the_history_does_not_reach_back)
{
	struct pair pair;
	struct node a;
	struct node b;
	struct node c;

	node_open_history(&a, 1, TINY);
	node_open_history(&b, 2, TINY);
	node_open_history(&c, 3, TINY);
	node_writes(&c, 50, 50);
	node_give_all(&c, &b);
	node_writes(&b, 0, 100);
	for (unsigned i = 0; i < 100; i += 7)
		node_delete(&b, i);
	node_writes(&a, 90, 20);
	pair_open(&pair, &a, &b);
	pair_catch_up(&pair);
	ck_assert_uint_eq(pair.kinds[BLAZEI_KIND_SNAPSHOT], 1);
	ck_assert_uint_ge(pair.asked.chunks, 1);
	ck_assert_uint_eq(blazei_stage_bytes(pair.stage), 0);
	node_give_all(&a, &b);
	nodes_expect_equal(&a, &b);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &c.origin), 50);
	/* The next transactions of either follow by their hashes. */
	node_writes(&c, 3, 1);
	ck_assert_int_eq(node_give(&c, &a, 51), 1);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
	node_close(&c);
}
END_TEST

/* The chains of a snapshot make a later fork known. */
START_TEST(session_snapshot_tells_chains)
{
	struct pair pair;
	struct node a;
	struct node b;
	struct node c;
	struct node twin;

	node_open_history(&a, 1, 0);
	node_open_history(&b, 2, 0);
	node_open_history(&c, 3, 0);
	node_open_history(&twin, 3, 0);
	node_writes(&c, 0, 2);
	node_writes(&twin, 7, 3);
	node_give_all(&c, &b);
	pair_open(&pair, &a, &b);
	pair_catch_up(&pair);
	ck_assert_int_eq(node_give(&twin, &a, 3), 0);
	ck_assert_uint_eq(node_stats(&a).quarantined, 1);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
	node_close(&c);
	node_close(&twin);
}
END_TEST

/* Both sides write after each message; a third one's transactions come in at both. */
static enum pair_fate write_on(struct pair *pair, unsigned at, bool from_answerer, void *data,
                               size_t *len)
{
	struct node *third = pair->arg;

	(void)from_answerer;
	(void)data;
	(void)len;
	if (at < 40) {
		node_writes(pair->answerer, at % 30 * 10, 15);
		node_writes(pair->asker, at % 7, 1);
		node_writes(third, at, 1);
		node_give(third, at % 2 ? pair->asker : pair->answerer, third->count);
	}
	return PAIR_DELIVER;
}

/* With the histories: wide, tiny (every pass is overrun), none. */
START_TEST(session_amid_writes_is_exact)
{
	static const uint64_t histories[] = { WIDE, 16384, TINY, 0 };
	struct pair pair;
	struct node nodes[3];

	for (unsigned i = 0; i < 3; i++)
		node_open_history(&nodes[i], i + 1, histories[_i]);
	node_writes(&nodes[1], 0, 400);
	for (unsigned i = 1000; i < 1040; i++)
		node_write_long(&nodes[1], i, 30000);
	pair_open(&pair, &nodes[0], &nodes[1]);
	pair.hook = write_on;
	pair.arg = &nodes[2];
	pair_catch_up(&pair);
	ck_assert_uint_ge(pair.asked.passes, 1);
	if (histories[_i] == 0)
		ck_assert_uint_eq(pair.asked.passes, 4);
	pair.hook = NULL;
	pair_catch_up(&pair);
	nodes_settle(nodes, 3);
	nodes_expect_equal(&nodes[0], &nodes[1]);
	nodes_expect_equal(&nodes[0], &nodes[2]);
	pair_close(&pair);
	for (unsigned i = 0; i < 3; i++)
		node_close(&nodes[i]);
}
END_TEST

static enum pair_fate write_history_over(struct pair *pair, unsigned at, bool from_answerer,
                                         void *data, size_t *len)
{
	(void)data;
	(void)len;
	if (from_answerer && at == 2)
		node_writes(pair->answerer, 0, 200);
	return PAIR_DELIVER;
}

START_TEST(session_whose_history_is_overrun_goes_on_by_snapshot)
{
	struct pair pair;
	struct node a;
	struct node b;

	node_open_history(&a, 1, 32768);
	node_open_history(&b, 2, 32768);
	node_writes(&b, 0, 50);
	pair_open(&pair, &a, &b);
	pair.cap = BLAZEI_SESSION_MESSAGE_MIN;
	node_writes(&b, 0, 100);
	pair.hook = write_history_over;
	pair_catch_up(&pair);
	ck_assert_uint_ge(pair.kinds[BLAZEI_KIND_TXNS], 1);
	ck_assert_uint_eq(pair.kinds[BLAZEI_KIND_SNAPSHOT], 1);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

/* A record and a transaction longer than a message; both ways, in small messages. */
START_TEST(session_cuts_long_bodies_into_parts)
{
	const size_t len = (1u << 20) - 4096;
	struct pair pair;
	struct node a;
	struct node b;

	node_open_history(&a, 1, 0);
	node_open_history(&b, 2, _i ? UINT64_C(8) << 20 : 0);
	node_writes(&b, 0, 3);
	node_write_long(&b, 1, len);
	node_write_long(&b, 2, len);
	node_writes(&b, 3, 3);
	pair_open(&pair, &a, &b);
	pair.cap = BLAZEI_SESSION_MESSAGE_MIN;
	pair_catch_up(&pair);
	ck_assert_uint_eq(pair.kinds[BLAZEI_KIND_SNAPSHOT], _i ? 0 : 1);
	ck_assert_uint_ge(pair.messages, 2 * len / BLAZEI_SESSION_MESSAGE_MIN);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

static enum pair_fate cut_at(struct pair *pair, unsigned at, bool from_answerer, void *data,
                             size_t *len)
{
	const unsigned *cut = pair->arg;

	(void)from_answerer;
	(void)data;
	(void)len;
	return at == *cut ? PAIR_CUT : PAIR_DELIVER;
}

/* At every boundary, with writes between the two sessions that the history holds, or not. */
START_TEST(session_cut_at_any_message_is_resumed)
{
	const uint64_t history = _i ? WIDE : TINY;
	unsigned resumed = 0;
	unsigned whole = 0;

	for (unsigned cut = 0; cut < 100; cut++) {
		struct pair pair;
		struct node a;
		struct node b;

		node_open_history(&a, 1, history);
		node_open_history(&b, 2, history);
		/* More than any of these histories holds. */
		for (unsigned i = 0; i < 80; i++)
			node_write_long(&b, i, 20000);
		pair_open(&pair, &a, &b);
		pair.hook = cut_at;
		pair.arg = &cut;
		pair_run(&pair);
		if (pair.asked.state == BLAZEI_SESSION_LIVE)
			cut = 100;
		else
			ck_assert_uint_eq(blazei_replica_count(a.replica), 0);
		whole = pair.asked.chunks;
		node_writes(&b, 5, 10);
		pair.hook = NULL;
		pair_catch_up(&pair);
		resumed += pair.asked.resumed;
		if (cut == 100) {
			ck_assert_uint_eq(pair.asked.chunks, 0);
		} else if (whole > 0 && history == WIDE) {
			ck_assert(pair.asked.resumed);
			ck_assert(pair.answered.resumed);
			ck_assert_uint_le(pair.asked.chunks + whole, 12);
		}
		nodes_expect_equal(&a, &b);
		pair_close(&pair);
		node_close(&a);
		node_close(&b);
	}
	ck_assert_uint_ge(whole, 8);
	ck_assert(history == WIDE ? resumed >= 8 : resumed > 0);
}
END_TEST

/* Between two sessions the answerer's place is gone: by an overrun, or it is another answerer. */
START_TEST(session_restarts_where_the_place_is_gone)
{
	unsigned cut = 8;
	struct pair pair;
	struct node nodes[3];

	for (unsigned i = 0; i < 3; i++)
		node_open_history(&nodes[i], i + 1, 8192);
	for (unsigned i = 0; i < 40; i++)
		node_write_long(&nodes[1], i, 50000);
	node_give_all(&nodes[1], &nodes[2]);
	pair_open(&pair, &nodes[0], &nodes[1]);
	pair.hook = cut_at;
	pair.arg = &cut;
	pair_run(&pair);
	ck_assert_uint_ge(pair.asked.chunks, 3);
	ck_assert_uint_ge(blazei_stage_bytes(pair.stage), 3 * 150000);
	pair.hook = NULL;
	if (_i == 0)
		node_writes(&nodes[1], 0, 200);
	else
		pair.answerer = &nodes[2];
	pair_catch_up(&pair);
	ck_assert(!pair.asked.resumed);
	nodes_expect_equal(&nodes[0], pair.answerer);
	pair_close(&pair);
	for (unsigned i = 0; i < 3; i++)
		node_close(&nodes[i]);
}
END_TEST

/* Opens nodes of which b has much that a lacks; a session is cut amid the snapshot, of which a few
 * chunks are staged. */
static void begin_cut(struct pair *pair, struct node *a, struct node *b, uint64_t history,
                      bool whole)
{
	unsigned cut = 8;

	node_open_history(a, 1, history);
	node_open_history(b, 2, history);
	for (unsigned i = 0; i < 60; i++)
		node_write_long(b, i, 50000);
	pair_open(pair, a, b);
	pair->whole = whole;
	pair->hook = cut_at;
	pair->arg = &cut;
	pair_run(pair);
	pair->whole = false;
	pair->hook = NULL;
	pair->arg = NULL;
	ck_assert_uint_ge(pair->asked.chunks, 3);
	ck_assert_uint_ge(pair->left, 3 * 150000);
}

static enum pair_fate write_over_a_resumed_pass(struct pair *pair, unsigned at, bool from_answerer,
                                                void *data, size_t *len)
{
	const struct blazei_session_header *header = data;

	(void)at;
	(void)len;
	if (from_answerer && header->kind == BLAZEI_KIND_CHUNK &&
	    pair->kinds[BLAZEI_KIND_SNAPSHOT] == 1)
		node_writes(pair->answerer, 0, 40);
	return PAIR_DELIVER;
}

/* What a resumed pass goes on from is overrun while it is on its way: all begins anew. */
START_TEST(session_restarts_where_a_resumed_pass_is_overrun)
{
	struct pair pair;
	struct node a;
	struct node b;

	begin_cut(&pair, &a, &b, 8192, false);
	pair.hook = write_over_a_resumed_pass;
	pair_catch_up(&pair);
	ck_assert(pair.asked.resumed);
	ck_assert(pair.answered.resumed);
	ck_assert_uint_eq(pair.kinds[BLAZEI_KIND_SNAPSHOT], 2);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(session_by_history_empties_the_stage_of_an_earlier_one)
{
	struct pair pair;
	struct node a;
	struct node b;

	begin_cut(&pair, &a, &b, UINT64_C(8) << 20, true);
	pair_catch_up(&pair);
	ck_assert_uint_eq(pair.kinds[BLAZEI_KIND_SNAPSHOT], 0);
	ck_assert_uint_eq(pair.left, 0);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

/* A place that the answerer never gave, or that its rows do not have. */
START_TEST(session_restarts_where_the_place_is_none)
{
	struct pair pair;
	struct node a;
	struct node b;

	begin_cut(&pair, &a, &b, WIDE, false);
	if (_i == 0)
		pair.stage->resume.cursor = (uint64_t)(b.count + 1) << 32;
	else if (_i == 1)
		pair.stage->resume.position += 8;
	else
		pair.stage->resume.run += 2;
	pair_catch_up(&pair);
	ck_assert(!pair.asked.resumed);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(session_stage_passing_its_bound_is_enobufs)
{
	struct pair pair;
	struct node a;
	struct node b;

	node_open_history(&a, 1, 0);
	node_open_history(&b, 2, 0);
	for (unsigned i = 0; i < 40; i++)
		node_write_long(&b, i, 50000);
	pair_open(&pair, &a, &b);
	blazei_stage_free(pair.stage);
	ck_assert_int_eq(blazei_stage_new(1000000, &pair.stage), 0);
	pair_run(&pair);
	ck_assert_int_eq(pair.asked.error, -ENOBUFS);
	ck_assert_uint_eq(blazei_stage_bytes(pair.stage), 0);
	ck_assert_uint_eq(blazei_replica_count(a.replica), 0);
	blazei_stage_free(pair.stage);
	ck_assert_int_eq(blazei_stage_new(10000000, &pair.stage), 0);
	pair_catch_up(&pair);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

/* A stage of just the size that it takes, and one of a byte less. */
START_TEST(session_stage_may_be_filled_to_its_bound)
{
	uint64_t bytes = UINT64_C(1) << 30;

	for (unsigned round = 0; round < 3; round++) {
		struct pair pair;
		struct node a;
		struct node b;

		node_open_history(&a, 1, 0);
		node_open_history(&b, 2, 0);
		for (unsigned i = 0; i < 10; i++)
			node_write_long(&b, i, 50000);
		pair_open(&pair, &a, &b);
		blazei_stage_free(pair.stage);
		ck_assert_int_eq(blazei_stage_new(bytes - round / 2, &pair.stage), 0);
		pair.keep_staged = true;
		pair_run(&pair);
		ck_assert_int_eq(pair.asked.state,
		                 round < 2 ? BLAZEI_SESSION_STAGED : BLAZEI_SESSION_FAILED);
		ck_assert_int_eq(pair.asked.error, round < 2 ? 0 : -ENOBUFS);
		if (round == 0)
			bytes = pair.left;
		pair_close(&pair);
		node_close(&a);
		node_close(&b);
	}
}
END_TEST

START_TEST(session_not_installed_leaves_nothing)
{
	struct pair pair;
	struct node a;
	struct node b;

	node_open_history(&a, 1, 0);
	node_open_history(&b, 2, 0);
	node_writes(&b, 0, 10);
	pair_open(&pair, &a, &b);
	pair.keep_staged = true;
	pair_run(&pair);
	ck_assert_int_eq(pair.asked.state, BLAZEI_SESSION_STAGED);
	ck_assert_uint_eq(blazei_replica_count(a.replica), 0);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &b.origin), 0);
	pair.keep_staged = false;
	pair_catch_up(&pair);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

/* What came by a lane between the chunks and the installation is neither lost nor doubled. */
static enum pair_fate lane_too(struct pair *pair, unsigned at, bool from_answerer, void *data,
                               size_t *len)
{
	struct node *b = pair->answerer;

	(void)data;
	(void)len;
	if (!from_answerer)
		return PAIR_DELIVER;
	node_writes(b, at, 2);
	/* One of the two gets lost. */
	if (at > 2)
		ck_assert_int_ge(node_give(b, pair->asker, b->count - at % 2), 0);
	return PAIR_DELIVER;
}

START_TEST(session_beside_a_lane_applies_each_transaction_once)
{
	struct pair pair;
	struct node a;
	struct node b;

	node_open_history(&a, 1, WIDE);
	node_open_history(&b, 2, WIDE);
	for (unsigned i = 100; i < 160; i++)
		node_write_long(&b, i, 20000);
	pair_open(&pair, &a, &b);
	pair.hook = lane_too;
	pair_catch_up(&pair);
	ck_assert_uint_eq(pair.kinds[BLAZEI_KIND_SNAPSHOT], 1);
	pair.hook = NULL;
	pair_catch_up(&pair);
	nodes_expect_equal(&a, &b);
	ck_assert_uint_eq(node_stats(&a).parked, 0);
	ck_assert_uint_eq(node_stats(&a).quarantined, 0);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session");
	TCase *tcase = tcase_create("session");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, session_with_nothing_missing_is_live_at_once);
	tcase_add_test(tcase, session_by_history_brings_the_missing_transactions_only);
	tcase_add_test(tcase, session_counts_the_conflicts);
	tcase_add_test(tcase, session_by_snapshot_where_the_history_does_not_reach_back);
	tcase_add_test(tcase, session_snapshot_tells_chains);
	tcase_add_loop_test(tcase, session_amid_writes_is_exact, 0, 4);
	tcase_add_test(tcase, session_whose_history_is_overrun_goes_on_by_snapshot);
	tcase_add_loop_test(tcase, session_cuts_long_bodies_into_parts, 0, 2);
	tcase_add_loop_test(tcase, session_cut_at_any_message_is_resumed, 0, 2);
	tcase_add_loop_test(tcase, session_restarts_where_the_place_is_gone, 0, 2);
	tcase_add_test(tcase, session_restarts_where_a_resumed_pass_is_overrun);
	tcase_add_test(tcase, session_by_history_empties_the_stage_of_an_earlier_one);
	tcase_add_loop_test(tcase, session_restarts_where_the_place_is_none, 0, 3);
	tcase_add_test(tcase, session_stage_passing_its_bound_is_enobufs);
	tcase_add_test(tcase, session_stage_may_be_filled_to_its_bound);
	tcase_add_test(tcase, session_not_installed_leaves_nothing);
	tcase_add_test(tcase, session_beside_a_lane_applies_each_transaction_once);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
