/* SPDX-License-Identifier: Apache-2.0 */
/* Under which name a store that is opened goes on writing: the rules of design section 4, "Origin",
 * as one decision over what was stored, what was left, and what others have.
 *
 * WHY    seq names a transaction for good, so none may be given twice. A store that was copied,
 *        restored from a backup or cut by a crash does not know by itself that others hold later
 *        transactions of its origin. Going on where the store ends is right only after a clean
 *        close, which leaves a token beside the store that equals the one within it (in life a note
 *        which says what can't be set back: lib/store/closed.h). In every other case a new
 *        incarnation costs 24 bytes, and a wrong guess costs a fork. (Rejected: to ask the others
 *        for the last seq; they may not be there.)
 *
 * INVARIANTS
 *   I1   CONTINUE is answered only where the token matches and nobody holds anything of the origin
 *        that the store does not.
 *   I2   Of two that live under one node id exactly one, the later one, is told to take a new one:
 *        the order is total, so both sides agree on it. */
#ifndef BLAZEI_IDENTITY_H
#define BLAZEI_IDENTITY_H

#include "lib/repl/replica.h"

enum blazei_identity {
	BLAZEI_IDENTITY_CONTINUE,
	BLAZEI_IDENTITY_NEW_INCARNATION, /* same node; durable before the first publish */
	BLAZEI_IDENTITY_NEW_NODE,        /* a new node id too, and the role is peer */
};

/* What the store holds. */
struct blazei_identity_stored {
	struct blazei_origin self;
	struct blaze_id token;
	uint64_t chain; /* of the own transaction number seq of its vector */
	const struct blazei_vector_entry *vector; /* that is durable in it */
	unsigned count;
};

/* What is known elsewhere of the node id. */
struct blazei_identity_seen {
	const struct blaze_id *token; /* that a clean close left beside the store; NULL: none */
	bool alive;                   /* somebody lives under it */
	uint64_t seq;                 /* the highest of the stored origin that anybody holds */
	uint64_t chain;               /* its chain; 0: not known */
	const struct blazei_vector_entry *vector; /* the last one that it reported as durable */
	unsigned count;
};

enum blazei_identity blazei_identity_decide(const struct blazei_identity_stored *stored,
                                            const struct blazei_identity_seen *seen);

/* One run under a node id: its incarnation, and the H at which that began. */
struct blazei_identity_run {
	uint64_t incarnation;
	uint64_t began_hlc;
};

/* Of two runs that live under one node id: whether the first is the one that has to give way. */
bool blazei_identity_is_late(const struct blazei_identity_run *run,
                             const struct blazei_identity_run *other);

#endif
