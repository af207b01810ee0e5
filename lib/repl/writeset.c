/* SPDX-License-Identifier: Apache-2.0 */
/* The records of a transaction in the making: touching, reading, committing; see writeset.h.
 *
 * FAILURE A touch that fails leaves no trace but memory in the arena. The rest is up to
 *        blazei_commit, which is all or nothing. */
#include "lib/repl/writeset.h"

#include <stdlib.h>

#include "lib/op/record.h"
#include "lib/op/value.h"
#include "lib/repl/peek.h"
#include "lib/repl/writeset_core.h"

#define SLOTS_MIN 64u
#define SORT_FEW  32u /* a power of two */

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
	writeset->recent = NULL;
	if (writeset->groups_max > SLOTS_MIN) {
		free(writeset->groups);
		writeset->groups = NULL;
		writeset->groups_max = 0;
	}
	if (count == SLOTS_MIN || slots_resize(writeset, SLOTS_MIN) < 0)
		memset(writeset->slots, 0, count * sizeof(*writeset->slots));
}

/* Touching ----------------------------------------------------------------------------------- */

/* Keeps in a copy of a row what of it a reader sees, with the stamps; it may be the row itself. */
static void row_keep(struct blazei_row *copy, const struct blazei_row *row)
{
	const struct blazei_entry *entry = blazei_row_first(row);
	const uint32_t count = blazei_row_alive(row) ? row->entry_count : 0;
	const uint32_t life = row->life;

	copy->used = 0;
	copy->entry_count = 0;
	for (uint32_t i = 0; i < count; i++) {
		const struct blazei_entry *next = blazei_entry_next(entry);
		size_t bytes = (size_t)((const uint8_t *)next - (const uint8_t *)entry);
		uint8_t *to = copy->entries + copy->used;

		if (entry->life == life) {
			if (to != (const uint8_t *)entry)
				memmove(to, entry, bytes);
			copy->used += (uint32_t)bytes;
			copy->entry_count++;
		}
		entry = next;
	}
}

/* Whether there is nothing of other lives in a row. */
static inline bool one_life(const struct blazei_row *row)
{
	const struct blazei_entry *entry = blazei_row_first(row);

	for (uint32_t i = 0; i < row->entry_count; i++) {
		if (entry->life != row->life)
			return false;
		entry = blazei_entry_next(entry);
	}
	return true;
}

/* A copy of what of a row a reader sees: all that the transaction will ever ask of it. */
static int row_copy(struct blazei_writeset *writeset, const struct blazei_row *row,
                    struct blazei_row **ret_copy)
{
	struct blazei_row *copy;
	void *memory;
	int rc = blazei_arena_take(&writeset->arena,
	                           sizeof(*row) + (blazei_row_alive(row) ? row->used : 0), &memory);

	if (rc < 0)
		return rc;
	copy = memory;
	*copy = *row;
	row_keep(copy, row);
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

/* Adds a record as it was found. Fields are set one by one: what is built elsewhere and copied at
 * once makes the CPU wait for its own stores. */
static int record_add(struct blazei_writeset *writeset, const struct blaze_id *id, uint64_t hash,
                      struct blazei_row *base, uint32_t next_life)
{
	struct blazei_staged *staged;
	void *memory;
	int rc = 0;

	if (writeset->count == (writeset->mask + 1) / 2)
		rc = slots_resize(writeset, (writeset->mask + 1) * 2);
	if (rc == 0)
		rc = blazei_arena_take(&writeset->arena, sizeof(*staged), &memory);
	if (rc < 0)
		return rc;
	staged = memory;
	staged->id = *id;
	staged->hash = hash;
	staged->base = base;
	staged->next_life = next_life;
	staged->encoded = 0;
	staged->measured = false;
	staged->now.alive = base && blazei_row_alive(base);
	staged->now.affirmed = false;
	staged->now.life = BLAZEI_FIRST;
	for (unsigned life = 0; life < BLAZEI_LIVES; life++) {
		list_init(&staged->lists[life]);
		list_init(&staged->spares[life]);
	}
	writeset->list[writeset->count] = staged;
	slot_put(writeset, writeset->count++);
	writeset->recent = staged;
	return 0;
}

static int record_find_and_add(struct blazei_replica *replica, struct blazei_writeset *writeset,
                               const struct blaze_id *id, uint64_t hash)
{
	const struct blazei_row *row = blazei_table_find(&replica->table, id, hash);
	struct blazei_row *base = NULL;
	int rc = blazei_members_update(replica);

	if (rc == 0 && row)
		rc = row_copy(writeset, row, &base);
	if (rc == 0)
		rc = record_add(writeset, id, hash, base, blazei_next_life(replica, row));
	if (rc == 0)
		writeset->recent->reindexed = blazei_reindexed(replica);
	return rc;
}

/* The same without the lock, of a record that is alive: nothing beside its row is asked for. */
static bool record_peek_and_add(struct blazei_replica *replica, struct blazei_writeset *writeset,
                                const struct blaze_id *id, uint64_t hash)
{
	struct blazei_row *copy = blazei_arena_room(&writeset->arena, BLAZEI_SLAB_BYTES_MAX);
	/* Before the row: it may have other indices than this says, but none of before. */
	const uint64_t reindexed = blazei_reindexed(replica);
	uint32_t next_life;
	void *memory;

	if (!copy || blazei_peek_row(&replica->table, id, hash, copy) < 0 ||
	    !blazei_row_alive(copy))
		return false;
	next_life = blazei_life_after(copy->life);
	if (blazei_unlikely(!one_life(copy))) {
		next_life = blazei_next_life(replica, copy);
		row_keep(copy, copy);
	}
	if (blazei_arena_take(&writeset->arena, sizeof(*copy) + copy->used, &memory) < 0 ||
	    record_add(writeset, id, hash, copy, next_life) < 0)
		return false;
	writeset->recent->reindexed = reindexed;
	return true;
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

/* The record, if the transaction touched it before; gives the hash of its id otherwise. */
static inline struct blazei_staged *record_seek(const struct blazei_replica *replica,
                                                struct blazei_writeset *writeset,
                                                const struct blaze_id *id, uint64_t *ret_hash)
{
	struct blazei_staged *staged = writeset->recent;

	if (staged && blazei_id_equal(&staged->id, id))
		return staged;
	*ret_hash = blazei_table_hash(&replica->table, id);
	staged = record_find(writeset, id, *ret_hash);
	if (staged)
		writeset->recent = staged;
	return staged;
}

bool blazei_writeset_peek(struct blazei_replica *replica, struct blazei_writeset *writeset,
                          const struct blaze_id *id)
{
	uint64_t hash;

	return record_seek(replica, writeset, id, &hash) ||
	       record_peek_and_add(replica, writeset, id, hash);
}

int blazei_writeset_touch(struct blazei_replica *replica, struct blazei_writeset *writeset,
                          const struct blaze_id *id, struct blazei_staged **ret_staged)
{
	uint64_t hash;
	int rc = 0;

	if (!record_seek(replica, writeset, id, &hash))
		rc = record_find_and_add(replica, writeset, id, hash);
	if (rc == 0)
		*ret_staged = writeset->recent;
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

	return order != 0 ? order : (left->life > right->life) - (left->life < right->life);
}

static int groups_compare(const void *a, const void *b)
{
	return group_compare(*(const struct blazei_write_group *const *)a,
	                     *(const struct blazei_write_group *const *)b);
}

/* What of an id decides, as a number, and in its lowest bits the place where it was: so no two are
 * the same. */
static inline uint64_t group_rank(const struct blazei_write_group *group, uint32_t place)
{
	uint64_t rank;

	memcpy(&rank, group->id->bytes, sizeof(rank));
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	rank = __builtin_bswap64(rank);
#endif
	return (rank & ~(uint64_t)(SORT_FEW - 1)) | place;
}

/* Sorts at most SORT_FEW by the first halves of their ids, each to the place that is the number of
 * those below it: no branch depends on the ids, which nobody could predict. Whether that was
 * enough: no two halves are the same but for the bits that the place took. */
static bool groups_rank(struct blazei_write_group **groups, uint32_t count)
{
	struct blazei_write_group *unsorted[SORT_FEW];
	uint64_t ranks[SORT_FEW];
	uint64_t sorted[SORT_FEW];
	uint32_t padded = (uint32_t)blazei_round_up(count, 4);
	bool unique = true;

	for (uint32_t i = 0; i < count; i++) {
		unsorted[i] = groups[i];
		ranks[i] = group_rank(groups[i], i);
	}
	for (uint32_t i = count; i < padded; i++)
		ranks[i] = UINT64_MAX;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t place = 0;

		for (uint32_t j = 0; j < padded; j += 4) {
			place += ranks[j] < ranks[i];
			place += ranks[j + 1] < ranks[i];
			place += ranks[j + 2] < ranks[i];
			place += ranks[j + 3] < ranks[i];
		}
		groups[place] = unsorted[i];
		sorted[place] = ranks[i];
	}
	for (uint32_t i = 1; i < count; i++)
		unique = unique && (sorted[i] ^ sorted[i - 1]) >= SORT_FEW;
	return unique;
}

/* A few are sorted without a call for each comparison. */
static void groups_sort(struct blazei_write_group **groups, uint32_t count)
{
	if (count > SORT_FEW) {
		qsort(groups, count, sizeof(struct blazei_write_group *), groups_compare);
		return;
	}
	if (groups_rank(groups, count))
		return;
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

/* Where stamps were given other indices since the record was touched, the copy's are given those of
 * the row as it is now. Of what was written since, H tells that it is not what was seen, whoever
 * wrote either. */
static void base_mend(const struct blazei_replica *replica, struct blazei_staged *staged)
{
	const struct blazei_row *row =
	        blazei_table_find(&replica->table, &staged->id, staged->hash);
	struct blazei_entry *entry = blazei_row_first(staged->base);
	const struct blazei_entry *now = NULL;

	staged->base->origin = row ? row->origin : 0;
	for (uint32_t i = 0; i < staged->base->entry_count; i++) {
		if (row)
			now = blazei_row_find(row, entry->name, entry->life);
		entry->origin = now ? now->origin : 0;
		entry = blazei_entry_next(entry);
	}
	staged->reindexed = blazei_reindexed(replica);
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
		unsigned n;

		if (blazei_unlikely(staged->base && staged->reindexed != blazei_reindexed(replica)))
			base_mend(replica, staged);
		n = blazei_staged_groups(replica, staged);
		for (unsigned j = 0; j < n; j++)
			writeset->groups[count++] = &staged->groups[j];
	}
	groups_sort(writeset->groups, count);
	replica->committing = writeset;
	rc = blazei_commit(replica, now_ns, writeset->groups, count, ret_txn);
	replica->committing = NULL;
	return rc;
}
