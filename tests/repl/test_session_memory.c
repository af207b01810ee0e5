/* SPDX-License-Identifier: Apache-2.0 */
/* Catch-up sessions where an allocation fails, each one in turn: what was merged is in the vector,
 * an installation that fails changes nothing and may be repeated, and a session that follows brings
 * the rest. malloc and its kin are wrapped by the linker. */
#include "tests/repl/frontier.h"
#include "tests/repl/session_pair.h"
#include "tests/repl/starve.h"

static uint64_t message[BLAZEI_SESSION_MESSAGE_MAX / 8];

/* Moves a message; what fails for lack of memory on the way out is tried once more. */
static int64_t move(struct blazei_session *from, struct blazei_session *to)
{
	int64_t n;

	armed = true;
	n = blazei_session_give(from, NOW, message, sizeof(message));
	if (n == -ENOMEM)
		n = blazei_session_give(from, NOW, message, sizeof(message));
	if (n > 0)
		blazei_session_take(to, NOW, message, (size_t)n);
	armed = false;
	return n;
}

static bool message_is(unsigned kind)
{
	return ((const struct blazei_session_header *)message)->kind == kind;
}

/* Installs what is staged; where that fails, the asker is as it was, seen and unseen. */
static void install(struct blazei_session *ask, struct node *asker)
{
	uint8_t before[2][16];
	uint8_t after[2][16];
	int rc;

	ck_assert_int_eq(blazei_replica_hash(asker->replica, before[0]), 0);
	ck_assert_int_eq(blazei_replica_hash_stamps(asker->replica, before[1]), 0);
	armed = true;
	rc = blazei_session_install(ask, NOW);
	armed = false;
	if (rc == 0)
		return;
	ck_assert_int_eq(rc, -ENOMEM);
	ck_assert_int_eq(blazei_replica_hash(asker->replica, after[0]), 0);
	ck_assert_int_eq(blazei_replica_hash_stamps(asker->replica, after[1]), 0);
	ck_assert_mem_eq(before[0], after[0], 16);
	ck_assert_mem_eq(before[1], after[1], 16);
}

static void write_long(struct node *node, unsigned number)
{
	static const char value[300000];
	struct blaze_id id = id_of(number);
	struct blazei_txn_view txn;

	node->now_ns++;
	ck_assert_int_eq(node_put(node, &id, value, sizeof(value), &txn), 0);
	node_keep(node, txn.data, txn.len);
}

/* Many names that nobody had. */
static void write_wide(struct node *node)
{
	struct blaze_id id = id_of(299);
	struct blaze_record *record;
	struct blazei_txn_view txn;
	char name[16];

	ck_assert_int_eq(blaze_record_new(&record), 0);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "h%u", i);
		ck_assert_int_eq(blaze_record_set_int(record, name, node->count), 0);
	}
	node->now_ns++;
	ck_assert_int_eq(blazei_replica_write(node->replica, node->now_ns,
	                                      &(struct blazei_write){ .kind = BLAZEI_WRITE_UPSERT,
	                                                              .id = &id,
	                                                              .record = record },
	                                      &txn),
	                 0);
	node_keep(node, txn.data, txn.len);
	blaze_record_free(record);
}

/* Writes in the midst of a snapshot, which follow its chunks as transactions: records that grow,
 * new ones, new names, more than once. */
static void meddle(struct node *node, unsigned rounds)
{
	char json[2048];

	for (unsigned i = 0; i < (rounds > 1 ? 6 : 60); i++) {
		snprintf(json, sizeof(json), "{\"f%u\":\"%0*u\",\"g%u\":%u}", i % 40, (int)i * 30,
		         i, i, rounds);
		node_write(node, BLAZEI_WRITE_UPSERT, i % 50, json, NULL);
	}
	node_delete(node, 3);
	if (rounds == 1)
		write_wide(node);
	/* In chunks before others, or behind them as a new row. */
	write_long(node, rounds > 1 ? 250 : 300);
}

/* A session whose allocation number `at` fails. Its status at the asker's. */
static struct blazei_session_status session_starve(struct node *asker, struct node *answerer,
                                                   struct blazei_stage *stage, unsigned at,
                                                   unsigned meddling)
{
	struct blazei_session_options options = {
		.replica = asker->replica,
		.side = BLAZEI_SESSION_ASKER,
		.stage = stage,
	};
	struct blazei_session_status status;
	struct blazei_session *ask;
	struct blazei_session *answer;
	bool began = false; /* a pass, in which nothing was written yet */
	int64_t moved;

	ck_assert_int_eq(blazei_session_new(&options, &ask), 0);
	options.replica = answerer->replica;
	options.side = BLAZEI_SESSION_ANSWERER;
	ck_assert_int_eq(blazei_session_new(&options, &answer), 0);
	allocation_failed = false;
	allocations_left = at;
	do {
		moved = move(ask, answer);
		moved += move(answer, ask);
		began = began || message_is(BLAZEI_KIND_SNAPSHOT);
		if (meddling > 0 && began && message_is(BLAZEI_KIND_CHUNK)) {
			meddle(answerer, meddling--);
			began = false;
		}
	} while (moved > 0);
	blazei_session_status(ask, &status);
	for (unsigned i = 0; i < 2 && status.state == BLAZEI_SESSION_STAGED; i++) {
		install(ask, asker);
		blazei_session_status(ask, &status);
	}
	allocations_left = NEVER;
	blazei_session_free(ask);
	blazei_session_free(answer);
	return status;
}

static void fill(struct node *node, unsigned first)
{
	char json[64];

	for (unsigned i = 0; i < 40; i++) {
		snprintf(json, sizeof(json), "{\"f%u\":%u}", i, first);
		node_write(node, BLAZEI_WRITE_UPSERT, first + i, json, NULL);
	}
	write_long(node, first + 50);
}

/* No more origins have room. */
static void origins_fill(struct node *node)
{
	struct blazei_vector *vector = &node->replica->vector;
	struct blazei_origin other = { .incarnation = 1 };

	for (unsigned i = 0; vector->count < vector->max; i++) {
		other.node.bytes[0] = 100;
		other.node.bytes[1] = (uint8_t)i;
		ck_assert_int_gt(blazei_vector_intern(vector, &other), 0);
	}
}

/* By history (0), by snapshot (1), by one with transactions behind it (2), and by passes that
 * are each overrun, so that the last one is encoded in one moment (3). */
START_TEST(session_without_memory_harms_nothing)
{
	static const uint64_t histories[] = { 1u << 20, 0, 1u << 20, 4096 };
	static const unsigned meddlings[] = { 0, 0, 1, 4 };
	unsigned at = 0;

	do {
		struct blazei_session_status status;
		struct blazei_stage *stage;
		struct node a;
		struct node b;
		struct node c;

		ck_assert_int_eq(blazei_stage_new(UINT64_C(1) << 30, &stage), 0);
		node_open_history(&a, 1, 1u << 20);
		node_open_history(&b, 2, histories[_i]);
		node_open_history(&c, 3, 0);
		fill(&c, 200);
		node_give_all(&c, &b);
		fill(&b, 0);
		if (_i == 2)
			blazei_history_clear(&b.replica->history);
		fill(&a, 20);
		origins_fill(&a);
		status = session_starve(&a, &b, stage, at, meddlings[_i]);
		ck_assert(allocation_failed || status.state == BLAZEI_SESSION_LIVE);
		node_expect_exact(&a);
		if (!allocation_failed) {
			ck_assert_int_eq(status.chunks > 0, _i > 0);
			ck_assert_int_eq(status.txns > 60, _i == 0 || _i == 2);
			ck_assert_int_eq(status.passes == 4, _i == 3);
		}
		if (status.state != BLAZEI_SESSION_LIVE) {
			if (_i)
				ck_assert_uint_eq(blazei_replica_count(a.replica), 41);
			status = session_starve(&a, &b, stage, NEVER, 0);
			ck_assert_int_eq(status.state, BLAZEI_SESSION_LIVE);
			allocation_failed = true;
		}
		/* What was written since the last pass. */
		node_give_all(&b, &a);
		node_expect_exact(&a);
		node_give_all(&a, &b);
		nodes_expect_equal(&a, &b);
		blazei_stage_free(stage);
		node_close(&a);
		node_close(&b);
		node_close(&c);
		at++;
	} while (allocation_failed);
	ck_assert_uint_ge(at, 10);
}
END_TEST

/* Nothing of it is kept, and it may come again. */
START_TEST(transaction_of_a_new_origin_without_memory_comes_later)
{
	struct node a;
	struct node b;
	unsigned at = 0;
	bool failed;
	int rc;

	node_open(&a, 1);
	node_open(&b, 2);
	fill(&b, 0);
	origins_fill(&a);
	do {
		starve(at++);
		rc = node_take(&a, b.log[0].data, b.log[0].len);
		failed = starve_end();
		ck_assert_int_eq(rc, failed ? -ENOMEM : 1);
	} while (rc != 1);
	ck_assert_uint_ge(at, 5);
	node_give_all(&b, &a);
	nodes_expect_equal(&a, &b);
	node_close(&a);
	node_close(&b);
}
END_TEST

/* A member reported between the asker's hello and the answerer's. */
START_TEST(hello_that_finds_no_memory_ends_the_session)
{
	struct blazei_session_options options = { .side = BLAZEI_SESSION_ASKER };
	struct blazei_session_status status;
	struct blazei_session *ask;
	struct blazei_session *answer;
	struct node a;
	struct node b;

	node_open(&a, 1);
	node_open(&b, 2);
	ck_assert_int_eq(node_tick(&a), 1);
	node_insert(&b, 1, "{\"x\":1}");
	node_insert(&b, 2, "{\"x\":1}");
	frontier_make(&b);
	ck_assert_int_eq(blazei_stage_new(UINT64_C(1) << 30, &options.stage), 0);
	options.replica = a.replica;
	ck_assert_int_eq(blazei_session_new(&options, &ask), 0);
	options.replica = b.replica;
	options.side = BLAZEI_SESSION_ANSWERER;
	ck_assert_int_eq(blazei_session_new(&options, &answer), 0);
	ck_assert_int_gt(move(ask, answer), 0);
	node_give_all(&b, &a);
	ck_assert(a.replica->members.stale);
	ck_assert_int_gt(blazei_session_give(answer, NOW, message, sizeof(message)), 0);
	starve(0);
	blazei_session_take(ask, NOW, message, ((struct blazei_session_header *)message)->bytes);
	ck_assert(starve_end());
	blazei_session_status(ask, &status);
	ck_assert_int_eq(status.state, BLAZEI_SESSION_FAILED);
	ck_assert_int_eq(status.error, -ENOMEM);
	blazei_session_free(ask);
	blazei_session_free(answer);
	blazei_stage_free(options.stage);
	nodes_catch_up(&a, &b);
	node_close(&a);
	node_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session_memory");
	TCase *tcase = tcase_create("session_memory");

	tcase_set_timeout(tcase, 300);
	tcase_add_loop_test(tcase, session_without_memory_harms_nothing, 0, 4);
	tcase_add_test(tcase, hello_that_finds_no_memory_ends_the_session);
	tcase_add_test(tcase, transaction_of_a_new_origin_without_memory_comes_later);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
