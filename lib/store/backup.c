/* SPDX-License-Identifier: Apache-2.0 */
/* Copying a store while it is written to.
 *
 * WHY    Segments only grow and the root is replaced as a whole: so a root that was read names what
 *        was durable then, and of the one segment that still grows each frame tells by itself
 *        whether it is whole. A copy therefore needs no lock and stops nobody. (Rejected: to copy
 *        files as they are, which would copy damage along, and tear where the writer is.)
 *
 *        What was acknowledged but is in the tail only goes to the copy's log, as frames: a copy is
 *        kept and carried elsewhere, where that tail is not. The tail is read before the segments,
 *        so that what moves from the one to the others meanwhile is not missed.
 *
 * INVARIANTS
 *   I1   Each frame is checked before it is copied.
 *   I2   The copy gets its root last; before that it is no store.
 *   I3   The copy's root records the end of each segment: its reader has nothing to cut.
 *   I4   What is salvaged of a damaged store is an unbroken run of transactions from the first on:
 *        nothing depends on what is not there.
 *   I5   The copy has all that was kept, in frames or in the tail, when this began; where the tail
 *        is gone or damaged it counts a cut. */
#include "lib/store/backup.h"

#include <stdlib.h>

#include <blaze/db.h>

#include "lib/op/unit.h"
#include "lib/store/file.h"
#include "lib/store/log.h"
#include "lib/store/pack.h"
#include "lib/store/view.h"

#define COPY_BYTES (UINT64_C(1) << 20)
#define BUFFER_MAX (UINT64_C(1) << 32)
#define COPIES_MAX 8u

struct backup {
	bool salvage;                    /* damage is an end */
	const struct blazei_store *open; /* what is copied, where it is open; else NULL */
	struct blazei_store *from;
	void *to;
	uint8_t *data;
	struct blazei_frame_place place;
	uint64_t last;  /* LSN of the last transaction copied */
	uint64_t end;   /* of what was copied of the segment */
	uint64_t whole; /* and of its last frame that ends a transaction */
	struct blazei_tail_image tail;
	struct blazei_buffer entries; /* of the tail, for one append */
	struct blazei_buffer frames;  /* and as frames */
	struct blazei_packer packer;
	uint64_t entry_count;
	bool more; /* the tail goes to an open segment */
};

/* Appends to the copy's segment, which becomes durable where it is sealed. */
static int append(struct backup *backup, const void *data, uint64_t len)
{
	const struct blaze_store_request request = {
		.operation = BLAZE_STORE_APPEND,
		.segment = backup->place.segment,
		.offset = backup->end,
		.data = data,
		.len = len,
	};
	struct blaze_store_completion completion;
	int n = blazei_file_ops.submit(backup->to, &request, 1);

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
		if (bytes < 0)
			break;
		/* The log may begin with a segment whose beginning counts no more. */
		if (backup->last == 0 && frame->first_lsn != 0 &&
		    frame->first_lsn <= backup->from->root->start)
			backup->last = frame->first_lsn - 1;
		if (frame->first_lsn != backup->last + 1)
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
		error = append(backup, backup->data, len);
		backup->end += len;
	}
	damaged = error == 0 && !open && backup->whole != limit;
	if (damaged && !backup->salvage)
		error = -EBADMSG;
	if (error == 0)
		error = blazei_file_ops.segment_seal(backup->to, segment->number, backup->whole);
	segment->end = backup->whole;
	return error == 0 ? damaged : error;
}

/* What the tail has --------------------------------------------------------------------------- */

/* Ends the segment that takes it, if there is one. */
static int segment_end(struct backup *backup)
{
	struct blazei_root *root = backup->from->root;
	int error;

	if (!backup->more)
		return 0;
	backup->more = false;
	error = blazei_file_ops.segment_seal(backup->to, backup->place.segment, backup->end);
	root->segments[root->segment_count - 1].end = backup->end;
	return error;
}

static int segment_next(struct backup *backup)
{
	struct blazei_root *root = backup->from->root;
	int error = segment_end(backup);

	if (error == 0 && root->segment_count == BLAZEI_ROOT_SEGMENTS_MAX)
		error = -ENOSPC;
	if (error == 0)
		error = blazei_random(&backup->place.incarnation,
		                      sizeof(backup->place.incarnation));
	backup->place.segment = root->next_segment;
	if (error == 0)
		error = blazei_file_ops.segment_create(backup->to, backup->place.segment);
	if (error != 0)
		return error;
	root->segments[root->segment_count++] = (struct blazei_root_segment){
		.number = root->next_segment++,
		.incarnation = backup->place.incarnation,
	};
	backup->end = 0;
	backup->more = true;
	return 0;
}

/* Makes frames of the entries that were taken, where there is room for them. */
static int entries_write(struct backup *backup)
{
	const struct blazei_chunk chunk = {
		.data = backup->entries.data,
		.len = backup->entries.len,
		.first_lsn = backup->last + 1,
		.count = backup->entry_count,
	};
	int error = 0;

	if (chunk.count == 0)
		return 0;
	for (unsigned i = 0; i < 2; i++) {
		if (!backup->more || i > 0)
			error = segment_next(backup);
		backup->place.offset = backup->end;
		if (error == 0)
			error = blazei_pack(&backup->packer, &backup->place, 0, &chunk,
			                    &backup->frames);
		if (error != 0 || backup->frames.len <= BLAZEI_FILE_SEGMENT_BYTES - backup->end)
			break;
	}
	if (error == 0)
		error = append(backup, backup->frames.data, backup->frames.len);
	backup->end += backup->frames.len;
	backup->last += chunk.count;
	backup->entries.len = 0;
	backup->entry_count = 0;
	return error;
}

static int entry_take(void *arg, const void *entry, size_t len)
{
	struct backup *backup = arg;
	int error = 0;

	if (blazei_logged_check(entry, len) != 0)
		return -EBADMSG;
	if (backup->entries.len >= COPY_BYTES)
		error = entries_write(backup);
	if (error == 0)
		error = blazei_buffer_append(&backup->entries, entry, len);
	backup->entry_count += error == 0;
	return error;
}

/* A tail that is gone or damaged is a loss that the copy has to tell of, as the next opening of the
 * original would: the copy says of itself that it was closed. */
static int tail_copy(struct backup *backup)
{
	struct blazei_root *root = backup->from->root;
	const bool gone = root->opened == BLAZE_DURABILITY_ASYNC && backup->tail.ring == NULL;
	uint64_t lost = 0;
	int error = 0;

	if (backup->tail.ring != NULL)
		error = blazei_tail_read(&backup->tail, backup->last, entry_take, backup, &lost);
	root->cuts += gone || lost > 0 || error == -EBADMSG;
	if (error == -EBADMSG && backup->salvage)
		error = 0;
	if (error == 0)
		error = entries_write(backup);
	return error == 0 ? segment_end(backup) : error;
}

/* Whether the backup's directory has a root, or one that can't be read. */
static bool to_rooted(struct backup *backup)
{
	uint64_t version;

	return blazei_file_ops.root_get(backup->to, backup->data, COPY_BYTES, &version) != 0;
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
	int error = 0;

	backup->place.store = root->store;
	backup->last = 0;
	for (uint32_t i = 0; i < root->segment_count && error == 0; i++) {
		error = segment_copy(backup, &root->segments[i]);
		if (error == 1)
			root->segment_count = i + 1;
	}
	if (error == 1)
		error = 0;
	if (error == 0)
		error = tail_copy(backup);
	if (error == 0 && backup->last < lsn)
		error = -EBADMSG;
	if (error != 0)
		return error;
	n = blazei_file_ops.root_get(backup->to, backup->data, COPY_BYTES, &version);
	if (n != 0)
		return n < 0 ? (int)n : -EEXIST;
	/* The tail of the original is none of the copy's. */
	root->opened = 0;
	root->tail_nonce = 0;
	blazei_root_seal(root);
	return blazei_file_ops.root_swap(backup->to, version, root, blazei_root_bytes(root));
}

/* Takes back what was copied. */
static void copies_delete(struct backup *backup)
{
	uint64_t numbers[64];
	int64_t n;

	backup->more = false;
	backup->entries.len = 0;
	backup->entry_count = 0;
	while ((n = blazei_file_ops.segment_list(backup->to, numbers, 64)) > 0)
		for (int64_t i = 0; i < n && i < 64; i++)
			if (blazei_file_ops.segment_delete(backup->to, numbers[i]) != 0)
				return;
}

/* Whether the directory is still the one that was opened: it may have been moved, and another
 * store may have its path. */
static int place_check(const struct backup *backup)
{
	const struct blazei_store *open = backup->open, *from = backup->from;

	if (open == NULL || open->home == from->home)
		return 0;
	blazei_log(BLAZE_LOG_ERROR,
	           "store %s: what is there now is another directory than the one that is open: "
	           "no copy is made",
	           open->location);
	return -ENOENT;
}

static int copy_once(struct backup *backup, const char *from, const char *to, uint64_t lsn)
{
	const struct blazei_store_options look = { .look = true };
	int error = blazei_store_open(&blazei_view_ops, from, &look, &backup->from);

	if (error == 0)
		error = place_check(backup);
	if (error == 0)
		error = blazei_store_settle(backup->from, backup->salvage, &backup->tail);
	if (error == 0 && backup->to == NULL)
		error = blazei_file_ops.open(to, &backup->to);
	if (error == 0)
		error = to_check(backup);
	if (error == 0) {
		error = backup_run(backup, lsn);
		/* So that it can be tried again; with a root it is a database. */
		if (error != 0 && !to_rooted(backup))
			copies_delete(backup);
	}
	if (backup->from != NULL)
		(void)blazei_store_close(backup->from);
	backup->from = NULL;
	blazei_tail_image_free(&backup->tail);
	return error;
}

/* Where the store is compacted meanwhile, from the beginning again. */
static int copy(struct backup *backup, const char *from, const char *to, uint64_t lsn)
{
	int error = -ESTALE;

	backup->entries.max = backup->frames.max = BUFFER_MAX;
	backup->data = aligned_alloc(BLAZEI_FRAME_UNIT, COPY_BYTES);
	if (backup->data == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < COPIES_MAX && error == -ESTALE; i++)
		error = copy_once(backup, from, to, lsn);
	if (backup->to != NULL)
		blazei_file_ops.close(backup->to);
	blazei_buffer_free(&backup->entries);
	blazei_buffer_free(&backup->frames);
	blazei_packer_fini(&backup->packer);
	free(backup->data);
	return error == -ESTALE ? -EAGAIN : error;
}

int blazei_store_backup(const char *from, const char *to, uint64_t lsn)
{
	struct backup backup = { .salvage = false };

	return copy(&backup, from, to, lsn);
}

int blazei_store_backup_open(const struct blazei_store *open, const char *to, uint64_t lsn)
{
	struct backup backup = { .open = open };

	return copy(&backup, open->location, to, lsn);
}

int blazei_store_salvage(const char *from, const char *to, uint64_t *ret_lsn)
{
	struct backup backup = { .salvage = true };
	int error = copy(&backup, from, to, 0);

	if (error == 0)
		*ret_lsn = backup.last;
	return error;
}
