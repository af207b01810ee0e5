/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a store is as it was closed.
 *
 * WHY    A node may go on under its incarnation where no number of a transaction is given twice by
 *        that: where its store was closed cleanly, and is what it was then. In every other case the
 *        opening begins a new incarnation, which takes one more place among all that ever wrote
 *        (lib/repl/replica.h); these get few where a member is away for long and none may be
 *        retired. So a clean close leaves a note in the directory, with what nobody can set back:
 *        which root there is, and inode and time of change of the root's file. The next opening
 *        removes the note before anything else. What brings an older store back into the directory
 *        leaves no note that holds; neither does a copy, which lies elsewhere (home.h), nor a loss
 *        of power, after which the boot is another one. (Rejected: a token on tmpfs, which leaves
 *        one there for each directory that ever was, and nobody who knows when to remove it.)
 *
 * LIMIT  Where a file system is set back as a whole, below its files, while the store is closed and
 *        the system up, the note holds: what others have of the time between then displaces the
 *        node (lib/repl/restart.c), which writes its own of that again under a new incarnation. */
#ifndef BLAZEI_STORE_CLOSED_H
#define BLAZEI_STORE_CLOSED_H

#include "lib/store/root.h"

#define BLAZEI_CLOSED_MAGIC   0x435a4c42u /* "BLZC" */
#define BLAZEI_CLOSED_VERSION 0

struct blazei_closed {
	uint32_t magic;
	uint16_t version;
	uint16_t reserved;
	uint64_t root[2]; /* its hash */
	uint64_t inode;   /* of its file */
	uint64_t changed_s;
	uint64_t changed_ns;
	uint64_t hash; /* XXH3-64 of all before */
};

static_assert(sizeof(struct blazei_closed) == 56, "disk format");

/* Notes that the store in that directory was closed, with this root. Where that fails, the next
 * opening does without. */
void blazei_closed_note(const char *location, const struct blazei_root *root);
/* Removes the note. Whether it holds: this root is that one, of the same place, and its file was
 * not touched since. */
bool blazei_closed_take(const char *location, const struct blazei_root *root);

#endif
