/* SPDX-License-Identifier: Apache-2.0 */
/* Where stores leave what a reboot may take: the directory of the rings, or another one, which
 * tests name. */
#ifndef BLAZEI_STORE_PLACE_H
#define BLAZEI_STORE_PLACE_H

#include "lib/base/shm.h"

struct blazei_place {
	int fd;
	char path[BLAZEI_SHM_PATH_BYTES]; /* of the rings' directory; empty for another */
};

/* dir NULL: that of the rings, private to this user, which is made where it is missing and create
 * is set. 0 or an error. */
int blazei_place_open(const char *dir, bool create, struct blazei_place *ret_place);
void blazei_place_close(struct blazei_place *place);

#endif
