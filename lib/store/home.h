/* SPDX-License-Identifier: Apache-2.0 */
/* Where a store lies, by which its copies are told from it.
 *
 * WHY    A directory that was copied holds the same node id. Where both are written to as one node,
 *        neither knows of the other's writes, and what is true of one node is not: that its
 *        incarnations follow one another, so that a mark may stand for them (lib/repl/mark.h). So
 *        the root says where the store was opened last, and one that is found elsewhere is a node
 *        of its own from then on. It keeps all that it knows of the node that it was, as of any
 *        other. A wrong guess that it moved costs a node id; a wrong guess that it did not may cost
 *        writes.
 *
 *        A place is the inode of the directory, the time at which that was made, to the nanosecond,
 *        and the id of the file system. So a rename leaves a store where it is, and no copy has the
 *        number of its original, not even one that is put in its place. (Rejected: the number of
 *        the device, which another order of disks at the next start changes; the path, which a
 *        rename changes and a copy may have; the id of the machine, as containers come with a new
 *        one each time.)
 *
 * LIMIT  A disk that is cloned whole, below its file system, and a backend that keeps no directory:
 *        there both are the same place. Where they meet, the one is told that somebody writes under
 *        its node's id (BLAZE_SYNC_NODE_TWICE). */
#ifndef BLAZEI_STORE_HOME_H
#define BLAZEI_STORE_HOME_H

#include "lib/base/base.h"

struct blazei_home {
	uint64_t inode;
	uint64_t made_s; /* zeros where the file system does not say */
	uint64_t made_ns;
	uint64_t file_system;
};

/* Of an open directory, and of the one at a path. 0 or an error of the system. */
int blazei_home_of(int dir, struct blazei_home *ret_home);
int blazei_home_find(const char *location, struct blazei_home *ret_home);
/* A number for this store in this place; all zero: in none that is known. Never 0. */
uint64_t blazei_home_number(const struct blazei_home *home, const struct blaze_id *store);

#endif
