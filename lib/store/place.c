/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of tails; see place.h. */
#include "lib/store/place.h"

#include <fcntl.h>
#include <unistd.h>

int blazei_place_open(const char *dir, bool create, struct blazei_place *ret_place)
{
	int fd;

	ret_place->path[0] = '\0';
	if (dir != NULL)
		fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	else
		fd = blazei_parent_open(0600, create, ret_place->path, sizeof(ret_place->path));
	if (fd < 0)
		return dir != NULL ? -errno : fd;
	ret_place->fd = fd;
	return 0;
}

void blazei_place_close(struct blazei_place *place)
{
	if (place->path[0] != '\0')
		blazei_parent_close(place->fd, place->path);
	else
		close(place->fd);
}
