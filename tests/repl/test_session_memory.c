/* SPDX-License-Identifier: Apache-2.0 */
/* Catch-up sessions where an allocation fails, each one in turn: what was merged is in the vector,
 * an installation that fails changes nothing and may be repeated, and a session that follows brings
 * the rest. malloc and its kin are wrapped by the linker. */
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

/* Writes in the midst of a snapshot, which follow its chunks as transactions: records that grow,
 * new ones, new names, more than once. */
static void meddle(struct node *node, unsigned round, unsigned count)
{
	char json[2048];

	for (unsigned i = 0; i < count; i++) {
		snprintf(json, sizeof(json), "{\"f%u\":\"%0*u\",\"g%u\":%u}", i % 40, (int)i * 30,
		         i, i, round);
		node_write(node, BLAZEI_WRITE_UPSERT, i % 50, json, NULL);
	}
	node_delete(node, 3);
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
	const bool few = meddling > 1;
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
		if (meddling > 0 && message_is(BLAZEI_KIND_CHUNK))
			meddle(answerer, meddling--, few ? 12 : 60);
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
	static const char value[300000];
	struct blaze_id id = id_of(first + 50);
	struct blazei_txn_view txn;
	char json[64];

	for (unsigned i = 0; i < 40; i++) {
		snprintf(json, sizeof(json), "{\"f%u\":%u}", i, first);
		node_write(node, BLAZEI_WRITE_UPSERT, first + i, json, NULL);
	}
	ck_assert_int_eq(node_put(node, &id, value, sizeof(value), &txn), 0);
	node_keep(node, txn.data, txn.len);
}

/* By history (0), by snapshot (1), by a snapshot with transactions behind it (2), and by passes that
 * are each overrun, so that the last one is encoded in one moment (3). */
START_TEST(session_without_memory_harms_nothing)
{
	static const uint64_t histories[] = { 1u << 20, 0, 1u << 18, 4096 };
	static const unsigned meddlings[] = { 0, 0, 1, 20 };
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
		fill(&a, 20);
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

int main(void)
{
	Suite *suite = suite_create("session_memory");
	TCase *tcase = tcase_create("session_memory");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, session_without_memory_harms_nothing, 0, 4);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
