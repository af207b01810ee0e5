/* SPDX-License-Identifier: Apache-2.0 */
/* Makes room for chunks of state, and transactions that follow them, before any of it is merged.
 *
 * WHY    They become visible whole or not at all, and take more than one call to merge. So all that
 *        can fail comes first: names are interned, rows are added, and each row gets
 *        the bytes that everything which is to be merged into it may take. Then nothing is left
 *        that allocates, but for what may do without: the history, what watches and logs are told.
 *
 * INVARIANTS
 *   I1   What a row was given is at least what the merges take, whatever wins: each register counts
 *        with what its value takes beyond the room that its entry has now, or as a new entry.
 *   I2   No row goes, and `shape` stays, between open and close.
 *
 * FAILURE What was made room for and is not merged then is given back by close; rows that hold
 *         nothing, and names, stay, and nothing shows them. */
#ifndef BLAZEI_ROOM_H
#define BLAZEI_ROOM_H

#include "lib/repl/core.h"

struct blazei_room {
	struct blazei_replica *replica;
	uint64_t *wanted; /* bytes of entries, by the row's number */
	uint64_t count;
	uint32_t low; /* of the rows, the lowest number, and one more than the highest */
	uint32_t high;
};

/* Begins; at most so many groups will be made room for. 0 or -ENOMEM. */
int blazei_room_open(struct blazei_room *room, struct blazei_replica *replica, uint64_t groups);
/* For a checked chunk, whose origins are known. 0 or -ENOMEM. */
int blazei_room_state(struct blazei_room *room, const struct blazei_txn_header *header);
/* For a checked transaction. 0 or -ENOMEM. */
int blazei_room_txn(struct blazei_room *room, const struct blazei_txn_header *header);
/* Gives back what was not used. */
void blazei_room_close(struct blazei_room *room);

#endif
