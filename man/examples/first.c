/* SPDX-License-Identifier: Apache-2.0 */
/* The example of blazeshm(7): one record in a database that others may share. */
#include <stdio.h>

#include <blaze/blaze.h>

int main(void)
{
	struct blaze_record *record = NULL;
	struct blaze_db *db = NULL;
	struct blaze_id id, node;
	int r;

	r = blaze_db_open("example", NULL, NULL, &db);
	if (r < 0) {
		fprintf(stderr, "open: %s\n", blaze_strerror(r));
		return 1;
	}
	r = blaze_topology_register(blaze_topology_shared(), db, "Mac", BLAZE_ROLE_PEER, &node);
	if (r == 0)
		r = blaze_record_new(&record);
	if (r == 0)
		r = blaze_record_set_string(record, "title", "first light");
	if (r == 0)
		r = blaze_db_insert(db, record, &id);
	printf("%lld records, %s\n", (long long)blaze_db_count(db), blaze_strerror(r));
	blaze_record_free(record);
	blaze_topology_unregister(blaze_topology_shared(), &node);
	blaze_db_close(db);
	return r < 0;
}
