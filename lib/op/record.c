/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps a record's fields: finds, adds and replaces them, within the limits.
 *
 * WHY    Reading a record from a database builds one of these, so that must cost one allocation:
 *        blazei_record_sized makes it. Programs build records by setters, where sizes are not
 *        known: there the table and the bytes grow by doubling, each into memory of its own.
 *        A hash table was rejected: records have few fields, and the order is needed anyway.
 *
 *        A replaced value goes where the old one was, if it fits there; else the field moves to
 *        the end and leaves its slot behind. Slots left behind are dropped when the bytes grow:
 *        they grow to twice what the fields need then, so the bytes stay within a constant factor
 *        of the most that the fields ever needed.
 *
 * FAILURE  What a call needs is allocated before anything changes. */
#include "lib/op/record.h"

#include <stdlib.h>

#include "lib/op/value.h"

#define FIELDS_MIN 8
#define BYTES_MIN  256
#define FIELD_NULS 2 /* bytes of a field beyond its name and value */

/* What merging may make: twice that still counts in 32 bits. */
#define HELD_FIELDS_MAX (1u << 24)
#define HELD_BYTES_MAX  (1u << 30)

/* The table is part of the record's own allocation until it grows. */
static bool table_is_inline(const struct blaze_record *record)
{
	return (const void *)record->fields == (const void *)(record + 1);
}

int blazei_record_sized(unsigned field_count, size_t names_values, struct blaze_record **ret_record)
{
	struct blaze_record *record;
	size_t table_bytes, bytes;

	if (field_count > HELD_FIELDS_MAX || names_values > HELD_BYTES_MAX) {
		field_count = 0;
		names_values = 0;
	}
	table_bytes = field_count * sizeof(*record->fields);
	bytes = names_values + (size_t)field_count * FIELD_NULS;
	record = malloc(sizeof(*record) + table_bytes + bytes);
	if (record == NULL)
		return -ENOMEM;
	*record = (struct blaze_record){
		.fields = (struct blazei_record_field *)(record + 1),
		.bytes = (uint8_t *)(record + 1) + table_bytes,
		.count_max = field_count,
		.bytes_max = (uint32_t)bytes,
		.bytes_inline = true,
	};
	*ret_record = record;
	return 0;
}

int blaze_record_new(struct blaze_record **ret_record)
{
	if (ret_record == NULL)
		return -EINVAL;
	return blazei_record_sized(FIELDS_MIN, BYTES_MIN, ret_record);
}

void blaze_record_free(struct blaze_record *record)
{
	if (record == NULL)
		return;
	if (!table_is_inline(record))
		free(record->fields);
	if (!record->bytes_inline)
		free(record->bytes);
	free(record);
}

/* The first field whose name is not below this one, in *ret_index; whether it has this name. */
static bool field_search(const struct blaze_record *record, const void *name, size_t name_len,
                         unsigned *ret_index)
{
	unsigned low = 0, high = record->count;

	while (low < high) {
		const unsigned middle = (low + high) / 2;
		const struct blazei_record_field *field = &record->fields[middle];
		const int order = blazei_key_compare(record->bytes + field->at, field->name_len,
		                                     name, name_len);

		if (order == 0) {
			*ret_index = middle;
			return true;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_index = low;
	return false;
}

int blazei_record_find(const struct blaze_record *record, const void *name, size_t name_len)
{
	unsigned index;

	return field_search(record, name, name_len, &index) ? (int)index : -ENOENT;
}

/* Makes room for one more field. */
static int table_reserve(struct blaze_record *record)
{
	struct blazei_record_field *fields;
	unsigned count_max;

	if (record->count < record->count_max)
		return 0;
	count_max = record->count_max < FIELDS_MIN ? FIELDS_MIN : 2 * record->count_max;
	fields = malloc(count_max * sizeof(*fields));
	if (fields == NULL)
		return -ENOMEM;
	if (record->count)
		memcpy(fields, record->fields, record->count * sizeof(*fields));
	if (!table_is_inline(record))
		free(record->fields);
	record->fields = fields;
	record->count_max = count_max;
	return 0;
}

/* Bytes that are to replace a record's own: a copy of its fields, slots left behind dropped. */
struct moved_bytes {
	uint8_t *bytes; /* NULL: the record's own have room */
	uint32_t used;
	uint32_t bytes_max;
};

static int bytes_prepare(const struct blaze_record *record, size_t extra, struct moved_bytes *ret)
{
	size_t needed = record->names_values + (size_t)record->count * FIELD_NULS + extra;

	*ret = (struct moved_bytes){ .used = record->used };
	if (record->bytes_max - record->used >= extra)
		return 0;
	needed = needed < BYTES_MIN / 2 ? BYTES_MIN : 2 * needed;
	ret->bytes = malloc(needed);
	if (ret->bytes == NULL)
		return -ENOMEM;
	ret->bytes_max = (uint32_t)needed;
	ret->used = 0;
	for (unsigned i = 0; i < record->count; i++) {
		const struct blazei_record_field *field = &record->fields[i];
		const size_t len = (size_t)field->name_len + field->value_len + FIELD_NULS;

		memcpy(ret->bytes + ret->used, record->bytes + field->at, len);
		ret->used += (uint32_t)len;
	}
	return 0;
}

/* Goes over to the new bytes. Their fields lie one after the other in the order of the table. */
static void bytes_commit(struct blaze_record *record, const struct moved_bytes *moved)
{
	uint32_t at = 0;

	if (moved->bytes == NULL)
		return;
	for (unsigned i = 0; i < record->count; i++) {
		struct blazei_record_field *field = &record->fields[i];

		field->at = at;
		field->slot_bytes = field->value_len;
		at += field->name_len + field->value_len + FIELD_NULS;
	}
	if (!record->bytes_inline)
		free(record->bytes);
	record->bytes = moved->bytes;
	record->bytes_max = moved->bytes_max;
	record->bytes_inline = false;
}

/* The body may lie within this record, even across the place it goes to. */
static void value_write(uint8_t *at, const struct blazei_field_source *source)
{
	if (source->body_len)
		memmove(at + source->head_len, source->body, source->body_len);
	blazei_short_copy(at, source->head, source->head_len);
	at[source->head_len + source->body_len] = 0;
}

/* Writes the whole field behind the last one; the old bytes are still there. */
static int field_place(struct blaze_record *record, const struct blazei_field_source *source,
                       struct blazei_record_field *ret_field)
{
	const uint32_t value_len = source->head_len + source->body_len;
	struct moved_bytes moved;
	uint8_t *at;
	int r;

	r = bytes_prepare(record, (size_t)source->name_len + value_len + FIELD_NULS, &moved);
	if (r < 0)
		return r;
	at = (moved.bytes ? moved.bytes : record->bytes) + moved.used;
	if (source->name_len)
		memcpy(at, source->name, source->name_len);
	at[source->name_len] = 0;
	value_write(at + source->name_len + 1, source);
	bytes_commit(record, &moved);
	*ret_field = (struct blazei_record_field){
		.at = moved.used,
		.slot_bytes = value_len,
		.value_len = value_len,
		.name_len = source->name_len,
		.unset = source->unset,
	};
	record->used = moved.used + source->name_len + value_len + FIELD_NULS;
	return 0;
}

static int field_insert(struct blaze_record *record, unsigned index,
                        const struct blazei_field_source *source)
{
	const size_t len = (size_t)source->name_len + source->head_len + source->body_len;
	struct blazei_record_field field;
	int r;

	r = table_reserve(record);
	if (r < 0)
		return r;
	r = field_place(record, source, &field);
	if (r < 0)
		return r;
	if (index < record->count)
		memmove(&record->fields[index + 1], &record->fields[index],
		        (record->count - index) * sizeof(field));
	record->fields[index] = field;
	record->recent = index;
	record->count++;
	record->names_values += (uint32_t)len;
	return 0;
}

static int field_replace(struct blaze_record *record, unsigned index,
                         const struct blazei_field_source *source)
{
	const uint32_t value_len = source->head_len + source->body_len;
	struct blazei_record_field *field = &record->fields[index];
	const uint32_t others = record->names_values - field->value_len;
	int r;

	record->recent = index;
	if (value_len <= field->slot_bytes) {
		value_write(record->bytes + field->at + field->name_len + 1, source);
		field->value_len = value_len;
		field->unset = source->unset;
	} else {
		struct blazei_record_field moved;

		r = field_place(record, source, &moved);
		if (r < 0)
			return r;
		*field = moved;
	}
	record->names_values = others + value_len;
	return 0;
}

/* Whether a record stays within the limits (I3) with `more` bytes and fields more than it has. */
static bool limits_hold(const struct blaze_record *record, int64_t more_bytes, unsigned more_fields)
{
	return (more_fields == 0 || record->count + more_fields <= BLAZEI_RECORD_FIELDS_MAX) &&
	       (more_bytes <= 0 || record->names_values + more_bytes <= BLAZEI_RECORD_BYTES_MAX);
}

/* Whether it is the name that blazei_record_recent gave. */
static inline bool name_is_recent(const struct blaze_record *record, const void *name,
                                  size_t name_len)
{
	const struct blazei_record_field *field = &record->fields[record->recent];

	return record->count > 0 && name == record->bytes + field->at &&
	       name_len == field->name_len;
}

int blazei_record_store(struct blaze_record *record, const struct blazei_field_source *source)
{
	const int64_t value_len = (int64_t)source->head_len + source->body_len;
	unsigned index = record->recent;

	/* Each part alone is checked first, so that their sum does not wrap. */
	if (source->head_len > BLAZEI_RECORD_BYTES_MAX ||
	    source->body_len > BLAZEI_RECORD_BYTES_MAX)
		return -E2BIG;
	if (name_is_recent(record, source->name, source->name_len) ||
	    field_search(record, source->name, source->name_len, &index)) {
		if (!limits_hold(record, value_len - record->fields[index].value_len, 0))
			return -E2BIG;
		return field_replace(record, index, source);
	}
	if (!limits_hold(record, value_len + source->name_len, 1))
		return -E2BIG;
	return field_insert(record, index, source);
}

/* Whether a name comes after those of all fields. */
static inline bool name_is_last(const struct blaze_record *record, const void *name,
                                size_t name_len)
{
	const struct blazei_record_field *last;

	if (record->count == 0)
		return true;
	last = &record->fields[record->count - 1];
	return blazei_key_compare(record->bytes + last->at, last->name_len, name, name_len) < 0;
}

/* Appends where the record was made large enough for that and the name comes last: that is how
 * records are read from a database. */
static inline bool append_in_place(struct blaze_record *record,
                                   const struct blazei_field_source *source)
{
	const uint32_t len = source->name_len + source->body_len;
	uint8_t *at = record->bytes + record->used;

	if (record->count == record->count_max ||
	    record->bytes_max - record->used < (uint64_t)len + FIELD_NULS ||
	    !name_is_last(record, source->name, source->name_len))
		return false;
	record->fields[record->count] = (struct blazei_record_field){
		.at = record->used,
		.slot_bytes = source->body_len,
		.value_len = source->body_len,
		.name_len = source->name_len,
	};
	blazei_short_copy(at, source->name, source->name_len);
	at += source->name_len;
	*at++ = 0;
	blazei_short_copy(at, source->body, source->body_len);
	at[source->body_len] = 0;
	record->used += len + FIELD_NULS;
	record->names_values += len;
	record->count++;
	return true;
}

int blazei_record_append(struct blaze_record *record, const void *name, size_t name_len,
                         const void *value, size_t value_len)
{
	struct blazei_field_source source = { .name = name, .body = value };
	const size_t room = HELD_BYTES_MAX - record->names_values;
	unsigned index = record->count;

	if (name_len > BLAZEI_NAME_BYTES_MAX || record->count >= HELD_FIELDS_MAX ||
	    name_len > room || value_len > room - name_len)
		return -E2BIG;
	source.name_len = (uint8_t)name_len;
	source.body_len = (uint32_t)value_len;
	if (append_in_place(record, &source))
		return 0;
	if (!name_is_last(record, name, name_len))
		(void)field_search(record, name, name_len, &index);
	return field_insert(record, index, &source);
}

unsigned blaze_record_field_count(const struct blaze_record *record)
{
	return record ? record->count : 0;
}

int blaze_record_field_at(const struct blaze_record *record, unsigned index, const char **ret_field,
                          enum blaze_type *ret_type)
{
	struct blazei_field_view view;

	if (record == NULL || ret_field == NULL || ret_type == NULL)
		return -EINVAL;
	if (index >= record->count)
		return -ENOENT;
	blazei_record_view(record, index, &view);
	*ret_field = view.name;
	*ret_type = view.unset ? BLAZE_TYPE_UNSET : blazei_value_type(view.value);
	return 0;
}
