/* SPDX-License-Identifier: Apache-2.0 */
/* The conflict log: the last conflicts that this database noticed, as bytes.
 *
 * WHY    A conflict is told in the middle of a merge, with pointers into the table. It is copied
 *        into one circular block of memory, which is there from the first conflict on, so that
 *        storms of conflicts allocate nothing and cannot grow without bound. Records are made of
 *        it only for those who read it.
 *
 * LAYOUT An entry is the struct below, the field's name, the loser's value and the winner's, in a
 *        multiple of 8 bytes; it does not wrap. at[] gives the place of each by its number.
 *
 * INVARIANTS
 *   I1   The entries are those numbered last - count + 1 .. last, in a circle that starts at the
 *        oldest; whatever is in the way of a new one is dropped from that end.
 *   I2   last = what was noticed ever; last - count were dropped.
 *
 * CONCURRENCY  The database's lock. */
#ifndef BLAZEI_DB_CONFLICTS_H
#define BLAZEI_DB_CONFLICTS_H

#include <blaze/conflicts.h>

#include "lib/repl/effects.h"

#define BLAZEI_CONFLICTS_MAX      4096u
#define BLAZEI_CONFLICTS_BYTES    (1u << 20)
#define BLAZEI_CONFLICT_VALUE_MAX (64u << 10)

struct blazei_conflict_part {
	struct blazei_origin origin;
	uint64_t seq;
	uint64_t hlc;
	uint64_t priority;
	uint32_t kind;
	uint32_t flags;
	uint32_t value_len;
	uint32_t reserved;
};

/* A conflict as bytes; also what waits for a watch (watch.h). */
struct blazei_conflict_entry {
	uint32_t bytes;
	uint8_t name_len;
	bool named;
	bool incoming_won;
	uint64_t number;
	struct blaze_id id;
	struct blazei_conflict_part parts[2]; /* loser, winner */
	uint8_t text[];
};

struct blazei_conflict_log {
	unsigned char *bytes; /* NULL before the first */
	uint32_t next;
	uint32_t count;
	uint64_t last;
	uint32_t at[BLAZEI_CONFLICTS_MAX];
};

/* The length of an entry for this conflict, and the entry itself. self: whose writes are local. */
uint32_t blazei_conflict_bytes(const struct blazei_effect_conflict *conflict);
void blazei_conflict_encode(struct blazei_conflict_entry *entry,
                            const struct blazei_effect_conflict *conflict,
                            const struct blazei_origin *self, uint64_t number);

/* An entry as a reader gets it; name holds the field's name. 0 or -ENOMEM. */
struct blazei_conflict_view {
	struct blaze_conflict conflict;
	struct blaze_record *records[2];
	char name[256];
};
int blazei_conflict_decode(const struct blazei_conflict_entry *entry,
                           struct blazei_conflict_view *view);
void blazei_conflict_release(struct blazei_conflict_view *view);

/* Adds to the log; without memory the conflict is only counted. */
void blazei_conflict_log_add(struct blazei_conflict_log *log,
                             const struct blazei_effect_conflict *conflict,
                             const struct blazei_origin *self);
void blazei_conflict_log_fini(struct blazei_conflict_log *log);

#endif
