/* SPDX-License-Identifier: Apache-2.0 */
/* Checks a transaction or a state chunk from outside, whole, before anything of it is used.
 *
 * WHY    The hash comes first: what a lane or a wire damaged ends there. It does not bind a hostile
 *        writer, who can compute it, so every bound is checked all the same; after that the
 *        walkers in txn.h need no check of their own.
 *
 * FAILURE Each check is complete or negative; nothing is kept between calls. Loops are bounded by
 *        the bytes, as every group and register takes at least 24. */
#include "lib/op/txn.h"

#include "lib/op/hash.h"
#include "lib/op/record.h"
#include "lib/op/value.h"

/* The part not yet checked, and what its parts are checked against. */
struct reader {
	const uint8_t *at;
	size_t left;
	uint64_t hlc;
	uint16_t origin_count;
};

/* The next `bytes`, or NULL where they are cut short. */
static inline const void *reader_take(struct reader *reader, size_t bytes)
{
	const uint8_t *at = reader->at;

	if (blazei_unlikely(bytes > reader->left))
		return NULL;
	reader->at += bytes;
	reader->left -= bytes;
	return at;
}

uint64_t blazei_txn_hash(const struct blazei_txn_header *header)
{
	const size_t skip = offsetof(struct blazei_txn_header, prev);
	uint64_t seed;

	/* The 8 bytes before the chain are the seed, so that the rest is hashed in one piece. */
	memcpy(&seed, header, sizeof(seed));
	return XXH3_64bits_withSeed((const uint8_t *)header + skip, header->bytes - skip, seed);
}

static inline bool header_check(const void *data, size_t len, uint8_t kind)
{
	const struct blazei_txn_header *header = data;

	if (len < sizeof(*header) || len > BLAZEI_TXN_BYTES_MAX || len % 8 != 0 ||
	    (uintptr_t)data % 8 != 0)
		return false;
	return header->bytes == len && header->kind == kind && header->format == BLAZEI_FORMAT &&
	       header->reserved == 0 && header->origin_count <= BLAZEI_ORIGINS_MAX &&
	       header->chain == blazei_txn_hash(header);
}

/* The first n bytes of a word as it lies in memory, 1 to 8 of them. */
static inline uint64_t first_bytes(size_t n)
{
	return UINT64_MAX >> (64 - 8 * n);
}

/* Whether a name is UTF-8 without NUL. At least eight bytes may be read where it is not empty: most
 * names are no longer than that, and plain. */
static inline bool name_check(const uint8_t *name, uint8_t len)
{
	uint64_t word, keep;

	if (len == 0)
		return true;
	if (len <= sizeof(word)) {
		keep = first_bytes(len);
		memcpy(&word, name, sizeof(word));
		if (blazei_likely(
		            blazei_plain_ascii((word & keep) | (BLAZEI_EACH_BYTE(0x01) & ~keep))))
			return true;
	}
	return blazei_utf8_valid(name, len);
}

/* The name and value of a register, which end in zeros up to a multiple of 8. */
static inline bool content_check(struct reader *reader, uint8_t name_len, uint32_t value_len,
                                 bool unset)
{
	size_t content = (size_t)name_len + value_len;
	size_t padding = -content & 7;
	const uint8_t *bytes;
	enum blaze_type type;
	uint64_t last;

	if (value_len > BLAZEI_RECORD_BYTES_MAX || unset != (value_len == 0))
		return false;
	bytes = reader_take(reader, content + padding);
	if (!bytes)
		return false;
	if (padding > 0) {
		memcpy(&last, bytes + content + padding - sizeof(last), sizeof(last));
		if ((last & ~first_bytes(sizeof(last) - padding)) != 0)
			return false;
	}
	if (!name_check(bytes, name_len))
		return false;
	return unset || blazei_value_check(bytes + name_len, value_len, &type) == 0;
}

static inline bool seen_check(const struct reader *reader, uint64_t seen_hlc, uint16_t seen_origin)
{
	if (seen_origin == BLAZEI_SEEN_NOTHING)
		return seen_hlc == 0;
	return seen_origin < reader->origin_count && seen_hlc != 0 && seen_hlc < reader->hlc;
}

static bool existence_check(struct reader *reader)
{
	const struct blazei_txn_existence *op = reader_take(reader, sizeof(*op));

	return op && op->priority <= reader->hlc && op->reserved[0] == 0 && op->reserved[1] == 0 &&
	       op->reserved[2] == 0 && seen_check(reader, op->seen_hlc, op->seen_origin);
}

static inline bool registers_check(struct reader *reader, unsigned count)
{
	const struct blazei_txn_register *last = NULL;

	for (unsigned i = 0; i < count; i++) {
		const struct blazei_txn_register *reg = reader_take(reader, sizeof(*reg));

		if (!reg || reg->flags > BLAZEI_REGISTER_UNSET || reg->priority > reader->hlc ||
		    !seen_check(reader, reg->seen_hlc, reg->seen_origin) ||
		    !content_check(reader, reg->name_len, reg->value_len, reg->flags))
			return false;
		if (last &&
		    blazei_key_compare(last->bytes, last->name_len, reg->bytes, reg->name_len) >= 0)
			return false;
		last = reg;
	}
	return true;
}

static inline bool group_flags_check(const struct blazei_txn_group *group)
{
	const uint16_t known = BLAZEI_GROUP_EXISTENCE | BLAZEI_GROUP_ALIVE;

	return (group->flags & ~known) == 0 && group->flags != BLAZEI_GROUP_ALIVE &&
	       (group->flags || group->register_count);
}

static inline bool group_check(struct reader *reader, const struct blazei_txn_group *group)
{
	if (!group_flags_check(group) || group->life == 0 || group->life > BLAZEI_LIFE_MAX)
		return false;
	if (group->flags & BLAZEI_GROUP_EXISTENCE &&
	    (group->life == BLAZEI_LIFE_MAX || !existence_check(reader)))
		return false;
	return registers_check(reader, group->register_count);
}

/* Groups ascend by (id, life), and only one of an id writes its existence: then no register is
 * written twice. All of an id have so many registers at most. */
static bool groups_check(struct reader *reader, uint32_t count)
{
	const struct blazei_txn_group *last = NULL;
	bool existence_seen = false;
	uint32_t registers = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct blazei_txn_group *group = reader_take(reader, sizeof(*group));
		int order = -1;

		if (!group)
			return false;
		if (last)
			order = memcmp(last->id.bytes, group->id.bytes, sizeof(group->id.bytes));
		if (order > 0 || (order == 0 && last->life >= group->life))
			return false;
		if (order < 0) {
			existence_seen = false;
			registers = 0;
		}
		registers += group->register_count;
		if (registers > BLAZEI_REGISTERS_MAX)
			return false;
		if (!group_check(reader, group))
			return false;
		if (group->flags & BLAZEI_GROUP_EXISTENCE) {
			if (existence_seen)
				return false;
			existence_seen = true;
		}
		last = group;
	}
	return true;
}

static bool deps_check(struct reader *reader, unsigned count)
{
	unsigned last = 0; /* the writer, who needs no mention */

	for (unsigned i = 0; i < count; i++) {
		const struct blazei_txn_dep *dep = reader_take(reader, sizeof(*dep));

		if (!dep || dep->seq == 0 || dep->origin <= last ||
		    dep->origin >= reader->origin_count || dep->hlc >= reader->hlc ||
		    dep->reserved[0] != 0 || dep->reserved[1] != 0 || dep->reserved[2] != 0)
			return false;
		last = dep->origin;
	}
	return true;
}

int blazei_txn_check(const void *data, size_t len)
{
	const struct blazei_txn_header *header = data;
	struct reader reader;

	if (!header_check(data, len, BLAZEI_KIND_TXN))
		return -EBADMSG;
	if (header->seq == 0 || header->hlc == 0 || header->origin_count == 0 ||
	    header->record_count == 0)
		return -EBADMSG;
	reader = (struct reader){
		.at = (const uint8_t *)(header + 1),
		.left = len - sizeof(*header),
		.hlc = header->hlc,
		.origin_count = header->origin_count,
	};
	if (!reader_take(&reader, header->origin_count * sizeof(struct blazei_origin)) ||
	    blazei_origin_retired(blazei_txn_origins(header)) ||
	    !deps_check(&reader, header->dep_count) ||
	    !groups_check(&reader, header->record_count) || reader.left != 0)
		return -EBADMSG;
	return 0;
}

static bool state_existence_check(struct reader *reader)
{
	const struct blazei_state_existence *op = reader_take(reader, sizeof(*op));

	return op && op->seq != 0 && op->hlc != 0 && op->priority <= op->hlc &&
	       op->origin < reader->origin_count && op->reserved[0] == 0 && op->reserved[1] == 0 &&
	       op->reserved[2] == 0;
}

static bool state_register_check(struct reader *reader)
{
	const struct blazei_state_register *reg = reader_take(reader, sizeof(*reg));

	return reg && reg->flags <= BLAZEI_REGISTER_UNSET && reg->seq != 0 && reg->hlc != 0 &&
	       reg->priority <= reg->hlc && reg->origin < reader->origin_count && reg->life != 0 &&
	       reg->life <= BLAZEI_LIFE_MAX && reg->reserved == 0 &&
	       content_check(reader, reg->name_len, reg->value_len, reg->flags);
}

static bool state_group_check(struct reader *reader)
{
	const struct blazei_txn_group *group = reader_take(reader, sizeof(*group));
	bool existence;

	if (!group || !group_flags_check(group) || group->life >= BLAZEI_LIFE_MAX)
		return false;
	existence = group->flags & BLAZEI_GROUP_EXISTENCE;
	if (existence != (group->life != 0) || (existence && !state_existence_check(reader)))
		return false;
	for (unsigned i = 0; i < group->register_count; i++)
		if (!state_register_check(reader))
			return false;
	return true;
}

int blazei_state_check(const void *data, size_t len)
{
	const struct blazei_txn_header *header = data;
	struct reader reader;

	if (!header_check(data, len, BLAZEI_KIND_STATE))
		return -EBADMSG;
	if (header->seq != 0 || header->hlc != 0 || header->prev != 0 || header->dep_count != 0)
		return -EBADMSG;
	reader = (struct reader){
		.at = (const uint8_t *)(header + 1),
		.left = len - sizeof(*header),
		.origin_count = header->origin_count,
	};
	if (!reader_take(&reader, header->origin_count * sizeof(struct blazei_origin)))
		return -EBADMSG;
	for (uint32_t i = 0; i < header->record_count; i++)
		if (!state_group_check(&reader))
			return -EBADMSG;
	return reader.left == 0 ? 0 : -EBADMSG;
}
