/* SPDX-License-Identifier: Apache-2.0 */
/* What the database's roles share: one process's database, its node, and what it has merged. */
#ifndef PERF_PERF_DB_ROLES_H
#define PERF_PERF_DB_ROLES_H

#include "perf/perf.h"

struct perf_db {
	struct perf_board *board;
	struct perf_seat *seat;
	struct blaze_db *db;
	struct blaze_topology *topology;
	struct blaze_id node;
	uint64_t applied;        /* transactions of others merged by perf_db_pump */
	uint64_t applied_before; /* of them, before the run */
	uint64_t catch_ups_before;
};

/* Opens the board's database and makes it the node of the seat's part. */
int perf_db_open(struct perf_db *p, struct perf_board *board, struct perf_seat *seat,
                 uint32_t flags);
void perf_db_close(struct perf_db *p);
/* Links to the node of another part, waiting for it to appear. */
int perf_db_connect(struct perf_db *p, unsigned part);
/* Applies what came in; counts it in the seat. */
int perf_db_pump(struct perf_db *p, uint64_t timeout_ns);
/* Pumps until the database holds that many records: the others' first inserts. */
int perf_db_await_count(struct perf_db *p, int64_t count);
/* The id of a part's record. */
void perf_db_id(unsigned part, uint32_t index, struct blaze_id *ret_id);

#endif
