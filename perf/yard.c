/* SPDX-License-Identifier: Apache-2.0 */
/* The yardstick: how fast one publisher and one reader in two processes can move and verify
 * records through shared memory on this machine, at this moment.
 *
 * WHY    Absolute figures drift from run to run (two virtual cores are sometimes near each other,
 *        sometimes far), so the ring is held to a ratio against this sketch, taken in the same
 *        call. It shares no code with the library and does nothing that the library must do
 *        beyond moving bytes: no slots, no liveness, no sleepers, one reader, trusted peers.
 *
 * LAYOUT One segment in POSIX shared memory: a page of control lines, then the lane, mapped twice
 *        back to back so that no record wraps. A record is an 8-byte header (its length) and the
 *        payload, rounded up to 8. `intent` and `tail` are byte positions that share one line.
 *
 * CONCURRENCY  The writer stores intent (the end of what it is about to write), fences, writes,
 *        and store-releases tail. The reader acquires tail, copies a chunk out, fences, and reads
 *        intent: the copy is valid iff intent - position <= lane bytes. The writer waits for the
 *        reader's cursor, so that a lap is a defect of this program and counted as loss.
 *
 * As fast as it honestly can be: records are made in the lane itself, the copy is the C library's
 * memcpy, positions are cached, and nothing is shared but the three lines that have to be. */
#include "perf/yard.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "perf/pattern.h"

#define YARD_CONTROL_BYTES 4096u
#define YARD_HEADER_BYTES  8u
#define YARD_CHUNK_BYTES   16384u
#define YARD_CLAIM_AHEAD   2048u
#define YARD_MAGIC         UINT64_C(0x6472617965666c62)
#define YARD_READY_NS      UINT64_C(10000000000)

enum yard_phase {
	YARD_PREPARE,
	YARD_WARM,
	YARD_MEASURE,
	YARD_STOP,
};

struct yard_control {
	uint64_t magic;
	struct yard_options options;
	_Alignas(64) _Atomic uint32_t phase;
	_Atomic uint32_t ready;
	_Alignas(64) _Atomic uint64_t intent;
	_Atomic uint64_t tail;
	_Alignas(64) _Atomic uint64_t cursor;
	_Alignas(64) _Atomic uint64_t published; /* records, once the writer has stopped */
	_Atomic uint32_t writer_done;
	_Alignas(64) struct yard_result result;
};
_Static_assert(sizeof(struct yard_control) <= YARD_CONTROL_BYTES, "control page");

struct yard_lane {
	struct yard_control *control;
	unsigned char *data;
	uint64_t bytes;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield" ::: "memory");
#endif
}

static size_t record_bytes(size_t size)
{
	return YARD_HEADER_BYTES + ((size + 7) & ~(size_t)7);
}

static void pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

/* Maps the control page and the lane twice behind it, all of it touched. */
static int lane_map(int fd, uint64_t lane_bytes, struct yard_lane *ret_lane)
{
	size_t total = YARD_CONTROL_BYTES + 2 * lane_bytes;
	unsigned char *base;
	void *again;

	base = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		return -errno;
	if (mmap(base, YARD_CONTROL_BYTES + lane_bytes, PROT_READ | PROT_WRITE,
	         MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0) == MAP_FAILED)
		return -errno;
	again = base + YARD_CONTROL_BYTES + lane_bytes;
	if (mmap(again, lane_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE,
	         fd, YARD_CONTROL_BYTES) == MAP_FAILED)
		return -errno;
	for (size_t at = 0; at < total; at += 4096)
		(void)*(volatile unsigned char *)(base + at);
	ret_lane->control = (struct yard_control *)(void *)base;
	ret_lane->data = base + YARD_CONTROL_BYTES;
	ret_lane->bytes = lane_bytes;
	return 0;
}

/* A child attaches by name; the size in the control page is checked against the file's. */
static int lane_attach(const char *name, struct yard_lane *ret_lane)
{
	struct yard_control *control;
	struct stat st;
	uint64_t lane_bytes;
	int error = -EBADMSG;
	int fd = shm_open(name, O_RDWR, 0);

	if (fd < 0)
		return -errno;
	control = mmap(NULL, YARD_CONTROL_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (control != MAP_FAILED) {
		lane_bytes = control->options.lane_bytes;
		if (control->magic == YARD_MAGIC && fstat(fd, &st) == 0 &&
		    (uint64_t)st.st_size == YARD_CONTROL_BYTES + lane_bytes)
			error = lane_map(fd, lane_bytes, ret_lane);
		munmap(control, YARD_CONTROL_BYTES);
	}
	close(fd);
	return error;
}

/* Acquire pairs with the parent's release store of the phase, here and below. */
static void wait_for_start(struct yard_control *control)
{
	atomic_fetch_add_explicit(&control->ready, 1, memory_order_acq_rel);
	while (atomic_load_explicit(&control->phase, memory_order_acquire) == YARD_PREPARE)
		relax();
}

/* Waits until the publication that ends at end fits; false once the run is over. */
static bool writer_has_room(struct yard_lane *lane, uint64_t end, uint64_t *cursor)
{
	struct yard_control *control = lane->control;

	while (end - *cursor > lane->bytes) {
		/* Acquire pairs with the reader's release: it has read what lies before. */
		*cursor = atomic_load_explicit(&control->cursor, memory_order_acquire);
		if (end - *cursor <= lane->bytes)
			break;
		if (atomic_load_explicit(&control->phase, memory_order_acquire) == YARD_STOP)
			return false;
		relax();
	}
	return true;
}

/* Asks for lines that will be written, for writing: stores wait for their lines in order, and the
 * store buffer holds but a few records. Twice mapped, the lane goes on behind its end. */
static inline __attribute__((always_inline)) void claim_ahead(const unsigned char *out)
{
#if defined(__x86_64__)
	__asm__ __volatile__("prefetchw (%0)\n\tprefetchw 64(%0)" : : "r"(out + YARD_CLAIM_AHEAD));
#else
	__builtin_prefetch(out + YARD_CLAIM_AHEAD, 1);
	__builtin_prefetch(out + YARD_CLAIM_AHEAD + 64, 1);
#endif
}

static inline __attribute__((always_inline)) void write_records(unsigned char *out, uint64_t seq,
                                                                uint32_t batch, size_t size)
{
	for (uint32_t i = 0; i < batch; i++) {
		uint64_t header = size;

		claim_ahead(out);
		memcpy(out, &header, sizeof(header));
		pattern_fill_sized(out + YARD_HEADER_BYTES, size, 0, seq + i);
		out += record_bytes(size);
	}
}

static int writer_run(struct yard_lane *lane)
{
	struct yard_control *control = lane->control;
	const struct yard_options o = control->options;
	uint64_t step = o.batch * record_bytes(o.size);
	uint64_t mask = lane->bytes - 1;
	uint64_t tail = 0, cursor = 0, seq = 0;

	pin(o.writer_cpu);
	wait_for_start(control);
	for (;;) {
		unsigned char *out = lane->data + (tail & mask);

		/* Relaxed: only the run's length depends on it. */
		if (atomic_load_explicit(&control->phase, memory_order_relaxed) == YARD_STOP ||
		    !writer_has_room(lane, tail + step, &cursor))
			break;
		/* The fence keeps the record stores behind intent; pairs with the reader's. */
		atomic_store_explicit(&control->intent, tail + step, memory_order_relaxed);
		atomic_thread_fence(memory_order_release);
		if (o.size == 64)
			write_records(out, seq, o.batch, 64);
		else
			write_records(out, seq, o.batch, o.size);
		tail += step;
		seq += o.batch;
		/* Pairs with the reader's acquire of tail. */
		atomic_store_explicit(&control->tail, tail, memory_order_release);
	}
	atomic_store_explicit(&control->published, seq, memory_order_relaxed);
	/* Pairs with the reader's acquire of writer_done. */
	atomic_store_explicit(&control->writer_done, 1, memory_order_release);
	return 0;
}

struct yard_reader {
	struct yard_lane *lane;
	unsigned char *chunk;
	const unsigned char *ahead; /* what comes after the chunk in the lane */
	size_t ahead_bytes;         /* published of it */
	uint64_t position;
	uint64_t seq;     /* expected next */
	uint64_t records; /* verified */
	uint64_t lost;
	uint64_t wrong;
	size_t size;
};

/* Asks for the lines of the next chunk while this one is being checked: lines move between the
 * cores one by one, and this is what hides it. Only what is published is asked for: the writer
 * would have to take other lines back. */
static inline __attribute__((always_inline)) void prefetch_ahead(const struct yard_reader *r,
                                                                 size_t at, size_t bytes)
{
	if (at + bytes > r->ahead_bytes)
		return;
	for (size_t i = 0; i < bytes; i += 64)
		__builtin_prefetch(r->ahead + at + i);
}

static inline __attribute__((always_inline)) size_t check_records(struct yard_reader *r, size_t len,
                                                                  size_t size)
{
	size_t at = 0;

	while (len - at >= record_bytes(size)) {
		const unsigned char *in = r->chunk + at;
		uint64_t header;

		prefetch_ahead(r, at, record_bytes(size));
		memcpy(&header, in, sizeof(header));
		in += YARD_HEADER_BYTES;
		if (header != size || pattern_writer(in) != 0 || pattern_seq(in) != r->seq ||
		    !pattern_rest_holds(in, size, 0, r->seq))
			r->wrong++;
		r->seq++;
		r->records++;
		at += record_bytes(size);
	}
	return at;
}

/* Copies one chunk out, validates it, checks it. Returns the bytes consumed. */
static size_t reader_take(struct yard_reader *r, uint64_t tail)
{
	struct yard_control *control = r->lane->control;
	const unsigned char *in;
	size_t len = tail - r->position;
	size_t used;

	if (len > YARD_CHUNK_BYTES && len > record_bytes(r->size))
		len = YARD_CHUNK_BYTES > record_bytes(r->size) ? YARD_CHUNK_BYTES
		                                               : record_bytes(r->size);
	in = r->lane->data + (r->position & (r->lane->bytes - 1));
	memcpy(r->chunk, in, len);
	/* Pairs with the writer's fence: if any byte was newer, the newer intent is seen. */
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&control->intent, memory_order_relaxed) - r->position >
	    r->lane->bytes)
		r->lost++;
	r->ahead = in + len;
	r->ahead_bytes = tail - r->position - len;
	used = r->size == 64 ? check_records(r, len, 64) : check_records(r, len, r->size);
	r->position += used;
	/* Pairs with the writer's acquire of the cursor. */
	atomic_store_explicit(&control->cursor, r->position, memory_order_release);
	return used;
}

static int reader_run(struct yard_lane *lane)
{
	struct yard_control *control = lane->control;
	struct yard_reader r = { .lane = lane, .size = control->options.size };
	uint64_t from_ns = 0, from_records = 0;
	uint32_t seen = YARD_WARM;

	r.chunk = aligned_alloc(64, (YARD_CHUNK_BYTES + record_bytes(r.size) + 63) & ~(size_t)63);
	if (r.chunk == NULL)
		return -ENOMEM;
	pin(control->options.reader_cpu);
	wait_for_start(control);
	for (;;) {
		uint32_t phase = atomic_load_explicit(&control->phase, memory_order_acquire);
		/* Both pair with the writer's releases; done is read first, so a tail read after
		 * it is the last one. */
		uint32_t done = atomic_load_explicit(&control->writer_done, memory_order_acquire);
		uint64_t tail = atomic_load_explicit(&control->tail, memory_order_acquire);

		if (phase != seen) {
			if (phase == YARD_MEASURE) {
				from_ns = now_ns();
				from_records = r.records;
			} else if (phase == YARD_STOP && from_ns != 0) {
				control->result.ops_per_second =
				        (double)(r.records - from_records) * 1e9 /
				        (double)(now_ns() - from_ns);
			}
			seen = phase;
		}
		if (tail != r.position)
			(void)reader_take(&r, tail);
		else if (done)
			break;
		else
			relax();
	}
	control->result.records = r.records;
	control->result.wrong = r.wrong;
	control->result.lost =
	        r.lost + atomic_load_explicit(&control->published, memory_order_relaxed) - r.seq;
	free(r.chunk);
	return 0;
}

static pid_t role_start(const char *role, const char *name)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	/* The measured processes never outlive the one that measures. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	execl("/proc/self/exe", "blaze-yard", "yard", "--role", role, name, (char *)NULL);
	_exit(127);
}

static void sleep_seconds(double seconds)
{
	struct timespec ts = { .tv_sec = (time_t)seconds };

	ts.tv_nsec = (long)((seconds - (double)ts.tv_sec) * 1e9);
	nanosleep(&ts, NULL);
}

static int role_finish(pid_t pid)
{
	int status;

	if (pid <= 0)
		return -ECHILD;
	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPROTO;
}

/* Leads both roles through the phases; kills them if one does not come up. */
static int yard_conduct(struct yard_control *control, const char *name)
{
	pid_t writer = role_start("writer", name);
	pid_t reader = role_start("reader", name);
	uint64_t give_up = now_ns() + YARD_READY_NS;
	int error_writer, error_reader;

	/* Acquire pairs with wait_for_start. */
	while (atomic_load_explicit(&control->ready, memory_order_acquire) < 2 &&
	       now_ns() < give_up && writer > 0 && reader > 0)
		sleep_seconds(0.001);
	shm_unlink(name); /* Both have it mapped, or the run has failed. */
	if (atomic_load_explicit(&control->ready, memory_order_acquire) < 2) {
		if (writer > 0)
			kill(writer, SIGKILL);
		if (reader > 0)
			kill(reader, SIGKILL);
	}
	atomic_store_explicit(&control->phase, YARD_WARM, memory_order_release);
	sleep_seconds(control->options.seconds / 4);
	atomic_store_explicit(&control->phase, YARD_MEASURE, memory_order_release);
	sleep_seconds(control->options.seconds);
	atomic_store_explicit(&control->phase, YARD_STOP, memory_order_release);
	error_writer = role_finish(writer);
	error_reader = role_finish(reader);
	return error_writer != 0 ? error_writer : error_reader;
}

int yard_measure(const struct yard_options *options, struct yard_result *ret_result)
{
	struct yard_control *control;
	char name[64];
	int error = 0;
	int fd;

	if (options->size < PATTERN_SIZE_MIN || options->batch == 0 ||
	    options->lane_bytes < 65536 || (options->lane_bytes & (options->lane_bytes - 1)) != 0 ||
	    options->lane_bytes > (UINT64_C(1) << 30) ||
	    options->batch * record_bytes(options->size) > options->lane_bytes / 4)
		return -EINVAL;
	snprintf(name, sizeof(name), "/blaze-yard.%ld", (long)getpid());
	fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	error = -posix_fallocate(fd, 0, (off_t)(YARD_CONTROL_BYTES + options->lane_bytes));
	control = error != 0 ? MAP_FAILED
	                     : mmap(NULL, YARD_CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
	                            fd, 0);
	if (control != MAP_FAILED) {
		control->options = *options;
		control->magic = YARD_MAGIC;
		error = yard_conduct(control, name);
		if (error == 0)
			*ret_result = control->result;
		munmap(control, YARD_CONTROL_BYTES);
	} else if (error == 0) {
		error = -errno;
	}
	close(fd);
	shm_unlink(name); /* Gone already, unless the run never began. */
	return error;
}

int yard_role(const char *role, const char *name)
{
	struct yard_lane lane = { .bytes = 0 };
	int error = lane_attach(name, &lane);

	if (error != 0)
		return error;
	if (strcmp(role, "writer") == 0)
		return writer_run(&lane);
	if (strcmp(role, "reader") == 0)
		return reader_run(&lane);
	return -EINVAL;
}
