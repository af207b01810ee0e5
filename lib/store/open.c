/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing a store; see log.h.
 *
 * STATES of the root's `opened`
 *   closed -> durability of this opening   when recovery is through, before the first append
 *   that -> closed                         at a close that left nothing in memory
 *
 * INVARIANTS
 *   I1   The tail that the root names is removed only when all that it held is durable and the root
 *        says so, and only by the store that made it.
 *
 * FAILURE  An opening that fails leaves the store as it was, but for what it had written of the
 *        tail to the log: the next one finds the rest, and deletes the segments that were made and
 *        not named. */
#include <stdlib.h>

#include <blaze/db.h>
#include <blaze/topology.h>

#include "lib/store/checked.h"
#include "lib/store/closed.h"
#include "lib/store/file.h"
#include "lib/store/home.h"
#include "lib/store/log.h"
#include "lib/store/strays.h"
#include "lib/store/view.h"

#define BUFFER_MAX (UINT64_C(1) << 32)

static int root_make(struct blazei_store *store, uint32_t policy)
{
	struct blazei_root *root = store->root;
	int error = blazei_random(&root->store, sizeof(root->store));

	if (error == 0)
		error = blaze_id_new(&root->node);
	if (error != 0)
		return error;
	root->policy =
	        policy != BLAZE_POLICY_DEFAULT ? (uint16_t)policy : BLAZE_POLICY_SERVER_PRIORITY;
	root->next_segment = 1;
	return blazei_store_root_swap(store);
}

static int root_bad(const struct blazei_store *store, const char *what, int error)
{
	blazei_log(BLAZE_LOG_ERROR, "store %s: %s", store->location,
	           error == -EPROTO ? "a root of a later version" : what);
	return error;
}

static int root_load(struct blazei_store *store, uint32_t policy)
{
	int64_t len = store->ops->root_get(store->backend, store->root, BLAZEI_ROOT_BYTES_MAX,
	                                   &store->root_version);
	uint64_t segment;
	int error;

	if (len == -EBADMSG || len == -EMSGSIZE)
		return root_bad(store, "an empty root, or none", -EBADMSG);
	if (len < 0)
		return (int)len;
	if (len == 0) {
		/* Segments without a root: it was lost, and they are not to be passed over. */
		len = store->ops->segment_list(store->backend, &segment, 1);
		if (len > 0)
			return root_bad(store, "segments without a root", -EBADMSG);
		return len < 0 ? (int)len : root_make(store, policy);
	}
	error = blazei_root_check(store->root, (size_t)len);
	if (error != 0)
		return root_bad(store, "an invalid root", error);
	if (policy != BLAZE_POLICY_DEFAULT && store->root->policy != policy)
		error = -EINVAL;
	return error;
}

/* Makes the tail of this opening. Where there is no tmpfs it goes without: as durability sync. */
static int tail_make(struct blazei_store *store)
{
	static const struct blaze_id none;
	struct blazei_tail_name *name = &store->tail_name;
	const struct blazei_root *root = store->root;
	int error = blazei_random(&name->nonce, sizeof(name->nonce));

	if (error != 0)
		return error;
	name->home = store->home;
	name->turn = root->home == name->home ? 1 - root->tail_turn : 0;
	/* Who opens it next could not tell whether the system went down meanwhile. */
	error = blazei_id_equal(&none, &store->boot) ? -EACCES : 0;
	if (error == 0)
		error = blazei_tail_create(store->tail_dir, name, &root->store, store->tail_bytes,
		                           &store->tail);
	if (error == 0)
		return 0;
	if (error == -ENOSPC || error == -ENOMEM) {
		blazei_log(BLAZE_LOG_ERROR,
		           "store %s: /dev/shm has no room for a tail of %llu MiB; a larger one "
		           "helps, or durability sync",
		           store->location, (unsigned long long)(store->tail_bytes >> 20));
		return error;
	}
	blazei_log(BLAZE_LOG_WARNING, "store %s: no tail (%s): each write waits for the disk",
	           store->location, blaze_strerror(error));
	*name = (struct blazei_tail_name){ .nonce = 0 };
	store->durability = BLAZE_DURABILITY_SYNC;
	return 0;
}

/* Removes what openings before this one left under the store's two names: the last one's, and where
 * one was killed between making its tail and giving up the one before, both. */
static void tails_sweep(const struct blazei_store *store)
{
	struct blazei_tail_name name = { .home = store->home };

	for (name.turn = 0; name.turn < 2; name.turn++)
		if (store->tail.header == NULL || name.turn != store->tail_name.turn)
			blazei_tail_unlink(store->tail_dir, &name);
}

int blazei_store_begin(struct blazei_store *store, uint64_t incarnation)
{
	struct blazei_root *root = store->root;
	int error = 0;

	if (store->look) {
		store->pending.len = 0;
		store->durable = store->last;
		return 0;
	}
	if (root->segment_count == BLAZEI_ROOT_SEGMENTS_MAX) {
		blazei_log(BLAZE_LOG_ERROR,
		           "store %s: all of its %u segments are taken, it can only be read",
		           store->location, BLAZEI_ROOT_SEGMENTS_MAX);
		return -ENOSPC;
	}
	blazei_strays_sweep(store);
	root->incarnation = incarnation;
	/* What the tail held goes to the log while the root still names that tail. */
	if (store->last > store->durable)
		error = blazei_store_sync(store);
	/* Nobody has it yet, to be told that it is read-only: the opening ends with the reason. */
	if (error == -EROFS && store->failed != 0)
		error = store->failed;
	if (error == 0 && store->durability == BLAZE_DURABILITY_ASYNC)
		error = tail_make(store);
	if (error != 0)
		return error;
	root->boot = store->boot;
	root->tail_nonce = store->tail_name.nonce;
	root->home = store->home;
	root->tail_turn = (uint8_t)store->tail_name.turn;
	root->opened = (uint8_t)store->durability;
	error = blazei_store_root_swap(store);
	if (error == 0)
		tails_sweep(store);
	BLAZEI_TESTPOINT("store_begun");
	if (error == 0 && store->durability != BLAZE_DURABILITY_SYNC)
		error = blazei_store_flusher_start(store);
	return error;
}

static int store_init(struct blazei_store *store, const char *location,
                      const struct blazei_store_options *options)
{
	pthread_condattr_t monotonic;

	store->location = strdup(location);
	store->root = calloc(1, BLAZEI_ROOT_BYTES_MAX);
	store->firsts = calloc(BLAZEI_ROOT_SEGMENTS_MAX, sizeof(*store->firsts));
	store->tail_dir = options->tail_dir != NULL ? strdup(options->tail_dir) : NULL;
	store->pending.max = store->flight.max = BUFFER_MAX;
	store->chunk.max = store->frames.max = BUFFER_MAX;
	store->geometry.struct_size = sizeof(store->geometry);
	store->look = options->look;
	store->durability = options->durability;
	store->sync_interval_ns = options->sync_interval_ns != 0 ? options->sync_interval_ns
	                                                         : BLAZEI_SYNC_INTERVAL_NS;
	store->tail_bytes =
	        options->tail_bytes != 0 ? options->tail_bytes : BLAZEI_TAIL_BYTES_DEFAULT;
	store->on_failed = options->on_failed;
	store->arg = options->arg;
	if (options->boot != NULL)
		store->boot = *options->boot;
	else
		blazei_boot_id(&store->boot);
	pthread_mutex_init(&store->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&store->changed, &monotonic);
	pthread_cond_init(&store->work, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (store->location == NULL || store->root == NULL || store->firsts == NULL ||
	    (options->tail_dir != NULL && store->tail_dir == NULL))
		return -ENOMEM;
	return 0;
}

static void store_free(struct blazei_store *store)
{
	blazei_tail_close(&store->tail);
	pthread_cond_destroy(&store->changed);
	pthread_cond_destroy(&store->work);
	pthread_mutex_destroy(&store->lock);
	blazei_buffer_free(&store->pending);
	blazei_buffer_free(&store->flight);
	blazei_buffer_free(&store->chunk);
	blazei_buffer_free(&store->frames);
	blazei_packer_fini(&store->packer);
	free(store->firsts);
	free(store->root);
	free(store->tail_dir);
	free(store->location);
	free(store);
}

/* The process may change its directory, and others may move this one. */
static int location_fix(struct blazei_store *store, struct blazei_home *ret_home)
{
	char *absolute = realpath(store->location, NULL);

	if (absolute == NULL)
		return -errno;
	free(store->location);
	store->location = absolute;
	return blazei_home_find(absolute, ret_home);
}

/* Whether the store is as it was closed, and where; and whether it is a copy: then it is a node of
 * its own, which begin makes durable. */
static int home_check(struct blazei_store *store, const struct blazei_home *home, bool directory)
{
	static const struct blaze_id none;
	struct blazei_root *root = store->root;
	bool closed;

	store->home = blazei_home_number(home, &root->store);
	if (store->look)
		return 0;
	closed = directory && blazei_closed_take(store->location, root);
	store->resumes = closed && root->opened == 0 && !blazei_id_equal(&none, &store->boot) &&
	                 blazei_id_equal(&root->boot, &store->boot);
	if (root->home == 0 || root->home == store->home)
		return 0;
	blazei_log(BLAZE_LOG_WARNING,
	           "store %s: it was copied, or moved to another file system: it goes on as a "
	           "node of its own, a peer",
	           store->location);
	root->role = BLAZE_ROLE_PEER;
	return blaze_id_new(&root->node);
}

int blazei_store_open(const struct blaze_store_ops *ops, const char *location,
                      const struct blazei_store_options *options, struct blazei_store **ret_store)
{
	struct blazei_store *store = aligned_alloc(BLAZEI_CACHE_LINE, sizeof(*store));
	struct blazei_home home = { 0 };
	int error;

	if (store == NULL)
		return -ENOMEM;
	memset(store, 0, sizeof(*store));
	store->ops = &blazei_checked_ops;
	error = store_init(store, location, options);
	if (error == 0)
		error = blazei_checked_open(ops, location, &store->backend);
	if (error != 0) {
		store_free(store);
		return error;
	}
	error = store->ops->geometry(store->backend, &store->geometry);
	if (error == 0 && (ops == &blazei_file_ops || ops == &blazei_view_ops))
		error = location_fix(store, &home);
	if (error == 0)
		error = root_load(store, options->policy);
	if (error == 0)
		error = home_check(store, &home, ops == &blazei_file_ops);
	if (error != 0) {
		(void)blazei_store_close(store);
		return error;
	}
	*ret_store = store;
	return 0;
}

void blazei_store_resume_under(struct blazei_store *store, uint64_t incarnation)
{
	store->resume_under = incarnation;
}

/* All is durable: nothing of this opening is needed any more. */
static int close_cleanly(struct blazei_store *store)
{
	struct blazei_root *root = store->root;
	int error = blazei_store_end(store);

	root->opened = 0;
	if (store->resume_under != 0)
		root->incarnation = store->resume_under;
	if (error == 0)
		error = blazei_store_root_swap(store);
	if (error != 0)
		return error;
	if (store->resume_under != 0)
		blazei_closed_note(store->location, root);
	BLAZEI_TESTPOINT("store_ended");
	if (store->tail.header != NULL)
		blazei_tail_unlink(store->tail_dir, &store->tail_name);
	return 0;
}

int blazei_store_close(struct blazei_store *store)
{
	int error = 0;

	blazei_store_flusher_stop(store);
	if (store->recovered && !store->look)
		error = blazei_store_sync(store);
	if (store->recovered && !store->look && error == 0)
		error = close_cleanly(store);
	store->ops->close(store->backend);
	store_free(store);
	return error;
}
