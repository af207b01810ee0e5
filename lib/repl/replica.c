/* SPDX-License-Identifier: Apache-2.0 */
/* The replica core: birth and death, counters, and what comes in from others.
 *
 * WHY    A transaction is merged when it is its origin's next and all that it depends on is there;
 *        everything else follows from the version vector: what it covers is a duplicate, on
 *        whichever path it came, and what comes early waits. Batches exist because a merge is
 *        mostly cache misses: while a group of transactions is merged, the records of the next one
 *        and the index of the one after that are on their way.
 *
 * FAILURE Invalid bytes are counted and skipped. -ENOMEM stops before the transaction at hand. */
#include <stdlib.h>

#include "lib/repl/mark_core.h"

#define OPS_MIN 16u

/* Transactions that are fetched at once. A merge takes some 80 ns, memory up to 400; and what a
 * fetch waits for, the translation of an address, overlaps with that of the next fetch only where
 * no merge is between them. */
#define FETCH_GROUP     8u
#define FETCH_SLOTS_MAX (2u * FETCH_GROUP)

int blazei_replica_new(const struct blazei_replica_options *options,
                       struct blazei_replica **ret_replica)
{
	struct blazei_replica *replica;
	unsigned limit;
	int rc = -ENOMEM;

	if (!options || options->policy == BLAZE_POLICY_DEFAULT ||
	    options->hlc_floor > BLAZEI_HLC_FLOOR_MAX ||
	    options->origins_max > BLAZEI_ORIGINS_MAX || blazei_origin_retired(&options->self))
		return -EINVAL;
	replica = blazei_huge_alloc(sizeof(*replica));
	if (!replica)
		return -ENOMEM;
	replica->policy = options->policy;
	replica->clock.last = options->hlc_floor;
	replica->began_hlc = options->hlc_floor;
	replica->txn.max = BLAZEI_TXN_BYTES_MAX;
	blazei_history_init(&replica->history, options->history_bytes);
	replica->ops = calloc(OPS_MIN, sizeof(*replica->ops));
	replica->ops_max = OPS_MIN;
	if (!replica->ops)
		goto out;
	rc = blazei_table_init(&replica->table, options->hash_seed);
	if (rc < 0)
		goto out;
	rc = blazei_names_init(&replica->names, options->hash_seed);
	if (rc < 0)
		goto out;
	limit = options->origins_max ? options->origins_max : BLAZEI_ORIGINS_MAX;
	rc = blazei_vector_init(&replica->vector, &options->self, options->hash_seed,
	                        limit + options->looks);
	if (rc < 0)
		goto out;
	*ret_replica = replica;
	return 0;
out:
	blazei_replica_free(replica);
	return rc;
}

void blazei_replica_free(struct blazei_replica *replica)
{
	if (!replica)
		return;
	blazei_table_fini(&replica->table);
	blazei_names_fini(&replica->names);
	blazei_vector_fini(&replica->vector);
	blazei_order_fini(&replica->order);
	blazei_members_fini(&replica->members);
	blazei_history_fini(&replica->history);
	blazei_buffer_free(&replica->txn);
	free(replica->filter.words);
	free(replica->ops);
	free(replica);
}

void blazei_replica_set_server(struct blazei_replica *replica, bool server)
{
	/* Relaxed: see blazei_is_server. */
	atomic_store_explicit(&replica->server, server, memory_order_relaxed);
}

void blazei_replica_stats(const struct blazei_replica *replica, struct blaze_db_stats *stats)
{
	stats->origins += replica->vector.count;
	stats->records += replica->visible;
	stats->writes += replica->vector.writers[0].seq;
	stats->applied += replica->applied;
	stats->applied_updates += replica->applied_updates;
	stats->conflicts += replica->conflicts;
	stats->duplicates += replica->duplicates;
	stats->parked += replica->parked;
	stats->refused += replica->refused;
	stats->quarantined += replica->quarantined;
	stats->stalled += replica->halted - replica->quarantined;
	stats->memory_bytes += blazei_table_memory(&replica->table) + replica->names.bytes;
	stats->memory_bytes += blazei_history_memory(&replica->history);
	for (unsigned i = 0; i < 2; i++)
		stats->memory_bytes += replica->order.maxes[i] * sizeof(*replica->order.runs[i]);
}

/* What others wrote -------------------------------------------------------------------------- */

static bool deps_hold(const struct blazei_vector *vector, const struct blazei_txn_header *header)
{
	const struct blazei_origin *origins = blazei_txn_origins(header);
	const struct blazei_txn_dep *deps = blazei_txn_deps(header);

	for (unsigned i = 0; i < header->dep_count; i++) {
		uint16_t index = blazei_vector_find(vector, &origins[deps[i].origin]);

		if (index != BLAZEI_ORIGIN_NONE && vector->writers[index].seq >= deps[i].seq)
			continue;
		/* Of one that is known here there is more to come. */
		if (index != BLAZEI_ORIGIN_NONE && vector->writers[index].seq > 0)
			return false;
		if (!blazei_marked(vector, &origins[deps[i].origin], deps[i].hlc))
			return false;
	}
	return true;
}

enum blazei_verdict blazei_judge(const struct blazei_replica *replica, uint64_t now_ns,
                                 const struct blazei_txn_header *header, unsigned writer)
{
	static const struct blazei_writer unknown = { .chain_known = true };
	const struct blazei_writer *known = &unknown;

	if (writer != BLAZEI_ORIGIN_NONE)
		known = &replica->vector.writers[writer];
	if (blazei_unlikely(known->seq == 0 && replica->vector.marks > 0) && writer != 0 &&
	    blazei_marked(&replica->vector, blazei_txn_origins(header), header->hlc))
		return BLAZEI_COVERED;
	if (blazei_is_own(replica, writer))
		return header->seq < known->seq ||
		                       (header->seq == known->seq && header->chain == known->chain)
		               ? BLAZEI_COVERED
		               : BLAZEI_STRANGE;
	if (header->seq <= known->seq) {
		if (header->seq == known->seq && known->chain_known &&
		    header->chain != known->chain)
			return BLAZEI_FORKED;
		return BLAZEI_COVERED;
	}
	if (blazei_unlikely(known->halted & BLAZEI_HALTED_QUARANTINED))
		return BLAZEI_BARRED;
	if (header->seq != known->seq + 1)
		return BLAZEI_EARLY;
	if (known->chain_known && header->prev != known->chain)
		return BLAZEI_FORKED;
	if (blazei_hlc_ahead(header->hlc, now_ns))
		return BLAZEI_AHEAD;
	return deps_hold(&replica->vector, header) ? BLAZEI_READY : BLAZEI_EARLY;
}

int blazei_apply(struct blazei_replica *replica, const struct blazei_txn_header *header,
                 unsigned writer)
{
	struct blazei_writer *known = &replica->vector.writers[writer];
	int64_t updates = blazei_merge_txn(replica, header, writer);

	if (updates < 0)
		return -ENOMEM;
	blazei_history_append(&replica->history, &replica->vector, header);
	known->seq = header->seq;
	known->chain = header->chain;
	known->hlc = header->hlc;
	known->chain_known = true;
	if (blazei_unlikely(replica->logging))
		blazei_logged_txn(replica, header);
	if (blazei_unlikely(known->halted))
		blazei_resume(replica, writer);
	if (blazei_unlikely(writer == 0))
		blazei_vector_told(&replica->vector);
	else
		blazei_vector_advanced(&replica->vector, writer);
	blazei_hlc_observe(&replica->clock, header->hlc);
	replica->applied++;
	replica->applied_updates += (uint64_t)updates;
	return 0;
}

/* A batch comes from one writer, mostly. */
static uint16_t writer_find(struct blazei_replica *replica, const struct blazei_origin *origin)
{
	uint16_t index = replica->recent_writer;

	if (blazei_origin_equal(&replica->vector.origins[index], origin))
		return index;
	index = blazei_vector_find(&replica->vector, origin);
	if (index != BLAZEI_ORIGIN_NONE)
		replica->recent_writer = index;
	return index;
}

/* What becomes of a transaction that is not to be merged now. 0 or -ENOMEM. */
static int set_aside(struct blazei_replica *replica, uint64_t now_ns,
                     const struct blazei_txn_header *header, unsigned writer,
                     enum blazei_verdict verdict)
{
	if (verdict == BLAZEI_FORKED || verdict == BLAZEI_BARRED) {
		replica->refused++;
		/* Without a transaction before it there is no history to contradict. */
		if (writer != BLAZEI_ORIGIN_NONE && replica->vector.writers[writer].seq > 0)
			blazei_quarantine(replica, writer, header->seq);
		return 0;
	}
	if (verdict == BLAZEI_STRANGE) {
		replica->refused++;
		blazei_displace(replica, header->seq);
		return 0;
	}
	if (verdict == BLAZEI_AHEAD)
		blazei_halt_clock(replica, now_ns, writer, header->seq);
	else if (replica->halted > 0)
		blazei_halt_cause(replica, writer, header);
	return blazei_park(replica, writer, header);
}

/* Takes one transaction: the number applied, 0 or 1, or -ENOMEM. */
static int receive_one(struct blazei_replica *replica, uint64_t now_ns,
                       const struct blazei_txn_view *txn)
{
	const struct blazei_txn_header *header = txn->data;
	enum blazei_verdict verdict;
	int writer;

	if (blazei_txn_check(txn->data, txn->len) < 0) {
		replica->refused++;
		return 0;
	}
	writer = writer_find(replica, blazei_txn_origins(header));
	verdict = blazei_judge(replica, now_ns, header, (unsigned)writer);
	if (verdict == BLAZEI_COVERED) {
		replica->duplicates++;
		return 0;
	}
	if (writer == BLAZEI_ORIGIN_NONE && verdict != BLAZEI_FORKED) {
		writer = blazei_vector_admit(&replica->vector, blazei_txn_origins(header),
		                             replica->vector.reserve);
		if (writer >= 0)
			blazei_node_twice(replica, (unsigned)writer, header->seq, header->hlc);
	}
	if (writer == -ENOMEM)
		return writer;
	if (writer < 0) {
		replica->refused++;
		blazei_origins_full(replica, header->seq);
		return 0;
	}
	if (verdict != BLAZEI_READY)
		return set_aside(replica, now_ns, header, (unsigned)writer, verdict);
	return blazei_apply(replica, header, (unsigned)writer) < 0 ? -ENOMEM : 1;
}

/* Where the first group's id should be, for fetching ahead; NULL where the sizes make no sense. */
static const struct blaze_id *first_id(const struct blazei_txn_view *txn)
{
	const struct blazei_txn_header *header = txn->data;
	size_t at = sizeof(*header);

	if (txn->len < sizeof(*header))
		return NULL;
	at += header->origin_count * sizeof(struct blazei_origin);
	at += header->dep_count * sizeof(struct blazei_txn_dep);
	if (txn->len < at + sizeof(struct blazei_txn_group))
		return NULL;
	return (const struct blaze_id *)((const uint8_t *)txn->data + at);
}

/* The hashes of transactions further on in the batch, by their number. */
struct ahead {
	uint64_t hashes[FETCH_SLOTS_MAX];
	bool known[FETCH_SLOTS_MAX];
};

/* Fetches for the transactions from `first` on what is wanted first: their places in the index. */
static void fetch_slots(const struct blazei_table *table, struct ahead *ahead,
                        const struct blazei_txn_view *txns, unsigned first, unsigned count)
{
	for (unsigned at = first; at < first + FETCH_GROUP && at < count; at++) {
		const struct blaze_id *id = first_id(&txns[at]);
		unsigned i = at % FETCH_SLOTS_MAX;

		ahead->known[i] = id;
		if (!id)
			continue;
		ahead->hashes[i] = blazei_table_hash(table, id);
		blazei_table_prefetch(table, ahead->hashes[i]);
	}
}

/* Once these have come: their rows. Inlined for the same reason as what it calls. */
static inline __attribute__((always_inline)) void fetch_rows(const struct blazei_table *table,
                                                             const struct ahead *ahead,
                                                             unsigned first, unsigned count)
{
	for (unsigned at = first; at < first + FETCH_GROUP && at < count; at++)
		if (ahead->known[at % FETCH_SLOTS_MAX])
			blazei_table_prefetch_row(table, ahead->hashes[at % FETCH_SLOTS_MAX]);
}

int blazei_replica_receive(struct blazei_replica *replica, uint64_t now_ns,
                           const struct blazei_txn_view *txns, unsigned count)
{
	struct ahead ahead;
	int applied = 0;
	int rc;

	fetch_slots(&replica->table, &ahead, txns, 0, count);
	fetch_slots(&replica->table, &ahead, txns, FETCH_GROUP, count);
	fetch_rows(&replica->table, &ahead, 0, count);
	for (unsigned i = 0; i < count; i++) {
		if (i % FETCH_GROUP == 0) {
			fetch_rows(&replica->table, &ahead, i + FETCH_GROUP, count);
			fetch_slots(&replica->table, &ahead, txns, i + 2 * FETCH_GROUP, count);
		}
		rc = receive_one(replica, now_ns, &txns[i]);
		if (rc < 0)
			return rc;
		applied += rc;
	}
	if (replica->parked == 0)
		return applied;
	rc = blazei_park_drain(replica, now_ns);
	return rc < 0 ? rc : applied + rc;
}
