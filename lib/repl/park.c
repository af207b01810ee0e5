/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions that came too early: a gap before them, a dependency missing, or a clock ahead.
 *
 * WHY    Lanes are read one after the other, so a transaction regularly comes a moment before what
 *        it depends on. It is copied and waits, in a queue per origin ascending by seq.
 *
 * INVARIANTS
 *   I1   A queue holds each seq once, all above the origin's merged seq after each public call.
 *   I2   At most 4,096 transactions and 4 MiB per origin, and 64 MiB in all, wait: what passes that
 *        empties the queue of its origin. Nothing is lost by it: the vector shows the gap. The
 *        queue of an origin that is halted is shorter and is not emptied (halt.c, I2).
 *   I3   Two transactions of one seq, of which neither is merged, are a fork like any other.
 *
 * FAILURE -ENOMEM leaves the queue as it was. */
#include <stdlib.h>

#include "lib/repl/core.h"

static inline const struct blazei_txn_header *parked_header(const struct blazei_parked *parked)
{
	return (const struct blazei_txn_header *)parked->words;
}

static void waiting_remove(struct blazei_vector *vector, unsigned writer)
{
	unsigned i = 0;

	while (vector->waiting[i] != writer)
		i++;
	vector->waiting[i] = vector->waiting[--vector->waiting_count];
}

/* Frees the first one of a queue. */
static void pop(struct blazei_replica *replica, unsigned index)
{
	struct blazei_writer *writer = &replica->vector.writers[index];
	struct blazei_parked *parked = writer->first;

	writer->first = parked->next;
	if (!writer->first)
		writer->last = NULL;
	writer->parked--;
	writer->parked_bytes -= (uint32_t)parked->len;
	replica->parked--;
	replica->parked_bytes -= parked->len;
	free(parked);
	if (!writer->first)
		waiting_remove(&replica->vector, index);
}

void blazei_park_drop(struct blazei_replica *replica, unsigned writer, uint64_t seq)
{
	const struct blazei_writer *known = &replica->vector.writers[writer];

	while (known->first && parked_header(known->first)->seq <= seq)
		pop(replica, writer);
}

/* Links a transaction in by its seq; the one that waits there already, or NULL. Most come last. */
static const struct blazei_parked *queue_insert(struct blazei_writer *writer,
                                                struct blazei_parked *parked)
{
	uint64_t seq = parked_header(parked)->seq;
	struct blazei_parked **at = &writer->first;

	if (writer->last && parked_header(writer->last)->seq < seq)
		at = &writer->last->next;
	while (*at && parked_header(*at)->seq < seq)
		at = &(*at)->next;
	if (*at && parked_header(*at)->seq == seq)
		return *at;
	parked->next = *at;
	*at = parked;
	if (!parked->next)
		writer->last = parked;
	return NULL;
}

/* Whether a transaction may wait; makes way for later ones where that passes a bound. */
static bool may_wait(struct blazei_replica *replica, unsigned writer, uint32_t bytes)
{
	const struct blazei_writer *known = &replica->vector.writers[writer];
	uint64_t total = replica->parked_bytes + bytes;

	if (known->halted)
		return known->parked < BLAZEI_HALTED_TXNS_MAX &&
		       known->parked_bytes + bytes <= BLAZEI_HALTED_BYTES_MAX &&
		       total <= BLAZEI_PARKED_TOTAL_MAX / 2;
	if (known->parked < BLAZEI_PARKED_TXNS_MAX &&
	    known->parked_bytes + bytes <= BLAZEI_PARKED_BYTES_MAX &&
	    total <= BLAZEI_PARKED_TOTAL_MAX)
		return true;
	blazei_park_drop(replica, writer, UINT64_MAX);
	return false;
}

int blazei_park(struct blazei_replica *replica, unsigned writer,
                const struct blazei_txn_header *header)
{
	struct blazei_writer *known = &replica->vector.writers[writer];
	const struct blazei_parked *there;
	struct blazei_parked *parked;

	if (!may_wait(replica, writer, header->bytes))
		return 0;
	parked = malloc(sizeof(*parked) + header->bytes);
	if (!parked)
		return -ENOMEM;
	parked->len = header->bytes;
	memcpy(parked->words, header, header->bytes);
	there = queue_insert(known, parked);
	if (there) {
		bool same = parked_header(there)->chain == header->chain;

		free(parked);
		replica->duplicates += same;
		replica->refused += !same;
		if (!same)
			blazei_quarantine(replica, writer, header->seq);
		return 0;
	}
	if (known->parked++ == 0)
		replica->vector.waiting[replica->vector.waiting_count++] = (uint16_t)writer;
	known->parked_bytes += header->bytes;
	replica->parked++;
	replica->parked_bytes += header->bytes;
	return 0;
}

/* Applies the head of one queue while it is ready. The number, or -ENOMEM. */
static int drain_one(struct blazei_replica *replica, uint64_t now_ns, unsigned index)
{
	const struct blazei_writer *writer = &replica->vector.writers[index];
	int applied = 0;

	while (writer->first) {
		const struct blazei_txn_header *header = parked_header(writer->first);
		enum blazei_verdict verdict = blazei_judge(replica, now_ns, header, index);

		if (verdict == BLAZEI_EARLY && replica->halted > 0)
			blazei_halt_cause(replica, index, header);
		if (verdict == BLAZEI_AHEAD)
			blazei_halt_clock(replica, now_ns, index, header->seq);
		if (verdict == BLAZEI_EARLY || verdict == BLAZEI_AHEAD)
			break;
		/* Of one that is in quarantine nothing waits. */
		if (verdict == BLAZEI_FORKED) {
			replica->refused++;
			blazei_quarantine(replica, index, header->seq);
			break;
		}
		if (verdict == BLAZEI_READY) {
			if (blazei_apply(replica, header, index) < 0)
				return -ENOMEM;
			applied++;
		} else {
			replica->duplicates++;
		}
		pop(replica, index);
	}
	return applied;
}

int blazei_park_drain(struct blazei_replica *replica, uint64_t now_ns)
{
	int applied = 0;
	int before;

	/* Each round but the last applies something, so this ends. A queue that is emptied leaves
	 * the list, and the last one, which had its turn, takes its place. */
	do {
		before = applied;
		for (unsigned i = replica->vector.waiting_count; i-- > 0;) {
			int rc = drain_one(replica, now_ns, replica->vector.waiting[i]);

			if (rc < 0)
				return rc;
			applied += rc;
		}
	} while (applied > before);
	return applied;
}
