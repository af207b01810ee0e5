/* SPDX-License-Identifier: Apache-2.0 */
/* What the replica tells of, on its way to those who want to know: the conflict log.
 *
 * CONCURRENCY  Every callback runs within a call of the replica, so the database's lock is held. */
#include "lib/db/db.h"

static void on_conflict(void *arg, const struct blazei_effect_conflict *conflict)
{
	struct blaze_db *db = arg;

	blazei_conflict_log_add(&db->conflicts, conflict, &db->self);
}

void blazei_db_listen(struct blaze_db *db)
{
	const struct blazei_sink sink = { .arg = db, .conflict = on_conflict };

	blazei_replica_set_sink(db->replica, &sink);
}
