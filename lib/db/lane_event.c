/* SPDX-License-Identifier: Apache-2.0 */
/* An event of a watch as one line of JSON, as blaze-db(1) states it. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/db/lane.h"
#include "lib/op/json.h"
#include "lib/op/value.h"

#include <blaze/watch.h>

static const char *const syncs[] = {
	[BLAZE_SYNC_CATCHING_UP] = "catching-up",
	[BLAZE_SYNC_LIVE] = "live",
	[BLAZE_SYNC_ORIGIN_QUARANTINED] = "origin-quarantined",
	[BLAZE_SYNC_CLOCK_AHEAD] = "clock-ahead",
	[BLAZE_SYNC_CLOCK_BEHIND] = "clock-behind",
	[BLAZE_SYNC_ORIGIN_STALLED] = "origin-stalled",
	[BLAZE_SYNC_ORIGIN_RESUMED] = "origin-resumed",
	[BLAZE_SYNC_MEMBER_JOINED] = "member-joined",
	[BLAZE_SYNC_MEMBER_EXPELLED] = "member-expelled",
	[BLAZE_SYNC_ORIGIN_DISPLACED] = "origin-displaced",
	[BLAZE_SYNC_NODE_TWICE] = "node-twice",
	[BLAZE_SYNC_ORIGINS_FULL] = "origins-full",
	[BLAZE_SYNC_ORIGIN_RENEWED] = "origin-renewed",
	[BLAZE_SYNC_PEER_BELOW] = "peer-below",
	[BLAZE_SYNC_READ_ONLY] = "read-only",
	[BLAZE_SYNC_LOG_CUT] = "log-cut",
};

/* Text that is being made; what fails makes the rest do nothing. */
struct text {
	struct blazei_buffer *out;
	int error;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *format, ...)
{
	char piece[256];
	va_list arguments;
	int len;

	va_start(arguments, format);
	len = vsnprintf(piece, sizeof(piece), format, arguments);
	va_end(arguments);
	assert(len >= 0 && (size_t)len < sizeof(piece));
	if (text->error == 0)
		text->error = blazei_buffer_append(text->out, piece, (size_t)len);
}

/* Adds what somebody allocated, and frees it. */
static void add_owned(struct text *text, int error, char *json)
{
	if (text->error == 0)
		text->error = error;
	if (text->error == 0)
		text->error = blazei_buffer_append(text->out, json, strlen(json));
	if (error == 0)
		free(json);
}

static void add_record(struct text *text, const char *name, const struct blaze_record *record)
{
	char *json = NULL;
	int error;

	if (record == NULL)
		return;
	add(text, ",\"%s\":", name);
	error = blaze_record_to_json(record, &json);
	add_owned(text, error, json);
}

static void add_id(struct text *text, const char *name, const struct blaze_id *id)
{
	char formatted[37];

	blaze_id_format(id, formatted);
	add(text, "\"%s\":\"%s\"", name, formatted);
}

/* A name, which may hold anything, as JSON. */
static void add_name(struct text *text, const char *name)
{
	uint8_t value[BLAZEI_VALUE_HEAD_MAX + 256];
	const size_t len = blazei_encode_text(value, sizeof(value), name, strlen(name));
	char *json = NULL;
	int error = blazei_json_write(value, len, &json);

	add_owned(text, error, json);
}

static void add_from(struct text *text, const struct blaze_position *from)
{
	static const struct blaze_id nobody;

	if (memcmp(&from->node, &nobody, sizeof(nobody)) == 0)
		return;
	add(text, ",\"from\":{");
	add_id(text, "node", &from->node);
	add(text,
	    ",\"incarnation\":\"%016" PRIx64 "\",\"seq\":%" PRIu64 ",\"time_ns\":%" PRIu64 "}",
	    from->incarnation, from->seq, from->time_ns);
}

static void add_side(struct text *text, const char *name, const struct blaze_conflict_side *side)
{
	static const char *const kinds[] = {
		[BLAZE_CONFLICT_SET] = "set",
		[BLAZE_CONFLICT_UNSET] = "unset",
		[BLAZE_CONFLICT_ALIVE] = "alive",
		[BLAZE_CONFLICT_DEAD] = "dead",
	};

	add(text, ",\"%s\":{\"kind\":\"%s\"", name, kinds[side->kind]);
	add(text, ",\"local\":%s,\"server\":%s,",
	    (side->flags & BLAZE_CONFLICT_LOCAL) != 0 ? "true" : "false",
	    (side->flags & BLAZE_CONFLICT_SERVER) != 0 ? "true" : "false");
	add_id(text, "node", &side->node);
	add(text, ",\"incarnation\":\"%016" PRIx64 "\",\"seq\":%" PRIu64 ",\"time_ns\":%" PRIu64,
	    side->incarnation, side->seq, side->time_ns);
	add_record(text, "value", side->value);
	add(text, "}");
}

static void add_conflict(struct text *text, const struct blaze_conflict *conflict)
{
	add(text, ",\"number\":%" PRIu64 ",\"incoming_won\":%s", conflict->number,
	    conflict->incoming_won != 0 ? "true" : "false");
	if (conflict->field != NULL) {
		add(text, ",\"field\":");
		add_name(text, conflict->field);
	}
	add_side(text, "loser", &conflict->loser);
	add_side(text, "winner", &conflict->winner);
}

static const char *event_name(uint32_t kind)
{
	switch (kind) {
	case BLAZE_WATCH_INSERT:
		return "insert";
	case BLAZE_WATCH_UPDATE:
		return "update";
	case BLAZE_WATCH_DELETE:
		return "delete";
	case BLAZE_WATCH_CONFLICT:
		return "conflict";
	case BLAZE_WATCH_SYNC:
		return "sync";
	default:
		return "rescan";
	}
}

int blazei_lane_event_text(const struct blaze_watch_event *event, struct blazei_buffer *out)
{
	const uint32_t of_record = BLAZE_WATCH_INSERT | BLAZE_WATCH_UPDATE | BLAZE_WATCH_DELETE;
	const uint32_t with_id = of_record | BLAZE_WATCH_CONFLICT;
	struct text text = { .out = out };

	add(&text, "{\"event\":\"%s\"", event_name(event->kind));
	if ((event->kind & with_id) != 0) {
		add(&text, ",");
		add_id(&text, "id", &event->id);
	}
	if ((event->kind & of_record) != 0)
		add(&text, ",\"local\":%s,\"state\":%s,\"last\":%s",
		    (event->flags & BLAZE_WATCH_LOCAL) != 0 ? "true" : "false",
		    (event->flags & BLAZE_WATCH_STATE) != 0 ? "true" : "false",
		    (event->flags & BLAZE_WATCH_LAST) != 0 ? "true" : "false");
	if (event->kind == BLAZE_WATCH_SYNC && event->sync < sizeof(syncs) / sizeof(syncs[0]))
		add(&text, ",\"sync\":\"%s\"", syncs[event->sync]);
	add_record(&text, "before", event->before);
	add_record(&text, "after", event->after);
	if (event->kind == BLAZE_WATCH_CONFLICT)
		add_conflict(&text, event->conflict);
	add_from(&text, &event->from);
	add(&text, "}");
	return text.error;
}
