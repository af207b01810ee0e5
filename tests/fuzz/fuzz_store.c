/* SPDX-License-Identifier: Apache-2.0 */
/* What lies on a medium and in a tail, as recovery finds it.
 *
 * WHY    Checksums keep accidents out; what a faulty program of the same user writes has valid
 *        ones. So here root, frames, the tail's head and its entries get right sums and belong
 *        where they lie, or not, as the input says; all else in them is as it came.
 *
 *        An input is a row of steps: a kind, flags, a length of two bytes, so many bytes.
 *
 * What must hold, whatever came: who looks twice sees the same; who opens it to write gets what who
 * looks gets, or the same error; what is appended then is there at the next opening, behind the
 * rest. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <blaze/db.h>
#include <zstd.h>

#include "lib/op/hash.h"
#include "lib/op/unit.h"
#include "lib/store/log.h"
#include "tests/fuzz/fuzz.h"
#include "tests/store/fault.h"

const char fuzz_name[] = "fuzz_store";

/* Steps. */
enum {
	ROOT,    /* the root; the last one counts */
	FRAME,   /* the next frame of the segment */
	RAW,     /* bytes there, up to the next 4 KiB */
	SEGMENT, /* to the next segment; no bytes */
	HEAD,    /* of the tail */
	ENTRY,   /* the next one of the tail */
	KINDS,
};

#define UNSEALED  1u /* flag: as it came */
#define MISPLACED 2u /* flag of a frame: it belongs elsewhere */
#define SQUEEZED  4u /* and: its body is compressed, and raw_bytes as it says */

#define SEGMENTS          4u /* that an input fills */
#define FILL_MAX          (FAULT_SEGMENT_BYTES / 2)
#define INCARNATION       UINT64_C(77) /* of all segments */
#define NONCE             UINT64_C(5)
#define TAIL_BYTES        (16u << 10)
#define TAIL_IDENTITY     UINT64_C(0x1122334455667788)
#define TAIL_IDENTITY_TXT "1122334455667788"

static const struct blaze_id store_id = { { 3 } };
static const struct blaze_id boot_id = { { 4 } };
static char dir[64];

static struct fault_medium medium;

/* The tail as it will lie in its file. */
static struct {
	bool there;
	uint64_t bytes; /* of the file */
	uint64_t end;   /* behind the last entry */
	_Alignas(8) uint8_t data[BLAZEI_TAIL_HEADER_BYTES + TAIL_BYTES];
} tail;

/* The medium, whose numbers of segments end where those of an input need not. */
static int bounded_create(void *store, uint64_t segment)
{
	return segment < FAULT_SEGMENTS ? fault_ops.segment_create(store, segment) : -ENOSPC;
}

static int bounded_seal(void *store, uint64_t segment, uint64_t end)
{
	return segment < FAULT_SEGMENTS ? fault_ops.segment_seal(store, segment, end) : -ENOENT;
}

static int64_t bounded_read(void *store, uint64_t segment, uint64_t offset, void *ret_data,
                            size_t len)
{
	if (segment >= FAULT_SEGMENTS)
		return -ENOENT;
	return fault_ops.segment_read(store, segment, offset, ret_data, len);
}

static int bounded_delete(void *store, uint64_t segment)
{
	return segment < FAULT_SEGMENTS ? fault_ops.segment_delete(store, segment) : -ENOENT;
}

static struct blaze_store_ops bounded_ops;

static void bounded_make(void)
{
	bounded_ops = fault_ops;
	bounded_ops.segment_create = bounded_create;
	bounded_ops.segment_seal = bounded_seal;
	bounded_ops.segment_read = bounded_read;
	bounded_ops.segment_delete = bounded_delete;
}

/* Laying it out ------------------------------------------------------------------------------ */

static void root_lay(const uint8_t *data, size_t len, unsigned flags)
{
	struct blazei_root *root = calloc(1, sizeof(*root) + len);

	must(root != NULL, "memory", NULL, 0);
	memcpy(root, data, len);
	if ((flags & UNSEALED) == 0) {
		const size_t segments = len <= sizeof(*root) ? 0 : len - sizeof(*root);

		root->segment_count = (uint32_t)(segments / sizeof(root->segments[0]));
		root->store = store_id;
		root->boot = boot_id;
		root->home = TAIL_IDENTITY;
		root->tail_nonce = NONCE;
		for (uint32_t i = 0; i < root->segment_count; i++)
			root->segments[i].incarnation = INCARNATION;
		blazei_root_seal(root);
		len = blazei_root_bytes(root);
	}
	free(medium.root);
	medium.root = (uint8_t *)root;
	medium.root_len = len;
}

static struct fault_segment *segment_at(unsigned number)
{
	struct fault_segment *segment = &medium.segments[number];

	if (!segment->there) {
		segment->there = true;
		segment->data = calloc(1, FAULT_SEGMENT_BYTES);
		must(segment->data != NULL, "memory", NULL, 0);
	}
	return segment;
}

static void frame_lay(unsigned number, const uint8_t *data, size_t len, unsigned flags)
{
	struct fault_segment *segment = segment_at(number);
	struct blazei_frame_header *frame = (void *)(segment->data + segment->len);
	size_t bytes = blazei_round_up(len, BLAZEI_FRAME_UNIT);

	if (segment->len + bytes + BLAZEI_FRAME_UNIT > FILL_MAX)
		return;
	memcpy(frame, data, len);
	if ((flags & UNSEALED) == 0 && len >= sizeof(*frame)) {
		struct blazei_frame_place place = { store_id, number, INCARNATION, segment->len };

		place.offset += (flags & MISPLACED) != 0 ? BLAZEI_FRAME_UNIT : 0;
		frame->stored_bytes = (uint32_t)(len - sizeof(*frame));
		if ((flags & SQUEEZED) == 0 || frame->raw_bytes < frame->stored_bytes ||
		    frame->raw_bytes > BLAZEI_FRAME_BODY_MAX)
			frame->raw_bytes = frame->stored_bytes;
		bytes = blazei_frame_seal(frame, &place);
	}
	segment->len += bytes;
	segment->synced = segment->len;
}

static void head_lay(const uint8_t *data, size_t len, unsigned flags)
{
	struct blazei_tail_header *header = (void *)tail.data;

	memcpy(header, data, len < sizeof(*header) ? len : sizeof(*header));
	tail.there = true;
	if ((flags & UNSEALED) != 0)
		return;
	header->magic = BLAZEI_TAIL_MAGIC;
	header->version = BLAZEI_TAIL_VERSION;
	header->store = store_id;
	header->nonce = NONCE;
	/* Any length may be claimed; the file has it where that is not too long. */
	if (header->bytes <= TAIL_BYTES)
		tail.bytes = BLAZEI_TAIL_HEADER_BYTES + header->bytes;
	header->hash = XXH3_64bits(header, offsetof(struct blazei_tail_header, hash));
}

static void entry_lay(const uint8_t *data, size_t len, unsigned flags)
{
	const struct {
		struct blaze_id store;
		uint64_t nonce;
	} opening = { store_id, NONCE };
	uint8_t *at = tail.data + BLAZEI_TAIL_HEADER_BYTES + tail.end;
	struct blazei_tail_entry entry;

	if (len < sizeof(entry) || blazei_round_up(len, 8) > TAIL_BYTES - tail.end)
		return;
	memcpy(&entry, data, sizeof(entry));
	data += sizeof(entry);
	len -= sizeof(entry);
	if ((flags & UNSEALED) == 0)
		entry.hash = XXH3_64bits_withSeed(
		        data, len, XXH3_64bits(&opening, sizeof(opening)) + entry.lsn);
	memcpy(at, &entry, sizeof(entry));
	memcpy(at + sizeof(entry), data, len);
	tail.end += sizeof(entry) + blazei_round_up(len, 8);
}

static void step_lay(unsigned kind, unsigned flags, const uint8_t *data, size_t len,
                     unsigned *segment)
{
	switch (kind) {
	case ROOT:
		root_lay(data, len, flags);
		break;
	case FRAME:
		frame_lay(*segment, data, len, flags);
		break;
	case RAW:
		frame_lay(*segment, data, len, UNSEALED);
		break;
	case SEGMENT:
		*segment += *segment < SEGMENTS;
		break;
	case HEAD:
		head_lay(data, len, flags);
		break;
	default:
		entry_lay(data, len, flags);
	}
}

static void lay(const uint8_t *data, size_t size)
{
	unsigned segment = 1;

	memset(&medium, 0, sizeof(medium));
	memset(&tail, 0, sizeof(tail));
	medium.root_version = 1;
	tail.bytes = sizeof(tail.data);
	while (size >= 4) {
		size_t len = data[2] | (size_t)data[3] << 8;

		if (len > size - 4)
			len = size - 4;
		step_lay(data[0] % KINDS, data[1], data + 4, len, &segment);
		data += 4 + len;
		size -= 4 + len;
	}
}

/* The tail's file, under both of its names. */
static void tail_write(bool there)
{
	char path[128];

	for (unsigned turn = 0; turn < 2; turn++) {
		int fd;

		snprintf(path, sizeof(path), "%s/.tail." TAIL_IDENTITY_TXT ".%u", dir, turn);
		if (!there) {
			(void)unlink(path);
			continue;
		}
		fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
		must(fd >= 0 && pwrite(fd, tail.data, sizeof(tail.data), 0) ==
		                        (ssize_t)sizeof(tail.data),
		     "tail", NULL, 0);
		must(ftruncate(fd, (off_t)tail.bytes) == 0, "tail", NULL, 0);
		close(fd);
	}
}

static void dir_remove(void)
{
	tail_write(false);
	(void)rmdir(dir);
}

/* Once per process; the directory is on tmpfs, in $BLAZE_FUZZ_DIR where somebody else sees to what
 * is left of it when this process is killed. */
static void begin(void)
{
	const char *base = getenv("BLAZE_FUZZ_DIR");

	if (dir[0] != '\0')
		return;
	bounded_make();
	snprintf(dir, sizeof(dir), "%s/fuzz_store.XXXXXX", base != NULL ? base : "/dev/shm");
	must(mkdtemp(dir) != NULL, "directory", NULL, 0);
	atexit(dir_remove);
}

/* Opening it --------------------------------------------------------------------------------- */

struct found {
	int error;
	uint64_t count;
	uint64_t digest;
};

static int on_entry(void *arg, const void *entry, size_t len)
{
	struct found *found = arg;

	must(blazei_logged_check(entry, len) == 0, "an invalid entry is given", NULL, 0);
	found->count++;
	found->digest = XXH3_64bits_withSeed(entry, len, found->digest);
	return 0;
}

/* Opens and recovers; *ret_store is NULL where that fails. */
static struct found store_open(bool look, struct blazei_store **ret_store)
{
	const struct blazei_store_options options = {
		.durability = BLAZE_DURABILITY_SYNC,
		.look = look,
		.tail_bytes = TAIL_BYTES,
		.tail_dir = dir,
		.boot = &boot_id,
	};
	struct found found = { .error = 0 };

	*ret_store = NULL;
	fault_medium = &medium;
	found.error = blazei_store_open(&bounded_ops, "/", &options, ret_store);
	if (found.error != 0)
		return found;
	found.error = blazei_store_recover(*ret_store, 1, on_entry, &found);
	if (found.error != 0) {
		(void)blazei_store_close(*ret_store);
		*ret_store = NULL;
	}
	return found;
}

static bool same(const struct found *a, const struct found *b)
{
	return a->error == b->error && a->count == b->count && a->digest == b->digest;
}

static struct found looked(void)
{
	struct blazei_store *store;
	struct found found = store_open(true, &store);

	if (store != NULL)
		must(blazei_store_close(store) == 0, "close", NULL, 0);
	return found;
}

/* Goes on with what was found, and finds it again. */
static void go_on(struct blazei_store *store, struct found found, const uint8_t *data, size_t size)
{
	static const struct blazei_unit_bound drop = {
		.bytes = sizeof(drop),
		.kind = BLAZEI_KIND_DROP,
		.format = BLAZEI_FORMAT,
	};
	struct found again;
	uint64_t lsn;
	const uint64_t first = store->root->start > 0 ? store->root->start : 1;
	int error = blazei_store_append(store, &drop, sizeof(drop), &lsn);

	if (error == 0)
		error = blazei_store_wait(store, lsn);
	must((blazei_store_close(store) == 0) == (error == 0), "close", data, size);
	/* An input may have left no number for another segment. */
	must(error == 0 || error == -EROFS, "append", data, size);
	if (error == 0) {
		must(lsn == found.count + first, "its number is another", data, size);
		must(on_entry(&found, &drop, sizeof(drop)) == 0, "entry", NULL, 0);
	}
	again = looked();
	must(same(&found, &again), "it is not there again", data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct found first, second;
	struct blazei_store *store;

	begin();
	lay(data, size);
	if (medium.root_len > 0) {
		if (tail.there)
			tail_write(true);
		first = looked();
		second = looked();
		must(same(&first, &second), "a second look sees something else", data, size);
		second = store_open(false, &store);
		if (second.error != -ENOSPC && second.error != -EROFS)
			must(same(&first, &second), "who writes finds something else", data, size);
		if (store != NULL)
			go_on(store, second, data, size);
		if (tail.there)
			tail_write(false);
	}
	fault_clear(&medium);
	return 0;
}

/* Inputs of the target's own ----------------------------------------------------------------- */

static void step_add(struct blazei_buffer *out, unsigned kind, unsigned flags, const void *data,
                     size_t len)
{
	const uint8_t head[4] = { (uint8_t)kind, (uint8_t)flags, (uint8_t)len,
		                  (uint8_t)(len >> 8) };

	must(blazei_buffer_append(out, head, sizeof(head)) == 0 &&
	             (len == 0 || blazei_buffer_append(out, data, len) == 0),
	     "memory", NULL, 0);
}

/* One to five entries, of no, one or many items. */
static uint32_t entries_make(struct random_source *source, struct blazei_buffer *body)
{
	const uint32_t count = 1 + (uint32_t)random_below(source, 5);

	for (uint32_t i = 0; i < count; i++) {
		const bool bare = random_below(source, 3) > 0;
		const uint32_t items = bare ? 0 : (uint32_t)random_below(source, 90);
		struct blazei_unit_bound *bound = calloc(1, blazei_unit_bytes(items));

		must(bound != NULL, "memory", NULL, 0);
		bound->bytes = blazei_unit_bytes(items);
		bound->kind = bare ? BLAZEI_KIND_DROP : BLAZEI_KIND_BEGIN;
		bound->format = BLAZEI_FORMAT;
		bound->item_count = items;
		must(blazei_buffer_append(body, bound, bound->bytes) == 0, "memory", NULL, 0);
		free(bound);
	}
	return count;
}

/* A frame with that body, or with what zstd makes of it where that is shorter. Its bytes. */
static uint64_t frame_make(struct random_source *source, struct blazei_frame_header frame,
                           const uint8_t *body, size_t len, struct blazei_buffer *out)
{
	struct blazei_buffer step = { .max = 1 << 20 };
	uint8_t squeezed[1024];
	size_t bytes = len;

	frame.raw_bytes = (uint32_t)len;
	if (random_below(source, 3) == 0) {
		bytes = ZSTD_compress(squeezed, sizeof(squeezed), body, len, 1);
		bytes = ZSTD_isError(bytes) || bytes >= len ? len : bytes;
	}
	must(blazei_buffer_append(&step, &frame, sizeof(frame)) == 0 &&
	             blazei_buffer_append(&step, bytes < len ? squeezed : body, bytes) == 0,
	     "memory", NULL, 0);
	step_add(out, FRAME, bytes < len ? SQUEEZED : 0, step.data, step.len);
	blazei_buffer_free(&step);
	return blazei_frame_bytes((uint32_t)bytes);
}

/* A run of frames, the last of which may go on in another; returns the number after its last. */
static uint64_t frames_make(struct random_source *source, uint64_t lsn, struct blazei_buffer *out,
                            uint64_t *ret_bytes)
{
	const unsigned count = (unsigned)random_below(source, 4);

	*ret_bytes = 0;
	for (unsigned i = 0; i < count; i++) {
		struct blazei_buffer body = { .max = 1 << 20 };
		struct blazei_frame_header frame = { .first_lsn = lsn, .durable_lsn = lsn - 1 };
		const bool halved = random_below(source, 3) == 0;
		size_t first;

		frame.count = entries_make(source, &body);
		lsn += frame.count;
		first = halved ? body.len / 16 * 8 : body.len;
		for (size_t at = 0; at < body.len; at += first, first = body.len - first) {
			struct blazei_frame_header part = frame;

			part.flags = halved && at == 0 ? BLAZEI_FRAME_MORE : 0;
			part.count = part.flags ? 0 : frame.count;
			*ret_bytes += frame_make(source, part, body.data + at, first, out);
		}
		blazei_buffer_free(&body);
	}
	return lsn;
}

/* A tail with the entries behind `lsn` - 1, or some of those before. */
static void tail_make(struct random_source *source, uint64_t lsn, struct blazei_buffer *out)
{
	struct blazei_tail_header header = { .bytes = TAIL_BYTES };
	const uint64_t count = random_below(source, 4);

	lsn -= random_below(source, lsn < 3 ? lsn : 3);
	atomic_init(&header.last, lsn + count - (lsn + count > 0));
	step_add(out, HEAD, 0, &header, sizeof(header));
	for (uint64_t i = 0; i < count; i++, lsn++) {
		uint64_t words[(sizeof(struct blazei_tail_entry) +
		                sizeof(struct blazei_unit_bound)) /
		               8] = { 0 };
		struct blazei_tail_entry *head = (void *)words;
		struct blazei_unit_bound *bound = (void *)(head + 1);

		head->lsn = lsn;
		bound->bytes = sizeof(*bound);
		bound->kind = BLAZEI_KIND_DROP;
		bound->format = BLAZEI_FORMAT;
		step_add(out, ENTRY, 0, words, sizeof(words));
	}
}

/* A store as it may be left: one to three segments, the last of which may have no end, and perhaps
 * a tail. */
void fuzz_make(struct random_source *source, struct blazei_buffer *out)
{
	static const uint8_t noise[100] = { 1 };
	uint64_t words[(sizeof(struct blazei_root) + 3 * sizeof(struct blazei_root_segment)) /
	               8] = { 0 };
	struct blazei_root *root = (void *)words;
	const unsigned count = 1 + (unsigned)random_below(source, 3);
	uint64_t lsn = 1 + random_below(source, 2) * random_below(source, 9);

	/* The log may begin behind what its first segment has first. */
	root->start = lsn > 1 ? lsn + random_below(source, 4) : 0;
	root->policy = BLAZE_POLICY_LWW;
	for (unsigned i = 0; i < count; i++) {
		root->segments[i].number = i + 1;
		lsn = frames_make(source, lsn, out, &root->segments[i].end);
		if (i + 1 < count)
			step_add(out, SEGMENT, 0, NULL, 0);
	}
	if (random_below(source, 2) == 0) {
		root->segments[count - 1].end = BLAZEI_SEGMENT_OPEN;
		if (random_below(source, 2) == 0)
			step_add(out, RAW, 0, noise, sizeof(noise));
	}
	root->opened = (uint8_t)random_below(source, BLAZE_DURABILITY_SYNC + 1);
	root->next_segment = count + 1;
	if (root->opened == BLAZE_DURABILITY_ASYNC)
		tail_make(source, lsn, out);
	step_add(out, ROOT, 0, root, sizeof(*root) + count * sizeof(root->segments[0]));
}
