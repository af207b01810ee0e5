/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a record: its fields without copies, and a builder from parts.
 *
 * LAYOUT One allocation holds the struct, the field table and the bytes, at the sizes asked for in
 *        blazei_record_sized; a table or bytes outgrown move to one of their own. In the bytes, a
 *        field is its name, NUL, its value's CBOR, NUL: so names and the text of string values
 *        can be handed out as C strings.
 *
 * INVARIANTS
 *   I1   Fields ascend by blazei_key_compare of their names, which are unique: the order of keys
 *        in deterministic CBOR, and what makes lookups a binary search.
 *   I2   Each value is one that blazei_value_check accepts, or empty where the field is unset.
 *   I3   Programs don't take a record beyond BLAZEI_RECORD_FIELDS_MAX and _BYTES_MAX. Merging may:
 *        records that were written apart become one. Such a record is read like any other, and what
 *        makes it smaller is taken.
 *   I4   A call that fails leaves the fields as they were. */
#ifndef BLAZEI_RECORD_H
#define BLAZEI_RECORD_H

#include <blaze/record.h>

#include "lib/base/base.h"

#define BLAZEI_RECORD_FIELDS_MAX 1024
#define BLAZEI_RECORD_BYTES_MAX  (1U << 20) /* names and encoded values, without heads and NULs */
#define BLAZEI_NAME_BYTES_MAX    255

struct blazei_record_field {
	uint32_t at;         /* where the name starts in the record's bytes */
	uint32_t slot_bytes; /* room for the value, its NUL not counted */
	uint32_t value_len;
	uint8_t name_len;
	bool unset;
};

static_assert(sizeof(struct blazei_record_field) == 16, "four fields fill a cache line");

struct blaze_record {
	struct blazei_record_field *fields;
	uint8_t *bytes;
	uint32_t count;
	uint32_t count_max;
	uint32_t used; /* of bytes, slots left behind by replaced values included */
	uint32_t bytes_max;
	uint32_t names_values; /* bytes of all names and values: what the limit is about */
	uint32_t recent;   /* index of the field that was set last; below count, or both are 0 */
	bool bytes_inline; /* the bytes are part of the record's own allocation */
};

struct blazei_field_view {
	const char *name; /* NUL-terminated */
	const void *value;
	uint32_t value_len; /* 0 where unset */
	uint8_t name_len;
	bool unset;
};

/* A record with room for field_count fields and names_values bytes, so that as many appends don't
 * allocate; either may be 0, and both are hints. 0 or -ENOMEM. */
int blazei_record_sized(unsigned field_count, size_t names_values,
                        struct blaze_record **ret_record);

/* Adds a field from trusted parts: a valid name that the record does not have, and a checked
 * value. Cheapest in ascending order of the names. 0; -ENOMEM; -E2BIG beyond what can be held at
 * all, a gigabyte: the limits of programs are not looked at (I3). */
int blazei_record_append(struct blaze_record *record, const void *name, size_t name_len,
                         const void *value, size_t value_len);

/* The index of a field, or -ENOENT. */
int blazei_record_find(const struct blaze_record *record, const void *name, size_t name_len);

/* Field index, below record->count. The pointers stay valid until the record changes. */
static inline void blazei_record_view(const struct blaze_record *record, unsigned index,
                                      struct blazei_field_view *ret_view)
{
	const struct blazei_record_field *field = &record->fields[index];
	const uint8_t *name = record->bytes + field->at;

	ret_view->name = (const char *)name;
	ret_view->value = name + field->name_len + 1;
	ret_view->value_len = field->value_len;
	ret_view->name_len = field->name_len;
	ret_view->unset = field->unset;
}

/* The text of the field that was set last, if it has this name, which ends in a NUL; else NULL.
 * Programs set the same field again and again. */
static inline const char *blazei_record_recent(const struct blaze_record *record, const char *name,
                                               uint8_t *ret_len)
{
	const struct blazei_record_field *field = &record->fields[record->recent];
	const char *known;

	if (record->count == 0)
		return NULL;
	known = (const char *)record->bytes + field->at;
	for (unsigned i = 0; i < field->name_len; i++)
		if (name[i] != known[i] || name[i] == '\0')
			return NULL;
	*ret_len = field->name_len;
	return name[field->name_len] == '\0' ? known : NULL;
}

/* For the setters: a name and a value in two parts (a head, and bytes that may lie within the
 * record itself), or the mark of a field to be removed. */
struct blazei_field_source {
	const void *name;
	const void *head;
	const void *body;
	uint32_t head_len;
	uint32_t body_len;
	uint8_t name_len;
	bool unset;
};

/* Creates or replaces a field; the source's parts are trusted as in blazei_record_append. 0,
 * -E2BIG, -ENOMEM. */
int blazei_record_store(struct blaze_record *record, const struct blazei_field_source *source);

#endif
