/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot that comes in by a session, while it is being written to, is in the log with all that
 * it brought; and counts with its end or not at all. */
#include <stdlib.h>

#include "lib/repl/logged.h"
#include "tests/repl/session_pair.h"

#define ENTRIES_MAX 256u

static struct pair pair;
static struct node a; /* has the log */
static struct node b;
static uint64_t *entries[ENTRIES_MAX];
static unsigned entry_count;

static void on_append(void *arg, const void *entry, size_t len)
{
	(void)arg;
	ck_assert_uint_lt(entry_count, ENTRIES_MAX);
	entries[entry_count] = malloc(len);
	memcpy(entries[entry_count++], entry, len);
}

static void set_up(void)
{
	const struct blazei_log_sink sink = { .append = on_append };

	node_open_history(&a, 1, 1u << 20);
	node_open_history(&b, 2, 1u << 20);
	blazei_replica_set_log(a.replica, &sink);
	pair_open(&pair, &a, &b);
	pair.whole = true;
}

static void tear_down(void)
{
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
	while (entry_count > 0)
		free(entries[--entry_count]);
}

/* What the first entries of the log lead to. */
static struct blazei_replica *replay(unsigned count, bool unfinished)
{
	struct blazei_replica_options options = {
		.self = { .node = { { 99 } }, .incarnation = 99 },
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
	};
	struct blazei_replay replay;
	struct blazei_replica *replica;

	ck_assert_int_eq(blazei_replay_init(&replay, &options), 0);
	for (unsigned i = 0; i < count; i++)
		ck_assert_int_eq(blazei_replay_entry(&replay, entries[i]), 0);
	ck_assert(blazei_replay_unfinished(&replay) == unfinished);
	replica = replay.replica;
	blazei_replay_fini(&replay);
	return replica;
}

/* The answerer goes on writing once its first chunk is out: that comes as transactions. */
static void write_on(struct pair *session)
{
	node_writes(session->answerer, 40, 2);
}

START_TEST(snapshot_is_in_the_log_with_all_that_it_brought)
{
	struct node back = { .replica = NULL };
	unsigned own;

	node_writes(&a, 0, 3);
	own = entry_count;
	ck_assert_uint_eq(own, 3);
	node_writes(&b, 10, 20);
	pair.amid = write_on;
	pair_catch_up(&pair);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &b.origin), 22);
	back.replica = replay(entry_count, false);
	nodes_expect_equal(&a, &back);
	/* That was done before, and counted then. */
	ck_assert_uint_eq(node_stats(&back).applied, 0);
	ck_assert_uint_eq(blazei_replica_count(back.replica), blazei_replica_count(a.replica));
	ck_assert_uint_eq(blazei_replica_vector_seq(back.replica, &b.origin), 22);
	blazei_replica_free(back.replica);
	for (unsigned count = own + 1; count < entry_count; count++) {
		back.replica = replay(count, true);
		ck_assert_uint_eq(blazei_replica_count(back.replica), 3);
		ck_assert_uint_eq(blazei_replica_vector_seq(back.replica, &b.origin), 0);
		blazei_replica_free(back.replica);
	}
}
END_TEST

/* Another history of c is heard of by the one that has the log. */
static void twin_amid(struct pair *session)
{
	struct node twin;

	node_open(&twin, 3);
	node_writes(&twin, 50, 1);
	ck_assert_int_eq(node_give(&twin, session->asker, 1), 0);
	ck_assert_uint_eq(node_stats(session->asker).quarantined, 1);
	node_close(&twin);
}

/* The log leads to what the node is, which takes no more than the first one of that other. */
static void expect_back_without_more_of(const struct node *other)
{
	struct node back = { .now_ns = NOW, .replica = replay(entry_count, false) };

	nodes_expect_equal(&a, &back);
	node_expect(&back, 0, "{\"x\":1}");
	ck_assert_uint_eq(blazei_replica_vector_seq(back.replica, &other->origin), 1);
	ck_assert_int_eq(node_give(other, &back, 2), 0);
	ck_assert_uint_eq(blazei_replica_vector_seq(back.replica, &other->origin), 1);
	blazei_replica_free(back.replica);
}

/* Whom the snapshot tells of (0), and whom it does not (1): nothing more is taken of either. */
START_TEST(who_was_in_quarantine_is_so_when_the_log_comes_back)
{
	struct node c;

	node_open(&c, 3);
	node_insert(&c, 0, "{\"x\":1}");
	node_update(&c, 0, "{\"x\":2}");
	ck_assert_int_eq(node_give(&c, &a, 1), 1);
	if (_i == 0) {
		node_give(&c, &b, 1);
		node_give(&c, &b, 2);
	}
	node_insert(&b, 10, "{\"y\":1}");
	pair.amid = twin_amid;
	pair_catch_up(&pair);
	expect_back_without_more_of(&c);
	/* And where all that there is was logged at once. */
	blazei_logged_lag(a.replica);
	ck_assert_int_eq(blazei_replica_log_all(a.replica), 0);
	expect_back_without_more_of(&c);
	node_close(&c);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("logged_snapshot");
	TCase *tcase = tcase_create("logged_snapshot");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, snapshot_is_in_the_log_with_all_that_it_brought);
	tcase_add_loop_test(tcase, who_was_in_quarantine_is_so_when_the_log_comes_back, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
