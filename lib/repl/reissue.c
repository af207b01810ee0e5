/* SPDX-License-Identifier: Apache-2.0 */
/* Lists what nobody else has seen, and writes it again; see reissue.h. */
#include "lib/repl/reissue.h"

#include <stdlib.h>

#include "lib/op/record.h"
#include "lib/repl/core.h"
#include "lib/repl/writeset.h"

#define ITEMS_MIN 16u

/* The list ------------------------------------------------------------------------------------*/

void blazei_unseen_list_clear(struct blazei_unseen_list *list)
{
	for (uint32_t i = list->next; i < list->count; i++)
		blaze_record_free(list->items[i].record);
	free(list->items);
	*list = (struct blazei_unseen_list){ 0 };
}

/* The next free place, or NULL. */
static struct blazei_unseen *list_place(struct blazei_unseen_list *list)
{
	uint32_t max = list->max ? list->max * 2 : ITEMS_MIN;
	struct blazei_unseen *items;

	if (list->count < list->max)
		return &list->items[list->count];
	items = realloc(list->items, max * sizeof(*items));
	if (!items)
		return NULL;
	list->items = items;
	list->max = max;
	return &items[list->count];
}

/* Adds what `seen`, by origin index, does not cover. */
static int list_fill(struct blazei_unseen_list *list, const struct blazei_replica *replica,
                     const uint64_t *seen)
{
	const uint32_t before = list->count;
	uint64_t cursor = 0;
	int rc;

	do {
		struct blazei_unseen *place = list_place(list);

		rc = place ? blazei_unseen_next(replica, seen, &cursor, place) : -ENOMEM;
		list->count += rc > 0;
	} while (rc > 0);
	while (rc < 0 && list->count > before)
		blaze_record_free(list->items[--list->count].record);
	return rc;
}

int blazei_unseen_list_fill(struct blazei_unseen_list *list, struct blazei_replica *replica,
                            const struct blazei_vector_view *seen)
{
	const struct blazei_vector *vector = &replica->vector;
	/* Who is a member must be known: what one wrote comes from it alone. */
	int rc = blazei_members_refresh(replica);
	uint64_t *seqs;

	if (rc < 0)
		return rc;
	seqs = calloc(vector->count, sizeof(*seqs));
	if (!seqs)
		return -ENOMEM;
	blazei_vector_spread(vector, seen->entries, sizeof(*seen->entries), seen->count, seqs);
	for (unsigned i = 0; i < vector->count; i++) {
		const struct blaze_id *node = &vector->origins[i].node;

		if (!blazei_id_equal(node, &vector->origins[0].node) &&
		    blazei_replica_membership(replica, node) == BLAZEI_MEMBER_JOINED)
			seqs[i] = UINT64_MAX;
	}
	rc = list_fill(list, replica, seqs);
	free(seqs);
	return rc;
}

/* Issuing -------------------------------------------------------------------------------------*/

/* A patch as a record of its own: what it removes is not there. 0 or an error. */
static int patch_to_record(const struct blaze_record *patch, struct blaze_record **ret_record)
{
	struct blaze_record *record;
	int rc = blazei_record_sized(0, 0, &record);

	for (uint32_t i = 0; rc == 0 && i < patch->count; i++) {
		struct blazei_field_view field;

		blazei_record_view(patch, i, &field);
		if (!field.unset)
			rc = blazei_record_append(record, field.name, field.name_len, field.value,
			                          field.value_len);
		if (rc < 0)
			blaze_record_free(record);
	}
	if (rc == 0)
		*ret_record = record;
	return rc;
}

/* Stages one. The record that a patch was for may be gone with what others wrote of it, which comes
 * again: then what was written stands alone. */
static int item_stage(struct blazei_replica *replica, struct blazei_writeset *writes,
                      const struct blazei_unseen *item)
{
	struct blazei_write write = {
		.kind = item->kind,
		.id = &item->id,
		.record = item->record,
	};
	struct blaze_record *record = NULL;
	int rc = blazei_writeset_write(replica, writes, &write);

	if (rc == -ENOENT && item->kind == BLAZEI_WRITE_DELETE)
		return 0;
	if (rc != -ENOENT)
		return rc;
	rc = patch_to_record(item->record, &record);
	if (rc < 0)
		return rc;
	write.kind = BLAZEI_WRITE_UPSERT;
	write.record = record;
	rc = blazei_writeset_write(replica, writes, &write);
	blaze_record_free(record);
	return rc;
}

/* Stages from the list's next item on; the first one that is not staged, in *ret_end, and how many
 * cannot be made. 0 or -ENOMEM. */
static int items_stage(struct blazei_replica *replica, struct blazei_writeset *writes,
                       const struct blazei_unseen_list *list, uint32_t *ret_end,
                       uint32_t *ret_refused)
{
	uint32_t at = list->next;

	*ret_refused = 0;
	for (; at < list->count; at++) {
		int rc = item_stage(replica, writes, &list->items[at]);

		if (rc == -ENOMEM)
			return rc;
		if (rc == -EMSGSIZE && at > list->next)
			break;
		*ret_refused += rc < 0;
	}
	*ret_end = at;
	return 0;
}

/* Commits as much of the list as a transaction holds. 0 or -ENOMEM. */
static int list_issue(struct blazei_replica *replica, uint64_t now_ns,
                      struct blazei_unseen_list *list, struct blazei_txn_view *ret_txn)
{
	struct blazei_writeset *writes;
	uint32_t refused = 0;
	uint32_t end = 0;
	int rc = blazei_writeset_new(&writes);

	if (rc < 0)
		return rc;
	rc = items_stage(replica, writes, list, &end, &refused);
	if (rc == 0)
		rc = blazei_replica_commit(replica, now_ns, writes, ret_txn);
	blazei_writeset_free(writes);
	if (rc < 0)
		return rc;
	replica->refused += refused;
	for (; list->next < end; list->next++)
		blaze_record_free(list->items[list->next].record);
	return 0;
}

int blazei_replica_reissue(struct blazei_replica *replica, uint64_t now_ns,
                           struct blazei_unseen_list *list, struct blazei_txn_view *ret_txn)
{
	int rc = 0;

	assert(!replica->displaced);
	*ret_txn = (struct blazei_txn_view){ 0 };
	while (rc == 0 && ret_txn->len == 0 && replica->left.pending)
		rc = blazei_restamp(replica, now_ns, ret_txn);
	while (rc == 0 && ret_txn->len == 0 && !blazei_unseen_list_empty(list))
		rc = list_issue(replica, now_ns, list, ret_txn);
	return rc;
}

/* What was seen by those that are written again was told in them alone. */
static void saw_tell(struct blazei_vector *vector)
{
	for (unsigned i = 1; i < vector->count; i++) {
		const struct blazei_writer *writer = &vector->writers[i];

		/* Nor does anything depend on a name that was left before. */
		if (writer->seq > 0 && (!writer->left || writer->dep_max > 0))
			blazei_vector_advanced(vector, i);
	}
}

int blazei_replica_leave_name(struct blazei_replica *replica, uint64_t now_ns,
                              const struct blazei_origin *self)
{
	const struct blazei_origin left = replica->vector.origins[0];
	const uint64_t began_seq = replica->began_seq;
	uint16_t index;
	int rc = blazei_replica_renew(replica, now_ns, self);

	if (rc < 0)
		return rc;
	/* What is written again now shows in all that there is then. */
	blazei_logged_lag(replica);
	index = blazei_vector_find(&replica->vector, &left);
	/* What was written in this run may be at nobody's, ever: nothing depends on it. */
	if (replica->vector.writers[index].seq > began_seq) {
		replica->left = (struct blazei_left){ .pending = true };
		replica->vector.writers[index].left = true;
		replica->vector.writers[index].dep_max = began_seq;
		saw_tell(&replica->vector);
		if (began_seq == 0)
			blazei_vector_retract(&replica->vector, index);
	}
	blazei_effect_event(replica, BLAZEI_EFFECT_ORIGIN_RENEWED, 0,
	                    replica->vector.writers[index].seq);
	return 0;
}
