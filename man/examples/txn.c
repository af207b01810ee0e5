/* SPDX-License-Identifier: Apache-2.0 */
/* The example of blaze_txn(3): votes are moved from one record to another, both or neither. */
#include <errno.h>
#include <stdio.h>

#include <blaze/blaze.h>

/* Adds to the votes of a record, as the transaction sees it. */
static int votes_add(struct blaze_txn *txn, const struct blaze_id *id, int64_t more)
{
	struct blaze_record *record;
	int64_t votes;
	int r = blaze_txn_get(txn, id, &record);

	if (r < 0)
		return r;
	r = blaze_record_get_int(record, "votes", &votes);
	if (r == 0 && votes + more < 0)
		r = -ERANGE;
	if (r == 0)
		r = blaze_record_set_int(record, "votes", votes + more);
	if (r == 0)
		r = blaze_txn_update(txn, id, record);
	blaze_record_free(record);
	return r;
}

static int votes_move(struct blaze_db *db, const struct blaze_id *from, const struct blaze_id *to,
                      int64_t count)
{
	struct blaze_txn *txn;
	int r = blaze_txn_begin(db, &txn);

	if (r < 0)
		return r;
	r = votes_add(txn, to, count);
	if (r == 0)
		r = votes_add(txn, from, -count);
	if (r == 0)
		return blaze_txn_commit(txn);
	blaze_txn_abort(txn);
	return r;
}

int main(void)
{
	struct blaze_record *record;
	struct blaze_id bugs[2];
	struct blaze_db *db;
	int r = blaze_db_open("example-txn", NULL, NULL, &db);

	if (r < 0) {
		fprintf(stderr, "open: %s\n", blaze_strerror(r));
		return 1;
	}
	r = blaze_record_from_json("{\"votes\":3}", 11, &record);
	for (int i = 0; r == 0 && i < 2; i++)
		r = blaze_db_insert(db, record, &bugs[i]);
	if (r == 0)
		r = votes_move(db, &bugs[0], &bugs[1], 2);
	/* There are not that many: neither record changes. */
	if (r == 0 && votes_move(db, &bugs[0], &bugs[1], 2) != -ERANGE)
		r = -EIO;
	for (int i = 0; r == 0 && i < 2; i++) {
		int64_t votes = -1;

		blaze_record_free(record);
		r = blaze_db_get(db, &bugs[i], &record);
		if (r == 0)
			r = blaze_record_get_int(record, "votes", &votes);
		if (r == 0 && votes != (i == 0 ? 1 : 5))
			r = -EIO;
		printf("%d: %lld votes\n", i, (long long)votes);
	}
	blaze_record_free(record);
	blaze_db_close(db);
	return r == 0 ? 0 : 1;
}
