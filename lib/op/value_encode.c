/* SPDX-License-Identifier: Apache-2.0 */
/* Writes values in their one encoding.
 *
 * WHY    Heads, integers and the two longer floats are libcbor's, which writes heads minimal. Its
 *        16-bit float is not used: it loses bits of subnormal numbers and does not tell whether
 *        the number fits, and deterministic CBOR needs exactly those that fit. So the bits of a
 *        16-bit float are made here, from those of the double. */
#include "lib/op/value.h"

#include <cbor/encoding.h>
#include <float.h>

#define DOUBLE_MANTISSA_BITS 52
#define DOUBLE_BIAS          1023
#define DOUBLE_EXPONENT_MAX  0x7ff
#define HALF_MANTISSA_BITS   10
#define HALF_BIAS            15
#define HALF_EXPONENT_MIN    (-14) /* of a normal number */
#define HALF_SUBNORMAL_MIN   (-24) /* 2 to this is the smallest one */
#define HALF_INFINITY        0x7c00
#define HALF_NAN             0x7e00

#define INITIAL_HALF       0xf9
#define TIME_KEY_SECONDS   1
#define TIME_KEY_NANOS_ARG 8 /* of the integer -9 */

size_t blazei_encode_null(uint8_t *buf, size_t cap)
{
	return cbor_encode_null(buf, cap);
}

size_t blazei_encode_bool(uint8_t *buf, size_t cap, bool value)
{
	return cbor_encode_bool(value, buf, cap);
}

size_t blazei_encode_int(uint8_t *buf, size_t cap, int64_t value)
{
	if (value < 0)
		return cbor_encode_negint(~(uint64_t)value, buf, cap);
	return cbor_encode_uint((uint64_t)value, buf, cap);
}

/* The bits of the 16-bit float that equals a double with these parts, or -1 where none does. */
static int half_from_parts(uint64_t sign, int exponent, uint64_t mantissa)
{
	const int half_sign = (int)(sign << 15);
	unsigned drop = DOUBLE_MANTISSA_BITS - HALF_MANTISSA_BITS;
	int half_exponent = exponent + HALF_BIAS;

	if (exponent == DOUBLE_EXPONENT_MAX - DOUBLE_BIAS)
		return mantissa ? HALF_NAN : half_sign | HALF_INFINITY;
	if (exponent == -DOUBLE_BIAS)
		return mantissa ? -1 : half_sign;
	if (exponent > HALF_BIAS || exponent < HALF_SUBNORMAL_MIN)
		return -1;
	if (exponent < HALF_EXPONENT_MIN) {
		/* Without an implicit leading one: it becomes a bit like the others. */
		mantissa |= UINT64_C(1) << DOUBLE_MANTISSA_BITS;
		drop += (unsigned)(HALF_EXPONENT_MIN - exponent);
		half_exponent = 0;
	}
	if (mantissa & ((UINT64_C(1) << drop) - 1))
		return -1;
	return half_sign | half_exponent << HALF_MANTISSA_BITS | (int)(mantissa >> drop);
}

static int half_from_double(double value)
{
	const uint64_t mantissa_mask = (UINT64_C(1) << DOUBLE_MANTISSA_BITS) - 1;
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return half_from_parts(
	        bits >> 63, (int)(bits >> DOUBLE_MANTISSA_BITS & DOUBLE_EXPONENT_MAX) - DOUBLE_BIAS,
	        bits & mantissa_mask);
}

size_t blazei_encode_double(uint8_t *buf, size_t cap, double value)
{
	const int half = half_from_double(value);

	if (half >= 0) {
		if (cap < 3)
			return 0;
		buf[0] = INITIAL_HALF;
		buf[1] = (uint8_t)(half >> 8);
		buf[2] = (uint8_t)half;
		return 3;
	}
	/* Not a NaN any more. A double beyond float's range must not be converted to one. */
	if (value >= -FLT_MAX && value <= FLT_MAX && (double)(float)value == value)
		return cbor_encode_single((float)value, buf, cap);
	return cbor_encode_double(value, buf, cap);
}

size_t blazei_encode_text_head(uint8_t *buf, size_t cap, size_t len)
{
	return cbor_encode_string_start(len, buf, cap);
}

size_t blazei_encode_bytes_head(uint8_t *buf, size_t cap, size_t len)
{
	return cbor_encode_bytestring_start(len, buf, cap);
}

size_t blazei_encode_array_head(uint8_t *buf, size_t cap, size_t count)
{
	return cbor_encode_array_start(count, buf, cap);
}

size_t blazei_encode_map_head(uint8_t *buf, size_t cap, size_t count)
{
	return cbor_encode_map_start(count, buf, cap);
}

/* Adds the content after a head of head_len bytes (0: the head did not fit). */
static size_t encode_content(uint8_t *buf, size_t cap, size_t head_len, const void *data,
                             size_t len)
{
	if (head_len == 0 || cap - head_len < len)
		return 0;
	if (len)
		memcpy(buf + head_len, data, len);
	return head_len + len;
}

size_t blazei_encode_text(uint8_t *buf, size_t cap, const void *text, size_t len)
{
	return encode_content(buf, cap, blazei_encode_text_head(buf, cap, len), text, len);
}

size_t blazei_encode_bytes(uint8_t *buf, size_t cap, const void *data, size_t len)
{
	return encode_content(buf, cap, blazei_encode_bytes_head(buf, cap, len), data, len);
}

size_t blazei_encode_time(uint8_t *buf, size_t cap, uint64_t time_ns)
{
	uint8_t value[BLAZEI_VALUE_SMALL_MAX];
	size_t len = 0;

	len += cbor_encode_tag(BLAZEI_VALUE_TIME_TAG, value + len, sizeof(value) - len);
	len += cbor_encode_map_start(2, value + len, sizeof(value) - len);
	len += cbor_encode_uint(TIME_KEY_SECONDS, value + len, sizeof(value) - len);
	len += cbor_encode_uint(time_ns / BLAZEI_NS_PER_S, value + len, sizeof(value) - len);
	len += cbor_encode_negint(TIME_KEY_NANOS_ARG, value + len, sizeof(value) - len);
	len += cbor_encode_uint(time_ns % BLAZEI_NS_PER_S, value + len, sizeof(value) - len);
	if (cap < len)
		return 0;
	memcpy(buf, value, len);
	return len;
}

size_t blazei_encode_uuid(uint8_t *buf, size_t cap, const struct blaze_id *id)
{
	const size_t tag_len = cbor_encode_tag(BLAZEI_VALUE_UUID_TAG, buf, cap);
	size_t len;

	if (tag_len == 0)
		return 0;
	len = blazei_encode_bytes(buf + tag_len, cap - tag_len, id->bytes, sizeof(id->bytes));
	return len ? tag_len + len : 0;
}
