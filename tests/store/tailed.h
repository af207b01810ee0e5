/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the tail share: a store with one, on a medium that can stand still or fail.
 *
 * A death of the process is played by forgetting the store: its memory stays, its tail stays on
 * tmpfs, and nothing more is written, as the medium stands still from then on. */
#ifndef TESTS_STORE_TAILED_H
#define TESTS_STORE_TAILED_H

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <blaze/db.h>

#include "lib/op/hash.h"
#include "lib/repl/replica.h"
#include "lib/store/log.h"
#include "tests/store/fault.h"
#include "tests/store/txns.h"

#define TXNS       600u
#define TAIL_BYTES (128u << 10)

static struct blazei_buffer txns[TXNS];
static struct fault_medium medium;
static char dir[64];
static struct blaze_id boot;
static struct blazei_store_options options;
static unsigned failures_told;

/* Held while the disk stands still. */
static pthread_mutex_t disk = PTHREAD_MUTEX_INITIALIZER;

static bool standing;

static inline void moment(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&disk);
	pthread_mutex_unlock(&disk);
}

static inline void on_failed(void *arg)
{
	(void)arg;
	failures_told++;
}

static inline size_t length_of(unsigned number)
{
	return number * 37 % 1000;
}

static inline void setup(void)
{
	txns_make(txns, TXNS, 1000, length_of);
	strcpy(dir, "/dev/shm/test_tail.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	medium = (struct fault_medium){ .moment = moment };
	fault_medium = &medium;
	failures_told = 0;
	boot.bytes[0] = 1;
	options = (struct blazei_store_options){
		.policy = BLAZE_POLICY_LWW,
		.durability = BLAZE_DURABILITY_ASYNC,
		.sync_interval_ns = BLAZE_FOREVER,
		.tail_bytes = TAIL_BYTES,
		.tail_dir = dir,
		.boot = &boot,
		.on_failed = on_failed,
	};
}

static inline int tails_visit(void (*visitor)(const char *path, void *arg), void *arg)
{
	DIR *stream = opendir(dir);
	struct dirent *entry;
	char path[400];
	int count = 0;

	ck_assert_ptr_nonnull(stream);
	while ((entry = readdir(stream)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		count++;
		if (visitor != NULL)
			visitor(path, arg);
	}
	closedir(stream);
	return count;
}

static inline void tail_remove(const char *path, void *arg)
{
	(void)arg;
	(void)unlink(path);
}

static inline void teardown(void)
{
	tails_visit(tail_remove, NULL);
	ck_assert_int_eq(rmdir(dir), 0);
	fault_clear(&medium);
	for (unsigned i = 0; i < TXNS; i++)
		blazei_buffer_free(&txns[i]);
}

static inline int txn_compare(void *arg, const void *txn, size_t len)
{
	unsigned *count = arg;

	ck_assert_uint_lt(*count, TXNS);
	ck_assert_uint_eq(len, txns[*count].len);
	ck_assert_mem_eq(txn, txns[*count].data, len);
	(*count)++;
	return 0;
}

static inline struct blazei_store *opened(unsigned *ret_count)
{
	struct blazei_store *store = NULL;

	*ret_count = 0;
	ck_assert_int_eq(blazei_store_open(&fault_ops, "fault", &options, &store), 0);
	ck_assert_int_eq(blazei_store_recover(store, 1, txn_compare, ret_count), 0);
	return store;
}

static inline int put(struct blazei_store *store, unsigned index)
{
	uint64_t lsn;
	int error = blazei_store_await_room(store);

	if (error == 0)
		error = blazei_store_append(store, txns[index].data, txns[index].len, &lsn);
	return error == 0 ? blazei_store_acknowledge(store, lsn) : error;
}

/* Puts some, of which the first are durable. */
static inline struct blazei_store *filled(unsigned durable, unsigned all)
{
	unsigned count;
	struct blazei_store *store = opened(&count);

	ck_assert_uint_eq(count, 0);
	for (unsigned i = 0; i < all; i++) {
		ck_assert_int_eq(put(store, i), 0);
		if (i + 1 == durable)
			ck_assert_int_eq(blazei_store_sync(store), 0);
	}
	return store;
}

/* The store as its death leaves it, with its tail; it is closed afterwards, on a medium of its
 * own, when this thread of it has ended. */
static inline void die_beside(struct blazei_store *store, const pthread_t *thread)
{
	static struct fault_medium other;
	char command[256];
	unsigned seed = 1;

	fault_crash(&medium, &seed, &other);
	snprintf(command, sizeof(command), "cp -a %s %s.kept", dir, dir);
	ck_assert_int_eq(system(command), 0);
	if (standing)
		pthread_mutex_unlock(&disk);
	standing = false;
	if (thread != NULL)
		pthread_join(*thread, NULL);
	ck_assert_int_eq(blazei_store_close(store), 0);
	fault_clear(&medium);
	medium = other;
	medium.moment = moment;
	snprintf(command, sizeof(command), "cp -a %s.kept/. %s && rm -r %s.kept", dir, dir, dir);
	ck_assert_int_eq(system(command), 0);
}

static inline void die(struct blazei_store *store)
{
	die_beside(store, NULL);
}

/* Opens, and checks what is there. */
static inline void check(unsigned least, unsigned most, unsigned cuts)
{
	struct blazei_store_stats stats;
	unsigned count;
	struct blazei_store *store = opened(&count);

	ck_assert_uint_ge(count, least);
	ck_assert_uint_le(count, most);
	blazei_store_stats(store, &stats);
	ck_assert_uint_eq(stats.last, count);
	ck_assert_uint_eq(stats.durable, count);
	ck_assert_uint_eq(stats.cuts, cuts);
	ck_assert_uint_eq(store->cut, cuts > 0);
	ck_assert_int_eq(blazei_store_close(store), 0);
	ck_assert_int_eq(tails_visit(NULL, NULL), 0);
}

#endif
