/* SPDX-License-Identifier: Apache-2.0 */
/* The merge laws, by random histories: whatever is written where, and in whatever order, how often
 * and by which path it comes, replicas that have seen the same end with the same bytes. The seed
 * is printed; BLAZE_TEST_SEED sets it. */
#include <time.h>

#include "tests/repl/session_pair.h"

#define NODES   4u
#define STEPS   1500u
#define RECORDS 6u
#define ROUNDS  20u

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

/* One write, whatever comes of it. */
static void random_write(struct node *node)
{
	const char *const names[] = { "a", "bb", "c" };
	char json[256];
	size_t len = 0;
	unsigned fields = random_below(4);
	enum blazei_write_kind kind = BLAZEI_WRITE_UPDATE;
	const char *unset = NULL;
	int rc;

	if (random_below(2))
		kind = (enum blazei_write_kind)random_below(4);
	len += (size_t)sprintf(json, "{");
	for (unsigned i = 0; i < fields && i < 3; i++)
		len += (size_t)sprintf(json + len, "%s\"%s\":\"%.*s\"", i ? "," : "", names[i],
		                       (int)random_below(40),
		                       "0123456789012345678901234567890123456789");
	sprintf(json + len, "}");
	if (kind == BLAZEI_WRITE_UPDATE && random_below(4) == 0)
		unset = names[random_below(3)];
	rc = node_write(node, kind, random_below(RECORDS),
	                kind == BLAZEI_WRITE_DELETE ? NULL : json, unset);
	ck_assert(rc >= 0 || rc == -EEXIST || rc == -ENOENT);
}

/* Hands over something that `to` may lack, have, or be too early for. */
static void random_give(const struct node *from, struct node *to)
{
	uint64_t have = blazei_replica_vector_seq(to->replica, &from->origin);
	uint64_t seq = have + 1;

	if (from->count == 0)
		return;
	if (random_below(3) == 0)
		seq = 1 + random_below(from->count);
	if (seq <= from->count)
		ck_assert_int_ge(node_give(from, to, (unsigned)seq), 0);
}

static void random_step(struct node *nodes)
{
	unsigned i = random_below(NODES);
	unsigned j = (i + 1 + random_below(NODES - 1)) % NODES;

	nodes[i].now_ns += random_below(1000) * BLAZEI_NS_PER_MS;
	switch (random_below(40)) {
	case 0:
		nodes_catch_up(&nodes[j], &nodes[i]);
		break;
	case 1:
		blazei_replica_set_server(nodes[i].replica, random_below(2));
		break;
	default:
		if (random_below(3) == 0)
			random_write(&nodes[i]);
		else
			random_give(&nodes[i], &nodes[j]);
	}
}

START_TEST(merge_random_histories_converge)
{
	struct node nodes[NODES];
	const enum blaze_policy policy =
	        _i % 4 == 3 ? BLAZE_POLICY_LWW : BLAZE_POLICY_SERVER_PRIORITY;
	struct node late;

	random_seed((unsigned)_i);
	for (unsigned i = 0; i < NODES; i++) {
		/* The order of identities is not the order in which they become known. */
		node_open_policy(&nodes[i], (i * 3 + 1) % NODES, policy);
		nodes[i].now_ns += random_below(5000) * BLAZEI_NS_PER_MS;
	}
	blazei_replica_set_server(nodes[0].replica, true);
	for (unsigned i = 0; i < STEPS; i++)
		random_step(nodes);
	for (unsigned i = 0; i < NODES; i++)
		nodes[i].now_ns += 1000 * BLAZEI_NS_PER_S;
	nodes_settle(nodes, NODES);
	node_open_policy(&late, 200, policy);
	late.now_ns = nodes[0].now_ns;
	nodes_catch_up(&late, &nodes[random_below(NODES)]);
	for (unsigned i = 0; i < NODES; i++) {
		ck_assert_uint_eq(node_stats(&nodes[i]).parked, 0);
		ck_assert_uint_eq(node_stats(&nodes[i]).refused, 0);
		nodes_expect_equal(&nodes[i], &late);
	}
	node_close(&late);
	for (unsigned i = 0; i < NODES; i++)
		node_close(&nodes[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("laws");
	TCase *tcase = tcase_create("laws");

	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, merge_random_histories_converge, 0, ROUNDS);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
