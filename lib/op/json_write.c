/* SPDX-License-Identifier: Apache-2.0 */
/* Writes values and records as one line of JSON.
 *
 * WHY    Keys are wanted in bytewise order, which is not their order in the encoding (there the
 *        shorter comes first), and numbers in the fewest digits that keep them. So the text is made
 *        here, in one walk over the encoding, rather than through a tree of another library.
 *
 * INVARIANTS
 *   I1   At most BLAZEI_VALUE_DEPTH_MAX frames, and one more for the record around them: values
 *        are checked ones.
 *   I2   The members of the frames lie in frame order, as in the reader.
 *   I3   What is written, the reader reads as the same bytes. */
#include "lib/op/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/op/record.h"
#include "lib/op/value.h"

/* Beyond what any record can come to: each byte takes at most six. */
#define TEXT_MAX ((size_t)8 * BLAZEI_RECORD_BYTES_MAX)

struct member {
	const uint8_t *key;
	size_t key_len;
	const uint8_t *value;
	size_t value_len;
};

/* An array or a map whose elements are being written. */
struct frame {
	const char *closing;
	const uint8_t *element; /* the next one of an array; NULL: a map */
	size_t element_bytes;   /* from there to the end of what the array is in */
	size_t left;
	size_t next;  /* member on the stack */
	size_t first; /* member on the stack */
	bool is_first;
};

struct writer {
	struct blazei_buffer out;
	struct member *members;
	size_t member_count;
	size_t member_max;
	unsigned depth;
	struct frame frames[1 + BLAZEI_VALUE_DEPTH_MAX];
};

static int put(struct writer *writer, const char *text)
{
	return blazei_buffer_append(&writer->out, text, strlen(text));
}

/* Writes a character that must not stand in a JSON string as it is. */
static int escape_write(struct writer *writer, uint8_t byte)
{
	char text[8];

	switch (byte) {
	case '\n':
		return put(writer, "\\n");
	case '\t':
		return put(writer, "\\t");
	case '\r':
		return put(writer, "\\r");
	default:
		snprintf(text, sizeof(text), byte < 0x20 ? "\\u%04x" : "\\%c", byte);
		return put(writer, text);
	}
}

static int string_write(struct writer *writer, const uint8_t *text, size_t len)
{
	size_t plain = 0; /* start of what stands as it is */
	int r = put(writer, "\"");

	for (size_t i = 0; i < len && r == 0; i++) {
		if (blazei_likely(text[i] >= 0x20 && text[i] != '"' && text[i] != '\\'))
			continue;
		r = blazei_buffer_append(&writer->out, text + plain, i - plain);
		if (r == 0)
			r = escape_write(writer, text[i]);
		plain = i + 1;
	}
	if (r == 0)
		r = blazei_buffer_append(&writer->out, text + plain, len - plain);
	return r < 0 ? r : put(writer, "\"");
}

static int member_compare(const void *a, const void *b)
{
	const struct member *left = a, *right = b;
	const size_t len = left->key_len < right->key_len ? left->key_len : right->key_len;
	const int order = memcmp(left->key, right->key, len);

	if (order != 0)
		return order;
	return (left->key_len > right->key_len) - (left->key_len < right->key_len);
}

static int members_reserve(struct writer *writer, size_t count)
{
	const size_t max = 2 * (writer->member_count + count);
	struct member *members;

	if (count <= writer->member_max - writer->member_count)
		return 0;
	members = reallocarray(writer->members, max, sizeof(*members));
	if (members == NULL)
		return -ENOMEM;
	writer->members = members;
	writer->member_max = max;
	return 0;
}

/* Puts a map's members on the stack, in the order of the encoding. */
static int members_push(struct writer *writer, const uint8_t *next, size_t len, size_t count)
{
	const int r = members_reserve(writer, count);

	for (size_t i = 0; i < count && r == 0; i++) {
		struct member *member = &writer->members[writer->member_count++];
		struct blazei_item key;

		if (blazei_item_read(next, len, &key) != 0)
			return -EINVAL;
		member->key = key.data;
		member->key_len = key.arg;
		member->value = next + key.size;
		member->value_len = blazei_value_size(member->value, len - key.size);
		next = member->value + member->value_len;
		len -= key.size + member->value_len;
	}
	return r;
}

static int frame_push(struct writer *writer, const struct frame *frame, const char *opening)
{
	if (writer->depth == sizeof(writer->frames) / sizeof(*writer->frames))
		return -EINVAL;
	writer->frames[writer->depth] = *frame;
	writer->frames[writer->depth++].is_first = true;
	return put(writer, opening);
}

static int begin_array(struct writer *writer, const uint8_t *next, size_t len, size_t count)
{
	const struct frame frame = { .closing = "]",
		                     .element = next,
		                     .element_bytes = len,
		                     .left = count,
		                     .first = writer->member_count };

	return frame_push(writer, &frame, "[");
}

static int begin_map(struct writer *writer, const uint8_t *next, size_t len, size_t count)
{
	const size_t first = writer->member_count;
	struct frame frame = { .closing = "}", .left = count, .next = first, .first = first };
	const char *opening = "{";
	int r;

	r = members_push(writer, next, len, count);
	if (r < 0)
		return r;
	if (count == 1 && blazei_json_form((const char *)writer->members[first].key,
	                                   writer->members[first].key_len) != BLAZEI_JSON_PLAIN) {
		opening = "{\"$map\":{";
		frame.closing = "}}";
	}
	if (count > 1)
		qsort(writer->members + first, count, sizeof(*writer->members), member_compare);
	return frame_push(writer, &frame, opening);
}

static int double_write(struct writer *writer, double number)
{
	char text[BLAZEI_DOUBLE_TEXT_MAX];

	if (isnan(number))
		return put(writer, "{\"$double\":\"NaN\"}");
	if (isinf(number))
		return put(writer, number > 0 ? "{\"$double\":\"Infinity\"}"
		                              : "{\"$double\":\"-Infinity\"}");
	blazei_double_format(number, text);
	return put(writer, text);
}

static int int_write(struct writer *writer, int64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)number);
	return put(writer, text);
}

/* A tagged value: a time or a uuid. */
static int tagged_write(struct writer *writer, const uint8_t *value, size_t len)
{
	char line[64];

	if (blazei_value_type(value) == BLAZE_TYPE_TIME) {
		char text[BLAZEI_TIME_TEXT_MAX];

		blazei_time_format(blazei_decode_time(value, len), text);
		snprintf(line, sizeof(line), "{\"$time\":\"%s\"}", text);
	} else {
		struct blaze_id id;
		char text[37];

		blazei_decode_uuid(value, &id);
		blaze_id_format(&id, text);
		snprintf(line, sizeof(line), "{\"$uuid\":\"%s\"}", text);
	}
	return put(writer, line);
}

static int bytes_write(struct writer *writer, const struct blazei_item *item)
{
	int r = put(writer, "{\"$bytes\":\"");

	if (r == 0)
		r = blazei_base64_encode(item->data, item->arg, &writer->out);
	return r < 0 ? r : put(writer, "\"}");
}

/* Writes a value; an array or a map only begins. */
static int value_begin(struct writer *writer, const uint8_t *value, size_t len)
{
	struct blazei_item item;

	if (blazei_item_read(value, len, &item) != 0)
		return -EINVAL;
	switch (item.kind) {
	case BLAZEI_ITEM_NULL:
		return put(writer, "null");
	case BLAZEI_ITEM_BOOL:
		return put(writer, item.arg ? "true" : "false");
	case BLAZEI_ITEM_UNSIGNED:
	case BLAZEI_ITEM_NEGATIVE:
		return int_write(writer, blazei_decode_int(value, len));
	case BLAZEI_ITEM_DOUBLE:
		return double_write(writer, item.number);
	case BLAZEI_ITEM_TEXT:
		return string_write(writer, item.data, item.arg);
	case BLAZEI_ITEM_BYTES:
		return bytes_write(writer, &item);
	case BLAZEI_ITEM_ARRAY:
		return begin_array(writer, value + item.size, len - item.size, item.arg);
	case BLAZEI_ITEM_MAP:
		return begin_map(writer, value + item.size, len - item.size, item.arg);
	case BLAZEI_ITEM_TAG:
		return tagged_write(writer, value, len);
	}
	return -EINVAL;
}

/* Writes the next element of the innermost frame, or closes it. */
static int step(struct writer *writer)
{
	struct frame *frame = &writer->frames[writer->depth - 1];
	int r;

	if (frame->left == 0) {
		writer->member_count = frame->first;
		writer->depth--;
		return put(writer, frame->closing);
	}
	r = frame->is_first ? 0 : put(writer, ",");
	frame->is_first = false;
	frame->left--;
	if (r == 0 && frame->element) {
		const uint8_t *element = frame->element;
		const size_t size = blazei_value_size(element, frame->element_bytes);

		frame->element += size;
		frame->element_bytes -= size;
		r = value_begin(writer, element, size);
	} else if (r == 0) {
		const struct member member = writer->members[frame->next++];

		r = string_write(writer, member.key, member.key_len);
		if (r == 0)
			r = put(writer, ":");
		if (r == 0)
			r = value_begin(writer, member.value, member.value_len);
	}
	return r;
}

/* Writes what is begun, closes the text with a NUL and hands it over. */
static int finish(struct writer *writer, int r, char **ret_json)
{
	while (r == 0 && writer->depth > 0)
		r = step(writer);
	if (r == 0)
		r = blazei_buffer_append(&writer->out, "", 1);
	free(writer->members);
	if (r < 0)
		blazei_buffer_free(&writer->out);
	else
		*ret_json = (char *)writer->out.data;
	return r;
}

int blazei_json_write(const void *value, size_t len, char **ret_json)
{
	struct writer writer = { .out.max = TEXT_MAX };
	const int r = value_begin(&writer, value, len);

	return finish(&writer, r, ret_json);
}

/* Begins the object of a record's fields. Its keys are names, so it never needs "$map". */
static int record_begin(struct writer *writer, const struct blaze_record *record)
{
	const struct frame frame = { .closing = "}", .left = record->count };
	const int r = members_reserve(writer, record->count);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < record->count; i++) {
		struct blazei_field_view view;

		blazei_record_view(record, i, &view);
		if (view.unset)
			return -EINVAL;
		writer->members[writer->member_count++] = (struct member){
			.key = (const uint8_t *)view.name,
			.key_len = view.name_len,
			.value = view.value,
			.value_len = view.value_len,
		};
	}
	if (record->count > 1)
		qsort(writer->members, record->count, sizeof(*writer->members), member_compare);
	return frame_push(writer, &frame, "{");
}

int blaze_record_to_json(const struct blaze_record *record, char **ret_json)
{
	struct writer writer = { .out.max = TEXT_MAX };
	int r;

	if (record == NULL || ret_json == NULL)
		return -EINVAL;
	r = record_begin(&writer, record);
	return finish(&writer, r, ret_json);
}
