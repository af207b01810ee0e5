/* SPDX-License-Identifier: Apache-2.0 */
/* How many incarnations a replica knows, and where it logs; apart, as the replica's inner names are
 * not the database's. */
#ifndef TESTS_DB_ORIGINS_H
#define TESTS_DB_ORIGINS_H

#include "lib/repl/logged.h"

struct blazei_replica;

/* Has it refuse more than that, and keep no places. */
void origins_limit(struct blazei_replica *replica, unsigned limit);
/* Of them that are not retired, and marks. */
unsigned origins_known(const struct blazei_replica *replica);
unsigned origins_marks(const struct blazei_replica *replica);
/* Has it think that somebody else writes under its name. */
void origins_displace(struct blazei_replica *replica);
/* Has its log miss what comes from here on, as where there was no memory for it. */
void origins_lag(struct blazei_replica *replica);
/* What its steps go to. */
struct blazei_log_sink origins_log(const struct blazei_replica *replica);

#endif
