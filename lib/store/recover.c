/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a store and reading its log; see log.h, and blaze-format(5) for what is torn and what is
 * corrupt. */
#include <stdlib.h>

#include <blaze/db.h>

#include "lib/op/unit.h"
#include "lib/store/checked.h"
#include "lib/store/log.h"

#define WINDOW_BYTES (UINT64_C(1) << 20)
#define BUFFER_MAX   (UINT64_C(1) << 32)

/* One segment that is being read. */
struct scan {
	struct blazei_store *store;
	const struct blazei_root_segment *segment;
	blazei_store_visitor visitor;
	void *arg;
	struct blazei_frame_place place;
	uint64_t limit; /* where it ends, or may */
	uint64_t start; /* of the window, in the segment */
	size_t len;     /* of what is in it */
	uint8_t *window;
	struct blazei_buffer part; /* the beginning of a transaction */
	uint64_t end;              /* behind the last frame that ends a transaction */
};

static int corrupt(const struct scan *scan, uint64_t offset, const char *what)
{
	blazei_log(BLAZE_LOG_ERROR, "store %s: segment %016llx is corrupt at %llu: %s",
	           scan->store->location, (unsigned long long)scan->segment->number,
	           (unsigned long long)offset, what);
	return -EBADMSG;
}

/* Has what is at offset in the window, as far as a frame may reach. The bytes there or an error. */
static int64_t window_at(struct scan *scan, uint64_t offset, const uint8_t **ret_data)
{
	uint64_t left = scan->limit - offset;
	uint64_t need = left < BLAZEI_FRAME_BYTES_MAX ? left : BLAZEI_FRAME_BYTES_MAX;

	if (offset < scan->start || offset + need > scan->start + scan->len) {
		int64_t n = scan->store->ops->segment_read(
		        scan->store->backend, scan->segment->number, offset, scan->window,
		        left < WINDOW_BYTES ? left : WINDOW_BYTES);

		if (n < 0)
			return n;
		scan->start = offset;
		scan->len = (size_t)n;
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
		error = scan->visitor(scan->arg, data, bytes);
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
	const uint8_t *body = data + sizeof(*frame);
	uint64_t offset = scan->place.offset;
	int error;

	if (frame->first_lsn != scan->store->last + 1)
		return corrupt(scan, offset, "it is not the next one in the log");
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
				return corrupt(scan, offset, "what was durable is damaged");
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
	scan->store->cuts++;
	blazei_log(BLAZE_LOG_WARNING,
	           "store %s: segment %016llx is torn at %llu: the log ends there",
	           scan->store->location, (unsigned long long)scan->segment->number,
	           (unsigned long long)scan->end);
	return 0;
}

static int segment_scan(struct scan *scan)
{
	bool open = scan->segment->end == BLAZEI_SEGMENT_OPEN;
	uint64_t offset = 0;

	scan->limit = open ? scan->store->geometry.segment_bytes : scan->segment->end;
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

int blazei_store_recover(struct blazei_store *store, uint64_t incarnation,
                         blazei_store_visitor visitor, void *arg)
{
	struct blazei_root *root = store->root;
	struct scan scan = { .store = store, .visitor = visitor, .arg = arg };
	bool ended = false;
	int error = 0;

	scan.part.max = BLAZEI_TXN_BYTES_MAX;
	scan.window = aligned_alloc(BLAZEI_FRAME_UNIT, WINDOW_BYTES);
	if (scan.window == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < root->segment_count && error == 0; i++) {
		scan.segment = &root->segments[i];
		scan.place.store = root->store;
		scan.place.segment = root->segments[i].number;
		scan.place.incarnation = root->segments[i].incarnation;
		scan.part.len = 0;
		scan.len = 0;
		scan.end = 0;
		error = segment_scan(&scan);
		if (error == 0 && root->segments[i].end == BLAZEI_SEGMENT_OPEN) {
			root->segments[i].end = scan.end;
			ended = true;
		}
	}
	blazei_buffer_free(&scan.part);
	free(scan.window);
	/* With the first segment that is made; or now, with the end that was found. */
	root->incarnation = incarnation;
	if (error == 0 && ended)
		error = blazei_store_root_swap(store);
	store->durable = store->last;
	store->written = store->last;
	store->recovered = error == 0;
	return error;
}

static int root_make(struct blazei_store *store, uint32_t policy)
{
	struct blazei_root *root = store->root;
	int error = blazei_random(&root->store, sizeof(root->store));

	if (error == 0)
		error = blaze_id_new(&root->node);
	if (error != 0)
		return error;
	root->policy =
	        policy != BLAZE_POLICY_DEFAULT ? (uint16_t)policy : BLAZE_POLICY_SERVER_PRIORITY;
	root->next_segment = 1;
	return blazei_store_root_swap(store);
}

static int root_bad(const struct blazei_store *store, const char *what, int error)
{
	blazei_log(BLAZE_LOG_ERROR, "store %s: %s", store->location,
	           error == -EPROTO ? "a root of a later version" : what);
	return error;
}

static int root_load(struct blazei_store *store, uint32_t policy)
{
	int64_t len = store->ops->root_get(store->backend, store->root, BLAZEI_ROOT_BYTES_MAX,
	                                   &store->root_version);
	uint64_t segment;
	int error;

	if (len == -EBADMSG || len == -EMSGSIZE)
		return root_bad(store, "an empty root, or none", -EBADMSG);
	if (len < 0)
		return (int)len;
	if (len == 0) {
		/* Segments without a root: it was lost, and they are not to be passed over. */
		len = store->ops->segment_list(store->backend, &segment, 1);
		if (len > 0)
			return root_bad(store, "segments without a root", -EBADMSG);
		return len < 0 ? (int)len : root_make(store, policy);
	}
	error = blazei_root_check(store->root, (size_t)len);
	if (error != 0)
		return root_bad(store, "an invalid root", error);
	if (policy != BLAZE_POLICY_DEFAULT && store->root->policy != policy)
		error = -EINVAL;
	return error;
}

int blazei_store_open(const struct blaze_store_ops *ops, const char *location, uint32_t policy,
                      struct blazei_store **ret_store)
{
	struct blazei_store *store = calloc(1, sizeof(*store));
	int error;

	if (store == NULL)
		return -ENOMEM;
	store->ops = &blazei_checked_ops;
	store->location = strdup(location);
	store->root = calloc(1, BLAZEI_ROOT_BYTES_MAX);
	store->pending.max = store->flight.max = store->frames.max = BUFFER_MAX;
	store->geometry.struct_size = sizeof(store->geometry);
	pthread_mutex_init(&store->lock, NULL);
	pthread_cond_init(&store->changed, NULL);
	error = store->location != NULL && store->root != NULL ? 0 : -ENOMEM;
	if (error == 0)
		error = blazei_checked_open(ops, location, &store->backend);
	if (error != 0) {
		pthread_cond_destroy(&store->changed);
		pthread_mutex_destroy(&store->lock);
		free(store->root);
		free(store->location);
		free(store);
		return error;
	}
	error = store->ops->geometry(store->backend, &store->geometry);
	if (error == 0)
		error = root_load(store, policy);
	if (error != 0) {
		(void)blazei_store_close(store);
		return error;
	}
	*ret_store = store;
	return 0;
}
