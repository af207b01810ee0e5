/* SPDX-License-Identifier: Apache-2.0 */
/* Carries a catch-up session over a private ring: its messages to the lane and from the other's.
 *
 * WHY    A session (lib/repl/session.h) knows no transport. The ring is a lossless one with a lane
 *        for each of two participants, so messages come whole, once and in order, or not at all.
 *
 * INVARIANTS
 *   I1  Nothing here waits: a lane without room keeps the message for the next step, and so does
 *       a store that has not got the own writes yet (durable.h, I2).
 *   I2  The asker, who is the first in the ring and reads it before the answerer is told of it,
 *       speaks only after it heard the answerer, who speaks only after its own first poll: then
 *       each reads the other's lane from its first message on.
 *   I3  The replica's lock is held for one message at a time. */
#ifndef BLAZEI_DB_CARRY_H
#define BLAZEI_DB_CARRY_H

#include "lib/repl/link.h"
#include "lib/repl/session.h"

#define BLAZEI_CARRY_NAME_BYTES 65u

struct blaze_db;

struct blazei_carry {
	struct blazei_link *link;
	struct blazei_session *session;
	bool heard;         /* the other side */
	unsigned char *out; /* room for a message */
	uint64_t out_bytes; /* of one that waits for the lane */
	uint64_t own;       /* the own seq when it was made */
};

/* The name of a private ring: it begins with the database's name, cut to 29. */
void blazei_carry_name(const char *db_name, const struct blaze_id *ring,
                       char ret_name[BLAZEI_CARRY_NAME_BYTES]);

/* Opens the ring, made before where not side is ASKER, becomes a reader of it, and begins a
 * session of that side. 0 or an error, after which it must be ended all the same. */
int blazei_carry_open(struct blaze_db *db, struct blazei_carry *carry, const struct blaze_id *ring,
                      enum blazei_session_side side);
/* Hands over at most limit messages that came. Their number, or an error, the session's own
 * included. */
int blazei_carry_in(struct blaze_db *db, struct blazei_carry *carry, unsigned limit);
/* Publishes at most limit messages. Their number; -EAGAIN: none, as there is no room; another
 * error. */
int blazei_carry_out(struct blaze_db *db, struct blazei_carry *carry, unsigned limit);
void blazei_carry_end(struct blazei_carry *carry);

struct blazei_session_status blazei_carry_status(const struct blazei_carry *carry);

#endif
