/* SPDX-License-Identifier: Apache-2.0 */
/* Collection: what goes, what has to stay, that nobody can tell who has collected, and that nothing
 * rises again. The seed of the random runs is printed; BLAZE_TEST_SEED sets it. */
#include <time.h>

#include "lib/repl/checkpoint.h"
#include "lib/repl/logged.h"
#include "lib/repl/members.h"
#include "tests/repl/events.h"
#include "tests/repl/session_pair.h"

#define STEP_NS (10 * BLAZEI_NS_PER_S)

/* Members, but for the last one, which has no store and never collects. */
#define NODES 4u

static struct node nodes[NODES];
static unsigned given[NODES][NODES]; /* of whose log how much to whom */

static void set_up(void)
{
	for (unsigned i = 0; i < NODES; i++)
		node_open(&nodes[i], i + 1);
	memset(given, 0, sizeof(given));
}

static void tear_down(void)
{
	for (unsigned i = 0; i < NODES; i++)
		node_close(&nodes[i]);
}

static void settle(void)
{
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < NODES; i++)
			for (unsigned j = 0; j < NODES; j++)
				while (i != j && given[i][j] < nodes[i].count)
					node_give(&nodes[i], &nodes[j], ++given[i][j]);
}

static bool tick(unsigned which)
{
	struct node *node = &nodes[which];
	struct blazei_vector_view hold;
	struct blazei_members_tick tick = {
		.now_ns = node->now_ns,
		.holds = &hold,
		.hold_count = 1,
	};
	struct blazei_vector_entry *entries = node_vector(node, &tick.durable.count);
	struct blazei_vector_entry *held = node_vector(&nodes[NODES - 1], &hold.count);
	struct blazei_txn_view txn;

	hold.entries = held;
	tick.durable.entries = entries;
	ck_assert_int_eq(blazei_replica_members_tick(node->replica, &tick, &txn), 0);
	free(entries);
	free(held);
	return node_keep(node, txn.data, txn.len);
}

static int64_t collect(unsigned which)
{
	int64_t dropped = 0;

	/* In small steps, all round. */
	for (unsigned i = 0; i < 2000; i++) {
		int64_t n = blazei_replica_collect(nodes[which].replica, 7);

		ck_assert_int_ge(n, 0);
		dropped += n;
	}
	return dropped;
}

/* Reports until the frontier is as far as it comes; `collectors` of the members collect. */
static int64_t advance(unsigned collectors)
{
	int64_t dropped = 0;

	for (unsigned round = 0; round < 24; round++) {
		for (unsigned i = 0; i < NODES - 1; i++)
			while (tick(i))
				;
		settle();
		for (unsigned i = 0; i < NODES; i++)
			nodes[i].now_ns += STEP_NS;
		for (unsigned i = 0; round % 8 == 7 && i < collectors; i++)
			dropped += collect(i);
	}
	return dropped;
}

static uint64_t memory(unsigned which)
{
	return node_stats(&nodes[which]).memory_bytes;
}

static void expect_equal(void)
{
	for (unsigned i = 1; i < NODES; i++)
		nodes_expect_equal(&nodes[0], &nodes[i]);
}

START_TEST(nothing_goes_without_members)
{
	node_insert(&nodes[0], 1, "{\"x\":1}");
	node_delete(&nodes[0], 1);
	settle();
	ck_assert_int_eq(collect(0), 0);
	nodes_expect_equal(&nodes[0], &nodes[1]);
}
END_TEST

START_TEST(tombstones_go_below_the_frontier_and_not_before)
{
	advance(1);
	node_insert(&nodes[0], 1, "{\"x\":1,\"y\":1}");
	node_insert(&nodes[0], 2, "{\"x\":1}");
	settle();
	node_delete(&nodes[0], 1);
	ck_assert_int_eq(collect(0), 0);
	settle();
	ck_assert_int_eq(collect(0), 0);
	/* Two fields, then the record. */
	ck_assert_int_eq(advance(1), 3);
	ck_assert_int_eq(advance(1), 0);
	node_expect(&nodes[0], 1, NULL);
	node_expect(&nodes[0], 2, "{\"x\":1}");
	expect_equal();
}
END_TEST

static void on_append(void *arg, const void *entry, size_t len)
{
	ck_assert_int_eq(blazei_logged_check(entry, len), 0);
	++*(unsigned *)arg;
}

/* A checkpoint counts rows and entries. */
START_TEST(nothing_goes_while_a_checkpoint_is_written)
{
	unsigned count = 0;
	const struct blazei_log_sink sink = { .arg = &count, .append = on_append };
	struct blazei_checkpoint checkpoint;

	advance(1);
	node_insert(&nodes[0], 1, "{\"x\":1,\"y\":1}");
	settle();
	blazei_replica_set_log(nodes[0].replica, &sink);
	ck_assert_int_eq(blazei_checkpoint_begin(&checkpoint, nodes[0].replica), 0);
	node_delete(&nodes[0], 1);
	settle();
	ck_assert_int_eq(advance(1), 0);
	ck_assert_int_eq(blazei_checkpoint_step(&checkpoint), 0);
	ck_assert_int_eq(advance(1), 3);
	ck_assert_uint_gt(count, 0);
	blazei_replica_set_log(nodes[0].replica, &(struct blazei_log_sink){ .append = NULL });
}
END_TEST

START_TEST(fields_of_earlier_lives_go_and_the_present_ones_stay)
{
	advance(3);
	node_insert(&nodes[0], 1, "{\"x\":1,\"y\":1}");
	node_delete(&nodes[0], 1);
	node_insert(&nodes[0], 1, "{\"x\":2,\"z\":1}");
	node_write(&nodes[0], BLAZEI_WRITE_UPDATE, 1, "{}", "z");
	settle();
	ck_assert_int_eq(advance(3), 6);
	for (unsigned i = 0; i < NODES; i++)
		node_expect(&nodes[i], 1, "{\"x\":2}");
	expect_equal();
}
END_TEST

START_TEST(record_without_fields_stays_and_its_tombstone_goes)
{
	advance(1);
	node_insert(&nodes[0], 1, "{}");
	node_insert(&nodes[0], 2, "{}");
	settle();
	ck_assert_int_eq(advance(1), 0);
	node_expect(&nodes[0], 1, "{}");
	node_delete(&nodes[0], 2);
	ck_assert_int_eq(collect(0), 0);
	ck_assert_int_eq(advance(1), 1);
	node_expect(&nodes[0], 1, "{}");
	node_expect(&nodes[0], 2, NULL);
	expect_equal();
}
END_TEST

START_TEST(late_duplicates_bring_nothing_back)
{
	advance(3);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	node_update(&nodes[0], 1, "{\"x\":2}");
	node_delete(&nodes[0], 1);
	settle();
	advance(3);
	for (unsigned i = 1; i <= nodes[0].count; i++)
		ck_assert_int_eq(node_give(&nodes[0], &nodes[1], i), 0);
	node_expect(&nodes[1], 1, NULL);
	ck_assert_int_eq(collect(1), 0);
	expect_equal();
}
END_TEST

START_TEST(record_made_anew_beats_a_tombstone_that_others_keep)
{
	advance(1);
	/* A server's tombstone, of the third life: its E is greater than a client's own. */
	blazei_replica_set_server(nodes[1].replica, true);
	for (unsigned i = 0; i < 3; i++) {
		node_insert(&nodes[1], 1, "{\"x\":1,\"old\":1}");
		node_delete(&nodes[1], 1);
	}
	settle();
	/* The fields of three lives, and the tombstone. */
	ck_assert_int_eq(advance(1), 7);
	/* Only 0 has collected. */
	node_insert(&nodes[0], 1, "{\"x\":2}");
	settle();
	for (unsigned i = 0; i < NODES; i++)
		node_expect(&nodes[i], 1, "{\"x\":2}");
	expect_equal();
	/* No conflict: it had seen the tombstone. */
	for (unsigned i = 0; i < NODES; i++)
		ck_assert_uint_eq(node_stats(&nodes[i]).conflicts, 0);
	advance(3);
	expect_equal();
	node_expect(&nodes[2], 1, "{\"x\":2}");
}
END_TEST

START_TEST(record_made_anew_elsewhere_is_no_conflict_where_it_was_collected)
{
	advance(1);
	node_insert(&nodes[1], 1, "{\"x\":1}");
	node_delete(&nodes[1], 1);
	settle();
	advance(1);
	node_insert(&nodes[2], 1, "{\"x\":2}");
	settle();
	expect_equal();
	ck_assert_uint_eq(node_stats(&nodes[0]).conflicts, 0);
}
END_TEST

/* A server writes while a client deletes and inserts: the insert's life is hidden. Then the record
 * is deleted. */
static void lose_insert(void)
{
	node_insert(&nodes[0], 1, "{\"x\":1}");
	settle();
	blazei_replica_set_server(nodes[1].replica, true);
	node_update(&nodes[1], 1, "{\"x\":2}");
	node_delete(&nodes[0], 1);
	node_insert(&nodes[0], 1, "{\"lost\":1}");
	settle();
	node_expect(&nodes[2], 1, "{\"x\":2}");
	node_delete(&nodes[1], 1);
	settle();
}

START_TEST(lives_are_not_used_again_while_the_tombstone_stays)
{
	advance(1);
	lose_insert();
	advance(0);
	/* The floor is not known yet: only fields may go, and not those of the lost life. */
	ck_assert_int_eq(collect(0), 1);
	node_insert(&nodes[0], 1, "{\"x\":3}");
	settle();
	for (unsigned i = 0; i < NODES; i++)
		node_expect(&nodes[i], 1, "{\"x\":3}");
	expect_equal();
}
END_TEST

START_TEST(lives_are_not_used_again_after_a_lost_insert)
{
	advance(1);
	lose_insert();
	ck_assert_int_gt(advance(1), 0);
	node_insert(&nodes[0], 1, "{\"x\":3}");
	settle();
	for (unsigned i = 0; i < NODES; i++)
		node_expect(&nodes[i], 1, "{\"x\":3}");
	expect_equal();
}
END_TEST

START_TEST(memory_of_what_comes_and_goes_is_bounded)
{
	uint64_t after[2];

	advance(3);
	for (unsigned round = 0; round < 8; round++) {
		for (unsigned i = 0; i < 400; i++)
			node_insert(&nodes[i % 3], 1000 * round + i, "{\"x\":1,\"y\":\"text\"}");
		settle();
		for (unsigned i = 0; i < 400; i++)
			node_delete(&nodes[(i + 1) % 3], 1000 * round + i);
		settle();
		advance(3);
		if (round >= 6)
			after[round - 6] = memory(0);
	}
	ck_assert_uint_eq(after[0], after[1]);
	ck_assert_uint_lt(memory(0), memory(3) / 2);
	ck_assert_uint_eq(blazei_replica_count(nodes[0].replica), 0);
	expect_equal();
}
END_TEST

START_TEST(snapshot_carries_the_floor)
{
	struct node late;

	advance(1);
	for (unsigned i = 0; i < 3; i++) {
		node_insert(&nodes[1], 1, "{\"x\":1,\"old\":1}");
		node_delete(&nodes[1], 1);
	}
	settle();
	advance(1);
	node_open(&late, 9);
	late.now_ns = nodes[0].now_ns;
	nodes_catch_up(&late, &nodes[0]);
	node_insert(&late, 1, "{\"x\":2}");
	for (unsigned i = 0; i < NODES; i++) {
		node_give_all(&late, &nodes[i]);
		node_expect(&nodes[i], 1, "{\"x\":2}");
	}
	expect_equal();
	node_close(&late);
}
END_TEST

START_TEST(floor_outlives_renewal)
{
	struct blazei_origin self = nodes[0].origin;

	advance(1);
	for (unsigned i = 0; i < 3; i++) {
		node_insert(&nodes[1], 1, "{\"x\":1,\"old\":1}");
		node_delete(&nodes[1], 1);
	}
	settle();
	advance(1);
	self.incarnation = 4;
	ck_assert_int_eq(blazei_replica_renew(nodes[0].replica, nodes[0].now_ns, &self), 0);
	node_insert(&nodes[0], 1, "{\"x\":2}");
	settle();
	node_expect(&nodes[3], 1, "{\"x\":2}");
	expect_equal();
}
END_TEST

START_TEST(scan_goes_on_while_records_are_collected)
{
	struct blaze_id id;
	struct blaze_id from = id_of(0);
	unsigned visited = 0;

	advance(1);
	for (unsigned i = 0; i < 3000; i++)
		node_insert(&nodes[0], (i * 7919) % 3000, "{\"x\":1}");
	ck_assert_int_eq(blazei_replica_next_id(nodes[0].replica, NULL, &id), 0);
	for (unsigned i = 0; i < 3000; i++)
		if (i % 3 != 0)
			node_delete(&nodes[0], i);
	settle();
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < NODES - 1; i++)
			tick(i);
		settle();
		for (unsigned i = 0; i < NODES; i++)
			nodes[i].now_ns += STEP_NS;
	}
	while (blazei_replica_next_id(nodes[0].replica, &from, &id) == 0) {
		unsigned number = id.bytes[14] * 256u + id.bytes[15];

		ck_assert_uint_eq(number % 3, number >= 3000 ? number % 3 : 0);
		visited += number < 3000;
		blazei_replica_collect(nodes[0].replica, 5);
		if (visited % 50 == 0)
			node_insert(&nodes[0], 4000 + visited, "{\"x\":1}");
		from = id_of(number + 1);
	}
	ck_assert_uint_eq(visited, 1000);
	advance(3);
	expect_equal();
}
END_TEST

START_TEST(state_cursor_learns_that_ordinals_moved)
{
	/* Each call that drops something changes what sessions go by. */
	advance(1);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	node_delete(&nodes[0], 1);
	node_insert(&nodes[0], 2, "{\"x\":1}");
	settle();
	advance(1);
	ck_assert_int_eq(blazei_replica_count(nodes[0].replica), 1);
	node_insert(&nodes[0], 1, "{\"x\":5}");
	settle();
	node_expect(&nodes[3], 1, "{\"x\":5}");
	expect_equal();
}
END_TEST

/* Random ------------------------------------------------------------------------------------- */

static uint64_t random_state;

static unsigned random_below(unsigned n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned)(random_state >> 33) % n;
}

static void random_write(unsigned which)
{
	char json[64];
	unsigned number = random_below(6);

	sprintf(json, "{\"%c\":%u}", 'a' + (int)random_below(3), random_below(1000));
	switch (random_below(5)) {
	case 0:
		node_insert(&nodes[which], number, json);
		break;
	case 1:
		node_write(&nodes[which], BLAZEI_WRITE_UPSERT, number, json, NULL);
		break;
	case 2:
		node_update(&nodes[which], number, json);
		break;
	case 3:
		node_write(&nodes[which], BLAZEI_WRITE_UPDATE, number, "{}", "a");
		break;
	default:
		node_delete(&nodes[which], number);
	}
}

/* Hands over all that waits, or some of it. */
static void random_give(unsigned from, unsigned to)
{
	unsigned n = random_below(3) ? UINT32_MAX : random_below(4);

	for (; n > 0 && from != to && given[from][to] < nodes[from].count; n--)
		node_give(&nodes[from], &nodes[to], ++given[from][to]);
}

/* What was collected while all went on. */
static int64_t random_run(void)
{
	unsigned servers = random_below(3);
	int64_t dropped = 0;

	for (unsigned i = 0; i < servers; i++)
		blazei_replica_set_server(nodes[i].replica, true);
	/* All know of all members: who joins below a frontier unknown to it is not heard. */
	for (unsigned i = 0; i < NODES - 1; i++)
		tick(i);
	settle();
	for (unsigned step = 0; step < 3000; step++) {
		unsigned i = random_below(NODES);
		unsigned j = random_below(NODES);

		switch (random_below(10)) {
		case 0:
			random_write(i);
			break;
		case 1:
		case 2:
		case 3:
		case 4:
			random_give(i, j);
			break;
		case 5:
		case 6:
			if (i < NODES - 1)
				tick(i);
			break;
		case 7:
		case 8:
			/* The last one keeps everything, for comparison. */
			if (i < NODES - 1)
				dropped += blazei_replica_collect(nodes[i].replica, 8);
			break;
		default:
			for (unsigned k = 0; k < NODES; k++)
				nodes[k].now_ns += STEP_NS;
		}
	}
	settle();
	expect_equal();
	advance(3);
	expect_equal();
	return dropped;
}

START_TEST(random_collection_never_shows)
{
	const char *text = getenv("BLAZE_TEST_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL) * 1000;
	int64_t dropped = 0;

	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	for (unsigned round = 0; round < 30; round++) {
		if (round > 0) {
			tear_down();
			set_up();
		}
		random_state = seed + round;
		dropped += random_run();
	}
	ck_assert_int_gt(dropped, 300);
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&nothing_goes_without_members,
		&tombstones_go_below_the_frontier_and_not_before,
		&nothing_goes_while_a_checkpoint_is_written,
		&fields_of_earlier_lives_go_and_the_present_ones_stay,
		&record_without_fields_stays_and_its_tombstone_goes,
		&late_duplicates_bring_nothing_back,
		&record_made_anew_beats_a_tombstone_that_others_keep,
		&record_made_anew_elsewhere_is_no_conflict_where_it_was_collected,
		&lives_are_not_used_again_while_the_tombstone_stays,
		&lives_are_not_used_again_after_a_lost_insert,
		&memory_of_what_comes_and_goes_is_bounded,
		&snapshot_carries_the_floor,
		&floor_outlives_renewal,
		&scan_goes_on_while_records_are_collected,
		&state_cursor_learns_that_ordinals_moved,
		&random_collection_never_shows,
	};
	Suite *suite = suite_create("collect");
	TCase *tcase = tcase_create("collect");

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
