/* SPDX-License-Identifier: Apache-2.0 */
/* What readers see of the table: records, values, ids in order, and hashes of it all.
 *
 * WHY    Two hashes. The public one covers what a program can see, as deterministic CBOR, so that
 *        another implementation can compute it. The other covers every register with its life and
 *        stamp, hidden ones too: replicas that agree in it will go on agreeing. Both walk ids and
 *        names in order, so they don't depend on the order in which things came. */
#include <stdlib.h>

#include "lib/op/record.h"
#include "lib/op/value.h"
#include "lib/repl/core.h"
#include "lib/repl/peek.h"

static const struct blazei_row *row_find(const struct blazei_replica *replica,
                                         const struct blaze_id *id)
{
	uint64_t hash = blazei_table_hash(&replica->table, id);
	const struct blazei_row *row = blazei_table_find(&replica->table, id, hash);

	return row && blazei_row_alive(row) ? row : NULL;
}

int blazei_row_record(const struct blazei_replica *replica, const struct blazei_row *row,
                      struct blaze_record **ret_record)
{
	const struct blazei_entry *entry;
	struct blaze_record *record;
	int rc;

	rc = blazei_record_sized(row->entry_count, row->used, &record);
	if (rc < 0)
		return rc;
	entry = blazei_row_first(row);
	for (uint32_t i = 0; i < row->entry_count; i++) {
		if (blazei_entry_visible(row, entry)) {
			const struct blazei_name *name = replica->names.names[entry->name];

			rc = blazei_record_append(record, name->text, name->len, entry->value,
			                          entry->value_len);
			if (rc < 0) {
				blaze_record_free(record);
				return rc;
			}
		}
		entry = blazei_entry_next(entry);
	}
	*ret_record = record;
	return 0;
}

int blazei_replica_get(const struct blazei_replica *replica, const struct blaze_id *id,
                       struct blaze_record **ret_record)
{
	const struct blazei_row *row = row_find(replica, id);

	return row ? blazei_row_record(replica, row, ret_record) : -ENOENT;
}

int blazei_value_fetch(const void *value, size_t value_len, void *ret_value, size_t cap)
{
	const void *content;
	size_t len;

	if (blazei_value_type(value) != BLAZE_TYPE_BYTES)
		return -EINVAL;
	content = blazei_decode_content(value, value_len, &len);
	if (cap > len)
		cap = len;
	if (cap > 0)
		memcpy(ret_value, content, cap);
	return (int)len;
}

/* The field with the empty name, of a row that is alive. */
static int row_fetch(const struct blazei_row *row, void *ret_value, size_t cap)
{
	const struct blazei_entry *entry = blazei_row_find(row, 0, row->life);

	if (!entry || (entry->flags & BLAZEI_ENTRY_UNSET))
		return -ENOENT;
	return blazei_value_fetch(entry->value, entry->value_len, ret_value, cap);
}

int blazei_replica_fetch(const struct blazei_replica *replica, const struct blaze_id *id,
                         void *ret_value, size_t cap)
{
	const struct blazei_row *row = row_find(replica, id);

	return row ? row_fetch(row, ret_value, cap) : -ENOENT;
}

/* Without the lock --------------------------------------------------------------------------- */

int blazei_replica_peek_get(const struct blazei_replica *replica, const struct blaze_id *id,
                            struct blaze_record **ret_record)
{
	union blazei_peeked peeked;
	int rc = blazei_peek_row(&replica->table, id, blazei_table_hash(&replica->table, id),
	                         &peeked.row);

	if (rc < 0)
		return rc;
	if (!blazei_row_alive(&peeked.row))
		return -ENOENT;
	return blazei_row_record(replica, &peeked.row, ret_record);
}

int blazei_replica_peek_fetch(const struct blazei_replica *replica, const struct blaze_id *id,
                              void *ret_value, size_t cap)
{
	union blazei_peeked peeked;
	int rc = blazei_peek_row(&replica->table, id, blazei_table_hash(&replica->table, id),
	                         &peeked.row);

	if (rc < 0)
		return rc;
	return blazei_row_alive(&peeked.row) ? row_fetch(&peeked.row, ret_value, cap) : -ENOENT;
}

int blazei_replica_peek_count(const struct blazei_replica *replica, uint64_t *ret_count)
{
	return blazei_peek_number(&replica->table, &replica->visible, ret_count);
}

uint64_t blazei_replica_count(const struct blazei_replica *replica)
{
	return replica->visible;
}

int blazei_replica_next_id(struct blazei_replica *replica, const struct blaze_id *from,
                           struct blaze_id *ret_id)
{
	const struct blazei_row *row;

	if (blazei_order_update(&replica->order, &replica->table) < 0)
		return -ENOMEM;
	row = blazei_order_seek(&replica->order, &replica->table, from, false);
	if (!row)
		return -ENOENT;
	*ret_id = row->id;
	return 0;
}

/* Hashes ------------------------------------------------------------------------------------- */

/* A hash in the making, and the entries of the row at hand. */
struct hashing {
	XXH3_state_t state;
	const struct blazei_replica *replica;
	const struct blazei_entry **entries;
	uint32_t max;
	uint32_t count;
};

static int entry_compare(const void *a, const void *b, void *arg)
{
	const struct blazei_entry *left = *(const struct blazei_entry *const *)a;
	const struct blazei_entry *right = *(const struct blazei_entry *const *)b;
	const struct blazei_names *names = arg;
	int order = 0;

	if (left->name != right->name)
		order = blazei_key_compare(
		        names->names[left->name]->text, names->names[left->name]->len,
		        names->names[right->name]->text, names->names[right->name]->len);
	return order != 0 ? order : (left->life > right->life) - (left->life < right->life);
}

/* Gathers a row's entries by name, then life: those that are visible or, where all is set, all but
 * what others may have collected before, under an earlier existence perhaps. */
static int entries_gather(struct hashing *hashing, const struct blazei_row *row, bool all)
{
	const struct blazei_entry *entry = blazei_row_first(row);

	if (row->entry_count > hashing->max) {
		const struct blazei_entry **entries =
		        realloc(hashing->entries,
		                (size_t)row->entry_count * 2 * sizeof(struct blazei_entry *));

		if (!entries)
			return -ENOMEM;
		hashing->entries = entries;
		hashing->max = row->entry_count * 2;
	}
	hashing->count = 0;
	for (uint32_t i = 0; i < row->entry_count; i++) {
		if (all ? !blazei_hidden_below(&hashing->replica->members, row, entry)
		        : blazei_entry_visible(row, entry))
			hashing->entries[hashing->count++] = entry;
		entry = blazei_entry_next(entry);
	}
	if (hashing->count > 1)
		qsort_r(hashing->entries, hashing->count, sizeof(struct blazei_entry *),
		        entry_compare, (void *)(uintptr_t)&hashing->replica->names);
	return 0;
}

static void update(struct hashing *hashing, const void *data, size_t len)
{
	XXH3_128bits_update(&hashing->state, data, len);
}

static void row_hash(struct hashing *hashing, const struct blazei_row *row)
{
	uint8_t head[2 * BLAZEI_VALUE_SMALL_MAX];
	size_t len = blazei_encode_array_head(head, sizeof(head), 2);

	len += blazei_encode_uuid(head + len, sizeof(head) - len, &row->id);
	len += blazei_encode_map_head(head + len, sizeof(head) - len, hashing->count);
	update(hashing, head, len);
	for (uint32_t i = 0; i < hashing->count; i++) {
		const struct blazei_entry *entry = hashing->entries[i];
		const struct blazei_name *name = hashing->replica->names.names[entry->name];

		len = blazei_encode_text_head(head, sizeof(head), name->len);
		update(hashing, head, len);
		update(hashing, name->text, name->len);
		update(hashing, entry->value, entry->value_len);
	}
}

static void stamp_hash(struct hashing *hashing, const struct blazei_stamp *stamp)
{
	const uint64_t numbers[] = { stamp->priority, stamp->hlc };

	/* What is the same whether its incarnation was retired or not (mark.h, M4). */
	update(hashing, numbers, sizeof(numbers));
	update(hashing, &hashing->replica->vector.origins[stamp->origin].node,
	       sizeof(struct blaze_id));
}

static void row_hash_stamps(struct hashing *hashing, const struct blazei_row *row)
{
	const struct blazei_stamp existence = {
		.priority = row->priority,
		.hlc = row->hlc,
		.seq = row->seq,
		.origin = row->origin,
	};
	const uint32_t head[] = { row->flags, row->life, hashing->count };
	bool gone = !blazei_row_alive(row) &&
	            blazei_below(&hashing->replica->members, row->origin, row->seq);

	if (hashing->count == 0 && (gone || !(row->flags & BLAZEI_ROW_EXISTS)))
		return;
	update(hashing, &row->id, sizeof(row->id));
	update(hashing, head, sizeof(head));
	if (row->flags & BLAZEI_ROW_EXISTS)
		stamp_hash(hashing, &existence);
	for (uint32_t i = 0; i < hashing->count; i++) {
		const struct blazei_entry *entry = hashing->entries[i];
		const struct blazei_name *name = hashing->replica->names.names[entry->name];
		const struct blazei_stamp stamp = {
			.priority = entry->priority,
			.hlc = entry->hlc,
			.seq = entry->seq,
			.origin = entry->origin,
		};
		const uint32_t parts[] = { name->len, entry->life, entry->value_len,
			                   entry->flags & BLAZEI_ENTRY_UNSET };

		update(hashing, parts, sizeof(parts));
		update(hashing, name->text, name->len);
		stamp_hash(hashing, &stamp);
		update(hashing, entry->value, entry->value_len);
	}
}

static int hash_all(struct blazei_replica *replica, bool stamps, uint8_t ret_digest[16])
{
	struct hashing *hashing;
	const struct blazei_row *row;
	XXH128_canonical_t digest;
	int rc = 0;

	if (blazei_order_update(&replica->order, &replica->table) < 0)
		return -ENOMEM;
	if (stamps && blazei_members_refresh(replica) < 0)
		return -ENOMEM;
	hashing = aligned_alloc(64, blazei_round_up(sizeof(*hashing), 64));
	if (!hashing)
		return -ENOMEM;
	hashing->replica = replica;
	hashing->entries = NULL;
	hashing->max = 0;
	XXH3_128bits_reset(&hashing->state);
	row = blazei_order_seek(&replica->order, &replica->table, NULL, stamps);
	while (row && rc == 0) {
		struct blaze_id next = row->id;
		int i = 15;

		rc = entries_gather(hashing, row, stamps);
		if (rc == 0 && stamps)
			row_hash_stamps(hashing, row);
		else if (rc == 0)
			row_hash(hashing, row);
		while (i >= 0 && ++next.bytes[i] == 0)
			i--;
		row = i < 0 ? NULL
		            : blazei_order_seek(&replica->order, &replica->table, &next, stamps);
	}
	if (rc == 0) {
		XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(&hashing->state));
		memcpy(ret_digest, digest.digest, sizeof(digest.digest));
	}
	free(hashing->entries);
	free(hashing);
	return rc;
}

int blazei_replica_hash(struct blazei_replica *replica, uint8_t ret_digest[16])
{
	return hash_all(replica, false, ret_digest);
}

int blazei_replica_hash_stamps(struct blazei_replica *replica, uint8_t ret_digest[16])
{
	return hash_all(replica, true, ret_digest);
}
