/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds that no run comes to, and calls that no caller should make: errors, no change. */
#include "tests/repl/session_pair.h"
#include "tests/repl/three.h"
#include "tests/repl/writeset_help.h"

static struct blazei_row *row_of(const struct node *node, unsigned number)
{
	const struct blazei_table *table = &node->replica->table;
	const struct blaze_id id = id_of(number);

	return blazei_table_find(table, &id, blazei_table_hash(table, &id));
}

/* Calls --------------------------------------------------------------------------------------- */

START_TEST(write_of_another_form_is_einval)
{
	const struct blaze_id id = id_of(1);
	struct blaze_record *record;
	struct blazei_txn_view txn;
	struct txn staged = txn_begin(&a);

	ck_assert_int_eq(blaze_record_new(&record), 0);
	{
		const struct blazei_write wrong[] = {
			{ .kind = BLAZEI_WRITE_INSERT, .record = record },
			{ .kind = BLAZEI_WRITE_INSERT, .id = &id },
			{ .kind = BLAZEI_WRITE_UPDATE, .id = &id },
			{ .kind = BLAZEI_WRITE_UPSERT, .id = &id },
			{ .kind = BLAZEI_WRITE_DELETE, .id = &id, .record = record },
			{ .kind = BLAZEI_WRITE_PUT, .id = &id, .record = record },
			{ .kind = BLAZEI_WRITE_PUT, .id = &id, .len = 1 },
		};

		for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
			ck_assert_int_eq(blazei_replica_write(a.replica, NOW, &wrong[i], &txn),
			                 -EINVAL);
			ck_assert_int_eq(
			        blazei_writeset_write(a.replica, staged.writeset, &wrong[i]),
			        -EINVAL);
		}
	}
	ck_assert_int_eq(txn_commit(&staged), 1);
	ck_assert_uint_eq(a.replica->table.row_count, 0);
	blaze_record_free(record);
}
END_TEST

START_TEST(replica_without_a_policy_is_einval)
{
	const struct blazei_replica_options options = { .policy = BLAZE_POLICY_DEFAULT };
	struct blazei_replica *replica;

	ck_assert_int_eq(blazei_replica_new(NULL, &replica), -EINVAL);
	ck_assert_int_eq(blazei_replica_new(&options, &replica), -EINVAL);
}
END_TEST

/* What is too short to have an id is not fetched ahead, and is refused. */
START_TEST(transaction_without_its_head_is_refused)
{
	static const uint64_t words[sizeof(struct blazei_txn_header) / 8];
	struct blazei_txn_view views[64];

	for (size_t len = 0; len < sizeof(words); len += 8) {
		ck_assert_int_eq(node_take(&a, words, len), 0);
		ck_assert_uint_eq(node_stats(&a).refused, len / 8 + 1);
	}
	/* Nor, in a long batch, is the one that comes behind them kept back. */
	for (unsigned i = 0; i < 63; i++)
		views[i] = (struct blazei_txn_view){ words, 8 };
	ck_assert_int_eq(node_insert(&b, 1, "{\"x\":1}"), 0);
	views[63] = (struct blazei_txn_view){ b.log[0].data, b.log[0].len };
	ck_assert_int_eq(blazei_replica_receive(a.replica, NOW, views, 64), 1);
	ck_assert_uint_eq(node_stats(&a).refused, sizeof(words) / 8 + 63);
}
END_TEST

START_TEST(nobody_is_said_to_be_over_by_who_is_no_member)
{
	ck_assert_int_eq(node_insert(&a, 1, "{\"m\":1,\"s\":1}"), 0);
	ck_assert_ptr_null(blazei_members_said(a.replica, &b.origin.node));
}
END_TEST

/* Messages ------------------------------------------------------------------------------------ */

/* Origins of which there is one transaction each. */
static void origins_add(struct node *node, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct blazei_origin origin = { .incarnation = 70000 + i };
		int index = blazei_vector_intern(&node->replica->vector, &origin);

		ck_assert_int_gt(index, 0);
		node->replica->vector.writers[index].seq = 1;
		node->replica->vector.writers[index].hlc = NOW;
	}
}

/* Gives until something does not fit the shortest message; the hellos before that, in the longest.
 */
static int64_t give_short(bool snapshot)
{
	struct blazei_session_options options = { .side = BLAZEI_SESSION_ASKER };
	static uint64_t message[BLAZEI_SESSION_MESSAGE_MAX / 8];
	struct blazei_session *ask;
	struct blazei_session *answer;
	int64_t n;

	ck_assert_int_eq(blazei_stage_new(UINT64_C(1) << 30, &options.stage), 0);
	options.replica = a.replica;
	ck_assert_int_eq(blazei_session_new(&options, &ask), 0);
	options.replica = b.replica;
	options.side = BLAZEI_SESSION_ANSWERER;
	options.whole = snapshot;
	ck_assert_int_eq(blazei_session_new(&options, &answer), 0);
	/* Its own hello does not fit either. */
	ck_assert_int_eq(blazei_session_give(answer, NOW, message, BLAZEI_SESSION_MESSAGE_MIN),
	                 -EMSGSIZE);
	ck_assert_int_gt(blazei_session_give(answer, NOW, message, sizeof(message)), 0);
	n = blazei_session_give(ask, NOW, message, sizeof(message));
	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(blazei_session_take(answer, NOW, message, (size_t)n), 0);
	n = blazei_session_give(answer, NOW, message, BLAZEI_SESSION_MESSAGE_MIN);
	/* In a longer one it does. */
	ck_assert_int_gt(blazei_session_give(answer, NOW, message, sizeof(message)), 0);
	blazei_session_free(ask);
	blazei_session_free(answer);
	blazei_stage_free(options.stage);
	return n;
}

/* Of a snapshot the begin (1); of one who lacks nothing the end (0). */
START_TEST(vector_that_does_not_fit_a_message_is_emsgsize)
{
	origins_add(&b, 500);
	if (_i == 0)
		origins_add(&a, 500);
	ck_assert_int_eq(give_short(_i == 1), -EMSGSIZE);
}
END_TEST

/* What is used up ------------------------------------------------------------------------------ */

START_TEST(record_that_had_all_lives_is_made_no_more)
{
	struct txn txn = txn_begin(&a);

	ck_assert_int_eq(node_insert(&a, 1, "{\"x\":1}"), 0);
	row_of(&a, 1)->life = BLAZEI_LIFE_MAX - 1;
	ck_assert_int_eq(node_delete(&a, 1), 0);
	ck_assert_int_eq(node_insert(&a, 1, "{\"x\":1}"), -E2BIG);
	ck_assert_int_eq(node_write(&a, BLAZEI_WRITE_UPSERT, 1, "{\"x\":1}", NULL), -E2BIG);
	ck_assert_int_eq(txn_insert(&txn, 1, "{\"x\":1}"), -E2BIG);
	ck_assert_int_eq(txn_upsert(&txn, 1, "{\"x\":1}"), -E2BIG);
	ck_assert_int_eq(txn_commit(&txn), 1);
	node_expect(&a, 1, NULL);
	ck_assert_uint_eq(a.count, 2);
}
END_TEST

/* Interns names until they need more room. */
static int names_fill(struct blazei_names *names)
{
	char name[16];

	for (unsigned i = 0; names->count < names->max || i == 0; i++) {
		snprintf(name, sizeof(name), "n%u", names->count);
		if (blazei_names_intern(names, name, strlen(name)) == BLAZEI_NAME_NONE)
			return -ENOMEM;
	}
	return 0;
}

START_TEST(names_beyond_all_doublings_are_enomem)
{
	struct blazei_names *names = &a.replica->names;
	uint32_t count;
	uint32_t max;

	ck_assert_int_eq(names_fill(names), 0);
	count = names->outgrown_count;
	max = names->max;
	names->outgrown_count = BLAZEI_OUTGROWN_MAX;
	ck_assert_int_eq(node_insert(&a, 1, "{\"another\":1}"), -ENOMEM);
	ck_assert_uint_eq(names->max, names->count);
	names->outgrown_count = count;
	names->count = names->max = UINT32_MAX / 4 / 2 + 1;
	ck_assert_uint_eq(blazei_names_intern(names, "another", 7), BLAZEI_NAME_NONE);
	names->count = names->max = max;
	ck_assert_int_eq(node_insert(&a, 1, "{\"another\":1}"), 0);
	node_expect(&a, 1, "{\"another\":1}");
}
END_TEST

START_TEST(rows_beyond_all_doublings_are_enomem)
{
	struct blazei_table *table = &a.replica->table;
	const struct blaze_id id = id_of(60000);
	uint32_t count = table->outgrown_count;
	unsigned number = 0;
	uint32_t max;
	int rc;

	table->outgrown_count = BLAZEI_OUTGROWN_MAX;
	do {
		rc = node_insert(&a, ++number, "{\"x\":1}");
	} while (rc == 0);
	ck_assert_int_eq(rc, -ENOMEM);
	ck_assert_uint_eq(blazei_replica_count(a.replica), number - 1);
	table->outgrown_count = count;
	/* Nor more than have numbers. */
	count = table->row_count;
	max = table->row_max;
	table->row_count = table->row_max = UINT32_MAX - 1;
	ck_assert_ptr_null(blazei_table_add(table, &id, blazei_table_hash(table, &id), 64));
	table->row_count = count;
	table->row_max = max;
	ck_assert_int_eq(node_insert(&a, number, "{\"x\":1}"), 0);
	node_expect(&a, number, "{\"x\":1}");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bounds");
	TCase *tcase = tcase_create("bounds");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, write_of_another_form_is_einval);
	tcase_add_test(tcase, replica_without_a_policy_is_einval);
	tcase_add_test(tcase, transaction_without_its_head_is_refused);
	tcase_add_test(tcase, nobody_is_said_to_be_over_by_who_is_no_member);
	tcase_add_loop_test(tcase, vector_that_does_not_fit_a_message_is_emsgsize, 0, 2);
	tcase_add_test(tcase, record_that_had_all_lives_is_made_no_more);
	tcase_add_test(tcase, names_beyond_all_doublings_are_enomem);
	tcase_add_test(tcase, rows_beyond_all_doublings_are_enomem);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
