/* SPDX-License-Identifier: Apache-2.0 */
/* Origins of which nothing is merged for a while, or for good: quarantined, ahead of this node's
 * clock, or waiting for such a one.
 *
 * WHY    One origin that misbehaves must not hold up the others, fill the memory or be passed over
 *        in silence. So what is wrong with it is noted at the origin: told once when it begins and
 *        once when it ends, counted meanwhile, and its queue of parked transactions is kept short.
 *        (Rejected: an error from receive, which would stop the batch of everybody else; an event
 *        per transaction, which is a flood.)
 *
 * STATES  of an origin, any of
 *        QUARANTINED  two histories stand under its name: a transaction came whose seq is taken by
 *                     another one, or that does not follow from the one before it. Each replica
 *                     keeps the history that it merged first, and all that it has; it merges
 *                     nothing more of that origin, neither as transactions nor as state, and goes
 *                     on with all others. It does not end: which history is right is not for a
 *                     replica to guess. The node itself goes on under a new incarnation.
 *                     What others wrote after they had seen such a transaction waits (CAUSE), and
 *                     comes in by a snapshot, without it: what they wrote states itself, as any
 *                     register does, and to wait for ever for what never comes would keep back all
 *                     that is honest. The replica then lacks what the quarantined origin wrote,
 *                     and nothing else.
 *        CLOCK        its next transaction is over two minutes ahead of this node's clock. Ends
 *                     when the time has come and the transaction is merged.
 *        CAUSE        its next transaction depends on one of an origin that is halted here and has
 *                     not come. Ends likewise.
 *
 * INVARIANTS
 *   I1   What is wrong is told when it begins, and again only after it has ended.
 *   I2   A halted origin has at most 64 transactions and 64 KiB parked beyond those that waited
 *        already, and never takes the second half of what all together may park: the first ones
 *        stay, so that it goes on from there; later ones come again by catch-up.
 *   I3   hlc.last never takes an H that is refused for being ahead (hlc.h, I2).
 *   I4   Where most of the live origins, this one included, look ahead, the clock at fault is this
 *        node's: that is told once, until none looks ahead any more. Live is who wrote in the last
 *        five minutes. This one is a witness for its own clock, so one other cannot outvote it.
 *
 * FAILURE  Nothing here allocates or fails. */
#include "lib/repl/core.h"

#define LIVE_NS (300 * BLAZEI_NS_PER_S)

static void begin(struct blazei_replica *replica, unsigned writer, unsigned why)
{
	struct blazei_writer *known = &replica->vector.writers[writer];

	if (!known->halted)
		replica->halted++;
	known->halted |= (uint8_t)why;
}

void blazei_quarantine(struct blazei_replica *replica, unsigned writer, uint64_t seq)
{
	struct blazei_writer *known = &replica->vector.writers[writer];

	if (known->halted & BLAZEI_HALTED_QUARANTINED)
		return;
	begin(replica, writer, BLAZEI_HALTED_QUARANTINED);
	replica->quarantined++;
	blazei_park_drop(replica, writer, UINT64_MAX);
	blazei_effect_event(replica, BLAZEI_EFFECT_ORIGIN_QUARANTINED, writer, seq);
}

/* Whether most of the live origins look ahead of this node's clock. */
static bool clock_outvoted(const struct blazei_vector *vector, uint64_t now_ns)
{
	unsigned live = 1;
	unsigned ahead = 0;

	for (unsigned i = 1; i < vector->count; i++) {
		const struct blazei_writer *writer = &vector->writers[i];
		bool looks = (writer->halted & BLAZEI_HALTED_CLOCK) ||
		             blazei_hlc_ahead(writer->hlc, now_ns);

		ahead += looks;
		live += looks || blazei_passed_ns(now_ns, writer->hlc) <= LIVE_NS;
	}
	return ahead > live / 2;
}

void blazei_halt_clock(struct blazei_replica *replica, uint64_t now_ns, unsigned writer,
                       uint64_t seq)
{
	if (replica->vector.writers[writer].halted & BLAZEI_HALTED_CLOCK)
		return;
	begin(replica, writer, BLAZEI_HALTED_CLOCK);
	replica->clock_halted++;
	if (replica->clock_behind)
		return;
	replica->clock_behind = clock_outvoted(&replica->vector, now_ns);
	if (replica->clock_behind)
		blazei_effect_event(replica, BLAZEI_EFFECT_CLOCK_BEHIND, BLAZEI_ORIGIN_NONE, 0);
	else
		blazei_effect_event(replica, BLAZEI_EFFECT_CLOCK_AHEAD, writer, seq);
}

void blazei_halt_cause(struct blazei_replica *replica, unsigned writer,
                       const struct blazei_txn_header *header)
{
	const struct blazei_vector *vector = &replica->vector;
	const struct blazei_origin *origins = blazei_txn_origins(header);
	const struct blazei_txn_dep *deps = blazei_txn_deps(header);

	if (vector->writers[writer].halted || header->seq != vector->writers[writer].seq + 1)
		return;
	for (unsigned i = 0; i < header->dep_count; i++) {
		uint16_t index = blazei_vector_find(vector, &origins[deps[i].origin]);

		if (index == BLAZEI_ORIGIN_NONE || !vector->writers[index].halted ||
		    vector->writers[index].seq >= deps[i].seq)
			continue;
		begin(replica, writer, BLAZEI_HALTED_CAUSE);
		blazei_effect_event(replica, BLAZEI_EFFECT_ORIGIN_STALLED, writer, header->seq);
		return;
	}
}

void blazei_resume(struct blazei_replica *replica, unsigned writer)
{
	struct blazei_writer *known = &replica->vector.writers[writer];

	if (known->halted & BLAZEI_HALTED_CLOCK && --replica->clock_halted == 0)
		replica->clock_behind = false;
	known->halted = 0;
	replica->halted--;
	blazei_effect_event(replica, BLAZEI_EFFECT_ORIGIN_RESUMED, writer, known->seq);
}
