/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that a test forks and kills.
 *
 * WHY    Each of Check's assertions writes to a file that the parent reads in the end. A child
 *        that is killed amid such a write leaves half a message there, and the whole suite ends
 *        with "Bad message type". So a child that may be killed writes its messages nowhere. Where
 *        an assertion fails in it, it still exits with status 1; its parent has to look at that. */
#ifndef BLAZEI_TESTS_BASE_CHILD_H
#define BLAZEI_TESTS_BASE_CHILD_H

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* fork() for a child that may be killed. Unlinked regular files, of which Check's is one, are
 * nothing to the child; the caller has no others open. */
static inline pid_t child_fork(void)
{
	pid_t pid = fork();
	struct stat st;
	int null;

	if (pid != 0)
		return pid;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		_exit(1);
	for (int fd = STDERR_FILENO + 1; fd < 64; fd++) {
		if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 0 &&
		    dup2(null, fd) < 0)
			_exit(1);
	}
	return 0;
}

#endif
