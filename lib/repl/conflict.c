/* SPDX-License-Identifier: Apache-2.0 */
/* Conflicts: two writes neither of which had seen the other, one of which loses.
 *
 * WHY    Each op names what it overwrote, (H, origin). Dependencies come first, so a writer that
 *        had seen what is here would have named it or something greater, which would then be here:
 *        where the two differ, the writer had not seen what is here, and what is here can't have
 *        seen a write that arrives only now. This costs a comparison per op where it is equal, as
 *        it nearly always is; all below is for the rest.
 *
 *        Existence hides fields, so a conflict has two more forms. A field that arrives for a life
 *        that is over was written without knowledge of its end: always noticed. (Who leaves its
 *        name writes such fields anew: of those whose end it writes in the same go nothing is
 *        told.) An end that arrives names the existence that it saw but not the fields. It had not
 *        seen those whose H is not below its own; and of this replica's own fields those above what
 *        its writer is known to have seen (the dependencies of its transactions say that). The rest
 *        may be known or not and is not told; the other replica, which has the end first, always
 *        notices. But an end that a transaction brings here depends on what came since it touched
 *        the record, without having seen it: of that the replica where it is committed tells, which
 *        knows.
 *
 *        A snapshot does not say what its registers had overwritten, but it is a cut: what it
 *        covers has seen nothing that it does not cover. So a register of it that is new here and
 *        one here that it does not cover know nothing of each other (state.c).
 *
 * INVARIANTS
 *   I1   Two writes of one origin conflict only where the later one belongs to a transaction that
 *        had touched the record before the earlier one came: it names something else as seen.
 *   I2   What is told is known to be a conflict; what is not may be one only where said above, or
 *        where a register came as state before the transaction that wrote it. Where a name is left,
 *        a field of a life that another had ended is told to those who have that end, whether the
 *        one who writes it anew had seen it or not. */
#include "lib/repl/mark_core.h"

static struct blazei_stamp row_stamp(const struct blazei_row *row)
{
	return (struct blazei_stamp){
		.priority = row->priority,
		.hlc = row->hlc,
		.seq = row->seq,
		.origin = row->origin,
	};
}

static struct blazei_stamp entry_stamp(const struct blazei_entry *entry)
{
	return (struct blazei_stamp){
		.priority = entry->priority,
		.hlc = entry->hlc,
		.seq = entry->seq,
		.origin = entry->origin,
	};
}

static struct blazei_effect_side side(const struct blazei_replica *replica,
                                      const struct blazei_stamp *stamp, uint32_t life)
{
	return (struct blazei_effect_side){
		.origin = &replica->vector.origins[stamp->origin],
		.priority = stamp->priority,
		.hlc = stamp->hlc,
		.seq = stamp->seq,
		.life = life,
	};
}

static struct blazei_effect_side existence_side(const struct blazei_replica *replica,
                                                const struct blazei_stamp *stamp, uint32_t life,
                                                bool alive)
{
	struct blazei_effect_side result = side(replica, stamp, life);

	result.existence = true;
	result.alive = alive;
	return result;
}

static struct blazei_effect_side entry_side(const struct blazei_replica *replica,
                                            const struct blazei_entry *entry)
{
	const struct blazei_stamp stamp = entry_stamp(entry);
	struct blazei_effect_side result = side(replica, &stamp, entry->life);

	result.unset = entry->flags & BLAZEI_ENTRY_UNSET;
	result.value = entry->value;
	result.value_len = entry->value_len;
	return result;
}

static struct blazei_effect_side value_side(const struct blazei_replica *replica,
                                            const struct blazei_merge_value *value)
{
	struct blazei_effect_side result = side(replica, &value->stamp, value->life);

	result.unset = value->unset;
	result.value = value->value;
	result.value_len = value->value_len;
	return result;
}

static void tell(struct blazei_replica *replica, const struct blaze_id *id, uint32_t name,
                 struct blazei_effect_conflict *conflict)
{
	replica->conflicts++;
	if (!replica->sink.conflict)
		return;
	conflict->id = id;
	if (name != BLAZEI_NAME_NONE) {
		conflict->name = replica->names.names[name]->text;
		conflict->name_len = replica->names.names[name]->len;
	}
	replica->sink.conflict(replica->sink.arg, conflict);
}

/* Tells of a write that arrives and one that is here. */
static void tell_met(struct blazei_replica *replica, const struct blaze_id *id, uint32_t name,
                     const struct blazei_effect_side sides[2], bool incoming_won)
{
	struct blazei_effect_conflict conflict = {
		.incoming_won = incoming_won,
		.winner = sides[!incoming_won],
		.loser = sides[incoming_won],
	};

	tell(replica, id, name, &conflict);
}

/* Whether a register that is here came as state, before its transaction, or with the one at hand:
 * what follows it in there may have seen it. */
static bool ahead(const struct blazei_replica *replica, uint16_t origin, uint64_t seq)
{
	return seq > replica->vector.writers[origin].seq;
}

void blazei_conflict_field(struct blazei_replica *replica, const struct blazei_row *row,
                           const struct blazei_entry *entry, const struct blazei_merge_value *value)
{
	struct blazei_stamp here;

	if (!entry || ahead(replica, entry->origin, entry->seq))
		return;
	here = entry_stamp(entry);
	tell_met(replica, &row->id, value->name,
	         (const struct blazei_effect_side[]){ value_side(replica, value),
	                                              entry_side(replica, entry) },
	         blazei_stamp_beats(&value->stamp, &here, replica->vector.origins));
}

void blazei_conflict_hidden(struct blazei_replica *replica, const struct blazei_row *row,
                            const struct blazei_merge_value *value)
{
	struct blazei_stamp here;

	if (!(row->flags & BLAZEI_ROW_EXISTS) || ahead(replica, row->origin, row->seq))
		return;
	/* A single write had seen the end: so one that leaves its name (restamp.c). */
	if (value->stamp.origin == 0 && !replica->committing)
		return;
	here = row_stamp(row);
	tell_met(replica, &row->id, value->name,
	         (const struct blazei_effect_side[]){
	                 value_side(replica, value),
	                 existence_side(replica, &here, row->life, blazei_row_alive(row)) },
	         false);
}

void blazei_conflict_existence(struct blazei_replica *replica, const struct blazei_row *row,
                               const struct blazei_stamp *stamp, uint32_t life, bool alive)
{
	struct blazei_stamp here;

	if (!(row->flags & BLAZEI_ROW_EXISTS) || ahead(replica, row->origin, row->seq))
		return;
	/* A server affirms what it had affirmed meanwhile: nothing is lost. */
	if (row->origin == stamp->origin && alive == blazei_row_alive(row) && life == row->life)
		return;
	here = row_stamp(row);
	tell_met(replica, &row->id, BLAZEI_NAME_NONE,
	         (const struct blazei_effect_side[]){
	                 existence_side(replica, stamp, life, alive),
	                 existence_side(replica, &here, row->life, blazei_row_alive(row)) },
	         blazei_stamp_beats(stamp, &here, replica->vector.origins));
}

/* Whether the writer of that end of a life had not seen this field of it, for all that is known. */
static bool unseen(const struct blazei_replica *replica, const struct blazei_row *row,
                   const struct blazei_entry *entry, const struct blazei_conflict_end *end)
{
	if (replica->committing)
		return !blazei_writeset_saw(replica, &row->id, entry);
	if (entry->origin == end->stamp.origin || blazei_known_long(replica, &end->stamp) ||
	    ahead(replica, entry->origin, entry->seq))
		return false;
	if (entry->hlc >= end->stamp.hlc)
		return true;
	/* Of what an end had seen that came after the cut was noted, its transaction will tell. */
	if (end->cut)
		return end->stamp.seq <= end->cut[end->stamp.origin] &&
		       entry->seq > end->cut[entry->origin];
	return entry->origin == 0 && entry->seq > replica->vector.writers[end->stamp.origin].heard;
}

void blazei_conflict_hiding(struct blazei_replica *replica, const struct blazei_row *row,
                            const struct blazei_conflict_end *end)
{
	const struct blazei_stamp here = row_stamp(row);
	const struct blazei_entry *entry = blazei_row_first(row);

	/* A single write had seen all that is here. */
	if (end->stamp.origin == 0 && !replica->committing)
		return;
	if (!blazei_stamp_beats(&end->stamp, &here, replica->vector.origins))
		return;
	for (uint32_t i = 0; i < row->entry_count; i++) {
		if (blazei_entry_visible(row, entry) && unseen(replica, row, entry, end))
			tell_met(
			        replica, &row->id, entry->name,
			        (const struct blazei_effect_side[]){
			                existence_side(replica, &end->stamp, end->life, end->alive),
			                entry_side(replica, entry) },
			        true);
		entry = blazei_entry_next(entry);
	}
}
