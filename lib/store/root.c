/* SPDX-License-Identifier: Apache-2.0 */
/* Making and checking roots; see root.h. */
#include "lib/store/root.h"

#include <blaze/topology.h>

#include "lib/op/hash.h"
#include "lib/store/frame.h"

static XXH128_hash_t root_hash(const struct blazei_root *root)
{
	struct blazei_root head = *root;
	XXH3_state_t state;

	head.hash[0] = 0;
	head.hash[1] = 0;
	XXH3_128bits_reset(&state);
	XXH3_128bits_update(&state, &head, sizeof(head));
	XXH3_128bits_update(&state, root->segments,
	                    root->segment_count * sizeof(root->segments[0]));
	return XXH3_128bits_digest(&state);
}

void blazei_root_seal(struct blazei_root *root)
{
	XXH128_hash_t hash;

	assert(root->segment_count <= BLAZEI_ROOT_SEGMENTS_MAX);
	root->magic = BLAZEI_ROOT_MAGIC;
	root->version = BLAZEI_ROOT_VERSION;
	hash = root_hash(root);
	root->hash[0] = hash.low64;
	root->hash[1] = hash.high64;
}

static bool segments_valid(const struct blazei_root *root)
{
	uint64_t before = 0;

	for (uint32_t i = 0; i < root->segment_count; i++) {
		const struct blazei_root_segment *segment = &root->segments[i];

		if (segment->number <= before || segment->number >= root->next_segment)
			return false;
		if (segment->end == BLAZEI_SEGMENT_OPEN) {
			if (i + 1 != root->segment_count)
				return false;
		} else if (segment->end % BLAZEI_FRAME_UNIT != 0) {
			return false;
		}
		before = segment->number;
	}
	return true;
}

int blazei_root_check(const void *data, size_t len)
{
	const struct blazei_root *root = data;
	XXH128_hash_t hash;

	if (len < sizeof(*root) || root->magic != BLAZEI_ROOT_MAGIC)
		return -EBADMSG;
	if (root->version > BLAZEI_ROOT_VERSION)
		return -EPROTO;
	if (root->segment_count > BLAZEI_ROOT_SEGMENTS_MAX || blazei_root_bytes(root) != len)
		return -EBADMSG;
	hash = root_hash(root);
	if (hash.low64 != root->hash[0] || hash.high64 != root->hash[1])
		return -EBADMSG;
	if (root->policy != BLAZE_POLICY_SERVER_PRIORITY && root->policy != BLAZE_POLICY_LWW)
		return -EBADMSG;
	if ((root->start != 0 && root->segment_count == 0) || root->reserved_too != 0 ||
	    root->next_segment == 0 || root->next_segment > BLAZEI_SEGMENT_MAX)
		return -EBADMSG;
	if (root->role > BLAZE_ROLE_CLIENT || root->opened > BLAZE_DURABILITY_SYNC ||
	    root->tail_turn > 1)
		return -EBADMSG;
	return segments_valid(root) ? 0 : -EBADMSG;
}
