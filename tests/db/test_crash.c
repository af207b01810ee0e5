/* SPDX-License-Identifier: Apache-2.0 */
/* Death and stand-still at every named moment of a database: P5, one level above the ring.
 *
 * A victim, this program exec'd anew with BLAZE_TESTPOINT set, joins two databases and is killed or
 * stopped at one test point: as it asks for what it lacks, or between a commit, its publication and
 * the board. Meanwhile and afterwards the others write, wait for each other and take in a newcomer:
 * none may wait for the victim, all must end with equal hashes, and nothing may stay in /dev/shm.
 * One that was stopped goes on and must come into step too. Only in builds with
 * --enable-testpoints; elsewhere skipped. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/db/node.h"

#define SKIPPED 77

#ifndef BLAZE_TESTPOINTS

int main(void)
{
	return SKIPPED;
}

#else

#define RECORDS      50
#define PATIENCE_MS  20000
#define STEP_NS      (10 * BLAZEI_NS_PER_S) /* for one wait of those who live */
#define DIGEST_BYTES 16

/* What the victim does, and the points on that way. `published`: what it wrote must be with all. */
static const struct point {
	const char *name;
	bool writes;
	bool published;
} points[] = {
	{ .name = "pull_named" },
	{ .name = "pull_made" },
	{ .name = "db_write_committed", .writes = true },
	{ .name = "db_write_published", .writes = true, .published = true },
};
#define POINTS       (sizeof(points) / sizeof(points[0]))

/* The record that the victim writes. */
static const struct blaze_id written = { .bytes = { 1, 2, 3, 4, 5, 6, 0x40, 0, 0x80, 0, 9 } };

/* The victim --------------------------------------------------------------------------------- */

static int victim_write(struct blaze_db *db)
{
	struct blaze_record *record;
	int error = blaze_record_new(&record);

	if (error == 0)
		error = blaze_record_set_int(record, "n", 7);
	if (error == 0)
		error = blaze_db_insert_with_id(db, &written, record);
	blaze_record_free(record);
	return error;
}

/* Joins "a", which makes it fetch what is there; writes if asked to; waits until it has all, says
 * its hash and goes when its input ends. A wait is for what was there when it began, which may have
 * been before the victim was stopped: the second one is for what was written meanwhile. */
static int victim_main(const char *db_name, bool writes)
{
	struct blaze_topology *topology;
	struct blaze_id self, other;
	uint8_t digest[DIGEST_BYTES];
	struct blaze_db *db;
	char byte;

	if (blaze_db_open(db_name, NULL, NULL, &db) != 0 || blaze_topology_new(&topology) != 0 ||
	    blaze_topology_register(topology, db, "v", BLAZE_ROLE_PEER, &self) != 0)
		return 1;
	if (blaze_topology_find(topology, db_name, "a", 0, &other) != 0 ||
	    blaze_topology_connect_local(topology, &self, &other, BLAZE_LINK_BIDIRECTIONAL) != 0)
		return 2;
	if (writes && victim_write(db) != 0)
		return 3;
	if (blaze_topology_wait(topology, &self, WAIT_NS) != 0 ||
	    blaze_topology_wait(topology, &self, WAIT_NS) != 0)
		return 4;
	if (blaze_db_hash(db, digest) != 0 || write(1, digest, sizeof(digest)) != sizeof(digest))
		return 5;
	if (read(0, &byte, 1) != 0)
		return 6;
	blaze_topology_free(topology);
	return blaze_db_close(db) == 0 ? 0 : 7;
}

struct victim {
	pid_t pid;
	int to;
	int from;
};

static struct victim victim_start(const char *db_name, const struct point *point,
                                  const char *action)
{
	struct victim victim;
	int to[2], from[2];
	char setting[96];

	ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
	snprintf(setting, sizeof(setting), "%s=%s", point->name, action);
	victim.pid = fork();
	ck_assert_int_ge(victim.pid, 0);
	if (victim.pid == 0) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		setenv("BLAZE_TESTPOINT", setting, 1);
		execl("/proc/self/exe", "victim", db_name, point->writes ? "w" : "r", (char *)NULL);
		_exit(99);
	}
	close(to[0]);
	close(from[1]);
	victim.to = to[1];
	victim.from = from[0];
	return victim;
}

/* Waits until the victim stands or lies at its point. */
static void victim_await(const struct victim *victim, bool stop)
{
	int status = 0;

	for (unsigned ms = 0; ms < PATIENCE_MS; ms++) {
		const pid_t got = waitpid(victim->pid, &status, WUNTRACED | WNOHANG);

		ck_assert_int_ge(got, 0);
		if (got == victim->pid) {
			ck_assert_msg(stop ? WIFSTOPPED(status)
			                   : WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
			              "the victim did not come to its point: status %x", status);
			return;
		}
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	}
	kill(victim->pid, SIGKILL);
	ck_abort_msg("the victim came to no end");
}

/* It goes on where it stood, and must end with what all have. */
static void victim_continue(const struct victim *victim, const struct node *other)
{
	uint8_t its[DIGEST_BYTES], ours[DIGEST_BYTES];
	int status = 0;

	ck_assert_int_eq(kill(victim->pid, SIGCONT), 0);
	ck_assert_int_eq(read(victim->from, its, sizeof(its)), sizeof(its));
	node_wait(other);
	ck_assert_int_eq(blaze_db_hash(other->db, ours), 0);
	ck_assert_mem_eq(its, ours, sizeof(ours));
	close(victim->to);
	ck_assert_int_eq(waitpid(victim->pid, &status, 0), victim->pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the victim: status %x",
	              status);
	close(victim->from);
}

/* Those who live ----------------------------------------------------------------------------- */

/* Names on /dev/shm that hold `text`. */
static unsigned left_behind(const char *text)
{
	char path[64];
	struct dirent *entry;
	unsigned count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/dev/shm/blaze-%u", (unsigned)geteuid());
	dir = opendir(path);
	while (dir != NULL && (entry = readdir(dir)) != NULL)
		count += strstr(entry->d_name, text) != NULL;
	if (dir != NULL)
		closedir(dir);
	return count;
}

static void wait_briefly(const struct node *node)
{
	ck_assert_int_eq(blaze_topology_wait(node->topology, &node->id, STEP_NS), 0);
}

/* Both write and come into step; so does one that comes only now, and goes again. */
static void others_go_on(const char *db_name, const struct node *a, const struct node *b)
{
	struct node c = node_open(db_name, "c");
	struct blaze_id id;

	nodes_link(&c, a);
	for (int i = 0; i < RECORDS; i++) {
		node_insert(a, "n", i, &id);
		node_update(a, &id, "m", i);
		node_insert(b, "n", i, NULL);
	}
	node_insert(&c, "n", 1, NULL);
	wait_briefly(a);
	wait_briefly(b);
	wait_briefly(&c);
	nodes_assert_equal(a, b);
	nodes_assert_equal(a, &c);
	node_close(&c);
}

static void await_gone(const char *ring)
{
	for (unsigned ms = 0; ms < PATIENCE_MS && left_behind(ring) > 0; ms++)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	ck_assert_uint_eq(left_behind(ring), 0);
}

/* The private ring of a dead one's request is removed by those who live. */
static void await_no_request(const char *db_name)
{
	char name[80];

	snprintf(name, sizeof(name), "x.%s.", db_name);
	await_gone(name);
}

static void run_point(const struct point *point, bool stop)
{
	const char *name = unique_name();
	struct node a = node_open(name, "a"), b = node_open(name, "b");
	struct victim victim;

	nodes_link(&b, &a);
	for (int i = 0; i < RECORDS; i++)
		node_insert(&a, "n", i, NULL);
	wait_briefly(&b);
	victim = victim_start(name, point, stop ? "stop" : "kill");
	victim_await(&victim, stop);
	others_go_on(name, &a, &b);
	if (point->writes) {
		ck_assert_int_eq(node_value(&a, &written, "n"), point->published ? 7 : -1);
		ck_assert_int_eq(node_value(&b, &written, "n"), point->published ? 7 : -1);
	}
	if (stop) {
		victim_continue(&victim, &a);
		others_go_on(name, &a, &b);
		if (point->writes)
			ck_assert_int_eq(node_value(&b, &written, "n"), 7);
	} else {
		await_no_request(name);
		close(victim.to);
		close(victim.from);
	}
	node_close(&a);
	node_close(&b);
	ck_assert_msg(left_behind(name) == 0, "%s leaves something", point->name);
}

START_TEST(point_killed_others_end_in_step)
{
	run_point(&points[_i], false);
}
END_TEST

START_TEST(point_stopped_others_end_in_step)
{
	run_point(&points[_i], true);
}
END_TEST

/* A process of its own makes the ring and dies in it. */
static void ring_leave_dead(const char *name)
{
	struct blaze_ring *ring;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (blaze_ring_attach(name, NULL, &ring) == 0)
			raise(SIGKILL);
		_exit(1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
}

/* The board that named the ring may be gone before anybody read it. */
START_TEST(private_rings_of_the_dead_go_when_somebody_comes_or_goes)
{
	const char *name = unique_name();
	char dead[80], used[80];
	struct blaze_ring *ring;
	struct node a, b;

	snprintf(dead, sizeof(dead), "x.%s.dead", name);
	snprintf(used, sizeof(used), "x.%s.used", name);
	ck_assert_int_eq(blaze_ring_attach(used, NULL, &ring), 0);
	ring_leave_dead(dead);
	ck_assert_uint_eq(left_behind(dead), 1);
	a = node_open(name, "a");
	await_gone(dead);
	b = node_open(name, "b");
	nodes_link(&b, &a);
	node_insert(&a, "n", 1, NULL);
	wait_briefly(&b);
	/* Beyond what is removed because they came. */
	blazei_sleep_ns(5 * BLAZEI_NS_PER_S / 2);
	ring_leave_dead(dead);
	ck_assert_uint_eq(left_behind(dead), 1);
	node_close(&b);
	await_gone(dead);
	ck_assert_uint_eq(left_behind(used), 1);
	blaze_ring_detach(ring);
	node_close(&a);
	ck_assert_uint_eq(left_behind(name), 0);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite;
	SRunner *runner;
	TCase *crash;
	int failed;

	if (argc == 3 && strcmp(argv[0], "victim") == 0)
		return victim_main(argv[1], strcmp(argv[2], "w") == 0);
	suite = suite_create("db_crash");
	crash = tcase_create("points");
	tcase_set_timeout(crash, 120);
	tcase_add_loop_test(crash, point_killed_others_end_in_step, 0, POINTS);
	tcase_add_loop_test(crash, point_stopped_others_end_in_step, 0, POINTS);
	tcase_add_test(crash, private_rings_of_the_dead_go_when_somebody_comes_or_goes);
	suite_add_tcase(suite, crash);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
