/* SPDX-License-Identifier: Apache-2.0 */
/* A store's directory; see folder.h and the layout in file.c. */
#include "lib/store/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/store/file.h"

/* The directory's own lock goes with the directory, whatever becomes of the files in it. Some file
 * systems have none for directories, as those of a network: there the file's has to do. */
static int dir_lock(int dir)
{
	int rc;

	do
		rc = flock(dir, LOCK_EX | LOCK_NB);
	while (rc != 0 && errno == EINTR);
	return rc != 0 && errno == EWOULDBLOCK ? -EBUSY : 0;
}

int blazei_folder_lock(int dir)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int error = dir_lock(dir);
	int fd;

	if (error != 0)
		return error;
	fd = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
		error = errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
		close(fd);
		return error;
	}
	return fd;
}

/* Whether it is a segment's name. */
static bool name_parse(const char *name, uint64_t *ret_segment)
{
	char again[BLAZEI_FILE_NAME_BYTES];

	*ret_segment = strtoull(name, NULL, 16);
	snprintf(again, sizeof(again), BLAZEI_FILE_SEGMENT_NAME, *ret_segment);
	return strcmp(name, again) == 0;
}

/* Names that a store leaves, besides its segments, and those that are in any directory. */
static bool name_known(const char *name)
{
	static const char *const known[] = { ".",      "..",       "lock",      "lane",
		                             "closed", "root.new", "lost+found" };
	uint64_t segment;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(name, known[i]) == 0)
			return true;
	return name_parse(name, &segment);
}

int blazei_folder_ours(int dir, const char *location)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry = NULL;
	int error = 0;

	if (stream == NULL) {
		error = -errno;
		if (fd >= 0)
			close(fd);
		return error;
	}
	if (faccessat(dir, "root", F_OK, AT_SYMLINK_NOFOLLOW) != 0) {
		do {
			errno = 0;
			entry = readdir(stream);
		} while (entry != NULL && name_known(entry->d_name));
		error = entry != NULL ? -ENOTEMPTY : -errno;
	}
	if (error == -ENOTEMPTY)
		blazei_log(BLAZE_LOG_ERROR, "store %s: there is none, but %s is there", location,
		           entry->d_name);
	closedir(stream);
	return error;
}

int64_t blazei_folder_list(int dir, uint64_t *ret_segments, size_t max)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	int64_t count = 0;
	uint64_t segment;

	if (stream == NULL) {
		int error = -errno;

		if (fd >= 0)
			close(fd);
		return error;
	}
	errno = 0;
	while ((entry = readdir(stream)) != NULL) {
		if (!name_parse(entry->d_name, &segment))
			continue;
		if ((uint64_t)count < max)
			ret_segments[count] = segment;
		count++;
	}
	if (errno != 0)
		count = -errno;
	closedir(stream);
	return count;
}
