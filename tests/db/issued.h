/* SPDX-License-Identifier: Apache-2.0 */
/* What "file:" really asked of the kernel, and what a power cut may have left of it.
 *
 * WHY    That a store syncs what has to be synced, in the right order, shows only when the power
 *        goes. So all calls that change a directory are recorded as they are made, by io_uring or
 *        without, and disks are made as they may look if the power went after any of them.
 *
 * MODEL  A file's content is on the disk up to its last sync; of each later write any block of 4
 *        KiB may be there or not, or be another one's; so may each change of its length. A name is
 *        there for good when its directory was synced, whatever was done to the file; of what was
 *        done to names since, any part may be. */
#ifndef TESTS_DB_ISSUED_H
#define TESTS_DB_ISSUED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum issued_kind {
	ISSUED_CREATE,
	ISSUED_WRITE,
	ISSUED_TRUNCATE,
	ISSUED_SYNC,
	ISSUED_RENAME,
	ISSUED_UNLINK,
	ISSUED_DIR_SYNC,
	ISSUED_MKDIR,
	ISSUED_PARENT_SYNC,
	ISSUED_ACK, /* the caller's mark: so many writes are acknowledged */
};

/* Records, from now on, what is done in the directory of that name. */
void issued_begin(const char *dir);
void issued_ack(uint64_t count);
/* No more of it. How many events there were. */
unsigned issued_end(void);
/* Forgets all. */
void issued_clear(void);

enum issued_chance {
	ISSUED_NONE,  /* nothing is there that need not be */
	ISSUED_ALL,   /* all is there */
	ISSUED_ORDER, /* no content, but all names */
	ISSUED_RANDOM,
};

/* Makes a disk, in this directory, which is not there, as it may look when the power went after so
 * many events. Returns how many writes were acknowledged by then; *ret_there: the directory is. */
uint64_t issued_disk(const char *to, unsigned events, enum issued_chance chance, unsigned seed,
                     bool *ret_there);
/* Which kind of event was the last of these. */
const char *issued_name(unsigned events);

#endif
