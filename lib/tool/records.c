/* SPDX-License-Identifier: Apache-2.0 */
/* blaze-db create, get, put, delete and scan: records one by one. */
#include "lib/tool/blaze-db.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Fields ------------------------------------------------------------------------------------- */

/* Arrays and maps, which go by their JSON text. */
static int copy_nested(struct blaze_record *to, const struct blaze_record *from, const char *field,
                       enum blaze_type type)
{
	char *json;
	int error = type == BLAZE_TYPE_ARRAY ? blaze_record_get_array(from, field, &json)
	                                     : blaze_record_get_map(from, field, &json);

	if (error != 0)
		return error;
	error = type == BLAZE_TYPE_ARRAY ? blaze_record_set_array(to, field, json, strlen(json))
	                                 : blaze_record_set_map(to, field, json, strlen(json));
	free(json);
	return error;
}

/* Strings, bytes and ids. */
static int copy_bytes(struct blaze_record *to, const struct blaze_record *from, const char *field,
                      enum blaze_type type)
{
	struct blaze_id id;
	const char *text;
	const void *data;
	size_t len;
	int error;

	if (type == BLAZE_TYPE_STRING) {
		error = blaze_record_get_string(from, field, &text);
		return error == 0 ? blaze_record_set_string(to, field, text) : error;
	}
	if (type == BLAZE_TYPE_BYTES) {
		error = blaze_record_get_bytes(from, field, &data, &len);
		return error == 0 ? blaze_record_set_bytes(to, field, data, len) : error;
	}
	error = blaze_record_get_uuid(from, field, &id);
	return error == 0 ? blaze_record_set_uuid(to, field, &id) : error;
}

static int copy_number(struct blaze_record *to, const struct blaze_record *from, const char *field,
                       enum blaze_type type)
{
	int64_t integer;
	uint64_t time_ns;
	double number;
	bool truth;
	int error;

	if (type == BLAZE_TYPE_INT) {
		error = blaze_record_get_int(from, field, &integer);
		return error == 0 ? blaze_record_set_int(to, field, integer) : error;
	}
	if (type == BLAZE_TYPE_DOUBLE) {
		error = blaze_record_get_double(from, field, &number);
		return error == 0 ? blaze_record_set_double(to, field, number) : error;
	}
	if (type == BLAZE_TYPE_TIME) {
		error = blaze_record_get_time(from, field, &time_ns);
		return error == 0 ? blaze_record_set_time(to, field, time_ns) : error;
	}
	error = blaze_record_get_bool(from, field, &truth);
	return error == 0 ? blaze_record_set_bool(to, field, truth) : error;
}

static int copy_field(struct blaze_record *to, const struct blaze_record *from, const char *field,
                      enum blaze_type type)
{
	switch (type) {
	case BLAZE_TYPE_NULL:
		return blaze_record_set_null(to, field);
	case BLAZE_TYPE_BOOL:
	case BLAZE_TYPE_INT:
	case BLAZE_TYPE_DOUBLE:
	case BLAZE_TYPE_TIME:
		return copy_number(to, from, field, type);
	case BLAZE_TYPE_STRING:
	case BLAZE_TYPE_BYTES:
	case BLAZE_TYPE_UUID:
		return copy_bytes(to, from, field, type);
	case BLAZE_TYPE_ARRAY:
	case BLAZE_TYPE_MAP:
		return copy_nested(to, from, field, type);
	default:
		return -EINVAL;
	}
}

static bool chosen(const struct tool *tool, const char *field)
{
	for (unsigned i = 0; i < tool->field_count; i++) {
		if (strcmp(tool->fields[i], field) == 0)
			return true;
	}
	return false;
}

int tool_choose_fields(const struct tool *tool, const struct blaze_record *record,
                       struct blaze_record **ret_chosen)
{
	struct blaze_record *copy;
	enum blaze_type type;
	const char *field;
	int error = blaze_record_new(&copy);

	if (error != 0)
		return error;
	for (unsigned i = 0; error == 0 && blaze_record_field_at(record, i, &field, &type) == 0;
	     i++) {
		if (chosen(tool, field))
			error = copy_field(copy, record, field, type);
	}
	if (error == 0)
		*ret_chosen = copy;
	else
		blaze_record_free(copy);
	return error;
}

/* Printing ----------------------------------------------------------------------------------- */

int tool_print_record(const struct blaze_id *id, const struct blaze_record *record)
{
	char text[37], *json;
	int error = blaze_record_to_json(record, &json);

	if (error != 0)
		return error;
	blaze_id_format(id, text);
	printf("{\"id\":\"%s\",\"record\":%s}\n", text, json);
	free(json);
	return 0;
}

/* One field, as "name: value", where the name is JSON too unless it is plain. */
static int print_field(const struct blaze_record *record, const char *field, enum blaze_type type)
{
	struct blaze_record *one;
	char *json;
	size_t name = 1; /* its length with quotes */
	int error = blaze_record_new(&one);

	if (error != 0)
		return error;
	error = copy_field(one, record, field, type);
	if (error == 0)
		error = blaze_record_to_json(one, &json);
	blaze_record_free(one);
	if (error != 0)
		return error;
	/* {"name":value} */
	while (json[1 + name] != '"')
		name += json[1 + name] == '\\' ? 2 : 1;
	name++;
	json[strlen(json) - 1] = '\0';
	if (name == strlen(field) + 2 && name > 2)
		printf("%s: %s\n", field, json + 1 + name + 1);
	else
		printf("%.*s: %s\n", (int)name, json + 1, json + 1 + name + 1);
	free(json);
	return 0;
}

static int print_text(const struct blaze_record *record)
{
	enum blaze_type type;
	const char *field;
	int error = 0;

	for (unsigned i = 0; error == 0 && blaze_record_field_at(record, i, &field, &type) == 0;
	     i++)
		error = print_field(record, field, type);
	return error;
}

static int print_json(const struct blaze_record *record)
{
	char *json;
	int error = blaze_record_to_json(record, &json);

	if (error == 0)
		puts(json);
	if (error == 0)
		free(json);
	return error;
}

/* Ids ---------------------------------------------------------------------------------------- */

typedef int (*id_worker)(const struct tool *tool, struct tool_db *db, const struct blaze_id *id);

static int one_id(const struct tool *tool, struct tool_db *db, const char *text, id_worker worker)
{
	struct blaze_id id;
	int error;

	if (blaze_id_parse(text, &id) != 0)
		return tool_complain("%s: not an id: %.64s", tool->command, text);
	error = worker(tool, db, &id);
	if (error == -ENOENT) {
		tool_complain("%s: no record %s in %s", tool->command, text, tool->dir);
		return TOOL_ABSENT;
	}
	return error == 0 ? TOOL_DONE : tool_fail(tool, error);
}

/* The id on the command line, or each line of standard input; those that are not there are told,
 * and the rest goes on. */
static int each_id(const struct tool *tool, struct tool_db *db, id_worker worker)
{
	struct tool_lines lines = { .fd = STDIN_FILENO };
	char *line, text[64];
	size_t len;
	int status = TOOL_DONE, more;

	if (strcmp(tool->operands[0], "-") != 0)
		return one_id(tool, db, tool->operands[0], worker);
	while ((more = tool_line(&lines, &line, &len)) == 1 && status != TOOL_FAILED) {
		int this;

		snprintf(text, sizeof(text), "%.*s", (int)(len < 60 ? len : 60), line);
		this = one_id(tool, db, text, worker);
		status = this != TOOL_DONE ? this : status;
	}
	tool_lines_free(&lines);
	return more < 0 && more != -EINTR ? tool_fail(tool, more) : status;
}

/* Commands ----------------------------------------------------------------------------------- */

static int closed(const struct tool *tool, struct tool_db *db, int status)
{
	int error = tool_db_close(db);

	return error != 0 && status == TOOL_DONE ? tool_fail(tool, error) : status;
}

int tool_create(const struct tool *tool)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct tool_db db = { .db = NULL };
	char path[4200];
	int error;

	if ((size_t)snprintf(path, sizeof(path), "file:%s", tool->dir) >= sizeof(path))
		return tool_fail(tool, -ENAMETOOLONG);
	options.flags = BLAZE_DB_MANUAL | BLAZE_DB_NO_CREATE | BLAZE_DB_READ_ONLY;
	error = blaze_db_open("blaze-db", path, &options, &db.db);
	if (error == 0)
		tool_db_close(&db);
	if (error == 0 || error == -EBADMSG || error == -EPROTO)
		return tool_complain("create: there is a database in %s already", tool->dir);
	options.flags = BLAZE_DB_MANUAL;
	options.durability = BLAZE_DURABILITY_SYNC;
	options.policy = tool->policy;
	error = blaze_db_open("blaze-db", path, &options, &db.db);
	return error == 0 ? closed(tool, &db, TOOL_DONE) : tool_fail(tool, error);
}

static int get_one(const struct tool *tool, struct tool_db *db, const struct blaze_id *id)
{
	struct blaze_record *record, *chosen_record = NULL;
	bool many = strcmp(tool->operands[0], "-") == 0;
	int error = tool_db_get(db, id, &record);

	if (error != 0)
		return error;
	if (tool->field_count > 0) {
		error = tool_choose_fields(tool, record, &chosen_record);
		blaze_record_free(record);
		record = chosen_record;
	}
	if (error == 0 && many)
		error = tool_print_record(id, record);
	else if (error == 0)
		error = tool->json ? print_json(record) : print_text(record);
	blaze_record_free(record);
	return error;
}

int tool_get(const struct tool *tool)
{
	struct tool_db db;
	int status = tool_open(tool, false, &db);

	return status == TOOL_DONE ? closed(tool, &db, each_id(tool, &db, get_one)) : status;
}

static int delete_one(const struct tool *tool, struct tool_db *db, const struct blaze_id *id)
{
	(void)tool;
	return tool_db_delete(db, id);
}

int tool_delete(const struct tool *tool)
{
	struct tool_db db;
	int status = tool_open(tool, true, &db);

	return status == TOOL_DONE ? closed(tool, &db, each_id(tool, &db, delete_one)) : status;
}

/* The record in the last operand; says what is wrong with it. */
static int put_read(const struct tool *tool, struct blaze_record **ret_record)
{
	const char *json = tool->operands[tool->operand_count - 1];
	char *data = NULL;
	size_t len = strlen(json);
	int error = 0;

	if (strcmp(json, "-") == 0) {
		error = tool_read_all(&data, &len);
		json = data;
	}
	if (error == 0)
		error = blaze_record_from_json(json, len, ret_record);
	free(data);
	if (error == 0)
		return TOOL_DONE;
	if (error == -EINVAL)
		return tool_complain("put: not a record: a JSON object of fields is wanted, see "
		                     "blaze_record(3)");
	return tool_fail(tool, error);
}

int tool_put(const struct tool *tool)
{
	struct blaze_record *record;
	struct blaze_id id;
	struct tool_db db;
	char text[37];
	int status, error;

	if (tool->operand_count == 2 && blaze_id_parse(tool->operands[0], &id) != 0)
		return tool_complain("put: not an id: %.64s", tool->operands[0]);
	status = put_read(tool, &record);
	if (status != TOOL_DONE)
		return status;
	status = tool_open(tool, true, &db);
	if (status == TOOL_DONE) {
		error = tool->operand_count == 2 ? tool_db_upsert(&db, &id, record)
		                                 : tool_db_insert(&db, record, &id);
		status = closed(tool, &db, error == 0 ? TOOL_DONE : tool_fail(tool, error));
	}
	blaze_record_free(record);
	if (status == TOOL_DONE && tool->operand_count == 1) {
		blaze_id_format(&id, text);
		puts(text);
	}
	return status;
}

static int scan_one(void *arg, const struct blaze_id *id, const struct blaze_record *record)
{
	const struct tool *tool = arg;
	struct blaze_record *copy;
	int error;

	if (tool_stopping())
		return -EINTR;
	if (tool->field_count == 0)
		return tool_print_record(id, record);
	error = tool_choose_fields(tool, record, &copy);
	if (error != 0)
		return error;
	error = tool_print_record(id, copy);
	blaze_record_free(copy);
	return error;
}

int tool_scan(const struct tool *tool)
{
	struct blaze_scan_options options = BLAZE_SCAN_OPTIONS_INIT;
	struct tool copy = *tool;
	struct tool_db db;
	int status = tool_open(tool, false, &db), n;

	if (status != TOOL_DONE)
		return status;
	options.from = tool->from_given ? &tool->from : NULL;
	options.to = tool->to_given ? &tool->to : NULL;
	options.limit = tool->limit;
	n = tool_db_scan(&db, &options, scan_one, &copy);
	return closed(tool, &db, n >= 0 || n == -EINTR ? TOOL_DONE : tool_fail(tool, n));
}
