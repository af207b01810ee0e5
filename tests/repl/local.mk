# SPDX-License-Identifier: Apache-2.0
# Each test is one file of its name, unless said below, and the headers that they share.
repl_tests = \
	tests/repl/test_arena \
	tests/repl/test_bounds \
	tests/repl/test_checkpoint \
	tests/repl/test_clock \
	tests/repl/test_collect \
	tests/repl/test_conflict \
	tests/repl/test_delivery \
	tests/repl/test_effects \
	tests/repl/test_finder \
	tests/repl/test_frontier \
	tests/repl/test_hash \
	tests/repl/test_hearing \
	tests/repl/test_history \
	tests/repl/test_history_memory \
	tests/repl/test_hostile \
	tests/repl/test_laws \
	tests/repl/test_logged \
	tests/repl/test_logged_memory \
	tests/repl/test_logged_snapshot \
	tests/repl/test_mark \
	tests/repl/test_mark_adopt \
	tests/repl/test_mark_heard \
	tests/repl/test_mark_log \
	tests/repl/test_members \
	tests/repl/test_members_lies \
	tests/repl/test_members_memory \
	tests/repl/test_members_silence \
	tests/repl/test_memory \
	tests/repl/test_lone \
	tests/repl/test_opened \
	tests/repl/test_order \
	tests/repl/test_origins \
	tests/repl/test_oversize \
	tests/repl/test_park \
	tests/repl/test_peek \
	tests/repl/test_quarantine \
	tests/repl/test_replica \
	tests/repl/test_reissue \
	tests/repl/test_reissue_plan \
	tests/repl/test_restamp \
	tests/repl/test_restart \
	tests/repl/test_return_memory \
	tests/repl/test_session \
	tests/repl/test_session_collect \
	tests/repl/test_session_damage \
	tests/repl/test_session_history \
	tests/repl/test_session_lies \
	tests/repl/test_session_memory \
	tests/repl/test_session_refusals \
	tests/repl/test_session_rules \
	tests/repl/test_session_wire \
	tests/repl/test_slab \
	tests/repl/test_stage \
	tests/repl/test_state \
	tests/repl/test_table \
	tests/repl/test_wide \
	tests/repl/test_writeset \
	tests/repl/test_writeset_laws \
	tests/repl/test_writeset_memory \
	tests/repl/test_writeset_seen
check_PROGRAMS += $(repl_tests)
TESTS += $(repl_tests)
EXTRA_DIST += \
	tests/repl/events.h \
	tests/repl/frontier.h \
	tests/repl/ghost.h \
	tests/repl/harness.h \
	tests/repl/log_tape.h \
	tests/repl/over.h \
	tests/repl/random.h \
	tests/repl/returner.h \
	tests/repl/session_pair.h \
	tests/repl/starve.h \
	tests/repl/stored.h \
	tests/repl/three.h \
	tests/repl/told.h \
	tests/repl/trio.h \
	tests/repl/writeset_help.h
tests_repl_test_delivery_SOURCES = tests/op/edge.h tests/repl/test_delivery.c
# With starve.h.
repl_starve = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc
tests_repl_test_finder_LDFLAGS = $(AM_LDFLAGS) $(repl_starve)
tests_repl_test_history_memory_LDFLAGS = $(AM_LDFLAGS) $(repl_starve)
tests_repl_test_logged_memory_LDFLAGS = $(AM_LDFLAGS) $(repl_starve)
tests_repl_test_members_memory_LDFLAGS = $(AM_LDFLAGS) $(repl_starve)
tests_repl_test_memory_SOURCES = tests/op/held.h tests/repl/test_memory.c
tests_repl_test_memory_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray,--wrap=aligned_alloc,--wrap=free
tests_repl_test_opened_LDFLAGS = $(AM_LDFLAGS) $(repl_starve)
tests_repl_test_order_SOURCES = tests/op/edge.h tests/op/help.c tests/op/help.h \
	tests/repl/test_order.c
tests_repl_test_return_memory_LDFLAGS = $(AM_LDFLAGS) $(repl_starve)
tests_repl_test_session_memory_LDFLAGS = $(AM_LDFLAGS) $(repl_starve)
tests_repl_test_slab_SOURCES = tests/op/held.h tests/op/help.c tests/op/help.h \
	tests/repl/test_slab.c
tests_repl_test_slab_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=aligned_alloc,--wrap=free
tests_repl_test_state_SOURCES = tests/op/edge.h tests/repl/test_state.c
tests_repl_test_table_SOURCES = tests/op/edge.h tests/op/help.c tests/op/help.h tests/repl/test_table.c
tests_repl_test_writeset_memory_LDFLAGS = $(AM_LDFLAGS) $(repl_starve)
tests_repl_test_logged_SOURCES = tests/repl/test_logged.c
tests_repl_test_logged_snapshot_SOURCES = tests/repl/test_logged_snapshot.c \
	tests/repl/harness.h tests/repl/session_pair.h
