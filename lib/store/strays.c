/* SPDX-License-Identifier: Apache-2.0 */
/* Segments that the root does not name; see strays.h.
 *
 * WHY    A segment is made before the root names it, and no frame is written to it before that root
 *        is durable (log.c). So what an opening or a crash leaves in between is empty, and goes:
 *        else a store on a full disk, opened again and again, would gather such without end. And
 *        one that has a frame of this store was named by a root once. If that is not the root that
 *        is there, it is older than the log, by a copy that brought back a part of the files or by
 *        a disk that lost an exchange it had confirmed: to go on from it would lose what was
 *        acknowledged, and write over it.
 *
 *        What a compaction has dropped has frames too, under numbers below the first one of a root
 *        that begins with a checkpoint.
 *
 * INVARIANTS
 *   I1   Nothing is deleted but what is empty or zeros, or was dropped.
 *   I2   A store with a segment of the log that its root does not know is opened by nobody.
 *
 * CONCURRENCY  A program may write to what one only looks at: then the root that names the segment
 *        was there before the frame that was seen, so the root is read again before it is judged
 *        (recover.c). */
#include "lib/store/strays.h"

#include <stdlib.h>

#include <blaze/db.h>

enum stray {
	STRAY_EMPTY, /* or zeros */
	STRAY_FRAME, /* it has one of this store */
	STRAY_OTHER, /* something else, or it can't be read */
	STRAY_GONE,
};

struct strays {
	struct blazei_store *store;
	bool sweep;
	uint8_t *window; /* BLAZEI_FRAME_BYTES_MAX */
	bool ahead;      /* there is one with a frame: */
	uint64_t first_ahead;
	uint64_t other_count;
	uint64_t first_other;
};

static bool zeros(const uint8_t *data, size_t len)
{
	return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

/* Whether a valid frame of this segment begins here; *ret_more: it might, with more bytes. */
static bool frame_here(const struct strays *strays, uint64_t number, uint64_t offset,
                       const uint8_t *data, size_t len, bool *ret_more)
{
	struct blazei_frame_place place = {
		.store = strays->store->root->store,
		.segment = number,
		.offset = offset,
	};
	struct blazei_frame_header header;

	*ret_more = false;
	if (len < sizeof(header))
		return false;
	memcpy(&header, data, sizeof(header));
	if (header.magic != BLAZEI_FRAME_MAGIC || header.segment != number)
		return false;
	place.incarnation = header.incarnation;
	*ret_more = len < BLAZEI_FRAME_BYTES_MAX;
	return blazei_frame_check(data, len, &place) > 0;
}

/* What of len bytes at offset is known: a frame in it, or how far there is none. */
static uint64_t window_look(const struct strays *strays, uint64_t number, uint64_t offset,
                            size_t len, bool *ret_frame)
{
	uint64_t at = 0;

	*ret_frame = false;
	while (at < len) {
		bool more;

		*ret_frame = frame_here(strays, number, offset + at, strays->window + at, len - at,
		                        &more);
		if (*ret_frame || (more && at > 0))
			break;
		at += BLAZEI_FRAME_UNIT;
	}
	return at;
}

/* What a segment is; -ESTALE. */
static int stray_look(const struct strays *strays, uint64_t number)
{
	const struct blazei_store *store = strays->store;
	const uint64_t limit = store->geometry.segment_bytes;
	bool empty = true, frame;
	uint64_t at = 0;

	while (at < limit) {
		uint64_t left = limit - at;
		int64_t n = store->ops->segment_read(
		        store->backend, number, at, strays->window,
		        left < BLAZEI_FRAME_BYTES_MAX ? left : BLAZEI_FRAME_BYTES_MAX);

		if (n == -ESTALE)
			return -ESTALE;
		if (n < 0)
			return n == -ENOENT ? STRAY_GONE : STRAY_OTHER;
		if (n == 0)
			break;
		empty = empty && zeros(strays->window, (size_t)n);
		at += window_look(strays, number, at, (size_t)n, &frame);
		if (frame)
			return STRAY_FRAME;
	}
	return empty ? STRAY_EMPTY : STRAY_OTHER;
}

/* False: it stays. */
static bool stray_delete(struct blazei_store *store, uint64_t number)
{
	int error = store->ops->segment_delete(store->backend, number);

	if (error != 0 && error != -ENOENT)
		blazei_log(BLAZE_LOG_WARNING,
		           "store %s: segment %016llx, which is not needed, stays: %s",
		           store->location, (unsigned long long)number, blaze_strerror(error));
	return error == 0 || error == -ENOENT;
}

static int stray_take(struct strays *strays, uint64_t number)
{
	struct blazei_root *root = strays->store->root;
	const bool dropped = root->start != 0 && number < root->segments[0].number;
	int kind = dropped ? STRAY_EMPTY : stray_look(strays, number);

	if (kind < 0)
		return kind;
	if (kind == STRAY_FRAME && !strays->ahead) {
		strays->ahead = true;
		strays->first_ahead = number;
	}
	if (kind == STRAY_OTHER && strays->other_count++ == 0)
		strays->first_other = number;
	if (!strays->sweep || kind == STRAY_GONE ||
	    (kind == STRAY_EMPTY && stray_delete(strays->store, number)))
		return 0;
	/* Numbers ascend: those that are taken in a row take up no try of a new segment. */
	if (number == root->next_segment && number < BLAZEI_SEGMENT_MAX)
		root->next_segment++;
	return 0;
}

/* Takes those of the numbers, which ascend, that the root does not name. */
static int strays_take(struct strays *strays, const uint64_t *numbers, uint64_t count)
{
	const struct blazei_root *root = strays->store->root;
	uint32_t k = 0;
	int error = 0;

	for (uint64_t i = 0; i < count && error == 0; i++) {
		while (k < root->segment_count && root->segments[k].number < numbers[i])
			k++;
		if (k == root->segment_count || root->segments[k].number != numbers[i])
			error = stray_take(strays, numbers[i]);
	}
	return error;
}

static int strays_walk(struct strays *strays)
{
	const struct blazei_store *store = strays->store;
	uint64_t *numbers = NULL, any = 0;
	int64_t max = store->ops->segment_list(store->backend, &any, 1), n = 0;
	int error = max < 0 ? (int)max : 0;

	if (max <= 0)
		return error;
	numbers = calloc((size_t)max, sizeof(*numbers));
	strays->window = aligned_alloc(BLAZEI_FRAME_UNIT, BLAZEI_FRAME_BYTES_MAX);
	if (numbers == NULL || strays->window == NULL)
		error = -ENOMEM;
	if (error == 0)
		n = store->ops->segment_list(store->backend, numbers, (size_t)max);
	if (n < 0)
		error = (int)n;
	if (error == 0)
		error = strays_take(strays, numbers, (uint64_t)(n < max ? n : max));
	free(strays->window);
	free(numbers);
	return error;
}

static void others_tell(const struct strays *strays)
{
	if (strays->other_count > 0)
		blazei_log(BLAZE_LOG_WARNING,
		           "store %s: %llu segments that it does not have, %016llx first, are none "
		           "of its log, and are left as they are",
		           strays->store->location, (unsigned long long)strays->other_count,
		           (unsigned long long)strays->first_other);
}

int blazei_strays_check(struct blazei_store *store, uint64_t *ret_segment)
{
	struct strays strays = { .store = store };
	int error = strays_walk(&strays);

	*ret_segment = strays.first_ahead;
	if (error == 0 && strays.ahead)
		return -EBADMSG;
	/* Who opens to write tells in the sweep. */
	if (error == 0 && store->look)
		others_tell(&strays);
	return error;
}

void blazei_strays_sweep(struct blazei_store *store)
{
	struct strays strays = { .store = store, .sweep = true };

	if (strays_walk(&strays) == 0)
		others_tell(&strays);
}
