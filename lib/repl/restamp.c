/* SPDX-License-Identifier: Apache-2.0 */
/* What was written under a name that was left is written again, register by register, under the new
 * one (see reissue.h).
 *
 * WHY    Another history stands under the old name, so nobody is sure to take anything more of it.
 *        The registers that it won here are what it wrote: existence, alive or dead, and the fields
 *        of no life that is over. Each is written as it stands, over itself: so it says what it
 *        said, to everyone, and has seen what it had seen. Nothing is decided again. (Rejected: the
 *        calls that an application would make, an upsert or a delete; here the record is as they
 *        would leave it, so they would write nothing.)
 *
 * INVARIANTS
 *   I1   What is left to do stands in the table: registers of an old name beyond its bound. So a
 *        call that fails may be repeated, even after the next name was left as well, and a record
 *        of which more was written, bit by bit, than one transaction may say of it goes with
 *        several. */
#include <stdlib.h>

#include "lib/op/value.h"
#include "lib/repl/core.h"
#include "lib/repl/reissue.h"

#define ROWS_MAX  4096u
#define BYTES_MAX (8u << 20) /* no further record once there */

struct restamp {
	struct blazei_replica *replica;
	struct blazei_write_group *groups;
	struct blazei_write_group **list;
	struct blazei_write_op *ops;
	uint32_t group_count;
	uint32_t group_max;
	uint32_t op_count;
	uint32_t op_max;
	size_t bytes;
};

static bool left_behind(const struct blazei_replica *replica, uint16_t origin, uint64_t seq)
{
	const struct blazei_writer *writer = &replica->vector.writers[origin];

	return writer->left && seq > writer->dep_max;
}

static bool room(struct restamp *restamp, uint32_t groups, uint32_t ops)
{
	if (restamp->group_count + groups > restamp->group_max) {
		uint32_t max = (restamp->group_count + groups) * 2;
		void *grown = realloc(restamp->groups, max * sizeof(*restamp->groups));

		if (!grown)
			return false;
		restamp->groups = grown;
		restamp->group_max = max;
	}
	if (restamp->op_count + ops > restamp->op_max) {
		uint32_t max = (restamp->op_count + ops) * 2;
		void *grown = realloc(restamp->ops, max * sizeof(*restamp->ops));

		if (!grown)
			return false;
		restamp->ops = grown;
		restamp->op_max = max;
	}
	return true;
}

/* By life, then by name as a transaction has them. */
static int ops_compare(const void *a, const void *b)
{
	const struct blazei_write_op *left = a;
	const struct blazei_write_op *right = b;

	if (left->seen->life != right->seen->life)
		return left->seen->life < right->seen->life ? -1 : 1;
	return blazei_key_compare(left->name, left->name_len, right->name, right->name_len);
}

/* The group of a life; a new one follows those there are. */
static void group_add(struct restamp *restamp, const struct blazei_row *row, uint32_t life)
{
	restamp->groups[restamp->group_count++] = (struct blazei_write_group){
		.id = &row->id,
		.row = row,
		.life = life,
	};
}

static bool register_left(const struct blazei_replica *replica, const struct blazei_row *row,
                          const struct blazei_entry *entry)
{
	return left_behind(replica, entry->origin, entry->seq) && entry->life >= row->life &&
	       entry->life != BLAZEI_LIFE_MAX;
}

/* Adds a row's registers, as many as a transaction may have of a record; the groups' ops are only
 * counted, and found when all are there. Whether these are all. */
static bool row_add(struct restamp *restamp, const struct blazei_row *row)
{
	const struct blazei_replica *replica = restamp->replica;
	const struct blazei_entry *entry = blazei_row_first(row);
	struct blazei_write_op *first = &restamp->ops[restamp->op_count];
	bool existence =
	        row->flags & BLAZEI_ROW_EXISTS && left_behind(replica, row->origin, row->seq);
	const uint32_t groups_before = restamp->group_count;
	uint32_t count = 0;
	bool all = true;

	for (uint32_t i = 0; i < row->entry_count && all; i++) {
		const struct blazei_name *name = replica->names.names[entry->name];
		bool left = register_left(replica, row, entry);

		all = !left || count < BLAZEI_REGISTERS_MAX;
		if (left && all)
			first[count++] = (struct blazei_write_op){
				.name = name->text,
				.name_len = name->len,
				.body = entry->value,
				.body_len = entry->value_len,
				.seen = entry,
				.unset = entry->flags & BLAZEI_ENTRY_UNSET,
			};
		entry = blazei_entry_next(entry);
	}
	qsort(first, count, sizeof(*first), ops_compare);
	if (existence) {
		group_add(restamp, row, row->life);
		restamp->groups[groups_before].flags =
		        BLAZEI_GROUP_EXISTENCE | (blazei_row_alive(row) ? BLAZEI_GROUP_ALIVE : 0);
	}
	for (uint32_t i = 0; i < count; i++) {
		if (restamp->group_count == groups_before ||
		    restamp->groups[restamp->group_count - 1].life != first[i].seen->life)
			group_add(restamp, row, first[i].seen->life);
		restamp->groups[restamp->group_count - 1].op_count++;
	}
	restamp->op_count += count;
	for (uint32_t i = groups_before, at = 0; i < restamp->group_count; i++) {
		restamp->groups[i].ops = &first[at];
		restamp->bytes += blazei_group_bytes(&restamp->groups[i]);
		at += restamp->groups[i].op_count;
	}
	return all;
}

/* Gathers from the cursor on, in the order of ids. 0 or -ENOMEM. */
static int rows_gather(struct restamp *restamp, struct blaze_id *from, bool *ret_end)
{
	struct blazei_replica *replica = restamp->replica;
	const struct blazei_row *row;

	for (unsigned i = 0; i < ROWS_MAX && restamp->bytes < BYTES_MAX; i++) {
		row = blazei_order_seek(&replica->order, &replica->table, from, true);
		*ret_end = row == NULL;
		if (!row)
			return 0;
		/* A group and an op for each entry, and a group for the existence. */
		if (!room(restamp, row->entry_count + 1, row->entry_count))
			return -ENOMEM;
		*from = row->id;
		/* The rest of a wide one goes with the next transaction (I1). */
		if (!row_add(restamp, row))
			return 0;
		/* Behind the greatest id there is none. */
		for (unsigned k = sizeof(from->bytes); k-- > 0 && ++from->bytes[k] == 0;)
			*ret_end = k == 0;
		if (*ret_end)
			return 0;
	}
	return 0;
}

/* The arrays have grown, and their ops with them. */
static int groups_list(struct restamp *restamp)
{
	uint32_t at = 0;

	restamp->list = malloc((restamp->group_count + 1) * sizeof(*restamp->list));
	if (!restamp->list)
		return -ENOMEM;
	for (uint32_t i = 0; i < restamp->group_count; i++) {
		restamp->groups[i].ops = &restamp->ops[at];
		at += restamp->groups[i].op_count;
		restamp->list[i] = &restamp->groups[i];
	}
	return 0;
}

int blazei_restamp(struct blazei_replica *replica, uint64_t now_ns, struct blazei_txn_view *ret_txn)
{
	struct restamp restamp = { .replica = replica };
	struct blaze_id from = replica->left.from;
	bool end = false;
	int rc = blazei_order_update(&replica->order, &replica->table);

	while (rc == 0 && restamp.group_count == 0 && !end)
		rc = rows_gather(&restamp, &from, &end);
	if (rc == 0)
		rc = groups_list(&restamp);
	if (rc == 0)
		rc = blazei_commit(replica, now_ns, restamp.list, restamp.group_count, ret_txn);
	if (rc == -EMSGSIZE) {
		/* One record longer than any transaction: merging made it so. */
		replica->refused++;
		rc = 0;
	}
	if (rc == 0) {
		replica->left.from = from;
		replica->left.pending = !end;
	}
	free(restamp.groups);
	free(restamp.list);
	free(restamp.ops);
	return rc;
}
