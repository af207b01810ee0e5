/* SPDX-License-Identifier: Apache-2.0 */
/* Reads beside a writer at full speed: whatever a reader gets is something that was there. */
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

#include "tests/db/node.h"

#define READERS 2u
#define RUN_NS  (BLAZEI_NS_PER_S / 4)
#define IDS_MAX 20000u

static struct blaze_db *db;
static struct blaze_id ids[IDS_MAX];
static atomic_uint published; /* ids that are there */
static atomic_bool over;
static atomic_uint wrong;
static atomic_ulong good;

static void expect(bool right)
{
	if (right)
		atomic_fetch_add_explicit(&good, 1, memory_order_relaxed);
	else
		atomic_fetch_add(&wrong, 1);
}

static void *read_on(void *arg)
{
	void (*read_once)(unsigned) = *(void (**)(unsigned))arg;
	unsigned turn = 0;

	while (!atomic_load_explicit(&over, memory_order_relaxed))
		read_once(turn++);
	return NULL;
}

/* Writes and reads for a while; then whether anything was read that never was. */
static void race(void (*write_once)(unsigned), void (*read_once)(unsigned))
{
	uint64_t end_ns = blazei_monotonic_ns() + RUN_NS;
	pthread_t threads[READERS];
	unsigned turn = 0;

	atomic_store(&over, false);
	atomic_store(&wrong, 0);
	atomic_store(&good, 0);
	for (unsigned i = 0; i < READERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, read_on, &read_once), 0);
	while (blazei_monotonic_ns() < end_ns || atomic_load(&good) == 0)
		for (unsigned i = 0; i < 64; i++)
			write_once(turn++);
	atomic_store(&over, true);
	for (unsigned i = 0; i < READERS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_eq(atomic_load(&wrong), 0);
}

static void ids_make(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		ck_assert_int_eq(blaze_id_new(&ids[i]), 0);
}

static void setup(void)
{
	ck_assert_int_eq(blaze_db_open(unique_name(), NULL, NULL, &db), 0);
	atomic_store(&published, 0);
}

static void teardown(void)
{
	ck_assert_int_eq(blaze_db_close(db), 0);
}

/* Two fields that are always the same ------------------------------------------------------- */

static struct blaze_record *pair_record(int64_t value)
{
	struct blaze_record *record = record_of("a", value);

	ck_assert_int_eq(blaze_record_set_int(record, "b", -value), 0);
	return record;
}

/* The pair's value; -1: not there, -2: torn. */
static int64_t pair_read(const struct blaze_id *id)
{
	struct blaze_record *record;
	int64_t a = -2, b = -2;
	int error = blaze_db_get(db, id, &record);

	if (error != 0)
		return error == -ENOENT ? -1 : -2;
	if (blaze_record_field_count(record) != 2 || blaze_record_get_int(record, "a", &a) != 0 ||
	    blaze_record_get_int(record, "b", &b) != 0 || a != -b)
		a = -2;
	blaze_record_free(record);
	return a;
}

static void pair_write(unsigned turn)
{
	struct blaze_record *record = pair_record(turn);

	ck_assert_int_eq(blaze_db_upsert(db, &ids[turn % 2], record), 0);
	blaze_record_free(record);
}

static void pair_check(unsigned turn)
{
	expect(pair_read(&ids[turn % 2]) >= 0);
}

START_TEST(record_is_read_as_one_write_left_it)
{
	ids_make(2);
	pair_write(0);
	pair_write(1);
	race(pair_write, pair_check);
}
END_TEST

/* Deletes and inserts: there whole or not at all. */
static void blink_write(unsigned turn)
{
	if (turn % 4 < 2)
		pair_write(turn);
	else
		ck_assert_int_eq(blaze_db_delete(db, &ids[turn % 2]), 0);
}

static void blink_check(unsigned turn)
{
	int64_t value = pair_read(&ids[turn % 2]);
	int64_t count = blaze_db_count(db);

	expect(value >= -1 && count >= 0 && count <= 2);
}

START_TEST(record_deleted_and_inserted_is_there_whole_or_not_at_all)
{
	ids_make(2);
	race(blink_write, blink_check);
}
END_TEST

/* Large values: many lines, so that a write falls into the midst of a read. */

#define WORDS 981u /* with all around it, what just is in the slab's chunks */

static void words_fill(uint32_t words[WORDS], uint32_t value)
{
	for (unsigned i = 0; i < WORDS; i++)
		words[i] = value;
}

/* The value that fills the words; 0: it is torn or not there. Else values are above 0. */
static uint32_t words_read(const struct blaze_id *id)
{
	uint32_t words[WORDS];

	if (blaze_db_fetch(db, id, words, sizeof(words)) != sizeof(words))
		return 0;
	for (unsigned i = 1; i < WORDS; i++)
		if (words[i] != words[0])
			return 0;
	return words[0];
}

static void words_write(unsigned turn)
{
	uint32_t words[WORDS];

	words_fill(words, turn + 1);
	ck_assert_int_eq(blaze_db_put(db, &ids[0], words, sizeof(words)), 0);
}

static void words_check(unsigned turn)
{
	(void)turn;
	expect(words_read(&ids[0]) > 0);
}

START_TEST(value_is_read_as_one_write_left_it)
{
	ids_make(1);
	words_write(0);
	race(words_write, words_check);
}
END_TEST

/* Rows that grow ------------------------------------------------------------------------------ */

#define GROWN_IDS   64u
#define GROWN_BYTES 4176u /* from within the chunks to beyond them */
#define GROWN_STEP  72u

/* Each byte of a value tells the record and, together, one length. */
static void value_fill(uint8_t *value, size_t len, unsigned number)
{
	memset(value, (int)number, len);
	memcpy(value, &(uint16_t){ (uint16_t)len }, sizeof(uint16_t));
}

static bool value_right(const uint8_t *value, size_t len, unsigned number)
{
	uint16_t noted;

	memcpy(&noted, value, sizeof(noted));
	for (size_t i = sizeof(noted); i < len; i++)
		if (value[i] != (uint8_t)number)
			return false;
	return noted == len;
}

/* All records of a lot grow together, then the next lot does: rows don't shrink. */
static void grow_write(unsigned turn)
{
	const unsigned steps = GROWN_BYTES / GROWN_STEP;
	unsigned lot = turn / (GROWN_IDS * steps) % (IDS_MAX / GROWN_IDS);
	unsigned number = lot * GROWN_IDS + turn % GROWN_IDS;
	size_t len = 2 + turn / GROWN_IDS % steps * GROWN_STEP;
	uint8_t value[GROWN_BYTES + 2];

	value_fill(value, len, number);
	ck_assert_int_eq(blaze_db_put(db, &ids[number], value, len), 0);
	atomic_store_explicit(&published, number + 1, memory_order_release);
}

static void grow_check(unsigned turn)
{
	uint8_t value[GROWN_BYTES + 2];
	unsigned there = atomic_load_explicit(&published, memory_order_acquire);
	unsigned number = there > GROWN_IDS ? there - 1 - turn % GROWN_IDS : 0;
	int len;

	if (there == 0)
		return;
	len = blaze_db_fetch(db, &ids[number], value, sizeof(value));
	expect(len >= 2 && value_right(value, (size_t)len, number));
}

START_TEST(rows_that_grow_and_move_are_read_right)
{
	ids_make(IDS_MAX);
	race(grow_write, grow_check);
}
END_TEST

/* Growing index and list of names ------------------------------------------------------------- */

/* A new record, every other one with a field of a new name. */
static void add_write(unsigned turn)
{
	char name[16] = "n";
	struct blaze_record *record;

	if (turn >= IDS_MAX)
		return;
	if (turn % 2)
		snprintf(name, sizeof(name), "n%u", turn);
	record = record_of(name, turn);
	ck_assert_int_eq(blaze_db_insert_with_id(db, &ids[turn], record), 0);
	blaze_record_free(record);
	atomic_store_explicit(&published, turn + 1, memory_order_release);
}

static void add_check(unsigned turn)
{
	unsigned there = atomic_load_explicit(&published, memory_order_acquire);
	unsigned number = there > 0 ? turn * 7919 % there : 0;
	struct blaze_record *record;
	enum blaze_type type;
	const char *name;
	int64_t value;
	bool right;

	if (there == 0)
		return;
	right = blaze_db_get(db, &ids[number], &record) == 0;
	if (right) {
		right = blaze_record_field_at(record, 0, &name, &type) == 0 &&
		        blaze_record_get_int(record, name, &value) == 0 && value == number;
		if (right && number % 2)
			right = strtoul(name + 1, NULL, 10) == number;
		blaze_record_free(record);
	}
	expect(right && blaze_db_count(db) >= there);
}

START_TEST(records_inserted_stay_found_while_the_index_doubles)
{
	ids_make(IDS_MAX);
	race(add_write, add_check);
}
END_TEST

/* Transactions --------------------------------------------------------------------------------*/

#define LINKED 3u

static void linked_write(unsigned turn)
{
	uint32_t words[WORDS];
	struct blaze_txn *txn;

	words_fill(words, turn + 2);
	ck_assert_int_eq(blaze_txn_begin(db, &txn), 0);
	for (unsigned i = 0; i < LINKED; i++)
		ck_assert_int_eq(blaze_txn_put(txn, &ids[i], words, sizeof(words)), 0);
	/* One more and one less. */
	ck_assert_int_eq(blaze_txn_put(txn, &ids[LINKED + turn % 2], "", 0), 0);
	ck_assert_int_eq(blaze_txn_delete(txn, &ids[LINKED + (turn + 1) % 2]), 0);
	ck_assert_int_eq(blaze_txn_commit(txn), 0);
}

/* Who has read one of them as new never reads another one as old, in whichever order. */
static void linked_check(unsigned turn)
{
	uint32_t last = 1;
	bool right = blaze_db_count(db) == LINKED + 1;

	for (unsigned i = 0; i < LINKED; i++) {
		uint32_t value = words_read(&ids[(turn + i * (1 + turn / 2 % 2)) % LINKED]);

		right = right && value >= last;
		last = value;
	}
	expect(right);
}

START_TEST(transaction_seen_in_one_record_is_seen_in_all)
{
	ids_make(LINKED + 2);
	ck_assert_int_eq(blaze_db_put(db, &ids[LINKED], "", 0), 0);
	linked_write(UINT_MAX);
	race(linked_write, linked_check);
}
END_TEST

/* The same of what transactions read. */
static void linked_txn_check(unsigned turn)
{
	uint32_t words[WORDS];
	struct blaze_txn *txn;
	uint32_t last = 1;
	bool right = blaze_txn_begin(db, &txn) == 0;

	for (unsigned i = 0; i < LINKED && right; i++) {
		const struct blaze_id *id = &ids[(turn + i) % LINKED];

		right = blaze_txn_fetch(txn, id, words, sizeof(words)) == sizeof(words) &&
		        words[0] == words[WORDS - 1] && words[0] >= last;
		last = words[0];
	}
	blaze_txn_abort(txn);
	expect(right);
}

START_TEST(transaction_seen_in_one_record_is_seen_in_all_by_transactions)
{
	ids_make(LINKED + 2);
	ck_assert_int_eq(blaze_db_put(db, &ids[LINKED], "", 0), 0);
	linked_write(UINT_MAX);
	race(linked_write, linked_txn_check);
}
END_TEST

/* Writes a field of its own beside one that all write. */
static void beside_write(unsigned turn)
{
	static const char *const names[] = { "a", "b", "c", "d" };
	struct blaze_record *record = record_of(names[turn % 4], turn);
	struct blaze_txn *txn;

	ck_assert_int_eq(blaze_record_set_int(record, "n", turn), 0);
	ck_assert_int_eq(blaze_txn_begin(db, &txn), 0);
	for (unsigned i = 0; i < LINKED; i++)
		ck_assert_int_eq(blaze_txn_update(txn, &ids[i], record), 0);
	ck_assert_int_eq(blaze_txn_commit(txn), 0);
	blaze_record_free(record);
}

/* Reads and writes the same records from another thread. */
static void beside_check(unsigned turn)
{
	struct blaze_record *record;
	struct blaze_txn *txn;
	int64_t value;
	bool right = blaze_txn_begin(db, &txn) == 0;

	right = right && blaze_txn_get(txn, &ids[turn % LINKED], &record) == 0;
	if (right) {
		right = blaze_record_get_int(record, "n", &value) == 0 &&
		        blaze_record_set_int(record, "e", turn) == 0 &&
		        blaze_txn_update(txn, &ids[turn % LINKED], record) == 0;
		blaze_record_free(record);
	}
	expect(blaze_txn_commit(txn) == 0 && right);
}

START_TEST(transactions_of_several_threads_stage_without_the_lock)
{
	struct blaze_record *record = record_of("n", 0);

	ids_make(LINKED);
	for (unsigned i = 0; i < LINKED; i++)
		ck_assert_int_eq(blaze_db_insert_with_id(db, &ids[i], record), 0);
	blaze_record_free(record);
	race(beside_write, beside_check);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("peek");
	TCase *threads = tcase_create("threads");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(threads, setup, teardown);
	tcase_set_timeout(threads, 60);
	tcase_add_test(threads, record_is_read_as_one_write_left_it);
	tcase_add_test(threads, record_deleted_and_inserted_is_there_whole_or_not_at_all);
	tcase_add_test(threads, value_is_read_as_one_write_left_it);
	tcase_add_test(threads, rows_that_grow_and_move_are_read_right);
	tcase_add_test(threads, records_inserted_stay_found_while_the_index_doubles);
	tcase_add_test(threads, transaction_seen_in_one_record_is_seen_in_all);
	tcase_add_test(threads, transaction_seen_in_one_record_is_seen_in_all_by_transactions);
	tcase_add_test(threads, transactions_of_several_threads_stage_without_the_lock);
	suite_add_tcase(suite, threads);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
