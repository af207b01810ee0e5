/* SPDX-License-Identifier: Apache-2.0 */
/* A watch on behalf of a client of the private lane.
 *
 * WHY    A callback must not wait for a client. So it makes the text of its event and leaves it
 *        here, where the client fetches it; what a client is too slow for is dropped, and it is
 *        told to read anew, as with any watch.
 *
 * CONCURRENCY  The callback adds, the client's thread takes; `lock` guards both. */
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/db/lane.h"

#include <blaze/watch.h>

/* `lock` is held. */
static void ready_tell(struct blazei_lane_events *events)
{
	const uint64_t one = 1;

	/* Fails only where the counter is full, and then it is readable anyway. */
	while (write(events->ready, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static int text_add(struct blazei_lane_events *events, const struct blaze_watch_event *event)
{
	struct blazei_buffer text = { .max = BLAZEI_LANE_EVENTS_MAX };
	int error = blazei_lane_event_text(event, &text);

	if (error == 0)
		error = blazei_lane_put_text(&events->texts, text.data, (uint32_t)text.len);
	blazei_buffer_free(&text);
	return error;
}

static void on_event(void *arg, const struct blaze_watch_event *event)
{
	struct blazei_lane_events *events = arg;

	pthread_mutex_lock(&events->lock);
	/* Whoever fetches a rescan reads all anew behind it, and so what comes before that. */
	if (!events->rescan) {
		if (event->kind == BLAZE_WATCH_RESCAN || text_add(events, event) != 0) {
			events->texts.len = 0;
			events->rescan = true;
		}
		ready_tell(events);
	}
	pthread_mutex_unlock(&events->lock);
}

int blazei_lane_events_begin(struct blaze_db *db, struct blazei_lane_events *events)
{
	int error;

	*events = (struct blazei_lane_events){ .texts = { .max = BLAZEI_LANE_EVENTS_MAX } };
	error = -pthread_mutex_init(&events->lock, NULL);
	if (error != 0)
		return error;
	events->ready = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	error = events->ready >= 0 ? blaze_db_watch(db, NULL, on_event, events, &events->watch)
	                           : -errno;
	if (error != 0) {
		if (events->ready >= 0)
			close(events->ready);
		pthread_mutex_destroy(&events->lock);
		events->watch = NULL;
	}
	return error;
}

/* How many bytes of texts a chunk takes, whole ones, and how many texts these are. */
static size_t chunk_of(const struct blazei_buffer *texts, int *ret_count)
{
	size_t at = 0;
	uint32_t len;

	*ret_count = 0;
	while (at < texts->len && at < BLAZEI_LANE_CHUNK) {
		memcpy(&len, texts->data + at, sizeof(len));
		at += sizeof(len) + len;
		++*ret_count;
	}
	return at;
}

int blazei_lane_events_take(struct blazei_lane_events *events, struct blazei_buffer *out)
{
	static const struct blaze_watch_event rescan = { .kind = BLAZE_WATCH_RESCAN };
	uint64_t drained;
	size_t bytes;
	int count = 0, error = 0;

	pthread_mutex_lock(&events->lock);
	while (read(events->ready, &drained, sizeof(drained)) < 0 && errno == EINTR)
		;
	if (events->rescan)
		error = text_add(events, &rescan);
	events->rescan = events->rescan && error != 0;
	bytes = chunk_of(&events->texts, &count);
	if (error == 0)
		error = blazei_buffer_append(out, events->texts.data, bytes);
	if (error == 0 && bytes > 0) {
		events->texts.len -= bytes;
		memmove(events->texts.data, events->texts.data + bytes, events->texts.len);
	}
	if (error == 0 && events->texts.len == 0)
		blazei_buffer_free(&events->texts);
	pthread_mutex_unlock(&events->lock);
	return error == 0 ? count : error;
}

void blazei_lane_events_end(struct blazei_lane_events *events)
{
	if (events->watch == NULL)
		return;
	blaze_watch_stop(events->watch);
	close(events->ready);
	blazei_buffer_free(&events->texts);
	pthread_mutex_destroy(&events->lock);
	events->watch = NULL;
}
