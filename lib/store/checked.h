/* SPDX-License-Identifier: Apache-2.0 */
/* A backend, with all that it returns checked. See checked.c. */
#ifndef BLAZEI_CHECKED_H
#define BLAZEI_CHECKED_H

#include <blaze/store.h>

/* Opens a store of this backend; *ret_store is for blazei_checked_ops. -EBADMSG: the backend is
 * broken; -ENOMEM; what it says. */
int blazei_checked_open(const struct blaze_store_ops *ops, const char *location, void **ret_store);

/* Without an open of its own. */
extern const struct blaze_store_ops blazei_checked_ops;

#endif
