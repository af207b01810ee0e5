/* SPDX-License-Identifier: Apache-2.0 */
/* What each error that this library returns is called and means.
 *
 * WHY    strerror(3) speaks of files, devices and message queues, and differs between systems: this
 *        library says what happened to a ring or a record, and what helps. The table is the one
 *        place where codes, names and sentences stand. A gate compares its names with those that
 *        the public headers speak of.
 *
 * INVARIANTS
 *    I1  Every errno name in a public header has a row here.
 *    I2  A code has one row. */
#include "lib/base/base.h"

#define BLAZEI_ERRORS(X)                                                                           \
	X(E2BIG, "Too big: beyond a stated limit, or an option field that this version does not "  \
	         "know")                                                                           \
	X(EACCES, "Permission denied: the files of this ring or database belong to others")        \
	X(EAGAIN, "Would block: nothing to read, or no room, and waiting was not asked for")       \
	X(EBADF, "The handle's file is closed or not open for this")                               \
	X(EBADMSG, "Invalid content: bytes from a peer, a file or a caller are damaged or are no " \
	           "message")                                                                      \
	X(EBUSY, "In use: something still depends on it, or it is open already")                   \
	X(ECANCELED, "Given up because it was asked to stop")                                      \
	X(ECHILD, "The handle belongs to the process that forked this one; open one here")         \
	X(EDEADLK, "Would wait for itself: a call that blocks, made inside a callback")            \
	X(EDOM, "A number outside the range that the operation is defined for")                    \
	X(EEXIST, "Exists already")                                                                \
	X(EFAULT, "An address that the system refuses")                                            \
	X(EFBIG, "A file would pass the size that the system allows")                              \
	X(EHOSTUNREACH, "Out of reach: no links lead from where it is to where it is wanted")      \
	X(EIDRM, "Removed: the ring's name was unlinked while this handle was attached")           \
	X(EINTR, "Interrupted by a signal handler; the call may be repeated")                      \
	X(EINVAL, "Invalid argument")                                                              \
	X(EIO, "Input or output failed in the system below")                                       \
	X(EISDIR, "A directory stands where a file was expected")                                  \
	X(ELOOP, "A symbolic link where none is followed")                                         \
	X(EMFILE, "This process has too many open files")                                          \
	X(EMLINK, "A file has more names than it should: its directory was tampered with")         \
	X(EMSGSIZE, "The record is longer than the lane or the receiver's buffer can take")        \
	X(ENAMETOOLONG, "The name or path is too long")                                            \
	X(ENFILE, "The system has too many open files")                                            \
	X(ENOBUFS, "The other side sends more than this one holds for it")                         \
	X(ENODEV, "No shared memory of the kind that is needed is mounted here")                   \
	X(ENOENT, "Does not exist")                                                                \
	X(ENOLCK, "The system has no locks left")                                                  \
	X(ENOMEM, "Out of memory")                                                                 \
	X(ENOSPC,                                                                                  \
	  "No space left: the disk, or /dev/shm is full; then smaller lane_bytes help, or "        \
	  "a larger /dev/shm")                                                                     \
	X(ENOSYS, "The kernel lacks a system call that is needed")                                 \
	X(ENOTDIR, "A file stands where a directory was expected")                                 \
	X(ENOTEMPTY, "There is something else in the directory")                                   \
	X(EOPNOTSUPP, "Not supported by this handle or this version")                              \
	X(EOVERFLOW, "A number does not fit the type that was asked for")                          \
	X(EPERM, "Not permitted: the files are not as this library makes them, or belong to "      \
	         "others")                                                                         \
	X(EPIPE, "The other side has gone")                                                        \
	X(EPROTO, "The shared memory, file or peer speaks another format or version")              \
	X(ERANGE, "The result does not fit the space given for it")                                \
	X(EROFS, "For reading only: opened so, or the medium is, or writing has failed")           \
	X(ESRCH, "The process or participant has gone")                                            \
	X(ESTALE, "Something was lost: the reader was overtaken by a lap or more")                 \
	X(ETIME, "The clocks are too far apart")                                                   \
	X(ETIMEDOUT, "Timed out")                                                                  \
	X(EUSERS, "The ring has no slot left: the greatest number of participants is attached")    \
	X(EXDEV, "The files do not share one file system")

static const struct {
	int code;
	const char *name;
	const char *text;
} errors[] = {
#define ERROR_ROW(code, text) { code, #code, text },
	BLAZEI_ERRORS(ERROR_ROW)
#undef ERROR_ROW
};

#define ERROR_COUNT (sizeof(errors) / sizeof(errors[0]))

/* The row of a code of either sign; ERROR_COUNT without one. */
static size_t error_find(int error)
{
	size_t i = 0;

	/* Rows are positive, so the most negative int, which has no opposite, matches none. */
	while (i < ERROR_COUNT && errors[i].code != error && -errors[i].code != error)
		i++;
	return i;
}

const char *blaze_strerror(int error)
{
	if (error == 0)
		return "Success";

	const size_t row = error_find(error);

	return row < ERROR_COUNT ? errors[row].text : "Unknown error";
}

const char *blaze_error_name(int error)
{
	const size_t row = error_find(error);

	return row < ERROR_COUNT ? errors[row].name : "?";
}

const char *blaze_version(void)
{
	return PACKAGE_VERSION;
}
