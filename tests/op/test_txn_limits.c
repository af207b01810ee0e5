/* SPDX-License-Identifier: Apache-2.0 */
/* The codec's limits, from both sides: what is just within them passes, the next is refused. And
 * the rules that need transactions of another shape than the one in test_txn.c. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/op/record.h"
#include "lib/op/txn.h"
#include "tests/op/help.h"

#define HLC UINT64_C(0x1800000000000000)

/* A transaction or a chunk in the making. */
struct builder {
	uint8_t *data;
	size_t len;
};

static void *extend(struct builder *builder, size_t bytes)
{
	void *at = builder->data + builder->len;

	ck_assert_uint_le(builder->len + bytes, BLAZEI_TXN_BYTES_MAX + 64);
	memset(at, 0, bytes);
	builder->len += bytes;
	return at;
}

static struct builder begin(uint8_t kind, unsigned origin_count)
{
	struct builder builder = { .data = aligned_alloc(8, BLAZEI_TXN_BYTES_MAX + 64) };
	struct blazei_txn_header *header;

	ck_assert_ptr_nonnull(builder.data);
	header = extend(&builder, sizeof(*header));
	header->kind = kind;
	header->format = BLAZEI_FORMAT;
	header->origin_count = (uint16_t)origin_count;
	if (kind == BLAZEI_KIND_TXN) {
		header->seq = 1;
		header->hlc = HLC;
	}
	for (unsigned i = 0; i < origin_count; i++) {
		struct blazei_origin *origin = extend(&builder, sizeof(*origin));

		origin->incarnation = i + 1;
	}
	return builder;
}

/* Adds a group of the id whose first byte is given. */
static struct blazei_txn_group *add_group(struct builder *builder, uint8_t id, uint32_t life,
                                          bool existence)
{
	struct blazei_txn_header *header = (struct blazei_txn_header *)builder->data;
	struct blazei_txn_group *group = extend(builder, sizeof(*group));
	struct blazei_txn_existence *op;

	group->id.bytes[0] = id;
	group->life = life;
	header->record_count++;
	if (existence) {
		group->flags = BLAZEI_GROUP_EXISTENCE | BLAZEI_GROUP_ALIVE;
		op = extend(builder, sizeof(*op));
		op->seen_origin = BLAZEI_SEEN_NOTHING;
	}
	return group;
}

/* Adds a register that holds value_len bytes of CBOR: a byte string with its head. */
static void add_register(struct builder *builder, struct blazei_txn_group *group, const char *name,
                         size_t value_len)
{
	const size_t name_len = strlen(name);
	struct blazei_txn_register *reg =
	        extend(builder, sizeof(*reg) + blazei_round_up((uint64_t)name_len + value_len, 8));
	const size_t head_len = value_len > 65535 + 3 ? 5 : value_len > 257 ? 3 : 1;

	reg->seen_origin = BLAZEI_SEEN_NOTHING;
	reg->name_len = (uint8_t)name_len;
	reg->value_len = (uint32_t)value_len;
	memcpy(reg->bytes, name, name_len);
	ck_assert_uint_eq(
	        blazei_encode_bytes_head(reg->bytes + name_len, head_len, value_len - head_len),
	        head_len);
	group->register_count++;
}

/* Puts length and hash right, and checks. */
static int check(const struct builder *builder)
{
	struct blazei_txn_header *header = (struct blazei_txn_header *)builder->data;

	header->bytes = (uint32_t)builder->len;
	header->chain = blazei_txn_hash(header);
	return header->kind == BLAZEI_KIND_TXN ? blazei_txn_check(header, builder->len)
	                                       : blazei_state_check(header, builder->len);
}

static int check_and_free(struct builder *builder)
{
	const int r = check(builder);

	free(builder->data);
	return r;
}

START_TEST(hash_covers_the_bytes_before_it)
{
	struct blazei_txn_header one = { .bytes = sizeof(one), .kind = 1, .format = 1 };
	struct blazei_txn_header other = one;

	ck_assert_uint_eq(blazei_txn_hash(&one), blazei_txn_hash(&other));
	other.kind = 2;
	ck_assert_uint_ne(blazei_txn_hash(&one), blazei_txn_hash(&other));
	other = one;
	other.origin_count = 1;
	ck_assert_uint_ne(blazei_txn_hash(&one), blazei_txn_hash(&other));
	other = one;
	other.chain = 7; /* its own place is not covered */
	ck_assert_uint_eq(blazei_txn_hash(&one), blazei_txn_hash(&other));
}
END_TEST

START_TEST(chunk_of_a_header_alone_accepted)
{
	struct builder chunk = begin(BLAZEI_KIND_STATE, 0);

	ck_assert_uint_eq(chunk.len, sizeof(struct blazei_txn_header));
	ck_assert_int_eq(check_and_free(&chunk), 0);
}
END_TEST

START_TEST(origins_up_to_4096_accepted)
{
	for (unsigned extra = 0; extra < 2; extra++) {
		struct builder txn = begin(BLAZEI_KIND_TXN, BLAZEI_ORIGINS_MAX + extra);

		add_group(&txn, 1, 1, true);
		ck_assert_int_eq(check_and_free(&txn), extra ? -EBADMSG : 0);
	}
}
END_TEST

static int check_life(uint32_t life, bool existence)
{
	struct builder txn = begin(BLAZEI_KIND_TXN, 1);

	add_register(&txn, add_group(&txn, 1, life, existence), "a", 3);
	return check_and_free(&txn);
}

/* The greatest one is no record's: no existence is written in it. */
START_TEST(life_up_to_its_maximum_accepted)
{
	ck_assert_int_eq(check_life(BLAZEI_LIFE_MAX - 1, true), 0);
	ck_assert_int_eq(check_life(BLAZEI_LIFE_MAX, true), -EBADMSG);
	ck_assert_int_eq(check_life(BLAZEI_LIFE_MAX, false), 0);
	ck_assert_int_eq(check_life(BLAZEI_LIFE_MAX + 1, false), -EBADMSG);
}
END_TEST

/* A chunk with existence of one life and a register of another. */
static int check_state_lives(uint32_t life, uint32_t register_life)
{
	struct builder chunk = begin(BLAZEI_KIND_STATE, 1);
	struct blazei_txn_group *group = add_group(&chunk, 1, life, false);
	struct blazei_state_existence *op = extend(&chunk, sizeof(*op));
	struct blazei_state_register *reg = extend(&chunk, sizeof(*reg) + 8);

	group->flags = BLAZEI_GROUP_EXISTENCE;
	group->register_count = 1;
	op->hlc = reg->hlc = HLC;
	op->seq = reg->seq = 1;
	reg->life = register_life;
	reg->name_len = 1;
	reg->value_len = 1;
	reg->bytes[0] = 'a';
	reg->bytes[1] = 0x01;
	return check_and_free(&chunk);
}

START_TEST(life_in_state_up_to_its_maximum_accepted)
{
	ck_assert_int_eq(check_state_lives(1, 1), 0);
	ck_assert_int_eq(check_state_lives(BLAZEI_LIFE_MAX - 1, 1), 0);
	ck_assert_int_eq(check_state_lives(BLAZEI_LIFE_MAX, 1), -EBADMSG);
	ck_assert_int_eq(check_state_lives(1, BLAZEI_LIFE_MAX), 0);
	ck_assert_int_eq(check_state_lives(1, BLAZEI_LIFE_MAX + 1), -EBADMSG);
	ck_assert_int_eq(check_state_lives(1, 0), -EBADMSG);
}
END_TEST

START_TEST(value_up_to_a_mebibyte_accepted)
{
	for (unsigned extra = 0; extra < 2; extra++) {
		struct builder txn = begin(BLAZEI_KIND_TXN, 1);

		add_register(&txn, add_group(&txn, 1, 1, false), "",
		             BLAZEI_RECORD_BYTES_MAX + extra);
		ck_assert_int_eq(check_and_free(&txn), extra ? -EBADMSG : 0);
	}
}
END_TEST

START_TEST(transaction_up_to_16_mebibytes_accepted)
{
	for (unsigned extra = 0; extra < 16; extra += 8) {
		struct builder txn = begin(BLAZEI_KIND_TXN, 1);
		struct blazei_txn_group *group;
		char name[2] = "a";

		group = add_group(&txn, 1, 1, false);
		for (; name[0] <= 'o'; name[0]++)
			add_register(&txn, group, name, BLAZEI_RECORD_BYTES_MAX - 1);
		/* The last one fills it up: 24 bytes before its name and value. */
		add_register(&txn, group, "p", BLAZEI_TXN_BYTES_MAX - txn.len - 24 - 1 + extra);
		ck_assert_uint_eq(txn.len, BLAZEI_TXN_BYTES_MAX + extra);
		ck_assert_int_eq(check_and_free(&txn), extra ? -EBADMSG : 0);
	}
}
END_TEST

START_TEST(existence_once_per_id)
{
	/* Groups as id, life, existence; the last says whether that is valid. */
	static const struct {
		struct {
			uint8_t id;
			uint8_t life;
			bool existence;
		} groups[3];
		int verdict;
	} cases[] = {
		{ { { 1, 1, true }, { 2, 1, true }, { 3, 1, true } }, 0 },
		{ { { 1, 1, true }, { 1, 2, false }, { 2, 1, true } }, 0 },
		{ { { 1, 1, false }, { 1, 2, true }, { 2, 1, true } }, 0 },
		{ { { 1, 1, true }, { 1, 2, true }, { 2, 1, false } }, -EBADMSG },
		{ { { 1, 1, true }, { 1, 2, false }, { 1, 3, true } }, -EBADMSG },
		{ { { 1, 1, true }, { 2, 1, true }, { 2, 2, true } }, -EBADMSG },
		{ { { 1, 1, true }, { 2, 2, true }, { 2, 2, false } }, -EBADMSG },
		{ { { 1, 1, true }, { 2, 2, false }, { 2, 1, false } }, -EBADMSG },
		{ { { 1, 1, true }, { 3, 2, false }, { 2, 3, false } }, -EBADMSG },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct builder txn = begin(BLAZEI_KIND_TXN, 1);

		for (unsigned n = 0; n < 3; n++)
			add_register(&txn,
			             add_group(&txn, cases[i].groups[n].id, cases[i].groups[n].life,
			                       cases[i].groups[n].existence),
			             "a", 3);
		ck_assert_msg(check_and_free(&txn) == cases[i].verdict, "case %zu", i);
	}
}
END_TEST

START_TEST(register_once_and_in_order)
{
	static const struct {
		const char *first, *second;
		int verdict;
	} cases[] = { { "a", "b", 0 },         { "a", "a", -EBADMSG }, { "b", "a", -EBADMSG },
		      { "a", "aa", 0 },        { "b", "aa", 0 },       { "aa", "a", -EBADMSG },
		      { "", "", -EBADMSG },    { "", "a", 0 },         { "ab", "ab", -EBADMSG },
		      { "ab", "aa", -EBADMSG } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct builder txn = begin(BLAZEI_KIND_TXN, 1);
		struct blazei_txn_group *group = add_group(&txn, 1, 1, false);

		add_register(&txn, group, cases[i].first, 3);
		add_register(&txn, group, cases[i].second, 3);
		ck_assert_msg(check_and_free(&txn) == cases[i].verdict, "case %zu", i);
	}
}
END_TEST

START_TEST(registers_of_an_id_up_to_4096_accepted)
{
	/* In groups of lives of one id and of another, how many each. */
	static const struct {
		unsigned registers[3];
		int verdict;
	} cases[] = {
		{ { 4096, 0, 4096 }, 0 },         { { 4097, 0, 1 }, -EBADMSG },
		{ { 4000, 96, 4096 }, 0 },        { { 4000, 97, 1 }, -EBADMSG },
		{ { 1, 1, 4097 }, -EBADMSG },     { { 1, 65535, 1 }, -EBADMSG },
		{ { 65535, 4096, 1 }, -EBADMSG },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct builder txn = begin(BLAZEI_KIND_TXN, 1);

		for (unsigned g = 0; g < 3; g++) {
			struct blazei_txn_group *group;
			char name[16];

			if (cases[i].registers[g] == 0)
				continue;
			group = add_group(&txn, g == 2 ? 2 : 1, g + 1, false);
			for (unsigned n = 0; n < cases[i].registers[g]; n++) {
				snprintf(name, sizeof(name), "%05u", n);
				add_register(&txn, group, name, 3);
			}
		}
		ck_assert_msg(check_and_free(&txn) == cases[i].verdict, "case %zu", i);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { hash_covers_the_bytes_before_it,
		                       chunk_of_a_header_alone_accepted,
		                       origins_up_to_4096_accepted,
		                       life_up_to_its_maximum_accepted,
		                       life_in_state_up_to_its_maximum_accepted,
		                       value_up_to_a_mebibyte_accepted,
		                       transaction_up_to_16_mebibytes_accepted,
		                       existence_once_per_id,
		                       register_once_and_in_order,
		                       registers_of_an_id_up_to_4096_accepted };

	return run_tests("txn_limits", tests, sizeof(tests) / sizeof(*tests));
}
