/* SPDX-License-Identifier: Apache-2.0 */
/* blaze-perf store: durable commits, openings and room, as ratios to what this disk does in the
 * same run, and beside other engines at the same work.
 *
 * METHOD Each row has a directory of its own, which is removed. What is measured is closed, opened
 *        anew (but for what is in memory alone) and read back: each record must hold the last value
 *        that was acknowledged. A single commit and a write of the disk take turns, so both meet
 *        the same hour. A row that has more work than records goes around them. */
#include "perf/perf_store.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS   64u
#define BATCH     (65536u / PERF_VALUE_BYTES)
#define SPAN      51200u
#define TURNS_MAX 4096u
#define ROWS_MAX  256u
#define RUNS_MAX  99u
#define OPEN_MIN  1000u
#define OPEN_MAX  1000000u
#define SEQUENCE  (1u << 20)

uint32_t perf_span = SPAN;

struct row {
	char name[80];
	const char *unit;
	const char *to; /* NULL: no ratio */
	const char *bar;
	unsigned count;
	double figures[RUNS_MAX], ratios[RUNS_MAX];
};

static struct {
	const struct perf_options *options;
	struct row rows[ROWS_MAX];
	unsigned row_count;
	unsigned next; /* of this run */
	uint64_t lost;
	double disk_us; /* of a write, the latest */
} bench;

struct figure {
	const char *unit;
	double value;
	const char *to;
	double ratio;
	const char *bar;
};

static void row_add(const char *name, const char *detail, const struct figure *figure)
{
	struct row *row;

	if (bench.next == ROWS_MAX)
		return;
	row = &bench.rows[bench.next++];
	if (bench.next > bench.row_count)
		bench.row_count = bench.next;
	snprintf(row->name, sizeof(row->name), "%s: %s", name, detail);
	row->unit = figure->unit;
	row->to = figure->to;
	row->bar = figure->bar;
	row->ratios[row->count] = figure->ratio;
	row->figures[row->count++] = figure->value;
}

/* Checks that all up to `count` of this thread is there; what is not is counted. */
static void content_check(const struct perf_engine *engine, void *handle, uint64_t base,
                          uint64_t count)
{
	for (uint64_t n = count > perf_span ? count - perf_span : 0; n < count; n++) {
		uint64_t words[PERF_VALUE_WORDS], wanted[PERF_VALUE_WORDS];

		perf_value_make(base + n, wanted);
		if (engine->look(handle, base + n, words) != 0 ||
		    memcmp(words, wanted, sizeof(words)) != 0)
			bench.lost++;
	}
}

/* Load --------------------------------------------------------------------------------------- */

struct worker {
	const struct perf_engine *engine;
	void *handle;
	pthread_t thread;
	uint64_t base, count, most;
	uint64_t until_ns;
	uint32_t batch;
	int error;
};

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	bool drop = bench.options->sabotage == PERF_SABOTAGE_DROP;

	while (w->error == 0 && w->count < w->most && perf_now_ns() < w->until_ns) {
		uint32_t batch =
		        w->most - w->count < w->batch ? (uint32_t)(w->most - w->count) : w->batch;

		/* What is dropped is always the same record, so that nothing later heals it. */
		if (!drop || w->count % perf_span != 0)
			w->error = w->engine->commit(w->handle, w->base + w->count, batch);
		w->count += w->error == 0 ? batch : 0;
	}
	return NULL;
}

struct load {
	enum perf_keep keep;
	unsigned threads;
	uint32_t batch;
};

static int load_run(const struct perf_engine *engine, const struct load *load, void *handle,
                    struct worker *workers, double *ret_rate)
{
	const uint64_t from_ns = perf_now_ns();
	uint64_t count = 0;
	unsigned started = 0;
	int error = 0;

	for (; started < load->threads && error == 0; started++) {
		struct worker *w = &workers[started];

		*w = (struct worker){ .engine = engine,
			              .handle = handle,
			              .base = (uint64_t)started << 32,
			              .most = UINT32_MAX,
			              .until_ns =
			                      from_ns + (uint64_t)(bench.options->seconds * 1e9),
			              .batch = load->batch };
		error = -pthread_create(&w->thread, NULL, worker_main, w);
		if (error != 0)
			break;
	}
	for (unsigned i = 0; i < started; i++) {
		pthread_join(workers[i].thread, NULL);
		count += workers[i].count;
		error = error != 0 ? error : workers[i].error;
	}
	*ret_rate = (double)count * 1e9 / (double)(perf_now_ns() - from_ns);
	return error;
}

/* Records per second, verified after the store was opened anew. */
static int load_measure(const struct perf_engine *engine, const struct load *load, const char *dir,
                        double *ret_rate)
{
	static struct worker workers[THREADS];
	void *handle;
	int error, closed;

	if (mkdir(dir, 0700) != 0)
		return -errno;
	perf_span = SPAN;
	error = engine->open(dir, load->keep, &handle);
	if (error != 0)
		return error;
	error = load_run(engine, load, handle, workers, ret_rate);
	if (error == 0 && load->keep != PERF_KEEP_MEMORY) {
		error = engine->close(handle);
		if (error != 0 || (error = engine->open(dir, load->keep, &handle)) != 0)
			return error;
	}
	for (unsigned i = 0; i < load->threads && error == 0; i++)
		content_check(engine, handle, workers[i].base, workers[i].count);
	closed = engine->close(handle);
	perf_disk_clear(dir);
	return error != 0 ? error : closed;
}

/* Rows --------------------------------------------------------------------------------------- */

static int single_turns(const struct perf_engine *engine, void *handle, int fd, double *ret_commit,
                        unsigned *ret_count)
{
	static double commits[TURNS_MAX], writes[TURNS_MAX];
	const uint64_t until_ns = perf_now_ns() + (uint64_t)(bench.options->seconds * 1e9);
	unsigned n = 0;
	int error = 0;

	while (error == 0 && n < TURNS_MAX && (n == 0 || perf_now_ns() < until_ns)) {
		uint64_t from_ns = perf_now_ns(), then_ns;

		error = engine->commit(handle, n, 1);
		then_ns = perf_now_ns();
		if (error == 0)
			error = perf_disk_write(fd, n);
		commits[n] = (double)(then_ns - from_ns) / 1e3;
		writes[n++] = (double)(perf_now_ns() - then_ns) / 1e3;
	}
	*ret_commit = perf_median(commits, n);
	bench.disk_us = perf_median(writes, n);
	*ret_count = n;
	return error;
}

static int single_row(const struct perf_engine *engine, const char *dir, const char *base)
{
	void *handle;
	double commit;
	unsigned count;
	int fd, closed, error = perf_disk_open(base, &fd);

	if (error != 0)
		return error;
	error = mkdir(dir, 0700) == 0 ? engine->open(dir, PERF_KEEP_SYNC, &handle) : -errno;
	if (error == 0) {
		error = single_turns(engine, handle, fd, &commit, &count);
		closed = engine->close(handle);
		error = error != 0 ? error : closed;
	}
	if (error == 0)
		error = engine->open(dir, PERF_KEEP_SYNC, &handle);
	if (error == 0) {
		content_check(engine, handle, 0, count);
		error = engine->close(handle);
	}
	close(fd);
	perf_disk_clear(dir);
	if (error == 0)
		row_add("single commit, p50", engine->name,
		        &(struct figure){ "us", commit, "O_DSYNC write", bench.disk_us / commit,
		                          engine == &perf_engine_self ? "0.80 x" : NULL });
	return error;
}

static int load_rows(const struct perf_engine *engine, const char *dir, const char *base)
{
	const bool self = engine == &perf_engine_self;
	static double memory;
	double rate, sequence;
	char detail[64];
	int error = load_measure(engine, &(struct load){ PERF_KEEP_SYNC, THREADS, 1 }, dir, &rate);

	snprintf(detail, sizeof(detail), "%s, %s", engine->name, engine->keeps[0]);
	if (error != 0)
		return error;
	row_add("64 threads, single commits", detail,
	        &(struct figure){ "k/s", rate / 1e3, "O_DSYNC writes one by one",
	                          rate * bench.disk_us / 1e6, self ? "50 k/s" : NULL });
	error = load_measure(engine, &(struct load){ PERF_KEEP_SYNC, 1, BATCH }, dir, &rate);
	if (error == 0)
		error = perf_disk_rate(base, SEQUENCE, bench.options->seconds, &sequence);
	if (error != 0)
		return error;
	row_add("commits of 64 KiB", detail,
	        &(struct figure){ "k/s", rate / 1e3, "durable writes of 1 MiB",
	                          rate * PERF_VALUE_BYTES / sequence, self ? "1000 k/s" : NULL });
	snprintf(detail, sizeof(detail), "%s, %s", engine->name, engine->keeps[1]);
	if (self)
		error = load_measure(engine, &(struct load){ PERF_KEEP_MEMORY, 1, 1 }, dir,
		                     &memory);
	perf_disk_clear(dir);
	if (error == 0)
		error = load_measure(engine, &(struct load){ PERF_KEEP_LATER, 1, 1 }, dir, &rate);
	if (error != 0)
		return error;
	if (self)
		row_add("single writes", "blazeshm, memory alone",
		        &(struct figure){ "k/s", memory / 1e3, NULL, 0, NULL });
	row_add("single writes", detail,
	        &(struct figure){ "k/s", rate / 1e3, "blazeshm in memory", rate / memory,
	                          self ? "0.75 x" : NULL });
	return 0;
}

/* Opening ------------------------------------------------------------------------------------ */

struct opening {
	double ms;
	double memory; /* bytes */
	uint64_t lost;
	int error;
};

static double resident(void)
{
	FILE *stream = fopen("/proc/self/statm", "re");
	double pages = 0;

	if (stream != NULL) {
		if (fscanf(stream, "%*f %lf", &pages) != 1)
			pages = 0;
		fclose(stream);
	}
	return pages * (double)sysconf(_SC_PAGESIZE);
}

/* In a process of its own, whose memory nobody has used before. */
static void opening_child(const struct perf_engine *engine, const char *dir, uint32_t records,
                          int fd)
{
	struct opening o = { .memory = resident() };
	const uint64_t from_ns = perf_now_ns();
	void *handle;

	o.error = engine->open(dir, PERF_KEEP_LATER, &handle);
	o.ms = (double)(perf_now_ns() - from_ns) / 1e6;
	o.memory = resident() - o.memory;
	bench.lost = 0;
	if (o.error == 0)
		content_check(engine, handle, 0, records);
	o.lost = bench.lost;
	if (o.error == 0)
		o.error = engine->close(handle);
	_exit(write(fd, &o, sizeof(o)) == (ssize_t)sizeof(o) ? 0 : 1);
}

static int opening_measure(const struct perf_engine *engine, const char *dir, uint32_t records,
                           struct opening *ret_opening)
{
	int fds[2], status;
	pid_t pid;
	ssize_t n;

	if (pipe(fds) != 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		opening_child(engine, dir, records, fds[1]);
	close(fds[1]);
	n = read(fds[0], ret_opening, sizeof(*ret_opening));
	close(fds[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || n != (ssize_t)sizeof(*ret_opening))
		return -EIO;
	bench.lost += ret_opening->lost;
	return ret_opening->error;
}

static int open_rows(const struct perf_engine *engine, const char *dir, uint32_t records)
{
	struct worker w = {
		.engine = engine, .most = records, .batch = BATCH, .until_ns = UINT64_MAX
	};
	struct opening opening = { .ms = 0 };
	char what[48];
	double disk;
	int error;

	perf_span = records;
	error = mkdir(dir, 0700) == 0 ? engine->open(dir, PERF_KEEP_LATER, &w.handle) : -errno;
	if (error != 0)
		return error;
	worker_main(&w);
	error = engine->close(w.handle);
	error = w.error != 0 ? w.error : error;
	disk = (double)perf_disk_used(dir);
	if (error == 0)
		error = opening_measure(engine, dir, records, &opening);
	perf_disk_clear(dir);
	if (error != 0)
		return error;
	snprintf(what, sizeof(what), "open %u records", records);
	row_add(what, engine->name,
	        &(struct figure){ "ms", opening.ms, "us a record", opening.ms * 1e3 / records,
	                          engine == &perf_engine_self && records == 10 * OPEN_MAX ? "1 s"
	                                                                                  : NULL });
	row_add("  memory for a record", engine->name,
	        &(struct figure){ "B", opening.memory / records, NULL, 0, NULL });
	row_add("  disk for a record", engine->name,
	        &(struct figure){ "B", disk / records, "its 128 B",
	                          disk / records / PERF_VALUE_BYTES, NULL });
	return 0;
}

/* Overwriting -------------------------------------------------------------------------------- */

static int space_rows(const struct perf_engine *engine, const char *dir, uint32_t records)
{
	const bool self = engine == &perf_engine_self;
	const double raw = (double)records * PERF_VALUE_BYTES;
	struct perf_space space;
	void *handle;
	char what[64];
	int error;

	perf_span = records;
	error = mkdir(dir, 0700) == 0 ? perf_space_fill(engine, dir, BATCH, &space) : -errno;
	if (error == 0)
		error = engine->open(dir, PERF_KEEP_LATER, &handle);
	if (error == 0) {
		content_check(engine, handle, 0, space.count);
		error = engine->close(handle);
	}
	perf_disk_clear(dir);
	if (error != 0)
		return error;
	snprintf(what, sizeof(what), "overwriting %u records, disk, mean", records);
	row_add(what, engine->name,
	        &(struct figure){ "MB", space.mean / 1e6, "what they hold", space.mean / raw,
	                          self ? "1.6 x" : NULL });
	row_add("  disk, most", engine->name,
	        &(struct figure){ "MB", space.peak / 1e6, "what they hold", space.peak / raw,
	                          NULL });
	if (space.written >= 0)
		row_add("  written", engine->name,
		        &(struct figure){ "MB", space.written / 1e6, "what was put",
		                          space.written / (double)space.count / PERF_VALUE_BYTES,
		                          self ? "3 x" : NULL });
	return 0;
}

/* All ---------------------------------------------------------------------------------------- */

typedef int (*engine_part)(const struct perf_engine *engine, const char *dir, const char *base,
                           uint32_t records);

static int part_single(const struct perf_engine *engine, const char *dir, const char *base,
                       uint32_t records)
{
	(void)records;
	return single_row(engine, dir, base);
}

static int part_load(const struct perf_engine *engine, const char *dir, const char *base,
                     uint32_t records)
{
	(void)records;
	return load_rows(engine, dir, base);
}

static int part_open(const struct perf_engine *engine, const char *dir, const char *base,
                     uint32_t records)
{
	(void)base;
	return open_rows(engine, dir, records);
}

static int part_space(const struct perf_engine *engine, const char *dir, const char *base,
                      uint32_t records)
{
	(void)base;
	return space_rows(engine, dir, records);
}

/* One part, of all engines in turn. */
static int part_run(engine_part part, const char *base, uint32_t records)
{
	const struct perf_engine *engine = &perf_engine_self;
	char dir[4096];

	snprintf(dir, sizeof(dir), "%s/store", base);
	for (unsigned i = 0; engine != NULL; engine = perf_engine_peers[i++]) {
		int error = part(engine, dir, base, records);

		perf_disk_clear(dir);
		if (error != 0) {
			fprintf(stderr, "blaze-perf: %s: %s\n", engine->name,
			        blaze_strerror(error));
			return error;
		}
	}
	return 0;
}

static int run_all(const char *base)
{
	const uint64_t most = bench.options->records != 0 ? bench.options->records : OPEN_MAX;
	int error = part_run(part_single, base, 0);

	if (error == 0)
		error = part_run(part_load, base, 0);
	for (uint64_t n = most < OPEN_MIN ? most : OPEN_MIN; error == 0 && n <= most; n *= 10)
		error = part_run(part_open, base, (uint32_t)n);
	return error == 0 ? part_run(part_space, base, (uint32_t)most) : error;
}

static void print_figure(double *values, unsigned count, const char *unit)
{
	double middle = perf_median(values, count);

	printf("%.4g [%.4g..%.4g] %s | ", middle, values[0], values[count - 1], unit);
}

static void print_rows(void)
{
	printf("%s; %s; %u runs of %.2f s, median [min..max]\n\n", perf_machine(), perf_source(),
	       bench.options->runs, bench.options->seconds);
	printf("| what | figure | ratio | bar |\n|---|---|---|---|\n");
	for (unsigned i = 0; i < bench.row_count; i++) {
		struct row *row = &bench.rows[i];

		printf("| %s | ", row->name);
		print_figure(row->figures, row->count, row->unit);
		if (row->to != NULL)
			print_figure(row->ratios, row->count, row->to);
		else
			printf("| ");
		printf("%s |\n", row->bar != NULL ? row->bar : "");
	}
}

int perf_store(const struct perf_options *options)
{
	char base[] = "blaze-perf.XXXXXX";
	int error = 0;

	bench.options = options;
	if (mkdtemp(base) == NULL) {
		fprintf(stderr, "blaze-perf: %s: %s\n", base, blaze_strerror(-errno));
		return 1;
	}
	for (uint32_t run = 0; run < options->runs && error == 0; run++) {
		bench.next = 0;
		error = run_all(base);
	}
	perf_disk_clear(base);
	if (error != 0)
		return 1;
	print_rows();
	if (bench.lost != 0)
		fprintf(stderr, "blaze-perf: %llu records are lost or wrong\n",
		        (unsigned long long)bench.lost);
	return bench.lost != 0;
}
