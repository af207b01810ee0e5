/* SPDX-License-Identifier: Apache-2.0 */
/* Copying a store while it is written to.
 *
 * WHY    Segments only grow and the root is replaced as a whole: so a root that was read names what
 *        was durable then, and of the one segment that still grows each frame tells by itself
 *        whether it is whole. A copy therefore needs no lock and stops nobody. (Rejected: to copy
 *        files as they are, which would copy damage along, and tear where the writer is.)
 *
 * INVARIANTS
 *   I1   Each frame is checked before it is copied.
 *   I2   The copy gets its root last; before that it is no store.
 *   I3   The copy's root records the end of each segment: its reader has nothing to cut.
 *   I4   What is salvaged of a damaged store is an unbroken run of transactions from the first on:
 *        nothing depends on what is not there. */
#include "lib/store/backup.h"

#include <stdlib.h>

#include "lib/store/file.h"
#include "lib/store/log.h"
#include "lib/store/view.h"

#define COPY_BYTES (UINT64_C(1) << 20)

struct backup {
	bool salvage; /* damage is an end */
	struct blazei_store *from;
	void *to;
	uint8_t *data;
	struct blazei_frame_place place;
	uint64_t last;  /* LSN of the last transaction copied */
	uint64_t end;   /* of what was copied of the segment */
	uint64_t whole; /* and of its last frame that ends a transaction */
};

/* Appends to the copy's segment, or syncs it. */
static int request(struct backup *backup, enum blaze_store_operation operation, uint64_t len)
{
	const struct blaze_store_request append = {
		.operation = (uint32_t)operation,
		.segment = backup->place.segment,
		.offset = backup->end,
		.data = backup->data,
		.len = len,
	};
	struct blaze_store_completion completion;
	int n = blazei_file_ops.submit(backup->to, &append, 1);

	if (n == 1)
		n = blazei_file_ops.poll(backup->to, &completion, 1);
	return n == 1 ? completion.result : n < 0 ? n : -EIO;
}

/* The valid frames at the start of n bytes, which go on the copy: how many bytes. */
static uint64_t frames_count(struct backup *backup, uint64_t n)
{
	uint64_t at = 0;

	while (at < n) {
		const struct blazei_frame_header *frame = (const void *)(backup->data + at);
		int64_t bytes;

		backup->place.offset = backup->end + at;
		bytes = blazei_frame_check(frame, n - at, &backup->place);
		if (bytes < 0 || frame->first_lsn != backup->last + 1)
			break;
		/* A transaction in several frames counts in its last one, under one number. */
		backup->last += frame->count;
		at += (uint64_t)bytes;
		if ((frame->flags & BLAZEI_FRAME_MORE) == 0)
			backup->whole = backup->end + at;
	}
	return at;
}

/* 1: it is damaged, and copied as far as it is not; 0; or an error. */
static int segment_copy(struct backup *backup, struct blazei_root_segment *segment)
{
	bool open = segment->end == BLAZEI_SEGMENT_OPEN;
	uint64_t limit = open ? backup->from->geometry.segment_bytes : segment->end;
	int error = blazei_file_ops.segment_create(backup->to, segment->number);
	bool damaged;

	backup->place.segment = segment->number;
	backup->place.incarnation = segment->incarnation;
	backup->end = 0;
	backup->whole = 0;
	while (error == 0 && backup->end < limit) {
		uint64_t left = limit - backup->end, len;
		int64_t n = backup->from->ops->segment_read(backup->from->backend, segment->number,
		                                            backup->end, backup->data,
		                                            left < COPY_BYTES ? left : COPY_BYTES);

		if (n == -ENOENT || n == -EBADMSG)
			break;
		if (n < 0)
			return (int)n;
		len = frames_count(backup, (uint64_t)n);
		if (len == 0)
			break;
		error = request(backup, BLAZE_STORE_APPEND, len);
		backup->end += len;
	}
	damaged = error == 0 && !open && backup->whole != limit;
	if (damaged && !backup->salvage)
		error = -EBADMSG;
	if (error == 0 && backup->end > 0)
		error = request(backup, BLAZE_STORE_SYNC, 0);
	if (error == 0)
		error = blazei_file_ops.segment_seal(backup->to, segment->number, backup->whole);
	segment->end = backup->whole;
	return error == 0 ? damaged : error;
}

/* Whether the backup's directory has no store, and nothing of one. */
static int to_check(struct backup *backup)
{
	uint64_t segment, version;
	int64_t n = blazei_file_ops.root_get(backup->to, backup->data, COPY_BYTES, &version);

	if (n == 0)
		n = blazei_file_ops.segment_list(backup->to, &segment, 1);
	if (n == 0)
		return 0;
	return n > 0 || n == -EBADMSG || n == -EMSGSIZE ? -EEXIST : (int)n;
}

static int backup_run(struct backup *backup, uint64_t lsn)
{
	struct blazei_root *root = backup->from->root;
	uint64_t version;
	int64_t n;
	int error = to_check(backup);

	backup->place.store = root->store;
	for (uint32_t i = 0; i < root->segment_count && error == 0; i++) {
		error = segment_copy(backup, &root->segments[i]);
		if (error == 1)
			root->segment_count = i + 1;
	}
	if (error == 1)
		error = 0;
	if (error == 0 && backup->last < lsn)
		error = -EBADMSG;
	if (error != 0)
		return error;
	n = blazei_file_ops.root_get(backup->to, backup->data, COPY_BYTES, &version);
	if (n != 0)
		return n < 0 ? (int)n : -EEXIST;
	/* What the original has in memory is none of the copy's. */
	root->opened = 0;
	root->tail_nonce = 0;
	blazei_root_seal(root);
	return blazei_file_ops.root_swap(backup->to, version, root, blazei_root_bytes(root));
}

static int copy(struct backup *backup, const char *from, const char *to, uint64_t lsn)
{
	const struct blazei_store_options look = { .look = true };
	int error;

	backup->data = aligned_alloc(BLAZEI_FRAME_UNIT, COPY_BYTES);
	error = backup->data != NULL ? 0 : -ENOMEM;
	if (error == 0)
		error = blazei_store_open(&blazei_view_ops, from, &look, &backup->from);
	if (error == 0)
		error = blazei_file_ops.open(to, &backup->to);
	if (error == 0)
		error = backup_run(backup, lsn);
	if (backup->to != NULL)
		blazei_file_ops.close(backup->to);
	if (backup->from != NULL)
		(void)blazei_store_close(backup->from);
	free(backup->data);
	return error;
}

int blazei_store_backup(const char *from, const char *to, uint64_t lsn)
{
	struct backup backup = { .salvage = false };

	return copy(&backup, from, to, lsn);
}

int blazei_store_salvage(const char *from, const char *to, uint64_t *ret_lsn)
{
	struct backup backup = { .salvage = true };
	int error = copy(&backup, from, to, 0);

	if (error == 0)
		*ret_lsn = backup.last;
	return error;
}
