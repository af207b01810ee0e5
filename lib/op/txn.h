/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions as bytes: the one encoding of a write, from its origin to every medium.
 *
 * WHY    A write is encoded once. The same bytes go to the ring, the log and the network, so what
 *        one replica checks and merges is what all do. Fixed-width little-endian fields at 8-byte
 *        alignment are read in place, without a parse step of their own.
 *
 * LAYOUT of a transaction (kind 1), every part 8-byte aligned:
 *          header     48 bytes
 *          origins    origin_count x 24; number 0 wrote it, the others are referred to below
 *          deps       dep_count x 24; what advanced at the writer since its last transaction,
 *                     ascending by origin number
 *          groups     record_count of them, ascending by (id, life), each:
 *            head       24
 *            existence  24, where flagged; at most one per id
 *            registers  register_count of them, ascending by name as blazei_key_compare, each
 *                       24 + name + value, padded with zeros
 *        A state chunk (kind 2) has the same header (seq, hlc, prev and dep_count are 0), origins,
 *        and groups whose registers carry whole stamps and lives, in any order.
 *        Messages of other kinds (16 and above) share the media; their first 8 bytes are alike.
 *
 * INVARIANTS
 *   I1   `chain` is XXH3-64 over all other bytes, with `prev` among them: damage anywhere shows.
 *   I2   `prev` is the chain of the origin's previous transaction, 0 in the first: two histories
 *        under one origin show where they part.
 *   I3   What blazei_txn_check or blazei_state_check accepted can be walked by the cursor below
 *        without any further check of bounds, counts, names or values.
 *   I4   Padding and reserved bytes are 0, so a transaction has one encoding. */
#ifndef BLAZEI_TXN_H
#define BLAZEI_TXN_H

#include "lib/base/base.h"
#include "lib/op/stamp.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "formats are little-endian and read in place"
#endif

#define BLAZEI_KIND_TXN   1
#define BLAZEI_KIND_STATE 2
#define BLAZEI_FORMAT     1

#define BLAZEI_TXN_BYTES_MAX (16u << 20)
#define BLAZEI_ORIGINS_MAX   4096
#define BLAZEI_REGISTERS_MAX 4096u /* of one record in a transaction: bounds the time it takes */
#define BLAZEI_LIFE_MAX      (UINT32_MAX - 1) /* of fields that are no record's */

struct blazei_txn_header {
	uint32_t bytes; /* in all */
	uint8_t kind;
	uint8_t format;
	uint16_t origin_count;
	uint64_t chain;
	uint64_t prev;
	uint64_t seq;
	uint64_t hlc;
	uint32_t record_count;
	uint16_t dep_count;
	uint16_t reserved;
};

struct blazei_txn_dep {
	uint64_t seq;
	uint64_t hlc; /* of number seq; 0: not known */
	uint16_t origin;
	uint16_t reserved[3];
};

#define BLAZEI_GROUP_EXISTENCE 1u /* an existence op is present */
#define BLAZEI_GROUP_ALIVE     2u /* and its value is alive, not dead */

struct blazei_txn_group {
	struct blaze_id id;
	uint32_t life; /* of the fields and of the existence op; in a state chunk of the latter */
	uint16_t register_count;
	uint16_t flags;
};

#define BLAZEI_SEEN_NOTHING UINT16_MAX /* seen_origin where nothing was overwritten */

struct blazei_txn_existence {
	uint64_t priority;
	uint64_t seen_hlc; /* H and origin of the value that it overwrote */
	uint16_t seen_origin;
	uint16_t reserved[3];
};

#define BLAZEI_REGISTER_UNSET 1u /* the field was removed; value_len is 0 */

struct blazei_txn_register {
	uint64_t priority;
	uint64_t seen_hlc;
	uint16_t seen_origin;
	uint8_t name_len;
	uint8_t flags;
	uint32_t value_len;
	uint8_t bytes[]; /* name, value, zeros */
};

struct blazei_state_existence {
	uint64_t priority;
	uint64_t hlc;
	uint64_t seq;
	uint16_t origin;
	uint16_t reserved[3];
};

struct blazei_state_register {
	uint64_t priority;
	uint64_t hlc;
	uint64_t seq;
	uint16_t origin;
	uint8_t name_len;
	uint8_t flags;
	uint32_t value_len;
	uint32_t life;
	uint32_t reserved;
	uint8_t bytes[]; /* name, value, zeros */
};

static_assert(offsetof(struct blazei_txn_header, kind) == 4, "wire format");
static_assert(offsetof(struct blazei_txn_header, format) == 5, "wire format");
static_assert(offsetof(struct blazei_txn_header, origin_count) == 6, "wire format");
static_assert(offsetof(struct blazei_txn_header, chain) == 8, "wire format");
static_assert(offsetof(struct blazei_txn_header, prev) == 16, "wire format");
static_assert(offsetof(struct blazei_txn_header, seq) == 24, "wire format");
static_assert(offsetof(struct blazei_txn_header, hlc) == 32, "wire format");
static_assert(offsetof(struct blazei_txn_header, record_count) == 40, "wire format");
static_assert(offsetof(struct blazei_txn_header, dep_count) == 44, "wire format");
static_assert(offsetof(struct blazei_txn_header, reserved) == 46, "wire format");
static_assert(sizeof(struct blazei_txn_header) == 48, "wire format");
static_assert(offsetof(struct blazei_txn_dep, hlc) == 8, "wire format");
static_assert(offsetof(struct blazei_txn_dep, origin) == 16, "wire format");
static_assert(sizeof(struct blazei_txn_dep) == 24, "wire format");
static_assert(offsetof(struct blazei_txn_group, life) == 16, "wire format");
static_assert(offsetof(struct blazei_txn_group, register_count) == 20, "wire format");
static_assert(offsetof(struct blazei_txn_group, flags) == 22, "wire format");
static_assert(sizeof(struct blazei_txn_group) == 24, "wire format");
static_assert(offsetof(struct blazei_txn_existence, seen_hlc) == 8, "wire format");
static_assert(offsetof(struct blazei_txn_existence, seen_origin) == 16, "wire format");
static_assert(sizeof(struct blazei_txn_existence) == 24, "wire format");
static_assert(offsetof(struct blazei_txn_register, seen_hlc) == 8, "wire format");
static_assert(offsetof(struct blazei_txn_register, seen_origin) == 16, "wire format");
static_assert(offsetof(struct blazei_txn_register, name_len) == 18, "wire format");
static_assert(offsetof(struct blazei_txn_register, flags) == 19, "wire format");
static_assert(offsetof(struct blazei_txn_register, value_len) == 20, "wire format");
static_assert(offsetof(struct blazei_txn_register, bytes) == 24, "wire format");
static_assert(offsetof(struct blazei_state_existence, origin) == 24, "wire format");
static_assert(sizeof(struct blazei_state_existence) == 32, "wire format");
static_assert(offsetof(struct blazei_state_register, origin) == 24, "wire format");
static_assert(offsetof(struct blazei_state_register, name_len) == 26, "wire format");
static_assert(offsetof(struct blazei_state_register, flags) == 27, "wire format");
static_assert(offsetof(struct blazei_state_register, value_len) == 28, "wire format");
static_assert(offsetof(struct blazei_state_register, life) == 32, "wire format");
static_assert(offsetof(struct blazei_state_register, bytes) == 40, "wire format");

/* Whether len bytes at an 8-byte aligned address are one valid transaction, or one valid state
 * chunk: structure, hash, names and values. 0 or -EBADMSG. */
int blazei_txn_check(const void *data, size_t len);
int blazei_state_check(const void *data, size_t len);

/* The hash that `chain` must hold: of all bytes but the chain itself. */
uint64_t blazei_txn_hash(const struct blazei_txn_header *header);

/* Walking checked bytes ---------------------------------------------------------------------- */

static inline const struct blazei_origin *blazei_txn_origins(const struct blazei_txn_header *header)
{
	return (const struct blazei_origin *)(header + 1);
}

static inline const struct blazei_txn_dep *blazei_txn_deps(const struct blazei_txn_header *header)
{
	return (const struct blazei_txn_dep *)(blazei_txn_origins(header) + header->origin_count);
}

static inline const uint8_t *blazei_txn_groups(const struct blazei_txn_header *header)
{
	return (const uint8_t *)(blazei_txn_deps(header) + header->dep_count);
}

/* One group of a transaction; existence is NULL without such an op. */
struct blazei_group_view {
	const struct blazei_txn_group *head;
	const struct blazei_txn_existence *existence;
	const uint8_t *registers;
};

/* Reads the group at `at` and returns where its registers start. */
static inline const uint8_t *blazei_group_read(const uint8_t *at,
                                               struct blazei_group_view *ret_group)
{
	ret_group->head = (const struct blazei_txn_group *)at;
	at += sizeof(struct blazei_txn_group);
	ret_group->existence = NULL;
	if (ret_group->head->flags & BLAZEI_GROUP_EXISTENCE) {
		ret_group->existence = (const struct blazei_txn_existence *)at;
		at += sizeof(struct blazei_txn_existence);
	}
	ret_group->registers = at;
	return at;
}

static inline size_t blazei_register_bytes(const struct blazei_txn_register *reg)
{
	return sizeof(*reg) + blazei_round_up((uint64_t)reg->name_len + reg->value_len, 8);
}

static inline size_t blazei_state_register_bytes(const struct blazei_state_register *reg)
{
	return sizeof(*reg) + blazei_round_up((uint64_t)reg->name_len + reg->value_len, 8);
}

#endif
