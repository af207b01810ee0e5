/* SPDX-License-Identifier: Apache-2.0 */
/* Two nodes and a catch-up session between them, message by message, with a hook that may look at,
 * change, keep or drop each one. */
#ifndef TESTS_REPL_SESSION_PAIR_H
#define TESTS_REPL_SESSION_PAIR_H

#include "lib/repl/core.h"
#include "lib/repl/session_wire.h"
#include "tests/repl/harness.h"

#define PAIR_MESSAGES_MAX 100000u

enum pair_fate {
	PAIR_DELIVER,
	PAIR_DROP,
	PAIR_TWICE,
	PAIR_CUT, /* the session ends here */
};

struct pair;

/* A message on its way, number `at` of all; may change it, and *len. */
typedef enum pair_fate (*pair_hook)(struct pair *pair, unsigned at, bool from_answerer, void *data,
                                    size_t *len);

struct pair {
	struct node *asker;
	struct node *answerer;
	struct blazei_stage *stage;
	struct blazei_session *ask;
	struct blazei_session *answer;
	struct blazei_session_status asked; /* when it has ended */
	struct blazei_session_status answered;
	uint64_t left; /* staged then */
	pair_hook hook;
	void (*amid)(struct pair *pair); /* while the first chunk is on its way */
	void *arg;
	size_t cap; /* 0: the longest */
	bool whole;
	bool anew;         /* the asker's: the snapshot becomes all that it holds */
	bool keep_staged;  /* don't install */
	uint64_t complete; /* as of which the asker is told to have all of the answerer's own */
	unsigned messages;
	unsigned kinds[32]; /* given by the answerer */
	uint64_t *buf;
};

static inline void pair_open(struct pair *pair, struct node *asker, struct node *answerer)
{
	*pair = (struct pair){ .asker = asker, .answerer = answerer };
	pair->buf = malloc(BLAZEI_SESSION_MESSAGE_MAX);
	ck_assert_int_eq(blazei_stage_new(UINT64_C(1) << 30, &pair->stage), 0);
}

static inline void pair_close(struct pair *pair)
{
	blazei_stage_free(pair->stage);
	free(pair->buf);
}

/* Writes `count` records from number `first` on. */
static inline void node_writes(struct node *node, unsigned first, unsigned count)
{
	char json[64];

	for (unsigned i = first; i < first + count; i++) {
		snprintf(json, sizeof(json), "{\"n\":%u,\"by\":%u}", node->count,
		         node->origin.node.bytes[0]);
		ck_assert_int_eq(node_write(node, BLAZEI_WRITE_UPSERT, i, json, NULL), 0);
	}
}

/* Puts len bytes under one id. */
static inline void node_write_long(struct node *node, unsigned number, size_t len)
{
	uint8_t *value = malloc(len);
	struct blaze_id id = id_of(number);
	struct blazei_txn_view txn;

	memset(value, (int)number, len);
	ck_assert_int_eq(node_put(node, &id, value, len, &txn), 0);
	node_keep(node, txn.data, txn.len);
	free(value);
}

/* Opens nodes of which b has what a lacks: by history (0), by a snapshot with chunks in parts and
 * transactions behind them (1). */
static inline void pair_fill(struct node *a, struct node *b, bool snapshot)
{
	node_open_history(a, 1, 1u << 20);
	node_open_history(b, 2, snapshot ? 8192 : 1u << 20);
	node_writes(a, 90, 3);
	node_writes(b, 0, 60);
	node_write_long(b, 70, snapshot ? 300000 : 20000);
	node_writes(b, 0, 5);
}

/* The sum of a message that was changed. */
static inline void message_seal(struct blazei_session_header *header)
{
	header->hash = blazei_session_hash(header);
}

/* For every register, its seq is at most that of its origin in the vector: I1 of session.h. */
static inline void node_expect_exact(const struct node *node)
{
	const struct blazei_replica *replica = node->replica;

	for (uint32_t i = 0; i < replica->table.row_count; i++) {
		const struct blazei_row *row = replica->table.rows[i];
		const struct blazei_entry *entry = blazei_row_first(row);

		ck_assert_uint_eq(row->flags & BLAZEI_ROW_MARKED, 0);
		if (row->flags & BLAZEI_ROW_EXISTS)
			ck_assert_uint_le(row->seq, replica->vector.writers[row->origin].seq);
		for (uint32_t k = 0; k < row->entry_count; k++) {
			ck_assert_uint_le(entry->seq, replica->vector.writers[entry->origin].seq);
			ck_assert_uint_eq(entry->flags & BLAZEI_ENTRY_MARKED, 0);
			entry = blazei_entry_next(entry);
		}
	}
}

static inline void pair_deliver(struct pair *pair, bool from_answerer, size_t len)
{
	struct blazei_session *to = from_answerer ? pair->ask : pair->answer;
	struct node *node = from_answerer ? pair->asker : pair->answerer;
	struct blazei_session_status status;
	/* Where it ends shows to the sanitizers. */
	void *copy = malloc(len ? len : 1);
	int rc;

	memcpy(copy, pair->buf, len);
	rc = blazei_session_take(to, node->now_ns, copy, len);
	free(copy);
	blazei_session_status(to, &status);
	ck_assert_int_eq(rc, status.error);
	ck_assert_int_eq(rc < 0, status.state >= BLAZEI_SESSION_REFUSED);
	if (status.state == BLAZEI_SESSION_STAGED && !pair->keep_staged) {
		rc = blazei_session_install(to, node->now_ns);
		blazei_session_status(to, &status);
		ck_assert_int_eq(rc, status.error);
	}
	node_expect_exact(node);
}

/* A message of the answerer goes on its way. */
static inline void pair_count(struct pair *pair, unsigned kind)
{
	pair->kinds[kind]++;
	if (pair->amid && kind == BLAZEI_KIND_CHUNK && pair->kinds[kind] == 1)
		pair->amid(pair);
}

/* Moves one message from one side to the other. 1; 0: there was none; -1: the session is cut. */
static inline int pair_move(struct pair *pair, bool from_answerer)
{
	struct blazei_session *from = from_answerer ? pair->answer : pair->ask;
	struct node *node = from_answerer ? pair->answerer : pair->asker;
	size_t cap = pair->cap ? pair->cap : BLAZEI_SESSION_MESSAGE_MAX;
	int64_t n = blazei_session_give(from, node->now_ns, pair->buf, cap);
	enum pair_fate fate = PAIR_DELIVER;
	size_t len = (size_t)n;

	ck_assert_int_ge(n, 0);
	ck_assert_int_le(n, (int64_t)cap);
	if (n == 0)
		return 0;
	ck_assert_int_eq(blazei_session_check(pair->buf, len), 0);
	if (from_answerer)
		pair_count(pair, ((struct blazei_session_header *)pair->buf)->kind);
	if (pair->hook)
		fate = pair->hook(pair, pair->messages, from_answerer, pair->buf, &len);
	pair->messages++;
	ck_assert_uint_lt(pair->messages, PAIR_MESSAGES_MAX);
	if (fate == PAIR_CUT)
		return -1;
	if (fate != PAIR_DROP)
		pair_deliver(pair, from_answerer, len);
	if (fate == PAIR_TWICE)
		pair_deliver(pair, from_answerer, len);
	return 1;
}

/* What the asker is told to be complete as of. */
static inline void pair_complete(struct pair *pair)
{
	const struct blazei_session_entry *entries;
	unsigned count = blazei_session_vector(pair->ask, &entries);

	pair->complete = 0;
	for (unsigned i = 0; i < count; i++)
		if (blazei_origin_equal(&entries[i].origin, &pair->answerer->origin))
			pair->complete = entries[i].seq;
}

/* One session from hello to its end, or to the cut. */
static inline void pair_run(struct pair *pair)
{
	struct blazei_session_options options = {
		.replica = pair->asker->replica,
		.side = BLAZEI_SESSION_ASKER,
		.id = 1,
		.stage = pair->stage,
		.anew = pair->anew,
	};
	int asked;
	int answered;

	pair->messages = 0;
	memset(pair->kinds, 0, sizeof(pair->kinds));
	ck_assert_int_eq(blazei_session_new(&options, &pair->ask), 0);
	options.replica = pair->answerer->replica;
	options.side = BLAZEI_SESSION_ANSWERER;
	options.id = 2;
	options.whole = pair->whole;
	ck_assert_int_eq(blazei_session_new(&options, &pair->answer), 0);
	do {
		answered = pair_move(pair, true);
		asked = answered < 0 ? 0 : pair_move(pair, false);
	} while (answered >= 0 && asked >= 0 && answered + asked > 0);
	blazei_session_status(pair->ask, &pair->asked);
	blazei_session_status(pair->answer, &pair->answered);
	pair_complete(pair);
	pair->left = blazei_stage_bytes(pair->stage);
	blazei_session_free(pair->ask);
	blazei_session_free(pair->answer);
}

/* A session that must succeed: the asker has all that the answerer had. */
static inline void pair_catch_up(struct pair *pair)
{
	pair_run(pair);
	ck_assert_int_eq(pair->asked.state, BLAZEI_SESSION_LIVE);
	ck_assert_int_eq(pair->answered.state, BLAZEI_SESSION_LIVE);
	ck_assert_uint_eq(pair->asked.chunks, pair->answered.chunks);
}

/* The same between two nodes, without ado. */
static inline void nodes_catch_up(struct node *asker, struct node *answerer)
{
	struct pair pair;

	pair_open(&pair, asker, answerer);
	pair_catch_up(&pair);
	pair_close(&pair);
}

#endif
