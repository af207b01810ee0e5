/* SPDX-License-Identifier: Apache-2.0 */
/* Checks a session message whole, before anything of it is used; see session_wire.h. */
#include "lib/repl/session_wire.h"

#include "lib/op/hash.h"

uint64_t blazei_session_hash(const struct blazei_session_header *header)
{
	const size_t skip = offsetof(struct blazei_session_header, session);
	uint64_t seed;

	memcpy(&seed, header, sizeof(seed));
	return XXH3_64bits_withSeed((const uint8_t *)header + skip, header->bytes - skip, seed);
}

static int header_check(const void *data, size_t len)
{
	const struct blazei_session_header *header = data;

	if (len < sizeof(*header) || len > BLAZEI_SESSION_MESSAGE_MAX || len % 8 != 0 ||
	    (uintptr_t)data % 8 != 0)
		return -EBADMSG;
	if (header->bytes != len || header->magic != BLAZEI_SESSION_MAGIC ||
	    header->hash != blazei_session_hash(header))
		return -EBADMSG;
	return header->format == BLAZEI_SESSION_FORMAT ? 0 : -EPROTO;
}

/* Whether the fixed part and so many entries are all there is. */
static bool entries_fit(const struct blazei_session_header *header, size_t fixed, uint32_t count)
{
	return count <= BLAZEI_ORIGINS_MAX &&
	       header->bytes == fixed + count * sizeof(struct blazei_session_entry);
}

static bool hello_check(const struct blazei_session_header *header)
{
	const struct blazei_session_hello *hello = (const struct blazei_session_hello *)header;

	return header->bytes >= sizeof(*hello) && header->flags == 0 && header->number == 0 &&
	       hello->side <= BLAZEI_SESSION_ANSWERER && hello->entry_count > 0 &&
	       entries_fit(header, sizeof(*hello), hello->entry_count);
}

static bool refuse_check(const struct blazei_session_header *header)
{
	const struct blazei_session_refuse *refuse = (const struct blazei_session_refuse *)header;

	return header->bytes == sizeof(*refuse) && header->flags == 0 && refuse->reason != 0 &&
	       refuse->reserved == 0;
}

static bool part_check(const struct blazei_session_header *header)
{
	const struct blazei_session_part *part = (const struct blazei_session_part *)header;
	uint64_t n = header->bytes - sizeof(*part);

	return header->bytes > sizeof(*part) && header->flags == 0 && part->total % 8 == 0 &&
	       part->total <= BLAZEI_TXN_BYTES_MAX && part->offset < part->total &&
	       part->offset % 8 == 0 && n <= part->total - part->offset &&
	       (header->kind == BLAZEI_KIND_CHUNK || part->cursor == 0);
}

static bool snapshot_check(const struct blazei_session_header *header)
{
	const struct blazei_session_snapshot *snapshot =
	        (const struct blazei_session_snapshot *)header;
	const uint16_t known = BLAZEI_SNAPSHOT_AGAIN | BLAZEI_SNAPSHOT_RESUMED |
	                       BLAZEI_SNAPSHOT_WHOLE | BLAZEI_SNAPSHOT_BELOW;

	return header->bytes >= sizeof(*snapshot) && (header->flags & ~known) == 0 &&
	       (header->flags & BLAZEI_SNAPSHOT_WHOLE ||
	        !(header->flags & BLAZEI_SNAPSHOT_BELOW)) &&
	       snapshot->reserved == 0 &&
	       entries_fit(header, sizeof(*snapshot), snapshot->entry_count);
}

static bool live_check(const struct blazei_session_header *header)
{
	const struct blazei_session_live *live = (const struct blazei_session_live *)header;

	return header->bytes >= sizeof(*live) && header->flags == 0 && live->reserved == 0 &&
	       entries_fit(header, sizeof(*live), live->entry_count);
}

int blazei_session_check(const void *data, size_t len)
{
	const struct blazei_session_header *header = data;
	bool valid = false;
	int rc = header_check(data, len);

	if (rc < 0)
		return rc;
	switch (header->kind) {
	case BLAZEI_KIND_HELLO:
		valid = hello_check(header);
		break;
	case BLAZEI_KIND_REFUSE:
		valid = refuse_check(header);
		break;
	case BLAZEI_KIND_TXNS:
	case BLAZEI_KIND_CHUNK:
		valid = part_check(header);
		break;
	case BLAZEI_KIND_SNAPSHOT:
		valid = snapshot_check(header);
		break;
	case BLAZEI_KIND_LIVE:
		valid = live_check(header);
		break;
	default:
		break;
	}
	return valid ? 0 : -EBADMSG;
}
