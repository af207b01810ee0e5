/* SPDX-License-Identifier: Apache-2.0 */
/* The ring in odd surroundings: a full or small /dev/shm, PID namespaces, two users.
 *
 * Each test runs in a mount namespace of its own with a fresh tmpfs on /dev/shm. That needs root:
 * without it the program says so and exits with 77 (skipped). */
#include "tests/shm/ring_test.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Ids that nobody on the machine has. */
#define SOME_UID    54321u
#define OTHER_UID   54322u
#define SHARED_GID  54323u
#define FOREIGN_GID 54324u

/* 0, or -1 where the machine does not allow it. */
static int private_shm(const char *tmpfs_options)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -1;
	return mount("tmpfs", "/dev/shm", "tmpfs", 0, tmpfs_options);
}

static int try_attach(const char *name, uint64_t lane_bytes, struct blaze_ring **ret_ring)
{
	struct blaze_ring_options options = BLAZE_RING_OPTIONS_INIT;

	options.lane_bytes = lane_bytes;
	options.stall_budget_ns = BLAZE_NO_STALL;
	return blaze_ring_attach(name, &options, ret_ring);
}

static void fill_shm(void)
{
	static char block[4096];
	int fd = open("/dev/shm/filler", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	ssize_t n;

	ck_assert_int_ge(fd, 0);
	memset(block, 1, sizeof(block));
	do
		n = write(fd, block, sizeof(block));
	while (n > 0);
	ck_assert_int_eq(errno, ENOSPC);
	close(fd);
}

START_TEST(shm_too_small_enospc)
{
	struct blaze_ring *ring = NULL;

	ck_assert_int_eq(private_shm("size=1m,mode=1777"), 0);
	ck_assert_int_eq(try_attach("small", 0, &ring), -ENOSPC);
	ck_assert_ptr_null(ring);
	ck_assert_uint_eq(rt_left_behind("small"), 0);
	/* The same with a lane that fits. */
	ck_assert_int_eq(try_attach("small", RT_LANE_MIN, &ring), 0);
	blaze_ring_detach(ring);
}
END_TEST

START_TEST(shm_fills_up_attached_go_on)
{
	struct blaze_ring *rings[64] = { 0 };
	struct blaze_ring *more = NULL;
	unsigned count = 0;
	int r = 0;

	ck_assert_int_eq(private_shm("size=1m,mode=1777"), 0);
	while (count < 64 && (r = try_attach("fills", RT_LANE_MIN, &rings[count])) == 0)
		count++;
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert_uint_ge(count, 4);
	fill_shm();
	ck_assert_int_eq(try_attach("fills", RT_LANE_MIN, &more), -ENOSPC);
	ck_assert_int_eq(try_attach("another", RT_LANE_MIN, &more), -ENOSPC);
	for (unsigned i = 0; i < count; i++)
		rt_begin(rings[i]);
	/* Every page of every lane is written, twice: a SIGBUS would end the test. */
	for (unsigned i = 0; i < count; i++) {
		uint64_t seq = 0;

		ck_assert_int_eq(rt_publish(rings[i], 140, 1000, &seq), 0);
	}
	for (unsigned i = 0; i < count; i++) {
		struct rt_oracle *oracle = calloc(1, sizeof(*oracle));

		ck_assert_ptr_nonnull(oracle);
		do
			r = blaze_ring_poll(rings[i], rt_verify, oracle, 0);
		while (r > 0 || r == -ESTALE);
		ck_assert_int_eq(r, 0);
		ck_assert_uint_gt(oracle->records + oracle->laps, 0);
		ck_assert_uint_eq(oracle->wrong, 0);
		free(oracle);
	}
	for (unsigned i = 0; i < count; i++)
		blaze_ring_detach(rings[i]);
	ck_assert_uint_eq(rt_left_behind("fills"), 0);
	/* They left, and so there is room. */
	ck_assert_int_eq(try_attach("fills", RT_LANE_MIN, &more), 0);
	blaze_ring_detach(more);
}
END_TEST

START_TEST(shm_without_inodes_enospc)
{
	struct blaze_ring *ring = NULL;

	ck_assert_int_eq(private_shm("size=16m,nr_inodes=2,mode=1777"), 0);
	ck_assert_int_eq(try_attach("inodes", RT_LANE_MIN, &ring), -ENOSPC);
	ck_assert_ptr_null(ring);
}
END_TEST

START_TEST(shm_of_64_mib_serves_eight_default_lanes)
{
	struct blaze_ring *rings[8];
	uint64_t seq = 0;

	ck_assert_int_eq(private_shm("size=64m,mode=1777"), 0);
	for (unsigned i = 0; i < 8; i++) {
		ck_assert_int_eq(try_attach("container", 0, &rings[i]), 0);
		rt_begin(rings[i]);
	}
	ck_assert_int_eq(rt_publish(rings[0], 100, 1000, &seq), 0);
	for (unsigned i = 1; i < 8; i++) {
		struct rt_collector seen = { 0 };

		ck_assert_int_eq(blaze_ring_poll(rings[i], rt_collect, &seen, 0), 100);
		rt_collector_clear(&seen);
	}
	for (unsigned i = 0; i < 8; i++)
		blaze_ring_detach(rings[i]);
}
END_TEST

static unsigned participants(struct blaze_ring *ring)
{
	struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;

	ck_assert_int_eq(blaze_ring_stats(ring, &stats), 0);
	return stats.participants;
}

START_TEST(pid_namespaces_see_each_other_live_and_dead)
{
	struct rt_collector seen = { 0 };
	struct blaze_ring *ring = NULL;
	struct rt_agent agent;
	long long values[RT_VALUES];

	ck_assert_int_eq(private_shm("size=64m,mode=1777"), 0);
	ck_assert_int_eq(try_attach("pids", RT_LANE_MIN, &ring), 0);
	rt_agent_start(&agent);
	/* Who answers from here on is process 1 of a namespace of its own. */
	ck_assert_int_eq(rt_agent_ask(&agent, "newpid"), 1);
	ck_assert_int_eq(rt_agent_attach(&agent, "pids", RT_LANE_MIN, 0, 0), 0);
	ck_assert_int_eq(rt_agent_ask(&agent, "poll 0"), 0);
	rt_begin(ring);
	ck_assert_uint_eq(participants(ring), 2);
	rt_agent_send(&agent, "stats");
	rt_agent_answer(&agent, values);
	ck_assert_int_eq(values[1], 2);
	ck_assert_int_eq(blaze_ring_publish(ring, "in", 2), 0);
	ck_assert_int_eq(rt_agent_ask(&agent, "poll 0"), 1);
	ck_assert_int_eq(rt_agent_ask(&agent, "publish 3 64"), 0);
	rt_agent_end(&agent, SIGKILL);
	/* The one inside follows the one outside to death in a moment. */
	for (unsigned i = 0; i < 5000 && participants(ring) > 1; i++)
		rt_sleep_ms(1);
	ck_assert_uint_eq(participants(ring), 1);
	ck_assert_int_eq(blaze_ring_poll(ring, rt_collect, &seen, 0), 3);
	rt_collector_clear(&seen);
	blaze_ring_detach(ring);
	ck_assert_uint_eq(rt_left_behind("pids"), 0);
}
END_TEST

START_TEST(pid_namespace_sees_outer_participant_leave)
{
	struct blaze_ring *ring = NULL;
	struct rt_agent agent;
	long long values[RT_VALUES];

	ck_assert_int_eq(private_shm("size=64m,mode=1777"), 0);
	ck_assert_int_eq(try_attach("pidsleave", RT_LANE_MIN, &ring), 0);
	rt_agent_start(&agent);
	ck_assert_int_eq(rt_agent_ask(&agent, "newpid"), 1);
	ck_assert_int_eq(rt_agent_attach(&agent, "pidsleave", RT_LANE_MIN, 0, 0), 0);
	blaze_ring_detach(ring);
	rt_agent_send(&agent, "stats");
	rt_agent_answer(&agent, values);
	ck_assert_int_eq(values[1], 1);
	rt_agent_end(&agent, 0);
	ck_assert_uint_eq(rt_left_behind("pidsleave"), 0);
}
END_TEST

static void start_as(struct rt_agent *agent, unsigned uid, unsigned gid)
{
	rt_agent_start(agent);
	ck_assert_int_eq(rt_agent_ask(agent, "become %u %u", uid, gid), 0);
}

START_TEST(group_ring_joins_two_users)
{
	struct rt_agent one, two, stranger;
	long long values[RT_VALUES];
	char path[64];
	struct stat st;

	ck_assert_int_eq(private_shm("size=64m,mode=1777"), 0);
	start_as(&one, SOME_UID, SHARED_GID);
	start_as(&two, OTHER_UID, SHARED_GID);
	start_as(&stranger, OTHER_UID, FOREIGN_GID);
	ck_assert_int_eq(rt_agent_attach_mode(&one, "team", 0660), 0);
	ck_assert_int_eq(rt_agent_attach_mode(&two, "team", 0660), 0);
	/* Another group's directory: another ring. */
	ck_assert_int_eq(rt_agent_attach_mode(&stranger, "team", 0660), 0);
	ck_assert_int_eq(rt_agent_ask(&two, "poll 0"), 0);
	ck_assert_int_eq(rt_agent_ask(&one, "poll 0"), 0);
	ck_assert_int_eq(rt_agent_ask(&stranger, "poll 0"), 0);
	ck_assert_int_eq(rt_agent_ask(&one, "publish 5 64"), 0);
	ck_assert_int_eq(rt_agent_ask(&two, "drain 5 20000"), 5);
	ck_assert_int_eq(rt_agent_ask(&two, "publish 7 64"), 0);
	ck_assert_int_eq(rt_agent_ask(&one, "drain 7 20000"), 7);
	ck_assert_int_eq(rt_agent_ask(&stranger, "poll 0"), 0);
	rt_agent_send(&one, "stats");
	rt_agent_answer(&one, values);
	ck_assert_int_eq(values[1], 2);
	snprintf(path, sizeof(path), "/dev/shm/blaze-g%u", SHARED_GID);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 02770);
	ck_assert_uint_eq(st.st_gid, SHARED_GID);
	rt_agent_end(&one, SIGKILL);
	rt_agent_send(&two, "stats");
	rt_agent_answer(&two, values);
	ck_assert_int_eq(values[1], 1);
	rt_agent_end(&two, 0);
	rt_agent_end(&stranger, 0);
}
END_TEST

START_TEST(private_rings_of_two_users_are_two)
{
	struct rt_agent one, two;
	long long values[RT_VALUES];

	ck_assert_int_eq(private_shm("size=64m,mode=1777"), 0);
	start_as(&one, SOME_UID, SHARED_GID);
	start_as(&two, OTHER_UID, SHARED_GID);
	ck_assert_int_eq(rt_agent_attach_mode(&one, "mine", 0), 0);
	ck_assert_int_eq(rt_agent_attach_mode(&two, "mine", 0), 0);
	rt_agent_send(&one, "stats");
	rt_agent_answer(&one, values);
	ck_assert_int_eq(values[1], 1);
	rt_agent_end(&one, 0);
	rt_agent_end(&two, 0);
}
END_TEST

START_TEST(directory_of_another_user_eacces)
{
	struct rt_agent one;
	char path[64];

	ck_assert_int_eq(private_shm("size=64m,mode=1777"), 0);
	/* Someone was quicker, and made the directory that this user's rings belong in. */
	snprintf(path, sizeof(path), "/dev/shm/blaze-%u", SOME_UID);
	ck_assert_int_eq(mkdir(path, 0777), 0);
	ck_assert_int_eq(chmod(path, 0777), 0);
	ck_assert_int_eq(chown(path, OTHER_UID, SHARED_GID), 0);
	start_as(&one, SOME_UID, SHARED_GID);
	ck_assert_int_eq(rt_agent_attach_mode(&one, "mine", 0), -EACCES);
	rt_agent_end(&one, 0);
}
END_TEST

/* Tries in a child: the namespaces of this process stay as they are. */
static bool allowed(void)
{
	int status = 1;
	pid_t child = fork();

	if (child == 0)
		_exit(private_shm("size=1m") == 0 && unshare(CLONE_NEWPID) == 0 ? 0 : 1);
	if (child > 0)
		waitpid(child, &status, 0);
	return status == 0;
}

int main(void)
{
	Suite *suite = suite_create("ring env");
	TCase *tcase = tcase_create("env");

	if (!allowed()) {
		fprintf(stderr, "skipped: mount and PID namespaces need root\n");
		return 77;
	}
	setenv("CK_FORK", "yes", 1);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, shm_too_small_enospc);
	tcase_add_test(tcase, shm_fills_up_attached_go_on);
	tcase_add_test(tcase, shm_without_inodes_enospc);
	tcase_add_test(tcase, shm_of_64_mib_serves_eight_default_lanes);
	tcase_add_test(tcase, pid_namespaces_see_each_other_live_and_dead);
	tcase_add_test(tcase, pid_namespace_sees_outer_participant_leave);
	tcase_add_test(tcase, group_ring_joins_two_users);
	tcase_add_test(tcase, private_rings_of_two_users_are_two);
	tcase_add_test(tcase, directory_of_another_user_eacces);
	suite_add_tcase(suite, tcase);
	return rt_main(suite);
}
