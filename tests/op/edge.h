/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that ends where nothing may be read, so that a read beyond shows without a sanitizer. */
#ifndef TESTS_OP_EDGE_H
#define TESTS_OP_EDGE_H

#include <check.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Memory for up to a page of bytes, zeroed; for as long as the test runs. */
static inline void *edge_alloc(size_t len)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *pages =
	        mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(pages, MAP_FAILED);
	ck_assert_uint_le(len, page);
	ck_assert_int_eq(mprotect(pages + page, page, PROT_NONE), 0);
	return pages + page - len;
}

#endif
