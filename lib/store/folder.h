/* SPDX-License-Identifier: Apache-2.0 */
/* What a store's directory has, for those who write to it and those who only look. */
#ifndef BLAZEI_STORE_FOLDER_H
#define BLAZEI_STORE_FOLDER_H

#include <stddef.h>
#include <stdint.h>

/* Has this descriptor lock the directory, and the file `lock` in it, which is made where it is
 * missing: a descriptor of the file, to be closed before the directory's. -EBUSY: it is locked. */
int blazei_folder_lock(int dir);

/* Whether a store may be in it: there is a root, or nothing but what stores leave. -ENOTEMPTY:
 * there is something else, which the log hook is told of; or an error of the system. */
int blazei_folder_ours(int dir, const char *location);

/* The numbers of its segments; how many there are, which may be more than max, or an error. */
int64_t blazei_folder_list(int dir, uint64_t *ret_segments, size_t max);

#endif
