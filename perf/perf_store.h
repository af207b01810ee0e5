/* SPDX-License-Identifier: Apache-2.0 */
/* What the store's benchmark and the engines that it measures share.
 *
 * Each engine does the same work: records of 128 bytes under ids of 16, in ascending order as the
 * library's own ids are. Whoever reads one back compares all of it. */
#ifndef PERF_STORE_H
#define PERF_STORE_H

#include "perf/perf.h"

#define PERF_VALUE_WORDS 16u
#define PERF_VALUE_BYTES (PERF_VALUE_WORDS * 8)

enum perf_keep {
	PERF_KEEP_SYNC,   /* a commit returns when the disk has it */
	PERF_KEEP_LATER,  /* the disk gets it later; the death of the process loses nothing */
	PERF_KEEP_MEMORY, /* no disk at all; not all engines have that */
};

struct perf_engine {
	const char *name;
	const char *keeps[2]; /* what it calls SYNC and LATER */
	/* In a directory that is there. 0 or negative. */
	int (*open)(const char *dir, enum perf_keep keep, void **ret_handle);
	/* Puts count records from `first` on, as one transaction. Any thread. */
	int (*commit)(void *handle, uint64_t first, uint32_t count);
	/* Reads one: 0, or negative where it is not there. */
	int (*look)(void *handle, uint64_t number, uint64_t ret_words[PERF_VALUE_WORDS]);
	int (*close)(void *handle);
};

/* The library first; perf_store_peers.c: those whose libraries were there at configure time. */
extern const struct perf_engine perf_engine_self;
extern const struct perf_engine *const perf_engine_peers[]; /* ends with NULL */

/* So many records there are: number n, of a thread that stands in the upper half, goes to n modulo
 * that. */
extern uint32_t perf_span;

static inline void perf_value_make(uint64_t number, uint64_t ret_words[PERF_VALUE_WORDS])
{
	for (unsigned i = 0; i < PERF_VALUE_WORDS; i++)
		ret_words[i] = (number + 1) * PATTERN_STEP + i;
}

static inline void perf_key_make(uint64_t number, uint8_t ret_key[16])
{
	const uint64_t key = number >> 32 << 32 | (uint32_t)number % perf_span;

	for (unsigned i = 0; i < 8; i++) {
		ret_key[i] = (uint8_t)(key >> (56 - 8 * i));
		ret_key[8 + i] = (uint8_t)(i + 1);
	}
}

/* The disk without any engine: perf_store_disk.c. A file of prewritten blocks, past the page cache
 * where that is allowed. 0 or a negative errno value. */
int perf_disk_open(const char *dir, int *ret_fd);
/* One write of 4 KiB that is on the disk when it returns. */
int perf_disk_write(int fd, uint64_t turn);
/* Bytes per second that a new file takes in durable writes of that size, for so long. */
int perf_disk_rate(const char *dir, uint32_t bytes, double seconds, double *ret_rate);
/* Bytes that the files of a directory take, and its removal with these. */
uint64_t perf_disk_used(const char *dir);
void perf_disk_clear(const char *dir);

struct perf_space {
	uint64_t count;    /* of records that were put, the last perf_span of them being there */
	double mean, peak; /* bytes */
	double written;    /* bytes; negative: the system does not say */
};

/* perf_store_space.c: puts perf_span records, and overwrites them, in a directory that is there. 0
 * or negative. */
int perf_space_fill(const struct perf_engine *engine, const char *dir, uint32_t batch,
                    struct perf_space *ret_space);

/* perf_store.c: prints the rows; an exit status. */
int perf_store(const struct perf_options *options);

#endif
