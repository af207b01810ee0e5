/* SPDX-License-Identifier: Apache-2.0 */
/* Frames and roots: what is made is accepted, and nothing else: no other place, no flipped bit, no
 * block of another time, no cut. */
#include <check.h>
#include <stdlib.h>

#include <blaze/db.h>

#include "lib/op/hash.h"
#include "lib/store/frame.h"
#include "lib/store/root.h"

static _Alignas(4096) uint8_t bytes[BLAZEI_FRAME_BYTES_MAX];
static const struct blazei_frame_place place = {
	.store = { { 1, 2, 3 } },
	.segment = 7,
	.incarnation = 0x1122334455667788,
	.offset = 8192,
};

static uint32_t frame_make(uint32_t body_bytes, uint8_t fill)
{
	struct blazei_frame_header *frame = (struct blazei_frame_header *)bytes;

	memset(bytes, 0xee, sizeof(bytes));
	memset(frame, 0, sizeof(*frame));
	frame->first_lsn = 5;
	frame->durable_lsn = 4;
	frame->count = 1;
	frame->raw_bytes = body_bytes;
	frame->stored_bytes = body_bytes;
	memset(frame + 1, fill, body_bytes);
	return blazei_frame_seal(frame, &place);
}

START_TEST(frame_of_any_length_is_accepted)
{
	static const uint32_t lengths[] = { 1, 8, 4016, 4017, 100000, BLAZEI_FRAME_BODY_MAX };
	static const uint32_t expected[] = { 4096, 4096, 4096, 8192, 102400, 262144 };

	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		ck_assert_uint_eq(frame_make(lengths[i], 0x5a), expected[i]);
		ck_assert_int_eq(blazei_frame_check(bytes, sizeof(bytes), &place), expected[i]);
	}
}
END_TEST

/* More than it may come to, with a checksum that is right. */
START_TEST(frame_that_is_longer_than_its_body_is_refused)
{
	static const uint32_t lengths[] = { 100, 99, 101, 4000, UINT32_MAX - 40, UINT32_MAX };
	const uint64_t seed = XXH3_64bits(&place, sizeof(place));
	struct blazei_frame_header *frame = (struct blazei_frame_header *)bytes;

	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		const uint32_t len = frame_make(100, 0x5a);
		XXH128_hash_t hash;

		frame->stored_bytes = lengths[i];
		frame->hash[0] = frame->hash[1] = 0;
		hash = XXH3_128bits_withSeed(bytes, len, seed);
		frame->hash[0] = hash.low64;
		frame->hash[1] = hash.high64;
		ck_assert_int_eq(blazei_frame_check(bytes, sizeof(bytes), &place),
		                 lengths[i] <= 100 ? (int64_t)len : -EBADMSG);
	}
}
END_TEST

START_TEST(frame_with_any_bit_flipped_is_refused)
{
	uint32_t len = frame_make(100, 0x5a);

	for (uint32_t bit = 0; bit < len * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		ck_assert_int_eq(blazei_frame_check(bytes, len, &place), -EBADMSG);
		bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	ck_assert_int_eq(blazei_frame_check(bytes, len, &place), len);
}
END_TEST

START_TEST(frame_cut_anywhere_is_refused)
{
	uint32_t len = frame_make(5000, 0x5a);

	for (uint32_t cut = 0; cut < len; cut += 8)
		ck_assert_int_eq(blazei_frame_check(bytes, cut, &place), -EBADMSG);
}
END_TEST

START_TEST(frame_with_a_block_of_another_time_is_refused)
{
	static uint8_t before[8192];

	ck_assert_uint_eq(frame_make(5000, 0x11), sizeof(before));
	memcpy(before, bytes, sizeof(before));
	frame_make(5000, 0x22);
	memcpy(bytes + 4096, before + 4096, 4096);
	ck_assert_int_eq(blazei_frame_check(bytes, sizeof(before), &place), -EBADMSG);
	frame_make(5000, 0x22);
	memcpy(bytes, before, 4096);
	ck_assert_int_eq(blazei_frame_check(bytes, sizeof(before), &place), -EBADMSG);
}
END_TEST

/* The header names place and kind, but not the store: the checksum alone tells of that. */
START_TEST(frame_of_another_place_is_refused)
{
	struct blazei_frame_place other[4] = { place, place, place, place };
	uint32_t len = frame_make(100, 0x5a);

	other[0].store.bytes[15] ^= 1;
	other[1].segment++;
	other[2].incarnation++;
	other[3].offset += 4096;
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(blazei_frame_check(bytes, len, &other[i]), -EBADMSG);
}
END_TEST

static struct blazei_root *root_make(uint32_t count)
{
	struct blazei_root *root = calloc(1, BLAZEI_ROOT_BYTES_MAX);

	ck_assert_ptr_nonnull(root);
	root->policy = BLAZE_POLICY_LWW;
	root->next_segment = count + 1;
	root->segment_count = count;
	for (uint32_t i = 0; i < count; i++)
		root->segments[i] = (struct blazei_root_segment){
			.number = i + 1,
			.incarnation = i * 77,
			.end = i + 1 == count ? BLAZEI_SEGMENT_OPEN : 4096,
		};
	blazei_root_seal(root);
	return root;
}

START_TEST(root_with_any_bit_flipped_or_cut_is_refused)
{
	struct blazei_root *root = root_make(3);
	size_t len = blazei_root_bytes(root);
	uint8_t *data = (uint8_t *)root;

	ck_assert_uint_eq(len, 200);
	ck_assert_int_eq(blazei_root_check(root, len), 0);
	for (size_t bit = 0; bit < len * 8; bit++) {
		data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		ck_assert_int_ne(blazei_root_check(root, len), 0);
		data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	for (size_t cut = 0; cut < len; cut++)
		ck_assert_int_eq(blazei_root_check(root, cut), -EBADMSG);
	free(root);
}
END_TEST

START_TEST(root_of_a_later_version_is_told_apart)
{
	struct blazei_root *root = root_make(0);

	root->version = BLAZEI_ROOT_VERSION + 1;
	ck_assert_int_eq(blazei_root_check(root, blazei_root_bytes(root)), -EPROTO);
	free(root);
}
END_TEST

/* Right in its checksum, and wrong in what it says. */
START_TEST(root_that_contradicts_itself_is_refused)
{
	for (unsigned what = 0; what < 10; what++) {
		struct blazei_root *root = root_make(3);

		switch (what) {
		case 0:
			root->segments[1].number = 1;
			break;
		case 1:
			root->segments[1].end = BLAZEI_SEGMENT_OPEN;
			break;
		case 2:
			root->segments[1].end = 4097;
			break;
		case 3:
			root->next_segment = 3;
			break;
		case 4:
			root->policy = 3;
			break;
		case 5:
			root->segments[0].number = 0;
			break;
		case 6:
			root->start = 1; /* without a segment that has it */
			root->segment_count = 0;
			break;
		case 7:
			root->reserved_too = 1;
			break;
		case 8: /* then the next one would be number 0 */
			root->next_segment = root->segment_count = 0;
			break;
		default: /* and then it could not be counted on */
			root->next_segment = UINT64_MAX;
		}
		blazei_root_seal(root);
		ck_assert_int_eq(blazei_root_check(root, blazei_root_bytes(root)), -EBADMSG);
		free(root);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("frame");
	TCase *tcase = tcase_create("frame");
	SRunner *runner;
	int failed;

	tcase_add_test(tcase, frame_of_any_length_is_accepted);
	tcase_add_test(tcase, frame_that_is_longer_than_its_body_is_refused);
	tcase_add_test(tcase, frame_with_any_bit_flipped_is_refused);
	tcase_add_test(tcase, frame_cut_anywhere_is_refused);
	tcase_add_test(tcase, frame_with_a_block_of_another_time_is_refused);
	tcase_add_test(tcase, frame_of_another_place_is_refused);
	tcase_add_test(tcase, root_with_any_bit_flipped_or_cut_is_refused);
	tcase_add_test(tcase, root_of_a_later_version_is_told_apart);
	tcase_add_test(tcase, root_that_contradicts_itself_is_refused);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
