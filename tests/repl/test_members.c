/* SPDX-License-Identifier: Apache-2.0 */
/* The list of members and the frontier: who joins, what is reported and when, who is expelled and
 * how he comes back, and that nobody says anything once all is said. */
#include "lib/repl/members.h"
#include "tests/repl/events.h"

#define DAY_NS (24 * 3600 * BLAZEI_NS_PER_S)

/* Three nodes; what they write goes to all by settle. */
static struct node nodes[3];
static struct blazei_vector_entry *durable[3]; /* NULL: everything is */
static unsigned durable_count[3];
static struct blazei_vector_view hold;
static unsigned given[3][3]; /* of whose log how much to whom */

static void set_up(void)
{
	for (unsigned i = 0; i < 3; i++) {
		node_open(&nodes[i], i + 1);
		durable[i] = NULL;
	}
	hold.entries = NULL;
	memset(given, 0, sizeof(given));
}

static void tear_down(void)
{
	for (unsigned i = 0; i < 3; i++) {
		free(durable[i]);
		node_close(&nodes[i]);
	}
}

/* Among the first `count`. */
static void settle_among(unsigned count)
{
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < count; i++)
			for (unsigned j = 0; j < count; j++)
				while (i != j && given[i][j] < nodes[i].count)
					node_give(&nodes[i], &nodes[j], ++given[i][j]);
}

static void settle(void)
{
	settle_among(3);
}

/* What is durable at a node stays as it is now. */
static void durable_freeze(unsigned which)
{
	durable[which] = node_vector(&nodes[which], &durable_count[which]);
}

/* One tick: the result, 1 where something was written. */
static int tick_as(unsigned which, bool rejoin)
{
	struct node *node = &nodes[which];
	struct blazei_members_tick tick = { .now_ns = node->now_ns, .rejoin = rejoin };
	struct blazei_vector_entry *entries = node_vector(node, &tick.durable.count);
	struct blazei_txn_view txn;
	int rc;

	tick.durable.entries = entries;
	if (durable[which]) {
		tick.durable.entries = durable[which];
		tick.durable.count = durable_count[which];
	}
	if (hold.entries) {
		tick.holds = &hold;
		tick.hold_count = 1;
	}
	rc = blazei_replica_members_tick(node->replica, &tick, &txn);
	free(entries);
	if (rc == 0 && node_keep(node, txn.data, txn.len))
		return 1;
	return rc;
}

static int tick(unsigned which)
{
	return tick_as(which, false);
}

static void pass(uint64_t ns)
{
	for (unsigned i = 0; i < 3; i++)
		nodes[i].now_ns += ns;
}

/* The first `count` join, tick for that long, in steps, and exchange what they write. The number of
 * transactions that came of it. */
static unsigned run(unsigned count, uint64_t ns, uint64_t step_ns)
{
	unsigned written = 0;

	for (uint64_t t = 0; t < ns; t += step_ns) {
		for (unsigned i = 0; i < count; i++)
			for (int rc = 1; rc == 1; written += rc == 1)
				rc = tick(i);
		settle();
		pass(step_ns);
	}
	return written;
}

static uint64_t frontier(unsigned at, unsigned of)
{
	return blazei_replica_frontier_seq(nodes[at].replica, &nodes[of].origin);
}

START_TEST(member_joins_once_and_all_are_told)
{
	struct events events;

	events_listen(&events, &nodes[1]);
	ck_assert_int_eq(tick(0), 1);
	ck_assert_int_eq(tick(0), 0);
	settle();
	ck_assert_int_eq(blazei_replica_membership(nodes[1].replica, &nodes[0].origin.node),
	                 BLAZEI_MEMBER_JOINED);
	ck_assert_int_eq(blazei_replica_membership(nodes[1].replica, &nodes[1].origin.node),
	                 BLAZEI_MEMBER_NEVER);
	ck_assert_uint_eq(events.count, 1);
	events_expect(&events, 0, BLAZEI_EFFECT_MEMBER_JOINED, &nodes[0].origin, 1);
}
END_TEST

START_TEST(list_is_hidden_from_readers)
{
	struct blaze_record *record;
	struct blaze_id id;
	uint8_t before[16];
	uint8_t after[16];

	node_insert(&nodes[0], 1, "{\"x\":1}");
	settle();
	blazei_replica_hash(nodes[1].replica, before);
	run(3, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	blazei_replica_hash(nodes[1].replica, after);
	ck_assert_mem_eq(before, after, 16);
	ck_assert_uint_eq(blazei_replica_count(nodes[1].replica), 1);
	ck_assert_int_eq(blazei_replica_get(nodes[1].replica, &nodes[0].origin.node, &record),
	                 -ENOENT);
	id = id_of(2);
	ck_assert_int_eq(blazei_replica_next_id(nodes[1].replica, &id, &id), -ENOENT);
	ck_assert_uint_eq(node_stats(&nodes[0]).conflicts, 0);
	ck_assert_uint_eq(node_stats(&nodes[1]).conflicts, 0);
	nodes_expect_equal(&nodes[0], &nodes[1]);
	nodes_expect_equal(&nodes[0], &nodes[2]);
}
END_TEST

START_TEST(without_a_store_nothing_is_written)
{
	const struct blazei_members_tick none = { .now_ns = NOW };
	struct blazei_txn_view txn;

	ck_assert_int_eq(blazei_replica_members_tick(nodes[0].replica, &none, &txn), 0);
	ck_assert_uint_eq(txn.len, 0);
	ck_assert_uint_eq(frontier(0, 0), 0);
}
END_TEST

START_TEST(frontier_follows_the_slowest_member)
{
	run(3, 1, 1);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	node_insert(&nodes[1], 2, "{\"x\":1}");
	settle();
	durable_freeze(2);
	node_insert(&nodes[0], 3, "{\"x\":1}");
	node_insert(&nodes[0], 4, "{\"x\":1}");
	settle();
	run(3, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	for (unsigned i = 0; i < 3; i++) {
		/* The join and one write of 0 and of 1 are durable at 2. */
		ck_assert_uint_eq(frontier(i, 0), 2);
		ck_assert_uint_eq(frontier(i, 1), 2);
	}
	free(durable[2]);
	durable[2] = NULL;
	run(3, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_ge(frontier(i, 0), 4);
}
END_TEST

START_TEST(frontier_waits_for_live_replicas_without_a_store)
{
	unsigned count;
	struct blazei_vector_entry *entries;

	node_insert(&nodes[0], 1, "{\"x\":1}");
	settle();
	entries = node_vector(&nodes[2], &count);
	hold = (struct blazei_vector_view){ entries, count };
	node_insert(&nodes[0], 2, "{\"x\":1}");
	settle();
	run(2, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	ck_assert_uint_eq(frontier(0, 0), 1);
	ck_assert_uint_eq(frontier(2, 0), 1);
	hold.entries = NULL;
	run(2, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	ck_assert_uint_ge(frontier(2, 0), 2);
	free(entries);
}
END_TEST

START_TEST(frontier_waits_for_what_a_replica_without_a_store_wrote)
{
	unsigned count;
	struct blazei_vector_entry *entries;

	node_insert(&nodes[0], 1, "{\"x\":1}");
	node_insert(&nodes[2], 2, "{\"x\":1}");
	/* It has seen everything now, but what it wrote before that is on its way. */
	node_give_all(&nodes[0], &nodes[2]);
	entries = node_vector(&nodes[2], &count);
	hold = (struct blazei_vector_view){ entries, count };
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 20; i++) {
			tick(0);
			pass(10 * BLAZEI_NS_PER_S);
		}
		ck_assert_uint_eq(frontier(0, 0), round);
		node_give_all(&nodes[2], &nodes[0]);
	}
	hold.entries = NULL;
	free(entries);
}
END_TEST

START_TEST(reports_are_bounded_while_all_write)
{
	unsigned reports;

	run(3, 1, 1);
	reports = 0;
	for (unsigned i = 0; i < 600; i++) {
		node_write(&nodes[i % 3], BLAZEI_WRITE_UPSERT, i % 50, "{\"x\":1}", NULL);
		reports += run(3, BLAZEI_NS_PER_S, BLAZEI_NS_PER_S);
	}
	/* 600 s: at most one per member each 30 s. */
	ck_assert_uint_le(reports, 60);
	ck_assert_uint_ge(reports, 54);
}
END_TEST

START_TEST(silence_once_all_is_said)
{
	run(3, 1, 1);
	for (unsigned i = 0; i < 9; i++)
		node_insert(&nodes[i % 3], i, "{\"x\":1}");
	settle();
	ck_assert_uint_gt(run(3, 300 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S), 0);
	ck_assert_uint_eq(run(3, 3600 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S), 0);
	ck_assert_uint_eq(run(3, 40 * DAY_NS, DAY_NS), 0);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned j = 0; j < 3; j++)
			ck_assert_uint_ge(frontier(i, j), 4);
	nodes_expect_equal(&nodes[0], &nodes[2]);
}
END_TEST

START_TEST(silent_member_that_keeps_back_is_expelled_after_30_days)
{
	struct events events;

	run(3, 1, 1);
	run(3, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	events_listen(&events, &nodes[1]);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	settle();
	/* 2 says nothing from here on. */
	run(2, 29 * DAY_NS, DAY_NS / 2);
	ck_assert_int_eq(blazei_replica_membership(nodes[1].replica, &nodes[2].origin.node),
	                 BLAZEI_MEMBER_JOINED);
	ck_assert_uint_eq(frontier(0, 0), 0);
	run(2, 3 * DAY_NS, DAY_NS / 2);
	ck_assert_int_eq(blazei_replica_membership(nodes[1].replica, &nodes[2].origin.node),
	                 BLAZEI_MEMBER_EXPELLED);
	ck_assert_uint_eq(events_count(&events, BLAZEI_EFFECT_MEMBER_EXPELLED), 1);
	ck_assert_uint_ge(frontier(0, 0), 2);
	ck_assert_uint_eq(frontier(0, 0), frontier(1, 0));
	/* It learns of it, may not go on, and comes back. */
	settle();
	ck_assert_int_eq(tick(2), -ESTALE);
	ck_assert_int_eq(tick(2), -ESTALE);
	ck_assert_int_eq(tick_as(2, true), 1);
	settle();
	ck_assert_int_eq(blazei_replica_membership(nodes[0].replica, &nodes[2].origin.node),
	                 BLAZEI_MEMBER_JOINED);
	ck_assert_int_eq(tick(2), 0);
	/* And is waited for again. */
	node_insert(&nodes[0], 2, "{\"x\":1}");
	settle();
	run(2, DAY_NS, DAY_NS / 8);
	ck_assert_uint_lt(frontier(0, 0), nodes[0].count - 1);
	run(3, DAY_NS, DAY_NS / 8);
	ck_assert_uint_eq(run(3, DAY_NS, DAY_NS / 8), 0);
}
END_TEST

START_TEST(member_that_is_quiet_as_all_is_quiet_stays)
{
	run(3, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	ck_assert_uint_eq(run(2, 60 * DAY_NS, DAY_NS), 0);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	settle();
	run(2, DAY_NS, DAY_NS / 8);
	ck_assert_int_eq(blazei_replica_membership(nodes[0].replica, &nodes[2].origin.node),
	                 BLAZEI_MEMBER_JOINED);
}
END_TEST

START_TEST(clock_that_jumps_by_months_expels_nobody)
{
	run(3, 100 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	settle();
	tick(0);
	nodes[0].now_ns += 90 * DAY_NS;
	tick(0);
	tick(0);
	ck_assert_int_eq(blazei_replica_membership(nodes[0].replica, &nodes[2].origin.node),
	                 BLAZEI_MEMBER_JOINED);
	nodes[0].now_ns -= 90 * DAY_NS;
	tick(0);
	ck_assert_int_eq(blazei_replica_membership(nodes[0].replica, &nodes[2].origin.node),
	                 BLAZEI_MEMBER_JOINED);
}
END_TEST

START_TEST(who_is_below_the_frontier_may_not_join)
{
	struct blazei_vector_view view;
	struct blazei_vector_entry *entries;

	node_insert(&nodes[0], 1, "{\"x\":1}");
	settle();
	durable_freeze(2);
	node_insert(&nodes[0], 2, "{\"x\":1}");
	settle();
	run(2, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	ck_assert_uint_ge(frontier(2, 0), 2);
	ck_assert_int_eq(tick(2), -ESTALE);
	view = (struct blazei_vector_view){ durable[2], durable_count[2] };
	ck_assert(blazei_replica_below_frontier(nodes[0].replica, &view));
	entries = node_vector(&nodes[2], &view.count);
	view.entries = entries;
	ck_assert(!blazei_replica_below_frontier(nodes[0].replica, &view));
	free(entries);
	free(durable[2]);
	durable[2] = NULL;
	ck_assert_int_eq(tick(2), 1);
}
END_TEST

START_TEST(late_joiner_below_the_frontier_is_not_counted_and_moves_nothing_back)
{
	uint64_t before;

	/* 2 joins before it knows of the frontier, with little that is durable. */
	node_insert(&nodes[2], 9, "{\"x\":1}");
	ck_assert_int_eq(tick(2), 1);
	for (unsigned i = 0; i < 2; i++)
		tick(i);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	for (unsigned round = 0; round < 20; round++) {
		settle_among(2);
		pass(10 * BLAZEI_NS_PER_S);
		tick(0);
		tick(1);
	}
	before = frontier(0, 0);
	ck_assert_uint_ge(before, 2);
	settle();
	ck_assert_uint_ge(frontier(0, 0), before);
	ck_assert_int_eq(blazei_replica_membership(nodes[0].replica, &nodes[2].origin.node),
	                 BLAZEI_MEMBER_JOINED);
	/* The others go on without it, until it reports more. */
	node_insert(&nodes[0], 2, "{\"x\":1}");
	settle();
	for (unsigned round = 0; round < 20; round++) {
		pass(10 * BLAZEI_NS_PER_S);
		tick(0);
		tick(1);
		settle();
	}
	ck_assert_uint_gt(frontier(1, 0), before);
	run(3, 300 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	before = frontier(0, 0);
	node_insert(&nodes[0], 3, "{\"x\":1}");
	settle();
	for (unsigned round = 0; round < 20; round++) {
		pass(10 * BLAZEI_NS_PER_S);
		tick(0);
		tick(1);
		settle();
	}
	ck_assert_uint_le(frontier(0, 0), before + 20);
	ck_assert_uint_lt(frontier(0, 0), nodes[0].count - 20);
}
END_TEST

START_TEST(list_comes_by_state_and_by_replay)
{
	struct node again;

	node_insert(&nodes[0], 1, "{\"x\":1}");
	run(2, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	node_open(&again, 9);
	again.now_ns = nodes[1].now_ns;
	node_catch_up(&nodes[1], &again);
	ck_assert_uint_eq(blazei_replica_frontier_seq(again.replica, &nodes[0].origin),
	                  frontier(0, 0));
	ck_assert_int_eq(blazei_replica_membership(again.replica, &nodes[1].origin.node),
	                 BLAZEI_MEMBER_JOINED);
	node_close(&again);
}
END_TEST

START_TEST(renewal_keeps_the_membership)
{
	struct blazei_origin self = nodes[0].origin;
	uint64_t before;

	node_insert(&nodes[0], 1, "{\"x\":1}");
	settle();
	run(2, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	before = frontier(0, 0);
	self.incarnation = 5;
	ck_assert_int_eq(blazei_replica_renew(nodes[0].replica, nodes[0].now_ns, &self), 0);
	ck_assert_uint_eq(frontier(0, 0), before);
	ck_assert_int_eq(tick(0), 0);
	ck_assert_int_eq(blazei_replica_membership(nodes[0].replica, &self.node),
	                 BLAZEI_MEMBER_JOINED);
}
END_TEST

START_TEST(hostile_rows_are_no_members_and_do_no_harm)
{
	/* A report whose vector is cut short, in place of one. */
	struct blazei_txn_header *header;
	uint8_t *bytes;

	ck_assert_int_eq(tick(0), 1);
	header = nodes[0].log[0].data;
	bytes = (uint8_t *)header;
	for (size_t i = sizeof(*header) + 24; i + 3 < header->bytes; i++)
		if (bytes[i] == 'v' && bytes[i + 1] == 0x58)
			bytes[i + 1] = 0x78; /* text */
	header->chain = blazei_txn_hash(header);
	node_give(&nodes[0], &nodes[1], 1);
	tick(1);
	pass(40 * BLAZEI_NS_PER_S);
	tick(1);
	ck_assert_uint_eq(frontier(1, 0), 0);
}
END_TEST

/* Unseen writes ------------------------------------------------------------------------------ */

START_TEST(unseen_writes_are_listed_as_they_stand)
{
	struct node *node = &nodes[0];
	struct blazei_vector_entry *entries;
	struct blazei_vector_view view;
	struct blazei_unseen unseen;
	uint64_t cursor = 0;
	unsigned kinds[BLAZEI_WRITE_PUT] = { 0 };
	char *text;
	int rc;

	node_insert(node, 1, "{\"a\":1,\"b\":1}");
	node_insert(node, 2, "{\"a\":1}");
	node_insert(&nodes[1], 5, "{\"a\":1,\"z\":1}");
	settle();
	entries = node_vector(&nodes[1], &view.count);
	view.entries = entries;
	node_update(node, 1, "{\"b\":2}");
	node_write(node, BLAZEI_WRITE_UPDATE, 5, "{\"a\":2}", "z");
	node_delete(node, 2);
	node_insert(node, 3, "{\"c\":1}");
	node_update(node, 3, "{\"d\":1}");
	while ((rc = blazei_replica_unseen(node->replica, &view, &cursor, &unseen)) == 1) {
		kinds[unseen.kind]++;
		if (unseen.kind == BLAZEI_WRITE_DELETE) {
			ck_assert_uint_eq(unseen.id.bytes[15], 2);
			continue;
		}
		if (blaze_record_to_json(unseen.record, &text) == 0) {
			if (unseen.id.bytes[15] == 1)
				ck_assert_str_eq(text, "{\"b\":2}");
			if (unseen.id.bytes[15] == 3)
				ck_assert_str_eq(text, "{\"c\":1,\"d\":1}");
			free(text);
		}
		blaze_record_free(unseen.record);
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_eq(kinds[BLAZEI_WRITE_UPSERT], 1);
	ck_assert_uint_eq(kinds[BLAZEI_WRITE_UPDATE], 2);
	ck_assert_uint_eq(kinds[BLAZEI_WRITE_DELETE], 1);
	free(entries);
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&member_joins_once_and_all_are_told,
		&list_is_hidden_from_readers,
		&without_a_store_nothing_is_written,
		&frontier_follows_the_slowest_member,
		&frontier_waits_for_live_replicas_without_a_store,
		&frontier_waits_for_what_a_replica_without_a_store_wrote,
		&reports_are_bounded_while_all_write,
		&silence_once_all_is_said,
		&silent_member_that_keeps_back_is_expelled_after_30_days,
		&member_that_is_quiet_as_all_is_quiet_stays,
		&clock_that_jumps_by_months_expels_nobody,
		&who_is_below_the_frontier_may_not_join,
		&late_joiner_below_the_frontier_is_not_counted_and_moves_nothing_back,
		&list_comes_by_state_and_by_replay,
		&renewal_keeps_the_membership,
		&hostile_rows_are_no_members_and_do_no_harm,
		&unseen_writes_are_listed_as_they_stand,
	};
	Suite *suite = suite_create("members");
	TCase *tcase = tcase_create("members");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
