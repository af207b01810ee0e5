/* SPDX-License-Identifier: Apache-2.0 */
/* Catch-up by state: registers with their stamps, instead of the transactions that wrote them.
 *
 * WHY    Merging keeps the greater stamp, so sending each register as it stands now brings a
 *        replica to the same point as all the transactions would have, in any order with those
 *        that come meanwhile, any number of times. A record may be larger than a chunk: the cursor
 *        is a row's number and an entry's ordinal, both of which hold for good (table.h, I1, I2).
 *
 * INVARIANTS
 *   I1   What was written before the sender noted its vector and is not covered by `known` is in
 *        one of the chunks, or something greater is.
 *   I2   A chunk is self-contained: it carries its own table of origins.
 *   I3   A record that fits a chunk is in one chunk, so a watcher is told of it once and whole.
 *   I4   Nothing of a quarantined origin beyond what was merged before comes in this way either.
 *
 * FAILURE Merging a chunk is all or nothing: room for all of it is made first (room.h). */
#include "lib/repl/mark_core.h"

/* Rows looked at in one call: bounds its time where a requester lacks little. */
#define ROWS_PER_CHUNK 65536u

struct encoder {
	const struct blazei_replica *replica;
	const uint64_t *known; /* by origin index */
	uint8_t *at;
	uint8_t *enough; /* no further row once there */
	uint8_t *end;
	uint32_t groups;
};

static bool lacks(const struct encoder *encoder, uint16_t origin, uint64_t seq)
{
	return seq > encoder->known[origin];
}

/* The next `bytes` of the chunk, zeroed; NULL where it is full. */
static void *take(struct encoder *encoder, size_t bytes)
{
	uint8_t *at = encoder->at;

	if (bytes > (size_t)(encoder->end - at))
		return NULL;
	memset(at, 0, bytes);
	encoder->at += bytes;
	return at;
}

static bool existence_encode(struct encoder *encoder, const struct blazei_row *row,
                             struct blazei_txn_group *group)
{
	struct blazei_state_existence *op;

	if (!(row->flags & BLAZEI_ROW_EXISTS) || !lacks(encoder, row->origin, row->seq))
		return true;
	op = take(encoder, sizeof(*op));
	if (!op)
		return false;
	op->priority = row->priority;
	op->hlc = row->hlc;
	op->seq = row->seq;
	op->origin = row->origin;
	group->life = row->life;
	group->flags = BLAZEI_GROUP_EXISTENCE;
	if (blazei_row_alive(row))
		group->flags |= BLAZEI_GROUP_ALIVE;
	return true;
}

static bool register_encode(struct encoder *encoder, const struct blazei_entry *entry)
{
	const struct blazei_name *name = encoder->replica->names.names[entry->name];
	struct blazei_state_register *reg;

	reg = take(encoder,
	           sizeof(*reg) + blazei_round_up((uint64_t)name->len + entry->value_len, 8));
	if (!reg)
		return false;
	reg->priority = entry->priority;
	reg->hlc = entry->hlc;
	reg->seq = entry->seq;
	reg->origin = entry->origin;
	reg->name_len = name->len;
	reg->flags = entry->flags & BLAZEI_ENTRY_UNSET ? BLAZEI_REGISTER_UNSET : 0;
	reg->value_len = entry->value_len;
	reg->life = entry->life;
	memcpy(reg->bytes, name->text, name->len);
	memcpy(reg->bytes + name->len, entry->value, entry->value_len);
	return true;
}

/* Encodes what is lacking of a row from entry *ordinal on, where 0 stands for its existence and
 * entry i for i + 1. Moves *ordinal on; true once the row is done. A row that does not fit in what
 * is left of a chunk starts the next one: only one that is longer than a chunk is divided (I3). */
static bool row_encode(struct encoder *encoder, const struct blazei_row *row, uint32_t *ordinal)
{
	uint8_t *start = encoder->at;
	struct blazei_txn_group *group = take(encoder, sizeof(*group));
	const struct blazei_entry *entry = blazei_row_first(row);
	const uint32_t began = *ordinal;
	bool full = !group;

	if (full)
		return false;
	group->id = row->id;
	if (*ordinal == 0) {
		full = !existence_encode(encoder, row, group);
		*ordinal += !full;
	}
	for (uint32_t i = 1; i <= row->entry_count && !full; i++) {
		if (i >= *ordinal) {
			if (lacks(encoder, entry->origin, entry->seq)) {
				full = group->register_count == UINT16_MAX ||
				       !register_encode(encoder, entry);
				group->register_count += !full;
			}
			*ordinal = full ? i : i + 1;
		}
		entry = blazei_entry_next(entry);
	}
	if (full && began == 0 && encoder->groups > 0) {
		*ordinal = 0;
		encoder->at = start;
		return false;
	}
	if (group->flags || group->register_count)
		encoder->groups++;
	else
		encoder->at = start;
	return !full;
}

/* Fills the chunk from the cursor on. */
static void rows_encode(struct encoder *encoder, struct blazei_state_cursor *cursor)
{
	const struct blazei_table *table = &encoder->replica->table;
	uint32_t number = (uint32_t)(cursor->next >> 32);
	uint32_t ordinal = (uint32_t)cursor->next;

	for (uint32_t i = 0; i < ROWS_PER_CHUNK && number < table->row_count; i++) {
		if (encoder->at >= encoder->enough ||
		    !row_encode(encoder, table->rows[number], &ordinal))
			break;
		ordinal = 0;
		number++;
	}
	cursor->next = (uint64_t)number << 32 | ordinal;
	cursor->end = number >= table->row_count;
}

int64_t blazei_state_encode(const struct blazei_replica *replica, const uint64_t *known,
                            struct blazei_state_cursor *cursor, void *buf, size_t enough)
{
	const struct blazei_vector *vector = &replica->vector;
	struct blazei_txn_header *header = buf;
	size_t origins_bytes = vector->count * sizeof(struct blazei_origin);
	struct encoder encoder = { .replica = replica, .known = known };

	cursor->end = cursor->next >> 32 >= replica->table.row_count;
	if (cursor->end)
		return 0;
	memcpy(header + 1, vector->origins, origins_bytes);
	encoder.at = (uint8_t *)(header + 1) + origins_bytes;
	encoder.enough = encoder.at + enough;
	encoder.end = (uint8_t *)buf + BLAZEI_STATE_BYTES_MAX;
	rows_encode(&encoder, cursor);
	*header = (struct blazei_txn_header){
		.bytes = (uint32_t)(encoder.at - (uint8_t *)buf),
		.kind = BLAZEI_KIND_STATE,
		.format = BLAZEI_FORMAT,
		.origin_count = (uint16_t)vector->count,
		.record_count = encoder.groups,
	};
	header->chain = blazei_txn_hash(header);
	return header->bytes;
}

/* Merging ------------------------------------------------------------------------------------ */

struct decoder {
	struct blazei_replica *replica;
	bool mark;           /* what the chunk has, for blazei_prune */
	const uint64_t *cut; /* what the snapshot's vector covers, by origin index */
};

/* Whether a register of the snapshot and one that is here, of that origin and seq, know nothing of
 * each other. The cut is closed: what it covers has seen only what it covers; and all that what is
 * here has seen is here. */
static bool strangers(const struct decoder *decoder, const struct blazei_stamp *incoming,
                      uint16_t origin, uint64_t seq)
{
	/* What is under a mark was everywhere long ago. */
	if (blazei_known_long(decoder->replica, incoming))
		return false;
	return seq > decoder->cut[origin] && incoming->seq <= decoder->cut[incoming->origin] &&
	       incoming->seq > decoder->replica->vector.writers[incoming->origin].seq;
}

/* What an existence of the snapshot meets. */
static void existence_meet(const struct decoder *decoder, const struct blazei_row *row,
                           const struct blazei_stamp *stamp, uint32_t life, bool alive)
{
	if (strangers(decoder, stamp, row->origin, row->seq))
		blazei_conflict_existence(decoder->replica, row, stamp, life, alive);
	if (blazei_row_alive(row) && (!alive || life != row->life))
		blazei_conflict_hiding(decoder->replica, row,
		                       &(const struct blazei_conflict_end){
		                               .stamp = *stamp,
		                               .life = life,
		                               .alive = alive,
		                               .cut = decoder->cut,
		                       });
}

/* What a field of the snapshot meets. */
static void field_meet(const struct decoder *decoder, const struct blazei_row *row,
                       const struct blazei_entry *entry, const struct blazei_merge_value *value)
{
	if (!blazei_row_alive(row) || row->life != value->life) {
		if (strangers(decoder, &value->stamp, row->origin, row->seq))
			blazei_conflict_hidden(decoder->replica, row, value);
	} else if (entry && strangers(decoder, &value->stamp, entry->origin, entry->seq)) {
		blazei_conflict_field(decoder->replica, row, entry, value);
	}
}

/* A stamp from outside, whose origin is known; false: nothing more of that origin is merged. */
static bool stamp_read(const struct decoder *decoder, const struct blazei_state_existence *from,
                       struct blazei_stamp *ret_stamp)
{
	uint16_t index = decoder->replica->map[from->origin];
	const struct blazei_writer *writer = &decoder->replica->vector.writers[index];

	if (blazei_unlikely(writer->halted & BLAZEI_HALTED_QUARANTINED) && from->seq > writer->seq)
		return false;
	*ret_stamp = (struct blazei_stamp){
		.priority = from->priority,
		.hlc = from->hlc,
		.seq = blazei_origin_retired(&decoder->replica->vector.origins[index]) ? from->hlc
		                                                                       : from->seq,
		.origin = index,
	};
	blazei_hlc_observe(&decoder->replica->clock, from->hlc);
	return true;
}

static void register_merge(const struct decoder *decoder, struct blazei_row *row,
                           struct blazei_finder *finder, const struct blazei_state_register *reg)
{
	/* The two layouts begin alike. */
	const struct blazei_state_existence head = {
		.priority = reg->priority,
		.hlc = reg->hlc,
		.seq = reg->seq,
		.origin = reg->origin,
	};
	struct blazei_replica *replica = decoder->replica;
	struct blazei_merge_value value = {
		.value = reg->bytes + reg->name_len,
		.value_len = reg->value_len,
		.name = blazei_names_find(&replica->names, reg->bytes, reg->name_len),
		.life = reg->life,
		.unset = reg->flags & BLAZEI_REGISTER_UNSET,
	};
	struct blazei_entry *entry;
	struct blazei_entry *end = (struct blazei_entry *)(row->entries + row->used);

	if (!stamp_read(decoder, &head, &value.stamp))
		return;
	if (blazei_unlikely(value.life == BLAZEI_LIFE_MAX))
		blazei_members_heard(replica, row, &value.stamp);
	entry = blazei_finder_find(finder, value.name, value.life);
	field_meet(decoder, row, entry, &value);
	blazei_merge_field(replica, row, entry, &value);
	if (!entry) {
		blazei_finder_added(finder, value.name, value.life);
		entry = end;
	}
	if (decoder->mark)
		entry->flags |= BLAZEI_ENTRY_MARKED;
}

/* Merges the existence, where the group has it, and the registers; the row has room for them. *at
 * becomes the group's end. */
static void registers_merge(const struct decoder *decoder, struct blazei_row *row,
                            const uint8_t **at)
{
	const struct blazei_txn_group *group = (const struct blazei_txn_group *)*at;
	struct blazei_replica *replica = decoder->replica;
	struct blazei_finder finder;
	struct blazei_stamp stamp;
	const bool alive = group->flags & BLAZEI_GROUP_ALIVE;

	*at = (const uint8_t *)(group + 1);
	if (group->flags & BLAZEI_GROUP_EXISTENCE) {
		if (stamp_read(decoder, (const struct blazei_state_existence *)*at, &stamp)) {
			existence_meet(decoder, row, &stamp, group->life, alive);
			blazei_merge_existence(replica, row, &stamp, group->life, alive);
			row->flags |= decoder->mark ? BLAZEI_ROW_MARKED : 0;
		}
		*at += sizeof(struct blazei_state_existence);
	}
	blazei_finder_begin(&finder, &replica->filter, replica->table.seed, row,
	                    group->register_count);
	for (unsigned i = 0; i < group->register_count; i++) {
		const struct blazei_state_register *reg = (const struct blazei_state_register *)*at;

		register_merge(decoder, row, &finder, reg);
		*at += blazei_state_register_bytes(reg);
	}
}

static void group_merge(const struct decoder *decoder, const uint8_t **at)
{
	struct blazei_replica *replica = decoder->replica;
	const struct blazei_txn_group *group = (const struct blazei_txn_group *)*at;
	uint64_t hash = blazei_table_hash(&replica->table, &group->id);
	struct blazei_row *row = blazei_table_find(&replica->table, &group->id, hash);

	if (blazei_watched(replica))
		blazei_change_open(replica, row);
	registers_merge(decoder, row, at);
	if (blazei_watched(replica)) {
		blazei_change_close(replica, row, NULL);
		blazei_changes_end(replica);
	}
}

const struct blazei_origin *blazei_state_ahead(const struct blazei_replica *replica,
                                               const struct blazei_txn_header *header,
                                               uint64_t now_ns)
{
	const struct blazei_origin *origins = blazei_txn_origins(header);
	const uint8_t *at = blazei_txn_groups(header);

	for (uint32_t i = 0; i < header->record_count; i++) {
		const struct blazei_txn_group *group = (const void *)at;
		const struct blazei_state_existence *op = (const void *)(group + 1);

		at = (const uint8_t *)op;
		if (group->flags & BLAZEI_GROUP_EXISTENCE) {
			if (blazei_ahead(replica, op->hlc, now_ns))
				return &origins[op->origin];
			at = (const uint8_t *)(op + 1);
		}
		for (unsigned k = 0; k < group->register_count; k++) {
			/* The two layouts begin alike. */
			op = (const void *)at;
			if (blazei_ahead(replica, op->hlc, now_ns))
				return &origins[op->origin];
			at += blazei_state_register_bytes((const void *)at);
		}
	}
	return NULL;
}

void blazei_state_install(struct blazei_replica *replica, const struct blazei_txn_header *header,
                          bool mark, const uint64_t *cut)
{
	struct decoder decoder = { .replica = replica, .mark = mark, .cut = cut };
	const struct blazei_origin *origins = blazei_txn_origins(header);
	const uint8_t *at = blazei_txn_groups(header);

	for (unsigned i = 0; i < header->origin_count; i++) {
		replica->map[i] = blazei_vector_find(&replica->vector, &origins[i]);
		/* Retired here: the check saw that all of it in the chunk is. */
		if (replica->map[i] == BLAZEI_ORIGIN_NONE)
			replica->map[i] = blazei_mark_find(&replica->vector, &origins[i].node);
	}
	blazei_table_shut(&replica->table);
	for (uint32_t i = 0; i < header->record_count; i++)
		group_merge(&decoder, &at);
	blazei_table_open(&replica->table);
}
