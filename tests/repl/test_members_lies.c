/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of members that say what no member would: that moves no frontier, takes no lives, makes
 * nobody a member, and harms nothing. */
#include "lib/op/value.h"
#include "tests/repl/ghost.h"
#include "tests/repl/trio.h"

/* Commits one op, or none, to a row, as anybody who lies may. */
static void lie_commit(unsigned who, const struct blaze_id *row, const struct blazei_write_op *op,
                       uint32_t life, uint16_t flags)
{
	struct node *node = &nodes[who];
	struct blazei_write_op ops[1];
	struct blazei_write_group group = {
		.id = row,
		.row = node_row(node, row),
		.ops = ops,
		.op_count = op != NULL,
		.life = life,
		.flags = flags,
	};
	struct blazei_write_group *groups = &group;
	struct blazei_txn_view txn;

	if (op)
		ops[0] = *op;
	ck_assert_int_eq(blazei_commit(node->replica, node->now_ns, &groups, 1, &txn), 0);
	ck_assert(node_keep(node, txn.data, txn.len));
}

/* A value as it is encoded. */
static void lie_value(unsigned who, const struct blaze_id *row, const char *name, const void *value,
                      size_t len)
{
	const struct blazei_write_op op = {
		.name = name,
		.name_len = 1,
		.body = value,
		.body_len = (uint32_t)len,
		.unset = value == NULL,
	};

	lie_commit(who, row, &op, BLAZEI_LIFE_MAX, 0);
}

/* Bytes. */
static void lie_write(unsigned who, const struct blaze_id *row, const char *name, const void *data,
                      size_t len)
{
	uint8_t value[BLAZEI_VALUE_HEAD_MAX + 64];
	const size_t head = (size_t)blazei_encode_bytes_head(value, BLAZEI_VALUE_HEAD_MAX, len);

	ck_assert_uint_le(len, 64);
	memcpy(value + head, data, len);
	lie_value(who, row, name, value, head + len);
}

static enum blazei_membership membership(unsigned at, unsigned of)
{
	return blazei_replica_membership(nodes[at].replica, &nodes[of].origin.node);
}

START_TEST(hostile_rows_are_no_members_and_do_no_harm)
{
	/* A report whose vector is cut short, in place of one. */
	struct blazei_txn_header *header;
	uint8_t *bytes;

	ck_assert_int_eq(tick(0), 1);
	header = nodes[0].log[0].data;
	bytes = (uint8_t *)header;
	for (size_t i = sizeof(*header) + 24; i + 3 < header->bytes; i++)
		if (bytes[i] == 'v' && bytes[i + 1] == 0x58)
			bytes[i + 1] = 0x78; /* text */
	header->chain = blazei_txn_hash(header);
	node_give(&nodes[0], &nodes[1], 1);
	tick(1);
	pass(40 * BLAZEI_NS_PER_S);
	tick(1);
	ck_assert_uint_eq(frontier(1, 0), 0);
}
END_TEST

START_TEST(lying_floor_takes_no_lives_and_gives_no_priority)
{
	const uint64_t lies[][2] = { { BLAZEI_LIFE_MAX - 2, 0 },
		                     { BLAZEI_LIFE_MAX / 2 + 1, 0 },
		                     { 1000, 0 },
		                     { 1, UINT64_MAX } };

	ck_assert_int_eq(tick(1), 1);
	settle();
	for (unsigned i = 0; i < 4; i++) {
		const struct blaze_id id = id_of(7 + i);
		const struct blazei_row *row;

		lie_write(0, &nodes[0].origin.node, "c", lies[i], sizeof(lies[i]));
		settle();
		nodes[1].now_ns += BLAZEI_NS_PER_S;
		ck_assert_int_eq(node_insert(&nodes[1], 7 + i, "{\"x\":1}"), 0);
		row = blazei_table_find(&nodes[1].replica->table, &id,
		                        blazei_table_hash(&nodes[1].replica->table, &id));
		ck_assert_uint_le(row->life, 2);
		ck_assert_uint_lt(row->priority, row->hlc);
	}
}
END_TEST

START_TEST(lying_rows_move_no_frontier)
{
	const struct blazei_vector_entry beyond = { nodes[2].origin, 1000 };
	const struct blazei_vector_entry stranger = { .origin.incarnation = 1, .seq = 1 };
	const struct blazei_vector_entry all = { nodes[2].origin, 1 };

	node_insert(&nodes[2], 7, "{\"x\":1}");
	ck_assert_int_eq(tick(1), 1);
	settle();
	/* More than there is; of nobody; and in another one's name. */
	lie_write(0, &nodes[0].origin.node, "v", &stranger, sizeof(stranger));
	lie_write(0, &nodes[0].origin.node, "f", &beyond, sizeof(beyond));
	lie_write(0, &nodes[1].origin.node, "f", &all, sizeof(all));
	settle();
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(frontier(i, 2), 0);
}
END_TEST

/* Registers that no member has, before anybody named those that one has. */
START_TEST(row_without_a_report_is_no_member)
{
	const uint8_t one = 0x01;

	lie_value(0, &nodes[0].origin.node, "q", &one, 1);
	settle();
	ck_assert_int_ne(membership(1, 0), BLAZEI_MEMBER_JOINED);
	ck_assert_int_eq(tick(1), 1);
	settle();
	ck_assert_int_ne(membership(1, 0), BLAZEI_MEMBER_JOINED);
	ck_assert_int_eq(membership(0, 1), BLAZEI_MEMBER_JOINED);
}
END_TEST

/* A member that says of itself what is no state, or nothing any more. */
START_TEST(state_that_is_none_is_that_of_no_member)
{
	static const uint8_t text[] = { 0x61, '1' };
	static const uint8_t two = 0x02;

	ck_assert_int_eq(tick(0), 1);
	settle();
	ck_assert_int_eq(membership(1, 0), BLAZEI_MEMBER_JOINED);
	if (_i == 0)
		lie_value(0, &nodes[0].origin.node, "s", text, sizeof(text));
	else if (_i == 1)
		lie_value(0, &nodes[0].origin.node, "s", &two, 1);
	else
		lie_value(0, &nodes[0].origin.node, "s", NULL, 0);
	settle();
	ck_assert_int_eq(membership(1, 0), BLAZEI_MEMBER_EXPELLED);
}
END_TEST

/* A vector, a frontier and a floor of other types, and one of another length. */
START_TEST(value_that_is_none_of_a_member_counts_for_nothing)
{
	static const uint8_t text[] = { 0x63, 'a', 'l', 'l' };
	static const char *const names[] = { "v", "f", "c" };

	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(tick(i), 1);
	settle();
	for (unsigned i = 0; i < 3; i++)
		lie_value(0, &nodes[0].origin.node, names[i], text, sizeof(text));
	settle();
	ck_assert_uint_eq(frontier(1, 0), 0);
	node_insert(&nodes[0], 1, "{\"x\":1}");
	settle();
	run(3, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	/* It said something else since. */
	ck_assert_int_eq(membership(1, 0), BLAZEI_MEMBER_JOINED);
	ck_assert_uint_gt(frontier(1, 0), 0);
	lie_write(0, &nodes[0].origin.node, "c", text, sizeof(text));
	settle();
	node_insert(&nodes[1], 7, "{\"x\":1}");
	ck_assert_uint_eq(nodes[1].replica->members.floor.life, 0);
	ck_assert_uint_eq(nodes[1].replica->members.floor.priority, 0);
}
END_TEST

/* As many lives as there are transactions, where that sum is more than a number holds. */
START_TEST(lives_of_more_transactions_than_are_counted_are_bounded)
{
	const struct blazei_vector_detail details[] = {
		{ .entry = { nodes[1].origin, UINT64_MAX - 1 }, .chain = 1 },
		{ .entry = { nodes[2].origin, 5 }, .chain = 1 },
	};

	ck_assert_int_eq(blazei_replica_restore(nodes[0].replica, details, 2), 0);
	ck_assert(blazei_life_plausible(nodes[0].replica, BLAZEI_LIFE_MAX / 2));
	ck_assert(!blazei_life_plausible(nodes[0].replica, BLAZEI_LIFE_MAX / 2 + 1));
	ck_assert(!blazei_life_plausible(nodes[0].replica, UINT64_MAX));
}
END_TEST

/* Everything that is durable is collected, of what is below the frontier. */
static int64_t collected(unsigned count)
{
	run(count, 200 * BLAZEI_NS_PER_S, 10 * BLAZEI_NS_PER_S);
	return blazei_replica_collect(nodes[0].replica, UINT32_MAX);
}

/* A tombstone of a life that no record came to stays; a field of a record that never was goes, as
 * one does that waits for its record (reissue.h). */
START_TEST(tombstone_that_no_write_makes_is_not_collected)
{
	const struct blaze_id ids[] = { id_of(1), id_of(2) };
	const struct blazei_write_op op = {
		.name = "x", .name_len = 1, .body = "\x01", .body_len = 1
	};

	node_insert(&nodes[0], 3, "{\"x\":1}");
	lie_commit(0, &ids[0], &op, 1, 0);
	lie_commit(0, &ids[1], NULL, BLAZEI_LIFE_MAX / 2, BLAZEI_GROUP_EXISTENCE);
	settle();
	ck_assert_int_eq(collected(3), 0);
	/* Its life is above the floor now. */
	ck_assert_int_eq(collected(3), 1);
	ck_assert_int_eq(collected(3), 0);
	ck_assert_uint_eq(nodes[0].replica->members.wish.life, 1);
	node_expect(&nodes[0], 1, NULL);
	node_expect(&nodes[0], 2, NULL);
	/* The same id begins above that life, everywhere, whoever has collected. */
	ck_assert_int_eq(node_insert(&nodes[0], 1, "{\"y\":1}"), 0);
	settle();
	nodes_expect_equal(&nodes[0], &nodes[1]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("members_lies");
	TCase *tcase = tcase_create("members_lies");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, hostile_rows_are_no_members_and_do_no_harm);
	tcase_add_test(tcase, lying_floor_takes_no_lives_and_gives_no_priority);
	tcase_add_test(tcase, lying_rows_move_no_frontier);
	tcase_add_test(tcase, row_without_a_report_is_no_member);
	tcase_add_loop_test(tcase, state_that_is_none_is_that_of_no_member, 0, 3);
	tcase_add_test(tcase, value_that_is_none_of_a_member_counts_for_nothing);
	tcase_add_test(tcase, lives_of_more_transactions_than_are_counted_are_bounded);
	tcase_add_test(tcase, tombstone_that_no_write_makes_is_not_collected);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
