/* SPDX-License-Identifier: Apache-2.0 */
/* A log in memory, entry by entry, and replays of parts of it. */
#ifndef TESTS_REPL_LOG_TAPE_H
#define TESTS_REPL_LOG_TAPE_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "lib/repl/core.h"
#include "lib/repl/logged.h"

#define TAPE_MAX 8192u

struct tape {
	uint64_t *entries[TAPE_MAX];
	unsigned count;
};

static inline void tape_append(void *arg, const void *entry, size_t len)
{
	struct tape *tape = arg;

	ck_assert_uint_lt(tape->count, TAPE_MAX);
	ck_assert_int_eq(blazei_logged_check(entry, len), 0);
	tape->entries[tape->count] = malloc(len);
	memcpy(tape->entries[tape->count++], entry, len);
}

static inline const struct blazei_unit_bound *tape_bound(const struct tape *tape, unsigned i)
{
	return (const void *)tape->entries[i];
}

static inline void tape_clear(struct tape *tape)
{
	while (tape->count > 0)
		free(tape->entries[--tape->count]);
}

/* Replays entries first to end - 1. 0 or the error; fini with blazei_replica_free and
 * blazei_replay_fini either way. */
static inline int tape_replay(const struct tape *tape, unsigned first, unsigned end,
                              const struct blazei_replica_options *options,
                              struct blazei_replay *ret_replay)
{
	int rc = blazei_replay_init(ret_replay, options);

	for (unsigned i = first; i < end && rc == 0; i++)
		rc = blazei_replay_entry(ret_replay, tape->entries[i]);
	return rc;
}

static inline void tape_free(struct blazei_replay *replay)
{
	blazei_replica_free(replay->replica);
	blazei_replay_fini(replay);
}

/* Both have the same registers, stamps and vectors. */
static inline void tape_expect_same(struct blazei_replica *a, struct blazei_replica *b)
{
	uint8_t hashes[2][16];

	ck_assert_int_eq(blazei_replica_hash_stamps(a, hashes[0]), 0);
	ck_assert_int_eq(blazei_replica_hash_stamps(b, hashes[1]), 0);
	ck_assert_mem_eq(hashes[0], hashes[1], 16);
	for (unsigned i = 0; i < a->vector.count; i++)
		ck_assert_uint_eq(a->vector.writers[i].seq,
		                  blazei_replica_vector_seq(b, &a->vector.origins[i]));
	for (unsigned i = 0; i < b->vector.count; i++)
		ck_assert_uint_eq(b->vector.writers[i].seq,
		                  blazei_replica_vector_seq(a, &b->vector.origins[i]));
}

#endif
