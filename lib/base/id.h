/* SPDX-License-Identifier: Apache-2.0 */
/* The pure part of making ids, shown so that tests can turn its clock. */
#ifndef BLAZEI_ID_H
#define BLAZEI_ID_H

#include <stdint.h>

/* A stamp: 48 bits of Unix milliseconds, then 12 bits that count within one of them. The stamp
 * that follows `last`: of now_ms, its counter beginning at the low 11 bits of `random`, where the
 * clock has moved on; else last + 1. Always above last. */
uint64_t blazei_id_stamp_next(uint64_t last, uint64_t now_ms, uint32_t random);

#endif
