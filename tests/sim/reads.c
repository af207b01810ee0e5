/* SPDX-License-Identifier: Apache-2.0 */
/* Reads: all ways to read show the same, with the lock or without it, one by one or in order; and
 * within a transaction its own writes show. */
#include "lib/repl/writeset.h"
#include "tests/sim/sim.h"

#define VALUE_MAX 64u

/* What fetch says of a record must be what it says without the lock. */
static bool fetches_agree(const struct sim_node *node, const struct blaze_id *id)
{
	uint8_t values[2][VALUE_MAX];
	int one = blazei_replica_fetch(node->replica, id, values[0], VALUE_MAX);
	int two = blazei_replica_peek_fetch(node->replica, id, values[1], VALUE_MAX);

	/* A record that is long is read with the lock. */
	if (two == -EAGAIN)
		return true;
	return one == two &&
	       (one <= 0 ||
	        memcmp(values[0], values[1], one < (int)VALUE_MAX ? (size_t)one : VALUE_MAX) == 0);
}

static bool gets_agree(const struct sim_node *node, const struct blaze_id *id, bool alive)
{
	struct blaze_record *one = NULL;
	struct blaze_record *two = NULL;
	int rc = blazei_replica_get(node->replica, id, &one);
	int peeked = blazei_replica_peek_get(node->replica, id, &two);
	bool agree = rc == (alive ? 0 : -ENOENT) && (peeked == rc || peeked == -EAGAIN);

	if (one && two)
		agree = agree && sim_record_digest(one) == sim_record_digest(two);
	blaze_record_free(one);
	blaze_record_free(two);
	return agree;
}

/* What fails for lack of memory fails as such, and works the next time. */
static void hash_check(struct sim_world *world, const struct sim_node *node)
{
	uint8_t digests[2][16];
	int rc;

	sim_memory_fail(world->fail_after);
	rc = blazei_replica_hash_stamps(node->replica, digests[0]);
	if (sim_memory_restore()) {
		world->fail_after = 0;
		world->counts[SIM_COUNT_allocations_failed]++;
		if (rc == -ENOMEM)
			rc = blazei_replica_hash_stamps(node->replica, digests[0]);
	}
	if (rc < 0 || blazei_replica_hash_stamps(node->replica, digests[1]) < 0 ||
	    memcmp(digests[0], digests[1], sizeof(digests[0])) != 0)
		sim_violate(world, "n%u cannot be hashed: %d", (unsigned)(node - world->nodes), rc);
}

void sim_reads_check(struct sim_world *world, const struct sim_node *node)
{
	const unsigned number = (unsigned)(node - world->nodes);
	const struct blaze_id none = { { 0xee } };
	const struct blaze_id *from = NULL;
	struct blaze_id next;
	struct blaze_id id;
	uint64_t seen = 0;
	uint64_t count;

	if (world->fail_after > 0)
		hash_check(world, node);
	while (blazei_replica_next_id(node->replica, from, &id) == 0 && !world->violated) {
		int i = sizeof(id.bytes) - 1;

		if (!gets_agree(node, &id, true) || !fetches_agree(node, &id))
			sim_violate(world, "n%u reads one record in two ways", number);
		seen++;
		next = id;
		while (i >= 0 && ++next.bytes[i] == 0)
			i--;
		from = &next;
	}
	if (!gets_agree(node, &none, false) || !fetches_agree(node, &none))
		sim_violate(world, "n%u reads a record that is not there", number);
	if (blazei_replica_peek_count(node->replica, &count) < 0 || count != seen ||
	    blazei_replica_count(node->replica) != seen)
		sim_violate(world, "n%u counts other records than it lists", number);
	world->counts[SIM_COUNT_read] += seen;
}

void sim_own_read_check(struct sim_world *world, struct sim_node *node,
                        const struct blazei_write *write)
{
	uint8_t value[VALUE_MAX];
	struct blaze_record *record = NULL;
	int rc = blazei_writeset_get(node->replica, node->writes, write->id, &record);
	int len = blazei_writeset_fetch(node->replica, node->writes, write->id, value, VALUE_MAX);

	world->counts[SIM_COUNT_own_writes_read]++;
	if ((rc == 0) != (write->kind != BLAZEI_WRITE_DELETE) || (rc < 0 && len >= 0))
		sim_violate(world, "a transaction of n%u does not see what it wrote",
		            (unsigned)(node - world->nodes));
	if (write->kind == BLAZEI_WRITE_PUT &&
	    (len != (int)write->len || memcmp(value, write->value, write->len) != 0))
		sim_violate(world, "a transaction of n%u does not see the bytes that it put",
		            (unsigned)(node - world->nodes));
	blaze_record_free(record);
}
