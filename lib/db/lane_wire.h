/* SPDX-License-Identifier: Apache-2.0 */
/* What is said over a private lane: messages, and the one decoder of each.
 *
 * WHY    blaze-db asks the program that holds a database, by a socket in its directory (lane.h).
 *        Either side may be of another version, or no such program at all: so each byte is checked
 *        before it counts. Who asks pulls: each answer is bounded and belongs to one question, so
 *        that nothing piles up for an asker that is slow.
 *
 * LAYOUT A message is a header and its body, all in the byte order of the machine, which is little
 *        endian; see blaze-format(5). An entry is an id and a record; a record is the number of its
 *        fields, and for each a head, the name and the value as CBOR (lib/op/value.h), without
 *        padding. Names ascend by blazei_key_compare.
 *
 * INVARIANTS
 *   I1   Nothing is taken from beyond the length given, and nothing is allocated for what did not
 *        come.
 *   I2   A record that a decoder gives is one that programs may make; of an answer, one that
 *        merging may make (lib/op/record.h, I3).
 *   I3   What an encoder writes its decoder takes, and gives again. */
#ifndef BLAZEI_DB_LANE_WIRE_H
#define BLAZEI_DB_LANE_WIRE_H

#include <blaze/record.h>

#include "lib/op/buffer.h"

#define BLAZEI_LANE_FILE  "lane" /* in the database's directory */
#define BLAZEI_LANE_MAGIC "BLZLANE"
#define BLAZEI_LANE_MAJOR 0u
#define BLAZEI_LANE_MINOR 0u

#define BLAZEI_LANE_REQUEST_MAX ((size_t)16 << 20) /* bytes of a body */
#define BLAZEI_LANE_ANSWER_MAX  ((size_t)1 << 30)
#define BLAZEI_LANE_CHUNK       ((size_t)256 << 10) /* of an answer, and one entry */
#define BLAZEI_LANE_BATCH_MAX   4096u               /* entries of a request */

enum blazei_lane_kind {
	BLAZEI_LANE_HELLO = 1, /* hello; the answer has one too */
	BLAZEI_LANE_GET,       /* id -> record */
	BLAZEI_LANE_PUT,       /* entry: sets its fields, or inserts it */
	BLAZEI_LANE_INSERT,    /* entry, under an id that is new */
	BLAZEI_LANE_DELETE,    /* id */
	BLAZEI_LANE_SCAN,      /* scan -> entries; flag MORE: there are more behind */
	BLAZEI_LANE_BATCH,     /* their number, and entries, as one transaction -> batch */
	BLAZEI_LANE_STAT,      /* -> stat */
	BLAZEI_LANE_COMPACT,   /* -> compact */
	BLAZEI_LANE_WATCH,     /* begins a watch */
	BLAZEI_LANE_NEXT,      /* waits for its events -> texts */
};

#define BLAZEI_LANE_ANSWER 0x8000u /* added to the kind */
#define BLAZEI_LANE_MORE   1u      /* flag */

struct blazei_lane_header {
	uint32_t bytes; /* of the body */
	uint16_t kind;
	uint16_t flags;
	int32_t error; /* of an answer: 0, or a negative errno, then most have no body */
	uint32_t reserved;
};

struct blazei_lane_hello {
	char magic[8];
	uint16_t major;
	uint16_t minor;
	uint32_t reserved;
};

#define BLAZEI_LANE_SCAN_TO 1u /* flag of a scan: it has an end */

struct blazei_lane_scan {
	struct blaze_id from; /* inclusive */
	struct blaze_id to;   /* exclusive */
	uint64_t limit;       /* entries; 0: as many as an answer takes */
	uint32_t flags;
	uint32_t reserved;
};

/* Ahead of the entries of a batch. */
struct blazei_lane_entries {
	uint32_t count;
	uint32_t reserved;
};

struct blazei_lane_batch {
	uint32_t taken; /* entries of it that are committed, from its first one on */
	uint32_t at;    /* where there is an error: of which entry, from 0; or `taken`: of all */
};

struct blazei_lane_stat {
	uint64_t records;
	uint64_t memory_bytes;
	uint64_t cuts;
	uint64_t log_bytes;
	uint32_t origins;
	uint32_t reserved;
};

struct blazei_lane_compact {
	uint64_t before_bytes; /* of the log */
	uint64_t after_bytes;
};

struct blazei_lane_field {
	uint32_t value_len;
	uint8_t name_len;
	uint8_t reserved[3];
};

static_assert(sizeof(struct blazei_lane_header) == 16, "on the wire");
static_assert(offsetof(struct blazei_lane_header, kind) == 4, "on the wire");
static_assert(offsetof(struct blazei_lane_header, flags) == 6, "on the wire");
static_assert(offsetof(struct blazei_lane_header, error) == 8, "on the wire");
static_assert(sizeof(struct blazei_lane_hello) == 16, "on the wire");
static_assert(offsetof(struct blazei_lane_hello, major) == 8, "on the wire");
static_assert(offsetof(struct blazei_lane_hello, minor) == 10, "on the wire");
static_assert(sizeof(struct blazei_lane_scan) == 48, "on the wire");
static_assert(offsetof(struct blazei_lane_scan, to) == 16, "on the wire");
static_assert(offsetof(struct blazei_lane_scan, limit) == 32, "on the wire");
static_assert(offsetof(struct blazei_lane_scan, flags) == 40, "on the wire");
static_assert(sizeof(struct blazei_lane_entries) == 8, "on the wire");
static_assert(sizeof(struct blazei_lane_batch) == 8, "on the wire");
static_assert(sizeof(struct blazei_lane_stat) == 40, "on the wire");
static_assert(offsetof(struct blazei_lane_stat, cuts) == 16, "on the wire");
static_assert(offsetof(struct blazei_lane_stat, origins) == 32, "on the wire");
static_assert(sizeof(struct blazei_lane_compact) == 16, "on the wire");
static_assert(sizeof(struct blazei_lane_field) == 8, "on the wire");
static_assert(offsetof(struct blazei_lane_field, name_len) == 4, "on the wire");

/* What is left of a body. */
struct blazei_lane_reader {
	const uint8_t *at;
	size_t left;
	bool bounded; /* records are of a program: see I2 */
};

/* Whether this can be the header of a request, or of the answer to one of this kind. 0 or
 * -EBADMSG; -E2BIG its body is longer than any. */
int blazei_lane_request_check(const struct blazei_lane_header *header);
int blazei_lane_answer_check(const struct blazei_lane_header *header, uint16_t kind);
/* 0; -EBADMSG not of this protocol; -EPROTO of another version. */
int blazei_lane_hello_check(const struct blazei_lane_hello *hello);
struct blazei_lane_hello blazei_lane_hello_make(void);

/* Copies the next len bytes. 0 or -EBADMSG. */
int blazei_lane_take(struct blazei_lane_reader *reader, void *ret_data, size_t len);
/* The same where they are all that is left. */
int blazei_lane_take_all(struct blazei_lane_reader *reader, void *ret_data, size_t len);
/* A record, which the caller frees. 0; -EBADMSG; -E2BIG beyond a limit; -ENOMEM. */
int blazei_lane_take_record(struct blazei_lane_reader *reader, struct blaze_record **ret_record);
int blazei_lane_take_entry(struct blazei_lane_reader *reader, struct blaze_id *ret_id,
                           struct blaze_record **ret_record);
/* A text of one line, which stays where it is. 0 or -EBADMSG. */
int blazei_lane_take_text(struct blazei_lane_reader *reader, const char **ret_text,
                          uint32_t *ret_len);

/* Appends. 0; -EINVAL a record with a mark of blaze_record_unset; -E2BIG, -ENOMEM. */
int blazei_lane_put_record(struct blazei_buffer *out, const struct blaze_record *record);
int blazei_lane_put_entry(struct blazei_buffer *out, const struct blaze_id *id,
                          const struct blaze_record *record);
int blazei_lane_put_text(struct blazei_buffer *out, const void *text, uint32_t len);

#endif
