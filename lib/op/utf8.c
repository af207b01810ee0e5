/* SPDX-License-Identifier: Apache-2.0 */
/* Tells whether text is UTF-8 as RFC 3629 has it, without NUL.
 *
 * WHY    Names and strings are handed out as C strings and written as JSON: a NUL would cut them
 *        short, and ill-formed UTF-8 would have more than one reading. libcbor and the C library
 *        let both pass (the latter also depends on the locale).
 *
 *        Nearly all text is ASCII, so eight bytes at a time are tested first. */
#include "lib/op/value.h"

/* The bytes of the sequence that starts at text, or 0 where it is ill-formed. */
static size_t sequence_size(const uint8_t *text, size_t len)
{
	const uint8_t lead = text[0];
	uint8_t low = 0x80, high = 0xbf; /* of the second byte */
	size_t size;

	if (lead < 0x80)
		return lead != 0;
	if (lead < 0xc2 || lead > 0xf4)
		return 0;
	size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	if (len < size)
		return 0;
	if (lead == 0xe0) /* below it: overlong */
		low = 0xa0;
	else if (lead == 0xed) /* above it: surrogates */
		high = 0x9f;
	else if (lead == 0xf0) /* below it: overlong */
		low = 0x90;
	else if (lead == 0xf4) /* above it: beyond U+10FFFF */
		high = 0x8f;
	if (text[1] < low || text[1] > high)
		return 0;
	for (size_t i = 2; i < size; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	}
	return size;
}

bool blazei_utf8_valid(const void *text, size_t len)
{
	const uint8_t *next = text;

	while (len > 0) {
		size_t size = 0;
		uint64_t word;

		if (len >= sizeof(word)) {
			memcpy(&word, next, sizeof(word));
			size = blazei_plain_ascii(word) ? sizeof(word) : 0;
		}
		if (size == 0)
			size = sequence_size(next, len);
		if (size == 0)
			return false;
		next += size;
		len -= size;
	}
	return true;
}
