/* SPDX-License-Identifier: Apache-2.0 */
/* The conflict log's memory: entries into the circle and out of it; see conflicts.h. */
#include <stdlib.h>

#include "lib/db/conflicts.h"
#include "lib/op/record.h"

static bool kept(const struct blazei_effect_side *side)
{
	return !side->existence && !side->unset && side->value_len <= BLAZEI_CONFLICT_VALUE_MAX;
}

uint32_t blazei_conflict_bytes(const struct blazei_effect_conflict *conflict)
{
	uint32_t bytes = (uint32_t)sizeof(struct blazei_conflict_entry) + conflict->name_len;

	if (kept(&conflict->loser))
		bytes += conflict->loser.value_len;
	if (kept(&conflict->winner))
		bytes += conflict->winner.value_len;
	return (bytes + 7u) & ~7u;
}

static struct blazei_conflict_part part_of(const struct blazei_effect_side *side,
                                           const struct blazei_origin *self)
{
	struct blazei_conflict_part part = {
		.origin = *side->origin,
		.seq = side->seq,
		.hlc = side->hlc,
		.priority = side->priority,
		.kind = side->unset ? BLAZE_CONFLICT_UNSET : BLAZE_CONFLICT_SET,
	};

	if (side->existence)
		part.kind = side->alive ? BLAZE_CONFLICT_ALIVE : BLAZE_CONFLICT_DEAD;
	if (kept(side))
		part.value_len = side->value_len;
	else if (part.kind == BLAZE_CONFLICT_SET)
		part.flags |= BLAZE_CONFLICT_TOO_LONG;
	if (blazei_origin_equal(side->origin, self))
		part.flags |= BLAZE_CONFLICT_LOCAL;
	/* Only a server's own write has its own H for a priority (stamp.h). */
	if (side->priority == side->hlc)
		part.flags |= BLAZE_CONFLICT_SERVER;
	return part;
}

void blazei_conflict_encode(struct blazei_conflict_entry *entry,
                            const struct blazei_effect_conflict *conflict,
                            const struct blazei_origin *self, uint64_t number)
{
	uint8_t *at = entry->text;

	*entry = (struct blazei_conflict_entry){
		.bytes = blazei_conflict_bytes(conflict),
		.name_len = conflict->name_len,
		.named = conflict->name != NULL,
		.incoming_won = conflict->incoming_won,
		.number = number,
		.id = *conflict->id,
		.parts = { part_of(&conflict->loser, self), part_of(&conflict->winner, self) },
	};
	if (conflict->name_len > 0)
		memcpy(at, conflict->name, conflict->name_len);
	at += conflict->name_len;
	if (entry->parts[0].value_len > 0)
		memcpy(at, conflict->loser.value, entry->parts[0].value_len);
	at += entry->parts[0].value_len;
	if (entry->parts[1].value_len > 0)
		memcpy(at, conflict->winner.value, entry->parts[1].value_len);
}

/* A record of the one field. 0 or -ENOMEM. */
static int value_decode(const struct blazei_conflict_entry *entry,
                        const struct blazei_conflict_part *part, const uint8_t *value,
                        struct blaze_record **ret_record)
{
	struct blaze_record *record;
	int error;

	if (part->value_len == 0)
		return 0;
	error = blazei_record_sized(1, (size_t)entry->name_len + part->value_len, &record);
	if (error != 0)
		return error;
	error = blazei_record_append(record, entry->text, entry->name_len, value, part->value_len);
	if (error != 0)
		blaze_record_free(record);
	else
		*ret_record = record;
	return error;
}

static struct blaze_conflict_side side_of(const struct blazei_conflict_part *part,
                                          const struct blaze_record *value)
{
	return (struct blaze_conflict_side){
		.node = part->origin.node,
		.incarnation = part->origin.incarnation,
		.seq = part->seq,
		.time_ns = part->hlc,
		.priority_ns = part->priority,
		.kind = part->kind,
		.flags = part->flags,
		.value = value,
	};
}

int blazei_conflict_decode(const struct blazei_conflict_entry *entry,
                           struct blazei_conflict_view *view)
{
	const uint8_t *value = entry->text + entry->name_len;
	int error;

	*view = (struct blazei_conflict_view){ .records = { NULL, NULL } };
	error = value_decode(entry, &entry->parts[0], value, &view->records[0]);
	value += entry->parts[0].value_len;
	if (error == 0)
		error = value_decode(entry, &entry->parts[1], value, &view->records[1]);
	if (error != 0) {
		blazei_conflict_release(view);
		return error;
	}
	memcpy(view->name, entry->text, entry->name_len);
	view->conflict = (struct blaze_conflict){
		.number = entry->number,
		.id = entry->id,
		.field = entry->named ? view->name : NULL,
		.incoming_won = entry->incoming_won,
		.loser = side_of(&entry->parts[0], view->records[0]),
		.winner = side_of(&entry->parts[1], view->records[1]),
	};
	return 0;
}

void blazei_conflict_release(struct blazei_conflict_view *view)
{
	blaze_record_free(view->records[0]);
	blaze_record_free(view->records[1]);
}

/* The circle --------------------------------------------------------------------------------- */

static uint32_t oldest_at(const struct blazei_conflict_log *log)
{
	return log->at[(log->last - log->count + 1) % BLAZEI_CONFLICTS_MAX];
}

/* Makes a place of `bytes` in the circle and returns it. */
static uint32_t place_make(struct blazei_conflict_log *log, uint32_t bytes)
{
	uint32_t at = log->next;

	if (bytes > BLAZEI_CONFLICTS_BYTES - at) {
		/* What is behind this place is the oldest. */
		while (log->count > 0 && oldest_at(log) >= at)
			log->count--;
		at = 0;
	}
	/* Older ones follow from here on, up to the end of the block. */
	while (log->count > 0 && oldest_at(log) >= at && oldest_at(log) - at < bytes)
		log->count--;
	if (log->count == BLAZEI_CONFLICTS_MAX)
		log->count--;
	log->next = at + bytes;
	return at;
}

void blazei_conflict_log_add(struct blazei_conflict_log *log,
                             const struct blazei_effect_conflict *conflict,
                             const struct blazei_origin *self)
{
	uint32_t bytes = blazei_conflict_bytes(conflict);
	uint32_t at;

	if (log->bytes == NULL)
		log->bytes = malloc(BLAZEI_CONFLICTS_BYTES);
	if (log->bytes == NULL) {
		log->last++;
		return;
	}
	at = place_make(log, bytes);
	log->last++;
	log->count++;
	log->at[log->last % BLAZEI_CONFLICTS_MAX] = at;
	blazei_conflict_encode((struct blazei_conflict_entry *)(log->bytes + at), conflict, self,
	                       log->last);
}

void blazei_conflict_log_fini(struct blazei_conflict_log *log)
{
	free(log->bytes);
	log->bytes = NULL;
}
