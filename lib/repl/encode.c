/* SPDX-License-Identifier: Apache-2.0 */
/* The one encoder: what a local transaction writes becomes bytes, and the bytes are merged.
 *
 * WHY    A write is encoded once. So the transaction is made whole in a buffer that the caller
 *        publishes, and merged here from that buffer like anybody's. A single call is a
 *        transaction of one record; both come through here.
 *
 * The H is above every H seen, so a transaction wins here over all that it had seen; over what came
 * since it first touched a record its E decides, here as everywhere.
 *
 * FAILURE Nothing is changed before blazei_merge_txn, which is all or nothing. */
#include "lib/repl/core.h"

/* The transaction's number for an origin; gives it one at first. replica->map lists them. */
static uint16_t wire_origin(struct blazei_replica *replica, unsigned index, uint16_t *count)
{
	struct blazei_writer *writer = &replica->vector.writers[index];

	if (writer->mark != replica->write_mark) {
		writer->mark = replica->write_mark;
		writer->wire = *count;
		replica->map[(*count)++] = (uint16_t)index;
	}
	return writer->wire;
}

/* Whether the group's existence op overwrites something. */
static inline bool existence_seen(const struct blazei_write_group *group)
{
	return group->row && (group->row->flags & BLAZEI_ROW_EXISTS);
}

/* Numbers the origins: the writer, those depended on, and those whose values are overwritten. */
static uint16_t origins_number(struct blazei_replica *replica,
                               struct blazei_write_group *const *groups, uint32_t group_count)
{
	uint16_t count = 0;

	replica->write_mark++;
	wire_origin(replica, 0, &count);
	for (unsigned i = 0; i < replica->vector.advanced_count; i++)
		wire_origin(replica, replica->vector.advanced[i], &count);
	for (uint32_t i = 0; i < group_count; i++) {
		const struct blazei_write_group *group = groups[i];

		if (group->flags && existence_seen(group))
			wire_origin(replica, group->row->origin, &count);
		for (uint32_t j = 0; j < group->op_count; j++)
			if (group->ops[j].seen)
				wire_origin(replica, group->ops[j].seen->origin, &count);
	}
	return count;
}

/* E: a server's own H, else that of the value overwritten. */
static uint64_t priority(const struct blazei_replica *replica, uint64_t hlc, uint64_t inherited)
{
	if (replica->policy == BLAZE_POLICY_LWW)
		return 0;
	return blazei_is_server(replica) ? hlc : inherited;
}

static inline void put(uint8_t **at, const void *data, size_t len)
{
	memcpy(*at, data, len);
	*at += len;
}

static void existence_encode(const struct blazei_replica *replica, uint64_t hlc,
                             const struct blazei_write_group *group, uint8_t **at)
{
	struct blazei_txn_existence op = { .seen_origin = BLAZEI_SEEN_NOTHING };

	/* As if it had seen what may have been collected. */
	op.priority = blazei_floor_priority(replica, hlc);
	if (existence_seen(group)) {
		op.priority = group->row->priority;
		op.seen_hlc = group->row->hlc;
		op.seen_origin = replica->vector.writers[group->row->origin].wire;
	}
	op.priority = group->anew ? group->priority : priority(replica, hlc, op.priority);
	put(at, &op, sizeof(op));
}

/* The heads are written where they belong, field by field: what is built elsewhere and copied at
 * once makes the CPU wait for its own stores. */
static inline void register_encode(const struct blazei_replica *replica, uint64_t hlc,
                                   const struct blazei_write_op *op, bool anew, uint8_t **at)
{
	struct blazei_txn_register *reg = (struct blazei_txn_register *)*at;
	uint32_t value_len = op->head_len + op->body_len;
	uint8_t *to;

	reg->priority = blazei_unlikely(anew)
	                        ? op->priority
	                        : priority(replica, hlc, op->seen ? op->seen->priority : 0);
	reg->seen_hlc = op->seen ? op->seen->hlc : 0;
	reg->seen_origin =
	        op->seen ? replica->vector.writers[op->seen->origin].wire : BLAZEI_SEEN_NOTHING;
	reg->name_len = op->name_len;
	reg->flags = op->unset ? BLAZEI_REGISTER_UNSET : 0;
	reg->value_len = value_len;
	*at = reg->bytes + blazei_round_up((uint64_t)op->name_len + value_len, 8);
	/* The last word's zeros first. */
	if (*at > reg->bytes)
		memset(*at - 8, 0, 8);
	to = reg->bytes;
	blazei_short_copy(to, op->name, op->name_len);
	to += op->name_len;
	blazei_short_copy(to, op->head, op->head_len);
	to += op->head_len;
	if (op->body_len)
		blazei_short_copy(to, op->body, op->body_len);
}

static void group_encode(const struct blazei_replica *replica, uint64_t hlc,
                         const struct blazei_write_group *group, uint8_t **at)
{
	struct blazei_txn_group *head = (struct blazei_txn_group *)*at;

	head->id = *group->id;
	head->life = group->life;
	head->register_count = (uint16_t)group->op_count;
	head->flags = group->flags;
	*at = (uint8_t *)(head + 1);
	if (group->flags)
		existence_encode(replica, hlc, group, at);
	for (uint32_t i = 0; i < group->op_count; i++)
		register_encode(replica, hlc, &group->ops[i], group->anew, at);
}

/* The origins and deps, after the header. */
static void context_encode(const struct blazei_replica *replica, uint16_t origin_count,
                           uint8_t **at)
{
	const struct blazei_vector *vector = &replica->vector;

	for (unsigned i = 0; i < origin_count; i++)
		put(at, &vector->origins[replica->map[i]], sizeof(struct blazei_origin));
	for (unsigned i = 0; i < vector->advanced_count; i++) {
		const struct blazei_writer *writer = &vector->writers[vector->advanced[i]];
		struct blazei_txn_dep dep = {
			.seq = writer->seq,
			.hlc = writer->hlc,
			.origin = (uint16_t)(i + 1),
		};

		if (blazei_unlikely(writer->dep_max != 0)) {
			dep.seq = writer->dep_max;
			dep.hlc = 0;
		}
		put(at, &dep, sizeof(dep));
	}
}

size_t blazei_group_bytes(const struct blazei_write_group *group)
{
	size_t bytes = sizeof(struct blazei_txn_group);

	if (group->flags)
		bytes += sizeof(struct blazei_txn_existence);
	for (uint32_t i = 0; i < group->op_count; i++)
		bytes += blazei_op_bytes(&group->ops[i]);
	return bytes;
}

/* Encodes the groups into the replica's buffer. 0, -EMSGSIZE or -ENOMEM. */
static int encode(struct blazei_replica *replica, uint64_t hlc,
                  struct blazei_write_group *const *groups, uint32_t count)
{
	const struct blazei_writer *self = &replica->vector.writers[0];
	uint16_t origin_count = origins_number(replica, groups, count);
	size_t bytes = sizeof(struct blazei_txn_header) +
	               origin_count * sizeof(struct blazei_origin) +
	               replica->vector.advanced_count * sizeof(struct blazei_txn_dep);
	struct blazei_txn_header *header;
	uint8_t *at;

	for (uint32_t i = 0; i < count; i++)
		bytes += blazei_group_bytes(groups[i]);
	if (bytes > BLAZEI_TXN_BYTES_MAX)
		return -EMSGSIZE;
	replica->txn.len = 0;
	if (blazei_buffer_reserve(&replica->txn, bytes) < 0)
		return -ENOMEM;
	replica->txn.len = bytes;
	header = (struct blazei_txn_header *)replica->txn.data;
	*header = (struct blazei_txn_header){
		.bytes = (uint32_t)bytes,
		.kind = BLAZEI_KIND_TXN,
		.format = BLAZEI_FORMAT,
		.origin_count = origin_count,
		.prev = self->chain,
		.seq = self->seq + 1,
		.hlc = hlc,
		.record_count = count,
		.dep_count = (uint16_t)replica->vector.advanced_count,
	};
	at = (uint8_t *)(header + 1);
	context_encode(replica, origin_count, &at);
	for (uint32_t i = 0; i < count; i++)
		group_encode(replica, hlc, groups[i], &at);
	assert(at == replica->txn.data + bytes);
	header->chain = blazei_txn_hash(header);
	return 0;
}

void blazei_replica_txn_take(struct blazei_replica *replica, struct blazei_buffer *buffer)
{
	struct blazei_buffer spare = *buffer;

	*buffer = replica->txn;
	replica->txn = spare;
	replica->txn.max = BLAZEI_TXN_BYTES_MAX;
}

int blazei_commit(struct blazei_replica *replica, uint64_t now_ns,
                  struct blazei_write_group *const *groups, uint32_t count,
                  struct blazei_txn_view *ret_txn)
{
	struct blazei_vector *vector = &replica->vector;
	const struct blazei_txn_header *header;
	int rc;

	if (count == 0) {
		*ret_txn = (struct blazei_txn_view){ 0 };
		return 0;
	}
	rc = encode(replica, blazei_hlc_next(&replica->clock, now_ns), groups, count);
	if (rc < 0)
		return rc;
	header = (const struct blazei_txn_header *)replica->txn.data;
	if (blazei_merge_txn(replica, header, 0) < 0)
		return -ENOMEM;
	blazei_history_append(&replica->history, vector, header);
	if (blazei_unlikely(replica->logging))
		blazei_logged_txn(replica, header);
	vector->writers[0].seq = header->seq;
	vector->writers[0].chain = header->chain;
	vector->writers[0].hlc = header->hlc;
	blazei_vector_told(vector);
	blazei_hlc_observe(&replica->clock, header->hlc);
	*ret_txn = (struct blazei_txn_view){ header, header->bytes };
	return 0;
}
