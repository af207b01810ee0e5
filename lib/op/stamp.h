/* SPDX-License-Identifier: Apache-2.0 */
/* Stamps: which of two writes to one register holds.
 *
 * Every register carries K = (E, H, origin, seq), compared in that order; merge keeps the greater.
 *
 * WHY    E, the priority, is the H of the last server write that the value descends from: a server
 *        writes its own H there, everyone else what the overwritten value had. So a server's write
 *        beats every write that had not seen it, and one that had seen it inherits its E and beats
 *        it by H. This is a total order, which the tempting rule "causality, else role, else
 *        clock" is not: that one has cycles, and replicas that use it diverge.
 *
 * INVARIANTS
 *   I1   E <= H: E is the H of this write or of one that it saw.
 *   I2   No two different writes to a register share a stamp: (origin, seq) names one transaction,
 *        which writes each register at most once.
 *   I3   Origins compare by identity. The index under which one replica interned an origin means
 *        nothing to another and takes no part.
 *   I4   The incarnations of a node follow one another, and so do their H. So where the node and H
 *        are the same, the write is: a stamp of which only that is left (mark.h) equals the stamp
 *        that it was. */
#ifndef BLAZEI_STAMP_H
#define BLAZEI_STAMP_H

#include "lib/base/base.h"

/* Who writes: a node and one run of it. Compared bytewise by node, then by incarnation. */
struct blazei_origin {
	struct blaze_id node;
	uint64_t incarnation;
};

static_assert(sizeof(struct blazei_origin) == 24, "travels as it is");

/* No incarnation: stands for those of a node that are over. In its stamps seq is H (mark.h). */
#define BLAZEI_RETIRED UINT64_MAX

struct blazei_stamp {
	uint64_t priority; /* E */
	uint64_t hlc;      /* H */
	uint64_t seq;
	uint16_t origin; /* index of this replica */
};

static inline bool blazei_origin_equal(const struct blazei_origin *a, const struct blazei_origin *b)
{
	return a->incarnation == b->incarnation && blazei_id_equal(&a->node, &b->node);
}

/* Less than, equal to or greater than 0. */
static inline int blazei_origin_compare(const struct blazei_origin *a,
                                        const struct blazei_origin *b)
{
	int order = memcmp(a->node.bytes, b->node.bytes, sizeof(a->node.bytes));

	if (order != 0 || a->incarnation == b->incarnation)
		return order;
	return a->incarnation < b->incarnation ? -1 : 1;
}

static inline bool blazei_origin_retired(const struct blazei_origin *origin)
{
	return origin->incarnation == BLAZEI_RETIRED;
}

/* Whether of writes with the same H by these two the first is greater. */
static inline bool blazei_origin_beats(const struct blazei_origin *a, const struct blazei_origin *b)
{
	if ((blazei_origin_retired(a) || blazei_origin_retired(b)) &&
	    blazei_id_equal(&a->node, &b->node))
		return false;
	return blazei_origin_compare(a, b) > 0;
}

/* Whether a beats b; `origins` turns the indices of both into identities. */
static inline bool blazei_stamp_beats(const struct blazei_stamp *a, const struct blazei_stamp *b,
                                      const struct blazei_origin *origins)
{
	if (a->priority != b->priority)
		return a->priority > b->priority;
	if (a->hlc != b->hlc)
		return a->hlc > b->hlc;
	if (a->origin != b->origin)
		return blazei_origin_beats(&origins[a->origin], &origins[b->origin]);
	return a->seq > b->seq;
}

#endif
