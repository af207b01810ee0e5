/* SPDX-License-Identifier: Apache-2.0 */
/* Looks into a replica's vector; see origins.h. */
#include "tests/db/origins.h"

#include "lib/repl/core.h"

void origins_limit(struct blazei_replica *replica, unsigned limit)
{
	replica->vector.limit = limit;
	replica->vector.reserve = 0;
}

unsigned origins_known(const struct blazei_replica *replica)
{
	return replica->vector.count - replica->vector.free_count;
}

unsigned origins_marks(const struct blazei_replica *replica)
{
	return replica->vector.marks;
}

void origins_displace(struct blazei_replica *replica)
{
	replica->displaced = true;
}

void origins_lag(struct blazei_replica *replica)
{
	blazei_logged_lag(replica);
}

struct blazei_log_sink origins_log(const struct blazei_replica *replica)
{
	return replica->log;
}
