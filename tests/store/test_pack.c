/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of frames: what was packed comes out again; records are compressed where that saves a
 * unit, and nothing else is; what does not decompress is refused. */
#include <check.h>
#include <stdlib.h>
#include <zstd.h>

#include "lib/op/txn.h"
#include "lib/store/pack.h"

#define BUFFER_MAX (64u << 20)

static const struct blazei_frame_place place = {
	.store = { { 1, 2, 3 } },
	.segment = 7,
	.incarnation = 9,
	.offset = 8192,
};
static struct blazei_packer packer;
static struct blazei_unpacker unpacker;
static struct blazei_buffer entries, frames, out;
static uint64_t entry_count;

/* Wrapped by the linker: zstd finds no memory. */
static bool starved;

ZSTD_CCtx *__real_ZSTD_createCCtx(void);
ZSTD_DCtx *__real_ZSTD_createDCtx(void);
ZSTD_CCtx *__wrap_ZSTD_createCCtx(void);
ZSTD_DCtx *__wrap_ZSTD_createDCtx(void);

ZSTD_CCtx *__wrap_ZSTD_createCCtx(void)
{
	return starved ? NULL : __real_ZSTD_createCCtx();
}

ZSTD_DCtx *__wrap_ZSTD_createDCtx(void)
{
	return starved ? NULL : __real_ZSTD_createDCtx();
}

static void setup(void)
{
	entries.max = frames.max = out.max = BUFFER_MAX;
	entries.len = out.len = 0;
	entry_count = 0;
}

static void teardown(void)
{
	blazei_packer_fini(&packer);
	blazei_unpacker_fini(&unpacker);
	blazei_buffer_free(&entries);
	blazei_buffer_free(&frames);
	blazei_buffer_free(&out);
}

/* An entry of that kind, the body of which is all alike, or all noise. */
static void entry_add(uint8_t kind, uint32_t bytes, bool noise)
{
	static uint64_t state = 88172645463325252;
	uint64_t *words = calloc(1, bytes);

	ck_assert_ptr_nonnull(words);
	for (uint32_t i = 1; i < bytes / 8; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		words[i] = noise ? state : i % 16;
	}
	memcpy(words, &bytes, sizeof(bytes));
	((uint8_t *)words)[offsetof(struct blazei_txn_header, kind)] = kind;
	ck_assert_int_eq(blazei_buffer_append(&entries, words, bytes), 0);
	entry_count++;
	free(words);
}

static void pack_all(void)
{
	const struct blazei_chunk chunk = { entries.data, entries.len, 5, entry_count };

	ck_assert_int_eq(blazei_pack(&packer, &place, 4, &chunk, &frames), 0);
}

/* Checks that the frames hold the entries, in order. How many frames are compressed; *ret_state:
 * the bytes of those of records. */
static unsigned unpack_all(uint64_t *ret_state)
{
	struct blazei_frame_place at = place;
	uint64_t lsn = 5, state = 0;
	unsigned squeezed = 0;
	bool in_state = false, begun = true;

	out.len = 0;
	for (size_t offset = 0; offset < frames.len;) {
		const struct blazei_frame_header *frame = (const void *)(frames.data + offset);
		const uint8_t *body;
		int64_t bytes;

		at.offset = place.offset + offset;
		bytes = blazei_frame_check(frame, frames.len - offset, &at);
		ck_assert_int_gt(bytes, 0);
		ck_assert_uint_eq(frame->first_lsn, lsn);
		ck_assert_int_eq(blazei_unpack(&unpacker, frame, &body), 0);
		ck_assert_int_eq(blazei_buffer_append(&out, body, frame->raw_bytes), 0);
		if (begun)
			in_state = blazei_body_is_state(body, frame->raw_bytes);
		begun = (frame->flags & BLAZEI_FRAME_MORE) == 0;
		state += in_state ? (uint64_t)bytes : 0;
		/* Compressed are records alone, and where that saves a unit. */
		if (frame->stored_bytes != frame->raw_bytes) {
			squeezed++;
			ck_assert(in_state);
			ck_assert_uint_lt(blazei_frame_bytes(frame->stored_bytes),
			                  blazei_frame_bytes(frame->raw_bytes));
		}
		lsn += frame->count;
		offset += (size_t)bytes;
	}
	ck_assert_uint_eq(lsn, 5 + entry_count);
	ck_assert_uint_eq(out.len, entries.len);
	ck_assert_mem_eq(out.data, entries.data, out.len);
	*ret_state = state;
	return squeezed;
}

START_TEST(records_are_compressed_and_nothing_else_is)
{
	uint64_t state;

	entry_add(BLAZEI_KIND_TXN, 100000, false);
	entry_add(BLAZEI_KIND_STATE, 100000, false);
	entry_add(BLAZEI_KIND_STATE, 100000, false);
	entry_add(BLAZEI_KIND_TXN, 100000, false);
	entry_add(BLAZEI_KIND_STATE, 200000, false);
	entry_add(BLAZEI_KIND_STATE, 200000, false);
	pack_all();
	ck_assert_uint_eq(unpack_all(&state), 3);
	ck_assert_uint_eq(packer.state_bytes, state);
	ck_assert_uint_lt(frames.len, 2 * 102400 + 600000 / 4);
}
END_TEST

START_TEST(noise_and_small_ones_lie_as_they_are)
{
	uint64_t state;

	entry_add(BLAZEI_KIND_STATE, 100000, true);
	entry_add(BLAZEI_KIND_TXN, 64, false);
	entry_add(BLAZEI_KIND_STATE, 4000, false);
	pack_all();
	ck_assert_uint_eq(unpack_all(&state), 0);
	ck_assert_uint_eq(packer.state_bytes, state);
	ck_assert_uint_eq(state, 102400 + 4096);
}
END_TEST

/* Over more than one frame, of which each is compressed or not by what is in it. */
START_TEST(long_ones_come_out_whole)
{
	uint64_t state;

	entry_add(BLAZEI_KIND_STATE, 5u << 20, false);
	entry_add(BLAZEI_KIND_STATE, 1u << 20, true);
	entry_add(BLAZEI_KIND_TXN, 1u << 20, false);
	entry_add(BLAZEI_KIND_STATE, 64, false);
	pack_all();
	ck_assert_uint_ge(unpack_all(&state), 20);
	ck_assert_uint_eq(packer.state_bytes, state);
	ck_assert_uint_lt(frames.len, 5u << 19);
}
END_TEST

/* Bytes of what is compressed may be others, and the lengths, with a checksum that is right. */
START_TEST(what_does_not_decompress_is_refused)
{
	struct blazei_frame_header *frame;
	const uint8_t *body;
	uint8_t *before;
	unsigned refused = 0;

	entry_add(BLAZEI_KIND_STATE, 100000, false);
	pack_all();
	frame = (struct blazei_frame_header *)frames.data;
	before = malloc(frame->stored_bytes);
	ck_assert_ptr_nonnull(before);
	memcpy(before, frame + 1, frame->stored_bytes);
	for (uint32_t i = 0; i < frame->stored_bytes; i += 7) {
		memcpy(frame + 1, before, frame->stored_bytes);
		((uint8_t *)(frame + 1))[i] ^= 0x21;
		blazei_frame_seal(frame, &place);
		/* Another content of that length is the checksum's business. */
		refused += blazei_unpack(&unpacker, frame, &body) == -EBADMSG;
	}
	ck_assert_uint_gt(refused, 0);
	memcpy(frame + 1, before, frame->stored_bytes);
	frame->raw_bytes += 8;
	blazei_frame_seal(frame, &place);
	ck_assert_int_gt(blazei_frame_check(frame, frames.len, &place), 0);
	ck_assert_int_eq(blazei_unpack(&unpacker, frame, &body), -EBADMSG);
	frame->raw_bytes -= 16;
	blazei_frame_seal(frame, &place);
	ck_assert_int_eq(blazei_unpack(&unpacker, frame, &body), -EBADMSG);
	frame->raw_bytes += 8;
	frame->stored_bytes -= 1;
	blazei_frame_seal(frame, &place);
	ck_assert_int_eq(blazei_unpack(&unpacker, frame, &body), -EBADMSG);
	free(before);
}
END_TEST

/* It is written as it is, until there is memory; what is compressed can't be read. */
START_TEST(without_memory_it_lies_as_it_is)
{
	const uint8_t *body;

	entry_add(BLAZEI_KIND_STATE, 200000, false);
	starved = true;
	pack_all();
	ck_assert_uint_eq(unpack_all(&(uint64_t){ 0 }), 0);
	starved = false;
	pack_all();
	starved = true;
	ck_assert_int_eq(blazei_unpack(&unpacker, (const void *)frames.data, &body), -ENOMEM);
	starved = false;
	ck_assert_uint_eq(unpack_all(&(uint64_t){ 0 }), 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pack");
	TCase *tcase = tcase_create("pack");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, records_are_compressed_and_nothing_else_is);
	tcase_add_test(tcase, noise_and_small_ones_lie_as_they_are);
	tcase_add_test(tcase, long_ones_come_out_whole);
	tcase_add_test(tcase, what_does_not_decompress_is_refused);
	tcase_add_test(tcase, without_memory_it_lies_as_it_is);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
