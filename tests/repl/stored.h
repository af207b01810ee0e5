/* SPDX-License-Identifier: Apache-2.0 */
/* Back from a store: registers into a replica whose vector was restored. */
#ifndef TESTS_REPL_STORED_H
#define TESTS_REPL_STORED_H

#include "lib/repl/room.h"

/* Merges a chunk that blazei_state_encode made when the vector was that which was restored, by
 * origin index. 0 or -ENOMEM. */
static inline int stored_merge(struct blazei_replica *replica,
                               const struct blazei_txn_header *chunk, const uint64_t *vector)
{
	struct blazei_room room;
	int rc = blazei_room_open(&room, replica, chunk->record_count);

	if (rc < 0)
		return rc;
	rc = blazei_room_state(&room, chunk);
	if (rc == 0)
		blazei_state_install(replica, chunk, false, vector);
	blazei_room_close(&room);
	return rc;
}

#endif
