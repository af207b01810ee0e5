/* SPDX-License-Identifier: Apache-2.0 */
/* Retires incarnations, and reads vectors of those who have; see mark.h. */
#include "lib/repl/mark.h"

#include "lib/op/value.h"
#include "lib/repl/mark_core.h"
#include "lib/repl/session.h"

#define KEPT BLAZEI_ORIGIN_NONE

/* Of more records the pass takes too long to be made for a few indices. */
#define RETIRE_ROWS 65536u

static_assert(offsetof(struct blazei_session_entry, seq) ==
                      offsetof(struct blazei_vector_entry, seq),
              "spread reads both");

uint16_t blazei_mark_find(const struct blazei_vector *vector, const struct blaze_id *node)
{
	const struct blazei_origin mark = { .node = *node, .incarnation = BLAZEI_RETIRED };

	return vector->marks > 0 ? blazei_vector_find(vector, &mark) : BLAZEI_ORIGIN_NONE;
}

/* Vectors ------------------------------------------------------------------------------------ */

/* A vector of either kind. */
struct foreign {
	const uint8_t *at;
	size_t stride;
	unsigned count;
};

/* They may lie in a value, at any address. */
static struct blazei_vector_entry foreign_entry(const struct foreign *foreign, unsigned i)
{
	struct blazei_vector_entry entry;

	memcpy(&entry, foreign->at + i * foreign->stride, sizeof(entry));
	return entry;
}

/* The mark that a vector has of a node; 0: none. */
static uint64_t foreign_mark(const struct foreign *foreign, const struct blaze_id *node)
{
	uint64_t mark = 0;

	for (unsigned i = 0; i < foreign->count; i++) {
		const struct blazei_vector_entry entry = foreign_entry(foreign, i);

		if (blazei_origin_retired(&entry.origin) &&
		    blazei_id_equal(&entry.origin.node, node) && entry.seq > mark)
			mark = entry.seq;
	}
	return mark;
}

/* M3, where the vector has no mark as great. */
static bool heir_covered(const struct blazei_vector *vector, unsigned index, const uint64_t *seqs)
{
	const struct blazei_writer *mark = &vector->writers[index];
	const struct blazei_origin heir = {
		.node = vector->origins[index].node,
		.incarnation = mark->chain,
	};
	const uint16_t at = blazei_vector_find(vector, &heir);

	return at != BLAZEI_ORIGIN_NONE && seqs[at] >= mark->hlc;
}

void blazei_vector_spread(const struct blazei_vector *vector, const void *entries, size_t stride,
                          unsigned count, uint64_t *seqs)
{
	const struct foreign foreign = { entries, stride, count };
	unsigned marks = 0;

	for (unsigned i = 0; i < count; i++) {
		const struct blazei_vector_entry entry = foreign_entry(&foreign, i);
		uint16_t index = blazei_vector_find(vector, &entry.origin);

		marks += blazei_origin_retired(&entry.origin);
		if (index != BLAZEI_ORIGIN_NONE && entry.seq > seqs[index])
			seqs[index] = entry.seq;
	}
	/* M2. Where a mark here has no seq by now, the vector has none of that node. */
	for (unsigned i = 0; i < vector->count && marks > 0; i++)
		if (seqs[i] == 0 && vector->writers[i].seq > 0 &&
		    blazei_mark_covers(foreign_mark(&foreign, &vector->origins[i].node),
		                       vector->writers[i].hlc))
			seqs[i] = UINT64_MAX;
	for (unsigned i = 0; i < vector->count && vector->marks > 0; i++)
		if (blazei_origin_retired(&vector->origins[i]))
			seqs[i] = seqs[i] >= vector->writers[i].seq || heir_covered(vector, i, seqs)
			                  ? UINT64_MAX
			                  : 0;
}

/* Raises the seq of a stamp's origin that is at or below a limit of H. */
static inline void limit_reach(const uint64_t *limits, uint64_t *seqs, uint16_t origin,
                               uint64_t seq, uint64_t hlc)
{
	if (blazei_mark_covers(limits[origin], hlc) && seq > seqs[origin])
		seqs[origin] = seq;
}

static void limits_reach(const struct blazei_table *table, const uint64_t *limits, uint64_t *seqs)
{
	for (uint32_t i = 0; i < table->row_count; i++) {
		const struct blazei_row *row = table->rows[i];
		const struct blazei_entry *entry = blazei_row_first(row);

		if (row->flags & BLAZEI_ROW_EXISTS)
			limit_reach(limits, seqs, row->origin, row->seq, row->hlc);
		for (uint32_t k = 0; k < row->entry_count; k++) {
			limit_reach(limits, seqs, entry->origin, entry->seq, entry->hlc);
			entry = blazei_entry_next(entry);
		}
	}
}

void blazei_stamps_spread(const struct blazei_replica *replica, const void *entries, size_t stride,
                          unsigned count, uint64_t *seqs)
{
	const struct blazei_vector *vector = &replica->vector;
	const struct foreign foreign = { entries, stride, count };
	uint64_t limits[BLAZEI_PLACES_MAX] = { 0 };
	bool any = false;

	blazei_vector_spread(vector, entries, stride, count, seqs);
	for (unsigned i = 0; i < vector->count; i++)
		if (seqs[i] == 0 && vector->writers[i].seq > 0 &&
		    !blazei_origin_retired(&vector->origins[i])) {
			limits[i] = foreign_mark(&foreign, &vector->origins[i].node);
			any |= limits[i] > 0;
		}
	if (any)
		limits_reach(&replica->table, limits, seqs);
}

/* Retiring ----------------------------------------------------------------------------------- */

/* What stands for the incarnations of a node that are over. */
struct mark {
	struct blazei_origin heir;
	uint64_t seq;         /* of the heir's transaction */
	uint64_t hlc;         /* up to which they wrote */
	const uint8_t *items; /* what the heir says */
	unsigned item_count;
};

/* Nothing of it waits, and nothing is wrong with it: of an origin that is not the own one. */
static bool is_calm(const struct blazei_vector *vector, unsigned index)
{
	const struct blazei_writer *writer = &vector->writers[index];

	return writer->seq > 0 && writer->hlc > 0 && !writer->halted && !writer->left &&
	       !writer->first && !blazei_origin_retired(&vector->origins[index]);
}

/* Notes that a mark stands at the index, and is at least that. */
static void mark_set(struct blazei_vector *vector, unsigned index, const struct mark *mark)
{
	struct blazei_writer *writer = &vector->writers[index];

	if (mark->hlc > writer->seq)
		writer->seq = mark->hlc;
	writer->chain = mark->heir.incarnation;
	writer->hlc = mark->seq;
}

/* The index where the mark stands, or will, in the place of the incarnation at `index`; `to` names
 * none of another node. */
static uint16_t place_of(struct blazei_vector *vector, const uint16_t *to, unsigned index)
{
	uint16_t at = blazei_mark_find(vector, &vector->origins[index].node);

	for (unsigned i = 0; at == BLAZEI_ORIGIN_NONE && i < index; i++)
		if (to[i] == i)
			at = (uint16_t)i;
	return at == BLAZEI_ORIGIN_NONE ? (uint16_t)index : at;
}

static void stamp_move(const uint16_t *to, uint16_t *origin, uint64_t *seq, uint64_t hlc)
{
	if (to[*origin] == KEPT)
		return;
	*origin = to[*origin];
	*seq = hlc;
}

static void rows_move(struct blazei_table *table, const uint16_t *to)
{
	for (uint32_t i = 0; i < table->row_count; i++) {
		struct blazei_row *row = table->rows[i];
		struct blazei_entry *entry = blazei_row_first(row);

		if (row->flags & BLAZEI_ROW_EXISTS)
			stamp_move(to, &row->origin, &row->seq, row->hlc);
		for (uint32_t k = 0; k < row->entry_count; k++) {
			stamp_move(to, &entry->origin, &entry->seq, entry->hlc);
			entry = blazei_entry_next(entry);
		}
	}
}

/* An incarnation leaves the vector; its index becomes the mark's or nobody's. */
static void leave(struct blazei_replica *replica, unsigned index, bool marks)
{
	struct blazei_vector *vector = &replica->vector;
	struct blazei_members *members = &replica->members;
	const struct blazei_origin mark = {
		.node = vector->origins[index].node,
		.incarnation = BLAZEI_RETIRED,
	};

	blazei_vector_retract(vector, index);
	blazei_history_leave(&replica->history, index);
	if (index < members->width)
		members->frontier[index] = 0;
	blazei_vector_rename(vector, index, marks ? &mark : NULL);
}

/* Retires all that `to` names. False: a transaction is open. */
static bool retire(struct blazei_replica *replica, const uint16_t *to, struct blazei_opened *opened)
{
	blazei_table_shut(&replica->table);
	/* One that begins now reads no row before they are open again. */
	if (opened && !blazei_opened_none_shut(opened)) {
		blazei_table_open(&replica->table);
		return false;
	}
	blazei_reindex(replica);
	rows_move(&replica->table, to);
	blazei_table_open(&replica->table);
	for (unsigned i = 0; i < replica->vector.count; i++)
		if (to[i] != KEPT)
			leave(replica, i, to[i] == i);
	replica->table.shape++;
	replica->members.stale = true;
	return true;
}

static struct blazei_mark_item item_read(const uint8_t *items, unsigned i)
{
	struct blazei_mark_item item;

	memcpy(&item, items + i * sizeof(item), sizeof(item));
	return item;
}

/* Reads what an entry says; false where that is no list. */
static bool said_read(const struct blazei_entry *said, struct mark *ret_mark)
{
	size_t len;

	if (!said || blazei_value_type(said->value) != BLAZE_TYPE_BYTES)
		return false;
	ret_mark->items = blazei_decode_content(said->value, said->value_len, &len);
	ret_mark->item_count = (unsigned)(len / sizeof(struct blazei_mark_item));
	return true;
}

/* Whether it says that an incarnation is over, with that one as the last. */
static bool says(const struct mark *mark, uint64_t incarnation, uint64_t seq)
{
	for (unsigned i = 0; i < mark->item_count; i++) {
		const struct blazei_mark_item item = item_read(mark->items, i);

		if (item.incarnation == incarnation && item.seq == seq)
			return true;
	}
	return false;
}

/* What a node has said, where that is below the frontier. */
static bool said_below(struct blazei_replica *replica, const struct blaze_id *node,
                       struct mark *ret_mark)
{
	const struct blazei_entry *said = blazei_members_said(replica, node);

	if (!said_read(said, ret_mark) ||
	    blazei_origin_retired(&replica->vector.origins[said->origin]) ||
	    !blazei_below(&replica->members, said->origin, said->seq))
		return false;
	ret_mark->heir = replica->vector.origins[said->origin];
	ret_mark->seq = said->seq;
	ret_mark->hlc = 0;
	return true;
}

/* Notes where each incarnation goes that is over, in `to`; their number. */
static unsigned gather(struct blazei_replica *replica, struct mark *mark, uint16_t *to)
{
	struct blazei_vector *vector = &replica->vector;
	unsigned count = 0;

	for (unsigned i = 1; i < vector->count && i < replica->members.width; i++) {
		const struct blazei_origin *origin = &vector->origins[i];

		if (!is_calm(vector, i) || !blazei_id_equal(&origin->node, &mark->heir.node) ||
		    origin->incarnation == mark->heir.incarnation ||
		    vector->writers[i].seq != replica->members.frontier[i] ||
		    !says(mark, origin->incarnation, vector->writers[i].seq))
			continue;
		if (vector->writers[i].hlc > mark->hlc)
			mark->hlc = vector->writers[i].hlc;
		to[i] = place_of(vector, to, i);
		count++;
	}
	return count;
}

/* A transaction, as one depends on it. */
struct cause {
	const struct blazei_origin *origin;
	uint64_t seq;
	uint64_t hlc;
};

/* Whether one that is not merged here would count as merged, once what `to` names is retired. */
static bool would_cover(const struct blazei_vector *vector, const struct mark *mark,
                        const uint16_t *to, const struct cause *cause)
{
	const uint16_t index = blazei_vector_find(vector, cause->origin);

	if (!blazei_id_equal(&cause->origin->node, &mark->heir.node) ||
	    !blazei_mark_covers(mark->hlc, cause->hlc))
		return false;
	if (index == BLAZEI_ORIGIN_NONE || vector->writers[index].seq == 0)
		return !blazei_marked(vector, cause->origin, cause->hlc);
	return to[index] != KEPT && cause->seq > vector->writers[index].seq;
}

/* The same of one that waits, and of all that it waits for. */
static bool would_release(const struct blazei_vector *vector, const struct mark *mark,
                          const uint16_t *to, const struct blazei_txn_header *header)
{
	const struct blazei_origin *origins = blazei_txn_origins(header);
	const struct blazei_txn_dep *deps = blazei_txn_deps(header);
	struct cause cause = { origins, header->seq, header->hlc };
	bool would = would_cover(vector, mark, to, &cause);

	for (unsigned i = 0; i < header->dep_count && !would; i++) {
		cause = (struct cause){ &origins[deps[i].origin], deps[i].seq, deps[i].hlc };
		would = would_cover(vector, mark, to, &cause);
	}
	return would;
}

/* I7 */
static bool is_awaited(const struct blazei_vector *vector, const struct mark *mark,
                       const uint16_t *to)
{
	for (unsigned i = 0; i < vector->waiting_count; i++) {
		const struct blazei_writer *writer = &vector->writers[vector->waiting[i]];

		for (const struct blazei_parked *parked = writer->first; parked;
		     parked = parked->next)
			if (would_release(vector, mark, to, (const void *)parked->words))
				return true;
	}
	return false;
}

/* Retires what one node says is over; the number of its incarnations. */
static unsigned node_retire(struct blazei_replica *replica, const struct blaze_id *node,
                            struct blazei_opened *opened)
{
	struct blazei_vector *vector = &replica->vector;
	uint16_t *to = replica->map;
	struct mark mark;
	unsigned count;
	uint16_t at;

	if (!said_below(replica, node, &mark))
		return 0;
	for (unsigned i = 0; i < vector->count; i++)
		to[i] = KEPT;
	count = gather(replica, &mark, to);
	if (count == 0 || is_awaited(vector, &mark, to) || !retire(replica, to, opened))
		return 0;
	at = blazei_mark_find(vector, node);
	mark_set(vector, at, &mark);
	/* After a crash they come back as what they were. */
	vector->writers[at].durable = vector->writers[at].seq;
	return count;
}

int blazei_replica_retire(struct blazei_replica *replica, struct blazei_opened *opened)
{
	unsigned count = 0;

	if (blazei_members_refresh(replica) < 0)
		return -ENOMEM;
	for (unsigned i = 0; i < replica->members.count; i++)
		count += node_retire(replica, &replica->members.list[i].node, opened);
	return (int)count;
}

bool blazei_mark_waits(struct blazei_replica *replica)
{
	const struct blazei_entry *said =
	        blazei_members_said(replica, &replica->vector.origins[0].node);

	return said && said->origin == 0 && !blazei_below(&replica->members, 0, said->seq);
}

bool blazei_replica_retire_due(const struct blazei_replica *replica)
{
	const struct blazei_vector *vector = &replica->vector;

	return replica->table.row_count <= RETIRE_ROWS ||
	       vector->count - vector->free_count > vector->limit / 2;
}

static bool lists(const struct blazei_session_entry *entries, unsigned count,
                  const struct blazei_origin *origin)
{
	for (unsigned i = 0; i < count; i++)
		if (entries[i].seq > 0 && blazei_origin_equal(&entries[i].origin, origin))
			return true;
	return false;
}

void blazei_marks_adopt(struct blazei_replica *replica, const struct blazei_session_entry *entries,
                        unsigned count)
{
	struct blazei_vector *vector = &replica->vector;
	uint16_t *to = replica->map;
	bool any = false;

	for (unsigned i = 0; i < vector->count; i++)
		to[i] = KEPT;
	for (unsigned i = 0; i < count; i++) {
		const struct blazei_session_entry *entry = &entries[i];
		const struct mark mark = {
			.heir = { .node = entry->origin.node, .incarnation = entry->chain },
			.seq = entry->hlc,
			.hlc = entry->seq,
		};
		uint16_t at = blazei_vector_find(vector, &entry->origin);

		if (!blazei_origin_retired(&entry->origin) || at == BLAZEI_ORIGIN_NONE)
			continue;
		if (mark.hlc > vector->writers[at].seq)
			mark_set(vector, at, &mark);
		for (unsigned k = 1; k < vector->count; k++) {
			const struct blazei_writer *writer = &vector->writers[k];

			if (writer->seq == 0 || blazei_origin_retired(&vector->origins[k]) ||
			    writer->halted & BLAZEI_HALTED_QUARANTINED ||
			    !blazei_id_equal(&vector->origins[k].node, &entry->origin.node) ||
			    !blazei_mark_covers(mark.hlc, writer->hlc) ||
			    lists(entries, count, &vector->origins[k]))
				continue;
			blazei_park_drop(replica, k, UINT64_MAX);
			if (vector->writers[k].halted)
				blazei_resume(replica, k);
			to[k] = at;
			any = true;
		}
	}
	if (any)
		(void)retire(replica, to, NULL);
}

/* Saying ------------------------------------------------------------------------------------- */

unsigned blazei_mark_due(struct blazei_replica *replica, struct blazei_mark_item *entries)
{
	const struct blazei_vector *vector = &replica->vector;
	const struct blazei_members *members = &replica->members;
	const struct blazei_entry *said = blazei_members_said(replica, &vector->origins[0].node);
	struct mark last = { .item_count = 0 };
	const bool own = said_read(said, &last) && said->origin == 0;
	unsigned count = 0;
	bool due = false;

	for (unsigned i = 1; i < vector->count; i++) {
		const struct blazei_writer *writer = &vector->writers[i];

		if (writer->free || blazei_origin_retired(&vector->origins[i]) ||
		    !blazei_id_equal(&vector->origins[i].node, &vector->origins[0].node))
			continue;
		/* I2 */
		if (writer->hlc > replica->began_hlc)
			return 0;
		if (!is_calm(vector, i) || writer->seq != members->frontier[i])
			continue;
		entries[count++] = (struct blazei_mark_item){
			.incarnation = vector->origins[i].incarnation,
			.seq = writer->seq,
		};
		due = due || !own || !says(&last, vector->origins[i].incarnation, writer->seq);
	}
	return due ? count : 0;
}
