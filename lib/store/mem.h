/* SPDX-License-Identifier: Apache-2.0 */
/* The backend "mem:": a store in the memory of the process. See mem.c. */
#ifndef BLAZEI_MEM_H
#define BLAZEI_MEM_H

#include <blaze/store.h>

extern const struct blaze_store_ops blazei_mem_ops;

#endif
