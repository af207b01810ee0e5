/* SPDX-License-Identifier: Apache-2.0 */
/* What is below the frontier, who is, and what such a one issues anew. */
#include "lib/op/record.h"
#include "tests/repl/frontier.h"
#include "tests/repl/ghost.h"
#include "tests/repl/three.h"

static uint64_t frontier(const struct node *at, const struct node *of)
{
	return blazei_replica_frontier_seq(at->replica, &of->origin);
}

START_TEST(frontier_of_who_was_not_heard_of_is_0)
{
	node_insert(&a, 1, "{\"x\":1}");
	frontier_make(&a);
	ck_assert_uint_eq(frontier(&a, &b), 0);
	/* Nor of one who came after it was made known. */
	node_insert(&b, 2, "{\"x\":1}");
	ck_assert_int_eq(node_give(&b, &a, 1), 1);
	ck_assert_uint_eq(frontier(&a, &b), 0);
	frontier_make(&a);
	ck_assert_uint_eq(frontier(&a, &b), 1);
}
END_TEST

START_TEST(stranger_is_no_member_among_as_many_as_there_is_room_for)
{
	struct node node;

	for (unsigned i = 0; i < 8; i++) {
		node_open(&node, 100 + i);
		ck_assert_int_eq(node_tick(&node), 1);
		ck_assert_int_eq(node_give(&node, &a, 1), 1);
		ck_assert_int_eq(blazei_replica_membership(a.replica, &node.origin.node),
		                 BLAZEI_MEMBER_JOINED);
		node_close(&node);
	}
	ck_assert_int_eq(blazei_replica_membership(a.replica, &c.origin.node), BLAZEI_MEMBER_NEVER);
}
END_TEST

/* A copy of the frontier of a and b, as a vector, in memory of that size. */
static struct blazei_vector_entry *frontier_copy(void)
{
	struct blazei_vector_entry *entries = malloc(2 * sizeof(*entries));

	entries[0] = (struct blazei_vector_entry){ b.origin, frontier(&a, &b) };
	entries[1] = (struct blazei_vector_entry){ a.origin, frontier(&a, &a) };
	return entries;
}

START_TEST(below_the_frontier_is_who_lacks_any_of_it)
{
	struct blazei_vector_view view = { .count = 2 };
	const struct blazei_vector_view none = { 0 };
	struct blazei_vector_entry *entries;

	ck_assert(!blazei_replica_below_frontier(a.replica, &none));
	node_insert(&b, 1, "{\"x\":1}");
	node_insert(&b, 2, "{\"x\":1}");
	node_give_all(&b, &a);
	node_insert(&a, 3, "{\"x\":1}");
	frontier_make(&a);
	entries = frontier_copy();
	view.entries = entries;
	ck_assert_uint_eq(entries[0].seq, 2);
	ck_assert(!blazei_replica_below_frontier(a.replica, &view));
	entries[0].seq++;
	ck_assert(!blazei_replica_below_frontier(a.replica, &view));
	entries[0].seq -= 2;
	ck_assert(blazei_replica_below_frontier(a.replica, &view));
	entries[0].seq++;
	entries[1].seq--;
	ck_assert(blazei_replica_below_frontier(a.replica, &view));
	/* Who was never heard by it has nothing of it. */
	entries[1] = (struct blazei_vector_entry){ c.origin, 1000 };
	ck_assert(blazei_replica_below_frontier(a.replica, &view));
	ck_assert(blazei_replica_below_frontier(a.replica, &none));
	free(entries);
}
END_TEST

START_TEST(known_below_is_the_same_by_index)
{
	uint64_t *known;
	unsigned count;

	node_insert(&b, 1, "{\"x\":1}");
	node_give_all(&b, &a);
	frontier_make(&a);
	count = blazei_replica_vector_count(a.replica);
	known = malloc(count * sizeof(*known));
	for (unsigned i = 0; i < count; i++)
		known[i] = a.replica->members.frontier[i];
	ck_assert(!blazei_known_below(a.replica, known));
	known[count - 1]--;
	ck_assert(blazei_known_below(a.replica, known));
	free(known);
}
END_TEST

/* Unseen writes -------------------------------------------------------------------------------*/

#define TOLD_MAX 16u

struct told {
	struct {
		unsigned number;
		enum blazei_write_kind kind;
		char json[64]; /* "" where it is none */
	} list[TOLD_MAX];
	unsigned count;
};

/* All that a has and this vector has not; `again`, which has what the vector covers, gets it. */
static struct told unseen(const struct blazei_vector_view *seen, struct node *again)
{
	struct told told = { .count = 0 };
	struct blazei_unseen item;
	uint64_t cursor = 0;
	int rc;

	while ((rc = blazei_replica_unseen(a.replica, seen, &cursor, &item)) > 0) {
		const struct blazei_write write = { item.kind, &item.id, .record = item.record };
		struct blazei_txn_view txn;
		char *json;

		ck_assert_uint_lt(told.count, TOLD_MAX);
		told.list[told.count].number = item.id.bytes[15];
		told.list[told.count].kind = item.kind;
		if (item.record && blaze_record_to_json(item.record, &json) == 0) {
			snprintf(told.list[told.count].json, sizeof(told.list->json), "%s", json);
			free(json);
		}
		told.count++;
		again->now_ns++;
		ck_assert_int_eq(blazei_replica_write(again->replica, again->now_ns, &write, &txn),
		                 0);
		blaze_record_free(item.record);
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_eq(cursor, a.replica->table.row_count);
	return told;
}

static void expect_told(const struct told *told, unsigned i, unsigned number,
                        enum blazei_write_kind kind, const char *json)
{
	ck_assert_uint_gt(told->count, i);
	ck_assert_uint_eq(told->list[i].number, number);
	ck_assert_int_eq(told->list[i].kind, kind);
	ck_assert_str_eq(told->list[i].json, json);
}

START_TEST(unseen_is_what_goes_beyond_the_vector)
{
	struct blazei_vector_entry entry = { a.origin, 2 };
	const struct blazei_vector_view seen = { &entry, 1 };
	struct told told;

	node_insert(&b, 7, "{\"x\":1}");
	node_insert(&b, 8, "{\"x\":1}");
	node_give_all(&b, &a);
	node_give_all(&b, &c);
	/* Seen; another one's; deleted by another one; an empty one; deleted. */
	node_insert(&a, 3, "{\"y\":1}");
	node_insert(&a, 1, "{\"x\":1}");
	node_give_all(&a, &c);
	node_delete(&b, 8);
	node_give(&b, &a, 3);
	node_give(&b, &c, 3);
	node_insert(&a, 2, "{}");
	node_insert(&a, 4, "{\"z\":1}");
	node_delete(&a, 3);
	told = unseen(&seen, &c);
	ck_assert_uint_eq(told.count, 3);
	expect_told(&told, 0, 3, BLAZEI_WRITE_DELETE, "");
	expect_told(&told, 1, 2, BLAZEI_WRITE_UPSERT, "{}");
	expect_told(&told, 2, 4, BLAZEI_WRITE_UPSERT, "{\"z\":1}");
}
END_TEST

START_TEST(unseen_field_of_a_life_that_is_over_is_none)
{
	const struct blazei_vector_view nothing = { 0 };
	struct told told;

	node_insert(&a, 1, "{\"old\":1,\"x\":1}");
	node_delete(&a, 1);
	node_insert(&a, 1, "{\"x\":2}");
	told = unseen(&nothing, &c);
	ck_assert_uint_eq(told.count, 1);
	expect_told(&told, 0, 1, BLAZEI_WRITE_UPSERT, "{\"x\":2}");
}
END_TEST

START_TEST(unseen_removal_is_told_of_a_record_that_is_known_only)
{
	struct blazei_vector_entry entry = { a.origin, 0 };
	const struct blazei_vector_view seen = { &entry, 1 };
	struct told told;

	node_insert(&b, 1, "{\"x\":1,\"y\":1}");
	node_give_all(&b, &a);
	node_give_all(&b, &c);
	node_write(&a, BLAZEI_WRITE_UPDATE, 1, "{}", "y");
	node_insert(&a, 2, "{\"x\":1,\"y\":1}");
	node_write(&a, BLAZEI_WRITE_UPDATE, 2, "{}", "y");
	told = unseen(&seen, &c);
	ck_assert_uint_eq(told.count, 2);
	ck_assert_int_eq(told.list[0].kind, BLAZEI_WRITE_UPDATE);
	node_expect(&c, 1, "{\"x\":1}");
	expect_told(&told, 1, 2, BLAZEI_WRITE_UPSERT, "{\"x\":1}");
}
END_TEST

START_TEST(unseen_of_every_incarnation_and_not_what_lost)
{
	struct blazei_origin self = a.origin;
	const struct blazei_vector_view nothing = { 0 };
	struct told told;

	node_insert(&a, 1, "{\"x\":1}");
	node_insert(&a, 2, "{\"x\":1}");
	self.incarnation = 5;
	ck_assert_int_eq(blazei_replica_renew(a.replica, a.now_ns, &self), 0);
	node_insert(&a, 3, "{\"x\":3}");
	node_give_all(&a, &b);
	b.now_ns = a.now_ns + 1;
	node_update(&b, 1, "{\"x\":9}");
	node_delete(&b, 2);
	node_give_all(&b, &a);
	told = unseen(&nothing, &c);
	ck_assert_uint_eq(told.count, 2);
	/* It made the record, another one wrote its field. */
	expect_told(&told, 0, 1, BLAZEI_WRITE_UPSERT, "{}");
	expect_told(&told, 1, 3, BLAZEI_WRITE_UPSERT, "{\"x\":3}");
}
END_TEST

START_TEST(unseen_ends_with_the_last_field)
{
	const struct blazei_vector_view nothing = { 0 };
	struct blazei_entry ghost = { .hlc = NOW, .seq = 1, .life = 1, .value_len = 1 };
	struct blaze_record *record;
	struct blazei_unseen item;
	uint64_t cursor = 0;

	node_insert(&a, 9, "{\"x\":1}");
	ghost.name = blazei_names_find(&a.replica->names, "x", 1);
	node_put_ghost(&a, 1, &ghost);
	ck_assert_int_eq(blazei_replica_unseen(a.replica, &nothing, &cursor, &item), 1);
	blaze_record_free(item.record);
	ck_assert_int_eq(blazei_replica_unseen(a.replica, &nothing, &cursor, &item), 1);
	ck_assert_uint_eq(item.record->count, 1);
	blaze_record_free(item.record);
	ck_assert_int_eq(blazei_replica_get(a.replica, &item.id, &record), 0);
	ck_assert_uint_eq(record->count, 1);
	blaze_record_free(record);
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&frontier_of_who_was_not_heard_of_is_0,
		&stranger_is_no_member_among_as_many_as_there_is_room_for,
		&below_the_frontier_is_who_lacks_any_of_it,
		&known_below_is_the_same_by_index,
		&unseen_is_what_goes_beyond_the_vector,
		&unseen_field_of_a_life_that_is_over_is_none,
		&unseen_removal_is_told_of_a_record_that_is_known_only,
		&unseen_of_every_incarnation_and_not_what_lost,
		&unseen_ends_with_the_last_field,
	};
	Suite *suite = suite_create("frontier");
	TCase *tcase = tcase_create("frontier");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, *tests[i]);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
