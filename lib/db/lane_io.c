/* SPDX-License-Identifier: Apache-2.0 */
/* Messages over a socket; see lane_io.h. */
#include "lib/db/lane_io.h"

#include <poll.h>
#include <sys/socket.h>

#define PIECE_BYTES ((size_t)64 << 10)
#define ASK_NS      (200 * BLAZEI_NS_PER_MS) /* how often `stopping` is asked */

/* When a time-out that begins now is over. */
static uint64_t until_ns(uint64_t timeout_ns)
{
	const uint64_t now_ns = blazei_monotonic_ns();

	return timeout_ns < BLAZE_FOREVER - now_ns ? now_ns + timeout_ns : BLAZE_FOREVER;
}

/* For poll: what is left, rounded up, or -1. */
static int left_ms(const struct blazei_lane_io *io, uint64_t until)
{
	uint64_t left_ns = BLAZE_FOREVER;

	if (until != BLAZE_FOREVER)
		left_ns = blazei_passed_ns(until, blazei_monotonic_ns());
	if (io->stopping != NULL && left_ns > ASK_NS)
		left_ns = ASK_NS;
	if (left_ns == BLAZE_FOREVER)
		return -1;
	if (left_ns > 1000 * BLAZEI_NS_PER_S)
		left_ns = 1000 * BLAZEI_NS_PER_S;
	return (int)((left_ns + BLAZEI_NS_PER_MS - 1) / BLAZEI_NS_PER_MS);
}

/* Waits for events of the socket: 0; or for `also`: 1; or an error. */
static int ready_await(const struct blazei_lane_io *io, short events, int also, uint64_t until)
{
	for (;;) {
		struct pollfd fds[3] = { { .fd = io->fd, .events = events },
			                 { .fd = io->stop, .events = POLLIN },
			                 { .fd = also, .events = POLLIN } };
		const int rc = poll(fds, 3, left_ms(io, until));

		if (rc < 0 && errno != EINTR)
			return -errno;
		if (rc > 0 && fds[1].revents != 0)
			return -ECANCELED;
		if (rc > 0)
			return fds[2].revents != 0 ? 1 : 0;
		if (io->stopping != NULL && io->stopping(io->arg))
			return -EINTR;
		if (until != BLAZE_FOREVER && blazei_monotonic_ns() >= until)
			return -ETIMEDOUT;
	}
}

int blazei_lane_io_await(const struct blazei_lane_io *io, int also, uint64_t timeout_ns)
{
	return ready_await(io, POLLIN, also, until_ns(timeout_ns));
}

static int receive(const struct blazei_lane_io *io, void *ret_data, size_t len, uint64_t until)
{
	uint8_t *at = ret_data;

	while (len > 0) {
		const ssize_t n = recv(io->fd, at, len, MSG_DONTWAIT);
		int error = 0;

		if (n > 0) {
			at += n;
			len -= (size_t)n;
		} else if (n == 0 || errno == ECONNRESET) {
			return -EPIPE;
		} else if (errno == EAGAIN || errno == EINTR) {
			error = ready_await(io, POLLIN, -1, until);
		} else {
			return -errno;
		}
		if (error != 0)
			return error;
	}
	return 0;
}

int blazei_lane_io_head(const struct blazei_lane_io *io, uint64_t timeout_ns,
                        struct blazei_lane_header *ret_header)
{
	struct blazei_lane_header header;
	int error = blazei_lane_io_await(io, -1, timeout_ns);

	if (error == 0)
		error = receive(io, &header, sizeof(header), until_ns(io->patience_ns));
	if (error == 0)
		*ret_header = header;
	return error;
}

int blazei_lane_io_body(const struct blazei_lane_io *io, uint32_t bytes, struct blazei_buffer *body)
{
	const uint64_t until = until_ns(io->patience_ns);
	int error = 0;

	body->len = 0;
	while (error == 0 && body->len < bytes) {
		const size_t left = bytes - body->len;
		const size_t piece = left < PIECE_BYTES ? left : PIECE_BYTES;

		error = blazei_buffer_reserve(body, piece);
		if (error == 0)
			error = receive(io, body->data + body->len, piece, until);
		if (error == 0)
			body->len += piece;
	}
	return error;
}

int blazei_lane_io_send(const struct blazei_lane_io *io, const struct blazei_lane_header *header,
                        const void *body)
{
	const uint64_t until = until_ns(io->patience_ns);
	const size_t len = sizeof(*header) + header->bytes;
	size_t sent = 0;

	while (sent < len) {
		const bool head = sent < sizeof(*header);
		const uint8_t *from = head ? (const uint8_t *)header + sent
		                           : (const uint8_t *)body + (sent - sizeof(*header));
		const size_t n = (head ? sizeof(*header) : len) - sent;
		const ssize_t rc = send(io->fd, from, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		int error = 0;

		if (rc > 0)
			sent += (size_t)rc;
		else if (errno == EPIPE || errno == ECONNRESET)
			return -EPIPE;
		else if (errno != EAGAIN && errno != EINTR)
			return -errno;
		else
			error = ready_await(io, POLLOUT, -1, until);
		if (error != 0)
			return error;
	}
	return 0;
}
