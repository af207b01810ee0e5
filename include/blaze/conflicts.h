/* SPDX-License-Identifier: Apache-2.0 */
/* The conflict log: which writes met that did not know each other; see blaze_db_conflicts(3). */
#ifndef BLAZE_CONFLICTS_H
#define BLAZE_CONFLICTS_H

#include <stdint.h>

#include <blaze/base.h>
#include <blaze/db.h>
#include <blaze/record.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What one of the two writes did. */
enum blaze_conflict_kind {
	BLAZE_CONFLICT_SET,   /* gave the field a value */
	BLAZE_CONFLICT_UNSET, /* removed the field */
	BLAZE_CONFLICT_ALIVE, /* inserted the record, or as a server affirmed that it is there */
	BLAZE_CONFLICT_DEAD,  /* deleted the record */
};

/* flags of a side */
#define BLAZE_CONFLICT_LOCAL    (1u << 0) /* written by this database */
#define BLAZE_CONFLICT_SERVER   (1u << 1) /* written by a server, under the server's priority */
#define BLAZE_CONFLICT_TOO_LONG (1u << 2) /* its value, beyond 64 KiB, was not kept */

struct blaze_conflict_side {
	struct blaze_id node; /* who wrote it: the node, its run, and the transaction's number */
	uint64_t incarnation;
	uint64_t seq;
	uint64_t time_ns;     /* hybrid time of the write, in ns since 1970 */
	uint64_t priority_ns; /* that of the last server's write that it is or had seen; 0: none */
	uint32_t kind;        /* enum blaze_conflict_kind */
	uint32_t flags;
	const struct blaze_record *value; /* SET: a record of that one field; else NULL */
};

struct blaze_conflict {
	uint64_t number;    /* 1, 2, ...: the order in which they were noticed here */
	struct blaze_id id; /* of the record */
	const char *field;  /* NULL: both wrote its existence */
	uint32_t reserved;
	uint32_t incoming_won; /* 1: the loser was here when the winner came; 0: the reverse */
	struct blaze_conflict_side loser;
	struct blaze_conflict_side winner;
};

struct blaze_conflicts_options {
	uint32_t struct_size;
	uint32_t flags;            /* 0 */
	const struct blaze_id *id; /* of this record only; NULL: of all */
	uint64_t after;            /* only those with a greater number */
	uint64_t limit;            /* conflicts; 0: all */
};
#define BLAZE_CONFLICTS_OPTIONS_INIT                                                               \
	{                                                                                          \
		sizeof(struct blaze_conflicts_options), 0, NULL, 0, 0                              \
	}

/* Gets one conflict, valid until it returns. Non-zero ends the call, which returns it when
 * negative. May read the database; a write or a close in it is -EDEADLK. */
typedef int (*blaze_conflict_visitor)(void *arg, const struct blaze_conflict *conflict);

/* Visits the conflicts that are still in the log, the oldest first. It keeps the latest 4,096 or
 * 1 MiB; how many are gone tells blaze_db_stats (conflicts_dropped). The log is this database's
 * own: others notice other conflicts, and in other directions. Returns the number visited (at most
 * INT_MAX), or the visitor's negative result; -EINVAL, -E2BIG, -ENOMEM, -ECHILD. */
BLAZE_EXPORT int blaze_db_conflicts(struct blaze_db *db,
                                    const struct blaze_conflicts_options *options,
                                    blaze_conflict_visitor visitor, void *arg);

#ifdef __cplusplus
}
#endif

#endif
