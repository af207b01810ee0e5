/* SPDX-License-Identifier: Apache-2.0 */
/* blazeshm: replicated record databases in shared memory. This header includes every family. */
#ifndef BLAZE_BLAZE_H
#define BLAZE_BLAZE_H

#include <blaze/base.h>
#include <blaze/conflicts.h>
#include <blaze/db.h>
#include <blaze/record.h>
#include <blaze/ring.h>
#include <blaze/store.h>
#include <blaze/topology.h>
#include <blaze/txn.h>
#include <blaze/watch.h>

#endif
