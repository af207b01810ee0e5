/* SPDX-License-Identifier: Apache-2.0 */
/* A transaction of registers that are written anew, put together record by record.
 *
 * WHY    What is written anew is not decided as a call of the application is: its lives and E are
 *        given (reissue.h). So it does not go through a write set, but straight to the encoder. */
#ifndef BLAZEI_BUNDLE_H
#define BLAZEI_BUNDLE_H

#include "lib/repl/core.h"

struct blazei_bundle {
	struct blazei_write_group *groups;
	struct blazei_write_group **list;
	struct blazei_write_op *ops;
	uint32_t group_count;
	uint32_t group_max;
	uint32_t op_count;
	uint32_t op_max;
	uint32_t record_op;  /* the first one of the record at hand */
	size_t record_bytes; /* what that takes at most, so far */
	size_t bytes;        /* what the records take that were ended */
	size_t bytes_max;
};

/* An empty one, as long as any that this replica could write now. */
void blazei_bundle_init(struct blazei_bundle *bundle, const struct blazei_replica *replica);

/* Begins a record, which follows those there are by its id, with room for so many fields. 0 or
 * -ENOMEM. */
int blazei_bundle_begin(struct blazei_bundle *bundle, uint32_t ops_max);
/* Its next field; false: it has to go with another transaction. One fits always. */
bool blazei_bundle_add(struct blazei_bundle *bundle, const struct blazei_write_op *op);
/* Ends it; `existence` tells id and row, and what is written of existence, or that nothing is. */
void blazei_bundle_end(struct blazei_bundle *bundle, const struct blazei_write_group *existence);
/* 0 or -ENOMEM. */
int blazei_bundle_commit(struct blazei_bundle *bundle, struct blazei_replica *replica,
                         uint64_t now_ns, struct blazei_txn_view *ret_txn);
void blazei_bundle_free(struct blazei_bundle *bundle);

#endif
