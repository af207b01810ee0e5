/* SPDX-License-Identifier: Apache-2.0 */
/* A name that two wrote under, or whose writes were forgotten: who finds out leaves it, and issues
 * anew what it wrote.
 *
 *        N1   Leaving a name changes nothing that a reader sees.
 *        N2   Nothing that is to be seen, or may come to be, stands under the name that was left,
 *             beyond the bound.
 *        N3   What a node that comes back had written itself, and what stood when its state and the
 *             snapshot were merged, it shows when it has issued it anew.
 *
 * A twin runs for a moment, in a replica of its own. What it wrote under the name that both had
 * nobody else sees, only what it says again under a name of its own: that reaches the node, and
 * from there the others. */
#include "lib/op/record.h"
#include "lib/repl/core.h"
#include "lib/repl/reissue.h"
#include "lib/repl/session.h"
#include "lib/repl/writeset.h"
#include "tests/sim/sim.h"

#define TWIN_WRITES_MAX 4u
#define TWIN_TXNS_MAX   4u

/* Leaving ------------------------------------------------------------------------------------ */

/* N2 */
static void left_check(struct sim_world *world, const struct blazei_replica *replica,
                       uint16_t index, uint64_t bound)
{
	for (uint32_t i = 0; i < replica->table.row_count; i++) {
		const struct blazei_row *row = replica->table.rows[i];
		const struct blazei_entry *entry = blazei_row_first(row);
		bool stands = (row->flags & BLAZEI_ROW_EXISTS) && row->origin == index &&
		              row->seq > bound;
		const bool ends = blazei_below(&replica->members, row->origin, row->seq);

		for (uint32_t k = 0; k < row->entry_count; k++) {
			stands = stands || (entry->origin == index && entry->seq > bound &&
			                    (entry->life >= row->life || !ends));
			entry = blazei_entry_next(entry);
		}
		if (stands)
			sim_violate(world, "something stands under a name that was left");
	}
}

/* Takes another name, which the world's origin `node->origin` is; the index of the old one. */
static uint16_t name_leave(struct sim_world *world, struct sim_node *node)
{
	const struct blazei_origin old = node->replica->vector.origins[0];
	unsigned attempt = 0;
	int rc;

	do {
		sim_memory_starve(world, attempt++);
		rc = blazei_replica_leave_name(node->replica, sim_clock(world, node),
		                               &world->origins[node->origin].id);
	} while (sim_memory_starved(world) && rc == -ENOMEM);
	if (rc < 0)
		sim_violate(world, "n%u cannot take another name: %d",
		            world->origins[node->origin].node, rc);
	return blazei_vector_find(&node->replica->vector, &old);
}

/* The next transaction that is issued anew; false: there is none. */
static bool issue_next(struct sim_world *world, struct sim_node *node,
                       struct blazei_unseen_list *list, struct blazei_txn_view *ret_view)
{
	unsigned attempt = 0;
	int rc;

	do {
		sim_memory_starve(world, attempt++);
		rc = blazei_replica_reissue(node->replica, sim_clock(world, node), list, ret_view);
	} while (sim_memory_starved(world) && rc == -ENOMEM);
	if (rc < 0)
		sim_violate(world, "n%u cannot issue anew: %d", world->origins[node->origin].node,
		            rc);
	return rc == 0 && ret_view->len > 0;
}

void sim_issue(struct sim_world *world, struct sim_node *node)
{
	struct blazei_unseen_list none = { 0 };
	struct blazei_unseen_list *list = node->stage ? blazei_stage_unseen(node->stage) : &none;
	uint32_t touched[SIM_ORIGINS_MAX];
	struct blazei_txn_view view;

	/* What is issued has seen what it had seen, and has not lost against anything there. */
	for (unsigned i = 0; i < SIM_ORIGINS_MAX; i++)
		touched[i] = node->forgot[i] > node->vector[i] ? node->forgot[i] : node->vector[i];
	world->counts[SIM_COUNT_issued_anew] += list->count;
	world->again = true;
	while (!world->violated && issue_next(world, node, list, &view))
		sim_written(world, node, &view, touched);
	world->again = false;
	memset(node->forgot, 0, sizeof(node->forgot));
	blazei_unseen_list_clear(list);
}

void sim_renew(struct sim_world *world, struct sim_node *node)
{
	const unsigned number = (unsigned)(node - world->nodes);
	const unsigned old = node->origin;
	uint8_t digests[2][16];
	uint64_t bound;
	uint16_t index;

	if (!node->replica || !blazei_replica_displaced(node->replica))
		return;
	if (!node->mute && !node->forked)
		sim_violate(world, "n%u is told that others wrote in its name", number);
	if (world->origin_count == SIM_ORIGINS_MAX || world->violated)
		return;
	world->counts[SIM_COUNT_displaced]++;
	bound = node->replica->began_seq;
	blazei_replica_hash(node->replica, digests[0]);
	sim_origin_new(world, node);
	node->forked = false;
	index = name_leave(world, node);
	node->behind = true;
	sim_tell(world, "n%u meets its own name, and goes on as n%u.%u", number, number,
	         node->runs);
	if (bound < node->vector[old]) {
		node->bound[old] = (uint32_t)bound + 1;
		world->counts[SIM_COUNT_stamped_anew]++;
		for (unsigned i = (unsigned)bound; i < world->origins[old].count; i++)
			world->origins[old].txns[i]->left = true;
	}
	if (node->replica->left.pending) {
		struct blazei_unseen_list none = { 0 };
		struct blazei_txn_view view;

		world->again = true;
		while (!world->violated && node->replica->left.pending &&
		       issue_next(world, node, &none, &view))
			sim_written(world, node, &view, node->vector);
		world->again = false;
		blazei_replica_hash(node->replica, digests[1]);
		if (memcmp(digests[0], digests[1], 16) != 0)
			sim_violate(world, "n%u shows something else under its new name", number);
	}
	left_check(world, node->replica, index, bound);
	sim_issue(world, node);
}

/* A twin ------------------------------------------------------------------------------------- */

/* Starts it from a copy of the store. */
static struct sim_node *twin_start(struct sim_world *world, const struct sim_node *node)
{
	struct sim_node *twin = &world->nodes[SIM_NODES_MAX];
	struct blazei_replica_options options = { .policy = world->setting.policy };

	*twin = (struct sim_node){ .origin = node->origin, .offset_ns = node->offset_ns };
	sim_log_copy(&twin->log, &node->log, node->log.count);
	options.self = world->origins[node->origin].id;
	options.hash_seed = SIM_NODES_MAX + 1;
	options.hlc_floor = node->high_ns;
	if (blazei_replica_new(&options, &twin->replica) < 0) {
		sim_violate(world, "no memory");
		return NULL;
	}
	sim_log_replay(world, twin);
	return twin;
}

/* Lets it write; the last of it, in *ret_view. */
static void twin_write(struct sim_world *world, struct sim_node *twin, unsigned count,
                       struct sim_random *random, struct blazei_txn_view *ret_view)
{
	for (unsigned i = 0; i < count && !world->violated; i++) {
		const struct blaze_id id = sim_random_id(random);
		struct blaze_record *record = sim_random_record(world, false, random);
		const struct blazei_write write = {
			.kind = BLAZEI_WRITE_UPSERT,
			.id = &id,
			.record = record,
		};
		int rc = blazei_replica_write(twin->replica, sim_clock(world, twin), &write,
		                              ret_view);

		if (rc < 0 || ret_view->len == 0)
			sim_violate(world, "a twin cannot write: %d", rc);
		blaze_record_free(record);
	}
}

/* It leaves the name, says again what it wrote, and that reaches the node. */
static void twin_leave(struct sim_world *world, struct sim_node *twin, struct sim_node *node)
{
	struct sim_origin *origin = &world->origins[world->origin_count];
	const uint64_t bound = twin->replica->began_seq;
	struct blazei_unseen_list none = { 0 };
	struct sim_txn *txns[TWIN_TXNS_MAX];
	struct blazei_txn_view view;
	unsigned count = 0;
	uint16_t index;

	/* Its identity is the node's, of a run that the node never has. */
	origin->node = (unsigned)(node - world->nodes);
	origin->id.node = node->id;
	origin->id.incarnation = (world->origin_count * UINT64_C(0x9e3779b97f4a7c15)) ^ 0x80;
	twin->origin = world->origin_count++;
	index = name_leave(world, twin);
	world->again = true;
	while (!world->violated && count < TWIN_TXNS_MAX && issue_next(world, twin, &none, &view)) {
		txns[count] = sim_txn_keep(world, twin, &view, twin->vector);
		twin->vector[twin->origin]++;
		count += txns[count] != NULL;
	}
	world->again = false;
	left_check(world, twin->replica, index, bound);
	if (!world->violated)
		sim_receive(world, node, txns, count);
}

void sim_twin(struct sim_world *world, struct sim_node *node, struct sim_random *random)
{
	const unsigned writes = 1 + sim_below(random, TWIN_WRITES_MAX);
	const unsigned old = node->origin;
	struct blazei_txn_view last = { 0 };
	struct blazei_txn_view own;
	struct sim_node *twin;
	unsigned before = node->vector[old];
	unsigned wrote;
	int drained;

	if (node->mute || world->origin_count + 2 > SIM_ORIGINS_MAX)
		return;
	twin = twin_start(world, node);
	for (unsigned i = 0; i < writes && !world->violated; i++)
		sim_write(world, node, random);
	wrote = node->vector[old] - before;
	if (twin && wrote > 0 && !world->violated) {
		const struct sim_txn *txn = world->origins[old].txns[node->vector[old] - 1];

		sim_tell(world, "n%u and a twin of it write %u each",
		         (unsigned)(node - world->nodes), wrote);
		world->events[SIM_TWIN]++;
		own = (struct blazei_txn_view){ txn->data, txn->len };
		twin_write(world, twin, wrote, random, &last);
		node->forked = true;
		/* What waited for the clock may be ready now. */
		drained = blazei_replica_receive(node->replica, sim_clock(world, node), &last, 1);
		(void)blazei_replica_receive(twin->replica, sim_clock(world, twin), &own, 1);
		if (!blazei_replica_displaced(node->replica) ||
		    !blazei_replica_displaced(twin->replica))
			sim_violate(world, "two under one name do not find out");
		sim_observe(world, node, drained);
		if (!world->violated)
			twin_leave(world, twin, node);
	}
	if (twin) {
		blazei_replica_free(twin->replica);
		*twin = (struct sim_node){ 0 };
	}
}

/* Coming back -------------------------------------------------------------------------------- */

/* All that was there before, and all that is there now. */
static void union_fold(const struct sim_world *world, const struct sim_node *node,
                       const uint32_t *before, struct reference *reference)
{
	reference_init(reference);
	for (unsigned i = 0; i < world->origin_count; i++)
		for (unsigned k = 0; k < before[i] || k < node->vector[i]; k++)
			reference_fold(reference, &world->origins[i].txns[k]->content);
}

/* Whether a transaction beyond the cut is a member's, which brings it itself. */
static bool comes_again(const struct sim_world *world, const struct reference *reference,
                        const struct reference_txn *txn, const uint32_t *cut)
{
	const struct reference_register *state =
	        reference_find(reference, txn->origin, BLAZEI_LIFE_MAX, (const uint8_t *)"s", 1);

	for (unsigned i = 0; i < world->origin_count; i++)
		if (memcmp(&world->origins[i].id, txn->origin, REFERENCE_ORIGIN_BYTES) == 0)
			return txn->seq > cut[i] && state && state->op->value_len == 1 &&
			       state->op->value[0] == 1;
	return false;
}

/* Whether what an op says stood, and was to be seen. */
static bool stood(const struct reference *reference, const struct reference_op *op)
{
	const struct reference_register *field;
	const struct reference_register *existence;

	if (op->existence || op->unset)
		return false;
	field = reference_find(reference, op->id, op->life, op->name, op->name_len);
	existence = reference_find(reference, op->id, 0, NULL, 0);
	return field && field->op == op && existence && existence->op->alive &&
	       existence->op->life == op->life;
}

static const struct reference_txn *existence_of(const struct reference *reference,
                                                const struct reference_op *op)
{
	return reference_find(reference, op->id, 0, NULL, 0)->txn;
}

static bool shows(const struct blazei_replica *replica, const struct reference_op *op)
{
	struct blaze_record *record = NULL;
	struct blazei_field_view field;
	struct blaze_id id;
	int index = -1;

	memcpy(&id, op->id, sizeof(id));
	if (blazei_replica_get(replica, &id, &record) == 0)
		index = blazei_record_find(record, op->name, op->name_len);
	if (index >= 0) {
		blazei_record_view(record, (unsigned)index, &field);
		if (field.value_len != op->value_len ||
		    memcmp(field.value, op->value, op->value_len) != 0)
			index = -1;
	}
	blaze_record_free(record);
	return index >= 0;
}

/* N3; `cut` is the vector of the snapshot, which had so many origins. */
static void issued_check(struct sim_world *world, const struct sim_node *node,
                         const struct reference *reference, const uint32_t *before,
                         const uint32_t *cut, unsigned count)
{
	const unsigned number = (unsigned)(node - world->nodes);

	for (unsigned i = 0; i < count; i++) {
		const struct sim_origin *origin = &world->origins[i];

		for (unsigned k = cut[i]; origin->node == number && k < before[i]; k++) {
			const struct reference_txn *txn = &origin->txns[k]->content;

			for (unsigned m = 0; m < txn->op_count; m++)
				/* Members' own records are written by their ticks. */
				if (txn->ops[m].id[0] == 0x01 && stood(reference, &txn->ops[m]) &&
				    !comes_again(world, reference,
				                 existence_of(reference, &txn->ops[m]), cut) &&
				    !shows(node->replica, &txn->ops[m]))
					sim_violate(world, "n%u came back without r%u.%.*s", number,
					            txn->ops[m].id[15], txn->ops[m].name_len,
					            (const char *)txn->ops[m].name);
		}
	}
}

void sim_come_back(struct sim_world *world, struct sim_node *node, const uint32_t *before)
{
	/* Issuing may add one. */
	const unsigned count = world->origin_count;
	struct reference reference;
	uint32_t cut[SIM_ORIGINS_MAX];
	bool forgot = false;

	blazei_writeset_free(node->writes);
	node->writes = NULL;
	for (unsigned i = 0; i < world->origin_count; i++) {
		node->vector[i] = sim_seq(world, node, i);
		cut[i] = node->vector[i];
		forgot = forgot || cut[i] < before[i];
		if (node->forgot[i] < before[i])
			node->forgot[i] = before[i];
	}
	memset(node->frontier, 0, sizeof(node->frontier));
	memset(node->bound, 0, sizeof(node->bound));
	memcpy(node->had, node->vector, sizeof(node->had));
	world->counts[SIM_COUNT_forgotten] += forgot;
	union_fold(world, node, before, &reference);
	node->forked = node->vector[node->origin] < before[node->origin];
	sim_checkpoint(world, node);
	/* There may be no more names. */
	node->mute = blazei_replica_displaced(node->replica);
	if (!world->violated && !node->mute) {
		sim_issue(world, node);
		issued_check(world, node, &reference, before, cut, count);
	}
	reference_free(&reference);
}
