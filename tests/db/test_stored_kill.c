/* SPDX-License-Identifier: Apache-2.0 */
/* Three programs, each with a database in a directory, write at once and are killed at any moment,
 * or where it matters most, and come back: in the end all hold the same, nothing acknowledged is
 * lost, and nothing is there twice.
 *
 * The oracle: each program puts records 1, 2, .. of its own, and notes each in memory that all
 * share when it was acknowledged. Beside these they all change the same few records. So a program's
 * own records are its first m in the end, for an m at or one behind the last one noted.
 *
 * Test points need a library that was configured with --enable-testpoints; elsewhere a kill at one
 * is a kill after a while. */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/base/child.h"
#include "tests/db/stored.h"

#define PROGRAMS 3u
#define SHARED   12u
#define RETAIN   (64u << 10)

enum phase {
	MAKE,
	WRITE,
	REST,
	END
};

static struct board {
	_Atomic int phase;
	struct {
		struct blaze_id node;
		_Atomic uint64_t noted;
		_Atomic uint64_t looks; /* odd while the hash is written */
		uint8_t hash[16];
		int64_t count;
	} of[PROGRAMS];
} * shared;

static char db_name[62];

static struct blaze_id id_of(unsigned program, uint64_t n)
{
	struct blaze_id id = { { (uint8_t)(program + 1) } };

	memcpy(id.bytes + 8, &n, sizeof(n));
	return id;
}

/* A change of records that all programs change. */
static void quarrel(struct blaze_db *db, unsigned *seed)
{
	struct blaze_txn *txn;

	if (blaze_txn_begin(db, &txn) != 0)
		_exit(10);
	for (unsigned i = 0; i < 3; i++) {
		struct blaze_id id = id_of(99, (unsigned)rand_r(seed) % SHARED);
		struct blaze_record *record = NULL;
		char name[2] = { (char)('a' + rand_r(seed) % 4), 0 };
		int error = blaze_record_new(&record);

		if (error == 0)
			error = blaze_record_set_int(record, name, rand_r(seed));
		if (error == 0 && rand_r(seed) % 5 == 0)
			error = blaze_txn_delete(txn, &id);
		else if (error == 0)
			error = blaze_txn_upsert(txn, &id, record);
		if (error != 0 && error != -ENOENT)
			_exit(11);
		blaze_record_free(record);
	}
	if (blaze_txn_commit(txn) != 0)
		_exit(12);
}

/* Shows what it holds; then others have the processor for three times as long as that took. */
static void look(struct blaze_db *db, unsigned self)
{
	uint64_t began_ns = blazei_monotonic_ns(), took_ns;

	atomic_fetch_add(&shared->of[self].looks, 1);
	if (blaze_db_hash(db, shared->of[self].hash) != 0)
		_exit(13);
	shared->of[self].count = blaze_db_count(db);
	atomic_fetch_add(&shared->of[self].looks, 1);
	took_ns = blazei_monotonic_ns() - began_ns;
	blazei_sleep_ns(20 * BLAZEI_NS_PER_MS + 3 * took_ns);
}

/* Links to those who are there; they may be linked by what they did before, or not be there. */
static void links(struct blaze_topology *topology, unsigned self)
{
	for (unsigned i = 0; i < PROGRAMS; i++) {
		int error = 0;

		if (i != self)
			error = blaze_topology_connect_local(topology, &shared->of[self].node,
			                                     &shared->of[i].node,
			                                     BLAZE_LINK_BIDIRECTIONAL);
		if (error != 0 && error != -ENOENT && error != -EEXIST)
			_exit(16);
	}
}

static void program_write(struct blaze_db *db, struct blaze_topology *topology, unsigned self,
                          unsigned bytes)
{
	static uint8_t value[64 << 10];
	unsigned seed = (unsigned)blazei_monotonic_ns();

	links(topology, self);
	while (atomic_load(&shared->phase) == WRITE) {
		uint64_t n = atomic_load(&shared->of[self].noted) + 1;
		struct blaze_id id = id_of(self, n);

		memcpy(value, &n, sizeof(n));
		if (blaze_db_put(db, &id, value, bytes) != 0)
			_exit(14);
		atomic_store(&shared->of[self].noted, n);
		quarrel(db, &seed);
		if (n % 16 == 0)
			links(topology, self);
	}
}

/* What a program does, from its start to its end. */
static void program(unsigned self, unsigned bytes)
{
	struct blaze_db *db = stored_open(db_name, self, RETAIN, 0);
	struct blaze_topology *topology;
	struct blaze_position position;

	if (atomic_load(&shared->phase) == MAKE) {
		ck_assert_int_eq(blaze_db_position(db, &position), 0);
		shared->of[self].node = position.node;
		ck_assert_int_eq(blaze_db_close(db), 0);
		_exit(0);
	}
	if (blaze_topology_new(&topology) != 0 ||
	    blaze_topology_register(topology, db, "x", BLAZE_ROLE_PEER, &shared->of[self].node) !=
	            0)
		_exit(15);
	if (bytes > 0)
		program_write(db, topology, self, bytes);
	while (atomic_load(&shared->phase) != END) {
		links(topology, self);
		look(db, self);
	}
	blaze_topology_free(topology);
	_exit(blaze_db_close(db) == 0 ? 0 : 17);
}

/* Starts a program; bytes 0: it writes nothing. testpoint NULL: it is not killed by itself. */
static pid_t start(unsigned self, unsigned bytes, const char *testpoint)
{
	pid_t pid = child_fork();

	ck_assert_int_ge(pid, 0);
	if (pid > 0)
		return pid;
	if (testpoint != NULL)
		setenv("BLAZE_TESTPOINT", testpoint, 1);
	program(self, bytes);
	_exit(18);
}

static void end_await(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a program ended with %#x",
	              (unsigned)status);
}

static void kill_one(pid_t pid)
{
	int status;

	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status), "a program ended by itself: %#x", (unsigned)status);
}

static void setup(void)
{
	stored_setup();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
	              0);
	ck_assert(shared != MAP_FAILED);
	strcpy(db_name, unique_name());
	for (unsigned i = 0; i < PROGRAMS; i++)
		end_await(start(i, 0, NULL));
	atomic_store(&shared->phase, WRITE);
}

static void teardown(void)
{
	munmap(shared, sizeof(*shared));
	stored_teardown();
}

/* Whether all programs showed the same at their last looks, each of which began after this call. */
static bool same(void)
{
	uint64_t looks[PROGRAMS];

	for (unsigned i = 0; i < PROGRAMS; i++)
		looks[i] = atomic_load(&shared->of[i].looks);
	for (unsigned i = 0; i < PROGRAMS; i++)
		while (atomic_load(&shared->of[i].looks) < looks[i] + 4)
			blazei_sleep_ns(BLAZEI_NS_PER_MS);
	for (unsigned i = 1; i < PROGRAMS; i++)
		if (memcmp(shared->of[0].hash, shared->of[i].hash, 16) != 0 ||
		    shared->of[0].count != shared->of[i].count)
			return false;
	return true;
}

/* Has all programs come to rest and to the same. */
static void heal(const pid_t pids[PROGRAMS])
{
	unsigned tries = 0;

	atomic_store(&shared->phase, REST);
	while (!same() && tries < 1200)
		tries++;
	ck_assert_msg(tries < 1200, "they never hold the same: %lld, %lld, %lld records",
	              (long long)shared->of[0].count, (long long)shared->of[1].count,
	              (long long)shared->of[2].count);
	atomic_store(&shared->phase, END);
	for (unsigned i = 0; i < PROGRAMS; i++)
		end_await(pids[i]);
}

/* What each directory holds in the end. */
static void compare(unsigned bytes)
{
	static uint8_t value[64 << 10];
	uint64_t all = 0;

	for (unsigned i = 0; i < PROGRAMS; i++) {
		struct blaze_db *db =
		        stored_open(db_name, i, 0, BLAZE_DB_READ_ONLY | BLAZE_DB_MANUAL);
		uint8_t hash[16];
		int64_t own = 0, common = 0;

		ck_assert_int_eq(blaze_db_hash(db, hash), 0);
		ck_assert_mem_eq(hash, shared->of[i].hash, 16);
		for (unsigned k = 0; k < PROGRAMS; k++) {
			uint64_t n = atomic_load(&shared->of[k].noted), found = 0;

			for (uint64_t m = 1; m <= n + 1; m++) {
				struct blaze_id id = id_of(k, m);
				int len = blaze_db_fetch(db, &id, value, sizeof(value));

				ck_assert_msg(len == (int)bytes || m == n + 1,
				              "%u has not %llu of %u, which was acknowledged", i,
				              (unsigned long long)m, k);
				if (len < 0)
					continue;
				memcpy(&found, value, sizeof(found));
				ck_assert_uint_eq(found, m);
				own++;
			}
			all += n;
		}
		for (unsigned k = 0; k < SHARED; k++) {
			struct blaze_id id = id_of(99, k);
			struct blaze_record *record;

			if (blaze_db_get(db, &id, &record) == 0) {
				common++;
				blaze_record_free(record);
			}
		}
		ck_assert_int_eq(blaze_db_count(db), own + common);
		ck_assert_int_eq(blaze_db_close(db), 0);
	}
	printf("%llu records acknowledged\n", (unsigned long long)all / PROGRAMS);
	ck_assert_uint_gt(all, 0);
}

/* Waits until a program has written something. */
static void noted_await(unsigned self, pid_t pid)
{
	while (atomic_load(&shared->of[self].noted) == 0) {
		int status = 0;

		ck_assert_msg(waitpid(pid, &status, WNOHANG) == 0, "a program ended with %#x",
		              (unsigned)status);
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	}
}

START_TEST(killed_at_any_moment_all_end_up_equal)
{
	const char *text = getenv("BLAZE_KILLS");
	unsigned kills = text != NULL ? (unsigned)atoi(text) : 40;
	unsigned seed = (unsigned)blazei_monotonic_ns();
	pid_t pids[PROGRAMS];

	printf("seed %u\n", seed);
	for (unsigned i = 0; i < PROGRAMS; i++)
		pids[i] = start(i, 100, NULL);
	/* On a slow machine none of the kills would come later than a start. */
	for (unsigned i = 0; i < PROGRAMS; i++)
		noted_await(i, pids[i]);
	for (unsigned i = 0; i < kills; i++) {
		unsigned victim = (unsigned)rand_r(&seed) % PROGRAMS;
		unsigned second = (unsigned)rand_r(&seed) % PROGRAMS;

		blazei_sleep_ns((unsigned)rand_r(&seed) % 150 * BLAZEI_NS_PER_MS);
		kill_one(pids[victim]);
		if (second != victim && rand_r(&seed) % 2 == 0) {
			kill_one(pids[second]);
			pids[second] = start(second, 100, NULL);
		}
		/* Away for so long that what it lacks may come as a snapshot. */
		if (rand_r(&seed) % 2 == 0)
			blazei_sleep_ns((unsigned)rand_r(&seed) % 100 * BLAZEI_NS_PER_MS);
		pids[victim] = start(victim, 100, NULL);
	}
	blazei_sleep_ns(200 * BLAZEI_NS_PER_MS);
	heal(pids);
	compare(100);
}
END_TEST

/* Runs a program that dies where it is told to, or after a while. Whether it was there. */
static bool dies(unsigned self, unsigned bytes, const char *testpoint)
{
	pid_t pid = start(self, bytes, testpoint);
	int status = 0;

	for (unsigned i = 0; i < 500; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
			              "a program ended with %#x", (unsigned)status);
			return true;
		}
		blazei_sleep_ns(10 * BLAZEI_NS_PER_MS);
	}
	kill_one(pid);
	return false;
}

/* What is received is merged at once and synced a little later: a kill between the two. */
START_TEST(killed_between_merge_and_sync_gets_it_again)
{
	pid_t pids[PROGRAMS];
	unsigned there = 0;

	pids[0] = start(0, 100, NULL);
	pids[1] = start(1, 100, NULL);
	for (unsigned i = 1; i <= 4; i++) {
		char testpoint[40];

		snprintf(testpoint, sizeof(testpoint), "durable_due=kill:%u", i);
		there += dies(2, i % 2 == 0 ? 100 : 0, testpoint);
	}
	pids[2] = start(2, 100, NULL);
	blazei_sleep_ns(200 * BLAZEI_NS_PER_MS);
	heal(pids);
	compare(100);
	printf("%u of the kills were at their point\n", there);
#ifdef BLAZE_TESTPOINTS
	ck_assert_uint_eq(there, 4);
#endif
}
END_TEST

/* A snapshot of several syncs, in each of which the joiner is killed. */
START_TEST(joiner_killed_in_its_snapshot_has_all_or_nothing)
{
	pid_t pids[PROGRAMS];
	unsigned there = 0;

	pids[0] = start(0, 40000, NULL);
	pids[1] = start(1, 40000, NULL);
	/* 20 MB. */
	while (atomic_load(&shared->of[0].noted) + atomic_load(&shared->of[1].noted) < 500) {
		int status = 0;

		ck_assert_msg(waitpid(-1, &status, WNOHANG) == 0, "a program ended with %#x",
		              (unsigned)status);
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	}
	atomic_store(&shared->phase, REST);
	for (unsigned i = 1; i <= 8; i++) {
		char testpoint[40];
		struct blaze_db *db;

		snprintf(testpoint, sizeof(testpoint), "store_written=kill:%u", i);
		there += dies(2, 0, testpoint);
		db = stored_open(db_name, 2, 0, BLAZE_DB_READ_ONLY | BLAZE_DB_MANUAL);
		if (blaze_db_count(db) != 0)
			ck_assert_int_eq(blaze_db_count(db), shared->of[0].count);
		ck_assert_int_eq(blaze_db_close(db), 0);
	}
	pids[2] = start(2, 0, NULL);
	heal(pids);
	compare(40000);
	printf("%u of the kills were at their point\n", there);
#ifdef BLAZE_TESTPOINTS
	ck_assert_uint_ge(there, 4);
#endif
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stored_kill");
	TCase *tcase = tcase_create("stored_kill");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 600);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, killed_at_any_moment_all_end_up_equal);
	tcase_add_test(tcase, killed_between_merge_and_sync_gets_it_again);
	tcase_add_test(tcase, joiner_killed_in_its_snapshot_has_all_or_nothing);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
