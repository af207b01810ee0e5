/* SPDX-License-Identifier: Apache-2.0 */
/* Looking into a store's directory, for the program blaze-db: what recovery finds, and every frame
 * and transaction, the damaged places included. Nothing there is changed, and no lock is taken. */
#ifndef BLAZEI_STORE_SURVEY_H
#define BLAZEI_STORE_SURVEY_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include <blaze/base.h>

struct blazei_survey_store {
	struct blaze_id store;
	struct blaze_id node;
	uint32_t policy; /* enum blaze_policy */
	uint32_t segments;
	uint64_t bytes;        /* of the log, as far as it counts */
	uint64_t start;        /* log sequence number of the checkpoint it begins with, or 0 */
	uint64_t last;         /* that of its last entry */
	uint64_t transactions; /* that it holds, from there on */
	uint64_t in_tail;      /* of these: not on the disk yet */
	bool open;             /* its last segment has no recorded end */
	bool torn;             /* and something lies behind what recovery takes of it */
	bool lost; /* the next opening to write counts a cut, unless somebody has it open */
};

/* What recovery finds. 0; -EBADMSG: damage, and the log hook gets the place; -ENOENT: no store;
 * -EPROTO a later version; -EAGAIN it was compacted meanwhile; -ENOMEM and errors of the system. */
int blazei_survey_store(const char *dir, struct blazei_survey_store *ret_store);

struct blazei_survey_frame {
	uint64_t segment;
	uint64_t offset;
	uint64_t bytes;
	bool valid; /* false: nothing valid stands in these bytes, and what follows is not known */
	bool more;  /* its last transaction goes on in the next frame */
	uint16_t kind;
	uint32_t count;
	uint32_t raw_bytes;
	uint32_t stored_bytes;
	uint64_t first_lsn;
	uint64_t durable_lsn;
};

struct blazei_survey_txn {
	uint64_t lsn;
	uint64_t bytes;
	struct blaze_id node;
	uint64_t incarnation;
	uint64_t seq;
	uint64_t time_ns;
	json_t *operations; /* an array; NULL where it does not decode, or: */
	const char *part;   /* no transaction: checkpoint, begin, state, end, drop; else NULL */
};

struct blazei_survey_visitors {
	/* Either may be NULL. Non-zero ends the survey and is its result. */
	int (*frame)(void *arg, const struct blazei_survey_frame *frame);
	int (*txn)(void *arg, const struct blazei_survey_txn *txn);
	void *arg;
};

/* All frames of all segments in their order, each followed by the transactions that end in it. What
 * lies behind the recorded end of a segment, and zeros behind the last frame of one without, is
 * passed over, and so are transactions before the checkpoint that the log begins with. 0; errors as
 * above, -EBADMSG for the root only; a segment that is missing is an invalid frame of no bytes. */
int blazei_survey_frames(const char *dir, const struct blazei_survey_visitors *visitors);

/* Copies the transactions before the first damage to another directory: lib/store/backup.h. */
int blazei_survey_salvage(const char *from, const char *to, uint64_t *ret_lsn);

#endif
