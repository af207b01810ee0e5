/* SPDX-License-Identifier: Apache-2.0 */
/* Removes what a whole snapshot does not have, though its vector covers it: collected elsewhere.
 *
 * WHY    Below the frontier registers are dropped for good. A replica that was away until then has
 *        them still, and would bring them back to everyone: a deleted record would rise again. The
 *        snapshot that it has to take first has every register that is left; so what it does not
 *        have, and would have by its vector, was dropped.
 *
 * INVARIANTS
 *   I1   What the snapshot's vector does not cover stays: it is younger, or nobody else has it.
 *   I2   Marks are only set while a snapshot is installed. */
#include "lib/repl/stage.h"

struct pruner {
	struct blazei_replica *replica;
	uint64_t seqs[BLAZEI_ORIGINS_MAX]; /* that are covered, by origin index */
};

static bool covered(const struct pruner *pruner, uint16_t origin, uint64_t seq)
{
	return seq <= pruner->seqs[origin];
}

static void existence_prune(const struct pruner *pruner, struct blazei_row *row)
{
	bool marked = row->flags & BLAZEI_ROW_MARKED;

	row->flags &= (uint16_t)~BLAZEI_ROW_MARKED;
	if (marked || !(row->flags & BLAZEI_ROW_EXISTS) || !covered(pruner, row->origin, row->seq))
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
		if (marked || !covered(pruner, entry->origin, entry->seq)) {
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

	for (unsigned i = 0; i < count; i++) {
		uint16_t index = blazei_vector_find(&replica->vector, &entries[i].origin);

		if (index != BLAZEI_ORIGIN_NONE)
			pruner.seqs[index] = entries[i].seq;
	}
	rows_prune(&pruner);
	replica->table.shape++;
}
