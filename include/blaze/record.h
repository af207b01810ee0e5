/* SPDX-License-Identifier: Apache-2.0 */
/* Records: named, typed fields; see blaze_record(3).
 *
 * Values are held as deterministic CBOR (RFC 8949, section 4.2), the same bytes that travel and
 * are stored. Field names are UTF-8 without NUL, 0 to 255 bytes; the empty name is the field that
 * blaze_db_put writes. A record holds at most 1,024 fields and 1 MiB of names and values; nested
 * values are at most 32 deep.
 *
 * Threads: a record may be read by several threads at once, or used by one that changes it.
 * Nothing here blocks. Common errors: -EINVAL NULL or malformed argument (text that is not UTF-8
 * included), -E2BIG beyond a limit, -ENOMEM. A failed call leaves the record as it was. */
#ifndef BLAZE_RECORD_H
#define BLAZE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <blaze/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct blaze_record;

enum blaze_type {
	BLAZE_TYPE_NULL,
	BLAZE_TYPE_BOOL,
	BLAZE_TYPE_INT,
	BLAZE_TYPE_DOUBLE,
	BLAZE_TYPE_STRING,
	BLAZE_TYPE_BYTES,
	BLAZE_TYPE_TIME,
	BLAZE_TYPE_UUID,
	BLAZE_TYPE_ARRAY,
	BLAZE_TYPE_MAP,
	BLAZE_TYPE_UNSET, /* in a patch: the field is to be removed */
};

BLAZE_EXPORT int blaze_record_new(struct blaze_record **ret_record);
BLAZE_EXPORT void blaze_record_free(struct blaze_record *record); /* NULL is ignored */

/* Setters: create the field or replace its value, whatever its type was. Data is copied. Strings
 * are NUL-terminated UTF-8. Times are nanoseconds since 1970-01-01T00:00:00Z. Arrays and maps are
 * given as JSON text of len bytes (see blaze_record_from_json for the forms). */
BLAZE_EXPORT int blaze_record_set_null(struct blaze_record *record, const char *field);
BLAZE_EXPORT int blaze_record_set_bool(struct blaze_record *record, const char *field, bool value);
BLAZE_EXPORT int blaze_record_set_int(struct blaze_record *record, const char *field,
                                      int64_t value);
BLAZE_EXPORT int blaze_record_set_double(struct blaze_record *record, const char *field,
                                         double value);
BLAZE_EXPORT int blaze_record_set_string(struct blaze_record *record, const char *field,
                                         const char *value);
BLAZE_EXPORT int blaze_record_set_bytes(struct blaze_record *record, const char *field,
                                        const void *data, size_t len);
BLAZE_EXPORT int blaze_record_set_time(struct blaze_record *record, const char *field,
                                       uint64_t time_ns);
BLAZE_EXPORT int blaze_record_set_uuid(struct blaze_record *record, const char *field,
                                       const struct blaze_id *value);
BLAZE_EXPORT int blaze_record_set_array(struct blaze_record *record, const char *field,
                                        const char *json, size_t len);
BLAZE_EXPORT int blaze_record_set_map(struct blaze_record *record, const char *field,
                                      const char *json, size_t len);

/* Marks the field as to be removed; only a patch for an update may carry such a mark. */
BLAZE_EXPORT int blaze_record_unset(struct blaze_record *record, const char *field);

/* Getters: -ENOENT no such field, -EINVAL another type. Pointers stay valid until the record
 * changes or is freed; array and map give JSON text that the caller frees with free(). */
BLAZE_EXPORT int blaze_record_get_null(const struct blaze_record *record, const char *field);
BLAZE_EXPORT int blaze_record_get_bool(const struct blaze_record *record, const char *field,
                                       bool *ret_value);
BLAZE_EXPORT int blaze_record_get_int(const struct blaze_record *record, const char *field,
                                      int64_t *ret_value);
BLAZE_EXPORT int blaze_record_get_double(const struct blaze_record *record, const char *field,
                                         double *ret_value);
BLAZE_EXPORT int blaze_record_get_string(const struct blaze_record *record, const char *field,
                                         const char **ret_value);
BLAZE_EXPORT int blaze_record_get_bytes(const struct blaze_record *record, const char *field,
                                        const void **ret_data, size_t *ret_len);
BLAZE_EXPORT int blaze_record_get_time(const struct blaze_record *record, const char *field,
                                       uint64_t *ret_time_ns);
BLAZE_EXPORT int blaze_record_get_uuid(const struct blaze_record *record, const char *field,
                                       struct blaze_id *ret_value);
BLAZE_EXPORT int blaze_record_get_array(const struct blaze_record *record, const char *field,
                                        char **ret_json);
BLAZE_EXPORT int blaze_record_get_map(const struct blaze_record *record, const char *field,
                                      char **ret_json);

/* The number of fields, marks of blaze_record_unset included. */
BLAZE_EXPORT unsigned blaze_record_field_count(const struct blaze_record *record);

/* Field number index, 0 to count - 1, in an order that setters may change. Returns 0 or -ENOENT. */
BLAZE_EXPORT int blaze_record_field_at(const struct blaze_record *record, unsigned index,
                                       const char **ret_field, enum blaze_type *ret_type);

/* Reads one JSON object of len bytes. JSON's own types map to null, bool, int (an integer that
 * fits int64), double, string, array, map. {"$bytes": base64}, {"$time": "RFC 3339 in UTC, up to
 * nine decimals"}, {"$uuid": text} and {"$double": "NaN" | "Infinity" | "-Infinity"} give the
 * other types, and {"$map": {..}} a map that would be mistaken for one of these. Duplicate keys,
 * NUL characters and integers beyond int64 are -EINVAL; text beyond 16 MiB is -E2BIG. */
BLAZE_EXPORT int blaze_record_from_json(const char *json, size_t len,
                                        struct blaze_record **ret_record);

/* Writes one line of JSON in the same forms, keys sorted bytewise; the caller frees it with
 * free(). Reading it back gives an equal record. A mark of blaze_record_unset has no such form:
 * -EINVAL. */
BLAZE_EXPORT int blaze_record_to_json(const struct blaze_record *record, char **ret_json);

#ifdef __cplusplus
}
#endif

#endif
