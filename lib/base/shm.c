/* SPDX-License-Identifier: Apache-2.0 */
/* Directories and files on /dev/shm; see shm.h. */
#include "lib/base/shm.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int blazei_shm_dir_check(int fd, uint32_t mode, struct stat *ret_status)
{
	const mode_t want = mode == 0600 ? 0700 : 02770;

	if (fstat(fd, ret_status) < 0)
		return -errno;
	if (!S_ISDIR(ret_status->st_mode) || (ret_status->st_mode & 07777) != want)
		return -EACCES;
	if (mode == 0600 && ret_status->st_uid != geteuid())
		return -EACCES;
	return 0;
}

int blazei_shm_dir_make(int at, const char *name, uint32_t mode)
{
	const mode_t want = mode == 0600 ? 0700 : 02770;

	if (mkdirat(at, name, 0700) < 0)
		return -errno;
	/* A directory that we just made 0700 cannot be replaced by another user, as /dev/shm is
	 * sticky and group parents are only written by the group. */
	if (mode != 0600 && fchownat(at, name, (uid_t)-1, getegid(), AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (fchmodat(at, name, want, 0) < 0)
		return -errno;
	return 0;
}

int blazei_parent_open(uint32_t mode, bool create, char *ret_path, size_t size)
{
	struct stat st;
	int fd, rc;

	if (mode == 0600)
		snprintf(ret_path, size, "/dev/shm/blaze-%u", (unsigned)geteuid());
	else
		snprintf(ret_path, size, "/dev/shm/blaze-g%u", (unsigned)getegid());
	if (create) {
		rc = blazei_shm_dir_make(AT_FDCWD, ret_path, mode);
		if (rc < 0 && rc != -EEXIST)
			return rc;
	}
	fd = open(ret_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ELOOP || errno == ENOTDIR ? -EACCES : -errno;
	rc = blazei_shm_dir_check(fd, mode, &st);
	/* Its maker may be between mkdir and chmod, or have died there: then it is ours to mend. */
	if (rc == -EACCES && mode != 0600 && st.st_uid == geteuid() && S_ISDIR(st.st_mode) &&
	    (st.st_mode & 07777) == 0700 && fchown(fd, (uid_t)-1, getegid()) == 0 &&
	    fchmod(fd, 02770) == 0)
		rc = blazei_shm_dir_check(fd, mode, &st);
	if (rc == 0 && mode != 0600 && st.st_gid != getegid())
		rc = -EACCES;
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

void blazei_parent_close(int parent_fd, const char *parent_path)
{
	close(parent_fd);
	/* Refused unless it is empty; whoever is about to make a ring in it starts again. */
	rmdir(parent_path);
}

int blazei_shm_file_check(int fd, const struct blazei_shm_owner *owner, uint64_t bytes,
                          uint64_t *ret_bytes)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (st.st_mode & 07777) != owner->mode)
		return -EACCES;
	if (owner->mode == 0600 ? st.st_uid != owner->user : st.st_gid != owner->group)
		return -EACCES;
	if (st.st_nlink > 1)
		return -EACCES;
	if (st.st_nlink == 0)
		return -ENOENT;
	if (st.st_size < 0 || (bytes != 0 && (uint64_t)st.st_size != bytes))
		return -EBADMSG;
	if (ret_bytes)
		*ret_bytes = (uint64_t)st.st_size;
	return 0;
}
