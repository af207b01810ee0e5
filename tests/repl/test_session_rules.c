/* SPDX-License-Identifier: Apache-2.0 */
/* An answerer that breaks one rule, in a message whose sum is right: the asker ends the session
 * with the error for it, keeps what it had, and an honest session after that brings everything. */
#include "tests/repl/session_pair.h"

/* Which message of its kind. */
enum which {
	WHOLE,      /* a body in one part, or any message that has no parts */
	FIRST_PART, /* of a body of several */
	LATER_PART,
};

struct lie {
	const char *name;
	bool snapshot; /* told amid one, else amid transactions */
	uint8_t kind;
	enum which which;
	void (*change)(void *data, size_t *len);
	int error;
};

struct liar {
	const struct lie *lie;
	bool told;
};

static enum which which_part(const struct blazei_session_header *header)
{
	const struct blazei_session_part *part = (const void *)header;

	if (header->kind != BLAZEI_KIND_TXNS && header->kind != BLAZEI_KIND_CHUNK)
		return WHOLE;
	if (part->offset > 0)
		return LATER_PART;
	return header->bytes - sizeof(*part) < part->total ? FIRST_PART : WHOLE;
}

static enum pair_fate tell(struct pair *pair, unsigned at, bool from_answerer, void *data,
                           size_t *len)
{
	struct liar *liar = pair->arg;
	struct blazei_session_header *header = data;

	(void)at;
	if (!from_answerer)
		return PAIR_DELIVER;
	/* So that transactions follow the chunks. */
	if (header->kind == BLAZEI_KIND_CHUNK && pair->kinds[BLAZEI_KIND_CHUNK] == 1)
		node_writes(pair->answerer, 30, 2);
	if (!liar->lie || liar->told || header->kind != liar->lie->kind ||
	    which_part(header) != liar->lie->which)
		return PAIR_DELIVER;
	liar->told = true;
	liar->lie->change(data, len);
	header->bytes = (uint32_t)*len;
	message_seal(header);
	ck_assert_int_eq(blazei_session_check(data, *len), 0);
	return PAIR_DELIVER;
}

/* What is changed ---------------------------------------------------------------------------- */

static struct blazei_txn_header *first_txn(void *data)
{
	return (struct blazei_txn_header *)((struct blazei_session_part *)data)->bytes;
}

static void txn_too_long(void *data, size_t *len)
{
	first_txn(data)->bytes = (uint32_t)*len;
}

static void txn_odd(void *data, size_t *len)
{
	(void)len;
	first_txn(data)->bytes -= 4;
}

static void txn_shorter_than_its_header(void *data, size_t *len)
{
	(void)len;
	first_txn(data)->bytes = sizeof(struct blazei_txn_header) - 8;
}

static void txn_of_no_bytes(void *data, size_t *len)
{
	(void)len;
	first_txn(data)->bytes = 0;
}

static void txn_damaged(void *data, size_t *len)
{
	(void)len;
	first_txn(data)->chain++;
}

static void txn_seal(struct blazei_txn_header *header)
{
	header->chain = blazei_txn_hash(header);
}

static void txn_ahead_of_the_clock(void *data, size_t *len)
{
	struct blazei_txn_header *header = first_txn(data);

	(void)len;
	header->hlc += 3600 * BLAZEI_NS_PER_S;
	txn_seal(header);
}

/* As if the asker itself had written it. */
static void own_txn_ahead_of_the_clock(void *data, size_t *len)
{
	struct blazei_txn_header *header = first_txn(data);
	struct blazei_origin *writer = (struct blazei_origin *)(header + 1);

	*writer = (struct blazei_origin){ .incarnation = 999 };
	writer->node.bytes[0] = 1;
	txn_ahead_of_the_clock(data, len);
}

static void txn_of_a_stranger(void *data, size_t *len)
{
	struct blazei_txn_header *header = first_txn(data);

	(void)len;
	((struct blazei_origin *)(header + 1))->incarnation++;
	txn_seal(header);
}

static void txn_of_another_past(void *data, size_t *len)
{
	(void)len;
	first_txn(data)->prev++;
	txn_seal(first_txn(data));
}

/* The second one alone. */
static void txn_left_out(void *data, size_t *len)
{
	struct blazei_session_part *part = data;
	const uint32_t bytes = first_txn(data)->bytes;

	ck_assert_uint_gt(part->total, bytes);
	part->total -= bytes;
	*len -= bytes;
	memmove(part->bytes, part->bytes + bytes, part->total);
}

static void bytes_behind(void *data, size_t *len)
{
	struct blazei_session_part *part = data;

	memset((uint8_t *)data + *len, 0, 8);
	part->total += 8;
	*len += 8;
}

static void chunk_damaged(void *data, size_t *len)
{
	(void)len;
	first_txn(data)->record_count++;
}

static void part_elsewhere(void *data, size_t *len)
{
	(void)len;
	((struct blazei_session_part *)data)->offset -= 8;
}

static void part_not_at_the_start(void *data, size_t *len)
{
	(void)len;
	((struct blazei_session_part *)data)->offset = 8;
}

static void part_of_more(void *data, size_t *len)
{
	(void)len;
	((struct blazei_session_part *)data)->total += 8;
}

static void part_of_another_cursor(void *data, size_t *len)
{
	(void)len;
	((struct blazei_session_part *)data)->cursor++;
}

static void part_of_transactions(void *data, size_t *len)
{
	(void)len;
	((struct blazei_session_part *)data)->header.kind = BLAZEI_KIND_TXNS;
	((struct blazei_session_part *)data)->cursor = 0;
}

static void part_of_a_chunk(void *data, size_t *len)
{
	(void)len;
	((struct blazei_session_part *)data)->header.kind = BLAZEI_KIND_CHUNK;
}

static void live_already(void *data, size_t *len)
{
	struct blazei_session_live *live = data;

	live->header.kind = BLAZEI_KIND_LIVE;
	live->entry_count = 0;
	live->reserved = 0;
	*len = sizeof(*live);
}

static void snapshot_of_nothing(void *data, size_t *len)
{
	struct blazei_session_snapshot *snapshot = data;

	memset(&snapshot->resume, 0, sizeof(*snapshot) - sizeof(snapshot->header));
	snapshot->header.kind = BLAZEI_KIND_SNAPSHOT;
	*len = sizeof(*snapshot);
}

static void snapshot_again(void *data, size_t *len)
{
	(void)len;
	((struct blazei_session_snapshot *)data)->header.flags = BLAZEI_SNAPSHOT_AGAIN;
}

static void snapshot_resumed(void *data, size_t *len)
{
	snapshot_of_nothing(data, len);
	((struct blazei_session_snapshot *)data)->header.flags = BLAZEI_SNAPSHOT_RESUMED;
}

/* Amid a snapshot: goes on with what is on its way already. */
static void snapshot_resumed_again(void *data, size_t *len)
{
	snapshot_resumed(data, len);
	((struct blazei_session_snapshot *)data)->header.flags |= BLAZEI_SNAPSHOT_AGAIN;
}

/* Amid one that has not all registers: a further pass of all. */
static void snapshot_again_of_all(void *data, size_t *len)
{
	struct blazei_session_snapshot *snapshot = data;

	snapshot_of_nothing(data, len);
	snapshot->header.flags = BLAZEI_SNAPSHOT_AGAIN | BLAZEI_SNAPSHOT_WHOLE;
	snapshot->entry_count = 1;
	memset(snapshot->entries, 0, sizeof(snapshot->entries[0]));
	*len += sizeof(snapshot->entries[0]);
}

/* Entries are those of the answerer, who comes first, and then of others. */
static void snapshot_covers_less(void *data, size_t *len)
{
	(void)len;
	((struct blazei_session_snapshot *)data)->entries[0].seq--;
}

static void snapshot_covers_more(void *data, size_t *len)
{
	(void)len;
	((struct blazei_session_snapshot *)data)->entries[0].seq++;
}

static void snapshot_of_another_chain(void *data, size_t *len)
{
	(void)len;
	((struct blazei_session_snapshot *)data)->entries[0].chain++;
}

static void live_with_more(void *data, size_t *len)
{
	(void)len;
	((struct blazei_session_live *)data)->entries[0].seq++;
}

static void live_without_one(void *data, size_t *len)
{
	struct blazei_session_live *live = data;

	live->entry_count--;
	*len -= sizeof(live->entries[0]);
	memmove(live->entries, live->entries + 1, live->entry_count * sizeof(live->entries[0]));
}

static void live_of_another_chain(void *data, size_t *len)
{
	(void)len;
	((struct blazei_session_live *)data)->entries[0].chain++;
}

static void of_another_session(void *data, size_t *len)
{
	(void)len;
	((struct blazei_session_header *)data)->session++;
}

static void of_another_number(void *data, size_t *len)
{
	(void)len;
	((struct blazei_session_header *)data)->number++;
}

static void from_the_same_side(void *data, size_t *len)
{
	(void)len;
	((struct blazei_session_hello *)data)->side = BLAZEI_SESSION_ASKER;
}

#define TXNS(which, change, error)                                                                 \
	{                                                                                          \
		"txns: " #change, false, BLAZEI_KIND_TXNS, which, change, error                    \
	}
#define TAIL(which, change, error)                                                                 \
	{                                                                                          \
		"tail: " #change, true, BLAZEI_KIND_TXNS, which, change, error                     \
	}
#define CHUNK(which, change)                                                                       \
	{                                                                                          \
		"chunk: " #change, true, BLAZEI_KIND_CHUNK, which, change, -EBADMSG                \
	}
#define OTHER(snapshot, kind, change)                                                              \
	{                                                                                          \
#kind ": " #change, snapshot, BLAZEI_KIND_##kind, WHOLE, change, -EBADMSG          \
	}

static const struct lie lies[] = {
	TXNS(WHOLE, txn_too_long, -EBADMSG),
	TXNS(WHOLE, txn_odd, -EBADMSG),
	TXNS(WHOLE, txn_shorter_than_its_header, -EBADMSG),
	TXNS(WHOLE, txn_of_no_bytes, -EBADMSG),
	TXNS(WHOLE, txn_damaged, -EBADMSG),
	TXNS(WHOLE, bytes_behind, -EBADMSG),
	TXNS(WHOLE, part_of_a_chunk, -EBADMSG),
	TXNS(FIRST_PART, part_not_at_the_start, -EBADMSG),
	TXNS(FIRST_PART, txn_damaged, -EBADMSG),
	TXNS(LATER_PART, part_elsewhere, -EBADMSG),
	TXNS(LATER_PART, part_of_more, -EBADMSG),
	TXNS(LATER_PART, part_of_a_chunk, -EBADMSG),
	TXNS(LATER_PART, live_already, -EBADMSG),
	TXNS(LATER_PART, snapshot_of_nothing, -EBADMSG),
	TAIL(WHOLE, txn_too_long, -EBADMSG),
	TAIL(WHOLE, txn_odd, -EBADMSG),
	TAIL(WHOLE, txn_shorter_than_its_header, -EBADMSG),
	TAIL(WHOLE, txn_of_no_bytes, -EBADMSG),
	TAIL(WHOLE, txn_damaged, -EBADMSG),
	TAIL(WHOLE, txn_ahead_of_the_clock, -EAGAIN),
	TAIL(WHOLE, own_txn_ahead_of_the_clock, -EAGAIN),
	TAIL(WHOLE, txn_of_a_stranger, -EBADMSG),
	TAIL(WHOLE, txn_of_another_past, -EBADMSG),
	TAIL(WHOLE, txn_left_out, -EBADMSG),
	TAIL(WHOLE, bytes_behind, -EBADMSG),
	CHUNK(FIRST_PART, chunk_damaged),
	CHUNK(FIRST_PART, part_not_at_the_start),
	CHUNK(LATER_PART, part_elsewhere),
	CHUNK(LATER_PART, part_of_more),
	CHUNK(LATER_PART, part_of_another_cursor),
	CHUNK(LATER_PART, part_of_transactions),
	CHUNK(LATER_PART, live_already),
	CHUNK(LATER_PART, snapshot_of_nothing),
	OTHER(true, SNAPSHOT, snapshot_again),
	OTHER(true, SNAPSHOT, snapshot_resumed),
	OTHER(true, SNAPSHOT, snapshot_of_nothing),
	OTHER(true, SNAPSHOT, snapshot_covers_less),
	OTHER(true, SNAPSHOT, snapshot_covers_more),
	OTHER(true, SNAPSHOT, snapshot_of_another_chain),
	OTHER(true, LIVE, snapshot_resumed_again),
	OTHER(true, LIVE, snapshot_again_of_all),
	OTHER(true, LIVE, live_with_more),
	OTHER(true, LIVE, live_without_one),
	OTHER(true, LIVE, live_of_another_chain),
	OTHER(false, LIVE, of_another_session),
	OTHER(false, LIVE, of_another_number),
	OTHER(false, HELLO, from_the_same_side),
	OTHER(false, HELLO, live_already),
};

#define LIES ((int)(sizeof(lies) / sizeof(*lies)))

START_TEST(broken_rule_ends_the_session_with_its_error)
{
	const struct lie *lie = &lies[_i];
	struct liar liar = { .lie = lie };
	uint8_t before[16];
	uint8_t after[16];
	struct pair pair;
	struct node a;
	struct node b;

	pair_fill(&a, &b, lie->snapshot);
	ck_assert_int_eq(blazei_replica_hash_stamps(a.replica, before), 0);
	pair_open(&pair, &a, &b);
	/* Chunks and transactions that take several messages, unless they have to be whole. */
	if (lie->which != WHOLE)
		pair.cap = BLAZEI_SESSION_MESSAGE_MIN;
	pair.hook = tell;
	pair.arg = &liar;
	pair_run(&pair);
	ck_assert_msg(liar.told, "%s was not told", lie->name);
	ck_assert_msg(pair.asked.state == BLAZEI_SESSION_FAILED && pair.asked.error == lie->error,
	              "%s: state %d, error %d", lie->name, pair.asked.state, pair.asked.error);
	ck_assert_int_eq(blazei_replica_hash_stamps(a.replica, after), 0);
	if (lie->snapshot)
		ck_assert_mem_eq(before, after, 16);
	ck_assert_uint_eq(node_stats(&a).quarantined, 0);
	/* What contradicts itself is of no use to anybody. */
	if (lie->change == snapshot_of_nothing || lie->change == snapshot_again)
		ck_assert_uint_eq(pair.left, 0);
	liar = (struct liar){ .lie = NULL };
	pair_catch_up(&pair);
	node_give_all(&a, &b);
	nodes_expect_equal(&a, &b);
	pair_close(&pair);
	node_close(&a);
	node_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session_rules");
	TCase *tcase = tcase_create("session_rules");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, broken_rule_ends_the_session_with_its_error, 0, LIES);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
