/* SPDX-License-Identifier: Apache-2.0 */
/* The other end of a private lane (lane.h), for the program blaze-db: a database that a program
 * holds, by that program's hands.
 *
 * Every call returns what the same call of the library returned there, or: -EPIPE the program has
 * closed the database, or ended, and whether it did what was asked is not known; -EINTR `stopping`
 * said so, likewise; -EBADMSG its answer is none; -EIO and the like of sockets. After one of these
 * only disconnect is left to do. One thread at a time. */
#ifndef BLAZEI_DB_LANE_CLIENT_H
#define BLAZEI_DB_LANE_CLIENT_H

#include <stdbool.h>

#include <blaze/blaze.h>

struct blazei_lane_caller;

/* Asked now and then while something is waited for: whether to stop. */
typedef bool (*blazei_lane_stopping)(void *arg);

/* dir: of the database. 0; -ENOENT there is no lane, or nobody at it; -EACCES it is another
 * user's; -EBUSY too many use it; -EPROTO it is of another version; -ETIMEDOUT nobody answers. */
int blazei_lane_connect(const char *dir, blazei_lane_stopping stopping, void *arg,
                        struct blazei_lane_caller **ret_caller);
void blazei_lane_disconnect(struct blazei_lane_caller *caller); /* NULL is ignored */

int blazei_lane_get(struct blazei_lane_caller *caller, const struct blaze_id *id,
                    struct blaze_record **ret_record);
int blazei_lane_upsert(struct blazei_lane_caller *caller, const struct blaze_id *id,
                       const struct blaze_record *record);
int blazei_lane_insert(struct blazei_lane_caller *caller, const struct blaze_record *record,
                       struct blaze_id *ret_id);
int blazei_lane_delete(struct blazei_lane_caller *caller, const struct blaze_id *id);
/* As blaze_db_scan, but that the visitor may do anything but call this lane. */
int blazei_lane_scan(struct blazei_lane_caller *caller, const struct blaze_scan_options *options,
                     blaze_scan_visitor visitor, void *arg);

/* Adds to a batch that is to be committed. -EMSGSIZE: it is full. */
int blazei_lane_batch_add(struct blazei_lane_caller *caller, const struct blaze_id *id,
                          const struct blaze_record *record);
/* Commits it, in one transaction, or several where one can't hold it; it is empty then. In any case
 * *ret_taken is how many of its entries are committed, the first ones; where there is an error
 * *ret_at is the entry that it is about, or as many as there were: about all. */
int blazei_lane_batch_commit(struct blazei_lane_caller *caller, uint32_t *ret_taken,
                             uint32_t *ret_at);

/* Sets records, memory_bytes, cuts, log_bytes and origins; the rest is 0. */
int blazei_lane_stat(struct blazei_lane_caller *caller, struct blaze_db_stats *ret_stats);
int blazei_lane_compact(struct blazei_lane_caller *caller, uint64_t *ret_before_bytes,
                        uint64_t *ret_after_bytes);

/* Calls it for each event, which is a line of JSON without its end, until it returns other than 0;
 * that is the result. */
typedef int (*blazei_lane_on_event)(void *arg, const char *text, uint32_t len);
int blazei_lane_watch(struct blazei_lane_caller *caller, blazei_lane_on_event on_event, void *arg);

#endif
