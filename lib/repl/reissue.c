/* SPDX-License-Identifier: Apache-2.0 */
/* Writes again what nobody else has seen; see reissue.h. */
#include "lib/repl/reissue.h"

#include <stdlib.h>

#include "lib/repl/bundle.h"

/* How a record is issued, onto what is here of it. */
struct plan {
	const struct blazei_row *here; /* NULL: nothing */
	uint32_t life;     /* of the fields that were to be seen, and of the existence */
	uint64_t priority; /* of the existence */
	bool existence;    /* it is written */
	bool another;      /* it is not the life that they had */
	bool over;         /* the existence has lost by now */
};

/* Whether E and H win over others. No two registers have the same but by one write. */
static bool stands(uint64_t priority, uint64_t hlc, uint64_t other_priority, uint64_t other_hlc)
{
	return priority != other_priority ? priority > other_priority : hlc >= other_hlc;
}

static bool row_exists(const struct blazei_row *row)
{
	return row && row->flags & BLAZEI_ROW_EXISTS;
}

/* A life that hides nothing of what is here, and is over nowhere: the one it had, or a later one
 * than any. False: there is none left. */
static bool plan_life(const struct blazei_replica *replica, const struct blazei_unseen *item,
                      struct plan *plan)
{
	uint32_t next = blazei_next_life(replica, plan->here);

	if (next > 0 && item->row.life < next) {
		plan->another = true;
		plan->life = next > item->top_life ? next : blazei_life_after(item->top_life);
	}
	return next > 0 && plan->life > 0;
}

static void plan_alive(const struct blazei_unseen *item, struct plan *plan)
{
	/* The record lives as it did: that is not said again, but for the server's word. */
	plan->existence = item->row.priority > plan->here->priority;
}

static void plan_dead(const struct blazei_replica *replica, const struct blazei_unseen *item,
                      struct plan *plan)
{
	const struct blazei_row *here = plan->here;

	plan->existence = !row_exists(here) || blazei_row_alive(here) ||
	                  item->row.priority > here->priority || item->row.life > here->life;
	if (row_exists(here) && here->life > plan->life)
		plan->life = here->life;
	/* What is not here may have been collected, with all of its lives. */
	if (!row_exists(here) && replica->members.floor.life > plan->life)
		plan->life = (uint32_t)replica->members.floor.life;
}

/* False: it cannot be issued any more. The list of members is up to date. */
static bool plan_make(const struct blazei_replica *replica, const struct blazei_unseen *item,
                      struct plan *plan)
{
	const struct blazei_row *was = &item->row;
	const struct blazei_row *here = blazei_table_find(
	        &replica->table, &was->id, blazei_table_hash(&replica->table, &was->id));
	bool makes = true;

	*plan = (struct plan){ .here = here, .life = was->life, .priority = was->priority };
	/* One that does not exist has neither E nor H. */
	plan->over =
	        row_exists(here) && !stands(was->priority, was->hlc, here->priority, here->hlc);
	if (item->new_life > 0) {
		plan->another = item->new_life != was->life;
		plan->life = item->new_life;
		return true;
	}
	if (!item->existence || plan->over)
		return true;
	if (!row_exists(here) && plan->priority < blazei_floor_priority(replica, was->hlc))
		plan->priority = blazei_floor_priority(replica, was->hlc);
	plan->existence = true;
	if (!blazei_row_alive(was))
		plan_dead(replica, item, plan);
	else if (row_exists(here) && blazei_row_alive(here) && here->life == was->life)
		plan_alive(item, plan);
	else
		makes = plan_life(replica, item, plan);
	return makes;
}

/* Whether what is here ends that life for good: all know it. */
static bool life_over(const struct blazei_replica *replica, const struct plan *plan, uint32_t life)
{
	return plan->over && blazei_life_ended(plan->here, life) &&
	       blazei_below(&replica->members, plan->here->origin, plan->here->seq);
}

/* What is written for an entry, in *ret_op; false: nothing. */
static bool op_make(const struct blazei_replica *replica, const struct blazei_unseen *item,
                    const struct plan *plan, const struct blazei_entry *entry,
                    struct blazei_write_op *ret_op)
{
	const struct blazei_name *name = replica->names.names[entry->name];
	const bool visible = blazei_row_alive(&item->row) && entry->life == item->row.life;
	const bool moves = visible && plan->another;
	const uint32_t life = visible ? plan->life : entry->life;
	const bool unset = entry->flags & BLAZEI_ENTRY_UNSET;
	const struct blazei_entry *seen = NULL;

	if (moves ? unset : !(entry->flags & BLAZEI_ENTRY_MARKED))
		return false;
	if (life_over(replica, plan, life))
		return false;
	if (plan->here)
		seen = blazei_row_find(plan->here, entry->name, life);
	if (seen && !stands(entry->priority, entry->hlc, seen->priority, seen->hlc))
		return false;
	*ret_op = (struct blazei_write_op){
		.name = name->text,
		.name_len = name->len,
		.body = entry->value,
		.body_len = entry->value_len,
		.seen = seen,
		.unset = unset,
		.priority = entry->priority,
		.life = life,
	};
	return true;
}

/* A transaction that is being put together, and where the list is then. */
struct issue {
	struct blazei_replica *replica;
	struct blazei_bundle bundle;
	uint32_t next;     /* the first one that is not, or not wholly, in it */
	uint32_t issued;   /* of its entries */
	uint32_t new_life; /* likewise */
	uint32_t refused;
};

/* Adds a record, or as much of it as fits: whether that was all; or -ENOMEM. */
static int item_add(struct issue *issue, const struct blazei_unseen *item)
{
	const struct blazei_entry *entry = blazei_row_first(&item->row);
	struct blazei_write_group existence = { .id = &item->row.id };
	uint32_t at = 0;
	struct plan plan;
	bool fits = true;

	if (blazei_bundle_begin(&issue->bundle, item->row.entry_count) < 0)
		return -ENOMEM;
	if (!plan_make(issue->replica, item, &plan)) {
		issue->refused++;
		return true;
	}
	for (; at < item->row.entry_count && fits; at += fits) {
		struct blazei_write_op op;

		if (at >= item->issued && op_make(issue->replica, item, &plan, entry, &op))
			fits = blazei_bundle_add(&issue->bundle, &op);
		entry = blazei_entry_next(entry);
	}
	existence.row = plan.here;
	existence.life = plan.life;
	existence.priority = plan.priority;
	if (plan.existence)
		existence.flags = BLAZEI_GROUP_EXISTENCE |
		                  (blazei_row_alive(&item->row) ? BLAZEI_GROUP_ALIVE : 0);
	blazei_bundle_end(&issue->bundle, &existence);
	issue->issued = at;
	issue->new_life = plan.life;
	return fits;
}

/* Whether one may be in the same transaction as those before it: they ascend, and none is divided
 * that fits the next one whole. */
static bool item_joins(const struct issue *issue, const struct blazei_unseen *last,
                       const struct blazei_unseen *item)
{
	const size_t registers =
	        item->row.used + item->row.entry_count * (sizeof(struct blazei_txn_group) + 256);

	return memcmp(last->row.id.bytes, item->row.id.bytes, sizeof(item->row.id.bytes)) < 0 &&
	       issue->bundle.bytes + registers <= issue->bundle.bytes_max;
}

/* Puts together as much as a transaction holds. 0 or -ENOMEM. */
static int items_add(struct issue *issue, const struct blazei_unseen_list *list)
{
	int rc = blazei_members_update(issue->replica);

	if (rc < 0)
		return rc;
	for (issue->next = list->next; issue->next < list->count; issue->next++) {
		const struct blazei_unseen *item = list->items[issue->next];

		if (issue->next > list->next &&
		    !item_joins(issue, list->items[issue->next - 1], item))
			break;
		rc = item_add(issue, item);
		if (rc <= 0)
			return rc;
		issue->issued = 0;
		issue->new_life = 0;
	}
	return 0;
}

/* Commits as much of the list as a transaction holds. 0 or -ENOMEM. */
static int list_issue(struct blazei_replica *replica, uint64_t now_ns,
                      struct blazei_unseen_list *list, struct blazei_txn_view *ret_txn)
{
	struct issue issue = { .replica = replica };
	int rc;

	blazei_bundle_init(&issue.bundle, replica);
	rc = items_add(&issue, list);
	if (rc == 0)
		rc = blazei_bundle_commit(&issue.bundle, replica, now_ns, ret_txn);
	blazei_bundle_free(&issue.bundle);
	if (rc < 0)
		return rc;
	replica->refused += issue.refused;
	for (; list->next < issue.next; list->next++)
		free(list->items[list->next]);
	if (issue.new_life > 0) {
		list->items[list->next]->issued = issue.issued;
		list->items[list->next]->new_life = issue.new_life;
	}
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
