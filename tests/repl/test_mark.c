/* SPDX-License-Identifier: Apache-2.0 */
/* Incarnations that are over leave the vector: when, and what is left of them (lib/repl/mark.h). */
#include "lib/op/value.h"
#include "lib/repl/mark_core.h"
#include "lib/repl/opened.h"
#include "lib/repl/reissue.h"
#include "tests/repl/over.h"
#include "tests/repl/writeset_help.h"

START_TEST(retired_incarnation_leaves_the_vector_and_nothing_else_changes)
{
	uint8_t digests[4][16];
	unsigned count;

	begin_retirable();
	count = blazei_replica_vector_count(b.replica);
	blazei_replica_hash(b.replica, digests[0]);
	blazei_replica_hash_stamps(b.replica, digests[1]);
	retire(&b, 1);
	blazei_replica_hash(b.replica, digests[2]);
	blazei_replica_hash_stamps(b.replica, digests[3]);
	ck_assert_mem_eq(digests[0], digests[2], 32);
	ck_assert(!knows(&b, &past[0].origin));
	ck_assert(knows(&b, &a.origin));
	ck_assert_uint_eq(blazei_replica_vector_count(b.replica), count);
	node_expect(&b, 1, "{\"x\":1}");
	retire(&b, 0);
	/* One has, the other has not. */
	nodes_expect_equal(&a, &b);
}
END_TEST

START_TEST(nothing_is_retired_before_all_hold_that_it_is_over)
{
	const struct blazei_entry *said = NULL;

	begin();
	for (unsigned i = 0; i < 6; i++) {
		const uint64_t seq = said ? said->seq : 0;

		round_make(i);
		said = blazei_members_said(a.replica, &a.origin.node);
		if (!said || blazei_replica_frontier_seq(b.replica, &a.origin) < said->seq)
			retire(&b, 0);
		/* It is said once. */
		ck_assert(seq == 0 || said->seq == seq);
	}
	ck_assert_ptr_nonnull(said);
	retire(&b, 1);
}
END_TEST

/* Its copies have indices of before. It may count in either of two generations. */
START_TEST(nothing_is_retired_while_a_transaction_is_open)
{
	struct blazei_opened opened = { .generation = 0 };
	struct blazei_vector_view bound;
	unsigned which;

	begin_retirable();
	if (_i == 1)
		ck_assert_int_eq(blazei_opened_bound(&opened, b.replica, &bound), 0);
	which = blazei_opened_begin(&opened);
	ck_assert_uint_eq(which, (unsigned)_i);
	ck_assert_int_eq(blazei_replica_retire(b.replica, &opened), 0);
	ck_assert(knows(&b, &past[0].origin));
	node_expect(&b, 1, "{\"x\":1}");
	blazei_opened_end(&opened, which);
	ck_assert_int_eq(blazei_replica_retire(b.replica, &opened), 1);
	ck_assert(!knows(&b, &past[0].origin));
	blazei_opened_fini(&opened);
}
END_TEST

/* But one that was open when a snapshot brought the mark: what it saw was written by this node,
 * under the name before this one (0), or before that (1), or under another node id (2). */
START_TEST(transaction_that_saw_what_is_retired_since_conflicts_with_nothing)
{
	struct txn txn;

	report(&a, &b);
	report(&b, &a);
	write_told(&a, &b, 1, "{\"x\":1}");
	write_told(&a, &b, 3, "{\"x\":1}");
	txn = txn_begin(&a);
	txn_expect(&txn, 1, "{\"x\":1}");
	txn_expect(&txn, 3, "{\"x\":1}");
	restart(&a);
	if (_i == 1) {
		write_told(&a, &b, 5, "{\"x\":1}");
		restart(&a);
	}
	for (unsigned i = 0; i < 6; i++)
		round_make(i);
	retire(&a, _i == 1 ? 2 : 1);
	if (_i == 2) {
		a.origin.node.bytes[0] = 11;
		restart(&a);
	}
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":2}"), 0);
	ck_assert_int_eq(txn_delete(&txn, 3), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	clocks_set();
	ck_assert_int_eq(node_give(&a, &b, a.count), 1);
	ck_assert_uint_eq(node_stats(&a).conflicts, 0);
	ck_assert_uint_eq(node_stats(&b).conflicts, 0);
	node_expect(&b, 1, "{\"x\":2}");
	node_expect(&b, 3, NULL);
	nodes_expect_equal(&a, &b);
}
END_TEST

START_TEST(nothing_is_said_before_all_of_it_is_below_the_frontier)
{
	begin();
	/* b has not reported that it has record 1. */
	for (unsigned i = 0; i < 6; i++) {
		write_told(&a, &b, 2, i % 2 ? "{\"y\":1}" : "{\"y\":2}");
		report(&a, &b);
	}
	ck_assert_ptr_null(blazei_members_said(a.replica, &a.origin.node));
	report(&b, &a);
	report(&a, &b);
	report(&a, &b);
	ck_assert_ptr_nonnull(blazei_members_said(a.replica, &a.origin.node));
}
END_TEST

START_TEST(nothing_is_said_while_another_incarnation_is_written_to)
{
	begin_retirable();
	/* As if it had begun before the other one ended: a twin. */
	restart(&a);
	a.replica->began_hlc = 1;
	for (unsigned i = 0; i < 6; i++)
		round_make(i);
	ck_assert_int_ne(blazei_members_said(a.replica, &a.origin.node)->origin, 0);
}
END_TEST

START_TEST(quarantined_incarnation_stays)
{
	begin_retirable();
	blazei_quarantine(b.replica, blazei_vector_find(&b.replica->vector, &past[0].origin), 2);
	retire(&b, 0);
	ck_assert(knows(&b, &past[0].origin));
}
END_TEST

START_TEST(incarnation_of_which_no_h_is_known_stays)
{
	struct blazei_writer *writer;
	uint64_t hlc;

	begin_retirable();
	writer =
	        &b.replica->vector.writers[blazei_vector_find(&b.replica->vector, &past[0].origin)];
	hlc = writer->hlc;
	writer->hlc = 0;
	retire(&b, 0);
	writer->hlc = hlc;
	retire(&b, 1);
}
END_TEST

/* Nor does its node say that it is over: its H is not known (0), or it is in quarantine (1). */
START_TEST(nothing_is_said_of_an_incarnation_that_has_to_stay)
{
	struct blazei_writer *writer;

	begin();
	writer =
	        &a.replica->vector.writers[blazei_vector_find(&a.replica->vector, &past[0].origin)];
	if (_i == 0)
		writer->hlc = 0;
	else
		blazei_quarantine(a.replica, (unsigned)(writer - a.replica->vector.writers), 2);
	for (unsigned i = 0; i < 6; i++)
		round_make(i);
	ck_assert_ptr_null(blazei_members_said(a.replica, &a.origin.node));
	retire(&b, 0);
}
END_TEST

/* What was written under it is written again; who had it from elsewhere goes on to have it. */
START_TEST(name_that_was_left_stays)
{
	const struct blazei_origin left = a.origin;
	struct blazei_unseen_list list = { 0 };
	struct blazei_txn_view txn;

	report(&a, &b);
	report(&b, &a);
	write_told(&a, &b, 1, "{\"x\":1}");
	past[past_count] = a;
	past[past_count++].replica = NULL;
	a.log = NULL;
	a.count = a.max = 0;
	a.origin.incarnation += 7;
	a.now_ns += BLAZEI_NS_PER_S;
	ck_assert_int_eq(blazei_replica_leave_name(a.replica, a.now_ns, &a.origin), 0);
	ck_assert_int_eq(blazei_replica_reissue(a.replica, a.now_ns, &list, &txn), 0);
	ck_assert(node_keep(&a, txn.data, txn.len));
	ck_assert_int_eq(blazei_replica_reissue(a.replica, a.now_ns, &list, &txn), 0);
	ck_assert_uint_eq(txn.len, 0);
	clocks_set();
	node_give_all(&a, &b);
	for (unsigned i = 0; i < 8; i++)
		round_make(i);
	ck_assert_uint_eq(blazei_replica_frontier_seq(a.replica, &left),
	                  blazei_replica_vector_seq(a.replica, &left));
	ck_assert_ptr_null(blazei_members_said(a.replica, &a.origin.node));
	retire(&a, 0);
	retire(&b, 0);
	nodes_expect_equal(&a, &b);
}
END_TEST

START_TEST(incarnation_stays_that_has_more_than_its_node_said)
{
	uint16_t index;

	begin_retirable();
	index = blazei_vector_find(&b.replica->vector, &past[0].origin);
	b.replica->vector.writers[index].seq++;
	retire(&b, 0);
	b.replica->members.frontier[index]++;
	retire(&b, 0);
}
END_TEST

/* An incarnation of a that ended early, and of which c alone has heard. */
static void lost_open(struct node *lost)
{
	node_open(lost, 1);
	lost->origin.incarnation = 5;
	ck_assert_int_eq(blazei_replica_renew(lost->replica, lost->now_ns, &lost->origin), 0);
	ck_assert_int_eq(node_insert(lost, 40, "{\"x\":40}"), 0);
	ck_assert_int_eq(node_give(lost, &c, 1), 1);
}

START_TEST(nothing_is_retired_while_something_waits_for_what_the_node_lost)
{
	struct node lost;

	begin_retirable();
	lost_open(&lost);
	ck_assert_int_eq(node_insert(&c, 41, "{\"x\":41}"), 0);
	ck_assert_int_eq(node_give(&c, &b, 1), 0);
	retire(&b, 0);
	/* With that it is known, and stays. */
	ck_assert_int_eq(node_give(&lost, &b, 1), 2);
	retire(&b, 1);
	ck_assert(knows(&b, &lost.origin));
	node_expect(&b, 41, "{\"x\":41}");
	node_close(&lost);
}
END_TEST

START_TEST(nothing_is_retired_while_what_the_node_lost_waits)
{
	struct node lost;

	begin_retirable();
	lost_open(&lost);
	ck_assert_int_eq(node_insert(&lost, 42, "{\"x\":42}"), 0);
	ck_assert_int_eq(node_give(&lost, &b, 2), 0);
	retire(&b, 0);
	ck_assert_int_eq(node_give(&lost, &b, 1), 2);
	retire(&b, 1);
	node_expect(&b, 42, "{\"x\":42}");
	node_close(&lost);
}
END_TEST

/* Of two incarnations that are over the first one had written more than its node says: what waits
 * for that would not wait below the mark of the second one. */
START_TEST(nothing_is_retired_while_something_waits_for_more_than_was_said)
{
	struct node lost;

	report(&a, &b);
	report(&b, &a);
	write_told(&a, &b, 1, "{\"x\":1}");
	/* The crash comes behind the next one, which only c hears. */
	node_open(&lost, 1);
	lost.now_ns = a.now_ns;
	for (unsigned i = 1; i <= a.count; i++) {
		const struct blazei_txn_view view = { a.log[i - 1].data, a.log[i - 1].len };

		node_give(&b, &lost, 1);
		ck_assert_int_ge(blazei_replica_replay(lost.replica, &view, 1), 0);
	}
	ck_assert_int_eq(node_insert(&lost, 40, "{\"x\":40}"), 0);
	node_give_all(&b, &c);
	node_give_all(&a, &c);
	ck_assert_int_eq(node_give(&lost, &c, 1), 1);
	ck_assert_int_eq(node_insert(&c, 41, "{\"x\":41}"), 0);
	ck_assert_int_eq(node_insert(&lost, 42, "{\"x\":42}"), 0);
	ck_assert_int_eq(node_give(&lost, &c, 2), 1);
	ck_assert_int_eq(node_insert(&c, 43, "{\"x\":43}"), 0);
	a.now_ns += BLAZEI_NS_PER_S;
	restart(&a);
	clocks_set();
	write_told(&a, &b, 1, "{\"x\":2}");
	restart(&a);
	for (unsigned i = 0; i < 6; i++)
		round_make(i);
	ck_assert_int_eq(node_give(&c, &b, 1), 0);
	retire(&b, 0);
	ck_assert_int_eq(node_give(&lost, &b, 1), 2);
	/* The second one alone is as it was said to be; the first stays, and may be waited for. */
	ck_assert_int_eq(node_give(&c, &b, 2), 0);
	retire(&b, 1);
	ck_assert(knows(&b, &past[0].origin));
	node_expect(&b, 41, "{\"x\":41}");
	ck_assert_int_eq(node_give(&lost, &b, 2), 2);
	node_expect(&b, 43, "{\"x\":43}");
	node_close(&lost);
}
END_TEST

/* An incarnation that ended before the one whose mark stands, and is found to be over later. */
START_TEST(mark_never_goes_back)
{
	const struct blazei_writer *mark;
	uint64_t seq;
	uint64_t chain;
	uint16_t index;

	begin();
	a.now_ns += BLAZEI_NS_PER_S;
	clocks_set();
	write_told(&a, &b, 1, "{\"x\":2}");
	restart(&a);
	for (unsigned i = 0; i < 6; i++)
		round_make(i);
	/* b holds one more of the first one than a said. */
	index = blazei_vector_find(&b.replica->vector, &past[0].origin);
	b.replica->vector.writers[index].seq++;
	retire(&b, 1);
	b.replica->vector.writers[index].seq--;
	mark = &b.replica->vector.writers[blazei_mark_find(&b.replica->vector, &a.origin.node)];
	seq = mark->seq;
	chain = mark->chain;
	ck_assert_uint_lt(b.replica->vector.writers[index].hlc, seq);
	restart(&a);
	for (unsigned i = 0; i < 6; i++)
		round_make(i);
	/* Now b has less of the last one than a said. */
	index = blazei_vector_find(&b.replica->vector, &past[2].origin);
	b.replica->vector.writers[index].seq--;
	retire(&b, 1);
	ck_assert(!knows(&b, &past[0].origin));
	b.replica->vector.writers[index].seq++;
	ck_assert_uint_eq(mark->seq, seq);
	ck_assert_uint_ne(mark->chain, chain);
	ck_assert_uint_eq(mark->chain, a.origin.incarnation);
	retire(&b, 1);
	ck_assert_uint_gt(mark->seq, seq);
	nodes_expect_equal(&a, &b);
}
END_TEST

/* Of many records the pass is made where half of the places are taken. */
START_TEST(pass_over_many_records_is_due_when_places_get_few)
{
	struct blazei_vector *vector = &b.replica->vector;
	const uint32_t row_count = b.replica->table.row_count;

	ck_assert(blazei_replica_retire_due(b.replica));
	b.replica->table.row_count = 65536;
	ck_assert(blazei_replica_retire_due(b.replica));
	b.replica->table.row_count = 65537;
	ck_assert(!blazei_replica_retire_due(b.replica));
	vector->limit = 8;
	for (unsigned i = 1; i < 4; i++)
		ck_assert_int_eq(blazei_vector_intern(
		                         vector, &(struct blazei_origin){ .incarnation = 70 + i }),
		                 (int)i);
	ck_assert(!blazei_replica_retire_due(b.replica));
	ck_assert_int_eq(blazei_vector_intern(vector, &(struct blazei_origin){ .incarnation = 80 }),
	                 4);
	ck_assert(blazei_replica_retire_due(b.replica));
	/* One that is free is not taken. */
	blazei_vector_rename(vector, 4, NULL);
	ck_assert(!blazei_replica_retire_due(b.replica));
	b.replica->table.row_count = row_count;
}
END_TEST

/* What stands where a node says what is over, as a uuid that reads like the list from
 * its second byte on: nothing is over. */
START_TEST(saying_of_another_form_says_nothing)
{
	struct blazei_mark_item item = { .incarnation = 0x50 };
	uint8_t uuid[3 + sizeof(struct blaze_id)] = { 0xd8, 0x25 };
	struct blazei_write_op ops[] = { {
		.name = "m",
		.name_len = 1,
		.body = uuid,
		.body_len = sizeof(uuid),
	} };
	const struct blazei_table *table = &a.replica->table;
	struct blazei_write_group group = {
		.id = &a.origin.node,
		.ops = ops,
		.op_count = 1,
		.life = BLAZEI_LIFE_MAX,
	};
	struct blazei_write_group *groups = &group;
	struct blazei_txn_view txn;

	a.origin.incarnation = item.incarnation;
	ck_assert_int_eq(blazei_replica_renew(a.replica, a.now_ns, &a.origin), 0);
	begin_retirable();
	item.seq = past[0].count;
	memcpy(uuid + 2, &item, sizeof(item));
	group.row = blazei_table_find(table, group.id, blazei_table_hash(table, group.id));
	ck_assert_int_eq(blazei_commit(a.replica, a.now_ns, &groups, 1, &txn), 0);
	ck_assert(node_keep(&a, txn.data, txn.len));
	ck_assert_int_eq(node_give(&a, &b, a.count), 1);
	ck_assert_int_eq(blazei_value_type(blazei_members_said(b.replica, &a.origin.node)->value),
	                 BLAZE_TYPE_UUID);
	ck_assert_int_eq(blazei_members_refresh(b.replica), 0);
	b.replica->members.frontier[blazei_vector_find(&b.replica->vector, &a.origin)] = a.count;
	retire(&b, 0);
	/* It is said again, as it should be. */
	for (unsigned i = 0; i < 4; i++)
		round_make(i);
	retire(&b, 1);
}
END_TEST

/* What waits of an incarnation that is beyond the mark. */
START_TEST(what_waits_beyond_the_mark_keeps_nothing_back)
{
	begin_retirable();
	restart(&a);
	ck_assert_int_eq(node_insert(&a, 41, "{\"x\":41}"), 0);
	ck_assert_int_eq(node_insert(&a, 42, "{\"x\":42}"), 0);
	ck_assert_int_eq(node_give(&a, &b, 2), 0);
	retire(&b, 1);
	ck_assert_int_eq(node_give(&a, &b, 1), 2);
}
END_TEST

/* What waits for something else, and has seen what was retired before. */
START_TEST(what_waits_and_has_seen_the_retired_keeps_nothing_back)
{
	struct node other;

	begin_retirable();
	retire(&b, 1);
	c_hears();
	restart(&a);
	for (unsigned i = 0; i < 6; i++)
		round_make(10 + i);
	node_open(&other, 4);
	ck_assert_int_eq(node_insert(&other, 40, "{\"x\":40}"), 0);
	ck_assert_int_eq(node_give(&other, &c, 1), 1);
	ck_assert_int_eq(node_insert(&c, 41, "{\"x\":41}"), 0);
	ck_assert_int_eq(node_give(&c, &b, 1), 0);
	retire(&b, 1);
	ck_assert_int_eq(node_give(&other, &b, 1), 2);
	node_close(&other);
}
END_TEST

START_TEST(own_node_retires_its_own_and_indices_are_used_again)
{
	unsigned count = 0;

	for (unsigned i = 0; i < 6; i++) {
		begin();
		for (unsigned k = 0; k < 6; k++)
			round_make(100 * i + k);
		retire(&a, 1);
		retire(&b, 1);
		if (i == 1)
			count = blazei_replica_vector_count(a.replica);
	}
	ck_assert_uint_eq(blazei_replica_vector_count(a.replica), count);
	ck_assert_uint_eq(blazei_replica_vector_count(b.replica), count);
	nodes_expect_equal(&a, &b);
	c_hears();
	nodes_expect_equal(&a, &c);
}
END_TEST

/* Who is no member, and heard no report before all members had retired it: these say nothing more
 * of how far they have it. */
START_TEST(who_is_no_member_retires_what_all_members_have)
{
	begin_retirable();
	retire(&a, 1);
	retire(&b, 1);
	for (unsigned i = 0; i < 4; i++)
		round_make(100 + i);
	c_hears();
	ck_assert(knows(&c, &past[0].origin));
	retire(&c, 1);
	ck_assert(!knows(&c, &past[0].origin));
	nodes_expect_equal(&b, &c);
}
END_TEST

START_TEST(table_of_origins_that_is_small_is_never_full)
{
	const struct blazei_replica_options options = {
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
		.origins_max = 5,
	};

	node_close(&b);
	node_open_with(&b, 2, options);
	for (unsigned i = 0; i < 12; i++) {
		begin();
		for (unsigned k = 0; k < 6; k++)
			round_make(100 * i + k);
		retire(&a, 1);
		retire(&b, 1);
	}
	ck_assert_uint_eq(node_stats(&b).refused, 0);
	ck_assert(!b.replica->origins_full);
	/* And else it is. */
	for (unsigned i = 0; i < 3; i++) {
		restart(&a);
		ck_assert_int_eq(node_insert(&a, 60 + i, "{\"z\":1}"), 0);
		node_give(&a, &b, 1);
	}
	ck_assert(b.replica->origins_full);
}
END_TEST

START_TEST(nobody_is_called_retired)
{
	const struct blazei_origin origin = { .incarnation = BLAZEI_RETIRED };
	struct blazei_replica_options options = {
		.self = origin,
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
	};
	struct blazei_replica *replica;

	ck_assert_int_eq(blazei_replica_new(&options, &replica), -EINVAL);
	ck_assert_int_eq(blazei_replica_renew(a.replica, NOW, &origin), -EEXIST);
	options.self.incarnation = 1;
	options.origins_max = BLAZEI_ORIGINS_MAX + 1;
	ck_assert_int_eq(blazei_replica_new(&options, &replica), -EINVAL);
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&retired_incarnation_leaves_the_vector_and_nothing_else_changes,
		&nothing_is_retired_before_all_hold_that_it_is_over,
		&nothing_is_said_before_all_of_it_is_below_the_frontier,
		&nothing_is_said_while_another_incarnation_is_written_to,
		&quarantined_incarnation_stays,
		&incarnation_of_which_no_h_is_known_stays,
		&name_that_was_left_stays,
		&incarnation_stays_that_has_more_than_its_node_said,
		&nothing_is_retired_while_something_waits_for_what_the_node_lost,
		&nothing_is_retired_while_what_the_node_lost_waits,
		&nothing_is_retired_while_something_waits_for_more_than_was_said,
		&mark_never_goes_back,
		&pass_over_many_records_is_due_when_places_get_few,
		&saying_of_another_form_says_nothing,
		&what_waits_beyond_the_mark_keeps_nothing_back,
		&what_waits_and_has_seen_the_retired_keeps_nothing_back,
		&own_node_retires_its_own_and_indices_are_used_again,
		&who_is_no_member_retires_what_all_members_have,
		&table_of_origins_that_is_small_is_never_full,
		&nobody_is_called_retired,
	};
	Suite *suite = suite_create("mark");
	TCase *tcase = tcase_create("mark");

	tcase_add_checked_fixture(tcase, set_up, tear_down_all);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	tcase_add_loop_test(tcase, nothing_is_retired_while_a_transaction_is_open, 0, 2);
	tcase_add_loop_test(
	        tcase, transaction_that_saw_what_is_retired_since_conflicts_with_nothing, 0, 3);
	tcase_add_loop_test(tcase, nothing_is_said_of_an_incarnation_that_has_to_stay, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
