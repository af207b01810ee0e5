/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the log of a store; see log.h, and blaze-format(5) for what is torn and what is
 * corrupt. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <blaze/db.h>

#include "lib/op/unit.h"
#include "lib/store/log.h"
#include "lib/store/strays.h"

#define WINDOW_BYTES (UINT64_C(1) << 20)
#define SETTLES_MAX  8u /* of a root that somebody replaces meanwhile */

/* One segment that is being read. */
struct scan {
	struct blazei_store *store;
	const struct blazei_root_segment *segment;
	blazei_store_visitor visitor;
	void *arg;
	struct blazei_frame_place place;
	uint64_t limit; /* where it ends, or may */
	uint64_t there; /* where it was found to end, else that */
	uint64_t start; /* of the window, in the segment */
	size_t len;     /* of what is in it */
	uint8_t *window;
	struct blazei_unpacker unpacker;
	struct blazei_buffer part; /* the beginning of a transaction */
	uint64_t end;              /* behind the last frame that ends a transaction */
	bool begun;                /* there was a frame */
};

static int corrupt(const struct scan *scan, uint64_t offset, const char *what)
{
	blazei_log(BLAZE_LOG_ERROR, "store %s: segment %016llx is corrupt at %llu: %s",
	           scan->store->location, (unsigned long long)scan->segment->number,
	           (unsigned long long)offset, what);
	return -EBADMSG;
}

/* Has what is at offset in the window, as far as a frame may reach. The bytes there or an error.
 * A read that gives less than was asked for tells where the segment ends, which is not asked again:
 * else each of the last frames would be a read of all that follows. */
static int64_t window_at(struct scan *scan, uint64_t offset, const uint8_t **ret_data)
{
	uint64_t left = offset < scan->there ? scan->there - offset : 0;
	uint64_t need = left < BLAZEI_FRAME_BYTES_MAX ? left : BLAZEI_FRAME_BYTES_MAX;

	*ret_data = scan->window;
	if (need == 0)
		return 0;
	if (offset < scan->start || offset + need > scan->start + scan->len) {
		uint64_t want = left < WINDOW_BYTES ? left : WINDOW_BYTES;
		int64_t n = scan->store->ops->segment_read(
		        scan->store->backend, scan->segment->number, offset, scan->window, want);

		if (n < 0)
			return n;
		scan->start = offset;
		scan->len = (size_t)n;
		if ((uint64_t)n < want)
			scan->there = offset + (uint64_t)n;
		if ((uint64_t)n < need)
			need = (uint64_t)n;
	}
	*ret_data = scan->window + (offset - scan->start);
	return (int64_t)need;
}

/* Gives the entries in a run of bytes. */
static int txns_give(struct scan *scan, uint64_t offset, const uint8_t *data, size_t len,
                     uint64_t count)
{
	while (len > 0) {
		uint32_t bytes;
		int error;

		if (len < sizeof(struct blazei_unit_bound))
			return corrupt(scan, offset, "no transaction");
		memcpy(&bytes, data, sizeof(bytes));
		if (bytes > len || count == 0 || blazei_logged_check(data, bytes) != 0)
			return corrupt(scan, offset, "an invalid transaction");
		/* What stands before the checkpoint is in it. */
		if (scan->store->last + 1 >= scan->store->root->start)
			error = scan->visitor(scan->arg, data, bytes);
		else
			error = 0;
		if (error < 0)
			return error;
		scan->store->last++;
		data += bytes;
		len -= bytes;
		count--;
	}
	return count == 0 ? 0 : corrupt(scan, offset, "transactions are missing in a frame");
}

static int frame_take(struct scan *scan, const uint8_t *data, uint64_t bytes)
{
	const struct blazei_frame_header *frame = (const struct blazei_frame_header *)data;
	const uint8_t *body;
	uint64_t offset = scan->place.offset;
	int error = blazei_unpack(&scan->unpacker, frame, &body);

	if (error != 0)
		return error == -EBADMSG ? corrupt(scan, offset, "it does not decompress") : error;
	/* The log may begin with a segment whose beginning counts no more. */
	if (!scan->begun && frame->first_lsn != 0 && frame->first_lsn <= scan->store->root->start)
		scan->store->last = frame->first_lsn - 1;
	scan->begun = true;
	if (frame->first_lsn != scan->store->last + 1)
		return corrupt(scan, offset, "it is not the next one in the log");
	if (frame->first_lsn >= scan->store->root->start &&
	    (scan->part.len > 0 ? blazei_body_is_state(scan->part.data, scan->part.len)
	                        : blazei_body_is_state(body, frame->raw_bytes)))
		scan->store->state_bytes += bytes;
	if ((frame->flags & BLAZEI_FRAME_MORE) == 0 && scan->part.len == 0) {
		error = txns_give(scan, offset, body, frame->raw_bytes, frame->count);
		scan->end = offset + bytes;
		return error;
	}
	error = blazei_buffer_append(&scan->part, body, frame->raw_bytes);
	if (error == -E2BIG)
		return corrupt(scan, offset, "a transaction without an end");
	if (error != 0 || (frame->flags & BLAZEI_FRAME_MORE) != 0)
		return error;
	error = txns_give(scan, offset, scan->part.data, scan->part.len, frame->count);
	scan->part.len = 0;
	scan->end = offset + bytes;
	return error;
}

/* What was durable is no frame at offset. Where somebody writes meanwhile it may have become one
 * since: -ESTALE. */
static int gap_judge(struct scan *scan, uint64_t offset)
{
	const uint8_t *data;
	int64_t n;

	if (scan->store->look) {
		scan->there = scan->limit;
		scan->len = 0;
		scan->place.offset = offset;
		n = window_at(scan, offset, &data);
		if (n >= 0 && blazei_frame_check(data, (size_t)n, &scan->place) > 0)
			return -ESTALE;
	}
	return corrupt(scan, offset, "what was durable is damaged");
}

/* Looks at what lies behind an invalid frame. 0: a torn end; -EBADMSG: it was good once. */
static int tail_check(struct scan *scan, uint64_t offset, bool *ret_something)
{
	uint64_t at = offset;

	for (;;) {
		const uint8_t *data;
		int64_t n;

		scan->place.offset = at;
		n = window_at(scan, at, &data);
		if (n <= 0)
			return (int)n;
		for (int64_t i = 0; i < n && i < BLAZEI_FRAME_UNIT && !*ret_something; i++)
			*ret_something = data[i] != 0;
		if (at > offset && blazei_frame_check(data, (size_t)n, &scan->place) > 0) {
			const struct blazei_frame_header *frame = (const void *)data;

			if (frame->durable_lsn > scan->store->last)
				return gap_judge(scan, offset);
		}
		at += BLAZEI_FRAME_UNIT;
		if (at >= scan->limit)
			return 0;
	}
}

/* What is behind the last valid frame of a segment whose end is not recorded is cut. */
static int tail_cut(struct scan *scan, uint64_t offset)
{
	bool something = offset > scan->end;
	int error = tail_check(scan, offset, &something);

	if (error == 0)
		error = scan->store->ops->segment_seal(scan->store->backend, scan->segment->number,
		                                       scan->end);
	if (error != 0 || !something)
		return error;
	scan->store->torn = true;
	blazei_log(BLAZE_LOG_WARNING,
	           "store %s: segment %016llx is torn at %llu: what the log has ends there",
	           scan->store->location, (unsigned long long)scan->segment->number,
	           (unsigned long long)scan->end);
	return 0;
}

static int segment_scan(struct scan *scan)
{
	bool open = scan->segment->end == BLAZEI_SEGMENT_OPEN;
	uint64_t offset = 0;

	scan->limit = open ? scan->store->geometry.segment_bytes : scan->segment->end;
	scan->there = scan->limit;
	while (offset < scan->limit) {
		const uint8_t *data;
		int64_t n = window_at(scan, offset, &data);
		int error;

		if (n < 0)
			return n == -ENOENT ? corrupt(scan, offset, "it is missing") : (int)n;
		scan->place.offset = offset;
		n = blazei_frame_check(data, (size_t)n, &scan->place);
		if (n < 0 && !open)
			return corrupt(scan, offset, "an invalid frame");
		if (n < 0)
			break;
		error = frame_take(scan, data, (uint64_t)n);
		if (error != 0)
			return error;
		offset += (uint64_t)n;
	}
	if (open)
		return tail_cut(scan, offset);
	return scan->part.len == 0 ? 0 : corrupt(scan, offset, "a transaction without an end");
}

static int segments_scan(struct scan *scan)
{
	struct blazei_root *root = scan->store->root;
	int error = 0;

	for (uint32_t i = 0; i < root->segment_count && error == 0; i++) {
		scan->segment = &root->segments[i];
		scan->place.store = root->store;
		scan->place.segment = root->segments[i].number;
		scan->place.incarnation = root->segments[i].incarnation;
		scan->part.len = 0;
		scan->len = 0;
		scan->end = 0;
		scan->store->firsts[i] = scan->store->last + 1;
		error = segment_scan(scan);
		if (error == 0 && root->segments[i].end == BLAZEI_SEGMENT_OPEN)
			root->segments[i].end = scan->end;
		if (error == 0)
			scan->store->ended_bytes += root->segments[i].end;
	}
	if (error == 0 && root->start > scan->store->last) {
		blazei_log(BLAZE_LOG_ERROR, "store %s: what its log begins with is missing",
		           scan->store->location);
		error = -EBADMSG;
	}
	return error;
}

/* Takes a transaction of the tail, behind those of the frames. */
static int tail_take(void *arg, const void *txn, size_t len)
{
	const struct scan *scan = arg;
	struct blazei_store *store = scan->store;
	int error;

	if (blazei_logged_check(txn, len) != 0) {
		blazei_log(BLAZE_LOG_ERROR, "store %s: an invalid transaction in the tail",
		           store->location);
		return -EBADMSG;
	}
	error = scan->visitor(scan->arg, txn, len);
	if (error >= 0)
		error = blazei_buffer_append(&store->pending, txn, len);
	if (error == 0)
		store->last++;
	return error < 0 ? error : 0;
}

static void cut_count(struct blazei_store *store, const char *what)
{
	/* Who only looks leaves it to the next opening; and it may be open just now. */
	store->lost = true;
	store->cut = !store->look;
	store->root->cuts += store->cut;
	blazei_log(BLAZE_LOG_WARNING, "store %s: cut behind transaction %llu: %s", store->location,
	           (unsigned long long)store->last, what);
}

/* Copies the tail that the root names, where it may still be there. */
static int tail_load(struct blazei_store *store, struct blazei_tail_image *ret_image)
{
	static const struct blaze_id none;
	const struct blazei_root *root = store->root;
	const struct blazei_tail_name name = {
		.home = root->home,
		.nonce = root->tail_nonce,
		.turn = root->tail_turn,
	};

	if (root->opened != BLAZE_DURABILITY_ASYNC)
		return 0;
	if (blazei_id_equal(&none, &store->boot)) {
		blazei_log(BLAZE_LOG_ERROR,
		           "store %s: it was not closed, and which boot this is can't be read",
		           store->location);
		return -EACCES;
	}
	if (!blazei_id_equal(&root->boot, &store->boot))
		return 0;
	return blazei_tail_load(store->tail_dir, &name, &root->store, ret_image);
}

/* Reads the root again. 1: it is another one. */
static int root_again(struct blazei_store *store)
{
	const size_t cap = BLAZEI_ROOT_BYTES_MAX;
	const size_t before = blazei_root_bytes(store->root);
	struct blazei_root *root = calloc(1, cap);
	bool same;
	int64_t len;
	int error;

	if (root == NULL)
		return -ENOMEM;
	len = store->ops->root_get(store->backend, root, cap, &store->root_version);
	error = len < 0 ? (int)len : len == 0 ? -ENOENT : blazei_root_check(root, (size_t)len);
	same = error == 0 && (size_t)len == before && memcmp(root, store->root, before) == 0;
	if (error == 0)
		memcpy(store->root, root, cap);
	free(root);
	return error != 0 ? error : !same;
}

/* Whether the root is the log's. 1: there is another one by now. */
static int root_judge(struct blazei_store *store, bool salvage)
{
	uint64_t segment = 0;
	int error, other;

	BLAZEI_TESTPOINT("store_judging");
	error = blazei_strays_check(store, &segment);
	if (error != -EBADMSG && error != -ESTALE)
		return error;
	/* Who writes meanwhile has replaced the root before the frame that was seen there. */
	other = store->look ? root_again(store) : 0;
	if (other != 0 || error != -EBADMSG)
		return other != 0 ? other : error;
	blazei_log(BLAZE_LOG_ERROR,
	           "store %s: the root is older than the log: segment %016llx has what it does not "
	           "know of",
	           store->location, (unsigned long long)segment);
	return salvage ? 0 : error;
}

int blazei_store_settle(struct blazei_store *store, bool salvage,
                        struct blazei_tail_image *ret_image)
{
	int error;

	for (unsigned i = 0; i < SETTLES_MAX; i++) {
		int other = 0;

		*ret_image = (struct blazei_tail_image){ .ring = NULL };
		error = tail_load(store, ret_image);
		if (error != 0 && error != -ENOENT) {
			blazei_log(BLAZE_LOG_ERROR, "store %s: what its tail has can't be read: %s",
			           store->location, blaze_strerror(error));
			return error;
		}
		if (store->look)
			other = root_again(store);
		if (other == 0)
			other = root_judge(store, salvage);
		if (other == 0)
			return 0;
		blazei_tail_image_free(ret_image);
		if (other < 0)
			return other;
	}
	return -ESTALE;
}

/* Whether another user wrote the store last, in whose shared memory its tail is: that one made the
 * root, wherever it lies. */
static bool foreign(const struct blazei_store *store)
{
	char path[PATH_MAX];
	struct stat status;

	return (size_t)snprintf(path, sizeof(path), "%s/root", store->location) < sizeof(path) &&
	       stat(path, &status) == 0 && status.st_uid != geteuid();
}

/* What the last opening left in memory, and what is lost of it. */
static int memory_scan(struct scan *scan, const struct blazei_tail_image *image)
{
	struct blazei_store *store = scan->store;
	struct blazei_root *root = store->root;
	uint64_t lost = 0;
	int error;

	if (root->opened == BLAZE_DURABILITY_NONE)
		cut_count(store, "it was open with durability none, and was not closed");
	else if (root->opened != BLAZE_DURABILITY_ASYNC && store->torn)
		cut_count(store, "what was written last had not become durable");
	if (root->opened != BLAZE_DURABILITY_ASYNC)
		return 0;
	if (!blazei_id_equal(&root->boot, &store->boot)) {
		cut_count(store, "it was open when the system went down");
		return 0;
	}
	if (image->ring == NULL && foreign(store)) {
		blazei_log(BLAZE_LOG_ERROR,
		           "store %s: it was not closed, and its user's shared memory has the rest",
		           store->location);
		return -EACCES;
	}
	if (image->ring == NULL) {
		cut_count(store, "it was not closed, and its tail is gone");
		return 0;
	}
	error = blazei_tail_read(image, store->last, tail_take, scan, &lost);
	if (error == 0 && lost > 0)
		cut_count(store, "its tail is damaged");
	return error;
}

int blazei_store_recover(struct blazei_store *store, uint64_t incarnation,
                         blazei_store_visitor visitor, void *arg)
{
	struct scan scan = { .store = store, .visitor = visitor, .arg = arg };
	struct blazei_tail_image image = { .ring = NULL };
	int error;

	scan.part.max = BLAZEI_TXN_BYTES_MAX;
	scan.window = aligned_alloc(BLAZEI_FRAME_UNIT, WINDOW_BYTES);
	if (scan.window == NULL)
		return -ENOMEM;
	error = blazei_store_settle(store, false, &image);
	if (error == 0)
		error = segments_scan(&scan);
	store->scanned = true;
	store->durable = store->last;
	store->written = store->last;
	store->bytes = store->ended_bytes;
	store->segments = store->root->segment_count;
	/* Relaxed: nobody else has the store yet. */
	atomic_store_explicit(&store->kept, store->last, memory_order_relaxed);
	if (error == 0)
		error = memory_scan(&scan, &image);
	blazei_tail_image_free(&image);
	blazei_buffer_free(&scan.part);
	blazei_unpacker_fini(&scan.unpacker);
	free(scan.window);
	if (error == 0)
		error = blazei_store_begin(store, incarnation);
	store->recovered = error == 0;
	return error;
}
