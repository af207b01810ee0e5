/* SPDX-License-Identifier: Apache-2.0 */
/* The reference: what a replica must hold, folded from the set of all transactions.
 *
 * WHY    The library merges one transaction after the other, into one table, by interned origins,
 *        and drops, parks and fetches on the way. Here the whole set is at hand and its order means
 *        nothing: for each register the greatest K = (E, H, origin, seq) stays; a record is visible
 *        where its existence register says alive, with the fields of that life. The decoder is
 *        written from the LAYOUT in lib/op/txn.h and shares no code with lib, nor does the fold. */
#ifndef TESTS_SIM_REFERENCE_H
#define TESTS_SIM_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REFERENCE_ORIGIN_BYTES 24u

/* One write to one register: a field of a life, or a record's existence. Pointers go into the
 * transaction's bytes, which the caller keeps. */
struct reference_op {
	const uint8_t *id; /* 16 bytes */
	const uint8_t *name;
	const uint8_t *value;
	uint64_t priority; /* E */
	uint32_t value_len;
	uint32_t life;
	uint8_t name_len;
	bool existence;
	bool alive; /* what an existence op says */
	bool unset;
};

struct reference_dep {
	const uint8_t *origin;
	uint64_t seq;
};

struct reference_txn {
	const uint8_t *origin; /* its writer */
	uint64_t seq;
	uint64_t hlc; /* H */
	uint64_t chain;
	uint64_t prev;
	struct reference_op *ops; /* the caller's, freed by reference_txn_free */
	struct reference_dep *deps;
	unsigned op_count;
	unsigned dep_count;
};

/* Decodes one transaction; false where it is none. */
bool reference_decode(const void *data, size_t len, struct reference_txn *ret_txn);
void reference_txn_free(struct reference_txn *txn);

/* The greatest write to a register so far. */
struct reference_register {
	const struct reference_op *op; /* NULL: a free place */
	const struct reference_txn *txn;
	unsigned fields; /* of an existence register, once counted: visible ones */
};

struct reference {
	struct reference_register *places; /* by hash of (id, existence, life, name) */
	unsigned count;
	unsigned max; /* a power of two */
};

/* Less than, equal to or greater than 0, as identities of origins compare. */
int reference_origin_compare(const uint8_t *a, const uint8_t *b);

void reference_init(struct reference *reference);
void reference_free(struct reference *reference);
void reference_fold(struct reference *reference, const struct reference_txn *txn);

/* The register of a record's existence (name NULL), or of a field in one life; NULL: never
 * written. */
const struct reference_register *reference_find(const struct reference *reference,
                                                const uint8_t *id, uint32_t life,
                                                const uint8_t *name, uint8_t name_len);

struct blazei_replica;

/* Whether a replica shows exactly what was folded; else what differs, in text. */
bool reference_equals(struct reference *reference, struct blazei_replica *replica, char *ret_text,
                      size_t cap);

#endif
