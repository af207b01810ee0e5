/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions by random histories. Alone, a transaction reads and refuses as the same single calls
 * do, and ends with the same contents. Among others, replicas that got the same transactions in
 * whatever order, each whole, end with the same bytes. BLAZE_TEST_SEED sets the seed. */
#include <time.h>

#include "tests/repl/writeset_help.h"

#define RECORDS 5u
#define NODES   3u
#define OPEN    2u /* transactions of a node that are under way at once */

static uint64_t random_state;

static unsigned random_below(unsigned n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned)(random_state >> 33) % n;
}

static void random_seed(unsigned round)
{
	const char *text = getenv("BLAZE_TEST_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);

	printf("seed %llu round %u\n", (unsigned long long)seed, round);
	random_state = seed * 1000003 + round;
	for (unsigned i = 0; i < 8; i++)
		random_below(2);
}

/* A write that was drawn. */
struct drawn {
	enum blazei_write_kind kind;
	unsigned number;
	const char *unset;
	char json[128];
};

static void draw(struct drawn *drawn)
{
	static const char *const names[] = { "a", "bb", "c" };
	size_t len = 0;

	*drawn = (struct drawn){
		.kind = random_below(5),
		.number = random_below(RECORDS),
	};
	len += (size_t)sprintf(drawn->json, "{");
	for (unsigned i = 0; i < 3; i++)
		if (random_below(3) == 0)
			len += (size_t)sprintf(drawn->json + len, "%s\"%s\":%u", len > 1 ? "," : "",
			                       names[i], random_below(3));
	sprintf(drawn->json + len, "}");
	if (drawn->kind == BLAZEI_WRITE_UPDATE && random_below(4) == 0)
		drawn->unset = names[random_below(3)];
}

static int drawn_stage(struct txn *txn, const struct drawn *drawn)
{
	if (drawn->kind == BLAZEI_WRITE_PUT)
		return txn_put(txn, drawn->number, drawn->json, strlen(drawn->json));
	return txn_write(txn, drawn->kind, drawn->number,
	                 drawn->kind == BLAZEI_WRITE_DELETE ? NULL : drawn->json, drawn->unset);
}

static int drawn_write(struct node *node, const struct drawn *drawn)
{
	struct blaze_id id = id_of(drawn->number);
	struct blazei_txn_view view;
	int rc;

	if (drawn->kind == BLAZEI_WRITE_PUT) {
		rc = node_put(node, &id, drawn->json, strlen(drawn->json), &view);
		if (rc == 0)
			node_keep(node, view.data, view.len);
		return rc;
	}
	rc = node_write(node, drawn->kind, drawn->number,
	                drawn->kind == BLAZEI_WRITE_DELETE ? NULL : drawn->json, drawn->unset);
	return rc < 0 ? rc : 0;
}

/* One transaction beside the same writes one by one on a replica that held the same. */
static void beside_single_calls(bool server)
{
	struct node node;
	struct node single;

	node_open(&node, 1);
	node_open(&single, 2);
	blazei_replica_set_server(node.replica, server);
	blazei_replica_set_server(single.replica, server);
	for (unsigned round = 0; round < 30; round++) {
		struct txn txn = txn_begin(&node);
		unsigned writes = 1 + random_below(12);
		uint8_t digests[2][16];

		for (unsigned i = 0; i < writes; i++) {
			struct drawn drawn;
			char *text;

			draw(&drawn);
			ck_assert_int_eq(drawn_stage(&txn, &drawn), drawn_write(&single, &drawn));
			text = txn_read(&txn, drawn.number);
			node_expect(&single, drawn.number, text);
			free(text);
		}
		ck_assert_int_ge(txn_commit(&txn), 0);
		blazei_replica_hash(node.replica, digests[0]);
		blazei_replica_hash(single.replica, digests[1]);
		ck_assert_mem_eq(digests[0], digests[1], 16);
	}
	node_close(&node);
	node_close(&single);
}

START_TEST(a_transaction_ends_as_its_writes_one_by_one)
{
	random_seed((unsigned)_i);
	beside_single_calls(_i % 2);
}
END_TEST

/* What a replica shows of the pair of records that every transaction sets alike. */
static void expect_whole(const struct node *node)
{
	char *texts[2];

	for (unsigned i = 0; i < 2; i++) {
		struct blaze_id id = id_of(100 + i);
		struct blaze_record *record;

		texts[i] = NULL;
		if (blazei_replica_get(node->replica, &id, &record) < 0)
			continue;
		ck_assert_int_eq(blaze_record_to_json(record, &texts[i]), 0);
		blaze_record_free(record);
	}
	ck_assert_pstr_eq(texts[0], texts[1]);
	free(texts[0]);
	free(texts[1]);
}

static void pair_stage(struct txn *txn, unsigned *stamp)
{
	char json[32];

	sprintf(json, "{\"pair\":%u}", ++*stamp);
	ck_assert_int_eq(txn_upsert(txn, 101, json), 0);
	ck_assert_int_eq(txn_upsert(txn, 100, json), 0);
}

/* Some of another's transactions come, perhaps again. */
static void hear(struct node *nodes, unsigned to)
{
	unsigned from = random_below(NODES);

	if (from == to || nodes[from].count == 0)
		return;
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_ge(
		        node_give(&nodes[from], &nodes[to], 1 + random_below(nodes[from].count)),
		        0);
		expect_whole(&nodes[to]);
	}
}

START_TEST(replicas_agree_whatever_the_order)
{
	struct node nodes[NODES];
	struct txn open[NODES][OPEN];
	unsigned stamp = 0;

	random_seed(1000 + (unsigned)_i);
	for (unsigned i = 0; i < NODES; i++) {
		node_open(&nodes[i], i + 1);
		for (unsigned j = 0; j < OPEN; j++)
			open[i][j] = txn_begin(&nodes[i]);
	}
	blazei_replica_set_server(nodes[2].replica, _i % 2);
	for (unsigned step = 0; step < 300; step++) {
		unsigned which = random_below(NODES);
		struct txn *txn = &open[which][random_below(OPEN)];
		struct drawn drawn;

		draw(&drawn);
		if (random_below(8) == 0) {
			pair_stage(txn, &stamp);
			ck_assert_int_ge(txn_commit(txn), 0);
			*txn = txn_begin(&nodes[which]);
			expect_whole(&nodes[which]);
		} else if (random_below(3) == 0) {
			hear(nodes, which);
		} else if (random_below(4) == 0) {
			drawn_write(&nodes[which], &drawn);
		} else {
			drawn_stage(txn, &drawn);
		}
	}
	for (unsigned i = 0; i < NODES; i++)
		for (unsigned j = 0; j < OPEN; j++)
			ck_assert_int_ge(txn_commit(&open[i][j]), 0);
	nodes_settle(nodes, NODES);
	for (unsigned i = 1; i < NODES; i++)
		nodes_expect_equal(&nodes[0], &nodes[i]);
	for (unsigned i = 0; i < NODES; i++) {
		expect_whole(&nodes[i]);
		node_close(&nodes[i]);
	}
}
END_TEST

/* Ids that differ in their first half or in the second, in any order: what is committed ascends,
 * and nothing is lost. */
START_TEST(few_records_ascend_by_whichever_half)
{
	for (unsigned round = 0; round < 400; round++) {
		const unsigned count = 1 + round % 34;
		struct blaze_id ids[34];
		struct node node;
		struct txn txn;

		node_open(&node, 1);
		txn = txn_begin(&node);
		for (unsigned i = 0; i < count; i++) {
			/* 101 and 37 have no divisor but 1 in common. */
			const unsigned number = (i * 37 + round) % 101;
			const struct blazei_write write = {
				.kind = BLAZEI_WRITE_PUT,
				.id = &ids[i],
				.value = &ids[i],
				.len = sizeof(ids[i]),
			};

			ids[i] = (struct blaze_id){ { 0 } };
			ids[i].bytes[round % 3 * 5] = (uint8_t)(number / (1 + round % 2 * 9));
			ids[i].bytes[12] = (uint8_t)number;
			ck_assert_int_eq(blazei_writeset_write(node.replica, txn.writeset, &write),
			                 0);
		}
		/* Keeping it checks that it ascends. */
		ck_assert_int_eq(txn_commit(&txn), 0);
		for (unsigned i = 0; i < count; i++) {
			struct blaze_id value;

			ck_assert_int_eq(
			        blazei_replica_fetch(node.replica, &ids[i], &value, sizeof(value)),
			        sizeof(value));
			ck_assert_mem_eq(&value, &ids[i], sizeof(value));
		}
		ck_assert_uint_eq(blazei_replica_count(node.replica), count);
		node_close(&node);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("writeset laws");
	TCase *tcase = tcase_create("writeset laws");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, a_transaction_ends_as_its_writes_one_by_one, 0, 40);
	tcase_add_loop_test(tcase, replicas_agree_whatever_the_order, 0, 60);
	tcase_add_test(tcase, few_records_ascend_by_whichever_half);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
