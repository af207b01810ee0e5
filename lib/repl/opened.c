/* SPDX-License-Identifier: Apache-2.0 */
/* Counts open transactions by generation; see opened.h. */
#include "lib/repl/opened.h"

#include <stdlib.h>

unsigned blazei_opened_begin(struct blazei_opened *opened)
{
	/* Relaxed: either of the two will do, see CONCURRENCY. */
	const unsigned generation = atomic_load_explicit(&opened->generation, memory_order_relaxed);

	/* Acquire, release: pairs with the same in bound, see CONCURRENCY. */
	atomic_fetch_add_explicit(&opened->counts[generation % 2], 1, memory_order_acq_rel);
	return generation % 2;
}

void blazei_opened_end(struct blazei_opened *opened, unsigned which)
{
	/* Release: pairs with the acquire in none, and in bound. */
	atomic_fetch_sub_explicit(&opened->counts[which], 1, memory_order_release);
}

bool blazei_opened_none(const struct blazei_opened *opened)
{
	/* Acquire: pairs with the release in end. */
	return atomic_load_explicit(&opened->counts[0], memory_order_acquire) == 0 &&
	       atomic_load_explicit(&opened->counts[1], memory_order_acquire) == 0;
}

/* Notes the vector as that of one of the two generations. */
static int start(struct blazei_opened *opened, unsigned which, const struct blazei_replica *replica)
{
	unsigned count = blazei_replica_vector_count(replica);
	struct blazei_vector_entry *entries =
	        realloc(opened->started[which], count * sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++)
		blazei_replica_vector_entry(replica, i, &entries[i]);
	opened->started[which] = entries;
	opened->widths[which] = count;
	return 0;
}

static unsigned count_of(struct blazei_opened *opened, unsigned which)
{
	/* Acquire, release: pairs with the same in begin, see CONCURRENCY. */
	return atomic_fetch_add_explicit(&opened->counts[which], 0, memory_order_acq_rel);
}

bool blazei_opened_none_shut(struct blazei_opened *opened)
{
	return count_of(opened, 0) == 0 && count_of(opened, 1) == 0;
}

int blazei_opened_bound(struct blazei_opened *opened, const struct blazei_replica *replica,
                        struct blazei_vector_view *ret_bound)
{
	/* Relaxed: it changes here only, under the lock. */
	const unsigned generation = atomic_load_explicit(&opened->generation, memory_order_relaxed);
	const unsigned now = generation % 2;
	unsigned which = 1 - now;
	bool none = false;

	if (count_of(opened, which) == 0) {
		/* The next one takes its place, and starts with what is here now. */
		if (start(opened, which, replica) < 0)
			return -ENOMEM;
		which = now;
		none = count_of(opened, now) == 0;
		/* Who still gets into this one has seen as much. */
		if (none && start(opened, now, replica) < 0)
			return -ENOMEM;
		/* Relaxed: as in begin. */
		atomic_store_explicit(&opened->generation, generation + 1, memory_order_relaxed);
	}
	*ret_bound = (struct blazei_vector_view){
		.entries = opened->started[which],
		.count = opened->widths[which],
	};
	return !none;
}

void blazei_opened_fini(struct blazei_opened *opened)
{
	free(opened->started[0]);
	free(opened->started[1]);
}
