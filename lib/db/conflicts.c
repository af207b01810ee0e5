/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the conflict log: blaze_db_conflicts.
 *
 * WHY    As a scan: the lock is held while one entry is copied, and the visitor is called without
 *        it. What is dropped meanwhile is passed over. */
#include <limits.h>
#include <stdlib.h>

#include "lib/db/db.h"

struct reading {
	struct blaze_db *db;
	struct blaze_conflicts_options options;
	uint64_t next; /* the number to go on with */
	uint64_t last; /* noticed before the call */
	struct blazei_conflict_entry *entry;
	uint32_t cap;
};

/* The first entry from next on that is wanted; NULL: there is none. The lock is held. */
static const struct blazei_conflict_entry *entry_find(struct reading *reading)
{
	const struct blazei_conflict_log *log = &reading->db->conflicts;
	uint64_t first = log->last - log->count + 1;

	if (reading->next < first)
		reading->next = first;
	while (reading->next <= reading->last) {
		uint64_t number = reading->next++;
		const struct blazei_conflict_entry *entry =
		        (const struct blazei_conflict_entry
		                 *)(log->bytes + log->at[number % BLAZEI_CONFLICTS_MAX]);

		if (reading->options.id == NULL || blazei_id_equal(reading->options.id, &entry->id))
			return entry;
	}
	return NULL;
}

/* Copies the next entry. 1, 0 at the end, -ENOMEM. */
static int entry_next(struct reading *reading)
{
	const struct blazei_conflict_entry *entry;
	int result = 0;

	pthread_mutex_lock(&reading->db->lock);
	entry = entry_find(reading);
	if (entry != NULL && entry->bytes > reading->cap) {
		free(reading->entry);
		reading->entry = malloc(entry->bytes);
		reading->cap = reading->entry != NULL ? entry->bytes : 0;
	}
	if (entry != NULL && reading->entry != NULL)
		memcpy(reading->entry, entry, entry->bytes);
	if (entry != NULL)
		result = reading->entry != NULL ? 1 : -ENOMEM;
	pthread_mutex_unlock(&reading->db->lock);
	return result;
}

static int entries_visit(struct reading *reading, blaze_conflict_visitor visitor, void *arg)
{
	uint64_t limit = reading->options.limit != 0 ? reading->options.limit : UINT64_MAX;
	int visited = 0, result = 0;

	/* Bounded by `last`: each step goes on behind the one before. */
	while (limit-- > 0 && result == 0) {
		struct blazei_conflict_view view;
		struct blazei_visit visit;

		result = entry_next(reading);
		if (result <= 0)
			break;
		result = blazei_conflict_decode(reading->entry, &view);
		if (result != 0)
			break;
		blazei_visit_begin(&visit, reading->db);
		result = visitor(arg, &view.conflict);
		blazei_visit_end(&visit);
		blazei_conflict_release(&view);
		if (visited < INT_MAX)
			visited++;
	}
	return result < 0 ? result : visited;
}

int blaze_db_conflicts(struct blaze_db *db, const struct blaze_conflicts_options *options,
                       blaze_conflict_visitor visitor, void *arg)
{
	struct reading reading = { .db = db };
	int result = blazei_db_usable(db);

	if (result != 0)
		return result;
	if (visitor == NULL)
		return -EINVAL;
	result = blazei_options_read(options, sizeof(reading.options), &reading.options);
	if (result != 0)
		return result;
	if (reading.options.flags != 0)
		return -EINVAL;
	if (reading.options.after == UINT64_MAX)
		return 0;
	reading.next = reading.options.after + 1;
	pthread_mutex_lock(&db->lock);
	reading.last = db->conflicts.last;
	pthread_mutex_unlock(&db->lock);
	result = entries_visit(&reading, visitor, arg);
	free(reading.entry);
	return result;
}
