/* SPDX-License-Identifier: Apache-2.0 */
/* A replica comes back: from what a store kept, and under another name where it must.
 *
 * WHY    A store keeps a vector with chains, the registers as of then, and a log of what was merged
 *        since, own and foreign transactions in the order of merging. Restoring takes the first,
 *        blazei_state_install the second (whatever the clock, as it was merged before), and replay
 *        the third. Without a vector and registers, replay alone does. What a crash cut off the log
 *        comes again from others, under the old incarnation, which is then an origin like any other
 *        (identity.h decides).
 *
 *        Someone may hold what this replica, under its own origin, has not written: its own future,
 *        where a backup was restored with all its tokens, or another one's doing. To go on would
 *        give one number twice. So that is told, and whoever runs the replica renews it before the
 *        next write. (Rejected: to renew at once and here; the new incarnation has to be random,
 *        and durable, first.)
 *
 * INVARIANTS
 *   I1   A transaction of the own origin is merged by a local write, by replay, or where it was
 *        forgotten and comes back with a snapshot (stage.h); never otherwise.
 *   I2   Replay leaves the same registers, vector and dependencies of the next write as the first
 *        time. A restored vector makes the next write depend on all of it, which is more, and true.
 *   I3   After a renewal every stamp and the vector name the old origin as before; only its index
 *        is another one. The next write depends on the old origin's last one. Copies of rows that
 *        transactions in the making hold are not reached: these note when indices changed, and
 *        are mended when they are committed (writeset.c).
 *
 * FAILURE Renewal fails before it changes anything. Restoring and replay that fail leave a replica
 *         that is good for nothing but to be freed. */
#include "lib/repl/core.h"

int blazei_replica_restore(struct blazei_replica *replica,
                           const struct blazei_vector_detail *details, unsigned count)
{
	static const struct blazei_vector_entry nobody;

	for (unsigned i = 0; i < count; i++) {
		int index;
		struct blazei_writer *writer;

		/* A place that was nobody's. */
		if (memcmp(&details[i].entry, &nobody, sizeof(nobody)) == 0)
			continue;
		index = blazei_vector_intern(&replica->vector, &details[i].entry.origin);
		if (index < 0)
			return index;
		writer = &replica->vector.writers[index];
		writer->seq = details[i].entry.seq;
		writer->chain = details[i].chain;
		writer->chain_known = details[i].chain != 0 || writer->seq == 0;
		writer->hlc = details[i].hlc;
		/* Of a mark it is something else, and H is in its place (mark.h). */
		blazei_hlc_observe(&replica->clock, blazei_origin_retired(&details[i].entry.origin)
		                                            ? details[i].entry.seq
		                                            : details[i].hlc);
		if (writer->seq > 0)
			blazei_vector_advanced(&replica->vector, (unsigned)index);
	}
	/* Up to where others had seen the own writes is not kept: all, as far as is known. */
	for (unsigned i = 0; i < replica->vector.count; i++)
		replica->vector.writers[i].heard = replica->vector.writers[0].seq;
	replica->began_seq = replica->vector.writers[0].seq;
	blazei_history_clear(&replica->history);
	return 0;
}

void blazei_replica_vector_detail(const struct blazei_replica *replica, unsigned index,
                                  struct blazei_vector_detail *ret_detail)
{
	const struct blazei_writer *writer;

	assert(index < replica->vector.count);
	writer = &replica->vector.writers[index];
	ret_detail->entry.origin = replica->vector.origins[index];
	ret_detail->entry.seq = writer->seq;
	ret_detail->chain = writer->chain_known ? writer->chain : 0;
	ret_detail->hlc = writer->hlc;
}

uint64_t blazei_replica_hlc(const struct blazei_replica *replica)
{
	return replica->clock.last;
}

int blazei_replica_replay(struct blazei_replica *replica, const struct blazei_txn_view *txns,
                          unsigned count)
{
	uint64_t applied = replica->applied;
	uint64_t updates = replica->applied_updates;
	int rc;

	replica->replaying = true;
	rc = blazei_replica_receive(replica, UINT64_MAX, txns, count);
	replica->replaying = false;
	replica->applied = applied;
	replica->applied_updates = updates;
	replica->began_seq = replica->vector.writers[0].seq;
	return rc;
}

bool blazei_replica_displaced(const struct blazei_replica *replica)
{
	return replica->displaced;
}

void blazei_displace(struct blazei_replica *replica, uint64_t seq)
{
	if (replica->displaced)
		return;
	replica->displaced = true;
	blazei_effect_event(replica, BLAZEI_EFFECT_ORIGIN_DISPLACED, 0, seq);
}

void blazei_node_twice(const struct blazei_replica *replica, unsigned writer, uint64_t seq,
                       uint64_t hlc)
{
	if (!replica->replaying && hlc > replica->began_hlc &&
	    blazei_id_equal(&replica->vector.origins[writer].node,
	                    &replica->vector.origins[0].node))
		blazei_effect_event(replica, BLAZEI_EFFECT_NODE_TWICE, writer, seq);
}

/* Every stamp of origin 0 becomes one of origin `index`. Who reads without the lock waits for it:
 * transactions take stamps for what they have seen. */
static void stamps_rename(struct blazei_replica *replica, uint16_t index)
{
	struct blazei_table *table = &replica->table;

	blazei_table_shut(table);
	blazei_reindex(replica);
	for (uint32_t i = 0; i < table->row_count; i++) {
		struct blazei_row *row = table->rows[i];
		struct blazei_entry *entry = blazei_row_first(row);

		if ((row->flags & BLAZEI_ROW_EXISTS) && row->origin == 0)
			row->origin = index;
		for (uint32_t k = 0; k < row->entry_count; k++) {
			if (entry->origin == 0)
				entry->origin = index;
			entry = blazei_entry_next(entry);
		}
	}
	blazei_table_open(table);
}

int blazei_replica_renew(struct blazei_replica *replica, uint64_t now_ns,
                         const struct blazei_origin *self)
{
	struct blazei_vector *vector = &replica->vector;
	int index;

	if (blazei_vector_find(vector, self) != BLAZEI_ORIGIN_NONE || blazei_origin_retired(self))
		return -EEXIST;
	index = blazei_vector_intern(vector, self);
	if (index < 0)
		return index;
	blazei_vector_swap_self(vector, (unsigned)index);
	if (vector->writers[index].seq > 0)
		blazei_vector_advanced(vector, (unsigned)index);
	for (unsigned i = 0; i < vector->count; i++)
		vector->writers[i].heard = 0;
	blazei_members_reset(&replica->members);
	stamps_rename(replica, (uint16_t)index);
	blazei_history_clear(&replica->history);
	replica->displaced = false;
	replica->began_seq = 0;
	replica->began_hlc = blazei_hlc_next(&replica->clock, now_ns);
	return 0;
}
