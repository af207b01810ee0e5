/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in /dev/shm, for the program blaze-ring: the one inner header that a program may see.
 *
 * Nothing here attaches unless it says so. What is read was written by others: it is copied and
 * validated as everywhere in shm/; what cannot be read has its error in the result. */
#ifndef BLAZEI_SHM_SURVEY_H
#define BLAZEI_SHM_SURVEY_H

#include <stdbool.h>
#include <stdint.h>

#include <blaze/ring.h>

#define BLAZEI_SURVEY_MEMBERS_MAX 256u

struct blazei_survey_ring {
	char name[BLAZE_RING_NAME_MAX + 1];
	struct blaze_id id;
	uint32_t mode;
	uint32_t participants_max;
	uint32_t live;
	uint32_t dead;       /* lanes whose owners have gone */
	uint64_t bytes;      /* taken of /dev/shm */
	uint64_t created_ns; /* CLOCK_REALTIME */
	int error;           /* negative: the rest is not known, but for name and bytes */
};

struct blazei_survey_member {
	struct blaze_id publisher;
	uint32_t slot;
	uint32_t pid; /* in the owner's namespace */
	char program[32];
	uint64_t lane_bytes;
	uint64_t published; /* position */
	uint64_t attached_ns;
	bool live, reading, sleeping, read_only, lossless;
	int error;
};

/* Non-zero ends the visit and is its result. */
typedef int (*blazei_survey_visitor)(void *arg, const struct blazei_survey_ring *ring);

/* Visits the caller's rings of this mode (0600 or 0660), in no order. 0, also where there are
 * none; -EACCES. */
int blazei_survey_rings(uint32_t mode, blazei_survey_visitor visitor, void *arg);

/* Looks at one ring and its participants, at most `cap`. Returns their number; -ENOENT; ring->error
 * where it cannot be read. */
int blazei_survey_members(uint32_t mode, const char *name, struct blazei_survey_ring *ret_ring,
                          struct blazei_survey_member *ret_members, unsigned cap);

/* Removes a ring, in use or not. -ENOENT. */
int blazei_survey_remove(uint32_t mode, const char *name);

enum blazei_survey_verdict {
	BLAZEI_SURVEY_RING,     /* a ring in which nobody lived: removed */
	BLAZEI_SURVEY_LANES,    /* count lanes of dead participants: removed */
	BLAZEI_SURVEY_LEFTOVER, /* something half created or half removed: removed */
	BLAZEI_SURVEY_KEPT,     /* left alone, because of `error` */
};
typedef void (*blazei_survey_reporter)(void *arg, enum blazei_survey_verdict verdict,
                                       const char *name, unsigned count, int error);

/* Removes what the dead left, telling the reporter of each thing. Attaches for about a second to a
 * ring in use that holds lanes of the dead. 0 or an error. */
int blazei_survey_clean(uint32_t mode, blazei_survey_reporter reporter, void *arg);

#endif
