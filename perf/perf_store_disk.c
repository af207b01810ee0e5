/* SPDX-License-Identifier: Apache-2.0 */
/* The store's yardstick: what this disk takes from a program that only writes. */
#include "perf/perf_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES 4096u
#define BLOCKS      256u
#define WRITE_MAX   (1u << 20)
#define FILE_MAX    (UINT64_C(256) << 20)

static _Alignas(BLOCK_BYTES) uint8_t zeros[WRITE_MAX];

static int file_open(const char *dir, const char *name, int flags)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, flags | O_RDWR | O_CREAT | O_DSYNC | O_DIRECT | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EINVAL)
		fd = open(path, flags | O_RDWR | O_CREAT | O_DSYNC | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

static int write_at(int fd, uint32_t bytes, uint64_t offset)
{
	ssize_t n = pwrite(fd, zeros, bytes, (off_t)offset);

	if (n == (ssize_t)bytes)
		return 0;
	return n < 0 ? -errno : -EIO;
}

int perf_disk_open(const char *dir, int *ret_fd)
{
	int fd = file_open(dir, "yard", 0);
	int error = fd < 0 ? fd : write_at(fd, BLOCKS * BLOCK_BYTES, 0);

	if (error == 0)
		*ret_fd = fd;
	else if (fd >= 0)
		close(fd);
	return error;
}

int perf_disk_write(int fd, uint64_t turn)
{
	return write_at(fd, BLOCK_BYTES, turn % BLOCKS * BLOCK_BYTES);
}

int perf_disk_rate(const char *dir, uint32_t bytes, double seconds, double *ret_rate)
{
	const uint64_t from_ns = perf_now_ns();
	const uint64_t until_ns = from_ns + (uint64_t)(seconds * 1e9);
	uint64_t done = 0;
	int fd = file_open(dir, "sequence", O_TRUNC);
	int error = fd < 0 ? fd : 0;

	while (error == 0 && (done == 0 || perf_now_ns() < until_ns)) {
		error = write_at(fd, bytes, done % FILE_MAX);
		done += bytes;
	}
	*ret_rate = (double)done * 1e9 / (double)(perf_now_ns() - from_ns);
	if (fd >= 0)
		close(fd);
	return error;
}

/* Walks the files of a directory, which has no directories in it. */
static uint64_t walk(const char *dir, bool removing)
{
	DIR *stream = opendir(dir);
	struct dirent *entry;
	struct stat status;
	uint64_t bytes = 0;
	char path[4096];

	while (stream != NULL && (entry = readdir(stream)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		if (lstat(path, &status) == 0)
			bytes += (uint64_t)status.st_blocks * 512;
		if (removing)
			(void)unlink(path);
	}
	if (stream != NULL)
		closedir(stream);
	return bytes;
}

uint64_t perf_disk_used(const char *dir)
{
	return walk(dir, false);
}

void perf_disk_clear(const char *dir)
{
	(void)walk(dir, true);
	(void)rmdir(dir);
}
