/* SPDX-License-Identifier: Apache-2.0 */
/* The tail: what it held is there after the death of the process, whole and in order, whatever lies
 * around it; what is lost of it is counted, and all before that kept; a disk that stands still or
 * fails does what it should to those who write. */
#include <sys/resource.h>

#include "tests/store/tailed.h"

START_TEST(death_loses_nothing)
{
	die(filled(20, 50));
	check(50, 50, 0);
	check(50, 50, 0);
}
END_TEST

/* Many times around the ring. */
START_TEST(death_after_many_rounds_loses_nothing)
{
	unsigned count;
	struct blazei_store *store = opened(&count);

	for (unsigned i = 0; i < TXNS; i++) {
		ck_assert_int_eq(put(store, i), 0);
		if (i % 20 == 19 && i < TXNS - 1)
			ck_assert_int_eq(blazei_store_sync(store), 0);
	}
	die(store);
	check(TXNS, TXNS, 0);
}
END_TEST

START_TEST(power_loss_keeps_what_was_durable)
{
	die(filled(20, 50));
	boot.bytes[0] = 2;
	check(20, 20, 1);
}
END_TEST

START_TEST(missing_tail_is_counted)
{
	die(filled(20, 50));
	tails_visit(tail_remove, NULL);
	check(20, 20, 1);
}
END_TEST

/* Who opens another user's store does not give up what that one's shared memory has. */
START_TEST(tail_of_another_user_is_not_given_up)
{
	struct blazei_store *store = NULL;
	unsigned count = 0;
	int fd;

	die(filled(20, 50));
	tails_visit(tail_remove, NULL);
	(void)unlink("fault/root");
	(void)rmdir("fault");
	ck_assert_int_eq(mkdir("fault", 0700), 0);
	fd = open("fault/root", O_WRONLY | O_CREAT, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	if (chown("fault/root", 54321, (gid_t)-1) == 0) {
		ck_assert_int_eq(blazei_store_open(&fault_ops, "fault", &options, &store), 0);
		ck_assert_int_eq(blazei_store_recover(store, 1, txn_compare, &count), -EACCES);
		ck_assert_int_eq(blazei_store_close(store), 0);
	}
	ck_assert_int_eq(unlink("fault/root"), 0);
	ck_assert_int_eq(rmdir("fault"), 0);
	check(20, 20, 1);
}
END_TEST

/* Recovery fails with this error; nothing of the store or its tail has changed then. */
static void expect_refused(int error)
{
	struct blazei_store *store = NULL;
	unsigned count = 0;

	ck_assert_int_eq(blazei_store_open(&fault_ops, "fault", &options, &store), 0);
	ck_assert_int_eq(blazei_store_recover(store, 1, txn_compare, &count), error);
	ck_assert_int_eq(blazei_store_close(store), 0);
}

static void mode_set(const char *path, void *arg)
{
	ck_assert_int_eq(chmod(path, *(mode_t *)arg), 0);
}

/* A tail that can't be read just now is not gone: who opens fails, and the next one finds it. */
START_TEST(tail_that_cannot_be_read_is_not_given_up)
{
	mode_t open_mode = 0644, mode = 0600;
	struct rlimit few, limit;

	die(filled(20, 50));
	options.look = _i == 1;
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	few = limit;
	few.rlim_cur = (rlim_t)open("/dev/null", O_RDONLY | O_CLOEXEC);
	close((int)few.rlim_cur);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	expect_refused(-EMFILE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	tails_visit(mode_set, &open_mode);
	expect_refused(-EACCES);
	tails_visit(mode_set, &mode);
	/* Which boot this is can't be read. */
	options.boot = &(const struct blaze_id){ { 0 } };
	expect_refused(-EACCES);
	options.boot = &boot;
	options.look = false;
	check(50, 50, 0);
}
END_TEST

/* Nobody could tell later whether its tail is lost: it has none. */
START_TEST(without_a_boot_id_it_is_as_sync)
{
	struct blazei_store *store;

	options.boot = &(const struct blaze_id){ { 0 } };
	store = filled(0, 50);
	ck_assert_uint_eq(store->durability, BLAZE_DURABILITY_SYNC);
	ck_assert_int_eq(tails_visit(NULL, NULL), 0);
	die(store);
	check(50, 50, 0);
}
END_TEST

static void tail_truncate(const char *path, void *arg)
{
	ck_assert_int_eq(truncate(path, *(off_t *)arg), 0);
}

START_TEST(truncated_tail_is_counted)
{
	static const off_t lengths[] = { 0, 100, 4096, 8192, 4096 + TAIL_BYTES - 1 };
	off_t length = lengths[_i];

	die(filled(20, 50));
	tails_visit(tail_truncate, &length);
	check(20, 20, 1);
}
END_TEST

/* Makes it one of 8 bytes, which look like the number of the next entry; not even the head of one
 * has room there. */
static void tail_shrink(const char *path, void *arg)
{
	const uint64_t next = 21;
	struct blazei_tail_header header;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	(void)arg;
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, &header, sizeof(header), 0), sizeof(header));
	header.bytes = 8;
	header.hash = XXH3_64bits(&header, offsetof(struct blazei_tail_header, hash));
	ck_assert_int_eq(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	ck_assert_int_eq(pwrite(fd, &next, sizeof(next), BLAZEI_TAIL_HEADER_BYTES), sizeof(next));
	ck_assert_int_eq(ftruncate(fd, BLAZEI_TAIL_HEADER_BYTES + 8), 0);
	close(fd);
}

START_TEST(tail_without_room_for_an_entry_is_none)
{
	die(filled(20, 50));
	tails_visit(tail_shrink, NULL);
	check(20, 20, 1);
}
END_TEST

/* A tail of another opening, under the right name. */
START_TEST(foreign_tail_is_not_taken)
{
	unsigned count;
	struct blazei_store *store;

	die(filled(20, 50));
	store = opened(&count);
	ck_assert_uint_eq(count, 50);
	store->root->tail_nonce ^= 1;
	ck_assert_int_eq(blazei_store_root_swap(store), 0);
	for (unsigned i = 50; i < 60; i++)
		ck_assert_int_eq(put(store, i), 0);
	die(store);
	check(50, 50, 1);
}
END_TEST

struct spoil {
	off_t offset;
	uint8_t with;
};

static void tail_spoil(const char *path, void *arg)
{
	const struct spoil *spoil = arg;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, &byte, 1, spoil->offset), 1);
	byte ^= spoil->with;
	ck_assert_int_eq(pwrite(fd, &byte, 1, spoil->offset), 1);
	close(fd);
}

/* Each byte of header and entries in turn: a prefix is there, and what is not is counted. */
START_TEST(damage_anywhere_leaves_a_prefix)
{
	unsigned wrong = 0, all = 6;
	off_t end = BLAZEI_TAIL_HEADER_BYTES;

	for (unsigned i = 0; i < all; i++)
		end += (off_t)(16 + txns[i].len);
	die(filled(2, all));
	for (off_t at = 0; at < end; at++) {
		struct spoil spoil = { at, 0x20 };
		unsigned count = 0;
		struct blazei_store *store = NULL;

		if (at == 80)
			at = BLAZEI_TAIL_HEADER_BYTES;
		spoil.offset = at;
		tails_visit(tail_spoil, &spoil);
		options.look = true;
		ck_assert_int_eq(blazei_store_open(&fault_ops, "fault", &options, &store), 0);
		ck_assert_int_eq(blazei_store_recover(store, 1, txn_compare, &count), 0);
		ck_assert_uint_ge(count, 2);
		ck_assert_uint_le(count, all);
		wrong += count < all;
		ck_assert_int_eq(blazei_store_close(store), 0);
		tails_visit(tail_spoil, &spoil);
	}
	ck_assert_uint_gt(wrong, 100);
	options.look = false;
	check(all, all, 0);
}
END_TEST

START_TEST(damaged_tail_is_counted)
{
	struct spoil spoil = { BLAZEI_TAIL_HEADER_BYTES, 0x20 };

	/* In the fourth entry, behind its head. */
	for (unsigned i = 0; i < 3; i++)
		spoil.offset += (off_t)(16 + txns[i].len);
	spoil.offset += 20;
	die(filled(2, 6));
	tails_visit(tail_spoil, &spoil);
	check(3, 3, 1);
}
END_TEST

START_TEST(full_shared_memory_is_told)
{
	struct blazei_store *store = NULL;
	unsigned count = 0;

	options.tail_bytes = UINT64_C(1) << 45;
	ck_assert_int_eq(blazei_store_open(&fault_ops, "fault", &options, &store), 0);
	ck_assert_int_eq(blazei_store_recover(store, 1, txn_compare, &count), -ENOSPC);
	(void)blazei_store_close(store);
	ck_assert_int_eq(tails_visit(NULL, NULL), 0);
}
END_TEST

/* Has the root of the medium, with one segment, name as many as it can: the others are empty. */
static void segments_take_all(void)
{
	struct blazei_root *root = calloc(1, BLAZEI_ROOT_BYTES_MAX);

	ck_assert_ptr_nonnull(root);
	memcpy(root, medium.root, medium.root_len);
	ck_assert_uint_eq(root->segment_count, 1);
	ck_assert_uint_eq(root->segments[0].end, BLAZEI_SEGMENT_OPEN);
	root->segments[0].end = medium.segments[root->segments[0].number].synced;
	while (root->segment_count < BLAZEI_ROOT_SEGMENTS_MAX)
		root->segments[root->segment_count++].number = root->next_segment++;
	blazei_root_seal(root);
	free(medium.root);
	medium.root = (uint8_t *)root;
	medium.root_len = blazei_root_bytes(root);
}

/* Refused before anything is written; who only looks finds all, that of the tail too. */
START_TEST(store_with_all_segments_taken_can_only_be_read)
{
	for (unsigned i = 0; i < 2; i++) {
		struct blazei_store *store = NULL;
		uint64_t version;
		unsigned count = 0;

		if (i == 0) {
			die(filled(20, 50));
			segments_take_all();
		}
		version = medium.root_version;
		options.look = i == 1;
		ck_assert_int_eq(blazei_store_open(&fault_ops, "fault", &options, &store), 0);
		ck_assert_int_eq(blazei_store_recover(store, 1, txn_compare, &count),
		                 options.look ? 0 : -ENOSPC);
		ck_assert_uint_eq(count, 50);
		ck_assert_int_eq(blazei_store_close(store), 0);
		ck_assert_uint_eq(medium.root_version, version);
		ck_assert_int_eq(tails_visit(NULL, NULL), 1);
	}
}
END_TEST

/* One that is killed between making its tail and giving up the one before leaves both: before it
 * swapped the root (0), or after (1). Whoever opens it next takes both away, without a tail of its
 * own (2, 3) too. */
START_TEST(killed_between_two_tails_it_leaves_none)
{
	struct blazei_store *store = filled(20, 50);
	struct blazei_tail_name other = store->tail_name;
	struct blazei_tail tail;
	unsigned count;

	other.turn = 1 - other.turn;
	other.nonce ^= 1;
	ck_assert_int_eq(blazei_tail_create(dir, &other, &store->root->store, TAIL_BYTES, &tail),
	                 0);
	blazei_tail_close(&tail);
	if (_i % 2 == 1) {
		ck_assert_int_eq(blazei_store_sync(store), 0);
		store->root->tail_nonce = other.nonce;
		store->root->tail_turn = (uint8_t)other.turn;
		ck_assert_int_eq(blazei_store_root_swap(store), 0);
	}
	die(store);
	ck_assert_int_eq(tails_visit(NULL, NULL), 2);
	if (_i >= 2)
		options.durability = BLAZE_DURABILITY_SYNC;
	store = opened(&count);
	ck_assert_uint_eq(count, 50);
	ck_assert_int_eq(tails_visit(NULL, NULL), _i < 2);
	ck_assert_int_eq(blazei_store_close(store), 0);
	ck_assert_int_eq(tails_visit(NULL, NULL), 0);
}
END_TEST

/* Without tmpfs each write waits for the disk. */
START_TEST(without_tmpfs_it_is_as_sync)
{
	static const char *const dirs[] = { ".", "/nonexistent" };
	struct blazei_store *store;
	unsigned count;

	options.tail_dir = dirs[_i];
	store = opened(&count);
	ck_assert_int_eq(put(store, 0), 0);
	ck_assert_uint_eq(store->durable, 1);
	ck_assert_int_eq(blazei_store_close(store), 0);
}
END_TEST

/* What memory held is gone, and that is counted. */
START_TEST(none_is_counted_when_it_dies)
{
	options.durability = BLAZE_DURABILITY_NONE;
	die(filled(20, 50));
	check(20, 20, 1);
}
END_TEST

START_TEST(interval_makes_durable)
{
	struct blazei_store *store;

	options.sync_interval_ns = 2 * BLAZEI_NS_PER_MS;
	store = filled(0, 10);
	ck_assert_int_eq(blazei_store_await(store, 10), 0);
	ck_assert_uint_eq(store->durable, 10);
	ck_assert_int_eq(blazei_store_close(store), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tail");
	TCase *tcase = tcase_create("tail");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 300);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, death_loses_nothing);
	tcase_add_test(tcase, death_after_many_rounds_loses_nothing);
	tcase_add_test(tcase, power_loss_keeps_what_was_durable);
	tcase_add_test(tcase, missing_tail_is_counted);
	tcase_add_test(tcase, tail_of_another_user_is_not_given_up);
	tcase_add_loop_test(tcase, tail_that_cannot_be_read_is_not_given_up, 0, 2);
	tcase_add_test(tcase, without_a_boot_id_it_is_as_sync);
	tcase_add_loop_test(tcase, truncated_tail_is_counted, 0, 5);
	tcase_add_test(tcase, tail_without_room_for_an_entry_is_none);
	tcase_add_test(tcase, foreign_tail_is_not_taken);
	tcase_add_test(tcase, damage_anywhere_leaves_a_prefix);
	tcase_add_test(tcase, damaged_tail_is_counted);
	tcase_add_test(tcase, full_shared_memory_is_told);
	tcase_add_test(tcase, store_with_all_segments_taken_can_only_be_read);
	tcase_add_loop_test(tcase, killed_between_two_tails_it_leaves_none, 0, 4);
	tcase_add_loop_test(tcase, without_tmpfs_it_is_as_sync, 0, 2);
	tcase_add_test(tcase, none_is_counted_when_it_dies);
	tcase_add_test(tcase, interval_makes_durable);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
