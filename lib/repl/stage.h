/* SPDX-License-Identifier: Apache-2.0 */
/* What an asker holds of a snapshot until all of it is here, and its installation.
 *
 * WHY    A part of a snapshot that was merged would be in no vector, so nobody would know that
 *        others lack it, and readers would see records that belong together apart. So it all waits
 *        here, checked piece by piece, and is merged in one call. First comes the room for all of
 *        it, which there may not be; then, and these cannot fail, the chunks, the vector V0 as of
 *        which they were begun, and the transactions that the answerer merged since, which carry
 *        the vector on to Vs.
 *
 * INVARIANTS
 *   I1   Every chunk and transaction in it was checked when it came.
 *   I2   blazei_stage_check proves before anything is merged that the transactions lead from V0 to
 *        Vs without a gap and by their hashes, that Vs covers every register, that V0 and Vs agree
 *        with the chains known here and claim no more of this replica's own writes than there are,
 *        and that there is room for all origins.
 *   I3   It takes at most bytes_max, the body that is coming included.
 *   I4   It is installed whole or not at all.
 *   I5   What is poured goes into a replica that is thrown away where the rest fails, and that
 *        nobody reads: of these chunks what they reach of each origin is kept for the check, and
 *        nothing else, so that a log that begins with a state takes its memory once.
 *   I6   Where the replica is to hold the snapshot and nothing else, the snapshot is merged first,
 *        which tells the writes that stand from those that have lost; those that nobody has seen
 *        are listed, then all beyond the cut is forgotten, and the snapshot is merged into what is
 *        left, for which there is room by then. The list stays until it is issued.
 *
 * FAILURE Without memory an installation changes nothing, and may be repeated; with I6, it may have
 *         merged the snapshot like any other, and forgotten nothing. */
#ifndef BLAZEI_STAGE_H
#define BLAZEI_STAGE_H

#include "lib/repl/core.h"
#include "lib/repl/reissue.h"
#include "lib/repl/session_wire.h"

struct blazei_blob {
	struct blazei_blob *next;
	uint64_t len;
	uint64_t words[];
};

struct blazei_blobs {
	struct blazei_blob *first;
	struct blazei_blob *last;
};

struct blazei_stage {
	uint64_t bytes_max;
	uint64_t bytes;
	struct blazei_blobs chunks;
	struct blazei_blobs txns; /* that came after the last pass's chunks */
	struct blazei_origin answerer;
	struct blazei_session_resume resume; /* run 0: the place is no longer one to resume at */
	bool whole;
	bool marks;                      /* those of its vector are taken (mark.h, I5) */
	bool anew;                       /* it is whole, and is to become all that there is */
	struct blazei_session_entry *v0; /* of the last pass */
	unsigned v0_count;
	uint64_t *poured; /* NULL, or by the origin's index the last seq in chunks that were */
	struct blazei_unseen_list unseen;
};

void blazei_blobs_push(struct blazei_blobs *blobs, struct blazei_blob *blob);
/* The first one, or NULL; the caller frees it. */
struct blazei_blob *blazei_blobs_pop(struct blazei_blobs *blobs);

/* Begins a pass, as the message says. 0; -ENOMEM; -EBADMSG: nothing that it could follow on. */
int blazei_stage_begin(struct blazei_stage *stage, const struct blazei_origin *answerer,
                       const struct blazei_session_snapshot *snapshot);

/* Merges a checked chunk of a snapshot that has begun into a replica that holds nothing else, where
 * V0 has all its origins. 1; 0: it is to be staged; -ENOMEM, -EBADMSG, -E2BIG. */
int blazei_stage_pour(struct blazei_stage *stage, struct blazei_replica *replica,
                      const struct blazei_txn_header *header);

/* Whether what is staged, up to Vs, can be installed: 0; -EBADMSG; -ENOMEM; -E2BIG: there
 * is no place for an origin; -EEXIST: *ret_forked has another history here. */
int blazei_stage_check(const struct blazei_stage *stage, struct blazei_replica *replica,
                       const struct blazei_session_entry *vs, unsigned count,
                       struct blazei_session_entry *ret_forked);

struct blazei_stage_cut {
	const struct blazei_session_entry *vs;
	unsigned count;
	bool anew; /* the snapshot, which is whole then, becomes all that there is (I6) */
};

/* Merges what was checked, up to Vs. The number of transactions beyond the chunks, or -ENOMEM,
 * -E2BIG. The replica may be displaced afterwards (I6). */
int blazei_stage_install(struct blazei_stage *stage, struct blazei_replica *replica,
                         uint64_t now_ns, const struct blazei_stage_cut *cut);

/* logged.c: the bounds of a snapshot in the log, made before it is installed, as that may fail. */
struct blazei_logged_unit {
	struct blazei_unit_bound *begin; /* NULL: nothing is logged */
	struct blazei_unit_bound *end;
};

/* 0 or -ENOMEM; to be freed where it is 0. */
int blazei_logged_prepare(struct blazei_logged_unit *unit, const struct blazei_replica *replica,
                          const struct blazei_stage *stage, const struct blazei_stage_cut *cut);
void blazei_logged_stage(struct blazei_replica *replica, const struct blazei_stage *stage,
                         const struct blazei_logged_unit *unit);
void blazei_logged_unit_free(struct blazei_logged_unit *unit);

/* prune.c: removes the registers that no chunk marked and that these entries cover, clears the
 * marks. */
void blazei_prune(struct blazei_replica *replica, const struct blazei_session_entry *entries,
                  unsigned count);
/* Removes the registers that these entries do not cover, and sets the vector back to them. What
 * comes from quarantined origins stays. */
void blazei_forget(struct blazei_replica *replica, const struct blazei_session_entry *entries,
                   unsigned count);

#endif
