/* SPDX-License-Identifier: Apache-2.0 */
/* Local writes: decide what is written; encode.c then encodes and merges it.
 *
 * WHY    The rules of design section 4 live here, in this order: does the write apply at all
 *        (exists, is gone); which fields does it change; does it write existence; what had each
 *        register before, whose E is inherited and whose (H, origin) is named as seen. A single
 *        write is a transaction of one record that is decided against the live row.
 *
 * FAILURE Nothing is changed before blazei_commit, which is all or nothing. */
#include <stdlib.h>

#include "lib/op/record.h"
#include "lib/op/value.h"
#include "lib/repl/core.h"

#define PUT_BYTES_MAX (BLAZEI_RECORD_BYTES_MAX - 4096u)

/* The write at hand. */
struct write {
	struct blazei_replica *replica;
	struct blazei_write_group group;
	bool was_alive;
};

/* Deciding ----------------------------------------------------------------------------------- */

uint32_t blazei_next_life(const struct blazei_replica *replica, const struct blazei_row *row)
{
	const struct blazei_entry *entry;
	uint64_t life = row ? row->life : 0;

	/* What is not there may have been collected, here or where a snapshot came from. */
	if (life == 0)
		life = replica->members.floor.life;
	entry = row ? blazei_row_first(row) : NULL;
	for (uint32_t i = 0; row && i < row->entry_count; i++) {
		if (entry->life > life)
			life = entry->life;
		entry = blazei_entry_next(entry);
	}
	return blazei_life_after(life);
}

int blazei_write_applies(enum blazei_write_kind kind, bool alive)
{
	if (kind == BLAZEI_WRITE_INSERT && alive)
		return -EEXIST;
	if ((kind == BLAZEI_WRITE_UPDATE || kind == BLAZEI_WRITE_DELETE) && !alive)
		return -ENOENT;
	return 0;
}

static int decide(struct write *write, enum blazei_write_kind kind)
{
	const struct blazei_row *row = write->group.row;
	bool alive = kind != BLAZEI_WRITE_DELETE;
	int rc;

	write->was_alive = row && blazei_row_alive(row);
	rc = blazei_write_applies(kind, write->was_alive);
	if (rc == 0)
		rc = blazei_members_update(write->replica);
	if (rc < 0)
		return rc;
	write->group.life = write->was_alive ? row->life : blazei_next_life(write->replica, row);
	if (write->group.life == 0)
		return -E2BIG;
	if (!alive || !write->was_alive || blazei_is_server(write->replica))
		write->group.flags = BLAZEI_GROUP_EXISTENCE | (alive ? BLAZEI_GROUP_ALIVE : 0);
	return 0;
}

bool blazei_op_changes(const struct blazei_write_op *op)
{
	bool has = op->seen && !(op->seen->flags & BLAZEI_ENTRY_UNSET);

	if (op->unset || !has)
		return op->unset == has;
	return op->seen->value_len != op->body_len ||
	       !blazei_short_equal(op->seen->value, op->body, op->body_len);
}

/* Without a finder a few are searched for one by one. */
static const struct blazei_entry *seen_entry(const struct write *write,
                                             struct blazei_finder *finder,
                                             const struct blazei_field_view *field)
{
	uint32_t number;

	if (!write->group.row)
		return NULL;
	number = blazei_names_find(&write->replica->names, field->name, field->name_len);
	if (number == BLAZEI_NAME_NONE)
		return NULL;
	if (!finder)
		return blazei_row_find(write->group.row, number, write->group.life);
	return blazei_finder_find(finder, number, write->group.life);
}

/* Turns a record into ops; an update leaves out what is there already. */
static int ops_plan(struct write *write, enum blazei_write_kind kind,
                    const struct blaze_record *record)
{
	struct blazei_replica *replica = write->replica;
	const bool many = write->group.row && record->count >= BLAZEI_FINDER_FEW;
	struct blazei_finder finder;

	if (record->count > replica->ops_max) {
		struct blazei_write_op *ops = realloc(replica->ops, record->count * sizeof(*ops));

		if (!ops)
			return -ENOMEM;
		replica->ops = ops;
		replica->ops_max = record->count;
	}
	write->group.ops = replica->ops;
	if (many)
		blazei_finder_begin(&finder, &replica->filter, replica->table.seed,
		                    write->group.row, record->count);
	for (uint32_t i = 0; i < record->count; i++) {
		struct blazei_write_op *op = &replica->ops[write->group.op_count];
		struct blazei_field_view field;

		blazei_record_view(record, i, &field);
		*op = (struct blazei_write_op){
			.name = field.name,
			.body = field.value,
			.seen = seen_entry(write, many ? &finder : NULL, &field),
			.body_len = field.value_len,
			.name_len = field.name_len,
			.unset = field.unset,
		};
		if (kind != BLAZEI_WRITE_UPDATE && field.unset)
			return -EINVAL;
		if (kind != BLAZEI_WRITE_UPDATE || blazei_op_changes(op))
			write->group.op_count++;
	}
	return 0;
}

/* The one op of a put; head has room for BLAZEI_VALUE_HEAD_MAX bytes. */
static void put_plan(struct write *write, const struct blazei_write *put, uint8_t *head)
{
	const struct blazei_row *row = write->group.row;

	write->replica->ops[0] = (struct blazei_write_op){
		.name = "",
		.head = head,
		.body = put->value,
		.seen = row ? blazei_row_find(row, 0, write->group.life) : NULL,
		.head_len =
		        (uint32_t)blazei_encode_bytes_head(head, BLAZEI_VALUE_HEAD_MAX, put->len),
		.body_len = (uint32_t)put->len,
	};
	write->group.ops = write->replica->ops;
	write->group.op_count = 1;
}

/* Fields, and bytes of names and values, that a reader of the row sees. */
static void row_measure(const struct write *write, int64_t *ret_fields, int64_t *ret_bytes)
{
	const struct blazei_entry *entry = blazei_row_first(write->group.row);

	for (uint32_t i = 0; i < write->group.row->entry_count; i++) {
		if (blazei_entry_visible(write->group.row, entry)) {
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

	for (uint32_t i = 0; i < write->group.op_count; i++) {
		const struct blazei_write_op *op = &write->group.ops[i];
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

/* Committing --------------------------------------------------------------------------------- */

int blazei_write_check(const struct blazei_write *write)
{
	if (!write->id)
		return -EINVAL;
	if (write->kind == BLAZEI_WRITE_PUT) {
		if (write->record || (!write->value && write->len > 0))
			return -EINVAL;
		return write->len > PUT_BYTES_MAX ? -E2BIG : 0;
	}
	return (write->record == NULL) == (write->kind == BLAZEI_WRITE_DELETE) ? 0 : -EINVAL;
}

int blazei_replica_write(struct blazei_replica *replica, uint64_t now_ns,
                         const struct blazei_write *what, struct blazei_txn_view *ret_txn)
{
	struct blazei_write_group *group;
	uint8_t head[BLAZEI_VALUE_HEAD_MAX];
	struct write write = { .replica = replica };
	int rc = blazei_write_check(what);

	if (rc < 0)
		return rc;
	group = &write.group;
	group->id = what->id;
	group->row = blazei_table_find(&replica->table, what->id,
	                               blazei_table_hash(&replica->table, what->id));
	rc = decide(&write, what->kind);
	if (rc == 0 && what->record)
		rc = ops_plan(&write, what->kind, what->record);
	if (rc < 0)
		return rc;
	if (what->kind == BLAZEI_WRITE_PUT)
		put_plan(&write, what, head);
	if (!limits_hold(&write))
		return -E2BIG;
	return blazei_commit(replica, now_ns, &group, group->op_count > 0 || group->flags, ret_txn);
}
