/* SPDX-License-Identifier: Apache-2.0 */
/* The plain driver of a fuzz target; see fuzz.h.
 *
 *   fuzz_X                the corpus, then BLAZE_ROUNDS (default 4,000) inputs of its own;
 *                         BLAZE_SEED repeats a run
 *   fuzz_X FILE..         these inputs, one a file
 *   fuzz_X --unpack DIR   the corpus as files in DIR
 *   fuzz_X --pack DIR     the files in DIR as a corpus, on standard output
 *   fuzz_X --make DIR N   N inputs of the target's own, as files in DIR */
#include <dirent.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

#define ROUNDS       4000
#define DAMAGE_MAX   4
#define HEX_LINE_MAX (1 << 20)

/* Bytes at which encodings change: CBOR heads of each kind and their arguments, JSON's signs. */
static const uint8_t telling[] = {
	0x00, 0x01, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1f, 0x20, 0x28, 0x37, 0x38, 0x3b,
	0x40, 0x50, 0x58, 0x5f, 0x60, 0x61, 0x78, 0x7f, 0x80, 0x81, 0x98, 0x9b, 0x9f,
	0xa0, 0xa1, 0xa2, 0xb8, 0xbb, 0xbf, 0xc0, 0xd8, 0xd9, 0x25, 0x03, 0xe9, 0xf4,
	0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xff, '"',  '{',  '}',  '[',  ']',
};

static void give_up(const char *what, const char *subject)
{
	fprintf(stderr, "%s: %s: %s\n", fuzz_name, what, subject);
	exit(EXIT_FAILURE);
}

static void run(const uint8_t *data, size_t size)
{
	/* Exactly as long, so that a sanitizer sees a read beyond. */
	uint8_t *copy = malloc(size ? size : 1);

	if (copy == NULL)
		give_up("memory", "none");
	if (size > 0)
		memcpy(copy, data, size);
	(void)LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static void damage(struct random_source *source, struct blazei_buffer *input)
{
	const size_t at = random_below(source, input->len);
	uint8_t byte = (uint8_t)random_bits(source);

	if (random_below(source, 2))
		byte = telling[random_below(source, sizeof(telling))];
	switch (random_below(source, 4)) {
	case 0:
		input->data[at] ^= (uint8_t)(1U << random_below(source, 8));
		break;
	case 1:
		input->data[at] = byte;
		break;
	case 2: /* out */
		memmove(input->data + at, input->data + at + 1, input->len - at - 1);
		input->len--;
		break;
	default: /* in */
		if (blazei_buffer_append(input, &byte, 1) != 0)
			return;
		memmove(input->data + at + 1, input->data + at, input->len - at - 1);
		input->data[at] = byte;
	}
}

/* Inputs of the target's own, some of them left whole. */
static void run_own(unsigned long rounds)
{
	struct random_source source = random_source_new(fuzz_name);
	struct blazei_buffer input = { .max = 1 << 22 };

	for (unsigned long i = 0; i < rounds; i++) {
		input.len = 0;
		fuzz_make(&source, &input);
		for (uint64_t n = random_below(&source, DAMAGE_MAX + 1); n > 0 && input.len; n--)
			damage(&source, &input);
		run(input.data, input.len);
	}
	blazei_buffer_free(&input);
}

static void write_file(const char *directory, unsigned long number, const uint8_t *data, size_t len)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.%06lu", directory, fuzz_name, number);
	file = fopen(path, "w");
	if (file == NULL || fwrite(data, 1, len, file) != len || fclose(file) != 0)
		give_up("cannot write", path);
}

static void make_files(const char *directory, unsigned long count)
{
	struct random_source source = random_source_new(fuzz_name);
	struct blazei_buffer input = { .max = 1 << 22 };

	for (unsigned long i = 0; i < count; i++) {
		input.len = 0;
		fuzz_make(&source, &input);
		write_file(directory, i, input.data, input.len);
	}
	blazei_buffer_free(&input);
}

/* The bytes that a line of digits stands for; their number. */
static size_t line_decode(const char *line, uint8_t *ret_bytes)
{
	static const char digits[] = "0123456789abcdef";
	size_t len = 0;

	for (; line[0] != '\n' && line[0] != '\0'; line += 2) {
		const char *high = strchr(digits, line[0]), *low = strchr(digits, line[1]);

		if (high == NULL || low == NULL || *low == '\0')
			give_up("no hexadecimal digits", line);
		ret_bytes[len++] = (uint8_t)((high - digits) << 4 | (low - digits));
	}
	return len;
}

/* Runs each input of the corpus, or writes it into `directory`. Their number. */
static unsigned long read_corpus(const char *directory)
{
	const char *top = getenv("BLAZE_SRCDIR");
	char *line = malloc(HEX_LINE_MAX), path[4096];
	uint8_t *bytes = malloc(HEX_LINE_MAX / 2);
	unsigned long count = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/tests/data/fuzz/%s.hex", top ? top : ".", fuzz_name);
	file = fopen(path, "r");
	if (file == NULL || line == NULL || bytes == NULL)
		give_up("no corpus", path);
	while (fgets(line, HEX_LINE_MAX, file) != NULL) {
		size_t len;

		if (line[0] == '#')
			continue;
		len = line_decode(line, bytes);
		if (directory)
			write_file(directory, count, bytes, len);
		else
			run(bytes, len);
		count++;
	}
	fclose(file);
	free(line);
	free(bytes);
	return count;
}

/* A whole file in memory that the caller frees. */
static uint8_t *read_file(const char *path, size_t *ret_len)
{
	FILE *file = fopen(path, "r");
	struct stat st;
	uint8_t *data;

	if (file == NULL || fstat(fileno(file), &st) != 0)
		give_up("cannot read", path);
	data = malloc((size_t)st.st_size + 1);
	if (data == NULL || fread(data, 1, (size_t)st.st_size, file) != (size_t)st.st_size)
		give_up("cannot read", path);
	fclose(file);
	*ret_len = (size_t)st.st_size;
	return data;
}

static void pack(const char *directory)
{
	struct dirent **entries;
	const int count = scandir(directory, &entries, NULL, alphasort);

	if (count < 0)
		give_up("cannot list", directory);
	printf("# SPDX-License-Identifier: Apache-2.0\n");
	for (int i = 0; i < count; i++) {
		char path[4096];
		uint8_t *data;
		size_t len;

		snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.') {
			data = read_file(path, &len);
			for (size_t at = 0; at < len; at++)
				printf("%02x", data[at]);
			printf("\n");
			free(data);
		}
		free(entries[i]);
	}
	free(entries);
}

int main(int argc, char **argv)
{
	const char *given = getenv("BLAZE_ROUNDS");
	const unsigned long rounds = given ? strtoul(given, NULL, 0) : ROUNDS;
	unsigned long count;

	if (argc == 3 && strcmp(argv[1], "--unpack") == 0)
		return read_corpus(argv[2]) > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
	if (argc == 3 && strcmp(argv[1], "--pack") == 0)
		return pack(argv[2]), EXIT_SUCCESS;
	if (argc == 4 && strcmp(argv[1], "--make") == 0)
		return make_files(argv[2], strtoul(argv[3], NULL, 0)), EXIT_SUCCESS;
	for (int i = 1; i < argc; i++) {
		size_t len;
		uint8_t *data = read_file(argv[i], &len);

		run(data, len);
		free(data);
	}
	if (argc > 1)
		return EXIT_SUCCESS;
	count = read_corpus(NULL);
	run_own(rounds);
	printf("%s: %lu inputs of the corpus, %lu of its own\n", fuzz_name, count, rounds);
	return count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
