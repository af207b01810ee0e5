# SPDX-License-Identifier: Apache-2.0
store_tests = tests/store/test_frame tests/store/test_log
check_PROGRAMS += $(store_tests)
TESTS += $(store_tests)
tests_store_test_frame_SOURCES = tests/store/test_frame.c
tests_store_test_log_SOURCES = tests/store/test_log.c tests/store/fault.c tests/store/fault.h
