/* SPDX-License-Identifier: Apache-2.0 */
/* The backend "file:": a directory, written with pwrite and fdatasync. See file.c. */
#ifndef BLAZEI_FILE_H
#define BLAZEI_FILE_H

#include <inttypes.h>

#include <blaze/store.h>

/* How a store lies in its directory: file.c. */
#define BLAZEI_FILE_BLOCK_BYTES   4096u
#define BLAZEI_FILE_SEGMENT_BYTES (UINT64_C(64) << 20)
#define BLAZEI_FILE_ROOT_BYTES    (UINT64_C(64) << 10)
#define BLAZEI_FILE_SEGMENT_NAME  "%016" PRIx64 ".seg"
#define BLAZEI_FILE_NAME_BYTES    (16 + sizeof(".seg"))

extern const struct blaze_store_ops blazei_file_ops;

#endif
