/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a private lane: what a client may send, and what one may be answered.
 *
 * An input is a header and a body; the kind says which decoder gets the body. What must hold,
 * whatever came: nothing is read beyond it, and what is taken for an entry or a text is written
 * again as the same bytes. */
#include "lib/db/lane_wire.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "fuzz_lane";

/* Entries to the end of the body, or to the first that is none. Their number. */
static uint32_t take_entries(struct blazei_lane_reader *reader)
{
	struct blazei_buffer again = { .max = 1 << 24 };
	struct blaze_record *record;
	struct blaze_id id;
	uint32_t count = 0;

	while (reader->left > 0) {
		const uint8_t *at = reader->at;

		if (blazei_lane_take_entry(reader, &id, &record) != 0)
			break;
		again.len = 0;
		must(blazei_lane_put_entry(&again, &id, record) == 0, "memory", NULL, 0);
		must(again.len == (size_t)(reader->at - at) &&
		             memcmp(again.data, at, again.len) == 0,
		     "an entry is written as another one", at, (size_t)(reader->at - at));
		blaze_record_free(record);
		count++;
	}
	blazei_buffer_free(&again);
	return count;
}

static void take_texts(struct blazei_lane_reader *reader)
{
	struct blazei_buffer again = { .max = 1 << 24 };
	const char *text;
	uint32_t len;

	while (reader->left > 0) {
		const uint8_t *at = reader->at;

		if (blazei_lane_take_text(reader, &text, &len) != 0)
			break;
		again.len = 0;
		must(blazei_lane_put_text(&again, text, len) == 0, "memory", NULL, 0);
		must(memcmp(again.data, at, again.len) == 0, "a text is written as another one", at,
		     again.len);
		must(memchr(text, '\n', len) == NULL, "a text of two lines", at, again.len);
	}
	blazei_buffer_free(&again);
}

static void take_body(struct blazei_lane_reader reader, uint16_t kind)
{
	struct blazei_lane_hello hello;
	struct blazei_lane_entries head;
	struct blazei_lane_scan scan;
	struct blaze_record *record;

	switch (kind) {
	case BLAZEI_LANE_HELLO:
		if (blazei_lane_take_all(&reader, &hello, sizeof(hello)) == 0 &&
		    blazei_lane_hello_check(&hello) == 0)
			must(hello.major == BLAZEI_LANE_MAJOR, "another version", NULL, 0);
		break;
	case BLAZEI_LANE_GET:
		if (blazei_lane_take_record(&reader, &record) == 0)
			blaze_record_free(record);
		break;
	case BLAZEI_LANE_SCAN:
		(void)blazei_lane_take_all(&reader, &scan, sizeof(scan));
		break;
	case BLAZEI_LANE_BATCH:
		if (blazei_lane_take(&reader, &head, sizeof(head)) == 0)
			(void)take_entries(&reader);
		break;
	case BLAZEI_LANE_NEXT:
		take_texts(&reader);
		break;
	default:
		(void)take_entries(&reader);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct blazei_lane_reader reader = { .at = data, .left = size };
	struct blazei_lane_header header;

	if (blazei_lane_take(&reader, &header, sizeof(header)) != 0)
		return 0;
	(void)blazei_lane_request_check(&header);
	header.kind &= (uint16_t)~BLAZEI_LANE_ANSWER;
	(void)blazei_lane_answer_check(&header, header.kind);
	take_body(reader, header.kind % 12);
	reader.bounded = true;
	take_body(reader, header.kind % 12);
	return 0;
}

/* Inputs of the target's own ----------------------------------------------------------------- */

static void field_set(struct random_source *source, struct blaze_record *record, unsigned i)
{
	static const char array[] = "[1,[2.5,{\"$bytes\":\"AP8=\"}],{\"a\":null}]";
	char name[16];

	snprintf(name, sizeof(name), "%.*s%u", (int)random_below(source, 4), "abc", i);
	switch (random_below(source, 5)) {
	case 0:
		(void)blaze_record_set_int(record, name, (int64_t)random_bits(source));
		break;
	case 1:
		(void)blaze_record_set_string(record, name, "gr\xc3\xbc");
		break;
	case 2:
		(void)blaze_record_set_array(record, name, array, sizeof(array) - 1);
		break;
	case 3:
		(void)blaze_record_set_double(record, name, 0.1);
		break;
	default:
		(void)blaze_record_set_null(record, name);
	}
}

static void entry_make(struct random_source *source, struct blazei_buffer *out, bool with_id)
{
	const unsigned count = (unsigned)random_below(source, 6);
	struct blaze_record *record;
	struct blaze_id id;

	for (unsigned i = 0; i < sizeof(id.bytes); i++)
		id.bytes[i] = (uint8_t)random_bits(source);
	must(blaze_record_new(&record) == 0, "memory", NULL, 0);
	for (unsigned i = 0; i < count; i++)
		field_set(source, record, i);
	must((with_id ? blazei_lane_put_entry(out, &id, record)
	              : blazei_lane_put_record(out, record)) == 0,
	     "memory", NULL, 0);
	blaze_record_free(record);
}

void fuzz_make(struct random_source *source, struct blazei_buffer *out)
{
	static const char text[] = "{\"event\":\"rescan\"}";
	const struct blazei_lane_hello hello = blazei_lane_hello_make();
	const struct blazei_lane_scan scan = { .flags = BLAZEI_LANE_SCAN_TO };
	struct blazei_lane_header header = { .kind = (uint16_t)(1 + random_below(source, 11)) };
	const struct blazei_lane_entries head = { .count = 1 + (uint32_t)random_below(source, 3) };
	int error = blazei_buffer_append(out, &header, sizeof(header));

	if (header.kind == BLAZEI_LANE_HELLO)
		error |= blazei_buffer_append(out, &hello, sizeof(hello));
	else if (header.kind == BLAZEI_LANE_SCAN)
		error |= blazei_buffer_append(out, &scan, sizeof(scan));
	else if (header.kind == BLAZEI_LANE_NEXT)
		error |= blazei_lane_put_text(out, text, sizeof(text) - 1);
	else if (header.kind == BLAZEI_LANE_BATCH)
		error |= blazei_buffer_append(out, &head, sizeof(head));
	must(error == 0, "memory", NULL, 0);
	if (header.kind == BLAZEI_LANE_BATCH) {
		for (uint32_t i = 0; i < head.count; i++)
			entry_make(source, out, true);
	} else if (header.kind != BLAZEI_LANE_HELLO && header.kind != BLAZEI_LANE_SCAN &&
	           header.kind != BLAZEI_LANE_NEXT) {
		entry_make(source, out, header.kind != BLAZEI_LANE_GET);
	}
	header.bytes = (uint32_t)(out->len - sizeof(header));
	memcpy(out->data, &header, sizeof(header));
}
