/* SPDX-License-Identifier: Apache-2.0 */
/* What the ring's tests share: names, records that can be checked, a collector, agents.
 *
 * NAMES   Every ring is called t.<pid of the test program>.<subject>, so that programs may run
 *         side by side, and rt_main can tell at the end whether one of them stayed behind.
 * RECORDS A test record starts with a stamp (sequence number, bytes before it) and goes on with
 *         bytes that follow from both: whoever receives it can tell whether it is whole, in order
 *         and not doubled.
 * AGENTS  A second process is tests/shm/ring_helper, exec'd, told what to do by lines on its
 *         standard input, which it answers with numbers. An answer that does not come within
 *         RT_PATIENCE_MS fails the test: that is the watch for hangs, not a measurement. */
#ifndef BLAZE_TESTS_RING_TEST_H
#define BLAZE_TESTS_RING_TEST_H

#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <blaze/base.h>
#include <blaze/ring.h>

#define RT_PATIENCE_MS   30000
#define RT_LANE_MIN      (UINT64_C(64) << 10)
#define RT_KEPT_BYTES    64
#define RT_PUBLISHERS    128
#define RT_STAMP_BYTES   16
#define RT_MS            UINT64_C(1000000)
#define RT_VALUES        8
#define RT_RECORD_MAX(l) ((l) / 4 - 8)

/* What a record takes in a lane: its header, rounded up (blaze_ring_publishv). */
static inline uint64_t rt_stride(uint64_t len)
{
	return (len + 8 + 7) & ~UINT64_C(7);
}

/* Fills a record with a stamp of (seq, before) as far as len goes, and with what follows. */
void rt_fill(void *data, size_t len, uint64_t seq, uint64_t before);
/* Whether the bytes after the stamp, and the stamp if both fit, are what rt_fill made. */
bool rt_check(const void *data, size_t len, uint64_t *ret_seq, uint64_t *ret_before);

/* One record as a handler saw it. */
struct rt_seen {
	struct blaze_id publisher;
	uint64_t position;
	uint64_t len;
	bool lap;
	uint8_t data[RT_KEPT_BYTES];
};

/* A handler's memory; `verdict` negative makes it refuse. */
struct rt_collector {
	struct rt_seen *seen;
	size_t count;
	size_t cap;
	size_t calls;
	uint32_t misaligned;
	uint32_t bad_counts; /* batches of 0 or more than 256, or of several publishers */
	int verdict;
};
int rt_collect(void *arg, const struct blaze_ring_record *records, unsigned count);
void rt_collector_clear(struct rt_collector *collector);

/* A handler that checks dense sequences per publisher; see rt_fill. */
struct rt_line {
	struct blaze_id id;
	uint64_t next_seq;
	uint64_t next_before;
	bool lapped; /* the next record may be any later one */
};
struct rt_oracle {
	struct rt_line lines[RT_PUBLISHERS];
	unsigned line_count;
	uint64_t records;
	uint64_t laps;
	uint64_t lap_bytes; /* UINT64_MAX laps not included */
	uint64_t unknown_laps;
	uint64_t wrong;
	bool from_start; /* lines not yet known begin at sequence number 0 */
};
int rt_verify(void *arg, const struct blaze_ring_record *records, unsigned count);

/* The ring's name; valid until the next call but 15. */
const char *rt_name(const char *subject);
/* The directory of this user's private rings. */
const char *rt_directory(void);
/* Finds the ring's own directory on /dev/shm; "" when there is none. */
void rt_ring_path(const char *name, char *ret_path, size_t cap);
/* Paths that mention name, anywhere in the user's directory. */
unsigned rt_left_behind(const char *name);

struct blaze_ring *rt_attach(const char *name, uint64_t lane_bytes, uint64_t stall_budget_ns,
                             uint32_t flags);
/* Makes the participant a reader (its first poll). */
void rt_begin(struct blaze_ring *ring);
/* Publishes count stamped records of len bytes, numbered from *seq. */
int rt_publish(struct blaze_ring *ring, unsigned count, size_t len, uint64_t *seq);
void rt_sleep_ms(unsigned ms);
uint64_t rt_now_ns(void);

struct rt_agent {
	pid_t pid;
	int to;
	int from;
	char line[512];
	size_t have;
};
/* Starts one; fails the test when it can't. */
void rt_agent_start(struct rt_agent *agent);
void rt_agent_send(struct rt_agent *agent, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
/* The first number of the answer; all of them in values where that is not NULL. */
long long rt_agent_answer(struct rt_agent *agent, long long *values);
/* Send and answer. */
long long rt_agent_ask(struct rt_agent *agent, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
long long rt_agent_attach(struct rt_agent *agent, const char *name, uint64_t lane_bytes,
                          uint64_t stall_budget_ns, uint32_t flags);
/* With permission bits; 0: the default. */
long long rt_agent_attach_mode(struct rt_agent *agent, const char *name, unsigned mode);
/* Waits until the agent's thread is in a futex call; false where the kernel does not tell. */
bool rt_agent_asleep(const struct rt_agent *agent);
/* Sends a signal (0: none, end of input) and reaps the process; its wait status. */
int rt_agent_end(struct rt_agent *agent, int signal);

/* Runs the suite and exits: 0 all passed and no ring stayed behind. */
int rt_main(Suite *suite);

#endif
