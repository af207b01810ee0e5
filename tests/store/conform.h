/* SPDX-License-Identifier: Apache-2.0 */
/* What every backend of a store has to do, as tests: see conform.c. */
#ifndef TESTS_STORE_CONFORM_H
#define TESTS_STORE_CONFORM_H

#include <check.h>

#include <blaze/store.h>

struct conform_subject {
	const char *name;
	const struct blaze_store_ops *ops;
	/* Gives a location where nothing is yet; and takes away what was left there. */
	void (*fresh)(char ret_location[256]);
	void (*clear)(const char *location);
};

/* Adds all tests, each for every subject. The array stays as it is. */
void conform_add(Suite *suite, const struct conform_subject *subjects, int count);

#endif
