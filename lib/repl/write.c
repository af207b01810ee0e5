/* SPDX-License-Identifier: Apache-2.0 */
/* Local writes: decide what is written, encode it, and merge the encoding like anybody's.
 *
 * WHY    The rules of design section 4 live here, in this order: does the write apply at all
 *        (exists, is gone); which fields does it change; does it write existence; what had each
 *        register before, whose E is inherited and whose (H, origin) is named as seen. Then the
 *        transaction is encoded, once, into a buffer that the caller publishes, and merged from
 *        there. Since its H is above every H seen, it wins here by construction.
 *
 * FAILURE Nothing is changed before blazei_merge_txn, which is all or nothing. */
#include <stdlib.h>

#include "lib/op/record.h"
#include "lib/op/value.h"
#include "lib/repl/core.h"

#define PUT_BYTES_MAX (BLAZEI_RECORD_BYTES_MAX - 4096u)

/* The write at hand. */
struct write {
	struct blazei_replica *replica;
	const struct blaze_id *id;
	const struct blazei_row *row; /* NULL: none yet */
	uint64_t hlc;
	uint32_t life;
	uint32_t op_count;
	bool was_alive;
	bool existence; /* is written */
	bool alive;     /* as what */
};

/* Deciding ----------------------------------------------------------------------------------- */

/* A life that no field of the row belongs to yet: a field of an insert that lost against a server's
 * write must not come up again. 0: there is none left. */
static uint32_t next_life(const struct blazei_row *row)
{
	const struct blazei_entry *entry;
	uint32_t life = 0;

	if (!row)
		return 1;
	life = row->life;
	entry = blazei_row_first(row);
	for (uint32_t i = 0; i < row->entry_count; i++) {
		if (entry->life > life)
			life = entry->life;
		entry = blazei_entry_next(entry);
	}
	return life < BLAZEI_LIFE_MAX ? life + 1 : 0;
}

static int decide(struct write *write, enum blazei_write_kind kind)
{
	write->was_alive = write->row && blazei_row_alive(write->row);
	if (kind == BLAZEI_WRITE_INSERT && write->was_alive)
		return -EEXIST;
	if ((kind == BLAZEI_WRITE_UPDATE || kind == BLAZEI_WRITE_DELETE) && !write->was_alive)
		return -ENOENT;
	write->life = write->was_alive ? write->row->life : next_life(write->row);
	if (write->life == 0)
		return -E2BIG;
	write->alive = kind != BLAZEI_WRITE_DELETE;
	write->existence = !write->alive || !write->was_alive || write->replica->server;
	return 0;
}

static bool op_changes(const struct blazei_write_op *op)
{
	bool has = op->seen && !(op->seen->flags & BLAZEI_ENTRY_UNSET);

	if (op->unset || !has)
		return op->unset == has;
	return op->seen->value_len != op->body_len ||
	       memcmp(op->seen->value, op->body, op->body_len) != 0;
}

static const struct blazei_entry *seen_entry(const struct write *write, const void *name,
                                             size_t name_len)
{
	uint32_t number;

	if (!write->row)
		return NULL;
	number = blazei_names_find(&write->replica->names, name, name_len);
	if (number == BLAZEI_NAME_NONE)
		return NULL;
	return blazei_row_find(write->row, number, write->life);
}

/* Turns a record into ops; an update leaves out what is there already. */
static int ops_plan(struct write *write, enum blazei_write_kind kind,
                    const struct blaze_record *record)
{
	struct blazei_replica *replica = write->replica;

	if (record->count > replica->ops_max) {
		struct blazei_write_op *ops = realloc(replica->ops, record->count * sizeof(*ops));

		if (!ops)
			return -ENOMEM;
		replica->ops = ops;
		replica->ops_max = record->count;
	}
	for (uint32_t i = 0; i < record->count; i++) {
		struct blazei_write_op *op = &replica->ops[write->op_count];
		struct blazei_field_view field;

		blazei_record_view(record, i, &field);
		*op = (struct blazei_write_op){
			.name = field.name,
			.body = field.value,
			.seen = seen_entry(write, field.name, field.name_len),
			.body_len = field.value_len,
			.name_len = field.name_len,
			.unset = field.unset,
		};
		if (kind != BLAZEI_WRITE_UPDATE && field.unset)
			return -EINVAL;
		if (kind != BLAZEI_WRITE_UPDATE || op_changes(op))
			write->op_count++;
	}
	return 0;
}

/* Fields, and bytes of names and values, that a reader of the row sees. */
static void row_measure(const struct write *write, int64_t *ret_fields, int64_t *ret_bytes)
{
	const struct blazei_entry *entry = blazei_row_first(write->row);

	for (uint32_t i = 0; i < write->row->entry_count; i++) {
		if (blazei_entry_visible(write->row, entry)) {
			*ret_fields += 1;
			*ret_bytes += write->replica->names.names[entry->name]->len;
			*ret_bytes += entry->value_len;
		}
		entry = blazei_entry_next(entry);
	}
}

/* Whether the record stays within its limits; one that merging took beyond them may shrink. */
static bool limits_hold(const struct write *write)
{
	int64_t fields = 0;
	int64_t bytes = 0;
	int64_t more_fields = 0;
	int64_t more_bytes = 0;

	for (uint32_t i = 0; i < write->op_count; i++) {
		const struct blazei_write_op *op = &write->replica->ops[i];
		bool has = op->seen && !(op->seen->flags & BLAZEI_ENTRY_UNSET);

		more_fields += !op->unset - has;
		more_bytes += (op->unset ? 0 : (int64_t)op->name_len + op->head_len + op->body_len);
		more_bytes -= has ? (int64_t)op->name_len + op->seen->value_len : 0;
	}
	if ((more_fields <= 0 && more_bytes <= 0) || !write->was_alive)
		return true;
	row_measure(write, &fields, &bytes);
	return (more_fields <= 0 || fields + more_fields <= BLAZEI_RECORD_FIELDS_MAX) &&
	       (more_bytes <= 0 || bytes + more_bytes <= BLAZEI_RECORD_BYTES_MAX);
}

/* Encoding ----------------------------------------------------------------------------------- */

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

/* Numbers the origins: the writer, those depended on, and those whose values are overwritten. */
static uint16_t origins_number(const struct write *write)
{
	struct blazei_replica *replica = write->replica;
	uint16_t count = 0;

	replica->write_mark++;
	wire_origin(replica, 0, &count);
	for (unsigned i = 0; i < replica->vector.advanced_count; i++)
		wire_origin(replica, replica->vector.advanced[i], &count);
	if (write->existence && write->row && (write->row->flags & BLAZEI_ROW_EXISTS))
		wire_origin(replica, write->row->origin, &count);
	for (uint32_t i = 0; i < write->op_count; i++)
		if (replica->ops[i].seen)
			wire_origin(replica, replica->ops[i].seen->origin, &count);
	return count;
}

/* E: a server's own H, else that of the value overwritten. */
static uint64_t priority(const struct write *write, uint64_t inherited)
{
	if (write->replica->policy == BLAZE_POLICY_LWW)
		return 0;
	return write->replica->server ? write->hlc : inherited;
}

static void *put(uint8_t **at, const void *data, size_t len)
{
	void *to = *at;

	memcpy(to, data, len);
	*at += len;
	return to;
}

static void existence_encode(const struct write *write, uint8_t **at)
{
	struct blazei_txn_existence op = { .seen_origin = BLAZEI_SEEN_NOTHING };

	if (write->row && (write->row->flags & BLAZEI_ROW_EXISTS)) {
		op.priority = write->row->priority;
		op.seen_hlc = write->row->hlc;
		op.seen_origin = write->replica->vector.writers[write->row->origin].wire;
	}
	op.priority = priority(write, op.priority);
	put(at, &op, sizeof(op));
}

static void register_encode(const struct write *write, const struct blazei_write_op *op,
                            uint8_t **at)
{
	static const uint8_t zeros[8];
	struct blazei_txn_register reg = {
		.seen_origin = BLAZEI_SEEN_NOTHING,
		.name_len = op->name_len,
		.flags = op->unset ? BLAZEI_REGISTER_UNSET : 0,
		.value_len = op->head_len + op->body_len,
	};

	if (op->seen) {
		reg.priority = op->seen->priority;
		reg.seen_hlc = op->seen->hlc;
		reg.seen_origin = write->replica->vector.writers[op->seen->origin].wire;
	}
	reg.priority = priority(write, reg.priority);
	put(at, &reg, sizeof(reg));
	put(at, op->name, op->name_len);
	if (op->head_len)
		put(at, op->head, op->head_len);
	if (op->body_len)
		put(at, op->body, op->body_len);
	put(at, zeros, -((size_t)op->name_len + reg.value_len) & 7);
}

static void group_encode(const struct write *write, uint8_t **at)
{
	const struct blazei_txn_group group = {
		.id = *write->id,
		.life = write->life,
		.register_count = (uint16_t)write->op_count,
		.flags = (write->existence ? BLAZEI_GROUP_EXISTENCE : 0) |
		         (write->existence && write->alive ? BLAZEI_GROUP_ALIVE : 0),
	};

	put(at, &group, sizeof(group));
	if (write->existence)
		existence_encode(write, at);
	for (uint32_t i = 0; i < write->op_count; i++)
		register_encode(write, &write->replica->ops[i], at);
}

/* The origins and deps, after the header. */
static void context_encode(const struct blazei_replica *replica, uint16_t origin_count,
                           uint8_t **at)
{
	const struct blazei_vector *vector = &replica->vector;

	for (unsigned i = 0; i < origin_count; i++)
		put(at, &vector->origins[replica->map[i]], sizeof(struct blazei_origin));
	for (unsigned i = 0; i < vector->advanced_count; i++) {
		const struct blazei_txn_dep dep = {
			.seq = vector->writers[vector->advanced[i]].seq,
			.origin = (uint16_t)(i + 1),
		};

		put(at, &dep, sizeof(dep));
	}
}

static size_t write_bytes(const struct write *write, uint16_t origin_count)
{
	const struct blazei_replica *replica = write->replica;
	size_t bytes = sizeof(struct blazei_txn_header) +
	               origin_count * sizeof(struct blazei_origin) +
	               replica->vector.advanced_count * sizeof(struct blazei_txn_dep) +
	               sizeof(struct blazei_txn_group);

	if (write->existence)
		bytes += sizeof(struct blazei_txn_existence);
	for (uint32_t i = 0; i < write->op_count; i++) {
		const struct blazei_write_op *op = &replica->ops[i];

		bytes += sizeof(struct blazei_txn_register);
		bytes += blazei_round_up((uint64_t)op->name_len + op->head_len + op->body_len, 8);
	}
	return bytes;
}

/* Encodes the write into the replica's buffer. 0 or -ENOMEM. */
static int write_encode(const struct write *write)
{
	struct blazei_replica *replica = write->replica;
	const struct blazei_writer *self = &replica->vector.writers[0];
	uint16_t origin_count = origins_number(write);
	size_t bytes = write_bytes(write, origin_count);
	struct blazei_txn_header *header;
	uint8_t *at;

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
		.hlc = write->hlc,
		.record_count = 1,
		.dep_count = (uint16_t)replica->vector.advanced_count,
	};
	at = (uint8_t *)(header + 1);
	context_encode(replica, origin_count, &at);
	group_encode(write, &at);
	assert(at == replica->txn.data + bytes);
	header->chain = blazei_txn_hash(header);
	return 0;
}

/* Committing --------------------------------------------------------------------------------- */

/* Encodes and merges what is planned, and moves the own entry of the vector. */
static int write_commit(const struct write *write, const void **ret_txn, size_t *ret_len)
{
	struct blazei_replica *replica = write->replica;
	struct blazei_vector *vector = &replica->vector;
	const struct blazei_txn_header *header;

	if (write->op_count == 0 && !write->existence) {
		*ret_txn = NULL;
		*ret_len = 0;
		return 0;
	}
	if (!limits_hold(write))
		return -E2BIG;
	if (write_encode(write) < 0)
		return -ENOMEM;
	header = (const struct blazei_txn_header *)replica->txn.data;
	if (blazei_merge_txn(replica, header, 0) < 0)
		return -ENOMEM;
	vector->writers[0].seq = header->seq;
	vector->writers[0].chain = header->chain;
	for (unsigned i = 0; i < vector->advanced_count; i++)
		vector->writers[vector->advanced[i]].advanced = false;
	vector->advanced_count = 0;
	blazei_hlc_observe(&replica->clock, header->hlc);
	*ret_txn = header;
	*ret_len = header->bytes;
	return 0;
}

static struct write write_start(struct blazei_replica *replica, uint64_t now_ns,
                                const struct blaze_id *id)
{
	uint64_t hash = blazei_table_hash(&replica->table, id);

	return (struct write){
		.replica = replica,
		.id = id,
		.row = blazei_table_find(&replica->table, id, hash),
		.hlc = blazei_hlc_next(&replica->clock, now_ns),
	};
}

int blazei_replica_write(struct blazei_replica *replica, uint64_t now_ns,
                         enum blazei_write_kind kind, const struct blaze_id *id,
                         const struct blaze_record *record, const void **ret_txn, size_t *ret_len)
{
	struct write write;
	int rc;

	if (!id || (record == NULL) != (kind == BLAZEI_WRITE_DELETE))
		return -EINVAL;
	write = write_start(replica, now_ns, id);
	rc = decide(&write, kind);
	if (rc < 0)
		return rc;
	if (record) {
		rc = ops_plan(&write, kind, record);
		if (rc < 0)
			return rc;
	}
	return write_commit(&write, ret_txn, ret_len);
}

int blazei_replica_put(struct blazei_replica *replica, uint64_t now_ns, const struct blaze_id *id,
                       const void *value, size_t len, const void **ret_txn, size_t *ret_len)
{
	uint8_t head[BLAZEI_VALUE_HEAD_MAX];
	struct write write;
	int rc;

	if (!id || (!value && len > 0))
		return -EINVAL;
	if (len > PUT_BYTES_MAX)
		return -E2BIG;
	write = write_start(replica, now_ns, id);
	rc = decide(&write, BLAZEI_WRITE_UPSERT);
	if (rc < 0)
		return rc;
	replica->ops[0] = (struct blazei_write_op){
		.name = "",
		.head = head,
		.body = value,
		.seen = write.row ? blazei_row_find(write.row, 0, write.life) : NULL,
		.head_len = (uint32_t)blazei_encode_bytes_head(head, sizeof(head), len),
		.body_len = (uint32_t)len,
	};
	write.op_count = 1;
	return write_commit(&write, ret_txn, ret_len);
}
