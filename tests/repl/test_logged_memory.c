/* SPDX-License-Identifier: Apache-2.0 */
/* The log, and the way back from it, where an allocation fails, each one in turn: nothing of a unit
 * is logged or installed then, and the next try does it all. */
#include "lib/repl/checkpoint.h"
#include "lib/repl/logged.h"
#include "lib/repl/reissue.h"
#include "lib/repl/stage.h"
#include "tests/repl/over.h"
#include "tests/repl/starve.h"
#include "tests/repl/writeset_help.h"

#define ENTRIES_MAX 1024u

static struct message entries[ENTRIES_MAX];
static unsigned entry_count;

static void on_append(void *arg, const void *entry, size_t len)
{
	const bool was_armed = armed;

	(void)arg;
	armed = false;
	ck_assert_uint_lt(entry_count, ENTRIES_MAX);
	ck_assert_int_eq(blazei_logged_check(entry, len), 0);
	entries[entry_count] = (struct message){ malloc(len), len };
	memcpy(entries[entry_count++].data, entry, len);
	armed = was_armed;
}

static void log_set_up(void)
{
	const struct blazei_log_sink sink = { .append = on_append };

	set_up();
	node_close(&c);
	node_open_history(&c, 3, 1u << 20);
	blazei_replica_set_log(b.replica, &sink);
}

static void log_tear_down(void)
{
	tear_down_all();
	while (entry_count > 0)
		free(entries[--entry_count].data);
}

/* What the log leads to, from the entry `first` on, with allocation `at` failing: -ENOMEM, or what
 * b is. False: there are not so many. */
static bool replay_starve(unsigned first, unsigned origins_max, unsigned at)
{
	const struct blazei_replica_options options = {
		.self = { .node = { { 99 } }, .incarnation = 99 },
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
		.origins_max = origins_max,
	};
	struct node back = { .now_ns = NOW };
	struct blazei_replay replay;
	bool failed;
	int rc;

	starve(at);
	rc = blazei_replay_init(&replay, &options);
	for (unsigned i = first; i < entry_count && rc == 0; i++)
		rc = blazei_replay_entry(&replay, entries[i].data);
	failed = starve_end();
	ck_assert_int_eq(rc, rc < 0 && failed ? -ENOMEM : 0);
	if (rc == 0) {
		ck_assert(!blazei_replay_unfinished(&replay));
		back.replica = replay.replica;
		nodes_expect_equal(&b, &back);
	}
	blazei_replica_free(replay.replica);
	blazei_replay_fini(&replay);
	return failed;
}

/* The log comes back as soon as no allocation fails; how many there are. */
static unsigned expect_back(unsigned first, unsigned origins_max)
{
	unsigned at = 0;

	while (replay_starve(first, origins_max, at))
		at++;
	return at;
}

START_TEST(all_is_logged_as_soon_as_there_is_memory)
{
	unsigned before;
	unsigned at = 0;

	begin();
	blazei_logged_lag(b.replica);
	before = entry_count;
	for (;;) {
		int rc;

		starve(at);
		rc = blazei_replica_log_all(b.replica);
		if (!starve_end()) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		ck_assert_int_eq(rc, -ENOMEM);
		ck_assert(blazei_replica_log_behind(b.replica));
		ck_assert_uint_eq(entry_count, before);
		at++;
	}
	/* Both ends of the unit, what the state is measured against, and a chunk. */
	ck_assert_uint_ge(at, 4);
	ck_assert(!blazei_replica_log_behind(b.replica));
	ck_assert_uint_ge(expect_back(before, 0), 6);
}
END_TEST

/* Also where its chunks are merged as they come. */
START_TEST(log_that_begins_with_a_checkpoint_comes_back)
{
	struct blazei_checkpoint checkpoint;
	unsigned before;

	begin();
	before = entry_count;
	ck_assert_int_eq(blazei_checkpoint_begin(&checkpoint, b.replica), 0);
	while (blazei_checkpoint_step(&checkpoint) == 1)
		;
	ck_assert_uint_ge(entry_count, before + 3);
	ck_assert_uint_ge(expect_back(before, 0), 8);
}
END_TEST

/* It is up to date, or has no log. */
START_TEST(nothing_is_logged_that_is_logged)
{
	unsigned before;

	begin();
	before = entry_count;
	ck_assert_int_eq(blazei_replica_log_all(b.replica), 0);
	ck_assert_uint_eq(entry_count, before);
	ck_assert_int_eq(blazei_replica_log_all(a.replica), 0);
	blazei_logged_lag(a.replica);
	ck_assert(!blazei_replica_log_behind(a.replica));
}
END_TEST

/* A replica without records, and one with a row that holds none. */
START_TEST(nothing_is_logged_as_what_it_is)
{
	const struct blazei_log_sink sink = { .append = on_append };
	const struct blaze_id id = id_of(7);
	struct blazei_table *table = &c.replica->table;

	blazei_replica_set_log(c.replica, &sink);
	for (unsigned i = 0; i < 2; i++) {
		const unsigned before = entry_count;

		blazei_logged_lag(c.replica);
		ck_assert_int_eq(blazei_replica_log_all(c.replica), 0);
		ck_assert_uint_eq(entry_count, before + 2);
		ck_assert_ptr_nonnull(
		        blazei_table_add(table, &id, blazei_table_hash(table, &id), 64));
	}
}
END_TEST

/* What a whole vector says, as the end of a snapshot has it. */
static unsigned cut_read(const struct node *node, struct blazei_session_entry *entries_read)
{
	const unsigned count = blazei_replica_vector_count(node->replica);

	for (unsigned i = 0; i < count; i++) {
		struct blazei_vector_detail detail;

		blazei_replica_vector_detail(node->replica, i, &detail);
		entries_read[i] = (struct blazei_session_entry){
			.origin = detail.entry.origin,
			.seq = detail.entry.seq,
			.chain = detail.chain,
			.hlc = detail.hlc,
		};
	}
	return count;
}

/* Once the first chunk is out: what comes behind it has names of its own, in two records each. */
static void write_on(struct pair *session)
{
	char json[64];

	for (unsigned i = 0; i < 8; i++) {
		struct txn txn = txn_begin(session->answerer);

		for (unsigned k = 0; k < 2; k++) {
			snprintf(json, sizeof(json), "{\"behind%u\":1,\"more%u\":1}", 2 * i + k, i);
			ck_assert_int_eq(txn_update(&txn, 10 + k, json), 0);
		}
		ck_assert_int_eq(txn_commit(&txn), 0);
	}
}

/* Installs a snapshot of c in b, with allocation `at` failing, and once more if it did not come to
 * that. False: there are not so many. */
static bool snapshot_starve(unsigned at)
{
	struct blazei_session_entry vs[PAST_MAX];
	struct blazei_stage_cut cut = { .vs = vs };
	struct blazei_session_entry forked;
	struct pair pair;
	unsigned before;
	bool failed;
	int rc;

	begin();
	before = entry_count;
	node_writes(&c, 10, 20);
	pair_open(&pair, &b, &c);
	pair.whole = true;
	pair.amid = write_on;
	pair.keep_staged = true;
	pair_run(&pair);
	ck_assert_int_eq(pair.asked.state, BLAZEI_SESSION_STAGED);
	ck_assert_uint_gt(pair.kinds[BLAZEI_KIND_TXNS], 0);
	cut.count = cut_read(&c, vs);
	ck_assert_int_eq(blazei_stage_check(pair.stage, b.replica, vs, cut.count, &forked), 0);
	starve(at);
	rc = blazei_stage_install(pair.stage, b.replica, b.now_ns, &cut);
	failed = starve_end();
	if (failed && rc < 0) {
		ck_assert_int_eq(rc, -ENOMEM);
		ck_assert_uint_eq(entry_count, before);
		ck_assert_uint_eq(blazei_replica_vector_seq(b.replica, &c.origin), 0);
		ck_assert(!blazei_replica_log_behind(b.replica));
		rc = blazei_stage_install(pair.stage, b.replica, b.now_ns, &cut);
	}
	ck_assert_int_eq(rc, 8);
	ck_assert_uint_eq(blazei_replica_vector_seq(b.replica, &c.origin), 28);
	ck_assert_uint_gt(entry_count, before + 2);
	pair_close(&pair);
	return failed;
}

START_TEST(snapshot_is_installed_and_logged_as_soon_as_there_is_memory)
{
	unsigned at = 0;

	while (snapshot_starve(at++)) {
		log_tear_down();
		log_set_up();
	}
	ck_assert_uint_ge(at, 10);
	ck_assert_uint_ge(expect_back(0, 0), 6);
}
END_TEST

START_TEST(incarnations_are_retired_by_the_replay_as_soon_as_there_is_memory)
{
	for (unsigned i = 0; i < 6; i++) {
		begin();
		for (unsigned k = 0; k < 6; k++)
			round_make(100 * i + k);
	}
	ck_assert_uint_gt(blazei_replica_vector_count(b.replica), 6);
	ck_assert_uint_ge(expect_back(0, 6), 6);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("logged_memory");
	TCase *tcase = tcase_create("logged_memory");

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, log_set_up, log_tear_down);
	tcase_add_test(tcase, all_is_logged_as_soon_as_there_is_memory);
	tcase_add_test(tcase, log_that_begins_with_a_checkpoint_comes_back);
	tcase_add_test(tcase, nothing_is_logged_that_is_logged);
	tcase_add_test(tcase, nothing_is_logged_as_what_it_is);
	tcase_add_test(tcase, snapshot_is_installed_and_logged_as_soon_as_there_is_memory);
	tcase_add_test(tcase, incarnations_are_retired_by_the_replay_as_soon_as_there_is_memory);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
