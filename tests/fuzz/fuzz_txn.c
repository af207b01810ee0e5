/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions: the check, and the merge of what it accepts.
 *
 * WHY    The chained hash covers all bytes, so changed ones would all end there. A hostile writer
 *        computes it, and so does this target: an input is a row of transactions, of each of which
 *        length, hash and the hash of the one before it are put right; the rest is as it came.
 *        As it came, hash and all, each is checked too.
 *
 * What must hold, whatever came: a second time changes nothing; another order of arrival leads to
 * the same (unless something was refused, or two claim one number); state brings another replica to
 * the same. */
#include "tests/fuzz/fuzz.h"
#include "tests/repl/session_pair.h"

const char fuzz_name[] = "fuzz_txn";

#define TXNS_MAX 24u

struct row {
	struct blazei_txn_header *txns[TXNS_MAX]; /* aligned, exactly as long as they say */
	unsigned count;
	bool ambiguous; /* two of one origin have one number */
};

/* Makes the transaction follow the last one of its origin in the row that is just below it. */
static void follow(struct row *row, struct blazei_txn_header *txn)
{
	const struct blazei_origin *origin = blazei_txn_origins(txn);

	for (unsigned i = 0; i < row->count; i++) {
		const struct blazei_txn_header *other = row->txns[i];

		if (!blazei_origin_equal(blazei_txn_origins(other), origin))
			continue;
		if (other->seq + 1 == txn->seq)
			txn->prev = other->chain;
		row->ambiguous |= other->seq == txn->seq;
	}
}

/* Takes the next transaction off the input; 0: there is none. */
static size_t take(struct row *row, const uint8_t *data, size_t size)
{
	struct blazei_txn_header *txn;
	uint32_t bytes;

	if (size < sizeof(*txn) || row->count == TXNS_MAX)
		return 0;
	memcpy(&bytes, data, sizeof(bytes));
	bytes &= ~7u;
	if (bytes < sizeof(*txn) || bytes > size)
		bytes = (uint32_t)size & ~7u;
	txn = aligned_alloc(8, bytes);
	must(txn != NULL, "memory", NULL, 0);
	memcpy(txn, data, bytes);
	(void)blazei_txn_check(txn, bytes);
	txn->bytes = bytes;
	if (txn->origin_count > 0 && bytes >= sizeof(*txn) + sizeof(struct blazei_origin))
		follow(row, txn);
	txn->chain = blazei_txn_hash(txn);
	if (blazei_txn_check(txn, bytes) == 0)
		row->txns[row->count++] = txn;
	else
		free(txn);
	return bytes;
}

static int give(struct node *node, const struct row *row, bool backwards)
{
	for (unsigned i = 0; i < row->count; i++) {
		const unsigned n = backwards ? row->count - 1 - i : i;

		if (node_take(node, row->txns[n], row->txns[n]->bytes) < 0)
			return -1;
	}
	return 0;
}

static bool same(const struct node *a, const struct node *b)
{
	uint8_t digests[2][16];

	return blazei_replica_hash_stamps(a->replica, digests[0]) == 0 &&
	       blazei_replica_hash_stamps(b->replica, digests[1]) == 0 &&
	       memcmp(digests[0], digests[1], 16) == 0 &&
	       blazei_replica_count(a->replica) == blazei_replica_count(b->replica);
}

static void merge_all(const struct row *row, const uint8_t *data, size_t size)
{
	struct node once, twice, fetched;

	node_open(&once, 1);
	node_open(&twice, 2);
	node_open(&fetched, 3);
	must(give(&once, row, false) == 0, "receive", data, size);
	must(give(&twice, row, true) == 0, "receive backwards", data, size);
	if (!row->ambiguous && node_stats(&once).refused == 0 && node_stats(&twice).refused == 0)
		must(same(&once, &twice), "the order of arrival shows", data, size);
	nodes_catch_up(&fetched, &once);
	must(same(&once, &fetched), "state brings something else", data, size);
	must(give(&once, row, true) == 0, "receive again", data, size);
	must(same(&once, &fetched), "a second time changes something", data, size);
	node_close(&once);
	node_close(&twice);
	node_close(&fetched);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct row row = { .count = 0 };
	size_t at = 0, bytes;

	while ((bytes = take(&row, data + at, size - at)) > 0)
		at += bytes;
	if (row.count > 0)
		merge_all(&row, data, size);
	for (unsigned i = 0; i < row.count; i++)
		free(row.txns[i]);
	return 0;
}

/* A record of one to three random fields; the caller frees it. */
static struct blaze_record *random_record(struct random_source *source)
{
	static const char *const names[] = { "", "a", "bb", "longer name", "\xc3\xa9" };
	const unsigned count = 1 + (unsigned)random_below(source, 3);
	struct blaze_record *record;

	must(blaze_record_new(&record) == 0, "record", NULL, 0);
	for (unsigned i = 0; i < count; i++) {
		const char *name = names[random_below(source, 5)];

		if (random_below(source, 6) == 0)
			must(blaze_record_unset(record, name) == 0, "unset", NULL, 0);
		else if (random_below(source, 2) == 0)
			must(blaze_record_set_string(record, name, "text") == 0, "set", NULL, 0);
		else
			must(blaze_record_set_int(record, name, (int64_t)random_bits(source)) == 0,
			     "set", NULL, 0);
	}
	return record;
}

static void random_write(struct random_source *source, struct node *node)
{
	struct blaze_record *record = random_record(source);
	const struct blaze_id id = id_of((unsigned)random_below(source, 3));
	struct blazei_write write = { .kind = (enum blazei_write_kind)random_below(source, 5),
		                      .id = &id };
	struct blazei_txn_view txn;

	if (write.kind == BLAZEI_WRITE_PUT) {
		write.value = "some bytes";
		write.len = random_below(source, 11);
	} else if (write.kind != BLAZEI_WRITE_DELETE) {
		write.record = record;
	}
	node->now_ns += 1000000;
	if (blazei_replica_write(node->replica, node->now_ns, &write, &txn) == 0)
		node_keep(node, txn.data, txn.len);
	blaze_record_free(record);
}

/* What three nodes write, a server among them, who hear of each other now and then. */
void fuzz_make(struct random_source *source, struct blazei_buffer *out)
{
	const unsigned writes = 1 + (unsigned)random_below(source, 12);
	struct node nodes[3];

	for (unsigned i = 0; i < 3; i++)
		node_open(&nodes[i], 10 + i);
	blazei_replica_set_server(nodes[2].replica, true);
	for (unsigned i = 0; i < writes; i++) {
		random_write(source, &nodes[random_below(source, 3)]);
		if (random_below(source, 3) == 0)
			nodes_settle(nodes, 3);
	}
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned n = 0; n < nodes[i].count; n++)
			must(blazei_buffer_append(out, nodes[i].log[n].data, nodes[i].log[n].len) ==
			             0,
			     "memory", NULL, 0);
		node_close(&nodes[i]);
	}
}
