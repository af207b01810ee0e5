/* SPDX-License-Identifier: Apache-2.0 */
/* What commands do with a database, in it or by the lane of the program that has it open. */
#include "lib/tool/blaze-db.h"

#include <errno.h>

#include "lib/db/lane_client.h"

int tool_db_close(struct tool_db *db)
{
	blaze_txn_abort(db->txn);
	db->txn = NULL;
	if (db->lane == NULL)
		return blaze_db_close(db->db);
	blazei_lane_disconnect(db->lane);
	return 0;
}

int tool_db_get(struct tool_db *db, const struct blaze_id *id, struct blaze_record **ret_record)
{
	return db->lane != NULL ? blazei_lane_get(db->lane, id, ret_record)
	                        : blaze_db_get(db->db, id, ret_record);
}

int tool_db_upsert(struct tool_db *db, const struct blaze_id *id, const struct blaze_record *record)
{
	return db->lane != NULL ? blazei_lane_upsert(db->lane, id, record)
	                        : blaze_db_upsert(db->db, id, record);
}

int tool_db_insert(struct tool_db *db, const struct blaze_record *record, struct blaze_id *ret_id)
{
	return db->lane != NULL ? blazei_lane_insert(db->lane, record, ret_id)
	                        : blaze_db_insert(db->db, record, ret_id);
}

int tool_db_delete(struct tool_db *db, const struct blaze_id *id)
{
	return db->lane != NULL ? blazei_lane_delete(db->lane, id) : blaze_db_delete(db->db, id);
}

int tool_db_scan(struct tool_db *db, const struct blaze_scan_options *options,
                 blaze_scan_visitor visitor, void *arg)
{
	return db->lane != NULL ? blazei_lane_scan(db->lane, options, visitor, arg)
	                        : blaze_db_scan(db->db, options, visitor, arg);
}

uint64_t tool_db_count(struct tool_db *db)
{
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;
	int error = db->lane != NULL ? blazei_lane_stat(db->lane, &stats)
	                             : blaze_db_stats(db->db, &stats);

	return error == 0 ? stats.records : 0;
}

int tool_db_compact(struct tool_db *db, uint64_t *ret_before_bytes, uint64_t *ret_after_bytes)
{
	struct blaze_db_stats before = BLAZE_DB_STATS_INIT, after = BLAZE_DB_STATS_INIT;
	int error;

	if (db->lane != NULL)
		return blazei_lane_compact(db->lane, ret_before_bytes, ret_after_bytes);
	error = blaze_db_stats(db->db, &before);
	if (error == 0)
		error = blaze_db_compact(db->db);
	if (error == 0)
		error = blaze_db_stats(db->db, &after);
	if (error == 0) {
		*ret_before_bytes = before.log_bytes;
		*ret_after_bytes = after.log_bytes;
	}
	return error;
}

int tool_batch_add(struct tool_db *db, const struct blaze_id *id, const struct blaze_record *record)
{
	int error = 0;

	if (db->lane != NULL)
		return blazei_lane_batch_add(db->lane, id, record);
	if (db->txn == NULL)
		error = blaze_txn_begin(db->db, &db->txn);
	if (error == 0)
		error = blaze_txn_upsert(db->txn, id, record);
	db->batched += error == 0;
	return error;
}

int tool_batch_commit(struct tool_db *db, uint32_t *ret_taken, uint32_t *ret_at)
{
	const uint32_t count = db->batched;
	int error = 0;

	if (db->lane != NULL)
		return blazei_lane_batch_commit(db->lane, ret_taken, ret_at);
	if (db->txn != NULL)
		error = blaze_txn_commit(db->txn);
	db->txn = NULL;
	db->batched = 0;
	*ret_taken = error == 0 ? count : 0;
	*ret_at = count;
	return error;
}
