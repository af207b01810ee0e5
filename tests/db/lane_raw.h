/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of hostile clients share: a database that is open, and clients that send bytes. */
#ifndef TESTS_DB_LANE_RAW_H
#define TESTS_DB_LANE_RAW_H

#include <sys/socket.h>
#include <sys/un.h>

#include "tests/db/lane.h"

static struct blaze_db *db;

static inline void setup(void)
{
	stored_setup();
	db = stored_open("lane", 0, 0, 0);
}

/* Whatever was done to it: it serves, has nothing that was not written to it, and closes. */
static inline void teardown(void)
{
	struct blazei_lane_caller *caller = NULL;
	uint64_t until = 0;
	int error;

	do
		error = blazei_lane_connect(stored_path(0), NULL, NULL, &caller);
	while (error == -EBUSY && time_is_left(&until));
	ck_assert_int_eq(error, 0);
	ck_assert_int_eq(blaze_db_count(db), 0);
	lane_set(caller, 1, 1);
	ck_assert_int_eq(blaze_db_count(db), 1);
	blazei_lane_disconnect(caller);
	ck_assert_int_eq(blaze_db_close(db), 0);
	stored_teardown();
}

/* Raw clients --------------------------------------------------------------------------------- */

static inline struct sockaddr_un lane_address(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/lane", stored_path(0));
	return address;
}

static inline int raw_connect(void)
{
	const struct sockaddr_un address = lane_address();
	const struct timeval patience = { .tv_sec = 60 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static inline void raw_send(int fd, const void *data, size_t len)
{
	if (len > 0)
		ck_assert_int_eq(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Reads an answer: its error; 1: the other side has gone without one. */
static inline int raw_answer(int fd, struct blazei_lane_header *ret_header)
{
	char body[4096];
	ssize_t n = recv(fd, ret_header, sizeof(*ret_header), MSG_WAITALL);

	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return 1;
	ck_assert_int_eq(n, sizeof(*ret_header));
	ck_assert_uint_le(ret_header->bytes, sizeof(body));
	if (ret_header->bytes > 0)
		ck_assert_int_eq(recv(fd, body, ret_header->bytes, MSG_WAITALL), ret_header->bytes);
	return ret_header->error;
}

/* Whether the holder has ended it. */
static inline bool raw_ended(int fd)
{
	struct blazei_lane_header header;

	return raw_answer(fd, &header) == 1;
}

/* Sends a request and gives the error of its answer. */
static inline int raw_ask(int fd, uint16_t kind, const void *body, size_t len)
{
	const struct blazei_lane_header header = { .bytes = (uint32_t)len, .kind = kind };
	struct blazei_lane_header answer;
	int error;

	raw_send(fd, &header, sizeof(header));
	raw_send(fd, body, len);
	error = raw_answer(fd, &answer);
	ck_assert(error == 1 || answer.kind == (kind | BLAZEI_LANE_ANSWER));
	return error;
}

static inline int raw_hello(void)
{
	const struct blazei_lane_hello hello = blazei_lane_hello_make();
	int fd = raw_connect();

	ck_assert_int_eq(raw_ask(fd, BLAZEI_LANE_HELLO, &hello, sizeof(hello)), 0);
	return fd;
}

static inline void patience_set(uint64_t ns)
{
	atomic_store_explicit(&db->lane->patience_ns, ns, memory_order_relaxed);
}

static inline uint64_t thread_ns(pthread_t thread)
{
	struct timespec time;
	clockid_t clock;

	ck_assert_int_eq(pthread_getcpuclockid(thread, &clock), 0);
	ck_assert_int_eq(clock_gettime(clock, &time), 0);
	return (uint64_t)time.tv_sec * BLAZEI_NS_PER_S + (uint64_t)time.tv_nsec;
}

#endif
