/* SPDX-License-Identifier: Apache-2.0 */
/* The transport interface: how a database's bytes reach other replicas, and how theirs come in.
 *
 * WHY    The layers above (repl, db, topology) know nothing of rings or sockets; a transport knows
 *        nothing of records. shm/ and net/ include this header and base only, and plug in.
 *
 * MODEL  A link is one participant's place on one medium. What it publishes reaches every other
 *        participant ("peer") in order, at most once, possibly with losses, which the receiver is
 *        told of. Beside the stream each participant has a board: a block of memory that only it
 *        writes and all others may read at any time (its self-description and progress). A board
 *        is a peer's memory: everything in it is copied, then validated.
 *
 * CONCURRENCY  One thread may publish while one other polls; board writes belong to the
 *        publishing side's lock. each_peer and prepare_sleep belong to the polling side. */
#ifndef BLAZEI_LINK_H
#define BLAZEI_LINK_H

#include "lib/base/base.h"

struct blazei_link;

struct blazei_link_options {
	uint64_t lane_bytes;  /* 0: the default */
	uint64_t board_bytes; /* of this participant's board; 0: none */
	bool lossless;        /* publish never overwrites what a live peer has not read */
	bool nonblock;        /* a full lane is -EAGAIN at once */
	bool no_create;       /* -ENOENT where the medium does not exist */
	bool read_only;       /* reads only: publish is -EROFS */
};

/* A participant as others see it. board points into the peer's memory (NULL without one) and stays
 * mapped until the next poll, prepare_sleep or each_peer of this link: any of them may find that
 * the peer is over. While a poll hands over records of that peer, its board is mapped too. */
struct blazei_peer {
	struct blaze_id id; /* the same as in the records that it publishes */
	const void *board;
	uint64_t board_bytes;
	bool live; /* false: its process is known to have gone; lane and board remain */
};

struct blazei_link_record {
	const void *data; /* NULL: len bytes were lost, UINT64_MAX where the number is not known */
	size_t len;
	struct blaze_id peer;
};

/* Up to 64 records of one peer. Negative stops the poll; the batch stays unconsumed. */
typedef int (*blazei_link_handler)(void *arg, const struct blazei_link_record *records,
                                   unsigned count);
/* Non-zero ends the visit and is its result. */
typedef int (*blazei_peer_visitor)(void *arg, const struct blazei_peer *peer);

struct blazei_link_ops {
	/* 0; -EAGAIN full (nonblock); -EMSGSIZE beyond max_bytes; -EIDRM the medium was removed;
	 * -ECHILD after fork. Waits at most the stall budget, unless lossless. */
	int (*publish)(struct blazei_link *link, const void *data, size_t len);
	/* A place of len bytes in the lane to encode into, published by commit, forgotten by
	 * abort; errors as publish. */
	int (*reserve)(struct blazei_link *link, size_t len, void **ret_data);
	int (*commit)(struct blazei_link *link);
	void (*abort)(struct blazei_link *link);
	/* Number of records handed over, 0 for none; -ESTALE something was lost and the handler was
	 * told; -EBADMSG a peer's lane was invalid and skipped; -EIDRM; the handler's result. */
	int (*poll)(struct blazei_link *link, blazei_link_handler handler, void *arg,
	            unsigned limit);
	/* Visits every other participant that is known, the gone included while their lane is kept.
	 * Probes liveness only where probe is set (a system call each). */
	int (*each_peer)(struct blazei_link *link, bool probe, blazei_peer_visitor visitor,
	                 void *arg);
	/* Announces that this participant is about to sleep. Returns 1: there is something to poll,
	 * don't; 0: sleep in futex wait on *ret_word for ret_expected, at most *ret_timeout_ns
	 * (which is short where wakes are not reliable). */
	int (*prepare_sleep)(struct blazei_link *link, uint32_t **ret_word, uint32_t *ret_expected,
	                     uint64_t *ret_timeout_ns);
	/* Wakes every participant that sleeps, this one's own service included. */
	void (*wake)(struct blazei_link *link);
	void (*close)(struct blazei_link *link);
};

struct blazei_link {
	const struct blazei_link_ops *ops;
	struct blaze_id id; /* of this participant */
	void *board;        /* writable; NULL without one */
	uint64_t board_bytes;
	uint64_t max_bytes; /* the longest record that publish takes */
};

/* Opens a place on the shared-memory ring NAME (shm/ring_link.c). Errors as blaze_ring_attach. */
int blazei_link_open_ring(const char *name, const struct blazei_link_options *options,
                          struct blazei_link **ret_link);

/* Removes the ring's name (as blaze_ring_unlink). */
int blazei_link_unlink_ring(const char *name);

/* Removes all rings whose names begin so and that nobody is in: what those left who died in them.
 * Whoever is just making one makes it again. */
void blazei_link_sweep_rings(const char *prefix);

#endif
