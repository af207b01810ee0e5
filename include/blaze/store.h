/* SPDX-License-Identifier: Apache-2.0 */
/* Stores of a program's own: what a database is kept on; see blaze_store(3).
 *
 * A backend keeps segments, which only grow, and one root, which is replaced as a whole. The
 * library writes frames with checksums to segments and verifies whatever it reads, so a backend
 * need not look at the bytes. The library's own are "file:", a directory, and "mem:", memory.
 *
 * Threads: one thread at a time calls the operations of a store that was opened, not always the
 * same one; those of different stores are called at once. Every operation may block. Until version
 * 1.0 of the library this interface may change with each version. */
#ifndef BLAZE_STORE_H
#define BLAZE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include <blaze/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BLAZE_STORE_INTERFACE 0

/* What a database asks of a geometry at least. */
#define BLAZE_STORE_SEGMENT_BYTES_MIN (UINT64_C(32) << 20)
#define BLAZE_STORE_ROOT_BYTES_MIN    (UINT64_C(64) << 10)

struct blaze_store_geometry {
	uint32_t struct_size;
	uint32_t block_bytes;   /* written as a whole: a power of two from 512 to 4096 */
	uint64_t segment_bytes; /* the most that a segment takes: a multiple of 4096 */
	uint64_t root_bytes;    /* the most that the root takes */
	uint64_t room_bytes;    /* what there is room for by now, about; 0: not known */
};

enum blaze_store_operation {
	BLAZE_STORE_APPEND = 1, /* all of it or an error; durable with a later sync only */
	BLAZE_STORE_SYNC,       /* all appends to the segment before it become durable */
};

struct blaze_store_request {
	uint32_t operation; /* enum blaze_store_operation */
	uint32_t reserved;  /* 0 */
	uint64_t segment;   /* the one that was created last */
	uint64_t offset;    /* of an append: the end of the one before */
	const void *data;   /* stays as it is until the completion */
	uint64_t len;       /* a multiple of 4096 */
	uint64_t tag;       /* comes back with the completion */
};

struct blaze_store_completion {
	uint64_t tag;
	int32_t result; /* 0 or -errno; -ECANCELED: a request before it, of its segment, failed */
	uint32_t reserved;
};

/* Each returns 0, a count or a length, else -errno. */
struct blaze_store_ops {
	uint32_t struct_size;
	uint32_t interface; /* BLAZE_STORE_INTERFACE */
	/* location is what follows the scheme and its colon. -EBUSY: it is open. */
	int (*open)(const char *location, void **ret_store);
	/* Also in a forked child, for its copy: there it writes nothing and waits for nothing. */
	void (*close)(void *store);
	int (*geometry)(void *store, struct blaze_store_geometry *ret_geometry);
	/* Makes an empty segment, durable with its name, or none; -EEXIST. */
	int (*segment_create)(void *store, uint64_t segment);
	/* No more is appended; what lies behind end is dropped, all before it is durable. -ENOENT;
	 * -EBADMSG: it is shorter than that. */
	int (*segment_seal)(void *store, uint64_t segment, uint64_t end);
	/* Copies up to len bytes: less at the end of the segment. What was appended and not synced
	 * may read as anything. -ENOENT. */
	int64_t (*segment_read)(void *store, uint64_t segment, uint64_t offset, void *ret_data,
	                        size_t len);
	/* -ENOENT: there is none. */
	int (*segment_delete)(void *store, uint64_t segment);
	/* The numbers of all segments, each once, in any order; returns how many there are, which
	 * may be more than max. */
	int64_t (*segment_list)(void *store, uint64_t *ret_segments, size_t max);
	/* Copies the root; its length, 0 where none was ever set, -EMSGSIZE longer than cap. Its
	 * version, for root_swap. */
	int64_t (*root_get)(void *store, void *ret_data, size_t cap, uint64_t *ret_version);
	/* Replaces the root, as a whole and durably, if its version is still that; the version
	 * grows by one. -ESTALE: it is another. After another error either root may be there. */
	int (*root_swap)(void *store, uint64_t version, const void *data, size_t len);
	/* Takes requests, in order; the number taken, at least 1. */
	int (*submit)(void *store, const struct blaze_store_request *requests, unsigned count);
	/* Waits for at least one completion where any is due; the number given. */
	int (*poll)(void *store, struct blaze_store_completion *ret_completions, unsigned max);
};

/* Makes a backend known to the process, for good: blaze_db_open then takes "SCHEME:LOCATION". The
 * structure is copied. A scheme is 2 to 16 of a-z, 0-9, "+", "-" and ".", and begins with a letter.
 * Any thread; doesn't block. -EINVAL: a scheme that is none, an operation that is missing, a
 * struct_size too small; -EPROTO: another interface; -E2BIG: of a newer library; -EEXIST;
 * -ENOSPC: 32 are known. */
BLAZE_EXPORT int blaze_store_register(const char *scheme, const struct blaze_store_ops *ops);

#ifdef __cplusplus
}
#endif

#endif
