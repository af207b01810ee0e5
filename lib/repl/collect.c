/* SPDX-License-Identifier: Apache-2.0 */
/* Collection: what is hidden, and what hides it, goes once it is below the frontier.
 *
 * WHY    A delete or a new life hides fields, as a write that had not seen it may still bring them
 *        back: a server's (alive, life) beats a client's delete that it did not know. Below the
 *        frontier there is no such write left (members.h, I1): what is not merged here has seen the
 *        delete. So of an existence below the frontier the fields of earlier lives go, and with a
 *        dead one the record itself.
 *
 *        Collection must not show, whoever collects first: a replica that has the tombstone still
 *        and one that has not must read the same after any write. Fields that go belong to a life
 *        that is over for good, and no decision about a write looks at them, as long as the
 *        existence stays. Where it goes too, a write that creates the record anew, at a replica
 *        that knows nothing of it, has to beat the tombstone where that is still kept, and must not
 *        use its lives again. So there is a floor: the highest life and the highest E that were
 *        collected anywhere. Such a write takes a life above the floor and inherits the floor's E.
 *        Its H is greater anyway, as it has seen the tombstone: its K is greater, everywhere. It
 *        is made known in a member's row before anything up to it is collected; it comes with a
 *        snapshot, as rows do. (Rejected: to tell a tombstone as overwritten by what says that it
 *        saw nothing; a register in a snapshot does not say what it saw.)
 *
 *        With one server P3 holds for such a write: the floor's E is the H of a server's write that
 *        is below the frontier, so one that it has not seen is younger, and has the greater E.
 *
 * CANNOT RESURRECT  A transaction up to the vector is dropped as a duplicate, whatever was
 *        collected of it. Any other has seen all that is below the frontier, or comes from a
 *        replica that is below, which is heard only after a snapshot and the re-issue of its
 *        writes.
 *
 * INVARIANTS
 *   I1   A field goes only if it, and the existence that hides it, are below the frontier, and its
 *        life is over: below an existence that is alive, or any of a dead one with which it goes.
 *   I2   A tombstone goes only if all of its fields may, and its lives and E are up to the floor.
 *        One of a life that no record can have come to stays: the floor never follows it.
 *        Fields without an existence, which were issued anew and wait for it (reissue.h), are as
 *        those of a dead one: what would bring it came before, or has seen them, and makes another
 *        life.
 *   I3   Of a dead existence that stays, fields of greater lives stay: the next life is above them.
 *   I4   `shape` changes with each call that dropped something (table.h).
 *
 * FAILURE  Nothing here fails but for the list of members, before anything is dropped. A store that
 *          keeps what collection left must have the frontier and the floor durable before. */
#include "lib/repl/core.h"

bool blazei_was_collected(struct blazei_replica *replica, const struct blazei_row *row, bool saw)
{
	/* It is told as a conflict where the list cannot be read. */
	if (blazei_members_refresh(replica) < 0)
		return false;
	return !saw && !blazei_row_alive(row) &&
	       blazei_below(&replica->members, row->origin, row->seq);
}

/* Drops a row's fields that may go; the number. */
static unsigned fields_drop(const struct blazei_members *members, struct blazei_row *row)
{
	struct blazei_entry *entry = blazei_row_first(row);
	unsigned dropped = 0;

	for (uint32_t left = row->entry_count; left > 0; left--) {
		struct blazei_entry *next = blazei_entry_next(entry);

		if (!blazei_hidden_below(members, row, entry) || entry->life > row->life) {
			entry = next;
			continue;
		}
		row->entry_count--;
		row->used -= (uint32_t)((uint8_t *)next - (uint8_t *)entry);
		memmove(entry, next, (size_t)(row->entries + row->used - (uint8_t *)entry));
		dropped++;
	}
	return dropped;
}

/* Whether the record itself may go; what floor that takes. */
static bool row_measure(const struct blazei_members *members, const struct blazei_row *row,
                        struct blazei_floor *ret_floor)
{
	const struct blazei_entry *entry = blazei_row_first(row);
	struct blazei_floor floor = { .life = row->life, .priority = row->priority };

	/* It holds nothing: a write that failed left it, or a snapshot that did not have it. */
	if (!(row->flags & BLAZEI_ROW_EXISTS) && row->entry_count == 0) {
		*ret_floor = (struct blazei_floor){ 0 };
		return true;
	}
	if (blazei_row_alive(row) ||
	    (row->flags & BLAZEI_ROW_EXISTS && !blazei_below(members, row->origin, row->seq)))
		return false;
	for (uint32_t i = 0; i < row->entry_count; i++) {
		if (entry->life == BLAZEI_LIFE_MAX ||
		    !blazei_below(members, entry->origin, entry->seq))
			return false;
		if (entry->life > floor.life)
			floor.life = entry->life;
		entry = blazei_entry_next(entry);
	}
	*ret_floor = floor;
	return true;
}

/* Whether the floor allows it; else it is wished for. */
static bool floor_reaches(struct blazei_replica *replica, const struct blazei_floor *floor)
{
	struct blazei_members *members = &replica->members;

	if (floor->life <= members->floor.life && floor->priority <= members->floor.priority)
		return true;
	/* Somebody made it up: a floor there would be nobody's to live above. */
	if (!blazei_life_plausible(replica, floor->life))
		return false;
	if (floor->life > members->wish.life)
		members->wish.life = floor->life;
	if (floor->priority > members->wish.priority)
		members->wish.priority = floor->priority;
	return false;
}

/* Goes through one record; the number of fields and tombstones dropped. Moves on unless the record
 * went and another one took its number. */
static unsigned row_sweep(struct blazei_replica *replica)
{
	struct blazei_members *members = &replica->members;
	struct blazei_row *row = replica->table.rows[members->sweep_next];
	uint64_t hash = blazei_table_hash(&replica->table, &row->id);
	struct blazei_floor floor;
	unsigned dropped;

	if (row_measure(members, row, &floor) && floor_reaches(replica, &floor)) {
		blazei_order_remove(&replica->order, &replica->table, row->number);
		blazei_table_remove(&replica->table, row);
		return 1;
	}
	members->sweep_next++;
	if (!blazei_below(members, row->origin, row->seq))
		return 0;
	blazei_table_write(&replica->table, hash);
	dropped = fields_drop(members, row);
	blazei_table_written(&replica->table, hash);
	if (dropped > 0)
		blazei_table_trim(&replica->table, row);
	return dropped;
}

int64_t blazei_replica_collect(struct blazei_replica *replica, unsigned rows)
{
	struct blazei_members *members = &replica->members;
	int64_t dropped = 0;

	if (blazei_members_refresh(replica) < 0)
		return -ENOMEM;
	/* Its cursor counts rows and entries. */
	if (replica->checkpoint)
		return 0;
	if (members->sweep_next == 0) {
		if (members->swept == members->version)
			return 0;
		members->sweeping = members->version;
	}
	for (; rows > 0 && members->sweep_next < replica->table.row_count; rows--)
		dropped += row_sweep(replica);
	if (members->sweep_next >= replica->table.row_count) {
		members->swept = members->sweeping;
		members->sweep_next = 0;
	}
	replica->table.shape += dropped > 0;
	return dropped;
}
