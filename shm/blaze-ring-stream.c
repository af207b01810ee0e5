/* SPDX-License-Identifier: Apache-2.0 */
/* blaze-ring tail and publish: records to standard output, and from standard input. */
#include "shm/blaze-ring.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* How often tail looks whether it was interrupted just before it went to sleep. */
#define LOOK_NS      UINT64_C(500000000)
#define LANE_DEFAULT (UINT64_C(4) << 20)
#define LANE_MAX     (UINT64_C(1) << 30)

/* tail ---------------------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
	(void)signal;
	interrupted = 1;
}

struct tailing {
	const struct tool *tool;
	uint64_t printed;
	bool lost;
};

static json_t *hex_json(const uint8_t *data, size_t len)
{
	char *text = malloc(2 * len + 1);
	json_t *value;

	if (!text)
		return NULL;
	text[0] = '\0';
	for (size_t i = 0; i < len; i++)
		snprintf(text + 2 * i, 3, "%02x", data[i]);
	value = json_string(text);
	free(text);
	return value;
}

static void print_json(const struct blaze_ring_record *record)
{
	char publisher[37];
	json_t *text = NULL, *object;

	blaze_id_format(&record->publisher, publisher);
	object = json_pack("{s:s, s:I}", "publisher", publisher, "position",
	                   (json_int_t)record->position);
	if (!record->data) {
		json_object_set_new(object, "lost",
		                    record->len == SIZE_MAX
		                            ? json_null()
		                            : json_integer((json_int_t)record->len));
	} else {
		/* NULL where the bytes are not UTF-8. */
		text = json_stringn(record->data, record->len);
		if (text)
			json_object_set_new(object, "text", text);
		else
			json_object_set_new(object, "hex", hex_json(record->data, record->len));
	}
	tool_print_json(object);
}

/* What a terminal takes as text; everything else becomes \xNN, so that no record can pretend to be
 * another or steer the terminal. */
static void print_escaped(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\\')
			fputs("\\\\", stdout);
		else if (data[i] >= 0x20 && data[i] < 0x7f)
			putchar(data[i]);
		else
			printf("\\x%02x", data[i]);
	}
}

static void print_text(const struct blaze_ring_record *record, bool hex)
{
	const uint8_t *data = record->data;
	char publisher[37];

	blaze_id_format(&record->publisher, publisher);
	if (!data) {
		fflush(stdout);
		if (record->len == SIZE_MAX)
			fprintf(stderr, "blaze-ring: records were lost, nobody knows how many\n");
		else
			fprintf(stderr, "blaze-ring: %zu bytes of %.8s were lost\n", record->len,
			        publisher);
		return;
	}
	printf("%.8s %" PRIu64 " ", publisher, record->position);
	for (size_t i = 0; hex && i < record->len; i++)
		printf("%02x", data[i]);
	if (!hex)
		print_escaped(data, record->len);
	putchar('\n');
}

static int print_records(void *arg, const struct blaze_ring_record *records, unsigned count)
{
	struct tailing *tailing = arg;

	for (unsigned i = 0; i < count; i++) {
		if (tailing->tool->json)
			print_json(&records[i]);
		else
			print_text(&records[i], tailing->tool->hex);
		if (records[i].data)
			tailing->printed++;
		else
			tailing->lost = true;
	}
	return 0;
}

/* What poll may take: all, or what is missing to the count. */
static unsigned poll_limit(const struct tailing *tailing)
{
	const uint64_t wanted = tailing->tool->count;

	if (wanted == 0)
		return 0;
	return wanted - tailing->printed > 256 ? 256 : (unsigned)(wanted - tailing->printed);
}

/* Prints until something ends it. 0 or the error. */
static int follow(struct tailing *tailing, struct blaze_ring *ring)
{
	const uint64_t wanted = tailing->tool->count;

	while (!interrupted && (wanted == 0 || tailing->printed < wanted)) {
		int r = blaze_ring_poll(ring, print_records, tailing, poll_limit(tailing));

		if (r == -EBADMSG)
			fprintf(stderr, "blaze-ring: a lane held something invalid: skipped\n");
		else if (r < 0 && r != -ESTALE)
			return r;
		if (fflush(stdout) != 0)
			return 0; /* tool_finish says so */
		if (r != 0)
			continue;
		r = blaze_ring_wait(ring, LOOK_NS);
		if (r < 0 && r != -ETIMEDOUT && r != -EINTR)
			return r;
	}
	return 0;
}

int tool_tail(const struct tool *tool)
{
	struct blaze_ring_options options = BLAZE_RING_OPTIONS_INIT;
	struct sigaction action = { .sa_handler = on_signal };
	struct tailing tailing = { .tool = tool };
	struct blaze_ring *ring = NULL;
	int r;

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	options.flags = BLAZE_RING_READ_ONLY;
	options.mode = tool->mode;
	r = blaze_ring_attach(tool->name, &options, &ring);
	if (r < 0)
		return tool_fail(tool, "tail", r);
	r = follow(&tailing, ring);
	blaze_ring_detach(ring);
	if (r == -EIDRM)
		fprintf(stderr, "blaze-ring: ring %s was removed\n", tool->name);
	else if (r < 0)
		return tool_fail(tool, "tail", r);
	return tailing.lost ? TOOL_LOST : TOOL_DONE;
}

/* publish ------------------------------------------------------------------------------------- */

struct publishing {
	const struct tool *tool;
	struct blaze_ring *ring;
	uint64_t records;
	uint64_t bytes;
};

static int publish_one(struct publishing *publishing, const void *data, size_t len)
{
	int r = blaze_ring_publish(publishing->ring, data, len);

	if (r < 0) {
		fprintf(stderr, "blaze-ring: record of %zu bytes\n", len);
		return r;
	}
	publishing->records++;
	publishing->bytes += len;
	return 0;
}

static int publish_lines(struct publishing *publishing)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	int r = 0;

	while (r == 0 && (len = getline(&line, &cap, stdin)) >= 0) {
		if (len > 0 && line[len - 1] == '\n')
			len--;
		r = publish_one(publishing, line, (size_t)len);
	}
	if (r == 0 && ferror(stdin))
		r = -EIO;
	free(line);
	return r;
}

/* The whole file, which may be a pipe, up to the longest record. */
static int read_file(const char *path, uint8_t **ret_data, size_t *ret_len)
{
	size_t cap = 1 << 16, len = 0, n;
	uint8_t *data = malloc(cap);
	FILE *file = fopen(path, "re");
	int r = file ? 0 : -errno;

	if (!data)
		r = -ENOMEM;
	while (r == 0 && (n = fread(data + len, 1, cap - len, file)) > 0) {
		uint8_t *grown = data;

		len += n;
		if (len > LANE_MAX / 4 - 8)
			r = -EMSGSIZE;
		else if (len == cap)
			grown = realloc(data, cap *= 2);
		if (grown)
			data = grown;
		else
			r = -ENOMEM;
	}
	if (r == 0 && ferror(file))
		r = -EIO;
	if (file)
		fclose(file);
	if (r < 0) {
		free(data);
		return r;
	}
	*ret_data = data;
	*ret_len = len;
	return 0;
}

/* The smallest lane, from the default up, that takes a record of len bytes. */
static uint64_t lane_for(size_t len)
{
	uint64_t lane_bytes = LANE_DEFAULT;

	while (lane_bytes < LANE_MAX && lane_bytes / 4 - 8 < len)
		lane_bytes *= 2;
	return lane_bytes;
}

static int publish_all(struct publishing *publishing, const uint8_t *data, size_t len)
{
	if (publishing->tool->file)
		return publish_one(publishing, data, len);
	if (publishing->tool->data)
		return publish_one(publishing, publishing->tool->data,
		                   strlen(publishing->tool->data));
	return publish_lines(publishing);
}

int tool_publish(const struct tool *tool)
{
	struct blaze_ring_options options = BLAZE_RING_OPTIONS_INIT;
	struct publishing publishing = { .tool = tool };
	uint8_t *data = NULL;
	size_t len = 0;
	int r = tool->file ? read_file(tool->file, &data, &len) : 0;

	if (r < 0) {
		fprintf(stderr, "blaze-ring: cannot read %s: %s\n", tool->file,
		        r == -EMSGSIZE ? blaze_strerror(r) : strerror(-r));
		return TOOL_FAILED;
	}
	options.mode = tool->mode;
	options.stall_budget_ns = BLAZE_FOREVER;
	options.lane_bytes = lane_for(tool->data ? strlen(tool->data) : len);
	r = blaze_ring_attach(tool->name, &options, &publishing.ring);
	if (r == 0) {
		r = publish_all(&publishing, data, len);
		blaze_ring_detach(publishing.ring);
	}
	free(data);
	if (r < 0)
		return tool_fail(tool, "publish", r);
	if (tool->json)
		return tool_print_json(json_pack("{s:s, s:I, s:I}", "ring", tool->name, "records",
		                                 (json_int_t)publishing.records, "bytes",
		                                 (json_int_t)publishing.bytes));
	return TOOL_DONE;
}
