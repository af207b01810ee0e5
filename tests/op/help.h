/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of values share: bytes from hex, exact copies, random values, the runner. */
#ifndef TESTS_OP_HELP_H
#define TESTS_OP_HELP_H

#include <check.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/op/buffer.h"
#include "lib/op/value.h"

/* Runs the tests as one suite and returns what main returns. */
int run_tests(const char *suite_name, const TTest *const *tests, size_t count);

/* The bytes that pairs of hexadecimal digits stand for; returns their number. */
size_t from_hex(const char *hex, uint8_t *ret_bytes, size_t cap);

/* blazei_value_check on a copy of exactly len bytes, so that a sanitizer sees a read beyond. */
int check_exact(const void *data, size_t len, enum blaze_type *ret_type);

struct random_source {
	uint64_t state;
};

/* The seed of BLAZE_SEED, or else of the clock; printed, so that a failure can be had again. */
struct random_source random_source_new(const char *test);

uint64_t random_bits(struct random_source *source);
/* 0 to below - 1. */
uint64_t random_below(struct random_source *source, uint64_t below);

/* Appends one random value, at most depth (0: no array or map) deep. */
void random_value(struct random_source *source, unsigned depth, struct blazei_buffer *out);

/* Appends up to len_max bytes of random text, as UTF-8 without NUL. Returns the bytes. */
size_t random_text(struct random_source *source, size_t len_max, struct blazei_buffer *out);

#endif
