/* SPDX-License-Identifier: Apache-2.0 */
/* Messages over the socket of a private lane, each way, with an end to all waiting.
 *
 * WHY    Neither side trusts the other to go on: a message that has begun has to be there after
 *        `patience_ns`, and memory for a body is taken as its bytes come, whatever length was
 *        announced.
 *
 * CONCURRENCY  One thread at a time. */
#ifndef BLAZEI_DB_LANE_IO_H
#define BLAZEI_DB_LANE_IO_H

#include "lib/db/lane_wire.h"

struct blazei_lane_io {
	int fd;                      /* does not block */
	int stop;                    /* readable: give up; -1: there is none */
	bool (*stopping)(void *arg); /* the same, asked now and then; or NULL */
	void *arg;
	uint64_t patience_ns;
};

/* All of these: 0; -EPIPE the other side has gone; -ETIMEDOUT; -ECANCELED, -EINTR it is to stop,
 * by `stop`, or by `stopping`; and errors of the system. */

/* Waits until the socket is readable, or the other side has gone; 1: until `also` is (-1: none). */
int blazei_lane_io_await(const struct blazei_lane_io *io, int also, uint64_t timeout_ns);
/* The next header, which begins within timeout_ns. */
int blazei_lane_io_head(const struct blazei_lane_io *io, uint64_t timeout_ns,
                        struct blazei_lane_header *ret_header);
/* The body behind it, in place of what the buffer has; -ENOMEM, -E2BIG too. */
int blazei_lane_io_body(const struct blazei_lane_io *io, uint32_t bytes,
                        struct blazei_buffer *body);
/* Sends a message; what goes at once goes even where it is to stop. */
int blazei_lane_io_send(const struct blazei_lane_io *io, const struct blazei_lane_header *header,
                        const void *body);

#endif
