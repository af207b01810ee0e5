/* SPDX-License-Identifier: Apache-2.0 */
/* What is staged of a snapshot, against what is known here: writers whose chain is not known, or
 * who are in quarantine by now, what the own name wrote elsewhere, and who is not known at all. */
#include "lib/repl/stage.h"
#include "tests/repl/session_pair.h"

static struct pair pair;
static struct node a;
static struct node b;
static struct node c; /* writes to both */

static void set_up(void)
{
	node_open_history(&a, 1, 1u << 20);
	node_open_history(&b, 2, 1u << 20);
	node_open(&c, 3);
	pair_open(&pair, &a, &b);
	pair.whole = true;
}

static void tear_down(void)
{
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
	node_close(&c);
}

/* Chains ------------------------------------------------------------------------------------- */

/* Which messages of the answerer tell no chains. */
static unsigned silent_kinds;

static void write_on(struct pair *session)
{
	node_writes(session->answerer, 40, 2);
}

static enum pair_fate tell_no_chains(struct pair *session, unsigned at, bool from_answerer,
                                     void *data, size_t *len)
{
	struct blazei_session_header *header = data;
	struct blazei_session_entry *entries;
	unsigned count;

	(void)session;
	(void)at;
	(void)len;
	if (!from_answerer || !(silent_kinds & 1u << header->kind))
		return PAIR_DELIVER;
	if (header->kind == BLAZEI_KIND_SNAPSHOT) {
		entries = ((struct blazei_session_snapshot *)data)->entries;
		count = ((struct blazei_session_snapshot *)data)->entry_count;
	} else {
		entries = ((struct blazei_session_live *)data)->entries;
		count = ((struct blazei_session_live *)data)->entry_count;
	}
	for (unsigned i = 0; i < count; i++)
		entries[i].chain = 0;
	/* It becomes all that there is, for who asks for that. */
	if (header->kind == BLAZEI_KIND_SNAPSHOT)
		header->flags |= BLAZEI_SNAPSHOT_BELOW;
	message_seal(header);
	return PAIR_DELIVER;
}

/* Who does not know a chain tells none, and meets nobody with another one: told by neither message,
 * by one of them, by the other. */
START_TEST(chain_that_is_not_known_is_no_fork)
{
	static const unsigned kinds[] = {
		1u << BLAZEI_KIND_SNAPSHOT | 1u << BLAZEI_KIND_LIVE,
		1u << BLAZEI_KIND_SNAPSHOT,
		1u << BLAZEI_KIND_LIVE,
	};
	uint16_t index;

	node_writes(&c, 0, 3);
	node_give_all(&c, &a);
	node_writes(&c, 3, 1);
	node_give_all(&c, &b);
	node_writes(&b, 10, 5);
	pair.amid = write_on;
	pair.hook = tell_no_chains;
	silent_kinds = kinds[_i];
	pair.anew = _i == 1;
	pair_catch_up(&pair);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &c.origin), 4);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &b.origin), 7);
	nodes_expect_equal(&a, &b);
	/* What c wrote came as state, so without chains the next one tells it. */
	index = blazei_vector_find(&a.replica->vector, &c.origin);
	ck_assert_int_eq(a.replica->vector.writers[index].chain_known, _i == 2);
	/* The same state with all chains, and as the one that is asked. */
	silent_kinds = 0;
	pair_catch_up(&pair);
	nodes_catch_up(&b, &a);
	node_writes(&c, 4, 1);
	ck_assert_int_eq(node_give(&c, &a, 5), 1);
	ck_assert(a.replica->vector.writers[index].chain_known);
	ck_assert_int_eq(node_give(&c, &a, 5), 0);
	ck_assert_int_eq(node_give(&c, &b, 5), 1);
	/* Nor is it one where it is known here alone, which stays: nobody is below a frontier. */
	silent_kinds = kinds[0];
	pair.anew = false;
	pair_catch_up(&pair);
	ck_assert(a.replica->vector.writers[index].chain_known);
	ck_assert_uint_eq(node_stats(&a).quarantined, 0);
	nodes_expect_equal(&a, &b);
}
END_TEST

/* The last one that is known only by its number comes once more: it may not be told from another.
 */
START_TEST(duplicate_of_what_came_as_state_is_no_fork)
{
	node_writes(&c, 0, 3);
	node_give_all(&c, &b);
	pair.amid = write_on;
	pair.hook = tell_no_chains;
	silent_kinds = 1u << BLAZEI_KIND_SNAPSHOT | 1u << BLAZEI_KIND_LIVE;
	pair_catch_up(&pair);
	ck_assert_int_eq(node_give(&c, &a, 3), 0);
	ck_assert_uint_eq(node_stats(&a).quarantined, 0);
	nodes_expect_equal(&a, &b);
}
END_TEST

static void first_of_c(struct pair *session)
{
	node_give(&c, session->answerer, 1);
}

/* Its first one does not begin its chain, of which the snapshot tells nothing. */
static enum pair_fate first_has_a_past(struct pair *session, unsigned at, bool from_answerer,
                                       void *data, size_t *len)
{
	struct blazei_session_part *part = data;
	struct blazei_txn_header *header = (struct blazei_txn_header *)part->bytes;

	(void)session;
	(void)at;
	(void)len;
	if (!from_answerer || part->header.kind != BLAZEI_KIND_TXNS)
		return PAIR_DELIVER;
	ck_assert_uint_eq(header->seq, 1);
	header->prev = 7;
	header->chain = blazei_txn_hash(header);
	message_seal(&part->header);
	return PAIR_DELIVER;
}

START_TEST(first_transaction_has_no_past)
{
	node_writes(&c, 0, 2);
	/* It waits at the answerer, so that the vector names c, with nothing. */
	ck_assert_int_eq(node_give(&c, &b, 2), 0);
	node_writes(&b, 10, 5);
	pair.amid = first_of_c;
	pair.hook = first_has_a_past;
	pair_run(&pair);
	ck_assert_int_eq(pair.asked.state, BLAZEI_SESSION_FAILED);
	ck_assert_int_eq(pair.asked.error, -EBADMSG);
	pair.amid = NULL;
	pair.hook = NULL;
	pair_catch_up(&pair);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &c.origin), 2);
	nodes_expect_equal(&a, &b);
}
END_TEST

/* What came last of a writer lost, so that no register of the snapshot tells when it was. */
START_TEST(next_write_is_later_than_all_that_a_snapshot_covers)
{
	blazei_replica_set_server(b.replica, true);
	node_insert(&b, 1, "{\"x\":1}");
	c.now_ns += BLAZEI_NS_PER_S;
	node_insert(&c, 1, "{\"x\":2}");
	ck_assert_int_eq(node_give(&c, &b, 1), 1);
	node_expect(&b, 1, "{\"x\":1}");
	pair_catch_up(&pair);
	ck_assert_uint_gt(pair.asked.chunks, 0);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &c.origin), 1);
	node_insert(&a, 2, "{}");
	ck_assert_int_eq(node_give(&a, &b, 1), 1);
}
END_TEST

/* Quarantine --------------------------------------------------------------------------------- */

static bool twin_late; /* c's second one follows the chunks */

/* Amid the chunks, the asker hears of another history of c. */
static void twin_amid(struct pair *session)
{
	struct node twin;

	if (twin_late)
		ck_assert_int_eq(node_give(&c, session->answerer, 2), 1);
	node_open(&twin, 3);
	node_writes(&twin, 50, 1);
	ck_assert_int_eq(node_give(&twin, session->asker, 1), 0);
	ck_assert_uint_eq(node_stats(session->asker).quarantined, 1);
	node_close(&twin);
}

/* In the chunks (0), in what follows them (1): of one in quarantine each keeps what it has. */
START_TEST(who_is_in_quarantine_by_then_is_left_out)
{
	twin_late = _i == 1;
	node_insert(&c, 0, "{\"x\":1}");
	node_update(&c, 0, "{\"x\":2}");
	node_give(&c, &a, 1);
	node_give(&c, &b, 1);
	if (!twin_late)
		node_give(&c, &b, 2);
	node_insert(&b, 10, "{\"y\":1}");
	node_update(&b, 0, "{\"y\":2}");
	pair.amid = twin_amid;
	pair_catch_up(&pair);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &c.origin), 1);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &b.origin), 2);
	node_expect(&a, 0, "{\"x\":1,\"y\":2}");
	node_expect(&a, 10, "{\"y\":1}");
}
END_TEST

static enum pair_fate say_below(struct pair *session, unsigned at, bool from_answerer, void *data,
                                size_t *len)
{
	struct blazei_session_header *header = data;

	(void)session;
	(void)at;
	(void)len;
	if (from_answerer && header->kind == BLAZEI_KIND_SNAPSHOT) {
		header->flags |= BLAZEI_SNAPSHOT_BELOW;
		message_seal(header);
	}
	return PAIR_DELIVER;
}

/* The same where the snapshot is to be all that there is. */
START_TEST(who_is_in_quarantine_stays_where_all_else_is_forgotten)
{
	twin_late = _i == 1;
	node_insert(&c, 0, "{\"x\":1}");
	node_insert(&c, 1, "{\"x\":1}");
	node_give(&c, &a, 1);
	node_give(&c, &b, 1);
	if (!twin_late)
		node_give(&c, &b, 2);
	node_insert(&b, 10, "{\"y\":1}");
	node_insert(&a, 20, "{\"z\":1}");
	pair.amid = twin_amid;
	pair.anew = true;
	pair.hook = say_below;
	pair_catch_up(&pair);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &c.origin), 1);
	node_expect(&a, 0, "{\"x\":1}");
	node_expect(&a, 1, NULL);
	node_expect(&a, 10, "{\"y\":1}");
	/* All else is listed, to be issued anew. */
	node_expect(&a, 20, NULL);
	ck_assert_uint_eq(blazei_stage_unseen(pair.stage)->count, 1);
}
END_TEST

/* The own name ------------------------------------------------------------------------------- */

/* Amid the chunks, the answerer hears what the asker wrote before it was set back. */
static void future_amid(struct pair *session)
{
	node_give_all(session->arg, session->answerer);
}

START_TEST(own_future_in_a_snapshot_displaces)
{
	struct node before;

	node_open(&before, 1);
	node_writes(&before, 0, 3);
	node_writes(&b, 10, 5);
	pair.amid = future_amid;
	pair.arg = &before;
	pair_run(&pair);
	ck_assert_int_eq(pair.asked.state, BLAZEI_SESSION_REFUSED);
	ck_assert_int_eq(pair.asked.reason, BLAZEI_SESSION_FORK);
	ck_assert(blazei_origin_equal(&pair.asked.forked, &a.origin));
	ck_assert_uint_eq(pair.asked.forked_seq, 3);
	ck_assert(blazei_replica_displaced(a.replica));
	ck_assert_uint_eq(blazei_replica_count(a.replica), 0);
	node_close(&before);
}
END_TEST

/* Strangers ---------------------------------------------------------------------------------- */

/* A chunk names an origin that no vector has. */
static enum pair_fate name_a_stranger(struct pair *session, unsigned at, bool from_answerer,
                                      void *data, size_t *len)
{
	struct blazei_session_part *part = data;
	struct blazei_txn_header *header = (struct blazei_txn_header *)part->bytes;

	(void)session;
	(void)at;
	(void)len;
	if (!from_answerer || part->header.kind != BLAZEI_KIND_CHUNK)
		return PAIR_DELIVER;
	((struct blazei_origin *)(header + 1))->incarnation++;
	header->chain = blazei_txn_hash(header);
	message_seal(&part->header);
	return PAIR_DELIVER;
}

START_TEST(chunk_of_one_whom_no_vector_covers_is_refused)
{
	/* Of fields (0), of the existence alone (1). */
	node_insert(&b, 10, _i == 0 ? "{\"x\":1}" : "{}");
	pair.hook = name_a_stranger;
	pair_run(&pair);
	ck_assert_int_eq(pair.asked.state, BLAZEI_SESSION_FAILED);
	ck_assert_int_eq(pair.asked.error, -EBADMSG);
	ck_assert_uint_eq(blazei_replica_count(a.replica), 0);
	ck_assert_uint_eq(pair.left, 0);
}
END_TEST

/* There is no room for another origin: a snapshot that names one is not for this replica. */
START_TEST(snapshot_of_more_origins_than_there_may_be_is_refused)
{
	struct blazei_origin other = { .incarnation = 1 };

	node_writes(&b, 10, 5);
	for (unsigned i = 0; a.replica->vector.count < BLAZEI_ORIGINS_MAX; i++) {
		memcpy(other.node.bytes, &i, sizeof(i));
		other.node.bytes[15] = 9;
		ck_assert_int_gt(blazei_vector_intern(&a.replica->vector, &other), 0);
	}
	pair_run(&pair);
	ck_assert_int_eq(pair.asked.state, BLAZEI_SESSION_FAILED);
	ck_assert_int_eq(pair.asked.error, -E2BIG);
	ck_assert_uint_eq(blazei_replica_count(a.replica), 0);
}
END_TEST

/* Passes ------------------------------------------------------------------------------------- */

/* Many new records follow the chunks. */
static void write_many_amid(struct pair *session)
{
	node_writes(session->answerer, 100, 200);
}

START_TEST(snapshot_may_be_followed_by_more_than_it_has)
{
	node_writes(&b, 10, 1);
	pair.amid = write_many_amid;
	pair_catch_up(&pair);
	ck_assert_uint_eq(pair.asked.txns, 200);
	nodes_expect_equal(&a, &b);
}
END_TEST

/* What comes by a lane meanwhile is there before it is installed, and is not merged twice. */
static void write_to_both_amid(struct pair *session)
{
	node_writes(session->answerer, 100, 20);
	node_give_all(session->answerer, session->asker);
}

START_TEST(transactions_that_came_meanwhile_are_passed_over)
{
	node_writes(&b, 10, 5);
	node_give_all(&b, &a);
	pair.amid = write_to_both_amid;
	pair_catch_up(&pair);
	ck_assert_uint_ge(pair.kinds[BLAZEI_KIND_TXNS], 1);
	ck_assert_uint_eq(pair.asked.txns, 0);
	nodes_expect_equal(&a, &b);
}
END_TEST

/* A record of the first pass is deleted by another before the second, who had seen it. */
static void delete_between_passes(struct pair *session)
{
	node_give_all(session->arg, session->answerer);
	node_writes(session->answerer, 100, 200);
}

START_TEST(delete_in_a_further_pass_had_seen_what_the_first_one_brought)
{
	struct node d;

	node_close(&b);
	node_open_history(&b, 2, 8192);
	node_open(&d, 4);
	node_insert(&c, 1, "{\"x\":1}");
	node_give_all(&c, &b);
	node_give_all(&c, &d);
	ck_assert_int_eq(node_delete(&d, 1), 0);
	pair.amid = delete_between_passes;
	pair.arg = &d;
	pair_catch_up(&pair);
	ck_assert_uint_eq(pair.asked.passes, 2);
	ck_assert_uint_eq(node_stats(&a).conflicts, 0);
	node_expect(&a, 1, NULL);
	nodes_expect_equal(&a, &b);
	node_close(&d);
}
END_TEST

START_TEST(further_pass_follows_nothing_but_a_pass)
{
	/* With one entry. */
	uint64_t words[(sizeof(struct blazei_session_snapshot) +
	                sizeof(struct blazei_session_entry)) /
	               8] = { 0 };
	struct blazei_session_snapshot *snapshot = (struct blazei_session_snapshot *)words;

	snapshot->entry_count = 1;
	/* After nothing at all. */
	snapshot->header.flags = BLAZEI_SNAPSHOT_AGAIN;
	ck_assert_int_eq(blazei_stage_begin(pair.stage, &b.origin, snapshot), -EBADMSG);
	/* After a first one, at a place that it named. */
	snapshot->header.flags = 0;
	snapshot->resume.run = 7;
	ck_assert_int_eq(blazei_stage_begin(pair.stage, &b.origin, snapshot), 0);
	/* It goes on with as much as that had, names no vector, and comes from the same. */
	snapshot->header.flags = BLAZEI_SNAPSHOT_RESUMED;
	ck_assert_int_eq(blazei_stage_begin(pair.stage, &b.origin, snapshot), -EBADMSG);
	snapshot->entry_count = 0;
	ck_assert_int_eq(blazei_stage_begin(pair.stage, &b.origin, snapshot), 0);
	snapshot->header.flags |= BLAZEI_SNAPSHOT_WHOLE;
	ck_assert_int_eq(blazei_stage_begin(pair.stage, &b.origin, snapshot), -EBADMSG);
	snapshot->header.flags = BLAZEI_SNAPSHOT_RESUMED;
	ck_assert_int_eq(blazei_stage_begin(pair.stage, &a.origin, snapshot), -EBADMSG);
	snapshot->resume.cursor++;
	ck_assert_int_eq(blazei_stage_begin(pair.stage, &b.origin, snapshot), -EBADMSG);
	snapshot->resume.cursor--;
	/* A further pass takes the place of the vector, and there is no going on with it. */
	snapshot->header.flags = BLAZEI_SNAPSHOT_AGAIN;
	snapshot->entry_count = 1;
	ck_assert_int_eq(blazei_stage_begin(pair.stage, &b.origin, snapshot), 0);
	snapshot->header.flags = BLAZEI_SNAPSHOT_RESUMED;
	snapshot->entry_count = 0;
	ck_assert_int_eq(blazei_stage_begin(pair.stage, &b.origin, snapshot), -EBADMSG);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stage");
	TCase *tcase = tcase_create("stage");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_loop_test(tcase, chain_that_is_not_known_is_no_fork, 0, 3);
	tcase_add_test(tcase, duplicate_of_what_came_as_state_is_no_fork);
	tcase_add_test(tcase, first_transaction_has_no_past);
	tcase_add_test(tcase, next_write_is_later_than_all_that_a_snapshot_covers);
	tcase_add_loop_test(tcase, who_is_in_quarantine_by_then_is_left_out, 0, 2);
	tcase_add_loop_test(tcase, who_is_in_quarantine_stays_where_all_else_is_forgotten, 0, 2);
	tcase_add_test(tcase, own_future_in_a_snapshot_displaces);
	tcase_add_loop_test(tcase, chunk_of_one_whom_no_vector_covers_is_refused, 0, 2);
	tcase_add_test(tcase, snapshot_of_more_origins_than_there_may_be_is_refused);
	tcase_add_test(tcase, snapshot_may_be_followed_by_more_than_it_has);
	tcase_add_test(tcase, transactions_that_came_meanwhile_are_passed_over);
	tcase_add_test(tcase, delete_in_a_further_pass_had_seen_what_the_first_one_brought);
	tcase_add_test(tcase, further_pass_follows_nothing_but_a_pass);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
