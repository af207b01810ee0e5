/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the log; see log.h. */
#include "lib/store/log.h"

#include <blaze/db.h>

#include "lib/store/pack.h"

#define CHUNK_BYTES (UINT64_C(4) << 20) /* of transactions in one append and sync, but one longer */
#define SKIP_MAX    64u                 /* numbers of segments that the root does not name */

int blazei_store_root_swap(struct blazei_store *store)
{
	int error;

	blazei_root_seal(store->root);
	error = store->ops->root_swap(store->backend, store->root_version, store->root,
	                              blazei_root_bytes(store->root));
	if (error == 0)
		store->root_version++;
	if (error == -ESTALE)
		blazei_log(BLAZE_LOG_ERROR,
		           "store %s: somebody else has replaced its root: it stays as it is",
		           store->location);
	return error;
}

static struct blazei_root_segment *segment_last(const struct blazei_store *store)
{
	return &store->root->segments[store->root->segment_count - 1];
}

/* Has the root say, in memory, where the open segment ends. */
static void segment_end(struct blazei_store *store)
{
	if (store->segment_open) {
		segment_last(store)->end = store->segment_end;
		store->ended_bytes += store->segment_end;
	}
	store->segment_open = false;
	store->segment_end = 0;
}

/* Goes on to a new segment. Where the old one failed it is left as it is. */
static int segment_next(struct blazei_store *store, bool failing)
{
	struct blazei_root *root = store->root;
	uint64_t incarnation;
	int error = 0;

	if (root->segment_count == BLAZEI_ROOT_SEGMENTS_MAX)
		return -ENOSPC;
	if (store->segment_open && !failing)
		error = store->ops->segment_seal(store->backend, segment_last(store)->number,
		                                 store->segment_end);
	if (error == 0)
		error = blazei_random(&incarnation, sizeof(incarnation));
	if (error != 0)
		return error;
	segment_end(store);
	for (unsigned i = 0; i < SKIP_MAX; i++) {
		error = store->ops->segment_create(store->backend, root->next_segment);
		if (error != -EEXIST)
			break;
		root->next_segment++;
	}
	if (error != 0)
		return error;
	store->firsts[root->segment_count] = store->written + 1;
	root->segments[root->segment_count++] = (struct blazei_root_segment){
		.number = root->next_segment++,
		.incarnation = incarnation,
		.end = BLAZEI_SEGMENT_OPEN,
	};
	store->segment_open = true;
	BLAZEI_TESTPOINT("store_segment_made");
	return blazei_store_root_swap(store);
}

static int frames_make(struct blazei_store *store, const struct blazei_chunk *chunk)
{
	const struct blazei_root_segment *segment = segment_last(store);
	const struct blazei_frame_place place = {
		.store = store->root->store,
		.segment = segment->number,
		.incarnation = segment->incarnation,
		.offset = store->segment_end,
	};

	return blazei_pack(&store->packer, &place, store->written, chunk, &store->frames);
}

/* Submits the frames and a sync behind them, and waits for both. */
static int frames_write(struct blazei_store *store)
{
	uint64_t segment = segment_last(store)->number;
	const struct blaze_store_request requests[2] = {
		{ .operation = BLAZE_STORE_APPEND,
		  .segment = segment,
		  .offset = store->segment_end,
		  .data = store->frames.data,
		  .len = store->frames.len },
		{ .operation = BLAZE_STORE_SYNC, .segment = segment },
	};
	struct blaze_store_completion completions[2];
	unsigned submitted = 0, done = 0;
	int error = 0, n;

	while (submitted < 2 || done < submitted) {
		if (submitted < 2) {
			n = store->ops->submit(store->backend, &requests[submitted], 2 - submitted);
			if (n <= 0)
				return n < 0 ? n : -EIO;
			submitted += (unsigned)n;
		}
		n = store->ops->poll(store->backend, completions, 2);
		if (n <= 0)
			return n < 0 ? n : -EIO;
		for (int i = 0; i < n; i++)
			if (error == 0)
				error = completions[i].result;
		done += (unsigned)n;
		BLAZEI_TESTPOINT("store_written");
	}
	return error;
}

/* One try, in the open segment, or in a new one. */
static int chunk_try(struct blazei_store *store, const struct blazei_chunk *chunk, bool failing)
{
	int error = 0;

	if (failing || !store->segment_open)
		error = segment_next(store, failing);
	if (error == 0)
		error = frames_make(store, chunk);
	if (error == 0 && store->frames.len > store->geometry.segment_bytes - store->segment_end) {
		error = segment_next(store, false);
		if (error == 0)
			error = frames_make(store, chunk);
		if (error == 0 && store->frames.len > store->geometry.segment_bytes)
			error = -EMSGSIZE;
	}
	if (error == 0)
		error = frames_write(store);
	return error;
}

static int chunk_write(struct blazei_store *store, const struct blazei_chunk *chunk)
{
	uint64_t count = store->root->segment_count;
	int error = chunk_try(store, chunk, false);

	if (error != 0) {
		blazei_log(BLAZE_LOG_ERROR, "store %s: segment %llu at %llu: %s; trying a new one",
		           store->location,
		           count > 0 ? (unsigned long long)segment_last(store)->number : 0,
		           (unsigned long long)store->segment_end, blaze_strerror(error));
		error = chunk_try(store, chunk, true);
	}
	if (error != 0) {
		blazei_log(BLAZE_LOG_ERROR, "store %s: read-only from here on: %s", store->location,
		           blaze_strerror(error));
		return error;
	}
	store->segment_end += store->frames.len;
	store->written = chunk->first_lsn + chunk->count - 1;
	return 0;
}

/* All that was appended is kept as the durability asks for, if that is so; lock is held. */
static void kept_set(struct blazei_store *store)
{
	/* Relaxed: both are changed under the lock. */
	uint64_t untailed = atomic_load_explicit(&store->untailed, memory_order_relaxed);
	uint64_t kept = atomic_load_explicit(&store->kept, memory_order_relaxed);
	uint64_t now = store->durable;

	if (store->durability == BLAZE_DURABILITY_NONE ||
	    (store->durability == BLAZE_DURABILITY_ASYNC && untailed <= store->durable))
		now = store->last;
	/* Release: pairs with the acquire in blazei_store_kept; the tail has it. */
	if (now > kept)
		atomic_store_explicit(&store->kept, now, memory_order_release);
}

/* All up to `written` is durable; the tail is free up to a position. */
static void chunk_landed(struct blazei_store *store, uint64_t tail_head)
{
	pthread_mutex_lock(&store->lock);
	store->durable = store->written;
	store->bytes = store->ended_bytes + store->segment_end;
	store->state_bytes += store->packer.state_bytes;
	store->segments = store->root->segment_count;
	store->tail.head = tail_head;
	kept_set(store);
	blazei_store_gate_set(store);
	pthread_cond_broadcast(&store->changed);
	pthread_mutex_unlock(&store->lock);
}

/* Copies the next chunk out of the tail. */
static int chunk_fetch(struct blazei_store *store, struct blazei_tail_cursor *cursor,
                       struct blazei_chunk *ret_chunk)
{
	struct blazei_buffer *buffer = &store->chunk;
	const uint64_t first_lsn = cursor->lsn;
	int64_t n = 0;
	int error;

	buffer->len = 0;
	error = blazei_buffer_reserve(buffer, CHUNK_BYTES);
	while (error == 0 && cursor->at < cursor->end && buffer->len < CHUNK_BYTES) {
		n = blazei_tail_get(&store->tail, cursor, buffer->data + buffer->len,
		                    buffer->cap - buffer->len);
		if (n == -ENOBUFS && buffer->len > 0)
			break;
		if (n == -ENOBUFS)
			error = blazei_buffer_reserve(buffer, cursor->end - cursor->at);
		else if (n < 0)
			error = (int)n;
		else
			buffer->len += (size_t)n;
	}
	*ret_chunk = (struct blazei_chunk){
		.data = buffer->data,
		.len = buffer->len,
		.first_lsn = first_lsn,
		.count = cursor->lsn - first_lsn,
	};
	return error;
}

/* The part of the flight that is in the tail. */
static int flight_write_tail(struct blazei_store *store, uint64_t end)
{
	struct blazei_tail_cursor cursor = { store->tail.head, end, store->written + 1 };
	int error = 0;

	while (error == 0 && cursor.at < cursor.end) {
		struct blazei_chunk chunk;

		error = chunk_fetch(store, &cursor, &chunk);
		if (error == -EBADMSG)
			blazei_log(BLAZE_LOG_ERROR, "store %s: somebody else wrote to its tail",
			           store->location);
		if (error == 0)
			error = chunk_write(store, &chunk);
		if (error == 0)
			chunk_landed(store, cursor.at);
	}
	return error;
}

/* Writes the flight, a chunk at a time. */
static int flight_write(struct blazei_store *store, uint64_t tail_end)
{
	size_t at = 0;
	int error = flight_write_tail(store, tail_end);

	while (error == 0 && at < store->flight.len) {
		struct blazei_chunk chunk = { .data = store->flight.data + at,
			                      .first_lsn = store->written + 1 };

		do {
			chunk.len += blazei_entry_bytes(chunk.data + chunk.len);
			chunk.count++;
		} while (at + chunk.len < store->flight.len && chunk.len < CHUNK_BYTES);
		at += chunk.len;
		error = chunk_write(store, &chunk);
		if (error == 0)
			chunk_landed(store, tail_end);
	}
	return error;
}

void blazei_store_tell(struct blazei_store *store)
{
	bool untold;

	pthread_mutex_lock(&store->lock);
	untold = store->untold;
	store->untold = false;
	pthread_mutex_unlock(&store->lock);
	if (untold && store->on_failed != NULL)
		store->on_failed(store->arg);
}

static void fail(struct blazei_store *store, int error)
{
	store->failed = error;
	store->untold = true;
	blazei_store_gate_set(store);
}

/* The leader's. */
static uint64_t room_look(struct blazei_store *store)
{
	struct blaze_store_geometry geometry = { .struct_size = sizeof(geometry) };
	int error = store->ops->geometry(store->backend, &geometry);

	return error == 0 && geometry.room_bytes != 0 ? geometry.room_bytes : UINT64_MAX;
}

/* Takes what is there and makes it durable; lock is held, but not while writing. */
void blazei_store_lead(struct blazei_store *store)
{
	struct blazei_buffer buffer = store->pending;
	uint64_t tail_end = store->tail.end, room;
	int error;

	store->pending = store->flight;
	store->flight = buffer;
	store->flight_pending = buffer.len;
	store->flight_end = tail_end;
	store->flight_since_ns = store->since_ns;
	store->since_ns = 0;
	store->leading = true;
	pthread_mutex_unlock(&store->lock);
	error = flight_write(store, tail_end);
	room = room_look(store);
	pthread_mutex_lock(&store->lock);
	store->room = room;
	store->flight.len = 0;
	store->flight_pending = 0;
	store->leading = false;
	if (error != 0)
		fail(store, error);
	else
		blazei_store_gate_set(store);
	pthread_cond_broadcast(&store->changed);
	if (error != 0) {
		pthread_mutex_unlock(&store->lock);
		blazei_store_tell(store);
		pthread_mutex_lock(&store->lock);
	}
}

static int wait_locked(struct blazei_store *store, uint64_t lsn)
{
	while (store->durable < lsn && store->failed == 0) {
		if (store->leading || store->claims > 0)
			pthread_cond_wait(&store->changed, &store->lock);
		else
			blazei_store_lead(store);
	}
	return store->durable >= lsn ? 0 : -EROFS;
}

/* Keeps a transaction where it belongs; lock is held. */
static int keep(struct blazei_store *store, const void *txn, size_t len)
{
	/* Relaxed: changed under the lock. */
	uint64_t untailed = atomic_load_explicit(&store->untailed, memory_order_relaxed);
	int error;

	if (store->tail.header != NULL && untailed <= store->durable &&
	    blazei_tail_fits(&store->tail, len)) {
		blazei_tail_put(&store->tail, ++store->last, txn, len);
		return 0;
	}
	error = blazei_buffer_append(&store->pending, txn, len);
	if (error != 0)
		return error;
	/* Relaxed: who appended reads it in the same thread. */
	atomic_store_explicit(&store->untailed, ++store->last, memory_order_relaxed);
	return 0;
}

int blazei_store_append(struct blazei_store *store, const void *entry, size_t len,
                        uint64_t *ret_lsn)
{
	int error = 0;

	pthread_mutex_lock(&store->lock);
	assert(store->recovered && len == blazei_entry_bytes(entry));
	if (store->failed != 0) {
		error = -EROFS;
	} else {
		error = keep(store, entry, len);
		/* What comes after it must not be durable without it. */
		if (error != 0)
			fail(store, error);
	}
	if (error == 0) {
		*ret_lsn = store->last;
		kept_set(store);
		if (store->since_ns == 0)
			store->since_ns = blazei_monotonic_ns();
		blazei_store_gate_set(store);
		blazei_store_flusher_call(store);
	}
	pthread_mutex_unlock(&store->lock);
	return error;
}

int blazei_store_acknowledge(struct blazei_store *store, uint64_t lsn)
{
	if (store->durability == BLAZE_DURABILITY_NONE)
		return 0;
	/* Relaxed: this thread's own append is in it. One of another thread, later than that, may
	 * be too: then this one waits for no more than it would have without a tail. */
	if (store->durability == BLAZE_DURABILITY_ASYNC &&
	    lsn > atomic_load_explicit(&store->untailed, memory_order_relaxed))
		return 0;
	return blazei_store_wait(store, lsn);
}

int blazei_store_wait(struct blazei_store *store, uint64_t lsn)
{
	int error;

	pthread_mutex_lock(&store->lock);
	error = wait_locked(store, lsn);
	pthread_mutex_unlock(&store->lock);
	return error;
}

int blazei_store_await(struct blazei_store *store, uint64_t lsn)
{
	int error;

	if (!store->flusher_there)
		return blazei_store_wait(store, lsn);
	pthread_mutex_lock(&store->lock);
	while (store->durable < lsn && store->failed == 0)
		pthread_cond_wait(&store->changed, &store->lock);
	error = store->durable >= lsn ? 0 : -EROFS;
	pthread_mutex_unlock(&store->lock);
	return error;
}

int blazei_store_sync(struct blazei_store *store)
{
	int error;

	pthread_mutex_lock(&store->lock);
	error = wait_locked(store, store->last);
	if (error == 0 && store->failed != 0)
		error = -EROFS;
	pthread_mutex_unlock(&store->lock);
	return error;
}

bool blazei_store_failed(struct blazei_store *store)
{
	/* Relaxed: it never goes back. */
	return (atomic_load_explicit(&store->gate, memory_order_relaxed) & BLAZEI_GATE_FAILED) != 0;
}

uint64_t blazei_store_durable(struct blazei_store *store, uint64_t *ret_unsynced_bytes)
{
	uint64_t durable;

	pthread_mutex_lock(&store->lock);
	durable = store->durable;
	*ret_unsynced_bytes = blazei_store_unsynced(store);
	pthread_mutex_unlock(&store->lock);
	return durable;
}

uint64_t blazei_store_state_bytes(struct blazei_store *store)
{
	uint64_t bytes;

	pthread_mutex_lock(&store->lock);
	bytes = store->state_bytes;
	pthread_mutex_unlock(&store->lock);
	return bytes;
}

uint32_t blazei_store_role(const struct blazei_store *store)
{
	return store->root->role;
}

int blazei_store_claim(struct blazei_store *store)
{
	int error;

	pthread_mutex_lock(&store->lock);
	store->claims++;
	while (store->leading)
		pthread_cond_wait(&store->changed, &store->lock);
	store->claims--;
	error = store->failed != 0 ? -EROFS : 0;
	store->leading = error == 0;
	if (error != 0)
		pthread_cond_broadcast(&store->changed);
	pthread_mutex_unlock(&store->lock);
	return error;
}

void blazei_store_release(struct blazei_store *store, int error)
{
	pthread_mutex_lock(&store->lock);
	store->leading = false;
	if (error != 0)
		fail(store, error);
	pthread_cond_broadcast(&store->changed);
	pthread_mutex_unlock(&store->lock);
}

int blazei_store_role_set(struct blazei_store *store, uint32_t role)
{
	int error = blazei_store_claim(store);

	if (error != 0)
		return error;
	if (store->root->role != role) {
		store->root->role = role;
		error = blazei_store_root_swap(store);
	}
	/* After an error nobody knows which root is there now. */
	blazei_store_release(store, error);
	return error;
}

uint64_t blazei_store_room(struct blazei_store *store)
{
	uint64_t room;

	pthread_mutex_lock(&store->lock);
	room = store->leading ? store->room : 0;
	pthread_mutex_unlock(&store->lock);
	if (room != 0)
		return room;
	if (blazei_store_claim(store) != 0)
		return UINT64_MAX;
	room = room_look(store);
	blazei_store_release(store, 0);
	return room;
}

int blazei_store_rotate(struct blazei_store *store)
{
	int error = blazei_store_claim(store);

	if (error != 0)
		return error;
	/* All in it is durable: where it can't be sealed it is left as it is. */
	if (store->segment_open && store->segment_end > 0) {
		(void)store->ops->segment_seal(store->backend, segment_last(store)->number,
		                               store->segment_end);
		segment_end(store);
	}
	blazei_store_release(store, 0);
	return 0;
}

void blazei_store_size(struct blazei_store *store, uint64_t *ret_bytes, uint32_t *ret_segments)
{
	pthread_mutex_lock(&store->lock);
	*ret_bytes = store->bytes;
	*ret_segments = store->segments;
	pthread_mutex_unlock(&store->lock);
}

uint64_t blazei_store_kept(const struct blazei_store *store)
{
	/* Acquire: pairs with the release in kept_set. */
	return atomic_load_explicit(&store->kept, memory_order_acquire);
}

/* Ends the log: no segment is open any more. */
int blazei_store_end(struct blazei_store *store)
{
	int error = 0;

	if (store->segment_open)
		error = store->ops->segment_seal(store->backend, segment_last(store)->number,
		                                 store->segment_end);
	if (error == 0)
		segment_end(store);
	return error;
}
