/* SPDX-License-Identifier: Apache-2.0 */
/* The event descriptor of a database that is pumped by hand: readable when the pump has work.
 *
 * WHY    What wakes a database is a word in shared memory, and no word makes a descriptor readable.
 *        So a helper thread sleeps on the words in the program's place and writes to an eventfd. It
 *        exists from the first time that the program asks for the descriptor. (Rejected: a signal
 *        or a pipe written by the publisher, which would cost every writer a system call.)
 *
 * STATES of the helper
 *   armed -> told     there is work: the descriptor becomes readable, the helper rests
 *   told -> pumping   the program pumps: the descriptor is drained
 *   armed -> pumping  it pumps without being told
 *   pumping -> armed  it has pumped; the helper looks anew, since the pump may have taken in, or
 *                     out of sleep, what the helper relied on
 *   any -> over       the database is closed
 *
 * INVARIANTS
 *   I1   When armed the helper looks for work after it has announced its sleep to the rings, and
 *        for events of watches after it has read the kick word: so nothing comes in between unseen.
 *   I2   It applies nothing and calls nobody back.
 *
 * CONCURRENCY  `lock` guards the states. It is taken before the database's locks, and none of them
 *        is held for it.
 *
 * FAILURE  A forked child has no helper; its copy of the descriptor is closed with the database. */
#ifndef BLAZEI_DB_EVENT_H
#define BLAZEI_DB_EVENT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct blaze_db;

struct blazei_event {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	bool there; /* helper and descriptor are */
	bool armed;
	bool over;
	int fd;
	unsigned flags;    /* of the last turn */
	uint64_t armed_ns; /* since when */
};

/* 0 or -ENOMEM. */
int blazei_event_init(struct blazei_event *event);
/* Ends the helper and closes the descriptor. */
void blazei_event_fini(struct blaze_db *db);
/* Closes a forked child's copy of the descriptor. */
void blazei_event_forget(struct blaze_db *db);
/* Around each pump; flags are what the last turn returned. */
void blazei_event_pump_begin(struct blaze_db *db);
void blazei_event_pump_end(struct blaze_db *db, unsigned flags);

#endif
