/* SPDX-License-Identifier: Apache-2.0 */
/* Removes what a whole snapshot does not have, though its vector covers it: collected elsewhere.
 *
 * WHY    Below the frontier registers are dropped for good. A replica that was away until then has
 *        them still, and would bring them back to everyone: a deleted record would rise again. The
 *        snapshot that it has to take first has every register that is left; so what it does not
 *        have, and would have by its vector, was dropped.
 *
 *        And the other way round, where that replica is to hold the snapshot and nothing beside it
 *        (reissue.h): what its vector does not cover is forgotten, and the vector goes back to it.
 *
 * INVARIANTS
 *   I1   Pruning leaves what the snapshot's vector does not cover: it is younger, or nobody else
 *        has it. Forgetting leaves what it does cover.
 *   I2   Marks are only set while a snapshot is installed.
 *   I3   What is forgotten is in no vector: it is taken again like anything new. */
#include "lib/repl/mark_core.h"
#include "lib/repl/stage.h"

struct pruner {
	struct blazei_replica *replica;
	bool beyond;                      /* drop what is not covered, else what is */
	uint64_t seqs[BLAZEI_PLACES_MAX]; /* that are covered, by origin index */
};

/* Whether what has no mark goes. */
static bool drops(const struct pruner *pruner, uint16_t origin, uint64_t seq)
{
	return (seq <= pruner->seqs[origin]) != pruner->beyond;
}

static void existence_prune(const struct pruner *pruner, struct blazei_row *row)
{
	bool marked = row->flags & BLAZEI_ROW_MARKED;

	row->flags &= (uint16_t)~BLAZEI_ROW_MARKED;
	if (marked || !(row->flags & BLAZEI_ROW_EXISTS) || !drops(pruner, row->origin, row->seq))
		return;
	pruner->replica->visible -= blazei_row_alive(row);
	row->flags = 0;
	row->priority = 0;
	row->hlc = 0;
	row->seq = 0;
	row->origin = 0;
	row->life = 0;
}

static void entries_prune(const struct pruner *pruner, struct blazei_row *row)
{
	struct blazei_entry *entry = blazei_row_first(row);
	uint32_t count = row->entry_count;

	for (uint32_t i = 0; i < count; i++) {
		struct blazei_entry *next = blazei_entry_next(entry);
		bool marked = entry->flags & BLAZEI_ENTRY_MARKED;

		entry->flags &= (uint16_t)~BLAZEI_ENTRY_MARKED;
		if (marked || !drops(pruner, entry->origin, entry->seq)) {
			entry = next;
			continue;
		}
		row->entry_count--;
		row->used -= (uint32_t)((uint8_t *)next - (uint8_t *)entry);
		memmove(entry, next, (size_t)(row->entries + row->used - (uint8_t *)entry));
	}
}

static void row_prune(const struct pruner *pruner, struct blazei_row *row)
{
	const bool watched = blazei_watched(pruner->replica);

	if (watched)
		blazei_change_open(pruner->replica, row);
	existence_prune(pruner, row);
	entries_prune(pruner, row);
	if (!watched)
		return;
	blazei_change_close(pruner->replica, row, NULL);
	blazei_changes_end(pruner->replica);
}

static void rows_prune(const struct pruner *pruner)
{
	const struct blazei_table *table = &pruner->replica->table;

	for (uint32_t i = 0; i < table->row_count; i++)
		row_prune(pruner, table->rows[i]);
}

void blazei_prune(struct blazei_replica *replica, const struct blazei_session_entry *entries,
                  unsigned count)
{
	struct pruner pruner = { .replica = replica };

	blazei_stamps_spread(replica, entries, sizeof(*entries), count, pruner.seqs);
	/* What is quarantined here was not asked for: that it is absent says nothing. */
	for (unsigned i = 0; i < replica->vector.count && replica->quarantined > 0; i++)
		if (replica->vector.writers[i].halted & BLAZEI_HALTED_QUARANTINED)
			pruner.seqs[i] = 0;
	rows_prune(&pruner);
	replica->table.shape++;
}

/* Sets the vector back to the entries. */
static void vector_forget(struct blazei_vector *vector, const struct pruner *pruner,
                          const struct blazei_session_entry *entries, unsigned count)
{
	for (unsigned i = 0; i < vector->count; i++) {
		struct blazei_writer *writer = &vector->writers[i];

		if (pruner->seqs[i] == UINT64_MAX)
			continue;
		writer->seq = 0;
		writer->chain = 0;
		writer->chain_known = true;
		writer->hlc = 0;
		writer->report_first = 0;
		writer->report_last = 0;
	}
	for (unsigned i = 0; i < count; i++) {
		uint16_t index = blazei_vector_find(vector, &entries[i].origin);

		/* Retired here, and so is what it has. */
		if (index == BLAZEI_ORIGIN_NONE || blazei_origin_retired(&vector->origins[index]) ||
		    pruner->seqs[index] == UINT64_MAX)
			continue;
		vector->writers[index].hlc = entries[i].hlc;
		vector->writers[index].seq = entries[i].seq;
		vector->writers[index].chain = entries[i].chain;
		vector->writers[index].chain_known = entries[i].seq == 0 || entries[i].chain != 0;
	}
}

void blazei_forget(struct blazei_replica *replica, const struct blazei_session_entry *entries,
                   unsigned count)
{
	struct pruner pruner = { .replica = replica, .beyond = true };

	/* What a mark covers of an incarnation that goes beyond it goes with that: the snapshot is
	 * merged again, and has it. */
	blazei_vector_spread(&replica->vector, entries, sizeof(*entries), count, pruner.seqs);
	/* Of a quarantined one each keeps what it has. */
	for (unsigned i = 0; i < replica->vector.count; i++)
		if (replica->vector.writers[i].halted & BLAZEI_HALTED_QUARANTINED)
			pruner.seqs[i] = UINT64_MAX;
	vector_forget(&replica->vector, &pruner, entries, count);
	rows_prune(&pruner);
	replica->table.shape++;
	blazei_history_clear(&replica->history);
	blazei_members_reset(&replica->members);
}
