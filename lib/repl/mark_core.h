/* SPDX-License-Identifier: Apache-2.0 */
/* What the rest of the replica asks of marks; see mark.h. */
#ifndef BLAZEI_MARK_CORE_H
#define BLAZEI_MARK_CORE_H

#include "lib/repl/core.h"

/* Whether that H is at or below a mark; 0: it is not known. */
static inline bool blazei_mark_covers(uint64_t mark, uint64_t hlc)
{
	return hlc != 0 && hlc <= mark;
}

/* The index that stands for a node's retired incarnations, or BLAZEI_ORIGIN_NONE. */
uint16_t blazei_mark_find(const struct blazei_vector *vector, const struct blaze_id *node);
/* Whether what an unknown origin wrote with that H counts as merged. */
static inline bool blazei_marked(const struct blazei_vector *vector,
                                 const struct blazei_origin *origin, uint64_t hlc)
{
	uint16_t index;

	if (vector->marks == 0)
		return false;
	index = blazei_mark_find(vector, &origin->node);
	return index != BLAZEI_ORIGIN_NONE && blazei_mark_covers(vector->writers[index].seq, hlc);
}
/* Whether a stamp is of a write that was everywhere when its incarnation was retired. */
static inline bool blazei_known_long(const struct blazei_replica *replica,
                                     const struct blazei_stamp *stamp)
{
	const struct blazei_origin *origin = &replica->vector.origins[stamp->origin];

	return blazei_origin_retired(origin) || blazei_marked(&replica->vector, origin, stamp->hlc);
}
/* Fills seqs, one for each index here and 0 all, with what a vector covers, whatever its owner and
 * this replica have retired; UINT64_MAX: all. The entries begin as struct blazei_vector_entry and
 * are `stride` bytes apart. */
void blazei_vector_spread(const struct blazei_vector *vector, const void *entries, size_t stride,
                          unsigned count, uint64_t *seqs);
/* The same of what the vector covers of the stamps in the table: also of an incarnation that is
 * retired there and of which more is known here than the mark covers. One pass over all records
 * where there is such a one. */
void blazei_stamps_spread(const struct blazei_replica *replica, const void *entries, size_t stride,
                          unsigned count, uint64_t *seqs);
/* Takes the marks of a whole snapshot that was merged, which has this vector. */
void blazei_marks_adopt(struct blazei_replica *replica, const struct blazei_session_entry *entries,
                        unsigned count);
/* What the own node has to say of its incarnations that are over: writes them to entries, of which
 * there is room for all origins, and gives their number; 0: nothing that it has not said. The list
 * of members is up to date, and as wide as the vector. */
unsigned blazei_mark_due(struct blazei_replica *replica, struct blazei_mark_item *entries);
/* Whether this incarnation has said that, and it is not below the frontier yet. */
bool blazei_mark_waits(struct blazei_replica *replica);

#endif
