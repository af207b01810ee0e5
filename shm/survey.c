/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at rings from outside, and tidying up after the dead; see survey.h.
 *
 * WHY    A tool that had to attach in order to look would change what it looks at, and could not
 *        look at a full or damaged ring. So the files are opened, checked and read as every
 *        participant does it, without taking a slot.
 *
 * FAILURE  All of this may race with participants who come and go: what went away while it was
 *        looked at is left out. Every removal is one that any participant might have made. */
#include "shm/survey.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/ring.h"

#define ENTRIES_MAX 65536u
/* A little more than the grace of a dead lane (reap.c). */
#define GRACE_NS (BLAZEI_NS_PER_S + 100 * BLAZEI_NS_PER_MS)

static DIR *list_directory(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;

	if (!listing && fd >= 0)
		close(fd);
	return listing;
}

static uint64_t file_bytes(int dir_fd, const char *name)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return (uint64_t)st.st_blocks * 512;
}

/* Reads what one segment says of its owner. */
static void survey_member(struct blazei_dir *dir, const char *file, const uint8_t ring[16],
                          struct blazei_survey_member *ret_member, uint64_t *ret_birth)
{
	struct blazei_segment_header header;
	struct blazei_mapping map;
	struct blazei_survey_member member = { 0 };
	uint64_t generation;

	blazei_lane_name_parse(file, &member.slot, &generation);
	*ret_birth = 0;
	member.error = blazei_segment_map(dir, file, ring, false, &header, &map);
	if (member.error == 0) {
		memcpy(member.publisher.bytes, header.publisher, sizeof(header.publisher));
		memcpy(member.program, header.program, sizeof(member.program));
		member.program[sizeof(member.program) - 1] = '\0';
		member.pid = header.pid;
		member.lane_bytes = header.lane_bytes;
		member.attached_ns = header.attached_ns;
		member.read_only = header.flags & BLAZEI_SEGMENT_READ_ONLY;
		member.lossless = header.flags & BLAZEI_SEGMENT_LOSSLESS;
		/* Relaxed, both: figures for people. */
		member.published = atomic_load_explicit(&map.head->flow.tail, memory_order_relaxed);
		member.reading =
		        atomic_load_explicit(&map.head->reader.reading, memory_order_relaxed) != 0;
		*ret_birth = header.birth;
		blazei_mapping_close(&map);
	}
	*ret_member = member;
}

/* Of several lanes of one slot only the last born can have an owner that lives. */
static void judge_members(struct blazei_survey_member *members, const uint64_t *births,
                          unsigned count, const struct blazei_probe *probe,
                          const struct blazei_control *control)
{
	/* A copy that nobody else changes. */
	const uint64_t sleepers = atomic_load_explicit(
	        &((struct blazei_control *)control)->sleepers, memory_order_relaxed);

	for (unsigned i = 0; i < count; i++) {
		bool newest = true;

		for (unsigned j = 0; j < count; j++)
			newest &= members[j].slot != members[i].slot || births[j] <= births[i];
		members[i].live = newest && blazei_probe_live(probe, members[i].slot);
		members[i].reading &= members[i].live;
		members[i].sleeping = members[i].live && (sleepers >> members[i].slot & 1);
	}
}

static int list_members(struct blazei_dir *dir, const struct blazei_control *control,
                        struct blazei_survey_member *members, uint64_t *births, unsigned cap)
{
	DIR *listing = list_directory(dir->fd);
	const struct dirent *entry;
	unsigned count = 0, seen = 0;
	uint64_t generation;
	uint32_t slot;

	if (!listing)
		return -errno;
	while (count < cap && seen++ < ENTRIES_MAX && (entry = readdir(listing))) {
		if (!blazei_lane_name_parse(entry->d_name, &slot, &generation))
			continue;
		survey_member(dir, entry->d_name, control->preamble.ring, &members[count],
		              &births[count]);
		count += members[count].error != -ENOENT;
	}
	closedir(listing);
	return (int)count;
}

static uint64_t directory_bytes(int dir_fd)
{
	DIR *listing = list_directory(dir_fd);
	const struct dirent *entry;
	unsigned seen = 0;
	uint64_t bytes = 0;

	if (!listing)
		return 0;
	while (seen++ < ENTRIES_MAX && (entry = readdir(listing)))
		if (entry->d_name[0] != '.')
			bytes += file_bytes(dir_fd, entry->d_name);
	closedir(listing);
	return bytes;
}

/* Everything about a ring whose directory is open. */
static int survey_open(struct blazei_dir *dir, struct blazei_survey_ring *ring,
                       struct blazei_survey_member *members, unsigned cap)
{
	uint64_t births[BLAZEI_SURVEY_MEMBERS_MAX];
	struct blazei_control control;
	struct blazei_probe probe;
	int count, fd;

	ring->bytes = directory_bytes(dir->fd);
	fd = blazei_control_open(dir, false, &control);
	if (fd < 0)
		return fd;
	close(fd);
	ring->mode = control.mode;
	ring->participants_max = control.participants_max;
	ring->created_ns = control.created_ns;
	memcpy(ring->id.bytes, control.preamble.ring, sizeof(ring->id.bytes));
	count = blazei_probe_open(dir, &probe);
	if (count < 0)
		return count;
	count = list_members(dir, &control, members, births, cap);
	if (count > 0)
		judge_members(members, births, (unsigned)count, &probe, &control);
	blazei_probe_close(&probe);
	for (int i = 0; i < count; i++) {
		ring->live += members[i].live;
		ring->dead += !members[i].live;
	}
	return count;
}

static int survey_named(int parent_fd, const char *parent_path, uint32_t mode, const char *name,
                        struct blazei_survey_ring *ret_ring, struct blazei_survey_member *members)
{
	struct blazei_survey_ring ring = { .mode = mode };
	struct blazei_dir dir;
	int rc = blazei_dir_open(parent_fd, parent_path, name, mode, &dir);

	snprintf(ring.name, sizeof(ring.name), "%s", name);
	if (rc == -ENOENT)
		return rc;
	if (rc == 0) {
		rc = survey_open(&dir, &ring, members, BLAZEI_SURVEY_MEMBERS_MAX);
		blazei_dir_close(&dir);
		/* An empty directory, which the next attach to that name takes away, is no ring. */
		if (rc == -ENOENT && ring.bytes == 0)
			return rc;
	}
	if (rc < 0)
		ring.error = rc;
	*ret_ring = ring;
	return rc < 0 ? 0 : rc;
}

static struct blazei_survey_member *members_new(void)
{
	return calloc(BLAZEI_SURVEY_MEMBERS_MAX, sizeof(struct blazei_survey_member));
}

int blazei_survey_members(uint32_t mode, const char *name, struct blazei_survey_ring *ret_ring,
                          struct blazei_survey_member *ret_members, unsigned cap)
{
	struct blazei_survey_member *members;
	char parent_path[64];
	int parent_fd, rc;

	if (!blazei_name_valid(name, BLAZE_RING_NAME_MAX))
		return -EINVAL;
	parent_fd = blazei_parent_open(mode, false, parent_path, sizeof(parent_path));
	if (parent_fd < 0)
		return parent_fd;
	members = members_new();
	rc = members ? survey_named(parent_fd, parent_path, mode, name, ret_ring, members)
	             : -ENOMEM;
	close(parent_fd);
	if (rc > (int)cap)
		rc = (int)cap;
	if (rc > 0)
		memcpy(ret_members, members, (unsigned)rc * sizeof(members[0]));
	free(members);
	return rc;
}

int blazei_survey_rings(uint32_t mode, blazei_survey_visitor visitor, void *arg)
{
	struct blazei_survey_member *members = members_new();
	const struct dirent *entry;
	char parent_path[64];
	unsigned seen = 0;
	int parent_fd, rc;
	DIR *listing;

	if (!members)
		return -ENOMEM;
	parent_fd = blazei_parent_open(mode, false, parent_path, sizeof(parent_path));
	if (parent_fd < 0) {
		free(members);
		return parent_fd == -ENOENT ? 0 : parent_fd;
	}
	listing = list_directory(parent_fd);
	rc = listing ? 0 : -ENOMEM;
	while (rc == 0 && seen++ < ENTRIES_MAX && (entry = readdir(listing))) {
		struct blazei_survey_ring ring;

		if (!blazei_name_valid(entry->d_name, BLAZE_RING_NAME_MAX))
			continue;
		if (survey_named(parent_fd, parent_path, mode, entry->d_name, &ring, members) >= 0)
			rc = visitor(arg, &ring);
	}
	if (listing)
		closedir(listing);
	close(parent_fd);
	free(members);
	return rc;
}

int blazei_survey_remove(uint32_t mode, const char *name)
{
	char parent_path[64];
	int parent_fd, rc;

	if (!blazei_name_valid(name, BLAZE_RING_NAME_MAX))
		return -EINVAL;
	parent_fd = blazei_parent_open(mode, false, parent_path, sizeof(parent_path));
	if (parent_fd < 0)
		return parent_fd;
	rc = blazei_dir_unlink(parent_fd, parent_path, name, mode);
	blazei_parent_close(parent_fd, parent_path);
	return rc;
}

/* Cleaning ------------------------------------------------------------------------------------ */

struct cleaning {
	int parent_fd;
	char parent_path[64];
	uint32_t mode;
	blazei_survey_reporter reporter;
	void *arg;
	struct blazei_survey_member *members;
};

static void clean_leftover(struct cleaning *cleaning, const char *name)
{
	int rc = blazei_dir_remove_unfinished(cleaning->parent_fd, cleaning->parent_path, name,
	                                      cleaning->mode);

	if (rc != 0)
		cleaning->reporter(cleaning->arg,
		                   rc > 0 ? BLAZEI_SURVEY_LEFTOVER : BLAZEI_SURVEY_KEPT, name, 1,
		                   rc > 0 ? 0 : rc);
}

/* A participant buries the dead when it comes and when it goes; the second time those, too, that
 * somebody might still have wanted. */
static int bury(struct cleaning *cleaning, const struct blazei_survey_ring *before)
{
	struct blaze_ring_options options = BLAZE_RING_OPTIONS_INIT;
	struct blazei_survey_ring after;
	struct blaze_ring *ring = NULL;
	int rc;

	options.flags = BLAZE_RING_NO_CREATE | BLAZE_RING_READ_ONLY;
	options.mode = cleaning->mode;
	rc = blaze_ring_attach(before->name, &options, &ring);
	if (rc < 0)
		return rc;
	blazei_sleep_ns(GRACE_NS);
	blaze_ring_detach(ring);
	rc = survey_named(cleaning->parent_fd, cleaning->parent_path, cleaning->mode, before->name,
	                  &after, cleaning->members);
	if (rc == -ENOENT) {
		cleaning->reporter(cleaning->arg, BLAZEI_SURVEY_RING, before->name, 1, 0);
		return 0;
	}
	if (rc >= 0 && after.dead < before->dead)
		cleaning->reporter(cleaning->arg, BLAZEI_SURVEY_LANES, before->name,
		                   before->dead - after.dead, 0);
	return 0;
}

static void clean_ring(struct cleaning *cleaning, const char *name)
{
	struct blazei_survey_ring ring;
	int rc = survey_named(cleaning->parent_fd, cleaning->parent_path, cleaning->mode, name,
	                      &ring, cleaning->members);

	if (rc < 0)
		return;
	/* Without a control segment (ENOENT) it is a husk, which goes as an unused ring does. What
	 * another version made is not ours to judge. */
	rc = ring.error;
	if (rc == 0 || rc == -EBADMSG || rc == -ENOENT)
		rc = blazei_dir_remove_unused(cleaning->parent_fd, cleaning->parent_path, name,
		                              cleaning->mode);
	if (rc > 0)
		cleaning->reporter(cleaning->arg, BLAZEI_SURVEY_RING, name, 1, 0);
	else if (rc == 0 && ring.dead > 0)
		rc = bury(cleaning, &ring);
	if (rc < 0 && rc != -ENOENT)
		cleaning->reporter(cleaning->arg, BLAZEI_SURVEY_KEPT, name, 1, rc);
}

int blazei_survey_clean(uint32_t mode, blazei_survey_reporter reporter, void *arg)
{
	struct cleaning cleaning = {
		.mode = mode,
		.reporter = reporter,
		.arg = arg,
		.members = members_new(),
	};
	const struct dirent *entry;
	unsigned seen = 0;
	DIR *listing;

	if (!cleaning.members)
		return -ENOMEM;
	cleaning.parent_fd =
	        blazei_parent_open(mode, false, cleaning.parent_path, sizeof(cleaning.parent_path));
	if (cleaning.parent_fd < 0) {
		free(cleaning.members);
		return cleaning.parent_fd == -ENOENT ? 0 : cleaning.parent_fd;
	}
	listing = list_directory(cleaning.parent_fd);
	while (listing && seen++ < ENTRIES_MAX && (entry = readdir(listing))) {
		if (blazei_dir_unfinished(entry->d_name))
			clean_leftover(&cleaning, entry->d_name);
		else if (blazei_name_valid(entry->d_name, BLAZE_RING_NAME_MAX))
			clean_ring(&cleaning, entry->d_name);
	}
	if (listing)
		closedir(listing);
	blazei_parent_close(cleaning.parent_fd, cleaning.parent_path);
	free(cleaning.members);
	return listing ? 0 : -ENOMEM;
}
