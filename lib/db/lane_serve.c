/* SPDX-License-Identifier: Apache-2.0 */
/* One client of a private lane: its requests, one after the other, as calls of the library.
 *
 * WHY    An answer has what the call returned, so a client hears what the program itself would
 *        have. What can't be decoded ends the lane of that client, behind an answer that says so:
 *        who gets one thing wrong is not to be guessed at. */
#include <blaze/txn.h>

#include "lib/db/db.h"
#include "lib/db/lane.h"

#define HELLO_NS   (10 * BLAZEI_NS_PER_S)
#define KEEP_BYTES ((size_t)1 << 20) /* of a buffer, between requests */

struct serving {
	struct blaze_db *db;
	const struct blazei_lane_io *io;
	struct blazei_lane_reader request;
	struct blazei_buffer in;
	struct blazei_buffer out;
	uint16_t flags; /* of the answer */
	bool foul;      /* the request was none */
	bool over;      /* nobody waits for an answer */
	struct blazei_lane_events events;
};

/* What a decoder returned; where that is no limit and no want of memory, it is over. */
static int decoded(struct serving *serving, int error)
{
	serving->foul |= error == -EBADMSG;
	return error;
}

static int take_all(struct serving *serving, void *ret_data, size_t len)
{
	return decoded(serving, blazei_lane_take_all(&serving->request, ret_data, len));
}

static int take_entry(struct serving *serving, struct blaze_id *ret_id,
                      struct blaze_record **ret_record)
{
	return decoded(serving, blazei_lane_take_entry(&serving->request, ret_id, ret_record));
}

static int take_end(struct serving *serving)
{
	return decoded(serving, serving->request.left == 0 ? 0 : -EBADMSG);
}

/* Records ------------------------------------------------------------------------------------ */

static int serve_get(struct serving *serving)
{
	struct blaze_record *record;
	struct blaze_id id;
	int error = take_all(serving, &id, sizeof(id));

	if (error == 0)
		error = blaze_db_get(serving->db, &id, &record);
	if (error != 0)
		return error;
	error = blazei_lane_put_record(&serving->out, record);
	blaze_record_free(record);
	return error;
}

static int write_entry(struct serving *serving,
                       int (*call)(struct blaze_db *db, const struct blaze_id *id,
                                   const struct blaze_record *record))
{
	struct blaze_record *record;
	struct blaze_id id;
	int error = take_entry(serving, &id, &record);

	if (error != 0)
		return error;
	error = take_end(serving);
	if (error == 0)
		error = call(serving->db, &id, record);
	blaze_record_free(record);
	return error;
}

static int serve_put(struct serving *serving)
{
	return write_entry(serving, blaze_db_upsert);
}

static int serve_insert(struct serving *serving)
{
	return write_entry(serving, blaze_db_insert_with_id);
}

static int serve_delete(struct serving *serving)
{
	struct blaze_id id;
	int error = take_all(serving, &id, sizeof(id));

	return error == 0 ? blaze_db_delete(serving->db, &id) : error;
}

static int scan_one(void *arg, const struct blaze_id *id, const struct blaze_record *record)
{
	struct serving *serving = arg;
	int error = blazei_lane_put_entry(&serving->out, id, record);

	if (error == 0 && serving->out.len >= BLAZEI_LANE_CHUNK) {
		serving->flags = BLAZEI_LANE_MORE;
		return 1;
	}
	return error;
}

static int serve_scan(struct serving *serving)
{
	struct blaze_scan_options options = BLAZE_SCAN_OPTIONS_INIT;
	struct blazei_lane_scan scan;
	int n, error = take_all(serving, &scan, sizeof(scan));

	if (error == 0 && ((scan.flags & ~BLAZEI_LANE_SCAN_TO) != 0 || scan.reserved != 0))
		error = decoded(serving, -EBADMSG);
	if (error != 0)
		return error;
	options.from = &scan.from;
	options.to = (scan.flags & BLAZEI_LANE_SCAN_TO) != 0 ? &scan.to : NULL;
	options.limit = scan.limit;
	n = blaze_db_scan(serving->db, &options, scan_one, serving);
	return n < 0 ? n : 0;
}

/* Stages the entries of a batch; the number that is staged in *ret_at, of `count`. -EMSGSIZE: the
 * next one has no room. */
static int batch_stage(struct serving *serving, struct blaze_txn *txn, uint32_t count,
                       uint32_t *ret_at)
{
	int error = 0;

	for (*ret_at = 0; *ret_at < count; ++*ret_at) {
		struct blaze_record *record;
		struct blaze_id id;

		error = take_entry(serving, &id, &record);
		if (error != 0)
			return error;
		error = blaze_txn_upsert(txn, &id, record);
		blaze_record_free(record);
		if (error != 0)
			return error;
	}
	return take_end(serving);
}

static int serve_batch(struct serving *serving)
{
	struct blazei_lane_entries head;
	struct blazei_lane_batch batch = { .taken = 0 };
	struct blaze_txn *txn;
	int error = decoded(serving, blazei_lane_take(&serving->request, &head, sizeof(head)));

	if (error == 0 && (head.reserved != 0 || head.count > BLAZEI_LANE_BATCH_MAX))
		error = decoded(serving, -EBADMSG);
	if (error == 0)
		error = blaze_txn_begin(serving->db, &txn);
	if (error != 0)
		return error;
	error = batch_stage(serving, txn, head.count, &batch.at);
	/* Those that fit are a batch of their own. */
	if (error == -EMSGSIZE && batch.at > 0)
		error = 0;
	if (error == 0) {
		error = blaze_txn_commit(txn);
		batch.taken = error == 0 ? batch.at : 0;
		batch.at = batch.taken;
	} else {
		blaze_txn_abort(txn);
	}
	if (!serving->foul && blazei_buffer_append(&serving->out, &batch, sizeof(batch)) != 0)
		error = error != 0 ? error : -ENOMEM;
	return error;
}

/* The database ------------------------------------------------------------------------------- */

static int serve_stat(struct serving *serving)
{
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;
	struct blazei_lane_stat stat;
	int error = take_end(serving);

	if (error == 0)
		error = blaze_db_stats(serving->db, &stats);
	if (error != 0)
		return error;
	stat = (struct blazei_lane_stat){
		.records = stats.records,
		.memory_bytes = stats.memory_bytes,
		.cuts = stats.cuts,
		.log_bytes = stats.log_bytes,
		.origins = stats.origins,
	};
	return blazei_buffer_append(&serving->out, &stat, sizeof(stat));
}

static int serve_compact(struct serving *serving)
{
	struct blaze_db_stats before = BLAZE_DB_STATS_INIT, after = BLAZE_DB_STATS_INIT;
	struct blazei_lane_compact compact;
	int error = take_end(serving);

	if (error == 0)
		error = blaze_db_stats(serving->db, &before);
	if (error == 0)
		error = blaze_db_compact(serving->db);
	if (error == 0)
		error = blaze_db_stats(serving->db, &after);
	if (error != 0)
		return error;
	compact = (struct blazei_lane_compact){ before.log_bytes, after.log_bytes };
	return blazei_buffer_append(&serving->out, &compact, sizeof(compact));
}

static int serve_watch(struct serving *serving)
{
	int error = take_end(serving);

	if (error == 0 && serving->events.watch != NULL)
		error = -EEXIST;
	return error == 0 ? blazei_lane_events_begin(serving->db, &serving->events) : error;
}

static int serve_next(struct serving *serving)
{
	int n, error = take_end(serving);

	if (error == 0 && serving->events.watch == NULL)
		error = -EINVAL;
	if (error != 0)
		return error;
	while ((n = blazei_lane_events_take(&serving->events, &serving->out)) == 0) {
		n = blazei_lane_io_await(serving->io, serving->events.ready, BLAZE_FOREVER);
		serving->over = n < 0;
		/* It has gone, or speaks before it was answered. */
		if (n == 0)
			n = decoded(serving, -EBADMSG);
		if (n < 0)
			break;
	}
	return n < 0 ? n : 0;
}

/* Requests ----------------------------------------------------------------------------------- */

static int (*const calls[])(struct serving *serving) = {
	[BLAZEI_LANE_GET] = serve_get,       [BLAZEI_LANE_PUT] = serve_put,
	[BLAZEI_LANE_INSERT] = serve_insert, [BLAZEI_LANE_DELETE] = serve_delete,
	[BLAZEI_LANE_SCAN] = serve_scan,     [BLAZEI_LANE_BATCH] = serve_batch,
	[BLAZEI_LANE_STAT] = serve_stat,     [BLAZEI_LANE_COMPACT] = serve_compact,
	[BLAZEI_LANE_WATCH] = serve_watch,   [BLAZEI_LANE_NEXT] = serve_next,
};

/* Does what is asked, and makes the answer. */
static int request_serve(struct serving *serving, uint16_t kind)
{
	serving->request = (struct blazei_lane_reader){
		.at = serving->in.data,
		.left = serving->in.len,
		.bounded = true,
	};
	/* HELLO comes once. A kind that is not known is of a later minor version. */
	if (kind <= BLAZEI_LANE_HELLO)
		return decoded(serving, -EBADMSG);
	if (kind >= sizeof(calls) / sizeof(calls[0]))
		return -EOPNOTSUPP;
	return calls[kind](serving);
}

/* Reads a request that begins within timeout_ns. What is not to be read to its end is foul. */
static int request_read(struct serving *serving, uint64_t timeout_ns,
                        struct blazei_lane_header *ret_header)
{
	int error = blazei_lane_io_head(serving->io, timeout_ns, ret_header);

	if (error != 0)
		return error;
	error = blazei_lane_request_check(ret_header);
	serving->foul = error != 0;
	if (error == 0)
		error = blazei_lane_io_body(serving->io, ret_header->bytes, &serving->in);
	return error;
}

static int answer_send(struct serving *serving, uint16_t kind, int error)
{
	const struct blazei_lane_header header = {
		.bytes = (uint32_t)serving->out.len,
		.kind = (uint16_t)(kind | BLAZEI_LANE_ANSWER),
		.flags = serving->flags,
		.error = error,
	};

	return blazei_lane_io_send(serving->io, &header, serving->out.data);
}

static int hello(struct serving *serving)
{
	const struct blazei_lane_hello own = blazei_lane_hello_make();
	struct blazei_lane_hello theirs;
	struct blazei_lane_header header;
	int error = request_read(serving, HELLO_NS, &header);

	if (error != 0 && !serving->foul)
		return error;
	serving->request = (struct blazei_lane_reader){ serving->in.data, serving->in.len, true };
	if (error == 0)
		error = header.kind == BLAZEI_LANE_HELLO
		                ? take_all(serving, &theirs, sizeof(theirs))
		                : -EBADMSG;
	if (error == 0)
		error = blazei_lane_hello_check(&theirs);
	serving->foul = error != 0;
	if (blazei_buffer_append(&serving->out, &own, sizeof(own)) != 0)
		return -ENOMEM;
	return answer_send(serving, BLAZEI_LANE_HELLO, error);
}

static void buffer_trim(struct blazei_buffer *buffer)
{
	if (buffer->cap > KEEP_BYTES)
		blazei_buffer_free(buffer);
}

void blazei_lane_serve(struct blaze_db *db, const struct blazei_lane_io *io)
{
	struct serving serving = {
		.db = db,
		.io = io,
		.in = { .max = BLAZEI_LANE_REQUEST_MAX },
		.out = { .max = BLAZEI_LANE_ANSWER_MAX },
	};
	int error = hello(&serving);

	while (error == 0 && !serving.foul) {
		struct blazei_lane_header header;
		int result;

		error = request_read(&serving, BLAZE_FOREVER, &header);
		if (error != 0 && !serving.foul)
			break;
		serving.out.len = 0;
		serving.flags = 0;
		result = error != 0 ? error : request_serve(&serving, header.kind);
		/* Nothing half made; what a batch says of an error it says of it whole. */
		if (result != 0 && header.kind != BLAZEI_LANE_BATCH)
			serving.out.len = 0;
		error = serving.over ? -ECANCELED : answer_send(&serving, header.kind, result);
		buffer_trim(&serving.in);
		buffer_trim(&serving.out);
	}
	blazei_lane_events_end(&serving.events);
	blazei_buffer_free(&serving.in);
	blazei_buffer_free(&serving.out);
}

void blazei_lane_refuse(const struct blazei_lane_io *io, int error)
{
	const struct blazei_lane_hello own = blazei_lane_hello_make();
	const struct blazei_lane_header header = {
		.bytes = sizeof(own),
		.kind = BLAZEI_LANE_HELLO | BLAZEI_LANE_ANSWER,
		.error = error,
	};

	(void)blazei_lane_io_send(io, &header, &own);
}
