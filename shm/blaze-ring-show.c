/* SPDX-License-Identifier: Apache-2.0 */
/* blaze-ring ls, stat, clean and rm: what is there, and taking it away. */
#include "shm/blaze-ring.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shm/survey.h"

#define AGE_BYTES 24

static uint64_t age_s(uint64_t since_ns)
{
	struct timespec now;
	uint64_t now_ns;

	clock_gettime(CLOCK_REALTIME, &now);
	now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	return now_ns > since_ns ? (now_ns - since_ns) / 1000000000 : 0;
}

static const char *age_text(uint64_t since_ns, char text[AGE_BYTES])
{
	const uint64_t age = age_s(since_ns);

	if (age < 120)
		snprintf(text, AGE_BYTES, "%" PRIu64 " s", age);
	else if (age < 2 * 3600)
		snprintf(text, AGE_BYTES, "%" PRIu64 " min", age / 60);
	else if (age < UINT64_C(2) * 86400)
		snprintf(text, AGE_BYTES, "%" PRIu64 " h", age / 3600);
	else
		snprintf(text, AGE_BYTES, "%" PRIu64 " d", age / 86400);
	return text;
}

/* A program chose its own name: only what prints gets to the terminal. */
static void make_printable(char *text)
{
	for (; *text; text++) {
		if (*text < 0x20 || *text > 0x7e)
			*text = '?';
	}
}

static void set_id(json_t *object, const char *key, const struct blaze_id *id)
{
	char text[37];

	blaze_id_format(id, text);
	json_object_set_new(object, key, json_string(text));
}

static json_t *ring_json(const struct blazei_survey_ring *ring)
{
	char mode[8];
	json_t *object =
	        json_pack("{s:s, s:I}", "name", ring->name, "bytes", (json_int_t)ring->bytes);

	if (!object)
		return NULL;
	if (ring->error) {
		json_object_set_new(object, "error", json_string(blaze_strerror(ring->error)));
		return object;
	}
	snprintf(mode, sizeof(mode), "%04o", ring->mode);
	set_id(object, "id", &ring->id);
	json_object_set_new(object, "mode", json_string(mode));
	json_object_set_new(object, "live", json_integer(ring->live));
	json_object_set_new(object, "dead", json_integer(ring->dead));
	json_object_set_new(object, "participants_max", json_integer(ring->participants_max));
	json_object_set_new(object, "age_seconds",
	                    json_integer((json_int_t)age_s(ring->created_ns)));
	return object;
}

/* ls ------------------------------------------------------------------------------------------ */

struct listing {
	struct blazei_survey_ring *rings;
	size_t count;
	size_t cap;
};

static int collect(void *arg, const struct blazei_survey_ring *ring)
{
	struct listing *listing = arg;

	if (listing->count == listing->cap) {
		size_t cap = listing->cap ? listing->cap * 2 : 32;
		void *grown = realloc(listing->rings, cap * sizeof(*ring));

		if (!grown)
			return -ENOMEM;
		listing->rings = grown;
		listing->cap = cap;
	}
	listing->rings[listing->count++] = *ring;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct blazei_survey_ring *one = a, *other = b;

	return strcmp(one->name, other->name);
}

static int ls_json(const struct listing *listing)
{
	json_t *rings = json_array();

	for (size_t i = 0; i < listing->count; i++)
		json_array_append_new(rings, ring_json(&listing->rings[i]));
	return tool_print_json(json_pack("{s:o}", "rings", rings));
}

static void ls_text(const struct listing *listing)
{
	char age[AGE_BYTES];

	printf("%-32s %5s %5s %14s %5s %8s\n", "NAME", "LIVE", "DEAD", "BYTES", "MODE", "AGE");
	for (size_t i = 0; i < listing->count; i++) {
		const struct blazei_survey_ring *ring = &listing->rings[i];

		if (ring->error)
			printf("%-32s %s\n", ring->name, blaze_strerror(ring->error));
		else
			printf("%-32s %5u %5u %14" PRIu64 "  %04o %8s\n", ring->name, ring->live,
			       ring->dead, ring->bytes, ring->mode,
			       age_text(ring->created_ns, age));
	}
}

int tool_ls(const struct tool *tool)
{
	struct listing listing = { 0 };
	int r = blazei_survey_rings(tool->mode, collect, &listing);
	int status = TOOL_DONE;

	if (r < 0)
		status = tool_fail(tool, "ls", r);
	if (listing.count > 1)
		qsort(listing.rings, listing.count, sizeof(listing.rings[0]), by_name);
	if (r == 0 && tool->json)
		status = ls_json(&listing);
	else if (r == 0)
		ls_text(&listing);
	free(listing.rings);
	return status;
}

/* stat ---------------------------------------------------------------------------------------- */

static json_t *member_json(struct blazei_survey_member *member)
{
	json_t *object;

	make_printable(member->program);
	if (member->error)
		return json_pack("{s:i, s:s}", "slot", (int)member->slot, "error",
		                 blaze_strerror(member->error));
	object = json_pack("{s:i, s:i, s:s, s:I, s:I, s:b, s:b, s:b, s:b, s:b, s:I}", "slot",
	                   (int)member->slot, "pid", (int)member->pid, "program", member->program,
	                   "lane_bytes", (json_int_t)member->lane_bytes, "published",
	                   (json_int_t)member->published, "live", member->live, "reading",
	                   member->reading, "sleeping", member->sleeping, "read_only",
	                   member->read_only, "lossless", member->lossless, "age_seconds",
	                   (json_int_t)age_s(member->attached_ns));
	if (object)
		set_id(object, "publisher", &member->publisher);
	return object;
}

static int stat_json(const struct blazei_survey_ring *ring, struct blazei_survey_member *members,
                     int count)
{
	json_t *object = ring_json(ring);
	json_t *list = json_array();

	for (int i = 0; i < count; i++)
		json_array_append_new(list, member_json(&members[i]));
	if (!object || json_object_set_new(object, "participants", list) < 0) {
		json_decref(object);
		object = NULL;
	}
	return tool_print_json(object);
}

static const char *state_of(const struct blazei_survey_member *member)
{
	if (!member->live)
		return "dead";
	if (member->sleeping)
		return "sleeping";
	return member->reading ? "reading" : "live";
}

static void member_text(struct blazei_survey_member *member)
{
	char age[AGE_BYTES];

	make_printable(member->program);
	if (member->error) {
		printf("%4u  %s\n", member->slot, blaze_strerror(member->error));
		return;
	}
	printf("%4u %8u %-16.31s %12" PRIu64 " %16" PRIu64 " %-9s %8s%s\n", member->slot,
	       member->pid, member->program, member->lane_bytes, member->published,
	       state_of(member), age_text(member->attached_ns, age),
	       member->lossless ? "  lossless" : "");
}

static void stat_text(const struct blazei_survey_ring *ring, struct blazei_survey_member *members,
                      int count)
{
	char id[37], age[AGE_BYTES];

	blaze_id_format(&ring->id, id);
	printf("ring %s  id %s  mode %04o  %s old\n", ring->name, id, ring->mode,
	       age_text(ring->created_ns, age));
	printf("%u of %u participants live, %u dead, %" PRIu64 " bytes\n\n", ring->live,
	       ring->participants_max, ring->dead, ring->bytes);
	printf("%4s %8s %-16s %12s %16s %-9s %8s\n", "SLOT", "PID", "PROGRAM", "LANE BYTES",
	       "PUBLISHED", "STATE", "AGE");
	for (int i = 0; i < count; i++)
		member_text(&members[i]);
}

static int by_slot(const void *a, const void *b)
{
	const struct blazei_survey_member *one = a, *other = b;

	if (one->slot != other->slot)
		return one->slot < other->slot ? -1 : 1;
	return one->live - other->live;
}

int tool_stat(const struct tool *tool)
{
	struct blazei_survey_member *members = calloc(BLAZEI_SURVEY_MEMBERS_MAX, sizeof(*members));
	struct blazei_survey_ring ring;
	int status = TOOL_DONE;
	int count = members ? blazei_survey_members(tool->mode, tool->name, &ring, members,
	                                            BLAZEI_SURVEY_MEMBERS_MAX)
	                    : -ENOMEM;

	if (count >= 0 && ring.error)
		count = ring.error;
	if (count > 1)
		qsort(members, (size_t)count, sizeof(*members), by_slot);
	if (count < 0)
		status = tool_fail(tool, "stat", count);
	else if (tool->json)
		status = stat_json(&ring, members, count);
	else
		stat_text(&ring, members, count);
	free(members);
	return status;
}

/* clean and rm -------------------------------------------------------------------------------- */

struct report {
	bool json;
	json_t *removed;
	json_t *kept;
};

static void report_text(enum blazei_survey_verdict verdict, const char *name, unsigned count,
                        int error)
{
	switch (verdict) {
	case BLAZEI_SURVEY_RING:
		printf("removed ring %s: nobody lived in it\n", name);
		break;
	case BLAZEI_SURVEY_LANES:
		printf("removed %u lane%s of dead participants from ring %s\n", count,
		       count == 1 ? "" : "s", name);
		break;
	case BLAZEI_SURVEY_LEFTOVER:
		printf("removed %s: unfinished business\n", name);
		break;
	default:
		fprintf(stderr, "blaze-ring: left %s alone: %s\n", name, blaze_strerror(error));
	}
}

static void report(void *arg, enum blazei_survey_verdict verdict, const char *name, unsigned count,
                   int error)
{
	static const char *const kinds[] = { "ring", "lanes", "leftover" };
	struct report *report = arg;

	if (!report->json)
		report_text(verdict, name, count, error);
	else if (verdict == BLAZEI_SURVEY_KEPT)
		json_array_append_new(report->kept, json_pack("{s:s, s:s}", "name", name, "error",
		                                              blaze_strerror(error)));
	else
		json_array_append_new(report->removed,
		                      json_pack("{s:s, s:s, s:i}", "kind", kinds[verdict], "name",
		                                name, "count", (int)count));
}

int tool_clean(const struct tool *tool)
{
	struct report all = { .json = tool->json };
	int r, status = TOOL_DONE;

	if (tool->json) {
		all.removed = json_array();
		all.kept = json_array();
	}
	r = blazei_survey_clean(tool->mode, report, &all);
	if (tool->json)
		status = tool_print_json(
		        json_pack("{s:o, s:o}", "removed", all.removed, "kept", all.kept));
	return r < 0 ? tool_fail(tool, "clean", r) : status;
}

int tool_rm(const struct tool *tool)
{
	int r = blazei_survey_remove(tool->mode, tool->name);

	if (r < 0)
		return tool_fail(tool, "rm", r);
	if (tool->json)
		return tool_print_json(json_pack("{s:s}", "removed", tool->name));
	return TOOL_DONE;
}
