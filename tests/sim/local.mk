# SPDX-License-Identifier: Apache-2.0
# The proof: a reference that folds the set of all transactions, all histories of a few operations,
# and the simulator.
sim_reference = tests/sim/causal.c tests/sim/causal.h tests/sim/reference.c \
	tests/sim/reference.h tests/sim/reference_compare.c
check_PROGRAMS += tests/sim/exhaustive
TESTS += tests/sim/exhaustive
tests_sim_exhaustive_SOURCES = tests/sim/exhaustive.c tests/sim/states.c tests/sim/states.h \
	$(sim_reference)
