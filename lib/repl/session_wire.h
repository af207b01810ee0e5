/* SPDX-License-Identifier: Apache-2.0 */
/* Session messages as bytes.
 *
 * WHY    Fixed-width little-endian fields at 8-byte alignment, read in place, as transactions are:
 *        one check, whole, and then no parser. A body longer than a message (a transaction of
 *        16 MiB, a chunk with a long record) is cut into parts here, so that no transport has to.
 *
 * LAYOUT Every message: header, 32 bytes; then by kind
 *          HELLO     database 16, self 24, txn_format 4, policy 4, entry_count 4, side 4,
 *                    resume 24, rank 16, entries
 *          REFUSE    reason 4, zero 4, origin 24, seq 8
 *          TXNS      total 8, offset 8, cursor 8 (0); a part of transactions back to back
 *          SNAPSHOT  resume 24, entry_count 4, zero 4, entries: begins a pass
 *          CHUNK     total 8, offset 8, cursor 8 (after it); a part of a state chunk
 *          LIVE      entry_count 4, zero 4, entries
 *        An entry is origin 24, seq 8, chain 8, hlc 8. Kinds continue those of lib/op/txn.h.
 *
 * INVARIANTS
 *   I1   `hash` is XXH3-64 over all other bytes, seeded with the first 8: damage anywhere shows.
 *   I2   Header and hash are the same in every format, so another format can be told from damage.
 *   I3   `number` counts a side's messages from 0: what is lost, doubled or out of order shows.
 *   I4   Reserved bytes are 0. What blazei_session_check accepted can be walked without any further
 *        check of its lengths and counts. */
#ifndef BLAZEI_SESSION_WIRE_H
#define BLAZEI_SESSION_WIRE_H

#include "lib/op/txn.h"
#include "lib/repl/members.h"
#include "lib/repl/session.h"

#define BLAZEI_SESSION_MAGIC  0x73655a42u
#define BLAZEI_SESSION_FORMAT 1

enum blazei_session_kind {
	BLAZEI_KIND_HELLO = 16,
	BLAZEI_KIND_REFUSE,
	BLAZEI_KIND_TXNS,
	BLAZEI_KIND_SNAPSHOT,
	BLAZEI_KIND_CHUNK,
	BLAZEI_KIND_LIVE,
};

#define BLAZEI_SNAPSHOT_AGAIN   1u /* a further pass: adds to what came */
#define BLAZEI_SNAPSHOT_RESUMED 2u /* goes on where an earlier session stopped */
#define BLAZEI_SNAPSHOT_WHOLE   4u /* has all registers: what is absent was collected */
#define BLAZEI_SNAPSHOT_BELOW   8u /* WHOLE, as the asker is below the answerer's frontier */

struct blazei_session_header {
	uint32_t bytes;
	uint8_t kind;
	uint8_t format;
	uint16_t flags; /* BLAZEI_SNAPSHOT_.., else 0 */
	uint64_t hash;
	uint64_t session; /* the sender's number for it */
	uint32_t number;
	uint32_t magic;
};

/* A place in an answerer's pass over its rows. */
struct blazei_session_resume {
	uint64_t run;      /* of that answerer; 0: no such place */
	uint64_t position; /* in its history when the pass began */
	uint64_t cursor;   /* up to which whole chunks have come */
};

struct blazei_session_hello {
	struct blazei_session_header header;
	struct blaze_id database;
	struct blazei_origin self;
	uint32_t txn_format;
	uint32_t policy;
	uint32_t entry_count;
	uint32_t side;
	struct blazei_session_resume resume;
	struct blazei_rank rank; /* of the sender's frontier */
	struct blazei_session_entry entries[];
};

struct blazei_session_refuse {
	struct blazei_session_header header;
	uint32_t reason;
	uint32_t reserved;
	struct blazei_origin origin;
	uint64_t seq;
};

struct blazei_session_part {
	struct blazei_session_header header;
	uint64_t total;
	uint64_t offset;
	uint64_t cursor;
	uint8_t bytes[];
};

struct blazei_session_snapshot {
	struct blazei_session_header header;
	struct blazei_session_resume resume;
	uint32_t entry_count;
	uint32_t reserved;
	struct blazei_session_entry entries[];
};

struct blazei_session_live {
	struct blazei_session_header header;
	uint32_t entry_count;
	uint32_t reserved;
	struct blazei_session_entry entries[];
};

static_assert(sizeof(struct blazei_session_entry) == 48, "wire format");
static_assert(offsetof(struct blazei_session_entry, seq) == 24, "wire format");
static_assert(offsetof(struct blazei_session_entry, chain) == 32, "wire format");
static_assert(offsetof(struct blazei_session_entry, hlc) == 40, "wire format");
static_assert(offsetof(struct blazei_session_header, kind) == 4, "wire format");
static_assert(offsetof(struct blazei_session_header, format) == 5, "wire format");
static_assert(offsetof(struct blazei_session_header, flags) == 6, "wire format");
static_assert(offsetof(struct blazei_session_header, hash) == 8, "wire format");
static_assert(offsetof(struct blazei_session_header, session) == 16, "wire format");
static_assert(offsetof(struct blazei_session_header, number) == 24, "wire format");
static_assert(offsetof(struct blazei_session_header, magic) == 28, "wire format");
static_assert(sizeof(struct blazei_session_header) == 32, "wire format");
static_assert(sizeof(struct blazei_session_resume) == 24, "wire format");
static_assert(offsetof(struct blazei_session_hello, self) == 48, "wire format");
static_assert(offsetof(struct blazei_session_hello, txn_format) == 72, "wire format");
static_assert(offsetof(struct blazei_session_hello, policy) == 76, "wire format");
static_assert(offsetof(struct blazei_session_hello, entry_count) == 80, "wire format");
static_assert(offsetof(struct blazei_session_hello, side) == 84, "wire format");
static_assert(offsetof(struct blazei_session_hello, resume) == 88, "wire format");
static_assert(offsetof(struct blazei_session_hello, rank) == 112, "wire format");
static_assert(sizeof(struct blazei_session_hello) == 128, "wire format");
static_assert(offsetof(struct blazei_session_refuse, reason) == 32, "wire format");
static_assert(offsetof(struct blazei_session_refuse, origin) == 40, "wire format");
static_assert(sizeof(struct blazei_session_refuse) == 72, "wire format");
static_assert(offsetof(struct blazei_session_part, total) == 32, "wire format");
static_assert(offsetof(struct blazei_session_part, offset) == 40, "wire format");
static_assert(offsetof(struct blazei_session_part, cursor) == 48, "wire format");
static_assert(sizeof(struct blazei_session_part) == 56, "wire format");
static_assert(offsetof(struct blazei_session_snapshot, resume) == 32, "wire format");
static_assert(offsetof(struct blazei_session_snapshot, entry_count) == 56, "wire format");
static_assert(sizeof(struct blazei_session_snapshot) == 64, "wire format");
static_assert(offsetof(struct blazei_session_live, entry_count) == 32, "wire format");
static_assert(sizeof(struct blazei_session_live) == 40, "wire format");
static_assert(sizeof(struct blazei_session_hello) +
                              BLAZEI_ORIGINS_MAX * sizeof(struct blazei_session_entry) <=
                      BLAZEI_SESSION_MESSAGE_MAX,
              "any vector fits a message");

/* The hash that the header must hold. */
uint64_t blazei_session_hash(const struct blazei_session_header *header);

/* Whether len bytes at an 8-byte aligned address are one valid message: 0, -EBADMSG; -EPROTO a
 * message of another format. */
int blazei_session_check(const void *data, size_t len);

#endif
