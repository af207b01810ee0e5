/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions of several writes: what they read, refuse and write in the end, and their limits. */
#include "lib/repl/writeset_core.h"
#include "tests/repl/writeset_help.h"

static struct node a;
static struct node b;
static struct txn txn;

static void set_up(void)
{
	node_open(&a, 1);
	node_open(&b, 2);
	txn = txn_begin(&a);
}

static void tear_down(void)
{
	node_close(&a);
	node_close(&b);
}

static const struct blazei_txn_header *last(const struct node *node)
{
	return node->log[node->count - 1].data;
}

static void exchange(void)
{
	node_give_all(&a, &b);
	node_give_all(&b, &a);
	node_give_all(&a, &b);
	nodes_expect_equal(&a, &b);
}

/* What it reads --------------------------------------------------------------------------------*/

START_TEST(reads_see_own_writes_and_others_only_the_commit)
{
	node_insert(&a, 1, "{\"x\":1,\"y\":2}");
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":10}"), 0);
	txn_expect(&txn, 1, "{\"x\":10,\"y\":2}");
	ck_assert_int_eq(txn_write(&txn, BLAZEI_WRITE_UPDATE, 1, "{\"z\":3}", "y"), 0);
	txn_expect(&txn, 1, "{\"x\":10,\"z\":3}");
	ck_assert_int_eq(txn_insert(&txn, 2, "{\"new\":true}"), 0);
	txn_expect(&txn, 2, "{\"new\":true}");
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	txn_expect(&txn, 1, NULL);
	ck_assert_int_eq(txn_upsert(&txn, 1, "{\"w\":4}"), 0);
	txn_expect(&txn, 1, "{\"w\":4}");
	node_expect(&a, 1, "{\"x\":1,\"y\":2}");
	node_expect(&a, 2, NULL);
	ck_assert_int_eq(txn_commit(&txn), 0);
	node_expect(&a, 1, "{\"w\":4}");
	node_expect(&a, 2, "{\"new\":true}");
	exchange();
}
END_TEST

START_TEST(abort_leaves_nothing)
{
	node_insert(&a, 1, "{\"x\":1}");
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":10}"), 0);
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	txn_abort(&txn);
	node_expect(&a, 1, "{\"x\":1}");
	ck_assert_uint_eq(node_stats(&a).writes, 1);
}
END_TEST

START_TEST(fetch_sees_own_puts_and_tells_other_types)
{
	struct blaze_id id = id_of(1);
	char back[8] = "";

	ck_assert_int_eq(blazei_writeset_fetch(a.replica, txn.writeset, &id, back, 8), -ENOENT);
	ck_assert_int_eq(txn_put(&txn, 1, "hello", 5), 0);
	ck_assert_int_eq(blazei_writeset_fetch(a.replica, txn.writeset, &id, back, 8), 5);
	ck_assert_mem_eq(back, "hello", 5);
	ck_assert_int_eq(txn_put(&txn, 1, NULL, 0), 0);
	ck_assert_int_eq(blazei_writeset_fetch(a.replica, txn.writeset, &id, back, 8), 0);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"\":1}"), 0);
	ck_assert_int_eq(blazei_writeset_fetch(a.replica, txn.writeset, &id, back, 8), -EINVAL);
	ck_assert_int_eq(txn_write(&txn, BLAZEI_WRITE_UPDATE, 1, "{}", ""), 0);
	ck_assert_int_eq(blazei_writeset_fetch(a.replica, txn.writeset, &id, back, 8), -ENOENT);
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	ck_assert_int_eq(blazei_writeset_fetch(a.replica, txn.writeset, &id, back, 8), -ENOENT);
	ck_assert_int_eq(txn_commit(&txn), 1);
	txn = txn_begin(&a);
	ck_assert_int_eq(txn_put(&txn, 1, "base", 4), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	txn = txn_begin(&a);
	ck_assert_int_eq(blazei_writeset_fetch(a.replica, txn.writeset, &id, back, 2), 4);
	ck_assert_mem_eq(back, "balll", 3);
	txn_abort(&txn);
}
END_TEST

START_TEST(a_read_is_a_touch_and_reads_repeat)
{
	node_insert(&a, 1, "{\"x\":1}");
	txn_expect(&txn, 1, "{\"x\":1}");
	txn_expect(&txn, 2, NULL);
	node_update(&a, 1, "{\"x\":2}");
	node_insert(&a, 2, "{\"x\":2}");
	txn_expect(&txn, 1, "{\"x\":1}");
	txn_expect(&txn, 2, NULL);
	ck_assert_int_eq(txn_commit(&txn), 1);
	node_expect(&a, 1, "{\"x\":2}");
}
END_TEST

/* What it refuses ------------------------------------------------------------------------------*/

START_TEST(errors_are_those_of_single_calls_on_what_it_reads)
{
	node_insert(&a, 1, "{\"x\":1}");
	ck_assert_int_eq(txn_insert(&txn, 1, "{\"x\":2}"), -EEXIST);
	ck_assert_int_eq(txn_update(&txn, 2, "{\"x\":2}"), -ENOENT);
	ck_assert_int_eq(txn_delete(&txn, 2), -ENOENT);
	ck_assert_int_eq(txn_insert(&txn, 2, "{\"x\":2}"), 0);
	ck_assert_int_eq(txn_insert(&txn, 2, "{\"x\":3}"), -EEXIST);
	ck_assert_int_eq(txn_update(&txn, 2, "{\"x\":4}"), 0);
	ck_assert_int_eq(txn_delete(&txn, 2), 0);
	ck_assert_int_eq(txn_delete(&txn, 2), -ENOENT);
	ck_assert_int_eq(txn_update(&txn, 2, "{\"x\":5}"), -ENOENT);
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":5}"), -ENOENT);
	ck_assert_int_eq(txn_write(&txn, BLAZEI_WRITE_INSERT, 1, "{\"x\":6}", "y"), -EINVAL);
	ck_assert_int_eq(txn_write(&txn, BLAZEI_WRITE_UPSERT, 1, "{\"x\":6}", "y"), -EINVAL);
	ck_assert_int_eq(txn_put(&txn, 1, NULL, 1), -EINVAL);
	ck_assert_int_eq(txn_put(&txn, 1, "", 1 << 20), -E2BIG);
	txn_expect(&txn, 1, NULL);
	ck_assert_int_eq(txn_insert(&txn, 1, "{\"x\":6}"), 0);
	txn_expect(&txn, 1, "{\"x\":6}");
	ck_assert_int_eq(txn_commit(&txn), 0);
	node_expect(&a, 1, "{\"x\":6}");
	node_expect(&a, 2, NULL);
	exchange();
}
END_TEST

START_TEST(a_record_beyond_limits_is_e2big_and_changes_nothing)
{
	char json[32];

	ck_assert_int_eq(txn_insert(&txn, 1, "{}"), 0);
	for (unsigned i = 0; i < 1024; i++) {
		sprintf(json, "{\"f%u\":%u}", i, i);
		ck_assert_int_eq(txn_update(&txn, 1, json), 0);
	}
	ck_assert_int_eq(txn_update(&txn, 1, "{\"f7\":0,\"more\":1}"), -E2BIG);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"f7\":true}"), 0);
	ck_assert_int_eq(txn_write(&txn, BLAZEI_WRITE_UPDATE, 1, "{\"more\":1}", "f7"), 0);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"f7\":1}"), -E2BIG);
	ck_assert_int_eq(txn_commit(&txn), 0);
	/* The same on a record that was there, whose fields count. */
	txn = txn_begin(&a);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"f7\":1}"), -E2BIG);
	ck_assert_int_eq(txn_write(&txn, BLAZEI_WRITE_UPDATE, 1, "{}", "f8"), 0);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"f7\":1}"), 0);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"f8\":1}"), -E2BIG);
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	ck_assert_int_eq(txn_insert(&txn, 1, "{\"f8\":1}"), 0);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"f7\":1}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	node_expect(&a, 1, "{\"f7\":1,\"f8\":1}");
	exchange();
}
END_TEST

START_TEST(bytes_beyond_limits_are_e2big)
{
	const size_t len = (1 << 20) - 4096;
	char *value = calloc(1, len);
	char json[4200] = "{\"rest\":\"";

	memset(json + 9, 'r', 4096 - 5 - 4 - 3 + 1);
	strcat(json, "\"}");
	ck_assert_int_eq(txn_put(&txn, 1, value, len), 0);
	ck_assert_int_eq(txn_update(&txn, 1, json), -E2BIG);
	txn_expect(&txn, 2, NULL);
	memcpy(json + strlen(json) - 3, "\"}", 3);
	ck_assert_int_eq(txn_update(&txn, 1, json), 0);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":1}"), -E2BIG);
	ck_assert_int_eq(txn_put(&txn, 1, value, len - 2), 0);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":1}"), 0);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":100}"), -E2BIG);
	ck_assert_int_eq(txn_commit(&txn), 0);
	exchange();
	free(value);
}
END_TEST

/* What it writes -------------------------------------------------------------------------------*/

START_TEST(nothing_written_commits_to_nothing)
{
	node_insert(&a, 1, "{\"x\":1}");
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":1}"), 0);
	ck_assert_int_eq(txn_write(&txn, BLAZEI_WRITE_UPDATE, 1, "{}", "none"), 0);
	ck_assert_int_eq(txn_commit(&txn), 1);
	txn = txn_begin(&a);
	ck_assert_int_eq(txn_commit(&txn), 1);
	ck_assert_uint_eq(node_stats(&a).writes, 1);
}
END_TEST

START_TEST(update_brought_back_is_no_write_and_put_always_is)
{
	node_insert(&a, 1, "{\"x\":1}");
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":5,\"y\":1}"), 0);
	ck_assert_int_eq(txn_write(&txn, BLAZEI_WRITE_UPDATE, 1, "{\"x\":1}", "y"), 0);
	ck_assert_int_eq(txn_commit(&txn), 1);
	txn = txn_begin(&a);
	ck_assert_int_eq(txn_upsert(&txn, 1, "{\"x\":5}"), 0);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":1}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	ck_assert_uint_eq(last(&a)->record_count, 1);
	node_expect(&a, 1, "{\"x\":1}");
	txn = txn_begin(&a);
	ck_assert_int_eq(txn_put(&txn, 2, "p", 1), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	txn = txn_begin(&a);
	ck_assert_int_eq(txn_put(&txn, 2, "p", 1), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	exchange();
}
END_TEST

START_TEST(insert_then_delete_is_nothing_even_if_another_inserts)
{
	ck_assert_int_eq(txn_insert(&txn, 1, "{\"mine\":1}"), 0);
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	node_insert(&b, 1, "{\"theirs\":1}");
	node_give_all(&b, &a);
	ck_assert_int_eq(txn_commit(&txn), 1);
	node_expect(&a, 1, "{\"theirs\":1}");
	exchange();
}
END_TEST

START_TEST(delete_then_insert_is_the_next_life)
{
	node_insert(&a, 1, "{\"old\":1}");
	node_give_all(&a, &b);
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	ck_assert_int_eq(txn_insert(&txn, 1, "{\"lost\":1}"), 0);
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	ck_assert_int_eq(txn_insert(&txn, 1, "{\"new\":1}"), 0);
	txn_expect(&txn, 1, "{\"new\":1}");
	ck_assert_int_eq(txn_commit(&txn), 0);
	ck_assert_uint_eq(last(&a)->record_count, 1);
	/* Who did not know writes to the life that is over. */
	node_update(&b, 1, "{\"old\":2}");
	exchange();
	node_expect(&b, 1, "{\"new\":1}");
}
END_TEST

START_TEST(writes_before_a_delete_hold_where_a_server_keeps_the_record)
{
	node_insert(&a, 1, "{\"x\":1,\"y\":1}");
	node_give_all(&a, &b);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":5}"), 0);
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	ck_assert_int_eq(txn_insert(&txn, 1, "{\"z\":1}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	ck_assert_uint_eq(last(&a)->record_count, 2);
	node_expect(&a, 1, "{\"z\":1}");
	blazei_replica_set_server(b.replica, true);
	node_update(&b, 1, "{\"y\":2}");
	exchange();
	node_expect(&a, 1, "{\"x\":5,\"y\":2}");
}
END_TEST

START_TEST(a_server_affirms_existence_once_per_record)
{
	node_insert(&a, 1, "{\"x\":1}");
	node_give_all(&a, &b);
	blazei_replica_set_server(a.replica, true);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":1}"), 0);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":1}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	node_delete(&b, 1);
	exchange();
	node_expect(&b, 1, "{\"x\":1}");
	/* Reading is not writing, even for a server. */
	txn = txn_begin(&a);
	txn_expect(&txn, 1, "{\"x\":1}");
	ck_assert_int_eq(txn_commit(&txn), 1);
}
END_TEST

START_TEST(records_ascend_by_id_however_they_were_written)
{
	char json[32];

	for (unsigned i = 0; i < 300; i++) {
		sprintf(json, "{\"n\":%u}", i);
		ck_assert_int_eq(txn_insert(&txn, i * 7919 % 1009, json), 0);
	}
	ck_assert_int_eq(txn_commit(&txn), 0); /* node_keep checks what it is */
	ck_assert_uint_eq(last(&a)->record_count, 300);
	ck_assert_int_eq(node_give(&a, &b, 1), 1);
	ck_assert_uint_eq(blazei_replica_count(b.replica), 300);
	nodes_expect_equal(&a, &b);
	for (unsigned i = 0; i < 300; i++) {
		sprintf(json, "{\"n\":%u}", i);
		node_expect(&b, i * 7919 % 1009, json);
	}
}
END_TEST

/* Records with two groups each, whose rows grow and so move while room is made, about the places
 * where one lot of groups ends and the next begins. */
START_TEST(many_records_of_two_lives_are_merged_whole)
{
	static const unsigned counts[] = { 1, 2, 15, 16, 17, 31, 32, 33, 40, 70 };
	char grown[64];
	char json[64];
	unsigned count = counts[_i / 2];
	unsigned odd = (unsigned)_i % 2;

	for (unsigned i = 0; i < count; i++)
		node_insert(&a, 1 + i, "{\"x\":1}");
	node_give_all(&a, &b);
	if (odd)
		ck_assert_int_eq(txn_insert(&txn, 0, "{}"), 0);
	for (unsigned i = 0; i < count; i++) {
		sprintf(grown, "{\"x\":\"a value that takes more room than it had: %u\"}", i);
		sprintf(json, "{\"x\":\"and one that comes beside it: %u\",\"y\":%u}", i, i);
		ck_assert_int_eq(txn_update(&txn, 1 + i, grown), 0);
		ck_assert_int_eq(txn_delete(&txn, 1 + i), 0);
		ck_assert_int_eq(txn_insert(&txn, 1 + i, json), 0);
	}
	ck_assert_int_eq(txn_commit(&txn), 0);
	ck_assert_uint_eq(last(&a)->record_count, 2 * count + odd);
	exchange();
	for (unsigned i = 0; i < count; i++) {
		sprintf(json, "{\"x\":\"and one that comes beside it: %u\",\"y\":%u}", i, i);
		node_expect(&b, 1 + i, json);
	}
}
END_TEST

/* The last two groups of a record lie in two lots, after groups that take no room at all. */
START_TEST(a_record_divided_between_two_lots_gets_its_room)
{
	char json[64];

	for (unsigned i = 0; i < 40; i++)
		node_insert(&a, 1 + i, "{\"x\":\"as long as the next\"}");
	node_give_all(&a, &b);
	for (unsigned i = 0; i < 31; i++)
		ck_assert_int_eq(txn_update(&txn, 1 + i, "{\"x\":\"as long as the last\"}"), 0);
	sprintf(json, "{\"x\":\"%040u\"}", 0);
	ck_assert_int_eq(txn_update(&txn, 32, json), 0);
	ck_assert_int_eq(txn_delete(&txn, 32), 0);
	ck_assert_int_eq(txn_insert(&txn, 32, json), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	exchange();
	for (unsigned i = 33; i <= 40; i++)
		node_expect(&b, i, "{\"x\":\"as long as the next\"}");
}
END_TEST

START_TEST(an_update_before_a_delete_is_no_conflict_with_it)
{
	node_insert(&a, 1, "{\"x\":1}");
	node_give_all(&a, &b);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":2}"), 0);
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	exchange();
	ck_assert_uint_eq(node_stats(&a).conflicts + node_stats(&b).conflicts, 0);
}
END_TEST

START_TEST(an_insert_never_revives_fields_of_a_lost_life)
{
	struct node server;

	node_open(&server, 3);
	blazei_replica_set_server(server.replica, true);
	node_insert(&a, 1, "{\"x\":1}");
	node_give_all(&a, &server);
	/* The next life loses against a server that keeps this one, and its field stays hidden. */
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	ck_assert_int_eq(txn_insert(&txn, 1, "{\"lost\":1}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	node_update(&server, 1, "{\"x\":2}");
	node_give_all(&server, &a);
	node_expect(&a, 1, "{\"x\":2}");
	txn = txn_begin(&a);
	ck_assert_int_eq(txn_delete(&txn, 1), 0);
	ck_assert_int_eq(txn_insert(&txn, 1, "{\"new\":1}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	node_expect(&a, 1, "{\"new\":1}");
	node_give_all(&a, &server);
	nodes_expect_equal(&a, &server);
	node_close(&server);
}
END_TEST

START_TEST(a_value_that_was_removed_is_not_there)
{
	const struct blaze_id id = id_of(1);
	uint8_t value[8];

	ck_assert_int_eq(txn_put(&txn, 1, "v", 1), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	ck_assert_int_eq(node_write(&a, BLAZEI_WRITE_UPDATE, 1, "{\"x\":1}", ""), 0);
	txn = txn_begin(&a);
	ck_assert_int_eq(blazei_writeset_fetch(a.replica, txn.writeset, &id, value, sizeof(value)),
	                 -ENOENT);
	txn_abort(&txn);
}
END_TEST

START_TEST(a_stage_may_be_cleared_before_anything_is_in_it)
{
	blazei_writeset_clear(txn.writeset);
	ck_assert_int_eq(txn_insert(&txn, 1, "{\"x\":1}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	node_expect(&a, 1, "{\"x\":1}");
	blazei_writeset_free(NULL);
}
END_TEST

START_TEST(a_cleared_stage_is_as_new)
{
	char json[32];

	for (unsigned round = 0; round < 3; round++) {
		struct blazei_txn_view view;

		for (unsigned i = 0; i < 100; i++) {
			sprintf(json, "{\"n\":%u}", i + round);
			ck_assert_int_eq(txn_upsert(&txn, i, json), 0);
		}
		ck_assert_int_eq(blazei_replica_commit(a.replica, NOW, txn.writeset, &view), 0);
		ck_assert(node_keep(&a, view.data, view.len));
		blazei_writeset_clear(txn.writeset);
		txn_expect(&txn, 1,
		           round == 0   ? "{\"n\":1}"
		           : round == 1 ? "{\"n\":2}"
		                        : "{\"n\":3}");
		blazei_writeset_clear(txn.writeset);
	}
	ck_assert_int_eq(txn_commit(&txn), 1);
	exchange();
}
END_TEST

/* Whole ----------------------------------------------------------------------------------------*/

START_TEST(a_transaction_waits_whole_for_what_it_depends_on)
{
	struct node c;

	node_open(&c, 3);
	node_insert(&b, 1, "{\"x\":1}");
	node_give_all(&b, &a);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":2}"), 0);
	ck_assert_int_eq(txn_insert(&txn, 2, "{\"x\":2}"), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	ck_assert_int_eq(node_give(&a, &c, 1), 0);
	node_expect(&c, 2, NULL);
	ck_assert_int_eq(node_give(&b, &c, 1), 2);
	node_expect(&c, 1, "{\"x\":2}");
	node_expect(&c, 2, "{\"x\":2}");
	nodes_expect_equal(&a, &c);
	node_close(&c);
}
END_TEST

/* Stages puts that fill a transaction of one origin and no dependency to `total` bytes. */
static int fill(struct txn *into, unsigned number, size_t total)
{
	const size_t each = 48; /* group and existence */
	const size_t reg = sizeof(struct blazei_txn_register) + 5;
	static char value[1 << 20];
	size_t left = total - sizeof(struct blazei_txn_header) - sizeof(struct blazei_origin);
	int rc = 0;

	while (rc == 0 && left > 0) {
		size_t len = left > 1100000 ? 1000001 : left > 600000 ? 500001 : left - each - reg;

		rc = txn_put(into, number++, value, len);
		left -= each + sizeof(struct blazei_txn_register) + blazei_round_up(len + 5, 8);
	}
	return rc;
}

START_TEST(sixteen_mib_is_the_limit_to_the_byte)
{
	uint8_t before[16];
	uint8_t after[16];

	ck_assert_int_eq(fill(&txn, 10, 16u << 20), 0);
	ck_assert_int_eq(txn_insert(&txn, 1, "{}"), -EMSGSIZE);
	txn_expect(&txn, 1, NULL);
	/* One that was cleared has all of it again. */
	blazei_writeset_clear(txn.writeset);
	ck_assert_int_eq(fill(&txn, 10, 16u << 20), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	ck_assert_uint_eq(last(&a)->bytes, 16u << 20);
	exchange();
	txn = txn_begin(&b);
	/* A dependency, which is known only at the commit, takes it beyond. */
	ck_assert_int_eq(fill(&txn, 100, 16u << 20), 0);
	blazei_replica_hash_stamps(b.replica, before);
	ck_assert_int_eq(txn_commit(&txn), -EMSGSIZE);
	blazei_replica_hash_stamps(b.replica, after);
	ck_assert_mem_eq(before, after, 16);
	ck_assert_uint_eq(node_stats(&b).writes, 0);
	node_insert(&b, 1, "{}");
	exchange();
}
END_TEST

START_TEST(one_byte_more_than_sixteen_mib_is_emsgsize)
{
	ck_assert_int_eq(fill(&txn, 10, (16u << 20) + 8), -EMSGSIZE);
	ck_assert_int_eq(txn_put(&txn, 1, "small", 5), 0);
	ck_assert_int_eq(txn_commit(&txn), 0);
	exchange();
}
END_TEST

START_TEST(memory_of_a_transaction_is_bounded)
{
	const struct blaze_id id = id_of(1);
	struct blaze_record *record;
	int rc = 0;

	txn.writeset->arena.max = 100000;
	for (unsigned i = 0; i < 1000; i++)
		node_insert(&a, i, "{\"x\":\"some text of some length\"}");
	for (unsigned i = 2; i < 1000 && rc == 0; i++) {
		const struct blaze_id read = id_of(i);

		rc = blazei_writeset_get(a.replica, txn.writeset, &read, &record);
		if (rc == 0)
			blaze_record_free(record);
	}
	ck_assert_int_eq(rc, -EMSGSIZE);
	ck_assert_int_eq(txn_update(&txn, 1, "{\"x\":1}"), -EMSGSIZE);
	ck_assert_int_eq(blazei_writeset_fetch(a.replica, txn.writeset, &id, NULL, 0), -EMSGSIZE);
	txn_expect(&txn, 2, "{\"x\":\"some text of some length\"}");
	ck_assert_int_eq(txn_commit(&txn), 1);
}
END_TEST

static const TTest *const *const tests[] = {
	&reads_see_own_writes_and_others_only_the_commit,
	&abort_leaves_nothing,
	&fetch_sees_own_puts_and_tells_other_types,
	&a_read_is_a_touch_and_reads_repeat,
	&errors_are_those_of_single_calls_on_what_it_reads,
	&a_record_beyond_limits_is_e2big_and_changes_nothing,
	&bytes_beyond_limits_are_e2big,
	&nothing_written_commits_to_nothing,
	&update_brought_back_is_no_write_and_put_always_is,
	&insert_then_delete_is_nothing_even_if_another_inserts,
	&delete_then_insert_is_the_next_life,
	&writes_before_a_delete_hold_where_a_server_keeps_the_record,
	&a_server_affirms_existence_once_per_record,
	&records_ascend_by_id_however_they_were_written,
	&a_value_that_was_removed_is_not_there,
	&a_stage_may_be_cleared_before_anything_is_in_it,
	&a_cleared_stage_is_as_new,
	&a_record_divided_between_two_lots_gets_its_room,
	&an_update_before_a_delete_is_no_conflict_with_it,
	&an_insert_never_revives_fields_of_a_lost_life,
	&a_transaction_waits_whole_for_what_it_depends_on,
	&sixteen_mib_is_the_limit_to_the_byte,
	&one_byte_more_than_sixteen_mib_is_emsgsize,
	&memory_of_a_transaction_is_bounded,
};

int main(void)
{
	Suite *suite = suite_create("writeset");
	TCase *tcase = tcase_create("writeset");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	tcase_add_loop_test(tcase, many_records_of_two_lives_are_merged_whole, 0, 20);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
