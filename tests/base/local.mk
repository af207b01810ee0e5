# SPDX-License-Identifier: Apache-2.0
base_tests = tests/base/test_base tests/base/test_id tests/base/test_log
check_PROGRAMS += $(base_tests)
TESTS += $(base_tests)
tests_base_test_base_SOURCES = tests/base/test_base.c
tests_base_test_id_SOURCES = tests/base/test_id.c
tests_base_test_log_SOURCES = tests/base/test_log.c
