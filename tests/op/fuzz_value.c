/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzing of the value check and of JSON: bytes from anywhere.
 *
 * What the check accepts must be written as JSON and read back as the same bytes, since each value
 * has one encoding; so a malformed value that slips through shows as a difference. What is read as
 * a record must round-trip too.
 *
 * With --enable-fuzzing (clang) libFuzzer drives it: tests/op/fuzz_value CORPUS_DIRECTORY. Without,
 * it drives itself: random values, damaged in a few places, for a bounded number of rounds; part
 * of make check. BLAZE_SEED repeats a run, BLAZE_ROUNDS sets its length. */
#include <stdio.h>
#include <stdlib.h>

#include "lib/op/json.h"
#include "lib/op/record.h"
#include "tests/op/help.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What stands on standard error when the process is aborted: the input, to be had again. */
static void must(bool truth, const char *what, const uint8_t *data, size_t size)
{
	if (truth)
		return;
	fprintf(stderr, "fuzz_value: %s:", what);
	for (size_t i = 0; i < size; i++)
		fprintf(stderr, " %02x", data[i]);
	fprintf(stderr, "\n");
	abort();
}

/* Puts the value into a record, and the record through JSON. */
static void value_round_trip(const uint8_t *data, size_t size)
{
	struct blaze_record *record, *back;
	struct blazei_field_view view;
	char *json;

	must(blazei_record_sized(1, size + 1, &record) == 0, "record", data, size);
	must(blazei_record_append(record, "f", 1, data, size) == 0, "append", data, size);
	must(blaze_record_to_json(record, &json) == 0, "to JSON", data, size);
	must(blaze_record_from_json(json, strlen(json), &back) == 0, "from JSON", data, size);
	blazei_record_view(back, 0, &view);
	must(view.value_len == size && memcmp(view.value, data, size) == 0,
	     "accepted, but not the one encoding", data, size);
	free(json);
	blaze_record_free(record);
	blaze_record_free(back);
}

static void try_value(const uint8_t *data, size_t size)
{
	enum blaze_type type = BLAZE_TYPE_UNSET;
	const int r = check_exact(data, size, &type);

	if (r != 0) {
		must(r == -EBADMSG && type == BLAZE_TYPE_UNSET, "refused oddly", data, size);
		return;
	}
	must(type == blazei_value_type(data), "type", data, size);
	must(blazei_value_size(data, size) == size, "size", data, size);
	if (size < BLAZEI_RECORD_BYTES_MAX)
		value_round_trip(data, size);
}

static void try_json(const uint8_t *data, size_t size)
{
	struct blaze_record *record, *back;
	char *json, *again;
	int r;

	r = blaze_record_from_json((const char *)data, size, &record);
	if (r != 0) {
		must(r == -EINVAL || r == -E2BIG, "JSON refused oddly", data, size);
		return;
	}
	for (unsigned i = 0; i < record->count; i++) {
		struct blazei_field_view view;
		enum blaze_type type;

		blazei_record_view(record, i, &view);
		must(check_exact(view.value, view.value_len, &type) == 0, "JSON gave a bad value",
		     data, size);
	}
	must(blaze_record_to_json(record, &json) == 0, "JSON not written", data, size);
	must(blaze_record_from_json(json, strlen(json), &back) == 0, "JSON not read", data, size);
	must(blaze_record_to_json(back, &again) == 0, "JSON not written again", data, size);
	must(strcmp(json, again) == 0, "JSON differs", data, size);
	free(json);
	free(again);
	blaze_record_free(record);
	blaze_record_free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_value(data, size);
	try_json(data, size);
	return 0;
}

#ifndef BLAZE_LIBFUZZER
#define ROUNDS     20000
#define DAMAGE_MAX 3

/* Bytes at which encodings change: heads of each kind, and their short and long arguments. */
static const uint8_t telling[] = {
	0x00, 0x01, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1f, 0x20, 0x28, 0x37, 0x38, 0x3b,
	0x40, 0x50, 0x58, 0x5f, 0x60, 0x61, 0x78, 0x7f, 0x80, 0x81, 0x98, 0x9b, 0x9f,
	0xa0, 0xa1, 0xa2, 0xb8, 0xbb, 0xbf, 0xc0, 0xd8, 0xd9, 0x25, 0x03, 0xe9, 0xf4,
	0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xff, '"',  '{',  '}',  '[',  ']',
};

static void damage(struct random_source *source, struct blazei_buffer *value)
{
	const size_t at = random_below(source, value->len);
	uint8_t byte = (uint8_t)random_bits(source);

	if (random_below(source, 2))
		byte = telling[random_below(source, sizeof(telling))];
	switch (random_below(source, 4)) {
	case 0:
		value->data[at] ^= (uint8_t)(1U << random_below(source, 8));
		break;
	case 1:
		value->data[at] = byte;
		break;
	case 2: /* out */
		memmove(value->data + at, value->data + at + 1, value->len - at - 1);
		value->len--;
		break;
	default: /* in */
		if (blazei_buffer_append(value, &byte, 1) != 0)
			return;
		memmove(value->data + at + 1, value->data + at, value->len - at - 1);
		value->data[at] = byte;
	}
}

/* The JSON of a random record, in value's place. */
static void to_json_text(struct blazei_buffer *value)
{
	struct blaze_record *record;
	char *json;

	must(blazei_record_sized(1, value->len + 1, &record) == 0, "record", NULL, 0);
	must(blazei_record_append(record, "f", 1, value->data, value->len) == 0, "field", NULL, 0);
	must(blaze_record_to_json(record, &json) == 0, "JSON", NULL, 0);
	value->len = 0;
	must(blazei_buffer_append(value, json, strlen(json)) == 0, "memory", NULL, 0);
	free(json);
	blaze_record_free(record);
}

int main(void)
{
	const char *given = getenv("BLAZE_ROUNDS");
	const unsigned long rounds = given ? strtoul(given, NULL, 0) : ROUNDS;
	struct random_source source = random_source_new("fuzz_value");
	struct blazei_buffer value = { .max = 1 << 20 };
	unsigned long accepted = 0;

	for (unsigned long i = 0; i < rounds; i++) {
		enum blaze_type type;

		value.len = 0;
		random_value(&source, 4, &value);
		if (i % 4 == 0)
			to_json_text(&value);
		for (uint64_t n = random_below(&source, DAMAGE_MAX + 1); n > 0 && value.len; n--)
			damage(&source, &value);
		accepted += value.len && blazei_value_check(value.data, value.len, &type) == 0;
		(void)LLVMFuzzerTestOneInput(value.data, value.len);
	}
	blazei_buffer_free(&value);
	printf("fuzz_value: %lu inputs, %lu of them values\n", rounds, accepted);
	/* Some are left whole: none or all accepted would mean that nothing was tried. */
	return accepted > 0 && accepted < rounds ? EXIT_SUCCESS : EXIT_FAILURE;
}
#endif
