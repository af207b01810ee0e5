/* SPDX-License-Identifier: Apache-2.0 */
/* Names: where rings live on /dev/shm, how one comes into being whole, and how it goes.
 *
 * WHY    A directory per ring, because a directory can be made aside and renamed into place, and
 *        because everything inside it can be reached through a descriptor that keeps meaning this
 *        ring when the name already leads to another.
 *
 * INVARIANTS
 * I1  A ring's directory has had exactly one control segment from the moment it has its name; a
 *     directory without one is a husk that anyone may empty.
 * I2  Every participant holds a shared flock on control for its life (through the mapping that
 *     also holds its slot, slot.c). Whoever gets it exclusively knows that nobody is attached and
 *     that nobody can attach meanwhile.
 * I3  Files are removed only through the descriptor of their own directory; rmdir by name removes
 *     empty directories only, and a ring that is in use is never empty. So a remover that was
 *     stopped for an hour harms no ring that took the name since.
 *
 * FAILURE  Killed while creating: a directory ".new.*" remains. Killed while unlinking: a directory
 *        ".gone.*" does. Either goes, once it is 10 s old, with the next ring that anybody
 *        creates, or by `blaze-ring clean`. Killed while removing: a husk remains, removed by the
 *        next attach to the name, or clean. */
#include "shm/ring.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DIR_ENTRIES_MAX 100000u
/* Nobody takes this long between making a directory and giving it its name. */
#define UNFINISHED_S 10

int blazei_dir_open(int parent_fd, const char *parent_path, const char *name, uint32_t mode,
                    struct blazei_dir *ret_dir)
{
	struct stat st;
	int fd, rc;

	fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ELOOP || errno == ENOTDIR ? -EACCES : -errno;
	rc = blazei_shm_dir_check(fd, mode, &st);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	*ret_dir = (struct blazei_dir){
		.fd = fd,
		.device = st.st_dev,
		.inode = st.st_ino,
		.mode = mode,
		.owner = st.st_uid,
		.group = st.st_gid,
	};
	snprintf(ret_dir->path, sizeof(ret_dir->path), "%s/%s", parent_path, name);
	return 0;
}

void blazei_dir_close(struct blazei_dir *dir)
{
	struct stat st;

	/* The host may have closed our descriptor and opened another under its number. */
	if (dir->fd >= 0 && fstat(dir->fd, &st) == 0 && st.st_dev == dir->device &&
	    st.st_ino == dir->inode)
		close(dir->fd);
	dir->fd = -1;
}

int blazei_dir_fd(struct blazei_dir *dir)
{
	struct stat st;
	int fd;

	if (fstat(dir->fd, &st) == 0 && st.st_dev == dir->device && st.st_ino == dir->inode)
		return dir->fd;
	fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || st.st_dev != dir->device || st.st_ino != dir->inode) {
		close(fd);
		return -ENOENT;
	}
	dir->fd = fd;
	return fd;
}

int blazei_file_check(const struct blazei_dir *dir, int fd, uint64_t bytes, uint64_t *ret_bytes)
{
	const struct blazei_shm_owner owner = { dir->mode, dir->owner, dir->group };

	return blazei_shm_file_check(fd, &owner, bytes, ret_bytes);
}

/* Writes a new control segment and links it, whole, into the directory. */
static int create_control(int dir_fd, uint32_t mode, uint32_t participants_max)
{
	struct blazei_control control = {
		.preamble = {
			.magic = BLAZEI_CONTROL_MAGIC,
			.abi_major = BLAZEI_ABI_MAJOR,
			.abi_minor = BLAZEI_ABI_MINOR,
			.header_bytes = sizeof(struct blazei_control),
			.endian_mark = BLAZEI_ENDIAN_MARK,
		},
		.participants_max = participants_max,
		.mode = mode,
		.created_ns = blazei_realtime_ns(),
	};
	char self[32];
	int fd, rc;

	rc = blazei_random(control.preamble.ring, sizeof(control.preamble.ring));
	if (rc < 0)
		return rc;
	fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	rc = blazei_file_allowed(BLAZEI_CONTROL_BYTES);
	if (rc == 0 && fallocate(fd, 0, 0, BLAZEI_CONTROL_BYTES) < 0)
		rc = -errno;
	if (rc == 0 && fchmod(fd, mode) < 0)
		rc = -errno;
	if (rc == 0 && pwrite(fd, &control, sizeof(control), 0) != (ssize_t)sizeof(control))
		rc = -EIO;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (rc == 0 && linkat(AT_FDCWD, self, dir_fd, "control", AT_SYMLINK_FOLLOW) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

int blazei_dir_create(int parent_fd, const char *name, uint32_t mode, uint32_t participants_max)
{
	char temporary[32];
	uint64_t random;
	int fd, rc;

	rc = blazei_random(&random, sizeof(random));
	if (rc < 0)
		return rc;
	snprintf(temporary, sizeof(temporary), ".new.%016llx", (unsigned long long)random);
	rc = blazei_shm_dir_make(parent_fd, temporary, mode);
	if (rc < 0)
		return rc;
	BLAZEI_TESTPOINT("ring_create_directory");
	fd = openat(parent_fd, temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		rc = -errno;
		unlinkat(parent_fd, temporary, AT_REMOVEDIR);
		return rc;
	}
	rc = create_control(fd, mode, participants_max);
	BLAZEI_TESTPOINT("ring_create_control");
	if (rc == 0 &&
	    syscall(SYS_renameat2, parent_fd, temporary, parent_fd, name, 1 /* NOREPLACE */) < 0)
		rc = -errno;
	if (rc < 0)
		blazei_dir_empty(parent_fd, fd, temporary);
	close(fd);
	return rc;
}

/* What a directory holds, to be read once; NULL: it cannot be read. */
static DIR *listing_open(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;

	if (!listing && fd >= 0)
		close(fd);
	return listing;
}

void blazei_dir_empty(int parent_fd, int dir_fd, const char *name)
{
	struct dirent *entry;
	unsigned seen = 0;
	DIR *listing = listing_open(dir_fd);

	if (!listing)
		return;
	while (seen++ < DIR_ENTRIES_MAX && (entry = readdir(listing)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    unlinkat(dir_fd, entry->d_name, 0) < 0 && errno == EISDIR)
			unlinkat(dir_fd, entry->d_name, AT_REMOVEDIR);
	closedir(listing);
	unlinkat(parent_fd, name, AT_REMOVEDIR);
}

/* Removes every lane and then control, so that a ring stays one until it is a husk. */
static void remove_lanes(int dir_fd)
{
	struct dirent *entry;
	unsigned seen = 0;
	uint64_t generation;
	uint32_t slot;
	DIR *listing = listing_open(dir_fd);

	if (!listing)
		return;
	while (seen++ < DIR_ENTRIES_MAX && (entry = readdir(listing)))
		if (blazei_lane_name_parse(entry->d_name, &slot, &generation))
			unlinkat(dir_fd, entry->d_name, 0);
	closedir(listing);
}

int blazei_dir_remove_unused(int parent_fd, const char *parent_path, const char *name,
                             uint32_t mode)
{
	struct blazei_dir dir;
	struct stat st;
	int fd, rc;

	rc = blazei_dir_open(parent_fd, parent_path, name, mode, &dir);
	if (rc < 0)
		return rc;
	fd = openat(dir.fd, "control", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		rc = errno == ENOENT ? 1 : -errno;
		if (rc == 1)
			blazei_dir_empty(parent_fd, dir.fd, name); /* a husk: I1 */
		blazei_dir_close(&dir);
		return rc;
	}
	rc = 0;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0) {
		/* I2: nobody is attached, and nobody attaches before we close fd. */
		remove_lanes(dir.fd);
		BLAZEI_TESTPOINT("ring_remove_lanes");
		unlinkat(dir.fd, "control", 0);
		BLAZEI_TESTPOINT("ring_remove_control");
		blazei_dir_empty(parent_fd, dir.fd, name);
		rc = 1;
	}
	close(fd);
	blazei_dir_close(&dir);
	return rc;
}

void blazei_dir_remove_husk(int parent_fd, const char *parent_path, const char *name, uint32_t mode,
                            bool removing)
{
	struct blazei_dir dir;
	bool husk;
	int fd;

	if (blazei_dir_open(parent_fd, parent_path, name, mode, &dir) < 0)
		return;
	fd = openat(dir.fd, "control", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	husk = fd < 0 && errno == ENOENT;
	/* I2: refused means that somebody holds it exclusively: a remover. */
	if (fd >= 0 && removing)
		husk = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
	if (husk)
		blazei_dir_empty(parent_fd, dir.fd, name);
	if (fd >= 0)
		close(fd);
	blazei_dir_close(&dir);
}

/* Tells those attached that the name is gone. */
static void mark_unlinked(struct blazei_dir *dir)
{
	struct blazei_control copy, *control;
	int fd = blazei_control_open(dir, true, &copy);

	if (fd < 0)
		return;
	control = mmap(NULL, BLAZEI_CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (control == MAP_FAILED)
		return;
	/* Release: pairs with the acquire loads of `unlinked` and of wake_seq in poll.c, wake.c. */
	atomic_store_explicit(&control->unlinked, 1, memory_order_release);
	atomic_fetch_add_explicit(&control->epoch, 1, memory_order_release);
	atomic_fetch_add_explicit(&control->wake_seq, 1, memory_order_release);
	syscall(SYS_futex, &control->wake_seq, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
	munmap(control, BLAZEI_CONTROL_BYTES);
}

int blazei_dir_unlink(int parent_fd, const char *parent_path, const char *name, uint32_t mode)
{
	struct blazei_dir dir;
	char gone[32];
	uint64_t random;
	int rc;

	/* What is no ring of ours keeps its name. */
	rc = blazei_dir_open(parent_fd, parent_path, name, mode, &dir);
	if (rc < 0)
		return rc;
	blazei_dir_close(&dir);
	rc = blazei_random(&random, sizeof(random));
	if (rc < 0)
		return rc;
	/* A name starting with a dot is one of the leftovers that clean passes in: it stays. */
	if (name[0] == '.')
		snprintf(gone, sizeof(gone), "%s", name);
	else
		snprintf(gone, sizeof(gone), ".gone.%016llx", (unsigned long long)random);
	if (name[0] != '.' && renameat(parent_fd, name, parent_fd, gone) < 0)
		return -errno;
	BLAZEI_TESTPOINT("ring_unlink_renamed");
	rc = blazei_dir_open(parent_fd, parent_path, gone, mode, &dir);
	if (rc < 0)
		return rc;
	mark_unlinked(&dir);
	BLAZEI_TESTPOINT("ring_unlink_marked");
	blazei_dir_empty(parent_fd, dir.fd, gone);
	blazei_dir_close(&dir);
	return 0;
}

bool blazei_dir_unfinished(const char *name)
{
	return strncmp(name, ".new.", 5) == 0 || strncmp(name, ".gone.", 6) == 0;
}

int blazei_dir_remove_unfinished(int parent_fd, const char *parent_path, const char *name,
                                 uint32_t mode)
{
	struct timespec now;
	struct stat st;

	clock_gettime(CLOCK_REALTIME, &now);
	if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    now.tv_sec - st.st_mtim.tv_sec < UNFINISHED_S)
		return 0;
	blazei_dir_unlink(parent_fd, parent_path, name, mode);
	return fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? 1 : -EACCES;
}

void blazei_dir_remove_all_unused(int parent_fd, const char *parent_path, const char *prefix,
                                  uint32_t mode)
{
	const struct dirent *entry;
	unsigned seen = 0;
	DIR *listing = listing_open(parent_fd);

	if (!listing)
		return;
	while (seen++ < DIR_ENTRIES_MAX && (entry = readdir(listing)))
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
			blazei_dir_remove_unused(parent_fd, parent_path, entry->d_name, mode);
	closedir(listing);
}

void blazei_dir_sweep(int parent_fd, const char *parent_path, uint32_t mode)
{
	const struct dirent *entry;
	unsigned seen = 0;
	DIR *listing = listing_open(parent_fd);

	if (!listing)
		return;
	while (seen++ < DIR_ENTRIES_MAX && (entry = readdir(listing)))
		if (blazei_dir_unfinished(entry->d_name))
			blazei_dir_remove_unfinished(parent_fd, parent_path, entry->d_name, mode);
	closedir(listing);
}
