/* SPDX-License-Identifier: Apache-2.0 */
/* Who looks into a store, or copies it, while another process writes to it and drops what is no
 * longer needed: what comes is a log of some moment, whole, and never damage; or -ESTALE. */
#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <blaze/db.h>

#include "lib/repl/replica.h"
#include "lib/store/backup.h"
#include "lib/store/file.h"
#include "lib/store/log.h"
#include "lib/store/survey.h"
#include "lib/store/view.h"
#include "tests/base/child.h"
#include "tests/base/dir.h"
#include "tests/store/txns.h"

#define TXNS      64u /* the log has them again and again */
#define TXN_BYTES 20000u
#define DROPS     100u /* for each durability */

struct notes {
	_Atomic uint64_t acknowledged; /* LSN */
	_Atomic uint64_t dropped;      /* the log begins there, or behind it */
	atomic_uint drops;
};

static struct blazei_buffer txns[TXNS];
static struct notes *notes;
static char dir[] = "test_look.XXXXXX", from[64], to[64];

static size_t length_of(unsigned number)
{
	return number * 311 % TXN_BYTES;
}

static void setup(void)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(from, sizeof(from), "%s/from", dir);
	snprintf(to, sizeof(to), "%s/to", dir);
	notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
	             0);
	ck_assert(notes != MAP_FAILED);
	memset(notes, 0, sizeof(*notes));
	txns_make(txns, TXNS, TXN_BYTES, length_of);
}

static void teardown(void)
{
	munmap(notes, sizeof(*notes));
	for (unsigned i = 0; i < TXNS; i++)
		blazei_buffer_free(&txns[i]);
	dir_remove(from);
	dir_remove(to);
	ck_assert_int_eq(rmdir(dir), 0);
}

/* Writing --------------------------------------------------------------------------------------*/

static int any(void *arg, const void *txn, size_t len)
{
	(void)arg;
	(void)txn;
	(void)len;
	return 0;
}

static struct blazei_store *writer_open(uint32_t durability)
{
	const struct blazei_store_options options = { .policy = BLAZE_POLICY_LWW,
		                                      .durability = durability,
		                                      .tail_dir = dir };
	struct blazei_store *store = NULL;

	ck_assert_int_eq(blazei_store_open(&blazei_file_ops, from, &options, &store), 0);
	ck_assert_int_eq(blazei_store_recover(store, 1, any, NULL), 0);
	return store;
}

static void append(struct blazei_store *store, unsigned count)
{
	uint64_t lsn = store->last;

	while (count-- > 0) {
		const struct blazei_buffer *txn = &txns[lsn % TXNS];

		ck_assert_int_eq(blazei_store_append(store, txn->data, txn->len, &lsn), 0);
	}
	ck_assert_int_eq(blazei_store_acknowledge(store, lsn), 0);
	atomic_store(&notes->acknowledged, lsn);
}

/* As a compaction does it: what goes on is in a new segment. */
static void drop(struct blazei_store *store)
{
	uint64_t lsn;

	ck_assert_int_eq(blazei_store_sync(store), 0);
	ck_assert_int_eq(blazei_store_rotate(store), 0);
	append(store, 3);
	ck_assert_int_eq(blazei_store_sync(store), 0);
	lsn = store->last - 2;
	ck_assert_int_eq(blazei_store_drop_before(store, lsn), 0);
	atomic_store(&notes->dropped, lsn);
	atomic_fetch_add(&notes->drops, 1);
}

static void writer_run(uint32_t durability)
{
	struct blazei_store *store = writer_open(durability);

	for (unsigned i = 0; i < DROPS; i++) {
		append(store, 1 + i % 7);
		if (i % 3 == 0)
			ck_assert_int_eq(blazei_store_sync(store), 0);
		drop(store);
	}
	ck_assert_int_eq(blazei_store_close(store), 0);
	_exit(0);
}

/* Looking --------------------------------------------------------------------------------------*/

struct seen {
	const struct blazei_store *store;
	bool begun;
	uint64_t last;
	struct blazei_store *other; /* drops when the first one comes */
};

static int txn_compare(void *arg, const void *txn, size_t len)
{
	struct seen *seen = arg;
	const struct blazei_buffer *due;

	if (!seen->begun && seen->store->root->start > 0)
		seen->last = seen->store->root->start - 1;
	seen->begun = true;
	due = &txns[seen->last++ % TXNS];
	ck_assert_uint_eq(len, due->len);
	ck_assert_mem_eq(txn, due->data, len);
	if (seen->other != NULL)
		drop(seen->other);
	seen->other = NULL;
	return 0;
}

/* Reads what is there at this moment. *ret_last: up to which LSN; or the error. */
static int look(const char *path, struct blazei_store *other, uint64_t *ret_last)
{
	const struct blazei_store_options options = { .look = true, .tail_dir = dir };
	struct blazei_store *store;
	struct seen seen = { .other = other };
	int error;

	ck_assert_int_eq(blazei_store_open(&blazei_view_ops, path, &options, &store), 0);
	seen.store = store;
	error = blazei_store_recover(store, 1, txn_compare, &seen);
	*ret_last = seen.last;
	if (error == 0)
		ck_assert_uint_eq(store->last, seen.last);
	ck_assert_int_eq(blazei_store_close(store), 0);
	return error;
}

START_TEST(beside_one_who_drops_a_look_is_whole_or_stale)
{
	unsigned looks = 0, stale = 0, copies = 0;
	pid_t pid = child_fork();
	int status = 0;

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		writer_run((uint32_t)_i);
	while (atomic_load(&notes->drops) == 0 && waitpid(pid, &status, WNOHANG) == 0)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	for (bool over = false; !over;) {
		const uint64_t least = atomic_load(&notes->acknowledged);
		uint64_t last = 0;
		int error;

		over = waitpid(pid, &status, WNOHANG) != 0;
		error = look(from, NULL, &last);
		ck_assert_msg(error == 0 || (error == -ESTALE && !over), "a look: %d", error);
		ck_assert(error != 0 || last >= least);
		stale += error != 0;
		looks++;
		if (looks % 8 != 0 && !over)
			continue;
		error = blazei_store_backup(from, to, least);
		ck_assert_msg(error == 0 || (error == -EAGAIN && !over), "a copy: %d", error);
		if (error == 0) {
			ck_assert_int_eq(look(to, NULL, &last), 0);
			ck_assert_uint_ge(last, least);
			copies++;
		}
		dir_remove(to);
	}
	printf("%u looks, %u stale, %u copies\n", looks, stale, copies);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	ck_assert_uint_gt(copies, 0);
}
END_TEST

/* What is read goes amid the reading. */
START_TEST(segments_that_go_meanwhile_are_stale)
{
	struct blazei_store *store = writer_open(BLAZE_DURABILITY_SYNC);
	uint64_t last;

	for (unsigned i = 0; i < 3; i++) {
		append(store, 4);
		ck_assert_int_eq(blazei_store_rotate(store), 0);
	}
	ck_assert_int_eq(look(from, store, &last), -ESTALE);
	ck_assert_int_eq(look(from, NULL, &last), 0);
	ck_assert_uint_eq(last, 15);
	ck_assert_int_eq(blazei_store_close(store), 0);
}
END_TEST

/* It is damage where the root still names it. */
START_TEST(segment_that_is_missing_is_damage)
{
	struct blazei_survey_store found;
	struct blazei_store *store = writer_open(BLAZE_DURABILITY_SYNC);
	char name[400];
	uint64_t last;

	for (unsigned i = 0; i < 3; i++) {
		append(store, 4);
		ck_assert_int_eq(blazei_store_rotate(store), 0);
	}
	snprintf(name, sizeof(name), "%s/%016llx.seg", from,
	         (unsigned long long)store->root->segments[1].number);
	ck_assert_int_eq(unlink(name), 0);
	ck_assert_int_eq(look(from, NULL, &last), -EBADMSG);
	ck_assert_int_eq(blazei_store_backup(from, to, 0), -EBADMSG);
	ck_assert_int_eq(blazei_survey_store(from, &found), -EBADMSG);
	ck_assert_int_eq(blazei_store_close(store), 0);
}
END_TEST

/* A medium on which the second block is not to be seen, at first or for good. */
static unsigned unseen;

static int64_t late_read(void *store, uint64_t segment, uint64_t offset, void *ret_data, size_t len)
{
	int64_t n = blazei_view_ops.segment_read(store, segment, offset, ret_data, len);

	if (unseen > 0 && offset <= 4096 && n >= (int64_t)(8192 - offset)) {
		memset((uint8_t *)ret_data + (4096 - offset), 0, 4096);
		unseen--;
	}
	return n;
}

/* Frames that are written while the end is looked for. */
START_TEST(frames_that_come_meanwhile_are_stale_and_no_damage)
{
	const struct blazei_store_options options = { .look = true, .tail_dir = dir };
	struct blazei_store *store = writer_open(BLAZE_DURABILITY_SYNC), *looker;
	struct blaze_store_ops late = blazei_view_ops;

	late.segment_read = late_read;
	for (unsigned i = 0; i < 4; i++)
		append(store, 1);
	for (unsigned i = 0; i < 3; i++) {
		unseen = i == 0 ? 0 : i == 1 ? 1 : UINT_MAX;
		ck_assert_int_eq(blazei_store_open(&late, from, &options, &looker), 0);
		ck_assert_int_eq(blazei_store_recover(looker, 1, any, NULL), i == 0   ? 0
		                                                             : i == 1 ? -ESTALE
		                                                                      : -EBADMSG);
		ck_assert_int_eq(blazei_store_close(looker), 0);
	}
	ck_assert_int_eq(blazei_store_close(store), 0);
}
END_TEST

static int txn_count(void *arg, const struct blazei_survey_txn *txn)
{
	uint64_t *count = arg;

	ck_assert_uint_ge(txn->lsn, 3);
	(*count)++;
	return 0;
}

/* Of what is before its start a log has nothing, though it may stand in its first segment. */
START_TEST(survey_and_copies_begin_at_the_start)
{
	struct blazei_store *store = writer_open(BLAZE_DURABILITY_SYNC);
	uint64_t count = 0, last;
	const struct blazei_survey_visitors visitors = { .txn = txn_count, .arg = &count };
	struct blazei_survey_store found;

	append(store, 7);
	ck_assert_int_eq(blazei_store_drop_before(store, 3), 0);
	ck_assert_int_eq(blazei_store_close(store), 0);
	ck_assert_int_eq(blazei_survey_store(from, &found), 0);
	ck_assert_uint_eq(found.start, 3);
	ck_assert_uint_eq(found.last, 7);
	ck_assert_uint_eq(found.transactions, 5);
	ck_assert_uint_eq(found.in_tail, 0);
	ck_assert_int_eq(blazei_survey_frames(from, &visitors), 0);
	ck_assert_uint_eq(count, 5);
	ck_assert_int_eq(blazei_store_backup(from, to, 7), 0);
	ck_assert_int_eq(blazei_survey_store(to, &found), 0);
	ck_assert_uint_eq(found.start, 3);
	ck_assert_uint_eq(found.transactions, 5);
	ck_assert_int_eq(look(to, NULL, &last), 0);
	ck_assert_uint_eq(last, 7);
	dir_remove(to);
	ck_assert_int_eq(blazei_survey_salvage(from, to, &last), 0);
	ck_assert_uint_eq(last, 7);
	ck_assert_int_eq(look(to, NULL, &last), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("look");
	TCase *tcase = tcase_create("look");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 300);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, beside_one_who_drops_a_look_is_whole_or_stale,
	                    BLAZE_DURABILITY_ASYNC, BLAZE_DURABILITY_SYNC + 1);
	tcase_add_test(tcase, segments_that_go_meanwhile_are_stale);
	tcase_add_test(tcase, segment_that_is_missing_is_damage);
	tcase_add_test(tcase, frames_that_come_meanwhile_are_stale_and_no_damage);
	tcase_add_test(tcase, survey_and_copies_begin_at_the_start);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
