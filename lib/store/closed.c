/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a store is as it was closed; see closed.h. */
#include "lib/store/closed.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/op/hash.h"
#include "lib/store/home.h"

#define NAME "closed"

/* Whether the directory is still the one that the root names. */
static bool is_home(int dir, const struct blazei_root *root)
{
	struct blazei_home home;

	return blazei_home_of(dir, &home) == 0 &&
	       blazei_home_number(&home, &root->store) == root->home;
}

/* What the note says of the root that is there now. */
static bool closed_make(int dir, const struct blazei_root *root, struct blazei_closed *ret_closed)
{
	struct blazei_closed closed = {
		.magic = BLAZEI_CLOSED_MAGIC,
		.version = BLAZEI_CLOSED_VERSION,
		.root = { root->hash[0], root->hash[1] },
	};
	struct statx status;

	if (statx(dir, "root", AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_CTIME, &status) != 0)
		return false;
	closed.inode = status.stx_ino;
	closed.changed_s = (uint64_t)status.stx_ctime.tv_sec;
	closed.changed_ns = status.stx_ctime.tv_nsec;
	closed.hash = XXH3_64bits(&closed, offsetof(struct blazei_closed, hash));
	*ret_closed = closed;
	return true;
}

void blazei_closed_note(const char *location, const struct blazei_root *root)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
	int dir = open(location, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
	struct blazei_closed closed;

	if (dir < 0)
		return;
	if (is_home(dir, root) && closed_make(dir, root, &closed))
		fd = openat(dir, NAME, flags, 0600);
	/* A part of it does not hold. */
	if (fd >= 0 && write(fd, &closed, sizeof(closed)) != (ssize_t)sizeof(closed))
		(void)unlinkat(dir, NAME, 0);
	if (fd >= 0)
		close(fd);
	close(dir);
}

static bool note_read(int dir, struct blazei_closed *ret_closed)
{
	int fd = openat(dir, NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool whole;

	if (fd < 0)
		return false;
	whole = read(fd, ret_closed, sizeof(*ret_closed)) == (ssize_t)sizeof(*ret_closed);
	close(fd);
	return whole;
}

bool blazei_closed_take(const char *location, const struct blazei_root *root)
{
	int dir = open(location, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct blazei_closed closed, now;
	bool holds;

	if (dir < 0)
		return false;
	holds = note_read(dir, &closed);
	if (unlinkat(dir, NAME, 0) != 0)
		holds = false;
	if (holds)
		holds = is_home(dir, root) && closed_make(dir, root, &now) &&
		        memcmp(&closed, &now, sizeof(now)) == 0;
	close(dir);
	return holds;
}
