# SPDX-License-Identifier: Apache-2.0
db_tests = \
	tests/db/soak_db \
	tests/db/test_async \
	tests/db/test_board \
	tests/db/test_compact \
	tests/db/test_issued \
	tests/db/test_conflicts \
	tests/db/test_copy \
	tests/db/test_crash \
	tests/db/test_event \
	tests/db/test_facade \
	tests/db/test_full \
	tests/db/test_hostile \
	tests/db/test_lane \
	tests/db/test_lane_client \
	tests/db/test_lane_hostile \
	tests/db/test_lane_slow \
	tests/db/test_lane_watch \
	tests/db/test_packed \
	tests/db/test_peek \
	tests/db/test_rename \
	tests/db/test_resume \
	tests/db/test_step tests/db/test_store \
	tests/db/test_stored \
	tests/db/test_limits \
	tests/db/test_stored_close \
	tests/db/test_stored_disk \
	tests/db/test_stored_kill \
	tests/db/test_stored_retire \
	tests/db/test_strays \
	tests/db/test_txn \
	tests/db/test_view \
	tests/db/test_watch \
	tests/db/test_watch_memory \
	tests/db/test_watch_sync \
	tests/db/test_watch_threads
check_PROGRAMS += $(db_tests)
TESTS += $(db_tests)
tests_db_soak_db_SOURCES = tests/db/soak_db.c
tests_db_test_async_SOURCES = \
	tests/db/test_async.c tests/db/node.h tests/db/stored.h tests/base/child.h
EXTRA_tests_db_test_async_DEPENDENCIES = lib/tool/blaze-db$(EXEEXT)
tests_db_test_board_SOURCES = tests/db/test_board.c
tests_db_test_copy_SOURCES = tests/db/test_copy.c tests/db/stored.h tests/base/child.h
tests_db_test_crash_SOURCES = tests/db/test_crash.c tests/db/node.h
tests_db_test_facade_SOURCES = tests/db/test_facade.c tests/db/node.h
tests_db_test_full_SOURCES = tests/db/test_full.c tests/db/node.h
tests_db_test_full_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=blazei_carry_open
tests_db_test_hostile_SOURCES = tests/db/test_hostile.c tests/db/node.h
tests_db_test_rename_SOURCES = tests/db/test_rename.c tests/db/node.h
tests_db_test_strays_SOURCES = tests/db/test_strays.c tests/base/child.h
tests_db_test_step_SOURCES = tests/db/test_step.c tests/db/node.h
tests_db_test_step_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=blazei_monotonic_ns
tests_db_test_conflicts_SOURCES = tests/db/test_conflicts.c tests/db/node.h
tests_db_test_txn_SOURCES = tests/db/test_txn.c tests/db/node.h
tests_db_test_watch_SOURCES = tests/db/test_watch.c tests/db/node.h
tests_db_test_watch_threads_SOURCES = tests/db/test_watch_threads.c tests/db/node.h
tests_db_test_event_SOURCES = tests/db/test_event.c tests/db/node.h
lane_help = tests/db/lane.h tests/db/node.h tests/db/stored.h tests/base/child.h \
	lib/db/lane_client.c lib/db/lane_client.h
tests_db_test_lane_SOURCES = tests/db/test_lane.c $(lane_help)
tests_db_test_lane_client_SOURCES = tests/db/test_lane_client.c tests/db/lane_raw.h $(lane_help)
tests_db_test_lane_hostile_SOURCES = tests/db/test_lane_hostile.c tests/db/lane_raw.h \
	tests/op/help.c tests/op/help.h $(lane_help)
tests_db_test_lane_slow_SOURCES = tests/db/test_lane_slow.c tests/db/lane_raw.h $(lane_help)
tests_db_test_lane_watch_SOURCES = tests/db/test_lane_watch.c $(lane_help)
tests_db_test_packed_SOURCES = tests/db/test_packed.c tests/db/node.h tests/db/stored.h \
	lib/store/survey.c lib/store/survey.h
tests_db_test_peek_SOURCES = tests/db/test_peek.c tests/db/node.h
tests_db_test_watch_memory_SOURCES = tests/db/test_watch_memory.c tests/db/node.h
tests_db_test_watch_memory_LDFLAGS = $(AM_LDFLAGS) $(repl_starve)
tests_db_test_watch_sync_SOURCES = tests/db/test_watch_sync.c tests/db/node.h
tests_db_test_watch_sync_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=blazei_replica_set_sink
tests_db_test_store_SOURCES = tests/db/test_store.c tests/base/child.h
tests_db_test_view_SOURCES = tests/db/test_view.c tests/base/child.h
tests_db_test_issued_SOURCES = tests/db/test_issued.c tests/db/issued.c tests/db/issued.h
tests_db_test_issued_LDADD = $(LDADD) $(URING_LIBS)
tests_db_test_issued_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=openat,--wrap=pwrite,--wrap=ftruncate,--wrap=fsync,--wrap=fdatasync \
	-Wl,--wrap=renameat,--wrap=unlinkat,--wrap=mkdir,--wrap=io_uring_submit
tests_db_test_compact_SOURCES = \
	tests/db/test_compact.c tests/db/node.h tests/db/stored.h tests/base/child.h
tests_db_test_stored_SOURCES = tests/db/test_stored.c tests/db/node.h tests/db/stored.h
tests_db_test_stored_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=blazei_realtime_ns
tests_db_test_stored_kill_SOURCES = \
	tests/db/test_stored_kill.c tests/db/node.h tests/db/stored.h tests/base/child.h
tests_db_test_limits_SOURCES = tests/db/test_limits.c tests/db/node.h tests/db/stored.h
tests_db_test_stored_close_SOURCES = \
	tests/db/test_stored_close.c tests/db/node.h tests/db/stored.h
tests_db_test_stored_disk_SOURCES = \
	tests/db/test_stored_disk.c tests/db/node.h tests/db/stored.h \
	tests/db/origins.c tests/db/origins.h
tests_db_test_resume_SOURCES = tests/db/test_resume.c tests/db/stored.h tests/base/child.h \
	tests/db/origins.c tests/db/origins.h
tests_db_test_resume_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=blazei_boot_id
tests_db_test_stored_retire_SOURCES = \
	tests/db/test_stored_retire.c tests/db/node.h tests/db/stored.h \
	tests/db/origins.c tests/db/origins.h
tests_db_test_stored_retire_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=blazei_realtime_ns
