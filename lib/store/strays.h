/* SPDX-License-Identifier: Apache-2.0 */
/* Segments that the root does not name. See strays.c. */
#ifndef BLAZEI_STRAYS_H
#define BLAZEI_STRAYS_H

#include "lib/store/log.h"

/* Looks at them, and changes nothing. -EBADMSG: *ret_segment has what the root does not know of, as
 * far as it was read; -ESTALE who only looks has to read the root anew; -ENOMEM; errors of the
 * backend's list. */
int blazei_strays_check(struct blazei_store *store, uint64_t *ret_segment);

/* Deletes those that nothing depends on, and has new segments pass over the rest; without an error,
 * as the log does not need it. Of who opens to write, once the log is read. */
void blazei_strays_sweep(struct blazei_store *store);

#endif
