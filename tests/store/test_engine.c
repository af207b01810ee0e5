/* SPDX-License-Identifier: Apache-2.0 */
/* How "file:" writes: what is chosen by the environment and by what the kernel allows, and what
 * comes of each failure that io_uring may report. What all engines have to do alike is the subject
 * of test_conform, and of test_engines.sh, which runs whole databases on each. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/store/engine.h"
#include "lib/store/file.h"
#include "tests/store/refuse.h"

#define BLOCK 4096u

static const char name[] = "test_engine.tmp";
static uint8_t data[64 * BLOCK], back[64 * BLOCK];

/* Whether this machine has io_uring: then what is asserted of it is asserted. */
static bool uring_there(void)
{
	struct io_uring ring;

	if (io_uring_queue_init(4, &ring, 0) != 0)
		return false;
	io_uring_queue_exit(&ring);
	return true;
}

static void engine_init(struct blazei_engine *engine, const char *words)
{
	setenv("BLAZE_STORE_ENGINE", words, 1);
	ck_assert_int_eq(blazei_engine_init(engine), 0);
}

START_TEST(environment_leaves_out_what_it_names)
{
	struct blazei_engine engine;
	bool there = uring_there();

	engine_init(&engine, "");
	ck_assert(engine.uring == there && engine.files == there && engine.link == there &&
	          engine.fixed == there && engine.direct && engine.ahead);
	blazei_engine_fini(&engine);
	engine_init(&engine, "plain");
	ck_assert(!engine.uring && !engine.files && !engine.fixed && !engine.link);
	ck_assert(engine.direct && engine.ahead);
	blazei_engine_fini(&engine);
	engine_init(&engine, "uring,no-files,,no-fixed");
	ck_assert(engine.uring == there && !engine.files && !engine.fixed && engine.direct);
	blazei_engine_fini(&engine);
	engine_init(&engine, "no-link,no-direct");
	ck_assert(!engine.link && !engine.direct && !engine.fixed && engine.bounce == NULL);
	blazei_engine_fini(&engine);
	engine_init(&engine, "no-ahead");
	ck_assert(!engine.ahead && !engine.direct);
	blazei_engine_fini(&engine);
	engine_init(&engine, "plain-,PLAIN,a-word-that-is-long-beyond-all-measure-of-words");
	ck_assert(engine.uring == there && engine.direct);
	blazei_engine_fini(&engine);
}
END_TEST

/* Appends and syncs by the backend's operations, and compares. */
static bool store_works(void)
{
	const struct blaze_store_ops *ops = &blazei_file_ops;
	const struct blaze_store_request requests[] = {
		{ BLAZE_STORE_APPEND, 0, 1, 0, data, 3 * BLOCK, 1 },
		{ BLAZE_STORE_APPEND, 0, 1, 3 * BLOCK, data + 3 * BLOCK, 61 * BLOCK, 2 },
		{ BLAZE_STORE_SYNC, 0, 1, 0, NULL, 0, 3 },
	};
	struct blaze_store_completion completions[3];
	unsigned done = 0;
	bool works = true;
	void *store;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i / 100);
	if (ops->open("test_engine.dir", &store) != 0)
		return false;
	works = ops->segment_create(store, 1) == 0 && ops->submit(store, requests, 3) == 3;
	while (works && done < 3) {
		int n = ops->poll(store, completions, 3);

		works = n > 0;
		for (int i = 0; i < n; i++)
			works = works && completions[i].result == 0;
		done += n > 0 ? (unsigned)n : 0;
	}
	works = works &&
	        ops->segment_read(store, 1, 0, back, sizeof(back)) == (int64_t)sizeof(back) &&
	        memcmp(data, back, sizeof(back)) == 0 && ops->segment_seal(store, 1, 0) == 0;
	(void)ops->segment_delete(store, 1);
	ops->close(store);
	return works;
}

static void dir_clear(void)
{
	(void)unlink("test_engine.dir/lock");
	(void)unlink("test_engine.dir/0000000000000001.seg");
	(void)rmdir("test_engine.dir");
}

/* In a process of its own: what the filter refuses stays refused. */
static void child_expect(const int *calls, unsigned count, int with, bool uring)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct blazei_engine engine;
		bool as_expected;

		unsetenv("BLAZE_STORE_ENGINE");
		if (refuse(calls, count, with) != 0 || blazei_engine_init(&engine) != 0)
			_exit(2);
		as_expected = engine.uring == uring;
		blazei_engine_fini(&engine);
		_exit(as_expected && store_works() ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	dir_clear();
	ck_assert_msg(status == 0, "refused with %d: %#x", with, (unsigned)status);
}

START_TEST(refused_io_uring_is_done_without)
{
	static const int setup_call[] = { __NR_io_uring_setup };
	static const int enter_call[] = { __NR_io_uring_enter };
	static const int register_call[] = { __NR_io_uring_register };
	static const int errors[] = { ENOSYS, EPERM, EACCES, EINVAL, ENOMEM };

	for (unsigned i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		child_expect(setup_call, 1, errors[i], false);
		child_expect(enter_call, 1, errors[i], false);
		/* The probe needs it, as do registered buffers and files. */
		child_expect(register_call, 1, errors[i], false);
	}
}
END_TEST

START_TEST(other_refused_calls_are_not_needed)
{
	static const int calls[] = { __NR_fallocate,    __NR_pwritev2, __NR_pwritev,
		                     __NR_preadv2,      __NR_preadv,   __NR_sync_file_range,
		                     __NR_fadvise64,    __NR_statx,    __NR_copy_file_range,
		                     __NR_memfd_create, __NR_mlock,    __NR_io_submit };

	child_expect(calls, sizeof(calls) / sizeof(calls[0]), EPERM, uring_there());
	child_expect(calls, sizeof(calls) / sizeof(calls[0]), ENOSYS, uring_there());
}
END_TEST

/* Without the right to lock memory there is no registered buffer, or no ring, and all works. */
START_TEST(no_locked_memory_is_done_without)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		/* Nothing at all; and enough for a ring, but not for the buffer. */
		const rlim_t bytes = _i == 0 ? 0 : 512 << 10;
		const struct rlimit little = { bytes, bytes };
		struct blazei_engine engine;
		bool fine;

		unsetenv("BLAZE_STORE_ENGINE");
		if (setrlimit(RLIMIT_MEMLOCK, &little) != 0)
			_exit(2);
		fine = store_works();
		dir_clear();
		/* Root may lock what it likes. */
		if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)
			_exit(3);
		fine = fine && blazei_engine_init(&engine) == 0 && !engine.fixed;
		blazei_engine_fini(&engine);
		_exit(fine ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* A chain on a file that takes only so much: what was cut short tells why, and no sync behind it
 * is believed. */
static void limited_run(const char *words)
{
	const struct blaze_store_ops *ops = &blazei_file_ops;
	const struct rlimit limit = { 2 * BLOCK + 100, RLIM_INFINITY };
	const struct blaze_store_request requests[] = {
		{ BLAZE_STORE_APPEND, 0, 1, 0, data, BLOCK, 1 },
		{ BLAZE_STORE_APPEND, 0, 1, BLOCK, data, 3 * BLOCK, 2 },
		{ BLAZE_STORE_SYNC, 0, 1, 0, NULL, 0, 3 },
		{ BLAZE_STORE_APPEND, 0, 1, 4 * BLOCK, data, BLOCK, 4 },
	};
	struct blaze_store_completion completion;
	int results[5] = { 1, 1, 1, 1, 1 };
	void *store;

	setenv("BLAZE_STORE_ENGINE", words, 1);
	signal(SIGXFSZ, SIG_IGN);
	if (ops->open("test_engine.dir", &store) != 0 || ops->segment_create(store, 1) != 0 ||
	    setrlimit(RLIMIT_FSIZE, &limit) != 0)
		_exit(2);
	for (int taken = 0; taken < 4;) {
		int n = ops->submit(store, requests + taken, 4 - (unsigned)taken);

		if (n <= 0)
			_exit(3);
		taken += n;
	}
	for (unsigned i = 0; i < 4; i++) {
		if (ops->poll(store, &completion, 1) != 1)
			_exit(4);
		results[completion.tag] = completion.result;
	}
	ops->close(store);
	_exit(results[1] == 0 && results[2] == -EFBIG && results[3] < 0 && results[4] < 0 ? 0 : 1);
}

START_TEST(write_cut_short_fails_all_behind_it)
{
	static const char *const engines[] = { "no-ahead", "no-ahead,no-link", "no-ahead,no-files",
		                               "no-ahead,plain" };

	for (unsigned i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		pid_t pid = fork();
		int status;

		ck_assert_int_ge(pid, 0);
		if (pid == 0)
			limited_run(engines[i]);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		dir_clear();
		ck_assert_msg(status == 0, "%s: %#x", engines[i], (unsigned)status);
	}
}
END_TEST

/* A ring that is gone under the engine's feet, as a kernel that fails would have it. */
START_TEST(lost_ring_is_an_error_and_then_done_without)
{
	const struct blazei_engine_entry entry = {
		.write = true, .data = data, .len = BLOCK, .tag = 5
	};
	struct blazei_engine engine;
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	engine_init(&engine, "no-direct");
	if (engine.uring) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		blazei_engine_use(&engine, AT_FDCWD, name, fd);
		ck_assert_int_eq(dup2(null, engine.ring.ring_fd), engine.ring.ring_fd);
		close(null);
		blazei_engine_queue(&engine, &entry);
		ck_assert_int_lt(blazei_engine_submit(&engine), 0);
		ck_assert(!engine.uring && engine.entries[0].pending);
		ck_assert_uint_eq(engine.under_way, 0);
	}
	blazei_engine_use(&engine, AT_FDCWD, name, fd);
	ck_assert_int_eq(blazei_engine_run(&engine, &entry), 0);
	blazei_engine_fini(&engine);
	close(fd);
	ck_assert_int_eq(unlink(name), 0);
}
END_TEST

/* A child's close gives back its copy, and the parent's next writes are whole. */
START_TEST(forked_child_closes_its_copy)
{
	const struct blaze_store_ops *ops = &blazei_file_ops;
	struct blaze_store_request request = { BLAZE_STORE_APPEND, 0, 1, 0, data, BLOCK, 1 };
	struct blaze_store_completion completion;
	void *store;

	ck_assert_int_eq(blazei_fork_init(), 0);
	setenv("BLAZE_STORE_ENGINE", _i == 0 ? "" : "plain", 1);
	ck_assert_int_eq(ops->open("test_engine.dir", &store), 0);
	ck_assert_int_eq(ops->segment_create(store, 1), 0);
	for (unsigned i = 0; i < 20; i++) {
		int status;
		pid_t pid;

		memset(data, (int)i + 1, BLOCK);
		request.offset = i * BLOCK;
		ck_assert_int_eq(ops->submit(store, &request, 1), 1);
		pid = fork(); /* while it is under way */
		ck_assert_int_ge(pid, 0);
		if (pid == 0) {
			ops->close(store);
			_exit(0);
		}
		ck_assert_int_eq(ops->poll(store, &completion, 1), 1);
		ck_assert_int_eq(completion.result, 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
		ck_assert_int_eq(ops->segment_read(store, 1, i * BLOCK, back, BLOCK), BLOCK);
		ck_assert_mem_eq(back, data, BLOCK);
	}
	ops->close(store);
	dir_clear();
}
END_TEST

/* The kernel may be reading it while the parent writes on: pages that both have would be copied. */
START_TEST(forked_child_has_no_bounce_buffer)
{
	struct blazei_engine engine;
	unsigned char there;
	int status;
	pid_t pid;

	engine_init(&engine, "");
	ck_assert(engine.direct && engine.bounce != NULL);
	ck_assert_int_eq(mincore(engine.bounce, BLOCK, &there), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(mincore(engine.bounce, BLOCK, &there) < 0 && errno == ENOMEM ? 0 : 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	blazei_engine_fini(&engine);
}
END_TEST

/* Appends, with a sync; the length of the file is then what it should be. */
static void append_and_look(void *store, uint64_t offset, uint64_t len, off_t file_bytes)
{
	const struct blaze_store_ops *ops = &blazei_file_ops;
	uint8_t *bytes = malloc(len), *again = malloc(len);
	const struct blaze_store_request requests[] = {
		{ BLAZE_STORE_APPEND, 0, 1, offset, bytes, len, 1 },
		{ BLAZE_STORE_SYNC, 0, 1, 0, NULL, 0, 2 },
	};
	struct blaze_store_completion completion;
	struct stat status;

	ck_assert(bytes != NULL && again != NULL);
	for (uint64_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)((offset + i) * 7 >> 5 | 1);
	ck_assert_int_eq(ops->submit(store, requests, 2), 2);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(ops->poll(store, &completion, 1), 1);
		ck_assert_int_eq(completion.result, 0);
	}
	ck_assert_int_eq(ops->segment_read(store, 1, offset, again, len), (int64_t)len);
	ck_assert_mem_eq(again, bytes, len);
	ck_assert_int_eq(stat("test_engine.dir/0000000000000001.seg", &status), 0);
	ck_assert_int_eq(status.st_size, file_bytes);
	free(bytes);
	free(again);
}

/* What is long is written once, what is short into zeros, and those end where the segment does. */
START_TEST(only_short_appends_go_into_zeros)
{
	const struct blaze_store_ops *ops = &blazei_file_ops;
	const uint64_t mib = UINT64_C(1) << 20, most = BLAZEI_FILE_SEGMENT_BYTES;
	void *store;

	setenv("BLAZE_STORE_ENGINE", _i == 0 ? "" : "plain", 1);
	ck_assert_int_eq(ops->open("test_engine.dir", &store), 0);
	ck_assert_int_eq(ops->segment_create(store, 1), 0);
	append_and_look(store, 0, 3 * mib + BLOCK, (off_t)(3 * mib + BLOCK));
	append_and_look(store, 3 * mib + BLOCK, BLOCK, (off_t)(4 * mib + BLOCK));
	append_and_look(store, 3 * mib + 2 * BLOCK, 2 * mib, (off_t)(5 * mib + 2 * BLOCK));
	append_and_look(store, 5 * mib + 2 * BLOCK, mib, (off_t)(6 * mib + 2 * BLOCK));
	append_and_look(store, 6 * mib + 2 * BLOCK, most - 7 * mib,
	                (off_t)(most - mib + 2 * BLOCK));
	append_and_look(store, most - mib + 2 * BLOCK, BLOCK, (off_t)most);
	ops->close(store);
	dir_clear();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("engine");
	TCase *tcase = tcase_create("engine");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, environment_leaves_out_what_it_names);
	tcase_add_test(tcase, refused_io_uring_is_done_without);
	tcase_add_test(tcase, other_refused_calls_are_not_needed);
	tcase_add_loop_test(tcase, no_locked_memory_is_done_without, 0, 2);
	tcase_add_test(tcase, write_cut_short_fails_all_behind_it);
	tcase_add_test(tcase, lost_ring_is_an_error_and_then_done_without);
	tcase_add_loop_test(tcase, forked_child_closes_its_copy, 0, 2);
	tcase_add_test(tcase, forked_child_has_no_bounce_buffer);
	tcase_add_loop_test(tcase, only_short_appends_go_into_zeros, 0, 2);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
