/* SPDX-License-Identifier: Apache-2.0 */
/* Making and ending watches, what they want, and the lists of events in them; see watch.h. */
#include <stdlib.h>

#include "lib/db/db.h"
#include "lib/op/record.h"
#include "lib/op/value.h"

/* Lists -------------------------------------------------------------------------------------- */

void blazei_happening_put(struct blazei_happening *happening)
{
	/* Acquire and release: whoever frees it comes after all that others read of it. */
	if (atomic_fetch_sub_explicit(&happening->refs, 1, memory_order_acq_rel) != 1)
		return;
	blaze_record_free(happening->before);
	blaze_record_free(happening->after);
	free(happening->conflict);
	free(happening);
}

bool blazei_watch_list_add(struct blazei_watch_list *list, struct blazei_happening *happening)
{
	struct blazei_watch_item *item = malloc(sizeof(*item));

	if (item == NULL)
		return false;
	/* Relaxed: the caller holds a reference, so this one is never the first. */
	atomic_fetch_add_explicit(&happening->refs, 1, memory_order_relaxed);
	*item = (struct blazei_watch_item){ .happening = happening };
	if (list->last != NULL)
		list->last->next = item;
	else
		list->first = item;
	list->last = item;
	list->count++;
	list->bytes += happening->bytes;
	return true;
}

void blazei_watch_list_clear(struct blazei_watch_list *list)
{
	struct blazei_watch_item *item = list->first;

	while (item != NULL) {
		struct blazei_watch_item *next = item->next;

		blazei_happening_put(item->happening);
		free(item);
		item = next;
	}
	*list = (struct blazei_watch_list){ .first = NULL };
}

/* Filters ------------------------------------------------------------------------------------ */

bool blazei_watch_covers(const struct blaze_watch *watch, uint32_t kinds, const struct blaze_id *id)
{
	return (watch->kinds & kinds) != 0 &&
	       memcmp(id->bytes, watch->from.bytes, sizeof(id->bytes)) >= 0 &&
	       memcmp(id->bytes, watch->to.bytes, sizeof(id->bytes)) <= 0;
}

/* Whether the field is not the same in both; either record may be NULL. */
static bool field_differs(const struct blaze_record *a, const struct blaze_record *b,
                          const char *name)
{
	struct blazei_field_view in_a = { .name_len = 0 }, in_b = { .name_len = 0 };
	int at_a = a != NULL ? blazei_record_find(a, name, strlen(name)) : -ENOENT;
	int at_b = b != NULL ? blazei_record_find(b, name, strlen(name)) : -ENOENT;

	if (at_a < 0 || at_b < 0)
		return (at_a < 0) != (at_b < 0);
	blazei_record_view(a, (unsigned)at_a, &in_a);
	blazei_record_view(b, (unsigned)at_b, &in_b);
	return in_a.value_len != in_b.value_len ||
	       memcmp(in_a.value, in_b.value, in_a.value_len) != 0;
}

bool blazei_watch_field_matches(const struct blaze_watch *watch,
                                const struct blazei_happening *happening)
{
	const struct blazei_conflict_entry *conflict = happening->conflict;

	if (watch->field_count == 0)
		return true;
	if (conflict != NULL && !conflict->named)
		return true;
	for (uint32_t i = 0; i < watch->field_count; i++) {
		const char *field = watch->fields[i];

		if (conflict != NULL
		            ? strlen(field) == conflict->name_len &&
		                      memcmp(field, conflict->text, conflict->name_len) == 0
		            : field_differs(happening->before, happening->after, field))
			return true;
	}
	return false;
}

/* Life --------------------------------------------------------------------------------------- */

void blazei_watch_free(struct blaze_watch *watch)
{
	for (uint32_t i = 0; i < watch->field_count; i++)
		free(watch->fields[i]);
	free(watch->fields);
	free(watch);
}

static int fields_copy(struct blaze_watch *watch, const struct blaze_watch_options *options)
{
	if (options->field_count == 0)
		return 0;
	watch->fields = calloc(options->field_count, sizeof(char *));
	if (watch->fields == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < options->field_count; i++) {
		watch->fields[i] = strdup(options->fields[i]);
		if (watch->fields[i] == NULL)
			return -ENOMEM;
		watch->field_count++;
	}
	return 0;
}

static int options_check(const struct blaze_watch_options *options)
{
	if (options->flags != 0 || (options->kinds & ~BLAZEI_WATCH_KINDS) != 0)
		return -EINVAL;
	if (options->id != NULL && (options->from != NULL || options->to != NULL))
		return -EINVAL;
	if (options->field_count != 0 && options->fields == NULL)
		return -EINVAL;
	if (options->field_count > BLAZEI_RECORD_FIELDS_MAX ||
	    options->queue_events > BLAZEI_WATCH_ITEM_MAX ||
	    options->queue_bytes > BLAZEI_WATCH_ITEM_MAX)
		return -E2BIG;
	for (uint32_t i = 0; i < options->field_count; i++)
		if (options->fields[i] == NULL ||
		    strlen(options->fields[i]) > BLAZEI_NAME_BYTES_MAX ||
		    !blazei_utf8_valid(options->fields[i], strlen(options->fields[i])))
			return -EINVAL;
	return 0;
}

/* The range of ids, both ends inclusive. False: it is empty, but for nothing to watch. */
static bool range_set(struct blaze_watch *watch, const struct blaze_watch_options *options)
{
	memset(watch->to.bytes, 0xff, sizeof(watch->to.bytes));
	if (options->id != NULL) {
		watch->from = *options->id;
		watch->to = *options->id;
	}
	if (options->from != NULL)
		watch->from = *options->from;
	if (options->to == NULL)
		return true;
	watch->to = *options->to;
	/* One less; there is nothing below zero. */
	for (int i = sizeof(watch->to.bytes) - 1; i >= 0; i--)
		if (watch->to.bytes[i]-- != 0)
			return true;
	return false;
}

static int watch_new(struct blaze_db *db, const struct blaze_watch_options *options,
                     struct blaze_watch **ret_watch)
{
	struct blaze_watch *watch = calloc(1, sizeof(*watch));

	if (watch == NULL)
		return -ENOMEM;
	watch->db = db;
	watch->fork_generation = db->fork_generation;
	watch->kinds = options->kinds != 0 ? options->kinds : BLAZEI_WATCH_KINDS;
	watch->events_max =
	        options->queue_events != 0 ? options->queue_events : BLAZEI_WATCH_EVENTS;
	watch->bytes_max = options->queue_bytes != 0 ? options->queue_bytes : BLAZEI_WATCH_BYTES;
	if (!range_set(watch, options))
		watch->kinds &= ~(BLAZEI_WATCH_CHANGES | BLAZE_WATCH_CONFLICT);
	if (fields_copy(watch, options) < 0) {
		blazei_watch_free(watch);
		return -ENOMEM;
	}
	*ret_watch = watch;
	return 0;
}

int blaze_db_watch(struct blaze_db *db, const struct blaze_watch_options *options,
                   blaze_watch_callback callback, void *arg, struct blaze_watch **ret_watch)
{
	struct blaze_watch_options known;
	struct blaze_watch *watch, **at;
	int error = blazei_db_usable(db);

	if (error != 0)
		return error;
	if (callback == NULL || ret_watch == NULL)
		return -EINVAL;
	error = blazei_options_read(options, sizeof(known), &known);
	if (error == 0)
		error = options_check(&known);
	if (error == 0)
		error = watch_new(db, &known, &watch);
	if (error != 0)
		return error;
	watch->callback = callback;
	watch->arg = arg;
	if ((db->flags & BLAZE_DB_MANUAL) == 0) {
		error = blazei_notify_start();
		if (error != 0) {
			blazei_watch_free(watch);
			return error;
		}
	}
	pthread_mutex_lock(&db->lock);
	for (at = &db->watches; *at != NULL; at = &(*at)->next)
		;
	*at = watch;
	blazei_db_listen(db);
	/* Before anybody can stop it: its first event may come as soon as the lock is free. */
	*ret_watch = watch;
	blazei_db_tell_past(db, watch);
	pthread_mutex_unlock(&db->lock);
	return 0;
}

void blaze_watch_stop(struct blaze_watch *watch)
{
	struct blaze_db *db;

	if (watch == NULL || blazei_forked_since(watch->fork_generation))
		return;
	db = watch->db;
	pthread_mutex_lock(&db->lock);
	for (struct blaze_watch **at = &db->watches; *at != NULL; at = &(*at)->next) {
		if (*at == watch) {
			*at = watch->next;
			break;
		}
	}
	blazei_watch_list_clear(&watch->open);
	blazei_db_listen(db);
	pthread_mutex_unlock(&db->lock);
	blazei_notify_end(watch);
}
