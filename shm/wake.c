/* SPDX-License-Identifier: Apache-2.0 */
/* Sleep and wake: how a reader without work gives up its CPU and is never forgotten.
 *
 * PROTOCOL  Sleeper: S1 read wake_seq; S2 set its bit in sleepers; S3 membarrier; S4 look at all
 *        lanes once more; S5 futex wait while wake_seq is what S1 read, at most 100 ms.
 *        Publisher: P1 store tail; P2 (compiler barrier) read sleepers; P3 where others than
 *        itself: clear them, add 1 to wake_seq, one futex wake for all.
 *
 * WHY    The membarrier makes every running registered thread execute a full barrier between S2
 *        and S4, so either P2 sees the bit or S4 sees the tail, while the publisher, who is the hot
 *        one, pays for no fence. Waking costs 10 us: the clearing makes one publisher do it once
 *        for all sleepers.
 *
 * FAILURE  A sleeper that dies leaves a bit: one superfluous wake. A publisher that dies between
 *        P1 and P3 leaves sleepers asleep for at most 100 ms, as every other lost wake (control is
 *        only a hint, and its bytes may be anything). */
#include "shm/ring.h"

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SLEEP_MAX_NS     (100 * BLAZEI_NS_PER_MS)
#define NAP_NS           UINT64_C(500000)
#define REAP_INTERVAL_NS (500 * BLAZEI_NS_PER_MS)

bool blazei_membarrier_register(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
}

void blazei_wake_all(struct blaze_ring *ring)
{
	const uint64_t own = UINT64_C(1) << ring->slot.index;

	/* Acquire and release in one: the sleepers whose bits we take are woken by us alone. Our
	 * own bit stays: a thread of ours that sleeps still wants to hear of others. */
	if ((atomic_fetch_and_explicit(&ring->control->sleepers, own, memory_order_acq_rel) &
	     ~own) == 0)
		return;
	BLAZEI_TESTPOINT("ring_wake_before_futex");
	/* Release: pairs with the acquire load in blazei_sleep_prepare. */
	atomic_fetch_add_explicit(&ring->control->wake_seq, 1, memory_order_release);
	syscall(SYS_futex, &ring->control->wake_seq, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
	blazei_count(&ring->writer.wakes, 1);
}

int blazei_sleep_prepare(struct blaze_ring *ring, uint32_t **ret_word, uint32_t *ret_expected,
                         uint64_t *ret_timeout_ns)
{
	struct blazei_control *control = ring->control;
	const uint64_t bit = UINT64_C(1) << ring->slot.index;
	/* S1. Acquire: pairs with the release addition in blazei_wake_all. */
	const uint32_t seq = atomic_load_explicit(&control->wake_seq, memory_order_acquire);
	bool ordered;

	/* S2. Sequentially consistent: before S4 also where membarrier is refused. */
	atomic_fetch_or_explicit(&control->sleepers, bit, memory_order_seq_cst);
	BLAZEI_TESTPOINT("ring_sleep_announced");
	/* S3 */
	ordered = syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
	/* S4 */
	if (blazei_reader_ready(ring)) {
		/* Relaxed: taking back a hint; a publisher that saw it wakes nobody. */
		atomic_fetch_and_explicit(&control->sleepers, ~bit, memory_order_relaxed);
		return 1;
	}
	*ret_word = (uint32_t *)&control->wake_seq;
	*ret_expected = seq;
	*ret_timeout_ns = ordered ? SLEEP_MAX_NS : NAP_NS;
	return 0;
}

/* S5. -EINTR where a signal handler ran. */
static int sleep_once(struct blaze_ring *ring, uint64_t remaining_ns)
{
	struct timespec timeout;
	uint64_t limit_ns;
	uint32_t *word, expected;

	if (blazei_sleep_prepare(ring, &word, &expected, &limit_ns))
		return 0;
	if (limit_ns > remaining_ns)
		limit_ns = remaining_ns;
	timeout.tv_sec = (time_t)(limit_ns / BLAZEI_NS_PER_S);
	timeout.tv_nsec = (long)(limit_ns % BLAZEI_NS_PER_S);
	blazei_count(&ring->reader.sleeps, 1);
	if (syscall(SYS_futex, word, FUTEX_WAIT, expected, &timeout, NULL, 0) < 0 && errno == EINTR)
		return -EINTR;
	return 0;
}

/* Looks for something to read for at most spin_ns. The time adapts: halved when it was in vain,
 * doubled when it was not. */
static void spin(struct blaze_ring *ring, uint64_t spin_ns)
{
	struct blazei_reader *reader = &ring->reader;
	const uint64_t start = blazei_monotonic_ns();
	bool ready;

	if (reader->spin_now_ns > spin_ns)
		reader->spin_now_ns = spin_ns;
	do {
		for (unsigned i = 0; i < 32; i++) {
			ready = blazei_reader_ready(ring);
			if (ready)
				goto out;
			blazei_cpu_relax();
		}
	} while (blazei_monotonic_ns() - start < reader->spin_now_ns);
out:
	if (ready && reader->spin_now_ns < spin_ns)
		reader->spin_now_ns *= 2;
	if (!ready && reader->spin_now_ns > spin_ns / 16 + 1)
		reader->spin_now_ns /= 2;
}

/* Now and then a reader that sleeps buries the dead: nobody else may be left to do it. */
void blazei_reap_sometimes(struct blaze_ring *ring)
{
	const uint64_t now = blazei_monotonic_ns();

	if (now - ring->reader.reap_ns < REAP_INTERVAL_NS)
		return;
	ring->reader.reap_ns = now;
	blazei_reap(ring, &ring->reader.reaper);
}

int blaze_ring_wait(struct blaze_ring *ring, uint64_t timeout_ns)
{
	const uint64_t start = blazei_monotonic_ns();
	uint64_t spin_ns, waited_ns = 0;
	uint32_t unlinked;
	int rc = blazei_ring_check(ring);

	if (rc < 0)
		return rc;
	rc = blazei_reader_start(ring);
	if (rc < 0)
		return rc;
	spin_ns = timeout_ns < ring->spin_ns ? timeout_ns : ring->spin_ns;
	spin(ring, spin_ns);
	for (;;) {
		/* Someone who came or went is nothing to poll yet. */
		rc = blazei_reader_refresh(ring);
		if (rc < 0)
			return rc;
		/* Acquire: pairs with mark_unlinked. Taken before the look at the lanes, so that
		 * what was published before the unlinking is read first. */
		unlinked = atomic_load_explicit(&ring->control->unlinked, memory_order_acquire);
		if (blazei_reader_ready(ring))
			return 0;
		if (unlinked)
			return -EIDRM;
		waited_ns = blazei_monotonic_ns() - start;
		if (waited_ns >= timeout_ns)
			return -ETIMEDOUT;
		blazei_reap_sometimes(ring);
		rc = sleep_once(ring, timeout_ns - waited_ns);
		if (rc < 0)
			return rc;
	}
}
