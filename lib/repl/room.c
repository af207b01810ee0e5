/* SPDX-License-Identifier: Apache-2.0 */
/* Room for what is merged as one; see room.h. A record that comes many times, as each of many
 * transactions updates it, is given more than it takes in the end: that is why close trims. */
#include "lib/repl/room.h"

#include <stdlib.h>

int blazei_room_open(struct blazei_room *room, struct blazei_replica *replica, uint64_t groups)
{
	*room = (struct blazei_room){
		.replica = replica,
		.count = replica->table.row_count + groups,
		.low = UINT32_MAX,
	};
	/* What is not touched takes no memory. */
	room->wanted = calloc(room->count > 0 ? room->count : 1, sizeof(*room->wanted));
	return room->wanted ? 0 : -ENOMEM;
}

void blazei_room_close(struct blazei_room *room)
{
	struct blazei_table *table = &room->replica->table;

	for (uint32_t i = room->low; i < room->high; i++) {
		const struct blazei_row *row = table->rows[i];

		/* A quarter is what a row that grows has to spare anyway. */
		if (room->wanted[i] > 0 && row->cap - row->used > row->used / 4)
			blazei_table_trim(table, table->rows[i]);
	}
	free(room->wanted);
	room->wanted = NULL;
}

/* A group while what it needs is summed up. */
struct needy {
	struct blazei_replica *replica;
	struct blazei_row *row; /* NULL: there is none yet */
	struct blazei_finder finder;
	uint64_t hash;
	uint64_t bytes;
};

static void needy_begin(struct needy *needy, const struct blazei_room *room,
                        const struct blazei_txn_group *group)
{
	struct blazei_table *table = &room->replica->table;

	needy->replica = room->replica;
	needy->hash = blazei_table_hash(table, &group->id);
	needy->row = blazei_table_find(table, &group->id, needy->hash);
	needy->bytes = 0;
	if (needy->row)
		blazei_finder_begin(&needy->finder, &room->replica->filter, table->seed, needy->row,
		                    group->register_count);
}

/* Adds a register. 0 or -ENOMEM. */
static int needy_add(struct needy *needy, const void *name, size_t name_len, uint32_t life,
                     uint32_t value_len)
{
	uint32_t number = blazei_names_intern(&needy->replica->names, name, name_len);
	const struct blazei_entry *entry = NULL;

	if (number == BLAZEI_NAME_NONE)
		return -ENOMEM;
	if (needy->row)
		entry = blazei_finder_find(&needy->finder, number, life);
	needy->bytes += blazei_merge_need(entry, value_len);
	return 0;
}

/* Gives the row what the group needs, on top of what others needed before. 0 or -ENOMEM. */
static int needy_end(struct needy *needy, struct blazei_room *room,
                     const struct blazei_txn_group *group)
{
	struct blazei_table *table = &needy->replica->table;
	struct blazei_row *row = needy->row;

	if (!row)
		row = blazei_table_add(table, &group->id, needy->hash, needy->bytes);
	if (!row)
		return -ENOMEM;
	assert(row->number < room->count);
	if (row->number < room->low)
		room->low = row->number;
	if (row->number >= room->high)
		room->high = row->number + 1;
	room->wanted[row->number] += needy->bytes;
	row = blazei_table_room(table, row, needy->hash, room->wanted[row->number]);
	return row ? 0 : -ENOMEM;
}

/* State --------------------------------------------------------------------------------------- */

/* Moves *at to the group's end. */
static int state_group(struct blazei_room *room, const uint8_t **at)
{
	const struct blazei_txn_group *group = (const void *)*at;
	struct needy needy;
	int rc = 0;

	needy_begin(&needy, room, group);
	*at = (const uint8_t *)(group + 1);
	if (group->flags & BLAZEI_GROUP_EXISTENCE)
		*at += sizeof(struct blazei_state_existence);
	for (unsigned i = 0; i < group->register_count && rc == 0; i++) {
		const struct blazei_state_register *reg = (const void *)*at;

		rc = needy_add(&needy, reg->bytes, reg->name_len, reg->life, reg->value_len);
		*at += blazei_state_register_bytes(reg);
	}
	return rc < 0 ? rc : needy_end(&needy, room, group);
}

int blazei_room_state(struct blazei_room *room, const struct blazei_txn_header *header)
{
	const uint8_t *at = blazei_txn_groups(header);
	int rc = 0;

	for (uint32_t i = 0; i < header->record_count && rc == 0; i++)
		rc = state_group(room, &at);
	return rc;
}

/* Transactions -------------------------------------------------------------------------------- */

static int txn_group(struct blazei_room *room, const uint8_t **at)
{
	struct blazei_group_view group;
	struct needy needy;
	int rc = 0;

	blazei_group_read(*at, &group);
	*at = group.registers;
	needy_begin(&needy, room, group.head);
	for (unsigned i = 0; i < group.head->register_count && rc == 0; i++) {
		const struct blazei_txn_register *reg = (const void *)*at;

		rc = needy_add(&needy, reg->bytes, reg->name_len, group.head->life, reg->value_len);
		*at += blazei_register_bytes(reg);
	}
	return rc < 0 ? rc : needy_end(&needy, room, group.head);
}

int blazei_room_txn(struct blazei_room *room, const struct blazei_txn_header *header)
{
	const uint8_t *at = blazei_txn_groups(header);
	int rc = 0;

	for (uint32_t i = 0; i < header->record_count && rc == 0; i++)
		rc = txn_group(room, &at);
	return rc;
}
