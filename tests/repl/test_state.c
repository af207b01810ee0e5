/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks of state as they are encoded: what is in one, and where it ends. What comes of them is
 * looked at where they are installed. */
#include "lib/op/record.h"
#include "lib/repl/core.h"
#include "tests/op/edge.h"
#include "tests/repl/harness.h"

static struct node node;
static uint64_t known[1];
static struct blazei_state_cursor cursor;
static uint8_t *buf;

static void set_up(void)
{
	node_open(&node, 1);
	known[0] = 0;
	cursor = (struct blazei_state_cursor){ 0 };
	buf = malloc(BLAZEI_STATE_BYTES_MAX);
	ck_assert_ptr_nonnull(buf);
}

static void tear_down(void)
{
	free(buf);
	node_close(&node);
}

/* The next chunk, which is a sound one; the bytes of its groups. */
static size_t chunk(size_t enough, uint32_t record_count)
{
	const struct blazei_txn_header *header = (const void *)buf;
	const int64_t len = blazei_state_encode(node.replica, known, &cursor, buf, enough);

	ck_assert_int_ge(len, (int64_t)(sizeof(*header) + sizeof(struct blazei_origin)));
	ck_assert_int_eq(blazei_state_check(buf, (size_t)len), 0);
	ck_assert_uint_eq(header->record_count, record_count);
	return (size_t)len - sizeof(*header) - sizeof(struct blazei_origin);
}

static void expect_end(void)
{
	ck_assert(cursor.end);
	ck_assert_int_eq(blazei_state_encode(node.replica, known, &cursor, buf, 1), 0);
}

START_TEST(chunk_ends_once_enough_is_there)
{
	size_t one;

	for (unsigned i = 1; i <= 5; i++)
		node_insert(&node, i, "{\"x\":1}");
	one = chunk(1, 1);
	ck_assert(!cursor.end);
	ck_assert_uint_eq(chunk(one, 1), one);
	ck_assert_uint_eq(chunk(one + 1, 2), 2 * one);
	ck_assert(!cursor.end);
	ck_assert_uint_eq(chunk(2 * one, 1), one);
	expect_end();
}
END_TEST

START_TEST(chunk_has_what_is_not_covered_and_nothing_else)
{
	const struct blazei_txn_group *group;

	node_insert(&node, 1, "{\"x\":1,\"y\":1}");
	node_insert(&node, 2, "{\"x\":1}");
	node_update(&node, 1, "{\"y\":2}");
	known[0] = 2;
	chunk(BLAZEI_STATE_BYTES_MAX, 1);
	group = (const void *)blazei_txn_groups((const void *)buf);
	ck_assert_uint_eq(group->register_count, 1);
	ck_assert_uint_eq(group->flags, 0);
	expect_end();
	cursor = (struct blazei_state_cursor){ 0 };
	known[0] = 1;
	chunk(BLAZEI_STATE_BYTES_MAX, 2);
	cursor = (struct blazei_state_cursor){ 0 };
	known[0] = 3;
	ck_assert_uint_eq(chunk(BLAZEI_STATE_BYTES_MAX, 0), 0);
	expect_end();
}
END_TEST

/* Puts a value of so many bytes. */
static void put(unsigned number, size_t len)
{
	static const uint8_t value[BLAZEI_RECORD_BYTES_MAX];
	const struct blaze_id id = id_of(number);
	struct blazei_txn_view txn;

	ck_assert_int_eq(node_put(&node, &id, value, len, &txn), 0);
}

START_TEST(chunk_takes_what_fits_to_the_byte)
{
	const size_t most = BLAZEI_STATE_BYTES_MAX - sizeof(struct blazei_txn_header) -
	                    sizeof(struct blazei_origin);
	const size_t len = 500000;
	size_t bytes;

	for (unsigned i = 1; i <= 4; i++)
		put(i, len);
	bytes = chunk(most, 4);
	ck_assert_uint_lt(bytes, most);
	put(4, len + (most - bytes) / 8 * 8);
	for (unsigned more = 0; more < 2; more++) {
		cursor = (struct blazei_state_cursor){ 0 };
		put(4, len + (most - bytes) / 8 * 8 + 8 * more);
		if (more) {
			chunk(most + 8, 3);
			chunk(most + 8, 1);
		} else {
			ck_assert_uint_eq(chunk(most, 4), most);
		}
		expect_end();
	}
}
END_TEST

START_TEST(install_reads_nothing_behind_the_chunk)
{
	const struct blazei_txn_header *header = (const void *)buf;
	void *edge;

	node_insert(&node, 1, "{}");
	known[0] = 1;
	ck_assert_uint_eq(chunk(1, 0), 0);
	edge = edge_alloc(header->bytes);
	memcpy(edge, buf, header->bytes);
	blazei_state_install(node.replica, edge, false, known);
	node_expect(&node, 1, "{}");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("state");
	TCase *tcase = tcase_create("state");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, chunk_ends_once_enough_is_there);
	tcase_add_test(tcase, chunk_has_what_is_not_covered_and_nothing_else);
	tcase_add_test(tcase, chunk_takes_what_fits_to_the_byte);
	tcase_add_test(tcase, install_reads_nothing_behind_the_chunk);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
