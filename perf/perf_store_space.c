/* SPDX-License-Identifier: Apache-2.0 */
/* What overwriting costs: the room that an engine takes beside what it holds, and what it writes
 * for each byte that it is given.
 *
 * METHOD All records are put once, and then again and again, in transactions of 64 KiB. The files
 *        are looked at between, 16 times in each round: as most engines take more and less in turn,
 *        both the mean and the most count, from the second round on. What was written is what the
 *        system says that this process had to be written to disks (write_bytes of proc(5)), until
 *        the engine is closed: a page that is changed again before it goes there counts once. */
#include "perf/perf_store.h"

#include <errno.h>
#include <stdio.h>

#define ROUNDS 5u
#define LOOKS  16u

/* Negative: the system does not say. */
static double written(void)
{
	FILE *stream = fopen("/proc/self/io", "re");
	unsigned long long bytes;
	double answer = -1;
	char line[128];

	while (stream != NULL && answer < 0 && fgets(line, sizeof(line), stream) != NULL)
		if (sscanf(line, "write_bytes: %llu", &bytes) == 1)
			answer = (double)bytes;
	if (stream != NULL)
		fclose(stream);
	return answer;
}

static int rounds(const struct perf_engine *engine, void *handle, const char *dir, uint32_t batch,
                  struct perf_space *space)
{
	const uint64_t all = (uint64_t)perf_span * ROUNDS, step = perf_span / LOOKS;
	uint64_t look = perf_span + step;
	double sum = 0;
	unsigned looks = 0;
	int error = 0;

	while (error == 0 && space->count < all) {
		const uint64_t left = all - space->count;
		const uint32_t count = left < batch ? (uint32_t)left : batch;
		double used;

		error = engine->commit(handle, space->count, count);
		space->count += count;
		if (space->count < look)
			continue;
		used = (double)perf_disk_used(dir);
		sum += used;
		looks++;
		space->peak = used > space->peak ? used : space->peak;
		look += step;
	}
	space->mean = looks > 0 ? sum / looks : 0;
	return error;
}

int perf_space_fill(const struct perf_engine *engine, const char *dir, uint32_t batch,
                    struct perf_space *ret_space)
{
	struct perf_space space = { .count = 0 };
	const double before = written();
	void *handle;
	int error = engine->open(dir, PERF_KEEP_LATER, &handle), closed;

	if (error != 0)
		return error;
	error = rounds(engine, handle, dir, batch, &space);
	closed = engine->close(handle);
	space.written = before < 0 ? before : written() - before;
	*ret_space = space;
	return error != 0 ? error : closed;
}
