/* SPDX-License-Identifier: Apache-2.0 */
/* The process's log hook: the only voice that the library has.
 *
 * WHY    A library that prints takes a stream that is its host's. Lines go to a function that the
 *        host names, or nowhere. blaze_log_set waits for calls of the former hook to end, so that
 *        its argument may be freed afterwards; calls do not wait for each other.
 *
 * INVARIANTS
 *    I1  A hook is called with the argument that was set together with it.
 *    I2  After blaze_log_set has returned, the former hook is not running and does not run again.
 *    I3  A line has no control characters, whatever a peer's name or a file's bytes brought in.
 *
 * CONCURRENCY  hook_lock is held for reading around each call of the hook, and for writing by
 *        blaze_log_set. A forked child makes it anew: another thread of the parent may have held
 *        it. */
#include "lib/base/base.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#define LINE_BYTES 240

static pthread_rwlock_t hook_lock = PTHREAD_RWLOCK_INITIALIZER;
static blaze_log_hook hook;
static void *hook_arg;
/* Whether a hook is set: spares everyone else the formatting. */
static _Atomic bool hook_set;

static void forked_child(void)
{
	pthread_rwlock_init(&hook_lock, NULL);
}

void blaze_log_set(blaze_log_hook new_hook, void *arg)
{
	/* Without memory for a fork handler only a child forked during a log call is worse off. */
	(void)blazei_fork_on_child(forked_child);
	pthread_rwlock_wrlock(&hook_lock);
	hook = new_hook;
	hook_arg = arg;
	/* Relaxed: a hint; who finds it set reads the pair under the lock. */
	atomic_store_explicit(&hook_set, new_hook != NULL, memory_order_relaxed);
	pthread_rwlock_unlock(&hook_lock);
}

static void line_clean(char *line)
{
	for (; *line != '\0'; line++) {
		if ((unsigned char)*line < 0x20 || *line == 0x7f)
			*line = '?';
	}
}

void blazei_log(enum blaze_log_level level, const char *format, ...)
{
	char line[LINE_BYTES + 1];
	va_list args;

	/* Relaxed: a hint, as above. */
	if (!atomic_load_explicit(&hook_set, memory_order_relaxed))
		return;
	va_start(args, format);
	const int len = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (len < 0)
		return;
	line_clean(line);

	/* Relaxed: only a fork by this very thread, in the hook, could change it. */
	const uint32_t generation =
	        atomic_load_explicit(&blazei_fork_generation, memory_order_relaxed);

	pthread_rwlock_rdlock(&hook_lock);
	if (hook != NULL)
		hook(hook_arg, level, line);
	/* In a child that the hook forked the lock is new, and not held. */
	if (!blazei_forked_since(generation))
		pthread_rwlock_unlock(&hook_lock);
}
