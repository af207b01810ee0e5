/* SPDX-License-Identifier: Apache-2.0 */
/* The backend "mem:": stores in the memory of this process, by name.
 *
 * WHY    A program's tests want a database that can be closed and opened again without a disk. So a
 *        store outlives its handle and ends with the process. (A database that needs no more than
 *        memory has no store at all: "mem:" without a name never comes here.)
 *
 * LAYOUT of a location: NAME, or NAME?limit=BYTES with K, M or G behind the digits. A limit holds
 *        from that open on, and counts the chunks of the segments and the root.
 *
 * INVARIANTS
 *   I1   What would exceed the limit is -ENOSPC and changes nothing; deleting a segment gives its
 *        chunks back.
 *   I2   A store of an ancestor is none of this process: a copy that went on under its identity
 *        would fork its history. So a child begins with none.
 *
 * CONCURRENCY  The attach lock, which a fork doesn't leave behind locked, guards the list and
 *        `open`; the rest belongs to whoever has the store open. */
#include "lib/store/mem.h"

#include <stdlib.h>

#include "lib/base/base.h"

#define BLOCK_BYTES    4096u
#define SEGMENT_BYTES  (UINT64_C(64) << 20)
#define ROOT_BYTES     (UINT64_C(64) << 10)
#define CHUNK_BYTES    (UINT64_C(256) << 10)
#define CHUNKS         (SEGMENT_BYTES / CHUNK_BYTES)
#define STORE_NAME_MAX 64u
#define DUE_MAX        64u

struct mem_segment {
	struct mem_segment *next;
	uint64_t number;
	uint64_t end; /* of what was appended */
	bool sealed;
	uint8_t *chunks[CHUNKS];
};

struct mem_store {
	struct mem_store *next;
	char name[STORE_NAME_MAX + 1];
	uint32_t fork_generation;
	bool open; /* attach lock */
	uint64_t limit;
	uint64_t used;
	struct mem_segment *segments; /* the newest first */
	uint8_t *root;
	size_t root_len;
	uint64_t root_version;
	unsigned due_count;
	struct blaze_store_completion due[DUE_MAX];
};

static struct mem_store *stores; /* attach lock */

/* Digits and a unit; 0: it is none. */
static uint64_t bytes_parse(const char *text)
{
	uint64_t bytes = 0;

	if (text[0] < '0' || text[0] > '9')
		return 0;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (bytes > (UINT64_C(1) << 40))
			return 0;
		bytes = bytes * 10 + (uint64_t)(*text - '0');
	}
	for (const char *unit = "GMK"; *unit != '\0'; unit++) {
		if (*text == *unit) {
			bytes <<= *unit == 'G' ? 30 : *unit == 'M' ? 20 : 10;
			text++;
			break;
		}
	}
	return *text == '\0' ? bytes : 0;
}

static int location_parse(const char *location, char ret_name[STORE_NAME_MAX + 1],
                          uint64_t *ret_limit)
{
	static const char option[] = "?limit=";
	size_t len = strcspn(location, "?");

	if (len > STORE_NAME_MAX)
		return -EINVAL;
	memcpy(ret_name, location, len);
	ret_name[len] = '\0';
	if (!blazei_name_valid(ret_name, STORE_NAME_MAX))
		return -EINVAL;
	*ret_limit = UINT64_MAX;
	if (location[len] == '\0')
		return 0;
	if (strncmp(location + len, option, sizeof(option) - 1) != 0)
		return -EINVAL;
	*ret_limit = bytes_parse(location + len + sizeof(option) - 1);
	return *ret_limit != 0 ? 0 : -EINVAL;
}

/* Finds the store or makes one; the attach lock is held. */
static struct mem_store *store_get(const char *name)
{
	struct mem_store *store = stores;

	while (store != NULL &&
	       (strcmp(store->name, name) != 0 || blazei_forked_since(store->fork_generation)))
		store = store->next;
	if (store != NULL)
		return store;
	store = calloc(1, sizeof(*store));
	if (store == NULL)
		return NULL;
	strcpy(store->name, name);
	/* Relaxed: it changes in a forked child only, before other code runs. */
	store->fork_generation =
	        atomic_load_explicit(&blazei_fork_generation, memory_order_relaxed);
	store->next = stores;
	stores = store;
	return store;
}

static int mem_open(const char *location, void **ret_store)
{
	char name[STORE_NAME_MAX + 1];
	struct mem_store *store;
	uint64_t limit;
	int error = location_parse(location, name, &limit);

	if (error == 0)
		error = blazei_fork_init();
	if (error != 0)
		return error;
	blazei_attach_lock();
	store = store_get(name);
	if (store == NULL) {
		error = -ENOMEM;
	} else if (store->open) {
		error = -EBUSY;
	} else {
		store->open = true;
		store->limit = limit;
		store->due_count = 0;
		*ret_store = store;
	}
	blazei_attach_unlock();
	return error;
}

static void mem_close(void *arg)
{
	struct mem_store *store = arg;

	/* A forked child's copy: nobody asks for it any more. */
	if (blazei_forked_since(store->fork_generation))
		return;
	blazei_attach_lock();
	store->open = false;
	blazei_attach_unlock();
}

static int mem_geometry(void *arg, struct blaze_store_geometry *ret_geometry)
{
	(void)arg;
	ret_geometry->block_bytes = BLOCK_BYTES;
	ret_geometry->segment_bytes = SEGMENT_BYTES;
	ret_geometry->root_bytes = ROOT_BYTES;
	return 0;
}

static struct mem_segment **segment_at(struct mem_store *store, uint64_t number)
{
	struct mem_segment **at = &store->segments;

	while (*at != NULL && (*at)->number != number)
		at = &(*at)->next;
	return at;
}

static int mem_segment_create(void *arg, uint64_t number)
{
	struct mem_store *store = arg;
	struct mem_segment *segment;

	if (*segment_at(store, number) != NULL)
		return -EEXIST;
	segment = calloc(1, sizeof(*segment));
	if (segment == NULL)
		return -ENOSPC;
	segment->number = number;
	segment->next = store->segments;
	store->segments = segment;
	return 0;
}

/* Frees the chunks that lie behind end. */
static void chunks_free(struct mem_store *store, struct mem_segment *segment, uint64_t end)
{
	for (uint64_t i = blazei_round_up(end, CHUNK_BYTES) / CHUNK_BYTES; i < CHUNKS; i++) {
		if (segment->chunks[i] != NULL)
			store->used -= CHUNK_BYTES;
		free(segment->chunks[i]);
		segment->chunks[i] = NULL;
	}
}

/* Has all chunks up to end. */
static int chunks_get(struct mem_store *store, struct mem_segment *segment, uint64_t end)
{
	for (uint64_t i = segment->end / CHUNK_BYTES; i * CHUNK_BYTES < end; i++) {
		if (segment->chunks[i] != NULL)
			continue;
		if (store->used + CHUNK_BYTES <= store->limit)
			segment->chunks[i] = malloc(CHUNK_BYTES);
		if (segment->chunks[i] == NULL) {
			chunks_free(store, segment, segment->end);
			return -ENOSPC;
		}
		store->used += CHUNK_BYTES;
	}
	return 0;
}

static int mem_segment_seal(void *arg, uint64_t number, uint64_t end)
{
	struct mem_segment *segment = *segment_at(arg, number);

	if (segment == NULL)
		return -ENOENT;
	if (segment->end < end)
		return -EBADMSG;
	segment->end = end;
	segment->sealed = true;
	chunks_free(arg, segment, end);
	return 0;
}

/* Copies between a segment and a buffer. */
static void segment_copy(struct mem_segment *segment, uint64_t offset, void *ret_data,
                         const void *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		uint8_t *chunk = segment->chunks[(offset + done) / CHUNK_BYTES];
		size_t at = (size_t)((offset + done) % CHUNK_BYTES);
		size_t n = CHUNK_BYTES - at < len - done ? CHUNK_BYTES - at : len - done;

		if (ret_data != NULL)
			memcpy((uint8_t *)ret_data + done, chunk + at, n);
		else
			memcpy(chunk + at, (const uint8_t *)data + done, n);
		done += n;
	}
}

static int64_t mem_segment_read(void *arg, uint64_t number, uint64_t offset, void *ret_data,
                                size_t len)
{
	struct mem_segment *segment = *segment_at(arg, number);

	if (segment == NULL)
		return -ENOENT;
	if (offset >= segment->end)
		return 0;
	if (len > segment->end - offset)
		len = segment->end - offset;
	segment_copy(segment, offset, ret_data, NULL, len);
	return (int64_t)len;
}

static int mem_segment_delete(void *arg, uint64_t number)
{
	struct mem_segment **at = segment_at(arg, number), *segment = *at;

	if (segment == NULL)
		return -ENOENT;
	*at = segment->next;
	chunks_free(arg, segment, 0);
	free(segment);
	return 0;
}

static int64_t mem_segment_list(void *arg, uint64_t *ret_segments, size_t max)
{
	const struct mem_store *store = arg;
	int64_t count = 0;

	for (const struct mem_segment *at = store->segments; at != NULL; at = at->next, count++)
		if ((uint64_t)count < max)
			ret_segments[count] = at->number;
	return count;
}

static int64_t mem_root_get(void *arg, void *ret_data, size_t cap, uint64_t *ret_version)
{
	const struct mem_store *store = arg;

	if (store->root_len > cap)
		return -EMSGSIZE;
	if (store->root_len > 0)
		memcpy(ret_data, store->root, store->root_len);
	*ret_version = store->root_version;
	return (int64_t)store->root_len;
}

static int mem_root_swap(void *arg, uint64_t version, const void *data, size_t len)
{
	struct mem_store *store = arg;
	uint8_t *root;

	if (version != store->root_version)
		return -ESTALE;
	if (len == 0 || len > ROOT_BYTES)
		return -EINVAL;
	root = store->used - store->root_len + len <= store->limit ? malloc(len) : NULL;
	if (root == NULL)
		return -ENOSPC;
	memcpy(root, data, len);
	free(store->root);
	store->used = store->used - store->root_len + len;
	store->root = root;
	store->root_len = len;
	store->root_version++;
	return 0;
}

static int append(struct mem_store *store, struct mem_segment *segment,
                  const struct blaze_store_request *request)
{
	int error;

	if (request->offset != segment->end || request->len % BLOCK_BYTES != 0)
		return -EINVAL;
	if (request->len > SEGMENT_BYTES - segment->end)
		return -EMSGSIZE;
	error = chunks_get(store, segment, segment->end + request->len);
	if (error != 0)
		return error;
	segment_copy(segment, segment->end, NULL, request->data, (size_t)request->len);
	segment->end += request->len;
	return 0;
}

/* The segment that was created last grows, until one request of it fails. */
static int request_run(struct mem_store *store, const struct blaze_store_request *request)
{
	struct mem_segment *segment = store->segments;
	int error = 0;

	if (segment == NULL || segment->number != request->segment)
		return -EINVAL;
	if (segment->sealed)
		return -ECANCELED;
	if (request->operation == BLAZE_STORE_APPEND)
		error = append(store, segment, request);
	else if (request->operation != BLAZE_STORE_SYNC)
		error = -EINVAL;
	segment->sealed = error != 0;
	return error;
}

static int mem_submit(void *arg, const struct blaze_store_request *requests, unsigned count)
{
	struct mem_store *store = arg;
	unsigned i;

	for (i = 0; i < count && store->due_count < DUE_MAX; i++)
		store->due[store->due_count++] = (struct blaze_store_completion){
			.tag = requests[i].tag,
			.result = request_run(store, &requests[i]),
		};
	return i > 0 ? (int)i : -EAGAIN;
}

static int mem_poll(void *arg, struct blaze_store_completion *ret_completions, unsigned max)
{
	struct mem_store *store = arg;
	unsigned count = store->due_count < max ? store->due_count : max;

	memcpy(ret_completions, store->due, count * sizeof(store->due[0]));
	store->due_count -= count;
	memmove(store->due, store->due + count, store->due_count * sizeof(store->due[0]));
	return (int)count;
}

const struct blaze_store_ops blazei_mem_ops = {
	.struct_size = sizeof(blazei_mem_ops),
	.interface = BLAZE_STORE_INTERFACE,
	.open = mem_open,
	.close = mem_close,
	.geometry = mem_geometry,
	.segment_create = mem_segment_create,
	.segment_seal = mem_segment_seal,
	.segment_read = mem_segment_read,
	.segment_delete = mem_segment_delete,
	.segment_list = mem_segment_list,
	.root_get = mem_root_get,
	.root_swap = mem_root_swap,
	.submit = mem_submit,
	.poll = mem_poll,
};
