/* SPDX-License-Identifier: Apache-2.0 */
/* All histories of three replicas that do two operations each, on one record, in all orders of
 * delivery and with any duplicates, by merged states; and samples of three operations each.
 *
 *        exhaustive                3 replicas x 1 operation, 2 replicas x 2, and some samples of
 *                                  3 x 2 and 3 x 3: seconds (make check)
 *        exhaustive --full[=N]     3 x 2, all of it (in setting N, 0 to 5), and more samples of
 *                                  3 x 3: minutes for each setting (make soak)
 *        exhaustive --samples N --seed S
 *
 * WHY    What a replica holds depends on nothing but the order of its own events: its operations
 *        and what was delivered to it. So each replica's states are made once, by replaying the
 *        events that lead there into a fresh one, and are merged by all that it holds and knows: a
 *        duplicate, for one, leads back to where it came from, which covers any number of them. A
 *        history of all three then is a walk over triples of such states. Deliveries to different
 *        replicas don't touch each other, so of all their orders only one need be walked: what a
 *        replica gets, in every order, just before it writes, and after all have written.
 *
 * CHECKS In every state of every replica: it shows what the reference folds from what it merged,
 *        and what had been seen before it wrote is there (dependencies first). At each end, which
 *        is reached by every order of the rest: all three hold the same, stamps too; nothing waits;
 *        P3 holds by the causal check.
 *
 * LIMITS Clocks stand still, in three settings: equal; the first ahead; the last ahead. So H mostly
 *        ties, and counts. One record, fields "a" and "b": insert writes both, an update "a". It
 *        begins without that record, or with one that all know and somebody else inserted. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/op/hash.h"
#include "tests/sim/states.h"

static uint64_t random_state;

static unsigned random_below(unsigned n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned)(random_state >> 33) % n;
}

/* Walking ------------------------------------------------------------------------------------ */

/* States that one replica may reach by deliveries alone. */
struct closure {
	uint32_t *states;
	unsigned count;
	unsigned max;
};

static void closure_add(struct closure *closure, uint32_t state)
{
	for (unsigned i = 0; i < closure->count; i++)
		if (closure->states[i] == state)
			return;
	if (closure->count == closure->max) {
		closure->max = closure->max * 2 + 64;
		closure->states = realloc(closure->states, closure->max * sizeof(uint32_t));
	}
	closure->states[closure->count++] = state;
}

/* Everything that was written by now may come, in any order, any number of times. */
static void closure_make(struct closure *closure, const uint32_t *states, unsigned node)
{
	closure->count = 0;
	closure_add(closure, states[node]);
	for (unsigned i = 0; i < closure->count; i++)
		for (unsigned k = 0; k < NODES; k++)
			for (unsigned seq = 0; seq < world.states[states[k]].counts[k]; seq++)
				closure_add(closure,
				            step(closure->states[i],
				                 OP_KINDS + world.states[states[k]].has[k][seq]));
}

/* The causal check of what the state holds. */
static void end_check_causal(const struct state *state, const uint32_t *states)
{
	struct causal_write writes[TXNS_MAX + 1];
	struct causal_history history = { .writes = writes, .one_server = true };
	struct blazei_replica *replica = state_replay((uint32_t)(state - world.states));
	unsigned server = NODES;
	char text[256];

	for (unsigned i = 0; i < NODES; i++)
		for (unsigned k = 0; k < state->counts[i]; k++) {
			const struct txn *txn = &world.txns[state->has[i][k]];

			if (txn->server && server != NODES && server != i)
				history.one_server = false;
			if (txn->server)
				server = i;
			writes[history.count++] = (struct causal_write){
				.txn = &txn->content,
				.seen = txn->seen,
				.origin = i,
				.server = txn->server,
			};
		}
	if (world.prepared)
		writes[history.count++] = (struct causal_write){
			.txn = &world.first.content,
			.seen = world.first.seen,
			.origin = NODES,
		};
	if (!causal_holds(&history, replica, text, sizeof(text)))
		violation(text, states, NODES);
	blazei_replica_free(replica);
}

/* All have written: whatever order the rest comes in, all end alike. */
static void end_check(const uint32_t *states)
{
	struct closure closure = { 0 };
	uint8_t digests[2][16];
	uint32_t ends[NODES];

	for (unsigned i = 0; i < world.nodes; i++) {
		unsigned found = 0;

		closure_make(&closure, states, i);
		for (unsigned k = 0; k < closure.count; k++) {
			const struct state *state = &world.states[closure.states[k]];
			bool whole = true;

			for (unsigned j = 0; j < world.nodes; j++)
				whole = whole &&
				        state->counts[j] == world.states[states[j]].counts[j];
			if (!whole)
				continue;
			ends[i] = closure.states[k];
			if (found++ > 0)
				violation("the order of delivery matters", &closure.states[k], 1);
			if (state->parked != 0)
				violation("something waits that is there", &closure.states[k], 1);
		}
		if (found == 0)
			violation("everything came and is not there", &states[i], 1);
	}
	for (unsigned i = 0; i < world.nodes; i++) {
		struct blazei_replica *replica = state_replay(ends[i]);

		blazei_replica_hash_stamps(replica, digests[i > 0]);
		blazei_replica_free(replica);
		if (i > 0 && memcmp(digests[0], digests[1], 16) != 0)
			violation("two replicas differ in the end", ends, world.nodes);
	}
	end_check_causal(&world.states[ends[0]], ends);
	world.ends++;
	free(closure.states);
}

/* Whether this triple is new. */
static bool triple_enter(const uint32_t *states)
{
	const uint64_t key[2] = { (uint64_t)states[0] << 32 | states[1], states[2] + UINT64_C(1) };
	uint64_t i;

	if (2 * world.triple_count >= world.triple_mask) {
		const struct world old = world;

		world.triple_mask = old.triples ? old.triple_mask * 2 + 1 : 1023;
		world.triples = calloc(world.triple_mask + 1, sizeof(*world.triples));
		world.triple_count = 0;
		for (uint64_t k = 0; old.triples && k <= old.triple_mask; k++) {
			if (old.triples[k][1] == 0)
				continue;
			i = XXH3_64bits(old.triples[k], 16) & world.triple_mask;
			while (world.triples[i][1] != 0)
				i = (i + 1) & world.triple_mask;
			memcpy(world.triples[i], old.triples[k], 16);
			world.triple_count++;
		}
		free(old.triples);
	}
	i = XXH3_64bits(key, 16) & world.triple_mask;
	while (world.triples[i][1] != 0) {
		if (memcmp(world.triples[i], key, 16) == 0)
			return false;
		i = (i + 1) & world.triple_mask;
	}
	memcpy(world.triples[i], key, 16);
	world.triple_count++;
	return true;
}

static void walk(const uint32_t *states)
{
	struct closure closure = { 0 };
	uint32_t next[NODES];
	bool ended = true;

	if (!triple_enter(states))
		return;
	memcpy(next, states, sizeof(next));
	for (unsigned i = 0; i < world.nodes; i++) {
		if (world.states[states[i]].ops == world.ops)
			continue;
		ended = false;
		closure_make(&closure, states, i);
		for (unsigned k = 0; k < closure.count; k++)
			for (uint32_t op = 0; op < OP_KINDS; op++) {
				next[i] = step(closure.states[k], op);
				walk(next); /* as deep as there are operations */
			}
		next[i] = states[i];
	}
	if (ended)
		end_check(states);
	free(closure.states);
}

/* One history by chance. */
static void sample(void)
{
	struct closure closure = { 0 };
	uint32_t states[NODES] = { 0, 1, 2 };

	for (unsigned left = world.nodes * world.ops; left > 0; left--) {
		unsigned i = random_below(world.nodes);

		while (world.states[states[i]].ops == world.ops)
			i = (i + 1) % world.nodes;
		closure_make(&closure, states, i);
		states[i] =
		        step(closure.states[random_below(closure.count)], random_below(OP_KINDS));
	}
	end_check(states);
	free(closure.states);
}

static void report(const char *what)
{
	printf("%-14s clocks %u, %s: %u states of replicas, %llu steps, %llu triples, %llu ends\n",
	       what, world.clocks, world.prepared ? "a record" : "empty   ", world.state_count,
	       (unsigned long long)world.step_count, (unsigned long long)world.triple_count,
	       (unsigned long long)world.ends);
	fflush(stdout);
}

/* In one setting, or, where there is none of that number, in all. */
static void enumerate(const char *what, unsigned nodes, unsigned ops, unsigned only)
{
	static const uint32_t start[NODES] = { 0, 1, 2 };

	for (unsigned setting = 0; setting < SETTINGS; setting++) {
		if (only < SETTINGS && setting != only)
			continue;
		world_start(setting, nodes, ops);
		walk(start);
		report(what);
	}
}

static void samples(const char *what, unsigned ops, unsigned count, uint64_t seed)
{
	printf("seed %llu\n", (unsigned long long)seed);
	random_state = seed * 1000003;
	for (unsigned setting = 0; setting < SETTINGS; setting++) {
		world_start(setting, NODES, ops);
		for (unsigned i = 0; i < count / SETTINGS; i++)
			sample();
		report(what);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "full", optional_argument, NULL, 'f' },
		                                 { "samples", required_argument, NULL, 'n' },
		                                 { "seed", required_argument, NULL, 's' },
		                                 { 0 } };
	unsigned count = 600;
	uint64_t seed = 1;
	int full = -1;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
		switch (option) {
		case 'f':
			full = optarg ? (int)strtoul(optarg, NULL, 10) : (int)SETTINGS;
			break;
		case 'n':
			count = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 's':
			seed = strtoull(optarg, NULL, 10);
			break;
		default:
			fprintf(stderr, "usage: %s [--full[=N]] [--samples N] [--seed S]\n",
			        argv[0]);
			return 2;
		}
	enumerate("2 x 2", 2, 2, SETTINGS);
	enumerate("3 x 1", 3, 1, SETTINGS);
	if (full >= 0)
		enumerate("3 x 2", 3, 2, (unsigned)full);
	else
		samples("3 x 2 sampled", 2, count, seed);
	samples("3 x 3 sampled", 3, full >= 0 ? 10 * count : count / 3, seed);
	world_start(0, 0, 0);
	return 0;
}
