/* SPDX-License-Identifier: Apache-2.0 */
/* One handle, three threads: one publishes, one reads, one looks at the statistics, as the contract
 * allows, while an agent does the same from the other side. */
#include "tests/shm/ring_test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define RECORDS 20000
#define LEN     48

struct threads {
	struct blaze_ring *ring;
	struct rt_oracle oracle;
	_Atomic int published;
	_Atomic int polled;
	_Atomic int stats;
	_Atomic bool done;
};

static void *publish_main(void *arg)
{
	struct threads *threads = arg;
	uint64_t seq = 0;

	atomic_store(&threads->published, rt_publish(threads->ring, RECORDS, LEN, &seq));
	return NULL;
}

static void *poll_main(void *arg)
{
	struct threads *threads = arg;
	int r = 0;

	while (threads->oracle.records < RECORDS && r >= 0) {
		r = blaze_ring_poll(threads->ring, rt_verify, &threads->oracle, 0);
		if (r == 0)
			r = blaze_ring_wait(threads->ring, RT_PATIENCE_MS * RT_MS);
	}
	atomic_store(&threads->polled, r);
	return NULL;
}

/* Counters only grow, whatever the other threads do. */
static void *stats_main(void *arg)
{
	struct blaze_ring_stats last = BLAZE_RING_STATS_INIT, now = BLAZE_RING_STATS_INIT;
	struct threads *threads = arg;
	int r = 0;

	while (r == 0 && !atomic_load(&threads->done)) {
		r = blaze_ring_stats(threads->ring, &now);
		if (now.published_records < last.published_records ||
		    now.received_records < last.received_records || now.participants != 2)
			r = -ERANGE;
		last = now;
		rt_sleep_ms(1);
	}
	atomic_store(&threads->stats, r);
	return NULL;
}

START_TEST(one_handle_publishing_polling_and_stats_at_once)
{
	const char *name = rt_name("threads");
	struct threads *threads = calloc(1, sizeof(*threads));
	struct rt_agent agent;
	pthread_t publisher, reader, looker;
	long long totals[RT_VALUES];

	ck_assert_ptr_nonnull(threads);
	threads->oracle.from_start = true;
	threads->ring = rt_attach(name, RT_LANE_MIN, BLAZE_FOREVER, 0);
	rt_begin(threads->ring);
	rt_agent_start(&agent);
	ck_assert_int_eq(rt_agent_attach(&agent, name, UINT64_C(4) << 20, BLAZE_FOREVER, 0), 0);
	ck_assert_int_eq(rt_agent_ask(&agent, "poll 0"), 0);
	ck_assert_int_eq(pthread_create(&reader, NULL, poll_main, threads), 0);
	ck_assert_int_eq(pthread_create(&looker, NULL, stats_main, threads), 0);
	ck_assert_int_eq(pthread_create(&publisher, NULL, publish_main, threads), 0);
	/* The agent's lane holds all that it publishes: it can publish first, then read. */
	ck_assert_int_eq(rt_agent_ask(&agent, "publish %d %d", RECORDS, LEN), 0);
	ck_assert_int_eq(rt_agent_ask(&agent, "drain %d %d", RECORDS, RT_PATIENCE_MS), RECORDS);
	pthread_join(publisher, NULL);
	pthread_join(reader, NULL);
	atomic_store(&threads->done, true);
	pthread_join(looker, NULL);
	ck_assert_int_eq(atomic_load(&threads->published), 0);
	ck_assert_int_ge(atomic_load(&threads->polled), 0);
	ck_assert_int_eq(atomic_load(&threads->stats), 0);
	ck_assert_uint_eq(threads->oracle.records, RECORDS);
	ck_assert_uint_eq(threads->oracle.wrong + threads->oracle.laps, 0);
	rt_agent_send(&agent, "totals");
	rt_agent_answer(&agent, totals);
	ck_assert_int_eq(totals[1] + totals[2], 0);
	rt_agent_end(&agent, 0);
	blaze_ring_detach(threads->ring);
	free(threads);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring threads");
	TCase *tcase = tcase_create("threads");

	tcase_set_timeout(tcase, 90);
	tcase_add_test(tcase, one_handle_publishing_polling_and_stats_at_once);
	suite_add_tcase(suite, tcase);
	return rt_main(suite);
}
