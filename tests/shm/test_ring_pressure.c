/* SPDX-License-Identifier: Apache-2.0 */
/* Back-pressure: nonblocking, stall budgets, overwriting once, lossless rings. */
#include "tests/shm/ring_test.h"

#include <signal.h>
#include <string.h>

/* 60 of these fit the smallest lane (60 * 1008 < 65536), 200 are three times its size. */
#define LEN   1000
#define FITS  60
#define FLOOD 200

static struct rt_agent agent;

static struct blaze_ring_stats stats_of(struct blaze_ring *ring)
{
	struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;

	ck_assert_int_eq(blaze_ring_stats(ring, &stats), 0);
	return stats;
}

/* A writer here, and an agent that has begun to read. */
static struct blaze_ring *open_with_agent(const char *name, uint64_t budget, uint32_t flags)
{
	struct blaze_ring *ring = rt_attach(name, RT_LANE_MIN, budget, flags);

	rt_agent_start(&agent);
	ck_assert_int_eq(rt_agent_attach(&agent, name, RT_LANE_MIN, 0, 0), 0);
	ck_assert_int_eq(rt_agent_ask(&agent, "poll 0"), 0);
	return ring;
}

START_TEST(nonblock_full_lane_eagain_nothing_lost)
{
	struct blaze_ring *ring = open_with_agent(rt_name("nonblock"), 0, BLAZE_RING_NONBLOCK);
	long long totals[RT_VALUES];
	uint64_t seq = 0, more;
	void *data = NULL;

	ck_assert_int_eq(rt_publish(ring, FLOOD, LEN, &seq), -EAGAIN);
	ck_assert_uint_ge(seq, FITS - 1);
	ck_assert_uint_le(seq, 65);
	ck_assert_int_eq(blaze_ring_reserve(ring, LEN, &data), -EAGAIN);
	ck_assert_int_eq(blaze_ring_commit(ring), -EINVAL);
	ck_assert_int_eq(rt_agent_ask(&agent, "drain %u 20000", (unsigned)seq), seq);
	more = seq;
	ck_assert_int_eq(rt_publish(ring, 10, LEN, &seq), 0);
	ck_assert_int_eq(rt_agent_ask(&agent, "drain 10 20000"), 10);
	rt_agent_send(&agent, "totals");
	rt_agent_answer(&agent, totals);
	ck_assert_int_eq(totals[0], more + 10);
	ck_assert_int_eq(totals[1] + totals[2], 0);
	ck_assert_uint_eq(stats_of(ring).overwrites, 0);
	rt_agent_end(&agent, 0);
	blaze_ring_detach(ring);
}
END_TEST

START_TEST(nonblock_reader_that_knows_another_lane_only_nothing_overwritten)
{
	const char *name = rt_name("nonblock2");
	struct rt_oracle oracle = { 0 };
	struct blaze_ring *reader = rt_attach(name, RT_LANE_MIN, 0, 0), *writer;
	uint64_t seq = 0;

	/* It reads already when the writer comes, and has not polled since. */
	ck_assert_int_eq(blaze_ring_poll(reader, rt_verify, &oracle, 0), 0);
	writer = rt_attach(name, RT_LANE_MIN, 0, BLAZE_RING_NONBLOCK);
	ck_assert_int_eq(rt_publish(writer, FLOOD, LEN, &seq), -EAGAIN);
	ck_assert_int_eq(blaze_ring_poll(reader, rt_verify, &oracle, 0), (int)seq);
	ck_assert_uint_eq(oracle.laps + oracle.wrong, 0);
	blaze_ring_detach(writer);
	blaze_ring_detach(reader);
}
END_TEST

START_TEST(nonblock_full_lane_reader_killed_goes_on)
{
	struct blaze_ring *ring = open_with_agent(rt_name("nonblock3"), 0, BLAZE_RING_NONBLOCK);
	uint64_t seq = 0;
	int r = -EAGAIN;

	ck_assert_int_eq(rt_publish(ring, FLOOD, LEN, &seq), -EAGAIN);
	rt_agent_end(&agent, SIGKILL);
	for (unsigned i = 0; i < 5000 && r == -EAGAIN; i++) {
		rt_sleep_ms(1);
		r = rt_publish(ring, 1, LEN, &seq);
	}
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(rt_publish(ring, FLOOD, LEN, &seq), 0);
	blaze_ring_detach(ring);
}
END_TEST

START_TEST(budget_overwrites_a_stopped_reader_once)
{
	struct blaze_ring *ring = open_with_agent(rt_name("budget"), 20 * RT_MS, 0);
	struct blaze_ring_stats stats;
	long long totals[RT_VALUES];
	uint64_t seq = 0, at_first;

	ck_assert_int_eq(rt_publish(ring, FITS - 1, LEN, &seq), 0);
	ck_assert_uint_eq(stats_of(ring).stalls, 0);
	ck_assert_int_eq(rt_publish(ring, 10, LEN, &seq), 0);
	stats = stats_of(ring);
	ck_assert_uint_eq(stats.overwrites, 1);
	ck_assert_uint_ge(stats.stall_ns, 20 * RT_MS);
	at_first = stats.stalls;
	/* One stopped reader costs one budget, once. */
	ck_assert_int_eq(rt_publish(ring, 2000, LEN, &seq), 0);
	stats = stats_of(ring);
	ck_assert_uint_eq(stats.overwrites, 1);
	ck_assert_uint_eq(stats.stalls, at_first);
	/* The reader is told, and reads on. */
	ck_assert_int_eq(rt_agent_ask(&agent, "poll 0"), -ESTALE);
	ck_assert_int_ge(rt_agent_ask(&agent, "poll 0"), 0);
	ck_assert_int_eq(rt_publish(ring, 5, LEN, &seq), 0);
	ck_assert_int_eq(rt_agent_ask(&agent, "drain 5 20000"), 5);
	rt_agent_send(&agent, "totals");
	rt_agent_answer(&agent, totals);
	ck_assert_int_eq(totals[1], 0);
	ck_assert_int_eq(totals[2], 1);
	/* What came and what was lost is all there was. */
	ck_assert_int_eq(totals[0] * (long long)rt_stride(LEN) + totals[3], seq * rt_stride(LEN));
	rt_agent_end(&agent, 0);
	blaze_ring_detach(ring);
}
END_TEST

START_TEST(no_stall_overwrites_at_once)
{
	struct blaze_ring *ring = open_with_agent(rt_name("nostall"), BLAZE_NO_STALL, 0);
	struct blaze_ring_stats stats;
	uint64_t seq = 0;

	ck_assert_int_eq(rt_publish(ring, FLOOD, LEN, &seq), 0);
	stats = stats_of(ring);
	ck_assert_uint_eq(stats.stalls, 0);
	ck_assert_uint_eq(stats.stall_ns, 0);
	ck_assert_int_eq(rt_agent_ask(&agent, "poll 0"), -ESTALE);
	rt_agent_end(&agent, 0);
	blaze_ring_detach(ring);
}
END_TEST

START_TEST(default_budget_bounds_a_publish)
{
	struct blaze_ring *ring = open_with_agent(rt_name("default"), 0, 0);
	struct blaze_ring_stats stats;
	uint64_t seq = 0;

	ck_assert_int_eq(rt_publish(ring, FLOOD, LEN, &seq), 0);
	stats = stats_of(ring);
	ck_assert_uint_eq(stats.overwrites, 1);
	ck_assert_uint_ge(stats.stall_ns, RT_MS);
	rt_agent_end(&agent, 0);
	blaze_ring_detach(ring);
}
END_TEST

/* An agent floods; the reader is this process, which may be slow. */
static struct blaze_ring *open_flooded(const char *name, struct rt_oracle *oracle)
{
	struct blaze_ring *ring = rt_attach(name, RT_LANE_MIN, 0, 0);

	memset(oracle, 0, sizeof(*oracle));
	ck_assert_int_eq(blaze_ring_poll(ring, rt_verify, oracle, 0), 0);
	rt_agent_start(&agent);
	ck_assert_int_eq(rt_agent_attach(&agent, name, RT_LANE_MIN, BLAZE_FOREVER, 0), 0);
	return ring;
}

START_TEST(lossless_slow_reader_gets_everything)
{
	struct rt_oracle oracle;
	struct blaze_ring *ring = open_flooded(rt_name("slow"), &oracle);
	long long stats[RT_VALUES];
	int r = 0;

	rt_agent_send(&agent, "publish 3000 %u", LEN);
	/* Sleeps while the lane fills, long past every budget but this one. */
	for (unsigned i = 0; i < 5; i++) {
		rt_sleep_ms(20);
		ck_assert_int_ge(blaze_ring_poll(ring, rt_verify, &oracle, 10), 0);
	}
	while (oracle.records < 3000 && (r == 0 || r == -EINTR)) {
		ck_assert_int_ge(blaze_ring_poll(ring, rt_verify, &oracle, 0), 0);
		r = oracle.records < 3000 ? blaze_ring_wait(ring, 20000 * RT_MS) : 0;
	}
	ck_assert_uint_eq(oracle.records, 3000);
	ck_assert_uint_eq(oracle.wrong + oracle.laps, 0);
	ck_assert_int_eq(rt_agent_answer(&agent, NULL), 0);
	rt_agent_send(&agent, "stats");
	rt_agent_answer(&agent, stats);
	ck_assert_int_gt(stats[6], 0); /* it did wait */
	ck_assert_int_eq(stats[7], 0); /* and overwrote nothing */
	rt_agent_end(&agent, 0);
	blaze_ring_detach(ring);
}
END_TEST

START_TEST(lossless_reader_that_has_read_nothing_is_waited_for)
{
	struct rt_oracle oracle;
	struct blaze_ring *ring = open_flooded(rt_name("fresh"), &oracle);

	/* Its cursor names no lane of this publisher yet: it counts as at the start. */
	rt_agent_send(&agent, "publish %u %u", FLOOD, LEN);
	rt_sleep_ms(50);
	for (unsigned i = 0; i < 20000 && oracle.records < FLOOD; i++) {
		int r = blaze_ring_poll(ring, rt_verify, &oracle, 0);

		ck_assert_int_ge(r, 0);
		if (r == 0)
			rt_sleep_ms(1);
	}
	ck_assert_uint_eq(oracle.records, FLOOD);
	ck_assert_uint_eq(oracle.laps + oracle.wrong, 0);
	ck_assert_uint_eq(oracle.lines[0].next_seq, FLOOD);
	ck_assert_int_eq(rt_agent_answer(&agent, NULL), 0);
	rt_agent_end(&agent, 0);
	blaze_ring_detach(ring);
}
END_TEST

/* The writer waits for a stopped reader until the reader is gone. */
static void wait_for_reader_until(const char *subject, int how)
{
	const char *name = rt_name(subject);
	struct rt_agent writer;
	long long stats[RT_VALUES];

	rt_agent_start(&agent);
	ck_assert_int_eq(rt_agent_attach(&agent, name, RT_LANE_MIN, 0, 0), 0);
	ck_assert_int_eq(rt_agent_ask(&agent, "poll 0"), 0);
	rt_agent_start(&writer);
	ck_assert_int_eq(rt_agent_attach(&writer, name, RT_LANE_MIN, BLAZE_FOREVER, 0), 0);
	rt_agent_send(&writer, "publish %u %u", FLOOD, LEN);
	rt_sleep_ms(50);
	if (how == 0) {
		ck_assert_int_eq(rt_agent_ask(&agent, "detach"), 0);
	} else {
		kill(agent.pid, SIGSTOP);
		rt_sleep_ms(30);
	}
	if (how == SIGKILL)
		rt_agent_end(&agent, SIGKILL);
	else if (how == SIGCONT)
		rt_agent_end(&agent, SIGCONT); /* it sees the end of its input, and detaches */
	ck_assert_int_eq(rt_agent_answer(&writer, NULL), 0);
	rt_agent_send(&writer, "stats");
	rt_agent_answer(&writer, stats);
	ck_assert_int_gt(stats[6], 0);
	ck_assert_int_eq(stats[7], 0);
	if (how == 0)
		rt_agent_end(&agent, 0);
	rt_agent_end(&writer, 0);
	ck_assert_uint_eq(rt_left_behind(name), 0);
}

START_TEST(lossless_goes_on_when_reader_is_killed)
{
	wait_for_reader_until("killed", SIGKILL);
}
END_TEST

START_TEST(lossless_goes_on_when_reader_detaches)
{
	wait_for_reader_until("detaches", 0);
}
END_TEST

START_TEST(lossless_goes_on_when_reader_continues_and_leaves)
{
	wait_for_reader_until("continues", SIGCONT);
}
END_TEST

START_TEST(lossless_blocked_publish_unlinked_eidrm)
{
	const char *name = rt_name("blockedunlink");
	struct blaze_ring *reader = rt_attach(name, RT_LANE_MIN, 0, 0);

	rt_begin(reader);
	rt_agent_start(&agent);
	ck_assert_int_eq(rt_agent_attach(&agent, name, RT_LANE_MIN, BLAZE_FOREVER, 0), 0);
	rt_agent_send(&agent, "publish %u %u", FLOOD, LEN);
	rt_sleep_ms(50);
	ck_assert_int_eq(blaze_ring_unlink(name), 0);
	ck_assert_int_eq(rt_agent_answer(&agent, NULL), -EIDRM);
	rt_agent_end(&agent, 0);
	blaze_ring_detach(reader);
}
END_TEST

START_TEST(participant_that_never_polled_exerts_no_pressure)
{
	const char *name = rt_name("nopoll");
	struct blaze_ring *idle = rt_attach(name, RT_LANE_MIN, 0, 0);
	struct blaze_ring *ring = rt_attach(name, RT_LANE_MIN, BLAZE_FOREVER, 0);
	uint64_t seq = 0;

	ck_assert_int_eq(rt_publish(ring, FLOOD, LEN, &seq), 0);
	ck_assert_uint_eq(stats_of(ring).stalls, 0);
	blaze_ring_detach(idle);
	blaze_ring_detach(ring);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring pressure");
	TCase *tcase = tcase_create("pressure");

	tcase_set_timeout(tcase, 90);
	tcase_add_test(tcase, nonblock_full_lane_eagain_nothing_lost);
	tcase_add_test(tcase, nonblock_reader_that_knows_another_lane_only_nothing_overwritten);
	tcase_add_test(tcase, nonblock_full_lane_reader_killed_goes_on);
	tcase_add_test(tcase, budget_overwrites_a_stopped_reader_once);
	tcase_add_test(tcase, no_stall_overwrites_at_once);
	tcase_add_test(tcase, default_budget_bounds_a_publish);
	tcase_add_test(tcase, lossless_slow_reader_gets_everything);
	tcase_add_test(tcase, lossless_reader_that_has_read_nothing_is_waited_for);
	tcase_add_test(tcase, lossless_goes_on_when_reader_is_killed);
	tcase_add_test(tcase, lossless_goes_on_when_reader_detaches);
	tcase_add_test(tcase, lossless_goes_on_when_reader_continues_and_leaves);
	tcase_add_test(tcase, lossless_blocked_publish_unlinked_eidrm);
	tcase_add_test(tcase, participant_that_never_polled_exerts_no_pressure);
	suite_add_tcase(suite, tcase);
	return rt_main(suite);
}
