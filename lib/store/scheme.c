/* SPDX-License-Identifier: Apache-2.0 */
/* The table of backends.
 *
 * INVARIANT  An entry that `count` covers never changes and never goes. So what was found may be
 *            used without the lock, for as long as the process lives.
 *
 * CONCURRENCY  The attach lock guards the table: a fork never leaves it behind locked. */
#include "lib/store/scheme.h"

#include "lib/base/base.h"
#include "lib/store/file.h"
#include "lib/store/mem.h"

#define SCHEMES_MAX 32u
#define SCHEME_MIN  2u
#define SCHEME_MAX  16u

struct scheme {
	char name[SCHEME_MAX + 1];
	struct blaze_store_ops ops;
};

static struct scheme schemes[SCHEMES_MAX]; /* of programs; attach lock */
static unsigned count;                     /* attach lock */

static bool name_valid(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
	size_t len = strnlen(name, SCHEME_MAX + 1);

	return len >= SCHEME_MIN && len <= SCHEME_MAX && strchr(letters, name[0]) != NULL &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == len;
}

/* The backend of this name, len bytes long; NULL. */
static const struct blaze_store_ops *ops_find(const char *name, size_t len)
{
	if (len == 4 && memcmp(name, "file", 4) == 0)
		return &blazei_file_ops;
	if (len == 3 && memcmp(name, "mem", 3) == 0)
		return &blazei_mem_ops;
	for (unsigned i = 0; i < count; i++)
		if (strlen(schemes[i].name) == len && memcmp(schemes[i].name, name, len) == 0)
			return &schemes[i].ops;
	return NULL;
}

static int ops_check(const struct blaze_store_ops *ops)
{
	if (ops->interface != BLAZE_STORE_INTERFACE)
		return -EPROTO;
	if (ops->open == NULL || ops->close == NULL || ops->geometry == NULL ||
	    ops->segment_create == NULL || ops->segment_seal == NULL || ops->segment_read == NULL ||
	    ops->segment_delete == NULL || ops->segment_list == NULL || ops->root_get == NULL ||
	    ops->root_swap == NULL || ops->submit == NULL || ops->poll == NULL)
		return -EINVAL;
	return 0;
}

int blaze_store_register(const char *scheme, const struct blaze_store_ops *ops)
{
	struct blaze_store_ops known;
	int error;

	if (scheme == NULL || ops == NULL || !name_valid(scheme))
		return -EINVAL;
	error = blazei_options_read(ops, sizeof(known), &known);
	if (error == 0)
		error = ops_check(&known);
	if (error == 0)
		error = blazei_fork_init();
	if (error != 0)
		return error;
	blazei_attach_lock();
	if (ops_find(scheme, strlen(scheme)) != NULL) {
		error = -EEXIST;
	} else if (count == SCHEMES_MAX) {
		error = -ENOSPC;
	} else {
		strcpy(schemes[count].name, scheme);
		schemes[count].ops = known;
		count++;
	}
	blazei_attach_unlock();
	return error;
}

int blazei_store_find(const char *uri, const struct blaze_store_ops **ret_ops,
                      const char **ret_location)
{
	size_t len = strcspn(uri, ":/");
	const struct blaze_store_ops *ops;

	if (uri[len] != ':') {
		*ret_ops = &blazei_file_ops;
		*ret_location = uri;
		return 0;
	}
	blazei_attach_lock();
	ops = ops_find(uri, len);
	blazei_attach_unlock();
	if (ops == NULL)
		return -EOPNOTSUPP;
	*ret_ops = ops;
	*ret_location = uri + len + 1;
	return 0;
}
