/* SPDX-License-Identifier: Apache-2.0 */
/* Recording calls, and making disks of them; see issued.h. The program that has this is linked so
 * that these calls come here first. */
#include "tests/db/issued.h"

#include <check.h>
#include <fcntl.h>
#include <liburing.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVENTS_MAX 4096u
#define FILES_MAX  64u
#define NAME_BYTES 64u
#define BLOCK      4096u

struct event {
	enum issued_kind kind;
	unsigned file;
	char name[NAME_BYTES];
	char to[NAME_BYTES];
	uint64_t offset; /* length of a truncation, count of an acknowledgement */
	uint64_t len;
	uint8_t *data; /* NULL: zeros */
};

static struct event events[EVENTS_MAX];
static unsigned event_count;
static unsigned file_count;
static char recorded[PATH_MAX];
static bool recording;
static unsigned grows; /* the segment that was made last, which io_uring knows by number */

int __real_openat(int dir, const char *name, int flags, mode_t mode);
ssize_t __real_pwrite(int fd, const void *data, size_t len, off_t offset);
int __real_ftruncate(int fd, off_t len);
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __real_renameat(int from, const char *name, int to, const char *other);
int __real_unlinkat(int dir, const char *name, int flags);
int __real_mkdir(const char *path, mode_t mode);
int __real_io_uring_submit(struct io_uring *ring);

int __wrap_openat(int dir, const char *name, int flags, ...);
ssize_t __wrap_pwrite(int fd, const void *data, size_t len, off_t offset);
int __wrap_ftruncate(int fd, off_t len);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_renameat(int from, const char *name, int to, const char *other);
int __wrap_unlinkat(int dir, const char *name, int flags);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_io_uring_submit(struct io_uring *ring);

/* Recording ----------------------------------------------------------------------------------- */

static struct event *event_add(enum issued_kind kind, unsigned file)
{
	struct event *event = &events[event_count++];

	ck_assert_uint_lt(event_count, EVENTS_MAX);
	*event = (struct event){ .kind = kind, .file = file };
	return event;
}

/* Which file a name stands for now; FILES_MAX: none. */
static unsigned file_named(const char *name)
{
	unsigned file = FILES_MAX;

	for (unsigned i = 0; i < event_count; i++) {
		if (events[i].kind == ISSUED_CREATE && strcmp(events[i].name, name) == 0)
			file = events[i].file;
		if (events[i].kind == ISSUED_RENAME && strcmp(events[i].to, name) == 0)
			file = events[i].file;
		else if ((events[i].kind == ISSUED_RENAME || events[i].kind == ISSUED_UNLINK) &&
		         strcmp(events[i].name, name) == 0)
			file = FILES_MAX;
	}
	return file;
}

/* The name that a descriptor has in the directory; "": the directory; NULL: elsewhere. */
static const char *name_of(int fd)
{
	static char path[PATH_MAX];
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	ck_assert_int_gt(n, 0);
	path[n] = '\0';
	n = (ssize_t)strlen(recorded);
	if (strncmp(path, recorded, (size_t)n) != 0 || (path[n] != '\0' && path[n] != '/'))
		return NULL;
	return path[n] == '\0' ? "" : path + n + 1;
}

/* Whether it is the directory above. */
static bool is_parent(int fd)
{
	char link[64], path[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path));
	return n > 0 && n == strrchr(recorded, '/') - recorded &&
	       memcmp(path, recorded, (size_t)n) == 0;
}

static void write_record(unsigned file, const void *data, uint64_t len, uint64_t offset)
{
	struct event *event = event_add(ISSUED_WRITE, file);
	const uint8_t *bytes = data;

	event->offset = offset;
	event->len = len;
	for (uint64_t i = 0; i < len && event->data == NULL; i++)
		if (bytes[i] != 0)
			event->data = malloc(len);
	if (event->data != NULL)
		memcpy(event->data, data, len);
}

static void sync_record(int fd)
{
	const char *name = recording ? name_of(fd) : NULL;

	if (name != NULL && name[0] == '\0')
		event_add(ISSUED_DIR_SYNC, 0);
	else if (name != NULL && file_named(name) != FILES_MAX)
		event_add(ISSUED_SYNC, file_named(name));
	else if (recording && is_parent(fd))
		event_add(ISSUED_PARENT_SYNC, 0);
}

int __wrap_openat(int dir, const char *name, int flags, ...)
{
	mode_t mode = 0;
	int fd;

	if ((flags & O_CREAT) != 0) {
		va_list args;

		va_start(args, flags);
		mode = va_arg(args, mode_t);
		va_end(args);
	}
	fd = __real_openat(dir, name, flags, mode);
	if (!recording || fd < 0 || (flags & O_CREAT) == 0 || name_of(fd) == NULL ||
	    strcmp(name, "lock") == 0)
		return fd;
	if (file_named(name) != FILES_MAX) {
		if ((flags & O_TRUNC) != 0)
			event_add(ISSUED_TRUNCATE, file_named(name));
		return fd;
	}
	ck_assert_uint_lt(file_count, FILES_MAX);
	snprintf(event_add(ISSUED_CREATE, file_count)->name, NAME_BYTES, "%s", name);
	if (strstr(name, ".seg") != NULL)
		grows = file_count;
	file_count++;
	return fd;
}

ssize_t __wrap_pwrite(int fd, const void *data, size_t len, off_t offset)
{
	ssize_t n = __real_pwrite(fd, data, len, offset);
	const char *name = recording && n > 0 ? name_of(fd) : NULL;

	if (name != NULL && file_named(name) != FILES_MAX)
		write_record(file_named(name), data, (uint64_t)n, (uint64_t)offset);
	return n;
}

int __wrap_ftruncate(int fd, off_t len)
{
	const char *name = recording ? name_of(fd) : NULL;

	if (name != NULL && file_named(name) != FILES_MAX)
		event_add(ISSUED_TRUNCATE, file_named(name))->offset = (uint64_t)len;
	return __real_ftruncate(fd, len);
}

int __wrap_fsync(int fd)
{
	sync_record(fd);
	return __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
	sync_record(fd);
	return __real_fdatasync(fd);
}

int __wrap_renameat(int from, const char *name, int to, const char *other)
{
	if (recording && name_of(from) != NULL) {
		struct event *event = event_add(ISSUED_RENAME, file_named(name));

		snprintf(event->name, NAME_BYTES, "%s", name);
		snprintf(event->to, NAME_BYTES, "%s", other);
	}
	return __real_renameat(from, name, to, other);
}

int __wrap_unlinkat(int dir, const char *name, int flags)
{
	const unsigned file = file_named(name);

	if (recording && file != FILES_MAX && name_of(dir) != NULL)
		snprintf(event_add(ISSUED_UNLINK, file)->name, NAME_BYTES, "%s", name);
	return __real_unlinkat(dir, name, flags);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
	const char *last = strrchr(recorded, '/');
	int rc = __real_mkdir(path, mode);

	if (rc == 0 && recording && last != NULL && strrchr(path, '/') != NULL &&
	    strcmp(strrchr(path, '/'), last) == 0)
		event_add(ISSUED_MKDIR, 0);
	return rc;
}

/* What is queued is taken in its order; a sync is linked behind what it is for. */
int __wrap_io_uring_submit(struct io_uring *ring)
{
	bool linked = false;

	for (unsigned i = ring->sq.sqe_head; recording && i != ring->sq.sqe_tail; i++) {
		const struct io_uring_sqe *sqe = &ring->sq.sqes[i & *ring->sq.kring_mask];

		if (sqe->opcode == IORING_OP_WRITE || sqe->opcode == IORING_OP_WRITE_FIXED)
			write_record(grows, (const void *)(uintptr_t)sqe->addr, sqe->len, sqe->off);
		/* One that waits for nothing may be done before what is under way. */
		else if (sqe->opcode == IORING_OP_FSYNC && (linked || i == ring->sq.sqe_head))
			event_add(ISSUED_SYNC, grows);
		linked = (sqe->flags & IOSQE_IO_LINK) != 0;
	}
	return __real_io_uring_submit(ring);
}

void issued_begin(const char *dir)
{
	char above[PATH_MAX];
	const char *last = strrchr(dir, '/');

	issued_clear();
	ck_assert_ptr_nonnull(last);
	snprintf(above, sizeof(above), "%.*s", (int)(last - dir), dir);
	ck_assert_ptr_nonnull(realpath(above, recorded));
	strncat(recorded, last, sizeof(recorded) - strlen(recorded) - 1);
	recording = true;
}

void issued_ack(uint64_t count)
{
	event_add(ISSUED_ACK, 0)->offset = count;
}

unsigned issued_end(void)
{
	recording = false;
	return event_count;
}

void issued_clear(void)
{
	while (event_count > 0)
		free(events[--event_count].data);
	file_count = 0;
	recording = false;
}

const char *issued_name(unsigned count)
{
	static const char *const names[] = {
		"create", "write",       "truncate", "sync",           "rename",
		"unlink", "sync of dir", "mkdir",    "sync of parent", "ack",
	};

	return count > 0 ? names[events[count - 1].kind] : "nothing";
}

/* Disks --------------------------------------------------------------------------------------- */

struct chance {
	enum issued_chance kind;
	unsigned seed;
};

static bool kept(struct chance *chance, bool name)
{
	if (chance->kind == ISSUED_RANDOM)
		return rand_r(&chance->seed) % 2 == 0;
	return chance->kind == ISSUED_ALL || (chance->kind == ISSUED_ORDER && name);
}

/* Whether an event of this kind, and of this file where that counts, comes after i. */
static bool follows(unsigned i, unsigned end, enum issued_kind kind, unsigned file)
{
	for (unsigned k = i + 1; k < end; k++)
		if (events[k].kind == kind && (kind != ISSUED_SYNC || events[k].file == file))
			return true;
	return false;
}

/* Writes an event's blocks: those that are kept, or that are another's. */
static void blocks_write(int fd, const struct event *event, struct chance *chance, bool sure)
{
	static const uint8_t zeros[BLOCK];

	for (uint64_t at = 0; at < event->len; at += BLOCK) {
		const uint64_t left = event->len - at;
		const size_t n = left < BLOCK ? (size_t)left : BLOCK;
		const uint8_t *data = event->data != NULL ? event->data + at : zeros;

		if (!sure && !kept(chance, false))
			continue;
		/* A block that went to the wrong place. */
		if (!sure && chance->kind == ISSUED_RANDOM && event->data != NULL &&
		    rand_r(&chance->seed) % 16 == 0)
			data = event->data;
		ck_assert_int_eq(__real_pwrite(fd, data, n, (off_t)(event->offset + at)), n);
	}
}

/* Makes one file as it may look. */
static void file_make(const char *path, unsigned file, unsigned end, struct chance *chance)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);

	ck_assert_int_ge(fd, 0);
	for (unsigned i = 0; i < end; i++) {
		const struct event *event = &events[i];
		const bool sure = follows(i, end, ISSUED_SYNC, file);

		if (event->file != file)
			continue;
		if (event->kind == ISSUED_WRITE)
			blocks_write(fd, event, chance, sure);
		else if (event->kind == ISSUED_TRUNCATE && (sure || kept(chance, false)))
			ck_assert_int_eq(__real_ftruncate(fd, (off_t)event->offset), 0);
	}
	close(fd);
}

/* Takes what was done to names, as far as it is there. */
static void names_take(unsigned end, struct chance *chance, char names[FILES_MAX][NAME_BYTES])
{
	for (unsigned i = 0; i < end; i++) {
		const struct event *event = &events[i];
		const bool name = event->kind == ISSUED_CREATE || event->kind == ISSUED_RENAME ||
		                  event->kind == ISSUED_UNLINK;

		if (!name || (!follows(i, end, ISSUED_DIR_SYNC, 0) && !kept(chance, true)))
			continue;
		for (unsigned k = 0; k < FILES_MAX; k++)
			if (event->kind == ISSUED_RENAME && strcmp(names[k], event->to) == 0)
				names[k][0] = '\0';
		if (event->kind == ISSUED_UNLINK)
			names[event->file][0] = '\0';
		else
			snprintf(names[event->file], NAME_BYTES, "%s",
			         event->kind == ISSUED_RENAME ? event->to : event->name);
	}
}

uint64_t issued_disk(const char *to, unsigned end, enum issued_chance kind, unsigned seed,
                     bool *ret_there)
{
	struct chance chance = { kind, seed };
	char names[FILES_MAX][NAME_BYTES] = { "" };
	char path[PATH_MAX + NAME_BYTES];
	uint64_t acknowledged = 0;

	*ret_there = true;
	for (unsigned i = 0; i < end; i++) {
		if (events[i].kind == ISSUED_ACK)
			acknowledged = events[i].offset;
		if (events[i].kind == ISSUED_MKDIR && !follows(i, end, ISSUED_PARENT_SYNC, 0))
			*ret_there = kept(&chance, true);
	}
	if (!*ret_there)
		return acknowledged;
	ck_assert_int_eq(__real_mkdir(to, 0700), 0);
	names_take(end, &chance, names);
	for (unsigned i = 0; i < file_count; i++) {
		if (names[i][0] == '\0')
			continue;
		snprintf(path, sizeof(path), "%s/%s", to, names[i]);
		file_make(path, i, end, &chance);
	}
	return acknowledged;
}
