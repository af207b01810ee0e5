/* SPDX-License-Identifier: Apache-2.0 */
/* What a store is kept on: the operations of a backend.
 *
 * In this version there is one backend, "file:", and programs can't add theirs, so this header is
 * not public. */
#ifndef BLAZEI_BACKEND_H
#define BLAZEI_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#include <blaze/base.h>

#define BLAZE_STORE_INTERFACE 0 /* version; may change until 1.0 of the library */

struct blaze_store_geometry {
	uint32_t struct_size;
	uint32_t block_bytes;   /* appends are multiples of it: a power of two, at most 4096 */
	uint64_t segment_bytes; /* the most that a segment takes */
	uint64_t root_bytes;    /* the most that the root takes */
};

enum blaze_store_operation {
	BLAZE_STORE_APPEND = 1, /* all of it or an error; durable with a later sync only */
	BLAZE_STORE_SYNC,       /* all appends to the segment before it become durable */
};

struct blaze_store_request {
	uint32_t operation;
	uint32_t reserved; /* 0 */
	uint64_t segment;
	uint64_t offset;  /* of an append: the end of the one before */
	const void *data; /* stays as it is until the completion */
	uint64_t len;
	uint64_t tag; /* comes back with the completion */
};

struct blaze_store_completion {
	uint64_t tag;
	int32_t result; /* 0 or -errno; -ECANCELED: a request before it, of its segment, failed */
	uint32_t reserved;
};

/* One thread at a time uses a store, which is what open makes. Every call returns 0 or a count,
 * else -errno. */
struct blaze_store_ops {
	uint32_t struct_size;
	uint32_t interface; /* BLAZE_STORE_INTERFACE */
	/* location is what follows the scheme. -EBUSY: somebody has it open. */
	int (*open)(const char *location, void **ret_store);
	void (*close)(void *store);
	int (*geometry)(void *store, struct blaze_store_geometry *ret_geometry);
	/* Makes an empty segment, durable with its name; -EEXIST. */
	int (*segment_create)(void *store, uint64_t segment);
	/* No more is appended; what lies behind end is dropped, all before it is durable. */
	int (*segment_seal)(void *store, uint64_t segment, uint64_t end);
	/* Copies up to len bytes: less at the end of the segment. What was appended and not synced
	 * may read as anything. -ENOENT. */
	int64_t (*segment_read)(void *store, uint64_t segment, uint64_t offset, void *ret_data,
	                        size_t len);
	/* -ENOENT: there is none. */
	int (*segment_delete)(void *store, uint64_t segment);
	/* The numbers of all segments, in any order; returns how many there are, which may be more
	 * than max. */
	int64_t (*segment_list)(void *store, uint64_t *ret_segments, size_t max);
	/* Copies the root; its length, 0 where none was ever set, -EMSGSIZE longer than cap. Its
	 * version, for root_swap. */
	int64_t (*root_get)(void *store, void *ret_data, size_t cap, uint64_t *ret_version);
	/* Replaces the root, as a whole and durably, if its version is still that; -ESTALE. After
	 * another error either root may be there. */
	int (*root_swap)(void *store, uint64_t version, const void *data, size_t len);
	/* Takes requests, in order; the number taken, at least 1. */
	int (*submit)(void *store, const struct blaze_store_request *requests, unsigned count);
	/* Waits for at least one completion where any is due; the number given. */
	int (*poll)(void *store, struct blaze_store_completion *ret_completions, unsigned max);
};

#endif
