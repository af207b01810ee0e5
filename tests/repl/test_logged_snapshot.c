/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot that comes in by a session, while it is being written to, is in the log with all that
 * it brought; and counts with its end or not at all. */
#include <stdlib.h>

#include "lib/repl/logged.h"
#include "lib/repl/reissue.h"
#include "lib/repl/stage.h"
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

static const struct blazei_replica_options back_options = {
	.self = { .node = { { 99 } }, .incarnation = 99 },
	.policy = BLAZE_POLICY_SERVER_PRIORITY,
};

/* What the first entries of the log lead to. */
static struct blazei_replica *replay(unsigned count, bool unfinished)
{
	struct blazei_replay replay;
	struct blazei_replica *replica;

	ck_assert_int_eq(blazei_replay_init(&replay, &back_options), 0);
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

/* What part of a whole snapshot is (0), and what of one that is less than all (1). */
START_TEST(snapshot_is_logged_as_what_it_is)
{
	struct node back = { .now_ns = NOW };

	node_close(&b);
	node_open_history(&b, 2, 8192);
	pair.whole = _i == 0;
	node_writes(&b, 0, 100);
	if (_i == 1) {
		node_give(&b, &a, 1);
		ck_assert_int_eq(node_delete(&b, 0), 0);
	}
	pair_catch_up(&pair);
	ck_assert_uint_gt(pair.asked.chunks, 0);
	ck_assert(pair.asked.whole == (_i == 0));
	ck_assert_uint_eq(((struct blazei_unit_bound *)entries[_i])->kind, BLAZEI_KIND_BEGIN);
	ck_assert_uint_eq(((struct blazei_unit_bound *)entries[_i])->flags,
	                  _i == 0 ? BLAZEI_UNIT_WHOLE : 0);
	back.replica = replay(entry_count, false);
	nodes_expect_equal(&a, &back);
	blazei_replica_free(back.replica);
}
END_TEST

static void log_all(void)
{
	blazei_logged_lag(a.replica);
	ck_assert_int_eq(blazei_replica_log_all(a.replica), 0);
}

/* Of what was written under it none depends on anything in this run (0), or on what was before. */
START_TEST(name_that_was_left_is_so_when_the_log_comes_back)
{
	const struct blazei_origin old = a.origin;
	struct blazei_unseen_list list = { 0 };
	struct node back = { .now_ns = NOW + BLAZEI_NS_PER_S };
	struct blazei_txn_view txn = { .len = 1 };
	const struct blazei_writer *writer;
	const unsigned lasted = (unsigned)_i;

	node_writes(&a, 0, 3);
	a.replica->began_seq = lasted;
	for (unsigned i = 1; i <= lasted; i++)
		node_give(&a, &b, i);
	a.origin.incarnation = 91;
	ck_assert_int_eq(blazei_replica_leave_name(a.replica, a.now_ns, &a.origin), 0);
	while (txn.len > 0) {
		ck_assert_int_eq(blazei_replica_reissue(a.replica, a.now_ns, &list, &txn), 0);
		if (txn.len > 0)
			ck_assert_int_eq(blazei_replica_receive(b.replica, NOW, &txn, 1), 1);
	}
	log_all();
	back.replica = replay(entry_count, false);
	nodes_expect_equal(&a, &back);
	writer = &back.replica->vector.writers[blazei_vector_find(&back.replica->vector, &old)];
	ck_assert(writer->left);
	ck_assert_uint_eq(writer->seq, 3);
	ck_assert_uint_eq(writer->dep_max, lasted);
	/* b never hears the rest of what was written under the old name. */
	node_writes(&back, 70, 1);
	ck_assert_int_eq(node_give(&back, &b, 1), 1);
	node_close(&back);
}
END_TEST

/* Nobody knows how far it is, or by which hash: that is so again. */
START_TEST(origin_of_which_less_is_known_comes_back_as_that)
{
	const struct blazei_origin stranger = { { { 77 } }, 5 };
	struct node back = { .now_ns = NOW };
	const struct blazei_vector *vector;
	struct node twin;
	uint16_t index;
	int at;

	node_writes(&b, 0, 2);
	node_give_all(&b, &a);
	a.replica->vector.writers[blazei_vector_find(&a.replica->vector, &b.origin)].chain_known =
	        false;
	at = blazei_vector_intern(&a.replica->vector, &stranger);
	ck_assert_int_ge(blazei_vector_intern(&a.replica->vector, &(struct blazei_origin){ 0 }), 0);
	blazei_quarantine(a.replica, (unsigned)at, 1);
	log_all();
	/* Up to what it comes: b alone; the other one is only told of. */
	ck_assert_uint_eq(((struct blazei_unit_bound *)entries[entry_count - 1])->item_count, 1);
	back.replica = replay(entry_count, false);
	nodes_expect_equal(&a, &back);
	vector = &back.replica->vector;
	ck_assert_uint_eq(node_stats(&back).quarantined, 1);
	index = blazei_vector_find(vector, &stranger);
	ck_assert_uint_ne(index, BLAZEI_ORIGIN_NONE);
	ck_assert(vector->writers[index].halted & BLAZEI_HALTED_QUARANTINED);
	ck_assert_uint_eq(vector->writers[index].seq, 0);
	/* Itself, the two of them, and not the one of which nothing is known. */
	ck_assert_uint_eq(vector->count, 3);
	index = blazei_vector_find(vector, &b.origin);
	ck_assert_uint_eq(vector->writers[index].seq, 2);
	ck_assert(!vector->writers[index].chain_known);
	/* So another history of that is no fork. */
	node_open(&twin, 2);
	node_writes(&twin, 50, 2);
	node_give(&twin, &back, 2);
	ck_assert_uint_eq(node_stats(&back).quarantined, 1);
	node_close(&twin);
	blazei_replica_free(back.replica);
}
END_TEST

/* What the whole log leads to, where it is another replica that it comes back to: the error of the
 * last entry, after which the replica is what the entries before made of it. */
static int replay_refused(const struct blazei_replica_options *options, const struct node *first)
{
	struct blazei_replay replay;
	uint64_t count;
	int rc = 0;

	ck_assert_int_eq(blazei_replay_init(&replay, options), 0);
	if (first)
		ck_assert_int_eq(blazei_replay_entry(&replay, first->log[0].data), 0);
	for (unsigned i = 0; i < entry_count; i++) {
		ck_assert_int_eq(rc, 0);
		count = blazei_replica_count(replay.replica);
		rc = blazei_replay_entry(&replay, entries[i]);
	}
	ck_assert_uint_eq(blazei_replica_count(replay.replica), count);
	ck_assert(!blazei_replay_unfinished(&replay));
	blazei_replica_free(replay.replica);
	blazei_replay_fini(&replay);
	return rc;
}

/* A log of all (0) or of a snapshot (1) that tells its own replica to be in quarantine. */
START_TEST(log_that_speaks_ill_of_its_own_origin_is_refused)
{
	struct blazei_replica_options options = back_options;
	struct node c;

	node_open(&c, 3);
	node_insert(&c, 0, "{\"x\":1}");
	ck_assert_int_eq(node_give(&c, &a, 1), 1);
	blazei_quarantine(a.replica, blazei_vector_find(&a.replica->vector, &c.origin), 2);
	free(entries[--entry_count]);
	node_insert(&b, 10, "{\"y\":1}");
	if (_i == 0)
		log_all();
	else
		pair_catch_up(&pair);
	options.self = c.origin;
	ck_assert_int_eq(replay_refused(&options, NULL), -EBADMSG);
	node_close(&c);
}
END_TEST

START_TEST(log_of_more_origins_than_there_is_room_for_is_refused)
{
	const struct blazei_origin stranger = { { { 77 } }, 5 };
	struct blazei_replica_options options = back_options;

	node_writes(&a, 0, 2);
	while (entry_count > 0)
		free(entries[--entry_count]);
	blazei_quarantine(a.replica, (unsigned)blazei_vector_intern(&a.replica->vector, &stranger),
	                  1);
	log_all();
	options.origins_max = 2;
	ck_assert_int_eq(replay_refused(&options, NULL), -E2BIG);
}
END_TEST

START_TEST(snapshot_of_another_history_is_refused)
{
	struct node twin;

	node_writes(&b, 0, 1);
	pair_catch_up(&pair);
	node_open(&twin, 2);
	node_writes(&twin, 50, 1);
	ck_assert_int_eq(replay_refused(&back_options, &twin), -EBADMSG);
	node_close(&twin);
}
END_TEST

/* Where there is no room for one more item, the last one in quarantine is not told. */
START_TEST(begin_of_a_unit_has_no_more_items_than_there_may_be)
{
	static struct blazei_session_entry v0[BLAZEI_ORIGINS_MAX];
	const struct blazei_stage_cut cut = { .vs = v0, .count = 1 };
	const struct blazei_origin stranger = { { { 77 } }, 5 };
	struct blazei_logged_unit unit;
	int at = blazei_vector_intern(&a.replica->vector, &stranger);

	for (unsigned i = 0; i < BLAZEI_ORIGINS_MAX; i++)
		v0[i] = (struct blazei_session_entry){ .origin.incarnation = 1 + i, .seq = 1 };
	blazei_quarantine(a.replica, (unsigned)at, 1);
	for (unsigned i = 0; i < 3; i++) {
		const unsigned count = BLAZEI_ORIGINS_MAX - (i == 0);
		const struct blazei_unit_bound *begin;

		/* It may be one of those that are told of. */
		v0[7].origin = i == 2 ? stranger : v0[7].origin;
		pair.stage->v0 = v0;
		pair.stage->v0_count = count;
		ck_assert_int_eq(blazei_logged_prepare(&unit, a.replica, pair.stage, &cut), 0);
		begin = unit.begin;
		ck_assert_int_eq(blazei_logged_check(begin, begin->bytes), 0);
		ck_assert_uint_eq(begin->item_count, BLAZEI_ORIGINS_MAX);
		for (unsigned k = 0; k < count; k++)
			ck_assert_uint_eq(begin->items[k].flags,
			                  BLAZEI_UNIT_VECTOR |
			                          (i == 2 && k == 7 ? BLAZEI_UNIT_QUARANTINED : 0));
		if (i == 0)
			ck_assert_uint_eq(begin->items[count].flags, BLAZEI_UNIT_QUARANTINED);
		blazei_logged_unit_free(&unit);
	}
	pair.stage->v0 = NULL;
	pair.stage->v0_count = 0;
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("logged_snapshot");
	TCase *tcase = tcase_create("logged_snapshot");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, snapshot_is_in_the_log_with_all_that_it_brought);
	tcase_add_loop_test(tcase, who_was_in_quarantine_is_so_when_the_log_comes_back, 0, 2);
	tcase_add_loop_test(tcase, snapshot_is_logged_as_what_it_is, 0, 2);
	tcase_add_loop_test(tcase, name_that_was_left_is_so_when_the_log_comes_back, 0, 3);
	tcase_add_test(tcase, origin_of_which_less_is_known_comes_back_as_that);
	tcase_add_loop_test(tcase, log_that_speaks_ill_of_its_own_origin_is_refused, 0, 2);
	tcase_add_test(tcase, log_of_more_origins_than_there_is_room_for_is_refused);
	tcase_add_test(tcase, snapshot_of_another_history_is_refused);
	tcase_add_test(tcase, begin_of_a_unit_has_no_more_items_than_there_may_be);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
