/* SPDX-License-Identifier: Apache-2.0 */
/* What stands between the library and a backend, which may be a program's own.
 *
 * WHY    A backend's answers are outside input like a file's bytes: a length beyond what was asked
 *        for, a completion of nothing, or of the same thing twice, would have the library read
 *        what is not there or take for durable what is not. Here each answer is compared with what
 *        the interface allows, so that no other code has to ask.
 *
 * INVARIANTS
 *   I1   A backend that broke the interface once is not called any more, except to be closed: all
 *        later calls return -EBADMSG. The log hook gets the reason, once.
 *   I2   The backend gets tags of this file's making, each at most once at a time, so a completion
 *        can be told from one that was given before.
 *
 * CONCURRENCY  As the backend's: one thread at a time. */
#include "lib/store/checked.h"

#include <stdlib.h>

#include "lib/base/base.h"

#define DUE_MAX           64u
#define ERRNO_MAX         4095
#define BLOCK_MIN         512u
#define BLOCK_MAX         4096u
#define SEGMENT_BYTES_MIN (UINT64_C(1) << 20) /* of any store; a database wants more */
#define SEGMENT_BYTES_MAX (UINT64_C(1) << 40)

struct checked {
	const struct blaze_store_ops *ops;
	void *store;
	bool broken;
	struct blaze_store_geometry geometry; /* the last one; struct_size 0: none yet */
	unsigned due_count;
	uint64_t round; /* tags ever given */
	struct {
		uint64_t tag;   /* that the backend has; 0: free */
		uint64_t outer; /* the caller's */
	} due[DUE_MAX];
};

static int broke(struct checked *checked, const char *what)
{
	if (!checked->broken)
		blazei_log(BLAZE_LOG_ERROR, "a store's backend is not used any more: %s", what);
	checked->broken = true;
	return -EBADMSG;
}

/* An answer that is 0 to max or an error. */
static int64_t answer(struct checked *checked, int64_t rc, uint64_t max, const char *what)
{
	if (rc >= 0 ? (uint64_t)rc <= max : rc >= -ERRNO_MAX)
		return rc;
	return broke(checked, what);
}

int blazei_checked_open(const struct blaze_store_ops *ops, const char *location, void **ret_store)
{
	struct checked *checked = calloc(1, sizeof(*checked));
	int error;

	if (checked == NULL)
		return -ENOMEM;
	checked->ops = ops;
	error = (int)answer(checked, ops->open(location, &checked->store), 0,
	                    "open returned what is no error");
	if (error != 0) {
		free(checked);
		return error;
	}
	*ret_store = checked;
	return 0;
}

static void checked_close(void *arg)
{
	struct checked *checked = arg;

	checked->ops->close(checked->store);
	free(checked);
}

static bool geometry_valid(const struct blaze_store_geometry *geometry)
{
	uint32_t block = geometry->block_bytes;

	return block >= BLOCK_MIN && block <= BLOCK_MAX && (block & (block - 1)) == 0 &&
	       geometry->segment_bytes >= SEGMENT_BYTES_MIN &&
	       geometry->segment_bytes <= SEGMENT_BYTES_MAX &&
	       geometry->segment_bytes % BLOCK_MAX == 0 &&
	       geometry->root_bytes >= BLAZE_STORE_ROOT_BYTES_MIN;
}

/* What is to stay the same does. */
static bool geometry_same(const struct blaze_store_geometry *before,
                          const struct blaze_store_geometry *geometry)
{
	return before->struct_size == 0 || (before->block_bytes == geometry->block_bytes &&
	                                    before->segment_bytes == geometry->segment_bytes &&
	                                    before->root_bytes == geometry->root_bytes);
}

static int checked_geometry(void *arg, struct blaze_store_geometry *ret_geometry)
{
	struct checked *checked = arg;
	struct blaze_store_geometry geometry = { .struct_size = sizeof(geometry) };
	int error;

	if (checked->broken)
		return -EBADMSG;
	error = (int)answer(checked, checked->ops->geometry(checked->store, &geometry), 0,
	                    "geometry returned what is no error");
	if (error == 0 && !geometry_valid(&geometry))
		error = broke(checked, "its geometry is out of range");
	if (error == 0 && !geometry_same(&checked->geometry, &geometry))
		error = broke(checked, "its geometry changes");
	if (error == 0)
		checked->geometry = *ret_geometry = geometry;
	return error;
}

static int checked_create(void *arg, uint64_t segment)
{
	struct checked *checked = arg;

	if (checked->broken)
		return -EBADMSG;
	return (int)answer(checked, checked->ops->segment_create(checked->store, segment), 0,
	                   "segment_create returned what is no error");
}

static int checked_seal(void *arg, uint64_t segment, uint64_t end)
{
	struct checked *checked = arg;

	if (checked->broken)
		return -EBADMSG;
	return (int)answer(checked, checked->ops->segment_seal(checked->store, segment, end), 0,
	                   "segment_seal returned what is no error");
}

static int64_t checked_read(void *arg, uint64_t segment, uint64_t offset, void *ret_data,
                            size_t len)
{
	struct checked *checked = arg;

	if (checked->broken)
		return -EBADMSG;
	return answer(checked,
	              checked->ops->segment_read(checked->store, segment, offset, ret_data, len),
	              len, "segment_read returned more than was asked for");
}

static int checked_delete(void *arg, uint64_t segment)
{
	struct checked *checked = arg;

	if (checked->broken)
		return -EBADMSG;
	return (int)answer(checked, checked->ops->segment_delete(checked->store, segment), 0,
	                   "segment_delete returned what is no error");
}

static int number_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* What comes is sorted. */
static int64_t checked_list(void *arg, uint64_t *ret_segments, size_t max)
{
	struct checked *checked = arg;
	int64_t count;

	if (checked->broken)
		return -EBADMSG;
	count = answer(checked, checked->ops->segment_list(checked->store, ret_segments, max),
	               INT64_MAX, "segment_list returned what is no error");
	if (count <= 1 || max <= 1)
		return count;
	if ((uint64_t)count < max)
		max = (size_t)count;
	qsort(ret_segments, max, sizeof(*ret_segments), number_compare);
	for (size_t i = 1; i < max; i++)
		if (ret_segments[i] == ret_segments[i - 1])
			return broke(checked, "segment_list names a segment twice");
	return count;
}

static int64_t checked_root_get(void *arg, void *ret_data, size_t cap, uint64_t *ret_version)
{
	struct checked *checked = arg;

	if (checked->broken)
		return -EBADMSG;
	return answer(checked, checked->ops->root_get(checked->store, ret_data, cap, ret_version),
	              cap, "root_get returned more than there was room for");
}

static int checked_root_swap(void *arg, uint64_t version, const void *data, size_t len)
{
	struct checked *checked = arg;

	if (checked->broken)
		return -EBADMSG;
	return (int)answer(checked, checked->ops->root_swap(checked->store, version, data, len), 0,
	                   "root_swap returned what is no error");
}

/* Notes up to `count` requests in free places, with tags of their own. */
static unsigned due_add(struct checked *checked, struct blaze_store_request *inner,
                        const struct blaze_store_request *requests, unsigned count)
{
	unsigned taken = 0;

	for (unsigned i = 0; i < DUE_MAX && taken < count; i++) {
		if (checked->due[i].tag != 0)
			continue;
		checked->due[i].tag = ++checked->round * DUE_MAX + i;
		checked->due[i].outer = requests[taken].tag;
		inner[taken] = requests[taken];
		inner[taken].tag = checked->due[i].tag;
		taken++;
	}
	checked->due_count += taken;
	return taken;
}

static void due_drop(struct checked *checked, uint64_t tag)
{
	checked->due[tag % DUE_MAX].tag = 0;
	checked->due_count--;
}

static int checked_submit(void *arg, const struct blaze_store_request *requests, unsigned count)
{
	struct checked *checked = arg;
	struct blaze_store_request inner[DUE_MAX];
	unsigned noted;
	int taken;

	if (checked->broken)
		return -EBADMSG;
	noted = due_add(checked, inner, requests, count);
	if (noted == 0)
		return -EAGAIN;
	taken = (int)answer(checked, checked->ops->submit(checked->store, inner, noted), noted,
	                    "submit took more than it was given");
	if (taken == 0)
		taken = broke(checked, "submit took nothing");
	for (unsigned i = taken > 0 ? (unsigned)taken : 0; i < noted; i++)
		due_drop(checked, inner[i].tag);
	return taken;
}

/* Gives the completion its caller's tag. */
static int completion_check(struct checked *checked, struct blaze_store_completion *completion)
{
	unsigned i = (unsigned)(completion->tag % DUE_MAX);

	if (completion->tag == 0 || checked->due[i].tag != completion->tag)
		return broke(checked, "poll gave a completion of nothing that is under way");
	if (completion->result > 0 || completion->result < -ERRNO_MAX)
		return broke(checked, "poll gave a result that is no error");
	due_drop(checked, completion->tag);
	completion->tag = checked->due[i].outer;
	return 0;
}

static int checked_poll(void *arg, struct blaze_store_completion *ret_completions, unsigned max)
{
	struct checked *checked = arg;
	int count, error = 0;

	if (checked->broken)
		return -EBADMSG;
	if (checked->due_count == 0)
		return 0;
	count = (int)answer(checked, checked->ops->poll(checked->store, ret_completions, max), max,
	                    "poll gave more than there was room for");
	if (count < 0) {
		/* By the interface, all that was under way has ended. */
		memset(checked->due, 0, sizeof(checked->due));
		checked->due_count = 0;
		return count;
	}
	if (count == 0)
		count = broke(checked, "poll gave nothing, though something is under way");
	for (int i = 0; i < count && error == 0; i++)
		error = completion_check(checked, &ret_completions[i]);
	return error == 0 ? count : error;
}

const struct blaze_store_ops blazei_checked_ops = {
	.struct_size = sizeof(blazei_checked_ops),
	.interface = BLAZE_STORE_INTERFACE,
	.close = checked_close,
	.geometry = checked_geometry,
	.segment_create = checked_create,
	.segment_seal = checked_seal,
	.segment_read = checked_read,
	.segment_delete = checked_delete,
	.segment_list = checked_list,
	.root_get = checked_root_get,
	.root_swap = checked_root_swap,
	.submit = checked_submit,
	.poll = checked_poll,
};
