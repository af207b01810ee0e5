/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a snapshot leads where it says: looked at before any of it is merged, or, of what is
 * poured, at its end; see stage.h. */
#include <stdlib.h>

#include "lib/repl/mark_core.h"
#include "lib/repl/room.h"
#include "lib/repl/stage.h"

/* Checking ------------------------------------------------------------------------------------*/

/* How far each origin has come in the walk from V0 to Vs, by index of the replica. */
struct walk {
	struct blazei_replica *replica;
	uint64_t *seqs;
	uint64_t *chains;
	struct blazei_session_entry *forked;
};

/* Whether an entry contradicts what is merged here. A mark doesn't: it may have several heirs, one
 * after the other. */
static bool forks(const struct walk *walk, unsigned index, uint64_t seq, uint64_t chain)
{
	const struct blazei_writer *writer = &walk->replica->vector.writers[index];

	if (blazei_origin_retired(&walk->replica->vector.origins[index]))
		return false;
	if (seq != writer->seq || seq == 0 || chain == 0 || !writer->chain_known ||
	    chain == writer->chain || writer->halted & BLAZEI_HALTED_QUARANTINED)
		return false;
	walk->forked->origin = walk->replica->vector.origins[index];
	walk->forked->seq = seq;
	walk->forked->chain = chain;
	return true;
}

/* Whether an entry of a snapshot's vector needs no index: it is nobody's, or a mark that is passed
 * over (mark.h, I5), or of an incarnation that is retired here under a mark which stays. */
static bool needless(const struct blazei_stage *stage, const struct blazei_vector *vector,
                     const uint64_t *seqs, const struct blazei_session_entry *entry)
{
	const uint16_t mark = blazei_mark_find(vector, &entry->origin.node);

	if (entry->seq == 0 || blazei_vector_find(vector, &entry->origin) != BLAZEI_ORIGIN_NONE)
		return true;
	if (blazei_origin_retired(&entry->origin))
		return !stage->marks;
	/* Where the mark is to go, what stood under it has to have a name. */
	return mark != BLAZEI_ORIGIN_NONE && (seqs[mark] == UINT64_MAX || !stage->anew) &&
	       blazei_mark_covers(vector->writers[mark].seq, entry->hlc);
}

/* Whether a mark of a vector comes with its heir, who goes beyond it. */
static bool mark_holds(const struct blazei_session_entry *entries, unsigned count,
                       const struct blazei_session_entry *mark)
{
	for (unsigned i = 0; i < count; i++)
		if (blazei_id_equal(&entries[i].origin.node, &mark->origin.node) &&
		    entries[i].origin.incarnation == mark->chain)
			return entries[i].seq >= mark->hlc && entries[i].hlc >= mark->seq;
	return false;
}

/* Interns the origins of a vector, so that installing needs no more of them. */
static int origins_intern(const struct blazei_stage *stage, struct blazei_replica *replica,
                          const struct blazei_session_entry *entries, unsigned count)
{
	/* With room for those that get an index here. */
	uint64_t *seqs = calloc(replica->vector.count + count, sizeof(*seqs));
	int index = seqs ? 0 : -ENOMEM;

	if (seqs)
		blazei_vector_spread(&replica->vector, entries, sizeof(*entries), count, seqs);
	for (unsigned i = 0; i < count && index >= 0; i++) {
		/* One with seq 0 is what is left of a mark that went. */
		if (blazei_origin_retired(&entries[i].origin) && entries[i].seq != 0 &&
		    stage->marks && !mark_holds(entries, count, &entries[i]))
			index = -EBADMSG;
		else if (!needless(stage, &replica->vector, seqs, &entries[i]))
			index = blazei_vector_admit(&replica->vector, &entries[i].origin,
			                            replica->vector.reserve / 2);
	}
	free(seqs);
	if (index == -E2BIG)
		blazei_origins_full(replica, 0);
	return index >= 0 ? 0 : index;
}

/* The last seq, and the last time, that a chunk has of each of its origins. */
struct reach {
	uint64_t seqs[BLAZEI_ORIGINS_MAX];
	uint64_t hlcs[BLAZEI_ORIGINS_MAX];
};

static void reach_add(struct reach *reach, unsigned origin, uint64_t seq, uint64_t hlc)
{
	if (seq > reach->seqs[origin])
		reach->seqs[origin] = seq;
	if (hlc > reach->hlcs[origin])
		reach->hlcs[origin] = hlc;
}

static void chunk_reach(const struct blazei_txn_header *header, struct reach *reach)
{
	const uint8_t *at = blazei_txn_groups(header);

	memset(reach->seqs, 0, header->origin_count * sizeof(reach->seqs[0]));
	memset(reach->hlcs, 0, header->origin_count * sizeof(reach->hlcs[0]));
	for (uint32_t i = 0; i < header->record_count; i++) {
		const struct blazei_txn_group *group = (const void *)at;
		const struct blazei_state_existence *op = (const void *)(group + 1);

		at = (const uint8_t *)op;
		if (group->flags & BLAZEI_GROUP_EXISTENCE) {
			reach_add(reach, op->origin, op->seq, op->hlc);
			at = (const uint8_t *)(op + 1);
		}
		for (unsigned k = 0; k < group->register_count; k++) {
			const struct blazei_state_register *reg = (const void *)at;

			reach_add(reach, reg->origin, reg->seq, reg->hlc);
			at += blazei_state_register_bytes(reg);
		}
	}
}

/* Whether the seqs, where the walk ended, cover all registers of a chunk. */
static bool chunk_covered(const struct walk *walk, const struct blazei_txn_header *header)
{
	const struct blazei_origin *origins = blazei_txn_origins(header);
	const struct blazei_vector *vector = &walk->replica->vector;
	struct reach reach;

	chunk_reach(header, &reach);
	for (unsigned i = 0; i < header->origin_count; i++) {
		uint16_t index = blazei_vector_find(vector, &origins[i]);
		uint16_t mark = blazei_mark_find(vector, &origins[i].node);
		uint64_t limit = index != BLAZEI_ORIGIN_NONE ? walk->seqs[index] : 0;
		/* Over one that is retired here; 0: it is not. */
		uint64_t marked = index == BLAZEI_ORIGIN_NONE && mark != BLAZEI_ORIGIN_NONE
		                          ? vector->writers[mark].seq
		                          : 0;

		if (reach.seqs[i] > limit && reach.hlcs[i] > marked)
			return false;
	}
	return true;
}

static bool poured_covered(const struct blazei_stage *stage, const struct walk *walk)
{
	for (unsigned i = 0; stage->poured && i < walk->replica->vector.count; i++)
		if (stage->poured[i] > walk->seqs[i])
			return false;
	return true;
}

static bool chunks_covered(const struct blazei_stage *stage, const struct walk *walk)
{
	const struct blazei_blob *blob = stage->chunks.first;

	while (blob && chunk_covered(walk, (const void *)blob->words))
		blob = blob->next;
	return !blob;
}

static int start_walk(struct walk *walk, const struct blazei_stage *stage)
{
	for (unsigned i = 0; i < stage->v0_count; i++) {
		const struct blazei_session_entry *entry = &stage->v0[i];
		uint16_t index = blazei_vector_find(&walk->replica->vector, &entry->origin);

		if (index == BLAZEI_ORIGIN_NONE)
			continue;
		walk->seqs[index] = entry->seq;
		walk->chains[index] = entry->chain;
		if (forks(walk, index, entry->seq, entry->chain))
			return -EEXIST;
	}
	return 0;
}

/* Follows one blob of transactions, each of which must be its origin's next. */
static int walk_txns(struct walk *walk, const struct blazei_blob *blob)
{
	const uint8_t *at = (const uint8_t *)blob->words;
	const uint8_t *end = at + blob->len;

	while (at < end) {
		const struct blazei_txn_header *header = (const void *)at;
		uint16_t index =
		        blazei_vector_find(&walk->replica->vector, blazei_txn_origins(header));

		if (index == BLAZEI_ORIGIN_NONE || header->seq != walk->seqs[index] + 1)
			return -EBADMSG;
		if (header->prev != walk->chains[index] &&
		    (header->seq == 1 || walk->chains[index] != 0))
			return -EBADMSG;
		if (forks(walk, index, header->seq, header->chain))
			return -EEXIST;
		walk->seqs[index] = header->seq;
		walk->chains[index] = header->chain;
		at += header->bytes;
	}
	return 0;
}

/* Whether the walk has ended at Vs. */
static bool walk_ended(const struct walk *walk, const struct blazei_session_entry *vs,
                       unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint16_t index = blazei_vector_find(&walk->replica->vector, &vs[i].origin);

		if (index == BLAZEI_ORIGIN_NONE)
			continue;
		if (walk->seqs[index] != vs[i].seq)
			return false;
		if (vs[i].chain != 0 && walk->chains[index] != 0 &&
		    vs[i].chain != walk->chains[index])
			return false;
		walk->seqs[index] = 0;
	}
	for (unsigned i = 0; i < walk->replica->vector.count; i++)
		if (walk->seqs[i] != 0)
			return false;
	return true;
}

int blazei_stage_check(const struct blazei_stage *stage, struct blazei_replica *replica,
                       const struct blazei_session_entry *vs, unsigned count,
                       struct blazei_session_entry *ret_forked)
{
	struct walk walk = { .replica = replica, .forked = ret_forked };
	int rc = origins_intern(stage, replica, stage->v0, stage->v0_count);

	if (rc == 0)
		rc = origins_intern(stage, replica, vs, count);
	if (rc < 0)
		return rc;
	walk.seqs = calloc(replica->vector.count, sizeof(*walk.seqs));
	walk.chains = calloc(replica->vector.count, sizeof(*walk.chains));
	rc = walk.seqs && walk.chains ? start_walk(&walk, stage) : -ENOMEM;
	for (const struct blazei_blob *blob = stage->txns.first; blob && rc == 0; blob = blob->next)
		rc = walk_txns(&walk, blob);
	if (rc == 0 && blazei_is_own(replica, 0) && walk.seqs[0] > replica->vector.writers[0].seq) {
		*ret_forked = (struct blazei_session_entry){
			.origin = replica->vector.origins[0],
			.seq = walk.seqs[0],
		};
		rc = -EEXIST;
	}
	if (rc == 0 && (!chunks_covered(stage, &walk) || !poured_covered(stage, &walk) ||
	                !walk_ended(&walk, vs, count)))
		rc = -EBADMSG;
	free(walk.seqs);
	free(walk.chains);
	return rc;
}

/* Pouring -------------------------------------------------------------------------------------*/

static int pour_begin(struct blazei_stage *stage, struct blazei_replica *replica)
{
	int rc = origins_intern(stage, replica, stage->v0, stage->v0_count);

	if (rc == 0)
		stage->poured = calloc(BLAZEI_PLACES_MAX, sizeof(*stage->poured));
	return rc < 0 || stage->poured ? rc : -ENOMEM;
}

/* There is an index for each origin that it has something of. */
static int pour(const struct blazei_stage *stage, struct blazei_replica *replica,
                const struct blazei_txn_header *header)
{
	uint64_t *cut = calloc(BLAZEI_PLACES_MAX, sizeof(*cut));
	struct blazei_room room;
	int rc = cut ? blazei_room_open(&room, replica, header->record_count) : -ENOMEM;

	if (rc == 0) {
		blazei_stamps_spread(replica, stage->v0, sizeof(*stage->v0), stage->v0_count, cut);
		rc = blazei_room_state(&room, header);
		if (rc == 0)
			blazei_state_install(replica, header, false, cut);
		blazei_room_close(&room);
	}
	free(cut);
	return rc;
}

int blazei_stage_pour(struct blazei_stage *stage, struct blazei_replica *replica,
                      const struct blazei_txn_header *header)
{
	const struct blazei_origin *origins = blazei_txn_origins(header);
	uint16_t index[BLAZEI_ORIGINS_MAX];
	struct reach reach;
	int rc = stage->poured ? 0 : pour_begin(stage, replica);

	/* What is to be pruned has to be known as a whole. */
	if (rc == 0 && stage->whole)
		return 0;
	chunk_reach(header, &reach);
	for (unsigned i = 0; i < header->origin_count && rc == 0; i++) {
		index[i] = blazei_vector_find(&replica->vector, &origins[i]);
		if (index[i] == BLAZEI_ORIGIN_NONE && reach.seqs[i] > 0)
			return 0;
	}
	if (rc == 0)
		rc = pour(stage, replica, header);
	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < header->origin_count; i++)
		if (reach.seqs[i] > 0 && reach.seqs[i] > stage->poured[index[i]])
			stage->poured[index[i]] = reach.seqs[i];
	return 1;
}
