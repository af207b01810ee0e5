/* SPDX-License-Identifier: Apache-2.0 */
/* The content of a measured record: made by the publisher, checked in full by every reader.
 *
 * WHY    A figure counts only if each record arrived whole, once and in order. The pattern is cheap
 *        enough (one multiply per record, one add per word) not to be what is measured, and each
 *        word depends on publisher, sequence number and place, so that a shifted, torn, stale or
 *        foreign word never passes.
 *
 * LAYOUT Native words: 0 publisher's number, 1 sequence number from 0, 2.. base + place * step. A
 *        size that is no multiple of 8 ends in the low bytes of one more word.
 *
 * This header is shared by the yardstick and the ring benchmark and uses nothing of the library. */
#ifndef PERF_PATTERN_H
#define PERF_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PATTERN_SIZE_MIN 16u

#define PATTERN_SEQ_FACTOR    UINT64_C(0x9e3779b97f4a7c15)
#define PATTERN_WRITER_FACTOR UINT64_C(0xd6e8feb86659fd93)
#define PATTERN_STEP          UINT64_C(0xa0761d6478bd642f)

static inline __attribute__((always_inline)) uint64_t pattern_base(uint64_t writer, uint64_t seq)
{
	return (seq + 1) * PATTERN_SEQ_FACTOR + writer * PATTERN_WRITER_FACTOR;
}

static inline __attribute__((always_inline)) void pattern_fill_sized(void *data, size_t size,
                                                                     uint64_t writer, uint64_t seq)
{
	unsigned char *out = data;
	uint64_t base = pattern_base(writer, seq);
	size_t words = size / 8;

	memcpy(out, &writer, 8);
	memcpy(out + 8, &seq, 8);
	for (size_t i = 2; i < words; i++) {
		uint64_t word = base + i * PATTERN_STEP;

		memcpy(out + 8 * i, &word, 8);
	}
	if (size % 8 != 0) {
		uint64_t word = base + words * PATTERN_STEP;

		memcpy(out + 8 * words, &word, size % 8);
	}
}

/* Writes size bytes, at least PATTERN_SIZE_MIN. The usual size is unrolled by the compiler. */
static inline void pattern_fill(void *data, size_t size, uint64_t writer, uint64_t seq)
{
	if (size == 64)
		pattern_fill_sized(data, 64, writer, seq);
	else
		pattern_fill_sized(data, size, writer, seq);
}

static inline __attribute__((always_inline)) bool pattern_rest_holds(const void *data, size_t size,
                                                                     uint64_t writer, uint64_t seq)
{
	const unsigned char *in = data;
	uint64_t base = pattern_base(writer, seq);
	uint64_t difference = 0;
	size_t words = size / 8;
	uint64_t word;

	for (size_t i = 2; i < words; i++) {
		memcpy(&word, in + 8 * i, 8);
		difference |= word ^ (base + i * PATTERN_STEP);
	}
	if (size % 8 != 0) {
		uint64_t expected = base + words * PATTERN_STEP;

		word = 0;
		memcpy(&word, in + 8 * words, size % 8);
		difference |= word ^ (expected & ((UINT64_C(1) << (8 * (size % 8))) - 1));
	}
	return difference == 0;
}

/* Whether everything after the two leading words is what that publisher made for that number. */
static inline bool pattern_holds(const void *data, size_t size, uint64_t writer, uint64_t seq)
{
	if (size == 64)
		return pattern_rest_holds(data, 64, writer, seq);
	return pattern_rest_holds(data, size, writer, seq);
}

static inline uint64_t pattern_writer(const void *data)
{
	uint64_t word;

	memcpy(&word, data, 8);
	return word;
}

static inline uint64_t pattern_seq(const void *data)
{
	uint64_t word;

	memcpy(&word, (const unsigned char *)data + 8, 8);
	return word;
}

#endif
