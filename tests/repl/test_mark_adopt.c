/* SPDX-License-Identifier: Apache-2.0 */
/* Marks that come with a whole snapshot, or in a vector; what they cover, and what they do not
 * (lib/repl/mark.h). */
#include "lib/repl/mark_core.h"
#include "tests/repl/over.h"
#include "tests/repl/writeset_help.h"

static struct blazei_writer *writer_of(struct node *node, const struct blazei_origin *origin)
{
	const uint16_t index = blazei_vector_find(&node->replica->vector, origin);

	ck_assert_uint_ne(index, BLAZEI_ORIGIN_NONE);
	return &node->replica->vector.writers[index];
}

static unsigned index_of(const struct node *node, const struct blazei_origin *origin)
{
	return blazei_vector_find(&node->replica->vector, origin);
}

static struct blazei_origin mark_of(const struct node *node)
{
	return (struct blazei_origin){ node->origin.node, BLAZEI_RETIRED };
}

/* A snapshot of all that b has. */
static void c_takes_all(void)
{
	struct pair pair;

	pair_open(&pair, &c, &b);
	pair.whole = true;
	pair_catch_up(&pair);
	ck_assert(pair.asked.whole);
	pair_close(&pair);
}

START_TEST(greatest_mark_of_a_vector_counts)
{
	struct blazei_vector_entry entries[2];
	uint64_t hlc;

	begin();
	c_hears();
	hlc = writer_of(&c, &past[0].origin)->hlc;
	for (unsigned i = 0; i < 2; i++) {
		uint64_t seqs[16] = { 0 };

		entries[i] = (struct blazei_vector_entry){ mark_of(&a), hlc };
		entries[1 - i] = (struct blazei_vector_entry){ mark_of(&a), hlc - 1 };
		blazei_vector_spread(&c.replica->vector, entries, sizeof(*entries), 2, seqs);
		ck_assert_uint_eq(seqs[index_of(&c, &past[0].origin)], UINT64_MAX);
		entries[i].seq--;
		memset(seqs, 0, sizeof(seqs));
		blazei_vector_spread(&c.replica->vector, entries, sizeof(*entries), 2, seqs);
		ck_assert_uint_eq(seqs[index_of(&c, &past[0].origin)], 0);
	}
}
END_TEST

/* By a mark as great, or the heir's saying; not by one less, nor where the heir is not known. */
START_TEST(mark_is_covered_by_its_heir_or_by_another_as_great)
{
	struct blazei_vector_entry entry = { mark_of(&a), 0 };
	const struct blazei_vector *vector = &b.replica->vector;
	struct blazei_writer *mark;
	unsigned at;

	begin_retirable();
	retire(&b, 1);
	at = index_of(&b, &entry.origin);
	mark = &b.replica->vector.writers[at];
	for (unsigned i = 0; i < 5; i++) {
		uint64_t seqs[16] = { 0 };

		entry.seq = mark->seq - (i == 1);
		if (i >= 2)
			entry = (struct blazei_vector_entry){ a.origin, mark->hlc - (i == 3) };
		if (i == 4)
			mark->chain = 12345;
		blazei_vector_spread(vector, &entry, sizeof(entry), 1, seqs);
		ck_assert_uint_eq(seqs[at], i == 0 || i == 2 ? UINT64_MAX : 0);
	}
}
END_TEST

/* c knows of no members yet. */
START_TEST(mark_is_taken_by_who_has_no_frontier)
{
	const struct blazei_origin gone = a.origin;
	const struct blazei_origin mark = mark_of(&a);

	write_told(&a, &b, 7, "{\"x\":7}");
	ck_assert_int_eq(node_give(&a, &c, 1), 1);
	begin_retirable();
	retire(&b, 1);
	ck_assert_uint_eq(c.replica->members.width, 0);
	c_takes_all();
	ck_assert(!knows(&c, &gone));
	ck_assert_uint_eq(writer_of(&c, &mark)->seq, writer_of(&b, &mark)->seq);
	nodes_expect_equal(&b, &c);
	node_expect_exact(&c);
}
END_TEST

/* Its asker has all that is under the mark, by its own names. */
START_TEST(mark_of_a_snapshot_that_is_not_whole_is_passed_over)
{
	const struct blazei_origin mark = mark_of(&a);
	struct pair pair;

	begin_retirable();
	retire(&b, 1);
	c_hears();
	node_writes(&b, 50, 3);
	pair_open(&pair, &c, &b);
	pair_catch_up(&pair);
	ck_assert(!pair.asked.whole);
	ck_assert_uint_gt(pair.asked.chunks, 0);
	pair_close(&pair);
	ck_assert(!knows(&c, &mark));
	ck_assert(knows(&c, &past[0].origin));
	nodes_expect_equal(&b, &c);
}
END_TEST

/* The answerer has retired a later one, and still has this one, with more than its node said. */
START_TEST(incarnation_that_the_snapshot_has_stays)
{
	begin();
	a.now_ns += BLAZEI_NS_PER_S;
	clocks_set();
	write_told(&a, &b, 1, "{\"x\":2}");
	restart(&a);
	for (unsigned i = 0; i < 6; i++)
		round_make(i);
	writer_of(&b, &past[0].origin)->seq++;
	retire(&b, 1);
	writer_of(&b, &past[0].origin)->seq--;
	c_hears();
	ck_assert_uint_le(
	        writer_of(&c, &past[0].origin)->hlc,
	        b.replica->vector.writers[blazei_mark_find(&b.replica->vector, &a.origin.node)]
	                .seq);
	c_takes_all();
	ck_assert(knows(&c, &past[0].origin));
	ck_assert(!knows(&c, &past[1].origin));
	nodes_expect_equal(&b, &c);
}
END_TEST

START_TEST(incarnation_in_quarantine_stays_under_a_mark)
{
	begin_retirable();
	retire(&b, 1);
	c_hears();
	blazei_quarantine(c.replica, index_of(&c, &past[0].origin), 3);
	c_takes_all();
	ck_assert(knows(&c, &past[0].origin));
	ck_assert_uint_eq(node_stats(&c).quarantined, 1);
	nodes_expect_equal(&b, &c);
}
END_TEST

/* It waited for a clock that is behind: nothing of it is left to wait for. */
START_TEST(incarnation_that_was_halted_goes_and_waits_no_more)
{
	begin_retirable();
	retire(&b, 1);
	c_hears();
	blazei_halt_clock(c.replica, c.now_ns, index_of(&c, &past[0].origin), 3);
	ck_assert_uint_eq(c.replica->halted, 1);
	c_takes_all();
	ck_assert(!knows(&c, &past[0].origin));
	ck_assert_uint_eq(c.replica->halted, 0);
	ck_assert_uint_eq(c.replica->clock_halted, 0);
	nodes_expect_equal(&b, &c);
}
END_TEST

/* It had one that came too early. */
START_TEST(incarnation_of_which_something_waits_goes_with_it)
{
	begin_retirable();
	retire(&b, 1);
	ck_assert_int_eq(node_give(&past[0], &c, past[0].count), 0);
	ck_assert_uint_eq(node_stats(&c).parked, 1);
	writer_of(&c, &past[0].origin)->seq = 1;
	writer_of(&c, &past[0].origin)->hlc = 1;
	c_takes_all();
	ck_assert(!knows(&c, &past[0].origin));
	ck_assert_uint_eq(node_stats(&c).parked, 0);
	nodes_expect_equal(&b, &c);
}
END_TEST

/* What it deleted was deleted everywhere: what is written on that here is below the frontier. */
START_TEST(end_under_a_mark_conflicts_with_no_field)
{
	struct pair pair;

	report(&a, &b);
	report(&b, &a);
	write_told(&a, &b, 1, "{\"x\":1}");
	node_give_all(&b, &c);
	node_give_all(&a, &c);
	node_expect(&c, 1, "{\"x\":1}");
	ck_assert_int_eq(node_delete(&a, 1), 0);
	clocks_set();
	ck_assert_int_eq(node_give(&a, &b, a.count), 1);
	ck_assert_int_eq(node_update(&c, 1, "{\"y\":1}"), 0);
	restart(&a);
	for (unsigned i = 0; i < 6; i++)
		round_make(i);
	retire(&b, 1);
	pair_open(&pair, &c, &b);
	pair.whole = true;
	pair_catch_up(&pair);
	pair_close(&pair);
	node_expect(&c, 1, NULL);
	ck_assert_uint_eq(node_stats(&c).conflicts, 0);
}
END_TEST

/* It would count as merged, and its node give the same number again. */
START_TEST(own_future_is_no_duplicate_by_a_mark)
{
	struct node twin;

	begin_retirable();
	retire(&a, 1);
	restart(&a);
	node_open(&twin, 1);
	ck_assert_int_eq(blazei_replica_renew(twin.replica, twin.now_ns, &a.origin), 0);
	ck_assert_int_eq(node_insert(&twin, 40, "{\"x\":40}"), 0);
	ck_assert(blazei_marked(&a.replica->vector, &a.origin, twin.now_ns));
	ck_assert_int_eq(node_give(&twin, &a, 1), 0);
	ck_assert(blazei_replica_displaced(a.replica));
	node_close(&twin);
}
END_TEST

/* It is merged, and durable as far as the last one that counts was. */
START_TEST(what_is_under_a_mark_is_covered_and_durable)
{
	const struct blazei_origin mark = { a.origin.node, BLAZEI_RETIRED };
	const struct blazei_vector_entry none = { c.origin, 5 };
	struct blazei_vector_entry some;
	uint64_t hlc;
	int index;

	begin_retirable();
	some = (struct blazei_vector_entry){ past[0].origin, 1 };
	index = blazei_vector_find(&b.replica->vector, &past[0].origin);
	hlc = b.replica->vector.writers[index].hlc;
	ck_assert_int_eq(blazei_replica_durable_raise(b.replica, &some), index);
	ck_assert_uint_eq(blazei_replica_durable(b.replica, (unsigned)index), 1);
	ck_assert_uint_eq(blazei_replica_durable_seq(b.replica, &past[0].origin, hlc), 1);
	/* Nothing is new. */
	ck_assert_int_eq(blazei_replica_durable_raise(b.replica, &some), -ENOENT);
	ck_assert_int_eq(blazei_replica_durable_raise(b.replica, &none), -ENOENT);
	ck_assert_uint_eq(blazei_replica_vector_covered(b.replica, &past[0].origin, hlc), 2);
	ck_assert_uint_eq(blazei_replica_durable_seq(b.replica, &c.origin, hlc), 0);
	retire(&b, 1);
	ck_assert_uint_eq(blazei_replica_durable_seq(b.replica, &past[0].origin, hlc), UINT64_MAX);
	ck_assert_uint_eq(blazei_replica_durable_seq(b.replica, &past[0].origin, hlc + 1), 0);
	ck_assert_uint_eq(blazei_replica_durable_seq(b.replica, &c.origin, hlc), 0);
	ck_assert_uint_eq(blazei_replica_vector_covered(b.replica, &past[0].origin, hlc),
	                  UINT64_MAX);
	ck_assert_uint_eq(blazei_replica_vector_covered(b.replica, &past[0].origin, hlc + 1), 0);
	ck_assert_uint_eq(blazei_replica_vector_covered(b.replica, &c.origin, hlc), 0);
	/* By whoever knows of nothing that is over. */
	ck_assert_uint_eq(blazei_replica_vector_covered(c.replica, &mark, 0), UINT64_MAX);
}
END_TEST

/* What it saw is retired before it is committed, and its index may be another's by then (1). */
START_TEST(transaction_that_is_open_when_a_mark_comes_conflicts_with_nothing)
{
	struct txn txn;
	struct node other;

	begin_retirable();
	retire(&b, 1);
	c_hears();
	txn = txn_begin(&c);
	txn_expect(&txn, 1, "{\"x\":1}");
	c_takes_all();
	ck_assert(!knows(&c, &past[0].origin));
	node_open(&other, 9);
	if (_i == 1) {
		ck_assert_int_eq(node_insert(&other, 90, "{\"x\":1}"), 0);
		ck_assert_int_eq(node_give(&other, &c, 1), 1);
		ck_assert_int_eq(node_give(&other, &b, 1), 1);
	}
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":2}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	ck_assert_uint_eq(node_stats(&c).conflicts, 0);
	ck_assert_int_eq(node_give(&c, &b, c.count), 1);
	ck_assert_uint_eq(node_stats(&b).conflicts, 0);
	nodes_expect_equal(&b, &c);
	node_close(&other);
}
END_TEST

/* No incarnation that is over says what is over: it would be its own heir. */
START_TEST(saying_under_a_mark_says_nothing)
{
	const struct blazei_origin mark = mark_of(&a);
	struct blazei_entry *said;
	uint16_t heir;
	int at;

	begin_retirable();
	at = blazei_vector_intern(&b.replica->vector, &mark);
	ck_assert_int_gt(at, 0);
	b.replica->members.stale = true;
	ck_assert_int_eq(blazei_members_refresh(b.replica), 0);
	said = (struct blazei_entry *)blazei_members_said(b.replica, &a.origin.node);
	b.replica->members.frontier[at] = said->seq;
	heir = said->origin;
	said->origin = (uint16_t)at;
	ck_assert_int_eq(blazei_replica_retire(b.replica, NULL), 0);
	said->origin = heir;
	ck_assert_int_eq(blazei_replica_retire(b.replica, NULL), 1);
}
END_TEST

/* Of a node that ends and says again what is over, one has retired that under the later heir and
 * the other one under the former: in what it asks for (0), in a snapshot that it gets (1). */
START_TEST(marks_of_two_heirs_are_one_history)
{
	struct blazei_writer *mark;
	struct pair pair;

	begin_retirable();
	retire(&b, 1);
	nodes_catch_up(&c, &b);
	mark = &c.replica->vector.writers[blazei_mark_find(&c.replica->vector, &a.origin.node)];
	mark->chain++;
	write_told(&a, &b, 1, "{\"x\":7}");
	pair_open(&pair, &c, &b);
	pair.whole = _i == 1;
	pair_run(&pair);
	ck_assert_int_eq(pair.asked.error, 0);
	ck_assert(!pair.asked.by_peer);
	pair_close(&pair);
	ck_assert_uint_eq(mark->halted, 0);
	nodes_expect_equal(&b, &c);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mark_adopt");
	TCase *tcase = tcase_create("mark_adopt");

	tcase_add_checked_fixture(tcase, set_up, tear_down_all);
	tcase_add_test(tcase, greatest_mark_of_a_vector_counts);
	tcase_add_test(tcase, mark_is_covered_by_its_heir_or_by_another_as_great);
	tcase_add_test(tcase, mark_is_taken_by_who_has_no_frontier);
	tcase_add_test(tcase, mark_of_a_snapshot_that_is_not_whole_is_passed_over);
	tcase_add_test(tcase, incarnation_that_the_snapshot_has_stays);
	tcase_add_test(tcase, incarnation_in_quarantine_stays_under_a_mark);
	tcase_add_test(tcase, incarnation_that_was_halted_goes_and_waits_no_more);
	tcase_add_test(tcase, incarnation_of_which_something_waits_goes_with_it);
	tcase_add_test(tcase, end_under_a_mark_conflicts_with_no_field);
	tcase_add_test(tcase, own_future_is_no_duplicate_by_a_mark);
	tcase_add_test(tcase, what_is_under_a_mark_is_covered_and_durable);
	tcase_add_loop_test(
	        tcase, transaction_that_is_open_when_a_mark_comes_conflicts_with_nothing, 0, 2);
	tcase_add_test(tcase, saying_under_a_mark_says_nothing);
	tcase_add_loop_test(tcase, marks_of_two_heirs_are_one_history, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
