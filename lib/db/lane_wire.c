/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a private lane, to and from bytes; see lane_wire.h. */
#include "lib/db/lane_wire.h"

#include "lib/op/record.h"
#include "lib/op/value.h"

int blazei_lane_request_check(const struct blazei_lane_header *header)
{
	if (header->flags != 0 || header->error != 0 || header->reserved != 0 ||
	    (header->kind & BLAZEI_LANE_ANSWER) != 0)
		return -EBADMSG;
	return header->bytes <= BLAZEI_LANE_REQUEST_MAX ? 0 : -E2BIG;
}

int blazei_lane_answer_check(const struct blazei_lane_header *header, uint16_t kind)
{
	if (header->kind != (kind | BLAZEI_LANE_ANSWER) ||
	    (header->flags & ~BLAZEI_LANE_MORE) != 0 || header->reserved != 0 ||
	    header->error > 0 || header->error < -4095)
		return -EBADMSG;
	return header->bytes <= BLAZEI_LANE_ANSWER_MAX ? 0 : -E2BIG;
}

struct blazei_lane_hello blazei_lane_hello_make(void)
{
	return (struct blazei_lane_hello){
		.magic = BLAZEI_LANE_MAGIC,
		.major = BLAZEI_LANE_MAJOR,
		.minor = BLAZEI_LANE_MINOR,
	};
}

int blazei_lane_hello_check(const struct blazei_lane_hello *hello)
{
	if (memcmp(hello->magic, BLAZEI_LANE_MAGIC, sizeof(hello->magic)) != 0)
		return -EBADMSG;
	return hello->major == BLAZEI_LANE_MAJOR ? 0 : -EPROTO;
}

/* Reading ------------------------------------------------------------------------------------ */

/* The next len bytes, where they are; NULL: there are not so many. */
static const uint8_t *skip(struct blazei_lane_reader *reader, size_t len)
{
	const uint8_t *at = reader->at;

	if (len > reader->left)
		return NULL;
	reader->at += len;
	reader->left -= len;
	return at;
}

int blazei_lane_take(struct blazei_lane_reader *reader, void *ret_data, size_t len)
{
	const uint8_t *at = skip(reader, len);

	if (at == NULL)
		return -EBADMSG;
	memcpy(ret_data, at, len);
	return 0;
}

int blazei_lane_take_all(struct blazei_lane_reader *reader, void *ret_data, size_t len)
{
	return reader->left == len ? blazei_lane_take(reader, ret_data, len) : -EBADMSG;
}

struct name {
	const uint8_t *text;
	uint8_t len;
};

/* Takes one field, whose name comes behind that of the last one. */
static int take_field(struct blazei_lane_reader *reader, struct blaze_record *record,
                      struct name *last)
{
	struct blazei_lane_field field;
	const uint8_t *name, *value;
	enum blaze_type type;
	int error = blazei_lane_take(reader, &field, sizeof(field));

	if (error != 0)
		return error;
	name = skip(reader, field.name_len);
	value = name != NULL ? skip(reader, field.value_len) : NULL;
	if (value == NULL || (field.reserved[0] | field.reserved[1] | field.reserved[2]) != 0 ||
	    !blazei_utf8_valid(name, field.name_len) ||
	    (last->text != NULL &&
	     blazei_key_compare(last->text, last->len, name, field.name_len) >= 0))
		return -EBADMSG;
	error = blazei_value_check(value, field.value_len, &type);
	if (error != 0)
		return error;
	*last = (struct name){ name, field.name_len };
	return blazei_record_append(record, name, field.name_len, value, field.value_len);
}

int blazei_lane_take_record(struct blazei_lane_reader *reader, struct blaze_record **ret_record)
{
	struct blaze_record *record = NULL;
	struct name last = { .text = NULL };
	uint32_t count;
	int error = blazei_lane_take(reader, &count, sizeof(count));

	if (error == 0 && count > reader->left / sizeof(struct blazei_lane_field))
		error = -EBADMSG;
	if (error == 0 && reader->bounded && count > BLAZEI_RECORD_FIELDS_MAX)
		error = -E2BIG;
	if (error == 0)
		error = blaze_record_new(&record);
	for (uint32_t i = 0; error == 0 && i < count; i++) {
		error = take_field(reader, record, &last);
		if (error == 0 && reader->bounded && record->names_values > BLAZEI_RECORD_BYTES_MAX)
			error = -E2BIG;
	}
	if (error == 0)
		*ret_record = record;
	else
		blaze_record_free(record);
	return error;
}

int blazei_lane_take_entry(struct blazei_lane_reader *reader, struct blaze_id *ret_id,
                           struct blaze_record **ret_record)
{
	struct blaze_id id;
	int error = blazei_lane_take(reader, &id, sizeof(id));

	if (error == 0)
		error = blazei_lane_take_record(reader, ret_record);
	if (error == 0)
		*ret_id = id;
	return error;
}

int blazei_lane_take_text(struct blazei_lane_reader *reader, const char **ret_text,
                          uint32_t *ret_len)
{
	const uint8_t *text;
	uint32_t len;
	int error = blazei_lane_take(reader, &len, sizeof(len));

	if (error != 0)
		return error;
	text = skip(reader, len);
	/* Each is to be a line. */
	for (uint32_t i = 0; text != NULL && i < len; i++) {
		if (text[i] < 0x20)
			return -EBADMSG;
	}
	if (text == NULL || !blazei_utf8_valid(text, len))
		return -EBADMSG;
	*ret_text = (const char *)text;
	*ret_len = len;
	return 0;
}

/* Writing ------------------------------------------------------------------------------------ */

static int put_field(struct blazei_buffer *out, const struct blazei_field_view *view)
{
	const struct blazei_lane_field field = {
		.value_len = view->value_len,
		.name_len = view->name_len,
	};
	int error = view->unset ? -EINVAL : blazei_buffer_append(out, &field, sizeof(field));

	if (error == 0)
		error = blazei_buffer_append(out, view->name, view->name_len);
	if (error == 0)
		error = blazei_buffer_append(out, view->value, view->value_len);
	return error;
}

int blazei_lane_put_record(struct blazei_buffer *out, const struct blaze_record *record)
{
	const size_t before = out->len;
	int error = blazei_buffer_append(out, &record->count, sizeof(record->count));

	for (uint32_t i = 0; error == 0 && i < record->count; i++) {
		struct blazei_field_view view;

		blazei_record_view(record, i, &view);
		error = put_field(out, &view);
	}
	if (error != 0)
		out->len = before;
	return error;
}

int blazei_lane_put_entry(struct blazei_buffer *out, const struct blaze_id *id,
                          const struct blaze_record *record)
{
	const size_t before = out->len;
	int error = blazei_buffer_append(out, id->bytes, sizeof(id->bytes));

	if (error == 0)
		error = blazei_lane_put_record(out, record);
	if (error != 0)
		out->len = before;
	return error;
}

int blazei_lane_put_text(struct blazei_buffer *out, const void *text, uint32_t len)
{
	const size_t before = out->len;
	int error = blazei_buffer_append(out, &len, sizeof(len));

	if (error == 0)
		error = blazei_buffer_append(out, text, len);
	if (error != 0)
		out->len = before;
	return error;
}
