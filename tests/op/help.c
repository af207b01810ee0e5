/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of values share. Random numbers, lengths and characters are drawn near the places
 * where their encoding changes, since that is where mistakes are. */
#include "tests/op/help.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define KEYS_MAX      5
#define KEY_BYTES_MAX 28

int run_tests(const char *suite_name, const TTest *const *tests, size_t count)
{
	Suite *suite = suite_create(suite_name);
	TCase *tcase = tcase_create(suite_name);
	SRunner *runner = srunner_create(suite);
	int failed;

	for (size_t i = 0; i < count; i++)
		tcase_add_test(tcase, tests[i]);
	tcase_set_timeout(tcase, 300); /* under valgrind too */
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

size_t from_hex(const char *hex, uint8_t *ret_bytes, size_t cap)
{
	const size_t len = strlen(hex) / 2;

	ck_assert_uint_le(len, cap);
	for (size_t i = 0; i < len; i++) {
		const char digits[3] = { hex[2 * i], hex[2 * i + 1], 0 };

		ret_bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	return len;
}

int check_exact(const void *data, size_t len, enum blaze_type *ret_type)
{
	uint8_t *copy = malloc(len ? len : 1);
	int r;

	if (copy == NULL) /* no assertion: the fuzzer runs outside of Check */
		abort();
	if (len)
		memcpy(copy, data, len);
	/* Of no bytes, not even the first may be read. */
	r = blazei_value_check(copy + (len == 0), len, ret_type);
	free(copy);
	return r;
}

struct random_source random_source_new(const char *test)
{
	const char *given = getenv("BLAZE_SEED");
	struct random_source source;

	source.state = given ? strtoull(given, NULL, 0) : blazei_realtime_ns();
	printf("%s: BLAZE_SEED=%llu\n", test, (unsigned long long)source.state);
	fflush(stdout);
	return source;
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
uint64_t random_bits(struct random_source *source)
{
	uint64_t z = source->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t random_below(struct random_source *source, uint64_t below)
{
	return random_bits(source) % below;
}

static void append(struct blazei_buffer *out, const void *data, size_t len)
{
	if (blazei_buffer_append(out, data, len) != 0)
		abort();
}

/* One character as UTF-8, of any length from one byte to four. */
static size_t random_character(struct random_source *source, uint8_t ret_bytes[4])
{
	static const uint32_t edges[] = { 0x01,   0x1f,   0x20,   0x22,   0x5c,   0x7f,    0x80,
		                          0x7ff,  0x800,  0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff,
		                          0x2028, 0xfeff, 0xfffd, 'a',    'b',    '$',     0xe9 };
	const uint32_t c = edges[random_below(source, sizeof(edges) / sizeof(*edges))];

	if (c < 0x80) {
		ret_bytes[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		ret_bytes[0] = (uint8_t)(0xc0 | c >> 6);
		ret_bytes[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		ret_bytes[0] = (uint8_t)(0xe0 | c >> 12);
		ret_bytes[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		ret_bytes[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	ret_bytes[0] = (uint8_t)(0xf0 | c >> 18);
	ret_bytes[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	ret_bytes[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	ret_bytes[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}

size_t random_text(struct random_source *source, size_t len_max, struct blazei_buffer *out)
{
	const size_t wanted = random_below(source, len_max + 1);
	size_t len = 0;

	for (;;) {
		uint8_t bytes[4];
		const size_t size = random_character(source, bytes);

		if (len + size > wanted)
			return len;
		append(out, bytes, size);
		len += size;
	}
}

static int64_t random_int(struct random_source *source)
{
	static const int64_t edges[] = { 0,         23,    24,        255,
		                         256,       65535, 65536,     UINT32_MAX,
		                         INT64_MAX, -1,    -24,       -25,
		                         -256,      -257,  INT64_MIN, (int64_t)UINT32_MAX + 1 };

	if (random_below(source, 2))
		return edges[random_below(source, sizeof(edges) / sizeof(*edges))];
	return (int64_t)(random_bits(source) >> random_below(source, 64));
}

static double random_double(struct random_source *source)
{
	static const double edges[] = { 0.0,    -0.0,    1.0,     0.1,
		                        1e300,  65504.0, 65505.0, 5.9604645e-8,
		                        5e-324, -4.0,    1e23,    123456789012345680.0 };
	uint64_t bits = random_bits(source);
	double value;
	float single;

	switch (random_below(source, 3)) {
	case 0:
		return edges[random_below(source, sizeof(edges) / sizeof(*edges))];
	case 1:
		memcpy(&single, &bits, sizeof(single));
		return (double)single;
	default:
		memcpy(&value, &bits, sizeof(value));
		return value;
	}
}

static void random_string(struct random_source *source, struct blazei_buffer *out)
{
	struct blazei_buffer text = { .max = 1024 };
	uint8_t head[BLAZEI_VALUE_HEAD_MAX];
	const size_t len = random_text(source, random_below(source, 8) ? 20 : 400, &text);

	append(out, head, blazei_encode_text_head(head, sizeof(head), len));
	append(out, text.data, len);
	blazei_buffer_free(&text);
}

static void random_small(struct random_source *source, struct blazei_buffer *out)
{
	uint8_t value[300 + BLAZEI_VALUE_HEAD_MAX], bytes[300] = { 0 };
	struct blaze_id id;
	size_t len = 0;

	memset(&id, (int)random_below(source, 256), sizeof(id));
	switch (random_below(source, 8)) {
	case 0:
		len = blazei_encode_null(value, sizeof(value));
		break;
	case 1:
		len = blazei_encode_bool(value, sizeof(value), random_below(source, 2));
		break;
	case 2:
		len = blazei_encode_int(value, sizeof(value), random_int(source));
		break;
	case 3:
		len = blazei_encode_double(value, sizeof(value), random_double(source));
		break;
	case 4:
		len = blazei_encode_time(value, sizeof(value),
		                         random_bits(source) >> random_below(source, 64));
		break;
	case 5:
		len = blazei_encode_uuid(value, sizeof(value), &id);
		break;
	case 6:
		memset(bytes, (int)random_below(source, 256), sizeof(bytes));
		len = blazei_encode_bytes(value, sizeof(value), bytes, random_below(source, 300));
		break;
	default:
		random_string(source, out);
		return;
	}
	append(out, value, len);
}

struct key {
	uint8_t bytes[KEY_BYTES_MAX];
	size_t len;
};

static int key_order(const void *a, const void *b)
{
	const struct key *left = a, *right = b;

	return blazei_key_compare(left->bytes, left->len, right->bytes, right->len);
}

/* Draws unique keys in ascending order; now and then one that marks a special form in JSON. */
static unsigned random_keys(struct random_source *source, struct key keys[KEYS_MAX])
{
	static const char *const marks[] = { "$bytes", "$time", "$uuid", "$double", "$map" };
	const unsigned drawn = (unsigned)random_below(source, KEYS_MAX + 1);
	unsigned count = 0;

	for (unsigned i = 0; i < drawn; i++) {
		struct blazei_buffer text = { .max = KEY_BYTES_MAX };

		if (random_below(source, 4) == 0)
			append(&text, marks[i], strlen(marks[i]));
		else
			(void)random_text(source, KEY_BYTES_MAX, &text);
		keys[i].len = text.len;
		if (text.len)
			memcpy(keys[i].bytes, text.data, text.len);
		blazei_buffer_free(&text);
	}
	qsort(keys, drawn, sizeof(*keys), key_order);
	for (unsigned i = 0; i < drawn; i++) {
		if (count == 0 || key_order(&keys[count - 1], &keys[i]) != 0)
			keys[count++] = keys[i];
	}
	return count;
}

/* Recursion is fine here: the depth is the test's own. */
void random_value(struct random_source *source, unsigned depth, struct blazei_buffer *out)
{
	const uint64_t choice = depth ? random_below(source, 4) : 3;
	uint8_t head[BLAZEI_VALUE_HEAD_MAX];
	struct key keys[KEYS_MAX];
	unsigned count;

	if (choice == 0) {
		count = (unsigned)random_below(source, random_below(source, 50) ? 5 : 30);
		append(out, head, blazei_encode_array_head(head, sizeof(head), count));
		for (unsigned i = 0; i < count; i++)
			random_value(source, count > 5 ? 0 : depth - 1, out);
	} else if (choice == 1) {
		count = random_keys(source, keys);
		append(out, head, blazei_encode_map_head(head, sizeof(head), count));
		for (unsigned i = 0; i < count; i++) {
			append(out, head, blazei_encode_text_head(head, sizeof(head), keys[i].len));
			append(out, keys[i].bytes, keys[i].len);
			random_value(source, depth - 1, out);
		}
	} else {
		random_small(source, out);
	}
}
