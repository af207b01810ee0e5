/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions with those who do not keep to the rules: a stranger that took what a node has, and
 * another one that asks it while messages are changed on the way, with all hashes put right. Both
 * are thrown away then. Whatever comes, a session that ended stays so, and no register is above the
 * vector; and strangers that do not fit are refused. */
#include "lib/repl/session_wire.h"
#include "lib/repl/stage.h"
#include "tests/sim/sim.h"

#define STEPS_MAX  200u
#define ROUNDS_MAX 4u
#define STAGE_MAX  (UINT64_C(1) << 20)

/* Puts the hashes of what a part carries whole right. */
static void part_seal(struct blazei_session_header *header)
{
	struct blazei_session_part *part = (struct blazei_session_part *)header;
	struct blazei_txn_header *inner = (struct blazei_txn_header *)part->bytes;
	uint64_t left;

	if (header->bytes < sizeof(*part) + sizeof(*inner))
		return;
	left = header->bytes - sizeof(*part);
	if (inner->bytes >= sizeof(*inner) && inner->bytes <= left && inner->bytes % 8 == 0)
		inner->chain = blazei_txn_hash(inner);
}

/* Changes a message in a place or two; its length then. */
static size_t message_change(void *data, size_t len, struct sim_random *random)
{
	static const uint64_t numbers[] = { 0, 1, 2, 7, 255, 4096, UINT32_MAX, UINT64_MAX };
	struct blazei_session_header *header = data;
	uint8_t *bytes = data;

	for (unsigned i = 1 + sim_below(random, 2); i > 0; i--) {
		size_t words = len / 8;
		/* Mostly near the start, where what is said of the rest stands. */
		size_t at =
		        8 * (size_t)sim_below(random, (unsigned)(words < 16 || sim_below(random, 3)
		                                                         ? (words < 16 ? words : 16)
		                                                         : words));
		size_t size = (size_t)1 << sim_below(random, 4);

		at += size * sim_below(random, 8 / (unsigned)size);
		if (sim_below(random, 2))
			bytes[at] ^= (uint8_t)(1u << sim_below(random, 8));
		else
			memcpy(bytes + at, &numbers[sim_below(random, 8)], size);
	}
	if (sim_below(random, 10) == 0)
		len = sizeof(*header) + 8 * (size_t)sim_below(random, (unsigned)(len / 8 - 3));
	header->bytes = (uint32_t)len;
	if (sim_below(random, 8)) {
		part_seal(header);
		header->hash = blazei_session_hash(header);
	}
	return len;
}

/* Lets the two talk; with `random`, what they say is changed now and then. */
static void converse(struct sim_world *world, struct blazei_session *const sides[2],
                     uint64_t now_ns, struct sim_random *random)
{
	static uint64_t buffer[BLAZEI_SESSION_MESSAGE_MAX / 8];
	struct blazei_session_status status;
	bool moved = true;

	for (unsigned step = 0; step < STEPS_MAX && moved; step++) {
		moved = false;
		for (unsigned i = 0; i < 2; i++) {
			int64_t len = blazei_session_give(sides[i], now_ns, buffer,
			                                  BLAZEI_SESSION_MESSAGE_MIN);
			size_t size = (size_t)len;

			if (len <= 0)
				continue;
			moved = true;
			if (random && sim_below(random, 4) == 0)
				size = message_change(buffer, size, random);
			(void)blazei_session_take(sides[!i], now_ns, buffer, size);
			blazei_session_status(sides[0], &status);
			if (status.state == BLAZEI_SESSION_STAGED)
				(void)blazei_session_install(sides[0], now_ns);
		}
	}
	blazei_session_status(sides[0], &status);
	if (moved && !random)
		sim_violate(world, "a session with a stranger does not end");
	world->counts[SIM_COUNT_hostile_failed] += status.state == BLAZEI_SESSION_FAILED;
	world->counts[SIM_COUNT_hostile_refused] += status.state == BLAZEI_SESSION_REFUSED;
}

/* One session of `ask` with `answer`. */
static void session_run(struct sim_world *world, struct blazei_session_options *options,
                        struct blazei_replica *answer, uint64_t now_ns, struct sim_random *random)
{
	struct blazei_session_options other = *options;
	struct blazei_session *sides[2] = { NULL, NULL };

	options->id = 1;
	options->side = BLAZEI_SESSION_ASKER;
	other.id = 2;
	other.side = BLAZEI_SESSION_ANSWERER;
	other.replica = answer;
	other.stage = NULL;
	options->refuse = BLAZEI_SESSION_NO_REASON;
	/* Two that do not fit, now and then. */
	if (random && sim_below(random, 8) == 0)
		other.refuse =
		        sim_below(random, 2) ? BLAZEI_SESSION_BUSY : BLAZEI_SESSION_NOT_ALLOWED;
	if (random && sim_below(random, 8) == 0)
		options->database.bytes[0] = 1;
	if (random && sim_below(random, 8) == 0)
		other.database.bytes[0] = 2;
	if (blazei_session_new(options, &sides[0]) == 0 &&
	    blazei_session_new(&other, &sides[1]) == 0)
		converse(world, sides, now_ns, random);
	blazei_session_free(sides[0]);
	blazei_session_free(sides[1]);
}

/* For every register of a replica, its seq is at most that of its origin in the vector. */
static void exact_check(struct sim_world *world, const struct blazei_replica *replica)
{
	for (uint32_t i = 0; i < replica->table.row_count; i++) {
		const struct blazei_row *row = replica->table.rows[i];
		const struct blazei_entry *entry = blazei_row_first(row);
		bool above = (row->flags & BLAZEI_ROW_EXISTS) &&
		             row->seq > replica->vector.writers[row->origin].seq;

		for (uint32_t k = 0; k < row->entry_count; k++) {
			above = above || entry->seq > replica->vector.writers[entry->origin].seq;
			entry = blazei_entry_next(entry);
		}
		if (above)
			sim_violate(world, "a stranger holds what its vector does not cover");
	}
}

static struct blazei_replica *stranger_new(struct sim_world *world, unsigned number, bool fits)
{
	struct blazei_replica_options options = {
		.policy = world->setting.policy,
		.hash_seed = number,
		.history_bytes = number % 2 ? 4096 : 0,
	};
	struct blazei_replica *replica = NULL;

	options.self.node.bytes[0] = 0xe0;
	options.self.node.bytes[1] = (uint8_t)number;
	options.self.incarnation = 1 + number;
	if (!fits)
		options.policy = options.policy == BLAZE_POLICY_LWW ? BLAZE_POLICY_SERVER_PRIORITY
		                                                    : BLAZE_POLICY_LWW;
	if (blazei_replica_new(&options, &replica) < 0)
		sim_violate(world, "no memory");
	return replica;
}

void sim_hostile(struct sim_world *world, struct sim_node *node, struct sim_random *random)
{
	const uint64_t now_ns = sim_clock(world, node);
	struct blazei_session_options options = { .whole = sim_below(random, 2) };
	struct blazei_replica *one = stranger_new(world, 1 + sim_below(random, 2), true);
	/* Of another policy, or the first one's double, now and then. */
	struct blazei_replica *two = stranger_new(world, 3 - 2 * (sim_below(random, 12) == 0),
	                                          sim_below(random, 12) != 0);

	world->events[SIM_HOSTILE]++;
	if (blazei_stage_new(STAGE_MAX, &options.stage) == 0) {
		options.replica = one;
		session_run(world, &options, node->replica, now_ns, NULL);
		blazei_stage_clear(options.stage);
		options.replica = two;
		for (unsigned i = 0; i < ROUNDS_MAX && !world->violated; i++) {
			session_run(world, &options, one, now_ns, random);
			exact_check(world, one);
			exact_check(world, two);
		}
		blazei_stage_free(options.stage);
	}
	blazei_replica_free(one);
	blazei_replica_free(two);
}
