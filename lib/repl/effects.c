/* SPDX-License-Identifier: Apache-2.0 */
/* Telling the sink: events, and changes of records as a record before and one after.
 *
 * STATES of a change: open (the record before is held, or nobody wants it) -> closed. One is open
 *        at a time: the groups of a transaction come by record. */
#include "lib/op/record.h"
#include "lib/repl/core.h"

void blazei_replica_set_sink(struct blazei_replica *replica, const struct blazei_sink *sink)
{
	replica->sink = sink ? *sink : (struct blazei_sink){ .arg = NULL };
}

void blazei_effect_event(const struct blazei_replica *replica, enum blazei_effect_event_kind kind,
                         unsigned origin, uint64_t seq)
{
	const struct blazei_effect_event event = {
		.kind = kind,
		.origin = origin != BLAZEI_ORIGIN_NONE ? &replica->vector.origins[origin] : NULL,
		.seq = seq,
	};

	if (replica->sink.event)
		replica->sink.event(replica->sink.arg, &event);
}

static bool records_equal(const struct blaze_record *a, const struct blaze_record *b)
{
	if (!a || !b || a->count != b->count)
		return a == b;
	for (uint32_t i = 0; i < a->count; i++) {
		struct blazei_field_view left;
		struct blazei_field_view right;

		blazei_record_view(a, i, &left);
		blazei_record_view(b, i, &right);
		if (left.name_len != right.name_len || left.value_len != right.value_len ||
		    memcmp(left.name, right.name, left.name_len) != 0 ||
		    memcmp(left.value, right.value, left.value_len) != 0)
			return false;
	}
	return true;
}

/* The record as a reader sees it; NULL: not at all. 0, -ENOMEM, -E2BIG. */
static int row_view(const struct blazei_replica *replica, const struct blazei_row *row,
                    struct blaze_record **ret_record)
{
	*ret_record = NULL;
	return blazei_row_alive(row) ? blazei_row_record(replica, row, ret_record) : 0;
}

static void change_lost(struct blazei_replica *replica)
{
	blazei_effect_event(replica, BLAZEI_EFFECT_CHANGES_LOST, BLAZEI_ORIGIN_NONE, 0);
	replica->changes.told = true;
}

void blazei_change_open(struct blazei_replica *replica, const struct blazei_row *row)
{
	struct blazei_changes *changes = &replica->changes;

	changes->open = replica->sink.wants(replica->sink.arg, &row->id);
	if (!changes->open || row_view(replica, row, &changes->before) == 0)
		return;
	changes->open = false;
	change_lost(replica);
}

void blazei_change_close(struct blazei_replica *replica, const struct blazei_row *row,
                         const struct blazei_stamp *stamp)
{
	struct blazei_changes *changes = &replica->changes;
	struct blazei_effect_change change = { .id = &row->id };

	if (!changes->open)
		return;
	changes->open = false;
	change.before = changes->before;
	if (row_view(replica, row, &change.after) < 0) {
		blaze_record_free(change.before);
		change_lost(replica);
		return;
	}
	if (records_equal(change.before, change.after)) {
		blaze_record_free(change.before);
		blaze_record_free(change.after);
		return;
	}
	if (stamp) {
		change.origin = &replica->vector.origins[stamp->origin];
		change.seq = stamp->seq;
		change.hlc = stamp->hlc;
		change.local = stamp->origin == 0;
	}
	changes->told = true;
	replica->sink.changed(replica->sink.arg, &change);
}

void blazei_changes_end(struct blazei_replica *replica)
{
	if (replica->changes.told && replica->sink.committed)
		replica->sink.committed(replica->sink.arg);
	replica->changes.told = false;
}
