/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the events that a node told, in order. */
#ifndef TESTS_REPL_EVENTS_H
#define TESTS_REPL_EVENTS_H

#include "lib/repl/effects.h"
#include "tests/repl/harness.h"

#define EVENTS_MAX 256u

struct events {
	struct {
		enum blazei_effect_event_kind kind;
		struct blazei_origin origin;
		uint64_t seq;
	} list[EVENTS_MAX];
	unsigned count;
};

static inline void events_keep(void *arg, const struct blazei_effect_event *event)
{
	struct events *events = arg;

	ck_assert_uint_lt(events->count, EVENTS_MAX);
	events->list[events->count].kind = event->kind;
	events->list[events->count].seq = event->seq;
	if (event->origin)
		events->list[events->count].origin = *event->origin;
	events->count++;
}

static inline void events_listen(struct events *events, const struct node *node)
{
	const struct blazei_sink sink = { .arg = events, .event = events_keep };

	*events = (struct events){ .count = 0 };
	blazei_replica_set_sink(node->replica, &sink);
}

/* How many of a kind were told. */
static inline unsigned events_count(const struct events *events, enum blazei_effect_event_kind kind)
{
	unsigned n = 0;

	for (unsigned i = 0; i < events->count; i++)
		n += events->list[i].kind == kind;
	return n;
}

/* Whether event `i` is this one. */
static inline void events_expect(const struct events *events, unsigned i,
                                 enum blazei_effect_event_kind kind,
                                 const struct blazei_origin *origin, uint64_t seq)
{
	ck_assert_uint_gt(events->count, i);
	ck_assert_int_eq(events->list[i].kind, kind);
	ck_assert_uint_eq(events->list[i].seq, seq);
	ck_assert(blazei_origin_equal(&events->list[i].origin, origin));
}

#endif
