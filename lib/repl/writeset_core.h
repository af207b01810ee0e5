/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a transaction in the making, shared by writeset.c, which keeps the records, and
 * writeset_write.c, which decides and lists what is written of one of them.
 *
 * LAYOUT Everything lies in an arena that is freed as a whole. A record has two lists of ops, one
 *        for the life in which it was found and one for the next; each has a spare of its own, in
 *        which the list that a write makes of it is built. */
#ifndef BLAZEI_WRITESET_CORE_H
#define BLAZEI_WRITESET_CORE_H

#include "lib/repl/arena.h"
#include "lib/repl/core.h"
#include "lib/repl/writeset.h"

/* The two lives. */
enum {
	BLAZEI_FIRST,
	BLAZEI_NEXT,
	BLAZEI_LIVES
};

/* The ops on one life. */
struct blazei_op_list {
	struct blazei_write_op *ops; /* ascending by name */
	uint32_t count;
	uint32_t max;
	size_t encoded; /* bytes */
};

/* Where a record stands after the writes so far. */
struct blazei_standing {
	bool alive;
	bool affirmed; /* was written in its first life: a server says so */
	uint8_t life;  /* BLAZEI_FIRST or BLAZEI_NEXT: the last one that it was alive in */
};

struct blazei_staged {
	struct blaze_id id;
	uint64_t hash;
	struct blazei_row *base; /* a copy of what can be seen; NULL: there was no row */
	uint64_t reindexed;      /* of the replica, when that was copied, or before */
	size_t encoded;          /* bytes of its groups */
	uint32_t next_life;      /* 0: there is none left */
	struct blazei_standing now;
	bool measured; /* the two that follow are known */
	int64_t fields;
	int64_t bytes; /* of names and values */
	struct blazei_op_list lists[BLAZEI_LIVES];
	struct blazei_op_list spares[BLAZEI_LIVES];
	struct blazei_write_group groups[BLAZEI_LIVES]; /* made at the commit */
};

struct blazei_writeset {
	struct blazei_arena arena;
	struct blazei_staged **list;        /* in the order of first touch */
	uint32_t *slots;                    /* index in the list + 1; 0 is free */
	struct blazei_write_group **groups; /* at the commit: those of all records, ascending */
	uint32_t mask;
	uint32_t count;
	uint32_t groups_max;
	struct blazei_staged *recent; /* the last one touched, or NULL */
	size_t encoded;               /* the groups of all records */
};

/* writeset.c: the record, which is copied from the replica where the transaction did not touch it
 * before. 0, -EMSGSIZE, -ENOMEM. */
int blazei_writeset_touch(struct blazei_replica *replica, struct blazei_writeset *writeset,
                          const struct blaze_id *id, struct blazei_staged **ret_staged);

/* writeset_write.c: the entry of the first life that an op of this name sees, or NULL. */
const struct blazei_entry *blazei_staged_seen(const struct blazei_replica *replica,
                                              const struct blazei_staged *staged, const void *name,
                                              size_t name_len);
/* The op on a name in the record's present life, or NULL. */
const struct blazei_write_op *blazei_staged_op(const struct blazei_staged *staged, const void *name,
                                               size_t name_len);
/* Describes in staged->groups what is to be encoded of a record, ascending by life. Returns how
 * many groups that is. */
unsigned blazei_staged_groups(const struct blazei_replica *replica, struct blazei_staged *staged);

#endif
