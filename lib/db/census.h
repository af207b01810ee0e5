/* SPDX-License-Identifier: Apache-2.0 */
/* The census: who takes part in a ring, what their boards say, and whom the link graph connects.
 *
 * WHY    Whether a record is applied depends on the links of all nodes. That is decided here, when
 *        a board changes, and not per record: the receiver only looks at `reachable`.
 *
 * INVARIANTS
 *   I1  A member is reachable iff its board was valid when last read, it holds the same policy, and
 *       links (kept by anybody, of either direction: all are bidirectional now) join its node to
 *       the one asked about. A node that is only named by links conducts too, so nodes stay joined
 *       when one between them dies, as long as the links to it are kept by somebody who lives.
 *   I2  Members are those that the last update saw: at most BLAZEI_CENSUS_MAX, more are ignored.
 *
 * CONCURRENCY  None: a census belongs to the polling side of its link, whose lock is held. */
#ifndef BLAZEI_DB_CENSUS_H
#define BLAZEI_DB_CENSUS_H

#include "lib/db/board.h"
#include "lib/repl/link.h"

#define BLAZEI_CENSUS_MAX 128u

/* What catch-up remembers of a member (lag.c, pull.c, answer.c). */
struct blazei_lag {
	unsigned index;              /* the entry of its vector that is watched */
	struct blazei_origin origin; /* and whose it is */
	bool watched;                /* this replica lacked something of it when last looked at */
	uint64_t target;             /* the entry's seq then */
	uint64_t mine;               /* this replica's then */
	uint64_t drains;             /* complete polls that the database had done then */
	uint64_t since_ns;           /* when `mine` was first seen */
	uint64_t missing;            /* transactions lacking in all, when last counted */
	unsigned failures;           /* attempts in a row to fetch from it that failed */
	uint64_t not_before;         /* no new attempt before this time */
	bool below;                  /* the frontier, when last looked at: it is not heard */
	struct blaze_id answered;    /* ring of its last request that was dealt with */
};

struct blazei_member {
	struct blaze_id peer;
	bool seen; /* by the update that runs */
	bool live;
	bool valid; /* text holds a board */
	bool reachable;
	int error; /* why the board is not valid */
	uint64_t version;
	const struct blazei_board *board; /* until the next call of the link's polling side */
	uint64_t board_bytes;
	struct blazei_board_description *text;
	struct blazei_lag lag;
};

struct blazei_census {
	struct blazei_member members[BLAZEI_CENSUS_MAX];
	unsigned count;
	bool changed;   /* reachability must be decided anew */
	bool unsettled; /* in the last update a live member's board did not hold still */
	bool left;      /* a member has gone, or may have; set back by who sees to that (pull.c) */
};

/* Visits all peers of the link and reads the boards that changed. With probe, liveness is probed. 0
 * or the link's error; -ENOMEM. */
int blazei_census_update(struct blazei_census *census, struct blazei_link *link, bool probe);

/* Decides `reachable` of every member from `node`, which holds `policy`. own (may be NULL) is the
 * caller's own description, which no peer shows. 0 or -ENOMEM: as it was. */
int blazei_census_reach(struct blazei_census *census, const struct blazei_board_description *own,
                        const struct blaze_id *node, uint32_t policy);

struct blazei_member *blazei_census_by_peer(struct blazei_census *census,
                                            const struct blaze_id *peer);
/* The live and valid member that is this node; NULL. */
struct blazei_member *blazei_census_by_node(struct blazei_census *census,
                                            const struct blaze_id *node);

void blazei_census_clear(struct blazei_census *census);

#endif
