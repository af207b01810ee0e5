/* SPDX-License-Identifier: Apache-2.0 */
/* What replicas can come to hold, made by replaying events and merged; see exhaustive.c. */
#ifndef TESTS_SIM_STATES_H
#define TESTS_SIM_STATES_H

#include "lib/repl/core.h"
#include "tests/sim/causal.h"

#define NODES    3u
#define OPS_MAX  3u
#define TXNS_MAX (NODES * OPS_MAX)
#define NONE     UINT32_MAX

enum op {
	OP_INSERT,
	OP_UPDATE,
	OP_DELETE,
	OP_SERVER_UPDATE,
	OP_KINDS,
};

/* A transaction that somebody once wrote, in some history. */
struct txn {
	struct reference_txn content;
	uint32_t seen[NODES + 1]; /* seqs; the last is of who inserted the first record */
	void *data;
	size_t len;
	uint8_t writer;
	bool server;
};

/* All that one replica may hold at some point of some history. */
struct state {
	uint64_t key[2];
	uint32_t parent;
	uint32_t event;               /* that led here: an op, or OP_KINDS + number of a txn */
	uint32_t has[NODES][OPS_MAX]; /* the transactions merged, by writer and seq - 1 */
	uint8_t counts[NODES];
	uint8_t ops; /* done */
	uint8_t node;
	uint8_t parked;
};

struct world {
	struct state *states;
	unsigned state_count;
	unsigned state_max;
	struct txn *txns;
	unsigned txn_count;
	unsigned txn_max;
	uint64_t *steps; /* hashed: state, event -> state */
	uint64_t *step_keys;
	uint64_t step_mask;
	uint64_t step_count;
	uint32_t *by_key; /* hashed: state number + 1 */
	uint64_t key_mask;
	uint64_t (*triples)[2]; /* hashed: those walked */
	uint64_t triple_mask;
	uint64_t triple_count;
	uint64_t ends;
	unsigned nodes;
	unsigned ops;
	unsigned clocks; /* the setting of clocks */
	bool prepared;   /* all begin with a record that somebody else inserted */
	struct txn first;
};

extern struct world world;

/* Reports the histories that lead to these states and ends the program. */
_Noreturn void violation(const char *what, const uint32_t *states, unsigned count);
/* A replica as it is in that state. */
struct blazei_replica *state_replay(uint32_t number);
/* The state that an event leads to from there. */
uint32_t step(uint32_t from, uint32_t event);
/* Forgets everything but the setting, and makes the state in which each replica starts. */
void world_start(unsigned setting, unsigned nodes, unsigned ops);

#define SETTINGS 6u /* of clocks, and of how it begins */

#endif
