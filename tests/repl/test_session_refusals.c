/* SPDX-License-Identifier: Apache-2.0 */
/* Catch-up sessions that end otherwise: refused for each reason, by messages that are damaged,
 * lost, doubled or out of order, by an answerer that lies. The replicas are unharmed, a session
 * that follows succeeds. The seed is printed; BLAZE_TEST_SEED sets it. */
#include <time.h>

#include "lib/repl/stage.h"
#include "tests/repl/session_pair.h"

#define FUZZ_ROUNDS 3000u

static uint64_t random_state;

static unsigned random_below(unsigned n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned)(random_state >> 33) % n;
}

static void random_seed(void)
{
	const char *text = getenv("BLAZE_TEST_SEED");

	random_state = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
	printf("seed %llu\n", (unsigned long long)random_state);
}

static void writes(struct node *node, unsigned first, unsigned count)
{
	char json[64];

	for (unsigned i = first; i < first + count; i++) {
		snprintf(json, sizeof(json), "{\"n\":%u,\"s\":\"text\"}", node->count);
		ck_assert_int_eq(node_write(node, BLAZEI_WRITE_UPSERT, i, json, NULL), 0);
	}
}

static void write_long(struct node *node, unsigned number, size_t len)
{
	uint8_t *value = calloc(1, len);
	struct blaze_id id = id_of(number);
	struct blazei_txn_view txn;

	ck_assert_int_eq(node_put(node, &id, value, len, &txn), 0);
	node_keep(node, txn.data, txn.len);
	free(value);
}

/* Refusals ------------------------------------------------------------------------------------*/

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
	writes(&b, 0, 1);
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

static void reseal(struct blazei_session_header *header)
{
	header->hash = blazei_session_hash(header);
}

static enum pair_fate other_database(struct pair *pair, unsigned at, bool from_answerer, void *data,
                                     size_t *len)
{
	struct blazei_session_hello *hello = data;

	(void)pair;
	(void)len;
	if (at == 0 && from_answerer) {
		hello->txn_format += 7;
		reseal(&hello->header);
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
		reseal(header);
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
	writes(&b, 0, 1);
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
	uint64_t buf[BLAZEI_SESSION_MESSAGE_MIN / 8];
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
	writes(&c, 0, 2);
	writes(&twin, 5, _i == 0 ? 2 : 4);
	writes(&b, 10, 5);
	node_give_all(&c, &a);
	node_give_all(&twin, &b);
	pair_open(&pair, &a, &b);
	pair_run(&pair);
	expect_refused(&pair, BLAZEI_SESSION_FORK);
	ck_assert_mem_eq(&pair.asked.forked, &c.origin, sizeof(c.origin));
	ck_assert_uint_eq(pair.asked.forked_seq, 2);
	ck_assert_uint_eq(node_stats(&a).quarantined + node_stats(&b).quarantined, 1);
	node_expect(&a, 0, "{\"n\":0,\"s\":\"text\"}");
	pair_catch_up(&pair);
	ck_assert_uint_eq(blazei_replica_vector_seq(a.replica, &b.origin), 5);
	node_expect(&a, 10, "{\"n\":0,\"s\":\"text\"}");
	node_expect(&a, 5, NULL);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
	node_close(&c);
	node_close(&twin);
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
	writes(&a, 0, 1);
	writes(&twin, 1, 2);
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

/* Damage --------------------------------------------------------------------------------------*/

/* Nodes of which b has what a lacks: by history (0), by a snapshot with chunks in parts and
 * transactions behind them (1). */
static void nodes_fill(struct node *a, struct node *b, bool snapshot)
{
	node_open_history(a, 1, 1u << 20);
	node_open_history(b, 2, snapshot ? 8192 : 1u << 20);
	writes(a, 90, 3);
	writes(b, 0, 60);
	write_long(b, 70, snapshot ? 300000 : 20000);
	writes(b, 0, 5);
}

struct damage {
	unsigned at; /* the message */
	unsigned kind;
	unsigned place;
	bool done;
	size_t held_len; /* of one that waits for the next */
	uint64_t held[BLAZEI_SESSION_MESSAGE_MAX / 8];
};

enum {
	DAMAGE_FLIP,
	DAMAGE_TRUNCATE,
	DAMAGE_GROW,
	DAMAGE_DROP,
	DAMAGE_TWICE,
	DAMAGE_SWAP,
	DAMAGE_KINDS,
};

static enum pair_fate damage_do(struct pair *pair, unsigned at, bool from_answerer, void *data,
                                size_t *len)
{
	struct damage *damage = pair->arg;
	uint8_t *bytes = data;

	(void)from_answerer;
	if (from_answerer && pair->kinds[BLAZEI_KIND_CHUNK] == 1)
		writes(pair->answerer, 30, 1);
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

	nodes_fill(&a, &b, snapshot);
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
	static struct damage damage;

	random_seed();
	for (damage.kind = 0; damage.kind < DAMAGE_SWAP; damage.kind++)
		for (damage.at = 0;; damage.at++) {
			damage.place = random_below(1u << 20);
			if (!damage_once(&damage, _i))
				break;
		}
}
END_TEST

/* Every bit of the two hellos, of a snapshot's begin and of the end. */
START_TEST(damaged_bit_is_noticed_wherever_it_is)
{
	static struct damage damage = { .kind = DAMAGE_FLIP };

	for (damage.at = 0; damage.at < 3; damage.at++)
		for (damage.place = 0; damage.place < 8 * 160; damage.place += 3)
			damage_once(&damage, true);
}
END_TEST

/* Lies: the sum is right, the content is not ---------------------------------------------------*/

/* Changes 1 to 4 places of a message behind its header and seals it again. */
static enum pair_fate lie(struct pair *pair, unsigned at, bool from_answerer, void *data,
                          size_t *len)
{
	static const uint64_t numbers[] = { 0,    1,          2,         255,       65535,
		                            4096, UINT32_MAX, INT32_MAX, UINT64_MAX };
	struct damage *damage = pair->arg;
	struct blazei_session_header *header = data;
	uint8_t *bytes = data;
	unsigned places = 1 + random_below(4);

	(void)from_answerer;
	if (at != damage->at)
		return PAIR_DELIVER;
	damage->done = true;
	for (unsigned i = 0; i < places; i++) {
		unsigned size = 1u << random_below(4);
		size_t place = random_below((unsigned)*len) & ~(size_t)(size - 1);

		/* Mostly where the fields are. */
		if (random_below(4) != 0)
			place %= 160;
		if (place + size > *len)
			continue;
		if (random_below(3) == 0)
			memcpy(bytes + place, &numbers[random_below(9)], size);
		else
			bytes[place] ^= (uint8_t)(1u << random_below(8));
	}
	header->bytes = (uint32_t)*len;
	header->magic = BLAZEI_SESSION_MAGIC;
	reseal(header);
	return PAIR_DELIVER;
}

/* Whatever a liar says, the replica stays one that reads, writes, hashes and holds no more than its
 * vector tells (pair_deliver checks that); and an honest session with a third node succeeds. */
START_TEST(lying_messages_break_nothing)
{
	static struct damage damage;

	random_seed();
	for (unsigned round = 0; round < FUZZ_ROUNDS; round++) {
		struct pair pair;
		struct node a;
		struct node b;
		struct node c;
		uint8_t digest[16];

		nodes_fill(&a, &b, round % 2);
		node_open_history(&c, 3, 0);
		writes(&c, 200, 2);
		damage.at = random_below(round % 2 ? 9 : 5);
		pair_open(&pair, &a, &b);
		pair.hook = lie;
		pair.arg = &damage;
		pair_run(&pair);
		ck_assert_int_eq(blazei_replica_hash_stamps(a.replica, digest), 0);
		writes(&a, 95, 1);
		pair.hook = NULL;
		pair.answerer = &c;
		pair_run(&pair);
		ck_assert(pair.asked.state == BLAZEI_SESSION_LIVE || damage.done);
		pair_close(&pair);
		node_close(&a);
		node_close(&b);
		node_close(&c);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session_refusals");
	TCase *tcase = tcase_create("session_refusals");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, refused_for_another_policy);
	tcase_add_test(tcase, refused_for_the_own_identity);
	tcase_add_loop_test(tcase, refused_for_another_format, 0, 2);
	tcase_add_loop_test(tcase, refused_for_what_the_caller_says, 0, 2);
	tcase_add_loop_test(tcase, refused_for_a_fork_and_goes_on_without_it, 0, 2);
	tcase_add_test(tcase, refused_where_the_asker_is_in_quarantine);
	tcase_add_loop_test(tcase, damaged_message_ends_the_session_and_nothing_else, 0, 2);
	tcase_add_test(tcase, damaged_bit_is_noticed_wherever_it_is);
	tcase_add_test(tcase, lying_messages_break_nothing);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
