/* SPDX-License-Identifier: Apache-2.0 */
/* The board: what a replica tells the others of itself beside its lane, in shared memory.
 *
 * WHY    A lane is a stream: who comes late or falls behind misses a part. What must be known at
 *        any time, who somebody is, which links he keeps, how far he has come, and whom he asks
 *        for what he lacks, is state, and stands in a place that is overwritten, not in a message
 *        that may be lost. So lanes carry transactions and nothing else, and the service never
 *        waits for room in one to ask for help.
 *
 * LAYOUT little-endian; checked at compile time below
 *            0  magic         "BLZBOARD", stored last: a board without it is not there yet
 *            8  format        a board of another format is refused
 *           16  version       odd while the description changes
 *           64  description   struct blazei_board_description
 *         8192  vector_count  entries that are valid
 *         8200  layout        changes where an entry is named anew; odd while several are
 *         8256  vector        node, incarnation, seq: 32 bytes each, 0 is the owner itself
 *       139328  durable       up to which seq the owner's store has each entry for good: 8 bytes
 *       172096  hlc           H of each entry's seq, or more; 0: not known: 8 bytes
 *
 * INVARIANTS
 *   I1  Only the owner writes; the description under its lock, entry 0 under its write lock.
 *   I2  Entries are appended and keep their place. They keep their origin too, but where the owner
 *       has retired incarnations (lib/repl/mark.h): such an entry is emptied (seq 0) before it is
 *       named anew, so nobody reads an old origin with a new seq. One that is nobody's has seq 0.
 *   I3  Entry 0 names a transaction only after it was published (or was found too long to be), so
 *       whoever reads the board first and the lanes afterwards can tell a loss from a delay.
 *   I4  Readers copy, then validate, then use; a board that does not hold still is skipped.
 *
 * CONCURRENCY  One writer, any number of readers in other processes. The description is guarded by
 *        `version` (a sequence lock: the writer never waits, readers retry a bounded number of
 *        times), the vector by release stores of count and seq. An owner that dies in the middle
 *        leaves version odd: its last description that was read stays in force. One entry is read
 *        whole at any time: to name it anew is seq 0, another layout, origin, seq, in this order,
 *        and a reader looks at the layout before and after. Who needs all entries as of one moment
 *        (incarnations that have gone, and the mark in their place) copies them while the layout
 *        is even and stays; where an owner stopped in the middle that cannot be had. */
#ifndef BLAZEI_DB_BOARD_H
#define BLAZEI_DB_BOARD_H

#include "lib/repl/members.h"
#include "lib/repl/replica.h"

#define BLAZEI_BOARD_MAGIC      UINT64_C(0x4452414f425a4c42)
#define BLAZEI_BOARD_FORMAT     UINT64_C(4)
#define BLAZEI_BOARD_BYTES      (208u * 1024u)
#define BLAZEI_BOARD_LINKS_MAX  256u
#define BLAZEI_BOARD_VECTOR_MAX 4096u
#define BLAZEI_BOARD_NAME_MAX   64u
#define BLAZEI_BOARD_LEFT_MAX   6u

#define BLAZEI_BOARD_STORED 1u /* the owner has a store: its entries tell what is durable there */

struct blazei_board_link {
	struct blaze_id node; /* the other end */
	uint32_t mode;        /* enum blaze_link_mode */
	uint32_t reserved;
};

/* Whom the owner asks for what it lacks: a participant, who answers in the private ring named after
 * ring (pull.h). All zero: nobody. */
struct blazei_board_request {
	struct blaze_id peer;
	struct blaze_id ring;
};

/* The names that the owner had in this run and left (renew.c), the last one first; 0: none. What it
 * wrote under them is, under its present name, at or before that transaction, or was nothing by
 * then (seq 0); UINT64_MAX: it is being written still. */
struct blazei_board_left {
	uint64_t incarnations[BLAZEI_BOARD_LEFT_MAX];
	uint64_t seq;
	uint64_t hlc; /* at or above that transaction's H */
};

struct blazei_board_description {
	struct blaze_id node;
	uint64_t incarnation;
	uint32_t role;   /* enum blaze_role */
	uint32_t policy; /* enum blaze_policy, not DEFAULT */
	uint32_t link_count;
	uint32_t flags;                        /* BLAZEI_BOARD_... */
	char db_name[BLAZEI_BOARD_NAME_MAX];   /* padded with NUL */
	char node_name[BLAZEI_BOARD_NAME_MAX]; /* likewise; no NUL where it is 64 bytes long */
	struct blazei_board_request request;
	struct blazei_board_link links[BLAZEI_BOARD_LINKS_MAX];
	struct blazei_board_left left;
};

#define BLAZEI_BOARD_WORDS (sizeof(struct blazei_board_description) / sizeof(uint64_t))

struct blazei_board_entry {
	_Atomic uint64_t node[2];
	_Atomic uint64_t incarnation;
	_Atomic uint64_t seq;
};

struct blazei_board {
	_Atomic uint64_t magic;
	_Atomic uint64_t format;
	_Atomic uint64_t version;
	uint64_t pad_0[5];
	_Atomic uint64_t description[BLAZEI_BOARD_WORDS];
	uint64_t pad_1[(8192 - 64) / 8 - BLAZEI_BOARD_WORDS];
	_Atomic uint64_t vector_count;
	_Atomic uint64_t layout;
	uint64_t pad_2[6];
	struct blazei_board_entry vector[BLAZEI_BOARD_VECTOR_MAX];
	_Atomic uint64_t durable[BLAZEI_BOARD_VECTOR_MAX];
	_Atomic uint64_t hlc[BLAZEI_BOARD_VECTOR_MAX];
};

/* An entry as a reader gets it. */
struct blazei_board_item {
	struct blazei_vector_entry entry;
	uint64_t hlc;
	uint64_t durable;
};

static_assert(sizeof(struct blazei_board_link) == 24, "layout");
static_assert(offsetof(struct blazei_board_description, incarnation) == 16, "layout");
static_assert(offsetof(struct blazei_board_description, role) == 24, "layout");
static_assert(offsetof(struct blazei_board_description, policy) == 28, "layout");
static_assert(offsetof(struct blazei_board_description, link_count) == 32, "layout");
static_assert(offsetof(struct blazei_board_description, db_name) == 40, "layout");
static_assert(offsetof(struct blazei_board_description, node_name) == 104, "layout");
static_assert(offsetof(struct blazei_board_description, request) == 168, "layout");
static_assert(offsetof(struct blazei_board_description, links) == 200, "layout");
static_assert(offsetof(struct blazei_board_description, left) == 6344, "layout");
static_assert(sizeof(struct blazei_board_description) == 6408, "layout");
static_assert(sizeof(struct blazei_board_description) % 8 == 0, "copied by words");
static_assert(offsetof(struct blazei_board, format) == 8, "layout");
static_assert(offsetof(struct blazei_board, version) == 16, "layout");
static_assert(offsetof(struct blazei_board, description) == 64, "layout");
static_assert(offsetof(struct blazei_board, vector_count) == 8192, "layout");
static_assert(offsetof(struct blazei_board, layout) == 8200, "layout");
static_assert(offsetof(struct blazei_board, vector) == 8256, "layout");
static_assert(offsetof(struct blazei_board, durable) == 139328, "layout");
static_assert(offsetof(struct blazei_board, hlc) == 172096, "layout");
static_assert(sizeof(struct blazei_board_entry) == 32, "layout");
static_assert(sizeof(struct blazei_board) <= BLAZEI_BOARD_BYTES, "fits the segment");

/* The owner's side ---------------------------------------------------------------------------- */

/* Writes a description; the first time also what makes the board valid. */
void blazei_board_publish(struct blazei_board *board, const struct blazei_board_description *text);

/* Sets entry `index`, at most one beyond those there are, and names it anew where it had another
 * origin: then nothing of it is durable. Beyond the limit: ignored. */
void blazei_board_vector_store(struct blazei_board *board, unsigned index,
                               const struct blazei_vector_entry *entry, uint64_t hlc);
/* Whether the entry has another origin than that. */
bool blazei_board_vector_differs(const struct blazei_board *board, unsigned index,
                                 const struct blazei_origin *origin);
/* Around the naming anew of several. */
void blazei_board_layout_begin(struct blazei_board *board);
void blazei_board_layout_end(struct blazei_board *board);

/* Raises the seq of an entry that is there. */
static inline void blazei_board_seq_store(struct blazei_board *board, unsigned index, uint64_t seq)
{
	/* Release: pairs with the acquire in blazei_board_vector_load; what was published before
	 * is found in the lane by who reads the lane after this. */
	atomic_store_explicit(&board->vector[index].seq, seq, memory_order_release);
}

/* The same of what is durable; of an entry that may not be there yet. */
static inline void blazei_board_durable_store(struct blazei_board *board, unsigned index,
                                              uint64_t seq)
{
	/* Release: pairs with the acquire in blazei_board_durable_load. */
	if (index < BLAZEI_BOARD_VECTOR_MAX)
		atomic_store_explicit(&board->durable[index], seq, memory_order_release);
}

/* The reader's side; bytes is the size of the peer's memory ------------------------------------ */

/* The version that a description read now would have, 0 for a board that is not there (yet). Cheap:
 * callers read the description only where it changed. */
uint64_t blazei_board_version(const struct blazei_board *board, uint64_t bytes);

/* Copies and validates. 0; -ENOENT no board (yet); -EPROTO another format; -EAGAIN it did not hold
 * still; -EBADMSG its content is invalid. */
int blazei_board_read(const struct blazei_board *board, uint64_t bytes, uint64_t *ret_version,
                      struct blazei_board_description *ret_text);

/* The number of valid entries, 0 for a board that is not there. */
unsigned blazei_board_vector_count(const struct blazei_board *board, uint64_t bytes);
/* One that does not hold still is all zero; with seq 0 the origin is half written maybe, but of the
 * owner's own entry. */
void blazei_board_vector_load(const struct blazei_board *board, unsigned index,
                              struct blazei_board_item *ret_item);
/* All entries as of one moment, the owner's own read last; free(ret_view->entries). 0; -ENOMEM;
 * -EAGAIN they did not hold still. */
int blazei_board_vector_copy(const struct blazei_board *board, uint64_t bytes,
                             struct blazei_vector_view *ret_view);

/* Whether text is 1 to 64 bytes of UTF-8 without NUL. */
bool blazei_node_name_valid(const char *text, size_t len);

#endif
