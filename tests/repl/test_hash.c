/* SPDX-License-Identifier: Apache-2.0 */
/* What the two hashes cover, and that nothing else shows in them: each difference between two
 * replicas changes the hash that is to tell it, and the way in which the same content came about
 * changes none. Tests that compare replicas by their hashes rest on this. */
#include "tests/repl/harness.h"

struct digests {
	uint8_t visible[16];
	uint8_t stamps[16];
};

static struct digests digests_of(const struct node *node)
{
	struct digests digests;

	ck_assert_int_eq(blazei_replica_hash(node->replica, digests.visible), 0);
	ck_assert_int_eq(blazei_replica_hash_stamps(node->replica, digests.stamps), 0);
	return digests;
}

/* The digests of a node of this rank that inserted one record at this time. */
static struct digests one_insert(unsigned rank, uint64_t now_ns, unsigned number, const char *json)
{
	struct digests digests;
	struct node node;

	node_open(&node, rank);
	node.now_ns = now_ns;
	ck_assert_int_eq(node_insert(&node, number, json), 0);
	digests = digests_of(&node);
	node_close(&node);
	return digests;
}

static bool visible_equal(const struct digests *a, const struct digests *b)
{
	return memcmp(a->visible, b->visible, 16) == 0;
}

static bool stamps_equal(const struct digests *a, const struct digests *b)
{
	return memcmp(a->stamps, b->stamps, 16) == 0;
}

START_TEST(hash_tells_ids_names_and_values)
{
	static const struct {
		unsigned number;
		const char *json;
	} others[] = {
		{ 2, "{\"a\":1}" },   { 1, "{\"b\":1}" },         { 1, "{\"a\":2}" },
		{ 1, "{\"a\":1.0}" }, { 1, "{\"a\":1,\"b\":1}" }, { 1, "{}" },
		{ 1, "{\"A\":1}" },
	};
	const struct digests first = one_insert(1, NOW, 1, "{\"a\":1}");

	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		const struct digests other = one_insert(1, NOW, others[i].number, others[i].json);

		ck_assert_msg(!visible_equal(&first, &other), "as %s", others[i].json);
		ck_assert_msg(!stamps_equal(&first, &other), "as %s", others[i].json);
	}
}
END_TEST

/* Bytes that are the same where names had no lengths: "a" "1" and "aa" -18. */
START_TEST(hash_tells_where_a_name_ends)
{
	const struct digests a = one_insert(1, NOW, 1, "{\"a\":\"1\"}");
	const struct digests b = one_insert(1, NOW, 1, "{\"aa\":-18}");

	ck_assert(!visible_equal(&a, &b));
	ck_assert(!stamps_equal(&a, &b));
}
END_TEST

START_TEST(hash_of_stamps_tells_clock_and_origin)
{
	const struct digests first = one_insert(1, NOW, 1, "{\"a\":1}");
	const struct digests later = one_insert(1, NOW + BLAZEI_NS_PER_S, 1, "{\"a\":1}");
	const struct digests other = one_insert(2, NOW, 1, "{\"a\":1}");
	const struct digests again = one_insert(1, NOW, 1, "{\"a\":1}");

	ck_assert(visible_equal(&first, &later) && visible_equal(&first, &other));
	ck_assert(!stamps_equal(&first, &later));
	ck_assert(!stamps_equal(&first, &other));
	ck_assert(stamps_equal(&first, &again));
}
END_TEST

START_TEST(hash_of_stamps_tells_seq_of_fields_and_of_existence)
{
	struct node once, twice;
	struct digests a, b;

	/* The same clock and the same content; the number of the last transaction differs. */
	node_open(&once, 1);
	node_open(&twice, 1);
	node_insert(&once, 1, "{\"a\":1}");
	node_insert(&twice, 9, "{}");
	twice.now_ns = once.now_ns - 1000000;
	node_insert(&twice, 1, "{\"a\":1}");
	a = digests_of(&once);
	b = digests_of(&twice);
	ck_assert(!stamps_equal(&a, &b));
	node_close(&once);
	node_close(&twice);
}
END_TEST

START_TEST(hash_of_stamps_tells_priority)
{
	struct node peer, server;
	struct digests a, b;

	node_open(&peer, 1);
	node_open(&server, 1);
	blazei_replica_set_server(server.replica, true);
	node_insert(&peer, 1, "{\"a\":1}");
	node_insert(&server, 1, "{\"a\":1}");
	a = digests_of(&peer);
	b = digests_of(&server);
	ck_assert(visible_equal(&a, &b));
	ck_assert(!stamps_equal(&a, &b));
	node_close(&peer);
	node_close(&server);
}
END_TEST

START_TEST(hash_hides_what_is_deleted_and_stamps_do_not)
{
	struct node node, empty;
	struct digests a, b, c;

	node_open(&node, 1);
	node_open(&empty, 1);
	node_insert(&node, 1, "{\"a\":1}");
	node_delete(&node, 1);
	a = digests_of(&node);
	b = digests_of(&empty);
	ck_assert(visible_equal(&a, &b));
	ck_assert(!stamps_equal(&a, &b));
	/* A second life does not show the first one's fields, but remembers them. */
	node_insert(&node, 1, "{\"b\":1}");
	c = one_insert(1, NOW, 1, "{\"b\":1}");
	a = digests_of(&node);
	ck_assert(visible_equal(&a, &c));
	ck_assert(!stamps_equal(&a, &c));
	node_close(&node);
	node_close(&empty);
}
END_TEST

/* A field removed in one replica and never there in the other. */
START_TEST(hash_of_stamps_tells_removed_fields)
{
	struct node with, without;
	struct digests a, b;

	node_open(&with, 1);
	node_open(&without, 1);
	node_insert(&with, 1, "{\"a\":1,\"b\":2}");
	node_write(&with, BLAZEI_WRITE_UPDATE, 1, "{}", "b");
	node_insert(&without, 1, "{\"a\":1}");
	a = digests_of(&with);
	b = digests_of(&without);
	ck_assert(visible_equal(&a, &b));
	ck_assert(!stamps_equal(&a, &b));
	node_close(&with);
	node_close(&without);
}
END_TEST

/* Fields of two lives that came in either order lie in the row in either order. */
START_TEST(hash_does_not_tell_in_which_order_lives_came)
{
	struct node a, b, first, second;

	node_open(&a, 1);
	node_open(&b, 2);
	node_open(&first, 3);
	node_open(&second, 4);
	node_insert(&a, 1, "{\"f\":1}");
	node_give(&a, &b, 1);
	node_update(&b, 1, "{\"g\":1,\"a\":1}"); /* of life 1, not knowing that it ends */
	node_delete(&a, 1);
	node_insert(&a, 1, "{\"g\":2,\"a\":2,\"f\":3}"); /* of life 2 */
	node_give_all(&a, &first);
	node_give_all(&b, &first);
	node_give(&a, &second, 1);
	node_give_all(&b, &second);
	node_give_all(&a, &second);
	nodes_expect_equal(&first, &second);
	node_expect(&second, 1, "{\"a\":2,\"f\":3,\"g\":2}");
	node_close(&a);
	node_close(&b);
	node_close(&first);
	node_close(&second);
}
END_TEST

/* Ids after which the next one carries over, up to the very last id. */
START_TEST(hash_covers_ids_that_end_in_ff)
{
	static const unsigned carried[] = { 0, 1, 2, 14, 15, 16 };
	struct node a, b;
	struct digests before, after;

	node_open(&a, 1);
	node_open(&b, 1);
	for (size_t i = 0; i < sizeof(carried) / sizeof(*carried); i++) {
		struct blaze_id id = id_of(0x0102);
		struct blazei_txn_view txn;

		memset(id.bytes + 16 - carried[i], 0xff, carried[i]);
		before = digests_of(&a);
		ck_assert_int_eq(node_put(&a, &id, "x", 1, &txn), 0);
		after = digests_of(&a);
		ck_assert(!visible_equal(&before, &after));
		ck_assert(!stamps_equal(&before, &after));
		ck_assert_int_eq(node_put(&b, &id, "x", 1, &txn), 0);
	}
	ck_assert_uint_eq(blazei_replica_count(a.replica), 6);
	nodes_expect_equal(&a, &b);
	/* One behind each of those that carry. */
	for (size_t i = 0; i + 1 < sizeof(carried) / sizeof(*carried); i++) {
		struct blaze_id id = id_of(0x0102);
		struct blazei_txn_view txn;

		memset(id.bytes + 16 - carried[i], 0xff, carried[i]);
		before = digests_of(&a);
		ck_assert_int_eq(node_put(&a, &id, "y", 1, &txn), 0);
		after = digests_of(&a);
		ck_assert(!visible_equal(&before, &after));
	}
	node_close(&a);
	node_close(&b);
}
END_TEST

/* A field that gives back room moves those behind it, and what they were stays behind the row's
 * end: exactly one entry here. */
START_TEST(read_ends_where_the_row_does)
{
	static const char text[] = "{\"a\":\"%.*s\",\"b\":\"%.*s\"}";
	static const char filler[] =
	        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
	struct node moved, plain;
	struct digests a, b;
	char json[300];

	node_open(&moved, 1);
	node_open(&plain, 1);
	/* 104 bytes of value, then 8; "b" takes 40 and 56, which is what "a" gives back. */
	snprintf(json, sizeof(json), text, 100, filler, 50, filler);
	node_insert(&moved, 1, json);
	node_update(&moved, 1, "{\"a\":1}");
	snprintf(json, sizeof(json), "{\"a\":1,\"b\":\"%.*s\"}", 50, filler);
	node_insert(&plain, 1, json);
	node_expect(&moved, 1, json);
	a = digests_of(&moved);
	b = digests_of(&plain);
	ck_assert(visible_equal(&a, &b));
	node_close(&moved);
	node_close(&plain);
}
END_TEST

/* More hidden fields than a record may have do not keep it from being read. */
START_TEST(read_with_many_hidden_fields)
{
	struct node node;
	char name[16];

	node_open(&node, 1);
	for (unsigned life = 0; life < 3; life++) {
		struct blaze_record *record;
		const struct blaze_id id = id_of(1);
		struct blazei_txn_view txn;

		ck_assert_int_eq(blaze_record_new(&record), 0);
		for (unsigned i = 0; i < 500; i++) {
			snprintf(name, sizeof(name), "l%uf%u", life, i);
			ck_assert_int_eq(blaze_record_set_int(record, name, i), 0);
		}
		node.now_ns += 1000000;
		ck_assert_int_eq(
		        blazei_replica_write(node.replica, node.now_ns,
		                             &(struct blazei_write){ .kind = BLAZEI_WRITE_INSERT,
		                                                     .id = &id,
		                                                     .record = record },
		                             &txn),
		        0);
		blaze_record_free(record);
		if (life < 2)
			node_delete(&node, 1);
	}
	node_update(&node, 1, "{\"last\":1}");
	{
		const struct blaze_id id = id_of(1);
		struct blaze_record *record;

		ck_assert_int_eq(blazei_replica_get(node.replica, &id, &record), 0);
		ck_assert_uint_eq(blaze_record_field_count(record), 501);
		blaze_record_free(record);
	}
	node_close(&node);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hash");
	TCase *tcase = tcase_create("hash");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, hash_tells_ids_names_and_values);
	tcase_add_test(tcase, hash_tells_where_a_name_ends);
	tcase_add_test(tcase, hash_of_stamps_tells_clock_and_origin);
	tcase_add_test(tcase, hash_of_stamps_tells_seq_of_fields_and_of_existence);
	tcase_add_test(tcase, hash_of_stamps_tells_priority);
	tcase_add_test(tcase, hash_hides_what_is_deleted_and_stamps_do_not);
	tcase_add_test(tcase, hash_of_stamps_tells_removed_fields);
	tcase_add_test(tcase, hash_does_not_tell_in_which_order_lives_came);
	tcase_add_test(tcase, hash_covers_ids_that_end_in_ff);
	tcase_add_test(tcase, read_ends_where_the_row_does);
	tcase_add_test(tcase, read_with_many_hidden_fields);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
