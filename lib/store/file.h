/* SPDX-License-Identifier: Apache-2.0 */
/* The backend "file:": a directory, written with pwrite and fdatasync. See file.c. */
#ifndef BLAZEI_FILE_H
#define BLAZEI_FILE_H

#include "lib/store/backend.h"

extern const struct blaze_store_ops blazei_file_ops;

#endif
