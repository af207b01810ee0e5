/* SPDX-License-Identifier: Apache-2.0 */
/* Where this library's files on /dev/shm live, and what is accepted there.
 *
 * WHY    /dev/shm is open to everyone. So each user has a directory that nobody else can enter, and
 *        each group one for its rings; owner, mode, size and link count of what lies there are
 *        checked before anything is read. Rings and the tails of stores share it.
 *
 * LAYOUT /dev/shm/blaze-UID, 0700, files 0600; /dev/shm/blaze-gGID, 2770, files 0660. */
#ifndef BLAZEI_SHM_H
#define BLAZEI_SHM_H

#include <sys/stat.h>

#include "lib/base/base.h"

#define BLAZEI_SHM_PATH_BYTES 64

/* Opens the caller's directory (private or of the group, by mode: 0600 or 0660); creates it where
 * create is set. Returns a descriptor; -ENOENT; -EACCES where another user made it or its mode is
 * wrong; -ENOSPC. ret_path gets its path (at least BLAZEI_SHM_PATH_BYTES). */
int blazei_parent_open(uint32_t mode, bool create, char *ret_path, size_t size);

/* Closes it, and removes the directory if it holds nothing any more. */
void blazei_parent_close(int parent_fd, const char *parent_path);

/* Whether a directory has the mode and owner of one with files of this mode: 0, -EACCES. */
int blazei_shm_dir_check(int fd, uint32_t mode, struct stat *ret_status);
/* Makes one with exactly this mode, whatever the umask. */
int blazei_shm_dir_make(int at, const char *name, uint32_t mode);

/* Whose files are accepted, and with which mode: of the user with 0600, of the group with 0660. */
struct blazei_shm_owner {
	uint32_t mode;
	uid_t user;
	gid_t group;
};

/* Whether a file is one of ours, with one name, and of this size (0: any), which it gives: 0,
 * -EACCES, -ENOENT it has no name any more, -EBADMSG. */
int blazei_shm_file_check(int fd, const struct blazei_shm_owner *owner, uint64_t bytes,
                          uint64_t *ret_bytes);

#endif
