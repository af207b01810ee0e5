/* SPDX-License-Identifier: Apache-2.0 */
/* A store's directory for those who only look.
 *
 * WHY    A copy on a medium that can't be written, a store that somebody has open, a damaged one
 *        that is to stay as it is: all are read by the same recovery that opens a store, so that
 *        there is one judge of what is torn and what is corrupt. What recovery would write, the end
 *        that it found and the root that says so, is accepted here and forgotten.
 *
 * INVARIANTS
 *   I1   Nothing in the directory changes, and no lock in it is taken.
 *   I2   A store without a root is -ENOENT: none is ever made.
 *
 * CONCURRENCY  A program may write to the store meanwhile. The root is replaced as a whole and
 *        segments only grow, so what is read is what was there at some moment, but for two cases.
 *        Segments go when the store is compacted, behind a root that does not name them. And
 *        frames that are written while the end of the log is looked for may look like damage, at
 *        first sight (recover.c). Both are -ESTALE: all is to be read anew. */
#include "lib/store/view.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/store/file.h"
#include "lib/store/folder.h"
#include "lib/store/root.h"

struct view {
	int dir;
	uint64_t version; /* of the root that was never written */
	uint64_t hash[2]; /* of the one that was read last */
};

static int view_open(const char *location, void **ret_store)
{
	struct view *view = calloc(1, sizeof(*view));

	if (view == NULL)
		return -ENOMEM;
	view->dir = open(location, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (view->dir < 0) {
		int error = -errno;

		free(view);
		return error;
	}
	view->version = 1;
	*ret_store = view;
	return 0;
}

static void view_close(void *arg)
{
	struct view *view = arg;

	close(view->dir);
	free(view);
}

static int view_geometry(void *arg, struct blaze_store_geometry *ret_geometry)
{
	(void)arg;
	ret_geometry->block_bytes = BLAZEI_FILE_BLOCK_BYTES;
	ret_geometry->segment_bytes = BLAZEI_FILE_SEGMENT_BYTES;
	ret_geometry->root_bytes = BLAZEI_FILE_ROOT_BYTES;
	return 0;
}

static int view_segment_create(void *arg, uint64_t segment)
{
	(void)arg;
	(void)segment;
	return -EROFS;
}

static int view_segment_seal(void *arg, uint64_t segment, uint64_t end)
{
	(void)arg;
	(void)segment;
	(void)end;
	return 0;
}

static int view_segment_delete(void *arg, uint64_t segment)
{
	return view_segment_create(arg, segment);
}

/* Reads a file of the directory from offset on, and nothing but a plain file. */
static int64_t read_named(const struct view *view, const char *name, uint64_t offset,
                          void *ret_data, size_t len)
{
	uint8_t *bytes = ret_data;
	struct stat status;
	int64_t done = 0;
	/* Not waiting for whoever writes to a pipe of that name. */
	int fd = openat(view->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) != 0)
		done = -errno;
	else if (!S_ISREG(status.st_mode))
		done = -EBADMSG;
	while (done >= 0 && (size_t)done < len) {
		ssize_t n = pread(fd, bytes + done, len - (size_t)done,
		                  (off_t)(offset + (uint64_t)done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			done = -errno;
		if (n <= 0)
			break;
		done += n;
	}
	close(fd);
	return done;
}

/* Whether there is another root by now. */
static bool stale(const struct view *view)
{
	struct blazei_root root;

	return read_named(view, "root", 0, &root, sizeof(root)) == (int64_t)sizeof(root) &&
	       memcmp(root.hash, view->hash, sizeof(view->hash)) != 0;
}

static int64_t view_segment_read(void *arg, uint64_t segment, uint64_t offset, void *ret_data,
                                 size_t len)
{
	char name[BLAZEI_FILE_NAME_BYTES];
	int64_t n;

	if (offset > INT64_MAX - len)
		return -EINVAL;
	snprintf(name, sizeof(name), BLAZEI_FILE_SEGMENT_NAME, segment);
	n = read_named(arg, name, offset, ret_data, len);
	return n == -ENOENT && stale(arg) ? -ESTALE : n;
}

static int64_t view_segment_list(void *arg, uint64_t *ret_segments, size_t max)
{
	const struct view *view = arg;

	return blazei_folder_list(view->dir, ret_segments, max);
}

static int64_t view_root_get(void *arg, void *ret_data, size_t cap, uint64_t *ret_version)
{
	struct view *view = arg;
	uint8_t more;
	int64_t n = read_named(view, "root", 0, ret_data, cap);

	if (n == 0)
		return -EBADMSG; /* there is a root, and it is empty */
	if (n == (int64_t)cap && read_named(view, "root", cap, &more, 1) > 0)
		return -EMSGSIZE;
	if (n > 0)
		*ret_version = view->version;
	if (n >= (int64_t)sizeof(struct blazei_root))
		memcpy(view->hash, ((const struct blazei_root *)ret_data)->hash,
		       sizeof(view->hash));
	return n;
}

static int view_root_swap(void *arg, uint64_t version, const void *data, size_t len)
{
	struct view *view = arg;

	(void)data;
	(void)len;
	if (version != view->version)
		return -ESTALE;
	view->version++;
	return 0;
}

static int view_submit(void *arg, const struct blaze_store_request *requests, unsigned count)
{
	(void)arg;
	(void)requests;
	(void)count;
	return -EROFS;
}

static int view_poll(void *arg, struct blaze_store_completion *ret_completions, unsigned max)
{
	(void)arg;
	(void)ret_completions;
	(void)max;
	return 0;
}

int blazei_view_there(const char *location)
{
	void *view;
	uint8_t byte;
	int64_t n = view_open(location, &view);

	if (n != 0)
		return (int)n;
	n = read_named(view, "root", 0, &byte, 1);
	view_close(view);
	/* Empty or of another kind: the open says what is wrong with it. */
	return n < 0 && n != -EBADMSG ? (int)n : 0;
}

const struct blaze_store_ops blazei_view_ops = {
	.struct_size = sizeof(blazei_view_ops),
	.interface = BLAZE_STORE_INTERFACE,
	.open = view_open,
	.close = view_close,
	.geometry = view_geometry,
	.segment_create = view_segment_create,
	.segment_seal = view_segment_seal,
	.segment_read = view_segment_read,
	.segment_delete = view_segment_delete,
	.segment_list = view_segment_list,
	.root_get = view_root_get,
	.root_swap = view_root_swap,
	.submit = view_submit,
	.poll = view_poll,
};
