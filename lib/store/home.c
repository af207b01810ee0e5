/* SPDX-License-Identifier: Apache-2.0 */
/* Where a store lies; see home.h. */
#include "lib/store/home.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/op/hash.h"

int blazei_home_of(int dir, struct blazei_home *ret_home)
{
	struct blazei_home home = { 0 };
	struct statfs file_system;
	struct statx status;

	if (statx(dir, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &status) != 0 ||
	    fstatfs(dir, &file_system) != 0)
		return -errno;
	home.inode = status.stx_ino;
	if (status.stx_mask & STATX_BTIME) {
		home.made_s = (uint64_t)status.stx_btime.tv_sec;
		home.made_ns = status.stx_btime.tv_nsec;
	}
	static_assert(sizeof(file_system.f_fsid) == sizeof(home.file_system), "two halves");
	memcpy(&home.file_system, &file_system.f_fsid, sizeof(home.file_system));
	*ret_home = home;
	return 0;
}

int blazei_home_find(const char *location, struct blazei_home *ret_home)
{
	int dir = open(location, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int error = dir < 0 ? -errno : blazei_home_of(dir, ret_home);

	if (dir >= 0)
		close(dir);
	return error;
}

uint64_t blazei_home_number(const struct blazei_home *home, const struct blaze_id *store)
{
	const struct {
		struct blaze_id store;
		struct blazei_home home;
	} place = { *store, *home };
	const uint64_t number = XXH3_64bits(&place, sizeof(place));

	return number != 0 ? number : 1;
}
