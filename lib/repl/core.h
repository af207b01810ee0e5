/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the replica core, shared by its files:
 *
 *        replica.c  birth, death, counters, receive
 *        write.c    local writes: decide
 *        writeset.c transactions of several writes; writeset_write.c: one of these
 *        encode.c   the one encoder of local transactions, and their merge
 *        merge.c    a checked transaction into the table
 *        conflict.c what of it met a write that it did not know
 *        vector.c   origins and how far each has come; mark.c: those that are over
 *        park.c     transactions that came too early; history.c: those merged last
 *        halt.c     origins of which nothing is merged at present
 *        members.c  the replicated list of members; frontier.c, collect.c: what follows from it
 *        restart.c  back from a store, and under another name; identity.c: which
 *        reissue.c  what was written under a name that is of no use any more; restamp.c: as it
 *                   stands; unseen.c: what others have not seen; bundle.c: it all as transactions
 *        state.c    registers as bytes, for snapshots
 *        stage.c    a snapshot until it is installed; prune.c: what it does not have
 *        room.c     room for what is merged as one; logged.c: what a log has, and how it comes back
 *        session*.c catch-up: session.c, session_ask.c, session_answer.c, session_wire.c
 *        effects.c  what is told of, beside results
 *        read.c     get, fetch and hashes; order.c: ids in order
 *        table.c, names.c  memory; finder.c: many searches in one row
 *
 * INVARIANTS
 *   I1   A transaction is merged whole or not at all: blazei_merge_txn first makes room for all of
 *        it, which may fail, then writes, which cannot.
 *   I2   For each origin exactly the transactions 1..seq are merged (or covered by a state), each
 *        once, in order, and each after what it depends on.
 *   I3   A local write takes the same way into the table as everyone else's: its own bytes through
 *        blazei_merge_txn.
 *   I4   hlc.last is at least the H of everything merged. */
#ifndef BLAZEI_CORE_H
#define BLAZEI_CORE_H

#include "lib/op/buffer.h"
#include "lib/op/hlc.h"
#include "lib/op/txn.h"
#include "lib/repl/effects.h"
#include "lib/repl/finder.h"
#include "lib/repl/history.h"
#include "lib/repl/logged.h"
#include "lib/repl/mark.h"
#include "lib/repl/members.h"
#include "lib/repl/replica.h"
#include "lib/repl/table.h"

#define BLAZEI_ORIGIN_NONE UINT16_MAX
/* Who only looks has a place of its own beside all that there may be, and writes nothing. */
#define BLAZEI_PLACES_MAX   (BLAZEI_ORIGINS_MAX + 1u)
#define BLAZEI_RESERVE_PART 16u /* of the places, kept for openings (I2 in vector.c) */

#define BLAZEI_PARKED_TXNS_MAX  4096u       /* per origin */
#define BLAZEI_PARKED_BYTES_MAX (4u << 20)  /* per origin */
#define BLAZEI_PARKED_TOTAL_MAX (64u << 20) /* bytes in all */
#define BLAZEI_HALTED_TXNS_MAX  64u         /* per origin that is halted */
#define BLAZEI_HALTED_BYTES_MAX (64u << 10) /* per origin that is halted */

#define BLAZEI_HALTED_QUARANTINED 1u /* for good */
#define BLAZEI_HALTED_CLOCK       2u /* until the time has come */
#define BLAZEI_HALTED_CAUSE       4u /* until what it depends on has come, of one that is halted */

struct blazei_parked {
	struct blazei_parked *next;
	uint64_t len;
	uint64_t words[]; /* the transaction */
};

/* What is known of an origin, beside its identity. */
struct blazei_writer {
	uint64_t seq;   /* all up to this one are merged */
	uint64_t chain; /* of number seq, where known */
	uint64_t hlc;   /* the same; 0: none merged yet */
	bool chain_known;
	bool advanced;  /* since the last local write: its next one depends on it */
	uint8_t halted; /* BLAZEI_HALTED_... */
	bool free;      /* nobody's: the next new origin gets this index */
	bool left;      /* an own name that was left; what is beyond dep_max is written again */
	uint16_t wire;  /* in a transaction being encoded: its number there, while mark fits */
	uint64_t mark;
	uint64_t dep_max; /* if left: own writes depend on no more of it; 0: on all (reissue.c) */
	uint64_t durable; /* up to here the store holds it for good; see blazei_replica_durable */
	uint64_t heard;   /* of the own transactions, those up to here it is known to have seen */
	struct blazei_parked *first; /* ascending by seq */
	struct blazei_parked *last;
	uint32_t parked;
	uint32_t parked_bytes;
	uint64_t report_first; /* the last ones in a row that told of a member, and nothing else */
	uint64_t report_last;
};

struct blazei_vector {
	struct blazei_origin *origins; /* by index; 0 is self */
	struct blazei_writer *writers;
	uint16_t *advanced; /* indices of those marked advanced */
	uint16_t *waiting;  /* indices of those with something parked */
	uint16_t *slots;    /* index + 1; 0 is free */
	unsigned count;
	unsigned max;
	unsigned limit;
	unsigned reserve;    /* places that others' writes leave (I2 in vector.c) */
	unsigned free_count; /* indices below count that are nobody's */
	unsigned marks;      /* origins that stand for retired ones */
	uint64_t moves;      /* grows when indices change their meaning */
	unsigned advanced_count;
	unsigned waiting_count;
	uint64_t seed;
};

/* Numbers of all rows, sorted by id: a long run, and a short one for those that came lately. */
struct blazei_order {
	uint32_t *runs[2];
	uint32_t counts[2];
	uint32_t maxes[2];
	uint32_t hints[2]; /* where the last search ended */
	uint32_t known;    /* rows that are in it: those with lower numbers */
	uint32_t doubles;  /* places that a removed row left */
};

struct blazei_write_op {
	const void *name;
	const void *head; /* the value's first bytes */
	const void *body; /* and the rest */
	const struct blazei_entry *seen;
	uint64_t priority; /* E, of a group that is written anew */
	uint32_t life;     /* likewise */
	uint32_t head_len;
	uint32_t body_len;
	uint8_t name_len;
	bool unset;
	bool forced; /* in a write set: written even if it is what was seen */
};

/* What a transaction writes of one life of one record. */
struct blazei_write_group {
	const struct blaze_id *id;
	const struct blazei_row *row; /* as the transaction first saw it; NULL: there was none */
	struct blazei_write_op *ops;  /* ascending by name */
	uint64_t priority;            /* where it is written anew: E of the existence */
	uint32_t op_count;
	uint32_t life;
	uint16_t flags; /* BLAZEI_GROUP_..., 0: existence is not written */
	bool anew;      /* E is as it stood, whoever writes (reissue.h) */
};

/* The change that is being told; see effects.c. */
struct blazei_changes {
	struct blaze_record *before;
	bool open;
	bool told; /* one or more since the last end */
};

#define BLAZEI_MEMBERS_FRESH_MAX 8u

/* What a write to a record that is not there has to be above, as it may have been collected. */
struct blazei_floor {
	uint64_t life;
	uint64_t priority;
};

struct blazei_member {
	struct blaze_id node;
	uint64_t *durable; /* by origin index */
	uint64_t hlc;      /* of its last report */
	uint64_t silent_ns;
	bool joined;
	bool counted; /* the frontier waits for it */
	bool fresh;   /* its silence has not been looked at */
};

/* See members.h. */
struct blazei_members {
	struct blazei_member *list;
	unsigned count;
	unsigned max;
	uint64_t *frontier; /* by origin index */
	uint64_t *scratch;  /* likewise */
	unsigned width;     /* of it and of all vectors */
	uint64_t told_hlc;  /* of the last report that made one known */
	bool stale;         /* rows were written to since they were read */
	bool rescan;        /* of which not all are in fresh */
	bool overfull;
	unsigned fresh_count;
	struct blaze_id fresh[BLAZEI_MEMBERS_FRESH_MAX];
	uint64_t ticked_ns;
	uint64_t unreported_ns;    /* since the last report */
	struct blazei_floor floor; /* of what is collected: made known */
	struct blazei_floor wish;  /* of what could be collected besides */
	uint64_t version;          /* grows with the frontier and the floor */
	uint64_t swept;            /* the version as of which all rows were gone through */
	uint64_t sweeping;         /* the version as of which they are being gone through */
	uint32_t sweep_next;       /* the next one's number */
};

/* Of the names that were left, what was written in the last run under each is written again. */
struct blazei_left {
	bool pending;
	struct blaze_id from; /* from this record on */
};

struct blazei_replica {
	struct blazei_table table;
	struct blazei_names names;
	struct blazei_vector vector;
	struct blazei_hlc clock;
	struct blazei_history history;
	enum blaze_policy policy;
	atomic_bool server;
	uint16_t recent_writer; /* whom receive heard last */
	uint64_t visible;
	uint64_t write_mark;
	uint64_t parked;
	uint64_t parked_bytes;
	uint64_t applied;
	uint64_t applied_updates;
	uint64_t conflicts;
	uint64_t duplicates;
	uint64_t refused;
	unsigned halted;       /* origins */
	unsigned quarantined;  /* of these */
	unsigned clock_halted; /* likewise */
	bool clock_behind;     /* and most of them are: told */
	bool origins_full;     /* there was one too many: told */
	bool replaying;        /* own transactions are merged too */
	bool displaced;        /* the own origin was written to elsewhere: told */
	bool logging;          /* what is merged goes to the log */
	bool log_behind;       /* the log lacks something: all goes there before anything else */
	bool checkpoint;       /* one is open (checkpoint.h) */
	uint64_t units;        /* that were logged, or that the log lacks */
	uint64_t began_hlc;    /* what this incarnation writes is above */
	uint64_t began_seq;    /* and what it wrote before this run is not */
	_Atomic uint64_t reindexed; /* how often stamps were given other indices */
	struct blazei_left left;
	struct blazei_buffer txn; /* the last one encoded */
	struct blazei_write_op *ops;
	uint32_t ops_max;
	struct blazei_order order;
	struct blazei_filter filter;
	struct blazei_members members;
	const struct blazei_writeset *committing; /* the own transaction that is being merged */
	struct blazei_sink sink;
	struct blazei_log_sink log;
	struct blazei_changes changes;
	uint16_t map[BLAZEI_PLACES_MAX]; /* of the transaction at hand: its origins' indices */
};

/* Relaxed: it changes under the lock, and is asked for without it only to measure what a commit
 * will write, which asks again. */
static inline bool blazei_is_server(const struct blazei_replica *replica)
{
	return atomic_load_explicit(&replica->server, memory_order_relaxed);
}

/* Whether what an origin wrote is known to this replica alone: its own, once it is back. */
static inline bool blazei_is_own(const struct blazei_replica *replica, unsigned index)
{
	return index == 0 && !replica->replaying;
}

static inline uint64_t blazei_reindexed(const struct blazei_replica *replica)
{
	/* Acquire: pairs with the release in blazei_reindex. */
	return atomic_load_explicit(&replica->reindexed, memory_order_acquire);
}

/* Notes that stamps are about to be given other indices; the table is shut. */
static inline void blazei_reindex(struct blazei_replica *replica)
{
	/* Release: pairs with the acquire in blazei_reindexed: who finds this number and peeks at a
	 * row finds the table shut, or opened again. */
	atomic_store_explicit(&replica->reindexed, blazei_reindexed(replica) + 1,
	                      memory_order_release);
}

/* vector.c ----------------------------------------------------------------------------------- */

/* 0 or -ENOMEM; to be ended either way. */
int blazei_vector_init(struct blazei_vector *vector, const struct blazei_origin *self,
                       uint64_t seed, unsigned limit);
void blazei_vector_fini(struct blazei_vector *vector);
/* An origin's index, or BLAZEI_ORIGIN_NONE. */
uint16_t blazei_vector_find(const struct blazei_vector *vector, const struct blazei_origin *origin);
/* The same, but a new one gets an index: its index, -E2BIG too many, -ENOMEM. */
int blazei_vector_intern(struct blazei_vector *vector, const struct blazei_origin *origin);
/* Likewise, but a new one leaves so many places. */
int blazei_vector_admit(struct blazei_vector *vector, const struct blazei_origin *origin,
                        unsigned reserve);
/* Notes that the next local write depends on this origin. */
void blazei_vector_advanced(struct blazei_vector *vector, unsigned index);
/* It does not. */
void blazei_vector_retract(struct blazei_vector *vector, unsigned index);
/* A local write has told all that: the next one depends on nothing more. */
static inline void blazei_vector_told(struct blazei_vector *vector)
{
	for (unsigned i = 0; i < vector->advanced_count; i++)
		vector->writers[vector->advanced[i]].advanced = false;
	vector->advanced_count = 0;
}
/* A new origin that has that index becomes self, and self gets the index. */
void blazei_vector_swap_self(struct blazei_vector *vector, unsigned index);
/* Tells, once, that there was no place for another. */
void blazei_origins_full(struct blazei_replica *replica, uint64_t seq);
/* Gives an index another origin, or nobody. */
void blazei_vector_rename(struct blazei_vector *vector, unsigned index,
                          const struct blazei_origin *origin);
/* Raises an interned origin's entry to at least seq, whose chain and H are 0 where they are not
 * known: state that it covers is merged. Not the own one, nor a quarantined one. Whether it did. */
struct blazei_session_entry;
bool blazei_vector_raise(struct blazei_replica *replica, const struct blazei_session_entry *entry);

/* The life after one, or 0: there is none left. */
static inline uint32_t blazei_life_after(uint64_t life)
{
	return life < BLAZEI_LIFE_MAX - 1 ? (uint32_t)life + 1 : 0;
}

/* write.c ------------------------------------------------------------------------------------ */

/* Whether a write makes sense in itself: 0, -EINVAL, -E2BIG. */
int blazei_write_check(const struct blazei_write *write);
/* Whether a write may be made to a record that is alive or is not: 0, -EEXIST, -ENOENT. */
int blazei_write_applies(enum blazei_write_kind kind, bool alive);
/* Whether the op sets other than what it saw. It has no head. */
bool blazei_op_changes(const struct blazei_write_op *op);
/* A life that no field of the row belongs to yet: a field of an insert that lost against a server's
 * write must not come up again. 0: there is none left. The list of members is up to date. */
uint32_t blazei_next_life(const struct blazei_replica *replica, const struct blazei_row *row);

/* writeset.c --------------------------------------------------------------------------------- */

/* Whether the transaction that is being committed had seen this entry of a record. */
bool blazei_writeset_saw(const struct blazei_replica *replica, const struct blaze_id *id,
                         const struct blazei_entry *entry);

/* encode.c ----------------------------------------------------------------------------------- */

static inline size_t blazei_op_bytes(const struct blazei_write_op *op)
{
	return sizeof(struct blazei_txn_register) +
	       blazei_round_up((uint64_t)op->name_len + op->head_len + op->body_len, 8);
}

/* What a group takes in a transaction. */
size_t blazei_group_bytes(const struct blazei_write_group *group);
/* Encodes the groups, which ascend by (id, life), as one transaction, merges it and moves the own
 * entry of the vector. No groups: no transaction. *ret_txn points into the replica, valid until its
 * next call. 0; -EMSGSIZE it would be longer than 16 MiB; -ENOMEM. */
int blazei_commit(struct blazei_replica *replica, uint64_t now_ns,
                  struct blazei_write_group *const *groups, uint32_t count,
                  struct blazei_txn_view *ret_txn);

/* logged.c ----------------------------------------------------------------------------------- */

/* Hands a transaction that was merged to the log. Only while logging. */
void blazei_logged_txn(struct blazei_replica *replica, const struct blazei_txn_header *header);
/* Something was done, or is about to be, that is not logged step by step. */
void blazei_logged_lag(struct blazei_replica *replica);

/* merge.c ------------------------------------------------------------------------------------ */

/* Merges a checked transaction of the origin with that index. The number of updates in it, or
 * -ENOMEM. */
int64_t blazei_merge_txn(struct blazei_replica *replica, const struct blazei_txn_header *header,
                         unsigned writer);

/* One register, from whichever side. */
struct blazei_merge_value {
	struct blazei_stamp stamp;
	const void *value;
	uint32_t value_len;
	uint32_t name;
	uint32_t life;
	bool unset;
};

/* Bytes that this value takes beyond what the entry (NULL: there is none) has for it. */
uint32_t blazei_merge_need(const struct blazei_entry *entry, uint32_t value_len);
/* Keeps the greater stamp. The row has room. */
void blazei_merge_field(struct blazei_replica *replica, struct blazei_row *row,
                        struct blazei_entry *entry, const struct blazei_merge_value *value);
void blazei_merge_existence(struct blazei_replica *replica, struct blazei_row *row,
                            const struct blazei_stamp *stamp, uint32_t life, bool alive);

/* park.c ------------------------------------------------------------------------------------- */

/* Keeps a copy of a checked transaction for later. 0 or -ENOMEM. */
int blazei_park(struct blazei_replica *replica, unsigned writer,
                const struct blazei_txn_header *header);
/* Forgets parked ones of this origin up to seq. */
void blazei_park_drop(struct blazei_replica *replica, unsigned writer, uint64_t seq);
/* Applies what has become ready. The number of transactions, or -ENOMEM. */
int blazei_park_drain(struct blazei_replica *replica, uint64_t now_ns);

/* halt.c ------------------------------------------------------------------------------------- */

/* Nothing more of this origin is merged: seq is where its histories part. */
void blazei_quarantine(struct blazei_replica *replica, unsigned writer, uint64_t seq);
/* Its clock is ahead: seq is what waits. */
void blazei_halt_clock(struct blazei_replica *replica, uint64_t now_ns, unsigned writer,
                       uint64_t seq);
/* Where this early transaction is its next and waits for a halted origin, so does its own. */
void blazei_halt_cause(struct blazei_replica *replica, unsigned writer,
                       const struct blazei_txn_header *header);
/* One that was halted, and is not quarantined, goes on: its seq is merged. */
void blazei_resume(struct blazei_replica *replica, unsigned writer);

/* restart.c ---------------------------------------------------------------------------------- */

/* Something came under the own origin that was not written here. */
void blazei_displace(struct blazei_replica *replica, uint64_t seq);
/* An origin is heard for the first time: tells where somebody else writes as this node, now. */
void blazei_node_twice(const struct blazei_replica *replica, unsigned writer, uint64_t seq,
                       uint64_t hlc);

/* restamp.c ---------------------------------------------------------------------------------- */

/* Writes again what stands under the name that was left, as much of it as makes a long transaction;
 * until left.pending is gone. 0 or -ENOMEM: nothing was. */
int blazei_restamp(struct blazei_replica *replica, uint64_t now_ns,
                   struct blazei_txn_view *ret_txn);

/* state.c ------------------------------------------------------------------------------------ */

#define BLAZEI_STATE_BYTES_MAX (2u << 20) /* any record fits, beside any table of origins */

/* Where the next chunk begins. */
struct blazei_state_cursor {
	uint64_t next; /* start at 0 */
	bool end;      /* the last chunk was that */
};

/* Encodes registers from the cursor on whose seq `known`, by origin index, does not cover, as a
 * state chunk into buf, which has BLAZEI_STATE_BYTES_MAX bytes; begins no further row once `enough`
 * bytes of rows are there. Its bytes, perhaps without a row; 0: the end was reached before. */
int64_t blazei_state_encode(const struct blazei_replica *replica, const uint64_t *known,
                            struct blazei_state_cursor *cursor, void *buf, size_t enough);
/* Whether something of a snapshot is too far ahead of the clock to be taken. What is not above what
 * was seen already does no harm: where this clock went back, even the own writes are ahead. */
static inline bool blazei_ahead(const struct blazei_replica *replica, uint64_t hlc, uint64_t now_ns)
{
	return blazei_unlikely(blazei_hlc_ahead(hlc, now_ns)) && hlc > replica->clock.last;
}

/* The origin of something in a checked chunk that is too far ahead of the clock, so that the chunk
 * has to come again later; NULL: nothing is. */
const struct blazei_origin *blazei_state_ahead(const struct blazei_replica *replica,
                                               const struct blazei_txn_header *header,
                                               uint64_t now_ns);
/* Merges a checked chunk for which there is room (room.h); with mark, marks what it has. cut is
 * what the snapshot covers, by origin index, to tell conflicts by. */
void blazei_state_install(struct blazei_replica *replica, const struct blazei_txn_header *header,
                          bool mark, const uint64_t *cut);

/* members.c ---------------------------------------------------------------------------------- */

/* A register of a member's row came, with this stamp. */
void blazei_members_heard(struct blazei_replica *replica, const struct blazei_row *row,
                          const struct blazei_stamp *stamp);
/* Reads what was written since. 0 or -ENOMEM. */
int blazei_members_refresh(struct blazei_replica *replica);
/* The same, at no cost where nothing was. */
static inline int blazei_members_update(struct blazei_replica *replica)
{
	return blazei_unlikely(replica->members.stale) ? blazei_members_refresh(replica) : 0;
}
/* Whether a record can have come to this life: each takes a transaction, and most lives are left.
 * What an honest member says of lives is so for whoever has merged it: it depends on as many. */
bool blazei_life_plausible(const struct blazei_replica *replica, uint64_t life);
/* What a member last said of its incarnations that are over, or NULL. */
const struct blazei_entry *blazei_members_said(struct blazei_replica *replica,
                                               const struct blaze_id *node);
/* Forgets what was read: it is read anew, from the table. */
void blazei_members_reset(struct blazei_members *members);
void blazei_members_fini(struct blazei_members *members);

/* As blazei_replica_below_frontier, of a vector by origin index. */
bool blazei_known_below(struct blazei_replica *replica, const uint64_t *known);

/* collect.c ---------------------------------------------------------------------------------- */

/* Whether a stamp is below the frontier. */
static inline bool blazei_below(const struct blazei_members *members, uint16_t origin, uint64_t seq)
{
	return origin < members->width && seq <= members->frontier[origin];
}

/* Whether an existence op that saw something, or nothing, and finds another existence here, differs
 * because the tombstone here, which it knew of, was collected there. */
bool blazei_was_collected(struct blazei_replica *replica, const struct blazei_row *row, bool saw);
/* The priority that a write to a record that is not there inherits. */
static inline uint64_t blazei_floor_priority(const struct blazei_replica *replica, uint64_t hlc)
{
	uint64_t priority = replica->members.floor.priority;

	return priority < hlc ? priority : hlc;
}

/* Whether the existence of a row that has one ends that life. */
static inline bool blazei_life_ended(const struct blazei_row *row, uint32_t life)
{
	return life < row->life || (life == row->life && !blazei_row_alive(row));
}

/* Whether this entry is hidden, for now, and below the frontier. */
static inline bool blazei_hidden_below(const struct blazei_members *members,
                                       const struct blazei_row *row,
                                       const struct blazei_entry *entry)
{
	return entry->life != BLAZEI_LIFE_MAX && (row->flags & BLAZEI_ROW_EXISTS) &&
	       (!blazei_row_alive(row) || entry->life < row->life) &&
	       blazei_below(members, entry->origin, entry->seq);
}

/* replica.c ---------------------------------------------------------------------------------- */

enum blazei_verdict {
	BLAZEI_READY,
	BLAZEI_EARLY,   /* wait */
	BLAZEI_AHEAD,   /* wait: its clock is ahead */
	BLAZEI_COVERED, /* merged already */
	BLAZEI_FORKED,  /* does not follow from what is merged */
	BLAZEI_BARRED,  /* of a quarantined origin */
	BLAZEI_STRANGE, /* of the own origin, and not written here */
};

/* What to do with a checked transaction; writer may be BLAZEI_ORIGIN_NONE. */
enum blazei_verdict blazei_judge(const struct blazei_replica *replica, uint64_t now_ns,
                                 const struct blazei_txn_header *header, unsigned writer);
/* Merges one that is ready and moves the vector. 0 or -ENOMEM. */
int blazei_apply(struct blazei_replica *replica, const struct blazei_txn_header *header,
                 unsigned writer);

/* conflict.c --------------------------------------------------------------------------------- */

/* Two writes met that did not know each other: count and tell. Before the merge. */

/* A field, where what the writer saw of it is not entry (NULL: there is none). */
void blazei_conflict_field(struct blazei_replica *replica, const struct blazei_row *row,
                           const struct blazei_entry *entry,
                           const struct blazei_merge_value *value);
/* A field of a life that is over, or not the row's. */
void blazei_conflict_hidden(struct blazei_replica *replica, const struct blazei_row *row,
                            const struct blazei_merge_value *value);
/* An existence, where what the writer saw of it is not the row's. */
void blazei_conflict_existence(struct blazei_replica *replica, const struct blazei_row *row,
                               const struct blazei_stamp *stamp, uint32_t life, bool alive);
/* An existence that would hide the row's visible fields. */
struct blazei_conflict_end {
	struct blazei_stamp stamp;
	uint32_t life;
	bool alive;
	const uint64_t *cut; /* that of the snapshot which has it; NULL: a transaction wrote it */
};
void blazei_conflict_hiding(struct blazei_replica *replica, const struct blazei_row *row,
                            const struct blazei_conflict_end *end);

/* effects.c ---------------------------------------------------------------------------------- */

/* Tells an event; origin is an index or BLAZEI_ORIGIN_NONE. */
void blazei_effect_event(const struct blazei_replica *replica, enum blazei_effect_event_kind kind,
                         unsigned origin, uint64_t seq);

/* Whether anybody wants changes. Only then the three below are called. */
static inline bool blazei_watched(const struct blazei_replica *replica)
{
	return blazei_unlikely(replica->sink.wants != NULL);
}

/* Before the first and after the last thing that a transaction does to a row; stamp is the
 * transaction's, NULL for a state. */
void blazei_change_open(struct blazei_replica *replica, const struct blazei_row *row);
void blazei_change_close(struct blazei_replica *replica, const struct blazei_row *row,
                         const struct blazei_stamp *stamp);
/* After the last row of a transaction or state. */
void blazei_changes_end(struct blazei_replica *replica);

/* read.c ------------------------------------------------------------------------------------- */

/* Copies at most cap bytes of a field that holds bytes; their number, or -EINVAL. */
int blazei_value_fetch(const void *value, size_t value_len, void *ret_value, size_t cap);

/* A copy of the row's visible fields. 0, -E2BIG, -ENOMEM. */
int blazei_row_record(const struct blazei_replica *replica, const struct blazei_row *row,
                      struct blaze_record **ret_record);

/* order.c ------------------------------------------------------------------------------------ */

/* Brings the order up to date with the table. 0 or -ENOMEM. */
int blazei_order_update(struct blazei_order *order, const struct blazei_table *table);
/* Gives a row's number, and so on, to others, so that the last number is free: the row, which is in
 * the list no more, is to be removed from the table at once. */
void blazei_order_remove(struct blazei_order *order, struct blazei_table *table, uint32_t number);
void blazei_order_fini(struct blazei_order *order);
/* The first row at or after *from (NULL: of all) that is alive, or merely the first where any is
 * set; NULL at the end. */
const struct blazei_row *blazei_order_seek(struct blazei_order *order,
                                           const struct blazei_table *table,
                                           const struct blaze_id *from, bool any);

#endif
