/* SPDX-License-Identifier: Apache-2.0 */
/* Participants that come, go, die, fork and exec: slots, liveness, and what stays behind. */
#include "tests/shm/ring_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CROWD  62
#define ROUNDS 400

static struct rt_agent agent;

static unsigned participants(struct blaze_ring *ring)
{
	struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;

	ck_assert_int_eq(blaze_ring_stats(ring, &stats), 0);
	return stats.participants;
}

static int try_attach(const char *name, uint32_t participants_max, struct blaze_ring **ret_ring)
{
	struct blaze_ring_options options = BLAZE_RING_OPTIONS_INIT;

	options.lane_bytes = RT_LANE_MIN;
	options.participants_max = participants_max;
	return blaze_ring_attach(name, &options, ret_ring);
}

/* An agent on the ring that has begun to read. */
static void start_agent(struct rt_agent *one, const char *name)
{
	rt_agent_start(one);
	ck_assert_int_eq(rt_agent_attach(one, name, RT_LANE_MIN, 0, 0), 0);
	ck_assert_int_eq(rt_agent_ask(one, "poll 0"), 0);
}

/* Lanes in the ring's directory, those of the dead included. */
static unsigned lanes(const char *name)
{
	const struct dirent *entry;
	char path[256];
	unsigned count = 0;
	DIR *dir;

	rt_ring_path(name, path, sizeof(path));
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)))
		count += strncmp(entry->d_name, "lane.", 5) == 0;
	closedir(dir);
	return count;
}

/* Reads until nothing is left. */
static void drain(struct blaze_ring *ring, struct rt_oracle *oracle)
{
	int r;

	do
		r = blaze_ring_poll(ring, rt_verify, oracle, 0);
	while (r > 0);
	ck_assert_int_eq(r, 0);
}

START_TEST(crowd_comes_and_goes_while_traffic_flows)
{
	const char *name = rt_name("crowd");
	struct blaze_ring *crowd[CROWD] = { 0 };
	uint64_t seqs[CROWD] = { 0 }, sent = 0, seq = 0;
	struct blaze_ring *reader = rt_attach(name, RT_LANE_MIN, 0, 0);
	struct blaze_ring *steady = rt_attach(name, RT_LANE_MIN, 0, 0);
	struct rt_oracle *oracle = calloc(1, sizeof(*oracle));
	unsigned lines = 0;

	ck_assert_ptr_nonnull(oracle);
	oracle->from_start = true;
	drain(reader, oracle);
	srand(4711);
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned i = (unsigned)rand() % CROWD;

		ck_assert_int_eq(rt_publish(steady, 1, 24, &seq), 0);
		if (!crowd[i]) {
			ck_assert_int_eq(try_attach(name, 0, &crowd[i]), 0);
			seqs[i] = 0;
			lines++;
		}
		ck_assert_int_eq(rt_publish(crowd[i], 3, 16 + i, &seqs[i]), 0);
		sent += 3;
		if (rand() % 3 == 0) {
			blaze_ring_detach(crowd[i]);
			crowd[i] = NULL;
		}
		if (round % 8 == 0)
			drain(reader, oracle);
		/* Only the latest publishers matter to the oracle, which holds 128 lines. */
		if (oracle->line_count > 100)
			break;
	}
	drain(reader, oracle);
	ck_assert_uint_gt(lines, 50);
	ck_assert_uint_eq(oracle->wrong + oracle->laps, 0);
	ck_assert_uint_eq(oracle->records, sent + seq);
	ck_assert_uint_eq(oracle->line_count, lines + 1);
	for (unsigned i = 0; i < CROWD; i++)
		blaze_ring_detach(crowd[i]);
	blaze_ring_detach(steady);
	ck_assert_uint_eq(participants(reader), 1);
	blaze_ring_detach(reader);
	ck_assert_uint_eq(rt_left_behind(name), 0);
	free(oracle);
}
END_TEST

START_TEST(sixty_four_attach_and_sixty_fifth_eusers)
{
	const char *name = rt_name("full");
	struct blaze_ring *rings[64], *more = NULL;
	uint64_t slots = 0;

	for (unsigned i = 0; i < 64; i++) {
		struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;

		ck_assert_int_eq(try_attach(name, 0, &rings[i]), 0);
		ck_assert_int_eq(blaze_ring_stats(rings[i], &stats), 0);
		ck_assert_uint_lt(stats.slot, 64);
		slots |= UINT64_C(1) << stats.slot;
	}
	ck_assert_uint_eq(slots, UINT64_MAX);
	ck_assert_int_eq(try_attach(name, 0, &more), -EUSERS);
	ck_assert_ptr_null(more);
	/* All hear the last. */
	for (unsigned i = 0; i < 63; i++)
		rt_begin(rings[i]);
	ck_assert_int_eq(blaze_ring_publish(rings[63], "all", 3), 0);
	for (unsigned i = 0; i < 63; i++) {
		struct rt_collector seen = { 0 };

		ck_assert_int_eq(blaze_ring_poll(rings[i], rt_collect, &seen, 0), 1);
		rt_collector_clear(&seen);
	}
	blaze_ring_detach(rings[17]);
	ck_assert_int_eq(try_attach(name, 0, &rings[17]), 0);
	for (unsigned i = 0; i < 64; i++)
		blaze_ring_detach(rings[i]);
	ck_assert_uint_eq(rt_left_behind(name), 0);
}
END_TEST

START_TEST(killed_participant_found_dead_and_its_records_drained)
{
	const char *name = rt_name("killed");
	struct blaze_ring *reader = NULL, *heir = NULL;
	struct rt_oracle oracle = { .from_start = true };

	ck_assert_int_eq(try_attach(name, 2, &reader), 0);
	drain(reader, &oracle);
	start_agent(&agent, name);
	ck_assert_int_eq(rt_agent_ask(&agent, "publish 50 100"), 0);
	ck_assert_uint_eq(participants(reader), 2);
	ck_assert_int_eq(try_attach(name, 0, &heir), -EUSERS);
	rt_agent_end(&agent, SIGKILL);
	ck_assert_uint_eq(participants(reader), 1);
	ck_assert_int_eq(try_attach(name, 0, &heir), 0);
	drain(reader, &oracle);
	ck_assert_uint_eq(oracle.records, 50);
	ck_assert_uint_eq(oracle.wrong + oracle.laps, 0);
	blaze_ring_detach(heir);
	blaze_ring_detach(reader);
	ck_assert_uint_eq(rt_left_behind(name), 0);
}
END_TEST

START_TEST(killed_one_after_the_other_in_one_slot_all_drained)
{
	const char *name = rt_name("heirs");
	struct rt_oracle oracle = { .from_start = true };
	struct blaze_ring *reader = NULL;
	uint64_t start;

	ck_assert_int_eq(try_attach(name, 2, &reader), 0);
	drain(reader, &oracle);
	start = rt_now_ns();
	for (unsigned i = 0; i < 5; i++) {
		start_agent(&agent, name);
		ck_assert_int_eq(rt_agent_ask(&agent, "publish 20 100"), 0);
		rt_agent_end(&agent, SIGKILL);
	}
	drain(reader, &oracle);
	ck_assert_uint_eq(oracle.wrong, 0);
	/* A dead lane may go 1 s after it was found dead: a machine that slow reports the loss. */
	if (rt_now_ns() - start < 1000 * RT_MS)
		ck_assert_uint_eq(oracle.unknown_laps, 0);
	if (oracle.unknown_laps == 0)
		ck_assert_uint_eq(oracle.records, 100);
	blaze_ring_detach(reader);
	ck_assert_uint_eq(rt_left_behind(name), 0);
}
END_TEST

START_TEST(all_killed_next_attach_takes_over_and_leaves_nothing)
{
	const char *name = rt_name("takeover");
	struct rt_agent agents[4];
	struct blaze_ring *ring;

	for (unsigned i = 0; i < 4; i++) {
		start_agent(&agents[i], name);
		ck_assert_int_eq(rt_agent_ask(&agents[i], "publish 5 100"), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		rt_agent_end(&agents[i], SIGKILL);
	ck_assert_uint_gt(rt_left_behind(name), 0);
	ring = rt_attach(name, RT_LANE_MIN, 0, 0);
	ck_assert_uint_eq(participants(ring), 1);
	ck_assert_int_eq(blaze_ring_publish(ring, "on", 2), 0);
	blaze_ring_detach(ring);
	ck_assert_uint_eq(rt_left_behind(name), 0);
}
END_TEST

START_TEST(stopped_participant_counts_as_live)
{
	const char *name = rt_name("stopped");
	struct blaze_ring *ring = rt_attach(name, RT_LANE_MIN, 0, 0);
	uint64_t seq = 0;

	start_agent(&agent, name);
	kill(agent.pid, SIGSTOP);
	rt_sleep_ms(20);
	ck_assert_int_eq(rt_publish(ring, 1000, 1000, &seq), 0);
	ck_assert_uint_eq(participants(ring), 2);
	kill(agent.pid, SIGCONT);
	ck_assert_int_eq(rt_agent_ask(&agent, "poll 0"), -ESTALE);
	rt_agent_end(&agent, 0);
	ck_assert_uint_eq(participants(ring), 1);
	blaze_ring_detach(ring);
}
END_TEST

START_TEST(dead_lane_gone_before_reader_came_lap_of_unknown_size)
{
	const char *name = rt_name("buried");
	struct rt_oracle *oracle = calloc(1, sizeof(*oracle));
	struct rt_agent victim;
	struct blaze_ring *ring;
	long long totals[RT_VALUES];

	ck_assert_ptr_nonnull(oracle);
	start_agent(&agent, name);
	ring = rt_attach(name, RT_LANE_MIN, 0, 0);
	drain(ring, oracle);
	ck_assert_int_eq(rt_agent_ask(&agent, "poll 0"), 0);
	kill(agent.pid, SIGSTOP);
	rt_sleep_ms(20);
	start_agent(&victim, name);
	ck_assert_int_eq(rt_agent_ask(&victim, "publish 10 100"), 0);
	rt_agent_end(&victim, SIGKILL);
	/* A reader that sleeps buries the dead after a second, wanted or not. */
	for (unsigned i = 0; i < 300 && lanes(name) > 2; i++) {
		drain(ring, oracle);
		ck_assert_int_eq(blaze_ring_wait(ring, 100 * RT_MS) == 0, 0);
	}
	ck_assert_uint_eq(lanes(name), 2);
	ck_assert_uint_eq(oracle->records, 10);
	kill(agent.pid, SIGCONT);
	ck_assert_int_eq(rt_agent_ask(&agent, "poll 0"), -ESTALE);
	rt_agent_send(&agent, "totals");
	rt_agent_answer(&agent, totals);
	ck_assert_int_eq(totals[0], 0);
	ck_assert_int_eq(totals[4], 1);
	rt_agent_end(&agent, 0);
	blaze_ring_detach(ring);
	ck_assert_uint_eq(rt_left_behind(name), 0);
	free(oracle);
}
END_TEST

START_TEST(left_without_publishing_leaves_no_lane)
{
	const char *name = rt_name("silent");
	struct blaze_ring *ring;

	start_agent(&agent, name);
	kill(agent.pid, SIGSTOP);
	rt_sleep_ms(20);
	ck_assert_uint_eq(lanes(name), 1);
	/* The stopped one cannot come to the lane, and has nothing to read there. */
	ring = rt_attach(name, RT_LANE_MIN, 0, 0);
	ck_assert_uint_eq(lanes(name), 2);
	blaze_ring_detach(ring);
	ck_assert_uint_eq(lanes(name), 1);
	/* But for one who published it is kept. */
	ring = rt_attach(name, RT_LANE_MIN, 0, 0);
	ck_assert_int_eq(blaze_ring_publish(ring, "x", 1), 0);
	blaze_ring_detach(ring);
	ck_assert_uint_eq(lanes(name), 2);
	kill(agent.pid, SIGCONT);
	ck_assert_int_eq(rt_agent_ask(&agent, "poll 0"), 1);
	rt_agent_end(&agent, 0);
	ck_assert_uint_eq(rt_left_behind(name), 0);
}
END_TEST

START_TEST(forked_child_gets_echild_parent_goes_on)
{
	const char *name = rt_name("fork");
	struct blaze_ring *ring = NULL, *more = NULL;
	struct rt_oracle oracle = { .from_start = true };
	long long values[RT_VALUES];

	ck_assert_int_eq(try_attach(name, 2, &ring), 0);
	drain(ring, &oracle);
	start_agent(&agent, name);
	ck_assert_int_eq(rt_agent_ask(&agent, "publish 3 100"), 0);
	for (unsigned i = 0; i < 3; i++) {
		rt_agent_send(&agent, "fork");
		rt_agent_answer(&agent, values);
		for (unsigned j = 0; j < 6; j++)
			ck_assert_int_eq(values[j], -ECHILD);
		ck_assert_int_eq(values[6], 0);
		/* The child has gone, having detached its copy: the slot is the parent's still. */
		ck_assert_uint_eq(participants(ring), 2);
		ck_assert_int_eq(try_attach(name, 0, &more), -EUSERS);
		ck_assert_int_eq(rt_agent_ask(&agent, "publish 3 100"), 0);
		ck_assert_int_eq(rt_agent_ask(&agent, "poll 0"), 0);
	}
	drain(ring, &oracle);
	ck_assert_uint_eq(oracle.records, 12);
	ck_assert_uint_eq(oracle.wrong + oracle.laps, 0);
	rt_agent_end(&agent, 0);
	blaze_ring_detach(ring);
	ck_assert_uint_eq(rt_left_behind(name), 0);
}
END_TEST

/* The agent leaves a child of one kind behind, and dies: its slot must be free. */
static void die_with_child(const char *command)
{
	const char *name = rt_name(command);
	struct blaze_ring *ring = NULL, *more = NULL;

	ck_assert_int_eq(try_attach(name, 2, &ring), 0);
	start_agent(&agent, name);
	ck_assert_int_gt(rt_agent_ask(&agent, "%s", command), 0);
	ck_assert_uint_eq(participants(ring), 2);
	/* rt_agent_end closes the input that the child waits on: keep it open a while. */
	kill(agent.pid, SIGKILL);
	for (unsigned i = 0; i < 5000 && participants(ring) > 1; i++)
		rt_sleep_ms(1);
	ck_assert_uint_eq(participants(ring), 1);
	ck_assert_int_eq(try_attach(name, 0, &more), 0);
	rt_agent_end(&agent, 0);
	ck_assert_int_eq(blaze_ring_publish(more, "on", 2), 0);
	blaze_ring_detach(more);
	blaze_ring_detach(ring);
	ck_assert_uint_eq(rt_left_behind(name), 0);
}

START_TEST(parent_dies_before_forked_child_slot_is_free)
{
	die_with_child("orphan");
}
END_TEST

START_TEST(parent_dies_before_spawned_program_slot_is_free)
{
	die_with_child("spawn");
}
END_TEST

START_TEST(exec_leaves_the_ring)
{
	const char *name = rt_name("exec");
	struct blaze_ring *ring = rt_attach(name, RT_LANE_MIN, 0, 0);

	start_agent(&agent, name);
	ck_assert_uint_eq(participants(ring), 2);
	rt_agent_send(&agent, "exec");
	/* The new program is one that has attached to nothing, and may attach again. */
	ck_assert_int_eq(rt_agent_attach(&agent, name, RT_LANE_MIN, 0, 0), 0);
	ck_assert_uint_eq(participants(ring), 2);
	rt_agent_end(&agent, 0);
	ck_assert_uint_eq(participants(ring), 1);
	blaze_ring_detach(ring);
	ck_assert_uint_eq(rt_left_behind(name), 0);
}
END_TEST

START_TEST(host_closes_every_descriptor_others_unharmed)
{
	const char *name = rt_name("closefrom");
	struct blaze_ring *ring = rt_attach(name, RT_LANE_MIN, 0, 0);
	struct rt_oracle oracle = { .from_start = true };
	struct blaze_ring *late;

	drain(ring, &oracle);
	start_agent(&agent, name);
	ck_assert_int_eq(rt_agent_ask(&agent, "closefrom 3"), 0);
	ck_assert_uint_eq(participants(ring), 2);
	ck_assert_int_eq(rt_agent_ask(&agent, "publish 30 100"), 0);
	drain(ring, &oracle);
	ck_assert_uint_eq(oracle.records, 30);
	late = rt_attach(name, RT_LANE_MIN, 0, 0);
	ck_assert_uint_eq(participants(ring), 3);
	ck_assert_int_eq(blaze_ring_publish(late, "late", 4), 0);
	ck_assert_int_eq(blaze_ring_publish(ring, "on", 2), 0);
	ck_assert_int_eq(rt_agent_ask(&agent, "detach"), 0);
	ck_assert_uint_eq(participants(ring), 2);
	rt_agent_end(&agent, 0);
	blaze_ring_detach(late);
	blaze_ring_detach(ring);
	ck_assert_uint_eq(rt_left_behind(name), 0);
}
END_TEST

/* A directory that somebody left unfinished so many seconds ago, with a file in it. */
static void leave_unfinished(const char *name, time_t age_s, char *ret_path, size_t size)
{
	struct timespec times[2];
	char file[320];
	int fd;

	snprintf(ret_path, size, "%s/%s", rt_directory(), name);
	snprintf(file, sizeof(file), "%s/control", ret_path);
	ck_assert_int_eq(mkdir(ret_path, 0700), 0);
	fd = open(file, O_CREAT | O_WRONLY, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	clock_gettime(CLOCK_REALTIME, &times[0]);
	times[0].tv_sec -= age_s;
	times[1] = times[0];
	ck_assert_int_eq(utimensat(AT_FDCWD, ret_path, times, 0), 0);
}

START_TEST(unfinished_by_the_dead_gone_with_the_next_ring_made)
{
	struct blaze_ring *ring = rt_attach(rt_name("unfinished"), RT_LANE_MIN, 0, 0);
	char made[256], unlinked[256], young[256];
	struct blaze_ring *next;

	leave_unfinished(".new.7e57000000000001", 11, made, sizeof(made));
	leave_unfinished(".gone.7e57000000000002", 11, unlinked, sizeof(unlinked));
	leave_unfinished(".new.7e57000000000003", 0, young, sizeof(young));
	/* One that is there already is joined, not made. */
	next = rt_attach(rt_name("unfinished"), RT_LANE_MIN, 0, 0);
	ck_assert_int_eq(access(made, F_OK), 0);
	blaze_ring_detach(next);
	next = rt_attach(rt_name("swept"), RT_LANE_MIN, 0, 0);
	ck_assert_int_ne(access(made, F_OK), 0);
	ck_assert_int_ne(access(unlinked, F_OK), 0);
	/* Its maker may be about to name it. */
	ck_assert_int_eq(access(young, F_OK), 0);
	blaze_ring_detach(next);
	blaze_ring_detach(ring);
	strcat(young, "/control");
	unlink(young);
	*strrchr(young, '/') = '\0';
	ck_assert_int_eq(rmdir(young), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring life");
	TCase *tcase = tcase_create("life");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, crowd_comes_and_goes_while_traffic_flows);
	tcase_add_test(tcase, sixty_four_attach_and_sixty_fifth_eusers);
	tcase_add_test(tcase, killed_participant_found_dead_and_its_records_drained);
	tcase_add_test(tcase, killed_one_after_the_other_in_one_slot_all_drained);
	tcase_add_test(tcase, all_killed_next_attach_takes_over_and_leaves_nothing);
	tcase_add_test(tcase, stopped_participant_counts_as_live);
	tcase_add_test(tcase, dead_lane_gone_before_reader_came_lap_of_unknown_size);
	tcase_add_test(tcase, left_without_publishing_leaves_no_lane);
	tcase_add_test(tcase, forked_child_gets_echild_parent_goes_on);
	tcase_add_test(tcase, parent_dies_before_forked_child_slot_is_free);
	tcase_add_test(tcase, parent_dies_before_spawned_program_slot_is_free);
	tcase_add_test(tcase, exec_leaves_the_ring);
	tcase_add_test(tcase, unfinished_by_the_dead_gone_with_the_next_ring_made);
	tcase_add_test(tcase, host_closes_every_descriptor_others_unharmed);
	suite_add_tcase(suite, tcase);
	return rt_main(suite);
}
