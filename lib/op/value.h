/* SPDX-License-Identifier: Apache-2.0 */
/* Values: one field's content as deterministic CBOR (RFC 8949, section 4.2).
 *
 * WHY    Equal values must be equal bytes: merge, "was this write a change", and the hash of a
 *        database all compare bytes. So each value has exactly one encoding here, and what a peer
 *        sends is refused unless it is that encoding.
 *
 * LAYOUT of the types:
 *        null, bool     simple values 22, 21, 20
 *        int            major types 0 and 1 within int64
 *        double         the shortest of the 16, 32 and 64 bit floats that keeps it; NaN is f97e00
 *        string, bytes  major types 3 and 2, definite; a string is UTF-8 without NUL
 *        time           tag 1001 (RFC 9581) on the map {1: seconds, -9: nanoseconds}, both always
 *        uuid           tag 37 on 16 bytes
 *        array, map     definite; map keys are strings, ascending by their encoding
 *
 * INVARIANTS
 *   I1   What an encoder writes, blazei_value_check accepts.
 *   I2   Two accepted values are equal if and only if their bytes are.
 *   I3   Nothing here recurses, allocates, or reads beyond the length that it was given.
 *
 * Functions for "a checked value" trust it: pass only what blazei_value_check accepted. */
#ifndef BLAZEI_VALUE_H
#define BLAZEI_VALUE_H

#include <blaze/record.h>

#include "lib/base/base.h"

#define BLAZEI_VALUE_DEPTH_MAX 32   /* arrays and maps open at once */
#define BLAZEI_VALUE_HEAD_MAX  9    /* bytes of any head */
#define BLAZEI_VALUE_SMALL_MAX 20   /* bytes of any value that is no string, bytes, array, map */
#define BLAZEI_VALUE_TIME_TAG  1001 /* RFC 9581 */
#define BLAZEI_VALUE_UUID_TAG  37

/* Encoders. Each writes to buf, of which cap bytes may be used, and returns the bytes written, or
 * 0 where they don't fit (then buf may be partly written). */
size_t blazei_encode_null(uint8_t *buf, size_t cap);
size_t blazei_encode_bool(uint8_t *buf, size_t cap, bool value);
size_t blazei_encode_int(uint8_t *buf, size_t cap, int64_t value);
size_t blazei_encode_double(uint8_t *buf, size_t cap, double value);
/* The text must be UTF-8 without NUL; see blazei_utf8_valid. */
size_t blazei_encode_text(uint8_t *buf, size_t cap, const void *text, size_t len);
size_t blazei_encode_bytes(uint8_t *buf, size_t cap, const void *data, size_t len);
size_t blazei_encode_time(uint8_t *buf, size_t cap, uint64_t time_ns);
size_t blazei_encode_uuid(uint8_t *buf, size_t cap, const struct blaze_id *id);

/* Heads, at most BLAZEI_VALUE_HEAD_MAX bytes; the content is the caller's to append. */
size_t blazei_encode_text_head(uint8_t *buf, size_t cap, size_t len);
size_t blazei_encode_bytes_head(uint8_t *buf, size_t cap, size_t len);
size_t blazei_encode_array_head(uint8_t *buf, size_t cap, size_t count);
size_t blazei_encode_map_head(uint8_t *buf, size_t cap, size_t count);

/* Checks that len bytes are exactly one value as above, at most BLAZEI_VALUE_DEPTH_MAX deep.
 * 0, or -EBADMSG for anything else. Time is linear in len. */
int blazei_value_check(const void *data, size_t len, enum blaze_type *ret_type);

/* The type of a checked value. */
enum blaze_type blazei_value_type(const void *value);

/* Whether len bytes are UTF-8 (RFC 3629: no surrogates, no overlong forms) without NUL. */
bool blazei_utf8_valid(const void *text, size_t len);

#define BLAZEI_EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

/* Whether eight bytes are all ASCII and none is NUL. The subtraction borrows into a byte's high
 * bit only at a zero byte, or above one; and one is all it takes. */
static inline bool blazei_plain_ascii(uint64_t word)
{
	return ((word | (word - BLAZEI_EACH_BYTE(0x01))) & BLAZEI_EACH_BYTE(0x80)) == 0;
}

/* The order of two strings' encodings, which is the order of keys in a map: the shorter first,
 * equal lengths bytewise. Less than, equal to or greater than 0. */
static inline int blazei_key_compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
	if (a_len != b_len)
		return a_len < b_len ? -1 : 1;
	return memcmp(a, b, a_len);
}

/* One item of the encoding: a head, with what belongs to it alone. */
enum blazei_item_kind {
	BLAZEI_ITEM_NULL,
	BLAZEI_ITEM_BOOL,     /* arg is 0 or 1 */
	BLAZEI_ITEM_UNSIGNED, /* the value is arg */
	BLAZEI_ITEM_NEGATIVE, /* the value is -1 - arg */
	BLAZEI_ITEM_DOUBLE,   /* the value is number */
	BLAZEI_ITEM_TEXT,     /* arg bytes at data */
	BLAZEI_ITEM_BYTES,
	BLAZEI_ITEM_ARRAY, /* arg items follow */
	BLAZEI_ITEM_MAP,   /* arg pairs of items follow */
	BLAZEI_ITEM_TAG,   /* one item follows, of tag arg */
};

struct blazei_item {
	enum blazei_item_kind kind;
	size_t size; /* bytes of the item, without the items that follow it */
	uint64_t arg;
	const uint8_t *data;
	double number;
};

/* Reads the item at data, of which len bytes may be read. 0, or -EBADMSG where it is cut short,
 * indefinite, not minimal, or of no kind above. Text is not looked into, and tags and counts are
 * taken as they are. */
int blazei_item_read(const void *data, size_t len, struct blazei_item *ret_item);

/* The bytes of the checked value that starts at data; len bytes may be read. */
size_t blazei_value_size(const void *data, size_t len);

/* The content of checked values: of a string or bytes, and of the types named. len is that of the
 * value. */
const void *blazei_decode_content(const void *value, size_t len, size_t *ret_len);
int64_t blazei_decode_int(const void *value, size_t len);
double blazei_decode_double(const void *value, size_t len);
uint64_t blazei_decode_time(const void *value, size_t len);
void blazei_decode_uuid(const void *value, struct blaze_id *ret_id);

#endif
