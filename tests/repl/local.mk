# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/repl/test_delivery tests/repl/test_laws tests/repl/test_replica
TESTS += tests/repl/test_delivery tests/repl/test_laws tests/repl/test_replica
tests_repl_test_delivery_SOURCES = tests/repl/harness.h tests/repl/test_delivery.c
tests_repl_test_laws_SOURCES = tests/repl/harness.h tests/repl/test_laws.c
tests_repl_test_replica_SOURCES = tests/repl/harness.h tests/repl/test_replica.c
check_PROGRAMS += tests/repl/test_quarantine tests/repl/test_clock
TESTS += tests/repl/test_quarantine tests/repl/test_clock
tests_repl_test_quarantine_SOURCES = tests/repl/events.h tests/repl/harness.h \
	tests/repl/test_quarantine.c
tests_repl_test_clock_SOURCES = tests/repl/events.h tests/repl/harness.h \
	tests/repl/test_clock.c
check_PROGRAMS += tests/repl/test_restart
TESTS += tests/repl/test_restart
tests_repl_test_restart_SOURCES = tests/repl/events.h tests/repl/harness.h \
	tests/repl/test_restart.c
check_PROGRAMS += tests/repl/test_members
TESTS += tests/repl/test_members
tests_repl_test_members_SOURCES = tests/repl/events.h tests/repl/harness.h \
	tests/repl/test_members.c
check_PROGRAMS += tests/repl/test_collect
TESTS += tests/repl/test_collect
tests_repl_test_collect_SOURCES = tests/repl/events.h tests/repl/harness.h \
	tests/repl/test_collect.c
check_PROGRAMS += tests/repl/test_hostile
TESTS += tests/repl/test_hostile
tests_repl_test_hostile_SOURCES = tests/repl/harness.h tests/repl/test_hostile.c
check_PROGRAMS += tests/repl/test_memory
TESTS += tests/repl/test_memory
tests_repl_test_memory_SOURCES = tests/op/held.h tests/repl/harness.h \
	tests/repl/writeset_help.h tests/repl/test_memory.c
tests_repl_test_memory_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray,--wrap=aligned_alloc,--wrap=free
check_PROGRAMS += tests/repl/test_effects
TESTS += tests/repl/test_effects
tests_repl_test_effects_SOURCES = tests/repl/harness.h tests/repl/session_pair.h \
	tests/repl/test_effects.c
check_PROGRAMS += tests/repl/test_history
TESTS += tests/repl/test_history
tests_repl_test_history_SOURCES = tests/repl/harness.h tests/repl/test_history.c
check_PROGRAMS += tests/repl/test_writeset
TESTS += tests/repl/test_writeset
tests_repl_test_writeset_SOURCES = tests/repl/harness.h tests/repl/writeset_help.h \
	tests/repl/test_writeset.c
check_PROGRAMS += tests/repl/test_writeset_laws
TESTS += tests/repl/test_writeset_laws
tests_repl_test_writeset_laws_SOURCES = tests/repl/harness.h tests/repl/writeset_help.h \
	tests/repl/test_writeset_laws.c
check_PROGRAMS += tests/repl/test_session
TESTS += tests/repl/test_session
tests_repl_test_session_SOURCES = tests/repl/harness.h tests/repl/session_pair.h \
	tests/repl/test_session.c
check_PROGRAMS += tests/repl/test_session_refusals
TESTS += tests/repl/test_session_refusals
tests_repl_test_session_refusals_SOURCES = tests/repl/harness.h tests/repl/session_pair.h \
	tests/repl/test_session_refusals.c
check_PROGRAMS += tests/repl/test_session_collect
TESTS += tests/repl/test_session_collect
tests_repl_test_session_collect_SOURCES = tests/repl/harness.h tests/repl/session_pair.h \
	tests/repl/test_session_collect.c
check_PROGRAMS += tests/repl/test_session_memory
TESTS += tests/repl/test_session_memory
tests_repl_test_session_memory_SOURCES = tests/repl/harness.h tests/repl/session_pair.h \
	tests/repl/test_session_memory.c
tests_repl_test_session_memory_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc
check_PROGRAMS += tests/repl/test_oversize
TESTS += tests/repl/test_oversize
tests_repl_test_oversize_SOURCES = tests/repl/harness.h tests/repl/test_oversize.c
check_PROGRAMS += tests/repl/test_hash
TESTS += tests/repl/test_hash
tests_repl_test_hash_SOURCES = tests/repl/harness.h tests/repl/test_hash.c
check_PROGRAMS += tests/repl/test_order tests/repl/test_park tests/repl/test_slab
TESTS += tests/repl/test_order tests/repl/test_park tests/repl/test_slab
tests_repl_test_order_SOURCES = tests/op/help.c tests/op/help.h tests/repl/harness.h \
	tests/repl/test_order.c
tests_repl_test_park_SOURCES = tests/repl/harness.h tests/repl/test_park.c
tests_repl_test_slab_SOURCES = tests/op/held.h tests/op/help.c tests/op/help.h \
	tests/repl/test_slab.c
tests_repl_test_slab_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=aligned_alloc,--wrap=free
check_PROGRAMS += tests/repl/test_writeset_seen
TESTS += tests/repl/test_writeset_seen
tests_repl_test_writeset_seen_SOURCES = tests/repl/harness.h tests/repl/writeset_help.h \
	tests/repl/test_writeset_seen.c
check_PROGRAMS += tests/repl/test_peek
TESTS += tests/repl/test_peek
tests_repl_test_peek_SOURCES = tests/repl/harness.h tests/repl/writeset_help.h tests/repl/test_peek.c
