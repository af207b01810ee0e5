/* SPDX-License-Identifier: Apache-2.0 */
/* Units that are all there is, as they are written; see checkpoint.h, and logged.h for the one that
 * a replica writes whose log is behind. */
#include "lib/repl/checkpoint.h"

#include <stdlib.h>

#include "lib/repl/core.h"
#include "lib/repl/logged.h"

#define CHUNK_BYTES (UINT64_C(240) << 10) /* no further row once there: most fit a frame */

/* Logs a begin: the vector, and what names were left. 0 or -ENOMEM. */
static int begin_log(struct blazei_checkpoint *checkpoint, uint16_t flags)
{
	struct blazei_replica *replica = checkpoint->replica;
	const struct blazei_vector *vector = &replica->vector;
	struct blazei_unit_bound *begin = blazei_unit_new(BLAZEI_KIND_BEGIN, vector->count);

	if (!begin)
		return -ENOMEM;
	begin->flags = flags;
	for (unsigned i = 0; i < vector->count; i++) {
		const struct blazei_writer *writer = &vector->writers[i];
		const bool quarantined = writer->halted & BLAZEI_HALTED_QUARANTINED;
		struct blazei_unit_item *item;

		if (writer->seq == 0 && !quarantined)
			continue;
		item = blazei_unit_add(begin, &vector->origins[i]);
		item->seq = writer->seq;
		item->chain = writer->chain_known ? writer->chain : 0;
		item->hlc = writer->hlc;
		item->dep_max = writer->dep_max;
		item->flags = writer->seq > 0 ? BLAZEI_UNIT_VECTOR : 0;
		item->flags |= writer->left ? BLAZEI_UNIT_LEFT : 0;
		item->flags |= quarantined ? BLAZEI_UNIT_QUARANTINED : 0;
	}
	replica->log.append(replica->log.arg, begin, begin->bytes);
	checkpoint->bytes += begin->bytes;
	free(begin);
	return 0;
}

/* Logs the end: the vector. */
static void end_log(struct blazei_checkpoint *checkpoint)
{
	struct blazei_replica *replica = checkpoint->replica;
	const struct blazei_vector *vector = &replica->vector;
	struct blazei_unit_bound *end = checkpoint->end;

	for (unsigned i = 0; i < vector->count; i++) {
		const struct blazei_writer *writer = &vector->writers[i];
		struct blazei_unit_item *item;

		if (writer->seq == 0)
			continue;
		item = blazei_unit_add(end, &vector->origins[i]);
		item->seq = writer->seq;
		item->chain = writer->chain_known ? writer->chain : 0;
		item->hlc = writer->hlc;
		item->flags = BLAZEI_UNIT_VECTOR;
	}
	replica->log.append(replica->log.arg, end, end->bytes);
	checkpoint->bytes += end->bytes;
}

static void close(struct blazei_checkpoint *checkpoint)
{
	free(checkpoint->end);
	free(checkpoint->known);
	free(checkpoint->chunk);
	checkpoint->end = NULL;
	checkpoint->known = NULL;
	checkpoint->chunk = NULL;
	checkpoint->replica = NULL;
}

/* With all the memory that it takes: what has begun in the log can be ended. */
static int open(struct blazei_checkpoint *checkpoint, struct blazei_replica *replica,
                uint16_t flags)
{
	int rc;

	*checkpoint = (struct blazei_checkpoint){
		.replica = replica,
		.shape = replica->table.shape,
		.units = replica->units,
		/* Origins may come meanwhile. */
		.end = blazei_unit_new(BLAZEI_KIND_END, BLAZEI_ORIGINS_MAX),
		.known = calloc(BLAZEI_PLACES_MAX, sizeof(*checkpoint->known)),
		.chunk = malloc(BLAZEI_STATE_BYTES_MAX),
	};
	rc = checkpoint->end && checkpoint->known && checkpoint->chunk
	             ? begin_log(checkpoint, flags)
	             : -ENOMEM;
	if (rc < 0)
		close(checkpoint);
	return rc;
}

/* Whether there are more chunks; where not, it is closed. */
static bool step(struct blazei_checkpoint *checkpoint)
{
	struct blazei_replica *replica = checkpoint->replica;
	struct blazei_state_cursor cursor = { .next = checkpoint->row };
	const struct blazei_txn_header *header = checkpoint->chunk;
	int64_t bytes = blazei_state_encode(replica, checkpoint->known, &cursor, checkpoint->chunk,
	                                    CHUNK_BYTES);

	checkpoint->row = cursor.next;
	if (bytes > 0 && header->record_count > 0) {
		replica->log.append(replica->log.arg, checkpoint->chunk, (size_t)bytes);
		checkpoint->bytes += (uint64_t)bytes;
	}
	if (!cursor.end)
		return true;
	end_log(checkpoint);
	close(checkpoint);
	return false;
}

int blazei_checkpoint_begin(struct blazei_checkpoint *checkpoint, struct blazei_replica *replica)
{
	int rc = -EAGAIN;

	if (replica->logging)
		rc = open(checkpoint, replica, BLAZEI_UNIT_ALL | BLAZEI_UNIT_CHECKPOINT);
	else
		*checkpoint = (struct blazei_checkpoint){ .replica = NULL };
	replica->checkpoint = rc == 0;
	return rc;
}

int blazei_checkpoint_step(struct blazei_checkpoint *checkpoint)
{
	struct blazei_replica *replica = checkpoint->replica;

	if (!replica->logging || checkpoint->units != replica->units ||
	    checkpoint->shape != replica->table.shape) {
		blazei_checkpoint_drop(checkpoint);
		return -ESTALE;
	}
	replica->checkpoint = step(checkpoint);
	return replica->checkpoint;
}

void blazei_checkpoint_drop(struct blazei_checkpoint *checkpoint)
{
	struct blazei_replica *replica = checkpoint->replica;

	if (!replica)
		return;
	/* Another unit, or that the log is behind, has said so. */
	if (replica->logging && checkpoint->units == replica->units)
		blazei_logged_drop(replica);
	replica->checkpoint = false;
	close(checkpoint);
}

int blazei_replica_log_all(struct blazei_replica *replica)
{
	struct blazei_checkpoint all;
	int rc;

	if (!replica->log_behind)
		return 0;
	rc = open(&all, replica, BLAZEI_UNIT_ALL);
	if (rc < 0)
		return rc;
	while (step(&all))
		;
	replica->log_behind = false;
	replica->logging = true;
	return 0;
}
