/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks of state as they are encoded: what is in one, and where it ends. What comes of them is
 * looked at where they are installed. */
#include "lib/op/record.h"
#include "lib/repl/core.h"
#include "tests/op/edge.h"
#include "tests/repl/harness.h"
#include "tests/repl/stored.h"

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

/* In what is left after the others, there is room for nothing of the last one, for its id alone,
 * and for its existence too, but for no field. */
START_TEST(record_that_does_not_fit_begins_the_next_chunk)
{
	static const size_t left[] = {
		8,
		sizeof(struct blazei_txn_group),
		sizeof(struct blazei_txn_group) + sizeof(struct blazei_state_existence),
	};
	const size_t most = BLAZEI_STATE_BYTES_MAX - sizeof(struct blazei_txn_header) -
	                    sizeof(struct blazei_origin);
	const size_t len = 500000;
	size_t bytes;

	for (unsigned i = 1; i <= 4; i++)
		put(i, len);
	bytes = chunk(most, 4);
	put(4, len + (most - bytes) / 8 * 8 - left[_i]);
	node_insert(&node, 5, "{\"x\":1}");
	cursor = (struct blazei_state_cursor){ 0 };
	ck_assert_uint_eq(chunk(most + 8, 4), most - left[_i]);
	ck_assert(!cursor.end);
	chunk(most + 8, 1);
	expect_end();
}
END_TEST

/* Of many lives, each as long as a record may be. */
START_TEST(record_that_is_longer_than_chunks_is_divided)
{
	struct blazei_vector_detail detail;
	struct blazei_txn_view txn;
	struct node other;
	unsigned chunks = 0;
	uint64_t length;

	node_open(&other, 2);
	for (unsigned i = 0; i < 6; i++) {
		char name[8];
		struct blaze_id id = id_of(1);
		struct blaze_record *record;
		void *bytes = calloc(1, 0xf0000);

		snprintf(name, sizeof(name), "f%u", i);
		ck_assert_int_eq(blaze_record_new(&record), 0);
		ck_assert_int_eq(blaze_record_set_bytes(record, name, bytes, 0xf0000), 0);
		ck_assert_int_eq(blaze_record_set_int(record, "n", i), 0);
		ck_assert_int_eq(
		        blazei_replica_write(node.replica, node.now_ns,
		                             &(struct blazei_write){ .kind = BLAZEI_WRITE_INSERT,
		                                                     .id = &id,
		                                                     .record = record },
		                             &txn),
		        0);
		if (i < 5)
			ck_assert_int_eq(node_delete(&node, 1), 0);
		blaze_record_free(record);
		free(bytes);
	}
	blazei_replica_vector_detail(node.replica, 0, &detail);
	ck_assert_int_eq(blazei_replica_restore(other.replica, &detail, 1), 0);
	while ((length = (uint64_t)blazei_state_encode(node.replica, known, &cursor, buf, 1)) > 0) {
		const struct blazei_txn_header *header = (const void *)buf;

		ck_assert_int_eq(blazei_state_check(buf, length), 0);
		ck_assert_uint_eq(header->record_count, 1);
		ck_assert_int_eq(stored_merge(other.replica, header, (const uint64_t[2]){ 0 }), 0);
		chunks++;
	}
	ck_assert_uint_ge(chunks, 3);
	nodes_expect_equal(&node, &other);
	node_close(&other);
}
END_TEST

/* So many that have nothing that is asked for that a call gives a chunk without a record. */
START_TEST(chunk_ends_after_so_many_records)
{
	const unsigned rows = 65536;

	for (unsigned i = 0; i <= rows; i++) {
		struct blaze_id id = id_of(i);
		struct blazei_txn_view txn;

		id.bytes[13] = (uint8_t)(i >> 16);
		ck_assert_int_eq(node_put(&node, &id, "x", 1, &txn), 0);
	}
	known[0] = rows;
	ck_assert_uint_eq(chunk(1, 0), 0);
	ck_assert(!cursor.end);
	ck_assert_uint_gt(chunk(1, 1), 0);
	expect_end();
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
	tcase_add_loop_test(tcase, record_that_does_not_fit_begins_the_next_chunk, 0, 3);
	tcase_add_test(tcase, record_that_is_longer_than_chunks_is_divided);
	tcase_add_test(tcase, chunk_ends_after_so_many_records);
	tcase_add_test(tcase, install_reads_nothing_behind_the_chunk);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
