/* SPDX-License-Identifier: Apache-2.0 */
/* A replica comes back from what a store kept: under which name, with what, and what it notices. */
#include "lib/repl/core.h"
#include "lib/repl/identity.h"
#include "tests/repl/events.h"
#include "tests/repl/ghost.h"
#include "tests/repl/stored.h"
#include "tests/repl/three.h"

/* Opens a node with this identity, empty. */
static void reopen(struct node *node, const struct node *old, uint64_t incarnation, uint64_t floor)
{
	struct blazei_replica_options options = {
		.self = old->origin,
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
		.hlc_floor = floor,
	};

	*node = (struct node){ .now_ns = old->now_ns };
	options.self.incarnation = incarnation;
	node->origin = options.self;
	ck_assert_int_eq(blazei_replica_new(&options, &node->replica), 0);
}

/* Replays what `from` wrote, up to seq. */
static void replay(struct node *node, const struct node *from, unsigned first, unsigned last)
{
	for (unsigned i = first; i <= last; i++) {
		struct blazei_txn_view txn = { from->log[i - 1].data, from->log[i - 1].len };

		ck_assert_int_eq(blazei_replica_replay(node->replica, &txn, 1), 1);
	}
}

/* a and b have seen all of each other; a wrote last, after it had seen b. */
static void fill(void)
{
	node_insert(&a, 1, "{\"x\":1}");
	node_insert(&b, 2, "{\"x\":1}");
	node_give_all(&a, &b);
	node_give_all(&b, &a);
	node_update(&a, 2, "{\"x\":2}");
	node_delete(&a, 1);
	node_give_all(&a, &b);
}

START_TEST(replay_continues_an_incarnation_as_if_nothing_had_been)
{
	struct node again;

	fill();
	reopen(&again, &a, a.origin.incarnation, 0);
	replay(&again, &a, 1, 1);
	replay(&again, &b, 1, 1);
	replay(&again, &a, 2, a.count);
	nodes_expect_equal(&a, &again);
	ck_assert_uint_eq(node_stats(&again).applied, 0);
	ck_assert_uint_eq(node_stats(&again).writes, a.count);
	/* The next one follows on, and depends on nothing that was told before. */
	again.now_ns = NOW;
	node_update(&again, 2, "{\"x\":3}");
	ck_assert_uint_eq(((const struct blazei_txn_header *)again.log[0].data)->dep_count, 0);
	ck_assert_int_eq(node_take(&b, again.log[0].data, again.log[0].len), 1);
	node_expect(&b, 2, "{\"x\":3}");
	nodes_expect_equal(&again, &b);
	node_close(&again);
}
END_TEST

START_TEST(replay_keeps_what_the_next_write_depends_on)
{
	struct node again;

	fill();
	node_insert(&b, 3, "{\"x\":1}");
	node_give_all(&b, &a);
	reopen(&again, &a, a.origin.incarnation, 0);
	replay(&again, &a, 1, 1);
	replay(&again, &b, 1, 1);
	replay(&again, &a, 2, a.count);
	replay(&again, &b, 2, 2);
	node_insert(&again, 4, "{\"x\":3}");
	ck_assert_uint_eq(((const struct blazei_txn_header *)again.log[0].data)->dep_count, 1);
	node_close(&again);
}
END_TEST

START_TEST(replay_takes_what_is_ahead_of_any_clock)
{
	struct node again;

	a.now_ns += 3600 * BLAZEI_NS_PER_S;
	node_insert(&a, 1, "{\"x\":1}");
	reopen(&again, &b, 7, 0);
	replay(&again, &a, 1, 1);
	node_expect(&again, 1, "{\"x\":1}");
	node_close(&again);
}
END_TEST

/* A second a, from its vector and its registers. */
static void restore(struct node *again)
{
	const uint64_t nothing[2] = { 0 };
	uint64_t cut[2];
	struct blazei_state_cursor cursor = { 0 };
	struct blazei_vector_detail details[2];
	void *buf = malloc(BLAZEI_STATE_BYTES_MAX);

	for (unsigned i = 0; i < 2; i++) {
		blazei_replica_vector_detail(a.replica, i, &details[i]);
		cut[i] = details[i].entry.seq;
	}
	reopen(again, &a, a.origin.incarnation, blazei_replica_hlc(a.replica));
	ck_assert_int_eq(blazei_replica_restore(again->replica, details, 2), 0);
	ck_assert_int_gt(
	        blazei_state_encode(a.replica, nothing, &cursor, buf, BLAZEI_STATE_BYTES_MAX), 0);
	ck_assert(cursor.end);
	ck_assert_int_eq(stored_merge(again->replica, buf, cut), 0);
	nodes_expect_equal(&a, again);
	free(buf);
}

START_TEST(restored_vector_and_state_make_the_same_replica)
{
	struct node again;

	fill();
	restore(&again);
	/* The chain goes on, the clock too, and the next write depends on what was there. */
	again.now_ns = NOW;
	node_update(&again, 2, "{\"x\":3}");
	ck_assert_uint_eq(((const struct blazei_txn_header *)again.log[0].data)->dep_count, 1);
	ck_assert_int_eq(node_take(&b, again.log[0].data, again.log[0].len), 1);
	nodes_expect_equal(&again, &b);
	/* A fork shows as it did before. */
	node_insert(&b, 9, "{\"x\":1}");
	((struct blazei_txn_header *)b.log[1].data)->prev++;
	((struct blazei_txn_header *)b.log[1].data)->chain = blazei_txn_hash(b.log[1].data);
	ck_assert_int_eq(node_give(&b, &again, 2), 0);
	ck_assert_uint_eq(node_stats(&again).quarantined, 1);
	node_close(&again);
}
END_TEST

/* Nothing tells any more up to where others had seen the own writes. */
START_TEST(what_others_had_seen_before_is_no_conflict_after_a_restart)
{
	struct node again;

	fill();
	node_insert(&b, 5, "{}");
	node_give_all(&b, &a);
	restore(&again);
	node_delete(&b, 2);
	ck_assert_int_eq(node_give(&b, &again, 3), 1);
	ck_assert_uint_eq(node_stats(&again).conflicts, 0);
	/* What is written then is another matter. */
	node_insert(&again, 6, "{}");
	node_take(&b, again.log[0].data, again.log[0].len);
	node_update(&again, 6, "{\"x\":1}");
	node_delete(&b, 6);
	ck_assert_int_eq(node_give(&b, &again, 4), 1);
	ck_assert_uint_eq(node_stats(&again).conflicts, 1);
	node_close(&again);
}
END_TEST

/* What is not known is any chain, what is known is that one, and the first one has none. */
START_TEST(restored_chain_holds_where_it_is_known)
{
	const struct blazei_vector_detail details[] = {
		{ .entry = { a.origin, 0 } },
		{ .entry = { b.origin, 1 }, .chain = _i == 0 ? 0 : 77 },
		{ .entry = { c.origin, 0 } },
	};
	struct blazei_vector_detail detail;
	struct node again;

	node_insert(&b, 1, "{\"x\":1}");
	node_insert(&b, 2, "{\"x\":1}");
	node_insert(&c, 3, "{\"x\":1}");
	reopen(&again, &a, a.origin.incarnation, 0);
	ck_assert_int_eq(blazei_replica_restore(again.replica, details, 3), 0);
	for (unsigned i = 0; i < 3; i++) {
		blazei_replica_vector_detail(again.replica, i, &detail);
		ck_assert_uint_eq(detail.chain, details[i].chain);
		ck_assert_uint_eq(detail.entry.seq, details[i].entry.seq);
	}
	ck_assert_int_eq(node_give(&b, &again, 2), _i == 0);
	ck_assert_uint_eq(node_stats(&again).quarantined, (unsigned)_i);
	ck_assert_int_eq(node_give(&c, &again, 1), 1);
	node_close(&again);
}
END_TEST

START_TEST(renewal_before_the_first_write_leaves_nothing_to_depend_on)
{
	struct blazei_origin self = a.origin;
	struct node again;

	reopen(&again, &a, a.origin.incarnation, 0);
	self.incarnation = 5;
	ck_assert_int_eq(blazei_replica_renew(again.replica, again.now_ns, &self), 0);
	node_insert(&again, 1, "{\"x\":1}");
	ck_assert_uint_eq(((const struct blazei_txn_header *)again.log[0].data)->dep_count, 0);
	ck_assert_int_eq(node_take(&b, again.log[0].data, again.log[0].len), 1);
	node_close(&again);
}
END_TEST

START_TEST(renewal_ends_with_the_last_field)
{
	struct blazei_origin self = a.origin;
	const struct blazei_entry ghost = { .hlc = NOW, .seq = 1, .life = 1 };
	const struct blaze_id id = id_of(1);
	const struct blazei_row *row;

	node_put_ghost(&a, 1, &ghost);
	self.incarnation = 5;
	ck_assert_int_eq(blazei_replica_renew(a.replica, a.now_ns, &self), 0);
	row = node_row(&a, &id);
	ck_assert_mem_eq(row->entries + row->used, &ghost, sizeof(ghost));
}
END_TEST

/* The next transaction of the one that was itself is like anybody's: the past is in the store. */
START_TEST(replay_of_an_earlier_incarnation_tells_of_no_twin)
{
	struct events events;
	struct node again;

	node_insert(&a, 1, "{\"x\":1}");
	reopen(&again, &a, 77, 0);
	events_listen(&events, &again);
	replay(&again, &a, 1, 1);
	ck_assert_uint_eq(events.count, 0);
	node_close(&again);
}
END_TEST

START_TEST(clock_never_goes_below_what_the_store_kept)
{
	struct node again;

	reopen(&again, &a, 7, NOW + 3600 * BLAZEI_NS_PER_S);
	node_insert(&again, 1, "{\"x\":1}");
	ck_assert_uint_gt(((const struct blazei_txn_header *)again.log[0].data)->hlc,
	                  NOW + 3600 * BLAZEI_NS_PER_S);
	node_close(&again);
}
END_TEST

START_TEST(clock_that_no_clock_ever_showed_is_refused)
{
	struct blazei_replica_options options = {
		.policy = BLAZE_POLICY_LWW,
		.hlc_floor = UINT64_MAX,
	};
	struct blazei_replica *replica;

	ck_assert_int_eq(blazei_replica_new(&options, &replica), -EINVAL);
	options.hlc_floor = BLAZEI_HLC_FLOOR_MAX + 1;
	ck_assert_int_eq(blazei_replica_new(&options, &replica), -EINVAL);
	options.hlc_floor--;
	ck_assert_int_eq(blazei_replica_new(&options, &replica), 0);
	blazei_replica_free(replica);
}
END_TEST

START_TEST(new_incarnation_after_a_crash_gets_its_lost_tail_from_others)
{
	struct node again;

	fill();
	/* The crash cut off the last one, which b has. */
	reopen(&again, &a, 77, blazei_replica_hlc(a.replica));
	replay(&again, &a, 1, 1);
	replay(&again, &b, 1, 1);
	replay(&again, &a, 2, 2);
	node_insert(&again, 5, "{\"x\":1}");
	ck_assert_int_eq(node_take(&b, again.log[0].data, again.log[0].len), 1);
	ck_assert_int_eq(node_give(&a, &again, 3), 1);
	ck_assert(!blazei_replica_displaced(again.replica));
	nodes_expect_equal(&again, &b);
	node_close(&again);
}
END_TEST

START_TEST(own_future_is_told_and_ends_in_a_new_incarnation)
{
	struct blazei_origin self = a.origin;
	struct events events;
	struct node again;

	fill();
	/* A backup with all its tokens: it takes itself for what it was. */
	reopen(&again, &a, a.origin.incarnation, 0);
	events_listen(&events, &again);
	replay(&again, &a, 1, 1);
	ck_assert_int_eq(node_give(&a, &again, 1), 0);
	ck_assert(!blazei_replica_displaced(again.replica));
	ck_assert_int_eq(node_give(&a, &again, 2), 0);
	ck_assert_int_eq(node_give(&a, &again, 3), 0);
	ck_assert(blazei_replica_displaced(again.replica));
	ck_assert_uint_eq(events.count, 1);
	events_expect(&events, 0, BLAZEI_EFFECT_ORIGIN_DISPLACED, &a.origin, 2);
	ck_assert_uint_eq(node_stats(&again).refused, 2);
	/* Renewed, it takes its own future like anybody's. */
	self.incarnation = 99;
	ck_assert_int_eq(blazei_replica_renew(again.replica, again.now_ns, &self), 0);
	ck_assert(!blazei_replica_displaced(again.replica));
	node_give_all(&b, &again);
	node_give_all(&a, &again);
	nodes_expect_equal(&again, &a);
	node_insert(&again, 5, "{\"x\":1}");
	ck_assert(blazei_origin_equal(blazei_txn_origins(again.log[0].data), &self));
	ck_assert_int_eq(node_take(&b, again.log[0].data, again.log[0].len), 1);
	nodes_expect_equal(&again, &b);
	node_close(&again);
}
END_TEST

START_TEST(own_fork_is_told_and_what_was_written_stays)
{
	struct blazei_origin self = a.origin;
	struct events events;
	struct node again;

	fill();
	reopen(&again, &a, a.origin.incarnation, 0);
	events_listen(&events, &again);
	replay(&again, &a, 1, 1);
	node_insert(&again, 7, "{\"x\":\"fork\"}");
	ck_assert_int_eq(node_give(&a, &again, 2), 0);
	ck_assert_uint_eq(events.count, 1);
	events_expect(&events, 0, BLAZEI_EFFECT_ORIGIN_DISPLACED, &a.origin, 2);
	self.incarnation = 99;
	ck_assert_int_eq(blazei_replica_renew(again.replica, again.now_ns, &self), 0);
	node_expect(&again, 7, "{\"x\":\"fork\"}");
	/* The other history under the old name is now a fork like any other. */
	ck_assert_int_eq(node_give(&a, &again, 2), 0);
	ck_assert_uint_eq(node_stats(&again).quarantined, 1);
	node_expect(&again, 7, "{\"x\":\"fork\"}");
	node_close(&again);
}
END_TEST

START_TEST(renewal_keeps_stamps_vector_and_dependencies)
{
	struct blazei_origin self = a.origin;
	uint8_t before[16];
	uint8_t after[16];

	fill();
	blazei_replica_hash_stamps(a.replica, before);
	self.incarnation = 5;
	ck_assert_int_eq(blazei_replica_renew(a.replica, a.now_ns, &self), 0);
	blazei_replica_hash_stamps(a.replica, after);
	ck_assert_mem_eq(before, after, 16);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &a.origin), 3);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &self), 0);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &b.origin), 1);
	/* The next write waits where the old incarnation's last one has not come. */
	node_update(&a, 2, "{\"x\":9}");
	ck_assert_int_eq(node_give(&a, &c, 4), 0);
	node_give_all(&b, &c);
	for (unsigned i = 1; i <= 3; i++)
		node_give(&a, &c, i);
	nodes_expect_equal(&a, &c);
	/* A known origin is no new one. */
	ck_assert_int_eq(blazei_replica_renew(a.replica, a.now_ns, &self), -EEXIST);
	ck_assert_int_eq(blazei_replica_renew(a.replica, a.now_ns, &b.origin), -EEXIST);
}
END_TEST

START_TEST(node_that_lives_twice_is_told_once_and_its_past_is_not)
{
	struct events events;
	struct node past;
	struct node twin;

	reopen(&past, &a, 55, 0);
	node_insert(&past, 1, "{\"x\":1}");
	reopen(&twin, &a, 66, 0);
	twin.now_ns += 60 * BLAZEI_NS_PER_S;
	node_insert(&twin, 2, "{\"x\":1}");
	node_insert(&twin, 3, "{\"x\":1}");
	node_close(&c);
	reopen(&c, &a, 77, past.now_ns + 1);
	events_listen(&events, &c);
	ck_assert_int_eq(node_give(&past, &c, 1), 1);
	ck_assert_uint_eq(events.count, 0);
	ck_assert_int_eq(node_give(&twin, &c, 1), 1);
	ck_assert_int_eq(node_give(&twin, &c, 2), 1);
	ck_assert_uint_eq(events.count, 1);
	events_expect(&events, 0, BLAZEI_EFFECT_NODE_TWICE, &twin.origin, 1);
	node_close(&past);
	node_close(&twin);
}
END_TEST

/* Identity ----------------------------------------------------------------------------------- */

static struct blazei_identity_stored stored;
static struct blazei_identity_seen seen;
static struct blazei_vector_entry *vector; /* two, and no room behind them */
static struct blazei_vector_entry *reported;
static struct blaze_id left_token;

/* A store that was closed cleanly, and of which others have all. */
static void identity_set_up(void)
{
	set_up();
	left_token = id_of(5);
	vector = malloc(2 * sizeof(*vector));
	reported = malloc(2 * sizeof(*reported));
	vector[0] = (struct blazei_vector_entry){ a.origin, 10 };
	vector[1] = (struct blazei_vector_entry){ b.origin, 20 };
	memcpy(reported, vector, 2 * sizeof(*vector));
	stored = (struct blazei_identity_stored){
		.self = a.origin,
		.token = left_token,
		.chain = 1234,
		.vector = vector,
		.count = 2,
	};
	seen = (struct blazei_identity_seen){
		.token = &left_token,
		.seq = 10,
		.chain = 1234,
		.vector = reported,
		.count = 2,
	};
}

static void identity_tear_down(void)
{
	free(vector);
	free(reported);
	tear_down();
}

START_TEST(identity_of_a_clean_close_continues)
{
	ck_assert_int_eq(blazei_identity_decide(&stored, &seen), BLAZEI_IDENTITY_CONTINUE);
	seen.chain = 0;
	ck_assert_int_eq(blazei_identity_decide(&stored, &seen), BLAZEI_IDENTITY_CONTINUE);
	seen = (struct blazei_identity_seen){ .token = &left_token };
	ck_assert_int_eq(blazei_identity_decide(&stored, &seen), BLAZEI_IDENTITY_CONTINUE);
}
END_TEST

START_TEST(identity_without_its_token_is_a_new_incarnation)
{
	struct blaze_id other = id_of(6);

	seen.token = NULL;
	ck_assert_int_eq(blazei_identity_decide(&stored, &seen), BLAZEI_IDENTITY_NEW_INCARNATION);
	seen.token = &other;
	ck_assert_int_eq(blazei_identity_decide(&stored, &seen), BLAZEI_IDENTITY_NEW_INCARNATION);
}
END_TEST

START_TEST(identity_of_which_others_have_more_is_a_new_incarnation)
{
	seen.seq = 11;
	ck_assert_int_eq(blazei_identity_decide(&stored, &seen), BLAZEI_IDENTITY_NEW_INCARNATION);
	seen.seq = 10;
	seen.chain = 1235;
	ck_assert_int_eq(blazei_identity_decide(&stored, &seen), BLAZEI_IDENTITY_NEW_INCARNATION);
	/* A chain of an earlier one says nothing. */
	seen.seq = 9;
	ck_assert_int_eq(blazei_identity_decide(&stored, &seen), BLAZEI_IDENTITY_CONTINUE);
	/* Nor does that of none. */
	stored.self = c.origin;
	seen.seq = 0;
	ck_assert_int_eq(blazei_identity_decide(&stored, &seen), BLAZEI_IDENTITY_CONTINUE);
}
END_TEST

START_TEST(identity_that_is_met_twice_is_a_new_node)
{
	seen.alive = true;
	ck_assert_int_eq(blazei_identity_decide(&stored, &seen), BLAZEI_IDENTITY_NEW_NODE);
	seen.alive = false;
	reported[1].seq = 21;
	ck_assert_int_eq(blazei_identity_decide(&stored, &seen), BLAZEI_IDENTITY_NEW_NODE);
	seen.token = NULL;
	ck_assert_int_eq(blazei_identity_decide(&stored, &seen), BLAZEI_IDENTITY_NEW_NODE);
	reported[1] = (struct blazei_vector_entry){ c.origin, 1 };
	ck_assert_int_eq(blazei_identity_decide(&stored, &seen), BLAZEI_IDENTITY_NEW_NODE);
}
END_TEST

START_TEST(identity_late_is_exactly_one_of_two)
{
	const struct blazei_identity_run runs[] = { { 5, 100 }, { 4, 200 }, { 9, 100 } };

	ck_assert(!blazei_identity_is_late(&runs[0], &runs[1]));
	ck_assert(blazei_identity_is_late(&runs[1], &runs[0]));
	ck_assert(!blazei_identity_is_late(&runs[0], &runs[2]));
	ck_assert(blazei_identity_is_late(&runs[2], &runs[0]));
	ck_assert(!blazei_identity_is_late(&runs[0], &runs[0]));
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&replay_continues_an_incarnation_as_if_nothing_had_been,
		&replay_keeps_what_the_next_write_depends_on,
		&replay_takes_what_is_ahead_of_any_clock,
		&restored_vector_and_state_make_the_same_replica,
		&what_others_had_seen_before_is_no_conflict_after_a_restart,
		&renewal_before_the_first_write_leaves_nothing_to_depend_on,
		&renewal_ends_with_the_last_field,
		&replay_of_an_earlier_incarnation_tells_of_no_twin,
		&clock_never_goes_below_what_the_store_kept,
		&clock_that_no_clock_ever_showed_is_refused,
		&new_incarnation_after_a_crash_gets_its_lost_tail_from_others,
		&own_future_is_told_and_ends_in_a_new_incarnation,
		&own_fork_is_told_and_what_was_written_stays,
		&renewal_keeps_stamps_vector_and_dependencies,
		&node_that_lives_twice_is_told_once_and_its_past_is_not,
	};
	static const TTest *const *const identity_tests[] = {
		&identity_of_a_clean_close_continues,
		&identity_without_its_token_is_a_new_incarnation,
		&identity_of_which_others_have_more_is_a_new_incarnation,
		&identity_that_is_met_twice_is_a_new_node,
		&identity_late_is_exactly_one_of_two,
	};
	Suite *suite = suite_create("restart");
	TCase *tcase = tcase_create("restart");
	TCase *identity = tcase_create("identity");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	tcase_add_loop_test(tcase, restored_chain_holds_where_it_is_known, 0, 2);
	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(identity, identity_set_up, identity_tear_down);
	for (unsigned i = 0; i < sizeof(identity_tests) / sizeof(*identity_tests); i++)
		tcase_add_test(identity, *identity_tests[i]);
	suite_add_tcase(suite, identity);
	return suite_run(suite);
}
