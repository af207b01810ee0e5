/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes from a damaged medium and from a hostile writer. Damage is never applied: the hash shows
 * it. A hostile writer's hash is right, so what passes may be applied, but breaks nothing: the
 * replica reads, writes and hashes on. Meant to run under the sanitizers. The seed is printed;
 * BLAZE_TEST_SEED sets it. */
#include <time.h>

#include "tests/repl/session_pair.h"

#define MUTATIONS 10000u
#define LOG       24u

static uint64_t random_state;

static unsigned random_below(unsigned n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned)(random_state >> 33) % n;
}

static void random_seed(void)
{
	const char *text = getenv("BLAZE_TEST_SEED");

	random_state = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
	printf("seed %llu\n", (unsigned long long)random_state);
}

/* A log of every kind of write, with dependencies on another origin. */
static void fill(struct node *node, struct node *other)
{
	node_insert(other, 0, "{\"q\":1}");
	for (unsigned i = 0; node->count < LOG; i++) {
		if (i == 5)
			node_give(other, node, 1);
		if (i == 10)
			blazei_replica_set_server(node->replica, true);
		node_write(node, BLAZEI_WRITE_UPSERT, i % 5,
		           "{\"a\":1,\"bb\":\"text\",\"c\":[1,{\"x\":null}],\"d\":2.5}", NULL);
		node_write(node, BLAZEI_WRITE_UPDATE, i % 5, "{\"a\":7}", "bb");
		if (i % 3 == 0)
			node_delete(node, i % 5);
	}
}

/* Changes 1 to 4 places: a bit, a byte, or a whole number. False where it changed nothing. */
static bool mutate(uint8_t *bytes, size_t len, const void *original)
{
	static const uint64_t numbers[] = { 0,    1,          2,         255,       65535,
		                            4096, UINT32_MAX, INT32_MAX, UINT64_MAX };
	unsigned places = 1 + random_below(4);

	for (unsigned i = 0; i < places; i++) {
		size_t at = random_below((unsigned)len);
		unsigned size = 1u << random_below(4);
		uint64_t number = numbers[random_below(9)];

		switch (random_below(3)) {
		case 0:
			bytes[at] ^= (uint8_t)(1 << random_below(8));
			break;
		case 1:
			bytes[at] = (uint8_t)random_below(256);
			break;
		default:
			at &= ~(size_t)(size - 1);
			memcpy(bytes + at, &number, size);
		}
	}
	return memcmp(bytes, original, len) != 0;
}

/* The header's length and hash as a hostile writer would set them. */
static void reseal(struct blazei_txn_header *header, size_t len)
{
	header->bytes = (uint32_t)len;
	header->chain = blazei_txn_hash(header);
}

START_TEST(receive_damaged_is_refused_and_never_applied)
{
	struct node from;
	struct node other;
	struct node to;
	uint8_t before[16];
	uint8_t after[16];
	uint64_t refused = 0;

	random_seed();
	node_open(&from, 1);
	node_open(&other, 2);
	node_open(&to, 3);
	fill(&from, &other);
	node_give_all(&other, &to);
	for (unsigned i = 0; i < MUTATIONS; i++) {
		unsigned seq = 1 + i * from.count / MUTATIONS;
		const struct message *good = &from.log[seq - 1];
		void *bad = malloc(good->len);
		size_t len = good->len;

		if (seq > 1)
			node_give(&from, &to, seq - 1);
		ck_assert_int_eq(blazei_replica_hash_stamps(to.replica, before), 0);
		memcpy(bad, good->data, good->len);
		if (random_below(20) == 0)
			len = random_below((unsigned)len / 8) * 8;
		if (mutate(bad, good->len, good->data) || len < good->len) {
			ck_assert_int_eq(node_take(&to, bad, len), 0);
			refused++;
		}
		ck_assert_int_eq(blazei_replica_hash_stamps(to.replica, after), 0);
		ck_assert_mem_eq(before, after, 16);
		free(bad);
	}
	ck_assert_uint_eq(node_stats(&to).refused, refused);
	ck_assert_uint_eq(node_stats(&to).parked, 0);
	node_give_all(&from, &to);
	nodes_expect_equal(&from, &to);
	node_close(&from);
	node_close(&other);
	node_close(&to);
}
END_TEST

/* Everything that reads the table. */
static void read_all(struct node *node)
{
	struct blaze_id id = { { 0 } };
	uint8_t digest[16];

	ck_assert_int_eq(blazei_replica_hash(node->replica, digest), 0);
	ck_assert_int_eq(blazei_replica_hash_stamps(node->replica, digest), 0);
	while (blazei_replica_next_id(node->replica, &id, &id) == 0) {
		struct blaze_record *record;
		char *json;
		int i = 15;

		ck_assert_int_eq(blazei_replica_get(node->replica, &id, &record), 0);
		ck_assert_int_eq(blaze_record_to_json(record, &json), 0);
		free(json);
		blaze_record_free(record);
		while (i >= 0 && ++id.bytes[i] == 0)
			i--;
		if (i < 0)
			break;
	}
}

START_TEST(receive_hostile_breaks_nothing)
{
	struct node from;
	struct node other;
	struct node to;
	struct node third;
	uint64_t accepted = 0;

	random_seed();
	node_open(&from, 1);
	node_open(&other, 2);
	fill(&from, &other);
	for (unsigned round = 0; round < MUTATIONS / 25; round++) {
		node_open(&to, 3);
		node_open(&third, 4);
		node_give_all(&other, &to);
		for (unsigned i = 0; i < 25; i++) {
			uint64_t next = blazei_replica_vector_seq(to.replica, &from.origin);
			unsigned which = random_below(from.count);
			const struct message *good;
			uint8_t *bad;
			size_t len;

			/* A contradiction ends it for the origin: so mostly the next one. */
			if (random_below(4) && next < from.count)
				which = (unsigned)next;
			good = &from.log[which];
			len = good->len;
			bad = malloc(len);
			memcpy(bad, good->data, len);
			if (random_below(10))
				mutate(bad, len, good->data);
			if (random_below(20) == 0)
				len -= random_below((unsigned)(len - 48) / 8) * 8;
			reseal((void *)bad, len);
			ck_assert_int_ge(node_take(&to, bad, len), 0);
			node_write(&to, BLAZEI_WRITE_UPSERT, random_below(5), "{\"a\":9}", NULL);
			free(bad);
		}
		accepted += node_stats(&to).applied;
		read_all(&to);
		nodes_catch_up(&third, &to);
		nodes_expect_equal(&to, &third);
		node_close(&to);
		node_close(&third);
	}
	ck_assert_uint_gt(accepted, MUTATIONS / 100);
	node_close(&from);
	node_close(&other);
}
END_TEST

static enum pair_fate chunk_damage(struct pair *pair, unsigned at, bool from_answerer, void *data,
                                   size_t *len)
{
	struct blazei_session_part *part = data;
	uint8_t *good;
	size_t chunk;

	(void)pair;
	(void)at;
	if (!from_answerer || part->header.kind != BLAZEI_KIND_CHUNK)
		return PAIR_DELIVER;
	chunk = part->total;
	good = malloc(chunk);
	memcpy(good, part->bytes, chunk);
	mutate(part->bytes, chunk, good);
	free(good);
	if (random_below(20) == 0)
		chunk -= random_below((unsigned)(chunk - 48) / 8) * 8;
	if (random_below(4))
		reseal((void *)part->bytes, chunk);
	part->total = chunk;
	part->header.bytes = (uint32_t)(sizeof(*part) + chunk);
	part->header.hash = blazei_session_hash(&part->header);
	*len = part->header.bytes;
	return PAIR_DELIVER;
}

START_TEST(state_hostile_breaks_nothing)
{
	struct node from;
	struct node other;
	struct node to;
	struct node third;
	unsigned accepted = 0;

	random_seed();
	node_open(&from, 1);
	node_open(&other, 2);
	fill(&from, &other);
	for (unsigned round = 0; round < MUTATIONS / 250; round++) {
		struct pair pair;

		node_open(&to, 3);
		node_open(&third, 4);
		pair_open(&pair, &to, &from);
		pair.hook = chunk_damage;
		pair.whole = true;
		for (unsigned i = 0; i < 250; i++) {
			int error;

			pair_run(&pair);
			error = pair.asked.error;
			ck_assert(error == 0 || error == -EBADMSG || error == -EAGAIN);
			accepted += error == 0;
		}
		pair_close(&pair);
		node_write(&to, BLAZEI_WRITE_UPSERT, 1, "{\"a\":9}", NULL);
		read_all(&to);
		nodes_catch_up(&third, &to);
		nodes_expect_equal(&to, &third);
		node_close(&to);
		node_close(&third);
	}
	ck_assert_uint_gt(accepted, MUTATIONS / 100);
	node_close(&from);
	node_close(&other);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hostile");
	TCase *tcase = tcase_create("hostile");

	tcase_set_timeout(tcase, 300);
	tcase_add_test(tcase, receive_damaged_is_refused_and_never_applied);
	tcase_add_test(tcase, receive_hostile_breaks_nothing);
	tcase_add_test(tcase, state_hostile_breaks_nothing);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
