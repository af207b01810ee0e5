/* SPDX-License-Identifier: Apache-2.0 */
/* Catch-up sessions that are refused, for each reason: both sides are told, and keep what they
 * have. */
#include "lib/repl/stage.h"
#include "tests/repl/session_pair.h"

/* Both sides know the reason, one of them by the other. */
static void expect_refused(const struct pair *pair, enum blazei_session_reason reason)
{
	ck_assert_int_eq(pair->asked.state, BLAZEI_SESSION_REFUSED);
	ck_assert_int_eq(pair->asked.reason, reason);
	ck_assert_int_lt(pair->asked.error, 0);
	ck_assert(pair->asked.by_peer || pair->answered.by_peer || pair->answered.reason == reason);
	ck_assert_str_ne(blazei_session_reason_text(reason), "");
}

START_TEST(refused_for_another_policy)
{
	struct pair pair;
	struct node a;
	struct node b;

	node_open_policy(&a, 1, BLAZE_POLICY_LWW);
	node_open(&b, 2);
	node_writes(&b, 0, 1);
	pair_open(&pair, &a, &b);
	pair_run(&pair);
	expect_refused(&pair, BLAZEI_SESSION_POLICY);
	ck_assert_int_eq(pair.asked.error, -EPROTO);
	ck_assert_uint_eq(blazei_replica_count(a.replica), 0);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(refused_for_the_own_identity)
{
	struct pair pair;
	struct node a;
	struct node b;

	node_open(&a, 1);
	node_open(&b, 1);
	pair_open(&pair, &a, &b);
	pair_run(&pair);
	expect_refused(&pair, BLAZEI_SESSION_IDENTITY);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

static enum pair_fate other_database(struct pair *pair, unsigned at, bool from_answerer, void *data,
                                     size_t *len)
{
	struct blazei_session_hello *hello = data;

	(void)pair;
	(void)len;
	if (at == 0 && from_answerer) {
		hello->txn_format += 7;
		message_seal(&hello->header);
	}
	return PAIR_DELIVER;
}

static enum pair_fate other_format(struct pair *pair, unsigned at, bool from_answerer, void *data,
                                   size_t *len)
{
	struct blazei_session_header *header = data;

	(void)pair;
	(void)at;
	(void)len;
	if (from_answerer) {
		header->format++;
		message_seal(header);
	}
	return PAIR_DELIVER;
}

START_TEST(refused_for_another_format)
{
	static const pair_hook hooks[] = { other_database, other_format };
	struct pair pair;
	struct node a;
	struct node b;

	node_open(&a, 1);
	node_open(&b, 2);
	node_writes(&b, 0, 1);
	pair_open(&pair, &a, &b);
	pair.hook = hooks[_i];
	pair_run(&pair);
	expect_refused(&pair, BLAZEI_SESSION_FORMAT_DIFFERS);
	ck_assert_int_eq(pair.answered.reason, BLAZEI_SESSION_FORMAT_DIFFERS);
	ck_assert(pair.answered.by_peer);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

/* By options alone: another database, a reason that the caller has. */
START_TEST(refused_for_what_the_caller_says)
{
	uint64_t buf[BLAZEI_SESSION_MESSAGE_MIN / 8 + 1];
	struct blazei_session_options options = { .id = 1 };
	struct blazei_session_status status;
	struct blazei_session *sides[2];
	struct blazei_stage *stage;
	struct node nodes[2];
	int64_t n;

	node_open(&nodes[0], 1);
	node_open(&nodes[1], 2);
	ck_assert_int_eq(blazei_session_new(&options, &sides[0]), -EINVAL);
	options.replica = nodes[0].replica;
	ck_assert_int_eq(blazei_session_new(&options, &sides[0]), -EINVAL);
	ck_assert_int_eq(blazei_stage_new(1000, &stage), 0);
	options.stage = stage;
	options.database.bytes[0] = 1;
	ck_assert_int_eq(blazei_session_new(&options, &sides[0]), 0);
	options.replica = nodes[1].replica;
	options.side = BLAZEI_SESSION_ANSWERER;
	options.stage = NULL;
	options.database.bytes[0] = 2;
	if (_i)
		options.refuse = BLAZEI_SESSION_NOT_ALLOWED;
	ck_assert_int_eq(blazei_session_new(&options, &sides[1]), 0);
	ck_assert_int_eq(blazei_session_give(sides[1], NOW, buf, 100), -EINVAL);
	ck_assert_int_eq(blazei_session_give(sides[1], NOW, (uint8_t *)buf + 4, sizeof(buf)),
	                 -EINVAL);
	n = blazei_session_give(sides[1], NOW, buf, sizeof(buf));
	ck_assert_int_gt(n, 0);
	ck_assert_int_lt(blazei_session_take(sides[0], NOW, buf, (size_t)n), 0);
	blazei_session_status(sides[0], &status);
	ck_assert_int_eq(status.state, BLAZEI_SESSION_REFUSED);
	ck_assert_int_eq(status.reason, _i ? BLAZEI_SESSION_NOT_ALLOWED : BLAZEI_SESSION_DATABASE);
	ck_assert_int_eq(status.by_peer, _i);
	/* It stays ended. */
	ck_assert_int_eq(blazei_session_take(sides[0], NOW, buf, (size_t)n), status.error);
	ck_assert_int_eq(blazei_session_install(sides[0], NOW), -EINVAL);
	n = blazei_session_give(sides[0], NOW, buf, sizeof(buf));
	ck_assert_int_eq(n > 0, !_i);
	ck_assert_int_eq(blazei_session_give(sides[0], NOW, buf, sizeof(buf)), 0);
	blazei_session_free(NULL);
	blazei_session_free(sides[0]);
	blazei_session_free(sides[1]);
	blazei_stage_free(stage);
	node_close(&nodes[0]);
	node_close(&nodes[1]);
}
END_TEST

/* Two histories of c: at the same seq, and where one goes on from what the other has not. Either
 * side then has c in quarantine, and the next session brings all else. */
START_TEST(refused_for_a_fork_and_goes_on_without_it)
{
	struct pair pair;
	struct node a;
	struct node b;
	struct node c;
	struct node twin;

	node_open_history(&a, 1, 1u << 20);
	node_open_history(&b, 2, 1u << 20);
	node_open(&c, 3);
	node_open(&twin, 3);
	node_writes(&c, 0, 2);
	node_writes(&twin, 5, _i == 0 ? 2 : 4);
	node_writes(&b, 10, 5);
	node_give_all(&c, &a);
	node_give_all(&twin, &b);
	pair_open(&pair, &a, &b);
	pair_run(&pair);
	expect_refused(&pair, BLAZEI_SESSION_FORK);
	ck_assert_mem_eq(&pair.asked.forked, &c.origin, sizeof(c.origin));
	ck_assert_uint_eq(pair.asked.forked_seq, 2);
	ck_assert_uint_eq(node_stats(&a).quarantined + node_stats(&b).quarantined, 1);
	node_expect(&a, 0, "{\"by\":3,\"n\":0}");
	pair_catch_up(&pair);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &b.origin), 5);
	node_expect(&a, 10, "{\"by\":2,\"n\":0}");
	node_expect(&a, 5, NULL);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
	node_close(&c);
	node_close(&twin);
}
END_TEST

/* Gives a database's id to the hello of one side, or of none. */
static enum pair_fate name_database(struct pair *pair, unsigned at, bool from_answerer, void *data,
                                    size_t *len)
{
	struct blazei_session_hello *hello = data;
	const unsigned *which = pair->arg;

	(void)len;
	if (at < 2 && (*which & (from_answerer ? 1u : 2u))) {
		hello->database.bytes[3] = 9;
		message_seal(&hello->header);
	}
	return PAIR_DELIVER;
}

START_TEST(not_refused_where_a_database_is_not_known)
{
	unsigned which = (unsigned)_i;
	struct pair pair;
	struct node a;
	struct node b;

	node_open_history(&a, 1, 1u << 20);
	node_open_history(&b, 2, 1u << 20);
	node_writes(&b, 0, 1);
	pair_open(&pair, &a, &b);
	pair.hook = name_database;
	pair.arg = &which;
	pair_catch_up(&pair);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

/* The other side has seen more under this one's name than this one has written. */
START_TEST(refused_where_the_own_future_is_known_and_told)
{
	struct pair pair;
	struct node a;
	struct node b;
	struct node old;

	node_open(&a, 1);
	node_open(&old, 1);
	node_open(&b, 2);
	node_writes(&a, 0, 3);
	node_give_all(&a, &b);
	pair_open(&pair, &old, &b);
	pair_run(&pair);
	expect_refused(&pair, BLAZEI_SESSION_IDENTITY);
	ck_assert(blazei_replica_displaced(old.replica));
	pair_close(&pair);
	/* Just as much is nothing to be told. */
	pair_open(&pair, &a, &b);
	pair_catch_up(&pair);
	ck_assert(!blazei_replica_displaced(a.replica));
	pair_close(&pair);
	node_close(&a);
	node_close(&old);
	node_close(&b);
}
END_TEST

START_TEST(ends_where_the_answerer_takes_another_name)
{
	uint64_t buf[BLAZEI_SESSION_MESSAGE_MIN / 8];
	struct blazei_session_options options = { .side = BLAZEI_SESSION_ANSWERER };
	struct blazei_session_status status;
	struct blazei_session *session;
	struct node b;

	node_open(&b, 2);
	options.replica = b.replica;
	ck_assert_int_eq(blazei_session_new(&options, &session), 0);
	b.origin.incarnation = 5;
	ck_assert_int_eq(blazei_replica_renew(b.replica, NOW, &b.origin), 0);
	ck_assert_int_eq(blazei_session_give(session, NOW, buf, sizeof(buf)), -ECANCELED);
	blazei_session_status(session, &status);
	ck_assert_int_eq(status.state, BLAZEI_SESSION_FAILED);
	ck_assert_int_eq(blazei_session_give(session, NOW, buf, sizeof(buf)), 0);
	blazei_session_free(session);
	node_close(&b);
}
END_TEST

static enum pair_fate twin_meanwhile(struct pair *pair, unsigned at, bool from_answerer, void *data,
                                     size_t *len)
{
	(void)data;
	(void)len;
	if (from_answerer && at > 1 && node_stats(pair->asker).quarantined == 0)
		ck_assert_int_eq(node_give(pair->arg, pair->asker, 1), 0);
	return PAIR_DELIVER;
}

/* What is on its way of an origin that is in quarantine by now is no damage. */
START_TEST(not_refused_for_a_fork_that_shows_meanwhile)
{
	struct pair pair;
	struct node a;
	struct node b;
	struct node c;
	struct node twin;

	node_open_history(&a, 1, 1u << 20);
	node_open_history(&b, 2, 1u << 20);
	node_open(&c, 3);
	node_open(&twin, 3);
	node_writes(&c, 0, 2);
	node_writes(&twin, 5, 1);
	node_give(&c, &a, 1);
	node_give_all(&c, &b);
	node_writes(&b, 10, 2);
	pair_open(&pair, &a, &b);
	pair.hook = twin_meanwhile;
	pair.arg = &twin;
	pair_catch_up(&pair);
	ck_assert_uint_eq(node_stats(&a).quarantined, 1);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &c.origin), 1);
	node_expect(&a, 0, "{\"by\":3,\"n\":0}");
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
	node_close(&c);
	node_close(&twin);
}
END_TEST

struct forking {
	struct node *c;
	struct node *twin;
	bool late; /* c's second one follows the chunks */
};

/* While a snapshot is on its way, the asker gets another history of c. */
static enum pair_fate fork_meanwhile(struct pair *pair, unsigned at, bool from_answerer, void *data,
                                     size_t *len)
{
	const struct blazei_session_header *header = data;
	struct forking *forking = pair->arg;

	(void)at;
	(void)len;
	if (from_answerer && header->kind == BLAZEI_KIND_CHUNK && forking->late)
		ck_assert_int_ge(node_give(forking->c, pair->answerer, 2), 0);
	if (from_answerer && header->kind == BLAZEI_KIND_LIVE)
		node_give_all(forking->twin, pair->asker);
	return PAIR_DELIVER;
}

/* In what the snapshot covers (0), in the transactions behind it (1); none of it is installed. */
START_TEST(refused_for_a_fork_that_shows_when_it_is_installed)
{
	struct pair pair;
	struct node a;
	struct node b;
	struct node c;
	struct node twin;
	struct forking forking = { &c, &twin, _i };

	node_open_history(&a, 1, 1u << 20);
	node_open_history(&b, 2, 1u << 20);
	node_open(&c, 3);
	node_open(&twin, 3);
	for (unsigned i = 0; i < 2; i++) {
		node_insert(&c, i, i == 0 ? "{\"x\":0}" : "{\"x\":\"c\"}");
		node_insert(&twin, i, i == 0 ? "{\"x\":0}" : "{\"x\":\"twin\"}");
	}
	for (unsigned seq = 1; seq <= (_i ? 1 : 2); seq++)
		node_give(&c, &b, seq);
	node_writes(&b, 10, 3);
	pair_open(&pair, &a, &b);
	pair.whole = true;
	pair.hook = fork_meanwhile;
	pair.arg = &forking;
	pair_run(&pair);
	/* The answerer has given all and is gone. */
	ck_assert_int_eq(pair.asked.state, BLAZEI_SESSION_REFUSED);
	ck_assert_int_eq(pair.asked.reason, BLAZEI_SESSION_FORK);
	ck_assert_mem_eq(&pair.asked.forked, &c.origin, sizeof(c.origin));
	ck_assert_uint_eq(pair.asked.forked_seq, 2);
	ck_assert_uint_eq(node_stats(&a).quarantined, 1);
	ck_assert_uint_eq(pair.left, 0);
	node_expect(&a, 1, "{\"x\":\"twin\"}");
	node_expect(&a, 10, NULL);
	/* Everything else comes by the next one, and what is kept of c stays. */
	pair.hook = NULL;
	pair_catch_up(&pair);
	node_expect(&a, 1, "{\"x\":\"twin\"}");
	node_expect(&a, 10, "{\"by\":2,\"n\":0}");
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
	node_close(&c);
	node_close(&twin);
}
END_TEST

/* The asker begins with something else. */
static enum pair_fate hello_becomes_live(struct pair *pair, unsigned at, bool from_answerer,
                                         void *data, size_t *len)
{
	struct blazei_session_live *live = data;

	(void)pair;
	(void)at;
	if (!from_answerer) {
		live->header.kind = BLAZEI_KIND_LIVE;
		live->header.bytes = sizeof(*live);
		live->entry_count = 0;
		live->reserved = 0;
		*len = sizeof(*live);
		message_seal(&live->header);
	}
	return PAIR_DELIVER;
}

/* Says LIVE twice, in two messages. */
static enum pair_fate live_twice(struct pair *pair, unsigned at, bool from_answerer, void *data,
                                 size_t *len)
{
	struct blazei_session_header *header = data;

	(void)at;
	if (from_answerer && header->kind == BLAZEI_KIND_LIVE) {
		ck_assert_int_eq(blazei_session_take(pair->ask, NOW, data, *len), 0);
		header->number++;
		message_seal(header);
	}
	return PAIR_DELIVER;
}

/* To the answerer, who asked for nothing (0); to the asker, for whom all is there (1). */
START_TEST(fails_for_a_message_that_may_not_come)
{
	static const pair_hook hooks[] = { hello_becomes_live, live_twice };
	const struct blazei_session_status *status;
	struct pair pair;
	struct node a;
	struct node b;

	node_open(&a, 1);
	node_open(&b, 2);
	node_writes(&b, 0, 3);
	pair_open(&pair, &a, &b);
	pair.whole = true;
	pair.hook = hooks[_i];
	pair_run(&pair);
	status = _i ? &pair.asked : &pair.answered;
	ck_assert_int_eq(status->state, BLAZEI_SESSION_FAILED);
	ck_assert_int_eq(status->error, -EBADMSG);
	ck_assert_uint_eq(blazei_replica_count(a.replica), 0);
	pair.hook = NULL;
	pair_catch_up(&pair);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

/* Each says something else, and what is no reason nothing. */
START_TEST(reasons_have_texts)
{
#define ONE(number, name, error, text) +1
	const unsigned end = 1 BLAZEI_SESSION_REASONS(ONE);
#undef ONE

	ck_assert_str_eq(blazei_session_reason_text(BLAZEI_SESSION_NO_REASON), "");
	ck_assert_str_eq(blazei_session_reason_text((enum blazei_session_reason)end), "");
	for (unsigned i = 1; i < end; i++) {
		ck_assert_str_ne(blazei_session_reason_text(i), "");
		for (unsigned k = 1; k < i; k++)
			ck_assert_str_ne(blazei_session_reason_text(i),
			                 blazei_session_reason_text(k));
	}
}
END_TEST

START_TEST(refused_where_the_asker_is_in_quarantine)
{
	struct pair pair;
	struct node a;
	struct node twin;
	struct node b;

	node_open(&a, 1);
	node_open(&twin, 1);
	node_open(&b, 2);
	node_writes(&a, 0, 1);
	node_writes(&twin, 1, 2);
	node_give_all(&a, &b);
	node_give_all(&twin, &b);
	ck_assert_uint_eq(node_stats(&b).quarantined, 1);
	pair_open(&pair, &a, &b);
	pair_run(&pair);
	expect_refused(&pair, BLAZEI_SESSION_QUARANTINED);
	ck_assert_int_eq(pair.asked.error, -EPERM);
	pair_close(&pair);
	node_close(&a);
	node_close(&twin);
	node_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session_refusals");
	TCase *tcase = tcase_create("session_refusals");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, refused_for_another_policy);
	tcase_add_test(tcase, refused_for_the_own_identity);
	tcase_add_loop_test(tcase, refused_for_another_format, 0, 2);
	tcase_add_loop_test(tcase, refused_for_what_the_caller_says, 0, 2);
	tcase_add_loop_test(tcase, refused_for_a_fork_and_goes_on_without_it, 0, 2);
	tcase_add_loop_test(tcase, not_refused_where_a_database_is_not_known, 0, 3);
	tcase_add_test(tcase, refused_where_the_own_future_is_known_and_told);
	tcase_add_test(tcase, ends_where_the_answerer_takes_another_name);
	tcase_add_test(tcase, not_refused_for_a_fork_that_shows_meanwhile);
	tcase_add_loop_test(tcase, refused_for_a_fork_that_shows_when_it_is_installed, 0, 2);
	tcase_add_loop_test(tcase, fails_for_a_message_that_may_not_come, 0, 2);
	tcase_add_test(tcase, reasons_have_texts);
	tcase_add_test(tcase, refused_where_the_asker_is_in_quarantine);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
