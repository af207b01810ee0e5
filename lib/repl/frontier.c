/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about the frontier: what is below it, who is, and what such a one has to issue anew.
 *
 * FAILURE  Where the list cannot be read for lack of memory, the answer is the careful one: nothing
 *          is below the frontier, everybody's vector is. */
#include <stdlib.h>

#include "lib/op/record.h"
#include "lib/repl/core.h"

enum blazei_membership blazei_replica_membership(struct blazei_replica *replica,
                                                 const struct blaze_id *node)
{
	if (blazei_members_refresh(replica) < 0)
		return BLAZEI_MEMBER_NEVER;
	for (unsigned i = 0; i < replica->members.count; i++)
		if (blazei_id_equal(&replica->members.list[i].node, node))
			return replica->members.list[i].joined ? BLAZEI_MEMBER_JOINED
			                                       : BLAZEI_MEMBER_EXPELLED;
	return BLAZEI_MEMBER_NEVER;
}

uint64_t blazei_replica_frontier_seq(struct blazei_replica *replica,
                                     const struct blazei_origin *origin)
{
	uint16_t index = blazei_vector_find(&replica->vector, origin);

	if (blazei_members_refresh(replica) < 0 || index == BLAZEI_ORIGIN_NONE ||
	    index >= replica->members.width)
		return 0;
	return replica->members.frontier[index];
}

bool blazei_replica_has_frontier(struct blazei_replica *replica)
{
	return blazei_members_update(replica) < 0 || replica->members.width > 0;
}

bool blazei_replica_below_frontier(struct blazei_replica *replica,
                                   const struct blazei_vector_view *vector)
{
	uint64_t *known = calloc(replica->vector.count, sizeof(*known));
	bool below = true;

	if (known) {
		blazei_vector_spread(&replica->vector, vector->entries, sizeof(*vector->entries),
		                     vector->count, known);
		below = blazei_known_below(replica, known);
	}
	free(known);
	return below;
}

bool blazei_known_below(struct blazei_replica *replica, const uint64_t *known)
{
	if (blazei_members_refresh(replica) < 0)
		return true;
	for (unsigned i = 0; i < replica->members.width; i++)
		if (known[i] < replica->members.frontier[i])
			return true;
	return false;
}

/* Unseen writes ------------------------------------------------------------------------------ */

/* The fields of a row that are to be issued anew, as a patch, or what an upsert takes. 0, -ENOMEM,
 * -E2BIG. */
static int unseen_fields(const struct blazei_replica *replica, const uint64_t *seen,
                         const struct blazei_row *row, bool patch, struct blaze_record *record)
{
	const struct blazei_entry *entry = blazei_row_first(row);
	int rc = 0;

	for (uint32_t i = 0; i < row->entry_count && rc == 0; i++) {
		const struct blazei_name *name = replica->names.names[entry->name];
		bool unset = entry->flags & BLAZEI_ENTRY_UNSET;

		if (entry->life == row->life && (patch || !unset) &&
		    entry->seq > seen[entry->origin]) {
			const struct blazei_field_source source = {
				.name = name->text,
				.name_len = name->len,
				.body = entry->value,
				.body_len = entry->value_len,
				.unset = unset,
			};

			rc = blazei_record_store(record, &source);
		}
		entry = blazei_entry_next(entry);
	}
	return rc;
}

/* 1 where the row has something, 0, or an error. */
static int unseen_row(const struct blazei_replica *replica, const uint64_t *seen,
                      const struct blazei_row *row, struct blazei_unseen *ret_unseen)
{
	bool existence = (row->flags & BLAZEI_ROW_EXISTS) && row->seq > seen[row->origin];
	struct blaze_record *record;
	int rc;

	if (!blazei_row_alive(row)) {
		if (existence)
			*ret_unseen = (struct blazei_unseen){ row->id, BLAZEI_WRITE_DELETE, NULL };
		return existence;
	}
	rc = blazei_record_sized(0, 0, &record);
	if (rc < 0)
		return rc;
	rc = unseen_fields(replica, seen, row, !existence, record);
	if (rc == 0 && (existence || record->count > 0)) {
		*ret_unseen = (struct blazei_unseen){
			row->id, existence ? BLAZEI_WRITE_UPSERT : BLAZEI_WRITE_UPDATE, record
		};
		return 1;
	}
	blaze_record_free(record);
	return rc;
}

int blazei_unseen_next(const struct blazei_replica *replica, const uint64_t *seen, uint64_t *cursor,
                       struct blazei_unseen *ret_unseen)
{
	while (*cursor < replica->table.row_count) {
		int rc = unseen_row(replica, seen, replica->table.rows[*cursor], ret_unseen);

		if (rc < 0)
			return rc;
		*cursor += 1;
		if (rc > 0)
			return rc;
	}
	return 0;
}

int blazei_replica_unseen(const struct blazei_replica *replica,
                          const struct blazei_vector_view *seen, uint64_t *cursor,
                          struct blazei_unseen *ret_unseen)
{
	const struct blazei_vector *vector = &replica->vector;
	uint64_t *seqs = calloc(vector->count, sizeof(*seqs));
	int rc;

	if (!seqs)
		return -ENOMEM;
	blazei_vector_spread(vector, seen->entries, sizeof(*seen->entries), seen->count, seqs);
	for (unsigned i = 0; i < vector->count; i++)
		if (!blazei_id_equal(&vector->origins[i].node, &vector->origins[0].node))
			seqs[i] = UINT64_MAX;
	rc = blazei_unseen_next(replica, seqs, cursor, ret_unseen);
	free(seqs);
	return rc;
}
