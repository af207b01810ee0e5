/* SPDX-License-Identifier: Apache-2.0 */
/* What a fuzz target is, and what all of them share.
 *
 * WHY    Two drivers run the same targets. libFuzzer, with --enable-fuzzing, searches for new
 *        inputs: tests/fuzz/fuzz_txn DIRECTORY. The plain one (driver.c) is part of make check: it
 *        runs the corpus, then inputs that the target makes itself and that are damaged in a few
 *        places, for a bounded number of rounds.
 *
 *        A corpus is one text file, tests/data/fuzz/TARGET.hex, an input per line; the plain driver
 *        turns it into a directory and back (--unpack, --pack). The gate `corpora` measures how
 *        much of the decoders it reaches. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/op/help.h"

/* The target's name: its corpus is called so. */
extern const char fuzz_name[];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Appends a valid input. Only the plain driver asks for it. */
void fuzz_make(struct random_source *source, struct blazei_buffer *out);

/* What stands on standard error when the process is aborted: the input, to be had again. */
static inline void must(bool truth, const char *what, const uint8_t *data, size_t size)
{
	if (truth)
		return;
	fprintf(stderr, "%s: %s:", fuzz_name, what);
	for (size_t i = 0; i < size; i++)
		fprintf(stderr, " %02x", data[i]);
	fprintf(stderr, "\n");
	abort();
}

/* What an assertion would say beyond its expression. */
static inline void unsaid(const char *format, ...)
{
	(void)format;
}

/* The replica tests' harness asserts by Check, which does not run here: all its assertions come
 * down to this one. */
#undef ck_assert_msg
#define ck_assert_msg(expr, ...) (must(expr, #expr, NULL, 0), unsaid(__VA_ARGS__))

#endif
