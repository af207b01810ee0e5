/* SPDX-License-Identifier: Apache-2.0 */
/* The example of blaze_db_conflicts(3): two databases change one field at the same time. */
#include <stdio.h>
#include <unistd.h>

#include <blaze/blaze.h>

#define CHECK(call)                                                                                \
	do {                                                                                       \
		int check = (call);                                                                \
		if (check < 0) {                                                                   \
			fprintf(stderr, #call ": %s\n", blaze_strerror(check));                    \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static int show(void *arg, const struct blaze_conflict *conflict)
{
	const char *lost = "?", *won = "?";

	(void)arg;
	if (conflict->field == NULL || conflict->loser.value == NULL ||
	    conflict->winner.value == NULL)
		return 0;
	(void)blaze_record_get_string(conflict->loser.value, conflict->field, &lost);
	(void)blaze_record_get_string(conflict->winner.value, conflict->field, &won);
	printf("%s: \"%s\" lost against \"%s\"\n", conflict->field, lost, won);
	return 0;
}

static int set(struct blaze_db *db, const struct blaze_id *id, const char *title)
{
	struct blaze_record *record;
	int r = blaze_record_new(&record);

	if (r == 0)
		r = blaze_record_set_string(record, "title", title);
	if (r == 0)
		r = blaze_db_upsert(db, id, record);
	blaze_record_free(record);
	return r;
}

int main(void)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_topology *topology = blaze_topology_shared();
	struct blaze_db *mac, *phone;
	struct blaze_id a, b, bug;
	char name[40];
	int conflicts;

	/* Pumped by hand, so that neither hears of the other's write too early. */
	options.flags = BLAZE_DB_MANUAL;
	snprintf(name, sizeof(name), "conflicts.%d", (int)getpid());
	CHECK(blaze_db_open(name, NULL, &options, &mac));
	CHECK(blaze_db_open(name, NULL, &options, &phone));
	CHECK(blaze_topology_register(topology, mac, "Mac", BLAZE_ROLE_PEER, &a));
	CHECK(blaze_topology_register(topology, phone, "iPhone", BLAZE_ROLE_PEER, &b));
	CHECK(blaze_topology_connect_local(topology, &a, &b, BLAZE_LINK_BIDIRECTIONAL));
	CHECK(blaze_id_new(&bug));
	CHECK(set(mac, &bug, "reader sleeps"));
	CHECK(blaze_db_pump(phone, 1000000000));
	CHECK(set(mac, &bug, "reader sleeps on"));
	CHECK(set(phone, &bug, "reader oversleeps"));
	CHECK(blaze_db_pump(mac, 1000000000));
	conflicts = blaze_db_conflicts(mac, NULL, show, NULL);
	CHECK(blaze_topology_unregister(topology, &a));
	CHECK(blaze_topology_unregister(topology, &b));
	CHECK(blaze_db_close(mac));
	CHECK(blaze_db_close(phone));
	return conflicts == 1 ? 0 : 1;
}
