/* SPDX-License-Identifier: Apache-2.0 */
/* The backend "file:" for those who only look: no lock is taken, nothing is written. See view.c. */
#ifndef BLAZEI_VIEW_H
#define BLAZEI_VIEW_H

#include <blaze/store.h>

extern const struct blaze_store_ops blazei_view_ops;

/* Whether there is a store in this directory: 0; -ENOENT; another error of the system. */
int blazei_view_there(const char *location);

#endif
