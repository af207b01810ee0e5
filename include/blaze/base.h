/* SPDX-License-Identifier: Apache-2.0 */
/* What every family shares: export marks, time, ids, errors, the log hook.
 *
 * Everywhere: an int result is 0 or a count, else a negative errno value. Times are uint64_t
 * nanoseconds; a timeout of 0 polls and BLAZE_FOREVER waits. Outputs named ret_ are not touched
 * when a call fails. Option structs start with struct_size and have an _INIT macro; zero in a
 * field is its default and a NULL option pointer means all defaults; a non-zero byte beyond the
 * fields that this library knows is -E2BIG. The macros name every field by its place, so that C++
 * takes them without a warning. */
#ifndef BLAZE_BASE_H
#define BLAZE_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BLAZE_EXPORT __attribute__((visibility("default")))

/* As a timeout: wait without a limit. */
#define BLAZE_FOREVER UINT64_MAX

/* A 128-bit id, in the byte order of its text form (RFC 9562). */
struct blaze_id {
	uint8_t bytes[16];
};

/* Makes a new UUIDv7: 48 bits of Unix milliseconds, then random bits. Ids made by one process
 * ascend. Any thread; does not block. Returns 0, or -EIO when the system gives no randomness. */
BLAZE_EXPORT int blaze_id_new(struct blaze_id *ret_id);

/* Reads the 36-character text form, upper or lower case. Returns 0, or -EINVAL for NULL or for
 * anything else, trailing bytes included. Any thread. */
BLAZE_EXPORT int blaze_id_parse(const char *text, struct blaze_id *ret_id);

/* Writes the lower-case text form and its terminating NUL. Any thread. */
BLAZE_EXPORT void blaze_id_format(const struct blaze_id *id, char ret_text[37]);

/* One sentence for an error that this library returned; the sign of `error` does not matter.
 * The text is static. Unknown codes get "Unknown error". Any thread. */
BLAZE_EXPORT const char *blaze_strerror(int error);

/* The symbolic name of an error, "EAGAIN" for -EAGAIN; "?" when the library never returns it. */
BLAZE_EXPORT const char *blaze_error_name(int error);

/* The version of the library that runs, "0.1.0". */
BLAZE_EXPORT const char *blaze_version(void);

enum blaze_log_level {
	BLAZE_LOG_ERROR,
	BLAZE_LOG_WARNING,
	BLAZE_LOG_INFO,
};

/* Receives one line without a newline, valid during the call. May be called from any thread of
 * the library, and must not call back into it. */
typedef void (*blaze_log_hook)(void *arg, enum blaze_log_level level, const char *line);

/* Sets the process's log hook; NULL, the default, drops every line: the library never prints. */
BLAZE_EXPORT void blaze_log_set(blaze_log_hook hook, void *arg);

#ifdef __cplusplus
}
#endif

#endif
