/* SPDX-License-Identifier: Apache-2.0 */
/* A peer that lies: garbage in its lane, nonsense on its board, wrong messages in answer to a
 * request. The database must say no, keep what it has and go on working with honest peers. */
#include <stdlib.h>

#include "lib/repl/session_wire.h"
#include "tests/db/node.h"

#define CLAIMED 100u

/* A participant of the ring that is no database. */
struct liar {
	struct blazei_link *link;
	struct blazei_census *census;
	struct blazei_board_description text;
	struct blazei_origin origin;
	struct blaze_id asked; /* the ring of the last request */
};

/* Joins the ring of a node, linked to it, and claims to have what the node lacks. */
static struct liar liar_join(const struct node *node)
{
	const struct blazei_link_options options = { .board_bytes = BLAZEI_BOARD_BYTES };
	struct liar liar = { .census = calloc(1, sizeof(*liar.census)) };
	struct blazei_vector_entry entry = { .seq = CLAIMED };
	char ring[80];

	snprintf(ring, sizeof(ring), "db.%s", node->db->name);
	ck_assert_int_eq(blazei_link_open_ring(ring, &options, &liar.link), 0);
	ck_assert_int_eq(blaze_id_new(&liar.origin.node), 0);
	liar.origin.incarnation = 1;
	liar.text.node = liar.origin.node;
	liar.text.incarnation = liar.origin.incarnation;
	liar.text.policy = BLAZE_POLICY_SERVER_PRIORITY;
	strcpy(liar.text.db_name, node->db->name);
	strcpy(liar.text.node_name, "liar");
	liar.text.link_count = 1;
	liar.text.links[0].node = node->id;
	entry.origin = liar.origin;
	blazei_board_vector_store(liar.link->board, 0, &entry, 0);
	blazei_board_publish(liar.link->board, &liar.text);
	liar.link->ops->wake(liar.link);
	return liar;
}

static void liar_leave(struct liar *liar)
{
	blazei_census_clear(liar->census);
	free(liar->census);
	liar->link->ops->close(liar->link);
}

/* Whether the node asks the liar, not the last time again: the ring to answer in, or NULL. */
static struct blazei_link *liar_look(struct liar *liar, const struct node *node)
{
	const struct blazei_link_options options = { .lane_bytes = 65536, .no_create = true };
	char name[BLAZEI_CARRY_NAME_BYTES];
	const struct blazei_member *member;
	struct blazei_link *link;

	ck_assert_int_eq(blazei_census_update(liar->census, liar->link, false), 0);
	member = blazei_census_by_node(liar->census, &node->id);
	if (member == NULL || !blazei_id_equal(&member->text->request.peer, &liar->link->id) ||
	    blazei_id_equal(&member->text->request.ring, &liar->asked))
		return NULL;
	liar->asked = member->text->request.ring;
	blazei_carry_name(node->db->name, &member->text->request.ring, name);
	return blazei_link_open_ring(name, &options, &link) == 0 ? link : NULL;
}

/* Waits until it does. */
static struct blazei_link *liar_is_asked(struct liar *liar, const struct node *node)
{
	struct blazei_link *link;

	while ((link = liar_look(liar, node)) == NULL)
		blazei_sleep_ns(100 * 1000);
	return link;
}

/* Formats laid end to end, on purpose. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wgnu-variable-sized-type-not-at-end"
#endif

/* A message that a liar sends: its head, as session_wire.h has it, and entries or bytes. */
struct lie {
	union {
		struct blazei_session_header header;
		struct blazei_session_hello hello;
		struct blazei_session_refuse refuse;
		struct blazei_session_part part;
		struct blazei_session_snapshot snapshot;
		struct blazei_session_live live;
		uint64_t words[64];
	};
	size_t len;
};

/* Seals and publishes message `number` of a session: 0, or -EIDRM where the node has given up. */
static int lie_try(struct blazei_link *ring, struct lie *lie, unsigned number, uint8_t kind)
{
	lie->header.bytes = (uint32_t)lie->len;
	lie->header.kind = kind;
	lie->header.format = BLAZEI_SESSION_FORMAT;
	lie->header.session = 77;
	lie->header.number = number;
	lie->header.magic = BLAZEI_SESSION_MAGIC;
	lie->header.hash = blazei_session_hash(&lie->header);
	return ring->ops->publish(ring, lie, lie->len);
}

static void lie_send(struct blazei_link *ring, struct lie *lie, unsigned number, uint8_t kind)
{
	ck_assert_int_eq(lie_try(ring, lie, number, kind), 0);
}

/* A hello that is in order, and claims that of the origin. */
static void hello_send(struct blazei_link *ring, const struct liar *liar,
                       const struct blazei_origin *origin, uint64_t seq)
{
	struct lie lie = { .len = sizeof(lie.hello) + sizeof(lie.hello.entries[0]) };

	lie.hello.self = liar->origin;
	lie.hello.txn_format = BLAZEI_FORMAT;
	lie.hello.policy = BLAZE_POLICY_SERVER_PRIORITY;
	lie.hello.entry_count = 1;
	lie.hello.side = BLAZEI_SESSION_ANSWERER;
	lie.hello.entries[0].origin = *origin;
	lie.hello.entries[0].seq = seq;
	lie_send(ring, &lie, 0, BLAZEI_KIND_HELLO);
}

static void snapshot_send(struct blazei_link *ring, const struct blazei_session_entry *entries,
                          unsigned count)
{
	struct lie lie = { .len = sizeof(lie.snapshot) + count * sizeof(*entries) };

	lie.snapshot.entry_count = count;
	memcpy(lie.snapshot.entries, entries, count * sizeof(*entries));
	lie_send(ring, &lie, 1, BLAZEI_KIND_SNAPSHOT);
	lie = (struct lie){ .len = sizeof(lie.live) + count * sizeof(*entries) };
	lie.live.entry_count = count;
	memcpy(lie.live.entries, entries, count * sizeof(*entries));
	lie_send(ring, &lie, 2, BLAZEI_KIND_LIVE);
}

/* It may not speak for a third node: who believed it would take that node's writes for known. */
START_TEST(hostile_vector_of_a_third_node_is_refused)
{
	const char *name = unique_name();
	struct node node = node_open(name, "honest"), other = node_open(name, "other");
	struct liar liar = liar_join(&node);
	struct blazei_link *ring = liar_is_asked(&liar, &node);
	const struct blazei_session_entry entries[] = {
		{ .origin = origin_of(&other), .seq = 1000 },
		{ .origin = liar.origin, .seq = CLAIMED },
	};
	struct blaze_id id;

	hello_send(ring, &liar, &liar.origin, CLAIMED);
	snapshot_send(ring, entries, 2);
	/* It asks anew when it has given up on this one. */
	ring->ops->close(liar_is_asked(&liar, &node));
	ring->ops->close(ring);
	nodes_link(&other, &node);
	node_insert(&other, "n", 1, &id);
	for (int i = 0; i < 10000 && node_value(&node, &id, "n") != 1; i++)
		blazei_sleep_ns(1000 * 1000);
	ck_assert_int_eq(node_value(&node, &id, "n"), 1);
	liar_leave(&liar);
	node_close(&node);
	node_close(&other);
}
END_TEST

/* What follows a hello that is in order, or comes in its place. */
static const struct {
	struct lie lie;
	uint8_t kind;
	bool no_hello;
} lies[] = {
	{ .kind = 99, .lie.len = 32 },
	{ .kind = BLAZEI_KIND_LIVE, .lie.len = 40, .no_hello = true },
	{ .kind = BLAZEI_KIND_HELLO, .lie.len = 112, .no_hello = true },
	{ .kind = BLAZEI_KIND_REFUSE, .lie.len = 72, .lie.refuse.reason = 1000 },
	{ .kind = BLAZEI_KIND_TXNS, .lie.len = 120, .lie.part.total = 64 },
	{ .kind = BLAZEI_KIND_TXNS, .lie.len = 120, .lie.part = { .total = 64, .offset = 8 } },
	{ .kind = BLAZEI_KIND_TXNS, .lie.len = 120, .lie.part.total = UINT64_MAX - 7 },
	{ .kind = BLAZEI_KIND_CHUNK, .lie.len = 120, .lie.part.total = 64 },
	{ .kind = BLAZEI_KIND_SNAPSHOT, .lie.len = 64 },
	{ .kind = BLAZEI_KIND_SNAPSHOT, .lie.len = 64, .lie.snapshot.entry_count = 9 },
	{ .kind = BLAZEI_KIND_SNAPSHOT,
	  .lie.len = 104,
	  .lie.snapshot = { .header.flags = BLAZEI_SNAPSHOT_AGAIN, .entry_count = 1 } },
	{ .kind = BLAZEI_KIND_SNAPSHOT,
	  .lie.len = 64,
	  .lie.snapshot.header.flags = BLAZEI_SNAPSHOT_RESUMED },
};

START_TEST(hostile_message_ends_the_attempt)
{
	struct node node = node_open(unique_name(), "honest");
	struct lie lie = lies[_i].lie;
	struct liar liar = liar_join(&node);
	struct blazei_link *ring = liar_is_asked(&liar, &node), *again;

	if (!lies[_i].no_hello)
		hello_send(ring, &liar, &liar.origin, CLAIMED);
	lie_send(ring, &lie, !lies[_i].no_hello, lies[_i].kind);
	/* It asks anew, in another ring, when it has given up on this one. */
	again = liar_is_asked(&liar, &node);
	/* No message at all. */
	ck_assert_int_eq(again->ops->publish(again, &lie, 23), 0);
	again->ops->close(liar_is_asked(&liar, &node));
	again->ops->close(again);
	ring->ops->close(ring);
	liar_leave(&liar);
	ck_assert_uint_eq(node_stats(&node).catch_ups, 0);
	ck_assert_int_eq(blaze_db_count(node.db), 0);
	node_close(&node);
}
END_TEST

/* Passes of a snapshot, one after the other, all of them in order, and nothing in them. */
START_TEST(hostile_talk_without_end_is_given_up)
{
	struct node node = node_open(unique_name(), "honest");
	struct liar liar = liar_join(&node);
	struct blazei_link *ring = liar_is_asked(&liar, &node);
	unsigned number = 1;
	int rc = 0;

	hello_send(ring, &liar, &liar.origin, CLAIMED);
	for (; number < 2000 && rc == 0; number++) {
		struct lie lie = { .len = sizeof(lie.snapshot) + sizeof(lie.snapshot.entries[0]) };

		lie.snapshot.header.flags = number > 1 ? BLAZEI_SNAPSHOT_AGAIN : 0;
		lie.snapshot.entry_count = 1;
		lie.snapshot.entries[0].origin = liar.origin;
		lie.snapshot.entries[0].seq = CLAIMED;
		rc = lie_try(ring, &lie, number, BLAZEI_KIND_SNAPSHOT);
		blazei_sleep_ns(20 * BLAZEI_NS_PER_MS);
	}
	ck_assert_int_eq(rc, -EIDRM);
	/* It had listened for a while. */
	ck_assert_uint_gt(number, 50);
	ring->ops->close(liar_is_asked(&liar, &node));
	ring->ops->close(ring);
	liar_leave(&liar);
	node_close(&node);
}
END_TEST

static uint64_t seq_of(struct node *node, const struct blazei_origin *origin)
{
	uint64_t seq;

	pthread_mutex_lock(&node->db->lock);
	seq = blazei_replica_vector_seq(node->db->replica, origin);
	pthread_mutex_unlock(&node->db->lock);
	return seq;
}

/* Neither by its hello nor by its snapshot. */
START_TEST(hostile_vector_does_not_raise_the_own_entry)
{
	struct node node = node_open(unique_name(), "honest"), other;
	struct liar liar = liar_join(&node);
	struct blazei_link *ring = liar_is_asked(&liar, &node), *again;
	struct blazei_origin name = origin_of(&node);
	struct blazei_session_entry entries[] = {
		{ .origin = name, .seq = 1000 },
		{ .origin = liar.origin, .seq = CLAIMED },
	};
	struct blaze_id id;

	hello_send(ring, &liar, &name, 1000);
	again = liar_is_asked(&liar, &node);
	/* Each time it leaves its name: others would take what it writes under that for old. */
	while (name = origin_of(&node), blazei_origin_equal(&entries[0].origin, &name))
		blazei_sleep_ns(100 * 1000);
	entries[0].origin = name;
	hello_send(again, &liar, &liar.origin, CLAIMED);
	snapshot_send(again, entries, 2);
	ring->ops->close(liar_is_asked(&liar, &node));
	ring->ops->close(ring);
	again->ops->close(again);
	ck_assert_uint_eq(node_stats(&node).catch_ups, 0);
	/* Its writes are numbered from 1, as others expect them. */
	other = node_open(node.db->name, "other");
	nodes_link(&other, &node);
	node_insert(&node, "n", 1, &id);
	while (node_value(&other, &id, "n") != 1)
		blazei_sleep_ns(100 * 1000);
	while (name = origin_of(&node), seq_of(&other, &name) == 0)
		blazei_sleep_ns(100 * 1000);
	ck_assert_uint_eq(seq_of(&other, &name), 1);
	liar_leave(&liar);
	node_close(&node);
	node_close(&other);
}
END_TEST

START_TEST(hostile_lane_and_board_are_refused)
{
	const char *name = unique_name();
	struct node node = node_open(name, "honest"), other = node_open(name, "other");
	struct liar liar = liar_join(&node);
	unsigned seed = 4711;
	struct blaze_id id;
	uint64_t junk[16];

	nodes_link(&node, &other);
	for (int i = 0; i < 2000; i++) {
		for (size_t j = 0; j < 16; j++)
			junk[j] = (uint64_t)rand_r(&seed) << 32 | (uint64_t)rand_r(&seed);
		ck_assert_int_eq(
		        liar.link->ops->publish(liar.link, junk, (size_t)rand_r(&seed) % 129), 0);
		/* Its board changes under the readers, mostly to what is invalid. */
		if (i % 16 == 0) {
			struct blazei_board_description text = liar.text;
			unsigned char *bytes = (unsigned char *)&text;

			bytes[(size_t)rand_r(&seed) % 208] ^= (unsigned char)rand_r(&seed);
			blazei_board_publish(liar.link->board, &text);
		}
	}
	blazei_board_publish(liar.link->board, &liar.text);
	node_insert(&node, "n", 1, &id);
	while (node_value(&other, &id, "n") != 1)
		blazei_sleep_ns(100 * 1000);
	while (node_stats(&node).refused == 0) {
		ck_assert_int_eq(liar.link->ops->publish(liar.link, junk, sizeof(junk)), 0);
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	}
	liar_leave(&liar);
	nodes_assert_equal(&node, &other);
	node_close(&node);
	node_close(&other);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hostile");
	TCase *tcase = tcase_create("hostile");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, hostile_vector_of_a_third_node_is_refused);
	tcase_add_loop_test(tcase, hostile_message_ends_the_attempt, 0,
	                    sizeof(lies) / sizeof(lies[0]));
	tcase_add_test(tcase, hostile_talk_without_end_is_given_up);
	tcase_add_test(tcase, hostile_vector_does_not_raise_the_own_entry);
	tcase_add_test(tcase, hostile_lane_and_board_are_refused);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
