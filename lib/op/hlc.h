/* SPDX-License-Identifier: Apache-2.0 */
/* The hybrid logical clock: nanoseconds since 1970 whose low 16 bits count.
 *
 * WHY    A write must get an H above every H that its writer has seen, whatever the machine's
 *        clock does, and yet stay near real time so that H decides sensibly between writers. The
 *        low 16 bits (65 us) make room for 65,536 writes per tick; beyond them the count runs
 *        into the bits above, which only means that H is ahead of the clock for a while.
 *
 * INVARIANTS
 *   I1   What next returns is above everything that next returned and observe was given.
 *   I2   observe is never given an H that blazei_hlc_ahead refuses, so `last` cannot be driven to
 *        the end of its range by a peer. */
#ifndef BLAZEI_HLC_H
#define BLAZEI_HLC_H

#include "lib/base/base.h"

#define BLAZEI_HLC_COUNTER_MASK UINT64_C(0xffff)
#define BLAZEI_HLC_AHEAD_NS     (120 * BLAZEI_NS_PER_S)
#define BLAZEI_HLC_FLOOR_MAX    (UINT64_MAX / 2) /* the year 2262: more is no clock's doing */

struct blazei_hlc {
	uint64_t last; /* the highest H issued or seen */
};

/* The H for a write at realtime now_ns; becomes `last` once the caller stores it by observe. */
static inline uint64_t blazei_hlc_next(const struct blazei_hlc *clock, uint64_t now_ns)
{
	uint64_t now = now_ns & ~BLAZEI_HLC_COUNTER_MASK;

	return now > clock->last ? now : clock->last + 1;
}

static inline void blazei_hlc_observe(struct blazei_hlc *clock, uint64_t hlc)
{
	if (hlc > clock->last)
		clock->last = hlc;
}

/* Whether an H is too far ahead of this node's clock to be taken. */
static inline bool blazei_hlc_ahead(uint64_t hlc, uint64_t now_ns)
{
	return hlc > now_ns && hlc - now_ns > BLAZEI_HLC_AHEAD_NS;
}

#endif
