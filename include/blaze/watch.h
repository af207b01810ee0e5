/* SPDX-License-Identifier: Apache-2.0 */
/* Watches: being called when records change; see blaze_db_watch(3). */
#ifndef BLAZE_WATCH_H
#define BLAZE_WATCH_H

#include <stdint.h>

#include <blaze/base.h>
#include <blaze/conflicts.h>
#include <blaze/db.h>
#include <blaze/record.h>

#ifdef __cplusplus
extern "C" {
#endif

struct blaze_watch;

/* Kinds of events. */
#define BLAZE_WATCH_INSERT   (1u << 0) /* a record became visible */
#define BLAZE_WATCH_UPDATE   (1u << 1) /* a field of a visible record changed */
#define BLAZE_WATCH_DELETE   (1u << 2) /* a record is visible no longer */
#define BLAZE_WATCH_CONFLICT (1u << 3) /* two writes met that did not know each other */
#define BLAZE_WATCH_SYNC     (1u << 4) /* how the database keeps in step has changed */
#define BLAZE_WATCH_RESCAN   (1u << 5) /* events were dropped: read anew what you watch */

/* What a SYNC event says. */
enum blaze_sync {
	BLAZE_SYNC_CATCHING_UP,        /* began to fetch what this database lacks */
	BLAZE_SYNC_LIVE,               /* fetched it */
	BLAZE_SYNC_ORIGIN_QUARANTINED, /* from: contradicts itself; no more of it is taken */
	BLAZE_SYNC_CLOCK_AHEAD,        /* from: its clock is over 2 min ahead; it waits here */
	BLAZE_SYNC_CLOCK_BEHIND,       /* most origins look ahead: it is the clock here */
	BLAZE_SYNC_ORIGIN_STALLED,     /* from: waits for one of those two */
	BLAZE_SYNC_ORIGIN_RESUMED,     /* from: goes on */
	BLAZE_SYNC_MEMBER_JOINED,      /* from: is a member now */
	BLAZE_SYNC_MEMBER_EXPELLED,    /* from: was silent for too long */
	BLAZE_SYNC_ORIGIN_DISPLACED,   /* from: this database; another claims to be it */
	BLAZE_SYNC_NODE_TWICE,         /* from: writes under this node's id */
	BLAZE_SYNC_ORIGINS_FULL,       /* one origin too many: nothing of it is taken; said once */
	BLAZE_SYNC_ORIGIN_RENEWED,     /* from: this database, under its new name */
	BLAZE_SYNC_PEER_BELOW,         /* from: lacks what all were to have; not heard for now */
	BLAZE_SYNC_READ_ONLY, /* the disk failed: nothing can be written until a new opening */
	BLAZE_SYNC_LOG_CUT,   /* the end of the log was lost, or may have been: said at first */
};

/* flags of an event */
#define BLAZE_WATCH_LOCAL (1u << 0) /* this database wrote it */
#define BLAZE_WATCH_STATE (1u << 1) /* came as state in catching up: `from` is all zero */
#define BLAZE_WATCH_LAST  (1u << 2) /* the last event of its transaction for this watch */

struct blaze_watch_event {
	uint32_t kind; /* one of the BLAZE_WATCH_ bits */
	uint32_t flags;
	struct blaze_id id;                    /* INSERT, UPDATE, DELETE, CONFLICT: the record */
	const struct blaze_record *before;     /* UPDATE, DELETE */
	const struct blaze_record *after;      /* INSERT, UPDATE */
	const struct blaze_conflict *conflict; /* CONFLICT */
	struct blaze_position from; /* the transaction; SYNC: the origin, where there is one */
	uint32_t sync;              /* SYNC: enum blaze_sync */
	uint32_t reserved;
};

/* Gets one event; it and what it points to are valid until it returns. May call anything but what
 * waits: blaze_db_pump, blaze_db_close, blaze_topology_wait and its like are -EDEADLK in it. */
typedef void (*blaze_watch_callback)(void *arg, const struct blaze_watch_event *event);

struct blaze_watch_options {
	uint32_t struct_size;
	uint32_t flags;              /* 0 */
	uint32_t kinds;              /* of events that are wanted; 0: all. RESCAN always comes */
	uint32_t field_count;        /* of fields; 0: any */
	const char *const *fields;   /* changes of one of these only, and their conflicts */
	const struct blaze_id *id;   /* this record only; NULL: all */
	const struct blaze_id *from; /* records from here on, inclusive; NULL: from the first */
	const struct blaze_id *to;   /* end, exclusive; NULL: to the last */
	uint64_t queue_events;       /* that may wait; default 4,096 */
	uint64_t queue_bytes;        /* of their records; default 4 MiB */
};
#define BLAZE_WATCH_OPTIONS_INIT                                                                   \
	{                                                                                          \
		sizeof(struct blaze_watch_options), 0, 0, 0, NULL, NULL, NULL, NULL, 0, 0          \
	}

/* Calls callback for each event from now on, in the order in which they happened here, on a thread
 * of the library that does nothing else (with BLAZE_DB_MANUAL in blaze_db_pump). Never two at a
 * time for one watch. A slow callback delays other watches of the process, but no database; what
 * waits beyond the queue's bounds is dropped, and one RESCAN event stands for it. -EINVAL, -E2BIG,
 * -ENOMEM, -ECHILD; -EAGAIN: no thread to be had. The caller stops *ret_watch. */
BLAZE_EXPORT int blaze_db_watch(struct blaze_db *db, const struct blaze_watch_options *options,
                                blaze_watch_callback callback, void *arg,
                                struct blaze_watch **ret_watch);

/* Ends it and frees it: no callback of it runs or will run on return. Waits for one that runs,
 * unless called in it; then that is the last one. NULL and a copy in a forked child are ignored. */
BLAZE_EXPORT void blaze_watch_stop(struct blaze_watch *watch);

#ifdef __cplusplus
}
#endif

#endif
