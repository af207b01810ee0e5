/* SPDX-License-Identifier: Apache-2.0 */
/* The index over ids and the memory of rows; see table.h.
 *
 * FAILURE Growth allocates first and switches over afterwards. A row that was added for a write
 *         which then failed stays: it holds no register, so nothing shows it. */
#include "lib/repl/table.h"

#include <stdlib.h>

#define SLOTS_MIN      1024u
#define ROWS_MIN       512u
#define OUTGROWN_BYTES (2u << 20) /* at most, of the former indices that keep their memory */
#define ROWS_MAX       (UINT32_MAX - 1)
/* From this size on a row that grows takes a quarter more, so that k appends cost k log k. */
#define ROW_GENEROUS 512u

static size_t row_bytes(const struct blazei_row *row)
{
	return sizeof(*row) + row->cap;
}

void blazei_table_fini(struct blazei_table *table)
{
	for (uint32_t i = 0; i < table->row_count; i++)
		if (row_bytes(table->rows[i]) > BLAZEI_SLAB_CLASSES * BLAZEI_CACHE_LINE)
			blazei_slab_release(&table->slab, table->rows[i],
			                    row_bytes(table->rows[i]));
	blazei_slab_fini(&table->slab);
	for (unsigned i = 0; i < table->outgrown_count; i++)
		free(table->outgrown[i]);
	free(table->rows);
	free(table->slots);
	*table = (struct blazei_table){ 0 };
}

int blazei_table_init(struct blazei_table *table, uint64_t seed)
{
	*table = (struct blazei_table){ .mask = SLOTS_MIN - 1, .seed = seed, .row_max = ROWS_MIN };
	table->slots = blazei_huge_alloc(SLOTS_MIN * sizeof(*table->slots));
	table->rows = malloc(ROWS_MIN * sizeof(struct blazei_row *));
	return table->slots && table->rows ? 0 : -ENOMEM;
}

uint64_t blazei_table_memory(const struct blazei_table *table)
{
	uint64_t index_bytes = (table->mask + 1) * sizeof(*table->slots);

	/* The former ones in sum, each half as large as the next; the large ones are empty. */
	if (table->outgrown_count > 0)
		index_bytes += index_bytes < OUTGROWN_BYTES ? index_bytes : OUTGROWN_BYTES;
	return table->slab.bytes + index_bytes +
	       (uint64_t)table->row_max * sizeof(struct blazei_row *);
}

/* What the index says of a row. */
static uint64_t slot_of(uint64_t hash, const struct blazei_row *row)
{
	size_t bytes = row_bytes(row);
	size_t lines = bytes <= BLAZEI_SLAB_BYTES_MAX ? bytes / BLAZEI_CACHE_LINE : 0;

	return (hash & BLAZEI_SLOT_FINGERPRINT) | (uintptr_t)row | lines;
}

static void slot_put(struct blazei_table *table, uint64_t hash, const struct blazei_row *row)
{
	uint64_t i = hash & table->mask;

	while (table->slots[i] != 0)
		i = (i + 1) & table->mask;
	/* The row's head before its address; pairs with row_seek. */
	atomic_thread_fence(memory_order_release);
	table->slots[i] = slot_of(hash, row);
}

/* Doubles the index. The old one keeps its place, without its memory: it may be being read. */
static int index_grow(struct blazei_table *table)
{
	uint64_t count = (table->mask + 1) * 2;
	uint64_t *slots;

	if (table->outgrown_count == BLAZEI_OUTGROWN_MAX)
		return -ENOMEM;
	slots = blazei_huge_alloc(count * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	blazei_table_shut(table);
	blazei_huge_empty(table->slots, count / 2 * sizeof(*slots));
	table->outgrown[table->outgrown_count++] = table->slots;
	table->slots = slots;
	table->mask = count - 1;
	for (uint32_t i = 0; i < table->row_count; i++) {
		if (i + 16 < table->row_count)
			__builtin_prefetch(table->rows[i + 16]);
		slot_put(table, blazei_table_hash(table, &table->rows[i]->id), table->rows[i]);
	}
	blazei_table_open(table);
	return 0;
}

static int list_grow(struct blazei_table *table)
{
	uint64_t max = (uint64_t)table->row_max + table->row_max / 4;
	struct blazei_row **rows;

	if (max > ROWS_MAX)
		return -ENOMEM;
	rows = realloc(table->rows, max * sizeof(struct blazei_row *));
	if (!rows)
		return -ENOMEM;
	table->rows = rows;
	table->row_max = (uint32_t)max;
	return 0;
}

/* A block for a row with so much room; gives what the block has. */
static struct blazei_row *row_alloc(struct blazei_table *table, size_t room, uint32_t *ret_cap)
{
	size_t bytes = blazei_slab_size(sizeof(struct blazei_row) + room);

	if (bytes > UINT32_MAX / 2)
		return NULL;
	*ret_cap = (uint32_t)(bytes - sizeof(struct blazei_row));
	return blazei_slab_alloc(&table->slab, bytes);
}

struct blazei_row *blazei_table_add(struct blazei_table *table, const struct blaze_id *id,
                                    uint64_t hash, size_t room)
{
	struct blazei_row *row;
	uint32_t cap;

	if (table->row_count == table->row_max && list_grow(table) < 0)
		return NULL;
	if (table->row_count >= (table->mask + 1) / 4 * 3 && index_grow(table) < 0)
		return NULL;
	row = row_alloc(table, room, &cap);
	if (!row)
		return NULL;
	*row = (struct blazei_row){ .id = *id, .number = table->row_count, .cap = cap };
	table->rows[table->row_count++] = row;
	slot_put(table, hash, row);
	return row;
}

struct blazei_row *blazei_table_room(struct blazei_table *table, struct blazei_row *row,
                                     uint64_t hash, size_t room)
{
	uint64_t i = hash & table->mask;
	size_t want = row->used + room;
	struct blazei_row *moved;
	uint32_t cap;

	if (room <= row->cap - row->used)
		return row;
	if (want > ROW_GENEROUS)
		want += want / 4;
	moved = row_alloc(table, want, &cap);
	if (!moved)
		return NULL;
	memcpy(moved, row, sizeof(*row) + row->used);
	moved->cap = cap;
	while (blazei_slot_row(table->slots[i]) != row)
		i = (i + 1) & table->mask;
	table->rows[moved->number] = moved;
	blazei_table_shut(table);
	table->slots[i] = slot_of(hash, moved);
	blazei_slab_release(&table->slab, row, row_bytes(row));
	blazei_table_open(table);
	return moved;
}

/* The place of a row in the index. */
static uint64_t slot_find(const struct blazei_table *table, const struct blazei_row *row)
{
	uint64_t i = blazei_table_hash(table, &row->id) & table->mask;

	while (blazei_slot_row(table->slots[i]) != row)
		i = (i + 1) & table->mask;
	return i;
}

struct blazei_row *blazei_table_trim(struct blazei_table *table, struct blazei_row *row)
{
	struct blazei_row *moved;
	uint64_t slot;
	uint32_t cap;

	if (blazei_slab_size(sizeof(*row) + row->used) >= row_bytes(row))
		return row;
	moved = row_alloc(table, row->used, &cap);
	/* It is given back another time. */
	if (!moved)
		return row;
	slot = slot_find(table, row);
	memcpy(moved, row, sizeof(*row) + row->used);
	moved->cap = cap;
	table->rows[moved->number] = moved;
	blazei_table_shut(table);
	table->slots[slot] = slot_of(table->slots[slot], moved);
	blazei_slab_release(&table->slab, row, row_bytes(row));
	blazei_table_open(table);
	return moved;
}

void blazei_table_renumber(struct blazei_table *table, uint32_t from, uint32_t to)
{
	table->rows[to] = table->rows[from];
	table->rows[to]->number = to;
}

void blazei_table_remove(struct blazei_table *table, struct blazei_row *row)
{
	uint64_t hole = slot_find(table, row);
	uint64_t i = hole;

	blazei_table_shut(table);
	/* What was put behind the hole because it was taken moves up: a probe never meets a gap. */
	for (;;) {
		uint64_t home;

		i = (i + 1) & table->mask;
		if (table->slots[i] == 0)
			break;
		home = blazei_table_hash(table, &blazei_slot_row(table->slots[i])->id);
		if (((i - home) & table->mask) < ((i - hole) & table->mask))
			continue;
		table->slots[hole] = table->slots[i];
		hole = i;
	}
	table->slots[hole] = 0;
	table->row_count--;
	blazei_slab_release(&table->slab, row, row_bytes(row));
	blazei_table_open(table);
}

struct blazei_entry *blazei_row_append(struct blazei_row *row, uint32_t name, uint32_t life,
                                       uint32_t value_len)
{
	struct blazei_entry *entry = (struct blazei_entry *)(row->entries + row->used);

	*entry = (struct blazei_entry){ .name = name, .life = life, .value_len = value_len };
	row->used += (uint32_t)sizeof(*entry) + blazei_padded(value_len);
	row->entry_count++;
	return entry;
}

void blazei_row_resize(struct blazei_row *row, struct blazei_entry *entry, uint32_t value_len)
{
	uint32_t room = blazei_entry_room(entry);
	uint32_t want = blazei_padded(value_len);
	uint32_t slack = 0;

	if (want <= room) {
		slack = (room - want) / 8;
		if (slack > BLAZEI_ENTRY_SLACK ||
		    (slack > BLAZEI_ENTRY_SLACK_OK && room - want > want))
			slack = 0;
	}
	if (want + slack * 8 != room) {
		uint8_t *behind = entry->value + room;
		uint8_t *to = entry->value + want;

		memmove(to, behind, (size_t)(row->entries + row->used - behind));
		row->used += want - room;
	}
	entry->value_len = value_len;
	entry->flags = (uint16_t)((entry->flags & ~BLAZEI_ENTRY_SLACK) | slack);
}
