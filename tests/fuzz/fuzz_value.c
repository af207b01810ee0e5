/* SPDX-License-Identifier: Apache-2.0 */
/* The value check: bytes from anywhere. What it accepts must be written as JSON and read back as
 * the same bytes, since each value has one encoding; so a malformed value that slips through shows
 * as a difference. */
#include "lib/op/record.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "fuzz_value";

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_value(data, size);
	return 0;
}

void fuzz_make(struct random_source *source, struct blazei_buffer *out)
{
	random_value(source, 4, out);
}
