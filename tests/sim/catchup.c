/* SPDX-License-Identifier: Apache-2.0 */
/* Catching up: a session between a node that lacks something and one that has it, message by
 * message, while both go on; and the state of a node as its store keeps it. */
#include "lib/repl/core.h"
#include "lib/repl/session.h"
#include "tests/repl/stored.h"
#include "tests/sim/sim.h"

#define STAGE_BYTES (UINT64_C(64) << 20)
#define STEPS_MAX   100000u

enum {
	TO_ASKER,
	TO_ANSWERER
};

/* The store's copy of a whole replica --------------------------------------------------------- */

static struct sim_snapshot *snapshot_make(const struct sim_node *node)
{
	static const uint64_t nothing[BLAZEI_ORIGINS_MAX];
	static uint64_t buffer[BLAZEI_STATE_BYTES_MAX / 8];
	struct sim_snapshot *snapshot = sim_alloc(sizeof(*snapshot));
	struct sim_chunk **last = &snapshot->chunks;
	struct blazei_state_cursor cursor = { 0 };
	int64_t len;

	snapshot->detail_count = blazei_replica_vector_count(node->replica);
	snapshot->details = sim_alloc(snapshot->detail_count * sizeof(*snapshot->details));
	for (unsigned i = 0; i < snapshot->detail_count; i++)
		blazei_replica_vector_detail(node->replica, i, &snapshot->details[i]);
	memcpy(snapshot->vector, node->vector, sizeof(snapshot->vector));
	while ((len = blazei_state_encode(node->replica, nothing, &cursor, buffer,
	                                  BLAZEI_STATE_BYTES_MAX)) > 0) {
		struct sim_chunk *chunk = sim_alloc(sizeof(*chunk));

		chunk->data = sim_alloc((size_t)len);
		chunk->len = (size_t)len;
		memcpy(chunk->data, buffer, (size_t)len);
		*last = chunk;
		last = &chunk->next;
	}
	return snapshot;
}

void sim_snapshot_load(struct sim_world *world, struct sim_node *node,
                       const struct sim_snapshot *snapshot)
{
	uint64_t cut[SIM_ORIGINS_MAX] = { 0 };
	int rc = blazei_replica_restore(node->replica, snapshot->details, snapshot->detail_count);

	for (unsigned i = 0; i < blazei_replica_vector_count(node->replica) && rc == 0; i++)
		cut[i] = node->replica->vector.writers[i].seq;
	for (const struct sim_chunk *at = snapshot->chunks; at && rc == 0; at = at->next)
		rc = stored_merge(node->replica, at->data, cut);
	if (rc < 0)
		sim_violate(world, "n%u cannot read its store: %d", (unsigned)(node - world->nodes),
		            rc);
}

/* What came was no transaction: the store takes it all. */
void sim_checkpoint(struct sim_world *world, struct sim_node *node)
{
	for (unsigned i = 0; i < world->origin_count; i++) {
		uint32_t seq = sim_seq(world, node, i);

		if (seq < node->vector[i] || seq > world->origins[i].count)
			sim_violate(world, "n%u's vector goes from %u to %u of %u",
			            (unsigned)(node - world->nodes), node->vector[i], seq,
			            world->origins[i].count);
		else
			node->vector[i] = seq;
	}
	if (world->violated)
		return;
	sim_log_append(&node->log, (struct sim_entry){ .snapshot = snapshot_make(node) });
	sim_observe(world, node, 0);
}

/* Sessions ----------------------------------------------------------------------------------- */

void sim_session_close(struct sim_node *node)
{
	if (!node->session)
		return;
	blazei_session_free(node->session->ask);
	blazei_session_free(node->session->answer);
	node->session = NULL;
}

bool sim_ask(struct sim_world *world, struct sim_node *node, unsigned from)
{
	unsigned number = (unsigned)(node - world->nodes);
	struct blazei_session_options options = { .id = ++world->sessions };
	struct sim_session *session;

	/* The question and the answer both need a way. */
	if (!sim_linked(world, number, from) || world->blocked[from][number] ||
	    !world->nodes[from].up || node->session)
		return false;
	sim_memory_fail(node->stage ? 0 : world->fail_after);
	if (!node->stage && blazei_stage_new(STAGE_BYTES, &node->stage) < 0) {
		(void)sim_memory_restore();
		world->fail_after = 0;
		return false;
	}
	(void)sim_memory_restore();
	session = sim_alloc(sizeof(*session));
	session->answerer = from;
	options.replica = node->replica;
	options.side = BLAZEI_SESSION_ASKER;
	options.stage = node->stage;
	options.anew = true;
	sim_memory_fail(world->fail_after == 1);
	if (blazei_session_new(&options, &session->ask) < 0) {
		(void)sim_memory_restore();
		world->fail_after = 0;
		return false;
	}
	(void)sim_memory_restore();
	options.replica = world->nodes[from].replica;
	options.side = BLAZEI_SESSION_ANSWERER;
	options.stage = NULL;
	options.anew = false;
	options.whole = world->whole;
	options.id = ++world->sessions;
	node->session = session;
	if (blazei_session_new(&options, &session->answer) < 0)
		sim_session_close(node);
	world->events[SIM_ASK]++;
	sim_tell(world, "n%u asks n%u", number, from);
	return node->session != NULL;
}

/* Lets one side say its next message. */
static bool side_give(struct sim_world *world, struct sim_node *node, unsigned to)
{
	static uint64_t buffer[BLAZEI_SESSION_MESSAGE_MAX / 8];
	struct sim_session *session = node->session;
	struct sim_node *speaker = to == TO_ASKER ? &world->nodes[session->answerer] : node;
	size_t cap =
	        world->setting.seed % 2 ? BLAZEI_SESSION_MESSAGE_MIN : BLAZEI_SESSION_MESSAGE_MAX;
	struct sim_message *message;
	int64_t len;

	sim_memory_fail(world->fail_after);
	len = blazei_session_give(to == TO_ASKER ? session->answer : session->ask,
	                          sim_clock(world, speaker), buffer, cap);
	if (sim_memory_restore() && len == -ENOMEM) {
		world->fail_after = 0;
		world->counts[SIM_COUNT_allocations_failed]++;
		return true; /* there may be something: later */
	}
	if (len <= 0)
		return false;
	message = sim_alloc(sizeof(*message));
	message->data = sim_alloc((size_t)len);
	message->len = (size_t)len;
	memcpy(message->data, buffer, (size_t)len);
	if (session->first[to])
		session->last[to]->next = message;
	else
		session->first[to] = message;
	session->last[to] = message;
	return true;
}

void sim_session_damage(struct sim_world *world, struct sim_node *node, struct sim_random *random)
{
	struct sim_message *message;

	if (!node->session)
		return;
	message = node->session->first[sim_below(random, 2)];
	if (!message || message->len == 0)
		return;
	world->events[SIM_DAMAGE_MESSAGE]++;
	if (sim_below(random, 4) == 0)
		message->len = sim_below(random, (unsigned)message->len / 8) * 8;
	else
		((uint8_t *)message->data)[sim_below(random, (unsigned)message->len)] ^=
		        (uint8_t)(1u << sim_below(random, 8));
}

/* Merges the snapshot that is here whole. */
static void install(struct sim_world *world, struct sim_node *node)
{
	struct blazei_session_status status;
	uint32_t before[SIM_ORIGINS_MAX];
	unsigned attempt = 0;
	int rc;

	memcpy(before, node->vector, sizeof(before));
	blazei_session_status(node->session->ask, &status);
	do {
		sim_memory_starve(world, attempt++);
		rc = blazei_session_install(node->session->ask, sim_clock(world, node));
	} while (sim_memory_starved(world) && rc == -ENOMEM);
	world->counts[SIM_COUNT_snapshots] += rc == 0;
	sim_tell(world, "n%u installs the snapshot of n%u: %d", (unsigned)(node - world->nodes),
	         node->session->answerer, rc);
	if (rc == 0 && status.whole)
		sim_come_back(world, node, before);
	else if (rc == 0)
		sim_checkpoint(world, node);
	else
		sim_observe(world, node, 0);
}

/* What has become of it; over: it is closed. */
static void session_look(struct sim_world *world, struct sim_node *node)
{
	struct blazei_session_status status;
	unsigned number = (unsigned)(node - world->nodes);

	/* An answerer that fails hangs up, and the medium tells. */
	blazei_session_status(node->session->answer, &status);
	if (status.state == BLAZEI_SESSION_FAILED) {
		world->counts[SIM_COUNT_sessions_failed]++;
		sim_session_close(node);
		return;
	}
	blazei_session_status(node->session->ask, &status);
	if (status.state == BLAZEI_SESSION_STAGED) {
		install(world, node);
		blazei_session_status(node->session->ask, &status);
	}
	if (status.state == BLAZEI_SESSION_LIVE) {
		world->counts[SIM_COUNT_catch_ups]++;
		world->counts[SIM_COUNT_snapshots_resumed] += status.resumed;
		world->counts[SIM_COUNT_sessions_by_history] += status.txns > 0 && !status.chunks;
		node->behind = false;
		node->fetched += status.txns + status.chunks;
		sim_tell(world, "n%u has caught up with n%u: %llu transactions, %llu chunks",
		         number, node->session->answerer, (unsigned long long)status.txns,
		         (unsigned long long)status.chunks);
		sim_session_close(node);
	} else if (status.state >= BLAZEI_SESSION_REFUSED) {
		world->counts[SIM_COUNT_sessions_refused] += status.state == BLAZEI_SESSION_REFUSED;
		world->counts[SIM_COUNT_sessions_failed] += status.state == BLAZEI_SESSION_FAILED;
		sim_tell(world, "n%u's session with n%u ends: %d %s", number,
		         node->session->answerer, status.error,
		         blazei_session_reason_text(status.reason));
		sim_session_close(node);
	}
}

/* Hands over the next message in one direction. */
static bool side_take(struct sim_world *world, struct sim_node *node, unsigned to)
{
	struct sim_session *session = node->session;
	struct sim_message *message = session->first[to];
	struct sim_node *hearer = to == TO_ASKER ? node : &world->nodes[session->answerer];
	bool failed;

	if (!message)
		return false;
	session->first[to] = message->next;
	sim_memory_fail(world->fail_after);
	(void)blazei_session_take(to == TO_ASKER ? session->ask : session->answer,
	                          sim_clock(world, hearer), message->data, message->len);
	failed = sim_memory_restore();
	world->counts[SIM_COUNT_allocations_failed] += failed;
	world->fail_after = failed ? 0 : world->fail_after;
	/* What was ready when memory ran out is taken with what comes next. */
	if (failed)
		(void)blazei_replica_receive(hearer->replica, sim_clock(world, hearer), NULL, 0);
	sim_tell(world, "n%u hears a message of n%u's", (unsigned)(hearer - world->nodes),
	         to == TO_ASKER ? session->answerer : (unsigned)(node - world->nodes));
	sim_observe(world, hearer, SIM_UNKNOWN);
	return true;
}

bool sim_session_step(struct sim_world *world, struct sim_node *node, unsigned what)
{
	unsigned to = what % 2;
	bool moved;

	if (!node->session || world->violated)
		return false;
	if (!sim_linked(world, (unsigned)(node - world->nodes), node->session->answerer) ||
	    world->blocked[node->session->answerer][node - world->nodes])
		return false;
	moved = what / 2 ? side_take(world, node, to) : side_give(world, node, to);
	world->events[SIM_STEP] += moved;
	if (node->session && !world->violated)
		session_look(world, node);
	return moved;
}

uint64_t sim_catch_up(struct sim_world *world, struct sim_node *node, unsigned from)
{
	uint64_t before = node->fetched;
	bool moved = true;

	sim_session_close(node);
	if (!sim_ask(world, node, from))
		return 0;
	for (unsigned steps = 0; steps < STEPS_MAX && moved && node->session; steps++) {
		moved = false;
		for (unsigned what = 0; what < 4; what++)
			moved = sim_session_step(world, node, what) || moved;
	}
	if (node->session)
		sim_violate(world, "the session of n%u with n%u does not end",
		            (unsigned)(node - world->nodes), from);
	return node->fetched - before;
}
