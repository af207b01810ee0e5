/* SPDX-License-Identifier: Apache-2.0 */
/* The socket of a private lane, the thread that listens, and what a fork does; see lane.h. */
#include "lib/db/lane.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/db/db.h"
#include "lib/store/home.h"
#include "lib/store/log.h"

#define BACKLOG         16
#define BREATH_MS       100 /* where the process has no descriptors left */
#define REFUSE_PATIENCE 0

/* All of this process: attach lock. */
static struct blazei_lane *lanes;

/* Descriptors -------------------------------------------------------------------------------- */

static void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* In a forked child, which has the attach lock from the fork on: nobody changes the list. */
static void child_reset(void)
{
	for (struct blazei_lane *lane = lanes; lane != NULL; lane = lane->next) {
		fd_close(&lane->listener);
		fd_close(&lane->stop);
		fd_close(&lane->dir);
		for (unsigned i = 0; i < BLAZEI_LANE_CLIENTS_MAX; i++)
			fd_close(&lane->clients[i].fd);
	}
	lanes = NULL;
}

static struct blazei_lane *lane_new(struct blaze_db *db)
{
	struct blazei_lane *lane = calloc(1, sizeof(*lane));

	if (lane == NULL)
		return NULL;
	lane->db = db;
	lane->dir = lane->listener = lane->stop = -1;
	atomic_init(&lane->patience_ns, BLAZEI_LANE_PATIENCE_NS);
	for (unsigned i = 0; i < BLAZEI_LANE_CLIENTS_MAX; i++) {
		lane->clients[i].lane = lane;
		lane->clients[i].fd = -1;
	}
	blazei_attach_lock();
	lane->next = lanes;
	lanes = lane;
	blazei_attach_unlock();
	return lane;
}

static void lane_free(struct blazei_lane *lane)
{
	struct blazei_lane **at = &lanes;

	blazei_attach_lock();
	while (*at != lane)
		at = &(*at)->next;
	*at = lane->next;
	fd_close(&lane->listener);
	fd_close(&lane->stop);
	fd_close(&lane->dir);
	blazei_attach_unlock();
	free(lane);
}

/* Clients ------------------------------------------------------------------------------------ */

static void *client_main(void *arg)
{
	struct blazei_lane_client *client = arg;
	struct blazei_lane *lane = client->lane;
	const struct blazei_lane_io io = {
		.fd = client->fd,
		.stop = lane->stop,
		/* Relaxed: a number of its own, which only tests change. */
		.patience_ns = atomic_load_explicit(&lane->patience_ns, memory_order_relaxed),
	};

	blazei_lane_serve(lane->db, &io);
	blazei_attach_lock();
	fd_close(&client->fd);
	blazei_attach_unlock();
	/* Release: pairs with the acquire in slot_find, which joins it. */
	atomic_store_explicit(&client->over, true, memory_order_release);
	return NULL;
}

/* A place for a client, or NULL. */
static struct blazei_lane_client *slot_find(struct blazei_lane *lane)
{
	for (unsigned i = 0; i < BLAZEI_LANE_CLIENTS_MAX; i++) {
		struct blazei_lane_client *client = &lane->clients[i];

		if (client->there && atomic_load_explicit(&client->over, memory_order_acquire)) {
			pthread_join(client->thread, NULL);
			client->there = false;
		}
		if (!client->there)
			return client;
	}
	return NULL;
}

/* Whether the process at the other end is of this user, or root's. */
static int peer_check(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return -errno;
	return peer.uid == 0 || peer.uid == geteuid() ? 0 : -EACCES;
}

/* Has a thread serve it; the attach lock is held. */
static int client_start(struct blazei_lane *lane, int fd)
{
	struct blazei_lane_client *client = slot_find(lane);
	int error = client != NULL ? peer_check(fd) : -EBUSY;

	if (error != 0)
		return error;
	client->fd = fd;
	/* Relaxed: the thread starts behind it. */
	atomic_store_explicit(&client->over, false, memory_order_relaxed);
	error = blazei_thread_start(&client->thread, client_main, client);
	if (error != 0)
		client->fd = -1;
	client->there = error == 0;
	return error;
}

/* False: there are no descriptors, or no memory, for one more just now. */
static bool client_accept(struct blazei_lane *lane)
{
	struct blazei_lane_io io = { .stop = -1, .patience_ns = REFUSE_PATIENCE };
	bool room = true;
	int error = 0;

	blazei_attach_lock();
	io.fd = accept4(lane->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (io.fd < 0)
		room = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
	else
		error = client_start(lane, io.fd);
	if (error != 0) {
		blazei_lane_refuse(&io, error);
		close(io.fd);
	}
	blazei_attach_unlock();
	return room;
}

static void *lane_main(void *arg)
{
	struct blazei_lane *lane = arg;
	bool room = true;

	for (;;) {
		struct pollfd fds[2] = { { .fd = lane->stop, .events = POLLIN },
			                 { .fd = lane->listener, .events = POLLIN } };
		const int rc = poll(fds, room ? 2 : 1, room ? -1 : BREATH_MS);

		if (rc > 0 && fds[0].revents != 0)
			return NULL;
		room = rc <= 0 || !room || client_accept(lane);
	}
}

/* The socket --------------------------------------------------------------------------------- */

/* Opens the directory that the store has, and no other that has its name by now. */
static int dir_open(struct blazei_lane *lane)
{
	const struct blazei_store *store = lane->db->store;
	struct blazei_home home;
	int error;

	blazei_attach_lock();
	lane->dir = open(store->location, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	blazei_attach_unlock();
	error = lane->dir < 0 ? -errno : blazei_home_of(lane->dir, &home);
	if (error != 0)
		return error;
	return blazei_home_number(&home, &store->root->store) == store->home ? 0 : -ESTALE;
}

/* Removes what one that crashed left; what is no socket is somebody's. */
static int stale_remove(int dir)
{
	struct stat status;

	if (fstatat(dir, BLAZEI_LANE_FILE, &status, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(status.st_mode))
		return -EEXIST;
	return unlinkat(dir, BLAZEI_LANE_FILE, 0) == 0 ? 0 : -errno;
}

static int descriptors_make(struct blazei_lane *lane)
{
	int error = 0;

	blazei_attach_lock();
	lane->stop = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (lane->stop >= 0)
		lane->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (lane->listener < 0)
		error = -errno;
	blazei_attach_unlock();
	return error;
}

/* The name leads through the directory's descriptor: it is short, and the directory's own whatever
 * became of its path. Nobody is answered before `listen`, and so with another mode. */
static int socket_make(struct blazei_lane *lane)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int error = dir_open(lane);

	if (error == 0)
		error = stale_remove(lane->dir);
	if (error == 0)
		error = descriptors_make(lane);
	if (error != 0)
		return error;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" BLAZEI_LANE_FILE,
	         lane->dir);
	if (bind(lane->listener, (const struct sockaddr *)&address, sizeof(address)) != 0)
		return -errno;
	if (fchmodat(lane->dir, BLAZEI_LANE_FILE, 0600, 0) != 0 ||
	    listen(lane->listener, BACKLOG) != 0) {
		error = -errno;
		(void)unlinkat(lane->dir, BLAZEI_LANE_FILE, 0);
	}
	return error;
}

void blazei_lane_start(struct blaze_db *db)
{
	struct blazei_lane *lane;
	int error;

	if (!db->in_directory || (db->flags & (BLAZE_DB_READ_ONLY | BLAZE_DB_MANUAL)) != 0)
		return;
	lane = blazei_fork_on_child(child_reset) == 0 ? lane_new(db) : NULL;
	error = lane != NULL ? socket_make(lane) : -ENOMEM;
	if (error == 0) {
		error = blazei_thread_start(&lane->thread, lane_main, lane);
		if (error != 0)
			(void)unlinkat(lane->dir, BLAZEI_LANE_FILE, 0);
	}
	if (error == 0) {
		db->lane = lane;
		return;
	}
	if (lane != NULL)
		lane_free(lane);
	blazei_log(BLAZE_LOG_INFO, "database %s: no lane for blaze-db in %s: %s", db->name,
	           db->store->location, blaze_strerror(error));
}

void blazei_lane_stop(struct blaze_db *db)
{
	const uint64_t one = 1;
	struct blazei_lane *lane = db->lane;

	if (lane == NULL)
		return;
	(void)unlinkat(lane->dir, BLAZEI_LANE_FILE, 0);
	/* Relaxed: a flag and no more. What else compacts is started again where it is due. */
	atomic_store_explicit(&db->compaction.stop, true, memory_order_relaxed);
	/* It was never written to, so there is room. Nobody reads it: it stays readable to all. */
	while (write(lane->stop, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(lane->thread, NULL);
	for (unsigned i = 0; i < BLAZEI_LANE_CLIENTS_MAX; i++) {
		if (lane->clients[i].there)
			pthread_join(lane->clients[i].thread, NULL);
	}
	atomic_store_explicit(&db->compaction.stop, false, memory_order_relaxed);
	lane_free(lane);
	db->lane = NULL;
}
