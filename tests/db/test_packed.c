/* SPDX-License-Identifier: Apache-2.0 */
/* How long the log of a compacted database is: records that are alike take a fraction of their
 * length in it, which is what the next compaction goes by; noise takes what it is long; who writes
 * without a pause meanwhile does not keep it from its end. And damage that a checksum does not tell
 * has its place told. */
#include <fcntl.h>

#include "lib/op/hash.h"
#include "lib/store/log.h"
#include "lib/store/survey.h"
#include "tests/db/stored.h"

#define RECORDS 2000u

static char last_line[512];

static void line_note(void *arg, enum blaze_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	snprintf(last_line, sizeof(last_line), "%s", line);
}

static void setup(void)
{
	stored_setup();
	blaze_log_set(line_note, NULL);
}

static void teardown(void)
{
	blaze_log_set(NULL, NULL);
	stored_teardown();
}

static void put_all(struct blaze_db *db, bool noise)
{
	uint64_t words[64];

	for (unsigned i = 0; i < RECORDS; i++) {
		struct blaze_id id = { { (uint8_t)i, (uint8_t)(i >> 8), 1 } };

		for (unsigned k = 0; k < 64; k++)
			words[k] = noise ? XXH3_64bits(&(unsigned[]){ i, k }, 8) : i + k;
		ck_assert_int_eq(blaze_db_put(db, &id, words, sizeof(words)), 0);
	}
}

static uint64_t log_bytes(struct blaze_db *db)
{
	uint64_t bytes;
	uint32_t segments;

	blazei_store_size(db->store, &bytes, &segments);
	return bytes;
}

static struct blaze_db *open_flags(const char *name, unsigned number, unsigned flags)
{
	return stored_open(name, number, 0, BLAZE_DB_MANUAL | flags);
}

/* 0: alike, 1: noise. What it is taken for is what it is, here and at the next opening; a copy of
 * it has the same. */
START_TEST(log_is_as_short_as_its_records_allow)
{
	const char *name = unique_name();
	struct blaze_db *db = open_flags(name, 0, 0);
	const uint64_t raw = RECORDS * 512;
	uint8_t before[16], after[16];

	put_all(db, _i == 1);
	stored_hash_stamps(db, before);
	ck_assert_uint_gt(log_bytes(db), raw);
	ck_assert_int_eq(blaze_db_compact(db), 0);
	if (_i == 0)
		ck_assert_uint_lt(log_bytes(db), raw / 4);
	else
		ck_assert_uint_gt(log_bytes(db), raw);
	/* Beside records it has the bounds of the checkpoint, a unit each. */
	ck_assert_uint_eq(db->compaction.live, log_bytes(db) - 2 * BLAZEI_FRAME_UNIT);
	ck_assert_int_eq(blaze_db_backup(db, stored_path(1)), 0);
	ck_assert_int_eq(blaze_db_close(db), 0);
	for (unsigned i = 0; i < 2; i++) {
		db = open_flags(name, i, i == 0 ? 0 : BLAZE_DB_READ_ONLY);
		stored_hash_stamps(db, after);
		ck_assert_mem_eq(before, after, 16);
		if (i == 0)
			ck_assert_uint_eq(db->compaction.live,
			                  log_bytes(db) - 2 * BLAZEI_FRAME_UNIT);
		ck_assert_int_eq(blaze_db_close(db), 0);
	}
}
END_TEST

/* Makes the first compressed frame of a segment one that does not decompress, under a checksum that
 * is right. Its offset. */
static uint64_t frame_spoil(const struct blazei_root *root)
{
	struct blazei_frame_place place = {
		.store = root->store,
		.segment = root->segments[0].number,
		.incarnation = root->segments[0].incarnation,
	};
	struct blazei_frame_header *frame = aligned_alloc(4096, BLAZEI_FRAME_BYTES_MAX);
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%016llx.seg", stored_path(0),
	         (unsigned long long)place.segment);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_ptr_nonnull(frame);
	for (;;) {
		ssize_t n = pread(fd, frame, BLAZEI_FRAME_BYTES_MAX, (off_t)place.offset);
		int64_t bytes;

		ck_assert_int_gt(n, 0);
		bytes = blazei_frame_check(frame, (size_t)n, &place);
		ck_assert_int_gt(bytes, 0);
		if (frame->stored_bytes < frame->raw_bytes)
			break;
		place.offset += (uint64_t)bytes;
	}
	memset(frame + 1, 0, 4); /* no zstd */
	ck_assert_int_gt(pwrite(fd, frame, blazei_frame_seal(frame, &place), (off_t)place.offset),
	                 0);
	close(fd);
	free(frame);
	return place.offset;
}

struct seen {
	unsigned decoded;
	unsigned undecoded;
};

static int on_txn(void *arg, const struct blazei_survey_txn *txn)
{
	struct seen *seen = arg;

	if (txn->operations == NULL && txn->part == NULL)
		seen->undecoded++;
	else
		seen->decoded++;
	return 0;
}

/* In an entry of one frame (0), and of several (1): it is told once. */
START_TEST(damage_within_what_is_compressed_is_told_with_its_place)
{
	static uint8_t value[1000 << 10];
	const char *name = unique_name();
	struct blaze_db *db = open_flags(name, 0, 0);
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct seen before = { 0 }, after = { 0 };
	struct blazei_survey_visitors visitors = { .txn = on_txn, .arg = &before };
	const struct blaze_id id = { { 9 } };
	char place[64];

	if (_i == 0)
		put_all(db, false);
	else
		ck_assert_int_eq(blaze_db_put(db, &id, value, sizeof(value)), 0);
	ck_assert_int_eq(blaze_db_compact(db), 0);
	ck_assert_int_eq(blazei_survey_frames(stored_path(0), &visitors), 0);
	ck_assert_uint_eq(before.undecoded, 0);
	ck_assert_uint_gt(before.decoded, 1);
	snprintf(place, sizeof(place), "at %llu: it does not decompress",
	         (unsigned long long)frame_spoil(db->store->root));
	ck_assert_int_eq(blaze_db_close(db), 0);
	ck_assert_int_eq(blaze_db_open(name, stored_path(0), &options, &db), -EBADMSG);
	ck_assert_msg(strstr(last_line, place) != NULL, "'%s' without '%s'", last_line, place);
	visitors.arg = &after;
	ck_assert_int_eq(blazei_survey_frames(stored_path(0), &visitors), 0);
	ck_assert_uint_eq(after.undecoded, 1);
	ck_assert_uint_eq(after.decoded, before.decoded - 1);
}
END_TEST

struct writer {
	struct blaze_db *db;
	atomic_bool stop;
	uint64_t count;
	int error;
};

/* Fills the tail as fast as it can. */
static void *writer_main(void *arg)
{
	struct writer *writer = arg;
	uint64_t words[512];

	while (!atomic_load(&writer->stop) && writer->error == 0) {
		const uint64_t n = writer->count++;
		struct blaze_id id = { { (uint8_t)n, (uint8_t)(n >> 8 & 15), 1 } };

		for (unsigned k = 0; k < 512; k++)
			words[k] = XXH3_64bits(&(uint64_t[]){ n, k }, 16);
		writer->error = blaze_db_put(writer->db, &id, words, sizeof(words));
		/* The disk has much to do. */
		if (writer->error == -EAGAIN)
			writer->error = 0;
	}
	return NULL;
}

/* 4096 records of 4 KiB. A checkpoint that waited for the disk, and so for all that is in the tail,
 * after each of its 16 MiB, would see the log grow by 16 times what it holds. */
START_TEST(writer_without_a_pause_does_not_keep_it_back)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct writer writer = { .db = NULL };
	uint64_t state, before, most;
	pthread_t thread;

	options.durability = BLAZE_DURABILITY_ASYNC;
	ck_assert_int_eq(blaze_db_open(unique_name(), stored_path(0), &options, &writer.db), 0);
	pthread_mutex_lock(&writer.db->lock);
	writer.db->compaction.bytes_min = UINT64_C(1) << 40;
	pthread_mutex_unlock(&writer.db->lock);
	ck_assert_int_eq(pthread_create(&thread, NULL, writer_main, &writer), 0);
	while (blaze_db_count(writer.db) < 4096)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	before = log_bytes(writer.db);
	ck_assert_int_eq(blaze_db_compact(writer.db), 0);
	pthread_mutex_lock(&writer.db->lock);
	state = writer.db->compaction.live;
	pthread_mutex_unlock(&writer.db->lock);
	most = log_bytes(writer.db);
	atomic_store(&writer.stop, true);
	pthread_join(thread, NULL);
	ck_assert_int_eq(writer.error, 0);
	printf("%llu MiB of records, log %llu MiB before, %llu after\n",
	       (unsigned long long)(state >> 20), (unsigned long long)(before >> 20),
	       (unsigned long long)(most >> 20));
	ck_assert_uint_gt(state, 16 << 20);
	ck_assert_uint_lt(most, 8 * state);
	ck_assert_int_eq(blaze_db_close(writer.db), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("packed");
	TCase *tcase = tcase_create("packed");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, log_is_as_short_as_its_records_allow, 0, 2);
	tcase_add_test(tcase, writer_without_a_pause_does_not_keep_it_back);
	tcase_add_loop_test(tcase, damage_within_what_is_compressed_is_told_with_its_place, 0, 2);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
