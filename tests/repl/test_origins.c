/* SPDX-License-Identifier: Apache-2.0 */
/* The places of origins run out: what others write, and snapshots, leave some for openings to come,
 * and who only looks always finds one (vector.c, I2). */
#include "lib/repl/checkpoint.h"
#include "tests/repl/events.h"
#include "tests/repl/log_tape.h"
#include "tests/repl/session_pair.h"

#define LIMIT    32u
#define RESERVE  (LIMIT / BLAZEI_RESERVE_PART)
#define STRANGER 200u

static struct tape tape;
static struct node a; /* has the log */
static struct node b;

static struct blazei_replica_options options_of(uint64_t incarnation)
{
	return (struct blazei_replica_options){
		.self = { .node = { { 1 } }, .incarnation = incarnation },
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
		.origins_max = LIMIT,
	};
}

static void set_up(void)
{
	const struct blazei_log_sink sink = { .arg = &tape, .append = tape_append };

	node_open_with(&a, 1, options_of(0));
	blazei_replica_set_log(a.replica, &sink);
	node_open(&b, 2);
}

static void tear_down(void)
{
	node_close(&a);
	node_close(&b);
	tape_clear(&tape);
}

/* As many as are given each write once, and tell it. */
static void strangers_write(struct node *to, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct node stranger;

		node_open(&stranger, STRANGER);
		stranger.origin.incarnation = 10000 + i;
		ck_assert_int_eq(blazei_replica_renew(stranger.replica, NOW, &stranger.origin), 0);
		ck_assert_int_eq(node_insert(&stranger, 100 + i, "{\"x\":1}"), 0);
		ck_assert_int_ge(node_give(&stranger, to, 1), 0);
		node_close(&stranger);
	}
}

/* The next opening, which writes. */
static int next_opens(uint64_t incarnation)
{
	const struct blazei_log_sink sink = { .arg = &tape, .append = tape_append };
	const struct blazei_replica_options options = options_of(incarnation);
	struct blazei_replay replay;
	struct node back = { .now_ns = NOW };
	int rc = tape_replay(&tape, 0, tape.count, &options, &replay);

	if (rc == 0) {
		back.replica = replay.replica;
		blazei_replica_set_log(back.replica, &sink);
		ck_assert_int_eq(node_insert(&back, (unsigned)incarnation, "{\"x\":2}"), 0);
		strangers_write(&back, LIMIT);
		ck_assert_uint_ge(back.replica->vector.limit, back.replica->vector.count);
		replay.replica = NULL;
		node_close(&back);
	}
	tape_free(&replay);
	return rc;
}

/* Who only looks finds all that the log has, and a place. */
static void look(unsigned origins)
{
	struct blazei_replica_options options = options_of(9999);
	struct blazei_replay replay;

	options.looks = true;
	ck_assert_int_eq(tape_replay(&tape, 0, tape.count, &options, &replay), 0);
	ck_assert_uint_eq(replay.replica->vector.count, origins + 1);
	tape_free(&replay);
}

START_TEST(what_others_write_leaves_places_for_openings)
{
	struct events events;

	events_listen(&events, &a);
	strangers_write(&a, LIMIT + 8);
	ck_assert_uint_eq(node_stats(&a).origins, LIMIT - RESERVE);
	ck_assert_uint_eq(node_stats(&a).refused, LIMIT + 8 - (LIMIT - RESERVE - 1));
	ck_assert_uint_eq(events_count(&events, BLAZEI_EFFECT_ORIGINS_FULL), 1);
	/* Who is known goes on. */
	ck_assert_int_eq(node_insert(&a, 1, "{\"x\":1}"), 0);
	for (unsigned i = 0; i < RESERVE; i++) {
		look(LIMIT - RESERVE + i);
		ck_assert_int_eq(next_opens(2000 + i), 0);
	}
	/* With all of them taken it is still to be read. */
	ck_assert_int_eq(next_opens(3000), -E2BIG);
	look(LIMIT);
}
END_TEST

/* The same of a log that is a checkpoint. */
START_TEST(checkpoint_of_all_places_is_read)
{
	const struct blazei_log_sink sink = { .arg = &tape, .append = tape_append };
	struct blazei_checkpoint checkpoint;

	a.replica->vector.reserve = 0;
	strangers_write(&a, LIMIT);
	ck_assert_uint_eq(node_stats(&a).origins, LIMIT);
	ck_assert_int_eq(node_insert(&a, 1, "{\"x\":1}"), 0);
	tape_clear(&tape);
	blazei_replica_set_log(a.replica, &sink);
	ck_assert_int_eq(blazei_checkpoint_begin(&checkpoint, a.replica), 0);
	while (blazei_checkpoint_step(&checkpoint) > 0)
		;
	look(LIMIT);
	ck_assert_int_eq(next_opens(3000), -E2BIG);
}
END_TEST

/* The whole 4,096, and one more: arrays have that place. */
START_TEST(who_looks_has_one_more_than_there_may_be)
{
	struct blazei_replica_options options = options_of(9999);
	struct blazei_origin origin = { .node = { { STRANGER } } };
	struct blazei_replica *replica;

	options.origins_max = 0;
	options.looks = true;
	ck_assert_int_eq(blazei_replica_new(&options, &replica), 0);
	for (unsigned i = 1; i <= BLAZEI_ORIGINS_MAX; i++) {
		origin.incarnation = i;
		ck_assert_int_eq(blazei_vector_intern(&replica->vector, &origin), (int)i);
	}
	origin.incarnation = BLAZEI_ORIGINS_MAX + 1;
	ck_assert_int_eq(blazei_vector_intern(&replica->vector, &origin), -E2BIG);
	ck_assert_uint_eq(sizeof(replica->map) / sizeof(*replica->map), replica->vector.count);
	blazei_replica_free(replica);
}
END_TEST

/* A snapshot takes half of what is kept, and no more than that. */
START_TEST(snapshot_leaves_half_of_the_places)
{
	struct events events;
	struct pair pair;

	events_listen(&events, &a);
	strangers_write(&a, LIMIT);
	for (unsigned i = 0; i < 2; i++) {
		node_insert(&b, 20 + i, "{\"x\":1}");
		pair_open(&pair, &a, &b);
		pair.whole = true;
		pair_run(&pair);
		if (i == 0) {
			ck_assert_int_eq(pair.asked.state, BLAZEI_SESSION_LIVE);
			node_expect(&a, 20, "{\"x\":1}");
		} else {
			ck_assert_int_eq(pair.asked.state, BLAZEI_SESSION_FAILED);
			ck_assert_int_eq(pair.asked.error, -E2BIG);
			node_expect(&a, 21, NULL);
		}
		ck_assert_uint_eq(node_stats(&a).origins, LIMIT - RESERVE / 2);
		pair_close(&pair);
		b.origin.incarnation++;
		ck_assert_int_eq(blazei_replica_renew(b.replica, NOW, &b.origin), 0);
	}
	ck_assert_uint_eq(events_count(&events, BLAZEI_EFFECT_ORIGINS_FULL), 1);
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&what_others_write_leaves_places_for_openings,
		&checkpoint_of_all_places_is_read,
		&who_looks_has_one_more_than_there_may_be,
		&snapshot_leaves_half_of_the_places,
	};
	Suite *suite = suite_create("origins");
	TCase *tcase = tcase_create("origins");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tcase, *tests[i]);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
