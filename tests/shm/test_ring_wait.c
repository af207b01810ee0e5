/* SPDX-License-Identifier: Apache-2.0 */
/* Sleeping and waking: time-out, wake by publish and commit, several sleepers, signals, unlink. */
#include "tests/shm/ring_test.h"

#include <signal.h>
#include <string.h>

#define SLEEPERS 4

START_TEST(wait_nothing_times_out)
{
	struct blaze_ring *ring = rt_attach(rt_name("timeout"), RT_LANE_MIN, 0, 0);
	uint64_t start = rt_now_ns();

	ck_assert_int_eq(blaze_ring_wait(ring, 0), -ETIMEDOUT);
	ck_assert_int_eq(blaze_ring_wait(ring, 1), -ETIMEDOUT);
	ck_assert_int_eq(blaze_ring_wait(ring, 250 * RT_MS), -ETIMEDOUT);
	/* Longer than the 100 ms after which it looks again by itself. */
	ck_assert_uint_ge(rt_now_ns() - start, 250 * RT_MS);
	blaze_ring_detach(ring);
}
END_TEST

START_TEST(wait_with_records_returns_until_consumed)
{
	const char *name = rt_name("ready");
	struct blaze_ring *ring = rt_attach(name, RT_LANE_MIN, 0, 0);
	struct blaze_ring *writer = rt_attach(name, RT_LANE_MIN, 0, 0);
	struct rt_collector seen = { 0 };

	rt_begin(ring);
	ck_assert_int_eq(blaze_ring_publish(writer, "a", 1), 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(blaze_ring_wait(ring, 0), 0);
	ck_assert_int_eq(blaze_ring_poll(ring, rt_collect, &seen, 0), 1);
	ck_assert_int_eq(blaze_ring_wait(ring, 0), -ETIMEDOUT);
	rt_collector_clear(&seen);
	blaze_ring_detach(ring);
	blaze_ring_detach(writer);
}
END_TEST

START_TEST(wait_several_sleepers_all_woken)
{
	const char *name = rt_name("sleepers");
	struct blaze_ring *ring = rt_attach(name, RT_LANE_MIN, 0, 0);
	struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;
	struct rt_agent agents[SLEEPERS];
	bool certain = true;

	for (unsigned i = 0; i < SLEEPERS; i++) {
		rt_agent_start(&agents[i]);
		ck_assert_int_eq(rt_agent_attach(&agents[i], name, RT_LANE_MIN, 0, 0), 0);
		ck_assert_int_eq(rt_agent_ask(&agents[i], "poll 0"), 0);
	}
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < SLEEPERS; i++)
			rt_agent_send(&agents[i], "wait %llu", (unsigned long long)BLAZE_FOREVER);
		for (unsigned i = 0; i < SLEEPERS; i++)
			certain &= rt_agent_asleep(&agents[i]);
		ck_assert_int_eq(blaze_ring_publish(ring, "wake up, all of you", 19), 0);
		for (unsigned i = 0; i < SLEEPERS; i++) {
			ck_assert_int_eq(rt_agent_answer(&agents[i], NULL), 0);
			ck_assert_int_eq(rt_agent_ask(&agents[i], "poll 0"), 1);
		}
	}
	ck_assert_int_eq(blaze_ring_stats(ring, &stats), 0);
	if (certain)
		ck_assert_uint_gt(stats.wakes, 0);
	for (unsigned i = 0; i < SLEEPERS; i++)
		rt_agent_end(&agents[i], 0);
	blaze_ring_detach(ring);
}
END_TEST

START_TEST(wait_woken_by_commit_and_publishv)
{
	const char *name = rt_name("commit");
	struct blaze_ring *ring = rt_attach(name, RT_LANE_MIN, 0, 0);
	struct rt_agent agent;
	void *data = NULL;

	rt_agent_start(&agent);
	ck_assert_int_eq(rt_agent_attach(&agent, name, RT_LANE_MIN, 0, 0), 0);
	ck_assert_int_eq(rt_agent_ask(&agent, "poll 0"), 0);
	rt_agent_send(&agent, "wait %llu", (unsigned long long)BLAZE_FOREVER);
	rt_agent_asleep(&agent);
	ck_assert_int_eq(blaze_ring_reserve(ring, 16, &data), 0);
	memset(data, 0, 16);
	ck_assert_int_eq(blaze_ring_commit(ring), 0);
	ck_assert_int_eq(rt_agent_answer(&agent, NULL), 0);
	ck_assert_int_eq(rt_agent_ask(&agent, "poll 0"), 1);
	rt_agent_send(&agent, "wait %llu", (unsigned long long)BLAZE_FOREVER);
	rt_agent_asleep(&agent);
	ck_assert_int_eq(blaze_ring_publishv(ring, &(struct iovec){ "x", 1 }, 1), 0);
	ck_assert_int_eq(rt_agent_answer(&agent, NULL), 0);
	rt_agent_end(&agent, 0);
	blaze_ring_detach(ring);
}
END_TEST

START_TEST(wait_woken_by_a_participant_that_came_later)
{
	const char *name = rt_name("later");
	struct rt_agent agent;
	struct blaze_ring *ring;

	rt_agent_start(&agent);
	ck_assert_int_eq(rt_agent_attach(&agent, name, RT_LANE_MIN, 0, 0), 0);
	rt_agent_send(&agent, "wait %llu", (unsigned long long)BLAZE_FOREVER);
	rt_agent_asleep(&agent);
	ring = rt_attach(name, RT_LANE_MIN, 0, 0);
	ck_assert_int_eq(blaze_ring_publish(ring, "hello", 5), 0);
	ck_assert_int_eq(rt_agent_answer(&agent, NULL), 0);
	ck_assert_int_eq(rt_agent_ask(&agent, "poll 0"), 1);
	rt_agent_end(&agent, 0);
	blaze_ring_detach(ring);
}
END_TEST

START_TEST(wait_signal_handler_eintr)
{
	struct rt_agent agent;

	rt_agent_start(&agent);
	ck_assert_int_eq(rt_agent_attach(&agent, rt_name("signal"), RT_LANE_MIN, 0, 0), 0);
	ck_assert_int_eq(rt_agent_ask(&agent, "alarm 150"), 0);
	ck_assert_int_eq(rt_agent_ask(&agent, "wait %llu", (unsigned long long)BLAZE_FOREVER),
	                 -EINTR);
	rt_agent_end(&agent, 0);
}
END_TEST

START_TEST(wait_asleep_unlinked_eidrm)
{
	const char *name = rt_name("unlinked");
	struct rt_agent agent;

	rt_agent_start(&agent);
	ck_assert_int_eq(rt_agent_attach(&agent, name, RT_LANE_MIN, 0, 0), 0);
	rt_agent_send(&agent, "wait %llu", (unsigned long long)BLAZE_FOREVER);
	rt_agent_asleep(&agent);
	ck_assert_int_eq(blaze_ring_unlink(name), 0);
	ck_assert_int_eq(rt_agent_answer(&agent, NULL), -EIDRM);
	rt_agent_end(&agent, 0);
	ck_assert_uint_eq(rt_left_behind(name), 0);
}
END_TEST

START_TEST(wait_ping_pong_loses_no_wake)
{
	const char *name = rt_name("pingpong");
	struct blaze_ring *ring = rt_attach(name, RT_LANE_MIN, 0, 0);
	struct rt_agent agent;

	rt_agent_start(&agent);
	ck_assert_int_eq(rt_agent_attach(&agent, name, RT_LANE_MIN, 0, 0), 0);
	ck_assert_int_eq(rt_agent_ask(&agent, "poll 0"), 0);
	/* Each wake races with the way to sleep at another point. */
	for (unsigned i = 0; i < 2000; i++) {
		rt_agent_send(&agent, "wait %llu", (unsigned long long)BLAZE_FOREVER);
		for (volatile unsigned spin = 0; spin < (i % 100) * 400; spin++) {
		}
		ck_assert_int_eq(blaze_ring_publish(ring, &i, sizeof(i)), 0);
		ck_assert_int_eq(rt_agent_answer(&agent, NULL), 0);
		ck_assert_int_eq(rt_agent_ask(&agent, "poll 0"), 1);
	}
	rt_agent_end(&agent, 0);
	blaze_ring_detach(ring);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring wait");
	TCase *tcase = tcase_create("wait");

	tcase_set_timeout(tcase, 90);
	tcase_add_test(tcase, wait_nothing_times_out);
	tcase_add_test(tcase, wait_with_records_returns_until_consumed);
	tcase_add_test(tcase, wait_several_sleepers_all_woken);
	tcase_add_test(tcase, wait_woken_by_commit_and_publishv);
	tcase_add_test(tcase, wait_woken_by_a_participant_that_came_later);
	tcase_add_test(tcase, wait_signal_handler_eintr);
	tcase_add_test(tcase, wait_asleep_unlinked_eidrm);
	tcase_add_test(tcase, wait_ping_pong_loses_no_wake);
	suite_add_tcase(suite, tcase);
	return rt_main(suite);
}
