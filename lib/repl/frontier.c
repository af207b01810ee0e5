/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about the frontier: what is below it, who is, and which of two is the greater one.
 *
 * FAILURE  Where the list cannot be read for lack of memory, the answer is the careful one: nothing
 *          is below the frontier, everybody's vector is. */
#include <stdlib.h>

#include "lib/repl/mark_core.h"

enum blazei_membership blazei_replica_membership(struct blazei_replica *replica,
                                                 const struct blaze_id *node)
{
	if (blazei_members_refresh(replica) < 0)
		return BLAZEI_MEMBER_NEVER;
	for (unsigned i = 0; i < replica->members.count; i++)
		if (blazei_id_equal(&replica->members.list[i].node, node))
			return replica->members.list[i].joined ? BLAZEI_MEMBER_JOINED
			                                       : BLAZEI_MEMBER_EXPELLED;
	return BLAZEI_MEMBER_NEVER;
}

uint64_t blazei_replica_frontier_seq(struct blazei_replica *replica,
                                     const struct blazei_origin *origin)
{
	uint16_t index = blazei_vector_find(&replica->vector, origin);

	if (blazei_members_refresh(replica) < 0 || index == BLAZEI_ORIGIN_NONE ||
	    index >= replica->members.width)
		return 0;
	return replica->members.frontier[index];
}

bool blazei_replica_has_frontier(struct blazei_replica *replica)
{
	return blazei_members_update(replica) < 0 || replica->members.width > 0;
}

unsigned blazei_replica_lone_incarnations(struct blazei_replica *replica)
{
	const struct blazei_members *members = &replica->members;
	const struct blazei_vector *vector = &replica->vector;
	const struct blaze_id *node = &vector->origins[0].node;
	unsigned count = 0;

	if (blazei_members_refresh(replica) < 0)
		return 0;
	for (unsigned i = 0; i < members->count; i++)
		if (members->list[i].joined && !blazei_id_equal(&members->list[i].node, node))
			return 0;
	for (unsigned i = 0; i < vector->count; i++)
		count += blazei_id_equal(&vector->origins[i].node, node) &&
		         !blazei_origin_retired(&vector->origins[i]);
	return count;
}

int blazei_replica_rank(struct blazei_replica *replica, struct blazei_rank *ret_rank)
{
	const struct blazei_members *members = &replica->members;
	struct blazei_rank rank = { 0 };
	int rc = blazei_members_update(replica);

	if (rc < 0)
		return rc;
	rank.hlc = members->told_hlc;
	/* Whatever the order of the origins. */
	for (unsigned i = 0; i < members->width; i++) {
		const struct blazei_vector_entry entry = { replica->vector.origins[i],
			                                   members->frontier[i] };

		if (entry.seq > 0)
			rank.hash += XXH3_64bits(&entry, sizeof(entry));
	}
	*ret_rank = rank;
	return 0;
}

bool blazei_replica_below_frontier(struct blazei_replica *replica,
                                   const struct blazei_vector_view *vector)
{
	uint64_t *known = calloc(replica->vector.count, sizeof(*known));
	bool below = true;

	if (known) {
		blazei_vector_spread(&replica->vector, vector->entries, sizeof(*vector->entries),
		                     vector->count, known);
		below = blazei_known_below(replica, known);
	}
	free(known);
	return below;
}

bool blazei_known_below(struct blazei_replica *replica, const uint64_t *known)
{
	if (blazei_members_refresh(replica) < 0)
		return true;
	for (unsigned i = 0; i < replica->members.width; i++)
		if (known[i] < replica->members.frontier[i])
			return true;
	return false;
}
