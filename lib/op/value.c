/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and checks values: what a peer sent is one value in its one encoding, or it is refused.
 *
 * WHY    libcbor's stream decoder splits the bytes into items. It accepts more than deterministic
 *        CBOR does (long forms of short integers and lengths, indefinite lengths, text that is not
 *        UTF-8), so every item is compared with how it would have been encoded, and the order and
 *        nesting of items is checked over an explicit stack of BLAZEI_VALUE_DEPTH_MAX levels.
 *
 *        Nearly every value that replication applies is an integer, a bool, bytes or a string, and
 *        those need neither: blazei_value_check settles them from their head. Instructions counted
 *        by callgrind (gcc 12, -O2): integers 22 to 33, bool and null 19, bytes 32, a string of
 *        10 bytes 85; a double takes 320, a map of two members with an array in it 1,100.
 *
 * INVARIANTS
 *   I1   An item takes at least one byte, and a count above the bytes that are left is refused at
 *        its head: work is linear in the length, whatever the counts say.
 *   I2   Within a map an even number of items to come means that a key is next. */
#include "lib/op/value.h"

#include <cbor/callbacks.h>
#include <cbor/streaming.h>
#include <endian.h>

#define INITIAL_FALSE 0xf4
#define INITIAL_TRUE  0xf5
#define INITIAL_NULL  0xf6
#define INITIAL_UUID  0xd8

enum {
	MAJOR_UNSIGNED,
	MAJOR_NEGATIVE,
	MAJOR_BYTES,
	MAJOR_TEXT,
	MAJOR_ARRAY,
	MAJOR_MAP,
	MAJOR_TAG,
	MAJOR_SIMPLE,
};

/* An array or a map that is being read. */
struct level {
	uint64_t left; /* items to come, keys included */
	const uint8_t *key;
	size_t key_len;
	bool is_map;
	bool has_key;
};

/* What the stream decoder calls. Kinds that are no part of values keep their empty callback: the
 * item then stays ITEM_NONE. */
#define ITEM_NONE ((enum blazei_item_kind) - 1)
#define ITEM_CALLBACK(name, type, item_kind)                                                       \
	static void name(void *context, type arg)                                                  \
	{                                                                                          \
		struct blazei_item *item = context;                                                \
                                                                                                   \
		item->kind = item_kind;                                                            \
		item->arg = arg;                                                                   \
	}
#define CONTENT_CALLBACK(name, item_kind)                                                          \
	static void name(void *context, cbor_data data, size_t len)                                \
	{                                                                                          \
		struct blazei_item *item = context;                                                \
                                                                                                   \
		item->kind = item_kind;                                                            \
		item->data = data;                                                                 \
		item->arg = len;                                                                   \
	}
#define NUMBER_CALLBACK(name, type)                                                                \
	static void name(void *context, type number)                                               \
	{                                                                                          \
		struct blazei_item *item = context;                                                \
                                                                                                   \
		item->kind = BLAZEI_ITEM_DOUBLE;                                                   \
		item->number = (double)number;                                                     \
	}

ITEM_CALLBACK(on_uint8, uint8_t, BLAZEI_ITEM_UNSIGNED)
ITEM_CALLBACK(on_uint16, uint16_t, BLAZEI_ITEM_UNSIGNED)
ITEM_CALLBACK(on_uint32, uint32_t, BLAZEI_ITEM_UNSIGNED)
ITEM_CALLBACK(on_uint64, uint64_t, BLAZEI_ITEM_UNSIGNED)
ITEM_CALLBACK(on_negint8, uint8_t, BLAZEI_ITEM_NEGATIVE)
ITEM_CALLBACK(on_negint16, uint16_t, BLAZEI_ITEM_NEGATIVE)
ITEM_CALLBACK(on_negint32, uint32_t, BLAZEI_ITEM_NEGATIVE)
ITEM_CALLBACK(on_negint64, uint64_t, BLAZEI_ITEM_NEGATIVE)
ITEM_CALLBACK(on_array, size_t, BLAZEI_ITEM_ARRAY)
ITEM_CALLBACK(on_map, size_t, BLAZEI_ITEM_MAP)
ITEM_CALLBACK(on_tag, uint64_t, BLAZEI_ITEM_TAG)
ITEM_CALLBACK(on_bool, bool, BLAZEI_ITEM_BOOL)
CONTENT_CALLBACK(on_bytes, BLAZEI_ITEM_BYTES)
CONTENT_CALLBACK(on_text, BLAZEI_ITEM_TEXT)
NUMBER_CALLBACK(on_float, float)
NUMBER_CALLBACK(on_double, double)

static void on_null(void *context)
{
	struct blazei_item *item = context;

	item->kind = BLAZEI_ITEM_NULL;
}

static const struct cbor_callbacks item_callbacks = {
	.uint8 = on_uint8,
	.uint16 = on_uint16,
	.uint32 = on_uint32,
	.uint64 = on_uint64,
	.negint64 = on_negint64,
	.negint32 = on_negint32,
	.negint16 = on_negint16,
	.negint8 = on_negint8,
	.byte_string_start = cbor_null_byte_string_start_callback,
	.byte_string = on_bytes,
	.string = on_text,
	.string_start = cbor_null_string_start_callback,
	.indef_array_start = cbor_null_indef_array_start_callback,
	.array_start = on_array,
	.indef_map_start = cbor_null_indef_map_start_callback,
	.map_start = on_map,
	.tag = on_tag,
	.float2 = on_float,
	.float4 = on_float,
	.float8 = on_double,
	.undefined = cbor_null_undefined_callback,
	.null = on_null,
	.boolean = on_bool,
	.indef_break = cbor_null_indef_break_callback,
};

/* The bytes of the shortest head with this argument. */
static size_t head_size(uint64_t arg)
{
	if (arg < 24)
		return 1;
	if (arg <= UINT8_MAX)
		return 2;
	if (arg <= UINT16_MAX)
		return 3;
	return arg <= UINT32_MAX ? 5 : 9;
}

static bool item_is_minimal(const struct blazei_item *item, const uint8_t *data)
{
	uint8_t shortest[BLAZEI_VALUE_HEAD_MAX];

	switch (item->kind) {
	case BLAZEI_ITEM_NULL:
	case BLAZEI_ITEM_BOOL:
		return true;
	case BLAZEI_ITEM_DOUBLE:
		return blazei_encode_double(shortest, sizeof(shortest), item->number) ==
		               item->size &&
		       memcmp(shortest, data, item->size) == 0;
	case BLAZEI_ITEM_TEXT:
	case BLAZEI_ITEM_BYTES:
		return item->size - item->arg == head_size(item->arg);
	case BLAZEI_ITEM_UNSIGNED:
	case BLAZEI_ITEM_NEGATIVE:
	case BLAZEI_ITEM_ARRAY:
	case BLAZEI_ITEM_MAP:
	case BLAZEI_ITEM_TAG:
		return item->size == head_size(item->arg);
	}
	return false;
}

int blazei_item_read(const void *data, size_t len, struct blazei_item *ret_item)
{
	struct blazei_item item = { .kind = ITEM_NONE };
	struct cbor_decoder_result result;

	if (len == 0)
		return -EBADMSG;
	result = cbor_stream_decode(data, len, &item_callbacks, &item);
	if (result.status != CBOR_DECODER_FINISHED)
		return -EBADMSG;
	item.size = result.read;
	if (!item_is_minimal(&item, data))
		return -EBADMSG;
	*ret_item = item;
	return 0;
}

/* Reads a head that must be minimal, of a major type whose argument is a number or a length.
 * Returns its bytes, or 0 where it is malformed. */
static inline size_t head_read(const uint8_t *data, size_t len, uint64_t *ret_arg)
{
	const unsigned info = data[0] & 31;
	uint16_t be16;
	uint32_t be32;
	uint64_t be64;

	if (info < 24) {
		*ret_arg = info;
		return 1;
	}
	if (info == 24 && len >= 2) {
		*ret_arg = data[1];
		return data[1] < 24 ? 0 : 2;
	}
	if (info == 25 && len >= 3) {
		memcpy(&be16, data + 1, sizeof(be16));
		*ret_arg = be16toh(be16);
		return *ret_arg <= UINT8_MAX ? 0 : 3;
	}
	if (info == 26 && len >= 5) {
		memcpy(&be32, data + 1, sizeof(be32));
		*ret_arg = be32toh(be32);
		return *ret_arg <= UINT16_MAX ? 0 : 5;
	}
	if (info == 27 && len >= 9) {
		memcpy(&be64, data + 1, sizeof(be64));
		*ret_arg = be64toh(be64);
		return *ret_arg <= UINT32_MAX ? 0 : 9;
	}
	return 0;
}

/* A string. */
static int check_text(const uint8_t *data, size_t len, enum blaze_type *ret_type)
{
	uint64_t arg;
	const size_t size = head_read(data, len, &arg);

	if (size == 0 || len - size != arg || !blazei_utf8_valid(data + size, arg))
		return -EBADMSG;
	*ret_type = BLAZE_TYPE_STRING;
	return 0;
}

/* Checks what follows the tag of a uuid; returns its bytes or -EBADMSG. */
static int64_t check_uuid(const uint8_t *data, size_t len)
{
	struct blazei_item item;

	if (blazei_item_read(data, len, &item) != 0 || item.kind != BLAZEI_ITEM_BYTES ||
	    item.arg != sizeof(struct blaze_id))
		return -EBADMSG;
	return (int64_t)item.size;
}

/* Checks what follows the tag of a time: {1: seconds, -9: nanoseconds}, together in 64 bits of
 * nanoseconds. Returns its bytes or -EBADMSG. */
static int64_t check_time(const uint8_t *data, size_t len, uint64_t *ret_time_ns)
{
	enum {
		MAP,
		KEY_SECONDS,
		SECONDS,
		KEY_NANOS,
		NANOS,
		ITEMS
	};
	static const enum blazei_item_kind kinds[ITEMS] = {
		[MAP] = BLAZEI_ITEM_MAP,          [KEY_SECONDS] = BLAZEI_ITEM_UNSIGNED,
		[SECONDS] = BLAZEI_ITEM_UNSIGNED, [KEY_NANOS] = BLAZEI_ITEM_NEGATIVE,
		[NANOS] = BLAZEI_ITEM_UNSIGNED,
	};
	uint64_t args[ITEMS];
	size_t size = 0;

	for (unsigned i = 0; i < ITEMS; i++) {
		struct blazei_item item;

		if (blazei_item_read(data + size, len - size, &item) != 0 || item.kind != kinds[i])
			return -EBADMSG;
		args[i] = item.arg;
		size += item.size;
	}
	if (args[MAP] != 2 || args[KEY_SECONDS] != 1 || args[KEY_NANOS] != 8 ||
	    args[NANOS] >= BLAZEI_NS_PER_S || args[SECONDS] > UINT64_MAX / BLAZEI_NS_PER_S)
		return -EBADMSG;
	if (__builtin_add_overflow(args[SECONDS] * BLAZEI_NS_PER_S, args[NANOS], ret_time_ns))
		return -EBADMSG;
	return (int64_t)size;
}

/* Checks one item that is not a key. Returns its bytes, those of a tag's content included, or
 * -EBADMSG. */
static int64_t check_item(const uint8_t *data, size_t len, const struct blazei_item *item)
{
	const size_t left = len - item->size;
	uint64_t time_ns;
	int64_t size = 0;

	switch (item->kind) {
	case BLAZEI_ITEM_NULL:
	case BLAZEI_ITEM_BOOL:
	case BLAZEI_ITEM_DOUBLE:
	case BLAZEI_ITEM_BYTES:
		break;
	case BLAZEI_ITEM_UNSIGNED:
	case BLAZEI_ITEM_NEGATIVE:
		if (item->arg > INT64_MAX)
			return -EBADMSG;
		break;
	case BLAZEI_ITEM_TEXT:
		if (!blazei_utf8_valid(item->data, item->arg))
			return -EBADMSG;
		break;
	case BLAZEI_ITEM_ARRAY:
	case BLAZEI_ITEM_MAP:
		if (item->arg > (item->kind == BLAZEI_ITEM_MAP ? left / 2 : left))
			return -EBADMSG;
		break;
	case BLAZEI_ITEM_TAG:
		if (item->arg == BLAZEI_VALUE_UUID_TAG)
			size = check_uuid(data + item->size, left);
		else if (item->arg == BLAZEI_VALUE_TIME_TAG)
			size = check_time(data + item->size, left, &time_ns);
		else
			return -EBADMSG;
		break;
	}
	return size < 0 ? size : (int64_t)item->size + size;
}

/* Checks a key of a map: text, and above the key before it. */
static bool check_key(const struct blazei_item *item, struct level *level)
{
	if (item->kind != BLAZEI_ITEM_TEXT || !blazei_utf8_valid(item->data, item->arg))
		return false;
	if (level->has_key &&
	    blazei_key_compare(level->key, level->key_len, item->data, item->arg) >= 0)
		return false;
	level->key = item->data;
	level->key_len = item->arg;
	level->has_key = true;
	return true;
}

/* Checks the next item within the innermost level. Returns its bytes or -EBADMSG. */
static int64_t check_next(const uint8_t *data, size_t len, struct level *level,
                          struct blazei_item *ret_item)
{
	if (blazei_item_read(data, len, ret_item) != 0)
		return -EBADMSG;
	if (!level->is_map || level->left % 2 != 0)
		return check_item(data, len, ret_item);
	return check_key(ret_item, level) ? (int64_t)ret_item->size : -EBADMSG;
}

/* The general case. Level 0 stands for the value itself: one item to come. */
static int check_nested(const uint8_t *data, size_t len)
{
	struct level levels[1 + BLAZEI_VALUE_DEPTH_MAX];
	struct level *level = levels;

	*level = (struct level){ .left = 1 };
	for (;;) {
		struct blazei_item item;
		const int64_t size = check_next(data, len, level, &item);

		if (size < 0)
			return -EBADMSG;
		data += size;
		len -= (size_t)size;
		level->left--;
		if (item.kind == BLAZEI_ITEM_ARRAY || item.kind == BLAZEI_ITEM_MAP) {
			if (level == levels + BLAZEI_VALUE_DEPTH_MAX)
				return -EBADMSG;
			level++;
			*level = (struct level){ .is_map = item.kind == BLAZEI_ITEM_MAP };
			level->left = level->is_map ? 2 * item.arg : item.arg;
		}
		while (level->left == 0) {
			if (level == levels)
				return len == 0 ? 0 : -EBADMSG;
			level--;
		}
	}
}

/* All but the plain values. Kept out of line, so that those pay for no registers to be saved. */
static __attribute__((noinline)) int check_other(const uint8_t *data, size_t len,
                                                 enum blaze_type *ret_type)
{
	int r;

	if (data[0] >> 5 == MAJOR_TEXT)
		return check_text(data, len, ret_type);
	r = check_nested(data, len);
	if (r == 0)
		*ret_type = blazei_value_type(data);
	return r;
}

int blazei_value_check(const void *data, size_t len, enum blaze_type *ret_type)
{
	const uint8_t *initial = data;
	uint64_t arg;
	size_t size;

	if (len == 0)
		return -EBADMSG;
	if (*initial >> 5 > MAJOR_BYTES) {
		if (*initial < INITIAL_FALSE || *initial > INITIAL_NULL)
			return check_other(data, len, ret_type);
		if (len != 1)
			return -EBADMSG;
		*ret_type = *initial == INITIAL_NULL ? BLAZE_TYPE_NULL : BLAZE_TYPE_BOOL;
		return 0;
	}
	size = head_read(data, len, &arg);
	if (size == 0)
		return -EBADMSG;
	if (*initial >> 5 == MAJOR_BYTES) {
		if (len - size != arg)
			return -EBADMSG;
		*ret_type = BLAZE_TYPE_BYTES;
		return 0;
	}
	if (len != size || arg > INT64_MAX)
		return -EBADMSG;
	*ret_type = BLAZE_TYPE_INT;
	return 0;
}

enum blaze_type blazei_value_type(const void *value)
{
	const uint8_t initial = *(const uint8_t *)value;

	switch (initial >> 5) {
	case MAJOR_UNSIGNED:
	case MAJOR_NEGATIVE:
		return BLAZE_TYPE_INT;
	case MAJOR_BYTES:
		return BLAZE_TYPE_BYTES;
	case MAJOR_TEXT:
		return BLAZE_TYPE_STRING;
	case MAJOR_ARRAY:
		return BLAZE_TYPE_ARRAY;
	case MAJOR_MAP:
		return BLAZE_TYPE_MAP;
	case MAJOR_TAG:
		return initial == INITIAL_UUID ? BLAZE_TYPE_UUID : BLAZE_TYPE_TIME;
	default:
		if (initial == INITIAL_NULL)
			return BLAZE_TYPE_NULL;
		return initial <= INITIAL_TRUE ? BLAZE_TYPE_BOOL : BLAZE_TYPE_DOUBLE;
	}
}

size_t blazei_value_size(const void *data, size_t len)
{
	const uint8_t *next = data;
	uint64_t left = 1;
	size_t size = 0;

	while (left > 0) {
		struct blazei_item item;

		if (blazei_item_read(next + size, len - size, &item) != 0)
			return len;
		size += item.size;
		left--;
		if (item.kind == BLAZEI_ITEM_ARRAY)
			left += item.arg;
		else if (item.kind == BLAZEI_ITEM_MAP)
			left += 2 * item.arg;
		else if (item.kind == BLAZEI_ITEM_TAG)
			left++;
	}
	return size;
}

int64_t blazei_decode_int(const void *value, size_t len)
{
	const uint8_t *initial = value;
	uint64_t arg;

	if (len == 0 || head_read(value, len, &arg) == 0)
		return 0;
	return *initial >> 5 == MAJOR_NEGATIVE ? -1 - (int64_t)arg : (int64_t)arg;
}

const void *blazei_decode_content(const void *value, size_t len, size_t *ret_len)
{
	uint64_t arg;
	const size_t size = len ? head_read(value, len, &arg) : 0;

	*ret_len = size ? len - size : 0;
	return (const uint8_t *)value + size;
}

double blazei_decode_double(const void *value, size_t len)
{
	struct blazei_item item;

	return blazei_item_read(value, len, &item) == 0 ? item.number : 0.0;
}

uint64_t blazei_decode_time(const void *value, size_t len)
{
	const size_t tag_len = 3;
	uint64_t time_ns = 0;

	if (len < tag_len ||
	    check_time((const uint8_t *)value + tag_len, len - tag_len, &time_ns) < 0)
		return 0;
	return time_ns;
}

void blazei_decode_uuid(const void *value, struct blaze_id *ret_id)
{
	/* After the tag, two bytes, and the head of 16 bytes, one. */
	memcpy(ret_id->bytes, (const uint8_t *)value + 3, sizeof(ret_id->bytes));
}
