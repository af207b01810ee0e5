/* SPDX-License-Identifier: Apache-2.0 */
/* The example of blaze_store(3): a backend of a program's own, and a database kept on it. This one
 * is a shelf in the program's memory, so all is durable as soon as it is there. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <blaze/blaze.h>

#define SEGMENT_BYTES (UINT64_C(32) << 20)
#define ROOT_BYTES    (UINT64_C(64) << 10)

struct segment {
	struct segment *next;
	uint64_t number, len;
	bool ended; /* sealed, or something failed: nothing is added */
	uint8_t *data;
};

static struct {
	bool open;
	uint8_t root[ROOT_BYTES];
	size_t root_len;
	uint64_t root_version;
	struct segment *newest;
	struct blaze_store_completion due[16];
	unsigned due_count;
} shelf;

static int shelf_open(const char *location, void **ret_store)
{
	if (shelf.open)
		return -EBUSY;
	printf("shelf %s\n", location);
	shelf.open = true;
	*ret_store = &shelf;
	return 0;
}

static void shelf_close(void *store)
{
	(void)store;
	shelf.open = false;
	shelf.due_count = 0;
}

static int shelf_geometry(void *store, struct blaze_store_geometry *ret_geometry)
{
	(void)store;
	ret_geometry->block_bytes = 512;
	ret_geometry->segment_bytes = SEGMENT_BYTES;
	ret_geometry->root_bytes = ROOT_BYTES;
	return 0;
}

static struct segment **find(uint64_t number)
{
	struct segment **at = &shelf.newest;

	while (*at != NULL && (*at)->number != number)
		at = &(*at)->next;
	return at;
}

static int shelf_create(void *store, uint64_t number)
{
	struct segment *segment;

	(void)store;
	if (*find(number) != NULL)
		return -EEXIST;
	segment = calloc(1, sizeof(*segment));
	if (segment == NULL)
		return -ENOSPC;
	segment->number = number;
	segment->next = shelf.newest;
	shelf.newest = segment;
	return 0;
}

static int shelf_seal(void *store, uint64_t number, uint64_t end)
{
	struct segment *segment = *find(number);

	(void)store;
	if (segment == NULL)
		return -ENOENT;
	if (segment->len < end)
		return -EBADMSG;
	segment->len = end;
	segment->ended = true;
	return 0;
}

static int64_t shelf_read(void *store, uint64_t number, uint64_t offset, void *ret_data, size_t len)
{
	const struct segment *segment = *find(number);

	(void)store;
	if (segment == NULL)
		return -ENOENT;
	if (offset >= segment->len)
		return 0;
	if (len > segment->len - offset)
		len = segment->len - offset;
	memcpy(ret_data, segment->data + offset, len);
	return (int64_t)len;
}

static int shelf_delete(void *store, uint64_t number)
{
	struct segment **at = find(number), *segment = *at;

	(void)store;
	if (segment == NULL)
		return -ENOENT;
	*at = segment->next;
	free(segment->data);
	free(segment);
	return 0;
}

static int64_t shelf_list(void *store, uint64_t *ret_segments, size_t max)
{
	size_t count = 0;

	(void)store;
	for (const struct segment *at = shelf.newest; at != NULL; at = at->next, count++)
		if (count < max)
			ret_segments[count] = at->number;
	return (int64_t)count;
}

static int64_t shelf_root_get(void *store, void *ret_data, size_t cap, uint64_t *ret_version)
{
	(void)store;
	if (shelf.root_len > cap)
		return -EMSGSIZE;
	memcpy(ret_data, shelf.root, shelf.root_len);
	*ret_version = shelf.root_version;
	return (int64_t)shelf.root_len;
}

static int shelf_root_swap(void *store, uint64_t version, const void *data, size_t len)
{
	(void)store;
	if (version != shelf.root_version)
		return -ESTALE;
	if (len == 0 || len > ROOT_BYTES)
		return -EINVAL;
	memcpy(shelf.root, data, len);
	shelf.root_len = len;
	shelf.root_version++;
	return 0;
}

static int append(struct segment *segment, const struct blaze_store_request *request)
{
	uint8_t *data;

	if (request->offset != segment->len || request->len % 4096 != 0)
		return -EINVAL;
	if (request->len > SEGMENT_BYTES - segment->len)
		return -EMSGSIZE;
	data = realloc(segment->data, segment->len + request->len);
	if (data == NULL)
		return -ENOSPC;
	memcpy(data + segment->len, request->data, request->len);
	segment->data = data;
	segment->len += request->len;
	return 0;
}

/* A sync has nothing to do here. */
static int run(const struct blaze_store_request *request)
{
	struct segment *segment = shelf.newest;
	int error = 0;

	if (segment == NULL || segment->number != request->segment)
		return -EINVAL;
	if (segment->ended)
		return -ECANCELED;
	if (request->operation == BLAZE_STORE_APPEND)
		error = append(segment, request);
	else if (request->operation != BLAZE_STORE_SYNC)
		error = -EINVAL;
	segment->ended = error != 0;
	return error;
}

static int shelf_submit(void *store, const struct blaze_store_request *requests, unsigned count)
{
	unsigned taken = 0;

	(void)store;
	while (taken < count && shelf.due_count < 16) {
		shelf.due[shelf.due_count].tag = requests[taken].tag;
		shelf.due[shelf.due_count++].result = run(&requests[taken]);
		taken++;
	}
	return taken > 0 ? (int)taken : -EAGAIN;
}

static int shelf_poll(void *store, struct blaze_store_completion *ret_completions, unsigned max)
{
	unsigned count = 0;

	(void)store;
	while (count < max && shelf.due_count > 0)
		ret_completions[count++] = shelf.due[--shelf.due_count];
	return (int)count;
}

static const struct blaze_store_ops shelf_ops = {
	.struct_size = sizeof(shelf_ops),
	.interface = BLAZE_STORE_INTERFACE,
	.open = shelf_open,
	.close = shelf_close,
	.geometry = shelf_geometry,
	.segment_create = shelf_create,
	.segment_seal = shelf_seal,
	.segment_read = shelf_read,
	.segment_delete = shelf_delete,
	.segment_list = shelf_list,
	.root_get = shelf_root_get,
	.root_swap = shelf_root_swap,
	.submit = shelf_submit,
	.poll = shelf_poll,
};

int main(void)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	const struct blaze_id id = { { 1 } };
	struct blaze_db *db;
	char value[8];
	int r = blaze_store_register("shelf", &shelf_ops);

	options.durability = BLAZE_DURABILITY_SYNC;
	options.store = "shelf:top";
	/* Written in one life of the database, read in the next. */
	if (r == 0)
		r = blaze_db_open("books", NULL, &options, &db);
	if (r == 0) {
		r = blaze_db_put(db, &id, "Emma", 5);
		blaze_db_close(db);
	}
	if (r == 0)
		r = blaze_db_open("books", NULL, &options, &db);
	if (r == 0) {
		r = blaze_db_fetch(db, &id, value, sizeof(value));
		blaze_db_close(db);
	}
	if (r < 0)
		fprintf(stderr, "%s\n", blaze_strerror(r));
	else
		printf("%s\n", value);
	while (shelf.newest != NULL)
		shelf_delete(&shelf, shelf.newest->number);
	return r == 5 ? 0 : 1;
}
