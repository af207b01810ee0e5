/* SPDX-License-Identifier: Apache-2.0 */
/* Holds, checks and installs a snapshot; see stage.h. */
#include "lib/repl/stage.h"

#include <stdlib.h>

#include "lib/repl/mark_core.h"
#include "lib/repl/room.h"

/* Lists ---------------------------------------------------------------------------------------*/

void blazei_blobs_push(struct blazei_blobs *blobs, struct blazei_blob *blob)
{
	blob->next = NULL;
	if (blobs->first)
		blobs->last->next = blob;
	else
		blobs->first = blob;
	blobs->last = blob;
}

struct blazei_blob *blazei_blobs_pop(struct blazei_blobs *blobs)
{
	struct blazei_blob *blob = blobs->first;

	if (blob)
		blobs->first = blob->next;
	return blob;
}

static void blobs_drop(struct blazei_stage *stage, struct blazei_blobs *blobs)
{
	struct blazei_blob *blob;

	while ((blob = blazei_blobs_pop(blobs))) {
		stage->bytes -= sizeof(*blob) + blob->len;
		free(blob);
	}
}

/* Life ----------------------------------------------------------------------------------------*/

int blazei_stage_new(uint64_t bytes_max, struct blazei_stage **ret_stage)
{
	struct blazei_stage *stage = calloc(1, sizeof(*stage));

	if (!stage)
		return -ENOMEM;
	stage->bytes_max = bytes_max;
	*ret_stage = stage;
	return 0;
}

void blazei_stage_clear(struct blazei_stage *stage)
{
	blobs_drop(stage, &stage->chunks);
	blobs_drop(stage, &stage->txns);
	free(stage->v0);
	free(stage->poured);
	*stage = (struct blazei_stage){
		.bytes_max = stage->bytes_max,
		.bytes = stage->bytes,
		.unseen = stage->unseen,
	};
}

void blazei_stage_free(struct blazei_stage *stage)
{
	if (!stage)
		return;
	blazei_stage_clear(stage);
	blazei_unseen_list_clear(&stage->unseen);
	free(stage);
}

struct blazei_unseen_list *blazei_stage_unseen(struct blazei_stage *stage)
{
	return &stage->unseen;
}

uint64_t blazei_stage_bytes(const struct blazei_stage *stage)
{
	return stage->bytes;
}

int blazei_stage_begin(struct blazei_stage *stage, const struct blazei_origin *answerer,
                       const struct blazei_session_snapshot *snapshot)
{
	const unsigned flags = snapshot->header.flags;
	const bool whole = flags & BLAZEI_SNAPSHOT_WHOLE;
	const size_t bytes = snapshot->entry_count * sizeof(*stage->v0);
	struct blazei_session_entry *v0;

	blobs_drop(stage, &stage->txns);
	if (flags & BLAZEI_SNAPSHOT_RESUMED) {
		if (flags & BLAZEI_SNAPSHOT_AGAIN || stage->resume.run == 0 ||
		    !blazei_origin_equal(answerer, &stage->answerer) ||
		    memcmp(&stage->resume, &snapshot->resume, sizeof(stage->resume)) != 0)
			return -EBADMSG;
		return whole == stage->whole && snapshot->entry_count == 0 ? 0 : -EBADMSG;
	}
	if (snapshot->entry_count == 0)
		return -EBADMSG;
	v0 = malloc(bytes);
	if (!v0)
		return -ENOMEM;
	memcpy(v0, snapshot->entries, bytes);
	if (flags & BLAZEI_SNAPSHOT_AGAIN) {
		if (!stage->v0 || whole != stage->whole) {
			free(v0);
			return -EBADMSG;
		}
		/* Only in its first pass can an answerer tell what the chunks lack. */
		stage->resume.run = 0;
	} else {
		blazei_stage_clear(stage);
		stage->answerer = *answerer;
		stage->resume = snapshot->resume;
		stage->whole = whole;
		stage->marks = whole;
	}
	free(stage->v0);
	stage->v0 = v0;
	stage->v0_count = snapshot->entry_count;
	return 0;
}

/* Installing ----------------------------------------------------------------------------------*/

/* Which transactions are wanted. */
enum want {
	WANT_NEW,   /* those that are not here yet */
	WANT_AGAIN, /* likewise, where they were here: own ones too */
	WANT_ALL,
};

static bool wanted(const struct blazei_replica *replica, enum want want, uint16_t index,
                   uint64_t seq)
{
	const struct blazei_writer *writer = &replica->vector.writers[index];

	if (writer->halted & BLAZEI_HALTED_QUARANTINED ||
	    (want == WANT_NEW && blazei_is_own(replica, index)))
		return false;
	return want == WANT_ALL || seq > writer->seq;
}

/* The next transaction of a blob that is wanted, at *at or behind; moves *at behind it. NULL: there
 * is none. */
static const struct blazei_txn_header *txn_next(const struct blazei_replica *replica,
                                                const struct blazei_blob *blob, enum want want,
                                                const uint8_t **at, uint16_t *ret_writer)
{
	const uint8_t *end = (const uint8_t *)blob->words + blob->len;

	while (*at < end) {
		const struct blazei_txn_header *header = (const void *)*at;
		uint16_t index = blazei_vector_find(&replica->vector, blazei_txn_origins(header));

		*at += header->bytes;
		*ret_writer = index;
		if (wanted(replica, want, index, header->seq))
			return header;
	}
	return NULL;
}

/* Room for all that is staged. 0 or -ENOMEM. */
static int room_make(const struct blazei_stage *stage, struct blazei_room *room, enum want want)
{
	uint16_t writer;
	int rc = 0;

	for (const struct blazei_blob *blob = stage->chunks.first; blob && rc == 0;
	     blob = blob->next)
		rc = blazei_room_state(room, (const void *)blob->words);
	for (const struct blazei_blob *blob = stage->txns.first; blob && rc == 0;
	     blob = blob->next) {
		const uint8_t *at = (const uint8_t *)blob->words;
		const struct blazei_txn_header *header;

		while (rc == 0 && (header = txn_next(room->replica, blob, want, &at, &writer)))
			rc = blazei_room_txn(room, header);
	}
	return rc;
}

/* How many groups, and so rows, are staged at most. */
static uint64_t groups_count(const struct blazei_stage *stage)
{
	uint64_t count = 0;

	for (const struct blazei_blob *blob = stage->chunks.first; blob; blob = blob->next)
		count += ((const struct blazei_txn_header *)blob->words)->record_count;
	for (const struct blazei_blob *blob = stage->txns.first; blob; blob = blob->next) {
		const uint8_t *at = (const uint8_t *)blob->words;
		const uint8_t *end = at + blob->len;

		for (; at < end; at += ((const struct blazei_txn_header *)at)->bytes)
			count += ((const struct blazei_txn_header *)at)->record_count;
	}
	return count;
}

/* Applies those that are wanted; there is room for them. The number. */
static int txns_install(struct blazei_replica *replica, const struct blazei_blob *blob,
                        enum want want)
{
	const uint8_t *at = (const uint8_t *)blob->words;
	const struct blazei_txn_header *header;
	uint16_t writer;
	int applied = 0;

	while ((header = txn_next(replica, blob, want, &at, &writer))) {
		int rc = blazei_apply(replica, header, writer);

		assert(rc == 0);
		(void)rc;
		blazei_park_drop(replica, writer, header->seq);
		applied++;
	}
	return applied;
}

/* Merges everything; there is room for it. The number of transactions. */
static int install(const struct blazei_stage *stage, struct blazei_replica *replica, uint64_t *cut,
                   enum want want)
{
	int applied = 0;

	/* All origins that need be were interned by the check. */
	memset(cut, 0, BLAZEI_PLACES_MAX * sizeof(*cut));
	blazei_stamps_spread(replica, stage->v0, sizeof(*stage->v0), stage->v0_count, cut);
	for (const struct blazei_blob *blob = stage->chunks.first; blob; blob = blob->next)
		blazei_state_install(replica, (const void *)blob->words, stage->whole, cut);
	for (unsigned i = 0; i < stage->v0_count; i++)
		blazei_vector_raise(replica, &stage->v0[i]);
	for (const struct blazei_blob *blob = stage->txns.first; blob; blob = blob->next)
		applied += txns_install(replica, blob, want);
	if (stage->whole)
		blazei_prune(replica, stage->v0, stage->v0_count);
	if (stage->marks)
		blazei_marks_adopt(replica, stage->v0, stage->v0_count);
	return applied;
}

/* Makes room for everything, then merges it. */
static int merge(const struct blazei_stage *stage, struct blazei_replica *replica, uint64_t *seqs)
{
	struct blazei_room room;
	int rc = blazei_room_open(&room, replica, groups_count(stage));

	if (rc < 0)
		return rc;
	rc = room_make(stage, &room, WANT_NEW);
	if (rc == 0)
		rc = install(stage, replica, seqs, WANT_NEW);
	blazei_room_close(&room);
	return rc;
}

/* Lists what stands and what Vs does not cover. */
static int unseen_list(struct blazei_stage *stage, struct blazei_replica *replica,
                       const struct blazei_stage_cut *cut)
{
	struct blazei_vector_entry *entries = calloc(cut->count + 1, sizeof(*entries));
	const struct blazei_vector_view seen = { entries, cut->count };
	int rc;

	if (!entries)
		return -ENOMEM;
	for (unsigned i = 0; i < cut->count; i++)
		entries[i] = (struct blazei_vector_entry){ cut->vs[i].origin, cut->vs[i].seq };
	rc = blazei_unseen_list_fill(&stage->unseen, replica, &seen);
	free(entries);
	return rc;
}

/* All is forgotten that the snapshot does not have, and the snapshot is merged into the rest. */
static void refill(const struct blazei_stage *stage, struct blazei_replica *replica, uint64_t *seqs)
{
	struct blazei_writer *self = &replica->vector.writers[0];
	const uint64_t applied = replica->applied;
	const uint64_t updates = replica->applied_updates;
	const uint64_t own = self->seq;

	blazei_forget(replica, stage->v0, stage->v0_count);
	install(stage, replica, seqs, WANT_AGAIN);
	replica->applied = applied;
	replica->applied_updates = updates;
	/* Numbers that were given out are not given again. */
	if (self->seq < own)
		replica->displaced = true;
	if (self->seq < own || replica->began_seq < self->seq)
		replica->began_seq = self->seq;
	/* What of it all the next write depends on was told, or was not, under the old name. */
	for (unsigned i = 0; i < replica->vector.count; i++) {
		struct blazei_writer *writer = &replica->vector.writers[i];

		if (writer->durable > writer->seq)
			writer->durable = writer->seq;
		if (writer->seq > 0)
			blazei_vector_advanced(&replica->vector, i);
		else
			blazei_vector_retract(&replica->vector, i);
	}
}

/* The snapshot is merged: it becomes all that there is. 0, -ENOMEM, -E2BIG. */
static int become(struct blazei_stage *stage, struct blazei_replica *replica, uint64_t *seqs,
                  const struct blazei_stage_cut *cut)
{
	struct blazei_room room;
	int rc = blazei_room_open(&room, replica, groups_count(stage));

	if (rc < 0)
		return rc;
	/* What is forgotten leaves at least the room that it took. */
	rc = room_make(stage, &room, WANT_ALL);
	if (rc == 0)
		rc = unseen_list(stage, replica, cut);
	if (rc == 0)
		refill(stage, replica, seqs);
	blazei_room_close(&room);
	return rc;
}

/* Merges, and has the log told of what became of it: the snapshot, or that it is behind. */
static int merge_logged(struct blazei_stage *stage, struct blazei_replica *replica, uint64_t *seqs,
                        const struct blazei_stage_cut *cut, int *ret_applied)
{
	struct blazei_logged_unit unit;
	bool became = false;
	int rc = blazei_logged_prepare(&unit, replica, stage, cut);

	if (rc < 0)
		return rc;
	replica->logging = false;
	rc = *ret_applied = merge(stage, replica, seqs);
	if (rc >= 0 && cut->anew) {
		rc = become(stage, replica, seqs, cut);
		became = rc == 0;
	}
	if (became)
		blazei_logged_lag(replica);
	else if (*ret_applied >= 0)
		blazei_logged_stage(replica, stage, &unit);
	if (!became)
		replica->logging = unit.begin != NULL;
	blazei_logged_unit_free(&unit);
	return rc;
}

int blazei_stage_install(struct blazei_stage *stage, struct blazei_replica *replica,
                         uint64_t now_ns, const struct blazei_stage_cut *cut)
{
	uint64_t *seqs = calloc(BLAZEI_PLACES_MAX, sizeof(*seqs));
	int applied = -ENOMEM;
	int rc;

	if (!seqs)
		return -ENOMEM;
	blazei_table_shut(&replica->table);
	rc = merge_logged(stage, replica, seqs, cut, &applied);
	blazei_table_open(&replica->table);
	free(seqs);
	/* What waits for memory here waits in the queue, as it does elsewhere. */
	if (applied >= 0)
		(void)blazei_park_drain(replica, now_ns);
	return rc < 0 ? rc : applied;
}
