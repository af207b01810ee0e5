/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the private lane share: a program that holds a database, and does what it is
 * told by a pipe. */
#ifndef TESTS_DB_LANE_H
#define TESTS_DB_LANE_H

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/db/lane.h"
#include "lib/db/lane_client.h"
#include "tests/base/child.h"
#include "tests/db/stored.h"

struct holder {
	pid_t pid;
	int to;
	int from;
};

/* What it may be told; it answers each with a byte, 0 where all is well. */
enum order {
	CLOSE = 'c', /* closes and ends */
	FORK = 'f',  /* has a child that sleeps until it is killed, and tells its id */
	BUSY = 'b',  /* tries to close with a watch of its own, which is -EBUSY; and stops that */
	WRITE = 'w', /* sets a field of record 1 */
};

static inline struct blaze_id lane_id(uint64_t n)
{
	struct blaze_id id = { { 1 } };

	for (unsigned i = 0; i < 8; i++)
		id.bytes[15 - i] = (uint8_t)(n >> 8 * i);
	return id;
}

static inline void lane_on_nothing(void *arg, const struct blaze_watch_event *event)
{
	(void)arg;
	(void)event;
}

static inline int holder_busy(struct blaze_db *db)
{
	struct blaze_watch *watch;
	int error;

	if (blaze_db_watch(db, NULL, lane_on_nothing, NULL, &watch) != 0)
		return 1;
	error = blaze_db_close(db);
	blaze_watch_stop(watch);
	return error == -EBUSY ? 0 : 1;
}

static inline int holder_write(struct blaze_db *db)
{
	static int64_t value;
	struct blaze_id id = lane_id(1);
	struct blaze_record *record = record_of("held", ++value);
	int error = blaze_db_upsert(db, &id, record);

	blaze_record_free(record);
	return error == 0 ? 0 : 1;
}

static inline void holder_main(unsigned number, uint32_t durability, uint32_t flags, int in,
                               int out)
{
	struct blaze_db_options options = BLAZE_DB_OPTIONS_INIT;
	struct blaze_db *db;
	char order = 0, answer = 0;
	pid_t pid;

	options.durability = durability;
	options.flags = flags;
	if (blaze_db_open("lane", stored_path(number), &options, &db) != 0)
		_exit(2);
	while (write(out, &answer, 1) == 1 && read(in, &order, 1) == 1 && order != CLOSE) {
		if (order == FORK) {
			pid = fork();
			while (pid == 0)
				pause();
			answer = write(out, &pid, sizeof(pid)) == (ssize_t)sizeof(pid) ? 0 : 1;
		} else if (order == BUSY) {
			answer = (char)holder_busy(db);
		} else {
			answer = (char)holder_write(db);
		}
	}
	_exit(blaze_db_close(db) == 0 ? 0 : 3);
}

static inline void holder_answer(const struct holder *holder)
{
	char answer = 1;

	ck_assert_int_eq(read(holder->from, &answer, 1), 1);
	ck_assert_int_eq(answer, 0);
}

static inline struct holder holder_start_with(unsigned number, uint32_t durability, uint32_t flags)
{
	struct holder holder;
	int to[2], from[2];

	ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
	holder.pid = child_fork();
	ck_assert_int_ge(holder.pid, 0);
	if (holder.pid == 0) {
		close(to[1]);
		close(from[0]);
		holder_main(number, durability, flags, to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	holder.to = to[1];
	holder.from = from[0];
	holder_answer(&holder);
	return holder;
}

static inline struct holder holder_start(unsigned number)
{
	return holder_start_with(number, BLAZE_DURABILITY_SYNC, 0);
}

static inline void holder_tell(const struct holder *holder, char order)
{
	ck_assert_int_eq(write(holder->to, &order, 1), 1);
}

/* Its status, which is that of a clean end, or a signal. */
static inline void holder_reap(const struct holder *holder, int signal)
{
	int status = 0;

	ck_assert_int_eq(waitpid(holder->pid, &status, 0), holder->pid);
	if (signal != 0)
		ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == signal);
	else
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
	close(holder->to);
	close(holder->from);
}

static inline void holder_close(const struct holder *holder)
{
	holder_tell(holder, CLOSE);
	holder_reap(holder, 0);
}

static inline void holder_kill(const struct holder *holder)
{
	ck_assert_int_eq(kill(holder->pid, SIGKILL), 0);
	holder_reap(holder, SIGKILL);
}

static inline struct blazei_lane_caller *lane_connect(unsigned number)
{
	struct blazei_lane_caller *caller = NULL;

	ck_assert_int_eq(blazei_lane_connect(stored_path(number), NULL, NULL, &caller), 0);
	return caller;
}

static inline void lane_set(struct blazei_lane_caller *caller, uint64_t n, int64_t value)
{
	struct blaze_id id = lane_id(n);
	struct blaze_record *record = record_of("n", value);

	ck_assert_int_eq(blazei_lane_upsert(caller, &id, record), 0);
	blaze_record_free(record);
}

static inline bool lane_there(unsigned number)
{
	struct stat status;
	char path[100];

	snprintf(path, sizeof(path), "%s/lane", stored_path(number));
	return lstat(path, &status) == 0;
}

#endif
