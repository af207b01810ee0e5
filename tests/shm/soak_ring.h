/* SPDX-License-Identifier: Apache-2.0 */
/* What the soak's parent and its workers share: a table in memory, and what a record says.
 *
 * Each start of a worker is an incarnation with a row of its own in the table, which outlives it:
 * what it had published when it was killed is there to be compared with what the others got. */
#ifndef BLAZE_TESTS_SOAK_RING_H
#define BLAZE_TESTS_SOAK_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SOAK_WORKERS   8
#define SOAK_ROWS_MAX  4096
#define SOAK_TEXT      160
#define SOAK_BATCH_MAX 8

enum soak_phase {
	SOAK_RUN,    /* publish and read */
	SOAK_SETTLE, /* publish no more */
	SOAK_CHECK,  /* everybody has settled: read to the end, then compare */
	SOAK_LEAVE,
};

struct soak_row {
	_Atomic uint64_t published; /* records whose publication has returned */
	_Atomic uint64_t attempted; /* those and the ones under way */
	_Atomic uint64_t received;
	_Atomic uint64_t laps;
	_Atomic uint64_t unknown_laps;
	_Atomic uint64_t progress; /* grows while the worker does anything */
	_Atomic uint32_t pid;
	_Atomic uint32_t settled; /* the last phase that it has come to the end of */
	_Atomic uint32_t wrong;
	char first_wrong[SOAK_TEXT];
};

struct soak_table {
	_Atomic uint32_t phase;
	uint32_t lossless;
	uint64_t seed;
	char ring[72];
	struct soak_row rows[SOAK_ROWS_MAX];
};

/* The start of every record; a pattern follows. */
struct soak_stamp {
	uint64_t row;
	uint64_t seq;
	uint64_t before;    /* bytes of the lane that precede it */
	uint64_t attach_ns; /* taken before its publisher attached */
};

/* The worker's whole life; its exit status. */
int soak_worker(struct soak_table *table, uint32_t row);

static inline uint64_t soak_draw(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

#endif
