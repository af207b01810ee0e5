/* SPDX-License-Identifier: Apache-2.0 */
/* Reads records and values from JSON.
 *
 * WHY    jansson parses (duplicate keys, NUL characters, bad UTF-8 and integers beyond int64 are
 *        its errors); its tree is then encoded depth first. An object's members are sorted into
 *        the order of the encoding before the first is written, on a stack of members that all
 *        open objects share.
 *
 * INVARIANTS
 *   I1   At most BLAZEI_VALUE_DEPTH_MAX frames; jansson's own recursion ends at its
 *        JSON_PARSER_MAX_DEPTH (2,048), and the length of the text is bounded before it.
 *   I2   The members of the frames lie in frame order: closing one cuts the stack back to where
 *        its first member was.
 *
 * FAILURE  jansson reports memory that runs out in the middle of a token as a malformed token:
 *        then the caller gets -EINVAL where -ENOMEM would be right. Everywhere else it is. Worse,
 *        where a token of more than 16 bytes outgrows its buffer and there is no memory for that,
 *        but is again for what follows, jansson 2.14 leaves a character out and says nothing: from
 *        outside this cannot be told from text without it. */
#include "lib/op/json.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "lib/op/record.h"
#include "lib/op/value.h"

struct member {
	const char *key;
	size_t key_len;
	json_t *value;
	size_t at; /* of a record's field: where its value starts in the output */
};

/* An array or an object whose elements are being encoded. */
struct frame {
	json_t *array; /* NULL: an object */
	size_t next;   /* an element, or a member on the stack */
	size_t end;
	size_t first;
};

struct reader {
	struct blazei_buffer *out;
	struct member *members;
	size_t member_count;
	size_t member_max;
	unsigned depth;
	struct frame frames[BLAZEI_VALUE_DEPTH_MAX];
};

static int parse_error(const json_error_t *error)
{
	switch (json_error_code(error)) {
	case json_error_unknown: /* left as it was: jansson sets none where memory runs out */
	case json_error_out_of_memory:
		return -ENOMEM;
	case json_error_stack_overflow:
		return -E2BIG;
	default:
		return -EINVAL;
	}
}

static int text_parse(const char *json, size_t len, json_t **ret_root)
{
	json_error_t error = { .line = 0 };

	if (json == NULL || len == 0)
		return -EINVAL;
	if (len > BLAZEI_JSON_BYTES_MAX)
		return -E2BIG;
	*ret_root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &error);
	return *ret_root ? 0 : parse_error(&error);
}

static int member_compare(const void *a, const void *b)
{
	const struct member *left = a, *right = b;

	return blazei_key_compare(left->key, left->key_len, right->key, right->key_len);
}

/* Puts an object's members on the stack, sorted. */
static int members_push(struct reader *reader, json_t *object)
{
	const size_t count = json_object_size(object);
	const size_t first = reader->member_count;

	if (count == 0)
		return 0;
	if (count > reader->member_max - first) {
		const size_t max = 2 * (first + count);
		struct member *members = reallocarray(reader->members, max, sizeof(*members));

		if (members == NULL)
			return -ENOMEM;
		reader->members = members;
		reader->member_max = max;
	}
	for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
		const char *key = json_object_iter_key(at);

		/* jansson refused keys with a NUL inside. */
		reader->members[reader->member_count++] = (struct member){
			.key = key,
			.key_len = strlen(key),
			.value = json_object_iter_value(at),
		};
	}
	qsort(reader->members + first, count, sizeof(*reader->members), member_compare);
	return 0;
}

static int begin_array(struct reader *reader, json_t *array)
{
	const size_t count = json_array_size(array);
	uint8_t head[BLAZEI_VALUE_HEAD_MAX];

	if (reader->depth == BLAZEI_VALUE_DEPTH_MAX)
		return -E2BIG;
	reader->frames[reader->depth++] =
	        (struct frame){ .array = array, .end = count, .first = reader->member_count };
	return blazei_buffer_append(reader->out, head,
	                            blazei_encode_array_head(head, sizeof(head), count));
}

static int begin_map(struct reader *reader, json_t *object)
{
	const size_t first = reader->member_count;
	uint8_t head[BLAZEI_VALUE_HEAD_MAX];
	int r;

	if (reader->depth == BLAZEI_VALUE_DEPTH_MAX)
		return -E2BIG;
	r = members_push(reader, object);
	if (r < 0)
		return r;
	reader->frames[reader->depth++] =
	        (struct frame){ .next = first, .end = reader->member_count, .first = first };
	return blazei_buffer_append(
	        reader->out, head,
	        blazei_encode_map_head(head, sizeof(head), json_object_size(object)));
}

static int text_write(struct reader *reader, const char *text, size_t len)
{
	uint8_t head[BLAZEI_VALUE_HEAD_MAX];
	const int r = blazei_buffer_append(reader->out, head,
	                                   blazei_encode_text_head(head, sizeof(head), len));

	return r < 0 ? r : blazei_buffer_append(reader->out, text, len);
}

static int bytes_write(struct reader *reader, const char *text, size_t len)
{
	uint8_t head[BLAZEI_VALUE_HEAD_MAX];
	size_t bytes = len / 4 * 3;
	int r;

	if (len >= 4 && text[len - 1] == '=')
		bytes -= text[len - 2] == '=' ? 2 : 1;
	r = blazei_buffer_append(reader->out, head,
	                         blazei_encode_bytes_head(head, sizeof(head), bytes));
	return r < 0 ? r : blazei_base64_decode(text, len, reader->out);
}

static int special_double(const char *text, double *ret_value)
{
	if (strcmp(text, "NaN") == 0)
		*ret_value = (double)NAN;
	else if (strcmp(text, "Infinity") == 0)
		*ret_value = (double)INFINITY;
	else if (strcmp(text, "-Infinity") == 0)
		*ret_value = -(double)INFINITY;
	else
		return -EINVAL;
	return 0;
}

/* Encodes an object that stands for another type, from its only member's value. */
static int special_write(struct reader *reader, enum blazei_json_form form, json_t *content)
{
	const char *text = json_string_value(content);
	const size_t len = json_string_length(content);
	uint8_t small[BLAZEI_VALUE_SMALL_MAX];
	size_t size = 0;
	struct blaze_id id;
	uint64_t time_ns;
	double number;

	if (form == BLAZEI_JSON_MAP)
		return json_is_object(content) ? begin_map(reader, content) : -EINVAL;
	if (text == NULL)
		return -EINVAL;
	if (form == BLAZEI_JSON_BYTES)
		return bytes_write(reader, text, len);
	if (form == BLAZEI_JSON_TIME && blazei_time_parse(text, len, &time_ns) == 0)
		size = blazei_encode_time(small, sizeof(small), time_ns);
	else if (form == BLAZEI_JSON_UUID && blaze_id_parse(text, &id) == 0)
		size = blazei_encode_uuid(small, sizeof(small), &id);
	else if (form == BLAZEI_JSON_DOUBLE && special_double(text, &number) == 0)
		size = blazei_encode_double(small, sizeof(small), number);
	return size ? blazei_buffer_append(reader->out, small, size) : -EINVAL;
}

static int object_write(struct reader *reader, json_t *object)
{
	if (json_object_size(object) == 1) {
		void *at = json_object_iter(object);
		const char *key = json_object_iter_key(at);
		const enum blazei_json_form form = blazei_json_form(key, strlen(key));

		if (form != BLAZEI_JSON_PLAIN)
			return special_write(reader, form, json_object_iter_value(at));
	}
	return begin_map(reader, object);
}

/* Encodes a value; an array or an object only begins. */
static int value_begin(struct reader *reader, json_t *value)
{
	uint8_t small[BLAZEI_VALUE_SMALL_MAX];
	size_t size = 0;

	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return object_write(reader, value);
	case JSON_ARRAY:
		return begin_array(reader, value);
	case JSON_STRING:
		return text_write(reader, json_string_value(value), json_string_length(value));
	case JSON_INTEGER:
		size = blazei_encode_int(small, sizeof(small), json_integer_value(value));
		break;
	case JSON_REAL:
		size = blazei_encode_double(small, sizeof(small), json_real_value(value));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		size = blazei_encode_bool(small, sizeof(small), json_is_true(value));
		break;
	case JSON_NULL:
		size = blazei_encode_null(small, sizeof(small));
		break;
	}
	return blazei_buffer_append(reader->out, small, size);
}

/* Encodes a whole value. Each round takes one element or closes one frame. */
static int value_write(struct reader *reader, json_t *value)
{
	int r = value_begin(reader, value);

	while (r == 0 && reader->depth > 0) {
		struct frame *frame = &reader->frames[reader->depth - 1];

		if (frame->next == frame->end) {
			reader->member_count = frame->first;
			reader->depth--;
		} else if (frame->array) {
			r = value_begin(reader, json_array_get(frame->array, frame->next++));
		} else {
			const struct member member = reader->members[frame->next++];

			r = text_write(reader, member.key, member.key_len);
			if (r == 0)
				r = value_begin(reader, member.value);
		}
	}
	return r;
}

int blazei_json_read(const char *json, size_t len, enum blaze_type type, struct blazei_buffer *out)
{
	struct reader reader = { .out = out };
	const size_t start = out->len;
	json_t *root;
	int r;

	r = text_parse(json, len, &root);
	if (r < 0)
		return r;
	r = value_write(&reader, root);
	if (r == 0 && blazei_value_type(out->data + start) != type)
		r = -EINVAL;
	if (r < 0)
		out->len = start;
	free(reader.members);
	json_decref(root);
	return r;
}

/* Encodes the values of the record's fields, which are the first members, one behind the other. */
static int fields_write(struct reader *reader, size_t count, size_t *ret_names_bytes)
{
	size_t names_bytes = 0;

	if (count > BLAZEI_RECORD_FIELDS_MAX)
		return -E2BIG;
	for (size_t i = 0; i < count; i++) {
		int r;

		if (reader->members[i].key_len > BLAZEI_NAME_BYTES_MAX)
			return -E2BIG;
		names_bytes += reader->members[i].key_len;
		reader->members[i].at = reader->out->len;
		r = value_write(reader, reader->members[i].value);
		if (r < 0)
			return r;
	}
	*ret_names_bytes = names_bytes;
	return 0;
}

static int record_build(const struct reader *reader, size_t names_bytes,
                        struct blaze_record **ret_record)
{
	const size_t count = reader->member_count;
	struct blaze_record *record;
	int r;

	if (names_bytes + reader->out->len > BLAZEI_RECORD_BYTES_MAX)
		return -E2BIG;
	r = blazei_record_sized((unsigned)count, names_bytes + reader->out->len, &record);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		const struct member *member = &reader->members[i];
		const size_t end = i + 1 < count ? member[1].at : reader->out->len;

		r = blazei_record_append(record, member->key, member->key_len,
		                         reader->out->data + member->at, end - member->at);
		/* The record was made with room for all, and they are within the limits. */
		assert(r == 0);
	}
	*ret_record = record;
	return 0;
}

int blaze_record_from_json(const char *json, size_t len, struct blaze_record **ret_record)
{
	struct blazei_buffer out = { .max = BLAZEI_RECORD_BYTES_MAX };
	struct reader reader = { .out = &out };
	size_t names_bytes;
	json_t *root;
	int r;

	if (ret_record == NULL)
		return -EINVAL;
	r = text_parse(json, len, &root);
	if (r < 0)
		return r;
	r = json_is_object(root) ? members_push(&reader, root) : -EINVAL;
	if (r == 0)
		r = fields_write(&reader, reader.member_count, &names_bytes);
	if (r == 0)
		r = record_build(&reader, names_bytes, ret_record);
	free(reader.members);
	blazei_buffer_free(&out);
	json_decref(root);
	return r;
}
