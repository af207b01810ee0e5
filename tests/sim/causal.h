/* SPDX-License-Identifier: Apache-2.0 */
/* The second check of promise P3: from who had seen what, without K.
 *
 * WHY    The reference and the library could agree on a stamp that is wrong. So this looks at
 *        neither E nor H: whoever ran the history noted, for each transaction, what its writer had
 *        seen; a value on display tells, being unique, which write it came from. Then
 *          C1  no other write of that field in that life had seen the one that shows;
 *          C2  with one server, what shows is, or has seen, the server's last write there, or what
 *              says the same again;
 *          C3  a record whose latest existence writes (those that no other had seen, or with one
 *              server the server's last and what had seen it) all say dead is not visible, and one
 *              where all say alive is;
 *          C4  a field that was written and never removed in the life that shows is visible. */
#ifndef TESTS_SIM_CAUSAL_H
#define TESTS_SIM_CAUSAL_H

#include "tests/sim/reference.h"

struct causal_place {
	unsigned origin;
	uint64_t seq; /* 0: nowhere */
};

struct causal_write {
	const struct reference_txn *txn;
	const uint32_t *seen; /* by origin number: the seq up to which its writer had seen it */
	unsigned origin;      /* number of its writer */
	bool server;
	bool copy;                         /* it says again what was written before */
	const struct causal_place *places; /* of a copy, by op: where a server wrote it at first */
};

struct causal_history {
	const struct causal_write *writes;
	unsigned count;
	bool one_server; /* at most one node ever wrote as a server, and policy gives it priority */
};

struct blazei_replica;

/* Whether what the replica shows, which holds exactly these writes, is as P3 promises. */
bool causal_holds(const struct causal_history *history, const struct blazei_replica *replica,
                  char *ret_text, size_t cap);

#endif
