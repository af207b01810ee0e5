/* SPDX-License-Identifier: Apache-2.0 */
/* The list of what others have not seen; see reissue.h. */
#include <stdlib.h>

#include "lib/repl/mark_core.h"
#include "lib/repl/reissue.h"

#define ITEMS_MIN 16u

void blazei_unseen_list_clear(struct blazei_unseen_list *list)
{
	for (uint32_t i = list->next; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct blazei_unseen_list){ 0 };
}

/* A row, and what is asked of it. */
struct subject {
	const struct blazei_row *row;
	const uint64_t *seen; /* by origin index */
	bool existence;       /* it is unseen */
	bool known;           /* to all: the lives that it ends are over for good */
};

static bool unseen(const struct subject *subject, const struct blazei_entry *entry)
{
	/* One that has not begun may begin; and one that is over go on, by an existence that had
	 * not seen its end and beats it. */
	return (!subject->known || !blazei_life_ended(subject->row, entry->life)) &&
	       entry->life != BLAZEI_LIFE_MAX && entry->seq > subject->seen[entry->origin];
}

/* Whether an entry is listed, if only as it goes along into another life. */
static bool taken(const struct subject *subject, const struct blazei_entry *entry)
{
	return unseen(subject, entry) || (subject->existence && blazei_row_alive(subject->row) &&
	                                  blazei_entry_visible(subject->row, entry));
}

/* Copies what is listed. */
static struct blazei_unseen *item_make(const struct subject *subject, uint64_t bytes)
{
	const struct blazei_row *row = subject->row;
	const struct blazei_entry *entry = blazei_row_first(row);
	struct blazei_unseen *item = malloc(sizeof(*item) + bytes);

	if (!item)
		return NULL;
	*item = (struct blazei_unseen){
		.existence = subject->existence,
		.top_life = row->life,
		.row = *row,
	};
	item->row.used = 0;
	item->row.entry_count = 0;
	for (uint32_t i = 0; i < row->entry_count; i++) {
		const struct blazei_entry *next = blazei_entry_next(entry);
		size_t len = (size_t)((const uint8_t *)next - (const uint8_t *)entry);
		struct blazei_entry *copy =
		        (struct blazei_entry *)(item->row.entries + item->row.used);

		if (entry->life > item->top_life && entry->life != BLAZEI_LIFE_MAX)
			item->top_life = entry->life;
		if (taken(subject, entry)) {
			memcpy(copy, entry, len);
			if (unseen(subject, entry))
				copy->flags |= BLAZEI_ENTRY_MARKED;
			item->row.used += (uint32_t)len;
			item->row.entry_count++;
		}
		entry = next;
	}
	return item;
}

/* 0, or -ENOMEM. *ret_item is NULL where nothing of the row is listed. */
static int row_list(const struct subject *subject, struct blazei_unseen **ret_item)
{
	const struct blazei_entry *entry = blazei_row_first(subject->row);
	bool any = subject->existence;
	uint64_t bytes = 0;

	*ret_item = NULL;
	for (uint32_t i = 0; i < subject->row->entry_count; i++) {
		const struct blazei_entry *next = blazei_entry_next(entry);

		any = any || unseen(subject, entry);
		if (taken(subject, entry))
			bytes += (uint64_t)((const uint8_t *)next - (const uint8_t *)entry);
		entry = next;
	}
	if (!any)
		return 0;
	*ret_item = item_make(subject, bytes);
	return *ret_item ? 0 : -ENOMEM;
}

static bool list_grow(struct blazei_unseen_list *list)
{
	const uint32_t max = list->max ? list->max * 2 : ITEMS_MIN;
	struct blazei_unseen **items;

	if (list->count < list->max)
		return true;
	items = realloc(list->items, max * sizeof(struct blazei_unseen *));
	if (!items)
		return false;
	list->items = items;
	list->max = max;
	return true;
}

static int items_compare(const void *a, const void *b)
{
	const struct blazei_unseen *left = *(const struct blazei_unseen *const *)a;
	const struct blazei_unseen *right = *(const struct blazei_unseen *const *)b;

	return memcmp(left->row.id.bytes, right->row.id.bytes, sizeof(left->row.id.bytes));
}

/* Adds what `seen`, by origin index, does not cover. */
static int rows_list(struct blazei_unseen_list *list, const struct blazei_replica *replica,
                     const uint64_t *seen)
{
	const uint32_t before = list->count;
	int rc = 0;

	for (uint32_t i = 0; i < replica->table.row_count && rc == 0; i++) {
		const struct blazei_row *row = replica->table.rows[i];
		struct subject subject = { .row = row, .seen = seen };

		subject.existence = row->flags & BLAZEI_ROW_EXISTS && row->seq > seen[row->origin];
		subject.known = blazei_below(&replica->members, row->origin, row->seq);
		rc = list_grow(list) ? row_list(&subject, &list->items[list->count]) : -ENOMEM;
		if (rc == 0)
			list->count += list->items[list->count] != NULL;
	}
	while (rc < 0 && list->count > before)
		free(list->items[--list->count]);
	if (list->count > before)
		qsort(list->items + before, list->count - before, sizeof(*list->items),
		      items_compare);
	return rc;
}

int blazei_unseen_list_fill(struct blazei_unseen_list *list, struct blazei_replica *replica,
                            const struct blazei_vector_view *seen)
{
	const struct blazei_vector *vector = &replica->vector;
	/* Who is a member must be known: what one wrote comes from it alone. */
	int rc = blazei_members_refresh(replica);
	uint64_t *seqs;

	if (rc < 0)
		return rc;
	seqs = calloc(vector->count, sizeof(*seqs));
	if (!seqs)
		return -ENOMEM;
	blazei_stamps_spread(replica, seen->entries, sizeof(*seen->entries), seen->count, seqs);
	for (unsigned i = 0; i < vector->count; i++) {
		const struct blaze_id *node = &vector->origins[i].node;

		if (!blazei_id_equal(node, &vector->origins[0].node) &&
		    blazei_replica_membership(replica, node) == BLAZEI_MEMBER_JOINED)
			seqs[i] = UINT64_MAX;
	}
	rc = rows_list(list, replica, seqs);
	free(seqs);
	return rc;
}
