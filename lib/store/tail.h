/* SPDX-License-Identifier: Apache-2.0 */
/* The tail: the end of the log that the death of the process must not take, in memory that outlives
 * it.
 *
 * WHY    A commit that waits for no disk still has to survive a kill. A file on tmpfs does: writing
 *        to it is storing to memory, and its pages stay when the process goes. (Rejected: a mapped
 *        file on a disk, which freezes a writer while the kernel writes its page out, and kills it
 *        where the disk is full.) What a reboot leaves of it is nothing.
 *
 * LAYOUT blaze-format(5): a page of header, then a ring of entries, mapped twice back to back so
 *        that no entry wraps. Positions count bytes from the first one on and never go back.
 *
 * INVARIANTS
 *   I1   An entry's checksum is seeded with store, nonce and LSN: an entry of another store, of
 *        another opening, or of another place in the log does not pass.
 *   I2   Entries have consecutive LSNs, but where the log went around the tail: then all before was
 *        durable when the next one was put.
 *   I3   The ring is not written over what is not durable.
 *   I4   `last` in the header is stored behind its entry: whatever recovery finds less than that is
 *        lost, and known to be.
 *
 * CONCURRENCY  Its writer is the log, under the log's lock; the leader reads entries between head
 *        and end, which nobody writes.
 *
 * FAILURE  Two names take turns, by store and place of the store: so what a crash leaves is found
 *        by the next opening, and a copy of a store never removes the original's. */
#ifndef BLAZEI_STORE_TAIL_H
#define BLAZEI_STORE_TAIL_H

#include "lib/base/base.h"

#define BLAZEI_TAIL_MAGIC         0x545a4c42u /* "BLZT" */
#define BLAZEI_TAIL_VERSION       0
#define BLAZEI_TAIL_HEADER_BYTES  4096u
#define BLAZEI_TAIL_BYTES_DEFAULT (UINT64_C(16) << 20)

struct blazei_tail_header {
	uint32_t magic;
	uint16_t version;
	uint16_t reserved;
	struct blaze_id store;
	uint64_t nonce; /* of the opening that made it */
	uint64_t bytes; /* of the ring: a power of two */
	uint64_t hash;  /* XXH3-64 of all before */
	uint64_t reserved_too[2];
	_Atomic uint64_t last; /* LSN of the last entry; 0: none */
};

static_assert(offsetof(struct blazei_tail_header, store) == 8, "tail format");
static_assert(offsetof(struct blazei_tail_header, nonce) == 24, "tail format");
static_assert(offsetof(struct blazei_tail_header, bytes) == 32, "tail format");
static_assert(offsetof(struct blazei_tail_header, hash) == 40, "tail format");
static_assert(offsetof(struct blazei_tail_header, last) == 64, "tail format");

struct blazei_tail_entry {
	uint64_t hash; /* XXH3-64 of what follows the entry's head */
	uint64_t lsn;
};

static_assert(sizeof(struct blazei_tail_entry) == 16, "tail format");

/* Which one: what the root keeps of it. */
struct blazei_tail_name {
	uint64_t home; /* blazei_home_number of the store that made it */
	uint64_t nonce;
	unsigned turn; /* 0 or 1 */
};

struct blazei_tail {
	struct blazei_tail_header *header; /* NULL: there is none */
	uint8_t *data;
	uint64_t bytes;
	uint64_t seed;
	uint64_t head; /* position of the first entry that is not durable */
	uint64_t end;  /* and behind the last one */
};

/* The id of this boot, all zero where the system tells none. */
void blazei_boot_id(struct blaze_id *ret_boot);

/* Each takes the directory to use, NULL: the one of the rings.
 *
 * Makes an empty one, in the place of what has its name. -ENOSPC it is full; -ENODEV there is no
 * tmpfs; -EACCES and others from the system. */
int blazei_tail_create(const char *dir, const struct blazei_tail_name *name,
                       const struct blaze_id *store, uint64_t bytes, struct blazei_tail *ret_tail);
void blazei_tail_unlink(const char *dir, const struct blazei_tail_name *name);
/* Unmaps; what it holds stays. */
void blazei_tail_close(struct blazei_tail *tail);

/* Whether there is room for len bytes. */
static inline bool blazei_tail_fits(const struct blazei_tail *tail, uint64_t len)
{
	return tail->bytes - (tail->end - tail->head) >= len + sizeof(struct blazei_tail_entry);
}

/* Puts an entry, which fits: its length is in its first 4 bytes and a multiple of 8. */
void blazei_tail_put(struct blazei_tail *tail, uint64_t lsn, const void *data, size_t len);
/* Where entries are read: from position `at`, the next one with this LSN, to `end`. */
struct blazei_tail_cursor {
	uint64_t at;
	uint64_t end;
	uint64_t lsn;
};

/* Copies the next entry out to where there is room for as much as cap, and passes it: its length.
 * -ENOBUFS: it is longer; -EBADMSG: somebody else wrote there. */
int64_t blazei_tail_get(const struct blazei_tail *tail, struct blazei_tail_cursor *cursor,
                        void *ret_data, size_t cap);

/* Gets one entry, 8-byte aligned. A negative result ends the reading, which returns it. */
typedef int (*blazei_tail_visitor)(void *arg, const void *data, size_t len);

/* A private copy of a tail. Zero: there is none. */
struct blazei_tail_image {
	uint8_t *ring; /* twice */
	uint64_t bytes;
	uint64_t seed;
	uint64_t last;
};

/* Copies one that an earlier opening left, or that somebody writes to: then what is not durable
 * before the call is whole in the copy, or durable after it. -ENOENT there is none, or it is no
 * tail of this store and opening. Any other error says nothing of whether there is one: -EMFILE,
 * -EACCES its mode or owner is another, -ENOMEM and the like. */
int blazei_tail_load(const char *dir, const struct blazei_tail_name *name,
                     const struct blaze_id *store, struct blazei_tail_image *ret_image);
void blazei_tail_image_free(struct blazei_tail_image *image);
/* Gives the unbroken run of entries behind LSN `after`, and how many others there had been behind
 * that run. */
int blazei_tail_read(const struct blazei_tail_image *image, uint64_t after,
                     blazei_tail_visitor visitor, void *arg, uint64_t *ret_lost);

#endif
