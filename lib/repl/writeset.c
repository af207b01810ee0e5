/* SPDX-License-Identifier: Apache-2.0 */
/* The records of a transaction in the making: touching, reading, committing; see writeset.h.
 *
 * FAILURE A touch that fails leaves no trace but memory in the arena. The rest is up to
 *        blazei_commit, which is all or nothing. */
#include "lib/repl/writeset.h"

#include <stdlib.h>

#include "lib/op/record.h"
#include "lib/op/value.h"
#include "lib/repl/writeset_core.h"

#define SLOTS_MIN 64u
#define SORT_FEW  32u

/* Birth and death ---------------------------------------------------------------------------- */

static void slot_put(struct blazei_writeset *writeset, uint32_t index)
{
	uint32_t at = (uint32_t)writeset->list[index]->hash & writeset->mask;

	while (writeset->slots[at] != 0)
		at = (at + 1) & writeset->mask;
	writeset->slots[at] = index + 1;
}

/* Sets the size of the index, and of the list to half of that. */
static int slots_resize(struct blazei_writeset *writeset, uint32_t count)
{
	uint32_t *slots = calloc(count, sizeof(*slots));
	struct blazei_staged **list = NULL;

	if (slots)
		list = realloc(writeset->list, count / 2 * sizeof(struct blazei_staged *));
	if (!list) {
		free(slots);
		return -ENOMEM;
	}
	free(writeset->slots);
	writeset->list = list;
	writeset->slots = slots;
	writeset->mask = count - 1;
	for (uint32_t i = 0; i < writeset->count; i++)
		slot_put(writeset, i);
	return 0;
}

int blazei_writeset_new(struct blazei_writeset **ret_writeset)
{
	struct blazei_writeset *writeset = calloc(1, sizeof(*writeset));

	if (!writeset)
		return -ENOMEM;
	writeset->arena.max = BLAZEI_WRITESET_BYTES_MAX;
	if (slots_resize(writeset, SLOTS_MIN) < 0) {
		blazei_writeset_free(writeset);
		return -ENOMEM;
	}
	*ret_writeset = writeset;
	return 0;
}

void blazei_writeset_free(struct blazei_writeset *writeset)
{
	if (!writeset)
		return;
	blazei_arena_free(&writeset->arena);
	free(writeset->list);
	free(writeset->slots);
	free(writeset->groups);
	free(writeset);
}

void blazei_writeset_clear(struct blazei_writeset *writeset)
{
	uint32_t count = writeset->mask + 1;

	blazei_arena_clear(&writeset->arena);
	writeset->encoded = 0;
	writeset->count = 0;
	if (writeset->groups_max > SLOTS_MIN) {
		free(writeset->groups);
		writeset->groups = NULL;
		writeset->groups_max = 0;
	}
	if (count == SLOTS_MIN || slots_resize(writeset, SLOTS_MIN) < 0)
		memset(writeset->slots, 0, count * sizeof(*writeset->slots));
}

/* Touching ----------------------------------------------------------------------------------- */

/* What of a row a reader sees, with the stamps; all that the transaction will ever ask of it. */
static int row_copy(struct blazei_writeset *writeset, const struct blazei_row *row,
                    const struct blazei_row **ret_copy)
{
	const struct blazei_entry *entry = blazei_row_first(row);
	bool alive = blazei_row_alive(row);
	struct blazei_row *copy;
	void *memory;
	int rc = blazei_arena_take(&writeset->arena, sizeof(*row) + (alive ? row->used : 0),
	                           &memory);

	if (rc < 0)
		return rc;
	copy = memory;
	*copy = *row;
	copy->used = 0;
	copy->entry_count = 0;
	for (uint32_t i = 0; i < row->entry_count && alive; i++) {
		const struct blazei_entry *next = blazei_entry_next(entry);
		size_t bytes = (size_t)((const uint8_t *)next - (const uint8_t *)entry);

		if (entry->life == row->life) {
			memcpy(copy->entries + copy->used, entry, bytes);
			copy->used += (uint32_t)bytes;
			copy->entry_count++;
		}
		entry = next;
	}
	*ret_copy = copy;
	return 0;
}

static void list_init(struct blazei_op_list *list)
{
	list->ops = NULL;
	list->count = 0;
	list->max = 0;
	list->encoded = 0;
}

/* Fields are set one by one: what is built elsewhere and copied at once makes the CPU wait for its
 * own stores. */
static int record_add(struct blazei_replica *replica, struct blazei_writeset *writeset,
                      const struct blaze_id *id, uint64_t hash)
{
	const struct blazei_row *row = blazei_table_find(&replica->table, id, hash);
	const struct blazei_row *base = NULL;
	struct blazei_staged *staged;
	void *memory;
	int rc = blazei_members_update(replica);

	if (rc == 0 && writeset->count == (writeset->mask + 1) / 2)
		rc = slots_resize(writeset, (writeset->mask + 1) * 2);
	if (rc == 0 && row)
		rc = row_copy(writeset, row, &base);
	if (rc == 0)
		rc = blazei_arena_take(&writeset->arena, sizeof(*staged), &memory);
	if (rc < 0)
		return rc;
	staged = memory;
	staged->id = *id;
	staged->hash = hash;
	staged->base = base;
	staged->next_life = blazei_next_life(replica, row);
	staged->encoded = 0;
	staged->measured = false;
	staged->now.alive = row && blazei_row_alive(row);
	staged->now.affirmed = false;
	staged->now.life = BLAZEI_FIRST;
	for (unsigned life = 0; life < BLAZEI_LIVES; life++) {
		list_init(&staged->lists[life]);
		list_init(&staged->spares[life]);
	}
	writeset->list[writeset->count] = staged;
	slot_put(writeset, writeset->count++);
	return 0;
}

static inline struct blazei_staged *record_find(const struct blazei_writeset *writeset,
                                                const struct blaze_id *id, uint64_t hash)
{
	for (uint32_t at = (uint32_t)hash & writeset->mask; writeset->slots[at] != 0;
	     at = (at + 1) & writeset->mask) {
		struct blazei_staged *staged = writeset->list[writeset->slots[at] - 1];

		if (blazei_id_equal(&staged->id, id))
			return staged;
	}
	return NULL;
}

bool blazei_writeset_saw(const struct blazei_replica *replica, const struct blaze_id *id,
                         const struct blazei_entry *entry)
{
	const struct blazei_staged *staged =
	        record_find(replica->committing, id, blazei_table_hash(&replica->table, id));
	const struct blazei_entry *seen = NULL;

	if (staged && staged->base)
		seen = blazei_row_find(staged->base, entry->name, entry->life);
	return seen && seen->hlc == entry->hlc && seen->origin == entry->origin;
}

int blazei_writeset_touch(struct blazei_replica *replica, struct blazei_writeset *writeset,
                          const struct blaze_id *id, struct blazei_staged **ret_staged)
{
	uint64_t hash = blazei_table_hash(&replica->table, id);
	int rc;

	*ret_staged = record_find(writeset, id, hash);
	if (*ret_staged)
		return 0;
	rc = record_add(replica, writeset, id, hash);
	if (rc == 0)
		*ret_staged = writeset->list[writeset->count - 1];
	return rc;
}

/* Reading ------------------------------------------------------------------------------------ */

/* What is visible of the first touch's fields and not written since. */
static int base_read(const struct blazei_replica *replica, const struct blazei_staged *staged,
                     struct blaze_record *record)
{
	const struct blazei_entry *entry = blazei_row_first(staged->base);
	int rc = 0;

	for (uint32_t i = 0; i < staged->base->entry_count && rc == 0; i++) {
		const struct blazei_name *name = replica->names.names[entry->name];

		if (!(entry->flags & BLAZEI_ENTRY_UNSET) &&
		    !blazei_staged_op(staged, name->text, name->len))
			rc = blazei_record_append(record, name->text, name->len, entry->value,
			                          entry->value_len);
		entry = blazei_entry_next(entry);
	}
	return rc;
}

static int ops_read(const struct blazei_op_list *list, struct blaze_record *record)
{
	int rc = 0;

	for (uint32_t i = 0; i < list->count && rc == 0; i++) {
		const struct blazei_write_op *op = &list->ops[i];

		if (!op->unset)
			rc = blazei_record_append(record, op->name, op->name_len, op->body,
			                          op->body_len);
	}
	return rc;
}

int blazei_writeset_get(struct blazei_replica *replica, struct blazei_writeset *writeset,
                        const struct blaze_id *id, struct blaze_record **ret_record)
{
	struct blazei_staged *staged;
	struct blaze_record *record;
	int rc = blazei_writeset_touch(replica, writeset, id, &staged);

	if (rc < 0)
		return rc;
	if (!staged->now.alive)
		return -ENOENT;
	rc = blazei_record_sized(0, 0, &record);
	if (rc < 0)
		return rc;
	if (staged->now.life == BLAZEI_FIRST)
		rc = base_read(replica, staged, record);
	if (rc == 0)
		rc = ops_read(&staged->lists[staged->now.life], record);
	if (rc < 0)
		blaze_record_free(record);
	else
		*ret_record = record;
	return rc;
}

int blazei_writeset_fetch(struct blazei_replica *replica, struct blazei_writeset *writeset,
                          const struct blaze_id *id, void *ret_value, size_t cap)
{
	const struct blazei_entry *entry = NULL;
	const struct blazei_write_op *op;
	struct blazei_staged *staged;
	const void *value = NULL;
	size_t len = 0;
	int rc = blazei_writeset_touch(replica, writeset, id, &staged);

	if (rc < 0)
		return rc;
	op = staged->now.alive ? blazei_staged_op(staged, "", 0) : NULL;
	if (op && !op->unset) {
		value = op->body;
		len = op->body_len;
	} else if (!op && staged->now.alive && staged->now.life == BLAZEI_FIRST) {
		entry = blazei_staged_seen(replica, staged, "", 0);
	}
	if (entry && !(entry->flags & BLAZEI_ENTRY_UNSET)) {
		value = entry->value;
		len = entry->value_len;
	}
	if (!value)
		return -ENOENT;
	return blazei_value_fetch(value, len, ret_value, cap);
}

/* Committing --------------------------------------------------------------------------------- */

/* By id, then by life. */
static inline int group_compare(const struct blazei_write_group *left,
                                const struct blazei_write_group *right)
{
	int order = memcmp(left->id->bytes, right->id->bytes, sizeof(left->id->bytes));

	if (order != 0 || left->life == right->life)
		return order;
	return left->life < right->life ? -1 : 1;
}

static int groups_compare(const void *a, const void *b)
{
	return group_compare(*(const struct blazei_write_group *const *)a,
	                     *(const struct blazei_write_group *const *)b);
}

/* A few are sorted by insertion, which costs less. */
static void groups_sort(struct blazei_write_group **groups, uint32_t count)
{
	if (count > SORT_FEW) {
		qsort(groups, count, sizeof(struct blazei_write_group *), groups_compare);
		return;
	}
	for (uint32_t i = 1; i < count; i++) {
		struct blazei_write_group *group = groups[i];
		uint32_t at = i;

		while (at > 0 && group_compare(groups[at - 1], group) > 0) {
			groups[at] = groups[at - 1];
			at--;
		}
		groups[at] = group;
	}
}

int blazei_replica_commit(struct blazei_replica *replica, uint64_t now_ns,
                          struct blazei_writeset *writeset, struct blazei_txn_view *ret_txn)
{
	uint32_t max = writeset->count * BLAZEI_LIVES;
	uint32_t count = 0;
	int rc;

	if (max > writeset->groups_max) {
		struct blazei_write_group **groups =
		        realloc(writeset->groups, max * sizeof(struct blazei_write_group *));

		if (!groups)
			return -ENOMEM;
		writeset->groups = groups;
		writeset->groups_max = max;
	}
	for (uint32_t i = 0; i < writeset->count; i++) {
		struct blazei_staged *staged = writeset->list[i];
		unsigned n = blazei_staged_groups(replica, staged);

		for (unsigned j = 0; j < n; j++)
			writeset->groups[count++] = &staged->groups[j];
	}
	groups_sort(writeset->groups, count);
	replica->committing = writeset;
	rc = blazei_commit(replica, now_ns, writeset->groups, count, ret_txn);
	replica->committing = NULL;
	return rc;
}
