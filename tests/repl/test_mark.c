/* SPDX-License-Identifier: Apache-2.0 */
/* Incarnations that are over leave the vector: when, and what is left of them (lib/repl/mark.h). */
#include "tests/repl/over.h"

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
		&incarnation_stays_that_has_more_than_its_node_said,
		&own_node_retires_its_own_and_indices_are_used_again,
		&table_of_origins_that_is_small_is_never_full,
		&nobody_is_called_retired,
	};
	Suite *suite = suite_create("mark");
	TCase *tcase = tcase_create("mark");

	tcase_add_checked_fixture(tcase, set_up, tear_down_all);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
