/* SPDX-License-Identifier: Apache-2.0 */
/* Making, writing and reading tails; see tail.h. */
#include "lib/store/tail.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/base/shm.h"
#include "lib/op/hash.h"
#include "lib/store/place.h"

#define NAME_BYTES 32u
/* How far ahead lines are asked for; and of one entry at most so many. */
#define AHEAD_BYTES 4096u
#define AHEAD_MAX   2048u
/* In which a reader looks for what it needs: longer ones are no tails. */
#define TRIES_MAX      8u
#define RING_BYTES_MAX (UINT64_C(1) << 32)

static void name_format(const struct blazei_tail_name *name, char ret_text[NAME_BYTES])
{
	snprintf(ret_text, NAME_BYTES, ".tail.%016llx.%u", (unsigned long long)name->home,
	         name->turn % 2);
}

void blazei_boot_id(struct blaze_id *ret_boot)
{
	char text[37] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	memset(ret_boot, 0, sizeof(*ret_boot));
	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text) - 1) == sizeof(text) - 1)
		(void)blaze_id_parse(text, ret_boot);
	close(fd);
}

static uint64_t seed_of(const struct blaze_id *store, uint64_t nonce)
{
	struct {
		struct blaze_id store;
		uint64_t nonce;
	} opening = { *store, nonce };

	return XXH3_64bits(&opening, sizeof(opening));
}

static uint64_t entry_hash(uint64_t seed, uint64_t lsn, const void *data, size_t len)
{
	return XXH3_64bits_withSeed(data, len, seed + lsn);
}

static uint64_t header_hash(const struct blazei_tail_header *header)
{
	return XXH3_64bits(header, offsetof(struct blazei_tail_header, hash));
}

/* The ring twice, back to back, behind the header. */
static int map(int fd, uint64_t bytes, struct blazei_tail *tail)
{
	const size_t all = BLAZEI_TAIL_HEADER_BYTES + 2 * bytes;
	const int flags = MAP_SHARED | MAP_FIXED | MAP_POPULATE;
	uint8_t *base =
	        mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		return -ENOMEM;
	if (mmap(base, BLAZEI_TAIL_HEADER_BYTES + bytes, PROT_READ | PROT_WRITE, flags, fd, 0) ==
	            MAP_FAILED ||
	    mmap(base + BLAZEI_TAIL_HEADER_BYTES + bytes, bytes, PROT_READ | PROT_WRITE, flags, fd,
	         BLAZEI_TAIL_HEADER_BYTES) == MAP_FAILED) {
		munmap(base, all);
		return -ENOMEM;
	}
	/* A forked child must not touch it. */
	madvise(base, all, MADV_DONTFORK);
	tail->header = (struct blazei_tail_header *)base;
	tail->data = base + BLAZEI_TAIL_HEADER_BYTES;
	return 0;
}

static void unmap(struct blazei_tail *tail)
{
	if (tail->header != NULL)
		munmap(tail->header, BLAZEI_TAIL_HEADER_BYTES + 2 * tail->bytes);
	tail->header = NULL;
}

static bool on_tmpfs(int fd)
{
	struct statfs status;

	return fstatfs(fd, &status) == 0 &&
	       (status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC);
}

/* Makes the file, whole and without a name, and gives it one. */
static int make(int dir_fd, const char *text, const struct blazei_tail_header *header,
                struct blazei_tail *tail)
{
	char self[32];
	int fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	int error;

	if (fd < 0)
		return -errno;
	error = blazei_file_allowed(BLAZEI_TAIL_HEADER_BYTES + header->bytes);
	/* All of it now: later there would be SIGBUS for an answer. */
	if (error == 0 &&
	    (fchmod(fd, 0600) != 0 ||
	     fallocate(fd, 0, 0, (off_t)(BLAZEI_TAIL_HEADER_BYTES + header->bytes)) != 0))
		error = -errno;
	if (error == 0 && pwrite(fd, header, sizeof(*header), 0) != (ssize_t)sizeof(*header))
		error = -EIO;
	if (error == 0)
		error = map(fd, header->bytes, tail);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (error == 0 && unlinkat(dir_fd, text, 0) != 0 && errno != ENOENT)
		error = -errno;
	if (error == 0 && linkat(AT_FDCWD, self, dir_fd, text, AT_SYMLINK_FOLLOW) != 0)
		error = -errno;
	if (error != 0)
		unmap(tail);
	close(fd);
	return error;
}

static int create(const char *dir, const struct blazei_tail_name *name,
                  const struct blazei_tail_header *header, struct blazei_tail *tail)
{
	struct blazei_place place;
	char text[NAME_BYTES];
	int error = blazei_place_open(dir, true, &place);

	if (error != 0)
		return error;
	name_format(name, text);
	error = on_tmpfs(place.fd) ? make(place.fd, text, header, tail) : -ENODEV;
	blazei_place_close(&place);
	return error;
}

int blazei_tail_create(const char *dir, const struct blazei_tail_name *name,
                       const struct blaze_id *store, uint64_t bytes, struct blazei_tail *ret_tail)
{
	struct blazei_tail_header header = {
		.magic = BLAZEI_TAIL_MAGIC,
		.version = BLAZEI_TAIL_VERSION,
		.store = *store,
		.nonce = name->nonce,
		.bytes = bytes,
	};
	struct blazei_tail tail = { .bytes = bytes, .seed = seed_of(store, name->nonce) };
	int error = -ENOENT;

	assert((bytes & (bytes - 1)) == 0 && bytes >= BLAZEI_TAIL_HEADER_BYTES);
	header.hash = header_hash(&header);
	/* The directory goes with the last ring in it: then it is made anew. */
	for (unsigned i = 0; i < TRIES_MAX && error == -ENOENT; i++)
		error = create(dir, name, &header, &tail);
	if (error != 0)
		return error == -ENOENT ? -ENODEV : error;
	*ret_tail = tail;
	return 0;
}

void blazei_tail_unlink(const char *dir, const struct blazei_tail_name *name)
{
	struct blazei_place place;
	char text[NAME_BYTES];

	if (blazei_place_open(dir, false, &place) != 0)
		return;
	name_format(name, text);
	(void)unlinkat(place.fd, text, 0);
	blazei_place_close(&place);
}

void blazei_tail_close(struct blazei_tail *tail)
{
	unmap(tail);
	*tail = (struct blazei_tail){ .header = NULL };
}

/* Asks for the lines that later entries will take, as many as this one takes: the leader has read
 * what was there last, so each is in another CPU's cache or in none, and the locks behind the entry
 * wait for its stores. Reaching into the second map of the ring is right, too. */
static void lines_ask(const struct blazei_tail *tail, size_t len)
{
	const uint8_t *at = tail->data + ((tail->end + AHEAD_BYTES) & (tail->bytes - 1));

	for (size_t i = 0; i < len && i < AHEAD_MAX; i += BLAZEI_CACHE_LINE)
#if defined(__x86_64__)
		/* What the other line means, but not what it makes for the oldest CPUs. */
		__asm__ __volatile__("prefetchw (%0)" : : "r"(at + i));
#else
		__builtin_prefetch(at + i, 1);
#endif
}

void blazei_tail_put(struct blazei_tail *tail, uint64_t lsn, const void *data, size_t len)
{
	struct blazei_tail_entry entry = { entry_hash(tail->seed, lsn, data, len), lsn };
	uint8_t *at = tail->data + (tail->end & (tail->bytes - 1));

	assert(blazei_tail_fits(tail, len) && len % 8 == 0);
	lines_ask(tail, sizeof(entry) + len);
	memcpy(at, &entry, sizeof(entry));
	BLAZEI_TESTPOINT("tail_entry_begun");
	memcpy(at + sizeof(entry), data, len);
	tail->end += sizeof(entry) + len;
	/* Release: not ahead of the entry, for whoever reads it after the death of this process. */
	atomic_store_explicit(&tail->header->last, lsn, memory_order_release);
}

int64_t blazei_tail_get(const struct blazei_tail *tail, struct blazei_tail_cursor *cursor,
                        void *ret_data, size_t cap)
{
	const uint8_t *at = tail->data + (cursor->at & (tail->bytes - 1));
	struct blazei_tail_entry entry;
	uint32_t len, again;

	memcpy(&entry, at, sizeof(entry));
	memcpy(&len, at + sizeof(entry), sizeof(len));
	if (entry.lsn != cursor->lsn || len < 8 || len % 8 != 0 ||
	    len + sizeof(entry) > cursor->end - cursor->at)
		return -EBADMSG;
	if (len > cap)
		return -ENOBUFS;
	memcpy(ret_data, at + sizeof(entry), len);
	memcpy(&again, ret_data, sizeof(again));
	if (again != len || entry_hash(tail->seed, entry.lsn, ret_data, len) != entry.hash)
		return -EBADMSG;
	cursor->at += sizeof(entry) + len;
	cursor->lsn++;
	return len;
}

/* Reading what was left ---------------------------------------------------------------------- */

/* Copies len bytes, or says that they are not there. */
static int read_all(int fd, void *ret_data, uint64_t len, uint64_t offset)
{
	uint8_t *bytes = ret_data;

	while (len > 0) {
		ssize_t n = pread(fd, bytes, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOENT;
		bytes += n;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int image_check(const struct blazei_tail_header *header, const struct blazei_tail_name *name,
                       const struct blaze_id *store, uint64_t file_bytes)
{
	if (header->magic != BLAZEI_TAIL_MAGIC || header->version != BLAZEI_TAIL_VERSION ||
	    header->hash != header_hash(header))
		return -ENOENT;
	if (!blazei_id_equal(&header->store, store) || header->nonce != name->nonce)
		return -ENOENT;
	if ((header->bytes & (header->bytes - 1)) != 0 ||
	    header->bytes < BLAZEI_TAIL_HEADER_BYTES || header->bytes > RING_BYTES_MAX ||
	    file_bytes != BLAZEI_TAIL_HEADER_BYTES + header->bytes)
		return -ENOENT;
	return 0;
}

static int image_load(int dir_fd, const struct blazei_tail_name *name, const struct blaze_id *store,
                      struct blazei_tail_image *ret_image)
{
	const struct blazei_shm_owner owner = { 0600, geteuid(), getegid() };
	struct blazei_tail_header header;
	char text[NAME_BYTES];
	uint64_t file_bytes;
	int fd, error;

	name_format(name, text);
	fd = openat(dir_fd, text, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	error = blazei_shm_file_check(fd, &owner, 0, &file_bytes);
	if (error == 0)
		error = read_all(fd, &header, sizeof(header), 0);
	if (error == 0)
		error = image_check(&header, name, store, file_bytes);
	if (error == 0) {
		ret_image->bytes = header.bytes;
		ret_image->seed = seed_of(store, name->nonce);
		/* Relaxed: a private copy. */
		ret_image->last = atomic_load_explicit(&header.last, memory_order_relaxed);
		ret_image->ring = malloc(2 * header.bytes);
		error = ret_image->ring != NULL ? 0 : -ENOMEM;
	}
	if (error == 0)
		error = read_all(fd, ret_image->ring, header.bytes, BLAZEI_TAIL_HEADER_BYTES);
	if (error == 0)
		memcpy(ret_image->ring + header.bytes, ret_image->ring, header.bytes);
	close(fd);
	return error;
}

/* The length of a valid entry with this LSN there, else 0. */
static uint32_t entry_at(const struct blazei_tail_image *image, uint64_t offset, uint64_t lsn)
{
	const uint8_t *at = image->ring + offset;
	struct blazei_tail_entry entry;
	uint32_t len;

	memcpy(&entry, at, sizeof(entry));
	if (entry.lsn != lsn)
		return 0;
	memcpy(&len, at + sizeof(entry), sizeof(len));
	if (len < 8 || len % 8 != 0 || len > image->bytes - sizeof(entry))
		return 0;
	return entry_hash(image->seed, lsn, at + sizeof(entry), len) == entry.hash ? len : 0;
}

static int run_give(const struct blazei_tail_image *image, uint64_t after,
                    blazei_tail_visitor visitor, void *arg, uint64_t *ret_last)
{
	uint64_t offset = 0, lsn = after + 1;
	uint32_t len = 0;
	int error = 0;

	/* Each LSN was put once: where the run begins needs no mark that could be damaged. */
	while (offset < image->bytes && (len = entry_at(image, offset, lsn)) == 0)
		offset += 8;
	while (len > 0 && error >= 0) {
		error = visitor(arg, image->ring + offset + sizeof(struct blazei_tail_entry), len);
		offset = (offset + sizeof(struct blazei_tail_entry) + len) & (image->bytes - 1);
		lsn++;
		len = entry_at(image, offset, lsn);
	}
	*ret_last = lsn - 1;
	return error < 0 ? error : 0;
}

int blazei_tail_load(const char *dir, const struct blazei_tail_name *name,
                     const struct blaze_id *store, struct blazei_tail_image *ret_image)
{
	struct blazei_tail_image image = { .ring = NULL };
	struct blazei_place place;
	int error = blazei_place_open(dir, false, &place);

	if (error != 0)
		return error;
	error = image_load(place.fd, name, store, &image);
	blazei_place_close(&place);
	if (error == 0)
		*ret_image = image;
	else
		free(image.ring);
	return error;
}

void blazei_tail_image_free(struct blazei_tail_image *image)
{
	free(image->ring);
	*image = (struct blazei_tail_image){ .ring = NULL };
}

int blazei_tail_read(const struct blazei_tail_image *image, uint64_t after,
                     blazei_tail_visitor visitor, void *arg, uint64_t *ret_lost)
{
	uint64_t last = after;
	int error = run_give(image, after, visitor, arg, &last);

	if (error == 0)
		*ret_lost = image->last > last ? image->last - last : 0;
	return error;
}
