/* SPDX-License-Identifier: Apache-2.0 */
/* blaze-db import and export: whole databases as JSON lines, {"id":..,"record":{..}}.
 *
 * WHY    Lines are read in batches, each a transaction: one sync for many records, and none of them
 *        half there. A line that is wrong ends the import with its place; what came in batches
 *        before stays, its own batch does not. Records are set by their ids, so an import that was
 *        interrupted, or mended, is repeated from the start and ends the same. */
#include "lib/tool/blaze-db.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH_RECORDS 1024u
#define BATCH_BYTES   (UINT64_C(2) << 20) /* of lines */

/* export ------------------------------------------------------------------------------------- */

struct exporting {
	struct tool_progress progress;
	uint64_t records;
};

static int export_one(void *arg, const struct blaze_id *id, const struct blaze_record *record)
{
	struct exporting *exporting = arg;
	int error;

	if (tool_stopping())
		return -EINTR;
	error = tool_print_record(id, record);
	exporting->records++;
	tool_progress_show(&exporting->progress, exporting->records, exporting->records);
	return error;
}

int tool_export(const struct tool *tool)
{
	struct exporting exporting = { .records = 0 };
	struct tool_db db;
	int status = tool_open(tool, false, &db), n;

	if (status != TOOL_DONE)
		return status;
	tool_progress_begin(&exporting.progress, "export", tool_db_count(&db));
	n = tool_db_scan(&db, NULL, export_one, &exporting);
	tool_progress_end(&exporting.progress);
	tool_db_close(&db);
	return n >= 0 || n == -EINTR ? TOOL_DONE : tool_fail(tool, n);
}

/* import ------------------------------------------------------------------------------------- */

struct importing {
	const struct tool *tool;
	const char *name; /* of the file */
	struct tool_lines lines;
	struct tool_progress progress;
	struct tool_db db;
	uint64_t batch_lines[BATCH_RECORDS]; /* on which its records stand */
	uint32_t batch_records;
	uint64_t batch_bytes;
	uint64_t records; /* committed */
	uint64_t through; /* and the last line of them */
};

static int complain_at(const struct importing *importing, uint64_t line, const char *why)
{
	return tool_complain("%s:%" PRIu64 ": %s", importing->name, line, why);
}

static int complain_line(const struct importing *importing, const char *why)
{
	return complain_at(importing, importing->lines.number, why);
}

/* Reads the id of {"id":..,"record":{..}}, and the record. */
static int line_members(const struct importing *importing, json_t *line, struct blaze_id *ret_id,
                        struct blaze_record **ret_record)
{
	const char *id;
	json_t *record;
	char *text;
	int error;

	if (json_unpack(line, "{s:s, s:o!}", "id", &id, "record", &record) != 0 ||
	    !json_is_object(record))
		return complain_line(importing, "not of the form {\"id\":\"..\",\"record\":{..}}");
	if (blaze_id_parse(id, ret_id) != 0)
		return complain_line(importing, "not an id");
	text = json_dumps(record, JSON_COMPACT);
	if (text == NULL)
		return complain_line(importing, blaze_strerror(-ENOMEM));
	error = blaze_record_from_json(text, strlen(text), ret_record);
	free(text);
	return error == 0 ? TOOL_DONE
	                  : complain_line(importing, error == -EINVAL
	                                                     ? "not a record: see blaze_record(3)"
	                                                     : blaze_strerror(error));
}

/* Reads a line; says what is wrong with it. */
static int line_read(const struct importing *importing, const char *text, size_t len,
                     struct blaze_id *ret_id, struct blaze_record **ret_record)
{
	char why[JSON_ERROR_TEXT_LENGTH + 32];
	json_error_t error;
	json_t *line = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	int status;

	if (line == NULL) {
		snprintf(why, sizeof(why), "column %d: %s", error.column, error.text);
		return complain_line(importing, why);
	}
	if (importing->tool->new_ids) {
		status = blaze_record_from_json(text, len, ret_record);
		if (status == 0)
			status = blaze_id_new(ret_id);
		status = status == 0 ? TOOL_DONE
		                     : complain_line(importing,
		                                     status == -EINVAL
		                                             ? "not a record: see blaze_record(3)"
		                                             : blaze_strerror(status));
	} else {
		status = line_members(importing, line, ret_id, ret_record);
	}
	json_decref(line);
	return status;
}

static int batch_commit(struct importing *importing)
{
	const uint32_t count = importing->batch_records;
	uint32_t taken, at;
	int error;

	if (count == 0)
		return TOOL_DONE;
	error = tool_batch_commit(&importing->db, &taken, &at);
	importing->records += taken;
	if (taken > 0)
		importing->through = importing->batch_lines[taken - 1];
	importing->batch_records = 0;
	importing->batch_bytes = 0;
	if (error != 0 && at < count)
		return complain_at(importing, importing->batch_lines[at], blaze_strerror(error));
	if (error != 0)
		return tool_fail(importing->tool, error);
	tool_progress_show(&importing->progress,
	                   importing->progress.total > 0 ? importing->lines.bytes : 0,
	                   importing->records);
	return TOOL_DONE;
}

/* Adds a record to the batch. */
static int batch_add(struct importing *importing, const struct blaze_id *id,
                     const struct blaze_record *record, size_t len)
{
	int error = tool_batch_add(&importing->db, id, record), status = TOOL_DONE;

	if (error == -EMSGSIZE && importing->batch_records > 0) {
		status = batch_commit(importing);
		if (status == TOOL_DONE)
			error = tool_batch_add(&importing->db, id, record);
	}
	if (status != TOOL_DONE || error != 0)
		return status != TOOL_DONE ? status
		                           : complain_line(importing, blaze_strerror(error));
	importing->batch_lines[importing->batch_records++] = importing->lines.number;
	importing->batch_bytes += len;
	if (importing->batch_records < BATCH_RECORDS && importing->batch_bytes < BATCH_BYTES)
		return TOOL_DONE;
	return batch_commit(importing);
}

static int line_take(struct importing *importing, const char *text, size_t len)
{
	struct blaze_record *record;
	struct blaze_id id;
	int status;

	if (strspn(text, " \t\r") >= len)
		return TOOL_DONE;
	status = line_read(importing, text, len, &id, &record);
	if (status != TOOL_DONE)
		return status;
	status = batch_add(importing, &id, record, len);
	blaze_record_free(record);
	return status;
}

static int import_run(struct importing *importing)
{
	int status = TOOL_DONE, more = 0;
	size_t len;
	char *line;

	while (status == TOOL_DONE && !tool_stopping() &&
	       (more = tool_line(&importing->lines, &line, &len)) == 1) {
		/* Its own end, so that text functions stop there. */
		line[len] = '\0';
		status = line_take(importing, line, len);
	}
	if (status == TOOL_DONE && more < 0 && more != -EINTR)
		status = complain_line(importing, blaze_strerror(more));
	if (status == TOOL_DONE && more == 0 && !tool_stopping())
		status = batch_commit(importing);
	return status;
}

/* What a failed or interrupted import leaves, and what to do. */
static void tell_part(const struct importing *importing)
{
	if (importing->tool->new_ids)
		tool_complain("import: %" PRIu64 " records are in, through line %" PRIu64
		              "; go on with the lines after that",
		              importing->records, importing->through);
	else
		tool_complain("import: %" PRIu64 " records are in, through line %" PRIu64
		              "; repeating it from the start is safe",
		              importing->records, importing->through);
}

static int file_open(struct importing *importing, uint64_t *ret_bytes)
{
	const struct tool *tool = importing->tool;
	struct stat status;

	importing->name = "standard input";
	importing->lines.fd = STDIN_FILENO;
	if (tool->operand_count > 0 && strcmp(tool->operands[0], "-") != 0) {
		importing->name = tool->operands[0];
		importing->lines.fd = open(importing->name, O_RDONLY | O_CLOEXEC);
		if (importing->lines.fd < 0)
			return tool_complain("import: cannot read %s: %s", importing->name,
			                     strerror(errno));
	}
	*ret_bytes = 0;
	if (fstat(importing->lines.fd, &status) == 0 && S_ISREG(status.st_mode))
		*ret_bytes = (uint64_t)status.st_size;
	return TOOL_DONE;
}

int tool_import(const struct tool *tool)
{
	struct importing importing = { .tool = tool };
	uint64_t bytes = 0;
	int status = file_open(&importing, &bytes);

	if (status != TOOL_DONE)
		return status;
	status = tool_open(tool, true, &importing.db);
	if (status != TOOL_DONE) {
		close(importing.lines.fd);
		return status;
	}
	tool_progress_begin(&importing.progress, "import", bytes);
	status = import_run(&importing);
	tool_progress_end(&importing.progress);
	if (status != TOOL_DONE || tool_stopping())
		tell_part(&importing);
	tool_db_close(&importing.db);
	tool_lines_free(&importing.lines);
	close(importing.lines.fd);
	if (status != TOOL_DONE)
		return status;
	if (tool->json)
		return tool_print_json(
		        json_pack("{s:I}", "records", (json_int_t)importing.records));
	printf("%" PRIu64 " records\n", importing.records);
	return TOOL_DONE;
}
