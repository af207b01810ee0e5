# SPDX-License-Identifier: Apache-2.0
# What CI holds the tree to beyond its tests; .ci/run runs them all, each runs alone.
gates = \
	tests/gates/asan \
	tests/gates/callgrind \
	tests/gates/clang \
	tests/gates/classics \
	tests/gates/corpora \
	tests/gates/distcheck \
	tests/gates/errors \
	tests/gates/format \
	tests/gates/gcc \
	tests/gates/install \
	tests/gates/layers \
	tests/gates/leftovers \
	tests/gates/lengths \
	tests/gates/manual \
	tests/gates/memcheck \
	tests/gates/mutation \
	tests/gates/sim \
	tests/gates/spdx \
	tests/gates/symbols \
	tests/gates/toplevel \
	tests/gates/tsan \
	tests/gates/wording
EXTRA_DIST += .ci/run tests/gates/ceilings.tsv tests/gates/common.sh \
	tests/gates/memcheck.supp tests/gates/symbols.list $(gates) \
	tests/mutation/Coverage.pm tests/mutation/Mutants.pm tests/mutation/equivalent.tsv \
	tests/mutation/mutate

# What the gate callgrind counts the instructions of.
check_PROGRAMS += tests/gates/ops
tests_gates_ops_SOURCES = tests/gates/ops.c
tests_gates_ops_LDADD = tests/libblaze-test.la
