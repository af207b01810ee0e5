/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps what two nodes told their sinks, as lines of text. */
#ifndef TESTS_REPL_TOLD_H
#define TESTS_REPL_TOLD_H

#include <stdarg.h>

#include "lib/repl/effects.h"
#include "tests/repl/harness.h"

#define TOLD_MAX 64u

/* All that was told, as lines of text. */
struct told {
	char lines[TOLD_MAX][256];
	unsigned count;
	bool want;
};

static inline void __attribute__((format(printf, 2, 3)))
say(struct told *told, const char *format, ...)
{
	va_list args;

	ck_assert_uint_lt(told->count, TOLD_MAX);
	va_start(args, format);
	vsnprintf(told->lines[told->count++], sizeof(told->lines[0]), format, args);
	va_end(args);
}

static inline const char *side_text(const struct blazei_effect_side *side, char text[64])
{
	unsigned rank = side->origin->node.bytes[0];

	if (side->existence)
		snprintf(text, 64, "%u#%u:%s%u", rank, (unsigned)side->seq,
		         side->alive ? "alive" : "dead", side->life);
	else if (side->unset)
		snprintf(text, 64, "%u#%u:unset", rank, (unsigned)side->seq);
	else
		snprintf(text, 64, "%u#%u:%02x", rank, (unsigned)side->seq,
		         ((const uint8_t *)side->value)[side->value_len - 1]);
	return text;
}

static inline void on_conflict(void *arg, const struct blazei_effect_conflict *conflict)
{
	char loser[64], winner[64];

	say(arg, "%u.%.*s %s < %s%s", conflict->id->bytes[15], (int)conflict->name_len,
	    conflict->name ? conflict->name : "", side_text(&conflict->loser, loser),
	    side_text(&conflict->winner, winner), conflict->incoming_won ? " *" : "");
}

static inline void on_event(void *arg, const struct blazei_effect_event *event)
{
	say(arg, "event %d", (int)event->kind);
}

static inline bool on_wants(void *arg, const struct blaze_id *id)
{
	const struct told *told = arg;

	return told->want && id->bytes[15] != 99;
}

static inline void on_changed(void *arg, const struct blazei_effect_change *change)
{
	char *before = NULL, *after = NULL;

	if (change->before)
		ck_assert_int_eq(blaze_record_to_json(change->before, &before), 0);
	if (change->after)
		ck_assert_int_eq(blaze_record_to_json(change->after, &after), 0);
	say(arg, "%u %s -> %s by %d#%u%s", change->id->bytes[15], before ? before : "-",
	    after ? after : "-", change->origin ? change->origin->node.bytes[0] : -1,
	    (unsigned)change->seq, change->local ? " local" : "");
	free(before);
	free(after);
	blaze_record_free(change->before);
	blaze_record_free(change->after);
}

static inline void on_committed(void *arg)
{
	say(arg, "end");
}

static inline void listen(struct node *node, struct told *told, bool want)
{
	const struct blazei_sink sink = {
		.arg = told,
		.event = on_event,
		.conflict = on_conflict,
		.wants = want ? on_wants : NULL,
		.changed = want ? on_changed : NULL,
		.committed = want ? on_committed : NULL,
	};

	*told = (struct told){ .want = want };
	blazei_replica_set_sink(node->replica, &sink);
}

/* Whether exactly these lines were told, given as one text with line ends; forgets them. */
static inline void expect(struct told *told, const char *lines)
{
	char all[TOLD_MAX * 256] = "";

	for (unsigned i = 0; i < told->count; i++) {
		strcat(all, told->lines[i]);
		strcat(all, "\n");
	}
	ck_assert_str_eq(all, lines);
	told->count = 0;
}

/* Two nodes that have the same record 1, and listen. */
static struct node a, b;
static struct told told_a, told_b;

static inline void both_open(bool want)
{
	node_open(&a, 1);
	node_open(&b, 2);
	ck_assert_int_eq(node_insert(&a, 1, "{\"x\":0,\"y\":0}"), 0);
	node_give_all(&a, &b);
	b.now_ns = a.now_ns;
	listen(&a, &told_a, want);
	listen(&b, &told_b, want);
}

static inline void both_close(void)
{
	nodes_expect_equal(&a, &b);
	node_close(&a);
	node_close(&b);
}

static inline void both_exchange(void)
{
	node_give_all(&a, &b);
	node_give_all(&b, &a);
}

#endif
