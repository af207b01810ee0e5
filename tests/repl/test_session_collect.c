/* SPDX-License-Identifier: Apache-2.0 */
/* Catch-up by snapshots of a replica that collects, renumbers its rows or overruns its history
 * meanwhile, and for askers that have what was collected. */
#include "lib/repl/stage.h"
#include "tests/repl/frontier.h"
#include "tests/repl/session_pair.h"

#define WIDE UINT64_C(1) << 20
#define TINY UINT64_C(4096)

/* Drops all that an origin wrote up to seq, but for a record's existence and one field of it. */
static void collect_but(struct node *node, unsigned number, const char *name,
                        const struct blazei_origin *origin, uint64_t seq)
{
	const struct blazei_session_entry entry = { .origin = *origin, .seq = seq };
	struct blazei_replica *replica = node->replica;
	struct blaze_id id = id_of(number);
	struct blazei_row *row =
	        blazei_table_find(&replica->table, &id, blazei_table_hash(&replica->table, &id));
	uint32_t field = blazei_names_find(&replica->names, name, strlen(name));

	row->flags |= BLAZEI_ROW_MARKED;
	blazei_row_find(row, field, 1)->flags |= BLAZEI_ENTRY_MARKED;
	blazei_prune(replica, &entry, 1);
}

/* A whole snapshot deletes what it does not have and its vector covers; what is younger stays. */
START_TEST(session_whole_snapshot_prunes_what_was_collected)
{
	struct pair pair;
	struct node a;
	struct node b;
	struct node c;

	node_open_history(&a, 1, 0);
	node_open_history(&b, 2, 0);
	node_open_history(&c, 3, 0);
	/* c's record 1 and field of record 2 are at a, and were collected at b. */
	node_insert(&c, 1, "{\"old\":1}");
	node_insert(&c, 2, "{\"kept\":1,\"old\":2}");
	node_insert(&c, 3, "{\"x\":3}");
	node_give_all(&c, &a);
	node_insert(&a, 4, "{\"mine\":4}");
	node_insert(&c, 5, "{\"late\":5}");
	node_give(&c, &a, 4);
	for (unsigned seq = 1; seq <= 3; seq++)
		node_give(&c, &b, seq);
	collect_but(&b, 2, "kept", &c.origin, 3);
	node_insert(&b, 6, "{\"new\":6}");
	pair_open(&pair, &a, &b);
	pair.whole = true;
	pair_catch_up(&pair);
	node_expect(&a, 1, NULL);
	node_expect(&a, 2, "{\"kept\":1}");
	node_expect(&a, 3, NULL);
	node_expect(&a, 4, "{\"mine\":4}");
	node_expect(&a, 5, "{\"late\":5}");
	node_expect(&a, 6, "{\"new\":6}");
	ck_assert_uint_eq(blazei_replica_count(a.replica), 4);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
	node_close(&c);
}
END_TEST

static enum pair_fate write_at_third_chunk(struct pair *pair, unsigned at, bool from_answerer,
                                           void *data, size_t *len)
{
	(void)at;
	(void)data;
	(void)len;
	if (from_answerer && pair->kinds[BLAZEI_KIND_CHUNK] == 3 && pair->answerer->count < 100)
		node_writes(pair->answerer, 0, 200);
	return PAIR_DELIVER;
}

START_TEST(session_second_pass_sends_what_has_changed_only)
{
	struct pair pair;
	struct node a;
	struct node b;

	node_open_history(&a, 1, TINY);
	node_open_history(&b, 2, TINY);
	for (unsigned i = 0; i < 40; i++)
		node_write_long(&b, i + 300, 50000);
	pair_open(&pair, &a, &b);
	pair.hook = write_at_third_chunk;
	pair_catch_up(&pair);
	ck_assert_uint_eq(pair.asked.passes, 2);
	ck_assert_uint_le(pair.asked.chunks, 40 / 4 + 3);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

/* At every chunk a tombstone that was sent already is collected, and the last row takes its number;
 * after three such passes all is encoded in one step. Then the session is cut, or is not. */
static enum pair_fate collect_on(struct pair *pair, unsigned at, bool from_answerer, void *data,
                                 size_t *len)
{
	struct blazei_replica *replica = pair->answerer->replica;
	struct blazei_row *row = replica->table.rows[0];
	const unsigned *cut = pair->arg;

	(void)at;
	(void)data;
	(void)len;
	if (!from_answerer || pair->kinds[BLAZEI_KIND_CHUNK] == 0)
		return PAIR_DELIVER;
	if (!blazei_row_alive(row)) {
		blazei_order_remove(&replica->order, &replica->table, 0);
		blazei_table_remove(&replica->table, row);
		replica->table.shape++;
	}
	return pair->kinds[BLAZEI_KIND_CHUNK] == *cut ? PAIR_CUT : PAIR_DELIVER;
}

START_TEST(session_starts_over_when_rows_were_renumbered)
{
	unsigned cut = _i ? 7 : UINT32_MAX;
	struct pair pair;
	struct node a;
	struct node b;

	node_open_history(&a, 1, WIDE);
	node_open_history(&b, 2, WIDE);
	node_insert(&b, 1, "{\"x\":1}");
	for (unsigned i = 0; i < 40; i++)
		node_write_long(&b, i + 300, 50000);
	/* The last rows are tombstones too: each comes to number 0 in its turn. */
	for (unsigned i = 2; i < 4; i++)
		node_insert(&b, i, "{\"x\":1}");
	for (unsigned i = 1; i < 4; i++)
		node_delete(&b, i);
	pair_open(&pair, &a, &b);
	pair.hook = collect_on;
	pair.arg = &cut;
	pair_run(&pair);
	ck_assert_uint_ge(pair.asked.passes, 2);
	pair.hook = NULL;
	pair_catch_up(&pair);
	ck_assert(!pair.asked.resumed);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(session_below_the_frontier_is_by_a_whole_snapshot)
{
	struct pair pair;
	struct node a;
	struct node b;

	node_open_history(&a, 1, WIDE);
	node_open_history(&b, 2, WIDE);
	node_writes(&b, 0, 5);
	frontier_make(&b);
	node_writes(&a, 7, 1);
	a.now_ns = b.now_ns;
	pair_open(&pair, &a, &b);
	pair_catch_up(&pair);
	ck_assert_uint_eq(pair.kinds[BLAZEI_KIND_SNAPSHOT], 1);
	ck_assert(pair.asked.whole);
	ck_assert(pair.answered.whole);
	node_give_all(&a, &b);
	nodes_expect_equal(&a, &b);
	/* Above it the history will do. */
	node_writes(&b, 0, 5);
	pair_catch_up(&pair);
	ck_assert_uint_eq(pair.kinds[BLAZEI_KIND_SNAPSHOT], 0);
	ck_assert(!pair.asked.whole);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session_collect");
	TCase *tcase = tcase_create("session_collect");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, session_whole_snapshot_prunes_what_was_collected);
	tcase_add_test(tcase, session_second_pass_sends_what_has_changed_only);
	tcase_add_loop_test(tcase, session_starts_over_when_rows_were_renumbered, 0, 2);
	tcase_add_test(tcase, session_below_the_frontier_is_by_a_whole_snapshot);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
