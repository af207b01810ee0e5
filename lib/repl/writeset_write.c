/* SPDX-License-Identifier: Apache-2.0 */
/* One write to one record of a transaction in the making; see writeset.h.
 *
 * WHY    The list of a record's ops and the fields of a write both ascend by name, so what comes of
 *        them is a merge of the two into the spare list. A plain update leaves out what the record
 *        held at first touch, and takes back an op that it makes needless; upsert and put write
 *        always, and what they wrote stays written.
 *
 * FAILURE A write is made on a draft, which takes the place of what was there as the last step, in
 *        which nothing can fail (writeset.h, I3). What it took from the arena until then is lost to
 *        the transaction, and bounded (I4). */
#include "lib/op/record.h"
#include "lib/op/value.h"
#include "lib/repl/writeset_core.h"

/* The write at hand. */
struct staging {
	struct blazei_replica *replica;
	struct blazei_writeset *writeset;
	struct blazei_staged *staged;
	struct blazei_draft draft;
	bool was_alive;
	bool forced; /* writes even what is there */
	int64_t more_fields;
	int64_t more_bytes;
};

/* Looking up --------------------------------------------------------------------------------- */

static const struct blazei_entry *entry_find(const struct blazei_staged *staged, uint32_t name)
{
	return staged->base ? blazei_row_find(staged->base, name, staged->base->life) : NULL;
}

const struct blazei_entry *blazei_staged_seen(struct blazei_replica *replica,
                                              const struct blazei_staged *staged, const void *name,
                                              size_t name_len)
{
	uint32_t number = blazei_names_find(&replica->names, name, name_len);

	return number == BLAZEI_NAME_NONE ? NULL : entry_find(staged, number);
}

const struct blazei_write_op *blazei_staged_op(const struct blazei_staged *staged, const void *name,
                                               size_t name_len)
{
	const struct blazei_op_list *list = &staged->now.lists[staged->now.life];
	uint32_t low = 0;
	uint32_t high = list->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct blazei_write_op *op = &list->ops[middle];
		int order = blazei_key_compare(op->name, op->name_len, name, name_len);

		if (order == 0)
			return op;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* Groups ------------------------------------------------------------------------------------- */

/* What is written of existence in a life; 0: nothing. */
static uint16_t existence_flags(const struct blazei_replica *replica,
                                const struct blazei_staged *staged,
                                const struct blazei_draft *draft, unsigned life)
{
	const uint16_t alive = BLAZEI_GROUP_EXISTENCE | BLAZEI_GROUP_ALIVE;
	bool was_alive = staged->base && blazei_row_alive(staged->base);

	if (life == BLAZEI_NEXT)
		return draft->alive && draft->life == BLAZEI_NEXT ? alive : 0;
	if (!draft->alive)
		return was_alive ? BLAZEI_GROUP_EXISTENCE : 0;
	return draft->life == BLAZEI_FIRST && draft->affirmed && replica->server ? alive : 0;
}

unsigned blazei_staged_groups(const struct blazei_replica *replica,
                              const struct blazei_staged *staged, const struct blazei_draft *draft,
                              struct blazei_write_group ret_groups[BLAZEI_LIVES])
{
	unsigned count = 0;

	for (unsigned life = 0; life < BLAZEI_LIVES; life++) {
		const struct blazei_op_list *list = &draft->lists[life];
		uint16_t flags = existence_flags(replica, staged, draft, life);

		if (flags == 0 && list->count == 0)
			continue;
		ret_groups[count++] = (struct blazei_write_group){
			.id = &staged->id,
			.row = staged->base,
			.ops = list->ops,
			.op_count = list->count,
			.life = life == BLAZEI_FIRST ? staged->base->life : staged->next_life,
			.flags = flags,
		};
	}
	return count;
}

/* Ops ---------------------------------------------------------------------------------------- */

/* Completes an op that stays: its name and value are copied unless they stand somewhere already. */
static int op_keep(struct staging *staging, struct blazei_write_op *op,
                   const struct blazei_write_op *old)
{
	uint8_t *copy;
	void *memory;
	int rc;

	if (old && old->unset == op->unset && old->body_len == op->body_len + op->head_len &&
	    op->head_len == 0 && memcmp(old->body, op->body, op->body_len) == 0) {
		op->name = old->name;
		op->body = old->body;
		return 0;
	}
	rc = blazei_arena_take(&staging->writeset->arena,
	                       (size_t)op->head_len + op->body_len + op->name_len, &memory);
	if (rc < 0)
		return rc;
	copy = memory;
	if (op->head_len)
		memcpy(copy, op->head, op->head_len);
	if (op->body_len)
		memcpy(copy + op->head_len, op->body, op->body_len);
	op->body = copy;
	op->body_len += op->head_len;
	op->head = NULL;
	op->head_len = 0;
	copy += op->body_len;
	if (old)
		op->name = old->name;
	else
		op->name = memcpy(copy, op->name, op->name_len);
	return 0;
}

/* Notes by how much the visible record grows: this op over an older one, or over what it sees. */
static void op_measure(struct staging *staging, const struct blazei_write_op *op,
                       const struct blazei_write_op *old)
{
	int64_t name = op->name_len;
	bool has = op->seen && !(op->seen->flags & BLAZEI_ENTRY_UNSET);
	int64_t had = has ? op->seen->value_len : 0;

	if (old) {
		has = !old->unset;
		had = old->body_len;
	}
	staging->more_fields += !op->unset - has;
	if (!op->unset)
		staging->more_bytes += name + op->head_len + op->body_len;
	if (has)
		staging->more_bytes -= name + had;
}

/* Appends to the list what becomes of one field's op, over an older one if there is one. */
static int op_stage(struct staging *staging, struct blazei_op_list *list,
                    struct blazei_write_op *op, const struct blazei_write_op *old)
{
	if (old)
		op->seen = old->seen;
	else if (staging->draft.life == BLAZEI_FIRST)
		op->seen = blazei_staged_seen(staging->replica, staging->staged, op->name,
		                              op->name_len);
	op->forced = staging->forced || (old && old->forced);
	op_measure(staging, op, old);
	if (!op->forced && !blazei_op_changes(op))
		return 0;
	list->ops[list->count] = *op;
	return op_keep(staging, &list->ops[list->count++], old);
}

/* Gives the spare list of the draft's life room for so many ops. */
static int spare_reserve(struct staging *staging, uint32_t count)
{
	struct blazei_op_list *spare = &staging->staged->spares[staging->draft.life];
	uint32_t max = spare->max ? spare->max * 2 : count;
	void *memory;
	int rc;

	spare->count = 0;
	if (count <= spare->max)
		return 0;
	if (max < count)
		max = count;
	rc = blazei_arena_take(&staging->writeset->arena, max * sizeof(*spare->ops), &memory);
	if (rc < 0)
		return rc;
	spare->ops = memory;
	spare->max = max;
	return 0;
}

/* What a write says of its field number i. */
static void op_read(const struct blazei_write *write, uint32_t i, uint8_t *head,
                    struct blazei_write_op *ret_op)
{
	struct blazei_field_view field;

	if (write->kind == BLAZEI_WRITE_PUT) {
		*ret_op = (struct blazei_write_op){
			.name = "",
			.head = head,
			.body = write->value,
			.head_len = (uint32_t)blazei_encode_bytes_head(head, BLAZEI_VALUE_HEAD_MAX,
			                                               write->len),
			.body_len = (uint32_t)write->len,
		};
		return;
	}
	blazei_record_view(write->record, i, &field);
	*ret_op = (struct blazei_write_op){
		.name = field.name,
		.body = field.value,
		.body_len = field.value_len,
		.name_len = field.name_len,
		.unset = field.unset,
	};
}

/* Makes the draft's list of the older one and the write. The spare list takes its place. */
static int ops_stage(struct staging *staging, const struct blazei_write *write)
{
	struct blazei_op_list *old = &staging->draft.lists[staging->draft.life];
	struct blazei_op_list *spare = &staging->staged->spares[staging->draft.life];
	uint32_t field_count = write->kind == BLAZEI_WRITE_PUT ? 1 : write->record->count;
	uint8_t head[BLAZEI_VALUE_HEAD_MAX];
	struct blazei_op_list made;
	uint32_t at = 0;
	int rc = spare_reserve(staging, old->count + field_count);

	made = *spare;
	for (uint32_t i = 0; i < field_count && rc == 0; i++) {
		struct blazei_write_op op;
		int order = 1;

		op_read(write, i, head, &op);
		if (op.unset && staging->forced)
			return -EINVAL;
		while (at < old->count) {
			order = blazei_key_compare(old->ops[at].name, old->ops[at].name_len,
			                           op.name, op.name_len);
			if (order >= 0)
				break;
			made.ops[made.count++] = old->ops[at++];
			order = 1;
		}
		rc = op_stage(staging, &made, &op, order == 0 ? &old->ops[at] : NULL);
		at += order == 0;
	}
	if (rc < 0)
		return rc;
	while (at < old->count)
		made.ops[made.count++] = old->ops[at++];
	*old = made;
	return 0;
}

/* Limits ------------------------------------------------------------------------------------- */

/* What a reader sees of the record before the write. */
static void measure(const struct staging *staging, struct blazei_draft *draft)
{
	const struct blazei_draft *now = &staging->staged->now;
	const struct blazei_op_list *list = &now->lists[now->life];
	const struct blazei_row *base = now->life == BLAZEI_FIRST ? staging->staged->base : NULL;
	const struct blazei_entry *entry = base ? blazei_row_first(base) : NULL;

	draft->fields = 0;
	draft->bytes = 0;
	for (uint32_t i = 0; base && i < base->entry_count; i++) {
		if (!(entry->flags & BLAZEI_ENTRY_UNSET)) {
			draft->fields++;
			draft->bytes += staging->replica->names.names[entry->name]->len;
			draft->bytes += entry->value_len;
		}
		entry = blazei_entry_next(entry);
	}
	for (uint32_t i = 0; i < list->count; i++) {
		const struct blazei_write_op *op = &list->ops[i];
		bool had = op->seen && !(op->seen->flags & BLAZEI_ENTRY_UNSET);

		draft->fields += !op->unset - had;
		draft->bytes += op->unset ? 0 : (int64_t)op->name_len + op->body_len;
		draft->bytes -= had ? (int64_t)op->name_len + op->seen->value_len : 0;
	}
}

/* Whether the record stays within its limits; one that merging took beyond them may shrink. */
static bool limits_hold(const struct staging *staging, struct blazei_draft *draft)
{
	if (!staging->was_alive) {
		draft->fields = 0;
		draft->bytes = 0;
		draft->measured = true;
	}
	if (!draft->measured) {
		if (staging->more_fields <= 0 && staging->more_bytes <= 0)
			return true;
		measure(staging, draft);
		draft->measured = true;
	}
	draft->fields += staging->more_fields;
	draft->bytes += staging->more_bytes;
	return (staging->more_fields <= 0 || draft->fields <= BLAZEI_RECORD_FIELDS_MAX) &&
	       (staging->more_bytes <= 0 || draft->bytes <= BLAZEI_RECORD_BYTES_MAX);
}

/* Writing ------------------------------------------------------------------------------------ */

static size_t draft_encoded(const struct staging *staging, const struct blazei_draft *draft)
{
	struct blazei_write_group groups[BLAZEI_LIVES];
	unsigned count = blazei_staged_groups(staging->replica, staging->staged, draft, groups);
	size_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += blazei_group_bytes(&groups[i]);
	return bytes;
}

static void draft_delete(struct blazei_draft *draft)
{
	draft->alive = false;
	draft->measured = false;
	if (draft->life == BLAZEI_NEXT)
		draft->lists[BLAZEI_NEXT].count = 0;
}

static int draft_write(struct staging *staging, const struct blazei_write *write)
{
	struct blazei_draft *draft = &staging->draft;
	int rc;

	if (!draft->alive) {
		if (staging->staged->next_life == 0)
			return -E2BIG;
		draft->life = BLAZEI_NEXT;
		draft->alive = true;
	}
	if (draft->life == BLAZEI_FIRST)
		draft->affirmed = true;
	rc = ops_stage(staging, write);
	if (rc == 0 && !limits_hold(staging, draft))
		rc = -E2BIG;
	return rc;
}

/* Puts the draft in the place of what was there; the old list becomes the spare one. */
static void draft_take(struct staging *staging, bool listed)
{
	struct blazei_staged *staged = staging->staged;
	unsigned life = staging->draft.life;

	if (listed)
		staged->spares[life] = staged->now.lists[life];
	staging->writeset->encoded += staging->draft.encoded - staged->now.encoded;
	staged->now = staging->draft;
}

int blazei_writeset_write(struct blazei_replica *replica, struct blazei_writeset *writeset,
                          const struct blazei_write *write)
{
	const size_t room = BLAZEI_TXN_BYTES_MAX - sizeof(struct blazei_txn_header) -
	                    sizeof(struct blazei_origin);
	struct staging staging = {
		.replica = replica,
		.writeset = writeset,
		.forced = write->kind != BLAZEI_WRITE_UPDATE,
	};
	int rc = blazei_write_check(write);

	if (rc == 0)
		rc = blazei_writeset_touch(replica, writeset, write->id, &staging.staged);
	if (rc < 0)
		return rc;
	staging.draft = staging.staged->now;
	staging.was_alive = staging.draft.alive;
	rc = blazei_write_applies(write->kind, staging.was_alive);
	if (rc == 0 && write->kind == BLAZEI_WRITE_DELETE)
		draft_delete(&staging.draft);
	else if (rc == 0)
		rc = draft_write(&staging, write);
	if (rc < 0)
		return rc;
	staging.draft.encoded = draft_encoded(&staging, &staging.draft);
	if (writeset->encoded - staging.staged->now.encoded + staging.draft.encoded > room)
		return -EMSGSIZE;
	draft_take(&staging, write->kind != BLAZEI_WRITE_DELETE);
	return 0;
}
