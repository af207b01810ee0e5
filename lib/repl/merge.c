/* SPDX-License-Identifier: Apache-2.0 */
/* A transaction into the table: for each register the greater stamp stays.
 *
 * WHY    Two walks. The first finds or adds each record and makes room for every value, and is all
 *        that can fail. The second writes, and cannot: so a transaction is there whole or not at
 *        all (core.h, I1). Where there is but one register, both walks are one, unless
 *        changes are told. A loser's room is made too; it is used by the next field that grows.
 *
 * The greater stamp stays, never the later arrival: that is what makes replicas converge. */
#include "lib/repl/core.h"

/* Groups whose rows are fetched at once; a transaction of as many is looked up but once. */
#define CHUNK 32u

/* The transaction at hand. */
struct merge {
	struct blazei_replica *replica;
	const struct blazei_origin *origins; /* of the transaction */
	struct blazei_stamp stamp;           /* of all its registers, but for the priority */
	int64_t updates;
	const struct blazei_row *row; /* whose change is being told */
	const uint8_t *end;           /* behind the transaction */
};

uint32_t blazei_merge_need(const struct blazei_entry *entry, uint32_t value_len)
{
	uint32_t want = blazei_padded(value_len);
	uint32_t room;

	if (!entry)
		return (uint32_t)sizeof(*entry) + want;
	room = blazei_entry_room(entry);
	return want > room ? want - room : 0;
}

void blazei_merge_field(struct blazei_replica *replica, struct blazei_row *row,
                        struct blazei_entry *entry, const struct blazei_merge_value *value)
{
	if (entry) {
		struct blazei_stamp old = {
			.priority = entry->priority,
			.hlc = entry->hlc,
			.seq = entry->seq,
			.origin = entry->origin,
		};

		if (!blazei_stamp_beats(&value->stamp, &old, replica->vector.origins))
			return;
		if (entry->value_len != value->value_len)
			blazei_row_resize(row, entry, value->value_len);
	} else {
		entry = blazei_row_append(row, value->name, value->life, value->value_len);
	}
	entry->priority = value->stamp.priority;
	entry->hlc = value->stamp.hlc;
	entry->seq = value->stamp.seq;
	entry->origin = value->stamp.origin;
	entry->flags &= BLAZEI_ENTRY_SLACK;
	if (value->unset)
		entry->flags |= BLAZEI_ENTRY_UNSET;
	blazei_short_copy(entry->value, value->value, value->value_len);
}

void blazei_merge_existence(struct blazei_replica *replica, struct blazei_row *row,
                            const struct blazei_stamp *stamp, uint32_t life, bool alive)
{
	struct blazei_stamp old = {
		.priority = row->priority,
		.hlc = row->hlc,
		.seq = row->seq,
		.origin = row->origin,
	};

	if ((row->flags & BLAZEI_ROW_EXISTS) &&
	    !blazei_stamp_beats(stamp, &old, replica->vector.origins))
		return;
	replica->visible += (uint64_t)alive - (uint64_t)blazei_row_alive(row);
	row->priority = stamp->priority;
	row->hlc = stamp->hlc;
	row->seq = stamp->seq;
	row->origin = stamp->origin;
	row->life = life;
	row->flags = (uint16_t)(BLAZEI_ROW_EXISTS | (alive ? BLAZEI_ROW_ALIVE : 0));
}

/* Room ----------------------------------------------------------------------------------------*/

/* Bytes that a group's registers take beyond what the row's entries have; interns their names.
 * Negative: no memory. */
static int64_t group_need(struct blazei_replica *replica, const struct blazei_row *row,
                          const struct blazei_group_view *group)
{
	const uint8_t *at = group->registers;
	struct blazei_finder finder;
	int64_t need = 0;

	if (row)
		blazei_finder_begin(&finder, &replica->filter, replica->table.seed, row,
		                    group->head->register_count);
	for (unsigned i = 0; i < group->head->register_count; i++) {
		const struct blazei_txn_register *reg = (const struct blazei_txn_register *)at;
		uint32_t name = blazei_names_intern(&replica->names, reg->bytes, reg->name_len);
		const struct blazei_entry *entry = NULL;

		if (name == BLAZEI_NAME_NONE)
			return -ENOMEM;
		if (row)
			entry = blazei_finder_find(&finder, name, group->head->life);
		need += blazei_merge_need(entry, reg->value_len);
		at += blazei_register_bytes(reg);
	}
	return need;
}

/* The group's row, with room for the group and for `ahead` bytes that groups before it take of the
 * same row. NULL: no memory. Gives the bytes needed. */
static struct blazei_row *group_prepare(struct blazei_replica *replica,
                                        const struct blazei_group_view *group, uint64_t hash,
                                        uint64_t *ahead)
{
	struct blazei_table *table = &replica->table;
	struct blazei_row *row = blazei_table_find(table, &group->head->id, hash);
	int64_t need = group_need(replica, row, group);

	if (need < 0)
		return NULL;
	*ahead += (uint64_t)need;
	if (!row)
		return blazei_table_add(table, &group->head->id, hash, *ahead);
	return blazei_table_room(table, row, hash, *ahead);
}

/* Merging ------------------------------------------------------------------------------------ */

/* Whether what the writer saw is not what is here. */
static bool conflicts(const struct merge *merge, uint64_t seen_hlc, uint16_t seen_origin,
                      const struct blazei_stamp *here)
{
	if (seen_hlc != here->hlc)
		return true;
	/* One of the two may have retired the incarnation (mark.h, M4). */
	return seen_hlc != 0 && merge->replica->map[seen_origin] != here->origin &&
	       !blazei_id_equal(&merge->origins[seen_origin].node,
	                        &merge->replica->vector.origins[here->origin].node);
}

static void existence_merge(struct merge *merge, struct blazei_row *row,
                            const struct blazei_group_view *group)
{
	const struct blazei_txn_existence *op = group->existence;
	const struct blazei_stamp here = { .hlc = row->hlc, .origin = row->origin };
	bool alive = group->head->flags & BLAZEI_GROUP_ALIVE;

	merge->stamp.priority = op->priority;
	if (blazei_unlikely(conflicts(merge, op->seen_hlc, op->seen_origin, &here)) &&
	    !blazei_was_collected(merge->replica, row, op->seen_hlc != 0))
		blazei_conflict_existence(merge->replica, row, &merge->stamp, group->head->life,
		                          alive);
	if (blazei_row_alive(row) && (!alive || group->head->life != row->life))
		blazei_conflict_hiding(merge->replica, row,
		                       &(const struct blazei_conflict_end){
		                               .stamp = merge->stamp,
		                               .life = group->head->life,
		                               .alive = alive,
		                       });
	blazei_merge_existence(merge->replica, row, &merge->stamp, group->head->life, alive);
}

/* Where a register goes. */
struct place {
	struct blazei_row *row;
	struct blazei_entry *entry; /* NULL: the field has none yet */
	uint32_t name;
	uint32_t life;
	bool ended; /* the transaction itself writes that the life is over */
};

static bool hides(const struct blazei_row *row, uint32_t life)
{
	return !blazei_row_alive(row) || row->life != life;
}

/* A register that no reader sees: it belongs to a life that is over, or to the list of members. */
static void hidden_note(struct merge *merge, const struct place *place,
                        const struct blazei_merge_value *value)
{
	if (place->life == BLAZEI_LIFE_MAX)
		blazei_members_heard(merge->replica, place->row, &value->stamp);
	else if (!place->ended)
		blazei_conflict_hidden(merge->replica, place->row, value);
}

static void register_merge(struct merge *merge, const struct place *place,
                           const struct blazei_txn_register *reg)
{
	struct blazei_stamp here = { 0 };
	struct blazei_merge_value value = {
		.stamp = merge->stamp,
		.value = reg->bytes + reg->name_len,
		.value_len = reg->value_len,
		.name = place->name,
		.life = place->life,
		.unset = reg->flags & BLAZEI_REGISTER_UNSET,
	};

	if (place->entry) {
		here.hlc = place->entry->hlc;
		here.origin = place->entry->origin;
	}
	value.stamp.priority = reg->priority;
	if (blazei_unlikely(hides(place->row, place->life)))
		hidden_note(merge, place, &value);
	else if (blazei_unlikely(conflicts(merge, reg->seen_hlc, reg->seen_origin, &here)))
		blazei_conflict_field(merge->replica, place->row, place->entry, &value);
	blazei_merge_field(merge->replica, place->row, place->entry, &value);
}

static const uint8_t *group_end(const struct blazei_group_view *group)
{
	const uint8_t *at = group->registers;

	for (unsigned i = 0; i < group->head->register_count; i++)
		at += blazei_register_bytes((const struct blazei_txn_register *)at);
	return at;
}

/* Whether a later group of the transaction, of the same record, has its existence: groups ascend by
 * life, so whoever wrote that knew that the life of this one is over (restamp.c). */
static bool end_follows(const struct merge *merge, const struct blazei_group_view *group)
{
	struct blazei_group_view next = *group;

	for (const uint8_t *at = group_end(group); at < merge->end; at = group_end(&next)) {
		blazei_group_read(at, &next);
		if (!blazei_id_equal(&next.head->id, &group->head->id))
			return false;
		if (next.existence)
			return true;
	}
	return false;
}

/* Returns where the group ends. */
static const uint8_t *group_merge(struct merge *merge, struct blazei_row *row,
                                  const struct blazei_group_view *group)
{
	struct place place = { .row = row, .life = group->head->life };
	struct blazei_replica *replica = merge->replica;
	const uint8_t *at = group->registers;
	struct blazei_finder finder;

	blazei_finder_begin(&finder, &replica->filter, replica->table.seed, row,
	                    group->head->register_count);
	merge->updates += group->head->register_count;
	if (group->existence) {
		existence_merge(merge, row, group);
		merge->updates++;
	}
	place.ended = blazei_unlikely(hides(row, place.life)) && end_follows(merge, group);
	for (unsigned i = 0; i < group->head->register_count; i++) {
		const struct blazei_txn_register *reg = (const struct blazei_txn_register *)at;

		place.name = blazei_names_find(&replica->names, reg->bytes, reg->name_len);
		place.entry = blazei_finder_find(&finder, place.name, place.life);
		register_merge(merge, &place, reg);
		if (!place.entry)
			blazei_finder_added(&finder, place.name, place.life);
		at += blazei_register_bytes(reg);
	}
	return at;
}

/* What the first walk finds out about a group for the second one. */
struct plan {
	const uint8_t *at;
	uint64_t hash;
	struct blazei_row *row;
	struct blazei_entry *entry; /* where single: of its register, or NULL */
	uint32_t name;              /* likewise */
	bool single;                /* one register, and no other group of this id */
};

/* Finds or adds the row of a group of one register, with room for it: looked up only once. 0 or
 * -ENOMEM. */
static int single_prepare(struct blazei_replica *replica, const struct blazei_group_view *group,
                          struct plan *plan)
{
	const struct blazei_txn_register *reg =
	        (const struct blazei_txn_register *)group->registers;
	struct blazei_table *table = &replica->table;
	const struct blaze_id *id = &group->head->id;
	uint32_t need;

	plan->row = blazei_table_find(table, id, plan->hash);
	plan->name = blazei_names_intern(&replica->names, reg->bytes, reg->name_len);
	plan->entry = NULL;
	plan->single = true;
	if (plan->name == BLAZEI_NAME_NONE)
		return -ENOMEM;
	if (plan->row)
		plan->entry = blazei_row_find(plan->row, plan->name, group->head->life);
	need = blazei_merge_need(plan->entry, reg->value_len);
	if (!plan->row) {
		plan->row = blazei_table_add(table, id, plan->hash, need);
	} else if (need > plan->row->cap - plan->row->used) {
		plan->row = blazei_table_room(table, plan->row, plan->hash, need);
		if (plan->row && plan->entry)
			plan->entry = blazei_row_find(plan->row, plan->name, group->head->life);
	}
	return plan->row ? 0 : -ENOMEM;
}

static void single_merge(struct merge *merge, const struct blazei_group_view *group,
                         const struct plan *plan)
{
	const struct place place = {
		.row = plan->row,
		.entry = plan->entry,
		.name = plan->name,
		.life = group->head->life,
	};

	if (group->existence)
		existence_merge(merge, place.row, group);
	register_merge(merge, &place, (const struct blazei_txn_register *)group->registers);
	merge->updates += 1 + (group->existence != NULL);
}

/* Tells the change of the row at hand and begins with the next; NULL: there is none. */
static void row_turn(struct merge *merge, const struct blazei_row *row)
{
	if (row == merge->row)
		return;
	if (merge->row)
		blazei_change_close(merge->replica, merge->row, &merge->stamp);
	if (row)
		blazei_change_open(merge->replica, row);
	merge->row = row;
}

/* Several groups ----------------------------------------------------------------------------- */

/* Notes where up to CHUNK groups start, and fetches what will be wanted of them: all places in the
 * index first, then all rows, so that the misses overlap. Moves *at behind them and returns how
 * many there are. Inlined, as what it calls: see table.h. */
static inline __attribute__((always_inline)) uint32_t chunk_plan(const struct blazei_table *table,
                                                                 const uint8_t **at, uint32_t left,
                                                                 struct plan plans[CHUNK])
{
	uint32_t count = left < CHUNK ? left : CHUNK;
	struct blazei_group_view group;

	for (uint32_t i = 0; i < count; i++) {
		blazei_group_read(*at, &group);
		plans[i].at = *at;
		plans[i].hash = blazei_table_hash(table, &group.head->id);
		blazei_table_prefetch(table, plans[i].hash);
		*at = group_end(&group);
	}
	for (uint32_t i = 0; i < count; i++)
		blazei_table_prefetch_row(table, plans[i].hash);
	return count;
}

static inline const struct blaze_id *plan_id(const struct plan *plan)
{
	return &((const struct blazei_txn_group *)plan->at)->id;
}

/* How far the first walk is. */
struct walk {
	const struct blaze_id *last; /* of the group before; NULL: there is none */
	uint64_t ahead;              /* bytes that the groups before took of its row */
	uint32_t left;               /* groups that follow */
};

/* Makes room for the groups of a chunk. 0 or -ENOMEM. */
static int chunk_prepare(struct blazei_replica *replica, struct plan *plans, uint32_t count,
                         struct walk *walk)
{
	struct blazei_group_view group;

	for (uint32_t i = 0; i < count; i++) {
		struct plan *plan = &plans[i];
		const struct blaze_id *id = plan_id(plan);
		bool same = walk->last && blazei_id_equal(walk->last, id);
		bool alone = !same && (i + 1 < count ? !blazei_id_equal(plan_id(plan + 1), id)
		                                     : walk->left == 0);

		walk->last = id;
		blazei_group_read(plan->at, &group);
		if (alone && group.head->register_count == 1) {
			if (single_prepare(replica, &group, plan) < 0)
				return -ENOMEM;
			continue;
		}
		if (!same)
			walk->ahead = 0;
		plan->single = false;
		plan->row = group_prepare(replica, &group, plan->hash, &walk->ahead);
		if (!plan->row)
			return -ENOMEM;
		/* The row may have moved from where the groups before found it. */
		for (uint32_t j = i; same && j > 0 && blazei_id_equal(plan_id(&plans[j - 1]), id);
		     j--)
			plans[j - 1].row = plan->row;
	}
	return 0;
}

static void chunk_merge(struct merge *merge, const struct plan *plans, uint32_t count)
{
	struct blazei_group_view group;

	for (uint32_t i = 0; i < count; i++) {
		blazei_group_read(plans[i].at, &group);
		if (blazei_watched(merge->replica))
			row_turn(merge, plans[i].row);
		if (plans[i].single)
			single_merge(merge, &group, &plans[i]);
		else
			group_merge(merge, plans[i].row, &group);
	}
}

/* Readers without the lock see several groups all at once, or one (peek.h, I3). */
static void groups_begin(struct blazei_table *table, const struct plan *first, uint32_t count)
{
	if (count > 1)
		blazei_table_shut(table);
	else
		blazei_table_write(table, first->hash);
}

static void groups_end(struct blazei_table *table, const struct plan *first, uint32_t count)
{
	if (count > 1)
		blazei_table_open(table);
	else
		blazei_table_written(table, first->hash);
}

/* All groups get their room before the first is merged. The rows of many are looked up twice. */
static int64_t groups_merge(struct merge *merge, const uint8_t *start, uint32_t count)
{
	struct blazei_table *table = &merge->replica->table;
	struct plan plans[CHUNK];
	struct walk walk = { .left = count };
	const uint8_t *at = start;
	uint32_t n = 0;

	while (walk.left > 0) {
		n = chunk_plan(table, &at, walk.left, plans);
		walk.left -= n;
		if (chunk_prepare(merge->replica, plans, n, &walk) < 0)
			return -ENOMEM;
	}
	at = start;
	groups_begin(table, &plans[0], count);
	for (uint32_t done = 0; done < count; done += n) {
		if (count > CHUNK) {
			n = chunk_plan(table, &at, count - done, plans);
			for (uint32_t i = 0; i < n; i++) {
				plans[i].row =
				        blazei_table_find(table, plan_id(&plans[i]), plans[i].hash);
				plans[i].single = false;
			}
		}
		chunk_merge(merge, plans, n);
	}
	groups_end(table, &plans[0], count);
	if (blazei_watched(merge->replica)) {
		row_turn(merge, NULL);
		blazei_changes_end(merge->replica);
	}
	return merge->updates;
}

int64_t blazei_merge_txn(struct blazei_replica *replica, const struct blazei_txn_header *header,
                         unsigned writer)
{
	const struct blazei_origin *origins = blazei_txn_origins(header);
	const struct blazei_txn_dep *deps = blazei_txn_deps(header);
	struct merge merge = {
		.replica = replica,
		.origins = origins,
		.stamp = { .hlc = header->hlc, .seq = header->seq, .origin = (uint16_t)writer },
		.end = (const uint8_t *)header + header->bytes,
	};
	struct blazei_group_view group;
	struct plan plan;
	uint64_t ahead = 0;

	replica->map[0] = (uint16_t)writer;
	for (unsigned i = 1; i < header->origin_count; i++)
		replica->map[i] = blazei_vector_find(&replica->vector, &origins[i]);
	for (unsigned i = 0; i < header->dep_count; i++)
		if (replica->map[deps[i].origin] == 0)
			replica->vector.writers[writer].heard = deps[i].seq;
	if (header->record_count > 1 || blazei_watched(replica))
		return groups_merge(&merge, blazei_txn_groups(header), header->record_count);
	blazei_group_read(blazei_txn_groups(header), &group);
	plan.hash = blazei_table_hash(&replica->table, &group.head->id);
	if (group.head->register_count == 1) {
		if (single_prepare(replica, &group, &plan) < 0)
			return -ENOMEM;
		blazei_table_write(&replica->table, plan.hash);
		single_merge(&merge, &group, &plan);
		blazei_table_written(&replica->table, plan.hash);
		return merge.updates;
	}
	plan.row = group_prepare(replica, &group, plan.hash, &ahead);
	if (!plan.row)
		return -ENOMEM;
	blazei_table_write(&replica->table, plan.hash);
	group_merge(&merge, plan.row, &group);
	blazei_table_written(&replica->table, plan.hash);
	return merge.updates;
}
