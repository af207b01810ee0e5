/* SPDX-License-Identifier: Apache-2.0 */
/* The codec's checks: a valid transaction passes, and for each rule one that breaks just that rule
 * is refused, its hash being right. The clock and the order of stamps are here, too. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/op/hlc.h"
#include "lib/op/txn.h"

#define HLC UINT64_C(0x1800000000000000)

/* Formats laid end to end, on purpose. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wgnu-variable-sized-type-not-at-end"
#endif

/* Two groups of one id: life 1 with an existence op and two registers, life 2 with one. */
struct sample {
	struct blazei_txn_header header;
	struct blazei_origin origins[3];
	struct blazei_txn_dep deps[2];
	struct blazei_txn_group group;
	struct blazei_txn_existence existence;
	struct blazei_txn_register first;
	uint8_t first_bytes[8]; /* "a" = 1, then zeros */
	struct blazei_txn_register second;
	uint8_t second_bytes[8]; /* "bb" removed */
	struct blazei_txn_group group2;
	struct blazei_txn_register third;
	uint8_t third_bytes[16]; /* "a" = "text" */
};

/* The same as a state chunk. */
struct state_sample {
	struct blazei_txn_header header;
	struct blazei_origin origins[2];
	struct blazei_txn_group group;
	struct blazei_state_existence existence;
	struct blazei_state_register first;
	uint8_t first_bytes[8];
};

static struct sample sample;
static struct state_sample state;

static void set_up(void)
{
	const struct blaze_id id = { { 7, 7 } };

	sample = (struct sample){
		.header = { .bytes = sizeof(sample),
		            .kind = BLAZEI_KIND_TXN,
		            .format = BLAZEI_FORMAT,
		            .origin_count = 3,
		            .seq = 5,
		            .hlc = HLC,
		            .record_count = 2,
		            .dep_count = 2 },
		.origins = { { .incarnation = 1 }, { .incarnation = 2 }, { .incarnation = 3 } },
		.deps = { { .seq = 9, .origin = 1 }, { .seq = 8, .origin = 2 } },
		.group = { .id = id,
		           .life = 1,
		           .register_count = 2,
		           .flags = BLAZEI_GROUP_EXISTENCE | BLAZEI_GROUP_ALIVE },
		.existence = { .priority = HLC, .seen_origin = BLAZEI_SEEN_NOTHING },
		.first = { .seen_hlc = HLC - 1, .seen_origin = 2, .name_len = 1, .value_len = 1 },
		.first_bytes = { 'a', 0x01 },
		.second = { .seen_origin = BLAZEI_SEEN_NOTHING,
		            .name_len = 2,
		            .flags = BLAZEI_REGISTER_UNSET },
		.second_bytes = { 'b', 'b' },
		.group2 = { .id = id, .life = 2, .register_count = 1 },
		.third = { .seen_origin = BLAZEI_SEEN_NOTHING, .name_len = 1, .value_len = 8 },
		.third_bytes = { 'a', 0x67, 't', 'e', 'x', 't', 'i', 'n', 'g' },
	};
	state = (struct state_sample){
		.header = { .bytes = sizeof(state),
		            .kind = BLAZEI_KIND_STATE,
		            .format = BLAZEI_FORMAT,
		            .origin_count = 2,
		            .record_count = 1 },
		.origins = { { .incarnation = 1 }, { .incarnation = 2 } },
		.group = { .id = id,
		           .life = 1,
		           .register_count = 1,
		           .flags = BLAZEI_GROUP_EXISTENCE },
		.existence = { .priority = 3, .hlc = 4, .seq = 1, .origin = 1 },
		.first = { .hlc = 5, .seq = 2, .name_len = 1, .value_len = 1, .life = 7 },
		.first_bytes = { 'a', 0x01 },
	};
}

static int sample_check(void)
{
	sample.header.chain = blazei_txn_hash(&sample.header);
	return blazei_txn_check(&sample, sizeof(sample));
}

static int state_check(void)
{
	state.header.chain = blazei_txn_hash(&state.header);
	return blazei_state_check(&state, sizeof(state));
}

START_TEST(txn_check_accepts_valid)
{
	ck_assert_int_eq(sample_check(), 0);
	ck_assert_int_eq(state_check(), 0);
	/* Each is not the other. */
	ck_assert_int_eq(blazei_state_check(&sample, sizeof(sample)), -EBADMSG);
	ck_assert_int_eq(blazei_txn_check(&state, sizeof(state)), -EBADMSG);
}
END_TEST

START_TEST(txn_check_wrong_length_is_ebadmsg)
{
	static uint64_t longer[sizeof(sample) / 8 + 1];

	ck_assert_int_eq(sample_check(), 0);
	memcpy(longer, &sample, sizeof(sample));
	for (size_t len = 0; len < sizeof(sample); len++)
		ck_assert_int_eq(blazei_txn_check(longer, len), -EBADMSG);
	ck_assert_int_eq(blazei_txn_check(longer, sizeof(longer)), -EBADMSG);
	((struct blazei_txn_header *)longer)->bytes = sizeof(longer);
	((struct blazei_txn_header *)longer)->chain = blazei_txn_hash((void *)longer);
	ck_assert_int_eq(blazei_txn_check(longer, sizeof(longer)), -EBADMSG);
}
END_TEST

START_TEST(txn_check_any_flipped_bit_is_ebadmsg)
{
	uint8_t *bytes = (uint8_t *)&sample;

	ck_assert_int_eq(sample_check(), 0);
	for (size_t i = 0; i < sizeof(sample) * 8; i++) {
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		ck_assert_int_eq(blazei_txn_check(&sample, sizeof(sample)), -EBADMSG);
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	ck_assert_int_eq(blazei_txn_check(&sample, sizeof(sample)), 0);
}
END_TEST

/* One broken rule each; the hash is right. */
#define DAMAGES(X)                                                                                 \
	X(header.format = 2)                                                                       \
	X(header.kind = 16)                                                                        \
	X(header.origin_count = 0)                                                                 \
	X(header.origin_count = 2)                                                                 \
	X(header.origin_count = 4)                                                                 \
	X(header.origin_count = 4097)                                                              \
	X(header.seq = 0)                                                                          \
	X(header.hlc = 0)                                                                          \
	X(header.record_count = 0)                                                                 \
	X(header.record_count = 1)                                                                 \
	X(header.record_count = 3)                                                                 \
	X(header.record_count = UINT32_MAX)                                                        \
	X(header.dep_count = 1)                                                                    \
	X(header.dep_count = UINT16_MAX)                                                           \
	X(header.reserved = 1)                                                                     \
	X(deps[0].seq = 0)                                                                         \
	X(deps[0].origin = 0)                                                                      \
	X(deps[0].origin = 2)                                                                      \
	X(deps[1].origin = 1)                                                                      \
	X(deps[1].origin = 3)                                                                      \
	X(deps[1].reserved[0] = 1)                                                                 \
	X(deps[1].reserved[2] = 1)                                                                 \
	X(deps[1].hlc = HLC)                                                                       \
	X(origins[0].incarnation = BLAZEI_RETIRED)                                                 \
	X(group.id.bytes[0] = 8)                                                                   \
	X(group.life = 0)                                                                          \
	X(group.life = 2)                                                                          \
	X(group.life = 3)                                                                          \
	X(group2.life = UINT32_MAX)                                                                \
	X(group.register_count = 1)                                                                \
	X(group.register_count = 3)                                                                \
	X(group.register_count = UINT16_MAX)                                                       \
	X(group.flags = 0)                                                                         \
	X(group.flags = BLAZEI_GROUP_ALIVE)                                                        \
	X(group.flags = 7)                                                                         \
	X(group2.flags = BLAZEI_GROUP_EXISTENCE)                                                   \
	X(group2.flags = BLAZEI_GROUP_ALIVE)                                                       \
	X(group2.register_count = 0)                                                               \
	X(existence.priority = HLC + 1)                                                            \
	X(existence.seen_hlc = 1)                                                                  \
	X(existence.seen_origin = 0)                                                               \
	X(existence.seen_origin = 3)                                                               \
	X(existence.reserved[1] = 1)                                                               \
	X(first.priority = HLC + 1)                                                                \
	X(first.seen_hlc = HLC)                                                                    \
	X(first.seen_hlc = 0)                                                                      \
	X(first.seen_origin = 3)                                                                   \
	X(first.seen_origin = BLAZEI_SEEN_NOTHING)                                                 \
	X(first.name_len = 0)                                                                      \
	X(first.name_len = 255)                                                                    \
	X(first.flags = BLAZEI_REGISTER_UNSET)                                                     \
	X(first.flags = 2)                                                                         \
	X(first.value_len = 0)                                                                     \
	X(first.value_len = 2)                                                                     \
	X(first.value_len = UINT32_MAX)                                                            \
	X(first_bytes[0] = 0)                                                                      \
	X(first_bytes[0] = 0xff)                                                                   \
	X(first_bytes[1] = 0xff)                                                                   \
	X(first_bytes[2] = 1)                                                                      \
	X(first_bytes[7] = 1)                                                                      \
	X(second.flags = 0)                                                                        \
	X(second.name_len = 1)                                                                     \
	X(second_bytes[5] = 1)                                                                     \
	X(third_bytes[1] = 0x66)                                                                   \
	X(third_bytes[1] = 0x68)                                                                   \
	X(third_bytes[5] = 0xc0)                                                                   \
	X(third_bytes[9] = 1)

#define STATE_DAMAGES(X)                                                                           \
	X(header.seq = 1)                                                                          \
	X(header.hlc = 1)                                                                          \
	X(header.prev = 1)                                                                         \
	X(header.dep_count = 1)                                                                    \
	X(header.record_count = 0)                                                                 \
	X(header.record_count = 2)                                                                 \
	X(header.origin_count = 1)                                                                 \
	X(header.origin_count = 3)                                                                 \
	X(group.life = 0)                                                                          \
	X(group.life = UINT32_MAX)                                                                 \
	X(group.flags = 0)                                                                         \
	X(group.flags = BLAZEI_GROUP_ALIVE)                                                        \
	X(group.register_count = 0)                                                                \
	X(group.register_count = 2)                                                                \
	X(existence.priority = 5)                                                                  \
	X(existence.hlc = 0)                                                                       \
	X(existence.seq = 0)                                                                       \
	X(existence.origin = 2)                                                                    \
	X(existence.reserved[0] = 1)                                                               \
	X(first.priority = 6)                                                                      \
	X(first.hlc = 0)                                                                           \
	X(first.seq = 0)                                                                           \
	X(first.origin = 2)                                                                        \
	X(first.flags = 1)                                                                         \
	X(first.flags = 2)                                                                         \
	X(first.value_len = 9)                                                                     \
	X(first.life = 0)                                                                          \
	X(first.life = UINT32_MAX)                                                                 \
	X(first.reserved = 1)                                                                      \
	X(first_bytes[0] = 0xff)                                                                   \
	X(first_bytes[1] = 0x18)                                                                   \
	X(first_bytes[7] = 1)

START_TEST(txn_check_each_broken_rule_is_ebadmsg)
{
#define X(damage)                                                                                  \
	set_up();                                                                                  \
	sample.damage;                                                                             \
	ck_assert_msg(sample_check() == -EBADMSG, "accepted with %s", #damage);
	DAMAGES(X)
#undef X
}
END_TEST

START_TEST(state_check_each_broken_rule_is_ebadmsg)
{
#define X(damage)                                                                                  \
	set_up();                                                                                  \
	state.damage;                                                                              \
	ck_assert_msg(state_check() == -EBADMSG, "accepted with %s", #damage);
	STATE_DAMAGES(X)
#undef X
}
END_TEST

/* A transaction of one field, whose name and value, the number 1, are these bytes. */
static int content_check(const uint8_t *bytes, size_t name_len)
{
	static struct {
		struct blazei_txn_header header;
		struct blazei_origin origin;
		struct blazei_txn_group group;
		struct blazei_txn_register reg;
		uint8_t bytes[24];
	} small;
	const size_t padded = (name_len + 1 + 7) & ~(size_t)7;
	const size_t len = offsetof(typeof(small), bytes) + padded;

	small.header = (struct blazei_txn_header){
		.bytes = (uint32_t)len,
		.kind = BLAZEI_KIND_TXN,
		.format = BLAZEI_FORMAT,
		.origin_count = 1,
		.seq = 1,
		.hlc = HLC,
		.record_count = 1,
	};
	small.group = (struct blazei_txn_group){ .life = 1, .register_count = 1 };
	small.reg = (struct blazei_txn_register){
		.seen_origin = BLAZEI_SEEN_NOTHING,
		.name_len = (uint8_t)name_len,
		.value_len = 1,
	};
	memcpy(small.bytes, bytes, padded);
	small.header.chain = blazei_txn_hash(&small.header);
	return blazei_txn_check(&small, len);
}

START_TEST(txn_check_each_wrong_byte_of_a_name_or_padding_is_ebadmsg)
{
	static const uint8_t wrong[] = { 0x00, 0x80, 0xc0, 0xff };

	for (size_t len = 0; len <= 20; len++) {
		uint8_t bytes[24] = { 0 };

		memset(bytes, 'n', len);
		bytes[len] = 1;
		ck_assert_int_eq(content_check(bytes, len), 0);
		for (size_t i = 0; i < ((len + 8) & ~(size_t)7); i++) {
			for (size_t w = 0; w < sizeof(wrong); w++) {
				const uint8_t right = bytes[i];

				if (i >= len && (i == len || wrong[w] == 0))
					continue;
				bytes[i] = wrong[w];
				ck_assert_int_eq(content_check(bytes, len), -EBADMSG);
				bytes[i] = right;
			}
		}
		for (size_t i = 0; i + 1 < len; i++) {
			memcpy(bytes + i, "\xc3\xa9", 2);
			ck_assert_int_eq(content_check(bytes, len), 0);
			memcpy(bytes + i, "nn", 2);
		}
	}
}
END_TEST

START_TEST(hlc_is_above_everything_seen)
{
	struct blazei_hlc clock = { 0 };
	uint64_t now = UINT64_C(1800000000123456789);
	uint64_t last = 0;
	bool ascends = true;

	for (unsigned i = 0; i < 70000; i++) {
		uint64_t hlc = blazei_hlc_next(&clock, i == 100 ? now - BLAZEI_NS_PER_S : now);

		ascends = ascends && hlc > last;
		blazei_hlc_observe(&clock, hlc);
		last = hlc;
	}
	ck_assert(ascends);
	blazei_hlc_observe(&clock, last + 1000);
	ck_assert_uint_eq(blazei_hlc_next(&clock, now), last + 1001);
	blazei_hlc_observe(&clock, 5);
	ck_assert_uint_eq(blazei_hlc_next(&clock, now), last + 1001);
	now += BLAZEI_NS_PER_S;
	ck_assert_uint_eq(blazei_hlc_next(&clock, now), now & ~UINT64_C(0xffff));
}
END_TEST

START_TEST(hlc_ahead_is_beyond_two_minutes)
{
	const uint64_t now = UINT64_C(1800000000000000000);

	ck_assert(!blazei_hlc_ahead(now, now));
	ck_assert(!blazei_hlc_ahead(0, now));
	ck_assert(!blazei_hlc_ahead(now + 120 * BLAZEI_NS_PER_S, now));
	ck_assert(blazei_hlc_ahead(now + 120 * BLAZEI_NS_PER_S + 1, now));
	ck_assert(blazei_hlc_ahead(UINT64_MAX, now));
	ck_assert(!blazei_hlc_ahead(UINT64_MAX, UINT64_MAX - 1));
}
END_TEST

START_TEST(stamps_compare_by_priority_clock_identity_seq)
{
	/* Index 0 has the greater identity. */
	const struct blazei_origin origins[] = { { .incarnation = 9 }, { .incarnation = 1 } };
	const struct blazei_stamp ascending[] = {
		{ .priority = 1, .hlc = 9, .seq = 9, .origin = 0 },
		{ .priority = 2, .hlc = 3, .seq = 8, .origin = 0 },
		{ .priority = 2, .hlc = 4, .seq = 6, .origin = 1 },
		{ .priority = 2, .hlc = 4, .seq = 7, .origin = 1 },
		{ .priority = 2, .hlc = 4, .seq = 5, .origin = 0 },
	};
	const unsigned count = sizeof(ascending) / sizeof(*ascending);

	for (unsigned i = 0; i < count; i++)
		for (unsigned j = 0; j < count; j++)
			ck_assert_int_eq(blazei_stamp_beats(&ascending[i], &ascending[j], origins),
			                 i > j);
}
END_TEST

START_TEST(origins_compare_by_node_then_incarnation)
{
	struct blazei_origin low = { .node = { { 1 } }, .incarnation = 256 };
	struct blazei_origin high = { .node = { { 2 } }, .incarnation = 1 };

	ck_assert_int_lt(blazei_origin_compare(&low, &high), 0);
	high.node = low.node;
	ck_assert_int_gt(blazei_origin_compare(&low, &high), 0);
	high.incarnation = 256;
	ck_assert_int_eq(blazei_origin_compare(&low, &high), 0);
	ck_assert(blazei_origin_equal(&low, &high));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("txn");
	TCase *tcase = tcase_create("txn");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, NULL);
	tcase_add_test(tcase, txn_check_accepts_valid);
	tcase_add_test(tcase, txn_check_wrong_length_is_ebadmsg);
	tcase_add_test(tcase, txn_check_any_flipped_bit_is_ebadmsg);
	tcase_add_test(tcase, txn_check_each_broken_rule_is_ebadmsg);
	tcase_add_test(tcase, state_check_each_broken_rule_is_ebadmsg);
	tcase_add_test(tcase, txn_check_each_wrong_byte_of_a_name_or_padding_is_ebadmsg);
	tcase_add_test(tcase, hlc_is_above_everything_seen);
	tcase_add_test(tcase, hlc_ahead_is_beyond_two_minutes);
	tcase_add_test(tcase, stamps_compare_by_priority_clock_identity_seq);
	tcase_add_test(tcase, origins_compare_by_node_then_incarnation);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
