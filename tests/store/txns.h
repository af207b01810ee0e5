/* SPDX-License-Identifier: Apache-2.0 */
/* Real transactions for the log, one after the other of one replica, as long as a test says. */
#ifndef TESTS_STORE_TXNS_H
#define TESTS_STORE_TXNS_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <blaze/db.h>

#include "lib/op/buffer.h"
#include "lib/repl/replica.h"

/* Each puts a value of length(i), at most len_max, bytes. */
static inline void txns_make(struct blazei_buffer *txns, unsigned count, size_t len_max,
                             size_t (*length)(unsigned number))
{
	const struct blazei_replica_options options = { .policy = BLAZE_POLICY_LWW };
	struct blazei_replica *replica;
	uint8_t *value = malloc(len_max);

	ck_assert_ptr_nonnull(value);
	ck_assert_int_eq(blazei_replica_new(&options, &replica), 0);
	for (unsigned i = 0; i < count; i++) {
		struct blaze_id id = { { 1, (uint8_t)i, (uint8_t)(i >> 8) } };
		struct blazei_write write = { .kind = BLAZEI_WRITE_PUT, .id = &id, .value = value };
		struct blazei_txn_view view;

		write.len = length(i);
		memset(value, (int)i, write.len);
		ck_assert_int_eq(blazei_replica_write(replica, 1 + i, &write, &view), 0);
		txns[i].len = 0;
		txns[i].max = 2 * len_max + (1 << 20);
		ck_assert_int_eq(blazei_buffer_append(&txns[i], view.data, view.len), 0);
	}
	blazei_replica_free(replica);
	free(value);
}

#endif
