/* SPDX-License-Identifier: Apache-2.0 */
/* JSON: values and records to and from their text forms, as blaze_record(3) states them.
 *
 * Reading is by jansson, which parses to a bounded depth; what it made is walked over an explicit
 * stack. Writing walks the encoded value the same way, and makes its text itself: numbers in the
 * fewest digits that read back as the same double, keys in bytewise order. */
#ifndef BLAZEI_JSON_H
#define BLAZEI_JSON_H

#include <blaze/record.h>

#include "lib/base/base.h"
#include "lib/op/buffer.h"

/* Text to be read; escapes take up to six bytes for one, so this is ample for a full record. */
#define BLAZEI_JSON_BYTES_MAX ((size_t)16 << 20)

/* An object of one member named like this stands for another type. */
enum blazei_json_form {
	BLAZEI_JSON_PLAIN, /* no special form */
	BLAZEI_JSON_BYTES,
	BLAZEI_JSON_TIME,
	BLAZEI_JSON_UUID,
	BLAZEI_JSON_DOUBLE,
	BLAZEI_JSON_MAP,
};

/* The form that the key of an object's only member means. */
enum blazei_json_form blazei_json_form(const char *key, size_t len);

/* Reads one array or object of len bytes and appends its value to out. 0; -EINVAL where it is
 * malformed or does not give that type; -E2BIG; -ENOMEM. */
int blazei_json_read(const char *json, size_t len, enum blaze_type type, struct blazei_buffer *out);

/* Writes a checked value as JSON that the caller frees with free(). 0, -ENOMEM. */
int blazei_json_write(const void *value, size_t len, char **ret_json);

/* Text forms of single types ---------------------------------------------------------------- */

#define BLAZEI_TIME_TEXT_MAX   31 /* with NUL */
#define BLAZEI_DOUBLE_TEXT_MAX 32

/* Appends what padded base64 (RFC 4648) stands for. -EINVAL for anything not canonical. */
int blazei_base64_decode(const char *text, size_t len, struct blazei_buffer *out);
int blazei_base64_encode(const void *data, size_t len, struct blazei_buffer *out);

/* RFC 3339 in UTC: "2026-11-22T09:30:00.25Z", capital letters, up to nine decimals, from 1970 to
 * the end of 64 bits of nanoseconds. -EINVAL for anything else, leap seconds included. */
int blazei_time_parse(const char *text, size_t len, uint64_t *ret_time_ns);
void blazei_time_format(uint64_t time_ns, char ret_text[BLAZEI_TIME_TEXT_MAX]);

/* A finite double in the fewest of 15 to 17 digits that keep it, with a point or an exponent so
 * that it does not read back as an integer; whatever the locale. */
void blazei_double_format(double value, char ret_text[BLAZEI_DOUBLE_TEXT_MAX]);

/* Puts a point where the C library put the locale's own sign, of one byte or several. Returns
 * whether the number has a point or an exponent. */
bool blazei_point_restore(char *text);

#endif
