/* SPDX-License-Identifier: Apache-2.0 */
/* XXH3, compiled into each caller: on the short inputs of this library a call costs as much as the
 * hash itself. */
#ifndef BLAZEI_HASH_H
#define BLAZEI_HASH_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#endif
