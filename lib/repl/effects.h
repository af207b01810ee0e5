/* SPDX-License-Identifier: Apache-2.0 */
/* What a replica tells of beside its results: conflicts, changes of records, and events. They go to
 * a sink, which the caller sets.
 *
 * WHY    The core knows when two writes meet that did not know each other, and what a record was
 *        before a merge; afterwards nobody can find out. It must not pay for telling where nobody
 *        listens: a replica without a sink pays one branch per transaction and one per conflict. A
 *        change is told as two whole records, before and after, because what a merge does to a
 *        record (it hides, it shows again, it lets a field win and another lose) is seen best from
 *        outside, where a reader stands.
 *
 * INVARIANTS
 *   I1   A change is told once per record and transaction, after all that the transaction does to
 *        the record, and only where a reader sees a difference; `committed` follows the last one of
 *        a transaction that told any, or lost one.
 *   I2   A conflict is told before the winner takes the loser's place.
 *   I3   A conflict names two writes neither of which had seen the other.
 *   I4   Pointers hold until the callback returns, but for the two records of a change, which are
 *        the sink's from then on.
 *
 * CONCURRENCY  Callbacks run within calls of the replica and must not call it.
 *
 * FAILURE  Where a change cannot be told for lack of memory, the event CHANGES_LOST is. The merge
 *        goes on either way. */
#ifndef BLAZEI_EFFECTS_H
#define BLAZEI_EFFECTS_H

#include "lib/repl/replica.h"

/* X(kind, what it says): origin and seq are those named, else NULL and 0. */
#define BLAZEI_EFFECT_EVENTS(X)                                                                    \
	X(ORIGIN_QUARANTINED,                                                                      \
	  "origin: what came from it contradicts what came before; seq: where")                    \
	X(CLOCK_AHEAD, "origin: its clock is too far ahead of this node's; seq: what waits")       \
	X(CLOCK_BEHIND, "this node's clock is behind: most origins look ahead")                    \
	X(ORIGIN_STALLED, "origin: waits for one that is quarantined or stalled; seq: what waits") \
	X(ORIGIN_RESUMED, "origin: goes on after a stall; seq: with what")                         \
	X(ORIGIN_DISPLACED, "origin: the own one; seq: was written elsewhere under it")            \
	X(ORIGIN_RENEWED,                                                                          \
	  "origin: the own one, a new name; seq: of the last write under the old one")             \
	X(NODE_TWICE, "origin: writes under this node's id, now; seq: what")                       \
	X(ORIGINS_FULL, "one origin too many: nothing of it is merged, nor of more to come")       \
	X(MEMBER_JOINED, "origin: became a member")                                                \
	X(MEMBER_EXPELLED, "origin: was silent for too long and is a member no more")              \
	X(CHANGES_LOST, "changes were not told: what is kept from them must be read anew")

enum blazei_effect_event_kind {
#define X(kind, text) BLAZEI_EFFECT_##kind,
	BLAZEI_EFFECT_EVENTS(X)
#undef X
	BLAZEI_EFFECT_EVENT_KINDS
};

struct blazei_effect_event {
	enum blazei_effect_event_kind kind;
	const struct blazei_origin *origin; /* or NULL */
	uint64_t seq;
};

/* One of the two writes of a conflict. */
struct blazei_effect_side {
	const struct blazei_origin *origin;
	uint64_t priority;
	uint64_t hlc;
	uint64_t seq;
	uint32_t life;
	bool existence;    /* it wrote the record's existence, else a field */
	bool alive;        /* existence: as alive */
	bool unset;        /* field: removed it */
	const void *value; /* field, not unset: its CBOR */
	uint32_t value_len;
};

struct blazei_effect_conflict {
	const struct blaze_id *id;
	const char *name; /* of the field, not terminated; NULL: the two met in the existence */
	uint8_t name_len;
	bool incoming_won; /* the write that is being merged is the winner */
	struct blazei_effect_side loser;
	struct blazei_effect_side winner;
};

struct blazei_effect_change {
	const struct blaze_id *id;
	struct blaze_record *before;        /* NULL: was not visible */
	struct blaze_record *after;         /* NULL: is not */
	const struct blazei_origin *origin; /* of the transaction; NULL: came as state */
	uint64_t seq;
	uint64_t hlc;
	bool local; /* this replica wrote it */
};

/* Any of them may be NULL: not wanted. wants and changed are given both or neither. */
struct blazei_sink {
	void *arg;
	void (*event)(void *arg, const struct blazei_effect_event *event);
	void (*conflict)(void *arg, const struct blazei_effect_conflict *conflict);
	/* Whether changes of this record are to be told. */
	bool (*wants)(void *arg, const struct blaze_id *id);
	/* Takes over both records. */
	void (*changed)(void *arg, const struct blazei_effect_change *change);
	void (*committed)(void *arg);
};

/* Copies the sink; NULL: none from now on. */
void blazei_replica_set_sink(struct blazei_replica *replica, const struct blazei_sink *sink);

#endif
