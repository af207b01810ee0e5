/* SPDX-License-Identifier: Apache-2.0 */
/* Dropping what stands before a checkpoint; see log.h.
 *
 * WHY    A checkpoint makes needless what is before it in the log (lib/repl/checkpoint.h). Bytes
 *        within a segment stay what they are, so whole segments go: those before the one in which
 *        the checkpoint begins. One exchange of the root says which the log is in, and from which
 *        LSN on it counts; so each opening finds either log, and both lead to the same.
 *
 * INVARIANTS
 *   I1   No segment is deleted before a root that does not name it is durable.
 *   I2   Segments with numbers below the first one that the root names are in no log: who opens the
 *        store to write deletes them (strays.c).
 *   I3   Nobody who commits waits for more than a few deletions.
 *
 * FAILURE  Where the exchange fails nobody knows which root is there: the log is read-only, and no
 *        segment goes. A crash in between leaves segments, which I2 is for. */
#include <stdlib.h>

#include <blaze/db.h>

#include "lib/store/log.h"

#define AT_A_TIME 4u

static void segment_drop(struct blazei_store *store, uint64_t number)
{
	int error = store->ops->segment_delete(store->backend, number);

	if (error != 0 && error != -ENOENT)
		blazei_log(BLAZE_LOG_WARNING,
		           "store %s: segment %016llx, which is not needed, stays: %s",
		           store->location, (unsigned long long)number, blaze_strerror(error));
}

/* The number of segments before the one that has this LSN. */
static uint32_t segments_before(const struct blazei_store *store, uint64_t lsn)
{
	uint32_t i = store->root->segment_count;

	while (i > 1 && store->firsts[i - 1] > lsn)
		i--;
	return i - 1;
}

/* Has the root begin with the checkpoint, without so many segments, whose numbers are given. The
 * caller leads. */
static int root_shorten(struct blazei_store *store, uint64_t lsn, uint32_t count,
                        uint64_t *ret_numbers)
{
	struct blazei_root *root = store->root;
	const uint32_t left = root->segment_count - count;

	for (uint32_t i = 0; i < count; i++) {
		ret_numbers[i] = root->segments[i].number;
		store->ended_bytes -= root->segments[i].end;
	}
	memmove(root->segments, root->segments + count, left * sizeof(root->segments[0]));
	memmove(store->firsts, store->firsts + count, left * sizeof(store->firsts[0]));
	memset(root->segments + left, 0, count * sizeof(root->segments[0]));
	root->segment_count = left;
	root->start = lsn;
	return blazei_store_root_swap(store);
}

int blazei_store_drop_before(struct blazei_store *store, uint64_t lsn)
{
	uint64_t *numbers = malloc(BLAZEI_ROOT_SEGMENTS_MAX * sizeof(*numbers));
	uint32_t count = 0;
	int error = numbers != NULL ? blazei_store_claim(store) : -ENOMEM;

	if (error != 0) {
		free(numbers);
		return error;
	}
	assert(lsn > store->root->start && lsn <= store->written);
	count = segments_before(store, lsn);
	error = root_shorten(store, lsn, count, numbers);
	/* Until there is a state to be written again. */
	blazei_packer_fini(&store->packer);
	pthread_mutex_lock(&store->lock);
	store->bytes = store->ended_bytes + store->segment_end;
	store->segments = store->root->segment_count;
	pthread_mutex_unlock(&store->lock);
	blazei_store_release(store, error);
	if (error != 0)
		blazei_store_tell(store);
	BLAZEI_TESTPOINT("store_dropping");
	for (uint32_t i = 0; i < count && error == 0;) {
		/* What stays for this is deleted by the next opening. */
		if (blazei_store_claim(store) != 0)
			break;
		for (unsigned k = 0; k < AT_A_TIME && i < count; k++)
			segment_drop(store, numbers[i++]);
		blazei_store_release(store, 0);
	}
	BLAZEI_TESTPOINT("store_dropped");
	free(numbers);
	return error;
}
