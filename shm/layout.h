/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in shared memory: the bytes that programs of different builds agree on.
 *
 * LAYOUT  A ring NAME is a directory, /dev/shm/blaze-<uid>/NAME (private) or
 *         /dev/shm/blaze-g<gid>/NAME (group), that holds
 *
 *         control                 4 KiB, mapped writable by every participant: hints only.
 *         lane.<slot>.<generation>  one segment per participant, writable by its owner only:
 *
 *             0      struct blazei_segment_header, constant once linked
 *             1024   struct blazei_segment_flow: tail and intent, a line of their own
 *             1152   struct blazei_segment_reader: is this participant a reader
 *             4096   64 cursors, a line each: how far it has read in each slot's lane
 *             8192   board_bytes of board, a multiple of 4 KiB
 *             lane_offset  lane_bytes of lane, mapped twice back to back
 *
 *         A lane is a sequence of records, each an 8-byte header and len bytes, padded to 8.
 *         Positions count bytes since the lane was made and never wrap.
 *
 * FORMAT  Fixed-width, little-endian, offsets instead of pointers. A reader of another major
 *         version refuses with -EPROTO; minor versions only add.
 *
 * Slot i of the ring is byte i of the control segment, as a range for OFD locks: the bytes
 * themselves are the header's and mean nothing to the locks. See slot.c. */
#ifndef BLAZEI_SHM_LAYOUT_H
#define BLAZEI_SHM_LAYOUT_H

#include "lib/base/base.h"

#define BLAZEI_CONTROL_MAGIC UINT64_C(0x316c72746e6f4342) /* "BContrl1" */
#define BLAZEI_SEGMENT_MAGIC UINT64_C(0x31746e656d675342) /* "BSgment1" */
#define BLAZEI_ABI_MAJOR     1
#define BLAZEI_ABI_MINOR     0
#define BLAZEI_ENDIAN_MARK   UINT32_C(0x01020304)

#define BLAZEI_SLOTS_MAX     64u
#define BLAZEI_CONTROL_BYTES 4096u
#define BLAZEI_PAGE          4096u
#define BLAZEI_BOARD_OFFSET  8192u
#define BLAZEI_BOARD_MAX     (UINT64_C(1) << 20)
#define BLAZEI_LANE_MIN      (UINT64_C(1) << 16)
#define BLAZEI_LANE_MAX      (UINT64_C(1) << 30)
#define BLAZEI_LANE_DEFAULT  (UINT64_C(1) << 22)
#define BLAZEI_RECORD_HEADER 8u

/* The start of both kinds of segment. */
struct blazei_preamble {
	uint64_t magic;
	uint16_t abi_major;
	uint16_t abi_minor;
	uint32_t header_bytes;
	uint32_t endian_mark;
	uint32_t reserved;
	uint8_t ring[16]; /* the ring's uuid */
};
static_assert(sizeof(struct blazei_preamble) == 40, "shared layout");
static_assert(offsetof(struct blazei_preamble, ring) == 24, "shared layout");

struct blazei_control {
	struct blazei_preamble preamble;
	uint32_t participants_max;
	uint32_t mode;
	uint64_t created_ns; /* CLOCK_REALTIME */
	uint8_t pad0[72];
	/* The wake line (offset 128): read at every publish and poll, written when someone sleeps,
	 * comes or goes. */
	_Atomic uint64_t sleepers; /* bit i: slot i is about to sleep */
	_Atomic uint32_t wake_seq; /* the futex word */
	_Atomic uint32_t unlinked; /* 1: the name is gone */
	_Atomic uint32_t epoch;    /* grows whenever a lane is linked or unlinked */
	uint8_t pad1[44];
	/* Offset 192. */
	_Atomic uint64_t births;  /* lanes made so far: orders the lanes of one slot */
	_Atomic uint32_t removed; /* lanes unlinked though a live reader had not come to them */
	uint8_t pad2[52];
	_Atomic uint64_t generation[BLAZEI_SLOTS_MAX];    /* of each slot's newest lane */
	_Atomic uint64_t removed_birth[BLAZEI_SLOTS_MAX]; /* the youngest lane so unlinked */
};
static_assert(offsetof(struct blazei_control, participants_max) == 40, "shared layout");
static_assert(offsetof(struct blazei_control, sleepers) == 128, "shared layout");
static_assert(offsetof(struct blazei_control, epoch) == 144, "shared layout");
static_assert(offsetof(struct blazei_control, births) == 192, "shared layout");
static_assert(offsetof(struct blazei_control, generation) == 256, "shared layout");
static_assert(offsetof(struct blazei_control, removed_birth) == 768, "shared layout");
static_assert(sizeof(struct blazei_control) <= BLAZEI_CONTROL_BYTES, "shared layout");

#define BLAZEI_SEGMENT_READ_ONLY (1u << 0) /* no lane: lane_bytes is 0 */
#define BLAZEI_SEGMENT_LOSSLESS  (1u << 1) /* keeps its lane for every live reader */

struct blazei_segment_header {
	struct blazei_preamble preamble;
	uint32_t slot;
	uint32_t flags;
	uint64_t generation; /* random, never 0 */
	uint64_t birth;      /* from control's births */
	uint8_t publisher[16];
	uint64_t lane_bytes;
	uint64_t lane_offset;
	uint64_t board_bytes;
	uint64_t attached_ns; /* CLOCK_REALTIME */
	uint32_t pid;         /* in the owner's namespace: for people only */
	uint32_t pad0;
	char program[32]; /* NUL-terminated: for people only */
};
static_assert(offsetof(struct blazei_segment_header, slot) == 40, "shared layout");
static_assert(offsetof(struct blazei_segment_header, publisher) == 64, "shared layout");
static_assert(offsetof(struct blazei_segment_header, pid) == 112, "shared layout");
static_assert(sizeof(struct blazei_segment_header) == 152, "shared layout");

struct blazei_segment_flow {
	_Atomic uint64_t tail;   /* end of what is published */
	_Atomic uint64_t intent; /* end of what may have been written over; never decreases */
};
static_assert(sizeof(struct blazei_segment_flow) == 16, "shared layout");

struct blazei_segment_reader {
	_Atomic uint32_t reading; /* 1 from the first poll or wait */
};

struct blazei_cursor {
	_Atomic uint64_t generation; /* of the lane that position belongs to; 0: none */
	_Atomic uint64_t position;
	_Atomic uint64_t birth; /* of that lane */
	uint8_t pad[40];
};
static_assert(sizeof(struct blazei_cursor) == BLAZEI_CACHE_LINE, "shared layout");

/* Everything of a segment before its board. */
struct blazei_segment {
	struct blazei_segment_header header;
	uint8_t pad0[1024 - sizeof(struct blazei_segment_header)];
	struct blazei_segment_flow flow;
	uint8_t pad1[128 - sizeof(struct blazei_segment_flow)];
	struct blazei_segment_reader reader;
	uint8_t pad2[4096 - 1152 - sizeof(struct blazei_segment_reader)];
	struct blazei_cursor cursors[BLAZEI_SLOTS_MAX];
};
static_assert(offsetof(struct blazei_segment, flow) == 1024, "shared layout");
static_assert(offsetof(struct blazei_segment, reader) == 1152, "shared layout");
static_assert(offsetof(struct blazei_segment, cursors) == 4096, "shared layout");
static_assert(sizeof(struct blazei_segment) == BLAZEI_BOARD_OFFSET, "shared layout");

struct blazei_record_header {
	uint32_t len;
	uint32_t tag;
};
static_assert(sizeof(struct blazei_record_header) == BLAZEI_RECORD_HEADER, "shared layout");

/* A record's header names its place, so that stale or torn bytes do not pass for one. */
static inline uint32_t blazei_record_tag(uint64_t position, uint64_t generation)
{
	return (uint32_t)(position >> 3) * UINT32_C(0x9e3779b1) ^ (uint32_t)generation;
}

/* The bytes that a record of len bytes takes in a lane. */
static inline uint64_t blazei_record_span(uint64_t len)
{
	return BLAZEI_RECORD_HEADER + ((len + 7) & ~UINT64_C(7));
}

/* The most that one publication, headers included, may take. */
static inline uint64_t blazei_publication_max(uint64_t lane_bytes)
{
	return lane_bytes / 4;
}

#endif
