/* SPDX-License-Identifier: Apache-2.0 */
/* The backend "file:": a directory with a lock, a root and segments. How the segment that grows is
 * written is the engine's part: engine.c.
 *
 * WHY    Segments are written with zeros ahead of the appends, because a write that extends a file
 *        makes the sync that follows write its length too, which costs twice. They are cut to their
 *        end when they are sealed, so what lies ahead is lost for a segment that grows only.
 *        (Rejected: fallocate; the first write to such a block changes the file's map likewise.)
 *        An append longer than the zeros would be goes without: there the disk has more to do with
 *        writing all of it twice than with the length.
 *
 * LAYOUT of the directory
 *          lock                 locked by the one program that has it open, as the directory is
 *          root                 the root; root.new while it is replaced
 *          NNNNNNNNNNNNNNNN.seg a segment, its number in 16 hexadecimal digits
 *
 * INVARIANTS
 *   I1   A name is durable before anything relies on it: the directory is synced after each change.
 *   I2   The root is written and synced under another name before it gets its own.
 *   I3   After a failed append or sync of a segment, all later ones of it fail: a kernel that lost
 *        what it could not write says so once, and later says that all is well.
 *
 * CONCURRENCY  One thread at a time. The lock is an open file description's, so a second open by
 *        the same program fails too; a forked child that lives on has it as well. The directory is
 *        locked besides, which nobody can take away as that file. And each exchange looks whether
 *        the root is the one that this open knows: where a file system gives no such lock, the
 *        second writer is found out before it can undo what the other one named.
 *
 * FAILURE  A crash leaves at most a root.new, which the next replacement writes anew, and segments
 *        that the root does not name. */
#include "lib/store/file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/op/hash.h"
#include "lib/store/engine.h"
#include "lib/store/folder.h"

#define BLOCK_BYTES   BLAZEI_FILE_BLOCK_BYTES
#define SEGMENT_BYTES BLAZEI_FILE_SEGMENT_BYTES
#define ROOT_BYTES    BLAZEI_FILE_ROOT_BYTES
#define AHEAD_BYTES   (UINT64_C(1) << 20) /* of zeros, at a time */
#define NAME_BYTES    BLAZEI_FILE_NAME_BYTES
#define DUE_MAX       64u

struct root_mark {
	size_t len; /* 0: none */
	XXH128_hash_t hash;
};

struct file_store {
	int dir;
	int lock;
	int fd;           /* of the segment that grows; -1 */
	uint64_t segment; /* its number */
	uint64_t end;     /* of what was appended */
	uint64_t ahead;   /* of what was written with zeros */
	int failed;       /* the first error of an append or sync to it */
	uint64_t version; /* of the root */
	/* Hashes of the root: as it was read or set last, and as an exchange that failed may have
	 * left it. */
	struct root_mark root;
	struct root_mark tried;
	uint32_t fork_generation;
	struct blazei_engine engine;
	unsigned due_count;
	struct blaze_store_completion due[DUE_MAX];
};

static void segment_name(uint64_t segment, char ret_name[NAME_BYTES])
{
	snprintf(ret_name, NAME_BYTES, BLAZEI_FILE_SEGMENT_NAME, segment);
}

static int64_t read_all(int fd, void *ret_data, size_t len, uint64_t offset)
{
	uint8_t *bytes = ret_data;
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, bytes + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (int64_t)done;
}

static int sync_fd(int fd)
{
	return fsync(fd) == 0 ? 0 : -errno;
}

/* A descriptor that a child forked meanwhile, which goes on to exec, does not keep. */
static int open_at(int dir, const char *name, int flags)
{
	int fd = openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd >= 0 ? fd : -errno;
}

/* Makes the name of a new directory durable, in the one above. */
static int parent_sync(const char *location)
{
	char path[PATH_MAX];
	int fd, error;

	if ((size_t)snprintf(path, sizeof(path), "%s/..", location) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	error = sync_fd(fd);
	close(fd);
	return error;
}

static int dir_open(const char *location)
{
	int error = 0, fd;

	if (location[0] == '\0')
		return -EINVAL;
	if (mkdir(location, 0700) == 0)
		error = parent_sync(location);
	else if (errno != EEXIST)
		error = -errno;
	if (error != 0)
		return error;
	fd = open(location, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : -errno;
}

static void complete(struct file_store *store, uint64_t tag, int result)
{
	store->due[store->due_count++] =
	        (struct blaze_store_completion){ .tag = tag, .result = result };
}

/* All that is under way has failed. */
static void fail_all(struct file_store *store, int error)
{
	store->failed = error;
	for (unsigned i = 0; i < BLAZEI_ENGINE_DEPTH; i++) {
		if (store->engine.entries[i].pending)
			complete(store, store->engine.entries[i].tag, error);
		store->engine.entries[i].pending = false;
	}
}

/* Waits for one request to end. What was cancelled for one before it that was only cut short, and
 * then came to its end, is done now. */
static void reap(struct file_store *store)
{
	struct blazei_engine_entry entry;
	int result, error = blazei_engine_reap(&store->engine, &entry, &result);

	if (error != 0) {
		fail_all(store, error);
		return;
	}
	if (result == -ECANCELED && store->failed == 0)
		result = blazei_engine_run(&store->engine, &entry);
	if (store->failed == 0)
		store->failed = result;
	else if (result == 0)
		result = -ECANCELED; /* ended well behind what failed: it is not believed */
	complete(store, entry.tag, result);
}

static void reap_all(struct file_store *store)
{
	while (store->engine.under_way > 0)
		reap(store);
}

static int store_fill(struct file_store *store, const char *location)
{
	int error = blazei_file_allowed(SEGMENT_BYTES);

	if (error != 0)
		return error;
	store->dir = dir_open(location);
	if (store->dir < 0)
		return store->dir;
	error = blazei_folder_ours(store->dir, location);
	if (error != 0)
		return error;
	store->lock = blazei_folder_lock(store->dir);
	if (store->lock < 0)
		return store->lock;
	return blazei_engine_init(&store->engine);
}

static int file_open(const char *location, void **ret_store)
{
	struct file_store *store = calloc(1, sizeof(*store));
	int error;

	if (store == NULL)
		return -ENOMEM;
	store->fd = store->dir = store->lock = -1;
	store->version = 1;
	/* Relaxed: it changes in a forked child only, before other code runs. */
	store->fork_generation =
	        atomic_load_explicit(&blazei_fork_generation, memory_order_relaxed);
	error = store_fill(store, location);
	if (error != 0) {
		if (store->lock >= 0)
			close(store->lock);
		if (store->dir >= 0)
			close(store->dir);
		free(store);
		return error;
	}
	*ret_store = store;
	return 0;
}

static void file_close(void *arg)
{
	struct file_store *store = arg;

	/* A forked child leaves what is under way to its parent. */
	if (!blazei_forked_since(store->fork_generation))
		reap_all(store);
	blazei_engine_fini(&store->engine);
	if (store->fd >= 0)
		close(store->fd);
	close(store->lock);
	close(store->dir);
	free(store);
}

static int file_geometry(void *arg, struct blaze_store_geometry *ret_geometry)
{
	const struct file_store *store = arg;
	struct statvfs status;

	ret_geometry->block_bytes = BLOCK_BYTES;
	ret_geometry->segment_bytes = SEGMENT_BYTES;
	ret_geometry->root_bytes = ROOT_BYTES;
	/* One byte stands for none. */
	if (fstatvfs(store->dir, &status) == 0)
		ret_geometry->room_bytes = (uint64_t)status.f_bavail * status.f_frsize | 1;
	return 0;
}

static int file_segment_create(void *arg, uint64_t segment)
{
	struct file_store *store = arg;
	char name[NAME_BYTES];
	int fd, error = blazei_file_allowed(SEGMENT_BYTES);

	if (error != 0)
		return error;
	segment_name(segment, name);
	fd = open_at(store->dir, name, O_RDWR | O_CREAT | O_EXCL);
	if (fd < 0)
		return fd;
	error = sync_fd(store->dir);
	if (error != 0) {
		close(fd);
		(void)unlinkat(store->dir, name, 0);
		return error;
	}
	reap_all(store);
	if (store->fd >= 0)
		close(store->fd);
	blazei_engine_use(&store->engine, store->dir, name, fd);
	store->fd = fd;
	store->segment = segment;
	store->end = 0;
	store->ahead = 0;
	store->failed = 0;
	return 0;
}

/* Writes zeros so that an append, which fits, is within them, where that is worth it. */
static int write_ahead(struct file_store *store, uint64_t len)
{
	const uint64_t end = store->end + len;

	/* The engine does not write one of this length past the page cache, which these zeros would
	 * have to try out first. */
	if (len > AHEAD_BYTES && store->ahead < end)
		store->ahead = end;
	while (store->engine.ahead && store->ahead < end) {
		uint64_t room = SEGMENT_BYTES - store->ahead;
		uint64_t n = room < AHEAD_BYTES ? room : AHEAD_BYTES;
		int error = blazei_engine_zero(&store->engine, store->ahead, n);

		if (error != 0)
			return error;
		store->ahead += n;
	}
	return 0;
}

/* Checks an append, and has the place ready. */
static int append_prepare(struct file_store *store, const struct blaze_store_request *request)
{
	int error;

	if (request->offset != store->end || request->offset % BLOCK_BYTES != 0 ||
	    request->len % BLOCK_BYTES != 0)
		return -EINVAL;
	if (request->len > SEGMENT_BYTES - store->end)
		return -EMSGSIZE;
	error = write_ahead(store, request->len);
	if (error == 0)
		store->end += request->len;
	return error;
}

static int request_prepare(struct file_store *store, const struct blaze_store_request *request)
{
	int error = 0;

	if (store->fd < 0 || request->segment != store->segment)
		return -EINVAL;
	if (store->failed != 0)
		return -ECANCELED;
	if (request->operation == BLAZE_STORE_APPEND)
		error = append_prepare(store, request);
	else if (request->operation != BLAZE_STORE_SYNC)
		error = -EINVAL;
	store->failed = error;
	return error;
}

/* Has the kernel begin what is queued. Where it does not, all of that has failed. */
static void queue_submit(struct file_store *store)
{
	int error = blazei_engine_submit(&store->engine);

	if (error != 0)
		fail_all(store, error);
}

/* Does it at once, or queues it. */
static void request_begin(struct file_store *store, const struct blaze_store_request *request)
{
	const struct blazei_engine_entry entry = {
		.write = request->operation == BLAZE_STORE_APPEND,
		.data = request->data,
		.len = request->len,
		.offset = request->offset,
		.tag = request->tag,
	};

	if (!store->engine.uring) {
		store->failed = blazei_engine_run(&store->engine, &entry);
		complete(store, request->tag, store->failed);
		return;
	}
	blazei_engine_queue(&store->engine, &entry);
	if (store->engine.link)
		return;
	queue_submit(store);
	reap_all(store);
}

static int file_submit(void *arg, const struct blaze_store_request *requests, unsigned count)
{
	struct file_store *store = arg;
	unsigned i;

	reap_all(store);
	for (i = 0; i < count && store->due_count + store->engine.under_way < DUE_MAX; i++) {
		int error = request_prepare(store, &requests[i]);

		if (error != 0)
			complete(store, requests[i].tag, error);
		else
			request_begin(store, &requests[i]);
	}
	if (store->engine.uring)
		queue_submit(store);
	return i > 0 ? (int)i : -EAGAIN;
}

static int file_poll(void *arg, struct blaze_store_completion *ret_completions, unsigned max)
{
	struct file_store *store = arg;
	unsigned count;

	if (store->due_count == 0)
		reap_all(store);
	count = store->due_count < max ? store->due_count : max;
	memcpy(ret_completions, store->due, count * sizeof(store->due[0]));
	store->due_count -= count;
	memmove(store->due, store->due + count, store->due_count * sizeof(store->due[0]));
	return (int)count;
}

static int file_segment_seal(void *arg, uint64_t segment, uint64_t end)
{
	struct file_store *store = arg;
	char name[NAME_BYTES];
	struct stat status;
	int fd, error = 0;

	segment_name(segment, name);
	fd = open_at(store->dir, name, O_RDWR);
	if (fd < 0)
		return fd;
	if (fstat(fd, &status) != 0)
		error = -errno;
	else if ((uint64_t)status.st_size < end)
		error = -EBADMSG;
	if (error == 0 && (uint64_t)status.st_size > end && ftruncate(fd, (off_t)end) != 0)
		error = -errno;
	if (error == 0)
		error = sync_fd(fd);
	close(fd);
	if (error == 0 && store->fd >= 0 && store->segment == segment) {
		reap_all(store);
		blazei_engine_use(&store->engine, -1, NULL, -1);
		close(store->fd);
		store->fd = -1;
	}
	return error;
}

static int64_t file_segment_read(void *arg, uint64_t segment, uint64_t offset, void *ret_data,
                                 size_t len)
{
	struct file_store *store = arg;
	char name[NAME_BYTES];
	int64_t n;
	int fd;

	if (offset > INT64_MAX - len)
		return -EINVAL;
	segment_name(segment, name);
	/* Not waiting for whoever writes to a pipe of that name. */
	fd = open_at(store->dir, name, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return fd;
	n = read_all(fd, ret_data, len, offset);
	close(fd);
	return n;
}

static int file_segment_delete(void *arg, uint64_t segment)
{
	struct file_store *store = arg;
	char name[NAME_BYTES];

	segment_name(segment, name);
	if (unlinkat(store->dir, name, 0) != 0)
		return -errno;
	return sync_fd(store->dir);
}

static int64_t file_segment_list(void *arg, uint64_t *ret_segments, size_t max)
{
	const struct file_store *store = arg;

	return blazei_folder_list(store->dir, ret_segments, max);
}

static struct root_mark mark_of(const void *data, size_t len)
{
	struct root_mark mark = { .len = len };

	if (len > 0)
		mark.hash = XXH3_128bits(data, len);
	return mark;
}

static bool mark_equal(const struct root_mark *a, const struct root_mark *b)
{
	return a->len == b->len && (a->len == 0 || XXH128_isEqual(a->hash, b->hash));
}

/* Copies it; 0: there is none. */
static int64_t root_read(const struct file_store *store, void *ret_data, size_t cap)
{
	int fd = open_at(store->dir, "root", O_RDONLY);
	struct stat status;
	int64_t n;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (fstat(fd, &status) != 0)
		n = -errno;
	else if (status.st_size == 0)
		n = -EBADMSG; /* there is a root, and it is empty */
	else if ((uint64_t)status.st_size > cap)
		n = -EMSGSIZE;
	else
		n = read_all(fd, ret_data, cap, 0);
	close(fd);
	return n;
}

static int64_t file_root_get(void *arg, void *ret_data, size_t cap, uint64_t *ret_version)
{
	struct file_store *store = arg;
	int64_t n = root_read(store, ret_data, cap);

	if (n < 0)
		return n;
	*ret_version = store->version;
	store->root = mark_of(ret_data, (size_t)n);
	store->tried = store->root;
	return n;
}

/* 0: the root is what this open read or set last; -ESTALE. */
static int root_compare(struct file_store *store)
{
	uint8_t *data = malloc(ROOT_BYTES);
	struct root_mark mark;
	int64_t n;

	if (data == NULL)
		return -ENOMEM;
	n = root_read(store, data, ROOT_BYTES);
	mark = mark_of(data, n > 0 ? (size_t)n : 0);
	free(data);
	if (n == -EBADMSG || n == -EMSGSIZE)
		return -ESTALE;
	if (n < 0)
		return (int)n;
	if (!mark_equal(&mark, &store->root) && !mark_equal(&mark, &store->tried))
		return -ESTALE;
	store->root = mark;
	return 0;
}

static int file_root_swap(void *arg, uint64_t version, const void *data, size_t len)
{
	struct file_store *store = arg;
	int fd, error;

	if (version != store->version)
		return -ESTALE;
	if (len == 0 || len > ROOT_BYTES)
		return -EINVAL;
	error = root_compare(store);
	if (error != 0)
		return error;
	store->tried = mark_of(data, len);
	fd = open_at(store->dir, "root.new", O_WRONLY | O_CREAT | O_TRUNC);
	if (fd < 0)
		return fd;
	error = blazei_write_all(fd, data, len, 0);
	if (error == 0)
		error = sync_fd(fd);
	close(fd);
	if (error == 0 && renameat(store->dir, "root.new", store->dir, "root") != 0)
		error = -errno;
	if (error == 0)
		error = sync_fd(store->dir);
	if (error != 0)
		return error;
	store->root = store->tried;
	store->version++;
	return 0;
}

const struct blaze_store_ops blazei_file_ops = {
	.struct_size = sizeof(blazei_file_ops),
	.interface = BLAZE_STORE_INTERFACE,
	.open = file_open,
	.close = file_close,
	.geometry = file_geometry,
	.segment_create = file_segment_create,
	.segment_seal = file_segment_seal,
	.segment_read = file_segment_read,
	.segment_delete = file_segment_delete,
	.segment_list = file_segment_list,
	.root_get = file_root_get,
	.root_swap = file_root_swap,
	.submit = file_submit,
	.poll = file_poll,
};
