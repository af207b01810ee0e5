/* SPDX-License-Identifier: Apache-2.0 */
/* What was written under a name that was left is written again, register by register, under the new
 * one (see reissue.h).
 *
 * WHY    Another history stands under the old name, so nobody is sure to take anything more of it.
 *        The registers that it won here are what it wrote: existence, alive or dead, and the fields
 *        of no life of which all know that it is over. Each is written as it stands, over itself
 *        and with its E, whoever this node is by now: so it says what it said, to everyone, and has
 *        seen what it had seen (reissue.h). Nothing is decided again. (Rejected: the calls that an
 *        application would make, an upsert or a delete; here the record is as they would leave it,
 *        so they would write nothing.)
 *
 * INVARIANTS
 *   I1   What is left to do stands in the table: registers of an old name beyond its bound. So a
 *        call that fails may be repeated, even after the next name was left as well, and a record
 *        of which more was written, bit by bit, than one transaction may say of it goes with
 *        several. */
#include "lib/repl/bundle.h"
#include "lib/repl/reissue.h"

#define ROWS_MAX  4096u
#define BYTES_MAX (8u << 20) /* no further record once there */

static bool left_behind(const struct blazei_replica *replica, uint16_t origin, uint64_t seq)
{
	const struct blazei_writer *writer = &replica->vector.writers[origin];

	return writer->left && seq > writer->dep_max;
}

/* Whether it is to be seen, or will be where its life begins or goes on: not all know that this is
 * over. The list of members is up to date. */
static bool register_left(const struct blazei_replica *replica, const struct blazei_row *row,
                          const struct blazei_entry *entry)
{
	return left_behind(replica, entry->origin, entry->seq) && entry->life != BLAZEI_LIFE_MAX &&
	       !(blazei_life_ended(row, entry->life) &&
	         blazei_below(&replica->members, row->origin, row->seq));
}

/* Adds a row's registers, as many as the transaction may have. Whether these are all. */
static bool row_add(struct blazei_bundle *bundle, const struct blazei_replica *replica,
                    const struct blazei_row *row)
{
	const struct blazei_entry *entry = blazei_row_first(row);
	struct blazei_write_group existence = {
		.id = &row->id,
		.row = row,
		.life = row->life,
		.priority = row->priority,
	};
	bool all = true;

	for (uint32_t i = 0; i < row->entry_count && all; i++) {
		const struct blazei_name *name = replica->names.names[entry->name];
		const struct blazei_write_op op = {
			.name = name->text,
			.name_len = name->len,
			.body = entry->value,
			.body_len = entry->value_len,
			.seen = entry,
			.unset = entry->flags & BLAZEI_ENTRY_UNSET,
			.priority = entry->priority,
			.life = entry->life,
		};

		if (register_left(replica, row, entry))
			all = blazei_bundle_add(bundle, &op);
		entry = blazei_entry_next(entry);
	}
	if (row->flags & BLAZEI_ROW_EXISTS && left_behind(replica, row->origin, row->seq))
		existence.flags =
		        BLAZEI_GROUP_EXISTENCE | (blazei_row_alive(row) ? BLAZEI_GROUP_ALIVE : 0);
	blazei_bundle_end(bundle, &existence);
	return all;
}

/* Gathers from the cursor on, in the order of ids. 0 or -ENOMEM. */
static int rows_gather(struct blazei_replica *replica, struct blazei_bundle *bundle,
                       struct blaze_id *from, bool *ret_end)
{
	const struct blazei_row *row;

	for (unsigned i = 0; i < ROWS_MAX && bundle->bytes < BYTES_MAX; i++) {
		row = blazei_order_seek(&replica->order, &replica->table, from, true);
		*ret_end = row == NULL;
		if (!row)
			return 0;
		if (blazei_bundle_begin(bundle, row->entry_count) < 0)
			return -ENOMEM;
		*from = row->id;
		/* The rest of a wide one goes with the next transaction (I1). */
		if (!row_add(bundle, replica, row))
			return 0;
		/* Behind the greatest id there is none. */
		for (unsigned k = sizeof(from->bytes); k-- > 0 && ++from->bytes[k] == 0;)
			*ret_end = k == 0;
		if (*ret_end)
			return 0;
	}
	return 0;
}

int blazei_restamp(struct blazei_replica *replica, uint64_t now_ns, struct blazei_txn_view *ret_txn)
{
	struct blazei_bundle bundle;
	struct blaze_id from = replica->left.from;
	bool end = false;
	int rc = blazei_order_update(&replica->order, &replica->table);

	if (rc == 0)
		rc = blazei_members_update(replica);
	blazei_bundle_init(&bundle, replica);
	while (rc == 0 && bundle.group_count == 0 && !end)
		rc = rows_gather(replica, &bundle, &from, &end);
	if (rc == 0)
		rc = blazei_bundle_commit(&bundle, replica, now_ns, ret_txn);
	if (rc == 0) {
		replica->left.from = from;
		replica->left.pending = !end;
	}
	blazei_bundle_free(&bundle);
	return rc;
}
