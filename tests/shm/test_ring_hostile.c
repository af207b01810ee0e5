/* SPDX-License-Identifier: Apache-2.0 */
/* Segments that someone else made, damaged or replaced: a clear error, never a crash or a hang.
 *
 * The mutations are seeded; BLAZE_HOSTILE_SEED repeats a run, BLAZE_HOSTILE_N sets their number.
 * They come through a writable mapping of our own, as the same user's other program could make,
 * while two handles poll, wait and publish, and others attach. */
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

#define FILES_MAX   8
#define PATH_BYTES  512
#define ROUND_SIZE  40 /* mutations before the ring is made anew */
#define HEADER_SCAN 256

struct files {
	char paths[FILES_MAX][PATH_BYTES];
	unsigned count;
};

static char directory[PATH_BYTES];

/* The ring's files. Stale ones may be among them: that is the point. */
static void list_files(const char *name, struct files *ret_files)
{
	const struct dirent *entry;
	DIR *dir;

	rt_ring_path(name, directory, sizeof(directory));
	ck_assert_msg(directory[0] != '\0', "ring %s has no directory", name);
	ret_files->count = 0;
	dir = opendir(directory);
	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)) && ret_files->count < FILES_MAX) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(ret_files->paths[ret_files->count++], PATH_BYTES, "%.200s/%.200s",
		         directory, entry->d_name);
	}
	closedir(dir);
	ck_assert_uint_ge(ret_files->count, 2);
}

/* A ring that its only participants left by dying: every segment lies there, mapped by nobody. */
static void make_dead_ring(const char *name, struct files *ret_files)
{
	struct rt_agent agent;

	rt_agent_start(&agent);
	ck_assert_int_eq(rt_agent_attach(&agent, name, RT_LANE_MIN, 0, 0), 0);
	ck_assert_int_eq(rt_agent_ask(&agent, "publish 20 100"), 0);
	rt_agent_end(&agent, SIGKILL);
	list_files(name, ret_files);
}

/* Which of the files is the control segment: the smallest one. */
static unsigned control_of(const struct files *files)
{
	unsigned best = 0;
	off_t size = 0;

	for (unsigned i = 0; i < files->count; i++) {
		struct stat st;

		ck_assert_int_eq(stat(files->paths[i], &st), 0);
		if (i == 0 || st.st_size < size) {
			best = i;
			size = st.st_size;
		}
	}
	return best;
}

/* Whatever lies there now is removed, by the ring's own call where that does it. */
static void remove_ring(const char *name)
{
	char command[PATH_BYTES];

	blaze_ring_unlink(name);
	rt_ring_path(name, directory, sizeof(directory));
	if (directory[0] == '\0')
		return;
	snprintf(command, sizeof(command), "rm -rf '%.400s'", directory);
	ck_assert_int_eq(system(command), 0);
}

static bool known_error(int r)
{
	static const int known[] = { 0,       -EPROTO, -EBADMSG, -EACCES, -EAGAIN,   -EUSERS,
		                     -ENOENT, -ENOSPC, -EIDRM,   -ESTALE, -ETIMEDOUT };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (r == known[i])
			return true;
	}
	return false;
}

static int attach_once(const char *name)
{
	struct blaze_ring_options options = BLAZE_RING_OPTIONS_INIT;
	struct rt_oracle *oracle = calloc(1, sizeof(*oracle));
	struct blaze_ring *ring = NULL;
	int r;

	ck_assert_ptr_nonnull(oracle);
	options.lane_bytes = RT_LANE_MIN;
	options.stall_budget_ns = BLAZE_NO_STALL;
	r = blaze_ring_attach(name, &options, &ring);
	ck_assert_msg(known_error(r), "attach gave %d (%s)", r, blaze_strerror(r));
	if (r == 0) {
		ck_assert(known_error(blaze_ring_poll(ring, rt_verify, oracle, 0)) ||
		          oracle->records > 0);
		ck_assert(known_error(blaze_ring_publish(ring, "x", 1)));
		blaze_ring_detach(ring);
	}
	free(oracle);
	return r;
}

START_TEST(segment_truncated_before_attach_is_an_error)
{
	static const off_t cuts[] = { 0, 1, 63, 64, 100, 4095, 4096 };
	const char *name = rt_name("truncated");
	struct files files;

	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		for (unsigned f = 0; f < 2; f++) {
			struct stat st;
			unsigned control;
			int r;

			make_dead_ring(name, &files);
			control = control_of(&files);
			ck_assert_int_eq(stat(files.paths[f], &st), 0);
			if (cuts[i] >= st.st_size) {
				remove_ring(name);
				continue;
			}
			ck_assert_int_eq(truncate(files.paths[f], cuts[i]), 0);
			r = attach_once(name);
			if (f == control)
				ck_assert_msg(r == -EBADMSG || r == -EPROTO, "gave %d", r);
			remove_ring(name);
		}
	}
}
END_TEST

START_TEST(control_segment_longer_than_it_says_is_an_error)
{
	const char *name = rt_name("longer");
	struct files files;
	struct stat st;
	unsigned control;

	make_dead_ring(name, &files);
	control = control_of(&files);
	ck_assert_int_eq(stat(files.paths[control], &st), 0);
	ck_assert_int_eq(truncate(files.paths[control], st.st_size + 4096), 0);
	ck_assert_int_eq(attach_once(name), -EBADMSG);
	remove_ring(name);
}
END_TEST

static void xor_byte(const char *path, off_t at, uint8_t mask)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte = 0;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
	byte ^= mask;
	ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

START_TEST(control_header_each_byte_changed_is_an_error_or_harmless)
{
	const char *name = rt_name("header");
	unsigned protocol = 0, damaged = 0;

	for (off_t at = 0; at < HEADER_SCAN; at++) {
		struct files files;
		int r;

		make_dead_ring(name, &files);
		xor_byte(files.paths[control_of(&files)], at, 0xff);
		r = attach_once(name);
		protocol += r == -EPROTO;
		damaged += r == -EBADMSG;
		/* The magic comes first: nothing is attached to a file that is no ring. */
		if (at < 4)
			ck_assert_msg(r == -EBADMSG || r == -EPROTO, "byte %d gave %d", (int)at, r);
		remove_ring(name);
	}
	/* Version and byte order are there, and geometry. */
	ck_assert_uint_ge(protocol, 2);
	ck_assert_uint_ge(damaged, 4);
}
END_TEST

START_TEST(lane_header_each_byte_changed_is_an_error_or_harmless)
{
	const char *name = rt_name("lane");

	for (off_t at = 0; at < HEADER_SCAN; at += 3) {
		struct files files;
		unsigned control;

		make_dead_ring(name, &files);
		control = control_of(&files);
		for (unsigned f = 0; f < files.count; f++) {
			if (f != control)
				xor_byte(files.paths[f], at, 0x81);
		}
		attach_once(name);
		remove_ring(name);
	}
}
END_TEST

START_TEST(segment_of_foreign_owner_eacces)
{
	const char *name = rt_name("foreign");
	struct files files;

	if (geteuid() != 0)
		return;
	make_dead_ring(name, &files);
	ck_assert_int_eq(chown(files.paths[control_of(&files)], 54321, 54321), 0);
	ck_assert_int_eq(attach_once(name), -EACCES);
	remove_ring(name);
	make_dead_ring(name, &files);
	ck_assert_int_eq(chown(directory, 54321, 54321), 0);
	ck_assert_int_eq(attach_once(name), -EACCES);
	ck_assert_int_eq(chown(directory, geteuid(), getegid()), 0);
	remove_ring(name);
}
END_TEST

START_TEST(segment_of_other_mode_eacces)
{
	static const mode_t modes[] = { 0666, 0660, 0644, 0602 };
	const char *name = rt_name("mode");
	struct files files;

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		make_dead_ring(name, &files);
		ck_assert_int_eq(chmod(files.paths[control_of(&files)], modes[i]), 0);
		ck_assert_int_eq(attach_once(name), -EACCES);
		remove_ring(name);
	}
	make_dead_ring(name, &files);
	ck_assert_int_eq(chmod(directory, 0777), 0);
	ck_assert_int_eq(attach_once(name), -EACCES);
	/* What is no ring keeps its name. */
	ck_assert_int_eq(blaze_ring_unlink(name), -EACCES);
	ck_assert_int_eq(chmod(directory, 0700), 0);
	ck_assert_int_eq(blaze_ring_unlink(name), 0);
}
END_TEST

START_TEST(segment_with_second_link_eacces)
{
	const char *name = rt_name("links");
	char path[PATH_BYTES];
	struct files files;

	make_dead_ring(name, &files);
	snprintf(path, sizeof(path), "%.200s.more", directory);
	ck_assert_int_eq(link(files.paths[control_of(&files)], path), 0);
	ck_assert_int_ne(attach_once(name), 0);
	ck_assert_int_eq(unlink(path), 0);
	remove_ring(name);
}
END_TEST

START_TEST(symlink_instead_of_segment_or_directory_is_an_error)
{
	const char *name = rt_name("symlink");
	char path[PATH_BYTES];
	struct files files;
	unsigned control;

	make_dead_ring(name, &files);
	control = control_of(&files);
	snprintf(path, sizeof(path), "%.200s.moved", directory);
	ck_assert_int_eq(rename(files.paths[control], path), 0);
	ck_assert_int_eq(symlink(path, files.paths[control]), 0);
	ck_assert_int_ne(attach_once(name), 0);
	ck_assert_int_eq(unlink(path), 0);
	remove_ring(name);
	make_dead_ring(name, &files);
	ck_assert_int_eq(rename(directory, path), 0);
	ck_assert_int_eq(symlink(path, directory), 0);
	ck_assert_int_ne(attach_once(name), 0);
	ck_assert_int_eq(unlink(directory), 0);
	ck_assert_int_eq(rename(path, directory), 0);
	remove_ring(name);
}
END_TEST

START_TEST(control_of_odd_kind_is_an_error)
{
	const char *name = rt_name("kind");
	struct files files;
	unsigned control;

	/* A FIFO must not be waited on. */
	make_dead_ring(name, &files);
	control = control_of(&files);
	ck_assert_int_eq(unlink(files.paths[control]), 0);
	ck_assert_int_eq(mkfifo(files.paths[control], 0600), 0);
	ck_assert_int_ne(attach_once(name), 0);
	remove_ring(name);
	make_dead_ring(name, &files);
	control = control_of(&files);
	ck_assert_int_eq(unlink(files.paths[control]), 0);
	ck_assert_int_eq(mkdir(files.paths[control], 0700), 0);
	ck_assert_int_ne(attach_once(name), 0);
	remove_ring(name);
}
END_TEST

START_TEST(directory_with_odd_entries_is_harmless)
{
	const char *name = rt_name("odd");
	struct blaze_ring *ring = rt_attach(name, RT_LANE_MIN, 0, 0);
	char path[PATH_BYTES];
	struct files files;
	int fd;

	list_files(name, &files);
	for (unsigned i = 0; i < 300; i++) {
		snprintf(path, sizeof(path), "%.200s/entry %u\n\x01", directory, i);
		fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		ck_assert_int_ge(fd, 0);
		close(fd);
	}
	snprintf(path, sizeof(path), "%.200s/fifo", directory);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	snprintf(path, sizeof(path), "%.200s/folder", directory);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(attach_once(name), 0);
	ck_assert_int_eq(blaze_ring_publish(ring, "x", 1), 0);
	blaze_ring_detach(ring);
	remove_ring(name);
}
END_TEST

/* xorshift64*: the same numbers everywhere. */
static uint64_t random_state;

static uint64_t draw(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * UINT64_C(2685821657736338717);
}

struct target {
	uint8_t *bytes;
	size_t size;
};

struct siege {
	struct target targets[FILES_MAX];
	unsigned count;
	struct blaze_ring *writer;
	struct blaze_ring *reader;
	uint64_t errors;
	uint64_t records;
	uint8_t touched; /* so that every byte is looked at */
};

static int touch(void *arg, const struct blaze_ring_record *records, unsigned count)
{
	struct siege *siege = arg;
	uint8_t sum = 0;

	for (unsigned i = 0; i < count; i++) {
		const uint8_t *data = records[i].data;

		for (size_t j = 0; data && j < records[i].len; j++)
			sum ^= data[j];
	}
	siege->touched ^= sum;
	siege->records += count;
	return 0;
}

static void open_siege(struct siege *siege, const char *name)
{
	struct files files;

	siege->writer = rt_attach(name, RT_LANE_MIN, BLAZE_NO_STALL, 0);
	siege->reader = rt_attach(name, RT_LANE_MIN, BLAZE_NO_STALL, 0);
	ck_assert_int_eq(blaze_ring_poll(siege->reader, touch, siege, 0), 0);
	ck_assert_int_eq(blaze_ring_poll(siege->writer, touch, siege, 0), 0);
	list_files(name, &files);
	siege->count = 0;
	for (unsigned i = 0; i < files.count; i++) {
		struct target *target = &siege->targets[siege->count];
		int fd = open(files.paths[i], O_RDWR | O_CLOEXEC);
		struct stat st;

		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(fstat(fd, &st), 0);
		target->size = (size_t)st.st_size;
		target->bytes = mmap(NULL, target->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
		siege->count += target->bytes != MAP_FAILED;
	}
}

static void close_siege(struct siege *siege, const char *name)
{
	blaze_ring_detach(siege->writer);
	blaze_ring_detach(siege->reader);
	for (unsigned i = 0; i < siege->count; i++)
		munmap(siege->targets[i].bytes, siege->targets[i].size);
	remove_ring(name);
}

/* One mutation: a bit, a byte, an awkward number, a small step, a run of noise. */
static void mutate(struct siege *siege)
{
	static const uint64_t awkward[] = { 0,
		                            1,
		                            7,
		                            0x7fffffff,
		                            0xffffffff,
		                            RT_LANE_MIN,
		                            RT_LANE_MIN - 8,
		                            RT_LANE_MIN + 8,
		                            UINT64_C(1) << 62,
		                            UINT64_C(1) << 63,
		                            UINT64_MAX,
		                            UINT64_MAX - 7 };
	struct target *target = &siege->targets[draw() % siege->count];
	/* Mostly the headers, where all the decisions are. */
	size_t span = draw() % 4 && target->size > 8192 ? 8192 : target->size;
	size_t at = draw() % (span - 64);
	uint64_t word;

	switch (draw() % 5) {
	case 0:
		target->bytes[at] ^= (uint8_t)(1u << draw() % 8);
		break;
	case 1:
		target->bytes[at] = (uint8_t)draw();
		break;
	case 2:
		at &= ~(size_t)7;
		word = awkward[draw() % (sizeof(awkward) / sizeof(awkward[0]))];
		memcpy(target->bytes + at, &word, sizeof(word));
		break;
	case 3:
		at &= ~(size_t)7;
		memcpy(&word, target->bytes + at, sizeof(word));
		word += draw() % 33 * 8 - 128;
		memcpy(target->bytes + at, &word, sizeof(word));
		break;
	default:
		for (size_t end = at + draw() % 64; at < end; at++)
			target->bytes[at] = (uint8_t)draw();
	}
}

static void check_result(struct siege *siege, const char *what, int r)
{
	ck_assert_msg(r > 0 || known_error(r), "%s gave %d (%s)", what, r, blaze_strerror(r));
	siege->errors += r < 0;
}

static void use_ring(struct siege *siege, const char *name)
{
	struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;
	uint8_t data[300] = { 0 };

	for (unsigned i = 0; i < 3; i++)
		check_result(siege, "publish",
		             blaze_ring_publish(siege->writer, data, draw() % sizeof(data)));
	check_result(siege, "poll", blaze_ring_poll(siege->reader, touch, siege, 0));
	check_result(siege, "poll", blaze_ring_poll(siege->writer, touch, siege, 5));
	check_result(siege, "wait", blaze_ring_wait(siege->reader, draw() % 3 ? 0 : 50000));
	check_result(siege, "publish", blaze_ring_publish(siege->reader, data, 8));
	check_result(siege, "stats", blaze_ring_stats(siege->reader, &stats));
	if (draw() % 8 == 0)
		check_result(siege, "attach", attach_once(name));
}

static uint64_t from_environment(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

START_TEST(mutations_give_errors_never_a_crash)
{
	const char *name = rt_name("mutations");
	uint64_t count = from_environment("BLAZE_HOSTILE_N", 10000);
	uint64_t seed = from_environment("BLAZE_HOSTILE_SEED", rt_now_ns() | 1);
	struct siege siege = { 0 };

	printf("seed: BLAZE_HOSTILE_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	random_state = seed;
	for (uint64_t done = 0; done < count;) {
		open_siege(&siege, name);
		for (unsigned i = 0; i < ROUND_SIZE && done < count; i++, done++) {
			mutate(&siege);
			use_ring(&siege, name);
		}
		close_siege(&siege, name);
	}
	printf("%llu mutations: %llu errors returned, %llu records read\n",
	       (unsigned long long)count, (unsigned long long)siege.errors,
	       (unsigned long long)siege.records);
	/* They did hit something, and the ring was of use all the same. */
	if (count >= 1000) {
		ck_assert_uint_gt(siege.errors, count / 100);
		ck_assert_uint_gt(siege.records, count / 10);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring hostile");
	TCase *tcase = tcase_create("hostile");

	tcase_set_timeout(tcase, 600);
	tcase_add_test(tcase, segment_truncated_before_attach_is_an_error);
	tcase_add_test(tcase, control_segment_longer_than_it_says_is_an_error);
	tcase_add_test(tcase, control_header_each_byte_changed_is_an_error_or_harmless);
	tcase_add_test(tcase, lane_header_each_byte_changed_is_an_error_or_harmless);
	tcase_add_test(tcase, segment_of_foreign_owner_eacces);
	tcase_add_test(tcase, segment_of_other_mode_eacces);
	tcase_add_test(tcase, segment_with_second_link_eacces);
	tcase_add_test(tcase, symlink_instead_of_segment_or_directory_is_an_error);
	tcase_add_test(tcase, control_of_odd_kind_is_an_error);
	tcase_add_test(tcase, directory_with_odd_entries_is_harmless);
	tcase_add_test(tcase, mutations_give_errors_never_a_crash);
	suite_add_tcase(suite, tcase);
	return rt_main(suite);
}
