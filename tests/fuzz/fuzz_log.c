/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of a log, as a store hands them to a replica that comes back.
 *
 * WHY    Frames have checksums, so what reaches the replay was written by a program with the
 *        store's rights: by a faulty version of this one, or by somebody who restored parts of two
 *        stores. Of transactions length, hash and the hash of the one before are put right, as in
 *        fuzz_txn; bounds and state chunks are taken as they came.
 *
 * What must hold, whatever came: the first entry that does not follow from those before it ends the
 * replay with an error that says so. Where there was none, the replica can be logged as a whole and
 * is the same again from that (I1 of logged.h), and takes writes, which come back too. */
#include "lib/repl/core.h"
#include "lib/repl/logged.h"
#include "tests/fuzz/fuzz.h"
#include "tests/repl/session_pair.h"

const char fuzz_name[] = "fuzz_log";

#define ENTRIES_MAX 64u
#define LOG_BYTES   (UINT64_C(1) << 30)

/* What became of an input: checked entries, 8-byte aligned and exactly as long as they say. */
struct row {
	void *entries[ENTRIES_MAX];
	unsigned count;
};

static struct blazei_replica_options options_of(uint64_t incarnation)
{
	return (struct blazei_replica_options){
		.self = { .node = { { 200 } }, .incarnation = incarnation },
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
		.hash_seed = incarnation,
	};
}

static bool is_txn(const void *entry)
{
	return ((const struct blazei_txn_header *)entry)->kind == BLAZEI_KIND_TXN;
}

/* Puts the sums of a transaction right; its head is there. */
static void txn_seal(const struct row *row, struct blazei_txn_header *txn)
{
	const struct blazei_origin *origin = blazei_txn_origins(txn);

	if (txn->origin_count == 0 || txn->bytes < sizeof(*txn) + sizeof(*origin))
		return;
	for (unsigned i = 0; i < row->count; i++) {
		const struct blazei_txn_header *other = row->entries[i];

		if (is_txn(other) && other->seq + 1 == txn->seq &&
		    blazei_origin_equal(blazei_txn_origins(other), origin))
			txn->prev = other->chain;
	}
	txn->chain = blazei_txn_hash(txn);
}

/* Takes the next entry off the input; 0: there is none. */
static size_t take(struct row *row, const uint8_t *data, size_t size)
{
	uint32_t bytes;
	void *entry;

	if (size < sizeof(struct blazei_unit_bound) || row->count == ENTRIES_MAX)
		return 0;
	memcpy(&bytes, data, sizeof(bytes));
	bytes &= ~7u;
	if (bytes < sizeof(struct blazei_unit_bound) || bytes > size)
		bytes = (uint32_t)size & ~7u;
	entry = aligned_alloc(8, bytes);
	must(entry != NULL, "memory", NULL, 0);
	memcpy(entry, data, bytes);
	(void)blazei_logged_check(entry, bytes);
	memcpy(entry, &bytes, sizeof(bytes));
	if (is_txn(entry) && bytes >= sizeof(struct blazei_txn_header))
		txn_seal(row, entry);
	if (blazei_logged_check(entry, bytes) == 0)
		row->entries[row->count++] = entry;
	else
		free(entry);
	return bytes;
}

static void on_append(void *arg, const void *entry, size_t len)
{
	must(blazei_logged_check(entry, len) == 0, "an invalid entry is logged", NULL, 0);
	must(blazei_buffer_append(arg, entry, len) == 0, "memory", NULL, 0);
}

/* The replica that a log in a row leads to; the caller frees it. */
static struct blazei_replica *replayed(const struct blazei_buffer *log, const uint8_t *data,
                                       size_t size)
{
	const struct blazei_replica_options options = options_of(2);
	struct blazei_replay replay;
	size_t at = 0;

	must(blazei_replay_init(&replay, &options) == 0, "memory", NULL, 0);
	while (at < log->len) {
		const struct blazei_unit_bound *entry = (const void *)(log->data + at);

		must(blazei_replay_entry(&replay, entry) == 0, "what was logged is refused", data,
		     size);
		at += entry->bytes;
	}
	must(!blazei_replay_unfinished(&replay), "what was logged ends in a unit", data, size);
	blazei_replay_fini(&replay);
	return replay.replica;
}

static void same(struct blazei_replica *a, struct blazei_replica *b, const char *what,
                 const uint8_t *data, size_t size)
{
	uint8_t digests[2][16];

	must(blazei_replica_hash_stamps(a, digests[0]) == 0 &&
	             blazei_replica_hash_stamps(b, digests[1]) == 0,
	     "memory", NULL, 0);
	must(memcmp(digests[0], digests[1], 16) == 0, what, data, size);
	for (unsigned i = 0; i < a->vector.count; i++)
		must(a->vector.writers[i].seq ==
		             blazei_replica_vector_seq(b, &a->vector.origins[i]),
		     what, data, size);
}

/* All of the replica into a log of its own, then a write; and back. */
static void log_again(struct blazei_replica *replica, const uint8_t *data, size_t size)
{
	struct blazei_buffer log = { .max = LOG_BYTES };
	const struct blazei_log_sink sink = { .arg = &log, .append = on_append };
	const struct blaze_id id = { { 9 } };
	const struct blazei_write write = {
		.kind = BLAZEI_WRITE_PUT,
		.id = &id,
		.value = "bytes",
		.len = 5,
	};
	struct blazei_replica *back;
	struct blazei_txn_view txn;
	int rc;

	blazei_replica_set_log(replica, &sink);
	blazei_logged_lag(replica);
	must(blazei_replica_log_all(replica) == 0, "memory", NULL, 0);
	back = replayed(&log, data, size);
	same(replica, back, "the whole comes back as something else", data, size);
	blazei_replica_free(back);
	rc = blazei_replica_write(replica, NOW, &write, &txn);
	/* An input may have filled what there is room for, or claim a clock that is far ahead. */
	if (rc == 0) {
		back = replayed(&log, data, size);
		same(replica, back, "a write comes back as something else", data, size);
		blazei_replica_free(back);
	}
	blazei_buffer_free(&log);
}

static void replay_all(const struct row *row, const uint8_t *data, size_t size)
{
	static const struct blazei_unit_bound drop = {
		.bytes = sizeof(drop),
		.kind = BLAZEI_KIND_DROP,
		.format = BLAZEI_FORMAT,
	};
	const struct blazei_replica_options options = options_of(1);
	struct blazei_replay replay;
	int rc = 0;

	must(blazei_replay_init(&replay, &options) == 0, "memory", NULL, 0);
	for (unsigned i = 0; i < row->count && rc == 0; i++)
		rc = blazei_replay_entry(&replay, row->entries[i]);
	must(rc == 0 || rc == -EBADMSG || rc == -E2BIG, "an error of another kind", data, size);
	if (rc == 0 && blazei_replay_unfinished(&replay))
		must(blazei_replay_entry(&replay, &drop) == 0, "it can't be dropped", data, size);
	if (rc == 0)
		log_again(replay.replica, data, size);
	blazei_replica_free(replay.replica);
	blazei_replay_fini(&replay);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct row row = { .count = 0 };
	size_t at = 0, bytes;

	while ((bytes = take(&row, data + at, size - at)) > 0)
		at += bytes;
	replay_all(&row, data, size);
	for (unsigned i = 0; i < row.count; i++)
		free(row.entries[i]);
	return 0;
}

/* The log of a node that hears of two others' writes one by one, or gets a snapshot, and sometimes
 * has to log all that it is. */
void fuzz_make(struct random_source *source, struct blazei_buffer *out)
{
	const struct blazei_log_sink sink = { .arg = out, .append = on_append };
	const unsigned steps = 2 + (unsigned)random_below(source, 10);
	struct node nodes[3];
	struct pair pair;

	for (unsigned i = 0; i < 3; i++)
		node_open_history(&nodes[i], 10 + i, random_below(source, 2) ? 1u << 20 : 512);
	blazei_replica_set_log(nodes[0].replica, &sink);
	for (unsigned i = 0; i < steps; i++) {
		struct node *node = &nodes[random_below(source, 3)];

		if (random_below(source, 4) == 0)
			(void)node_delete(node, (unsigned)random_below(source, 3));
		else
			node_writes(node, (unsigned)random_below(source, 3), 1);
		if (random_below(source, 3) == 0) {
			pair_open(&pair, &nodes[0], &nodes[1 + random_below(source, 2)]);
			pair.whole = random_below(source, 2);
			pair_run(&pair);
			pair_close(&pair);
		} else if (random_below(source, 3) == 0) {
			nodes_settle(nodes, 3);
		}
		if (random_below(source, 8) == 0)
			blazei_logged_lag(nodes[0].replica);
		if (blazei_replica_log_behind(nodes[0].replica))
			must(blazei_replica_log_all(nodes[0].replica) == 0, "memory", NULL, 0);
	}
	for (unsigned i = 0; i < 3; i++)
		node_close(&nodes[i]);
}
