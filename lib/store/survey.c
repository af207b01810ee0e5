/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a store frame by frame, past what is damaged; see survey.h.
 *
 * WHY    Recovery is the judge of a store and stops at the first damage. Who wants to know what is
 *        left needs the rest too. So this reads on at the next multiple of 4 KiB where a valid
 *        frame begins; transactions are taken up again with the first frame that begins with one.
 *
 * INVARIANTS
 *   I1   A frame is given as valid, and a transaction as decoded, only after the same checks that
 *        recovery makes. */
#include "lib/store/survey.h"

#include <stdlib.h>

#include "lib/op/json.h"
#include "lib/op/unit.h"
#include "lib/op/value.h"
#include "lib/store/backup.h"
#include "lib/store/log.h"
#include "lib/store/view.h"

static const struct blazei_store_options look = { .look = true };

struct survey {
	const struct blazei_survey_visitors *visitors;
	struct blazei_store *store;
	struct blazei_frame_place place;
	uint64_t limit; /* end of the segment */
	uint8_t *frame; /* what is read at a time */
	struct blazei_unpacker unpacker;
	struct blazei_buffer part; /* the beginning of a transaction */
	bool adrift;               /* something is missing before the next frame */
};

struct count {
	const struct blazei_store *store;
	uint64_t transactions;
	uint64_t in_tail;
};

static int count_one(void *arg, const void *entry, size_t len)
{
	const struct blazei_unit_bound *bound = entry;
	struct count *count = arg;

	(void)len;
	if (bound->kind != BLAZEI_KIND_TXN)
		return 0;
	count->transactions++;
	count->in_tail += count->store->scanned;
	return 0;
}

int blazei_survey_store(const char *dir, struct blazei_survey_store *ret_store)
{
	struct blazei_store *store;
	int error = blazei_store_open(&blazei_view_ops, dir, &look, &store);
	struct blazei_survey_store found = { .segments = 0 };
	const struct blazei_root *root;
	struct count count = { .transactions = 0 };

	if (error != 0)
		return error;
	root = store->root;
	if (root->segment_count > 0)
		found.open = root->segments[root->segment_count - 1].end == BLAZEI_SEGMENT_OPEN;
	count.store = store;
	error = blazei_store_recover(store, root->incarnation, count_one, &count);
	if (error == 0) {
		found.store = root->store;
		found.node = root->node;
		found.policy = root->policy;
		found.segments = root->segment_count;
		found.start = root->start;
		found.last = store->last;
		found.transactions = count.transactions;
		found.in_tail = count.in_tail;
		found.torn = store->torn;
		found.lost = store->lost;
		for (uint32_t i = 0; i < root->segment_count; i++)
			found.bytes += root->segments[i].end;
		*ret_store = found;
	}
	(void)blazei_store_close(store);
	return error == -ESTALE ? -EAGAIN : error;
}

/* Operations as JSON ------------------------------------------------------------------------- */

/* A value of JSON for a checked one of a register. */
static json_t *value_json(const void *value, size_t len)
{
	json_t *json;
	char *text;

	if (blazei_json_write(value, len, &text) != 0)
		return NULL;
	json = json_loads(text, JSON_DECODE_ANY, NULL);
	free(text);
	return json;
}

/* Adds one register; false without memory. */
static bool register_add(json_t *fields, json_t *unset, const struct blazei_txn_register *reg)
{
	const char *name = (const char *)reg->bytes;

	if ((reg->flags & BLAZEI_REGISTER_UNSET) != 0)
		return json_array_append_new(unset, json_stringn(name, reg->name_len)) == 0;
	return json_object_setn_new(fields, name, reg->name_len,
	                            value_json(reg->bytes + reg->name_len, reg->value_len)) == 0;
}

/* One group: what became of a record. */
static json_t *group_json(const struct blazei_group_view *group, const uint8_t **ret_end)
{
	json_t *fields = json_object(), *unset = json_array(), *json;
	const uint8_t *at = group->registers;
	bool done = fields != NULL && unset != NULL;
	char id[37];

	for (unsigned i = 0; i < group->head->register_count; i++) {
		const struct blazei_txn_register *reg = (const struct blazei_txn_register *)at;

		done = done && register_add(fields, unset, reg);
		at += blazei_register_bytes(reg);
	}
	*ret_end = at;
	blaze_id_format(&group->head->id, id);
	json = done ? json_pack("{s:s, s:I}", "id", id, "life", (json_int_t)group->head->life)
	            : NULL;
	if (json != NULL && group->existence != NULL)
		json_object_set_new(json, "exists",
		                    json_boolean((group->head->flags & BLAZEI_GROUP_ALIVE) != 0));
	if (json != NULL && json_object_size(fields) > 0)
		json_object_set(json, "set", fields);
	if (json != NULL && json_array_size(unset) > 0)
		json_object_set(json, "unset", unset);
	json_decref(fields);
	json_decref(unset);
	return json;
}

static json_t *operations_json(const struct blazei_txn_header *header)
{
	const uint8_t *at = blazei_txn_groups(header);
	json_t *operations = json_array();

	for (uint32_t i = 0; i < header->record_count && operations != NULL; i++) {
		struct blazei_group_view group;

		blazei_group_read(at, &group);
		if (json_array_append_new(operations, group_json(&group, &at)) != 0) {
			json_decref(operations);
			operations = NULL;
		}
	}
	return operations;
}

/* Reading ------------------------------------------------------------------------------------ */

static int txn_give(struct survey *survey, uint64_t lsn, const void *data, uint32_t bytes)
{
	const struct blazei_txn_header *header = data;
	const struct blazei_origin *origin = blazei_txn_origins(header);
	struct blazei_survey_txn txn = {
		.lsn = lsn,
		.bytes = bytes,
		.node = origin->node,
		.incarnation = origin->incarnation,
		.seq = header->seq,
		.time_ns = header->hlc,
		.operations = operations_json(header),
	};
	int result = txn.operations != NULL ? survey->visitors->txn(survey->visitors->arg, &txn)
	                                    : -ENOMEM;

	json_decref(txn.operations);
	return result;
}

/* Which part of a unit a checked entry is; NULL: a transaction. */
static const char *entry_part(const void *entry)
{
	const struct blazei_unit_bound *bound = entry;

	switch (bound->kind) {
	case BLAZEI_KIND_STATE:
		return "state";
	case BLAZEI_KIND_BEGIN:
		return (bound->flags & BLAZEI_UNIT_CHECKPOINT) != 0 ? "checkpoint" : "begin";
	case BLAZEI_KIND_END:
		return "end";
	case BLAZEI_KIND_DROP:
		return "drop";
	default:
		return NULL;
	}
}

static int entry_give(struct survey *survey, uint64_t lsn, const void *data, uint32_t bytes)
{
	const struct blazei_survey_txn part = {
		.lsn = lsn,
		.bytes = bytes,
		.part = entry_part(data),
	};

	if (lsn < survey->store->root->start)
		return 0;
	return part.part != NULL ? survey->visitors->txn(survey->visitors->arg, &part)
	                         : txn_give(survey, lsn, data, bytes);
}

/* Gives bytes that do not decode, which is no news where something before them is missing. */
static int undecoded_give(struct survey *survey, const struct blazei_frame_header *frame,
                          size_t len)
{
	const struct blazei_survey_txn undecoded = { .lsn = frame->first_lsn, .bytes = len };

	return survey->adrift ? 0 : survey->visitors->txn(survey->visitors->arg, &undecoded);
}

/* Gives the entries in a run of bytes, as far as they decode. */
static int txns_give(struct survey *survey, const struct blazei_frame_header *frame,
                     const uint8_t *data, size_t len)
{
	uint64_t lsn = frame->first_lsn;
	int result = 0;

	while (result == 0 && len > 0) {
		uint32_t bytes = 0;

		if (len >= sizeof(struct blazei_unit_bound))
			memcpy(&bytes, data, sizeof(bytes));
		if (bytes == 0 || bytes > len || blazei_logged_check(data, bytes) != 0)
			return undecoded_give(survey, frame, len);
		survey->adrift = false;
		result = entry_give(survey, lsn++, data, bytes);
		data += bytes;
		len -= bytes;
	}
	return result;
}

static int frame_txns(struct survey *survey, const struct blazei_frame_header *frame)
{
	bool more = (frame->flags & BLAZEI_FRAME_MORE) != 0;
	const uint8_t *body;
	int result;

	if (survey->visitors->txn == NULL)
		return 0;
	result = blazei_unpack(&survey->unpacker, frame, &body);
	if (result == -EBADMSG) {
		result = undecoded_give(survey, frame, frame->raw_bytes);
		/* The parts of a transaction that follow are no news. */
		survey->adrift |= more || survey->part.len > 0;
		survey->part.len = 0;
		return result;
	}
	if (result != 0)
		return result;
	if (!more && survey->part.len == 0)
		return txns_give(survey, frame, body, frame->raw_bytes);
	result = blazei_buffer_append(&survey->part, body, frame->raw_bytes);
	if (result == -E2BIG) {
		survey->part.len = 0;
		survey->adrift = true;
		return 0;
	}
	if (result != 0 || more)
		return result;
	result = txns_give(survey, frame, survey->part.data, survey->part.len);
	survey->part.len = 0;
	return result;
}

static int frame_give(struct survey *survey, const struct blazei_survey_frame *frame)
{
	return survey->visitors->frame != NULL
	               ? survey->visitors->frame(survey->visitors->arg, frame)
	               : 0;
}

static int valid_give(struct survey *survey, const struct blazei_frame_header *header,
                      uint64_t bytes)
{
	const struct blazei_survey_frame frame = {
		.segment = header->segment,
		.offset = header->offset,
		.bytes = bytes,
		.valid = true,
		.more = (header->flags & BLAZEI_FRAME_MORE) != 0,
		.kind = header->kind,
		.count = header->count,
		.raw_bytes = header->raw_bytes,
		.stored_bytes = header->stored_bytes,
		.first_lsn = header->first_lsn,
		.durable_lsn = header->durable_lsn,
	};
	int result = frame_give(survey, &frame);

	return result == 0 ? frame_txns(survey, header) : result;
}

/* Reads what may be a frame. Its bytes, 0 where it is none, or an error; *ret_zero: all that is
 * there, up to 4 KiB, is 0, or nothing is. */
static int64_t frame_read(struct survey *survey, uint64_t offset, bool *ret_zero)
{
	uint64_t left = survey->limit - offset;
	int64_t n = survey->store->ops->segment_read(
	        survey->store->backend, survey->place.segment, offset, survey->frame,
	        left < BLAZEI_FRAME_BYTES_MAX ? left : BLAZEI_FRAME_BYTES_MAX);
	int64_t bytes;

	if (n < 0)
		return n;
	survey->place.offset = offset;
	bytes = blazei_frame_check(survey->frame, (size_t)n, &survey->place);
	*ret_zero = true;
	for (int64_t i = 0; i < n && i < BLAZEI_FRAME_UNIT && *ret_zero; i++)
		*ret_zero = survey->frame[i] == 0;
	if (n == 0)
		survey->limit = offset; /* the file ends here */
	return bytes > 0 ? bytes : 0;
}

/* Gives a run of bytes in which nothing is valid. */
static int invalid_give(struct survey *survey, uint64_t offset, uint64_t end)
{
	const struct blazei_survey_frame frame = {
		.segment = survey->place.segment,
		.offset = offset,
		.bytes = end - offset,
	};

	survey->adrift = true;
	survey->part.len = 0;
	return frame_give(survey, &frame);
}

static int segment_survey(struct survey *survey, uint64_t end)
{
	bool open = end == BLAZEI_SEGMENT_OPEN, zeros = true;
	uint64_t offset = 0, bad = UINT64_MAX;
	int result = 0;

	survey->limit = open ? survey->store->geometry.segment_bytes : end;
	while (result == 0 && offset < survey->limit) {
		bool zero;
		int64_t n = frame_read(survey, offset, &zero);

		if (n < 0)
			return n == -ENOENT || n == -EBADMSG ? invalid_give(survey, offset, offset)
			                                     : (int)n;
		if (n > 0 && bad != UINT64_MAX)
			result = invalid_give(survey, bad, offset);
		if (n > 0) {
			bad = UINT64_MAX;
			zeros = true;
			if (result == 0)
				result = valid_give(survey, (const void *)survey->frame,
				                    (uint64_t)n);
			offset += (uint64_t)n;
			continue;
		}
		if (bad == UINT64_MAX && offset < survey->limit)
			bad = offset;
		zeros = zeros && zero;
		offset += BLAZEI_FRAME_UNIT;
	}
	/* What was written ahead is no damage; what is missing before a recorded end is. */
	if (result == 0 && bad != UINT64_MAX && !(open && zeros))
		result = invalid_give(survey, bad, open ? survey->limit : end);
	else if (result == 0 && !open && survey->limit < end)
		result = invalid_give(survey, survey->limit, end);
	return result;
}

int blazei_survey_frames(const char *dir, const struct blazei_survey_visitors *visitors)
{
	struct survey survey = { .visitors = visitors };
	const struct blazei_root *root;
	int result = blazei_store_open(&blazei_view_ops, dir, &look, &survey.store);

	if (result != 0)
		return result;
	root = survey.store->root;
	survey.part.max = BLAZEI_TXN_BYTES_MAX;
	survey.frame = aligned_alloc(BLAZEI_FRAME_UNIT, BLAZEI_FRAME_BYTES_MAX);
	if (survey.frame == NULL)
		result = -ENOMEM;
	for (uint32_t i = 0; i < root->segment_count && result == 0; i++) {
		survey.place.store = root->store;
		survey.place.segment = root->segments[i].number;
		survey.place.incarnation = root->segments[i].incarnation;
		survey.part.len = 0;
		survey.adrift = false;
		result = segment_survey(&survey, root->segments[i].end);
	}
	blazei_buffer_free(&survey.part);
	blazei_unpacker_fini(&survey.unpacker);
	free(survey.frame);
	(void)blazei_store_close(survey.store);
	return result == -ESTALE ? -EAGAIN : result;
}

int blazei_survey_salvage(const char *from, const char *to, uint64_t *ret_lsn)
{
	return blazei_store_salvage(from, to, ret_lsn);
}
