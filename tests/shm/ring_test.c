/* SPDX-License-Identifier: Apache-2.0 */
/* Names, checkable records and handlers for the ring's tests; see ring_test.h. */
#include "tests/shm/ring_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NAME_COUNT 16

/* The pid of the program itself: Check runs each test in a child. */
static pid_t rt_program;

static uint8_t pattern(uint64_t seq, size_t at)
{
	return (uint8_t)(seq * 131 + at * 7 + (seq >> 8));
}

void rt_fill(void *data, size_t len, uint64_t seq, uint64_t before)
{
	uint64_t stamp[2] = { seq, before };
	uint8_t *bytes = data;

	if (len >= sizeof(stamp))
		memcpy(bytes, stamp, sizeof(stamp));
	for (size_t i = len >= sizeof(stamp) ? sizeof(stamp) : 0; i < len; i++)
		bytes[i] = pattern(seq, i);
}

bool rt_check(const void *data, size_t len, uint64_t *ret_seq, uint64_t *ret_before)
{
	const uint8_t *bytes = data;
	uint64_t stamp[2];

	if (len < sizeof(stamp))
		return false;
	memcpy(stamp, bytes, sizeof(stamp));
	for (size_t i = sizeof(stamp); i < len; i++) {
		if (bytes[i] != pattern(stamp[0], i))
			return false;
	}
	*ret_seq = stamp[0];
	*ret_before = stamp[1];
	return true;
}

static void keep(struct rt_collector *collector, const struct blaze_ring_record *record)
{
	struct rt_seen *seen;

	if (collector->count == collector->cap) {
		size_t cap = collector->cap ? collector->cap * 2 : 256;
		struct rt_seen *grown = realloc(collector->seen, cap * sizeof(*grown));

		ck_assert_ptr_nonnull(grown);
		collector->seen = grown;
		collector->cap = cap;
	}
	seen = &collector->seen[collector->count++];
	memset(seen, 0, sizeof(*seen));
	seen->publisher = record->publisher;
	seen->position = record->position;
	seen->len = record->len;
	seen->lap = record->data == NULL;
	if (record->data) {
		memcpy(seen->data, record->data,
		       record->len < RT_KEPT_BYTES ? record->len : RT_KEPT_BYTES);
		collector->misaligned += (uintptr_t)record->data % 8 != 0;
	}
}

int rt_collect(void *arg, const struct blaze_ring_record *records, unsigned count)
{
	struct rt_collector *collector = arg;

	collector->calls++;
	if (count == 0 || count > 256)
		collector->bad_counts++;
	for (unsigned i = 0; i < count; i++) {
		if (memcmp(&records[i].publisher, &records[0].publisher, sizeof(struct blaze_id)))
			collector->bad_counts++;
		keep(collector, &records[i]);
	}
	return collector->verdict;
}

void rt_collector_clear(struct rt_collector *collector)
{
	free(collector->seen);
	memset(collector, 0, sizeof(*collector));
}

static struct rt_line *line_of(struct rt_oracle *oracle, const struct blaze_id *id)
{
	struct rt_line *line;

	for (unsigned i = 0; i < oracle->line_count; i++) {
		if (memcmp(&oracle->lines[i].id, id, sizeof(*id)) == 0)
			return &oracle->lines[i];
	}
	if (oracle->line_count == RT_PUBLISHERS)
		return NULL;
	line = &oracle->lines[oracle->line_count++];
	line->id = *id;
	line->lapped = !oracle->from_start; /* an older lane starts anywhere */
	return line;
}

static void verify_one(struct rt_oracle *oracle, const struct blaze_ring_record *record)
{
	struct rt_line *line = line_of(oracle, &record->publisher);
	uint64_t seq = 0, before = 0;

	if (!line) {
		oracle->wrong++;
		return;
	}
	if (!record->data) {
		oracle->laps++;
		line->lapped = true;
		if (record->len == SIZE_MAX)
			oracle->unknown_laps++;
		else
			oracle->lap_bytes += record->len;
		return;
	}
	oracle->records++;
	if (!rt_check(record->data, record->len, &seq, &before))
		oracle->wrong++;
	else if (line->lapped ? seq < line->next_seq : seq != line->next_seq)
		oracle->wrong++;
	line->lapped = false;
	line->next_seq = seq + 1;
	line->next_before = before + rt_stride(record->len);
}

int rt_verify(void *arg, const struct blaze_ring_record *records, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		verify_one(arg, &records[i]);
	return 0;
}

static pid_t program_pid(void)
{
	return rt_program ? rt_program : getpid();
}

const char *rt_name(const char *subject)
{
	static char names[NAME_COUNT][BLAZE_RING_NAME_MAX + 1];
	static unsigned next;
	char *name = names[next++ % NAME_COUNT];

	snprintf(name, sizeof(names[0]), "t.%d.%s", (int)program_pid(), subject);
	return name;
}

const char *rt_directory(void)
{
	static char path[64];

	snprintf(path, sizeof(path), "/dev/shm/blaze-%u", (unsigned)geteuid());
	return path;
}

void rt_ring_path(const char *name, char *ret_path, size_t cap)
{
	struct stat st;

	snprintf(ret_path, cap, "%s/%s", rt_directory(), name);
	if (stat(ret_path, &st) != 0 || !S_ISDIR(st.st_mode))
		ret_path[0] = '\0';
}

unsigned rt_left_behind(const char *name)
{
	DIR *dir = opendir(rt_directory());
	const struct dirent *entry;
	unsigned found = 0;

	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		found += strstr(entry->d_name, name) != NULL;
	closedir(dir);
	return found;
}

struct blaze_ring *rt_attach(const char *name, uint64_t lane_bytes, uint64_t stall_budget_ns,
                             uint32_t flags)
{
	struct blaze_ring_options options = BLAZE_RING_OPTIONS_INIT;
	struct blaze_ring *ring = NULL;

	options.lane_bytes = lane_bytes;
	options.stall_budget_ns = stall_budget_ns;
	options.flags = flags;
	ck_assert_int_eq(blaze_ring_attach(name, &options, &ring), 0);
	ck_assert_ptr_nonnull(ring);
	return ring;
}

void rt_begin(struct blaze_ring *ring)
{
	struct rt_collector collector = { 0 };

	ck_assert_int_eq(blaze_ring_poll(ring, rt_collect, &collector, 0), 0);
	ck_assert_uint_eq(collector.count, 0);
	rt_collector_clear(&collector);
}

int rt_publish(struct blaze_ring *ring, unsigned count, size_t len, uint64_t *seq)
{
	uint8_t *data = malloc(len ? len : 1);
	int r = data ? 0 : -ENOMEM;

	for (unsigned i = 0; r == 0 && i < count; i++) {
		rt_fill(data, len, *seq, *seq * rt_stride(len));
		r = blaze_ring_publish(ring, data, len);
		*seq += r == 0;
	}
	free(data);
	return r;
}

void rt_sleep_ms(unsigned ms)
{
	struct timespec span = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&span, NULL);
}

uint64_t rt_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Removes what failed tests left, and counts what was there. */
static unsigned sweep(void)
{
	char prefix[32];
	DIR *dir = opendir(rt_directory());
	const struct dirent *entry;
	unsigned found = 0;

	if (!dir)
		return 0;
	snprintf(prefix, sizeof(prefix), "t.%d.", (int)program_pid());
	while ((entry = readdir(dir))) {
		if (!strstr(entry->d_name, prefix))
			continue;
		found++;
		fprintf(stderr, "left behind: %s/%s\n", rt_directory(), entry->d_name);
		blaze_ring_unlink(entry->d_name);
	}
	closedir(dir);
	return found;
}

int rt_main(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;
	unsigned left;

	rt_program = getpid();
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	left = sweep();
	return failed == 0 && left == 0 ? 0 : 1;
}
