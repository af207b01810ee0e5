/* SPDX-License-Identifier: Apache-2.0 */
/* Segments: making one's own, mapping those of others.
 *
 * WHY    A segment comes into being unnamed, is sized, allocated (so that a full /dev/shm is an
 *        error here and never SIGBUS later), written and only then linked: under its name it is
 *        always whole. What is read from another's header is copied once and validated; the copy
 *        is used from then on.
 *
 * LAYOUT The lane is mapped twice back to back, so that no record wraps:
 *
 *            lane                    lane + lane_bytes        lane + 2 * lane_bytes
 *            |  file, lane_offset..  |  the same pages again  |
 */
#include "shm/ring.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_preamble(const struct blazei_preamble *preamble, uint64_t magic,
                          uint32_t header_bytes)
{
	if (preamble->magic == __builtin_bswap64(magic))
		return -EPROTO;
	if (preamble->magic != magic)
		return -EBADMSG;
	if (preamble->endian_mark != BLAZEI_ENDIAN_MARK || preamble->abi_major != BLAZEI_ABI_MAJOR)
		return -EPROTO;
	return preamble->header_bytes >= header_bytes ? 0 : -EBADMSG;
}

int blazei_control_open(struct blazei_dir *dir, bool writable, struct blazei_control *ret_copy)
{
	const int flags = (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
	int fd = openat(dir->fd, "control", flags);
	int rc;

	if (fd < 0)
		return errno == ELOOP || errno == EISDIR || errno == ENXIO ? -EACCES : -errno;
	rc = blazei_file_check(dir, fd, BLAZEI_CONTROL_BYTES, NULL);
	if (rc == 0 && pread(fd, ret_copy, sizeof(*ret_copy), 0) != (ssize_t)sizeof(*ret_copy))
		rc = -EBADMSG;
	if (rc == 0)
		rc = check_preamble(&ret_copy->preamble, BLAZEI_CONTROL_MAGIC, sizeof(*ret_copy));
	if (rc == 0 &&
	    (ret_copy->participants_max < 1 || ret_copy->participants_max > BLAZEI_SLOTS_MAX ||
	     ret_copy->mode != dir->mode))
		rc = -EBADMSG;
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

void blazei_lane_name(uint32_t slot, uint64_t generation, char ret_name[BLAZEI_LANE_NAME_BYTES])
{
	snprintf(ret_name, BLAZEI_LANE_NAME_BYTES, "lane.%02u.%016llx", slot % 100,
	         (unsigned long long)generation);
}

bool blazei_lane_name_parse(const char *name, uint32_t *ret_slot, uint64_t *ret_generation)
{
	char again[BLAZEI_LANE_NAME_BYTES];
	unsigned long long generation;
	unsigned slot;

	if (strncmp(name, "lane.", 5) != 0 ||
	    sscanf(name, "lane.%2u.%16llx", &slot, &generation) != 2)
		return false;
	/* One form only, so that no two names mean one lane. */
	blazei_lane_name(slot, generation, again);
	if (strcmp(name, again) != 0 || slot >= BLAZEI_SLOTS_MAX || generation == 0)
		return false;
	*ret_slot = slot;
	*ret_generation = generation;
	return true;
}

/* Maps the lane of an open segment twice back to back. */
static int map_lane(int fd, uint64_t offset, uint64_t lane_bytes, int protection,
                    uint8_t **ret_lane)
{
	uint8_t *base = mmap(NULL, 2 * lane_bytes, PROT_NONE,
	                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		return -ENOMEM;
	for (unsigned half = 0; half < 2; half++) {
		void *at = mmap(base + half * lane_bytes, lane_bytes, protection,
		                MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, (off_t)offset);

		if (at == MAP_FAILED) {
			munmap(base, 2 * lane_bytes);
			return -ENOMEM;
		}
	}
	/* A child must not keep the pages of a lane: it has no use for them. */
	madvise(base, 2 * lane_bytes, MADV_DONTFORK);
	*ret_lane = base;
	return 0;
}

static int map_segment(int fd, const struct blazei_segment_header *header, bool writable,
                       bool with_lane, struct blazei_mapping *ret_mapping)
{
	const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
	struct blazei_mapping mapping = {
		.head_bytes = header->lane_offset,
		.lane_bytes = header->lane_bytes,
	};
	int rc;

	mapping.head = mmap(NULL, mapping.head_bytes, protection, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (mapping.head == MAP_FAILED)
		return -ENOMEM;
	madvise(mapping.head, mapping.head_bytes, MADV_DONTFORK);
	if (with_lane && header->lane_bytes > 0) {
		rc = map_lane(fd, header->lane_offset, header->lane_bytes, protection,
		              &mapping.lane);
		if (rc < 0) {
			munmap(mapping.head, mapping.head_bytes);
			return rc;
		}
	}
	*ret_mapping = mapping;
	return 0;
}

void blazei_mapping_close(struct blazei_mapping *mapping)
{
	if (mapping->lane)
		munmap(mapping->lane, 2 * mapping->lane_bytes);
	if (mapping->head)
		munmap(mapping->head, mapping->head_bytes);
	*mapping = (struct blazei_mapping){ 0 };
}

static void fill_header(const struct blazei_segment_plan *plan,
                        struct blazei_segment_header *header)
{
	const uint64_t lane_offset =
	        BLAZEI_BOARD_OFFSET + blazei_round_up(plan->board_bytes, BLAZEI_PAGE);

	*header = (struct blazei_segment_header){
		.preamble = {
			.magic = BLAZEI_SEGMENT_MAGIC,
			.abi_major = BLAZEI_ABI_MAJOR,
			.abi_minor = BLAZEI_ABI_MINOR,
			.header_bytes = sizeof(struct blazei_segment_header),
			.endian_mark = BLAZEI_ENDIAN_MARK,
		},
		.slot = plan->slot,
		.flags = plan->flags,
		.generation = plan->generation,
		.birth = plan->birth,
		.lane_bytes = plan->lane_bytes,
		.lane_offset = lane_offset,
		.board_bytes = plan->board_bytes,
		.attached_ns = blazei_realtime_ns(),
		.pid = (uint32_t)getpid(),
	};
	memcpy(header->preamble.ring, plan->ring, sizeof(plan->ring));
	memcpy(header->publisher, plan->publisher.bytes, sizeof(header->publisher));
	prctl(PR_GET_NAME, header->program);
}

int blazei_segment_create(struct blazei_dir *dir, const struct blazei_segment_plan *plan,
                          struct blazei_mapping *ret_mapping)
{
	struct blazei_segment_header header;
	struct blazei_mapping mapping = { 0 };
	char name[BLAZEI_LANE_NAME_BYTES], self[32];
	int fd, rc;

	fill_header(plan, &header);
	fd = openat(dir->fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	rc = blazei_file_allowed(header.lane_offset + header.lane_bytes);
	if (rc == 0 && (fallocate(fd, 0, 0, (off_t)(header.lane_offset + header.lane_bytes)) < 0 ||
	                fchmod(fd, dir->mode) < 0))
		rc = errno == EFBIG ? -ENOSPC : -errno;
	if (rc == 0)
		rc = map_segment(fd, &header, true, true, &mapping);
	if (rc < 0)
		goto out;
	memcpy(&mapping.head->header, &header, sizeof(header));
	BLAZEI_TESTPOINT("ring_segment_made");
	blazei_lane_name(plan->slot, plan->generation, name);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, self, dir->fd, name, AT_SYMLINK_FOLLOW) < 0) {
		rc = errno == ENOENT ? -EAGAIN : -errno;
		blazei_mapping_close(&mapping);
		goto out;
	}
	BLAZEI_TESTPOINT("ring_segment_linked");
	*ret_mapping = mapping;
out:
	close(fd);
	return rc;
}

static int check_geometry(const struct blazei_segment_header *header, uint64_t file_bytes)
{
	const uint64_t lane = header->lane_bytes;
	uint64_t lane_offset;

	if (header->slot >= BLAZEI_SLOTS_MAX || header->generation == 0 ||
	    header->board_bytes > BLAZEI_BOARD_MAX)
		return -EBADMSG;
	lane_offset = BLAZEI_BOARD_OFFSET + blazei_round_up(header->board_bytes, BLAZEI_PAGE);
	if (lane != 0 && (lane < BLAZEI_LANE_MIN || lane > BLAZEI_LANE_MAX || (lane & (lane - 1))))
		return -EBADMSG;
	if (header->lane_offset != lane_offset || file_bytes != lane_offset + lane)
		return -EBADMSG;
	return 0;
}

int blazei_segment_map(struct blazei_dir *dir, const char *file, const uint8_t ring[16],
                       bool with_lane, struct blazei_segment_header *ret_header,
                       struct blazei_mapping *ret_mapping)
{
	struct blazei_segment_header header;
	uint64_t generation, file_bytes;
	uint32_t slot;
	int fd, rc;

	if (!blazei_lane_name_parse(file, &slot, &generation))
		return -EBADMSG;
	fd = openat(dir->fd, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno == ELOOP ? -EACCES : -errno;
	rc = blazei_file_check(dir, fd, 0, &file_bytes);
	if (rc == 0 && pread(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header))
		rc = -EBADMSG;
	if (rc == 0)
		rc = check_preamble(&header.preamble, BLAZEI_SEGMENT_MAGIC, sizeof(header));
	if (rc == 0)
		rc = check_geometry(&header, file_bytes);
	if (rc == 0 && (header.slot != slot || header.generation != generation ||
	                memcmp(header.preamble.ring, ring, 16) != 0))
		rc = -EBADMSG;
	header.program[sizeof(header.program) - 1] = '\0';
	if (rc == 0)
		rc = map_segment(fd, &header, false, with_lane, ret_mapping);
	close(fd);
	if (rc == 0)
		*ret_header = header;
	return rc;
}
