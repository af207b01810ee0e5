/* SPDX-License-Identifier: Apache-2.0 */
/* Test points: a named moment at which the environment says that this process shall die or stop.
 *
 * WHY    A crash test that kills at random moments rarely hits the few instructions that matter.
 *        The source names those moments; a test then dies exactly there. In a build without
 *        --enable-testpoints nothing of this exists.
 *
 * BLAZE_TESTPOINT  "name=action" or "name=action:N": at the N-th pass (the first without N) of the
 *        point `name`, action kill is SIGKILL, stop is SIGSTOP, exit is _exit(86). Text of another
 *        form ends the process with _exit(87) at the first test point of any name, so that a slip
 *        in a test cannot look like success. Each process reads it once: a forked child anew, as
 *        its parent may have passed a test point before it set what the child is to do. */
#include "lib/base/base.h"

#ifdef BLAZE_TESTPOINTS

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define NAME_BYTES_MAX 64
#define EXIT_ASKED     86
#define EXIT_MALFORMED 87

enum action {
	ACTION_NONE,
	ACTION_KILL,
	ACTION_STOP,
	ACTION_EXIT,
	ACTION_MALFORMED
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char wanted[NAME_BYTES_MAX];
static enum action action;
static unsigned long wanted_pass;
static _Atomic unsigned long passes;

static enum action action_named(const char *name, size_t len)
{
	if (len == 4 && memcmp(name, "kill", 4) == 0)
		return ACTION_KILL;
	if (len == 4 && memcmp(name, "stop", 4) == 0)
		return ACTION_STOP;
	if (len == 4 && memcmp(name, "exit", 4) == 0)
		return ACTION_EXIT;
	return ACTION_MALFORMED;
}

/* In a forked child, before anything else runs there. */
static void forget(void)
{
	static const pthread_once_t never = PTHREAD_ONCE_INIT;

	once = never;
	action = ACTION_NONE;
	memset(wanted, 0, sizeof(wanted));
	/* Relaxed: there is no other thread. */
	atomic_store_explicit(&passes, 0, memory_order_relaxed);
}

static void environment_read(void)
{
	const char *text = getenv("BLAZE_TESTPOINT");
	static bool known;

	if (!known)
		(void)pthread_atfork(NULL, NULL, forget);
	known = true;
	if (text == NULL || *text == '\0')
		return;

	const char *equals = strchr(text, '=');

	action = ACTION_MALFORMED;
	if (equals == NULL || equals == text || (size_t)(equals - text) >= sizeof(wanted))
		return;
	memcpy(wanted, text, (size_t)(equals - text));

	const char *name = equals + 1;
	const size_t len = strcspn(name, ":");

	wanted_pass = 1;
	if (name[len] == ':') {
		char *end;

		wanted_pass = strtoul(name + len + 1, &end, 10);
		if (name[len + 1] == '\0' || *end != '\0' || wanted_pass == 0)
			return;
	}
	action = action_named(name, len);
}

void blazei_testpoint(const char *name)
{
	pthread_once(&once, environment_read);
	if (action == ACTION_MALFORMED)
		_exit(EXIT_MALFORMED);
	if (action == ACTION_NONE || strcmp(name, wanted) != 0)
		return;
	/* Relaxed: counts, and orders nothing. */
	if (atomic_fetch_add_explicit(&passes, 1, memory_order_relaxed) + 1 != wanted_pass)
		return;
	if (action == ACTION_EXIT)
		_exit(EXIT_ASKED);
	kill(getpid(), action == ACTION_KILL ? SIGKILL : SIGSTOP);
}

#endif
