/* SPDX-License-Identifier: Apache-2.0 */
/* Catch-up sessions with one that lies: the sum of its messages is right, the content is not. The
 * seed is printed; BLAZE_TEST_SEED sets it. */
#include "tests/repl/random.h"
#include "tests/repl/session_pair.h"

#define FUZZ_ROUNDS 3000u

/* Changes 1 to 4 places of a message behind its header and seals it again. */
static enum pair_fate lie(struct pair *pair, unsigned at, bool from_answerer, void *data,
                          size_t *len)
{
	static const uint64_t numbers[] = { 0,    1,          2,         255,       65535,
		                            4096, UINT32_MAX, INT32_MAX, UINT64_MAX };
	const unsigned *which = pair->arg;
	struct blazei_session_header *header = data;
	uint8_t *bytes = data;
	unsigned places = 1 + random_below(4);

	(void)from_answerer;
	if (at != *which)
		return PAIR_DELIVER;
	for (unsigned i = 0; i < places; i++) {
		unsigned size = 1u << random_below(4);
		size_t place = random_below((unsigned)*len) & ~(size_t)(size - 1);

		/* Mostly where the fields are. */
		if (random_below(4) != 0)
			place %= 160;
		if (place + size > *len)
			continue;
		if (random_below(3) == 0)
			memcpy(bytes + place, &numbers[random_below(9)], size);
		else
			bytes[place] ^= (uint8_t)(1u << random_below(8));
	}
	header->bytes = (uint32_t)*len;
	header->magic = BLAZEI_SESSION_MAGIC;
	message_seal(header);
	return PAIR_DELIVER;
}

/* Whatever a liar says, the replica stays one that reads, writes, hashes and holds no more than its
 * vector tells (pair_deliver checks that); and an honest session with a third node succeeds. */
START_TEST(lying_messages_break_nothing)
{
	unsigned which;

	random_seed();
	for (unsigned round = 0; round < FUZZ_ROUNDS; round++) {
		struct pair pair;
		struct node a;
		struct node b;
		struct node c;
		uint8_t digest[16];

		pair_fill(&a, &b, round % 2);
		node_open_history(&c, 3, 0);
		node_writes(&c, 200, 2);
		which = random_below(round % 2 ? 9 : 5);
		pair_open(&pair, &a, &b);
		pair.hook = lie;
		pair.arg = &which;
		pair_run(&pair);
		ck_assert_int_eq(blazei_replica_hash_stamps(a.replica, digest), 0);
		node_writes(&a, 95, 1);
		pair.hook = NULL;
		pair.answerer = &c;
		pair_run(&pair);
		ck_assert(pair.asked.state == BLAZEI_SESSION_LIVE ||
		          blazei_replica_displaced(a.replica));
		pair_close(&pair);
		node_close(&a);
		node_close(&b);
		node_close(&c);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session_lies");
	TCase *tcase = tcase_create("session_lies");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, lying_messages_break_nothing);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
