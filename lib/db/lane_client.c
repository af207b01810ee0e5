/* SPDX-License-Identifier: Apache-2.0 */
/* Asking over a private lane; see lane_client.h.
 *
 * WHY    An answer may be late: a disk is full, a log is compacted. So there is no time-out for
 *        one, only for its rest once it has begun, and for the first of all, which needs nothing
 *        but a program that runs. */
#include "lib/db/lane_client.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/db/lane_io.h"

#define HELLO_NS    (15 * BLAZEI_NS_PER_S)
#define PATIENCE_NS (30 * BLAZEI_NS_PER_S)

struct blazei_lane_caller {
	struct blazei_lane_io io;
	struct blazei_buffer request;
	struct blazei_buffer answer;
	struct blazei_lane_reader reader; /* of the answer */
	uint16_t flags;                   /* of it */
	uint32_t batched;
	struct blazei_buffer batch;
};

/* Asks what `request` has, and waits for the answer, whose body can be read then. What the program
 * returned, or an error of the lane. */
static int ask(struct blazei_lane_caller *caller, uint16_t kind, uint64_t timeout_ns)
{
	const struct blazei_lane_header request = {
		.bytes = (uint32_t)caller->request.len,
		.kind = kind,
	};
	struct blazei_lane_header answer;
	int error = blazei_lane_io_send(&caller->io, &request, caller->request.data);

	caller->request.len = 0;
	caller->reader = (struct blazei_lane_reader){ .left = 0 };
	/* Who refuses says so and goes, and may have gone before it heard anything. */
	if (error == 0 || error == -EPIPE)
		error = blazei_lane_io_head(&caller->io, timeout_ns, &answer);
	if (error == 0)
		error = blazei_lane_answer_check(&answer, kind);
	if (error == 0)
		error = blazei_lane_io_body(&caller->io, answer.bytes, &caller->answer);
	if (error != 0)
		return error;
	caller->flags = answer.flags;
	caller->reader = (struct blazei_lane_reader){
		.at = caller->answer.data,
		.left = caller->answer.len,
	};
	return answer.error;
}

/* The same where the answer has no body. */
static int ask_plain(struct blazei_lane_caller *caller, uint16_t kind)
{
	int error = ask(caller, kind, BLAZE_FOREVER);

	return error == 0 && caller->reader.left != 0 ? -EBADMSG : error;
}

/* The same where it is this struct. */
static int ask_struct(struct blazei_lane_caller *caller, uint16_t kind, void *ret_data, size_t len)
{
	int error = ask(caller, kind, BLAZE_FOREVER);

	return error == 0 ? blazei_lane_take_all(&caller->reader, ret_data, len) : error;
}

/* Connecting --------------------------------------------------------------------------------- */

/* A socket that is connected, or an error. */
static int socket_connect(int dir)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat status;
	int fd;

	if (fstatat(dir, BLAZEI_LANE_FILE, &status, AT_SYMLINK_NOFOLLOW) != 0)
		return -errno;
	if (!S_ISSOCK(status.st_mode))
		return -ENOENT;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" BLAZEI_LANE_FILE,
	         dir);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		/* Refused: left by one that crashed. EAGAIN: so many wait already. */
		const int error = errno == ECONNREFUSED ? -ENOENT
		                  : errno == EAGAIN     ? -EBUSY
		                                        : -errno;

		close(fd);
		return error;
	}
	return fd;
}

static int hello(struct blazei_lane_caller *caller)
{
	const struct blazei_lane_hello own = blazei_lane_hello_make();
	struct blazei_lane_hello theirs;
	int error = blazei_buffer_append(&caller->request, &own, sizeof(own));

	if (error == 0)
		error = ask(caller, BLAZEI_LANE_HELLO, HELLO_NS);
	/* It is just going. */
	if (error == -EPIPE)
		return -ENOENT;
	if (error == 0)
		error = blazei_lane_take_all(&caller->reader, &theirs, sizeof(theirs));
	return error == 0 ? blazei_lane_hello_check(&theirs) : error;
}

int blazei_lane_connect(const char *dir, blazei_lane_stopping stopping, void *arg,
                        struct blazei_lane_caller **ret_caller)
{
	struct blazei_lane_caller *caller;
	int error, fd, dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (dir_fd < 0)
		return -errno;
	fd = socket_connect(dir_fd);
	close(dir_fd);
	if (fd < 0)
		return fd;
	caller = calloc(1, sizeof(*caller));
	if (caller == NULL) {
		close(fd);
		return -ENOMEM;
	}
	caller->io = (struct blazei_lane_io){
		.fd = fd,
		.stop = -1,
		.stopping = stopping,
		.arg = arg,
		.patience_ns = PATIENCE_NS,
	};
	caller->request.max = BLAZEI_LANE_REQUEST_MAX;
	caller->batch.max = BLAZEI_LANE_REQUEST_MAX - sizeof(struct blazei_lane_entries);
	caller->answer.max = BLAZEI_LANE_ANSWER_MAX;
	error = hello(caller);
	if (error == 0)
		*ret_caller = caller;
	else
		blazei_lane_disconnect(caller);
	return error;
}

void blazei_lane_disconnect(struct blazei_lane_caller *caller)
{
	if (caller == NULL)
		return;
	close(caller->io.fd);
	blazei_buffer_free(&caller->request);
	blazei_buffer_free(&caller->answer);
	blazei_buffer_free(&caller->batch);
	free(caller);
}

/* Records ------------------------------------------------------------------------------------ */

int blazei_lane_get(struct blazei_lane_caller *caller, const struct blaze_id *id,
                    struct blaze_record **ret_record)
{
	struct blaze_record *record;
	int error = blazei_buffer_append(&caller->request, id, sizeof(*id));

	if (error == 0)
		error = ask(caller, BLAZEI_LANE_GET, BLAZE_FOREVER);
	if (error == 0)
		error = blazei_lane_take_record(&caller->reader, &record);
	if (error == 0 && caller->reader.left != 0) {
		blaze_record_free(record);
		error = -EBADMSG;
	}
	if (error == 0)
		*ret_record = record;
	return error;
}

int blazei_lane_upsert(struct blazei_lane_caller *caller, const struct blaze_id *id,
                       const struct blaze_record *record)
{
	int error = blazei_lane_put_entry(&caller->request, id, record);

	return error == 0 ? ask_plain(caller, BLAZEI_LANE_PUT) : error;
}

int blazei_lane_insert(struct blazei_lane_caller *caller, const struct blaze_record *record,
                       struct blaze_id *ret_id)
{
	struct blaze_id id;
	int error = blaze_id_new(&id);

	if (error == 0)
		error = blazei_lane_put_entry(&caller->request, &id, record);
	if (error == 0)
		error = ask_plain(caller, BLAZEI_LANE_INSERT);
	if (error == 0)
		*ret_id = id;
	return error;
}

int blazei_lane_delete(struct blazei_lane_caller *caller, const struct blaze_id *id)
{
	int error = blazei_buffer_append(&caller->request, id, sizeof(*id));

	return error == 0 ? ask_plain(caller, BLAZEI_LANE_DELETE) : error;
}

/* Scans -------------------------------------------------------------------------------------- */

/* The id that follows in byte order; false where there is none. */
static bool id_successor(struct blaze_id *id)
{
	for (int i = sizeof(id->bytes) - 1; i >= 0; i--) {
		if (++id->bytes[i] != 0)
			return true;
	}
	return false;
}

struct scanning {
	struct blazei_lane_scan next; /* what to ask for */
	int visited;
	bool ended;
};

/* Whether an entry is of those that were asked for, and behind those that came. */
static bool wanted(const struct scanning *scanning, const struct blaze_id *id)
{
	const struct blazei_lane_scan *next = &scanning->next;

	return !scanning->ended && memcmp(id, &next->from, sizeof(*id)) >= 0 &&
	       ((next->flags & BLAZEI_LANE_SCAN_TO) == 0 || memcmp(id, &next->to, sizeof(*id)) < 0);
}

/* Goes behind an entry. */
static void scan_step(struct scanning *scanning, const struct blaze_id *id)
{
	scanning->next.from = *id;
	scanning->ended = !id_successor(&scanning->next.from);
	if (scanning->next.limit > 0 && --scanning->next.limit == 0)
		scanning->ended = true;
	if (scanning->visited < INT_MAX)
		scanning->visited++;
}

/* Visits the entries of an answer. 0, an error, or what the visitor returned. */
static int entries_visit(struct blazei_lane_caller *caller, struct scanning *scanning,
                         blaze_scan_visitor visitor, void *arg)
{
	const bool more = (caller->flags & BLAZEI_LANE_MORE) != 0;
	int result = 0;

	/* One that promises more and gives nothing would never end. */
	if (more && caller->reader.left == 0)
		return -EBADMSG;
	while (result == 0 && caller->reader.left > 0) {
		struct blaze_record *record;
		struct blaze_id id;

		result = blazei_lane_take_entry(&caller->reader, &id, &record);
		if (result != 0)
			break;
		if (wanted(scanning, &id)) {
			scan_step(scanning, &id);
			result = visitor(arg, &id, record);
		} else {
			result = -EBADMSG;
		}
		blaze_record_free(record);
	}
	scanning->ended |= !more;
	return result;
}

int blazei_lane_scan(struct blazei_lane_caller *caller, const struct blaze_scan_options *options,
                     blaze_scan_visitor visitor, void *arg)
{
	struct scanning scanning = { .visited = 0 };
	int result = 0;

	if (options != NULL && options->from != NULL)
		scanning.next.from = *options->from;
	if (options != NULL && options->to != NULL) {
		scanning.next.to = *options->to;
		scanning.next.flags = BLAZEI_LANE_SCAN_TO;
	}
	if (options != NULL)
		scanning.next.limit = options->limit;
	while (result == 0 && !scanning.ended) {
		result = blazei_buffer_append(&caller->request, &scanning.next,
		                              sizeof(scanning.next));
		if (result == 0)
			result = ask(caller, BLAZEI_LANE_SCAN, BLAZE_FOREVER);
		if (result == 0)
			result = entries_visit(caller, &scanning, visitor, arg);
	}
	return result < 0 ? result : scanning.visited;
}

/* Batches ------------------------------------------------------------------------------------ */

int blazei_lane_batch_add(struct blazei_lane_caller *caller, const struct blaze_id *id,
                          const struct blaze_record *record)
{
	int error = caller->batched < BLAZEI_LANE_BATCH_MAX ? 0 : -EMSGSIZE;

	if (error == 0)
		error = blazei_lane_put_entry(&caller->batch, id, record);
	if (error == 0)
		caller->batched++;
	return error == -E2BIG ? -EMSGSIZE : error;
}

/* Drops the first entries of a batch. */
static int batch_drop(struct blazei_lane_caller *caller, uint32_t count)
{
	struct blazei_lane_reader reader = { caller->batch.data, caller->batch.len, false };

	for (uint32_t i = 0; i < count; i++) {
		struct blaze_record *record;
		struct blaze_id id;
		int error = blazei_lane_take_entry(&reader, &id, &record);

		if (error != 0)
			return error;
		blaze_record_free(record);
	}
	memmove(caller->batch.data, reader.at, reader.left);
	caller->batch.len = reader.left;
	caller->batched -= count;
	return 0;
}

/* Asks for all that is left of it. Sets how many were taken, and what an error is about. */
static int batch_ask(struct blazei_lane_caller *caller, struct blazei_lane_batch *ret_batch)
{
	const struct blazei_lane_entries head = { .count = caller->batched };
	struct blazei_lane_batch batch;
	int result, error = blazei_buffer_append(&caller->request, &head, sizeof(head));

	*ret_batch = (struct blazei_lane_batch){ .at = caller->batched };
	if (error == 0)
		error = blazei_buffer_append(&caller->request, caller->batch.data,
		                             caller->batch.len);
	if (error != 0)
		return error;
	result = ask(caller, BLAZEI_LANE_BATCH, BLAZE_FOREVER);
	if (result != 0 && caller->reader.left == 0)
		return result;
	error = blazei_lane_take_all(&caller->reader, &batch, sizeof(batch));
	if (error != 0)
		return error;
	if (batch.taken > caller->batched || batch.at > caller->batched ||
	    (result == 0 && batch.taken == 0))
		return -EBADMSG;
	*ret_batch = batch;
	return result;
}

int blazei_lane_batch_commit(struct blazei_lane_caller *caller, uint32_t *ret_taken,
                             uint32_t *ret_at)
{
	struct blazei_lane_batch batch;
	uint32_t taken = 0;
	int error = 0;

	*ret_at = 0;
	/* Each time some are taken. */
	while (error == 0 && caller->batched > 0) {
		error = batch_ask(caller, &batch);
		if (error != 0)
			*ret_at = taken + batch.at;
		if (error == 0) {
			taken += batch.taken;
			error = batch_drop(caller, batch.taken);
		}
	}
	*ret_taken = taken;
	caller->batch.len = 0;
	caller->batched = 0;
	return error;
}

/* The database ------------------------------------------------------------------------------- */

int blazei_lane_stat(struct blazei_lane_caller *caller, struct blaze_db_stats *ret_stats)
{
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;
	struct blazei_lane_stat stat;
	int error = ask_struct(caller, BLAZEI_LANE_STAT, &stat, sizeof(stat));

	if (error != 0)
		return error;
	stats.records = stat.records;
	stats.memory_bytes = stat.memory_bytes;
	stats.cuts = stat.cuts;
	stats.log_bytes = stat.log_bytes;
	stats.origins = stat.origins;
	*ret_stats = stats;
	return 0;
}

int blazei_lane_compact(struct blazei_lane_caller *caller, uint64_t *ret_before_bytes,
                        uint64_t *ret_after_bytes)
{
	struct blazei_lane_compact compact;
	int error = ask_struct(caller, BLAZEI_LANE_COMPACT, &compact, sizeof(compact));

	if (error != 0)
		return error;
	*ret_before_bytes = compact.before_bytes;
	*ret_after_bytes = compact.after_bytes;
	return 0;
}

int blazei_lane_watch(struct blazei_lane_caller *caller, blazei_lane_on_event on_event, void *arg)
{
	int result = ask_plain(caller, BLAZEI_LANE_WATCH);

	while (result == 0) {
		result = ask(caller, BLAZEI_LANE_NEXT, BLAZE_FOREVER);
		if (result == 0 && caller->reader.left == 0)
			result = -EBADMSG;
		while (result == 0 && caller->reader.left > 0) {
			const char *text;
			uint32_t len;

			result = blazei_lane_take_text(&caller->reader, &text, &len);
			if (result == 0)
				result = on_event(arg, text, len);
		}
	}
	return result;
}
