/* SPDX-License-Identifier: Apache-2.0 */
/* A log of what replicas merged leads to the same replica; units count whole; what no replica would
 * log is refused. Databases that log snapshots and new names are in tests/db/test_stored. */
#include <check.h>
#include <stdlib.h>

#include "lib/repl/core.h"

#define ENTRIES_MAX 4096u

struct log {
	struct {
		uint64_t *words;
		size_t len;
	} entries[ENTRIES_MAX];
	unsigned count;
};

static struct log logs[2];

static void on_append(void *arg, const void *entry, size_t len)
{
	struct log *log = arg;

	ck_assert_uint_lt(log->count, ENTRIES_MAX);
	ck_assert_int_eq(blazei_logged_check(entry, len), 0);
	log->entries[log->count].words = malloc(len);
	log->entries[log->count].len = len;
	memcpy(log->entries[log->count++].words, entry, len);
}

static void teardown(void)
{
	for (unsigned k = 0; k < 2; k++) {
		for (unsigned i = 0; i < logs[k].count; i++)
			free(logs[k].entries[i].words);
		logs[k].count = 0;
	}
}

static struct blazei_replica_options options_of(uint64_t incarnation)
{
	return (struct blazei_replica_options){
		.self = { .node = { { 1 } }, .incarnation = incarnation },
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
		.hash_seed = incarnation,
	};
}

static struct blazei_replica *replica_new(uint64_t incarnation, struct log *log)
{
	const struct blazei_replica_options options = options_of(incarnation);
	const struct blazei_log_sink sink = { .arg = log, .append = on_append };
	struct blazei_replica *replica;

	ck_assert_int_eq(blazei_replica_new(&options, &replica), 0);
	blazei_replica_set_log(replica, &sink);
	return replica;
}

static void put(struct blazei_replica *replica, uint8_t number, uint64_t value,
                struct blazei_replica *to)
{
	const struct blaze_id id = { { 7, number } };
	const struct blazei_write write = {
		.kind = BLAZEI_WRITE_PUT,
		.id = &id,
		.value = &value,
		.len = sizeof(value),
	};
	struct blazei_txn_view txn;

	ck_assert_int_eq(blazei_replica_write(replica, 1000 + value, &write, &txn), 0);
	if (to)
		ck_assert_int_eq(blazei_replica_receive(to, 1000 + value, &txn, 1), 1);
}

/* Replays the first entries. 0 or the error; the replica is the caller's where it is 0. */
static int replay(const struct log *log, unsigned count, struct blazei_replay *ret_replay)
{
	const struct blazei_replica_options options = options_of(99);
	int rc = blazei_replay_init(ret_replay, &options);

	for (unsigned i = 0; i < count && rc == 0; i++)
		rc = blazei_replay_entry(ret_replay, log->entries[i].words);
	if (rc < 0) {
		blazei_replica_free(ret_replay->replica);
		blazei_replay_fini(ret_replay);
	}
	return rc;
}

static void assert_same(struct blazei_replica *a, struct blazei_replica *b)
{
	uint8_t hashes[2][16];

	ck_assert_int_eq(blazei_replica_hash_stamps(a, hashes[0]), 0);
	ck_assert_int_eq(blazei_replica_hash_stamps(b, hashes[1]), 0);
	ck_assert_mem_eq(hashes[0], hashes[1], 16);
	for (unsigned i = 0; i < a->vector.count; i++)
		ck_assert_uint_eq(a->vector.writers[i].seq,
		                  blazei_replica_vector_seq(b, &a->vector.origins[i]));
}

START_TEST(log_of_all_leads_to_the_same_from_any_prefix)
{
	struct blazei_replica *a = replica_new(1, &logs[0]);
	struct blazei_replica *b = replica_new(2, &logs[1]);
	struct blazei_replay back;
	unsigned before;

	for (unsigned i = 0; i < 300; i++)
		put(i % 3 ? a : b, (uint8_t)(i % 40), i, i % 3 ? b : a);
	assert_same(a, b);
	ck_assert_uint_eq(logs[0].count, 300);
	before = logs[0].count;
	blazei_logged_lag(a);
	ck_assert(blazei_replica_log_behind(a));
	/* What is merged meanwhile is in no entry of its own. */
	put(b, 3, 1000, a);
	ck_assert_uint_eq(logs[0].count, before);
	ck_assert_int_eq(blazei_replica_log_all(a), 0);
	ck_assert(!blazei_replica_log_behind(a));
	ck_assert_uint_ge(logs[0].count, before + 3);
	put(b, 4, 1001, a);
	ck_assert_int_eq(replay(&logs[0], logs[0].count, &back), 0);
	ck_assert(!blazei_replay_unfinished(&back));
	assert_same(a, back.replica);
	blazei_replica_free(back.replica);
	/* Without its end the unit does not count, and the log ends in it. */
	for (unsigned count = before + 1; count < logs[0].count - 1; count++) {
		ck_assert_int_eq(replay(&logs[0], count, &back), 0);
		ck_assert(blazei_replay_unfinished(&back));
		ck_assert_uint_eq(blazei_replica_vector_seq(back.replica, &b->vector.origins[0]),
		                  100);
		blazei_replica_free(back.replica);
		blazei_replay_fini(&back);
	}
	blazei_replica_free(a);
	blazei_replica_free(b);
}
END_TEST

static void bound_set(struct blazei_unit_bound *bound, uint8_t kind)
{
	memset(bound, 0, sizeof(*bound));
	bound->bytes = sizeof(*bound);
	bound->kind = kind;
	bound->format = BLAZEI_FORMAT;
}

START_TEST(what_does_not_follow_is_refused)
{
	const struct blazei_replica_options options = options_of(5);
	struct blazei_unit_bound begin, end, drop;
	struct blazei_replica *a = replica_new(1, &logs[0]);
	struct blazei_replay back;

	bound_set(&begin, BLAZEI_KIND_BEGIN);
	bound_set(&end, BLAZEI_KIND_END);
	bound_set(&drop, BLAZEI_KIND_DROP);
	put(a, 1, 1, NULL);
	blazei_logged_lag(a);
	ck_assert_int_eq(blazei_replica_log_all(a), 0);
	/* Entries: a transaction, a begin, a chunk, an end. */
	ck_assert_uint_eq(logs[0].count, 4);
	ck_assert_int_eq(blazei_replay_init(&back, &options), 0);
	ck_assert_int_eq(blazei_replay_entry(&back, &end), -EBADMSG);
	ck_assert_int_eq(blazei_replay_entry(&back, &drop), -EBADMSG);
	ck_assert_int_eq(blazei_replay_entry(&back, logs[0].entries[2].words), -EBADMSG);
	ck_assert_int_eq(blazei_replay_entry(&back, &begin), 0);
	ck_assert_int_eq(blazei_replay_entry(&back, &begin), -EBADMSG);
	ck_assert_int_eq(blazei_replay_entry(&back, &drop), 0);
	ck_assert(!blazei_replay_unfinished(&back));
	/* A chunk that the end's vector does not cover. */
	ck_assert_int_eq(blazei_replay_entry(&back, &begin), 0);
	ck_assert_int_eq(blazei_replay_entry(&back, logs[0].entries[2].words), 0);
	ck_assert_int_eq(blazei_replay_entry(&back, &end), -EBADMSG);
	/* The same transaction twice. */
	ck_assert_int_eq(blazei_replay_entry(&back, logs[0].entries[0].words), 0);
	ck_assert_int_eq(blazei_replay_entry(&back, logs[0].entries[0].words), -EBADMSG);
	blazei_replica_free(back.replica);
	blazei_replay_fini(&back);
	blazei_replica_free(a);
}
END_TEST

START_TEST(bounds_of_another_form_are_refused)
{
	_Alignas(8)
	        uint8_t entry[sizeof(struct blazei_unit_bound) + sizeof(struct blazei_unit_item)];
	struct blazei_unit_bound *bound = (void *)entry;
	struct blazei_unit_item *item = (void *)(entry + sizeof(*bound));
	const size_t one = sizeof(entry);

	memset(entry, 0, one);
	bound_set(bound, BLAZEI_KIND_BEGIN);
	bound->bytes = (uint32_t)one;
	bound->item_count = 1;
	item->flags = BLAZEI_UNIT_VECTOR | BLAZEI_UNIT_LEFT;
	ck_assert_int_eq(blazei_logged_check(entry, one), 0);
	ck_assert_int_eq(blazei_logged_check(entry, one - 8), -EBADMSG);
	ck_assert_int_eq(blazei_logged_check(entry, 8), -EBADMSG);
	bound->kind = BLAZEI_KIND_END;
	ck_assert_int_eq(blazei_logged_check(entry, one), -EBADMSG);
	item->flags = BLAZEI_UNIT_VECTOR;
	ck_assert_int_eq(blazei_logged_check(entry, one), 0);
	bound->flags = BLAZEI_UNIT_ALL;
	ck_assert_int_eq(blazei_logged_check(entry, one), -EBADMSG);
	bound->kind = BLAZEI_KIND_BEGIN;
	ck_assert_int_eq(blazei_logged_check(entry, one), 0);
	item->reserved = 1;
	ck_assert_int_eq(blazei_logged_check(entry, one), -EBADMSG);
	item->reserved = 0;
	item->flags = 8;
	ck_assert_int_eq(blazei_logged_check(entry, one), -EBADMSG);
	/* What own writes depend on is there; only of a name that was left is it less. */
	item->flags = BLAZEI_UNIT_VECTOR | BLAZEI_UNIT_LEFT;
	item->seq = 7;
	item->dep_max = 7;
	ck_assert_int_eq(blazei_logged_check(entry, one), 0);
	item->dep_max = 8;
	ck_assert_int_eq(blazei_logged_check(entry, one), -EBADMSG);
	item->flags = BLAZEI_UNIT_VECTOR;
	item->dep_max = 1;
	ck_assert_int_eq(blazei_logged_check(entry, one), -EBADMSG);
	item->dep_max = 0;
	bound->flags = 8;
	ck_assert_int_eq(blazei_logged_check(entry, one), -EBADMSG);
	/* A checkpoint is all that there is. */
	bound->flags = BLAZEI_UNIT_CHECKPOINT;
	ck_assert_int_eq(blazei_logged_check(entry, one), -EBADMSG);
	bound->flags = BLAZEI_UNIT_ALL | BLAZEI_UNIT_CHECKPOINT;
	ck_assert_int_eq(blazei_logged_check(entry, one), 0);
	bound->flags = 0;
	bound->format = BLAZEI_FORMAT + 1;
	ck_assert_int_eq(blazei_logged_check(entry, one), -EBADMSG);
	bound->format = BLAZEI_FORMAT;
	bound->item_count = 2;
	ck_assert_int_eq(blazei_logged_check(entry, one), -EBADMSG);
	bound->item_count = 1;
	bound->kind = BLAZEI_KIND_DROP;
	ck_assert_int_eq(blazei_logged_check(entry, one), -EBADMSG);
	bound->kind = 9;
	ck_assert_int_eq(blazei_logged_check(entry, one), -EBADMSG);
	bound->kind = BLAZEI_KIND_BEGIN;
	bound->reserved = 1;
	ck_assert_int_eq(blazei_logged_check(entry, one), -EBADMSG);
}
END_TEST

/* As many as there may be origins, and one more; and as many more as make 2^32 bytes, which look
 * like none. */
START_TEST(bound_has_no_more_items_than_there_may_be_origins)
{
	static uint64_t words[(sizeof(struct blazei_unit_bound) +
	                       (BLAZEI_ORIGINS_MAX + 1) * sizeof(struct blazei_unit_item)) /
	                      8];
	struct blazei_unit_bound *bound = (void *)words;

	bound_set(bound, BLAZEI_KIND_BEGIN);
	bound->item_count = BLAZEI_ORIGINS_MAX;
	bound->bytes = blazei_unit_bytes(BLAZEI_ORIGINS_MAX);
	ck_assert_int_eq(blazei_logged_check(words, bound->bytes), 0);
	bound->item_count++;
	bound->bytes = sizeof(words);
	ck_assert_int_eq(blazei_logged_check(words, sizeof(words)), -EBADMSG);
	bound->item_count = 1 + (1u << 26);
	bound->bytes = blazei_unit_bytes(1);
	ck_assert_int_eq(blazei_logged_check(words, bound->bytes), -EBADMSG);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("logged");
	TCase *tcase = tcase_create("logged");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, NULL, teardown);
	tcase_add_test(tcase, log_of_all_leads_to_the_same_from_any_prefix);
	tcase_add_test(tcase, what_does_not_follow_is_refused);
	tcase_add_test(tcase, bounds_of_another_form_are_refused);
	tcase_add_test(tcase, bound_has_no_more_items_than_there_may_be_origins);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
