/* SPDX-License-Identifier: Apache-2.0 */
/* Session messages: one side of a catch-up is given whatever comes, as asker or as answerer.
 *
 * An input is a byte that chooses the side, then messages. Of each its length, number and hash are
 * put right, and so are the hashes of what a message carries whole; the rest is as it came. As it
 * came, each is checked too.
 *
 * What must hold: a take says what the status says; an ended session stays so; after each call, for
 * every register here, its seq is at most that of its origin in the vector (I1 of session.h); what
 * was taken can be fetched. */
#include "tests/fuzz/fuzz.h"
#include "tests/repl/session_pair.h"

const char fuzz_name[] = "fuzz_session";

#define SIDE_ANSWERER 1u
#define SIDE_WHOLE    2u
#define GIVES_MAX     64u
#define STAGE_MAX     (UINT64_C(1) << 20)
#define HISTORY_BYTES (UINT64_C(64) << 10)

/* Both sides' content is that of every run: what a message says of it can be right. */
static void base_open(struct node *node, bool answerer)
{
	node_open_history(node, answerer ? 2 : 1, HISTORY_BYTES);
	for (unsigned i = 0; i < 3; i++)
		node_insert(node, 10 * answerer + i, "{\"a\":1,\"bb\":\"text\"}");
	node_update(node, 10 * answerer, "{\"a\":2}");
	node_delete(node, 10 * answerer + 1);
}

/* Puts the hash of a transaction or of a chunk right; 0: there is none. */
static size_t fix_inner(uint8_t *data, size_t size, bool whole)
{
	struct blazei_txn_header *header = (struct blazei_txn_header *)data;

	if (size < sizeof(*header))
		return 0;
	if (whole)
		header->bytes = (uint32_t)size;
	if (header->bytes < sizeof(*header) || header->bytes > size || header->bytes % 8 != 0)
		return 0;
	header->chain = blazei_txn_hash(header);
	return header->bytes;
}

static void fix_part(struct blazei_session_header *header)
{
	struct blazei_session_part *part = (struct blazei_session_part *)header;
	size_t at = 0, left, bytes;

	if (header->bytes <= sizeof(*part))
		return;
	left = header->bytes - sizeof(*part);
	if (part->offset != 0 || part->total != left)
		return;
	while ((bytes = fix_inner(part->bytes + at, left - at, header->kind == BLAZEI_KIND_CHUNK)))
		at += bytes;
}

/* Takes the next message off the input, put right, in memory of its length; NULL: there is none. */
static struct blazei_session_header *message_read(const uint8_t **data, size_t *size,
                                                  uint32_t number)
{
	struct blazei_session_header *header;
	uint32_t bytes;

	if (*size < sizeof(*header))
		return NULL;
	memcpy(&bytes, *data, sizeof(bytes));
	bytes &= ~7u;
	if (bytes < sizeof(*header) || bytes > *size)
		bytes = (uint32_t)*size & ~7u;
	header = aligned_alloc(8, bytes);
	must(header != NULL, "memory", NULL, 0);
	memcpy(header, *data, bytes);
	(void)blazei_session_check(header, bytes);
	header->bytes = bytes;
	header->number = number;
	if (header->kind == BLAZEI_KIND_TXNS || header->kind == BLAZEI_KIND_CHUNK)
		fix_part(header);
	header->hash = blazei_session_hash(header);
	*data += bytes;
	*size -= bytes;
	return header;
}

/* Has the session say what it has to say, and install what it has. */
static void session_go_on(struct blazei_session *session)
{
	static uint64_t buf[BLAZEI_SESSION_MESSAGE_MAX / 8];
	struct blazei_session_status status;

	blazei_session_status(session, &status);
	if (status.state == BLAZEI_SESSION_STAGED) {
		const int rc = blazei_session_install(session, NOW);

		blazei_session_status(session, &status);
		must(rc == status.error, "install says something else", NULL, 0);
	}
	for (unsigned i = 0; i < GIVES_MAX; i++) {
		const int64_t n = blazei_session_give(session, NOW, buf, sizeof(buf));

		if (n <= 0)
			return;
		must(blazei_session_check(buf, (size_t)n) == 0, "gives what none takes", NULL, 0);
	}
}

static void session_feed(struct node *node, struct blazei_session *session, const uint8_t *data,
                         size_t size)
{
	struct blazei_session_status before = { .state = BLAZEI_SESSION_OPEN }, after;
	struct blazei_session_header *message;
	uint32_t number = 0;

	session_go_on(session);
	while ((message = message_read(&data, &size, number++)) != NULL) {
		const int rc = blazei_session_take(session, NOW, message, message->bytes);

		free(message);
		blazei_session_status(session, &after);
		must(rc == after.error, "take says something else", data, size);
		must((rc < 0) == (after.state >= BLAZEI_SESSION_REFUSED), "state", data, size);
		if (before.state >= BLAZEI_SESSION_REFUSED)
			must(after.state == before.state && after.error == before.error,
			     "an ended session goes on", data, size);
		before = after;
		session_go_on(session);
		node_expect_exact(node);
	}
}

/* Another one fetches all that the node has now. */
static void fetch_check(struct node *node, const uint8_t *data, size_t size)
{
	uint8_t digests[2][16];
	struct node other;

	node_open(&other, 77);
	nodes_catch_up(&other, node);
	must(blazei_replica_hash_stamps(node->replica, digests[0]) == 0, "hash", data, size);
	must(blazei_replica_hash_stamps(other.replica, digests[1]) == 0, "hash", data, size);
	must(memcmp(digests[0], digests[1], 16) == 0, "it cannot be fetched", data, size);
	node_close(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct blazei_session_options options = { .id = 1 };
	struct blazei_session *session;
	struct blazei_session_status status;
	struct blazei_stage *stage;
	uint8_t digest[16];
	struct node node;

	if (size == 0)
		return 0;
	must(blazei_stage_new(STAGE_MAX, &stage) == 0, "stage", NULL, 0);
	base_open(&node, data[0] & SIDE_ANSWERER);
	options.replica = node.replica;
	options.stage = stage;
	options.side = data[0] & SIDE_ANSWERER ? BLAZEI_SESSION_ANSWERER : BLAZEI_SESSION_ASKER;
	options.whole = data[0] & SIDE_WHOLE;
	must(blazei_session_new(&options, &session) == 0, "session", NULL, 0);
	session_feed(&node, session, data + 1, size - 1);
	must(blazei_replica_hash_stamps(node.replica, digest) == 0, "hash", data, size);
	blazei_session_status(session, &status);
	if (status.state == BLAZEI_SESSION_LIVE && options.side == BLAZEI_SESSION_ASKER)
		fetch_check(&node, data, size);
	blazei_session_free(session);
	node_close(&node);
	blazei_stage_free(stage);
	return 0;
}

struct capture {
	struct blazei_buffer *out;
	bool from_answerer;
	uint64_t writes; /* the answerer's while it answers: they follow a snapshot's chunks */
};

static enum pair_fate capture(struct pair *pair, unsigned at, bool from_answerer, void *data,
                              size_t *len)
{
	struct capture *wanted = pair->arg;

	(void)at;
	if (from_answerer && wanted->writes > 0)
		(void)node_insert(pair->answerer, 50 + (unsigned)wanted->writes--, "{\"a\":3}");
	if (from_answerer == wanted->from_answerer)
		must(blazei_buffer_append(wanted->out, data, *len) == 0, "memory", NULL, 0);
	return PAIR_DELIVER;
}

/* What one side of a session says, the other being of base content. */
void fuzz_make(struct random_source *source, struct blazei_buffer *out)
{
	const uint8_t side = (uint8_t)random_below(source, 4);
	struct capture wanted = { .out = out, .from_answerer = !(side & SIDE_ANSWERER) };
	struct node asker, answerer, *other;
	struct pair pair;

	base_open(&asker, false);
	base_open(&answerer, true);
	other = side & SIDE_ANSWERER ? &asker : &answerer;
	for (uint64_t i = random_below(source, 6); i > 0; i--)
		(void)node_insert(other, 30 + (unsigned)i, "{\"name\":[1,{\"c\":null}]}");
	/* Longer than the shortest message, so that it is sent in parts. */
	if (random_below(source, 16) == 0) {
		static const uint8_t value[BLAZEI_SESSION_MESSAGE_MIN];
		const struct blaze_id id = id_of(40);
		struct blazei_txn_view txn;

		(void)node_put(other, &id, value, sizeof(value), &txn);
	}
	if (random_below(source, 4) == 0)
		blazei_replica_set_server(other->replica, true);
	(void)node_update(other, 31, "{\"a\":true}");
	must(blazei_buffer_append(out, &side, 1) == 0, "memory", NULL, 0);
	pair_open(&pair, &asker, &answerer);
	pair.hook = capture;
	pair.arg = &wanted;
	wanted.writes = random_below(source, 4);
	pair.whole = side & SIDE_WHOLE;
	pair.cap = random_below(source, 2) ? BLAZEI_SESSION_MESSAGE_MIN : 0;
	pair_run(&pair);
	pair_close(&pair);
	node_close(&asker);
	node_close(&answerer);
}
