# SPDX-License-Identifier: Apache-2.0
# The proof: a reference that folds the set of all transactions, all histories of a few operations,
# and the simulator.
sim_reference = tests/sim/causal.c tests/sim/causal.h tests/sim/reference.c \
	tests/sim/reference.h tests/sim/reference_compare.c
check_PROGRAMS += tests/sim/exhaustive
TESTS += tests/sim/exhaustive
tests_sim_exhaustive_SOURCES = tests/sim/exhaustive.c tests/sim/states.c tests/sim/states.h \
	$(sim_reference)

# It has its own allocations, so that some of the library's can fail.
check_PROGRAMS += tests/blaze-sim
TESTS += tests/blaze-sim
tests_blaze_sim_SOURCES = tests/sim/blaze-sim.c tests/sim/catchup.c tests/sim/check.c \
	tests/sim/damage.c tests/sim/heal.c tests/sim/hostile.c tests/sim/member.c \
	tests/sim/memory.c tests/sim/name.c tests/sim/node.c tests/sim/reads.c tests/sim/schedule.c tests/sim/shrink.c tests/sim/sim.h tests/sim/store.c \
	tests/sim/txn.c tests/sim/watch.c tests/sim/world.c \
	$(sim_reference)
tests_blaze_sim_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc

# Mistakes to be found; the gate `classics` plants each of them.
EXTRA_DIST += \
	tests/gates/branches \
	tests/sim/branches.tsv \
	tests/sim/classics/arrival-order-wins.patch \
	tests/sim/classics/fields-of-a-dead-life-dropped.patch \
	tests/sim/classics/forced-clock-dropped.patch \
	tests/sim/classics/no-dependency-check.patch \
	tests/sim/classics/restamp-on-relay.patch \
	tests/sim/classics/seq-reused-after-crash.patch \
	tests/sim/classics/snapshot-not-a-cut.patch \
	tests/sim/classics/tombstone-dropped-early.patch

# Which lines of lib/repl neither the simulator nor a unit test takes: none. A minute or two, so
# .ci/run does not ask for it.
.PHONY: branches
branches:
	$(srcdir)/tests/gates/branches

# Hours, for whoever has them: SOAK_SEEDS="1-1000000", every history of 3 replicas x 2, and a million
# states that a crash of a store leaves.
SOAK_SEEDS = 1-1000000
SOAK_CRASHES = 100
.PHONY: soak
soak: tests/blaze-sim tests/sim/exhaustive tests/store/test_log tests/store/test_drop
	tests/blaze-sim --seeds $(SOAK_SEEDS)
	tests/sim/exhaustive --full
	BLAZE_CRASHES=$(SOAK_CRASHES) CK_TIMEOUT_MULTIPLIER=100 tests/store/test_log
	BLAZE_CRASHES=$(SOAK_CRASHES) CK_TIMEOUT_MULTIPLIER=100 tests/store/test_drop
