/* SPDX-License-Identifier: Apache-2.0 */
/* Damage in known places: a header of another version, a lane that lies. What the mutations of
 * test_ring_hostile find by luck is aimed at here, with the layout known. */
#include "tests/shm/ring_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/layout.h"

#define RECORDS 40
#define LEN     1000

static struct blaze_ring *writer, *reader;
static struct blazei_segment *segment; /* the writer's, through a mapping of our own */
static uint8_t *lane;
static size_t segment_bytes;
static struct rt_oracle oracle;

static void map_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	segment_bytes = (size_t)st.st_size;
	segment = mmap(NULL, segment_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	ck_assert_ptr_ne(segment, MAP_FAILED);
	lane = (uint8_t *)segment + segment->header.lane_offset;
}

/* A reader that has read nothing of 40 records. */
static void open_pair(const char *name)
{
	struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;
	const struct dirent *entry;
	char path[200], file[512], prefix[16];
	uint64_t seq = 0;
	DIR *dir;

	memset(&oracle, 0, sizeof(oracle));
	writer = rt_attach(name, RT_LANE_MIN, 0, 0);
	reader = rt_attach(name, RT_LANE_MIN, 0, 0);
	rt_begin(reader);
	ck_assert_int_eq(blaze_ring_stats(writer, &stats), 0);
	snprintf(prefix, sizeof(prefix), "lane.%02u.", stats.slot);
	rt_ring_path(name, path, sizeof(path));
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		map_file(file);
	}
	closedir(dir);
	ck_assert_ptr_nonnull(segment);
	ck_assert_int_eq(rt_publish(writer, RECORDS, LEN, &seq), 0);
}

static void close_pair(void)
{
	munmap(segment, segment_bytes);
	segment = NULL;
	blaze_ring_detach(writer);
	blaze_ring_detach(reader);
}

static int poll_all(void)
{
	return blaze_ring_poll(reader, rt_verify, &oracle, 0);
}

/* The lane is invalid: said once, skipped to its end, and what comes later is read. */
static void expect_skipped(uint64_t before)
{
	struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;
	uint64_t seq = RECORDS;

	ck_assert_int_eq(poll_all(), -EBADMSG);
	ck_assert_uint_eq(oracle.records, before);
	ck_assert_int_eq(poll_all(), 0);
	ck_assert_int_eq(blaze_ring_stats(reader, &stats), 0);
	ck_assert_uint_eq(stats.bad_lanes, 1);
	oracle.from_start = false;
	if (oracle.line_count)
		oracle.lines[0].lapped = true;
	ck_assert_int_eq(rt_publish(writer, 3, LEN, &seq), 0);
	ck_assert_int_eq(poll_all(), 3);
	ck_assert_uint_eq(oracle.wrong, 0);
}

static struct blazei_record_header *header_of(unsigned record)
{
	return (void *)(lane + record * rt_stride(LEN));
}

START_TEST(record_longer_than_any_may_be_skips_lane)
{
	static const uint32_t lengths[] = { RT_LANE_MIN / 4,  20000,      RT_LANE_MIN / 2,
		                            RT_LANE_MIN - 16, 0x7fffffff, 0xfffffff0,
		                            UINT32_MAX,       RT_LANE_MIN };

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		open_pair(rt_name("long"));
		header_of(0)->len = lengths[i];
		expect_skipped(0);
		close_pair();
	}
}
END_TEST

START_TEST(record_reaching_past_tail_skips_lane)
{
	open_pair(rt_name("past"));
	header_of(RECORDS - 1)->len = LEN + 8;
	/* What comes before it in the lane is good, and is handed over. */
	while (poll_all() > 0 && oracle.records < RECORDS - 1) {
	}
	ck_assert_uint_le(oracle.records, RECORDS - 1);
	ck_assert_uint_eq(oracle.wrong, 0);
	close_pair();
}
END_TEST

START_TEST(record_with_foreign_tag_skips_lane)
{
	open_pair(rt_name("tag"));
	header_of(0)->tag ^= 1;
	expect_skipped(0);
	close_pair();
}
END_TEST

START_TEST(record_of_an_earlier_lap_skips_lane)
{
	open_pair(rt_name("stale"));
	/* As good as any, but for the place: that of the record after it. */
	*header_of(0) = *header_of(1);
	expect_skipped(0);
	close_pair();
}
END_TEST

START_TEST(tail_in_the_past_or_crooked_skips_lane)
{
	static const int64_t steps[] = { 4, -4, 1, -8 };

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		uint64_t tail;

		open_pair(rt_name("tail"));
		ck_assert_int_eq(poll_all(), RECORDS);
		tail = atomic_load(&segment->flow.tail);
		atomic_store(&segment->flow.tail, tail + (uint64_t)steps[i]);
		ck_assert_int_eq(poll_all(), -EBADMSG);
		close_pair();
	}
}
END_TEST

START_TEST(tail_far_ahead_is_a_lap)
{
	open_pair(rt_name("ahead"));
	ck_assert_int_eq(poll_all(), RECORDS);
	atomic_fetch_add(&segment->flow.tail, UINT64_C(1) << 40);
	ck_assert_int_eq(poll_all(), -ESTALE);
	ck_assert_uint_eq(oracle.lap_bytes, UINT64_C(1) << 40);
	close_pair();
}
END_TEST

/* Headers of control, changed while nobody is attached. */

static int attach_changed(const char *name, size_t offset, const void *bytes, size_t len)
{
	struct blaze_ring *ring = NULL;
	struct rt_agent agent;
	char path[200], file[256];
	int fd, r;

	rt_agent_start(&agent);
	ck_assert_int_eq(rt_agent_attach(&agent, name, RT_LANE_MIN, 0, 0), 0);
	rt_agent_end(&agent, SIGKILL);
	rt_ring_path(name, path, sizeof(path));
	snprintf(file, sizeof(file), "%s/control", path);
	fd = open(file, O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, len, (off_t)offset), (ssize_t)len);
	close(fd);
	r = blaze_ring_attach(name, NULL, &ring);
	if (r == 0)
		blaze_ring_detach(ring);
	blaze_ring_unlink(name);
	return r;
}

START_TEST(control_of_another_version_eproto)
{
	const char *name = rt_name("version");
	uint16_t major = BLAZEI_ABI_MAJOR + 1, older = BLAZEI_ABI_MAJOR - 1;
	uint16_t minor = BLAZEI_ABI_MINOR + 1;
	size_t major_at = offsetof(struct blazei_preamble, abi_major);
	size_t minor_at = offsetof(struct blazei_preamble, abi_minor);

	ck_assert_int_eq(attach_changed(name, major_at, &major, sizeof(major)), -EPROTO);
	ck_assert_int_eq(attach_changed(name, major_at, &older, sizeof(older)), -EPROTO);
	/* Minor versions only add. */
	ck_assert_int_eq(attach_changed(name, minor_at, &minor, sizeof(minor)), 0);
}
END_TEST

START_TEST(control_of_another_byte_order_eproto)
{
	const char *name = rt_name("endian");
	uint32_t mark = __builtin_bswap32(BLAZEI_ENDIAN_MARK);
	uint64_t magic = __builtin_bswap64(BLAZEI_CONTROL_MAGIC);

	ck_assert_int_eq(attach_changed(name, offsetof(struct blazei_preamble, endian_mark), &mark,
	                                sizeof(mark)),
	                 -EPROTO);
	ck_assert_int_eq(attach_changed(name, 0, &magic, sizeof(magic)), -EPROTO);
}
END_TEST

START_TEST(control_of_another_kind_or_shape_ebadmsg)
{
	const char *name = rt_name("shape");
	uint64_t magic = BLAZEI_SEGMENT_MAGIC;
	uint32_t none = 0, many = BLAZEI_SLOTS_MAX + 1, group = 0660, small = 8;
	size_t max_at = offsetof(struct blazei_control, participants_max);
	size_t mode_at = offsetof(struct blazei_control, mode);
	size_t header_at = offsetof(struct blazei_preamble, header_bytes);

	ck_assert_int_eq(attach_changed(name, 0, &magic, sizeof(magic)), -EBADMSG);
	ck_assert_int_eq(attach_changed(name, max_at, &none, sizeof(none)), -EBADMSG);
	ck_assert_int_eq(attach_changed(name, max_at, &many, sizeof(many)), -EBADMSG);
	ck_assert_int_eq(attach_changed(name, mode_at, &group, sizeof(group)), -EBADMSG);
	ck_assert_int_eq(attach_changed(name, header_at, &small, sizeof(small)), -EBADMSG);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring damage");
	TCase *tcase = tcase_create("damage");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, record_longer_than_any_may_be_skips_lane);
	tcase_add_test(tcase, record_reaching_past_tail_skips_lane);
	tcase_add_test(tcase, record_with_foreign_tag_skips_lane);
	tcase_add_test(tcase, record_of_an_earlier_lap_skips_lane);
	tcase_add_test(tcase, tail_in_the_past_or_crooked_skips_lane);
	tcase_add_test(tcase, tail_far_ahead_is_a_lap);
	tcase_add_test(tcase, control_of_another_version_eproto);
	tcase_add_test(tcase, control_of_another_byte_order_eproto);
	tcase_add_test(tcase, control_of_another_kind_or_shape_ebadmsg);
	suite_add_tcase(suite, tcase);
	return rt_main(suite);
}
