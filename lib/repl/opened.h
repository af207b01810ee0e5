/* SPDX-License-Identifier: Apache-2.0 */
/* Which transactions are open, and what the oldest of them had seen at least when it began.
 *
 * WHY    A transaction decides by what it saw when it first touched a record. Until it is committed
 *        the frontier that this replica reports must not pass that: else a record could be deleted,
 *        collected, made anew and collected again meanwhile, and the commit would write to a life
 *        that was used by others and is over. Noting the vector at each begin would cost every
 *        transaction a walk over all origins, for a report every half a minute. So they are counted
 *        in generations: one is filled from one look to the next, and the vector is noted when a
 *        generation starts. A transaction of it began later, so it has seen at least that.
 *        (What it had seen beyond is kept back for nothing, as long as its generation lasts.)
 *
 * INVARIANTS
 *   I1   At most two generations have open transactions: the one that is filled, and the one before
 *        it. A new one starts where the one before has none left.
 *   I2   The bound never goes back, and is at least what was there at the last look that found none
 *        open: so a reported vector does not go back either.
 *
 * CONCURRENCY  begin and end by any thread, without a lock; bound under the replica's lock. A
 *        transaction that bound did not count touches what it touches after it: both change the
 *        count, and the later one of the two acquires what the earlier one released. Where a look
 *        comes between the reading of the generation and the counting, the transaction counts in
 *        the one that is filled no more, which then lasts longer, or has started anew since. It has
 *        seen the start of either: bound finds a count to be 0 before it notes a start, and the
 *        transaction changes that count afterwards. */
#ifndef BLAZEI_OPENED_H
#define BLAZEI_OPENED_H

#include <stdatomic.h>

#include "lib/repl/members.h"

struct blazei_opened {
	atomic_uint generation;
	atomic_uint counts[2]; /* open ones, by generation % 2 */
	struct blazei_vector_entry *started[2];
	unsigned widths[2];
};

/* Which of the two it counts in, for end. */
unsigned blazei_opened_begin(struct blazei_opened *opened);
void blazei_opened_end(struct blazei_opened *opened, unsigned which);
/* Whether none is open; acquires what their ends released. */
bool blazei_opened_none(const struct blazei_opened *opened);
/* The same, for who keeps rows from being read without the lock (blazei_table_shut): one that
 * begins from here on finds them shut. */
bool blazei_opened_none_shut(struct blazei_opened *opened);
/* What all that are open had seen when they began, valid until the next call: 1; 0: none is; or
 * -ENOMEM. */
int blazei_opened_bound(struct blazei_opened *opened, const struct blazei_replica *replica,
                        struct blazei_vector_view *ret_bound);
void blazei_opened_fini(struct blazei_opened *opened);

#endif
