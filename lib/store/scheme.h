/* SPDX-License-Identifier: Apache-2.0 */
/* The backends that this process knows, by scheme. See scheme.c. */
#ifndef BLAZEI_SCHEME_H
#define BLAZEI_SCHEME_H

#include <blaze/store.h>

/* The backend of a URI, which stays valid for good, and the location in it. A URI without a colon
 * before its first slash is a path, of "file:". -EOPNOTSUPP: nobody registered the scheme. */
int blazei_store_find(const char *uri, const struct blaze_store_ops **ret_ops,
                      const char **ret_location);

#endif
