/* SPDX-License-Identifier: Apache-2.0 */
/* See causal.h. All ops are sorted by record and field; each field's are then a few neighbours. */
#include "tests/sim/causal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/op/record.h"
#include "lib/repl/replica.h"

struct item {
	const struct reference_op *op;
	const struct causal_write *write;
	struct causal_place first; /* of what a server wrote; seq 0: it did not */
};

/* All ops of one register name of one record (or of its existence). */
struct group {
	const struct item *items;
	unsigned count;
};

/* The record at hand. */
struct subject {
	const struct causal_history *history;
	struct blaze_record *record; /* NULL: not visible */
	uint32_t life;               /* that a visible field belongs to; 0: not known */
	char *text;
	size_t cap;
};

static int item_compare(const void *a, const void *b)
{
	const struct reference_op *left = ((const struct item *)a)->op;
	const struct reference_op *right = ((const struct item *)b)->op;
	int order = memcmp(left->id, right->id, 16);

	if (order != 0)
		return order;
	if (left->existence || right->existence)
		return (int)right->existence - (int)left->existence;
	if (left->name_len != right->name_len)
		return left->name_len < right->name_len ? -1 : 1;
	return memcmp(left->name, right->name, left->name_len);
}

/* Whether b's writer had seen a. */
static bool seen_by(const struct causal_write *a, const struct causal_write *b)
{
	return a != b && b->seen[a->origin] >= a->txn->seq;
}

static bool complain(const struct subject *subject, const char *what, const struct item *item,
                     const struct item *other)
{
	snprintf(subject->text, subject->cap,
	         "record %02x%02x field \"%.*s\" life %u: %s (shown: origin %u seq %llu, other: "
	         "origin %u seq %llu)",
	         item->op->id[14], item->op->id[15],
	         item->op->existence ? 9 : (int)item->op->name_len,
	         item->op->existence ? "existence" : (const char *)item->op->name, item->op->life,
	         what, item->write->origin, (unsigned long long)item->write->txn->seq,
	         other->write->origin, (unsigned long long)other->write->txn->seq);
	return false;
}

/* Whether the one says what the other said, again. */
static bool says_again(const struct item *a, const struct item *b)
{
	if (!a->write->copy && !b->write->copy)
		return false;
	if (a->op->existence)
		return a->op->alive == b->op->alive && a->op->priority == b->op->priority;
	return a->op->unset == b->op->unset && a->op->value_len == b->op->value_len &&
	       memcmp(a->op->value, b->op->value, a->op->value_len) == 0;
}

/* Whether b is a server's write a, or has seen it, or what says the same. */
static bool known_to(const struct group *group, const struct item *a, const struct item *b)
{
	if (b->write->seen[a->first.origin] >= a->first.seq)
		return true;
	for (unsigned i = 0; i < group->count; i++) {
		const struct item *item = &group->items[i];

		if ((item == a || says_again(item, a)) &&
		    (item == b || seen_by(item->write, b->write)))
			return true;
	}
	return false;
}

/* The server's last write in the group, of one life (0: of any); NULL where there is none, or where
 * the server wrote twice without knowing, after it had lost its memory. */
static const struct item *server_last(const struct group *group, uint32_t life)
{
	const struct item *last = NULL;

	for (unsigned i = 0; i < group->count; i++) {
		const struct item *item = &group->items[i];

		if (item->first.seq == 0 || (life && item->op->life != life))
			continue;
		if (!last || seen_by(last->write, item->write))
			last = item;
		else if (!seen_by(item->write, last->write))
			return NULL;
	}
	return last;
}

/* C1, C2 */
static bool winner_holds(const struct subject *subject, const struct group *group,
                         const struct item *winner)
{
	const struct item *server = NULL;

	for (unsigned i = 0; i < group->count; i++) {
		const struct item *item = &group->items[i];

		if (item->op->life == winner->op->life && seen_by(winner->write, item->write))
			return complain(subject, "beaten by what it had not seen", winner, item);
	}
	if (subject->history->one_server)
		server = server_last(group, winner->op->life);
	if (server && !known_to(group, server, winner))
		return complain(subject, "had not seen the server's last write", winner, server);
	return true;
}

/* The write that the record shows in this field, the latest where one was issued anew; or NULL. In
 * doubt it is where that was done in another life. */
static const struct item *shown(const struct subject *subject, const struct group *group,
                                bool *ret_doubt)
{
	const struct reference_op *op = group->items[0].op;
	const struct item *found = NULL;
	struct blazei_field_view field;
	int index;

	*ret_doubt = false;
	if (!subject->record)
		return NULL;
	index = blazei_record_find(subject->record, op->name, op->name_len);
	if (index < 0)
		return NULL;
	blazei_record_view(subject->record, (unsigned)index, &field);
	for (unsigned i = 0; i < group->count; i++) {
		op = group->items[i].op;
		if (op->value_len == field.value_len && !op->unset &&
		    memcmp(op->value, field.value, field.value_len) == 0) {
			*ret_doubt = *ret_doubt || (found && found->op->life != op->life);
			if (!found || found->write->txn->hlc < group->items[i].write->txn->hlc)
				found = &group->items[i];
		}
	}
	return found;
}

/* C4 */
static bool absence_holds(const struct subject *subject, const struct group *group)
{
	const struct item *written = NULL;

	for (unsigned i = 0; i < group->count; i++) {
		if (group->items[i].op->life != subject->life)
			continue;
		if (group->items[i].op->unset)
			return true;
		written = &group->items[i];
	}
	return !written || complain(subject, "was written and is gone", written, written);
}

/* C3 */
static bool existence_holds(const struct subject *subject, const struct group *group)
{
	const struct item *server = subject->history->one_server ? server_last(group, 0) : NULL;
	const struct item *alive = NULL;
	const struct item *dead = NULL;

	for (unsigned i = 0; i < group->count; i++) {
		const struct item *item = &group->items[i];
		bool latest = !server || known_to(group, server, item);

		for (unsigned j = 0; j < group->count && latest; j++)
			latest = !seen_by(item->write, group->items[j].write);
		if (latest && item->op->alive)
			alive = item;
		else if (latest)
			dead = item;
	}
	if (!alive && dead && subject->record)
		return complain(subject, "came up again after its deletion", dead, dead);
	if (!dead && alive && !subject->record)
		return complain(subject, "is gone without a deletion", alive, alive);
	return true;
}

/* All groups of one record. */
static bool record_holds(struct subject *subject, const struct item *items, unsigned count)
{
	struct group group;
	unsigned at;

	for (unsigned pass = 0; pass < 2; pass++) {
		for (at = 0; at < count; at += group.count) {
			const struct item *winner;
			bool doubt;

			group.items = &items[at];
			group.count = 1;
			while (at + group.count < count &&
			       item_compare(&items[at], &items[at + group.count]) == 0)
				group.count++;
			if (items[at].op->existence) {
				if (pass == 0 && !existence_holds(subject, &group))
					return false;
				continue;
			}
			winner = shown(subject, &group, &doubt);
			if (pass == 0 && winner && !doubt) {
				subject->life = winner->op->life;
				if (!winner_holds(subject, &group, winner))
					return false;
			}
			if (pass == 1 && !winner && subject->life != 0 &&
			    !absence_holds(subject, &group))
				return false;
		}
	}
	return true;
}

static struct item *items_gather(const struct causal_history *history, unsigned *ret_count)
{
	unsigned count = 0;
	struct item *items;

	for (unsigned i = 0; i < history->count; i++)
		count += history->writes[i].txn->op_count;
	items = calloc(count + 1, sizeof(*items));
	*ret_count = count;
	count = 0;
	for (unsigned i = 0; i < history->count; i++)
		for (unsigned k = 0; k < history->writes[i].txn->op_count; k++) {
			const struct causal_write *write = &history->writes[i];

			items[count] = (struct item){ .op = &write->txn->ops[k], .write = write };
			if (write->copy)
				items[count].first = write->places[k];
			else if (write->server)
				items[count].first =
				        (struct causal_place){ write->origin, write->txn->seq };
			count++;
		}
	qsort(items, count, sizeof(*items), item_compare);
	return items;
}

bool causal_holds(const struct causal_history *history, const struct blazei_replica *replica,
                  char *ret_text, size_t cap)
{
	struct subject subject = { .history = history, .text = ret_text, .cap = cap };
	unsigned count;
	unsigned same;
	struct item *items = items_gather(history, &count);
	bool holds = true;

	for (unsigned at = 0; at < count && holds; at += same) {
		struct blaze_id id;

		for (same = 1; at + same < count; same++)
			if (memcmp(items[at].op->id, items[at + same].op->id, 16) != 0)
				break;
		memcpy(&id, items[at].op->id, sizeof(id));
		subject.record = NULL;
		subject.life = 0;
		(void)blazei_replica_get(replica, &id, &subject.record);
		holds = record_holds(&subject, &items[at], same);
		blaze_record_free(subject.record);
	}
	free(items);
	return holds;
}
