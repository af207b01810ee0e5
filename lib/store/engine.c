/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a segment.
 *
 * WHY    With io_uring a group commit is one submission, a write and a sync linked behind it, and
 *        whoever submitted is free until it needs the result. Containers often forbid io_uring, so
 *        everything works by pwrite and fdatasync too, and nothing else in the library knows which
 *        it is. (Rejected: SINGLE_ISSUER and DEFER_TASKRUN: whichever thread leads a group commit
 *        submits. A write with RWF_DSYNC in place of write and sync: no faster where the device has
 *        a cache that has to be flushed, and a failed one leaves the segment as unknown.)
 *        Data goes past the page cache, which nobody reads it from, by way of an aligned buffer
 *        that the kernel holds pinned; what does not fit there goes through the page cache.
 *
 * STATES Each feature is tried when a store is opened and left out where the kernel refuses it;
 *        blaze_store(3) has the environment variable that leaves it out at once.
 *
 * INVARIANTS
 *   I1   What is queued is in one chain until it is submitted. Chains don't overlap: a new one is
 *        begun when nothing is under way.
 *   I2   A write that was tried is not tried again. What was cancelled was never tried.
 *
 * CONCURRENCY  One thread at a time, any thread.
 *
 * FAILURE  A forked child has the ring's descriptor and mappings: it gives them back, and never
 *        submits or waits. When the process dies the kernel ends or finishes what was under way
 *        before it lets the lock go. */
#include "lib/store/engine.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define ALIGNMENT    4096u
#define BOUNCE_BYTES (UINT64_C(1) << 20)
#define SUBMIT_TRIES 1000u
#define SLOT_PLAIN   0 /* of the registered files */
#define SLOT_DIRECT  1

int blazei_write_all(int fd, const void *data, uint64_t len, uint64_t offset)
{
	const uint8_t *bytes = data;

	while (len > 0) {
		ssize_t n = pwrite(fd, bytes, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		bytes += n;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

/* Pages that a forked child does not have: else the parent's next write to one might give the
 * parent a new page, and leave the kernel with the old one. */
static int bounce_new(struct blazei_engine *engine)
{
	void *bounce = mmap(NULL, BOUNCE_BYTES, PROT_READ | PROT_WRITE,
	                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	engine->bounce = bounce != MAP_FAILED ? bounce : NULL;
	if (engine->bounce == NULL)
		return -ENOMEM;
	(void)madvise(engine->bounce, BOUNCE_BYTES, MADV_DONTFORK);
	return 0;
}

/* Takes a word of BLAZE_STORE_ENGINE. */
static bool word_take(struct blazei_engine *engine, const char *word, size_t len)
{
	const struct {
		const char *name;
		bool *feature;
	} words[] = {
		{ "plain", &engine->uring },      { "no-files", &engine->files },
		{ "no-fixed", &engine->fixed },   { "no-link", &engine->link },
		{ "no-direct", &engine->direct }, { "no-ahead", &engine->ahead },
	};

	if (len == 0 || (len == 5 && memcmp(word, "uring", 5) == 0))
		return true;
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strlen(words[i].name) == len && memcmp(words[i].name, word, len) == 0) {
			*words[i].feature = false;
			return true;
		}
	}
	return false;
}

static void environment_read(struct blazei_engine *engine)
{
	const char *at = secure_getenv("BLAZE_STORE_ENGINE");

	while (at != NULL && *at != '\0') {
		size_t len = strcspn(at, ",");

		if (!word_take(engine, at, len))
			blazei_log(BLAZE_LOG_WARNING,
			           "BLAZE_STORE_ENGINE: \"%.*s\" is not known and left out",
			           (int)(len < 40 ? len : 40), at);
		at += len + (at[len] == ',');
	}
}

/* Whether the ring does what is asked of it: seccomp may allow a part of it only. */
static bool ring_works(struct io_uring *ring)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	bool works = probe != NULL && io_uring_opcode_supported(probe, IORING_OP_WRITE) &&
	             io_uring_opcode_supported(probe, IORING_OP_WRITE_FIXED) &&
	             io_uring_opcode_supported(probe, IORING_OP_FSYNC);

	io_uring_free_probe(probe);
	if (!works)
		return false;
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_nop(sqe);
	if (io_uring_submit(ring) != 1 || io_uring_wait_cqe(ring, &cqe) != 0)
		return false;
	io_uring_cqe_seen(ring, cqe);
	return true;
}

static bool ring_open(struct io_uring *ring)
{
	if (io_uring_queue_init(BLAZEI_ENGINE_DEPTH, ring, 0) != 0)
		return false;
	if (ring_works(ring))
		return true;
	io_uring_queue_exit(ring);
	return false;
}

static void ring_init(struct blazei_engine *engine)
{
	struct iovec iov = { .iov_base = engine->bounce, .iov_len = BOUNCE_BYTES };

	if (!engine->uring || !ring_open(&engine->ring)) {
		engine->uring = engine->files = engine->fixed = engine->link = false;
		return;
	}
	if (!engine->direct ||
	    (engine->fixed && io_uring_register_buffers(&engine->ring, &iov, 1) != 0))
		engine->fixed = false;
}

int blazei_engine_init(struct blazei_engine *engine)
{
	memset(engine, 0, sizeof(*engine));
	engine->uring = engine->files = engine->fixed = engine->link = true;
	engine->direct = engine->ahead = true;
	engine->fd = engine->direct_fd = -1;
	environment_read(engine);
	/* The zeros ahead are what tries out whether the file system takes direct writes. */
	if (!engine->ahead)
		engine->direct = false;
	if (engine->direct && bounce_new(engine) != 0)
		return -ENOMEM;
	ring_init(engine);
	return 0;
}

void blazei_engine_fini(struct blazei_engine *engine)
{
	blazei_engine_use(engine, -1, NULL, -1);
	if (engine->uring)
		io_uring_queue_exit(&engine->ring);
	if (engine->bounce != NULL)
		munmap(engine->bounce, BOUNCE_BYTES);
	engine->bounce = NULL;
}

/* Has the ring know the files; it goes without where that fails. */
static void files_register(struct blazei_engine *engine)
{
	int fds[2] = { engine->fd, engine->direct_fd };
	int rc;

	if (!engine->files_registered)
		rc = io_uring_register_files(&engine->ring, fds, 2);
	else
		rc = io_uring_register_files_update(&engine->ring, 0, fds, 2);
	engine->files_registered = engine->files_registered || rc == 0;
	engine->files = rc >= 0;
}

void blazei_engine_use(struct blazei_engine *engine, int dir, const char *name, int fd)
{
	if (engine->direct_fd >= 0)
		close(engine->direct_fd);
	engine->direct_fd = -1;
	engine->fd = fd;
	if (fd < 0)
		return;
	if (engine->direct)
		engine->direct_fd = openat(dir, name, O_RDWR | O_DIRECT | O_CLOEXEC | O_NOFOLLOW);
	if (engine->uring && engine->files)
		files_register(engine);
}

int blazei_engine_zero(struct blazei_engine *engine, uint64_t offset, uint64_t len)
{
	static const _Alignas(ALIGNMENT) uint8_t zeros[256u << 10];
	uint64_t done = 0;
	int error = 0;

	while (done < len && error == 0) {
		uint64_t n = len - done < sizeof(zeros) ? len - done : sizeof(zeros);
		int fd = engine->direct_fd >= 0 ? engine->direct_fd : engine->fd;

		error = blazei_write_all(fd, zeros, n, offset + done);
		if (error == -EINVAL && engine->direct_fd >= 0) {
			/* The file system or the device takes no direct writes like these. */
			engine->direct = false;
			close(engine->direct_fd);
			engine->direct_fd = -1;
			error = 0;
			continue;
		}
		done += n;
	}
	return error;
}

/* The data in the bounce buffer, where it goes past the page cache; else NULL. */
static const uint8_t *bounce_take(struct blazei_engine *engine,
                                  const struct blazei_engine_entry *entry)
{
	uint8_t *at = engine->bounce + engine->bounce_used;

	if (engine->direct_fd < 0 || entry->len > BOUNCE_BYTES - engine->bounce_used)
		return NULL;
	memcpy(at, entry->data, entry->len);
	engine->bounce_used += entry->len;
	return at;
}

int blazei_engine_run(struct blazei_engine *engine, const struct blazei_engine_entry *entry)
{
	const uint8_t *aligned;

	if (!entry->write)
		return fdatasync(engine->fd) == 0 ? 0 : -errno;
	aligned = engine->under_way == 0 ? bounce_take(engine, entry) : NULL;
	if (aligned == NULL)
		return blazei_write_all(engine->fd, entry->data, entry->len, entry->offset);
	engine->bounce_used = 0;
	return blazei_write_all(engine->direct_fd, aligned, entry->len, entry->offset);
}

void blazei_engine_queue(struct blazei_engine *engine, const struct blazei_engine_entry *entry)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&engine->ring);
	const uint8_t *aligned = NULL;
	int fd = engine->files ? SLOT_PLAIN : engine->fd;
	/* Chains don't overlap, so the number of those before it is a place that is free. */
	unsigned slot = engine->under_way;

	assert(sqe != NULL && slot < BLAZEI_ENGINE_DEPTH);
	if (entry->write)
		aligned = bounce_take(engine, entry);
	if (aligned != NULL)
		fd = engine->files ? SLOT_DIRECT : engine->direct_fd;
	if (!entry->write)
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	else if (aligned != NULL && engine->fixed)
		io_uring_prep_write_fixed(sqe, fd, aligned, (unsigned)entry->len, entry->offset, 0);
	else
		io_uring_prep_write(sqe, fd, aligned != NULL ? aligned : entry->data,
		                    (unsigned)entry->len, entry->offset);
	sqe->flags |= IOSQE_IO_LINK | (engine->files ? IOSQE_FIXED_FILE : 0);
	io_uring_sqe_set_data64(sqe, slot);
	engine->entries[slot] = *entry;
	engine->entries[slot].pending = true;
	engine->queued++;
	engine->under_way++;
}

/* Ends the use of the ring. What it has not been given yet is dropped with it. */
static void ring_leave(struct blazei_engine *engine)
{
	io_uring_queue_exit(&engine->ring);
	engine->uring = engine->files = engine->fixed = engine->link = false;
	engine->under_way = engine->queued = 0;
	engine->bounce_used = 0;
}

int blazei_engine_submit(struct blazei_engine *engine)
{
	/* The last of a chain has nothing behind it: a link there would reach into the next one. */
	struct io_uring_sqe *last =
	        &engine->ring.sq.sqes[(engine->ring.sq.sqe_tail - 1) & *engine->ring.sq.kring_mask];
	int n = 0;

	if (engine->queued == 0)
		return 0;
	last->flags &= (uint8_t)~IOSQE_IO_LINK;
	for (unsigned i = 0; i < SUBMIT_TRIES; i++) {
		n = io_uring_submit(&engine->ring);
		if (n != -EINTR && n != -EAGAIN && n != -EBUSY)
			break;
		if (n != -EINTR)
			blazei_sleep_ns(BLAZEI_NS_PER_MS);
	}
	if (n == (int)engine->queued) {
		engine->queued = 0;
		return 0;
	}
	/* None, or a part of the chain was taken. The rest must never be submitted; the part is
	 * waited for, as its buffers are in use. */
	engine->under_way = n > 0 ? (unsigned)n : 0;
	for (unsigned i = 0; engine->uring && engine->under_way > 0; i++) {
		struct blazei_engine_entry entry;
		int result;

		if (blazei_engine_reap(engine, &entry, &result) == 0)
			engine->entries[i].pending = true; /* it counts as failed with the rest */
	}
	if (engine->uring)
		ring_leave(engine);
	return n < 0 ? n : -EIO;
}

int blazei_engine_reap(struct blazei_engine *engine, struct blazei_engine_entry *ret_entry,
                       int *ret_result)
{
	struct io_uring_cqe *cqe;
	int error, result;

	do
		error = io_uring_wait_cqe(&engine->ring, &cqe);
	while (error == -EINTR || error == -EAGAIN);
	if (error != 0) {
		/* What is under way may still read the buffer: it is left to it. */
		if (engine->direct && bounce_new(engine) != 0) {
			engine->direct = false;
			close(engine->direct_fd);
			engine->direct_fd = -1;
		}
		ring_leave(engine);
		return error;
	}
	*ret_entry = engine->entries[cqe->user_data];
	engine->entries[cqe->user_data].pending = false;
	result = cqe->res;
	io_uring_cqe_seen(&engine->ring, cqe);
	engine->under_way--;
	if (engine->under_way == 0)
		engine->bounce_used = 0;
	if (ret_entry->write && result >= 0 && (uint64_t)result < ret_entry->len)
		/* Cut short: why, the rest tells. */
		result = blazei_write_all(engine->fd, ret_entry->data + result,
		                          ret_entry->len - (uint64_t)result,
		                          ret_entry->offset + (uint64_t)result);
	*ret_result = result < 0 ? result : 0;
	return 0;
}
