/* SPDX-License-Identifier: Apache-2.0 */
/* The history where there is no memory for it: merging goes on, and what is kept starts afresh. */
#include "lib/repl/core.h"
#include "tests/repl/harness.h"
#include "tests/repl/starve.h"

/* Writes a record of its own; allocation `at` of that fails. */
static int insert_starved(struct node *node, unsigned number, unsigned at)
{
	const struct blaze_id id = id_of(number);
	struct blazei_txn_view txn;
	int rc;

	node->now_ns++;
	starve(at);
	rc = node_put(node, &id, "x", 1, &txn);
	starve_end();
	if (rc == 0)
		node_keep(node, txn.data, txn.len);
	return rc;
}

/* In each of many writes the first, or second, allocation fails: of a part, that is, where a write
 * into a record that is there takes no other. */
START_TEST(history_without_memory_starts_afresh)
{
	const uint64_t nothing[1] = { 0 };
	const struct blazei_txn_header *header;
	const struct blazei_history *history;
	unsigned afresh = 0;
	uint64_t position;
	uint64_t known[1];
	struct node a;

	node_open_history(&a, 1, 4096);
	history = &a.replica->history;
	ck_assert_int_eq(insert_starved(&a, 1, NEVER), 0);
	for (unsigned i = 0; i < 300; i++) {
		ck_assert_int_eq(insert_starved(&a, 1, _i ? 1 : 0), 0);
		ck_assert_uint_le(history->bytes, 4096);
		if (!allocation_failed)
			continue;
		afresh++;
		ck_assert_uint_eq(history->count, 0);
		ck_assert_uint_eq(history->bytes, 0);
		known[0] = a.count - 1;
		ck_assert(!blazei_history_reach(history, &a.replica->vector, known, &position));
		ck_assert(!blazei_history_reach(history, &a.replica->vector, nothing, &position));
		/* What follows is kept again. */
		known[0] = a.count;
		ck_assert_int_eq(insert_starved(&a, 1, NEVER), 0);
		ck_assert(blazei_history_reach(history, &a.replica->vector, known, &position));
		ck_assert_int_eq(blazei_history_read(history, &position, &header), 0);
		ck_assert_uint_eq(header->seq, a.count);
		ck_assert_int_eq(blazei_history_read(history, &position, &header), -ENOENT);
	}
	ck_assert_uint_ge(afresh, 10);
	node_close(&a);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("history_memory");
	TCase *tcase = tcase_create("history_memory");

	tcase_add_loop_test(tcase, history_without_memory_starts_afresh, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
