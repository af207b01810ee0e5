/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a database, or asking for one that a program has open, and finding out who has.
 *
 * WHY    Commands that only read don't open the store but look at it: they change nothing, and work
 *        on a copy that can't be written. Of a database that a program has open they ask that
 *        program, as those do that write: what it acknowledged last may not be in the directory
 *        yet.
 *
 *        The lock's holder is found in /proc, where the descriptors of the caller's own processes
 *        show: the lock belongs to a description, which has no process id. */
#include "lib/tool/blaze-db.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/db/lane_client.h"

#define PATH_BYTES 4200

/* Whether this descriptor of a process holds a lock: its fdinfo then says so. */
static bool descriptor_locks(const char *pid, const char *fd)
{
	char path[64], line[256];
	bool locks = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%.16s/fdinfo/%.16s", pid, fd);
	file = fopen(path, "re");
	if (file == NULL)
		return false;
	while (!locks && fgets(line, sizeof(line), file) != NULL)
		locks = strncmp(line, "lock:", 5) == 0;
	fclose(file);
	return locks;
}

static bool process_holds(const char *pid, const struct stat *lock)
{
	char path[64];
	struct dirent *entry;
	bool holds = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	dir = opendir(path);
	if (dir == NULL)
		return false;
	while (!holds && (entry = readdir(dir)) != NULL) {
		struct stat status;

		holds = fstatat(dirfd(dir), entry->d_name, &status, 0) == 0 &&
		        status.st_dev == lock->st_dev && status.st_ino == lock->st_ino &&
		        descriptor_locks(pid, entry->d_name);
	}
	closedir(dir);
	return holds;
}

/* "process 123 (name)", or less where no process that the caller may look into holds it: false. */
static bool holder_describe(const struct stat *lock, char *ret_who, size_t who_bytes)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	char path[64], name[32] = "?";
	bool found = false;
	FILE *file;

	snprintf(ret_who, who_bytes, "another program");
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name) ||
		    !process_holds(entry->d_name, lock))
			continue;
		snprintf(path, sizeof(path), "/proc/%.16s/comm", entry->d_name);
		file = fopen(path, "re");
		if (file != NULL && fgets(name, sizeof(name), file) != NULL)
			name[strcspn(name, "\n")] = '\0';
		if (file != NULL)
			fclose(file);
		/* A process chooses its own name: only what prints gets to the terminal. */
		for (char *at = name; *at != '\0'; at++) {
			if (*at < 0x20 || *at > 0x7e)
				*at = '?';
		}
		snprintf(ret_who, who_bytes, "process %.16s (%s)", entry->d_name, name);
		found = true;
		break;
	}
	if (dir != NULL)
		closedir(dir);
	return found;
}

bool tool_held(const char *dir, char *ret_who, size_t who_bytes)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char path[PATH_BYTES];
	struct stat status;
	bool held = false;
	int fd;

	if ((size_t)snprintf(path, sizeof(path), "%s/lock", dir) >= sizeof(path))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	/* Without that file there is the lock of the directory, which can't be asked for. */
	if (fd < 0)
		return errno == ENOENT && stat(dir, &status) == 0 &&
		       holder_describe(&status, ret_who, who_bytes);
	if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
	    fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
		held = true;
		(void)holder_describe(&status, ret_who, who_bytes);
	}
	close(fd);
	return held;
}

static bool stopping(void *arg)
{
	(void)arg;
	return tool_stopping();
}

int tool_connect(const struct tool *tool, const char *who, struct blazei_lane_caller **ret_lane)
{
	const char *why;
	int error = blazei_lane_connect(tool->dir, stopping, NULL, ret_lane);

	switch (error) {
	case 0:
		return TOOL_DONE;
	case -ENOENT:
		why = "which has no lane: end that first (stat, check, dump and backup work "
		      "meanwhile)";
		break;
	case -EBUSY:
		why = "whose lane has no room for one more just now";
		break;
	case -EACCES:
		why = "whose lane is for its own user";
		break;
	case -EPROTO:
		why = "whose lane is of another version";
		break;
	case -ETIMEDOUT:
		why = "which does not answer";
		break;
	default:
		why = blaze_strerror(error);
	}
	return tool_complain("%s: %s is open in %s, %s", tool->command, tool->dir, who, why);
}

/* Whether there are segments. */
static bool has_segments(const char *dir)
{
	DIR *stream = opendir(dir);
	const struct dirent *entry = NULL;

	while (stream != NULL && (entry = readdir(stream)) != NULL) {
		const size_t len = strlen(entry->d_name);

		if (len == 20 && strcmp(entry->d_name + 16, ".seg") == 0)
			break;
	}
	if (stream != NULL)
		closedir(stream);
	return entry != NULL;
}

int tool_absent(const struct tool *tool)
{
	if (has_segments(tool->dir))
		tool_complain("%s: %s has lost its root, without which nothing can be told of the "
		              "rest: bring that file back",
		              tool->command, tool->dir);
	else
		tool_complain("%s: there is no database in %s ('blaze-db create %s' makes one)",
		              tool->command, tool->dir, tool->dir);
	return TOOL_ABSENT;
}

static int complain_open(const struct tool *tool, int error)
{
	if (error == -ENOENT || error == -ENOTDIR)
		return tool_absent(tool);
	if (error == -EBADMSG)
		return tool_complain("%s: %s is damaged ('blaze-db check %s' says where)",
		                     tool->command, tool->dir, tool->dir);
	return tool_fail(tool, error);
}

int tool_open(const struct tool *tool, bool writing, struct tool_db *ret_db)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	char who[96], path[PATH_BYTES];
	int error;

	memset(ret_db, 0, sizeof(*ret_db));
	if (tool_held(tool->dir, who, sizeof(who)))
		return tool_connect(tool, who, &ret_db->lane);
	/* A colon in a name is no scheme. */
	if ((size_t)snprintf(path, sizeof(path), "file:%s", tool->dir) >= sizeof(path))
		return tool_fail(tool, -ENAMETOOLONG);
	options.flags = BLAZE_DB_MANUAL | BLAZE_DB_NO_CREATE;
	if (writing)
		options.durability = BLAZE_DURABILITY_SYNC;
	else
		options.flags |= BLAZE_DB_READ_ONLY;
	error = blaze_db_open("blaze-db", path, &options, &ret_db->db);
	if (error == -EBUSY) {
		snprintf(who, sizeof(who), "another program");
		tool_held(tool->dir, who, sizeof(who));
		return tool_connect(tool, who, &ret_db->lane);
	}
	return error == 0 ? TOOL_DONE : complain_open(tool, error);
}
