/* SPDX-License-Identifier: Apache-2.0 */
/* Catch-up by history, transaction by transaction: what goes along, what is passed over, and that
 * it ends. */
#include "tests/repl/session_pair.h"

#define WIDE UINT64_C(1) << 20

static struct pair pair;
static struct node a;
static struct node b;

static void set_up(void)
{
	node_open_history(&a, 1, WIDE);
	node_open_history(&b, 2, WIDE);
	pair_open(&pair, &a, &b);
}

static void tear_down(void)
{
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}

/* Writes one more at each message with transactions, as often as *arg says. */
static enum pair_fate write_meanwhile(struct pair *session, unsigned at, bool from_answerer,
                                      void *data, size_t *len)
{
	const struct blazei_session_header *header = data;
	unsigned *left = session->arg;

	(void)at;
	(void)len;
	if (from_answerer && header->kind == BLAZEI_KIND_TXNS && *left > 0) {
		node_writes(session->answerer, *left % 50, 1);
		(*left)--;
	}
	return PAIR_DELIVER;
}

START_TEST(what_is_written_meanwhile_goes_along)
{
	unsigned left = 5;

	node_writes(&b, 0, 10);
	pair.hook = write_meanwhile;
	pair.arg = &left;
	pair_catch_up(&pair);
	ck_assert_uint_eq(pair.asked.txns, 15);
	ck_assert_uint_eq(pair.complete, 15);
	ck_assert_uint_eq(pair.kinds[BLAZEI_KIND_TXNS], 6);
	nodes_expect_equal(&a, &b);
}
END_TEST

START_TEST(session_ends_though_the_answerer_writes_on)
{
	unsigned left = 1000;

	node_writes(&b, 0, 10);
	pair.hook = write_meanwhile;
	pair.arg = &left;
	pair_catch_up(&pair);
	/* Sixteen rounds after the first. */
	ck_assert_uint_eq(pair.kinds[BLAZEI_KIND_TXNS], 17);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &b.origin), 26);
}
END_TEST

/* The long one would take several messages. */
START_TEST(what_the_asker_has_is_passed_over)
{
	node_writes(&b, 0, 3);
	node_write_long(&b, 9, 20000);
	node_writes(&b, 0, 3);
	node_give_all(&b, &a);
	node_writes(&b, 0, 1);
	pair.cap = BLAZEI_SESSION_MESSAGE_MIN;
	pair_catch_up(&pair);
	ck_assert_uint_eq(pair.kinds[BLAZEI_KIND_TXNS], 1);
	ck_assert_uint_eq(pair.answered.txns, 1);
	ck_assert_uint_eq(node_stats(&a).duplicates, 0);
	nodes_expect_equal(&a, &b);
}
END_TEST

START_TEST(many_small_ones_come_in_few_messages)
{
	node_writes(&b, 0, 1500);
	pair_catch_up(&pair);
	/* Hundreds in one, more than are handed over at once. */
	ck_assert_uint_lt(pair.kinds[BLAZEI_KIND_TXNS] * 256, 1500);
	ck_assert_uint_eq(pair.asked.txns, 1500);
	nodes_expect_equal(&a, &b);
}
END_TEST

/* A transport whose messages have any length, not only multiples of 8. */
START_TEST(message_of_any_length_will_do)
{
	pair.cap = BLAZEI_SESSION_MESSAGE_MIN + (size_t)_i;
	node_writes(&b, 0, 300);
	node_write_long(&b, 9, 50000);
	pair.whole = _i % 2;
	pair_catch_up(&pair);
	nodes_expect_equal(&a, &b);
}
END_TEST

START_TEST(message_is_never_longer_than_any_may_be)
{
	pair.cap = 2 * BLAZEI_SESSION_MESSAGE_MAX;
	pair.buf = realloc(pair.buf, pair.cap);
	node_write_long(&b, 1, 700000);
	node_write_long(&b, 1, 700001);
	pair_catch_up(&pair);
	nodes_expect_equal(&a, &b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session_history");
	TCase *tcase = tcase_create("session_history");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, what_is_written_meanwhile_goes_along);
	tcase_add_test(tcase, session_ends_though_the_answerer_writes_on);
	tcase_add_test(tcase, what_the_asker_has_is_passed_over);
	tcase_add_test(tcase, many_small_ones_come_in_few_messages);
	tcase_add_loop_test(tcase, message_of_any_length_will_do, 0, 8);
	tcase_add_test(tcase, message_is_never_longer_than_any_may_be);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
