/* SPDX-License-Identifier: Apache-2.0 */
/* The version vector: which origins are known, and how far each is merged.
 *
 * WHY    Stamps name their origin by a 16-bit index, so origins are interned here, at most 4,096
 *        of them, and keep their place. The table of slots has twice that many places and a keyed
 *        hash. A local write must tell what it depends on: what advanced since the one before it
 *        is kept as a list, so that finding it takes time in proportion to it.
 *
 * LIMIT  3,839 others fill it: that is told (ORIGINS_FULL). Below a frontier the incarnations of a
 *        node that are over make room for one mark (mark.h). Without one none ever leaves: whoever
 *        lacks a transaction of it must still find out, and whoever has one must still know it for
 *        a duplicate, and a dependency on it for one that holds; a replica that was away when it
 *        left would break each of these in silence.
 *
 * INVARIANTS
 *   I1   An index means one origin until `moves` changes. A free one is in no stamp.
 *   I2   What others write leaves a sixteenth of the places, and a snapshot, which has what a
 *        replica like this one had room for, half as many. Each opening takes one for its own name
 *        beside all that the log has: without these the first opening after the vector is full
 *        would find none, and the store were lost. A node has its own names retired after a
 *        minute, where it is a member; so what is left is for that many shorter runs, in a row.
 *        While a log is read none is kept; who only looks at it has one more (core.h). */
#include <stdlib.h>

#include "lib/repl/core.h"
#include "lib/repl/mark_core.h"
#include "lib/repl/session.h"

#define SLOT_COUNT  (2u * BLAZEI_ORIGINS_MAX)
#define ORIGINS_MIN 16u

int blazei_vector_init(struct blazei_vector *vector, const struct blazei_origin *self,
                       uint64_t seed, unsigned limit)
{
	*vector = (struct blazei_vector){
		.seed = seed,
		.limit = limit,
		.reserve = limit / BLAZEI_RESERVE_PART,
	};
	vector->slots = calloc(SLOT_COUNT, sizeof(*vector->slots));
	if (!vector->slots)
		return -ENOMEM;
	return blazei_vector_intern(vector, self);
}

void blazei_vector_fini(struct blazei_vector *vector)
{
	for (unsigned i = 0; i < vector->count; i++) {
		struct blazei_parked *parked = vector->writers[i].first;

		while (parked) {
			struct blazei_parked *next = parked->next;

			free(parked);
			parked = next;
		}
	}
	free(vector->origins);
	free(vector->writers);
	free(vector->advanced);
	free(vector->waiting);
	free(vector->slots);
	*vector = (struct blazei_vector){ 0 };
}

/* The place of an origin in the slots, or the free one where it would be. */
static unsigned slot_of(const struct blazei_vector *vector, const struct blazei_origin *origin)
{
	unsigned i = (unsigned)XXH3_64bits_withSeed(origin, sizeof(*origin), vector->seed);

	for (i &= SLOT_COUNT - 1; vector->slots[i] != 0; i = (i + 1) & (SLOT_COUNT - 1))
		if (blazei_origin_equal(&vector->origins[vector->slots[i] - 1], origin))
			break;
	return i;
}

uint16_t blazei_vector_find(const struct blazei_vector *vector, const struct blazei_origin *origin)
{
	unsigned slot = vector->slots[slot_of(vector, origin)];

	return slot ? (uint16_t)(slot - 1) : BLAZEI_ORIGIN_NONE;
}

/* Grows *array, of elements of that size, to max of them. */
static bool array_grow(void *array, unsigned max, size_t size)
{
	void *old;
	void *grown;

	memcpy(&old, array, sizeof(old));
	grown = realloc(old, max * size);
	if (!grown)
		return false;
	memcpy(array, &grown, sizeof(grown));
	return true;
}

static int grow(struct blazei_vector *vector)
{
	unsigned max = vector->max ? vector->max * 2 : ORIGINS_MIN;

	if (vector->count == vector->limit)
		return -E2BIG;
	if (vector->count < vector->max)
		return 0;
	if (!array_grow(&vector->origins, max, sizeof(*vector->origins)) ||
	    !array_grow(&vector->writers, max, sizeof(*vector->writers)) ||
	    !array_grow(&vector->advanced, max, sizeof(*vector->advanced)) ||
	    !array_grow(&vector->waiting, max, sizeof(*vector->waiting)))
		return -ENOMEM;
	vector->max = max;
	return 0;
}

int blazei_vector_intern(struct blazei_vector *vector, const struct blazei_origin *origin)
{
	unsigned slot = slot_of(vector, origin);
	unsigned index = 0;
	int rc;

	if (vector->slots[slot])
		return vector->slots[slot] - 1;
	while (vector->free_count > 0 && !vector->writers[index].free)
		index++;
	if (vector->free_count > 0) {
		vector->free_count--;
	} else {
		rc = grow(vector);
		if (rc < 0)
			return rc;
		index = vector->count++;
	}
	vector->origins[index] = *origin;
	vector->writers[index] = (struct blazei_writer){ .chain_known = true };
	vector->slots[slot] = (uint16_t)(index + 1);
	vector->marks += blazei_origin_retired(origin);
	return (int)index;
}

int blazei_vector_admit(struct blazei_vector *vector, const struct blazei_origin *origin,
                        unsigned reserve)
{
	uint16_t index = blazei_vector_find(vector, origin);

	if (index != BLAZEI_ORIGIN_NONE)
		return index;
	if (vector->count - vector->free_count + reserve >= vector->limit)
		return -E2BIG;
	return blazei_vector_intern(vector, origin);
}

void blazei_origins_full(struct blazei_replica *replica, uint64_t seq)
{
	if (!replica->origins_full)
		blazei_effect_event(replica, BLAZEI_EFFECT_ORIGINS_FULL, BLAZEI_ORIGIN_NONE, seq);
	replica->origins_full = true;
}

void blazei_vector_rename(struct blazei_vector *vector, unsigned index,
                          const struct blazei_origin *origin)
{
	struct blazei_writer *writer = &vector->writers[index];

	vector->marks -= blazei_origin_retired(&vector->origins[index]);
	*writer = (struct blazei_writer){ .free = !origin, .chain_known = true };
	vector->origins[index] = origin ? *origin : (struct blazei_origin){ 0 };
	if (origin)
		vector->marks += blazei_origin_retired(origin);
	else
		vector->free_count++;
	memset(vector->slots, 0, SLOT_COUNT * sizeof(*vector->slots));
	for (unsigned i = 0; i < vector->count; i++)
		if (!vector->writers[i].free)
			vector->slots[slot_of(vector, &vector->origins[i])] = (uint16_t)(i + 1);
	vector->moves++;
}

void blazei_vector_advanced(struct blazei_vector *vector, unsigned index)
{
	/* Nor on those that are over: what made that known depends on all of them. */
	if (vector->writers[index].advanced || index == 0 ||
	    blazei_origin_retired(&vector->origins[index]))
		return;
	vector->writers[index].advanced = true;
	vector->advanced[vector->advanced_count++] = (uint16_t)index;
}

void blazei_vector_retract(struct blazei_vector *vector, unsigned index)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < vector->advanced_count; i++)
		if (vector->advanced[i] != index)
			vector->advanced[kept++] = vector->advanced[i];
	vector->advanced_count = kept;
	vector->writers[index].advanced = false;
}

void blazei_vector_swap_self(struct blazei_vector *vector, unsigned index)
{
	unsigned self_slot = slot_of(vector, &vector->origins[0]);
	unsigned slot = slot_of(vector, &vector->origins[index]);
	struct blazei_origin origin = vector->origins[index];
	struct blazei_writer writer = vector->writers[index];

	vector->origins[index] = vector->origins[0];
	vector->writers[index] = vector->writers[0];
	vector->origins[0] = origin;
	vector->writers[0] = writer;
	vector->slots[slot] = 1;
	vector->slots[self_slot] = (uint16_t)(index + 1);
}

/* The public side ---------------------------------------------------------------------------- */

unsigned blazei_replica_vector_count(const struct blazei_replica *replica)
{
	return replica->vector.count;
}

void blazei_replica_vector_entry(const struct blazei_replica *replica, unsigned index,
                                 struct blazei_vector_entry *ret_entry)
{
	assert(index < replica->vector.count);
	ret_entry->origin = replica->vector.origins[index];
	ret_entry->seq = replica->vector.writers[index].seq;
}

uint64_t blazei_replica_vector_seq(const struct blazei_replica *replica,
                                   const struct blazei_origin *origin)
{
	uint16_t index = blazei_vector_find(&replica->vector, origin);

	return index == BLAZEI_ORIGIN_NONE ? 0 : replica->vector.writers[index].seq;
}

uint64_t blazei_replica_durable(const struct blazei_replica *replica, unsigned index)
{
	assert(index < replica->vector.count);
	return replica->vector.writers[index].durable;
}

uint64_t blazei_replica_durable_seq(const struct blazei_replica *replica,
                                    const struct blazei_origin *origin, uint64_t hlc)
{
	const struct blazei_vector *vector = &replica->vector;
	uint16_t index = blazei_vector_find(vector, origin);

	if (index != BLAZEI_ORIGIN_NONE)
		return vector->writers[index].durable;
	index = blazei_mark_find(vector, &origin->node);
	return index != BLAZEI_ORIGIN_NONE &&
	                       blazei_mark_covers(vector->writers[index].durable, hlc)
	               ? UINT64_MAX
	               : 0;
}

int blazei_replica_durable_raise(struct blazei_replica *replica,
                                 const struct blazei_vector_entry *entry)
{
	uint16_t index = blazei_vector_find(&replica->vector, &entry->origin);

	if (index == BLAZEI_ORIGIN_NONE || entry->seq <= replica->vector.writers[index].durable)
		return -ENOENT;
	replica->vector.writers[index].durable = entry->seq;
	return index;
}

uint64_t blazei_replica_vector_covered(const struct blazei_replica *replica,
                                       const struct blazei_origin *origin, uint64_t hlc)
{
	uint16_t index = blazei_vector_find(&replica->vector, origin);

	/* Whoever has not retired them lacks nothing by that; whoever lacks some of them lacks what
	 * their heir wrote. */
	if (blazei_origin_retired(origin))
		return UINT64_MAX;
	if (index == BLAZEI_ORIGIN_NONE)
		return blazei_marked(&replica->vector, origin, hlc) ? UINT64_MAX : 0;
	if (replica->vector.writers[index].halted & BLAZEI_HALTED_QUARANTINED)
		return UINT64_MAX;
	return replica->vector.writers[index].seq;
}

bool blazei_vector_raise(struct blazei_replica *replica, const struct blazei_session_entry *entry)
{
	uint16_t index = blazei_vector_find(&replica->vector, &entry->origin);
	struct blazei_writer *writer;

	/* What counts as merged here, under a mark; and marks, which are adopted or not. */
	if (index == BLAZEI_ORIGIN_NONE || blazei_origin_retired(&entry->origin))
		return false;
	writer = &replica->vector.writers[index];
	/* Nobody knows better than this replica how far it has written itself. */
	if (blazei_is_own(replica, index) || entry->seq <= writer->seq ||
	    writer->halted & BLAZEI_HALTED_QUARANTINED)
		return false;
	blazei_history_clear(&replica->history);
	writer->seq = entry->seq;
	if (writer->halted)
		blazei_resume(replica, index);
	writer->chain = entry->chain;
	writer->chain_known = entry->chain != 0;
	writer->hlc = entry->hlc;
	/* The session saw that it is not ahead. */
	blazei_hlc_observe(&replica->clock, entry->hlc);
	writer->dep_max = 0;
	/* What it saw in what was not read here: everything, as far as anyone knows. */
	writer->heard = replica->vector.writers[0].seq;
	blazei_vector_advanced(&replica->vector, index);
	blazei_park_drop(replica, index, entry->seq);
	return true;
}
