# SPDX-License-Identifier: Apache-2.0
store_tests = tests/store/test_frame tests/store/test_log tests/store/test_conform \
	tests/store/test_backend
check_PROGRAMS += $(store_tests)
TESTS += $(store_tests)
tests_store_test_frame_SOURCES = tests/store/test_frame.c
tests_store_test_log_SOURCES = tests/store/test_log.c tests/store/fault.c tests/store/fault.h
tests_store_test_conform_SOURCES = tests/store/test_conform.c tests/store/conform.c \
	tests/store/conform.h tests/store/fault.c tests/store/fault.h
tests_store_test_backend_SOURCES = tests/store/test_backend.c
