/* SPDX-License-Identifier: Apache-2.0 */
/* Databases in directories with async durability, seen from outside: what was acknowledged and is
 * in the tail only is in backups, and is told apart by blaze-db, whether the program that wrote it
 * lives or was killed; its forked children change nothing of it; tails that belong to others are
 * not taken, and that is told.
 *
 * The oracle: the program puts records 1, 2, .. and notes each, in memory that is shared, when it
 * was acknowledged. So what is read later is records 1 to m, for an m that is not less. */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/store/log.h"
#include "tests/base/child.h"
#include "tests/db/stored.h"

#define FIRST 20u /* records that are on the disk */
#define ALL   50u

enum order {
	STAY,
	GO_ON,
	FORK,
	END
};

static struct board {
	_Atomic uint64_t noted;
	_Atomic uint64_t limit; /* of records, while it goes on */
	_Atomic int order;
	_Atomic int done;
} * shared;

static char log_lines[2000];

static void log_keep(void *arg, enum blaze_log_level level, const char *line)
{
	size_t len = strlen(log_lines);

	(void)arg;
	(void)level;
	snprintf(log_lines + len, sizeof(log_lines) - len, "%s\n", line);
}

static void setup(void)
{
	stored_setup();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
	              0);
	ck_assert(shared != MAP_FAILED);
	log_lines[0] = '\0';
	blaze_log_set(log_keep, NULL);
}

static void teardown(void)
{
	blaze_log_set(NULL, NULL);
	munmap(shared, sizeof(*shared));
	stored_teardown();
}

static struct blaze_db *async_open(unsigned number, uint64_t sync_interval_ns)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_db *db = NULL;

	options.durability = BLAZE_DURABILITY_ASYNC;
	options.sync_interval_ns = sync_interval_ns;
	if (blaze_db_open("async", stored_path(number), &options, &db) != 0)
		_exit(10);
	return db;
}

static struct blaze_id id_of(uint64_t n)
{
	struct blaze_id id = { { 1 } };

	memcpy(id.bytes + 8, &n, sizeof(n));
	return id;
}

static void put_next(struct blaze_db *db, size_t bytes)
{
	static uint8_t value[60000];
	uint64_t n = atomic_load(&shared->noted) + 1;
	struct blaze_id id = id_of(n);

	memcpy(value, &n, sizeof(n));
	if (blaze_db_put(db, &id, value, bytes) != 0)
		_exit(11);
	atomic_store(&shared->noted, n);
}

/* In a child of the program: all that a child may try. Zero where nothing of it takes. */
static int child_tries(struct blaze_db *db)
{
	struct blaze_id id = id_of(99999);
	void *header = db->store->tail.header;

	if (blaze_db_put(db, &id, "child", 5) != -ECHILD)
		return 20;
	if (blaze_db_sync(db) != -ECHILD || blaze_db_backup(db, stored_path(7)) != -ECHILD)
		return 21;
	/* The tail is not even mapped. */
	if (msync(header, 4096, MS_ASYNC) == 0 || errno != ENOMEM)
		return 22;
	blazei_sleep_ns(100 * BLAZEI_NS_PER_MS); /* a flusher would have begun */
	return blaze_db_close(db) == 0 ? 0 : 23;
}

/* Some records that are on the disk, and more that are in the tail only. */
static struct blaze_db *filled(unsigned number)
{
	struct blaze_db *db = async_open(number, 1000 * BLAZEI_NS_PER_S);

	while (atomic_load(&shared->noted) < FIRST)
		put_next(db, 100);
	if (blaze_db_sync(db) != 0)
		_exit(12);
	while (atomic_load(&shared->noted) < ALL)
		put_next(db, 100);
	return db;
}

static void program(void)
{
	struct blaze_db *db = filled(0);

	atomic_store(&shared->done, 1);
	for (;;) {
		int order = atomic_load(&shared->order);

		if (order == END)
			_exit(blaze_db_close(db) == 0 ? 0 : 13);
		if (order == GO_ON && atomic_load(&shared->noted) < atomic_load(&shared->limit)) {
			put_next(db, 20000);
			blazei_sleep_ns(BLAZEI_NS_PER_MS);
		} else if (order == FORK) {
			pid_t pid = fork();
			int status;

			if (pid == 0)
				exit(child_tries(db));
			if (waitpid(pid, &status, 0) != pid || status != 0)
				_exit(WEXITSTATUS(status));
			put_next(db, 100);
			atomic_store(&shared->order, STAY);
		} else
			blazei_sleep_ns(BLAZEI_NS_PER_MS);
	}
}

static pid_t program_start(void)
{
	pid_t pid = child_fork();
	int status = 0;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		program();
		_exit(14);
	}
	while (atomic_load(&shared->done) == 0) {
		ck_assert_msg(waitpid(pid, &status, WNOHANG) == 0, "it ended with %#x",
		              (unsigned)status);
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	}
	return pid;
}

static void program_kill(pid_t pid)
{
	int status;

	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status), "it ended by itself: %#x", (unsigned)status);
}

static void program_end(pid_t pid)
{
	int status;

	atomic_store(&shared->order, END);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "it ended with %#x",
	              (unsigned)status);
}

/* Opens it to look; where somebody writes that may take some tries. */
static struct blaze_db *view_open(unsigned number)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_db *db = NULL;
	int error = -EBADMSG;

	options.flags = BLAZE_DB_READ_ONLY | BLAZE_DB_MANUAL;
	for (unsigned i = 0; i < 50 && error == -EBADMSG; i++)
		error = blaze_db_open("view", stored_path(number), &options, &db);
	ck_assert_int_eq(error, 0);
	return db;
}

/* How many records it has, which are the first ones. */
static uint64_t records_of(struct blaze_db *db)
{
	static uint8_t value[60000];
	uint64_t count = (uint64_t)blaze_db_count(db), n;

	for (uint64_t i = 1; i <= count; i++) {
		struct blaze_id id = id_of(i);

		ck_assert_int_ge(blaze_db_fetch(db, &id, value, sizeof(value)), 8);
		memcpy(&n, value, sizeof(n));
		ck_assert_uint_eq(n, i);
	}
	return count;
}

static uint64_t records_in(unsigned number)
{
	struct blaze_db *db = view_open(number);
	uint64_t count = records_of(db);

	ck_assert_int_eq(blaze_db_close(db), 0);
	return count;
}

/* And when it is opened as usual. */
static uint64_t records_opened(unsigned number, uint64_t *ret_cuts)
{
	struct blaze_db_stats stats = BLAZE_DB_STATS_INIT;
	struct blaze_db *db = stored_open("async", number, 0, 0);
	uint64_t count = records_of(db);

	ck_assert_int_eq(blaze_db_stats(db, &stats), 0);
	*ret_cuts = stats.cuts;
	ck_assert_int_eq(blaze_db_close(db), 0);
	return count;
}

static void clear(unsigned number)
{
	char command[200];

	snprintf(command, sizeof(command), "rm -rf '%s'", stored_path(number));
	ck_assert_int_eq(system(command), 0);
}

/* Backup ------------------------------------------------------------------------------------- */

static void backup_to(unsigned from, unsigned to)
{
	struct blaze_db *view = view_open(from);

	ck_assert_int_eq(blaze_db_backup(view, stored_path(to)), 0);
	ck_assert_int_eq(blaze_db_close(view), 0);
}

START_TEST(backup_of_killed_has_all)
{
	uint64_t cuts;

	program_kill(program_start());
	ck_assert_uint_eq(records_in(0), ALL);
	backup_to(0, 1);
	/* Of frames only: it has no tail. */
	ck_assert_uint_eq(records_opened(1, &cuts), ALL);
	ck_assert_uint_eq(cuts, 0);
	ck_assert_uint_eq(records_opened(0, &cuts), ALL);
	ck_assert_uint_eq(cuts, 0);
}
END_TEST

START_TEST(backup_beside_its_program_has_all)
{
	pid_t pid = program_start();
	uint64_t cuts;

	backup_to(0, 1);
	ck_assert_uint_eq(records_opened(1, &cuts), ALL);
	ck_assert_uint_eq(cuts, 0);
	program_end(pid);
	ck_assert_uint_eq(records_opened(0, &cuts), ALL);
}
END_TEST

/* The program writes meanwhile, around its tail again and again; but not without end where the
 * reading is slow, as then there is ever more to read. */
START_TEST(backup_beside_a_writer_has_what_was_acknowledged)
{
	pid_t pid = program_start();

	atomic_store(&shared->order, GO_ON);
	for (unsigned i = 0; i < 5; i++) {
		uint64_t noted = atomic_load(&shared->noted);

		atomic_store(&shared->limit, noted + 400);
		backup_to(0, 1);
		ck_assert_uint_ge(records_in(1), noted);
		clear(1);
	}
	program_kill(pid);
	ck_assert_uint_ge(records_in(0), atomic_load(&shared->noted));
	backup_to(0, 1);
	ck_assert_uint_ge(records_in(1), atomic_load(&shared->noted));
	ck_assert_ptr_null(strstr(log_lines, "cut behind"));
	records_opened(0, &(uint64_t){ 0 });
}
END_TEST

/* A transaction that takes several frames, and more of the tail than one append has. */
START_TEST(backup_of_long_transactions_has_all)
{
	static uint8_t value[900000];
	struct blaze_id id = id_of(1);
	pid_t pid = fork();
	struct blaze_db *db;
	uint8_t before[16], after[16];

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		db = async_open(0, 1000 * BLAZEI_NS_PER_S);
		for (unsigned i = 1; i <= 4; i++) {
			id = id_of(i);
			memset(value, (int)i, sizeof(value));
			if (blaze_db_put(db, &id, value, i % 2 == 1 ? sizeof(value) : 10) != 0)
				_exit(11);
		}
		raise(SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	db = view_open(0);
	ck_assert_int_eq(blaze_db_count(db), 4);
	ck_assert_int_eq(blaze_db_hash(db, before), 0);
	ck_assert_int_eq(blaze_db_backup(db, stored_path(1)), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
	db = stored_open("async", 1, 0, 0);
	ck_assert_int_eq(blaze_db_hash(db, after), 0);
	ck_assert_mem_eq(before, after, sizeof(before));
	ck_assert_int_eq(blaze_db_close(db), 0);
	ck_assert_int_eq(blaze_db_close(stored_open("async", 0, 0, 0)), 0);
}
END_TEST

/* blaze-db ----------------------------------------------------------------------------------- */

static const char *tool(void)
{
	static char path[400];
	const char *build = getenv("BLAZE_BUILDDIR");

	ck_assert_msg(build != NULL, "BLAZE_BUILDDIR, where blaze-db is built, is not set");
	snprintf(path, sizeof(path), "'%s/lib/tool/blaze-db'", build);
	return path;
}

/* Whether it succeeds and prints a line that holds this. */
static void tool_says(const char *arguments, const char *text)
{
	char command[800], line[1000];
	bool said = text == NULL;
	FILE *out;

	snprintf(command, sizeof(command), "%s %s", tool(), arguments);
	out = popen(command, "r");
	ck_assert_ptr_nonnull(out);
	while (fgets(line, sizeof(line), out) != NULL)
		said = said || strstr(line, text) != NULL;
	ck_assert_msg(pclose(out) == 0, "%s failed", command);
	ck_assert_msg(said, "%s does not say %s", command, text);
}

static void tool_check_all(void)
{
	char arguments[300];
	const char *dir = stored_path(0);

	snprintf(arguments, sizeof(arguments), "stat %s", dir);
	tool_says(arguments, "transactions  20 on the disk");
	tool_says(arguments, "tail          30 transactions");
	snprintf(arguments, sizeof(arguments), "stat %s --json", dir);
	tool_says(arguments, "\"transactions\":50,");
	tool_says(arguments, "\"tail_transactions\":30,");
	snprintf(arguments, sizeof(arguments), "check %s", dir);
	tool_says(arguments, "50 records, 50 transactions (30 of them in the tail)");
	snprintf(arguments, sizeof(arguments), "check %s --json", dir);
	tool_says(arguments, "\"tail_transactions\":30,");
	snprintf(arguments, sizeof(arguments), "backup %s %s", dir, stored_path(1));
	tool_says(arguments, NULL);
	snprintf(arguments, sizeof(arguments), "stat %s", stored_path(1));
	tool_says(arguments, "transactions  50 on the disk");
	clear(1);
}

START_TEST(tool_tells_tail_and_disk_apart)
{
	pid_t pid;

	tool();
	pid = program_start();
	tool_check_all();
	program_kill(pid);
	tool_check_all();
	records_opened(0, &(uint64_t){ 0 });
}
END_TEST

/* Fork --------------------------------------------------------------------------------------- */

START_TEST(forked_child_changes_nothing)
{
	pid_t pid = program_start();
	uint64_t cuts;
	int status;

	for (unsigned i = 1; i <= 3; i++) {
		atomic_store(&shared->order, FORK);
		while (atomic_load(&shared->order) == FORK) {
			ck_assert_msg(waitpid(pid, &status, WNOHANG) == 0, "it ended with %#x",
			              (unsigned)status);
			blazei_sleep_ns(BLAZEI_NS_PER_MS);
		}
		ck_assert_uint_eq(atomic_load(&shared->noted), ALL + i);
		ck_assert_uint_eq(records_in(0), ALL + i);
	}
	program_kill(pid);
	ck_assert_uint_eq(records_opened(0, &cuts), ALL + 3);
	ck_assert_uint_eq(cuts, 0);
}
END_TEST

/* Tails of others ---------------------------------------------------------------------------- */

/* The tail that the root of a directory names. */
static void tail_path(unsigned number, char ret_path[200])
{
	struct blazei_root root;
	char path[200];
	FILE *file;

	snprintf(path, sizeof(path), "%s/root", stored_path(number));
	file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fread(&root, sizeof(root), 1, file), 1);
	fclose(file);
	ck_assert_uint_ne(root.tail_nonce, 0);
	snprintf(ret_path, 200, "/dev/shm/blaze-%u/.tail.%016llx.%u", (unsigned)geteuid(),
	         (unsigned long long)root.home, (unsigned)root.tail_turn);
	ck_assert_int_eq(access(ret_path, F_OK), 0);
}

/* Kills a program that had filled a directory. */
static void killed(unsigned number)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		atomic_store(&shared->noted, 0);
		filled(number);
		raise(SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_uint_eq(atomic_load(&shared->noted), ALL);
}

/* The copy tells of the loss that the original's next opening would tell of. */
START_TEST(backup_of_lost_tail_is_counted)
{
	char tail[200];
	uint64_t cuts;

	program_kill(program_start());
	tail_path(0, tail);
	ck_assert_int_eq(unlink(tail), 0);
	backup_to(0, 1);
	ck_assert_uint_eq(records_opened(1, &cuts), FIRST);
	ck_assert_uint_eq(cuts, 1);
	ck_assert_uint_eq(records_opened(0, &cuts), FIRST);
	ck_assert_uint_eq(cuts, 1);
}
END_TEST

/* What is left is good, but it is not all: as with a torn end. */
START_TEST(tool_tells_of_a_lost_tail)
{
	char tail[200], command[800], stat[300];

	tool();
	program_kill(program_start());
	tail_path(0, tail);
	ck_assert_int_eq(unlink(tail), 0);
	snprintf(command, sizeof(command), "%s check %s >/dev/null 2>&1", tool(), stored_path(0));
	ck_assert_int_eq(WEXITSTATUS(system(command)), 4);
	snprintf(stat, sizeof(stat), "stat %s --json", stored_path(0));
	tool_says(stat, "\"cuts\":0,");
	tool_says(stat, "\"lost\":true");
	records_opened(0, &(uint64_t){ 0 });
	ck_assert_int_eq(WEXITSTATUS(system(command)), 0);
	tool_says(stat, "\"cuts\":1,");
	tool_says(stat, "\"lost\":false");
}
END_TEST

START_TEST(tail_of_another_store_is_refused)
{
	char a[200], b[200];
	uint64_t cuts;

	killed(0);
	killed(1);
	tail_path(0, a);
	tail_path(1, b);
	dir_copy(b, a);
	ck_assert_uint_eq(records_in(0), FIRST);
	ck_assert_ptr_nonnull(strstr(log_lines, "its tail is gone"));
	/* The one whose tail it is has all. */
	ck_assert_uint_eq(records_opened(1, &cuts), ALL);
	ck_assert_uint_eq(cuts, 0);
	ck_assert_uint_eq(records_opened(0, &cuts), FIRST);
	ck_assert_uint_eq(cuts, 1);
}
END_TEST

/* A copy is of the same store: it has what the tail held, and leaves that to the original. */
START_TEST(copied_directory_leaves_the_tail)
{
	char tail[200];
	uint64_t cuts;

	killed(0);
	tail_path(0, tail);
	dir_copy(stored_path(0), stored_path(1));
	ck_assert_uint_eq(records_opened(1, &cuts), ALL);
	ck_assert_uint_eq(cuts, 0);
	ck_assert_int_eq(access(tail, F_OK), 0);
	ck_assert_uint_eq(records_opened(0, &cuts), ALL);
	ck_assert_uint_eq(cuts, 0);
	ck_assert_int_ne(access(tail, F_OK), 0);
}
END_TEST

/* The original went on: its tail is of a later opening, and none of the copy's. */
START_TEST(copied_directory_does_not_take_a_later_tail)
{
	uint64_t cuts;
	pid_t pid;

	killed(0);
	dir_copy(stored_path(0), stored_path(1));
	ck_assert_uint_eq(records_opened(0, &cuts), ALL);
	pid = program_start();
	ck_assert_uint_eq(records_opened(1, &cuts), FIRST);
	ck_assert_uint_eq(cuts, 1);
	ck_assert_ptr_nonnull(strstr(log_lines, "its tail is gone"));
	atomic_store(&shared->noted, ALL);
	program_kill(pid);
	ck_assert_uint_eq(records_opened(0, &cuts), ALL);
	ck_assert_uint_eq(cuts, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("async");
	TCase *tcase = tcase_create("async");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 300);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, backup_of_killed_has_all);
	tcase_add_test(tcase, backup_beside_its_program_has_all);
	tcase_add_test(tcase, backup_beside_a_writer_has_what_was_acknowledged);
	tcase_add_test(tcase, backup_of_long_transactions_has_all);
	tcase_add_test(tcase, tool_tells_tail_and_disk_apart);
	tcase_add_test(tcase, forked_child_changes_nothing);
	tcase_add_test(tcase, backup_of_lost_tail_is_counted);
	tcase_add_test(tcase, tool_tells_of_a_lost_tail);
	tcase_add_test(tcase, tail_of_another_store_is_refused);
	tcase_add_test(tcase, copied_directory_leaves_the_tail);
	tcase_add_test(tcase, copied_directory_does_not_take_a_later_tail);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
