/* SPDX-License-Identifier: Apache-2.0 */
/* The database: records by id, whose ordinary writes replicate; see blaze_db_open(3).
 *
 * Threads: every call is safe from any thread. Writes make no system call beyond one wake per
 * idle period of a receiver, and wait at most the ring's stall budget (1 ms) for a slow receiver.
 *
 * A database lives in memory, or with a path in a directory too. */
#ifndef BLAZE_DB_H
#define BLAZE_DB_H

#include <stddef.h>
#include <stdint.h>

#include <blaze/base.h>
#include <blaze/record.h>

#ifdef __cplusplus
extern "C" {
#endif

struct blaze_db;

enum blaze_durability {
	BLAZE_DURABILITY_DEFAULT,
	BLAZE_DURABILITY_NONE,
	BLAZE_DURABILITY_ASYNC,
	BLAZE_DURABILITY_SYNC,
};

enum blaze_policy {
	BLAZE_POLICY_DEFAULT, /* server-priority */
	BLAZE_POLICY_SERVER_PRIORITY,
	BLAZE_POLICY_LWW,
};

/* flags */
#define BLAZE_DB_NO_CREATE (1u << 0) /* with a path: -ENOENT where there is no database */
#define BLAZE_DB_READ_ONLY (1u << 1) /* with a path: what is there now; nothing is changed there */
#define BLAZE_DB_AUTO_SYNC (1u << 2) /* not yet: -EOPNOTSUPP */
#define BLAZE_DB_MANUAL    (1u << 3) /* no service thread: the program calls blaze_db_pump */

struct blaze_db_options {
	uint32_t struct_size;
	uint32_t flags;
	uint32_t durability;  /* enum blaze_durability: NONE in memory, default ASYNC with a path */
	uint32_t policy;      /* enum blaze_policy; nodes of different policy refuse each other;
	                        * DEFAULT opens what is there, whichever it has */
	uint64_t cache_bytes; /* not yet: other than 0 is -EOPNOTSUPP */
	uint64_t retain_bytes; /* of transactions kept for nodes that missed them, default 4 MiB */
	uint64_t sync_interval_ns; /* ASYNC: what a power loss may take; default 50 ms */
	uint64_t spin_ns;    /* the service thread spins this long before it sleeps; default 20 us;
	                      * 1: sleep at once; BLAZE_FOREVER: never sleep */
	uint64_t lane_bytes; /* of this database's lane in the ring, default 4 MiB */
	const char *store;   /* NULL, or what path would be, which is NULL then */
};
#define BLAZE_DB_OPTIONS_INIT                                                                      \
	{                                                                                          \
		sizeof(struct blaze_db_options), 0, 0, 0, 0, 0, 0, 0, 0, NULL                      \
	}

struct blaze_db_stats {
	uint32_t struct_size;
	uint32_t origins;         /* origins heard of, this one included */
	uint64_t records;         /* visible ones */
	uint64_t writes;          /* transactions committed here */
	uint64_t applied;         /* transactions of others merged here */
	uint64_t applied_updates; /* field and existence updates in them */
	uint64_t conflicts;    /* updates that had not seen what they overwrote, or the reverse */
	uint64_t duplicates;   /* transactions that had come before */
	uint64_t parked;       /* transactions that wait for what they depend on, now */
	uint64_t refused;      /* transactions that were invalid, or of one origin too many */
	uint64_t catch_ups;    /* times that what was lacking was fetched from another node */
	uint64_t laps;         /* times the ring overtook this database */
	uint64_t memory_bytes; /* held by records, tombstones included */
	uint32_t quarantined;  /* origins with two histories: nothing more of them is merged */
	uint32_t stalled;      /* origins whose clock is ahead or that wait for a halted one */
	uint64_t conflicts_dropped; /* that the conflict log no longer has: blaze_db_conflicts(3) */
	/* with a path: */
	uint64_t logged;         /* transactions in the log, ever */
	uint64_t durable;        /* of these, on the disk */
	uint64_t unsynced_ns;    /* age of the oldest that is not */
	uint64_t unsynced_bytes; /* of those that are not */
	uint64_t cuts;        /* times that the end of the log was lost, or may have been, ever */
	uint64_t log_bytes;   /* what the log takes of the disk */
	uint64_t compactions; /* times that it was compacted since the opening */
};
#define BLAZE_DB_STATS_INIT                                                                        \
	{                                                                                          \
		sizeof(struct blaze_db_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  \
		        0, 0, 0, 0, 0                                                              \
	}

/* A transaction: that one and all before it of the same run of a node. */
struct blaze_position {
	struct blaze_id node;
	uint64_t incarnation; /* which run of the node */
	uint64_t seq;         /* 1, 2, ...; 0: before the first */
	uint64_t time_ns;     /* its hybrid time, in ns since 1970; 0: not known */
};

/* Opens the database NAME (as ring names, at most 61 characters). Without a path, or with
 * "mem:", it is in memory: empty, with a fresh node id, and replicating through ring db.NAME
 * once it is registered in a topology. With a path, a directory or "file:" and one, it has
 * what was acknowledged there; the directory is made if only its last part is missing. So it is
 * with "SCHEME:LOCATION", of a backend that is known: blaze_store(3). With
 * BLAZE_DURABILITY_ASYNC, the default, a write returns at once and outlives the process; a power
 * loss takes at most what was written within sync_interval_ns, or, if that is longer, within the
 * time that the last two syncs took. With SYNC it returns when it is on the disk, and those of
 * several threads share a sync. With NONE what was written since the last blaze_db_sync dies with
 * the process, as far as memory held it. ASYNC takes 16 MiB of /dev/shm (-ENOSPC). READ_ONLY heeds
 * none of the three. While a directory is open, but by MANUAL and READ_ONLY, blaze-db(1) of the
 * same user, or root, reaches the database by the socket "lane" in it: a thread of the library
 * waits there, and one serves each that comes.
 * Errors: -EINVAL also where the database there has another policy; -E2BIG, -ENOMEM; -EOPNOTSUPP
 * also an unknown scheme; -EBUSY somebody has the directory open; -EBADMSG what lies there is
 * damaged (the log hook gets the place), or a backend is broken; -EPROTO it is of a later version;
 * -EROFS, -EACCES, -ENOENT, -ENOSPC, -EIO and the like from the file system. Blocks for file
 * system calls. The caller closes *ret_db. */
BLAZE_EXPORT int blaze_db_open(const char *name, const char *path,
                               const struct blaze_db_options *options, struct blaze_db **ret_db);

/* Closes; frees db unless it fails: -EBUSY while it is registered in a topology that lives on
 * (blaze_topology_free and blaze_topology_unregister end that), has a watch or a transaction under
 * way; -EDEADLK inside a visitor or a watch's callback. -EIO: db is freed, but its store did not
 * take all that was acknowledged; with BLAZE_DURABILITY_ASYNC the rest stays in shared memory for
 * the next opening, with NONE it is gone. */
BLAZE_EXPORT int blaze_db_close(struct blaze_db *db);

/* Inserts a record under a new id (UUIDv7), given in *ret_id (may be NULL). -EINVAL: a patch mark
 * in it; -E2BIG. Every write also: -ENOMEM; -ECHILD after fork; -EDEADLK inside a visitor;
 * -EROFS as blaze_db_sync; -EAGAIN with a path: for a second the disk has taken nothing, and there
 * is no room to wait for it. */
BLAZE_EXPORT int blaze_db_insert(struct blaze_db *db, const struct blaze_record *record,
                                 struct blaze_id *ret_id);

/* The same under the caller's id; -EEXIST: it is there already. */
BLAZE_EXPORT int blaze_db_insert_with_id(struct blaze_db *db, const struct blaze_id *id,
                                         const struct blaze_record *record);

/* Sets the fields in patch (and removes those it marks), leaves all others. -ENOENT: no such
 * record. A field that already holds the same value is not written (a server node re-affirms the
 * record's existence all the same). */
BLAZE_EXPORT int blaze_db_update(struct blaze_db *db, const struct blaze_id *id,
                                 const struct blaze_record *patch);

/* Inserts the record, or sets its fields where the id exists, even to values that they have. */
BLAZE_EXPORT int blaze_db_upsert(struct blaze_db *db, const struct blaze_id *id,
                                 const struct blaze_record *record);

/* Deletes; -ENOENT: no such record. */
BLAZE_EXPORT int blaze_db_delete(struct blaze_db *db, const struct blaze_id *id);

/* A copy of the visible record, to be freed by the caller; -ENOENT. */
BLAZE_EXPORT int blaze_db_get(struct blaze_db *db, const struct blaze_id *id,
                              struct blaze_record **ret_record);

/* The number of visible records. */
BLAZE_EXPORT int64_t blaze_db_count(struct blaze_db *db);

/* A record whose one field, with the empty name, is len bytes (at most 1 MiB - 4 KiB): the short
 * way for programs that keep their own encoding. put always writes. */
BLAZE_EXPORT int blaze_db_put(struct blaze_db *db, const struct blaze_id *id, const void *value,
                              size_t len);

/* Copies at most cap bytes of such a value and returns its full length; -ENOENT no such record or
 * no such field; -EINVAL the field does not hold bytes. */
BLAZE_EXPORT int blaze_db_fetch(struct blaze_db *db, const struct blaze_id *id, void *ret_value,
                                size_t cap);

/* The position of the last transaction committed here, by any thread; seq is 0 before the first.
 * blaze_topology_wait_position tells when another node has it. -EINVAL, -ECHILD. */
BLAZE_EXPORT int blaze_db_position(struct blaze_db *db, struct blaze_position *ret_position);

/* Waits until all that was committed before is durable. -EROFS: a write to the disk has failed, and
 * the database can only be read until it is opened anew; what had been acknowledged with SYNC is on
 * the disk, with ASYNC there or kept for the next opening before a reboot; a write that had
 * returned -EROFS may be seen until then, and after it. -EOPNOTSUPP in memory; -ECHILD, -EDEADLK.
 */
BLAZE_EXPORT int blaze_db_sync(struct blaze_db *db);

/* Has the store hold little more than what the database has: all of it is written to the log as it
 * stands, and what was in the log before goes. This is done by itself where the log has become
 * long; see blaze_db_open(3). Others read and write meanwhile. Waits for the disk, which for the
 * time takes the database once more. -EROFS; -EAGAIN: what other nodes sent kept it from an end;
 * -EOPNOTSUPP in memory; -ENOSPC, -ENOMEM, -ECHILD, -EDEADLK. */
BLAZE_EXPORT int blaze_db_compact(struct blaze_db *db);

/* Copies the database to another directory, which is made, or is empty: all that was acknowledged
 * before the call, and perhaps some of what comes meanwhile, in its order; each transaction whole.
 * Nobody is kept from writing; a compaction waits meanwhile, or is waited for. The copy is a
 * database that blaze_db_open takes. -EEXIST there is a store already; -ENOTEMPTY something else;
 * -EBADMSG the log is damaged (the copy is none); -EAGAIN opened read-only, and compacted again and
 * again by another; -EOPNOTSUPP not in a directory; -EINVAL; -ENOMEM, -ECHILD, -EDEADLK; -ENOSPC,
 * -EACCES and the like from the file system. */
BLAZE_EXPORT int blaze_db_backup(struct blaze_db *db, const char *path);

struct blaze_scan_options {
	uint32_t struct_size;
	uint32_t flags;              /* 0 */
	const struct blaze_id *from; /* first id, inclusive; NULL: from the start */
	const struct blaze_id *to;   /* end, exclusive; NULL: to the end */
	uint64_t limit;              /* records; 0: all */
};
#define BLAZE_SCAN_OPTIONS_INIT                                                                    \
	{                                                                                          \
		sizeof(struct blaze_scan_options), 0, NULL, NULL, 0                                \
	}

/* Gets one record, valid until it returns. Non-zero ends the scan, which returns it when negative.
 * May read the database; a write or a close in it is -EDEADLK. */
typedef int (*blaze_scan_visitor)(void *arg, const struct blaze_id *id,
                                  const struct blaze_record *record);

/* Visits visible records in ascending id order. Each record is as it stood at one moment; records
 * that come or go during the scan may or may not be visited. Returns the number visited (at most
 * INT_MAX), or the visitor's negative result. */
BLAZE_EXPORT int blaze_db_scan(struct blaze_db *db, const struct blaze_scan_options *options,
                               blaze_scan_visitor visitor, void *arg);

/* XXH3-128 over the visible records in id order, each as deterministic CBOR [id, {field: value}]:
 * equal if and only if the contents are. Takes time in proportion to the contents; writers wait. */
BLAZE_EXPORT int blaze_db_hash(struct blaze_db *db, uint8_t ret_digest[16]);

/* With BLAZE_DB_MANUAL: applies what came in, waiting up to timeout_ns for it. Returns the number
 * of transactions applied, 0 on time-out; -EINVAL the database has the service thread;
 * -EDEADLK inside a visitor or a watch's callback. Calls the callbacks of watches, and returns when
 * it has. One thread at a time. */
BLAZE_EXPORT int blaze_db_pump(struct blaze_db *db, uint64_t timeout_ns);

/* With BLAZE_DB_MANUAL: a descriptor that is readable when blaze_db_pump has work, for poll(2) and
 * its like. It may be so without need, and stays so until the pump. The first call starts a thread
 * that waits for this. The descriptor belongs to the database: only poll it, and not after
 * blaze_db_close. -EINVAL the database has the service thread; -EMFILE, -ENFILE, -ENOMEM, -EAGAIN,
 * -ECHILD. */
BLAZE_EXPORT int blaze_db_event_fd(struct blaze_db *db);

BLAZE_EXPORT int blaze_db_stats(struct blaze_db *db, struct blaze_db_stats *ret_stats);

#ifdef __cplusplus
}
#endif

#endif
