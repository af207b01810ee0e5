/* SPDX-License-Identifier: Apache-2.0 */
/* The public setters and getters: between C types and a record's encoded values.
 *
 * WHY    A field's value is encoded when it is set, once, and decoded at each get, which costs a
 *        few instructions; what merges, travels and is stored are the encoded bytes.
 *
 * What comes from the program is checked here, so that record.c sees valid names and values. */
#include "lib/op/json.h"
#include "lib/op/record.h"
#include "lib/op/value.h"

/* Looks at the record and the name that a setter was given. */
static int source_init(const struct blaze_record *record, const char *field,
                       struct blazei_field_source *ret_source)
{
	size_t len;

	if (record == NULL || field == NULL)
		return -EINVAL;
	*ret_source = (struct blazei_field_source){ .name = NULL };
	/* A name that the record has was found good before. */
	ret_source->name = blazei_record_recent(record, field, &ret_source->name_len);
	if (ret_source->name != NULL)
		return 0;
	len = strnlen(field, BLAZEI_NAME_BYTES_MAX + 1);
	if (len > BLAZEI_NAME_BYTES_MAX)
		return -E2BIG;
	if (!blazei_utf8_valid(field, len))
		return -EINVAL;
	ret_source->name = field;
	ret_source->name_len = (uint8_t)len;
	return 0;
}

/* Stores a value that is encoded already. */
static int set_encoded(struct blaze_record *record, const char *field, const void *value,
                       size_t len)
{
	struct blazei_field_source source;
	const int r = source_init(record, field, &source);

	if (r < 0)
		return r;
	source.head = value;
	source.head_len = (uint32_t)len;
	return blazei_record_store(record, &source);
}

int blaze_record_set_null(struct blaze_record *record, const char *field)
{
	uint8_t value[BLAZEI_VALUE_SMALL_MAX];

	return set_encoded(record, field, value, blazei_encode_null(value, sizeof(value)));
}

int blaze_record_set_bool(struct blaze_record *record, const char *field, bool value)
{
	uint8_t encoded[BLAZEI_VALUE_SMALL_MAX];
	const size_t len = blazei_encode_bool(encoded, sizeof(encoded), value);

	return set_encoded(record, field, encoded, len);
}

int blaze_record_set_int(struct blaze_record *record, const char *field, int64_t value)
{
	uint8_t encoded[BLAZEI_VALUE_SMALL_MAX];
	const size_t len = blazei_encode_int(encoded, sizeof(encoded), value);

	return set_encoded(record, field, encoded, len);
}

int blaze_record_set_double(struct blaze_record *record, const char *field, double value)
{
	uint8_t encoded[BLAZEI_VALUE_SMALL_MAX];
	const size_t len = blazei_encode_double(encoded, sizeof(encoded), value);

	return set_encoded(record, field, encoded, len);
}

int blaze_record_set_string(struct blaze_record *record, const char *field, const char *value)
{
	uint8_t head[BLAZEI_VALUE_HEAD_MAX];
	struct blazei_field_source source;
	size_t len;
	int r;

	r = source_init(record, field, &source);
	if (r < 0)
		return r;
	if (value == NULL)
		return -EINVAL;
	len = strnlen(value, BLAZEI_RECORD_BYTES_MAX + 1);
	if (len > BLAZEI_RECORD_BYTES_MAX)
		return -E2BIG;
	if (!blazei_utf8_valid(value, len))
		return -EINVAL;
	source.head = head;
	source.head_len = (uint32_t)blazei_encode_text_head(head, sizeof(head), len);
	source.body = value;
	source.body_len = (uint32_t)len;
	return blazei_record_store(record, &source);
}

int blaze_record_set_bytes(struct blaze_record *record, const char *field, const void *data,
                           size_t len)
{
	uint8_t head[BLAZEI_VALUE_HEAD_MAX];
	struct blazei_field_source source;
	int r;

	r = source_init(record, field, &source);
	if (r < 0)
		return r;
	if (data == NULL && len > 0)
		return -EINVAL;
	if (len > BLAZEI_RECORD_BYTES_MAX)
		return -E2BIG;
	source.head = head;
	source.head_len = (uint32_t)blazei_encode_bytes_head(head, sizeof(head), len);
	source.body = data;
	source.body_len = (uint32_t)len;
	return blazei_record_store(record, &source);
}

int blaze_record_set_time(struct blaze_record *record, const char *field, uint64_t time_ns)
{
	uint8_t encoded[BLAZEI_VALUE_SMALL_MAX];
	const size_t len = blazei_encode_time(encoded, sizeof(encoded), time_ns);

	return set_encoded(record, field, encoded, len);
}

int blaze_record_set_uuid(struct blaze_record *record, const char *field,
                          const struct blaze_id *value)
{
	uint8_t encoded[BLAZEI_VALUE_SMALL_MAX];

	if (value == NULL)
		return -EINVAL;
	return set_encoded(record, field, encoded,
	                   blazei_encode_uuid(encoded, sizeof(encoded), value));
}

/* Text that is to be an array or a map. */
struct json_source {
	const char *json;
	size_t len;
	enum blaze_type type;
};

static int set_json(struct blaze_record *record, const char *field,
                    const struct json_source *source)
{
	struct blazei_buffer value = { .max = BLAZEI_RECORD_BYTES_MAX };
	int r;

	if (record == NULL || field == NULL)
		return -EINVAL;
	r = blazei_json_read(source->json, source->len, source->type, &value);
	if (r == 0)
		r = set_encoded(record, field, value.data, value.len);
	blazei_buffer_free(&value);
	return r;
}

int blaze_record_set_array(struct blaze_record *record, const char *field, const char *json,
                           size_t len)
{
	return set_json(record, field, &(struct json_source){ json, len, BLAZE_TYPE_ARRAY });
}

int blaze_record_set_map(struct blaze_record *record, const char *field, const char *json,
                         size_t len)
{
	return set_json(record, field, &(struct json_source){ json, len, BLAZE_TYPE_MAP });
}

int blaze_record_unset(struct blaze_record *record, const char *field)
{
	struct blazei_field_source source;
	const int r = source_init(record, field, &source);

	if (r < 0)
		return r;
	source.unset = true;
	return blazei_record_store(record, &source);
}

/* The field of that name and type. */
static int field_get(const struct blaze_record *record, const char *field, enum blaze_type type,
                     struct blazei_field_view *ret_view)
{
	int index;

	if (record == NULL || field == NULL)
		return -EINVAL;
	index = blazei_record_find(record, field, strlen(field));
	if (index < 0)
		return index;
	blazei_record_view(record, (unsigned)index, ret_view);
	if (ret_view->unset || blazei_value_type(ret_view->value) != type)
		return -EINVAL;
	return 0;
}

int blaze_record_get_null(const struct blaze_record *record, const char *field)
{
	struct blazei_field_view view;

	return field_get(record, field, BLAZE_TYPE_NULL, &view);
}

int blaze_record_get_bool(const struct blaze_record *record, const char *field, bool *ret_value)
{
	struct blazei_field_view view;
	struct blazei_item item;
	int r;

	r = ret_value ? field_get(record, field, BLAZE_TYPE_BOOL, &view) : -EINVAL;
	if (r < 0)
		return r;
	r = blazei_item_read(view.value, view.value_len, &item);
	if (r < 0)
		return -EINVAL;
	*ret_value = item.arg != 0;
	return 0;
}

int blaze_record_get_int(const struct blaze_record *record, const char *field, int64_t *ret_value)
{
	struct blazei_field_view view;
	int r;

	r = ret_value ? field_get(record, field, BLAZE_TYPE_INT, &view) : -EINVAL;
	if (r == 0)
		*ret_value = blazei_decode_int(view.value, view.value_len);
	return r;
}

int blaze_record_get_double(const struct blaze_record *record, const char *field, double *ret_value)
{
	struct blazei_field_view view;
	int r;

	r = ret_value ? field_get(record, field, BLAZE_TYPE_DOUBLE, &view) : -EINVAL;
	if (r == 0)
		*ret_value = blazei_decode_double(view.value, view.value_len);
	return r;
}

/* The content of a field that holds a string or bytes. */
static int content_get(const struct blaze_record *record, const char *field, enum blaze_type type,
                       const void **ret_data, size_t *ret_len)
{
	struct blazei_field_view view;
	int r;

	r = field_get(record, field, type, &view);
	if (r == 0)
		*ret_data = blazei_decode_content(view.value, view.value_len, ret_len);
	return r;
}

int blaze_record_get_string(const struct blaze_record *record, const char *field,
                            const char **ret_value)
{
	const void *text;
	size_t len;
	int r;

	r = ret_value ? content_get(record, field, BLAZE_TYPE_STRING, &text, &len) : -EINVAL;
	if (r == 0)
		*ret_value = text; /* the byte behind every value is a NUL */
	return r;
}

int blaze_record_get_bytes(const struct blaze_record *record, const char *field,
                           const void **ret_data, size_t *ret_len)
{
	if (ret_data == NULL || ret_len == NULL)
		return -EINVAL;
	return content_get(record, field, BLAZE_TYPE_BYTES, ret_data, ret_len);
}

int blaze_record_get_time(const struct blaze_record *record, const char *field,
                          uint64_t *ret_time_ns)
{
	struct blazei_field_view view;
	int r;

	r = ret_time_ns ? field_get(record, field, BLAZE_TYPE_TIME, &view) : -EINVAL;
	if (r == 0)
		*ret_time_ns = blazei_decode_time(view.value, view.value_len);
	return r;
}

int blaze_record_get_uuid(const struct blaze_record *record, const char *field,
                          struct blaze_id *ret_value)
{
	struct blazei_field_view view;
	int r;

	r = ret_value ? field_get(record, field, BLAZE_TYPE_UUID, &view) : -EINVAL;
	if (r == 0)
		blazei_decode_uuid(view.value, ret_value);
	return r;
}

static int json_get(const struct blaze_record *record, const char *field, enum blaze_type type,
                    char **ret_json)
{
	struct blazei_field_view view;
	int r;

	r = ret_json ? field_get(record, field, type, &view) : -EINVAL;
	return r < 0 ? r : blazei_json_write(view.value, view.value_len, ret_json);
}

int blaze_record_get_array(const struct blaze_record *record, const char *field, char **ret_json)
{
	return json_get(record, field, BLAZE_TYPE_ARRAY, ret_json);
}

int blaze_record_get_map(const struct blaze_record *record, const char *field, char **ret_json)
{
	return json_get(record, field, BLAZE_TYPE_MAP, ret_json);
}
