/* SPDX-License-Identifier: Apache-2.0 */
/* A replica's contents against the fold: the one place where the reference meets the library, by
 * its reads alone. */
#include <stdio.h>
#include <string.h>

#include "lib/op/record.h"
#include "lib/repl/replica.h"
#include "tests/sim/reference.h"

/* The existence of the record that a field belongs to, where that shows this field; else NULL. */
static struct reference_register *shown_by(const struct reference *reference,
                                           const struct reference_op *op)
{
	const struct reference_register *owner = reference_find(reference, op->id, 0, NULL, 0);

	if (op->existence || op->unset || !owner || !owner->op->alive ||
	    owner->op->life != op->life)
		return NULL;
	return &reference->places[owner - reference->places];
}

/* Counts each record's visible fields; the number of visible records. */
static unsigned fields_count(struct reference *reference)
{
	unsigned records = 0;

	for (unsigned i = 0; i < reference->max; i++)
		reference->places[i].fields = 0;
	for (unsigned i = 0; i < reference->max; i++) {
		const struct reference_op *op = reference->places[i].op;

		if (op && op->existence)
			records += op->alive;
		else if (op && shown_by(reference, op))
			shown_by(reference, op)->fields++;
	}
	return records;
}

static bool field_equals(const struct reference *reference, const struct reference_register *owner,
                         const struct blazei_field_view *field)
{
	const struct reference_register *here =
	        reference_find(reference, owner->op->id, owner->op->life,
	                       (const uint8_t *)field->name, field->name_len);

	return here && !here->op->unset && here->op->value_len == field->value_len &&
	       memcmp(here->op->value, field->value, field->value_len) == 0;
}

static const char *record_differs(const struct reference *reference, const struct blaze_id *id,
                                  struct blazei_replica *replica)
{
	const struct reference_register *owner = reference_find(reference, id->bytes, 0, NULL, 0);
	struct blaze_record *record;
	const char *what = NULL;

	if (!owner || !owner->op->alive)
		return "is visible and should not be";
	if (blazei_replica_get(replica, id, &record) < 0)
		return "cannot be read";
	if (record->count != owner->fields)
		what = "shows too many fields, or too few";
	for (uint32_t i = 0; i < record->count && !what; i++) {
		struct blazei_field_view field;

		blazei_record_view(record, i, &field);
		if (!field_equals(reference, owner, &field))
			what = "has another value in a field";
	}
	blaze_record_free(record);
	return what;
}

bool reference_equals(struct reference *reference, struct blazei_replica *replica, char *ret_text,
                      size_t cap)
{
	unsigned records = fields_count(reference);
	struct blaze_id id = { { 0 } };
	unsigned seen = 0;

	while (blazei_replica_next_id(replica, &id, &id) == 0) {
		const char *what = record_differs(reference, &id, replica);

		if (what) {
			snprintf(ret_text, cap, "record %02x%02x %s", id.bytes[14], id.bytes[15],
			         what);
			return false;
		}
		seen++;
		for (int i = 15; i >= 0 && ++id.bytes[i] == 0;)
			i--;
	}
	if (seen == records && blazei_replica_count(replica) == records)
		return true;
	snprintf(ret_text, cap, "%u records are visible, not %u", seen, records);
	return false;
}
