/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a session, shared by session.c (hellos, both sides), session_ask.c and
 * session_answer.c. */
#ifndef BLAZEI_SESSION_CORE_H
#define BLAZEI_SESSION_CORE_H

#include "lib/repl/stage.h"

/* What the answerer does next. */
enum blazei_give_phase {
	BLAZEI_GIVE_HISTORY, /* transactions that the asker lacks */
	BLAZEI_GIVE_BEGIN,   /* a pass over the rows */
	BLAZEI_GIVE_ROWS,
	BLAZEI_GIVE_TAIL, /* transactions merged since the pass began */
	BLAZEI_GIVE_END,  /* the last message */
	BLAZEI_GIVE_NOTHING,
};

struct blazei_answerer {
	enum blazei_give_phase phase;
	uint64_t *known;  /* what the asker has, by own origin index */
	uint64_t *chains; /* the hash of that; 0: not known */
	uint64_t *base;   /* what it has, the passes before this one included */
	uint64_t *began;  /* the own vector when this pass began */
	unsigned known_count;
	bool below;      /* it is below the frontier */
	bool whole;      /* it gets all registers */
	bool resumed;    /* `began` is not known here, the asker has it */
	unsigned passes; /* that the asker put together */
	uint64_t shape;  /* of the table when the first pass began */
	struct blazei_session_resume place;
	struct blazei_state_cursor rows;
	uint64_t position;                  /* of the next transaction in the history */
	uint64_t target;                    /* and up to where they go */
	unsigned rounds;                    /* times that the target was moved on */
	struct blazei_session_entry *noted; /* the vector at the target */
	unsigned noted_count;
	struct blazei_blobs frozen; /* the chunks of the last pass */
	struct blazei_buffer out;   /* a body on its way, where that is not empty */
	uint64_t out_done;
	uint8_t out_kind;
};

struct blazei_asker {
	bool peer_below; /* the answerer is not heard, with one exception (session_ask.c) */
	bool peer_above; /* which needs that its frontier has the greater rank */
	bool below;      /* the snapshot is for one who is below the answerer's frontier */
	bool staging;    /* what comes belongs to a snapshot */
	struct blazei_blob *body; /* that comes in parts */
	uint64_t have;            /* of it */
	uint8_t kind;
	uint64_t cursor;
	struct blazei_session_entry *vector; /* of LIVE */
	unsigned vector_count;
};

struct blazei_session {
	struct blazei_session_options options;
	struct blazei_origin self; /* when it began: indices hold as long as it is that */
	uint64_t moves;            /* of the vector, likewise */
	struct blazei_session_status status;
	uint64_t peer_id;
	uint32_t sent;
	uint32_t taken;
	bool hello_sent;
	bool hello_taken;
	bool refusal_due;
	struct blazei_answerer answer;
	struct blazei_asker ask;
};

/* session.c ---------------------------------------------------------------------------------- */

/* Ends the session; the error for the caller. */
int blazei_session_fail(struct blazei_session *session, int error);
/* Refuses the other side, which give will tell; the error for the caller. */
int blazei_session_refuse(struct blazei_session *session, enum blazei_session_reason reason);
/* The same for an origin, known here, with two histories: it is quarantined, or the own one. */
int blazei_session_refuse_fork(struct blazei_session *session,
                               const struct blazei_session_entry *forked);
/* Completes a message of this kind in buf, of len bytes. */
int64_t blazei_session_seal(struct blazei_session *session, void *buf, uint8_t kind, size_t len);
/* Writes the own vector to entries, of which there is room for all. */
void blazei_session_vector_write(const struct blazei_replica *replica,
                                 struct blazei_session_entry *entries);

/* session_answer.c --------------------------------------------------------------------------- */

int blazei_answerer_start(struct blazei_session *session, const struct blazei_session_hello *hello);
int64_t blazei_answerer_give(struct blazei_session *session, void *buf, size_t cap);
void blazei_answerer_fini(struct blazei_session *session);

/* session_ask.c ------------------------------------------------------------------------------ */

/* A checked message, not a hello nor a refusal. 0 or the error that it ended with. */
int blazei_asker_take(struct blazei_session *session, uint64_t now_ns,
                      const struct blazei_session_header *header);
void blazei_asker_fini(struct blazei_session *session);

#endif
