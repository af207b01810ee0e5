/* SPDX-License-Identifier: Apache-2.0 */
/* The history of merged transactions: what it keeps, how far it reaches back, what it forgets. */
#include "tests/repl/session_pair.h"

static void write_numbers(struct node *node, unsigned count)
{
	char json[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(json, sizeof(json), "{\"n\":%u}", node->count);
		ck_assert_int_eq(node_write(node, BLAZEI_WRITE_UPSERT, i % 7, json, NULL), 0);
	}
}

static void write_long(struct node *node, size_t len)
{
	uint8_t *value = calloc(1, len);
	struct blaze_id id = id_of(99);
	struct blazei_txn_view txn;

	ck_assert_int_eq(node_put(node, &id, value, len, &txn), 0);
	node_keep(node, txn.data, txn.len);
	free(value);
}

static const struct blazei_history *history_of(const struct node *node)
{
	return &node->replica->history;
}

/* The position of the oldest transaction that is kept. */
static uint64_t oldest_of(const struct node *node)
{
	const struct blazei_history *history = history_of(node);

	ck_assert_uint_gt(history->count, 0);
	return history->parts[history->first].start;
}

/* Whether the history makes up for this vector, which has no element more than needed. */
static bool reaches(const struct node *node, const uint64_t *known)
{
	const size_t bytes = node->replica->vector.count * sizeof(*known);
	uint64_t *copy = malloc(bytes);
	uint64_t position;
	bool does;

	memcpy(copy, known, bytes);
	does = blazei_history_reach(history_of(node), &node->replica->vector, copy, &position);
	free(copy);
	return does;
}

/* Reads from what reach gives to the head: all that the vector lacks is there, per origin without a
 * gap, and nothing after the head. */
static void expect_complete(const struct node *node, const uint64_t *known)
{
	const struct blazei_vector *vector = &node->replica->vector;
	const struct blazei_txn_header *header;
	uint64_t position;
	uint64_t next[8];
	int rc;

	ck_assert(blazei_history_reach(history_of(node), vector, known, &position));
	memcpy(next, known, vector->count * sizeof(*next));
	while ((rc = blazei_history_read(history_of(node), &position, &header)) == 0) {
		uint16_t index = blazei_vector_find(vector, blazei_txn_origins(header));

		ck_assert_int_eq(blazei_txn_check(header, header->bytes), 0);
		if (header->seq <= known[index])
			continue;
		ck_assert_uint_eq(header->seq, next[index] + 1);
		next[index] = header->seq;
	}
	ck_assert_int_eq(rc, -ENOENT);
	for (unsigned i = 0; i < vector->count; i++)
		ck_assert_uint_ge(next[i], vector->writers[i].seq);
}

START_TEST(history_holds_own_and_others_in_merge_order)
{
	const struct blazei_txn_header *header;
	const uint64_t nothing[2] = { 0 };
	uint64_t position = 0;
	struct node a;
	struct node b;

	node_open_history(&a, 1, 1u << 20);
	node_open_history(&b, 2, 1u << 20);
	write_numbers(&a, 2);
	write_numbers(&b, 1);
	node_give(&b, &a, 1);
	write_numbers(&a, 1);
	expect_complete(&a, nothing);
	for (unsigned i = 0; i < 4; i++) {
		const struct message *want = i == 2 ? &b.log[0] : &a.log[i < 2 ? i : 2];

		ck_assert_int_eq(blazei_history_read(history_of(&a), &position, &header), 0);
		ck_assert_uint_eq(header->bytes, want->len);
		ck_assert_mem_eq(header, want->data, want->len);
	}
	ck_assert_int_eq(blazei_history_read(history_of(&a), &position, &header), -ENOENT);
	/* What comes twice is kept once. */
	node_give(&b, &a, 1);
	ck_assert_int_eq(blazei_history_read(history_of(&a), &position, &header), -ENOENT);
	node_close(&a);
	node_close(&b);
}
END_TEST

/* However much it may take, it takes what it needs. */
START_TEST(history_without_a_bound_keeps_all)
{
	uint64_t known[1] = { 0 };
	struct node a;

	node_open_history(&a, 1, UINT64_MAX);
	write_numbers(&a, 3);
	ck_assert(reaches(&a, known));
	node_close(&a);
}
END_TEST

START_TEST(history_off_keeps_nothing)
{
	const struct blazei_txn_header *header;
	uint64_t known[1] = { 0 };
	uint64_t position = 0;
	struct node a;

	node_open_history(&a, 1, 0);
	write_numbers(&a, 3);
	ck_assert(!reaches(&a, known));
	known[0] = 3;
	ck_assert(reaches(&a, known));
	ck_assert_int_eq(blazei_history_read(history_of(&a), &position, &header), -ESTALE);
	ck_assert_uint_eq(blazei_history_memory(history_of(&a)), 0);
	/* The head is a place, also where nothing is kept. */
	ck_assert(blazei_history_boundary(history_of(&a), history_of(&a)->head));
	node_close(&a);
}
END_TEST

START_TEST(history_keeps_to_its_budget_and_tells_the_overrun)
{
	const struct blazei_txn_header *header;
	uint64_t known[1] = { 0 };
	uint64_t position;
	struct node a;
	uint64_t seq = 0;

	node_open_history(&a, 1, 8192);
	write_numbers(&a, 1000);
	ck_assert(!reaches(&a, known));
	ck_assert_uint_le(history_of(&a)->bytes, 8192);
	position = 0;
	ck_assert_int_eq(blazei_history_read(history_of(&a), &position, &header), -ESTALE);
	/* From the first one kept on, all is there; one less is not. */
	position = oldest_of(&a);
	ck_assert_int_eq(blazei_history_read(history_of(&a), &position, &header), 0);
	seq = header->seq;
	ck_assert_uint_gt(seq, 900);
	known[0] = seq - 1;
	expect_complete(&a, known);
	known[0] = seq - 2;
	ck_assert(!reaches(&a, known));
	node_close(&a);
}
END_TEST

START_TEST(history_uses_all_of_its_budget)
{
	/* Of 16 parts, of parts of the least size, of one part. */
	static const struct {
		uint64_t budget;
		uint64_t part;
		uint64_t bytes;
	} sizes[] = {
		{ 16384, 1024, 16384 }, { 4096, 512, 4096 }, { 700, 512, 512 }, { 300, 300, 300 }
	};
	const struct blazei_history *history;
	uint64_t bases = 0;
	struct node a;
	struct node b;

	node_open_history(&a, 1, sizes[_i].budget);
	node_open(&b, 2);
	write_numbers(&a, 200);
	write_numbers(&b, 1);
	node_give_all(&b, &a);
	write_numbers(&a, 200);
	history = history_of(&a);
	ck_assert_uint_eq(history->bytes, sizes[_i].bytes);
	ck_assert_uint_eq(history->count * sizes[_i].part, sizes[_i].bytes);
	for (unsigned i = 0; i < history->count; i++)
		bases += 2 * sizeof(uint64_t);
	ck_assert_uint_eq(blazei_history_memory(history), history->bytes + bases);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(history_gives_a_long_transaction_its_own_part)
{
	const uint64_t nothing[1] = { 0 };
	uint64_t known[1];
	struct node a;

	node_open_history(&a, 1, 65536);
	write_numbers(&a, 5);
	write_long(&a, 30000);
	write_numbers(&a, 5);
	expect_complete(&a, nothing);
	ck_assert_uint_le(history_of(&a)->bytes, 65536);
	/* Beyond the budget nothing remains, and nothing before it either. */
	write_long(&a, 70000);
	known[0] = a.count - 1;
	ck_assert(!reaches(&a, known));
	ck_assert_uint_eq(history_of(&a)->bytes, 0);
	known[0] = a.count;
	write_numbers(&a, 5);
	expect_complete(&a, known);
	node_close(&a);
}
END_TEST

START_TEST(history_is_cleared_where_the_vector_is_raised)
{
	const struct blazei_txn_header *header;
	uint64_t known[2] = { 0 };
	struct node a, b;
	uint64_t head;

	node_open_history(&a, 1, 1u << 20);
	node_open_history(&b, 2, 0);
	write_numbers(&a, 3);
	write_numbers(&b, 3);
	head = history_of(&a)->head;
	nodes_catch_up(&a, &b);
	/* What brought the vector to where it is, is not all here. */
	ck_assert(!reaches(&a, known));
	known[0] = 3;
	ck_assert(!reaches(&a, known));
	ck_assert_int_eq(blazei_history_read(history_of(&a), &head, &header), -ESTALE);
	known[1] = 3;
	ck_assert(reaches(&a, known));
	write_numbers(&a, 2);
	expect_complete(&a, known);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(history_boundary_accepts_starts_of_transactions_only)
{
	const struct blazei_txn_header *header;
	uint64_t position;
	uint64_t at;
	struct node a;

	node_open_history(&a, 1, 8192);
	write_numbers(&a, 200);
	at = oldest_of(&a);
	ck_assert(!blazei_history_boundary(history_of(&a), at - 8));
	ck_assert(!blazei_history_boundary(history_of(&a), UINT64_MAX));
	position = at;
	while (blazei_history_read(history_of(&a), &position, &header) == 0) {
		ck_assert(blazei_history_boundary(history_of(&a), at));
		for (uint64_t p = at + 1; p < position; p++)
			ck_assert(!blazei_history_boundary(history_of(&a), p));
		at = position;
	}
	ck_assert(blazei_history_boundary(history_of(&a), at));
	node_close(&a);
}
END_TEST

/* Three origins merged at random, against vectors of all ages: whatever is said to be reached is
 * complete, and what is young is reached. */
START_TEST(history_reach_holds_for_vectors_of_any_age)
{
	struct node nodes[3];
	uint64_t vectors[300][3];
	unsigned given[3] = { 0 };
	unsigned seed = 4711;

	for (unsigned i = 0; i < 3; i++)
		node_open_history(&nodes[i], i + 1, 16384);
	for (unsigned step = 0; step < 300; step++) {
		unsigned who = (unsigned)rand_r(&seed) % 3;

		write_numbers(&nodes[who], 1);
		if (rand_r(&seed) % 50 == 0)
			write_long(&nodes[who], (unsigned)rand_r(&seed) % 4000);
		who = 1 + (unsigned)rand_r(&seed) % 2;
		while (given[who] < nodes[who].count && rand_r(&seed) % 8 != 0)
			node_give(&nodes[who], &nodes[0], ++given[who]);
		for (unsigned i = 0; i < 3; i++)
			vectors[step][i] =
			        blazei_replica_vector_seq(nodes[0].replica, &nodes[i].origin);
	}
	/* Origins got their indices in the order in which they came. */
	for (unsigned step = 0; step < 300; step++) {
		const struct blazei_vector *vector = &nodes[0].replica->vector;
		uint64_t known[3] = { 0 };

		for (unsigned i = 0; i < 3; i++) {
			uint16_t index = blazei_vector_find(vector, &nodes[i].origin);

			if (index != BLAZEI_ORIGIN_NONE)
				known[index] = vectors[step][i];
		}
		if (reaches(&nodes[0], known))
			expect_complete(&nodes[0], known);
		else
			ck_assert_uint_lt(step, 280);
		ck_assert(step > 20 || !reaches(&nodes[0], known));
	}
	for (unsigned i = 0; i < 3; i++)
		node_close(&nodes[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("history");
	TCase *tcase = tcase_create("history");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, history_holds_own_and_others_in_merge_order);
	tcase_add_test(tcase, history_without_a_bound_keeps_all);
	tcase_add_test(tcase, history_off_keeps_nothing);
	tcase_add_test(tcase, history_keeps_to_its_budget_and_tells_the_overrun);
	tcase_add_loop_test(tcase, history_uses_all_of_its_budget, 0, 4);
	tcase_add_test(tcase, history_gives_a_long_transaction_its_own_part);
	tcase_add_test(tcase, history_is_cleared_where_the_vector_is_raised);
	tcase_add_test(tcase, history_boundary_accepts_starts_of_transactions_only);
	tcase_add_test(tcase, history_reach_holds_for_vectors_of_any_age);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
