/* SPDX-License-Identifier: Apache-2.0 */
/* The backend "fault:", in memory: it fails where it is told to, and shows what a power cut may
 * leave.
 *
 * WHY    Appends are contiguous and a sync covers a whole segment, so all that is at stake at any
 *        moment lies between `synced` and `len` of each segment. A crash state is therefore a copy
 *        of the medium in which each block there is kept, lost, garbage or of another place; no
 *        record of past writes is needed. A segment that was deleted may be back.
 *
 * CONCURRENCY  One thread. The medium that is opened is the one `fault_medium` points to. */
#ifndef TESTS_STORE_FAULT_H
#define TESTS_STORE_FAULT_H

#include <blaze/store.h>

#include "lib/base/base.h"

#define FAULT_SEGMENTS      64u
#define FAULT_BLOCK         4096u
#define FAULT_SEGMENT_BYTES (UINT64_C(1) << 20)
#define FAULT_ROOT_BYTES    (64u << 10)
#define FAULT_DUE_MAX       8u

struct fault_segment {
	bool there;
	bool gone;   /* it was deleted, and data is what it had */
	bool failed; /* an append or sync: nothing more of it succeeds */
	uint64_t len;
	uint64_t synced;
	uint8_t *data;
};

struct fault_medium {
	struct fault_segment segments[FAULT_SEGMENTS];
	uint32_t block_bytes; /* what is written as a whole; 0: FAULT_BLOCK */
	uint8_t *root;
	size_t root_len;
	uint64_t root_version;
	unsigned completion_count;
	struct blaze_store_completion completions[FAULT_DUE_MAX];
	bool open;
	uint64_t grows; /* the segment that was created last, since it was opened */
	/* Called before and after each change; NULL: not at all. */
	void (*moment)(void *arg);
	void *arg;
	unsigned fail_in;    /* the operation from here that fails; 0: none */
	unsigned fail_count; /* how many fail from there on */
	bool fails_late;     /* a root exchange that fails was made all the same */
	unsigned reads;      /* of segments, so far */
	unsigned deletes;    /* likewise */
};

extern struct fault_medium *fault_medium;
extern const struct blaze_store_ops fault_ops;

/* The state that the death of the process leaves: what no sync has covered is there, and may go
 * with the power. */
void fault_kill(const struct fault_medium *medium, struct fault_medium *ret_copy);
/* A state that a power cut now may leave, by this seed. */
void fault_crash(const struct fault_medium *medium, unsigned *seed, struct fault_medium *ret_copy);
void fault_clear(struct fault_medium *medium);

#endif
