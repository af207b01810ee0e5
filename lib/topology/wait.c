/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting until a node has applied what all others had committed, or one transaction.
 *
 * WHY    Every board shows its node's vector, own commits included, so "everything committed before
 *        the call" is the union of the vectors of those that can reach the node, read once at the
 *        start. Then the node's own vector is compared with it: in the replica where it is local,
 *        on its board where it is not. A position is an entry of such a vector by itself.
 *
 *        A position may name what can never come: no links lead here from where it was written, or
 *        that node was gone before anybody heard of it. A wait for ever would hide that, so it is
 *        an error as soon as nobody who could bring the transaction is there: neither the run of
 *        the node that wrote it nor another that has it, dead ones included while their lane can
 *        still be read. Links that are declared later don't help a wait that has failed.
 *
 *        A node may leave its name (lib/db/renew.c), and what it had committed under it is then
 *        waited for as what it has committed under the new one, where nobody has more of the old.
 *
 *        A position under such a name is followed to the transaction by which all is written that
 *        there was to write again; its writer's board tells it. Where that was nothing, as others'
 *        writes had overwritten it all, the wait is for all that the writer has. Only a writer that
 *        is there can tell: whose run is over, and what another run of its node has, nobody knows.
 *
 *        A node may have retired the incarnation (lib/repl/mark.h) that is waited for, and knows
 *        what it wrote by H alone: boards show H, and a position has it.
 *
 * FAILURE  A node that dies while it is waited for is -ENOENT. What only a dead node had, and
 *        nobody got from its lane, is not waited for beyond the time-out. */
#include "lib/topology/topology.h"

#include <stdlib.h>

#define PAUSE_MIN_NS (20 * 1000)
#define PAUSE_MAX_NS (2 * BLAZEI_NS_PER_MS)
/* A foreign node's liveness is probed after so many looks at its board. */
#define PROBE_LOOKS 16u
/* A board may be in the middle of a change, whose owner lost the processor, and show a link then
 * that is not known yet: so long it is looked at again. */
#define SETTLE_LOOKS    1000u
#define SETTLE_PAUSE_NS BLAZEI_NS_PER_MS
/* More origins than this are not waited for: no honest board shows so many. */
#define TARGET_MAX (2 * BLAZEI_BOARD_VECTOR_MAX)
/* The position is another one now. */
#define FOLLOWED 1

struct wanted {
	struct blazei_vector_entry entry;
	uint64_t hlc; /* of its transaction, or more; 0: not known */
	bool listed;  /* the board at hand has its origin */
};

struct target {
	struct wanted *entries;
	unsigned count;
	unsigned cap;
};

/* Where the node is seen from. */
struct view {
	struct blaze_db *db;      /* the local node, or NULL */
	struct blazei_link *link; /* of the observer of a foreign node */
	struct blazei_census *census;
	struct blaze_id node;
	/* The transaction that is waited for; NULL: all that was committed before. */
	const struct wanted *position;
	bool durable;           /* until the node's store has it for good */
	struct wanted followed; /* what the position has become */
};

static int target_add(struct target *target, const struct wanted *wanted)
{
	struct wanted *entries;

	for (unsigned i = 0; i < target->count; i++) {
		struct wanted *at = &target->entries[i];

		if (blazei_origin_equal(&at->entry.origin, &wanted->entry.origin)) {
			if (wanted->entry.seq > at->entry.seq)
				*at = *wanted;
			return 0;
		}
	}
	if (target->count == TARGET_MAX)
		return -E2BIG;
	if (target->count == target->cap) {
		unsigned cap = target->cap != 0 ? target->cap * 2 : 64;

		entries = realloc(target->entries, cap * sizeof(*entries));
		if (entries == NULL)
			return -ENOMEM;
		target->entries = entries;
		target->cap = cap;
	}
	target->entries[target->count++] = *wanted;
	return 0;
}

/* A node's name by now, and those that it left. */
struct names {
	struct blazei_origin origin;
	struct blazei_board_left left;
};

static struct names names_of(const struct blazei_board_description *text)
{
	return (struct names){
		.origin = { .node = text->node, .incarnation = text->incarnation },
		.left = text->left,
	};
}

/* What a node has written again of what it wrote under names that it left. */
static struct wanted renewed(const struct names *names)
{
	return (struct wanted){
		.entry.origin = names->origin,
		.entry.seq = names->left.seq,
		.hlc = names->left.hlc,
	};
}

/* Adds what a node's board shows and the waiting node may lack. Not what was retired there: that is
 * everywhere. */
static int target_add_member(struct target *target, const struct blazei_member *member)
{
	unsigned count = blazei_board_vector_count(member->board, member->board_bytes);
	const struct names names = names_of(member->text);
	const struct wanted again = renewed(&names);
	int error = 0;

	/* Its board shows only what may be heard of by now. */
	if (again.entry.seq > 0 && again.entry.seq < UINT64_MAX)
		error = target_add(target, &again);
	for (unsigned i = 0; i < count && error == 0; i++) {
		struct blazei_board_item item;

		blazei_board_vector_load(member->board, i, &item);
		if (item.entry.seq > 0 && !blazei_origin_retired(&item.entry.origin))
			error = target_add(
			        target, &(struct wanted){ .entry = item.entry, .hlc = item.hlc });
	}
	return error;
}

/* The union of the vectors of all live nodes that reach the view's node. */
static int target_note(struct target *target, struct blazei_census *census,
                       const struct blaze_id *self)
{
	int error = 0;

	for (unsigned i = 0; i < census->count && error == 0; i++) {
		const struct blazei_member *member = &census->members[i];

		if (member->live && member->reachable &&
		    !blazei_id_equal(&member->text->node, self))
			error = target_add_member(target, member);
	}
	return error;
}

static int local_note(struct view *view, struct target *target)
{
	bool again = true;
	int error = 0;

	for (unsigned i = 0; again && error == 0; i++) {
		if (i > 0)
			blazei_sleep_ns(SETTLE_PAUSE_NS);
		blazei_db_poll_lock(view->db);
		error = blazei_db_census(view->db, true);
		again = view->db->census.unsettled && i < SETTLE_LOOKS;
		if (error == 0 && !again)
			error = target_note(target, &view->db->census, &view->node);
		blazei_db_poll_unlock(view->db);
	}
	return error;
}

static int foreign_note(struct view *view, struct target *target)
{
	const struct blazei_member *member;
	int error = blazei_census_update(view->census, view->link, true);

	for (unsigned i = 0; i < SETTLE_LOOKS && error == 0 && view->census->unsettled; i++) {
		blazei_sleep_ns(SETTLE_PAUSE_NS);
		error = blazei_census_update(view->census, view->link, true);
	}
	if (error != 0)
		return error;
	member = blazei_census_by_node(view->census, &view->node);
	if (member == NULL)
		return -ENOENT;
	error = blazei_census_reach(view->census, NULL, &view->node, member->text->policy);
	return error != 0 ? error : target_note(target, view->census, &view->node);
}

/* Forgets what the node has by now; 0: nothing is left. */
static void local_compare(struct view *view, struct target *target)
{
	const struct blazei_replica *replica = view->db->replica;
	unsigned kept = 0;

	pthread_mutex_lock(&view->db->lock);
	for (unsigned i = 0; i < target->count; i++) {
		const struct wanted wanted = target->entries[i];
		const struct blazei_origin *origin = &wanted.entry.origin;

		/* Of a quarantined origin nothing more is taken, and nothing is waited for. */
		if ((view->durable ? blazei_replica_durable_seq(replica, origin, wanted.hlc)
		                   : blazei_replica_vector_covered(replica, origin, wanted.hlc)) <
		    wanted.entry.seq)
			target->entries[kept++] = wanted;
	}
	pthread_mutex_unlock(&view->db->lock);
	target->count = kept;
}

/* Whether an entry of a board is a mark under which that is. */
static bool item_marks(const struct blazei_board_item *item, const struct wanted *wanted)
{
	return blazei_origin_retired(&item->entry.origin) && wanted->hlc != 0 &&
	       wanted->hlc <= item->entry.seq &&
	       blazei_id_equal(&item->entry.origin.node, &wanted->entry.origin.node);
}

/* Forgets what a board covers: by its entries, or by its marks. */
static void board_pass(const struct blazei_member *member, struct target *target, bool durable,
                       bool marks)
{
	unsigned count = blazei_board_vector_count(member->board, member->board_bytes);

	for (unsigned i = 0; i < count && target->count > 0; i++) {
		struct blazei_board_item item;
		unsigned kept = 0;

		blazei_board_vector_load(member->board, i, &item);
		if (item.entry.seq == 0 || marks != blazei_origin_retired(&item.entry.origin))
			continue;
		if (durable)
			item.entry.seq = item.durable;
		for (unsigned j = 0; j < target->count; j++) {
			struct wanted wanted = target->entries[j];
			bool same = blazei_origin_equal(&wanted.entry.origin, &item.entry.origin);

			wanted.listed |= same;
			if (marks ? wanted.listed || !item_marks(&item, &wanted)
			          : !same || wanted.entry.seq > item.entry.seq)
				target->entries[kept++] = wanted;
		}
		target->count = kept;
	}
}

static void board_compare(const struct blazei_member *member, struct target *target, bool durable)
{
	for (unsigned i = 0; i < target->count; i++)
		target->entries[i].listed = false;
	board_pass(member, target, durable, false);
	board_pass(member, target, durable, true);
}

static int foreign_compare(struct view *view, struct target *target, bool probe)
{
	const struct blazei_member *member;
	int error = blazei_census_update(view->census, view->link, probe);

	if (error != 0)
		return error;
	member = blazei_census_by_node(view->census, &view->node);
	if (member == NULL)
		return -ENOENT;
	if (view->durable && (member->text->flags & BLAZEI_BOARD_STORED) == 0)
		return -EOPNOTSUPP;
	board_compare(member, target, view->durable);
	return 0;
}

/* Sources ------------------------------------------------------------------------------------ */

static bool member_brings(const struct blazei_member *member, const struct wanted *position)
{
	unsigned count = blazei_board_vector_count(member->board, member->board_bytes);
	struct blazei_board_item item;
	bool marked = false;

	/* Its own last commits may not be on its board yet. */
	if (member->text->incarnation == position->entry.origin.incarnation &&
	    blazei_id_equal(&member->text->node, &position->entry.origin.node))
		return true;
	for (unsigned i = 0; i < count; i++) {
		blazei_board_vector_load(member->board, i, &item);
		if (item.entry.seq == 0)
			continue;
		if (blazei_origin_equal(&item.entry.origin, &position->entry.origin))
			return item.entry.seq >= position->entry.seq;
		marked |= item_marks(&item, position);
	}
	return marked;
}

/* Whether anybody has what is wanted, or its writer still bears that name. */
static bool entry_shown(const struct blazei_census *census, const struct wanted *wanted)
{
	for (unsigned i = 0; i < census->count; i++)
		if (census->members[i].live && census->members[i].reachable &&
		    member_brings(&census->members[i], wanted))
			return true;
	return false;
}

/* Waits for what nodes under a new name have, in place of what they had under the old one. */
static int renamed_replace(struct target *target, struct blazei_census *census)
{
	unsigned count = target->count;
	int error = 0;

	for (unsigned i = 0; i < count && error == 0;) {
		const struct wanted wanted = target->entries[i];
		const struct blazei_member *member =
		        blazei_census_by_node(census, &wanted.entry.origin.node);

		if (member == NULL || !member->reachable || entry_shown(census, &wanted)) {
			i++;
			continue;
		}
		target->entries[i] = target->entries[--count];
		target->entries[count] = target->entries[--target->count];
		error = target_add_member(target, member);
	}
	return error;
}

static int local_renamed(const struct view *view, struct target *target)
{
	int error;

	blazei_db_poll_lock(view->db);
	error = blazei_db_census(view->db, true);
	if (error == 0)
		error = renamed_replace(target, &view->db->census);
	blazei_db_poll_unlock(view->db);
	return error;
}

/* Whether a node had that name in this run and left it. */
static bool has_left(const struct names *names, const struct blazei_origin *origin)
{
	for (unsigned i = 0; i < BLAZEI_BOARD_LEFT_MAX; i++)
		if (names->left.incarnations[i] == origin->incarnation)
			return origin->incarnation != 0;
	return false;
}

/* Waits for the position under the name for which its writer left the one that it has. FOLLOWED; 0:
 * the writer is writing it again; -ENOENT: it has not left that name, or is not there. */
static int position_follow(struct view *view, struct target *target, struct blazei_census *census)
{
	const struct blazei_origin *origin = &view->position->entry.origin;
	const struct blazei_member *writer = blazei_census_by_node(census, &origin->node);
	struct names names;
	int error;

	if (view->db != NULL && blazei_id_equal(&origin->node, &view->node)) {
		pthread_mutex_lock(&view->db->lock);
		names = names_of(&view->db->text);
		pthread_mutex_unlock(&view->db->lock);
	} else if (writer != NULL) {
		names = names_of(writer->text);
	} else {
		return -ENOENT;
	}
	if (!has_left(&names, origin))
		return -ENOENT;
	if (names.left.seq == UINT64_MAX)
		return 0;
	view->followed = renewed(&names);
	target->count = 0;
	if (view->followed.entry.seq > 0) {
		view->position = &view->followed;
		error = target_add(target, view->position);
	} else {
		view->position = NULL;
		error = writer != NULL ? target_add_member(target, writer) : 0;
	}
	return error != 0 ? error : FOLLOWED;
}

/* 0 where somebody could bring the position to the node, or FOLLOWED; else -EHOSTUNREACH. */
static int sources_check(struct view *view, struct target *target, struct blazei_census *census)
{
	int error = position_follow(view, target, census);

	if (error != -ENOENT)
		return error;
	for (unsigned i = 0; i < census->count; i++) {
		const struct blazei_member *member = &census->members[i];

		if (member->valid && member->reachable &&
		    !blazei_id_equal(&member->text->node, &view->node) &&
		    member_brings(member, view->position))
			return 0;
	}
	return -EHOSTUNREACH;
}

static int local_sources(struct view *view, struct target *target)
{
	int error;

	blazei_db_poll_lock(view->db);
	error = blazei_db_census(view->db, true);
	if (error == 0)
		error = sources_check(view, target, &view->db->census);
	blazei_db_poll_unlock(view->db);
	return error;
}

/* The census was brought up to date just before, and has the node. */
static int foreign_sources(struct view *view, struct target *target)
{
	const struct blazei_member *member = blazei_census_by_node(view->census, &view->node);
	int error = blazei_census_reach(view->census, NULL, &view->node, member->text->policy);

	return error != 0 ? error : sources_check(view, target, view->census);
}

static int compare(struct view *view, struct target *target, bool probe)
{
	if (view->db == NULL)
		return foreign_compare(view, target, probe);
	local_compare(view, target);
	return 0;
}

/* Whether the node has the position, and only its store does not yet. */
static bool position_applied(const struct view *view)
{
	struct wanted entry = *view->position;
	struct target target = { .entries = &entry, .count = 1 };
	struct view applied = *view;

	applied.durable = false;
	return compare(&applied, &target, false) == 0 && target.count == 0;
}

/* One look. With probe also whether what is waited for can come at all. */
static int look(struct view *view, struct target *target, bool probe)
{
	int error = compare(view, target, probe);

	if (error != 0 || target->count == 0 || !probe)
		return error;
	if (view->position == NULL)
		return view->db != NULL ? local_renamed(view, target)
		                        : renamed_replace(target, view->census);
	if (view->durable && position_applied(view))
		return 0;
	error = view->db != NULL ? local_sources(view, target) : foreign_sources(view, target);
	if (error == FOLLOWED)
		return compare(view, target, false);
	if (error != -EHOSTUNREACH)
		return error;
	/* It may have come since, and its source have gone. */
	error = compare(view, target, false);
	return error == 0 && target->count > 0 ? -EHOSTUNREACH : error;
}

static int wait_for(struct view *view, struct target *target, uint64_t timeout_ns)
{
	uint64_t start_ns = blazei_monotonic_ns(), pause_ns = PAUSE_MIN_NS, passed_ns;

	for (unsigned looks = 0;; looks++) {
		int error = look(view, target, looks % PROBE_LOOKS == 0);

		if (error != 0)
			return error;
		if (target->count == 0)
			return 0;
		passed_ns = blazei_monotonic_ns() - start_ns;
		if (passed_ns >= timeout_ns)
			return -ETIMEDOUT;
		if (pause_ns > timeout_ns - passed_ns)
			pause_ns = timeout_ns - passed_ns;
		blazei_sleep_ns(pause_ns);
		pause_ns = pause_ns * 2 < PAUSE_MAX_NS ? pause_ns * 2 : PAUSE_MAX_NS;
	}
}

/* Finds the ring of a foreign node: where it was found, or where a local node meets it. */
static int ring_of(struct blaze_topology *topology, const struct blaze_id *node,
                   char ret_db_name[BLAZEI_DB_NAME_MAX + 1])
{
	int error = blazei_found_load(topology, node, ret_db_name);

	if (error == 0)
		return 0;
	pthread_mutex_lock(&topology->lock);
	for (struct blazei_node *at = topology->nodes; at != NULL && error != 0; at = at->next) {
		blazei_db_poll_lock(at->db);
		if (blazei_db_census(at->db, true) == 0 &&
		    blazei_census_by_node(&at->db->census, node) != NULL) {
			memcpy(ret_db_name, at->db->name, BLAZEI_DB_NAME_MAX + 1);
			error = 0;
		}
		blazei_db_poll_unlock(at->db);
	}
	pthread_mutex_unlock(&topology->lock);
	return error;
}

static int foreign_wait(struct blaze_topology *topology, struct view *view, struct target *target,
                        uint64_t timeout_ns)
{
	char db_name[BLAZEI_DB_NAME_MAX + 1];
	int error = ring_of(topology, &view->node, db_name);

	if (error == 0)
		error = blazei_observe(db_name, &view->link);
	if (error != 0)
		return error;
	view->census = calloc(1, sizeof(*view->census));
	error = view->census != NULL ? 0 : -ENOMEM;
	if (error == 0 && view->position == NULL)
		error = foreign_note(view, target);
	if (error == 0)
		error = wait_for(view, target, timeout_ns);
	if (view->census != NULL)
		blazei_census_clear(view->census);
	free(view->census);
	view->link->ops->close(view->link);
	return error == -EIDRM ? -ENOENT : error;
}

/* Waits for the view's position, or without one for everything. */
static int node_wait(struct blaze_topology *topology, struct view *view, uint64_t timeout_ns)
{
	struct target target = { .entries = NULL };
	struct blazei_node *local;
	int error = 0;

	if (timeout_ns > 0 && blazei_notifying())
		return -EDEADLK;
	if (view->position != NULL && view->position->entry.seq > 0)
		error = target_add(&target, view->position);
	if (error != 0)
		return error;
	local = blazei_node_pin(topology, &view->node);
	if (local == NULL) {
		error = foreign_wait(topology, view, &target, timeout_ns);
	} else {
		view->db = local->db;
		if (view->durable && local->db->store == NULL)
			error = -EOPNOTSUPP;
		else if (view->position == NULL)
			error = local_note(view, &target);
		if (error == 0)
			error = wait_for(view, &target, timeout_ns);
		blazei_node_unpin(topology, local);
	}
	free(target.entries);
	return error;
}

int blaze_topology_wait(struct blaze_topology *topology, const struct blaze_id *node,
                        uint64_t timeout_ns)
{
	struct view view = { .db = NULL };
	int error = blazei_topology_usable(topology);

	if (error != 0)
		return error;
	if (node == NULL)
		return -EINVAL;
	view.node = *node;
	return node_wait(topology, &view, timeout_ns);
}

int blaze_topology_wait_position(struct blaze_topology *topology, const struct blaze_id *node,
                                 const struct blaze_position *position, enum blaze_reached level,
                                 uint64_t timeout_ns)
{
	struct wanted entry;
	struct view view = { .position = &entry };
	int error = blazei_topology_usable(topology);

	if (error != 0)
		return error;
	if (node == NULL || position == NULL)
		return -EINVAL;
	if ((unsigned)level > BLAZE_REACHED_DURABLE)
		return -EINVAL;
	view.durable = level == BLAZE_REACHED_DURABLE;
	entry = (struct wanted){
		.entry.origin = { .node = position->node, .incarnation = position->incarnation },
		.entry.seq = position->seq,
		.hlc = position->time_ns,
	};
	view.node = *node;
	return node_wait(topology, &view, timeout_ns);
}
