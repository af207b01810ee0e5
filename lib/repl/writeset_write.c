/* SPDX-License-Identifier: Apache-2.0 */
/* One write to one record of a transaction in the making; see writeset.h.
 *
 * WHY    The list of a record's ops and the fields of a write both ascend by name, so what comes of
 *        them is a merge of the two into the spare list. A plain update leaves out what the record
 *        held at first touch, and takes back an op that it makes needless; upsert and put write
 *        always, and what they wrote stays written.
 *
 * FAILURE What a write makes of the record takes the place of what was there as the last step, in
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
	struct blazei_standing standing; /* after it */
	bool forced;                     /* writes even what is there */
	struct blazei_op_list made;      /* the list of that life after it */
	int64_t more_fields;
	int64_t more_bytes;
};

/* Looking up --------------------------------------------------------------------------------- */

/* By its text, as numbers are looked up under the lock only. All of the copy, of a record that was
 * there, is of one life. */
const struct blazei_entry *blazei_staged_seen(const struct blazei_replica *replica,
                                              const struct blazei_staged *staged, const void *name,
                                              size_t name_len)
{
	const uint32_t count = staged->base->entry_count;
	const struct blazei_entry *entry = blazei_row_first(staged->base);

	for (uint32_t i = 0; i < count; i++) {
		const struct blazei_name *known = replica->names.names[entry->name];

		if (known->len == name_len && blazei_short_equal(known->text, name, name_len))
			return entry;
		entry = blazei_entry_next(entry);
	}
	return NULL;
}

const struct blazei_write_op *blazei_staged_op(const struct blazei_staged *staged, const void *name,
                                               size_t name_len)
{
	const struct blazei_op_list *list = &staged->lists[staged->now.life];
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

/* What is written of existence in a life of a record that stands so, that life or a later one; 0:
 * nothing. */
static inline uint16_t existence_flags(const struct blazei_replica *replica,
                                       const struct blazei_staged *staged,
                                       struct blazei_standing standing, unsigned life)
{
	const uint16_t alive = BLAZEI_GROUP_EXISTENCE | BLAZEI_GROUP_ALIVE;

	if (life == BLAZEI_NEXT)
		return standing.alive ? alive : 0;
	if (!standing.alive)
		return staged->base && blazei_row_alive(staged->base) ? BLAZEI_GROUP_EXISTENCE : 0;
	return standing.life == BLAZEI_FIRST && standing.affirmed && blazei_is_server(replica)
	               ? alive
	               : 0;
}

unsigned blazei_staged_groups(const struct blazei_replica *replica, struct blazei_staged *staged)
{
	unsigned count = 0;

	/* Of the next life there is nothing before it has begun. */
	for (unsigned life = 0; life <= staged->now.life; life++) {
		const struct blazei_op_list *list = &staged->lists[life];
		uint16_t flags = existence_flags(replica, staged, staged->now, life);
		struct blazei_write_group *group = &staged->groups[count];

		if (flags == 0 && list->count == 0)
			continue;
		group->id = &staged->id;
		group->row = staged->base;
		group->ops = list->ops;
		group->op_count = list->count;
		group->life = life == BLAZEI_FIRST ? staged->base->life : staged->next_life;
		group->flags = flags;
		group->anew = false;
		count++;
	}
	return count;
}

/* What the record will take in the transaction. Its list of this life is the one made. */
static size_t record_encoded(const struct staging *staging)
{
	const struct blazei_standing standing = staging->standing;
	size_t bytes = 0;

	for (unsigned life = 0; life <= standing.life; life++) {
		const struct blazei_op_list *list = &staging->staged->lists[life];
		uint16_t flags = existence_flags(staging->replica, staging->staged, standing, life);

		if (life == standing.life)
			list = &staging->made;
		if (flags != 0 || list->count > 0)
			bytes += sizeof(struct blazei_txn_group) + list->encoded;
		if (flags != 0)
			bytes += sizeof(struct blazei_txn_existence);
	}
	return bytes;
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
	    op->head_len == 0 && blazei_short_equal(old->body, op->body, op->body_len)) {
		op->name = old->name;
		op->body = old->body;
		return 0;
	}
	rc = blazei_arena_take(&staging->writeset->arena,
	                       (size_t)op->head_len + op->body_len + op->name_len, &memory);
	if (rc < 0)
		return rc;
	copy = memory;
	blazei_short_copy(copy, op->head, op->head_len);
	if (op->body_len)
		blazei_short_copy(copy + op->head_len, op->body, op->body_len);
	op->body = copy;
	op->body_len += op->head_len;
	op->head = NULL;
	op->head_len = 0;
	copy += op->body_len;
	if (!old)
		blazei_short_copy(copy, op->name, op->name_len);
	op->name = old ? old->name : (const void *)copy;
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

/* Decides what becomes of one field's op, which stands behind the list's last one, over an older
 * one if there is one. */
static int op_stage(struct staging *staging, struct blazei_write_op *op,
                    const struct blazei_write_op *old)
{
	struct blazei_op_list *list = &staging->made;

	if (old)
		op->seen = old->seen;
	else if (staging->standing.life == BLAZEI_FIRST)
		op->seen = blazei_staged_seen(staging->replica, staging->staged, op->name,
		                              op->name_len);
	op->forced = staging->forced || (old && old->forced);
	op_measure(staging, op, old);
	if (!op->forced && !blazei_op_changes(op))
		return 0;
	list->encoded += blazei_op_bytes(op);
	list->count++;
	return op_keep(staging, op, old);
}

/* Appends an older op as it is. */
static void op_pass(struct blazei_op_list *list, const struct blazei_write_op *op)
{
	list->encoded += blazei_op_bytes(op);
	list->ops[list->count++] = *op;
}

/* Begins the list in the memory of the spare one, with room for so many ops. */
static int spare_reserve(struct staging *staging, uint32_t count)
{
	struct blazei_op_list *spare = &staging->staged->spares[staging->standing.life];
	void *memory;

	if (count > spare->max) {
		uint32_t max = count > spare->max * 2 ? count : spare->max * 2;
		int rc = blazei_arena_take(&staging->writeset->arena, max * sizeof(*spare->ops),
		                           &memory);

		if (rc < 0)
			return rc;
		spare->ops = memory;
		spare->max = max;
	}
	staging->made.ops = spare->ops;
	staging->made.max = spare->max;
	return 0;
}

/* What a write says of its field number i: of a put, without the head of its value. */
static inline void field_read(const struct blazei_write *write, uint32_t i,
                              struct blazei_field_view *ret_field)
{
	if (write->kind != BLAZEI_WRITE_PUT) {
		blazei_record_view(write->record, i, ret_field);
		return;
	}
	ret_field->name = "";
	ret_field->name_len = 0;
	ret_field->value = write->value;
	ret_field->value_len = (uint32_t)write->len;
	ret_field->unset = false;
}

/* Makes an op of it, in the place of the list where it may stay. */
static inline void op_init(struct blazei_write_op *op, const struct blazei_field_view *field)
{
	op->name = field->name;
	op->head = NULL;
	op->body = field->value;
	op->seen = NULL;
	op->head_len = 0;
	op->body_len = field->value_len;
	op->name_len = field->name_len;
	op->unset = field->unset;
}

/* Makes the list of the older one and the write, in the memory of the spare one. */
static int ops_stage(struct staging *staging, const struct blazei_write *write)
{
	const struct blazei_op_list *old = &staging->staged->lists[staging->standing.life];
	uint32_t field_count = write->kind == BLAZEI_WRITE_PUT ? 1 : write->record->count;
	uint8_t head[BLAZEI_VALUE_HEAD_MAX];
	uint32_t at = 0;
	int rc = spare_reserve(staging, old->count + field_count);

	for (uint32_t i = 0; i < field_count && rc == 0; i++) {
		struct blazei_field_view field;
		struct blazei_write_op *op;
		int order = 1;

		field_read(write, i, &field);
		if (field.unset && staging->forced)
			return -EINVAL;
		while (at < old->count) {
			order = blazei_key_compare(old->ops[at].name, old->ops[at].name_len,
			                           field.name, field.name_len);
			if (order >= 0)
				break;
			op_pass(&staging->made, &old->ops[at++]);
			order = 1;
		}
		op = &staging->made.ops[staging->made.count];
		op_init(op, &field);
		if (write->kind == BLAZEI_WRITE_PUT) {
			op->head = head;
			op->head_len =
			        (uint32_t)blazei_encode_bytes_head(head, sizeof(head), write->len);
		}
		rc = op_stage(staging, op, order == 0 ? &old->ops[at] : NULL);
		at += order == 0;
	}
	while (rc == 0 && at < old->count)
		op_pass(&staging->made, &old->ops[at++]);
	return rc;
}

/* Limits ------------------------------------------------------------------------------------- */

/* What a reader sees of the record before the write. */
static void measure(const struct blazei_replica *replica, struct blazei_staged *staged)
{
	const struct blazei_op_list *list = &staged->lists[staged->now.life];
	const struct blazei_row *base = staged->now.life == BLAZEI_FIRST ? staged->base : NULL;
	const struct blazei_entry *entry = base ? blazei_row_first(base) : NULL;

	staged->fields = 0;
	staged->bytes = 0;
	for (uint32_t i = 0; base && i < base->entry_count; i++) {
		if (!(entry->flags & BLAZEI_ENTRY_UNSET)) {
			staged->fields++;
			staged->bytes += replica->names.names[entry->name]->len;
			staged->bytes += entry->value_len;
		}
		entry = blazei_entry_next(entry);
	}
	for (uint32_t i = 0; i < list->count; i++) {
		const struct blazei_write_op *op = &list->ops[i];
		bool had = op->seen && !(op->seen->flags & BLAZEI_ENTRY_UNSET);

		staged->fields += !op->unset - had;
		staged->bytes += op->unset ? 0 : (int64_t)op->name_len + op->body_len;
		staged->bytes -= had ? (int64_t)op->name_len + op->seen->value_len : 0;
	}
	staged->measured = true;
}

/* Whether the record stays within its limits; one that merging took beyond them may shrink. */
static bool limits_hold(const struct staging *staging)
{
	struct blazei_staged *staged = staging->staged;

	if (staging->more_fields <= 0 && staging->more_bytes <= 0)
		return true;
	/* A dead one has nothing; the fields of what is inserted are within the limits. */
	if (!staged->now.alive)
		return true;
	if (!staged->measured)
		measure(staging->replica, staged);
	return (staging->more_fields <= 0 ||
	        staged->fields + staging->more_fields <= BLAZEI_RECORD_FIELDS_MAX) &&
	       (staging->more_bytes <= 0 ||
	        staged->bytes + staging->more_bytes <= BLAZEI_RECORD_BYTES_MAX);
}

/* Whether both lives together have no more ops than a transaction may have of one record. */
static bool ops_fit(const struct staging *staging)
{
	const struct blazei_op_list *lists = staging->staged->lists;
	uint32_t others = lists[staging->standing.life == BLAZEI_FIRST].count;

	return staging->made.count + others <= BLAZEI_REGISTERS_MAX;
}

/* Writing ------------------------------------------------------------------------------------ */

/* Lists what is written, and whether that may be. */
static int content_stage(struct staging *staging, const struct blazei_write *write)
{
	int rc;

	if (!staging->standing.alive) {
		if (staging->staged->next_life == 0)
			return -E2BIG;
		staging->standing.life = BLAZEI_NEXT;
		staging->standing.alive = true;
	}
	if (staging->standing.life == BLAZEI_FIRST)
		staging->standing.affirmed = true;
	rc = ops_stage(staging, write);
	if (rc == 0 && !(limits_hold(staging) && ops_fit(staging)))
		rc = -E2BIG;
	return rc;
}

/* A deleted record keeps what was written to its first life, and nothing of the next. */
static void delete_stage(struct staging *staging)
{
	const struct blazei_op_list *list = &staging->staged->lists[staging->standing.life];

	staging->standing.alive = false;
	staging->made.ops = list->ops;
	staging->made.max = list->max;
	if (staging->standing.life == BLAZEI_FIRST) {
		staging->made.count = list->count;
		staging->made.encoded = list->encoded;
	}
}

/* Puts what was made in the place of what was there; the old list becomes the spare one. */
static void take(struct staging *staging, size_t encoded)
{
	struct blazei_staged *staged = staging->staged;
	struct blazei_op_list *list = &staged->lists[staging->standing.life];
	struct blazei_op_list *spare = &staged->spares[staging->standing.life];

	if (list->ops != staging->made.ops) {
		spare->ops = list->ops;
		spare->max = list->max;
	}
	list->ops = staging->made.ops;
	list->max = staging->made.max;
	list->count = staging->made.count;
	list->encoded = staging->made.encoded;
	if (!staged->now.alive || !staging->standing.alive)
		staged->measured = false;
	staged->fields += staging->more_fields;
	staged->bytes += staging->more_bytes;
	staging->writeset->encoded += encoded - staged->encoded;
	staged->encoded = encoded;
	staged->now = staging->standing;
}

int blazei_writeset_write(struct blazei_replica *replica, struct blazei_writeset *writeset,
                          const struct blazei_write *write)
{
	const size_t room = BLAZEI_TXN_BYTES_MAX - sizeof(struct blazei_txn_header) -
	                    sizeof(struct blazei_origin);
	struct staging staging;
	size_t encoded;
	int rc = blazei_write_check(write);

	if (rc == 0)
		rc = blazei_writeset_touch(replica, writeset, write->id, &staging.staged);
	if (rc == 0)
		rc = blazei_write_applies(write->kind, staging.staged->now.alive);
	if (rc < 0)
		return rc;
	staging.replica = replica;
	staging.writeset = writeset;
	staging.standing = staging.staged->now;
	staging.forced = write->kind != BLAZEI_WRITE_UPDATE;
	staging.made.count = 0;
	staging.made.encoded = 0;
	staging.more_fields = 0;
	staging.more_bytes = 0;
	if (write->kind == BLAZEI_WRITE_DELETE)
		delete_stage(&staging);
	else
		rc = content_stage(&staging, write);
	if (rc < 0)
		return rc;
	encoded = record_encoded(&staging);
	if (writeset->encoded - staging.staged->encoded + encoded > room)
		return -EMSGSIZE;
	take(&staging, encoded);
	return 0;
}
