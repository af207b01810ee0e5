/* SPDX-License-Identifier: Apache-2.0 */
/* Copying a store while it is written to, or what is whole of one. See backup.c. */
#ifndef BLAZEI_BACKUP_H
#define BLAZEI_BACKUP_H

#include <stdint.h>

struct blazei_store;

/* Copies the store in a directory to another, which is made, or is empty: all that was durable or
 * in the tail when this began, and perhaps what came in order after it. 0; -EEXIST: there is
 * something; -EBADMSG what is to be copied is damaged, or ends before the transaction lsn; -ENOENT
 * there is no store, or nothing above the other directory; errors of the system. After an error no
 * store is there, but perhaps the directory with segments. */
int blazei_store_backup(const char *from, const char *to, uint64_t lsn);
/* The same of one that this program has open. -ENOENT also: its directory is not where it was. */
int blazei_store_backup_open(const struct blazei_store *open, const char *to, uint64_t lsn);

/* The same of a damaged store, up to the first thing that is damaged; *ret_lsn is the last
 * transaction copied. -EBADMSG: the root is, without which nothing can be told. */
int blazei_store_salvage(const char *from, const char *to, uint64_t *ret_lsn);

#endif
