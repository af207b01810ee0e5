/* SPDX-License-Identifier: Apache-2.0 */
/* What a node does: it writes, publishes in its lane, reads the others' lanes, and logs. */
#include <stdio.h>

#include "tests/sim/sim.h"

#define COLD_RECORDS 60u
#define BATCH_MAX    16u

/* Logs and lanes ----------------------------------------------------------------------------- */

void sim_log_append(struct sim_log *log, struct sim_entry entry)
{
	if (log->count == log->max) {
		struct sim_entry *old = log->entries;

		log->max = log->max * 2 + 64;
		log->entries = sim_alloc(log->max * sizeof(*log->entries));
		if (log->count > 0)
			memcpy(log->entries, old, log->count * sizeof(*old));
	}
	log->entries[log->count++] = entry;
}

void sim_lane_append(struct sim_world *world, struct sim_node *node, struct sim_txn *txn)
{
	(void)world;
	if (node->lane_count == node->lane_max) {
		struct sim_txn **old = node->lane;

		node->lane_max = node->lane_max * 2 + 64;
		node->lane = sim_alloc(node->lane_max * sizeof(struct sim_txn *));
		if (node->lane_count > 0)
			memcpy(node->lane, old, node->lane_count * sizeof(struct sim_txn *));
	}
	node->lane[node->lane_count++] = txn;
}

void sim_sync(struct sim_world *world, struct sim_node *node)
{
	if (node->synced < node->log.count)
		world->events[SIM_SYNC]++;
	node->synced = node->log.count;
	if (!world->setting.durable_first)
		return;
	for (; node->published < node->synced; node->published++) {
		struct sim_txn *txn = node->log.entries[node->published].txn;

		if (txn && (txn->origin == node->origin || world->setting.shape != SIM_MESH))
			sim_lane_append(world, node, txn);
	}
}

/* Writing ------------------------------------------------------------------------------------ */

struct blaze_id sim_record_id(unsigned number)
{
	struct blaze_id id = { { 0x01, 0x90 } };

	id.bytes[7] = (uint8_t)(number * 37);
	id.bytes[15] = (uint8_t)number;
	return id;
}

struct blaze_id sim_random_id(struct sim_random *random)
{
	unsigned number = sim_below(random, SIM_HOT_RECORDS);

	if (sim_below(random, 4) == 0)
		number = SIM_HOT_RECORDS + sim_below(random, COLD_RECORDS);
	return sim_record_id(number);
}

/* Each value is one that was never written before. */
static void value_set(struct sim_world *world, struct blaze_record *record, const char *name,
                      struct sim_random *random)
{
	static char text[210000];
	unsigned len = (unsigned)snprintf(text, 32, "v%llu ", (unsigned long long)++world->unique);
	unsigned pad = sim_below(random, 50);

	switch (sim_below(random, 8)) {
	case 0:
	case 1:
	case 2:
		blaze_record_set_int(record, name, (int64_t)world->unique);
		return;
	case 3:
		pad += sim_below(random, world->setting.big ? 200000 : 600);
		break;
	case 4:
		pad = 0;
		break;
	default:
		break;
	}
	memset(text + len, 'x', pad);
	text[len + pad] = '\0';
	blaze_record_set_string(record, name, text);
}

struct blaze_record *sim_random_record(struct sim_world *world, bool patch,
                                       struct sim_random *random)
{
	static const char *const names[] = { "a", "bb", "c", "dddd" };
	struct blaze_record *record;
	unsigned fields = sim_below(random, 4);

	if (blaze_record_new(&record) < 0)
		return NULL;
	for (unsigned i = 0; i <= fields; i++) {
		const char *name = names[sim_below(random, 4)];

		if (patch && sim_below(random, 6) == 0)
			blaze_record_unset(record, name);
		else
			value_set(world, record, name, random);
	}
	return record;
}

/* Whether a server wrote, at first, what an op says again. */
static bool server_wrote(const struct sim_txn *txn, const struct reference_op *op)
{
	for (unsigned i = 0; i < txn->content.op_count; i++) {
		const struct reference_op *other = &txn->content.ops[i];

		if (memcmp(op->id, other->id, 16) != 0 || op->existence != other->existence)
			continue;
		/* An existence has no value of its own; a server's has its own H. */
		if (op->existence ? op->alive == other->alive && op->priority == txn->content.hlc
		                  : op->unset == other->unset && op->name_len == other->name_len &&
		                            memcmp(op->name, other->name, op->name_len) == 0 &&
		                            op->value_len == other->value_len &&
		                            memcmp(op->value, other->value, op->value_len) == 0)
			return true;
	}
	return false;
}

/* Notes of a copy's ops which were a server's, and where. */
static void places_note(struct sim_world *world, struct sim_txn *txn)
{
	txn->places = sim_alloc(txn->content.op_count * sizeof(*txn->places));
	for (unsigned i = 0; i < txn->content.op_count; i++)
		for (unsigned k = 0; k < world->origin_count; k++)
			for (unsigned m = 0; m < world->origins[k].count; m++) {
				const struct sim_txn *other = world->origins[k].txns[m];

				if (other->server && !other->copy &&
				    server_wrote(other, &txn->content.ops[i]))
					txn->places[i] = (struct causal_place){ k, m + 1 };
			}
}

struct sim_txn *sim_txn_keep(struct sim_world *world, struct sim_node *node,
                             const struct blazei_txn_view *view, const uint32_t *touched)
{
	struct sim_origin *origin = &world->origins[node->origin];
	struct sim_txn *txn = sim_alloc(sizeof(*txn));

	*txn = (struct sim_txn){ .len = view->len, .origin = node->origin, .server = node->server };
	txn->copy = world->again;
	txn->data = sim_alloc(view->len);
	memcpy(txn->data, view->data, view->len);
	txn->seen = sim_alloc(SIM_ORIGINS_MAX * sizeof(*txn->seen));
	for (unsigned i = 0; i < SIM_ORIGINS_MAX; i++)
		txn->seen[i] = node->bound[i] && node->vector[i] >= node->bound[i]
		                       ? node->bound[i] - 1
		                       : node->vector[i];
	txn->touched = sim_alloc(SIM_ORIGINS_MAX * sizeof(*txn->touched));
	memcpy(txn->touched, touched, SIM_ORIGINS_MAX * sizeof(*txn->touched));
	if (!reference_decode(txn->data, txn->len, &txn->content)) {
		sim_violate(world, "n%u wrote what cannot be decoded", origin->node);
		return NULL;
	}
	if (txn->copy)
		places_note(world, txn);
	if (origin->count == origin->max) {
		struct sim_txn **old = origin->txns;

		origin->max = origin->max * 2 + 32;
		origin->txns = sim_alloc(origin->max * sizeof(struct sim_txn *));
		if (origin->count > 0)
			memcpy(origin->txns, old, origin->count * sizeof(struct sim_txn *));
	}
	origin->txns[origin->count++] = txn;
	if (txn->content.seq != origin->count ||
	    memcmp(txn->content.origin, &origin->id, sizeof(origin->id)) != 0)
		sim_violate(world, "n%u wrote number %llu of its own, and it should be %u",
		            origin->node, (unsigned long long)txn->content.seq, origin->count);
	return txn;
}

/* Whether a reader at the writer sees what was just written. */
static void own_write_check(struct sim_world *world, const struct sim_node *node,
                            const struct blazei_write *write)
{
	unsigned number = (unsigned)(node - world->nodes);
	struct blaze_record *record = NULL;
	int rc = blazei_replica_get(node->replica, write->id, &record);

	if ((rc == 0) != (write->kind != BLAZEI_WRITE_DELETE))
		sim_violate(world, "n%u does not see what it wrote itself", number);
	for (uint32_t i = 0; record && write->record && i < write->record->count; i++) {
		struct blazei_field_view wrote;
		struct blazei_field_view sees;
		int index;

		blazei_record_view(write->record, i, &wrote);
		index = blazei_record_find(record, wrote.name, wrote.name_len);
		if ((index < 0) != wrote.unset) {
			sim_violate(world, "n%u does not see the field that it wrote", number);
			break;
		}
		if (index < 0)
			continue;
		blazei_record_view(record, (unsigned)index, &sees);
		if (sees.value_len != wrote.value_len ||
		    memcmp(sees.value, wrote.value, wrote.value_len) != 0)
			sim_violate(world, "n%u does not see the value that it wrote", number);
	}
	blaze_record_free(record);
}

/* Tells one write. */
static void write_tell(struct sim_world *world, const struct sim_node *node,
                       const struct sim_txn *txn)
{
	const struct sim_origin *origin = &world->origins[node->origin];

	if (!world->trace)
		return;
	printf("n%u writes n%u.%u #%llu H %llu%s:", origin->node, origin->node, origin->run,
	       (unsigned long long)txn->content.seq,
	       (unsigned long long)(txn->content.hlc - SIM_NOW), txn->server ? " as server" : "");
	for (unsigned i = 0; i < txn->content.op_count; i++) {
		const struct reference_op *op = &txn->content.ops[i];

		printf(" r%u/%u", op->id[15], op->life);
		if (op->existence)
			printf(" %s", op->alive ? "alive" : "dead");
		else
			printf(".%.*s%s", op->name_len, (const char *)op->name,
			       op->unset ? " unset" : "");
		if (op->priority > 0)
			printf(" E %lld", (long long)(op->priority - SIM_NOW));
	}
	printf("\n");
}

/* The call itself, tried again where it had no memory. */
static int write_call(struct sim_world *world, struct sim_node *node,
                      const struct blazei_write *write, struct blazei_txn_view *ret_view)
{
	for (unsigned attempt = 0;; attempt++) {
		int rc;

		sim_memory_fail(attempt == 0 ? world->fail_after : 0);
		rc = blazei_replica_write(node->replica, sim_clock(world, node), write, ret_view);
		if (!sim_memory_restore() || rc != -ENOMEM || attempt > 0)
			return rc;
		world->fail_after = 0;
		world->counts[SIM_COUNT_allocations_failed]++;
		sim_observe(world, node, 0);
	}
}

struct sim_txn *sim_written(struct sim_world *world, struct sim_node *node,
                            const struct blazei_txn_view *view, const uint32_t *touched)
{
	struct sim_txn *txn = sim_txn_keep(world, node, view, touched);

	if (!txn)
		return NULL;
	world->counts[SIM_COUNT_transactions]++;
	for (unsigned i = 0; i < txn->content.op_count; i++) {
		const struct reference_op *op = &txn->content.ops[i];

		world->counts[SIM_COUNT_deleted] += op->existence && !op->alive;
		world->counts[SIM_COUNT_born_again] += op->existence && op->alive && op->life > 1;
	}
	write_tell(world, node, txn);
	node->vector[node->origin]++;
	sim_log_append(&node->log, (struct sim_entry){ .txn = txn });
	if (!world->setting.durable_first)
		sim_lane_append(world, node, txn);
	sim_observe(world, node, 0);
	return txn;
}

enum blazei_write_kind sim_random_kind(struct sim_random *random)
{
	static const enum blazei_write_kind kinds[] = {
		BLAZEI_WRITE_UPDATE, BLAZEI_WRITE_UPDATE, BLAZEI_WRITE_UPDATE, BLAZEI_WRITE_UPDATE,
		BLAZEI_WRITE_INSERT, BLAZEI_WRITE_INSERT, BLAZEI_WRITE_UPSERT, BLAZEI_WRITE_DELETE,
		BLAZEI_WRITE_PUT,    BLAZEI_WRITE_DELETE,
	};

	return kinds[sim_below(random, 10)];
}

void sim_write(struct sim_world *world, struct sim_node *node, struct sim_random *random)
{
	const struct blaze_id id = sim_random_id(random);
	struct blazei_write write = { .kind = sim_random_kind(random), .id = &id };
	struct blaze_record *record = NULL;
	struct blazei_txn_view view = { 0 };
	char value[24];
	int rc;

	if (node->mute)
		return;
	if (write.kind == BLAZEI_WRITE_PUT) {
		write.len = (size_t)snprintf(value, sizeof(value), "p%llu",
		                             (unsigned long long)++world->unique);
		write.value = value;
	} else if (write.kind != BLAZEI_WRITE_DELETE) {
		record = sim_random_record(world, write.kind == BLAZEI_WRITE_UPDATE, random);
		/* Now and then what is there already, which is no write. */
		if (write.kind == BLAZEI_WRITE_UPDATE && sim_below(random, 12) == 0) {
			blaze_record_free(record);
			record = NULL;
			if (blazei_replica_get(node->replica, &id, &record) < 0)
				return;
		}
	}
	write.record = record;
	rc = write_call(world, node, &write, &view);
	if (rc < 0 && rc != -EEXIST && rc != -ENOENT && rc != -E2BIG)
		sim_violate(world, "a write fails with %d", rc);
	if (rc == 0 && view.len > 0) {
		world->events[SIM_WRITE]++;
		if (sim_written(world, node, &view, node->vector))
			own_write_check(world, node, &write);
	} else if (rc == 0) {
		world->counts[SIM_COUNT_unchanged]++;
	}
	blaze_record_free(record);
}

/* Receiving ---------------------------------------------------------------------------------- */

void sim_receive(struct sim_world *world, struct sim_node *node, struct sim_txn *const *txns,
                 unsigned count)
{
	struct blazei_txn_view views[BATCH_MAX];
	int rc;

	for (unsigned i = 0; i < count && i < BATCH_MAX; i++)
		views[i] = (struct blazei_txn_view){ txns[i]->data, txns[i]->len };
	world->counts[SIM_COUNT_delivered] += count;
	sim_memory_fail(world->fail_after);
	rc = blazei_replica_receive(node->replica, sim_clock(world, node), views, count);
	if (sim_memory_restore() && rc == -ENOMEM) {
		/* What came before the failure stays, and is a duplicate now. */
		world->fail_after = 0;
		world->counts[SIM_COUNT_allocations_failed]++;
		rc = blazei_replica_receive(node->replica, sim_clock(world, node), views, count);
		rc = rc < 0 ? rc : SIM_UNKNOWN;
	}
	if (rc < 0)
		sim_violate(world, "n%u cannot receive: %d", (unsigned)(node - world->nodes), rc);
	sim_observe(world, node, rc);
}

unsigned sim_poll(struct sim_world *world, struct sim_node *node, struct sim_node *from,
                  unsigned max)
{
	unsigned r = (unsigned)(node - world->nodes);
	unsigned w = (unsigned)(from - world->nodes);
	unsigned oldest = from->lane_first;
	unsigned count = 0;

	if (!sim_linked(world, r, w) || !node->up)
		return 0;
	if (from->lane_count > oldest + SIM_LANE_MAX)
		oldest = from->lane_count - SIM_LANE_MAX;
	if (node->cursors[w] < oldest) {
		world->counts[SIM_COUNT_lapped]++;
		node->behind = true;
		sim_tell(world, "n%u misses %u of n%u, overwritten or lost", r,
		         oldest - node->cursors[w], w);
		node->cursors[w] = from->lane_count;
		return 0;
	}
	while (node->cursors[w] < from->lane_count && count < max && !world->violated) {
		unsigned batch = from->lane_count - node->cursors[w];

		if (batch > BATCH_MAX)
			batch = BATCH_MAX;
		if (batch > max - count)
			batch = max - count;
		sim_tell(world, "n%u reads %u of n%u", r, batch, w);
		node->cursors[w] += batch;
		count += batch;
		sim_receive(world, node, &from->lane[node->cursors[w] - batch], batch);
	}
	return count;
}
