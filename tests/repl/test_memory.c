/* SPDX-License-Identifier: Apache-2.0 */
/* Allocations that fail: a write, a transaction or a vector raised is there whole or not at all,
 * and goes through when it is tried again, and at the end nothing is left. malloc and its kin are
 * wrapped by the linker. */
#include <limits.h>

#include "lib/repl/effects.h"
#include "tests/op/held.h"
#include "tests/repl/frontier.h"
#include "tests/repl/writeset_help.h"

#define NEVER UINT_MAX

static unsigned allocations_left = NEVER;
static bool allocation_failed;
static bool fails_once; /* only that one, not all that follow */

static bool allocation_fails(void)
{
	if (allocations_left == NEVER)
		return false;
	if (allocations_left == 0) {
		allocation_failed = true;
		if (fails_once)
			allocations_left = NEVER;
		return true;
	}
	allocations_left--;
	return false;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *memory);

void *__wrap_malloc(size_t size)
{
	return allocation_fails() ? NULL : held(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
	return allocation_fails() ? NULL : held(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
	return allocation_fails() ? NULL : held_instead(old, __real_realloc(old, size));
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
	return allocation_fails() ? NULL : held_instead(old, __real_reallocarray(old, count, size));
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return allocation_fails() ? NULL : held(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void *memory)
{
	held_forget(memory);
	__real_free(memory);
}

/* One call under test, on `node`, fed from `from`. */
typedef int (*attempt)(struct node *node, const struct node *from);

static struct blaze_record *wide;

static int insert_wide(struct node *node, const struct node *from)
{
	struct blaze_id id = id_of(1);
	const struct blazei_write write = { BLAZEI_WRITE_INSERT, &id, .record = wide };
	struct blazei_txn_view txn;

	(void)from;
	return blazei_replica_write(node->replica, NOW, &write, &txn);
}

static int put_long(struct node *node, const struct node *from)
{
	static const char value[5000];
	struct blaze_id id = id_of(2);
	struct blazei_txn_view txn;

	(void)from;
	return node_put(node, &id, value, sizeof(value), &txn);
}

static int receive_all(struct node *node, const struct node *from)
{
	for (unsigned i = 1; i <= from->count; i++) {
		int rc = node_take(node, from->log[i - 1].data, from->log[i - 1].len);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int receive_parked(struct node *node, const struct node *from)
{
	for (unsigned i = from->count; i > 0; i--) {
		int rc = node_take(node, from->log[i - 1].data, from->log[i - 1].len);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* All but the first one: they are still parked when the replica is freed. */
static int leave_parked(struct node *node, const struct node *from)
{
	for (unsigned i = from->count; i > 1; i--) {
		int rc = node_take(node, from->log[i - 1].data, from->log[i - 1].len);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* As many fields as there are names to be interned, read again. */
static int insert_wide_and_read(struct node *node, const struct node *from)
{
	const struct blaze_id id = id_of(1);
	struct blaze_record *record;
	struct blaze_id next;
	int rc = insert_wide(node, from);

	if (rc == -EEXIST)
		rc = 0;
	if (rc == 0)
		rc = blazei_replica_get(node->replica, &id, &record);
	if (rc < 0)
		return rc;
	blaze_record_free(record);
	return blazei_replica_next_id(node->replica, NULL, &next);
}

static int hash(struct node *node, const struct node *from)
{
	uint8_t digest[16];

	(void)from;
	return blazei_replica_hash(node->replica, digest);
}

/* A node that writes what the attempts receive: several registers, several records. */
static void source_fill(struct node *from, unsigned records)
{
	node_insert(from, 3, "{\"aaaa\":1,\"bbbb\":\"0123456789\",\"cccc\":[1,2,3]}");
	node_update(from, 3, "{\"aaaa\":\"grown, so that the row must move\",\"d\":1,\"e\":2}");
	for (unsigned i = 0; i < records; i++)
		node_insert(from, 10 + i, "{\"x\":1}");
}

/* A server's update, which re-writes existence, of one field that outgrows its row. */
static int update_grown_as_server(struct node *node, const struct node *from)
{
	static char value[3000];
	struct blaze_id id = id_of(7);
	struct blazei_txn_view txn;

	(void)from;
	blazei_replica_set_server(node->replica, true);
	return node_put(node, &id, value, sizeof(value), &txn);
}

/* The writes of a transaction: records enough for its index to grow, long values, a record that is
 * read, deleted and inserted again. */
static int txn_fill(struct blazei_replica *replica, struct blazei_writeset *writeset)
{
	static const char value[40000];
	struct blaze_id id = id_of(7);
	struct blazei_write write = { .kind = BLAZEI_WRITE_DELETE, .id = &id };
	struct blaze_record *record;
	int rc = blazei_writeset_get(replica, writeset, &id, &record);

	if (rc == 0) {
		blaze_record_free(record);
		rc = blazei_writeset_write(replica, writeset, &write);
	}
	write.kind = BLAZEI_WRITE_INSERT;
	write.record = wide;
	if (rc == 0)
		rc = blazei_writeset_write(replica, writeset, &write);
	write.kind = BLAZEI_WRITE_PUT;
	write.record = NULL;
	write.value = value;
	write.len = 20;
	for (unsigned i = 0; i < 40 && rc == 0; i++) {
		id = id_of(100 + i);
		rc = blazei_writeset_write(replica, writeset, &write);
	}
	write.len = sizeof(value);
	return rc < 0 ? rc : blazei_writeset_write(replica, writeset, &write);
}

static int txn_whole(struct node *node, const struct node *from)
{
	struct blazei_txn_view txn;
	struct blazei_writeset *writeset;
	int rc = blazei_writeset_new(&writeset);

	(void)from;
	if (rc < 0)
		return rc;
	rc = txn_fill(node->replica, writeset);
	if (rc == 0)
		rc = blazei_replica_commit(node->replica, NOW, writeset, &txn);
	blazei_writeset_free(writeset);
	return rc;
}

/* Lets the n-th allocation fail, for every n: nothing shows of the attempt, and the next one does
 * what the first would have. `partly`: transactions before the failing one count as done. */
static void each_allocation_fails(attempt try, unsigned records, bool partly)
{
	const unsigned held_before = held_count;
	unsigned failures = 0;
	uint8_t clean[16];
	bool done = false;
	struct node from;
	unsigned held_after;

	node_open(&from, 1);
	source_fill(&from, records);
	for (unsigned n = 0; !done; n++) {
		struct node node;
		uint8_t before[16];
		uint8_t after[16];
		int rc;

		node_open(&node, 2);
		node_insert(&node, 7, "{\"x\":1}");
		blazei_replica_hash_stamps(node.replica, before);
		allocations_left = n;
		allocation_failed = false;
		rc = try(&node, &from);
		done = !allocation_failed;
		allocations_left = NEVER;
		if (!done) {
			ck_assert_int_eq(rc, -ENOMEM);
			failures++;
			blazei_replica_hash_stamps(node.replica, after);
			if (!partly)
				ck_assert_mem_eq(before, after, 16);
		}
		if (rc < 0)
			ck_assert_int_eq(try(&node, &from), 0);
		blazei_replica_hash_stamps(node.replica, after);
		if (n == 0)
			memcpy(clean, after, sizeof(clean));
		ck_assert_mem_eq(clean, after, 16);
		node_close(&node);
	}
	node_close(&from);
	held_after = held_count; /* Check allocates too */
	ck_assert_uint_gt(failures, 0);
	ck_assert_uint_eq(held_after, held_before);
}

static void every_allocation_fails(attempt try, unsigned records, bool partly)
{
	fails_once = false;
	each_allocation_fails(try, records, partly);
	fails_once = true;
	each_allocation_fails(try, records, partly);
	fails_once = false;
}

START_TEST(insert_without_memory_leaves_nothing)
{
	every_allocation_fails(insert_wide, 0, false);
}
END_TEST

START_TEST(put_without_memory_leaves_nothing)
{
	every_allocation_fails(put_long, 0, false);
}
END_TEST

START_TEST(update_of_existence_and_field_without_memory_leaves_nothing)
{
	every_allocation_fails(update_grown_as_server, 0, false);
}
END_TEST

START_TEST(transaction_without_memory_leaves_nothing)
{
	every_allocation_fails(txn_whole, 0, false);
}
END_TEST

/* A write that fails leaves the transaction as it was: the others of it are committed. */
START_TEST(staged_write_without_memory_leaves_the_transaction)
{
	struct blaze_id id = id_of(1);
	const struct blazei_write write = { BLAZEI_WRITE_UPSERT, .id = &id, .record = wide };
	struct node node;
	unsigned failures = 0;
	int rc = -ENOMEM;

	node_open(&node, 1);
	for (unsigned n = 0; rc < 0; n++) {
		struct txn txn = txn_begin(&node);

		for (unsigned i = 0; i < 31; i++)
			ck_assert_int_eq(txn_upsert(&txn, 10 + i, "{\"x\":1}"), 0);
		ck_assert_int_eq(txn_put(&txn, 50, (char[31000]){ 0 }, 31000), 0);
		allocations_left = n;
		rc = blazei_writeset_write(node.replica, txn.writeset, &write);
		allocations_left = NEVER;
		failures += rc < 0;
		if (rc < 0)
			txn_expect(&txn, 1, NULL);
		ck_assert_int_eq(txn_commit(&txn), 0);
		ck_assert_uint_eq(blazei_replica_count(node.replica), rc < 0 ? 32 : 33);
	}
	ck_assert_uint_gt(failures, 1);
	node_close(&node);
}
END_TEST

START_TEST(receive_without_memory_goes_through_later)
{
	every_allocation_fails(receive_all, 800, true);
}
END_TEST

START_TEST(park_without_memory_goes_through_later)
{
	every_allocation_fails(receive_parked, 30, true);
}
END_TEST

START_TEST(parked_at_the_end_leaves_nothing)
{
	every_allocation_fails(leave_parked, 30, true);
}
END_TEST

START_TEST(read_without_memory_leaves_nothing)
{
	every_allocation_fails(insert_wide_and_read, 0, true);
}
END_TEST

START_TEST(hash_without_memory_is_enomem)
{
	every_allocation_fails(hash, 0, false);
}
END_TEST

/* A transaction of several registers whose allocation fails half-way shows nothing of itself. */
START_TEST(receive_one_without_memory_leaves_nothing)
{
	struct node from;

	node_open(&from, 1);
	source_fill(&from, 0);
	for (unsigned n = 0; n < 12; n++) {
		struct node to;
		uint8_t before[16];
		uint8_t after[16];
		int rc;

		node_open(&to, 2);
		node_give(&from, &to, 1);
		blazei_replica_hash_stamps(to.replica, before);
		allocations_left = n;
		rc = node_take(&to, from.log[1].data, from.log[1].len);
		allocations_left = NEVER;
		blazei_replica_hash_stamps(to.replica, after);
		if (rc < 0)
			ck_assert_mem_eq(before, after, 16);
		else
			ck_assert_mem_ne(before, after, 16);
		ck_assert_int_eq(node_give(&from, &to, 2), rc < 0 ? 1 : 0);
		node_close(&to);
	}
	node_close(&from);
}
END_TEST

START_TEST(new_without_memory_is_enomem)
{
	struct blazei_replica_options options = { .policy = BLAZE_POLICY_LWW };
	const unsigned held_before = held_count;
	struct blazei_replica *replica = NULL;
	unsigned held_after, n;
	int rc = -ENOMEM;

	for (n = 0; rc < 0; n++) {
		allocations_left = n;
		rc = blazei_replica_new(&options, &replica);
		allocations_left = NEVER;
		ck_assert(rc == 0 || (rc == -ENOMEM && !replica));
	}
	ck_assert_uint_gt(n, 5);
	blazei_replica_free(replica);
	held_after = held_count;
	ck_assert_uint_eq(held_after, held_before);
}
END_TEST

/* What a watching sink was told. */
struct watched {
	unsigned changed;
	unsigned lost;
	unsigned committed;
};

static void on_event(void *arg, const struct blazei_effect_event *event)
{
	struct watched *watched = arg;

	watched->lost += event->kind == BLAZEI_EFFECT_CHANGES_LOST;
}

static bool on_wants(void *arg, const struct blaze_id *id)
{
	(void)arg;
	(void)id;
	return true;
}

static void on_changed(void *arg, const struct blazei_effect_change *change)
{
	struct watched *watched = arg;

	watched->changed++;
	blaze_record_free(change->before);
	blaze_record_free(change->after);
}

static void on_committed(void *arg)
{
	struct watched *watched = arg;

	watched->committed++;
}

/* A change is told, or that it was lost, and then that this was all; the write holds either way.
 * What makes no difference is not told. */
START_TEST(change_without_memory_is_told_as_lost)
{
	const unsigned held_before = held_count;
	const struct blaze_id id = id_of(1);
	const struct blazei_write write = {
		.kind = BLAZEI_WRITE_UPSERT,
		.id = &id,
		.record = wide,
	};
	unsigned lost = 0, held_after;
	bool done = false;

	fails_once = true;
	for (unsigned n = 0; !done; n++) {
		struct watched watched = { 0 };
		const struct blazei_sink sink = {
			.arg = &watched,
			.event = on_event,
			.wants = on_wants,
			.changed = on_changed,
			.committed = on_committed,
		};
		struct blazei_txn_view txn;
		struct node node;
		int rc;

		node_open(&node, 1);
		node_insert(&node, 1, "{\"x\":1}");
		blazei_replica_set_sink(node.replica, &sink);
		allocation_failed = false;
		allocations_left = n;
		rc = blazei_replica_write(node.replica, NOW, &write, &txn);
		allocations_left = NEVER;
		done = !allocation_failed;
		ck_assert(rc == 0 || (rc == -ENOMEM && !done));
		if (rc == 0) {
			ck_assert_uint_eq(watched.changed + watched.lost, 1);
			ck_assert_uint_eq(watched.committed, 1);
			ck_assert_int_eq(blazei_replica_write(node.replica, NOW, &write, &txn), 0);
			ck_assert_uint_eq(watched.committed, 1);
		}
		lost += watched.lost;
		node_close(&node);
	}
	fails_once = false;
	/* Before the write and after it. */
	ck_assert_uint_ge(lost, 2);
	held_after = held_count;
	ck_assert_uint_eq(held_after, held_before);
}
END_TEST

/* Whatever a replica gathers goes with it. */
START_TEST(replica_that_ends_leaves_nothing)
{
	const unsigned held_before = held_count;
	const struct blaze_id id = id_of(1);
	const struct blazei_write write = {
		.kind = BLAZEI_WRITE_UPSERT,
		.id = &id,
		.record = wide,
	};
	struct blazei_txn_view txn;
	struct blaze_id first;
	uint8_t digest[16];
	struct node node;
	unsigned held_after;

	node_open_history(&node, 1, 1 << 16);
	/* The second time there are many fields to find among many. */
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(blazei_replica_write(node.replica, NOW, &write, &txn), 0);
	frontier_make(&node);
	ck_assert_int_eq(blazei_replica_next_id(node.replica, NULL, &first), 0);
	ck_assert_int_eq(blazei_replica_hash_stamps(node.replica, digest), 0);
	node_close(&node);
	held_after = held_count;
	ck_assert_uint_eq(held_after, held_before);
}
END_TEST

static void set_up(void)
{
	char name[8];

	ck_assert_int_eq(blaze_record_new(&wide), 0);
	for (unsigned i = 0; i < 40; i++) {
		sprintf(name, "w%u", i);
		blaze_record_set_string(wide, name, "a value of some length");
	}
}

static void tear_down(void)
{
	blaze_record_free(wide);
}

int main(void)
{
	Suite *suite = suite_create("memory");
	TCase *tcase = tcase_create("memory");

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, insert_without_memory_leaves_nothing);
	tcase_add_test(tcase, put_without_memory_leaves_nothing);
	tcase_add_test(tcase, update_of_existence_and_field_without_memory_leaves_nothing);
	tcase_add_test(tcase, transaction_without_memory_leaves_nothing);
	tcase_add_test(tcase, staged_write_without_memory_leaves_the_transaction);
	tcase_add_test(tcase, receive_without_memory_goes_through_later);
	tcase_add_test(tcase, park_without_memory_goes_through_later);
	tcase_add_test(tcase, receive_one_without_memory_leaves_nothing);
	tcase_add_test(tcase, parked_at_the_end_leaves_nothing);
	tcase_add_test(tcase, read_without_memory_leaves_nothing);
	tcase_add_test(tcase, hash_without_memory_is_enomem);
	tcase_add_test(tcase, new_without_memory_is_enomem);
	tcase_add_test(tcase, change_without_memory_is_told_as_lost);
	tcase_add_test(tcase, replica_that_ends_leaves_nothing);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
