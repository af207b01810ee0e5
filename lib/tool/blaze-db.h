/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the program blaze-db share: its command line, its ways to fail, reading lines
 * and showing progress. */
#ifndef BLAZE_DB_TOOL_H
#define BLAZE_DB_TOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include <blaze/blaze.h>

enum tool_exit {
	TOOL_DONE = 0,
	TOOL_FAILED = 1,
	TOOL_USAGE = 2,
	TOOL_ABSENT = 3, /* no such database, or no such record */
	TOOL_TORN = 4,   /* check: the log ends in something torn, or its end is lost */
};

#define TOOL_FIELDS_MAX   64u
#define TOOL_OPERANDS_MAX 3u
#define TOOL_JSON_MAX     ((size_t)16 << 20) /* of one record, or line */

struct tool {
	const char *command;
	const char *dir;
	const char *operands[TOOL_OPERANDS_MAX]; /* behind the directory */
	unsigned operand_count;
	const char *fields[TOOL_FIELDS_MAX];
	unsigned field_count;
	struct blaze_id from;
	struct blaze_id to;
	bool from_given;
	bool to_given;
	uint64_t limit; /* 0: none */
	uint64_t count; /* of events; 0: no end */
	uint32_t policy;
	bool json;
	bool frames;
	bool new_ids;
};

/* blaze-db.c: says on standard error what failed and why; the exit status. */
int tool_fail(const struct tool *tool, int error);
/* The same where the words are the program's own. */
int tool_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Whether to stop: interrupted, or nobody takes what is printed. */
bool tool_stopping(void);
/* Prints and frees one JSON value on a line; NULL: there was no memory for it. */
int tool_print_json(json_t *value);

/* A database, opened here or asked for of the program that has it open. */
struct blazei_lane_caller;
struct tool_db {
	struct blaze_db *db;             /* or */
	struct blazei_lane_caller *lane; /* lib/db/lane_client.h */
	struct blaze_txn *txn;           /* the batch of the former, NULL: none is under way */
	uint32_t batched;
};

/* open.c: opens the database to write to it, or to see what is there; says what is wrong. */
int tool_open(const struct tool *tool, bool writing, struct tool_db *ret_db);
/* Says that there is no database, or what is left of one. */
int tool_absent(const struct tool *tool);
/* Connects to the program that has it open, if one has: TOOL_DONE; else says what is wrong. */
int tool_connect(const struct tool *tool, const char *who, struct blazei_lane_caller **ret_lane);
/* Whether a program has the database open: says which, as far as it can be found out. */
bool tool_held(const char *dir, char *ret_who, size_t who_bytes);

/* access.c: the calls of the library, by either way; for close there is nothing to do after errors
 * of a lane. A batch is committed as blazei_lane_batch_commit says. */
int tool_db_close(struct tool_db *db);
int tool_db_get(struct tool_db *db, const struct blaze_id *id, struct blaze_record **ret_record);
int tool_db_upsert(struct tool_db *db, const struct blaze_id *id,
                   const struct blaze_record *record);
int tool_db_insert(struct tool_db *db, const struct blaze_record *record, struct blaze_id *ret_id);
int tool_db_delete(struct tool_db *db, const struct blaze_id *id);
int tool_db_scan(struct tool_db *db, const struct blaze_scan_options *options,
                 blaze_scan_visitor visitor, void *arg);
uint64_t tool_db_count(struct tool_db *db);
int tool_db_compact(struct tool_db *db, uint64_t *ret_before_bytes, uint64_t *ret_after_bytes);
int tool_batch_add(struct tool_db *db, const struct blaze_id *id,
                   const struct blaze_record *record);
int tool_batch_commit(struct tool_db *db, uint32_t *ret_taken, uint32_t *ret_at);

/* lines.c: lines of a file, without their ends. */
struct tool_lines {
	int fd;
	char *data;
	size_t start; /* of what was not given yet */
	size_t len;
	size_t cap;
	uint64_t number; /* of the line given last, from 1 */
	uint64_t bytes;  /* read so far */
	bool ended;
};
/* 1: there is one, valid until the next call; 0: the end; -E2BIG longer than TOOL_JSON_MAX;
 * -EINTR: stopping; -ENOMEM and errors of the system. */
int tool_line(struct tool_lines *lines, char **ret_line, size_t *ret_len);
void tool_lines_free(struct tool_lines *lines);
/* All of standard input, in memory that the caller frees. 0 or an error as above. */
int tool_read_all(char **ret_data, size_t *ret_len);

/* progress.c: a bar on standard error, where that is a terminal. */
struct tool_progress {
	const char *verb;
	uint64_t total; /* 0: not known */
	uint64_t began_ns;
	uint64_t shown_ns;
	bool shown;
};
void tool_progress_begin(struct tool_progress *progress, const char *verb, uint64_t total);
/* done of total, which may be bytes, stand for so many records. */
void tool_progress_show(struct tool_progress *progress, uint64_t done, uint64_t records);
void tool_progress_end(struct tool_progress *progress);

/* records.c: a copy of the chosen fields of a record; those that it lacks are left out. 0 or an
 * error. */
int tool_choose_fields(const struct tool *tool, const struct blaze_record *record,
                       struct blaze_record **ret_chosen);
/* Prints {"id":..,"record":{..}}. 0 or an error. */
int tool_print_record(const struct blaze_id *id, const struct blaze_record *record);

/* The commands. Each returns the exit status. */
int tool_create(const struct tool *tool);
int tool_get(const struct tool *tool);
int tool_put(const struct tool *tool);
int tool_delete(const struct tool *tool);
int tool_scan(const struct tool *tool);
int tool_import(const struct tool *tool);
int tool_export(const struct tool *tool);
int tool_stat(const struct tool *tool);
int tool_check(const struct tool *tool);
int tool_dump(const struct tool *tool);
int tool_backup(const struct tool *tool);
int tool_compact(const struct tool *tool);
int tool_repair(const struct tool *tool);
int tool_watch(const struct tool *tool);

#endif
