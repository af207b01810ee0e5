/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers at random, the same again for the same seed: the clock's, or BLAZE_TEST_SEED. */
#ifndef TESTS_REPL_RANDOM_H
#define TESTS_REPL_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t random_state;

static inline unsigned random_below(unsigned n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned)(random_state >> 33) % n;
}

/* Prints the seed, so that a failure can be had again. */
static inline void random_seed(void)
{
	const char *text = getenv("BLAZE_TEST_SEED");

	random_state = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
	printf("BLAZE_TEST_SEED=%llu\n", (unsigned long long)random_state);
	fflush(stdout);
}

#endif
