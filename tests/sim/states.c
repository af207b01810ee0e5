/* SPDX-License-Identifier: Apache-2.0 */
/* States, each made once from the events that lead to it; see exhaustive.c.
 *
 * INVARIANTS
 *   I1   Two ways that lead to the same contents, stamps, vector, chains, parked transactions, H
 *        and dependencies to be named lead to one state. (The order in which a replica would list
 *        those dependencies is left out: it means nothing.)
 *   I2   Each state was checked when it was made. */
#include "tests/sim/states.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/op/hash.h"

#define NOW        UINT64_C(1800000000000000000)
#define DELIVERIES 64u /* events on the way to a state, at most */

struct world world;

static const char *const op_names[] = { "insert", "update", "delete", "server update" };

/* Telling ------------------------------------------------------------------------------------ */

static void state_print(uint32_t number)
{
	const struct state *state = &world.states[number];

	if (state->parent == NONE)
		return;
	state_print(state->parent); /* as deep as a history is long: bounded by DELIVERIES */
	if (state->event < OP_KINDS)
		printf("  replica %u: %s\n", state->node, op_names[state->event]);
	else
		printf("  replica %u: gets number %u of replica %u\n", state->node,
		       (unsigned)world.txns[state->event - OP_KINDS].content.seq,
		       world.txns[state->event - OP_KINDS].writer);
}

void violation(const char *what, const uint32_t *states, unsigned count)
{
	printf("violation (clocks %u, %s): %s\n", world.clocks,
	       world.prepared ? "a record exists" : "empty", what);
	for (unsigned i = 0; i < count; i++)
		state_print(states[i]);
	exit(EXIT_FAILURE);
}

/* Replaying ---------------------------------------------------------------------------------- */

static struct blazei_origin origin_of(unsigned node)
{
	struct blazei_origin origin = { .incarnation = 9 - node };

	origin.node.bytes[0] = (uint8_t)(node + 1);
	return origin;
}

static uint64_t now_of(unsigned node)
{
	const unsigned ahead[] = { NODES, 0, NODES - 1 };

	return NOW + (node < NODES && node == ahead[world.clocks] ? BLAZEI_NS_PER_S : 0);
}

/* Does one event; gives what was written, if anything. */
static void event_do(struct blazei_replica *replica, const struct state *from, uint32_t event,
                     struct blazei_txn_view *ret_txn)
{
	const struct blaze_id id = { { 1 } };
	struct blaze_record *record = NULL;
	struct blazei_write write = { .id = &id };

	write.kind = event == OP_INSERT   ? BLAZEI_WRITE_INSERT
	             : event == OP_DELETE ? BLAZEI_WRITE_DELETE
	                                  : BLAZEI_WRITE_UPDATE;

	ret_txn->len = 0;
	if (event >= OP_KINDS) {
		const struct txn *txn = &world.txns[event - OP_KINDS];
		const struct blazei_txn_view view = { txn->data, txn->len };

		blazei_replica_receive(replica, now_of(from->node), &view, 1);
		return;
	}
	if (event != OP_DELETE) {
		blaze_record_new(&record);
		blaze_record_set_int(record, "a", from->node * 10 + from->ops);
		if (event == OP_INSERT)
			blaze_record_set_int(record, "b", 1000 + from->node * 10 + from->ops);
	}
	blazei_replica_set_server(replica, event == OP_SERVER_UPDATE);
	write.record = record;
	if (blazei_replica_write(replica, now_of(from->node), &write, ret_txn) < 0)
		ret_txn->len = 0;
	blaze_record_free(record);
}

/* A replica as it is in that state. */
struct blazei_replica *state_replay(uint32_t number)
{
	struct blazei_replica_options options = { .policy = BLAZE_POLICY_SERVER_PRIORITY };
	struct blazei_replica *replica;
	uint32_t path[DELIVERIES];
	unsigned depth = 0;
	struct blazei_txn_view txn;

	options.self = origin_of(world.states[number].node);
	if (blazei_replica_new(&options, &replica) < 0)
		abort();
	if (world.prepared) {
		const struct blazei_txn_view view = { world.first.data, world.first.len };

		blazei_replica_receive(replica, NOW, &view, 1);
	}
	for (uint32_t at = number; world.states[at].parent != NONE; at = world.states[at].parent) {
		if (depth == DELIVERIES)
			abort();
		path[depth++] = at;
	}
	while (depth-- > 0)
		event_do(replica, &world.states[world.states[path[depth]].parent],
		         world.states[path[depth]].event, &txn);
	return replica;
}

/* All that tells one state from another. */
static void state_key(struct state *state, struct blazei_replica *replica)
{
	struct {
		uint8_t digests[2][16];
		uint64_t seqs[NODES];
		uint64_t chains[NODES];
		uint64_t parked[NODES];
		uint64_t advanced;
		uint64_t hlc;
		uint64_t who;
	} all;
	XXH128_hash_t hash;

	memset(&all, 0, sizeof(all));
	if (blazei_replica_hash(replica, all.digests[0]) < 0 ||
	    blazei_replica_hash_stamps(replica, all.digests[1]) < 0)
		abort();
	for (unsigned i = 0; i < NODES; i++) {
		const struct blazei_origin origin = origin_of(i);
		uint16_t index = blazei_vector_find(&replica->vector, &origin);
		const struct blazei_writer *writer;

		if (index == BLAZEI_ORIGIN_NONE)
			continue;
		writer = &replica->vector.writers[index];
		all.seqs[i] = writer->seq;
		all.chains[i] = writer->chain;
		all.advanced |= (uint64_t)writer->advanced << i;
		for (const struct blazei_parked *at = writer->first; at; at = at->next)
			all.parked[i] = all.parked[i] * 31 +
			                ((const struct blazei_txn_header *)at->words)->chain;
	}
	all.hlc = replica->clock.last;
	all.who = state->node * 16u + state->ops;
	hash = XXH3_128bits(&all, sizeof(all));
	state->key[0] = hash.low64;
	state->key[1] = hash.high64;
	state->parked = (uint8_t)replica->parked;
}

/* States ------------------------------------------------------------------------------------- */

/* Whether the replica shows what it should, and has merged nothing before what that depends on. */
static void state_check(const struct state *state, uint32_t number, struct blazei_replica *replica)
{
	struct reference reference;
	char text[256];

	reference_init(&reference);
	if (world.prepared)
		reference_fold(&reference, &world.first.content);
	for (unsigned i = 0; i < NODES; i++)
		for (unsigned k = 0; k < state->counts[i]; k++) {
			const struct txn *txn = &world.txns[state->has[i][k]];

			reference_fold(&reference, &txn->content);
			for (unsigned j = 0; j < NODES; j++)
				if (txn->seen[j] > state->counts[j])
					violation("merged before what it depends on", &number, 1);
		}
	if (!reference_equals(&reference, replica, text, sizeof(text)))
		violation(text, &number, 1);
	reference_free(&reference);
}

/* Notes what an event brought: the vector tells how far each writer has come, and the way here
 * tells which transactions those are. */
static void state_advance(struct state *state, uint32_t number,
                          const struct blazei_replica *replica)
{
	for (unsigned i = 0; i < NODES; i++) {
		const struct blazei_origin origin = origin_of(i);
		uint64_t seq = blazei_replica_vector_seq(replica, &origin);

		while (state->counts[i] < seq) {
			uint32_t at = number;

			for (; at != NONE; at = world.states[at].parent) {
				uint32_t event = world.states[at].event;

				if (event < OP_KINDS || event == NONE)
					continue;
				if (world.txns[event - OP_KINDS].writer == i &&
				    world.txns[event - OP_KINDS].content.seq ==
				            state->counts[i] + 1u)
					break;
			}
			if (at == NONE)
				violation("merged what never came", &number, 1);
			state->has[i][state->counts[i]++] = world.states[at].event - OP_KINDS;
		}
	}
}

static uint32_t *key_place(const uint64_t key[2])
{
	uint64_t i = key[0] & world.key_mask;

	while (world.by_key[i] != 0) {
		const struct state *state = &world.states[world.by_key[i] - 1];

		if (state->key[0] == key[0] && state->key[1] == key[1])
			break;
		i = (i + 1) & world.key_mask;
	}
	return &world.by_key[i];
}

static uint32_t txn_add(const struct state *state, const struct blazei_txn_view *view, bool server)
{
	struct txn *txn;

	if (world.txn_count == world.txn_max) {
		world.txn_max = world.txn_max * 2 + 64;
		world.txns = realloc(world.txns, world.txn_max * sizeof(*txn));
	}
	txn = &world.txns[world.txn_count];
	*txn = (struct txn){ .len = view->len, .writer = state->node, .server = server };
	txn->data = malloc(view->len);
	memcpy(txn->data, view->data, view->len);
	if (!reference_decode(txn->data, txn->len, &txn->content))
		violation("wrote what cannot be decoded", &state->parent, 1);
	for (unsigned i = 0; i < NODES; i++)
		txn->seen[i] = state->counts[i];
	txn->seen[NODES] = world.prepared;
	return world.txn_count++;
}

static void states_grow(void)
{
	if (world.state_count < world.state_max)
		return;
	world.state_max = world.state_max * 2 + 1024;
	world.states = realloc(world.states, world.state_max * sizeof(*world.states));
	while (world.key_mask < 2 * (uint64_t)world.state_max) {
		world.key_mask = world.key_mask * 2 + 1;
		free(world.by_key);
		world.by_key = calloc(world.key_mask + 1, sizeof(*world.by_key));
		for (unsigned i = 0; i < world.state_count; i++)
			*key_place(world.states[i].key) = i + 1;
	}
}

/* Makes the state that an event leads to. */
static uint32_t state_step(uint32_t from, uint32_t event)
{
	struct blazei_replica *replica = state_replay(from);
	struct state state = world.states[from];
	uint32_t number = world.state_count;
	uint32_t *place;
	struct blazei_txn_view txn;

	event_do(replica, &world.states[from], event, &txn);
	state.parent = from;
	state.event = event;
	state.ops += event < OP_KINDS;
	states_grow();
	state_key(&state, replica);
	place = key_place(state.key);
	if (*place != 0) {
		blazei_replica_free(replica);
		return *place - 1;
	}
	*place = number + 1;
	world.states[number] = state;
	world.state_count++;
	if (txn.len > 0) {
		struct state *made = &world.states[number];

		made->has[state.node][state.counts[state.node]] =
		        txn_add(&state, &txn, event == OP_SERVER_UPDATE);
		made->counts[state.node]++;
	} else {
		state_advance(&world.states[number], number, replica);
	}
	state_check(&world.states[number], number, replica);
	blazei_replica_free(replica);
	return number;
}

/* The same, made only once. */
uint32_t step(uint32_t from, uint32_t event)
{
	uint64_t key = ((uint64_t)from << 32 | event) + 1;
	uint64_t i;
	uint32_t to;

	if (2 * world.step_count >= world.step_mask) {
		const struct world old = world;

		world.step_mask = old.step_mask * 2 + 1;
		world.steps = calloc(world.step_mask + 1, sizeof(*world.steps));
		world.step_keys = calloc(world.step_mask + 1, sizeof(*world.step_keys));
		for (uint64_t k = 0; k <= old.step_mask; k++) {
			if (!old.step_keys || old.step_keys[k] == 0)
				continue;
			i = XXH3_64bits(&old.step_keys[k], 8) & world.step_mask;
			while (world.step_keys[i] != 0)
				i = (i + 1) & world.step_mask;
			world.step_keys[i] = old.step_keys[k];
			world.steps[i] = old.steps[k];
		}
		free(old.steps);
		free(old.step_keys);
	}
	i = XXH3_64bits(&key, 8) & world.step_mask;
	while (world.step_keys[i] != 0) {
		if (world.step_keys[i] == key)
			return (uint32_t)world.steps[i];
		i = (i + 1) & world.step_mask;
	}
	to = state_step(from, event);
	world.step_keys[i] = key;
	world.steps[i] = to;
	world.step_count++;
	return to;
}

/* The record that is there from the start. */
static void first_make(void)
{
	const struct state nobody = { .node = NODES };
	struct blazei_replica_options options = { .policy = BLAZE_POLICY_SERVER_PRIORITY };
	struct blazei_replica *replica;
	struct blazei_txn_view view;

	options.self = origin_of(NODES);
	if (blazei_replica_new(&options, &replica) < 0)
		abort();
	event_do(replica, &nobody, OP_INSERT, &view);
	world.first = (struct txn){ .len = view.len, .writer = NODES };
	world.first.data = malloc(view.len);
	memcpy(world.first.data, view.data, view.len);
	if (!reference_decode(world.first.data, view.len, &world.first.content))
		abort();
	blazei_replica_free(replica);
}

static void txn_free(struct txn *txn)
{
	reference_txn_free(&txn->content);
	free(txn->data);
}

void world_start(unsigned setting, unsigned nodes, unsigned ops)
{
	for (unsigned i = 0; i < world.txn_count; i++)
		txn_free(&world.txns[i]);
	txn_free(&world.first);
	free(world.txns);
	free(world.states);
	free(world.steps);
	free(world.step_keys);
	free(world.by_key);
	free(world.triples);
	world = (struct world){ .nodes = nodes, .ops = ops };
	world.clocks = setting % 3;
	world.prepared = setting >= 3;
	first_make();
	for (unsigned i = 0; i < NODES; i++) {
		struct blazei_replica *replica;

		states_grow();
		world.states[i] = (struct state){ .parent = NONE, .event = NONE };
		world.states[i].node = (uint8_t)i;
		world.state_count++;
		replica = state_replay(i);
		state_key(&world.states[i], replica);
		*key_place(world.states[i].key) = i + 1;
		state_check(&world.states[i], i, replica);
		blazei_replica_free(replica);
	}
}
