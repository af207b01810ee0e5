/* SPDX-License-Identifier: Apache-2.0 */
/* How the backend "file:" writes and syncs the segment that grows: by io_uring, or by pwrite and
 * fdatasync. See engine.c. */
#ifndef BLAZEI_ENGINE_H
#define BLAZEI_ENGINE_H

#include <liburing.h>

#include "lib/base/base.h"

#define BLAZEI_ENGINE_DEPTH 64u

struct blazei_engine_entry {
	bool pending; /* queued or under way */
	bool write;
	const uint8_t *data; /* the caller's */
	uint64_t len;
	uint64_t offset;
	uint64_t tag;
};

struct blazei_engine {
	/* What is in use. */
	bool uring;
	bool files;  /* registered */
	bool fixed;  /* the bounce buffer is registered */
	bool link;   /* a sync waits in the kernel for the writes before it */
	bool direct; /* past the page cache, by way of the bounce buffer */
	bool ahead;  /* zeros are written ahead of the data */

	int fd;        /* of the segment that grows, the caller's; -1 */
	int direct_fd; /* of the same, with O_DIRECT; -1 */
	uint8_t *bounce;
	uint64_t bounce_used; /* by what is under way */
	struct io_uring ring;
	bool files_registered;
	unsigned queued;    /* in the ring, not submitted */
	unsigned under_way; /* submitted or queued */
	struct blazei_engine_entry entries[BLAZEI_ENGINE_DEPTH];
};

/* Chooses by BLAZE_STORE_ENGINE, and by what the kernel lets this process do. 0; -ENOMEM. */
int blazei_engine_init(struct blazei_engine *engine);
/* Nothing is under way; or this is a forked child. */
void blazei_engine_fini(struct blazei_engine *engine);

/* Takes another file, whose name in the directory this is; fd -1: none. Nothing is under way. */
void blazei_engine_use(struct blazei_engine *engine, int dir, const char *name, int fd);
/* Writes zeros. */
int blazei_engine_zero(struct blazei_engine *engine, uint64_t offset, uint64_t len);
/* Writes, or where that is not asked for syncs, and waits for it. */
int blazei_engine_run(struct blazei_engine *engine, const struct blazei_engine_entry *entry);

/* Of an engine with io_uring. At most BLAZEI_ENGINE_DEPTH are under way. A chain is what is queued
 * until it is submitted: each waits for the one before it, and is cancelled where that failed. */
void blazei_engine_queue(struct blazei_engine *engine, const struct blazei_engine_entry *entry);
int blazei_engine_submit(struct blazei_engine *engine);
/* Waits for one to end. Its entry; and 0 or an error, -ECANCELED: it did nothing. An error of the
 * waiting itself is returned; then, as where submitting fails, what is `pending` never ends. */
int blazei_engine_reap(struct blazei_engine *engine, struct blazei_engine_entry *ret_entry,
                       int *ret_result);

/* Writes or reads all of it; a write that is cut short goes on, and then says why. */
int blazei_write_all(int fd, const void *data, uint64_t len, uint64_t offset);

#endif
