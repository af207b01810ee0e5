/* SPDX-License-Identifier: Apache-2.0 */
/* A database with a store takes part in the list of members (lib/repl/members.h): what it says of
 * itself comes from its store, what it says of those without one from their boards.
 *
 * WHY    The frontier waits for everybody who is heard. A node without a store is in no list; its
 *        board shows how far it has come. All that are heard are waited for in this way: a store
 *        that has not joined yet must not find itself below the frontier when it does.
 *
 *        The own open transactions keep it back too (lib/repl/opened.h). Those of nodes without a
 *        store do not show on their boards, so they are not waited for.
 *
 * FAILURE  Without memory for somebody's vector, or where that is being laid out anew, nothing is
 *        written; the next tick does it. */
#include <stdlib.h>

#include "lib/db/db.h"
#include "lib/repl/members.h"

int blazei_db_members_tick(struct blaze_db *db, uint64_t now_ns,
                           const struct blazei_vector_view *durable, bool at_once)
{
	struct blazei_vector_view holds[BLAZEI_CENSUS_MAX];
	struct blazei_members_tick tick = {
		.now_ns = now_ns,
		.durable = *durable,
		.holds = holds,
		/* A whole snapshot is installed with all that belongs to a return (pull.c). */
		.rejoin = true,
		.at_once = at_once,
	};
	int error = db->link != NULL ? blazei_db_census(db, true) : 0;

	for (unsigned i = 0; i < db->census.count && error == 0; i++) {
		const struct blazei_member *member = &db->census.members[i];

		/* Who is below the frontier keeps nothing back: it takes a snapshot first. */
		if (!member->live || !member->reachable || member->board == NULL ||
		    member->lag.below)
			continue;
		error = blazei_board_vector_copy(member->board, member->board_bytes,
		                                 &holds[tick.hold_count]);
		tick.hold_count += error == 0;
	}
	if (error == 0)
		error = blazei_db_members_write(db, &tick);
	for (unsigned i = 0; i < tick.hold_count; i++)
		free((void *)(uintptr_t)holds[i].entries);
	return error;
}
