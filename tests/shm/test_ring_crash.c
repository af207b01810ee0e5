/* SPDX-License-Identifier: Apache-2.0 */
/* Death and stand-still at every named moment of the ring: P5, with the process itself saying when.
 *
 * A victim, this program exec'd anew with BLAZE_TESTPOINT set, is killed or stopped at one test
 * point. Meanwhile and afterwards others attach, publish, read, leave: none may wait for the
 * victim, lose a record of another, see half a record of the victim's, and at the end nothing may
 * stay. Only in builds with --enable-testpoints; elsewhere skipped. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "tests/shm/ring_test.h"

#define SKIPPED 77

#ifndef BLAZE_TESTPOINTS

int main(void)
{
	return SKIPPED;
}

#else

#define RECORDS      10
#define PATIENCE_MS  10000
#define EXIT_REACHED 40 /* the victim came to its end: the point was not on its way */

/* What the victim does, and the points on that way. */
static const struct point {
	const char *name;
	const char *script;
} points[] = {
	{ "ring_create_directory", "life" },   { "ring_create_control", "life" },
	{ "ring_slot_locked", "life" },        { "ring_segment_made", "life" },
	{ "ring_segment_linked", "life" },     { "ring_attach_announced", "life" },
	{ "ring_reader_flagged", "life" },     { "ring_publish_before_tail", "life" },
	{ "ring_publish_after_tail", "life" }, { "ring_detach_reaped", "life" },
	{ "ring_detach_left", "life" },        { "ring_remove_lanes", "life" },
	{ "ring_remove_control", "life" },     { "ring_poll_copied", "join" },
	{ "ring_poll_handed_over", "join" },   { "ring_sleep_announced", "join" },
	{ "ring_slot_locked", "join" },        { "ring_attach_announced", "join" },
	{ "ring_detach_reaped", "join" },      { "ring_detach_left", "join" },
	{ "ring_wake_before_futex", "wake" },  { "ring_reap_before_unlink", "reap" },
	{ "ring_reap_after_unlink", "reap" },  { "ring_unlink_renamed", "unlink" },
	{ "ring_unlink_marked", "unlink" },
};
#define POINTS       (sizeof(points) / sizeof(points[0]))

/* The victim --------------------------------------------------------------------------------- */

static int ignore(void *arg, const struct blaze_ring_record *records, unsigned count)
{
	(void)arg;
	(void)records;
	(void)count;
	return 0;
}

static int victim_publish(struct blaze_ring *ring)
{
	uint64_t seq = 0;

	for (unsigned i = 0; i < RECORDS; i++) {
		char data[100];

		rt_fill(data, sizeof(data), seq, seq * sizeof(data));
		seq++;
		if (blaze_ring_publish(ring, data, sizeof(data)) < 0)
			return -1;
	}
	return 0;
}

struct laps {
	unsigned unknown;
	unsigned others;
};

static int count_laps(void *arg, const struct blaze_ring_record *records, unsigned count)
{
	struct laps *laps = arg;

	for (unsigned i = 0; i < count; i++) {
		laps->unknown += records[i].data == NULL && records[i].len == SIZE_MAX;
		laps->others += records[i].data != NULL || records[i].len != SIZE_MAX;
	}
	return 0;
}

/* Becomes a reader of an empty ring, stops, then meets a lane that is gone before it opens it. */
static int missed_main(const char *name)
{
	struct laps laps = { 0 };
	struct blaze_ring *ring;
	unsigned stale = 0;

	if (blaze_ring_attach(name, NULL, &ring) < 0 || blaze_ring_poll(ring, ignore, NULL, 0) < 0)
		return 1;
	kill(getpid(), SIGSTOP);
	for (unsigned i = 0; i < 3; i++) {
		const int rc = blaze_ring_poll(ring, count_laps, &laps, 0);

		if (rc < 0 && rc != -ESTALE)
			return 2;
		stale += rc == -ESTALE;
	}
	blaze_ring_detach(ring);
	return stale == 1 && laps.unknown == 1 && laps.others == 0 ? EXIT_REACHED : 3;
}

/* Comes, reads what is there, publishes, goes; with "join" it waits for something to read. */
static int victim_main(const char *name, const char *script)
{
	struct blaze_ring *ring;

	if (strcmp(script, "missed") == 0)
		return missed_main(name);
	if (strcmp(script, "unlink") == 0)
		return blaze_ring_unlink(name) == 0 ? EXIT_REACHED : 1;
	if (blaze_ring_attach(name, NULL, &ring) < 0)
		return 1;
	if (blaze_ring_poll(ring, ignore, NULL, 0) < 0)
		return 2;
	if (strcmp(script, "join") == 0) {
		if (blaze_ring_wait(ring, 5 * BLAZEI_NS_PER_S) < 0 ||
		    blaze_ring_poll(ring, ignore, NULL, 0) < 0)
			return 3;
		(void)blaze_ring_wait(ring, 1000000);
	}
	if (victim_publish(ring) < 0)
		return 4;
	blaze_ring_detach(ring);
	return EXIT_REACHED;
}

/* Those who live ----------------------------------------------------------------------------- */

static pid_t victim_start(const char *name, const struct point *point, const char *action)
{
	char setting[96];
	pid_t pid;

	snprintf(setting, sizeof(setting), "%s=%s", point->name, action);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		setenv("BLAZE_TESTPOINT", setting, 1);
		execl("/proc/self/exe", "victim", name, point->script, (char *)NULL);
		_exit(99);
	}
	return pid;
}

/* Waits until the victim is killed or stopped, feeding it through `feed`. */
static void victim_await(pid_t pid, const char *action, struct blaze_ring *feed)
{
	const int want_stop = strcmp(action, "stop") == 0;
	int status = 0;

	for (unsigned ms = 0; ms < PATIENCE_MS; ms++) {
		const pid_t got = waitpid(pid, &status, WUNTRACED | WNOHANG);

		ck_assert_int_ge(got, 0);
		if (got == pid) {
			ck_assert_msg(want_stop
			                      ? WIFSTOPPED(status)
			                      : WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
			              "the victim did not come to its point: status %x", status);
			return;
		}
		if (feed)
			ck_assert_int_eq(blaze_ring_publish(feed, "feed", 4), 0);
		rt_sleep_ms(1);
	}
	ck_abort_msg("the victim came to no end");
}

/* Two newcomers find each other and pass records, whatever the victim left. */
static void others_go_on(const char *name)
{
	struct blaze_ring *a = rt_attach(name, 0, 0, 0), *b = rt_attach(name, 0, 0, 0);
	struct rt_oracle *oracle = calloc(1, sizeof(*oracle));
	uint64_t seq = 0;

	ck_assert_ptr_nonnull(oracle);
	rt_begin(b);
	ck_assert_int_eq(rt_publish(a, 1000, 64, &seq), 0);
	while (oracle->records < 1000) {
		const int rc = blaze_ring_poll(b, rt_verify, oracle, 0);

		ck_assert_int_ge(rc, 0);
		if (rc == 0)
			ck_assert_int_eq(blaze_ring_wait(b, 10 * BLAZEI_NS_PER_S), 0);
	}
	ck_assert_uint_eq(oracle->wrong, 0);
	blaze_ring_detach(a);
	blaze_ring_detach(b);
	free(oracle);
}

/* A survivor that was there before: what it has of the victim is a whole, dense prefix. */
static void survivor_reads(struct blaze_ring *ring, struct rt_oracle *oracle)
{
	int rc;

	while ((rc = blaze_ring_poll(ring, rt_verify, oracle, 0)) > 0)
		;
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_eq(oracle->wrong, 0);
	ck_assert_uint_le(oracle->records, RECORDS);
}

/* Unfinished directories are nobody's ring; whoever makes a ring 10 s later removes them, and here
 * we do. */
static void remove_unfinished(void)
{
	DIR *listing = opendir(rt_directory());
	struct dirent *entry;
	char path[512];

	while (listing && (entry = readdir(listing))) {
		if (strncmp(entry->d_name, ".new.", 5) != 0 &&
		    strncmp(entry->d_name, ".gone.", 6) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s/control", rt_directory(), entry->d_name);
		unlink(path);
		snprintf(path, sizeof(path), "%s/%s", rt_directory(), entry->d_name);
		rmdir(path);
	}
	if (listing)
		closedir(listing);
}

/* A dead participant's lane, which the survivor has come to: the next one to attach buries it. */
static void leave_a_corpse(const char *name, struct blaze_ring *survivor)
{
	const pid_t pid = fork();

	if (pid == 0) {
		struct blaze_ring *ring;

		if (blaze_ring_attach(name, NULL, &ring) < 0)
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	ck_assert_int_ge(pid, 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(blaze_ring_poll(survivor, ignore, NULL, 0), 0);
}

static void run_point(const struct point *point, const char *action)
{
	const bool life = strcmp(point->script, "life") == 0;
	const bool wake = strcmp(point->script, "wake") == 0;
	struct rt_oracle *oracle = calloc(1, sizeof(*oracle));
	const char *name = rt_name("crash");
	struct blaze_ring *survivor = NULL;
	pid_t victim, sleeper = -1;
	int status;

	ck_assert_ptr_nonnull(oracle);
	oracle->from_start = true;
	/* "life" is all of a ring's life, creation and removal too, so the victim is alone. */
	if (!life) {
		survivor = rt_attach(name, 0, 0, 0);
		rt_begin(survivor);
	}
	if (wake && (sleeper = fork()) == 0) {
		struct blaze_ring *ring;

		_exit(blaze_ring_attach(name, NULL, &ring) == 0 &&
		                      blaze_ring_wait(ring, 10 * BLAZEI_NS_PER_S) == 0
		              ? 0
		              : 1);
	}
	if (wake)
		rt_sleep_ms(100); /* asleep by then; if not, the point is not reached and we fail */
	if (strcmp(point->script, "reap") == 0)
		leave_a_corpse(name, survivor);
	victim = victim_start(name, point, action);
	victim_await(victim, action, strcmp(point->script, "join") == 0 ? survivor : NULL);
	if (survivor && strcmp(point->script, "unlink") != 0)
		survivor_reads(survivor, oracle);
	if (sleeper > 0) {
		/* Its wake may have died with the victim: then the next look is 100 ms away. */
		ck_assert_int_eq(waitpid(sleeper, &status, 0), sleeper);
		ck_assert_int_eq(status, 0);
	}
	others_go_on(name);
	blaze_ring_detach(survivor);
	others_go_on(name);
	if (strcmp(action, "stop") == 0) {
		ck_assert_int_eq(kill(victim, SIGCONT), 0);
		ck_assert_int_eq(waitpid(victim, &status, 0), victim);
		/* It went on where it stood; a ring removed under it is a clear error at most. */
		ck_assert_msg(WIFEXITED(status), "the victim ended with status %x", status);
	}
	others_go_on(name);
	remove_unfinished();
	ck_assert_msg(rt_left_behind(name) == 0, "%s=%s leaves something", point->name, action);
	free(oracle);
}

START_TEST(point_killed_others_go_on)
{
	run_point(&points[_i], "kill");
}
END_TEST

START_TEST(point_stopped_nobody_waits)
{
	run_point(&points[_i], "stop");
}
END_TEST

/* Removes the lane files of a ring that are not among `kept`; returns their number. */
static unsigned lanes_remove(const char *name, const char *kept)
{
	const struct dirent *entry;
	char path[512], file[1024];
	unsigned count = 0;
	DIR *listing;

	rt_ring_path(name, path, sizeof(path));
	listing = opendir(path);
	ck_assert_ptr_nonnull(listing);
	while ((entry = readdir(listing))) {
		if (entry->d_name[0] == '.' || strcmp(entry->d_name, "control") == 0 ||
		    strcmp(entry->d_name, kept) == 0)
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		ck_assert_int_eq(unlink(file), 0);
		count++;
	}
	closedir(listing);
	return count;
}

/* The only lane file of a ring. */
static void lane_only(const char *name, char *ret_file, size_t cap)
{
	const struct dirent *entry;
	char path[512];
	DIR *listing;

	rt_ring_path(name, path, sizeof(path));
	listing = opendir(path);
	ck_assert_ptr_nonnull(listing);
	while ((entry = readdir(listing)))
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, "control") != 0)
			snprintf(ret_file, cap, "%s", entry->d_name);
	closedir(listing);
}

START_TEST(lane_gone_between_listing_and_opening_lap_of_unknown_size)
{
	static const struct point point = { "ring_lane_listed", "missed" };
	const char *name = rt_name("missed");
	const pid_t victim = victim_start(name, &point, "stop");
	struct blaze_ring *publisher;
	char own[256] = "";
	int status;

	victim_await(victim, "stop", NULL); /* it reads */
	lane_only(name, own, sizeof(own));
	publisher = rt_attach(name, 0, 0, 0);
	ck_assert_int_eq(blaze_ring_publish(publisher, "lost", 4), 0);
	ck_assert_int_eq(kill(victim, SIGCONT), 0);
	victim_await(victim, "stop", NULL); /* it has seen the lane's name */
	ck_assert_uint_eq(lanes_remove(name, own), 1);
	ck_assert_int_eq(kill(victim, SIGCONT), 0);
	ck_assert_int_eq(waitpid(victim, &status, 0), victim);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_REACHED,
	              "the reader ended with status %x", status);
	blaze_ring_detach(publisher);
	ck_assert_uint_eq(rt_left_behind(name), 0);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite;
	TCase *crash;

	if (argc == 3 && strcmp(argv[0], "victim") == 0)
		return victim_main(argv[1], argv[2]);
	suite = suite_create("ring_crash");
	crash = tcase_create("points");
	tcase_set_timeout(crash, 60);
	tcase_add_loop_test(crash, point_killed_others_go_on, 0, POINTS);
	tcase_add_loop_test(crash, point_stopped_nobody_waits, 0, POINTS);
	tcase_add_test(crash, lane_gone_between_listing_and_opening_lap_of_unknown_size);
	suite_add_tcase(suite, crash);
	return rt_main(suite);
}

#endif
