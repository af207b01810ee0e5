/* SPDX-License-Identifier: Apache-2.0 */
/* State chunks: the check, and the merge of what it accepts. Length and hash of an input are put
 * right before, as a hostile sender would (see fuzz_txn.c); as it came it is checked too.
 *
 * What must hold: a chunk that is taken can be taken again and changes nothing; and what the
 * replica then has can be fetched from it. */
#include "tests/fuzz/fuzz.h"
#include "tests/repl/harness.h"

const char fuzz_name[] = "fuzz_state";

#define CHUNK_CAP (2u << 20)

static void digest_of(const struct node *node, uint8_t ret_digest[16])
{
	must(blazei_replica_hash_stamps(node->replica, ret_digest) == 0, "hash", NULL, 0);
}

static void merge_twice(const struct blazei_txn_header *chunk, const uint8_t *data, size_t size)
{
	uint8_t once[16], twice[16], fetched[16];
	struct node node, other;

	node_open(&node, 1);
	node_open(&other, 2);
	node_insert(&node, 1, "{\"a\":1}");
	must(blazei_replica_state_merge(node.replica, NOW, chunk, chunk->bytes) == 0, "merge", data,
	     size);
	digest_of(&node, once);
	must(blazei_replica_state_merge(node.replica, NOW, chunk, chunk->bytes) == 0, "merge again",
	     data, size);
	digest_of(&node, twice);
	must(memcmp(once, twice, 16) == 0, "a second time changes something", data, size);
	node_catch_up(&node, &other);
	digest_of(&other, fetched);
	must(memcmp(once, fetched, 16) == 0, "it cannot be fetched", data, size);
	node_close(&node);
	node_close(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint32_t bytes = (uint32_t)size & ~7u;
	struct blazei_txn_header *chunk;

	if (bytes < sizeof(*chunk) || size > CHUNK_CAP)
		return 0;
	chunk = aligned_alloc(8, bytes);
	must(chunk != NULL, "memory", NULL, 0);
	memcpy(chunk, data, bytes);
	(void)blazei_state_check(chunk, bytes);
	chunk->bytes = bytes;
	chunk->chain = blazei_txn_hash(chunk);
	if (blazei_replica_state_check(NOW, chunk, bytes) == 0)
		merge_twice(chunk, data, size);
	free(chunk);
	return 0;
}

/* What two nodes hold that wrote and deleted a few records, one after the other. */
void fuzz_make(struct random_source *source, struct blazei_buffer *out)
{
	static const char *const records[] = { "{\"a\":1}", "{\"a\":2,\"b\":[1,{\"c\":null}]}",
		                               "{\"\":\"x\",\"name\":true}", "{}" };
	struct blazei_state_cursor cursor = { 0 };
	struct blazei_vector_entry none;
	void *chunk = aligned_alloc(8, CHUNK_CAP);
	struct node nodes[2];
	int64_t len;

	must(chunk != NULL, "memory", NULL, 0);
	for (unsigned i = 0; i < 2; i++)
		node_open(&nodes[i], 10 + i);
	blazei_replica_set_server(nodes[1].replica, true);
	for (uint64_t i = 0, n = 1 + random_below(source, 10); i < n; i++) {
		struct node *node = &nodes[random_below(source, 2)];
		const unsigned number = (unsigned)random_below(source, 4);

		if (random_below(source, 4) == 0)
			(void)node_delete(node, number);
		else if (node_insert(node, number, records[random_below(source, 4)]) == -EEXIST)
			(void)node_update(node, number, records[random_below(source, 4)]);
		nodes_settle(nodes, 2);
	}
	len = blazei_replica_state_chunk(nodes[0].replica, &none, 0, &cursor, chunk, CHUNK_CAP);
	must(len >= 0 && blazei_buffer_append(out, chunk, (size_t)len) == 0, "chunk", NULL, 0);
	free(chunk);
	node_close(&nodes[0]);
	node_close(&nodes[1]);
}
