/* SPDX-License-Identifier: Apache-2.0 */
/* Writes one's own board and reads those of others.
 *
 * CONCURRENCY  Everything shared is copied by relaxed 64-bit atomics between the fences of a
 *        sequence lock: version odd, release fence, words, release store of the even version;
 *        against it acquire load, words, acquire fence, second load. The fences order the words;
 *        the words themselves need no order among each other.
 *
 * FAILURE  A peer may hold anything in its board. It is copied first and then checked field by
 *        field, so what was checked can no longer change. */
#include "lib/db/board.h"

#include <stdlib.h>

#include <blaze/topology.h>

#include "lib/op/value.h"

#define READ_RETRY_MAX 64

/* Words of a struct are read and written through this type, which may alias any. */
typedef uint64_t __attribute__((may_alias)) word;

void blazei_board_publish(struct blazei_board *board, const struct blazei_board_description *text)
{
	const word *words = (const word *)text;
	/* Relaxed: only this process writes, under a lock. */
	uint64_t version = atomic_load_explicit(&board->version, memory_order_relaxed);

	atomic_store_explicit(&board->version, version + 1, memory_order_relaxed);
	/* Pairs with the acquire fence in blazei_board_read: who sees a new word sees the odd
	 * version too. */
	atomic_thread_fence(memory_order_release);
	for (size_t i = 0; i < BLAZEI_BOARD_WORDS; i++) {
		atomic_store_explicit(&board->description[i], words[i], memory_order_relaxed);
	}
	/* Pairs with the first load of version in blazei_board_read. */
	atomic_store_explicit(&board->version, version + 2, memory_order_release);
	/* Relaxed and release: the format stands before the magic that announces it; pairs with the
	 * acquire of magic in board_check. */
	atomic_store_explicit(&board->format, BLAZEI_BOARD_FORMAT, memory_order_relaxed);
	atomic_store_explicit(&board->magic, BLAZEI_BOARD_MAGIC, memory_order_release);
}

bool blazei_board_vector_differs(const struct blazei_board *board, unsigned index,
                                 const struct blazei_origin *origin)
{
	const struct blazei_board_entry *entry = &board->vector[index];
	uint64_t node[2];

	memcpy(node, origin->node.bytes, sizeof(node));
	/* Relaxed: only this process writes these, under a lock. */
	return atomic_load_explicit(&entry->incarnation, memory_order_relaxed) !=
	               origin->incarnation ||
	       atomic_load_explicit(&entry->node[0], memory_order_relaxed) != node[0] ||
	       atomic_load_explicit(&entry->node[1], memory_order_relaxed) != node[1];
}

static void layout_add(struct blazei_board *board, uint64_t n)
{
	/* Relaxed: only this process writes it, under a lock. */
	uint64_t layout = atomic_load_explicit(&board->layout, memory_order_relaxed);

	/* Release: pairs with the acquire in blazei_board_vector_load: who sees it sees the entry
	 * emptied, and all that was stored before. */
	atomic_store_explicit(&board->layout, layout + n, memory_order_release);
	/* Pairs with the acquire fences of the readers: who sees what is stored from here on sees
	 * the layout. */
	atomic_thread_fence(memory_order_release);
}

void blazei_board_layout_begin(struct blazei_board *board)
{
	layout_add(board, 1);
}

void blazei_board_layout_end(struct blazei_board *board)
{
	layout_add(board, 1);
}

static void entry_name(struct blazei_board *board, unsigned index,
                       const struct blazei_origin *origin)
{
	struct blazei_board_entry *entry = &board->vector[index];
	uint64_t node[2];

	memcpy(node, origin->node.bytes, sizeof(node));
	/* Relaxed: ordered by the layout; or nobody reads it yet, and vector_count publishes it. */
	atomic_store_explicit(&entry->node[0], node[0], memory_order_relaxed);
	atomic_store_explicit(&entry->node[1], node[1], memory_order_relaxed);
	atomic_store_explicit(&entry->incarnation, origin->incarnation, memory_order_relaxed);
}

void blazei_board_vector_store(struct blazei_board *board, unsigned index,
                               const struct blazei_vector_entry *entry, uint64_t hlc)
{
	/* Relaxed: only this process writes it, under a lock. */
	uint64_t count = atomic_load_explicit(&board->vector_count, memory_order_relaxed);

	if (index >= BLAZEI_BOARD_VECTOR_MAX || index > count)
		return;
	if (index == count) {
		entry_name(board, index, &entry->origin);
	} else if (blazei_board_vector_differs(board, index, &entry->origin)) {
		/* Relaxed: the layout orders it. */
		atomic_store_explicit(&board->vector[index].seq, 0, memory_order_relaxed);
		layout_add(board, 2);
		entry_name(board, index, &entry->origin);
		/* Before the release of seq. Of one that is appended it may be there already. */
		atomic_store_explicit(&board->durable[index], 0, memory_order_relaxed);
	}
	/* Relaxed: before the release of seq, so who sees that sees this H, or a later one. */
	atomic_store_explicit(&board->hlc[index], hlc, memory_order_relaxed);
	blazei_board_seq_store(board, index, entry->seq);
	/* Pairs with the acquire in blazei_board_vector_count. */
	if (index == count)
		atomic_store_explicit(&board->vector_count, count + 1, memory_order_release);
}

static int board_check(const struct blazei_board *board, uint64_t bytes)
{
	if (board == NULL || bytes < sizeof(*board))
		return -ENOENT;
	/* Acquire: pairs with the release in blazei_board_publish. */
	if (atomic_load_explicit(&board->magic, memory_order_acquire) != BLAZEI_BOARD_MAGIC)
		return -ENOENT;
	/* Relaxed: written once, before the magic. */
	if (atomic_load_explicit(&board->format, memory_order_relaxed) != BLAZEI_BOARD_FORMAT)
		return -EPROTO;
	return 0;
}

uint64_t blazei_board_version(const struct blazei_board *board, uint64_t bytes)
{
	if (board_check(board, bytes) == -ENOENT)
		return 0;
	/* Relaxed: only compared; blazei_board_read orders what it guards. */
	return atomic_load_explicit(&board->version, memory_order_relaxed);
}

/* The length of a name that is padded with NUL to its end, or 0 where the padding is not. */
static size_t name_length(const char name[BLAZEI_BOARD_NAME_MAX])
{
	size_t len = strnlen(name, BLAZEI_BOARD_NAME_MAX);

	for (size_t i = len; i < BLAZEI_BOARD_NAME_MAX; i++) {
		if (name[i] != '\0')
			return 0;
	}
	return len;
}

static bool description_valid(const struct blazei_board_description *text)
{
	size_t db_len = name_length(text->db_name);
	size_t node_len = name_length(text->node_name);

	/* A database's name is shorter than its place, so it is terminated. */
	if (db_len == 0 || db_len >= BLAZEI_BOARD_NAME_MAX ||
	    !blazei_name_valid(text->db_name, BLAZEI_BOARD_NAME_MAX))
		return false;
	if (!blazei_node_name_valid(text->node_name, node_len))
		return false;
	if (text->role > BLAZE_ROLE_CLIENT)
		return false;
	if (text->policy != BLAZE_POLICY_SERVER_PRIORITY && text->policy != BLAZE_POLICY_LWW)
		return false;
	if (text->link_count > BLAZEI_BOARD_LINKS_MAX || text->flags > BLAZEI_BOARD_STORED)
		return false;
	for (uint32_t i = 0; i < text->link_count; i++) {
		if (text->links[i].mode > BLAZE_LINK_WRITE_ONLY)
			return false;
	}
	return true;
}

int blazei_board_read(const struct blazei_board *board, uint64_t bytes, uint64_t *ret_version,
                      struct blazei_board_description *ret_text)
{
	word *words = (word *)ret_text;
	int error = board_check(board, bytes);

	if (error != 0)
		return error;
	for (int retry = 0; retry < READ_RETRY_MAX; retry++) {
		/* Acquire: pairs with the release of the even version in blazei_board_publish. */
		uint64_t before = atomic_load_explicit(&board->version, memory_order_acquire);

		for (size_t i = 0; i < BLAZEI_BOARD_WORDS; i++) {
			words[i] =
			        atomic_load_explicit(&board->description[i], memory_order_relaxed);
		}
		/* Pairs with the release fence in blazei_board_publish. */
		atomic_thread_fence(memory_order_acquire);
		/* Relaxed: the fence orders it behind the words. */
		if ((before & 1) == 0 &&
		    atomic_load_explicit(&board->version, memory_order_relaxed) == before) {
			*ret_version = before;
			return description_valid(ret_text) ? 0 : -EBADMSG;
		}
	}
	return -EAGAIN;
}

unsigned blazei_board_vector_count(const struct blazei_board *board, uint64_t bytes)
{
	uint64_t count;

	if (board_check(board, bytes) != 0)
		return 0;
	/* Acquire: pairs with the release in blazei_board_vector_store. */
	count = atomic_load_explicit(&board->vector_count, memory_order_acquire);
	return count > BLAZEI_BOARD_VECTOR_MAX ? BLAZEI_BOARD_VECTOR_MAX : (unsigned)count;
}

/* Whether nothing of it was named anew meanwhile. */
static bool item_try(const struct blazei_board *board, unsigned index,
                     struct blazei_board_item *ret_item)
{
	const struct blazei_board_entry *entry = &board->vector[index];
	/* Acquire: pairs with the release in layout_add. */
	uint64_t layout = atomic_load_explicit(&board->layout, memory_order_acquire);
	uint64_t node[2];

	/* Acquire: pairs with blazei_board_seq_store. The rest is relaxed: the layout tells whether
	 * it changed. */
	ret_item->entry.seq = atomic_load_explicit(&entry->seq, memory_order_acquire);
	node[0] = atomic_load_explicit(&entry->node[0], memory_order_relaxed);
	node[1] = atomic_load_explicit(&entry->node[1], memory_order_relaxed);
	memcpy(ret_item->entry.origin.node.bytes, node, sizeof(node));
	ret_item->entry.origin.incarnation =
	        atomic_load_explicit(&entry->incarnation, memory_order_relaxed);
	ret_item->hlc = atomic_load_explicit(&board->hlc[index], memory_order_relaxed);
	/* Acquire: pairs with the release in blazei_board_durable_store. */
	ret_item->durable = atomic_load_explicit(&board->durable[index], memory_order_acquire);
	/* Pairs with the release fence in layout_add. */
	atomic_thread_fence(memory_order_acquire);
	/* Relaxed: the fence orders it behind the words. */
	return atomic_load_explicit(&board->layout, memory_order_relaxed) == layout;
}

void blazei_board_vector_load(const struct blazei_board *board, unsigned index,
                              struct blazei_board_item *ret_item)
{
	for (int retry = 0; retry < READ_RETRY_MAX; retry++)
		if (item_try(board, index, ret_item))
			return;
	memset(ret_item, 0, sizeof(*ret_item));
}

int blazei_board_vector_copy(const struct blazei_board *board, uint64_t bytes,
                             struct blazei_vector_view *ret_view)
{
	struct blazei_vector_entry *entries = NULL;

	for (int retry = 0; retry < READ_RETRY_MAX; retry++) {
		/* Acquire: pairs with the release in layout_add. */
		uint64_t layout = atomic_load_explicit(&board->layout, memory_order_acquire);
		unsigned count = blazei_board_vector_count(board, bytes);
		struct blazei_board_item item;

		free(entries);
		entries = calloc((size_t)count + 1, sizeof(*entries));
		if (entries == NULL)
			return -ENOMEM;
		/* The own entry last: whatever the others tell of it was there before. */
		for (unsigned i = count; i-- > 0;) {
			(void)item_try(board, i, &item);
			entries[i] = item.entry;
		}
		/* Pairs with the release fence in layout_add. */
		atomic_thread_fence(memory_order_acquire);
		/* Relaxed: the fence orders it behind the entries. */
		if ((layout & 1) == 0 &&
		    atomic_load_explicit(&board->layout, memory_order_relaxed) == layout) {
			*ret_view = (struct blazei_vector_view){ entries, count };
			return 0;
		}
	}
	free(entries);
	return -EAGAIN;
}

bool blazei_node_name_valid(const char *text, size_t len)
{
	return len > 0 && len <= BLAZEI_BOARD_NAME_MAX && memchr(text, '\0', len) == NULL &&
	       blazei_utf8_valid(text, len);
}
