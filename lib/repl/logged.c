/* SPDX-License-Identifier: Apache-2.0 */
/* Units into the log, and the log back into a replica; see logged.h. */
#include "lib/repl/logged.h"

#include <stdlib.h>

#include "lib/repl/mark.h"
#include "lib/repl/mark_core.h"
#include "lib/repl/stage.h"

#define CHUNK_BYTES (UINT64_C(1) << 20) /* no further row once there */

void blazei_replica_set_log(struct blazei_replica *replica, const struct blazei_log_sink *log)
{
	replica->log = *log;
	replica->logging = log->append != NULL;
	/* From here on it hears of others. */
	replica->vector.reserve = replica->vector.limit / BLAZEI_RESERVE_PART;
	replica->log_behind = false;
}

bool blazei_replica_log_behind(const struct blazei_replica *replica)
{
	return replica->log_behind;
}

void blazei_logged_lag(struct blazei_replica *replica)
{
	replica->log_behind = replica->log.append != NULL;
	replica->logging = false;
	replica->units++;
}

static void log_append(struct blazei_replica *replica, const void *entry, size_t len)
{
	replica->log.append(replica->log.arg, entry, len);
}

void blazei_logged_txn(struct blazei_replica *replica, const struct blazei_txn_header *header)
{
	log_append(replica, header, header->bytes);
}

void blazei_logged_drop(struct blazei_replica *replica)
{
	static const struct blazei_unit_bound drop = {
		.bytes = sizeof(drop),
		.kind = BLAZEI_KIND_DROP,
		.format = BLAZEI_FORMAT,
	};

	log_append(replica, &drop, sizeof(drop));
}

/* Bounds --------------------------------------------------------------------------------------*/

static void bound_entries(struct blazei_unit_bound *bound,
                          const struct blazei_session_entry *entries, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct blazei_unit_item *item = blazei_unit_add(bound, &entries[i].origin);

		item->seq = entries[i].seq;
		item->chain = entries[i].chain;
		item->hlc = entries[i].hlc;
		item->flags = BLAZEI_UNIT_VECTOR;
	}
}

/* Adds what the replica knows of an origin beside the vector. */
static void bound_note(struct blazei_unit_bound *bound, unsigned vector_count,
                       const struct blazei_origin *origin, const struct blazei_writer *writer)
{
	struct blazei_unit_item *item = NULL;

	if (!(writer->halted & BLAZEI_HALTED_QUARANTINED))
		return;
	for (unsigned i = 0; i < vector_count && !item; i++)
		if (blazei_origin_equal(&bound->items[i].origin, origin))
			item = &bound->items[i];
	if (!item && bound->item_count < BLAZEI_ORIGINS_MAX)
		item = blazei_unit_add(bound, origin);
	if (item)
		item->flags |= BLAZEI_UNIT_QUARANTINED;
}

/* Snapshots ---------------------------------------------------------------------------------- */

int blazei_logged_prepare(struct blazei_logged_unit *unit, const struct blazei_replica *replica,
                          const struct blazei_stage *stage, const struct blazei_stage_cut *cut)
{
	const struct blazei_vector *vector = &replica->vector;

	*unit = (struct blazei_logged_unit){ .begin = NULL };
	if (!replica->logging)
		return 0;
	unit->begin = blazei_unit_new(BLAZEI_KIND_BEGIN, stage->v0_count + vector->count);
	unit->end = blazei_unit_new(BLAZEI_KIND_END, cut->count);
	if (!unit->begin || !unit->end) {
		blazei_logged_unit_free(unit);
		return -ENOMEM;
	}
	unit->begin->flags = stage->whole ? BLAZEI_UNIT_WHOLE : 0;
	bound_entries(unit->begin, stage->v0, stage->v0_count);
	for (unsigned i = 0; i < vector->count; i++)
		bound_note(unit->begin, stage->v0_count, &vector->origins[i], &vector->writers[i]);
	bound_entries(unit->end, cut->vs, cut->count);
	return 0;
}

void blazei_logged_unit_free(struct blazei_logged_unit *unit)
{
	free(unit->begin);
	free(unit->end);
	*unit = (struct blazei_logged_unit){ .begin = NULL };
}

void blazei_logged_stage(struct blazei_replica *replica, const struct blazei_stage *stage,
                         const struct blazei_logged_unit *unit)
{
	if (!unit->begin)
		return;
	replica->units++;
	log_append(replica, unit->begin, unit->begin->bytes);
	for (const struct blazei_blob *blob = stage->chunks.first; blob; blob = blob->next)
		log_append(replica, blob->words, blob->len);
	for (const struct blazei_blob *blob = stage->txns.first; blob; blob = blob->next) {
		const uint8_t *at = (const uint8_t *)blob->words;
		const uint8_t *end = at + blob->len;

		while (at < end) {
			const struct blazei_txn_header *header = (const void *)at;

			log_append(replica, header, header->bytes);
			at += header->bytes;
		}
	}
	log_append(replica, unit->end, unit->end->bytes);
}

/* Replay --------------------------------------------------------------------------------------*/

/* Of the places none is kept: the log has no more than there were. */
static int replica_new(const struct blazei_replay *replay, struct blazei_replica **ret_replica)
{
	int rc = blazei_replica_new(&replay->options, ret_replica);

	if (rc == 0)
		(*ret_replica)->vector.reserve = 0;
	return rc;
}

int blazei_replay_init(struct blazei_replay *replay, const struct blazei_replica_options *options)
{
	*replay = (struct blazei_replay){ .options = *options };
	return replica_new(replay, &replay->replica);
}

void blazei_replay_fini(struct blazei_replay *replay)
{
	blazei_stage_free(replay->stage);
	free(replay->begin);
	replay->stage = NULL;
	replay->begin = NULL;
}

static int unit_begin(struct blazei_replay *replay, const struct blazei_unit_bound *begin)
{
	struct blazei_stage *stage;
	unsigned count = 0;
	int rc;

	if (replay->begin)
		return -EBADMSG;
	/* All that it has was before it in this log, too. */
	replay->passing = (begin->flags & BLAZEI_UNIT_CHECKPOINT) && replay->begun;
	if (replay->passing)
		return 0;
	rc = blazei_stage_new(UINT64_MAX, &replay->stage);
	if (rc < 0)
		return rc;
	stage = replay->stage;
	stage->whole = begin->flags & BLAZEI_UNIT_WHOLE;
	stage->marks = begin->flags & (BLAZEI_UNIT_WHOLE | BLAZEI_UNIT_ALL);
	stage->v0 = calloc(begin->item_count + 1, sizeof(*stage->v0));
	replay->begin = malloc(begin->bytes);
	if (!stage->v0 || !replay->begin) {
		blazei_replay_fini(replay);
		return -ENOMEM;
	}
	memcpy(replay->begin, begin, begin->bytes);
	for (uint32_t i = 0; i < begin->item_count; i++)
		if (begin->items[i].flags & BLAZEI_UNIT_VECTOR)
			stage->v0[count++] = (struct blazei_session_entry){
				.origin = begin->items[i].origin,
				.seq = begin->items[i].seq,
				.chain = begin->items[i].chain,
				.hlc = begin->items[i].hlc,
			};
	stage->v0_count = count;
	return 0;
}

/* Takes what belongs to the open unit: merges it, where that has to come out well or the replica is
 * for nothing, or keeps a copy. */
static int unit_keep(struct blazei_replay *replay, const struct blazei_txn_header *header)
{
	struct blazei_stage *stage = replay->stage;
	struct blazei_blob *blob;
	int poured = 0;

	if (header->kind == BLAZEI_KIND_STATE && blazei_replay_lacking(replay))
		poured = blazei_stage_pour(stage, replay->replica, header);
	if (poured != 0)
		return poured < 0 ? poured : 0;
	blob = malloc(sizeof(*blob) + header->bytes);
	if (!blob)
		return -ENOMEM;
	blob->len = header->bytes;
	memcpy(blob->words, header, header->bytes);
	stage->bytes += sizeof(*blob) + blob->len;
	blazei_blobs_push(header->kind == BLAZEI_KIND_STATE ? &stage->chunks : &stage->txns, blob);
	return 0;
}

/* What of a unit's begin is no part of the vector. 0, -ENOMEM, -E2BIG. */
static int notes_take(struct blazei_replica *replica, const struct blazei_unit_bound *begin)
{
	for (uint32_t i = 0; i < begin->item_count; i++) {
		const struct blazei_unit_item *item = &begin->items[i];
		struct blazei_writer *writer;
		int index;

		/* The vector is the snapshot's. */
		if (!(item->flags & (BLAZEI_UNIT_LEFT | BLAZEI_UNIT_QUARANTINED)))
			continue;
		index = blazei_vector_intern(&replica->vector, &item->origin);
		if (index <= 0)
			return index < 0 ? index : -EBADMSG;
		writer = &replica->vector.writers[index];
		if (item->flags & BLAZEI_UNIT_LEFT) {
			writer->left = true;
			writer->dep_max = item->dep_max;
			if (item->dep_max == 0)
				blazei_vector_retract(&replica->vector, (unsigned)index);
		}
		if (item->flags & BLAZEI_UNIT_QUARANTINED)
			blazei_quarantine(replica, (unsigned)index, item->seq + 1);
	}
	return 0;
}

/* Checks and installs the unit in this replica. */
static int unit_install(struct blazei_replay *replay, struct blazei_replica *replica,
                        const struct blazei_session_entry *vs, unsigned count)
{
	const struct blazei_stage_cut cut = { .vs = vs, .count = count };
	const uint64_t applied = replica->applied;
	const uint64_t updates = replica->applied_updates;
	struct blazei_session_entry forked;
	int rc;

	replica->replaying = true;
	rc = blazei_stage_check(replay->stage, replica, vs, count, &forked);
	if (rc == 0)
		rc = blazei_stage_install(replay->stage, replica, UINT64_MAX, &cut);
	replica->replaying = false;
	replica->began_seq = replica->vector.writers[0].seq;
	replica->applied = applied;
	replica->applied_updates = updates;
	if (rc == -EEXIST)
		rc = -EBADMSG;
	return rc < 0 ? rc : 0;
}

/* Installs a unit that is all there is in a new replica, which takes the other's place. */
static int unit_replace(struct blazei_replay *replay, const struct blazei_session_entry *vs,
                        unsigned count)
{
	struct blazei_replica *replica;
	int rc = replica_new(replay, &replica);

	if (rc < 0)
		return rc;
	rc = unit_install(replay, replica, vs, count);
	if (rc == 0)
		rc = notes_take(replica, replay->begin);
	if (rc < 0) {
		blazei_replica_free(replica);
		return rc;
	}
	blazei_replica_free(replay->replica);
	replay->replica = replica;
	return 0;
}

static int unit_end(struct blazei_replay *replay, const struct blazei_unit_bound *end)
{
	struct blazei_session_entry *vs;
	int rc = 0;

	if (replay->passing) {
		replay->passing = false;
		return 0;
	}
	if (!replay->begin)
		return -EBADMSG;
	vs = calloc(end->item_count + 1, sizeof(*vs));
	if (!vs)
		return -ENOMEM;
	for (uint32_t i = 0; i < end->item_count; i++)
		vs[i] = (struct blazei_session_entry){ end->items[i].origin, end->items[i].seq,
			                               end->items[i].chain, end->items[i].hlc };
	if (blazei_replay_lacking(replay)) {
		/* What was poured is in it. */
		rc = unit_install(replay, replay->replica, vs, end->item_count);
		if (rc == 0)
			rc = notes_take(replay->replica, replay->begin);
	} else if (replay->begin->flags & BLAZEI_UNIT_ALL) {
		rc = unit_replace(replay, vs, end->item_count);
	} else {
		/* What was not taken then is not taken now. */
		rc = notes_take(replay->replica, replay->begin);
		if (rc == 0)
			rc = unit_install(replay, replay->replica, vs, end->item_count);
	}
	free(vs);
	blazei_replay_fini(replay);
	return rc;
}

/* Sees to a place for the transaction's incarnation: what the log tells of may have been retired by
 * then. 0, -ENOMEM, -E2BIG. */
static int place_make(struct blazei_replay *replay, const struct blazei_txn_header *header)
{
	const struct blazei_origin *origin = blazei_txn_origins(header);
	const struct blazei_vector *vector = &replay->replica->vector;
	int count;

	if (vector->free_count > 0 || vector->count < vector->limit ||
	    blazei_vector_find(vector, origin) != BLAZEI_ORIGIN_NONE)
		return 0;
	count = blazei_replica_retire(replay->replica, NULL);
	if (count < 0)
		return count;
	replay->retired |= count > 0;
	/* What is retired now counts as merged, whoever had it still. */
	return vector->free_count > 0 || blazei_marked(vector, origin, header->hlc) ? 0 : -E2BIG;
}

static int unit_drop(struct blazei_replay *replay)
{
	if (!blazei_replay_unfinished(replay) || blazei_replay_lacking(replay))
		return -EBADMSG;
	replay->passing = false;
	blazei_replay_fini(replay);
	return 0;
}

static int txn_replay(struct blazei_replay *replay, const struct blazei_txn_header *header)
{
	const struct blazei_txn_view view = { header, header->bytes };
	int rc = place_make(replay, header);

	if (rc == 0)
		rc = blazei_replica_replay(replay->replica, &view, 1);
	if (rc < 0)
		return rc;
	if (replay->retired &&
	    blazei_marked(&replay->replica->vector, blazei_txn_origins(header), header->hlc))
		return 0;
	/* Each stands behind all that it depends on: one that isn't merged now never is. */
	return rc == 1 ? 0 : -EBADMSG;
}

int blazei_replay_entry(struct blazei_replay *replay, const void *entry)
{
	const struct blazei_unit_bound *bound = entry;
	int rc;

	if (bound->kind == BLAZEI_KIND_BEGIN)
		rc = unit_begin(replay, bound);
	else if (bound->kind == BLAZEI_KIND_END)
		rc = unit_end(replay, bound);
	else if (bound->kind == BLAZEI_KIND_DROP)
		rc = unit_drop(replay);
	else if (replay->begin)
		rc = unit_keep(replay, entry);
	else if (bound->kind == BLAZEI_KIND_STATE)
		rc = replay->passing ? 0 : -EBADMSG;
	else
		rc = txn_replay(replay, entry);
	replay->begun = true;
	return rc;
}
