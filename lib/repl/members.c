/* SPDX-License-Identifier: Apache-2.0 */
/* The list of members: read from its rows, and written where something is due (see members.h).
 *
 * WHY    Merging must not allocate or parse for the list's sake: it only notes which row was
 *        written to, in a place for a few; more than those, and the table is gone through once. The
 *        next tick or question reads the rows. A report is found to be one while it is merged, and
 *        noted at its origin as a run of numbers, so that what an origin wrote beside reports is
 *        known without a mark on every transaction. */
#include <stdlib.h>

#include "lib/op/value.h"
#include "lib/repl/mark_core.h"

/* Reading ------------------------------------------------------------------------------------ */

void blazei_members_heard(struct blazei_replica *replica, const struct blazei_row *row,
                          const struct blazei_stamp *stamp)
{
	struct blazei_members *members = &replica->members;
	struct blazei_writer *writer = &replica->vector.writers[stamp->origin];

	members->stale = true;
	if (writer->report_last != stamp->seq) {
		if (writer->report_last == 0 || writer->report_last + 1 != stamp->seq)
			writer->report_first = stamp->seq;
		writer->report_last = stamp->seq;
	}
	for (unsigned i = 0; i < members->fresh_count; i++)
		if (blazei_id_equal(&members->fresh[i], &row->id))
			return;
	if (members->fresh_count == BLAZEI_MEMBERS_FRESH_MAX)
		members->rescan = true;
	else
		members->fresh[members->fresh_count++] = row->id;
}

void blazei_members_fini(struct blazei_members *members)
{
	for (unsigned i = 0; i < members->count; i++)
		free(members->list[i].durable);
	free(members->list);
	free(members->frontier);
	free(members->scratch);
	*members = (struct blazei_members){ 0 };
}

void blazei_members_reset(struct blazei_members *members)
{
	const struct blazei_floor floor = members->floor;

	blazei_members_fini(members);
	members->stale = true;
	members->rescan = true;
	members->floor = floor;
}

static struct blazei_member *member_find(const struct blazei_members *members,
                                         const struct blaze_id *node)
{
	for (unsigned i = 0; i < members->count; i++)
		if (blazei_id_equal(&members->list[i].node, node))
			return &members->list[i];
	return NULL;
}

static int member_add(struct blazei_members *members, const struct blaze_id *node)
{
	if (member_find(members, node))
		return 0;
	if (members->count == BLAZEI_MEMBERS_MAX) {
		members->overfull = true;
		return 0;
	}
	if (members->count == members->max) {
		unsigned max = members->max ? members->max * 2 : 8;
		struct blazei_member *list = realloc(members->list, max * sizeof(*list));

		if (!list)
			return -ENOMEM;
		members->list = list;
		members->max = max;
	}
	members->list[members->count++] = (struct blazei_member){ .node = *node, .fresh = true };
	return 0;
}

static bool row_is_member(const struct blazei_row *row)
{
	const struct blazei_entry *entry = blazei_row_first(row);

	for (uint32_t i = 0; i < row->entry_count; i++) {
		if (entry->life == BLAZEI_LIFE_MAX)
			return true;
		entry = blazei_entry_next(entry);
	}
	return false;
}

/* Takes up the rows that were written to for the first time. */
static int discover(struct blazei_replica *replica)
{
	struct blazei_members *members = &replica->members;

	for (uint32_t i = 0; members->rescan && i < replica->table.row_count; i++)
		if (row_is_member(replica->table.rows[i]) &&
		    member_add(members, &replica->table.rows[i]->id) < 0)
			return -ENOMEM;
	for (unsigned i = 0; i < members->fresh_count; i++)
		if (member_add(members, &members->fresh[i]) < 0)
			return -ENOMEM;
	members->rescan = false;
	members->fresh_count = 0;
	return 0;
}

static const struct blazei_row *member_row(const struct blazei_replica *replica,
                                           const struct blaze_id *node)
{
	return blazei_table_find(&replica->table, node, blazei_table_hash(&replica->table, node));
}

/* A register of a member's row, or NULL. */
static const struct blazei_entry *member_entry(struct blazei_replica *replica,
                                               const struct blazei_row *row, const char *name)
{
	uint32_t number = blazei_names_find(&replica->names, name, 1);
	const struct blazei_entry *entry = NULL;

	if (row && number != BLAZEI_NAME_NONE)
		entry = blazei_row_find(row, number, BLAZEI_LIFE_MAX);
	return entry && !(entry->flags & BLAZEI_ENTRY_UNSET) ? entry : NULL;
}

/* The same, where the member itself wrote it: nobody speaks for another. */
static const struct blazei_entry *own_entry(struct blazei_replica *replica,
                                            const struct blazei_row *row, const char *name)
{
	const struct blazei_entry *entry = member_entry(replica, row, name);

	if (entry && blazei_id_equal(&replica->vector.origins[entry->origin].node, &row->id))
		return entry;
	return NULL;
}

/* Raises seqs, which are as many as there are origins, to a vector that came as a value; others are
 * passed over, and so is what claims more than is merged here, on all of which its writer's word
 * depends. What is no vector counts for nothing. */
static void vector_read(const struct blazei_replica *replica, const struct blazei_entry *entry,
                        uint64_t *seqs)
{
	const struct blazei_vector *vector = &replica->vector;
	uint64_t *covered = replica->members.scratch;
	const uint8_t *content;
	size_t len;

	if (!entry || blazei_value_type(entry->value) != BLAZE_TYPE_BYTES)
		return;
	content = blazei_decode_content(entry->value, entry->value_len, &len);
	memset(covered, 0, vector->count * sizeof(*covered));
	blazei_vector_spread(vector, content, sizeof(struct blazei_vector_entry),
	                     (unsigned)(len / sizeof(struct blazei_vector_entry)), covered);
	for (unsigned i = 0; i < vector->count; i++) {
		if (covered[i] == UINT64_MAX)
			covered[i] = vector->writers[i].seq;
		if (covered[i] > seqs[i] && covered[i] <= vector->writers[i].seq)
			seqs[i] = covered[i];
	}
}

const struct blazei_entry *blazei_members_said(struct blazei_replica *replica,
                                               const struct blaze_id *node)
{
	return own_entry(replica, member_row(replica, node), "m");
}

bool blazei_life_plausible(const struct blazei_replica *replica, uint64_t life)
{
	uint64_t txns = 0;

	for (unsigned i = 0; i < replica->vector.count && txns < life; i++)
		if (replica->vector.writers[i].seq > UINT64_MAX - txns)
			txns = UINT64_MAX;
		else
			txns += replica->vector.writers[i].seq;
	return life <= txns && life <= BLAZEI_LIFE_MAX / 2;
}

static void floor_raise(struct blazei_floor *floor, const struct blazei_floor *to)
{
	if (to->life > floor->life)
		floor->life = to->life;
	if (to->priority > floor->priority)
		floor->priority = to->priority;
}

static void floor_read(struct blazei_replica *replica, const struct blazei_entry *entry)
{
	struct blazei_floor floor;
	const void *content;
	size_t len;

	if (!entry || blazei_value_type(entry->value) != BLAZE_TYPE_BYTES)
		return;
	content = blazei_decode_content(entry->value, entry->value_len, &len);
	if (len != sizeof(floor))
		return;
	memcpy(&floor, content, sizeof(floor));
	if (!blazei_life_plausible(replica, floor.life))
		return;
	/* An E is the H of a write that was merged before. */
	if (floor.priority > entry->hlc)
		floor.priority = entry->hlc;
	floor_raise(&replica->members.floor, &floor);
}

static bool member_says_joined(struct blazei_replica *replica, const struct blazei_row *row)
{
	const struct blazei_entry *entry = member_entry(replica, row, "s");

	return entry && blazei_value_type(entry->value) == BLAZE_TYPE_INT &&
	       blazei_decode_int(entry->value, entry->value_len) == 1;
}

static void member_read(struct blazei_replica *replica, struct blazei_member *member)
{
	const struct blazei_row *row = member_row(replica, &member->node);
	const struct blazei_entry *report = own_entry(replica, row, "v");
	const struct blazei_entry *frontier = own_entry(replica, row, "f");
	bool joined = member_says_joined(replica, row);

	vector_read(replica, report, member->durable);
	vector_read(replica, frontier, replica->members.frontier);
	if (frontier && frontier->hlc > replica->members.told_hlc)
		replica->members.told_hlc = frontier->hlc;
	floor_read(replica, own_entry(replica, row, "c"));
	if (report && report->hlc != member->hlc) {
		member->hlc = report->hlc;
		member->silent_ns = 0;
	}
	if (joined != member->joined && report)
		blazei_effect_event(replica,
		                    joined ? BLAZEI_EFFECT_MEMBER_JOINED
		                           : BLAZEI_EFFECT_MEMBER_EXPELLED,
		                    report->origin, report->seq);
	member->joined = joined;
}

/* Room for all origins known. */
static int widen(struct blazei_members *members, unsigned width)
{
	uint64_t *seqs;

	if (width > members->width) {
		seqs = realloc(members->scratch, width * sizeof(*seqs));
		if (!seqs)
			return -ENOMEM;
		members->scratch = seqs;
		seqs = realloc(members->frontier, width * sizeof(*seqs));
		if (!seqs)
			return -ENOMEM;
		memset(seqs + members->width, 0, (width - members->width) * sizeof(*seqs));
		members->frontier = seqs;
		members->width = width;
	}
	for (unsigned i = 0; i < members->count; i++) {
		seqs = realloc(members->list[i].durable, members->width * sizeof(*seqs));
		if (!seqs)
			return -ENOMEM;
		memset(seqs, 0, members->width * sizeof(*seqs));
		members->list[i].durable = seqs;
	}
	return 0;
}

static bool reaches(const uint64_t *seqs, const uint64_t *bound, unsigned width)
{
	for (unsigned i = 0; i < width; i++)
		if (seqs[i] < bound[i])
			return false;
	return true;
}

int blazei_members_refresh(struct blazei_replica *replica)
{
	struct blazei_members *members = &replica->members;

	if (!members->stale)
		return 0;
	if (discover(replica) < 0 || widen(members, replica->vector.count) < 0)
		return -ENOMEM;
	for (unsigned i = 0; i < members->count; i++)
		member_read(replica, &members->list[i]);
	/* What a mark stands for is below. */
	for (unsigned i = 0; i < replica->vector.count && replica->vector.marks > 0; i++)
		if (blazei_origin_retired(&replica->vector.origins[i]))
			members->frontier[i] = replica->vector.writers[i].seq;
	for (unsigned i = 0; i < members->count; i++) {
		struct blazei_member *member = &members->list[i];

		for (unsigned k = 0; k < replica->vector.count && replica->vector.marks > 0; k++)
			if (blazei_origin_retired(&replica->vector.origins[k]))
				member->durable[k] = replica->vector.writers[k].seq;
		member->counted = member->joined &&
		                  reaches(member->durable, members->frontier, members->width);
	}
	members->stale = false;
	members->version++;
	return 0;
}

/* Writing ------------------------------------------------------------------------------------ */

/* The work of one tick; vectors are by origin index. */
struct tick {
	struct blazei_replica *replica;
	const struct blazei_members_tick *asked;
	struct blazei_member *self; /* NULL: never joined */
	uint64_t *durable;
	uint64_t *reach; /* what may be made known as frontier */
	struct blazei_vector_entry *entries;
	struct blazei_floor floor;     /* likewise */
	struct blazei_mark_item *over; /* earlier incarnations, where that is to be said */
	unsigned over_count;
	uint8_t heads[4][BLAZEI_VALUE_HEAD_MAX];
	struct blazei_write_op ops[5];
	unsigned op_count;
	unsigned head_count;
};

/* The last transaction of an origin that is more than a report; what came as state may be one. */
static uint64_t payload_seq(const struct blazei_writer *writer)
{
	if (writer->report_last != 0 && writer->report_last == writer->seq)
		return writer->report_first - 1;
	return writer->seq;
}

/* Whether `now` covers transactions other than reports that `told` does not. */
static bool worth_telling(const struct tick *tick, const uint64_t *now, const uint64_t *told)
{
	for (unsigned i = 0; i < tick->replica->members.width; i++)
		if (now[i] > told[i] && told[i] < payload_seq(&tick->replica->vector.writers[i]))
			return true;
	return false;
}

static void op_add(struct tick *tick, const struct blaze_id *node, const char *name)
{
	const struct blazei_row *row = member_row(tick->replica, node);
	uint32_t number = blazei_names_find(&tick->replica->names, name, 1);
	struct blazei_write_op *op = &tick->ops[tick->op_count++];

	*op = (struct blazei_write_op){ .name = name, .name_len = 1 };
	if (row && number != BLAZEI_NAME_NONE)
		op->seen = blazei_row_find(row, number, BLAZEI_LIFE_MAX);
}

/* Gives the op bytes as its value. */
static void op_bytes(struct tick *tick, const void *data, size_t len)
{
	uint8_t *head = tick->heads[tick->head_count++];
	struct blazei_write_op *op = &tick->ops[tick->op_count - 1];

	op->body = data;
	op->body_len = (uint32_t)len;
	op->head = head;
	op->head_len = (uint32_t)blazei_encode_bytes_head(head, BLAZEI_VALUE_HEAD_MAX, len);
}

/* Encodes a vector from entry *at of the memory on, and moves that. */
static void op_vector(struct tick *tick, const uint64_t *seqs, unsigned *at)
{
	const struct blazei_vector *vector = &tick->replica->vector;
	unsigned first = *at;

	for (unsigned i = 0; i < tick->replica->members.width; i++)
		if (seqs[i] > 0)
			tick->entries[(*at)++] =
			        (struct blazei_vector_entry){ vector->origins[i], seqs[i] };
	op_bytes(tick, tick->entries + first, (*at - first) * sizeof(*tick->entries));
}

static int commit(struct tick *tick, const struct blaze_id *node, struct blazei_txn_view *ret_txn)
{
	struct blazei_write_group group = {
		.id = node,
		.row = member_row(tick->replica, node),
		.ops = tick->ops,
		.op_count = tick->op_count,
		.life = BLAZEI_LIFE_MAX,
	};
	struct blazei_write_group *groups = &group;

	return blazei_commit(tick->replica, tick->asked->now_ns, &groups, 1, ret_txn);
}

static void op_state(struct tick *tick, const struct blaze_id *node, bool joined)
{
	static const uint8_t states[2] = { 0x00, 0x01 }; /* CBOR: themselves */

	op_add(tick, node, "s");
	tick->ops[tick->op_count - 1].body = &states[joined];
	tick->ops[tick->op_count - 1].body_len = 1;
}

/* Whether more could be collected if a higher floor were known. */
static bool floor_wished(const struct blazei_members *members)
{
	return members->wish.life > members->floor.life ||
	       members->wish.priority > members->floor.priority;
}

/* Writes what is durable here, that this node joined, and a frontier, as is due. */
static int report(struct tick *tick, bool join, bool frontier, struct blazei_txn_view *ret_txn)
{
	const struct blaze_id *node = &tick->replica->vector.origins[0].node;
	unsigned at = 0;
	int rc;

	/* Ascending by name. */
	if (floor_wished(&tick->replica->members)) {
		tick->floor = tick->replica->members.floor;
		floor_raise(&tick->floor, &tick->replica->members.wish);
		op_add(tick, node, "c");
		op_bytes(tick, &tick->floor, sizeof(tick->floor));
	}
	if (frontier) {
		op_add(tick, node, "f");
		op_vector(tick, tick->reach, &at);
	}
	if (tick->over_count > 0) {
		op_add(tick, node, "m");
		op_bytes(tick, tick->over, tick->over_count * sizeof(*tick->over));
	}
	if (join)
		op_state(tick, node, true);
	op_add(tick, node, "v");
	op_vector(tick, tick->durable, &at);
	rc = commit(tick, node, ret_txn);
	if (rc == 0)
		tick->replica->members.unreported_ns = 0;
	return rc;
}

/* By origin index; what is not known here is left out. */
static void vector_spread(const struct blazei_replica *replica,
                          const struct blazei_vector_view *vector, uint64_t *seqs)
{
	memset(seqs, 0, replica->members.width * sizeof(*seqs));
	blazei_vector_spread(&replica->vector, vector->entries, sizeof(*vector->entries),
	                     vector->count, seqs);
	/* A mark is below the frontier, and nothing is beyond what is merged here. */
	for (unsigned i = 0; i < replica->vector.count; i++)
		if (seqs[i] > replica->vector.writers[i].seq ||
		    blazei_origin_retired(&replica->vector.origins[i]))
			seqs[i] = replica->vector.writers[i].seq;
}

static void lower(uint64_t *seqs, const uint64_t *bound, unsigned width)
{
	for (unsigned i = 0; i < width; i++)
		if (bound[i] < seqs[i])
			seqs[i] = bound[i];
}

/* What may be made known: durable here and at all members counted, seen by all who are heard; and
 * never less than what is known. */
static void reach_measure(struct tick *tick, uint64_t *scratch)
{
	const struct blazei_members *members = &tick->replica->members;
	size_t bytes = members->width * sizeof(*tick->reach);

	memcpy(tick->reach, tick->durable, bytes);
	for (unsigned i = 0; i < members->count; i++)
		if (members->list[i].counted && &members->list[i] != tick->self)
			lower(tick->reach, members->list[i].durable, members->width);
	for (unsigned i = 0; i < tick->asked->hold_count; i++) {
		const struct blazei_vector_view *hold = &tick->asked->holds[i];

		if (hold->count == 0 ||
		    blazei_replica_vector_seq(tick->replica, &hold->entries[0].origin) <
		            hold->entries[0].seq)
			memset(scratch, 0, bytes);
		else
			vector_spread(tick->replica, hold, scratch);
		lower(tick->reach, scratch, members->width);
	}
	for (unsigned i = 0; i < members->width; i++)
		if (members->frontier[i] > tick->reach[i])
			tick->reach[i] = members->frontier[i];
}

/* Counts the silence of those who keep back the frontier. The first who has been silent for too
 * long, or NULL. */
static struct blazei_member *silence_count(struct tick *tick, uint64_t elapsed_ns)
{
	struct blazei_members *members = &tick->replica->members;
	struct blazei_member *silent = NULL;

	for (unsigned i = 0; i < members->count; i++) {
		struct blazei_member *member = &members->list[i];

		if (!member->joined || member == tick->self ||
		    !worth_telling(tick, tick->durable, member->durable)) {
			member->silent_ns = 0;
		} else if (member->fresh) {
			/* Silent since before this run: the last day of it is waited for. */
			member->silent_ns = blazei_passed_ns(tick->asked->now_ns, member->hlc);
			if (member->silent_ns > BLAZEI_MEMBER_SILENCE_NS - BLAZEI_MEMBER_STEP_NS)
				member->silent_ns =
				        BLAZEI_MEMBER_SILENCE_NS - BLAZEI_MEMBER_STEP_NS;
		} else {
			member->silent_ns += elapsed_ns;
		}
		member->fresh = false;
		if (member->silent_ns >= BLAZEI_MEMBER_SILENCE_NS)
			silent = member;
	}
	return silent;
}

static int tick_run(struct tick *tick, uint64_t elapsed_ns, struct blazei_txn_view *ret_txn)
{
	struct blazei_members *members = &tick->replica->members;
	const struct blazei_member *silent = silence_count(tick, elapsed_ns);
	const struct blazei_member *self = tick->self;
	bool frontier;

	if (!self || !self->joined) {
		if ((self && !tick->asked->rejoin) ||
		    !reaches(tick->durable, members->frontier, members->width))
			return -ESTALE;
		return report(tick, true, false, ret_txn);
	}
	if (silent) {
		op_state(tick, &silent->node, false);
		return commit(tick, &silent->node, ret_txn);
	}
	if (members->unreported_ns < BLAZEI_MEMBER_REPORT_NS && !tick->asked->at_once)
		return 0;
	tick->over_count = blazei_mark_due(tick->replica, tick->over);
	frontier = worth_telling(tick, tick->reach, members->frontier) ||
	           (tick->asked->at_once && blazei_mark_waits(tick->replica));
	frontier = frontier && !members->overfull;
	if (!frontier && !floor_wished(members) && tick->over_count == 0 &&
	    !worth_telling(tick, tick->durable, self->durable))
		return 0;
	return report(tick, false, frontier, ret_txn);
}

/* What has passed since the last tick, within reason. */
static uint64_t elapsed(struct blazei_members *members, uint64_t now_ns)
{
	uint64_t passed = members->ticked_ns ? blazei_passed_ns(now_ns, members->ticked_ns) : 0;

	if (passed > BLAZEI_MEMBER_STEP_NS)
		passed = BLAZEI_MEMBER_STEP_NS;
	members->ticked_ns = now_ns;
	members->unreported_ns += passed;
	return passed;
}

int blazei_replica_members_tick(struct blazei_replica *replica,
                                const struct blazei_members_tick *asked,
                                struct blazei_txn_view *ret_txn)
{
	struct blazei_members *members = &replica->members;
	struct tick tick = { .replica = replica, .asked = asked };
	uint64_t *memory;
	unsigned width;
	int rc;

	*ret_txn = (struct blazei_txn_view){ 0 };
	if (asked->durable.count == 0)
		return 0;
	/* Origins have come that no report told of. */
	members->stale |= members->width < replica->vector.count;
	rc = blazei_members_refresh(replica);
	if (rc < 0)
		return rc;
	width = members->width;
	memory =
	        calloc(width, 3 * sizeof(*memory) + 2 * sizeof(*tick.entries) + sizeof(*tick.over));
	if (!memory)
		return -ENOMEM;
	tick.entries = (struct blazei_vector_entry *)memory;
	tick.durable = (uint64_t *)(tick.entries + 2 * (size_t)width);
	tick.reach = tick.durable + width;
	tick.over = (struct blazei_mark_item *)(tick.reach + 2 * (size_t)width);
	tick.self = member_find(members, &replica->vector.origins[0].node);
	vector_spread(replica, &asked->durable, tick.durable);
	if (asked->open) {
		vector_spread(replica, asked->open, tick.reach);
		lower(tick.durable, tick.reach, width);
	}
	reach_measure(&tick, tick.reach + width);
	rc = tick_run(&tick, elapsed(members, asked->now_ns), ret_txn);
	free(memory);
	return rc;
}
