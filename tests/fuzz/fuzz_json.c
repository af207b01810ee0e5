/* SPDX-License-Identifier: Apache-2.0 */
/* JSON: text from anywhere. What is read as a record holds checked values only, and what is written
 * of it reads as the same. */
#include "lib/op/json.h"
#include "lib/op/record.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "fuzz_json";

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

/* As an array or a map, which is what fields are set to. */
static void try_part(const uint8_t *data, size_t size, enum blaze_type type)
{
	struct blazei_buffer value = { .max = BLAZEI_RECORD_BYTES_MAX };
	enum blaze_type is;
	const int r = blazei_json_read((const char *)data, size, type, &value);

	must(r == 0 || r == -EINVAL || r == -E2BIG, "JSON of a value refused oddly", data, size);
	if (r == 0)
		must(check_exact(value.data, value.len, &is) == 0 && is == type,
		     "JSON gave a bad value", data, size);
	else
		must(value.len == 0, "refused JSON leaves something", data, size);
	blazei_buffer_free(&value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_json(data, size);
	try_part(data, size, BLAZE_TYPE_MAP);
	try_part(data, size, BLAZE_TYPE_ARRAY);
	return 0;
}

/* The JSON of a record of one random value. */
void fuzz_make(struct random_source *source, struct blazei_buffer *out)
{
	struct blazei_buffer value = { .max = 1 << 20 };
	struct blaze_record *record;
	char *json;

	random_value(source, 4, &value);
	must(blazei_record_sized(1, value.len + 1, &record) == 0, "record", NULL, 0);
	must(blazei_record_append(record, "f", 1, value.data, value.len) == 0, "field", NULL, 0);
	must(blaze_record_to_json(record, &json) == 0, "JSON", NULL, 0);
	must(blazei_buffer_append(out, json, strlen(json)) == 0, "memory", NULL, 0);
	free(json);
	blaze_record_free(record);
	blazei_buffer_free(&value);
}
