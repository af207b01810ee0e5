/* SPDX-License-Identifier: Apache-2.0 */
/* blaze-db stat, check, dump, backup and repair: a store as it lies in its directory.
 *
 * WHY    All of them only read it, by lib/store/survey.h and BLAZE_DB_READ_ONLY, and so work
 *        beside a program that has the database open. What they see then is what is on the disk
 *        and in its tail; stat asks the program for what it holds.
 *
 *        check asks three times: recovery of the log, a whole opening (each transaction merged, as
 *        an opening does it), and, where one of these fails, every frame, to name each damaged
 *        place and not only the first. */
#include "lib/tool/blaze-db.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/db/lane_client.h"
#include "lib/store/survey.h"

#define TRIES 20u /* of looking at a store that somebody writes to, see lib/store/view.c */

static const char *policy_name(uint32_t policy)
{
	return policy == BLAZE_POLICY_LWW ? "lww" : "server-priority";
}

static void silent(void *arg, enum blaze_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

struct seen {
	struct blazei_survey_store store;
	struct blaze_db_stats stats;
	uint8_t hash[16];
	bool held;
	char who[96];
};

/* Recovers the log and opens the database, to read. */
static int look_once(const struct tool *tool, struct seen *seen)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_db *db;
	char path[4200];
	int error = blazei_survey_store(tool->dir, &seen->store);

	if (error != 0)
		return error;
	if ((size_t)snprintf(path, sizeof(path), "file:%s", tool->dir) >= sizeof(path))
		return -ENAMETOOLONG;
	options.flags = BLAZE_DB_MANUAL | BLAZE_DB_READ_ONLY;
	error = blaze_db_open("blaze-db", path, &options, &db);
	if (error != 0)
		return error;
	seen->stats = (struct blaze_db_stats)BLAZE_DB_STATS_INIT;
	error = blaze_db_stats(db, &seen->stats);
	if (error == 0)
		error = blaze_db_hash(db, seen->hash);
	blaze_db_close(db);
	return error;
}

/* The same; where somebody writes meanwhile, until it succeeds, or often enough. */
static int look(const struct tool *tool, struct seen *seen)
{
	int error = -EAGAIN;

	memset(seen, 0, sizeof(*seen));
	seen->held = tool_held(tool->dir, seen->who, sizeof(seen->who));
	for (unsigned i = 0; i < TRIES && !tool_stopping(); i++) {
		error = look_once(tool, seen);
		if ((error != -EBADMSG && error != -EAGAIN) || !seen->held)
			break;
	}
	return error;
}

/* Asks the program that has it open for what that knows best; the rest is in the directory. */
static int ask(const struct tool *tool, struct seen *seen)
{
	struct blazei_lane_caller *lane;
	int error;

	memset(seen, 0, sizeof(*seen));
	seen->held = tool_held(tool->dir, seen->who, sizeof(seen->who));
	if (!seen->held)
		return -ENOENT;
	error = blazei_lane_connect(tool->dir, NULL, NULL, &lane);
	if (error != 0)
		return error;
	error = blazei_lane_stat(lane, &seen->stats);
	blazei_lane_disconnect(lane);
	if (error != 0)
		return error;
	error = -EAGAIN;
	for (unsigned i = 0; i < TRIES && (error == -EBADMSG || error == -EAGAIN); i++)
		error = blazei_survey_store(tool->dir, &seen->store);
	return error;
}

/* stat --------------------------------------------------------------------------------------- */

static json_t *stat_json(const struct seen *seen)
{
	char store[37], node[37];

	blaze_id_format(&seen->store.store, store);
	blaze_id_format(&seen->store.node, node);
	return json_pack(
	        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:s, s:b, "
	        "s:b, s:b}",
	        "records", (json_int_t)seen->stats.records, "transactions",
	        (json_int_t)seen->store.transactions, "tail_transactions",
	        (json_int_t)seen->store.in_tail, "start", (json_int_t)seen->store.start, "last",
	        (json_int_t)seen->store.last, "bytes", (json_int_t)seen->store.bytes, "segments",
	        (json_int_t)seen->store.segments, "memory_bytes",
	        (json_int_t)seen->stats.memory_bytes, "origins", (json_int_t)seen->stats.origins,
	        "cuts", (json_int_t)seen->stats.cuts, "policy", policy_name(seen->store.policy),
	        "store", store, "node", node, "open", seen->held, "torn",
	        seen->store.torn && !seen->held, "lost", seen->store.lost && !seen->held);
}

static void stat_text(const struct seen *seen)
{
	char id[37];

	printf("records       %" PRIu64 "\n", seen->stats.records);
	printf("transactions  %" PRIu64 " on the disk\n",
	       seen->store.transactions - seen->store.in_tail);
	if (seen->store.in_tail > 0)
		printf("tail          %" PRIu64 " transactions, which a power loss would take\n",
		       seen->store.in_tail);
	printf("log           %" PRIu64 " bytes in %u segment%s\n", seen->store.bytes,
	       seen->store.segments, seen->store.segments == 1 ? "" : "s");
	if (seen->store.start > 0)
		printf("start         entry %" PRIu64 " of %" PRIu64
		       ": a checkpoint, what was before it went\n",
		       seen->store.start, seen->store.last);
	printf("memory        %" PRIu64 " bytes\n", seen->stats.memory_bytes);
	printf("policy        %s\n", policy_name(seen->store.policy));
	blaze_id_format(&seen->store.node, id);
	printf("node          %s\n", id);
	blaze_id_format(&seen->store.store, id);
	printf("store         %s\n", id);
	if (seen->stats.cuts > 0)
		printf("cuts          %" PRIu64 ": so often its end was lost, or may have been\n",
		       seen->stats.cuts);
	if (seen->held) {
		printf("open          in %s\n", seen->who);
		return;
	}
	if (seen->store.torn)
		printf("torn          at its end: the next opening cuts that\n");
	if (seen->store.lost)
		printf("lost          or perhaps, some of what was not on the disk: it was not "
		       "closed\n");
}

int tool_stat(const struct tool *tool)
{
	struct seen seen;
	int error;

	/* What is torn is told below, and once. */
	blaze_log_set(silent, NULL);
	error = ask(tool, &seen);
	if (error != 0)
		error = look(tool, &seen);
	if (error == -ENOENT || error == -ENOTDIR)
		return tool_absent(tool);
	if (error == -EBADMSG)
		return tool_complain("stat: %s is damaged ('blaze-db check %s' says where)",
		                     tool->dir, tool->dir);
	if (error != 0)
		return tool_fail(tool, error);
	if (tool->json)
		return tool_print_json(stat_json(&seen));
	stat_text(&seen);
	return TOOL_DONE;
}

/* check -------------------------------------------------------------------------------------- */

struct damage {
	const struct tool *tool;
	json_t *places;
	char first[241]; /* what recovery said */
};

static void note_line(void *arg, enum blaze_log_level level, const char *line)
{
	struct damage *damage = arg;

	if (level == BLAZE_LOG_ERROR)
		snprintf(damage->first, sizeof(damage->first), "%s", line);
}

static int note_frame(void *arg, const struct blazei_survey_frame *frame)
{
	struct damage *damage = arg;
	char file[32];
	json_t *place;

	if (frame->valid)
		return tool_stopping() ? -EINTR : 0;
	snprintf(file, sizeof(file), "%016" PRIx64 ".seg", frame->segment);
	place = json_pack("{s:s, s:I, s:I}", "file", file, "offset", (json_int_t)frame->offset,
	                  "bytes", (json_int_t)frame->bytes);
	return json_array_append_new(damage->places, place) == 0 ? 0 : -ENOMEM;
}

static void places_text(const struct damage *damage)
{
	for (size_t i = 0; i < json_array_size(damage->places); i++) {
		const json_t *place = json_array_get(damage->places, i);

		printf("%s/%s: offset %" PRIu64 ": no valid frame for %" PRIu64 " bytes\n",
		       damage->tool->dir, json_string_value(json_object_get(place, "file")),
		       (uint64_t)json_integer_value(json_object_get(place, "offset")),
		       (uint64_t)json_integer_value(json_object_get(place, "bytes")));
	}
}

static int check_damaged(struct damage *damage)
{
	const struct blazei_survey_visitors visitors = { .frame = note_frame, .arg = damage };
	const struct tool *tool = damage->tool;
	char first[sizeof(damage->first)];
	int error;

	memcpy(first, damage->first, sizeof(first));
	error = blazei_survey_frames(tool->dir, &visitors);
	if (error == -ENOMEM)
		return tool_fail(tool, error);
	if (tool->json)
		return tool_print_json(json_pack("{s:s, s:s, s:O}", "state", "damaged", "reason",
		                                 first, "places", damage->places)) == TOOL_DONE
		               ? TOOL_FAILED
		               : TOOL_FAILED;
	places_text(damage);
	return tool_complain("check: %s is damaged: %s", tool->dir, first);
}

static int check_sound(const struct tool *tool, const struct seen *seen)
{
	bool torn = (seen->store.torn || seen->store.lost) && !seen->held;
	char hash[33];

	for (unsigned i = 0; i < sizeof(seen->hash); i++)
		snprintf(hash + 2 * i, 3, "%02x", seen->hash[i]);
	if (tool->json) {
		int status = tool_print_json(json_pack(
		        "{s:s, s:I, s:I, s:I, s:I, s:s}", "state", torn ? "torn" : "whole",
		        "records", (json_int_t)seen->stats.records, "transactions",
		        (json_int_t)seen->store.transactions, "tail_transactions",
		        (json_int_t)seen->store.in_tail, "bytes", (json_int_t)seen->store.bytes,
		        "hash", hash));

		return status == TOOL_DONE && torn ? TOOL_TORN : status;
	}
	printf("%s is %s: %" PRIu64 " records, %" PRIu64 " transactions", tool->dir,
	       torn ? "whole up to a torn end" : "whole", seen->stats.records,
	       seen->store.transactions);
	if (seen->store.in_tail > 0)
		printf(" (%" PRIu64 " of them in the tail)", seen->store.in_tail);
	printf(", %" PRIu64 " bytes of log, hash %s\n", seen->store.bytes, hash);
	if (torn && seen->store.torn)
		tool_complain("check: the log ends in something torn, as after a crash while it "
		              "was written; the next opening cuts that");
	else if (torn)
		tool_complain("check: it was not closed, and of what was not on the disk some "
		              "is lost, or may be; the next opening counts a cut");
	return torn ? TOOL_TORN : TOOL_DONE;
}

int tool_check(const struct tool *tool)
{
	struct damage damage = { .tool = tool, .places = json_array() };
	struct seen seen;
	int error, status;

	if (damage.places == NULL)
		return tool_fail(tool, -ENOMEM);
	blaze_log_set(note_line, &damage);
	error = look(tool, &seen);
	if (error == 0)
		status = check_sound(tool, &seen);
	else if (error == -ENOENT || error == -ENOTDIR)
		status = tool_absent(tool);
	else if (error == -EBADMSG && !tool_stopping())
		status = check_damaged(&damage);
	else
		status = tool_stopping() ? TOOL_FAILED : tool_fail(tool, error);
	blaze_log_set(NULL, NULL);
	json_decref(damage.places);
	return status;
}

/* dump --------------------------------------------------------------------------------------- */

static int dump_frame(void *arg, const struct blazei_survey_frame *frame)
{
	char segment[17];
	json_t *json;

	(void)arg;
	snprintf(segment, sizeof(segment), "%016" PRIx64, frame->segment);
	json = json_pack("{s:s, s:I, s:I, s:b}", "segment", segment, "offset",
	                 (json_int_t)frame->offset, "bytes", (json_int_t)frame->bytes, "valid",
	                 frame->valid);
	if (json != NULL && frame->valid) {
		json_object_set_new(json, "kind",
		                    frame->kind == 1 ? json_string("log")
		                                     : json_integer(frame->kind));
		json_object_set_new(json, "lsn", json_integer((json_int_t)frame->first_lsn));
		json_object_set_new(json, "count", json_integer(frame->count));
		json_object_set_new(json, "durable_lsn",
		                    json_integer((json_int_t)frame->durable_lsn));
		json_object_set_new(json, "raw_bytes", json_integer(frame->raw_bytes));
		json_object_set_new(json, "stored_bytes", json_integer(frame->stored_bytes));
		json_object_set_new(json, "more", json_boolean(frame->more));
	}
	if (tool_print_json(json_pack("{s:o}", "frame", json)) != TOOL_DONE)
		return -ENOMEM;
	return tool_stopping() ? -EINTR : 0;
}

static int dump_txn(void *arg, const struct blazei_survey_txn *txn)
{
	char node[37];
	json_t *json;

	(void)arg;
	blaze_id_format(&txn->node, node);
	if (txn->part != NULL)
		json = json_pack("{s:I, s:I, s:s}", "lsn", (json_int_t)txn->lsn, "bytes",
		                 (json_int_t)txn->bytes, "part", txn->part);
	else if (txn->operations == NULL)
		json = json_pack("{s:I, s:I, s:b}", "lsn", (json_int_t)txn->lsn, "bytes",
		                 (json_int_t)txn->bytes, "valid", 0);
	else
		json = json_pack("{s:I, s:I, s:s, s:o, s:I, s:I, s:O}", "lsn", (json_int_t)txn->lsn,
		                 "bytes", (json_int_t)txn->bytes, "node", node, "incarnation",
		                 json_sprintf("%016" PRIx64, txn->incarnation), "seq",
		                 (json_int_t)txn->seq, "time_ns", (json_int_t)txn->time_ns,
		                 "operations", txn->operations);
	if (tool_print_json(json_pack("{s:o}", "transaction", json)) != TOOL_DONE)
		return -ENOMEM;
	return tool_stopping() ? -EINTR : 0;
}

int tool_dump(const struct tool *tool)
{
	const struct blazei_survey_visitors visitors = {
		.frame = tool->frames ? dump_frame : NULL,
		.txn = dump_txn,
	};
	int error = blazei_survey_frames(tool->dir, &visitors);

	if (error == -ENOENT || error == -ENOTDIR)
		return tool_absent(tool);
	return error == 0 || error == -EINTR ? TOOL_DONE : tool_fail(tool, error);
}

/* backup ------------------------------------------------------------------------------------- */

int tool_backup(const struct tool *tool)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_db *db;
	char path[4200], who[96];
	int error = -EBADMSG;

	if ((size_t)snprintf(path, sizeof(path), "file:%s", tool->dir) >= sizeof(path))
		return tool_fail(tool, -ENAMETOOLONG);
	options.flags = BLAZE_DB_MANUAL | BLAZE_DB_READ_ONLY;
	/* Damage that is none is looked at again, where somebody writes meanwhile. */
	for (unsigned i = 0; i < TRIES && error == -EBADMSG; i++) {
		if (i > 0 && !tool_held(tool->dir, who, sizeof(who)))
			break;
		blaze_log_set(silent, NULL);
		error = blaze_db_open("blaze-db", path, &options, &db);
	}
	if (error == -ENOENT || error == -ENOTDIR)
		return tool_absent(tool);
	if (error == -EBADMSG)
		return tool_complain("backup: %s is damaged ('blaze-db check %s' says where)",
		                     tool->dir, tool->dir);
	if (error != 0)
		return tool_fail(tool, error);
	error = blaze_db_backup(db, tool->operands[0]);
	blaze_db_close(db);
	return error == 0 ? TOOL_DONE
	                  : tool_complain("backup of %s to %s: %s", tool->dir, tool->operands[0],
	                                  blaze_strerror(error));
}

/* compact ------------------------------------------------------------------------------------ */

int tool_compact(const struct tool *tool)
{
	uint64_t before_bytes, after_bytes;
	struct tool_db db;
	int error, status = tool_open(tool, true, &db);

	if (status != TOOL_DONE)
		return status;
	error = tool_db_compact(&db, &before_bytes, &after_bytes);
	status = error == 0 ? TOOL_DONE : tool_fail(tool, error);
	error = tool_db_close(&db);
	if (status == TOOL_DONE && error != 0)
		status = tool_fail(tool, error);
	if (status == TOOL_DONE)
		printf("%" PRIu64 " bytes of log, %" PRIu64 " before\n", after_bytes, before_bytes);
	return status;
}

/* repair ------------------------------------------------------------------------------------- */

int tool_repair(const struct tool *tool)
{
	struct tool copy = *tool;
	struct seen seen;
	uint64_t lsn;
	int error;

	blaze_log_set(silent, NULL);
	error = look(tool, &seen);
	if (error == -ENOENT || error == -ENOTDIR)
		return tool_absent(tool);
	if (seen.held)
		return tool_complain("repair: %s is open in %s: end that first", tool->dir,
		                     seen.who);
	if (error == 0)
		return tool_complain("repair: %s needs none; 'blaze-db backup' copies it",
		                     tool->dir);
	if (error != -EBADMSG)
		return tool_fail(tool, error);
	error = blazei_survey_salvage(tool->dir, tool->operands[0], &lsn);
	if (error == -EBADMSG)
		return tool_complain("repair: the root of %s is damaged: nothing can be told of "
		                     "the rest",
		                     tool->dir);
	copy.dir = tool->operands[0];
	if (error == 0)
		error = look(&copy, &seen);
	if (error == -EBADMSG)
		return tool_complain("repair: the damage of %s is in the records that its log "
		                     "begins with: without all of them there is no database, and "
		                     "%s is none",
		                     tool->dir, tool->operands[0]);
	if (error != 0)
		return tool_complain("repair of %s to %s: %s", tool->dir, tool->operands[0],
		                     blaze_strerror(error));
	printf("%" PRIu64 " transactions, %" PRIu64 " records; what came after them is lost\n", lsn,
	       seen.stats.records);
	return TOOL_DONE;
}
