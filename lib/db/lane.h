/* SPDX-License-Identifier: Apache-2.0 */
/* The private lane: a socket in a database's directory, over which blaze-db has the program that
 * holds the database read and write it.
 *
 * WHY    One program has a store; others are to get at it all the same, and a write is to be
 *        acknowledged by the store that keeps it. Each client has a thread of its own, which is
 *        there only as long as the client: one that compacts, waits for a full disk or is slow
 *        delays no other, and each request is an ordinary call of the library with all that this
 *        checks. (Rejected: one thread that polls for all, which would have to do each of these in
 *        pieces.) While nobody asks, one thread sleeps in poll.
 *
 *        This is no lane of a ring: nothing replicates over it, and it orders nothing.
 *
 * WHO    Databases of "file:" that may be written, but MANUAL ones: their programs want no threads.
 *        Clients are processes of the holder's user, and root's.
 *
 * STATES absent -> listening when the database is open; -> absent when it is about to be closed,
 *        ahead of the directory's lock. A close that fails starts it anew.
 *
 * INVARIANTS
 *   I1   Who has the lock of the directory makes and removes the socket; what lies there when it
 *        opens was left by one that crashed, and is replaced.
 *   I2   A client holds at most one request's memory (lane_wire.h), one answer, and a watch's
 *        queue; there are at most BLAZEI_LANE_CLIENTS_MAX.
 *   I3   No thread of it is left when stop returns, nor a watch or transaction of its clients.
 *   I4   A forked child has none of its sockets: nobody is answered there, and all clients of a
 *        holder that dies see its end.
 *
 * CONCURRENCY  The attach lock guards descriptors, which the handler for forked children closes,
 *        and the list of lanes. Slots belong to the thread that listens, but for their descriptors.
 *        A client's thread takes the locks of the calls that it makes, none of them for long.
 *
 * FAILURE  Without a socket, a thread or memory for them there is no lane, which the log hook is
 *        told; the database works on. A client that breaks off in the middle of a request leaves
 *        nothing of it; behind it, all of it. */
#ifndef BLAZEI_DB_LANE_H
#define BLAZEI_DB_LANE_H

#include <pthread.h>

#include "lib/db/lane_io.h"

#define BLAZEI_LANE_CLIENTS_MAX 16u
#define BLAZEI_LANE_PATIENCE_NS (30 * BLAZEI_NS_PER_S)

struct blaze_db;
struct blaze_watch;
struct blaze_watch_event;
struct blazei_lane;

struct blazei_lane_client {
	struct blazei_lane *lane;
	int fd;     /* attach lock; -1: none */
	bool there; /* the thread was started, and not joined */
	atomic_bool over;
	pthread_t thread;
};

struct blazei_lane {
	struct blaze_db *db;
	struct blazei_lane *next; /* attach lock */
	int dir;
	int listener; /* attach lock, as are the rest of these */
	int stop;     /* an eventfd: readable when all is to end */
	pthread_t thread;
	_Atomic uint64_t patience_ns;
	struct blazei_lane_client clients[BLAZEI_LANE_CLIENTS_MAX];
};

/* Starts it, where the database is to have one and can. */
void blazei_lane_start(struct blaze_db *db);
/* Ends it and all its clients, each behind the request that it is at. */
void blazei_lane_stop(struct blaze_db *db);

/* lane_serve.c: a client, until it goes or is to. */
void blazei_lane_serve(struct blaze_db *db, const struct blazei_lane_io *io);
/* Sends what a client gets instead of being served. */
void blazei_lane_refuse(const struct blazei_lane_io *io, int error);

/* lane_watch.c: the events of one client, as JSON texts that wait to be fetched. */
#define BLAZEI_LANE_EVENTS_MAX ((size_t)4 << 20) /* bytes; beyond it all is dropped: RESCAN */

struct blazei_lane_events {
	struct blaze_watch *watch; /* NULL: it has none */
	int ready;                 /* an eventfd: readable when something waits */
	pthread_mutex_t lock;
	/* lock: */
	struct blazei_buffer texts;
	bool rescan;
};

int blazei_lane_events_begin(struct blaze_db *db, struct blazei_lane_events *events);
/* Appends those that wait, at most a chunk and one: their number, which may be 0, or an error. */
int blazei_lane_events_take(struct blazei_lane_events *events, struct blazei_buffer *out);
void blazei_lane_events_end(struct blazei_lane_events *events);
/* lane_event.c: appends the text of an event. 0, -ENOMEM or -E2BIG. */
int blazei_lane_event_text(const struct blaze_watch_event *event, struct blazei_buffer *out);

#endif
