/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator's world: nodes with clocks and stores, lanes between them, and all that ever was
 * written. See blaze-sim.c for what it is for; the files:
 *
 *        blaze-sim.c  the command: seeds, workers, report
 *        schedule.c   a seed into a setting and a list of events
 *        world.c      runs such a list: birth, death, time, links
 *        node.c       what one node does: write, read lanes, log, publish
 *        txn.c        transactions of several writes
 *        store.c      crash, restart, backup, copy
 *        name.c       a name that two wrote under, and who leaves it
 *        catchup.c    fetching what was missed
 *        member.c     members and the frontier
 *        watch.c      what a node is told of changes and conflicts
 *        reads.c      all ways to read
 *        damage.c     bytes that nobody wrote
 *        hostile.c    sessions with those who break the rules
 *        check.c      what must hold after each step
 *        heal.c       the end: all faults mended, and what must hold then
 *        shrink.c     a failing list made small, and told as a history
 *        memory.c     allocations, and such as fail
 *
 * INVARIANTS
 *   I1   A run depends on nothing but its setting and its list of events: no time, no addresses, no
 *        threads. Each event carries its own random number, so that events can be left out and the
 *        others stay what they are.
 *   I2   All that the world itself needs lies in an arena that is emptied after each run. */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "lib/op/record.h"
#include "lib/repl/replica.h"
#include "tests/sim/causal.h"

#define SIM_NODES_MAX   12u /* those that join among them */
#define SIM_ORIGINS_MAX 64u
#define SIM_LANE_MAX    24u /* transactions that a lane holds */
#define SIM_TEXT_MAX    400u
#define SIM_HOT_RECORDS 3u
#define SIM_UNKNOWN     (1 << 30) /* number of transactions, after a call that was repeated */
#define SIM_NOW         UINT64_C(1800000000000000000)
#define SIM_DAY_NS      (UINT64_C(86400) * BLAZEI_NS_PER_S)

/* What may happen. X(name, weight among events, a fault that a setting may leave out) */
#define SIM_EVENTS(X)                                                                              \
	X(WRITE, 300, false)                                                                       \
	X(TRANSACTION, 60, false)                                                                  \
	X(POLL, 320, false)                                                                        \
	X(POLL_ALL, 40, false)                                                                     \
	X(SYNC, 50, false)                                                                         \
	X(ASK, 30, false)                                                                          \
	X(STEP, 200, false)                                                                        \
	X(DUPLICATE, 30, true)                                                                     \
	X(DROP, 12, true)                                                                          \
	X(CUT_SESSION, 6, true)                                                                    \
	X(PARTITION, 14, true)                                                                     \
	X(MEND, 20, false)                                                                         \
	X(SKEW, 8, true)                                                                           \
	X(JUMP_BACK, 8, true)                                                                      \
	X(POWER_LOSS, 8, true)                                                                     \
	X(KILL, 8, true)                                                                           \
	X(CLOSE, 8, true)                                                                          \
	X(RESTART, 30, false)                                                                      \
	X(BACKUP, 8, false)                                                                        \
	X(RESTORE, 4, true)                                                                        \
	X(COPY, 4, true)                                                                           \
	X(TWIN, 6, true)                                                                           \
	X(JOIN, 5, true)                                                                           \
	X(LEAVE, 3, true)                                                                          \
	X(ROLE, 10, true)                                                                          \
	X(TICK, 60, false)                                                                         \
	X(SILENCE, 3, true)                                                                        \
	X(DAMAGE_MESSAGE, 10, true)                                                                \
	X(HOSTILE, 6, true)                                                                        \
	X(CORRUPT, 10, true)                                                                       \
	X(NO_MEMORY, 25, true)

enum sim_event_kind {
#define X(name, weight, fault) SIM_##name,
	SIM_EVENTS(X)
#undef X
	SIM_EVENT_KINDS
};

/* What did happen, beside the events themselves. */
/* clang-format off */
#define SIM_COUNTS(X) \
	X(transactions) X(delivered) X(duplicates) X(came_early) X(waited_for_clock) X(lapped) \
	X(lane_lost) X(catch_ups) X(sessions_by_history) X(snapshots) \
	X(snapshots_resumed) X(sessions_refused) X(sessions_failed) X(displaced) \
	X(tail_lost) X(restarts) X(continued) X(relayed) X(one_way_links) X(refused) \
	X(forged) X(quarantined) X(conflicts) X(allocations_failed) X(compared) \
	X(unchanged) X(deleted) X(born_again) X(staged) X(lost_for_good) X(one_server) \
	X(last_writer_wins) X(chains_and_stars) X(without_faults) X(durable_first) \
	X(changes_told) X(changes_lost) X(events_told) X(conflicts_told) X(reports) \
	X(frontier_moved) X(came_back) X(issued_anew) X(collected) X(stamped_anew) X(forgotten) \
	X(retired) X(retired_and_kept) X(read) X(own_writes_read) X(hostile_failed) \
	X(hostile_refused)
/* clang-format on */

enum sim_count {
#define X(name) SIM_COUNT_##name,
	SIM_COUNTS(X)
#undef X
	SIM_COUNT_KINDS
};

struct sim_event {
	uint8_t kind;
	uint8_t node;
	uint8_t other;
	uint32_t random;
};

enum sim_shape {
	SIM_MESH, /* all read all lanes, as on one host */
	SIM_CHAIN,
	SIM_STAR,
};

struct sim_setting {
	uint64_t seed;
	unsigned nodes;
	enum sim_shape shape;
	enum blaze_policy policy;
	unsigned servers; /* 0 none, 1 the first node for good, 2 whoever a ROLE event makes one */
	unsigned one_way; /* 0 none, 1 the last node only reads, 2 it only writes */
	bool faults;      /* any at all */
	bool durable_first; /* publish only what is synced */
	uint64_t history_bytes;
	unsigned members; /* 1 all are, no store goes back; 2 and they collect */
	bool retiring;    /* members restart often, and report */
	bool big;         /* some values are nearly as long as they may be */
	unsigned event_count;
};

struct sim_txn {
	struct reference_txn content;
	void *data;
	size_t len;
	uint32_t *seen;    /* by origin number, SIM_ORIGINS_MAX: what it depends on */
	uint32_t *touched; /* likewise: what its writer had seen when it looked at the records */
	unsigned origin;
	bool server;
	bool left;                   /* written under a name that was left */
	bool copy;                   /* what it says was written before, under such a name */
	struct causal_place *places; /* of a copy, by op: where a server wrote that at first */
};

struct sim_origin {
	struct blazei_origin id;
	unsigned node;
	unsigned run; /* which of the node's */
	unsigned count;
	unsigned max;
	unsigned end;          /* how much of it there was where it was retired */
	struct sim_txn **txns; /* by seq - 1 */
};

struct sim_chunk {
	struct sim_chunk *next;
	void *data;
	size_t len;
};

/* All that a replica holds, as a store keeps it. */
struct sim_snapshot {
	struct sim_chunk *chunks;
	struct blazei_vector_detail *details;
	unsigned detail_count;
	uint32_t vector[SIM_ORIGINS_MAX]; /* the same, by origin number */
};

struct sim_message {
	struct sim_message *next;
	void *data;
	size_t len;
};

/* Of a node that catches up, with the one that it asked. */
struct sim_session {
	unsigned answerer;
	struct blazei_session *ask;
	struct blazei_session *answer;
	struct sim_message *first[2]; /* on their way: to the asker, to the answerer */
	struct sim_message *last[2];
};

/* One of the two. */
struct sim_entry {
	struct sim_txn *txn;
	struct sim_snapshot *snapshot;
};

struct sim_log {
	struct sim_entry *entries;
	unsigned count;
	unsigned max;
};

struct sim_node {
	bool used;
	bool up;
	bool gone; /* left for good */
	bool server;
	struct blaze_id id;
	unsigned runs;
	unsigned origin;
	int64_t offset_ns; /* of its clock */
	uint64_t high_ns;  /* at least the greatest H in its log */
	struct blazei_replica *replica;
	struct sim_log log; /* the store */
	unsigned synced;
	unsigned published; /* of the log, where what is durable is published first */
	struct sim_log backup;
	unsigned backup_origin; /* under which it was made */
	struct sim_txn **lane;
	unsigned lane_count;
	unsigned lane_max;
	unsigned lane_first; /* what lies before it is lost */
	unsigned cursors[SIM_NODES_MAX];
	struct sim_session *session;
	struct blazei_stage *stage;       /* what it has of a snapshot */
	uint64_t fetched;                 /* transactions and chunks, by sessions */
	uint32_t vector[SIM_ORIGINS_MAX]; /* as last looked at, by origin number */
	struct sim_world *world;
	bool watched; /* it has a sink */
	bool changes_lost;
	uint64_t mirror[SIM_HOT_RECORDS];   /* what it was told of the hot records */
	uint32_t frontier[SIM_ORIGINS_MAX]; /* as last looked at */
	bool behind;                        /* it knows that it lacks something */
	bool mute;   /* goes on under its name, and may not have all that it wrote */
	bool forked; /* somebody else wrote under its name */
	bool closed; /* cleanly: its token lies beside the store */
	uint32_t forgot[SIM_ORIGINS_MAX]; /* what it held that is issued anew was in here */
	uint32_t had[SIM_ORIGINS_MAX]; /* the vector when all was mended, without what it forgot */
	uint32_t bound[SIM_ORIGINS_MAX];   /* what it writes depends on less than that; 0: on all */
	struct blazei_writeset *writes;    /* a transaction in the making */
	uint32_t touched[SIM_ORIGINS_MAX]; /* the vector when that began */
	unsigned pair;                     /* that it writes */
	uint64_t pair_value;
};

struct sim_world {
	struct sim_setting setting;
	struct sim_node nodes[SIM_NODES_MAX + 1]; /* in the last place a twin, for a moment */
	unsigned node_count;
	struct sim_origin origins[SIM_ORIGINS_MAX];
	unsigned origin_count;
	bool reads[SIM_NODES_MAX][SIM_NODES_MAX];   /* r reads the lane of w */
	bool blocked[SIM_NODES_MAX][SIM_NODES_MAX]; /* for now */
	uint64_t now_ns;
	uint64_t sessions;                /* ever begun */
	uint64_t unique;                  /* the last value written */
	uint64_t events[SIM_EVENT_KINDS]; /* that had an effect */
	uint64_t counts[SIM_COUNT_KINDS];
	unsigned fail_after; /* allocations, in the next call of the library; 0: don't */
	bool healing;
	bool whole;    /* the next session gives everything */
	bool again;    /* what is written now says what was written before */
	bool returned; /* somebody had to come back among the members, or tried to */
	bool trace;
	bool violated;
	char violation[SIM_TEXT_MAX];
};

/* A small random number of an event's own. */
struct sim_random {
	uint64_t state;
};

static inline uint64_t sim_random(struct sim_random *random)
{
	uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static inline unsigned sim_below(struct sim_random *random, unsigned n)
{
	return (unsigned)(sim_random(random) >> 33) % n;
}

/* memory.c ----------------------------------------------------------------------------------- */

/* Zeroed, valid until sim_arena_empty. */
void *sim_alloc(size_t bytes);
void sim_arena_empty(void);
/* From now on the allocation after so many fails, once. */
void sim_memory_fail(unsigned after);
/* No more; whether one failed. */
bool sim_memory_restore(void);
/* For a call that is tried again while it has no memory: where one is to fail, it is the first
 * allocation in the first attempt, the second in the second, until none does. */
void sim_memory_starve(const struct sim_world *world, unsigned attempt);
bool sim_memory_starved(struct sim_world *world);

/* schedule.c --------------------------------------------------------------------------------- */

/* nodes 0: as the seed says. The events lie in the arena. */
struct sim_event *sim_schedule(uint64_t seed, unsigned nodes, struct sim_setting *ret_setting);
const char *sim_event_name(unsigned kind);
bool sim_event_is_fault(unsigned kind);

/* world.c ------------------------------------------------------------------------------------ */

/* Runs it all, heals, and checks; the world is the caller's. False: a violation, with its text. */
bool sim_run(struct sim_world *world, const struct sim_setting *setting,
             const struct sim_event *events, unsigned count, bool trace);
void sim_tell(struct sim_world *world, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
/* Notes the first one; the run ends. */
void sim_violate(struct sim_world *world, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
uint64_t sim_clock(const struct sim_world *world, const struct sim_node *node);
/* Whether r may read what w publishes, now. */
bool sim_linked(const struct sim_world *world, unsigned r, unsigned w);
/* A node that takes its first breath: with a copy of that one's store, or empty; and with this id,
 * or one of its own. NULL: there are enough. */
struct sim_node *sim_node_add(struct sim_world *world, const struct sim_node *copied,
                              const struct blaze_id *id);

/* node.c ------------------------------------------------------------------------------------- */

void sim_write(struct sim_world *world, struct sim_node *node, struct sim_random *random);
/* Reads at most max transactions of a lane; the number. */
unsigned sim_poll(struct sim_world *world, struct sim_node *node, struct sim_node *from,
                  unsigned max);
void sim_receive(struct sim_world *world, struct sim_node *node, struct sim_txn *const *txns,
                 unsigned count);
void sim_sync(struct sim_world *world, struct sim_node *node);
void sim_log_append(struct sim_log *log, struct sim_entry entry);
void sim_lane_append(struct sim_world *world, struct sim_node *node, struct sim_txn *txn);

/* Random parts of a write; the record is freed by the caller. */
struct blaze_id sim_record_id(unsigned number);
struct blaze_id sim_random_id(struct sim_random *random);
struct blaze_record *sim_random_record(struct sim_world *world, bool patch,
                                       struct sim_random *random);
enum blazei_write_kind sim_random_kind(struct sim_random *random);
/* Notes what was just written. NULL: a violation. */
struct sim_txn *sim_txn_keep(struct sim_world *world, struct sim_node *node,
                             const struct blazei_txn_view *view, const uint32_t *touched);
/* Notes, logs and publishes what was just written. NULL: a violation. */
struct sim_txn *sim_written(struct sim_world *world, struct sim_node *node,
                            const struct blazei_txn_view *view, const uint32_t *touched);

/* txn.c -------------------------------------------------------------------------------------- */

/* Begins a transaction, or commits the one that was begun. */
void sim_transaction(struct sim_world *world, struct sim_node *node, struct sim_random *random);
/* The records of each pair are only ever written together: both show the same. */
void sim_pairs_check(struct sim_world *world, const struct sim_node *node);

/* store.c ------------------------------------------------------------------------------------ */

void sim_stop(struct sim_world *world, struct sim_node *node, bool power,
              struct sim_random *random);
void sim_start(struct sim_world *world, struct sim_node *node);
/* Back to its backup; with all tokens as they were then, so that it goes on under its old name. */
void sim_restore(struct sim_world *world, struct sim_node *node, bool tokens);
/* Puts the log into the node's fresh replica. */
void sim_log_replay(struct sim_world *world, struct sim_node *node);
void sim_origin_new(struct sim_world *world, struct sim_node *node);
void sim_log_copy(struct sim_log *to, const struct sim_log *from, unsigned count);

/* name.c ------------------------------------------------------------------------------------- */

/* Where it met its own name elsewhere: leaves it, and issues what it wrote under it again. */
void sim_renew(struct sim_world *world, struct sim_node *node);
/* What waits to be issued anew, by a node that has its name. */
void sim_issue(struct sim_world *world, struct sim_node *node);
/* A copy of its store, tokens and all, runs elsewhere; both write, and meet. */
void sim_twin(struct sim_world *world, struct sim_node *node, struct sim_random *random);
/* After a snapshot that is all that it holds now, where it held up to `before`. */
void sim_come_back(struct sim_world *world, struct sim_node *node, const uint32_t *before);

/* reads.c ------------------------------------------------------------------------------------ */

void sim_reads_check(struct sim_world *world, const struct sim_node *node);
/* What the transaction in the making just staged shows in it. */
void sim_own_read_check(struct sim_world *world, struct sim_node *node,
                        const struct blazei_write *write);

/* hostile.c ---------------------------------------------------------------------------------- */

void sim_hostile(struct sim_world *world, struct sim_node *node, struct sim_random *random);

/* catchup.c ---------------------------------------------------------------------------------- */

/* Begins to catch up with another node; false: it cannot be. */
bool sim_ask(struct sim_world *world, struct sim_node *node, unsigned from);
/* 0, 1: the answerer, the asker says its next message; 2, 3: the asker, the answerer hears the next
 * one. False: there is none. */
bool sim_session_step(struct sim_world *world, struct sim_node *node, unsigned what);
void sim_session_close(struct sim_node *node);
/* Damages a message on its way, if there is one. */
void sim_session_damage(struct sim_world *world, struct sim_node *node, struct sim_random *random);
/* All of it, from hello to the end; the number of transactions and chunks that came. */
uint64_t sim_catch_up(struct sim_world *world, struct sim_node *node, unsigned from);
/* The store takes a copy of everything, instead of what was merged one by one. */
void sim_checkpoint(struct sim_world *world, struct sim_node *node);
/* Puts what a store kept into a fresh replica. */
void sim_snapshot_load(struct sim_world *world, struct sim_node *node,
                       const struct sim_snapshot *snapshot);

/* member.c ----------------------------------------------------------------------------------- */

/* What is due of a member; the number of reports that it wrote. */
unsigned sim_tick(struct sim_world *world, struct sim_node *node);
/* Days in which those who hear each other go on. */
void sim_days_pass(struct sim_world *world, unsigned days);

/* watch.c ------------------------------------------------------------------------------------ */

/* A number for a record's visible contents; 0: not visible. */
uint64_t sim_record_digest(const struct blaze_record *record);
void sim_watch(struct sim_world *world, struct sim_node *node);
void sim_watch_check(struct sim_world *world, struct sim_node *node);

/* damage.c ----------------------------------------------------------------------------------- */

void sim_corrupt(struct sim_world *world, struct sim_node *node, struct sim_random *random);
/* Another transaction under the number of one that the node has last of its origin, for each node,
 * in the end: after that the nodes may go different ways. */
void sim_forge(struct sim_world *world);

/* check.c ------------------------------------------------------------------------------------ */

/* How much of an origin a node has, retired or not. */
uint32_t sim_seq(const struct sim_world *world, const struct sim_node *node, unsigned origin);
/* Looks at the vector again, and at what must hold after every step. Exactly so
 * many transactions must be new, unless it is SIM_UNKNOWN; they are logged. */
void sim_observe(struct sim_world *world, struct sim_node *node, int applied);
/* Compares the contents with the reference, and with the causal history. */
void sim_compare(struct sim_world *world, struct sim_node *node, bool causal);

/* heal.c ------------------------------------------------------------------------------------- */

void sim_heal(struct sim_world *world);

/* shrink.c ----------------------------------------------------------------------------------- */

/* Makes a failing seed small and prints its history. */
void sim_shrink(uint64_t seed, unsigned nodes, bool shrink);

#endif
