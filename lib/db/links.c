/* SPDX-License-Identifier: Apache-2.0 */
/* The links that a node keeps, and whom they let it hear.
 *
 * WHY    A link to a node that has died is kept: others may be joined through it (census.h, I1).
 *        But a node that lives for long, and to which many come and go, would run out of links. So
 *        one to a node that is gone makes way where there is no room for another.
 *
 * INVARIANTS
 *   I1   A link makes way only if its node has taken no part in the ring for GONE_NS, neither alive
 *        nor dead with a lane that is still read, and no board names it beside: then it joins
 *        nobody to anybody. While a removed ring is made anew a node may be missing for a moment,
 *        which is far shorter.
 *   I2   What a board shows is changed under poll_lock and lock.
 *
 * A node in memory that has gone never comes back under its id. One with a store may: it is linked
 * as before where there was no need of room meanwhile, else its program links it again. */
#include "lib/db/db.h"

#define GONE_NS (3 * BLAZEI_NS_PER_S)

/* Gone links are noted from when so many are kept. */
#define LINKS_MANY (BLAZEI_BOARD_LINKS_MAX / 2)

/* The place of a link; link_count where there is none. */
static uint32_t link_find(const struct blazei_board_description *text, const struct blaze_id *node)
{
	uint32_t at = 0;

	while (at < text->link_count && !blazei_id_equal(&text->links[at].node, node))
		at++;
	return at;
}

/* Whether a node takes part, or another one links to it. */
static bool node_matters(const struct blazei_census *census, const struct blaze_id *node)
{
	for (unsigned i = 0; i < census->count; i++) {
		const struct blazei_member *member = &census->members[i];

		if (member->text == NULL)
			continue;
		if (blazei_id_equal(&member->text->node, node) ||
		    link_find(member->text, node) < member->text->link_count)
			return true;
	}
	return false;
}

/* Notes since when links have led nowhere. */
static void gone_note(struct blaze_db *db)
{
	const uint64_t now_ns = blazei_monotonic_ns();

	if (db->text.link_count < LINKS_MANY)
		return;
	for (uint32_t i = 0; i < db->text.link_count; i++) {
		if (node_matters(&db->census, &db->text.links[i].node))
			db->link_gone_ns[i] = 0;
		else if (db->link_gone_ns[i] == 0)
			db->link_gone_ns[i] = now_ns;
	}
}

static void link_remove(struct blaze_db *db, uint32_t at)
{
	const uint32_t last = --db->text.link_count;

	db->text.links[at] = db->text.links[last];
	db->link_gone_ns[at] = db->link_gone_ns[last];
	memset(&db->text.links[last], 0, sizeof(db->text.links[last]));
}

/* Makes room for a link where there is none. */
static void gone_remove(struct blaze_db *db)
{
	const uint64_t now_ns = blazei_monotonic_ns();

	if (db->text.link_count < BLAZEI_BOARD_LINKS_MAX)
		return;
	for (uint32_t i = db->text.link_count; i-- > 0;) {
		if (db->link_gone_ns[i] != 0 &&
		    blazei_passed_ns(now_ns, db->link_gone_ns[i]) > GONE_NS)
			link_remove(db, i);
	}
}

/* After a change of the links: whom they lead to is decided anew. */
static void links_changed(struct blaze_db *db)
{
	db->census.changed = true;
	(void)blazei_db_census(db, false);
	db->next_check_ns = 0;
	/* Wakes the own service as well. */
	db->link->ops->wake(db->link);
}

int blazei_db_link(struct blaze_db *db, const struct blaze_id *node, enum blaze_link_mode mode)
{
	struct blazei_board_link *last;
	int error = 0;

	blazei_db_poll_lock(db);
	pthread_mutex_lock(&db->lock);
	if (link_find(&db->text, node) < db->text.link_count)
		error = -EEXIST;
	else if (db->link == NULL)
		error = -ENOENT;
	if (error == 0)
		gone_remove(db);
	if (error == 0 && db->text.link_count == BLAZEI_BOARD_LINKS_MAX)
		error = -ENOSPC;
	if (error == 0) {
		db->link_gone_ns[db->text.link_count] = 0;
		last = &db->text.links[db->text.link_count++];
		memset(last, 0, sizeof(*last));
		last->node = *node;
		last->mode = mode;
		blazei_db_show_text(db);
	}
	pthread_mutex_unlock(&db->lock);
	if (error == 0)
		links_changed(db);
	blazei_db_poll_unlock(db);
	return error;
}

int blazei_db_unlink(struct blaze_db *db, const struct blaze_id *node)
{
	uint32_t at;
	int error = 0;

	blazei_db_poll_lock(db);
	pthread_mutex_lock(&db->lock);
	at = link_find(&db->text, node);
	if (db->link == NULL || at == db->text.link_count) {
		error = -ENOENT;
	} else {
		link_remove(db, at);
		blazei_db_show_text(db);
	}
	pthread_mutex_unlock(&db->lock);
	if (error == 0)
		links_changed(db);
	blazei_db_poll_unlock(db);
	return error;
}

int blazei_db_census(struct blaze_db *db, bool probe)
{
	int error;

	if (db->link == NULL)
		return -ENOENT;
	error = blazei_census_update(&db->census, db->link, probe);
	if (error != 0 || !db->census.changed)
		return error;
	gone_note(db);
	return blazei_census_reach(&db->census, &db->text, &db->self.node, db->policy);
}
