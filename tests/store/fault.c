/* SPDX-License-Identifier: Apache-2.0 */
/* See fault.h. */
#include "tests/store/fault.h"

#include <stdlib.h>

struct fault_medium *fault_medium;

static void moment(struct fault_medium *medium)
{
	if (medium->moment != NULL)
		medium->moment(medium->arg);
}

/* Whether this operation is one that fails. */
static bool fails(struct fault_medium *medium)
{
	if (medium->fail_in > 1) {
		medium->fail_in--;
		return false;
	}
	if (medium->fail_in == 0 || medium->fail_count == 0)
		return false;
	medium->fail_count--;
	return true;
}

static int fault_open(const char *location, void **ret_store)
{
	(void)location;
	if (fault_medium->open)
		return -EBUSY;
	fault_medium->open = true;
	fault_medium->completion_count = 0;
	fault_medium->grows = FAULT_SEGMENTS;
	*ret_store = fault_medium;
	return 0;
}

static void fault_close(void *store)
{
	struct fault_medium *medium = store;

	medium->open = false;
}

static int fault_geometry(void *store, struct blaze_store_geometry *ret_geometry)
{
	const struct fault_medium *medium = store;

	ret_geometry->block_bytes = medium->block_bytes != 0 ? medium->block_bytes : FAULT_BLOCK;
	ret_geometry->segment_bytes = FAULT_SEGMENT_BYTES;
	ret_geometry->root_bytes = FAULT_ROOT_BYTES;
	return 0;
}

static struct fault_segment *segment_of(struct fault_medium *medium, uint64_t segment)
{
	assert(segment < FAULT_SEGMENTS);
	return &medium->segments[segment];
}

static int fault_create(void *store, uint64_t number)
{
	struct fault_segment *segment = segment_of(store, number);

	if (segment->there)
		return -EEXIST;
	if (fails(store))
		return -ENOSPC;
	free(segment->data);
	memset(segment, 0, sizeof(*segment));
	segment->there = true;
	((struct fault_medium *)store)->grows = number;
	segment->data = malloc(FAULT_SEGMENT_BYTES);
	assert(segment->data != NULL);
	moment(store);
	return 0;
}

static int fault_seal(void *store, uint64_t number, uint64_t end)
{
	struct fault_segment *segment = segment_of(store, number);

	if (!segment->there)
		return -ENOENT;
	if (segment->len < end)
		return -EBADMSG;
	if (fails(store))
		return -EIO;
	moment(store);
	segment->len = end;
	segment->synced = end;
	segment->failed = true;
	moment(store);
	return 0;
}

static int64_t fault_read(void *store, uint64_t number, uint64_t offset, void *ret_data, size_t len)
{
	struct fault_segment *segment = segment_of(store, number);

	((struct fault_medium *)store)->reads++;
	if (!segment->there)
		return -ENOENT;
	if (offset >= segment->len)
		return 0;
	if (len > segment->len - offset)
		len = segment->len - offset;
	memcpy(ret_data, segment->data + offset, len);
	return (int64_t)len;
}

static int fault_delete(void *store, uint64_t number)
{
	struct fault_segment *segment = segment_of(store, number);

	if (!segment->there)
		return -ENOENT;
	((struct fault_medium *)store)->deletes++;
	if (fails(store))
		return -EIO;
	moment(store);
	segment->there = false;
	segment->gone = true;
	moment(store);
	return 0;
}

static int64_t fault_list(void *store, uint64_t *ret_segments, size_t max)
{
	int64_t count = 0;

	for (uint64_t i = 0; i < FAULT_SEGMENTS; i++) {
		if (!segment_of(store, i)->there)
			continue;
		if ((uint64_t)count < max)
			ret_segments[count] = i;
		count++;
	}
	return count;
}

static int64_t fault_root_get(void *store, void *ret_data, size_t cap, uint64_t *ret_version)
{
	struct fault_medium *medium = store;

	if (medium->root_len > cap)
		return -EMSGSIZE;
	if (medium->root_len > 0)
		memcpy(ret_data, medium->root, medium->root_len);
	*ret_version = medium->root_version;
	return (int64_t)medium->root_len;
}

static int fault_root_swap(void *store, uint64_t version, const void *data, size_t len)
{
	struct fault_medium *medium = store;
	bool failing;

	if (version != medium->root_version)
		return -ESTALE;
	if (len == 0 || len > FAULT_ROOT_BYTES)
		return -EINVAL;
	failing = fails(medium);
	if (failing && !medium->fails_late)
		return -EIO;
	moment(medium);
	free(medium->root);
	medium->root = malloc(len);
	assert(medium->root != NULL);
	memcpy(medium->root, data, len);
	medium->root_len = len;
	medium->root_version += !failing;
	moment(medium);
	return failing ? -EIO : 0;
}

static int append(struct fault_segment *segment, const struct blaze_store_request *request)
{
	if (request->offset != segment->len || request->len % FAULT_BLOCK != 0)
		return -EINVAL;
	if (request->len > FAULT_SEGMENT_BYTES - segment->len)
		return -EMSGSIZE;
	memcpy(segment->data + segment->len, request->data, request->len);
	segment->len += request->len;
	return 0;
}

/* One that fails has done its work all the same, for all that anyone knows. */
static int run(struct fault_medium *medium, const struct blaze_store_request *request)
{
	struct fault_segment *segment;
	bool failing = fails(medium);
	int error = 0;

	if (request->segment != medium->grows || request->segment >= FAULT_SEGMENTS)
		return -EINVAL;
	segment = segment_of(medium, request->segment);
	if (segment->failed)
		return -ECANCELED;
	if (request->operation == BLAZE_STORE_APPEND)
		error = append(segment, request);
	else if (request->operation != BLAZE_STORE_SYNC)
		error = -EINVAL;
	else if (!failing)
		segment->synced = segment->len;
	segment->failed = failing || error != 0;
	moment(medium);
	return failing ? -EIO : error;
}

static int fault_submit(void *store, const struct blaze_store_request *requests, unsigned count)
{
	struct fault_medium *medium = store;

	unsigned i;

	for (i = 0; i < count && medium->completion_count < FAULT_DUE_MAX; i++) {
		medium->completions[medium->completion_count].tag = requests[i].tag;
		medium->completions[medium->completion_count].result = run(medium, &requests[i]);
		medium->completion_count++;
	}
	return i > 0 ? (int)i : -EAGAIN;
}

static int fault_poll(void *store, struct blaze_store_completion *ret_completions, unsigned max)
{
	struct fault_medium *medium = store;
	unsigned count = medium->completion_count < max ? medium->completion_count : max;

	memcpy(ret_completions, medium->completions, count * sizeof(*ret_completions));
	medium->completion_count -= count;
	memmove(medium->completions, medium->completions + count,
	        medium->completion_count * sizeof(*ret_completions));
	return (int)count;
}

const struct blaze_store_ops fault_ops = {
	.struct_size = sizeof(fault_ops),
	.interface = BLAZE_STORE_INTERFACE,
	.open = fault_open,
	.close = fault_close,
	.geometry = fault_geometry,
	.segment_create = fault_create,
	.segment_seal = fault_seal,
	.segment_read = fault_read,
	.segment_delete = fault_delete,
	.segment_list = fault_list,
	.root_get = fault_root_get,
	.root_swap = fault_root_swap,
	.submit = fault_submit,
	.poll = fault_poll,
};

/* What becomes of one block that no sync has covered. */
static void block_spoil(struct fault_segment *segment, uint64_t at, uint32_t bytes, unsigned *seed)
{
	uint8_t *block = segment->data + at;

	switch (rand_r(seed) % 5) {
	case 0: /* lost */
		memset(block, 0, bytes);
		break;
	case 1: /* garbage */
		for (uint32_t i = 0; i < bytes; i++)
			block[i] = (uint8_t)rand_r(seed);
		break;
	case 2: /* stale, or misdirected */
		memmove(block, segment->data + (uint64_t)rand_r(seed) % (at / bytes + 1) * bytes,
		        bytes);
		break;
	default: /* kept */
		break;
	}
}

static void *copy_of(const void *data, size_t len)
{
	void *copy = malloc(len + 1);

	assert(copy != NULL);
	memcpy(copy, data, len);
	return copy;
}

void fault_kill(const struct fault_medium *medium, struct fault_medium *ret_copy)
{
	memset(ret_copy, 0, sizeof(*ret_copy));
	ret_copy->block_bytes = medium->block_bytes;
	for (unsigned i = 0; i < FAULT_SEGMENTS; i++) {
		const struct fault_segment *from = &medium->segments[i];

		if (!from->there && !from->gone)
			continue;
		ret_copy->segments[i] = *from;
		ret_copy->segments[i].data = copy_of(from->data, from->len);
	}
	if (medium->root_len > 0)
		ret_copy->root = copy_of(medium->root, medium->root_len);
	ret_copy->root_len = medium->root_len;
	ret_copy->root_version = medium->root_version;
}

void fault_crash(const struct fault_medium *medium, unsigned *seed, struct fault_medium *ret_copy)
{
	const uint32_t block = medium->block_bytes != 0 ? medium->block_bytes : FAULT_BLOCK;

	fault_kill(medium, ret_copy);
	for (unsigned i = 0; i < FAULT_SEGMENTS; i++) {
		struct fault_segment *to = &ret_copy->segments[i];
		const uint64_t loose = to->len - to->synced;

		if (to->data == NULL)
			continue;
		to->there = to->there || rand_r(seed) % 3 == 0;
		to->gone = !to->there;
		/* It does not grow any more: recovery opens a new one. */
		for (uint64_t at = to->synced; at < to->len; at += block)
			block_spoil(to, at, block, seed);
		if (rand_r(seed) % 4 == 0) /* nor is its length there */
			to->len = to->synced + loose / FAULT_BLOCK /
			                               (1 + (uint64_t)rand_r(seed) % 3) *
			                               FAULT_BLOCK;
		to->synced = to->len;
	}
}

void fault_clear(struct fault_medium *medium)
{
	for (unsigned i = 0; i < FAULT_SEGMENTS; i++)
		free(medium->segments[i].data);
	free(medium->root);
	memset(medium, 0, sizeof(*medium));
}
