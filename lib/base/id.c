/* SPDX-License-Identifier: Apache-2.0 */
/* UUIDv7 (RFC 9562): ids that ascend within a process and need no coordination between processes.
 *
 * WHY    Records inserted one after the other get neighbouring ids, which suits every sorted
 *        structure. A lock would serve as well, but a lock held by another thread at fork is held
 *        for ever in the child; one atomic word has no such state.
 *
 * LAYOUT byte 0..5 Unix milliseconds, big-endian; 6: version 7, counter 11..8; 7: counter 7..0;
 *        8: variant 10, random; 9..15 random. The 12 counter bits are RFC 9562's rand_a, used by
 * its method 1 (a fixed-length counter, seeded anew for each millisecond, its top bit clear). More
 *        than the rest of a millisecond holds borrows from the next: ids never wait for the clock.
 *
 * INVARIANTS
 *    I1  The 60-bit stamp of each id is above that of every id made before it in this process.
 *    I2  The 62 random bits of an id are used in no other id, in no other process: a pool that was
 *        filled before a fork is thrown away in the child.
 *
 * CONCURRENCY  Any thread; lock-free: a thread's failed exchange means another's success. */
#include "lib/base/id.h"

#include "lib/base/base.h"

#define STAMP_COUNTER_BITS 12
#define STAMP_SEED_MASK    0x7ffu
#define STAMP_MS_MASK      ((UINT64_C(1) << 48) - 1)
#define POOL_BYTES         512
#define TAIL_BYTES         8
#define TEXT_CHARS         36

/* Random bytes of this thread, so that an id costs no system call. */
struct random_pool {
	uint32_t generation; /* the process that filled it */
	uint32_t left;
	uint8_t bytes[POOL_BYTES];
};

static _Atomic uint64_t last_stamp;
static _Thread_local struct random_pool random_pool;

static const char hex_digits[] = "0123456789abcdef";

/* Whether a hyphen stands before this byte's digits. */
static bool hyphen_before(unsigned byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

uint64_t blazei_id_stamp_next(uint64_t last, uint64_t now_ms, uint32_t random)
{
	const uint64_t ms = now_ms & STAMP_MS_MASK;

	if (ms > last >> STAMP_COUNTER_BITS)
		return ms << STAMP_COUNTER_BITS | (random & STAMP_SEED_MASK);
	return last + 1;
}

/* Takes len bytes out of the pool, filling it where it is short or another process's. */
static int pool_take(void *buf, uint32_t len)
{
	struct random_pool *pool = &random_pool;

	if (pool->left < len || blazei_forked_since(pool->generation)) {
		/* Without the fork handlers a child could not tell that the pool is not its own. */
		int rc = blazei_fork_init();

		if (rc == 0)
			rc = blazei_random(pool->bytes, sizeof(pool->bytes));
		if (rc < 0) {
			pool->left = 0;
			return -EIO;
		}
		/* Relaxed: only a fork, which this thread would make itself, changes it. */
		pool->generation =
		        atomic_load_explicit(&blazei_fork_generation, memory_order_relaxed);
		pool->left = POOL_BYTES;
	}
	pool->left -= len;
	memcpy(buf, pool->bytes + pool->left, len);
	return 0;
}

int blaze_id_new(struct blaze_id *ret_id)
{
	uint8_t random[TAIL_BYTES + 2];
	int rc;

	if (ret_id == NULL)
		return -EINVAL;
	rc = pool_take(random, sizeof(random));
	if (rc < 0)
		return rc;

	const uint32_t seed = (uint32_t)random[8] << 8 | random[9];
	const uint64_t now_ms = blazei_realtime_ns() / BLAZEI_NS_PER_MS;
	/* Relaxed: the word stands for itself; its modification order is the order of the ids. */
	uint64_t last = atomic_load_explicit(&last_stamp, memory_order_relaxed);
	uint64_t stamp;

	do {
		stamp = blazei_id_stamp_next(last, now_ms, seed);
	} while (!atomic_compare_exchange_weak_explicit(
	        &last_stamp, &last, stamp, memory_order_relaxed, memory_order_relaxed));

	for (unsigned i = 0; i < 6; i++)
		ret_id->bytes[i] = (uint8_t)(stamp >> (52 - 8 * i));
	ret_id->bytes[6] = (uint8_t)(0x70 | (stamp >> 8 & 0x0f));
	ret_id->bytes[7] = (uint8_t)stamp;
	memcpy(ret_id->bytes + 8, random, TAIL_BYTES);
	ret_id->bytes[8] = (uint8_t)(0x80 | (random[0] & 0x3f));
	return 0;
}

/* The value of a hexadecimal digit, or -1. */
static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int blaze_id_parse(const char *text, struct blaze_id *ret_id)
{
	struct blaze_id id;

	if (text == NULL || ret_id == NULL)
		return -EINVAL;
	/* A short text ends the loop at its NUL, which is neither a hyphen nor a digit. */
	for (unsigned i = 0; i < sizeof(id.bytes); i++) {
		if (hyphen_before(i) && *text++ != '-')
			return -EINVAL;

		const int high = hex_value(text[0]);
		const int low = high < 0 ? -1 : hex_value(text[1]);

		if (low < 0)
			return -EINVAL;
		id.bytes[i] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	if (*text != '\0')
		return -EINVAL;
	*ret_id = id;
	return 0;
}

void blaze_id_format(const struct blaze_id *id, char ret_text[TEXT_CHARS + 1])
{
	char *out = ret_text;

	for (unsigned i = 0; i < sizeof(id->bytes); i++) {
		if (hyphen_before(i))
			*out++ = '-';
		*out++ = hex_digits[id->bytes[i] >> 4];
		*out++ = hex_digits[id->bytes[i] & 0x0f];
	}
	*out = '\0';
}
