/* SPDX-License-Identifier: Apache-2.0 */
/* Catch-up sessions over a medium that damages, loses or doubles messages: they end, the replicas
 * are unharmed, a session that follows succeeds. The seed is printed; BLAZE_TEST_SEED sets it. */
#include "tests/repl/random.h"
#include "tests/repl/session_pair.h"

struct damage {
	unsigned at; /* the message */
	unsigned kind;
	unsigned place;
	bool done;
};

enum {
	DAMAGE_FLIP,
	DAMAGE_TRUNCATE,
	DAMAGE_GROW,
	DAMAGE_DROP,
	DAMAGE_TWICE,
	DAMAGE_KINDS,
};

static enum pair_fate damage_do(struct pair *pair, unsigned at, bool from_answerer, void *data,
                                size_t *len)
{
	struct damage *damage = pair->arg;
	uint8_t *bytes = data;

	(void)from_answerer;
	if (from_answerer && pair->kinds[BLAZEI_KIND_CHUNK] == 1)
		node_writes(pair->answerer, 30, 1);
	if (at != damage->at)
		return PAIR_DELIVER;
	damage->done = true;
	switch (damage->kind) {
	case DAMAGE_FLIP:
		bytes[damage->place / 8 % *len] ^= (uint8_t)(1u << damage->place % 8);
		return PAIR_DELIVER;
	case DAMAGE_TRUNCATE:
		*len = damage->place % *len;
		return PAIR_DELIVER;
	case DAMAGE_GROW:
		if (*len + 8 > BLAZEI_SESSION_MESSAGE_MAX)
			*len -= 16;
		*len += 8;
		return PAIR_DELIVER;
	case DAMAGE_TWICE:
		return PAIR_TWICE;
	default:
		return PAIR_DROP;
	}
}

/* One session with one damage: it does not succeed, the asker is unharmed, and the next one
 * succeeds. Whether there was such a message. */
static bool damage_once(struct damage *damage, bool snapshot)
{
	struct pair pair;
	struct node a;
	struct node b;

	pair_fill(&a, &b, snapshot);
	damage->done = false;
	pair_open(&pair, &a, &b);
	pair.hook = damage_do;
	pair.arg = damage;
	pair_run(&pair);
	if (damage->done && damage->kind != DAMAGE_DROP) {
		bool asker_hit = pair.asked.error != 0;

		ck_assert(asker_hit || pair.answered.error != 0 ||
		          pair.asked.state == BLAZEI_SESSION_LIVE);
		if (damage->kind != DAMAGE_TWICE)
			ck_assert_int_ne(pair.asked.state, BLAZEI_SESSION_LIVE);
	}
	if (damage->done && damage->kind == DAMAGE_DROP)
		ck_assert_int_ne(pair.asked.state, BLAZEI_SESSION_LIVE);
	if (snapshot && pair.asked.state != BLAZEI_SESSION_LIVE)
		ck_assert_uint_eq(blazei_replica_count(a.replica), 3);
	ck_assert_uint_eq(node_stats(&a).quarantined, 0);
	pair.hook = NULL;
	pair_catch_up(&pair);
	node_give_all(&a, &b);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
	return damage->done;
}

START_TEST(damaged_message_ends_the_session_and_nothing_else)
{
	struct damage damage = { .at = 0 };

	random_seed();
	for (damage.kind = 0; damage.kind < DAMAGE_KINDS; damage.kind++)
		for (damage.at = 0;; damage.at++) {
			damage.place = random_below(1u << 20);
			if (!damage_once(&damage, _i))
				break;
		}
}
END_TEST

/* Looks at each bit of the first 512 bytes, more than any fixed part. */
static enum pair_fate flip_all(struct pair *pair, unsigned at, bool from_answerer, void *data,
                               size_t *len)
{
	const size_t bytes = *len < 512 ? *len : 512;
	uint8_t *message = data;

	(void)pair;
	(void)at;
	(void)from_answerer;
	for (size_t bit = 0; bit < 8 * bytes; bit++) {
		message[bit / 8] ^= (uint8_t)(1u << bit % 8);
		ck_assert_int_lt(blazei_session_check(message, *len), 0);
		message[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	return PAIR_DELIVER;
}

START_TEST(damaged_bit_is_noticed_wherever_it_is)
{
	struct pair pair;
	struct node a;
	struct node b;

	pair_fill(&a, &b, _i);
	pair_open(&pair, &a, &b);
	pair.hook = flip_all;
	pair.cap = BLAZEI_SESSION_MESSAGE_MIN;
	pair_catch_up(&pair);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session_damage");
	TCase *tcase = tcase_create("session_damage");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, damaged_message_ends_the_session_and_nothing_else, 0, 2);
	tcase_add_loop_test(tcase, damaged_bit_is_noticed_wherever_it_is, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
