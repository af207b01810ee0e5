# SPDX-License-Identifier: Apache-2.0
store_tests = tests/store/test_frame tests/store/test_log tests/store/test_tail \
	tests/store/test_tail_disk tests/store/test_conform \
	tests/store/test_backend tests/store/test_drop tests/store/test_look \
	tests/store/test_engine tests/store/test_pack
check_PROGRAMS += $(store_tests)
EXTRA_DIST += tests/base/dir.h tests/store/txns.h
TESTS += $(store_tests)
tests_store_test_frame_SOURCES = tests/store/test_frame.c
tests_store_test_log_SOURCES = tests/store/test_log.c tests/store/fault.c tests/store/fault.h
tests_store_test_drop_SOURCES = tests/store/test_drop.c tests/store/fault.c tests/store/fault.h
tests_store_test_look_SOURCES = tests/store/test_look.c lib/store/survey.c lib/store/survey.h
tests_store_test_pack_SOURCES = tests/store/test_pack.c
tests_store_test_pack_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=ZSTD_createCCtx,--wrap=ZSTD_createDCtx
tests_store_test_conform_SOURCES = tests/store/test_conform.c tests/store/conform.c \
	tests/store/conform.h tests/store/fault.c tests/store/fault.h
tests_store_test_backend_SOURCES = tests/store/test_backend.c
tests_store_test_engine_SOURCES = tests/store/test_engine.c tests/store/refuse.h
dist_check_SCRIPTS += tests/store/test_engines.sh
TESTS += tests/store/test_engines.sh
tests/store/test_engines.log: tests/store/test_conform$(EXEEXT) tests/db/test_store$(EXEEXT)
tests_store_test_tail_SOURCES = tests/store/test_tail.c tests/store/tailed.h tests/store/fault.c \
	tests/store/fault.h
tests_store_test_tail_disk_SOURCES = tests/store/test_tail_disk.c tests/store/tailed.h \
	tests/store/fault.c tests/store/fault.h
