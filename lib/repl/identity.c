/* SPDX-License-Identifier: Apache-2.0 */
/* The decision under which name a store goes on; see identity.h. */
#include "lib/repl/identity.h"

static uint64_t seq_of(const struct blazei_vector_entry *vector, unsigned count,
                       const struct blazei_origin *origin)
{
	for (unsigned i = 0; i < count; i++)
		if (blazei_origin_equal(&vector[i].origin, origin))
			return vector[i].seq;
	return 0;
}

/* Whether what the node reported as durable is no longer in the store. */
static bool gone_back(const struct blazei_identity_stored *stored,
                      const struct blazei_identity_seen *seen)
{
	for (unsigned i = 0; i < seen->count; i++)
		if (seq_of(stored->vector, stored->count, &seen->vector[i].origin) <
		    seen->vector[i].seq)
			return true;
	return false;
}

enum blazei_identity blazei_identity_decide(const struct blazei_identity_stored *stored,
                                            const struct blazei_identity_seen *seen)
{
	uint64_t own = seq_of(stored->vector, stored->count, &stored->self);

	if (seen->alive || gone_back(stored, seen))
		return BLAZEI_IDENTITY_NEW_NODE;
	if (!seen->token || !blazei_id_equal(seen->token, &stored->token))
		return BLAZEI_IDENTITY_NEW_INCARNATION;
	if (seen->seq > own)
		return BLAZEI_IDENTITY_NEW_INCARNATION;
	if (own > 0 && seen->seq == own && seen->chain != 0 && seen->chain != stored->chain)
		return BLAZEI_IDENTITY_NEW_INCARNATION;
	return BLAZEI_IDENTITY_CONTINUE;
}

bool blazei_identity_is_late(const struct blazei_identity_run *run,
                             const struct blazei_identity_run *other)
{
	if (run->began_hlc != other->began_hlc)
		return run->began_hlc > other->began_hlc;
	return run->incarnation > other->incarnation;
}
