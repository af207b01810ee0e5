/* SPDX-License-Identifier: Apache-2.0 */
/* The catch-up session: how a replica that lacks something gets it from one that has it.
 *
 * WHY    Late joiners, lapped readers, restarts, reconnects and healed partitions are all this one
 *        thing, over any medium. So it is a pure state machine, bytes in and bytes out: a transport
 *        carries its messages whole and in order, or the session ends with an error and another
 *        one goes on where it stopped. Both sides run this code; the asker lacks, the answerer has.
 *
 * STATES of either side
 *   OPEN     both say hello, unprompted: format, policy, database, identity, and the vector with
 *            the hash of each origin's last transaction; each checks the other's
 *   RUNNING  the answerer gives transactions, if its history reaches back for every origin that
 *            the asker lacks, else a snapshot: a state in chunks, then the transactions that it
 *            merged meanwhile. Its history may be overrun on the way: then a snapshot after all, or
 *            another pass over what has changed since the last one began.
 *   STAGED   (asker) a snapshot is here whole, nothing of it is merged: look at its vector, then
 *            call blazei_session_install
 *   LIVE     (answerer) everything was sent; (asker) it is merged. Nothing more is taken.
 *   REFUSED  by either side, for the reason that the status tells. Both keep what they have.
 *   FAILED   a message was damaged, out of order or against the rules; a bound was passed
 *
 * INVARIANTS
 *   I1  A snapshot is an exact cut: what was sent are the registers as the transactions up to its
 *       vector made them, no more and no less. It is installed in one step, so neither reader nor
 *       peer ever meets a part of one. After each call, for every register here: its seq is at
 *       most that of its origin in the vector.
 *   I2  Nothing that came is used before it was checked whole: sum, number, order, lengths, and
 *       what it carries.
 *   I3  What the asker holds of a snapshot is bounded by the caller: beyond it the session fails
 *       with -ENOBUFS and the stage is emptied.
 *   I4  A stage outlives its session: the next one with the same answerer goes on after the last
 *       whole chunk, where the answerer's rows and history still allow it; else from the start.
 *   I5  An asker does not hear an answerer that is below the frontier which the asker knows (design
 *       section 4): what such a one wrote had not seen what may be collected here. The answerer
 *       has to ask first: it gets a whole snapshot, and issues its unseen writes anew. Where each
 *       is below the other's frontier, the one whose frontier is lower in rank gives in.
 *   I6  Every give sends one message at most and looks at a bounded part of the replica, but for
 *       the last pass of a snapshot that writes have overrun PASSES times (session_answer.c).
 *
 * CONCURRENCY None: give, take and install are calls of the replica; its lock is held. */
#ifndef BLAZEI_SESSION_H
#define BLAZEI_SESSION_H

#include "lib/repl/replica.h"

#define BLAZEI_SESSION_MESSAGE_MAX (256u * 1024u) /* no message is longer */
#define BLAZEI_SESSION_MESSAGE_MIN (16u * 1024u)  /* the least that a transport must carry */

struct blazei_session;
struct blazei_stage;

enum blazei_session_side {
	BLAZEI_SESSION_ASKER,
	BLAZEI_SESSION_ANSWERER,
};

enum blazei_session_state {
	BLAZEI_SESSION_OPEN,
	BLAZEI_SESSION_RUNNING,
	BLAZEI_SESSION_STAGED,
	BLAZEI_SESSION_LIVE,
	BLAZEI_SESSION_REFUSED,
	BLAZEI_SESSION_FAILED,
};

/* Why a session was refused: number on the wire, name, error, sentence. */
#define BLAZEI_SESSION_REASONS(X)                                                                  \
	X(1, FORMAT_DIFFERS, EPROTO, "the other side speaks another format")                       \
	X(2, POLICY, EPROTO, "the two databases merge by different policies")                      \
	X(3, DATABASE, EPROTO, "the two are not the same database")                                \
	X(4, IDENTITY, EEXIST,                                                                     \
	  "one side has the other's identity, or knows of more writes under it")                   \
	X(5, FORK, EBADMSG, "an origin has two histories")                                         \
	X(6, QUARANTINED, EPERM, "the other side is in quarantine here")                           \
	X(7, NOT_ALLOWED, EPERM, "the other side may not read this database")                      \
	X(8, BUSY, EBUSY, "no room or memory for another session at present")                      \
	X(9, BELOW_FRONTIER, ESTALE,                                                               \
	  "the other side lacks what all were to have: it has to take a snapshot first")

enum blazei_session_reason {
	BLAZEI_SESSION_NO_REASON,
#define BLAZEI_REASON_ENUM(number, name, error, text) BLAZEI_SESSION_##name = (number),
	BLAZEI_SESSION_REASONS(BLAZEI_REASON_ENUM)
#undef BLAZEI_REASON_ENUM
};

/* The sentence for a reason; "" for none. */
const char *blazei_session_reason_text(enum blazei_session_reason reason);

/* An entry of a vector that also tells the chained hash of transaction seq, 0 where it is not
 * known. In that of the incarnations that are over, seq is the mark, chain the heir's incarnation
 * and hlc the heir's seq (mark.h). */
struct blazei_session_entry {
	struct blazei_origin origin;
	uint64_t seq;
	uint64_t chain;
	uint64_t hlc; /* the H of number seq; 0: not known */
};

struct blazei_session_options {
	struct blazei_replica *replica; /* outlives the session */
	enum blazei_session_side side;
	enum blazei_session_reason refuse; /* answerer: refuse for this reason, whoever asks */
	uint64_t id;                /* any number that no other session of the same medium has:
	                                    * a message of another one is told by it */
	struct blaze_id database;   /* all zero: not known, fits any */
	struct blazei_stage *stage; /* asker: what it holds of a snapshot; outlives the session */
	bool whole; /* answerer: a whole snapshot even for one that is not below the frontier */
	/* asker: where it was below the frontier, it holds the snapshot after that, and nothing
	 * else; what nobody has seen of its own writes waits in the stage, to be issued anew
	 * (reissue.h) */
	bool anew;
};

struct blazei_session_status {
	enum blazei_session_state state;
	enum blazei_session_reason reason; /* where it is REFUSED */
	bool by_peer;                      /* it was refused by the other side */
	int error;                         /* 0, or why it ended: negative */
	struct blazei_origin peer;         /* who is at the other side, once its hello came */
	struct blazei_origin forked;       /* FORK, QUARANTINED: which origin */
	uint64_t forked_seq;               /* FORK: where */
	uint64_t txns;                     /* transactions given, or applied here */
	uint64_t chunks;                   /* of snapshots, given or taken */
	/* The asker takes a snapshot of everything, which removes what was collected; where it was
	 * below the frontier, it issues anew what the vector does not have of its own writes
	 * (reissue.h). */
	bool whole;
	bool resumed;    /* a snapshot went on where an earlier session stopped */
	unsigned passes; /* of snapshots, begun */
};

/* What an asker has of a snapshot, in at most bytes_max bytes. */
int blazei_stage_new(uint64_t bytes_max, struct blazei_stage **ret_stage);
void blazei_stage_free(struct blazei_stage *stage);
/* Forgets all of it. */
void blazei_stage_clear(struct blazei_stage *stage);
uint64_t blazei_stage_bytes(const struct blazei_stage *stage);
/* Own writes that wait to be issued anew; clearing the stage does not forget them. */
struct blazei_unseen_list;
struct blazei_unseen_list *blazei_stage_unseen(struct blazei_stage *stage);

/* 0 or -ENOMEM, -EINVAL (an asker without stage). */
int blazei_session_new(const struct blazei_session_options *options,
                       struct blazei_session **ret_session);
void blazei_session_free(struct blazei_session *session);

/* The next message for the other side into buf, 8-byte aligned, of cap bytes, at least
 * BLAZEI_SESSION_MESSAGE_MIN. To be called after new and after each take until it returns 0, also
 * in REFUSED, of which the other side should be told. The message's bytes, a multiple of 8; 0:
 * nothing now; -ENOMEM: nothing was changed, try later; -EMSGSIZE: a vector is longer than cap;
 * -ECANCELED: the replica took another identity, which ends the session; -EINVAL. */
int64_t blazei_session_give(struct blazei_session *session, uint64_t now_ns, void *buf, size_t cap);

/* A message from the other side, in 8-byte aligned private memory. 0, or the error that the session
 * has ended with, as the status tells it: -EBADMSG, -ENOMEM, -ENOBUFS, -EAGAIN (a clock is ahead),
 * a reason's error. */
int blazei_session_take(struct blazei_session *session, uint64_t now_ns, const void *data,
                        size_t len);

/* Asker, STAGED: merges the snapshot in one step and is LIVE. With `anew` and a whole snapshot the
 * replica may be displaced afterwards: it leaves its name (blazei_replica_leave_name) and issues
 * what the stage holds, before anything else is written. 0; -ENOMEM: STAGED still, call it again;
 * -EBADMSG, a fork's error: it contradicts itself or what is here, -E2BIG: it has one origin too
 * many: the session has ended, nothing was merged; -EINVAL: not STAGED. */
int blazei_session_install(struct blazei_session *session, uint64_t now_ns);

void blazei_session_status(const struct blazei_session *session,
                           struct blazei_session_status *ret_status);

/* The vector as of which the asker is complete: once LIVE, and what a STAGED snapshot would raise
 * the own one to. Valid until the next call with this session. */
unsigned blazei_session_vector(const struct blazei_session *session,
                               const struct blazei_session_entry **ret_entries);

#endif
