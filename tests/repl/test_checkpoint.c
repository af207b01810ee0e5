/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint: the log leads to the same from its begin on as from its first entry, whatever was
 * merged while it was written; and it changes nothing of a log that is read whole. */
#include "lib/repl/checkpoint.h"

#include "lib/repl/session.h"
#include "lib/repl/stage.h"
#include "tests/repl/log_tape.h"
#include "tests/repl/random.h"

#define NODES   3u
#define RECORDS 24u
#define FIELDS  5u
#define NOW     UINT64_C(1000000000000000000)

struct out {
	uint64_t *words[TAPE_MAX];
	size_t lens[TAPE_MAX];
	unsigned count;
};

/* The first of them logs. */
static struct blazei_replica *nodes[NODES];
static struct out outs[NODES];
static unsigned heard[NODES][NODES]; /* how many of the second one's the first one was given */
static struct tape tape;
static uint64_t now_ns;

static struct blazei_replica_options options_of(unsigned node, uint64_t incarnation)
{
	return (struct blazei_replica_options){
		.self = { .node = { { 0, (uint8_t)(node + 1) } }, .incarnation = incarnation },
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
		.hash_seed = incarnation,
	};
}

static void setup(void)
{
	const struct blazei_log_sink sink = { .arg = &tape, .append = tape_append };

	now_ns = NOW;
	for (unsigned i = 0; i < NODES; i++) {
		const struct blazei_replica_options options = options_of(i, i + 1);

		ck_assert_int_eq(blazei_replica_new(&options, &nodes[i]), 0);
	}
	blazei_replica_set_server(nodes[1], true);
	blazei_replica_set_log(nodes[0], &sink);
	memset(heard, 0, sizeof(heard));
}

static void teardown(void)
{
	for (unsigned i = 0; i < NODES; i++) {
		blazei_replica_free(nodes[i]);
		while (outs[i].count > 0)
			free(outs[i].words[--outs[i].count]);
	}
	tape_clear(&tape);
}

/* One write of a node; its values are long, so that the state takes several chunks. */
static void write_some(unsigned node)
{
	static uint8_t bytes[24u << 10];
	const struct blaze_id id = { { 9, (uint8_t)random_below(RECORDS) } };
	struct blazei_write write = { .kind = BLAZEI_WRITE_UPSERT, .id = &id };
	struct blaze_record *record;
	struct out *out = &outs[node];
	struct blazei_txn_view txn;
	char name[8];
	int rc;

	ck_assert_int_eq(blaze_record_new(&record), 0);
	if (random_below(6) == 0)
		write.kind = BLAZEI_WRITE_DELETE;
	snprintf(name, sizeof(name), "f%u", random_below(FIELDS));
	memset(bytes, (int)random_below(256), sizeof(bytes));
	ck_assert_int_eq(
	        blaze_record_set_bytes(record, name, bytes, random_below(2) ? sizeof(bytes) : 8),
	        0);
	write.record = write.kind == BLAZEI_WRITE_DELETE ? NULL : record;
	now_ns += random_below(1000);
	rc = blazei_replica_write(nodes[node], now_ns, &write, &txn);
	ck_assert(rc == 0 || rc == -ENOENT);
	if (rc == 0 && txn.len > 0) {
		out->words[out->count] = malloc(txn.len);
		out->lens[out->count] = txn.len;
		memcpy(out->words[out->count++], txn.data, txn.len);
	}
	blaze_record_free(record);
}

static void give(unsigned from, unsigned to)
{
	unsigned *next = &heard[to][from];
	struct blazei_txn_view txn;

	if (*next == outs[from].count)
		return;
	txn = (struct blazei_txn_view){ outs[from].words[*next], outs[from].lens[*next] };
	++*next;
	ck_assert_int_ge(blazei_replica_receive(nodes[to], now_ns, &txn, 1), 0);
}

static void something(void)
{
	unsigned a = random_below(NODES), b = random_below(NODES);

	if (random_below(3) == 0)
		write_some(a);
	else if (a != b)
		give(a, b);
}

/* Replays the tape up to end from its first entry, and from begin, where the checkpoint that has
 * ended by then begins: both come to the same. */
static void expect_equal_from(unsigned begin, unsigned end)
{
	const struct blazei_replica_options options = options_of(0, 99);
	struct blazei_replay whole, part;

	ck_assert_int_eq(tape_replay(&tape, 0, end, &options, &whole), 0);
	ck_assert_int_eq(tape_replay(&tape, begin, end, &options, &part), 0);
	ck_assert(!blazei_replay_lacking(&part));
	tape_expect_same(whole.replica, part.replica);
	tape_free(&whole);
	tape_free(&part);
}

static void checkpoint_write(unsigned *ret_begin, unsigned *ret_chunks)
{
	struct blazei_checkpoint checkpoint;
	int rc = 1;

	*ret_begin = tape.count;
	*ret_chunks = 0;
	ck_assert_int_eq(blazei_checkpoint_begin(&checkpoint, nodes[0]), 0);
	while (rc == 1) {
		for (unsigned i = random_below(40); i > 0; i--)
			something();
		rc = blazei_checkpoint_step(&checkpoint);
		++*ret_chunks;
	}
	ck_assert_int_eq(rc, 0);
}

/* The first node comes back under its own name: the same, and what it writes next is heard. */
static void expect_goes_on(unsigned first)
{
	const struct blazei_replica_options options = options_of(0, 1);
	const struct blaze_id id = { { 10 } };
	const struct blazei_write put = { .kind = BLAZEI_WRITE_PUT, .id = &id };
	struct blazei_replay back;
	struct blazei_txn_view txn;
	const struct blazei_writer *writers;

	ck_assert_int_eq(tape_replay(&tape, first, tape.count, &options, &back), 0);
	tape_expect_same(nodes[0], back.replica);
	writers = back.replica->vector.writers;
	ck_assert_uint_gt(writers[0].seq, 0);
	ck_assert_uint_eq(writers[0].chain, nodes[0]->vector.writers[0].chain);
	ck_assert_uint_eq(back.replica->began_seq, writers[0].seq);
	for (unsigned i = 1; i < nodes[0]->vector.count; i++) {
		const uint16_t index =
		        blazei_vector_find(&back.replica->vector, &nodes[0]->vector.origins[i]);

		ck_assert_uint_ge(writers[index].heard, nodes[0]->vector.writers[i].heard);
	}
	for (unsigned i = 0; i < NODES; i++)
		while (i != 1 && heard[1][i] < outs[i].count)
			give(i, 1);
	ck_assert_int_eq(blazei_replica_write(back.replica, now_ns, &put, &txn), 0);
	ck_assert_int_eq(blazei_replica_receive(nodes[1], now_ns, &txn, 1), 1);
	tape_free(&back);
}

START_TEST(log_leads_to_the_same_from_its_begin)
{
	unsigned begin, end, chunks;
	struct blazei_replay back;
	const struct blazei_replica_options options = options_of(0, 99);

	random_state = (uint64_t)_i + 1;
	for (unsigned i = 0; i < 600; i++)
		something();
	checkpoint_write(&begin, &chunks);
	ck_assert_uint_ge(chunks, 2);
	end = tape.count;
	for (unsigned i = 0; i < 100; i++)
		something();
	expect_equal_from(begin, end);
	expect_equal_from(begin, tape.count);
	ck_assert_int_eq(tape_replay(&tape, begin, tape.count, &options, &back), 0);
	tape_expect_same(nodes[0], back.replica);
	tape_free(&back);
	/* A second one takes the place of the first. */
	checkpoint_write(&begin, &chunks);
	expect_equal_from(begin, tape.count);
	for (unsigned i = 0; i < 20 && _i % 4 < 2; i++)
		something();
	expect_goes_on(_i % 2 ? begin : 0);
}
END_TEST

/* I3: entries of checkpoints, ended or not, change nothing of a log that has more before them; and
 * without its end the log does not begin with one. */
START_TEST(checkpoint_changes_nothing_of_what_a_longer_log_leads_to)
{
	const struct blazei_replica_options options = options_of(0, 99);
	struct blazei_checkpoint checkpoint;
	struct blazei_replay back, lacking;
	struct tape without = { .count = 0 };
	unsigned begin, chunks, ended;

	random_state = (uint64_t)_i + 1;
	for (unsigned i = 0; i < 300; i++)
		something();
	ck_assert_int_eq(blazei_checkpoint_begin(&checkpoint, nodes[0]), 0);
	ck_assert_int_eq(blazei_checkpoint_step(&checkpoint), 1);
	something();
	blazei_checkpoint_drop(&checkpoint);
	something();
	checkpoint_write(&begin, &chunks);
	ended = tape.count;
	for (unsigned i = 0; i < tape.count; i++)
		if (tape_bound(&tape, i)->kind == BLAZEI_KIND_TXN)
			tape_append(&without, tape.entries[i], tape_bound(&tape, i)->bytes);
	ck_assert_int_eq(tape_replay(&tape, 0, tape.count, &options, &back), 0);
	ck_assert(!blazei_replay_unfinished(&back));
	tape_expect_same(nodes[0], back.replica);
	tape_free(&back);
	ck_assert_int_eq(tape_replay(&without, 0, without.count, &options, &back), 0);
	tape_expect_same(nodes[0], back.replica);
	tape_free(&back);
	tape_clear(&without);
	for (unsigned end = begin + 1; end < ended; end++) {
		ck_assert_int_eq(tape_replay(&tape, 0, end, &options, &back), 0);
		ck_assert(blazei_replay_unfinished(&back));
		ck_assert(!blazei_replay_lacking(&back));
		tape_free(&back);
		ck_assert_int_eq(tape_replay(&tape, begin, end, &options, &lacking), 0);
		ck_assert(blazei_replay_lacking(&lacking));
		tape_free(&lacking);
	}
}
END_TEST

/* What would make it false makes it void, and it says so in the log. */
START_TEST(another_unit_makes_it_void)
{
	const struct blazei_replica_options options = options_of(0, 99);
	struct blazei_checkpoint checkpoint;
	struct blazei_replay back;
	unsigned count;

	random_state = 7;
	for (unsigned i = 0; i < 300; i++)
		something();
	ck_assert_int_eq(blazei_checkpoint_begin(&checkpoint, nodes[0]), 0);
	ck_assert_int_eq(blazei_checkpoint_step(&checkpoint), 1);
	blazei_logged_lag(nodes[0]);
	ck_assert_int_eq(blazei_checkpoint_step(&checkpoint), -ESTALE);
	/* Nor can one begin. */
	ck_assert_int_eq(blazei_checkpoint_begin(&checkpoint, nodes[0]), -EAGAIN);
	ck_assert_int_eq(blazei_replica_log_all(nodes[0]), 0);
	blazei_checkpoint_drop(&checkpoint);
	ck_assert_int_eq(tape_replay(&tape, 0, tape.count, &options, &back), 0);
	tape_expect_same(nodes[0], back.replica);
	tape_free(&back);
	/* Behind and up again between two steps: that is another unit, too. */
	ck_assert_int_eq(blazei_checkpoint_begin(&checkpoint, nodes[0]), 0);
	blazei_logged_lag(nodes[0]);
	ck_assert_int_eq(blazei_replica_log_all(nodes[0]), 0);
	ck_assert_int_eq(blazei_checkpoint_step(&checkpoint), -ESTALE);
	ck_assert_int_eq(tape_replay(&tape, 0, tape.count, &options, &back), 0);
	tape_expect_same(nodes[0], back.replica);
	tape_free(&back);
	/* Where rows went, their numbers mean others. */
	ck_assert_int_eq(blazei_checkpoint_begin(&checkpoint, nodes[0]), 0);
	nodes[0]->table.shape++;
	count = tape.count;
	ck_assert_int_eq(blazei_checkpoint_step(&checkpoint), -ESTALE);
	ck_assert_uint_eq(tape.count, count + 1);
	ck_assert_uint_eq(tape_bound(&tape, count)->kind, BLAZEI_KIND_DROP);
	ck_assert(!nodes[0]->checkpoint);
}
END_TEST

/* Bounds where none belongs. */
START_TEST(what_does_not_follow_is_refused)
{
	const struct blazei_replica_options options = options_of(0, 99);
	const struct blazei_unit_bound drop = {
		.bytes = sizeof(drop),
		.kind = BLAZEI_KIND_DROP,
		.format = BLAZEI_FORMAT,
	};
	struct blazei_replay back;
	unsigned begin, chunks;

	random_state = 3;
	for (unsigned i = 0; i < 300; i++)
		something();
	checkpoint_write(&begin, &chunks);
	/* One with which the log begins can't be dropped: there is nothing else. */
	ck_assert_int_eq(tape_replay(&tape, begin, begin + 2, &options, &back), 0);
	ck_assert_int_eq(blazei_replay_entry(&back, &drop), -EBADMSG);
	tape_free(&back);
	/* Without its begin. */
	ck_assert_int_eq(tape_replay(&tape, begin + 1, tape.count, &options, &back), -EBADMSG);
	tape_free(&back);
	/* Its chunks behind its end. */
	ck_assert_int_eq(tape_replay(&tape, 0, tape.count, &options, &back), 0);
	for (unsigned i = begin; i < tape.count; i++)
		if (tape_bound(&tape, i)->kind == BLAZEI_KIND_STATE)
			ck_assert_int_eq(blazei_replay_entry(&back, tape.entries[i]), -EBADMSG);
	ck_assert_int_eq(blazei_replay_entry(&back, tape.entries[tape.count - 1]), -EBADMSG);
	tape_free(&back);
}
END_TEST

/* A log that begins with a state takes its memory once: what can be merged at once is. A chunk with
 * the first writes of one who came after the begin waits for the end, which names him. */
START_TEST(chunks_are_merged_as_they_come)
{
	const struct blazei_replica_options options = options_of(0, 99), next = options_of(0, 100);
	struct tape again = { .count = 0 };
	const struct blazei_log_sink sink = { .arg = &again, .append = tape_append };
	struct blazei_checkpoint checkpoint;
	struct blazei_replay back, second;
	unsigned begin;

	random_state = 5;
	for (unsigned i = 0; i < 300; i++)
		write_some(0);
	begin = tape.count;
	ck_assert_int_eq(blazei_checkpoint_begin(&checkpoint, nodes[0]), 0);
	ck_assert_int_eq(blazei_checkpoint_step(&checkpoint), 1);
	ck_assert_int_eq(tape_replay(&tape, begin, tape.count, &options, &back), 0);
	ck_assert_uint_eq(blazei_stage_bytes(back.stage), 0);
	ck_assert_uint_gt(blazei_replica_count(back.replica), 0);
	tape_free(&back);
	for (unsigned i = 0; i < 100; i++)
		write_some(2);
	while (heard[0][2] < outs[2].count)
		give(2, 0);
	while (blazei_checkpoint_step(&checkpoint) == 1)
		;
	ck_assert_int_eq(tape_replay(&tape, begin, tape.count - 1, &options, &back), 0);
	ck_assert_ptr_nonnull(back.stage->chunks.first);
	ck_assert_int_eq(blazei_replay_entry(&back, tape.entries[tape.count - 1]), 0);
	tape_expect_same(nodes[0], back.replica);
	tape_free(&back);
	/* Nor is one that takes the place of what there is, as this one is not. */
	((struct blazei_unit_bound *)tape.entries[begin])->flags |= BLAZEI_UNIT_WHOLE;
	ck_assert_int_eq(tape_replay(&tape, begin, begin + 2, &options, &back), 0);
	ck_assert_uint_gt(blazei_stage_bytes(back.stage), 0);
	tape_free(&back);
	ck_assert_int_eq(tape_replay(&tape, begin, tape.count, &options, &back), 0);
	tape_expect_same(nodes[0], back.replica);
	/* A chunk names who encoded it, also where he has written nothing. */
	blazei_replica_set_log(back.replica, &sink);
	ck_assert_int_eq(blazei_checkpoint_begin(&checkpoint, back.replica), 0);
	ck_assert_int_eq(blazei_checkpoint_step(&checkpoint), 1);
	ck_assert_int_eq(tape_replay(&again, 0, again.count, &next, &second), 0);
	ck_assert_uint_eq(blazei_stage_bytes(second.stage), 0);
	blazei_checkpoint_drop(&checkpoint);
	tape_free(&second);
	tape_free(&back);
	tape_clear(&again);
}
END_TEST

/* Also where it was merged as it came. */
START_TEST(state_beyond_its_vector_is_refused)
{
	const struct blazei_replica_options options = options_of(0, 99);
	struct blazei_checkpoint checkpoint;
	struct blazei_unit_bound *bounds[2];
	struct blazei_replay back;
	unsigned begin;

	random_state = 9;
	for (unsigned i = 0; i < 40; i++)
		write_some(0);
	begin = tape.count;
	ck_assert_int_eq(blazei_checkpoint_begin(&checkpoint, nodes[0]), 0);
	while (blazei_checkpoint_step(&checkpoint) == 1)
		;
	bounds[0] = (void *)tape.entries[begin];
	bounds[1] = (void *)tape.entries[tape.count - 1];
	/* It ends with a write that stands, one before what they say. */
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(bounds[i]->item_count, 1);
		bounds[i]->items[0].seq++;
	}
	ck_assert_int_eq(tape_replay(&tape, begin, tape.count, &options, &back), 0);
	tape_free(&back);
	for (unsigned i = 0; i < 2; i++)
		bounds[i]->items[0].seq -= 2;
	ck_assert_int_eq(tape_replay(&tape, begin, tape.count, &options, &back), -EBADMSG);
	tape_free(&back);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("checkpoint");
	TCase *tcase = tcase_create("checkpoint");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, log_leads_to_the_same_from_its_begin, 0, 60);
	tcase_add_loop_test(tcase, checkpoint_changes_nothing_of_what_a_longer_log_leads_to, 0, 3);
	tcase_add_test(tcase, another_unit_makes_it_void);
	tcase_add_test(tcase, what_does_not_follow_is_refused);
	tcase_add_test(tcase, chunks_are_merged_as_they_come);
	tcase_add_test(tcase, state_beyond_its_vector_is_refused);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
